//! NRRD ("nearly raw raster data"), attached (`.nrrd`) and detached (`.nhdr`), raw, gzip, bzip2, text and hex.
//!
//! The definition is teem's: <https://teem.sourceforge.net/nrrd/format.html>. Slicer's conventions for
//! segmentations (`.seg.nrrd`) and vector images are understood. World coordinates are turned to RAS+ on reading
//! and written as LPS, exactly (a change of sign). Spaces that say nothing about the patient (`scanner-xyz`,
//! `3D-right-handed`, none at all) are taken as LPS, as ITK does, with a notice.
//!
//! # Why not the crate `nrrd`
//! There is none that reads bzip2, detached lists, per-axis kinds and spaces with limits on what is allocated.
//!
//! Start at [`read`]; the header is in [`header`], axes and placement in [`geometry`], label names in [`segments`].

mod geometry;
mod header;
mod read;
mod segments;
mod write;

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Result;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;

/// The format; see the [module documentation](self).
pub struct Nrrd;

impl Format for Nrrd {
    fn id(&self) -> &'static str {
        "nrrd"
    }

    fn name(&self) -> &'static str {
        "NRRD"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["nrrd", "seg.nrrd", "nhdr"]
    }

    fn sniff(&self, source: &Source) -> bool {
        source.raw_head.starts_with(b"NRRD000")
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        read::read(source, task)
    }

    fn can_write(&self, content: Content<'_>) -> bool {
        let _ = content;
        true
    }

    fn write(&self, content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
        write::write(content, path, name, task)
    }
}
