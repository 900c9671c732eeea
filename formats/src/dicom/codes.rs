//! Coded terms: what a structure's name means in SNOMED CT, so that programs in any language agree.
//!
//! The table is `assets/codes/segments.tsv`; adding a structure adds a line there.

use std::sync::LazyLock;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde::{Deserialize, Serialize};

use super::attributes::{Attributes, Put, items, text};

/// A coded concept (PS3.3 section 8): value, scheme and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Code Value (0008,0100), e.g. `"10200004"`.
    pub value: String,
    /// Coding Scheme Designator (0008,0102): `"SCT"`, `"DCM"`, in old files `"SRT"`.
    pub scheme: String,
    /// Code Meaning (0008,0104), e.g. `"Liver"`.
    pub meaning: String,
}

/// What a segment is, in codes (PS3.3 C.8.20.2 and 10.30).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coding {
    /// Segmented Property Category, e.g. anatomical structure.
    pub category: Code,
    /// Segmented Property Type, e.g. liver.
    pub kind: Code,
    /// Segmented Property Type Modifier, e.g. left.
    pub modifier: Option<Code>,
}

impl Code {
    /// A code from its three parts.
    #[must_use]
    pub fn new(value: &str, scheme: &str, meaning: &str) -> Self {
        Self { value: value.to_owned(), scheme: scheme.to_owned(), meaning: meaning.to_owned() }
    }

    /// As the one item of a code sequence.
    pub(super) fn to_item(&self) -> InMemDicomObject {
        let mut item = InMemDicomObject::new_empty();
        item.text(tags::CODE_VALUE, &self.value);
        item.text(tags::CODING_SCHEME_DESIGNATOR, &self.scheme);
        item.text(tags::CODE_MEANING, &self.meaning);
        item
    }

    /// The first item of a code sequence.
    pub(super) fn from_sequence(data: Attributes<'_>, sequence: Tag) -> Option<Self> {
        let item = items(data, sequence).first()?;
        // Long codes and URNs are the alternatives of PS3.3 table 8.8-1.
        let value = [tags::CODE_VALUE, tags::LONG_CODE_VALUE, tags::URN_CODE_VALUE];
        Some(Self {
            value: value.into_iter().find_map(|t| text(item, t))?,
            scheme: text(item, tags::CODING_SCHEME_DESIGNATOR).unwrap_or_default(),
            meaning: text(item, tags::CODE_MEANING).unwrap_or_default(),
        })
    }
}

impl Coding {
    /// The coded terms of a structure's name as label tables have it (`"Left-Hippocampus"`, `"kidney_right"`,
    /// `"ctx-lh-insula"`), or `None` for a name that the table does not know.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let words = words(name);
        let (side, rest) = side(&words);
        let (row, modifier) = match find(&words.join(" ")) {
            // A name that is known whole has its side in its code ("left atrium").
            Some(row) if side.is_none() || rest.is_empty() => (row, None),
            Some(row) if !row.names.iter().any(|n| n.ends_with('*')) => (row, None),
            _ => (find(&rest.join(" "))?, side),
        };
        Some(Self { category: row.category.clone(), kind: row.kind.clone(), modifier })
    }

    /// What is written for a name that the table does not know: category and type "Tissue".
    #[must_use]
    pub fn unknown() -> Self {
        let tissue = Code::new("85756007", "SCT", "Tissue");
        Self { category: tissue.clone(), kind: tissue, modifier: None }
    }
}

/// Lower-case words of a name; digits stay with their letters (`"vertebrae_L1"`, `"3rd-Ventricle"`).
fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    words.map(str::to_lowercase).collect()
}

/// The side that a name states, and its other words.
fn side(words: &[String]) -> (Option<Code>, Vec<String>) {
    let of = |w: &str| match w {
        "left" | "lh" | "l" => Some(Code::new("7771000", "SCT", "Left")),
        "right" | "rh" | "r" => Some(Code::new("24028007", "SCT", "Right")),
        _ => None,
    };
    let side = words.iter().find_map(|w| of(w));
    (side, words.iter().filter(|w| of(w).is_none()).cloned().collect())
}

struct Row {
    names: Vec<&'static str>,
    category: Code,
    kind: Code,
}

static TABLE: LazyLock<Vec<Row>> =
    LazyLock::new(|| include_str!("../../../assets/codes/segments.tsv").lines().filter_map(row).collect());

fn row(line: &'static str) -> Option<Row> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('\t');
    let names = cells.next()?.split('|').collect();
    let category = match cells.next()? {
        "T" => Code::new("85756007", "SCT", "Tissue"),
        "A" => Code::new("91723000", "SCT", "Anatomical Structure"),
        "M" => Code::new("49755003", "SCT", "Morphologically Abnormal Structure"),
        "B" => Code::new("91720002", "SCT", "Body Substance"),
        _ => return None,
    };
    let (scheme, value, meaning) = (cells.next()?, cells.next()?, cells.next()?);
    Some(Row { names, category, kind: Code::new(value, scheme, meaning) })
}

fn find(name: &str) -> Option<&'static Row> {
    if name.is_empty() {
        return None;
    }
    let exact = TABLE.iter().find(|r| r.names.contains(&name));
    exact.or_else(|| {
        TABLE.iter().find(|r| {
            r.names
                .iter()
                .any(|n| n.strip_suffix('*').is_some_and(|start| name.starts_with(start.trim_end())))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(name: &str) -> (String, String) {
        let c = Coding::of_name(name).unwrap_or_else(|| panic!("{name} is not known"));
        (c.kind.value, c.modifier.map(|m| m.meaning).unwrap_or_default())
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = include_str!("../../../assets/codes/segments.tsv").lines();
        assert_eq!(TABLE.len(), lines.filter(|l| !l.starts_with('#')).count());
        assert!(TABLE.iter().all(|r| r.kind.value.len() <= 16 && r.kind.meaning.len() <= 64));
    }

    #[test]
    fn names_of_common_tables_are_coded() {
        let is = |name, code: &str, side: &str| assert_eq!(coded(name), (code.into(), side.into()), "{name}");
        is("Left-Hippocampus", "5366008", "Left");
        is("Right-Cerebral-Cortex", "40146001", "Right");
        is("ctx-lh-insula", "36169008", "Left");
        is("ctx-rh-superiorfrontal", "40146001", "Right");
        is("4th-Ventricle", "35918002", "");
        is("kidney_left", "64033007", "Left");
        is("heart_atrium_left", "82471001", "");
        is("lung_upper_lobe_right", "45653009", "Right");
        is("vertebrae_L1", "66794005", "");
        is("rib_left_7", "113197003", "Left");
        is("gluteus_maximus_right", "91727004", "Right");
        is("Edema", "79654002", "");
        is("Liver", "10200004", "");
        assert_eq!(Coding::of_name("quux"), None);
        assert_eq!(Coding::of_name(""), None);
        assert_eq!(Coding::of_name("left"), None);
    }

    #[test]
    fn every_structure_of_the_bundled_network_is_coded() {
        let pack = include_str!("../../../models/packs/segformer3d-brain/pack.toml");
        let names =
            pack.lines().skip_while(|l| *l != "[[label]]").filter_map(|l| l.strip_prefix("name = \""));
        let names: Vec<_> = names.map(|n| n.trim_end_matches('"')).collect();
        assert_eq!(names.len(), 29);
        for name in names {
            coded(name);
        }
    }
}
