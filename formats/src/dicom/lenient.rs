//! Attributes of files met in the field, read leniently: private ones of unknown representation, several values where
//! one is due, times in all their spellings. Absent and unreadable are the same to the caller.

use dicom_core::{PrimitiveValue, Tag};
use dicom_object::InMemDicomObject;

/// All values as text, without padding.
pub(super) fn texts(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let found = object.get(tag).and_then(|e| e.to_multi_str().ok());
    found.map(|all| all.iter().map(|v| v.trim_matches([' ', '\0']).to_owned()).collect()).unwrap_or_default()
}

/// All values as numbers, if all of them are finite numbers.
pub(super) fn numbers(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    let Some(element) = object.get(tag) else { return Vec::new() };
    let Some(value) = element.value().primitive() else { return Vec::new() };
    let found: Vec<f64> = match value {
        // Private attributes without a known representation are bytes: text, or one little-endian number.
        PrimitiveValue::U8(bytes) => match std::str::from_utf8(bytes) {
            Ok(text)
                if text.trim_matches(['\0', ' ']).split('\\').all(|v| v.trim().parse::<f64>().is_ok()) =>
            {
                text.trim_matches(['\0', ' ']).split('\\').filter_map(|v| v.trim().parse().ok()).collect()
            }
            _ => match bytes.as_slice() {
                &[a, b] => vec![f64::from(u16::from_le_bytes([a, b]))],
                &[a, b, c, d] => vec![f64::from(f32::from_le_bytes([a, b, c, d]))],
                many if many.len() % 8 == 0 => {
                    many.as_chunks::<8>().0.iter().map(|&c| f64::from_le_bytes(c)).collect()
                }
                _ => Vec::new(),
            },
        },
        value => value.to_multi_float64().unwrap_or_default(),
    };
    if found.iter().all(|v| v.is_finite()) { found } else { Vec::new() }
}

/// The first value as a number.
pub(super) fn number(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    numbers(object, tag).first().copied()
}

/// Exactly `N` (or the first `N`) values.
pub(super) fn array<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    numbers(object, tag).first_chunk::<N>().copied()
}

/// The first value as a whole number.
pub(super) fn integer(object: &InMemDicomObject, tag: Tag) -> Option<i64> {
    number(object, tag).filter(|v| v.abs() < 9e15).map(|v| v as i64)
}

/// The bytes of an element of unknown or opaque representation.
pub(super) fn bytes(object: &InMemDicomObject, tag: Tag) -> Option<&[u8]> {
    match object.get(tag)?.value().primitive()? {
        PrimitiveValue::U8(bytes) => Some(bytes),
        _ => None,
    }
}

/// Seconds since midnight of a TM value (`HHMMSS.FFFFFF`, with colons in very old files; PS3.5 §6.2), or of the time
/// in a DT value, to which whole days are added.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let text: String = text.trim().chars().filter(|c| *c != ':').collect();
    let whole = text.split(['.', '+', '-']).next()?;
    if !text.is_ascii() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = text.get(whole.len()..).filter(|f| f.starts_with('.'));
    let fraction = fraction.map_or("", |f| f.split(['+', '-']).next().unwrap_or(f));
    let fraction: f64 = if fraction.len() > 1 { format!("0{fraction}").parse().ok()? } else { 0.0 };
    let part = |range: std::ops::Range<usize>| whole.get(range).and_then(|v| v.parse::<f64>().ok());
    let clock = |at: usize| {
        let (h, m, s) =
            (part(at..at + 2)?, part(at + 2..at + 4).unwrap_or(0.0), part(at + 4..at + 6).unwrap_or(0.0));
        (h < 24.0 && m < 60.0 && s < 61.0).then_some(h * 3600.0 + m * 60.0 + s + fraction)
    };
    if whole.len() >= 10 { Some(day_number(whole)? * 86400.0 + clock(8)?) } else { clock(0) }
}

/// Days from 1970-01-01 to a date that begins with `YYYYMMDD` (proleptic Gregorian calendar).
pub(super) fn day_number(date: &str) -> Option<f64> {
    let part = |range: std::ops::Range<usize>| date.get(range).and_then(|v| v.parse::<i64>().ok());
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March have the leap day at their end.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1;
    Some((days - 719_468) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("114815"), Some(42495.0));
        assert_eq!(seconds("114815.250000"), Some(42495.25));
        assert_eq!(seconds("11:48:15"), Some(42495.0));
        assert_eq!(seconds("1148"), Some(42480.0));
        assert_eq!(seconds("19700102000001.5"), Some(86401.5));
        assert_eq!(seconds("19700102000001.5+0100"), Some(86401.5));
        assert_eq!(seconds("noon"), None);
        assert_eq!(day_number("20000301"), Some(11017.0));
        assert_eq!(day_number("19700101"), Some(0.0));
    }
}
