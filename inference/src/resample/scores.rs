//! Scores of many classes on a working grid, turned into labels on another grid.
//!
//! The scores never exist on the target grid as a whole.

use formats::{Grid, Task};
use ndarray::{Array3, ArrayView4, Axis};
use rayon::prelude::*;

use super::general::{Field, linear_at};
use super::map::Map;
use crate::error::{Error, Result};

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
    let Some(values) = dense.as_slice() else { unreachable!("standard layout") };
    let volume = working.voxel_count();
    let field = Field::new(values, map.source_ijk());
    let [d, h, w] = onto.shape_kji();
    let step = map.step();
    let mut out = Array3::<u16>::zeros((d, h, w));
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().try_for_each(|(k, mut plane)| -> Result<()> {
        task.check()?;
        for (j, mut row) in plane.outer_iter_mut().enumerate() {
            let start = map.row_start(j, k);
            for i in map.inside(start, w) {
                let mut cell = field.corner(std::array::from_fn(|a| start[a] + i as f64 * step[a]));
                let mut best = f32::NEG_INFINITY;
                let mut state = 0u32;
                for c in 0..channels {
                    let x = linear_at(values, &cell);
                    cell.offset += volume;
                    match decide {
                        Decide::Largest(_) if x > best => {
                            best = x;
                            state = c as u32;
                        }
                        Decide::Regions { logit, .. } if x >= *logit => state |= 1 << c,
                        _ => {}
                    }
                }
                row[i] = decide.label(state);
            }
        }
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
    pub(crate) fn take<'s>(
        &self,
        c: usize,
        scores: impl Iterator<Item = &'s f32>,
        best: &mut [f32],
        state: &mut [u32],
    ) {
        match self {
            Self::Largest(_) => {
                for ((x, best), state) in scores.zip(best).zip(state) {
                    let wins = x > best;
                    *best = if wins { *x } else { *best };
                    *state = if wins { c as u32 } else { *state };
                }
            }
            Self::Regions { logit, .. } => {
                for (x, state) in scores.zip(state) {
                    *state |= u32::from(x >= logit) << c;
                }
            }
        }
    }
}
