//! From an image or a label map to a file.
//!
//! Voxels are written as stored, with their slope and intercept, so that reading gives back the same numbers. The
//! placement goes to the sform in full (NIfTI-1 keeps single precision: 7 digits) and, when it has no shear, to the
//! qform as well, so that readers preferring either see the same. Files are NIfTI-1 unless a size exceeds 32767.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use nifti::NiftiType;

use crate::error::{Error, Result};
use crate::for_any;
use crate::grid::Grid;
use crate::registry::Content;
use crate::task::Task;
use crate::volume::{AffineSource, FrameAxis, Meta};
use crate::voxels::{Scaling, Voxels};

use super::header::{Header, Order, Version};
use super::{affine, caret, encode};

/// NIFTI_INTENT_LABEL: voxel values are keys into a list of labels.
const INTENT_LABEL: i32 = 1002;

/// NIFTI_XFORM_SCANNER_ANAT, for placements that came from a scanner's format; _ALIGNED_ANAT for others.
const SCANNER: i32 = 1;
const ALIGNED: i32 = 2;

/// Writes `.nii` or `.nii.gz`, by the ending of `name`.
pub fn write(content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
    let lower = name.to_string_lossy().to_lowercase();
    if !(lower.ends_with(".nii") || lower.ends_with(".nii.gz")) {
        return Err(Error::unsupported(
            Path::new(name),
            "writing a pair of header and image file",
            ".nii.gz and .nii",
            "Choose one of these endings",
        ));
    }
    match content {
        Content::Image(image) => {
            let first =
                image.frames.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
            let alike = |v: &Voxels| {
                v.type_name() == first.voxels.type_name() && v.shape_kji() == first.voxels.shape_kji()
            };
            if !image.frames.iter().all(|f| alike(&f.voxels) && f.scaling == first.scaling) {
                return Err(Error::Argument("frames of different type, size or scaling".to_owned()));
            }
            let voxels: Vec<&[u8]> =
                image.frames.iter().map(|f| bytes_of(&f.voxels)).collect::<Result<_>>()?;
            let axes = axes(path, &image.frame_axes, voxels.len())?;
            let mut header = compose(&first.meta, &first.grid, &axes, datatype(path, &first.voxels)?)?;
            let is_scaled = !first.voxels.is_colour();
            let Scaling { slope, inter } = first.scaling;
            (header.slope, header.inter) = if is_scaled { (slope, inter) } else { (0.0, 0.0) };
            // NIfTI-1 has them in single precision, where a slope that vanishes means none.
            if !(slope as f32).is_normal() || !(inter as f32).is_finite() {
                header.version = Version::Nifti2;
            }
            store(path, &lower, header, &first.meta.extensions, &voxels, task)
        }
        Content::Labels(map) => {
            let labels = map.labels.as_slice().ok_or_else(|| layout_error("labels"))?;
            let is_byte = labels.iter().all(|&l| l <= 255);
            let bytes: Vec<u8> = if is_byte { labels.iter().map(|&l| l as u8).collect() } else { Vec::new() };
            let voxels: &[u8] = if is_byte { &bytes } else { bytemuck::cast_slice(labels) };
            let kind = if is_byte { NiftiType::Uint8 } else { NiftiType::Uint16 };
            let mut header = compose(&map.meta, &map.grid, &[], kind)?;
            (header.intent_code, header.intent_p, header.cal_min, header.cal_max) =
                (INTENT_LABEL, [0.0; 3], 0.0, 0.0);
            let mut extensions = map.meta.extensions.clone();
            if !map.table.entries.is_empty() {
                extensions.retain(|(_, content)| !caret::is_caret(content));
                extensions.push((caret::CODE, caret::format(&map.table)));
            }
            store(path, &lower, header, &extensions, &[voxels], task)
        }
    }
}

fn layout_error(what: &str) -> Error {
    Error::Argument(format!("{what} are not in standard layout"))
}

fn bytes_of(voxels: &Voxels) -> Result<&[u8]> {
    for_any!(voxels, a => a.as_slice().map(bytemuck::cast_slice).ok_or_else(|| layout_error("voxels")))
}

fn datatype(path: &Path, voxels: &Voxels) -> Result<NiftiType> {
    Ok(match voxels {
        Voxels::U8(_) => NiftiType::Uint8,
        Voxels::I8(_) => NiftiType::Int8,
        Voxels::U16(_) => NiftiType::Uint16,
        Voxels::I16(_) => NiftiType::Int16,
        Voxels::U32(_) => NiftiType::Uint32,
        Voxels::I32(_) => NiftiType::Int32,
        Voxels::U64(_) => NiftiType::Uint64,
        Voxels::I64(_) => NiftiType::Int64,
        Voxels::F32(_) => NiftiType::Float32,
        Voxels::F64(_) => NiftiType::Float64,
        Voxels::Rgb8(_) => NiftiType::Rgb24,
        Voxels::Rgba8(_) => NiftiType::Rgba32,
        Voxels::Complex32(_) => NiftiType::Complex64,
        Voxels::Complex64(_) => NiftiType::Complex128,
        Voxels::Rgb16(_) | Voxels::Rgba16(_) => {
            return Err(Error::unsupported(
                path,
                "writing colours of 16 bits to NIfTI",
                "colours of 8 bits",
                "Choose another file ending",
            ));
        }
    })
}

/// Dimensions 4 to 7. The fifth is for components of a voxel, so these get a time axis of one before them.
fn axes(path: &Path, frame_axes: &[FrameAxis], frames: usize) -> Result<Vec<FrameAxis>> {
    let axis = |name: &str, len| FrameAxis { name: name.to_owned(), len, step: 0.0, unit: String::new() };
    let mut axes = frame_axes.to_vec();
    if axes.iter().map(|a| a.len).product::<usize>() != frames {
        axes = vec![axis("time", frames)];
    }
    if axes.first().is_some_and(|a| matches!(a.name.as_str(), "component" | "colour" | "channel")) {
        axes.insert(0, axis("time", 1));
    }
    if axes.len() > 4 {
        return Err(Error::unsupported(
            path,
            format!("writing {} dimensions to NIfTI", 3 + axes.len()),
            "up to 7",
            "Save the volumes one by one",
        ));
    }
    Ok(axes)
}

/// A header for this machine's byte order; scaling and the voxel offset are left to the caller.
fn compose(meta: &Meta, grid: &Grid, axes: &[FrameAxis], kind: NiftiType) -> Result<Header> {
    let a = &grid.world_from_voxel;
    if a.inverse().is_none() {
        return Err(Error::Argument(
            "the placement is singular or not finite and cannot be written".to_owned(),
        ));
    }
    let mut dims: Vec<u64> = grid.size_ijk.iter().map(|&n| n as u64).collect();
    dims.extend(axes.iter().map(|x| x.len as u64));
    let version = if dims.iter().any(|&d| d > 32767) { Version::Nifti2 } else { Version::Nifti1 };

    let (quatern, qfac, spacing, is_rigid) = match affine::quaternion(a) {
        Some((quatern, qfac, spacing)) => (quatern, qfac, spacing, true),
        None => ([0.0; 3], 1.0, grid.spacing_mm(), false),
    };
    let (s, q) = meta.nifti_codes.map_or((0, 0), |(s, q)| (i32::from(s), i32::from(q)));
    // A placement that was only assumed stays so: readers assume the same again.
    let is_assumed = meta.affine_source == AffineSource::Spacing
        && (s, q) == (0, 0)
        && affine::max_corner_distance(grid, &affine::assumed(grid.size_ijk, spacing)) < 1e-3;
    let usual = if meta.affine_source == AffineSource::Header { SCANNER } else { ALIGNED };
    let sform_code = match (s, q) {
        _ if is_assumed => 0,
        (1.., _) => s,
        (_, 1..) => q,
        _ => usual,
    };
    // Without codes from a NIfTI file both transforms are set: some readers look at the qform only.
    let wanted_q = if meta.nifti_codes.is_some_and(|codes| codes != (0, 0)) { q } else { sform_code };
    let qform_code = if is_rigid { wanted_q } else { 0 };

    let mut pixdim = [1.0; 8];
    pixdim[0] = qfac;
    pixdim[1..4].copy_from_slice(&spacing);
    for (p, axis) in pixdim[4..].iter_mut().zip(axes) {
        *p = axis.step;
    }
    let time_unit = match axes.first().map(|x| x.unit.as_str()) {
        Some("s") => 8,
        Some("Hz") => 32,
        Some("ppm") => 40,
        Some("rad/s") => 48,
        _ => 0,
    };
    let (cal_min, cal_max) = meta.display_range.unwrap_or((0.0, 0.0));
    let mut header = Header {
        version,
        order: Order::NATIVE,
        is_single: true,
        dims,
        datatype: kind as i16,
        bitpix: (kind.size_of() * 8) as i16,
        pixdim,
        vox_offset: 0.0,
        slope: 1.0,
        inter: 0.0,
        cal_min,
        cal_max,
        qform_code,
        sform_code,
        quatern,
        qoffset: a.origin(),
        srow: a.0,
        xyzt_units: 2 | time_unit,
        intent_code: meta.intent_code.into(),
        intent_p: [0.0; 3],
        intent_name: meta.intent_name.clone(),
        descrip: meta.description.clone(),
        aux_file: String::new(),
        dim_info: 0,
        slice_code: 0,
        slice_start: 0,
        slice_end: 0,
        slice_duration: 0.0,
        toffset: 0.0,
    };
    restore(&mut header, &meta.facts);
    Ok(header)
}

/// Writes header, extensions and voxels.
fn store(
    path: &Path,
    lower_name: &str,
    mut header: Header,
    extensions: &[(i32, Vec<u8>)],
    voxels: &[&[u8]],
    task: &Task,
) -> Result<()> {
    let mut extension_bytes = vec![u8::from(!extensions.is_empty()), 0, 0, 0];
    for (code, content) in extensions {
        // Sizes are multiples of 16 (nifti1.h, "HEADER EXTENSIONS"); what was read so is kept byte for byte.
        let size = (content.len() + 8).next_multiple_of(16);
        let stated =
            i32::try_from(size).map_err(|_| Error::Argument("a header extension above 2 GiB".to_owned()))?;
        extension_bytes.extend(stated.to_ne_bytes());
        extension_bytes.extend(code.to_ne_bytes());
        extension_bytes.extend(content);
        extension_bytes.resize(extension_bytes.len() + size - 8 - content.len(), 0);
    }
    // NIfTI-1 states the offset in single precision.
    if header.version.header_len() + extension_bytes.len() > 1 << 24 {
        header.version = Version::Nifti2;
    }
    let offset = (header.version.header_len() + extension_bytes.len()).next_multiple_of(16);
    extension_bytes.resize(offset - header.version.header_len(), 0);
    header.vox_offset = offset as f64;
    let mut head = encode::encode(&header);
    head.extend(extension_bytes);

    let mut parts = vec![head.as_slice()];
    parts.extend(voxels);
    let mut file = File::create(path).map_err(Error::io(path, "write"))?;
    if lower_name.ends_with(".gz") {
        return crate::deflate::gzip(path, &mut file, &parts, task);
    }
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let mut done = 0;
    for piece in parts.iter().flat_map(|p| p.chunks(16 << 20)) {
        task.at("Writing", done as f32 / total as f32)?;
        file.write_all(piece).map_err(Error::io(path, "write"))?;
        done += piece.len();
    }
    Ok(())
}

/// Header fields without a place of their own in [`Meta`], as facts; those that say nothing are left out.
pub fn facts(h: &Header) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut keep = |key: &str, value: &dyn Display, is_set: bool| {
        if is_set {
            facts.insert(key.to_owned(), value.to_string());
        }
    };
    keep("nifti-dim-info", &h.dim_info, h.dim_info != 0);
    keep("nifti-slice-code", &h.slice_code, h.slice_code != 0);
    keep("nifti-slice-start", &h.slice_start, h.slice_start != 0);
    keep("nifti-slice-end", &h.slice_end, h.slice_end != 0);
    let is_real = |v: f64| v.is_finite() && v != 0.0;
    keep("nifti-slice-duration", &h.slice_duration, is_real(h.slice_duration));
    keep("nifti-toffset", &h.toffset, is_real(h.toffset));
    for (n, p) in h.intent_p.iter().enumerate() {
        keep(&format!("nifti-intent-p{}", n + 1), p, is_real(*p));
    }
    keep("nifti-aux-file", &h.aux_file, !h.aux_file.is_empty());
    facts
}

/// The way back from [`facts`].
fn restore(h: &mut Header, facts: &BTreeMap<String, String>) {
    fn get<T: FromStr>(facts: &BTreeMap<String, String>, key: &str, to: &mut T) {
        if let Some(v) = facts.get(key).and_then(|v| v.parse().ok()) {
            *to = v;
        }
    }
    get(facts, "nifti-dim-info", &mut h.dim_info);
    get(facts, "nifti-slice-code", &mut h.slice_code);
    get(facts, "nifti-slice-start", &mut h.slice_start);
    get(facts, "nifti-slice-end", &mut h.slice_end);
    get(facts, "nifti-slice-duration", &mut h.slice_duration);
    get(facts, "nifti-toffset", &mut h.toffset);
    for (n, p) in h.intent_p.iter_mut().enumerate() {
        get(facts, &format!("nifti-intent-p{}", n + 1), p);
    }
    get(facts, "nifti-aux-file", &mut h.aux_file);
}
