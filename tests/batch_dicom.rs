//! DICOM series through `insula --batch`: segmentations as DICOM SEG, and several series as the channels of a pack.

use std::path::Path;

use formats::{LabelMap, Task};
use insula_tests::{Ran, command, run, runtime, shared, write_weights};
use tempfile::tempdir;

use crate::dicom_files::{Slice, folder as folder_of, tag};
use crate::{go, pack, two_channels, write_scan};

/// A DICOM series of 40×36×28 voxels, tilted, of a bright ball; `seed` makes contents differ.
fn dicom_series(uid: &str, description: &str, seed: usize) -> Vec<Slice> {
    let (s, c) = (0.3_f64.sin(), 0.3_f64.cos());
    let orientation = [c, s, 0.0, -s * 0.8, c * 0.8, 0.6];
    let normal = [s * 0.6, -c * 0.6, 0.8];
    let slice = |n: usize| {
        let pixels = (0..40 * 36).map(|p| {
            let (i, j) = (p % 40, p / 40);
            let r = [(i as f64 - 20.0), (j as f64 - 18.0), (n as f64 - 14.0) * 1.2]
                .map(|v| v * v)
                .iter()
                .sum::<f64>();
            i16::from(r.sqrt() < 12.0) * 100 + ((i * 7 + j * 13 + n * 3 + seed * 11) % 31) as i16
        });
        let slice = Slice {
            size: [40, 36],
            position: [0, 1, 2].map(|a| 10.0 + 1.2 * n as f64 * normal[a]),
            orientation,
            spacing: [1.1, 0.9],
            number: (seed * 100 + n) as i64 + 1,
            pixels: pixels.collect(),
            extra: Vec::new(),
        };
        slice
            .text(tag(0x0020, 0x000e), uid)
            .text(tag(0x0020, 0x0011), &(seed + 1).to_string())
            .text(tag(0x0008, 0x103e), description)
    };
    (0..28).map(slice).collect()
}

/// Labels that the program wrote, read by our reader.
fn labels(path: &Path) -> LabelMap {
    formats::open(path, &Task::silent()).unwrap().first().to_labels().unwrap()
}

/// A DICOM series through the network, once as NIfTI and once as DICOM SEG: the same labels in the same places.
#[track_caller]
fn seg_equals_nifti(folder: &Path, series: &str) {
    let case = |format: &str, out: &str| {
        let mut command = command(folder);
        command.args([
            "--batch",
            series,
            "--pack",
            pack(),
            "--out",
            out,
            "--format",
            format,
            "--threads",
            "2",
        ]);
        if let Some(runtime) = runtime("batch") {
            command.env("ORT_DYLIB_PATH", runtime);
        }
        let ran = Ran::of(command.output().unwrap()).expect(0);
        assert_eq!(ran.records().len(), 1, "{}", ran.stdout);
        assert_eq!(ran.records()[0]["status"], "done");
        ran.records()[0]["case"].as_str().unwrap().to_owned()
    };
    let name = case("nii.gz", "as-nifti");
    assert_eq!(case("dicom-seg", "as-dicom"), name);
    let seg = format!("as-dicom/{name}_seg.dcm");
    run(folder, &["convert", &seg, "back.nii.gz", "--source", series]).expect(0);
    let (want, found) =
        (labels(&folder.join(format!("as-nifti/{name}_seg.nii.gz"))), labels(&folder.join("back.nii.gz")));
    assert!(found.grid.is_same(&want.grid, 1e-3), "{:?} {:?}", found.grid, want.grid);
    let count = |map: &LabelMap, id: u16| map.labels.iter().filter(|v| **v == id).count();
    assert!(count(&want, 1) + count(&want, 2) > 0, "the network found nothing, which proves nothing");
    assert_eq!(found.labels, want.labels);
    // Without its images too: places are in the object itself. Segments then lie where they are, not on the whole grid.
    let alone = formats::dicom::seg::read(&folder.join(&seg), None, &Task::silent()).unwrap().0;
    for id in [1, 2] {
        assert_eq!(count(&alone, id), count(&want, id), "label {id}");
    }
    let place = |map: &LabelMap| {
        let at = map.labels.indexed_iter().filter(|(_, v)| **v != 0);
        let mut sum = [0.0; 3];
        for ((k, j, i), _) in at {
            let p = map.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
            (0..3).for_each(|a| sum[a] += p[a]);
        }
        sum
    };
    let (a, b) = (place(&alone), place(&want));
    let total = (count(&want, 1) + count(&want, 2)) as f64;
    assert!((0..3).all(|n| (a[n] - b[n]).abs() / total < 1e-3), "{a:?} {b:?}");
}

#[test]
fn a_dicom_series_gives_a_dicom_seg_equal_to_the_nifti() {
    if runtime("a_dicom_series_gives_a_dicom_seg_equal_to_the_nifti").is_none() {
        return;
    }
    let data = folder_of(&dicom_series("1.2.3.4.1", "head", 0));
    let folder = tempdir().unwrap();
    seg_equals_nifti(folder.path(), data.path().to_str().unwrap());
    // What is no DICOM has nothing to refer to: told, and nothing written.
    write_scan(&folder.path().join("scan.nii.gz"), 40, 1);
    let ran = go(folder.path(), &["scan.nii.gz", "--format", "dicom-seg"]).expect(1);
    let told = ran.records()[0]["error"]["message"].as_str().unwrap().to_owned();
    assert!(told.contains("refers to DICOM images"), "{told}");
    assert!(!folder.path().join("out/scan_seg.dcm").exists());
}

#[test]
fn a_real_mr_series_gives_a_dicom_seg_equal_to_the_nifti() {
    let test = "a_real_mr_series_gives_a_dicom_seg_equal_to_the_nifti";
    let Some(series) = shared(test, "data/dicom/series_oblique_sagittal") else { return };
    if runtime(test).is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    seg_equals_nifti(folder.path(), series.to_str().unwrap());
}

#[test]
fn series_of_a_study_are_the_channels_of_a_pack() {
    let test = "series_of_a_study_are_the_channels_of_a_pack";
    let Some(runtime) = runtime(test) else { return };
    let folder = tempdir().unwrap();
    let preset = two_channels();
    write_weights(&folder.path().join("weights.safetensors"), &preset);
    std::fs::write(folder.path().join("two.toml"), &preset).unwrap();
    let args =
        ["packs", "import", "weights.safetensors", "--preset", "two.toml", "--id", "two", "--out", "."];
    run(folder.path(), &args).expect(0);
    let slices: Vec<_> =
        [("1.2.3.4.1", "AX T1 post", 0), ("1.2.3.4.2", "AX T1", 1), ("1.2.3.4.3", "AX T2", 2)]
            .into_iter()
            .flat_map(|(uid, description, seed)| dicom_series(uid, description, seed))
            .collect();
    let data = folder_of(&slices);
    let series = data.path().to_str().unwrap();
    let batch = |inputs: &str, args: &[&str], out: &str| {
        let mut command = command(folder.path());
        command.env("ORT_DYLIB_PATH", runtime).args(["--batch", inputs, "--pack", "two", "--out", out]);
        Ran::of(command.args(args).output().unwrap())
    };
    // Nobody guesses: no rule, half a rule, a rule for two series.
    let ran = batch(series, &[], "none").expect(1);
    assert!(ran.stdout.contains("--channel T1=TEXT"), "{}", ran.stdout);
    let ran = batch(series, &["--channel", "T1=t1"], "none").expect(2);
    assert!(ran.stderr.contains("--channel T2=TEXT"), "{}", ran.stderr);
    let ran = batch(series, &["--channel", "T1=t1", "--channel", "T9=t2"], "none").expect(2);
    assert!(ran.stderr.contains("no such channel"), "{}", ran.stderr);
    let ran = batch(series, &["--channel", "T1=t1", "--channel", "T2=t2"], "none").expect(1);
    assert!(ran.stdout.contains("2 series are T1: mr-1-"), "{}", ran.stdout);
    // The same case by NIfTI files that are named after their channels.
    for (number, name) in [("2", "in/case_t1.nii.gz"), ("3", "in/case_t2.nii.gz")] {
        std::fs::create_dir_all(folder.path().join("in")).unwrap();
        run(folder.path(), &["convert", series, name, "--series", number]).expect(0);
    }
    batch("in", &[], "by-name").expect(0);
    // Rules that nothing is looked up by are told, not passed over.
    let ran = batch("in", &["--channel", "T1=t1", "--channel", "T2=t2"], "none").expect(2);
    assert!(ran.stderr.contains("is for DICOM series, and there are none"), "{}", ran.stderr);
    let want = labels(&folder.path().join("by-name/case_seg.nii.gz"));
    for (n, channel) in ["T1=2", "t1=ax t1"].into_iter().enumerate() {
        // The longest text that fits wins: the series after contrast is not the other one.
        let post = if n == 1 { "T2=T1 post" } else { "T2=T2" };
        let out = format!("out{n}");
        let ran = batch(series, &["--channel", channel, "--channel", post], &out).expect(0);
        let record = &ran.records()[0];
        assert_eq!(record["inputs"].as_array().unwrap().len(), 56);
        let found = labels(
            &folder.path().join(&out).join(format!("{}_seg.nii.gz", record["case"].as_str().unwrap())),
        );
        assert_eq!(found.labels == want.labels, n == 0, "with {channel} and {post}");
    }
}
