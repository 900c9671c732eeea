//! Frames of label numbers (PS3.3 A.90): which number becomes which label.

use std::collections::{BTreeMap, BTreeSet};

use dicom_dictionary_std::tags;

use super::segments::Segment;
use crate::dicom::attributes::{Attributes, array, integer};

/// The label of each segment number that occurs. The background (the padding value, or a segment 0 that is said to be
/// background) becomes 0; a structure that is numbered 0 in the file gets a free number.
pub(super) fn labels(object: Attributes<'_>, segments: &[Segment]) -> BTreeMap<u16, u16> {
    let padding = integer(object, tags::PIXEL_PADDING_VALUE).and_then(|v| u16::try_from(v).ok());
    let zero = segments.iter().find(|s| s.number == 0);
    let zero_is_structure = padding.is_some_and(|p| p != 0)
        && zero.is_some_and(|s| s.coding.as_ref().is_none_or(|c| c.kind.value != "125040"));
    let mut map: BTreeMap<u16, u16> = segments.iter().map(|s| (s.number, s.number)).collect();
    map.insert(0, 0);
    if let Some(p) = padding {
        map.insert(p, 0);
    }
    if zero_is_structure {
        let used: BTreeSet<u16> = map.values().copied().collect();
        let free = (1..=u16::MAX).find(|n| !used.contains(n)).unwrap_or(u16::MAX);
        map.insert(0, free);
    }
    map
}

/// Colours of a palette (PS3.3 C.7.6.3.1.5) for the label numbers that have one.
pub(super) fn palette(object: Attributes<'_>) -> BTreeMap<u16, [u8; 3]> {
    let descriptor = |tag| array::<3>(object, tag).map(|d| d.map(|v| v as i64));
    let Some([entries, first, bits]) = descriptor(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR) else {
        return BTreeMap::new();
    };
    let entries = if entries <= 0 { 65536 } else { entries as usize };
    let table = |tag| -> Vec<u8> {
        let bytes = object.get(tag).and_then(|e| e.to_bytes().ok()).unwrap_or_default();
        // 8-bit entries are packed two to a word; a table of words has the significant byte second.
        if bits == 8 && bytes.len() < 2 * entries {
            bytes.to_vec()
        } else {
            bytes.chunks_exact(2).map(|w| if bits == 8 { w[0] } else { w[1] }).collect()
        }
    };
    let channels = [
        table(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        table(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        table(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA),
    ];
    let row = |n: usize| {
        let id = u16::try_from(first + n as i64).ok()?;
        let rgb = [channels[0].get(n)?, channels[1].get(n)?, channels[2].get(n)?];
        Some((id, rgb.map(|v| *v)))
    };
    (0..entries).map_while(row).collect()
}
