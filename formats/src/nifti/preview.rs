//! One slice of a large file, before the rest is read: sought in a plain file, inflated up to it in a gzip one.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ndarray::{ArcArray, Array1};
use nifti::NiftiType;

use crate::error::{Error, Result};
use crate::inflate::MAX_RATIO;
use crate::registry::PREVIEW_BYTES;
use crate::source::Source;
use crate::task::Task;
use crate::volume::{Image, Meta, Volume};

use super::affine;
use super::header::{self, Header, Order};
use super::read::{self, Stored};

/// Bytes inflated between two looks at the cancel flag.
const STEP: usize = 1 << 20;

/// The middle slice along k of the first frame; none for small files, pairs and single slices, and for files that the
/// reader will refuse, with better words.
pub fn preview(source: &Source, task: &Task) -> Result<Option<Image>> {
    let path = source.path.as_path();
    let is_ours = header::looks_like_header(&source.head) && header::is_single(&source.head);
    if !is_ours || source.head.len() < header::LEN_2 {
        return Ok(None);
    }
    let h = header::parse(path, &source.head, false)?;
    match h.voxel_type(path)? {
        NiftiType::Uint8 => slice::<u8>(source, &h, task),
        NiftiType::Int8 => slice::<i8>(source, &h, task),
        NiftiType::Uint16 => slice::<u16>(source, &h, task),
        NiftiType::Int16 => slice::<i16>(source, &h, task),
        NiftiType::Uint32 => slice::<u32>(source, &h, task),
        NiftiType::Int32 => slice::<i32>(source, &h, task),
        NiftiType::Float32 => slice::<f32>(source, &h, task),
        NiftiType::Float64 => slice::<f64>(source, &h, task),
        NiftiType::Rgb24 => slice::<[u8; 3]>(source, &h, task),
        NiftiType::Rgba32 => slice::<[u8; 4]>(source, &h, task),
        _ => Ok(None),
    }
}

fn slice<T: Stored>(source: &Source, h: &Header, task: &Task) -> Result<Option<Image>> {
    let path = source.path.as_path();
    let size_ijk = read::size_ijk(path, &h.dims)?;
    let [ni, nj, nk] = size_ijk;
    let element = size_of::<T>() as u64;
    let all = read::product(path, &h.dims)?.checked_mul(element);
    let per_slice = ni.checked_mul(nj);
    let slice_bytes = per_slice.and_then(|n| (n as u64).checked_mul(element));
    let (Some(all), Some(per_slice), Some(slice_bytes)) = (all, per_slice, slice_bytes) else {
        return Ok(None);
    };
    let mut notices = Vec::new();
    let offset = read::single_offset(path, h, &mut notices)?;
    let Some(end) = all.checked_add(offset) else { return Ok(None) };
    // The same bytes that the reader will ask for must be there, or may be.
    let most = if source.is_gzip { source.len.saturating_mul(MAX_RATIO) } else { source.len };
    let is_affordable = slice_bytes <= (64 << 20) + source.len.saturating_mul(3);
    if all < PREVIEW_BYTES || nk < 2 || end > most || !is_affordable {
        return Ok(None);
    }
    let k = nk / 2;
    let start = offset + k as u64 * slice_bytes;
    let mut voxels = vec![T::zeroed(); per_slice];
    let room = bytemuck::cast_slice_mut::<T, u8>(&mut voxels);
    let is_there =
        if source.is_gzip { inflated(path, start, room, task)? } else { sought(path, start, room)? };
    if !is_there {
        return Ok(None);
    }
    if h.order != Order::NATIVE {
        voxels.iter_mut().for_each(|v| *v = v.swapped());
    }
    let array: ArcArray<T, _> = Array1::from_vec(voxels).into_shared();
    let array = array.into_shape_with_order((1, nj, ni));
    let array = array.map_err(|e| Error::Argument(format!("voxels do not fit their shape: {e}")))?;
    let placement = affine::placement(h, size_ijk, &mut notices);
    let volume = Volume {
        voxels: T::wrap(array),
        grid: placement.grid.window([0, 0, i64::try_from(k).unwrap_or(0)], [ni, nj, 1]),
        scaling: read::scaling(h, T::SCALES, &mut notices),
        meta: Meta { path: Some(path.to_owned()), affine_source: placement.source, ..Meta::default() },
    };
    Ok(Some(Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(), // they come with the whole
    }))
}

fn sought(path: &Path, start: u64, room: &mut [u8]) -> Result<bool> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    file.seek(SeekFrom::Start(start)).map_err(Error::io(path, "read"))?;
    file.read_exact(room).map_err(Error::io(path, "read"))?;
    Ok(true)
}

/// False when the stream ends or breaks before; the reader will say so.
fn inflated(path: &Path, start: u64, room: &mut [u8], task: &Task) -> Result<bool> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut stream = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file));
    let mut scratch = vec![0; STEP];
    let mut left = start;
    while left > 0 {
        task.at("Looking for the first slice", (start - left) as f32 / start as f32)?;
        let n = usize::try_from(left).unwrap_or(STEP).min(STEP);
        let Some(piece) = scratch.get_mut(..n) else { break };
        if stream.read_exact(piece).is_err() {
            return Ok(false);
        }
        left -= n as u64;
    }
    Ok(stream.read_exact(room).is_ok())
}
