//! Values moved from one grid to another through the world.
//!
//! A voxel of the target grid asks for the value at its centre's place in the source: its continuous index
//! `source_from_target = source.voxel_from_world · target.world_from_voxel`, in f64. Three roads lead there:
//!
//! * **copy**: the grids differ only by flips, permutation and whole voxels. Values are copied by index, exactly;
//! * **separable**: the axes are parallel. Weights per axis, three passes over rows;
//! * **general**: anything affine (oblique, sheared). Weights per voxel.
//!
//! Axes count as parallel, and shifts as whole, when nothing is off by more than 10⁻⁴ voxel anywhere on the target.
//!
//! Between the centre of a border voxel and its outer face the border value holds, as in ITK; beyond the outer
//! faces [`Outside`] decides. NaN spreads to the voxels whose interpolation touches it with a weight other than 0.

mod general;
mod map;
mod scores;
mod separable;

use formats::{Grid, Task};
use ndarray::{Array3, ArrayView3, ArrayViewMut2, Axis, Zip, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::gridded::{Gridded, check_shape};
use map::{Map, Road};

pub use scores::{Decide, scores_argmax, scores_to_labels};

/// How values between voxel centres are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// The nearest voxel's value; halfway, the one with the higher index.
    Nearest,
    /// Trilinear. Equal to SimpleITK's linear up to rounding.
    #[default]
    Linear,
    /// Tricubic convolution with Keys' kernel, a = −½ (Catmull-Rom): passes through the samples and reproduces
    /// quadratics; overshoots at edges. R. Keys, "Cubic convolution interpolation for digital image processing",
    /// IEEE Trans. ASSP 29 (1981).
    Cubic,
}

/// What lies beyond the outer faces of the source's border voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outside {
    /// This value.
    Value(f32),
    /// The nearest border value.
    Edge,
}

/// Values on grid `onto`, array `[k, j, i]` of that grid's shape. No smoothing is done before down-sampling, as in
/// SimpleITK.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when array and grid disagree or a placement is singular;
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub fn resample(
    source: &Gridded<ArrayView3<'_, f32>>,
    onto: &Grid,
    how: Interpolation,
    outside: Outside,
    task: &Task,
) -> Result<Array3<f32>> {
    check_shape(&source.array, &source.grid)?;
    let map = Map::new(&source.grid, onto)?;
    task.check()?;
    let fill = match outside {
        Outside::Value(v) => Some(v),
        Outside::Edge => None,
    };
    match map.road() {
        Road::Copy(axes) => Ok(copy(source.array, &axes, onto, fill)),
        _ if how == Interpolation::Nearest => nearest(source.array, &map, onto, fill, task),
        Road::Separable(axes) => separable::resample(source.array, &axes, onto, how, fill, task),
        Road::General => general::resample(source.array, &map, onto, how, fill, task),
    }
}

/// Labels on grid `onto` by nearest neighbour; 0 beyond the outer faces of the source.
///
/// # Errors
/// As [`resample`].
pub fn resample_nearest_labels(
    source: &Gridded<ArrayView3<'_, u16>>,
    onto: &Grid,
    task: &Task,
) -> Result<Array3<u16>> {
    check_shape(&source.array, &source.grid)?;
    let map = Map::new(&source.grid, onto)?;
    task.check()?;
    match map.road() {
        Road::Copy(axes) => Ok(copy(source.array, &axes, onto, Some(0))),
        _ => nearest(source.array, &map, onto, Some(0), task),
    }
}

/// Whether results between the two grids are copied by index, never interpolated.
#[must_use]
pub fn is_copy(from: &Grid, onto: &Grid) -> bool {
    Map::new(from, onto).is_ok_and(|m| matches!(m.road(), Road::Copy(_)))
}

/// Copies by index. With `fill` none, the border is repeated.
fn copy<T: Copy + Default + Send + Sync>(
    source: ArrayView3<'_, T>,
    axes: &map::Axes,
    onto: &Grid,
    fill: Option<T>,
) -> Array3<T> {
    let view = axes.view(source);
    let shape = onto.shape_kji();
    let Some(fill) = fill else {
        // The border repeated: indices are clamped, which whole voxels make exact.
        let at: Vec<Vec<usize>> = (0..3)
            .map(|d| {
                let line = axes.line(d);
                let last = view.shape()[d] - 1;
                (0..shape[d]).map(|n| (line.at(n).round().max(0.0) as usize).min(last)).collect()
            })
            .collect();
        let mut out = Array3::from_elem(shape, T::default());
        Zip::indexed(out.rows_mut()).par_for_each(|(k, j), mut row| {
            let from = view.slice(s![at[0][k], at[1][j], ..]);
            row.iter_mut().zip(&at[2]).for_each(|(v, &i)| *v = from[i]);
        });
        return out;
    };
    let mut out = Array3::from_elem(shape, fill);
    let mut from = view;
    let mut to = out.view_mut();
    for d in 0..3 {
        let line = axes.line(d);
        let axis = Axis(d);
        if line.step < 0.0 {
            from.invert_axis(axis);
        }
        // Target n reads source n + shift, counted along the target's direction.
        let last = from.shape()[d] as i64 - 1;
        let first = line.start.round() as i64;
        let shift = if line.step < 0.0 { last - first } else { first };
        let low = (-shift).clamp(0, shape[d] as i64);
        let high = (last + 1 - shift).clamp(low, shape[d] as i64);
        to.slice_axis_inplace(axis, (low as usize..high as usize).into());
        let begin = if high > low { (low + shift) as usize } else { 0 };
        from.slice_axis_inplace(axis, (begin..begin + (high - low) as usize).into());
    }
    if !to.is_empty() {
        Zip::from(&mut to).and(&from).par_for_each(|t, &f| *t = f);
    }
    out
}

/// Nearest neighbour over any affine map.
fn nearest<T: Copy + Default + Send + Sync>(
    source: ArrayView3<'_, T>,
    map: &Map,
    onto: &Grid,
    fill: Option<T>,
    task: &Task,
) -> Result<Array3<T>> {
    let [n, h, w] = onto.shape_kji();
    let mut out = Array3::from_elem((n, h, w), fill.unwrap_or_default());
    let size = map.source_ijk();
    let step = map.step();
    let work = |(k, mut plane): (usize, ArrayViewMut2<'_, T>)| -> Result<()> {
        task.check()?;
        for (j, mut row) in plane.outer_iter_mut().enumerate() {
            let start = map.row_start(j, k);
            let inside = if fill.is_some() { map.inside(start, w) } else { 0..w };
            for i in inside {
                let at: [usize; 3] = std::array::from_fn(|a| {
                    let x = (start[a] + i as f64 * step[a] + 0.5).floor();
                    (x.max(0.0) as usize).min(size[a] - 1)
                });
                row[i] = source[[at[2], at[1], at[0]]];
            }
        }
        Ok(())
    };
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(work)?;
    Ok(out)
}
