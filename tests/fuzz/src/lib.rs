//! What all fuzz targets share: a place for files without a disk, a fence that turns what must not happen into a
//! crash, and comparisons of what was written with what comes back.
//!
//! Readers open files by path, so inputs are put into a folder in memory (`INSULA_FUZZ_DIR`, by default under
//! `/dev/shm`): the code that runs is the code that users run, and nothing is worn out.

pub mod dicom;
pub mod fence;
pub mod images;
pub mod labels;
pub mod place;
pub mod weights;
pub mod zip;

pub use fence::fenced;
pub use libfuzzer_sys::fuzz_target;
pub use place::Place;
