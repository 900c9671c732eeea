//! `insula --batch` end to end with the real program: a tiny network with random weights, small scans.

#[path = "batch_dicom.rs"]
mod dicom;
#[path = "../formats/tests/dicom_files/mod.rs"]
mod dicom_files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use formats::{Affine, Content, Grid, LabelMap, LabelTable, Meta, Task};
use insula_tests::{Ran, command, insula, run, runtime, skip, wait_for};
use ndarray::Array3;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// One channel, three classes, a window of 32³ that takes milliseconds.
const PRESET: &str = r#"
family = "segformer3d"
name = "Tiny"
summary = "Random weights, for tests."
intended_use = "Tests."
licence = "MIT"

[input]
[[input.channel]]
name = "image"

[[intensity]]
apply = { scheme = "minmax" }

[tiles]
patch = [32, 32, 32]
overlap = 0.5

[output]
activation = "softmax"
classes = [0, 1, 2]

[[label]]
id = 1
name = "First"
rgb = [255, 0, 0]
[[label]]
id = 2
name = "Second"
rgb = [0, 255, 0]

[network]
in_channels = 1
num_classes = 3
embed_dims = [8, 16, 16, 16]
num_heads = [1, 2, 2, 2]
depths = [1, 1, 1, 1]
mlp_ratios = [2, 2, 2, 2]
sr_ratios = [4, 2, 1, 1]
patch_kernel_size = [7, 3, 3, 3]
patch_stride = [4, 2, 2, 2]
patch_padding = [3, 1, 1, 1]
decoder_head_embedding_dim = 16
"#;

/// The tiny pack, imported by the program once per test process.
fn pack() -> &'static str {
    static PACK: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, path) = PACK.get_or_init(|| {
        let folder = tempdir().unwrap();
        insula_tests::write_weights(&folder.path().join("weights.safetensors"), PRESET);
        std::fs::write(folder.path().join("tiny.toml"), PRESET).unwrap();
        let args =
            ["packs", "import", "weights.safetensors", "--preset", "tiny.toml", "--id", "tiny", "--out", "."];
        run(folder.path(), &args).expect(0);
        let path = folder.path().join("tiny").to_str().unwrap().to_owned();
        (folder, path)
    });
    path
}

/// A scan with a bright ball; `seed` makes contents differ.
fn write_scan(path: &Path, side: usize, seed: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let c = side as f64 / 2.0;
    let labels = Array3::from_shape_fn((side, side, side), |(k, j, i)| {
        let r = [k, j, i].map(|v| (v as f64 - c).powi(2)).iter().sum::<f64>().sqrt();
        u16::from(r < c * 0.8) * 100 + ((i * 7 + j * 13 + k * 3 + seed * 11) % 31) as u16
    });
    let grid = Grid {
        size_ijk: [side; 3],
        world_from_voxel: Affine::scale_shift([-1.0, 1.5, 1.0], [10.0, -20.0, 30.0]),
    };
    let map =
        LabelMap { labels: labels.into_shared(), grid, table: LabelTable::default(), meta: Meta::default() };
    formats::save(Content::Labels(&map), path, &Task::silent()).unwrap();
}

fn batch(folder: &Path, args: &[&str]) -> Command {
    let mut command = command(folder);
    command.args(["--batch"]).args(args).args(["--pack", pack(), "--out", "out", "--threads", "2"]);
    if let Some(runtime) = runtime("batch") {
        command.env("ORT_DYLIB_PATH", runtime);
    }
    command
}

fn go(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(batch(folder, args).output().unwrap())
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn statuses(ran: &Ran) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    ran.records().iter().map(|r| (text(&r["case"]), text(&r["status"]))).collect()
}

/// Everything in the output folder is whole: label volumes open, records name files that are there.
fn assert_whole(out: &Path) {
    for name in names(out).iter().filter(|n| !n.starts_with('.')) {
        let path = out.join(name);
        if name.ends_with(".nii.gz") {
            formats::open(&path, &Task::silent()).unwrap_or_else(|e| panic!("half a file: {e}"));
        } else if name.ends_with(".json") {
            let text = std::fs::read(&path).unwrap();
            let json: Value = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("half of {name}: {e}"));
            for output in json["outputs"].as_array().into_iter().flatten() {
                let file = out.join(output["file"].as_str().unwrap());
                let bytes =
                    std::fs::metadata(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).len();
                assert_eq!(Some(bytes), output["bytes"].as_u64(), "{}", file.display());
            }
        }
    }
}

#[test]
fn one_case_gives_all_its_files_and_a_record() {
    let test = "one_case_gives_all_its_files_and_a_record";
    if runtime(test).is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("scan.nii.gz"), 40, 1);
    let ran = go(folder.path(), &["scan.nii.gz"]).expect(0);
    let out = folder.path().join("out");
    let ends = [
        "seg.nii.gz",
        "labels.txt",
        "lut.txt",
        "dseg.tsv",
        "volumes.csv",
        "volumes.json",
        "quicklook.png",
        "record.json",
    ];
    assert_eq!(names(&out), ends.iter().map(|e| format!("scan_{e}")).collect());
    let records = ran.records();
    let record = &records[0];
    assert_eq!(records.len(), 1);
    let stored: Value =
        serde_json::from_slice(&std::fs::read(out.join("scan_record.json")).unwrap()).unwrap();
    assert_eq!(record, &stored, "stdout and the file tell the same");
    assert_eq!(record["status"], "done");
    assert_eq!(record["pack"]["id"], "tiny");
    assert_eq!(record["provider"]["asked"], "auto");
    assert_eq!(record["threads"], 2);
    for key in ["insula", "runtime", "seconds", "notices", "options", "peak_memory_bytes"] {
        assert!(!record[key].is_null(), "{key} is missing in {record}");
    }
    assert_eq!(record["inputs"][0]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(record["outputs"].as_array().unwrap().len(), ends.len() - 1);
    assert!(record["tiles"].as_u64().unwrap() >= 8, "{record}");

    let scan = formats::open(&folder.path().join("scan.nii.gz"), &Task::silent()).unwrap();
    let seg = formats::open(&out.join("scan_seg.nii.gz"), &Task::silent()).unwrap();
    assert!(seg.first().grid.is_same(&scan.first().grid, 1e-4), "the result lies on the grid of the scan");
    let volumes: Value =
        serde_json::from_slice(&std::fs::read(out.join("scan_volumes.json")).unwrap()).unwrap();
    let counted: u64 =
        volumes["structures"].as_array().unwrap().iter().map(|s| s["voxels"].as_u64().unwrap()).sum();
    let labels = seg.first().to_labels().unwrap();
    assert_eq!(counted, labels.labels.iter().filter(|&&l| l != 0).count() as u64);
    assert!(counted > 0, "random weights label something");
}

#[test]
fn finished_cases_are_recognised_by_content() {
    if runtime("finished_cases_are_recognised_by_content").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    for (n, name) in ["a", "b"].iter().enumerate() {
        write_scan(&folder.path().join(format!("in/{name}.nii.gz")), 32, n);
    }
    let of = |ran: Ran| statuses(&ran.expect(0)).into_iter().map(|(_, s)| s).collect::<Vec<_>>();
    assert_eq!(of(go(folder.path(), &["in"])), ["done", "done"]);
    assert_eq!(of(go(folder.path(), &["in"])), ["skipped", "skipped"]);
    // Another copy of the same content is the same case; another content is not.
    std::fs::rename(folder.path().join("in"), folder.path().join("moved")).unwrap();
    write_scan(&folder.path().join("moved/b.nii.gz"), 32, 7);
    assert_eq!(of(go(folder.path(), &["moved"])), ["skipped", "done"]);
    std::fs::remove_file(folder.path().join("out/a_dseg.tsv")).unwrap();
    assert_eq!(of(go(folder.path(), &["moved"])), ["done", "skipped"]);
    assert_eq!(of(go(folder.path(), &["moved", "--format", "nii.gz", "--no-quicklook"])), ["done", "done"]);
    assert_eq!(of(go(folder.path(), &["moved", "--overwrite"])), ["done", "done"]);
    assert_whole(&folder.path().join("out"));
}

#[test]
fn a_bad_case_fails_alone() {
    if runtime("a_bad_case_fails_alone").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("a.nii.gz"), 32, 1);
    write_scan(&folder.path().join("c.nii.gz"), 32, 2);
    let good = std::fs::read(folder.path().join("a.nii.gz")).unwrap();
    std::fs::write(folder.path().join("b.nii.gz"), &good[..good.len() / 2]).unwrap();
    let ran = go(folder.path(), &["a.nii.gz", "b.nii.gz", "c.nii.gz", "missing.nii.gz"]).expect(8);
    let told: Vec<_> = statuses(&ran).into_iter().map(|(c, s)| format!("{c} {s}")).collect();
    assert_eq!(told, ["a done", "b failed", "c done", "missing failed"]);
    let records = ran.records();
    assert_eq!(records[1]["error"]["kind"], "malformed", "{}", records[1]);
    assert_eq!(records[3]["error"]["kind"], "io", "{}", records[3]);
    assert!(ran.stderr.contains("2 done") && ran.stderr.contains("2 failed"), "{}", ran.stderr);
    let out = names(&folder.path().join("out"));
    assert!(out.contains("b_record.json") && !out.contains("b_seg.nii.gz"), "{out:?}");

    go(folder.path(), &["b.nii.gz", "missing.nii.gz"]).expect(1);
    let fast =
        go(folder.path(), &["b.nii.gz", "c.nii.gz", "a.nii.gz", "--fail-fast", "--overwrite"]).expect(8);
    assert!(fast.stderr.contains("not reached"), "{}", fast.stderr);
    // A repaired case is done; the others are recognised.
    std::fs::write(folder.path().join("b.nii.gz"), &good).unwrap();
    go(folder.path(), &["a.nii.gz", "b.nii.gz", "c.nii.gz"]).expect(0);
}

fn spawn_many(folder: &Path, cases: usize) -> Child {
    for n in 0..cases {
        write_scan(&folder.join(format!("in/case{n}.nii.gz")), 80, n);
    }
    batch(folder, &["in"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn first_record(folder: &Path) -> bool {
    let out = folder.join("out");
    wait_for(Duration::from_secs(120), || names(&out).iter().any(|n| n.ends_with("_record.json")))
}

#[test]
fn killed_at_once_it_loses_one_case_and_leaves_no_half_file() {
    if runtime("killed_at_once_it_loses_one_case_and_leaves_no_half_file").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let cases = 6;
    let mut child = spawn_many(folder.path(), cases);
    assert!(first_record(folder.path()), "nothing was done");
    // A different instant in each round: while computing, while writing.
    for delay in [0, 40, 90, 170] {
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole(&folder.path().join("out"));
        child = batch(folder.path(), &["in"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let ran = go(folder.path(), &["in"]).expect(0);
    let statuses = statuses(&ran);
    assert_eq!(statuses.len(), cases);
    assert!(statuses.iter().any(|(_, s)| s == "skipped"), "the work before the kills is kept: {statuses:?}");
    let out = names(&folder.path().join("out"));
    assert!(out.iter().all(|n| !n.starts_with('.')), "left-overs are cleaned up: {out:?}");
    assert_eq!(out.len(), cases * 8);
    assert_whole(&folder.path().join("out"));
}

#[cfg(unix)]
#[test]
fn termination_finishes_cleanly() {
    if runtime("termination_finishes_cleanly").is_none() {
        return;
    }
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let folder = tempdir().unwrap();
        let cases = 8;
        let child = spawn_many(folder.path(), cases);
        assert!(first_record(folder.path()), "nothing was done");
        let sent = std::time::Instant::now();
        let status =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let ran = Ran::of(child.wait_with_output().unwrap()).expect(code);
        assert!(sent.elapsed() < Duration::from_secs(20), "{:?}", sent.elapsed());
        let done = ran.records().len();
        assert!((1..cases).contains(&done), "{done} of {cases}");
        let out = names(&folder.path().join("out"));
        assert_eq!(out.len(), done * 8, "what was told is there, and nothing else: {out:?}");
        let ran = go(folder.path(), &["in"]).expect(0);
        let skipped = statuses(&ran).iter().filter(|(_, s)| s == "skipped").count();
        assert_eq!(skipped, done);
    }
}

#[test]
fn shards_are_disjoint_and_complete() {
    let folder = tempdir().unwrap();
    for n in 0..7 {
        write_scan(&folder.path().join(format!("in/s{n}/t1.nii.gz")), 8, n);
    }
    let cases = |args: &[&str]| {
        let ran = go(folder.path(), &[&["in", "--dry-run"], args].concat()).expect(0);
        statuses(&ran).into_iter().map(|(c, _)| c).collect::<Vec<_>>()
    };
    let all = cases(&[]);
    assert_eq!(all, (0..7).map(|n| format!("s{n}_t1")).collect::<Vec<_>>());
    let mut together: Vec<String> =
        ["1/3", "2/3", "3/3"].iter().flat_map(|s| cases(&["--shard", s])).collect();
    together.sort();
    assert_eq!(together, all);
    assert_eq!(cases(&["--shard", "2/3"]), ["s1_t1", "s4_t1"]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("scan.nii.gz"), 40, 1);
    std::fs::write(folder.path().join("bad.nii.gz"), "no image").unwrap();
    let before = names(folder.path());
    let ran = go(folder.path(), &["scan.nii.gz", "bad.nii.gz", "--dry-run"]).expect(8);
    assert_eq!(names(folder.path()), before);
    let records = ran.records();
    assert_eq!(records[0]["status"], "failed");
    assert_eq!(records[1]["status"], "planned");
    assert!(records[1]["tiles"].as_u64().unwrap() >= 8 && records[1]["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(records[1]["outputs"].as_array().unwrap().len(), 7);
}

#[test]
fn inputs_may_be_folders_globs_and_lists() {
    let folder = tempdir().unwrap();
    for name in ["in/a.nii.gz", "in/deep/b.nii", "in/a_seg.nii.gz", "in/.hidden.nii", "out/old.nii.gz"] {
        write_scan(&folder.path().join(name), 8, name.len());
    }
    std::fs::write(folder.path().join("in/notes.txt"), "no image").unwrap();
    std::fs::write(folder.path().join("list.txt"), "# comment\n\nin/a.nii.gz\nin/deep\n").unwrap();
    let cases = |args: &[&str]| {
        let ran = go(folder.path(), &[args, &["--dry-run"]].concat()).expect(0);
        statuses(&ran).into_iter().map(|(c, _)| c).collect::<Vec<_>>()
    };
    assert_eq!(cases(&["in"]), ["a", "b"]);
    assert_eq!(cases(&["."]), ["a", "b"], "the output folder is not searched");
    assert_eq!(cases(&["in/*.nii.gz"]), ["a"]);
    assert_eq!(cases(&["in/**/*.nii*"]), ["a", "b"]);
    assert_eq!(cases(&["@list.txt"]), ["a", "b"]);
    assert_eq!(cases(&["--list", "list.txt", "in/a.nii.gz"]), ["a", "b"], "each file once");
    assert_eq!(cases(&["in/a_seg.nii.gz"]), ["a_seg"], "what is named is taken");
    for nothing in [&["none/*.nii.gz"][..], &["out/nothing*"], &[], &["@missing.txt"]] {
        let ran = go(folder.path(), &[nothing, &["--dry-run"]].concat());
        assert_eq!(ran.code, Some(2), "{nothing:?}: {}", ran.stderr);
    }
}

#[test]
fn bad_packs_providers_and_runtimes_are_told_before_any_work() {
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("a.nii.gz"), 8, 1);
    let ran = run(folder.path(), &["--batch", "a.nii.gz", "--pack", "no-such-pack"]).expect(2);
    assert!(ran.stderr.contains("no-such-pack"), "{}", ran.stderr);
    let ran = go(folder.path(), &["a.nii.gz", "--provider", "gpu"]).expect(2);
    assert!(ran.stderr.contains("cuda"), "{}", ran.stderr);
    let mut command = batch(folder.path(), &["a.nii.gz", "--no-install"]);
    let ran = Ran::of(command.env("ORT_DYLIB_PATH", "no/such/library.so").output().unwrap()).expect(1);
    assert!(ran.stderr.contains("ONNX Runtime") && ran.stdout.is_empty(), "{}", ran.stderr);
    assert!(!names(folder.path()).iter().any(|n| n == "home"), "nothing was installed");
    let out = Ran::of(
        Command::new(insula())
            .current_dir(folder.path())
            .args(["--batch", "a.nii.gz", "--pack", pack(), "--out", "a.nii.gz"])
            .output()
            .unwrap(),
    );
    assert_eq!(out.code, Some(1), "a file is no output folder: {}", out.stderr);
}

#[test]
fn a_full_disk_fails_the_case_and_leaves_no_half_file() {
    let test = "a_full_disk_fails_the_case_and_leaves_no_half_file";
    let Some(library) = runtime(test) else { return };
    let folder = tempdir().unwrap();
    write_scan(&folder.path().join("a.nii.gz"), 64, 1);
    std::fs::create_dir(folder.path().join("out")).unwrap();
    // A file system of 24 KiB in a private mount namespace, where the system allows that.
    let script =
        "mount -t tmpfs -o size=24k none out || exit 77; \"$@\"; code=$?; ls -A out > listing; exit $code";
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(insula());
    shell.args(["--batch", "a.nii.gz", "--pack", pack(), "--out", "out"]);
    shell.current_dir(folder.path()).env("ORT_DYLIB_PATH", library);
    let Ok(output) = shell.output() else { return skip(test, "unshare is not there") };
    if matches!(output.status.code(), Some(77)) || String::from_utf8_lossy(&output.stderr).contains("unshare")
    {
        return skip(test, "no private mounts here");
    }
    let ran = Ran::of(output).expect(1);
    let record = &ran.records()[0];
    assert_eq!(record["error"]["kind"], "io", "{record}");
    assert!(record["error"]["message"].as_str().unwrap().contains("space"), "{record}");
    let listing = std::fs::read_to_string(folder.path().join("listing")).unwrap();
    assert!(listing.lines().all(|l| l == "a_record.json"), "{listing}");
}

/// The tiny preset with two channels.
fn two_channels() -> String {
    PRESET
        .replace("[[input.channel]]\nname = \"image\"\n", "[[input.channel]]\nname = \"T1\"\npatterns = [\"_t1\", \"_0000\"]\n[[input.channel]]\nname = \"T2\"\npatterns = [\"_t2\", \"_0001\"]\n")
        .replace("in_channels = 1", "in_channels = 2")
}

#[test]
fn several_channels_are_grouped_by_name() {
    let folder = tempdir().unwrap();
    let preset = two_channels();
    std::fs::write(folder.path().join("two.toml"), &preset).unwrap();
    // The manifest alone decides about grouping; a dry run needs no network.
    let pack = PathBuf::from(pack());
    let two = folder.path().join("two");
    std::fs::create_dir(&two).unwrap();
    for file in ["model.onnx", "MODEL_CARD.md"] {
        std::fs::copy(pack.join(file), two.join(file)).unwrap();
    }
    let manifest = std::fs::read_to_string(pack.join("pack.toml")).unwrap();
    let mut table: toml::Table = toml::from_str(&manifest).unwrap();
    let channels = toml::from_str::<toml::Table>(&preset).unwrap()["input"]["channel"].clone();
    table["input"].as_table_mut().unwrap().insert("channel".to_owned(), channels);
    table["network"].as_table_mut().unwrap().insert("in_channels".to_owned(), 2.into());
    std::fs::write(two.join("pack.toml"), toml::to_string(&table).unwrap()).unwrap();
    for name in ["p1_t1", "p1_t2", "p2_0001", "p2_0000", "p3_t1"] {
        write_scan(&folder.path().join(format!("in/{name}.nii.gz")), 8, 1);
    }
    let ran = run(folder.path(), &["--batch", "in", "--pack", "two", "--dry-run"]).expect(8);
    let records = ran.records();
    let told: Vec<_> = statuses(&ran).into_iter().map(|(c, s)| format!("{c} {s}")).collect();
    assert_eq!(told, ["p1 planned", "p2 planned", "p3 failed"]);
    let files = |r: &Value| {
        r["inputs"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(files(&records[1]), ["in/p2_0000.nii.gz", "in/p2_0001.nii.gz"]);
    assert!(records[2]["error"]["message"].as_str().unwrap().contains("T2"), "{}", records[2]);
}
