//! Voxels as the planes that a network sees, and back.

use formats::{Notice, Scaling, Voxels, for_any};
use ndarray::{Array3, Array4, ArrayView4, Axis};

use crate::error::{Error, Result};

/// The percentile of a scan's values that becomes 1.
const PEAK: f64 = 0.995;

/// Stored values `[C, K, J, I]` and how they relate to what the network sees: `seen = (stored − offset) / peak`.
#[derive(Debug)]
pub struct Values {
    /// 1 or 3 channels.
    pub stored: Array4<f32>,
    /// Stored value that becomes 0.
    pub offset: f32,
    /// Stored distance that becomes 1; positive.
    pub peak: f32,
    /// How the two were found, for the record.
    pub rule: String,
    /// Voxels that were not finite; the network sees 0 there, and they stay as they were.
    pub odd: usize,
}

impl Values {
    /// Colours as they are; alpha is left out.
    ///
    /// # Errors
    /// [`Error::Argument`] for complex voxels.
    pub fn of(voxels: &Voxels) -> Result<Self> {
        let [k, j, i] = voxels.shape_kji();
        let channels = if voxels.is_colour() { 3 } else { 1 };
        let mut stored = Array4::<f32>::zeros((channels, k, j, i));
        macro_rules! colours {
            ($a:expr) => {
                for c in 0..3 {
                    stored.index_axis_mut(Axis(0), c).zip_mut_with($a, |to, from| *to = f32::from(from[c]));
                }
            };
        }
        match voxels {
            Voxels::Rgb8(a) => colours!(a),
            Voxels::Rgba8(a) => colours!(a),
            Voxels::Rgb16(a) => colours!(a),
            Voxels::Rgba16(a) => colours!(a),
            Voxels::Complex32(_) | Voxels::Complex64(_) => {
                return Err(Error::Argument(
                    "complex voxels cannot be restored; save their magnitude first and restore that"
                        .to_owned(),
                ));
            }
            scalar => {
                let values = scalar.to_f32(Scaling::NONE, formats::ComplexPart::Magnitude);
                stored.index_axis_mut(Axis(0), 0).assign(&values);
            }
        }
        let odd = stored.iter().filter(|v| !v.is_finite()).count();
        let (offset, peak, rule) = match voxels {
            Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_) => {
                (0.0, 255.0, "0 to 255 of 8 bits are 0 to 1".to_owned())
            }
            Voxels::Rgb16(_) | Voxels::Rgba16(_) => {
                (0.0, 65535.0, "0 to 65535 of 16 bits are 0 to 1".to_owned())
            }
            _ => measured(&stored),
        };
        Ok(Self { stored, offset, peak, rule, odd })
    }

    /// A stored value as the network sees it.
    pub fn seen(&self, stored: f32) -> f32 {
        if stored.is_finite() { (stored - self.offset) / self.peak } else { 0.0 }
    }

    /// A seen value as it is stored.
    pub fn back(&self, seen: f32) -> f32 {
        seen * self.peak + self.offset
    }
}

/// From the least value, if that is negative, to the percentile [`PEAK`] of what lies above it.
fn measured(stored: &Array4<f32>) -> (f32, f32, String) {
    let mut finite: Vec<f32> = stored.iter().copied().filter(|v| v.is_finite()).collect();
    let least = finite.iter().copied().fold(f32::INFINITY, f32::min);
    let offset = if least < 0.0 { least } else { 0.0 };
    let at = ((finite.len().saturating_sub(1)) as f64 * PEAK).round() as usize;
    let high = if finite.is_empty() { 0.0 } else { *finite.select_nth_unstable_by(at, f32::total_cmp).1 };
    let greatest = finite.iter().copied().fold(offset, f32::max);
    // An image that is nearly everywhere the same: its range.
    let peak = if high > offset { high - offset } else { greatest - offset };
    let peak = if peak > 0.0 { peak } else { 1.0 };
    let rule =
        format!("stored values {offset} to {} (the {} % percentile) are 0 to 1", offset + peak, 100.0 * PEAK);
    (offset, peak, rule)
}

/// Restored stored values in the voxels' own type: whole numbers are rounded and kept within the type, 32-bit and wider
/// types become 32-bit floats (with a notice), alpha and voxels that were not finite stay.
pub fn put_back(restored: ArrayView4<'_, f32>, original: &Voxels, notices: &mut Vec<Notice>) -> Voxels {
    let plane = |c: usize| restored.index_axis(Axis(0), c);
    let floats = || {
        let mut out: Array3<f32> = plane(0).to_owned();
        let before = original.to_f32(Scaling::NONE, formats::ComplexPart::Magnitude);
        out.zip_mut_with(&before, |to, from| {
            if !from.is_finite() {
                *to = *from;
            }
        });
        Voxels::F32(out.into_shared())
    };
    // Conversions from floats saturate.
    macro_rules! whole {
        ($variant:ident, $t:ty) => {
            Voxels::$variant(plane(0).mapv(|v| v.round() as $t).into_shared())
        };
    }
    macro_rules! colours {
        ($variant:ident, $a:expr, $t:ty) => {{
            let mut out = $a.to_owned();
            for c in 0..3 {
                ndarray::Zip::from(&mut out).and(plane(c)).for_each(|to, &v| to[c] = v.round() as $t);
            }
            Voxels::$variant(out.into_shared())
        }};
    }
    match original {
        Voxels::U8(_) => whole!(U8, u8),
        Voxels::I8(_) => whole!(I8, i8),
        Voxels::U16(_) => whole!(U16, u16),
        Voxels::I16(_) => whole!(I16, i16),
        Voxels::Rgb8(a) => colours!(Rgb8, a, u8),
        Voxels::Rgba8(a) => colours!(Rgba8, a, u8),
        Voxels::Rgb16(a) => colours!(Rgb16, a, u16),
        Voxels::Rgba16(a) => colours!(Rgba16, a, u16),
        Voxels::F32(_) => floats(),
        wide => {
            notices.push(Notice::info(
                "restored-as-float",
                format!(
                    "Voxels of type {} were restored in single precision and are written as 32-bit floats.",
                    wide.type_name()
                ),
            ));
            floats()
        }
    }
}

/// Bytes of one stored voxel.
pub fn bytes_per_voxel(voxels: &Voxels) -> u64 {
    let count = for_any!(voxels, a => a.len()).max(1) as u64;
    voxels.byte_len() as u64 / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_comes_back_exactly() {
        let shape = (2, 3, 5);
        let many = [
            Voxels::U8(Array3::from_shape_fn(shape, |(k, j, i)| (k * 100 + j * 40 + i) as u8).into_shared()),
            Voxels::I16(
                Array3::from_shape_fn(shape, |(k, j, i)| (k * 900 + j * 300 + i) as i16 - 1024).into_shared(),
            ),
            Voxels::U16(
                Array3::from_shape_fn(shape, |(k, j, i)| (k * 30000 + j * 9000 + i) as u16).into_shared(),
            ),
            Voxels::F32(
                Array3::from_shape_fn(shape, |(k, j, i)| k as f32 * 0.3 - j as f32 + i as f32).into_shared(),
            ),
            Voxels::Rgba16(
                Array3::from_shape_fn(shape, |(k, j, i)| {
                    [(k * 9000) as u16, (j * 20000) as u16, 65535, i as u16]
                })
                .into_shared(),
            ),
        ];
        for voxels in many {
            let values = Values::of(&voxels).unwrap();
            let mut notices = Vec::new();
            let round = values.stored.mapv(|v| values.back(values.seen(v)));
            let back = put_back(round.view(), &voxels, &mut notices);
            assert_eq!(back.type_name(), voxels.type_name());
            assert!(notices.is_empty());
            if !voxels.is_colour() {
                let (a, b) = (
                    back.to_f32(Scaling::NONE, formats::ComplexPart::Magnitude),
                    voxels.to_f32(Scaling::NONE, formats::ComplexPart::Magnitude),
                );
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3), "{}", voxels.type_name());
            } else if let (Voxels::Rgba16(a), Voxels::Rgba16(b)) = (&back, &voxels) {
                assert_eq!(a, b);
            }
        }
    }

    #[test]
    fn ranges_of_scans_hold_their_percentile_and_survive_odd_values() {
        let mut a = Array3::<f32>::from_shape_fn((1, 40, 50), |(_, j, i)| (j * 50 + i) as f32 - 1000.0);
        a[[0, 0, 7]] = f32::NAN;
        a[[0, 3, 3]] = f32::INFINITY;
        let voxels = Voxels::F32(a.into_shared());
        let values = Values::of(&voxels).unwrap();
        assert_eq!((values.offset, values.odd), (-1000.0, 2));
        assert!((values.peak - 1989.0).abs() < 2.0, "{}", values.peak);
        assert_eq!(values.seen(f32::NAN), 0.0);
        let mut notices = Vec::new();
        let Voxels::F32(back) = put_back(values.stored.mapv(|_| 5.0).view(), &voxels, &mut notices) else {
            panic!()
        };
        assert!(back[[0, 0, 7]].is_nan() && back[[0, 3, 3]].is_infinite() && back[[0, 1, 1]] == 5.0);
        // Everywhere the same, and nothing at all.
        let flat = Values::of(&Voxels::I16(Array3::from_elem((1, 2, 2), 7).into_shared())).unwrap();
        assert_eq!((flat.offset, flat.peak), (0.0, 7.0));
        let none = Values::of(&Voxels::F32(Array3::from_elem((1, 2, 2), f32::NAN).into_shared())).unwrap();
        assert_eq!((none.offset, none.peak), (0.0, 1.0));
    }
}
