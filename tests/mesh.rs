//! `insula mesh` on the bundled sample: every label, every format, and requests that make no sense.

use std::path::Path;

use insula_tests::{root, run};
use serde_json::Value;

fn sample() -> String {
    root().join("assets/sample/head_labels.nii.gz").to_str().unwrap().to_owned()
}

/// Triangles and enclosed volume of a binary STL file, read anew.
fn stl(path: &Path) -> (usize, f64) {
    let bytes = std::fs::read(path).unwrap();
    let records = bytes[84..].chunks_exact(50);
    assert_eq!(records.len(), u32::from_le_bytes(bytes[80..84].try_into().unwrap()) as usize);
    let volume = records.clone().map(|r| {
        let v: Vec<f64> =
            r[12..48].chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
        let [a, b, c] = [&v[..3], &v[3..6], &v[6..]];
        (a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0]))
            / 6.0
    });
    (records.len(), volume.sum())
}

#[test]
fn every_label_of_the_sample_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let rows = run(folder.path(), &["mesh", &sample(), "--out", "meshes", "--json"]).expect(0).records();
    assert!(rows.len() >= 14);
    for row in &rows {
        let number = |name: &str| row[name].as_f64().unwrap();
        let file = folder.path().join(row["file"].as_str().unwrap());
        let (triangles, volume) = stl(&file);
        assert_eq!(triangles, row["triangles"].as_u64().unwrap() as usize);
        assert!((volume / number("voxel_volume_mm3") - 1.0).abs() < 0.005, "{row}");
        assert!((number("mesh_volume_mm3") / number("voxel_volume_mm3") - 1.0).abs() < 0.001, "{row}");
        assert_eq!((&row["smoothing"]["iterations"], &row["space"]), (&Value::from(20), &Value::from("ras")));
    }
    let again = run(folder.path(), &["mesh", &sample(), "--out", "meshes"]).expect(2);
    assert!(again.stderr.contains("--overwrite"), "{}", again.stderr);
}

#[test]
fn chosen_labels_in_one_file_of_each_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["two.stl", "two.obj", "two.ply", "two.glb"] {
        let ran =
            run(folder.path(), &["mesh", &sample(), "--out", name, "--label", "17,53", "--smooth", "5"]);
        let text = ran.expect(0).stdout;
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(std::fs::metadata(folder.path().join(name)).unwrap().len() > 10_000);
    }
    assert!(folder.path().join("two.mtl").is_file());
    let glb = std::fs::read(folder.path().join("two.glb")).unwrap();
    let length = u32::from_le_bytes(glb[12..16].try_into().unwrap()) as usize;
    let document: Value = serde_json::from_slice(&glb[20..20 + length]).unwrap();
    assert_eq!(document["meshes"].as_array().unwrap().len(), 2);
}

#[test]
fn left_is_left_and_lps_turns_it() {
    let folder = tempfile::tempdir().unwrap();
    let mean_x = |name: &str| {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        let x = bytes[84..].chunks_exact(50).map(|r| f32::from_le_bytes(r[12..16].try_into().unwrap()));
        let count = x.len() as f32;
        x.sum::<f32>() / count
    };
    // 17 and 53 are the left and the right hippocampus.
    for (label, name) in [("17", "left.stl"), ("53", "right.stl")] {
        run(folder.path(), &["mesh", &sample(), "--out", name, "--label", label]).expect(0);
    }
    run(folder.path(), &["mesh", &sample(), "--out", "lps.stl", "--label", "17", "--space", "lps"]).expect(0);
    assert!(mean_x("left.stl") < mean_x("right.stl") - 20.0);
    assert!((mean_x("left.stl") + mean_x("lps.stl")).abs() < 1e-3);
}

#[test]
fn requests_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["--out", "a.stl", "--label", "9999"][..], "labels that occur: "),
        (&["--out", "a.stl", "--label", "x"], "neither a label number"),
        (&["--out", "a.fbx"], "no mesh format"),
        (&["--out", "a.stl", "--format", "obj"], "contradicts"),
        (&["--out", "a.glb", "--space", "lps"], "axes of its own"),
        (&["--out", "no/such/a.stl"], "create it first"),
    ] {
        let sample = sample();
        let all: Vec<&str> = ["mesh", &sample].into_iter().chain(args.iter().copied()).collect();
        let ran = run(folder.path(), &all).expect(2);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    let image = root().join("assets/sample/head.nii.gz");
    run(folder.path(), &["mesh", image.to_str().unwrap(), "--out", "a.stl", "--label", "0"]).expect(2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
