//! NumPy archives: a zip of `.npy` arrays (NumPy Enhancement Proposal 1; format versions 1 to 3).
//!
//! Official MAXIM checkpoints are such archives. Their weights lie under `opt/target/`; everything else there
//! (counters, optimiser state) is left out, with a note. Object arrays, which are pickles, are refused.

use std::fs::File;
use std::path::Path;

use half::f16;

use super::pickle::Fault;
use super::zip::Archive;
use super::{Checkpoint, NamedTensor};
use crate::error::{Error, Result};

/// Where a training checkpoint keeps the network's weights.
const TARGET: &str = "opt/target/";
/// Longest array header read.
const HEADER_LIMIT: usize = 1 << 16;
/// Most dimensions of an array.
const RANK_LIMIT: usize = 16;

/// Whether an archive holds nothing but arrays.
pub fn is_npz<F: std::io::Read + std::io::Seek>(archive: &Archive<F>) -> bool {
    let mut names = archive.names().peekable();
    names.peek().is_some() && archive.names().all(|n| n.ends_with(".npy"))
}

/// Reads the arrays of an archive of `len` bytes.
///
/// # Errors
/// [`Error::Checkpoint`] with one cause.
pub fn read(path: &Path, archive: Archive<File>, len: u64) -> Result<Checkpoint> {
    read_parts(path, archive, len).map_err(|fault| {
        let (found, remedy) = match fault {
            Fault::Damaged(what) => (format!("a damaged archive: {what}"), "Copy or download it again"),
            Fault::Asks(what) | Fault::Unsupported(what) => {
                (what, "Save it with numpy.savez as plain arrays")
            }
            Fault::Limit(what) => (what, "Save only the weights"),
        };
        Error::checkpoint(path, found, "an archive of numeric arrays as numpy.savez writes it", remedy)
    })
}

fn read_parts(path: &Path, mut archive: Archive<File>, len: u64) -> Result<Checkpoint, Fault> {
    let mut names: Vec<String> = archive.names().map(str::to_owned).collect();
    names.sort_unstable();
    let is_training = names.iter().any(|n| n.starts_with(TARGET));
    let mut left_out = 0;
    let mut notes = Vec::new();
    let mut tensors = Vec::new();
    // What comes out is bounded by what the file holds, twice over for half precision, and some for compression.
    let mut budget = len.saturating_mul(3).saturating_add(32 << 20);
    for entry in names {
        let Some(name) = entry.strip_suffix(".npy") else { continue };
        let name = match name.strip_prefix(TARGET) {
            Some(rest) => rest,
            None if is_training => {
                left_out += 1;
                continue;
            }
            None => name,
        };
        let (bytes, is_sound) = archive.read(&entry, budget)?;
        if !is_sound {
            return Err(Fault::damaged(format!("{entry} does not match its checksum")));
        }
        let (shape, data) = array(&entry, &bytes)?;
        budget = budget
            .checked_sub(data.len() as u64 * 4)
            .ok_or_else(|| Fault::Limit("arrays that are larger than the file could hold".to_owned()))?;
        tensors.push(NamedTensor { name: name.to_owned(), shape, data });
    }
    if left_out > 0 {
        notes.push(format!("{left_out} arrays outside {TARGET} (training state) were left out"));
    }
    Ok(Checkpoint { path: path.to_owned(), tensors, notes })
}

/// Shape and values of one `.npy` file.
fn array(name: &str, bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), Fault> {
    let damaged = |what: &str| Fault::damaged(format!("{name}: {what}"));
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| damaged("not an array"))?;
    let (len, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err(damaged("an unknown array version")),
    };
    if len > HEADER_LIMIT {
        return Err(damaged("a header that is too long"));
    }
    let (header, data) = rest.split_at_checked(len).ok_or_else(|| damaged("the header is cut short"))?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("a header that is no text"))?;
    let field = |key: &str| {
        let quoted = format!("'{key}':");
        header.find(&quoted).map(|at| header[at + quoted.len()..].trim_start())
    };
    let descr = field("descr").and_then(|v| v.strip_prefix('\'')?.split('\'').next());
    let descr = descr.ok_or_else(|| Fault::Unsupported(format!("{name}: an array of records")))?;
    let is_fortran = field("fortran_order").is_some_and(|v| v.starts_with("True"));
    let dims = field("shape").and_then(|v| v.strip_prefix('(')?.split(')').next());
    let dims = dims.ok_or_else(|| damaged("a header without shape"))?;
    let shape = dims
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .map(|d| d.trim_end_matches('L').parse::<usize>().map_err(|_| damaged("a shape that is no number")))
        .collect::<Result<Vec<_>, _>>()?;
    if shape.len() > RANK_LIMIT {
        return Err(damaged("too many dimensions"));
    }
    let count = shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or_else(|| damaged("its size overflows"))?;
    let values = values(name, descr, data, count)?;
    Ok((shape.clone(), if is_fortran { row_major(&values, &shape) } else { values }))
}

fn values(name: &str, descr: &str, data: &[u8], count: usize) -> Result<Vec<f32>, Fault> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", ""));
    let is_big = order == ">";
    let element: usize = kind.get(1..).and_then(|n| n.parse().ok()).unwrap_or(0);
    let unknown = || Fault::Unsupported(format!("{name}: an array of type {descr}"));
    if !matches!(order, "<" | ">" | "|" | "=") || element == 0 || element > 8 {
        return Err(unknown());
    }
    if count.checked_mul(element) != Some(data.len()) {
        return Err(Fault::damaged(format!(
            "{name}: {} bytes for {count} values of {element} bytes",
            data.len()
        )));
    }
    macro_rules! read {
        ($t:ty, $to:expr) => {
            data.as_chunks::<{ size_of::<$t>() }>()
                .0
                .iter()
                .map(|b| $to(if is_big { <$t>::from_be_bytes(*b) } else { <$t>::from_le_bytes(*b) }))
                .collect()
        };
    }
    Ok(match kind {
        "f4" => read!(f32, |v: f32| v),
        "f8" => read!(f64, |v: f64| v as f32),
        "f2" => read!(f16, |v: f16| v.to_f32()),
        "i8" => read!(i64, |v: i64| v as f32),
        "i4" => read!(i32, |v: i32| v as f32),
        "u4" => read!(u32, |v: u32| v as f32),
        "i2" => read!(i16, f32::from),
        "u2" => read!(u16, f32::from),
        "i1" => read!(i8, f32::from),
        "u1" | "b1" => data.iter().map(|&b| f32::from(b)).collect(),
        _ => return Err(unknown()),
    })
}

/// Column-major values in row-major order.
fn row_major(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    let mut index = vec![0usize; shape.len()];
    for _ in 0..values.len() {
        let at = index.iter().zip(shape).rev().fold(0, |at, (i, n)| at * n + i);
        out.push(values.get(at).copied().unwrap_or(f32::NAN));
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn types_orders_and_shapes() {
        let f = [1.5f32, -2.0, 3.0, 4.0, 5.0, 6.0];
        let little: Vec<u8> = f.iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = f.iter().flat_map(|v| f64::from(*v).to_be_bytes()).collect();
        assert_eq!(array("a", &npy("<f4", false, "(2, 3)", &little)).unwrap(), (vec![2, 3], f.to_vec()));
        assert_eq!(array("a", &npy(">f8", false, "(6,)", &big)).unwrap(), (vec![6], f.to_vec()));
        let (shape, data) = array("a", &npy("<f4", true, "(2, 3)", &little)).unwrap();
        assert_eq!((shape, data), (vec![2, 3], vec![1.5, 3.0, 5.0, -2.0, 4.0, 6.0]));
        assert_eq!(array("a", &npy("<i8", false, "()", &7i64.to_le_bytes())).unwrap(), (vec![], vec![7.0]));
    }

    #[test]
    fn what_is_no_plain_array_is_refused() {
        for bytes in [
            npy("|O", false, "(1,)", &[0; 8]),
            npy("<c8", false, "(1,)", &[0; 8]),
            npy("<f4", false, "(3,)", &[0; 8]),
            npy("<f4", false, "(99999999999, 99999999999)", &[0; 8]),
            npy("<f4", false, "(-1,)", &[0; 8]),
            b"\x93NUMPY\x09".to_vec(),
            b"\x93NUMPY\x01\x00\xff\xff{".to_vec(),
        ] {
            assert!(array("a", &bytes).is_err());
        }
    }
}
