//! The program's manners: exit codes, streams, `info`, `convert`, `eval`.

use std::path::Path;

use formats::volume::{AffineSource, Meta};
use formats::{
    Affine, Content, Grid, Image, LabelEntry, LabelMap, LabelTable, Scaling, Task, Volume, Voxels,
};
use insula_tests::{command, run, shared};
use ndarray::Array3;
use tempfile::tempdir;

/// A small oblique int16 volume with a scaling, written by our own writer.
fn write_scan(path: &Path) -> Volume {
    let (c, s) = (0.3_f64.cos(), 0.3_f64.sin());
    let grid = Grid {
        size_ijk: [5, 4, 3],
        world_from_voxel: Affine([[-2.0 * c, s, 0.0, 10.0], [2.0 * s, c, 0.0, -20.5], [0.0, 0.0, 3.0, 7.25]]),
    };
    let voxels = Array3::from_shape_fn((3, 4, 5), |(k, j, i)| (i + 10 * j + 100 * k) as i16 - 50);
    let mut volume = Volume::new(Voxels::I16(voxels.into_shared()), grid).unwrap();
    volume.scaling = Scaling { slope: 0.5, inter: -1.0 };
    volume.meta = Meta { affine_source: AffineSource::Sform, ..Meta::default() };
    formats::save(Content::Image(&image_of(volume.clone())), path, &Task::silent()).unwrap();
    volume
}

fn image_of(volume: Volume) -> Image {
    Image {
        frames: vec![volume],
        frame_axes: vec![],
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: vec![],
    }
}

fn write_labels(path: &Path, shift: usize) {
    let labels = Array3::from_shape_fn((8, 8, 8), |(k, j, i)| {
        u16::from((2..6).contains(&(i + shift)) && j > 2 && k > 2) * 3
    });
    let map = LabelMap {
        labels: labels.into_shared(),
        grid: Grid::unit([8, 8, 8]),
        table: LabelTable { entries: vec![LabelEntry::new(3, "Left-Thing", [255, 0, 0])] },
        meta: Meta::default(),
    };
    formats::save(Content::Labels(&map), path, &Task::silent()).unwrap();
}

#[test]
fn bad_arguments_exit_2_and_say_why_on_stderr() {
    let folder = tempdir().unwrap();
    for args in [
        &["--no-such-flag"][..],
        &["info"],
        &["info", "--no-such-flag", "a.nii"],
        &["no-such-verb", "--x"],
        &["convert", "only-one.nii"],
        &["--batch", "a.nii", "--shard", "3/2"],
        &["--batch", "a.nii", "--shard", "0/2"],
        &["--batch", "a.nii", "--threads", "0"],
        &["--batch", "a.nii", "--fail-fast", "--keep-going"],
        &["--batch", "a.nii", "--format", "docx"],
        &["--out", "x"],
        &["absent-scan.nii.gz"],
        &["eval", "a.nii", "b.nii", "--labels", "x-y"],
    ] {
        let ran = run(folder.path(), args).expect(2);
        assert!(ran.stdout.is_empty(), "{args:?}: {}", ran.stdout);
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    let window = run(folder.path(), &["absent-scan.nii.gz"]);
    assert!(window.stderr.contains("absent-scan.nii.gz: there is no such file"), "{}", window.stderr);
}

#[test]
fn help_and_version_go_to_stdout() {
    let folder = tempdir().unwrap();
    assert!(run(folder.path(), &["--version"]).expect(0).stdout.starts_with("insula "));
    let help = run(folder.path(), &["--help"]).expect(0);
    for word in ["--batch", "--shard", "info", "convert", "eval", "Exit codes"] {
        assert!(help.stdout.contains(word), "{word} is not in the help");
    }
    for verb in ["info", "convert", "eval"] {
        assert!(run(folder.path(), &[verb, "--help"]).expect(0).stdout.contains("Usage"), "{verb}");
    }
}

#[test]
fn info_tells_the_truth() {
    let folder = tempdir().unwrap();
    let scan = write_scan(&folder.path().join("scan.nii.gz"));
    let ran = run(folder.path(), &["info", "--json", "scan.nii.gz"]).expect(0);
    let record = &ran.records()[0];
    assert_eq!(record["status"], "ok");
    assert_eq!(record["format"], "nifti");
    assert_eq!(record["size"], serde_json::json!([5, 4, 3]));
    assert_eq!(record["orientation"], scan.grid.orientation_code());
    assert_eq!(record["is_oblique"], true);
    assert_eq!(record["datatype"], "int16");
    assert_eq!(record["affine_source"], "sform");
    assert_eq!(record["scaling"], serde_json::json!({"slope": 0.5, "inter": -1.0}));
    assert_eq!(record["frames"], 1);
    let number = |v: &serde_json::Value| v.as_f64().unwrap();
    let statistics = &record["statistics"];
    assert_eq!((number(&statistics["min"]), number(&statistics["max"])), (-26.0, 91.0));
    for (r, row) in scan.grid.world_from_voxel.0.iter().enumerate() {
        for (c, expected) in row.iter().enumerate() {
            assert!((number(&record["affine"][r][c]) - expected).abs() < 1e-5, "{record}");
        }
    }
    for (a, spacing) in [2.0, 1.0, 3.0].into_iter().enumerate() {
        assert!((number(&record["spacing_mm"][a]) - spacing).abs() < 1e-5);
    }
    let table = run(folder.path(), &["info", "scan.nii.gz"]).expect(0).stdout;
    for text in ["5 × 4 × 3", "int16", "value = 0.5 × stored + -1", "min -26, max 91"] {
        assert!(table.contains(text), "“{text}” is not in\n{table}");
    }
}

#[test]
fn info_of_several_files_tells_partial_from_total_failure() {
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("good.nii"));
    std::fs::write(folder.path().join("bad.nii"), [7; 400]).unwrap();
    let ran = run(folder.path(), &["info", "--json", "good.nii", "bad.nii", "missing.nii"]).expect(8);
    let records = ran.records();
    assert_eq!(
        records.iter().map(|r| r["status"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ok", "failed", "failed"]
    );
    assert_eq!(records[2]["error"]["kind"], "io");
    assert_eq!(ran.stderr.matches("error: ").count(), 2, "{}", ran.stderr);
    run(folder.path(), &["info", "bad.nii"]).expect(1);
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("scan.nii"));
    let mut child = command(folder.path());
    let mut child = child
        .args(["info", "--json"])
        .args(["scan.nii"; 200])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked") && stderr.is_empty(), "{stderr}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn convert_keeps_values_and_geometry() {
    let folder = tempdir().unwrap();
    let scan = write_scan(&folder.path().join("scan.nii.gz"));
    let endings = ["nii", "nrrd", "mha", "mgz"];
    for ending in endings {
        let name = format!("copy.{ending}");
        let writable = formats::registry::format_for_name(name.as_ref())
            .is_some_and(|f| f.can_write(Content::Image(&image_of(scan.clone()))));
        if !writable {
            insula_tests::skip("convert_keeps_values_and_geometry", &format!(".{ending} is not written"));
            continue;
        }
        run(folder.path(), &["convert", "scan.nii.gz", &name]).expect(0);
        run(folder.path(), &["convert", &name, &format!("back-{ending}.nii.gz")]).expect(0);
        let back =
            formats::open(&folder.path().join(format!("back-{ending}.nii.gz")), &Task::silent()).unwrap();
        let (a, b) = (scan.to_f32(), back.first().to_f32());
        assert_eq!(a.as_slice(), b.as_slice(), "{ending}: values");
        assert!(back.first().grid.is_same(&scan.grid, 1e-3), "{ending}: {:?}", back.first().grid);
    }
}

#[test]
fn convert_changes_types_on_request_and_refuses_what_does_not_fit() {
    let folder = tempdir().unwrap();
    let scan = write_scan(&folder.path().join("scan.nii"));
    run(folder.path(), &["convert", "scan.nii", "float.nii", "--dtype", "float32"]).expect(0);
    let float = formats::open(&folder.path().join("float.nii"), &Task::silent()).unwrap();
    assert_eq!(float.first().voxels.type_name(), "float32");
    assert_eq!(float.first().to_f32().as_slice(), scan.to_f32().as_slice());
    let ran = run(folder.path(), &["convert", "scan.nii", "small.nii", "--dtype", "uint8"]).expect(1);
    assert!(ran.stderr.contains("does not fit"), "{}", ran.stderr);
    assert!(!folder.path().join("small.nii").exists());
}

#[test]
fn convert_never_harms_what_is_there() {
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("scan.nii"));
    let before = std::fs::read(folder.path().join("scan.nii")).unwrap();
    run(folder.path(), &["convert", "scan.nii", "scan.nii"]).expect(2);
    run(folder.path(), &["convert", "scan.nii", "no/such/folder.nii"]).expect(2);
    run(folder.path(), &["convert", "missing.nii", "new.nii"]).expect(1);
    run(folder.path(), &["convert", "scan.nii", "new.xyz"]).expect(1);
    run(folder.path(), &["convert", "scan.nii", "scan.nii", "--frame", "3", "--overwrite"]).expect(2);
    assert_eq!(std::fs::read(folder.path().join("scan.nii")).unwrap(), before);
    run(folder.path(), &["convert", "scan.nii", "scan.nii", "--overwrite"]).expect(0);
    run(folder.path(), &["info", "scan.nii"]).expect(0);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["scan.nii"], "nothing else is left behind");
}

#[test]
fn labels_stay_labels() {
    let folder = tempdir().unwrap();
    write_labels(&folder.path().join("seg.nii.gz"), 0);
    run(folder.path(), &["convert", "seg.nii.gz", "copy.nii"]).expect(0);
    let copy = formats::open(&folder.path().join("copy.nii"), &Task::silent()).unwrap();
    assert_eq!(copy.first().voxels.type_name(), "uint8");
    let table = copy.first().meta.labels.as_ref().expect("names are kept");
    assert_eq!(table.name(3), "Left-Thing");
}

#[test]
fn eval_measures_agreement() {
    let folder = tempdir().unwrap();
    write_labels(&folder.path().join("truth.nii.gz"), 0);
    write_labels(&folder.path().join("pred.nii.gz"), 1);
    let ran = run(folder.path(), &["eval", "pred.nii.gz", "truth.nii.gz", "--json"]).expect(0);
    let record = &ran.records()[0];
    let row = &record["rows"][0];
    assert_eq!((row["label"].as_u64(), row["name"].as_str()), (Some(3), Some("Left-Thing")));
    assert!((row["dice"].as_f64().unwrap() - 0.75).abs() < 1e-12, "{row}");
    let csv =
        run(folder.path(), &["eval", "pred.nii.gz", "truth.nii.gz", "--csv", "--labels", "3"]).expect(0);
    assert_eq!(csv.stdout.lines().count(), 2, "{}", csv.stdout);
    assert!(run(folder.path(), &["eval", "pred.nii.gz", "truth.nii.gz"]).expect(0).stdout.contains("0.7500"));
    run(folder.path(), &["eval", "pred.nii.gz", "missing.nii.gz"]).expect(1);
}

#[test]
fn corrupt_files_fail_with_one_line_each() {
    let Some(corrupt) = shared("corrupt_files_fail_with_one_line_each", "data/corrupt") else { return };
    let folder = tempdir().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(corrupt).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.is_file() && p.to_string_lossy().contains(".nii"));
    assert!(!files.is_empty());
    for file in files {
        let ran = run(folder.path(), &["info", "--json", file.to_str().unwrap()]);
        assert!(matches!(ran.code, Some(0 | 1)), "{}: {ran:?}", file.display());
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        let record = &ran.records()[0];
        if ran.code == Some(1) {
            assert_eq!(ran.stderr.trim_end().lines().count(), 1, "{}", ran.stderr);
            assert!(record["error"]["message"].is_string());
        }
    }
}
