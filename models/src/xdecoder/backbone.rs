//! The backbone: FocalNet, four stages at strides 4, 8, 16 and 32.
//!
//! Maps are `(1, C, H, W)` throughout, and a linear layer is its (out, in) matrix times the map as `(C, H W)`: no
//! transposes but round layer norms, which want their channels last. Folded into weights: the residual of a depthwise
//! convolution (1 at its centre), the scales of the residual branches, the divisor of focal modulation.

use super::config::Backbone;
use super::image::Image;
use super::rows::{int, ints};
use crate::onnx::TensorData;

impl Image<'_> {
    /// The normalised output of each stage.
    pub(super) fn backbone(&mut self) -> Vec<String> {
        let config = self.net.config;
        let pad = match config.backbone {
            Backbone::FocalDw => 3,
            Backbone::Focal => 2,
        };
        self.net.b.scope("backbone.patch_embed");
        let mut x =
            self.embed("image", "backbone.patch_embed", [config.in_channels, config.embed_dim], [7, 4, pad]);
        let mut maps = Vec::new();
        for (stage, &depth) in config.depths.iter().enumerate() {
            let c = config.channels(stage);
            for n in 0..depth {
                let path = format!("backbone.layers.{stage}.blocks.{n}");
                self.net.b.scope(path.clone());
                x = match config.backbone {
                    Backbone::FocalDw => self.block_dw(&x, &path, c, stage),
                    Backbone::Focal => self.block(&x, &path, c, stage),
                };
            }
            self.net.b.scope(format!("backbone.norm{stage}"));
            maps.push(self.norm_map(&x, &format!("backbone.norm{stage}"), c));
            if stage + 1 < config.depths.len() {
                let path = format!("backbone.layers.{stage}.downsample");
                self.net.b.scope(path.clone());
                x = self.embed(&x, &path, [c, 2 * c], [3, 2, 1]);
            }
        }
        maps
    }

    /// A convolution that shrinks, and its norm; side, stride and padding.
    fn embed(&mut self, x: &str, path: &str, [from, to]: [usize; 2], [k, stride, pad]: [usize; 3]) -> String {
        let weight = self.net.parameter(&format!("{path}.proj.weight"), &[to, from, k, k]);
        let bias = self.net.parameter(&format!("{path}.proj.bias"), &[to]);
        let settings = [
            ints("strides", &[stride as i64; 2]),
            ints("pads", &[pad as i64; 4]),
            ints("kernel_shape", &[k as i64; 2]),
        ];
        let x = self.net.b.node("Conv", &[x, &weight, &bias], &settings);
        self.norm_map(&x, &format!("{path}.norm"), to)
    }

    /// Layer norm over the channels of a map.
    fn norm_map(&mut self, x: &str, path: &str, c: usize) -> String {
        let rows = self.net.transpose(x, &[0, 2, 3, 1]);
        let rows = self.net.norm(&rows, path, c, 1e-5);
        self.net.transpose(&rows, &[0, 3, 1, 2])
    }

    fn depthwise(&mut self, x: &str, kernel: &str, bias: Option<&str>, c: usize, k: usize) -> String {
        let settings = [int("group", c as i64), ints("pads", &[(k / 2) as i64; 4])];
        match bias {
            Some(bias) => self.net.b.node("Conv", &[x, kernel, bias], &settings),
            None => self.net.b.node("Conv", &[x, kernel], &settings),
        }
    }

    /// A 3×3 depthwise convolution and what went in added.
    fn refined(&mut self, x: &str, path: &str, c: usize) -> String {
        let kernel = self.net.parameter(&format!("{path}.weight"), &[c, 1, 3, 3]);
        let centre = self.net.b.constant("centre[3]", &[1, 1, 3, 3], || {
            TensorData::F32((0..9).map(|n| if n == 4 { 1.0 } else { 0.0 }).collect())
        });
        let kernel = self.net.turned(&kernel, "Add", &[&centre], &[]);
        let bias = self.net.parameter(&format!("{path}.bias"), &[c]);
        self.depthwise(x, &kernel, Some(&bias), c, 3)
    }

    /// Focal modulation of a map, flat `(1, C, H W)` out.
    fn modulation(&mut self, x: &str, path: &str, c: usize, stage: usize, gamma: Option<&str>) -> String {
        let levels = self.net.config.focal_levels[stage];
        let stride = 4 << stage;
        let flat = self.flat(x, c);
        let y = self.linear_map(&flat, &format!("{path}.f"), c, 2 * c + levels + 1, None);
        let cut = self.net.ints(&[c as i64, c as i64, levels as i64 + 1]);
        let parts = self.net.b.nodes("Split", &[&y, &cut], &[int("axis", 1)], 3);
        let [q, context, gates] = [0, 1, 2].map(|n| parts[n].clone());
        let gates = self.as_map(&gates, stride);
        let count = levels + 1;
        let settings = [int("axis", 1), int("num_outputs", count as i64)];
        let gates = self.net.b.nodes("Split", &[&gates], &settings, count);
        let mut context = self.as_map(&context, stride);
        let mut gathered = String::new();
        for (level, gate) in gates[..levels].iter().enumerate() {
            let k = self.net.config.kernel(stage, level);
            let kernel = format!("{path}.focal_layers.{level}.0.weight");
            let kernel = self.net.parameter(&kernel, &[c, 1, k, k]);
            context = self.depthwise(&context, &kernel, None, c, k);
            context = self.net.node("Gelu", &[&context]);
            let term = self.net.node("Mul", &[&context, gate]);
            gathered = if level == 0 { term } else { self.net.add(&gathered, &term) };
        }
        let area = self.net.ints(&[2, 3]);
        let whole = self.net.b.node("ReduceMean", &[&context, &area], &[int("keepdims", 1)]);
        let whole = self.net.node("Gelu", &[&whole]);
        let whole = self.net.node("Mul", &[&whole, &gates[levels]]);
        let gathered = self.net.add(&gathered, &whole);
        let h = self.net.parameter(&format!("{path}.h.weight"), &[c, c, 1, 1]);
        let square = self.net.ints(&[c as i64, c as i64]);
        let h = self.net.turned(&h, "Reshape", &[&square], &[]);
        let part = self.net.real(1.0 / count as f64);
        let h = self.net.turned(&h, "Mul", &[&part], &[]);
        let bias = self.net.parameter(&format!("{path}.h.bias"), &[c]);
        let gathered = self.flat(&gathered, c);
        let y = self.product(&h, &gathered, &bias);
        let y = self.net.node("Mul", &[&q, &y]);
        self.linear_map(&y, &format!("{path}.proj"), c, c, gamma)
    }

    fn mlp(&mut self, x: &str, path: &str, c: usize, gamma: Option<&str>) -> String {
        let y = self.linear_map(x, &format!("{path}.fc1"), c, 4 * c, None);
        let y = self.net.node("Gelu", &[&y]);
        self.linear_map(&y, &format!("{path}.fc2"), 4 * c, c, gamma)
    }

    /// A block of Focal-T.
    fn block_dw(&mut self, x: &str, path: &str, c: usize, stage: usize) -> String {
        let mut x = x.to_owned();
        for branch in [1, 2] {
            x = self.refined(&x, &format!("{path}.dw{branch}"), c);
            let gamma = self.net.parameter(&format!("{path}.gamma_{branch}"), &[c]);
            let y = if branch == 1 {
                self.modulation(&x, &format!("{path}.modulation"), c, stage, Some(&gamma))
            } else {
                let flat = self.flat(&x, c);
                self.mlp(&flat, &format!("{path}.mlp"), c, Some(&gamma))
            };
            let y = self.as_map(&y, 4 << stage);
            x = self.net.add(&x, &y);
            x = self.norm_map(&x, &format!("{path}.norm{branch}"), c);
        }
        x
    }

    /// A block of Focal-L. The branch's scale goes into the norm's own scale and shift.
    fn block(&mut self, x: &str, path: &str, c: usize, stage: usize) -> String {
        let mut x = x.to_owned();
        for branch in [1, 2] {
            let y = if branch == 1 {
                self.modulation(&x, &format!("{path}.modulation"), c, stage, None)
            } else {
                let flat = self.flat(&x, c);
                self.mlp(&flat, &format!("{path}.mlp"), c, None)
            };
            let gamma = self.net.parameter(&format!("{path}.gamma_{branch}"), &[c]);
            let [weight, bias] = ["weight", "bias"].map(|what| {
                let own = self.net.parameter(&format!("{path}.norm{branch}.{what}"), &[c]);
                self.net.turned(&own, "Mul", &[&gamma], &[])
            });
            let y = self.net.transpose(&y, &[0, 2, 1]);
            let y = self.net.norm_by(&y, &weight, &bias, 1e-5);
            let y = self.net.transpose(&y, &[0, 2, 1]);
            let y = self.as_map(&y, 4 << stage);
            x = self.net.add(&x, &y);
        }
        x
    }
}
