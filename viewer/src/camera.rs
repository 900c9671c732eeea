//! Where the 3-D picture is seen from.
//!
//! Camera axes: x to the picture's right, y up, z towards the viewer; the camera looks along −z at the focus. World
//! points are RAS+ millimetres, pixels run from the top left corner with centres at halves.

use serde::{Deserialize, Serialize};

/// A unit quaternion `[x, y, z, w]` that turns camera axes into world axes.
pub type Quaternion = [f64; 4];

/// How lines of sight run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// From one eye point; what is near looks larger.
    #[default]
    Perspective,
    /// Parallel; lengths can be compared.
    Orthographic,
}

/// Views people have names for: from where the patient is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandardView {
    /// From the front: the patient's right is on the left, the head up.
    Anterior,
    /// From behind: the patient's right is on the right.
    Posterior,
    /// From the patient's left: the face points to the left.
    Left,
    /// From the patient's right: the face points to the right.
    Right,
    /// From above: the face points up, the patient's right is on the right.
    Superior,
    /// From the feet: the face points up, the patient's right is on the left.
    Inferior,
}

impl StandardView {
    /// All of them, in the order of listing.
    pub const ALL: [Self; 6] =
        [Self::Anterior, Self::Posterior, Self::Left, Self::Right, Self::Superior, Self::Inferior];

    /// Name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anterior => "Anterior",
            Self::Posterior => "Posterior",
            Self::Left => "Left",
            Self::Right => "Right",
            Self::Superior => "Superior",
            Self::Inferior => "Inferior",
        }
    }

    /// Direction towards the viewer and direction up in the picture, RAS.
    #[must_use]
    pub fn towards_and_up(self) -> ([f64; 3], [f64; 3]) {
        match self {
            Self::Anterior => ([0., 1., 0.], [0., 0., 1.]),
            Self::Posterior => ([0., -1., 0.], [0., 0., 1.]),
            Self::Left => ([-1., 0., 0.], [0., 0., 1.]),
            Self::Right => ([1., 0., 0.], [0., 0., 1.]),
            Self::Superior => ([0., 0., 1.], [0., 1., 0.]),
            Self::Inferior => ([0., 0., -1.], [0., 1., 0.]),
        }
    }
}

/// A line of sight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ray {
    /// Where it starts, RAS+ millimetres: the eye, or a point on the plane through the eye (orthographic).
    pub origin_ras: [f64; 3],
    /// Unit vector away from the viewer.
    pub direction_ras: [f64; 3],
}

impl Ray {
    /// The point `t_mm` along the ray.
    #[must_use]
    pub fn at(&self, t_mm: f64) -> [f64; 3] {
        [0, 1, 2].map(|a| self.origin_ras[a] + t_mm * self.direction_ras[a])
    }
}

/// The point of view of the 3-D picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Camera {
    /// The world point in the middle of the picture, about which the camera turns; RAS+ millimetres.
    pub focus_ras: [f64; 3],
    /// Turns camera axes into world axes; unit length.
    pub orientation: Quaternion,
    /// From the eye to the focus, above 0. In orthographic projection it sets the scale with `field_rad`.
    pub distance_mm: f64,
    /// Vertical field of view in radians, above 0 and below π. The plane through the focus shows
    /// `2 · distance_mm · tan(field_rad / 2)` millimetres over the picture's height in both projections.
    pub field_rad: f64,
    /// How lines of sight run.
    pub projection: Projection,
}

impl Default for Camera {
    /// From the front, half a metre from the origin, 30° field.
    fn default() -> Self {
        Self {
            focus_ras: [0.0; 3],
            orientation: looking(StandardView::Anterior.towards_and_up()),
            distance_mm: 500.0,
            field_rad: 30f64.to_radians(),
            projection: Projection::Perspective,
        }
    }
}

impl Camera {
    /// Turns by a drag of `(dx, dy)` pixels (right and down positive) in a picture `height_px` high, as if the object
    /// were held at its front: a drag over the height turns by 180°.
    pub fn rotate_by(&mut self, dx: f64, dy: f64, height_px: f64) {
        let angle = |pixels: f64| -pixels * std::f64::consts::PI / height_px.max(1.0);
        let turn = multiply(about([0.0, 1.0, 0.0], angle(dx)), about([1.0, 0.0, 0.0], angle(dy)));
        self.orientation = normalised(multiply(self.orientation, turn));
    }

    /// Turns about the line of sight, counter-clockwise in the picture for positive angles (the object turns).
    pub fn roll_by(&mut self, angle_rad: f64) {
        self.orientation = normalised(multiply(self.orientation, about([0.0, 0.0, 1.0], -angle_rad)));
    }

    /// Goes round the focus, about an axis of the world (RAS+, unit length), counter-clockwise seen from its tip.
    pub fn turn_about_ras(&mut self, axis_ras: [f64; 3], angle_rad: f64) {
        self.orientation = normalised(multiply(about(axis_ras, angle_rad), self.orientation));
    }

    /// Moves with a drag of `(dx, dy)` pixels (right and down positive): what lies in the plane of the focus follows
    /// the pointer.
    pub fn pan_by(&mut self, dx: f64, dy: f64, height_px: f64) {
        let scale = self.mm_per_px(height_px);
        let [right, up, _] = self.axes();
        for a in 0..3 {
            self.focus_ras[a] += scale * (-dx * right[a] + dy * up[a]);
        }
    }

    /// Comes nearer by `factor` (2 shows things twice as large); kept between 0.01 mm and 1 km.
    pub fn zoom_by(&mut self, factor: f64) {
        if factor.is_finite() && factor > 0.0 {
            self.distance_mm = (self.distance_mm / factor).clamp(0.01, 1e6);
        }
    }

    /// Shows a whole box (RAS+ millimetres, least and greatest corner): focus on its middle, and as far away as its
    /// bounding sphere needs, bare corners left out, so that what it holds stays in the picture however it is turned. `aspect` is width / height.
    pub fn fit(&mut self, bounds_ras: ([f64; 3], [f64; 3]), aspect: f64) {
        let (low, high) = bounds_ras;
        self.focus_ras = [0, 1, 2].map(|a| f64::midpoint(low[a], high[a]));
        let radius = formats::affine::norm([0, 1, 2].map(|a| (high[a] - low[a]) / 2.0)).max(1e-3);
        let half = (self.field_rad / 2.0).tan() * aspect.clamp(0.1, 1.0);
        // Heads and bodies fill their box's sphere badly; seen from a side, a cube reaches to 0.58 of it.
        self.distance_mm = match self.projection {
            Projection::Perspective => 0.68 * radius / half.atan().sin(),
            Projection::Orthographic => 0.68 * radius / half,
        };
    }

    /// Turns to a named view; focus and distance stay.
    pub fn look_from(&mut self, view: StandardView) {
        self.orientation = looking(view.towards_and_up());
    }

    /// Camera axes in the world: right, up, towards the viewer. Rows of `camera_from_world`, so a direction `d` is
    /// drawn (on an orientation cube, say) at `(right · d, up · d)` with depth `towards · d`.
    #[must_use]
    pub fn axes(&self) -> [[f64; 3]; 3] {
        let q = self.orientation;
        [rotate(q, [1., 0., 0.]), rotate(q, [0., 1., 0.]), rotate(q, [0., 0., 1.])]
    }

    /// Where the eye is, RAS+ millimetres.
    #[must_use]
    pub fn eye_ras(&self) -> [f64; 3] {
        let towards = rotate(self.orientation, [0., 0., 1.]);
        [0, 1, 2].map(|a| self.focus_ras[a] + self.distance_mm * towards[a])
    }

    /// Millimetres per pixel in the plane through the focus, for a picture `height_px` high.
    #[must_use]
    pub fn mm_per_px(&self, height_px: f64) -> f64 {
        2.0 * self.distance_mm * (self.field_rad / 2.0).tan() / height_px.max(1.0)
    }

    /// The lines of sight of a picture of `size_px`, prepared once for all its pixels.
    #[must_use]
    pub fn rays(&self, size_px: [f64; 2]) -> Rays {
        let scale = self.mm_per_px(size_px[1]);
        let [right, up, towards] = self.axes();
        let eye = self.eye_ras();
        let at_focus = [0, 1, 2]
            .map(|a| self.focus_ras[a] + scale * (-size_px[0] / 2.0 * right[a] + size_px[1] / 2.0 * up[a]));
        Rays {
            eye,
            towards,
            top_left: at_focus,
            across: right.map(|v| v * scale),
            down: up.map(|v| -v * scale),
            distance: self.distance_mm,
            projection: self.projection,
        }
    }

    /// The line of sight through picture coordinates `(x, y)` (top left corner is 0, 0; pixel centres at halves).
    #[must_use]
    pub fn ray(&self, x: f64, y: f64, size_px: [f64; 2]) -> Ray {
        self.rays(size_px).at(x, y)
    }

    /// Picture coordinates `(x, y)` of a world point and its distance from the eye along the view axis in
    /// millimetres, or `None` behind the eye.
    #[must_use]
    pub fn project(&self, point_ras: [f64; 3], size_px: [f64; 2]) -> Option<([f64; 2], f64)> {
        let [right, up, towards] = self.axes();
        let eye = self.eye_ras();
        let d = [0, 1, 2].map(|a| point_ras[a] - eye[a]);
        let depth = -dot(d, towards);
        if depth <= 0.0 {
            return None;
        }
        let shrink = match self.projection {
            Projection::Perspective => self.distance_mm / depth,
            Projection::Orthographic => 1.0,
        };
        let px = shrink / self.mm_per_px(size_px[1]);
        Some(([size_px[0] / 2.0 + dot(d, right) * px, size_px[1] / 2.0 - dot(d, up) * px], depth))
    }
}

/// All lines of sight of one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rays {
    /// The eye, RAS+ millimetres.
    pub eye: [f64; 3],
    /// Towards the viewer, unit.
    pub towards: [f64; 3],
    /// The world point at picture coordinates (0, 0) in the plane of the focus.
    pub top_left: [f64; 3],
    /// One pixel to the right in that plane, millimetres.
    pub across: [f64; 3],
    /// One pixel down in that plane, millimetres.
    pub down: [f64; 3],
    /// From the eye to the plane of the focus, millimetres.
    pub distance: f64,
    /// How they run.
    pub projection: Projection,
}

impl Rays {
    /// The line of sight through picture coordinates `(x, y)`.
    #[must_use]
    pub fn at(&self, x: f64, y: f64) -> Ray {
        let p = [0, 1, 2].map(|a| self.top_left[a] + x * self.across[a] + y * self.down[a]);
        match self.projection {
            Projection::Perspective => {
                let d = [0, 1, 2].map(|a| p[a] - self.eye[a]);
                let length = formats::affine::norm(d);
                Ray { origin_ras: self.eye, direction_ras: d.map(|v| v / length) }
            }
            Projection::Orthographic => Ray {
                origin_ras: [0, 1, 2].map(|a| p[a] + self.distance * self.towards[a]),
                direction_ras: self.towards.map(|v| -v),
            },
        }
    }
}

/// Scalar product.
#[must_use]
pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The rotation that applies `b` first, then `a`.
fn multiply(a: Quaternion, b: Quaternion) -> Quaternion {
    let ([x, y, z, w], [p, q, r, s]) = (a, b);
    [
        w * p + x * s + y * r - z * q,
        w * q - x * r + y * s + z * p,
        w * r + x * q - y * p + z * s,
        w * s - x * p - y * q - z * r,
    ]
}

fn about(axis: [f64; 3], angle_rad: f64) -> Quaternion {
    let (s, c) = (angle_rad / 2.0).sin_cos();
    [axis[0] * s, axis[1] * s, axis[2] * s, c]
}

fn normalised(q: Quaternion) -> Quaternion {
    let n = q.iter().map(|v| v * v).sum::<f64>().sqrt();
    if n.is_finite() && n > 1e-12 { q.map(|v| v / n) } else { [0.0, 0.0, 0.0, 1.0] }
}

fn rotate(q: Quaternion, v: [f64; 3]) -> [f64; 3] {
    let u = [q[0], q[1], q[2]];
    let t = cross(u, v).map(|c| 2.0 * c);
    let c = cross(u, t);
    [0, 1, 2].map(|a| v[a] + q[3] * t[a] + c[a])
}

/// The orientation whose z axis points towards the viewer and whose y axis points up (unit, perpendicular).
fn looking((towards, up): ([f64; 3], [f64; 3])) -> Quaternion {
    let right = cross(up, towards);
    // Columns right, up, towards; the largest of the four squares keeps the division well conditioned.
    let m = [right, up, towards];
    let trace = m[0][0] + m[1][1] + m[2][2];
    let squares = [m[0][0] * 2.0 - trace, m[1][1] * 2.0 - trace, m[2][2] * 2.0 - trace, trace];
    let best = (0..4).fold(0, |b, i| if squares[i] > squares[b] { i } else { b });
    let s = (1.0 + squares[best]).sqrt() * 2.0;
    // m[c][r] is row r of column c.
    let q = match best {
        0 => [s / 4.0, (m[1][0] + m[0][1]) / s, (m[2][0] + m[0][2]) / s, (m[1][2] - m[2][1]) / s],
        1 => [(m[1][0] + m[0][1]) / s, s / 4.0, (m[2][1] + m[1][2]) / s, (m[2][0] - m[0][2]) / s],
        2 => [(m[2][0] + m[0][2]) / s, (m[2][1] + m[1][2]) / s, s / 4.0, (m[0][1] - m[1][0]) / s],
        _ => [(m[1][2] - m[2][1]) / s, (m[2][0] - m[0][2]) / s, (m[0][1] - m[1][0]) / s, s / 4.0],
    };
    normalised(q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: [f64; 2] = [640.0, 480.0];

    fn close(a: [f64; 3], b: [f64; 3]) -> bool {
        (0..3).all(|i| (a[i] - b[i]).abs() < 1e-9)
    }

    #[test]
    fn standard_views_show_the_patient_the_right_way_round() {
        for view in StandardView::ALL {
            let mut camera = Camera::default();
            camera.look_from(view);
            let (towards, up) = view.towards_and_up();
            let [right, y, z] = camera.axes();
            assert!(close(z, towards) && close(y, up) && close(right, cross(up, towards)), "{view:?}");
        }
        // Seen from the front and from the feet the patient's right is on the left.
        for (view, on_the_left) in [
            (StandardView::Anterior, true),
            (StandardView::Inferior, true),
            (StandardView::Posterior, false),
            (StandardView::Superior, false),
        ] {
            for projection in [Projection::Perspective, Projection::Orthographic] {
                let mut camera = Camera { projection, ..Camera::default() };
                camera.look_from(view);
                let ([x, y], _) = camera.project([60.0, 0.0, 0.0], SIZE).unwrap();
                assert_eq!(x < SIZE[0] / 2.0, on_the_left, "{view:?}");
                assert!((y - SIZE[1] / 2.0).abs() < 1e-9);
            }
        }
        // From the patient's left the face points to the left.
        let mut camera = Camera::default();
        camera.look_from(StandardView::Left);
        assert!(camera.project([0.0, 60.0, 0.0], SIZE).unwrap().0[0] < SIZE[0] / 2.0);
    }

    #[test]
    fn a_drag_moves_the_front_of_the_object_with_the_pointer() {
        let mut camera = Camera::default();
        camera.rotate_by(10.0, 0.0, SIZE[1]);
        // The point nearest the viewer before: it went right.
        assert!(camera.project([0.0, 50.0, 0.0], SIZE).unwrap().0[0] > SIZE[0] / 2.0);
        let mut camera = Camera::default();
        camera.rotate_by(0.0, 10.0, SIZE[1]);
        assert!(camera.project([0.0, 50.0, 0.0], SIZE).unwrap().0[1] > SIZE[1] / 2.0);
        // A drag over the height turns to the other side.
        let mut camera = Camera::default();
        camera.rotate_by(SIZE[1], 0.0, SIZE[1]);
        assert!(close(camera.axes()[2], [0.0, -1.0, 0.0]));
    }

    #[test]
    fn panning_keeps_the_point_under_the_pointer() {
        let mut camera = Camera::default();
        camera.rotate_by(37.0, -12.0, SIZE[1]);
        let ([x, y], _) = camera.project(camera.focus_ras, SIZE).unwrap();
        let held = camera.focus_ras;
        camera.pan_by(25.0, -14.0, SIZE[1]);
        let ([x2, y2], _) = camera.project(held, SIZE).unwrap();
        assert!((x2 - x - 25.0).abs() < 1e-9 && (y2 - y + 14.0).abs() < 1e-9);
    }

    #[test]
    fn both_projections_have_one_scale_at_the_focus_and_zoom_doubles_it() {
        for projection in [Projection::Perspective, Projection::Orthographic] {
            let mut camera = Camera { projection, ..Camera::default() };
            let offset = |c: &Camera| c.project([0.0, 0.0, 30.0], SIZE).unwrap().0[1];
            let expected = SIZE[1] / 2.0 - 30.0 / camera.mm_per_px(SIZE[1]);
            assert!((offset(&camera) - expected).abs() < 1e-9);
            camera.zoom_by(2.0);
            assert!((SIZE[1] / 2.0 - offset(&camera) - 2.0 * (SIZE[1] / 2.0 - expected)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_fitted_box_is_in_the_picture() {
        for projection in [Projection::Perspective, Projection::Orthographic] {
            for aspect in [0.5, 1.0, 2.0] {
                let mut camera = Camera { projection, ..Camera::default() };
                camera.fit(([-10.0, 20.0, 0.0], [90.0, 120.0, 100.0]), aspect);
                assert!(close(camera.focus_ras, [40.0, 70.0, 50.0]));
                let size = [480.0 * aspect, 480.0];
                for a in 0..3 {
                    let mut p = camera.focus_ras;
                    p[a] += 50.0;
                    let ([x, y], _) = camera.project(p, size).unwrap();
                    assert!((0.0..size[0]).contains(&x) && (0.0..size[1]).contains(&y));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_point_on_a_ray_projects_back_to_its_pixel(
            x in 0.0..640.0f64, y in 0.0..480.0f64, t in 10.0..2000.0f64,
            dx in -500.0..500.0f64, dy in -500.0..500.0f64, orthographic: bool,
        ) {
            let mut camera = Camera { focus_ras: [3.0, -40.0, 12.0], ..Camera::default() };
            if orthographic { camera.projection = Projection::Orthographic; }
            camera.rotate_by(dx, dy, 480.0);
            let ray = camera.ray(x, y, SIZE);
            prop_assert!((formats::affine::norm(ray.direction_ras) - 1.0).abs() < 1e-12);
            let ([px, py], depth) = camera.project(ray.at(t), SIZE).unwrap();
            prop_assert!((px - x).abs() < 1e-6 && (py - y).abs() < 1e-6, "{px} {py}");
            prop_assert!(depth > 0.0 && depth <= t + 1e-9);
        }
    }
}
