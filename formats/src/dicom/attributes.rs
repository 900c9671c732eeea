//! Attributes of data sets got and put by tag, with the value representation of the dictionary.

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::InMemDicomObject;

/// A data set or a sequence item, to be read.
pub(super) type Attributes<'a> = &'a InMemDicomObject;

/// The value as text without padding; `None` when it is absent or empty.
pub(super) fn text(data: Attributes<'_>, tag: Tag) -> Option<String> {
    let value = data.get(tag)?.value().primitive()?.to_str().trim_matches([' ', '\0']).to_owned();
    (!value.is_empty()).then_some(value)
}

/// The values as numbers; empty when absent, or when one is none.
pub(super) fn numbers(data: Attributes<'_>, tag: Tag) -> Vec<f64> {
    let all = data.get(tag).and_then(|e| e.value().primitive()).and_then(|p| p.to_multi_float64().ok());
    all.filter(|v| v.iter().all(|x| x.is_finite())).unwrap_or_default()
}

/// Exactly `N` numbers, or `None`.
pub(super) fn array<const N: usize>(data: Attributes<'_>, tag: Tag) -> Option<[f64; N]> {
    numbers(data, tag).try_into().ok()
}

/// The value as a whole number, or `None`.
pub(super) fn integer(data: Attributes<'_>, tag: Tag) -> Option<i64> {
    data.get(tag)?.value().primitive()?.to_int::<i64>().ok()
}

/// The items of a sequence; empty when absent.
pub(super) fn items(data: Attributes<'_>, tag: Tag) -> &[InMemDicomObject] {
    data.get(tag).and_then(|e| e.items()).unwrap_or_default()
}

/// The first item of a sequence.
pub(super) fn first(data: Attributes<'_>, tag: Tag) -> Option<&InMemDicomObject> {
    items(data, tag).first()
}

/// Puts attributes into a data set.
pub(super) trait Put {
    /// One text; cut and cleaned to what the value representation holds.
    fn text(&mut self, tag: Tag, value: &str);
    /// Several texts, as given.
    fn texts(&mut self, tag: Tag, values: &[&str]);
    /// Decimal strings of at most 16 characters.
    fn decimals(&mut self, tag: Tag, values: &[f64]);
    /// Unsigned 16-bit numbers.
    fn shorts(&mut self, tag: Tag, values: &[u16]);
    /// A sequence.
    fn sequence(&mut self, tag: Tag, items: Vec<InMemDicomObject>);
    /// An attribute without a value (type 2).
    fn empty(&mut self, tag: Tag);
}

/// The value representation that the dictionary gives; the ambiguous ones do not occur among what we put by tag.
fn vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(|e| e.vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        _ => VR::UN,
    }
}

/// The length that the value representation allows, in characters (PS3.5 6.2).
fn longest(vr: VR) -> usize {
    match vr {
        VR::SH | VR::CS | VR::AE => 16,
        VR::LO => 64,
        VR::PN | VR::ST => 1024,
        _ => usize::MAX,
    }
}

impl Put for InMemDicomObject {
    fn text(&mut self, tag: Tag, value: &str) {
        let vr = vr(tag);
        // The backslash separates values, control characters are not allowed.
        let clean = value.chars().filter(|c| !c.is_control()).map(|c| if c == '\\' { '/' } else { c });
        let clean: String = clean.take(longest(vr)).collect();
        self.put(DataElement::new(tag, vr, PrimitiveValue::from(clean.trim())));
    }
    fn texts(&mut self, tag: Tag, values: &[&str]) {
        let values = values.iter().map(ToString::to_string).collect();
        self.put(DataElement::new(tag, vr(tag), PrimitiveValue::Strs(values)));
    }
    fn decimals(&mut self, tag: Tag, values: &[f64]) {
        let values = values.iter().map(|&v| decimal(v)).collect();
        self.put(DataElement::new(tag, vr(tag), PrimitiveValue::Strs(values)));
    }
    fn shorts(&mut self, tag: Tag, values: &[u16]) {
        let vr = if vr(tag) == VR::UN { VR::US } else { vr(tag) };
        self.put(DataElement::new(tag, vr, PrimitiveValue::U16(values.iter().copied().collect())));
    }
    fn sequence(&mut self, tag: Tag, items: Vec<InMemDicomObject>) {
        self.put(DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED)));
    }
    fn empty(&mut self, tag: Tag) {
        self.put(DataElement::empty(tag, vr(tag)));
    }
}

/// A Decimal String: the shortest text of at most 16 characters that comes closest to the value (PS3.5 6.2).
pub(super) fn decimal(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let plain = value.to_string();
    if plain.len() <= 16 {
        return plain;
    }
    let fixed = (0..=15).rev().map(|n| format!("{value:.n$}"));
    let scientific = (0..=15).rev().map(|n| format!("{value:.n$e}"));
    let error = |t: &Option<String>| {
        t.as_ref().and_then(|t| t.parse::<f64>().ok()).map_or(f64::INFINITY, |v| (v - value).abs())
    };
    let (fixed, scientific) =
        (fixed.into_iter().find(|t| t.len() <= 16), scientific.into_iter().find(|t| t.len() <= 16));
    let best = if error(&fixed) <= error(&scientific) { fixed } else { scientific };
    best.unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn decimal_strings_fit_and_lose_little() {
        for v in [
            1.0,
            -0.0,
            0.1 + 0.2,
            -1.0 / 3.0,
            1e-20 / 3.0,
            -123_456.789_012_345_67,
            6.02e23,
            f64::MIN_POSITIVE,
        ] {
            for v in [v, -v, v * std::f64::consts::PI] {
                let text = decimal(v);
                assert!(text.len() <= 16, "{text}");
                let back: f64 = text.parse().unwrap();
                assert!((back - v).abs() <= v.abs() * 1e-9, "{v} became {text}");
            }
        }
        assert_eq!(decimal(-235.199_997), "-235.199997");
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        let mut d = InMemDicomObject::new_empty();
        d.text(tags::STRUCTURE_SET_LABEL, "a\\b\nc 4567890123456789");
        assert_eq!(text(&d, tags::STRUCTURE_SET_LABEL).unwrap(), "a/bc 45678901234");
        d.empty(tags::PATIENT_NAME);
        assert_eq!(text(&d, tags::PATIENT_NAME), None);
        assert_eq!(integer(&d, tags::ROWS), None);
    }
}
