//! Phrases asked of one slice, with candidates to choose among: for windows, where people look at one slice and try words.

use std::sync::Arc;

use formats::{Task, Volume};
use ndarray::{Array2, Axis};

use super::opened::Prompter;
use super::picture::Frame;
use crate::error::Result;
use crate::xdecoder::postprocess::sigmoid;

/// What was found for a phrase on a slice.
#[derive(Clone, Debug)]
pub struct SliceFind {
    /// As asked.
    pub prompt: String,
    /// That the thing is there; none where the pack was not calibrated.
    pub probability: Option<f64>,
    /// Whether that reaches the threshold.
    pub is_found: bool,
    /// Masks to choose among, likeliest first.
    pub candidates: Vec<Candidate>,
}

/// A mask.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Likeness to the phrase.
    pub likeness: f32,
    /// How certainly a pixel belongs to it, of 255: the axes of `[k, j, i]` without that across. From [`INSIDE`] on it does.
    pub certain: Array2<u8>,
}

/// Certainty from which a pixel belongs to a mask: one half.
pub const INSIDE: u8 = super::work::INSIDE;

/// Asks phrases of slice `n`. `key` names the slice: the look at it is remembered until another one is looked at. Of a
/// slice of one value nothing is found.
///
/// # Errors
/// Those of the network; [`crate::Error::Cancelled`].
pub fn find_in_slice(
    prompter: &mut Prompter,
    key: &str,
    frame: &Frame,
    volume: &Volume,
    n: usize,
    prompts: &[String],
    task: &Task,
) -> Result<Vec<SliceFind>> {
    task.at("Looking", 0.0)?;
    let seen = match prompter.remembered(key) {
        Some(seen) => Some(seen),
        None => match frame.picture(volume, n) {
            None => None,
            Some(picture) => {
                let seen = Arc::new(prompter.look(&picture, task)?);
                prompter.remember(key, &seen);
                Some(seen)
            }
        },
    };
    let mut shape = volume.grid.shape_kji().to_vec();
    shape.remove(2 - frame.across);
    let mut finds = Vec::with_capacity(prompts.len());
    for (p, prompt) in prompts.iter().enumerate() {
        task.at("Finding", 0.5 + 0.5 * p as f32 / prompts.len() as f32)?;
        let mut find =
            SliceFind { prompt: prompt.clone(), probability: None, is_found: false, candidates: Vec::new() };
        if let Some(seen) = &seen {
            let answer = prompter.ask(seen, prompt, task)?;
            (find.probability, find.is_found) = (answer.probability, answer.is_found);
            let logits = frame.masks(answer.masks.view());
            for (&likeness, mask) in answer.likeness.iter().zip(logits.axis_iter(Axis(0))) {
                let mut certain = Array2::<u8>::zeros((shape[0], shape[1]));
                frame.turned_mut(certain.view_mut()).zip_mut_with(&mask, |to, &v| {
                    *to = (sigmoid(v) * 255.0).round() as u8;
                });
                find.candidates.push(Candidate { likeness, certain });
            }
        }
        finds.push(find);
    }
    Ok(finds)
}
