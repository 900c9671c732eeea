//! From bytes to an [`Image`]: nothing is allocated before the header's claims fit the bytes that are there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use bytemuck::Pod;
use ndarray::{ArcArray, Array1, s};
use nifti::NiftiType;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::inflate::{self, Elements, Stream};
use crate::notice::Notice;
use crate::source::Source;
use crate::task::Task;
use crate::volume::{Element, FrameAxis, Image, Meta, Volume};
use crate::voxels::Scaling;

use super::header::{self, Header, Order, Version};
use super::{affine, caret, pair};

/// Header files of pairs hold a header and extensions; more than this of them is not looked at.
const MAX_HEADER_FILE: usize = 16 << 20;

/// What a volume costs beside its voxels, roughly; bounds how many one file may ask for.
const BYTES_PER_VOLUME: u64 = 1024;

/// Reads a file, or either half of a pair.
pub fn read(source: &Source, task: &Task) -> Result<Image> {
    let is_header = header::looks_like_header(&source.head);
    let beside = match pair::header_beside(&source.path) {
        // Raw voxels may by chance begin like a header; an image half with its header beside it is no header itself.
        Some(path) if !(is_header && header::is_single(&source.head)) => Some(Source::open(&path)?),
        _ => None,
    };
    let source = beside.as_ref().unwrap_or(source);
    if beside.is_none() && !is_header {
        return Err(Error::malformed(
            &source.path,
            format!("content beginning with {}", source.describe_head()),
            "a NIfTI header",
        ));
    }
    let path = source.path.as_path();
    let image_half = pair::image_beside(path);
    let mut notices = Vec::new();

    // A gzip file is read whole, once: its voxels need all of it.
    let compressed = if source.is_gzip { read_up_to(path, usize::MAX)? } else { Vec::new() };
    let head = if source.is_gzip && source.head.len() < header::LEN_2 {
        inflate::prefix(&compressed, Stream::Gzip, header::LEN_2)
    } else {
        source.head.clone()
    };
    let h = header::parse(path, &head, image_half.is_some())?;
    let voxel_type = h.voxel_type(path)?;
    if (3000..3100).contains(&h.intent_code) {
        return Err(Error::unsupported(
            path,
            format!("CIFTI-2 (intent {}), values on surfaces and grey-ordinates,", h.intent_code),
            "volumes",
            "Extract a volume with Connectome Workbench (wb_command -cifti-separate)",
        ));
    }
    check_volume_count(path, &h, voxel_type)?;
    let bits = voxel_type.size_of() * 8;
    if usize::try_from(h.bitpix) != Ok(bits) {
        notices.push(Notice::warning(
            "bitpix-mismatch",
            format!(
                "bitpix is {} where datatype {} has {bits} bits; the datatype is trusted",
                h.bitpix, h.datatype
            ),
        ));
    }
    let (place, header_bytes) = if h.is_single {
        let offset = single_offset(path, &h, &mut notices)?;
        (Place { path, is_gzip: source.is_gzip, compressed, offset, len: source.len, is_single: true }, None)
    } else {
        let image = image_half.as_deref().ok_or_else(|| {
            let name = path.with_extension("img");
            Error::malformed(
                path,
                "a header without its image file",
                format!("{} (or .img.gz) beside it", name.file_name().unwrap_or_default().to_string_lossy()),
            )
        })?;
        let header_bytes = if source.is_gzip {
            inflate::prefix(&compressed, Stream::Gzip, MAX_HEADER_FILE)
        } else {
            read_up_to(path, MAX_HEADER_FILE)?
        };
        let data = Source::open(image)?;
        let compressed = if data.is_gzip { read_up_to(image, usize::MAX)? } else { Vec::new() };
        let offset = pair_offset(image, &h, &mut notices)?;
        let place =
            Place { path: image, is_gzip: data.is_gzip, compressed, offset, len: data.len, is_single: false };
        (place, Some(header_bytes))
    };
    let encoding = encoding(&h, place.is_gzip);
    let reading = Reading { source: path, h, place, header_bytes, notices, encoding, task };
    match voxel_type {
        NiftiType::Uint8 => reading.finish::<u8>(),
        NiftiType::Int8 => reading.finish::<i8>(),
        NiftiType::Uint16 => reading.finish::<u16>(),
        NiftiType::Int16 => reading.finish::<i16>(),
        NiftiType::Uint32 => reading.finish::<u32>(),
        NiftiType::Int32 => reading.finish::<i32>(),
        NiftiType::Uint64 => reading.finish::<u64>(),
        NiftiType::Int64 => reading.finish::<i64>(),
        NiftiType::Float32 => reading.finish::<f32>(),
        NiftiType::Float64 => reading.finish::<f64>(),
        NiftiType::Complex64 => reading.finish::<[f32; 2]>(),
        NiftiType::Complex128 => reading.finish::<[f64; 2]>(),
        NiftiType::Rgb24 => reading.finish::<[u8; 3]>(),
        NiftiType::Rgba32 => reading.finish::<[u8; 4]>(),
        NiftiType::Float128 | NiftiType::Complex256 => unreachable!("refused by Header::voxel_type"),
    }
}

/// The first `max` bytes of a file.
fn read_up_to(path: &Path, max: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let len = file.metadata().map_err(Error::io(path, "read"))?.len();
    // One byte more than expected, so that reading to the end does not grow the buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(max).min(max).saturating_add(1));
    file.take(max as u64).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    Ok(bytes)
}

fn encoding(h: &Header, is_gzip: bool) -> String {
    let mut parts = vec![h.version.name()];
    parts.push(if h.order == Order::Little { "little-endian" } else { "big-endian" });
    if !h.is_single {
        parts.push("pair");
    }
    if is_gzip {
        parts.push("gzip");
    }
    parts.join(", ")
}

/// Where the voxels are.
struct Place<'a> {
    path: &'a Path,
    is_gzip: bool,
    compressed: Vec<u8>,
    /// Bytes before the first voxel (after decompression).
    offset: u64,
    /// File length.
    len: u64,
    is_single: bool,
}

/// All that is known before the voxels are loaded.
struct Reading<'a> {
    source: &'a Path,
    h: Header,
    place: Place<'a>,
    /// Of a pair: the header file from its start.
    header_bytes: Option<Vec<u8>>,
    notices: Vec<Notice>,
    encoding: String,
    task: &'a Task,
}

impl Reading<'_> {
    fn finish<T: Stored>(mut self) -> Result<Image> {
        let count = product(self.source, &self.h.dims)?;
        let mut elements = self.load::<T>(count)?;
        let after_header = match &self.header_bytes {
            Some(bytes) => bytes.get(self.h.version.header_len()..).unwrap_or_default(),
            None => elements.lead().get(self.h.version.header_len()..).unwrap_or_default(),
        };
        let (extensions, problem) = if self.h.version == Version::Analyze {
            (Vec::new(), None)
        } else {
            header::extensions(after_header, self.h.order)
        };
        if let Some(problem) = problem {
            self.notices.push(Notice::warning("broken-extension", problem));
        }
        let start = elements.start;
        if self.h.order != Order::NATIVE {
            let voxels = elements.storage.get_mut(start..).unwrap_or_default();
            voxels.par_chunks_mut(1 << 18).for_each(|piece| piece.iter_mut().for_each(|v| *v = v.swapped()));
        }
        // The bytes before the voxels stay in the allocation, hidden by the slice: no copy.
        let all: ArcArray<T, _> = Array1::from_vec(elements.storage).slice_move(s![start..]).into_shared();
        let size_ijk = size_ijk(self.source, &self.h.dims)?;
        let [ni, nj, nk] = size_ijk;
        let per_frame = ni * nj * nk;

        let placement = affine::placement(&self.h, size_ijk, &mut self.notices);
        let scaling = scaling(&self.h, T::SCALES, &mut self.notices);
        let frame_axes = frame_axes(&self.h, &mut self.notices);
        let labels = extensions.iter().find_map(|(_, content)| caret::parse(content));
        let light = Meta {
            path: Some(self.source.to_owned()),
            affine_source: placement.source,
            nifti_codes: Some((code(self.h.sform_code), code(self.h.qform_code))),
            ..Meta::default()
        };
        let full = Meta {
            description: self.h.descrip.clone(),
            intent_code: i16::try_from(self.h.intent_code).unwrap_or(0),
            intent_name: self.h.intent_name.clone(),
            labels,
            extensions,
            display_range: display_range(&self.h),
            facts: super::write::facts(&self.h),
            ..light.clone()
        };
        let frame = |n: usize| {
            let array = all.clone().slice_move(s![n * per_frame..(n + 1) * per_frame]);
            let array = array.into_shape_with_order((nk, nj, ni));
            let array = array.map_err(|e| Error::Argument(format!("voxels do not fit their shape: {e}")))?;
            // What is long is kept once, with the first frame.
            let meta = if n == 0 { full.clone() } else { light.clone() };
            Ok(Volume { voxels: T::wrap(array), grid: placement.grid, scaling, meta })
        };
        let frames = (0..all.len() / per_frame).map(frame).collect::<Result<Vec<Volume>>>()?;
        if self.h.version == Version::Analyze {
            self.notices.push(Notice::warning(
                "analyze",
                "this is Analyze 7.5, the predecessor of NIfTI, which does not say what is left and right",
            ));
        }
        Ok(Image {
            frames,
            frame_axes,
            format: "nifti",
            encoding: self.encoding,
            is_picture: false,
            notices: self.notices,
        })
    }

    /// The voxels in file byte order, after the bytes before them (for a single file).
    fn load<T: Stored>(&mut self, count: u64) -> Result<Elements<T>> {
        let place = &mut self.place;
        let bytes = count.checked_mul(size_of::<T>() as u64);
        let wanted = bytes.and_then(|b| b.checked_add(place.offset));
        let (Some(bytes), Some(wanted)) = (bytes, wanted) else {
            return Err(overflow(place.path, &self.h.dims));
        };
        if place.is_gzip {
            let compressed = std::mem::take(&mut place.compressed);
            return inflate::elements(
                place.path,
                &compressed,
                Stream::Gzip,
                place.offset,
                count,
                &mut self.notices,
                self.task,
            );
        }
        if wanted > place.len {
            return Err(Error::malformed(
                place.path,
                format!("{} bytes in the file", place.len),
                format!(
                    "{wanted} bytes ({bytes} bytes of voxels after byte {}) for dimensions {}",
                    place.offset,
                    dims_text(&self.h.dims)
                ),
            ));
        }
        if wanted < place.len {
            let surplus = place.len - wanted;
            self.notices.push(Notice::info(
                "bytes-after-voxels",
                format!("{surplus} bytes follow the voxels and were ignored"),
            ));
        }
        // In a single file the header and its extensions come along as lead bytes.
        let (lead, skip) = if place.is_single { (place.offset, 0) } else { (0, place.offset) };
        let lead_len = usize::try_from(lead).map_err(|_| overflow(place.path, &self.h.dims))?;
        let len = usize::try_from(count).map_err(|_| overflow(place.path, &self.h.dims))?;
        let mut elements = Elements::<T>::zeroed(place.path, lead_len, len)?;
        let mut file = File::open(place.path).map_err(Error::io(place.path, "open"))?;
        file.seek(SeekFrom::Start(skip)).map_err(Error::io(place.path, "read"))?;
        let room = elements.bytes_mut();
        let total = room.len().max(1);
        let mut done = 0;
        for piece in room.chunks_mut(16 << 20) {
            self.task.at("Reading", done as f32 / total as f32)?;
            file.read_exact(piece).map_err(Error::io(place.path, "read"))?;
            done += piece.len();
        }
        Ok(elements)
    }
}

/// A voxel type as stored.
pub(super) trait Stored: Pod + Element {
    /// Whether slope and intercept apply (not to colours).
    const SCALES: bool;
    /// The same bytes in the other order.
    fn swapped(self) -> Self;
}

macro_rules! stored {
    ($($t:ty, $scales:literal, $v:ident => $swap:expr;)*) => {$(
        impl Stored for $t {
            const SCALES: bool = $scales;
            fn swapped(self) -> Self { let $v = self; $swap }
        }
    )*};
}
stored! {
    u8, true, v => v;
    i8, true, v => v;
    u16, true, v => v.swap_bytes();
    i16, true, v => v.swap_bytes();
    u32, true, v => v.swap_bytes();
    i32, true, v => v.swap_bytes();
    u64, true, v => v.swap_bytes();
    i64, true, v => v.swap_bytes();
    f32, true, v => f32::from_bits(v.to_bits().swap_bytes());
    f64, true, v => f64::from_bits(v.to_bits().swap_bytes());
    [f32; 2], true, v => v.map(|x| f32::from_bits(x.to_bits().swap_bytes()));
    [f64; 2], true, v => v.map(|x| f64::from_bits(x.to_bits().swap_bytes()));
    [u8; 3], false, v => v;
    [u8; 4], false, v => v;
}

fn dims_text(dims: &[u64]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × ")
}

fn overflow(path: &Path, dims: &[u64]) -> Error {
    Error::malformed(path, format!("dimensions {}", dims_text(dims)), "a volume that fits the address space")
}

pub(super) fn product(path: &Path, dims: &[u64]) -> Result<u64> {
    dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d)).ok_or_else(|| overflow(path, dims))
}

pub(super) fn size_ijk(path: &Path, dims: &[u64]) -> Result<[usize; 3]> {
    let mut size = [1; 3];
    for (s, &d) in size.iter_mut().zip(dims) {
        *s = usize::try_from(d).map_err(|_| overflow(path, dims))?;
    }
    Ok(size)
}

/// Refuses files of very many tiny volumes, whose book-keeping would outgrow the data by far.
fn check_volume_count(path: &Path, h: &Header, voxel_type: NiftiType) -> Result<()> {
    let all = product(path, &h.dims)?;
    let volumes = product(path, h.dims.get(3..).unwrap_or_default())?;
    let bytes = all.checked_mul(voxel_type.size_of() as u64).ok_or_else(|| overflow(path, &h.dims))?;
    if volumes.saturating_mul(BYTES_PER_VOLUME) > bytes.saturating_add(16 << 20) {
        return Err(Error::unsupported(
            path,
            format!("{volumes} volumes of {} voxels (dimensions {})", all / volumes, dims_text(&h.dims)),
            "images with space in the first three dimensions",
            "This looks like a table or a list of points rather than an image",
        ));
    }
    Ok(())
}

/// Where the voxels of a single file start.
pub(super) fn single_offset(path: &Path, h: &Header, notices: &mut Vec<Notice>) -> Result<u64> {
    let least = (h.version.header_len() + 4) as f64;
    let o = h.vox_offset;
    if o == 0.0 {
        return Ok(least as u64);
    }
    if o < least || o.is_nan() {
        notices.push(Notice::warning(
            "voxel-offset",
            format!("vox_offset is {o}, inside the header; voxels are taken to start at byte {least}"),
        ));
        return Ok(least as u64);
    }
    whole_offset(path, o)
}

/// Where the voxels of an image file start.
fn pair_offset(path: &Path, h: &Header, notices: &mut Vec<Notice>) -> Result<u64> {
    let o = h.vox_offset;
    if o < 0.0 || o.is_nan() {
        notices.push(Notice::warning(
            "voxel-offset",
            format!("vox_offset is {o}; voxels are taken to start at the beginning of the image file"),
        ));
        return Ok(0);
    }
    whole_offset(path, o)
}

fn whole_offset(path: &Path, o: f64) -> Result<u64> {
    if o > 1e15 || o.fract() != 0.0 {
        return Err(Error::malformed(
            path,
            format!("voxels starting at byte {o} (vox_offset)"),
            "a whole number of bytes",
        ));
    }
    Ok(o as u64)
}

/// Slope and intercept. A slope of 0 means none by the standard; one that is not finite is treated alike.
pub(super) fn scaling(h: &Header, applies: bool, notices: &mut Vec<Notice>) -> Scaling {
    if !applies || h.slope == 0.0 || h.slope.is_nan() {
        return Scaling::NONE;
    }
    if !h.slope.is_finite() {
        notices.push(Notice::warning(
            "bad-scaling",
            format!("scl_slope is {}: stored values are shown unscaled", h.slope),
        ));
        return Scaling::NONE;
    }
    if !h.inter.is_finite() {
        notices.push(Notice::warning(
            "bad-scaling",
            format!("scl_inter is {} (with slope {}): 0 is used instead", h.inter, h.slope),
        ));
        return Scaling { slope: h.slope, inter: 0.0 };
    }
    Scaling { slope: h.slope, inter: h.inter }
}

fn display_range(h: &Header) -> Option<(f64, f64)> {
    let is_sound = h.cal_min.is_finite() && h.cal_max.is_finite() && h.cal_max > h.cal_min;
    is_sound.then_some((h.cal_min, h.cal_max))
}

/// Transform codes beyond the five defined ones are kept out of the metadata.
fn code(c: i32) -> i16 {
    i16::try_from(c).ok().filter(|c| (0..=5).contains(c)).unwrap_or(0)
}

/// Dimensions 4 to 7.
fn frame_axes(h: &Header, notices: &mut Vec<Notice>) -> Vec<FrameAxis> {
    let (time_name, unit, per_unit) = match h.xyzt_units & 0x38 {
        8 => ("time", "s", 1.0),
        16 => ("time", "s", 1e-3),
        24 => ("time", "s", 1e-6),
        32 => ("frequency", "Hz", 1.0),
        40 => ("chemical-shift", "ppm", 1.0),
        48 => ("angular-frequency", "rad/s", 1.0),
        _ => ("time", "", 1.0),
    };
    // GENMATRIX to QUATERNION, and the RGB and RGBA vectors, among the intents of nifti1.h.
    let fifth = match h.intent_code {
        1004..=1010 => "component",
        2003 | 2004 => "colour",
        _ => "channel",
    };
    let axis = |n: usize, &len: &u64| {
        let step = h.pixdim.get(n).copied().filter(|v| v.is_finite() && *v > 0.0).unwrap_or(0.0);
        let (name, step, unit) = match n {
            4 => (time_name, step * per_unit, unit),
            5 => (fifth, 0.0, ""),
            6 => ("dimension-6", step, ""),
            _ => ("dimension-7", step, ""),
        };
        FrameAxis { name: name.to_owned(), len: len as usize, step, unit: unit.to_owned() }
    };
    let axes: Vec<FrameAxis> = h.dims.iter().enumerate().skip(3).map(|(n, d)| axis(n + 1, d)).collect();
    if let Some(time) = axes.first().filter(|a| a.len > 1 && a.unit == "s" && a.step > 100.0) {
        notices.push(Notice::warning(
            "long-repetition-time",
            format!(
                "the time step is {} s; perhaps milliseconds were written with the unit seconds",
                time.step
            ),
        ));
    }
    axes
}
