//! Pictures made larger by their own mirror image, for networks that take certain sizes only.
//!
//! The mirror stands on the outermost sample, which is not repeated (NumPy's `reflect`); where more is asked for than
//! there is, the reflection keeps bouncing, and a single sample repeats.

use ndarray::{Array4, ArrayView4, s};

/// How one axis is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Samples of the axis.
    pub length: usize,
    /// Sample `n` of the padded axis is sample `n − before` of the axis made even.
    pub before: usize,
    /// Samples after padding.
    pub padded: usize,
}

impl Padding {
    /// To the next multiple, by the rule of MAXIM's evaluation: an odd axis gets one sample at its end; what is missing
    /// then is put half before and half after.
    #[must_use]
    pub fn to_multiple(length: usize, multiple: usize) -> Self {
        Self::to_at_least(length, (length + length % 2).next_multiple_of(multiple.max(1)))
    }

    /// To `size`, by the same rule; an axis that is as long already, or longer, is left as it is.
    #[must_use]
    pub fn to_at_least(length: usize, size: usize) -> Self {
        let even = length + length % 2;
        if length >= size {
            return Self { length, before: 0, padded: length };
        }
        Self { length, before: size.saturating_sub(even) / 2, padded: size.max(even) }
    }

    /// The sample of the axis that stands at `n` of the padded one.
    fn source(self, n: usize) -> usize {
        if self.padded == self.length {
            return n;
        }
        // Twice reflected, as the rule says: first made even, then enlarged about that.
        let even = self.length + self.length % 2;
        mirrored(mirrored(n as i64 - self.before as i64, even) as i64, self.length)
    }
}

/// The index within `0..length` that `n` is a reflection of.
fn mirrored(n: i64, length: usize) -> usize {
    let period = 2 * (length as i64 - 1);
    if period <= 0 {
        return 0;
    }
    let n = n.rem_euclid(period);
    n.min(period - n) as usize
}

/// Pads the last two axes of `[C, D, H, W]`.
#[must_use]
pub fn reflected(input: ArrayView4<'_, f32>, [h, w]: [Padding; 2]) -> Array4<f32> {
    let (c, d, _, _) = input.dim();
    let rows: Vec<usize> = (0..h.padded).map(|n| h.source(n)).collect();
    let columns: Vec<usize> = (0..w.padded).map(|n| w.source(n)).collect();
    Array4::from_shape_fn((c, d, h.padded, w.padded), |(c, d, y, x)| input[[c, d, rows[y], columns[x]]])
}

/// Takes the padding off again.
#[must_use]
pub fn cropped(padded: ArrayView4<'_, f32>, [h, w]: [Padding; 2]) -> ArrayView4<'_, f32> {
    padded.slice_move(s![.., .., h.before..h.before + h.length, w.before..w.before + w.length])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.pad(…, "reflect")` of `range(n)`, first one sample at the end of an odd axis, then half on each side.
    #[test]
    fn padding_is_that_of_numpy() {
        let sources = |p: Padding| (0..p.padded).map(|n| p.source(n)).collect::<Vec<_>>();
        assert_eq!(sources(Padding::to_multiple(4, 8)), [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(sources(Padding::to_multiple(5, 8)), [1, 0, 1, 2, 3, 4, 3, 4]);
        assert_eq!(sources(Padding::to_multiple(3, 12)), [2, 1, 2, 1, 0, 1, 2, 1, 2, 1, 0, 1]);
        assert_eq!(sources(Padding::to_multiple(1, 4)), [0; 4]);
        assert_eq!(sources(Padding::to_multiple(8, 8)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(Padding::to_at_least(9, 8), Padding { length: 9, before: 0, padded: 9 });
    }

    #[test]
    fn cropping_takes_padding_off() {
        for (h, w) in [(1, 1), (1, 7), (5, 3), (8, 9)] {
            let a = Array4::from_shape_fn((2, 1, h, w), |(c, _, y, x)| (100 * c + 10 * y + x) as f32);
            let paddings = [Padding::to_multiple(h, 8), Padding::to_multiple(w, 8)];
            let padded = reflected(a.view(), paddings);
            assert!(padded.dim().2.is_multiple_of(8) && padded.dim().3.is_multiple_of(8));
            assert_eq!(cropped(padded.view(), paddings), a);
        }
    }
}
