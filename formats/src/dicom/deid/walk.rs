//! The walk through a data set: every element is decided by the table, then done.

use std::collections::BTreeMap;

use dicom_core::dictionary::DataDictionary;
use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::clean::{Identities, clean_text, is_standard_code};
use super::dates::{is_time, shift_date, shift_datetime};
use super::key::Key;
use super::options::{Dates, Options};
use super::private::{is_needed_creator, is_term, safe};
use super::row::{Action, Row};
use super::table::{Code, Column, table};
use super::value::{REMOVED, display, dummy, is_empty, is_free_text, is_text, texts};

/// Sequences deeper than this are removed: nothing of the standard nests so deep, and the walk is recursive.
const DEEPEST: usize = 64;
/// The root of the UIDs of the standard itself: classes, transfer syntaxes, well-known frames of reference.
const STANDARD_ROOT: &str = "1.2.840.10008.";

/// UIDs that say what something is and not which one it is: classes, syntaxes, coding schemes.
const KINDS: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::RELATED_GENERAL_SOP_CLASS_UID,
    tags::ORIGINAL_SPECIALIZED_SOP_CLASS_UID,
    tags::SOP_CLASSES_IN_STUDY,
    tags::SOP_CLASSES_SUPPORTED,
    tags::REFERENCED_SOP_CLASS_UID,
    tags::CODING_SCHEME_UID,
    tags::CONTEXT_GROUP_EXTENSION_CREATOR_UID,
    tags::CONTEXT_UID,
    tags::MAPPING_RESOURCE_UID,
    tags::CREATOR_VERSION_UID,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
];

/// How the elements of a sequence are treated beyond the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By the table alone.
    Profile,
    /// Texts keep known words only (C).
    Clean,
    /// Texts, numbers and codes become dummies (D of a sequence).
    Blank,
}

/// What is the same for all elements of one file.
pub struct Walk<'a> {
    options: &'a Options,
    key: &'a Key,
    /// What stands for the patient.
    pseudonym: &'a str,
    shift_days: i32,
    identities: &'a Identities,
    /// Whether rows of kept elements are wanted too.
    with_kept: bool,
    /// What was done.
    pub rows: Vec<Row>,
    /// Old UIDs and the ones in their place.
    pub uids: BTreeMap<String, String>,
    /// Whether a text beyond ASCII stays.
    pub has_wide_text: bool,
}

/// What to do with one element, and why.
struct Decision {
    code: Code,
    reason: String,
    /// The option behind a C.
    column: Option<Column>,
}

impl Decision {
    fn new(code: Code, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), column: None }
    }
}

impl<'a> Walk<'a> {
    pub fn new(
        options: &'a Options,
        key: &'a Key,
        pseudonym: &'a str,
        shift_days: i32,
        identities: &'a Identities,
        with_kept: bool,
    ) -> Self {
        let (rows, uids) = (Vec::new(), BTreeMap::new());
        Self { options, key, pseudonym, shift_days, identities, with_kept, rows, uids, has_wide_text: false }
    }

    /// The whole data set.
    pub fn top(&mut self, object: InMemDicomObject) -> InMemDicomObject {
        self.data_set(object, "", Mode::Profile, 0)
    }

    fn data_set(
        &mut self,
        object: InMemDicomObject,
        path: &str,
        mode: Mode,
        depth: usize,
    ) -> InMemDicomObject {
        // Inside a sequence that is cleaned or blanked, codes of published schemes say nothing of anybody.
        let mode = if mode != Mode::Profile && is_standard_code(&object) { Mode::Profile } else { mode };
        // Decisions may look at neighbours (private creators, types of overlays), so they come first.
        let decisions: Vec<Decision> = object.iter().map(|e| self.decide(&object, e, mode, depth)).collect();
        let mut out = InMemDicomObject::new_empty();
        for (element, decision) in object.into_iter().zip(decisions) {
            let at = self.rows.len();
            let (tag, vr) = (element.header().tag, element.header().vr);
            let place = format!("{path}{}", plain(tag));
            let old = display(&element);
            let (action, new) = self.act(element, &decision, &place, mode, depth);
            if action != Action::Keep || self.with_kept {
                let row = Row {
                    path: place,
                    tag: plain(tag),
                    keyword: keyword(tag).to_owned(),
                    vr: vr.to_string().to_owned(),
                    action,
                    old,
                    new: new.as_ref().map(display),
                    reason: decision.reason,
                };
                // A sequence comes before what is in it.
                self.rows.insert(at, row);
            }
            if let Some(new) = new {
                if is_text(new.header().vr) && texts(&new).is_some_and(|t| !t.iter().all(|t| t.is_ascii())) {
                    self.has_wide_text = true;
                }
                out.put(new);
            }
        }
        out
    }

    fn decide(
        &self,
        object: &InMemDicomObject,
        element: &InMemElement,
        mode: Mode,
        depth: usize,
    ) -> Decision {
        let (tag, vr) = (element.header().tag, element.header().vr);
        let (group, number) = (tag.group(), tag.element());
        if group < 8 || group == 0xfffc || number == 0 {
            return Decision::new(Code::X, "no part of a data set, a length, or padding");
        }
        if depth > 0 && tag == tags::SPECIFIC_CHARACTER_SET {
            return Decision::new(Code::X, "one character set for the whole file");
        }
        if depth >= DEEPEST && element.value().items().is_some() {
            return Decision::new(Code::X, "nested deeper than anything known");
        }
        if group % 2 == 1 {
            return self.decide_private(object, element);
        }
        if let Some(decision) = self.decide_plane(object, tag) {
            return decision;
        }
        if let Some(rule) = table().rule(tag) {
            let (code, column) = rule.resolve(self.options);
            let reason = column.map_or("Basic Profile", Column::reason).to_owned();
            return Decision { code, reason, column };
        }
        // What the table does not list is decided by its kind.
        let known = StandardDataDictionary.by_tag(tag);
        let Some(known) = known else {
            return Decision::new(Code::X, "unknown attribute");
        };
        if vr == VR::UN && !is_empty(element) {
            return Decision::new(Code::X, "value of unknown representation");
        }
        let listed = known.vr.relaxed();
        if listed == VR::SQ && vr != VR::SQ || listed != VR::SQ && vr == VR::SQ {
            return Decision::new(Code::X, "not of the representation that the attribute has");
        }
        match vr {
            VR::PN => Decision::new(Code::Z, "a person's name outside the profile"),
            VR::AE => Decision::new(Code::Z, "an application entity outside the profile"),
            VR::DA | VR::DT | VR::TM => {
                let (code, column) = match self.options.dates {
                    Dates::Keep => (Code::K, Some(Column::FullDates)),
                    Dates::Shift => (Code::C, Some(Column::ModifiedDates)),
                    Dates::Remove => (Code::Z, None),
                };
                Decision { code, column, reason: "a date or time outside the profile".to_owned() }
            }
            VR::UI if !self.options.retain_uids && !KINDS.contains(&tag) => {
                Decision::new(Code::U, "a UID outside the profile")
            }
            _ if mode != Mode::Profile => Decision::new(Code::K, "inside a sequence that is cleaned"),
            _ => Decision::new(Code::K, "not in the profile"),
        }
    }

    fn decide_private(&self, object: &InMemDicomObject, element: &InMemElement) -> Decision {
        let tag = element.header().tag;
        if !self.options.retain_safe_private {
            return Decision::new(Code::X, "private");
        }
        if let Some(what) = safe(object, element) {
            return Decision::new(Code::K, &format!("Retain Safe Private: {what}"));
        }
        if is_needed_creator(object, tag) {
            return Decision::new(Code::K, "Retain Safe Private: creator of a safe attribute");
        }
        Decision::new(Code::X, "private, not known to be safe")
    }

    /// Overlay planes go or stay as a whole: without its data a plane is not valid (PS3.3 C.9.2). Under Clean
    /// Graphics, planes that mark a region of interest stay.
    fn decide_plane(&self, object: &InMemDicomObject, tag: Tag) -> Option<Decision> {
        let group = tag.group();
        if group & 0xff00 == 0x5000 {
            // Curves are retired, and nothing tells those that are drawn letters.
            return Some(Decision::new(Code::X, "Basic Profile"));
        }
        if group & 0xff00 != 0x6000 || tag.element() == 0x4000 {
            return (group & 0xff00 == 0x6000).then(|| Decision::new(Code::X, "Basic Profile"));
        }
        let is_region = object.get(Tag(group, 0x0040)).and_then(texts).is_some_and(|t| t == ["R"]);
        Some(match (self.options.clean_graphics, is_region) {
            (true, true) if is_text(object.get(tag)?.header().vr) && tag.element() != 0x0040 => Decision {
                code: Code::C,
                column: Some(Column::Graphics),
                reason: "Clean Graphics".to_owned(),
            },
            (true, true) => Decision::new(Code::K, "Clean Graphics: marks a region of interest"),
            (true, false) => Decision::new(Code::X, "Clean Graphics: may hold drawn letters"),
            (false, _) if tag.element() == 0x3000 => Decision::new(Code::X, "Basic Profile"),
            (false, _) => Decision::new(Code::X, "of an overlay whose data go"),
        })
    }

    fn act(
        &mut self,
        element: InMemElement,
        decision: &Decision,
        path: &str,
        mode: Mode,
        depth: usize,
    ) -> (Action, Option<InMemElement>) {
        let (header, value) = element.into_parts();
        let (tag, vr) = (header.tag, header.vr);
        let items = match value {
            Value::Sequence(items) => items.into_items(),
            Value::PixelSequence(_) => {
                // Only pixel data are encapsulated; anywhere else they are in disguise.
                let is_pixels = depth == 0 && tag == tags::PIXEL_DATA && decision.code == Code::K;
                return match is_pixels {
                    true => (Action::Keep, Some(InMemElement::new(tag, vr, value))),
                    false => (Action::Remove, None),
                };
            }
            Value::Primitive(value) => {
                let element = InMemElement::new(tag, vr, value);
                return self.act_on_leaf(element, decision, mode);
            }
        };
        let sequence = |items: Vec<InMemDicomObject>| {
            Some(InMemElement::new(tag, VR::SQ, Value::Sequence(DataSetSequence::from(items))))
        };
        let (action, inner) = match decision.code {
            Code::X => return (Action::Remove, None),
            Code::Z | Code::D if items.is_empty() => return (Action::Keep, sequence(Vec::new())),
            Code::Z => return (Action::Empty, sequence(Vec::new())),
            Code::D if tag == tags::CONTENT_SEQUENCE => {
                return (Action::Dummy, sequence(vec![dummy_content()]));
            }
            Code::D => (Action::Dummy, Mode::Blank),
            Code::C => (Action::Clean, if mode == Mode::Blank { Mode::Blank } else { Mode::Clean }),
            Code::U => (Action::Keep, mode),
            Code::K => (Action::Keep, mode),
        };
        let mut clean = Vec::with_capacity(items.len());
        for (number, item) in (1..).zip(items) {
            clean.push(self.data_set(item, &format!("{path}[{number}]."), inner, depth + 1));
        }
        (action, sequence(clean))
    }

    fn act_on_leaf(
        &mut self,
        element: InMemElement,
        decision: &Decision,
        mode: Mode,
    ) -> (Action, Option<InMemElement>) {
        let (tag, vr) = (element.header().tag, element.header().vr);
        let put = |value: PrimitiveValue| Some(InMemElement::new(tag, vr, value));
        if decision.code == Code::X {
            return (Action::Remove, None);
        }
        if tag == tags::PATIENT_ID || tag == tags::PATIENT_NAME {
            let is_there_already = texts(&element).is_some_and(|t| t == [self.pseudonym]);
            let action = if is_there_already { Action::Keep } else { Action::Pseudonym };
            return (action, put(self.pseudonym.into()));
        }
        if is_empty(&element) {
            return (Action::Keep, Some(element));
        }
        match decision.code {
            Code::Z => (Action::Empty, put(PrimitiveValue::Empty)),
            // A UID that says nothing is another UID.
            Code::D if vr == VR::UI => self.map_uids(element),
            Code::D => self.dummy(element),
            Code::U => self.map_uids(element),
            Code::C => match decision.column {
                Some(Column::ModifiedDates) => self.shift(element),
                _ => self.clean(element),
            },
            _ => match mode {
                Mode::Blank => self.blank(element),
                Mode::Clean if is_free_text(vr) => self.clean(element),
                Mode::Profile | Mode::Clean => self.keep(element, decision),
            },
        }
    }

    /// Keeps a value, without identities that it repeats.
    fn keep(&self, element: InMemElement, decision: &Decision) -> (Action, Option<InMemElement>) {
        let vr = element.header().vr;
        // What an option keeps on purpose may be the identity itself.
        let is_asked_for = decision.column.is_some();
        if is_asked_for || !is_free_text(vr) {
            return (Action::Keep, Some(element));
        }
        let Some(old) = texts(&element) else { return (Action::Keep, Some(element)) };
        if old.iter().all(|t| self.identities.met_in(t).is_empty()) {
            return (Action::Keep, Some(element));
        }
        let new: Vec<String> = old.iter().map(|t| self.identities.removed_from(t)).collect();
        let new = if new.iter().all(String::is_empty) { vec![REMOVED.to_owned()] } else { new };
        (Action::Clean, Some(InMemElement::new(element.header().tag, vr, strings(new))))
    }

    fn dummy(&self, element: InMemElement) -> (Action, Option<InMemElement>) {
        let (header, value) = element.into_parts();
        let Value::Primitive(old) = value else { return (Action::Remove, None) };
        let new = dummy(header.vr, &old);
        let action = if new == old { Action::Keep } else { Action::Dummy };
        (action, Some(InMemElement::new(header.tag, header.vr, new)))
    }

    fn map_uids(&mut self, element: InMemElement) -> (Action, Option<InMemElement>) {
        let (tag, vr) = (element.header().tag, element.header().vr);
        let Some(old) = texts(&element).filter(|_| vr == VR::UI) else {
            // Not even a text: nothing that could be mapped.
            return self.dummy(element);
        };
        let is_kind = |uid: &String| uid.is_empty() || uid.starts_with(STANDARD_ROOT);
        if old.iter().all(is_kind) {
            return (Action::Keep, Some(element));
        }
        let new = old.into_iter().map(|uid| match is_kind(&uid) {
            true => uid,
            false => {
                let new = self.key.uid(&uid);
                self.uids.insert(uid, new.clone());
                new
            }
        });
        let new = strings(new.collect());
        (Action::NewUid, Some(InMemElement::new(tag, vr, new)))
    }

    fn shift(&self, element: InMemElement) -> (Action, Option<InMemElement>) {
        let (tag, vr) = (element.header().tag, element.header().vr);
        let shifted: Option<Vec<String>> = texts(&element).and_then(|all| {
            let one = |text: &String| match vr {
                VR::DA => shift_date(text, self.shift_days),
                VR::DT => shift_datetime(text, self.shift_days),
                // Whole days leave the time of day alone.
                VR::TM => is_time(text).then(|| text.clone()),
                _ => None,
            };
            all.iter().map(one).collect()
        });
        match shifted {
            Some(_) if vr == VR::TM => (Action::Keep, Some(element)),
            Some(new) => (Action::Shift, Some(InMemElement::new(tag, vr, strings(new)))),
            // What cannot be read as a date cannot be known to be none.
            None => self.dummy(element),
        }
    }

    /// Known words of a text; what the Basic Profile does, when none is left.
    fn clean(&self, element: InMemElement) -> (Action, Option<InMemElement>) {
        let (tag, vr) = (element.header().tag, element.header().vr);
        let old = texts(&element).filter(|_| is_text(vr) && !matches!(vr, VR::PN | VR::AE | VR::UR));
        let Some(old) = old else { return self.dummy(element) };
        let new: Vec<String> = old.iter().map(|t| clean_text(t, self.identities)).collect();
        if new == old {
            return (Action::Keep, Some(element));
        }
        if new.iter().any(|t| !t.is_empty()) {
            return (Action::Clean, Some(InMemElement::new(tag, vr, strings(new))));
        }
        match table().rule(tag).map(|r| r.basic_code()) {
            Some(Code::X) => (Action::Remove, None),
            Some(Code::Z) => (Action::Empty, Some(InMemElement::new(tag, vr, PrimitiveValue::Empty))),
            _ => self.dummy(element),
        }
    }

    /// Inside a sequence that must be there but may say nothing.
    fn blank(&self, element: InMemElement) -> (Action, Option<InMemElement>) {
        let vr = element.header().vr;
        match vr {
            // Terms tell readers how to understand an item, e.g. value types.
            VR::CS if texts(&element).is_some_and(|t| t.iter().all(|t| is_term(t))) => {
                (Action::Keep, Some(element))
            }
            VR::UI => (Action::Keep, Some(element)),
            VR::OB | VR::UN => (Action::Remove, None),
            _ => self.dummy(element),
        }
    }
}

/// One item that says that the content of a report was removed (PS3.3 C.17.3.2): a text with the concept
/// (121106, DCM, "Comment").
fn dummy_content() -> InMemDicomObject {
    let text = |tag, vr, value: &str| InMemElement::new(tag, vr, PrimitiveValue::from(value));
    let concept = InMemDicomObject::from_element_iter([
        text(tags::CODE_VALUE, VR::SH, "121106"),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
        text(tags::CODE_MEANING, VR::LO, "Comment"),
    ]);
    InMemDicomObject::from_element_iter([
        text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
        text(tags::VALUE_TYPE, VR::CS, "TEXT"),
        InMemElement::new(
            tags::CONCEPT_NAME_CODE_SEQUENCE,
            VR::SQ,
            Value::Sequence(DataSetSequence::from(vec![concept])),
        ),
        text(tags::TEXT_VALUE, VR::UT, REMOVED),
    ])
}

fn strings(mut texts: Vec<String>) -> PrimitiveValue {
    match texts.len() {
        1 => PrimitiveValue::from(texts.remove(0)),
        _ => PrimitiveValue::Strs(texts.into_iter().collect()),
    }
}

/// `(0010,0010)`.
pub(super) fn plain(tag: Tag) -> String {
    format!("({:04X},{:04X})", tag.group(), tag.element())
}

/// The keyword of PS3.6. What a private attribute is called is not told: creators write anything there.
pub(super) fn keyword(tag: Tag) -> &'static str {
    if tag.group() % 2 == 1 {
        return "private";
    }
    let listed = table().rule(tag).filter(|r| !r.tag.contains('*')).map(|r| r.keyword);
    let known = || StandardDataDictionary.by_tag(tag).map(|e| e.alias);
    listed.or_else(known).unwrap_or("unknown")
}
