//! The line at the bottom: what is under the pointer, what is under way, memory and adapter. And the cards that tell
//! of problems.

use eframe::egui::{self, Align, Context, Layout, Panel, ProgressBar, RichText, Ui};
use viewer::probe::Found;

use super::App;
use super::theme::{self, ERROR};

impl App {
    pub(super) fn status_ui(&mut self, ui: &mut Ui) {
        let frame = theme::panel(ui.style()).inner_margin(egui::Margin::symmetric(8, 3));
        Panel::bottom("status").frame(frame).exact_size(28.0).show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    self.machine_ui(ui);
                    ui.separator();
                    if !self.jobs_ui(ui) {
                        self.message_ui(ui);
                    }
                    ui.with_layout(Layout::left_to_right(Align::Center), |ui| self.probe_ui(ui));
                });
            });
        });
    }

    fn machine_ui(&mut self, ui: &mut Ui) {
        let (short, long) = self.pictures.adapter();
        ui.label(RichText::new(short).weak()).on_hover_text(long);
        if let Some(bytes) = self.pictures.resident_bytes() {
            ui.separator();
            ui.label(RichText::new(inference::memory::in_words(bytes)).weak())
                .on_hover_text("Memory of this program");
        }
    }

    /// The jobs under way; false when there are none.
    fn jobs_ui(&mut self, ui: &mut Ui) -> bool {
        let Some(job) = self.jobs.running().iter().find(|j| j.began.elapsed().as_millis() > 150) else {
            if self.is_busy() {
                ui.ctx().request_repaint_after(std::time::Duration::from_millis(160));
            }
            return false;
        };
        let more = self.jobs.running().len() - 1;
        if ui.small_button("Cancel").on_hover_text("Stop everything under way (Esc)").clicked() {
            self.jobs.cancel_all();
        }
        let progress = job.progress();
        let mut text = format!("{}: {}", job.title, progress.stage);
        if let Some(left) = progress.remaining() {
            text = format!("{text}, {:.0} s left", left.as_secs_f32().ceil());
        }
        if more > 0 {
            text = format!("{text} (+{more} more)");
        }
        let bar = ui.add(ProgressBar::new(progress.fraction).desired_width(110.0).desired_height(10.0));
        bar.on_hover_text(&text);
        ui.add(egui::Label::new(text).truncate());
        // The bar moves although nothing else happens; a few times a second is enough.
        ui.ctx().request_repaint_after(std::time::Duration::from_millis(200));
        true
    }

    fn message_ui(&mut self, ui: &mut Ui) {
        let now = ui.input(|i| i.time);
        if let Some((text, until)) = &self.message {
            if now < *until {
                ui.add(egui::Label::new(text.as_str()).truncate());
                ui.ctx().request_repaint_after(std::time::Duration::from_secs_f64(until - now));
            } else {
                self.message = None;
            }
        }
    }

    /// World position, voxel, value and label under the pointer, or under the cursor.
    fn probe_ui(&mut self, ui: &mut Ui) {
        if self.document.is_empty() {
            return;
        }
        let ras = self.hover.unwrap_or(self.document.scene.cursor_ras);
        let mut text = if self.document.is_flat() { String::new() } else { ras_text(ras) };
        let readings = viewer::probe::probe(&self.document.scene, ras);
        let reference = self.document.reference().map(|l| l.id);
        if let Some([i, j, k]) =
            readings.iter().find(|r| Some(r.layer) == reference).and_then(|r| r.voxel_ijk)
        {
            text = format!("{text}   voxel {i}, {j}, {k}");
        }
        for reading in &readings {
            let Some(layer) = self.document.scene.layer(reading.layer).filter(|l| l.visible) else {
                continue;
            };
            let Some(found) = &reading.found else { continue };
            let is_alone = layer.labels().is_some() || self.document.scene.layers.len() <= 2;
            let name = if is_alone { "" } else { layer.name.as_str() };
            text = format!("{text}   {name} {}", found_text(found));
        }
        ui.add(egui::Label::new(RichText::new(text).monospace().size(12.0)).truncate());
    }

    /// Problems at the top right, until they are dismissed.
    pub(super) fn problems_ui(&mut self, ctx: &Context) {
        if self.problems.is_empty() {
            return;
        }
        let mut dismissed = None;
        egui::Area::new(egui::Id::unique("problems"))
            .anchor(egui::Align2::RIGHT_TOP, egui::vec2(-12.0, 44.0))
            .order(egui::Order::Foreground)
            .show(ctx, |ui| {
                ui.set_max_width(420.0);
                for (n, problem) in self.problems.iter().enumerate().rev().take(4) {
                    egui::Frame::window(ui.style()).stroke(egui::Stroke::new(1.0, ERROR)).show(ui, |ui| {
                        ui.horizontal(|ui| {
                            ui.label(RichText::new(&problem.title).strong().color(ERROR));
                            ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                                if ui.small_button("Dismiss").clicked() {
                                    dismissed = Some(n);
                                }
                                if ui.small_button("Copy").on_hover_text("Copy the message").clicked() {
                                    ui.ctx().copy_text(format!("{}: {}", problem.title, problem.text));
                                }
                            });
                        });
                        ui.label(&problem.text);
                    });
                }
            });
        if let Some(n) = dismissed {
            self.problems.remove(n);
        }
    }
}

/// What a voxel holds, in words.
fn found_text(found: &Found) -> String {
    match found {
        Found::Value(v) if v.fract() == 0.0 && v.abs() < 1e7 => format!("value {v:.0}"),
        Found::Value(v) => format!("value {v:.5}"),
        Found::Complex([re, im]) => format!("{re:.4} {im:+.4}i"),
        Found::Colour([r, g, b], None) => format!("RGB {r}, {g}, {b}"),
        Found::Colour([r, g, b], Some(a)) => format!("RGBA {r}, {g}, {b}, {a}"),
        Found::Label(0, _) => "no label".to_owned(),
        Found::Label(id, name) => format!("{name} ({id})"),
    }
}

/// A world point with sides rather than signs, e.g. `"R 12.0  A 3.5  S 40.1 mm"`.
pub(super) fn ras_text(ras: [f64; 3]) -> String {
    let sides = [['R', 'L'], ['A', 'P'], ['S', 'I']];
    let part = |a: usize| format!("{} {:.1}", sides[a][usize::from(ras[a] < 0.0)], ras[a].abs());
    format!("{}  {}  {} mm", part(0), part(1), part(2))
}
