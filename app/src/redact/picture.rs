//! Pictures: looked at, and blanked.
//!
//! A picture without regions is copied byte for byte. One with regions is written anew: PNG and TIFF in their own format, lossless; JPEG, BMP and
//! GIF as PNG, so that all other pixels keep the values they were decoded to. Texts in the file (EXIF, XMP and others) are never written
//! anew; without regions they go when that is asked for.

use std::path::Path;

use formats::dicom::redact::Fill;
use formats::raster::{Bmp, Gif, Jpeg, Png, Tiff};
use formats::registry::Format;
use formats::source::Source;
use formats::{Content, Image, Task, Voxels};
use models::mayor::Slices;
use ndarray::Array2;

use super::region::{self, Region, Target};
use super::search::Finder;
use super::{Blanked, Looked, Redact};

/// The formats of pictures.
pub static FORMATS: &[&dyn Format] = &[&Png, &Jpeg, &Tiff, &Bmp, &Gif];
/// Formats that are written as they are read.
const KEPT: [&str; 2] = ["png", "tiff"];

fn open(file: &Path, task: &Task) -> anyhow::Result<Image> {
    let image = formats::open(file, task)?;
    if image.frames.len() == 1 && image.first().grid.size_ijk[2] == 1 {
        return Ok(image);
    }
    Err(formats::Error::unsupported(
        file,
        format!("a file of {} pages", image.frames.len().max(image.first().grid.size_ijk[2])),
        "pictures of one page",
        "Save the pages as pictures of their own",
    )
    .into())
}

pub(super) fn look(
    file: &Path,
    finder: &mut Finder,
    blanked: &[Region],
    task: &Task,
) -> anyhow::Result<Looked> {
    let image = open(file, task)?;
    let volume = image.first();
    let [columns, rows, _] = volume.grid.size_ijk;
    task.at("Looking for text", 0.1)?;
    let mut pictures = Slices::new(volume).at(0);
    if !blanked.is_empty() {
        let mask = region::blanked(blanked, 0, Target::Pixels, [rows, columns]);
        super::check_constant(file, &pictures, &mask)?;
        pictures.iter_mut().for_each(|p| region::smooth_over(p, &mask));
    }
    let lines = finder.lines(&pictures, task)?;
    let regions = lines.iter().map(|l| Region::found(l, Target::Pixels, None, finder.pack())).collect();
    Ok(Looked { regions, size: [1, columns, rows], notices: image.notices.clone() })
}

fn is_kept(file: &Path) -> bool {
    Source::open(file).is_ok_and(|source| FORMATS.iter().any(|f| KEPT.contains(&f.id()) && f.sniff(&source)))
}

/// The ending of the output, where it is not that of the file: pictures that are decoded, and cannot be written in their own format
/// without loss.
pub(super) fn other_ending(file: &Path, regions: &[Region], strips: bool) -> Option<&'static str> {
    let is_decoded = || {
        regions.iter().any(Region::is_approved) || strips && stripped(file).is_ok_and(|plain| plain.is_none())
    };
    (!is_kept(file) && is_decoded()).then_some("png")
}

/// A JPEG file without texts; none for other files.
fn stripped(file: &Path) -> formats::Result<Option<Vec<u8>>> {
    let bytes = std::fs::read(file).map_err(formats::Error::io(file, "read"))?;
    Ok(without_texts(&bytes))
}

pub(super) fn blank(
    file: &Path,
    regions: &[Region],
    request: &Redact,
    output: &Path,
) -> anyhow::Result<Blanked> {
    let task = Task::silent();
    let is_changed = regions.iter().any(Region::is_approved);
    let source = Source::open(file)?;
    let format = FORMATS.iter().find(|f| f.sniff(&source)).map_or("", |f| f.name());
    drop(source);
    if !is_changed && !request.strip_metadata {
        std::fs::copy(file, output).map_err(formats::Error::io(file, "copy"))?;
        return Ok(Blanked { stored: format.to_owned(), pixels: 0, remark: None });
    }
    if !is_changed
        && !is_kept(file)
        && let Some(plain) = stripped(file)?
    {
        std::fs::write(output, plain).map_err(formats::Error::io(output, "write"))?;
        return Ok(Blanked { stored: format.to_owned(), pixels: 0, remark: None });
    }
    let mut image = open(file, &task)?;
    let volume = &mut image.frames[0];
    let [columns, rows, _] = volume.grid.size_ijk;
    let mut mask = Array2::from_elem((rows, columns), false);
    regions.iter().filter(|r| r.is_approved()).for_each(|r| r.mark(&mut mask));
    overwrite(&mut volume.voxels, &mask, request.fill);
    volume.meta.description.clear();
    let name = output.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    let is_tiff = Path::new(&name)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tif") || e.eq_ignore_ascii_case("tiff"));
    let written: &dyn Format = if is_tiff { &Tiff } else { &Png };
    if !written.can_write(Content::Image(&image)) {
        return Err(formats::Error::unsupported(
            file,
            format!("pixels of type {}", image.first().voxels.type_name()),
            format!("what {} holds", written.name()),
            "Convert the picture to PNG or TIFF",
        )
        .into());
    }
    written.write(Content::Image(&image), output, &name, &task)?;
    let remark = (!is_kept(file)).then(|| {
        format!(
            "written as {} instead of {format}: all other pixels have the values they were decoded to",
            written.name()
        )
    });
    let pixels = mask.iter().filter(|&&v| v).count() as u64;
    Ok(Blanked { stored: written.name().to_owned(), pixels, remark })
}

/// Sets marked pixels: black (alpha stays), or what occurs most often.
fn overwrite(voxels: &mut Voxels, mask: &Array2<bool>, fill: Fill) {
    fn set<T: Copy + PartialEq>(
        a: &mut formats::voxels::Shared<T>,
        mask: &Array2<bool>,
        value: impl Fn(T) -> T,
    ) {
        let mut plane = a.index_axis_mut(ndarray::Axis(0), 0);
        plane.zip_mut_with(mask, |v, &marked| {
            if marked {
                *v = value(*v);
            }
        });
    }
    fn most<T: Copy + std::hash::Hash + Eq>(a: &formats::voxels::Shared<T>) -> Option<T> {
        let mut counts = std::collections::HashMap::new();
        a.iter().for_each(|v| *counts.entry(*v).or_insert(0usize) += 1);
        counts.into_iter().max_by_key(|(_, n)| *n).map(|(v, _)| v)
    }
    macro_rules! integers {
        ($a:expr, $black:expr) => {{
            let common = (fill == Fill::Background).then(|| most($a)).flatten();
            let black = $black;
            set($a, mask, |v| common.unwrap_or_else(|| black(v)));
        }};
    }
    match voxels {
        Voxels::U8(a) => integers!(a, |_| 0),
        Voxels::I8(a) => integers!(a, |_| i8::MIN),
        Voxels::U16(a) => integers!(a, |_| 0),
        Voxels::I16(a) => integers!(a, |_| i16::MIN),
        Voxels::U32(a) => integers!(a, |_| 0),
        Voxels::I32(a) => integers!(a, |_| i32::MIN),
        Voxels::U64(a) => integers!(a, |_| 0),
        Voxels::I64(a) => integers!(a, |_| i64::MIN),
        Voxels::F32(a) => {
            let low = a.iter().copied().filter(|v| v.is_finite()).fold(f32::INFINITY, f32::min);
            set(a, mask, |_| if low.is_finite() { low } else { 0.0 });
        }
        Voxels::F64(a) => {
            let low = a.iter().copied().filter(|v| v.is_finite()).fold(f64::INFINITY, f64::min);
            set(a, mask, |_| if low.is_finite() { low } else { 0.0 });
        }
        Voxels::Rgb8(a) => integers!(a, |_| [0; 3]),
        Voxels::Rgb16(a) => integers!(a, |_| [0; 3]),
        Voxels::Rgba8(a) => integers!(a, |v: [u8; 4]| [0, 0, 0, v[3]]),
        Voxels::Rgba16(a) => integers!(a, |v: [u16; 4]| [0, 0, 0, v[3]]),
        Voxels::Complex32(a) => set(a, mask, |_| [0.0; 2]),
        Voxels::Complex64(a) => set(a, mask, |_| [0.0; 2]),
    }
}

/// A JPEG file without application segments but JFIF and Adobe's (which tells the colours), and without comments; the picture's own bytes stay.
/// None for what is no JPEG file.
fn without_texts(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.get(..2).filter(|b| *b == [0xff, 0xd8])?.to_vec();
    let mut at = 2;
    loop {
        let &[0xff, marker, high, low] = bytes.get(at..at + 4)? else { return None };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xda {
            out.extend_from_slice(bytes.get(at..)?);
            return Some(out);
        }
        let segment = bytes.get(at..end)?;
        let is_text = matches!(marker, 0xe1..=0xed | 0xef | 0xfe);
        if !is_text {
            out.extend_from_slice(segment);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_leave_a_jpeg_file_and_the_picture_stays() {
        let mut file = vec![0xff, 0xd8];
        for (marker, body) in
            [(0xe0, &b"JFIF\0"[..]), (0xe1, b"Exif name"), (0xfe, b"comment"), (0xdb, b"tables")]
        {
            file.extend([0xff, marker, 0, body.len() as u8 + 2]);
            file.extend(body);
        }
        file.extend([0xff, 0xda, 0, 2, 1, 2, 3, 0xff, 0xd9]);
        let plain = without_texts(&file).expect("a JPEG file");
        let has = |word: &[u8]| plain.windows(word.len()).any(|w| w == word);
        assert!(has(b"JFIF") && has(b"tables") && !has(b"Exif") && !has(b"comment"));
        assert!(plain.ends_with(&[1, 2, 3, 0xff, 0xd9]));
        assert!(without_texts(b"not one").is_none() && without_texts(&[0xff, 0xd8, 0xff]).is_none());
    }

    #[test]
    fn marked_pixels_are_overwritten_and_others_stay() {
        let pixels =
            ndarray::Array3::from_shape_fn((1, 4, 5), |(_, y, x)| [(y * 5 + x) as u8 + 1, 7, 9, 200]);
        let mut voxels = Voxels::Rgba8(pixels.clone().into_shared());
        let mask = Array2::from_shape_fn((4, 5), |(y, x)| y == 1 && x > 2);
        overwrite(&mut voxels, &mask, Fill::Black);
        let Voxels::Rgba8(after) = voxels else { panic!("the type stays") };
        for ((k, y, x), v) in after.indexed_iter() {
            let wanted = if mask[[y, x]] { [0, 0, 0, 200] } else { pixels[[k, y, x]] };
            assert_eq!(*v, wanted);
        }
    }
}
