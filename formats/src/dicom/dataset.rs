//! Bytes of a data set into a [`InMemDicomObject`], without believing any length (PS3.5 §7).
//!
//! Why not the reader of `dicom-object`: it stops at the first fault and drops what it had, gives no position of
//! the pixel data, and copies them. A viewer must show the CT behind a broken private sequence, and wants the
//! pixels straight from the file. This reader walks bytes that are there: a value is copied only once its bytes
//! were seen, nesting and the number of elements are bounded, and what was read before a fault is kept.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::value::{DataSetSequence, PixelFragmentSequence, Value};
use dicom_core::{DataElement, Length, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::value;
use crate::notice::Notice;

/// Sequences within sequences; PS3.3 needs fewer than ten, structured reports some dozens.
const MAX_DEPTH: usize = 100;

/// What a data set may take in memory: this, and so much for each byte of the file, pixels included: the program's rule of
/// 64 MiB and four times the bytes present, with room for the buffer it is read through. Items of sequences take more than
/// four times their length; thousands of frames described one by one fit because of what is free.
const FREE_BYTES: usize = 48 << 20;
const BYTES_PER_BYTE: usize = 4;

/// Nodes of the tree that a data set is hold eleven elements, used or not; on the average half of them are.
const NODE_BYTES: usize = 11 * (size_of::<InMemElement>() + size_of::<Tag>());
const ELEMENT_BYTES: usize = 2 * size_of::<InMemElement>();
/// Lists of items grow by doubling.
const ITEM_BYTES: usize = 2 * size_of::<InMemDicomObject>();

/// Most oddities told of one data set.
const MAX_NOTICES: usize = 50;

/// Length that means "up to the delimiter" (PS3.5 §7.1.1).
const UNDEFINED: u32 = u32::MAX;

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// How elements are written (PS3.5 §7.1, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Each element names its value representation.
    pub explicit_vr: bool,
    /// Most significant byte first (retired).
    pub big_endian: bool,
}

impl Encoding {
    /// The encoding of meta groups and of most files.
    pub const EXPLICIT_LE: Self = Self { explicit_vr: true, big_endian: false };
    /// The default of the network protocol, and of sequences of unknown representation.
    pub const IMPLICIT_LE: Self = Self { explicit_vr: false, big_endian: false };

    pub(super) fn u16(self, b: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) }
    }

    pub(super) fn u32(self, b: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    }
}

/// Where the samples of an image lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelElement {
    /// (7FE0,0010) Pixel Data, (7FE0,0008) Float Pixel Data or (7FE0,0009) Double Float Pixel Data.
    pub tag: Tag,
    /// OB or OW for integers.
    pub vr: VR,
    /// First byte of the value (or of the first item), counted from the start of the data set.
    pub start: u64,
    /// Declared length in bytes; `None` when encapsulated in fragments (PS3.5 A.4).
    pub len: Option<u64>,
}

/// Why reading ended before the end of the data set.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes given end here; the file goes on.
    MoreBytes,
    /// What is wrong, at which byte of the data set.
    Fault(String, usize),
}

/// One pass over the beginning of a data set.
pub(super) struct Parser<'a> {
    data: &'a [u8],
    /// Length of the data set in the file, of which `data` may be a beginning.
    total: u64,
    charset: SpecificCharacterSet,
    signed_pixels: bool,
    memory_left: usize,
    pub notices: Vec<Notice>,
    pub pixels: Option<PixelElement>,
    /// First byte not understood.
    pub position: usize,
}

struct ElementHead {
    tag: Tag,
    vr: VR,
    len: u32,
}

impl<'a> Parser<'a> {
    pub fn new(data: &'a [u8], total: u64) -> Self {
        let allowed = usize::try_from(total).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_BYTE);
        Self {
            data,
            total,
            charset: SpecificCharacterSet::ISO_IR_6,
            signed_pixels: false,
            memory_left: allowed.saturating_add(FREE_BYTES),
            notices: Vec::new(),
            pixels: None,
            position: 0,
        }
    }

    /// Reads elements into `object` up to the pixel data or the end. On a fault everything before it is in `object`.
    pub fn read(&mut self, encoding: Encoding, object: &mut InMemDicomObject) -> Result<(), Stop> {
        let mut at = self.position;
        let end = self.total;
        let result = self.elements(encoding, &mut at, end, 0, object);
        self.position = at;
        result
    }

    /// Reads the elements of group 0002 only.
    pub fn read_meta(&mut self, encoding: Encoding, object: &mut InMemDicomObject) -> Result<(), Stop> {
        let mut at = self.position;
        while self.bytes::<2>(at).map(|b| encoding.u16(b)) == Ok(2) {
            self.element(encoding, &mut at, 0, object)?;
            self.position = at;
        }
        Ok(())
    }

    fn notice(&mut self, notice: Notice) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(notice);
        }
    }

    fn fault<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Fault(what.into(), at))
    }

    /// Takes memory from what the file may have.
    fn spend(&mut self, at: usize, bytes: usize) -> Result<(), Stop> {
        match self.memory_left.checked_sub(bytes) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => self.fault(at, "more elements than a file of this size can mean"),
        }
    }

    fn slice(&self, at: usize, len: usize) -> Result<&'a [u8], Stop> {
        let end = at.checked_add(len);
        match end.and_then(|end| self.data.get(at..end)) {
            Some(bytes) => Ok(bytes),
            None if end.is_some_and(|end| end as u64 <= self.total) => Err(Stop::MoreBytes),
            None => self.fault(
                at,
                format!("{len} bytes are announced where {} are left", self.total.saturating_sub(at as u64)),
            ),
        }
    }

    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], ()> {
        self.data.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(())
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Stop> {
        let bytes = self.slice(at, N)?;
        bytes.first_chunk::<N>().copied().ok_or(Stop::MoreBytes)
    }

    fn tag(&self, encoding: Encoding, at: usize) -> Result<Tag, Stop> {
        let [a, b, c, d] = self.array(at)?;
        Ok(Tag(encoding.u16([a, b]), encoding.u16([c, d])))
    }

    /// Reads up to `end`, to an item delimiter (inside items) or to the pixel data (outside).
    fn elements(
        &mut self,
        encoding: Encoding,
        at: &mut usize,
        end: u64,
        depth: usize,
        object: &mut InMemDicomObject,
    ) -> Result<(), Stop> {
        while (*at as u64) < end {
            let left = end - *at as u64;
            if left < 8 {
                // Padding after the last element, seen in files written with odd lengths.
                *at = usize::try_from(end).unwrap_or(*at);
                return Ok(());
            }
            let tag = self.tag(encoding, *at)?;
            if tag == ITEM_END && depth > 0 {
                *at += 8;
                return Ok(());
            }
            if depth == 0
                && matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
            {
                let (head, start) = self.head(encoding, *at, object)?;
                let len = (head.len != UNDEFINED).then_some(u64::from(head.len));
                self.pixels = Some(PixelElement { tag, vr: head.vr, start: start as u64, len });
                *at = start;
                return Ok(());
            }
            self.element(encoding, at, depth, object)?;
        }
        Ok(())
    }

    /// Tag, representation and length of the element at `at`, and where its value begins.
    fn head(
        &mut self,
        encoding: Encoding,
        at: usize,
        object: &InMemDicomObject,
    ) -> Result<(ElementHead, usize), Stop> {
        let tag = self.tag(encoding, at)?;
        let rest: [u8; 4] = self.array(at + 4)?;
        if !encoding.explicit_vr || tag.group() == 0xfffe {
            let vr = self.implied_vr(tag, object);
            return Ok((ElementHead { tag, vr, len: encoding.u32(rest) }, at + 8));
        }
        let [a, b, c, d] = rest;
        if !(a.is_ascii_uppercase() && b.is_ascii_uppercase()) {
            // Some writers put implicit elements, or a blank representation, into explicit files.
            let len = encoding.u32(rest);
            if (at as u64 + 8).saturating_add(u64::from(len)) <= self.total {
                return Ok((ElementHead { tag, vr: self.implied_vr(tag, object), len }, at + 8));
            }
            return self.fault(at, format!("no value representation in element {tag}"));
        }
        let known = VR::from_binary([a, b]);
        if known.is_some_and(value::has_short_length) {
            let vr = known.unwrap_or(VR::UN);
            return Ok((ElementHead { tag, vr, len: u32::from(encoding.u16([c, d])) }, at + 8));
        }
        // Representations still to be invented have the long form too (PS3.5 §7.1.2).
        let len = encoding.u32(self.array(at + 8)?);
        Ok((ElementHead { tag, vr: known.unwrap_or(VR::UN), len }, at + 12))
    }

    fn implied_vr(&self, tag: Tag, object: &InMemDicomObject) -> VR {
        let Some(entry) = StandardDataDictionary.by_tag(tag) else { return VR::UN };
        match entry.vr() {
            VirtualVr::Exact(vr) => vr,
            VirtualVr::Xs => {
                let here = object.get(tags::PIXEL_REPRESENTATION).and_then(|e| e.to_int::<u16>().ok());
                if here.map_or(self.signed_pixels, |v| v == 1) { VR::SS } else { VR::US }
            }
            VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt => VR::OW,
            _ => VR::UN,
        }
    }

    fn element(
        &mut self,
        encoding: Encoding,
        at: &mut usize,
        depth: usize,
        object: &mut InMemDicomObject,
    ) -> Result<(), Stop> {
        let (mut head, start) = self.head(encoding, *at, object)?;
        self.spend(*at, ELEMENT_BYTES)?;
        if depth > 0 && object.iter().next().is_none() {
            self.spend(*at, NODE_BYTES)?;
        }
        if head.tag.group() == 0xfffe {
            // A delimiter without a sequence: stray, of no content.
            *at = start;
            return Ok(());
        }
        // A sequence in an unknown representation is implicit little endian inside (PS3.5 §6.2.2, note 2).
        let mut inner = encoding;
        if head.vr == VR::UN {
            let implied = self.implied_vr(head.tag, object);
            if head.len == UNDEFINED || implied == VR::SQ {
                let explicit_inside = self.array::<4>(start + 12).is_ok_and(|b| {
                    encoding.explicit_vr && {
                        head.len == UNDEFINED && VR::from_binary([b[0], b[1]]).is_some()
                    }
                });
                if !explicit_inside {
                    inner = Encoding::IMPLICIT_LE;
                }
                head.vr = VR::SQ;
            }
        }
        if head.vr == VR::SQ || head.len == UNDEFINED {
            return self.nested(&head, inner, start, at, depth, object);
        }
        let len = usize::try_from(head.len).unwrap_or(usize::MAX);
        let bytes = self.slice(start, len)?;
        *at = start + len;
        let values = if value::is_list_of_texts(head.vr) { value::count(bytes) } else { 0 };
        self.spend(start, len.saturating_add(values.saturating_mul(size_of::<String>())))?;
        if head.tag.element() == 0 {
            return Ok(()); // group lengths are retired and wrong once anything is changed
        }
        let primitive = value::primitive(head.vr, bytes, encoding, &self.charset);
        if depth == 0 {
            match head.tag {
                tags::SPECIFIC_CHARACTER_SET => self.charset = value::charset(&primitive),
                tags::PIXEL_REPRESENTATION => {
                    self.signed_pixels = primitive.to_int::<u16>().is_ok_and(|v| v == 1);
                }
                _ => {}
            }
        }
        object.put(DataElement::new(head.tag, head.vr, primitive));
        Ok(())
    }

    /// A sequence, or fragments outside the pixel data (icons).
    fn nested(
        &mut self,
        head: &ElementHead,
        encoding: Encoding,
        start: usize,
        at: &mut usize,
        depth: usize,
        object: &mut InMemDicomObject,
    ) -> Result<(), Stop> {
        if depth >= MAX_DEPTH {
            return self.fault(start, format!("sequences nested more than {MAX_DEPTH} deep"));
        }
        let end = (head.len != UNDEFINED).then(|| start as u64 + u64::from(head.len));
        if let Some(end) = end.filter(|&end| end > self.data.len() as u64) {
            if end <= self.total {
                return Err(Stop::MoreBytes);
            }
            self.notice(Notice::warning(
                "dicom-cut-sequence",
                format!("sequence {} announces {} bytes beyond the end", head.tag, end - self.total),
            ));
        }
        let mut inside = start;
        let (element, result): (InMemElement, _) = if head.vr == VR::SQ {
            let mut items = Vec::new();
            let result = self.items(encoding, &mut inside, end, depth, &mut items);
            let value = Value::Sequence(DataSetSequence::new(items, Length::UNDEFINED));
            (DataElement::new(head.tag, VR::SQ, value), result)
        } else {
            let mut fragments = Vec::new();
            let result = self.fragments(encoding, &mut inside, end, &mut fragments);
            let value = Value::PixelSequence(PixelFragmentSequence::new_fragments(fragments));
            (DataElement::new(head.tag, head.vr, value), result)
        };
        object.put(element);
        match (result, end.and_then(|e| usize::try_from(e).ok()).filter(|&e| e as u64 <= self.total)) {
            (Ok(()), Some(end)) => *at = end,
            (Ok(()), None) => *at = inside,
            (Err(Stop::Fault(what, place)), Some(end)) => {
                self.notice(Notice::warning(
                    "dicom-bad-sequence",
                    format!("sequence {}: {what} (byte {place}); its rest was skipped", head.tag),
                ));
                *at = end;
            }
            (Err(stop), _) => return Err(stop),
        }
        Ok(())
    }

    fn items(
        &mut self,
        encoding: Encoding,
        at: &mut usize,
        end: Option<u64>,
        depth: usize,
        items: &mut Vec<InMemDicomObject>,
    ) -> Result<(), Stop> {
        while end.is_none_or(|end| (*at as u64) < end) {
            let tag = self.tag(encoding, *at)?;
            let len = encoding.u32(self.array(*at + 4)?);
            if tag == SEQUENCE_END {
                *at += 8;
                return Ok(());
            }
            if tag != ITEM {
                return self.fault(*at, format!("element {tag} where an item was expected"));
            }
            self.spend(*at, ITEM_BYTES)?;
            *at += 8;
            let mut item = InMemDicomObject::new_empty();
            let stop_at = if len == UNDEFINED { self.total } else { *at as u64 + u64::from(len) };
            if len != UNDEFINED && end.is_some_and(|end| stop_at > end) {
                return self.fault(*at, format!("an item of {len} bytes reaches beyond its sequence"));
            }
            let result = self.elements(encoding, at, stop_at, depth + 1, &mut item);
            items.push(item);
            result?;
            if len != UNDEFINED && *at as u64 != stop_at {
                return self.fault(*at, format!("an item of {len} bytes whose elements end elsewhere"));
            }
        }
        Ok(())
    }

    fn fragments(
        &mut self,
        encoding: Encoding,
        at: &mut usize,
        end: Option<u64>,
        fragments: &mut Vec<Vec<u8>>,
    ) -> Result<(), Stop> {
        while end.is_none_or(|end| (*at as u64) < end) {
            let tag = self.tag(encoding, *at)?;
            let len = encoding.u32(self.array(*at + 4)?);
            *at += 8;
            match tag {
                SEQUENCE_END => return Ok(()),
                ITEM => {
                    let bytes = self.slice(*at, usize::try_from(len).unwrap_or(usize::MAX))?;
                    self.spend(*at, bytes.len().saturating_add(2 * size_of::<Vec<u8>>()))?;
                    *at += bytes.len();
                    fragments.push(bytes.to_vec());
                }
                _ => return self.fault(*at, format!("element {tag} between fragments")),
            }
        }
        Ok(())
    }
}
