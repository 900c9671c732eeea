//! MAXIM from its layers: stages of a U with cross gating between its sides.

use super::config::Config;
use super::layers::{Linear, Net, Rows, Term};
use super::{INPUT, OUTPUT, Outputs};
use crate::onnx::{Attribute, Builder, Dim, Element, Graph, Port, Precision};
use crate::weights::Weights;

/// The graph of `config`.
pub fn build(config: &Config, weights: &Weights<'_>, precision: Precision, outputs: Outputs) -> Graph {
    let mut b = Builder::new("MAXIM", precision);
    b.scope("input");
    let input = phases(&mut b, "SpaceToDepth", INPUT, config.unshuffle);
    let net = Net::new(b, config, weights, &input);
    let mut maxim = Maxim { net, input, outputs, ports: Vec::new() };
    maxim.stages();
    let ports = std::mem::take(&mut maxim.ports);
    let mut graph = maxim.net.b.finish();
    let size = |axis: usize, free: &'static str| config.size.map_or(Dim::Free(free), |s| Dim::Fixed(s[axis]));
    graph.inputs = vec![Port {
        name: INPUT.to_owned(),
        kind: Element::F32,
        dims: vec![Dim::Free("batch"), Dim::Fixed(config.in_channels), size(0, "height"), size(1, "width")],
    }];
    let out = |name: String| Port {
        name,
        kind: Element::F32,
        dims: vec![
            Dim::Free("batch"),
            Dim::Fixed(config.in_channels),
            Dim::Free("height_out"),
            Dim::Free("width_out"),
        ],
    };
    graph.outputs = if ports.is_empty() {
        vec![Port { name: OUTPUT.to_owned(), ..graph.inputs[0].clone() }]
    } else {
        ports.into_iter().map(out).collect()
    };
    graph
}

/// Between a picture and its phase images, `[N, f²·C, H/f, W/f]` with channel `(a·f + b)·C + c` for phase (a, b).
fn phases(b: &mut Builder, op: &'static str, value: &str, factor: usize) -> String {
    if factor == 1 {
        return value.to_owned();
    }
    b.node(op, &[value], &[("blocksize", Attribute::Int(factor as i64))])
}

struct Maxim<'a> {
    net: Net<'a>,
    /// The input, as phase images where the configuration has them.
    input: String,
    outputs: Outputs,
    /// Names of the outputs, when all are wanted.
    ports: Vec<String>,
}

/// What a stage hands to the next.
#[derive(Default)]
struct Passed {
    encoded: Vec<Rows>,
    decoded: Vec<Rows>,
    /// Attended features per supervised level.
    features: Vec<Rows>,
}

impl Maxim<'_> {
    fn stages(&mut self) {
        let config = self.net.config;
        let inputs: Vec<String> = (0..config.num_supervision_scales).map(|i| self.shrunk(i)).collect();
        let mut passed = Passed::default();
        for stage in 0..config.num_stages {
            let is_last = stage + 1 == config.num_stages;
            let features = self.input_features(stage, &inputs, &passed);
            let encoded = self.encoder(stage, &features, &passed);
            let decoded = self.decoder(stage, &encoded);
            let mut attended = Vec::new();
            for level in (0..config.num_supervision_scales).rev() {
                let d = &decoded[level];
                if is_last {
                    self.restored(stage, level, d, &inputs[level]);
                } else {
                    attended.push(self.supervised(stage, level, d, &inputs[level]));
                }
            }
            attended.reverse();
            passed = Passed { encoded, decoded, features: attended };
        }
    }

    /// The input shrunk to a level: pixels 1, 3, 5, … or 2, 6, 10, … (`jax.image.resize`, nearest).
    fn shrunk(&mut self, level: usize) -> String {
        if level == 0 {
            return self.input.clone();
        }
        let b = &mut self.net.b;
        b.scope("input");
        let step = 1i64 << level;
        let (start, end) = (b.ints(&[step / 2, step / 2]), b.ints(&[i64::MAX, i64::MAX]));
        let (axes, steps) = (b.ints(&[2, 3]), b.ints(&[step, step]));
        b.node("Slice", &[&self.input, &start, &end, &axes, &steps], &[])
    }

    fn input_features(&mut self, stage: usize, inputs: &[String], passed: &Passed) -> Vec<Rows> {
        let config = self.net.config;
        let mut features = Vec::new();
        for (level, input) in inputs.iter().enumerate() {
            let c = config.channels(level);
            let path = format!("stage_{stage}_input_conv_{level}");
            self.net.b.scope(path.clone());
            let image = self.net.convolution(&path, input, config.packed_channels(), c, 3);
            let mut x = self.net.rows(&image, c, level);
            if let Some(before) = passed.features.get(level) {
                x = self.crossed(&format!("stage_{stage}_input_fuse_sam_{level}"), &x, before);
            }
            features.push(x);
        }
        features
    }

    /// The first result of a cross-gating block of inputs as they are.
    fn crossed(&mut self, path: &str, x: &Rows, y: &Rows) -> Rows {
        self.net.b.scope(path.to_owned());
        let c = x.channels;
        let x = self.net.pointwise(&format!("{path}/Conv_0"), x, c);
        let y = self.net.pointwise(&format!("{path}/Conv_1"), y, c);
        let [x, _] = self.net.cross_gating(path, &x, &y);
        x
    }

    fn encoder(&mut self, stage: usize, features: &[Rows], passed: &Passed) -> Vec<Rows> {
        let config = self.net.config;
        let mut encoded: Vec<Rows> = Vec::new();
        let mut x: Option<Rows> = None;
        for level in 0..config.depth {
            let c = config.channels(level);
            let path = format!("stage_{stage}_encoder_block_{level}");
            self.net.b.scope(path.clone());
            let from: Vec<Rows> = match (x.take(), features.get(level)) {
                (Some(x), Some(f)) => vec![x, f.clone()],
                (Some(x), None) => vec![x],
                // The features of level 0 are both the input and what is skipped to.
                (None, f) => f.into_iter().chain(f).cloned().collect(),
            };
            let inputs = from.iter().map(|r| r.channels).sum();
            let first = self.net.linear(&format!("{path}/Conv_0"), inputs, c, true);
            let mut at = 0;
            let mut terms = Vec::new();
            for rows in from {
                let part = first.rows(at, rows.channels);
                at += rows.channels;
                match terms.last_mut() {
                    // Twice the same rows: one product with the sum.
                    Some(Term::Same(before, sum)) if before.name == rows.name => {
                        sum.matrix.iter_mut().zip(&part.matrix).for_each(|(a, b)| *a += b);
                    }
                    _ => terms.push(Term::Same(rows, part)),
                }
            }
            let short = self.net.sum(&format!("{path}/Conv_0"), terms, &first.bias, level);
            let mut y = self.groups(&path, &short);
            if let (Some(e), Some(d)) = (passed.encoded.get(level), passed.decoded.get(level)) {
                let name = self.net.b.node("Add", &[&e.name, &d.name], &[]);
                let both = Rows { name, ..e.clone() };
                y = self.crossed(&format!("{path}/cross_gating_block"), &y, &both);
            }
            let image = self.net.image(&y);
            let half = self.net.convolution(&format!("{path}/Conv_1"), &image, c, c, 4);
            x = Some(self.net.rows(&half, c, level + 1));
            encoded.push(y);
        }
        // Handed on through the encoder's end.
        encoded.extend(x);
        encoded
    }

    /// Multi-axis and convolution blocks in turn, and what went in added.
    fn groups(&mut self, path: &str, x: &Rows) -> Rows {
        let mut y = x.clone();
        for g in 0..self.net.config.num_groups {
            y = self.net.multi_axis(&format!("{path}/SplitHeadMultiAxisGmlpLayer_{g}"), &y);
            y = self.net.convolution_block(&format!("{path}/channel_attention_block_1{g}"), &y);
        }
        let name = self.net.b.node("Add", &[&y.name, &x.name], &[]);
        Rows { name, ..y }
    }

    fn bottom(&mut self, stage: usize, x: Rows) -> Rows {
        let config = self.net.config;
        let c = config.channels(config.depth - 1);
        let mut x = x;
        for block in 0..config.num_bottleneck_blocks {
            let path = format!("stage_{stage}_global_block_{block}");
            self.net.b.scope(path.clone());
            let short = self.net.pointwise(&format!("{path}/input_proj"), &x, c);
            let mut y = short.clone();
            for g in 0..config.num_groups {
                y = self.net.multi_axis(&format!("{path}/SplitHeadMultiAxisGmlpLayer_{g}"), &y);
                y = self.net.dense_block(&format!("{path}/channel_attention_block_1_{g}"), &y);
            }
            let name = self.net.b.node("Add", &[&y.name, &short.name], &[]);
            x = Rows { name, ..y };
        }
        x
    }

    /// Maps of all levels rescaled to one and joined by the layer `next`, whose rows for them begin at `first`:
    /// `numbers` are those of their rescaling layers, in the order of concatenation.
    fn rescaled(
        &mut self,
        maps: &[&Rows],
        numbers: usize,
        level: usize,
        next: &Linear,
        first: usize,
    ) -> Vec<Term> {
        let c = self.net.config.channels(level);
        let mut terms = Vec::new();
        for (n, map) in maps.iter().enumerate() {
            let path = format!("UpSampleRatio_{}/Conv_0", numbers + n);
            let own = self.net.linear(&path, map.channels, c, true);
            terms.push(Term::Resized((*map).clone(), own.then_rows(next, first + n * c)));
        }
        terms
    }

    /// From the encoder's maps (and its end) to the decoded maps, finest first.
    fn decoder(&mut self, stage: usize, encoded: &[Rows]) -> Vec<Rows> {
        let config = self.net.config;
        let depth = config.depth;
        let bottom = self.bottom(stage, encoded[depth].clone());
        let mut number = stage * 2 * depth * depth;
        let mut gated: Vec<Option<Rows>> = vec![None; depth];
        let mut global = bottom.clone();
        for level in (0..depth).rev() {
            let c = config.channels(level);
            let path = format!("stage_{stage}_cross_gating_block_{level}");
            self.net.b.scope(path.clone());
            let first = self.net.linear(&format!("{path}/Conv_0"), depth * c, c, true);
            let maps: Vec<&Rows> = encoded[..depth].iter().collect();
            let terms = self.rescaled(&maps, number, level, &first, 0);
            number += depth;
            let x = self.net.sum(&format!("{path}/Conv_0"), terms, &first.bias, level);
            let second = self.net.linear(&format!("{path}/Conv_1"), c, c, true);
            let large = self.net.enlarged(&format!("{path}/ConvTranspose_0"), &global, c, &second, 0);
            let y = self.net.sum(&format!("{path}/Conv_1"), vec![Term::Plain(large)], &second.bias, level);
            let [x, y] = self.net.cross_gating(&path, &x, &y);
            gated[level] = Some(x);
            global = y;
        }
        let gated: Vec<Rows> = gated.into_iter().flatten().collect();
        let mut decoded: Vec<Rows> = Vec::new();
        let mut x = bottom;
        for level in (0..depth).rev() {
            let c = config.channels(level);
            let path = format!("stage_{stage}_decoder_block_{level}");
            self.net.b.scope(path.clone());
            let inner = format!("{path}/UNetEncoderBlock_0");
            let first = self.net.linear(&format!("{inner}/Conv_0"), (1 + depth) * c, c, true);
            let maps: Vec<&Rows> = gated.iter().rev().collect();
            let mut terms = self.rescaled(&maps, number, level, &first, c);
            number += depth;
            let large = self.net.enlarged(&format!("{path}/ConvTranspose_0"), &x, c, &first, 0);
            terms.insert(0, Term::Plain(large));
            let short = self.net.sum(&format!("{inner}/Conv_0"), terms, &first.bias, level);
            x = self.groups(&inner, &short);
            decoded.push(x.clone());
        }
        decoded.reverse();
        decoded
    }

    /// The picture and the features of a level for the next stage.
    fn supervised(&mut self, stage: usize, level: usize, d: &Rows, input: &str) -> Rows {
        let (c, channels) = (d.channels, self.net.config.packed_channels());
        let path = format!("stage_{stage}_supervised_attention_module_{level}");
        self.net.b.scope(path.clone());
        let x = self.net.image(d);
        let features = self.net.convolution(&format!("{path}/Conv_0"), &x, c, c, 3);
        let change = self.net.convolution(&format!("{path}/Conv_1"), &x, c, channels, 3);
        let picture = self.picture(stage, level, &change, input);
        let weight = self.net.convolution(&format!("{path}/Conv_2"), &picture, channels, c, 3);
        let weight = self.net.b.node("Sigmoid", &[&weight], &[]);
        let features = self.net.b.node("Mul", &[&features, &weight], &[]);
        let features = self.net.b.node("Add", &[&features, &x], &[]);
        self.net.rows(&features, c, level)
    }

    /// The last stage's picture of a level.
    fn restored(&mut self, stage: usize, level: usize, d: &Rows, input: &str) {
        if level > 0 && self.outputs == Outputs::Restored {
            return;
        }
        let path = format!("stage_{stage}_output_conv_{level}");
        self.net.b.scope(path.clone());
        let x = self.net.image(d);
        let config = self.net.config;
        let change = self.net.convolution(&path, &x, d.channels, config.packed_channels(), 3);
        if self.outputs == Outputs::All {
            self.picture(stage, level, &change, input);
        } else if config.unshuffle == 1 {
            self.net.b.named("Add", &[&change, input], &[], OUTPUT);
        } else {
            let sum = self.net.b.node("Add", &[&change, input], &[]);
            let blocks = [("blocksize", Attribute::Int(config.unshuffle as i64))];
            self.net.b.named("DepthToSpace", &[&sum], &blocks, OUTPUT);
        }
    }

    fn picture(&mut self, stage: usize, level: usize, change: &str, input: &str) -> String {
        let sum = self.net.b.node("Add", &[change, input], &[]);
        if self.outputs == Outputs::All {
            let k = self.net.config.num_supervision_scales - 1 - level;
            let name = format!("stage{stage}_out{k}");
            let whole = phases(&mut self.net.b, "DepthToSpace", &sum, self.net.config.unshuffle);
            self.net.b.named("Identity", &[&whole], &[], &name);
            self.ports.push(name);
        }
        sum
    }
}
