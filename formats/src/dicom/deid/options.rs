//! What is retained and what is cleaned beyond the Basic Profile (PS3.15 E.3).

use serde::{Deserialize, Serialize};

/// What becomes of dates and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dates {
    /// They go, as the Basic Profile asks.
    #[default]
    Remove,
    /// Those of a patient are shifted by one secret number of whole days: intervals, times of day and ages stay.
    Shift,
    /// They stay.
    Keep,
}

/// The options of the profile. The default is the Basic Profile alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Keep UIDs (E.3.9). Otherwise each is replaced, everywhere by the same one.
    pub retain_uids: bool,
    /// Dates and times (E.3.6).
    pub dates: Dates,
    /// Keep sex, age, size, weight and the like (E.3.7); allergies, state and needs are cleaned.
    pub retain_patient: bool,
    /// Keep serial numbers, station names and the like (E.3.8); descriptions of devices are cleaned.
    pub retain_device: bool,
    /// Keep names and addresses of institutions (E.3.11).
    pub retain_institution: bool,
    /// Keep private attributes that are known to be safe (E.3.10), see `assets/deid/safe-private.tsv`.
    pub retain_safe_private: bool,
    /// Keep the known words of descriptions (E.3.5), see `assets/deid/words.txt`. Otherwise they go.
    pub clean_descriptors: bool,
    /// Keep structured reports, with known words only in their texts (E.3.4). Otherwise their content goes.
    pub clean_structured: bool,
    /// Keep overlays that mark regions, and graphic annotations without their texts (E.3.3). Otherwise they go.
    pub clean_graphics: bool,
    /// The identifier to give to the (only) patient, in place of a pseudonym made with the key.
    pub patient_id: Option<String>,
}

/// One item of De-identification Method Code Sequence (0012,0064), context group 7050 (PS3.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Code value in the scheme DCM.
    pub code: &'static str,
    /// Code meaning.
    pub meaning: &'static str,
    /// A few words for De-identification Method (0012,0063).
    pub short: &'static str,
}

impl Options {
    /// The profile and the options applied, as codes.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        let all = [
            (true, "113100", "Basic Application Confidentiality Profile", "Basic Profile"),
            (self.clean_graphics, "113103", "Clean Graphics Option", "Clean Graphics"),
            (self.clean_structured, "113104", "Clean Structured Content Option", "Clean Structured Content"),
            (self.clean_descriptors, "113105", "Clean Descriptors Option", "Clean Descriptors"),
            (
                self.dates == Dates::Keep,
                "113106",
                "Retain Longitudinal Temporal Information Full Dates Option",
                "Retain Full Dates",
            ),
            (
                self.dates == Dates::Shift,
                "113107",
                "Retain Longitudinal Temporal Information Modified Dates Option",
                "Retain Modified Dates",
            ),
            (
                self.retain_patient,
                "113108",
                "Retain Patient Characteristics Option",
                "Retain Patient Characteristics",
            ),
            (self.retain_device, "113109", "Retain Device Identity Option", "Retain Device Identity"),
            (self.retain_uids, "113110", "Retain UIDs Option", "Retain UIDs"),
            (self.retain_safe_private, "113111", "Retain Safe Private Option", "Retain Safe Private"),
            (
                self.retain_institution,
                "113112",
                "Retain Institution Identity Option",
                "Retain Institution Identity",
            ),
        ];
        all.into_iter()
            .filter(|(is_on, ..)| *is_on)
            .map(|(_, code, meaning, short)| Method { code, meaning, short })
            .collect()
    }

    /// The value of Longitudinal Temporal Information Modified (0028,0303).
    #[must_use]
    pub fn temporal_information(&self) -> &'static str {
        match self.dates {
            Dates::Remove => "REMOVED",
            Dates::Shift => "MODIFIED",
            Dates::Keep => "UNMODIFIED",
        }
    }
}
