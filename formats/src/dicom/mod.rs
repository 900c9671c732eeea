//! DICOM: files and folders of instances become volumes with the right geometry, and results go back as DICOM.
//!
//! Only this module knows tags, transfer syntaxes and LPS coordinates. Start reading at [`origin`] (how a volume
//! remembers which instances it was made of).

pub mod origin;

pub use origin::{Origin, SliceRef};
