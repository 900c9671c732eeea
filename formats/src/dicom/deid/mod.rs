//! De-identification of headers: the Basic Application Level Confidentiality Profile of PS3.15 Annex E and its options.
//!
//! Start reading at [`table`] (what the standard says of each attribute), then [`Deidentifier`] (who decides what
//! stands for whom), then `walk` (how a data set is gone through), then [`file`](mod@file) (how a file is written and
//! read again to see that nothing was left). Pixels are not looked at here: a report says so.
//!
//! # Why
//!
//! - *Combined codes* (X/Z/D …) resolve to the last one, which is valid for every Type; see [`table::Rule::resolve`].
//! - *Sequences under D* stay as sequences: texts in them become `REMOVED`, numbers zero, dates 1900-01-01, codes that are
//!   of no published scheme go; terms (CS) and mapped UIDs stay. The content of a report becomes one item that says so.
//! - *Clean* (C) keeps words of a list (`assets/deid/words.txt`) and short numbers. A text with none of them gets what the
//!   Basic Profile says. Words that are a part of a name in the same file go even when they are in the list.
//! - *Outside the table*: unknown attributes, values without a known representation, odd representations, padding, group
//!   lengths and command elements go; names, dates and application entities lose their values; UIDs outside the root of
//!   the standard are mapped. Texts that repeat a name or an identifier of the same file lose it.
//! - *Ages* stay with Retain Patient Characteristics, also where dates are shifted, since a shift moves birth and
//!   examination alike. The date of birth always goes.

mod clean;
mod dates;
pub mod file;
pub mod key;
pub mod options;
mod private;
pub mod row;
pub mod table;
mod value;
pub mod verify;
mod walk;

use std::collections::BTreeMap;

use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use serde::{Deserialize, Serialize};

pub use clean::Identities;
pub use file::{Outcome, Pixels, Preview};
pub use key::Key;
pub use options::{Dates, Options};
pub use row::{Action, ReportRow, Row};

pub use verify::Finding;

use value::{is_empty, texts};
use walk::Walk;

/// Attributes that say that, and how, a data set was de-identified; they are written, not decided.
const MARKS: &[Tag] = &[
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// The edition of the standard the table is of.
pub const EDITION: &str = "2024b";

/// Who stands for a patient, and how far dates go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// In place of name and identifier.
    pub pseudonym: String,
    /// Days added to dates under [`Dates::Shift`]; negative.
    pub shift_days: i32,
}

/// A de-identified data set and what was done.
#[derive(Clone, Debug)]
pub struct Deidentified {
    /// The new data set, without pixel data if there were none in the old one.
    pub object: InMemDicomObject,
    /// What was done, in the order of the data set; kept elements are left out.
    pub rows: Vec<Row>,
    /// Old UIDs and those in their place.
    pub uids: BTreeMap<String, String>,
    /// Who stands for the patient.
    pub patient: Patient,
}

/// Options and key together: de-identifies data set after data set so that they still belong together.
#[derive(Clone, Debug)]
pub struct Deidentifier {
    /// The options.
    pub options: Options,
    key: Key,
}

impl Deidentifier {
    /// With options, and the key that replacements are made with.
    #[must_use]
    pub fn new(options: Options, key: Key) -> Self {
        Self { options, key }
    }

    /// What identifies the patient of a data set inside a run: the identifier and its issuer, otherwise name and date
    /// of birth. Secret.
    #[must_use]
    pub fn patient_secret(object: &InMemDicomObject) -> String {
        let text = |tag| {
            let values = object.get(tag).and_then(texts).unwrap_or_default();
            values.first().map(|t| t.to_lowercase()).unwrap_or_default()
        };
        let id = text(tags::PATIENT_ID);
        if id.is_empty() {
            return format!("name\n{}\n{}", text(tags::PATIENT_NAME), text(tags::PATIENT_BIRTH_DATE));
        }
        format!("id\n{id}\n{}", text(tags::ISSUER_OF_PATIENT_ID))
    }

    /// Who stands for the patient of a data set.
    #[must_use]
    pub fn patient(&self, object: &InMemDicomObject) -> Patient {
        let secret = Self::patient_secret(object);
        Patient {
            pseudonym: self.options.patient_id.clone().unwrap_or_else(|| self.key.pseudonym(&secret)),
            shift_days: self.key.shift_days(&secret),
        }
    }

    /// What would be done with each element, kept ones too, with old and new values: for a preview. Nothing is written.
    #[must_use]
    pub fn plan(&self, object: &InMemDicomObject) -> Vec<Row> {
        let is_bulk = |e: &&InMemElement| e.header().tag.group() == 0x7fe0;
        // Pixel data are not looked at; copying them for a preview would take their size again.
        let light = InMemDicomObject::from_element_iter(object.iter().filter(|e| !is_bulk(e)).cloned());
        self.run(light, true).rows
    }

    /// De-identifies a data set.
    #[must_use]
    pub fn apply(&self, object: InMemDicomObject) -> Deidentified {
        self.run(object, false)
    }

    fn run(&self, mut object: InMemDicomObject, with_kept: bool) -> Deidentified {
        let patient = self.patient(&object);
        let identities = Identities::of(&object, &self.options);
        // Methods of an earlier de-identification stay true; its text may say anything.
        let earlier = object.take(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE);
        let was_modified = object
            .get(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED)
            .and_then(texts)
            .and_then(|t| t.into_iter().next());
        let marks: Vec<Tag> = MARKS.iter().copied().filter(|t| object.remove_element(*t)).collect();
        let mut walk = Walk::new(
            &self.options,
            &self.key,
            &patient.pseudonym,
            patient.shift_days,
            &identities,
            with_kept,
        );
        let mut object = walk.top(object);
        let has_wide_text = walk.has_wide_text;
        let (mut rows, uids) = (walk.rows, walk.uids);
        for element in self.marks(earlier.as_ref(), was_modified.as_deref()) {
            let tag = element.header().tag;
            let was_there = marks.contains(&tag);
            rows.push(Row {
                path: format!("({:04X},{:04X})", tag.group(), tag.element()),
                tag: format!("({:04X},{:04X})", tag.group(), tag.element()),
                keyword: walk::keyword(tag).to_owned(),
                vr: element.header().vr.to_string().to_owned(),
                action: if was_there { Action::Dummy } else { Action::Add },
                old: String::new(),
                new: Some(value::display(&element)),
                reason: "says that and how the data set was de-identified (PS3.15 E.1.1)".to_owned(),
            });
            object.put(element);
        }
        if has_wide_text {
            // Texts are written in one character set, whatever their items had.
            object.put(InMemElement::new(
                tags::SPECIFIC_CHARACTER_SET,
                VR::CS,
                PrimitiveValue::from("ISO_IR 192"),
            ));
        }
        Deidentified { object, rows, uids, patient }
    }

    /// The attributes of PS3.15 E.1.1, items 5 to 7.
    fn marks(&self, earlier: Option<&InMemElement>, was_modified: Option<&str>) -> Vec<InMemElement> {
        let text = |tag, vr, value: &str| InMemElement::new(tag, vr, PrimitiveValue::from(value));
        let methods = self.options.methods();
        let mut names = vec![format!("PS3.15 {EDITION} Annex E by Insula {}", env!("CARGO_PKG_VERSION"))];
        names.extend(methods.iter().map(|m| m.short.to_owned()));
        let mut items: Vec<InMemDicomObject> = Vec::new();
        let mut has: Vec<&str> = Vec::new();
        for method in &methods {
            has.push(method.code);
            items.push(InMemDicomObject::from_element_iter([
                text(tags::CODE_VALUE, VR::SH, method.code),
                text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
                text(tags::CODE_MEANING, VR::LO, method.meaning),
            ]));
        }
        // Of earlier methods only those of the context group, with values that are looked at.
        for item in earlier.and_then(|e| e.value().items()).unwrap_or_default() {
            let value =
                |tag| item.get(tag).and_then(texts).and_then(|t| t.into_iter().next()).unwrap_or_default();
            let known = EARLIER.iter().find(|(code, _)| value(tags::CODE_VALUE) == *code);
            if let Some((code, meaning)) = known
                && value(tags::CODING_SCHEME_DESIGNATOR) == "DCM"
                && !has.contains(code)
            {
                has.push(code);
                items.push(InMemDicomObject::from_element_iter([
                    text(tags::CODE_VALUE, VR::SH, code),
                    text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
                    text(tags::CODE_MEANING, VR::LO, meaning),
                ]));
            }
        }
        // Dates that were shifted or removed before do not become true again.
        let temporal = match (self.options.dates, was_modified) {
            (Dates::Keep, Some("MODIFIED")) => "MODIFIED",
            (Dates::Keep | Dates::Shift, Some("REMOVED")) => "REMOVED",
            _ => self.options.temporal_information(),
        };
        vec![
            text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
            InMemElement::new(
                tags::DEIDENTIFICATION_METHOD,
                VR::LO,
                PrimitiveValue::Strs(names.into_iter().collect()),
            ),
            InMemElement::new(
                tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
                VR::SQ,
                Value::Sequence(DataSetSequence::from(items)),
            ),
            text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, temporal),
        ]
    }
}

/// Methods that stay true when a data set is de-identified again: what was cleaned stays cleaned.
const EARLIER: &[(&str, &str)] =
    &[("113101", "Clean Pixel Data Option"), ("113102", "Clean Recognizable Visual Features Option")];

/// Whether an element is there with a value.
fn has_value(object: &InMemDicomObject, tag: Tag) -> bool {
    object.get(tag).is_some_and(|e| !is_empty(e))
}
