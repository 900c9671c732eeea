//! SegFormer3D, a transformer for volumes (Perera, Navard, Yilmaz, 2024, arXiv:2404.10156): from trained weights to
//! an ONNX file.
//!
//! The network itself runs in `inference` like any other ONNX file; what is known here is which tensors a
//! configuration needs ([`expected_tensors`]), which exact algebra makes it cheap (`rewrite`) and how the layers
//! follow each other (`graph`).
//!
//! # Why the graph differs from the published code
//!
//! * Sizes travel as shapes, so volumes need not be cubes.
//! * What is linear is merged beforehand, in double precision: batch norms, the attention scale, the decoder's fuse
//!   convolution with its branches. The decoder's widest arrays then never exist.
//! * Where the tile size is known, depth-wise 3-D convolutions are sums of three 2-D ones, and the first patch embedding
//!   is a sum of one per input channel: ONNX Runtime has fast kernels for 2-D only.
//! * Attention is ONNX Runtime's fused operator, which never stores the score matrix.
//! * Trilinear resizing is done axis by axis as matrix products, which ONNX Runtime computes several times faster
//!   than its 5-D `Resize`.

mod config;
mod graph;
mod names;
mod rewrite;

pub use config::{AttentionScale, Config, OutputSize};
pub use names::{check, expected_tensors};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::onnx::{Model, Precision};

/// Name of the network's input: float32 `[N, C, D, H, W]`.
pub const INPUT: &str = "image";
/// Name of the output: logits, float32 `[N, K, D, H, W]` (or on the coarse grid, see [`OutputSize`]).
pub const OUTPUT: &str = "logits";

/// The network of `config` with the weights of `checkpoint` as an ONNX file.
///
/// Input [`INPUT`] and output [`OUTPUT`] have free batch and spatial sizes. Each side must be at least
/// [`Config::smallest_side`]; a side that is no multiple of the first stride comes back rounded up to one.
/// `metadata` becomes the file's `metadata_props`.
///
/// # Errors
/// [`crate::Error::Argument`] for a configuration that contradicts itself, [`crate::Error::Checkpoint`] listing every
/// tensor that is missing, superfluous, of another shape or not finite.
pub fn build_onnx(
    config: &Config,
    checkpoint: &Checkpoint,
    precision: Precision,
    metadata: &[(String, String)],
) -> Result<Vec<u8>> {
    config.validate()?;
    let weights = names::check(config, checkpoint)?;
    let graph = graph::build(config, &weights, precision);
    Ok(Model { graph, metadata: metadata.to_vec() }.encode())
}
