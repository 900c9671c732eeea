//! Tiny ONNX models written byte by byte, and the engine that all tests of one program share.
//!
//! Field numbers are those of `onnx.proto`.
#![allow(dead_code)]

use inference::provider::ProviderChoice;
use inference::{Engine, EngineOptions};

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// A `ValueInfoProto` of floats; `None` is a free axis.
fn value(name: &str, dims: &[Option<u64>]) -> Vec<u8> {
    let dims: Vec<u8> = dims
        .iter()
        .enumerate()
        .flat_map(|(n, d)| {
            let dim = d.map_or_else(|| bytes(2, format!("n{n}").as_bytes()), |d| number(1, d));
            bytes(1, &dim)
        })
        .collect();
    let tensor = [number(1, 1), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    out.extend(bytes(2, output.as_bytes()));
    out.extend(bytes(4, op.as_bytes()));
    out
}

fn model(nodes: &[Vec<u8>], input: &[u8], output: &[u8]) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|n| bytes(1, n)).collect();
    graph.extend(bytes(2, b"g"));
    graph.extend(bytes(11, input));
    graph.extend(bytes(12, output));
    let opset = [bytes(1, b""), number(2, 17)].concat();
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// `logits = image + image`, `[N, 2, D, H, W]`.
pub fn doubling() -> Vec<u8> {
    let dims = [None, Some(2), None, None, None];
    model(&[node("Add", &["image", "image"], "logits")], &value("image", &dims), &value("logits", &dims))
}

/// `count` products of 1024 × 1024 matrices one after the other.
pub fn slow(count: usize) -> Vec<u8> {
    let name = |n: usize| if n == 0 { "x".to_owned() } else { format!("x{n}") };
    let nodes: Vec<Vec<u8>> = (0..count).map(|n| node("MatMul", &[&name(n), "x"], &name(n + 1))).collect();
    let dims = [Some(1024), Some(1024)];
    model(&nodes, &value("x", &dims), &value(&name(count), &dims))
}

/// The engine, or `None` with a visible line where ONNX Runtime is not installed.
pub fn engine(test: &str) -> Option<&'static Engine> {
    match inference::runtime::find() {
        Ok(found) => {
            let options = EngineOptions { runtime: found.path, provider: ProviderChoice::Auto, threads: 2 };
            Some(Engine::start(&options).expect("a library that was found starts"))
        }
        Err(why) => {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("SKIPPED {test}: {why}");
            }
            None
        }
    }
}
