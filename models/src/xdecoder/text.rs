//! The text encoder: a causal transformer over byte-pair tokens, and the projection its vectors are compared in.

use super::rows::{Rows, int, port};
use super::{HEAD, LANGUAGE};
use crate::onnx::{Dim, Element, Graph, Port};

/// Of the norms of this part; all others have 1e-5.
const EPSILON: f32 = 1e-12;

/// `ids` int64 `(n, length)` to `tokens` `(n, length, D)` and `sentences` `(n, D)`, the vectors of the first end token,
/// which has the largest id.
pub fn build(mut net: Rows<'_>) -> Graph {
    let config = net.config;
    let (c, heads, d) = (config.text_width, config.text_heads, config.text_width / config.text_heads);
    net.b.scope(LANGUAGE);
    let size = net.node("Shape", &["ids"]);
    let (one, two, zero) = (net.ints(&[1]), net.ints(&[2]), net.ints(&[0]));
    let length = net.node("Slice", &[&size, &one, &two]);
    let table = net.parameter(&format!("{LANGUAGE}.token_embedding.weight"), &[config.vocabulary, c]);
    let table = net.b.node("Gather", &[&table, "ids"], &[int("axis", 0)]);
    let places = net.parameter(&format!("{LANGUAGE}.positional_embedding"), &[config.context, c]);
    let places = net.node("Slice", &[&places, &zero, &length, &zero]);
    let x = net.add(&table, &places);
    let mut x = net.reshape(&x, &[-1, c as i64]);
    let place = net.index(&length);
    let (below, right) = (net.node("Unsqueeze", &[&place, &one]), net.node("Unsqueeze", &[&place, &zero]));
    let future = net.node("Less", &[&below, &right]);
    let apart = net.ints(&[heads as i64, d as i64]);
    let apart = net.concat(&[&size, &apart], 0);
    for i in 0..config.text_layers {
        let block = format!("{LANGUAGE}.resblocks.{i}");
        net.b.scope(block.clone());
        let y = net.norm(&x, &format!("{block}.ln_1"), c, EPSILON);
        let [q, k, v] = [0, 1, 2].map(|n| {
            let part = net.projected(&y, &format!("{block}.attn"), n, c);
            let part = net.node("Reshape", &[&part, &apart]);
            net.transpose(&part, if n == 1 { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] })
        });
        let scale = net.real((d as f64).powf(-0.5));
        let q = net.node("Mul", &[&q, &scale]);
        let scores = net.node("MatMul", &[&q, &k]);
        let scores = net.hidden(scores, Some(&future));
        let weights = net.b.node("Softmax", &[&scores], &[int("axis", -1)]);
        let y = net.node("MatMul", &[&weights, &v]);
        let y = net.transpose(&y, &[0, 2, 1, 3]);
        let y = net.reshape(&y, &[-1, c as i64]);
        let y = net.linear(&y, &format!("{block}.attn.out_proj"), c, c);
        x = net.add(&x, &y);
        let y = net.norm(&x, &format!("{block}.ln_2"), c, EPSILON);
        let y = net.linear(&y, &format!("{block}.mlp.c_fc"), c, 4 * c);
        let steep = net.real(1.702);
        let gate = net.node("Mul", &[&y, &steep]);
        let gate = net.node("Sigmoid", &[&gate]);
        let y = net.node("Mul", &[&y, &gate]);
        let y = net.linear(&y, &format!("{block}.mlp.c_proj"), 4 * c, c);
        x = net.add(&x, &y);
    }
    net.b.scope(LANGUAGE);
    let x = net.norm(&x, &format!("{LANGUAGE}.ln_final"), c, EPSILON);
    let x = net.matrix(&x, &format!("{HEAD}.lang_encoder.lang_proj"), c, config.proj_dim);
    let rest = net.ints(&[-1]);
    let shape = net.concat(&[&size, &rest], 0);
    net.b.named("Reshape", &[&x, &shape], &[], "tokens");
    let last = net.b.node("ArgMax", &["ids"], &[int("axis", 1), int("keepdims", 1)]);
    net.b.named("GatherND", &["tokens", &last], &[int("batch_dims", 1)], "sentences");
    let (n, length, d) = (Dim::Free("n"), Dim::Free("length"), Dim::Fixed(config.proj_dim));
    let ids = Port { name: "ids".to_owned(), kind: Element::I64, dims: vec![n.clone(), length.clone()] };
    net.finish(
        vec![ids],
        vec![port("tokens", vec![n.clone(), length, d.clone()]), port("sentences", vec![n, d])],
    )
}
