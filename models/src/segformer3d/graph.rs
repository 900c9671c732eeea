//! The layers of SegFormer3D as ONNX nodes.
//!
//! Two layouts alternate: *volumes* `[N, C, D, H, W]` for convolutions and *tokens* `[N, L, C]` with
//! `L = D·H·W` (row-major) for everything that looks at one place at a time. Each stage carries its `[D, H, W]` as
//! a run-time shape.

use super::config::{AttentionScale, Config, OutputSize, STAGES};
use super::names::Weights;
use super::rewrite::{self, BatchNorm, EPSILON, Linear};
use super::{INPUT, OUTPUT};
use crate::onnx::{Attribute, Builder, Dim, Element, Graph, Port, Precision};

/// The graph of `config` with checked weights.
pub fn build(config: &Config, weights: &Weights, precision: Precision) -> Graph {
    let mut net = Net { b: Builder::new("SegFormer3D", precision), config, weights };
    let features: Vec<Feature> = net.encoder();
    net.decoder(&features);
    let mut graph = net.b.finish();
    graph.inputs = vec![Port {
        name: INPUT.to_owned(),
        kind: Element::F32,
        dims: vec![
            Dim::Free("batch"),
            Dim::Fixed(config.in_channels),
            Dim::Free("depth"),
            Dim::Free("height"),
            Dim::Free("width"),
        ],
    }];
    graph.outputs = vec![Port {
        name: OUTPUT.to_owned(),
        kind: Element::F32,
        dims: vec![
            Dim::Free("batch"),
            Dim::Fixed(config.num_classes),
            Dim::Free("depth_out"),
            Dim::Free("height_out"),
            Dim::Free("width_out"),
        ],
    }];
    graph
}

/// What a stage hands on: its normalised tokens and their `[D, H, W]` (names of values).
struct Feature {
    tokens: String,
    dims: String,
}

struct Net<'a> {
    b: Builder,
    config: &'a Config,
    weights: &'a Weights<'a>,
}

impl Net<'_> {
    fn encoder(&mut self) -> Vec<Feature> {
        let mut features = Vec::new();
        let mut volume = INPUT.to_owned();
        for i in 0..STAGES {
            let channels = self.config.embed_dims[i];
            let embed = format!("segformer_encoder.embed_{}", i + 1);
            self.b.scope(embed.clone());
            let (tokens, dims) = if i == 0 && self.config.has_sliced_stem() {
                self.sliced_stem(&format!("{embed}.patch_embeddings"))
            } else {
                self.patches(&format!("{embed}.patch_embeddings"), &volume, i)
            };
            let mut tokens = self.layer_norm(&format!("{embed}.norm"), &tokens);
            for block in 0..self.config.depths[i] {
                tokens = self.block(i, block, &tokens, &dims);
            }
            self.b.scope(format!("segformer_encoder.norm{}", i + 1));
            let tokens = self.layer_norm(&format!("segformer_encoder.norm{}", i + 1), &tokens);
            if i + 1 < STAGES {
                volume = self.volume(&tokens, channels, &dims);
            }
            features.push(Feature { tokens, dims });
        }
        features
    }

    /// A patch embedding as it is: tokens and their `[D, H, W]`.
    fn patches(&mut self, name: &str, volume: &str, stage: usize) -> (String, String) {
        let channels = self.config.embed_dims[stage];
        let from = if stage == 0 { self.config.in_channels } else { self.config.embed_dims[stage - 1] };
        let side = self.config.patch_kernel_size[stage];
        let layer = self.linear(name);
        let settings = [
            ("strides", repeat(self.config.patch_stride[stage], 3)),
            ("pads", repeat(self.config.patch_padding[stage], 6)),
        ];
        let patches = self.convolution(name, volume, &layer, &[channels, from, side, side, side], &settings);
        let dims = self.b.node("Shape", &[&patches], &[("start", Attribute::Int(2))]);
        (self.tokens(&patches, channels), dims)
    }

    /// The first patch embedding as two-dimensional convolutions over slabs of `stride` slices, the slices being the
    /// channels.
    ///
    /// The window of output slice `d` lies in slabs `d − 1` and `d` ([`Config::has_sliced_stem`]). One convolution per
    /// input channel computes what a slab gives to its own output and, in as many channels again, to the next one; a
    /// shift by one slab and an addition of small arrays do the rest. ONNX Runtime's kernel for few channels takes
    /// half the time of its three-dimensional convolution.
    fn sliced_stem(&mut self, name: &str) -> (String, String) {
        let (side, stride, padding) =
            (self.config.patch_kernel_size[0], self.config.patch_stride[0], self.config.patch_padding[0]);
        let (from, channels) = (self.config.in_channels, self.config.embed_dims[0]);
        let axis = [("axis", Attribute::Int(0))];
        let batch =
            self.b.node("Shape", &[INPUT], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))]);
        let size = self.b.node("Shape", &[INPUT], &[("start", Attribute::Int(2))]);
        let [depth, height, width] = self.spatial(&size);
        let slices = self.b.ints(&[stride as i64]);
        let slabs = self.b.node("Div", &[&depth, &slices], &[]);
        let images = self.b.node("Mul", &[&batch, &slabs], &[]);
        // A depth that is no multiple of the stride does not fit this shape and fails.
        let shape = self.b.node("Concat", &[&images, &slices, &height, &width], &axis);

        let layer = self.linear(name);
        let plane = side * side;
        let mut bias = layer.bias.clone();
        bias.resize(2 * channels, 0.0);
        let bias = self.b.exact(&format!("{name}.bias"), &[2 * channels], &bias);
        let mut sum: Option<String> = None;
        for c in 0..from {
            let mut kernel = vec![0.0; 2 * channels * stride * plane];
            for (row, place) in kernel.chunks_mut(plane).enumerate() {
                let (output, slice) = (row / stride, row % stride);
                // Slice of the kernel that meets this slice of the slab, for the own and for the next output.
                let tap = if output < channels {
                    Some(slice + padding)
                } else {
                    (slice + padding).checked_sub(stride)
                };
                if let Some(tap) = tap.filter(|&tap| tap < side) {
                    let start = (((output % channels) * from + c) * side + tap) * plane;
                    place.copy_from_slice(&layer.weight[start..start + plane]);
                }
            }
            let (first, last, channel_axis) =
                (self.b.ints(&[c as i64]), self.b.ints(&[c as i64 + 1]), self.b.ints(&[1]));
            let channel = self.b.node("Slice", &[INPUT, &first, &last, &channel_axis], &[]);
            let channel = self.b.node("Reshape", &[&channel, &shape], &[]);
            let weight =
                self.b.weight(&format!("{name}.weight.c{c}"), &[2 * channels, stride, side, side], &kernel);
            let attributes = [
                ("kernel_shape", repeat(side, 2)),
                ("strides", repeat(stride, 2)),
                ("pads", repeat(padding, 4)),
            ];
            sum = Some(match sum {
                None => self.b.node("Conv", &[&channel, &weight, &bias], &attributes),
                Some(sum) => {
                    let part = self.b.node("Conv", &[&channel, &weight], &attributes);
                    self.b.node("Add", &[&sum, &part], &[])
                }
            });
        }
        let both = sum.unwrap_or_default();
        let plane_size = self.b.node("Shape", &[&both], &[("start", Attribute::Int(2))]);
        let dims = self.b.node("Concat", &[&slabs, &plane_size], &axis);
        let rest = self.b.ints(&[2 * channels as i64, -1]);
        let shape = self.b.node("Concat", &[&batch, &slabs, &rest], &axis);
        let both = self.b.node("Reshape", &[&both, &shape], &[]);
        let (zero, middle, end) =
            (self.b.ints(&[0]), self.b.ints(&[channels as i64]), self.b.ints(&[2 * channels as i64]));
        let (slab_axis, channel_axis) = (self.b.ints(&[1]), self.b.ints(&[2]));
        let own = self.b.node("Slice", &[&both, &zero, &middle, &channel_axis], &[]);
        let next = self.b.node("Slice", &[&both, &middle, &end, &channel_axis], &[]);
        let (none, minus_one, one_before) = (self.b.ints(&[0]), self.b.ints(&[-1]), self.b.ints(&[1, 0]));
        let next = self.b.node("Slice", &[&next, &none, &minus_one, &slab_axis], &[]);
        let next = self.b.node("Pad", &[&next, &one_before, "", &slab_axis], &[]);
        let sum = self.b.node("Add", &[&own, &next], &[]);
        let sum = self.b.node("Transpose", &[&sum], &[("perm", ints(&[0, 1, 3, 2]))]);
        let shape = self.b.ints(&[0, -1, channels as i64]);
        (self.b.node("Reshape", &[&sum, &shape], &[]), dims)
    }

    /// A pre-norm transformer block.
    fn block(&mut self, stage: usize, block: usize, tokens: &str, dims: &str) -> String {
        let name = format!("segformer_encoder.tf_block{}.{block}", stage + 1);
        self.b.scope(format!("{name}.attention"));
        let normed = self.layer_norm(&format!("{name}.norm1"), tokens);
        let attended = self.attention(&format!("{name}.attention"), stage, &normed, dims);
        let tokens = self.b.node("Add", &[tokens, &attended], &[]);
        self.b.scope(format!("{name}.mlp"));
        let normed = self.layer_norm(&format!("{name}.norm2"), &tokens);
        let changed = self.mlp(&format!("{name}.mlp"), stage, &normed, dims);
        self.b.node("Add", &[&tokens, &changed], &[])
    }

    fn attention(&mut self, name: &str, stage: usize, normed: &str, dims: &str) -> String {
        let c = self.config.embed_dims[stage];
        let heads = self.config.num_heads[stage];
        let divisor = match self.config.attention_scale {
            AttentionScale::NumHeads => heads,
            AttentionScale::HeadDim => c / heads,
        };
        let merged = rewrite::attention(
            self.linear(&format!("{name}.query")),
            &self.linear(&format!("{name}.key_value")),
            &self.linear(&format!("{name}.proj")),
            heads,
            divisor,
        );
        let ratio = self.config.sr_ratios[stage];
        let source = if ratio == 1 {
            normed.to_owned()
        } else {
            let volume = self.volume(normed, c, dims);
            let layer = self.linear(&format!("{name}.sr"));
            let reduced = self.convolution(
                &format!("{name}.sr"),
                &volume,
                &layer,
                &[c, c, ratio, ratio, ratio],
                &[("strides", repeat(ratio, 3))],
            );
            let tokens = self.tokens(&reduced, c);
            self.layer_norm(&format!("{name}.sr_norm"), &tokens)
        };
        let query = self.token_linear(&format!("{name}.query"), normed, &merged.query, c);
        let key = self.token_product(&format!("{name}.key"), &source, &merged.key, c);
        let value = self.token_product(&format!("{name}.value"), &source, &merged.value, c);
        let mixed = self.b.contributed(
            "MultiHeadAttention",
            &[&query, &key, &value],
            // The scale is already part of the query.
            &[("num_heads", Attribute::Int(heads as i64)), ("scale", Attribute::Float(1.0))],
        );
        let mixed = match &merged.proj {
            Some(proj) => self.token_product(&format!("{name}.proj"), &mixed, proj, c),
            None => mixed,
        };
        let bias = self.b.exact(&format!("{name}.proj.bias"), &[c], &merged.bias);
        self.b.node("Add", &[&mixed, &bias], &[])
    }

    /// The wide layers work on volumes: the narrow side is where layouts change.
    fn mlp(&mut self, name: &str, stage: usize, normed: &str, dims: &str) -> String {
        let c = self.config.embed_dims[stage];
        let hidden = c * self.config.mlp_ratios[stage];
        let volume = self.volume(normed, c, dims);
        let fc1 = self.linear(&format!("{name}.fc1"));
        let mut depthwise = self.linear(&format!("{name}.dwconv.dwconv"));
        rewrite::fold_batch_norm(&mut depthwise, &self.batch_norm(&format!("{name}.dwconv.bn")));
        let fc2 = self.linear(&format!("{name}.fc2"));
        let widest = self.config.tile.and_then(|t| self.config.sides(t[2])).map(|sides| sides[stage]);
        let narrow = match widest {
            Some(widest) => {
                let pitch = widest + 1;
                let wide = self.fc1_planar(name, &volume, dims, &fc1, pitch);
                let wide = self.depthwise_planar(&format!("{name}.dwconv.dwconv"), &wide, &depthwise, pitch);
                let wide = self.b.node("Gelu", &[&wide], &[]);
                let shape = [c, hidden, 1, 1];
                let narrow = self.convolution(&format!("{name}.fc2"), &wide, &fc2, &shape, &[]);
                self.drop_separator(&narrow, c, dims, pitch)
            }
            None => {
                let shape = [hidden, c, 1, 1, 1];
                let wide = self.convolution(&format!("{name}.fc1"), &volume, &fc1, &shape, &[]);
                let settings = [("group", Attribute::Int(hidden as i64)), ("pads", repeat(1, 6))];
                let shape = [hidden, 1, 3, 3, 3];
                let wide =
                    self.convolution(&format!("{name}.dwconv.dwconv"), &wide, &depthwise, &shape, &settings);
                let wide = self.b.node("Gelu", &[&wide], &[]);
                self.convolution(&format!("{name}.fc2"), &wide, &fc2, &[c, hidden, 1, 1, 1], &[])
            }
        };
        self.tokens(&narrow, c)
    }

    /// `fc1` on `[N, C, D, H, W]`, as planes `[N, hidden, D, H·pitch]` whose rows of W voxels are followed by exact
    /// zeros. The bias is the weight of a channel of ones, so that it does not reach the zeros.
    fn fc1_planar(&mut self, name: &str, volume: &str, dims: &str, fc1: &Linear, pitch: usize) -> String {
        let hidden = fc1.bias.len();
        let c = fc1.weight.len() / hidden;
        let one = self.b.scalar(1.0);
        let (one_after, channel_axis) = (self.b.ints(&[0, 1]), self.b.ints(&[1]));
        let x = self.b.node("Pad", &[volume, &one_after, &one, &channel_axis], &[]);
        let [depth, _, width] = self.spatial(dims);
        let (none, w_axis) = (self.b.ints(&[0]), self.b.ints(&[4]));
        let pitch = self.b.ints(&[pitch as i64]);
        let gap = self.b.node("Sub", &[&pitch, &width], &[]);
        let gap = self.b.node("Concat", &[&none, &gap], &[("axis", Attribute::Int(0))]);
        let x = self.b.node("Pad", &[&x, &gap, "", &w_axis], &[]);
        let (keep, infer) = (self.b.ints(&[0, c as i64 + 1]), self.b.ints(&[-1]));
        let shape = self.b.node("Concat", &[&keep, &depth, &infer], &[("axis", Attribute::Int(0))]);
        let x = self.b.node("Reshape", &[&x, &shape], &[]);
        let joined: Vec<f64> = fc1
            .weight
            .chunks(c)
            .zip(&fc1.bias)
            .flat_map(|(row, bias)| row.iter().chain(std::iter::once(bias)))
            .copied()
            .collect();
        let weight = self.b.weight(&format!("{name}.fc1.weight"), &[hidden, c + 1, 1, 1], &joined);
        self.b.node("Conv", &[&x, &weight], &[("kernel_shape", repeat(1, 2))])
    }

    /// A depth-wise 3×3×3 convolution on planes `[N, hidden, D, H·pitch]`, as three two-dimensional ones.
    ///
    /// A step in H is `pitch` columns, so the nine taps (D, H) at one place of W form a 3×3 kernel dilated by
    /// `(1, pitch)`, and the step in W is a shift by one column, made with unequal padding. The zero column between
    /// rows keeps neighbours in W from wrapping. ONNX Runtime has fast kernels for two-dimensional depth-wise
    /// convolutions and none for three-dimensional ones: 2 to 8 times less time for the same sums.
    fn depthwise_planar(&mut self, name: &str, planes: &str, layer: &Linear, pitch: usize) -> String {
        let hidden = layer.bias.len();
        let bias = self.b.exact(&format!("{name}.bias"), &[hidden], &layer.bias);
        let mut sum: Option<String> = None;
        for tap in 0..3 {
            let kernel: Vec<f64> = layer.weight.iter().skip(tap).step_by(3).copied().collect();
            let weight = self.b.weight(&format!("{name}.weight.w{tap}"), &[hidden, 1, 3, 3], &kernel);
            let (pitch, tap) = (pitch as i64, tap as i64);
            let attributes = [
                ("kernel_shape", repeat(3, 2)),
                ("group", Attribute::Int(hidden as i64)),
                ("dilations", ints(&[1, pitch])),
                ("pads", ints(&[1, pitch + 1 - tap, 1, pitch - 1 + tap])),
            ];
            sum = Some(match sum {
                None => self.b.node("Conv", &[planes, &weight, &bias], &attributes),
                Some(sum) => {
                    let part = self.b.node("Conv", &[planes, &weight], &attributes);
                    self.b.node("Add", &[&sum, &part], &[])
                }
            });
        }
        sum.unwrap_or_default()
    }

    /// Planes `[N, C, D, H·pitch]` back to `[N, C, D, H, W]`. Rows too wide for the pitch come back too short, which
    /// fails at the next addition instead of going unnoticed.
    fn drop_separator(&mut self, planes: &str, channels: usize, dims: &str, pitch: usize) -> String {
        let [depth, height, width] = self.spatial(dims);
        let widest = self.b.ints(&[pitch as i64 - 1]);
        let width = self.b.node("Min", &[&width, &widest], &[]);
        let (keep, pitch) = (self.b.ints(&[0, channels as i64]), self.b.ints(&[pitch as i64]));
        let axis = [("axis", Attribute::Int(0))];
        let shape = self.b.node("Concat", &[&keep, &depth, &height, &pitch], &axis);
        let x = self.b.node("Reshape", &[planes, &shape], &[]);
        let (first, w_axis) = (self.b.ints(&[0]), self.b.ints(&[4]));
        self.b.node("Slice", &[&x, &first, &width, &w_axis], &[])
    }

    /// All branches brought to the first stage's size and summed; then the head.
    ///
    /// The fuse convolution is linear, so each branch passes its own columns of it at its own resolution. Resizing is
    /// separable, so the branches are joined along W before the last axis is interpolated: one product does both.
    fn decoder(&mut self, features: &[Feature]) {
        let e = self.config.decoder_head_embedding_dim;
        let fuse = self.weights.get("segformer_decoder.linear_fuse.0.weight");
        let mut fuse = Linear { weight: fuse, bias: vec![0.0; e] };
        rewrite::fold_batch_norm(&mut fuse, &self.batch_norm("segformer_decoder.linear_fuse.1"));
        let mut constant = fuse.bias;
        let mut branches = Vec::new();
        for i in 0..STAGES {
            let name = format!("segformer_decoder.linear_c{}", i + 1);
            self.b.scope(name.clone());
            // Columns of the fuse convolution run from the last stage to the first.
            let column = (STAGES - 1 - i) * e;
            let block: Vec<f64> =
                fuse.weight.chunks(STAGES * e).flat_map(|row| &row[column..column + e]).copied().collect();
            let channels = self.config.embed_dims[i];
            let merged = rewrite::branch(
                &self.linear(&format!("{name}.proj")),
                &self.linear(&format!("{name}.bn")),
                &block,
                channels,
            );
            constant.iter_mut().zip(&merged.after.bias).for_each(|(c, b)| *c += b);
            let width = merged.before.bias.len();
            let x = self.token_linear(&format!("{name}.proj"), &features[i].tokens, &merged.before, channels);
            let one = self.b.exact(&format!("{name}.bn.weight"), &[width], &vec![1.0; width]);
            let x = self.b.node(
                "LayerNormalization",
                &[&x, &one],
                &[("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(merged.epsilon as f32))],
            );
            branches.push((x, width, merged.after));
        }
        // Interpolation weights sum to one, so all constants can travel with the smallest branch.
        if let Some((_, _, after)) = branches.last_mut() {
            after.bias = constant;
        }
        let mut up = Vec::new();
        for (i, (x, width, after)) in branches.iter().enumerate() {
            let fuse_name = format!("segformer_decoder.linear_fuse.0.c{}", i + 1);
            self.b.scope(fuse_name.clone());
            let is_last = i + 1 == STAGES;
            let fused = if is_last {
                self.token_linear(&fuse_name, x, after, *width)
            } else {
                self.token_product(&fuse_name, x, &after.weight, *width)
            };
            up.push(fused);
        }
        self.b.scope("segformer_decoder.resize");
        let axes = self.spatial(&features[0].dims);
        let mut rows = Vec::new();
        let mut along_w = Vec::new();
        for (i, fused) in up.iter().enumerate().skip(1) {
            let from = self.spatial(&features[i].dims);
            rows.push(self.upsample_dh(fused, &from, &axes, e));
            along_w.push(self.interpolation(&from[2], &axes[2]));
        }
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let along_w: Vec<&str> = along_w.iter().map(String::as_str).collect();
        let rows = self.b.node("Concat", &rows, &[("axis", Attribute::Int(1))]);
        let along_w = self.b.node("Concat", &along_w, &[("axis", Attribute::Int(1))]);
        let coarse = self.b.node("MatMul", &[&along_w, &rows], &[]);
        self.b.scope("segformer_decoder.head");
        let flat = self.b.ints(&[-1, e as i64]);
        let coarse = self.b.node("Reshape", &[&coarse, &flat], &[]);
        let fine = self.b.node("Reshape", &[&up[0], &flat], &[]);
        let sum = self.b.node("Add", &[&fine, &coarse], &[]);
        let fused = self.b.node("Relu", &[&sum], &[]);
        let k = self.config.num_classes;
        let head = self.linear("segformer_decoder.linear_pred");
        let logits = self.token_linear("segformer_decoder.linear_pred", &fused, &head, e);
        let batch =
            self.b.node("Shape", &[INPUT], &[("start", Attribute::Int(0)), ("end", Attribute::Int(1))]);
        let rest = self.b.ints(&[-1, k as i64]);
        let shape = self.b.node("Concat", &[&batch, &rest], &[("axis", Attribute::Int(0))]);
        let logits = self.b.node("Reshape", &[&logits, &shape], &[]);
        if self.config.output_size == OutputSize::Coarse || self.config.upsample() == 1 {
            let volume = self.volume(&logits, k, &features[0].dims);
            self.b.named("Identity", &[&volume], &[], OUTPUT);
            return;
        }
        self.b.scope("segformer_decoder.upsample_volume");
        let volume = self.volume(&logits, k, &features[0].dims);
        self.upsample_logits(&volume, &features[0].dims, k);
    }

    /// Tokens `[N, d·h·w, E]` to rows `[N·D·H, w, E]` at the target's D and H.
    fn upsample_dh(&mut self, tokens: &str, from: &[String; 3], to: &[String; 3], e: usize) -> String {
        let along_d = self.interpolation(&from[0], &to[0]);
        let along_h = self.interpolation(&from[1], &to[1]);
        let (keep, infer, channels) = (self.b.ints(&[0]), self.b.ints(&[-1]), self.b.ints(&[e as i64]));
        let axis = [("axis", Attribute::Int(0))];
        let shape = self.b.node("Concat", &[&keep, &from[0], &infer], &axis);
        let x = self.b.node("Reshape", &[tokens, &shape], &[]);
        let x = self.b.node("MatMul", &[&along_d, &x], &[]);
        let row = self.b.node("Mul", &[&from[2], &channels], &[]);
        let shape = self.b.node("Concat", &[&infer, &from[1], &row], &axis);
        let x = self.b.node("Reshape", &[&x, &shape], &[]);
        let x = self.b.node("MatMul", &[&along_h, &x], &[]);
        let shape = self.b.node("Concat", &[&infer, &from[2], &channels], &axis);
        self.b.node("Reshape", &[&x, &shape], &[])
    }

    /// Trilinear upsampling of `[N, K, d, h, w]` by the configured factor, to the network's output.
    fn upsample_logits(&mut self, volume: &str, dims: &str, k: usize) {
        let factor = self.b.ints(&[self.config.upsample() as i64]);
        let from = self.spatial(dims);
        let to = from.clone().map(|n| self.b.node("Mul", &[&n, &factor], &[]));
        let axis = [("axis", Attribute::Int(0))];
        let (keep, infer) = (self.b.ints(&[0, k as i64]), self.b.ints(&[-1]));
        let shape = self.b.node("Concat", &[&keep, &from[0], &infer], &axis);
        let x = self.b.node("Reshape", &[volume, &shape], &[]);
        let along_d = self.interpolation(&from[0], &to[0]);
        let x = self.b.node("MatMul", &[&along_d, &x], &[]);
        let shape = self.b.node("Concat", &[&keep, &to[0], &from[1], &from[2]], &axis);
        let x = self.b.node("Reshape", &[&x, &shape], &[]);
        let along_h = self.interpolation(&from[1], &to[1]);
        let x = self.b.node("MatMul", &[&along_h, &x], &[]);
        // The widest product comes last, and from the right, where it needs no rearrangement.
        let along_w = self.interpolation(&from[2], &to[2]);
        let along_w = self.b.node("Transpose", &[&along_w], &[("perm", ints(&[1, 0]))]);
        self.b.named("MatMul", &[&x, &along_w], &[], OUTPUT);
    }

    /// The matrix `[to, from]` of linear interpolation with half-pixel centres and clamped edges: entry (o, i) is
    /// `max(0, 1 − |x − i|)` with `x = (o + ½)·from/to − ½` clamped to `[0, from − 1]`. Sizes are one-entry shapes.
    fn interpolation(&mut self, from: &str, to: &str) -> String {
        let float = [("to", Attribute::Int(1))];
        let (zero, half, one) = (self.b.scalar(0.0), self.b.scalar(0.5), self.b.scalar(1.0));
        let none = self.b.ints(&[0]);
        let scalar = self.b.ints(&[]);
        let (first, step) = (self.b.node("Reshape", &[&none, &scalar], &[]), self.b.ints(&[1]));
        let step = self.b.node("Reshape", &[&step, &scalar], &[]);
        let mut range = |n: &str| {
            let n = self.b.node("Reshape", &[n, &scalar], &[]);
            let whole = self.b.node("Range", &[&first, &n, &step], &[]);
            self.b.node("Cast", &[&whole], &float)
        };
        let inputs = range(from);
        let outputs = range(to);
        let from = self.b.node("Cast", &[from], &float);
        let to = self.b.node("Cast", &[to], &float);
        let ratio = self.b.node("Div", &[&from, &to], &[]);
        let x = self.b.node("Add", &[&outputs, &half], &[]);
        let x = self.b.node("Mul", &[&x, &ratio], &[]);
        let x = self.b.node("Sub", &[&x, &half], &[]);
        let x = self.b.node("Max", &[&x, &zero], &[]);
        let last = self.b.node("Sub", &[&from, &one], &[]);
        let x = self.b.node("Min", &[&x, &last], &[]);
        let column = self.b.ints(&[-1, 1]);
        let x = self.b.node("Reshape", &[&x, &column], &[]);
        let distance = self.b.node("Sub", &[&x, &inputs], &[]);
        let distance = self.b.node("Abs", &[&distance], &[]);
        let weight = self.b.node("Sub", &[&one, &distance], &[]);
        self.b.node("Relu", &[&weight], &[])
    }

    /// `[D, H, W]` as three one-entry shapes.
    fn spatial(&mut self, dims: &str) -> [String; 3] {
        [0, 1, 2].map(|axis| {
            let at = self.b.ints(&[axis]);
            self.b.node("Gather", &[dims, &at], &[])
        })
    }

    /// Volume `[N, C, D, H, W]` to tokens `[N, L, C]`.
    fn tokens(&mut self, volume: &str, channels: usize) -> String {
        let shape = self.b.ints(&[0, channels as i64, -1]);
        let flat = self.b.node("Reshape", &[volume, &shape], &[]);
        self.b.node("Transpose", &[&flat], &[("perm", ints(&[0, 2, 1]))])
    }

    /// Tokens `[N, L, C]` to volume `[N, C, D, H, W]`.
    fn volume(&mut self, tokens: &str, channels: usize, dims: &str) -> String {
        let first = self.b.node("Transpose", &[tokens], &[("perm", ints(&[0, 2, 1]))]);
        let keep = self.b.ints(&[0, channels as i64]);
        let shape = self.b.node("Concat", &[&keep, dims], &[("axis", Attribute::Int(0))]);
        self.b.node("Reshape", &[&first, &shape], &[])
    }

    fn convolution(
        &mut self,
        name: &str,
        volume: &str,
        layer: &Linear,
        shape: &[usize],
        settings: &[(&'static str, Attribute)],
    ) -> String {
        let weight = self.b.weight(&format!("{name}.weight"), shape, &layer.weight);
        let bias = self.b.exact(&format!("{name}.bias"), &[shape[0]], &layer.bias);
        let kernel: Vec<i64> = shape[2..].iter().map(|&n| n as i64).collect();
        let mut attributes = vec![("kernel_shape", Attribute::Ints(kernel))];
        attributes.extend_from_slice(settings);
        self.b.node("Conv", &[volume, &weight, &bias], &attributes)
    }

    fn layer_norm(&mut self, name: &str, tokens: &str) -> String {
        let Linear { weight, bias } = self.linear(name);
        let weight = self.b.exact(&format!("{name}.weight"), &[weight.len()], &weight);
        let bias = self.b.exact(&format!("{name}.bias"), &[bias.len()], &bias);
        self.b.node(
            "LayerNormalization",
            &[tokens, &weight, &bias],
            &[("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(EPSILON as f32))],
        )
    }

    /// A linear layer on the last axis.
    fn token_linear(&mut self, name: &str, tokens: &str, layer: &Linear, inputs: usize) -> String {
        let x = self.token_product(name, tokens, &layer.weight, inputs);
        let bias = self.b.exact(&format!("{name}.bias"), &[layer.bias.len()], &layer.bias);
        self.b.node("Add", &[&x, &bias], &[])
    }

    /// A linear layer without bias on the last axis. ONNX multiplies from the right, so weights are stored
    /// transposed.
    fn token_product(&mut self, name: &str, tokens: &str, weight: &[f64], inputs: usize) -> String {
        let outputs = weight.len() / inputs;
        let transposed = rewrite::transpose(weight, inputs);
        let weight = self.b.weight(&format!("{name}.weight"), &[inputs, outputs], &transposed);
        self.b.node("MatMul", &[tokens, &weight], &[])
    }

    /// Weight and bias of a layer.
    fn linear(&self, name: &str) -> Linear {
        Linear {
            weight: self.weights.get(&format!("{name}.weight")),
            bias: self.weights.get(&format!("{name}.bias")),
        }
    }

    fn batch_norm(&self, name: &str) -> BatchNorm {
        let Linear { weight, bias } = self.linear(name);
        BatchNorm {
            weight,
            bias,
            mean: self.weights.get(&format!("{name}.running_mean")),
            var: self.weights.get(&format!("{name}.running_var")),
        }
    }
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn repeat(value: usize, times: usize) -> Attribute {
    Attribute::Ints(vec![value as i64; times])
}
