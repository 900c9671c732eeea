//! Descriptions that others put beside their networks, read where they suffice: nnU-Net (`nnunet`), MONAI bundles
//! (`monai`), bioimage.io (`bioimage`).
//!
//! They are somebody else's files: plain files of bounded length only, no links, nothing they name is opened, and what is
//! not understood is left out, so that it is asked for.

mod bioimage;
mod monai;
mod nnunet;
mod yaml;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::description::Description;
use crate::error::{Error, Result};
use crate::onnx::reader::Summary;

/// Longest description; the longest known, MONAI's with their change logs, have some 100 KB.
const LIMIT: u64 = 4 << 20;

/// What a description said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its files.
    pub files: Vec<PathBuf>,
    /// The facts.
    pub description: Description,
    /// What of it was not used, and why.
    pub remarks: Vec<String>,
}

/// Looks for a description beside a model.
///
/// # Errors
/// [`Error::Pack`] for files that are there and cannot be read.
pub fn beside(model: &Path, summary: &Summary) -> Result<Option<Found>> {
    let folder = match model.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    if let Some(found) = nnunet::find(folder, summary)? {
        return Ok(Some(found));
    }
    // Bundles keep models and configurations in folders beside each other.
    for base in [folder.to_owned(), folder.join("..")] {
        if let Some(found) = monai::find(&base.join("configs"))? {
            return Ok(Some(found));
        }
    }
    bioimage::find(folder, model)
}

/// A text file that is a plain file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Pack`].
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String> {
    let data = std::fs::symlink_metadata(path).map_err(formats::Error::io(path, "open"))?;
    if !data.is_file() || data.len() > limit {
        return Err(Error::pack(
            path,
            if data.is_file() { format!("{} bytes", data.len()) } else { "a link or folder".to_owned() },
            format!("a text file of at most {} MiB", limit >> 20),
            "Put the file itself there, or take it away to answer by hand",
        ));
    }
    let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
    String::from_utf8(bytes).map_err(|e| {
        Error::pack(
            path,
            format!("bytes that are not UTF-8 ({e})"),
            "text",
            "Take the file away to answer by hand",
        )
    })
}

/// A JSON file; none when it is not there.
fn json(path: &Path) -> Result<Option<Value>> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let text = read_text(path, LIMIT)?;
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|e| {
        Error::pack(
            path,
            format!("no JSON ({e})"),
            "a description of the model",
            "Take the file away to answer by hand",
        )
    })
}

/// Numbers of an array of exactly so many.
fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let all: Vec<f64> = value.as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
    all.try_into().ok()
}

/// Sizes of an array, positive.
fn sizes<const N: usize>(value: &Value) -> Option<[usize; N]> {
    numbers::<N>(value)
        .filter(|n| n.iter().all(|v| *v >= 1.0 && v.fract() == 0.0 && *v < 1e6))
        .map(|n| n.map(|v| v as usize))
}

/// Text of a key.
fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}
