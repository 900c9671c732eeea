//! Which bytes of encapsulated pixel data belong to which frame (PS3.5 A.4).
//!
//! Fragment lengths are honoured: delimiters inside compressed data mean nothing. Frames are told apart by the
//! extended or the basic offset table where it agrees with the fragments, otherwise by the markers that begin
//! a compressed picture.

use dicom_dictionary_std::tags;

use crate::dicom::read::{DataReader, Header};
use crate::error::{Error, Result};

/// Bytes of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: u64,
    len: u64,
}

/// The fragments of each frame.
#[derive(Debug)]
pub(super) struct FrameTable {
    pieces: Vec<Piece>,
    /// First piece of each frame, and the end.
    starts: Vec<usize>,
    /// Bytes of a frame with its padding removed, where the extended table tells.
    exact: Vec<u64>,
}

/// Fragments that a file may have; each takes 8 bytes of it and 16 of memory.
const ITEM_BYTES: u64 = 8;

impl FrameTable {
    /// Finds the fragments of `frames` frames.
    pub fn read(header: &Header, frames: usize) -> Result<Self> {
        let path = header.path.as_path();
        let start = header.pixels.map_or(0, |p| p.start);
        let end = header.data_len();
        let mut reader = header.reader()?;
        let mut at = start;
        let mut items = Vec::new();
        loop {
            if end.saturating_sub(at) < ITEM_BYTES {
                // More fragments may have been there: whether the last frame is whole cannot be known.
                return Err(Error::malformed(
                    path,
                    format!("pixel data that end after {} fragments without their delimiter", items.len()),
                    "a sequence delimiter (FFFE,E0DD)",
                ));
            }
            let mut head = [0; 8];
            reader.read_at(at, &mut head)?;
            let [a, b, c, d, e, f, g, h] = head;
            let encoding = header.encoding;
            let (group, element) = (encoding.u16([a, b]), encoding.u16([c, d]));
            let len = u64::from(encoding.u32([e, f, g, h]));
            at += ITEM_BYTES;
            match (group, element) {
                (0xfffe, 0xe0dd) => break,
                (0xfffe, 0xe000) if len <= end - at => {
                    items.push(Piece { start: at, len });
                    at += len;
                }
                (0xfffe, 0xe000) => {
                    return Err(Error::malformed(
                        path,
                        format!("fragment {} of {len} bytes with {} bytes left", items.len(), end - at),
                        "all bytes of the compressed pixels",
                    ));
                }
                _ => {
                    return Err(Error::malformed(
                        path,
                        format!(
                            "element ({group:04X},{element:04X}) between the fragments of the pixel data"
                        ),
                        "items (FFFE,E000)",
                    ));
                }
            }
        }
        if items.is_empty() {
            return Err(Error::malformed(
                path,
                "no fragments in the pixel data",
                "an offset table and frames",
            ));
        }
        let table = items.remove(0);
        // Empty fragments belong to nobody.
        items.retain(|p| p.len > 0);
        if items.len() < frames {
            return Err(Error::malformed(
                path,
                format!("{} fragments of compressed pixels", items.len()),
                format!("at least one for each of {frames} frames"),
            ));
        }
        let mut exact = Vec::new();
        let starts = if frames == 1 {
            vec![0]
        } else if items.len() == frames {
            (0..frames).collect()
        } else if let Some((starts, lens)) = extended(header, &items, frames) {
            exact = lens;
            starts
        } else if let Some(starts) = basic(header, &mut reader, table, &items, frames)? {
            starts
        } else {
            by_markers(&mut reader, &items, frames)?.ok_or_else(|| {
                Error::malformed(
                    path,
                    format!("{} fragments without a usable offset table", items.len()),
                    format!("{frames} frames that can be told apart"),
                )
            })?
        };
        let mut starts = starts;
        starts.push(items.len());
        Ok(Self { pieces: items, starts, exact })
    }

    fn of_frame(&self, n: usize) -> &[Piece] {
        let (from, to) = (self.starts.get(n).copied(), self.starts.get(n + 1).copied());
        from.zip(to).and_then(|(a, b)| self.pieces.get(a..b)).unwrap_or_default()
    }

    /// Compressed bytes of frame `n`.
    pub fn frame_bytes(&self, n: usize) -> u64 {
        self.of_frame(n).iter().map(|p| p.len).sum()
    }

    /// The compressed bytes of frame `n`, fragments joined.
    pub fn frame(&self, header: &Header, n: usize) -> Result<Vec<u8>> {
        let mut reader = header.reader()?;
        let len = usize::try_from(self.frame_bytes(n)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        let mut rest = bytes.as_mut_slice();
        for piece in self.of_frame(n) {
            let (out, tail) = rest.split_at_mut(usize::try_from(piece.len).unwrap_or(0).min(rest.len()));
            reader.read_at(piece.start, out)?;
            rest = tail;
        }
        if let Some(&exact) = self.exact.get(n) {
            bytes.truncate(usize::try_from(exact).unwrap_or(usize::MAX));
        }
        Ok(bytes)
    }

    /// Frames and fragments as found, for copying pixels without decoding them.
    pub fn fragments(&self, header: &Header, n: usize) -> Result<Vec<Vec<u8>>> {
        let mut reader = header.reader()?;
        let pieces = self.of_frame(n).iter().map(|piece| {
            let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or(0)];
            reader.read_at(piece.start, &mut bytes)?;
            Ok(bytes)
        });
        pieces.collect()
    }
}

/// Offsets into fragment indices; `None` unless each is the beginning of a fragment, in order.
fn indices(offsets: &[u64], items: &[Piece]) -> Option<Vec<usize>> {
    let first = items.first()?.start - ITEM_BYTES;
    let found = offsets.iter().map(|offset| {
        let at = first.checked_add(*offset)?.checked_add(ITEM_BYTES)?;
        items.binary_search_by_key(&at, |p| p.start).ok()
    });
    let found: Vec<usize> = found.collect::<Option<_>>()?;
    (found.first() == Some(&0) && found.is_sorted_by(|a, b| a < b)).then_some(found)
}

/// The extended offset table (7FE0,0001) with its lengths (7FE0,0002): PS3.3 C.7.6.3.1.8.
fn extended(header: &Header, items: &[Piece], frames: usize) -> Option<(Vec<usize>, Vec<u64>)> {
    let numbers = |tag| {
        let bytes = header.object.get(tag)?.to_bytes().ok()?;
        Some(bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect::<Vec<_>>())
    };
    let offsets = numbers(tags::EXTENDED_OFFSET_TABLE).filter(|o| o.len() == frames)?;
    let lens = numbers(tags::EXTENDED_OFFSET_TABLE_LENGTHS).filter(|l| l.len() == frames)?;
    Some((indices(&offsets, items)?, lens))
}

/// The basic offset table, the first item.
fn basic(
    header: &Header,
    reader: &mut DataReader<'_>,
    table: Piece,
    items: &[Piece],
    frames: usize,
) -> Result<Option<Vec<usize>>> {
    if table.len != frames as u64 * 4 {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(table.len).unwrap_or(0)];
    reader.read_at(table.start, &mut bytes)?;
    let offsets = bytes.as_chunks::<4>().0.iter().map(|b| u64::from(header.encoding.u32(*b)));
    Ok(indices(&offsets.collect::<Vec<_>>(), items))
}

/// Fragments that begin like a compressed picture begin a frame.
fn by_markers(reader: &mut DataReader<'_>, items: &[Piece], frames: usize) -> Result<Option<Vec<usize>>> {
    let mut starts = Vec::new();
    for (i, piece) in items.iter().enumerate() {
        let mut head = [0; 12];
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX).min(head.len());
        if let Some(out) = head.get_mut(..len) {
            reader.read_at(piece.start, out)?;
        }
        let is_start = head.starts_with(&[0xff, 0xd8, 0xff])
            || head.starts_with(&[0xff, 0x4f, 0xff, 0x51])
            || head.starts_with(&[0, 0, 0, 12, b'j', b'P', b' ', b' '])
            || head.starts_with(&[0xff, 0x0a])
            || head.starts_with(&[0, 0, 0, 12, b'J', b'X', b'L', b' '])
            // A header of RLE segments: their number, and the first right behind it.
            || matches!(head, [1..=15, 0, 0, 0, 64, 0, 0, 0, ..]);
        if is_start {
            starts.push(i);
        }
    }
    Ok((starts.len() == frames && starts.first() == Some(&0)).then_some(starts))
}
