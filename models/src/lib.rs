//! Which networks exist and what each one needs.

pub mod error;

pub use error::{Error, Result};
