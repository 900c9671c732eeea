//! A look at an ONNX file before the runtime sees it: nothing outside the file, and nothing without measure.
//!
//! * ONNX tensors may name other files (`external_data`), which has been used to read files outside the model's
//!   folder (CVE-2024-27318, CVE-2025-51480). Packs vouch for one file by hash, so a tensor elsewhere is refused; so are
//!   operators of ONNX Runtime that load other files or run other code, and operators of libraries that are not there.
//! * Functions may call functions, so that a small file stands for any number of nodes; and the size of an array that a
//!   node fills may be anything. Both are counted before the runtime spends time and memory on them.
//!
//! Only the protobuf structure is walked (field numbers: onnx.proto3); nothing large is copied.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::onnx::wire::{Fields, Malformed, Value, packed};

/// Sub-graphs (of `If`, `Loop`) nest; sound files stay far below this.
const DEPTH_LIMIT: u32 = 64;
/// Nodes, with those of sub-graphs, and those of functions as often as they are called. Large language models unrolled
/// have some 20,000.
const NODE_LIMIT: u64 = 200_000;
/// Longest file: what protobuf can hold.
const SIZE_LIMIT: usize = i32::MAX as usize;
/// Values of an array that a node makes from a constant shape.
const FILL_LIMIT: u128 = 1 << 31;

/// Operator sets that every ONNX Runtime has.
const DOMAINS: [&[u8]; 4] = [b"", b"ai.onnx", b"ai.onnx.ml", b"com.microsoft"];
/// Operators of `com.microsoft` that load files or run code from outside.
const REACHING: [&[u8]; 5] = [b"EPContext", b"PythonOp", b"PythonOpGrad", b"ATen", b"ATenGrad"];
/// Operators that fill an array of a size given as data.
const FILLING: [&[u8]; 3] = [b"ConstantOfShape", b"Expand", b"Tile"];

/// Refuses bytes that are not an ONNX model, or one that reaches outside its file or is without measure.
///
/// # Errors
/// [`Error::Pack`]; `path` is for messages.
pub fn refuse_outside_data(path: &Path, bytes: &[u8]) -> Result<()> {
    let remedy = "Export the model with all weights inside the .onnx file";
    let refuse = |found: &str, expected: &str, remedy: &str| Err(Error::pack(path, found, expected, remedy));
    if bytes.len() > SIZE_LIMIT {
        return refuse("more than 2 GiB", "an ONNX model of at most 2 GiB", "Store its weights in 16 bits");
    }
    // The runtime tells its own format by these bytes, which a protobuf file might hold as well.
    if bytes.get(4..8) == Some(b"ORTM") {
        return refuse("a model in ONNX Runtime's own format", "an ONNX model", remedy);
    }
    let fault = match Walk::default().model(bytes) {
        Ok(true) => return Ok(()),
        Ok(false) => return refuse("an ONNX file without a graph", "an ONNX model", remedy),
        Err(fault) => fault,
    };
    let plain = "Export the model with standard operators only";
    match fault {
        Fault::Outside => {
            refuse("a tensor stored in another file", "all tensors inside the ONNX file", remedy)
        }
        Fault::Malformed => refuse("bytes that are not a sound ONNX file", "an ONNX model", remedy),
        Fault::Domain(domain) => refuse(
            &format!("an operator of the set “{domain}”, which only a library from elsewhere could run"),
            "operators of ONNX and ONNX Runtime",
            plain,
        ),
        Fault::Reaching(op) => refuse(
            &format!("the operator {op}, which loads files or runs code from outside"),
            "operators that compute",
            plain,
        ),
        Fault::Nodes => refuse(
            &format!("more than {NODE_LIMIT} nodes, those of functions counted as often as they are called"),
            "a network of a size that can be run",
            "Export the model without unrolling it",
        ),
        Fault::Recursion => refuse("a function that calls itself", "functions that end", plain),
        Fault::Fill => refuse(
            "a node that fills an array of more than 2³¹ values",
            "arrays that fit into memory",
            "Do not use this file",
        ),
    }
}

enum Fault {
    Outside,
    Malformed,
    Domain(String),
    Reaching(String),
    Nodes,
    Recursion,
    Fill,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
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

/// A function's or operator's set and name.
type Name<'a> = (&'a [u8], &'a [u8]);

/// Nodes of the graph or of one function: how many, and which functions it calls how often.
#[derive(Default)]
struct Body<'a> {
    nodes: u64,
    calls: HashMap<Name<'a>, u64>,
}

/// What a walk through a model gathers.
#[derive(Default)]
struct Walk<'a> {
    /// The graphs of the model first, then one of each function.
    bodies: Vec<Body<'a>>,
    functions: HashMap<Name<'a>, usize>,
    /// Whole numbers by the name of the constant that holds them, of those few enough to be a shape.
    shapes: HashMap<&'a [u8], Vec<i64>>,
    /// Names of the shapes of filled arrays.
    filled: HashSet<&'a [u8]>,
}

impl<'a> Walk<'a> {
    /// Walks a whole model; returns whether it has a graph.
    fn model(mut self, bytes: &'a [u8]) -> Result<bool, Fault> {
        self.bodies.push(Body::default());
        let has_graph = self.walk(bytes, Message::Model, 0, 0)?;
        let own: HashSet<&[u8]> = self.functions.keys().map(|(domain, _)| *domain).collect();
        for (domain, op) in self.bodies.iter().flat_map(|b| b.calls.keys()) {
            if self.functions.contains_key(&(*domain, *op)) {
                continue;
            }
            let text = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(60)]).into_owned();
            if own.contains(domain) || !DOMAINS.contains(domain) {
                return Err(Fault::Domain(text(domain)));
            }
            if *domain == b"com.microsoft" && REACHING.contains(op) {
                return Err(Fault::Reaching(text(op)));
            }
        }
        let mut costs = vec![None; self.bodies.len()];
        self.cost(0, &mut costs, 0)?;
        let values = |shape: &Vec<i64>| {
            shape.iter().try_fold(1u128, |n, &v| n.checked_mul(u128::from(v.max(0).unsigned_abs())))
        };
        let is_large =
            |name: &&[u8]| self.shapes.get(*name).is_some_and(|s| values(s).is_none_or(|n| n > FILL_LIMIT));
        if self.filled.iter().any(is_large) { Err(Fault::Fill) } else { Ok(has_graph) }
    }

    /// Nodes of a body with those of the functions it calls.
    fn cost(&self, body: usize, costs: &mut Vec<Option<u64>>, depth: u32) -> Result<u64, Fault> {
        if depth > DEPTH_LIMIT {
            return Err(Fault::Recursion);
        }
        if let Some(known) = costs[body] {
            return Ok(known);
        }
        let mut nodes = self.bodies[body].nodes;
        for (name, &times) in &self.bodies[body].calls {
            if let Some(&function) = self.functions.get(name) {
                nodes = nodes.saturating_add(self.cost(function, costs, depth + 1)?.saturating_mul(times));
            }
        }
        costs[body] = Some(nodes);
        if nodes > NODE_LIMIT { Err(Fault::Nodes) } else { Ok(nodes) }
    }

    /// Walks one message, whose nodes belong to `body`; returns whether a graph was seen in it.
    fn walk(&mut self, bytes: &'a [u8], kind: Message, body: usize, depth: u32) -> Result<bool, Fault> {
        if depth > DEPTH_LIMIT {
            return Err(Fault::Malformed);
        }
        let mut body = body;
        match kind {
            Message::Function => {
                body = self.bodies.len();
                self.bodies.push(Body::default());
                self.functions.insert(function_name(bytes)?, body);
            }
            Message::Node => self.node(bytes, body)?,
            Message::Tensor => self.tensor(bytes)?,
            _ => {}
        }
        let mut has_graph = false;
        for field in Fields::of(bytes) {
            match field? {
                (14, Value::Int(1..)) if matches!(kind, Message::Tensor) => return Err(Fault::Outside),
                (13, Value::Bytes(_)) if matches!(kind, Message::Tensor) => return Err(Fault::Outside),
                (number, Value::Bytes(content)) => {
                    if let Some(child) = kind.child(number) {
                        has_graph |= matches!(child, Message::Graph);
                        self.walk(content, child, body, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(has_graph)
    }

    fn node(&mut self, bytes: &'a [u8], body: usize) -> Result<(), Fault> {
        let (mut inputs, mut output, mut op, mut domain) = (Vec::new(), None, &b""[..], &b""[..]);
        let mut value = None;
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(name)) if inputs.len() < 2 => inputs.push(name),
                (2, Value::Bytes(name)) => output = output.or(Some(name)),
                (4, Value::Bytes(name)) => op = name,
                (7, Value::Bytes(name)) => domain = name,
                (5, Value::Bytes(attribute)) if op == b"Constant" || value.is_none() => {
                    value = attribute_shape(attribute)?;
                }
                _ => {}
            }
        }
        let body = &mut self.bodies[body];
        body.nodes += 1;
        *body.calls.entry((domain, op)).or_default() += 1;
        if op == b"Constant"
            && let (Some(name), Some(shape)) = (output, value)
        {
            self.shapes.insert(name, shape);
        }
        if FILLING.contains(&op) {
            self.filled.extend(inputs.get(usize::from(op != b"ConstantOfShape")));
        }
        if body.nodes > NODE_LIMIT { Err(Fault::Nodes) } else { Ok(()) }
    }

    /// Notes the values of a tensor that may be a shape.
    fn tensor(&mut self, bytes: &'a [u8]) -> Result<(), Fault> {
        let name = Fields::of(bytes).filter_map(Result::ok).find_map(|f| match f {
            (8, Value::Bytes(name)) => Some(name),
            _ => None,
        });
        if let (Some(name), Some(shape)) = (name, tensor_shape(bytes)?) {
            self.shapes.insert(name, shape);
        }
        Ok(())
    }
}

/// `(domain, name)` of a function.
fn function_name(bytes: &[u8]) -> Result<Name<'_>, Malformed> {
    let (mut domain, mut name) = (&b""[..], &b""[..]);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(text)) => name = text,
            (10, Value::Bytes(text)) => domain = text,
            _ => {}
        }
    }
    Ok((domain, name))
}

/// The whole numbers of an attribute: of its tensor, or listed.
fn attribute_shape(bytes: &[u8]) -> Result<Option<Vec<i64>>, Malformed> {
    let mut listed = Vec::new();
    for field in Fields::of(bytes) {
        match field? {
            (5, Value::Bytes(tensor)) => return tensor_shape(tensor),
            (8, Value::Bytes(numbers)) if numbers.len() <= 160 => listed.extend(packed(numbers)?),
            (8, Value::Int(number)) if listed.len() < 16 => listed.push(number.cast_signed()),
            _ => {}
        }
    }
    Ok((!listed.is_empty()).then_some(listed))
}

/// The values of a small tensor of 64-bit whole numbers.
fn tensor_shape(bytes: &[u8]) -> Result<Option<Vec<i64>>, Malformed> {
    const INT64: u64 = 7;
    let (mut is_int, mut values) = (false, None);
    for field in Fields::of(bytes) {
        match field? {
            (2, Value::Int(kind)) => is_int = kind == INT64,
            (7, Value::Bytes(numbers)) if numbers.len() <= 160 => values = Some(packed(numbers)?),
            (9, Value::Bytes(raw)) if raw.len() <= 128 && !raw.is_empty() => {
                let number =
                    |c: &[u8]| c.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b)).cast_signed();
                values = Some(raw.chunks(8).map(number).collect());
            }
            _ => {}
        }
    }
    Ok(values.filter(|_| is_int))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut n: usize, out: &mut Vec<u8>) {
        while n > 127 {
            out.push((n & 127) as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
    }

    fn field(number: usize, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint(number << 3 | 2, &mut out);
        varint(content.len(), &mut out);
        out.extend_from_slice(content);
        out
    }

    /// A node of an operator and a set, with further fields.
    fn node(op: &str, domain: &str, rest: &[u8]) -> Vec<u8> {
        field(1, &[field(4, op.as_bytes()), field(7, domain.as_bytes()), rest.to_vec()].concat())
    }

    /// A function of a set, made of nodes (written as those of a graph).
    fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
        // Nodes are field 7 of functions and field 1 of graphs.
        let body = nodes.iter().flat_map(|n| field(7, n.split_at(n.len() - payload(n)).1));
        field(25, &[field(1, name.as_bytes()), field(10, b"own"), body.collect()].concat())
    }

    /// Length of the content of a field whose key is one byte.
    fn payload(field: &[u8]) -> usize {
        let head = field[1..].iter().position(|b| b & 128 == 0).unwrap() + 2;
        field.len() - head
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

    #[test]
    fn operators_from_elsewhere_are_refused_wherever_they_hide() {
        let standard =
            [node("Conv", "", b""), node("Gelu", "com.microsoft", b""), node("Scaler", "ai.onnx.ml", b"")];
        check(&field(7, &standard.concat())).unwrap();
        let says = |model: &[u8], word: &str| {
            let message = check(model).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        let custom = node("Evil", "my.custom.ops", b"");
        says(&field(7, &custom), "“my.custom.ops”");
        // In a branch of an If in a branch of an If: attribute 6 is a graph.
        let branch = |inner: &[u8]| node("If", "", &field(5, &field(6, inner)));
        says(&field(7, &branch(&branch(&custom))), "“my.custom.ops”");
        says(
            &[field(7, &node("f", "own", b"")), function("f", std::slice::from_ref(&custom))].concat(),
            "“my.custom.ops”",
        );
        says(&field(7, &node("f", "own", b"")), "“own”");
        says(&[field(7, &node("g", "own", b"")), function("f", &[])].concat(), "“own”");
        for op in ["EPContext", "PythonOp", "ATen"] {
            says(&field(7, &node(op, "com.microsoft", b"")), op);
        }
    }

    #[test]
    fn what_grows_without_measure_is_refused() {
        // Each function calls the next ten times: a kilobyte stands for a hundred million nodes.
        let mut model = field(7, &node("f0", "own", b""));
        for n in 0..8 {
            let call = node(&format!("f{}", n + 1), "own", b"");
            model.extend(function(&format!("f{n}"), &vec![call; 10]));
        }
        model.extend(function("f8", &[node("Relu", "", b"")]));
        assert!(model.len() < 4096);
        assert!(check(&model).unwrap_err().to_string().contains("200000 nodes"));
        let circle = [
            field(7, &node("a", "own", b"")),
            function("a", &[node("b", "own", b"")]),
            function("b", &[node("a", "own", b"")]),
        ];
        assert!(check(&circle.concat()).unwrap_err().to_string().contains("calls itself"));
        // Graphs inside graphs count as they are.
        let many = node("Relu", "", b"").repeat(NODE_LIMIT as usize + 1);
        let inside = field(7, &node("Loop", "", &field(5, &field(6, &many))));
        assert!(check(&inside).unwrap_err().to_string().contains("200000 nodes"));
        let mut deep = node("Relu", "", b"");
        for _ in 0..40 {
            deep = node("If", "", &field(5, &field(6, &deep)));
        }
        check(&field(7, &deep)).unwrap_err();
    }

    #[test]
    fn arrays_that_no_memory_holds_are_refused() {
        let shape = |n: i64| {
            let raw: Vec<u8> = [n, 1 << 20].iter().flat_map(|v| v.to_le_bytes()).collect();
            [vec![2 << 3, 7], field(8, b"s"), field(9, &raw)].concat()
        };
        let fill = |op: &str, inputs: &[&str]| {
            node(op, "", &inputs.iter().flat_map(|i| field(1, i.as_bytes())).collect::<Vec<_>>())
        };
        for (op, inputs) in [("ConstantOfShape", &["s"][..]), ("Expand", &["x", "s"]), ("Tile", &["x", "s"])]
        {
            let model = |n| field(7, &[fill(op, inputs), field(5, &shape(n))].concat());
            check(&model(1024)).unwrap();
            assert!(check(&model(1 << 20)).unwrap_err().to_string().contains("2³¹"), "{op}");
            // The same as a constant node.
            let constant =
                node("Constant", "", &[field(2, b"s"), field(5, &field(5, &shape(1 << 40)))].concat());
            check(&field(7, &[constant, fill(op, inputs)].concat())).unwrap_err();
        }
    }
}
