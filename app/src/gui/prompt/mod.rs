//! The page for prompts: type what to see, get its mask on the slice at the crosshair or on all of them, with the
//! probability that it is there at all.

mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use eframe::egui::{self, Color32, ComboBox, Context, RichText, TextEdit, Ui};
use formats::{LabelMap, LabelTable, Meta};
use models::manifest::Output;
use models::prompter::{Asking, Found, is_scan, knows_photographs};
use models::{Prompting, Slices};
use viewer::tools::LabelEdit;
use viewer::{Content, LayerId};

use super::theme::{ACCENT, WARNING};
use super::{App, Tab};
use crate::commands::Command;

pub use work::FoundHere;

/// Prompts remembered between runs of the program.
const REMEMBERED: usize = 20;
/// Rows of suggestions that are offered at once.
const OFFERED: usize = 40;

/// What the page remembers.
#[derive(Debug, Default)]
pub(super) struct Panel {
    /// The chosen pack; the first when none.
    pub(super) pack: Option<String>,
    /// What is written in the box.
    text: String,
    /// How it is asked; the prompts are the box's.
    asking: Prompting,
    /// Answers for a slice.
    here: Option<FoundHere>,
    /// Candidates that people chose, by prompt.
    chosen: BTreeMap<String, usize>,
    /// Answers for a whole image.
    whole: Vec<Found>,
    /// The layer that answers are marked in.
    layer: Option<LayerId>,
    /// The labels that are shown when nothing is pointed at, while something is.
    shown: Option<(LayerId, Arc<LabelTable>)>,
}

impl Panel {
    /// A whole image was searched, and its answers are in this layer.
    pub(super) fn searched(&mut self, found: Vec<Found>, layer: LayerId) {
        self.whole = found;
        self.here = None;
        self.layer = Some(layer);
    }
}

/// Choices of slices, with what they are called.
const SLICES: [(Slices, &str); 5] = [
    (Slices::Auto, "axial, or thickest axis"),
    (Slices::K, "axis k, as stored"),
    (Slices::J, "axis j"),
    (Slices::I, "axis i"),
    (Slices::All, "several axes, averaged"),
];

/// What prompts can stand for, with what that is called.
const ASKINGS: [(Asking, &str); 4] = [
    (Asking::Phrases, "Phrases"),
    (Asking::Semantic, "Classes, everywhere"),
    (Asking::Panoptic, "Classes, where sure"),
    (Asking::Instances, "Single things"),
];

fn named(ui: &Ui, response: &egui::Response, kind: egui::Role, name: &str) {
    let enabled = ui.is_enabled();
    response.widget_info(|| egui::WidgetInfo::labeled(kind, enabled, name));
}

impl App {
    pub(super) fn prompt_ui(&mut self, ui: &mut Ui) {
        let Some(n) = self.prompter() else {
            ui.label("No pack that is told in words what to mark is installed.");
            ui.weak("Import an official X-Decoder checkpoint (.pt), or install a pack folder.");
            if ui.button("Import…").clicked() {
                self.command(Command::ImportPack);
            }
            return;
        };
        self.prompter_choice_ui(ui, n);
        self.words_ui(ui, n);
        let layer = self.document.active_image().filter(|id| !self.document.is_preview(*id));
        let is_flat =
            layer.and_then(|id| self.document.scene.layer(id)).is_none_or(|l| l.grid().size_ijk.contains(&1));
        self.asking_ui(ui, n, is_flat);
        self.scan_warning_ui(ui, n, layer);
        let has_words = !Prompting::phrases(&self.prompt.text).is_empty();
        let can_run = layer.is_some() && has_words && !self.is_busy();
        let strong = |text: &str| {
            egui::Button::new(RichText::new(text).strong().color(Color32::WHITE))
                .fill(ACCENT.gamma_multiply(0.7))
        };
        ui.horizontal(|ui| {
            let here = if is_flat { "Find" } else { "Find here" };
            let button = ui.add_enabled(can_run, strong(here)).on_hover_text(
                "Mark it in the picture, or on the slice at the crosshair (Ctrl+Enter in the box)",
            );
            named(ui, &button, egui::Role::Button, "Find on this slice");
            if button.clicked() {
                self.find(&ui.ctx().clone(), is_flat);
            }
            if !is_flat {
                let button = ui
                    .add_enabled(can_run, egui::Button::new("Find on all slices"))
                    .on_hover_text("Slice by slice, as a new segmentation; approximate");
                if button.clicked() {
                    self.find_everywhere(&ui.ctx().clone());
                }
            }
        });
        self.here_ui(ui);
        self.whole_ui(ui);
    }

    /// The chosen pack that is told in words what to mark, or the first.
    fn prompter(&self) -> Option<usize> {
        let asks = |n: &usize| !self.packs[*n].info.asks.is_empty();
        let chosen = |n: &usize| self.prompt.pack.as_ref() == Some(&self.packs[*n].info.id);
        let all = || (0..self.packs.len()).filter(asks);
        all().find(chosen).or_else(|| all().next())
    }

    fn prompter_choice_ui(&mut self, ui: &mut Ui, n: usize) {
        ui.horizontal(|ui| {
            ui.label("Pack");
            let name = self.packs[n].info.name.clone();
            let combo = ComboBox::from_id_salt("prompter").selected_text(name).width(170.0);
            let response = combo.show_ui(ui, |ui| {
                for row in self.packs.iter().filter(|r| !r.info.asks.is_empty()) {
                    let id = Some(row.info.id.clone());
                    ui.selectable_value(&mut self.prompt.pack, id, row.info.name.as_str());
                }
            });
            named(ui, &response.response, egui::Role::ComboBox, "Prompted pack");
            if ui.small_button("Card").on_hover_text("What it was trained on, and its limits").clicked() {
                self.shown.card = Some(n);
            }
        });
    }

    /// The box, suggestions and history.
    fn words_ui(&mut self, ui: &mut Ui, n: usize) {
        let label = ui.label("What to find");
        let edit = TextEdit::multiline(&mut self.prompt.text)
            .hint_text("left hippocampus, ventricles")
            .desired_rows(2)
            .desired_width(f32::INFINITY);
        let response =
            ui.add(edit).labelled_by(label.id).on_hover_text("In words, one per line or between commas");
        let runs = response.has_focus()
            && ui.input_mut(|i| i.consume_key(egui::Modifiers::COMMAND, egui::Key::Enter));
        let Output::Prompts(known) = &self.packs[n].pack.manifest.output else { return };
        // What is being typed: the piece after the last comma or line.
        let typed = self.prompt.text.rsplit(['\n', ',']).next().unwrap_or_default().trim().to_lowercase();
        let fits = |s: &&String| s.to_lowercase().contains(&typed);
        let mut picked = None;
        ui.horizontal(|ui| {
            if !known.suggestions.is_empty() {
                let menu = ui.menu_button("Suggestions", |ui| {
                    egui::ScrollArea::vertical().max_height(300.0).show(ui, |ui| {
                        let mut offered: Vec<&String> = known.suggestions.iter().filter(fits).collect();
                        if offered.is_empty() {
                            offered = known.suggestions.iter().collect();
                        }
                        for prompt in offered.into_iter().take(OFFERED) {
                            if ui.button(prompt).clicked() {
                                picked = Some(prompt.clone());
                                ui.close();
                            }
                        }
                    });
                });
                menu.response.on_hover_text("What this pack knows; type to narrow it down");
            }
            if !self.settings.prompts.is_empty() {
                ui.menu_button("Recent", |ui| {
                    for prompt in &self.settings.prompts {
                        if ui.button(prompt.replace('\n', ", ")).clicked() {
                            self.prompt.text.clone_from(prompt);
                            ui.close();
                        }
                    }
                });
            }
        });
        if let Some(prompt) = picked {
            let kept = self.prompt.text.rfind(['\n', ',']).map_or(0, |at| at + 1);
            let is_typing = !typed.is_empty() && prompt.to_lowercase().contains(&typed);
            if is_typing {
                self.prompt.text.truncate(kept);
            }
            let text = self.prompt.text.trim_end().trim_end_matches(',').to_owned();
            self.prompt.text = if text.is_empty() { prompt } else { format!("{text}, {prompt}") };
        }
        if runs {
            let is_flat = self
                .document
                .active_image()
                .and_then(|id| self.document.scene.layer(id))
                .is_none_or(|l| l.grid().size_ijk.contains(&1));
            self.find(&ui.ctx().clone(), is_flat);
        }
    }

    fn asking_ui(&mut self, ui: &mut Ui, n: usize, is_flat: bool) {
        let asks = &self.packs[n].info.asks;
        if !asks.contains(&self.prompt.asking.asking) {
            self.prompt.asking.asking = asks.first().copied().unwrap_or_default();
        }
        if asks.len() > 1 {
            ui.horizontal(|ui| {
                ui.label("Words are");
                let now = self.prompt.asking.asking;
                let name = ASKINGS.iter().find(|(a, _)| *a == now).map_or("", |(_, name)| *name);
                let response = ComboBox::from_id_salt("asking").selected_text(name).show_ui(ui, |ui| {
                    for (asking, name) in ASKINGS.iter().filter(|(a, _)| asks.contains(a)) {
                        ui.selectable_value(&mut self.prompt.asking.asking, *asking, *name);
                    }
                });
                named(ui, &response.response, egui::Role::ComboBox, "What the words are");
            });
        }
        if !is_flat {
            ui.horizontal(|ui| {
                ui.label("Slices across");
                let now = self.prompt.asking.slices;
                let name = SLICES.iter().find(|(s, _)| *s == now).map_or("", |(_, name)| *name);
                let response = ComboBox::from_id_salt("prompt slices")
                    .selected_text(name)
                    .width(150.0)
                    .show_ui(ui, |ui| {
                        for (slices, name) in SLICES {
                            ui.selectable_value(&mut self.prompt.asking.slices, slices, name);
                        }
                    });
                named(ui, &response.response, egui::Role::ComboBox, "Slices across");
            });
            ui.horizontal(|ui| {
                ui.checkbox(&mut self.prompt.asking.smooths, "Smooth")
                    .on_hover_text("On all slices: smooth masks in three dimensions");
                ui.checkbox(&mut self.prompt.asking.keeps_largest, "Largest part only")
                    .on_hover_text("On all slices: keep the largest connected part of each");
            });
        }
    }

    fn scan_warning_ui(&self, ui: &mut Ui, n: usize, layer: Option<LayerId>) {
        let image = layer.and_then(|id| self.document.scene.layer(id)).and_then(|l| l.image());
        if knows_photographs(&self.packs[n].pack.manifest) && image.is_some_and(|i| is_scan(i.volume())) {
            ui.colored_label(
                WARNING,
                "This pack learnt from photographs; what it marks in scans is a guess at best.",
            );
        }
    }

    /// What is asked, with the words in the box.
    pub(super) fn asked(&self) -> Prompting {
        Prompting { prompts: Prompting::phrases(&self.prompt.text), ..self.prompt.asking.clone() }
    }

    fn remember_words(&mut self) {
        let text = self.prompt.text.trim().to_owned();
        self.settings.prompts.retain(|t| *t != text);
        self.settings.prompts.insert(0, text);
        self.settings.prompts.truncate(REMEMBERED);
        self.keep_settings();
    }

    fn find(&mut self, ctx: &Context, is_flat: bool) {
        if is_flat && self.prompt.asking.asking != Asking::Phrases {
            self.find_everywhere(ctx);
            return;
        }
        let (Some(layer), Some(n)) = (self.document.active_image(), self.prompter()) else { return };
        if self.asked().prompts.is_empty() || self.is_still_loading(ctx, layer) {
            return;
        }
        let Some(run) = self.run_of(layer, n) else { return };
        let Some(image) = self.document.scene.layer(layer).and_then(|l| l.image()) else { return };
        let key = format!("{:?} {}", image.id, image.frame);
        let cursor = self.document.scene.cursor_ras;
        let slices = match self.prompt.asking.slices {
            Slices::All => Slices::Auto,
            one => one,
        };
        self.remember_words();
        let loaded = Arc::clone(&self.loaded);
        self.start_job(ctx, "Finding", move |task| run.find_here(&key, cursor, slices, &loaded, task));
    }

    fn find_everywhere(&mut self, ctx: &Context) {
        let (Some(layer), Some(n)) = (self.document.active_image(), self.prompter()) else { return };
        if self.asked().prompts.is_empty() || self.is_still_loading(ctx, layer) {
            return;
        }
        let Some(run) = self.run_of(layer, n) else { return };
        self.remember_words();
        let loaded = Arc::clone(&self.loaded);
        let title = format!("{} on {}", self.packs[n].info.name, run.name);
        self.start_job(ctx, title, move |task| run.run(&loaded, task));
    }

    /// Answers for a slice came back: they are marked in the layer of answers, which is made when there is none.
    pub(super) fn found_here(&mut self, ctx: &Context, found: FoundHere) {
        let Some(source) = self.document.scene.layer(found.source) else {
            self.say(ctx, "The image was closed meanwhile; its result was dropped");
            return;
        };
        let name = format!("{}: {}", source.name, found.pack);
        let is_ours = |id: &LayerId| {
            let is_of_source = self.document.details.get(id).is_some_and(|d| d.source == Some(found.source));
            let labels = self.document.scene.layer(*id).and_then(|l| l.labels());
            is_of_source && labels.is_some_and(|l| l.grid == found.grid)
        };
        let known = self.prompt.layer.filter(is_ours);
        let layer = known.unwrap_or_else(|| {
            let meta = Meta { description: found.pack.clone(), ..Meta::default() };
            let labels = ndarray::Array3::<u16>::zeros(found.grid.shape_kji()).into_shared();
            let map = LabelMap { labels, grid: found.grid, table: LabelTable::default(), meta };
            self.document.add_labels(map, name, Some(found.source), Vec::new())
        });
        let hits = found.finds.iter().filter(|f| f.is_found).count();
        self.say(ctx, format!("Found {hits} of {} in {:.1} s", found.finds.len(), found.seconds));
        self.prompt.layer = Some(layer);
        self.prompt.chosen.clear();
        self.prompt.whole.clear();
        self.prompt.here = Some(found);
        self.mark_here(false);
    }

    /// Marks the slice with the answers as they are chosen now.
    fn mark_here(&mut self, again: bool) {
        self.show_all();
        let (Some(found), Some(id)) = (&self.prompt.here, self.prompt.layer) else { return };
        let Some(labels) = self.document.scene.layer(id).and_then(|l| l.labels()) else { return };
        if labels.grid != found.grid {
            return;
        }
        let (ids, table) = work::numbered(&labels.table, &found.finds);
        let edit: LabelEdit = work::marked(&labels.labels, found, &ids, &self.prompt.chosen)
            .with_table((*labels.table).clone(), table);
        let title = if again { "Another candidate" } else { "Found by words" };
        self.edit_table(id, title, false, edit);
    }

    /// One row per answer for the slice: pointed at, only it is shown; clicked, candidates are chosen among.
    fn here_ui(&mut self, ui: &mut Ui) {
        let Some(found) = &self.prompt.here else { return };
        let table = self.prompt.layer.and_then(|id| self.document.scene.layer(id)).and_then(|l| l.labels());
        let Some(table) = table.map(|l| Arc::clone(&l.table)) else {
            self.prompt.here = None;
            return;
        };
        ui.separator();
        let axis = ["i", "j", "k"][found.across];
        ui.weak(format!("On slice {axis} = {}", found.index));
        let (mut pointed, mut choice) = (None, None);
        for find in &found.finds {
            let entry = table.entries.iter().find(|e| e.name == find.prompt);
            let chosen = self.prompt.chosen.get(&find.prompt).copied();
            let is_marked = find.is_found || chosen.is_some();
            let row = ui.horizontal(|ui| {
                match entry.filter(|_| is_marked) {
                    Some(entry) => super::labels::chip(ui, entry.rgb),
                    None => super::labels::chip(ui, [70, 70, 70]),
                }
                let text = answer_text(&find.prompt, is_marked, find.probability);
                let label = if is_marked { RichText::new(text) } else { RichText::new(text).weak() };
                let name = ui.add(egui::Label::new(label).sense(egui::Sense::click()));
                let count = find.candidates.len();
                if count > 0 {
                    let now = chosen.unwrap_or(0);
                    let words = if is_marked { format!("{}/{count}", now + 1) } else { "show".to_owned() };
                    let button = ui.small_button(words).on_hover_text("The next candidate");
                    named(ui, &button, egui::Role::Button, &format!("Next candidate for {}", find.prompt));
                    if button.clicked() || name.clicked() {
                        choice = Some((find.prompt.clone(), if is_marked { (now + 1) % count } else { 0 }));
                    }
                }
            });
            if row.response.contains_pointer() {
                pointed = entry.map(|e| e.id);
            }
        }
        match pointed {
            Some(id) => self.show_only(id),
            None => self.show_all(),
        }
        if let Some((prompt, n)) = choice {
            self.prompt.chosen.insert(prompt, n);
            self.mark_here(true);
        }
    }

    /// One row per answer for the whole image.
    fn whole_ui(&mut self, ui: &mut Ui) {
        if self.prompt.whole.is_empty() {
            return;
        }
        let table = self.prompt.layer.and_then(|id| self.document.scene.layer(id)).and_then(|l| l.labels());
        let Some(table) = table.map(|l| Arc::clone(&l.table)) else {
            self.prompt.whole.clear();
            return;
        };
        ui.separator();
        ui.weak("In the whole image; approximate");
        let mut pointed = None;
        for found in &self.prompt.whole {
            let row = ui.horizontal(|ui| {
                let rgb = table.get(found.label).filter(|_| found.is_found).map_or([70, 70, 70], |e| e.rgb);
                super::labels::chip(ui, rgb);
                let text = answer_text(&found.prompt, found.is_found, found.probability);
                ui.label(if found.is_found { RichText::new(text) } else { RichText::new(text).weak() });
                if found.is_found {
                    ui.weak(format!("{:.1} ml", found.volume_mm3 / 1000.0));
                }
            });
            if row.response.contains_pointer() && found.is_found {
                pointed = Some(found.label);
            }
        }
        match pointed {
            Some(id) => self.show_only(id),
            None => self.show_all(),
        }
    }

    /// Shows one label of the layer of answers and hides the others, while it is pointed at.
    fn show_only(&mut self, label: u16) {
        let Some(id) = self.prompt.layer else { return };
        let Some(Content::Labels(labels)) = self.document.scene.layer_mut(id).map(|l| &mut l.content) else {
            return;
        };
        if self.prompt.shown.is_none() {
            self.prompt.shown = Some((id, Arc::clone(&labels.table)));
        }
        let is_so = labels.table.entries.iter().all(|e| e.visible == (e.id == label));
        if !is_so {
            let mut table = (*labels.table).clone();
            table.entries.iter_mut().for_each(|e| e.visible = e.id == label);
            labels.table = Arc::new(table);
        }
    }

    /// Shows what was shown before something was pointed at.
    fn show_all(&mut self) {
        let Some((id, table)) = self.prompt.shown.take() else { return };
        if let Some(Content::Labels(labels)) = self.document.scene.layer_mut(id).map(|l| &mut l.content) {
            labels.table = table;
        }
    }

    /// Whether there are answers to look at.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.prompt.here.is_some() || !self.prompt.whole.is_empty()
    }

    /// Turns to the page.
    pub(super) fn show_prompt(&mut self) {
        self.shown.tab = Tab::Find;
        self.settings.panels[1] = true;
    }
}

/// A prompt with what became of it.
fn answer_text(prompt: &str, is_found: bool, probability: Option<f64>) -> String {
    let part = probability.map_or_else(String::new, |p| format!(" – {:.0} %", 100.0 * p));
    if is_found { format!("{prompt}{part}") } else { format!("{prompt}: not found{part}") }
}
