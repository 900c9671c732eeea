//! Structure sets of radiotherapy (PS3.3 A.19, C.8.8.5, C.8.8.6): contours into labels and labels into contours.
//!
//! A contour is a polygon in one plane. A voxel is in when its centre is inside, by the even-odd rule over all contours
//! that a structure has in that plane; so holes are holes, whether drawn as a second contour or through a keyhole.
//! Contours are written along the borders of voxels, so that reading gives the same labels.

mod fill;
mod read;
mod trace;
mod write;

pub use read::read;
pub use write::write;

use super::seg::Algorithm;

/// How holes are written. Reading needs no choice: all ways come out the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holes {
    /// One contour that goes in to the hole and out again through a channel of no width (PS3.3 C.8.8.6.3). Programs that
    /// fill each contour by itself understand it.
    #[default]
    Keyhole,
    /// A contour of its own, all marked CLOSEDPLANAR_XOR (in the standard since 2020).
    Xor,
}

/// What a written structure set says of itself.
#[derive(Clone, Debug)]
pub struct RtOptions {
    /// How holes are written.
    pub holes: Holes,
    /// Who made the labels.
    pub algorithm: Algorithm,
    /// Structure Set Label (3006,0002), at most 16 characters.
    pub label: String,
    /// Series Description (0008,103E).
    pub series_description: String,
    /// Series Number (0020,0011).
    pub series_number: i32,
}

impl Default for RtOptions {
    fn default() -> Self {
        Self {
            holes: Holes::Keyhole,
            algorithm: Algorithm::Automatic,
            label: "Insula".to_owned(),
            series_description: "Structures".to_owned(),
            series_number: 901,
        }
    }
}
