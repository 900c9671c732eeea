//! The part of the ZIP format PyTorch and NumPy use: entries stored or deflated, found through the central directory,
//! with ZIP64 sizes (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3).
//!
//! A deflated entry gives no more bytes than the directory says, and no more than the caller allows, so that there is
//! nothing for a compression bomb to act on.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::pickle::Fault;

/// Most directory bytes read: room for about 100 000 tensors.
const DIRECTORY_LIMIT: u64 = 12 << 20;
const END_LEN: u64 = 22;
const LONGEST_COMMENT: u64 = 65_535;
/// "The real value is in the ZIP64 field".
const ESCAPE_32: u64 = 0xffff_ffff;

/// An archive whose directory was read and checked.
pub struct Archive<F> {
    file: F,
    len: u64,
    entries: HashMap<String, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    header_at: u64,
    /// Bytes in the archive.
    stored: u64,
    /// Bytes that come out.
    len: u64,
    is_deflated: bool,
    crc: u32,
}

impl<F: Read + Seek> Archive<F> {
    /// Reads the directory of a file of `len` bytes.
    pub fn open(mut file: F, len: u64) -> Result<Self, Fault> {
        let tail_at = len.saturating_sub(END_LEN + LONGEST_COMMENT);
        let tail = read_at(&mut file, len, tail_at, len - tail_at)?;
        let end = tail
            .windows(4)
            .rposition(|w| w == b"PK\x05\x06")
            .and_then(|at| tail.get(at..).map(|end| (tail_at + at as u64, end)))
            .filter(|(_, end)| end.len() as u64 >= END_LEN)
            .ok_or_else(|| Fault::damaged("the end of the archive is missing"))?;
        let (end_at, end) = end;
        let mut size = u64::from(u32_at(end, 12)?);
        let mut start = u64::from(u32_at(end, 16)?);
        if let Some(locator_at) = end_at.checked_sub(20) {
            let locator = read_at(&mut file, len, locator_at, 20)?;
            if locator.starts_with(b"PK\x06\x07") {
                let end64 = read_at(&mut file, len, u64_at(&locator, 8)?, 56)?;
                if !end64.starts_with(b"PK\x06\x06") {
                    return Err(Fault::damaged("the ZIP64 record is not where it should be"));
                }
                size = u64_at(&end64, 40)?;
                start = u64_at(&end64, 48)?;
            }
        }
        if size > DIRECTORY_LIMIT {
            return Err(Fault::Limit(format!("a directory of {size} bytes")));
        }
        let directory = read_at(&mut file, len, start, size)?;
        Ok(Self { entries: parse_directory(&directory)?, file, len })
    }

    /// All entry names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Size of an entry in bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|e| e.len)
    }

    /// The bytes of an entry of at most `limit` bytes, and whether its checksum agrees.
    pub fn read(&mut self, name: &str, limit: u64) -> Result<(Vec<u8>, bool), Fault> {
        let entry = *self.entries.get(name).ok_or_else(|| Fault::damaged(format!("no entry {name}")))?;
        if entry.len > limit {
            return Err(Fault::Limit(format!("entry {name} of {} bytes", entry.len)));
        }
        let header = read_at(&mut self.file, self.len, entry.header_at, 30)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(Fault::damaged(format!("entry {name} is not where the directory says")));
        }
        let skip = 30 + u64::from(u16_at(&header, 26)?) + u64::from(u16_at(&header, 28)?);
        let at = entry.header_at.checked_add(skip).ok_or_else(|| Fault::damaged("an offset overflows"))?;
        let stored = read_at(&mut self.file, self.len, at, entry.stored)?;
        let bytes = if entry.is_deflated { inflated(name, &stored, entry.len)? } else { stored };
        let is_sound = crc32fast::hash(&bytes) == entry.crc;
        Ok((bytes, is_sound))
    }
}

fn parse_directory(mut rest: &[u8]) -> Result<HashMap<String, Entry>, Fault> {
    let mut entries = HashMap::new();
    while !rest.is_empty() {
        if !rest.starts_with(b"PK\x01\x02") {
            return Err(Fault::damaged("the directory is not a directory"));
        }
        let flags = u16_at(rest, 8)?;
        let method = u16_at(rest, 10)?;
        let (name_len, extra_len, comment_len) =
            (usize::from(u16_at(rest, 28)?), usize::from(u16_at(rest, 30)?), usize::from(u16_at(rest, 32)?));
        let next = 46 + name_len + extra_len + comment_len;
        let (Some(name), Some(extra), Some(after)) = (
            rest.get(46..46 + name_len),
            rest.get(46 + name_len..46 + name_len + extra_len),
            rest.get(next..),
        ) else {
            return Err(Fault::damaged("the directory is cut short"));
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let mut stored = u64::from(u32_at(rest, 20)?);
        let mut len = u64::from(u32_at(rest, 24)?);
        let mut header_at = u64::from(u32_at(rest, 42)?);
        // ZIP64: only the escaped values are present, in this order.
        let mut wide = zip64_field(extra);
        for value in [&mut len, &mut stored, &mut header_at] {
            if *value == ESCAPE_32 {
                *value = u64_at(wide, 0)?;
                wide = wide.get(8..).unwrap_or_default();
            }
        }
        if flags & 1 != 0 {
            return Err(Fault::Unsupported(format!("an encrypted entry ({name})")));
        }
        let is_deflated = method == 8;
        if method != 0 && !is_deflated {
            return Err(Fault::Unsupported(format!("an entry compressed by method {method} ({name})")));
        }
        if stored != len && !is_deflated {
            return Err(Fault::damaged(format!("entry {name} has two sizes, {stored} and {len}")));
        }
        let entry = Entry { header_at, stored, len, is_deflated, crc: u32_at(rest, 16)? };
        if entries.insert(name.clone(), entry).is_some() {
            return Err(Fault::damaged(format!("two entries called {name}")));
        }
        rest = after;
    }
    Ok(entries)
}

/// The `len` bytes of a deflated entry. Memory grows with what really comes out.
fn inflated(name: &str, stored: &[u8], len: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    flate2::read::DeflateDecoder::new(stored)
        .take(len.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| Fault::damaged(format!("entry {name} cannot be expanded: {e}")))?;
    if bytes.len() as u64 != len {
        return Err(Fault::damaged(format!("entry {name} does not expand to the {len} bytes it states")));
    }
    Ok(bytes)
}

/// The payload of extra field 0x0001, or nothing.
fn zip64_field(mut extra: &[u8]) -> &[u8] {
    while let [a, b, c, d, rest @ ..] = extra {
        let len = usize::from(u16::from_le_bytes([*c, *d]));
        let Some((field, after)) = rest.split_at_checked(len) else { break };
        if u16::from_le_bytes([*a, *b]) == 1 {
            return field;
        }
        extra = after;
    }
    &[]
}

/// `count` bytes from `at`, refused before anything is allocated when the file does not hold them.
fn read_at<F: Read + Seek>(file: &mut F, len: u64, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
    if at.checked_add(count).is_none_or(|end| end > len) {
        return Err(Fault::damaged(format!("{count} bytes at {at} lie outside the file's {len}")));
    }
    let size = usize::try_from(count).map_err(|_| Fault::Limit(format!("{count} bytes in one piece")))?;
    let mut bytes = vec![0; size];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|e| Fault::damaged(format!("reading failed: {e}")))?;
    Ok(bytes)
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Fault> {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk::<N>())
        .copied()
        .ok_or_else(|| Fault::damaged("an archive record is cut short"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Fault> {
    fixed(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Fault> {
    fixed(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Fault> {
    fixed(bytes, at).map(u64::from_le_bytes)
}
