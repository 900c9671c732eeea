//! Antialiased bicubic resizing of maps, as PyTorch's `interpolate(…, mode="bicubic", antialias=True)` does it.

use ndarray::{Array2, Array3, ArrayView3, Axis};
use rayon::prelude::*;

/// What one sample of the result is made of.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Weights from `n` samples to `out`: Keys' cubic with a = −0.5, widened when shrinking; weights beyond the border are
/// dropped and the rest sum to 1.
fn taps(n: usize, out: usize) -> Vec<Taps> {
    let scale = n as f64 / out as f64;
    let wide = scale.max(1.0);
    let each = |i: usize| {
        let centre = scale * (i as f64 + 0.5);
        let first = (centre - 2.0 * wide + 0.5).max(0.0) as usize;
        let last = ((centre + 2.0 * wide + 0.5) as usize).min(n);
        let kernel = |j: usize| {
            let t = ((j as f64 - centre + 0.5) / wide).abs();
            if t < 1.0 {
                (1.5 * t - 2.5) * t * t + 1.0
            } else if t < 2.0 {
                -0.5 * (((t - 5.0) * t + 8.0) * t - 4.0)
            } else {
                0.0
            }
        };
        let weights: Vec<f64> = (first..last).map(kernel).collect();
        let sum: f64 = weights.iter().sum();
        Taps { first, weights: weights.iter().map(|w| (w / sum) as f32).collect() }
    };
    (0..out).map(each).collect()
}

/// Maps `[n, h, w]` at another size `[n, height, width]`. Nothing is clipped. Sizes of 0 give maps without pixels.
#[must_use]
pub fn bicubic(maps: ArrayView3<'_, f32>, [height, width]: [usize; 2]) -> Array3<f32> {
    let (count, h, w) = maps.dim();
    let mut out = Array3::zeros((count, height, width));
    if h == 0 || w == 0 || height == 0 || width == 0 {
        return out;
    }
    let (down, across) = (taps(h, height), taps(w, width));
    out.axis_iter_mut(Axis(0)).into_par_iter().zip(maps.axis_iter(Axis(0))).for_each(|(mut out, map)| {
        let mut narrow = Array2::<f32>::zeros((h, width));
        for (mut to, from) in narrow.outer_iter_mut().zip(map.outer_iter()) {
            for (v, t) in to.iter_mut().zip(&across) {
                *v = t.weights.iter().zip(from.iter().skip(t.first)).map(|(a, b)| a * b).sum();
            }
        }
        for (mut to, t) in out.outer_iter_mut().zip(&down) {
            for (weight, from) in t.weights.iter().zip(narrow.outer_iter().skip(t.first)) {
                to.scaled_add(*weight, &from);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_equal_sizes_stay_and_ramps_keep_their_slope() {
        let flat = Array3::from_elem((2, 7, 5), 3.5f32);
        assert!(bicubic(flat.view(), [31, 3]).iter().all(|v| (v - 3.5).abs() < 1e-5));
        let ramp = Array3::from_shape_fn((1, 9, 12), |(_, y, x)| y as f32 - 2.0 * x as f32);
        let same = bicubic(ramp.view(), [9, 12]);
        assert!(same.iter().zip(&ramp).all(|(a, b)| (a - b).abs() < 1e-4));
        // Away from the border Keys' kernel reproduces straight lines.
        let wide = bicubic(ramp.view(), [36, 48]);
        let expected = |y: usize, x: usize| (y as f32 - 1.5) / 4.0 - 2.0 * (x as f32 - 1.5) / 4.0;
        for (y, x) in [(18, 24), (12, 30), (20, 12)] {
            assert!((wide[[0, y, x]] - expected(y, x)).abs() < 1e-4);
        }
        assert_eq!(bicubic(ramp.view(), [0, 4]).dim(), (1, 0, 4));
    }
}
