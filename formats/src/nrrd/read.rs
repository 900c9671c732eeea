//! From bytes to an [`Image`].

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::block::{self, Order, Stored, for_kind};
use crate::error::{Error, Result};
use crate::inflate::Elements;
use crate::notice::Notice;
use crate::source::Source;
use crate::task::Task;
use crate::volume::{AffineSource, Image, Meta, Volume};
use crate::voxels::{Scaling, Voxels};

use super::geometry::{self, Axes};
use super::header::{self, Data, Encoding, Header, MAX_HEADER};
use super::segments;

/// bzip2 has no useful upper bound on its ratio; beyond this plus 64 MiB a claim is refused.
const BZIP2_RATIO: u64 = 1032;

/// Prefix of facts that came from (and go back to) key/value pairs.
pub const FACT: &str = "nrrd.";

/// Prefix of key/value pairs that hold facts of other origin.
pub const PAIR: &str = "insula.";

/// Reads an attached or detached NRRD file.
pub fn read(source: &Source, task: &Task) -> Result<Image> {
    let path = source.path.as_path();
    let mut notices = Vec::new();
    let head = header_bytes(source)?;
    let mut h = header::parse(path, &head)?;
    let axes = geometry::axes(path, &h, &mut notices)?;
    block::check_frames(path, &axes.layout, h.kind)?;
    let order = match h.order {
        Some(order) => order,
        None => {
            if h.kind.size() > 1 && !matches!(h.encoding, Encoding::Text) {
                notices.push(Notice::warning("no-endian", "the header has no endian; little is assumed"));
            }
            Order::Little
        }
    };
    let files = files(path, &h)?;
    let voxels = for_kind!(h.kind, T => {
        let elements = load::<T>(&h, &files, order, &mut notices, task)?;
        block::frames(elements, &axes.layout, task)?
    });
    Ok(assemble(path, &mut h, axes, voxels, order, notices))
}

/// The header's text; long ones (many segments, gradients) go beyond what was read for sniffing.
fn header_bytes(source: &Source) -> Result<Vec<u8>> {
    if header::end(&source.raw_head).is_some() {
        return Ok(source.raw_head.clone());
    }
    let file = File::open(&source.path).map_err(Error::io(&source.path, "open"))?;
    let mut bytes = Vec::new();
    file.take(MAX_HEADER).read_to_end(&mut bytes).map_err(Error::io(&source.path, "read"))?;
    if header::end(&bytes).is_none() && source.len > MAX_HEADER {
        return Err(Error::malformed(
            &source.path,
            format!("no end of the header in {MAX_HEADER} bytes"),
            "an empty line between header and data",
        ));
    }
    Ok(bytes)
}

/// A file and the byte at which its part of the data begins, before skips.
struct Place {
    path: PathBuf,
    offset: u64,
}

fn files(path: &Path, h: &Header) -> Result<Vec<Place>> {
    match &h.data {
        Data::Attached => Ok(vec![Place { path: path.to_owned(), offset: h.len as u64 }]),
        Data::Files(names) => {
            Ok(block::listed(path, names)?.into_iter().map(|path| Place { path, offset: 0 }).collect())
        }
    }
}

/// All numbers, in this machine's byte order.
fn load<T: Stored>(
    h: &Header,
    files: &[Place],
    order: Order,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let first = files.first().ok_or_else(|| Error::Argument("no data file".to_owned()))?;
    let count = block::count(&first.path, &h.sizes, h.kind)?;
    let mut elements = if files.len() == 1 {
        load_one(h, first, count, notices, task)?
    } else {
        let each = count / files.len() as u64;
        if each * files.len() as u64 != count {
            return Err(Error::malformed(
                &first.path,
                format!("{} data files for {count} numbers", files.len()),
                "files that hold equal parts",
            ));
        }
        let mut all = Vec::new();
        for place in files {
            let part = load_one::<T>(h, place, each, notices, task)?;
            all.extend_from_slice(part.storage.get(part.start..).unwrap_or_default());
        }
        Elements::from_vec(all)
    };
    if h.encoding != Encoding::Text {
        block::to_native(&mut elements, order);
    }
    Ok(elements)
}

fn load_one<T: Stored>(
    h: &Header,
    place: &Place,
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let path = place.path.as_path();
    let mut offset = place.offset;
    if h.line_skip > 0 {
        offset = skip_lines(path, offset, h.line_skip)?;
    }
    let bytes = count * h.kind.size();
    let skip = u64::try_from(h.byte_skip).unwrap_or(0);
    if h.byte_skip < -1 || (h.byte_skip == -1 && h.encoding != Encoding::Raw) {
        return Err(Error::malformed(
            path,
            format!("byte skip {}", h.byte_skip),
            "a number from 0, or −1 for raw data at the end of the file",
        ));
    }
    match h.encoding {
        Encoding::Raw => {
            let len = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
            offset = match h.byte_skip {
                -1 => len.saturating_sub(bytes).max(offset),
                _ => offset.saturating_add(skip),
            };
            block::plain(path, offset, count, notices, task)
        }
        // Skipped bytes are counted after decompression (format definition, "byte skip").
        Encoding::Gzip => {
            let compressed = block::read_from(path, offset, task)?;
            block::deflated(path, &compressed, skip, count, notices, task)
        }
        Encoding::Bzip2 => {
            let compressed = block::read_from(path, offset, task)?;
            bunzip(path, &compressed, skip, count, notices, task)
        }
        Encoding::Text => {
            let text = block::read_from(path, offset.saturating_add(skip), task)?;
            block::text(path, &text, count, notices, task)
        }
        Encoding::Hex => {
            let text = block::read_from(path, offset.saturating_add(skip), task)?;
            hex(path, &text, count)
        }
    }
}

/// The byte after `lines` line ends.
fn skip_lines(path: &Path, offset: u64, lines: u64) -> Result<u64> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(path, "read"))?;
    let mut reader = BufReader::new(file);
    let mut at = offset;
    for n in 0..lines {
        let used = reader.skip_until(b'\n').map_err(Error::io(path, "read"))?;
        if used == 0 {
            return Err(Error::malformed(path, format!("{n} lines"), format!("{lines} lines to skip")));
        }
        at += used as u64;
    }
    Ok(at)
}

/// bzip2, growing only as far as the stream proves true.
fn bunzip<T: Stored>(
    path: &Path,
    compressed: &[u8],
    skip: u64,
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let size = size_of::<T>();
    let present = compressed.len() as u64;
    let wanted = (count * size as u64).saturating_add(skip);
    if wanted > (64 << 20) + present.saturating_mul(BZIP2_RATIO) {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{wanted} bytes out of {present} bytes of bzip2"),
            limit: format!("at most 64 MiB + {BZIP2_RATIO} × the compressed size is believed"),
            remedy: "If the file is sound, save it with gzip".to_owned(),
        });
    }
    let mut decoder = bzip2::read::MultiBzDecoder::new(compressed);
    let fail = |done: u64, why: &str| {
        Error::malformed(
            path,
            format!("{why} after {done} of {wanted} bytes"),
            "complete bzip2 data".to_owned(),
        )
    };
    let mut left = skip;
    let mut scratch = vec![0_u8; 1 << 20];
    while left > 0 {
        task.check()?;
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        let room = scratch.get_mut(..n).unwrap_or_default();
        match decoder.read(room) {
            Ok(0) => return Err(fail(skip - left, "the end of the data")),
            Ok(n) => left -= n as u64,
            Err(_) => return Err(fail(skip - left, "damaged or cut data")),
        }
    }
    let count = count as usize;
    let mut storage: Vec<T> = Vec::new();
    let mut done = 0_usize;
    while done < count * size {
        task.at("Decompressing", done as f32 / (count * size) as f32)?;
        let target = count.min((done + (4 << 20)).div_ceil(size));
        storage.resize(target.max(storage.len()), T::zeroed());
        let room = bytemuck::cast_slice_mut::<T, u8>(&mut storage).get_mut(done..).unwrap_or_default();
        match decoder.read(room) {
            Ok(0) => return Err(fail(done as u64 + skip, "the end of the data")),
            Ok(n) => done += n,
            Err(_) => return Err(fail(done as u64 + skip, "damaged or cut data")),
        }
    }
    // Reading on to the end verifies the checksum.
    let mut surplus = 0_u64;
    loop {
        task.check()?;
        match decoder.read(&mut scratch) {
            Ok(0) => break,
            Ok(n) => surplus += n as u64,
            Err(_) => {
                notices.push(Notice::warning(
                    "bzip2-damaged-end",
                    "the bzip2 data are cut or damaged after the last voxel: the checksum could not be verified",
                ));
                break;
            }
        }
    }
    if surplus > 0 {
        notices.push(block::surplus(surplus));
    }
    Ok(Elements::from_vec(storage))
}

/// Two hexadecimal digits per byte, white space between them ignored.
fn hex<T: Stored>(path: &Path, text: &[u8], count: u64) -> Result<Elements<T>> {
    let wanted = count * size_of::<T>() as u64;
    if wanted > text.len() as u64 / 2 {
        return Err(Error::malformed(
            path,
            format!("{} bytes of hexadecimal text", text.len()),
            format!("{} digits, as the header says", wanted * 2),
        ));
    }
    let mut storage = vec![T::zeroed(); count as usize];
    let mut digits = text.iter().filter(|b| !b.is_ascii_whitespace()).map(|&b| (b as char).to_digit(16));
    for byte in bytemuck::cast_slice_mut::<T, u8>(&mut storage) {
        let (Some(Some(hi)), Some(Some(lo))) = (digits.next(), digits.next()) else {
            return Err(Error::malformed(
                path,
                "something else than hexadecimal digits, or too few of them",
                format!("{} digits", wanted * 2),
            ));
        };
        *byte = (hi * 16 + lo) as u8;
    }
    Ok(Elements::from_vec(storage))
}

fn assemble(
    path: &Path,
    h: &mut Header,
    axes: Axes,
    voxels: Vec<Voxels>,
    order: Order,
    notices: Vec<Notice>,
) -> Image {
    let mut pairs = std::mem::take(&mut h.pairs);
    let (mut tables, mut facts) = segments::take(&mut pairs);
    for (key, value) in pairs {
        match key.strip_prefix(PAIR) {
            Some(key) => facts.insert(key.to_owned(), value),
            None if key.starts_with("Segmentation_") => None,
            None => facts.insert(format!("{FACT}{key}"), value),
        };
    }
    for field in ["sample units", "number", "old min", "old max"] {
        if let Some(value) = h.fields.get(field) {
            facts.insert(format!("nrrd-{}", field.replace(' ', "-")), value.clone());
        }
    }
    let light = Meta { path: Some(path.to_owned()), affine_source: axes.source, ..Meta::default() };
    let full =
        Meta { description: h.fields.get("content").cloned().unwrap_or_default(), facts, ..light.clone() };
    let frame = |(n, voxels): (usize, Voxels)| {
        let mut meta = if n == 0 { full.clone() } else { light.clone() };
        meta.labels = tables.get_mut(n).map(std::mem::take).filter(|t| !t.entries.is_empty());
        Volume { voxels, grid: axes.grid, scaling: Scaling::NONE, meta }
    };
    let frames: Vec<Volume> = voxels.into_iter().enumerate().map(frame).collect();
    let mut encoding = vec![h.magic.clone()];
    if h.kind.size() > 1 && h.encoding != Encoding::Text {
        encoding.push(format!("{}-endian", order.name()));
    }
    encoding.push(format!("{:?}", h.encoding).to_lowercase());
    if h.data != Data::Attached {
        encoding.push("detached".to_owned());
    }
    let is_picture =
        axes.layout.space.len() < 3 && axes.source == AffineSource::Spacing && axes.frame_axes.is_empty();
    Image {
        frames,
        frame_axes: axes.frame_axes,
        format: "nrrd",
        encoding: encoding.join(", "),
        is_picture,
        notices,
    }
}
