//! TIFF and BigTIFF: integers and floats of 8 to 64 bits, half floats, packed bits, palettes, CMYK, tiles, planes,
//! pages as a stack; OME-TIFF and ImageJ hyperstacks with their axes and physical sizes.
//!
//! Decompression is the crate `tiff`'s. What it refuses is shown to it in another form, on a copy of the file with
//! tags changed: palette indices and masks as grey, "white is zero" as "black is zero" (inverted here), and rows of
//! 10, 12 or 14 bits as rows of bytes.

use std::ffi::OsStr;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use ::tiff::decoder::{Decoder, DecodingResult, Limits};
use ::tiff::{TiffError, TiffUnsupportedError};
use ndarray::Array3;

use super::description::{self, Arrangement};
use super::directory::{Directories, Directory};
use super::{TRUSTED_BYTES, check_claim, fenced, jpeg, picture_grid, tiff_write, too_large};
use crate::block;
use crate::error::{Error, Result};
use crate::inflate::{self, Stream};
use crate::notice::Notice;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::{Element, FrameAxis, Image, Meta, Volume};
use crate::voxels::{Scaling, Shared, Voxels};

/// The format; see the [module documentation](self).
pub struct Tiff;

/// Frames of one file.
const MAX_FRAMES: usize = 1 << 16;

mod tag {
    pub const SUBFILE: u16 = 254;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const DESCRIPTION: u16 = 270;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const STRIP_BYTES: u16 = 279;
    pub const X_RESOLUTION: u16 = 282;
    pub const Y_RESOLUTION: u16 = 283;
    pub const PLANAR: u16 = 284;
    pub const RESOLUTION_UNIT: u16 = 296;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
}

impl Format for Tiff {
    fn id(&self) -> &'static str {
        "tiff"
    }

    fn name(&self) -> &'static str {
        "TIFF"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["tif", "tiff", "ome.tif", "ome.tiff"]
    }

    fn sniff(&self, source: &Source) -> bool {
        [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|m| source.raw_head.starts_with(*m))
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        read(source, task)
    }

    fn can_write(&self, content: Content<'_>) -> bool {
        match content {
            Content::Labels(_) => true,
            Content::Image(image) => image.frames.iter().all(|f| !f.voxels.is_complex()),
        }
    }

    fn write(&self, content: Content<'_>, path: &Path, _: &OsStr, task: &Task) -> Result<()> {
        tiff_write::write(content, path, task)
    }
}

/// The tags of a page that decide how it is decoded.
#[derive(Clone, Debug, PartialEq)]
struct Page {
    width: usize,
    height: usize,
    samples: usize,
    bits: u64,
    compression: u64,
    photometric: u64,
    is_planar: bool,
    sample_format: u64,
    /// First extra sample: 1 or 2 for alpha.
    extra: Option<u64>,
}

impl Page {
    fn parse(d: &Directory, bytes: &[u8], is_little: bool) -> Option<Self> {
        let first = |tag| d.first(bytes, tag, is_little);
        let size = |tag| first(tag).and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
        let bits = d.numbers(bytes, tag::BITS, is_little).unwrap_or_else(|| vec![1]);
        Some(Self {
            width: size(tag::WIDTH)?,
            height: size(tag::HEIGHT)?,
            samples: first(tag::SAMPLES).unwrap_or(1).clamp(1, 65535) as usize,
            bits: bits.first().copied().filter(|b| (1..=64).contains(b))?,
            compression: first(tag::COMPRESSION).unwrap_or(1),
            photometric: first(tag::PHOTOMETRIC)?,
            is_planar: first(tag::PLANAR) == Some(2),
            sample_format: first(tag::SAMPLE_FORMAT).unwrap_or(1),
            extra: first(tag::EXTRA_SAMPLES),
        })
    }

    /// Bytes of all samples as they will be held.
    fn claim(&self) -> u64 {
        let each = self.bits.div_ceil(8).next_power_of_two();
        [self.width as u64, self.height as u64, self.samples as u64, each]
            .iter()
            .fold(1_u64, |n, v| n.saturating_mul(*v))
    }

    /// What a byte of file can become.
    fn ratio(&self) -> u64 {
        match self.compression {
            1 => 16,
            32773 => 64 * 8,
            8 | 32946 => 1032 * 8,
            7 => 1024,
            5 => 4096,
            // Fax: a blank line takes one bit, but a page is hardly ever all blank.
            _ => 1 << 13,
        }
    }
}

fn read(source: &Source, task: &Task) -> Result<Image> {
    let path = source.path.as_path();
    let mut bytes = block::read_from(path, 0, task)?;
    let present = bytes.len() as u64;
    let mut notices = Vec::new();
    let dirs = Directories::parse(&bytes)
        .filter(|d| !d.pages.is_empty())
        .ok_or_else(|| Error::malformed(path, "no page that can be found", "at least one directory"))?;
    if let Some(fault) = dirs.fault {
        notices
            .push(Notice::warning("broken-pages", format!("{fault}; {} pages were found", dirs.pages.len())));
    }
    let is_little = dirs.is_little;
    let (page, chosen) = choose(path, &dirs, &bytes, &mut notices)?;
    let total = page.claim().saturating_mul(chosen.len() as u64);
    check_claim(path, total, present, page.ratio())?;
    if let Some((tag, count)) = chosen.iter().find_map(|&n| dirs.pages[n].oversized(present)) {
        return Err(Error::malformed(
            path,
            format!("tag {tag} with {count} values in a file of {present} bytes"),
            "no more values than the file holds",
        ));
    }

    let first = &dirs.pages[chosen[0]];
    let text = first.text(&bytes, tag::DESCRIPTION).unwrap_or_default();
    let palette = (page.photometric == 3).then(|| first.numbers(&bytes, tag::COLOR_MAP, is_little)).flatten();
    let resolutions =
        [tag::X_RESOLUTION, tag::Y_RESOLUTION].map(|tag| first.rational(&bytes, tag, is_little));
    let unit = first.first(&bytes, tag::RESOLUTION_UNIT, is_little);
    let mut chunks = Vec::with_capacity(chosen.len());
    for &n in &chosen {
        chunks.push(check_chunks(path, &dirs.pages[n], &page, &bytes, is_little)?);
    }
    let packed_bits = !matches!(page.bits, 1 | 2 | 4 | 8 | 16 | 32 | 64);
    for &n in &chosen {
        disguise(path, &dirs.pages[n], &page, packed_bits, &mut bytes, is_little)?;
    }

    let mut planes: Vec<Vec<Voxels>> = Vec::new();
    fenced(path, || {
        let mut decoder = Decoder::new(Cursor::new(&bytes)).map_err(complaint(path))?;
        decoder = decoder.with_limits(decoder_limits(&page, present));
        if total > TRUSTED_BYTES + 3 * present {
            for (done, &n) in chosen.iter().enumerate() {
                task.at("Checking", done as f32 / chosen.len() as f32)?;
                decoder.seek_to_image(n).map_err(complaint(path))?;
                try_chunks(path, &mut decoder, &page, &chunks[done], task)?;
            }
        }
        for (done, &n) in chosen.iter().enumerate() {
            task.at("Decoding", done as f32 / chosen.len() as f32)?;
            decoder.seek_to_image(n).map_err(complaint(path))?;
            let mut result = DecodingResult::U8(Vec::new());
            let layout = decoder.read_image_to_buffer(&mut result).map_err(complaint(path))?;
            let read = result.as_buffer(0).as_bytes().len();
            if read < layout.complete_len {
                return Err(too_large(path, &format!("{} bytes of planes", layout.complete_len)));
            }
            planes.push(
                page_voxels(path, result, &page, packed_bits, palette.as_deref())
                    .map_err(|e| misfits(path, e))?,
            );
        }
        Ok(())
    })?;

    let pages = planes.len();
    let colour = planes.first().and_then(|p| p.first()).is_some_and(Voxels::is_colour);
    let samples = if colour { page.samples } else { 1 };
    let arrangement = arrange(&text, pages, samples, bytes.len(), resolutions, &mut notices);
    let mut facts = std::collections::BTreeMap::new();
    if let ([Some(x), Some(y)], Some(unit @ (2 | 3))) = (resolutions, unit) {
        let dpi = if unit == 2 { 1.0 } else { 2.54 };
        facts.insert("resolution-dpi".to_owned(), format!("{} × {}", x * dpi, y * dpi));
    }
    let encoding = format!(
        "{}, {}-endian, {}, {pages} {}",
        if dirs.is_big_tiff { "BigTIFF" } else { "TIFF" },
        if is_little { "little" } else { "big" },
        compression_name(page.compression),
        if pages == 1 { "page" } else { "pages" },
    );
    assemble(path, planes, &arrangement, &text, facts, encoding, notices)
}

/// The pages to read: those like the first, reduced-resolution copies left out.
fn choose(
    path: &Path,
    dirs: &Directories,
    bytes: &[u8],
    notices: &mut Vec<Notice>,
) -> Result<(Page, Vec<usize>)> {
    let is_little = dirs.is_little;
    let parsed: Vec<Option<Page>> = dirs.pages.iter().map(|d| Page::parse(d, bytes, is_little)).collect();
    let is_reduced = |n: usize| dirs.pages[n].first(bytes, tag::SUBFILE, is_little).unwrap_or(0) & 1 == 1;
    let first = (0..parsed.len()).find(|&n| parsed[n].is_some() && !is_reduced(n));
    let first = first.or_else(|| (0..parsed.len()).find(|&n| parsed[n].is_some()));
    let Some((first, page)) = first.and_then(|n| Some((n, parsed[n].clone()?))) else {
        return Err(Error::malformed(
            path,
            "a page without sound sizes, bits or photometric interpretation",
            "these tags",
        ));
    };
    let alike = |n: &usize| *n == first || (parsed[*n].as_ref() == Some(&page) && !is_reduced(*n));
    let chosen: Vec<usize> = (0..parsed.len()).filter(alike).collect();
    let left = parsed.len() - chosen.len();
    if left > 0 {
        notices.push(Notice::warning(
            "pages-left-out",
            format!("{left} of {} pages differ in size or type from the first (previews, pyramid levels) and were left out", parsed.len()),
        ));
    }
    Ok((page, chosen))
}

/// Checks strips and tiles: they lie in the file, and what a JPEG in them claims fits the page.
fn check_chunks(
    path: &Path,
    d: &Directory,
    page: &Page,
    bytes: &[u8],
    is_little: bool,
) -> Result<Vec<Range<usize>>> {
    let present = bytes.len() as u64;
    let numbers = |tag| d.numbers(bytes, tag, is_little);
    let tile = d.first(bytes, tag::TILE_WIDTH, is_little).zip(d.first(bytes, tag::TILE_HEIGHT, is_little));
    let (offsets, lengths) = match tile {
        Some((w, h)) => {
            let each = (page.samples as u64).saturating_mul(page.bits.div_ceil(8));
            check_claim(path, w.saturating_mul(h).saturating_mul(each), present, page.ratio())?;
            (
                numbers(tag::TILE_OFFSETS).or_else(|| numbers(tag::STRIP_OFFSETS)),
                numbers(tag::TILE_BYTES).or_else(|| numbers(tag::STRIP_BYTES)),
            )
        }
        None => (numbers(tag::STRIP_OFFSETS), numbers(tag::STRIP_BYTES)),
    };
    let (Some(offsets), Some(lengths)) = (offsets, lengths) else { return Ok(Vec::new()) };
    let chunk_pixels =
        tile.map_or((page.width as u64).saturating_mul(page.height as u64), |(w, h)| w.saturating_mul(h));
    let mut chunks = Vec::with_capacity(offsets.len());
    for (at, len) in offsets.iter().zip(&lengths) {
        let range = usize::try_from(*at).ok().zip(usize::try_from(at.saturating_add(*len)).ok());
        let range = range.map(|(a, b)| a..b).filter(|r| bytes.get(r.clone()).is_some()).ok_or_else(|| {
            Error::malformed(
                path,
                format!("pixels at byte {at} to {}", at.saturating_add(*len)),
                format!("pixels within the file of {present} bytes"),
            )
        })?;
        let chunk = bytes.get(range.clone()).unwrap_or_default();
        chunks.push(range);
        if page.compression == 7 {
            let claim = jpeg::claim(chunk).unwrap_or(0);
            // JPEG rounds up to blocks of 16 × 16.
            if claim
                > chunk_pixels.saturating_mul(page.samples as u64).saturating_mul(2).saturating_add(1 << 20)
            {
                return Err(too_large(path, &format!("{claim} bytes of JPEG in a strip or tile")));
            }
        }
    }
    Ok(chunks)
}

/// Changes tags so that the decoder takes the page; see the [module documentation](self).
fn disguise(
    path: &Path,
    d: &Directory,
    page: &Page,
    packed_bits: bool,
    bytes: &mut [u8],
    is_little: bool,
) -> Result<()> {
    let refuse = |what: &str| {
        Error::unsupported(
            path,
            format!("{} bits per sample{what}", page.bits),
            "8, 16, 32 and 64 bits; 1 to 15 bits uncompressed or compressed without predictor",
            "Convert the picture to 16 bits",
        )
    };
    if matches!(page.photometric, 0 | 3 | 4) && !d.overwrite(bytes, tag::PHOTOMETRIC, 1, is_little) {
        return Err(refuse(" with this photometric interpretation"));
    }
    if packed_bits {
        let is_tiled = d.first(bytes, tag::TILE_WIDTH, is_little).is_some();
        let has_predictor = d.first(bytes, tag::PREDICTOR, is_little).unwrap_or(1) != 1;
        let is_plain = page.samples == 1 && page.sample_format == 1 && page.bits < 16;
        if is_tiled || has_predictor || !is_plain || page.compression == 7 {
            return Err(refuse(" in tiles, with a predictor or several samples"));
        }
        let row = (page.width as u64 * page.bits).div_ceil(8);
        let done =
            d.overwrite(bytes, tag::WIDTH, row, is_little) && d.overwrite(bytes, tag::BITS, 8, is_little);
        if !done {
            return Err(refuse(""));
        }
    }
    Ok(())
}

fn decoder_limits(page: &Page, present: u64) -> Limits {
    let mut limits = Limits::default();
    let claim = usize::try_from(page.claim()).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = claim.saturating_mul(2).saturating_add(1 << 20);
    limits.intermediate_buffer_size = usize::try_from(present).unwrap_or(usize::MAX);
    limits.ifd_value_size = 16 << 20;
    limits
}

/// A strip or tile up to this is decoded to see what is in it; larger ones are counted without keeping anything.
const SMALL_CHUNK: u64 = 16 << 20;

/// Goes through strips or tiles one by one, keeping none, to see that the pixels are there.
fn try_chunks(
    path: &Path,
    decoder: &mut Decoder<Cursor<&Vec<u8>>>,
    page: &Page,
    chunks: &[Range<usize>],
    task: &Task,
) -> Result<()> {
    use ::tiff::decoder::ChunkType;
    let bytes: &Vec<u8> = decoder.inner().get_ref();
    let count = match decoder.get_chunk_type() {
        ChunkType::Strip => decoder.strip_count(),
        ChunkType::Tile => decoder.tile_count(),
    };
    for n in 0..count.map_err(complaint(path))? {
        task.check()?;
        let size = decoder.image_chunk_buffer_layout(n).map_err(complaint(path))?.len as u64;
        if size <= SMALL_CHUNK {
            decoder.read_chunk(n).map_err(complaint(path))?;
            continue;
        }
        let chunk = chunks.get(n as usize).and_then(|r| bytes.get(r.clone())).unwrap_or_default();
        let holds = match page.compression {
            1 => chunk.len() as u64 >= size,
            8 | 32946 => inflate::tail(chunk, Stream::Zlib, size - 1, 1).len() == 1,
            5 => lzw_len(chunk, size) >= size,
            32773 => packbits_len(chunk) >= size,
            // JPEG and fax cannot be counted without decoding; claims far beyond photographs are refused.
            _ => size <= SMALL_CHUNK.saturating_add(chunk.len() as u64 * 128),
        };
        if !holds {
            return Err(Error::malformed(
                path,
                format!("a strip or tile of {} bytes that does not hold its pixels", chunk.len()),
                format!("{size} bytes after decompression"),
            ));
        }
    }
    Ok(())
}

/// How many bytes LZW data give, counted up to `wanted`.
fn lzw_len(chunk: &[u8], wanted: u64) -> u64 {
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let (mut input, mut total, mut scratch) = (chunk, 0, vec![0; 64 << 10]);
    while total < wanted {
        let step = decoder.decode_bytes(input, &mut scratch);
        total += step.consumed_out as u64;
        input = input.get(step.consumed_in..).unwrap_or_default();
        let is_over = !matches!(step.status, Ok(weezl::LzwStatus::Ok));
        if is_over || step.consumed_in + step.consumed_out == 0 {
            break;
        }
    }
    total
}

/// How many bytes PackBits data give (TIFF 6.0, section 9).
fn packbits_len(chunk: &[u8]) -> u64 {
    let (mut at, mut total) = (0, 0);
    while let Some(&n) = chunk.get(at) {
        match n {
            0..=127 => {
                total += u64::from(n) + 1;
                at += usize::from(n) + 2;
            }
            128 => at += 1,
            129..=255 => {
                total += 257 - u64::from(n);
                at += 2;
            }
        }
    }
    total
}

fn complaint(path: &Path) -> impl Fn(TiffError) -> Error {
    move |e| match e {
        TiffError::UnsupportedError(e) => {
            let remedy = match &e {
                TiffUnsupportedError::UnsupportedCompressionMethod(_) => {
                    "Save the picture with deflate or LZW"
                }
                _ => "Convert the picture to 8 or 16 bits, grey or RGB",
            };
            Error::unsupported(path, e.to_string(), "the usual kinds of TIFF", remedy)
        }
        TiffError::LimitsExceeded => too_large(path, "more than the file can hold"),
        e => Error::malformed(path, e.to_string(), "a sound TIFF file"),
    }
}

fn compression_name(code: u64) -> String {
    match code {
        1 => "uncompressed".to_owned(),
        4 => "fax".to_owned(),
        5 => "LZW".to_owned(),
        7 => "JPEG".to_owned(),
        8 | 32946 => "deflate".to_owned(),
        32773 => "PackBits".to_owned(),
        other => format!("compression {other}"),
    }
}

/// One page as one slice of colours, or one slice per channel.
fn page_voxels(
    path: &Path,
    result: DecodingResult,
    page: &Page,
    packed_bits: bool,
    palette: Option<&[u64]>,
) -> Result<Vec<Voxels>> {
    let is_alpha = matches!(page.extra, Some(1 | 2));
    let is_inverted = page.photometric == 0;
    match result {
        DecodingResult::U8(v) if page.bits < 8 || packed_bits => {
            let mut numbers = unpack(&v, page);
            let top = (1_u16 << page.bits) - 1;
            if is_inverted {
                numbers.iter_mut().for_each(|x| *x = top - *x);
            }
            if let Some(palette) = palette {
                return Ok(vec![colours(path, numbers.iter().map(|&x| usize::from(x)), page, palette)?]);
            }
            if page.bits <= 8 {
                slices(page, numbers.into_iter().map(|x| x as u8).collect::<Vec<u8>>())
            } else {
                slices(page, numbers)
            }
        }
        DecodingResult::U8(v) if palette.is_some() => {
            Ok(vec![colours(path, v.iter().map(|&x| usize::from(x)), page, palette.unwrap_or_default())?])
        }
        DecodingResult::U16(v) if palette.is_some() => {
            Ok(vec![colours(path, v.iter().map(|&x| usize::from(x)), page, palette.unwrap_or_default())?])
        }
        DecodingResult::U8(v) => {
            let v = if is_inverted { v.into_iter().map(|x| !x).collect() } else { v };
            match (page.photometric, page.samples) {
                (6, 3) => colour(page, v, |p: [u8; 3]| ycbcr(p)),
                (5, 4) => colour(page, v, |p: [u8; 4]| cmyk(p)),
                (2, 3) => colour(page, v, |p: [u8; 3]| p),
                (2, 4) => colour(page, v, |p: [u8; 4]| p),
                (0 | 1, 2) if is_alpha => colour(page, v, |[l, a]: [u8; 2]| [l, l, l, a]),
                _ => slices(page, v),
            }
        }
        DecodingResult::U16(v) => {
            let v = if is_inverted { v.into_iter().map(|x| !x).collect() } else { v };
            match (page.photometric, page.samples) {
                (2, 3) => colour(page, v, |p: [u16; 3]| p),
                (2, 4) => colour(page, v, |p: [u16; 4]| p),
                (0 | 1, 2) if is_alpha => colour(page, v, |[l, a]: [u16; 2]| [l, l, l, a]),
                _ => slices(page, v),
            }
        }
        DecodingResult::U32(v) if is_inverted => slices(page, v.into_iter().map(|x| !x).collect()),
        DecodingResult::U64(v) if is_inverted => slices(page, v.into_iter().map(|x| !x).collect()),
        DecodingResult::U32(v) => slices(page, v),
        DecodingResult::U64(v) => slices(page, v),
        // Signed and real numbers are quantities: they are not turned for display.
        DecodingResult::I8(v) => slices(page, v),
        DecodingResult::I16(v) => slices(page, v),
        DecodingResult::I32(v) => slices(page, v),
        DecodingResult::I64(v) => slices(page, v),
        DecodingResult::F16(v) => slices(page, v.into_iter().map(half::f16::to_f32).collect()),
        DecodingResult::F32(v) => slices(page, v),
        DecodingResult::F64(v) => slices(page, v),
    }
}

/// Numbers of 1 to 15 bits, packed most significant bit first, rows on byte borders.
fn unpack(bytes: &[u8], page: &Page) -> Vec<u16> {
    let per_row = page.width * page.samples;
    let row_bytes = (per_row * page.bits as usize).div_ceil(8).max(1);
    let mask = (1_u32 << page.bits) - 1;
    let mut out = Vec::with_capacity(per_row * page.height);
    for row in bytes.chunks(row_bytes) {
        let (mut held, mut have, mut source) = (0_u32, 0, row.iter());
        for _ in 0..per_row {
            while have < page.bits {
                held = held << 8 | u32::from(source.next().copied().unwrap_or(0));
                have += 8;
            }
            have -= page.bits;
            out.push((held >> have & mask) as u16);
        }
    }
    out
}

/// Decoded pixels that are too few or too many are the file's fault.
fn misfits(path: &Path, error: Error) -> Error {
    match error {
        Error::Argument(found) => {
            Error::malformed(path, found, "as many pixels as width, height and samples say")
        }
        other => other,
    }
}

fn misfit() -> Error {
    Error::Argument("decoded pixels do not fit the page".to_owned())
}

/// One slice per sample: interleaved or plane after plane in `v`.
fn slices<T: Element>(page: &Page, v: Vec<T>) -> Result<Vec<Voxels>> {
    let (w, h, n) = (page.width, page.height, page.samples);
    if v.len() != w * h * n {
        return Err(misfit());
    }
    let shape = |v: Vec<T>| {
        Array3::from_shape_vec((1, h, w), v).map(|a| T::wrap(a.into_shared())).map_err(|_| misfit())
    };
    if n == 1 {
        return Ok(vec![shape(v)?]);
    }
    (0..n)
        .map(|s| {
            let plane = if page.is_planar {
                v[s * w * h..(s + 1) * w * h].to_vec()
            } else {
                v.iter().skip(s).step_by(n).copied().collect()
            };
            shape(plane)
        })
        .collect()
}

/// Pixels of `N` samples turned into colours.
fn colour<T: Copy + Default, const N: usize, U: Element>(
    page: &Page,
    v: Vec<T>,
    turn: impl Fn([T; N]) -> U,
) -> Result<Vec<Voxels>> {
    let (w, h) = (page.width, page.height);
    if v.len() != w * h * N {
        return Err(misfit());
    }
    let pixels: Vec<U> = if page.is_planar {
        (0..w * h).map(|p| turn(std::array::from_fn(|s| v[s * w * h + p]))).collect()
    } else {
        v.as_chunks::<N>().0.iter().map(|p| turn(*p)).collect()
    };
    drop(v);
    let slice = Array3::from_shape_vec((1, h, w), pixels).map_err(|_| misfit())?;
    Ok(vec![U::wrap(slice.into_shared())])
}

/// JFIF's conversion (ITU-T T.871, section 7), full range.
fn ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|v| v.round().clamp(0.0, 255.0) as u8)
}

/// Inks over white paper, without a colour profile.
fn cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    [c, m, y].map(|ink| {
        let light = (255 - u32::from(ink)) * (255 - u32::from(k));
        ((light + 127) / 255) as u8
    })
}

/// Indices into a colour map of 16-bit reds, greens and blues, as 8-bit colours.
fn colours(
    path: &Path,
    indices: impl Iterator<Item = usize>,
    page: &Page,
    palette: &[u64],
) -> Result<Voxels> {
    let n = palette.len() / 3;
    // Some writers forget to scale their 8-bit colours to 16 bits.
    let shift = if palette.iter().all(|v| *v < 256) { 0 } else { 8 };
    let table: Vec<[u8; 3]> =
        (0..n).map(|x| [x, n + x, 2 * n + x].map(|at| (palette[at] >> shift).min(255) as u8)).collect();
    let pixels: Option<Vec<[u8; 3]>> = indices.map(|x| table.get(x).copied()).collect();
    let pixels = pixels
        .ok_or_else(|| Error::malformed(path, "an index beyond the colour map", "indices within it"))?;
    let slice = Array3::from_shape_vec((1, page.height, page.width), pixels).map_err(|_| misfit())?;
    Ok(Voxels::Rgb8(slice.into_shared()))
}

/// How pages lie in space and time: by OME-XML, by ImageJ's lines, or as one stack.
fn arrange(
    text: &str,
    pages: usize,
    samples: usize,
    present: usize,
    resolutions: [Option<f64>; 2],
    notices: &mut Vec<Notice>,
) -> Arrangement {
    if description::is_ome(text) {
        match description::ome(text, pages, samples, present) {
            Ok(a) if a.pages.len() < pages => {
                notices.push(Notice::warning(
                    "pages-left-out",
                    format!(
                        "the first image of the OME-XML has {} of {pages} pages; the others were left out",
                        a.pages.len()
                    ),
                ));
                return a;
            }
            Ok(a) => return a,
            Err(why) => notices.push(Notice::warning(
                "ome-not-understood",
                format!("the OME-XML does not fit ({why}); pages are shown as one stack"),
            )),
        }
    } else if let Some(a) = description::imagej(text, pages, resolutions) {
        return a;
    } else if text.starts_with("ImageJ=") {
        notices.push(Notice::warning(
            "imagej-not-understood",
            format!("ImageJ's description does not fit {pages} pages; they are shown as one stack"),
        ));
    }
    Arrangement { size_zct: [pages, 1, 1], pages: (0..pages).collect(), spacing_mm: [None; 3], step_s: 0.0 }
}

fn assemble(
    path: &Path,
    planes: Vec<Vec<Voxels>>,
    a: &Arrangement,
    text: &str,
    facts: std::collections::BTreeMap<String, String>,
    encoding: String,
    mut notices: Vec<Notice>,
) -> Result<Image> {
    let [nz, nc, nt] = a.size_zct;
    let per_page = planes.first().map_or(0, Vec::len);
    let count = per_page * nc * nt;
    if per_page == 0 || count > MAX_FRAMES {
        return Err(Error::unsupported(
            path,
            format!("{count} channels and points in time"),
            format!("1 to {MAX_FRAMES}"),
            "Save a part of the file",
        ));
    }
    if a.spacing_mm[0].is_none() {
        notices.push(Notice::info(
            "no-physical-size",
            "the file does not say how large its pixels are; lengths are in pixels, shown as millimetres",
        ));
    }
    let mut frames = Vec::with_capacity(count);
    // Frames: samples of a pixel fastest, then channels, then time.
    for frame in 0..nc * nt {
        let pages = a.pages.get(frame * nz..(frame + 1) * nz).ok_or_else(misfit)?;
        for sample in 0..per_page {
            let slices: Vec<&Voxels> =
                pages.iter().filter_map(|p| planes.get(*p).and_then(|page| page.get(sample))).collect();
            frames.push(stack(&slices).ok_or_else(misfit)?);
        }
    }
    drop(planes);
    let [_, h, w] = frames[0].shape_kji();
    let x = a.spacing_mm[0].unwrap_or(1.0);
    let spacing = [x, a.spacing_mm[1].unwrap_or(x), a.spacing_mm[2].unwrap_or(if nz > 1 { 1.0 } else { x })];
    let grid = picture_grid([w, h, nz], spacing);
    let axis = |name: &str, len, step: f64, unit: &str| FrameAxis {
        name: name.to_owned(),
        len,
        step,
        unit: unit.to_owned(),
    };
    let mut frame_axes = Vec::new();
    if per_page > 1 {
        frame_axes.push(axis("channel", per_page, 0.0, ""));
    }
    if nc > 1 {
        frame_axes.push(axis("channel", nc, 0.0, ""));
    }
    if nt > 1 {
        frame_axes.push(axis("time", nt, a.step_s, if a.step_s > 0.0 { "s" } else { "" }));
    }
    let description = if description::is_ome(text) { "" } else { text.trim() };
    let light = Meta { path: Some(path.to_owned()), ..Meta::default() };
    let full = Meta { description: description.chars().take(2000).collect(), facts, ..light.clone() };
    let volume = |(n, voxels)| Volume {
        voxels,
        grid,
        scaling: Scaling::NONE,
        meta: if n == 0 { full.clone() } else { light.clone() },
    };
    let frames: Vec<Volume> = frames.into_iter().enumerate().map(volume).collect();
    let is_picture = nz == 1 && frames.len() == 1;
    Ok(Image { frames, frame_axes, format: "tiff", encoding, is_picture, notices })
}

/// Slices of one type and size on top of each other.
fn stack(slices: &[&Voxels]) -> Option<Voxels> {
    if let [one] = slices {
        return Some((*one).clone());
    }
    macro_rules! by_type {
        ($($v:ident),*) => {
            match slices.first()? {
                $(Voxels::$v(_) => {
                    let parts: Option<Vec<_>> =
                        slices.iter().map(|s| if let Voxels::$v(a) = s { Some(a) } else { None }).collect();
                    join(&parts?).map(Voxels::$v)
                })*
                _ => None,
            }
        };
    }
    by_type!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64, Rgb8, Rgba8, Rgb16, Rgba16)
}

fn join<T: Copy>(parts: &[&Shared<T>]) -> Option<Shared<T>> {
    let (_, h, w) = parts.first()?.dim();
    let mut all = Vec::with_capacity(parts.len() * h * w);
    for part in parts {
        all.extend_from_slice(part.as_slice()?);
    }
    Array3::from_shape_vec((parts.len(), h, w), all).ok().map(Array3::into_shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_unpack_from_the_top_with_rows_on_bytes() {
        let page = |bits, width| Page {
            width,
            height: 2,
            samples: 1,
            bits,
            compression: 1,
            photometric: 1,
            is_planar: false,
            sample_format: 1,
            extra: None,
        };
        assert_eq!(unpack(&[0b1010_0000, 0b0110_0000], &page(1, 3)), [1, 0, 1, 0, 1, 1]);
        assert_eq!(
            unpack(&[0x12, 0x34, 0x56, 0x70, 0xab, 0xcd, 0xef, 0x00], &page(12, 2))[..2],
            [0x123, 0x456]
        );
        assert_eq!(unpack(&[0xab, 0xcd, 0xef, 0x01, 0x23, 0x45], &page(12, 2)), [0xabc, 0xdef, 0x012, 0x345]);
    }

    #[test]
    fn packed_lengths_are_counted() {
        assert_eq!(packbits_len(&[2, 1, 2, 3, 0x80, 0xfe, 9]), 6);
        let data = vec![7; 100_000];
        let packed =
            weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(&data).unwrap();
        assert_eq!(lzw_len(&packed, 100_000), 100_000);
        assert!(lzw_len(&packed[..packed.len() / 2], 100_000) < 100_000);
    }

    #[test]
    fn colours_convert() {
        assert_eq!(ycbcr([128, 128, 128]), [128; 3]);
        assert_eq!(ycbcr([76, 85, 255]), [254, 0, 0]);
        assert_eq!(
            (cmyk([0, 0, 0, 0]), cmyk([255, 0, 0, 0]), cmyk([0, 0, 0, 255])),
            ([255; 3], [0, 255, 255], [0; 3])
        );
    }
}
