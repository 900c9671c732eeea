//! How arrays get through a network and back.
//!
//! This crate knows ONNX Runtime (and is the only one that does) and the numerics around a network: changing grids,
//! scaling intensities, cutting tiles and blending scores. It refuses to know any model by name, any file format and
//! any window. Numerics are f32 on data and f64 on geometry; arrays are `[k, j, i]` (or `[channel, k, j, i]`) in
//! standard layout, `i` fastest, as in `formats`.
//!
//! Start reading at [`net`] (what a network is to us) and [`resample`] (how arrays move between grids); [`runtime`]
//! says where the library comes from, [`engine`] and [`provider`] how it is set up.
//!
//! # Why ONNX Runtime is loaded at run time
//! The program starts, shows and converts images without it; a cluster or a laptop may bring its own build with the
//! provider it needs; and nothing is downloaded while building. The price is one more file to find, which
//! [`runtime::find`] explains when it fails.

// Array views are passed by value, as slices are.
#![allow(clippy::needless_pass_by_value)]

pub mod bicubic;
pub mod crop;
pub mod engine;
pub mod error;
pub mod gridded;
pub mod memory;
pub mod net;
pub mod noise;
pub mod normalise;
pub mod pad;
pub mod postprocess;
pub mod provider;
pub mod reorient;
pub mod resample;
pub mod resize;
pub mod runtime;
pub mod threads;
pub mod tiles;

pub use engine::{Engine, EngineOptions, Model};
pub use error::{Error, Result};
pub use gridded::Gridded;
pub use net::{FakeNet, Net, OnnxNet, Port};
pub use provider::{Provider, ProviderChoice, ProviderReport};
