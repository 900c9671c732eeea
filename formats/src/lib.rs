//! What an image is, and how it gets on and off disk.
//!
//! This crate knows the nouns ([`Volume`], [`LabelMap`], [`Grid`], [`Affine`], [`Image`], [`Notice`], [`Task`]) and
//! their files. It refuses to know networks, windows and graphics cards. World coordinates are RAS+ millimetres
//! in f64, always; arrays are `[k, j, i]` in standard layout, the order of NIfTI files, of 3-D textures and of
//! z-y-x networks, so that no copy lies between them. LPS exists only inside the readers and writers of formats
//! that store it.
//!
//! Start reading at [`grid`] (geometry), then [`registry`] (how a format is found), then [`mod@volume`].

pub mod affine;
pub mod atomic;
mod block;
pub mod components;
pub mod deflate;
pub mod dicom;
pub mod error;
pub mod grid;
pub mod inflate;
pub mod label_files;
pub mod labels;
pub mod measure;
pub mod mesh;
pub mod metaimage;
pub mod mgh;
pub mod nifti;
pub mod notice;
pub mod nrrd;
pub mod raster;
pub mod registry;
pub mod source;
pub mod task;
pub mod volume;
pub mod voxels;

pub use affine::Affine;
pub use error::{Error, Result};
pub use grid::{AxisOrder, Grid};
pub use labels::{LabelEntry, LabelMap, LabelTable};
pub use notice::{Level, Notice};
pub use registry::{Content, FORMATS, Format, open, preview, save};
pub use task::{Cancel, Task};
pub use volume::{AffineSource, FrameAxis, Image, Meta, Volume};
pub use voxels::{ComplexPart, Scaling, Shared, Statistics, Voxels};
