//! Files: read, de-identified, written, and read again to see that nothing was left.
//!
//! The header is written anew; the bytes of the pixel data are copied as they are, whatever their compression and size.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_object::meta::FileMetaTableBuilder;

use super::value::texts;
use super::verify::{Finding, verify};
use super::{Deidentified, Deidentifier, Patient, ReportRow, Row};
use crate::dicom::PixelElement;
use crate::dicom::modules::IMPLEMENTATION;
use crate::dicom::read::{Header, read_header};
use crate::error::{Error, Result};
use crate::notice::Notice;

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

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
        refuse_doubtful(&header)?;
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
        crate::atomic::write(&output, |temporary| write(&header, object, temporary))?;
        outcome.findings = verify(self, &header, &outcome.uids, &output)?;
        Ok((output, outcome))
    }

    fn prepare(&self, path: &Path) -> Result<(Prepared, Outcome)> {
        let header = read_header(path)?;
        refuse_doubtful(&header)?;
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

/// Half-read files are not passed on as whole ones, and directories name every patient of a disk.
fn refuse_doubtful(header: &Header) -> Result<()> {
    if header.sop_class_uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE {
        return Err(Error::unsupported(
            &header.path,
            "a directory of files (DICOMDIR)",
            "files with patients' data",
            "De-identify the files it lists and make a new directory of them",
        ));
    }
    let broken = ["dicom-broken-data-set", "dicom-deflate-cut"];
    if let Some(notice) = header.notices.iter().find(|n| broken.contains(&n.code.as_str())) {
        return Err(Error::malformed(&header.path, notice.message.clone(), "a whole data set"));
    }
    Ok(())
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

/// Writes preamble, meta group, data set and pixel data.
fn write(header: &Header, object: InMemDicomObject, path: &Path) -> Result<()> {
    let io = || Error::io(path, "write");
    let file = File::create(path).map_err(io())?;
    let mut out = BufWriter::with_capacity(CHUNK, file);
    // 128 bytes in which programs and anything else can hide (ICS-ALERT-19-162-01) become zeros.
    out.write_all(&[0; 128]).map_err(io())?;
    out.write_all(b"DICM").map_err(io())?;
    let uid = |tag| object.get(tag).and_then(texts).and_then(|t| t.into_iter().next()).unwrap_or_default();
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(uid(tags::SOP_CLASS_UID))
        .media_storage_sop_instance_uid(uid(tags::SOP_INSTANCE_UID))
        .transfer_syntax(&header.transfer_syntax_uid)
        .implementation_class_uid(IMPLEMENTATION)
        .implementation_version_name(concat!("INSULA_", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| refused(path, &e))?;
    meta.write(&mut out).map_err(|e| refused(path, &e))?;
    let is_deflated = [uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, uids::JPIP_REFERENCED_DEFLATE]
        .contains(&header.transfer_syntax_uid.as_str());
    if is_deflated {
        let mut deflater = flate2::write::DeflateEncoder::new(&mut out, flate2::Compression::default());
        write_data_set(header, object, &mut deflater)?;
        deflater.finish().map_err(io())?;
    } else {
        write_data_set(header, object, &mut out)?;
    }
    out.flush().map_err(io())
}

fn refused(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::unsupported(
        path,
        format!("a value that cannot be written ({error})"),
        "values of PS3.5",
        "Export the file again as Explicit VR Little Endian",
    )
}

fn write_data_set(header: &Header, object: InMemDicomObject, out: &mut dyn Write) -> Result<()> {
    let path = &header.path;
    // Only how elements are written is taken from this: compression happens around it.
    let uid = match (header.encoding.explicit_vr, header.encoding.big_endian) {
        (true, true) => "1.2.840.10008.1.2.2",
        (false, false) => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        _ => uids::EXPLICIT_VR_LITTLE_ENDIAN,
    };
    let meta = FileMetaTableBuilder::new().transfer_syntax(uid).build().map_err(|e| refused(path, &e))?;
    let mut bytes = Vec::new();
    object.with_exact_meta(meta).write_dataset(&mut bytes).map_err(|e| refused(path, &e))?;
    out.write_all(&bytes).map_err(Error::io(path, "write"))?;
    match &header.pixels {
        Some(pixels) => copy_pixels(header, pixels, out),
        None => Ok(()),
    }
}

fn copy_pixels(header: &Header, pixels: &PixelElement, out: &mut dyn Write) -> Result<()> {
    let path = &header.path;
    let encoding = header.encoding;
    let value = pixel_value(header, pixels)?;
    // Values have an even length (PS3.5 7.1.1); some writers forget that.
    let padding = pixels.len.is_some() && value.1 % 2 == 1;
    let declared = match pixels.len {
        None => u32::MAX,
        Some(_) => {
            u32::try_from(value.1 + u64::from(padding)).ok().filter(|&n| n < u32::MAX).ok_or_else(|| {
                Error::malformed(
                    path,
                    format!("pixel data of {} bytes", value.1),
                    "less than 4 GiB, not compressed",
                )
            })?
        }
    };
    let mut head = Vec::with_capacity(12);
    let two = |n: u16| if encoding.big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let four = |n: u32| if encoding.big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    head.extend(two(pixels.tag.group()));
    head.extend(two(pixels.tag.element()));
    if encoding.explicit_vr {
        head.extend(pixels.vr.to_bytes());
        head.extend([0, 0]);
    }
    head.extend(four(declared));
    let io = || Error::io(path, "write");
    out.write_all(&head).map_err(io())?;
    copy(header, value, &mut |piece| out.write_all(piece).map_err(io()))?;
    if padding {
        out.write_all(&[0]).map_err(io())?;
    }
    if pixels.len.is_none() {
        // Sequence delimitation item: (FFFE,E0DD), of no length.
        out.write_all(&[0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]).map_err(io())?;
    }
    Ok(())
}

/// Start and length of the pixel data's value in the data set. Of encapsulated data: all items, without the
/// delimiter.
pub(super) fn pixel_value(header: &Header, pixels: &PixelElement) -> Result<(u64, u64)> {
    let total = header.data_len();
    let mut reader = header.reader()?;
    if let Some(len) = pixels.len {
        if pixels.start.checked_add(len).is_none_or(|end| end > total) {
            return Err(Error::malformed(
                &header.path,
                format!("{} bytes of pixel data", total.saturating_sub(pixels.start)),
                format!("{len}"),
            ));
        }
        return Ok((pixels.start, len));
    }
    // Items (FFFE,E000) with a length each; encapsulated data are little endian (PS3.5 A.4).
    let mut at = pixels.start;
    loop {
        let mut head = [0; 8];
        if total.saturating_sub(at) < 8 {
            // The delimiter is missing; every fragment is there.
            return Ok((pixels.start, at - pixels.start));
        }
        reader.read_at(at, &mut head)?;
        let [a, b, c, d, l0, l1, l2, l3] = head;
        let len = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        match [a, b, c, d] {
            [0xfe, 0xff, 0xdd, 0xe0] => return Ok((pixels.start, at - pixels.start)),
            [0xfe, 0xff, 0x00, 0xe0] if at + 8 + len <= total => at += 8 + len,
            _ => {
                return Err(Error::malformed(
                    &header.path,
                    format!("compressed pixel data broken at byte {at} of the data set"),
                    "whole fragments (PS3.5 A.4)",
                ));
            }
        }
    }
}

/// Hands a piece of the data set over in chunks.
pub(super) fn copy(
    header: &Header,
    (start, len): (u64, u64),
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(CHUNK).min(CHUNK)];
    let mut reader = header.reader()?;
    let mut done = 0;
    while done < len {
        let count = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
        let Some(piece) = buffer.get_mut(..count) else { break };
        reader.read_at(start + done, piece)?;
        take(piece)?;
        done += count as u64;
    }
    Ok(())
}
