//! Bytes of one element into a typed value (PS3.5 §6.2).

use dicom_core::value::C;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::dataset::Encoding;

/// Whether explicit elements of this representation have a 16-bit length (PS3.5 table 7.1-2).
pub(super) fn has_short_length(vr: VR) -> bool {
    !matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// The character set in force after (0008,0005) was read.
///
/// With code extensions (several values) the last one that is known decodes the text: its escape sequences are
/// understood or removed, and the others are mostly ASCII (PS3.3 C.12.1.1.2).
pub(super) fn charset(value: &PrimitiveValue) -> SpecificCharacterSet {
    let codes = value.to_multi_str();
    let known = codes.iter().rev().map(|c| c.trim()).filter(|c| !c.is_empty());
    known.filter_map(SpecificCharacterSet::from_code).next().unwrap_or(SpecificCharacterSet::ISO_IR_6)
}

fn text(vr: VR, bytes: &[u8], charset: &SpecificCharacterSet) -> String {
    let end = bytes.iter().rposition(|&b| b != 0 && b != b' ').map_or(0, |at| at + 1);
    let bytes = bytes.get(..end).unwrap_or_default();
    let plain = bytes.iter().all(|&b| b.is_ascii() && b != 0x1b);
    if plain {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let local = matches!(vr, VR::SH | VR::LO | VR::ST | VR::PN | VR::LT | VR::UC | VR::UT);
    if local {
        // Designations of Korean (ESC $ ) C) and Chinese (ESC $ ) A) are no part of the text, and those back to
        // Latin add nothing to it.
        let name = charset.name();
        let stripped: Vec<u8>;
        let bytes = if name == "ISO_IR 87" || !bytes.contains(&0x1b) {
            bytes
        } else {
            stripped = without_escapes(bytes);
            &stripped
        };
        if let Ok(text) = charset.decode(bytes) {
            return text;
        }
    }
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != 0x1b {
            out.push(first);
            continue;
        }
        // ESC, intermediates 2/0..2/15, one final byte (ISO/IEC 2022).
        let intermediates = rest.iter().take_while(|b| (0x20..0x30).contains(*b)).count();
        rest = rest.get(intermediates + 1..).unwrap_or_default();
    }
    out
}

fn numbers<const N: usize, T>(bytes: &[u8], big: bool, f: impl Fn([u8; N]) -> T) -> C<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    let turn = |mut c: [u8; N]| {
        if big {
            c.reverse();
        }
        f(c)
    };
    chunks.iter().map(|&c| turn(c)).collect()
}

/// Whether values of this representation are texts separated by backslashes.
pub(super) fn is_list_of_texts(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::IS
            | VR::LO
            | VR::PN
            | VR::SH
            | VR::TM
            | VR::UC
            | VR::UI
    )
}

/// How many texts there are in a list.
pub(super) fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b == b'\\').count() + 1
}

/// The value of an element. Odd tails of numeric values are dropped; text is decoded and its padding removed.
pub(super) fn primitive(
    vr: VR,
    bytes: &[u8],
    encoding: Encoding,
    charset: &SpecificCharacterSet,
) -> PrimitiveValue {
    use PrimitiveValue as P;
    if bytes.is_empty() {
        return P::Empty;
    }
    let big = encoding.big_endian;
    match vr {
        VR::US => P::U16(numbers(bytes, big, u16::from_le_bytes)),
        VR::OW => P::U16(numbers(bytes, big, u16::from_le_bytes)),
        VR::SS => P::I16(numbers(bytes, big, i16::from_le_bytes)),
        VR::UL | VR::OL => P::U32(numbers(bytes, big, u32::from_le_bytes)),
        VR::SL => P::I32(numbers(bytes, big, i32::from_le_bytes)),
        VR::UV | VR::OV => P::U64(numbers(bytes, big, u64::from_le_bytes)),
        VR::SV => P::I64(numbers(bytes, big, i64::from_le_bytes)),
        VR::FL | VR::OF => P::F32(numbers(bytes, big, f32::from_le_bytes)),
        VR::FD | VR::OD => P::F64(numbers(bytes, big, f64::from_le_bytes)),
        VR::AT => P::Tags(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&[a, b, c, d]| Tag(encoding.u16([a, b]), encoding.u16([c, d])))
                .collect(),
        ),
        VR::ST | VR::LT | VR::UT | VR::UR => P::Str(text(vr, bytes, charset)),
        _ if is_list_of_texts(vr) => {
            let text = text(vr, bytes, charset);
            // In one allocation of the right size.
            let mut values = C::with_capacity(count(text.as_bytes()));
            values.extend(text.split('\\').map(str::to_owned));
            P::Strs(values)
        }
        _ => P::U8(C::from_slice(bytes)),
    }
}
