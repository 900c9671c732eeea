//! X-Decoder, a generalised decoder for pixels and language (Zou et al., CVPR 2023, arXiv:2212.11270): from trained
//! weights to ONNX files.
//!
//! The networks run in `inference` like any other ONNX file; what is known here is which tensors a configuration needs
//! ([`expected_tensors`]), how the layers follow each other, how text becomes numbers ([`tokens`]) and how the decoder's
//! answers become maps ([`postprocess`]). What is done with a pack is in [`crate::prompter`].
//!
//! # Six graphs
//! See [`Part`]. The image is one, its picture normalised ([`MEAN`], [`DEVIATION`]) and padded with zeros, right and
//! bottom, to multiples of [`MULTIPLE`]; all other sizes are free. What of the decoder depends on the image alone is on the
//! image's side, so that a further prompt costs little: keys and values of each layer, and the mask features resized to
//! each level's grid (the resize is linear, so resizing them once takes the place of resizing the masks of every query
//! after every layer). Grounding leaves out the queries that neither see nor are seen by the phrase.

mod backbone;
mod caption;
mod config;
mod decoder;
mod image;
mod memory;
mod pixel_decoder;
pub mod postprocess;
mod rows;
mod text;
pub mod tokens;
mod winograd;

pub use config::{Backbone, Config};
use memory::ports;
use rows::Rows;
pub use tokens::Tokenizer;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::onnx::{Graph, Model, Precision};
use crate::weights::{self, Weights};

/// Means of red, green and blue, of 0..=255, that become 0.
pub const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
/// Their standard deviations, which become 1.
pub const DEVIATION: [f32; 3] = [58.395, 57.12, 57.375];
/// Heights and widths are multiples of this.
pub const MULTIPLE: usize = 32;
/// Masks that come with a phrase, likeliest first.
pub const CANDIDATES: usize = 5;

const HEAD: &str = "sem_seg_head.predictor";
const LANGUAGE: &str = "sem_seg_head.predictor.lang_encoder.lang_encoder";
const PIXEL_DECODER: &str = "sem_seg_head.pixel_decoder";
/// Groups of the pixel decoder's norms.
const GROUPS: usize = 32;

/// One of the graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `ids` int64 `(n, length)` to `tokens` `(n, length, D)` and `sentences` `(n, D)`.
    Text,
    /// `image` `(1, C, H, W)` to `mask_features`, `coarse_l`, `keys_i`, `values_i` and `pooled` `(1, D)`.
    Image,
    /// `classes` `(K + 1, D)` and the image's to `logits` `(Q, K + 1)`, `masks` `(Q, H/4, W/4)`, `vectors` `(Q, D)`.
    Segment,
    /// `words` `(N, C)`, `sentence` `(1, D)` and the image's to `similarity` `(Q − 1)`, `best` int64 `(k)` and `masks`
    /// `(k, H/4, W/4)`.
    Ground,
    /// The image's to `seen_keys` and `seen_values`.
    Objects,
    /// `word`, `place`, `away_l`, past and seen keys and values, and the image's to `logits` and the word's own keys and
    /// values.
    Caption,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Image, Self::Segment, Self::Ground, Self::Objects, Self::Caption];

    /// A word, also the name of the file without its ending.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Segment => "segment",
            Self::Ground => "ground",
            Self::Objects => "objects",
            Self::Caption => "caption",
        }
    }

    fn graph(self, net: Rows<'_>) -> Graph {
        match self {
            Self::Text => text::build(net),
            Self::Image => image::build(net),
            Self::Segment => decoder::segment(net),
            Self::Ground => decoder::ground(net),
            Self::Objects => caption::objects(net),
            Self::Caption => caption::caption(net),
        }
    }
}

impl Config {
    /// Names of a part's inputs and outputs.
    #[must_use]
    pub fn port_names(&self, part: Part) -> (Vec<String>, Vec<String>) {
        let weights = Weights::listing();
        let graph = part.graph(Rows::new(part.name(), self, &weights, Precision::F32));
        let names = |ports: Vec<crate::onnx::Port>| ports.into_iter().map(|p| p.name).collect();
        (names(graph.inputs), names(graph.outputs))
    }
}

/// Name and shape of every tensor that the graphs read, under its official name.
#[must_use]
pub fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let weights = Weights::listing();
    for part in Part::ALL {
        part.graph(Rows::new(part.name(), config, &weights, Precision::F32));
    }
    weights.asked()
}

/// What is no part of the network when it runs: what training needs, and a mask that can be made again.
fn is_idle(name: &str) -> bool {
    let is_part = ["backbone", "sem_seg_head"].iter().any(|part| name.starts_with(part));
    !is_part || name.ends_with(".self_attn_mask")
}

/// Compares a checkpoint with a configuration.
///
/// # Errors
/// [`crate::Error::Argument`] for a configuration that contradicts itself, [`crate::Error::Checkpoint`] listing every
/// tensor that is missing, superfluous, of another shape or not finite.
pub fn check(config: &Config, checkpoint: &Checkpoint) -> Result<()> {
    config.validate()?;
    weights::check("X-Decoder", &expected_tensors(config), checkpoint, is_idle)
}

/// A graph of a checkpoint that [`check`] found good, as an ONNX file. `metadata` becomes its `metadata_props`.
#[must_use]
pub fn build_onnx(
    config: &Config,
    checkpoint: &Checkpoint,
    part: Part,
    precision: Precision,
    metadata: &[(String, String)],
) -> Vec<u8> {
    let graph = part.graph(Rows::new(part.name(), config, &Weights::of(checkpoint), precision));
    Model { graph, metadata: metadata.to_vec() }.encode()
}
