//! Growing a graph node by node, with names made up on the way.

use std::collections::HashMap;

use half::f16;

use super::{Attribute, Graph, Node, Precision, Tensor, TensorData};

/// A graph under construction. Methods return the name of the value they add.
pub struct Builder {
    graph: Graph,
    precision: Precision,
    scope: String,
    count: usize,
    constants: HashMap<Vec<i64>, String>,
}

impl Builder {
    /// An empty graph; `precision` is how [`Builder::weight`] stores values.
    #[must_use]
    pub fn new(name: &str, precision: Precision) -> Self {
        Self {
            graph: Graph { name: name.to_owned(), ..Graph::default() },
            precision,
            scope: String::new(),
            count: 0,
            constants: HashMap::new(),
        }
    }

    /// Sets the prefix of the names of nodes to come, so that profiles and viewers show where a node belongs. Returns the
    /// one before.
    pub fn scope(&mut self, scope: impl Into<String>) -> String {
        std::mem::replace(&mut self.scope, scope.into())
    }

    /// Adds a node with one output.
    pub fn node(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        self.count += 1;
        let name = format!("{}/{op}_{}", self.scope, self.count);
        self.graph.nodes.push(Node {
            op,
            domain: "",
            name: name.clone(),
            inputs: inputs.iter().map(|&s| s.to_owned()).collect(),
            outputs: vec![name.clone()],
            attributes: attributes.to_vec(),
        });
        name
    }

    /// Adds a node that cuts a value into equal parts along an axis.
    pub fn split(&mut self, value: &str, parts: usize, axis: i64) -> Vec<String> {
        let attributes = [("axis", Attribute::Int(axis)), ("num_outputs", Attribute::Int(parts as i64))];
        let name = self.node("Split", &[value], &attributes);
        let outputs: Vec<String> = (0..parts).map(|n| format!("{name}.{n}")).collect();
        if let Some(node) = self.graph.nodes.last_mut() {
            node.outputs.clone_from(&outputs);
        }
        outputs
    }

    /// Adds a node whose output has a name chosen by the caller.
    pub fn named(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        output: &str,
    ) {
        self.node(op, inputs, attributes);
        if let Some(node) = self.graph.nodes.last_mut() {
            node.outputs = vec![output.to_owned()];
        }
    }

    /// Adds a node with several outputs.
    pub fn nodes(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        count: usize,
    ) -> Vec<String> {
        let name = self.node(op, inputs, attributes);
        let names: Vec<String> = (0..count).map(|i| format!("{name}:{i}")).collect();
        if let Some(node) = self.graph.nodes.last_mut() {
            node.outputs.clone_from(&names);
        }
        names
    }

    /// Adds a node of ONNX Runtime's own operator set `com.microsoft`
    /// (<https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md>).
    pub fn contributed(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        let output = self.node(op, inputs, attributes);
        if let Some(node) = self.graph.nodes.last_mut() {
            node.domain = super::CONTRIBUTED;
        }
        output
    }

    /// Adds trained numbers, stored in the precision of this builder where that loses nothing but digits: tensors of
    /// one dimension (they are small) and tensors outside half precision's range stay in single precision.
    pub fn weight<T: Copy + Into<f64>>(&mut self, name: &str, dims: &[usize], values: &[T]) -> String {
        let largest = values.iter().fold(0.0f64, |m, &v| m.max(v.into().abs()));
        let fits = largest <= f64::from(f16::MAX) && largest >= 1e-3;
        if self.precision == Precision::F32 || dims.len() < 2 || !fits {
            return self.exact(name, dims, values);
        }
        let stored = format!("{name}.f16");
        self.add(&stored, dims, TensorData::F16(values.iter().map(|&v| f16::from_f64(v.into())).collect()));
        self.named("Cast", &[&stored], &[("to", Attribute::Int(super::FLOAT))], name);
        name.to_owned()
    }

    /// Adds numbers in single precision.
    pub fn exact<T: Copy + Into<f64>>(&mut self, name: &str, dims: &[usize], values: &[T]) -> String {
        self.add(name, dims, TensorData::F32(values.iter().map(|&v| v.into() as f32).collect()));
        name.to_owned()
    }

    /// A whole-number vector, stored once however often it is asked for.
    pub fn ints(&mut self, values: &[i64]) -> String {
        if let Some(name) = self.constants.get(values) {
            return name.clone();
        }
        let words: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("int[{}]", words.join(","));
        self.add(&name, &[values.len()], TensorData::I64(values.to_vec()));
        self.constants.insert(values.to_vec(), name.clone());
        name
    }

    /// An array of any kind under a name of its own, stored once however often it is asked for.
    pub fn constant(&mut self, name: &str, dims: &[usize], data: impl FnOnce() -> TensorData) -> String {
        if !self.graph.initializers.iter().any(|t| t.name == name) {
            self.add(name, dims, data());
        }
        name.to_owned()
    }

    /// A real scalar.
    pub fn scalar(&mut self, value: f64) -> String {
        self.constant(&format!("real[{value}]"), &[], || TensorData::F32(vec![value as f32]))
    }

    /// The finished graph, to which the caller adds ports.
    #[must_use]
    pub fn finish(self) -> Graph {
        self.graph
    }

    fn add(&mut self, name: &str, dims: &[usize], data: TensorData) {
        self.graph.initializers.push(Tensor { name: name.to_owned(), dims: dims.to_vec(), data });
    }
}
