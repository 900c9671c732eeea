//! MAXIM, a multi-axis MLP for image restoration (Tu et al., CVPR 2022, arXiv:2201.02973): from trained weights to an
//! ONNX file.
//!
//! The network itself runs in `inference` like any other ONNX file; what is known here is which tensors a configuration
//! needs ([`expected_tensors`]) and how the layers follow each other (`layers`, `graph`).
//!
//! # Why the graph differs from the published code
//!
//! * Pixels are rows of a matrix and channels its columns (NHWC flattened): everything but the few convolutions is
//!   then a matrix product, and cutting into tiles moves whole runs of memory.
//! * What is linear is merged beforehand, in double precision: the 1×1 convolutions of the rescaling with those
//!   after them (a 1×1 convolution commutes with a resize whose weights sum to 1), the transposed convolutions with
//!   the 1×1 ones they feed, and every concatenation becomes a sum of products.
//! * Enlarged maps are multiplied before they are enlarged, shrunk ones afterwards: on the smaller side.
//! * Halves of a split are computed as two products, so that nothing is cut apart.

mod config;
mod graph;
mod layers;
mod multi_axis;

pub use config::Config;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::onnx::{Model, Precision};
use crate::weights;

/// Name of the network's input: float32 `[N, C, H, W]`, values 0..=1.
pub const INPUT: &str = "image";
/// Name of the output: float32 `[N, C, H, W]`, about 0..=1, neither clipped nor rounded.
pub const OUTPUT: &str = "restored";

/// Which results leave the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Outputs {
    /// The restored picture, [`OUTPUT`].
    #[default]
    Restored,
    /// The picture of every stage `s` and scale `k` as `stage{s}_out{k}`, `k` ascending in size: for comparison with the
    /// official code.
    All,
}

/// Name and shape of every tensor, under its official path without `opt/target/`: kernels are height × width × input ×
/// output, dense ones input × output.
#[must_use]
pub fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let weights = weights::Weights::listing();
    graph::build(config, &weights, Precision::F32, Outputs::All);
    weights.asked()
}

/// The network of `config` with the weights of `checkpoint` as an ONNX file. `metadata` becomes its `metadata_props`.
///
/// # Errors
/// [`crate::Error::Argument`] for a configuration that contradicts itself, [`crate::Error::Checkpoint`] listing every
/// tensor that is missing, superfluous, of another shape or not finite.
pub fn build_onnx(
    config: &Config,
    checkpoint: &Checkpoint,
    precision: Precision,
    outputs: Outputs,
    metadata: &[(String, String)],
) -> Result<Vec<u8>> {
    config.validate()?;
    weights::check("MAXIM", &expected_tensors(config), checkpoint, |_| false)?;
    let graph = graph::build(config, &weights::Weights::of(checkpoint), precision, outputs);
    Ok(Model { graph, metadata: metadata.to_vec() }.encode())
}
