//! A look at an ONNX file before the runtime sees it: weights must be inside the file.
//!
//! ONNX tensors may name other files (`external_data`), which has been used to read files outside the model's
//! folder (CVE-2024-27318, CVE-2025-51480). Packs vouch for one file by hash, so a tensor elsewhere is refused.
//! Only the protobuf structure is walked (field numbers: onnx.proto3); nothing is copied.

use std::path::Path;

use crate::error::{Error, Result};

/// Sub-graphs (of `If`, `Loop`) nest; sound files stay far below this.
const DEPTH_LIMIT: u32 = 64;

/// Refuses bytes that are not an ONNX model, or one whose tensors lie in other files.
///
/// # Errors
/// [`Error::Pack`]; `path` is for messages.
pub fn refuse_outside_data(path: &Path, bytes: &[u8]) -> Result<()> {
    let remedy = "Export the model with all weights inside the .onnx file";
    // The runtime tells its own format by these bytes, which a protobuf file might hold as well.
    if bytes.get(4..8) == Some(b"ORTM") {
        return Err(Error::pack(path, "a model in ONNX Runtime's own format", "an ONNX model", remedy));
    }
    match walk(bytes, Message::Model, 0) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::pack(path, "an ONNX file without a graph", "an ONNX model", remedy)),
        Err(Fault::Outside) => Err(Error::pack(
            path,
            "a tensor stored in another file",
            "all tensors inside the ONNX file",
            remedy,
        )),
        Err(Fault::Malformed) => {
            Err(Error::pack(path, "bytes that are not a sound ONNX file", "an ONNX model", remedy))
        }
    }
}

enum Fault {
    Outside,
    Malformed,
}

#[derive(Clone, Copy)]
enum Message {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Message {
    /// The kind of a length-delimited field, if it can lead to a tensor.
    fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            _ => return None,
        })
    }
}

/// Walks one message; returns whether a graph was seen in it.
fn walk(mut bytes: &[u8], kind: Message, depth: u32) -> Result<bool, Fault> {
    if depth > DEPTH_LIMIT {
        return Err(Fault::Malformed);
    }
    let mut has_graph = false;
    while !bytes.is_empty() {
        // Keys have 32 bits. Some parsers drop what is above, so a larger one could stand for any field.
        let key = u32::try_from(varint(&mut bytes)?).map_err(|_| Fault::Malformed)?;
        let field = key >> 3;
        match key & 7 {
            0 => {
                let value = varint(&mut bytes)?;
                if matches!(kind, Message::Tensor) && field == 14 && value != 0 {
                    return Err(Fault::Outside);
                }
            }
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).map_err(|_| Fault::Malformed)?;
                let content = take(&mut bytes, len)?;
                if matches!(kind, Message::Tensor) && field == 13 {
                    return Err(Fault::Outside);
                }
                if let Some(child) = kind.child(field) {
                    has_graph |= matches!(child, Message::Graph);
                    walk(content, child, depth + 1)?;
                }
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err(Fault::Malformed),
        }
    }
    Ok(has_graph)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], Fault> {
    let (head, tail) = bytes.split_at_checked(n).ok_or(Fault::Malformed)?;
    *bytes = tail;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [b, ..] = take(bytes, 1)? else { return Err(Fault::Malformed) };
        value |= u64::from(b & 0x7f) << shift;
        if b & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = match number {
            ..16 => vec![number << 3 | 2],
            _ => vec![0x80 | (number << 3 | 2), number >> 4],
        };
        out.push(u8::try_from(content.len()).unwrap());
        out.extend_from_slice(content);
        out
    }

    fn check(model: &[u8]) -> Result<()> {
        refuse_outside_data(Path::new("model.onnx"), model)
    }

    #[test]
    fn tensors_must_be_inside() {
        let inside = field(7, &field(5, &[8 << 3 | 2, 1, b'w']));
        check(&inside).unwrap();
        let by_location = field(7, &field(5, &[14 << 3, 1]));
        let by_entry = field(7, &field(5, &field(13, b"")));
        let in_constant = field(7, &field(1, &field(5, &field(5, &[14 << 3, 1]))));
        let in_branch = field(7, &field(1, &field(5, &field(6, &field(5, &[14 << 3, 1])))));
        let in_training = field(20, &field(2, &field(5, &[14 << 3, 1])));
        for model in [by_location, by_entry, in_constant, in_branch, in_training] {
            let message = check(&model).unwrap_err().to_string();
            assert!(message.contains("another file"), "{message}");
        }
    }

    #[test]
    fn keys_and_formats_that_parsers_read_differently_are_refused() {
        // Field 14 with a bit beyond the 32 that a key has: 14 << 3 | 1 << 32 as a varint.
        let hidden = [0xf0, 0x80, 0x80, 0x80, 0x10, 1];
        check(&field(7, &field(5, &hidden))).unwrap_err();
        // A graph whose content the runtime could take for the root of its own format.
        let inside = field(7, &[&[10, 8][..], b"ORTM", &[0; 4]].concat());
        assert_eq!(&inside[4..8], b"ORTM");
        assert!(check(&inside).unwrap_err().to_string().contains("own format"));
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [&b"not onnx at all"[..], b"", &[0xff; 40], &[7 << 3 | 2, 200]] {
            check(bad).unwrap_err();
        }
    }
}
