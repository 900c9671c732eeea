//! Compressed voxel data into typed memory: gzip and zlib, fast when sound, exact about what is wrong when not.
//!
//! A sound single stream of known size goes through libdeflate in one call, straight into the final array.
//! Everything else (several members, surplus bytes, cut streams, wrong checksums, claims too large for the bytes
//! present) goes through an incremental inflate that never holds much more than was really there and says
//! what it met. References: RFC 1950 (zlib), RFC 1951 (deflate), RFC 1952 (gzip).

use std::path::Path;

use bytemuck::Pod;
use flate2::{Decompress, FlushDecompress, Status};

use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::task::Task;

/// Deflate never expands by more than this (a 258-byte match in 2 bits, RFC 1951 §3.2.5).
pub const MAX_RATIO: u64 = 1032;

/// Sizes up to this plus three times the compressed size are allocated at once; larger claims grow as they
/// prove true.
const TRUSTED_BYTES: u64 = 48 << 20;

/// Whole-buffer inflate cannot be cancelled; streams beyond this size (about a second) are inflated in steps.
const UNINTERRUPTED_BYTES: u64 = 1 << 30;

/// Bytes inflated between two looks at the cancel flag.
const STEP: usize = 4 << 20;

/// The envelope around deflate data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// One or more gzip members.
    Gzip,
    /// One zlib stream.
    Zlib,
}

/// `count` elements of `T`, with the bytes that came before them, in one allocation.
#[derive(Debug)]
pub struct Elements<T> {
    /// Storage; the first `start` elements are lead bytes and padding.
    pub storage: Vec<T>,
    /// Index of the first wanted element.
    pub start: usize,
    lead: usize,
}

impl<T: Pod> Elements<T> {
    /// Where `lead + count · size_of::<T>()` bytes lie so that the elements are aligned: padding in bytes and
    /// elements in all.
    fn layout(path: &Path, lead: usize, count: usize) -> Result<(usize, usize)> {
        let size = size_of::<T>().max(1);
        let start = lead.div_ceil(size);
        let len = start
            .checked_add(count)
            .filter(|n| n.checked_mul(size).is_some_and(|b| isize::try_from(b).is_ok()));
        Ok((start * size - lead, len.ok_or_else(|| too_large(path))?))
    }

    /// Zeroed storage for `count` elements after `lead` bytes. The pages come zeroed from the system and cost
    /// nothing until they are written.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when there is not so much memory.
    pub fn zeroed(path: &Path, lead: usize, count: usize) -> Result<Self> {
        let (_, len) = Self::layout(path, lead, count)?;
        let storage = bytemuck::allocation::try_zeroed_slice_box(len).map_err(|()| too_large(path))?;
        Ok(Self { storage: storage.into_vec(), start: len - count, lead })
    }

    /// Elements that are there already, without lead bytes.
    #[must_use]
    pub fn from_vec(storage: Vec<T>) -> Self {
        Self { storage, start: 0, lead: 0 }
    }

    /// The lead bytes followed by the elements' bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let skip = self.start * size_of::<T>() - self.lead;
        bytemuck::cast_slice_mut::<T, u8>(&mut self.storage).get_mut(skip..).unwrap_or_default()
    }

    /// The bytes before the first element.
    #[must_use]
    pub fn lead(&self) -> &[u8] {
        let end = self.start * size_of::<T>();
        bytemuck::cast_slice::<T, u8>(&self.storage).get(end - self.lead..end).unwrap_or_default()
    }
}

fn too_large(path: &Path) -> Error {
    Error::OverLimit {
        path: path.to_owned(),
        needed: "more memory than the system grants".to_owned(),
        limit: "an allocation was refused".to_owned(),
        remedy: "Close other programs or use a machine with more memory".to_owned(),
    }
}

/// Inflates `lead` bytes and then `count` elements, in the byte order of the file.
///
/// Odd but survivable findings (trailing bytes, wrong checksum) are appended to `notices`.
///
/// # Errors
/// [`Error::Malformed`] when the stream cannot hold so much, ends early or is damaged before the last wanted
/// byte; [`Error::OverLimit`]; [`Error::Cancelled`].
pub fn elements<T: Pod>(
    path: &Path,
    compressed: &[u8],
    stream: Stream,
    lead: u64,
    count: u64,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let wanted = count.checked_mul(size_of::<T>() as u64).and_then(|b| b.checked_add(lead));
    let wanted = wanted.ok_or_else(|| too_large(path))?;
    let present = compressed.len() as u64;
    if wanted > present.saturating_mul(MAX_RATIO) {
        return Err(Error::malformed(
            path,
            format!("a header that asks for {wanted} bytes over {present} compressed bytes"),
            format!("at most {} bytes from so many", present.saturating_mul(MAX_RATIO)),
        ));
    }
    let (Ok(lead), Ok(count)) = (usize::try_from(lead), usize::try_from(count)) else {
        return Err(too_large(path));
    };
    let promised = compressed.last_chunk().map(|b| u32::from_le_bytes(*b));
    let whole = wanted <= UNINTERRUPTED_BYTES
        && wanted <= TRUSTED_BYTES.saturating_add(present.saturating_mul(3))
        && (stream == Stream::Zlib || promised == Some(wanted as u32));
    if whole {
        task.check()?;
        let mut out = Elements::zeroed(path, lead, count)?;
        let mut libdeflate = libdeflater::Decompressor::new();
        let bytes = out.bytes_mut();
        let expected = bytes.len();
        let result = match stream {
            Stream::Gzip => libdeflate.gzip_decompress(compressed, bytes),
            Stream::Zlib => libdeflate.zlib_decompress(compressed, bytes),
        };
        if result == Ok(expected) {
            return Ok(out);
        }
        // Something is odd; the incremental way finds out what.
    }
    stepwise(path, compressed, stream, lead, count, notices, task)
}

/// The incremental way of [`elements`].
fn stepwise<T: Pod>(
    path: &Path,
    compressed: &[u8],
    stream: Stream,
    lead: usize,
    count: usize,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Elements<T>> {
    let size = size_of::<T>();
    let (pad, len) = Elements::<T>::layout(path, lead, count)?;
    let wanted = lead + count * size;
    let mut inflater = Inflater::new(compressed, stream);
    let mut storage: Vec<T> = Vec::new();
    let mut done = 0;
    while done < wanted {
        task.at("Decompressing", done as f32 / wanted as f32)?;
        let target = len.min((pad + done + STEP).div_ceil(size));
        if target > storage.capacity() {
            // Doubling keeps copies few; memory stays within three times of what has really been inflated.
            let more = len.min(target.max(storage.capacity().saturating_mul(2))) - storage.len();
            storage.try_reserve_exact(more).map_err(|_| too_large(path))?;
        }
        storage.resize(target.max(storage.len()), T::zeroed());
        let bytes = bytemuck::cast_slice_mut::<T, u8>(&mut storage);
        let end = bytes.len().min(pad + wanted);
        let Some(room) = bytes.get_mut(pad + done..end) else { break };
        let (room_len, got) = (room.len(), inflater.fill(room));
        done += got;
        if got < room_len {
            break;
        }
    }
    if done < wanted {
        let found = match inflater.fault {
            Some(Fault::Corrupt) => format!("damaged compressed data after {done} of {wanted} bytes"),
            Some(Fault::Truncated) => format!("a compressed stream cut short after {done} of {wanted} bytes"),
            None => format!("{done} bytes after decompression"),
        };
        return Err(Error::malformed(path, found, format!("{wanted} bytes, as the header says")));
    }
    // Reading to the end verifies the checksums; what follows the voxels is dropped as it comes.
    let mut surplus = 0_u64;
    let mut scratch = vec![0; 64 << 10];
    loop {
        task.check()?;
        match inflater.fill(&mut scratch) {
            0 => break,
            n => surplus += n as u64,
        }
    }
    inflater.report(notices);
    if surplus > 0 {
        notices.push(Notice::info(
            "bytes-after-voxels",
            format!("{surplus} bytes follow the voxels and were ignored"),
        ));
    }
    Ok(Elements { storage, start: len - count, lead })
}

/// The first `max` bytes of a stream, or fewer when it ends (or breaks) earlier.
#[must_use]
pub fn prefix(compressed: &[u8], stream: Stream, max: usize) -> Vec<u8> {
    let mut inflater = Inflater::new(compressed, stream);
    let mut out = Vec::new();
    while out.len() < max {
        let done = out.len();
        out.resize(max.min((done * 2).max(8 << 10)), 0);
        let room = out.get_mut(done..).unwrap_or_default();
        let (room_len, got) = (room.len(), inflater.fill(room));
        if got < room_len {
            out.truncate(done + got);
            break;
        }
    }
    out
}

/// Up to `max` bytes after the first `skip` of a stream, or fewer when it ends (or breaks) earlier.
#[must_use]
pub fn tail(compressed: &[u8], stream: Stream, skip: u64, max: usize) -> Vec<u8> {
    let mut inflater = Inflater::new(compressed, stream);
    let mut scratch = vec![0; 256 << 10];
    let mut left = skip;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
        let got = inflater.fill(scratch.get_mut(..n).unwrap_or_default());
        if got < n {
            return Vec::new();
        }
        left -= got as u64;
    }
    let mut out = vec![0; max];
    let got = inflater.fill(&mut out);
    out.truncate(got);
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The input ends inside a stream.
    Truncated,
    /// The input is not deflate data.
    Corrupt,
}

/// Inflates member after member and remembers what was wrong.
struct Inflater<'a> {
    input: &'a [u8],
    stream: Stream,
    member: Option<Member>,
    members: usize,
    fault: Option<Fault>,
    wrong_checksums: usize,
    trailing: usize,
}

struct Member {
    inflate: Decompress,
    crc: libdeflater::Crc,
}

impl<'a> Inflater<'a> {
    fn new(input: &'a [u8], stream: Stream) -> Self {
        Self { input, stream, member: None, members: 0, fault: None, wrong_checksums: 0, trailing: 0 }
    }

    /// Fills `out`; fewer bytes mean the end, or a fault.
    fn fill(&mut self, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() && self.fault.is_none() {
            let Some(member) = &mut self.member else {
                if !self.next_member() {
                    break;
                }
                continue;
            };
            let room = out.get_mut(done..).unwrap_or_default();
            let (in_before, out_before) = (member.inflate.total_in(), member.inflate.total_out());
            let status = member.inflate.decompress(self.input, room, FlushDecompress::None);
            let used = (member.inflate.total_in() - in_before) as usize;
            let got = (member.inflate.total_out() - out_before) as usize;
            self.input = self.input.get(used..).unwrap_or_default();
            member.crc.update(room.get(..got).unwrap_or_default());
            done += got;
            match status {
                Ok(Status::StreamEnd) => self.end_member(),
                Ok(_) if used == 0 && got == 0 => self.fault = Some(Fault::Truncated),
                Ok(_) => {}
                Err(_) => self.fault = Some(Fault::Corrupt),
            }
        }
        done
    }

    /// Starts the next member; `false` at the end of the input or of what is gzip in it.
    fn next_member(&mut self) -> bool {
        let header = match self.stream {
            Stream::Zlib if self.members == 0 => Some(0),
            Stream::Zlib => None,
            Stream::Gzip => gzip_header_len(self.input),
        };
        match header {
            Some(n) => {
                self.input = self.input.get(n..).unwrap_or_default();
                let inflate = Decompress::new(self.stream == Stream::Zlib);
                self.member = Some(Member { inflate, crc: libdeflater::Crc::new() });
                self.members += 1;
                true
            }
            None if self.members == 0 => {
                self.fault = Some(if self.input.len() < 18 { Fault::Truncated } else { Fault::Corrupt });
                false
            }
            None => {
                // Tapes and some tools pad with zeros; RFC 1952 leaves that alone and so do we.
                self.trailing = if self.input.iter().all(|&b| b == 0) { 0 } else { self.input.len() };
                self.input = &[];
                false
            }
        }
    }

    /// Checks the gzip trailer (CRC-32 and size modulo 2^32).
    fn end_member(&mut self) {
        let Some(member) = self.member.take() else { return };
        if self.stream == Stream::Zlib {
            return; // flate2 checked the Adler-32.
        }
        let (Some(crc), Some(size)) = (self.u32_at(0), self.u32_at(4)) else {
            self.fault = Some(Fault::Truncated);
            return;
        };
        if crc != member.crc.sum() || size != member.inflate.total_out() as u32 {
            self.wrong_checksums += 1;
        }
        self.input = self.input.get(8..).unwrap_or_default();
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.input.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    /// What a careful user wants to know about a stream that gave all that was wanted.
    fn report(&self, notices: &mut Vec<Notice>) {
        if self.wrong_checksums > 0 {
            notices.push(Notice::warning(
                "gzip-checksum",
                format!(
                    "the gzip checksum is wrong in {} of {} members: voxel values may be damaged",
                    self.wrong_checksums, self.members
                ),
            ));
        }
        if self.trailing > 0 {
            notices.push(Notice::warning(
                "gzip-trailing-bytes",
                format!("{} bytes after the end of the gzip stream were ignored", self.trailing),
            ));
        }
        if self.fault.is_some() {
            notices.push(Notice::warning(
                "gzip-damaged-end",
                "the gzip stream is cut or damaged after the last voxel: its checksum could not be verified",
            ));
        }
    }
}

/// Length of the gzip member header at the start of `input`, or `None` when there is none (RFC 1952 §2.3).
fn gzip_header_len(input: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags, ..] = *input else { return None };
    let mut at = 10;
    if flags & 4 != 0 {
        let n = input.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))?;
        at += 2 + usize::from(n);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += input.get(at..)?.iter().position(|&b| b == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= input.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(data).unwrap();
        e.finish().unwrap()
    }

    fn run(compressed: &[u8], lead: u64, count: u64) -> Result<(Vec<u8>, Vec<u16>, Vec<String>)> {
        let mut notices = Vec::new();
        let e = elements::<u16>(
            Path::new("x"),
            compressed,
            Stream::Gzip,
            lead,
            count,
            &mut notices,
            &Task::silent(),
        )?;
        let codes = notices.into_iter().map(|n| n.code).collect();
        Ok((e.lead().to_vec(), e.storage[e.start..].to_vec(), codes))
    }

    #[test]
    fn elements_are_aligned_behind_any_lead() {
        let data: Vec<u8> = (0..103_u8).collect();
        for lead in 0..9_u64 {
            let count = (103 - lead) / 2;
            let (head, got, _) = run(&gzip(&data), lead, count).unwrap();
            assert_eq!(head, data[..lead as usize]);
            let bytes: Vec<u8> = got.iter().flat_map(|v| v.to_ne_bytes()).collect();
            assert_eq!(bytes, data[lead as usize..(lead + 2 * count) as usize]);
        }
    }

    #[test]
    fn members_are_joined_and_oddities_told() {
        let (a, b) = (gzip(&[1, 0, 2, 0]), gzip(&[3, 0, 4, 0]));
        let joined = [a.clone(), b.clone()].concat();
        assert_eq!(run(&joined, 0, 4).unwrap(), (vec![], vec![1, 2, 3, 4], vec![]));
        let rubbish = [joined.clone(), vec![7; 512]].concat();
        assert_eq!(run(&rubbish, 0, 4).unwrap().2, ["gzip-trailing-bytes"]);
        let padded = [joined.clone(), vec![0; 512]].concat();
        assert!(run(&padded, 0, 4).unwrap().2.is_empty());
        assert_eq!(run(&joined, 0, 3).unwrap().2, ["bytes-after-voxels"]);
        let mut bad = joined.clone();
        let n = bad.len();
        bad[n - 8] ^= 1;
        assert_eq!(run(&bad, 0, 4).unwrap().2, ["gzip-checksum"]);
        for cut in 0..joined.len() {
            match run(&joined[..cut], 0, 4) {
                Ok((_, got, codes)) => {
                    assert_eq!((got, codes), (vec![1, 2, 3, 4], vec!["gzip-damaged-end".to_owned()]));
                }
                Err(e) => assert_eq!(e.kind(), "malformed"),
            }
        }
    }

    #[test]
    fn a_claim_beyond_the_deflate_ratio_fails_at_once() {
        assert!(run(&gzip(&[0; 4]), 0, 1 << 40).is_err());
        assert!(run(&gzip(&[0; 4]), u64::MAX, u64::MAX).is_err());
    }
}
