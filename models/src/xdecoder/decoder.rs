//! The decoder for classes and for phrases. Rows are `(rows, C)`. A mask's logit below 0 blocks a place from a row; a row
//! that is blocked everywhere sees everything.

use super::rows::{Rows, fixed, int, port};
use super::{HEAD, ports};
use crate::onnx::{Dim, Element, Graph, Port, TensorData};

/// Rows at work in the decoder.
pub struct Decoder<'a> {
    pub(super) net: Rows<'a>,
}

/// `classes` `(K + 1, D)` and the image's to `logits` `(Q, K + 1)`, `masks` `(Q, h4, w4)` and `vectors` `(Q, D)`.
pub fn segment(net: Rows<'_>) -> Graph {
    let config = net.config;
    let mut decoder = Decoder { net };
    let x = decoder.objects(|_, _, _| ());
    decoder.net.b.scope("heads");
    let d = decoder.out(&x, true);
    let net = &mut decoder.net;
    let project = net.parameter(&format!("{HEAD}.class_embed"), &[config.hidden_dim, config.proj_dim]);
    net.b.named("MatMul", &[&d, &project], &[], "vectors");
    let unit = net.unit("vectors");
    let classes = net.transpose("classes", &[1, 0]);
    let alike = net.node("MatMul", &[&unit, &classes]);
    let scale = net.scale(None);
    net.b.named("Mul", &[&alike, &scale], &[], "logits");
    decoder.name_masks(&d);
    let (q, classes) = (Dim::Fixed(config.queries), Dim::Free("classes"));
    let mut inputs = vec![port("classes", vec![classes.clone(), Dim::Fixed(config.proj_dim)])];
    inputs.extend(ports(config, true));
    decoder.net.finish(
        inputs,
        vec![
            port("logits", vec![q.clone(), classes]),
            port("masks", vec![q.clone(), Dim::Free("h4"), Dim::Free("w4")]),
            port("vectors", vec![q, Dim::Fixed(config.proj_dim)]),
        ],
    )
}

/// `words` `(N, C)`, `sentence` `(1, D)` and the image's to `similarity` `(Q − 1)` of every query, `best`, the places of
/// the likeliest, and their `masks` `(k, h4, w4)`. The queries of the class mode neither see nor are seen by the phrase, and
/// are left out.
pub fn ground(net: Rows<'_>) -> Graph {
    let config = net.config;
    let (n, c) = (config.queries - 1, config.hidden_dim);
    let mut decoder = Decoder { net };
    let [mut x, position] = decoder.queries(n);
    let mut text = "words".to_owned();
    decoder.net.b.scope("words");
    let count = decoder.net.ints(&[n as i64]);
    let words = decoder.net.b.node("Shape", &["words"], &[int("end", 1)]);
    let cut = decoder.net.concat(&[&count, &words], 0);
    let positions = decoder.net.concat(&[&position, "words"], 0);
    for i in 0..config.decoder_layers {
        decoder.net.b.scope(format!("decoder.{i}"));
        let blocked = decoder.blocked(&x, i % 3, false, true);
        let placed = decoder.net.add(&x, &position);
        x = decoder.attended(&x, &placed, i, &blocked);
        let both = decoder.net.concat(&[&x, &text], 0);
        let placed = decoder.net.add(&both, &positions);
        let [q, keys, values] = decoder.own(&both, &placed, i);
        let mixed = decoder.mixed(&both, &q, [&keys, &values], i, None);
        let parts = decoder.net.b.nodes("Split", &[&mixed, &cut], &[int("axis", 0)], 2);
        (x, text) = (parts[0].clone(), parts[1].clone());
    }
    decoder.net.b.scope("heads");
    let d = decoder.out(&x, false);
    let net = &mut decoder.net;
    let vectors = net.matrix(&d, &format!("{HEAD}.class_embed"), c, config.proj_dim);
    let (vectors, sentence) = (net.unit(&vectors), net.unit("sentence"));
    let sentence = net.transpose(&sentence, &[1, 0]);
    let alike = net.node("MatMul", &[&vectors, &sentence]);
    let scale = net.scale(Some(100.0));
    let alike = net.node("Mul", &[&alike, &scale]);
    let flat = net.ints(&[-1]);
    net.b.named("Reshape", &[&alike, &flat], &[], "similarity");
    let count = config.candidates();
    let most = net.ints(&[count as i64]);
    let best = net.b.nodes("TopK", &["similarity", &most], &[int("axis", 0)], 2)[1].clone();
    net.b.named("Identity", &[&best], &[], "best");
    let embedded = decoder.mask_embed(&d);
    let embedded = decoder.net.b.node("Gather", &[&embedded, &best], &[int("axis", 0)]);
    let masks = decoder.masks(&embedded);
    decoder.net.b.named("Identity", &[&masks], &[], "masks");
    let mut inputs = vec![
        port("words", vec![Dim::Free("n"), Dim::Fixed(c)]),
        port("sentence", fixed(&[1, config.proj_dim])),
    ];
    inputs.extend(ports(config, true));
    decoder.net.finish(
        inputs,
        vec![
            port("similarity", fixed(&[n])),
            Port { name: "best".to_owned(), kind: Element::I64, dims: fixed(&[count]) },
            port("masks", vec![Dim::Fixed(count), Dim::Free("h4"), Dim::Free("w4")]),
        ],
    )
}

impl Decoder<'_> {
    /// The first `count` queries and their positions.
    fn queries(&mut self, count: usize) -> [String; 2] {
        let net = &mut self.net;
        let shape = [net.config.queries, net.config.hidden_dim];
        let cut = [net.ints(&[0]), net.ints(&[count as i64]), net.ints(&[0])];
        ["query_feat", "query_embed"].map(|name| {
            let all = net.parameter(&format!("{HEAD}.{name}.weight"), &shape);
            net.turned(&all, "Slice", &cut.each_ref().map(String::as_str), &[])
        })
    }

    /// Rows as the heads see them; with `is_pooled` the last becomes the sum of the others, weighted by likeness to it.
    pub(super) fn out(&mut self, x: &str, is_pooled: bool) -> String {
        let net = &mut self.net;
        let d = net.norm(x, &format!("{HEAD}.decoder_norm"), net.config.hidden_dim, 1e-5);
        if !is_pooled {
            return d;
        }
        let cut = net.ints(&[net.config.queries as i64 - 1, 1]);
        let parts = net.b.nodes("Split", &[&d, &cut], &[int("axis", 0)], 2);
        let (objects, token) = (&parts[0], &parts[1]);
        let (token, unit) = (net.unit(token), net.unit(objects));
        let unit = net.transpose(&unit, &[1, 0]);
        let likeness = net.node("MatMul", &[&token, &unit]);
        let weights = net.b.node("Softmax", &[&likeness], &[int("axis", -1)]);
        let sum = net.node("MatMul", &[&weights, objects]);
        net.concat(&[objects, &sum], 0)
    }

    fn mask_embed(&mut self, d: &str) -> String {
        let net = &mut self.net;
        let (c, m) = (net.config.hidden_dim, net.config.mask_dim);
        let path = format!("{HEAD}.mask_embed.layers");
        let d = net.linear(d, &format!("{path}.0"), c, c);
        let d = net.node("Relu", &[&d]);
        let d = net.linear(&d, &format!("{path}.1"), c, c);
        let d = net.node("Relu", &[&d]);
        net.linear(&d, &format!("{path}.2"), c, m)
    }

    /// (n, M) to (n, h4, w4).
    fn masks(&mut self, embedded: &str) -> String {
        let net = &mut self.net;
        let flat = net.reshape("mask_features", &[net.config.mask_dim as i64, -1]);
        let flat = net.node("MatMul", &[embedded, &flat]);
        let size = net.b.node("Shape", &["mask_features"], &[int("start", 1)]);
        let first = net.ints(&[-1]);
        let shape = net.concat(&[&first, &size], 0);
        net.node("Reshape", &[&flat, &shape])
    }

    fn name_masks(&mut self, d: &str) {
        let embedded = self.mask_embed(d);
        let masks = self.masks(&embedded);
        self.net.b.named("Identity", &[&masks], &[], "masks");
    }

    /// bool (rows, h w): what a row does not see of a level. Grounding leaves its first row open everywhere, as the official
    /// program does.
    fn blocked(&mut self, x: &str, level: usize, is_pooled: bool, is_first_open: bool) -> String {
        let d = self.out(x, is_pooled);
        let embedded = self.mask_embed(&d);
        let net = &mut self.net;
        let logits = net.node("MatMul", &[&embedded, &format!("coarse_{level}")]);
        let (zero, along) = (net.real(0.0), net.ints(&[1]));
        let largest = net.b.node("ReduceMax", &[&logits, &along], &[int("keepdims", 1)]);
        let some = net.node("GreaterOrEqual", &[&largest, &zero]);
        let low = net.node("Less", &[&logits, &zero]);
        let found = net.node("And", &[&low, &some]);
        if !is_first_open {
            return found;
        }
        let n = net.config.queries - 1;
        let others = net
            .b
            .constant("all but the first", &[n, 1], || TensorData::Bool((0..n).map(|row| row > 0).collect()));
        net.node("And", &[&found, &others])
    }

    /// Rows after their look at the image; `placed`: rows with positions.
    pub(super) fn attended(&mut self, x: &str, placed: &str, i: usize, blocked: &str) -> String {
        let net = &mut self.net;
        let (c, heads) = (net.config.hidden_dim, net.config.heads);
        let path = format!("{HEAD}.transformer_cross_attention_layers.{i}");
        let attention = format!("{path}.multihead_attn");
        let q = net.projected(placed, &attention, 0, c);
        let seen = [format!("keys_{i}"), format!("values_{i}")];
        let y = net.looked(&q, seen.each_ref().map(String::as_str), &attention, [c, heads], Some(blocked));
        let sum = net.add(x, &y);
        net.norm(&sum, &format!("{path}.norm"), c, 1e-5)
    }

    /// Queries, keys and values of layer i's self-attention.
    pub(super) fn own(&mut self, x: &str, placed: &str, i: usize) -> [String; 3] {
        let net = &mut self.net;
        let (c, heads) = (net.config.hidden_dim, net.config.heads);
        let path = format!("{HEAD}.transformer_self_attention_layers.{i}.self_attn");
        let q = net.projected(placed, &path, 0, c);
        let keys = net.projected(placed, &path, 1, c);
        let keys = net.heads_turned(&keys, c, heads);
        let values = net.projected(x, &path, 2, c);
        [q, keys, net.heads(&values, c, heads)]
    }

    /// Rows after self-attention and the feed-forward layer.
    pub(super) fn mixed(
        &mut self,
        x: &str,
        q: &str,
        seen: [&str; 2],
        i: usize,
        hidden: Option<&str>,
    ) -> String {
        let net = &mut self.net;
        let (c, heads) = (net.config.hidden_dim, net.config.heads);
        let path = format!("{HEAD}.transformer_self_attention_layers.{i}");
        let y = net.looked(q, seen, &format!("{path}.self_attn"), [c, heads], hidden);
        let sum = net.add(x, &y);
        let x = net.norm(&sum, &format!("{path}.norm"), c, 1e-5);
        let path = format!("{HEAD}.transformer_ffn_layers.{i}");
        let y = net.ffn(&x, &path, c);
        let sum = net.add(&x, &y);
        net.norm(&sum, &format!("{path}.norm"), c, 1e-5)
    }

    /// bool (Q, Q): objects do not see the class token, which sees only itself.
    fn apart(&mut self) -> String {
        let q = self.net.config.queries;
        self.net.b.constant("the class token apart", &[q, q], || {
            let pairs = (0..q * q).map(|n| (n / q == q - 1) != (n % q == q - 1));
            TensorData::Bool(pairs.collect())
        })
    }

    /// All queries after all layers; `keep` is shown the keys and values of each self-attention.
    pub(super) fn objects(&mut self, mut keep: impl FnMut(&mut Self, &str, &str)) -> String {
        let config = self.net.config;
        let [mut x, position] = self.queries(config.queries);
        for i in 0..config.decoder_layers {
            self.net.b.scope(format!("decoder.{i}"));
            let blocked = self.blocked(&x, i % 3, true, false);
            let placed = self.net.add(&x, &position);
            x = self.attended(&x, &placed, i, &blocked);
            let placed = self.net.add(&x, &position);
            let [q, keys, values] = self.own(&x, &placed, i);
            keep(self, &keys, &values);
            let apart = self.apart();
            x = self.mixed(&x, &q, [&keys, &values], i, Some(&apart));
        }
        x
    }
}
