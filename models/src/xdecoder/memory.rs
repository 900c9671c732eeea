//! What the decoder reads of an image: keys and values of each of its layers, and the mask features resized to the grid of
//! each level, so that a further prompt neither projects nor resizes anything.

use super::HEAD;
use super::config::Config;
use super::image::Image;
use super::rows::{int, port};
use crate::onnx::{Attribute, Dim, Port, TensorData};

/// Names of the free sizes: places of a level, stride 32 first.
pub const AREAS: [&str; 3] = ["area_0", "area_1", "area_2"];

/// What the image's side hands to the decoder: `mask_features` `(M, h4, w4)` where asked, `coarse_l` `(M, h w)` per level l,
/// `keys_i` `(heads, d, h w)` and `values_i` `(heads, h w, d)` per layer i, which looks at level i mod 3.
pub fn ports(config: &Config, with_masks: bool) -> Vec<Port> {
    let (heads, d) = (Dim::Fixed(config.heads), Dim::Fixed(config.hidden_dim / config.heads));
    let masks = Dim::Fixed(config.mask_dim);
    let mut found = Vec::new();
    if with_masks {
        found.push(port("mask_features", vec![masks.clone(), Dim::Free("h4"), Dim::Free("w4")]));
    }
    for (level, area) in AREAS.iter().enumerate().take(config.levels()) {
        found.push(port(format!("coarse_{level}"), vec![masks.clone(), Dim::Free(area)]));
    }
    for i in 0..config.decoder_layers {
        let area = Dim::Free(AREAS[i % 3]);
        found.push(port(format!("keys_{i}"), vec![heads.clone(), d.clone(), area.clone()]));
        found.push(port(format!("values_{i}"), vec![heads.clone(), area, d.clone()]));
    }
    found
}

impl Image<'_> {
    /// The position embedding of the grid of a stride, `(c, H W)`: sines and cosines of the place along each axis, rows in
    /// the first half of the channels, columns in the second.
    pub(super) fn sine(&mut self, stride: usize, c: usize) -> String {
        let [h, w] = self.side(stride);
        self.net.once(format!("sine {stride} {c}"), |net| {
            let scope = net.b.scope(format!("sine.{stride}"));
            let half = c / 2;
            let rate = net.b.constant(&format!("sine.rate[{c}]"), &[half, 1], || {
                let rate =
                    |k: usize| std::f64::consts::TAU / 10000f64.powf((2 * (k / 2)) as f64 / half as f64);
                TensorData::F32((0..half).map(|k| rate(k) as f32).collect())
            });
            let even = net.b.constant(&format!("sine.even[{c}]"), &[half, 1], || {
                TensorData::Bool((0..half).map(|k| k % 2 == 0).collect())
            });
            let to_float = [int("to", crate::onnx::FLOAT)];
            let (first, second, third) = (net.ints(&[0]), net.ints(&[1]), net.ints(&[2]));
            let mut along = |n: &str| {
                let place = net.index(n);
                let place = net.b.node("Cast", &[&place], &to_float);
                let one = net.real(1.0);
                let place = net.add(&place, &one);
                let count = net.b.node("Cast", &[n], &to_float);
                let tiny = net.real(1e-6);
                let count = net.add(&count, &tiny);
                let place = net.node("Div", &[&place, &count]);
                let place = net.node("Unsqueeze", &[&place, &first]);
                let angle = net.node("Mul", &[&rate, &place]);
                let (sin, cos) = (net.node("Sin", &[&angle]), net.node("Cos", &[&angle]));
                net.node("Where", &[&even, &sin, &cos]) // (c / 2, n)
            };
            let (y, x) = (along(&h), along(&w));
            let channels = net.ints(&[half as i64]);
            let shape = net.concat(&[&channels, &h, &w], 0);
            let y = net.node("Unsqueeze", &[&y, &third]);
            let y = net.node("Expand", &[&y, &shape]);
            let x = net.node("Unsqueeze", &[&x, &second]);
            let x = net.node("Expand", &[&x, &shape]);
            let both = net.concat(&[&y, &x], 0);
            let found = net.reshape(&both, &[c as i64, -1]);
            net.b.scope(scope);
            found
        })
    }

    /// The antialiased bicubic resize from stride 4 to `ratio` times that as a matrix (out, in): Keys' kernel with
    /// a = −0.5, stretched by the ratio, its weights normalised over the pixels there are.
    fn shrink(&mut self, ratio: usize, axis: usize) -> String {
        let (n, out) = (self.side(4)[axis].clone(), self.side(4 * ratio)[axis].clone());
        let net = &mut self.net;
        let (first, second) = (net.ints(&[0]), net.ints(&[1]));
        let mut middle = |count: &str| {
            let place = net.index(count);
            let place = net.b.node("Cast", &[&place], &[int("to", crate::onnx::FLOAT)]);
            let half = net.real(0.5);
            net.add(&place, &half)
        };
        let (from, to) = (middle(&n), middle(&out));
        let from = net.node("Unsqueeze", &[&from, &first]);
        let by = net.real(ratio as f64);
        let from = net.node("Div", &[&from, &by]);
        let to = net.node("Unsqueeze", &[&to, &second]);
        let t = net.node("Sub", &[&from, &to]);
        let t = net.node("Abs", &[&t]);
        // ((((a t + b) t + c) t) + d): coefficients of falling powers, a times and a plus in turn.
        let mut horner = |steps: &[f64]| {
            let mut y: Option<String> = None;
            for &step in steps {
                let value = net.real(step);
                y = Some(match y {
                    None => value,
                    Some(y) => {
                        let scaled = net.node("Mul", &[&y, &t]);
                        net.add(&scaled, &value)
                    }
                });
            }
            y.unwrap_or_default()
        };
        let near = horner(&[1.5, -2.5, 0.0, 1.0]);
        let far = horner(&[-0.5, 2.5, -4.0, 2.0]);
        let (one, two, none) = (net.real(1.0), net.real(2.0), net.real(0.0));
        let is_far = net.node("Less", &[&t, &two]);
        let outer = net.node("Where", &[&is_far, &far, &none]);
        let is_near = net.node("Less", &[&t, &one]);
        let weight = net.node("Where", &[&is_near, &near, &outer]);
        let sum = net.b.node("ReduceSum", &[&weight, &second], &[int("keepdims", 1)]);
        net.node("Div", &[&weight, &sum])
    }

    /// Adds the outputs of [`ports`] but the mask features, which are there.
    pub(super) fn memory(&mut self) {
        let config = self.net.config;
        let (c, hidden, heads) = (config.convs_dim, config.hidden_dim, config.heads);
        let d = hidden / heads;
        for level in 0..config.levels() {
            self.net.b.scope(format!("memory.{level}"));
            let stride = 32 >> level;
            let map = self.levels[level].clone();
            let mut y = self.flat(&map, c);
            if c != hidden {
                let path = format!("{HEAD}.input_proj.{level}");
                let weight = self.net.parameter(&format!("{path}.weight"), &[hidden, c, 1, 1]);
                let shape = self.net.ints(&[hidden as i64, -1]);
                let weight = self.net.turned(&weight, "Reshape", &[&shape], &[]);
                let bias = self.net.parameter(&format!("{path}.bias"), &[hidden]);
                y = self.product(&weight, &y, &bias);
            }
            let position = self.sine(stride, hidden);
            let net = &mut self.net;
            let (from, to) = (net.ints(&[level as i64]), net.ints(&[level as i64 + 1]));
            let (first, second) = (net.ints(&[0]), net.ints(&[1]));
            let embed = net.parameter(&format!("{HEAD}.level_embed.weight"), &[3, hidden]);
            let embed = net.turned(&embed, "Slice", &[&from, &to, &first], &[]);
            let embed = net.turned(&embed, "Transpose", &[], &super::rows::perm(&[1, 0]));
            let y = net.node("Squeeze", &[&y, &first]);
            let values = net.add(&y, &embed);
            let keys = net.add(&values, &position);
            let turned = net.transpose(&values, &[1, 0]);
            for i in (level..config.decoder_layers).step_by(3) {
                let path = format!("{HEAD}.transformer_cross_attention_layers.{i}.multihead_attn");
                let [weight, bias] = net.part(&path, 1, hidden);
                let k = net.node("MatMul", &[&weight, &keys]);
                let bias = net.turned(&bias, "Unsqueeze", &[&second], &[]);
                let k = net.add(&k, &bias);
                let shape = net.ints(&[heads as i64, d as i64, -1]);
                net.b.named("Reshape", &[&k, &shape], &[], &format!("keys_{i}"));
                let v = net.projected(&turned, &path, 2, hidden);
                let v = net.reshape(&v, &[-1, heads as i64, d as i64]);
                let order: [(&'static str, Attribute); 1] = super::rows::perm(&[1, 0, 2]);
                net.b.named("Transpose", &[&v], &order, &format!("values_{i}"));
            }
            let ratio = 8 >> level;
            let (rows, columns) = (self.shrink(ratio, 0), self.shrink(ratio, 1));
            let net = &mut self.net;
            let small = net.node("MatMul", &[&rows, "mask_features"]);
            let columns = net.transpose(&columns, &[1, 0]);
            let small = net.node("MatMul", &[&small, &columns]);
            let shape = net.ints(&[config.mask_dim as i64, -1]);
            net.b.named("Reshape", &[&small, &shape], &[], &format!("coarse_{level}"));
        }
    }
}
