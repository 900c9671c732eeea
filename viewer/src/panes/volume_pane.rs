//! The 3-D pane: picture, orientation cube and camera gestures.

use egui::{
    Align2, Color32, PointerButton, Pos2, Rect, Response, Role, Sense, TextureId, Ui, WidgetInfo, vec2,
};

use super::slice_pane::text;
use super::{fill, orientation};
use crate::camera::Camera;

/// What is shown.
pub struct VolumePane<'a> {
    /// From where.
    pub camera: &'a Camera,
    /// The rendered picture, or none while it is not there yet.
    pub picture: Option<TextureId>,
    /// A remark at the lower left, e.g. who renders.
    pub note: String,
}

/// What happened in the pane.
pub struct VolumeResponse {
    /// The area.
    pub response: Response,
    /// The camera after the gestures, when they moved it.
    pub camera: Option<Camera>,
    /// Where the pane was clicked, from its top left corner in points.
    pub clicked: Option<Pos2>,
    /// Whether it was double clicked.
    pub is_double_clicked: bool,
}

impl VolumePane<'_> {
    /// Draws the pane into `rect` and turns gestures into another camera: left drag rotates (with Shift pans), middle
    /// drag pans, wheel and right drag zoom.
    pub fn show(self, ui: &mut Ui, rect: Rect) -> VolumeResponse {
        let id = ui.make_persistent_id("volume pane");
        let response = ui.interact(rect, id, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, "3-D view"));
        let painter = ui.painter_at(rect);
        fill(&painter, rect, self.picture, Color32::from_rgb(8, 9, 12));
        let inner = rect.shrink(8.0);
        text(&painter, inner.min, Align2::LEFT_TOP, "3-D", 13.0, Color32::from_rgb(130, 170, 240));
        if !self.note.is_empty() {
            text(
                &painter,
                inner.left_bottom(),
                Align2::LEFT_BOTTOM,
                &self.note,
                11.0,
                Color32::from_gray(170),
            );
        }
        let size = (rect.height() * 0.05).clamp(12.0, 24.0);
        orientation::cube(&painter, inner.right_top() + vec2(-1.8 * size, 1.8 * size), size, self.camera);
        let camera = self.moved(ui, &response, rect);
        let clicked = response.clicked().then(|| response.interact_pointer_pos()).flatten();
        VolumeResponse {
            camera,
            clicked: clicked.map(|p| p - rect.min.to_vec2()),
            is_double_clicked: response.double_clicked(),
            response,
        }
    }

    fn moved(&self, ui: &Ui, response: &Response, rect: Rect) -> Option<Camera> {
        let mut camera = *self.camera;
        let by = response.drag_delta();
        let (dx, dy, height) = (f64::from(by.x), f64::from(by.y), f64::from(rect.height()));
        let shift = ui.input(|i| i.modifiers.shift);
        if response.dragged_by(PointerButton::Middle)
            || (response.dragged_by(PointerButton::Primary) && shift)
        {
            camera.pan_by(dx, dy, height);
        } else if response.dragged_by(PointerButton::Primary) {
            camera.rotate_by(dx, dy, height);
        } else if response.dragged_by(PointerButton::Secondary) {
            camera.zoom_by((-dy / height * 3.0).exp());
        }
        if response.contains_pointer() {
            let (scroll, zoom) =
                ui.input(|i| (f64::from(i.smooth_scroll_delta().y), f64::from(i.zoom_delta())));
            camera.zoom_by((scroll / 300.0).exp() * zoom);
        }
        (camera != *self.camera).then_some(camera)
    }
}
