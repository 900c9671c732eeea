//! What the tests of derived DICOM objects share: a series that needs no files, and labels on it.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use formats::dicom::{Origin, SliceRef};
use formats::{Affine, Grid, LabelEntry, LabelMap, LabelTable, Meta};
use ndarray::Array3;

/// What other programs find in the shared files; made by `dicom/truth.py`.
pub fn truth() -> serde_json::Value {
    serde_json::from_str(include_str!("../dicom/truth.json")).unwrap()
}

/// Voxels of each label but the background.
pub fn counts(labels: &LabelMap) -> BTreeMap<u16, u64> {
    let mut n = BTreeMap::new();
    labels.labels.iter().filter(|v| **v != 0).for_each(|&v| *n.entry(v).or_default() += 1);
    n
}

/// A right-angled oblique grid with three different spacings, slices in the order of their normal.
pub fn oblique(size_ijk: [usize; 3]) -> Grid {
    let (s, c) = (0.3_f64.sin(), 0.3_f64.cos());
    let (t, d) = ((-0.7_f64).sin(), 0.7_f64.cos());
    let columns = [[c, s * d, s * t], [-s, c * d, c * t], [0.0, -t, d]];
    let spacing = [0.9, 1.25, 2.0 / 3.0];
    let columns = [0, 1, 2].map(|a| columns[a].map(|v| v * spacing[a]));
    Grid { size_ijk, world_from_voxel: Affine::from_columns(columns, [12.5, -7.25, 1.0 / 3.0]) }
}

/// The CT series that a grid would be, one instance per slice.
pub fn origin(grid: &Grid) -> Arc<Origin> {
    let mut d = InMemDicomObject::new_empty();
    let mut put = |tag: Tag, vr: VR, value: &str| {
        let values = value.split('\\').map(str::to_owned).collect();
        d.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
    };
    put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
    put(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    put(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE);
    put(tags::SOP_INSTANCE_UID, VR::UI, "1.2.826.0.1.9.1");
    put(tags::STUDY_DATE, VR::DA, "20240229");
    put(tags::STUDY_TIME, VR::TM, "101112");
    put(tags::CONTENT_DATE, VR::DA, "20240229");
    put(tags::CONTENT_TIME, VR::TM, "101113");
    put(tags::MODALITY, VR::CS, "CT");
    put(tags::MANUFACTURER, VR::LO, "Nobody");
    put(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
    put(tags::ACCESSION_NUMBER, VR::SH, "A1");
    put(tags::PATIENT_NAME, VR::PN, "Müller^Jörg");
    put(tags::PATIENT_ID, VR::LO, "P1");
    put(tags::PATIENT_BIRTH_DATE, VR::DA, "19700101");
    put(tags::PATIENT_SEX, VR::CS, "O");
    put(tags::PATIENT_AGE, VR::AS, "054Y");
    put(tags::KVP, VR::DS, "120");
    put(tags::PATIENT_POSITION, VR::CS, "HFS");
    put(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    put(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.826.0.1.9.2");
    put(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.826.0.1.9.3");
    put(tags::STUDY_ID, VR::SH, "S1");
    put(tags::SERIES_NUMBER, VR::IS, "4");
    put(tags::ACQUISITION_NUMBER, VR::IS, "1");
    put(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.826.0.1.9.4");
    put(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    put(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
    put(tags::RESCALE_SLOPE, VR::DS, "1");
    put(tags::RESCALE_TYPE, VR::LO, "HU");
    put(tags::WINDOW_CENTER, VR::DS, "40");
    put(tags::WINDOW_WIDTH, VR::DS, "400");
    let slice = |k: usize| SliceRef {
        sop_class_uid: uids::CT_IMAGE_STORAGE.to_owned(),
        sop_instance_uid: format!("1.2.826.0.1.9.1.{}", k + 1),
        frame_number: None,
        path: format!("slice{k}.dcm").into(),
    };
    let slices: Vec<_> = (0..grid.size_ijk[2]).map(slice).collect();
    Arc::new(Origin {
        header: Arc::new(d),
        grid: *grid,
        slices: slices.iter().cloned().map(Some).collect(),
        instances: slices,
    })
}

/// Labels with holes, several pieces, single voxels and touching corners, in slices 1, 2 and 4 (of those there are).
pub fn labels_on(grid: &Grid) -> LabelMap {
    let (a, b, c) = (17, 42, 2035);
    let only = grid.size_ijk[2] == 1;
    let labels = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| match if only { 1 } else { k } {
        // A ring with one voxel in its hole, and corners that touch.
        1 if (1..=5).contains(&i) && (1..=5).contains(&j) => match (i, j) {
            (3, 3) => b,
            (2..=4, 2..=4) => 0,
            _ => a,
        },
        1 if (i, j) == (6, 0) || (i, j) == (7, 6) => a,
        2 if (i + j) % 2 == 0 => c,
        4 if j >= 2 && i > 3 => b,
        4 if i == 0 => c,
        _ => 0,
    });
    let table = LabelTable {
        entries: vec![
            LabelEntry::new(a, "Left-Hippocampus", [220, 216, 20]),
            LabelEntry::new(b, "Something <odd> \"ü\"", [255, 0, 128]),
            LabelEntry::new(c, "ctx-rh-insula", [255, 192, 32]),
            LabelEntry::new(99, "not there", [1, 2, 3]),
        ],
    };
    let meta = Meta { dicom: Some(origin(grid)), ..Meta::default() };
    LabelMap { labels: labels.into_shared(), grid: *grid, table, meta }
}
