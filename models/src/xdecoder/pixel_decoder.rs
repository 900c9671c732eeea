//! The pixel decoder: a transformer over stride 32, then maps of doubling size, each with what the backbone has there.

use super::image::Image;
use super::rows::{int, ints};
use super::{GROUPS, PIXEL_DECODER};
use crate::onnx::{Attribute, TensorData};

impl Image<'_> {
    /// From the backbone's maps to [`Image::levels`] and the output `mask_features`.
    pub(super) fn pyramid(&mut self, maps: &[String]) {
        let (c, config) = (self.net.config.convs_dim, self.net.config);
        let path = PIXEL_DECODER;
        self.net.b.scope(path);
        let from = config.channels(3);
        let one = self.net.parameter(&format!("{path}.input_proj.weight"), &[c, from, 1, 1]);
        let flat = self.net.ints(&[c as i64, -1]);
        let one = self.net.turned(&one, "Reshape", &[&flat], &[]);
        let bias = self.net.parameter(&format!("{path}.input_proj.bias"), &[c]);
        let x = self.flat(&maps[3], from);
        let x = self.product(&one, &x, &bias);
        let x = self.transformer(&x);
        let y = self.convolution(&x, &format!("{path}.layer_4"), [c, c], 32, false);
        let y = self.group_norm(&y, &format!("{path}.layer_4.norm"), c);
        let mut y = self.net.node("Relu", &[&y]);
        self.levels = vec![y.clone()];
        for k in [3, 2, 1] {
            self.net.b.scope(format!("{path}.layer_{k}"));
            let (from, stride) = (config.channels(k - 1), 2 << k);
            let adapter = self.net.parameter(&format!("{path}.adapter_{k}.weight"), &[c, from, 1, 1]);
            let shape = self.net.ints(&[c as i64, from as i64]);
            let adapter = self.net.turned(&adapter, "Reshape", &[&shape], &[]);
            let finer = self.flat(&maps[k - 1], from);
            let finer = self.net.node("MatMul", &[&adapter, &finer]);
            let finer = self.as_map(&finer, stride);
            let finer = self.group_norm(&finer, &format!("{path}.adapter_{k}.norm"), c);
            let wide = self.doubled(&y);
            let sum = self.net.add(&finer, &wide);
            y = self.convolution(&sum, &format!("{path}.layer_{k}"), [c, c], stride, false);
            y = self.group_norm(&y, &format!("{path}.layer_{k}.norm"), c);
            y = self.net.node("Relu", &[&y]);
            if k > 1 {
                self.levels.push(y.clone());
            }
        }
        let path = format!("{path}.mask_features");
        self.net.b.scope(path.clone());
        let y = self.convolution(&y, &path, [c, config.mask_dim], 4, true);
        let first = self.net.ints(&[0]);
        self.net.b.named("Squeeze", &[&y, &first], &[], "mask_features");
    }

    /// Twice the sides; every pixel becomes four.
    fn doubled(&mut self, x: &str) -> String {
        let twice = self.net.b.constant("twice", &[4], || TensorData::F32(vec![1.0, 1.0, 2.0, 2.0]));
        let settings = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        self.net.b.node("Resize", &[x, "", &twice], &settings)
    }

    /// Mean and variance of each group, repeated for its channels; then one pass as a batch norm.
    fn group_norm(&mut self, x: &str, path: &str, c: usize) -> String {
        let net = &mut self.net;
        let groups = net.reshape(x, &[GROUPS as i64, -1]);
        let along = net.ints(&[1]);
        let kept = [int("keepdims", 1)];
        let mean = net.b.node("ReduceMean", &[&groups, &along], &kept);
        let away = net.node("Sub", &[&groups, &mean]);
        let squares = net.node("Mul", &[&away, &away]);
        let variance = net.b.node("ReduceMean", &[&squares, &along], &kept);
        let [mean, variance] = [mean, variance].map(|v| {
            let shape = net.ints(&[GROUPS as i64, (c / GROUPS) as i64]);
            let each = net.node("Expand", &[&v, &shape]);
            net.reshape(&each, &[c as i64])
        });
        let weight = net.parameter(&format!("{path}.weight"), &[c]);
        let bias = net.parameter(&format!("{path}.bias"), &[c]);
        let epsilon = [("epsilon", Attribute::Float(1e-5))];
        net.b.node("BatchNormalization", &[x, &weight, &bias, &mean, &variance], &epsilon)
    }

    /// 3×3, padding 1. `stride` is the map's; Winograd's tiles of four need one whose sides are multiples of four.
    fn convolution(
        &mut self,
        x: &str,
        path: &str,
        [from, to]: [usize; 2],
        stride: usize,
        has_bias: bool,
    ) -> String {
        let weight = self.net.parameter(&format!("{path}.weight"), &[to, from, 3, 3]);
        let bias = has_bias.then(|| self.net.parameter(&format!("{path}.bias"), &[to]));
        if from < super::winograd::CHANNELS || stride > 8 {
            let inputs: Vec<&str> = [x, &weight].into_iter().chain(bias.as_deref()).collect();
            return self.net.b.node("Conv", &inputs, &[ints("pads", &[1; 4])]);
        }
        let y = self.winograd(x, &weight, [from, to], stride);
        let Some(bias) = bias else { return y };
        let shape = self.net.ints(&[1, -1, 1, 1]);
        let bias = self.net.turned(&bias, "Reshape", &[&shape], &[]);
        self.net.add(&y, &bias)
    }

    /// Over stride 32; flat map in, map out, rows `(H W, C)` inside.
    fn transformer(&mut self, x: &str) -> String {
        let (c, heads) = (self.net.config.convs_dim, self.net.config.heads);
        let position = self.sine(32, c);
        let net = &mut self.net;
        let position = net.transpose(&position, &[1, 0]);
        let first = net.ints(&[0]);
        let z = net.node("Squeeze", &[x, &first]);
        let mut z = net.transpose(&z, &[1, 0]);
        for k in 0..net.config.encoder_layers {
            let path = format!("{PIXEL_DECODER}.transformer.encoder.layers.{k}");
            net.b.scope(path.clone());
            let attention = format!("{path}.self_attn");
            let placed = net.add(&z, &position);
            let q = net.projected(&placed, &attention, 0, c);
            let keys = net.projected(&placed, &attention, 1, c);
            let keys = net.heads_turned(&keys, c, heads);
            let values = net.projected(&z, &attention, 2, c);
            let values = net.heads(&values, c, heads);
            let y = net.looked(&q, [&keys, &values], &attention, [c, heads], None);
            let sum = net.add(&z, &y);
            z = net.norm(&sum, &format!("{path}.norm1"), c, 1e-5);
            let y = net.ffn(&z, &path, c);
            let sum = net.add(&z, &y);
            z = net.norm(&sum, &format!("{path}.norm2"), c, 1e-5);
        }
        let x = net.transpose(&z, &[1, 0]);
        let x = net.node("Unsqueeze", &[&x, &first]);
        self.as_map(&x, 32)
    }
}
