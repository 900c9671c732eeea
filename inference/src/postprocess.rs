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
                decide.take(c, from.iter().copied(), &mut best, &mut state);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    /// Parts found by flooding, as (size, first voxel) and the voxels of each.
    fn flood(labels: &Array3<u16>, label: u16, connectivity: Connectivity) -> Vec<Vec<[usize; 3]>> {
        let (d, h, w) = labels.dim();
        let most = match connectivity {
            Connectivity::Six => 1,
            Connectivity::Eighteen => 2,
            Connectivity::TwentySix => 3,
        };
        let mut seen = Array3::from_elem((d, h, w), false);
        let mut parts = Vec::new();
        for (start, &v) in labels.indexed_iter() {
            if v != label || seen[start] {
                continue;
            }
            let mut part = Vec::new();
            let mut open = vec![[start.0, start.1, start.2]];
            seen[start] = true;
            while let Some(at) = open.pop() {
                part.push(at);
                for step in 0..27 {
                    let delta = [step / 9 - 1, step / 3 % 3 - 1, step % 3 - 1];
                    if delta.iter().map(|d: &i64| d.abs()).sum::<i64>() > most {
                        continue;
                    }
                    let next: [i64; 3] = std::array::from_fn(|a| at[a] as i64 + delta[a]);
                    if next.iter().zip([d, h, w]).all(|(n, s)| *n >= 0 && *n < s as i64) {
                        let next = next.map(|n| n as usize);
                        if labels[next] == label && !seen[next] {
                            seen[next] = true;
                            open.push(next);
                        }
                    }
                }
            }
            parts.push(part);
        }
        parts
    }

    #[test]
    fn the_largest_part_equals_flooding() {
        let mut state = 1u32;
        for round in 0..60 {
            let density = 2 + round % 4;
            let labels = Array3::from_shape_simple_fn((7, 6, 9), || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                u16::from(state >> 16 & 7 < density) * (1 + (state >> 20 & 1) as u16)
            });
            for connectivity in [Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix] {
                let mut kept = labels.clone();
                let (size, removed) = largest_component(&mut kept, 1, connectivity);
                let parts = flood(&labels, 1, connectivity);
                let most = parts.iter().map(Vec::len).max().unwrap_or(0);
                assert_eq!(size, most);
                assert_eq!(removed, parts.iter().map(Vec::len).sum::<usize>() - most);
                let mut wanted = labels.clone();
                wanted.mapv_inplace(|v| if v == 1 { 0 } else { v });
                if let Some(part) = parts.iter().find(|p| p.len() == most) {
                    part.iter().for_each(|at| wanted[*at] = 1);
                }
                assert_eq!(kept, wanted, "round {round} {connectivity:?}");
            }
        }
    }

    #[test]
    fn the_first_of_equal_scores_wins_and_nan_never() {
        let s = Array4::from_shape_vec(
            (3, 1, 1, 4),
            vec![1., 2., f32::NAN, f32::NAN, 1., 3., 0.5, f32::NAN, 0., 3., 0., f32::NAN],
        );
        let labels = argmax(s.unwrap().view()).unwrap();
        assert_eq!(labels.as_slice().unwrap(), [0, 1, 1, 0]);
    }

    #[test]
    fn regions_give_labels_in_the_order_of_their_rules() {
        // Tumour core, whole tumour, enhancing.
        let rules = [(0b100, 4), (0b001, 1), (0b010, 2)];
        let s = Array4::from_shape_vec(
            (3, 1, 1, 5),
            vec![0.0, 1., -1., -1., -1., 1., 1., 0., -1., -1., 1., -1., -1., -1e-9, 0.0],
        );
        let labels = decide(s.unwrap().view(), &Decide::Regions { logit: 0.0, rules: &rules });
        assert_eq!(labels.as_slice().unwrap(), [4, 1, 2, 0, 4]);
    }
}
