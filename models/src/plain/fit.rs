//! Slices and volumes brought to the size of a network's input, and positions brought back.

use inference::resize::resized;
use ndarray::{Array4, ArrayView4, s};

use super::graph::{Fit, Graph};

/// An image in the size of the input, with the way back.
pub(super) struct Fitted {
    /// `[C, D, H, W]`.
    pub(super) array: Array4<f32>,
    /// Where the image begins on the axes D, H, W of the input, in its samples; negative where it was cut.
    offset: [f64; 3],
    /// Samples of the image per sample of the input, along D, H, W.
    step: [f64; 3],
}

impl Fitted {
    /// Brings `[C, D, H, W]` to `size`.
    pub(super) fn new(image: &ArrayView4<'_, f32>, graph: &Graph, size: [usize; 3]) -> Self {
        let (channels, d, h, w) = image.dim();
        let have = [d, h, w];
        // Slices are not scaled across themselves.
        let axes = if graph.is_planar() { 1..3 } else { 0..3 };
        let ratio = |a: usize| size[a] as f64 / have[a] as f64;
        let factor = match graph.fit {
            Fit::Whole => {
                return Self { array: image.to_owned(), offset: [0.0; 3], step: [1.0; 3] };
            }
            Fit::Stretch => {
                let step = [0, 1, 2].map(|a| have[a] as f64 / size[a] as f64);
                return Self { array: resized(image.view(), size), offset: [0.0; 3], step };
            }
            Fit::Crop => axes.clone().map(ratio).fold(0.0, f64::max) / graph.seen,
            Fit::Pad => axes.clone().map(ratio).fold(f64::INFINITY, f64::min),
        };
        let mut scaled = have;
        for a in axes {
            scaled[a] = ((have[a] as f64 * factor).round() as usize).clamp(1, 1 << 14);
            scaled[a] = if graph.fit == Fit::Crop { scaled[a].max(size[a]) } else { scaled[a].min(size[a]) };
        }
        let small = resized(image.view(), scaled);
        let mut array = Array4::from_elem((channels, size[0], size[1], size[2]), graph.fill as f32);
        // Half of what is cut or filled lies before; of an odd number the smaller half.
        let cut = [0, 1, 2].map(|a| scaled[a].saturating_sub(size[a]) / 2);
        let before = [0, 1, 2].map(|a| size[a].saturating_sub(scaled[a]) / 2);
        let n = [0, 1, 2].map(|a| scaled[a].min(size[a]));
        let part = |from: [usize; 3]| {
            let [d, h, w] = [0, 1, 2].map(|a| from[a]..from[a] + n[a]);
            s![.., d, h, w]
        };
        array.slice_mut(part(before)).assign(&small.slice(part(cut)));
        Self {
            array,
            offset: [0, 1, 2].map(|a| before[a] as f64 - cut[a] as f64),
            step: [0, 1, 2].map(|a| have[a] as f64 / scaled[a] as f64),
        }
    }

    /// A position along axis `a` (0 = D) of the input, in samples from its outer edge, as one of the image.
    pub(super) fn back(&self, a: usize, at: f64) -> f64 {
        (at - self.offset[a]) * self.step[a]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(fit: Fit, seen: f64) -> Graph {
        let text = "input = \"NCHW\"\nfill = 9.0";
        Graph { fit, seen, ..toml::from_str(text).unwrap() }
    }

    #[test]
    fn edges_find_their_way_back() {
        // 8 rows, 4 columns; the value of a sample is its row.
        let image = Array4::from_shape_fn((1, 1, 8, 4), |(_, _, y, _)| y as f32);
        let stretched = Fitted::new(&image.view(), &graph(Fit::Stretch, 1.0), [1, 4, 4]);
        assert!((stretched.back(1, 4.0) - 8.0).abs() < 1e-9 && (stretched.back(2, 3.0) - 3.0).abs() < 1e-9);
        // In proportion by 1/2: 4 × 2, one column of filling on either side.
        let padded = Fitted::new(&image.view(), &graph(Fit::Pad, 1.0), [1, 4, 4]);
        assert_eq!(padded.array.slice(s![0, 0, 1, ..]).iter().filter(|v| **v == 9.0).count(), 2);
        assert!((padded.back(2, 1.0)).abs() < 1e-9 && (padded.back(2, 3.0) - 4.0).abs() < 1e-9);
        // Filled: as wide as it is, rows 2 to 5 of 8 are seen.
        let cropped = Fitted::new(&image.view(), &graph(Fit::Crop, 1.0), [1, 4, 4]);
        assert_eq!(cropped.array.slice(s![0, 0, .., 0]).to_vec(), [2.0, 3.0, 4.0, 5.0]);
        assert!((cropped.back(1, 0.0) - 2.0).abs() < 1e-9);
        // Half of the side: enlarged to 16 × 8, of which the middle 4 × 4 is seen.
        let half = Fitted::new(&image.view(), &graph(Fit::Crop, 0.5), [1, 4, 4]);
        assert!((half.back(1, 0.0) - 3.0).abs() < 1e-9 && (half.back(2, 4.0) - 3.0).abs() < 1e-9);
    }
}
