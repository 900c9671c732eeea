//! One compressed frame into samples: calls the decoder, fences it, and puts bits and colours right.
//!
//! # Which decoders, and why
//!
//! Only memory-safe Rust decodes what comes from outside: the C libraries for these formats have a history of
//! exploitable faults, and this program opens files from strangers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::syntax::{self, Codec};
use super::{PixelLayout, Sample, colour, jpeg, jpegls, rle};
use crate::error::{Error, Result};

/// Frames up to this are decoded from any stream; larger ones must come from a stream of some size.
const TRUSTED_BYTES: u64 = 64 << 20;

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
pub(super) fn check_claim(path: &Path, layout: &PixelLayout, compressed: u64) -> Result<()> {
    let claim = layout.frame_len() as u64 * layout.sample_type.size() as u64;
    if claim > TRUSTED_BYTES && claim > compressed.saturating_mul(MAX_RATIO) {
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
    check_claim(path, layout, stream.len() as u64)?;
    let run = AssertUnwindSafe(|| match syntax::codec(syntax) {
        Codec::Rle => rle::decode(stream, layout, out),
        Codec::Jpeg | Codec::JpegLossless => jpeg::decode(stream, layout, out),
        Codec::JpegLs => jpegls::decode(stream, layout, out),
        _ => Err(Fault::Unsupported("this encoding".to_owned())),
    });
    let result = catch_unwind(run)
        .unwrap_or_else(|_| Err(Fault::malformed("compressed data that the decoder broke down over")));
    let expected = || format!("a sound frame in {}", syntax::name(syntax));
    let colour = result.map_err(|fault| match fault {
        Fault::Malformed(found) => Error::malformed(path, found, expected()),
        Fault::Unsupported(found) => Error::unsupported(
            path,
            found,
            "the usual kinds of this compression",
            "Export it again as Explicit VR Little Endian",
        ),
    })?;
    T::settle(out, layout.bits_stored, layout.high_bit);
    let photometric = match colour {
        Colour::AsStored => layout.photometric,
        Colour::Rgb => super::Photometric::Rgb,
        Colour::Ybr => super::Photometric::YbrFull,
    };
    if layout.samples == 3 {
        colour::to_rgb(photometric, layout.bits_stored, out);
    }
    Ok(())
}
