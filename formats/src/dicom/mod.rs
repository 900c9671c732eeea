//! DICOM: files and folders of instances become volumes with the right geometry, and results go back as DICOM.
//!
//! Only this module knows tags, transfer syntaxes and LPS coordinates. Start reading at [`read`] (one file up to
//! its pixel data), then [`pixels`] (its samples), then [`origin`] (how a volume remembers which instances it was
//! made of). Results: [`seg`] (segmentations) and [`rtstruct`] (contours).

mod attributes;
pub mod codes;
pub mod colour;
pub mod dataset;
mod modules;
pub mod origin;
mod overlap;
pub mod pixels;
mod place;
pub mod read;
pub mod rtstruct;
pub mod seg;
mod value;

pub use dataset::{Encoding, PixelElement};
pub use origin::{Origin, SliceRef};
pub use pixels::{Instance, PixelLayout, SampleType};
pub use read::{Header, is_dicom, read_header};
