//! FreeSurfer's MGH, plain (`.mgh`) or gzipped (`.mgz`); read and written.
//!
//! The layout is described at <https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat>: big-endian, a
//! header of 284 bytes, voxels, then an optional footer (repetition time and so on, in milliseconds) and tags.
//! Placement: the columns of `Mdc · diag(spacing)`, with voxel `size / 2` (not `(size − 1) / 2`) at `c_ras`. World
//! is RAS already.
//!
//! FreeSurfer keeps the geometry in single precision: about 7 digits survive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::affine::{Affine, norm};
use crate::block::{self, Kind, Layout, Order, Stored, for_kind};
use crate::error::{Error, Result};
use crate::for_scalar;
use crate::grid::Grid;
use crate::inflate::{self, Stream};
use crate::notice::Notice;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::{AffineSource, FrameAxis, Image, Meta, Volume};
use crate::voxels::{Scaling, Voxels};

/// The format; see the [module documentation](self).
pub struct Mgh;

/// Bytes before the voxels.
const HEADER: usize = 284;

/// TR, flip angle, TE, TI, field of view: names of the facts that keep them.
const FOOTER: [&str; 5] = ["mgh-tr-ms", "mgh-flip-angle-rad", "mgh-te-ms", "mgh-ti-ms", "mgh-fov-mm"];

impl Format for Mgh {
    fn id(&self) -> &'static str {
        "mgh"
    }

    fn name(&self) -> &'static str {
        "FreeSurfer MGH"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["mgz", "mgh", "mgh.gz"]
    }

    fn sniff(&self, source: &Source) -> bool {
        // There is no magic but the version; four positive sizes and a type below 16 must follow it.
        source.head.get(..4) == Some(&[0, 0, 0, 1])
            && (1..=4).all(|n| int(&source.head, n * 4).is_some_and(|v| v > 0))
            && int(&source.head, 20).is_some_and(|t| (0..16).contains(&t))
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        read(source, task)
    }

    fn can_write(&self, content: Content<'_>) -> bool {
        match content {
            Content::Labels(_) => true,
            Content::Image(image) => {
                image.frames.iter().all(|f| !f.voxels.is_colour() && !f.voxels.is_complex())
            }
        }
    }

    fn write(&self, content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
        write(content, path, name, task)
    }
}

fn int(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|b| i32::from_be_bytes(*b))
}

fn float(bytes: &[u8], at: usize) -> Option<f64> {
    bytes.get(at..)?.first_chunk().map(|b| f64::from(f32::from_be_bytes(*b)))
}

fn read(source: &Source, task: &Task) -> Result<Image> {
    let path = source.path.as_path();
    let mut notices = Vec::new();
    let compressed = if source.is_gzip { block::read_from(path, 0, task)? } else { Vec::new() };
    let head = if source.is_gzip && source.head.len() < HEADER {
        inflate::prefix(&compressed, Stream::Gzip, HEADER)
    } else {
        source.head.clone()
    };
    let short =
        || Error::malformed(path, format!("{} bytes", head.len()), format!("a header of {HEADER} bytes"));
    if head.len() < HEADER {
        return Err(short());
    }
    let mut dims = [0; 4];
    for (n, d) in dims.iter_mut().enumerate() {
        let v = int(&head, 4 + 4 * n).ok_or_else(short)?;
        *d = usize::try_from(v).ok().filter(|v| *v > 0).ok_or_else(|| {
            Error::malformed(path, format!("the size {v} of axis {}", n + 1), "sizes of at least 1")
        })?;
    }
    let kind = match int(&head, 20) {
        Some(0) => Kind::U8,
        Some(1) => Kind::I32,
        Some(3) => Kind::F32,
        Some(4) => Kind::I16,
        Some(10) => Kind::U16,
        other => {
            return Err(Error::unsupported(
                path,
                format!("the voxel type {}", other.unwrap_or(-1)),
                "uchar (0), int (1), float (3), short (4), ushort (10)",
                "Convert the file with mri_convert",
            ));
        }
    };
    let layout = Layout { dims: dims.to_vec(), space: vec![0, 1, 2], frames: vec![3], ..Layout::default() };
    block::check_frames(path, &layout, kind)?;
    let size_ijk = layout.size_ijk();
    let (grid, affine_source) = placement(&head, size_ijk, &mut notices);

    let count = block::count(path, &layout.dims, kind)?;
    let bytes = count * kind.size();
    let mut footer = Vec::new();
    let voxels = for_kind!(kind, T => {
        let elements = if source.is_gzip {
            load_gzip::<T>(path, &compressed, count, &mut footer, &mut notices, task)?
        } else {
            let mut ignored = Vec::new();
            let mut elements = block::plain::<T>(path, HEADER as u64, count, &mut ignored, task)?;
            let mut file = File::open(path).map_err(Error::io(path, "open"))?;
            file.seek(SeekFrom::Start(HEADER as u64 + bytes)).map_err(Error::io(path, "read"))?;
            file.take(20).read_to_end(&mut footer).map_err(Error::io(path, "read"))?;
            block::to_native(&mut elements, Order::Big);
            elements
        };
        block::frames(elements, &layout, task)?
    });

    let values = (0..5).map(|n| float(&footer, 4 * n));
    let facts: BTreeMap<String, String> = FOOTER
        .iter()
        .zip(values)
        .filter_map(|(name, v)| {
            v.filter(|v| v.is_finite() && *v != 0.0).map(|v| ((*name).to_owned(), v.to_string()))
        })
        .collect();
    let tr = facts.get(FOOTER[0]).and_then(|v| v.parse::<f64>().ok()).filter(|v| *v > 0.0);
    let frame_axes = if dims[3] > 1 {
        let (step, unit) = tr.map_or((0.0, ""), |v| (v / 1000.0, "s"));
        vec![FrameAxis { name: "time".to_owned(), len: dims[3], step, unit: unit.to_owned() }]
    } else {
        Vec::new()
    };
    let light = Meta { path: Some(path.to_owned()), affine_source, ..Meta::default() };
    let frames = voxels
        .into_iter()
        .enumerate()
        .map(|(n, voxels)| {
            let meta = if n == 0 { Meta { facts: facts.clone(), ..light.clone() } } else { light.clone() };
            Volume { voxels, grid, scaling: Scaling::NONE, meta }
        })
        .collect();
    let encoding = if source.is_gzip { "MGH, big-endian, gzip" } else { "MGH, big-endian" };
    Ok(Image { frames, frame_axes, format: "mgh", encoding: encoding.to_owned(), is_picture: false, notices })
}

/// Numbers and the footer behind them.
fn load_gzip<T: Stored>(
    path: &Path,
    compressed: &[u8],
    count: u64,
    footer: &mut Vec<u8>,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<inflate::Elements<T>> {
    let mut mine = Vec::new();
    let mut elements =
        inflate::elements::<T>(path, compressed, Stream::Gzip, HEADER as u64, count, &mut mine, task)?;
    if mine.iter().any(|n| n.code == "bytes-after-voxels") {
        *footer = inflate::tail(compressed, Stream::Gzip, HEADER as u64 + count * size_of::<T>() as u64, 20);
    }
    notices.extend(mine.into_iter().filter(|n| n.code != "bytes-after-voxels"));
    block::to_native(&mut elements, Order::Big);
    Ok(elements)
}

/// Placement; without a good RAS flag the coronal default of FreeSurfer.
fn placement(head: &[u8], size_ijk: [usize; 3], notices: &mut Vec<Notice>) -> (Grid, AffineSource) {
    let is_good = head.get(28..30) != Some(&[0, 0]) && head.get(28).is_some_and(|b| *b < 0x80);
    let f = |n: usize| float(head, 30 + 4 * n).unwrap_or(f64::NAN);
    let built = |columns: [[f64; 3]; 3], centre: [f64; 3]| {
        let linear = Affine::from_columns(columns, [0.0; 3]);
        let half = linear.apply(size_ijk.map(|n| n as f64 / 2.0));
        Affine::from_columns(columns, [0, 1, 2].map(|r| centre[r] - half[r]))
    };
    if is_good {
        let columns = [0, 1, 2].map(|a| [0, 1, 2].map(|r| f(3 + 3 * a + r) * f(a)));
        let affine = built(columns, [f(12), f(13), f(14)]);
        // Direction cosines are unit vectors and voxels have lengths; single precision holds much that is neither, and a
        // placement beyond all scanners would not survive being written.
        let is_length = |n: usize| (1e-6..=1e6).contains(&f(n).abs());
        let is_unit = |a: usize| (0.5..=2.0).contains(&norm([0, 1, 2].map(|r| f(3 + 3 * a + r))));
        let is_plausible = (0..3).all(|a| is_length(a) && is_unit(a)) && (12..15).all(|n| f(n).abs() <= 1e6);
        let spans = affine.inverse().is_some();
        if is_plausible && spans {
            return (Grid { size_ijk, world_from_voxel: affine }, AffineSource::Header);
        }
        notices.push(if spans {
            Notice::warning(
                "implausible-placement",
                format!(
                    "voxels of {} × {} × {} mm along directions of other lengths than 1, or a centre beyond 1 km, are no \
                     placement; FreeSurfer's coronal default with 1 mm is used",
                    f(0),
                    f(1),
                    f(2)
                ),
            )
        } else {
            Notice::warning(
                "singular-directions",
                "the direction cosines do not span space; FreeSurfer's coronal default is used",
            )
        });
    } else {
        notices.push(Notice::warning(
            "no-orientation",
            "the header says that its orientation is not good; FreeSurfer's coronal default with 1 mm is assumed",
        ));
    }
    let affine = built([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], [0.0; 3]);
    (Grid { size_ijk, world_from_voxel: affine }, AffineSource::Spacing)
}

fn write(content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
    let (voxels, grid, meta, tr) = match content {
        Content::Image(image) => {
            let first = image.first();
            let tr =
                image.frame_axes.first().filter(|a| a.unit == "s" && a.step > 0.0).map(|a| a.step * 1000.0);
            (block::unscaled(image)?, &first.grid, &first.meta, tr)
        }
        Content::Labels(map) => (vec![block::smallest(&map.labels)], &map.grid, &map.meta, None),
    };
    block::check_placement(&grid.world_from_voxel)?;
    let kind = target(path, &voxels)?;
    let mut h = Vec::with_capacity(HEADER);
    h.extend(1_i32.to_be_bytes());
    for size in grid.size_ijk.iter().chain([&voxels.len()]) {
        let size = i32::try_from(*size)
            .map_err(|_| Error::Argument(format!("an axis of {size} voxels, too long for MGH")))?;
        h.extend(size.to_be_bytes());
    }
    let code: i32 = match kind {
        Kind::U8 => 0,
        Kind::I32 => 1,
        Kind::I16 => 4,
        _ => 3,
    };
    h.extend(code.to_be_bytes());
    h.extend(0_i32.to_be_bytes()); // Degrees of freedom: unused.
    h.extend(1_i16.to_be_bytes()); // The orientation is good.
    let a = &grid.world_from_voxel;
    let mut put = |v: f64| h.extend((v as f32).to_be_bytes());
    let spacing = grid.spacing_mm();
    spacing.iter().for_each(|&s| put(s));
    for (axis, s) in spacing.iter().enumerate() {
        let c = a.column(axis);
        c.iter().for_each(|v| put(v / norm(c).max(f64::MIN_POSITIVE)));
        debug_assert!(*s > 0.0, "checked by check_placement");
    }
    a.apply(grid.size_ijk.map(|n| n as f64 / 2.0)).iter().for_each(|&v| put(v));
    h.resize(HEADER, 0);

    let big: Vec<Vec<u8>> = voxels.iter().map(|v| big_endian(v, kind)).collect::<Result<_>>()?;
    let mut footer = Vec::new();
    for (n, name) in FOOTER.iter().enumerate() {
        let kept = meta.facts.get(*name).and_then(|v| v.parse::<f64>().ok());
        let v = if n == 0 { tr.or(kept) } else { kept }.filter(|v| v.is_finite()).unwrap_or(0.0);
        footer.extend((v as f32).to_be_bytes());
    }
    let mut parts = vec![h.as_slice()];
    parts.extend(big.iter().map(Vec::as_slice));
    parts.push(&footer);
    let mut file = File::create(path).map_err(Error::io(path, "write"))?;
    let lower = name.to_string_lossy().to_lowercase();
    if lower.ends_with(".mgh") {
        return block::write_parts(path, &mut file, &parts, task);
    }
    crate::deflate::gzip(path, &mut file, &parts, task)
}

/// The type that FreeSurfer and nibabel read and that holds all values: uchar, short, int or (for floats, and for
/// nothing else) float. Double precision is rounded to single, the widest there is.
fn target(path: &Path, voxels: &[Voxels]) -> Result<Kind> {
    let first = voxels.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    match first {
        Voxels::U8(_) => return Ok(Kind::U8),
        Voxels::I8(_) | Voxels::I16(_) => return Ok(Kind::I16),
        Voxels::I32(_) => return Ok(Kind::I32),
        Voxels::F32(_) | Voxels::F64(_) => return Ok(Kind::F32),
        _ => {}
    }
    let range = voxels.iter().map(|v| v.statistics(Scaling::NONE)).reduce(crate::Statistics::merge);
    let (min, max) = range.map_or((0.0, 0.0), |r| (r.min, r.max));
    let fits = |lo: f64, hi: f64| min >= lo && max <= hi;
    if first.is_integer() && fits(-32768.0, 32767.0) {
        Ok(Kind::I16)
    } else if first.is_integer() && fits(f64::from(i32::MIN), f64::from(i32::MAX)) {
        Ok(Kind::I32)
    } else {
        Err(Error::unsupported(
            path,
            format!("writing {} voxels from {min} to {max} to MGH", first.type_name()),
            "uchar, short, int (32 bits), float",
            "Choose .nii.gz or .nrrd",
        ))
    }
}

#[expect(clippy::unnecessary_cast, reason = "the same lines serve ten types")]
fn big_endian(voxels: &Voxels, kind: Kind) -> Result<Vec<u8>> {
    fn bytes<T: Copy, const N: usize>(a: &[T], f: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        a.iter().flat_map(|&v| f(v)).collect()
    }
    let refuse = || Error::Argument(format!("{} voxels cannot be written to MGH", voxels.type_name()));
    for_scalar!(voxels, a => {
        let a = a.as_slice().ok_or_else(|| Error::Argument("voxels are not in standard layout".to_owned()))?;
        Ok(match kind {
            Kind::U8 => bytes(a, |v| [v as u8]),
            Kind::I16 => bytes(a, |v| (v as i16).to_be_bytes()),
            Kind::I32 => bytes(a, |v| (v as i32).to_be_bytes()),
            _ => bytes(a, |v| (v as f32).to_be_bytes()),
        })
    }, _ => Err(refuse()))
}
