//! What every object that is written has in common: patient, study, frame of reference, equipment, references, UIDs,
//! and how it gets to disk.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::meta::FileMetaTableBuilder;

use super::attributes::{Attributes, Put, items, text};
use super::codes::Code;
use super::origin::{Origin, SliceRef};
use crate::error::{Error, Result};

/// Implementation Class UID (0002,0012) of this program.
pub(super) const IMPLEMENTATION: &str = "2.25.168402331955404385216349063587226512943";

/// A new UID under 2.25 (PS3.5 B.2): a random UUID as a decimal number.
pub(super) fn new_uid() -> String {
    format!("2.25.{}", uuid::Uuid::new_v4().as_u128())
}

/// Date (DA) and time (TM) of now, in local time as the other dates of a study are.
pub(super) fn now() -> (String, String) {
    let now = chrono::Local::now();
    (now.format("%Y%m%d").to_string(), now.format("%H%M%S").to_string())
}

/// Starts a data set: UIDs, character set, and the patient, study and clinical trial of the source.
///
/// Without a source the patient is empty and the study new.
pub(super) fn start(source: Option<Attributes<'_>>, class: &str) -> InMemDicomObject {
    let mut d = InMemDicomObject::new_empty();
    d.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
    d.text(tags::SOP_CLASS_UID, class);
    d.text(tags::SOP_INSTANCE_UID, &new_uid());
    let (date, time) = now();
    d.text(tags::INSTANCE_CREATION_DATE, &date);
    d.text(tags::INSTANCE_CREATION_TIME, &time);
    if let Some(source) = source {
        // Groups 0010 and 0012: patient, patient study and clinical trial, and how the data were de-identified.
        for element in source.iter() {
            let Tag(group, number) = element.header().tag;
            if matches!(group, 0x0010 | 0x0012) && number != 0 {
                d.put(element.clone());
            }
        }
        copy(&mut d, source, STUDY);
    }
    require(&mut d, &[tags::PATIENT_NAME, tags::PATIENT_ID, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX]);
    require(&mut d, &[tags::STUDY_DATE, tags::STUDY_TIME, tags::REFERRING_PHYSICIAN_NAME]);
    require(&mut d, &[tags::STUDY_ID, tags::ACCESSION_NUMBER]);
    if text(&d, tags::STUDY_INSTANCE_UID).is_none() {
        d.text(tags::STUDY_INSTANCE_UID, &new_uid());
    }
    d
}

/// General Study (PS3.3 C.7.2.1) and the time zone.
const STUDY: &[Tag] = &[
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::STUDY_DESCRIPTION,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PHYSICIANS_OF_RECORD,
    tags::REFERENCED_STUDY_SEQUENCE,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::TIMEZONE_OFFSET_FROM_UTC,
];

/// Copies attributes that the source has.
pub(super) fn copy(to: &mut InMemDicomObject, from: Attributes<'_>, what: &[Tag]) {
    for element in what.iter().filter_map(|&t| from.get(t)) {
        to.put(element.clone());
    }
}

/// Puts attributes of type 2 that are absent, without a value.
pub(super) fn require(d: &mut InMemDicomObject, what: &[Tag]) {
    for &tag in what {
        if d.get(tag).is_none() {
            d.empty(tag);
        }
    }
}

/// Body parts (PS3.16 Annex L) of which there is one, so that they have no side.
const WITHOUT_SIDE: &[&str] = &[
    "ABDOMEN",
    "ABDOMENPELVIS",
    "AORTA",
    "BACK",
    "BLADDER",
    "BRAIN",
    "CEREBELLUM",
    "CHEST",
    "CHESTABDOMEN",
    "CHESTABDPELVIS",
    "CIRCLEOFWILLIS",
    "COCCYX",
    "COLON",
    "CSPINE",
    "CTSPINE",
    "DUODENUM",
    "ESOPHAGUS",
    "FACE",
    "GALLBLADDER",
    "HEAD",
    "HEADNECK",
    "HEART",
    "ILEUM",
    "JAW",
    "JEJUNUM",
    "LARYNX",
    "LIVER",
    "LSPINE",
    "LSSPINE",
    "MEDIASTINUM",
    "MOUTH",
    "NECK",
    "NECKCHEST",
    "NECKCHESTABDOMEN",
    "NECKCHESTABDPELV",
    "NOSE",
    "PANCREAS",
    "PELVIS",
    "PENIS",
    "PHARYNX",
    "PROSTATE",
    "RECTUM",
    "SKULL",
    "SPINE",
    "SPLEEN",
    "SSPINE",
    "STERNUM",
    "STOMACH",
    "THYMUS",
    "THYROID",
    "TLSPINE",
    "TONGUE",
    "TRACHEA",
    "TSPINE",
    "URETHRA",
    "UTERUS",
    "VAGINA",
    "VULVA",
    "WHOLEBODY",
];

/// Laterality (0020,0060), type 2C: there with or without a value where the part examined may have a side or is not
/// known, and absent where it has none (PS3.3 C.7.3.1). A value that the source gives stays.
pub(super) fn laterality(d: &mut InMemDicomObject) {
    let part = text(d, tags::BODY_PART_EXAMINED).unwrap_or_default();
    if !WITHOUT_SIDE.contains(&part.as_str()) {
        require(d, &[tags::LATERALITY]);
    } else if text(d, tags::LATERALITY).is_none() {
        d.remove_element(tags::LATERALITY);
    }
}

/// A new series (PS3.3 C.7.3.1) of today.
pub(super) fn series(d: &mut InMemDicomObject, modality: &str, number: i32, description: &str) {
    let (date, time) = now();
    d.text(tags::MODALITY, modality);
    d.text(tags::SERIES_INSTANCE_UID, &new_uid());
    d.text(tags::SERIES_NUMBER, &number.to_string());
    d.text(tags::SERIES_DATE, &date);
    d.text(tags::SERIES_TIME, &time);
    if !description.is_empty() {
        d.text(tags::SERIES_DESCRIPTION, description);
    }
}

/// Frame of reference (PS3.3 C.7.4.1) of the source; a new one where it has none. Returns whether it is the source's.
pub(super) fn frame_of_reference(d: &mut InMemDicomObject, source: Attributes<'_>) -> bool {
    let own = text(source, tags::FRAME_OF_REFERENCE_UID);
    d.text(tags::FRAME_OF_REFERENCE_UID, own.as_deref().unwrap_or(&new_uid()));
    copy(d, source, &[tags::POSITION_REFERENCE_INDICATOR]);
    require(d, &[tags::POSITION_REFERENCE_INDICATOR]);
    own.is_some()
}

/// General and Enhanced General Equipment (PS3.3 C.7.5.1, C.7.5.2): this program.
pub(super) fn equipment(d: &mut InMemDicomObject) {
    d.text(tags::MANUFACTURER, "Insula");
    d.text(tags::MANUFACTURER_MODEL_NAME, "Insula");
    d.text(tags::DEVICE_SERIAL_NUMBER, "1");
    d.text(tags::SOFTWARE_VERSIONS, env!("CARGO_PKG_VERSION"));
}

/// A reference to an instance or a frame of it (PS3.3 table 10-3).
pub(super) fn reference(slice: &SliceRef) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.text(tags::REFERENCED_SOP_CLASS_UID, &slice.sop_class_uid);
    item.text(tags::REFERENCED_SOP_INSTANCE_UID, &slice.sop_instance_uid);
    if let Some(frame) = slice.frame_number {
        item.text(tags::REFERENCED_FRAME_NUMBER, &frame.to_string());
    }
    item
}

/// A reference to a source image: [`reference()`] with its purpose (PS3.16 CID 7202).
pub(super) fn source_image(slice: &SliceRef) -> InMemDicomObject {
    let purpose = Code::new("121322", "DCM", "Source image for image processing operation");
    let mut item = reference(slice);
    item.sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose.to_item()]);
    item
}

/// The instances of the source, each once (frames of one instance share it).
pub(super) fn instances(origin: &Origin) -> Vec<SliceRef> {
    let mut seen = std::collections::BTreeSet::new();
    let all = origin.instances.iter().chain(origin.slices.iter().flatten());
    let once = all.filter(|s| seen.insert(s.sop_instance_uid.clone()));
    once.map(|s| SliceRef { frame_number: None, ..s.clone() }).collect()
}

/// Common Instance Reference (PS3.3 C.12.2): the series and instances that the object refers to.
pub(super) fn referenced_series(d: &mut InMemDicomObject, origin: &Origin) {
    let Some(series) = text(&origin.header, tags::SERIES_INSTANCE_UID) else { return };
    let mut item = InMemDicomObject::new_empty();
    item.text(tags::SERIES_INSTANCE_UID, &series);
    item.sequence(tags::REFERENCED_INSTANCE_SEQUENCE, instances(origin).iter().map(reference).collect());
    d.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![item]);
}

/// The first Series Instance UID that an object refers to.
pub(super) fn first_referenced_series(d: Attributes<'_>) -> Option<String> {
    items(d, tags::REFERENCED_SERIES_SEQUENCE).iter().find_map(|s| text(s, tags::SERIES_INSTANCE_UID))
}

/// Writes a file whole or not at all: zero preamble, explicit VR little endian.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(d: InMemDicomObject, path: &Path) -> Result<()> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(IMPLEMENTATION)
        .implementation_version_name(concat!("INSULA_", env!("CARGO_PKG_VERSION")));
    let fail = |e: &dyn std::error::Error| Error::Io {
        path: path.to_owned(),
        action: "write",
        source: std::io::Error::other(e.to_string()),
    };
    let file = d.with_meta(meta).map_err(|e| fail(&e))?;
    crate::atomic::write(path, |p| {
        let to = std::fs::File::create(p).map_err(Error::io(path, "write"))?;
        file.write_all(to).map_err(|e| fail(&e))
    })
}
