//! Which tensors a configuration needs, under their official names, and whether a checkpoint has them.

use std::collections::HashMap;

use super::config::{Config, STAGES};
use crate::checkpoint::{Checkpoint, NamedTensor};
use crate::error::{Error, Result};

/// Names listed in one message before it ends with a count.
const LISTED: usize = 20;

/// Tensors of a checked checkpoint by name.
pub struct Weights<'a>(HashMap<&'a str, &'a NamedTensor>);

impl Weights<'_> {
    /// Values of a tensor in double precision, for merging.
    ///
    /// [`check`] made sure of the names in [`expected_tensors`]; others give an empty vector.
    pub fn get(&self, name: &str) -> Vec<f64> {
        self.0.get(name).map(|t| t.data.iter().map(|&v| f64::from(v)).collect()).unwrap_or_default()
    }
}

/// Name and shape of every tensor, in the order of the official state dict.
#[must_use]
pub fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let mut list = List(Vec::new());
    for i in 0..STAGES {
        let channels = config.embed_dims[i];
        let from = if i == 0 { config.in_channels } else { config.embed_dims[i - 1] };
        let embed = format!("segformer_encoder.embed_{}", i + 1);
        let k = config.patch_kernel_size[i];
        list.layer(&format!("{embed}.patch_embeddings"), &[channels, from, k, k, k], true);
        list.norm(&format!("{embed}.norm"), channels);
    }
    for i in 0..STAGES {
        let channels = config.embed_dims[i];
        let hidden = channels * config.mlp_ratios[i];
        let r = config.sr_ratios[i];
        for b in 0..config.depths[i] {
            let block = format!("segformer_encoder.tf_block{}.{b}", i + 1);
            list.norm(&format!("{block}.norm1"), channels);
            list.layer(&format!("{block}.attention.query"), &[channels, channels], true);
            list.layer(&format!("{block}.attention.key_value"), &[2 * channels, channels], true);
            list.layer(&format!("{block}.attention.proj"), &[channels, channels], true);
            if r > 1 {
                list.layer(&format!("{block}.attention.sr"), &[channels, channels, r, r, r], true);
                list.norm(&format!("{block}.attention.sr_norm"), channels);
            }
            list.norm(&format!("{block}.norm2"), channels);
            list.layer(&format!("{block}.mlp.fc1"), &[hidden, channels], true);
            list.layer(&format!("{block}.mlp.dwconv.dwconv"), &[hidden, 1, 3, 3, 3], true);
            list.batch_norm(&format!("{block}.mlp.dwconv.bn"), hidden);
            list.layer(&format!("{block}.mlp.fc2"), &[channels, hidden], true);
        }
        list.norm(&format!("segformer_encoder.norm{}", i + 1), channels);
    }
    let width = config.decoder_head_embedding_dim;
    for i in (0..STAGES).rev() {
        let branch = format!("segformer_decoder.linear_c{}", i + 1);
        list.layer(&format!("{branch}.proj"), &[width, config.embed_dims[i]], true);
        list.norm(&format!("{branch}.bn"), width);
    }
    list.layer("segformer_decoder.linear_fuse.0", &[width, STAGES * width, 1, 1, 1], false);
    list.batch_norm("segformer_decoder.linear_fuse.1", width);
    list.layer("segformer_decoder.linear_pred", &[config.num_classes, width, 1, 1, 1], true);
    list.0
}

struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn layer(&mut self, name: &str, weight: &[usize], has_bias: bool) {
        self.0.push((format!("{name}.weight"), weight.to_vec()));
        if has_bias {
            self.0.push((format!("{name}.bias"), vec![weight[0]]));
        }
    }

    fn norm(&mut self, name: &str, channels: usize) {
        self.layer(name, &[channels], true);
    }

    fn batch_norm(&mut self, name: &str, channels: usize) {
        self.norm(name, channels);
        self.0.push((format!("{name}.running_mean"), vec![channels]));
        self.0.push((format!("{name}.running_var"), vec![channels]));
        self.0.push((format!("{name}.num_batches_tracked"), vec![]));
    }
}

/// Compares a checkpoint with what `config` needs. `num_batches_tracked` counters may be absent: they are not used.
///
/// # Errors
/// [`Error::Checkpoint`] listing every tensor that is missing, superfluous, of another shape or not finite.
pub fn check<'a>(config: &Config, checkpoint: &'a Checkpoint) -> Result<Weights<'a>> {
    let found: HashMap<&str, &NamedTensor> =
        checkpoint.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let expected = expected_tensors(config);
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    let mut unusable = Vec::new();
    for (name, shape) in &expected {
        match found.get(name.as_str()) {
            None if name.ends_with(".num_batches_tracked") => {}
            None => missing.push(name.clone()),
            Some(t) if t.shape != *shape => {
                misshapen.push(format!("{name} {:?} instead of {shape:?}", t.shape));
            }
            Some(t) if t.data.iter().any(|v| !v.is_finite()) => unusable.push(name.clone()),
            Some(t) if name.ends_with(".running_var") && t.data.iter().any(|&v| v < 0.0) => {
                unusable.push(name.clone());
            }
            Some(_) => {}
        }
    }
    let known: std::collections::HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let superfluous: Vec<String> = checkpoint
        .tensors
        .iter()
        .filter(|t| !known.contains(t.name.as_str()))
        .map(|t| format!("{} {:?}", t.name, t.shape))
        .collect();
    let complaints: Vec<String> = [
        ("missing", missing),
        ("of another shape", misshapen),
        ("superfluous", superfluous),
        ("with values that are not finite or not possible", unusable),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| {
        let rest = names.len().saturating_sub(LISTED);
        let shown = names[..names.len() - rest].join(", ");
        let tail = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("{} {what}: {shown}{tail}", names.len())
    })
    .collect();
    if complaints.is_empty() {
        return Ok(Weights(found));
    }
    Err(Error::checkpoint(
        &checkpoint.path,
        format!("tensors {}", complaints.join("; ")),
        format!("the {} tensors of the chosen SegFormer3D configuration", expected.len()),
        "Choose the configuration the weights were trained with, or other weights",
    ))
}
