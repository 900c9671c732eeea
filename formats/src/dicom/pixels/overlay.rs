//! Overlay planes: drawings and regions of one bit per pixel (PS3.3 C.9).

use dicom_core::{Tag, VR};

use super::{Instance, PixelLayout, SampleType};
use crate::error::{Error, Result};

// Elements of group 60xx.
const OVERLAY_ROWS: u16 = 0x0010;
const OVERLAY_COLUMNS: u16 = 0x0011;
const NUMBER_OF_FRAMES_IN_OVERLAY: u16 = 0x0015;
const OVERLAY_DESCRIPTION: u16 = 0x0022;
const OVERLAY_TYPE: u16 = 0x0040;
const OVERLAY_ORIGIN: u16 = 0x0050;
const IMAGE_FRAME_ORIGIN: u16 = 0x0051;
const OVERLAY_BITS_ALLOCATED: u16 = 0x0100;
const OVERLAY_BIT_POSITION: u16 = 0x0102;
const OVERLAY_LABEL: u16 = 0x1500;
const OVERLAY_DATA: u16 = 0x3000;

/// One overlay of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Group of its elements, 6000 to 601E (hexadecimal, even).
    pub group: u16,
    /// Rows of the overlay.
    pub rows: usize,
    /// Columns of the overlay.
    pub columns: usize,
    /// Row and column of the image on which its first pixel lies, counted from 0; may be negative.
    pub origin: [i64; 2],
    /// Frames of the overlay. A single one belongs to all frames of the image, unless `first_frame` says otherwise.
    pub frames: usize,
    /// Image frame of its first frame, counted from 0.
    pub first_frame: usize,
    /// Whether it is a region of interest (type R) and no drawing (type G).
    pub is_region: bool,
    /// Overlay Label (60xx,1500) or Overlay Description (60xx,0022); may be empty.
    pub label: String,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// Overlay Data, the lowest bit of each byte first.
    Bits(Vec<u8>),
    /// An unused bit of the pixels (retired in 2004).
    InPixels(u32),
}

impl Instance {
    /// The overlays of the image.
    ///
    /// # Errors
    /// [`Error::Malformed`] when an overlay's bits are not there.
    pub fn overlays(&self) -> Result<Vec<Overlay>> {
        let groups = (0x6000..=0x601e_u16).step_by(2);
        groups.filter_map(|group| self.overlay(group).transpose()).collect()
    }

    fn overlay(&self, group: u16) -> Result<Option<Overlay>> {
        let object = &*self.header().object;
        let tag = |element: u16| Tag(group, element);
        let number = |element: u16| object.get(tag(element)).and_then(|e| e.to_int::<i64>().ok());
        let size = |element: u16| number(element).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let Some((rows, columns)) = size(OVERLAY_ROWS).zip(size(OVERLAY_COLUMNS)) else {
            return Ok(None);
        };
        let frames = size(NUMBER_OF_FRAMES_IN_OVERLAY).unwrap_or(1);
        let origin = object.get(tag(OVERLAY_ORIGIN)).and_then(|e| e.to_multi_int::<i64>().ok());
        let origin = match origin.as_deref() {
            Some(&[row, column, ..]) => [row - 1, column - 1],
            _ => [0, 0],
        };
        let source = match object.get(tag(OVERLAY_DATA)) {
            Some(element) => {
                let bytes = if element.vr() == VR::OW {
                    let words = element.to_multi_int::<u16>().unwrap_or_default();
                    words.iter().flat_map(|w| w.to_le_bytes()).collect()
                } else {
                    element.to_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
                };
                let bits = rows.checked_mul(columns).and_then(|n| n.checked_mul(frames));
                if bits.is_none_or(|bits| bits.div_ceil(8) > bytes.len()) {
                    return Err(Error::malformed(
                        &self.header().path,
                        format!("{} bytes of overlay {group:04X}", bytes.len()),
                        format!("{rows} × {columns} × {frames} bits"),
                    ));
                }
                Source::Bits(bytes)
            }
            None => {
                let layout = self.layout();
                let bit = number(OVERLAY_BIT_POSITION).and_then(|n| u32::try_from(n).ok());
                let allocated = number(OVERLAY_BITS_ALLOCATED);
                let unused = |&bit: &u32| {
                    bit < layout.bits_allocated
                        && (bit > layout.high_bit || bit + layout.bits_stored <= layout.high_bit)
                };
                let fits = (rows, columns, layout.samples) == (layout.rows, layout.columns, 1);
                match bit.filter(unused) {
                    Some(bit) if fits && allocated == Some(i64::from(layout.bits_allocated)) => {
                        Source::InPixels(bit)
                    }
                    _ => return Ok(None),
                }
            }
        };
        let text = |element: u16| self.header().text(tag(element));
        Ok(Some(Overlay {
            group,
            rows,
            columns,
            origin,
            frames,
            first_frame: number(IMAGE_FRAME_ORIGIN).and_then(|n| usize::try_from(n - 1).ok()).unwrap_or(0),
            is_region: text(OVERLAY_TYPE).as_deref() == Some("R"),
            label: text(OVERLAY_LABEL).or_else(|| text(OVERLAY_DESCRIPTION)).unwrap_or_default(),
            source,
        }))
    }

    /// An overlay on frame `n` of the image (counted from 0): one byte for each pixel of the image, row by row, 1
    /// where the overlay is set. `None` when it does not belong to that frame.
    ///
    /// # Errors
    /// Those of [`Instance::frame_into`], for overlays inside the pixels.
    pub fn overlay_mask(&self, overlay: &Overlay, n: usize) -> Result<Option<Vec<u8>>> {
        let layout = *self.layout();
        let Some(frame) = overlay.frame_of(n) else { return Ok(None) };
        let mut mask = vec![0_u8; layout.frame_pixels()];
        match &overlay.source {
            Source::Bits(bytes) => {
                let first = frame * overlay.rows * overlay.columns;
                for row in 0..overlay.rows {
                    let y = usize::try_from(overlay.origin[0] + row as i64).ok().filter(|y| *y < layout.rows);
                    let Some(y) = y else { continue };
                    for column in 0..overlay.columns {
                        let bit = first + row * overlay.columns + column;
                        let is_set = bytes.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1);
                        let x = usize::try_from(overlay.origin[1] + column as i64).ok();
                        let x = x.filter(|x| *x < layout.columns && is_set);
                        if let Some(slot) = x.and_then(|x| mask.get_mut(y * layout.columns + x)) {
                            *slot = 1;
                        }
                    }
                }
            }
            Source::InPixels(bit) => {
                let whole = PixelLayout {
                    bits_stored: layout.bits_allocated,
                    high_bit: layout.bits_allocated - 1,
                    ..layout
                };
                macro_rules! take {
                    ($t:ty) => {{
                        let mut raw = vec![<$t>::default(); layout.frame_len()];
                        self.decode(&whole, n, &mut raw)?;
                        for (slot, v) in mask.iter_mut().zip(raw) {
                            *slot = (v >> bit & 1) as u8;
                        }
                    }};
                }
                match layout.sample_type {
                    SampleType::U8 => take!(u8),
                    SampleType::I8 => take!(i8),
                    SampleType::U16 => take!(u16),
                    SampleType::I16 => take!(i16),
                    SampleType::U32 => take!(u32),
                    SampleType::I32 => take!(i32),
                    SampleType::F32 | SampleType::F64 => return Ok(None),
                }
            }
        }
        Ok(Some(mask))
    }
}

impl Overlay {
    /// The overlay's own frame for frame `n` of the image, counted from 0 (PS3.3 C.9.3); none when it does not belong to it.
    #[must_use]
    pub fn frame_of(&self, n: usize) -> Option<usize> {
        if self.frames == 1 && self.first_frame == 0 {
            return Some(0);
        }
        n.checked_sub(self.first_frame).filter(|f| *f < self.frames)
    }

    /// Its own data, the lowest bit of each byte first; none for overlays inside the pixels.
    #[must_use]
    pub fn bits(&self) -> Option<&[u8]> {
        if let Source::Bits(bytes) = &self.source { Some(bytes) } else { None }
    }

    /// The bit of the pixels that it lies in; none for overlays with their own data.
    #[must_use]
    pub fn bit_in_pixels(&self) -> Option<u32> {
        if let Source::InPixels(bit) = self.source { Some(bit) } else { None }
    }
}
