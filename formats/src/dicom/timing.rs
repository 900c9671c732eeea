//! What tells the derived images of one frame of a series from those of another: what their sources say, and their number.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attributes::Put;
use super::modules::copy;
use super::origin::SliceRef;
use super::read::read_header;
use crate::volume::FrameAxis;

/// True of single images of a series, and kept where an image has one source.
const OF_A_FRAME: &[Tag] = &[
    tags::TEMPORAL_POSITION_IDENTIFIER,
    tags::NUMBER_OF_TEMPORAL_POSITIONS,
    tags::TEMPORAL_RESOLUTION,
    tags::ACQUISITION_DATE,
    tags::ACQUISITION_TIME,
    tags::ACQUISITION_DATE_TIME,
    tags::ACQUISITION_NUMBER,
    tags::TRIGGER_TIME,
    tags::FRAME_REFERENCE_TIME,
    tags::ACTUAL_FRAME_DURATION,
    tags::ECHO_TIME,
    tags::ECHO_NUMBERS,
    tags::INVERSION_TIME,
    tags::DIFFUSION_B_VALUE,
    tags::DIFFUSION_GRADIENT_ORIENTATION,
];

/// Adds to an image of frame `n` (from 0) of `of` what says when it was taken. Along a time axis frames are numbered
/// (Temporal Position Identifier, PS3.3 C.8.3.1), and the step is stated; so are frames whose source cannot be read, which
/// would not be told apart otherwise.
pub(super) fn put(
    d: &mut InMemDicomObject,
    source: Option<&SliceRef>,
    n: usize,
    of: usize,
    axis: Option<&FrameAxis>,
) {
    // Of a frame of a multi-frame instance the header says nothing that is true of that frame only.
    let header = source.filter(|s| s.frame_number.is_none()).and_then(|s| read_header(&s.path).ok());
    if let Some(header) = &header {
        copy(d, &header.object, OF_A_FRAME);
    }
    let is_time = axis.is_some_and(|a| a.name == "time");
    if is_time || header.is_none() {
        d.text(tags::TEMPORAL_POSITION_IDENTIFIER, &(n + 1).to_string());
        d.text(tags::NUMBER_OF_TEMPORAL_POSITIONS, &of.to_string());
    }
    if let Some(step) = axis.filter(|a| is_time && a.unit == "s" && a.step > 0.0).map(|a| a.step) {
        d.decimals(tags::TEMPORAL_RESOLUTION, &[1000.0 * step]);
    }
}
