//! The restore page: packs that make pictures better, how much of it, a piece of it beforehand, and what came of it.

mod preview;

use eframe::egui::{self, Color32, ComboBox, Context, RichText, Slider, Ui, vec2};
use models::restorer::is_restored;
use models::{Restoring, Slices};
use viewer::LayerId;

use super::theme::{ACCENT, WARNING};
use super::work::RestoredImage;
use super::{App, Tab};
use crate::commands::Command;

pub use preview::Previewed;
use preview::{Look, Pictures};

/// What every restored image is marked with.
pub const MARK: &str = "restored: not for measurement";

/// What the page remembers.
#[derive(Debug)]
pub(super) struct Panel {
    /// The chosen pack; the first when none.
    pub(super) pack: Option<String>,
    /// How images are restored.
    pub(super) restoring: Restoring,
    preview: Option<Previewed>,
    pictures: Option<Pictures>,
    shows_difference: bool,
    /// Where before ends and after begins, 0..=1 of the width.
    divider: f32,
    /// Whether panes show the original beside the restored image.
    pub(super) compares: bool,
    /// Where one ends and the other begins, 0..=1 of the width of a pane.
    pub(super) pane_divider: f64,
}

impl Default for Panel {
    fn default() -> Self {
        Self {
            pack: None,
            restoring: Restoring::default(),
            preview: None,
            pictures: None,
            shows_difference: false,
            divider: 0.5,
            compares: false,
            pane_divider: 0.5,
        }
    }
}

impl Panel {
    /// A piece came back.
    pub(super) fn previewed(&mut self, preview: Previewed) {
        self.preview = Some(preview);
        self.pictures = None;
    }

    /// Gives the pictures on the card up, with the card.
    pub(super) fn drop_pictures(&mut self) {
        self.pictures = None;
    }
}

/// Three words under a bar: at its left end, in the middle, at its right end.
fn ends_ui(ui: &mut Ui, width: f32, words: [&str; 3]) {
    let font = egui::TextStyle::Body.resolve(ui.style());
    let height = ui.text_style_height(&egui::TextStyle::Body);
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), egui::Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, words.join(" ")));
    let places = [
        (rect.left_center(), egui::Align2::LEFT_CENTER),
        (rect.center(), egui::Align2::CENTER_CENTER),
        (rect.right_center(), egui::Align2::RIGHT_CENTER),
    ];
    for (word, (at, align)) in words.into_iter().zip(places) {
        ui.painter().text(at, align, word, font.clone(), ui.visuals().weak_text_color());
    }
}

/// Choices of slices, with what they are called.
const SLICES: [(Slices, &str); 5] = [
    (Slices::Auto, "thickest axis"),
    (Slices::K, "axis k, as stored"),
    (Slices::J, "axis j"),
    (Slices::I, "axis i"),
    (Slices::All, "all three, averaged"),
];

impl App {
    pub(super) fn restore_ui(&mut self, ui: &mut Ui) {
        let Some(n) = self.restorer() else {
            ui.label("No pack that restores images is installed.");
            ui.weak("Import an official MAXIM checkpoint (.npz), or install a pack folder.");
            if ui.button("Import…").clicked() {
                self.command(Command::ImportPack);
            }
            return;
        };
        self.restorer_choice_ui(ui, n);
        let layer = self.to_restore().filter(|id| !self.document.is_preview(*id));
        self.restoring_ui(ui, layer);
        let can_run = layer.is_some() && !self.is_busy();
        ui.horizontal(|ui| {
            let look = ui
                .add_enabled(can_run, egui::Button::new("Preview"))
                .on_hover_text("Restore a piece of the slice at the crosshair");
            if look.clicked() {
                let ctx = ui.ctx().clone();
                self.preview_active(&ctx);
            }
            let button = egui::Button::new(RichText::new("Restore").strong().color(Color32::WHITE))
                .fill(ACCENT.gamma_multiply(0.7));
            let run =
                ui.add_enabled(can_run, button).on_hover_text("Restore the active image, as a new layer");
            // The page has the same name.
            run.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, can_run, "Restore image"));
            if run.clicked() {
                self.command(Command::Restore);
            }
        });
        self.estimate_ui(ui, n, layer);
        ui.colored_label(
            WARNING,
            "Restored images are not for measurement: detail may be removed or invented.",
        );
        if layer.is_some() {
            self.preview_ui(ui);
            self.result_ui(ui);
        }
    }

    /// The image that would be restored: the active one, or what the active restored one was made of, so that another
    /// strength starts from the original again.
    fn to_restore(&self) -> Option<LayerId> {
        let active = self.document.active_image()?;
        let is_ours = self.document.is_restored_here(active);
        let source = self.document.details.get(&active).filter(|_| is_ours).and_then(|d| d.source);
        Some(source.unwrap_or(active))
    }

    /// Whether there is a piece restored beforehand to look at.
    #[must_use]
    pub fn has_restore_preview(&self) -> bool {
        self.restore.preview.is_some()
    }

    /// The chosen pack that restores, or the first.
    fn restorer(&self) -> Option<usize> {
        let restores = |n: &usize| self.packs[*n].info.restores.is_some();
        let chosen = |n: &usize| self.restore.pack.as_ref() == Some(&self.packs[*n].info.id);
        let all = || (0..self.packs.len()).filter(restores);
        all().find(chosen).or_else(|| all().next())
    }

    fn restorer_choice_ui(&mut self, ui: &mut Ui, n: usize) {
        ui.horizontal(|ui| {
            ui.label("Pack");
            let name = self.packs[n].info.name.clone();
            let combo = ComboBox::from_id_salt("restorer").selected_text(name).width(170.0);
            let response = combo.show_ui(ui, |ui| {
                for row in self.packs.iter().filter(|r| r.info.restores.is_some()) {
                    ui.selectable_value(
                        &mut self.restore.pack,
                        Some(row.info.id.clone()),
                        row.info.name.as_str(),
                    );
                }
            });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Restoring pack"));
            if ui.small_button("Card").on_hover_text("What it was trained on, and its limits").clicked() {
                self.shown.card = Some(n);
            }
        });
        let row = &self.packs[n];
        if let Some(task) = row.info.restores {
            ui.weak(format!("{}. {}", super::layers::capital(task.word()), row.info.summary));
        }
    }

    fn restoring_ui(&mut self, ui: &mut Ui, layer: Option<LayerId>) {
        ui.horizontal(|ui| {
            let label = ui.label("Strength");
            ui.add(
                Slider::new(&mut self.restore.restoring.strength, 0.0..=1.0)
                    .custom_formatter(|v, _| format!("{:.0} %", 100.0 * v))
                    .custom_parser(|text| {
                        Some(text.trim_end_matches('%').trim().parse::<f64>().ok()? / 100.0)
                    }),
            )
            .labelled_by(label.id)
            .on_hover_text("How much of the correction is applied");
        });
        let grid = layer.and_then(|id| self.document.scene.layer(id)).map(|l| *l.grid());
        if grid.is_none_or(|g| g.size_ijk.contains(&1)) {
            return;
        }
        let before = self.restore.restoring.slices;
        ui.horizontal(|ui| {
            ui.label("Slices across");
            let name = SLICES.iter().find(|(s, _)| *s == before).map_or("", |(_, name)| *name);
            let response =
                ComboBox::from_id_salt("slices").selected_text(name).width(150.0).show_ui(ui, |ui| {
                    for (slices, name) in SLICES {
                        ui.selectable_value(&mut self.restore.restoring.slices, slices, name);
                    }
                });
            response
                .response
                .widget_info(|| egui::WidgetInfo::labeled(egui::Role::ComboBox, true, "Slices across"));
        });
        if self.restore.restoring.slices != before {
            self.models.forget();
        }
    }

    fn preview_ui(&mut self, ui: &mut Ui) {
        let Some(preview) = &self.restore.preview else { return };
        let Some(layer) = self.document.scene.layer(preview.source) else {
            self.restore.preview = None;
            return;
        };
        let Some(image) = layer.image() else { return };
        ui.separator();
        let side = ui.available_width().min(320.0).floor();
        let look = Look {
            strength: self.restore.restoring.strength,
            window: image.window,
            colour_map: image.colour_map.clone(),
            convention: self.document.scene.convention,
            interpolate: self.document.scene.interpolate,
            side_px: (side * ui.pixels_per_point()).round().clamp(64.0, 1024.0) as usize,
        };
        if !self.restore.pictures.as_ref().is_some_and(|p| p.are(&look)) {
            self.restore.pictures = Some(Pictures::draw(ui.ctx(), preview, look));
        }
        let Some(pictures) = &self.restore.pictures else { return };
        ui.horizontal(|ui| {
            ui.selectable_value(&mut self.restore.shows_difference, false, "Before | after");
            ui.selectable_value(&mut self.restore.shows_difference, true, "Difference");
        });
        let (rect, response) = ui.allocate_exact_size(vec2(side, side), egui::Sense::click_and_drag());
        let painter = ui.painter_at(rect);
        if self.restore.shows_difference {
            response.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::Canvas, true, "Preview of the difference")
            });
            let whole = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
            painter.image(pictures.textures[2].id(), rect, whole, Color32::WHITE);
            let span = pictures.span;
            if let Some(map) = viewer::ColourMap::by_name("difference") {
                super::layers::swatch(ui, &map, vec2(side, 8.0));
            }
            let span = super::layers::short(span);
            ends_ui(ui, side, [&format!("−{span}"), "change in value", &format!("+{span}")]);
        } else {
            response.widget_info(|| {
                egui::WidgetInfo::labeled(
                    egui::Role::Canvas,
                    true,
                    "Preview: before on the left, after on the right",
                )
            });
            if (response.dragged() || response.clicked())
                && let Some(p) = response.interact_pointer_pos()
            {
                self.restore.divider = ((p.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
            }
            pictures.paint_split(&painter, rect, self.restore.divider, ACCENT);
            for (text, align, x) in [
                ("before", egui::Align2::LEFT_TOP, rect.left() + 6.0),
                ("after", egui::Align2::RIGHT_TOP, rect.right() - 6.0),
            ] {
                let font = egui::TextStyle::Small.resolve(ui.style());
                let at = egui::pos2(x, rect.top() + 5.0);
                // Legible on bright and on dark.
                painter.text(at + vec2(1.0, 1.0), align, text, font.clone(), Color32::BLACK);
                painter.text(at, align, text, font, Color32::WHITE);
            }
            ui.horizontal(|ui| {
                let label = ui.label("Divider");
                ui.spacing_mut().slider_width = (side - 70.0).max(80.0);
                ui.add(Slider::new(&mut self.restore.divider, 0.0..=1.0).show_value(false))
                    .labelled_by(label.id);
            });
        }
        let [i, j, k] = preview.region.size_ijk;
        ui.weak(format!("{i} × {j} × {k} voxels of {}", layer.name));
    }

    /// About the active layer, when it is restored.
    fn result_ui(&mut self, ui: &mut Ui) {
        let Some(id) = self.document.active.filter(|id| self.is_restored(*id)) else { return };
        ui.separator();
        ui.label(RichText::new("This layer").strong());
        if let Some(layer) = self.document.scene.layer_mut(id) {
            ui.horizontal(|ui| {
                let label = ui.label("Original to restored");
                ui.spacing_mut().slider_width = 110.0;
                ui.add(Slider::new(&mut layer.opacity, 0.0..=1.0).show_value(false))
                    .labelled_by(label.id)
                    .on_hover_text("Fades the layer over what lies below it");
            });
        }
        if self.document.compared().is_some() {
            let help = crate::commands::action(Command::ToggleCompare).help;
            ui.checkbox(&mut self.restore.compares, "Before and after in the panes").on_hover_text(help);
            if self.restore.compares {
                ui.horizontal(|ui| {
                    let label = ui.label("Divider in the panes");
                    ui.spacing_mut().slider_width = 110.0;
                    ui.add(Slider::new(&mut self.restore.pane_divider, 0.0..=1.0).show_value(false))
                        .labelled_by(label.id);
                });
            }
        }
        egui::Grid::new("provenance").num_columns(2).striped(true).show(ui, |ui| {
            for (key, value) in self.document.facts(id) {
                let value = if key.ends_with("sha256") { value.chars().take(16).collect() } else { value };
                ui.weak(key);
                ui.add(egui::Label::new(value).wrap());
                ui.end_row();
            }
        });
        if ui.button("Undo restoration").on_hover_text("Take this layer away; Redo brings it back").clicked()
        {
            self.command(Command::Undo);
        }
    }

    /// Whether a layer is a restored image, made here or read from a file that says so.
    pub(super) fn is_restored(&self, id: LayerId) -> bool {
        self.document.details.get(&id).is_some_and(|d| is_restored(&d.meta))
    }

    /// Restores the active image.
    pub(super) fn restore_active(&mut self, ctx: &Context) {
        let Some(layer) = self.to_restore() else { return };
        let Some(n) = self.restorer() else {
            // The page says what to do.
            self.shown.tab = Tab::Restore;
            return;
        };
        if self.is_still_loading(ctx, layer) {
            return;
        }
        let Some(run) = self.run_of(layer, n) else { return };
        let loaded = std::sync::Arc::clone(&self.loaded);
        let title = format!("{} on {}", self.packs[n].info.name, run.name);
        self.start_job(ctx, title, move |task| run.run(&loaded, task));
    }

    fn preview_active(&mut self, ctx: &Context) {
        let (Some(layer), Some(n)) = (self.to_restore(), self.restorer()) else { return };
        let Some(run) = self.run_of(layer, n) else { return };
        let cursor = self.document.scene.cursor_ras;
        let Some(ijk) = run.channels.first().and_then(|v| {
            let at = v.grid.voxel_from_world()?.apply(cursor);
            Some([0, 1, 2].map(|a| at[a].round().clamp(0.0, (v.grid.size_ijk[a] - 1) as f64) as usize))
        }) else {
            return;
        };
        let loaded = std::sync::Arc::clone(&self.loaded);
        self.start_job(ctx, "Previewing", move |task| run.preview(ijk, &loaded, task));
    }

    /// A restored image came back: it becomes a layer directly above its source.
    pub(super) fn restored(&mut self, ctx: &Context, result: RestoredImage) {
        let Some(source) = self.document.scene.layer(result.source) else {
            self.say(ctx, "The image was closed meanwhile; its result was dropped");
            return;
        };
        let name = format!("{} – {MARK}", source.name);
        self.document.add_restored(result.image, name, result.source, result.look.range);
        if let (Some(id), Some(histogram)) = (self.document.active, result.look.histogram) {
            self.histograms.insert(id, histogram);
        }
        let provider = result.provider.used.to_string();
        self.say(ctx, format!("{}: {:.1} s on {provider}", result.pack, result.seconds));
        self.models.ran(result.pack, result.seconds, result.provider);
    }

    /// Takes the active restored image away, or brings the last one back. False when there is none.
    pub(super) fn undo_restoration(&mut self, ctx: &Context, back: bool) -> bool {
        let active = self.document.active;
        if back {
            let Some(id) = active.filter(|id| self.document.is_restored_here(*id)) else { return false };
            self.document.set_aside(id);
            self.say(ctx, "Undone: restoration");
            return true;
        }
        let is_labels = self.document.active_layer().is_some_and(|l| l.labels().is_some());
        if is_labels || !self.document.bring_back() {
            return false;
        }
        self.say(ctx, "Done again: restoration");
        true
    }

    /// Says in a measurement that the values come from a restored image.
    pub(super) fn measured_on_restored(&self) -> Option<&'static str> {
        let id = self.document.active_image()?;
        self.is_restored(id).then_some(MARK)
    }
}
