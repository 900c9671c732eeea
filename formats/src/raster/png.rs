//! PNG: 1 to 16 bits, grey, colour, palette, transparency, interlaced; written with 8 and 16 bits.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Cursor};
use std::path::Path;

use ::image::codecs::png::{CompressionType, FilterType, PngDecoder, PngEncoder};
use ::image::{ExtendedColorType, ImageDecoder, ImageEncoder};

use super::{TRUSTED_BYTES, check_claim, complaint, decode, fenced, limits, only_slice, picture};
use crate::block;
use crate::error::{Error, Result};
use crate::inflate::MAX_RATIO;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;
use crate::voxels::Voxels;

/// The format; see the [module documentation](super).
pub struct Png;

impl Format for Png {
    fn id(&self) -> &'static str {
        "png"
    }

    fn name(&self) -> &'static str {
        "PNG"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["png"]
    }

    fn sniff(&self, source: &Source) -> bool {
        source.raw_head.starts_with(b"\x89PNG\r\n\x1a\n")
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        let path = source.path.as_path();
        let bytes = block::read_from(path, 0, task)?;
        let present = bytes.len() as u64;
        fenced(path, || {
            let open = || PngDecoder::with_limits(Cursor::new(&bytes), limits(TRUSTED_BYTES));
            let decoder = open().map_err(complaint(path, "PNG"))?;
            let claim = decoder.total_bytes();
            // Bits may expand to bytes and palettes to colours: 1 bit becomes 4 bytes.
            check_claim(path, claim, present, MAX_RATIO * 32)?;
            let depth = decoder.original_color_type();
            if claim > TRUSTED_BYTES + 3 * present {
                try_rows(path, &bytes, task)?;
            }
            task.at("Decoding", 0.5)?;
            let voxels = decode(path, decoder, "PNG")?;
            picture(path, "png", format!("PNG, {depth:?}"), vec![voxels], Vec::new())
        })
    }

    fn can_write(&self, content: Content<'_>) -> bool {
        only_slice(content).is_some_and(|v| colour_type(&v).is_some())
    }

    fn write(&self, content: Content<'_>, path: &Path, _: &OsStr, task: &Task) -> Result<()> {
        let refuse = || {
            Error::unsupported(
                path,
                "writing this to PNG",
                "one slice of 8 or 16 bits, grey or colour",
                "Choose .tif or .nii.gz",
            )
        };
        let voxels = only_slice(content).ok_or_else(refuse)?;
        let colour = colour_type(&voxels).ok_or_else(refuse)?;
        let [_, h, w] = voxels.shape_kji().map(u32::try_from);
        let (Ok(h), Ok(w)) = (h, w) else { return Err(refuse()) };
        task.at("Writing", 0.0)?;
        let file = File::create(path).map_err(Error::io(path, "write"))?;
        let encoder = PngEncoder::new_with_quality(
            BufWriter::new(file),
            CompressionType::Default,
            FilterType::Adaptive,
        );
        // 16-bit samples are given in this machine's order; the encoder turns them.
        encoder.write_image(block::bytes_of(&voxels)?, w, h, colour).map_err(|e| Error::Io {
            path: path.to_owned(),
            action: "write",
            source: std::io::Error::other(e),
        })
    }
}

fn colour_type(voxels: &Voxels) -> Option<ExtendedColorType> {
    Some(match voxels {
        Voxels::U8(_) => ExtendedColorType::L8,
        Voxels::U16(_) => ExtendedColorType::L16,
        Voxels::Rgb8(_) => ExtendedColorType::Rgb8,
        Voxels::Rgba8(_) => ExtendedColorType::Rgba8,
        Voxels::Rgb16(_) => ExtendedColorType::Rgb16,
        Voxels::Rgba16(_) => ExtendedColorType::Rgba16,
        _ => return None,
    })
}

/// Decodes a large claim row by row, keeping one row, to see that the pixels are there.
fn try_rows(path: &Path, bytes: &[u8], task: &Task) -> Result<()> {
    let broken = |e: ::png::DecodingError| Error::malformed(path, e.to_string(), "a sound PNG picture");
    let decoder = ::png::Decoder::new_with_limits(
        Cursor::new(bytes),
        ::png::Limits { bytes: usize::try_from(TRUSTED_BYTES).unwrap_or(usize::MAX) },
    );
    let mut reader = decoder.read_info().map_err(broken)?;
    let mut n = 0_u32;
    while reader.next_row().map_err(broken)?.is_some() {
        n = n.wrapping_add(1);
        if n.is_multiple_of(256) {
            task.check()?;
        }
    }
    Ok(())
}
