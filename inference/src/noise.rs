//! How much noise a picture has.

use ndarray::ArrayView2;

/// Standard deviation of the noise of a picture, in its own units, taking it for white and Gaussian: the median absolute
/// value of the finest diagonal details of a Haar wavelet transform, divided by 0.6745 (D. L. Donoho, I. M. Johnstone,
/// "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81:425, 1994, section 4).
///
/// Details of 2 × 2 pixels that are all alike (background set to one value, saturation) do not count, nor those with
/// values that are not finite. Fine texture counts as noise, so that the estimate is high on busy pictures. `None`
/// where fewer than 16 details are left.
#[must_use]
pub fn sigma(picture: ArrayView2<'_, f32>) -> Option<f64> {
    let (h, w) = picture.dim();
    let mut details = Vec::with_capacity(h / 2 * (w / 2));
    for y in (0..h.saturating_sub(1)).step_by(2) {
        for x in (0..w.saturating_sub(1)).step_by(2) {
            let [a, b, c, d] =
                [[y, x], [y, x + 1], [y + 1, x], [y + 1, x + 1]].map(|at| f64::from(picture[at]));
            // In double precision, so that a large offset costs no digits.
            let detail = (a - b - c + d) / 2.0;
            if detail.is_finite() && !(a == b && a == c && a == d) {
                details.push(detail.abs());
            }
        }
    }
    if details.len() < 16 {
        return None;
    }
    Some(median(&mut details) / 0.6745)
}

/// The middle value, or the mean of the two in the middle; `values` are not empty and are reordered.
pub fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, &mut middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if !is_even {
        return middle;
    }
    let before = below.iter().copied().max_by(f64::total_cmp).unwrap_or(middle);
    f64::midpoint(before, middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// Normal numbers by the sum of twelve uniform ones, from splitmix64.
    fn normal(seed: &mut u64) -> f32 {
        let mut uniform = || {
            *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..12).map(|_| uniform()).sum::<f32>() - 6.0
    }

    #[test]
    fn known_noise_is_found_on_slopes_and_edges_and_beside_empty_background() {
        let mut seed = 1;
        for wanted in [0.01f32, 3.0, 40.0] {
            let picture = Array2::from_shape_fn((200, 180), |(y, x)| {
                if x < 60 {
                    return 0.0; // background set to 0
                }
                let clean = wanted * (y as f32 * 0.05 + if x > 120 { 50.0 } else { 0.0 });
                1000.0 * wanted + clean + wanted * normal(&mut seed)
            });
            let found = sigma(picture.view()).unwrap();
            assert!((found / f64::from(wanted) - 1.0).abs() < 0.05, "{found} for {wanted}");
        }
    }

    #[test]
    fn nothing_is_said_of_too_little() {
        assert_eq!(sigma(Array2::from_elem((100, 100), 5.0).view()), None);
        assert_eq!(sigma(Array2::from_elem((100, 100), f32::NAN).view()), None);
        assert_eq!(sigma(Array2::zeros((1, 50)).view()), None);
        assert_eq!(median(&mut [4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
