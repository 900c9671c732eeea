//! The Segment Sequence (PS3.3 C.8.20.2): what each label is.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Algorithm, SegOptions};
use crate::dicom::attributes::{Attributes, Put, integer, items, numbers, text};
use crate::dicom::codes::{Code, Coding};
use crate::dicom::colour::{lab_from_rgb, rgb_from_lab};
use crate::labels::{LabelEntry, default_rgb};

/// One segment as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Segment Number (0062,0004); 0 occurs in label maps only.
    pub number: u16,
    /// Segment Label (0062,0005).
    pub label: String,
    /// Segment Description (0062,0006).
    pub description: String,
    /// From Recommended Display CIELab Value.
    pub rgb: Option<[u8; 3]>,
    /// Category, type and modifier.
    pub coding: Option<Coding>,
    /// Algorithm type and name.
    pub algorithm: String,
}

/// All segments in the order of the file; those without a usable number are left out.
pub(super) fn read(object: Attributes<'_>) -> Vec<Segment> {
    let one = |item: &InMemDicomObject| {
        let number = u16::try_from(integer(item, tags::SEGMENT_NUMBER)?).ok()?;
        let lab = numbers(item, tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE);
        let lab: Option<[f64; 3]> = lab.try_into().ok();
        let category = Code::from_sequence(item, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE);
        let kind = Code::from_sequence(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE);
        let kind_item = items(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE).first();
        let modifier = kind_item
            .and_then(|k| Code::from_sequence(k, tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE));
        let algorithm = [tags::SEGMENT_ALGORITHM_TYPE, tags::SEGMENT_ALGORITHM_NAME];
        let algorithm: Vec<_> = algorithm.into_iter().filter_map(|t| text(item, t)).collect();
        Some(Segment {
            number,
            label: text(item, tags::SEGMENT_LABEL).unwrap_or_else(|| format!("Segment {number}")),
            description: text(item, tags::SEGMENT_DESCRIPTION).unwrap_or_default(),
            rgb: lab.map(|v| rgb_from_lab(v.map(|x| x.clamp(0.0, 65535.0) as u16))),
            coding: category.zip(kind).map(|(category, kind)| Coding { category, kind, modifier }),
            algorithm: algorithm.join(" "),
        })
    };
    items(object, tags::SEGMENT_SEQUENCE).iter().filter_map(one).collect()
}

impl Segment {
    /// The row of the label table, under the number `id`.
    pub fn entry(&self, id: u16) -> LabelEntry {
        let rgb = self.rgb.unwrap_or_else(|| default_rgb(id));
        LabelEntry { coding: self.coding.clone(), ..LabelEntry::new(id, &self.label, rgb) }
    }

    /// The label number that [`write()`] noted in the description of a structure which it had to renumber.
    pub fn noted_label(&self) -> Option<u16> {
        self.description.strip_prefix(NOTED)?.parse().ok().filter(|&id| id != 0)
    }
}

/// Start of the description that carries the label number.
const NOTED: &str = "Label ";

/// The item of one structure, numbered `number`, for the row `entry` of the label table.
pub(super) fn write(number: u16, entry: &LabelEntry, options: &SegOptions) -> InMemDicomObject {
    let coding =
        entry.coding.clone().or_else(|| Coding::of_name(&entry.name)).unwrap_or_else(Coding::unknown);
    let mut item = segment(number, &entry.name, &coding, options);
    item.text(tags::SEGMENT_DESCRIPTION, &format!("{NOTED}{}", entry.id));
    item.shorts(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &lab_from_rgb(entry.rgb));
    item
}

/// The item of the background, which label maps list as number 0.
pub(super) fn background(options: &SegOptions) -> InMemDicomObject {
    let code = Code::new("125040", "DCM", "Background");
    segment(0, "Background", &Coding { category: code.clone(), kind: code, modifier: None }, options)
}

fn segment(number: u16, label: &str, coding: &Coding, options: &SegOptions) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.sequence(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, vec![coding.category.to_item()]);
    item.shorts(tags::SEGMENT_NUMBER, &[number]);
    item.text(tags::SEGMENT_LABEL, label);
    item.text(tags::SEGMENT_ALGORITHM_TYPE, options.algorithm.term());
    if options.algorithm != Algorithm::Manual {
        item.text(tags::SEGMENT_ALGORITHM_NAME, &options.algorithm_name);
    }
    let mut kind = coding.kind.to_item();
    if let Some(modifier) = &coding.modifier {
        kind.sequence(tags::SEGMENTED_PROPERTY_TYPE_MODIFIER_CODE_SEQUENCE, vec![modifier.to_item()]);
    }
    item.sequence(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![kind]);
    item
}
