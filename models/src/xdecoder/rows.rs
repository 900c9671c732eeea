//! Operations on rows `(rows, channels)`, which the text encoder, the pixel decoder's transformer and the decoder share.
//!
//! Parameters keep their official names and layouts; what an operator wants otherwise is made of them by nodes, which
//! ONNX Runtime folds when it loads the model.

use std::collections::{HashMap, HashSet};

use super::HEAD;
use super::config::Config;
use crate::onnx::{Attribute, Builder, Dim, Element, Graph, Port, Precision, TensorData};
use crate::weights::Weights;

/// A node's setting.
pub type Setting = (&'static str, Attribute);

pub fn int(name: &'static str, value: i64) -> Setting {
    (name, Attribute::Int(value))
}

pub fn ints(name: &'static str, values: &[i64]) -> Setting {
    (name, Attribute::Ints(values.to_vec()))
}

pub fn perm(order: &[i64]) -> [Setting; 1] {
    [ints("perm", order)]
}

/// A port of single precision.
pub fn port(name: impl Into<String>, dims: Vec<Dim>) -> Port {
    Port { name: name.into(), kind: Element::F32, dims }
}

pub fn fixed(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&n| Dim::Fixed(n)).collect()
}

/// A graph under construction with its weights.
pub struct Rows<'a> {
    pub b: Builder,
    pub config: &'a Config,
    weights: &'a Weights<'a>,
    used: HashSet<String>,
    prepared: HashMap<String, String>,
}

impl<'a> Rows<'a> {
    pub fn new(name: &str, config: &'a Config, weights: &'a Weights<'a>, precision: Precision) -> Self {
        Self {
            b: Builder::new(name, precision),
            config,
            weights,
            used: HashSet::new(),
            prepared: HashMap::new(),
        }
    }

    pub fn finish(self, inputs: Vec<Port>, outputs: Vec<Port>) -> Graph {
        Graph { inputs, outputs, ..self.b.finish() }
    }

    pub fn node(&mut self, op: &'static str, inputs: &[&str]) -> String {
        self.b.node(op, inputs, &[])
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        self.b.ints(values)
    }

    pub fn real(&mut self, value: f64) -> String {
        self.b.scalar(value)
    }

    /// A whole-number scalar.
    pub fn whole(&mut self, value: i64) -> String {
        self.b.constant(&format!("whole[{value}]"), &[], || TensorData::I64(vec![value]))
    }

    pub fn add(&mut self, x: &str, y: &str) -> String {
        self.node("Add", &[x, y])
    }

    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.node("Reshape", &[x, &shape])
    }

    pub fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.b.node("Transpose", &[x], &perm(order))
    }

    /// Shape parts, one-entry vectors or constants, in a row.
    pub fn concat(&mut self, parts: &[&str], axis: i64) -> String {
        self.b.node("Concat", parts, &[int("axis", axis)])
    }

    /// What `make` adds the first time a key is asked for.
    pub fn once(&mut self, key: String, make: impl FnOnce(&mut Self) -> String) -> String {
        if let Some(found) = self.prepared.get(&key) {
            return found.clone();
        }
        let made = make(self);
        self.prepared.insert(key, made.clone());
        made
    }

    /// A parameter under its official name.
    pub fn parameter(&mut self, path: &str, shape: &[usize]) -> String {
        if self.used.insert(path.to_owned()) {
            self.b.weight(path, shape, self.weights.stored(path, shape));
        }
        path.to_owned()
    }

    /// What an operator makes of a parameter, or of what was made of one; made once.
    pub fn turned(&mut self, value: &str, op: &'static str, inputs: &[&str], settings: &[Setting]) -> String {
        let key = format!("{op} {value} {} {settings:?}", inputs.join(" "));
        self.once(key, |net| net.b.node(op, &[&[value], inputs].concat(), settings))
    }

    /// A linear layer on rows; its weight is (out, in).
    pub fn linear(&mut self, x: &str, path: &str, from: usize, to: usize) -> String {
        let weight = self.parameter(&format!("{path}.weight"), &[to, from]);
        let bias = self.parameter(&format!("{path}.bias"), &[to]);
        self.b.node("Gemm", &[x, &weight, &bias], &[int("transB", 1)])
    }

    /// A product with a parameter of layout (in, out).
    pub fn matrix(&mut self, x: &str, path: &str, from: usize, to: usize) -> String {
        let weight = self.parameter(path, &[from, to]);
        self.node("MatMul", &[x, &weight])
    }

    /// Layer norm over the last axis.
    pub fn norm(&mut self, x: &str, path: &str, c: usize, epsilon: f32) -> String {
        let weight = self.parameter(&format!("{path}.weight"), &[c]);
        let bias = self.parameter(&format!("{path}.bias"), &[c]);
        self.norm_by(x, &weight, &bias, epsilon)
    }

    pub fn norm_by(&mut self, x: &str, weight: &str, bias: &str, epsilon: f32) -> String {
        let settings = [int("axis", -1), ("epsilon", Attribute::Float(epsilon))];
        self.b.node("LayerNormalization", &[x, weight, bias], &settings)
    }

    /// Rows `i c` to `(i + 1) c` of an attention's fused projection: 0 queries, 1 keys, 2 values.
    pub fn part(&mut self, path: &str, i: usize, c: usize) -> [String; 2] {
        let weight = self.parameter(&format!("{path}.in_proj_weight"), &[3 * c, c]);
        let bias = self.parameter(&format!("{path}.in_proj_bias"), &[3 * c]);
        let cut = [self.ints(&[(i * c) as i64]), self.ints(&[((i + 1) * c) as i64]), self.ints(&[0])];
        let cut = cut.each_ref().map(String::as_str);
        [self.turned(&weight, "Slice", &cut, &[]), self.turned(&bias, "Slice", &cut, &[])]
    }

    pub fn projected(&mut self, x: &str, path: &str, i: usize, c: usize) -> String {
        let [weight, bias] = self.part(path, i, c);
        self.b.node("Gemm", &[x, &weight, &bias], &[int("transB", 1)])
    }

    /// (R, C) to (heads, R, d).
    pub fn heads(&mut self, x: &str, c: usize, heads: usize) -> String {
        let apart = self.reshape(x, &[-1, heads as i64, (c / heads) as i64]);
        self.transpose(&apart, &[1, 0, 2])
    }

    /// (R, C) to (heads, d, R).
    pub fn heads_turned(&mut self, x: &str, c: usize, heads: usize) -> String {
        let apart = self.reshape(x, &[-1, heads as i64, (c / heads) as i64]);
        self.transpose(&apart, &[1, 2, 0])
    }

    /// Attention of projected queries (R, C) over keys (heads, d, S) and values (heads, S, d), joined again and through
    /// the output layer. Where `blocked`, bool and broadcast to (heads, R, S), nothing is seen.
    pub fn looked(
        &mut self,
        q: &str,
        [keys, values]: [&str; 2],
        path: &str,
        [c, heads]: [usize; 2],
        blocked: Option<&str>,
    ) -> String {
        let q = self.heads(q, c, heads);
        let scale = self.real(((c / heads) as f64).powf(-0.5));
        let q = self.node("Mul", &[&q, &scale]);
        let scores = self.node("MatMul", &[&q, keys]);
        let scores = self.hidden(scores, blocked);
        let weights = self.b.node("Softmax", &[&scores], &[int("axis", -1)]);
        let y = self.node("MatMul", &[&weights, values]);
        let y = self.transpose(&y, &[1, 0, 2]);
        let y = self.reshape(&y, &[-1, c as i64]);
        self.linear(&y, &format!("{path}.out_proj"), c, c)
    }

    /// Scores with minus infinity where blocked.
    pub fn hidden(&mut self, scores: String, blocked: Option<&str>) -> String {
        let Some(blocked) = blocked else { return scores };
        let never = self.real(f64::NEG_INFINITY);
        self.node("Where", &[blocked, &never, &scores])
    }

    pub fn ffn(&mut self, x: &str, path: &str, c: usize) -> String {
        let wide = self.linear(x, &format!("{path}.linear1"), c, self.config.ffn_dim);
        let wide = self.node("Relu", &[&wide]);
        self.linear(&wide, &format!("{path}.linear2"), self.config.ffn_dim, c)
    }

    /// Rows of length 1.
    pub fn unit(&mut self, x: &str) -> String {
        let last = self.ints(&[-1]);
        let length = self.b.node("ReduceL2", &[x, &last], &[int("keepdims", 1)]);
        let tiny = self.real(1e-7);
        let length = self.add(&length, &tiny);
        self.node("Div", &[x, &length])
    }

    /// What likenesses of text and image are multiplied with.
    pub fn scale(&mut self, most: Option<f64>) -> String {
        let scale = self.parameter(&format!("{HEAD}.lang_encoder.logit_scale"), &[]);
        let scale = self.turned(&scale, "Exp", &[], &[]);
        let Some(most) = most else { return scale };
        let most = self.real(most);
        self.node("Min", &[&scale, &most])
    }

    /// 0, 1, … up to a one-entry count, as whole numbers.
    pub fn index(&mut self, count: &str) -> String {
        let (first, zero, one) = (self.ints(&[0]), self.whole(0), self.whole(1));
        let count = self.node("Squeeze", &[count, &first]);
        self.node("Range", &[&zero, &count, &one])
    }
}
