//! The line between two layers that share a pane, with a handle to drag or to move with the keys.

use egui::{
    Align2, Color32, CursorIcon, EventFilter, Id, Key, Painter, PointerButton, Pos2, Rect, Sense, Stroke, Ui,
    WidgetInfo, pos2, vec2,
};

use super::slice_pane::text;
use crate::view::Plane;

/// Radius of the handle, points.
const KNOB: f32 = 11.0;
/// Half the width of what takes the pointer along the line, points.
const REACH: f32 = 5.0;
/// What a press of an arrow moves, as a share of the width; five times as much with Shift.
const STEP: f64 = 0.02;

/// A divider in a pane.
pub(super) struct Divider {
    /// 0..=1 of the pane's width.
    pub(super) at: f64,
    /// What is on the left and on the right.
    pub(super) sides: [&'static str; 2],
    /// Whether only the handle takes the pointer, and the line leaves it to a tool.
    pub(super) is_slim: bool,
}

impl Divider {
    /// Draws it; where it was moved to, if it was.
    pub(super) fn show(&self, ui: &mut Ui, id: Id, rect: Rect, plane: Plane) -> Option<f64> {
        let x = rect.left() + rect.width() * self.at as f32;
        let centre = pos2(x, rect.center().y);
        let knob = Rect::from_center_size(centre, vec2(2.0 * KNOB, 2.0 * KNOB));
        let response = ui.interact(knob.intersect(rect), id, Sense::click_and_drag());
        let [left, right] = self.sides;
        let name = format!("{} divider: {left} on the left, {right} on the right", plane.name());
        response.widget_info(|| WidgetInfo::slider(true, 100.0 * self.at, &name));
        let mut held = vec![response.clone()];
        if !self.is_slim {
            // Clicks go through to the pane, and the keys have the handle.
            let line = Rect::from_x_y_ranges(x - REACH..=x + REACH, rect.y_range());
            held.push(ui.interact(line.intersect(rect), id.with("line"), Sense::DRAG));
        }
        let mut to = None;
        for response in &held {
            if response.hovered() || response.dragged() {
                ui.ctx().set_cursor_icon(CursorIcon::ResizeHorizontal);
            }
            if response.dragged_by(PointerButton::Primary)
                && let Some(pointer) = response.interact_pointer_pos()
                && rect.width() > 0.0
            {
                to = Some(f64::from((pointer.x - rect.left()) / rect.width()));
            }
        }
        if response.has_focus() {
            let filter = EventFilter { horizontal_arrows: true, ..EventFilter::default() };
            ui.memory_mut(|m| m.set_focus_lock_filter(id, filter));
            to = ui.input(|i| by_keys(i, self.at)).or(to);
        }
        let is_held = response.has_focus() || held.iter().any(|r| r.hovered() || r.dragged());
        self.draw(&ui.painter_at(rect), rect, centre, is_held, response.has_focus());
        to.map(|at| at.clamp(0.0, 1.0))
    }

    fn draw(&self, painter: &Painter, rect: Rect, centre: Pos2, is_held: bool, has_focus: bool) {
        let white = Color32::from_gray(if is_held { 255 } else { 225 });
        for (width, colour) in [(3.5, Color32::from_black_alpha(150)), (1.5, white)] {
            painter.vline(centre.x, rect.y_range(), Stroke::new(width, colour));
        }
        painter.circle_filled(centre, KNOB, Color32::from_black_alpha(if is_held { 230 } else { 170 }));
        painter.circle_stroke(centre, KNOB, Stroke::new(if has_focus { 2.5 } else { 1.5 }, white));
        for sign in [-1.0, 1.0] {
            let tip = centre + vec2(sign * 7.0, 0.0);
            let base = [vec2(sign * 3.0, -3.5), vec2(sign * 3.0, 3.5)].map(|d| centre + d);
            painter.add(egui::Shape::convex_polygon(vec![tip, base[0], base[1]], white, Stroke::NONE));
        }
        // Below the pane's title, each on its side of the line while there is room for it.
        let top = rect.top() + 30.0;
        let font = egui::FontId::proportional(13.0);
        for (words, align, sign) in
            [(self.sides[0], Align2::RIGHT_TOP, -1.0), (self.sides[1], Align2::LEFT_TOP, 1.0)]
        {
            let wide = painter.layout_no_wrap(words.to_owned(), font.clone(), white).size().x + 10.0;
            let room = if sign < 0.0 { centre.x - rect.left() } else { rect.right() - centre.x };
            if wide < room {
                text(painter, pos2(centre.x + sign * 7.0, top), align, words, 13.0, white);
            }
        }
    }
}

/// Where the keys of this frame move a divider, if they do.
fn by_keys(i: &egui::InputState, at: f64) -> Option<f64> {
    let step = if i.modifiers.shift { 5.0 * STEP } else { STEP };
    let presses = |key| i.num_presses(key) as f64;
    let by = presses(Key::ArrowRight) - presses(Key::ArrowLeft);
    if i.key_pressed(Key::Home) {
        Some(0.0)
    } else if i.key_pressed(Key::End) {
        Some(1.0)
    } else {
        (by != 0.0).then_some(at + by * step)
    }
}
