//! Uncompressed samples (PS3.5 §8.1, annex D).

use bytemuck::Pod;

use super::{Photometric, PixelLayout, Sample};
use crate::dicom::dataset::Encoding;
use crate::dicom::pixels::colour;
use crate::dicom::read::Header;
use crate::error::{Error, Result};
use dicom_core::VR;

/// Moves the stored bits of samples where they belong.
pub trait Settle: Pod {
    /// Takes `stored` bits below and including `high_bit`, with their sign where the type has one.
    fn settle(samples: &mut [Self], stored: u32, high_bit: u32);
    /// Turns the bytes of each sample round.
    fn swap(samples: &mut [Self]);
    /// An integer cut to the range of the type.
    fn from_i64(v: i64) -> Self;
    /// The lowest bits of an integer.
    fn wrap(v: i32) -> Self;
    /// The value; floating point is cut to whole numbers.
    fn to_i64(self) -> i64;
}

macro_rules! settle_integer {
    ($($t:ty),*) => {$(
        impl Settle for $t {
            fn settle(samples: &mut [Self], stored: u32, high_bit: u32) {
                // The shift to the right brings the sign along in signed types.
                let up = <$t>::BITS.saturating_sub(1 + high_bit);
                let down = <$t>::BITS.saturating_sub(stored);
                if down == 0 || down >= <$t>::BITS {
                    return;
                }
                for v in samples {
                    *v = (*v << up) >> down;
                }
            }
            fn swap(samples: &mut [Self]) {
                for v in samples {
                    *v = v.swap_bytes();
                }
            }
            fn from_i64(v: i64) -> Self {
                v.clamp(<$t>::MIN as i64, <$t>::MAX as i64) as $t
            }
            #[inline]
            fn wrap(v: i32) -> Self {
                v as $t
            }
            fn to_i64(self) -> i64 {
                self as i64
            }
        }
    )*};
}
settle_integer!(u8, i8, u16, i16, u32, i32);

macro_rules! settle_float {
    ($($t:ty),*) => {$(
        impl Settle for $t {
            fn settle(_: &mut [Self], _: u32, _: u32) {}
            fn swap(samples: &mut [Self]) {
                for v in samples {
                    *v = <$t>::from_bits(v.to_bits().swap_bytes());
                }
            }
            fn from_i64(v: i64) -> Self {
                v as $t
            }
            #[inline]
            fn wrap(v: i32) -> Self {
                v as $t
            }
            fn to_i64(self) -> i64 {
                self as i64
            }
        }
    )*};
}
settle_float!(f32, f64);

/// Where uncompressed frames come from.
pub(super) trait Bytes {
    /// Fills `out` with the bytes from `at`, counted from the first byte of the pixel data.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()>;
}

struct InFile<'a> {
    header: &'a Header,
    start: u64,
}

impl Bytes for InFile<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        self.header.reader()?.read_at(self.start + at, out)
    }
}

struct InMemory<'a> {
    bytes: &'a [u8],
    path: &'a std::path::Path,
}

impl Bytes for InMemory<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let piece = self.bytes.get(at..).and_then(|rest| rest.get(..out.len()));
        let short = || {
            let found = format!("a frame of {} bytes", self.bytes.len());
            Error::malformed(self.path, found, format!("{} bytes of uncompressed pixels", out.len()))
        };
        out.copy_from_slice(piece.ok_or_else(short)?);
        Ok(())
    }
}

/// A frame that came alone, in fragments (Encapsulated Uncompressed).
pub(super) fn lone_frame<T: Sample>(
    header: &Header,
    layout: &PixelLayout,
    bytes: &[u8],
    out: &mut [T],
) -> Result<()> {
    let source = InMemory { bytes, path: &header.path };
    unpack(&source, layout, header.encoding, VR::OB, 0, out)
}

/// A frame of an uncompressed instance.
pub(super) fn frame<T: Sample>(header: &Header, layout: &PixelLayout, n: usize, out: &mut [T]) -> Result<()> {
    let Some(pixels) = header.pixels else {
        return Err(Error::Argument("no pixel data".to_owned()));
    };
    let source = InFile { header, start: pixels.start };
    unpack(&source, layout, header.encoding, pixels.vr, n, out)
}

/// Frame `n` of plain samples in `source`.
pub(super) fn unpack<T: Sample>(
    source: &impl Bytes,
    layout: &PixelLayout,
    encoding: Encoding,
    vr: VR,
    n: usize,
    out: &mut [T],
) -> Result<()> {
    let bits = layout.stored_frame_bits();
    let first_bit = bits * n as u64;
    let paired = encoding.big_endian && vr == VR::OW && layout.bits_allocated <= 8;
    if layout.bits_allocated == 1 {
        let (first, last) = (first_bit / 8, (first_bit + bits).div_ceil(8));
        let mut bytes = vec![0; usize::try_from(last - first).unwrap_or(usize::MAX)];
        read(source, paired, first, &mut bytes)?;
        unpack_bits(&bytes, (first_bit % 8) as usize, out);
        return Ok(());
    }
    let at = first_bit / 8;
    let subsampled = matches!(layout.photometric, Photometric::YbrFull422 | Photometric::YbrPartial422);
    if subsampled {
        let mut stored = vec![T::zeroed(); layout.frame_pixels() * 2];
        read(source, paired, at, bytemuck::cast_slice_mut(&mut stored))?;
        finish(layout, encoding, &mut stored);
        colour::spread_422(&stored, out);
    } else if layout.is_planar {
        let mut stored = vec![T::zeroed(); out.len()];
        read(source, paired, at, bytemuck::cast_slice_mut(&mut stored))?;
        finish(layout, encoding, &mut stored);
        colour::interleave(&stored, out);
    } else {
        read(source, paired, at, bytemuck::cast_slice_mut(out))?;
        finish(layout, encoding, out);
    }
    colour::to_rgb(layout.photometric, layout.bits_stored, out);
    Ok(())
}

/// 8-bit samples in big endian words (OW) come in swapped pairs (PS3.5 annex D).
fn read(source: &impl Bytes, paired: bool, at: u64, out: &mut [u8]) -> Result<()> {
    if !paired {
        return source.read(at, out);
    }
    let lead = usize::from(at % 2 == 1);
    let mut words = vec![0; (out.len() + lead).next_multiple_of(2)];
    source.read(at - lead as u64, &mut words)?;
    for pair in words.as_chunks_mut::<2>().0 {
        pair.swap(0, 1);
    }
    for (o, w) in out.iter_mut().zip(words.iter().skip(lead)) {
        *o = *w;
    }
    Ok(())
}

fn finish<T: Sample>(layout: &PixelLayout, encoding: Encoding, samples: &mut [T]) {
    if encoding.big_endian != cfg!(target_endian = "big") {
        T::swap(samples);
    }
    T::settle(samples, layout.bits_stored, layout.high_bit);
}

/// The lowest bit is the first pixel (PS3.5 §8.2, D.1); frames follow each other without gaps.
fn unpack_bits<T: Sample>(bytes: &[u8], skip: usize, out: &mut [T]) {
    let (zero, one) = (T::from_i64(0), T::from_i64(1));
    if skip == 0 {
        for (eight, byte) in out.chunks_mut(8).zip(bytes) {
            for (bit, o) in eight.iter_mut().enumerate() {
                *o = if byte >> bit & 1 == 1 { one } else { zero };
            }
        }
        return;
    }
    for (i, o) in out.iter_mut().enumerate() {
        let bit = skip + i;
        *o = if bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1) { one } else { zero };
    }
}
