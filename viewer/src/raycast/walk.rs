//! Steps along a ray through one grid, and jumps over blocks where nothing can be seen.

use super::blocks::{Blocks, SHIFT};
use super::setup::{Placed, Span};
use super::texel::rounded;
use crate::camera::Ray;

/// Later than any sample.
pub(crate) const NEVER: i32 = i32::MAX;

/// The samples of one ray in voxel positions: sample `m` lies at `start + m · step`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    start: [f32; 3],
    step: [f32; 3],
    inverse: [f32; 3],
    /// First and last sample inside the grid; first > last for none.
    pub first: i32,
    pub last: i32,
    /// Distances of blocks to what can be seen; `None` visits every sample.
    distances: Option<&'a Blocks<u8>>,
}

/// The block of a position along one axis; on a border between two, either.
#[inline(always)]
fn block_at(p: f32) -> usize {
    rounded((p * (1.0 / (1 << SHIFT) as f32)).max(0.0) - 0.5)
}

/// What is known about the next samples: before one number all have to be looked at, before the other (when larger)
/// none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gate {
    seen_before: i32,
    empty_before: i32,
}

/// Where samples lie on a ray: sample `m` is `zero + m · step` millimetres from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub zero: f64,
    pub step: f64,
}

impl Ticks {
    /// Samples at whole steps plus `jitter` of one, counted from the first in a span, so that positions depend neither
    /// on cuts nor on jumps.
    pub fn new(from: f64, step: f64, jitter: f64) -> Self {
        Self { zero: ((from / step - jitter).ceil() + jitter) * step, step }
    }

    pub fn at(&self, m: f32) -> f64 {
        self.zero + f64::from(m) * self.step
    }

    /// First and last sample around a part of the ray, with one to spare at either end.
    pub fn around(&self, part: [f64; 2]) -> (i32, i32) {
        let first = ((part[0] - self.zero) / self.step).floor() - 1.0;
        let last = ((part[1] - self.zero) / self.step).ceil() + 1.0;
        (first.clamp(0.0, 1e6) as i32, last.clamp(-1.0, 1e6) as i32)
    }

    /// First and last sample in a span.
    fn within(&self, span: &Span) -> (i32, i32) {
        let first = ((span.from - self.zero) / self.step).ceil();
        let last = ((span.to - self.zero) / self.step).floor();
        // A million samples are more than any picture needs; it also keeps positions exact in f32.
        (first.max(0.0) as i32, last.min(1e6) as i32)
    }
}

impl<'a> Walk<'a> {
    /// A walk through no sample.
    pub const NOWHERE: Walk<'static> =
        Walk { start: [0.0; 3], step: [0.0; 3], inverse: [0.0; 3], first: 0, last: -1, distances: None };

    pub fn new(
        placed: &Placed,
        ray: &Ray,
        direction: [f64; 3],
        ticks: Ticks,
        span: &Span,
        distances: Option<&'a Blocks<u8>>,
    ) -> Self {
        let start = placed.voxel_from_world.apply(ray.at(ticks.zero)).map(|v| v as f32);
        let step = direction.map(|v| (v * ticks.step) as f32);
        let (first, last) = ticks.within(span);
        Self { start, step, inverse: step.map(|v| 1.0 / v), first, last, distances }
    }

    #[inline(always)]
    pub fn at(&self, m: f32) -> [f32; 3] {
        [0, 1, 2].map(|a| self.start[a] + m * self.step[a])
    }

    /// The next sample from `m` on (itself included) that has to be looked at; [`NEVER`] when there is none. `gate`
    /// remembers what the last answer says about later samples; `m` only grows.
    #[inline(always)]
    pub fn next(&self, m: i32, gate: &mut Gate) -> i32 {
        if m < gate.seen_before {
            return m;
        }
        if m >= gate.empty_before {
            *gate = self.gate(m);
        }
        if m < gate.seen_before { m } else { gate.empty_before }
    }

    #[inline(always)]
    fn gate(&self, m: i32) -> Gate {
        if m < self.first {
            let empty_before = if self.first > self.last { NEVER } else { self.first };
            return Gate { seen_before: 0, empty_before };
        }
        if m > self.last {
            return Gate { seen_before: 0, empty_before: NEVER };
        }
        let end = self.last + 1;
        let Some(blocks) = self.distances else { return Gate { seen_before: end, empty_before: end } };
        let p = self.at(m as f32);
        let b = [0, 1, 2].map(|a| block_at(p[a]).min(blocks.counts[a] - 1));
        let distance = blocks.data[(b[2] * blocks.counts[1] + b[1]) * blocks.counts[0] + b[0]];
        let leave = self.leave(m, p, b, usize::from(distance.saturating_sub(1)), blocks.counts);
        if distance == 0 {
            Gate { seen_before: leave.min(end), empty_before: leave.min(end) }
        } else {
            Gate { seen_before: 0, empty_before: leave }
        }
    }

    /// The first sample after the cube of blocks within `radius` of block `b`.
    #[inline(always)]
    fn leave(&self, m: i32, p: [f32; 3], b: [usize; 3], radius: usize, counts: [usize; 3]) -> i32 {
        const SIZE: f32 = (1 << SHIFT) as f32;
        let mut exit = f32::INFINITY;
        for a in 0..3 {
            // Towards the border of the grid there is nothing to come back to.
            let wall = if self.step[a] > 0.0 {
                let end = b[a] + radius + 1;
                if end >= counts[a] { continue } else { end as f32 * SIZE }
            } else if self.step[a] < 0.0 {
                if b[a] <= radius { continue } else { (b[a] - radius) as f32 * SIZE }
            } else {
                continue;
            };
            exit = exit.min((wall - p[a]) * self.inverse[a]);
        }
        if exit.is_finite() {
            // A ray almost along a face may leave very late.
            let next = m.saturating_add(exit.max(0.0) as i32).saturating_add(1);
            if next > self.last { NEVER } else { next }
        } else {
            NEVER
        }
    }
}

impl Walk<'_> {
    /// The first sample after the block of sample `m` when `is_dull` holds for what is kept of the block, else `m`.
    #[inline(always)]
    pub fn skip_range<R: Copy>(&self, m: i32, blocks: &Blocks<R>, is_dull: impl Fn(R) -> bool) -> i32 {
        let p = self.at(m as f32);
        let b = [0, 1, 2].map(|a| block_at(p[a]).min(blocks.counts[a] - 1));
        if is_dull(blocks.data[(b[2] * blocks.counts[1] + b[1]) * blocks.counts[0] + b[0]]) {
            self.leave(m, p, b, 0, blocks.counts)
        } else {
            m
        }
    }
}
