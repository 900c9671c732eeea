//! What lies in DICOM folders: patients, studies and series to choose from, with small pictures. Only headers have been
//! read when it is shown; choosing a series reads its pixels.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use eframe::egui::{self, Context, Modal, RichText, ScrollArea, Sense, TextureHandle, Ui, vec2};
use formats::dicom::{Series, Stack, Study, Thumbnail, Tree};

use super::App;
use super::work::{self, Product};
use crate::dicom::Derived;

/// Side of the small pictures, in points.
const PICTURE: f32 = 56.0;
/// Side of the small pictures, in pixels: sharp at a scale of two.
const PICTURE_PX: usize = 112;

/// The list on the screen.
#[derive(Default)]
pub(super) struct Browser {
    tree: Option<Arc<Tree>>,
    pictures: HashMap<String, TextureHandle>,
    chosen: BTreeSet<String>,
    /// What was found last: members of archives are there as long as this is.
    kept: Option<Tree>,
    /// Stacks whose pictures are still to be drawn, the next one last.
    waiting: Vec<Arc<Stack>>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Browser")
    }
}

/// What the user chose.
enum Choice {
    Nothing,
    Load(Vec<Arc<Stack>>),
    Labels(PathBuf),
}

impl App {
    /// Whether series are offered to choose from.
    #[must_use]
    pub fn has_series_list(&self) -> bool {
        self.browser.tree.is_some()
    }

    /// Looks into folders, archives and DICOMDIRs, and through files that may be DICOM.
    pub(super) fn look_into(&mut self, ctx: &Context, paths: Vec<PathBuf>) {
        let title = match paths.as_slice() {
            [path] => {
                format!("Looking into {}", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
            }
            _ => format!("Looking through {} files", paths.len()),
        };
        self.start_job(ctx, title, move |task| work::look_into(&paths, task));
    }

    /// What was found: a single series is opened at once, several are offered.
    pub(super) fn looked_into(&mut self, ctx: &Context, found: work::Found) {
        let work::Found { files, tree, paths } = found;
        let stacks = tree.stacks().count();
        let derived = derived(&tree);
        if files.is_empty() && stacks == 0 && derived.is_empty() {
            let place = paths.first().map(|p| p.display().to_string()).unwrap_or_default();
            let told: Vec<&str> = tree.notices.iter().map(|n| n.message.as_str()).collect();
            self.complain(
                format!("Opening {place}"),
                &anyhow::anyhow!(
                    "no image was found among {} files; {}",
                    tree.files,
                    if told.is_empty() {
                        "images of known formats, DICOM files and sessions are looked for".to_owned()
                    } else {
                        told.join("; ")
                    }
                ),
            );
            return;
        }
        self.open_files(files);
        let only = tree.stacks().next().filter(|_| stacks == 1).cloned();
        match only {
            Some(only) => {
                self.load_stack(ctx, Arc::new(only), derived);
                self.browser.kept = Some(tree);
            }
            None if stacks == 0 && derived.len() == 1 => {
                self.open_files(derived);
                self.browser.kept = Some(tree);
            }
            None if stacks == 0 && derived.is_empty() => {}
            _ => {
                let waiting = tree.stacks().cloned().map(Arc::new).collect::<Vec<_>>();
                let waiting = waiting.into_iter().rev().collect();
                self.browser = Browser { tree: Some(Arc::new(tree)), waiting, ..Browser::default() };
                self.draw_next(ctx);
            }
        }
    }

    /// Reads a stack; the segmentations and structure sets in `then` are put on it.
    fn load_stack(&mut self, ctx: &Context, stack: Arc<Stack>, then: Vec<PathBuf>) {
        let title = format!("Opening {}", stack.label);
        let waker = self.waker.clone();
        let _ = ctx;
        self.jobs.start_early(
            title,
            move || waker.wake(),
            move |task, early| work::load_stack(&stack, then, task, early),
        );
    }

    /// Small pictures are made one after the other.
    fn draw_next(&mut self, ctx: &Context) {
        let Some(stack) = self.browser.waiting.pop() else { return };
        self.start_job(ctx, "Drawing thumbnails", move |task| {
            task.check()?;
            // A series whose picture cannot be drawn is still listed; opening it tells why.
            let picture = formats::dicom::thumbnail(&stack, PICTURE_PX).ok();
            Ok(Product::Thumbnail(stack.id.clone(), picture))
        });
    }

    pub(super) fn thumbnail_drawn(&mut self, ctx: &Context, id: String, picture: Option<Thumbnail>) {
        self.draw_next(ctx);
        let Some(picture) = picture.filter(|_| self.browser.tree.is_some()) else { return };
        let image = egui::ColorImage::from_rgba_unmultiplied([picture.width, picture.height], &picture.rgba);
        let texture = ctx.load_texture(format!("thumbnail {id}"), image, egui::TextureOptions::LINEAR);
        self.browser.pictures.insert(id, texture);
    }

    /// The list.
    pub(super) fn series_ui(&mut self, ctx: &Context) {
        let Some(tree) = self.browser.tree.clone() else { return };
        let has_image = self.document.active_image().is_some();
        let browser = &mut self.browser;
        let mut choice = Choice::Nothing;
        let modal = Modal::new(egui::Id::unique("series")).show(ctx, |ui| {
            ui.set_width(640.0);
            ui.heading("DICOM series");
            let stacks = tree.stacks().count();
            ui.weak(format!(
                "{} in {} files. Double click opens one; only headers were read so far.",
                count(stacks, "image series", "image series"),
                tree.files - tree.others
            ));
            ui.add_space(4.0);
            ScrollArea::vertical().max_height(460.0).auto_shrink([false, true]).show(ui, |ui| {
                for patient in &tree.patients {
                    let name = readable(&patient.name);
                    let title = if name.is_empty() { "Patient without a name".to_owned() } else { name };
                    ui.horizontal(|ui| {
                        ui.label(RichText::new(title).strong());
                        ui.weak(&patient.id);
                    });
                    for study in &patient.studies {
                        study_ui(ui, study, browser, has_image, &mut choice);
                    }
                    ui.add_space(6.0);
                }
            });
            for notice in &tree.notices {
                ui.colored_label(ui.visuals().warn_fg_color, &notice.message);
            }
            ui.add_space(6.0);
            ui.horizontal(|ui| {
                let chosen = browser.chosen.len();
                let label = if chosen > 1 { format!("Open {chosen} series") } else { "Open".to_owned() };
                if ui.add_enabled(chosen > 0, egui::Button::new(label)).clicked() {
                    let all = tree.stacks().filter(|s| browser.chosen.contains(&s.id));
                    choice = Choice::Load(all.cloned().map(Arc::new).collect());
                }
                if ui.button("Close").clicked() {
                    ui.close();
                }
            });
        });
        let closes = modal.should_close();
        match choice {
            Choice::Nothing if closes => self.browser = Browser::default(),
            Choice::Nothing => {}
            Choice::Load(stacks) => {
                self.browser = Browser::default();
                for stack in stacks {
                    self.load_stack(ctx, stack, Vec::new());
                }
            }
            Choice::Labels(path) => {
                self.browser = Browser::default();
                self.open_files(vec![path]);
            }
        }
    }
}

/// Files of segmentations and structure sets.
fn derived(tree: &Tree) -> Vec<PathBuf> {
    let records = tree.series().flat_map(|s| &s.records);
    records.filter(|r| Derived::of_class(&r.sop_class_uid).is_some()).map(|r| r.path.clone()).collect()
}

fn study_ui(ui: &mut Ui, study: &Study, browser: &mut Browser, has_image: bool, choice: &mut Choice) {
    let date = date(&study.date);
    let words: Vec<&str> =
        [date.as_str(), study.description.as_str()].into_iter().filter(|w| !w.is_empty()).collect();
    ui.label(if words.is_empty() { "Study".to_owned() } else { words.join(" · ") });
    ui.indent(&study.uid, |ui| {
        for series in &study.series {
            if series.stacks.is_empty() {
                other_ui(ui, series, has_image, choice);
            }
            for stack in &series.stacks {
                stack_ui(ui, series, stack, browser, choice);
            }
        }
    });
}

/// One row that can be loaded.
fn stack_ui(ui: &mut Ui, series: &Series, stack: &Stack, browser: &mut Browser, choice: &mut Choice) {
    let number = series.number.map_or_else(String::new, |n| format!("{n}  "));
    let title = [series.description.trim(), series.modality.as_str(), "Image without a name"];
    let title = title.into_iter().find(|t| !t.is_empty()).unwrap_or_default();
    let is_chosen = browser.chosen.contains(&stack.id);
    let row = ui.scope(|ui| {
        ui.horizontal(|ui| {
            let (rect, picture_response) = ui.allocate_exact_size(vec2(PICTURE, PICTURE), Sense::click());
            ui.painter().rect_filled(rect, 2.0, ui.visuals().extreme_bg_color);
            if let Some(picture) = browser.pictures.get(&stack.id) {
                let size = picture.size_vec2();
                let size = size * (PICTURE / size.max_elem().max(1.0));
                let place = egui::Rect::from_center_size(rect.center(), size);
                let whole = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
                ui.painter().image(picture.id(), place, whole, egui::Color32::WHITE);
            }
            ui.vertical(|ui| {
                let name = format!("{number}{title}");
                let response =
                    ui.selectable_label(is_chosen, RichText::new(name).strong()).union(picture_response);
                let facts = format!("{} · {}", stack.label, count_files(stack));
                ui.weak(facts);
                if let Some(notice) = stack.notices.iter().find(|n| n.level == formats::Level::Warning) {
                    ui.add(
                        egui::Label::new(RichText::new(&notice.message).color(ui.visuals().warn_fg_color))
                            .truncate(),
                    )
                    .on_hover_text(&notice.message);
                }
                response
            })
            .inner
        })
        .inner
    });
    let response = row.inner;
    if response.double_clicked() {
        *choice = Choice::Load(vec![Arc::new(stack.clone())]);
    } else if response.clicked() && !browser.chosen.remove(&stack.id) {
        browser.chosen.insert(stack.id.clone());
    }
}

/// A row for what is no image.
fn other_ui(ui: &mut Ui, series: &Series, has_image: bool, choice: &mut Choice) {
    let number = series.number.map_or_else(String::new, |n| format!("{n}  "));
    ui.horizontal(|ui| {
        ui.label(format!("{number}{} {}", series.modality, series.description));
        let object = series.records.iter().find_map(|r| Some((r, Derived::of_class(&r.sop_class_uid)?)));
        match object {
            Some((record, kind)) => {
                let is_possible = kind == Derived::Segmentation || has_image;
                let button = ui.add_enabled(is_possible, egui::Button::new("Open on the image"));
                let button = button.on_disabled_hover_text("Open the images it belongs to first");
                if button.clicked() {
                    *choice = Choice::Labels(record.path.clone());
                }
            }
            None => {
                ui.weak("not an image");
            }
        }
    });
}

fn count_files(stack: &Stack) -> String {
    count(stack.records().len(), "file", "files")
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A DICOM person name (PS3.5 6.2.1.2) as it is read: family name, given names.
fn readable(name: &str) -> String {
    let alphabetic = name.split('=').next().unwrap_or_default();
    let mut parts = alphabetic.split('^').map(str::trim);
    let family = parts.next().unwrap_or_default();
    let others: Vec<&str> = parts.filter(|p| !p.is_empty()).collect();
    if others.is_empty() { family.to_owned() } else { format!("{family}, {}", others.join(" ")) }
}

/// `20210331` as `2021-03-31`; other texts as they are.
fn date(text: &str) -> String {
    match (text.get(..4), text.get(4..6), text.get(6..8)) {
        (Some(y), Some(m), Some(d)) if text.len() == 8 => format!("{y}-{m}-{d}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_readable() {
        assert_eq!(readable("Doe^Jane^^Dr"), "Doe, Jane Dr");
        assert_eq!(readable("Yamada^Tarou=山田^太郎"), "Yamada, Tarou");
        assert_eq!(readable(""), "");
        assert_eq!(date("20210331"), "2021-03-31");
        assert_eq!(date("2021.03.31"), "2021.03.31");
    }
}
