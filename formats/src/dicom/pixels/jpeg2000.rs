//! JPEG 2000 and high-throughput JPEG 2000 (ITU-T T.800, T.814); see [`codec`](super::codec) for the decoders.
//!
//! The main header is read here first: what the stream claims must be what the data set says before a decoder
//! gives memory for it. Both decoders compute in f32, which holds the integers of the reversible transform exactly
//! up to 16 bits with room for the growth of the wavelet; more bits are refused.

use super::{PixelLayout, Sample};
use crate::dicom::pixels::codec::{Colour, Decoded, Fault};

/// Memory that the bookkeeping of code-blocks may take, at 256 bytes each.
const MOST_BLOCKS: u64 = (256 << 20) / 256;

/// What the main header says (T.800 A.5.1, A.6.1).
#[derive(Debug, Default)]
struct Main {
    columns: u64,
    rows: u64,
    components: usize,
    precision: u32,
    is_signed: bool,
    is_subsampled: bool,
    tiles: u64,
    /// Multiple component transformation: the decoder gives RGB.
    has_colour_transform: bool,
    block_pixels: u64,
    is_high_throughput: bool,
}

/// Decodes one frame.
pub(super) fn decode<T: Sample>(
    stream: &[u8],
    layout: &PixelLayout,
    out: &mut [T],
) -> Result<Decoded, Fault> {
    let stream = codestream(stream).ok_or_else(|| Fault::malformed("no JPEG 2000 codestream"))?;
    let main = main_header(stream).ok_or_else(|| Fault::malformed("a broken JPEG 2000 main header"))?;
    check(&main, layout)?;
    // Both decoders shift all components up, as if they were unsigned.
    let offset = if main.is_signed { 1_i32 << (main.precision - 1) } else { 0 };
    let fault = |e: &dyn std::fmt::Display| Fault::malformed(format!("JPEG 2000 data with a fault ({e})"));
    if main.is_high_throughput {
        let settings = dicom_toolkit_jpeg2000::DecodeSettings::default();
        let image = dicom_toolkit_jpeg2000::Image::new(stream, &settings).map_err(|e| fault(&e))?;
        let raw = image.decode_native().map_err(|e| fault(&e))?;
        let size = usize::from(raw.bytes_per_sample);
        if raw.data.len() != out.len() * size || usize::from(raw.num_components) != layout.samples {
            return Err(Fault::malformed("JPEG 2000 data of another size than their header says"));
        }
        match size {
            1 => {
                for (slot, &v) in out.iter_mut().zip(&raw.data) {
                    *slot = T::wrap(i32::from(v) - offset);
                }
            }
            _ => {
                for (slot, v) in out.iter_mut().zip(raw.data.as_chunks::<2>().0) {
                    *slot = T::wrap(i32::from(u16::from_le_bytes(*v)) - offset);
                }
            }
        }
    } else {
        let settings = hayro_jpeg2000::DecodeSettings::default();
        let image = hayro_jpeg2000::Image::new(stream, &settings).map_err(|e| fault(&e))?;
        let mut context = hayro_jpeg2000::DecoderContext::default();
        let decoded = image.decode(&mut context).map_err(|e| fault(&e))?;
        let planes = decoded.components();
        let pixels = layout.frame_pixels();
        if planes.len() != layout.samples || planes.iter().any(|p| p.samples().len() != pixels) {
            return Err(Fault::malformed("JPEG 2000 data of another size than their header says"));
        }
        let max = ((1_u32 << main.precision) - 1) as f32;
        // Halves go up; the integers of reversible streams are hit exactly.
        let value = |v: f32| T::wrap((v + 0.5).floor().clamp(0.0, max) as i32 - offset);
        if let [plane] = planes {
            for (slot, &v) in out.iter_mut().zip(plane.samples()) {
                *slot = value(v);
            }
        } else {
            for (i, plane) in planes.iter().enumerate() {
                for (slot, &v) in out.iter_mut().skip(i).step_by(layout.samples).zip(plane.samples()) {
                    *slot = value(v);
                }
            }
        }
    }
    let colour = if main.has_colour_transform { Colour::Rgb } else { Colour::AsStored };
    Ok(Decoded { colour, precision: main.precision })
}

/// The codestream itself; a JP2 envelope should not be there (PS3.5 A.4.4) but is met.
fn codestream(stream: &[u8]) -> Option<&[u8]> {
    if stream.starts_with(&[0xff, 0x4f, 0xff, 0x51]) {
        return Some(stream);
    }
    let mut rest = stream;
    loop {
        let len = usize::try_from(u32::from_be_bytes(*rest.first_chunk::<4>()?)).ok()?;
        if rest.get(4..8)? == b"jp2c" {
            return match len {
                0 => rest.get(8..),
                1 => rest.get(16..),
                _ => rest.get(8..len.min(rest.len())),
            };
        }
        if len < 8 {
            return None;
        }
        rest = rest.get(len..)?;
    }
}

fn main_header(stream: &[u8]) -> Option<Main> {
    let mut main = Main::default();
    let mut at = 2;
    loop {
        let &[m1, m0, l1, l0] = stream.get(at..)?.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([l1, l0]));
        match u16::from_be_bytes([m1, m0]) {
            // Start of a tile, or of data: the main header ends.
            0xff90 | 0xff93 => break,
            marker => {
                let body = stream.get(at + 4..at + 2 + len.max(2))?;
                match marker {
                    0xff51 => size(body, &mut main)?,
                    0xff50 => main.is_high_throughput = true,
                    0xff52 => coding(body, &mut main)?,
                    _ => {}
                }
                at += 2 + len.max(2);
            }
        }
    }
    (main.columns > 0 && main.block_pixels > 0).then_some(main)
}

fn size(body: &[u8], main: &mut Main) -> Option<()> {
    let word =
        |i: usize| body.get(2 + 4 * i..)?.first_chunk::<4>().map(|b| u64::from(u32::from_be_bytes(*b)));
    let (x1, y1, x0, y0) = (word(0)?, word(1)?, word(2)?, word(3)?);
    let (tile_columns, tile_rows, tile_x, tile_y) = (word(4)?, word(5)?, word(6)?, word(7)?);
    main.columns = x1.checked_sub(x0)?;
    main.rows = y1.checked_sub(y0)?;
    let across = x1.checked_sub(tile_x)?.div_ceil(tile_columns.max(1));
    main.tiles = across.checked_mul(y1.checked_sub(tile_y)?.div_ceil(tile_rows.max(1)))?;
    main.components = usize::from(u16::from_be_bytes(*body.get(34..)?.first_chunk::<2>()?));
    let components = body.get(36..)?.as_chunks::<3>().0;
    let &[depth, ..] = components.first()?;
    main.precision = u32::from(depth & 0x7f) + 1;
    main.is_signed = depth & 0x80 != 0;
    let same = components.iter().take(main.components).all(|c| c[0] == depth);
    main.is_subsampled = !same || components.iter().any(|c| (c[1], c[2]) != (1, 1));
    Some(())
}

fn coding(body: &[u8], main: &mut Main) -> Option<()> {
    let &[style, _, _, _, transform, levels, width, height, block_style, _] = body.first_chunk::<10>()?;
    main.has_colour_transform = transform == 1;
    main.is_high_throughput |= block_style & 0x40 != 0;
    let (width, height) = (u32::from(width & 15) + 2, u32::from(height & 15) + 2);
    let mut block = width + height;
    if style & 1 == 1 {
        // Precincts cut code-blocks (B.7).
        for &precinct in body.get(10..)?.iter().take(usize::from(levels) + 1) {
            let (w, h) = (u32::from(precinct & 15), u32::from(precinct >> 4));
            block = block.min(w.min(width) + h.min(height));
        }
    }
    main.block_pixels = 1 << block.min(12);
    Some(())
}

fn check(main: &Main, layout: &PixelLayout) -> Result<(), Fault> {
    if (main.rows, main.columns) != (layout.rows as u64, layout.columns as u64)
        || main.components != layout.samples
    {
        return Err(Fault::malformed(format!(
            "a JPEG 2000 picture of {} × {} pixels and {} components in an image of {} × {}, {} samples",
            main.columns, main.rows, main.components, layout.columns, layout.rows, layout.samples
        )));
    }
    if main.precision > 16 || main.precision > layout.bits_allocated {
        return Err(Fault::Unsupported(format!(
            "JPEG 2000 with {} bits in {} allocated",
            main.precision, layout.bits_allocated
        )));
    }
    if main.is_subsampled {
        return Err(Fault::Unsupported("JPEG 2000 with components of different size or depth".to_owned()));
    }
    let blocks = layout.frame_len() as u64 / main.block_pixels;
    if main.tiles > 65535 || blocks > MOST_BLOCKS {
        return Err(Fault::malformed(format!("JPEG 2000 data of {} tiles and {blocks} blocks", main.tiles)));
    }
    Ok(())
}
