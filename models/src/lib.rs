//! Which networks exist and what each one needs.

pub mod checkpoint;
pub mod error;
pub mod onnx;
pub mod segformer3d;

pub use error::{Error, Result};
