//! Where along its rays each tile of the picture can see anything: blocks drawn as boxes before any ray is cast.

use super::blocks::{Blocks, SHIFT};
use super::setup::{Placed, Setup};
use crate::camera::{Projection, dot};

/// Edge of a tile in pixels.
pub(crate) const TILE: usize = 8;

/// For each tile the part of its rays, in millimetres from their start, outside which nothing can be seen; empty
/// (from above to) where there is nothing at all.
#[derive(Debug)]
pub(crate) struct Tiles {
    across: usize,
    bounds: Vec<[f64; 2]>,
}

const NOTHING: [f64; 2] = [f64::INFINITY, f64::NEG_INFINITY];

impl Tiles {
    /// The bounds of everything in the occupied blocks of some grids. `None` where the eye is among the blocks.
    pub fn new(setup: &Setup, grids: &[(Placed, &Blocks<u8>)]) -> Option<Self> {
        let across = setup.size_px[0].div_ceil(TILE);
        let down = setup.size_px[1].div_ceil(TILE);
        let mut tiles = Self { across, bounds: vec![NOTHING; across * down] };
        let pixels = Pixels::new(setup);
        for (placed, blocks) in grids {
            tiles.draw(&pixels, placed, blocks)?;
        }
        Some(tiles)
    }

    /// The part of the rays of the tile of a pixel.
    pub fn at(&self, x: usize, y: usize) -> [f64; 2] {
        self.bounds.get(y / TILE * self.across + x / TILE).copied().unwrap_or([0.0, f64::INFINITY])
    }

    fn draw(&mut self, pixels: &Pixels, placed: &Placed, blocks: &Blocks<u8>) -> Option<()> {
        let world_from_voxel = placed.voxel_from_world.inverse()?;
        let [ni, nj, nk] = blocks.counts;
        let is_occupied = |i: usize, j: usize, k: usize| blocks.data[(k * nj + j) * ni + i] == 0;
        let down = self.bounds.len() / self.across.max(1);
        for k in 0..nk {
            for j in 0..nj {
                for i in 0..ni {
                    if !is_occupied(i, j, k) {
                        continue;
                    }
                    // Rays from outside reach inner blocks through outer ones only.
                    let is_inner = i > 0
                        && j > 0
                        && k > 0
                        && i + 1 < ni
                        && j + 1 < nj
                        && k + 1 < nk
                        && is_occupied(i - 1, j, k)
                        && is_occupied(i + 1, j, k)
                        && is_occupied(i, j - 1, k)
                        && is_occupied(i, j + 1, k)
                        && is_occupied(i, j, k - 1)
                        && is_occupied(i, j, k + 1);
                    if is_inner {
                        continue;
                    }
                    let b = [i, j, k];
                    // The outermost blocks reach to the outer faces.
                    let low = b.map(|n| (n << SHIFT) as f64 - if n == 0 { 0.5 } else { 0.0 });
                    let high = [0, 1, 2].map(|a| {
                        let end = ((b[a] + 1) << SHIFT) as f64;
                        if b[a] + 1 == blocks.counts[a] { placed.size[a] as f64 - 0.5 } else { end }
                    });
                    let (mut from, mut to) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
                    let mut span = NOTHING;
                    for corner in 0..8 {
                        let p = [0, 1, 2].map(|a| if corner >> a & 1 == 0 { low[a] } else { high[a] });
                        let (at, depth, distance) = pixels.project(world_from_voxel.apply(p))?;
                        for a in 0..2 {
                            from[a] = from[a].min(at[a]);
                            to[a] = to[a].max(at[a]);
                        }
                        // A ray is at least as long as the depth it reaches.
                        span = [span[0].min(depth), span[1].max(distance)];
                    }
                    let tile = |v: f64, n: usize| ((v / TILE as f64).max(0.0) as usize).min(n);
                    // A pixel of margin against rounding.
                    for y in tile(from[1] - 1.0, down)..tile(to[1] + 1.0 + TILE as f64, down) {
                        for x in
                            tile(from[0] - 1.0, self.across)..tile(to[0] + 1.0 + TILE as f64, self.across)
                        {
                            let bounds = &mut self.bounds[y * self.across + x];
                            *bounds = [bounds[0].min(span[0]), bounds[1].max(span[1])];
                        }
                    }
                }
            }
        }
        Some(())
    }
}

/// From world points to pixels of the picture drawn.
struct Pixels {
    eye: [f64; 3],
    towards: [f64; 3],
    right: [f64; 3],
    down: [f64; 3],
    middle: [f64; 2],
    focus_mm: f64,
    is_perspective: bool,
}

impl Pixels {
    fn new(setup: &Setup) -> Self {
        let rays = &setup.rays;
        let scale = [0, 1].map(|a| setup.size_px[a] as f64 / setup.full_px[a]);
        // Divided by its squared length, a step of one pixel measures in pixels.
        let measure = |v: [f64; 3], s: f64| v.map(|c| c * s / dot(v, v));
        Self {
            eye: rays.eye,
            towards: rays.towards,
            right: measure(rays.across, scale[0]),
            down: measure(rays.down, scale[1]),
            middle: setup.size_px.map(|n| n as f64 / 2.0),
            focus_mm: rays.distance,
            is_perspective: rays.projection == Projection::Perspective,
        }
    }

    /// Pixel, depth along the view axis and length of the ray; `None` at and behind the eye.
    fn project(&self, p: [f64; 3]) -> Option<([f64; 2], f64, f64)> {
        let d = [0, 1, 2].map(|a| p[a] - self.eye[a]);
        let depth = -dot(d, self.towards);
        let (shrink, length) = if self.is_perspective {
            if depth < 1e-3 * self.focus_mm {
                return None;
            }
            (self.focus_mm / depth, dot(d, d).sqrt())
        } else {
            // Rays begin in the plane of the eye; what lies behind it is before their start.
            (1.0, depth)
        };
        let at = [self.middle[0] + dot(d, self.right) * shrink, self.middle[1] + dot(d, self.down) * shrink];
        Some((at, depth, length))
    }
}
