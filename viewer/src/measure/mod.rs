//! Measuring in the views: distances, angles, regions of interest.
//!
//! # Definitions
//! Points are RAS+ millimetres, so lengths and angles are true on every grid, whatever its spacing and obliquity.
//!
//! A **region in a viewing plane** is a shape drawn on the slice of the world at one position along the axis through
//! the plane ([`Shape`]). Voxels are counted column by column: of each column of voxels along the voxel axis closest to
//! the plane's normal, the voxel in which the plane crosses the column's middle line counts when that crossing point lies
//! in the shape or on its border. Each column thus counts once, with the voxel that the picture shows there; on grids
//! along the world's axes these are the voxels of one layer whose centres lie in the shape. The **drawn** area is that of
//! the shape; the **counted** area is the number of voxels times the area in which the plane cuts a column.
//!
//! A **region in space** (a ball, a label) counts voxels whose centre lies in it; the counted volume is their number times
//! the volume of a voxel.
//!
//! **Values** are scaled values (luma for colours, magnitude for complex numbers); those that are not finite are left
//! out. The standard deviation is over n, not n − 1, as in the tables of structures.

mod roi;

pub use roi::{Region, Size, Summary, ball, label, plane_region};

use formats::affine::norm;
use serde::{Deserialize, Serialize};

use crate::view::Plane;

/// Something measured, as it is kept with a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Measurement {
    /// The length of a segment.
    Distance {
        /// Its ends, RAS+ mm.
        points_ras: [[f64; 3]; 2],
    },
    /// The angle at the middle one of three points.
    Angle {
        /// First leg, vertex, second leg, RAS+ mm.
        points_ras: [[f64; 3]; 3],
    },
    /// Values in a shape on a slice.
    Region {
        /// The family of slices.
        plane: Plane,
        /// Position of the slice along the axis through the plane, RAS+ mm.
        at_mm: f64,
        /// The shape.
        shape: Shape,
    },
    /// Values in a ball.
    Ball {
        /// Its middle, RAS+ mm.
        centre_ras: [f64; 3],
        /// Its radius, mm.
        radius_mm: f64,
    },
}

/// A shape in a plane. Coordinates are RAS+ millimetres along the plane's axes across and down the picture
/// ([`Plane::axes`], both towards their positive end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
pub enum Shape {
    /// All points no further than the radius.
    Circle {
        /// Its middle, mm.
        centre: [f64; 2],
        /// Its radius, mm, 0 or more.
        radius_mm: f64,
    },
    /// An ellipse.
    Ellipse {
        /// Its middle, mm.
        centre: [f64; 2],
        /// Its half axes, mm, above 0.
        half_axes_mm: [f64; 2],
        /// From the direction across to the first half axis, towards the direction down; radians.
        turn_rad: f64,
    },
    /// A rectangle along the picture's sides.
    Rectangle {
        /// Two opposite corners, mm.
        corners: [[f64; 2]; 2],
    },
    /// The inside of a closed line, by the even-odd rule where it crosses itself.
    Polygon {
        /// Its corners, mm; three or more.
        points: Vec<[f64; 2]>,
    },
}

/// Millimetres between two points.
#[must_use]
pub fn distance_mm(a_ras: [f64; 3], b_ras: [f64; 3]) -> f64 {
    norm([0, 1, 2].map(|a| a_ras[a] - b_ras[a]))
}

/// Degrees (0 to 180) at `vertex_ras` between the directions to `a_ras` and `b_ras`; `None` when one of them is the
/// vertex.
#[must_use]
pub fn angle_deg(a_ras: [f64; 3], vertex_ras: [f64; 3], b_ras: [f64; 3]) -> Option<f64> {
    let p = [0, 1, 2].map(|n| a_ras[n] - vertex_ras[n]);
    let q = [0, 1, 2].map(|n| b_ras[n] - vertex_ras[n]);
    if norm(p) == 0.0 || norm(q) == 0.0 {
        return None;
    }
    let cross = [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
    // Exact near 0° and 180°, where the arc cosine is not.
    let dot = p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
    Some(norm(cross).atan2(dot).to_degrees())
}

impl Shape {
    /// Area in square millimetres. A polygon's is that of the shoelace formula, which is the even-odd area only for
    /// lines that do not cross themselves.
    #[must_use]
    pub fn area_mm2(&self) -> f64 {
        match self {
            Self::Circle { radius_mm, .. } => std::f64::consts::PI * radius_mm * radius_mm,
            Self::Ellipse { half_axes_mm: [a, b], .. } => std::f64::consts::PI * a * b,
            Self::Rectangle { corners: [p, q] } => ((p[0] - q[0]) * (p[1] - q[1])).abs(),
            Self::Polygon { points } => {
                let twice: f64 = edges(points).map(|(p, q)| p[0] * q[1] - q[0] * p[1]).sum();
                twice.abs() / 2.0
            }
        }
    }

    /// Length of the border in millimetres (an ellipse's by Ramanujan's second formula, better than 1 in 10⁴ up to a
    /// ratio of 1:10).
    #[must_use]
    pub fn perimeter_mm(&self) -> f64 {
        let pi = std::f64::consts::PI;
        match self {
            Self::Circle { radius_mm, .. } => 2.0 * pi * radius_mm,
            Self::Ellipse { half_axes_mm: [a, b], .. } => {
                let h = ((a - b) / (a + b)).powi(2);
                pi * (a + b) * (1.0 + 3.0 * h / (10.0 + (4.0 - 3.0 * h).sqrt()))
            }
            Self::Rectangle { corners: [p, q] } => 2.0 * ((p[0] - q[0]).abs() + (p[1] - q[1]).abs()),
            Self::Polygon { points } => edges(points).map(|(p, q)| (p[0] - q[0]).hypot(p[1] - q[1])).sum(),
        }
    }

    /// Whether a point (across, down; mm) lies in the shape. Points on the border of a circle, ellipse or rectangle do;
    /// on a polygon's either answer is possible.
    #[must_use]
    pub fn holds(&self, point: [f64; 2]) -> bool {
        // A micrometre-of-a-micrometre of slack, so that what lies exactly on the border counts despite rounding.
        const SLACK: f64 = 1e-9;
        match self {
            Self::Circle { centre, radius_mm } => {
                (point[0] - centre[0]).hypot(point[1] - centre[1]) <= radius_mm + SLACK
            }
            Self::Ellipse { centre, half_axes_mm: [a, b], turn_rad } => {
                let (s, c) = turn_rad.sin_cos();
                let (x, y) = (point[0] - centre[0], point[1] - centre[1]);
                ((c * x + s * y) / a).hypot((c * y - s * x) / b) <= 1.0 + SLACK
            }
            Self::Rectangle { corners: [p, q] } => {
                (0..2).all(|n| (p[n].min(q[n]) - SLACK..=p[n].max(q[n]) + SLACK).contains(&point[n]))
            }
            Self::Polygon { points } => {
                let crossings = edges(points).filter(|(p, q)| {
                    (p[1] > point[1]) != (q[1] > point[1])
                        && point[0] < p[0] + (point[1] - p[1]) / (q[1] - p[1]) * (q[0] - p[0])
                });
                crossings.count() % 2 == 1
            }
        }
    }

    /// The box around the shape: least and greatest coordinates, mm. Empty (`inf`, `-inf`) for a polygon without points.
    fn bounds(&self) -> ([f64; 2], [f64; 2]) {
        let around = |c: [f64; 2], r: [f64; 2]| ([c[0] - r[0], c[1] - r[1]], [c[0] + r[0], c[1] + r[1]]);
        let of = |points: &[[f64; 2]]| {
            let mut out = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
            for p in points {
                for n in 0..2 {
                    out.0[n] = out.0[n].min(p[n]);
                    out.1[n] = out.1[n].max(p[n]);
                }
            }
            out
        };
        match self {
            Self::Circle { centre, radius_mm } => around(*centre, [*radius_mm; 2]),
            Self::Ellipse { centre, half_axes_mm: [a, b], turn_rad } => {
                let (s, c) = turn_rad.sin_cos();
                around(*centre, [(a * c).hypot(b * s), (a * s).hypot(b * c)])
            }
            Self::Rectangle { corners } => of(corners),
            Self::Polygon { points } => of(points),
        }
    }
}

fn edges(points: &[[f64; 2]]) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
    points.iter().copied().zip(points.iter().copied().cycle().skip(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles() {
        assert_eq!(distance_mm([1.0, 2.0, 3.0], [4.0, 6.0, 15.0]), 13.0);
        let angle = |a, b| angle_deg(a, [1.0, 1.0, 1.0], b);
        assert!((angle([2.0, 1.0, 1.0], [1.0, 9.0, 1.0]).unwrap() - 90.0).abs() < 1e-12);
        assert!((angle([2.0, 2.0, 1.0], [2.0, 1.0, 1.0]).unwrap() - 45.0).abs() < 1e-12);
        assert!((angle([2.0, 1.0, 1.0], [-5.0, 1.0, 1.0]).unwrap() - 180.0).abs() < 1e-12);
        let small = angle([2.0, 1.0, 1.0], [2.0, 1.0 + 1e-9, 1.0]).unwrap();
        assert!((small / 1e-9_f64.to_degrees() - 1.0).abs() < 1e-6, "{small}");
        assert_eq!(angle([1.0; 3], [2.0; 3]), None);
    }

    #[test]
    fn areas_equal_counting_points() {
        let shapes = [
            Shape::Circle { centre: [1.0, -2.0], radius_mm: 5.0 },
            Shape::Ellipse { centre: [1.0, -2.0], half_axes_mm: [6.0, 2.0], turn_rad: 0.7 },
            Shape::Rectangle { corners: [[4.0, -3.0], [-2.0, 5.0]] },
            // Concave.
            Shape::Polygon { points: vec![[-6.0, -6.0], [6.0, -5.0], [0.0, 0.0], [5.0, 6.0], [-4.0, 5.0]] },
        ];
        for shape in shapes {
            let (low, high) = shape.bounds();
            let points =
                (0..400 * 400).map(|n| [(n % 400) as f64 * 0.05 - 9.975, (n / 400) as f64 * 0.05 - 9.975]);
            let inside: Vec<_> = points.filter(|p| shape.holds(*p)).collect();
            let area = inside.len() as f64 * 0.0025;
            assert!((area / shape.area_mm2() - 1.0).abs() < 0.01, "{shape:?}: {area} {}", shape.area_mm2());
            for n in 0..2 {
                let least = inside.iter().map(|p| p[n]).fold(f64::INFINITY, f64::min);
                let most = inside.iter().map(|p| p[n]).fold(f64::NEG_INFINITY, f64::max);
                assert!(least >= low[n] && least < low[n] + 0.2 && most <= high[n] && most > high[n] - 0.2);
            }
        }
    }

    #[test]
    fn perimeters() {
        let round = Shape::Ellipse { centre: [0.0; 2], half_axes_mm: [3.0, 3.0], turn_rad: 1.0 };
        assert!((round.perimeter_mm() - 6.0 * std::f64::consts::PI).abs() < 1e-12);
        let square = Shape::Polygon { points: vec![[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]] };
        assert_eq!(square.perimeter_mm(), 8.0);
        assert_eq!(Shape::Rectangle { corners: [[0.0, 0.0], [2.0, -3.0]] }.perimeter_mm(), 10.0);
    }

    #[test]
    fn measurements_are_kept_as_json() {
        let roi = Measurement::Region {
            plane: Plane::Coronal,
            at_mm: -3.5,
            shape: Shape::Circle { centre: [1.0, 2.0], radius_mm: 4.0 },
        };
        let text = serde_json::to_string(&roi).unwrap();
        assert_eq!(serde_json::from_str::<Measurement>(&text).unwrap(), roi, "{text}");
    }
}
