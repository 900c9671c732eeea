//! Any affine map: weights per voxel.

use formats::{Grid, Task};
use ndarray::{Array3, ArrayView3, Axis};
use rayon::prelude::*;

use super::Interpolation;
use super::map::Map;
use super::separable::keys;
use crate::error::Result;

/// Values by linear or cubic interpolation (`Nearest` goes another way).
pub(super) fn resample(
    source: ArrayView3<'_, f32>,
    map: &Map,
    onto: &Grid,
    how: Interpolation,
    fill: Option<f32>,
    task: &Task,
) -> Result<Array3<f32>> {
    let [n, h, w] = onto.shape_kji();
    let mut out = Array3::from_elem((n, h, w), fill.unwrap_or(0.0));
    let dense = source.as_standard_layout();
    let Some(values) = dense.as_slice() else { unreachable!("standard layout") };
    let field = Field::new(values, map.source_ijk());
    let step = map.step();
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(k, mut plane)| -> Result<()> {
        task.check()?;
        for (j, mut row) in plane.outer_iter_mut().enumerate() {
            let start = map.row_start(j, k);
            let inside = if fill.is_some() { map.inside(start, w) } else { 0..w };
            for i in inside {
                let x: [f64; 3] = std::array::from_fn(|a| start[a] + i as f64 * step[a]);
                row[i] =
                    if how == Interpolation::Cubic { field.cubic(x) } else { field.linear(&field.corner(x)) };
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// Dense values with sizes and strides per `ijk` axis.
pub(super) struct Field<'a> {
    values: &'a [f32],
    size: [usize; 3],
    stride: [usize; 3],
}

/// Where a point lies: offset of its lower corner, steps to the upper ones (0 at the border), fractions.
pub(super) struct Corner {
    pub(super) offset: usize,
    pub(super) next: [usize; 3],
    pub(super) fraction: [f32; 3],
}

impl<'a> Field<'a> {
    pub(super) fn new(values: &'a [f32], size: [usize; 3]) -> Self {
        Self { values, size, stride: [1, size[0], size[0] * size[1]] }
    }

    /// The cell of a point; points beyond the border centres are moved onto them.
    #[inline]
    pub(super) fn corner(&self, x: [f64; 3]) -> Corner {
        let mut c = Corner { offset: 0, next: [0; 3], fraction: [0.0; 3] };
        for a in 0..3 {
            let last = self.size[a] - 1;
            let place = x[a].clamp(0.0, last as f64);
            let low = place as usize;
            c.offset += low * self.stride[a];
            c.fraction[a] = (place - low as f64) as f32;
            c.next[a] = if low < last { self.stride[a] } else { 0 };
            // A fraction of 0 must not bring in NaN from the next voxel.
            if c.fraction[a] == 0.0 {
                c.next[a] = 0;
            }
        }
        c
    }

    #[inline]
    pub(super) fn linear(&self, c: &Corner) -> f32 {
        linear_at(self.values, c)
    }

    fn cubic(&self, x: [f64; 3]) -> f32 {
        let mut at = [[0usize; 4]; 3];
        let mut weight = [[0.0f64; 4]; 3];
        for a in 0..3 {
            let last = self.size[a] as f64 - 1.0;
            let place = x[a].clamp(-4.0, last + 4.0);
            let base = place.floor();
            weight[a] = keys(place - base);
            for (tap, v) in at[a].iter_mut().enumerate() {
                *v = (base + tap as f64 - 1.0).clamp(0.0, last) as usize * self.stride[a];
            }
        }
        let mut sum = 0.0f64;
        for (k, wk) in at[2].iter().zip(weight[2]).filter(|(_, w)| *w != 0.0) {
            for (j, wj) in at[1].iter().zip(weight[1]).filter(|(_, w)| *w != 0.0) {
                for (i, wi) in at[0].iter().zip(weight[0]).filter(|(_, w)| *w != 0.0) {
                    sum += wk * wj * wi * f64::from(self.values[k + j + i]);
                }
            }
        }
        sum as f32
    }
}

/// Trilinear value in a dense volume at a cell.
#[inline]
pub(super) fn linear_at(values: &[f32], c: &Corner) -> f32 {
    let [di, dj, dk] = c.next;
    let [fi, fj, fk] = c.fraction;
    let lerp = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let row = |o: usize| lerp(values[o], values[o + di], fi);
    let plane = |o: usize| lerp(row(o), row(o + dj), fj);
    lerp(plane(c.offset), plane(c.offset + dk), fk)
}
