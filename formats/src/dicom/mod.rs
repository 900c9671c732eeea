//! DICOM: files and folders of instances become volumes with the right geometry, and results go back as DICOM.
//!
//! Only this module knows tags, transfer syntaxes and LPS coordinates. Start reading at [`read`] (one file up to
//! its pixel data), then [`pixels`] (its samples), then [`mod@scan`] (many files), [`series`] (what can be loaded of
//! them), [`geometry`] (where slices lie) and [`mod@load`], then [`origin`] (how a volume remembers which instances it
//! was made of). Results: [`seg`] (segmentations), [`rtstruct`] (contours), [`derived`] (image
//! series), [`capture`] (pictures). Headers without what identifies: [`deid`]; pixels without text: [`redact`].

mod archive;
mod attributes;
pub mod capture;
pub mod codes;
pub mod colour;
pub mod dataset;
pub mod deid;
pub mod derived;
mod file;
pub mod frames;
pub mod geometry;
mod lenient;
pub mod load;
mod modules;
pub mod origin;
mod overlap;
pub mod pixels;
mod place;
mod quantise;
pub mod read;
pub mod record;
pub mod redact;
mod rewrite;
pub mod rtstruct;
pub mod scan;
pub mod seg;
pub mod series;
pub mod suv;
pub mod thumbnail;
mod timing;
mod value;

pub use dataset::{Encoding, PixelElement};
pub use file::Dicom;
pub use load::load;
pub use origin::{Origin, SliceRef};
pub use pixels::{Instance, PixelLayout, SampleType};
pub use read::{Header, is_dicom, read_header};
pub use record::Record;
pub use scan::{Patient, Series, Study, Tree, scan};
pub use series::{Kind, Stack};
pub use thumbnail::{Thumbnail, thumbnail};
