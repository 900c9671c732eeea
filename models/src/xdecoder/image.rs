//! The image's side: backbone, pixel decoder, and what of the decoder depends on the image alone.

use std::collections::HashMap;

use super::rows::{Rows, fixed, int, port};
use crate::onnx::{Dim, Graph, Port};

/// The graph of the image's side under construction.
pub struct Image<'a> {
    pub(super) net: Rows<'a>,
    /// Height and width at a stride, one-entry shapes.
    pub(super) sides: HashMap<usize, [String; 2]>,
    /// The pixel decoder's maps of stride 32, 16 and 8.
    pub(super) levels: Vec<String>,
}

/// `image` `(1, channels, H, W)` to what the decoder reads ([`super::ports`]) and `pooled` `(1, D)`.
pub fn build(net: Rows<'_>) -> Graph {
    let config = net.config;
    let mut image = Image { net, sides: HashMap::new(), levels: Vec::new() };
    let maps = image.backbone();
    image.pyramid(&maps);
    image.memory();
    let net = &mut image.net;
    net.b.scope("pooled");
    let area = net.ints(&[2, 3]);
    let mean = net.b.node("ReduceMean", &[&maps[3], &area], &[int("keepdims", 0)]);
    let projection = net.parameter("backbone_proj", &[config.channels(3), config.proj_dim]);
    net.b.named("MatMul", &[&mean, &projection], &[], "pooled");
    let input = port(
        "image",
        vec![Dim::Fixed(1), Dim::Fixed(config.in_channels), Dim::Free("height"), Dim::Free("width")],
    );
    let mut outputs: Vec<Port> = super::ports(config, true);
    outputs.push(port("pooled", fixed(&[1, config.proj_dim])));
    image.net.finish(vec![input], outputs)
}

impl Image<'_> {
    /// Height and width of the map of a stride.
    pub(super) fn side(&mut self, stride: usize) -> [String; 2] {
        if let Some(found) = self.sides.get(&stride) {
            return found.clone();
        }
        let net = &mut self.net;
        let scope = net.b.scope("sizes");
        let size = net.b.node("Shape", &["image"], &[int("start", 2)]);
        let by = net.ints(&[stride as i64]);
        let size = net.node("Div", &[&size, &by]);
        let found = [0, 1].map(|i| {
            let (from, to) = (net.ints(&[i]), net.ints(&[i + 1]));
            net.node("Slice", &[&size, &from, &to])
        });
        net.b.scope(scope);
        self.sides.insert(stride, found.clone());
        found
    }

    /// `(1, C, H W)` to `(1, C, H, W)`.
    pub(super) fn as_map(&mut self, x: &str, stride: usize) -> String {
        let [h, w] = self.side(stride);
        let shape = self.net.once(format!("as map {stride}"), |net| {
            let first = net.ints(&[1, -1]);
            net.concat(&[&first, &h, &w], 0)
        });
        self.net.node("Reshape", &[x, &shape])
    }

    /// `(1, C, H, W)` to `(1, C, H W)`.
    pub(super) fn flat(&mut self, x: &str, c: usize) -> String {
        self.net.reshape(x, &[1, c as i64, -1])
    }

    /// (out, in) times `(1, in, H W)` plus a bias as a column.
    pub(super) fn product(&mut self, weight: &str, x: &str, bias: &str) -> String {
        let y = self.net.node("MatMul", &[weight, x]);
        let one = self.net.ints(&[1]);
        let column = self.net.turned(bias, "Unsqueeze", &[&one], &[]);
        self.net.add(&y, &column)
    }

    /// A linear layer on a flat map, with a branch's scale `gamma` per output channel.
    pub(super) fn linear_map(
        &mut self,
        x: &str,
        path: &str,
        from: usize,
        to: usize,
        gamma: Option<&str>,
    ) -> String {
        let mut weight = self.net.parameter(&format!("{path}.weight"), &[to, from]);
        let mut bias = self.net.parameter(&format!("{path}.bias"), &[to]);
        if let Some(gamma) = gamma {
            let one = self.net.ints(&[1]);
            let column = self.net.turned(gamma, "Unsqueeze", &[&one], &[]);
            weight = self.net.turned(&weight, "Mul", &[&column], &[]);
            bias = self.net.turned(&bias, "Mul", &[gamma], &[]);
        }
        self.product(&weight, x, &bias)
    }
}
