//! Placement: sform, qform or spacing, and what to say when they disagree.
//!
//! Formulas: nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE", methods 1 to 3.

use crate::affine::{Affine, norm};
use crate::grid::Grid;
use crate::notice::Notice;
use crate::volume::AffineSource;

use super::header::{Header, Version};

/// A grid and how it came about.
pub struct Placement {
    /// Size, and RAS+ millimetres from voxel indices.
    pub grid: Grid,
    /// Which of the header's transforms it is.
    pub source: AffineSource,
}

/// The placement of a header whose first three sizes are `size_ijk`.
///
/// The sform is taken when its code is above 0 and it is invertible; then likewise the qform; then the spacing alone,
/// centred on the volume with the first axis running to the left, which is what Analyze meant and nibabel reads.
pub fn placement(h: &Header, size_ijk: [usize; 3], notices: &mut Vec<Notice>) -> Placement {
    let mm = millimetres_per_unit(h, notices);
    let spacing = spacing(h, notices);
    let sform = (h.sform_code > 0).then(|| sform(h, size_ijk, spacing[2])).map(usable);
    let qform = (h.qform_code > 0).then(|| qform(h, spacing, notices)).map(usable);
    for (name, code, form) in [("sform", h.sform_code, &sform), ("qform", h.qform_code, &qform)] {
        if matches!(form, Some(None)) {
            notices.push(Notice::warning(
                &format!("{name}-unusable"),
                format!(
                    "the {name} (code {code}) is singular or not finite and was ignored: check left and right"
                ),
            ));
        }
    }
    let (sform, qform) = (sform.flatten(), qform.flatten());
    let (affine, source) = match (sform, qform) {
        (Some(a), _) => (a, AffineSource::Sform),
        (None, Some(a)) => (a, AffineSource::Qform),
        (None, None) => (centred(size_ijk, spacing), AffineSource::Spacing),
    };
    let scaled = |a: Affine| Affine(a.0.map(|row| row.map(|v| v * mm)));
    let grid = Grid { size_ijk, world_from_voxel: scaled(affine) };
    if let (Some(s), Some(q)) = (sform, qform) {
        compare(
            h,
            Grid { size_ijk, world_from_voxel: scaled(s) },
            Grid { size_ijk, world_from_voxel: scaled(q) },
            notices,
        );
    }
    if source == AffineSource::Spacing {
        let why = if h.version == Version::Analyze {
            "Analyze 7.5 stores no orientation".to_owned()
        } else {
            let (s, q) = (h.sform_code, h.qform_code);
            format!("the header holds no usable orientation (sform code {s}, qform code {q})")
        };
        notices.push(Notice::warning(
            "no-orientation",
            format!(
                "{why}: the first axis is taken to run to the patient's left, the position to be centred"
            ),
        ));
    }
    Placement { grid, source }
}

/// Edges of a voxel, in the file's unit, that are taken for real: from far below an atom to beyond the solar system.
fn is_plausible(edge: f64) -> bool {
    (1e-12..1e15).contains(&edge)
}

/// `None` when singular, not finite, or beyond any plausible size.
fn usable(a: Affine) -> Option<Affine> {
    let in_range = (0..3).all(|c| is_plausible(norm(a.column(c)))) && norm(a.origin()) < 1e15;
    a.inverse().filter(|i| in_range && i.is_finite()).map(|_| a)
}

/// Method 3. For one slice, a missing third column is replaced by the slice normal.
fn sform(h: &Header, size_ijk: [usize; 3], slice_spacing: f64) -> Affine {
    let a = Affine(h.srow);
    if size_ijk[2] > 1 || norm(a.column(2)) > 0.0 {
        return a;
    }
    let (u, v) = (a.column(0), a.column(1));
    let n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let length = norm(n);
    if length > 0.0 {
        Affine::from_columns([u, v, n.map(|x| x / length * slice_spacing)], a.origin())
    } else {
        a
    }
}

/// Method 2: rotation from the quaternion (a, b, c, d) with a ≥ 0 implied, spacing, and qfac for the third axis.
fn qform(h: &Header, spacing: [f64; 3], notices: &mut Vec<Notice>) -> Affine {
    let [mut b, mut c, mut d] = h.quatern;
    let square = b * b + c * c + d * d;
    // Near a half turn a is the root of a rounding error; nibabel's threshold decides that it is 0.
    let rounding = 3.0 * if h.version == Version::Nifti2 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let mut a = (1.0 - square).max(0.0).sqrt();
    if square > 1.0 - rounding {
        let length = square.sqrt();
        (a, b, c, d) = (0.0, b / length, c / length, d / length);
        if length > 1.001 {
            notices.push(Notice::warning(
                "quaternion-too-long",
                format!("the qform quaternion has length {length:.4}, more than 1, and was normalised"),
            ));
        }
    }
    let qfac = if h.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let (x, y, z) = (spacing[0], spacing[1], spacing[2] * qfac);
    let columns = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)].map(|v| v * x),
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)].map(|v| v * y),
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - c * c - b * b].map(|v| v * z),
    ];
    Affine::from_columns(columns, h.qoffset)
}

/// The grid that readers assume when both codes are 0.
pub fn assumed(size_ijk: [usize; 3], spacing: [f64; 3]) -> Grid {
    Grid { size_ijk, world_from_voxel: centred(size_ijk, spacing) }
}

fn centred(size_ijk: [usize; 3], spacing: [f64; 3]) -> Affine {
    let half = [0, 1, 2].map(|a| (size_ijk[a] as f64 - 1.0) / 2.0 * spacing[a]);
    Affine::scale_shift([-spacing[0], spacing[1], spacing[2]], [half[0], -half[1], -half[2]])
}

/// `pixdim[1..4]`, positive and finite; 1 where it is neither.
fn spacing(h: &Header, notices: &mut Vec<Notice>) -> [f64; 3] {
    let mut replaced = false;
    let spacing = [1, 2, 3].map(|n| {
        let v = h.pixdim[n].abs();
        let is_used = h.dims.len() >= n;
        let is_sound = is_plausible(v);
        replaced |= is_used && !is_sound;
        if is_sound { v } else { 1.0 }
    });
    if replaced {
        notices.push(Notice::warning(
            "zero-spacing",
            format!(
                "pixdim is {} × {} × {}; where it is zero or not finite, 1 is used unless the sform says otherwise",
                h.pixdim[1], h.pixdim[2], h.pixdim[3]
            ),
        ));
    }
    spacing
}

fn millimetres_per_unit(h: &Header, notices: &mut Vec<Notice>) -> f64 {
    let (name, mm) = match h.xyzt_units & 7 {
        1 => ("metres", 1e3),
        3 => ("micrometres", 1e-3),
        _ => return 1.0,
    };
    notices.push(Notice::info(
        "units-converted",
        format!("lengths are stored in {name} and were converted to millimetres (factor {mm})"),
    ));
    mm
}

/// Says when two usable transforms place some corner of the volume further apart than rounding explains.
fn compare(h: &Header, s: Grid, q: Grid, notices: &mut Vec<Notice>) {
    let far = max_corner_distance(&s, &q);
    let smallest = s.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    if far > 0.05 * smallest {
        let (sc, qc) = (h.sform_code, h.qform_code);
        notices.push(Notice::warning(
            "sform-qform-differ",
            format!(
                "sform (code {sc}, {}) and qform (code {qc}, {}) place voxels up to {far:.3} mm apart; the sform is used",
                s.orientation_code(),
                q.orientation_code()
            ),
        ));
    }
}

/// The largest distance in millimetres between the same corner voxel under two placements.
pub fn max_corner_distance(a: &Grid, b: &Grid) -> f64 {
    (0..8).fold(0.0, |far, corner| {
        let p = [0, 1, 2].map(|x| if corner >> x & 1 == 1 { a.size_ijk[x] as f64 - 1.0 } else { 0.0 });
        let (u, v) = (a.world_from_voxel.apply(p), b.world_from_voxel.apply(p));
        norm([u[0] - v[0], u[1] - v[1], u[2] - v[2]]).max(far)
    })
}

/// Quaternion (b, c, d), qfac and spacing of an affine, or `None` when its axes are not perpendicular (shear), so
/// that a qform cannot hold it. Shepperd's method: divide by the largest of the four components.
pub fn quaternion(a: &Affine) -> Option<([f64; 3], f64, [f64; 3])> {
    let spacing = [0, 1, 2].map(|c| norm(a.column(c)));
    let mut r = [0, 1, 2].map(|c| a.column(c).map(|v| v / spacing[c]));
    let dot = |u: [f64; 3], v: [f64; 3]| u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    let skew = [dot(r[0], r[1]), dot(r[0], r[2]), dot(r[1], r[2])];
    if !skew.iter().all(|v| v.abs() < 1e-4) {
        return None;
    }
    let qfac = if a.determinant() < 0.0 { -1.0 } else { 1.0 };
    r[2] = r[2].map(|v| v * qfac);
    // m[row][column]
    let m = |row: usize, column: usize| r[column][row];
    let four = [
        1.0 + m(0, 0) + m(1, 1) + m(2, 2),
        1.0 + m(0, 0) - m(1, 1) - m(2, 2),
        1.0 - m(0, 0) + m(1, 1) - m(2, 2),
        1.0 - m(0, 0) - m(1, 1) + m(2, 2),
    ];
    let largest = (0..4).fold(0, |best, n| if four[n] > four[best] { n } else { best });
    let two = four[largest].max(0.0).sqrt(); // twice the largest component
    let (yz, xz, xy) = (m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1));
    let (sxy, sxz, syz) = (m(0, 1) + m(1, 0), m(0, 2) + m(2, 0), m(1, 2) + m(2, 1));
    let q = match largest {
        0 => [two * two, yz, xz, xy],
        1 => [yz, two * two, sxy, sxz],
        2 => [xz, sxy, two * two, syz],
        _ => [xy, sxz, syz, two * two],
    }
    .map(|v| v / (2.0 * two));
    let sign = if q[0] < 0.0 { -1.0 } else { 1.0 };
    Some(([q[1] * sign, q[2] * sign, q[3] * sign], qfac, spacing))
}
