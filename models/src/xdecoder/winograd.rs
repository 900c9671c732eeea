//! 3×3 convolutions by Winograd's F(4×4, 3×3) (Lavin and Gray, arXiv:1509.09308): a quarter of the products, worth their
//! transforms where channels are many.

use super::image::Image;
use crate::onnx::TensorData;

/// From so many input channels on.
pub const CHANNELS: usize = 256;

/// Of F(4, 3) at the points 0, 1, −1, 2, −2, infinity: input, kernel and output transforms.
const BT: [[f64; 6]; 6] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];
const G: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
const AT: [[f64; 6]; 4] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// G ⊗ G as `(9, 36)`: kernel place (a, b) to transformed place (r, s).
fn kernel_transform() -> TensorData {
    let places = (0..9).flat_map(|ab| (0..36).map(move |rs| G[rs / 6][ab / 3] * G[rs % 6][ab % 3]));
    TensorData::F32(places.map(|v| v as f32).collect())
}

/// Rows of a matrix, each with a 0 after it where asked.
fn table<const N: usize>(rows: &[[f64; N]], padded: bool) -> TensorData {
    let zero = padded.then_some(0.0f32);
    TensorData::F32(rows.iter().flat_map(|r| r.iter().map(|&v| v as f32).chain(zero)).collect())
}

impl Image<'_> {
    /// The transform of whole rows of n pixels, n / 4 tiles u, as a matrix they are multiplied with. Input, `(n, (s, u))`:
    /// BT\[s, j\] at pixel 4 u + j − 1; what lies outside is the padding. Output, `((s, u), n)`: AT\[j, s\] at pixel 4 u + j.
    fn band(&mut self, stride: usize, is_output: bool) -> String {
        let [_, n] = self.side(stride);
        self.net.once(format!("band {stride} {is_output}"), |net| {
            let scope = net.b.scope("winograd");
            let (first, second, four) = (net.ints(&[0]), net.ints(&[1]), net.ints(&[4]));
            let pixel = net.index(&n);
            let pixel = net.node("Unsqueeze", &[&pixel, &first]);
            let tiles = net.node("Div", &[&n, &four]);
            let tile = net.index(&tiles);
            let tile = net.node("Unsqueeze", &[&tile, &second]);
            let start = net.node("Mul", &[&tile, &four]);
            let mut place = net.node("Sub", &[&pixel, &start]); // (u, n)
            let taps: i64 = if is_output { 4 } else { 6 };
            if !is_output {
                place = net.add(&place, &second);
            }
            let (none, last) = (net.ints(&[taps]), net.ints(&[taps - 1]));
            let before = net.node("Less", &[&place, &first]);
            let after = net.node("Greater", &[&place, &last]);
            let outside = net.node("Or", &[&before, &after]);
            let table = if is_output {
                net.b.constant("winograd.A", &[6, 5], || {
                    let turned: Vec<[f64; 4]> = (0..6).map(|s| [0, 1, 2, 3].map(|j| AT[j][s])).collect();
                    table(&turned, true)
                })
            } else {
                net.b.constant("winograd.B", &[6, 7], || table(&BT, true))
            };
            let place = net.node("Where", &[&outside, &none, &place]);
            let found = net.b.node("Gather", &[&table, &place], &[super::rows::int("axis", 1)]); // (s, u, n)
            let rest = net.ints(&[-1]);
            let shape = net.concat(&[&rest, &n], 0);
            let mut found = net.node("Reshape", &[&found, &shape]);
            if !is_output {
                found = net.transpose(&found, &[1, 0]);
            }
            net.b.scope(scope);
            found
        })
    }

    /// Tiles of 4×4 pixels, t down and u across, each seen through a window of 6×6, transformed to places r, s. Columns
    /// first, all of a row at once ([`Image::band`]); then rows, by windows put together of the tiles and of one row of each
    /// neighbour; for each of the 36 (r, s) a product over the channels; and back. Kernels (out, in, 3, 3) become (36, out, in).
    pub(super) fn winograd(
        &mut self,
        x: &str,
        kernel: &str,
        [from, to]: [usize; 2],
        stride: usize,
    ) -> String {
        let (cin, cout) = (from as i64, to as i64);
        let [high, wide] = self.side(stride);
        let [band_in, band_out] = [self.band(stride, false), self.band(stride, true)];
        let net = &mut self.net;

        let both = net.b.constant("winograd.G", &[9, 36], kernel_transform);
        let (nine, apart) = (net.ints(&[-1, 9]), net.ints(&[36, cout, cin]));
        let kernel = net.turned(kernel, "Reshape", &[&nine], &[]);
        let kernel = net.turned(&kernel, "MatMul", &[&both], &[]);
        let kernel = net.turned(&kernel, "Transpose", &[], &super::rows::perm(&[1, 0]));
        let kernel = net.turned(&kernel, "Reshape", &[&apart], &[]);

        let (four, six) = (net.ints(&[4]), net.ints(&[6]));
        let (channels, results) = (net.ints(&[cin]), net.ints(&[cout]));
        let down = net.node("Div", &[&high, &four]);
        let across = net.node("Div", &[&wide, &four]);
        let wide = net.node("Mul", &[&across, &six]);

        let x = net.node("MatMul", &[x, &band_in]); // (1, C, H, (s, u))
        let shape = net.concat(&[&channels, &down, &four, &wide], 0);
        let x = net.node("Reshape", &[&x, &shape]);
        let axis = net.ints(&[2]);
        let [above, below] =
            [(3, [0, 1, 0, 0, 0, -1, 0, 0]), (0, [0, -1, 0, 0, 0, 1, 0, 0])].map(|(i, pads)| {
                let (start, end) = (net.ints(&[i]), net.ints(&[i + 1]));
                let row = net.node("Slice", &[&x, &start, &end, &axis]);
                // Of the neighbouring tile: shifted, with zeros at the edge of the picture.
                let pads = net.ints(&pads);
                net.node("Pad", &[&row, &pads])
            });
        let windows = net.concat(&[&above, &x, &below], 2);
        let rows_in = net.b.constant("winograd.BT", &[6, 6], || table(&BT, false));
        let x = net.node("MatMul", &[&rows_in, &windows]); // (C, t, r, (s, u))
        let squares = net.ints(&[6, 6]);
        let shape = net.concat(&[&channels, &down, &squares, &across], 0);
        let x = net.node("Reshape", &[&x, &shape]);
        let x = net.transpose(&x, &[2, 3, 0, 1, 4]);
        let x = net.reshape(&x, &[36, cin, -1]);
        let x = net.node("MatMul", &[&kernel, &x]); // (36, out, (t, u))
        let shape = net.concat(&[&squares, &results, &down, &across], 0);
        let x = net.node("Reshape", &[&x, &shape]);
        let x = net.transpose(&x, &[2, 3, 0, 1, 4]);
        let shape = net.concat(&[&results, &down, &six, &wide], 0);
        let x = net.node("Reshape", &[&x, &shape]);
        let rows_out = net.b.constant("winograd.AT", &[4, 6], || table(&AT, false));
        let x = net.node("MatMul", &[&rows_out, &x]); // (out, t, 4, (s, u))
        let first = net.ints(&[1, cout, -1]);
        let shape = net.concat(&[&first, &wide], 0);
        let x = net.node("Reshape", &[&x, &shape]);
        net.node("MatMul", &[&x, &band_out])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use formats::Task;
    use inference::engine::{Engine, EngineOptions, Model};
    use inference::net::Net;
    use inference::provider::{Provider, ProviderChoice};
    use ndarray::{ArrayD, IxDyn};

    use super::super::config::Config;
    use super::super::image::Image;
    use super::super::rows::{Rows, fixed, port};
    use crate::checkpoint::{Checkpoint, NamedTensor};
    use crate::onnx::{self, Dim, Precision};
    use crate::weights::Weights;

    /// Numbers between −1 and 1 that look random.
    fn grain(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|n| ((n * 7919 + seed * 104_729 + n * n * 31) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// The convolution as it is defined.
    fn convolved(x: &ArrayD<f32>, kernel: &[f32], [from, to]: [usize; 2]) -> ArrayD<f32> {
        let (h, w) = (x.shape()[2], x.shape()[3]);
        ArrayD::from_shape_fn(IxDyn(&[1, to, h, w]), |at| {
            let (o, y, x0) = (at[1], at[2], at[3]);
            let mut sum = 0.0f64;
            for c in 0..from {
                for (a, b) in (0..9).map(|n| (n / 3, n % 3)) {
                    if (1..=h).contains(&(y + a)) && (1..=w).contains(&(x0 + b)) {
                        let value = x[[0, c, y + a - 1, x0 + b - 1]];
                        sum += f64::from(kernel[((o * from + c) * 3 + a) * 3 + b] * value);
                    }
                }
            }
            sum as f32
        })
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn the_short_cut_gives_the_convolution() {
        let library = match inference::runtime::find() {
            Ok(found) => found.path,
            Err(why) => return eprintln!("SKIPPED the_short_cut_gives_the_convolution: {why}"),
        };
        let provider = ProviderChoice::Exactly(Provider::Cpu);
        let engine = Engine::start(&EngineOptions { runtime: library, provider, threads: 2 }).unwrap();
        let (from, to) = (5, 3);
        let kernel = grain(to * from * 9, 1);
        let tensor = NamedTensor { name: "k".to_owned(), shape: vec![to, from, 3, 3], data: kernel.clone() };
        let stored = Checkpoint { path: "made".into(), tensors: vec![tensor], notes: Vec::new() };
        let weights = Weights::of(&stored);
        let config = Config::variant("focal-t").unwrap();
        let net = Rows::new("winograd", &config, &weights, Precision::F32);
        let mut image = Image { net, sides: HashMap::new(), levels: Vec::new() };
        let name = image.net.parameter("k", &[to, from, 3, 3]);
        let y = image.winograd("image", &name, [from, to], 1);
        image.net.b.named("Identity", &[&y], &[], "y");
        let mut size = fixed(&[1, from]);
        size.extend([Dim::Free("height"), Dim::Free("width")]);
        let mut answer = fixed(&[1, to]);
        answer.extend([Dim::Free("height"), Dim::Free("width")]);
        let graph = image.net.finish(vec![port("image", size)], vec![port("y", answer)]);
        let bytes = onnx::Model { graph, metadata: Vec::new() }.encode();
        let mut net = engine.load(Model::Bytes(&bytes), &Task::silent()).unwrap();
        // One tile, one row of tiles, and several; what lies outside is the padding.
        for (h, w) in [(4, 4), (4, 12), (16, 8)] {
            let x = ArrayD::from_shape_vec(IxDyn(&[1, from, h, w]), grain(from * h * w, 2)).unwrap();
            let found = net.run(&[("image", x.view())], &Task::silent()).unwrap();
            let truth = convolved(&x, &kernel, [from, to]);
            let worst = found[0].iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
            assert!(worst < 1e-4, "{h} × {w}: off by {worst}");
        }
    }
}
