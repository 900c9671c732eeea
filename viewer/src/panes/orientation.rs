//! The orientation cube: which way the patient lies in a 3-D picture.

use egui::{Align2, Color32, FontId, Painter, Pos2, Shape, Stroke, pos2};

use crate::camera::{Camera, dot};

/// The six sides: outward direction (RAS) and letter.
const SIDES: [([f64; 3], &str); 6] = [
    ([1.0, 0.0, 0.0], "R"),
    ([-1.0, 0.0, 0.0], "L"),
    ([0.0, 1.0, 0.0], "A"),
    ([0.0, -1.0, 0.0], "P"),
    ([0.0, 0.0, 1.0], "S"),
    ([0.0, 0.0, -1.0], "I"),
];

/// Draws the cube around `centre`, `size` points from middle to face: the faces that are seen, with their letters.
pub fn cube(painter: &Painter, centre: Pos2, size: f32, camera: &Camera) {
    let [across, up, towards] = camera.axes();
    let place =
        |p: [f64; 3]| pos2(centre.x + dot(p, across) as f32 * size, centre.y - dot(p, up) as f32 * size);
    for (n, (normal, letter)) in SIDES.iter().enumerate() {
        let facing = dot(*normal, towards);
        if facing <= 0.02 {
            continue;
        }
        let axis = n / 2;
        let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
        let corners: Vec<Pos2> = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
            .into_iter()
            .map(|(s, t)| {
                let mut p = *normal;
                p[b] = s;
                p[c] = t;
                place(p)
            })
            .collect();
        let light = 0.45 + 0.55 * facing as f32;
        let base =
            [Color32::from_rgb(176, 84, 80), Color32::from_rgb(92, 150, 88), Color32::from_rgb(86, 112, 178)]
                [axis];
        let fill = base.gamma_multiply(light);
        painter.add(Shape::convex_polygon(corners, fill, Stroke::new(1.0, Color32::from_black_alpha(160))));
        if facing > 0.3 {
            let font = FontId::proportional(size * 0.95 * (facing as f32).sqrt());
            painter.text(place(*normal), Align2::CENTER_CENTER, letter, font, Color32::WHITE);
        }
    }
}
