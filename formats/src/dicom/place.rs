//! How grids lie to each other and to the planes of DICOM.

use crate::affine::{Affine, norm};
use crate::error::{Error, Result};
use crate::grid::{AxisOrder, Grid};
use crate::labels::LabelMap;
use crate::volume::reorder;

/// LPS coordinates from RAS, and back.
pub(super) fn flip(p: [f64; 3]) -> [f64; 3] {
    [-p[0], -p[1], p[2]]
}

/// The axis order that turns `from` into `to`, where the two differ by flips and permutation only. Corners may differ by
/// a hundredth of the smallest voxel edge: what single precision in other formats loses.
pub(super) fn order_between(from: &Grid, to: &Grid) -> Option<AxisOrder> {
    let tolerance = to.spacing_mm().into_iter().fold(f64::INFINITY, f64::min) * 0.01;
    const SOURCES: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let orders = SOURCES.into_iter().flat_map(|source| {
        (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
    });
    orders.into_iter().find(|&o| from.reordered(o).is_same(to, tolerance))
}

/// Labels in the voxel order of the source when they lie on its grid, otherwise as they are. The flag says which.
pub(super) fn on_source(labels: &LabelMap, source: &Grid) -> (crate::Shared<u16>, Grid, bool) {
    match order_between(&labels.grid, source) {
        Some(order) => (reorder(&labels.labels, order), *source, true),
        None => (labels.labels.clone(), labels.grid, false),
    }
}

/// Planes of a grid as DICOM describes them (PS3.3 C.7.6.2): LPS, millimetres.
pub(super) struct Planes {
    /// Image Orientation (Patient): direction along a row (growing `i`), then down a column (growing `j`).
    pub orientation: [f64; 6],
    /// Pixel Spacing: between rows, then between columns.
    pub pixel_spacing: [f64; 2],
    /// Distance between neighbouring planes along their normal.
    pub spacing: f64,
    world_from_voxel: Affine,
}

impl Planes {
    /// The planes of constant `k`.
    ///
    /// # Errors
    /// [`Error::Argument`] when rows and columns are not at right angles (within 0.01°), which DICOM cannot say.
    pub fn of(grid: &Grid) -> Result<Self> {
        let m = grid.world_from_voxel;
        let (a, b, c) = (m.column(0), m.column(1), m.column(2));
        let (na, nb) = (norm(a), norm(b));
        let along = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / (na * nb);
        // Written so that NaN fails too.
        if !(along.abs() <= 1.75e-4 && m.is_finite()) {
            return Err(Error::Argument(format!(
                "the rows and columns of this grid meet at {:.3}°, which DICOM planes cannot; resample it first",
                along.acos().to_degrees()
            )));
        }
        let (row, column) = (flip(a.map(|v| v / na)), flip(b.map(|v| v / nb)));
        let normal = cross(row, column);
        let step = flip(c);
        let spacing = (step[0] * normal[0] + step[1] * normal[1] + step[2] * normal[2]).abs();
        let orientation = [row[0], row[1], row[2], column[0], column[1], column[2]];
        Ok(Self { orientation, pixel_spacing: [nb, na], spacing, world_from_voxel: m })
    }

    /// Image Position (Patient) of plane `k`.
    pub fn position(&self, k: usize) -> [f64; 3] {
        flip(self.world_from_voxel.apply([0.0, 0.0, k as f64]))
    }
}

/// Vector product.
pub(super) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Scalar product.
pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_order_is_found_again() {
        let m = Affine([[0.9, -0.2, 0.1, 12.0], [0.3, 1.1, -0.4, -7.0], [0.0, 0.25, 2.0, 3.5]]);
        let grid = Grid { size_ijk: [4, 5, 6], world_from_voxel: m };
        for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for f in 0..8 {
                let order = AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] };
                let back = order_between(&grid.reordered(order), &grid).unwrap();
                assert!(grid.reordered(order).reordered(back).is_same(&grid, 1e-9));
            }
        }
        assert_eq!(order_between(&grid.window([1, 0, 0], [4, 5, 6]), &grid), None);
        assert!(Planes::of(&grid).is_err());
    }
}
