//! Windows about the program: version and licences, settings and keys, model cards, facts about a layer, and the
//! question about unsaved work.

use eframe::egui::{self, Context, Key, Modal, RichText, ScrollArea, Ui, ViewportCommand};

use super::App;
use crate::commands::{self, ACTIONS, Command};
use crate::settings::Theme;

const LICENCES: &str = "Insula is free software under the MIT or the Apache 2.0 licence, at your choice. It is built \
    with egui, wgpu, ONNX Runtime (through ort), image, nifti, ndarray and rayon, among others, each under its own \
    free licence; packages carry their texts in the file THIRD-PARTY. Model packs state their own licences.";

impl App {
    pub(super) fn help_ui(&mut self, ctx: &Context) {
        self.about_ui(ctx);
        self.settings_ui(ctx);
        self.card_ui(ctx);
        self.facts_ui(ctx);
        self.import_ui(ctx);
        self.network_ui(ctx);
    }

    fn about_ui(&mut self, ctx: &Context) {
        if !self.shown.about {
            return;
        }
        let modal = Modal::new(egui::Id::unique("about")).show(ctx, |ui| {
            ui.set_width(440.0);
            ui.heading("Insula");
            ui.label(format!("Version {}", env!("CARGO_PKG_VERSION")));
            ui.add_space(6.0);
            ui.label(RichText::new("Research use only. Not a medical device.").strong());
            ui.label("Results of models are estimates; look at them before you rely on them.");
            ui.add_space(6.0);
            ui.label(LICENCES);
            ui.add_space(6.0);
            let (_, adapter) = self.pictures.adapter();
            ui.label(format!("Graphics: {adapter}"));
            let runtime = match inference::runtime::find() {
                Ok(found) => format!("ONNX Runtime: {}", found.path.display()),
                Err(_) => "ONNX Runtime: not installed yet; the first run of a model installs it".to_owned(),
            };
            ui.label(runtime);
            ui.add_space(8.0);
            if ui.button("Close").clicked() {
                ui.close();
            }
        });
        self.shown.about = !modal.should_close();
    }

    fn settings_ui(&mut self, ctx: &Context) {
        if !self.shown.settings {
            return;
        }
        let modal = Modal::new(egui::Id::unique("settings")).show(ctx, |ui| {
            ui.set_width(520.0);
            ui.heading("Settings");
            self.choices_ui(ui);
            ui.separator();
            ui.label(RichText::new("Keys").strong());
            ui.weak("Write a key as Ctrl+Shift+P; leave it empty for none.");
            let height = (ui.ctx().content_rect().height() - 320.0).clamp(100.0, 300.0);
            ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
                egui::Grid::new("keys").num_columns(3).striped(true).show(ui, |ui| {
                    for action in ACTIONS {
                        self.key_row(ui, action);
                    }
                });
            });
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                if ui.button("Close").clicked() {
                    ui.close();
                }
                if ui.button("Default keys").clicked() {
                    self.settings.keys.clear();
                }
            });
        });
        if modal.should_close() {
            self.shown.settings = false;
            self.keep_settings();
        }
    }

    fn choices_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.label("Theme");
            for (theme, name) in
                [(Theme::Dark, "Dark"), (Theme::Light, "Light"), (Theme::System, "As the desktop")]
            {
                if ui.selectable_label(self.settings.theme == theme, name).clicked() {
                    self.settings.theme = theme;
                    super::theme::choose(ui.ctx(), theme);
                }
            }
        });
        ui.horizontal(|ui| {
            ui.label("Size of the interface");
            for (command, name) in [(Command::ZoomOut, "Smaller"), (Command::ZoomIn, "Larger")] {
                if ui.button(name).clicked() {
                    self.command(command);
                }
            }
            ui.weak(format!("{:.0} %", self.settings.zoom * 100.0));
        });
        ui.checkbox(&mut self.settings.segment_on_open, "Run the chosen pack on every scan that is opened");
        ui.horizontal(|ui| {
            let label = ui.label("Threads for models");
            let mut threads = self.settings.threads.unwrap_or(0);
            let drag = egui::DragValue::new(&mut threads)
                .range(0..=256)
                .custom_formatter(|n, _| if n == 0.0 { "automatic".to_owned() } else { format!("{n:.0}") });
            if ui.add(drag).labelled_by(label.id).changed() {
                self.settings.threads = (threads > 0).then_some(threads);
            }
            ui.weak("takes effect after a restart once a model ran");
        });
    }

    fn key_row(&mut self, ui: &mut Ui, action: &'static commands::Action) {
        ui.label(action.label).on_hover_text(action.help);
        let default = action.key.map(commands::key_text).unwrap_or_default();
        let mut text = self.settings.keys.get(action.id).cloned().unwrap_or_else(|| default.clone());
        let edit = ui.add_sized([150.0, 22.0], egui::TextEdit::singleline(&mut text));
        edit.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::TextInput, true, format!("Key of {}", action.label))
        });
        if edit.changed() {
            if text == default {
                self.settings.keys.remove(action.id);
            } else {
                self.settings.keys.insert(action.id.to_owned(), text.clone());
            }
        }
        let key = commands::parse_key(&text);
        let taken = key.and_then(|key| {
            ACTIONS.iter().find(|a| a.id != action.id && commands::key_of(a, &self.settings) == Some(key))
        });
        match taken {
            Some(other) => ui.colored_label(super::theme::WARNING, format!("also {}", other.label)),
            None if key.is_none() && !text.is_empty() => ui.colored_label(super::theme::WARNING, "not a key"),
            None => ui.label(""),
        };
        ui.end_row();
    }

    fn card_ui(&mut self, ctx: &Context) {
        let Some(row) = self.shown.card.and_then(|n| self.packs.get(n)) else { return };
        let modal = Modal::new(egui::Id::unique("card")).show(ctx, |ui| {
            ui.set_width(620.0);
            ui.heading(&row.info.name);
            ui.weak(format!("{} {} · {}", row.info.id, row.info.version, row.info.licence));
            ScrollArea::vertical().max_height(420.0).show(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.label(&row.card);
            });
            if ui.button("Close").clicked() {
                ui.close();
            }
        });
        if modal.should_close() {
            self.shown.card = None;
        }
    }

    fn facts_ui(&mut self, ctx: &Context) {
        let Some(layer) = self.shown.facts.and_then(|id| self.document.scene.layer(id)) else { return };
        let grid = *layer.grid();
        let details = self.document.details.get(&layer.id).cloned().unwrap_or_default();
        let modal = Modal::new(egui::Id::unique("facts")).show(ctx, |ui| {
            ui.set_width(560.0);
            ui.heading(&layer.name);
            ScrollArea::vertical().max_height(420.0).show(ui, |ui| {
                egui::Grid::new("facts").num_columns(2).striped(true).show(ui, |ui| {
                    let mut row = |name: &str, value: String| {
                        ui.label(name);
                        ui.add(egui::Label::new(RichText::new(value).monospace()).wrap());
                        ui.end_row();
                    };
                    if let Some(path) = &details.path {
                        row("File", path.display().to_string());
                    }
                    row("Encoding", details.encoding.clone());
                    let [i, j, k] = grid.size_ijk;
                    row("Voxels", format!("{i} × {j} × {k}"));
                    let [x, y, z] = grid.spacing_mm();
                    row("Spacing", format!("{x:.4} × {y:.4} × {z:.4} mm"));
                    row(
                        "Orientation",
                        format!(
                            "{}{}",
                            grid.orientation_code(),
                            if grid.is_oblique() { ", oblique" } else { "" }
                        ),
                    );
                    row("Placement from", format!("{:?}", details.meta.affine_source));
                    for r in grid.world_from_voxel.0 {
                        row("", format!("{:9.4} {:9.4} {:9.4} {:10.4}", r[0], r[1], r[2], r[3]));
                    }
                    if let Some(image) = layer.image() {
                        row("Stored type", image.volume().voxels.type_name().to_owned());
                        row("Values", format!("{} to {}", image.value_range.0, image.value_range.1));
                    }
                    if !details.meta.description.is_empty() {
                        row("Description", details.meta.description.clone());
                    }
                    for (key, value) in &details.meta.facts {
                        row(key, value.clone());
                    }
                });
            });
            if ui.button("Close").clicked() {
                ui.close();
            }
        });
        if modal.should_close() {
            self.shown.facts = None;
        }
    }

    /// Asks whether a layer with unsaved changes may go.
    fn closing_ui(&mut self, ctx: &Context) {
        let Some(layer) = self.shown.closing.and_then(|id| self.document.scene.layer(id)) else {
            self.shown.closing = None;
            return;
        };
        let (id, name) = (layer.id, layer.name.clone());
        let mut goes = false;
        let modal = Modal::new(egui::Id::unique("closing")).show(ctx, |ui| {
            ui.set_width(380.0);
            ui.heading("Close without saving?");
            ui.label(format!("{name} has changes that no file holds."));
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                if ui.button("Keep it").clicked() {
                    ui.close();
                }
                goes = ui.button("Close it").clicked();
            });
        });
        if goes {
            self.close(id);
        } else if modal.should_close() {
            self.shown.closing = None;
        }
    }

    pub(super) fn leaving_ui(&mut self, ctx: &Context) {
        self.closing_ui(ctx);
        if !self.shown.leaving {
            return;
        }
        let names: Vec<String> = self.document.unsaved().iter().map(|l| l.name.clone()).collect();
        let mut stays = false;
        let modal = Modal::new(egui::Id::unique("leaving")).show(ctx, |ui| {
            ui.set_width(380.0);
            ui.heading("Leave without saving?");
            ui.label(format!("Not saved: {}.", names.join(", ")));
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                stays = ui.button("Stay").clicked() || ui.input(|i| i.key_pressed(Key::Escape));
                if ui.button("Leave").clicked() {
                    ui.ctx().send_viewport_cmd(ViewportCommand::Close);
                }
            });
        });
        if stays || modal.should_close() {
            self.shown.leaving = false;
        }
    }
}
