//! DICOM: files and folders of instances become volumes with the right geometry, and results go back as DICOM.
//!
//! Only this module knows tags, transfer syntaxes and LPS coordinates. Start reading at [`read`] (one file up to
//! its pixel data), then [`pixels`] (its samples), then [`origin`] (how a volume remembers which instances it was
//! made of). Results: [`seg`] (segmentations), [`rtstruct`] (contours), [`derived`] (image
//! series), [`capture`] (pictures).

mod attributes;
pub mod capture;
pub mod codes;
pub mod colour;
pub mod dataset;
pub mod derived;
mod modules;
pub mod origin;
mod overlap;
pub mod pixels;
mod place;
mod quantise;
pub mod read;
pub mod rtstruct;
pub mod seg;
mod value;

pub use dataset::{Encoding, PixelElement};
pub use origin::{Origin, SliceRef};
pub use pixels::{Instance, PixelLayout, SampleType};
pub use read::{Header, is_dicom, read_header};
