//! A block of numbers in a file and how its axes become frames: what NRRD, MetaImage and MGH have in common.
//!
//! A [`Layout`] names the role of every axis of the block (fastest first). When space comes first, frames are
//! slices of one allocation; otherwise the block is permuted once.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use bytemuck::Pod;
use ndarray::{ArcArray1, Array1, ArrayD, IxDyn, s};
use rayon::prelude::*;

use crate::affine::{Affine, norm};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::inflate::{self, Elements, Stream};
use crate::notice::Notice;
use crate::task::Task;
use crate::volume::{AffineSource, Element, FrameAxis, Image, Meta};
use crate::voxels::{Scaling, Shared, Voxels};
use crate::{for_any, for_scalar};

/// What one volume costs beside its voxels, roughly; bounds how many one file may ask for.
const BYTES_PER_VOLUME: usize = 1024;

/// Scalar types as files store them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Kind {
    /// Bytes per number.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    /// That of this machine.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// `"little"` or `"big"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self == Self::Little { "little" } else { "big" }
    }
}

/// A scalar that lies in files.
pub trait Stored: Pod + Element + PartialEq {
    /// The same bytes in the other order.
    #[must_use]
    fn swapped(self) -> Self;
    /// A number written as text; `None` when it is none or does not fit.
    fn parse(text: &str) -> Option<Self>;
    /// Numbers `[…, 3]` as colours, where the type has such voxels.
    fn rgb(_: Vec<Self>) -> Option<Flat> {
        None
    }
    /// Numbers `[…, 4]` as colours.
    fn rgba(_: Vec<Self>) -> Option<Flat> {
        None
    }
    /// Numbers `[…, 2]` as complex numbers.
    fn complex(_: Vec<Self>) -> Option<Flat> {
        None
    }
}

/// Voxels of all frames one after the other, not yet shaped.
pub enum Flat {
    Rgb8(Vec<[u8; 3]>),
    Rgba8(Vec<[u8; 4]>),
    Rgb16(Vec<[u16; 3]>),
    Rgba16(Vec<[u16; 4]>),
    Complex32(Vec<[f32; 2]>),
    Complex64(Vec<[f64; 2]>),
}

/// `N` numbers become one; in place when the allocation allows it.
fn pack<T: Pod, const N: usize>(v: Vec<T>) -> Vec<[T; N]>
where
    [T; N]: Pod,
{
    bytemuck::allocation::try_cast_vec(v)
        .unwrap_or_else(|(_, v)| v.chunks_exact(N).filter_map(|c| c.try_into().ok()).collect())
}

macro_rules! stored_integer {
    ($($t:ty => { $($pack:tt)* };)*) => {$(
        impl Stored for $t {
            fn swapped(self) -> Self { self.swap_bytes() }
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok().or_else(|| {
                    // "1.0" or "1e3" where an integer is meant.
                    let v: f64 = text.parse().ok()?;
                    let fits = v.fract() == 0.0 && v >= Self::MIN as f64 && v <= Self::MAX as f64;
                    fits.then_some(v as Self)
                })
            }
            $($pack)*
        }
    )*};
}
stored_integer! {
    u8 => {
        fn rgb(v: Vec<Self>) -> Option<Flat> { Some(Flat::Rgb8(pack(v))) }
        fn rgba(v: Vec<Self>) -> Option<Flat> { Some(Flat::Rgba8(pack(v))) }
    };
    u16 => {
        fn rgb(v: Vec<Self>) -> Option<Flat> { Some(Flat::Rgb16(pack(v))) }
        fn rgba(v: Vec<Self>) -> Option<Flat> { Some(Flat::Rgba16(pack(v))) }
    };
    i8 => {}; i16 => {}; u32 => {}; i32 => {}; u64 => {}; i64 => {};
}
impl Stored for f32 {
    fn swapped(self) -> Self {
        Self::from_bits(self.to_bits().swap_bytes())
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn complex(v: Vec<Self>) -> Option<Flat> {
        Some(Flat::Complex32(pack(v)))
    }
}
impl Stored for f64 {
    fn swapped(self) -> Self {
        Self::from_bits(self.to_bits().swap_bytes())
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn complex(v: Vec<Self>) -> Option<Flat> {
        Some(Flat::Complex64(pack(v)))
    }
}

/// Runs `$body` with the type alias `$t` standing for the scalar type of a [`Kind`].
macro_rules! for_kind {
    ($kind:expr, $t:ident => $body:expr) => {
        match $kind {
            $crate::block::Kind::U8 => {
                type $t = u8;
                $body
            }
            $crate::block::Kind::I8 => {
                type $t = i8;
                $body
            }
            $crate::block::Kind::U16 => {
                type $t = u16;
                $body
            }
            $crate::block::Kind::I16 => {
                type $t = i16;
                $body
            }
            $crate::block::Kind::U32 => {
                type $t = u32;
                $body
            }
            $crate::block::Kind::I32 => {
                type $t = i32;
                $body
            }
            $crate::block::Kind::U64 => {
                type $t = u64;
                $body
            }
            $crate::block::Kind::I64 => {
                type $t = i64;
                $body
            }
            $crate::block::Kind::F32 => {
                type $t = f32;
                $body
            }
            $crate::block::Kind::F64 => {
                type $t = f64;
                $body
            }
        }
    };
}
pub(crate) use for_kind;

/// The roles of a block's axes.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Lengths, fastest axis first; each at least 1.
    pub dims: Vec<usize>,
    /// Axes that become i, j, k (one to three of them).
    pub space: Vec<usize>,
    /// An axis of 3 or 4 colours, or of 2 parts of a complex number.
    pub packed: Option<usize>,
    /// Whether `packed` holds real and imaginary parts.
    pub is_complex: bool,
    /// The other axes, which become frames, fastest first.
    pub frames: Vec<usize>,
}

impl Layout {
    /// Voxels along i, j, k.
    #[must_use]
    pub fn size_ijk(&self) -> [usize; 3] {
        let mut size = [1; 3];
        for (s, &a) in size.iter_mut().zip(&self.space) {
            *s = self.dims[a];
        }
        size
    }
}

/// Product of dimensions, each at least 1, whose bytes fit the address space.
///
/// # Errors
/// [`Error::Malformed`] naming the dimensions.
pub fn count(path: &Path, dims: &[usize], kind: Kind) -> Result<u64> {
    let text = || dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ");
    let size = kind.size();
    let fits = |n: &u64| n.checked_mul(size).is_some_and(|b| b < isize::MAX as u64);
    let product = dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d as u64).filter(fits));
    match product {
        Some(n) if n > 0 => Ok(n),
        Some(_) => Err(Error::malformed(path, format!("sizes {}", text()), "sizes of at least 1")),
        None => {
            Err(Error::malformed(path, format!("sizes {}", text()), "an image that fits the address space"))
        }
    }
}

/// Refuses blocks of very many tiny volumes, whose book-keeping would outgrow the data by far.
///
/// # Errors
/// [`Error::Unsupported`].
pub fn check_frames(path: &Path, layout: &Layout, kind: Kind) -> Result<()> {
    let frames = layout.frames.iter().fold(1_usize, |n, &a| n.saturating_mul(layout.dims[a]));
    let bytes = (count(path, &layout.dims, kind)? * kind.size()) as usize;
    if frames.saturating_mul(BYTES_PER_VOLUME) > bytes.saturating_add(16 << 20) {
        return Err(Error::unsupported(
            path,
            format!("an image of {frames} frames of {:?} voxels", layout.size_ijk()),
            "images with space in up to three dimensions",
            "This looks like a table or a list of points rather than an image",
        ));
    }
    Ok(())
}

/// A whole file, or its end from `offset`.
///
/// # Errors
/// [`Error::Io`].
pub fn read_from(path: &Path, offset: u64, task: &Task) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let len = file.metadata().map_err(Error::io(path, "read"))?.len().saturating_sub(offset);
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0).saturating_add(1));
    loop {
        task.check()?;
        let n = (&mut file).take(16 << 20).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
        if n < 16 << 20 {
            return Ok(bytes);
        }
    }
}

/// `count` numbers lying plain in a file from byte `offset`.
///
/// # Errors
/// [`Error::Malformed`] when the file is shorter; [`Error::Io`]; [`Error::Cancelled`].
pub fn plain<T: Stored>(
    path: &Path,
    offset: u64,
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let len = file.metadata().map_err(Error::io(path, "read"))?.len();
    let bytes = count.saturating_mul(size_of::<T>() as u64);
    let present = len.saturating_sub(offset);
    if bytes > present {
        return Err(Error::malformed(
            path,
            format!("{present} bytes of voxels after byte {offset}"),
            format!("{bytes} bytes, as the header says"),
        ));
    }
    if bytes < present {
        notices.push(surplus(present - bytes));
    }
    let count =
        usize::try_from(count).map_err(|_| Error::Argument("an image beyond the address space".into()))?;
    let mut elements = Elements::<T>::zeroed(path, 0, count)?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(path, "read"))?;
    let room = elements.bytes_mut();
    let total = room.len().max(1);
    let mut done = 0;
    for piece in room.chunks_mut(16 << 20) {
        task.at("Reading", done as f32 / total as f32)?;
        file.read_exact(piece).map_err(Error::io(path, "read"))?;
        done += piece.len();
    }
    Ok(elements)
}

/// The remark that a file holds more than its header says.
#[must_use]
pub fn surplus(bytes: u64) -> Notice {
    Notice::info("bytes-after-voxels", format!("{bytes} bytes follow the voxels and were ignored"))
}

/// `count` numbers in a gzip or zlib stream after `skip` decompressed bytes.
///
/// # Errors
/// As [`inflate::elements`].
pub fn deflated<T: Stored>(
    path: &Path,
    compressed: &[u8],
    skip: u64,
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let stream = if compressed.starts_with(&[0x1f, 0x8b]) { Stream::Gzip } else { Stream::Zlib };
    inflate::elements(path, compressed, stream, skip, count, notices, task)
}

/// Numbers written as text, separated by white space or commas.
///
/// # Errors
/// [`Error::Malformed`] for too few numbers or something else.
pub fn text<T: Stored>(
    path: &Path,
    bytes: &[u8],
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let present = (bytes.len() as u64).div_ceil(2);
    if count > present {
        return Err(Error::malformed(
            path,
            format!("{} bytes of text", bytes.len()),
            format!("{count} numbers, as the header says"),
        ));
    }
    let mut storage = Vec::with_capacity(count as usize);
    let mut tokens = bytes.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|t| !t.is_empty());
    while (storage.len() as u64) < count {
        if storage.len() % (1 << 16) == 0 {
            task.at("Reading", storage.len() as f32 / count as f32)?;
        }
        let Some(token) = tokens.next() else {
            return Err(Error::malformed(
                path,
                format!("{} numbers", storage.len()),
                format!("{count} numbers, as the header says"),
            ));
        };
        let number = std::str::from_utf8(token).ok().and_then(T::parse);
        storage.push(number.ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(token).chars().take(20).collect();
            Error::malformed(path, format!("“{shown}” among the voxels"), "numbers of the stated type")
        })?);
    }
    let rest = tokens.count() as u64;
    if rest > 0 {
        notices.push(surplus(rest));
    }
    Ok(Elements::from_vec(storage))
}

/// Brings numbers into this machine's byte order.
pub fn to_native<T: Stored>(elements: &mut Elements<T>, order: Order) {
    if order != Order::NATIVE && size_of::<T>() > 1 {
        let numbers = elements.storage.get_mut(elements.start..).unwrap_or_default();
        numbers.par_chunks_mut(1 << 18).for_each(|piece| piece.iter_mut().for_each(|v| *v = v.swapped()));
    }
}

/// Cuts a block into frames, voxels `[k, j, i]`.
///
/// # Errors
/// [`Error::Argument`] when the numbers do not fit the layout; [`Error::Cancelled`].
pub fn frames<T: Stored>(elements: Elements<T>, layout: &Layout, task: &Task) -> Result<Vec<Voxels>> {
    let misfit = || Error::Argument("voxels do not fit their shape".to_owned());
    let start = elements.start;
    let all: ArcArray1<T> = Array1::from_vec(elements.storage).slice_move(s![start..]).into_shared();
    task.check()?;

    // Wanted order, slowest first: frames, k, j, i, parts of a voxel. Array axis of file axis a: n - 1 - a.
    let n = layout.dims.len();
    let wanted: Vec<usize> = (layout.frames.iter().rev())
        .chain(layout.space.iter().rev())
        .chain(layout.packed.iter())
        .map(|&a| n - 1 - a)
        .collect();
    if wanted.len() != n {
        return Err(misfit());
    }
    let all = if wanted.iter().enumerate().all(|(x, &a)| x == a) {
        all
    } else {
        let shape: Vec<usize> = layout.dims.iter().rev().copied().collect();
        let block = all.into_shape_with_order(IxDyn(&shape)).map_err(|_| misfit())?;
        let permuted = block.permuted_axes(IxDyn(&wanted));
        let block: ArrayD<T> = permuted.as_standard_layout().into_owned();
        drop(permuted);
        let len = block.len();
        block.into_shape_with_order(len).map_err(|_| misfit())?.into_shared()
    };
    let size = layout.size_ijk();
    let Some(axis) = layout.packed else { return cut(&all, size).ok_or_else(misfit) };
    let numbers = match all.try_into_owned_nocopy() {
        Ok(owned) => match owned.into_raw_vec_and_offset() {
            (v, None | Some(0)) => v,
            (v, Some(skip)) => v.get(skip..).unwrap_or_default().to_vec(),
        },
        Err(shared) => shared.to_vec(),
    };
    let packed = match layout.dims.get(axis) {
        Some(2) if layout.is_complex => T::complex(numbers),
        Some(3) => T::rgb(numbers),
        Some(4) => T::rgba(numbers),
        _ => None,
    };
    match packed.ok_or_else(misfit)? {
        Flat::Rgb8(v) => cut(&ArcArray1::from_vec(v), size),
        Flat::Rgba8(v) => cut(&ArcArray1::from_vec(v), size),
        Flat::Rgb16(v) => cut(&ArcArray1::from_vec(v), size),
        Flat::Rgba16(v) => cut(&ArcArray1::from_vec(v), size),
        Flat::Complex32(v) => cut(&ArcArray1::from_vec(v), size),
        Flat::Complex64(v) => cut(&ArcArray1::from_vec(v), size),
    }
    .ok_or_else(misfit)
}

/// Slices of one allocation, one per frame; `None` when they do not come out even.
fn cut<T: Element>(all: &ArcArray1<T>, [ni, nj, nk]: [usize; 3]) -> Option<Vec<Voxels>> {
    let per_frame = ni * nj * nk;
    if per_frame == 0 || all.is_empty() || !all.len().is_multiple_of(per_frame) {
        return None;
    }
    let frame = |n: usize| {
        let part = all.clone().slice_move(s![n * per_frame..(n + 1) * per_frame]);
        part.into_shape_with_order((nk, nj, ni)).ok().map(T::wrap)
    };
    (0..all.len() / per_frame).map(frame).collect()
}

/// LPS+ to RAS+ or back: the first two world axes point the other way.
#[must_use]
pub fn flip_lps(a: &Affine) -> Affine {
    let m = a.0;
    Affine([m[0].map(|v| -v + 0.0), m[1].map(|v| -v + 0.0), m[2]])
}

/// Bytes of voxels in standard layout, as this machine stores them.
///
/// # Errors
/// [`Error::Argument`] for another layout, which readers and steps do not make.
pub fn bytes_of(voxels: &Voxels) -> Result<&[u8]> {
    for_any!(voxels, a => a.as_slice().map(bytemuck::cast_slice)
        .ok_or_else(|| Error::Argument("voxels are not in standard layout".to_owned())))
}

/// The frames to write, all of one size and type, with values as they are: formats without slope and intercept
/// get scaled voxels. Whole-number scalings of integers become the smallest signed or unsigned type that holds the
/// result; others become f32, or f64 where f32 could not tell neighbouring values apart (32-bit sources and wider).
///
/// # Errors
/// [`Error::Argument`] for an image without frames or with frames that differ.
pub fn unscaled(image: &Image) -> Result<Vec<Voxels>> {
    let first = image.frames.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    let alike = |v: &Voxels| {
        std::mem::discriminant(v) == std::mem::discriminant(&first.voxels)
            && v.shape_kji() == first.voxels.shape_kji()
    };
    if !image.frames.iter().all(|f| alike(&f.voxels)) {
        return Err(Error::Argument("frames of different type or size".to_owned()));
    }
    let is_scaled = !first.voxels.is_colour() && image.frames.iter().any(|f| !f.scaling.is_none());
    if !is_scaled {
        return Ok(image.frames.iter().map(|f| f.voxels.clone()).collect());
    }
    let is_whole = first.voxels.is_integer()
        && image.frames.iter().all(|f| f.scaling.slope.fract() == 0.0 && f.scaling.inter.fract() == 0.0);
    let range = image.statistics();
    let within = |lo: f64, hi: f64| range.min >= lo && range.max <= hi;
    let kind = match first.voxels {
        _ if is_whole && within(0.0, 255.0) => Kind::U8,
        _ if is_whole && within(-32768.0, 32767.0) => Kind::I16,
        _ if is_whole && within(0.0, 65535.0) => Kind::U16,
        _ if is_whole && within(-2_147_483_648.0, 2_147_483_647.0) => Kind::I32,
        Voxels::U8(_) | Voxels::I8(_) | Voxels::U16(_) | Voxels::I16(_) | Voxels::F32(_) => Kind::F32,
        _ => Kind::F64,
    };
    image.frames.iter().map(|f| scale(&f.voxels, f.scaling, kind)).collect()
}

/// Scaled values in another type, which must hold them.
fn scale(voxels: &Voxels, scaling: Scaling, kind: Kind) -> Result<Voxels> {
    let refuse = || Error::Argument(format!("scaled {} voxels cannot be written", voxels.type_name()));
    for_scalar!(voxels, a => {
        let f = |v| crate::voxels::Scalar::to_f64(v) * scaling.slope + scaling.inter;
        Ok(match kind {
            Kind::U8 => Voxels::U8(a.mapv(|v| f(v) as u8).into_shared()),
            Kind::I16 => Voxels::I16(a.mapv(|v| f(v) as i16).into_shared()),
            Kind::U16 => Voxels::U16(a.mapv(|v| f(v) as u16).into_shared()),
            Kind::I32 => Voxels::I32(a.mapv(|v| f(v) as i32).into_shared()),
            Kind::F32 => Voxels::F32(a.mapv(|v| f(v) as f32).into_shared()),
            _ => Voxels::F64(a.mapv(f).into_shared()),
        })
    }, _ => Err(refuse()))
}

/// Labels in the smallest type that holds them.
#[must_use]
pub fn smallest(labels: &Shared<u16>) -> Voxels {
    if labels.iter().all(|&l| l <= 255) {
        Voxels::U8(labels.mapv(|l| l as u8).into_shared())
    } else {
        Voxels::U16(labels.clone())
    }
}

/// Axes beyond space whose lengths multiply to the number of frames; a plain time axis where they do not.
#[must_use]
pub fn frame_axes(image: &Image) -> Vec<FrameAxis> {
    let axes = &image.frame_axes;
    if axes.iter().map(|a| a.len).product::<usize>() == image.frames.len() {
        return axes.clone();
    }
    vec![FrameAxis { name: "time".to_owned(), len: image.frames.len(), step: 0.0, unit: String::new() }]
}

/// Whether this is a picture: one slice, axes along L and P, at the origin, its position not from a header.
#[must_use]
pub fn is_flat(meta: &Meta, grid: &Grid) -> bool {
    let [a, b, c] = grid.spacing_mm();
    matches!(meta.affine_source, AffineSource::None | AffineSource::Spacing)
        && grid.size_ijk[2] == 1
        && grid.world_from_voxel.is_close(&Affine::scale_shift([-a, -b, c], [0.0; 3]), 0.0)
}

/// Refuses placements that no reader could use.
///
/// # Errors
/// [`Error::Argument`].
pub fn check_placement(a: &Affine) -> Result<()> {
    match a.inverse() {
        Some(_) => Ok(()),
        None => {
            Err(Error::Argument("the placement is singular or not finite and cannot be written".to_owned()))
        }
    }
}

/// Writes parts one after the other, looking at the cancel flag between pieces.
///
/// # Errors
/// [`Error::Io`]; [`Error::Cancelled`].
pub fn write_parts(path: &Path, out: &mut impl std::io::Write, parts: &[&[u8]], task: &Task) -> Result<()> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let mut done = 0;
    for piece in parts.iter().flat_map(|p| p.chunks(16 << 20)) {
        task.at("Writing", done as f32 / total as f32)?;
        out.write_all(piece).map_err(Error::io(path, "write"))?;
        done += piece.len();
    }
    Ok(())
}

/// A data file named by a header: only relative names that stay in the header's folder or below are followed, so
/// that a header from elsewhere cannot pull in other files of the user.
///
/// # Errors
/// [`Error::Unsupported`] for other names.
pub fn beside(header: &Path, name: &str) -> Result<PathBuf> {
    // Windows separators and drives are told on every system.
    let is_inside = !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name.as_bytes().get(1) != Some(&b':')
        && Path::new(name).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if is_inside {
        return Ok(header.parent().unwrap_or(Path::new("")).join(name));
    }
    Err(Error::unsupported(
        header,
        format!("the data file “{}”", name.chars().take(200).collect::<String>()),
        "names relative to the header, in its folder or below",
        "Put the data file beside the header and name it there",
    ))
}

/// The files a header lists, each of which must be there.
///
/// # Errors
/// [`Error::Malformed`] for an absent file, none at all, or one named twice: a short list could otherwise ask for the
/// same bytes again and again, and no scanner writes two slices into one file without saying where.
pub fn listed(header: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let wrong = |found: String, expected: &str| Err(Error::malformed(header, found, expected));
    if names.is_empty() {
        return wrong("an empty list of data files".to_owned(), "at least one");
    }
    let mut seen = HashSet::with_capacity(names.len().min(MAX_FILES));
    let mut files = Vec::with_capacity(names.len().min(MAX_FILES));
    for name in names {
        let file = beside(header, name)?;
        // A file that is there has a name of sane length.
        if !file.is_file() {
            let shown: String = name.chars().take(200).collect();
            return wrong(format!("a header whose data file “{shown}” is not there"), "that file beside it");
        }
        // `a/./b` is `a/b`.
        if !seen.insert(file.components().collect::<PathBuf>()) {
            return wrong(format!("the data file “{name}” twice"), "a file for each part of the data");
        }
        files.push(file);
    }
    Ok(files)
}

/// Most files one header may list.
const MAX_FILES: usize = 100_000;

/// Longest name of a file (most systems allow 255 bytes).
const MAX_NAME: usize = 255;

/// File names from a `printf` pattern with one `%d` (or `%03d`) over `from..=to` in steps of `step`.
///
/// # Errors
/// [`Error::Malformed`] for another pattern or too many names.
pub fn expand(path: &Path, pattern: &str, from: i64, to: i64, step: i64) -> Result<Vec<String>> {
    let wrong =
        |found: String| Error::malformed(path, found, "a file name pattern with one %d and a sane range");
    let (before, rest) = pattern.split_once('%').ok_or_else(|| wrong("a pattern without %".to_owned()))?;
    let (width, after) = rest.split_once('d').ok_or_else(|| wrong("a pattern without %d".to_owned()))?;
    let is_zero_padded = width.starts_with('0');
    let digits: usize = if width.is_empty() { 0 } else { width.parse().unwrap_or(usize::MAX) };
    if digits > 20 || after.contains('%') || pattern.len() > MAX_NAME {
        let shown: String = pattern.chars().take(200).collect();
        return Err(wrong(format!("the pattern “{shown}”")));
    }
    let span = i128::from(to) - i128::from(from);
    let count = if step == 0 { -1 } else { span / i128::from(step) };
    if count < 0 || count >= MAX_FILES as i128 {
        return Err(wrong(format!("the range {from} to {to} in steps of {step}")));
    }
    let name = |n: i128| {
        let v = i128::from(from) + n * i128::from(step);
        if is_zero_padded {
            format!("{before}{v:0digits$}{after}")
        } else {
            format!("{before}{v:digits$}{after}")
        }
    };
    Ok((0..=count).map(name).collect())
}

/// Columns of a placement where only one or two are known: the missing ones are unit vectors at right angles.
#[must_use]
pub fn complete(known: &[[f64; 3]]) -> [[f64; 3]; 3] {
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let unit = |v: [f64; 3]| {
        let n = norm(v);
        v.map(|x| x / n + 0.0)
    };
    match *known {
        [] => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [a] => {
            // The world axis at the largest angle to it gives a second one.
            let least = (0..3).min_by(|&x, &y| a[x].abs().total_cmp(&a[y].abs())).unwrap_or(0);
            let mut e = [0.0; 3];
            e[least] = 1.0;
            let b = unit(cross(cross(a, e), a));
            [a, b, unit(cross(a, b))]
        }
        [a, b] => [a, b, unit(cross(a, b))],
        [a, b, c, ..] => [a, b, c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_folder_are_refused() {
        let header = Path::new("folder/a.nhdr");
        assert_eq!(beside(header, "sub/./a.raw").unwrap(), Path::new("folder/sub/./a.raw"));
        for name in ["/etc/passwd", "../a.raw", "sub/../../a", "", "C:\\a.raw", "C:a", "..\\a", "a\0b"] {
            assert!(beside(header, name).is_err(), "{name}");
        }
    }

    #[test]
    fn patterns_expand_within_limits() {
        let names = |p, a, b, s| expand(Path::new("x"), p, a, b, s).ok();
        assert_eq!(names("a%03d.raw", 1, 5, 2).unwrap(), ["a001.raw", "a003.raw", "a005.raw"]);
        assert_eq!(names("a%d", 3, 1, -1).unwrap(), ["a3", "a2", "a1"]);
        for (p, a, b, s) in [
            ("a%d", 0, i64::MAX, 1),
            ("a%d", i64::MIN, i64::MAX, 1),
            ("a%d", 0, 5, 0),
            ("a%999999999d", 0, 1, 1),
            ("a%d%d", 0, 1, 1),
            ("a%s", 0, 1, 1),
            ("a", 0, 1, 1),
        ] {
            assert!(names(p, a, b, s).is_none(), "{p}");
        }
    }

    #[test]
    fn axes_in_any_order_become_frames_of_volumes() {
        // File axes, fastest first: colour 3, time 2, i 2, j 3.
        let count = 3 * 2 * 2 * 3;
        let layout = Layout {
            dims: vec![3, 2, 2, 3],
            space: vec![2, 3],
            packed: Some(0),
            is_complex: false,
            frames: vec![1],
        };
        let elements = Elements::from_vec((0..count as u8).collect::<Vec<_>>());
        let frames = frames(elements, &layout, &Task::silent()).unwrap();
        assert_eq!(frames.len(), 2);
        for (t, frame) in frames.iter().enumerate() {
            let Voxels::Rgb8(a) = frame else { panic!() };
            for j in 0..3 {
                for i in 0..2 {
                    let first = (3 * (t + 2 * (i + 2 * j))) as u8;
                    assert_eq!(a[[0, j, i]], [first, first + 1, first + 2]);
                }
            }
        }
    }

    #[test]
    fn missing_directions_are_at_right_angles() {
        let c = complete(&[[0.0, 2.0, 0.0], [0.0, 0.0, -3.0]]);
        assert_eq!(c[2], [-1.0, 0.0, 0.0]);
        let [a, b, c] = complete(&[[0.0, 2.0, 0.0]]);
        let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        assert!(dot(a, b) == 0.0 && dot(a, c) == 0.0 && dot(b, c) == 0.0);
    }
}
