//! How voxels become texels: the smallest format that keeps what can be seen, and the way back to values.

use formats::voxels::Scalar;
use formats::{Voxels, for_scalar};
use half::f16;
use rayon::prelude::*;
use wgpu::TextureFormat;

use super::device::Tier;
use crate::scene::ImageLayer;

/// Stands for "no finite value" in half floats; values lie within ±2048.
const NO_VALUE_F16: f32 = 60000.0;
/// Stands for "no finite value" in 32-bit floats.
const NO_VALUE_F32: f32 = 3.0e38;
/// Largest code of a value in 16-bit normalised textures of float images; 65535 stands for "no finite value".
const LAST_U16: f64 = 65534.0;

/// How the voxels of an image are stored in a texture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Encoding {
    pub format: TextureFormat,
    /// `code = (stored - offset) · gain`, then cast to the format.
    offset: f64,
    gain: f64,
    /// `value = scale[0] · texel + scale[1]`, where `texel` is what a shader reads.
    pub scale: [f64; 2],
    /// Texels at or above it hold no finite value; infinite where every voxel has one.
    pub invalid_from: f32,
}

impl Encoding {
    /// The encoding of all frames of an image on a device of this tier.
    pub fn of(layer: &ImageLayer, tier: &Tier) -> Self {
        let volume = layer.volume();
        let (mut slope, mut inter) = (volume.scaling.slope, volume.scaling.inter);
        if volume.voxels.is_colour() {
            return Self::plain(TextureFormat::Rgba8Unorm, [1.0, 0.0]);
        }
        if volume.voxels.is_complex() {
            // Magnitudes are taken of scaled numbers.
            (slope, inter) = (1.0, 0.0);
        }
        let ends = [layer.value_range.0, layer.value_range.1].map(|v| (v - inter) / slope);
        let (mut low, mut high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        if !(low.is_finite() && high.is_finite()) {
            (low, high) = (0.0, 0.0);
        }
        if volume.voxels.is_integer() {
            (low, high) = (low.round(), high.round());
        }
        let span = high - low;
        let linear = |format, offset: f64, gain: f64, unit: f64, invalid_from| Self {
            format,
            offset,
            gain,
            scale: [slope * unit / gain, slope * offset + inter],
            invalid_from,
        };
        let none = f32::INFINITY;
        match &volume.voxels {
            Voxels::U8(_) => linear(TextureFormat::R8Unorm, 0.0, 1.0, 255.0, none),
            Voxels::U16(_) if span > 255.0 && tier.has_norm16 => {
                linear(TextureFormat::R16Unorm, 0.0, 1.0, 65535.0, none)
            }
            v if v.is_integer() && span <= 255.0 => linear(TextureFormat::R8Unorm, low, 1.0, 255.0, none),
            v if v.is_integer() && span <= 65535.0 && tier.has_norm16 => {
                linear(TextureFormat::R16Unorm, low, 1.0, 65535.0, none)
            }
            v if tier.has_filterable_f32 && !(v.is_integer() && span <= 4096.0) => {
                // Doubles and wide integers may be large with small differences: store the distance from the middle.
                let offset = if matches!(v, Voxels::F32(_)) { 0.0 } else { f64::midpoint(low, high) };
                linear(TextureFormat::R32Float, offset, 1.0, 1.0, NO_VALUE_F32 / 2.0)
            }
            v if tier.has_norm16 && !v.is_integer() => {
                let gain = if span > 0.0 { LAST_U16 / span } else { 1.0 };
                linear(TextureFormat::R16Unorm, low, gain, 65535.0, (LAST_U16 + 0.5) as f32 / 65535.0)
            }
            v => {
                let is_exact = v.is_integer() && span <= 4096.0;
                let gain = if is_exact || span <= 0.0 { 1.0 } else { 4096.0 / span };
                // A whole offset keeps whole numbers whole.
                let middle = f64::midpoint(low, high);
                let offset = if v.is_integer() { middle.floor() } else { middle };
                linear(TextureFormat::R16Float, offset, gain, 1.0, NO_VALUE_F16 / 2.0)
            }
        }
    }

    const fn plain(format: TextureFormat, scale: [f64; 2]) -> Self {
        Self { format, offset: 0.0, gain: 1.0, scale, invalid_from: f32::INFINITY }
    }

    /// Bytes of a texel.
    pub fn texel_bytes(&self) -> usize {
        match self.format {
            TextureFormat::R8Unorm => 1,
            TextureFormat::R16Unorm | TextureFormat::R16Float => 2,
            _ => 4,
        }
    }

    /// Hands the texels of the texture slices `slices` to `sink`, as bytes.
    pub fn slab(
        &self,
        layer: &ImageLayer,
        blocks: &Blocks,
        slices: std::ops::Range<usize>,
        sink: impl FnOnce(&[u8]),
    ) {
        let volume = layer.volume();
        let (slope, inter) = (volume.scaling.slope, volume.scaling.inter);
        let magnitude = |re: f64, im: f64| (re * slope + inter).hypot(im * slope);
        let whole = blocks.is_whole();
        match &volume.voxels {
            // Bytes as they are.
            Voxels::U8(a) if whole && self.offset == 0.0 && self.format == TextureFormat::R8Unorm => {
                sink(blocks.raw(a.as_slice().unwrap_or_default(), slices));
            }
            Voxels::U16(a) if whole && self.offset == 0.0 && self.format == TextureFormat::R16Unorm => {
                sink(bytemuck::cast_slice(blocks.raw(a.as_slice().unwrap_or_default(), slices)));
            }
            Voxels::Rgb8(a) => {
                self.colours(a, blocks, slices, |c| [c[0].into(), c[1].into(), c[2].into(), 255.0], sink);
            }
            Voxels::Rgba8(a) => self.colours(a, blocks, slices, |c| c.map(f32::from), sink),
            Voxels::Rgb16(a) => {
                let byte = |v: u16| f32::from(v) / 257.0;
                self.colours(a, blocks, slices, |c| [byte(c[0]), byte(c[1]), byte(c[2]), 255.0], sink);
            }
            Voxels::Rgba16(a) => {
                self.colours(a, blocks, slices, |c| c.map(|v| f32::from(v) / 257.0), sink);
            }
            Voxels::Complex32(a) => {
                self.values(a, blocks, slices, |c| magnitude(c[0].into(), c[1].into()), sink);
            }
            Voxels::Complex64(a) => self.values(a, blocks, slices, |c| magnitude(c[0], c[1]), sink),
            v => {
                for_scalar!(v, a => self.values(a, blocks, slices, Scalar::to_f64, sink),
                            _ => unreachable!("matched above"));
            }
        }
    }

    fn values<T: Copy + Sync>(
        &self,
        array: &formats::Shared<T>,
        blocks: &Blocks,
        slices: std::ops::Range<usize>,
        value: impl Fn(T) -> f64 + Sync,
        sink: impl FnOnce(&[u8]),
    ) {
        let all = array.as_slice().unwrap_or_default();
        // The mean of the finite values of a block, coded; NaN where there is none.
        let code = |voxels: &mut dyn Iterator<Item = T>| {
            let (mut sum, mut n) = (0.0, 0.0);
            for v in voxels.map(&value).filter(|v| v.is_finite()) {
                sum += v;
                n += 1.0;
            }
            (sum / n - self.offset) * self.gain
        };
        let one = |v: T| (value(v) - self.offset) * self.gain;
        match self.format {
            TextureFormat::R8Unorm => {
                let cast = |c: f64| (c + 0.5) as u8;
                sink(&blocks.texels(all, slices, |v| cast(one(v)), |b| cast(code(b))));
            }
            TextureFormat::R16Unorm => {
                // Casting NaN gives 0, so the code of "no value" is written out.
                let cast = |c: f64| if c.is_finite() { (c + 0.5) as u16 } else { u16::MAX };
                sink(bytemuck::cast_slice(&blocks.texels(all, slices, |v| cast(one(v)), |b| cast(code(b)))));
            }
            TextureFormat::R16Float => {
                let cast = |c: f64| {
                    let c = if c.is_finite() { c.clamp(-20000.0, 20000.0) as f32 } else { NO_VALUE_F16 };
                    f16::from_f32(c).to_bits()
                };
                sink(bytemuck::cast_slice(&blocks.texels(all, slices, |v| cast(one(v)), |b| cast(code(b)))));
            }
            _ => {
                let cast = |c: f64| {
                    let c = c as f32;
                    if c.is_finite() { c } else { NO_VALUE_F32 }
                };
                sink(bytemuck::cast_slice(&blocks.texels(all, slices, |v| cast(one(v)), |b| cast(code(b)))));
            }
        }
    }

    /// Colours are stored premultiplied, so that filtering does not bleed the colours of transparent voxels.
    fn colours<T: Copy + Sync>(
        &self,
        array: &formats::Shared<T>,
        blocks: &Blocks,
        slices: std::ops::Range<usize>,
        rgba: impl Fn(T) -> [f32; 4] + Sync,
        sink: impl FnOnce(&[u8]),
    ) {
        let premultiplied = |c: T| {
            let [r, g, b, a] = rgba(c);
            let o = a / 255.0;
            [r * o, g * o, b * o, a]
        };
        let byte = |c: [f32; 4]| c.map(|v| (v + 0.5) as u8);
        let mean = |voxels: &mut dyn Iterator<Item = T>| {
            let (mut sum, mut n) = ([0.0_f32; 4], 0.0);
            for c in voxels.map(&premultiplied) {
                (0..4).for_each(|a| sum[a] += c[a]);
                n += 1.0;
            }
            byte(sum.map(|s| s / n))
        };
        let all = array.as_slice().unwrap_or_default();
        sink(bytemuck::cast_slice(&blocks.texels(all, slices, |c| byte(premultiplied(c)), mean)));
    }
}

/// A volume cut into blocks of whole voxels, one per texel (blocks at the far end may be cut short).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Voxels along i, j, k.
    pub voxels: [usize; 3],
    /// Voxels of a block along i, j, k; 1 for a full-size texture.
    pub factors: [usize; 3],
}

impl Blocks {
    /// The blocks that bring every axis to `limit` texels or fewer, and are `extra` times as large again.
    pub fn within(voxels: [usize; 3], limit: u32, extra: usize) -> Self {
        let limit = (limit as usize).max(1);
        Self { voxels, factors: voxels.map(|n| (n.div_ceil(limit) * extra.max(1)).min(n.max(1))) }
    }

    /// Texels along i, j, k.
    pub fn size(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| self.voxels[a].div_ceil(self.factors[a]))
    }

    /// Whether each voxel has its own texel.
    pub fn is_whole(&self) -> bool {
        self.factors == [1; 3]
    }

    /// The voxels of texture slices, for blocks of one voxel.
    fn raw<'a, T>(&self, all: &'a [T], slices: std::ops::Range<usize>) -> &'a [T] {
        let slice = self.voxels[0] * self.voxels[1];
        all.get(slices.start * slice..slices.end * slice).unwrap_or_default()
    }

    /// Texels of texture slices: `one` for single voxels, `many` for blocks.
    pub fn texels<T: Copy + Sync, U: Send + Default + Clone>(
        &self,
        all: &[T],
        slices: std::ops::Range<usize>,
        one: impl Fn(T) -> U + Sync,
        many: impl Fn(&mut dyn Iterator<Item = T>) -> U + Sync,
    ) -> Vec<U> {
        if self.is_whole() {
            let source = self.raw(all, slices);
            let mut out = Vec::with_capacity(source.len());
            source.par_iter().with_min_len(1 << 16).map(|&v| one(v)).collect_into_vec(&mut out);
            return out;
        }
        let size = self.size();
        let (low, high) = ([0, 0, slices.start], [size[0], size[1], slices.end]);
        self.region(all, low, high, many)
    }

    /// Texels of a box of texels (`low` inclusive, `high` exclusive), i fastest.
    pub fn region<T: Copy + Sync, U: Send + Default + Clone>(
        &self,
        all: &[T],
        low: [usize; 3],
        high: [usize; 3],
        many: impl Fn(&mut dyn Iterator<Item = T>) -> U + Sync,
    ) -> Vec<U> {
        let [ni, nj, nk] = [0, 1, 2].map(|a| high[a].saturating_sub(low[a]));
        let mut out = vec![U::default(); ni * nj * nk];
        if out.is_empty() {
            return out;
        }
        let range = |a: usize, texel: usize| {
            let start = texel * self.factors[a];
            start..(start + self.factors[a]).min(self.voxels[a])
        };
        out.par_chunks_mut(ni).enumerate().for_each(|(row, texels)| {
            let (tj, tk) = (low[1] + row % nj, low[2] + row / nj);
            for (n, texel) in texels.iter_mut().enumerate() {
                let columns = range(0, low[0] + n);
                let mut voxels = range(2, tk)
                    .flat_map(|k| range(1, tj).map(move |j| (k * self.voxels[1] + j) * self.voxels[0]))
                    .flat_map(|start| columns.clone().map(move |i| start + i))
                    .filter_map(|at| all.get(at).copied());
                *texel = many(&mut voxels);
            }
        });
        out
    }
}
