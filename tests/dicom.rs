//! DICOM through the real program: folders listed, series chosen, segmentations out and back.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "../formats/tests/dicom_files/mod.rs"]
mod dicom_files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dicom_files::Slice;
use formats::dicom::read_header;
use formats::{Content, Image, LabelEntry, LabelMap, LabelTable, Meta, Task, Volume, Voxels};
use insula_tests::{root, run, shared, skip};
use tempfile::TempDir;

/// A series of five slices, 2.5 mm apart, and under another series UID one of three.
fn two_series() -> TempDir {
    let tag = |group, element| dicom_files::tag(group, element);
    let mut slices = Vec::new();
    for n in 0..8_u8 {
        let is_second = n >= 5;
        let place = f64::from(if is_second { n - 5 } else { n });
        let slice = Slice {
            position: [-7.0, 12.5, -40.0 + 2.5 * place],
            number: i64::from(n) + 1,
            pixels: (0..12).map(|p| 100 * i16::from(n) + p).collect(),
            ..Slice::default()
        };
        let uid = if is_second { "1.2.3.4.2" } else { "1.2.3.4.1" };
        let number = if is_second { "7" } else { "3" };
        slices.push(
            slice
                .text(tag(0x0020, 0x000e), uid)
                .text(tag(0x0020, 0x0011), number)
                .text(tag(0x0010, 0x0010), "Secret^Name")
                .text(tag(0x0010, 0x0020), "SECRET-ID"),
        );
    }
    dicom_files::folder(&slices)
}

#[test]
fn a_folder_is_listed_and_a_series_chosen() {
    let data = two_series();
    let out = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let ran = run(out.path(), &["info", "--json", folder]).expect(0);
    let rows = ran.records();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["size"], serde_json::json!([4, 3, 5, 1]));
    assert_eq!(rows[0]["orientation"], "LPS");
    let name = rows[0]["name"].as_str().unwrap();
    assert!(!name.to_lowercase().contains("secret"), "{name}");

    // Several series and no choice: bad arguments, with the list.
    let ran = run(out.path(), &["convert", folder, "a.nii.gz"]).expect(2);
    assert!(ran.stderr.contains("--series") && ran.stderr.contains(name), "{}", ran.stderr);
    let ran = run(out.path(), &["convert", folder, "a.nii.gz", "--series", "nothing"]).expect(2);
    assert!(ran.stderr.contains("no series nothing"), "{}", ran.stderr);

    for (choice, file) in [("3", "number.nii.gz"), (name, "name.nii.gz"), ("1.2.3.4.1", "uid.nii.gz")] {
        run(out.path(), &["convert", folder, file, "--series", choice]).expect(0);
        let image = formats::open(&out.path().join(file), &Task::silent()).unwrap();
        let volume = image.first();
        assert_eq!(volume.grid.size_ijk, [4, 3, 5]);
        // Third slice, second row, third column: DICOM's equation, then left and back turned to right and front.
        assert_eq!(volume.value([2, 1, 2]), Some(200.0 + 6.0));
        let place = volume.grid.world_from_voxel.apply([2.0, 1.0, 2.0]);
        let expected = [7.0 - 2.0 * 0.7, -12.5 - 0.5, -35.0];
        assert!((0..3).all(|a| (place[a] - expected[a]).abs() < 1e-4), "{place:?}");
        let bytes = std::fs::read(out.path().join(file)).unwrap();
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
        let text = String::from_utf8_lossy(&plain).to_lowercase();
        assert!(!text.contains("secret"), "patient data leaked into {file}");
    }
}

#[test]
fn labels_go_out_as_dicom_and_come_back_the_same() {
    let data = two_series();
    let out = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    run(out.path(), &["convert", folder, "image.nii.gz", "--series", "3"]).expect(0);
    let image = formats::open(&out.path().join("image.nii.gz"), &Task::silent()).unwrap();
    let mut labels = ndarray::Array3::<u16>::zeros((5, 3, 4));
    labels[[1, 1, 1]] = 17;
    labels[[1, 1, 2]] = 17;
    labels[[3, 0, 3]] = 4;
    let map = LabelMap {
        labels: labels.into_shared(),
        grid: image.first().grid,
        table: LabelTable {
            entries: vec![
                LabelEntry::new(17, "Left-Hippocampus", [220, 216, 20]),
                LabelEntry::new(4, "Left-Lateral-Ventricle", [120, 18, 134]),
            ],
        },
        meta: Meta::default(),
    };
    formats::save(Content::Labels(&map), &out.path().join("seg.nii.gz"), &Task::silent()).unwrap();

    // Without the images there is nothing to refer to.
    let ran = run(out.path(), &["convert", "seg.nii.gz", "seg.dcm"]).expect(2);
    assert!(ran.stderr.contains("--source"), "{}", ran.stderr);
    for (object, file) in [("seg", "a.dcm"), ("seg-labelmap", "b.dcm"), ("rtstruct", "c.dcm")] {
        let args = ["convert", "seg.nii.gz", file, "--as", object, "--source", folder, "--series", "3"];
        run(out.path(), &args).expect(0);
        let back = format!("{file}.nii.gz");
        run(out.path(), &["convert", file, &back, "--source", folder, "--series", "3"]).expect(0);
        let found = formats::open(&out.path().join(back), &Task::silent()).unwrap();
        let found = found.first().to_labels().unwrap();
        assert!(found.grid.is_same(&map.grid, 1e-4));
        // A structure set knows names, not numbers.
        let number = |name: &str| {
            let row = found.table.entries.iter().find(|e| e.name == name);
            row.unwrap_or_else(|| panic!("{object}: no {name} in {:?}", found.table)).id
        };
        let expected = map.labels.mapv(|l| match l {
            0 => 0,
            l => number(&map.table.name(l)),
        });
        assert_eq!(found.labels, expected.into_shared(), "{object}");
    }
}

/// Values and places of an image file.
fn image(folder: &Path, name: &str) -> Volume {
    formats::open(&folder.join(name), &Task::silent()).unwrap().first().clone()
}

/// What a derived series has to say of itself and of its source, slice by slice; `sources` are the instances of the
/// source in the order of slices.
fn check_derived(folder: &Path, sources: &[String]) {
    let mut uids = BTreeSet::new();
    let files = walk(folder);
    assert_eq!(files.len(), sources.len());
    for (file, source) in files.iter().zip(sources) {
        let header = read_header(file).unwrap();
        let text = |group, element| header.text(dicom_files::tag(group, element)).unwrap_or_default();
        assert!(text(0x0008, 0x0008).starts_with("DERIVED\\SECONDARY"), "{}", text(0x0008, 0x0008));
        assert!(uids.insert(text(0x0008, 0x0018)), "an instance UID twice");
        let of = header.object.get(dicom_files::tag(0x0008, 0x2112)).unwrap().items().unwrap();
        let uid = of[0].get(dicom_files::tag(0x0008, 0x1155)).unwrap().to_str().unwrap().into_owned();
        assert_eq!((of.len(), &uid), (1, source), "{}", file.display());
    }
    assert!(sources.iter().all(|s| !uids.contains(s)));
}

/// The instances of a series by the place of their slices along the normal.
fn instances(folder: &Path, series: Option<&str>) -> Vec<String> {
    let tree = formats::dicom::scan(&[folder.to_owned()], &Task::silent()).unwrap();
    let stack =
        tree.series().filter(|s| series.is_none_or(|uid| s.uid == uid)).flat_map(|s| &s.stacks).next();
    let volume = formats::dicom::load(stack.unwrap(), &Task::silent()).unwrap();
    let origin = volume.first().meta.dicom.clone().unwrap();
    origin.slices.iter().map(|s| s.as_ref().unwrap().sop_instance_uid.clone()).collect()
}

#[test]
fn an_image_goes_out_as_a_derived_series_and_comes_back_the_same() {
    let data = two_series();
    let out = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    run(out.path(), &["convert", folder, "image.nii.gz", "--series", "3"]).expect(0);
    let original = image(out.path(), "image.nii.gz");
    run(out.path(), &["convert", folder, "a", "--as", "dicom", "--series", "3"]).expect(0);
    // By way of NIfTI the origin is lost, and named again.
    let args = ["convert", "image.nii.gz", "b", "--as", "dicom", "--source", folder, "--series", "3"];
    run(out.path(), &args).expect(0);
    for name in ["a", "b"] {
        check_derived(&out.path().join(name), &instances(data.path(), Some("1.2.3.4.1")));
        run(out.path(), &["convert", name, &format!("{name}.nii.gz")]).expect(0);
        let back = image(out.path(), &format!("{name}.nii.gz"));
        assert!(back.grid.is_same(&original.grid, 1e-5), "{:?} {:?}", back.grid, original.grid);
        assert_eq!(back.to_f32(), original.to_f32());
        let header = read_header(&out.path().join(name).join("IM_0003.dcm")).unwrap();
        let text = |group, element| header.text(dicom_files::tag(group, element)).unwrap_or_default();
        assert_eq!(text(0x0020, 0x000d), "1.2.3", "the same study");
        assert_ne!(text(0x0020, 0x000e), "1.2.3.4.1", "another series");
        assert_eq!(text(0x0010, 0x0010), "Secret^Name", "the same patient");
    }
    // What cannot be meant is told, and nothing is written.
    let ran = run(out.path(), &["convert", "image.nii.gz", "c", "--as", "dicom"]).expect(2);
    assert!(ran.stderr.contains("--source"), "{}", ran.stderr);
    let ran =
        run(out.path(), &["convert", folder, "a", "--as", "dicom", "--series", "3", "--overwrite"]).expect(1);
    assert!(ran.stderr.contains("has content"), "{}", ran.stderr);
    let mut far = original.clone();
    far.grid.world_from_voxel.0[2][3] += 500.0;
    let far = Image {
        frames: vec![far],
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    formats::save(Content::Image(&far), &out.path().join("far.nii.gz"), &Task::silent()).unwrap();
    let args = ["convert", "far.nii.gz", "c", "--as", "dicom", "--source", folder, "--series", "3"];
    let ran = run(out.path(), &args).expect(2);
    assert!(ran.stderr.contains("lies apart"), "{}", ran.stderr);
    assert!(!out.path().join("c").exists());
}

/// Real series, as others see what is written of them.
#[test]
fn derived_series_of_real_scans_are_sound() {
    let test = "derived_series_of_real_scans_are_sound";
    // SimpleITK has no word for a sheared stack, and reads colours otherwise.
    for (name, has_peers) in [
        ("series_oblique_sagittal", true),
        ("series_ct_j2k", true),
        ("series_ct_gantry_tilt", false),
        ("series_rgb", false),
    ] {
        let Some(series) = shared(test, &format!("data/dicom/{name}")) else { return };
        let out = tempfile::tempdir().unwrap();
        let folder = series.to_str().unwrap();
        run(out.path(), &["convert", folder, "image.nii.gz"]).expect(0);
        run(out.path(), &["convert", folder, "derived", "--as", "dicom"]).expect(0);
        run(out.path(), &["convert", "derived", "back.nii.gz"]).expect(0);
        let (original, back) = (image(out.path(), "image.nii.gz"), image(out.path(), "back.nii.gz"));
        assert!(back.grid.is_same(&original.grid, 1e-3), "{name}: {:?} {:?}", back.grid, original.grid);
        assert_eq!(back.voxels.type_name(), original.voxels.type_name(), "{name}");
        assert_eq!(back.to_f32(), original.to_f32(), "{name}");
        let derived = out.path().join("derived");
        check_derived(&derived, &instances(&series, None));
        // What the scanner itself wrote is not ours to answer for.
        match (errors(&walk(&series)), errors(&walk(&derived))) {
            (Some(known), Some(found)) => {
                let ours: Vec<_> = found.difference(&known).collect();
                assert!(ours.is_empty(), "{name}: {ours:#?}");
            }
            _ => skip(test, "no dciodvfy (dicom3tools) on the path"),
        }
        if has_peers {
            peers(test, &derived, &out.path().join("image.nii.gz"));
        }
    }
}

/// What dciodvfy calls an error, without file names; none where it is not installed.
fn errors(files: &[PathBuf]) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for file in files {
        let output = Command::new("dciodvfy").arg(file).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        found.extend(text.lines().filter(|l| l.starts_with("Error")).map(str::to_owned));
    }
    Some(found)
}

/// pydicom and SimpleITK read a folder as the NIfTI file says.
fn peers(test: &str, folder: &Path, nifti: &Path) {
    let Some(python) = std::env::var_os("INSULA_PYTHON") else { return skip(test, "set INSULA_PYTHON") };
    let script = root().join("tests/fixtures/compare_series.py");
    let output = Command::new(python).arg(script).arg(folder).arg(nifti).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if text.contains("SKIPPED") {
        return skip(test, &text);
    }
    assert!(output.status.success() && text.contains("ok"), "{text}");
}

#[test]
fn a_slice_is_drawn_with_its_series() {
    let data = two_series();
    let out = tempfile::tempdir().unwrap();
    let slice = walk(data.path()).into_iter().next().unwrap();
    let args = ["render", slice.to_str().unwrap(), "--view", "coronal", "--out", "a.png"];
    let ran = run(out.path(), &args).expect(0);
    assert!(out.path().join("a.png").is_file(), "{}", ran.stderr);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

/// The liver of the NIfTI labels lies on the liver of the DICOM images also after a way through DICOM SEG.
#[test]
fn labels_of_a_real_ct_survive_dicom() {
    let test = "labels_of_a_real_ct_survive_dicom";
    let Some(series) = shared(test, "data/dicom/series_ct_j2k") else { return };
    let Some(labels) = shared(test, "data/dicom/series_ct_j2k_totalseg.nii.gz") else { return };
    let out = tempfile::tempdir().unwrap();
    let (series, labels) = (series.to_str().unwrap(), labels.to_str().unwrap());
    run(out.path(), &["convert", labels, "seg.dcm", "--source", series]).expect(0);
    run(out.path(), &["convert", "seg.dcm", "seg.nii.gz", "--source", series]).expect(0);
    run(out.path(), &["convert", series, "ct.nii.gz"]).expect(0);
    let open = |file: &str| formats::open(&out.path().join(file), &Task::silent()).unwrap();
    let (ct, seg) = (open("ct.nii.gz"), open("seg.nii.gz"));
    assert!(ct.first().grid.is_same(&seg.first().grid, 1e-3));
    let seg = seg.first().to_labels().unwrap();
    let Voxels::F32(values) = Voxels::F32(ct.first().to_f32()) else { unreachable!() };
    let liver: Vec<f64> =
        seg.labels.iter().zip(&values).filter(|(l, _)| **l == 5).map(|(_, v)| f64::from(*v)).collect();
    let mean = liver.iter().sum::<f64>() / liver.len() as f64;
    assert_eq!(liver.len(), 366_708);
    assert!((mean - 89.3).abs() < 0.1, "{mean} HU under the liver");
}
