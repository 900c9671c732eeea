//! The list of file formats, in the order of trying.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::labels::LabelMap;
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;

/// What is written to a file.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Values with their scaling.
    Image(&'a Image),
    /// A segmentation, stored as the smallest integer type that holds its numbers.
    Labels(&'a LabelMap),
}

/// Images of fewer bytes of voxels are there so soon that nobody needs a slice of them before.
pub const PREVIEW_BYTES: u64 = 64 << 20;

/// One file format: how to know it, read it and write it. One implementation per file of this crate.
pub trait Format: Sync {
    /// Stable identifier, e.g. `"nifti"`.
    fn id(&self) -> &'static str;

    /// Name for people.
    fn name(&self) -> &'static str;

    /// File name endings without the leading dot, lower case, preferred one first (`"nii.gz"`).
    fn extensions(&self) -> &'static [&'static str];

    /// Whether the content looks like this format. Names are not consulted: they lie.
    fn sniff(&self, source: &Source) -> bool;

    /// Reads everything the file holds.
    ///
    /// # Errors
    /// See [`Error`]; never panics on any content and allocates at most 64 MiB + 4 × the bytes present.
    fn read(&self, source: &Source, task: &Task) -> Result<Image>;

    /// One slice of the image, in its true place, for people to look at while the rest is read; none where reading the
    /// whole is as quick (less than [`PREVIEW_BYTES`] of voxels) or where this format has no way to one slice.
    ///
    /// The slice is a volume with one voxel along the axis it was cut from, with the scaling of the whole. What is
    /// wrong with a file is told by [`Format::read`], which runs at the same time: in doubt, none.
    ///
    /// # Errors
    /// Those of [`Format::read`], within the same bounds.
    fn preview(&self, source: &Source, task: &Task) -> Result<Option<Image>> {
        let _ = (source, task);
        Ok(None)
    }

    /// Whether [`Format::write`] works for such content.
    fn can_write(&self, content: Content<'_>) -> bool {
        let _ = content;
        false
    }

    /// Writes to `path`, which is a temporary name: the caller renames. `name` is the final file name,
    /// whose ending may choose the encoding (`.nii` or `.nii.gz`).
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the format is read-only or cannot hold the content.
    fn write(&self, content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
        let _ = (content, name, task);
        Err(Error::unsupported(
            path,
            format!("writing {}", self.name()),
            "NIfTI, NRRD, MetaImage",
            "Choose another file ending",
        ))
    }
}

/// All formats, in the order of trying and of listing.
pub static FORMATS: &[&dyn Format] = &[
    &crate::nifti::Nifti,
    &crate::dicom::Dicom,
    &crate::nrrd::Nrrd,
    &crate::mgh::Mgh,
    &crate::metaimage::MetaImage,
    &crate::raster::Png,
    &crate::raster::Jpeg,
    &crate::raster::Tiff,
    &crate::raster::Bmp,
    &crate::raster::Gif,
];

/// Opens whatever the file is: the first format whose sniffing accepts the content reads it.
///
/// # Errors
/// [`Error::Unsupported`] when no format recognises the content; otherwise the reader's error.
pub fn open(path: &Path, task: &Task) -> Result<Image> {
    let source = Source::open(path)?;
    task.check()?;
    match FORMATS.iter().find(|f| f.sniff(&source)) {
        Some(format) => format.read(&source, task),
        None => Err(Error::unsupported(
            path,
            format!("content beginning with {}", source.describe_head()),
            FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", "),
            "Check that this is an image file",
        )),
    }
}

/// One slice of a large image, see [`Format::preview`]; none for content that no format recognises.
///
/// # Errors
/// Those of the reader.
pub fn preview(path: &Path, task: &Task) -> Result<Option<Image>> {
    let source = Source::open(path)?;
    task.check()?;
    match FORMATS.iter().find(|f| f.sniff(&source)) {
        Some(format) => format.preview(&source, task),
        None => Ok(None),
    }
}

/// The format whose ending the file name has (longest match, any case).
#[must_use]
pub fn format_for_name(name: &OsStr) -> Option<&'static dyn Format> {
    let name = name.to_string_lossy().to_lowercase();
    let ending = |f: &&&dyn Format| {
        f.extensions().iter().filter(|e| name.ends_with(&format!(".{e}"))).map(|e| e.len()).max()
    };
    FORMATS.iter().filter(|f| ending(f).is_some()).max_by_key(|f| ending(f)).copied()
}

/// Writes to a temporary name in the same folder, then renames, so that no half file is ever seen.
///
/// # Errors
/// [`Error::Unsupported`] for an unknown ending or content the format cannot hold; [`Error::Io`].
pub fn save(content: Content<'_>, path: &Path, task: &Task) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    let writable = || FORMATS.iter().filter(|f| f.can_write(content));
    let format = format_for_name(name).filter(|f| f.can_write(content)).ok_or_else(|| {
        let endings: Vec<String> = writable().flat_map(|f| f.extensions()).map(|e| format!(".{e}")).collect();
        Error::unsupported(
            path,
            "writing this content under this file ending",
            endings.join(", "),
            "Choose one of these endings",
        )
    })?;
    crate::atomic::write(path, |temporary| format.write(content, temporary, name, task))
}

/// A file name without the ending of any known format (`"a.nii.gz"` → `"a"`).
#[must_use]
pub fn stem(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let ending = FORMATS
        .iter()
        .flat_map(|f| f.extensions())
        .filter(|e| lower.ends_with(&format!(".{e}")))
        .map(|e| e.len())
        .max();
    PathBuf::from(ending.map_or(name.clone(), |n| name[..name.len() - n - 1].to_owned()))
}
