//! Where slices lie in the patient, and which lattice they make (PS3.3 C.7.6.2.1.1).
//!
//! Pure arithmetic over [`Plane`]s in DICOM's coordinates (LPS, millimetres). Only [`Lattice::grid`] turns to RAS+.

use crate::affine::{Affine, norm};
use crate::grid::Grid;

/// Direction cosines that differ by no more belong to one stack: 0.06°, which rounding by exporters reaches.
const SAME_DIRECTION: f64 = 1e-3;

/// Positions this close along the normal are one position (or 5 % of a pixel, if that is less), millimetres.
const SAME_POSITION_MM: f64 = 0.01;

/// Slices whose positions differ from an even spacing by less than this part of the spacing are taken as even:
/// positions are often rounded to 0.1 mm.
const EVEN: f64 = 0.1;

/// Gantry tilts below this are rounding, degrees.
const TILT_DEGREES: f64 = 0.05;

/// The plane of one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    /// Centre of the first pixel, (0020,0032), LPS millimetres.
    pub position: [f64; 3],
    /// Unit vector along which the column index grows, first half of (0020,0037).
    pub along_row: [f64; 3],
    /// Unit vector along which the row index grows, second half of (0020,0037).
    pub along_column: [f64; 3],
    /// Distance of neighbouring pixels in a row (second value of (0028,0030)) and in a column (first value), mm.
    pub spacing: [f64; 2],
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn add(a: [f64; 3], factor: f64, b: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|r| a[r] + factor * b[r])
}

fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    add(a, -1.0, b)
}

fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let n = norm(v);
    // Cosines are of unit length; a tenth off is no rounding.
    ((n - 1.0).abs() < 0.1).then(|| v.map(|x| x / n))
}

impl Plane {
    /// From the values of the attributes; `spacing_rc` in the order of (0028,0030), rows first. `None` when they
    /// do not describe a plane: not finite, not of unit length, not at right angles (within 1°), no spacing.
    #[must_use]
    pub fn new(position: [f64; 3], orientation: [f64; 6], spacing_rc: [f64; 2]) -> Option<Self> {
        let [a, b, c, d, e, f] = orientation;
        let along_row = unit([a, b, c])?;
        let along_column = unit([d, e, f])?;
        let sound = position.iter().all(|v| v.is_finite() && v.abs() < 1e7)
            && dot(along_row, along_column).abs() < 0.02
            && spacing_rc.iter().all(|s| s.is_finite() && *s > 0.0 && *s < 1e6);
        sound.then_some(Self { position, along_row, along_column, spacing: [spacing_rc[1], spacing_rc[0]] })
    }

    /// Unit normal, along row × along column: slices are ordered along it.
    #[must_use]
    pub fn normal(&self) -> [f64; 3] {
        let n = cross(self.along_row, self.along_column);
        let len = norm(n);
        n.map(|v| v / len)
    }

    /// Distance of the plane from the origin along its normal, mm.
    #[must_use]
    pub fn offset(&self) -> f64 {
        dot(self.position, self.normal())
    }

    /// Whether slices of both planes can be in one stack: same directions and same pixel spacing.
    #[must_use]
    pub fn is_parallel(&self, other: &Self) -> bool {
        let near = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_DIRECTION);
        let spacing = self.spacing.iter().zip(other.spacing).all(|(a, b)| (a - b).abs() <= 1e-3 * a.max(b));
        near(self.along_row, other.along_row) && near(self.along_column, other.along_column) && spacing
    }

    /// Below which distance two positions are the same, mm.
    #[must_use]
    pub fn same_position_mm(&self) -> f64 {
        SAME_POSITION_MM.min(0.05 * self.spacing[0].min(self.spacing[1]))
    }

    /// The centre of pixel (column `i`, row `j`), LPS: equation C.7.6.2.1-1 of PS3.3.
    #[must_use]
    pub fn point(&self, i: f64, j: f64) -> [f64; 3] {
        add(add(self.position, i * self.spacing[0], self.along_row), j * self.spacing[1], self.along_column)
    }
}

/// How the slices of a stack are spaced.
#[derive(Clone, Debug, PartialEq)]
pub enum Spacing {
    /// One slice: the third step is a stated or assumed thickness, see [`Lattice::single`].
    Single,
    /// Every step the same.
    Even,
    /// Even, but for slices that are not there: the indices `k` without a slice.
    Gaps(Vec<usize>),
    /// Steps differ (smallest and largest, mm along the stack): the lattice is even, slices lie between its planes.
    Uneven(f64, f64),
}

/// The even lattice that a sequence of parallel slices makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Lattice {
    /// Plane of `k = 0`, the lowest along the normal.
    pub first: Plane,
    /// From slice `k` to slice `k + 1`, LPS mm. Not along the normal when the gantry was tilted.
    pub step: [f64; 3],
    /// Planes.
    pub count: usize,
    /// Where each given slice lies, in units of `step` from the first plane; whole numbers unless uneven.
    pub places: Vec<f64>,
    /// What was found about the spacing.
    pub spacing: Spacing,
    /// Largest distance between a slice's own position and its place in the lattice, mm.
    pub deviation_mm: f64,
    /// Angle between `step` and the normal, degrees.
    pub tilt_degrees: f64,
}

impl Lattice {
    /// A lattice of one plane, `thickness_mm` apart from neighbours it has not.
    #[must_use]
    pub fn single(plane: Plane, thickness_mm: f64) -> Self {
        let step = plane.normal().map(|v| v * thickness_mm);
        Self {
            first: plane,
            step,
            count: 1,
            places: vec![0.0],
            spacing: Spacing::Single,
            deviation_mm: 0.0,
            tilt_degrees: 0.0,
        }
    }

    /// Fits planes that are parallel, sorted by [`Plane::offset`] and at distinct positions, at least two.
    ///
    /// Steps come from the positions of the first and the last plane, so that both are met exactly. `None` when the
    /// positions do not lie on a line, or lie in heaps with more missing between them than is there: such
    /// slices are several stacks, see [`runs`].
    #[must_use]
    pub fn fit(planes: &[Plane]) -> Option<Self> {
        let (first, last) = (planes.first()?, planes.last()?);
        let normal = first.normal();
        let at = |p: &Plane| dot(sub(p.position, first.position), normal);
        let length = at(last);
        let mut steps: Vec<f64> = planes.windows(2).map(|w| at(&w[1]) - at(&w[0])).collect();
        if steps.is_empty() || !steps.iter().all(|s| *s > 0.0) || !length.is_finite() {
            return None;
        }
        let (least, most) = steps.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &s| (a.min(s), b.max(s)));
        steps.sort_by(f64::total_cmp);
        let median = steps[steps.len() / 2];
        let whole = sub(last.position, first.position);
        let tilt_degrees = (length / norm(whole)).clamp(-1.0, 1.0).acos().to_degrees();
        let tilt_degrees = if tilt_degrees < TILT_DEGREES { 0.0 } else { tilt_degrees };

        // Slices off the line through the first and the last wander; a pixel is what can be seen of that.
        let pixel = first.spacing[0].min(first.spacing[1]);
        let wander = planes.iter().map(|p| norm(sub(p.position, add(first.position, at(p) / length, whole))));
        let wander = wander.fold(0.0, f64::max);
        if wander > (EVEN * median).min(0.5 * pixel).max(1e-3) {
            return None;
        }
        for base in [median, least] {
            // The base is refined with the number of steps it leads to.
            let total = (length / base).round();
            let base = length / total.max(1.0);
            let slots: Vec<f64> = planes.iter().map(|p| (at(p) / base).round()).collect();
            let increasing = slots.windows(2).all(|w| w[1] > w[0]);
            let off = planes.iter().zip(&slots).map(|(p, s)| (at(p) - s * base).abs()).fold(0.0, f64::max);
            if !increasing || off > EVEN * base {
                continue;
            }
            let step = whole.map(|v| v / total);
            let count = total as usize + 1;
            let missing = count - planes.len();
            if missing > planes.len() {
                return None;
            }
            let deviation_mm =
                planes.iter().zip(&slots).map(|(p, &s)| norm(sub(p.position, add(first.position, s, step))));
            let deviation_mm = deviation_mm.fold(0.0, f64::max);
            let spacing = if missing == 0 {
                Spacing::Even
            } else {
                let taken: std::collections::BTreeSet<usize> = slots.iter().map(|&s| s as usize).collect();
                Spacing::Gaps((0..count).filter(|k| !taken.contains(k)).collect())
            };
            return Some(Self {
                first: *first,
                step,
                count,
                places: slots,
                spacing,
                deviation_mm,
                tilt_degrees,
            });
        }
        // Uneven: planes as close as the closest slices, unless that makes many more of them than there are.
        let fine = (length / least).round() + 1.0;
        let total = if fine <= 4.0 * planes.len() as f64 { fine - 1.0 } else { (length / median).round() };
        let total = total.clamp(1.0, 4.0 * planes.len() as f64);
        if most > 20.0 * median {
            return None;
        }
        let along = norm(whole) / length;
        Some(Self {
            first: *first,
            step: whole.map(|v| v / total),
            count: total as usize + 1,
            places: planes.iter().map(|p| at(p) / length * total).collect(),
            spacing: Spacing::Uneven(least * along, most * along),
            deviation_mm: 0.0,
            tilt_degrees,
        })
    }

    /// The lattice in RAS+, for slices of `columns` × `rows` pixels: `i` along rows, `j` along columns, `k` along `step`.
    #[must_use]
    pub fn grid(&self, columns: usize, rows: usize) -> Grid {
        let ras = |v: [f64; 3]| [-v[0] + 0.0, -v[1] + 0.0, v[2] + 0.0];
        let p = &self.first;
        let i = p.along_row.map(|v| v * p.spacing[0]);
        let j = p.along_column.map(|v| v * p.spacing[1]);
        Grid {
            size_ijk: [columns, rows, self.count],
            world_from_voxel: Affine::from_columns([ras(i), ras(j), ras(self.step)], ras(p.position)),
        }
    }

    /// Distance of neighbouring slices, mm.
    #[must_use]
    pub fn step_mm(&self) -> f64 {
        norm(self.step)
    }
}

/// The smallest grid without shear that holds a sheared one: same in-plane voxels, `k` along the normal, as many slices.
/// A tilted stack is made upright by resampling it to this grid, which is a step of its own: loading never does it.
/// `None` when the grid is not sheared (by a hundredth of a pixel over its depth) or is singular.
#[must_use]
pub fn upright(grid: &Grid) -> Option<Grid> {
    let [i, j, k] = [0, 1, 2].map(|a| grid.world_from_voxel.column(a));
    let normal = cross(i, j);
    let area = norm(normal);
    let normal = normal.map(|v| v / area);
    let along = dot(k, normal);
    let lean = add(k, -along, normal);
    // lean = a·i + b·j, by the normal equations.
    let (ii, ij, jj) = (dot(i, i), dot(i, j), dot(j, j));
    let det = ii * jj - ij * ij;
    let (li, lj) = (dot(lean, i), dot(lean, j));
    let depth = grid.size_ijk[2].saturating_sub(1) as f64;
    let shift = [(li * jj - lj * ij) / det * depth, (lj * ii - li * ij) / det * depth];
    if !shift.iter().all(|s| s.is_finite()) || along == 0.0 || shift.iter().all(|s| s.abs() < 0.01) {
        return None;
    }
    let start = shift.map(|s| s.min(0.0).floor());
    let size = [0, 1].map(|a| grid.size_ijk[a].saturating_add(shift[a].abs().ceil() as usize));
    let origin = add(add(grid.world_from_voxel.origin(), start[0], i), start[1], j);
    Some(Grid {
        size_ijk: [size[0], size[1], grid.size_ijk[2]],
        world_from_voxel: Affine::from_columns([i, j, normal.map(|v| v * along)], origin),
    })
}

/// Cuts sorted planes into the longest pieces from the front that make a lattice each; half-open index ranges.
#[must_use]
pub fn runs(planes: &[Plane]) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    while start < planes.len() {
        if planes.len() - start <= 2 {
            out.push(start..planes.len());
            break;
        }
        if Lattice::fit(&planes[start..]).is_some() {
            out.push(start..planes.len());
            break;
        }
        // Grow while even; an uneven continuation is where the next piece begins.
        let mut end = start + 2;
        while end < planes.len() {
            let piece = Lattice::fit(&planes[start..=end]);
            if !piece.is_some_and(|l| matches!(l.spacing, Spacing::Even | Spacing::Gaps(_))) {
                break;
            }
            end += 1;
        }
        // Two slices always fit; were it only them, they go by themselves when far apart from one another.
        if end == start + 2 {
            let gap = |a: usize| norm(sub(planes[a + 1].position, planes[a].position));
            if gap(start) > 1.5 * gap(start + 1) {
                end = start + 1;
            }
        }
        out.push(start..end);
        start = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plane(z: f64) -> Plane {
        Plane::new([-10.0, -20.0, z], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.5, 0.7]).unwrap()
    }

    fn planes(z: &[f64]) -> Vec<Plane> {
        z.iter().map(|&z| plane(z)).collect()
    }

    #[test]
    fn pixel_spacing_is_rows_first() {
        // (0028,0030) holds the distance between rows, then between columns.
        assert_eq!(plane(0.0).spacing, [0.7, 0.5]);
        let g = Lattice::fit(&planes(&[0.0, 2.0])).unwrap().grid(4, 3);
        assert_eq!(g.world_from_voxel.column(0), [-0.7, 0.0, 0.0]);
        assert_eq!(g.world_from_voxel.column(1), [0.0, -0.5, 0.0]);
        assert_eq!(g.world_from_voxel.origin(), [10.0, 20.0, 0.0]);
        assert_eq!(g.orientation_code(), "LPS");
    }

    #[test]
    fn spacings_are_told_apart() {
        let even = Lattice::fit(&planes(&[0.0, 2.0, 4.0, 6.0])).unwrap();
        assert_eq!((even.spacing, even.count, even.step), (Spacing::Even, 4, [0.0, 0.0, 2.0]));
        let gaps = Lattice::fit(&planes(&[0.0, 2.0, 6.0, 8.0, 14.0])).unwrap();
        assert_eq!((gaps.spacing, gaps.count), (Spacing::Gaps(vec![2, 5, 6]), 8));
        let rounded = Lattice::fit(&planes(&[0.0, 0.6, 1.3, 1.9, 2.5])).unwrap();
        assert_eq!(rounded.spacing, Spacing::Even);
        assert!((rounded.deviation_mm - 0.05).abs() < 1e-9);
        let uneven = Lattice::fit(&planes(&[0.0, 2.0, 4.7, 8.0])).unwrap();
        assert!(
            matches!(uneven.spacing, Spacing::Uneven(a, b) if (a - 2.0).abs() < 1e-9 && (b - 3.3).abs() < 1e-9)
        );
        assert_eq!(uneven.count, 5);
        assert!(Lattice::fit(&planes(&[0.0, 1.0, 2.0, 50.0, 51.0, 52.0])).is_none());
        let cut = runs(&planes(&[0.0, 1.0, 2.0, 50.0, 51.0, 52.0]));
        assert_eq!(cut, [0..3, 3..6]);
    }

    #[test]
    fn a_tilted_gantry_shears_the_lattice() {
        let mut tilted = planes(&[0.0, 2.0, 4.0]);
        for (k, p) in tilted.iter_mut().enumerate() {
            p.position[1] += 0.5 * k as f64;
        }
        let l = Lattice::fit(&tilted).unwrap();
        assert_eq!(l.step, [0.0, 0.5, 2.0]);
        assert!((l.tilt_degrees - (0.25f64).atan().to_degrees()).abs() < 1e-9);
        assert!(l.deviation_mm < 1e-12);
        // Slices that leave the line are no stack.
        tilted[1].position[0] += 3.0;
        assert!(Lattice::fit(&tilted).is_none());
    }

    #[test]
    fn an_upright_grid_holds_all_corners_of_a_tilted_one() {
        let mut tilted = planes(&[0.0, 2.0, 4.0, 6.0]);
        for (k, p) in tilted.iter_mut().enumerate() {
            p.position[1] -= 0.9 * k as f64;
        }
        let grid = Lattice::fit(&tilted).unwrap().grid(8, 9);
        let straight = upright(&grid).unwrap();
        assert_eq!(straight.size_ijk, [8, 9 + 6, 4]); // 2.7 mm of 0.5 mm pixels
        let inside = straight.voxel_from_world().unwrap();
        for corner in 0..8 {
            let p = [0, 1, 2].map(|a| if corner >> a & 1 == 1 { grid.size_ijk[a] as f64 - 1.0 } else { 0.0 });
            let at = inside.apply(grid.world_from_voxel.apply(p));
            let fits = (0..3).all(|a| at[a] > -1e-9 && at[a] < straight.size_ijk[a] as f64 - 1.0 + 1e-9);
            assert!(fits, "{p:?} at {at:?}");
        }
        let k = straight.world_from_voxel.column(2);
        assert!(dot(k, straight.world_from_voxel.column(1)).abs() < 1e-12);
        assert!(upright(&straight).is_none());
    }

    #[test]
    fn nonsense_is_no_plane() {
        let right = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        assert!(Plane::new([f64::NAN, 0.0, 0.0], right, [1.0, 1.0]).is_none());
        assert!(Plane::new([0.0; 3], right, [0.0, 1.0]).is_none());
        assert!(Plane::new([0.0; 3], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [1.0, 1.0]).is_none());
        assert!(Plane::new([0.0; 3], [0.0; 6], [1.0, 1.0]).is_none());
    }

    proptest! {
        /// Every voxel of the lattice lies where the equation of the standard puts the pixel, whatever the rotation.
        #[test]
        fn voxels_lie_where_the_standard_puts_them(
            angles in prop::array::uniform3(-3.2f64..3.2),
            spacing in prop::array::uniform2(0.1f64..4.0),
            step in 0.2f64..6.0,
            shear in prop::array::uniform2(-1.0f64..1.0),
            origin in prop::array::uniform3(-400.0f64..400.0),
            count in 2usize..30,
        ) {
            let (row, column) = rotated(angles);
            let orientation = [row[0], row[1], row[2], column[0], column[1], column[2]];
            let normal = cross(row, column);
            let slices: Vec<Plane> = (0..count).map(|k| {
                let k = k as f64;
                let p = add(add(add(origin, k * step, normal), k * shear[0], row), k * shear[1], column);
                Plane::new(p, orientation, spacing).unwrap()
            }).collect();
            let lattice = Lattice::fit(&slices).unwrap();
            prop_assert_eq!(&lattice.spacing, &Spacing::Even);
            let grid = lattice.grid(20, 10);
            for (k, slice) in slices.iter().enumerate() {
                for (i, j) in [(0.0, 0.0), (19.0, 0.0), (0.0, 9.0), (19.0, 9.0)] {
                    let lps = slice.point(i, j);
                    let ras = grid.world_from_voxel.apply([i, j, k as f64]);
                    let off = norm([ras[0] + lps[0], ras[1] + lps[1], ras[2] - lps[2]]);
                    prop_assert!(off < 1e-9, "{off} mm at {i} {j} {k}");
                }
            }
        }
    }

    /// Rotation about x, then y, then z, applied to the first two axes.
    fn rotated(a: [f64; 3]) -> ([f64; 3], [f64; 3]) {
        let turn = |mut v: [f64; 3]| {
            for (axis, angle) in a.iter().enumerate() {
                let (s, c) = angle.sin_cos();
                let (p, q) = ((axis + 1) % 3, (axis + 2) % 3);
                (v[p], v[q]) = (c * v[p] - s * v[q], s * v[p] + c * v[q]);
            }
            v
        };
        (turn([1.0, 0.0, 0.0]), turn([0.0, 1.0, 0.0]))
    }
}
