//! Captions, one word a call: `objects` gives what words see of the queries, `caption` the next word's scores.

use super::decoder::Decoder;
use super::memory::AREAS;
use super::rows::{Rows, fixed, int, port};
use super::{HEAD, LANGUAGE, ports};
use crate::onnx::{Dim, Element, Graph, Port, TensorData};

/// The image's to `seen_keys` `(L, heads, d, Q)` and `seen_values` `(L, heads, Q, d)`, those of every layer's
/// self-attention.
pub fn objects(net: Rows<'_>) -> Graph {
    let config = net.config;
    let mut decoder = Decoder { net };
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    decoder.objects(|decoder, k, v| {
        keys.push(layered(&mut decoder.net, k));
        values.push(layered(&mut decoder.net, v));
    });
    decoder.net.b.scope("seen");
    joined(&mut decoder.net, "seen_keys", &keys);
    joined(&mut decoder.net, "seen_values", &values);
    let (l, heads, d) = (config.decoder_layers, config.heads, config.hidden_dim / config.heads);
    let outputs = vec![
        port("seen_keys", fixed(&[l, heads, d, config.queries])),
        port("seen_values", fixed(&[l, heads, config.queries, d])),
    ];
    decoder.net.finish(ports(config, false), outputs)
}

/// `word` `(1, C)`, the row of the text encoder's tokens for the latest word, `place` int64 `(1)`, `away_l` bool `(1, h w)`,
/// true where not to look (true everywhere has no answer: NaN), past and seen keys and values, and the image's, to `logits`
/// `(1, vocabulary)` and to `now_keys` and `now_values`, which the caller appends to the past (axis 3 of keys, 2 of values;
/// the past begins with length 0).
pub fn caption(net: Rows<'_>) -> Graph {
    let config = net.config;
    let (layers, heads, c) = (config.decoder_layers, config.heads, config.hidden_dim);
    let d = c / heads;
    let mut decoder = Decoder { net };
    let mut x = "word".to_owned();
    decoder.net.b.scope("place");
    let table = decoder.net.parameter(&format!("{HEAD}.pos_embed_caping.weight"), &[config.context, c]);
    let place = decoder.net.b.node("Gather", &[&table, "place"], &[int("axis", 0)]);
    let position = decoder.net.add("word", &place);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for i in 0..layers {
        decoder.net.b.scope(format!("caption.{i}"));
        let placed = decoder.net.add(&x, &position);
        x = decoder.attended(&x, &placed, i, &format!("away_{}", i % 3));
        let placed = decoder.net.add(&x, &position);
        let [q, k, v] = decoder.own(&x, &placed, i);
        let net = &mut decoder.net;
        keys.push(layered(net, &k));
        values.push(layered(net, &v));
        let index = net.b.constant(&format!("layer[{i}]"), &[], || TensorData::I64(vec![i as i64]));
        let mut whole = |what: &str, now: &str, axis: i64| {
            let parts = ["seen", "past"]
                .map(|when| net.b.node("Gather", &[&format!("{when}_{what}"), &index], &[int("axis", 0)]));
            net.concat(&[&parts[0], &parts[1], now], axis)
        };
        let (k, v) = (whole("keys", &k, 2), whole("values", &v, 1));
        x = decoder.mixed(&x, &q, [&k, &v], i, None);
    }
    decoder.net.b.scope("heads");
    joined(&mut decoder.net, "now_keys", &keys);
    joined(&mut decoder.net, "now_values", &values);
    let out = decoder.out(&x, false);
    let net = &mut decoder.net;
    let feature = net.matrix(&out, &format!("{HEAD}.caping_embed"), c, config.proj_dim);
    let table =
        net.parameter(&format!("{LANGUAGE}.token_embedding.weight"), &[config.vocabulary, config.text_width]);
    net.b.named("Gemm", &[&feature, &table], &[int("transB", 1)], "logits");
    let past = Dim::Free("past");
    let [l, h, d] = [layers, heads, d].map(Dim::Fixed);
    let mut inputs = vec![
        port("word", fixed(&[1, c])),
        Port { name: "place".to_owned(), kind: Element::I64, dims: fixed(&[1]) },
    ];
    for (level, area) in AREAS.iter().enumerate().take(config.levels()) {
        let dims = vec![Dim::Fixed(1), Dim::Free(area)];
        inputs.push(Port { name: format!("away_{level}"), kind: Element::Bool, dims });
    }
    let queries = Dim::Fixed(config.queries);
    inputs.extend([
        port("past_keys", vec![l.clone(), h.clone(), d.clone(), past.clone()]),
        port("past_values", vec![l.clone(), h.clone(), past, d.clone()]),
        port("seen_keys", vec![l.clone(), h.clone(), d.clone(), queries.clone()]),
        port("seen_values", vec![l.clone(), h.clone(), queries, d.clone()]),
    ]);
    inputs.extend(ports(config, false).into_iter().filter(|p| !p.name.starts_with("coarse")));
    let one = Dim::Fixed(1);
    let outputs = vec![
        port("logits", fixed(&[1, config.vocabulary])),
        port("now_keys", vec![l.clone(), h.clone(), d.clone(), one.clone()]),
        port("now_values", vec![l, h, one, d]),
    ];
    decoder.net.finish(inputs, outputs)
}

/// With an axis for the layer.
fn layered(net: &mut Rows<'_>, x: &str) -> String {
    let first = net.ints(&[0]);
    net.node("Unsqueeze", &[x, &first])
}

fn joined(net: &mut Rows<'_>, name: &str, parts: &[String]) {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    net.b.named("Concat", &parts, &[int("axis", 0)], name);
}
