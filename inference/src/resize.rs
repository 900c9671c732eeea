//! Pictures and volumes brought to a number of samples, without a place in space: for networks that take one size.
//!
//! Interpolation is linear between sample centres, edges of first and last samples staying where they are. Where an axis
//! shrinks by a factor f, the triangle is f times as wide, so that every sample counts: what Pillow and torchvision
//! (`antialias=True`) call bilinear.

use ndarray::{Array4, ArrayView4, Axis};
use rayon::prelude::*;

/// `[C, D, H, W]` with other lengths of the last three axes. An axis of length 0 on either side gives zeros.
#[must_use]
pub fn resized(input: ArrayView4<'_, f32>, size: [usize; 3]) -> Array4<f32> {
    let mut now = input.to_owned();
    for (axis, &to) in size.iter().enumerate() {
        let from = now.len_of(Axis(axis + 1));
        if from == to {
            continue;
        }
        let mut shape = [now.dim().0, now.dim().1, now.dim().2, now.dim().3];
        shape[axis + 1] = to;
        let mut next = Array4::<f32>::zeros(shape);
        let weights = weights(from, to);
        // Each sample of the new axis is a plane of its own.
        next.axis_iter_mut(Axis(axis + 1)).into_par_iter().zip(&weights).for_each(
            |(mut plane, (first, part))| {
                for (n, &weight) in part.iter().enumerate() {
                    plane.scaled_add(weight, &now.index_axis(Axis(axis + 1), first + n));
                }
            },
        );
        now = next;
    }
    now
}

/// For each new sample the first old one that counts, and how much it and those after it count (1 in all).
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    if from == 0 {
        return Vec::new();
    }
    let step = from as f64 / to as f64;
    let reach = step.max(1.0);
    (0..to)
        .map(|n| {
            let centre = (n as f64 + 0.5) * step;
            let first = ((centre - reach + 0.5).floor().max(0.0) as usize).min(from - 1);
            let end = ((centre + reach + 0.5).floor() as usize).clamp(first + 1, from);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / reach).abs()).max(0.0);
            let all: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = all.iter().sum();
            (first, all.iter().map(|w| if sum > 0.0 { (w / sum) as f32 } else { 0.0 }).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32], to: usize) -> Vec<f32> {
        let a = ArrayView4::from_shape((1, 1, 1, values.len()), values).unwrap();
        resized(a, [1, 1, to]).into_raw_vec_and_offset().0
    }

    /// `PIL.Image.fromarray(float32 row).resize((to, 1), BILINEAR)` of Pillow 13.
    #[test]
    fn rows_are_those_of_pillow() {
        let near = |a: Vec<f32>, b: &[f32]| {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
        };
        near(row(&[0.0, 10.0, 20.0, 40.0], 8), &PILLOW_8);
        near(row(&[0.0, 10.0, 20.0, 40.0, 5.0, 7.0, 100.0], 3), &PILLOW_3);
        near(row(&[3.0, 9.0, 1.0, 0.0, 8.0], 2), &PILLOW_2);
    }

    #[test]
    fn axes_are_independent_and_one_value_stays() {
        let a = Array4::from_elem((2, 3, 5, 4), 7.5_f32);
        let b = resized(a.view(), [4, 2, 9]);
        assert_eq!(b.dim(), (2, 4, 2, 9));
        assert!(b.iter().all(|v| (v - 7.5).abs() < 1e-5));
        assert_eq!(resized(a.view(), [3, 5, 4]), a);
    }
    const PILLOW_8: [f32; 8] = [0.0, 2.5, 7.5, 12.5, 17.5, 25.0, 35.0, 40.0];
    const PILLOW_3: [f32; 3] = [8.57143, 23.35294, 39.78571];
    const PILLOW_2: [f32; 2] = [4.86364, 3.18182];
}
