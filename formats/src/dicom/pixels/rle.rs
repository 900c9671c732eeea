//! RLE Lossless: one PackBits segment for each byte of each sample, most significant byte first (PS3.5 annex G).

use super::{PixelLayout, Sample};
use crate::dicom::pixels::codec::{Colour, Decoded, Fault};

/// Decodes one frame.
pub(super) fn decode<T: Sample>(
    stream: &[u8],
    layout: &PixelLayout,
    out: &mut [T],
) -> Result<Decoded, Fault> {
    let size = size_of::<T>();
    let (head, _) = stream.as_chunks::<4>();
    let word = |i: usize| head.get(i).map(|b| u32::from_le_bytes(*b) as usize);
    let planes = layout.samples * size;
    let segments = word(0).ok_or_else(|| Fault::malformed("an RLE header cut short"))?;
    if segments != planes || layout.bits_allocated < 8 {
        return Err(Fault::malformed(format!("{segments} RLE segments where {planes} are needed")));
    }
    let pixels = layout.frame_pixels();
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(out);
    for plane in 0..planes {
        let start = word(1 + plane).unwrap_or(usize::MAX);
        let end = if plane + 1 < planes { word(2 + plane).unwrap_or(0) } else { stream.len() };
        let segment = stream.get(start..end.min(stream.len())).filter(|_| start >= 64);
        let segment = segment.ok_or_else(|| Fault::malformed(format!("RLE segment {plane} lies nowhere")))?;
        let (sample, significance) = (plane / size, plane % size);
        let byte = if cfg!(target_endian = "big") { significance } else { size - 1 - significance };
        let offset = sample * size + byte;
        let target = bytes.get_mut(offset..).unwrap_or_default();
        let done = unpack(segment, target, layout.samples * size, pixels);
        if done < pixels {
            return Err(Fault::malformed(format!(
                "RLE segment {plane} ends after {done} of {pixels} pixels"
            )));
        }
    }
    Ok(Decoded { colour: Colour::AsStored, precision: layout.bits_allocated })
}

/// PackBits into every `step`-th byte; how many were written.
pub(in crate::dicom) fn unpack(segment: &[u8], out: &mut [u8], step: usize, pixels: usize) -> usize {
    let mut rest = segment;
    let mut done = 0;
    let mut slots = out.iter_mut().step_by(step.max(1));
    while done < pixels {
        let Some((&control, tail)) = rest.split_first() else { break };
        rest = tail;
        let left = pixels - done;
        if control < 128 {
            let (literal, tail) = rest.split_at((usize::from(control) + 1).min(rest.len()));
            rest = tail;
            let n = literal.len().min(left);
            for (slot, &v) in slots.by_ref().take(n).zip(literal) {
                *slot = v;
            }
            done += n;
        } else if control > 128 {
            let Some((&v, tail)) = rest.split_first() else { break };
            rest = tail;
            let n = (257 - usize::from(control)).min(left);
            for slot in slots.by_ref().take(n) {
                *slot = v;
            }
            done += n;
        }
    }
    done
}
