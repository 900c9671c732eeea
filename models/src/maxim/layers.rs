//! The operations MAXIM is made of, as ONNX nodes.
//!
//! A picture at a level is *rows*: a matrix with one row per pixel (row-major over batch, height, width) and one column
//! per channel; or an *image* `[N, C, H, W]` where convolutions need one. Semantics: the official code's, as its own
//! operators define them (Flax, `jax.image.resize`).

use std::collections::{HashMap, HashSet};

use super::config::Config;
use crate::onnx::{Attribute, Builder};
use crate::weights::Weights;

/// Added to the variance in layer norms.
const EPSILON: f32 = 1e-6;
/// Slope of the leaky ReLU.
const SLOPE: f32 = 0.2;
/// Rows that share a bias added beside an activation: ONNX Runtime does that row by row, and short rows cost more than the
/// work on them.
const LONG: usize = 8;

/// A length known now or when the network runs (then the name of a one-entry shape).
#[derive(Clone)]
pub(super) enum Size {
    Known(usize),
    Value(String),
}

/// Rows at a level.
#[derive(Clone)]
pub struct Rows {
    /// Name of the value.
    pub name: String,
    /// Columns.
    pub channels: usize,
    /// Level of the U, `depth` at the bottom.
    pub level: usize,
}

/// A linear map on channels: `out[o] = Σ in[i] · matrix[i · outputs + o] + bias[o]`.
#[derive(Clone)]
pub struct Linear {
    /// Input × output, row-major.
    pub matrix: Vec<f64>,
    /// One per output.
    pub bias: Vec<f64>,
}

impl Linear {
    /// This map followed by `next`'s rows from `first` on, without `next`'s bias: what one part of a concatenation
    /// contributes.
    pub fn then_rows(&self, next: &Linear, first: usize) -> Linear {
        let (middle, outputs) = (self.bias.len(), next.bias.len());
        let part = &next.matrix[first * outputs..(first + middle) * outputs];
        let product = |rows: &[f64]| -> Vec<f64> {
            rows.chunks_exact(middle)
                .flat_map(|row| {
                    let mut out = vec![0.0; outputs];
                    for (a, b) in row.iter().zip(part.chunks_exact(outputs)) {
                        out.iter_mut().zip(b).for_each(|(o, b)| *o += a * b);
                    }
                    out
                })
                .collect()
        };
        Linear { matrix: product(&self.matrix), bias: product(&self.bias) }
    }

    /// Rows `first..first + count` of the matrix, without bias.
    pub fn rows(&self, first: usize, count: usize) -> Linear {
        let outputs = self.bias.len();
        let matrix = self.matrix[first * outputs..(first + count) * outputs].to_vec();
        Linear { matrix, bias: vec![0.0; outputs] }
    }
}

/// What is summed by [`Net::sum`].
pub enum Term {
    /// A product with rows of the same level.
    Same(Rows, Linear),
    /// A product with rows of another level, resized bilinearly.
    Resized(Rows, Linear),
    /// Rows as they are.
    Plain(Rows),
}

/// Which axis of the tiles is mixed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Pixels at the same place in all cells of a coarse grid: global.
    Grid,
    /// Pixels within a block: local.
    Block,
}

/// A graph being grown.
pub struct Net<'a> {
    /// Nodes and constants.
    pub b: Builder,
    /// The network's numbers.
    pub config: &'a Config,
    weights: &'a Weights<'a>,
    batch: Size,
    sizes: Vec<[Size; 2]>,
    shapes: HashMap<String, String>,
    /// Weights that are in the graph.
    stored: HashSet<String>,
}

impl<'a> Net<'a> {
    /// A graph begun by `b` with the sizes of all levels of `input` (`[N, C, H, W]`, as phase images where the
    /// configuration has them).
    pub fn new(mut b: Builder, config: &'a Config, weights: &'a Weights<'a>, input: &str) -> Self {
        b.scope("sizes");
        let mut dim = |axis: i64| {
            let ends = [("start", Attribute::Int(axis)), ("end", Attribute::Int(axis + 1))];
            Size::Value(b.node("Shape", &[input], &ends))
        };
        let batch = dim(0);
        let whole = match config.size {
            Some(size) => size.map(|n| Size::Known(n / config.unshuffle)),
            None => [dim(2), dim(3)],
        };
        let (shapes, stored) = (HashMap::new(), HashSet::new());
        let mut net = Self { b, config, weights, batch, sizes: vec![whole], shapes, stored };
        for level in 1..=config.depth {
            let [h, w] = net.sizes[level - 1].clone();
            let half = [net.divided(&h, 2), net.divided(&w, 2)];
            net.sizes.push(half);
        }
        net
    }

    /// Height and width at a level.
    pub(super) fn size(&self, level: usize) -> [Size; 2] {
        self.sizes[level].clone()
    }

    pub(super) fn divided(&mut self, size: &Size, by: usize) -> Size {
        match size {
            Size::Known(n) => Size::Known(n / by),
            Size::Value(v) => {
                let by = self.b.ints(&[by as i64]);
                Size::Value(self.b.node("Div", &[v, &by], &[]))
            }
        }
    }

    pub(super) fn product(&mut self, a: &Size, b: &Size) -> Size {
        if let (Size::Known(a), Size::Known(b)) = (a, b) {
            return Size::Known(a * b);
        }
        let [a, b] = [a, b].map(|s| match s {
            Size::Known(n) => self.b.ints(&[*n as i64]),
            Size::Value(v) => v.clone(),
        });
        Size::Value(self.b.node("Mul", &[&a, &b], &[]))
    }

    /// A shape; `None` stands for the length that follows from the others. Made once for each place it is used at.
    fn shape(&mut self, dims: &[Option<Size>]) -> String {
        let key: Vec<String> = dims
            .iter()
            .map(|d| match d {
                None => "-1".to_owned(),
                Some(Size::Known(n)) => n.to_string(),
                Some(Size::Value(v)) => v.clone(),
            })
            .collect();
        let key = key.join(",");
        if let Some(name) = self.shapes.get(&key) {
            return name.clone();
        }
        let number = |d: &Option<Size>| match d {
            None => Some(-1),
            Some(Size::Known(n)) => Some(*n as i64),
            Some(Size::Value(_)) => None,
        };
        let name = if let Some(all) = dims.iter().map(number).collect::<Option<Vec<i64>>>() {
            self.b.ints(&all)
        } else {
            let parts: Vec<String> = dims
                .iter()
                .map(|d| match (d, number(d)) {
                    (Some(Size::Value(v)), _) => v.clone(),
                    (_, n) => self.b.ints(&[n.unwrap_or(-1)]),
                })
                .collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            self.b.node("Concat", &parts, &[("axis", Attribute::Int(0))])
        };
        self.shapes.insert(key, name.clone());
        name
    }

    pub(super) fn reshaped(&mut self, value: &str, dims: &[Option<Size>]) -> String {
        let shape = self.shape(dims);
        self.b.node("Reshape", &[value, &shape], &[])
    }

    pub(super) fn transposed(&mut self, value: &str, perm: &[i64]) -> String {
        self.b.node("Transpose", &[value], &[("perm", Attribute::Ints(perm.to_vec()))])
    }

    /// Rows as an image `[N, C, H, W]`.
    pub fn image(&mut self, x: &Rows) -> String {
        let [h, w] = self.sizes[x.level].clone();
        let dims = [Some(self.batch.clone()), Some(h), Some(w), Some(Size::Known(x.channels))];
        let nhwc = self.reshaped(&x.name, &dims);
        self.transposed(&nhwc, &[0, 3, 1, 2])
    }

    /// An image as rows.
    pub fn rows(&mut self, image: &str, channels: usize, level: usize) -> Rows {
        let nhwc = self.transposed(image, &[0, 2, 3, 1]);
        let name = self.reshaped(&nhwc, &[None, Some(Size::Known(channels))]);
        Rows { name, channels, level }
    }

    pub(super) fn with(x: &Rows, name: String) -> Rows {
        Rows { name, ..x.clone() }
    }

    /// Kernel and bias of a dense layer or 1×1 convolution.
    pub fn linear(&self, path: &str, inputs: usize, outputs: usize, is_convolution: bool) -> Linear {
        let flat = [inputs, outputs];
        let spatial = [1, 1, inputs, outputs];
        let shape: &[usize] = if is_convolution { &spatial } else { &flat };
        Linear {
            matrix: self.weights.get(&format!("{path}/kernel"), shape),
            bias: self.weights.get(&format!("{path}/bias"), &[outputs]),
        }
    }

    /// A kernel, stored once however often it is used.
    pub(super) fn kernel(&mut self, name: &str, dims: &[usize], values: &[f64]) -> String {
        let name = format!("{name}/kernel");
        if self.stored.insert(name.clone()) { self.b.weight(&name, dims, values) } else { name }
    }

    /// The same of what is kept in single precision.
    pub(super) fn exact(&mut self, name: &str, dims: &[usize], values: &[f64]) -> String {
        if self.stored.insert(name.to_owned()) { self.b.exact(name, dims, values) } else { name.to_owned() }
    }

    pub(super) fn apply(&mut self, name: &str, x: &Rows, layer: &Linear, add: Option<&str>) -> Rows {
        let outputs = layer.bias.len();
        let matrix = self.kernel(name, &[x.channels, outputs], &layer.matrix);
        let bias = match add {
            Some(value) => value.to_owned(),
            None => self.exact(&format!("{name}/bias"), &[outputs], &layer.bias),
        };
        let name = self.b.node("Gemm", &[&x.name, &matrix, &bias], &[]);
        Rows { name, channels: outputs, level: x.level }
    }

    /// A dense layer.
    pub fn dense(&mut self, path: &str, x: &Rows, outputs: usize) -> Rows {
        let layer = self.linear(path, x.channels, outputs, false);
        self.apply(path, x, &layer, None)
    }

    /// A 1×1 convolution.
    pub fn pointwise(&mut self, path: &str, x: &Rows, outputs: usize) -> Rows {
        let layer = self.linear(path, x.channels, outputs, true);
        self.apply(path, x, &layer, None)
    }

    /// GELU (tanh form) of a product.
    fn activated(&mut self, name: &str, x: &Rows, layer: &Linear) -> Rows {
        let outputs = layer.bias.len();
        let matrix = self.kernel(name, &[x.channels, outputs], &layer.matrix);
        let tile = self.config.tile(x.level);
        let repeats = if (tile * tile).is_multiple_of(LONG) { LONG } else { 1 };
        let bias = self.exact(&format!("{name}/bias"), &[repeats * outputs], &layer.bias.repeat(repeats));
        let product = self.b.node("MatMul", &[&x.name, &matrix], &[]);
        let long = self.reshaped(&product, &[None, Some(Size::Known(repeats * outputs))]);
        let long = self.b.contributed("FastGelu", &[&long, &bias], &[]);
        let name = self.reshaped(&long, &[None, Some(Size::Known(outputs))]);
        Rows { name, channels: outputs, level: x.level }
    }

    /// GELU of a dense layer.
    pub fn dense_gelu(&mut self, path: &str, x: &Rows, outputs: usize) -> Rows {
        let layer = self.linear(path, x.channels, outputs, false);
        self.activated(path, x, &layer)
    }

    /// GELU of a dense layer to twice the channels, as its two halves.
    pub(super) fn halves(&mut self, path: &str, x: &Rows) -> [Rows; 2] {
        let c = x.channels;
        let both = self.linear(path, c, 2 * c, false);
        [("u", 0), ("v", c)].map(|(half, first)| {
            let matrix = both.matrix.chunks_exact(2 * c).flat_map(|row| &row[first..first + c]);
            let layer =
                Linear { matrix: matrix.copied().collect(), bias: both.bias[first..first + c].to_vec() };
            self.activated(&format!("{path}.{half}"), x, &layer)
        })
    }

    /// A dense layer on the concatenation of two halves, plus rows.
    fn joined(&mut self, path: &str, u: &Rows, v: &Rows, outputs: usize) -> Rows {
        let c = u.channels;
        let both = self.linear(path, 2 * c, outputs, false);
        let first = Linear { matrix: both.rows(0, c).matrix, bias: both.bias.clone() };
        let sum = self.apply(&format!("{path}.u"), u, &first, None);
        self.apply(&format!("{path}.v"), v, &both.rows(c, c), Some(&sum.name))
    }

    /// A layer norm over channels.
    pub fn norm(&mut self, path: &str, x: &Rows) -> Rows {
        let scale = self.weights.get(&format!("{path}/scale"), &[x.channels]);
        let bias = self.weights.get(&format!("{path}/bias"), &[x.channels]);
        let scale = self.exact(&format!("{path}/scale"), &[x.channels], &scale);
        let bias = self.exact(&format!("{path}/bias"), &[x.channels], &bias);
        let settings = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(EPSILON))];
        let name = self.b.node("LayerNormalization", &[&x.name, &scale, &bias], &settings);
        Self::with(x, name)
    }

    pub(super) fn plus(&mut self, a: &Rows, b: &Rows) -> Rows {
        let name = self.b.node("Add", &[&a.name, &b.name], &[]);
        Self::with(a, name)
    }

    pub(super) fn times(&mut self, a: &Rows, b: &Rows) -> Rows {
        let name = self.b.node("Mul", &[&a.name, &b.name], &[]);
        Self::with(a, name)
    }

    /// The sum of terms and a bias, at `level`.
    pub fn sum(&mut self, name: &str, terms: Vec<Term>, bias: &[f64], level: usize) -> Rows {
        let channels = bias.len();
        let mut bias = bias.to_vec();
        for term in &terms {
            if let Term::Same(_, l) | Term::Resized(_, l) = term {
                // The weights of a resize sum to one, so that a bias passes through it.
                bias.iter_mut().zip(&l.bias).for_each(|(b, l)| *b += l);
            }
        }
        let bias = self.b.exact(&format!("{name}/bias"), &[channels], &bias);
        let mut sum: Option<String> = None;
        for (n, term) in terms.into_iter().enumerate() {
            let name = format!("{name}.{n}");
            let (x, layer) = match term {
                Term::Plain(x) => (x, None),
                Term::Same(x, layer) => (x, Some(layer)),
                // Shrunk before, enlarged after the product: on the smaller side either way.
                Term::Resized(x, layer) if x.level < level => (self.resized(&x, level), Some(layer)),
                Term::Resized(x, layer) => {
                    let matrix = self.kernel(&name, &[x.channels, channels], &layer.matrix);
                    let product = self.b.node("MatMul", &[&x.name, &matrix], &[]);
                    let product = Rows { name: product, channels, level: x.level };
                    (self.resized(&product, level), None)
                }
            };
            let so_far = sum.as_deref().unwrap_or(&bias);
            sum = Some(match layer {
                Some(layer) => self.apply(&name, &x, &layer, Some(so_far)).name,
                None => self.b.node("Add", &[&x.name, so_far], &[]),
            });
        }
        Rows { name: sum.unwrap_or(bias), channels, level }
    }

    /// Bilinear resizing to another level, antialiased when shrinking, as `jax.image.resize`.
    fn resized(&mut self, x: &Rows, level: usize) -> Rows {
        if x.level == level {
            return x.clone();
        }
        let factor = if x.level > level {
            f64::from(1u32 << (x.level - level))
        } else {
            1.0 / f64::from(1u32 << (level - x.level))
        };
        let image = self.image(x);
        let scales = format!("scales[{factor}]");
        if !self.shapes.contains_key(&scales) {
            self.b.exact(&scales, &[4], &[1.0, 1.0, factor, factor]);
            self.shapes.insert(scales.clone(), scales.clone());
        }
        let is_shrinking = i64::from(factor < 1.0);
        let settings = [
            ("mode", Attribute::Text("linear")),
            ("coordinate_transformation_mode", Attribute::Text("half_pixel")),
            ("antialias", Attribute::Int(is_shrinking)),
            ("exclude_outside", Attribute::Int(is_shrinking)),
        ];
        let image = self.b.node("Resize", &[&image, "", &scales], &settings);
        self.rows(&image, x.channels, level)
    }

    /// A transposed 2×2 convolution of stride 2 followed by rows `first..` of a 1×1 one, as one product per corner:
    /// rows one level finer, without the last bias.
    pub fn enlarged(&mut self, path: &str, x: &Rows, middle: usize, next: &Linear, first: usize) -> Rows {
        let (c, outputs) = (x.channels, next.bias.len());
        let kernel = self.weights.get(&format!("{path}/kernel"), &[2, 2, c, middle]);
        let bias = self.weights.get(&format!("{path}/bias"), &[middle]);
        // Output (2i + a, 2j + b) takes kernel entry (1 − a, 1 − b).
        let corners: Vec<Linear> = (0..4)
            .map(|corner| {
                let entry = &kernel[(3 - corner) * c * middle..(4 - corner) * c * middle];
                Linear { matrix: entry.to_vec(), bias: bias.clone() }.then_rows(next, first)
            })
            .collect();
        let matrix = (0..c).flat_map(|i| {
            corners.iter().flat_map(move |l| l.matrix[i * outputs..(i + 1) * outputs].iter().copied())
        });
        let all = Linear {
            matrix: matrix.collect(),
            bias: corners.iter().flat_map(|l| l.bias.iter().copied()).collect(),
        };
        let wide = self.apply(path, x, &all, None);
        let [_, w] = self.sizes[x.level].clone();
        let dims = [None, Some(w), Some(Size::Known(2)), Some(Size::Known(2 * outputs))];
        let split = self.reshaped(&wide.name, &dims);
        let split = self.transposed(&split, &[0, 2, 1, 3]);
        let name = self.reshaped(&split, &[None, Some(Size::Known(outputs))]);
        Rows { name, channels: outputs, level: x.level - 1 }
    }

    /// The weights one input of a cross-gating block gives the other.
    fn gate(&mut self, path: &str, x: &Rows) -> Rows {
        let y = self.norm(&format!("{path}/LayerNorm_in"), x);
        let [u, v] = self.halves(&format!("{path}/in_project"), &y);
        let [u, v] = [(u, Mix::Grid, "Dense_0"), (v, Mix::Block, "Dense_1")].map(|(part, mix, dense)| {
            let part = self.tiled(&part, mix, false);
            let part = self.mixed(&format!("{path}/{dense}"), &part, mix, 0.0);
            self.tiled(&part, mix, true)
        });
        self.joined(&format!("{path}/out_project"), &u, &v, x.channels)
    }

    /// A cross-gating block of inputs that went through its first 1×1 convolutions.
    pub fn cross_gating(&mut self, path: &str, x: &Rows, y: &Rows) -> [Rows; 2] {
        let c = x.channels;
        let [(gx, wx), (gy, wy)] = [(x, "x"), (y, "y")].map(|(input, axis)| {
            let normed = self.norm(&format!("{path}/LayerNorm_{axis}"), input);
            let wide = self.dense_gelu(&format!("{path}/in_project_{axis}"), &normed, c);
            (self.gate(&format!("{path}/SplitHeadMultiAxisGating_{axis}"), &wide), wide)
        });
        let product = self.times(&wy, &gx);
        let out = self.dense(&format!("{path}/out_project_y"), &product, c);
        let y_out = self.plus(&out, y);
        let product = self.times(&wx, &gy);
        let out = self.dense(&format!("{path}/out_project_x"), &product, c);
        let out = self.plus(&out, &y_out);
        [self.plus(&out, x), y_out]
    }

    /// A convolution of an image with "same" padding and an activation-free output.
    pub fn convolution(&mut self, path: &str, image: &str, from: usize, to: usize, side: usize) -> String {
        let kernel = self.weights.get(&format!("{path}/kernel"), &[side, side, from, to]);
        let bias = self.weights.get(&format!("{path}/bias"), &[to]);
        let mut turned = vec![0.0; kernel.len()];
        let area = side * side;
        for (n, v) in kernel.iter().enumerate() {
            let (place, i, o) = (n / (from * to), n / to % from, n % to);
            turned[(o * from + i) * area + place] = *v;
        }
        let weight = self.b.weight(&format!("{path}/kernel"), &[to, from, side, side], &turned);
        let bias = self.b.exact(&format!("{path}/bias"), &[to], &bias);
        let step = if side == 4 { 2 } else { 1 };
        let pad = i64::from(side > 1);
        let settings = [
            ("kernel_shape", Attribute::Ints(vec![side as i64; 2])),
            ("strides", Attribute::Ints(vec![step; 2])),
            ("pads", Attribute::Ints(vec![pad; 4])),
        ];
        self.b.node("Conv", &[image, &weight, &bias], &settings)
    }

    /// One weight per channel from the whole picture, as an image `[N, C, 1, 1]`.
    fn channel_attention(&mut self, path: &str, image: &str, channels: usize) -> String {
        let mean = self.b.node("GlobalAveragePool", &[image], &[]);
        let few = self.convolution(&format!("{path}/Conv_0"), &mean, channels, channels / 4, 1);
        let few = self.b.node("Relu", &[&few], &[]);
        let all = self.convolution(&format!("{path}/Conv_1"), &few, channels / 4, channels, 1);
        self.b.node("Sigmoid", &[&all], &[])
    }

    /// The residual convolution block with channel attention.
    pub fn convolution_block(&mut self, path: &str, x: &Rows) -> Rows {
        let c = x.channels;
        let y = self.norm(&format!("{path}/LayerNorm"), x);
        let y = self.image(&y);
        let y = self.convolution(&format!("{path}/conv1"), &y, c, c, 3);
        let y = self.b.node("LeakyRelu", &[&y], &[("alpha", Attribute::Float(SLOPE))]);
        let y = self.convolution(&format!("{path}/conv2"), &y, c, c, 3);
        let weight = self.channel_attention(&format!("{path}/channel_attention"), &y, c);
        let y = self.b.node("Mul", &[&y, &weight], &[]);
        let y = self.rows(&y, c, x.level);
        self.plus(&y, x)
    }

    /// The residual dense block with channel attention, at the bottom.
    pub fn dense_block(&mut self, path: &str, x: &Rows) -> Rows {
        let c = x.channels;
        let y = self.norm(&format!("{path}/LayerNorm"), x);
        let y = self.dense_gelu(&format!("{path}/channel_mixing/Dense_0"), &y, c);
        let y = self.dense(&format!("{path}/channel_mixing/Dense_1"), &y, c);
        let y = self.image(&y);
        let weight = self.channel_attention(&format!("{path}/channel_attention"), &y, c);
        let y = self.b.node("Mul", &[&y, &weight], &[]);
        let y = self.rows(&y, c, x.level);
        self.plus(&y, x)
    }
}
