//! Restored DICOM: series, single pictures and films, as derived objects and as files of other formats.

use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use formats::{Image, Task};
use insula_tests::{runtime, shared};
use serde_json::Value;
use tempfile::tempdir;

use crate::dicom_files::{self, Slice, write_picture};
use crate::{go, save, scan};

/// An attribute of a file, in words; none when it is absent.
fn text(file: &Path, tag: Tag) -> Option<String> {
    let object = dicom_object::open_file(file).unwrap();
    object.get(tag).map(|e| e.to_str().unwrap().trim().to_owned())
}

/// The outputs of a case.
fn outputs(folder: &Path, record: &Value) -> Vec<PathBuf> {
    let files = record["outputs"].as_array().unwrap().iter();
    files.map(|o| folder.join("out").join(o["file"].as_str().unwrap())).collect()
}

fn image(path: &Path) -> Image {
    app::dicom::open_image(path, None, &Task::silent()).unwrap()
}

#[test]
fn a_dicom_series_becomes_a_derived_series() {
    if runtime("a_dicom_series_becomes_a_derived_series").is_none() {
        return;
    }
    let slices: Vec<Slice> = (0..6)
        .map(|n| Slice {
            size: [40, 36],
            position: [10.0, 20.0, 3.0 * f64::from(n)],
            orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            spacing: [0.9, 0.9],
            number: i64::from(n) + 1,
            pixels: (0..40 * 36).map(|p| ((p * 37 + i32::from(n as i16) * 11) % 200) as i16).collect(),
            extra: Vec::new(),
        })
        .collect();
    let input = dicom_files::folder(&slices);
    let folder = tempdir().unwrap();
    let series = input.path().to_str().unwrap();
    let ran = go(folder.path(), &[series, "--format", "dicom", "--no-quicklook"]).expect(0);
    let record = ran.records().remove(0);
    assert_eq!(record["outputs"].as_array().unwrap().len(), 6, "{record}");
    let first = record["outputs"][0]["file"].as_str().unwrap();
    let object = dicom_object::open_file(folder.path().join("out").join(first)).unwrap();
    let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
    assert!(text(tags::IMAGE_TYPE).starts_with("DERIVED"));
    let what = text(tags::DERIVATION_DESCRIPTION);
    assert!(what.contains("denoising") && what.contains("not for measurement"), "{what}");
    // It lies where its source lies.
    let restored = folder.path().join("out").join(Path::new(first).parent().unwrap());
    let of = |path: &Path| image(path).frames.remove(0);
    assert!(of(input.path()).grid.is_same(&of(&restored).grid, 1e-4));
    let again = go(folder.path(), &[series, "--format", "dicom", "--no-quicklook"]).expect(0).records();
    assert_eq!(again[0]["status"], "skipped");
    // What is no DICOM cannot become a series of it.
    save(&folder.path().join("scan.nii.gz"), scan());
    let _ = go(folder.path(), &["scan.nii.gz", "--format", "dicom"]).expect(1);
}

#[test]
fn frames_of_a_dicom_series_keep_their_times() {
    if runtime("frames_of_a_dicom_series_keep_their_times").is_none() {
        return;
    }
    let slice = |time: usize, n: usize| {
        let pixels = (0..40 * 36).map(|p| ((p * 37 + n * 11 + time * 29) % 200) as i16).collect();
        Slice {
            size: [40, 36],
            position: [0.0, 0.0, 3.0 * n as f64],
            number: (time * 4 + n + 1) as i64,
            pixels,
            ..Slice::default()
        }
        .text(tags::TEMPORAL_POSITION_IDENTIFIER, &(time + 1).to_string())
        .text(tags::TEMPORAL_RESOLUTION, "1500")
        .text(tags::ACQUISITION_TIME, &format!("1000{:02}", 10 + time))
    };
    let slices: Vec<Slice> = (0..3).flat_map(|t| (0..4).map(move |n| slice(t, n))).collect();
    let input = dicom_files::folder(&slices);
    let folder = tempdir().unwrap();
    let args = [input.path().to_str().unwrap(), "--format", "dicom", "--no-quicklook"];
    let planned = go(folder.path(), &[args[0], args[1], args[2], "--dry-run"]).expect(0).records().remove(0);
    let record = go(folder.path(), &args).expect(0).records().remove(0);
    let files = outputs(folder.path(), &record);
    assert_eq!(files.len(), 12);
    assert_eq!(planned["outputs"].as_array().unwrap().len(), 13, "with the picture");
    let (before, after) = (image(input.path()), image(files[0].parent().unwrap()));
    assert_eq!((before.frames.len(), after.frames.len()), (3, 3));
    assert_eq!(after.frame_axes, before.frame_axes);
    assert_eq!(after.frame_axes[0].step, 1.5);
    assert!(before.first().grid.is_same(&after.first().grid, 1e-4));
    for (n, (b, a)) in before.frames.iter().zip(&after.frames).enumerate() {
        assert_eq!(b.voxels.type_name(), a.voxels.type_name());
        assert_ne!(b.to_f32(), a.to_f32(), "frame {n} is restored");
    }
    // Each says when it was taken and which image it is of.
    assert_eq!(text(&files[11], tags::ACQUISITION_TIME).as_deref(), Some("100012"));
    let object = dicom_object::open_file(&files[11]).unwrap();
    let sources = object.element(tags::SOURCE_IMAGE_SEQUENCE).unwrap().items().unwrap();
    let uid = sources[0].element(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
    assert_eq!(uid, "1.2.3.12");
}

/// A radiograph, a film and a single slice, each in a series of its own.
fn pictures(folder: &Path) {
    let pixels =
        |n: usize| -> Vec<i16> { (0..n).map(|p| (1000 + (p * 37) % 900 + p % 50 * 20) as i16).collect() };
    let spacing = (tags::IMAGER_PIXEL_SPACING, "0.2\\0.2");
    let of =
        |uid: &'static str, n: &'static str| [(tags::SERIES_INSTANCE_UID, uid), (tags::SOP_INSTANCE_UID, n)];
    let [a, b] = of("1.2.3.4.1", "1.2.3.1");
    let radiograph = [a, b, spacing, (tags::MODALITY, "CR"), (tags::PATIENT_ORIENTATION, "L\\F")];
    write_picture([60, 50], &pixels(3000), &radiograph, &folder.join("radiograph.dcm"));
    let [a, b] = of("1.2.3.4.2", "1.2.3.2");
    let class = (tags::SOP_CLASS_UID, uids::ULTRASOUND_MULTI_FRAME_IMAGE_STORAGE);
    let time = (tags::FRAME_TIME, "40");
    write_picture(
        [40, 30],
        &pixels(3600),
        &[a, b, class, time, (tags::MODALITY, "US")],
        &folder.join("film.dcm"),
    );
    let slice = Slice { size: [44, 33], pixels: pixels(44 * 33), number: 9, ..Slice::default() };
    slice.text(tags::SERIES_INSTANCE_UID, "1.2.3.4.3").write(&folder.join("slice.dcm"));
}

#[test]
fn single_dicom_pictures_are_cases_and_become_derived_objects() {
    if runtime("single_dicom_pictures_are_cases_and_become_derived_objects").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    pictures(&input);
    let records = go(folder.path(), &["in", "--format", "dicom", "--no-quicklook"]).expect(0).records();
    let of = |kind: &str| {
        let record = records.iter().find(|r| r["case"].as_str().unwrap().starts_with(kind)).unwrap();
        outputs(folder.path(), record)
    };
    assert_eq!(records.len(), 3);
    let (radiograph, film, slice) = (of("cr"), of("us"), of("mr"));
    assert_eq!((radiograph.len(), film.len(), slice.len()), (1, 3, 1));
    for file in radiograph.iter().chain(&film).chain(&slice) {
        assert!(text(file, tags::IMAGE_TYPE).unwrap().starts_with("DERIVED"));
        assert_eq!(text(file, tags::PATIENT_NAME).as_deref(), Some("Doe^Jane"));
        assert!(text(file, tags::DERIVATION_DESCRIPTION).unwrap().contains("not for measurement"));
        let object = dicom_object::open_file(file).unwrap();
        assert!(object.get(tags::SOURCE_IMAGE_SEQUENCE).is_some());
    }
    // No place is made up; what was said of size, direction and shades stays.
    let file = &radiograph[0];
    for absent in [tags::IMAGE_POSITION_PATIENT, tags::IMAGE_ORIENTATION_PATIENT, tags::PIXEL_SPACING] {
        assert_eq!(text(file, absent), None, "{absent}");
    }
    assert_eq!(text(file, tags::IMAGER_PIXEL_SPACING).as_deref(), Some("0.2\\0.2"));
    assert_eq!(text(file, tags::PATIENT_ORIENTATION).as_deref(), Some("L\\F"));
    assert_eq!(text(file, tags::PHOTOMETRIC_INTERPRETATION).as_deref(), Some("MONOCHROME1"));
    assert_eq!(text(file, tags::BITS_STORED).as_deref(), Some("12"));
    assert_eq!(text(file, tags::MODALITY).as_deref(), Some("CR"));
    assert!(text(&slice[0], tags::IMAGE_POSITION_PATIENT).is_some());
    for (name, file) in [("radiograph", file), ("slice", &slice[0])] {
        let (before, after) = (image(&input.join(format!("{name}.dcm"))), image(file));
        assert!(before.first().grid.is_same(&after.first().grid, 1e-4), "{name}");
        let (b, a) = (before.first().to_f32(), after.first().to_f32());
        assert!(b.iter().zip(&a).any(|(b, a)| b != a), "{name} is restored");
    }

    // Without a word on the format, each as what suits it.
    let records = go(folder.path(), &["in", "--no-quicklook"]).expect(0).records();
    for (kind, ending) in [("cr", "png"), ("us", "tiff"), ("mr", "nii.gz")] {
        let record = records.iter().find(|r| r["case"].as_str().unwrap().starts_with(kind)).unwrap();
        let file = outputs(folder.path(), record).remove(0);
        assert!(file.to_str().unwrap().ends_with(&format!("_restored.{ending}")), "{file:?}");
        let after = formats::open(&file, &Task::silent()).unwrap();
        assert_eq!(after.frames.len(), if kind == "us" { 3 } else { 1 });
        let inverted = record["notices"].as_array().unwrap().iter().any(|n| n["code"] == "display-inverted");
        assert_eq!(inverted, kind != "mr", "shades the other way round are told");
        if kind == "us" {
            assert!((after.frame_axes[0].step - 0.04).abs() < 1e-9, "{:?}", after.frame_axes);
        }
    }
}

#[test]
fn real_pictures_become_derived_objects() {
    const TEST: &str = "real_pictures_become_derived_objects";
    let (Some(dx), Some(us)) = (
        shared(TEST, "data/dicom/single/dx_image.dcm"),
        shared(TEST, "data/dicom/single/examples_rgb_color.dcm"),
    ) else {
        return;
    };
    if runtime(TEST).is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let args = [dx.to_str().unwrap(), us.to_str().unwrap(), "--format", "dicom", "--no-quicklook"];
    let records = go(folder.path(), &args).expect(0).records();
    assert_eq!(records.len(), 2);
    for record in &records {
        let file = outputs(folder.path(), record).remove(0);
        let source = if record["case"].as_str().unwrap().starts_with("dx") { &dx } else { &us };
        for same in [tags::ROWS, tags::COLUMNS, tags::PHOTOMETRIC_INTERPRETATION, tags::STUDY_INSTANCE_UID] {
            assert_eq!(text(&file, same), text(source, same), "{same} of {source:?}");
        }
        assert_ne!(text(&file, tags::SOP_INSTANCE_UID), text(source, tags::SOP_INSTANCE_UID));
        assert_eq!(text(&file, tags::IMAGE_POSITION_PATIENT), None);
        let (before, after) = (image(source), image(&file));
        assert_eq!(before.first().grid.size_ijk, after.first().grid.size_ijk);
        assert_ne!(before.first().to_f32(), after.first().to_f32());
    }
}
