//! What is seen before anything is open.

use eframe::egui::{self, Align2, Color32, RichText, Ui, vec2};

use super::App;
use super::theme::ACCENT;
use crate::commands::Command;

impl App {
    pub(super) fn welcome_ui(&mut self, ui: &mut Ui) {
        egui::CentralPanel::default()
            .frame(egui::Frame::central_panel(ui.style()).fill(egui::Color32::TRANSPARENT))
            .show(ui, |ui| {
                let height = ui.available_height();
                ui.vertical_centered(|ui| {
                    // All of it is seen in the smallest window.
                    ui.add_space(((height - 390.0) * 0.4).clamp(4.0, 140.0));
                    ui.label(RichText::new("Insula").size(44.0).strong());
                    ui.add_space(2.0);
                    ui.label(RichText::new("See medical images, and what is in them").size(16.0).weak());
                    ui.add_space(28.0);
                    self.drop_field(ui);
                    ui.add_space(16.0);
                    ui.allocate_ui(vec2(440.0, 34.0), |ui| {
                        ui.columns(3, |columns| {
                            let rows = [
                                (
                                    "Open files…",
                                    Command::Open,
                                    "NIfTI, NRRD, MetaImage, MGH, TIFF, PNG, JPEG",
                                ),
                                ("Open folder…", Command::OpenFolder, "All images of a folder"),
                                ("Try the sample", Command::OpenSample, "A synthetic head, made for Insula"),
                            ];
                            for (ui, (label, command, help)) in columns.iter_mut().zip(rows) {
                                let button = egui::Button::new(RichText::new(label).size(15.0))
                                    .min_size(vec2(0.0, 34.0));
                                let width = ui.available_width();
                                if ui.add_sized([width, 34.0], button).on_hover_text(help).clicked() {
                                    self.command(command);
                                }
                            }
                        });
                    });
                    ui.add_space(20.0);
                    self.recent_list(ui);
                    ui.add_space(24.0);
                    ui.label(
                        RichText::new("For research. Not a medical device. Nothing leaves this computer.")
                            .weak(),
                    );
                });
            });
    }

    fn drop_field(&mut self, ui: &mut Ui) {
        let is_hovered = ui.input(|i| !i.raw.hovered_files.is_empty());
        let (rect, response) = ui.allocate_exact_size(vec2(440.0, 120.0), egui::Sense::click());
        response
            .widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Drop files here, or click"));
        let colour = if is_hovered || response.hovered() { ACCENT } else { ui.visuals().weak_text_color() };
        let painter = ui.painter();
        let points =
            [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
        painter.extend(egui::Shape::dashed_line(&points, egui::Stroke::new(1.5, colour), 7.0, 5.0));
        if is_hovered {
            painter.rect_filled(rect, 4.0, ACCENT.gamma_multiply(0.12));
        }
        let text = |y: f32, size: f32, words: &str, colour: Color32| {
            painter.text(
                egui::pos2(rect.center().x, y),
                Align2::CENTER_CENTER,
                words,
                egui::FontId::proportional(size),
                colour,
            );
        };
        text(rect.center().y - 12.0, 18.0, "Drop a scan here", ui.visuals().text_color());
        text(
            rect.center().y + 16.0,
            13.0,
            "files or folders; checkpoints and packs are installed",
            ui.visuals().weak_text_color(),
        );
        if response.clicked() {
            self.command(Command::Open);
        }
    }

    fn recent_list(&mut self, ui: &mut Ui) {
        if self.settings.recent.is_empty() {
            return;
        }
        ui.label(RichText::new("Recent").weak());
        for path in self.settings.recent.iter().take(5).cloned().collect::<Vec<_>>() {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            if ui.link(name).on_hover_text(path.display().to_string()).clicked() {
                let ctx = ui.ctx().clone();
                self.open_paths(&ctx, vec![path]);
            }
        }
    }

    /// What is seen while files hang over the window.
    pub(super) fn drop_target_ui(&mut self, ctx: &egui::Context) {
        let hovered = ctx.input(|i| i.raw.hovered_files.len());
        if hovered == 0 || self.document.is_empty() {
            return;
        }
        let rect = ctx.content_rect();
        let painter =
            ctx.layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop target")));
        painter.rect_filled(rect, 0.0, Color32::from_black_alpha(140));
        let words = if self.models.is_under_pointer(ctx) {
            "Drop to open and segment"
        } else {
            "Drop to open as a layer"
        };
        painter.text(
            rect.center(),
            Align2::CENTER_CENTER,
            words,
            egui::FontId::proportional(26.0),
            Color32::WHITE,
        );
    }
}
