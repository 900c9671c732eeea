//! Private attributes that are known to be safe (PS3.15 E.3.10), found through their private creators (PS3.5 7.8.1).

use std::sync::LazyLock;

use dicom_core::{Tag, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::value::texts;

const TEXT: &str = include_str!("../../../../assets/deid/safe-private.tsv");

/// Text of a run this long does not come about by chance in numbers stored as bytes.
const LETTERS_OF_TEXT: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Term,
}

/// One attribute of the list.
#[derive(Debug)]
struct Safe {
    creator: &'static str,
    group: u16,
    element: u8,
    kind: Kind,
    what: &'static str,
}

fn list() -> &'static [Safe] {
    static LIST: LazyLock<Vec<Safe>> = LazyLock::new(|| {
        let rows = TEXT.lines().filter(|l| !l.starts_with('#')).skip(1);
        rows.filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Safe {
                creator: fields.next()?,
                group: u16::from_str_radix(fields.next()?, 16).ok()?,
                element: u8::from_str_radix(fields.next()?, 16).ok()?,
                kind: match fields.next()? {
                    "number" => Kind::Number,
                    "term" => Kind::Term,
                    _ => return None,
                },
                what: fields.next()?,
            })
        })
        .collect()
    });
    &LIST
}

/// Whether the tag is a private creator: (odd group,0010-00FF).
pub fn is_creator(tag: Tag) -> bool {
    tag.group() % 2 == 1 && (0x10..=0xff).contains(&tag.element())
}

/// The creator that reserved the block of a private tag in the same data set.
fn creator_of(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let block = tag.element() >> 8;
    let creator = Tag(tag.group(), block);
    if !is_creator(creator) {
        return None;
    }
    let text = object.get(creator)?.value().to_str().ok()?;
    Some(text.trim_matches([' ', '\0']).to_owned())
}

/// What a private attribute is, when it is known to be safe and its value is of the kind it should be.
pub fn safe(object: &InMemDicomObject, element: &InMemElement) -> Option<&'static str> {
    let tag = element.header().tag;
    let creator = creator_of(object, tag)?;
    let low = u8::try_from(tag.element() & 0xff).ok()?;
    let found = list()
        .iter()
        .find(|s| s.group == tag.group() && s.element == low && s.creator.eq_ignore_ascii_case(&creator))?;
    let is_sound = match found.kind {
        Kind::Number => is_number(element),
        Kind::Term => texts(element).is_some_and(|t| t.iter().all(|t| is_term(t))),
    };
    is_sound.then_some(found.what)
}

/// The creators of blocks that hold safe attributes stay; whether `tag` is one of these.
pub fn is_needed_creator(object: &InMemDicomObject, tag: Tag) -> bool {
    is_creator(tag)
        && object.iter().any(|e| {
            let t = e.header().tag;
            t.group() == tag.group() && t.element() >> 8 == tag.element() && safe(object, e).is_some()
        })
}

fn is_number(element: &InMemElement) -> bool {
    match element.header().vr {
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD => true,
        VR::IS | VR::DS => texts(element).is_some_and(|t| t.iter().all(|t| is_decimal(t))),
        // Implicit VR tells no representation: digits, or bytes that hold no text.
        VR::UN | VR::OB | VR::OW => {
            let Ok(bytes) = element.value().to_bytes() else { return false };
            let text = String::from_utf8_lossy(&bytes);
            text.split('\\').all(is_decimal) || !has_text(&bytes)
        }
        _ => false,
    }
}

fn is_decimal(text: &str) -> bool {
    let text = text.trim_matches([' ', '\0']);
    text.is_empty() || text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
}

fn has_text(bytes: &[u8]) -> bool {
    bytes.len() % 2 == 1 || bytes.windows(LETTERS_OF_TEXT).any(|w| w.iter().all(u8::is_ascii_alphanumeric))
}

/// A CS value (PS3.5 6.2): at most 16 capitals, digits, blanks and underscores.
pub fn is_term(text: &str) -> bool {
    let text = text.trim_matches([' ', '\0']);
    text.len() <= 16
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue, dicom_value};

    #[test]
    fn every_line_of_the_list_is_understood() {
        let lines = TEXT.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(list().len(), lines - 1);
        assert!(list().iter().all(|s| s.group % 2 == 1 && !s.what.is_empty()));
    }

    #[test]
    fn blocks_are_found_through_their_creators() {
        let b = |block: u16| {
            DataElement::new(Tag(0x0019, block << 8 | 0x0c), VR::IS, PrimitiveValue::from("1000"))
        };
        let creator =
            |block: u16, name: &str| DataElement::new(Tag(0x0019, block), VR::LO, PrimitiveValue::from(name));
        let is_safe = |object: &InMemDicomObject, block: u16| {
            safe(object, object.get(Tag(0x0019, block << 8 | 0x0c)).unwrap()).is_some()
        };
        // The block is not always the first, and another vendor's tag of the same number is another matter.
        let object = InMemDicomObject::from_element_iter([
            creator(0x10, "ACME 1"),
            creator(0x21, "SIEMENS MR HEADER "),
            b(0x10),
            b(0x21),
            b(0x22),
        ]);
        assert!(is_safe(&object, 0x21) && !is_safe(&object, 0x10) && !is_safe(&object, 0x22));
        assert!(is_needed_creator(&object, Tag(0x0019, 0x21)));
        assert!(!is_needed_creator(&object, Tag(0x0019, 0x10)));
        let with = |vr, value: PrimitiveValue| {
            let object = InMemDicomObject::from_element_iter([
                creator(0x10, "SIEMENS MR HEADER"),
                DataElement::new(Tag(0x0019, 0x100c), vr, value),
            ]);
            is_safe(&object, 0x10)
        };
        assert!(with(VR::UN, PrimitiveValue::from(b"1000\\8\0".to_vec())));
        assert!(with(VR::UN, dicom_value!(U8, [0, 0, 0, 0, 0x40, 0x8f, 0x40, 0])));
        assert!(!with(VR::UN, PrimitiveValue::from(b"Miller^Anne ".to_vec())));
        assert!(!with(VR::LO, PrimitiveValue::from("1000")));
        assert!(!with(VR::IS, PrimitiveValue::from("Miller")));
    }
}
