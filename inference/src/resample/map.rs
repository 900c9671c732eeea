//! From target indices to source indices, and which road that allows.

use std::ops::Range;

use formats::{Affine, Grid};
use ndarray::ArrayView3;

use crate::error::{Error, Result};

/// How far, in voxels, something may be off to count as parallel or whole.
const TOLERANCE: f64 = 1e-4;
/// Slack at the outer faces against rounding, in voxels.
const FACE: f64 = 1e-6;

/// Continuous source index from target index, both `ijk`.
pub(super) struct Map {
    source_from_target: Affine,
    source_ijk: [usize; 3],
    target_ijk: [usize; 3],
}

/// The way values are moved.
pub(super) enum Road {
    /// Whole voxels, flips, permutation.
    Copy(Axes),
    /// Parallel axes.
    Separable(Axes),
    /// Anything else.
    General,
}

/// Source index along one axis: `start + n·step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) start: f64,
    pub(super) step: f64,
}

/// Parallel axes: for each *array* axis of the target, the array axis of the source and the line along it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axes {
    source: [usize; 3],
    lines: [Line; 3],
}

impl Line {
    pub(super) fn at(&self, n: usize) -> f64 {
        self.start + n as f64 * self.step
    }

    /// Target indices below `count` whose place lies within the outer faces of `size` source voxels.
    pub(super) fn inside(&self, count: usize, size: usize) -> Range<usize> {
        let (low, high) = (-0.5 - FACE, size as f64 - 0.5 + FACE);
        if self.step == 0.0 {
            return if (low..=high).contains(&self.start) { 0..count } else { 0..0 };
        }
        let (x, y) = ((low - self.start) / self.step, (high - self.start) / self.step);
        // `as` saturates, and takes NaN to 0.
        let from = x.min(y).ceil().max(0.0) as usize;
        let to = (x.max(y).floor() + 1.0).max(0.0) as usize;
        from.min(count)..to.clamp(from.min(count), count)
    }
}

impl Axes {
    /// The source with its axes in the target's order (not yet flipped).
    pub(super) fn view<'a, T>(&self, source: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        source.permuted_axes(self.source)
    }

    /// The array axis of the source that an array axis of the target runs along.
    pub(super) fn source(&self, array_axis: usize) -> usize {
        self.source[array_axis]
    }

    /// The line along an array axis of the target, in the source axis that [`Axes::view`] puts there.
    pub(super) fn line(&self, array_axis: usize) -> Line {
        self.lines[array_axis]
    }
}

impl Map {
    pub(super) fn new(source: &Grid, target: &Grid) -> Result<Self> {
        let singular =
            || Error::Argument("a grid whose axes are not independent cannot be resampled".to_owned());
        let source_from_world = source.voxel_from_world().ok_or_else(singular)?;
        if !target.world_from_voxel.is_finite() {
            return Err(singular());
        }
        if source.size_ijk.contains(&0) || target.size_ijk.contains(&0) {
            return Err(Error::Argument("an empty grid cannot be resampled".to_owned()));
        }
        Ok(Self {
            source_from_target: source_from_world.after(&target.world_from_voxel),
            source_ijk: source.size_ijk,
            target_ijk: target.size_ijk,
        })
    }

    pub(super) fn source_ijk(&self) -> [usize; 3] {
        self.source_ijk
    }

    /// Source index of target voxel `(0, j, k)`.
    pub(super) fn row_start(&self, j: usize, k: usize) -> [f64; 3] {
        self.source_from_target.apply([0.0, j as f64, k as f64])
    }

    /// Source step of one target voxel along `i`.
    pub(super) fn step(&self) -> [f64; 3] {
        self.source_from_target.column(0)
    }

    /// The `i` below `count` of a row starting at source index `start` that lie within the source's outer faces.
    pub(super) fn inside(&self, start: [f64; 3], count: usize) -> Range<usize> {
        let step = self.step();
        let mut range = 0..count;
        for a in 0..3 {
            let r = Line { start: start[a], step: step[a] }.inside(count, self.source_ijk[a]);
            range = range.start.max(r.start)..range.end.min(r.end);
        }
        range.start.min(range.end)..range.end
    }

    pub(super) fn road(&self) -> Road {
        let m = &self.source_from_target;
        let reach = self.target_ijk.map(|n| n as f64 - 1.0);
        // `of[s]` is the target axis that drives source axis s.
        const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let stray = |of: &[usize; 3]| {
            (0..3)
                .map(|s| (0..3).filter(|t| *t != of[s]).map(|t| m.0[s][t].abs() * reach[t]).sum::<f64>())
                .fold(0.0, f64::max)
        };
        // With one-voxel axes several orders are equally straight: take the one that uses the longest steps.
        let drive = |of: &[usize; 3]| (0..3).map(|s| m.0[s][of[s]].abs()).sum::<f64>();
        let Some(of) =
            ORDERS.iter().filter(|of| stray(of) <= TOLERANCE).max_by(|a, b| drive(a).total_cmp(&drive(b)))
        else {
            return Road::General;
        };
        let mut axes = Axes { source: [0; 3], lines: [Line { start: 0.0, step: 0.0 }; 3] };
        let mut is_copy = true;
        for s in 0..3 {
            let t = of[s];
            let mut line = Line { start: m.0[s][3], step: m.0[s][t] };
            let off_step = (line.step.abs() - 1.0).abs() * reach[t];
            let is_whole = off_step <= TOLERANCE && (line.start - line.start.round()).abs() <= TOLERANCE;
            if is_whole {
                // Rounding in the placement is not carried into the weights.
                line = Line { start: line.start.round(), step: line.step.signum() };
            }
            is_copy &= is_whole;
            axes.source[2 - t] = 2 - s;
            axes.lines[2 - t] = line;
        }
        if is_copy { Road::Copy(axes) } else { Road::Separable(axes) }
    }
}
