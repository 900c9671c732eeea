//! Texts of which only known words stay, and identities that are looked for in what stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::options::Options;
use super::value::texts;

const WORDS: &str = include_str!("../../../../assets/deid/words.txt");
/// Longer numbers may be identifiers or dates.
const DIGITS_KEPT: usize = 3;

fn words() -> &'static HashSet<&'static str> {
    static SET: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
        WORDS.lines().filter(|l| !l.starts_with('#')).flat_map(str::split_whitespace).collect()
    });
    &SET
}

/// Keeps the known words and short numbers of a text, in their order, separated by blanks.
pub fn clean_text(text: &str, identities: &Identities) -> String {
    // The one abbreviation whose half means the opposite.
    let text = text.replace("w/o", "without").replace("W/O", "without");
    let tokens = text.split(|c: char| !(c.is_alphanumeric() || c == '.')).map(|t| t.trim_matches('.'));
    let tokens: Vec<&str> = tokens.filter(|t| !t.is_empty()).collect();
    let mut kept = Vec::new();
    // Numbers side by side may be a date or a telephone number: together they count as one.
    for run in tokens.chunk_by(|a, b| is_number(a) && is_number(b)) {
        let digits: usize = run.iter().map(|t| digits(t)).sum();
        if run.len() == 1 || digits <= DIGITS_KEPT {
            kept.extend(run.iter().copied().filter(|t| is_known(t) && !identities.is_word(t)));
        }
    }
    kept.join(" ")
}

fn digits(token: &str) -> usize {
    token.bytes().filter(u8::is_ascii_digit).count()
}

fn is_number(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a text consists of known words and short numbers.
pub fn is_all_known(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).filter(|t| !t.is_empty()).all(is_known)
}

fn is_known(token: &str) -> bool {
    let lower = token.to_lowercase();
    if words().contains(lower.as_str()) {
        return true;
    }
    let digits = digits(&lower);
    let rest = lower.trim_matches(|c: char| c.is_ascii_digit() || c == '.');
    // 3, 1.5, 5mm, T13D: a short number with nothing or a known word beside it.
    (1..=DIGITS_KEPT).contains(&digits) && (rest.is_empty() || words().contains(rest))
}

/// Coding schemes that are published and name no patient (PS3.16, 8).
const SCHEMES: &[&str] = &[
    "DCM",
    "SCT",
    "SRT",
    "SNM3",
    "99SDM",
    "LN",
    "UCUM",
    "FMA",
    "RADLEX",
    "MDC",
    "UMLS",
    "BI",
    "ACR",
    "ICDO3",
    "NCIt",
    "NCDR",
    "NEU",
    "PUBCHEM_CID",
    "IBSI",
    "RFC3066",
    "RFC5646",
    "ISO3166_1",
    "ISO639_1",
    "ISO639_2",
    "DCMUID",
    "UNS",
];

/// Whether a data set is a code of a published scheme.
pub fn is_standard_code(item: &InMemDicomObject) -> bool {
    let scheme = item.get(tags::CODING_SCHEME_DESIGNATOR).and_then(texts).and_then(|t| t.into_iter().next());
    scheme.is_some_and(|s| SCHEMES.contains(&s.as_str()))
}

/// Attributes that hold identifiers or names as a whole, beside those of VR PN.
const WHOLE: &[(Tag, Group)] = &[
    (tags::PATIENT_ID, Group::Always),
    (Tag(0x0010, 0x1000), Group::Always),
    (tags::ISSUER_OF_PATIENT_ID, Group::Always),
    (tags::PATIENT_BIRTH_DATE, Group::Always),
    (tags::PATIENT_ADDRESS, Group::Always),
    (tags::PATIENT_TELEPHONE_NUMBERS, Group::Always),
    (tags::MILITARY_RANK, Group::Never),
    (tags::ACCESSION_NUMBER, Group::Always),
    (tags::STUDY_ID, Group::Always),
    (tags::ADMISSION_ID, Group::Always),
    (tags::SERVICE_EPISODE_ID, Group::Always),
    (Tag(0x0010, 0x1090), Group::Always),
    (tags::REQUESTED_PROCEDURE_ID, Group::Always),
    (tags::SCHEDULED_PROCEDURE_STEP_ID, Group::Always),
    (tags::PERFORMED_PROCEDURE_STEP_ID, Group::Always),
    (tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, Group::Always),
    (tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, Group::Always),
    (tags::REFERRING_PHYSICIAN_ADDRESS, Group::Always),
    (tags::REFERRING_PHYSICIAN_TELEPHONE_NUMBERS, Group::Always),
    (tags::INSTITUTION_NAME, Group::Institution),
    (tags::INSTITUTION_ADDRESS, Group::Institution),
    (tags::INSTITUTIONAL_DEPARTMENT_NAME, Group::Institution),
    (tags::STATION_NAME, Group::Device),
    (tags::DEVICE_SERIAL_NUMBER, Group::Device),
];

/// Which option, if on, makes an attribute no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Always,
    Institution,
    Device,
    Never,
}

/// Parts of names shorter than this are met in too many words.
const SHORTEST_NAME: usize = 3;
/// Identifiers shorter than this are met in too many numbers.
const SHORTEST_ID: usize = 4;
/// What stands in names and identifiers of data that were de-identified before, or never had a person.
const NOBODY: &[&str] = &[
    "anon",
    "anonymous",
    "anonymized",
    "anonymised",
    "removed",
    "none",
    "unknown",
    "patient",
    "name",
    "null",
    "dummy",
    "deidentified",
    "unspecified",
    "dcmtk",
    "phantom",
    // Test objects and service files carry the name of the vendor, which is no secret beside Manufacturer.
    "canon",
    "ge medical systems",
    "hitachi",
    "philips",
    "siemens",
    "toshiba",
];

/// The names and identifiers that a file held, in lower case, each with the attribute it came from.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// Parts of persons' names, and dates of birth.
    words: BTreeMap<String, Tag>,
    /// Identifiers and names of institutions, as a whole.
    wholes: BTreeMap<String, Tag>,
}

impl Identities {
    /// Collects them from a data set and everything in it, without those that `options` retain.
    #[must_use]
    pub fn of(object: &InMemDicomObject, options: &Options) -> Self {
        let mut identities = Self::default();
        identities.collect(object, options);
        identities
    }

    fn collect(&mut self, object: &InMemDicomObject, options: &Options) {
        for element in object.iter() {
            if let Some(items) = element.value().items() {
                items.iter().for_each(|i| self.collect(i, options));
                continue;
            }
            let tag = element.header().tag;
            let group = WHOLE.iter().find(|(t, _)| *t == tag).map(|(_, group)| *group);
            let is_secret = match group {
                Some(Group::Always) => true,
                Some(Group::Institution) => !options.retain_institution,
                Some(Group::Device) => !options.retain_device,
                Some(Group::Never) | None => false,
            };
            let is_name = element.header().vr == VR::PN;
            if !is_name && !is_secret {
                continue;
            }
            for text in texts(element).unwrap_or_default() {
                let lower = text.to_lowercase();
                if is_name {
                    let parts = lower.split(|c: char| !c.is_alphabetic());
                    let parts = parts.filter(|p| p.chars().count() >= SHORTEST_NAME && !NOBODY.contains(p));
                    self.words.extend(parts.map(|p| (p.to_owned(), tag)));
                } else if lower.chars().count() >= SHORTEST_ID && !NOBODY.contains(&lower.as_str()) {
                    self.wholes.insert(lower, tag);
                }
            }
        }
    }

    /// Whether a word is a part of a name or a whole identifier.
    pub fn is_word(&self, word: &str) -> bool {
        let lower = word.to_lowercase();
        self.words.contains_key(&lower) || self.wholes.contains_key(&lower)
    }

    /// The attributes whose values are met in a text.
    #[must_use]
    pub fn met_in(&self, text: &str) -> BTreeSet<Tag> {
        let lower = text.to_lowercase();
        let mut found: BTreeSet<Tag> =
            lower.split(|c: char| !c.is_alphabetic()).filter_map(|w| self.words.get(w)).copied().collect();
        found.extend(
            self.wholes.iter().filter(|(whole, _)| position(&lower, whole).is_some()).map(|(_, t)| *t),
        );
        found
    }

    /// The text without them.
    #[must_use]
    pub fn removed_from(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Lower case may have another length in bytes; then the whole text goes, which is safe.
        if text.to_lowercase().len() != text.len() {
            return String::new();
        }
        for whole in self.wholes.keys() {
            while let Some(at) = position(&text.to_lowercase(), whole) {
                match text.is_char_boundary(at) && text.is_char_boundary(at + whole.len()) {
                    true => text.replace_range(at..at + whole.len(), ""),
                    false => return String::new(),
                }
            }
        }
        let mut kept = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| !c.is_alphabetic()) {
            let word = part.trim_end_matches(|c: char| !c.is_alphabetic());
            let is_name = self.words.contains_key(&word.to_lowercase());
            kept.push_str(if is_name { part.get(word.len()..).unwrap_or_default() } else { part });
        }
        kept.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Where `whole` stands in `text` with no letter or digit directly before and after it.
fn position(text: &str, whole: &str) -> Option<usize> {
    text.match_indices(whole).map(|(at, _)| at).find(|&at| {
        let before = text.get(..at).and_then(|t| t.chars().next_back());
        let after = text.get(at + whole.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::{DataElement, PrimitiveValue};

    fn identities() -> Identities {
        let object = InMemDicomObject::from_element_iter([
            DataElement::new(tags::PATIENT_NAME, VR::PN, PrimitiveValue::from("Brain^Anne Li^^Dr")),
            DataElement::new(tags::PATIENT_ID, VR::LO, PrimitiveValue::from("A-123456")),
            DataElement::new(tags::STUDY_ID, VR::SH, PrimitiveValue::from("1")),
            DataElement::new(tags::INSTITUTION_NAME, VR::LO, PrimitiveValue::from("St Elsewhere")),
        ]);
        Identities::of(&object, &Options::default())
    }

    #[test]
    fn descriptions_keep_known_words_only() {
        let nobody = Identities::default();
        for (text, kept) in [
            ("T1w MPRAGE sag iso 1.0mm", "T1w MPRAGE sag iso 1.0mm"),
            ("MR Brain w/o contrast, Mr. Smith 19500101", "MR Brain without contrast Mr"),
            ("Dr. Miller / CHEST pa 2", "CHEST pa 2"),
            ("LEAK-00081030", ""),
            ("b1000_ADC(12345)", "b1000 ADC"),
            ("Schädel CT", "CT"),
            ("CT 19.01.2004, tel. (030) 555 12 34, 3 x 5 mm", "CT 5 mm"),
        ] {
            assert_eq!(clean_text(text, &nobody), kept, "{text}");
        }
        assert_eq!(clean_text("MR Brain", &identities()), "MR", "a patient of that name");
    }

    #[test]
    fn identities_are_met_as_words_and_wholes() {
        let found = identities();
        let met = |text: &str| found.met_in(text).into_iter().collect::<Vec<_>>();
        assert_eq!(met("sent by ANNE"), [tags::PATIENT_NAME]);
        assert_eq!(met("annexe, anneal"), Vec::<Tag>::new());
        assert_eq!(met("id A-123456!"), [tags::PATIENT_ID]);
        assert_eq!(met("A-1234567 st elsewheres 1 Li Dr"), Vec::<Tag>::new());
        assert_eq!(met("at st elsewhere."), [tags::INSTITUTION_NAME]);
        assert_eq!(found.removed_from("Anne's scan A-123456 at St Elsewhere (3)"), "'s scan at (3)");
        let retained = Options { retain_institution: true, ..Options::default() };
        let object = InMemDicomObject::from_element_iter([DataElement::new(
            tags::INSTITUTION_NAME,
            VR::LO,
            PrimitiveValue::from("St Elsewhere"),
        )]);
        assert!(Identities::of(&object, &retained).met_in("St Elsewhere").is_empty());
    }
}
