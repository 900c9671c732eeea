//! One DICOM file as an image: what [`crate::open`] gives.

use std::sync::Arc;

use super::load::load;
use super::read::{is_dicom, read_header};
use super::record::Record;
use super::series::stacks;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::registry::Format;
use crate::source::Source;
use crate::task::Task;
use crate::volume::Image;

/// Single DICOM files. Folders, archives and series go through [`super::scan()`] and [`super::load()`].
#[derive(Debug)]
pub struct Dicom;

impl Format for Dicom {
    fn id(&self) -> &'static str {
        "dicom"
    }

    fn name(&self) -> &'static str {
        "DICOM"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["dcm", "dicom", "ima"]
    }

    fn sniff(&self, source: &Source) -> bool {
        is_dicom(&source.raw_head)
    }

    fn read(&self, source: &Source, task: &Task) -> Result<Image> {
        let header = read_header(&source.path)?;
        let record = Record::new(&header, source.path.clone(), None, source.len);
        if !record.is_image() {
            let what = if record.modality.is_empty() { "DICOM" } else { &record.modality };
            return Err(Error::unsupported(
                &source.path,
                format!("a {what} object (SOP class {}) opened as an image", record.sop_class_uid),
                "DICOM images",
                "Open the images it refers to",
            ));
        }
        let stacks = stacks(&[Arc::new(record)]);
        let Some(first) = stacks.first() else {
            return Err(Error::malformed(&source.path, "an image without frames", "at least one"));
        };
        let mut image = load(first, task)?;
        if stacks.len() > 1 {
            let others: Vec<&str> = stacks.iter().skip(1).map(|s| s.label.as_str()).collect();
            image.notices.push(Notice::warning(
                "dicom-several-stacks",
                format!(
                    "the file holds {} stacks; this is {}, others are {}",
                    stacks.len(),
                    first.label,
                    others.join("; ")
                ),
            ));
        }
        Ok(image)
    }
}
