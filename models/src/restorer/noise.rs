//! How noisy a plane is.

use ndarray::ArrayView2;

/// Standard deviation of white noise in a plane, from what a difference of two Laplacians leaves of it (J. Immerkær, Fast
/// noise variance estimation, Computer Vision and Image Understanding 64(2):300–302, 1996). Fine texture counts as noise;
/// `None` for planes thinner than 3 pixels or without finite places.
pub fn sigma(plane: ArrayView2<'_, f32>) -> Option<f64> {
    let (height, width) = plane.dim();
    if height < 3 || width < 3 {
        return None;
    }
    let (mut sum, mut count) = (0.0f64, 0u64);
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let at = |dy: usize, dx: usize| plane[[y + dy - 1, x + dx - 1]];
            let mask = at(0, 0) + at(0, 2) + at(2, 0) + at(2, 2)
                - 2.0 * (at(0, 1) + at(1, 0) + at(1, 2) + at(2, 1))
                + 4.0 * at(1, 1);
            if mask.is_finite() {
                sum += f64::from(mask.abs());
                count += 1;
            }
        }
    }
    (count > 0).then(|| (std::f64::consts::PI / 2.0).sqrt() * sum / (6.0 * count as f64))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    #[test]
    fn known_noise_is_found_on_slopes() {
        // Sums of twelve uniform numbers are Gaussian enough; a plane (a slope) adds nothing to the mask.
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let plane = Array2::from_shape_fn((200, 180), |(y, x)| {
            let noise: f32 = (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
            0.3 * y as f32 - 0.2 * x as f32 + 4.0 * noise
        });
        let found = super::sigma(plane.view()).unwrap();
        assert!((found - 4.0).abs() < 0.1, "{found}");
        assert_eq!(super::sigma(Array2::<f32>::zeros((2, 9)).view()), None);
    }
}
