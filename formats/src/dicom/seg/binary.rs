//! Frames of one structure each, one bit or a fraction per pixel, painted into one label volume.

use std::collections::BTreeMap;
use std::path::Path;

use super::layout::Layout;
use crate::dicom::overlap::Overlaps;
use crate::error::{Error, Result};
use crate::task::Task;

/// One-bit frames, back to back without padding between them (PS3.5 8.1.1, PS3.3 C.8.20.2.1).
pub(super) struct Bits {
    bytes: Vec<u8>,
    per_frame: usize,
}

impl Bits {
    /// Room for `count` frames of `per_frame` pixels, all 0.
    ///
    /// # Errors
    /// [`Error::OverLimit`] beyond the 4 GiB that one DICOM element can hold.
    pub fn empty(path: &Path, count: usize, per_frame: usize) -> Result<Self> {
        let bytes = count.checked_mul(per_frame).map(|bits| bits.div_ceil(16) * 2);
        match bytes.filter(|&n| n < u32::MAX as usize) {
            Some(n) => Ok(Self { bytes: vec![0; n], per_frame }),
            None => Err(Error::OverLimit {
                path: path.to_owned(),
                needed: format!("{count} frames of {per_frame} bits"),
                limit: "a DICOM element holds 4 GiB".to_owned(),
                remedy: "Write fewer structures, or a label map segmentation".to_owned(),
            }),
        }
    }

    /// Sets a pixel of a frame.
    pub fn set(&mut self, frame: usize, pixel: usize) {
        let bit = frame * self.per_frame + pixel;
        if let Some(byte) = self.bytes.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }

    /// The pixels of a frame that are 1, ascending.
    pub fn ones(&self, frame: usize) -> impl Iterator<Item = usize> + '_ {
        let (start, end) = (frame * self.per_frame, (frame + 1) * self.per_frame);
        let bytes = self.bytes.get(start / 8..).unwrap_or_default().iter();
        let bytes = bytes.take(end.div_ceil(8) - start / 8).enumerate().filter(|(_, b)| **b != 0);
        bytes.flat_map(move |(n, byte)| {
            let first = (start / 8 + n) * 8;
            let bits = (0..8).filter(move |b| byte >> b & 1 == 1).map(move |b| first + b);
            bits.filter(move |&b| b >= start && b < end).map(move |b| b - start)
        })
    }

    /// The packed bytes, of even length.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Paints one-bit frames; `id` gives the label of a segment number. Where structures overlap the smaller one stays, and
/// of two of one size the later one.
///
/// # Errors
/// [`Error::Cancelled`].
pub(super) fn paint(
    layout: &Layout,
    bits: &Bits,
    id: &BTreeMap<u16, u16>,
    labels: &mut [u16],
    task: &Task,
) -> Result<Overlaps> {
    // Segments with their frames and size: walking all frames for each of many segments would take long.
    let mut sizes: BTreeMap<u16, (Vec<usize>, u64)> = BTreeMap::new();
    for (n, frame) in layout.frames.iter().enumerate() {
        task.check()?;
        if let Some(segment) = frame.segment {
            let (frames, size) = sizes.entry(segment).or_default();
            frames.push(n);
            *size += bits.ones(n).count() as u64;
        }
    }
    let mut order: Vec<(u16, (Vec<usize>, u64))> = sizes.into_iter().collect();
    order.sort_by_key(|(_, (_, size))| std::cmp::Reverse(*size));
    let mut overlaps = Overlaps::default();
    for (at, (segment, (frames, _))) in order.iter().enumerate() {
        task.at("Reading structures", at as f32 / order.len() as f32)?;
        let Some(&new) = id.get(segment) else { continue };
        for (n, frame) in frames.iter().filter_map(|&n| Some((n, layout.frames.get(n)?))) {
            for pixel in bits.ones(n) {
                let Some(label) = frame.voxel(pixel).and_then(|v| labels.get_mut(v)) else { continue };
                if *label != 0 && *label != new {
                    overlaps.add(new, *label);
                }
                *label = new;
            }
        }
    }
    Ok(overlaps)
}

/// Fractions painted one frame after the other: the structure with the largest fraction has the voxel, if that is at least
/// the threshold; of equal ones the later.
pub(super) struct Fractions {
    threshold: u16,
    best: Vec<u16>,
    /// Voxels where more than one structure reached the threshold.
    pub overlaps: Overlaps,
}

impl Fractions {
    /// For `voxels` voxels; fractions below `threshold` (in stored units) count as absent.
    pub fn new(voxels: usize, threshold: u16) -> Self {
        Self { threshold, best: vec![0; voxels], overlaps: Overlaps::default() }
    }

    /// Paints a frame of stored values for the label `id`.
    pub fn paint(&mut self, frame: &super::layout::Frame, values: &[u16], id: u16, labels: &mut [u16]) {
        for (pixel, &value) in values.iter().enumerate().filter(|(_, v)| **v >= self.threshold && **v > 0) {
            let Some(at) = frame.voxel(pixel) else { continue };
            let (Some(label), Some(best)) = (labels.get_mut(at), self.best.get_mut(at)) else { continue };
            let wins = value >= *best;
            if *label != 0 && *label != id {
                let (kept, lost) = if wins { (id, *label) } else { (*label, id) };
                self.overlaps.add(kept, lost);
            }
            if wins {
                (*label, *best) = (id, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_end_within_a_byte_keep_apart() {
        let mut bits = Bits::empty(Path::new("x"), 3, 5).unwrap();
        let want = [vec![0, 4], vec![], vec![1, 2, 4]];
        for (frame, pixels) in want.iter().enumerate() {
            pixels.iter().for_each(|&p| bits.set(frame, p));
        }
        for (frame, pixels) in want.iter().enumerate() {
            assert_eq!(&bits.ones(frame).collect::<Vec<_>>(), pixels);
        }
        // Least significant bit first; 15 bits padded to an even number of bytes.
        assert_eq!(bits.into_bytes(), [0b0001_0001, 0b0101_1000]);
    }

    #[test]
    fn frames_beyond_the_bytes_are_empty() {
        let bits = Bits { bytes: vec![0xff], per_frame: 6 };
        assert_eq!(bits.ones(0).count(), 6);
        assert_eq!(bits.ones(1).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(bits.ones(2).count(), 0);
    }
}
