//! Scores of many classes on a working grid, turned into labels on another grid.
//!
//! The scores never exist on the target grid: work goes block by block of the working grid.
//!
//! # Why blocks
//! Most of a volume is undisputed. An interpolated score lies between the least and the greatest of the voxels it
//! comes from, so within a block of cells a class whose greatest score is below another's least can win nowhere.
//! One cheap pass over the scores finds the classes that can; only those are interpolated, and blocks with a single
//! one are filled. This is exact: a margin of rounding errors is kept.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use formats::{Grid, Task};
use ndarray::{Array3, ArrayView4, ArrayViewMut3, Axis, Slice};
use rayon::prelude::*;

use super::Interpolation;
use super::general::{Field, linear_at};
use super::map::{Axes, Line, Map, Road};
use super::separable::Taps;
use crate::error::{Error, Result};
use crate::postprocess;

/// Cells of a block along array axes k, j, i; the last is longer because rows are worked on as a whole.
const BLOCK: [usize; 3] = [8, 8, 16];
/// Part of the larger magnitude by which two scores must differ to be told apart before interpolation.
const MARGIN: f32 = 1e-5;

/// How the scores of a voxel become its label.
#[derive(Clone, Copy, Debug)]
pub enum Decide<'a> {
    /// The channel with the largest score wins, the first of equals; its label is in the table (one per channel).
    Largest(&'a [u16]),
    /// Each channel with a score of at least `logit` is in (a sigmoid's threshold p is the logit ln(p/(1 − p)), 0
    /// for ½); the first `(mask, label)` whose channels are all in gives the label, else 0.
    Regions {
        /// Threshold on the score.
        logit: f32,
        /// Bits of channels that must be in, and the label they give, in order.
        rules: &'a [(u32, u16)],
    },
}

/// The label of the largest score at each voxel of `onto`: channel numbers as labels. See [`scores_to_labels`].
///
/// # Errors
/// As [`scores_to_labels`].
pub fn scores_argmax(
    scores: ArrayView4<'_, f32>,
    working: &Grid,
    onto: &Grid,
    task: &Task,
) -> Result<Array3<u16>> {
    let numbers: Vec<u16> = (0..=u16::MAX).take(scores.dim().0).collect();
    scores_to_labels(scores, working, onto, &Decide::Largest(&numbers), task)
}

/// Labels `[k, j, i]` on `onto` from scores `[C, k, j, i]` on `working`, interpolated linearly and decided voxel by
/// voxel. Voxels beyond the outer faces of the working grid are 0. NaN scores never win and are never in.
///
/// # Errors
/// [`Error::Argument`] when shapes or tables disagree or a placement is singular; [`Error::Cancelled`].
pub fn scores_to_labels(
    scores: ArrayView4<'_, f32>,
    working: &Grid,
    onto: &Grid,
    decide: &Decide<'_>,
    task: &Task,
) -> Result<Array3<u16>> {
    let channels = scores.dim().0;
    let is_fit = match decide {
        Decide::Largest(labels) => labels.len() == channels && channels <= usize::from(u16::MAX),
        Decide::Regions { .. } => channels <= 32,
    };
    if scores.shape()[1..] != working.shape_kji() || channels == 0 || !is_fit {
        return Err(Error::Argument(format!(
            "scores of shape {:?} fit neither the grid {:?} nor the labels",
            scores.shape(),
            working.shape_kji()
        )));
    }
    let map = Map::new(working, onto)?;
    let dense = scores.as_standard_layout();
    let scores = dense.view();
    let labels = match map.road() {
        Road::Copy(axes) => super::copy(postprocess::decide(scores, decide).view(), &axes, onto, Some(0)),
        Road::Separable(axes) => separable(scores, &axes, onto, decide, task)?,
        Road::General => general(scores, &map, onto, decide, task)?,
    };
    task.check()?;
    Ok(labels)
}

/// Which classes can matter in each block of cells.
struct Blocks {
    /// Number of blocks along array axes k, j, i.
    count: [usize; 3],
    blocks: Vec<Block>,
}

struct Block {
    /// Channels that have to be interpolated, ascending.
    open: Vec<u16>,
    /// Without open channels: the state (see [`Decide::take`]) of the whole block. Otherwise where to start.
    state: u32,
}

impl Blocks {
    fn new(scores: ArrayView4<'_, f32>, decide: &Decide<'_>, task: &Task) -> Result<Self> {
        let (channels, d, h, w) = scores.dim();
        let size = [d, h, w];
        let count: [usize; 3] = std::array::from_fn(|a| (size[a] - 1).div_ceil(BLOCK[a]).max(1));
        let voxels = |a: usize, b: usize| b * BLOCK[a]..(b * BLOCK[a] + BLOCK[a] + 1).min(size[a]);
        let layer = |bk: usize| -> Result<Vec<Block>> {
            task.check()?;
            let mut ranges = vec![(0.0f32, 0.0f32); count[1] * count[2] * channels];
            let (mut low, mut high, mut odd) = (vec![0.0f32; w], vec![0.0f32; w], vec![0.0f32; w]);
            for (c, channel) in scores.outer_iter().enumerate() {
                for bj in 0..count[1] {
                    low.fill(f32::INFINITY);
                    high.fill(f32::NEG_INFINITY);
                    odd.fill(0.0);
                    for k in voxels(0, bk) {
                        for j in voxels(1, bj) {
                            let row = channel.slice(ndarray::s![k, j, ..]);
                            let Some(row) = row.to_slice() else { unreachable!("standard layout") };
                            for (((v, low), high), odd) in
                                row.iter().zip(&mut low).zip(&mut high).zip(&mut odd)
                            {
                                *low = if *v < *low { *v } else { *low };
                                *high = if *v > *high { *v } else { *high };
                                *odd += v * 0.0; // stays 0 unless v is infinite or NaN
                            }
                        }
                    }
                    for bi in 0..count[2] {
                        let at = voxels(2, bi);
                        let is_odd = odd[at.clone()].iter().any(|v| *v != 0.0);
                        let low = low[at.clone()].iter().copied().fold(f32::INFINITY, f32::min);
                        let high = high[at].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                        // Of odd scores nothing is known.
                        ranges[(bj * count[2] + bi) * channels + c] =
                            if is_odd { (f32::NEG_INFINITY, f32::INFINITY) } else { (low, high) };
                    }
                }
            }
            Ok(ranges.chunks_exact(channels).map(|r| Block::new(r, decide)).collect())
        };
        let layers: Vec<Vec<Block>> = (0..count[0]).into_par_iter().map(layer).collect::<Result<_>>()?;
        Ok(Self { count, blocks: layers.into_iter().flatten().collect() })
    }

    /// The block at array position `[k, j, i]` of blocks.
    fn at(&self, b: [usize; 3]) -> &Block {
        &self.blocks[(b[0] * self.count[1] + b[1]) * self.count[2] + b[2]]
    }
}

impl Block {
    /// From the least and greatest score of each channel.
    fn new(ranges: &[(f32, f32)], decide: &Decide<'_>) -> Self {
        // Whether `a` is below `b` also after rounding errors; never for what is not finite.
        let is_below = |a: f32, b: f32| a + MARGIN * a.abs().max(b.abs()) + f32::MIN_POSITIVE < b;
        match decide {
            Decide::Largest(_) => {
                let floor = ranges.iter().fold(f32::NEG_INFINITY, |m, r| m.max(r.0));
                let can_win = |r: &(f32, f32)| !is_below(r.1, floor);
                let open: Vec<u16> =
                    (0u16..).zip(ranges).filter(|(_, r)| can_win(r)).map(|(c, _)| c).collect();
                match open[..] {
                    [only] if ranges[usize::from(only)].0.is_finite() => {
                        Self { open: Vec::new(), state: u32::from(only) }
                    }
                    _ => Self { open, state: 0 },
                }
            }
            Decide::Regions { logit, .. } => {
                let mut block = Self { open: Vec::new(), state: 0 };
                for (c, r) in (0u16..).zip(ranges) {
                    if is_below(*logit, r.0) {
                        block.state |= 1 << c;
                    } else if !is_below(r.1, *logit) {
                        block.open.push(c);
                    }
                }
                block
            }
        }
    }
}

/// Targets along one axis whose cells lie in one block, and their taps.
struct Part {
    block: usize,
    targets: Range<usize>,
}

/// Groups targets, which run through the source in one direction, by block.
fn parts(taps: &Taps, count: usize, size: usize, block: usize) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for n in 0..count {
        let cell = (taps.index[2 * n] as usize).min(size.saturating_sub(2));
        match parts.last_mut() {
            Some(p) if p.block == cell / block => p.targets.end = n + 1,
            _ => parts.push(Part { block: cell / block, targets: n..n + 1 }),
        }
    }
    parts
}

/// Cuts a view along an axis at the ends of the parts.
fn cut<'a>(view: ArrayViewMut3<'a, u16>, axis: Axis, parts: &[Part]) -> Vec<ArrayViewMut3<'a, u16>> {
    let mut rest = view;
    let mut pieces = Vec::with_capacity(parts.len());
    for p in parts {
        let (piece, after) = rest.split_at(axis, p.targets.len());
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn separable(
    scores: ArrayView4<'_, f32>,
    axes: &Axes,
    onto: &Grid,
    decide: &Decide<'_>,
    task: &Task,
) -> Result<Array3<u16>> {
    let shape = onto.shape_kji();
    let mut out = Array3::<u16>::zeros(shape);
    let blocks = Blocks::new(scores, decide, task)?;
    let mut target = out.view_mut();
    let mut taps = Vec::with_capacity(3);
    let mut groups = Vec::with_capacity(3);
    for d in 0..3 {
        let (line, size) = (axes.line(d), scores.shape()[1 + axes.source(d)]);
        let inside = line.inside(shape[d], size);
        if inside.is_empty() {
            return Ok(out);
        }
        let begin = Line { start: line.at(inside.start), step: line.step };
        let t = Taps::new(begin, inside.len(), size, Interpolation::Linear);
        groups.push(parts(&t, inside.len(), size, BLOCK[axes.source(d)]));
        taps.push(t);
        target.slice_axis_inplace(Axis(d), Slice::from(inside));
    }
    let mut work = Vec::new();
    for (pk, layer) in groups[0].iter().zip(cut(target, Axis(0), &groups[0])) {
        work.extend(groups[1].iter().zip(cut(layer, Axis(1), &groups[1])).map(|(pj, piece)| (pk, pj, piece)));
    }
    let (all, done) = (work.len(), AtomicUsize::new(0));
    work.into_par_iter().try_for_each_init(Scratch::default, |scratch, (pk, pj, piece)| -> Result<()> {
        for (pi, mut piece) in groups[2].iter().zip(cut(piece, Axis(2), &groups[2])) {
            let parts = [pk, pj, pi];
            let mut at = [0; 3];
            for d in 0..3 {
                at[axes.source(d)] = parts[d].block;
            }
            let block = blocks.at(at);
            if block.open.is_empty() {
                piece.fill(decide.label(block.state));
            } else {
                scratch.fill(scores, axes, &taps, parts, block, decide, piece);
            }
        }
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        task.at("Placing labels", n as f32 / all as f32)?;
        Ok(())
    })?;
    Ok(out)
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    rows: Vec<f32>,
    planes: Vec<f32>,
    best: Vec<f32>,
    state: Vec<u32>,
}

impl Scratch {
    /// Interpolates the open channels over one block's targets, along i, then j, then k, and decides.
    fn fill(
        &mut self,
        scores: ArrayView4<'_, f32>,
        axes: &Axes,
        taps: &[Taps],
        parts: [&Part; 3],
        block: &Block,
        decide: &Decide<'_>,
        mut out: ArrayViewMut3<'_, u16>,
    ) {
        let [nk, nj, ni] = parts.map(|p| p.targets.len());
        // The source voxels that each axis touches.
        let used: [Range<usize>; 3] = std::array::from_fn(|d| {
            let index = &taps[d].index[2 * parts[d].targets.start..2 * parts[d].targets.end];
            let low = index.iter().min().map_or(0, |v| *v as usize);
            low..index.iter().max().map_or(0, |v| *v as usize) + 1
        });
        let [sk, sj, _] = used.each_ref().map(ExactSizeIterator::len);
        self.rows.resize(sk * sj * ni, 0.0);
        self.planes.resize(sk * nj * ni, 0.0);
        self.best.clear();
        self.best.resize(nk * nj * ni, f32::NEG_INFINITY);
        self.state.clear();
        self.state.resize(nk * nj * ni, block.state);
        let of = |d: usize, n: usize| {
            let at = 2 * (parts[d].targets.start + n);
            let from = used[d].start;
            let index = [taps[d].index[at] as usize - from, taps[d].index[at + 1] as usize - from];
            (index, [taps[d].weight[at], taps[d].weight[at + 1]])
        };
        let along_i: Vec<([usize; 2], [f32; 2])> = (0..ni).map(|n| of(2, n)).collect();
        for &c in &block.open {
            let channel = axes.view(scores.index_axis(Axis(0), usize::from(c)));
            for (y, rows) in self.rows.chunks_exact_mut(sj * ni).enumerate() {
                for (x, row) in rows.chunks_exact_mut(ni).enumerate() {
                    let from =
                        channel.slice(ndarray::s![used[0].start + y, used[1].start + x, used[2].clone()]);
                    for (to, (index, weight)) in row.iter_mut().zip(&along_i) {
                        *to = mix(from[index[0]], from[index[1]], *weight);
                    }
                }
            }
            for (rows, plane) in self.rows.chunks_exact(sj * ni).zip(self.planes.chunks_exact_mut(nj * ni)) {
                for (j, to) in plane.chunks_exact_mut(ni).enumerate() {
                    let (index, weight) = of(1, j);
                    let (a, b) = (&rows[index[0] * ni..][..ni], &rows[index[1] * ni..][..ni]);
                    to.iter_mut().zip(a).zip(b).for_each(|((t, a), b)| *t = mix(*a, *b, weight));
                }
            }
            let size = nj * ni;
            for k in 0..nk {
                let (index, weight) = of(0, k);
                let (a, b) =
                    (&self.planes[index[0] * size..][..size], &self.planes[index[1] * size..][..size]);
                let best = &mut self.best[k * size..][..size];
                let state = &mut self.state[k * size..][..size];
                let values = a.iter().zip(b).map(|(a, b)| mix(*a, *b, weight));
                decide.take(usize::from(c), values, best, state);
            }
        }
        for (k, mut plane) in out.outer_iter_mut().enumerate() {
            for (j, mut row) in plane.outer_iter_mut().enumerate() {
                let state = &self.state[(k * nj + j) * ni..][..ni];
                row.iter_mut().zip(state).for_each(|(l, s)| *l = decide.label(*s));
            }
        }
    }
}

/// Between two values; a weight of 0 does not bring in NaN.
#[inline]
fn mix(a: f32, b: f32, weight: [f32; 2]) -> f32 {
    if weight[1] == 0.0 { a } else { weight[0] * a + weight[1] * b }
}

fn general(
    scores: ArrayView4<'_, f32>,
    map: &Map,
    onto: &Grid,
    decide: &Decide<'_>,
    task: &Task,
) -> Result<Array3<u16>> {
    let blocks = Blocks::new(scores, decide, task)?;
    let Some(values) = scores.to_slice() else { unreachable!("standard layout") };
    let (_, sk, sj, si) = scores.dim();
    let volume = sk * sj * si;
    let field = Field::new(values, map.source_ijk());
    let [d, h, w] = onto.shape_kji();
    let step = map.step();
    let mut out = Array3::<u16>::zeros((d, h, w));
    let done = AtomicUsize::new(0);
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(k, mut plane)| -> Result<()> {
        for (j, mut row) in plane.outer_iter_mut().enumerate() {
            let start = map.row_start(j, k);
            for i in map.inside(start, w) {
                let x: [f64; 3] = std::array::from_fn(|a| start[a] + i as f64 * step[a]);
                let at = std::array::from_fn(|a| {
                    let size = scores.shape()[1 + a];
                    (x[2 - a].max(0.0) as usize).min(size.saturating_sub(2)) / BLOCK[a]
                });
                let block = blocks.at(at);
                if block.open.is_empty() {
                    row[i] = decide.label(block.state);
                    continue;
                }
                let corner = field.corner(x);
                let (mut best, mut state) = ([f32::NEG_INFINITY], [block.state]);
                for &c in &block.open {
                    let c = usize::from(c);
                    let value = linear_at(&values[c * volume..(c + 1) * volume], &corner);
                    decide.take(c, std::iter::once(value), &mut best, &mut state);
                }
                row[i] = decide.label(state[0]);
            }
        }
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        task.at("Placing labels", n as f32 / d as f32)?;
        Ok(())
    })?;
    Ok(out)
}

impl Decide<'_> {
    /// The label of a winning channel or a set of channels.
    pub(crate) fn label(&self, state: u32) -> u16 {
        match self {
            Self::Largest(labels) => labels.get(state as usize).copied().unwrap_or(0),
            Self::Regions { rules, .. } => {
                rules.iter().find(|(mask, _)| state & mask == *mask).map_or(0, |(_, label)| *label)
            }
        }
    }

    /// Takes in a row of scores of channel `c`: `best` holds the largest score so far, `state` its channel, or the
    /// channels that are in.
    pub(crate) fn take(
        &self,
        c: usize,
        scores: impl Iterator<Item = f32>,
        best: &mut [f32],
        state: &mut [u32],
    ) {
        match self {
            Self::Largest(_) => {
                for ((x, best), state) in scores.zip(best).zip(state) {
                    let wins = x > *best;
                    *best = if wins { x } else { *best };
                    *state = if wins { c as u32 } else { *state };
                }
            }
            Self::Regions { logit, .. } => {
                for (x, state) in scores.zip(state) {
                    *state |= u32::from(x >= *logit) << c;
                }
            }
        }
    }
}
