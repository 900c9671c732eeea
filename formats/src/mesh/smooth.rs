//! Smoothing that keeps the volume of every connected piece.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::extract::Shell;
use super::{cross, dot, sub};
use crate::affine::Affine;
use crate::error::Result;
use crate::task::Task;

/// How a surface is smoothed.
///
/// One iteration moves every vertex by `lambda` of the way to the mean of its neighbours along the edges of voxel
/// faces, then by `mu` (negative: away from it), which smooths without shrinking (Taubin). No vertex leaves the box of
/// ±½ voxel around its place on the voxel lattice by this. After every few iterations, and exactly at the end, each
/// connected piece of the surface (cavities count as pieces) is moved along its normals by one distance, the same all
/// over the piece, so that it encloses the volume of its voxels again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Smoothing {
    /// How often; 0 leaves the faces of the voxels as they are.
    pub iterations: u32,
    /// Step towards the mean, 0 to 1.
    pub lambda: f64,
    /// Step away from it; negative and a little larger than `lambda`. Waves of more than about
    /// 2π/√(1/λ + 1/μ) edge lengths pass unchanged.
    pub mu: f64,
}

impl Smoothing {
    /// The faces of the voxels themselves.
    pub const NONE: Self = Self { iterations: 0, lambda: 0.5, mu: -0.53 };
}

impl Default for Smoothing {
    /// 20 iterations of 0.5 and −0.53: the staircase of the voxels goes, gyri stay.
    fn default() -> Self {
        Self { iterations: 20, ..Self::NONE }
    }
}

/// How far a vertex may be moved by the filter along each voxel axis.
const REACH_VOXELS: f64 = 0.5;
/// Iterations between two corrections of the volume: few enough that a piece never shrinks far.
const BETWEEN_CORRECTIONS: u32 = 4;
/// A piece is done when its volume is right to this fraction.
const VOLUME_TOLERANCE: f64 = 1e-7;
/// Corrections at the end. Newton's method needs two or three.
const LAST_CORRECTIONS: u32 = 40;
/// Pieces that are further off than this in the end (folded, as the tiniest may be) are put back on the lattice.
const VOLUME_ACCEPTED: f64 = 1e-3;

/// A shell after smoothing; its positions are those of the shell.
#[derive(Debug)]
pub(super) struct Smoothed {
    /// All faces, turned as in the shell.
    pub triangles: Vec<[u32; 3]>,
    /// Connected pieces that were left as voxels because their volume could not be kept.
    pub unsmoothed_pieces: usize,
}

/// Smooths a shell in place and triangulates it.
///
/// # Errors
/// [`crate::Error::Cancelled`].
pub(super) fn smooth(
    shell: &mut Shell,
    smoothing: &Smoothing,
    world_from_voxel: &Affine,
    task: &Task,
) -> Result<Smoothed> {
    let metric = metric(world_from_voxel);
    if smoothing.iterations == 0 {
        return Ok(Smoothed { triangles: triangulate(shell, &metric), unsmoothed_pieces: 0 });
    }
    let home = shell.positions.clone();
    let neighbours = Neighbours::of(shell);
    let mut pieces = Pieces::of(shell, &neighbours, world_from_voxel);
    let rough: Vec<[u32; 3]> = triangulate(shell, &metric);
    pieces.target = pieces.measure(&shell.positions, &rough);
    let mut moved = shell.positions.clone();
    for n in 0..smoothing.iterations {
        task.at("Smoothing", n as f32 / smoothing.iterations as f32)?;
        for factor in [smoothing.lambda, smoothing.mu] {
            neighbours.step(&shell.positions, &home, factor, &mut moved);
            std::mem::swap(&mut shell.positions, &mut moved);
        }
        if n % BETWEEN_CORRECTIONS == BETWEEN_CORRECTIONS - 1 {
            pieces.correct(&mut shell.positions, &rough);
        }
    }
    let triangles = triangulate(shell, &metric);
    for _ in 0..LAST_CORRECTIONS {
        task.check()?;
        if pieces.correct(&mut shell.positions, &triangles) < VOLUME_TOLERANCE {
            break;
        }
    }
    let volumes = pieces.measure(&shell.positions, &triangles);
    let is_off = |piece: usize| {
        let target = pieces.target[piece];
        let error = (volumes[piece] - target).abs();
        error.is_nan() || error > VOLUME_ACCEPTED * target.abs()
    };
    let off: Vec<bool> = (0..volumes.len()).map(is_off).collect();
    let unsmoothed_pieces = off.iter().filter(|&&o| o).count();
    if unsmoothed_pieces > 0 {
        for (v, position) in shell.positions.iter_mut().enumerate() {
            if off[pieces.of_vertex[v] as usize] {
                *position = home[v];
            }
        }
        // Their quadrilaterals are flat again and enclose the same volume whichever way the diagonals run.
    }
    Ok(Smoothed { triangles, unsmoothed_pieces })
}

/// Squared world lengths of voxel vectors: `Mᵀ·M`.
fn metric(world_from_voxel: &Affine) -> [[f64; 3]; 3] {
    let columns = [0, 1, 2].map(|a| world_from_voxel.column(a));
    columns.map(|a| columns.map(|b| dot(a, b)))
}

fn times(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| dot(row, v))
}

/// All faces as triangles; quadrilaterals along their shorter diagonal in the world.
fn triangulate(shell: &Shell, metric: &[[f64; 3]; 3]) -> Vec<[u32; 3]> {
    let at = |v: u32| shell.positions[v as usize];
    let mut out: Vec<[u32; 3]> = Vec::with_capacity(2 * shell.quads.len() + shell.triangles.len());
    for &[a, b, c, d] in &shell.quads {
        let length = |p: u32, q: u32| {
            let v = sub(at(p), at(q));
            dot(v, times(metric, v))
        };
        if length(a, c) <= length(b, d) {
            out.extend([[a, b, c], [a, c, d]]);
        } else {
            out.extend([[a, b, d], [b, c, d]]);
        }
    }
    out.extend(&shell.triangles);
    out
}

/// The vertices next to each vertex along edges of faces.
struct Neighbours {
    /// Where the neighbours of each vertex start in `of`; one more at the end.
    start: Vec<u32>,
    of: Vec<u32>,
}

impl Neighbours {
    /// On a closed shell every edge is met once in each direction, so that each neighbour is listed once.
    fn of(shell: &Shell) -> Self {
        let quads = shell.quads.iter().flat_map(|&[a, b, c, d]| [(a, b), (b, c), (c, d), (d, a)]);
        let triangles = shell.triangles.iter().flat_map(|&[a, b, c]| [(a, b), (b, c), (c, a)]);
        let edges = || quads.clone().chain(triangles.clone());
        let mut start = vec![0u32; shell.positions.len() + 1];
        for (a, _) in edges() {
            start[a as usize + 1] += 1;
        }
        for v in 1..start.len() {
            start[v] += start[v - 1];
        }
        let mut next = start.clone();
        let mut of = vec![0; start.last().map_or(0, |&n| n as usize)];
        for (a, b) in edges() {
            let slot = &mut next[a as usize];
            of[*slot as usize] = b;
            *slot += 1;
        }
        Self { start, of }
    }

    fn of_vertex(&self, v: usize) -> &[u32] {
        &self.of[self.start[v] as usize..self.start[v + 1] as usize]
    }

    /// Moves every vertex by `factor` of the way to the mean of its neighbours, within reach of its home.
    fn step(&self, from: &[[f64; 3]], home: &[[f64; 3]], factor: f64, to: &mut [[f64; 3]]) {
        to.par_iter_mut().enumerate().with_min_len(4096).for_each(|(v, out)| {
            let near = self.of_vertex(v);
            let mut sum = [0.0; 3];
            for &n in near {
                let p = from[n as usize];
                sum = [sum[0] + p[0], sum[1] + p[1], sum[2] + p[2]];
            }
            let weight = factor / near.len().max(1) as f64;
            *out = [0, 1, 2].map(|a| {
                let x = from[v][a] * (1.0 - factor) + sum[a] * weight;
                x.clamp(home[v][a] - REACH_VOXELS, home[v][a] + REACH_VOXELS)
            });
        });
    }
}

/// Connected pieces of a shell, and the volumes (in voxels) that they should enclose.
struct Pieces {
    of_vertex: Vec<u32>,
    target: Vec<f64>,
    /// Inverse of the metric: turns area vectors into directions normal in the world.
    inverse_metric: [[f64; 3]; 3],
    /// No correction moves further at once, in mm.
    longest_mm: f64,
    direction: Vec<[f64; 3]>,
}

impl Pieces {
    fn of(shell: &Shell, neighbours: &Neighbours, world_from_voxel: &Affine) -> Self {
        const NONE: u32 = u32::MAX;
        let mut of_vertex = vec![NONE; shell.positions.len()];
        let mut count = 0;
        let mut open = Vec::new();
        for v in 0..of_vertex.len() {
            if of_vertex[v] != NONE {
                continue;
            }
            of_vertex[v] = count;
            open.push(v);
            while let Some(v) = open.pop() {
                for &n in neighbours.of_vertex(v) {
                    if of_vertex[n as usize] == NONE {
                        of_vertex[n as usize] = count;
                        open.push(n as usize);
                    }
                }
            }
            count += 1;
        }
        let m = metric(world_from_voxel);
        let as_affine = Affine::from_columns(m, [0.0; 3]);
        let inverse = as_affine.inverse().unwrap_or(Affine::IDENTITY);
        let spacing = [0, 1, 2].map(|a| m[a][a].sqrt());
        Self {
            direction: vec![[0.0; 3]; of_vertex.len()],
            of_vertex,
            target: vec![0.0; count as usize],
            inverse_metric: [0, 1, 2].map(|a| inverse.column(a)),
            longest_mm: spacing.into_iter().fold(f64::INFINITY, f64::min) / 2.0,
        }
    }

    /// Enclosed volumes in voxels; cavities count negative.
    fn measure(&self, positions: &[[f64; 3]], triangles: &[[u32; 3]]) -> Vec<f64> {
        // Around a place on each piece, for accuracy.
        let mut volumes = vec![0.0; self.target.len()];
        let mut origin = vec![None; self.target.len()];
        for t in triangles {
            let piece = self.of_vertex[t[0] as usize] as usize;
            let [a, b, c] = t.map(|v| positions[v as usize]);
            let origin = *origin[piece].get_or_insert(a);
            volumes[piece] += dot(sub(a, origin), cross(sub(b, origin), sub(c, origin))) / 6.0;
        }
        volumes
    }

    /// One Newton step towards the targets; the largest relative error before it.
    fn correct(&mut self, positions: &mut [[f64; 3]], triangles: &[[u32; 3]]) -> f64 {
        let volumes = self.measure(positions, triangles);
        // A third of the area around a vertex is the gradient of the volume; along it lies the normal.
        self.direction.fill([0.0; 3]);
        for t in triangles {
            let [a, b, c] = t.map(|v| positions[v as usize]);
            let area = cross(sub(b, a), sub(c, a));
            for &v in t {
                let d = &mut self.direction[v as usize];
                *d = [d[0] + area[0], d[1] + area[1], d[2] + area[2]];
            }
        }
        let mut slopes = vec![0.0; self.target.len()];
        for (d, &piece) in self.direction.iter_mut().zip(&self.of_vertex) {
            let gradient = d.map(|v| v / 6.0);
            let along = times(&self.inverse_metric, gradient);
            let slope = dot(gradient, along).max(0.0).sqrt();
            if slope > 0.0 {
                slopes[piece as usize] += slope;
                *d = along.map(|v| v / slope);
            } else {
                *d = [0.0; 3];
            }
        }
        let mut worst: f64 = 0.0;
        let shift_mm: Vec<f64> = (0..volumes.len())
            .map(|p| {
                let missing = self.target[p] - volumes[p];
                worst = worst.max(missing.abs() / self.target[p].abs());
                let shift = if slopes[p] > 0.0 { missing / slopes[p] } else { 0.0 };
                shift.clamp(-self.longest_mm, self.longest_mm)
            })
            .collect();
        for ((position, d), &piece) in positions.iter_mut().zip(&self.direction).zip(&self.of_vertex) {
            let shift = shift_mm[piece as usize];
            *position = [0, 1, 2].map(|a| position[a] + shift * d[a]);
        }
        worst
    }
}
