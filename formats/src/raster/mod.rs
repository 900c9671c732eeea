//! Pictures: PNG, JPEG, BMP, GIF and TIFF.
//!
//! # The frame of a picture
//! A picture says nothing about a patient. Its pixels are 1 mm unless the file states a physical size (a resolution
//! in dots per inch is that of a screen or a printer and is kept as a fact only). `i` runs along +L (to the right on
//! a radiological display), `j` along +P (downwards), pages along +S: the frame of an axial DICOM slice in default
//! orientation, so that row 0 is at the top when shown. The first pixel is at the origin.
//!
//! # Fences round the decoders
//! Decoders are other people's code and files are anybody's. Sizes are read first and checked against what so many
//! bytes can hold in that encoding; large claims are tried piece by piece before memory is given for the whole;
//! the decoders get limits; and as a last fence a panic in one is caught and becomes an error about the file.

mod bmp;
mod description;
mod directory;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod tiff_write;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, Limits};
use bytemuck::Pod;
use ndarray::Array3;

pub use bmp::Bmp;
pub use gif::Gif;
pub use jpeg::Jpeg;
pub use png::Png;
pub use tiff::Tiff;

use crate::affine::Affine;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::notice::Notice;
use crate::registry::Content;
use crate::volume::{Element, FrameAxis, Image, Meta, Volume};
use crate::voxels::{Scaling, Voxels};

/// Decoded sizes up to this are believed of any file.
const TRUSTED_BYTES: u64 = 56 << 20;

/// A grid of pixels (and pages) with the given edge lengths; see the [module documentation](self).
#[must_use]
pub fn picture_grid(size_ijk: [usize; 3], spacing_mm: [f64; 3]) -> Grid {
    let [a, b, c] = spacing_mm;
    Grid { size_ijk, world_from_voxel: Affine::scale_shift([-a, -b, c], [0.0; 3]) }
}

/// Calls into a decoder; what it panics about becomes an error about the file.
fn fenced<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err(Error::malformed(path, "content that the decoder broke down over", "a sound picture"))
    })
}

/// A decoder's complaint as an error about the file.
fn complaint(path: &Path, format: &str) -> impl Fn(::image::ImageError) -> Error {
    move |e| match e {
        ::image::ImageError::Unsupported(e) => Error::unsupported(
            path,
            e.to_string(),
            format!("the usual kinds of {format}"),
            "Convert the picture to PNG",
        ),
        ::image::ImageError::Limits(e) => too_large(path, &e.to_string()),
        e => Error::malformed(path, e.to_string(), format!("a sound {format} picture")),
    }
}

fn too_large(path: &Path, claim: &str) -> Error {
    Error::OverLimit {
        path: path.to_owned(),
        needed: claim.to_owned(),
        limit: "so few bytes of file cannot hold that".to_owned(),
        remedy: "The file is damaged or made to exhaust memory; export it again".to_owned(),
    }
}

/// Refuses a decoded size that `present` bytes cannot hold at `ratio` to one.
fn check_claim(path: &Path, claim: u64, present: u64, ratio: u64) -> Result<()> {
    if claim <= TRUSTED_BYTES.saturating_add(present.saturating_mul(ratio)) {
        return Ok(());
    }
    Err(too_large(path, &format!("{claim} bytes of pixels out of {present} bytes of file")))
}

/// Limits for a decoder whose claim was checked: the pixels twice over and something for tables.
fn limits(claim: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(claim.saturating_mul(2).saturating_add(16 << 20));
    limits
}

/// Decodes through the crate `image` and turns the picture upright.
fn decode(path: &Path, mut decoder: impl ImageDecoder, format: &'static str) -> Result<Voxels> {
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    decoder.set_limits(limits(decoder.total_bytes())).map_err(complaint(path, format))?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(complaint(path, format))?;
    picture.apply_orientation(orientation);
    voxels(path, picture)
}

/// Pixels as voxels of one slice. Grey with alpha becomes colour with alpha.
fn voxels(path: &Path, picture: DynamicImage) -> Result<Voxels> {
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    Ok(match picture {
        DynamicImage::ImageLuma8(p) => wrap(p.into_raw(), w, h)?,
        DynamicImage::ImageLuma16(p) => wrap(p.into_raw(), w, h)?,
        DynamicImage::ImageRgb8(p) => wrap(pack::<u8, 3>(p.into_raw()), w, h)?,
        DynamicImage::ImageRgba8(p) => wrap(pack::<u8, 4>(p.into_raw()), w, h)?,
        DynamicImage::ImageRgb16(p) => wrap(pack::<u16, 3>(p.into_raw()), w, h)?,
        DynamicImage::ImageRgba16(p) => wrap(pack::<u16, 4>(p.into_raw()), w, h)?,
        DynamicImage::ImageLumaA8(p) => wrap(grey_alpha(p.as_raw()), w, h)?,
        DynamicImage::ImageLumaA16(p) => wrap(grey_alpha(p.as_raw()), w, h)?,
        other => {
            return Err(Error::unsupported(
                path,
                format!("pixels of type {:?}", other.color()),
                "8 and 16 bits per channel",
                "Convert the picture to PNG",
            ));
        }
    })
}

fn grey_alpha<T: Copy>(v: &[T]) -> Vec<[T; 4]> {
    let (pairs, _) = v.as_chunks::<2>();
    pairs.iter().map(|&[l, a]| [l, l, l, a]).collect()
}

/// `N` numbers become one; in place when the allocation allows it.
fn pack<T: Pod, const N: usize>(v: Vec<T>) -> Vec<[T; N]>
where
    [T; N]: Pod,
{
    bytemuck::allocation::try_cast_vec(v).unwrap_or_else(|(_, v)| v.as_chunks::<N>().0.to_vec())
}

/// A slice of `w` × `h` pixels.
fn wrap<T: Element>(pixels: Vec<T>, w: usize, h: usize) -> Result<Voxels> {
    let slice = Array3::from_shape_vec((1, h, w), pixels)
        .map_err(|e| Error::Argument(format!("pixels do not fit their picture: {e}")))?;
    Ok(T::wrap(slice.into_shared()))
}

/// A picture, or several of one size over time.
fn picture(
    path: &Path,
    format: &'static str,
    encoding: String,
    frames: Vec<Voxels>,
    mut notices: Vec<Notice>,
) -> Result<Image> {
    let first = frames.first().ok_or_else(|| Error::malformed(path, "no picture", "at least one"))?;
    let [_, h, w] = first.shape_kji();
    let grid = picture_grid([w, h, 1], [1.0; 3]);
    notices.push(Notice::info(
        "no-physical-size",
        "the picture does not say how large its pixels are; lengths are in pixels, shown as millimetres",
    ));
    let frame_axes = match frames.len() {
        1 => Vec::new(),
        len => vec![FrameAxis { name: "time".to_owned(), len, step: 0.0, unit: String::new() }],
    };
    let meta = Meta { path: Some(path.to_owned()), ..Meta::default() };
    let volume = |voxels| Volume { voxels, grid, scaling: Scaling::NONE, meta: meta.clone() };
    let frames = frames.into_iter().map(volume).collect();
    Ok(Image { frames, frame_axes, format, encoding, is_picture: true, notices })
}

/// The one slice of pixels to write, when there is only one.
fn only_slice(content: Content<'_>) -> Option<Voxels> {
    let voxels = match content {
        Content::Labels(map) => crate::block::smallest(&map.labels),
        Content::Image(image) if image.frames.len() == 1 => {
            crate::block::unscaled(image).ok()?.into_iter().next()?
        }
        Content::Image(_) => return None,
    };
    (voxels.shape_kji()[0] == 1).then_some(voxels)
}
