//! Files: read, de-identified, written, and read again to see that nothing was left.
//!
//! The bytes of the pixel data are copied as they are.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::value::texts;
use super::verify::{Finding, verify};
use super::{Deidentified, Deidentifier, Patient, ReportRow, Row};
use crate::dicom::read::{Header, read_header};
use crate::dicom::rewrite::{self, NewPixels};
use crate::error::Result;
use crate::notice::Notice;

/// Modalities whose pictures often show names: ultrasound, photographs and videos of any kind, angiography and
/// fluoroscopy, scanned documents and slides, digitised film, screens of other systems.
const RISKY_MODALITIES: &[&str] = &[
    "US", "IVUS", "BDUS", "SC", "OT", "XC", "ES", "GM", "SM", "OP", "OPT", "DOC", "XA", "RF", "DG", "CR",
    "DX", "MG", "IO", "PX", "HC", "FID", "ECG", "TG",
];
/// Classes for pictures of screens and films (PS3.4 B.5): Secondary Capture and its multi-frame kin.
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// Whether the pixels may show who it is. They are not looked at here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pixels {
    /// There are none.
    None,
    /// Not checked; nothing points at text in them.
    NotChecked,
    /// Not checked, and of a kind that often shows text, or said to show it (0028,0301).
    NotCheckedAtRisk,
}

/// Who the patient of a file was. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Original {
    /// Patient ID (0010,0020).
    pub id: String,
    /// Patient's Name (0010,0010).
    pub name: String,
    /// See [`Deidentifier::patient_secret`].
    pub secret: String,
}

impl std::fmt::Debug for Original {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Original(…)")
    }
}

/// What became of a file.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who stands for the patient.
    pub patient: Patient,
    /// Who the patient was: for a map that goes back, and never for a report.
    pub original: Original,
    /// Where the file belongs below the output folder: patient, study, series and instance, by names made with the key.
    pub names: [String; 4],
    /// What was done.
    pub rows: Vec<ReportRow>,
    /// Old UIDs and those in their place.
    pub uids: BTreeMap<String, String>,
    /// Whether the pixels may show who it is.
    pub pixels: Pixels,
    /// What was found in the written file that should not be there; empty is good.
    pub findings: Vec<Finding>,
    /// Odd things.
    pub notices: Vec<Notice>,
}

/// What would be done with a file, with old and new values: for a screen, never for a report.
#[derive(Clone)]
pub struct Preview {
    /// Every element, kept ones too, in the order of the data set.
    pub rows: Vec<Row>,
    /// Whether the pixels may show who it is.
    pub pixels: Pixels,
    /// Odd things.
    pub notices: Vec<Notice>,
}

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Preview(…)")
    }
}

impl Deidentifier {
    /// Reads a file's header and says what would be done with each element.
    ///
    /// # Errors
    /// Those of reading.
    pub fn preview(&self, path: &Path) -> Result<Preview> {
        let header = read_header(path)?;
        rewrite::refuse_doubtful(&header)?;
        let (pixels, mut notices) = pixels_of(&header);
        notices.extend(header.notices.iter().cloned());
        Ok(Preview { rows: self.plan(&filled(&header)), pixels, notices })
    }

    /// Reads a file's header and says what would be done, without writing; see [`Deidentifier::write`].
    ///
    /// # Errors
    /// Those of reading.
    pub fn dry_run(&self, path: &Path) -> Result<Outcome> {
        Ok(self.prepare(path)?.1)
    }

    /// De-identifies the file `input` into the file that `place` names for its outcome, and reads it again.
    /// The output appears whole or not at all.
    ///
    /// # Errors
    /// Those of reading, of `place` and of writing. What the second reading finds is no error but in the outcome.
    pub fn write(
        &self,
        input: &Path,
        place: impl FnOnce(&Outcome) -> Result<std::path::PathBuf>,
    ) -> Result<(std::path::PathBuf, Outcome)> {
        let (prepared, mut outcome) = self.prepare(input)?;
        let output = place(&outcome)?;
        let Prepared { header, object } = prepared;
        crate::atomic::write(&output, |temporary| {
            rewrite::write(&header, object, &NewPixels::Copied, temporary)
        })?;
        outcome.findings = verify(self, &header, &outcome.uids, &output)?;
        Ok((output, outcome))
    }

    fn prepare(&self, path: &Path) -> Result<(Prepared, Outcome)> {
        let header = read_header(path)?;
        rewrite::refuse_doubtful(&header)?;
        let object = filled(&header);
        let instance = header.sop_instance_uid.clone();
        let text = |tag| header.object.get(tag).and_then(texts).and_then(|t| t.into_iter().next());
        let names = {
            let name = |kind: &str, secret: &str| format!("{kind}-{}", self.key.letters(kind, secret, 8));
            let instance = if instance.is_empty() { path.display().to_string() } else { instance };
            [
                self.patient(&object).pseudonym.clone(),
                name("ST", &text(tags::STUDY_INSTANCE_UID).unwrap_or_default()),
                name("SE", &text(tags::SERIES_INSTANCE_UID).unwrap_or_default()),
                name("IM", &instance),
            ]
        };
        let original = Original {
            id: text(tags::PATIENT_ID).unwrap_or_default(),
            name: text(tags::PATIENT_NAME).unwrap_or_default(),
            secret: Self::patient_secret(&object),
        };
        let (pixels, mut notices) = pixels_of(&header);
        notices.extend(header.notices.iter().cloned());
        let Deidentified { object, rows, uids, patient } = self.apply(object);
        let rows = rows.iter().map(Row::report).collect();
        let outcome = Outcome { patient, original, names, rows, uids, pixels, findings: Vec::new(), notices };
        Ok((Prepared { header, object }, outcome))
    }
}

struct Prepared {
    header: Header,
    object: InMemDicomObject,
}

/// The data set of a file. Files without class and instance are named after the meta group, or after their content.
fn filled(header: &Header) -> InMemDicomObject {
    let mut object = InMemDicomObject::clone(&header.object);
    fill(&mut object, tags::SOP_CLASS_UID, &header.sop_class_uid);
    fill(&mut object, tags::SOP_INSTANCE_UID, &header.sop_instance_uid);
    object
}

fn fill(object: &mut InMemDicomObject, tag: Tag, value: &str) {
    if !value.is_empty() && !super::has_value(object, tag) {
        object.put(InMemElement::new(tag, VR::UI, PrimitiveValue::from(value)));
    }
}

fn pixels_of(header: &Header) -> (Pixels, Vec<Notice>) {
    let mut notices = Vec::new();
    let text =
        |tag| header.object.get(tag).and_then(texts).and_then(|t| t.into_iter().next()).unwrap_or_default();
    // Overlays of old files lie in unused bits of the pixels (PS3.3 C.9.2, retired).
    let is_embedded = |e: &InMemElement| {
        let tag = e.header().tag;
        tag.group() & 0xff01 == 0x6000
            && tag.element() == 0x0100
            && e.to_int::<u16>().is_ok_and(|bits| bits > 1)
    };
    let has_embedded = header.object.iter().any(is_embedded);
    if has_embedded {
        notices.push(Notice::warning(
            "deid-overlay-in-pixels",
            "an overlay may lie in unused bits of the pixel data, which are kept as they are",
        ));
    }
    if header.pixels.is_none() {
        return (Pixels::None, notices);
    }
    let modality = text(tags::MODALITY);
    let burned_in = text(tags::BURNED_IN_ANNOTATION);
    let is_risky = RISKY_MODALITIES.contains(&modality.as_str())
        || header.sop_class_uid.starts_with(SECONDARY_CAPTURE)
        || modality.is_empty();
    let at_risk = burned_in == "YES" || has_embedded || is_risky && burned_in != "NO";
    if at_risk {
        let why = match burned_in.as_str() {
            "YES" => "the file says that text is burned in",
            _ if has_embedded => "an overlay may lie in them",
            _ => "pictures of this kind often show names",
        };
        notices.push(Notice::warning("deid-pixels-not-checked", format!("pixels not checked: {why}")));
    }
    (if at_risk { Pixels::NotCheckedAtRisk } else { Pixels::NotChecked }, notices)
}
