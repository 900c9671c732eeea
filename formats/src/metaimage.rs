//! MetaImage: `.mha` (one file) and `.mhd` with `.raw` or `.zraw` beside it.
//!
//! The definition is <https://itk.org/Wiki/ITK/MetaIO/Documentation>; where it is silent ITK's behaviour decides.
//! `TransformMatrix` lists the direction of the first axis, then that of the second, and so on: its rows are the
//! *columns* of ITK's direction matrix. World coordinates on disk are LPS; here they are RAS+.
//!
//! Writing makes `.mha` with zlib.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use crate::affine::Affine;
use crate::block::{self, Kind, Layout, Order, Stored, for_kind};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::inflate::Elements;
use crate::notice::Notice;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::{AffineSource, FrameAxis, Image, Meta, Volume};
use crate::voxels::{Scaling, Voxels};

/// The format; see the [module documentation](self).
pub struct MetaImage;

/// Longest header looked at: room for ten thousand data files. Parsed, one of nothing but the shortest entries takes some
/// thirty times its length.
const MAX_HEADER: usize = 2 << 20;

/// Prefix of facts from fields that have no other place, and of fields with facts of other origin.
const FACT: &str = "metaimage.";
const FIELD: &str = "Insula_";

impl Format for MetaImage {
    fn id(&self) -> &'static str {
        "metaimage"
    }

    fn name(&self) -> &'static str {
        "MetaImage"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["mha", "mhd"]
    }

    fn sniff(&self, source: &Source) -> bool {
        let head = String::from_utf8_lossy(&source.raw_head);
        let first = head.lines().next().and_then(|l| l.split_once('=')).map(|(k, _)| k.trim());
        let known =
            ["ObjectType", "ObjectSubType", "NDims", "Comment", "BinaryData", "DimSize", "ElementType"];
        first.is_some_and(|k| known.contains(&k))
            && (head.contains("DimSize") || head.contains("ElementDataFile"))
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

    fn write(&self, content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
        write(content, path, name, task)
    }
}

/// A header as written.
struct Header {
    /// Bytes up to the data of a `LOCAL` file.
    len: usize,
    fields: BTreeMap<String, String>,
    /// The lines after `ElementDataFile = LIST`.
    list: Vec<String>,
}

impl Header {
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let (mut fields, mut list, mut at) = (BTreeMap::new(), Vec::new(), 0);
        let mut is_list = false;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let n = rest.iter().position(|&b| b == b'\n');
            let line = rest.get(..n.unwrap_or(rest.len())).unwrap_or_default();
            at += n.map_or(rest.len(), |n| n + 1);
            let line = String::from_utf8_lossy(line).trim().to_owned();
            if is_list {
                if !line.is_empty() {
                    list.push(line);
                }
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                let shown: String = line.chars().take(40).collect();
                return Err(Error::malformed(path, format!("the header line “{shown}”"), "“Field = value”"));
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            let is_last = key == "ElementDataFile";
            is_list = is_last && value.split_whitespace().next() == Some("LIST");
            fields.insert(key, value);
            if is_last && !is_list {
                return Ok(Self { len: at, fields, list });
            }
        }
        if is_list {
            return Ok(Self { len: at, fields, list });
        }
        Err(Error::malformed(path, "a header without ElementDataFile", "that field at its end"))
    }

    /// The first of several spellings.
    fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.fields.get(*n)).map(String::as_str)
    }

    fn is_true(&self, names: &[&str]) -> bool {
        self.get(names).is_some_and(|v| v.starts_with(['T', 't', '1', 'Y', 'y']))
    }

    /// Numbers of a field; an error for something else.
    fn numbers<T: std::str::FromStr>(&self, path: &Path, names: &[&str]) -> Result<Option<Vec<T>>> {
        let Some(text) = self.get(names) else { return Ok(None) };
        let parsed: Option<Vec<T>> = text.split_whitespace().map(|w| w.parse().ok()).collect();
        parsed.map(Some).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Error::malformed(path, format!("“{shown}” in {}", names[0]), "numbers")
        })
    }
}

/// Type and the bytes per number that MetaIO gives it.
fn kind(path: &Path, name: &str) -> Result<Kind> {
    Ok(match name.strip_suffix("_ARRAY").unwrap_or(name) {
        "MET_CHAR" => Kind::I8,
        "MET_UCHAR" => Kind::U8,
        "MET_SHORT" => Kind::I16,
        "MET_USHORT" => Kind::U16,
        "MET_INT" | "MET_LONG" => Kind::I32,
        "MET_UINT" | "MET_ULONG" => Kind::U32,
        "MET_LONG_LONG" => Kind::I64,
        "MET_ULONG_LONG" => Kind::U64,
        "MET_FLOAT" => Kind::F32,
        "MET_DOUBLE" => Kind::F64,
        other => {
            return Err(Error::unsupported(
                path,
                format!("ElementType {}", other.chars().take(40).collect::<String>()),
                "MET_CHAR to MET_DOUBLE",
                "Convert the file with ITK or SimpleITK",
            ));
        }
    })
}

fn type_name(voxels: &Voxels) -> Option<&'static str> {
    Some(match voxels {
        Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_) => "MET_UCHAR",
        Voxels::I8(_) => "MET_CHAR",
        Voxels::U16(_) | Voxels::Rgb16(_) | Voxels::Rgba16(_) => "MET_USHORT",
        Voxels::I16(_) => "MET_SHORT",
        Voxels::U32(_) => "MET_UINT",
        Voxels::I32(_) => "MET_INT",
        Voxels::U64(_) => "MET_ULONG_LONG",
        Voxels::I64(_) => "MET_LONG_LONG",
        Voxels::F32(_) => "MET_FLOAT",
        Voxels::F64(_) => "MET_DOUBLE",
        Voxels::Complex32(_) | Voxels::Complex64(_) => return None,
    })
}

fn read(source: &Source, task: &Task) -> Result<Image> {
    let path = source.path.as_path();
    let mut notices = Vec::new();
    let h = match Header::parse(path, &source.raw_head) {
        // The beginning that was read for sniffing may end inside the header or the list of files.
        Ok(h) if h.list.is_empty() || source.len <= source.raw_head.len() as u64 => h,
        _ => {
            let file = File::open(path).map_err(Error::io(path, "open"))?;
            let mut bytes = Vec::new();
            file.take(MAX_HEADER as u64).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
            Header::parse(path, &bytes)?
        }
    };
    let mut kind = kind(path, h.get(&["ElementType"]).unwrap_or_default())?;
    let dims: Vec<usize> = h
        .numbers(path, &["DimSize"])?
        .ok_or_else(|| Error::malformed(path, "a header without DimSize", "that field"))?;
    let stated: Vec<usize> = h.numbers(path, &["NDims"])?.unwrap_or_else(|| vec![dims.len()]);
    if stated != [dims.len()] || !(1..=10).contains(&dims.len()) {
        return Err(Error::malformed(
            path,
            match stated[..] {
                [n] => format!("NDims {n} with {} sizes", dims.len()),
                _ => format!("NDims of {} numbers", stated.len()),
            },
            "as many sizes as dimensions, 1 to 10",
        ));
    }
    let channels =
        h.numbers(path, &["ElementNumberOfChannels"])?.and_then(|v| v.first().copied()).unwrap_or(1);
    let layout = layout(&dims, channels, kind);
    block::check_frames(path, &layout, kind)?;
    let n = dims.len();
    let (grid, affine_source) = placement(path, &h, n, layout.size_ijk(), &mut notices)?;
    let frame_axes = frame_axes(path, &h, &layout, channels)?;

    let order = if h.is_true(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]) {
        Order::Big
    } else {
        Order::Little
    };
    let places = places(path, &h, &dims)?;
    let is_text = h.get(&["BinaryData"]).is_some() && !h.is_true(&["BinaryData"]);
    let is_compressed = h.is_true(&["CompressedData"]);
    if h.get(&["ElementType"]).is_some_and(|t| t == "MET_LONG" || t == "MET_ULONG")
        && !is_text
        && !is_compressed
    {
        kind = widen_long(path, &layout, kind, &places, &mut notices)?;
    }
    let how = How { is_text, is_compressed, header_size: header_size(path, &h)? };
    let voxels = for_kind!(kind, T => {
        let count = block::count(path, &layout.dims, kind)?;
        let mut elements = load::<T>(&places, count, &how, &mut notices, task)?;
        if !is_text {
            block::to_native(&mut elements, order);
        }
        block::frames(elements, &layout, task)?
    });

    let mut encoding = vec!["MetaImage"];
    if is_text {
        encoding.push("text");
    } else if kind.size() > 1 {
        encoding.push(if order == Order::Little { "little-endian" } else { "big-endian" });
    }
    if is_compressed {
        encoding.push("zlib");
    }
    if h.get(&["ElementDataFile"]) != Some("LOCAL") {
        encoding.push("detached");
    }
    let scaling = scaling(path, &h, &mut notices)?;
    let light = Meta { path: Some(path.to_owned()), affine_source, ..Meta::default() };
    let full = Meta {
        description: h.get(&["Comment"]).unwrap_or_default().to_owned(),
        facts: facts(&h),
        ..light.clone()
    };
    let is_picture =
        layout.space.len() < 3 && affine_source == AffineSource::Spacing && frame_axes.is_empty();
    let frames = voxels
        .into_iter()
        .enumerate()
        .map(|(n, voxels)| {
            let scaling = if voxels.is_colour() { Scaling::NONE } else { scaling };
            Volume { voxels, grid, scaling, meta: if n == 0 { full.clone() } else { light.clone() } }
        })
        .collect();
    Ok(Image { frames, frame_axes, format: "metaimage", encoding: encoding.join(", "), is_picture, notices })
}

/// Channels run fastest, then the axes of space, then the rest.
fn layout(dims: &[usize], channels: usize, kind: Kind) -> Layout {
    let is_colour = matches!(channels, 3 | 4) && matches!(kind, Kind::U8 | Kind::U16);
    let first = usize::from(channels != 1);
    let mut all = dims.to_vec();
    if channels != 1 {
        all.insert(0, channels);
    }
    let end = all.len();
    let space: Vec<usize> = (first..end.min(first + 3)).collect();
    let mut frames: Vec<usize> = (first + space.len()..end).collect();
    if channels != 1 && !is_colour {
        frames.insert(0, 0);
    }
    Layout { dims: all, space, packed: is_colour.then_some(0), is_complex: false, frames }
}

fn placement(
    path: &Path,
    h: &Header,
    n: usize,
    size_ijk: [usize; 3],
    notices: &mut Vec<Notice>,
) -> Result<(Grid, AffineSource)> {
    let list = |names: &[&str], len: usize| -> Result<Option<Vec<f64>>> {
        match h.numbers::<f64>(path, names)? {
            Some(v) if v.len() != len => Err(Error::malformed(
                path,
                format!("{} numbers in {}", v.len(), names[0]),
                format!("{len} numbers for {n} dimensions"),
            )),
            Some(v) if !v.iter().all(|x| x.is_finite()) => {
                Err(Error::malformed(path, format!("{} with what is no number", names[0]), "finite numbers"))
            }
            v => Ok(v),
        }
    };
    let matrix = list(&["TransformMatrix", "Rotation", "Orientation"], n * n)?;
    let offset = list(&["Offset", "Position", "Origin"], n)?;
    let mut spacing = list(&["ElementSpacing", "ElementSize"], n)?.unwrap_or_else(|| {
        notices.push(Notice::warning("no-spacing", "the header has no ElementSpacing; 1 mm is assumed"));
        vec![1.0; n]
    });
    for (a, s) in spacing.iter_mut().enumerate() {
        if *s <= 0.0 {
            notices.push(Notice::warning(
                "bad-spacing",
                format!(
                    "the spacing of axis {} is {s}; {} is used",
                    a + 1,
                    if *s == 0.0 { 1.0 } else { s.abs() }
                ),
            ));
            *s = if *s == 0.0 { 1.0 } else { s.abs() };
        }
    }
    let in_space = n.min(3);
    let is_stated = matrix.is_some();
    let matrix =
        matrix.unwrap_or_else(|| (0..n * n).map(|x| f64::from(u8::from(x % (n + 1) == 0))).collect());
    let known: Vec<[f64; 3]> = (0..in_space)
        .map(|a| {
            let at = |c: usize| if c < in_space { matrix[a * n + c] * spacing[a] } else { 0.0 };
            [at(0), at(1), at(2)]
        })
        .collect();
    let mut origin = [0.0; 3];
    for (o, v) in origin.iter_mut().zip(offset.iter().flatten()) {
        *o = *v;
    }
    let lps = Affine::from_columns(block::complete(&known), origin);
    if !is_stated {
        notices.push(Notice::info(
            "no-orientation",
            "the header has no TransformMatrix; axes along L, P and S are assumed",
        ));
    }
    // ITK gives pictures an identity matrix; it says nothing about a patient.
    let is_plain =
        n < 3 && matrix.iter().enumerate().all(|(x, v)| *v == f64::from(u8::from(x % (n + 1) == 0)));
    if lps.inverse().is_some() {
        let source = if is_stated && !is_plain { AffineSource::Header } else { AffineSource::Spacing };
        return Ok((Grid { size_ijk, world_from_voxel: block::flip_lps(&lps) }, source));
    }
    notices.push(Notice::warning(
        "singular-directions",
        "the TransformMatrix does not span space; axes along L, P and S are assumed",
    ));
    spacing.resize(n.max(3), 1.0);
    let plain = Affine::scale_shift([spacing[0], spacing[1], spacing[2]], origin);
    Ok((Grid { size_ijk, world_from_voxel: block::flip_lps(&plain) }, AffineSource::Spacing))
}

fn frame_axes(path: &Path, h: &Header, layout: &Layout, channels: usize) -> Result<Vec<FrameAxis>> {
    let spacing: Vec<f64> = h.numbers(path, &["ElementSpacing", "ElementSize"])?.unwrap_or_default();
    let first = usize::from(channels != 1);
    Ok(layout
        .frames
        .iter()
        .map(|&a| {
            let (name, step) = match a {
                0 => ("component".to_owned(), 0.0),
                a if a == first + 3 => ("time".to_owned(), spacing.get(3).copied().unwrap_or(0.0)),
                a => (format!("dimension-{}", a - first + 1), 0.0),
            };
            let step = if step.is_finite() && step > 0.0 { step } else { 0.0 };
            FrameAxis { name, len: layout.dims[a], step, unit: String::new() }
        })
        .collect())
}

/// Where the numbers are: files in order, and the byte at which a part starts.
fn places(path: &Path, h: &Header, dims: &[usize]) -> Result<Vec<(PathBuf, u64)>> {
    let value = h.get(&["ElementDataFile"]).unwrap_or_default();
    let words: Vec<&str> = value.split_whitespace().collect();
    let names: Vec<String> = match words.as_slice() {
        ["LOCAL" | "Local" | "local"] => return Ok(vec![(path.to_owned(), h.len as u64)]),
        ["LIST", ..] => h.list.clone(),
        [pattern, rest @ ..] if pattern.contains('%') => {
            let n = |x: usize, default: i64| {
                rest.get(x).map_or(Ok(default), |v| {
                    v.parse()
                        .map_err(|_| Error::malformed(path, format!("“{value}”"), "a pattern and numbers"))
                })
            };
            let last = dims.last().copied().unwrap_or(1) as i64;
            let (from, step) = (n(0, 1)?, n(2, 1)?);
            block::expand(path, pattern, from, n(1, from.saturating_add(last - 1))?, step)?
        }
        _ => vec![value.to_owned()],
    };
    Ok(block::listed(path, &names)?.into_iter().map(|file| (file, 0)).collect())
}

/// `MET_LONG` is 4 bytes by MetaIO's table, but 8 in files from programs that wrote the C type of a 64-bit system.
fn widen_long(
    path: &Path,
    layout: &Layout,
    kind: Kind,
    places: &[(PathBuf, u64)],
    notices: &mut Vec<Notice>,
) -> Result<Kind> {
    let mut present = 0;
    for (file, offset) in places {
        let len = std::fs::metadata(file).map_err(Error::io(file, "read"))?.len();
        present += len.saturating_sub(*offset);
    }
    if block::count(path, &layout.dims, kind)? * 8 != present {
        return Ok(kind);
    }
    notices.push(Notice::warning(
        "wide-long",
        "MET_LONG should be 4 bytes, but there are 8 bytes per voxel: read as 64-bit integers",
    ));
    Ok(if kind == Kind::I32 { Kind::I64 } else { Kind::U64 })
}

fn header_size(path: &Path, h: &Header) -> Result<i64> {
    let size = h.numbers::<i64>(path, &["HeaderSize"])?.and_then(|v| v.first().copied()).unwrap_or(0);
    if size < -1 {
        return Err(Error::malformed(path, format!("HeaderSize {size}"), "−1 or a number from 0"));
    }
    Ok(size)
}

struct How {
    is_text: bool,
    is_compressed: bool,
    /// Bytes before the data of each file; −1: the data are the last bytes.
    header_size: i64,
}

fn load<T: Stored>(
    places: &[(PathBuf, u64)],
    count: u64,
    how: &How,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let mut one = |(path, offset): &(PathBuf, u64), count: u64| -> Result<Elements<T>> {
        let len = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
        let bytes = count * size_of::<T>() as u64;
        let offset = match u64::try_from(how.header_size) {
            Ok(size) => offset.saturating_add(size),
            Err(_) if how.is_text || how.is_compressed => *offset,
            Err(_) => len.saturating_sub(bytes).max(*offset),
        };
        if how.is_text {
            block::text(path, &block::read_from(path, offset, task)?, count, notices, task)
        } else if how.is_compressed {
            block::deflated(path, &block::read_from(path, offset, task)?, 0, count, notices, task)
        } else {
            block::plain(path, offset, count, notices, task)
        }
    };
    if let [place] = places {
        return one(place, count);
    }
    let each = count / places.len() as u64;
    if each * places.len() as u64 != count {
        let path = places.first().map_or(Path::new(""), |p| &p.0);
        return Err(Error::malformed(
            path,
            format!("{} data files for {count} numbers", places.len()),
            "files that hold equal parts",
        ));
    }
    let mut all = Vec::new();
    for place in places {
        let part = one(place, each)?;
        all.extend_from_slice(part.storage.get(part.start..).unwrap_or_default());
    }
    Ok(Elements::from_vec(all))
}

/// `ElementToIntensityFunction…`, which ITK leaves to the caller.
fn scaling(path: &Path, h: &Header, notices: &mut Vec<Notice>) -> Result<Scaling> {
    let one = |name: &str, default: f64| -> Result<f64> {
        Ok(h.numbers::<f64>(path, &[name])?.and_then(|v| v.first().copied()).unwrap_or(default))
    };
    let slope = one("ElementToIntensityFunctionSlope", 1.0)?;
    let inter = one("ElementToIntensityFunctionOffset", 0.0)?;
    if (slope, inter) == (1.0, 0.0) {
        return Ok(Scaling::NONE);
    }
    if slope == 0.0 || !slope.is_finite() || !inter.is_finite() {
        notices.push(Notice::warning(
            "bad-scaling",
            format!("slope {slope} and offset {inter}: stored values are shown unscaled"),
        ));
        return Ok(Scaling::NONE);
    }
    notices.push(Notice::warning(
        "element-to-intensity",
        format!("values are {slope} × stored + {inter}, as the header says; ITK shows stored values"),
    ));
    Ok(Scaling { slope, inter })
}

/// Fields that have no place elsewhere.
fn facts(h: &Header) -> BTreeMap<String, String> {
    const KNOWN: &[&str] = &[
        "ObjectType",
        "NDims",
        "BinaryData",
        "BinaryDataByteOrderMSB",
        "ElementByteOrderMSB",
        "CompressedData",
        "CompressedDataSize",
        "TransformMatrix",
        "Rotation",
        "Orientation",
        "Offset",
        "Position",
        "Origin",
        "CenterOfRotation",
        "AnatomicalOrientation",
        "ElementSpacing",
        "ElementSize",
        "DimSize",
        "HeaderSize",
        "ElementNumberOfChannels",
        "ElementType",
        "ElementDataFile",
        "ElementToIntensityFunctionSlope",
        "ElementToIntensityFunctionOffset",
        "Comment",
        "ElementMin",
        "ElementMax",
    ];
    let mut facts = BTreeMap::new();
    for (key, value) in &h.fields {
        match key.strip_prefix(FIELD) {
            Some(key) => facts.insert(key.to_owned(), value.clone()),
            None if KNOWN.contains(&key.as_str()) => None,
            None => facts.insert(format!("{FACT}{key}"), value.clone()),
        };
    }
    facts
}

fn write(content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
    if name.to_string_lossy().to_lowercase().ends_with(".mhd") {
        return Err(Error::unsupported(
            Path::new(name),
            "writing a header apart from its data",
            ".mha",
            "Choose this ending",
        ));
    }
    match content {
        Content::Image(image) => {
            let voxels = block::unscaled(image)?;
            let axes = if image.frame_axes.is_empty() && voxels.len() == 1 {
                Vec::new()
            } else {
                block::frame_axes(image)
            };
            let first = image.first();
            store(path, &first.meta, &first.grid, &voxels, &axes, task)
        }
        Content::Labels(map) => store(path, &map.meta, &map.grid, &[block::smallest(&map.labels)], &[], task),
    }
}

fn store(
    path: &Path,
    meta: &Meta,
    grid: &Grid,
    voxels: &[Voxels],
    frame_axes: &[FrameAxis],
    task: &Task,
) -> Result<()> {
    block::check_placement(&grid.world_from_voxel)?;
    let first = voxels.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    let element_type = type_name(first).ok_or_else(|| {
        Error::unsupported(
            path,
            "writing complex numbers to MetaImage",
            "scalars and colours",
            "Choose .nii.gz",
        )
    })?;
    let channels = match first {
        Voxels::Rgb8(_) | Voxels::Rgb16(_) => 3,
        Voxels::Rgba8(_) | Voxels::Rgba16(_) => 4,
        _ => 1,
    };
    // A picture without position stays one; frames lie along further dimensions.
    let in_space = if block::is_flat(meta, grid) && frame_axes.is_empty() { 2 } else { 3 };
    let n = in_space + frame_axes.len();
    let lps = block::flip_lps(&grid.world_from_voxel);
    let spacing = grid.spacing_mm();
    let (mut matrix, mut offset, mut steps, mut sizes) =
        (vec![0.0; n * n], vec![0.0; n], Vec::new(), Vec::new());
    for a in 0..n {
        if a < in_space {
            let c = lps.column(a);
            for r in 0..in_space {
                matrix[a * n + r] = c[r] / spacing[a];
            }
            offset[a] = lps.origin()[a];
            steps.push(spacing[a]);
            sizes.push(grid.size_ijk[a]);
        } else {
            let axis = &frame_axes[a - in_space];
            matrix[a * n + a] = 1.0;
            steps.push(if axis.step > 0.0 { axis.step } else { 1.0 });
            sizes.push(axis.len);
        }
    }
    let list = |v: &[f64]| v.iter().map(|x| (x + 0.0).to_string()).collect::<Vec<_>>().join(" ");
    let bytes: Vec<&[u8]> = voxels.iter().map(block::bytes_of).collect::<Result<_>>()?;
    let compressed = crate::deflate::zlib(&bytes, task)?;

    let mut h = String::new();
    let mut put = |key: &str, value: &str| {
        let _ = writeln!(h, "{key} = {value}");
    };
    put("ObjectType", "Image");
    put("NDims", &n.to_string());
    if !meta.description.is_empty() {
        put("Comment", &one_line(&meta.description));
    }
    put("BinaryData", "True");
    put("BinaryDataByteOrderMSB", if Order::NATIVE == Order::Big { "True" } else { "False" });
    put("CompressedData", "True");
    put("CompressedDataSize", &compressed.iter().map(Vec::len).sum::<usize>().to_string());
    put("TransformMatrix", &list(&matrix));
    put("Offset", &list(&offset));
    put("CenterOfRotation", &list(&vec![0.0; n]));
    put("ElementSpacing", &list(&steps));
    for (key, value) in &meta.facts {
        match key.strip_prefix(FACT) {
            Some(key) => put(key, &one_line(value)),
            None => put(&format!("{FIELD}{}", key.replace(['=', '\n', '\r', ' '], "_")), &one_line(value)),
        }
    }
    put("DimSize", &sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    if channels > 1 {
        put("ElementNumberOfChannels", &channels.to_string());
    }
    put("ElementType", element_type);
    put("ElementDataFile", "LOCAL");
    let mut file = File::create(path).map_err(Error::io(path, "write"))?;
    file.write_all(h.as_bytes()).map_err(Error::io(path, "write"))?;
    let parts: Vec<&[u8]> = compressed.iter().map(Vec::as_slice).collect();
    block::write_parts(path, &mut file, &parts, task)
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
