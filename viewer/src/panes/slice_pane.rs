//! A slice with crosshair, letters, scale bar and gestures.

use egui::{
    Align2, Color32, FontId, PointerButton, Pos2, Rect, Response, Role, Sense, Stroke as Line, TextureId, Ui,
    Vec2, WidgetInfo, pos2, vec2,
};
use formats::Affine;

use super::divider::Divider;
use super::{Stroke, ViewAction, fill};
use crate::scene::Scene;
use crate::view::{Plane, SliceView};

/// Points of a trackpad's scrolling that count as one click of a wheel.
const POINTS_PER_CLICK: f32 = 32.0;

/// The colour that stands for a plane: of its crosshair line in the other panes and of its title.
#[must_use]
pub fn plane_colour(plane: Plane) -> Color32 {
    match plane {
        Plane::Axial => Color32::from_rgb(240, 96, 96),
        Plane::Coronal => Color32::from_rgb(120, 206, 110),
        Plane::Sagittal => Color32::from_rgb(240, 200, 80),
    }
}

/// A measurement to be drawn: a line of world points and a text beside its last one.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Corners, RAS+ millimetres.
    pub points_ras: Vec<[f64; 3]>,
    /// Whether the last point joins the first.
    pub is_closed: bool,
    /// E.g. `"12.3 mm"`.
    pub text: String,
}

/// What is shown and how.
pub struct SlicePane<'a> {
    /// Cursor and convention.
    pub scene: &'a Scene,
    /// Plane, zoom, centre; `mm_per_px` is millimetres per point of the screen.
    pub view: SliceView,
    /// The rendered picture, or none while it is not there yet.
    pub picture: Option<TextureId>,
    /// Crosshair lines.
    pub show_crosshair: bool,
    /// Whether a tool takes the left button; otherwise it moves the crosshair.
    pub has_tool: bool,
    /// Radius of the brush to be drawn round the pointer, millimetres.
    pub brush_mm: Option<f64>,
    /// Measurements; those away from this slice by more than `slice_mm` are left out.
    pub measured: &'a [Measured],
    /// Half the distance between slices.
    pub slice_mm: f64,
    /// Whether the picture has a place in a patient: letters are drawn only then.
    pub has_letters: bool,
    /// At the top left, after the plane's name.
    pub title: String,
    /// What is on the left and on the right of [`Scene::split`]'s line.
    pub sides: [&'static str; 2],
}

/// What happened in a pane.
pub struct SliceResponse {
    /// The area.
    pub response: Response,
    /// What the gestures ask for, in order.
    pub actions: Vec<ViewAction>,
    /// The world point under the pointer.
    pub hover_ras: Option<[f64; 3]>,
}

/// World from screen points and back, for one pane.
struct Place {
    world_from_screen: Affine,
    screen_from_world: Affine,
    origin: Pos2,
}

impl Place {
    fn world(&self, p: Pos2) -> [f64; 3] {
        let d = p - self.origin;
        self.world_from_screen.apply([f64::from(d.x), f64::from(d.y), 0.0])
    }

    /// Screen position, and distance from the slice in millimetres.
    fn screen(&self, ras: [f64; 3]) -> (Pos2, f64) {
        let p = self.screen_from_world.apply(ras);
        (self.origin + vec2(p[0] as f32, p[1] as f32), p[2])
    }
}

impl SlicePane<'_> {
    /// Draws the pane into `rect` and collects gestures.
    pub fn show(self, ui: &mut Ui, rect: Rect) -> SliceResponse {
        let plane = self.view.plane;
        let id = ui.make_persistent_id(("slice pane", plane));
        let response = ui.interact(rect, id, Sense::click_and_drag());
        let label = format!("{} slice", plane.name());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, &label));
        let size = [f64::from(rect.width()), f64::from(rect.height())];
        let world_from_screen =
            self.view.world_from_pixel(size, self.scene.convention, self.scene.cursor_ras);
        let place = Place {
            world_from_screen,
            // Never singular: the columns are the world's axes times positive numbers.
            screen_from_world: world_from_screen.inverse().unwrap_or(Affine::IDENTITY),
            origin: rect.min,
        };
        let painter = ui.painter_at(rect);
        fill(&painter, rect, self.picture, Color32::BLACK);
        self.draw_crosshair(&painter, rect, &place);
        self.draw_measured(&painter, &place);
        self.draw_texts(&painter, rect);
        let (mut actions, hover_ras) = self.gestures(ui, &response, rect, &place);
        if let Some(split) = self.scene.split {
            // After the pane, so that the line is on top of it for the pointer, too.
            let divider = Divider { at: split.at, sides: self.sides, is_slim: self.has_tool };
            actions.extend(divider.show(ui, id.with("divider"), rect, plane).map(ViewAction::MoveDivider));
        }
        if let (Some(radius), Some(pointer)) = (self.brush_mm, response.hover_pos()) {
            let points = (radius / self.view.mm_per_px) as f32;
            painter.circle_stroke(pointer, points.max(1.0), Line::new(1.5, Color32::from_white_alpha(200)));
            painter.circle_stroke(
                pointer,
                points.max(1.0) + 1.0,
                Line::new(0.5, Color32::from_black_alpha(160)),
            );
        }
        SliceResponse { response, actions, hover_ras }
    }

    fn draw_crosshair(&self, painter: &egui::Painter, rect: Rect, place: &Place) {
        if !self.show_crosshair {
            return;
        }
        let [across, down, _] = self.view.plane.axes();
        let (centre, _) = place.screen(self.scene.cursor_ras);
        let colour_of = |axis: usize| {
            let plane = Plane::ALL.into_iter().find(|p| p.axes()[2] == axis);
            plane.map_or(Color32::GRAY, plane_colour).gamma_multiply(0.85)
        };
        // A gap in the middle leaves the voxel under the cursor free.
        let gap = 10.0;
        let line = |from: Pos2, to: Pos2, axis: usize| {
            painter.line_segment([from, to], Line::new(1.0, colour_of(axis)));
        };
        // The vertical line is where the plane perpendicular to the axis across cuts this one.
        line(pos2(centre.x, rect.top()), pos2(centre.x, centre.y - gap), across);
        line(pos2(centre.x, centre.y + gap), pos2(centre.x, rect.bottom()), across);
        line(pos2(rect.left(), centre.y), pos2(centre.x - gap, centre.y), down);
        line(pos2(centre.x + gap, centre.y), pos2(rect.right(), centre.y), down);
    }

    fn draw_measured(&self, painter: &egui::Painter, place: &Place) {
        let colour = Color32::from_rgb(255, 220, 90);
        for measured in self.measured {
            let points: Vec<(Pos2, f64)> = measured.points_ras.iter().map(|p| place.screen(*p)).collect();
            if points.is_empty() || points.iter().any(|(_, away)| away.abs() > self.slice_mm.max(0.5) + 1e-6)
            {
                continue;
            }
            let mut line: Vec<Pos2> = points.iter().map(|(p, _)| *p).collect();
            if measured.is_closed {
                line.push(line[0]);
            }
            for pair in line.windows(2) {
                painter.line_segment([pair[0], pair[1]], Line::new(3.0, Color32::from_black_alpha(150)));
                painter.line_segment([pair[0], pair[1]], Line::new(1.5, colour));
            }
            if !measured.is_closed {
                for p in &line {
                    painter.circle_filled(*p, 3.0, colour);
                }
            }
            let at = *line.last().unwrap_or(&Pos2::ZERO) + vec2(8.0, -8.0);
            text(painter, at, Align2::LEFT_BOTTOM, &measured.text, 13.0, colour);
        }
    }

    fn draw_texts(&self, painter: &egui::Painter, rect: Rect) {
        let plane = self.view.plane;
        let inner = rect.shrink(8.0);
        if self.has_letters {
            let letters = plane.letters(self.scene.convention);
            let places = [
                (inner.left_center(), Align2::LEFT_CENTER),
                (inner.right_center(), Align2::RIGHT_CENTER),
                (inner.center_top(), Align2::CENTER_TOP),
                (inner.center_bottom(), Align2::CENTER_BOTTOM),
            ];
            for (letter, (at, align)) in letters.into_iter().zip(places) {
                text(painter, at, align, &letter.to_string(), 15.0, Color32::from_rgb(255, 214, 92));
            }
            let name = text(painter, inner.min, Align2::LEFT_TOP, plane.name(), 13.0, plane_colour(plane));
            let beside = pos2(name.right() + 8.0, inner.top());
            let font = FontId::proportional(13.0);
            let wide = painter.layout_no_wrap(self.title.clone(), font, Color32::WHITE).size().x;
            // In narrow panes the letter in the middle of the edge needs the room.
            if beside.x + wide < inner.center().x - 10.0 {
                text(painter, beside, Align2::LEFT_TOP, &self.title, 13.0, Color32::from_gray(200));
            }
        } else {
            text(painter, inner.min, Align2::LEFT_TOP, &self.title, 13.0, Color32::from_gray(200));
        }
        self.draw_scale_bar(painter, inner);
    }

    /// A bar of a round length, about a sixth of the pane.
    fn draw_scale_bar(&self, painter: &egui::Painter, inner: Rect) {
        let wanted = f64::from(inner.width()) / 6.0 * self.view.mm_per_px;
        if inner.width() < 160.0 || !wanted.is_finite() || wanted <= 0.0 {
            return;
        }
        let length = round_length(wanted);
        let points = (length / self.view.mm_per_px) as f32;
        let y = inner.bottom() - 2.0;
        let (left, right) = (pos2(inner.left(), y), pos2(inner.left() + points, y));
        for (width, colour) in [(4.0, Color32::from_black_alpha(150)), (2.0, Color32::from_gray(230))] {
            painter.line_segment([left, right], Line::new(width, colour));
            for end in [left, right] {
                painter.line_segment([end - vec2(0.0, 4.0), end + vec2(0.0, 2.0)], Line::new(width, colour));
            }
        }
        let words = if self.has_letters { length_text(length) } else { format!("{length:.0} px") };
        text(painter, pos2(left.x, y - 6.0), Align2::LEFT_BOTTOM, &words, 12.0, Color32::from_gray(230));
    }

    fn gestures(
        &self,
        ui: &Ui,
        response: &Response,
        rect: Rect,
        place: &Place,
    ) -> (Vec<ViewAction>, Option<[f64; 3]>) {
        let mut actions = Vec::new();
        let pointer = response.interact_pointer_pos().or_else(|| response.hover_pos());
        let (modifiers, zoom) = ui.input(|i| (i.modifiers, f64::from(i.zoom_delta())));
        if response.double_clicked() {
            actions.push(ViewAction::Maximise);
            return (actions, pointer.map(|p| place.world(p)));
        }
        let is_panning = response.dragged_by(PointerButton::Middle)
            || (response.dragged_by(PointerButton::Primary) && modifiers.shift);
        if is_panning {
            actions.push(ViewAction::Look(self.panned(response.drag_delta())));
        } else if response.dragged_by(PointerButton::Secondary) {
            let by = response.drag_delta();
            if by != Vec2::ZERO {
                actions.push(ViewAction::DragWindow {
                    level: f64::from(by.y) / f64::from(rect.height()),
                    width: f64::from(by.x) / f64::from(rect.width()),
                });
            }
        } else if let Some(p) = pointer {
            self.left_button(ui, response, place.world(p), &mut actions);
        }
        if response.contains_pointer() {
            if (zoom - 1.0).abs() > 1e-6
                && let Some(p) = pointer
            {
                actions.push(ViewAction::Look(self.zoomed(place.world(p), zoom)));
            } else if let Some(clicks) = wheel_clicks(ui, response) {
                let resizes = self.has_tool && self.brush_mm.is_some() && modifiers.alt;
                actions.push(if resizes { ViewAction::Resize(clicks) } else { ViewAction::Scroll(clicks) });
            }
        }
        (actions, response.hover_pos().map(|p| place.world(p)))
    }

    fn left_button(&self, ui: &Ui, response: &Response, ras: [f64; 3], actions: &mut Vec<ViewAction>) {
        let (is_down, went_down, went_up) = ui
            .input(|i| (i.pointer.primary_down(), i.pointer.primary_pressed(), i.pointer.primary_released()));
        if self.has_tool {
            let held = response.is_pointer_button_down_on();
            if went_down && held {
                actions.push(ViewAction::Stroke(Stroke::Begin, ras));
            } else if is_down && held && response.dragged() {
                actions.push(ViewAction::Stroke(Stroke::Move, ras));
            }
            if went_up && (response.drag_stopped() || response.clicked()) {
                actions.push(ViewAction::Stroke(Stroke::End, ras));
            }
        } else if is_down && response.is_pointer_button_down_on() || response.clicked() {
            actions.push(ViewAction::MoveCursor(ras));
        }
    }

    fn panned(&self, by: Vec2) -> SliceView {
        let [across, down, _] = self.view.plane.axes();
        let mut view = self.view;
        let sign = if view.plane.across_is_positive(self.scene.convention) { -1.0 } else { 1.0 };
        view.centre_ras[across] += sign * f64::from(by.x) * view.mm_per_px;
        view.centre_ras[down] += f64::from(by.y) * view.mm_per_px;
        view
    }

    /// Larger by `factor`, with the world point `fixed` staying where it is.
    fn zoomed(&self, fixed: [f64; 3], factor: f64) -> SliceView {
        let mut view = self.view;
        view.mm_per_px = (view.mm_per_px / factor).clamp(1e-4, 1e3);
        let kept = view.mm_per_px / self.view.mm_per_px;
        for axis in 0..3 {
            view.centre_ras[axis] = fixed[axis] + (self.view.centre_ras[axis] - fixed[axis]) * kept;
        }
        view
    }
}

/// Whole clicks of the wheel since the last frame; scrolling by points is gathered until it makes one.
fn wheel_clicks(ui: &Ui, response: &Response) -> Option<i64> {
    let (mut lines, mut points) = (0.0, 0.0);
    ui.input(|i| {
        for event in &i.events {
            if let egui::Event::MouseWheel { unit, delta, modifiers, .. } = event
                && !modifiers.command
            {
                match unit {
                    egui::MouseWheelUnit::Point => points += delta.y,
                    egui::MouseWheelUnit::Line => lines += delta.y,
                    egui::MouseWheelUnit::Page => lines += delta.y * 10.0,
                }
            }
        }
    });
    if lines == 0.0 && points == 0.0 {
        return None;
    }
    let gathered_id = response.id.with("scroll");
    let gathered =
        ui.data(|d| d.get_temp::<f32>(gathered_id)).unwrap_or(0.0) + points / POINTS_PER_CLICK + lines;
    let whole = gathered.trunc();
    ui.data_mut(|d| d.insert_temp(gathered_id, gathered - whole));
    (whole != 0.0).then_some(whole as i64)
}

/// Text with a dark rim, legible on any picture. Returns its place.
pub(super) fn text(
    painter: &egui::Painter,
    at: Pos2,
    align: Align2,
    words: &str,
    size: f32,
    colour: Color32,
) -> Rect {
    let font = FontId::proportional(size);
    for offset in [vec2(1.0, 1.0), vec2(-1.0, 1.0), vec2(1.0, -1.0), vec2(-1.0, -1.0)] {
        painter.text(at + offset, align, words, font.clone(), Color32::from_black_alpha(170));
    }
    painter.text(at, align, words, font, colour)
}

/// The largest of 1, 2, 5 times a power of ten that is not above `length`.
fn round_length(length: f64) -> f64 {
    let decade = 10f64.powf(length.log10().floor());
    [5.0, 2.0].into_iter().find(|f| f * decade <= length).unwrap_or(1.0) * decade
}

fn length_text(mm: f64) -> String {
    if mm >= 10.0 {
        format!("{:.0} cm", mm / 10.0)
    } else if mm >= 1.0 {
        format!("{mm:.0} mm")
    } else {
        format!("{:.0} µm", mm * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_bars_have_round_lengths() {
        for (wanted, length, words) in
            [(37.0, 20.0, "2 cm"), (5.1, 5.0, "5 mm"), (10.0, 10.0, "1 cm"), (0.19, 0.1, "100 µm")]
        {
            let found = round_length(wanted);
            assert!((found - length).abs() < 1e-9 * length, "{wanted}: {found}");
            assert_eq!(length_text(found), words);
        }
    }

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let scene = Scene { cursor_ras: [1.0, 2.0, 3.0], ..Scene::default() };
        let view = SliceView { plane: Plane::Coronal, centre_ras: [10.0, -5.0, 20.0], mm_per_px: 0.5 };
        let pane = SlicePane {
            scene: &scene,
            view,
            picture: None,
            show_crosshair: true,
            has_tool: false,
            brush_mm: None,
            measured: &[],
            slice_mm: 0.5,
            has_letters: true,
            title: String::new(),
            sides: [""; 2],
        };
        let size = [400.0, 300.0];
        let at = |v: SliceView, p| v.world_from_pixel(size, scene.convention, scene.cursor_ras).apply(p);
        let fixed = at(view, [120.0, 80.0, 0.0]);
        let after = at(pane.zoomed(fixed, 1.7), [120.0, 80.0, 0.0]);
        assert!((0..3).all(|a| (after[a] - fixed[a]).abs() < 1e-9), "{fixed:?} {after:?}");
        // Panning moves the picture with the pointer.
        let moved = at(pane.panned(vec2(30.0, 10.0)), [150.0, 90.0, 0.0]);
        assert!((0..3).all(|a| (moved[a] - fixed[a]).abs() < 1e-9), "{fixed:?} {moved:?}");
    }
}
