//! TIFF out: any scalar or colour type, slices as pages, deflate; sizes and axes as OME-XML where there is more than
//! a plain picture. Position and orientation have no place in TIFF and are lost.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use ::tiff::encoder::colortype::{
    self, Gray8, Gray16, Gray32, Gray32Float, Gray64, Gray64Float, GrayI8, GrayI16, GrayI32, GrayI64, RGB8,
    RGB16, RGBA8, RGBA16,
};
use ::tiff::encoder::{Compression, TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use ::tiff::tags::Tag;

use super::description;
use crate::block;
use crate::error::{Error, Result};
use crate::registry::Content;
use crate::task::Task;
use crate::voxels::Voxels;

/// Files that may exceed this get 64-bit offsets (BigTIFF).
const CLASSIC_BYTES: usize = 3 << 30;

/// Writes pages in the order slices, channels, time.
pub fn write(content: Content<'_>, path: &Path, task: &Task) -> Result<()> {
    let (frames, spacing, axes) = match content {
        Content::Labels(map) => (vec![block::smallest(&map.labels)], map.grid.spacing_mm(), Vec::new()),
        Content::Image(image) => {
            (block::unscaled(image)?, image.first().grid.spacing_mm(), block::frame_axes(image))
        }
    };
    let first = frames.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    let [nz, ny, nx] = first.shape_kji();
    // Time is slowest in OME; whatever else there is counts as channels.
    let time = axes.last().filter(|a| a.name == "time");
    let nt = time.map_or(1, |a| a.len);
    let nc = frames.len() / nt.max(1);
    let step = time.map_or(0.0, |a| a.step);
    let samples = match first {
        Voxels::Rgb8(_) | Voxels::Rgb16(_) => 3,
        Voxels::Rgba8(_) | Voxels::Rgba16(_) => 4,
        _ => 1,
    };
    let is_plain = nz == 1 && frames.len() == 1 && spacing == [1.0; 3];
    let text = match ome_type(first) {
        Some(kind) if !is_plain => {
            // ASCII only: TIFF text has no other code page.
            description::write_ome([nx, ny, nz, nc, nt], samples, kind, spacing, step)
        }
        _ => String::new(),
    };
    let file = File::create(path).map_err(Error::io(path, "write"))?;
    let out = BufWriter::new(file);
    let bytes: usize = frames.iter().map(Voxels::byte_len).sum();
    if bytes > CLASSIC_BYTES {
        let encoder = TiffEncoder::new_big(out).map_err(failed(path))?;
        pages::<_, TiffKindBig>(path, encoder, &frames, &text, task)
    } else {
        let encoder = TiffEncoder::new(out).map_err(failed(path))?;
        pages::<_, TiffKindStandard>(path, encoder, &frames, &text, task)
    }
}

fn failed(path: &Path) -> impl Fn(::tiff::TiffError) -> Error {
    move |e| Error::Io { path: path.to_owned(), action: "write", source: std::io::Error::other(e) }
}

/// OME's names; it has no 64-bit integers.
fn ome_type(voxels: &Voxels) -> Option<&'static str> {
    Some(match voxels {
        Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_) => "uint8",
        Voxels::I8(_) => "int8",
        Voxels::U16(_) | Voxels::Rgb16(_) | Voxels::Rgba16(_) => "uint16",
        Voxels::I16(_) => "int16",
        Voxels::U32(_) => "uint32",
        Voxels::I32(_) => "int32",
        Voxels::F32(_) => "float",
        Voxels::F64(_) => "double",
        _ => return None,
    })
}

fn pages<W: std::io::Write + std::io::Seek, K: TiffKind>(
    path: &Path,
    encoder: TiffEncoder<W, K>,
    frames: &[Voxels],
    text: &str,
    task: &Task,
) -> Result<()> {
    let mut encoder = encoder.with_compression(Compression::Deflate(Default::default()));
    let mut text = Some(text).filter(|t| !t.is_empty());
    for (n, frame) in frames.iter().enumerate() {
        let [nz, ny, nx] = frame.shape_kji();
        let size = u32::try_from(nx).ok().zip(u32::try_from(ny).ok());
        let (w, h) = size.ok_or_else(|| Error::Argument("a slice too large for TIFF".to_owned()))?;
        let slice_len = nx * ny;
        for z in 0..nz {
            task.at("Writing", (n * nz + z) as f32 / (frames.len() * nz) as f32)?;
            macro_rules! page {
                ($a:expr, $colour:ty) => {{
                    let all = $a
                        .as_slice()
                        .ok_or_else(|| Error::Argument("voxels not in standard layout".into()))?;
                    let slice = bytemuck::cast_slice(&all[z * slice_len..(z + 1) * slice_len]);
                    one::<W, K, $colour>(path, &mut encoder, w, h, slice, text.take())?
                }};
            }
            match frame {
                Voxels::U8(a) => page!(a, Gray8),
                Voxels::I8(a) => page!(a, GrayI8),
                Voxels::U16(a) => page!(a, Gray16),
                Voxels::I16(a) => page!(a, GrayI16),
                Voxels::U32(a) => page!(a, Gray32),
                Voxels::I32(a) => page!(a, GrayI32),
                Voxels::U64(a) => page!(a, Gray64),
                Voxels::I64(a) => page!(a, GrayI64),
                Voxels::F32(a) => page!(a, Gray32Float),
                Voxels::F64(a) => page!(a, Gray64Float),
                Voxels::Rgb8(a) => page!(a, RGB8),
                Voxels::Rgba8(a) => page!(a, RGBA8),
                Voxels::Rgb16(a) => page!(a, RGB16),
                Voxels::Rgba16(a) => page!(a, RGBA16),
                Voxels::Complex32(_) | Voxels::Complex64(_) => {
                    return Err(Error::unsupported(
                        path,
                        "writing complex numbers to TIFF",
                        "scalars and colours",
                        "Choose .nii.gz or .nrrd",
                    ));
                }
            }
        }
    }
    Ok(())
}

fn one<W: std::io::Write + std::io::Seek, K: TiffKind, C: colortype::ColorType>(
    path: &Path,
    encoder: &mut TiffEncoder<W, K>,
    w: u32,
    h: u32,
    pixels: &[C::Inner],
    text: Option<&str>,
) -> Result<()>
where
    [C::Inner]: TiffValue,
{
    let mut image = encoder.new_image::<C>(w, h).map_err(failed(path))?;
    if let Some(text) = text {
        image.encoder().write_tag(Tag::ImageDescription, text).map_err(failed(path))?;
    }
    image.write_data(pixels).map_err(failed(path))
}
