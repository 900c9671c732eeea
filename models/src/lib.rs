//! Which networks exist and what each one needs.
//!
//! A model is a [`ModelPack`]: a manifest (`pack.toml`) with an ONNX file. Everything that differs between two
//! models of one [`Family`] is in the manifest, so adding a model adds no code. [`Catalog`] finds packs,
//! [`Pipeline`] runs a [`Case`] through one, [`import`] makes a pack from somebody's checkpoint. This crate knows
//! networks by name; it refuses to know windows, command lines and how arrays are computed (that is `inference`).
//!
//! Start reading at [`manifest`] (what a pack says), then [`segmenter`] and [`restorer`] (what is done with it); [`plain`]
//! is about networks that somebody else exported.

// Array views are passed by value, as slices are.
#![allow(clippy::needless_pass_by_value)]

pub mod bundled;
pub mod cases;
pub mod catalog;
pub mod checkpoint;
pub mod error;
pub mod family;
pub mod import;
pub mod manifest;
pub mod maxim;
pub mod mayor;
pub mod onnx;
pub mod onnx_check;
pub mod pack;
pub mod pipeline;
pub mod plain;
pub mod prompter;
pub mod restorer;
pub mod segformer3d;
pub mod segmenter;
mod weights;
pub mod xdecoder;

pub use catalog::Catalog;
pub use error::{Error, Result};
pub use family::{Case, Estimate, Family, Limits, Output, Restoring, Slices};
pub use manifest::Manifest;
pub use pack::ModelPack;
pub use pipeline::{Outcome, Pipeline, Provenance, Steps};
pub use prompter::Prompting;
