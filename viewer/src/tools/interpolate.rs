//! Filling the slices between painted ones.
//!
//! Between two painted slices the shape is interpolated: in both slices each pixel gets its distance to the shape's
//! border in millimetres (negative inside), the distances are mixed in proportion to the position between the slices,
//! and the label goes where the mixture is negative (Raya and Udupa 1990). Where the two shapes share no pixel, both
//! are first moved so that their centroids meet on the line between them: otherwise nothing would be left half way.

use formats::measure::{distances_mm, label_extents};
use formats::{Affine, Grid, Shared, Task};
use ndarray::{Array2, Array3, ArrayView2, Axis, s};

use super::edit::{EditBuilder, LabelEdit, size_ijk};
use super::error::{Error, Result};
use super::mask::Over;

/// Fills the empty slices between the slices that hold `label`, along voxel axis `axis` (0 = i, 1 = j, 2 = k; for a
/// viewing plane take the axis that runs closest to the direction through it, [`Grid::axes_ras`]). `over` says what may
/// be painted over. Empty when no slice is missing.
///
/// # Errors
/// [`Error::Argument`] for another axis, [`Error::Cancelled`].
pub fn interpolate(
    labels: &Shared<u16>,
    grid: &Grid,
    label: u16,
    axis: usize,
    over: &Over,
    task: &Task,
) -> Result<LabelEdit> {
    if axis > 2 {
        return Err(Error::Argument(format!("there is no voxel axis {axis}; 0, 1 and 2 are i, j and k")));
    }
    let mut builder = EditBuilder::new(labels);
    let Some(extent) = label_extents(labels).into_iter().find(|e| e.label == label) else {
        return Ok(builder.finish());
    };
    // The two voxel axes within a slice, slower first.
    let within: [usize; 2] = match axis {
        0 => [2, 1],
        1 => [2, 0],
        _ => [1, 0],
    };
    let columns = [0, 1, 2].map(|a| grid.world_from_voxel.column(a));
    let in_slice = Affine::from_columns([columns[within[1]], columns[within[0]], columns[axis]], [0.0; 3]);
    // One pixel of margin, so that every border has an outside.
    let first = within.map(|a| extent.first_ijk[a]);
    let size = within.map(|a| extent.last_ijk[a] - extent.first_ijk[a] + 3);
    let mask = |n: usize| {
        let slice = labels.index_axis(Axis(2 - axis), n);
        let inside = slice.slice(s![first[0]..first[0] + size[0] - 2, first[1]..first[1] + size[1] - 2]);
        let mut out = Array2::from_elem(size, false);
        out.slice_mut(s![1..size[0] - 1, 1..size[1] - 1]).assign(&inside.mapv(|l| l == label));
        out
    };
    let [ni, nj, _] = size_ijk(labels);
    let strides = [1, ni, ni * nj];
    let (from, to) = (extent.first_ijk[axis], extent.last_ijk[axis]);
    let mut last: Option<(usize, Shape)> = None;
    for n in from..=to {
        task.at("Interpolating", (n - from) as f32 / (to - from + 1) as f32)?;
        let mask = mask(n);
        if !mask.iter().any(|m| *m) {
            continue;
        }
        // Distances are only needed at the ends of gaps.
        let is_end = last.as_ref().is_some_and(|(m, _)| n - m > 1);
        let mut here = Shape { mask, distance: None };
        if let Some((m, mut before)) = last.take().filter(|_| is_end) {
            let mixture = Mixture::new(&mut before, &mut here, &in_slice, task)?;
            for between in m + 1..n {
                let t = (between - m) as f64 / (n - m) as f64;
                for (p, q) in mixture.inside(t) {
                    let at = between * strides[axis]
                        + (first[0] + p - 1) * strides[within[0]]
                        + (first[1] + q - 1) * strides[within[1]];
                    builder.paint(at, 1, |_, old| if over.allows(old) { label } else { old });
                }
            }
        }
        last = Some((n, here));
    }
    Ok(builder.finish())
}

struct Shape {
    mask: Array2<bool>,
    distance: Option<Array2<f64>>,
}

impl Shape {
    /// Millimetres to the border, negative inside, made once.
    fn distance(&mut self, in_slice: &Affine, task: &Task) -> Result<Array2<f64>> {
        if let Some(known) = &self.distance {
            return Ok(known.clone());
        }
        let away = |mask: ArrayView2<'_, bool>| -> Result<Array3<f32>> {
            Ok(distances_mm(&mask.insert_axis(Axis(0)), in_slice, task)?)
        };
        let outside = away(self.mask.view())?;
        let inside = away(self.mask.mapv(|m| !m).view())?;
        let signed = (outside.mapv(f64::from) - inside.mapv(f64::from)).index_axis_move(Axis(0), 0);
        self.distance = Some(signed.clone());
        Ok(signed)
    }

    fn centroid(&self) -> [f64; 2] {
        let mut sum = [0.0; 3];
        for ((p, q), _) in self.mask.indexed_iter().filter(|(_, m)| **m) {
            sum = [sum[0] + p as f64, sum[1] + q as f64, sum[2] + 1.0];
        }
        [sum[0] / sum[2], sum[1] / sum[2]]
    }
}

struct Mixture {
    before: Array2<f64>,
    after: Array2<f64>,
    /// From the shape before to the shape after, in pixels; 0 where they overlap.
    shift: [f64; 2],
}

impl Mixture {
    fn new(before: &mut Shape, after: &mut Shape, in_slice: &Affine, task: &Task) -> Result<Self> {
        let overlap = before.mask.iter().zip(&after.mask).any(|(a, b)| *a && *b);
        let (a, b) = (before.centroid(), after.centroid());
        let shift = if overlap { [0.0; 2] } else { [b[0] - a[0], b[1] - a[1]] };
        Ok(Self { before: before.distance(in_slice, task)?, after: after.distance(in_slice, task)?, shift })
    }

    /// The pixels of the shape at `t` (0 before, 1 after), without the margin.
    fn inside(&self, t: f64) -> Vec<(usize, usize)> {
        let (rows, columns) = self.before.dim();
        let mut out = Vec::new();
        for p in 1..rows - 1 {
            for q in 1..columns - 1 {
                let at = |field: &Array2<f64>, along: f64| {
                    sample(field, p as f64 + along * self.shift[0], q as f64 + along * self.shift[1])
                };
                if (1.0 - t) * at(&self.before, -t) + t * at(&self.after, 1.0 - t) < 0.0 {
                    out.push((p, q));
                }
            }
        }
        out
    }
}

/// Bilinear; beyond the border the value at the border.
fn sample(field: &Array2<f64>, p: f64, q: f64) -> f64 {
    let (rows, columns) = field.dim();
    let (p, q) = (p.clamp(0.0, rows as f64 - 1.0), q.clamp(0.0, columns as f64 - 1.0));
    let (p0, q0) = (p.floor(), q.floor());
    let (i, j) = (p0 as usize, q0 as usize);
    let (i1, j1) = ((i + 1).min(rows - 1), (j + 1).min(columns - 1));
    let (u, v) = (p - p0, q - q0);
    (1.0 - u) * ((1.0 - v) * field[[i, j]] + v * field[[i, j1]])
        + u * ((1.0 - v) * field[[i1, j]] + v * field[[i1, j1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::LabelTable;
    use proptest::prelude::*;

    /// A disc of pixels (in-slice coordinates slower, faster).
    fn disc(labels: &mut Shared<u16>, axis: usize, n: usize, centre: [f64; 2], radius: f64) {
        for ((p, q), v) in labels.index_axis_mut(Axis(2 - axis), n).indexed_iter_mut() {
            if (p as f64 - centre[0]).hypot(q as f64 - centre[1]) <= radius {
                *v = 2;
            }
        }
    }

    fn filled(labels: &Shared<u16>, axis: usize) -> Shared<u16> {
        let grid = Grid {
            size_ijk: size_ijk(labels),
            world_from_voxel: Affine::scale_shift([1.0, 1.0, 3.0], [0.0; 3]),
        };
        let edit = interpolate(labels, &grid, 2, axis, &Over::Background, &Task::silent()).unwrap();
        let mut out = labels.clone();
        edit.apply(&mut out, &mut LabelTable::default()).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn equal_discs_give_a_cylinder(
            axis in 0usize..3,
            radius in 1.0f64..8.0,
            centre in prop::array::uniform2(4.0f64..20.0),
            (first, last) in (0usize..10, 10usize..24),
        ) {
            let mut labels: Shared<u16> = Array3::zeros((24, 24, 24)).into_shared();
            let mut truth = labels.clone();
            disc(&mut labels, axis, first, centre, radius);
            disc(&mut labels, axis, last, centre, radius);
            for n in first..=last { disc(&mut truth, axis, n, centre, radius); }
            prop_assert_eq!(filled(&labels, axis), truth);
        }
    }

    #[test]
    fn a_cone_stays_a_cone() {
        let mut labels: Shared<u16> = Array3::zeros((21, 64, 64)).into_shared();
        disc(&mut labels, 2, 0, [32.0, 32.0], 10.0);
        disc(&mut labels, 2, 20, [32.0, 32.0], 28.0);
        let out = filled(&labels, 2);
        for k in [5, 10, 15] {
            let area = out.index_axis(Axis(0), k).iter().filter(|v| **v == 2).count() as f64;
            let truth = std::f64::consts::PI * (10.0 + 0.9 * k as f64).powi(2);
            assert!((area / truth - 1.0).abs() < 0.04, "{k}: {area} {truth}");
        }
    }

    #[test]
    fn shapes_apart_are_joined_by_a_slanted_tube() {
        let mut labels: Shared<u16> = Array3::zeros((11, 40, 40)).into_shared();
        disc(&mut labels, 2, 0, [8.0, 8.0], 4.0);
        disc(&mut labels, 2, 10, [30.0, 28.0], 4.0);
        let out = filled(&labels, 2);
        let mut middle: Shared<u16> = Array3::zeros((11, 40, 40)).into_shared();
        disc(&mut middle, 2, 5, [19.0, 18.0], 4.0);
        assert_eq!(out.index_axis(Axis(0), 5), middle.index_axis(Axis(0), 5));
    }

    #[test]
    fn other_labels_stay_and_full_slices_are_left() {
        let mut labels: Shared<u16> = Array3::zeros((5, 9, 9)).into_shared();
        for k in [0, 1, 4] {
            disc(&mut labels, 2, k, [4.0, 4.0], 3.0);
        }
        labels[[2, 4, 4]] = 7;
        let out = filled(&labels, 2);
        assert_eq!((out[[2, 4, 4]], out[[2, 4, 5]], out[[3, 4, 4]]), (7, 2, 2));
        assert_eq!(filled(&out, 2), out);
        let grid = Grid::unit([9, 9, 5]);
        assert!(interpolate(&out, &grid, 2, 3, &Over::Background, &Task::silent()).is_err());
        assert!(interpolate(&out, &grid, 6, 0, &Over::Background, &Task::silent()).unwrap().is_empty());
    }
}
