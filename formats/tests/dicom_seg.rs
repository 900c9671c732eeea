//! DICOM segmentations against what other programs find in them, and labels written and read back.

mod common;
mod dicom_common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{all_orders, shared};
use dicom_common::{counts, labels_on, oblique, origin, truth};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use formats::dicom::codes::{Code, Coding};
use formats::dicom::seg::{self, Algorithm, Encoding, SegOptions};
use formats::volume::reorder;
use formats::{Affine, Grid, LabelMap, Level, Meta, Task, Volume, Voxels};
use ndarray::Array3;

fn read(path: &Path) -> (LabelMap, Vec<formats::Notice>) {
    seg::read(path, None, &Task::silent()).unwrap_or_else(|e| panic!("{e}"))
}

/// Mean of the LPS positions of a label's voxels.
fn centre_lps(labels: &LabelMap, id: u16) -> [f64; 3] {
    let (mut sum, mut n) = ([0.0; 3], 0.0);
    for ((k, j, i), _) in labels.labels.indexed_iter().filter(|(_, v)| **v == id) {
        let p = labels.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        (0..3).for_each(|a| sum[a] += p[a]);
        n += 1.0;
    }
    [-sum[0] / n, -sum[1] / n, sum[2] / n]
}

#[test]
fn structures_are_where_other_programs_find_them() {
    let Some(data) = shared("structures_are_where_other_programs_find_them") else { return };
    let truth = truth();
    let files = [
        "series_ct_with_seg/seg_liver",
        "single/seg_image_ct_binary_single_frame",
        "single/liver_nonbyte_aligned",
    ];
    for file in files {
        let name = format!("dicom/{file}.dcm");
        let (labels, notices) = read(&data.join(&name));
        assert!(notices.is_empty(), "{notices:?}");
        for row in truth[&name].as_array().unwrap() {
            let id = row["number"].as_u64().unwrap() as u16;
            let entry = labels.table.get(id).unwrap();
            assert_eq!(entry.name, row["label"].as_str().unwrap());
            assert_eq!(entry.coding.as_ref().unwrap().kind.value, row["code"].as_str().unwrap());
            assert_eq!(counts(&labels)[&id], row["voxels"].as_u64().unwrap(), "{name} {id}");
            let want: Vec<f64> = serde_json::from_value(row["centre_lps"].clone()).unwrap();
            let found = centre_lps(&labels, id);
            assert!((0..3).all(|a| (found[a] - want[a]).abs() < 1e-3), "{name}: {found:?} {want:?}");
        }
    }
}

#[test]
fn overlaps_are_told_and_the_smaller_structure_stays() {
    let Some(data) = shared("overlaps_are_told_and_the_smaller_structure_stays") else { return };
    let (labels, notices) = read(&data.join("dicom/series_ct_with_seg/seg_partial_overlaps.dcm"));
    let overlaps = &truth()["overlaps"];
    for (id, n) in overlaps["left"].as_object().unwrap() {
        assert_eq!(counts(&labels)[&id.parse().unwrap()], n.as_u64().unwrap(), "{id}");
    }
    let told = notices.iter().find(|n| n.code == "overlapping-structures").unwrap();
    assert_eq!(told.level, Level::Warning);
    assert!(told.message.contains("50 voxels of “ORANGE” are now “PURPLE”"), "{}", told.message);
    assert_eq!(labels.grid.size_ijk, [512, 512, 3]);
    // Colours of Slicer's table, as the file was made with.
    assert_eq!(labels.table.rgb(1), [128, 174, 128]);
}

#[test]
fn a_slide_is_put_together_from_its_tiles() {
    let Some(data) = shared("a_slide_is_put_together_from_its_tiles") else { return };
    let name = "dicom/single/seg_image_sm_control_labelmap_palette_color.dcm";
    let (labels, notices) = read(&data.join(name));
    assert_eq!(labels.grid.size_ijk, [50, 50, 1]);
    assert!((labels.grid.spacing_mm()[0] - 0.000_499).abs() < 1e-9);
    assert!(notices.iter().any(|n| n.code == "slide-coordinates"));
    for row in truth()[name].as_array().unwrap() {
        let id = row["number"].as_u64().unwrap() as u16;
        let found = counts(&labels).get(&id).copied().unwrap_or(0);
        assert_eq!(found, row["voxels"].as_u64().unwrap(), "{id}");
        assert_eq!(labels.table.get(id).unwrap().name, row["label"].as_str().unwrap());
    }
    // The palette's second to seventh entries, as pydicom prints them.
    let colours = [[255, 0, 191], [253, 0, 255], [182, 0, 255], [112, 0, 255], [41, 0, 255], [0, 29, 255]];
    for (id, rgb) in (1..).zip(colours) {
        assert_eq!(labels.table.rgb(id), rgb);
    }
}

#[test]
fn a_source_in_any_axis_order_gets_its_voxels() {
    let Some(data) = shared("a_source_in_any_axis_order_gets_its_voxels") else { return };
    let path = data.join("dicom/series_ct_with_seg/seg_liver.dcm");
    let (own, _) = read(&path);
    for order in all_orders() {
        let grid = own.grid.reordered(order);
        let image = Volume::new(Voxels::U8(Array3::zeros(grid.shape_kji()).into_shared()), grid).unwrap();
        let (labels, notices) = seg::read(&path, Some(&image), &Task::silent()).unwrap();
        assert_eq!(labels.grid, grid);
        assert_eq!(labels.labels, reorder(&own.labels, order), "{order:?}");
        assert!(notices.is_empty(), "{notices:?}");
    }
    let shifted = own.grid.window([0, 0, 1], own.grid.size_ijk);
    let image = Volume::new(Voxels::U8(Array3::zeros(shifted.shape_kji()).into_shared()), shifted).unwrap();
    let (labels, notices) = seg::read(&path, Some(&image), &Task::silent()).unwrap();
    assert_eq!(labels.grid, own.grid);
    assert!(notices.iter().any(|n| n.code == "own-grid"), "{notices:?}");
}

fn options(encoding: Encoding) -> SegOptions {
    SegOptions { encoding, algorithm_name: "Größenmaß 1.0".to_owned(), ..SegOptions::default() }
}

#[test]
fn labels_come_back_from_every_axis_order() {
    let folder = tempfile::tempdir().unwrap();
    for grid in
        [oblique([9, 7, 5]), Grid { size_ijk: [8, 8, 1], world_from_voxel: oblique([1; 3]).world_from_voxel }]
    {
        let original = labels_on(&grid);
        let image = Volume::new(Voxels::U8(Array3::zeros(grid.shape_kji()).into_shared()), grid).unwrap();
        for order in all_orders() {
            for encoding in [Encoding::Binary, Encoding::LabelMap] {
                let stored = LabelMap {
                    labels: reorder(&original.labels, order),
                    grid: original.grid.reordered(order),
                    ..original.clone()
                };
                let path = folder.path().join("seg.dcm");
                let notices = seg::write(&stored, &options(encoding), &path, &Task::silent()).unwrap();
                assert!(notices.is_empty(), "{notices:?}");
                let (back, notices) = seg::read(&path, Some(&image), &Task::silent()).unwrap();
                assert!(notices.is_empty(), "{notices:?}");
                assert_eq!(back.labels, original.labels, "{encoding:?} {order:?}");
                assert_eq!(back.grid, grid);
                let ids = counts(&back);
                for entry in original.table.entries.iter().filter(|e| ids.contains_key(&e.id)) {
                    let got = back.table.get(entry.id).unwrap();
                    assert_eq!((&got.name, got.rgb), (&entry.name, entry.rgb));
                }
            }
        }
    }
}

#[test]
fn a_segmentation_alone_has_its_own_planes() {
    let folder = tempfile::tempdir().unwrap();
    let grid = oblique([9, 7, 5]);
    let original = labels_on(&grid);
    let path = folder.path().join("seg.dcm");
    seg::write(&original, &options(Encoding::Binary), &path, &Task::silent()).unwrap();
    let (back, _) = read(&path);
    assert_eq!(counts(&back), counts(&original));
    // Slices 0 and 3 of the five are empty: the planes run from 1 to 4.
    assert_eq!(back.grid.size_ijk, [9, 7, 4]);
    assert!(back.grid.is_same(&grid.window([0, 0, 1], [9, 7, 4]), 1e-6));
    assert!(back.meta.dicom.is_none());
    // Labels on another grid keep it, in the same frame of reference.
    let mut moved = original.clone();
    moved.grid = grid.window([1, 0, 0], grid.size_ijk);
    let notices = seg::write(&moved, &options(Encoding::Binary), &path, &Task::silent()).unwrap();
    assert!(notices.iter().any(|n| n.code == "own-grid"));
    assert!(read(&path).0.grid.is_same(&moved.grid.window([0, 0, 1], [9, 7, 4]), 1e-6));
}

#[test]
fn codes_of_a_table_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = labels_on(&oblique([9, 7, 5]));
    let own = Coding {
        category: Code::new("49755003", "SCT", "Morphologically Abnormal Structure"),
        kind: Code::new("4147007", "SCT", "Mass"),
        modifier: Some(Code::new("7771000", "SCT", "Left")),
    };
    labels.table.entries[2].coding = Some(own.clone());
    let path = folder.path().join("seg.dcm");
    seg::write(
        &labels,
        &SegOptions { algorithm: Algorithm::Manual, ..options(Encoding::Binary) },
        &path,
        &Task::silent(),
    )
    .unwrap();
    let (back, _) = read(&path);
    assert_eq!(back.table.get(labels.table.entries[2].id).unwrap().coding, Some(own));
    assert_eq!(back.meta.facts["algorithm"], "MANUAL");
    // A name of the table is coded with its side, an unknown one as tissue.
    let coding =
        |name: &str| back.table.entries.iter().find(|e| e.name == name).unwrap().coding.clone().unwrap();
    assert_eq!(coding("Left-Hippocampus").kind.meaning, "Hippocampus");
    assert_eq!(coding("Left-Hippocampus").modifier.unwrap().meaning, "Left");
    assert_eq!(coding("Something <odd> \"ü\"").kind.meaning, "Tissue");
}

/// A written one-bit segmentation, changed before it is read.
fn changed(labels: &LabelMap, path: &Path, change: impl FnOnce(&mut dicom_object::DefaultDicomObject)) {
    seg::write(labels, &options(Encoding::Binary), path, &Task::silent()).unwrap();
    let mut file = dicom_object::open_file(path).unwrap();
    change(&mut file);
    file.write_to_file(path).unwrap();
}

#[test]
fn fractions_are_cut_at_half_and_the_larger_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    let grid = oblique([4, 1, 1]);
    let mut labels = labels_on(&grid);
    // Two structures in the one slice, so two frames of four pixels.
    labels.labels = Array3::from_shape_vec((1, 1, 4), vec![17, 17, 42, 42]).unwrap().into_shared();
    changed(&labels, &path, |file| {
        let bytes = |v: &[u8]| PrimitiveValue::U8(v.into());
        let text = |v: &str| PrimitiveValue::from(v);
        for (tag, vr, value) in [
            (tags::SEGMENTATION_TYPE, VR::CS, text("FRACTIONAL")),
            (tags::SEGMENTATION_FRACTIONAL_TYPE, VR::CS, text("PROBABILITY")),
            (tags::MAXIMUM_FRACTIONAL_VALUE, VR::US, PrimitiveValue::from(200_u16)),
            (tags::BITS_ALLOCATED, VR::US, PrimitiveValue::from(8_u16)),
            (tags::BITS_STORED, VR::US, PrimitiveValue::from(8_u16)),
            (tags::HIGH_BIT, VR::US, PrimitiveValue::from(7_u16)),
            (tags::PIXEL_DATA, VR::OB, bytes(&[99, 100, 150, 200, 0, 140, 150, 120])),
        ] {
            file.put(DataElement::new(tag, vr, value));
        }
    });
    let (back, notices) = read(&path);
    assert_eq!(back.labels.as_slice().unwrap(), [0, 42, 42, 17]);
    let told = |code: &str| notices.iter().find(|n| n.code == code).unwrap().message.clone();
    assert!(told("fractions-cut").contains("100 of 200"), "{}", told("fractions-cut"));
    assert!(
        told("overlapping-structures").contains("overlap in 3 voxels"),
        "{}",
        told("overlapping-structures")
    );
}

#[test]
fn frames_must_say_their_structure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    let labels = labels_on(&oblique([9, 7, 5]));
    changed(&labels, &path, |file| {
        let frames = file.take(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).unwrap();
        let mut items: Vec<_> = frames.into_value().into_items().unwrap().into_iter().collect();
        items[0].remove_element(tags::SEGMENT_IDENTIFICATION_SEQUENCE);
        let value = dicom_core::value::DataSetSequence::from(items);
        file.put(DataElement::new(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, VR::SQ, value));
    });
    let e = seg::read(&path, None, &Task::silent()).unwrap_err();
    assert!(e.to_string().contains("frame 1 names no segment"), "{e}");
}

#[test]
fn planes_far_apart_do_not_take_memory_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    let grid = Grid { size_ijk: [64, 64, 2], world_from_voxel: Affine::scale_shift([1.0; 3], [0.0; 3]) };
    let mut labels = labels_on(&grid);
    labels.labels = Array3::from_elem((2, 64, 64), 17).into_shared();
    labels.meta.dicom = Some(origin(&grid));
    for (nominal, apart, ok) in [("1", "500", true), ("0.0001", "500", false), ("1", "500.5", true)] {
        changed(&labels, &path, |file| {
            let text = |v: &str| PrimitiveValue::from(v);
            let place = format!("0\\0\\{apart}");
            file.update_value_at(
                (
                    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                    1,
                    tags::PLANE_POSITION_SEQUENCE,
                    tags::IMAGE_POSITION_PATIENT,
                ),
                |v| {
                    *v.primitive_mut().unwrap() = text(&place);
                },
            )
            .unwrap();
            file.update_value_at(
                (
                    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
                    tags::PIXEL_MEASURES_SEQUENCE,
                    tags::SPACING_BETWEEN_SLICES,
                ),
                |v| {
                    *v.primitive_mut().unwrap() = text(nominal);
                },
            )
            .unwrap();
        });
        match seg::read(&path, None, &Task::silent()) {
            Ok((back, _)) => {
                assert!(ok, "{nominal} {apart}");
                assert_eq!(counts(&back)[&17], 2 * 64 * 64);
            }
            Err(e) => assert!(!ok && e.kind() == "over-limit", "{e}"),
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    let labels = labels_on(&oblique([9, 7, 5]));
    let refused = |l: &LabelMap, what: &str| {
        let e = seg::write(l, &SegOptions::default(), &path, &Task::silent()).unwrap_err();
        assert!(e.to_string().contains(what), "{e}");
        assert!(!path.exists());
    };
    refused(&LabelMap { meta: Meta::default(), ..labels.clone() }, "do not come from a DICOM series");
    refused(
        &LabelMap { labels: Array3::zeros((5, 7, 9)).into_shared(), ..labels.clone() },
        "every voxel is background",
    );
    let mut sheared = labels.clone();
    sheared.grid.world_from_voxel.0[0][1] += 0.4;
    refused(&sheared, "meet at");
    let cancelled = Task::silent();
    cancelled.cancel().cancel();
    assert!(seg::write(&labels, &SegOptions::default(), &path, &cancelled).is_err());
    assert!(!path.exists());
}

#[test]
fn cut_and_changed_files_are_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    let labels = labels_on(&oblique([9, 7, 5]));
    for encoding in [Encoding::Binary, Encoding::LabelMap] {
        seg::write(&labels, &options(encoding), &path, &Task::silent()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in (0..bytes.len()).step_by(97) {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let _ = seg::read(&path, None, &Task::silent());
        }
        for at in (132..bytes.len()).step_by(5) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x15;
            std::fs::write(&path, &bad).unwrap();
            let _ = seg::read(&path, None, &Task::silent());
        }
    }
}

#[test]
fn many_structures_are_written_in_one_pass() {
    let grid = Grid {
        size_ijk: [64, 64, 40],
        world_from_voxel: Affine::scale_shift([-1.0, -1.0, 2.0], [10.0, 20.0, 5.0]),
    };
    let labels =
        Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| ((k / 4) * 64 + (j / 8) * 8 + i / 8 + 1) as u16);
    let mut map = labels_on(&grid);
    map.labels = labels.into_shared();
    map.meta.dicom = Some(origin(&grid));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seg.dcm");
    seg::write(&map, &SegOptions::default(), &path, &Task::silent()).unwrap();
    let (back, _) = read(&path);
    assert_eq!(back.labels, map.labels);
    let expected: BTreeMap<u16, u64> = (1..=640).map(|id| (id, 256)).collect();
    assert_eq!(counts(&back), expected);
}
