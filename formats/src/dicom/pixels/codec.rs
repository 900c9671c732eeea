//! One compressed frame into samples: calls the decoder, fences it, and puts bits and colours right.
//!
//! # Which decoders, and why
//!
//! Only memory-safe Rust decodes what comes from outside: the C libraries for these formats have a history of
//! exploitable faults, and this program opens files from strangers.
//!
//! * **JPEG 2000**: `hayro-jpeg2000` (MIT or Apache-2.0, `unsafe` forbidden; its SIMD wrapper `fearless_simd` has
//!   some). Exact on all lossless test files, as fast as OpenJPEG inside GDCM (25 against 28 ms of processor time for
//!   a CT slice of 512 × 512). `j2k-native` wants a newer compiler than ours; `openjp2` is C translated into
//!   unsafe Rust.
//! * **High-throughput JPEG 2000**: `dicom-toolkit-jpeg2000`, a fork of the former with T.814 block decoding and
//!   without SIMD here. It decodes the rest too, but takes 1.6 times as long.
//! * **JPEG**, lossy and lossless: our own, about 900 lines. `jpeg-decoder` and `zune-jpeg` know no 12-bit
//!   cosine transform, and hide whether colours were transformed.
//! * **JPEG-LS**: our own. `pure_jpegls` knows no near-lossless streams.
//! * **RLE**: our own, 60 lines.
//! * **JPEG XL** is refused: no writer of DICOM files is known yet, and `jxl-oxide` brings fifteen crates.
//!
//! A decoder that panics is caught, and the panic becomes an error about the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::syntax::{self, Codec};
use super::{PixelLayout, Sample, colour, jpeg, jpeg2000, jpegls, rle};
use crate::error::{Error, Result};

/// Frames that need no more memory than this are decoded from any stream; others must come from one of some size.
const TRUSTED_BYTES: u64 = 56 << 20;

/// Compression beyond this, of frames that large, is not met in practice.
const MAX_RATIO: u64 = 1000;

/// What a decoder left in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// What Photometric Interpretation says.
    AsStored,
    /// Red, green, blue, whatever it says.
    Rgb,
    /// Luma and colour differences, whatever it says.
    Ybr,
}

/// A frame that was decoded: samples as the stream has them, colours interleaved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded {
    pub colour: Colour,
    /// Bits of a sample in the stream.
    pub precision: u32,
}

/// Why a stream was not decoded.
#[derive(Debug)]
pub(super) enum Fault {
    Malformed(String),
    Unsupported(String),
}

impl Fault {
    pub fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}

/// Refuses frames so large that their stream cannot mean them.
pub(super) fn check_claim(path: &Path, codec: Codec, layout: &PixelLayout, compressed: u64) -> Result<()> {
    let samples = layout.frame_len() as u64;
    let claim = samples * layout.sample_type.size() as u64;
    // What decoders hold beside the output: coefficients and planes.
    let beside = match codec {
        Codec::Jpeg | Codec::JpegLossless => 6 * samples,
        Codec::Jpeg2000 => 12 * samples,
        _ => 0,
    };
    if claim + beside > TRUSTED_BYTES && claim > compressed.saturating_mul(MAX_RATIO) {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{} MiB for a frame of {} × {} pixels", claim >> 20, layout.columns, layout.rows),
            limit: format!("its {compressed} compressed bytes cannot hold that"),
            remedy: "The file is damaged or was made to exhaust memory; export it again".to_owned(),
        });
    }
    Ok(())
}

/// Decodes the stream of one frame.
pub(super) fn decode<T: Sample>(
    path: &Path,
    syntax: &str,
    stream: &[u8],
    layout: &PixelLayout,
    out: &mut [T],
) -> Result<()> {
    let codec = syntax::codec(syntax);
    check_claim(path, codec, layout, stream.len() as u64)?;
    let run = AssertUnwindSafe(|| match codec {
        Codec::Rle => rle::decode(stream, layout, out),
        Codec::Jpeg | Codec::JpegLossless => jpeg::decode(stream, layout, out),
        Codec::JpegLs => jpegls::decode(stream, layout, out),
        Codec::Jpeg2000 => jpeg2000::decode(stream, layout, out),
        Codec::Native | Codec::Unsupported => Err(Fault::Unsupported("this encoding".to_owned())),
    });
    let result = catch_unwind(run)
        .unwrap_or_else(|_| Err(Fault::malformed("compressed data that the decoder broke down over")));
    let expected = || format!("a sound frame in {}", syntax::name(syntax));
    let decoded = result.map_err(|fault| match fault {
        Fault::Malformed(found) => Error::malformed(path, found, expected()),
        Fault::Unsupported(found) => Error::unsupported(
            path,
            found,
            "the usual kinds of this compression",
            "Export it again as Explicit VR Little Endian",
        ),
    })?;
    // Streams of just the stored bits have them at the bottom, wherever High Bit puts them in plain samples.
    let high_bit = layout.high_bit.min(decoded.precision.max(layout.bits_stored) - 1);
    T::settle(out, layout.bits_stored, high_bit);
    let photometric = match decoded.colour {
        Colour::AsStored => layout.photometric,
        Colour::Rgb => super::Photometric::Rgb,
        Colour::Ybr => super::Photometric::YbrFull,
    };
    if layout.samples == 3 {
        colour::to_rgb(photometric, layout.bits_stored, out);
    }
    Ok(())
}
