//! De-identification: nothing that should go stays, what should stay stays, and what belongs together still does.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::shared;
use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{InMemDicomObject, open_file};
use formats::dicom::deid::table::{Code, table};
use formats::dicom::deid::{Action, Dates, Deidentifier, Key, Options, Outcome, Pixels};

fn deidentifier(options: Options) -> Deidentifier {
    Deidentifier::new(options, Key::new([7; 32]))
}

fn text(tag: Tag, vr: VR, value: &str) -> InMemElement {
    InMemElement::new(tag, vr, PrimitiveValue::from(value))
}

fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    InMemElement::new(tag, VR::SQ, Value::Sequence(DataSetSequence::from(items)))
}

/// The value as one string.
fn value(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    object.get(tag).map(|e| e.to_str().unwrap().trim_matches([' ', '\0']).to_owned())
}

/// A small CT slice of a patient.
fn ct(patient: &str, instance: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, instance),
        text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.4.1"),
        text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4.1.1"),
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.4.1.2"),
        text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::MANUFACTURER, VR::LO, "ACME"),
        text(tags::STUDY_DATE, VR::DA, "20040119"),
        text(tags::SERIES_DATE, VR::DA, "20040120"),
        text(tags::STUDY_TIME, VR::TM, "072730"),
        text(tags::ACQUISITION_DATE_TIME, VR::DT, "20040119072731.5+0100"),
        text(tags::STUDY_DESCRIPTION, VR::LO, "CT Brain of Mr. Krawczyk, ward 12345"),
        text(tags::PATIENT_NAME, VR::PN, "Krawczyk^Zenobia"),
        text(tags::PATIENT_ID, VR::LO, patient),
        text(tags::PATIENT_BIRTH_DATE, VR::DA, "19551231"),
        text(tags::PATIENT_SEX, VR::CS, "F"),
        text(tags::PATIENT_AGE, VR::AS, "048Y"),
        text(tags::PATIENT_SIZE, VR::DS, "1.72"),
        text(tags::ACCESSION_NUMBER, VR::SH, "ACC-998877"),
        text(tags::INSTITUTION_NAME, VR::LO, "St Elsewhere Hospital"),
        text(tags::STATION_NAME, VR::SH, "CT-ROOM-9"),
        text(tags::DEVICE_SERIAL_NUMBER, VR::LO, "SN-445566"),
        text(tags::PROTOCOL_NAME, VR::LO, "Head routine"),
        InMemElement::new(tags::ROWS, VR::US, PrimitiveValue::from(2_u16)),
        InMemElement::new(tags::COLUMNS, VR::US, PrimitiveValue::from(2_u16)),
        InMemElement::new(tags::SAMPLES_PER_PIXEL, VR::US, PrimitiveValue::from(1_u16)),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        InMemElement::new(tags::BITS_ALLOCATED, VR::US, PrimitiveValue::from(16_u16)),
        InMemElement::new(tags::BITS_STORED, VR::US, PrimitiveValue::from(16_u16)),
        InMemElement::new(tags::HIGH_BIT, VR::US, PrimitiveValue::from(15_u16)),
        InMemElement::new(tags::PIXEL_REPRESENTATION, VR::US, PrimitiveValue::from(0_u16)),
        InMemElement::new(
            tags::PIXEL_DATA,
            VR::OW,
            PrimitiveValue::U16([1_u16, 2, 3, 65535].into_iter().collect()),
        ),
    ])
}

/// Writes a file with something in its preamble and a sender in its meta group.
fn write(object: InMemDicomObject, path: &Path) {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .source_application_entity_title("LEAK-AE")
        .private_information_creator_uid("1.2.3.99")
        .private_information(b"LEAK-PRIVATE-META".to_vec());
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes[..16].copy_from_slice(b"MZ LEAK-preamble");
    std::fs::File::create(path).unwrap().write_all(&bytes).unwrap();
}

/// De-identifies one file beside it.
fn one(deidentifier: &Deidentifier, input: &Path) -> formats::Result<(PathBuf, Outcome)> {
    deidentifier.write(input, |_| Ok(input.with_extension("out.dcm")))
}

/// The data set of a file after de-identification.
fn through(options: Options, object: InMemDicomObject) -> (InMemDicomObject, Outcome) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.dcm");
    write(object, &path);
    let (output, outcome) = one(&deidentifier(options), &path).unwrap();
    (open_file(output).unwrap().into_inner(), outcome)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|w| w == what)
}

/// Every combination of one option, and all of them.
fn every_option() -> Vec<Options> {
    let base = Options::default;
    vec![
        base(),
        Options { retain_uids: true, ..base() },
        Options { dates: Dates::Shift, ..base() },
        Options { dates: Dates::Keep, ..base() },
        Options { retain_patient: true, ..base() },
        Options { retain_device: true, ..base() },
        Options { retain_institution: true, ..base() },
        Options { retain_safe_private: true, ..base() },
        Options { clean_descriptors: true, ..base() },
        Options { clean_structured: true, ..base() },
        Options { clean_graphics: true, ..base() },
        Options {
            retain_uids: false,
            dates: Dates::Shift,
            retain_patient: true,
            retain_device: true,
            retain_institution: true,
            retain_safe_private: true,
            clean_descriptors: true,
            clean_structured: true,
            clean_graphics: true,
            patient_id: Some("SUBJECT 1".to_owned()),
        },
    ]
}

/// A value with the tag in it, for every representation that can hold it.
fn sentinel(tag: Tag, vr: &str) -> InMemElement {
    let leak = format!("LEAK{:04X}{:04X}", tag.group(), tag.element());
    let vr: VR = vr.parse().unwrap_or(VR::UN);
    match vr {
        VR::SQ => {
            let inner = InMemDicomObject::from_element_iter([
                text(tags::PATIENT_NAME, VR::PN, &format!("{leak}^NESTED")),
                text(tags::TEXT_VALUE, VR::UT, &leak),
                text(tags::CODE_VALUE, VR::SH, &leak),
                text(tags::CODE_MEANING, VR::LO, &leak),
                text(tags::INSTITUTION_NAME, VR::LO, &leak),
                text(Tag(0x0011, 0x0010), VR::LO, &leak),
                text(Tag(0x0011, 0x1001), VR::LO, &leak),
            ]);
            sequence(tag, vec![inner.clone(), inner])
        }
        VR::OB | VR::UN => InMemElement::new(tag, vr, PrimitiveValue::from(leak.into_bytes())),
        VR::US => InMemElement::new(tag, vr, PrimitiveValue::U16([0x454c, 0x4b41].into_iter().collect())),
        _ => text(tag, vr, &leak),
    }
}

/// One data set with every attribute of the table.
fn everything() -> InMemDicomObject {
    let mut object = ct("LEAK00100020", "1.2.3.4.5");
    for rule in table().rules() {
        let tags: Vec<Tag> = match rule.tag {
            "50**,****" => vec![Tag(0x5000, 0x0030), Tag(0x5002, 0x3000), Tag(0x50fe, 0x0103)],
            "60**,3000" => vec![Tag(0x6000, 0x3000), Tag(0x601e, 0x3000)],
            "60**,4000" => vec![Tag(0x6000, 0x4000), Tag(0x60fe, 0x4000)],
            "odd,****" => {
                vec![Tag(0x0009, 0x0010), Tag(0x0009, 0x1001), Tag(0x0029, 0x1010), Tag(0x7fe1, 0x1010)]
            }
            tag => vec![tag.parse().unwrap()],
        };
        for tag in tags.into_iter().filter(|t| t.group() >= 8) {
            let vr = match (rule.vr, tag.element()) {
                ("..", 0x0010) => "LO",
                ("..", _) => "OB",
                (vr, _) => vr,
            };
            object.put(sentinel(tag, vr));
        }
    }
    // Not in the table, and no better for it.
    object.put(text(Tag(0x0014, 0x0104), VR::PN, "LEAK00140104"));
    object.put(text(Tag(0x0008, 0x9999), VR::LO, "LEAK00089999"));
    object.put(InMemElement::new(
        Tag(0x0018, 0x0050),
        VR::UN,
        PrimitiveValue::from(b"LEAK00180050".to_vec()),
    ));
    object.put(InMemElement::new(
        Tag(0xfffc, 0xfffc),
        VR::OB,
        PrimitiveValue::from(b"LEAKFFFCFFFC".to_vec()),
    ));
    // A known sequence that the table does not list is gone through.
    object.put(sentinel(tags::REFERENCED_SERIES_SEQUENCE, "SQ"));
    object
}

#[test]
fn no_sentinel_of_any_attribute_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.dcm");
    write(everything(), &path);
    let original = std::fs::read(&path).unwrap();
    let leaks = original.windows(4).filter(|w| w == b"LEAK").count();
    assert!(leaks > 1000, "the fixture holds {leaks} only");
    let (output, outcome) = one(&deidentifier(Options::default()), &path).unwrap();
    let bytes = std::fs::read(output).unwrap();
    let at: Vec<String> = bytes
        .windows(12)
        .filter(|w| w.starts_with(b"LEAK") || w.starts_with(b"leak"))
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect();
    // The texts that stay in code sequences of no table row are the only ones that may; there are none by default.
    assert!(at.is_empty(), "{at:?}");
    assert_eq!(outcome.findings, []);
    assert!(outcome.rows.iter().all(|r| !format!("{r:?}").contains("LEAK")));
    assert_eq!(&bytes[..128], &[0; 128]);
}

#[test]
fn every_removal_of_the_table_happens() {
    let (object, _) = through(Options::default(), everything());
    for rule in table().rules().iter().filter(|r| !r.tag.contains('*')) {
        let tag: Tag = rule.tag.parse().unwrap();
        let found = object.get(tag);
        match rule.basic_code() {
            _ if tag.group() < 8 => assert!(found.is_none()),
            Code::X => assert!(found.is_none(), "{} {} is there", rule.tag, rule.keyword),
            Code::Z if tag == tags::PATIENT_NAME => assert!(found.is_some()),
            Code::Z => {
                let found = found.unwrap_or_else(|| panic!("{} {} is gone", rule.tag, rule.keyword));
                let is_empty = found
                    .value()
                    .items()
                    .map_or_else(|| found.to_bytes().unwrap().is_empty(), <[InMemDicomObject]>::is_empty);
                assert!(is_empty, "{} {}", rule.tag, rule.keyword);
            }
            // A dummy is a value; where sequences were, sequences are.
            Code::D => {
                let found = found.unwrap_or_else(|| panic!("{} {} is gone", rule.tag, rule.keyword));
                assert!(found.value().multiplicity() > 0, "{} {}", rule.tag, rule.keyword);
            }
            _ => {}
        }
    }
}

#[test]
fn marks_say_what_was_done() {
    for options in every_option() {
        let (object, outcome) = through(options.clone(), ct("ID-4711", "1.2.3.4.5"));
        assert_eq!(outcome.findings, [], "{options:?}");
        assert_eq!(value(&object, tags::PATIENT_IDENTITY_REMOVED).unwrap(), "YES");
        let temporal = value(&object, tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED).unwrap();
        assert_eq!(temporal, options.temporal_information());
        let codes: Vec<String> = object
            .get(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE)
            .unwrap()
            .value()
            .items()
            .unwrap()
            .iter()
            .map(|i| value(i, tags::CODE_VALUE).unwrap())
            .collect();
        let expected: Vec<&str> = options.methods().iter().map(|m| m.code).collect();
        assert_eq!(codes, expected);
        let method = object.get(tags::DEIDENTIFICATION_METHOD).unwrap();
        for line in method.to_multi_str().unwrap().iter() {
            assert!(line.len() <= 64, "{line}");
        }
        assert!(object.get(tags::BURNED_IN_ANNOTATION).is_none(), "nothing is claimed of the pixels");
        assert_eq!(outcome.pixels, Pixels::NotChecked);
    }
}

#[test]
fn options_retain_what_they_say_and_nothing_else() {
    let get = |options: Options, tag| value(&through(options, ct("ID-4711", "1.2.3.4.5")).0, tag);
    let base = Options::default;
    for (tag, with, kept) in [
        (tags::PATIENT_SEX, Options { retain_patient: true, ..base() }, "F"),
        (tags::PATIENT_AGE, Options { retain_patient: true, ..base() }, "048Y"),
        (tags::PATIENT_SIZE, Options { retain_patient: true, ..base() }, "1.72"),
        (tags::INSTITUTION_NAME, Options { retain_institution: true, ..base() }, "St Elsewhere Hospital"),
        (tags::STATION_NAME, Options { retain_device: true, ..base() }, "CT-ROOM-9"),
        (tags::DEVICE_SERIAL_NUMBER, Options { retain_device: true, ..base() }, "SN-445566"),
        (tags::STUDY_DATE, Options { dates: Dates::Keep, ..base() }, "20040119"),
        (tags::SOP_INSTANCE_UID, Options { retain_uids: true, ..base() }, "1.2.3.4.5"),
        (tags::STUDY_DESCRIPTION, Options { clean_descriptors: true, ..base() }, "CT Brain Mr"),
        (tags::PROTOCOL_NAME, Options { clean_descriptors: true, ..base() }, "Head routine"),
    ] {
        assert_eq!(get(with.clone(), tag).as_deref(), Some(kept), "{tag} with {with:?}");
        for other in every_option().into_iter().filter(|o| o.patient_id.is_none() && *o != with) {
            assert_ne!(get(other.clone(), tag).as_deref(), Some(kept), "{tag} with {other:?}");
        }
    }
    // Never retained, whatever is on.
    for options in every_option() {
        let (object, outcome) = through(options, ct("ID-4711", "1.2.3.4.5"));
        assert_eq!(value(&object, tags::PATIENT_BIRTH_DATE).as_deref(), Some(""));
        assert_eq!(value(&object, tags::ACCESSION_NUMBER).as_deref(), Some(""));
        assert_eq!(value(&object, tags::PATIENT_ID), Some(outcome.patient.pseudonym.clone()));
        assert_eq!(value(&object, tags::PATIENT_NAME), Some(outcome.patient.pseudonym));
        assert_eq!(value(&object, tags::IMAGE_TYPE).as_deref(), Some("ORIGINAL\\PRIMARY\\AXIAL"));
        assert_eq!(value(&object, tags::SOP_CLASS_UID).as_deref(), Some(uids::CT_IMAGE_STORAGE));
    }
}

#[test]
fn uids_are_mapped_alike_everywhere_and_by_the_key_alone() {
    let refer = |to: &str| {
        let item = InMemDicomObject::from_element_iter([
            text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, to),
        ]);
        let mut object = ct("ID-4711", "1.2.3.4.6");
        object.put(sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![item]));
        object
    };
    let (first, _) = through(Options::default(), ct("ID-4711", "1.2.3.4.5"));
    let (second, outcome) = through(Options::default(), refer("1.2.3.4.5"));
    let item = &second.get(tags::REFERENCED_IMAGE_SEQUENCE).unwrap().value().items().unwrap()[0];
    assert_eq!(value(item, tags::REFERENCED_SOP_INSTANCE_UID), value(&first, tags::SOP_INSTANCE_UID));
    assert_eq!(value(item, tags::REFERENCED_SOP_CLASS_UID).as_deref(), Some(uids::CT_IMAGE_STORAGE));
    for tag in [tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID, tags::FRAME_OF_REFERENCE_UID] {
        assert_eq!(value(&first, tag), value(&second, tag));
        assert!(value(&first, tag).unwrap().starts_with("2.25."));
    }
    assert_eq!(outcome.uids["1.2.3.4.5"], value(&first, tags::SOP_INSTANCE_UID).unwrap());
    // Another key, other UIDs and names.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.dcm");
    write(ct("ID-4711", "1.2.3.4.5"), &path);
    let (output, other) = one(&Deidentifier::new(Options::default(), Key::new([8; 32])), &path).unwrap();
    let object = open_file(output).unwrap();
    assert_ne!(value(&object, tags::SOP_INSTANCE_UID), value(&first, tags::SOP_INSTANCE_UID));
    assert_ne!(other.names, outcome.names);
    assert_eq!(
        object.meta().media_storage_sop_instance_uid(),
        value(&object, tags::SOP_INSTANCE_UID).unwrap()
    );
    assert_eq!(object.meta().source_application_entity_title(), None);
    assert_eq!(object.meta().private_information, None);
    assert!(object.meta().implementation_version_name().unwrap().starts_with("INSULA_"));
}

#[test]
fn shifted_dates_keep_intervals_within_a_patient() {
    let options = || Options { dates: Dates::Shift, retain_patient: true, ..Options::default() };
    let (object, outcome) = through(options(), ct("ID-4711", "1.2.3.4.5"));
    let days = |text: &str| {
        let n = |r: std::ops::Range<usize>| text[r].parse::<u16>().unwrap();
        time_days(i64::from(n(0..4)), i64::from(n(4..6)), i64::from(n(6..8)))
    };
    let study = value(&object, tags::STUDY_DATE).unwrap();
    let series = value(&object, tags::SERIES_DATE).unwrap();
    let acquired = value(&object, tags::ACQUISITION_DATE_TIME).unwrap();
    assert_eq!(days(&series) - days(&study), 1);
    assert_eq!(days(&study) - days("20040119"), i64::from(outcome.patient.shift_days));
    assert_eq!(acquired, format!("{study}072731.5+0100"));
    assert_eq!(value(&object, tags::STUDY_TIME).as_deref(), Some("072730"));
    assert_eq!(value(&object, tags::PATIENT_AGE).as_deref(), Some("048Y"));
    let (_, again) = through(options(), ct("ID-4711", "1.2.3.4.6"));
    let (_, other) = through(options(), ct("ID-4712", "1.2.3.4.7"));
    assert_eq!(again.patient, outcome.patient);
    assert_ne!(other.patient, outcome.patient);
    // What is no date cannot be shifted, and does not stay either.
    let mut odd = ct("ID-4711", "1.2.3.4.5");
    odd.put(text(tags::STUDY_DATE, VR::DA, "Monday"));
    assert_eq!(value(&through(options(), odd).0, tags::STUDY_DATE).as_deref(), Some("19000101"));
}

/// Days by counting, independent of the code under test.
fn time_days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let years: i64 = (1900..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    years + lengths[..(month - 1) as usize].iter().sum::<i64>() + day
}

#[test]
fn private_attributes_stay_only_when_known_and_asked_for() {
    let object = || {
        let mut object = ct("ID-4711", "1.2.3.4.5");
        object.put(text(Tag(0x0019, 0x0010), VR::LO, "SIEMENS MR HEADER"));
        object.put(text(Tag(0x0019, 0x100c), VR::IS, "1000"));
        object.put(text(Tag(0x0019, 0x1008), VR::CS, "IMAGE NUM 4"));
        object.put(text(Tag(0x0029, 0x0010), VR::LO, "SIEMENS CSA HEADER"));
        object.put(InMemElement::new(
            Tag(0x0029, 0x1010),
            VR::OB,
            PrimitiveValue::from(b"SV10 PatientName Krawczyk".to_vec()),
        ));
        object
    };
    let safe = Options { retain_safe_private: true, ..Options::default() };
    let (kept, _) = through(safe, object());
    assert_eq!(value(&kept, Tag(0x0019, 0x100c)).as_deref(), Some("1000"));
    assert_eq!(value(&kept, Tag(0x0019, 0x0010)).as_deref(), Some("SIEMENS MR HEADER"));
    for tag in [Tag(0x0019, 0x1008), Tag(0x0029, 0x0010), Tag(0x0029, 0x1010)] {
        assert!(kept.get(tag).is_none(), "{tag}");
    }
    let (none, _) = through(Options::default(), object());
    assert!(none.tags().all(|t| t.group() % 2 == 0));
}

#[test]
fn names_repeated_elsewhere_are_found() {
    let mut object = ct("ID-4711", "1.2.3.4.5");
    // Not in the profile; a technologist wrote a name there all the same.
    object.put(text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Model X for KRAWCZYK (ID-4711)"));
    object.put(text(tags::SEQUENCE_NAME, VR::SH, "fl2d1"));
    let (clean, outcome) = through(Options::default(), object.clone());
    assert_eq!(value(&clean, tags::MANUFACTURER_MODEL_NAME).as_deref(), Some("Model X for ()"));
    assert_eq!(value(&clean, tags::SEQUENCE_NAME).as_deref(), Some("fl2d1"));
    assert_eq!(outcome.findings, []);
    // In a term nothing can be cut out: somebody has to look.
    object.put(text(tags::BODY_PART_EXAMINED, VR::CS, "KRAWCZYK"));
    let (_, outcome) = through(Options::default(), object);
    let found: Vec<&str> = outcome.findings.iter().map(|f| f.keyword.as_str()).collect();
    assert_eq!(found, ["BodyPartExamined"]);
    assert!(!format!("{:?}", outcome.findings).to_lowercase().contains("krawczyk"));
}

#[test]
fn reports_lose_their_content_or_keep_its_structure() {
    let concept = |code: &str, meaning: &str| {
        let item = InMemDicomObject::from_element_iter([
            text(tags::CODE_VALUE, VR::SH, code),
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
            text(tags::CODE_MEANING, VR::LO, meaning),
        ]);
        sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![item])
    };
    let content = |kind: &str, inner: InMemElement| {
        InMemDicomObject::from_element_iter([
            text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
            text(tags::VALUE_TYPE, VR::CS, kind),
            concept("121071", "Finding"),
            inner,
        ])
    };
    let mut report = ct("ID-4711", "1.2.3.4.5");
    report.put(sequence(
        tags::CONTENT_SEQUENCE,
        vec![
            content("TEXT", text(tags::TEXT_VALUE, VR::UT, "Brain lesion seen by Dr. House")),
            content("PNAME", text(tags::PERSON_NAME, VR::PN, "House^Gregory")),
        ],
    ));
    let items = |object: &InMemDicomObject| {
        object.get(tags::CONTENT_SEQUENCE).unwrap().value().items().unwrap().to_vec()
    };
    let (gone, _) = through(Options::default(), report.clone());
    let left = items(&gone);
    assert_eq!(left.len(), 1);
    assert_eq!(value(&left[0], tags::TEXT_VALUE).as_deref(), Some("REMOVED"));
    let (kept, outcome) = through(Options { clean_structured: true, ..Options::default() }, report);
    let left = items(&kept);
    assert_eq!(left.len(), 2);
    assert_eq!(value(&left[0], tags::TEXT_VALUE).as_deref(), Some("Brain lesion"));
    let name = &left[0].get(tags::CONCEPT_NAME_CODE_SEQUENCE).unwrap().value().items().unwrap()[0];
    assert_eq!(value(name, tags::CODE_MEANING).as_deref(), Some("Finding"));
    assert_eq!(value(&left[1], tags::PERSON_NAME).as_deref(), Some("REMOVED"));
    assert_eq!(outcome.findings, []);
}

#[test]
fn overlays_stay_whole_or_not_at_all() {
    let with = |kind: &str| {
        let mut object = ct("ID-4711", "1.2.3.4.5");
        object.put(InMemElement::new(Tag(0x6000, 0x0010), VR::US, PrimitiveValue::from(2_u16)));
        object.put(text(Tag(0x6000, 0x0040), VR::CS, kind));
        object.put(text(Tag(0x6000, 0x1500), VR::LO, "Krawczyk lesion"));
        object.put(InMemElement::new(Tag(0x6000, 0x3000), VR::OW, PrimitiveValue::from(1_u16)));
        object
    };
    let planes = |options: Options, kind: &str| {
        let (object, _) = through(options, with(kind));
        object.tags().filter(|t| t.group() == 0x6000).map(|t| t.element()).collect::<Vec<_>>()
    };
    let clean = || Options { clean_graphics: true, ..Options::default() };
    assert_eq!(planes(Options::default(), "R"), Vec::<u16>::new());
    assert_eq!(planes(clean(), "G"), Vec::<u16>::new());
    assert_eq!(planes(clean(), "R"), [0x0010, 0x0040, 0x1500, 0x3000]);
    assert_eq!(value(&through(clean(), with("R")).0, Tag(0x6000, 0x1500)).as_deref(), Some("lesion"));
}

#[test]
fn a_plan_tells_old_and_new_and_writes_nothing() {
    let rows = deidentifier(Options::default()).plan(&ct("ID-4711", "1.2.3.4.5"));
    let row = |keyword: &str| rows.iter().find(|r| r.keyword == keyword).unwrap();
    let name = row("PatientName");
    assert_eq!((name.tag.as_str(), name.vr.as_str(), name.action), ("(0010,0010)", "PN", Action::Pseudonym));
    assert_eq!(name.old, "Krawczyk^Zenobia");
    assert!(name.new.as_ref().unwrap().starts_with("P-"));
    assert_eq!((row("Rows").action, row("Rows").old.as_str()), (Action::Keep, "2"));
    assert_eq!(
        (row("StudyDescription").action, row("StudyDescription").new.as_ref()),
        (Action::Remove, None)
    );
    assert_eq!(row("PatientIdentityRemoved").action, Action::Add);
    assert!(!format!("{:?}", name.report()).contains("Krawczyk"));
}

#[test]
fn wide_text_and_pictures_at_risk() {
    let mut object = ct("ID-4711", "1.2.3.4.5");
    object.put(text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100"));
    object.put(text(tags::MANUFACTURER, VR::LO, "Müller & Söhne"));
    let (out, _) = through(Options::default(), object);
    assert_eq!(value(&out, tags::MANUFACTURER).as_deref(), Some("Müller & Söhne"));
    for (modality, burned_in, expected) in [
        ("US", None, Pixels::NotCheckedAtRisk),
        ("US", Some("NO"), Pixels::NotChecked),
        ("CT", None, Pixels::NotChecked),
        ("CT", Some("YES"), Pixels::NotCheckedAtRisk),
    ] {
        let mut object = ct("ID-4711", "1.2.3.4.5");
        object.put(text(tags::MODALITY, VR::CS, modality));
        if let Some(burned_in) = burned_in {
            object.put(text(tags::BURNED_IN_ANNOTATION, VR::CS, burned_in));
        }
        let (out, outcome) = through(Options::default(), object);
        assert_eq!(outcome.pixels, expected, "{modality} {burned_in:?}");
        let warned = outcome.notices.iter().any(|n| n.code == "deid-pixels-not-checked");
        assert_eq!(warned, expected == Pixels::NotCheckedAtRisk);
        assert_eq!(value(&out, tags::BURNED_IN_ANNOTATION).as_deref(), burned_in);
    }
}

/// What goes to NIfTI, NRRD and MetaImage names nobody, de-identified or not: descriptions and facts are of the
/// acquisition.
#[test]
fn other_formats_get_nothing_of_the_patient() {
    let folder = tempfile::tempdir().unwrap();
    let mut object = ct("ID-4711", "1.2.3.4.5");
    object.put(text(tags::SERIES_DESCRIPTION, VR::LO, "Head of Krawczyk"));
    object.put(text(tags::IMAGE_COMMENTS, VR::LT, "Krawczyk was nervous"));
    object.put(text(tags::PIXEL_SPACING, VR::DS, "1\\1"));
    object.put(text(tags::SLICE_THICKNESS, VR::DS, "2"));
    object.put(text(tags::IMAGE_POSITION_PATIENT, VR::DS, "0\\0\\0"));
    object.put(text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"));
    let path = folder.path().join("in.dcm");
    write(object, &path);
    let image = formats::open(&path, &formats::Task::silent()).unwrap();
    let secrets = ["krawczyk", "zenobia", "id-4711", "acc-998877", "elsewhere", "19551231", "sn-445566"];
    for name in ["a.nii", "a.nrrd", "a.mha"] {
        let path = folder.path().join(name);
        formats::save(formats::Content::Image(&image), &path, &formats::Task::silent()).unwrap();
        let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
        for secret in secrets {
            assert!(!contains(&bytes, secret.as_bytes()), "{name} holds {secret}");
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn pixel_bytes(object: &InMemDicomObject) -> Option<Vec<Vec<u8>>> {
    let element = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
        .into_iter()
        .find_map(|t| object.get(t))?;
    Some(match element.value().fragments() {
        Some(fragments) => fragments.iter().map(|f| f.to_vec()).collect(),
        None => {
            let mut bytes = element.to_bytes().unwrap().into_owned();
            // The byte that makes the length even is no part of the value.
            if bytes.len() % 2 == 1 {
                bytes.push(0);
            }
            vec![bytes]
        }
    })
}

#[test]
fn every_shared_file_comes_out_readable_with_its_pixels() {
    let Some(folder) = shared("every_shared_file").map(|data| data.join("dicom")) else { return };
    let out = tempfile::tempdir().unwrap();
    let mut worked = 0;
    let mut findings = BTreeMap::new();
    let mut refused = Vec::new();
    for (number, file) in files(&folder).into_iter().enumerate() {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        // An independent reader for both sides.
        let Ok(original) = open_file(&file) else { continue };
        if original.meta().media_storage_sop_class_uid().trim_end_matches('\0')
            == uids::MEDIA_STORAGE_DIRECTORY_STORAGE
        {
            continue;
        }
        let output = out.path().join(format!("{number}.dcm"));
        let options = match number % 2 {
            0 => Options::default(),
            _ => Options {
                dates: Dates::Shift,
                retain_safe_private: true,
                clean_descriptors: true,
                clean_structured: true,
                ..Options::default()
            },
        };
        let outcome = match deidentifier(options).write(&file, |_| Ok(output.clone())) {
            Ok((_, outcome)) => outcome,
            Err(error) => {
                refused.push(error.to_string());
                continue;
            }
        };
        let written = open_file(&output).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            written.meta().transfer_syntax().trim_end_matches('\0'),
            original.meta().transfer_syntax().trim_end_matches('\0'),
            "{name}"
        );
        assert!(pixel_bytes(&written) == pixel_bytes(&original), "{name}: pixel data differ");
        for tag in
            [tags::ROWS, tags::COLUMNS, tags::PIXEL_SPACING, tags::IMAGE_POSITION_PATIENT, tags::MODALITY]
        {
            assert_eq!(value(&written, tag), value(&original, tag), "{name} {tag}");
        }
        let bytes = std::fs::read(&output).unwrap();
        for tag in [tags::PATIENT_NAME, tags::PATIENT_ID] {
            let Some(old) = value(&original, tag).filter(|v| v.len() >= 6) else { continue };
            assert!(!contains(&bytes, old.as_bytes()), "{name}: {tag} is left");
        }
        if !outcome.findings.is_empty() {
            findings.insert(name, outcome.findings);
        }
        worked += 1;
    }
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(worked >= 90, "only {worked}");
}

#[test]
fn cut_and_broken_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.dcm");
    write(ct("ID-4711", "1.2.3.4.5"), &path);
    let whole = std::fs::read(&path).unwrap();
    let output = path.with_extension("out.dcm");
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        if let Ok((output, outcome)) = one(&deidentifier(Options::default()), &path) {
            // Where the pixel data begin, a file without pixels is whole.
            assert_eq!(outcome.pixels, Pixels::None, "cut at {cut} of {}", whole.len());
            std::fs::remove_file(output).unwrap();
        }
        assert!(!output.exists(), "cut at {cut}");
    }
    for at in 132..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0xff;
        std::fs::write(&path, &bad).unwrap();
        let _ = one(&deidentifier(Options::default()), &path);
    }
}

/// dciodvfy of dicom3tools finds no error in the result that it does not find in the original.
#[test]
fn what_was_valid_stays_valid() {
    let Some(folder) = shared("what_was_valid_stays_valid").map(|data| data.join("dicom")) else { return };
    let errors = |path: &Path| -> Option<Vec<String>> {
        let ran = std::process::Command::new("dciodvfy").arg(path).output().ok()?;
        let text =
            format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        // Values and counts differ on purpose; kinds of errors count.
        Some(text.lines().filter(|l| l.starts_with("Error")).map(kind_of_error).collect())
    };
    let out = tempfile::tempdir().unwrap();
    let mut new = Vec::new();
    for name in [
        "single/CT_small.dcm",
        "same_image_many_syntaxes/MR_small.dcm",
        "single/emri_small.dcm",
        "single/test-SR.dcm",
        "single/rtplan.dcm",
        "single/liver_1frame.dcm",
        "single/examples_palette.dcm",
        "series_siemens_mosaic",
        "series_dti_ge/IM-0001-0001-0001.dcm",
    ] {
        let mut file = folder.join(name);
        if file.is_dir() {
            file = files(&file)[0].clone();
        }
        let Some(before) = errors(&file) else {
            eprintln!("SKIPPED what_was_valid_stays_valid: no dciodvfy here (Debian package dicom3tools)");
            return;
        };
        let output = out.path().join("out.dcm");
        deidentifier(Options::default()).write(&file, |_| Ok(output.clone())).unwrap();
        let after = errors(&output).unwrap();
        new.extend(after.into_iter().filter(|e| !before.contains(e)).map(|e| format!("{name}: {e}")));
    }
    assert!(new.is_empty(), "{new:#?}");
}

/// The message without what stands in angle brackets and quotes.
fn kind_of_error(line: &str) -> String {
    let mut depth = 0;
    line.chars()
        .filter(|c| {
            depth += i32::from(*c == '<');
            let keep = depth == 0;
            depth -= i32::from(*c == '>');
            keep
        })
        .collect()
}
