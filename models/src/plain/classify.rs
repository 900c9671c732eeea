//! Networks that answer with probabilities of classes, for a picture, each slice of a volume, or a whole volume.

use std::collections::BTreeMap;

use formats::{Grid, Task};
use inference::net::Net;
use ndarray::{Array4, Axis};
use serde::Serialize;

use super::adapt::{output_number, to_layout, unexpected};
use super::fit::Fitted;
use super::graph::{Graph, Values};
use crate::error::Result;
use crate::manifest::{Manifest, Output};

/// Probabilities of classes. The field names are keys of files and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classified {
    /// Names of the classes, in network order.
    pub classes: Vec<String>,
    /// Whether several may hold at once, so that probabilities do not sum to one.
    pub several: bool,
    /// One row for the image, or one per slice that the network saw.
    pub rows: Vec<ClassRow>,
    /// Facts about the making.
    #[serde(skip)]
    pub facts: BTreeMap<String, String>,
}

/// An answer of the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// The slice, where the network saw slices of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Probability of each class.
    pub probabilities: Vec<f32>,
}

/// A slice of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// The axis of the image it lies across: `i`, `j` or `k`.
    pub axis: char,
    /// Its number along that axis as stored, from 0.
    pub index: usize,
    /// Its centre, RAS+ millimetres.
    pub centre_ras: [f64; 3],
}

impl Slice {
    /// Plane `d` of a working grid, as a slice of the source grid; none of images that are one slice.
    pub(super) fn of(working: &Grid, source: &Grid, d: usize) -> Option<Self> {
        if working.size_ijk[2] < 2 {
            return None;
        }
        let [w, h, _] = working.size_ijk;
        let middle = [(w as f64 - 1.0) / 2.0, (h as f64 - 1.0) / 2.0];
        let at = |k: f64| working.world_from_voxel.apply([middle[0], middle[1], k]);
        let (here, next) = (at(d as f64), at(d as f64 + 1.0));
        let source_from_world = source.voxel_from_world()?;
        let (p, q) = (source_from_world.apply(here), source_from_world.apply(next));
        let moved = |a: usize| (q[a] - p[a]).abs();
        let axis = (0..3).max_by(|&a, &b| moved(a).total_cmp(&moved(b)))?;
        let last = source.size_ijk[axis].saturating_sub(1) as f64;
        Some(Self {
            axis: ['i', 'j', 'k'][axis],
            index: p[axis].round().clamp(0.0, last) as usize,
            centre_ras: here,
        })
    }
}

impl Classified {
    /// Mean probability of each class over the rows; empty without rows.
    #[must_use]
    pub fn mean(&self) -> Vec<f64> {
        let rows = self.rows.len() as f64;
        let sum = |c: usize| self.rows.iter().map(|r| f64::from(r.probabilities[c])).sum::<f64>();
        if self.rows.is_empty() {
            Vec::new()
        } else {
            (0..self.classes.len()).map(|c| sum(c) / rows).collect()
        }
    }

    /// The class with the largest mean probability, and that.
    #[must_use]
    pub fn best(&self) -> Option<(&str, f64)> {
        let mean = self.mean();
        let best = (0..mean.len()).rev().max_by(|&a, &b| mean[a].total_cmp(&mean[b]))?;
        Some((self.classes[best].as_str(), mean[best]))
    }
}

/// Runs the network on an image `[C, D, H, W]`: on each D where it sees slices, else on the whole.
pub(super) fn run(
    m: &Manifest,
    graph: &Graph,
    image: &Array4<f32>,
    net: &mut dyn Net,
    mut done: impl FnMut(usize, Vec<f32>),
    task: &Task,
) -> Result<()> {
    let name = net.inputs().first().map(|p| p.name.clone()).unwrap_or_default();
    let number = output_number(net, graph.output_name.as_deref());
    let (classes, several) = match &m.output {
        Output::Classes { names, several } => (names.len(), *several),
        _ => (0, false),
    };
    let pieces = if graph.is_planar() { image.dim().1 } else { 1 };
    for n in 0..pieces {
        task.at("Running the network", n as f32 / pieces as f32)?;
        let seen = if graph.is_planar() { image.slice(ndarray::s![.., n..=n, .., ..]) } else { image.view() };
        let fitted = Fitted::new(&seen, graph, m.tiles.patch);
        let given = to_layout(fitted.array.insert_axis(Axis(0)).view().into_dyn(), &graph.input)?;
        let answers = net.run(&[(&name, given.view())], task)?;
        let answer = answers.get(number).map(|a| a.iter().copied().collect::<Vec<f32>>()).unwrap_or_default();
        if answer.len() != classes {
            let shape = answers.get(number).map(|a| a.shape().to_vec());
            return Err(unexpected(
                format!("an output of shape {:?}", shape.unwrap_or_default()),
                format!("{classes} values, one per class"),
            )
            .into());
        }
        done(n, probabilities(answer, graph.values, several));
    }
    Ok(())
}

/// Scores of one answer as probabilities. What is no number counts as the least.
pub(super) fn probabilities(mut scores: Vec<f32>, values: Values, several: bool) -> Vec<f32> {
    if values != Values::Logits {
        scores.iter_mut().for_each(|p| *p = if p.is_finite() { p.clamp(0.0, 1.0) } else { 0.0 });
        return scores;
    }
    scores.iter_mut().for_each(|v| *v = if v.is_nan() { f32::MIN } else { v.clamp(f32::MIN, f32::MAX) });
    if several || scores.len() == 1 {
        return scores.iter().map(|&v| (1.0 / (1.0 + (-f64::from(v)).exp())) as f32).collect();
    }
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let parts: Vec<f64> = scores.iter().map(|&v| (f64::from(v) - f64::from(most)).exp()).collect();
    let sum: f64 = parts.iter().sum();
    parts.iter().map(|p| (p / sum) as f32).collect()
}
