//! What the network looks at: 8-bit colours, made of whatever an image holds.

use formats::voxels::Shared;
use formats::{Volume, Voxels};
use ndarray::{Array3, ArrayView3, Axis};

/// Grey of values in rows, `[H, W, 3]`: `low` becomes black and `high` white; what is no number is black.
#[must_use]
pub fn grey_picture(values: &[f32], [height, width]: [usize; 2], [low, high]: [f64; 2]) -> Array3<u8> {
    let scale = 255.0 / (high - low).max(f64::MIN_POSITIVE);
    Array3::from_shape_fn((height, width, 3), |(y, x, _)| {
        let v = f64::from(values.get(y * width + x).copied().unwrap_or(f32::NAN));
        if v.is_finite() { ((v - low) * scale).round().clamp(0.0, 255.0) as u8 } else { 0 }
    })
}

/// Dark for bright.
#[must_use]
pub fn inverted(picture: ArrayView3<'_, u8>) -> Array3<u8> {
    picture.mapv(|v| 255 - v)
}

/// A picture in another size: triangle filter, widened where it shrinks.
#[must_use]
pub fn resized(picture: ArrayView3<'_, u8>, [height, width]: [usize; 2]) -> Array3<u8> {
    let (h, w, _) = picture.dim();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let bytes: Vec<u8> = picture.iter().copied().collect();
    let made = image::RgbImage::from_raw(size(w), size(h), bytes).map(|source| {
        let filter = image::imageops::FilterType::Triangle;
        image::imageops::resize(&source, size(width), size(height), filter).into_raw()
    });
    made.and_then(|raw| Array3::from_shape_vec((height, width, 3), raw).ok())
        .unwrap_or_else(|| Array3::zeros((height, width, 3)))
}

/// Slices of a volume as pictures to be searched.
pub struct Slices<'a> {
    volume: &'a Volume,
    /// Scaled values, where the volume is not in colours.
    grey: Option<Shared<f32>>,
}

impl<'a> Slices<'a> {
    /// Takes 4 bytes per voxel where the volume is grey and not of 32-bit floats.
    #[must_use]
    pub fn new(volume: &'a Volume) -> Self {
        Self { volume, grey: (!volume.voxels.is_colour()).then(|| volume.to_f32()) }
    }

    /// Slice `k` as pictures `[j, i, 3]`: colours as they are; grey in the suggested window, if there is one, and over its full range, since
    /// text may be visible in one only.
    #[must_use]
    pub fn at(&self, k: usize) -> Vec<Array3<u8>> {
        let Some(grey) = &self.grey else { return coloured_slice(&self.volume.voxels, k) };
        let plane = grey.index_axis(Axis(0), k);
        let (h, w) = plane.dim();
        let values: Vec<f32> = plane.iter().copied().collect();
        let is_bytes = matches!(self.volume.voxels, Voxels::U8(_));
        let windows = windows(&values, self.volume.meta.display_range, is_bytes);
        windows.into_iter().map(|window| grey_picture(&values, [h, w], window)).collect()
    }
}

fn coloured_slice(voxels: &Voxels, k: usize) -> Vec<Array3<u8>> {
    fn coloured<T: Copy, const N: usize>(
        a: &Shared<[T; N]>,
        k: usize,
        byte: impl Fn(T) -> u8,
    ) -> Vec<Array3<u8>> {
        let plane = a.index_axis(Axis(0), k);
        let (h, w) = plane.dim();
        vec![Array3::from_shape_fn((h, w, 3), |(y, x, c)| byte(plane[[y, x]][c]))]
    }
    match voxels {
        Voxels::Rgb8(a) => coloured(a, k, |v| v),
        Voxels::Rgba8(a) => coloured(a, k, |v| v),
        Voxels::Rgb16(a) => coloured(a, k, |v| (v >> 8) as u8),
        Voxels::Rgba16(a) => coloured(a, k, |v| (v >> 8) as u8),
        _ => Vec::new(),
    }
}

/// Windows in which grey values are searched: the suggested one, then the full range where it shows more. Bytes are shown as they are.
#[must_use]
pub fn windows(values: &[f32], suggested: Option<(f64, f64)>, bytes: bool) -> Vec<[f64; 2]> {
    let finite = values.iter().filter(|v| v.is_finite());
    let (low, high) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(f64::from(v)), h.max(f64::from(v))));
    let mut out: Vec<[f64; 2]> = Vec::new();
    if let Some((l, h)) = suggested.filter(|(l, h)| h > l) {
        out.push([l, h]);
    }
    if bytes {
        out.push([0.0, 255.0]);
    } else if high > low {
        // A few pixels of an extreme value must not hide the rest.
        let covers =
            out.first().is_some_and(|w| w[0] <= low && w[1] >= high && w[1] - w[0] < 1.2 * (high - low));
        if !covers {
            out.push([low, high]);
        }
    }
    if out.is_empty() {
        out.push([low.min(0.0), low.min(0.0) + 1.0]);
    }
    out
}
