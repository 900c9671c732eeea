//! Plain samples with some pixels overwritten in place, and decoded ones written out.

use dicom_core::VR;

use super::{Fill, Mask, Redaction};
use crate::dicom::pixels::{Instance, Photometric, PixelLayout, SampleType};
use crate::error::{Error, Result};
use crate::for_samples;

/// What a pixel is overwritten with, as it is stored: one word per sample, stored bits in their place.
pub(super) struct StoredPixel {
    pub raw: Vec<u64>,
}

impl StoredPixel {
    /// For frame `n`.
    pub fn new(instance: &Instance, n: usize, fill: Fill) -> Result<Self> {
        let layout = instance.layout();
        let values = fill.decoded(instance, &instance.frame(n)?)?;
        let raw = match layout.sample_type {
            SampleType::F32 => vec![u64::from((values[0] as f32).to_bits())],
            SampleType::F64 => vec![values[0].to_bits()],
            _ if layout.photometric.is_ybr() => ybr(&values, layout.bits_stored),
            _ => values.iter().map(|&v| v as i64 as u64).collect(),
        };
        if matches!(layout.sample_type, SampleType::F32 | SampleType::F64) {
            return Ok(Self { raw });
        }
        // The stored bits end at the high bit; the others, which may hold an overlay, become zero.
        let mask = |bits: u32| if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        let shift = (layout.high_bit + 1).saturating_sub(layout.bits_stored);
        let place = |v: u64| ((v & mask(layout.bits_stored)) << shift) & mask(layout.bits_allocated);
        Ok(Self { raw: raw.into_iter().map(place).collect() })
    }
}

/// Red, green and blue as luma and colour differences (PS3.3 C.7.6.3.1.2, YBR_FULL).
fn ybr(rgb: &[f64], bits: u32) -> Vec<u64> {
    let [r, g, b] = [0, 1, 2].map(|i| rgb.get(i).copied().unwrap_or(0.0));
    let half = 2f64.powi(bits as i32 - 1);
    let y = 0.299 * r + 0.587 * g + 0.114 * b;
    let (cb, cr) =
        (-0.168_736 * r - 0.331_264 * g + 0.5 * b + half, 0.5 * r - 0.418_688 * g - 0.081_312 * b + half);
    [y, cb, cr].map(|v| v.round().clamp(0.0, 2.0 * half - 1.0) as u64).to_vec()
}

/// The pixel data with marked pixels overwritten, and a remark where more than them had to change.
pub(super) fn overwritten(
    instance: &Instance,
    redaction: &Redaction,
    embedded: &[(u32, usize, Mask)],
) -> Result<(Vec<u8>, Option<String>)> {
    let layout = instance.layout();
    let header = instance.header();
    let mut bytes = instance.plain_bytes()?.unwrap_or_default();
    let pixels = layout.frame_pixels();
    let frame_bits = layout.stored_frame_bits();
    let mut writer = Writer {
        bytes: &mut bytes,
        big_endian: header.encoding.big_endian,
        paired: header.encoding.big_endian
            && header.pixels.is_some_and(|p| p.vr == VR::OW)
            && layout.bits_allocated <= 8,
        size: layout.bits_allocated as usize / 8,
    };
    let mut is_widened = false;
    for (n, mask) in redaction.frames.iter().enumerate() {
        let Some(mask) = mask else { continue };
        let stored = StoredPixel::new(instance, n, redaction.fill)?;
        let start = usize::try_from(frame_bits * n as u64).map_err(|_| too_large(instance))?;
        for (p, _) in mask.iter().enumerate().filter(|(_, marked)| **marked) {
            match layout.photometric {
                _ if layout.bits_allocated == 1 => writer.bit(start + p, stored.raw[0] & 1 == 1),
                Photometric::YbrFull422 | Photometric::YbrPartial422 => {
                    // Two pixels share their colour: Y Y Cb Cr.
                    let pair = start / 8 + p / 2 * 4 * writer.size;
                    let (y, c) = (stored.raw[0], &stored.raw[1..]);
                    for (i, v) in [y, y, c[0], c[1]].into_iter().enumerate() {
                        writer.sample(pair + i * writer.size, v);
                    }
                    is_widened = true;
                }
                _ => {
                    for (sample, &v) in stored.raw.iter().enumerate() {
                        let index =
                            if layout.is_planar { sample * pixels + p } else { p * layout.samples + sample };
                        writer.sample(start / 8 + index * writer.size, v);
                    }
                }
            }
        }
    }
    for (bit, n, mask) in embedded {
        let start = usize::try_from(frame_bits * *n as u64).map_err(|_| too_large(instance))? / 8;
        for (p, _) in mask.iter().enumerate().filter(|(_, marked)| **marked) {
            writer.clear_bit_of_sample(start + p * writer.size, *bit);
        }
    }
    let remark = is_widened
        .then(|| "pixels that share their colour with a marked neighbour changed with it".to_owned());
    Ok((bytes, remark))
}

fn too_large(instance: &Instance) -> Error {
    Error::malformed(&instance.header().path, "pixel data larger than the memory of this machine", "less")
}

/// Puts samples into the pixel data.
struct Writer<'a> {
    bytes: &'a mut [u8],
    big_endian: bool,
    /// 8-bit samples in big endian words come in swapped pairs (PS3.5 annex D).
    paired: bool,
    size: usize,
}

impl Writer<'_> {
    fn place(&self, at: usize) -> usize {
        if self.paired { at ^ 1 } else { at }
    }

    fn sample(&mut self, at: usize, value: u64) {
        for i in 0..self.size {
            let shift = 8 * if self.big_endian { self.size - 1 - i } else { i };
            let place = self.place(at + i);
            if let Some(byte) = self.bytes.get_mut(place) {
                *byte = (value >> shift) as u8;
            }
        }
    }

    fn bit(&mut self, at: usize, set: bool) {
        let place = self.place(at / 8);
        if let Some(byte) = self.bytes.get_mut(place) {
            let bit = 1 << (at % 8);
            *byte = if set { *byte | bit } else { *byte & !bit };
        }
    }

    fn clear_bit_of_sample(&mut self, at: usize, bit: u32) {
        let byte = bit as usize / 8;
        let place = self.place(at + if self.big_endian { self.size - 1 - byte } else { byte });
        if let Some(byte) = self.bytes.get_mut(place) {
            *byte &= !(1 << (bit % 8));
        }
    }
}

/// A sample of a value, cut to the range of its type.
trait FromF64 {
    fn from_f64(v: f64) -> Self;
}

macro_rules! from_f64 {
    ($($t:ty),*) => {$(
        impl FromF64 for $t {
            fn from_f64(v: f64) -> Self {
                v as $t
            }
        }
    )*};
}
from_f64!(u8, i8, u16, i16, u32, i32, f32, f64);

/// All frames decoded, marked pixels overwritten, as plain little-endian samples: colours as red, green, blue, pixel by pixel.
pub(super) fn unpacked(instance: &Instance, redaction: &Redaction) -> Result<(Vec<u8>, VR)> {
    let layout: &PixelLayout = instance.layout();
    let mut out = Vec::new();
    for n in 0..layout.frames {
        let mut samples = instance.frame(n)?;
        if let Some(mask) = redaction.frames.get(n).and_then(Option::as_ref) {
            let fill = redaction.fill.decoded(instance, &samples)?;
            for_samples!(&mut samples, v => {
                for (pixel, _) in v.chunks_exact_mut(layout.samples).zip(mask.iter()).filter(|(_, marked)| **marked) {
                    for (slot, &value) in pixel.iter_mut().zip(&fill) {
                        *slot = FromF64::from_f64(value);
                    }
                }
            });
        }
        for_samples!(&samples, v => out.extend(v.iter().flat_map(|s| s.to_le_bytes())));
    }
    let vr = if layout.sample_type.size() == 1 { VR::OB } else { VR::OW };
    Ok((out, vr))
}
