//! The directories (IFDs) of a TIFF file, read apart from the decoder: to check sizes before it starts, and to show
//! it some images in a form it can decode (palettes as grey indices, odd bit depths as rows of bytes).
//!
//! TIFF 6.0 section 2; BigTIFF: <https://www.awaresystems.be/imaging/tiff/bigtiff.html>.

use std::collections::{BTreeMap, HashSet};

/// More pages than this are not read.
pub const MAX_PAGES: usize = 1 << 16;

/// Most bytes of one directory entry that are looked at.
const MAX_VALUE: u64 = 16 << 20;

/// A tag's value, as numbers or as text; where its inline bytes are.
#[derive(Clone, Debug)]
pub struct Entry {
    kind: u16,
    count: u64,
    /// Where the value bytes lie in the file.
    at: usize,
}

/// One directory: tags by number.
pub struct Directory {
    /// Number of entries, repeated ones included.
    len: usize,
    entries: BTreeMap<u16, Entry>,
}

/// The directories of a file in order.
pub struct Directories {
    pub is_little: bool,
    pub is_big_tiff: bool,
    pub pages: Vec<Directory>,
    /// Why the chain ended early.
    pub fault: Option<&'static str>,
}

fn size_of_kind(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

/// Reads `n` bytes as an unsigned number.
fn number(bytes: &[u8], at: usize, n: usize, is_little: bool) -> Option<u64> {
    let raw = bytes.get(at..at.checked_add(n)?)?;
    let fold = |v: u64, b: &u8| v << 8 | u64::from(*b);
    Some(if is_little { raw.iter().rev().fold(0, fold) } else { raw.iter().fold(0, fold) })
}

impl Directories {
    /// Walks the chain of directories; `None` when this is no TIFF file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let is_little = match bytes.get(..2)? {
            b"II" => true,
            b"MM" => false,
            _ => return None,
        };
        let get = |at: usize, n: usize| number(bytes, at, n, is_little);
        let is_big_tiff = match get(2, 2)? {
            42 => false,
            43 => true,
            _ => return None,
        };
        let mut next = if is_big_tiff { get(8, 8)? } else { get(4, 4)? };
        let (mut pages, mut seen, mut fault) = (Vec::new(), HashSet::new(), None);
        // Sound directories do not overlap, so all their entries together fit the file.
        let mut budget = bytes.len() / 6;
        while next != 0 {
            if !seen.insert(next) {
                fault = Some("the chain of pages runs in a circle");
                break;
            }
            if pages.len() >= MAX_PAGES {
                fault = Some("there are more than 65536 pages");
                break;
            }
            match Self::one(bytes, next, is_little, is_big_tiff) {
                Some((page, _)) if page.len > budget => {
                    fault = Some("the directories overlap");
                    break;
                }
                Some((page, then)) => {
                    budget -= page.len;
                    pages.push(page);
                    next = then;
                }
                None => {
                    fault = Some("a directory lies beyond the end of the file");
                    break;
                }
            }
        }
        Some(Self { is_little, is_big_tiff, pages, fault })
    }

    fn one(bytes: &[u8], offset: u64, is_little: bool, is_big: bool) -> Option<(Directory, u64)> {
        let get = |at: usize, n: usize| number(bytes, at, n, is_little);
        let start = usize::try_from(offset).ok()?;
        let (count_len, entry_len, word) = if is_big { (8, 20, 8) } else { (2, 12, 4) };
        let count = usize::try_from(get(start, count_len)?).ok()?;
        let end = start.checked_add(count_len)?.checked_add(count.checked_mul(entry_len)?)?;
        let next = get(end, word)?;
        let mut entries = BTreeMap::new();
        for n in 0..count {
            let at = start + count_len + n * entry_len;
            let (tag, kind) = (get(at, 2)? as u16, get(at + 2, 2)? as u16);
            let count = get(at + 4, word)?;
            let inline = at + 4 + word;
            let len = count.saturating_mul(size_of_kind(kind));
            let at = if len <= word as u64 { inline } else { usize::try_from(get(inline, word)?).ok()? };
            entries.entry(tag).or_insert(Entry { kind, count, at });
        }
        Some((Directory { len: count, entries }, next))
    }
}

/// What the decoder takes per value of a tag, bytes.
const DECODED_VALUE: u64 = 32;
/// Tables up to this many values are read whatever the file's size.
const SMALL_TABLE: u64 = 1 << 15;

impl Directory {
    /// The first tag, with its number of values, that says more values than the file has bytes for, or more than may be
    /// unpacked of it: the decoder would make room for them all.
    pub fn oversized(&self, file_len: u64) -> Option<(u16, u64)> {
        let room = (64 << 20) + 2 * file_len;
        let is_too_large = |e: &Entry| {
            e.count > SMALL_TABLE
                && (e.count.saturating_mul(size_of_kind(e.kind).max(1)) > file_len
                    || e.count.saturating_mul(DECODED_VALUE) > room)
        };
        self.entries.iter().find(|(_, e)| is_too_large(e)).map(|(tag, e)| (*tag, e.count))
    }

    /// Whole numbers of a tag (BYTE, SHORT, LONG, LONG8).
    pub fn numbers(&self, bytes: &[u8], tag: u16, is_little: bool) -> Option<Vec<u64>> {
        let e = self.entries.get(&tag)?;
        let size = size_of_kind(e.kind);
        let is_whole = matches!(e.kind, 1 | 3 | 4 | 13 | 16 | 18);
        let len = e.count.checked_mul(size).filter(|len| *len <= MAX_VALUE && is_whole)?;
        let end = e.at.checked_add(usize::try_from(len).ok()?)?;
        bytes.get(e.at..end)?;
        let n = size as usize;
        (0..e.count as usize).map(|x| number(bytes, e.at + x * n, n, is_little)).collect()
    }

    /// The first number of a tag.
    pub fn first(&self, bytes: &[u8], tag: u16, is_little: bool) -> Option<u64> {
        self.numbers(bytes, tag, is_little)?.first().copied()
    }

    /// A RATIONAL as a real number.
    pub fn rational(&self, bytes: &[u8], tag: u16, is_little: bool) -> Option<f64> {
        let e = self.entries.get(&tag).filter(|e| e.kind == 5 && e.count == 1)?;
        let (a, b) = (number(bytes, e.at, 4, is_little)?, number(bytes, e.at + 4, 4, is_little)?);
        (a > 0 && b > 0).then(|| a as f64 / b as f64)
    }

    /// Text of a tag, without what follows a NUL.
    pub fn text(&self, bytes: &[u8], tag: u16) -> Option<String> {
        let e = self.entries.get(&tag).filter(|e| matches!(e.kind, 1 | 2 | 7) && e.count <= MAX_VALUE)?;
        let raw = bytes.get(e.at..e.at.checked_add(e.count as usize)?)?;
        let end = raw.iter().position(|&b| b == 0).unwrap_or(raw.len());
        Some(String::from_utf8_lossy(&raw[..end]).into_owned())
    }

    /// Writes a new number over all values of a tag in `bytes`; `false` when it is absent or does not fit.
    pub fn overwrite(&self, bytes: &mut [u8], tag: u16, value: u64, is_little: bool) -> bool {
        let Some(e) = self.entries.get(&tag).filter(|e| matches!(e.kind, 1 | 3 | 4)) else { return false };
        let n = size_of_kind(e.kind) as usize;
        if value >> (8 * n) != 0 || e.count > 64 {
            return false;
        }
        let le = value.to_le_bytes();
        for x in 0..e.count as usize {
            let Some(room) = bytes.get_mut(e.at + x * n..e.at + (x + 1) * n) else { return false };
            for (k, b) in room.iter_mut().enumerate() {
                *b = if is_little { le[k] } else { le[n - 1 - k] };
            }
        }
        true
    }
}
