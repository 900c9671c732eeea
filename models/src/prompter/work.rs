//! Slices through the network, one after the other, and their masks gathered into volumes.

use formats::{Task, Volume};
use inference::postprocess::{Connectivity, keep_largest};
use ndarray::{Array3, Axis, Zip, s};

use super::classes;
use super::opened::Prompter;
use super::picture::Frame;
use super::settings::{Asking, Found, Prompting};
use crate::error::Result;
use crate::xdecoder::postprocess::sigmoid;

/// Certainty, of 255, from which a voxel belongs to a mask: one half.
pub const INSIDE: u8 = 128;
/// Up to this distance of slices in millimetres a thing is taken to reach over more than one of them.
const THIN_MM: f64 = 3.0;

/// What is known of a prompt so far.
#[derive(Clone, Debug)]
pub struct Tally {
    pub probability: Option<f64>,
    pub score: f64,
    pub slices: usize,
}

/// Masks of an image under way.
#[derive(Debug)]
pub struct Work {
    /// Per prompt, how certainly a voxel belongs to it, `[k, j, i]`, of 255. Phrases only.
    certain: Vec<Array3<u8>>,
    /// Label of each voxel. Classes only.
    pub labels: Array3<u16>,
    /// Per prompt.
    pub tallies: Vec<Tally>,
    /// Names of labels, where they are not the prompts.
    pub names: Vec<String>,
    /// Slices that were looked at.
    pub looked: usize,
}

impl Work {
    pub fn new(volume: &Volume, prompting: &Prompting) -> Self {
        let (shape, count) = (volume.grid.shape_kji(), prompting.prompts.len());
        let is_phrases = prompting.asking == Asking::Phrases;
        let empty = if is_phrases { [0; 3] } else { shape };
        let tally = Tally { probability: None, score: f64::NEG_INFINITY, slices: 0 };
        Self {
            certain: if is_phrases { vec![Array3::zeros(shape); count] } else { Vec::new() },
            labels: Array3::zeros(empty),
            tallies: vec![tally; count],
            names: Vec::new(),
            looked: 0,
        }
    }

    /// Looks at all slices across the axis of `frame`, `number` of so many frames.
    pub fn look(
        &mut self,
        prompter: &mut Prompter,
        volume: &Volume,
        frame: &Frame,
        prompting: &Prompting,
        [number, of]: [usize; 2],
        task: &Task,
    ) -> Result<()> {
        let count = volume.grid.size_ijk[frame.across];
        let axis = Axis(2 - frame.across);
        let mut found = vec![vec![false; count]; prompting.prompts.len()];
        let mut own: Vec<Array3<u8>> = self
            .certain
            .iter()
            .map(|c| if of > 1 { Array3::zeros(c.raw_dim()) } else { Array3::zeros([0; 3]) })
            .collect();
        for n in 0..count {
            task.at("Looking", (number * count + n) as f32 / (of * count) as f32)?;
            let Some(picture) = frame.picture(volume, n) else { continue };
            let seen = prompter.look(&picture, task)?;
            self.looked += 1;
            if prompting.asking != Asking::Phrases {
                let out = prompter.classify(&seen, &prompting.prompts, task)?;
                let to = frame.turned_mut(self.labels.index_axis_mut(axis, n));
                let told = classes::decide(&out, frame, prompting, to);
                for (tally, (score, is_there)) in self.tallies.iter_mut().zip(told.scores) {
                    tally.score = tally.score.max(f64::from(score));
                    tally.slices += usize::from(is_there);
                }
                self.names.extend(told.names);
                continue;
            }
            for (p, prompt) in prompting.prompts.iter().enumerate() {
                let answer = prompter.ask(&seen, prompt, task)?;
                let likeness = answer.likeness.first().copied().unwrap_or(f32::NEG_INFINITY);
                let tally = &mut self.tallies[p];
                tally.score = tally.score.max(f64::from(likeness));
                tally.probability = match (tally.probability, answer.probability) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                };
                found[p][n] = answer.is_found;
                let logits = frame.masks(answer.masks.slice(s![..1, .., ..]));
                let target = if of > 1 { &mut own[p] } else { &mut self.certain[p] };
                let mut to = frame.turned_mut(target.index_axis_mut(axis, n));
                let parts = of as f32;
                Zip::from(&mut to).and(logits.index_axis(Axis(0), 0)).for_each(|to, &v| {
                    *to = (sigmoid(v) * 255.0 / parts).round() as u8;
                });
            }
        }
        let is_thin = volume.grid.spacing_mm()[frame.across] < THIN_MM && count > 2;
        for (p, found) in found.iter().enumerate().take(self.certain.len()) {
            let kept = if is_thin { agreed(found) } else { found.clone() };
            self.tallies[p].slices = self.tallies[p].slices.max(kept.iter().filter(|k| **k).count());
            let target = if of > 1 { &mut own[p] } else { &mut self.certain[p] };
            for (n, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
                target.index_axis_mut(axis, n).fill(0);
            }
            if of > 1 {
                Zip::from(&mut self.certain[p]).and(&own[p]).for_each(|to, &v| *to = to.saturating_add(v));
            }
        }
        Ok(())
    }

    /// The label map `[k, j, i]`, what became of each prompt, and how many voxels more than one prompt claimed. The
    /// prompt that is more certain of a voxel gets it.
    pub fn labels(
        self,
        volume: &Volume,
        prompting: &Prompting,
        task: &Task,
    ) -> Result<(Array3<u16>, Vec<Found>, u64)> {
        let mut labels = self.labels;
        let mut contested = 0;
        if prompting.asking == Asking::Phrases {
            labels = Array3::zeros(volume.grid.shape_kji());
            let mut most = Array3::<u8>::zeros(volume.grid.shape_kji());
            for (p, mut certain) in self.certain.into_iter().enumerate() {
                task.at("Finishing", p as f32 / self.tallies.len() as f32)?;
                if prompting.smooths {
                    certain = smooth(&certain);
                }
                let label = label(p);
                Zip::from(&mut labels).and(&mut most).and(&certain).for_each(|to, most, &v| {
                    if v >= INSIDE {
                        contested += u64::from(*most >= INSIDE);
                        if v > *most {
                            (*to, *most) = (label, v);
                        }
                    }
                });
            }
        }
        if prompting.keeps_largest {
            let all: Vec<u16> = (0..self.tallies.len()).map(label).collect();
            keep_largest(&mut labels, &all, Connectivity::TwentySix, task)?;
        }
        let mut counts = vec![0u64; usize::from(labels.iter().copied().max().unwrap_or(0)) + 1];
        labels.iter().for_each(|&l| counts[usize::from(l)] += 1);
        let voxel = volume.grid.voxel_volume_mm3();
        let found = prompting
            .prompts
            .iter()
            .zip(&self.tallies)
            .enumerate()
            .map(|(p, (prompt, tally))| {
                let voxels = if prompting.asking == Asking::Phrases || self.names.is_empty() {
                    counts.get(usize::from(label(p))).copied().unwrap_or(0)
                } else {
                    let own = self.names.iter().enumerate().filter(|(_, name)| is_numbered(name, prompt));
                    own.map(|(n, _)| counts.get(n + 1).copied().unwrap_or(0)).sum()
                };
                Found {
                    prompt: prompt.clone(),
                    label: label(p),
                    is_found: tally.slices > 0 && voxels > 0,
                    probability: tally.probability,
                    score: if tally.score.is_finite() { tally.score } else { 0.0 },
                    slices: tally.slices,
                    voxels,
                    volume_mm3: voxels as f64 * voxel,
                }
            })
            .collect();
        Ok((labels, found, contested))
    }
}

/// The number of a prompt.
pub fn label(prompt: usize) -> u16 {
    u16::try_from(prompt + 1).unwrap_or(u16::MAX)
}

/// Whether a name is a prompt's with a number after it.
fn is_numbered(name: &str, prompt: &str) -> bool {
    let number = name.strip_prefix(prompt).map(str::trim);
    number.is_some_and(|n| n.is_empty() || n.bytes().all(|b| b.is_ascii_digit()))
}

/// What two of three neighbours say; beyond the ends nothing was found.
fn agreed(found: &[bool]) -> Vec<bool> {
    let at = |n: Option<usize>| n.and_then(|n| found.get(n)).copied().unwrap_or(false);
    (0..found.len())
        .map(|n| [at(n.checked_sub(1)), at(Some(n)), at(Some(n + 1))].iter().filter(|f| **f).count() >= 2)
        .collect()
}

/// 1 2 1 along each axis; beyond the border the border goes on. Rounded once, so that the order of axes does not matter.
fn smooth(a: &Array3<u8>) -> Array3<u8> {
    let mut sums = a.mapv(u16::from); // at most 255 · 4³
    for axis in 0..3 {
        for mut lane in sums.lanes_mut(Axis(axis)) {
            let last = lane.len().saturating_sub(1);
            let mut before = lane.first().copied().unwrap_or(0);
            for n in 0..lane.len() {
                let (here, after) = (lane[n], lane[(n + 1).min(last)]);
                lane[n] = before + 2 * here + after;
                before = here;
            }
        }
    }
    sums.mapv(|v| ((v + 32) >> 6) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_slices_are_dropped_and_single_gaps_filled() {
        let found = [true, false, true, true, false, true, false, false, true];
        let kept = [false, true, true, true, true, false, false, false, false];
        assert_eq!(agreed(&found), kept);
    }

    #[test]
    fn smoothing_keeps_what_is_even_and_drops_single_voxels() {
        let flat = Array3::from_elem((4, 3, 1), 200u8);
        assert!(smooth(&flat).iter().all(|&v| v == 200));
        let mut speck = Array3::zeros((5, 5, 5));
        speck[[2, 2, 2]] = 255;
        let speck = smooth(&speck);
        assert_eq!(speck[[2, 2, 2]], 32);
        assert_eq!(speck[[1, 2, 2]], speck[[2, 3, 2]]);
    }
}
