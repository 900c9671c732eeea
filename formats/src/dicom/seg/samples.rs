//! The frames of a segmentation file as whole numbers.

use std::path::Path;

use dicom_object::InMemDicomObject;

use crate::dicom::pixels::{Instance, Samples};
use crate::error::{Error, Result};
use crate::notice::Notice;

/// A segmentation file opened.
pub(super) struct Stored {
    instance: Instance,
}

impl Stored {
    /// Opens a file and checks that its pixels are there.
    pub fn open(path: &Path) -> Result<(Self, Vec<Notice>)> {
        let instance = Instance::open(path)?;
        let notices = instance.notices().to_vec();
        Ok((Self { instance }, notices))
    }

    /// The data set without its pixels.
    pub fn object(&self) -> &InMemDicomObject {
        &self.instance.header().object
    }

    pub fn columns(&self) -> usize {
        self.instance.layout().columns
    }

    pub fn rows(&self) -> usize {
        self.instance.layout().rows
    }

    pub fn frames(&self) -> usize {
        self.instance.layout().frames
    }

    /// The stored values of a frame.
    pub fn frame(&self, n: usize) -> Result<Vec<u16>> {
        match self.instance.frame(n)? {
            Samples::U8(v) if self.instance.layout().samples == 1 => {
                Ok(v.into_iter().map(u16::from).collect())
            }
            Samples::U16(v) if self.instance.layout().samples == 1 => Ok(v),
            _ => Err(Error::malformed(
                &self.instance.header().path,
                format!("{:?} pixels in a segmentation", self.instance.layout().sample_type),
                "one unsigned number of 1, 8 or 16 bits per pixel (PS3.3 C.8.20.2)",
            )),
        }
    }
}
