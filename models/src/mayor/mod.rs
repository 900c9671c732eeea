//! MAYOR: lines of text in pictures, each as an outline.
//!
//! An implementation of the three ideas of Qin et al., *Mask is All You Need*, ACM Multimedia 2021 (arXiv:2109.03426): a
//! mask decoder of dense layers, masks learnt as whole instances, and anchors given to every line however long. Only the
//! abstract of the paper was read, so this is no reproduction, and its scores are not claimed.
//!
//! Three graphs do the arithmetic ([`build_onnx`]); what depends on values lies between them in Rust:
//!
//! ```text
//! backbone   picture              → P2..P5, objectness and box code of P2..P6
//!   glue     proposals
//! boxes      P2..P5, regions      → probabilities of text, box code
//!   glue     boxes, grown boxes
//! masks      P2..P5, regions      → masks 28 × 28
//!   glue     regions of pixels    → `contour`: outlines
//! ```
//!
//! `insula_authoring.mayor` holds the same in Python, as the definition: stored cases tie the two together. Axes: pictures are
//! `[H, W, 3]`, boxes `(x0, y0, x1, y1)` in pixels, y down.

pub mod boxes;
mod config;
pub mod contour;
mod detector;
mod family;
pub mod glue;
mod graph;
mod passes;
mod picture;

pub use boxes::Box4;
pub use config::{Config, Decoder};
pub use detector::{Answers, Detector};
pub use family::{Page, Prepared, Scored, TextFinder, TextFound, settings};
pub use glue::{Found, Settings};
pub use passes::{Line, Passes, TextSettings, find_lines};
pub use picture::{Slices, grey_picture, windows};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::onnx::{Dim, Model, Precision};
use crate::weights;

/// Parts of a pack of this family: files `backbone.onnx`, `boxes.onnx`, `masks.onnx`.
pub const PARTS: [&str; 3] = ["backbone", "boxes", "masks"];

/// Name and shape of every tensor, under the names of the state dict.
#[must_use]
pub fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let weights = weights::Weights::listing();
    for part in PARTS {
        graph::build(part, config, &weights, Precision::F32);
    }
    weights.asked()
}

/// Ports of a part, inputs and outputs: names, and sizes where they are fixed.
fn expected_ports(part: &str, config: &Config) -> [Vec<(String, Vec<Option<usize>>)>; 2] {
    let (inputs, outputs) = graph::ports(part, config);
    [inputs, outputs].map(|ports| {
        let sizes = |p: &crate::onnx::Port| {
            let size = |d: &Dim| if let Dim::Fixed(n) = d { Some(*n) } else { None };
            (p.name.clone(), p.dims.iter().map(size).collect())
        };
        ports.iter().map(sizes).collect()
    })
}

/// The three graphs with the weights of `checkpoint`, in the order of [`PARTS`]. Batch norms are folded into the convolutions in
/// double precision.
///
/// # Errors
/// [`crate::Error::Argument`] for a configuration out of range, [`crate::Error::Checkpoint`] for tensors that do not fit.
pub fn build_onnx(
    config: &Config,
    checkpoint: &Checkpoint,
    precision: Precision,
    metadata: &[(String, String)],
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    config.validate()?;
    weights::check("MAYOR", &expected_tensors(config), checkpoint, |_| false)?;
    let weights = weights::Weights::of(checkpoint);
    let made = |part: &'static str| {
        let graph = graph::build(part, config, &weights, precision);
        (part, Model { graph, metadata: metadata.to_vec() }.encode())
    };
    Ok(PARTS.into_iter().map(made).collect())
}
