//! Filling what is connected: by label, or by value.

use formats::{Grid, Shared, Task};
use serde::{Deserialize, Serialize};

use super::edit::{EditBuilder, LabelEdit, size_ijk, slice};
use super::error::{Error, Result};
use super::flood::flood;
use super::geometry::{Slab, voxel_at};
use super::mask::{Gate, Over, ValueRange};
use crate::view::Plane;

/// How far a fill spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Within the voxels that the slice through the seed shows (see [`super::Tip::Disc`]).
    Slice(Plane),
    /// In all directions.
    Volume,
}

impl Extent {
    fn slab(self, grid: &Grid, seed_ras: [f64; 3]) -> Option<Slab> {
        match self {
            Self::Volume => None,
            Self::Slice(plane) => Some(Slab::new(grid, plane, seed_ras[plane.axes()[2]])),
        }
    }
}

/// Gives `label` to the voxels connected to the seed (through faces) that have the same label as the seed. Empty when
/// that is `label` already.
///
/// # Errors
/// [`Error::Outside`], [`Error::Singular`], [`Error::Cancelled`].
pub fn fill(
    labels: &Shared<u16>,
    grid: &Grid,
    seed_ras: [f64; 3],
    label: u16,
    extent: Extent,
    task: &Task,
) -> Result<LabelEdit> {
    let seed = voxel_at(grid, seed_ras)?.ok_or(Error::Outside)?;
    let voxels = slice(labels);
    let mut builder = EditBuilder::new(labels);
    let old = labels[[seed[2], seed[1], seed[0]]];
    if old == label {
        return Ok(builder.finish());
    }
    let slab = extent.slab(grid, seed_ras);
    let accepts = |ijk: [usize; 3], at: usize| voxels[at] == old && slab.is_none_or(|s| s.holds(ijk));
    for range in flood(size_ijk(labels), seed, u64::MAX, task, accepts)? {
        builder.paint(range.start, range.len(), |_, _| label);
    }
    Ok(builder.finish())
}

/// Region growing: gives `label` to the voxels connected to the seed (through faces) whose value lies in the range and
/// whose label may be painted over. The region may run through voxels that have `label` already.
///
/// # Errors
/// [`Error::OverCap`] when the region has more than `cap` voxels (nothing is painted then: what a leak reached is of
/// no use), [`Error::Argument`] when the value at the seed lies outside the range or its label is protected,
/// [`Error::Outside`], [`Error::Singular`], [`Error::Cancelled`].
pub fn region(
    labels: &Shared<u16>,
    grid: &Grid,
    seed_ras: [f64; 3],
    label: u16,
    extent: Extent,
    values: ValueRange<'_>,
    over: &Over,
    cap: u64,
    task: &Task,
) -> Result<LabelEdit> {
    let seed = voxel_at(grid, seed_ras)?.ok_or(Error::Outside)?;
    let voxels = slice(labels);
    let by_value = Gate::new(&Over::Everything, Some(values), grid)?;
    let slab = extent.slab(grid, seed_ras);
    let accepts = |ijk: [usize; 3], at: usize| {
        (over.allows(voxels[at]) || voxels[at] == label)
            && slab.is_none_or(|s| s.holds(ijk))
            && by_value.allows(ijk, voxels[at])
    };
    let ranges = flood(size_ijk(labels), seed, cap, task, accepts)?;
    if ranges.is_empty() {
        return Err(Error::Argument(format!(
            "the point is no start for a region: its value is not in {} to {}, or its label may not be painted over",
            values.low, values.high
        )));
    }
    let mut builder = EditBuilder::new(labels);
    for range in ranges {
        builder.paint(range.start, range.len(), |_, _| label);
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::geometry::tests::oblique;
    use formats::{LabelTable, Volume, Voxels};
    use ndarray::Array3;

    /// A hollow box in a volume.
    fn shell() -> Shared<u16> {
        Array3::from_shape_fn((12, 12, 12), |(k, j, i)| {
            let rim = |x: usize| x == 2 || x == 9;
            let inside = |x: usize| (2..=9).contains(&x);
            u16::from(inside(i) && inside(j) && inside(k) && (rim(i) || rim(j) || rim(k)))
        })
        .into_shared()
    }

    #[test]
    fn a_fill_stays_inside() {
        let (grid, labels) = (Grid::unit([12; 3]), shell());
        let seed = [5.0, 5.0, 5.0];
        let all = fill(&labels, &grid, seed, 2, Extent::Volume, &Task::silent()).unwrap();
        assert_eq!(all.voxels(), 6 * 6 * 6);
        let one = fill(&labels, &grid, seed, 2, Extent::Slice(Plane::Coronal), &Task::silent()).unwrap();
        assert_eq!((one.voxels(), one.bounds().unwrap().size_ijk()), (36, [6, 1, 6]));
        let wall = fill(&labels, &grid, [2.0; 3], 3, Extent::Volume, &Task::silent()).unwrap();
        assert_eq!(wall.voxels(), 512 - 216);
        assert!(fill(&labels, &grid, seed, 0, Extent::Volume, &Task::silent()).unwrap().is_empty());
        let outside = fill(&labels, &grid, [50.0; 3], 2, Extent::Volume, &Task::silent());
        assert!(matches!(outside, Err(Error::Outside)));
    }

    #[test]
    fn a_slice_of_an_oblique_grid_is_filled_without_holes() {
        let grid = oblique([30, 30, 30], [1.0, 1.3, 0.9], 0.5, 0.4);
        let labels: Shared<u16> = Array3::zeros((30, 30, 30)).into_shared();
        let seed = grid.world_from_voxel.apply([15.0; 3]);
        let edit = fill(&labels, &grid, seed, 1, Extent::Slice(Plane::Axial), &Task::silent()).unwrap();
        let mut after = labels.clone();
        edit.apply(&mut after, &mut LabelTable::default()).unwrap();
        for n in 0..100 * 100 {
            let p =
                [seed[0] + (n % 100) as f64 * 0.2 - 10.0, seed[1] + (n / 100) as f64 * 0.2 - 10.0, seed[2]];
            if let Some([i, j, k]) = voxel_at(&grid, p).unwrap() {
                assert_eq!(after[[k, j, i]], 1, "{p:?}");
            }
        }
    }

    #[test]
    fn a_region_follows_values_and_respects_limits() {
        let grid = Grid::unit([12; 3]);
        let labels: Shared<u16> = Array3::zeros((12, 12, 12)).into_shared();
        let ball = |k: usize, j: usize, i: usize| {
            let d = [i, j, k].map(|x| (x as f32 - 5.0).powi(2)).iter().sum::<f32>();
            if d <= 9.5 { 100.0 } else { 10.0 }
        };
        let values = Array3::from_shape_fn((12, 12, 12), |(k, j, i)| ball(k, j, i));
        let truth = values.iter().filter(|v| **v > 50.0).count() as u64;
        let image = Volume::new(Voxels::F32(values.into_shared()), grid).unwrap();
        let range = ValueRange { image: &image, low: 50.0, high: 150.0 };
        let grow = |labels: &Shared<u16>, seed, over: &Over, cap, task: &Task| {
            region(labels, &grid, seed, 4, Extent::Volume, range, over, cap, task)
        };
        let task = Task::silent();
        assert_eq!(grow(&labels, [5.0; 3], &Over::Background, truth, &task).unwrap().voxels(), truth);
        let leak = grow(&labels, [5.0; 3], &Over::Background, truth - 1, &task);
        assert!(matches!(leak, Err(Error::OverCap { .. })));
        assert!(matches!(grow(&labels, [0.0; 3], &Over::Background, 10, &task), Err(Error::Argument(_))));
        let mut part = labels.clone();
        part[[5, 5, 5]] = 4;
        part[[5, 5, 6]] = 9;
        let edit = grow(&part, [5.0; 3], &Over::Background, truth, &task).unwrap();
        assert_eq!(edit.voxels(), truth - 2, "through its own label, not over another");
    }

    #[test]
    fn a_fill_can_be_cancelled() {
        let task = Task::silent();
        task.cancel().cancel();
        // A checkerboard of rows has many short runs.
        let labels =
            Array3::from_shape_fn((64, 64, 64), |(_, j, i)| u16::from(j % 4 == 1 && i > 0)).into_shared();
        let done = fill(&labels, &Grid::unit([64; 3]), [0.0; 3], 2, Extent::Volume, &task);
        assert!(matches!(done, Err(Error::Cancelled)));
    }
}
