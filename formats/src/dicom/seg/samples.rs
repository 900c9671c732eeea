//! The frames of a segmentation file. (Reads plain files only, until the decoder of all transfer syntaxes is there.)

use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::dicom::attributes::integer;
use crate::error::{Error, Result};

/// The data set of a file without its pixels.
pub(in crate::dicom) fn header_of(path: &Path) -> Result<(std::sync::Arc<InMemDicomObject>, Vec<crate::Notice>)> {
    let file = dicom_object::open_file(path).map_err(|e| Error::malformed(path, e.to_string(), "DICOM"))?;
    Ok((std::sync::Arc::new(file.into_inner()), Vec::new()))
}

/// A segmentation file opened.
pub(super) struct Stored {
    object: InMemDicomObject,
    bytes: Vec<u8>,
    columns: usize,
    rows: usize,
    frames: usize,
    bits: usize,
}

impl Stored {
    pub fn open(path: &Path) -> Result<(Self, Vec<crate::Notice>)> {
        let file = dicom_object::open_file(path).map_err(|e| Error::malformed(path, e.to_string(), "DICOM"))?;
        let mut object = file.into_inner();
        let bytes = object.take(tags::PIXEL_DATA).and_then(|e| e.to_bytes().ok().map(|b| b.into_owned()));
        let n = |t, d| integer(&object, t).and_then(|v| usize::try_from(v).ok()).unwrap_or(d);
        let (columns, rows) = (n(tags::COLUMNS, 0), n(tags::ROWS, 0));
        let (frames, bits) = (n(tags::NUMBER_OF_FRAMES, 1), n(tags::BITS_ALLOCATED, 1));
        Ok((Self { bytes: bytes.unwrap_or_default(), columns, rows, frames, bits, object }, Vec::new()))
    }

    pub fn object(&self) -> &InMemDicomObject {
        &self.object
    }
    pub fn columns(&self) -> usize {
        self.columns
    }
    pub fn rows(&self) -> usize {
        self.rows
    }
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The stored values of a frame.
    pub fn frame(&self, n: usize) -> Result<Vec<u16>> {
        let len = self.columns * self.rows;
        let value = |p: usize| {
            let at = n * len + p;
            match self.bits {
                1 => self.bytes.get(at / 8).map(|b| u16::from(b >> (at % 8) & 1)),
                8 => self.bytes.get(at).map(|&b| u16::from(b)),
                _ => self.bytes.get(2 * at..2 * at + 2).map(|b| u16::from_le_bytes([b[0], b[1]])),
            }
        };
        Ok((0..len).map(|p| value(p).unwrap_or(0)).collect())
    }
}
