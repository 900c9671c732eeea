//! Growing and shrinking a label by millimetres.

use formats::measure::{distances_mm, label_extents};
use formats::{Affine, Grid, Shared, Task};
use ndarray::{ArrayView3, s};

use super::edit::{EditBuilder, LabelEdit, VoxelBox, size_ijk};
use super::error::{Error, Result};
use super::geometry::voxel_from_world;
use super::mask::Over;

/// The box around a label, wider by what a ball of `margin_mm` reaches along each voxel axis (one voxel at least),
/// within the volume. `None` when the label does not occur.
pub(super) fn box_around(
    labels: &Shared<u16>,
    label: u16,
    voxel_from_world: &Affine,
    margin_mm: f64,
) -> Option<VoxelBox> {
    let extent = label_extents(labels).into_iter().find(|e| e.label == label)?;
    Some(widened(extent.first_ijk, extent.last_ijk, size_ijk(labels), voxel_from_world, margin_mm))
}

pub(super) fn widened(
    first_ijk: [usize; 3],
    last_ijk: [usize; 3],
    size_ijk: [usize; 3],
    voxel_from_world: &Affine,
    margin_mm: f64,
) -> VoxelBox {
    let reach = |a: usize| {
        let [x, y, z, _] = voxel_from_world.0[a];
        // Also bounds what is allocated: no volume has more voxels along an axis.
        (margin_mm * (x * x + y * y + z * z).sqrt()).ceil().clamp(1.0, size_ijk[a] as f64) as usize
    };
    VoxelBox {
        first_ijk: [0, 1, 2].map(|a| first_ijk[a].saturating_sub(reach(a))),
        last_ijk: [0, 1, 2].map(|a| (last_ijk[a] + reach(a)).min(size_ijk[a] - 1)),
    }
}

/// The labels in a box.
pub(super) fn cut(labels: &Shared<u16>, b: VoxelBox) -> ArrayView3<'_, u16> {
    let ([i, j, k], [li, lj, lk]) = (b.first_ijk, b.last_ijk);
    labels.slice(s![k..=lk, j..=lj, i..=li])
}

/// Calls `paint` for each row of a box: `new([k, j, i] in the box, old)` says what becomes of a voxel.
pub(super) fn paint_box(
    labels: &Shared<u16>,
    b: VoxelBox,
    mut new: impl FnMut([usize; 3], u16) -> u16,
) -> LabelEdit {
    let [ni, nj, _] = size_ijk(labels);
    let [wide, high, deep] = b.size_ijk();
    let mut builder = EditBuilder::new(labels);
    for k in 0..deep {
        for j in 0..high {
            let start = ((b.first_ijk[2] + k) * nj + b.first_ijk[1] + j) * ni + b.first_ijk[0];
            builder.paint(start, wide, |i, old| new([k, j, i], old));
        }
    }
    builder.finish()
}

fn checked(mm: f64) -> Result<f64> {
    if !mm.is_finite() || mm < 0.0 {
        return Err(Error::Argument(format!("a distance of {mm} mm is not 0 or more")));
    }
    // Distances are in single precision.
    Ok(mm * (1.0 + 1e-6))
}

/// Gives `label` to voxels whose centre lies within `mm` millimetres of the centre of a voxel that has it, where `over`
/// allows. Exact on every grid.
///
/// # Errors
/// [`Error::Argument`] for a negative distance, [`Error::Singular`], [`Error::Cancelled`].
pub fn grow(
    labels: &Shared<u16>,
    grid: &Grid,
    label: u16,
    mm: f64,
    over: &Over,
    task: &Task,
) -> Result<LabelEdit> {
    let mm = checked(mm)?;
    let Some(b) = box_around(labels, label, &voxel_from_world(grid)?, mm) else {
        return Ok(EditBuilder::new(labels).finish());
    };
    let set = cut(labels, b).mapv(|l| l == label);
    let away = distances_mm(&set, &grid.world_from_voxel, task)?;
    Ok(paint_box(
        labels,
        b,
        |at, old| {
            if f64::from(away[at]) <= mm && over.allows(old) { label } else { old }
        },
    ))
}

/// Takes `label` from voxels whose centre lies within `mm` millimetres of the centre of a voxel of the volume that does
/// not have it; they become background. What lies beyond the edge of the volume does not count: a structure that the
/// scan cuts off is not shrunk there.
///
/// # Errors
/// As [`grow`].
pub fn shrink(labels: &Shared<u16>, grid: &Grid, label: u16, mm: f64, task: &Task) -> Result<LabelEdit> {
    let mm = checked(mm)?;
    let Some(b) = box_around(labels, label, &voxel_from_world(grid)?, mm) else {
        return Ok(EditBuilder::new(labels).finish());
    };
    let set = cut(labels, b).mapv(|l| l != label);
    let away = distances_mm(&set, &grid.world_from_voxel, task)?;
    Ok(paint_box(labels, b, |at, old| if old == label && f64::from(away[at]) <= mm { 0 } else { old }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::geometry::tests::oblique;
    use crate::tools::{Brush, Tip, stroke};
    use formats::LabelTable;
    use ndarray::Array3;

    fn ball(grid: &Grid, radius_mm: f64) -> Shared<u16> {
        let mut labels = Array3::zeros(grid.shape_kji()).into_shared();
        let centre = grid.world_from_voxel.apply(grid.size_ijk.map(|n| (n / 2) as f64));
        let brush = Brush { tip: Tip::Ball, radius_mm, label: 3, over: Over::Everything };
        let edit = stroke(&labels, grid, &brush, &[centre], None).unwrap();
        edit.apply(&mut labels, &mut LabelTable::default()).unwrap();
        labels
    }

    fn after(labels: &Shared<u16>, edit: &LabelEdit) -> f64 {
        let mut out = labels.clone();
        edit.apply(&mut out, &mut LabelTable::default()).unwrap();
        out.iter().filter(|v| **v == 3).count() as f64
    }

    #[test]
    fn a_ball_grows_and_shrinks_by_its_radius() {
        let mut sheared = oblique([60, 50, 40], [0.6, 0.8, 1.0], 0.4, 0.3);
        sheared.world_from_voxel.0[0][2] += 0.3;
        for grid in [oblique([60, 50, 40], [0.6, 0.8, 1.0], 0.4, 0.3), sheared] {
            let labels = ball(&grid, 8.0);
            let task = Task::silent();
            let volume = |voxels: f64| voxels * grid.voxel_volume_mm3();
            let truth = |r: f64| 4.0 / 3.0 * std::f64::consts::PI * r * r * r;
            let grown =
                volume(after(&labels, &grow(&labels, &grid, 3, 4.0, &Over::Background, &task).unwrap()));
            // Centre to centre: the set of centres reaches up to half a voxel less far than the ball.
            assert!(grown < truth(12.0) * 1.01 && grown > truth(11.6), "{grown} {}", truth(12.0));
            let shrunk = volume(after(&labels, &shrink(&labels, &grid, 3, 4.0, &task).unwrap()));
            assert!(shrunk < truth(4.4) && shrunk > truth(3.7), "{shrunk} {}", truth(4.0));
        }
    }

    #[test]
    fn protected_labels_and_the_edge_of_the_volume_stop_it() {
        let grid = Grid::unit([9, 1, 1]);
        let labels = ndarray::arr3(&[[[3u16, 3, 3, 3, 0, 5, 0, 0, 0]]]).into_shared();
        let task = Task::silent();
        assert_eq!(after(&labels, &grow(&labels, &grid, 3, 3.0, &Over::Background, &task).unwrap()), 6.0);
        assert_eq!(after(&labels, &shrink(&labels, &grid, 3, 2.0, &task).unwrap()), 2.0);
        assert!(grow(&labels, &grid, 9, 3.0, &Over::Background, &task).unwrap().is_empty());
        assert!(grow(&labels, &grid, 3, -1.0, &Over::Background, &task).is_err());
        let all = shrink(&labels, &grid, 3, 1e300, &task).unwrap();
        assert_eq!(all.voxels(), 4);
    }
}
