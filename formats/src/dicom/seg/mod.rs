//! DICOM segmentations (PS3.3 A.51, A.90, C.8.20), read and written.
//!
//! A segmentation stores planes of labels with their own positions; only planes that hold something need be there.
//! [`read()`] puts them on one grid, that of the source image where the planes coincide with its slices. [`write()`]
//! stores labels that lie on the grid of a DICOM series, or on a flip or permutation of it, in that series' study.

mod binary;
mod labelmap;
mod layout;
mod read;
mod samples;
mod segments;
mod slide;
mod write;

pub use read::read;
pub use write::write;

pub(super) use write::entry;

/// How labels are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// One bit per voxel, one frame for each structure and each slice where it occurs: every viewer reads it.
    /// Structures are numbered 1, 2, … as the standard asks; the label numbers are kept in the descriptions.
    #[default]
    Binary,
    /// Label numbers in one frame per slice (PS3.3 A.90, since 2024): small, keeps the numbers, fewer viewers.
    LabelMap,
}

/// Who made the labels (0062,0008).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// A program alone.
    #[default]
    Automatic,
    /// A program, guided or corrected by hand.
    Semiautomatic,
    /// A person.
    Manual,
}

impl Algorithm {
    /// The value of Segment Algorithm Type and ROI Generation Algorithm.
    pub(super) fn term(self) -> &'static str {
        match self {
            Self::Automatic => "AUTOMATIC",
            Self::Semiautomatic => "SEMIAUTOMATIC",
            Self::Manual => "MANUAL",
        }
    }
}

/// What a written segmentation says of itself.
#[derive(Clone, Debug)]
pub struct SegOptions {
    /// How labels are stored.
    pub encoding: Encoding,
    /// Who made them.
    pub algorithm: Algorithm,
    /// The algorithm's name (0062,0009), e.g. pack and version; not written for [`Algorithm::Manual`].
    pub algorithm_name: String,
    /// Series Description (0008,103E).
    pub series_description: String,
    /// Series Number (0020,0011).
    pub series_number: i32,
    /// Content Creator's Name (0070,0084), usually empty.
    pub creator: String,
}

impl Default for SegOptions {
    fn default() -> Self {
        Self {
            encoding: Encoding::Binary,
            algorithm: Algorithm::Automatic,
            algorithm_name: "Insula".to_owned(),
            series_description: "Segmentation".to_owned(),
            series_number: 900,
            creator: String::new(),
        }
    }
}
