//! RLE frames with some pixels overwritten (PS3.5 annex G): packed again, everything else as it was.

use super::plain::StoredPixel;
use super::{Fill, Mask, Redaction};
use crate::dicom::pixels::Instance;
use crate::error::{Error, Result};

/// Bytes of the header of a frame: the number of segments, and where each begins.
const HEADER: usize = 64;

/// The streams of all frames; those without marks as they were.
pub(super) fn overwritten(
    instance: &Instance,
    redaction: &Redaction,
    embedded: &[(u32, usize, Mask)],
) -> Result<Vec<Vec<u8>>> {
    (0..instance.layout().frames)
        .map(|n| {
            let stream = instance.fragments(n)?.unwrap_or_default().concat();
            let mask = redaction.frames.get(n).and_then(Option::as_ref);
            let bits: Vec<(u32, &Mask)> =
                embedded.iter().filter(|(_, frame, _)| *frame == n).map(|(bit, _, m)| (*bit, m)).collect();
            if mask.is_none() && bits.is_empty() {
                return Ok(stream);
            }
            one(instance, n, &stream, mask, &bits, redaction.fill)
        })
        .collect()
}

fn one(
    instance: &Instance,
    n: usize,
    stream: &[u8],
    mask: Option<&Mask>,
    bits: &[(u32, &Mask)],
    fill: Fill,
) -> Result<Vec<u8>> {
    let layout = instance.layout();
    let size = layout.sample_type.size();
    let pixels = layout.frame_pixels();
    let mut planes = unpacked(stream, layout.samples * size, pixels)
        .map_err(|found| Error::malformed(&instance.header().path, found, "a sound RLE frame (PS3.5 annex G)"))?;
    let stored = StoredPixel::new(instance, n, fill)?;
    if let Some(mask) = mask {
        for (p, _) in mask.iter().enumerate().filter(|(_, marked)| **marked) {
            for (plane, values) in planes.iter_mut().enumerate() {
                // Segments: samples one after the other, most significant bytes first.
                let (sample, significance) = (plane / size, plane % size);
                values[p] = (stored.raw[sample] >> (8 * (size - 1 - significance))) as u8;
            }
        }
    }
    for (bit, mask) in bits {
        let (plane, bit) = (size - 1 - *bit as usize / 8, bit % 8);
        for (p, _) in mask.iter().enumerate().filter(|(_, marked)| **marked) {
            planes[plane][p] &= !(1 << bit);
        }
    }
    Ok(packed(&planes, layout.columns))
}

fn unpacked(stream: &[u8], planes: usize, pixels: usize) -> Result<Vec<Vec<u8>>, String> {
    let (head, _) = stream.as_chunks::<4>();
    let word = |i: usize| head.get(i).map_or(usize::MAX, |b| u32::from_le_bytes(*b) as usize);
    if word(0) != planes {
        return Err(format!("{} RLE segments where {planes} are needed", word(0)));
    }
    (0..planes)
        .map(|plane| {
            let end = if plane + 1 < planes { word(2 + plane) } else { stream.len() };
            let segment = stream.get(word(1 + plane)..end.min(stream.len()));
            let segment = segment.ok_or_else(|| format!("RLE segment {plane} lies nowhere"))?;
            let mut out = vec![0; pixels];
            let done = crate::dicom::pixels::unpack_rle(segment, &mut out, 1, pixels);
            if done < pixels { Err(format!("RLE segment {plane} ends after {done} of {pixels} pixels")) } else { Ok(out) }
        })
        .collect()
}

/// A frame of segments, each row packed by itself (PS3.5 G.3.1), of even length.
fn packed(planes: &[Vec<u8>], columns: usize) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[..4].copy_from_slice(&(planes.len() as u32).to_le_bytes());
    for (n, plane) in planes.iter().enumerate() {
        let at = (out.len() as u32).to_le_bytes();
        if let Some(slot) = out.get_mut(4 + 4 * n..8 + 4 * n) {
            slot.copy_from_slice(&at);
        }
        plane.chunks(columns.max(1)).for_each(|row| pack_row(row, &mut out));
        if out.len() % 2 == 1 {
            out.push(0);
        }
    }
    out
}

/// PackBits: runs of three or more as a count and a value, other bytes as literals of up to 128.
fn pack_row(row: &[u8], out: &mut Vec<u8>) {
    let run = |at: usize| row[at..].iter().take_while(|&&v| v == row[at]).count().min(128);
    let mut at = 0;
    while at < row.len() {
        let same = run(at);
        if same >= 3 {
            out.extend([(257 - same) as u8, row[at]]);
            at += same;
            continue;
        }
        let begin = at;
        while at < row.len() && at - begin < 128 && run(at) < 3 {
            at += 1;
        }
        out.push((at - begin - 1) as u8);
        out.extend(&row[begin..at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_frames_unpack_to_what_they_were() {
        let columns = 300;
        let plane: Vec<u8> = (0..columns * 7)
            .map(|i| if i % 300 < 140 { (i / 300) as u8 } else { (i * 7919 % 251) as u8 })
            .collect();
        for planes in [vec![plane.clone()], vec![plane.clone(), vec![0; columns * 7], plane]] {
            let stream = packed(&planes, columns);
            assert_eq!(stream.len() % 2, 0);
            assert_eq!(unpacked(&stream, planes.len(), columns * 7), Ok(planes));
        }
        assert!(unpacked(&[0; 64], 1, 4).is_err());
    }
}
