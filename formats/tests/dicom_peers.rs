//! Written DICOM objects judged by dciodvfy and read by highdicom, pydicom and rt-utils:
//! `INSULA_PYTHON=…/python cargo test --test dicom_peers`, with dciodvfy (Debian's dicom3tools) on the path.

mod common;
mod dicom_common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::all_orders;
use dicom_common::{labels_on, oblique, origin};
use dicom_dictionary_std::{tags, uids};
use formats::dicom::capture::{self, CaptureOptions, Picture};
use formats::dicom::derived::{DerivedOptions, write_frames, write_series};
use formats::dicom::rtstruct::{self, Holes, RtOptions};
use formats::dicom::seg::{self, Algorithm, Encoding, SegOptions};
use formats::dicom::{Header, Instance, Origin, SliceRef};
use formats::volume::reorder;
use formats::voxels::Scaling;
use formats::{Affine, Grid, LabelMap, Task, Volume, Voxels};
use ndarray::Array3;
use serde_json::{Value, json};

fn skipped(test: &str, why: &str) {
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED {test}: {why}");
    }
}

/// Writes one of each kind into the folder: files, and for the readers what they should find.
fn write_all(folder: &Path) -> (Vec<PathBuf>, Vec<Value>) {
    let grid = oblique([9, 7, 5]);
    let labels = labels_on(&grid);
    let task = Task::silent();
    let (mut files, mut expected) = (Vec::new(), Vec::new());
    let truth = |l: &LabelMap, kind: &str, file: &str| {
        json!({ "kind": kind, "file": file, "labels": l.labels.iter().collect::<Vec<_>>(),
                "shape": l.grid.shape_kji(), "affine": l.grid.world_from_voxel.0,
                "names": l.table.entries.iter().map(|e| (e.id.to_string(), e.name.clone())).collect::<std::collections::BTreeMap<_, _>>() })
    };
    for (n, order) in all_orders().enumerate().step_by(11) {
        let stored = LabelMap {
            labels: reorder(&labels.labels, order),
            grid: grid.reordered(order),
            ..labels.clone()
        };
        for (encoding, kind) in [(Encoding::Binary, "binary"), (Encoding::LabelMap, "labelmap")] {
            let name = format!("{kind}{n}.dcm");
            let algorithm = [Algorithm::Automatic, Algorithm::Semiautomatic, Algorithm::Manual][n % 3];
            let options = SegOptions { encoding, algorithm, ..SegOptions::default() };
            seg::write(&stored, &options, &folder.join(&name), &task).unwrap();
            files.push(folder.join(&name));
            expected.push(truth(&labels, kind, &name));
        }
        for (holes, kind) in [(Holes::Keyhole, "keyhole"), (Holes::Xor, "xor")] {
            let name = format!("{kind}{n}.dcm");
            let options = RtOptions { holes, ..RtOptions::default() };
            rtstruct::write(&stored, &options, &folder.join(&name), &task).unwrap();
            files.push(folder.join(&name));
            expected.push(truth(&labels, kind, &name));
        }
    }
    let values = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| (100 * k + 10 * j + i) as i16 - 200);
    for (name, class) in [
        ("ct", uids::CT_IMAGE_STORAGE),
        ("mr", uids::ENHANCED_MR_IMAGE_STORAGE),
        ("us", uids::ULTRASOUND_IMAGE_STORAGE),
    ] {
        let mut o = (*origin(&grid)).clone();
        let mut header = (*o.header).clone();
        header.put_str(tags::SOP_CLASS_UID, dicom_core::VR::UI, class);
        let modality = name.to_uppercase();
        header.put_str(tags::MODALITY, dicom_core::VR::CS, modality.as_str());
        o.header = header.into();
        let mut v = Volume::new(Voxels::I16(values.clone().into_shared()), grid).unwrap();
        v.scaling = if name == "ct" { Scaling { slope: 1.0, inter: -1024.0 } } else { Scaling::NONE };
        v.meta.dicom = Some(o.into());
        let (written, _) = write_series(&v, &DerivedOptions::default(), &folder.join(name), &task).unwrap();
        files.extend(written);
        let values: Vec<f64> = values.iter().map(|&x| f64::from(x) + v.scaling.inter).collect();
        expected.push(
            json!({ "kind": "series", "file": name, "values": values, "affine": grid.world_from_voxel.0 }),
        );
    }
    let colours: Vec<u8> = (0..3 * 20 * 10).map(|v| (v * 7) as u8).collect();
    for (name, n) in [("rgb.dcm", 600), ("grey.dcm", 200)] {
        let picture = Picture { width: 20, height: 10, pixels: &colours[..n] };
        let from = origin(&grid);
        capture::write(
            &picture,
            (n == 600).then_some(&*from),
            &CaptureOptions::default(),
            &folder.join(name),
        )
        .unwrap();
        files.push(folder.join(name));
        expected.push(json!({ "kind": "picture", "file": name, "values": &colours[..n] }));
    }
    (files, expected)
}

#[test]
fn dciodvfy_finds_no_errors() {
    let test = "dciodvfy_finds_no_errors";
    if Command::new("dciodvfy").arg("-version").output().is_err() {
        return skipped(test, "no dciodvfy (dicom3tools) on the path");
    }
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = write_all(folder.path());
    let wrong = errors(&files);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What dciodvfy calls an error.
fn errors(files: &[PathBuf]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let out = Command::new("dciodvfy").arg(file).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        // Newer than the validator: label map segmentations with their background segment 0, and CLOSEDPLANAR_XOR.
        let excused = |l: &str| {
            name.starts_with("xor") && l.contains("<CLOSEDPLANAR_XOR>")
                || name.starts_with("labelmap")
                    && (l.contains("Information Object Not found") || l.contains("SegmentNumber of 0"))
        };
        let errors = text.lines().filter(|l| l.starts_with("Error") && !excused(l));
        wrong.extend(errors.map(|l| format!("{name}: {l}")));
    }
    wrong
}

/// Single-frame instances of a folder as a volume with its origin, slices along their normal.
fn series_of(folder: &Path) -> Volume {
    let array = |h: &Header, tag| -> Vec<f64> { h.object.get(tag).unwrap().to_multi_float64().unwrap() };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let Ok(instance) = Instance::open(&entry.unwrap().path()) else { continue };
        if instance.header().text(tags::MODALITY).is_some_and(|m| m == "SEG") {
            continue;
        }
        let o = array(instance.header(), tags::IMAGE_ORIENTATION_PATIENT);
        let normal = [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]];
        let p = array(instance.header(), tags::IMAGE_POSITION_PATIENT);
        all.push(((0..3).map(|a| p[a] * normal[a]).sum::<f64>(), instance));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (first, last) = (all[0].1.header(), all[all.len() - 1].1.header());
    let (o, s) = (array(first, tags::IMAGE_ORIENTATION_PATIENT), array(first, tags::PIXEL_SPACING));
    let (p, q) = (array(first, tags::IMAGE_POSITION_PATIENT), array(last, tags::IMAGE_POSITION_PATIENT));
    let sign = [-1.0, -1.0, 1.0];
    let columns = [
        [0, 1, 2].map(|a| sign[a] * o[a] * s[1]),
        [0, 1, 2].map(|a| sign[a] * o[a + 3] * s[0]),
        [0, 1, 2].map(|a| sign[a] * (q[a] - p[a]) / (all.len() as f64 - 1.0)),
    ];
    let layout = *all[0].1.layout();
    let grid = Grid {
        size_ijk: [layout.columns, layout.rows, all.len()],
        world_from_voxel: Affine::from_columns(columns, [0, 1, 2].map(|a| sign[a] * p[a])),
    };
    let mut values = Vec::new();
    for (_, instance) in &all {
        let frame = instance.frame(0).unwrap();
        let frame: Vec<f64> =
            formats::for_samples!(frame, v => v.into_iter().map(formats::voxels::Scalar::to_f64).collect());
        values.extend(frame.into_iter().map(|x| x as i16));
    }
    let slices: Vec<_> = all
        .iter()
        .map(|(_, i)| SliceRef {
            sop_class_uid: i.header().sop_class_uid.clone(),
            sop_instance_uid: i.header().sop_instance_uid.clone(),
            frame_number: None,
            path: i.header().path.clone(),
        })
        .collect();
    let voxels = Array3::from_shape_vec(grid.shape_kji(), values).unwrap();
    let mut v = Volume::new(Voxels::I16(voxels.into_shared()), grid).unwrap();
    v.meta.dicom = Some(std::sync::Arc::new(Origin {
        header: first.object.clone(),
        grid,
        slices: slices.iter().cloned().map(Some).collect(),
        instances: slices,
    }));
    v
}

#[test]
fn real_series_give_sound_objects() {
    let test = "real_series_give_sound_objects";
    if Command::new("dciodvfy").arg("-version").output().is_err() {
        return skipped(test, "no dciodvfy (dicom3tools) on the path");
    }
    let Some(data) = common::shared(test) else { return };
    let task = Task::silent();
    for series in ["series_ct_with_seg", "series_rtstruct", "series_oblique_sagittal"] {
        let image = series_of(&data.join("dicom").join(series));
        let folder = tempfile::tempdir().unwrap();
        let [n, ..] = image.grid.size_ijk;
        let Voxels::I16(values) = &image.voxels else { unreachable!("made so") };
        let labels = LabelMap {
            labels: values.mapv(|v| u16::from(v > 1100) + u16::from(v > 1500)).into_shared(),
            grid: image.grid,
            table: formats::LabelTable::default(),
            meta: image.meta.clone(),
        };
        let files = ["binary.dcm", "keyhole.dcm"].map(|f| folder.path().join(f));
        seg::write(&labels, &SegOptions::default(), &files[0], &task).unwrap();
        rtstruct::write(&labels, &RtOptions::default(), &files[1], &task).unwrap();
        let (back, _) = seg::read(&files[0], Some(&image), &task).unwrap();
        assert_eq!(back.labels, labels.labels, "{series} of {n}");
        let (back, _) = rtstruct::read(&files[1], &image, &task).unwrap();
        assert_eq!(back.labels, labels.labels, "{series} of {n}");
        let (mut derived, _) =
            write_series(&image, &DerivedOptions::default(), &folder.path().join("derived"), &task).unwrap();
        derived.extend(files);
        // What the scanner itself wrote is not ours to answer for.
        let source: Vec<PathBuf> =
            image.meta.dicom.as_ref().unwrap().instances.iter().map(|s| s.path.clone()).collect();
        let reason = |e: &String| e.split_once(": ").map_or(String::new(), |(_, r)| r.to_owned());
        let known: std::collections::BTreeSet<_> = errors(&source).iter().map(reason).collect();
        let wrong: Vec<_> = errors(&derived).into_iter().filter(|e| !known.contains(&reason(e))).collect();
        assert!(wrong.is_empty(), "{series}: {}", wrong.join("\n"));
    }
}

#[test]
fn pictures_and_films_give_sound_objects() {
    let test = "pictures_and_films_give_sound_objects";
    if Command::new("dciodvfy").arg("-version").output().is_err() {
        return skipped(test, "no dciodvfy (dicom3tools) on the path");
    }
    let Some(data) = common::shared(test) else { return };
    let single = data.join("dicom/single");
    for (name, count) in
        [("dx_image", 1), ("examples_rgb_color", 1), ("examples_ybr_color", 30), ("emri_small", 10)]
    {
        let image = formats::open(&single.join(format!("{name}.dcm")), &Task::silent()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (options, to) = (DerivedOptions::default(), folder.path().join("derived"));
        let written = write_frames(&image.frames, &image.frame_axes, &options, &to, &Task::silent());
        let files = written.unwrap().0;
        assert_eq!(files.len(), count, "{name}");
        let wrong = errors(&files);
        assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
    }
}

#[test]
fn peers_read_the_same_masks() {
    let test = "peers_read_the_same_masks";
    let Some(python) = std::env::var_os("INSULA_PYTHON") else { return skipped(test, "set INSULA_PYTHON") };
    let folder = tempfile::tempdir().unwrap();
    let (_, expected) = write_all(folder.path());
    std::fs::write(folder.path().join("expected.json"), json!(expected).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dicom/peers.py");
    let out = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if text.contains("SKIPPED") {
        return skipped(test, &text);
    }
    assert!(out.status.success(), "{text}");
    assert_eq!(text.lines().filter(|l| l.starts_with("ok ")).count(), expected.len(), "{text}");
}

/// Runs the script; `None` after saying that the test is skipped.
fn script(test: &str, arguments: &[&std::ffi::OsStr]) -> Option<String> {
    let Some(python) = std::env::var_os("INSULA_PYTHON") else {
        skipped(test, "set INSULA_PYTHON");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dicom/peers.py");
    let out = Command::new(python).arg(script).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if text.contains("SKIPPED") {
        skipped(test, &text);
        return None;
    }
    assert!(out.status.success(), "{text}");
    Some(text)
}

#[test]
fn segmentations_of_peers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let grid = oblique([9, 7, 5]);
    let mut v = Volume::new(Voxels::I16(Array3::zeros(grid.shape_kji()).into_shared()), grid).unwrap();
    v.meta.dicom = Some(origin(&grid));
    write_series(&v, &DerivedOptions::default(), &folder.path().join("ct"), &Task::silent()).unwrap();
    let arguments = ["make".as_ref(), folder.path().as_os_str()];
    if script("segmentations_of_peers_are_read", &arguments).is_none() {
        return;
    }
    let made: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.path().join("made.json")).unwrap()).unwrap();
    assert_eq!(made.len(), 5);
    for row in made {
        let file = row["file"].as_str().unwrap();
        let (labels, notices) = seg::read(&folder.path().join(file), Some(&v), &Task::silent()).unwrap();
        assert_eq!(labels.grid, grid, "{file} {notices:?}");
        let want: Vec<u16> = serde_json::from_value(row["labels"].clone()).unwrap();
        assert_eq!(labels.labels.as_slice().unwrap(), want, "{file}");
        assert_eq!(labels.table.rgb(2), [9, 2, 200]);
        let fractional = file.starts_with("fractional");
        assert_eq!(notices.iter().any(|n| n.code == "fractions-cut"), fractional, "{notices:?}");
        assert_eq!(notices.iter().any(|n| n.code == "overlapping-structures"), fractional, "{notices:?}");
    }
}

#[test]
fn every_code_is_in_the_dictionary_of_pydicom() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/codes/segments.tsv");
    script("every_code_is_in_the_dictionary_of_pydicom", &["codes".as_ref(), table.as_os_str()]);
}
