//! Values on their way to the network's range and back.

use formats::voxels::Scalar;
use formats::{AffineSource, Scaling, Shared, Volume, Voxels, for_scalar};
use inference::noise;
use inference::normalise::{Of, percentiles};
use ndarray::{Array2, Array3, Axis};
use rayon::prelude::*;

use crate::manifest::Output;

/// What the network sees of a value v: `(v − offset) / factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Becomes 0.
    pub offset: f64,
    /// Lies 1 above it in the network's range; positive.
    pub factor: f64,
}

/// Percentile of the values that becomes 0 where there are negative ones: that and not the least one, which may be a
/// single wrong voxel.
const LOWEST: f64 = 0.5;

impl Scale {
    /// Values as they are.
    pub const NONE: Self = Self { offset: 0.0, factor: 1.0 };

    /// Of an image, with the number of values that are not finite.
    ///
    /// * Colours, and 8-bit grey pictures (without a place in space): the largest value of the type, 255 or 65535.
    /// * Everything else, whose range means nothing by itself: the percentile of the manifest, nothing subtracted, so that
    ///   the noise of magnitudes keeps its floor at 0. Where the 0.5th percentile is negative (Hounsfield units), that is
    ///   subtracted first.
    pub(super) fn of(volume: &Volume, output: &Output) -> (Self, usize) {
        let full = |most: f64| (Self { offset: 0.0, factor: most }, 0);
        match &volume.voxels {
            Voxels::Rgb8(_) | Voxels::Rgba8(_) => return full(255.0),
            Voxels::Rgb16(_) | Voxels::Rgba16(_) => return full(65535.0),
            Voxels::U8(_) if volume.meta.affine_source == AffineSource::None && volume.scaling.is_none() => {
                return full(255.0);
            }
            _ => {}
        }
        let peak = if let Output::Picture { peak, .. } = output { *peak } else { 100.0 };
        let values = volume.to_f32();
        let non_finite = values.iter().filter(|v| !v.is_finite()).count();
        let low = percentiles(&values, LOWEST, LOWEST, Of::All).map_or(0.0, |(low, _)| low);
        let offset = low.min(0.0);
        let high = percentiles(&values, peak, peak, Of::All).map_or(0.0, |(high, _)| high);
        // Mostly background: then the little there is.
        let high = if high > offset { high } else { f64::from(values.iter().copied().fold(0.0, finite_max)) };
        let factor = if high > offset { high - offset } else { 1.0 };
        (Self { offset, factor }, non_finite)
    }

    /// One for all frames of an image, so that what does not change between them is not made to: it spans what
    /// [`Scale::of`] spans of each. With the number of values that are not finite.
    pub(super) fn of_all<'a>(frames: impl Iterator<Item = &'a Volume>, output: &Output) -> (Self, usize) {
        let each = frames.map(|frame| Self::of(frame, output));
        let joined = each.reduce(|(a, odd), (b, more)| {
            let offset = a.offset.min(b.offset);
            let high = (a.offset + a.factor).max(b.offset + b.factor);
            (Self { offset, factor: high - offset }, odd + more)
        });
        joined.unwrap_or((Self { offset: 0.0, factor: 1.0 }, 0))
    }

    fn into_network(self, v: f64) -> f32 {
        if v.is_finite() { ((v - self.offset) / self.factor) as f32 } else { 0.0 }
    }
}

fn finite_max(a: f32, b: f32) -> f32 {
    if b.is_finite() { a.max(b) } else { a }
}

/// How many colours an image has, without alpha.
pub(crate) fn colours(voxels: &Voxels) -> usize {
    if voxels.is_colour() { 3 } else { 1 }
}

/// One colour of one slice as the network sees it: slice `n` across `axis` (0 = i), rows and columns in the order of the
/// array `[k, j, i]` without that axis.
pub(crate) fn plane(volume: &Volume, axis: usize, n: usize, colour: usize, scale: Scale) -> Array2<f32> {
    let (axis, scaling) = (Axis(2 - axis), volume.scaling);
    match &volume.voxels {
        Voxels::Rgb8(a) => a.index_axis(axis, n).mapv(|c| scale.into_network(f64::from(c[colour]))),
        Voxels::Rgba8(a) => a.index_axis(axis, n).mapv(|c| scale.into_network(f64::from(c[colour]))),
        Voxels::Rgb16(a) => a.index_axis(axis, n).mapv(|c| scale.into_network(f64::from(c[colour]))),
        Voxels::Rgba16(a) => a.index_axis(axis, n).mapv(|c| scale.into_network(f64::from(c[colour]))),
        // Complex voxels were refused.
        v => for_scalar!(v, a => a.index_axis(axis, n)
            .mapv(|v| scale.into_network(v.to_f64() * scaling.slope + scaling.inter)),
            _ => Array2::zeros((0, 0))),
    }
}

/// Median over at most 64 slices of all frames, evenly spread, of the noise estimate; in values of the image.
pub(super) fn noise(frames: &[&Volume], axis: usize) -> Option<f64> {
    const MOST: usize = 64;
    let slices = frames.first()?.grid.size_ijk[axis];
    let all = slices * frames.len();
    let step = all.div_ceil(MOST).max(1);
    let found = |n: usize| {
        let (volume, n) = (frames[n / slices], n % slices);
        let grey = if volume.voxels.is_colour() {
            // Luma by ITU-R BT.601, as for display.
            let [r, g, b] = [0, 1, 2].map(|c| plane(volume, axis, n, c, Scale::NONE));
            r * 0.299 + g * 0.587 + b * 0.114
        } else {
            plane(volume, axis, n, 0, Scale::NONE)
        };
        noise::sigma(grey.view())
    };
    let mut all: Vec<f64> = (0..all).into_par_iter().step_by(step).filter_map(found).collect();
    (!all.is_empty()).then(|| noise::median(&mut all))
}

/// Whether all values of a plane are alike.
pub(super) fn is_constant(plane: &Array2<f32>) -> bool {
    plane.first().is_none_or(|first| plane.iter().all(|v| v == first))
}

/// A stored scalar from a value.
trait Store: Scalar {
    fn store(v: f64) -> Self;
}

macro_rules! store {
    ($($t:ty),*) => {$(impl Store for $t {
        // Casts of floats to integers keep within the type.
        fn store(v: f64) -> Self { v.round() as $t }
    })*};
}
store!(u8, i8, u16, i16, u32, i32, u64, i64);
impl Store for f32 {
    fn store(v: f64) -> Self {
        v as Self
    }
}
impl Store for f64 {
    fn store(v: f64) -> Self {
        v
    }
}

/// The original with `strength` of the correction, in its stored type.
pub(super) fn mixed(volume: &Volume, restored: &[Array3<f32>], scale: Scale, strength: f64) -> Voxels {
    fn scalars<T: Store + formats::volume::Element>(
        stored: &Shared<T>,
        restored: &Array3<f32>,
        scaling: Scaling,
        mix: impl Fn(f64, f32) -> f64 + Sync,
    ) -> Voxels {
        let out = ndarray::Zip::from(stored).and(restored).par_map_collect(|s, &r| {
            let value = s.to_f64() * scaling.slope + scaling.inter;
            if value.is_finite() { T::store((mix(value, r) - scaling.inter) / scaling.slope) } else { *s }
        });
        T::wrap(out.into_shared())
    }
    fn colours<T: Store, const N: usize>(
        stored: &Shared<[T; N]>,
        restored: &[Array3<f32>],
        mix: impl Fn(f64, f32) -> f64 + Sync,
    ) -> Voxels
    where
        [T; N]: formats::volume::Element,
    {
        let mut out = stored.to_owned();
        for (colour, by) in restored.iter().enumerate() {
            // Alpha, behind the three colours, stays.
            ndarray::Zip::from(&mut out).and(by).par_for_each(|c, &r| {
                c[colour] = T::store(mix(c[colour].to_f64(), r));
            });
        }
        <[T; N] as formats::volume::Element>::wrap(out.into_shared())
    }
    // Exact at both ends: at 0 the original, at 1 the answer.
    let mix = |value: f64, r: f32| {
        let answer = f64::from(r) * scale.factor + scale.offset;
        value * (1.0 - strength) + answer * strength
    };
    match &volume.voxels {
        Voxels::Rgb8(a) => colours(a, restored, mix),
        Voxels::Rgba8(a) => colours(a, restored, mix),
        Voxels::Rgb16(a) => colours(a, restored, mix),
        Voxels::Rgba16(a) => colours(a, restored, mix),
        v => for_scalar!(v, a => scalars(a, &restored[0], volume.scaling, mix), other => other.clone()),
    }
}
