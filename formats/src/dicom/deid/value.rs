//! Values: seen as text, and dummies for them.

use dicom_core::value::Value;
use dicom_core::{PrimitiveValue, VR};
use dicom_object::mem::InMemElement;

/// What stands where a text was and one is needed. Fits every text VR (16 characters of SH and CS).
pub const REMOVED: &str = "REMOVED";
const DUMMY_DATE: &str = "19000101";
const DUMMY_TIME: &str = "000000";
const DUMMY_DATETIME: &str = "19000101000000";

/// Whether values of this representation are text that people write, or identifiers.
pub fn is_text(vr: VR) -> bool {
    is_free_text(vr) || matches!(vr, VR::PN | VR::AE | VR::UR | VR::CS)
}

/// Whether any words may stand there.
pub fn is_free_text(vr: VR) -> bool {
    matches!(vr, VR::LO | VR::SH | VR::ST | VR::LT | VR::UT | VR::UC)
}

/// The values as strings, without padding; none for binary values and sequences.
pub fn texts(element: &InMemElement) -> Option<Vec<String>> {
    match element.value() {
        Value::Primitive(PrimitiveValue::Str(text)) => Some(vec![trim(text).to_owned()]),
        Value::Primitive(PrimitiveValue::Strs(texts)) => {
            Some(texts.iter().map(|t| trim(t).to_owned()).collect())
        }
        Value::Primitive(PrimitiveValue::Empty) => Some(Vec::new()),
        Value::Primitive(
            p @ (PrimitiveValue::Date(_) | PrimitiveValue::Time(_) | PrimitiveValue::DateTime(_)),
        ) => Some(p.to_multi_str().iter().map(|t| trim(t).to_owned()).collect()),
        _ => None,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\0'])
}

/// Whether there is nothing in it: no bytes, no items, or padding only.
pub fn is_empty(element: &InMemElement) -> bool {
    match element.value() {
        Value::Primitive(PrimitiveValue::Empty) => true,
        Value::Primitive(_) => texts(element).is_some_and(|t| t.iter().all(String::is_empty)),
        Value::Sequence(s) => s.items().is_empty(),
        Value::PixelSequence(_) => false,
    }
}

/// A value of the representation that says nothing: numbers become zeros, as many as there were (PS3.15 E.3.1: D).
pub fn dummy(vr: VR, old: &PrimitiveValue) -> PrimitiveValue {
    let count = usize::try_from(old.multiplicity()).unwrap_or(1).max(1);
    macro_rules! zeros {
        ($variant:ident, $zero:expr) => {
            PrimitiveValue::$variant(std::iter::repeat_n($zero, count).collect())
        };
    }
    match vr {
        VR::DA => DUMMY_DATE.into(),
        VR::TM => DUMMY_TIME.into(),
        VR::DT => DUMMY_DATETIME.into(),
        VR::AS => "000Y".into(),
        VR::IS | VR::DS => match count {
            1 => "0".into(),
            _ => zeros!(Strs, "0".to_owned()),
        },
        VR::US
        | VR::OW
        | VR::SS
        | VR::UL
        | VR::OL
        | VR::SL
        | VR::UV
        | VR::OV
        | VR::SV
        | VR::FL
        | VR::OF
        | VR::FD
        | VR::OD
        | VR::AT => match old {
            PrimitiveValue::U8(_) => zeros!(U8, 0),
            PrimitiveValue::U16(_) => zeros!(U16, 0),
            PrimitiveValue::I16(_) => zeros!(I16, 0),
            PrimitiveValue::U32(_) => zeros!(U32, 0),
            PrimitiveValue::I32(_) => zeros!(I32, 0),
            PrimitiveValue::U64(_) => zeros!(U64, 0),
            PrimitiveValue::I64(_) => zeros!(I64, 0),
            PrimitiveValue::F32(_) => zeros!(F32, 0.0),
            PrimitiveValue::F64(_) => zeros!(F64, 0.0),
            _ => PrimitiveValue::Empty,
        },
        // Documents, signatures and what nobody knows: a pair of zero bytes.
        VR::OB | VR::UN | VR::SQ => PrimitiveValue::U8([0, 0].into_iter().collect()),
        VR::UR => "urn:removed".into(),
        VR::UI => PrimitiveValue::Empty,
        _ => REMOVED.into(),
    }
}

/// The value for people, cut short; binary values by their size.
pub fn display(element: &InMemElement) -> String {
    const LONGEST: usize = 80;
    let text = match element.value() {
        Value::Sequence(s) => match s.items().len() {
            1 => "1 item".to_owned(),
            n => format!("{n} items"),
        },
        Value::PixelSequence(p) => format!("{} fragments", p.fragments().len()),
        Value::Primitive(_)
            if matches!(
                element.header().vr,
                VR::OB | VR::OW | VR::UN | VR::OF | VR::OD | VR::OL | VR::OV
            ) =>
        {
            format!("{} bytes", element.value().to_bytes().map_or(0, |b| b.len()))
        }
        Value::Primitive(p) => p.to_multi_str().iter().map(|t| trim(t)).collect::<Vec<_>>().join("\\"),
    };
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}
