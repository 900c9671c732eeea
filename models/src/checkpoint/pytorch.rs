//! PyTorch's zip format: `<root>/data.pkl` describes tensors, `<root>/data/<key>` holds their bytes.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use half::{bf16, f16};

use super::pickle::{Element, Fault, Machine, TensorRef, Value};
use super::zip::Archive;
use super::{Checkpoint, NamedTensor};
use crate::error::{Error, Result};

/// Longest description read; a network of 16 000 tensors stays below.
const PICKLE_LIMIT: u64 = 8 << 20;
/// Dictionary entries that hold the weights of a training checkpoint, in order of preference.
const WRAPPERS: [&str; 6] = ["state_dict", "model_state_dict", "model", "module", "network", "net"];

/// Reads an archive of `len` bytes.
///
/// # Errors
/// [`Error::Checkpoint`] with one cause.
pub fn read(path: &Path, archive: Archive<File>, len: u64) -> Result<Checkpoint> {
    read_parts(path, archive, len).map_err(|fault| explain(path, fault))
}

/// What is said of a fault in such a file.
pub fn explain(path: &Path, fault: Fault) -> Error {
    match fault {
        Fault::Damaged(what) => Error::checkpoint(
            path,
            format!("a damaged PyTorch checkpoint: {what}"),
            "a complete file as torch.save writes it",
            "Copy or download it again",
        ),
        Fault::Asks(what) => Error::checkpoint(
            path,
            format!("this checkpoint asks to run `{what}`; refused"),
            "a file that only describes tensors",
            "Save only the weights: torch.save(model.state_dict(), …), and distrust files from unknown sources",
        ),
        Fault::Unsupported(what) => Error::checkpoint(
            path,
            what,
            "what torch.save writes for a state dict",
            "Save only the weights with torch.save(model.state_dict(), …), or convert them to .safetensors",
        ),
        Fault::Limit(what) => Error::checkpoint(
            path,
            what,
            "the size of a network's weights",
            "Save only the weights with torch.save(model.state_dict(), …)",
        ),
    }
}

fn read_parts(path: &Path, mut archive: Archive<File>, len: u64) -> Result<Checkpoint, Fault> {
    let root = {
        let mut roots = archive.names().filter_map(|n| n.strip_suffix("data.pkl"));
        match (roots.next(), roots.next()) {
            (Some(root), None) if root.is_empty() || root.ends_with('/') => root.to_owned(),
            _ => {
                return Err(Fault::Unsupported(
                    "a zip archive that is not a PyTorch checkpoint (no single data.pkl)".to_owned(),
                ));
            }
        }
    };
    if archive.names().any(|n| n.strip_prefix(&root).is_some_and(|n| n.starts_with("code/"))) {
        return Err(Fault::Unsupported("a TorchScript program instead of weights".to_owned()));
    }
    let mut unsound = Vec::new();
    let mut read = |archive: &mut Archive<File>, name: &str, limit| -> Result<Vec<u8>, Fault> {
        let (bytes, is_sound) = archive.read(name, limit)?;
        if !is_sound {
            unsound.push(name.to_owned());
        }
        Ok(bytes)
    };
    let order = format!("{root}byteorder");
    let is_big_endian = archive.size(&order).is_some() && read(&mut archive, &order, 16)? == b"big";
    let pickle = read(&mut archive, &format!("{root}data.pkl"), PICKLE_LIMIT)?;
    let (machine, value) = Machine::run(&pickle)?;
    let mut notes = Vec::new();
    let found = state_dict(&machine, value, &mut notes)?;

    // Conversion happens storage by storage, and what comes out is bounded by what the file holds.
    let mut budget = len.saturating_mul(2).saturating_add(32 << 20);
    let mut by_storage: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, (_, tensor)) in found.iter().enumerate() {
        let count = element_count(tensor)?;
        budget = (count as u64)
            .checked_mul(4)
            .and_then(|bytes| budget.checked_sub(bytes))
            .ok_or_else(|| Fault::Limit("tensors that are larger than the file could hold".to_owned()))?;
        by_storage.entry(tensor.key).or_default().push(i);
    }
    let mut data: Vec<Vec<f32>> = vec![Vec::new(); found.len()];
    for (key, users) in by_storage {
        let bytes = read(&mut archive, &format!("{root}data/{key}"), len)?;
        for i in users {
            data[i] = gather(found[i].1, &bytes, is_big_endian)?;
        }
    }
    if let Some(first) = unsound.first() {
        notes.push(format!(
            "{} of the file's parts do not match their checksum (first: {first}); it is damaged, or was written \
             without checksums",
            unsound.len()
        ));
    }
    let tensors = found
        .iter()
        .zip(data)
        .map(|((name, tensor), data)| NamedTensor {
            name: (*name).to_owned(),
            shape: tensor.shape.clone(),
            data,
        })
        .collect();
    Ok(Checkpoint { path: path.to_owned(), tensors, notes })
}

/// The dictionary of tensors inside whatever the training script saved.
fn state_dict<'m, 'a>(
    machine: &'m Machine<'a>,
    root: Value<'a>,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'a str, &'m TensorRef<'a>)>, Fault> {
    let no_dict =
        || Fault::Unsupported("a checkpoint that is not a dictionary of tensors by name".to_owned());
    let mut items = machine.dict(root).ok_or_else(no_dict)?;
    for _ in 0..3 {
        let holds_tensors = items.iter().any(|(_, v)| machine.tensor(*v).is_some());
        let inner = WRAPPERS.iter().find_map(|wrapper| {
            items
                .iter()
                .find(|(k, _)| matches!(k, Value::Str(s) if s == wrapper))
                .and_then(|(_, v)| machine.dict(*v))
                .map(|inner| (wrapper, inner))
        });
        match inner {
            Some((wrapper, inner)) if !holds_tensors => {
                notes.push(format!("The weights were taken from “{wrapper}”"));
                items = inner;
            }
            _ => break,
        }
    }
    let mut tensors = Vec::new();
    let mut skipped = 0;
    for (key, value) in items {
        match (key, machine.tensor(*value)) {
            (Value::Str(name), Some(tensor)) => tensors.push((*name, tensor)),
            _ => skipped += 1,
        }
    }
    if tensors.is_empty() {
        return Err(no_dict());
    }
    if skipped > 0 {
        notes.push(format!("{skipped} entries that are not tensors were ignored"));
    }
    Ok(tensors)
}

/// Number of elements, after checking that the view lies within its storage.
fn element_count(tensor: &TensorRef) -> Result<usize, Fault> {
    let overflow = || Fault::damaged("a tensor size overflows");
    let count = tensor.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).ok_or_else(overflow)?;
    if count == 0 {
        return Ok(0);
    }
    let last = tensor
        .shape
        .iter()
        .zip(&tensor.stride)
        .try_fold(tensor.offset, |at, (&size, &step)| at.checked_add((size - 1).checked_mul(step)?))
        .ok_or_else(overflow)?;
    if last >= tensor.storage_len || count > tensor.storage_len {
        return Err(Fault::damaged(format!(
            "a tensor of {count} elements reaches beyond its storage of {}",
            tensor.storage_len
        )));
    }
    Ok(count)
}

/// Copies a checked view out of its storage's bytes, in row-major order.
fn gather(tensor: &TensorRef, bytes: &[u8], is_big_endian: bool) -> Result<Vec<f32>, Fault> {
    let size = tensor.element.size();
    if tensor.storage_len.checked_mul(size).is_none_or(|needed| needed > bytes.len()) {
        return Err(Fault::damaged(format!(
            "a storage of {} bytes where {} elements of {size} bytes were promised",
            bytes.len(),
            tensor.storage_len
        )));
    }
    let count = element_count(tensor)?;
    let mut out = Vec::with_capacity(count);
    let mut at = vec![0usize; tensor.shape.len()];
    for _ in 0..count {
        let index = at.iter().zip(&tensor.stride).fold(tensor.offset, |index, (&i, &step)| index + i * step);
        out.push(element(tensor.element, &bytes[index * size..], is_big_endian));
        for axis in (0..at.len()).rev() {
            at[axis] += 1;
            if at[axis] < tensor.shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    Ok(out)
}

fn element(element: Element, bytes: &[u8], is_big_endian: bool) -> f32 {
    fn raw<const N: usize>(bytes: &[u8], is_big_endian: bool) -> [u8; N] {
        let mut raw = [0; N];
        raw.copy_from_slice(&bytes[..N]);
        if is_big_endian {
            raw.reverse();
        }
        raw
    }
    match element {
        Element::F64 => f64::from_le_bytes(raw(bytes, is_big_endian)) as f32,
        Element::F32 => f32::from_le_bytes(raw(bytes, is_big_endian)),
        Element::F16 => f16::from_le_bytes(raw(bytes, is_big_endian)).to_f32(),
        Element::Bf16 => bf16::from_le_bytes(raw(bytes, is_big_endian)).to_f32(),
        Element::I64 => i64::from_le_bytes(raw(bytes, is_big_endian)) as f32,
        Element::I32 => i32::from_le_bytes(raw(bytes, is_big_endian)) as f32,
        Element::I16 => i16::from_le_bytes(raw(bytes, is_big_endian)).into(),
        Element::I8 => i8::from_le_bytes(raw(bytes, is_big_endian)).into(),
        Element::U8 | Element::Bool => bytes[0].into(),
    }
}
