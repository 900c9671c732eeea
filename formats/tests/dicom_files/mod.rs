//! Small DICOM files of our own making.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write;
use std::path::Path;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

pub const ECHO_TIME: Tag = tags::ECHO_TIME;
pub const IMAGE_TYPE: Tag = tags::IMAGE_TYPE;
pub const RESCALE_SLOPE: Tag = tags::RESCALE_SLOPE;
pub const RESCALE_INTERCEPT: Tag = tags::RESCALE_INTERCEPT;

/// A tag by its numbers, for tests that know no dictionary.
pub const fn tag(group: u16, element: u16) -> Tag {
    Tag(group, element)
}

/// A slice, of 4 columns and 3 rows unless something else is said.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Columns and rows.
    pub size: [u16; 2],
    pub position: [f64; 3],
    pub orientation: [f64; 6],
    /// Rows first.
    pub spacing: [f64; 2],
    pub number: i64,
    pub pixels: Vec<i16>,
    pub extra: Vec<(Tag, String)>,
}

impl Default for Slice {
    fn default() -> Self {
        Self {
            size: [4, 3],
            position: [0.0; 3],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            spacing: [0.5, 0.7],
            number: 1,
            pixels: vec![0; 12],
            extra: Vec::new(),
        }
    }
}

/// All digits, more than the 16 characters a DS may have: what is tested is geometry, not rounding.
fn numbers(v: &[f64]) -> PrimitiveValue {
    PrimitiveValue::Strs(v.iter().map(ToString::to_string).collect())
}

fn ow(pixels: &[i16]) -> PrimitiveValue {
    PrimitiveValue::U16(pixels.iter().map(|&v| v as u16).collect())
}

impl Slice {
    pub fn text(mut self, tag: Tag, value: &str) -> Self {
        self.extra.push((tag, value.to_owned()));
        self
    }

    fn object(&self) -> InMemDicomObject {
        let mut o = base(&format!("1.2.3.{}", self.number), self.size[0], self.size[1]);
        o.put(DataElement::new(tags::IMAGE_POSITION_PATIENT, VR::DS, numbers(&self.position)));
        o.put(DataElement::new(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, numbers(&self.orientation)));
        o.put(DataElement::new(tags::PIXEL_SPACING, VR::DS, numbers(&self.spacing)));
        o.put_str(tags::INSTANCE_NUMBER, VR::IS, self.number.to_string());
        o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, ow(&self.pixels)));
        for (tag, value) in &self.extra {
            let vr = StandardDataDictionary.by_tag(*tag).map_or(VR::DS, |entry| entry.vr().relaxed());
            let values = value.split('\\').map(str::to_owned).collect();
            o.put(DataElement::new(*tag, vr, PrimitiveValue::Strs(values)));
        }
        o
    }

    pub fn write(&self, file: &Path) {
        write(self.object(), uids::MR_IMAGE_STORAGE, file);
    }
}

fn base(uid: &str, columns: u16, rows: u16) -> InMemDicomObject {
    let mut o = InMemDicomObject::new_empty();
    for (tag, vr, value) in [
        (tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
        (tags::SOP_INSTANCE_UID, VR::UI, uid),
        (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.5"),
        (tags::MODALITY, VR::CS, "MR"),
        (tags::PATIENT_NAME, VR::PN, "Doe^Jane"),
        (tags::PATIENT_ID, VR::LO, "PAT-1"),
        (tags::STUDY_DATE, VR::DA, "19700101"),
        (tags::SERIES_DESCRIPTION, VR::LO, "head of Jane Doe"),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
    ] {
        o.put_str(tag, vr, value);
    }
    for (tag, value) in [
        (tags::COLUMNS, columns),
        (tags::ROWS, rows),
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, 16),
        (tags::HIGH_BIT, 15),
        (tags::PIXEL_REPRESENTATION, 1),
    ] {
        o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    o
}

fn write(object: InMemDicomObject, class: &str, file: &Path) {
    let uid = object
        .get(tags::SOP_INSTANCE_UID)
        .map_or_else(|| "1.2.9".into(), |e| e.to_str().unwrap().into_owned());
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(uid);
    object.with_meta(meta).unwrap().write_to_file(file).unwrap();
}

/// A folder of slices under names that say nothing, some in a folder below.
pub fn folder(slices: &[Slice]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    for (n, slice) in slices.iter().enumerate() {
        // 7 and 11 have no common factor: a shuffle.
        let name = format!("{:02}", (n * 7 + 3) % 11);
        let place = if n % 3 == 1 { folder.path().join("below") } else { folder.path().to_owned() };
        slice.write(&place.join(if place.join(&name).exists() { format!("{name}-{n}") } else { name }));
    }
    folder
}

fn sequence(items: Vec<InMemDicomObject>, tag: Tag) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

fn item(elements: impl IntoIterator<Item = DataElement<InMemDicomObject>>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// Slices as frames of one instance.
pub fn write_enhanced(slices: &[Slice], file: &Path) {
    let mut o = base("1.2.3.77", 4, 3);
    o.put_str(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_MR_IMAGE_STORAGE);
    o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, slices.len().to_string());
    let first = &slices[0];
    let spacing = DataElement::new(tags::PIXEL_SPACING, VR::DS, numbers(&first.spacing));
    let orientation = DataElement::new(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, numbers(&first.orientation));
    o.put(sequence(
        vec![item([
            sequence(vec![item([spacing])], tags::PIXEL_MEASURES_SEQUENCE),
            sequence(vec![item([orientation])], tags::PLANE_ORIENTATION_SEQUENCE),
        ])],
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    ));
    let frames = slices.iter().map(|s| {
        let position = DataElement::new(tags::IMAGE_POSITION_PATIENT, VR::DS, numbers(&s.position));
        item([sequence(vec![item([position])], tags::PLANE_POSITION_SEQUENCE)])
    });
    o.put(sequence(frames.collect(), tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE));
    let pixels: Vec<i16> = slices.iter().flat_map(|s| s.pixels.clone()).collect();
    o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, ow(&pixels)));
    write(o, uids::ENHANCED_MR_IMAGE_STORAGE, file);
}

/// A picture without a place in the patient, of 12-bit greys that are bright at 0, in so many frames as `pixels` fill. `more`
/// adds or replaces attributes.
pub fn write_picture([columns, rows]: [u16; 2], pixels: &[i16], more: &[(Tag, &str)], file: &Path) {
    let mut o = base("1.2.3.79", columns, rows);
    let frames = pixels.len() / (usize::from(columns) * usize::from(rows));
    o.remove_element(tags::FRAME_OF_REFERENCE_UID);
    o.put_str(tags::SOP_CLASS_UID, VR::UI, uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE);
    o.put_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    if frames > 1 {
        o.put_str(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    }
    for (tag, value) in [(tags::BITS_STORED, 12), (tags::HIGH_BIT, 11), (tags::PIXEL_REPRESENTATION, 0u16)] {
        o.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    for (tag, value) in more {
        let vr = StandardDataDictionary.by_tag(*tag).map_or(VR::DS, |entry| entry.vr().relaxed());
        let values = value.split('\\').map(str::to_owned).collect();
        o.put(DataElement::new(*tag, vr, PrimitiveValue::Strs(values)));
    }
    o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, ow(pixels)));
    let class = o.get(tags::SOP_CLASS_UID).map(|e| e.to_str().unwrap().into_owned()).unwrap();
    write(o, &class, file);
}

/// Four slices as a Siemens mosaic, with the normal in a CSA header.
pub fn write_mosaic(slices: &[Slice], step: f64, reversed: bool, file: &Path) {
    let mut o = base("1.2.3.78", 8, 6);
    let first = &slices[0];
    o.put(DataElement::new(
        tags::IMAGE_TYPE,
        VR::CS,
        PrimitiveValue::Strs(["ORIGINAL", "PRIMARY", "M", "MOSAIC"].map(str::to_owned).into_iter().collect()),
    ));
    o.put_str(tags::MANUFACTURER, VR::LO, "SIEMENS");
    // The position a slice as large as the mosaic would have around the same centre.
    let corner = [0, 1, 2].map(|r| {
        first.position[r]
            - first.orientation[r] * first.spacing[1] * 2.0
            - first.orientation[3 + r] * first.spacing[0] * 1.5
    });
    o.put(DataElement::new(tags::IMAGE_POSITION_PATIENT, VR::DS, numbers(&corner)));
    o.put(DataElement::new(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, numbers(&first.orientation)));
    o.put(DataElement::new(tags::PIXEL_SPACING, VR::DS, numbers(&first.spacing)));
    o.put_str(tags::SPACING_BETWEEN_SLICES, VR::DS, step.to_string());
    o.put(DataElement::new(Tag(0x0019, 0x0010), VR::LO, PrimitiveValue::from("SIEMENS MR HEADER")));
    o.put(DataElement::new(Tag(0x0019, 0x100a), VR::US, PrimitiveValue::from(4u16)));
    o.put(DataElement::new(Tag(0x0029, 0x0010), VR::LO, PrimitiveValue::from("SIEMENS CSA HEADER")));
    let normal = if reversed { "-1.00000000" } else { "1.00000000" };
    let csa = csa("SliceNormalVector", &["0.00000000", "0.00000000", normal]);
    o.put(DataElement::new(Tag(0x0029, 0x1010), VR::OB, PrimitiveValue::U8(csa.into())));
    let mut pixels = vec![0i16; 48];
    for (t, slice) in slices.iter().enumerate() {
        for j in 0..3 {
            for i in 0..4 {
                pixels[(t / 2 * 3 + j) * 8 + t % 2 * 4 + i] = slice.pixels[j * 4 + i];
            }
        }
    }
    o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, ow(&pixels)));
    write(o, uids::MR_IMAGE_STORAGE, file);
}

fn csa(name: &str, values: &[&str]) -> Vec<u8> {
    let mut out = b"SV10\x04\x03\x02\x01".to_vec();
    let word = |out: &mut Vec<u8>, v: usize| out.extend((v as u32).to_le_bytes());
    word(&mut out, 1);
    word(&mut out, 77);
    let mut label = [0u8; 64];
    label[..name.len()].copy_from_slice(name.as_bytes());
    out.extend(label);
    word(&mut out, values.len());
    out.extend(b"FD\0\0");
    word(&mut out, 3);
    word(&mut out, values.len());
    word(&mut out, 77);
    for value in values {
        let len = value.len() + 1;
        for v in [len, len, 77, len] {
            word(&mut out, v);
        }
        out.extend(value.as_bytes());
        out.extend(std::iter::repeat_n(0, len.next_multiple_of(4) - value.len()));
    }
    out
}

/// All files below a folder, under names with a prefix.
pub fn zip(folder: &Path, archive: &Path, prefix: &str) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(archive).unwrap());
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = format!("{prefix}{}", path.strip_prefix(folder).unwrap().display());
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&std::fs::read(path).unwrap()).unwrap();
        }
    }
    zip.finish().unwrap();
}

/// A DICOMDIR that lists these file IDs.
pub fn write_dicomdir(files: &[&[&str]], file: &Path) {
    let entries = files.iter().map(|id| {
        let parts = PrimitiveValue::Strs(id.iter().map(|p| (*p).to_owned()).collect());
        item([
            DataElement::new(Tag(0x0004, 0x1430), VR::CS, PrimitiveValue::from("IMAGE")),
            DataElement::new(tags::REFERENCED_FILE_ID, VR::CS, parts),
        ])
    });
    let o = item([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, PrimitiveValue::from("1.2.840.10008.1.3.10")),
        sequence(entries.collect(), tags::DIRECTORY_RECORD_SEQUENCE),
    ]);
    write(o, "1.2.840.10008.1.3.10", file);
}
