//! Pixels without what must not be seen: marked pixels of an image and of its overlays are overwritten.
//!
//! What is where:
//!
//! | pixel data | what happens | the rest |
//! |---|---|---|
//! | plain, deflated too | marked samples are overwritten in place | bit for bit the same |
//! | RLE | frames with marks are unpacked, overwritten and packed again | bit for bit the same |
//! | JPEG, JPEG-LS, JPEG 2000 | decoded, overwritten, stored plain | the same values as decoded: nothing is compressed with loss again |
//!
//! Nothing is touched where nothing is marked: the pixel data of such a file are copied as they are. Nothing here finds text.

mod attributes;
mod fill;
mod plain;
mod rle;

use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;

pub use fill::Fill;

use super::pixels::syntax::{self, Codec};
use super::pixels::{Instance, Overlay};
use super::rewrite::{self, NewPixels};
use crate::error::{Error, Result};

/// Marked pixels `[rows, columns]` of a frame.
pub type Mask = Arc<Array2<bool>>;

/// What is to be overwritten in an image.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// For each frame its marked pixels, if any.
    pub frames: Vec<Option<Mask>>,
    /// Marked pixels of overlays, in the image's rows and columns: the overlay's group, the image frame, the marks.
    pub overlays: Vec<(u16, usize, Mask)>,
    /// What marked pixels become.
    pub fill: Fill,
    /// Whether the instance keeps its UID: for a caller that replaces it, everywhere by the same.
    pub keeps_uid: bool,
}

/// How the pixels of a redacted file are stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stored {
    /// Name of the transfer syntax.
    pub transfer_syntax: String,
    /// Whether it is the one of the source.
    pub is_kept: bool,
    /// What changed besides the marked pixels, in a sentence; none when nothing did.
    pub remark: Option<String>,
}

impl Redaction {
    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let marked = |m: &Mask| m.iter().any(|&v| v);
        !self.frames.iter().flatten().any(marked) && !self.overlays.iter().any(|(_, _, m)| marked(m))
    }
}

/// Writes `instance` into the file `output` with what is marked overwritten, and with the attributes that say so: Burned In
/// Annotation (0028,0301) NO, the method of PS3.15 (code 113101, *Clean Pixel Data Option*), a new SOP Instance UID where pixels
/// changed, and no icon image, which could show the text.
///
/// The caller looks at the written file again before it is used: only then are these attributes true.
///
/// # Errors
/// [`Error::Malformed`] for a data set that could be read in part only; [`Error::Argument`] for marks of another size than the image;
/// those of decoding and writing.
pub fn write(instance: &Instance, redaction: &Redaction, output: &Path) -> Result<Stored> {
    let header = instance.header();
    rewrite::refuse_doubtful(header)?;
    check_sizes(instance, redaction)?;
    let mut object = dicom_object::InMemDicomObject::clone(&header.object);
    let name = |uid: &str| syntax::name(uid);
    let kept = |remark| Stored { transfer_syntax: name(&header.transfer_syntax_uid), is_kept: true, remark };
    let overlays = instance.overlays()?;
    let embedded = embedded_marks(instance, redaction, &overlays);
    let has_marks = redaction.frames.iter().flatten().any(|m| m.iter().any(|&v| v)) || !embedded.is_empty();
    let is_changed = !redaction.is_empty();
    let (pixels, stored) = if !has_marks {
        (NewPixels::Copied, kept(None))
    } else {
        match syntax::codec(&header.transfer_syntax_uid) {
            Codec::Native if header.pixels.is_some_and(|p| p.len.is_some()) => {
                let (bytes, remark) = plain::overwritten(instance, redaction, &embedded)?;
                (NewPixels::Plain(bytes), kept(remark))
            }
            Codec::Rle => (NewPixels::Frames(rle::overwritten(instance, redaction, &embedded)?), kept(None)),
            _ => {
                let (bytes, vr) = plain::unpacked(instance, redaction)?;
                attributes::of_unpacked(&mut object, instance.layout());
                let stored = Stored {
                    transfer_syntax: name(dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN),
                    is_kept: false,
                    remark: Some(format!(
                        "stored plain instead of as {}: all other pixels have the values they were decoded to",
                        name(&header.transfer_syntax_uid)
                    )),
                };
                (NewPixels::Unpacked { bytes, vr }, stored)
            }
        }
    };
    for overlay in &overlays {
        attributes::clear_overlay(&mut object, overlay, redaction);
    }
    attributes::mark_clean(&mut object, header, is_changed, redaction.keeps_uid);
    rewrite::write(header, object, &pixels, output)?;
    Ok(stored)
}

fn check_sizes(instance: &Instance, redaction: &Redaction) -> Result<()> {
    let layout = instance.layout();
    let wanted = (layout.rows, layout.columns);
    let masks = redaction.frames.iter().flatten().chain(redaction.overlays.iter().map(|(_, _, m)| m));
    let wrong = masks.map(|m| m.dim()).find(|dim| *dim != wanted);
    if wrong.is_none() && redaction.frames.len() <= layout.frames {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "{}: marks of {} frames and {:?} pixels, where the image has {} of {wanted:?}",
        header_path(instance),
        redaction.frames.len(),
        wrong.unwrap_or(wanted),
        layout.frames
    )))
}

fn header_path(instance: &Instance) -> String {
    instance.header().path.display().to_string()
}

/// Marks of overlays that lie in unused bits of the pixels: bit, frame, marks.
fn embedded_marks(
    instance: &Instance,
    redaction: &Redaction,
    overlays: &[Overlay],
) -> Vec<(u32, usize, Mask)> {
    let bit = |group: u16| overlays.iter().find(|o| o.group == group).and_then(Overlay::bit_in_pixels);
    let marks = redaction.overlays.iter().filter(|(_, n, _)| *n < instance.layout().frames);
    marks.filter_map(|(group, n, mask)| Some((bit(*group)?, *n, Arc::clone(mask)))).collect()
}
