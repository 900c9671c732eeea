//! Parallel axes: weights per axis.

use std::ops::Range;

use formats::{Grid, Task};
use ndarray::{Array3, ArrayView3, Axis, Slice, Zip};
use rayon::prelude::*;

use super::Interpolation;
use super::map::{Axes, Line};
use crate::error::Result;

/// Weights of one axis: for each target index, `width` source indices and their weights.
pub(super) struct Taps {
    pub(super) width: usize,
    pub(super) index: Vec<u32>,
    pub(super) weight: Vec<f32>,
}

impl Taps {
    /// Taps along `line` into `size` source voxels; indices beyond the border are moved onto it.
    pub(super) fn new(line: Line, count: usize, size: usize, how: Interpolation) -> Self {
        let width = match how {
            Interpolation::Nearest => 1,
            Interpolation::Linear => 2,
            Interpolation::Cubic => 4,
        };
        let mut taps = Self {
            width,
            index: Vec::with_capacity(count * width),
            weight: Vec::with_capacity(count * width),
        };
        let last = size as f64 - 1.0;
        for n in 0..count {
            // Far outside, the exact place no longer matters; between border and face the border value holds.
            let x = line.at(n).clamp(-4.0, last + 4.0);
            let x = if how == Interpolation::Linear { x.clamp(0.0, last) } else { x };
            let base = if how == Interpolation::Nearest { (x + 0.5).floor() } else { x.floor() };
            let t = x - base;
            let weights: [f64; 4] = match how {
                Interpolation::Nearest => [1.0, 0.0, 0.0, 0.0],
                Interpolation::Linear => [1.0 - t, t, 0.0, 0.0],
                Interpolation::Cubic => keys(t),
            };
            let first = if how == Interpolation::Cubic { base - 1.0 } else { base };
            for (tap, w) in weights.iter().enumerate().take(width) {
                taps.index.push((first + tap as f64).clamp(0.0, last) as u32);
                taps.weight.push(*w as f32);
            }
        }
        taps
    }

    /// Index and weight of each tap of target `n`.
    pub(super) fn of(&self, n: usize) -> impl Iterator<Item = (usize, f32)> + Clone + '_ {
        let at = n * self.width..(n + 1) * self.width;
        self.index[at.clone()].iter().map(|&i| i as usize).zip(self.weight[at].iter().copied())
    }

    /// The source indices that targets in `range` touch, and indices counted from the first of them.
    fn narrowed(mut self, range: Range<usize>) -> (Self, Range<usize>) {
        let used = &self.index[range.start * self.width..range.end * self.width];
        let low = used.iter().copied().min().unwrap_or(0);
        let high = used.iter().copied().max().unwrap_or(0);
        for i in &mut self.index {
            *i = (*i).clamp(low, high) - low;
        }
        (self, low as usize..high as usize + 1)
    }
}

/// Keys' cubic convolution weights, a = −½, for the samples at −1, 0, 1, 2 and a place `t` in 0..1.
pub(super) fn keys(t: f64) -> [f64; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1.0, -1.5 * t3 + 2.0 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]
}

/// `to = Σ weight · row`, rows given by their taps. Weights of 0 are skipped, so that NaN beside a voxel that is
/// hit exactly does not spread.
pub(super) fn blend_rows<'a>(to: &mut [f32], rows: impl Iterator<Item = (&'a [f32], f32)>) {
    let mut is_first = true;
    for (row, w) in rows.filter(|(_, w)| *w != 0.0) {
        if is_first {
            to.iter_mut().zip(row).for_each(|(t, r)| *t = w * r);
        } else {
            to.iter_mut().zip(row).for_each(|(t, r)| *t += w * r);
        }
        is_first = false;
    }
}

/// `to[n] = Σ weight · row[index]` along a row.
pub(super) fn gather(to: &mut [f32], row: &[f32], index: &[u32], weight: &[f32], width: usize) {
    match width {
        1 => to.iter_mut().zip(index).for_each(|(t, &i)| *t = row[i as usize]),
        2 => {
            for ((t, i), w) in to.iter_mut().zip(index.chunks_exact(2)).zip(weight.chunks_exact(2)) {
                let (a, b) = (row[i[0] as usize], row[i[1] as usize]);
                // A weight of 0 must not bring in NaN.
                *t = if w[1] == 0.0 { a } else { w[0] * a + w[1] * b };
            }
        }
        _ => {
            for ((t, i), w) in to.iter_mut().zip(index.chunks_exact(width)).zip(weight.chunks_exact(width)) {
                *t = i.iter().zip(w).filter(|(_, w)| **w != 0.0).map(|(&i, &w)| w * row[i as usize]).sum();
            }
        }
    }
}

pub(super) fn resample(
    source: ArrayView3<'_, f32>,
    axes: &Axes,
    onto: &Grid,
    how: Interpolation,
    fill: Option<f32>,
    task: &Task,
) -> Result<Array3<f32>> {
    let shape = onto.shape_kji();
    let mut view = axes.view(source);
    let mut out = Array3::from_elem(shape, fill.unwrap_or(0.0));
    let mut target = out.view_mut();
    let mut taps = Vec::with_capacity(3);
    for d in 0..3 {
        let line = axes.line(d);
        let size = view.shape()[d];
        let inside = if fill.is_some() { line.inside(shape[d], size) } else { 0..shape[d] };
        if inside.is_empty() {
            return Ok(out);
        }
        let begin = Line { start: line.at(inside.start), step: line.step };
        let (t, used) = Taps::new(begin, inside.len(), size, how).narrowed(0..inside.len());
        taps.push(t);
        view.slice_axis_inplace(Axis(d), Slice::from(used));
        target.slice_axis_inplace(Axis(d), Slice::from(inside));
    }
    let [tk, tj, ti]: [Taps; 3] = taps.try_into().unwrap_or_else(|_| unreachable!("three axes"));
    // Rows must be dense. Only a permuted source needs the copy.
    let dense = if view.strides()[2] == 1 || view.shape()[2] == 1 {
        None
    } else {
        let mut copy = Array3::<f32>::zeros(view.raw_dim());
        Zip::from(&mut copy).and(&view).par_for_each(|c, &v| *c = v);
        Some(copy)
    };
    let source = dense.as_ref().map_or(view, |c| c.view());
    let (_, sj, si) = source.dim();
    let (_, nj, ni) = target.dim();
    let row_of = |k: usize, j: usize| -> &[f32] { source_row(&source, k, j, si) };
    // Along i values are gathered, which is the dear step: it is done on whichever side has fewer rows.
    let is_gather_first = sj < nj;
    let middle = if is_gather_first { sj * ni } else { sj * si };
    target.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each_init(
        || (vec![0.0f32; sj * si], vec![0.0f32; middle], vec![0.0f32; si.max(ni)]),
        |(plane, gathered, line), (k, mut out)| -> Result<()> {
            task.check()?;
            for (j, to) in plane.chunks_exact_mut(si).enumerate() {
                blend_rows(to, tk.of(k).map(|(n, w)| (row_of(n, j), w)));
            }
            if is_gather_first {
                for (to, from) in gathered.chunks_exact_mut(ni).zip(plane.chunks_exact(si)) {
                    gather(to, from, &ti.index, &ti.weight, ti.width);
                }
                for (j, mut to) in out.outer_iter_mut().enumerate() {
                    let rows = tj.of(j).map(|(n, w)| (&gathered[n * ni..(n + 1) * ni], w));
                    match to.as_slice_mut() {
                        Some(to) => blend_rows(to, rows),
                        None => unreachable!("rows of the result are dense"),
                    }
                }
            } else {
                for (j, mut to) in out.outer_iter_mut().enumerate() {
                    let rows = tj.of(j).map(|(n, w)| (&plane[n * si..(n + 1) * si], w));
                    blend_rows(&mut line[..si], rows);
                    match to.as_slice_mut() {
                        Some(to) => gather(to, &line[..si], &ti.index, &ti.weight, ti.width),
                        None => unreachable!("rows of the result are dense"),
                    }
                }
            }
            Ok(())
        },
    )?;
    Ok(out)
}

/// A row of an array whose last axis is dense.
fn source_row<'a>(source: &'a ArrayView3<'_, f32>, k: usize, j: usize, len: usize) -> &'a [f32] {
    let row = source.slice(ndarray::s![k, j, ..]);
    // One voxel is dense whatever its stride says.
    let _ = len;
    row.to_slice().unwrap_or_else(|| unreachable!("rows of the source are dense"))
}
