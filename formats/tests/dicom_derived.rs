//! Derived image series and captures: written from volumes, read back by the decoder.

mod dicom_common;

use std::sync::Arc;

use dicom_common::{oblique, origin};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use formats::dicom::capture::{self, CaptureOptions, Picture};
use formats::dicom::derived::{DerivedOptions, write_series};
use formats::dicom::pixels::{Instance, Modality, Samples};
use formats::dicom::{Origin, read_header};
use formats::voxels::Scaling;
use formats::{AxisOrder, Grid, Task, Volume, Voxels};
use ndarray::Array3;

fn numbered<T: Clone>(grid: &Grid, f: impl Fn(usize) -> T) -> formats::Shared<T> {
    let [ni, nj, _] = grid.size_ijk;
    Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| f((k * nj + j) * ni + i)).into_shared()
}

fn volume(grid: &Grid, voxels: Voxels, scaling: Scaling) -> Volume {
    let mut v = Volume::new(voxels, *grid).unwrap();
    v.scaling = scaling;
    v.meta.dicom = Some(origin(grid));
    v
}

/// Values of a written series in the order of its files.
fn values(files: &[std::path::PathBuf]) -> Vec<f64> {
    let mut out = Vec::new();
    for file in files {
        let instance = Instance::open(file).unwrap();
        assert!(instance.notices().is_empty(), "{:?}", instance.notices());
        let modality = instance.modality(0).unwrap();
        let Modality::Linear(s) = modality else { panic!("a LUT") };
        let stored: Vec<f64> = formats::for_samples!(instance.frame(0).unwrap(), v => v.into_iter().map(formats::voxels::Scalar::to_f64).collect());
        out.extend(stored.into_iter().map(|v| v * s.slope + s.inter));
    }
    out
}

fn text(file: &std::path::Path, tag: Tag) -> String {
    read_header(file).unwrap().text(tag).unwrap_or_default()
}

fn with_header(grid: &Grid, change: &[(Tag, VR, &str)]) -> Arc<Origin> {
    let mut o = (*origin(grid)).clone();
    let mut header = (*o.header).clone();
    for &(tag, vr, value) in change {
        let values = value.split('\\').map(str::to_owned).collect();
        header.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
    }
    o.header = Arc::new(header);
    Arc::new(o)
}

#[test]
fn sixteen_bits_are_stored_as_they_are() {
    let grid = oblique([5, 4, 3]);
    let folder = tempfile::tempdir().unwrap();
    let scaling = Scaling { slope: 1.0, inter: -1024.0 };
    let voxels = numbered(&grid, |x| (x * 1091) as i16);
    let original = volume(&grid, Voxels::I16(voxels.clone()), scaling);
    let order = AxisOrder { source: [2, 0, 1], reversed: [true, false, true] };
    for (n, v) in [original.clone(), original.reordered(order)].iter().enumerate() {
        let to = folder.path().join(format!("series{n}"));
        let (files, notices) = write_series(v, &DerivedOptions::default(), &to, &Task::silent()).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        assert_eq!(files.len(), 3);
        let want: Vec<f64> = voxels.iter().map(|&v| f64::from(v) - 1024.0).collect();
        assert_eq!(values(&files), want);
        let second = &files[1];
        assert_eq!(text(second, tags::IMAGE_TYPE), "DERIVED\\SECONDARY\\AXIAL");
        assert_eq!(text(second, tags::SOP_CLASS_UID), uids::CT_IMAGE_STORAGE);
        assert_eq!(text(second, tags::PATIENT_NAME), "Müller^Jörg");
        assert_eq!(text(second, tags::STUDY_INSTANCE_UID), "1.2.826.0.1.9.2");
        assert_ne!(text(second, tags::SERIES_INSTANCE_UID), "1.2.826.0.1.9.3");
        assert_eq!(text(second, tags::BURNED_IN_ANNOTATION), "NO");
        assert_eq!(text(second, tags::WINDOW_CENTER), "40");
        let object = read_header(second).unwrap().object;
        let sources = object.get(tags::SOURCE_IMAGE_SEQUENCE).unwrap().items().unwrap();
        let uid = sources[0].get(tags::REFERENCED_SOP_INSTANCE_UID).unwrap().to_str().unwrap();
        assert_eq!(uid, "1.2.826.0.1.9.1.2");
        let position = object.get(tags::IMAGE_POSITION_PATIENT).unwrap().to_multi_float64().unwrap();
        let world = grid.world_from_voxel.apply([0.0, 0.0, 1.0]);
        let lps = [-world[0], -world[1], world[2]];
        assert!((0..3).all(|a| (position[a] - lps[a]).abs() < 1e-9), "{position:?} {lps:?}");
    }
}

#[test]
fn wide_numbers_are_exact_or_their_error_is_stated() {
    let grid = oblique([5, 4, 3]);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, voxels: Voxels| {
        let v = volume(&grid, voxels, Scaling::NONE);
        write_series(&v, &DerivedOptions::default(), &folder.path().join(name), &Task::silent()).unwrap()
    };
    let (files, notices) = write("whole", Voxels::F32(numbered(&grid, |x| x as f32 * 7.0 - 1000.0)));
    assert!(notices.is_empty());
    assert_eq!(values(&files), (0..60).map(|x| f64::from(x) * 7.0 - 1000.0).collect::<Vec<_>>());
    let original = numbered(&grid, |x| (x as f32).sqrt() - 2.5);
    let (files, notices) = write("broken", Voxels::F32(original.clone()));
    assert!(notices.iter().any(|n| n.code == "values-rounded"), "{notices:?}");
    let range = 59_f64.sqrt();
    for (found, want) in values(&files).iter().zip(&original) {
        assert!((found - f64::from(*want)).abs() <= range / 65535.0 * 0.501, "{found} {want}");
    }
    let (_, notices) =
        write("holes", Voxels::F32(numbered(&grid, |x| if x == 7 { f32::NAN } else { x as f32 })));
    assert!(notices.iter().any(|n| n.code == "not-finite"));
    let (files, _) = write("flat", Voxels::F64(numbered(&grid, |_| 0.3)));
    assert!(values(&files).iter().all(|v| (v - 0.3).abs() < 1e-12));
}

#[test]
fn classes_change_where_they_must() {
    let grid = oblique([5, 4, 2]);
    let folder = tempfile::tempdir().unwrap();
    let mut n = 0;
    let mut class = |source: &str, voxels: Voxels| {
        n += 1;
        let mut v = volume(&grid, voxels, Scaling::NONE);
        v.meta.dicom = Some(with_header(&grid, &[(tags::SOP_CLASS_UID, VR::UI, source)]));
        let to = folder.path().join(n.to_string());
        let (files, notices) = write_series(&v, &DerivedOptions::default(), &to, &Task::silent()).unwrap();
        let class = text(&files[0], tags::SOP_CLASS_UID);
        assert_eq!(notices.iter().any(|n| n.code == "class-changed"), class != source);
        class
    };
    let grey = Voxels::U16(numbered(&grid, |x| x as u16));
    let colours = Voxels::Rgb8(numbered(&grid, |x| [x as u8, 1, 2]));
    assert_eq!(class(uids::MR_IMAGE_STORAGE, grey.clone()), uids::MR_IMAGE_STORAGE);
    assert_eq!(class(uids::ENHANCED_MR_IMAGE_STORAGE, grey.clone()), uids::MR_IMAGE_STORAGE);
    assert_eq!(class(uids::ULTRASOUND_IMAGE_STORAGE, grey), uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
    assert_eq!(class(uids::CT_IMAGE_STORAGE, colours), uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
}

#[test]
fn folders_of_the_user_are_left_alone() {
    let grid = oblique([5, 4, 3]);
    let v = volume(&grid, Voxels::U8(numbered(&grid, |x| x as u8)), Scaling::NONE);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("series");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine.txt"), "x").unwrap();
    assert!(write_series(&v, &DerivedOptions::default(), &to, &Task::silent()).is_err());
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    std::fs::remove_file(to.join("mine.txt")).unwrap();
    let cancelled = Task::silent();
    cancelled.cancel().cancel();
    assert!(write_series(&v, &DerivedOptions::default(), &to, &cancelled).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a stopped run leaves nothing behind");
    assert_eq!(write_series(&v, &DerivedOptions::default(), &to, &Task::silent()).unwrap().0.len(), 3);
    let mut lost = v.clone();
    lost.meta.dicom = None;
    assert!(write_series(&lost, &DerivedOptions::default(), &to, &Task::silent()).is_err());
}

#[test]
fn private_and_per_image_attributes_are_left_out() {
    let grid = oblique([5, 4, 2]);
    let mut v = volume(&grid, Voxels::I16(numbered(&grid, |x| x as i16)), Scaling::NONE);
    v.meta.dicom = Some(with_header(
        &grid,
        &[
            (Tag(0x0009, 0x0010), VR::LO, "GEMS_IDEN_01"),
            (Tag(0x6000, 0x0022), VR::LO, "overlay"),
            (tags::PIXEL_PADDING_VALUE, VR::SS, "-2000"),
            (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01"),
            (tags::IMAGE_COMMENTS, VR::LT, "of one slice"),
            (tags::CONVOLUTION_KERNEL, VR::SH, "B30f"),
        ],
    ));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("series");
    let (files, _) = write_series(&v, &DerivedOptions::default(), &to, &Task::silent()).unwrap();
    let object = read_header(&files[0]).unwrap().object;
    for gone in [Tag(0x0009, 0x0010), Tag(0x6000, 0x0022), tags::PIXEL_PADDING_VALUE, tags::IMAGE_COMMENTS] {
        assert!(object.get(gone).is_none(), "{gone}");
    }
    assert_eq!(text(&files[0], tags::LOSSY_IMAGE_COMPRESSION), "01");
    assert_eq!(text(&files[0], tags::CONVOLUTION_KERNEL), "B30f");
    // Another grid: no slice is one of the source's, so all are named.
    v.grid = grid.window([1, 0, 0], grid.size_ijk);
    let to = folder.path().join("moved");
    let (files, _) = write_series(&v, &DerivedOptions::default(), &to, &Task::silent()).unwrap();
    let object = read_header(&files[0]).unwrap().object;
    assert_eq!(object.get(tags::SOURCE_IMAGE_SEQUENCE).unwrap().items().unwrap().len(), 2);
}

#[test]
fn pictures_are_stored_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sc.dcm");
    let grid = oblique([5, 4, 3]);
    let colours: Vec<u8> = (0..3 * 5 * 3).map(|v| (v * 5) as u8).collect();
    for (pixels, from) in [(&colours[..], Some(origin(&grid))), (&colours[..15], None)] {
        let picture = Picture { width: 5, height: 3, pixels };
        capture::write(&picture, from.as_deref(), &CaptureOptions::default(), &path).unwrap();
        let Samples::U8(found) = Instance::open(&path).unwrap().frame(0).unwrap() else {
            panic!("not 8 bits")
        };
        assert_eq!(found, pixels);
        // Of burned-in text is said what the source says, and nothing where nobody looked.
        let said = |path: &std::path::Path| {
            let object = read_header(path).unwrap().object;
            object.get(tags::BURNED_IN_ANNOTATION).map(|e| e.to_str().unwrap().trim().to_owned())
        };
        assert_eq!(said(&path).as_deref(), from.is_some().then_some("NO"));
        let named = CaptureOptions { shows_identity: true, ..CaptureOptions::default() };
        capture::write(&picture, from.as_deref(), &named, &path).unwrap();
        assert_eq!(said(&path).as_deref(), Some("YES"));
    }
    let wrong = Picture { width: 5, height: 4, pixels: &colours };
    assert!(capture::write(&wrong, None, &CaptureOptions::default(), &path).is_err());
}
