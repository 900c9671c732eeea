//! Written DICOM objects judged by dciodvfy and read by highdicom, pydicom and rt-utils:
//! `INSULA_PYTHON=…/python cargo test --test dicom_peers`, with dciodvfy (Debian's dicom3tools) on the path.

mod common;
mod dicom_common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::all_orders;
use dicom_common::{labels_on, oblique, origin};
use dicom_dictionary_std::uids;
use formats::dicom::capture::{self, CaptureOptions, Picture};
use formats::dicom::derived::{DerivedOptions, write_series};
use formats::dicom::rtstruct::{self, Holes, RtOptions};
use formats::dicom::seg::{self, Algorithm, Encoding, SegOptions};
use formats::volume::reorder;
use formats::voxels::Scaling;
use formats::{LabelMap, Task, Volume, Voxels};
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
        header.put_str(dicom_dictionary_std::tags::SOP_CLASS_UID, dicom_core::VR::UI, class);
        let modality = name.to_uppercase();
        header.put_str(dicom_dictionary_std::tags::MODALITY, dicom_core::VR::CS, modality.as_str());
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
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let out = Command::new("dciodvfy").arg(&file).output().unwrap();
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
