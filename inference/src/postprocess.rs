//! Scores to labels on their own grid, and labels tidied up.

use formats::Task;
use ndarray::{Array3, ArrayView3, ArrayView4, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::resample::Decide;

/// Which voxels touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connectivity {
    /// Those that share a face.
    #[default]
    #[serde(rename = "6")]
    Six,
    /// Those that share a face or an edge.
    #[serde(rename = "18")]
    Eighteen,
    /// Those that share a face, an edge or a corner.
    #[serde(rename = "26")]
    TwentySix,
}

/// Labels `[k, j, i]` of scores `[C, k, j, i]`, voxel by voxel. See [`Decide`].
#[must_use]
pub fn decide(scores: ArrayView4<'_, f32>, decide: &Decide<'_>) -> Array3<u16> {
    let (_, d, h, w) = scores.dim();
    let mut labels = Array3::<u16>::zeros((d, h, w));
    labels.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(k, mut plane)| {
        for (j, mut row) in plane.outer_iter_mut().enumerate() {
            let mut best = vec![f32::NEG_INFINITY; w];
            let mut state = vec![0u32; w];
            for (c, channel) in scores.outer_iter().enumerate() {
                let from = channel.slice(ndarray::s![k, j, ..]);
                decide.take(c, from.iter(), &mut best, &mut state);
            }
            row.iter_mut().zip(state).for_each(|(l, s)| *l = decide.label(s));
        }
    });
    labels
}

/// The number of the largest channel at each voxel, the first of equals. NaN never wins.
///
/// # Errors
/// [`Error::Argument`] above 65535 channels.
pub fn argmax(scores: ArrayView4<'_, f32>) -> Result<Array3<u16>> {
    let channels =
        u16::try_from(scores.dim().0).map_err(|_| Error::Argument("labels end at 65535".to_owned()))?;
    let numbers: Vec<u16> = (0..channels).collect();
    Ok(decide(scores, &Decide::Largest(&numbers)))
}

/// Where a probability `sigmoid(score)` reaches `threshold` (0..1, inclusive), as 0 and 1.
#[must_use]
pub fn sigmoid_threshold(scores: ArrayView3<'_, f32>, threshold: f64) -> Array3<u16> {
    // sigmoid(x) ≥ p exactly where x ≥ ln(p / (1 − p)).
    let logit = (threshold / (1.0 - threshold)).ln() as f32;
    scores.map(|&x| u16::from(x >= logit))
}

/// Keeps the largest connected part of each of `of`; smaller parts become 0. Of equal parts the one whose first
/// voxel comes first in memory stays. Labels not named are untouched.
///
/// # Errors
/// [`Error::Cancelled`].
pub fn keep_largest(
    labels: &mut Array3<u16>,
    of: &[u16],
    connectivity: Connectivity,
    task: &Task,
) -> Result<()> {
    for &label in of {
        task.check()?;
        largest_component(labels, label, connectivity);
    }
    Ok(())
}

/// A run of voxels with the label along i.
struct Run {
    from: u32,
    to: u32,
    row: u32,
}

/// Keeps the largest connected part of one label; returns its size in voxels and the number of voxels removed.
///
/// Works on runs along i joined by union-find, so that memory follows the surface of the label, not the volume.
pub fn largest_component(labels: &mut Array3<u16>, label: u16, connectivity: Connectivity) -> (usize, usize) {
    let (_, h, _) = labels.dim();
    let mut runs: Vec<Run> = Vec::new();
    let mut rows: Vec<usize> = Vec::with_capacity(labels.dim().0 * h + 1);
    for (r, row) in labels.rows().into_iter().enumerate() {
        rows.push(runs.len());
        let mut open: Option<u32> = None;
        for (i, &v) in row.iter().enumerate() {
            match (v == label, open) {
                (true, None) => open = Some(i as u32),
                (false, Some(from)) => {
                    runs.push(Run { from, to: i as u32, row: r as u32 });
                    open = None;
                }
                _ => {}
            }
        }
        if let Some(from) = open {
            runs.push(Run { from, to: row.len() as u32, row: r as u32 });
        }
    }
    rows.push(runs.len());
    let mut parent: Vec<u32> = (0..runs.len() as u32).collect();
    // Rows before this one that can touch it, and by how far runs may miss each other along i.
    let (edge, corner) = match connectivity {
        Connectivity::Six => (None, None),
        Connectivity::Eighteen => (Some(0), None),
        Connectivity::TwentySix => (Some(0), Some(1)),
    };
    for r in 0..rows.len() - 1 {
        let (k, j) = (r / h, r % h);
        let face = u32::from(connectivity != Connectivity::Six);
        let mut join = |other: usize, reach: u32| join_rows(&runs, &rows, &mut parent, r, other, reach);
        if j > 0 {
            join(r - 1, face);
        }
        if k > 0 {
            join(r - h, face);
            if let Some(reach) = edge {
                let reach = corner.unwrap_or(reach);
                if j > 0 {
                    join(r - h - 1, reach);
                }
                if j + 1 < h {
                    join(r - h + 1, reach);
                }
            }
        }
    }
    let mut size = vec![0usize; runs.len()];
    for (n, run) in runs.iter().enumerate() {
        size[find(&mut parent, n as u32) as usize] += (run.to - run.from) as usize;
    }
    // `max_by_key` gives the last of equals: reversed, the first.
    let Some((best, &kept)) = size.iter().enumerate().rev().max_by_key(|(_, s)| **s) else { return (0, 0) };
    let mut removed = 0;
    for (n, run) in runs.iter().enumerate() {
        if find(&mut parent, n as u32) as usize != best {
            let (k, j) = (run.row as usize / h, run.row as usize % h);
            labels.slice_mut(ndarray::s![k, j, run.from as usize..run.to as usize]).fill(0);
            removed += (run.to - run.from) as usize;
        }
    }
    (kept, removed)
}

/// Joins touching runs of two rows; `reach` is 1 when diagonal neighbours along i touch.
fn join_rows(runs: &[Run], rows: &[usize], parent: &mut [u32], a: usize, b: usize, reach: u32) {
    let (mut x, mut y) = (rows[a], rows[b]);
    while x < rows[a + 1] && y < rows[b + 1] {
        let (p, q) = (&runs[x], &runs[y]);
        if p.from < q.to + reach && q.from < p.to + reach {
            let (s, t) = (find(parent, x as u32), find(parent, y as u32));
            // The smaller root wins, so that a root is the first run of its part.
            let (low, high) = (s.min(t), s.max(t));
            parent[high as usize] = low;
        }
        if p.to < q.to { x += 1 } else { y += 1 }
    }
}

fn find(parent: &mut [u32], mut n: u32) -> u32 {
    while parent[n as usize] != n {
        let up = parent[parent[n as usize] as usize];
        parent[n as usize] = up;
        n = up;
    }
    n
}
