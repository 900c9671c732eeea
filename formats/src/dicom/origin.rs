//! What a volume remembers of the DICOM instances it was made of, so that results can refer to them.

use std::path::PathBuf;
use std::sync::Arc;

use dicom_object::InMemDicomObject;

use crate::grid::Grid;

/// One stored slice: a whole single-frame instance, or one frame of a multi-frame instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRef {
    /// SOP Class UID (0008,0016) of the instance.
    pub sop_class_uid: String,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: String,
    /// Frame number, counted from 1 (PS3.3 10.3), of a multi-frame instance.
    pub frame_number: Option<u32>,
    /// The file it was read from.
    pub path: PathBuf,
}

/// The DICOM side of an image: who it is of, and which stored slice each slice of each frame came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The data set of the first instance without its pixel data: patient, study, series, frame of reference,
    /// equipment. Shared, since every frame of a series has the same one.
    pub header: Arc<InMemDicomObject>,
    /// Placement of the volume when it was read: `slices[k]` is slice `k` of this grid, `i` runs along its rows and
    /// `j` down its columns. Results may come back flipped or permuted; this tells how.
    pub grid: Grid,
    /// `slices[k]` is what slice `k` of this volume was stored as; `None` for a slice that was missing and filled.
    /// Empty when the volume was resampled so that no slice equals a stored one (gantry tilt, uneven spacing).
    pub slices: Vec<Option<SliceRef>>,
    /// All instances of the series, also when `slices` is empty.
    pub instances: Vec<SliceRef>,
}
