//! Small networks of our own making, as others would export them: every one computes what fits on a line, so that tests
//! know the answer without it.

use std::path::Path;

use models::onnx::{Attribute, Builder, Dim, Graph, Model, Port, Precision};

/// Writes a graph as an ONNX file with notes.
///
/// # Panics
/// When the file cannot be written: the test cannot go on.
pub fn write(path: &Path, graph: Graph, metadata: &[(&str, &str)]) {
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    std::fs::write(path, Model { graph, metadata }.encode()).unwrap();
}

fn port(name: &str, dims: &[usize]) -> Port {
    // A length of 0 stands for a free one.
    let dim = |&n: &usize| if n == 0 { Dim::Free("any") } else { Dim::Fixed(n) };
    Port { name: name.to_owned(), kind: models::onnx::Element::F32, dims: dims.iter().map(dim).collect() }
}

/// Positions in `NCDHW` of the letters of a layout, and the other way round.
fn orders(layout: &str) -> [Vec<i64>; 2] {
    let canonical = if layout.contains('D') { "NCDHW" } else { "NCHW" };
    let place = |of: &str, c: char| of.find(c).unwrap() as i64;
    [
        canonical.chars().map(|c| place(layout, c)).collect(),
        layout.chars().map(|c| place(canonical, c)).collect(),
    ]
}

fn transposed(b: &mut Builder, value: &str, order: &[i64]) -> String {
    b.node("Transpose", &[value], &[("perm", Attribute::Ints(order.to_vec()))])
}

/// A segmenter of volumes `[d, h, w]` in some layout of its axes: class 2 where w ≥ W/2, d ≥ D/2 and h < H/2 (right, upper and
/// back for axes SAR); elsewhere class 1 from a value of 0.5 on, and class 0 below.
#[must_use]
pub fn octant_segmenter(layout: &str, [d, h, w]: [usize; 3]) -> Graph {
    let mut b = Builder::new("octant", Precision::F32);
    let [to, from] = orders(layout);
    let x = transposed(&mut b, "image", &to);
    // Scores 0.5, v, v by a convolution of one voxel, then ±1 on the third.
    let weights = b.exact("w", &[3, 1, 1, 1, 1], &[0.0, 1.0, 1.0]);
    let bias = b.exact("b", &[3], &[0.5, 0.0, 0.0]);
    let scores = b.node("Conv", &[&x, &weights, &bias], &[]);
    let mut places = vec![0.0; 2 * d * h * w];
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                places.push(if x >= w / 2 && z >= d / 2 && y < h / 2 { 1.0 } else { -1.0 });
            }
        }
    }
    let places = b.exact("places", &[1, 3, d, h, w], &places);
    let sum = b.node("Add", &[&scores, &places], &[]);
    b.named("Transpose", &[&sum], &[("perm", Attribute::Ints(from))], "scores");
    let mut graph = b.finish();
    let size = |c: char, channels: usize| match c {
        'N' => 0,
        'C' => channels,
        'D' => d,
        'H' => h,
        _ => w,
    };
    let dims = |channels| layout.chars().map(|c| size(c, channels)).collect::<Vec<_>>();
    graph.inputs = vec![port("image", &dims(1))];
    graph.outputs = vec![port("scores", &dims(3))];
    graph
}

/// A segmenter of slices of free size with one sigmoid channel: in where the value is at least `at`.
#[must_use]
pub fn threshold_segmenter(at: f64) -> Graph {
    let mut b = Builder::new("threshold", Precision::F32);
    let weights = b.exact("w", &[1, 1, 1, 1], &[4.0]);
    let bias = b.exact("b", &[1], &[-4.0 * at]);
    let score = b.node("Conv", &["image", &weights, &bias], &[]);
    b.named("Sigmoid", &[&score], &[], "mask");
    let mut graph = b.finish();
    graph.inputs = vec![port("image", &[0, 1, 0, 0])];
    graph.outputs = vec![port("mask", &[0, 1, 0, 0])];
    graph
}

/// A network for grey pictures of free size that answers with `factor` times what it sees.
#[must_use]
pub fn scaling_restorer(factor: f64) -> Graph {
    let mut b = Builder::new("scaling", Precision::F32);
    let weights = b.exact("w", &[1, 1, 1, 1], &[factor]);
    b.named("Conv", &["picture", &weights], &[], "better");
    let mut graph = b.finish();
    graph.inputs = vec![port("picture", &[0, 1, 0, 0])];
    graph.outputs = vec![port("better", &[0, 1, 0, 0])];
    graph
}

/// A classifier of colour pictures of `side` × `side` (rows last but one, colours last, as TensorFlow has them): the scores are
/// the means of red, green and blue.
#[must_use]
pub fn colour_classifier(side: usize) -> Graph {
    let mut b = Builder::new("colours", Precision::F32);
    let x = transposed(&mut b, "picture", &[0, 3, 1, 2]);
    let mean = b.node("GlobalAveragePool", &[&x], &[]);
    b.named("Flatten", &[&mean], &[], "scores");
    let mut graph = b.finish();
    graph.inputs = vec![port("picture", &[1, side, side, 3])];
    graph.outputs = vec![port("scores", &[1, 3])];
    graph
}

/// A classifier of grey slices of `side` × `side`: the probability (a sigmoid) of the mean.
#[must_use]
pub fn brightness_classifier(side: usize) -> Graph {
    let mut b = Builder::new("brightness", Precision::F32);
    let mean = b.node("GlobalAveragePool", &["slice"], &[]);
    let flat = b.node("Flatten", &[&mean], &[]);
    b.named("Sigmoid", &[&flat], &[], "bright");
    let mut graph = b.finish();
    graph.inputs = vec![port("slice", &[1, 1, side, side])];
    graph.outputs = vec![port("bright", &[1, 1])];
    graph
}

/// A detector of grey slices of `side` × `side` that finds the same two boxes on each, `rows` of left, top, right, bottom, score
/// and class; the score is multiplied by the largest value of the slice.
#[must_use]
pub fn constant_detector(side: usize, rows: &[[f64; 6]]) -> Graph {
    let mut b = Builder::new("constant", Precision::F32);
    let most = b.node("GlobalMaxPool", &["slice"], &[]);
    let shape = b.ints(&[1, 1, 1]);
    let most = b.node("Reshape", &[&most, &shape], &[]);
    let factors: Vec<f64> = (0..rows.len()).flat_map(|_| [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]).collect();
    let others: Vec<f64> = factors.iter().map(|f| 1.0 - f).collect();
    let (factors, others) =
        (b.exact("factors", &[1, rows.len(), 6], &factors), b.exact("others", &[1, rows.len(), 6], &others));
    let scaled = b.node("Mul", &[&factors, &most], &[]);
    let scale = b.node("Add", &[&scaled, &others], &[]);
    let table = b.exact("rows", &[1, rows.len(), 6], &rows.concat());
    b.named("Mul", &[&table, &scale], &[], "found");
    let mut graph = b.finish();
    graph.inputs = vec![port("slice", &[1, 1, side, side])];
    graph.outputs = vec![port("found", &[1, rows.len(), 6])];
    graph
}
