//! Scores to labels on their own grid, and labels tidied up.

use formats::Task;
use formats::components::Components;
use ndarray::{Array3, ArrayView3, ArrayView4, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::resample::Decide;

pub use formats::components::Connectivity;

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
    if of.is_empty() {
        return Ok(());
    }
    let found = Components::of(labels, connectivity, task, |l| of.contains(&l))?;
    let largest = found.largest();
    let height = labels.dim().1;
    for run in &found.runs {
        if largest.get(&run.label).is_some_and(|(part, _)| *part != run.part) {
            let (k, j) = (run.row / height, run.row % height);
            labels.slice_mut(ndarray::s![k, j, run.from as usize..run.to as usize]).fill(0);
        }
    }
    Ok(())
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
                let of: &[u16] = if round % 2 == 0 { &[1] } else { &[1, 2] };
                keep_largest(&mut kept, of, connectivity, &Task::silent()).unwrap();
                let mut wanted = labels.clone();
                for &label in of {
                    let parts = flood(&labels, label, connectivity);
                    let most = parts.iter().map(Vec::len).max().unwrap_or(0);
                    wanted.mapv_inplace(|v| if v == label { 0 } else { v });
                    if let Some(part) = parts.iter().find(|p| p.len() == most) {
                        part.iter().for_each(|at| wanted[*at] = label);
                    }
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
