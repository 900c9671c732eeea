//! What the header says of redacted pixels.

use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::Redaction;
use crate::dicom::modules::new_uid;
use crate::dicom::pixels::{Overlay, PixelLayout};
use crate::dicom::read::Header;

/// What De-identification Method (0012,0063) gains.
const METHOD: &str = "Burned-in text blanked";

fn text(tag: Tag, vr: VR, value: &str) -> InMemElement {
    InMemElement::new(tag, vr, PrimitiveValue::from(value))
}

fn number(tag: Tag, value: u32) -> InMemElement {
    InMemElement::new(tag, VR::US, PrimitiveValue::from(value as u16))
}

/// Pixels that were compressed are plain: colours are red, green, blue, and the stored bits lie at the bottom.
pub(super) fn of_unpacked(object: &mut InMemDicomObject, layout: &PixelLayout) {
    if layout.samples == 3 {
        object.put(text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"));
        object.put(number(tags::PLANAR_CONFIGURATION, 0));
    }
    object.put(number(tags::BITS_ALLOCATED, layout.bits_allocated));
    object.put(number(tags::BITS_STORED, layout.bits_stored));
    object.put(number(tags::HIGH_BIT, layout.bits_stored - 1));
    // Tables of where frames begin are those of the compressed data.
    for tag in [Tag(0x7fe0, 0x0001), Tag(0x7fe0, 0x0002), Tag(0x7fe0, 0x0003)] {
        object.remove_element(tag);
    }
}

/// Clears the marked bits of an overlay that has its own data.
pub(super) fn clear_overlay(object: &mut InMemDicomObject, overlay: &Overlay, redaction: &Redaction) {
    let marks: Vec<_> = redaction.overlays.iter().filter(|(group, ..)| *group == overlay.group).collect();
    let Some(mut bits) = overlay.bits().filter(|_| !marks.is_empty()).map(<[u8]>::to_vec) else { return };
    for (_, n, mask) in marks {
        let Some(frame) = overlay.frame_of(*n) else { continue };
        for ((y, x), _) in mask.indexed_iter().filter(|(_, marked)| **marked) {
            let inside = |at: usize, origin: i64, len: usize| {
                usize::try_from(at as i64 - origin).ok().filter(|at| *at < len)
            };
            let row = inside(y, overlay.origin[0], overlay.rows);
            let column = inside(x, overlay.origin[1], overlay.columns);
            if let Some((row, column)) = row.zip(column) {
                let bit = (frame * overlay.rows + row) * overlay.columns + column;
                if let Some(byte) = bits.get_mut(bit / 8) {
                    *byte &= !(1 << (bit % 8));
                }
            }
        }
    }
    let tag = Tag(overlay.group, 0x3000);
    let vr = object.get(tag).map_or(VR::OW, |e| e.header().vr());
    let value = if vr == VR::OW {
        if bits.len() % 2 == 1 {
            bits.push(0);
        }
        let words = bits.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
        PrimitiveValue::U16(words.collect())
    } else {
        PrimitiveValue::U8(bits.into_iter().collect())
    };
    object.put(InMemElement::new(tag, vr, value));
}

/// Says that the pixels are clean; true once the written file was looked at. With `is_changed` the object is a new one, unless it
/// `keeps_uid`.
pub(super) fn mark_clean(object: &mut InMemDicomObject, header: &Header, is_changed: bool, keeps_uid: bool) {
    object.put(text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO"));
    if !is_changed {
        return;
    }
    object.remove_element(tags::ICON_IMAGE_SEQUENCE);
    object.put(text(tags::SOP_CLASS_UID, VR::UI, &header.sop_class_uid));
    if !keeps_uid {
        object.put(text(tags::SOP_INSTANCE_UID, VR::UI, &new_uid()));
    }
    let earlier = object.get(tags::DEIDENTIFICATION_METHOD).and_then(|e| e.to_multi_str().ok());
    let mut methods: Vec<String> =
        earlier.map(|m| m.iter().map(|t| t.trim().to_owned()).collect()).unwrap_or_default();
    methods.retain(|m| !m.is_empty());
    if !methods.iter().any(|m| m == METHOD) {
        methods.push(METHOD.to_owned());
    }
    let methods = PrimitiveValue::Strs(methods.into_iter().collect());
    object.put(InMemElement::new(tags::DEIDENTIFICATION_METHOD, VR::LO, methods));
    let mut items: Vec<InMemDicomObject> = object
        .take(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE)
        .and_then(|e| e.into_value().into_items())
        .map(|items| items.into_iter().collect())
        .unwrap_or_default();
    let is_it = |item: &InMemDicomObject| {
        item.get(tags::CODE_VALUE).and_then(|e| e.to_str().ok()).is_some_and(|v| v.trim() == "113101")
    };
    if !items.iter().any(is_it) {
        items.push(InMemDicomObject::from_element_iter([
            text(tags::CODE_VALUE, VR::SH, "113101"),
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
            text(tags::CODE_MEANING, VR::LO, "Clean Pixel Data Option"),
        ]));
    }
    object.put(InMemElement::new(
        tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
        VR::SQ,
        Value::Sequence(DataSetSequence::from(items)),
    ));
}
