//! The panes: where each one lies, what is shown in it, and what its gestures do.

use eframe::egui::{self, Color32, Rect, Ui, pos2, vec2};
use viewer::panes::{SlicePane, ViewAction, VolumePane};
use viewer::{Content, Plane, SliceView, Window};

use super::{App, findings};
use crate::document::{self, Layout, MainPane, Pane};

/// Space between panes.
const GAP: f32 = 3.0;

impl App {
    pub(super) fn panes_ui(&mut self, ui: &mut Ui, frame: &mut eframe::Frame) {
        let background =
            if ui.visuals().dark_mode { Color32::from_rgb(14, 15, 18) } else { Color32::from_gray(205) };
        egui::CentralPanel::default().frame(egui::Frame::new()).show(ui, |ui| {
            let area = ui.available_rect_before_wrap();
            self.pane_under_pointer = None;
            self.hover = None;
            let busy = self.pictures.upload(&self.document.scene);
            if busy {
                ui.ctx().request_repaint();
            }
            for (pane, rect) in self.places(area) {
                if self.last_pane.is_none_or(|(last, _)| last == pane) || ui.rect_contains_pointer(rect) {
                    self.last_pane = Some((pane, rect));
                }
                match pane {
                    Pane::Slice(plane) => self.slice_ui(ui, frame, plane, rect),
                    Pane::Volume => self.volume_pane_ui(ui, frame, rect),
                }
                // Only the gaps: what lies below the panes would be drawn for nothing.
                let gap = egui::Stroke::new(GAP, background);
                ui.painter_at(area).rect_stroke(rect, 0.0, gap, egui::StrokeKind::Outside);
            }
            self.loading_ui(ui, area);
        });
    }

    /// Says that what is seen is but a slice so far.
    fn loading_ui(&self, ui: &Ui, area: Rect) {
        let loading = self.document.scene.layers.iter().find(|l| self.document.is_preview(l.id));
        let Some(layer) = loading else { return };
        let text = format!("One slice of {} while the rest is read…", layer.name);
        let painter = ui.painter_at(area);
        let galley = painter.layout(
            text,
            egui::FontId::proportional(13.0),
            Color32::from_gray(235),
            (area.width() - 40.0).max(80.0),
        );
        let place = Rect::from_center_size(
            pos2(area.center().x, area.bottom() - 26.0),
            galley.size() + vec2(20.0, 10.0),
        );
        painter.rect_filled(place, 6.0, Color32::from_black_alpha(190));
        painter.galley(place.min + vec2(10.0, 5.0), galley, Color32::WHITE);
    }

    /// Which panes are shown, and where.
    fn places(&self, area: Rect) -> Vec<(Pane, Rect)> {
        let document = &self.document;
        if document.is_flat() {
            return vec![(Pane::Slice(Plane::Axial), area)];
        }
        if let Some(pane) = document.maximised {
            return vec![(pane, area)];
        }
        let main = document.main.0;
        let others = Pane::ALL.into_iter().filter(|p| *p != main);
        match document.layout {
            Layout::Single => vec![(main, area)],
            Layout::Row => {
                let width = (area.width() - 2.0 * GAP) / 3.0;
                Plane::ALL
                    .into_iter()
                    .enumerate()
                    .map(|(n, plane)| {
                        let left = area.left() + (width + GAP) * n as f32;
                        (
                            Pane::Slice(plane),
                            Rect::from_min_size(pos2(left, area.top()), vec2(width, area.height())),
                        )
                    })
                    .collect()
            }
            Layout::OneLarge => {
                let side = (area.width() * 0.28).max(140.0).min(area.width() / 2.0);
                let large = Rect::from_min_max(area.min, pos2(area.right() - side - GAP, area.bottom()));
                let height = (area.height() - 2.0 * GAP) / 3.0;
                let small = others.enumerate().map(|(n, pane)| {
                    let top = area.top() + (height + GAP) * n as f32;
                    (pane, Rect::from_min_size(pos2(area.right() - side, top), vec2(side, height)))
                });
                std::iter::once((main, large)).chain(small).collect()
            }
            Layout::Quad => {
                let half = (area.size() - vec2(GAP, GAP)) / 2.0;
                Pane::ALL
                    .into_iter()
                    .enumerate()
                    .map(|(n, pane)| {
                        let at = vec2((n % 2) as f32 * (half.x + GAP), (n / 2) as f32 * (half.y + GAP));
                        (pane, Rect::from_min_size(area.min + at, half))
                    })
                    .collect()
            }
        }
    }

    fn slice_ui(&mut self, ui: &mut Ui, frame: &mut eframe::Frame, plane: Plane, rect: Rect) {
        let index = Plane::ALL.iter().position(|p| *p == plane).unwrap_or(0);
        let Some(bounds) = document::fit_bounds(&self.document) else { return };
        let size = [f64::from(rect.width()), f64::from(rect.height())];
        let view = self.document.views[index].unwrap_or_else(|| SliceView::fit(plane, bounds, size));
        let is_flat = self.document.is_flat();
        let mut scene = self.document.scene.clone();
        if is_flat {
            // Pictures have no patient; they stand upright in this convention.
            scene.convention = viewer::Convention::Radiological;
        }
        if self.restore.compares {
            self.document.split(&mut scene, self.restore.pane_divider);
        }
        let picture = self.pictures.slice(ui.ctx(), frame.wgpu_render_state(), &scene, view, rect);
        let through = plane.axes()[2];
        let title = if is_flat {
            self.document.reference().map(|l| l.name.clone()).unwrap_or_default()
        } else {
            let sides = [['R', 'L'], ['A', 'P'], ['S', 'I']];
            let at = scene.cursor_ras[through];
            format!("{} {:.1} mm", sides[through][usize::from(at < 0.0)], at.abs())
        };
        let mut measured = self.edit.measured(plane);
        measured.extend(self.findings.iter().flat_map(findings::Findings::outlines));
        let pane = SlicePane {
            scene: &scene,
            view,
            picture,
            show_crosshair: self.show_crosshair && !is_flat,
            has_tool: self.edit.has_tool(),
            brush_mm: self.edit.brush_mm(),
            measured: &measured,
            slice_mm: self.document.step_mm(plane) / 2.0,
            has_letters: !is_flat,
            title,
            sides: ["original", "restored"],
        };
        let shown = pane.show(ui, rect);
        if shown.response.contains_pointer() {
            self.pane_under_pointer = Some(Pane::Slice(plane));
            self.hover = shown.hover_ras.or(self.hover);
        }
        for action in shown.actions {
            self.slice_action(ui.ctx(), plane, index, &action);
        }
    }

    fn slice_action(&mut self, ctx: &egui::Context, plane: Plane, index: usize, action: &ViewAction) {
        match *action {
            ViewAction::MoveCursor(ras) => self.document.move_cursor(ras),
            ViewAction::Scroll(steps) => {
                if self.document.is_flat() {
                    if let Some((id, frame, count, _)) = self.document.frames() {
                        let to = (frame as i64 + steps).rem_euclid(count as i64);
                        self.document.set_frame(id, usize::try_from(to).unwrap_or(0));
                    }
                } else {
                    self.document.scroll(plane, steps);
                }
            }
            ViewAction::MoveDivider(at) => self.restore.pane_divider = at,
            ViewAction::DragWindow { level, width } => self.drag_window(level, width),
            ViewAction::Look(view) => self.document.views[index] = Some(view),
            ViewAction::Maximise => {
                let is_max = self.document.maximised == Some(Pane::Slice(plane));
                self.document.maximised = if is_max { None } else { Some(Pane::Slice(plane)) };
                self.document.main = MainPane(Pane::Slice(plane));
            }
            ViewAction::Stroke(stroke, ras) => self.stroke(ctx, plane, stroke, ras),
            ViewAction::Resize(steps) => self.edit.resize(steps),
        }
    }

    fn drag_window(&mut self, level: f64, width: f64) {
        let Some(id) = self.document.active_image() else { return };
        let Some(Content::Image(image)) = self.document.scene.layer_mut(id).map(|l| &mut l.content) else {
            return;
        };
        let old = image.window;
        let least = (image.value_range.1 - image.value_range.0).abs().max(1e-9) * 1e-4;
        let wide = (old.width() * (1.0 + 2.0 * width)).max(least);
        image.window = Window::level_width(old.level() + 1.5 * level * old.width(), wide);
    }

    fn volume_pane_ui(&mut self, ui: &mut Ui, frame: &eframe::Frame, rect: Rect) {
        let picture = self.pictures.volume(
            ui.ctx(),
            frame.wgpu_render_state(),
            &self.document.scene,
            rect,
            self.edit.is_stroking(),
        );
        let shown = VolumePane {
            camera: &self.pictures.volume_view.camera,
            picture,
            note: self.pictures.volume_note(),
        }
        .show(ui, rect);
        if shown.response.contains_pointer() {
            self.pane_under_pointer = Some(Pane::Volume);
        }
        if let Some(camera) = shown.camera {
            self.pictures.volume_view.camera = camera;
        }
        if shown.is_double_clicked {
            let is_max = self.document.maximised == Some(Pane::Volume);
            self.document.maximised = if is_max { None } else { Some(Pane::Volume) };
            self.document.main = MainPane(Pane::Volume);
        }
        if let Some(at) = shown.clicked {
            self.pick(ui.ctx(), rect, at);
        }
    }
}
