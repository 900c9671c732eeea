//! Table E.1-1 of PS3.15: what the profile and its options do with each attribute. A file of ours in
//! `assets/deid/profile.tsv`, part of the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dicom_core::Tag;

use super::options::{Dates, Options};

const TEXT: &str = include_str!("../../../../assets/deid/profile.tsv");

/// What is done with an attribute (PS3.15 E.3.1, Table E.1-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Remove.
    X,
    /// Leave without a value.
    Z,
    /// Put a dummy value in place.
    D,
    /// Put another UID in place, the same wherever the UID occurs.
    U,
    /// Keep; sequences are still cleaned of what they hold.
    K,
    /// Clean of what identifies, by the rules of an option.
    C,
}

/// The option columns of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Retain UIDs.
    Uids,
    /// Retain Device Identity.
    Device,
    /// Retain Institution Identity.
    Institution,
    /// Retain Patient Characteristics.
    Patient,
    /// Retain Longitudinal Temporal Information, Full Dates.
    FullDates,
    /// Retain Longitudinal Temporal Information, Modified Dates.
    ModifiedDates,
    /// Clean Descriptors.
    Descriptors,
    /// Clean Structured Content.
    Structured,
    /// Clean Graphics.
    Graphics,
    /// Retain Safe Private.
    SafePrivate,
}

const COLUMNS: [Column; 10] = [
    Column::Uids,
    Column::Device,
    Column::Institution,
    Column::Patient,
    Column::FullDates,
    Column::ModifiedDates,
    Column::Descriptors,
    Column::Structured,
    Column::Graphics,
    Column::SafePrivate,
];

impl Column {
    /// Whether the option is chosen.
    fn is_on(self, options: &Options) -> bool {
        match self {
            Self::Uids => options.retain_uids,
            Self::Device => options.retain_device,
            Self::Institution => options.retain_institution,
            Self::Patient => options.retain_patient,
            Self::FullDates => options.dates == Dates::Keep,
            Self::ModifiedDates => options.dates == Dates::Shift,
            Self::Descriptors => options.clean_descriptors,
            Self::Structured => options.clean_structured,
            Self::Graphics => options.clean_graphics,
            Self::SafePrivate => options.retain_safe_private,
        }
    }

    fn is_date(self) -> bool {
        matches!(self, Self::FullDates | Self::ModifiedDates)
    }

    /// The option in words, for the reason of an action.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Uids => "Retain UIDs",
            Self::Device => "Retain Device Identity",
            Self::Institution => "Retain Institution Identity",
            Self::Patient => "Retain Patient Characteristics",
            Self::FullDates => "Retain Longitudinal Temporal Information, Full Dates",
            Self::ModifiedDates => "Retain Longitudinal Temporal Information, Modified Dates",
            Self::Descriptors => "Clean Descriptors",
            Self::Structured => "Clean Structured Content",
            Self::Graphics => "Clean Graphics",
            Self::SafePrivate => "Retain Safe Private",
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Tag as in the file: `*` for any digit, `odd` for any odd group.
    pub tag: &'static str,
    /// Keyword of PS3.6.
    pub keyword: &'static str,
    /// Value representation of PS3.6; `..` where it varies.
    pub vr: &'static str,
    /// Codes of the Basic Profile; several where the Type of the attribute decides.
    pub basic: Vec<Code>,
    options: Vec<(Column, Code)>,
}

impl Rule {
    /// What is done under `options`, and the option that says so (none: the Basic Profile).
    ///
    /// Among options that are on, K goes before C, as an option that retains says what others would clean. Dates and
    /// times are governed by the date options alone: retaining the identity of a device keeps no date of it.
    ///
    /// Of combined codes (X/Z, X/D, Z/D, X/Z/D, X/Z/U*) the last is taken: which one *must* be taken depends on the
    /// Type of the attribute in the IOD, the last is right for every Type (a dummy value is allowed for Types 1, 2
    /// and 3, no value for 2 and 3), and none of them leaves anything of the original.
    #[must_use]
    pub fn resolve(&self, options: &Options) -> (Code, Option<Column>) {
        let has_dates = self.options.iter().any(|(c, _)| c.is_date());
        let active =
            || self.options.iter().filter(|(c, _)| c.is_on(options) && (!has_dates || c.is_date())).copied();
        let keep = active().find(|(_, code)| *code == Code::K);
        match keep.or_else(|| active().next()) {
            Some((column, code)) => (code, Some(column)),
            None => (self.basic_code(), None),
        }
    }

    /// The code of the Basic Profile, see [`Rule::resolve`].
    #[must_use]
    pub fn basic_code(&self) -> Code {
        self.basic.last().copied().unwrap_or(Code::X)
    }

    /// The code of one option, where it has one.
    #[must_use]
    pub fn option(&self, column: Column) -> Option<Code> {
        self.options.iter().find(|(c, _)| *c == column).map(|(_, code)| *code)
    }
}

/// The whole table.
#[derive(Debug)]
pub struct Table {
    rules: Vec<Rule>,
    single: BTreeMap<Tag, usize>,
    curve: Option<usize>,
    overlay_data: Option<usize>,
    overlay_comments: Option<usize>,
    private: Option<usize>,
}

impl Table {
    /// The rows, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The row of a tag; repeating groups (50xx, 60xx, even) and private tags included.
    #[must_use]
    pub fn rule(&self, tag: Tag) -> Option<&Rule> {
        let (group, element) = (tag.group(), tag.element());
        let index = if group % 2 == 1 {
            self.private
        } else {
            match (group & 0xff00, element) {
                (0x5000, _) => self.curve,
                (0x6000, 0x3000) => self.overlay_data,
                (0x6000, 0x4000) => self.overlay_comments,
                _ => self.single.get(&tag).copied(),
            }
        };
        self.rules.get(index?)
    }
}

/// The table of the program.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| parse(TEXT));
    &TABLE
}

/// Parses our own file, whose soundness the tests below check: lines that make no sense are left out.
fn parse(text: &'static str) -> Table {
    let mut table = Table {
        rules: Vec::new(),
        single: BTreeMap::new(),
        curve: None,
        overlay_data: None,
        overlay_comments: None,
        private: None,
    };
    for line in text.lines().filter(|l| !l.starts_with('#')).skip(1) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (tag, keyword, vr, basic) = (next(), next(), next(), next());
        let basic: Vec<Code> = basic.split('/').filter_map(code).collect();
        let options = COLUMNS.into_iter().filter_map(|c| Some((c, code(next())?))).collect();
        if basic.is_empty() {
            continue;
        }
        let index = table.rules.len();
        match tag {
            "50**,****" => table.curve = Some(index),
            "60**,3000" => table.overlay_data = Some(index),
            "60**,4000" => table.overlay_comments = Some(index),
            "odd,****" => table.private = Some(index),
            _ => match tag.parse::<Tag>() {
                Ok(tag) => _ = table.single.insert(tag, index),
                Err(_) => continue,
            },
        }
        table.rules.push(Rule { tag, keyword, vr, basic, options });
    }
    table
}

fn code(text: &str) -> Option<Code> {
    Some(match text {
        "X" => Code::X,
        "Z" => Code::Z,
        "D" => Code::D,
        "U" => Code::U,
        "K" => Code::K,
        "C" => Code::C,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
    use dicom_dictionary_std::StandardDataDictionary;

    #[test]
    fn the_table_is_complete() {
        let table = table();
        // PS3.15 2024b has 621 rows, four of them for more than one tag.
        assert_eq!(table.rules.len(), 621);
        assert_eq!(table.single.len(), 617);
        let count = |c: Column| table.rules.iter().filter(|r| r.option(c).is_some()).count();
        assert_eq!(COLUMNS.map(count), [59, 57, 10, 13, 165, 165, 125, 3, 4, 1]);
        let lines = TEXT.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(lines, table.rules.len() + 1, "a line was not understood");
    }

    #[test]
    fn rows_as_printed_in_the_standard() {
        use Code::{C, D, K, U, X, Z};
        let table = table();
        for (tag, keyword, basic, options) in [
            (Tag(0x0010, 0x0010), "PatientName", vec![Z], vec![]),
            (Tag(0x0010, 0x0020), "PatientID", vec![Z, D], vec![]),
            (Tag(0x0010, 0x1010), "PatientAge", vec![X], vec![(Column::Patient, K)]),
            (Tag(0x0008, 0x0050), "AccessionNumber", vec![Z], vec![]),
            (Tag(0x0008, 0x0018), "SOPInstanceUID", vec![U], vec![(Column::Uids, K)]),
            (Tag(0x0008, 0x103e), "SeriesDescription", vec![X], vec![(Column::Descriptors, C)]),
            (Tag(0x0008, 0x1010), "StationName", vec![X, Z, D], vec![(Column::Device, K)]),
            (
                Tag(0x0008, 0x0020),
                "StudyDate",
                vec![Z],
                vec![(Column::FullDates, K), (Column::ModifiedDates, C)],
            ),
            (Tag(0x0040, 0xa730), "ContentSequence", vec![D], vec![(Column::Structured, C)]),
            (Tag(0x5004, 0x3000), "CurveData", vec![X], vec![(Column::Graphics, C)]),
            (Tag(0x60fe, 0x4000), "OverlayComments", vec![X], vec![(Column::Graphics, C)]),
            (Tag(0x0029, 0x1010), "PrivateAttributes", vec![X], vec![(Column::SafePrivate, C)]),
        ] {
            let rule = table.rule(tag).unwrap();
            assert_eq!((rule.keyword, &rule.basic, &rule.options), (keyword, &basic, &options));
        }
        assert!(table.rule(Tag(0x0028, 0x0010)).is_none(), "Rows are no matter of the profile");
        assert!(table.rule(Tag(0x6000, 0x0010)).is_none());
    }

    #[test]
    fn keywords_and_representations_are_those_of_the_dictionary() {
        for (tag, index) in &table().single {
            let rule = &table().rules[*index];
            let Some(entry) = StandardDataDictionary.by_tag(*tag) else { continue };
            // The dictionary of the library marks some retired attributes in its own way.
            assert!(entry.alias().starts_with(rule.keyword), "{tag} {} {}", rule.keyword, entry.alias());
            if entry.vr.exact().is_some() {
                assert_eq!(entry.vr.relaxed().to_string(), rule.vr, "{tag} {}", rule.keyword);
            }
        }
    }

    #[test]
    fn options_decide_in_the_stated_order() {
        let table = table();
        let rule = |e| table.rule(e).unwrap();
        let device = Options { retain_device: true, ..Options::default() };
        let calibration = rule(Tag(0x0018, 0x700c));
        assert_eq!(calibration.resolve(&device), (Code::D, None), "no date without a date option");
        let shift = Options { dates: Dates::Shift, ..device.clone() };
        assert_eq!(calibration.resolve(&shift), (Code::C, Some(Column::ModifiedDates)));
        assert_eq!(rule(Tag(0x0018, 0x1000)).resolve(&device), (Code::K, Some(Column::Device)));
        assert_eq!(rule(Tag(0x0018, 0x1000)).resolve(&Options::default()), (Code::D, None));
    }
}
