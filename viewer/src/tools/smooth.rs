//! Smoothing the borders of labels.
//!
//! The indicator of a label (1 inside, 0 outside) is blurred with a Gaussian; the border then runs where the blurred
//! indicator passes a threshold. For one label the threshold is chosen so that the number of voxels stays the same
//! ([`smooth`]); for several at once each voxel goes to the label whose blurred indicator is largest there, which
//! leaves no gaps between them ([`smooth_all`]).

use formats::measure::label_extents;
use formats::{Grid, Shared, Task};
use ndarray::{Array3, Axis, Slice, Zip, s};
use rayon::prelude::*;

use super::edit::{EditBuilder, LabelEdit, VoxelBox, size_ijk};
use super::error::{Error, Result};
use super::geometry::voxel_from_world;
use super::grow::{box_around, cut, paint_box, widened};
use super::mask::Over;

/// Standard deviations after which the Gaussian is cut off.
const REACH: f64 = 3.0;

fn checked(sigma_mm: f64) -> Result<()> {
    if sigma_mm.is_finite() && sigma_mm > 0.0 {
        return Ok(());
    }
    Err(Error::Argument(format!("a smoothing of {sigma_mm} mm is not more than 0")))
}

/// Smooths one label and keeps its volume: as many voxels as before have it afterwards, those with the largest blurred
/// indicator. `sigma_mm` is the standard deviation of the Gaussian, along each voxel axis in its own spacing (on sheared
/// grids along the sheared axes). Voxels that lose the label become background; `over` says which may gain it.
///
/// # Errors
/// [`Error::Argument`] unless `sigma_mm` is above 0, [`Error::Singular`], [`Error::Cancelled`].
pub fn smooth(
    labels: &Shared<u16>,
    grid: &Grid,
    label: u16,
    sigma_mm: f64,
    over: &Over,
    task: &Task,
) -> Result<LabelEdit> {
    checked(sigma_mm)?;
    let Some(b) = box_around(labels, label, &voxel_from_world(grid)?, REACH * sigma_mm) else {
        return Ok(EditBuilder::new(labels).finish());
    };
    let now = cut(labels, b);
    let blurred = blur(now.mapv(|l| f32::from(u8::from(l == label))), grid, sigma_mm, task)?;
    let may = |old: u16| old == label || over.allows(old);
    let mut candidates: Vec<(f32, bool)> =
        Zip::from(&blurred).and(&now).fold(Vec::new(), |mut all, &value, &old| {
            if value > 0.0 && may(old) {
                all.push((value, old == label));
            }
            all
        });
    let count = candidates.iter().filter(|(_, inside)| *inside).count();
    // Of equal values those inside come first, so that a shape already smooth stays as it is.
    let order = |a: &(f32, bool), b: &(f32, bool)| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1));
    let Some(last) = count.checked_sub(1) else { return Ok(EditBuilder::new(labels).finish()) };
    let threshold = *candidates.select_nth_unstable_by(last, order).1;
    let before = candidates[..count].iter().filter(|c| order(c, &threshold).is_lt()).count();
    let mut ties = count - before;
    Ok(paint_box(labels, b, |at, old| {
        let here = (blurred[at], old == label);
        let stays = may(old)
            && match order(&here, &threshold) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => {
                    let first = ties > 0;
                    ties -= usize::from(first);
                    first
                }
            };
        match (stays, old == label) {
            (true, _) => label,
            (false, true) => 0,
            (false, false) => old,
        }
    }))
}

/// Smooths several labels against each other and the background: each of their voxels goes to the one with the largest
/// blurred indicator, in doubt to the one that had it. `of` names the labels, `None` means all; others neither change
/// nor move. Volumes are kept only approximately: parts thinner than about `sigma_mm` shrink.
///
/// # Errors
/// As [`smooth`].
pub fn smooth_all(
    labels: &Shared<u16>,
    grid: &Grid,
    of: Option<&[u16]>,
    sigma_mm: f64,
    task: &Task,
) -> Result<LabelEdit> {
    checked(sigma_mm)?;
    let inverse = voxel_from_world(grid)?;
    let extents: Vec<_> =
        label_extents(labels).into_iter().filter(|e| of.is_none_or(|of| of.contains(&e.label))).collect();
    let boxes: Vec<(u16, VoxelBox)> = extents
        .iter()
        .map(|e| (e.label, widened(e.first_ijk, e.last_ijk, size_ijk(labels), &inverse, REACH * sigma_mm)))
        .collect();
    let Some(all) = boxes.iter().map(|(_, b)| *b).reduce(VoxelBox::union) else {
        return Ok(EditBuilder::new(labels).finish());
    };
    let mut best = Array3::<f32>::zeros(cut(labels, all).dim());
    let mut winner = cut(labels, all).to_owned();
    let count = boxes.len() as f32 + 1.0;
    for (n, (label, b)) in boxes.iter().copied().chain([(0, all)]).enumerate() {
        task.at("Smoothing", n as f32 / count)?;
        let now = cut(labels, b);
        let blurred = blur(now.mapv(|l| f32::from(u8::from(l == label))), grid, sigma_mm, task)?;
        let [i, j, k] = [0, 1, 2].map(|a| {
            let first = b.first_ijk[a] - all.first_ijk[a];
            first..first + b.size_ijk()[a]
        });
        let part = s![k, j, i];
        Zip::from(best.slice_mut(&part)).and(winner.slice_mut(&part)).and(&blurred).and(&now).par_for_each(
            |best, winner, &value, &old| {
                if value > *best || (value == *best && old == label) {
                    (*best, *winner) = (value, label);
                }
            },
        );
    }
    let moves = |label: u16| label == 0 || of.is_none_or(|of| of.contains(&label));
    Ok(paint_box(labels, all, |at, old| if moves(old) { winner[at] } else { old }))
}

/// Convolves with a Gaussian along each axis, renormalised at the border of the array.
fn blur(mut field: Array3<f32>, grid: &Grid, sigma_mm: f64, task: &Task) -> Result<Array3<f32>> {
    let spacing = grid.spacing_mm();
    for axis in 0..3 {
        task.check()?;
        let len = field.len_of(Axis(axis));
        let kernel = kernel(sigma_mm / spacing[2 - axis], len);
        let reach = kernel.len() - 1;
        let source = field;
        let mut out = Array3::<f32>::zeros(source.dim());
        // What the part of the kernel within the line adds up to.
        let sums: Vec<f32> = (0..len)
            .map(|n| (n.saturating_sub(reach)..(n + reach + 1).min(len)).map(|m| kernel[n.abs_diff(m)]).sum())
            .collect();
        if axis == 0 {
            out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(n, mut slice)| {
                for m in n.saturating_sub(reach)..(n + reach + 1).min(len) {
                    slice.scaled_add(kernel[n.abs_diff(m)] / sums[n], &source.index_axis(Axis(0), m));
                }
            });
        } else {
            // Each slice on its own, all lines at once; axis 1 or 2 of the volume is axis 0 or 1 of the slice.
            let inner = Axis(axis - 1);
            let slices = out.axis_iter_mut(Axis(0)).into_par_iter().zip(source.axis_iter(Axis(0)));
            slices.for_each(|(mut out, source)| {
                for (d, &weight) in kernel.iter().enumerate().filter(|(d, _)| *d < len) {
                    let (front, back) = (Slice::from(..len - d), Slice::from(d..));
                    out.slice_axis_mut(inner, front).scaled_add(weight, &source.slice_axis(inner, back));
                    if d > 0 {
                        out.slice_axis_mut(inner, back).scaled_add(weight, &source.slice_axis(inner, front));
                    }
                }
                for n in (0..len).filter(|n| *n < reach || n + reach >= len) {
                    out.index_axis_mut(inner, n).mapv_inplace(|v| v / sums[n]);
                }
            });
        }
        field = out;
    }
    Ok(field)
}

/// The Gaussian at whole numbers from 0 to the cut-off (or the end of the longest line), both sides adding up to 1.
fn kernel(sigma_vox: f64, len: usize) -> Vec<f32> {
    let reach = ((REACH * sigma_vox).ceil().max(1.0) as usize).min(len);
    let weights: Vec<f64> = (0..=reach).map(|n| (-0.5 * (n as f64 / sigma_vox).powi(2)).exp()).collect();
    let sum = 2.0 * weights.iter().sum::<f64>() - weights[0];
    weights.iter().map(|w| (w / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{Affine, LabelTable};

    fn after(labels: &Shared<u16>, edit: &LabelEdit) -> Shared<u16> {
        let mut out = labels.clone();
        edit.apply(&mut out, &mut LabelTable::default()).unwrap();
        out
    }

    fn count(labels: &Shared<u16>, label: u16) -> usize {
        labels.iter().filter(|v| **v == label).count()
    }

    /// Faces between the label and anything else.
    fn surface(labels: &Shared<u16>, label: u16) -> usize {
        let mut faces = 0;
        for axis in 0..3 {
            for line in labels.lanes(Axis(axis)) {
                faces += line.windows(2).into_iter().filter(|w| (w[0] == label) != (w[1] == label)).count();
            }
        }
        faces
    }

    fn rough_ball(label: u16) -> Shared<u16> {
        let mut state = 7u32;
        Array3::from_shape_fn((32, 32, 32), |(k, j, i)| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 16 & 255) / 255.0 * 4.0 - 2.0;
            let r = [i, j, k].map(|x| (x as f64 - 15.5).powi(2)).iter().sum::<f64>().sqrt();
            if r + noise < 9.0 { label } else { 0 }
        })
        .into_shared()
    }

    #[test]
    fn the_blur_of_a_point_is_a_gaussian_and_that_of_a_constant_is_constant() {
        let grid =
            Grid { size_ijk: [31; 3], world_from_voxel: Affine::scale_shift([0.5, 1.0, 2.0], [0.0; 3]) };
        let mut point = Array3::zeros((31, 31, 31));
        point[[15, 15, 15]] = 1.0;
        let out = blur(point, &grid, 1.5, &Task::silent()).unwrap();
        let gauss = |i: i32, j: i32, k: i32| {
            let square = (f64::from(i) * 0.5).powi(2) + f64::from(j).powi(2) + (f64::from(k) * 2.0).powi(2);
            (-square / (2.0 * 1.5 * 1.5)).exp()
        };
        for (i, j, k) in [(3, 0, 0), (0, 2, 0), (0, 0, 1), (-4, 1, -1)] {
            let at = [15 + k, 15 + j, 15 + i].map(|n: i32| n as usize);
            let found = f64::from(out[at] / out[[15, 15, 15]]);
            assert!((found - gauss(i, j, k)).abs() < 1e-5, "{found}");
        }
        let flat = blur(Array3::from_elem((3, 4, 31), 1.0), &grid, 3.0, &Task::silent()).unwrap();
        assert!(flat.iter().all(|v| (v - 1.0).abs() < 1e-5));
    }

    #[test]
    fn one_label_keeps_its_volume_and_loses_its_roughness() {
        let grid =
            Grid { size_ijk: [32; 3], world_from_voxel: Affine::scale_shift([-0.9, 1.0, 1.1], [0.0; 3]) };
        let labels = rough_ball(4);
        let edit = smooth(&labels, &grid, 4, 1.5, &Over::Background, &Task::silent()).unwrap();
        let smoothed = after(&labels, &edit);
        assert_eq!(count(&smoothed, 4), count(&labels, 4));
        assert!(surface(&smoothed, 4) * 10 < surface(&labels, 4) * 7);
        let again =
            after(&smoothed, &smooth(&smoothed, &grid, 4, 0.3, &Over::Background, &Task::silent()).unwrap());
        assert_eq!(again, smoothed, "a small filter leaves a smooth shape");
    }

    #[test]
    fn protected_labels_stay() {
        let grid = Grid::unit([32; 3]);
        let mut labels = rough_ball(4);
        labels.slice_mut(s![.., .., ..14]).fill(9);
        let before = count(&labels, 4);
        let smoothed =
            after(&labels, &smooth(&labels, &grid, 4, 2.0, &Over::Background, &Task::silent()).unwrap());
        assert_eq!((count(&smoothed, 4), count(&smoothed, 9)), (before, count(&labels, 9)));
        assert!(smooth(&labels, &grid, 4, 0.0, &Over::Background, &Task::silent()).is_err());
        assert!(smooth(&labels, &grid, 77, 1.0, &Over::Background, &Task::silent()).unwrap().is_empty());
    }

    #[test]
    fn labels_side_by_side_stay_without_a_gap() {
        let grid = Grid::unit([32; 3]);
        let mut labels = rough_ball(4);
        for ((k, j, i), v) in labels.indexed_iter_mut() {
            if *v == 4 && i + (k + j) % 3 > 16 {
                *v = 5;
            }
        }
        let smoothed = after(&labels, &smooth_all(&labels, &grid, None, 1.5, &Task::silent()).unwrap());
        for at in [(15, 15, 12), (15, 15, 16), (12, 18, 15)] {
            assert_ne!(smoothed[at], 0);
        }
        for label in [4, 5] {
            let (a, b) = (count(&labels, label) as f64, count(&smoothed, label) as f64);
            // Specks and the sharp edge where three regions meet go.
            assert!((b / a - 1.0).abs() < 0.18, "{label}: {a} {b}");
        }
        assert!(surface(&smoothed, 4) < surface(&labels, 4));
        let one = after(&labels, &smooth_all(&labels, &grid, Some(&[4]), 1.5, &Task::silent()).unwrap());
        assert_eq!(count(&one, 5), count(&labels, 5), "a label not named does not move");
    }
}
