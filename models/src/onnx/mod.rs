//! Writing ONNX models: the few messages of `onnx.proto3` a network needs, as plain structs, and their encoding.
//!
//! Nothing here knows a particular network. [`Builder`] grows a graph node by node, [`Model::encode`] gives the
//! bytes of the file. Message and field numbers: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>.

mod builder;
pub mod embed;
mod protobuf;
pub mod reader;
pub(crate) mod wire;

pub use builder::Builder;

use half::f16;
use protobuf::Message;

/// ONNX IR version 9, understood since ONNX Runtime 1.17.
pub const IR_VERSION: i64 = 9;
/// Operator set 20: the first with `Gelu`; understood since ONNX Runtime 1.17.
pub const OPSET: i64 = 20;

/// Operators that every ONNX Runtime has beyond the standard.
pub const CONTRIBUTED: &str = "com.microsoft";

/// How weights are stored. Computation is in single precision either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// Half the size; ONNX Runtime widens them once, when the model is loaded.
    F16,
}

/// A whole ONNX file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The computation.
    pub graph: Graph,
    /// Key-value pairs any ONNX tool shows (`metadata_props`).
    pub metadata: Vec<(String, String)>,
}

/// A computation: nodes in an order in which they can run.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// A name for people.
    pub name: String,
    /// The operations.
    pub nodes: Vec<Node>,
    /// Constants.
    pub initializers: Vec<Tensor>,
    /// What the caller gives.
    pub inputs: Vec<Port>,
    /// What the caller gets.
    pub outputs: Vec<Port>,
}

/// An array the caller gives or gets.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub kind: Element,
    /// Its sizes, slowest first.
    pub dims: Vec<Dim>,
}

/// What the elements of a [`Port`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Element {
    /// Single precision.
    #[default]
    F32,
    /// Whole numbers.
    I64,
    /// Truth values.
    Bool,
}

/// A size of a [`Port`].
#[derive(Clone, Debug)]
pub enum Dim {
    /// Always the same.
    Fixed(usize),
    /// Free; equal names mean equal sizes.
    Free(&'static str),
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Operator, e.g. `MatMul`.
    pub op: &'static str,
    /// Operator set: empty for the standard one, or [`CONTRIBUTED`].
    pub domain: &'static str,
    /// Unique name.
    pub name: String,
    /// Names of what it reads; empty for an omitted optional input.
    pub inputs: Vec<String>,
    /// Names of what it makes.
    pub outputs: Vec<String>,
    /// Settings.
    pub attributes: Vec<(&'static str, Attribute)>,
}

/// Value of a node's setting.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f32),
    /// A word.
    Text(&'static str),
}

/// A constant array.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its sizes, slowest first; empty for a scalar.
    pub dims: Vec<usize>,
    /// Its values in row-major order.
    pub data: TensorData,
}

/// Values of a [`Tensor`].
#[derive(Clone, Debug)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision.
    F16(Vec<f16>),
    /// Whole numbers, mostly shapes.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

impl Model {
    /// The bytes of the `.onnx` file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut model = Message::default();
        model.int(1, IR_VERSION);
        model.text(2, "Insula");
        model.text(3, env!("CARGO_PKG_VERSION"));
        model.message(7, &self.graph.encode());
        for (domain, version) in [("", OPSET), (CONTRIBUTED, 1)] {
            let mut opset = Message::default();
            opset.text(1, domain);
            opset.int(2, version);
            model.message(8, &opset);
        }
        for (key, value) in &self.metadata {
            let mut entry = Message::default();
            entry.text(1, key);
            entry.text(2, value);
            model.message(14, &entry);
        }
        model.into_bytes()
    }
}

impl Graph {
    fn encode(&self) -> Message {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph.message(1, &node.encode());
        }
        graph.text(2, &self.name);
        for tensor in &self.initializers {
            graph.message(5, &tensor.encode());
        }
        for port in &self.inputs {
            graph.message(11, &port.encode());
        }
        for port in &self.outputs {
            graph.message(12, &port.encode());
        }
        graph
    }
}

impl Port {
    fn encode(&self) -> Message {
        let mut shape = Message::default();
        for dim in &self.dims {
            let mut size = Message::default();
            match dim {
                Dim::Fixed(n) => size.int(1, *n as i64),
                Dim::Free(name) => size.text(2, name),
            }
            shape.message(1, &size);
        }
        let mut tensor = Message::default();
        let kind = match self.kind {
            Element::F32 => FLOAT,
            Element::I64 => INT64,
            Element::Bool => BOOL,
        };
        tensor.int(1, kind);
        tensor.message(2, &shape);
        let mut kind = Message::default();
        kind.message(1, &tensor);
        let mut port = Message::default();
        port.text(1, &self.name);
        port.message(2, &kind);
        port
    }
}

impl Node {
    fn encode(&self) -> Message {
        let mut node = Message::default();
        for input in &self.inputs {
            node.text(1, input);
        }
        for output in &self.outputs {
            node.text(2, output);
        }
        node.text(3, &self.name);
        node.text(4, self.op);
        node.text(7, self.domain);
        for (name, value) in &self.attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            match value {
                Attribute::Float(v) => {
                    attribute.float(2, *v);
                    attribute.int(20, 1);
                }
                Attribute::Int(v) => {
                    attribute.int(3, *v);
                    attribute.int(20, 2);
                }
                Attribute::Text(v) => {
                    attribute.text(4, v);
                    attribute.int(20, 3);
                }
                Attribute::Ints(v) => {
                    attribute.packed_ints(8, v);
                    attribute.int(20, 7);
                }
            }
            node.message(5, &attribute);
        }
        node
    }
}

/// `TensorProto.DataType`.
pub(crate) const FLOAT: i64 = 1;
const INT64: i64 = 7;
const BOOL: i64 = 9;
const FLOAT16: i64 = 10;

impl Tensor {
    fn encode(&self) -> Message {
        let mut tensor = Message::default();
        let dims: Vec<i64> = self.dims.iter().map(|&n| n as i64).collect();
        tensor.packed_ints(1, &dims);
        let (kind, raw): (i64, Vec<u8>) = match &self.data {
            TensorData::F32(v) => (FLOAT, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            TensorData::F16(v) => (FLOAT16, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            TensorData::I64(v) => (INT64, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            TensorData::Bool(v) => (BOOL, v.iter().map(|&x| u8::from(x)).collect()),
        };
        tensor.int(2, kind);
        tensor.text(8, &self.name);
        tensor.bytes(9, &raw);
        tensor
    }
}
