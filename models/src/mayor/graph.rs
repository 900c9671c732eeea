//! The three graphs, node by node.
//!
//! Regions go into the heads by the level they are read from, `rois_p2` to `rois_p5`, any of which may be empty, and answers come in
//! that order: so a region is pooled once. `RoiAlign` has the meaning of operator set 10 (`output_half_pixel`).

use super::config::{Config, Decoder, STRIDES};
use crate::onnx::{Attribute, Builder, Dim, Element, Graph, Port, Precision};
use crate::weights::Weights;

/// Grey that becomes 0, and what becomes 1 above it.
const MEAN: f64 = 127.5;
const SD: f64 = 63.75;
/// Added to the variance in batch norms.
const EPSILON: f64 = 1e-5;
/// Samples per bin and axis of a pooled region.
const SAMPLES: i64 = 2;
/// `TensorProto.DataType` of 64-bit whole numbers.
const INT64: i64 = 7;

const MAPS: [(&str, &str, &str); 4] = [
    ("p2", "height_p2", "width_p2"),
    ("p3", "height_p3", "width_p3"),
    ("p4", "height_p4", "width_p4"),
    ("p5", "height_p5", "width_p5"),
];
const OBJECTNESS: [(&str, &str, &str); 5] = [
    ("objectness_2", "height_p2", "width_p2"),
    ("objectness_3", "height_p3", "width_p3"),
    ("objectness_4", "height_p4", "width_p4"),
    ("objectness_5", "height_p5", "width_p5"),
    ("objectness_6", "height_p6", "width_p6"),
];
const DELTAS: [&str; 5] = ["deltas_2", "deltas_3", "deltas_4", "deltas_5", "deltas_6"];
const REGIONS: [(&str, &str); 4] =
    [("rois_p2", "n_p2"), ("rois_p3", "n_p3"), ("rois_p4", "n_p4"), ("rois_p5", "n_p5")];

/// The graph of a part (see [`super::PARTS`]).
pub fn build(part: &str, config: &Config, weights: &Weights<'_>, precision: Precision) -> Graph {
    let mut g = Grower { b: Builder::new(part, precision), config, weights };
    match part {
        "backbone" => g.backbone(),
        "boxes" => g.box_head(),
        _ => g.mask_head(),
    }
    let mut graph = g.b.finish();
    (graph.inputs, graph.outputs) = ports(part, config);
    graph
}

pub fn ports(part: &str, c: &Config) -> (Vec<Port>, Vec<Port>) {
    let map = |(name, h, w): (&str, &'static str, &'static str), channels: usize| Port {
        name: name.to_owned(),
        kind: Element::F32,
        dims: vec![Dim::Fixed(1), Dim::Fixed(channels), Dim::Free(h), Dim::Free(w)],
    };
    let maps = || MAPS.map(|m| map(m, c.fpn)).to_vec();
    let anchors = c.anchor_ratios.len();
    if part == "backbone" {
        let mut outputs = maps();
        outputs.extend(OBJECTNESS.map(|m| map(m, anchors)));
        outputs
            .extend(OBJECTNESS.iter().zip(DELTAS).map(|(&(_, h, w), name)| map((name, h, w), 4 * anchors)));
        return (vec![map(("image", "height", "width"), 3)], outputs);
    }
    let mut inputs = maps();
    inputs.extend(REGIONS.map(|(name, n)| Port {
        name: name.to_owned(),
        kind: Element::F32,
        dims: vec![Dim::Free(n), Dim::Fixed(4)],
    }));
    let answer = |name: &str, rest: &[usize]| Port {
        name: name.to_owned(),
        kind: Element::F32,
        dims: std::iter::once(Dim::Free("regions")).chain(rest.iter().map(|&n| Dim::Fixed(n))).collect(),
    };
    let side = c.mask_side();
    let outputs = if part == "boxes" {
        vec![answer("scores", &[]), answer("deltas", &[4])]
    } else {
        vec![answer("masks", &[side, side])]
    };
    (inputs, outputs)
}

/// A convolution's window.
#[derive(Clone, Copy)]
struct Window {
    side: usize,
    stride: usize,
}

struct Grower<'a> {
    b: Builder,
    config: &'a Config,
    weights: &'a Weights<'a>,
}

impl Grower<'_> {
    fn backbone(&mut self) {
        let c = self.config;
        self.b.scope("input");
        let (mean, sd) = (self.b.scalar(MEAN), self.b.scalar(SD));
        let x = self.b.node("Sub", &["image", &mean], &[]);
        let x = self.b.node("Div", &[&x, &sd], &[]);
        self.b.scope("stem");
        let x = self.normed_conv(
            &x,
            "backbone.stem.0",
            "backbone.stem.1",
            [3, c.stem],
            Window { side: 7, stride: 2 },
        );
        let x = self.relu(&x);
        let pool = [
            ("kernel_shape", Attribute::Ints(vec![3, 3])),
            ("strides", Attribute::Ints(vec![2, 2])),
            ("pads", Attribute::Ints(vec![1; 4])),
        ];
        let mut x = self.b.node("MaxPool", &[&x], &pool);
        let (mut channels, mut laterals) = (c.stem, Vec::new());
        for stage in 0..4 {
            for block in 0..c.blocks[stage] {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block(&x, stage, block, channels, stride);
                channels = c.stage_channels(stage);
            }
            let path = format!("backbone.lateral.{stage}");
            self.b.scope("pyramid");
            laterals.push(self.conv(&x, &path, [channels, c.fpn], 1));
        }
        self.b.exact("two", &[4], &[1.0, 1.0, 2.0, 2.0]);
        for i in (0..3).rev() {
            let resize = [
                ("mode", Attribute::Text("nearest")),
                ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
                ("nearest_mode", Attribute::Text("floor")),
            ];
            let enlarged = self.b.node("Resize", &[&laterals[i + 1], "", "two"], &resize);
            laterals[i] = self.b.node("Add", &[&laterals[i], &enlarged], &[]);
        }
        for (i, lateral) in laterals.iter().enumerate() {
            let kernel = self.kernel(&format!("backbone.smooth.{i}"), [c.fpn, c.fpn], 3);
            self.b.named("Conv", &[lateral, &kernel.0, &kernel.1], &window(3, 1), MAPS[i].0);
        }
        self.b.scope("proposals");
        let halve = [("kernel_shape", Attribute::Ints(vec![1, 1])), ("strides", Attribute::Ints(vec![2, 2]))];
        let p6 = self.b.node("MaxPool", &["p5"], &halve);
        let anchors = c.anchor_ratios.len();
        let first = self.kernel("rpn.conv", [c.fpn, c.fpn], 3);
        let objectness = self.kernel("rpn.objectness", [c.fpn, anchors], 1);
        let deltas = self.kernel("rpn.deltas", [c.fpn, 4 * anchors], 1);
        for (i, map) in ["p2", "p3", "p4", "p5", &p6].into_iter().enumerate() {
            let hidden = self.b.node("Conv", &[map, &first.0, &first.1], &window(3, 1));
            let hidden = self.relu(&hidden);
            for (kernel, out) in [(&objectness, OBJECTNESS[i].0), (&deltas, DELTAS[i])] {
                self.b.named("Conv", &[&hidden, &kernel.0, &kernel.1], &window(1, 1), out);
            }
        }
    }

    fn block(&mut self, x: &str, stage: usize, block: usize, inputs: usize, stride: usize) -> String {
        let (c, path) = (self.config, format!("backbone.stages.{stage}.{block}"));
        let (width, outputs) = (c.widths[stage], c.stage_channels(stage));
        self.b.scope(format!("stage_{stage}/block_{block}"));
        // Where the stride is: on the first 3×3 convolution.
        let layers: Vec<([usize; 2], Window)> = if c.bottleneck {
            let plain = Window { side: 1, stride: 1 };
            vec![
                ([inputs, width], plain),
                ([width, width], Window { side: 3, stride }),
                ([width, outputs], plain),
            ]
        } else {
            vec![
                ([inputs, width], Window { side: 3, stride }),
                ([width, width], Window { side: 3, stride: 1 }),
            ]
        };
        let mut y = x.to_owned();
        for (k, (channels, shape)) in layers.iter().enumerate() {
            if k > 0 {
                y = self.relu(&y);
            }
            y = self.normed_conv(
                &y,
                &format!("{path}.convs.{k}"),
                &format!("{path}.norms.{k}"),
                *channels,
                *shape,
            );
        }
        let short = if stride > 1 || inputs != outputs {
            let shape = Window { side: 1, stride };
            self.normed_conv(
                x,
                &format!("{path}.short.0"),
                &format!("{path}.short.1"),
                [inputs, outputs],
                shape,
            )
        } else {
            x.to_owned()
        };
        let sum = self.b.node("Add", &[&y, &short], &[]);
        self.relu(&sum)
    }

    fn box_head(&mut self) {
        let c = self.config;
        let pooled = self.pooled(c.box_pool);
        let x = self.b.node("Flatten", &[&pooled], &[("axis", Attribute::Int(1))]);
        let x = self.dense(&x, "box_head.first", [c.fpn * c.box_pool * c.box_pool, c.box_hidden], None);
        let x = self.relu(&x);
        let x = self.dense(&x, "box_head.second", [c.box_hidden, c.box_hidden], None);
        let x = self.relu(&x);
        let logits = self.dense(&x, "box_head.logits", [c.box_hidden, 2], None);
        let both = self.b.node("Softmax", &[&logits], &[("axis", Attribute::Int(1))]);
        let (one, two) = (self.b.ints(&[1]), self.b.ints(&[2]));
        let text = self.b.node("Slice", &[&both, &one, &two, &one], &[]);
        self.b.named("Squeeze", &[&text, &one], &[], "scores");
        self.dense(&x, "box_head.deltas", [c.box_hidden, 4], Some("deltas"));
    }

    fn mask_head(&mut self) {
        let c = self.config;
        let mut x = self.pooled(c.mask_pool);
        for i in 0..c.mask_convs {
            x = self.conv(&x, &format!("mask_head.convs.{i}"), [c.fpn, c.fpn], 3);
            x = self.relu(&x);
        }
        let side = c.mask_side();
        let logits = match c.decoder {
            Decoder::Mlp => {
                let x = self.conv(&x, "mask_head.reduce", [c.fpn, c.mask_reduce], 1);
                let x = self.relu(&x);
                let x = self.b.node("Flatten", &[&x], &[("axis", Attribute::Int(1))]);
                let cells = c.mask_reduce * c.mask_pool * c.mask_pool;
                let x = self.dense(&x, "mask_head.hidden", [cells, c.mask_hidden], None);
                let x = self.relu(&x);
                self.dense(&x, "mask_head.out", [c.mask_hidden, side * side], None)
            }
            Decoder::Deconv => {
                let values = self.weights.get("mask_head.up.weight", &[c.fpn, c.fpn, 2, 2]);
                let kernel = self.b.weight("mask_head.up.weight", &[c.fpn, c.fpn, 2, 2], &values);
                let bias = self.bias("mask_head.up.bias", c.fpn);
                let up =
                    [("strides", Attribute::Ints(vec![2, 2])), ("kernel_shape", Attribute::Ints(vec![2, 2]))];
                let x = self.b.node("ConvTranspose", &[&x, &kernel, &bias], &up);
                let x = self.relu(&x);
                self.conv(&x, "mask_head.out", [c.fpn, 1], 1)
            }
        };
        let masks = self.b.node("Sigmoid", &[&logits], &[]);
        let shape = self.b.ints(&[-1, side as i64, side as i64]);
        self.b.named("Reshape", &[&masks, &shape], &[], "masks");
    }

    /// Features of the regions of all levels, `[N, fpn, bins, bins]`.
    fn pooled(&mut self, bins: usize) -> String {
        let mut parts = Vec::new();
        for (i, (map, ..)) in MAPS.into_iter().enumerate() {
            let rois = REGIONS[i].0;
            let ends = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
            let count = self.b.node("Shape", &[rois], &ends);
            let zeros = self.b.node("ConstantOfShape", &[&count], &[]);
            let picture = self.b.node("Cast", &[&zeros], &[("to", Attribute::Int(INT64))]);
            let align = [
                ("mode", Attribute::Text("avg")),
                ("output_height", Attribute::Int(bins as i64)),
                ("output_width", Attribute::Int(bins as i64)),
                ("sampling_ratio", Attribute::Int(SAMPLES)),
                ("spatial_scale", Attribute::Float(1.0 / STRIDES[i] as f32)),
                ("coordinate_transformation_mode", Attribute::Text("output_half_pixel")),
            ];
            parts.push(self.b.node("RoiAlign", &[map, rois, &picture], &align));
        }
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.b.node("Concat", &names, &[("axis", Attribute::Int(0))])
    }

    fn relu(&mut self, x: &str) -> String {
        self.b.node("Relu", &[x], &[])
    }

    /// A convolution with a bias and stride 1.
    fn conv(&mut self, x: &str, path: &str, channels: [usize; 2], side: usize) -> String {
        let kernel = self.kernel(path, channels, side);
        self.b.node("Conv", &[x, &kernel.0, &kernel.1], &window(side, 1))
    }

    /// Names of a kernel (output × input × side × side) and its bias.
    fn kernel(&mut self, path: &str, [inputs, outputs]: [usize; 2], side: usize) -> (String, String) {
        let (name, shape) = (format!("{path}.weight"), [outputs, inputs, side, side]);
        let values = self.weights.get(&name, &shape);
        (self.b.weight(&name, &shape, &values), self.bias(&format!("{path}.bias"), outputs))
    }

    fn bias(&mut self, name: &str, len: usize) -> String {
        let values = self.weights.get(name, &[len]);
        self.b.exact(name, &[len], &values)
    }

    /// A dense layer, its weights output × input.
    fn dense(&mut self, x: &str, path: &str, [inputs, outputs]: [usize; 2], out: Option<&str>) -> String {
        let (name, shape) = (format!("{path}.weight"), [outputs, inputs]);
        let values = self.weights.get(&name, &shape);
        let matrix = self.b.weight(&name, &shape, &values);
        let bias = self.bias(&format!("{path}.bias"), outputs);
        let transposed = [("transB", Attribute::Int(1))];
        match out {
            None => self.b.node("Gemm", &[x, &matrix, &bias], &transposed),
            Some(out) => {
                self.b.named("Gemm", &[x, &matrix, &bias], &transposed, out);
                out.to_owned()
            }
        }
    }

    /// A convolution without bias and the batch norm after it, as one convolution with a bias.
    fn normed_conv(
        &mut self,
        x: &str,
        conv: &str,
        norm: &str,
        [inputs, outputs]: [usize; 2],
        w: Window,
    ) -> String {
        let (name, shape) = (format!("{conv}.weight"), [outputs, inputs, w.side, w.side]);
        let mut values = self.weights.get(&name, &shape);
        let of = |what: &str| self.weights.get(&format!("{norm}.{what}"), &[outputs]);
        let (scale, shift, mean, variance) =
            (of("weight"), of("bias"), of("running_mean"), of("running_var"));
        let factors: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + EPSILON).sqrt()).collect();
        let kernel_len = inputs * w.side * w.side;
        for (kernel, factor) in values.chunks_exact_mut(kernel_len).zip(&factors) {
            kernel.iter_mut().for_each(|v| *v *= factor);
        }
        let biases: Vec<f64> = shift
            .iter()
            .zip(&mean)
            .zip(&factors)
            .map(|((shift, mean), factor)| shift - mean * factor)
            .collect();
        let kernel = self.b.weight(&name, &shape, &values);
        let bias = self.b.exact(&format!("{conv}.bias"), &[outputs], &biases);
        self.b.node("Conv", &[x, &kernel, &bias], &window(w.side, w.stride))
    }
}

/// Attributes of a convolution that keeps the size (but for the stride).
fn window(side: usize, stride: usize) -> Vec<(&'static str, Attribute)> {
    vec![
        ("kernel_shape", Attribute::Ints(vec![side as i64; 2])),
        ("strides", Attribute::Ints(vec![stride as i64; 2])),
        ("pads", Attribute::Ints(vec![(side / 2) as i64; 4])),
    ]
}
