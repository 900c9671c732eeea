//! The safetensors format: a JSON header and plain little-endian arrays
//! (<https://huggingface.co/docs/safetensors>).

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::{Checkpoint, NamedTensor};
use crate::error::{Error, Result};

/// Longest header read: about 40 000 tensors. Parsed it takes up to twelve times its length.
const HEADER_LIMIT: u64 = 4 << 20;

/// Reads a whole file.
///
/// # Errors
/// [`Error::Checkpoint`] when the header and the bytes disagree, or a tensor has an element type without a
/// single-precision meaning.
pub fn read(path: &Path) -> Result<Checkpoint> {
    let damaged = |e: &dyn std::fmt::Display| {
        Error::checkpoint(
            path,
            format!("a damaged safetensors file ({e})"),
            "a complete one",
            "Copy or download it again",
        )
    };
    let bytes = std::fs::read(path).map_err(|e| damaged(&e))?;
    let limit = |found: String| {
        Error::checkpoint(
            path,
            found,
            "the size of a network's weights",
            "Save only the weights, as float32 or half precision",
        )
    };
    let header_len = bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    if (HEADER_LIMIT..bytes.len() as u64).contains(&header_len) {
        return Err(limit(format!("a header of {header_len} bytes")));
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
    // Types of one byte become four: what comes out is bounded by what the file holds, as for PyTorch files.
    let out_len: usize =
        file.iter().map(|(_, t)| t.data().len() / (t.dtype().bitsize() / 8).max(1) * 4).sum();
    if out_len > bytes.len().saturating_mul(2).saturating_add(32 << 20) {
        return Err(limit(format!("integer weights that take {out_len} bytes in single precision")));
    }
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        let data = to_f32(view.dtype(), view.data()).ok_or_else(|| {
            Error::checkpoint(
                path,
                format!("tensor {name} of type {:?}", view.dtype()),
                "floating-point or integer tensors",
                "Convert the weights to float32",
            )
        })?;
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Checkpoint { path: path.to_owned(), tensors, notes: Vec::new() })
}

fn to_f32(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&b| value(b)).collect()
    }
    Some(match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
        Dtype::U8 | Dtype::BOOL => each(bytes, |[b]| f32::from(b)),
        _ => return None,
    })
}
