//! One DICOM file: where its data set begins, how it is written, what is in it (PS3.10 §7).
//!
//! [`read_header`] stops at the pixel data and remembers where they lie; the samples are for
//! [`Instance`](super::pixels::Instance). Files without preamble, without meta group, without group length or
//! without transfer syntax are read by looking at their first element; what was guessed is told as a notice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use flate2::{Decompress, FlushDecompress, Status};

use super::dataset::{Encoding, Parser, PixelElement, Stop};
use super::pixels::syntax::name;
use crate::error::{Error, Result};
use crate::notice::Notice;

/// First look at a file: most CT and MR headers are smaller.
const FIRST_BYTES: usize = 24 << 10;

/// Deflated data sets may grow to this before their claims are looked at; see [`inflate`].
const UNQUESTIONED_BYTES: usize = 16 << 20;

/// Explicit VR Big Endian, retired in 2006.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// A DICOM file up to its pixel data.
#[derive(Clone, Debug)]
pub struct Header {
    /// The file.
    pub path: PathBuf,
    /// The data set without pixel data and without group lengths. Text is decoded; sequences of unknown
    /// representation (UN) are sequences. Elements behind the pixel data are not in it.
    pub object: Arc<InMemDicomObject>,
    /// Elements of group 0002 as found; empty without a meta group.
    pub meta: Arc<InMemDicomObject>,
    /// Transfer syntax UID (0002,0010), or the one recognised where none is stated.
    pub transfer_syntax_uid: String,
    /// SOP Class UID (0008,0016), otherwise (0002,0002); may be empty.
    pub sop_class_uid: String,
    /// SOP Instance UID (0008,0018), otherwise (0002,0003); may be empty.
    pub sop_instance_uid: String,
    /// How the data set is written.
    pub encoding: Encoding,
    /// Where the samples are; `None` for objects without pixels.
    pub pixels: Option<PixelElement>,
    /// What was odd.
    pub notices: Vec<Notice>,
    pub(super) source: DataSet,
}

/// Reads pieces of a data set.
pub(super) struct DataReader<'a> {
    path: &'a Path,
    start: u64,
    file: Option<File>,
    memory: &'a [u8],
}

impl DataReader<'_> {
    /// Fills `out` from byte `at` of the data set, in one read and with no buffer between.
    pub fn read_at(&mut self, at: u64, out: &mut [u8]) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.start.saturating_add(at)))
                .map_err(Error::io(self.path, "read"))?;
            return file.read_exact(out).map_err(Error::io(self.path, "read"));
        }
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let piece = self.memory.get(at..).and_then(|rest| rest.get(..out.len()));
        let early = || Error::malformed(self.path, "inflated data that end early", "the pixel data");
        out.copy_from_slice(piece.ok_or_else(early)?);
        Ok(())
    }
}

/// Where the bytes of the data set are.
#[derive(Clone, Debug)]
pub(super) enum DataSet {
    /// In the file, from this byte on.
    File { start: u64, len: u64 },
    /// Inflated.
    Memory(Arc<Vec<u8>>),
}

impl Header {
    /// Length of the data set in bytes (inflated).
    pub(super) fn data_len(&self) -> u64 {
        match &self.source {
            DataSet::File { len, .. } => *len,
            DataSet::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Opens the data set for reading pieces of it.
    pub(super) fn reader(&self) -> Result<DataReader<'_>> {
        Ok(match &self.source {
            DataSet::File { start, .. } => {
                let file = File::open(&self.path).map_err(Error::io(&self.path, "open"))?;
                DataReader { path: &self.path, start: *start, file: Some(file), memory: &[] }
            }
            DataSet::Memory(bytes) => DataReader { path: &self.path, start: 0, file: None, memory: bytes },
        })
    }

    /// Text of an element of the data set, without padding; `None` when absent or empty.
    #[must_use]
    pub fn text(&self, tag: Tag) -> Option<String> {
        text(&self.object, tag)
    }
}

fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = object.get(tag)?.to_str().ok()?;
    let text = text.trim_matches([' ', '\0']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether the first bytes of a file look like DICOM, also without preamble (for files without extension).
#[must_use]
pub fn is_dicom(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM") || head.starts_with(b"DICM") || plausible_start(head).is_some()
}

/// The encoding that makes the first elements of a bare data set (or meta group) sensible.
fn plausible_start(head: &[u8]) -> Option<Encoding> {
    let all = [(true, false), (false, false), (true, true), (false, true)];
    let encodings = all.map(|(explicit_vr, big_endian)| Encoding { explicit_vr, big_endian });
    encodings.into_iter().find(|&encoding| {
        let (mut at, mut last, mut seen) = (0_usize, Tag(0, 0), 0);
        while let Some(&[a, b, c, d, e, f, g, h]) = head.get(at..).and_then(|r| r.first_chunk::<8>()) {
            let tag = Tag(encoding.u16([a, b]), encoding.u16([c, d]));
            let group_ok = matches!(tag.group(), 2 | 4 | 8 | 0x10 | 0x12 | 0x18 | 0x20 | 0x28);
            // Starts with group 2 or 8 and goes up; private and later groups end the examination.
            if seen == 0 && !matches!(tag.group(), 2 | 8) || seen > 0 && tag <= last {
                return false;
            }
            if !group_ok {
                break;
            }
            let (len, value) = if encoding.explicit_vr {
                let Some(vr) = dicom_core::VR::from_binary([e, f]) else { return false };
                if super::value::has_short_length(vr) {
                    (u32::from(encoding.u16([g, h])), at + 8)
                } else {
                    let Some(&bytes) = head.get(at + 8..).and_then(|r| r.first_chunk::<4>()) else { break };
                    (encoding.u32(bytes), at + 12)
                }
            } else {
                (encoding.u32([e, f, g, h]), at + 8)
            };
            seen += 1;
            last = tag;
            if len == u32::MAX || seen >= 4 {
                break;
            }
            if len > 1 << 16 {
                return false;
            }
            at = value + len as usize;
        }
        // One element alone proves little.
        seen >= 2
    })
}

/// Reads a file up to its pixel data. Reads no more of the file than that needs.
///
/// # Errors
/// [`Error::Malformed`] when it is no DICOM file or nothing of its data set can be read, [`Error::Unsupported`]
/// for encodings unknown or defined by a manufacturer only, [`Error::OverLimit`] for deflate bombs,
/// [`Error::Io`].
pub fn read_header(path: &Path) -> Result<Header> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let total = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut bytes = Vec::new();
    let mut want = FIRST_BYTES;
    loop {
        let more = want.saturating_sub(bytes.len()) as u64;
        let before = bytes.len();
        // Not more than is there, and no growing by doubling.
        let there = usize::try_from(total.saturating_sub(before as u64).min(more)).unwrap_or(0);
        bytes.reserve_exact(there + 1);
        file.by_ref().take(more).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
        let whole = bytes.len() == before || bytes.len() as u64 >= total;
        let total = if whole { bytes.len() as u64 } else { total };
        match parse(path, &bytes, total)? {
            Some(header) => return Ok(header),
            None if whole => {
                return Err(Error::malformed(path, "a data set that ends early", "more elements"));
            }
            None => want = want.saturating_mul(4),
        }
    }
}

/// Reads what is there; `None` when more of the file is needed.
fn parse(path: &Path, bytes: &[u8], total: u64) -> Result<Option<Header>> {
    let mut notices = Vec::new();
    let start = if bytes.get(128..132) == Some(b"DICM") {
        132
    } else if bytes.starts_with(b"DICM") {
        4
    } else if plausible_start(bytes).is_some() {
        notices.push(Notice::info("dicom-no-preamble", "the file has no DICOM preamble"));
        0
    } else {
        return Err(Error::malformed(
            path,
            "no DICOM preamble, and no data set at the beginning",
            "“DICM” after 128 bytes, or elements of group 0008",
        ));
    };

    // The meta group is explicit little endian, whatever follows (PS3.10 §7.1).
    let body = bytes.get(start..).unwrap_or_default();
    let mut parser = Parser::new(body, total - start as u64);
    let mut meta = InMemDicomObject::new_empty();
    let meta_encoding = match body.get(4..6) {
        Some(&[a, b]) if dicom_core::VR::from_binary([a, b]).is_none() => Encoding::IMPLICIT_LE,
        _ => Encoding::EXPLICIT_LE,
    };
    match parser.read_meta(meta_encoding, &mut meta) {
        Ok(()) => {}
        Err(Stop::MoreBytes) => return Ok(None),
        Err(Stop::Fault(what, at)) => {
            return Err(Error::malformed(
                path,
                format!("file meta information broken at byte {}: {what}", start + at),
                "the elements of group 0002",
            ));
        }
    }
    notices.append(&mut parser.notices);
    let begin = start + parser.position;
    let stated = text(&meta, tags::TRANSFER_SYNTAX_UID);
    let data = bytes.get(begin..).unwrap_or_default();
    let len = total - begin as u64;
    if data.is_empty() && len > 0 {
        return Ok(None);
    }

    let inflated;
    let (data, len, source) = if stated.as_deref() == Some(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
        || stated.as_deref() == Some(uids::JPIP_REFERENCED_DEFLATE)
    {
        if (bytes.len() as u64) < total {
            return Ok(None);
        }
        inflated = Arc::new(inflate(path, data, &mut notices)?);
        (inflated.as_slice(), inflated.len() as u64, DataSet::Memory(Arc::clone(&inflated)))
    } else {
        (data, len, DataSet::File { start: begin as u64, len })
    };
    let (uid, encoding) = syntax(path, stated, data, &mut notices)?;

    let mut parser = Parser::new(data, len);
    let mut object = InMemDicomObject::new_empty();
    match parser.read(encoding, &mut object) {
        Ok(()) => {}
        Err(Stop::MoreBytes) => return Ok(None),
        Err(Stop::Fault(what, at)) => {
            let message = format!("the data set is broken at byte {}: {what}", begin + at);
            if object.iter().next().is_none() {
                return Err(Error::malformed(path, message, "elements of a DICOM data set"));
            }
            notices.push(Notice::warning("dicom-broken-data-set", message + "; the part before it was read"));
        }
    }
    notices.append(&mut parser.notices);
    if object.iter().next().is_none() && parser.pixels.is_none() {
        return Err(Error::malformed(path, "a DICOM file without a data set", "elements after group 0002"));
    }
    let uid_of = |tag, meta_tag| text(&object, tag).or_else(|| text(&meta, meta_tag)).unwrap_or_default();
    Ok(Some(Header {
        path: path.to_owned(),
        transfer_syntax_uid: uid,
        sop_class_uid: uid_of(tags::SOP_CLASS_UID, tags::MEDIA_STORAGE_SOP_CLASS_UID),
        sop_instance_uid: uid_of(tags::SOP_INSTANCE_UID, tags::MEDIA_STORAGE_SOP_INSTANCE_UID),
        object: Arc::new(object),
        meta: Arc::new(meta),
        encoding,
        pixels: parser.pixels,
        notices,
        source,
    }))
}

/// The transfer syntax and the encoding really found, which are not always the same.
fn syntax(
    path: &Path,
    stated: Option<String>,
    data: &[u8],
    notices: &mut Vec<Notice>,
) -> Result<(String, Encoding)> {
    let big = stated.as_deref() == Some(BIG_ENDIAN);
    let told =
        Encoding { explicit_vr: stated.as_deref() != Some(uids::IMPLICIT_VR_LITTLE_ENDIAN), big_endian: big };
    let Some(uid) = stated else {
        let found = first_element(data);
        let uid = match (found.explicit_vr, found.big_endian) {
            (true, false) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            (true, true) => BIG_ENDIAN,
            (false, false) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
            (false, true) => {
                return Err(Error::unsupported(
                    path,
                    "an implicit big endian data set",
                    "the transfer syntaxes of PS3.5",
                    "Export it again as Explicit VR Little Endian",
                ));
            }
        };
        notices.push(Notice::warning(
            "dicom-no-transfer-syntax",
            format!("the file states no transfer syntax; it was read as {}", name(uid)),
        ));
        return Ok((uid.to_owned(), found));
    };
    if uid == "1.2.840.113619.5.2" {
        return Err(Error::unsupported(
            path,
            "the private GE transfer syntax with big endian pixels (1.2.840.113619.5.2)",
            "the transfer syntaxes of PS3.5",
            "Export it again as Explicit VR Little Endian",
        ));
    }
    let found = first_element(data);
    let is_known = found.explicit_vr || !found.big_endian;
    if !data.is_empty() && found != told && is_known {
        notices.push(Notice::warning(
            "dicom-encoding-differs",
            format!("the file says {} but is written {}", name(&uid), describe(found)),
        ));
        return Ok((uid, found));
    }
    Ok((uid, told))
}

fn describe(encoding: Encoding) -> &'static str {
    match (encoding.explicit_vr, encoding.big_endian) {
        (true, false) => "with explicit VR, little endian",
        (true, true) => "with explicit VR, big endian",
        (false, false) => "with implicit VR, little endian",
        (false, true) => "with implicit VR, big endian",
    }
}

/// What the first element of a data set looks like.
fn first_element(data: &[u8]) -> Encoding {
    let Some(&[a, b, _, _, e, f, ..]) = data.first_chunk::<8>() else { return Encoding::EXPLICIT_LE };
    // Data sets begin with small groups: a first byte of 0 and a second one above is the high byte first.
    let big_endian = a == 0 && b != 0;
    Encoding { explicit_vr: dicom_core::VR::from_binary([e, f]).is_some(), big_endian }
}

/// Inflates a deflated data set (PS3.5 A.5: raw deflate, RFC 1951).
///
/// Up to 16 MiB the data may be anything. Beyond, they must be what the elements announce: the beginning is
/// read, and only as much is inflated as its pixel data claim.
fn inflate(path: &Path, deflated: &[u8], notices: &mut Vec<Notice>) -> Result<Vec<u8>> {
    let mut state = Decompress::new(false);
    let mut out = Vec::new();
    let mut limit = UNQUESTIONED_BYTES;
    loop {
        let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        if out.len() == out.capacity() {
            if out.len() >= limit {
                let claim = claimed_len(&out);
                if limit > UNQUESTIONED_BYTES || claim.is_none_or(|claim| claim < limit) {
                    return Err(Error::OverLimit {
                        path: path.to_owned(),
                        needed: format!("more than {} MiB to inflate its data set", out.len() >> 20),
                        limit: "its elements announce less".to_owned(),
                        remedy: "The file is damaged or was made to do harm; export it again".to_owned(),
                    });
                }
                limit = claim.unwrap_or(limit).saturating_add(1 << 20);
            }
            out.reserve((1 << 20).max(out.len()).min(limit - out.len()).max(1));
        }
        let rest = deflated.get(used..).unwrap_or_default();
        let before = (state.total_in(), out.len());
        let status = state.decompress_vec(rest, &mut out, FlushDecompress::None);
        match status {
            Ok(Status::StreamEnd) => return Ok(out),
            Ok(_) if (state.total_in(), out.len()) != before => {}
            Ok(_) if out.len() == out.capacity() => {}
            Ok(_) | Err(_) => {
                if out.is_empty() {
                    return Err(Error::malformed(path, "a broken deflate stream", "a deflated data set"));
                }
                notices.push(Notice::warning(
                    "dicom-deflate-cut",
                    format!("the deflated data set ends early or is damaged after {} bytes", out.len()),
                ));
                return Ok(out);
            }
        }
    }
}

/// How long a data set says it is, from a beginning that reaches into the pixel data.
fn claimed_len(beginning: &[u8]) -> Option<usize> {
    let mut parser = Parser::new(beginning, beginning.len() as u64);
    let mut object = InMemDicomObject::new_empty();
    parser.read(Encoding::EXPLICIT_LE, &mut object).ok()?;
    let pixels = parser.pixels?;
    usize::try_from(pixels.start.checked_add(pixels.len?)?).ok()
}
