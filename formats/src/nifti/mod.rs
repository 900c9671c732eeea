//! NIfTI-1 and NIfTI-2 in one file or as a pair, gzipped or not, in either byte order; Analyze 7.5 with a warning.
//!
//! # Why not the crate `nifti` alone
//! It parses the NIfTI-1 header and its type codes here, after validation. It stops at NIfTI-2 and at Analyze,
//! chooses gzip by file name, allocates what the header asks for, drops the scaling on writing, and panics on odd
//! qforms; so sniffing, limits, inflating, voxels, geometry and writing are ours.
//!
//! Start at `read.rs`; geometry is in `affine.rs`, names and colours of labels in `caret.rs`.

mod affine;
mod caret;
mod encode;
mod header;
mod pair;
mod preview;
mod read;
mod write;

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Result;
use crate::registry::{Content, Format};
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;
use crate::voxels::Voxels;

/// The format; see the [module documentation](self).
pub struct Nifti;

impl Format for Nifti {
    fn id(&self) -> &'static str {
        "nifti"
    }

    fn name(&self) -> &'static str {
        "NIfTI"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["nii.gz", "nii", "hdr", "img", "hdr.gz", "img.gz"]
    }

    fn sniff(&self, source: &Source) -> bool {
        header::looks_like_header(&source.head) || pair::header_beside(&source.path).is_some()
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        read::read(source, task)
    }

    fn preview(&self, source: &Source, task: &Task) -> Result<Option<Image>> {
        preview::preview(source, task)
    }

    fn can_write(&self, content: Content<'_>) -> bool {
        match content {
            Content::Labels(_) => true,
            Content::Image(image) => {
                image.frames.iter().all(|f| !matches!(f.voxels, Voxels::Rgb16(_) | Voxels::Rgba16(_)))
            }
        }
    }

    fn write(&self, content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
        write::write(content, path, name, task)
    }
}
