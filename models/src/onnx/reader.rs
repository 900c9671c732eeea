//! What an ONNX file says of itself: its ports, the node behind each output, its notes.
//!
//! Only what questions about a foreign model are answered from is read; [`crate::onnx_check`] comes before.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::wire::{Fields, Malformed, Value};
use crate::error::{Error, Result};

/// What a model says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The program that wrote it, or empty.
    pub producer: String,
    /// Key-value pairs (`metadata_props`).
    pub metadata: Vec<(String, String)>,
    /// What the caller gives, in the graph's order.
    pub inputs: Vec<Port>,
    /// What the caller gets, in the graph's order.
    pub outputs: Vec<Port>,
    /// The operator that makes each output, behind those that only move values; empty where nothing makes it.
    pub makers: Vec<String>,
}

/// An input or output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// `TensorProto.DataType`: 1 for 32-bit floats.
    pub kind: i64,
    /// Length of each axis, slowest first; `None` where it is free.
    pub dims: Vec<Option<usize>>,
}

impl Port {
    /// For messages, e.g. `image 1×3×?×?`.
    #[must_use]
    pub fn words(&self) -> String {
        let dims: Vec<String> =
            self.dims.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
        format!("{} {}", self.name, dims.join("×"))
    }
}

/// Operators that move values without changing them.
const MOVING: [&str; 10] = [
    "Identity",
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Cast",
    "Slice",
    "Concat",
    "Dropout",
];

/// Reads what a model says of itself.
///
/// # Errors
/// [`Error::Pack`] for bytes that are no ONNX model; `path` is for messages.
pub fn summary(path: &Path, bytes: &[u8]) -> Result<Summary> {
    model(bytes).map_err(|Malformed| {
        Error::pack(path, "bytes that are not a sound ONNX file", "an ONNX model", "Export the model again")
    })
}

fn model(bytes: &[u8]) -> Result<Summary, Malformed> {
    let mut summary = Summary::default();
    for field in Fields::of(bytes) {
        match field? {
            (2, Value::Bytes(name)) => summary.producer = text(name),
            (7, Value::Bytes(graph)) => read_graph(graph, &mut summary)?,
            (14, Value::Bytes(entry)) if summary.metadata.len() < 256 => {
                let (mut key, mut value) = (String::new(), String::new());
                for field in Fields::of(entry) {
                    match field? {
                        (1, Value::Bytes(b)) => key = text(b),
                        (2, Value::Bytes(b)) => value = text(b),
                        _ => {}
                    }
                }
                summary.metadata.push((key, value));
            }
            _ => {}
        }
    }
    Ok(summary)
}

fn read_graph(bytes: &[u8], summary: &mut Summary) -> Result<(), Malformed> {
    let mut constants = HashSet::new();
    // Operator and first input by output.
    let mut makers: HashMap<&[u8], (&[u8], &[u8])> = HashMap::new();
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(node)) => {
                let (mut input, mut op, mut outputs) = (None, &b""[..], Vec::new());
                for field in Fields::of(node) {
                    match field? {
                        (1, Value::Bytes(name)) => input = input.or(Some(name)),
                        (2, Value::Bytes(name)) => outputs.push(name),
                        (4, Value::Bytes(name)) => op = name,
                        _ => {}
                    }
                }
                makers.extend(outputs.into_iter().map(|o| (o, (op, input.unwrap_or_default()))));
            }
            (5, Value::Bytes(tensor)) => {
                for field in Fields::of(tensor) {
                    if let (8, Value::Bytes(name)) = field? {
                        constants.insert(text(name));
                    }
                }
            }
            (11, Value::Bytes(port)) => summary.inputs.push(read_port(port)?),
            (12, Value::Bytes(port)) => summary.outputs.push(read_port(port)?),
            _ => {}
        }
    }
    // Old files list their constants among the inputs.
    summary.inputs.retain(|p| !constants.contains(&p.name));
    summary.makers = summary.outputs.iter().map(|o| maker(&makers, o.name.as_bytes())).collect();
    Ok(())
}

fn maker(makers: &HashMap<&[u8], (&[u8], &[u8])>, output: &[u8]) -> String {
    let mut at = output;
    // A chain of movers is short; a circle, which no sound graph has, ends too.
    for _ in 0..64 {
        let Some((op, input)) = makers.get(at) else { return String::new() };
        let op = text(op);
        if !MOVING.contains(&op.as_str()) {
            return op;
        }
        at = input;
    }
    String::new()
}

fn read_port(bytes: &[u8]) -> Result<Port, Malformed> {
    let mut port = Port::default();
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(name)) => port.name = text(name),
            // TypeProto, its tensor, its shape.
            (2, Value::Bytes(kind)) => {
                for field in Fields::of(kind) {
                    let (1, Value::Bytes(tensor)) = field? else { continue };
                    for field in Fields::of(tensor) {
                        match field? {
                            (1, Value::Int(n)) => port.kind = n.cast_signed(),
                            (2, Value::Bytes(shape)) => port.dims = read_dims(shape)?,
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(port)
}

fn read_dims(bytes: &[u8]) -> Result<Vec<Option<usize>>, Malformed> {
    let mut dims = Vec::new();
    for field in Fields::of(bytes) {
        let (1, Value::Bytes(dim)) = field? else { continue };
        let mut size = None;
        for field in Fields::of(dim) {
            if let (1, Value::Int(n)) = field? {
                size = usize::try_from(n.cast_signed()).ok().filter(|&n| n > 0);
            }
        }
        dims.push(size);
        if dims.len() > 16 {
            return Err(Malformed);
        }
    }
    Ok(dims)
}

/// Text of a file for people and comparisons; what is no UTF-8 is replaced, what is very long is cut.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 16)]).into_owned()
}
