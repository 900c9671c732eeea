//! `insula deid` on files of our own making: exit codes, records, reports, the map, and what must be refused.

#[path = "../formats/tests/common/dicom.rs"]
mod dicom;

use std::path::{Path, PathBuf};

use dicom::{element, text};
use insula_tests::{run, shared};
use serde_json::Value;
use tempfile::tempdir;

/// A small slice: preamble, meta group, patient, pixels. Made byte by byte, so that no writer of ours is trusted.
fn slice(patient: &str, name: &str, instance: &str, body_part: &str) -> Vec<u8> {
    let class = "1.2.840.10008.5.1.4.1.1.2";
    let meta = [
        text(2, 2, "UI", class),
        text(2, 3, "UI", instance),
        text(2, 0x10, "UI", "1.2.840.10008.1.2.1"),
        text(2, 0x12, "UI", "1.2.3"),
        text(2, 0x16, "AE", "SENDER_AE"),
    ]
    .concat();
    let mut bytes = b"MZ a program in the preamble".to_vec();
    bytes.resize(128, 0x90);
    bytes.extend(b"DICM");
    bytes.extend(element(2, 0, "UL", &(meta.len() as u32).to_le_bytes()));
    bytes.extend(meta);
    for part in [
        text(8, 0x16, "UI", class),
        text(8, 0x18, "UI", instance),
        text(8, 0x20, "DA", "20200229"),
        text(8, 0x50, "SH", "ACC998877"),
        text(8, 0x60, "CS", "CT"),
        text(8, 0x80, "LO", "St Elsewhere"),
        text(8, 0x90, "PN", "House^Gregory"),
        text(0x10, 0x10, "PN", name),
        text(0x10, 0x20, "LO", patient),
        text(0x18, 0x15, "CS", body_part),
        text(0x20, 0x0d, "UI", "1.2.3.4"),
        text(0x20, 0x0e, "UI", "1.2.3.4.5"),
        element(0x28, 0x10, "US", &[2, 0]),
        element(0x28, 0x11, "US", &[2, 0]),
        text(0x29, 0x10, "LO", "ACME"),
        text(0x29, 0x1001, "LO", "Krawczyk"),
        element(0x7fe0, 0x10, "OW", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        bytes.extend(part);
    }
    bytes
}

/// A folder with two slices of one patient, one of another, and three files that are something else.
fn study(folder: &Path) -> PathBuf {
    let input = folder.join("Krawczyk Zenobia");
    std::fs::create_dir_all(input.join("sub")).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(input.join(name), bytes).unwrap();
    put("krawczyk1.dcm", &slice("ID-4711", "Krawczyk^Zenobia", "1.2.3.4.5.1", "HEAD"));
    put("sub/krawczyk2", &slice("ID-4711", "Krawczyk^Zenobia", "1.2.3.4.5.2", "HEAD"));
    put("other.dcm", &slice("ID-4712", "Nowak^Jan", "1.2.3.4.5.3", "HEAD"));
    put("notes.txt", b"Krawczyk called; she is better now, and asks for a picture.");
    put("DICOMDIR", &slice("ID-4711", "Krawczyk^Zenobia", "1.2.3.4.5.9", "HEAD"));
    put("empty", b"");
    input
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.to_ascii_lowercase().windows(what.len()).any(|w| w == what.to_ascii_lowercase().as_bytes())
}

const SECRETS: &[&str] = &[
    "krawczyk",
    "zenobia",
    "nowak",
    "ID-471",
    "acc998877",
    "elsewhere",
    "gregory",
    "sender_ae",
    "1.2.3.4.5",
    "20200229",
];

#[test]
fn a_folder_with_everything_in_it() {
    let folder = tempdir().unwrap();
    let input = study(folder.path());
    let before: Vec<Vec<u8>> = files(&input).iter().map(|f| std::fs::read(f).unwrap()).collect();
    let ran = run(folder.path(), &["deid", input.to_str().unwrap(), "out", "--map", "map.json"]).expect(0);
    let records = ran.records();
    let count = |status: &str| records.iter().filter(|r| r["status"] == status).count();
    assert_eq!((count("done"), count("skipped"), records.len()), (3, 3, 6), "{}", ran.stdout);
    assert!(ran.stderr.contains("DICOMDIR"), "{}", ran.stderr);
    // Nothing below the output, name or content, tells anybody.
    let out = folder.path().join("out");
    let written = files(&out);
    assert_eq!(written.len(), 3 + 2, "{written:?}");
    for file in &written {
        let bytes = std::fs::read(file).unwrap();
        let name = file.strip_prefix(&out).unwrap().to_str().unwrap();
        for secret in SECRETS {
            assert!(!contains(&bytes, secret), "{name} holds {secret}");
            assert!(!contains(name.as_bytes(), secret), "{name}");
        }
        if name.ends_with(".dcm") {
            assert_eq!(&bytes[..128], &[0; 128]);
            assert!(bytes.ends_with(&[1, 2, 3, 4, 5, 6, 7, 8]));
        }
    }
    // Two patients, two folders.
    let patients = std::fs::read_dir(&out).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(patients, 2);
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.join("deid-report.json")).unwrap()).unwrap();
    assert_eq!(report["files"].as_array().unwrap().len(), 3);
    assert_eq!(report["methods"][0]["code"], "113100");
    let actions = &report["actions"][report["files"][0]["actions"].as_u64().unwrap() as usize];
    let name = actions.as_array().unwrap().iter().find(|r| r["keyword"] == "PatientName").unwrap();
    assert_eq!((&name["tag"], &name["action"]), (&Value::from("(0010,0010)"), &Value::from("pseudonym")));
    // The way back, for its owner only.
    let map: Value = serde_json::from_slice(&std::fs::read(folder.path().join("map.json")).unwrap()).unwrap();
    assert!(map["uids"]["1.2.3.4.5.1"].as_str().unwrap().starts_with("2.25."));
    assert!(map["patients"].as_object().unwrap().values().any(|p| p["id"] == "ID-4711"));
    #[cfg(unix)]
    for name in ["map.json", "map.json.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // The same key gives the same files; originals are as they were.
    let again = run(folder.path(), &["deid", input.to_str().unwrap(), "again", "--key-file", "map.json.key"]);
    again.expect(0);
    let names = |root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let all = files(root).into_iter();
        all.map(|f| (f.strip_prefix(root).unwrap().to_owned(), std::fs::read(&f).unwrap())).collect()
    };
    assert!(names(&out) == names(&folder.path().join("again")));
    let after: Vec<Vec<u8>> = files(&input).iter().map(|f| std::fs::read(f).unwrap()).collect();
    assert!(before == after);
}

#[test]
fn exit_codes_tell_all_some_and_none() {
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let good = slice("ID-4711", "Krawczyk^Zenobia", "1.2.3.4.5.1", "HEAD");
    let cut = &good[..good.len() - 4];
    std::fs::write(input.join("cut.dcm"), cut).unwrap();
    let ran = run(folder.path(), &["deid", "in", "out1"]).expect(1);
    assert_eq!(ran.records()[0]["status"], "failed");
    std::fs::write(input.join("good.dcm"), &good).unwrap();
    let ran = run(folder.path(), &["deid", "in", "out2"]).expect(8);
    assert_eq!(ran.records()[1]["status"], "done");
    // A name where nothing can be cut out: written, and to be looked at.
    std::fs::remove_file(input.join("cut.dcm")).unwrap();
    std::fs::write(input.join("good.dcm"), slice("ID-4711", "Krawczyk^Z", "1.2.3.4.5.1", "KRAWCZYK"))
        .unwrap();
    let ran = run(folder.path(), &["deid", "in", "out3"]).expect(8);
    let record = &ran.records()[0];
    assert_eq!(
        (&record["status"], &record["findings"][0]["keyword"]),
        (&"needs-review".into(), &"BodyPartExamined".into())
    );
    let nothing = folder.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    std::fs::write(nothing.join("a.txt"), "no image at all, and long enough to be looked at").unwrap();
    run(folder.path(), &["deid", "nothing", "out4"]).expect(1);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempdir().unwrap();
    let input = study(folder.path());
    let count = files(folder.path()).len();
    let args = ["deid", input.to_str().unwrap(), "out", "--dry-run", "--map", "map.json", "--dates", "shift"];
    let ran = run(folder.path(), &args).expect(0);
    assert_eq!(files(folder.path()).len(), count);
    let records = ran.records();
    let planned = records.iter().find(|r| r["status"] == "planned").unwrap();
    let plan = planned["plan"].as_array().unwrap();
    assert!(plan.iter().any(|r| r["keyword"] == "StudyDate" && r["action"] == "shift"));
    assert!(plan.iter().all(|r| r.get("old").is_none()));
}

#[test]
fn one_patient_gets_the_chosen_identifier() {
    let folder = tempdir().unwrap();
    let input = study(folder.path());
    let ran =
        run(folder.path(), &["deid", input.to_str().unwrap(), "out", "--patient-id", "SUB-01"]).expect(8);
    let failed: Vec<Value> = ran.records().into_iter().filter(|r| r["status"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["error"]["message"].as_str().unwrap().contains("one patient"));
    assert!(folder.path().join("out/SUB-01").is_dir());
}

#[test]
fn a_single_file_and_requests_that_make_no_sense() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("a.dcm"), slice("ID-4711", "Krawczyk^Z", "1.2.3.4.5.1", "HEAD"))
        .unwrap();
    run(folder.path(), &["deid", "a.dcm", "b.dcm"]).expect(0);
    assert!(folder.path().join("b.dcm").is_file() && folder.path().join("b.deid-report.csv").is_file());
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::copy(folder.path().join("a.dcm"), folder.path().join("in/a.dcm")).unwrap();
    for (args, says) in [
        (&["a.dcm", "b.dcm"][..], "--overwrite"),
        (&["a.dcm", "a.dcm"], "output may not"),
        (&["in", "in/out"], "output may not"),
        (&["in", "."], "output may not"),
        (&["in", "in/../in"], "output may not"),
        (&["in/a.dcm", "in"], "output may not"),
        (&["in", "missing/../in/out"], "output may not"),
        (&["missing", "out"], "no such file"),
        (&["in", "out", "--map", "out/map.json"], "may not lie with"),
        (&["in", "out", "--key-file", "in/key"], "may not lie with"),
        (&["in", "out", "--map", "no/such/map.json"], "create it first"),
        (&["in", "out", "--patient-id", "a\\b"], "--patient-id"),
        (&["in", "out", "--patient-id", ""], "--patient-id"),
    ] {
        let all: Vec<&str> = ["deid"].into_iter().chain(args.iter().copied()).collect();
        let ran = run(folder.path(), &all).expect(2);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    assert!(!folder.path().join("out").exists());
    run(folder.path(), &["deid", "in", "."]).expect(2);
}

#[test]
fn all_shared_files_at_once() {
    let Some(input) = shared("all_shared_files_at_once", "data/dicom") else { return };
    let folder = tempdir().unwrap();
    let args = ["deid", input.to_str().unwrap(), "out", "--dates", "shift", "--retain-safe-private"];
    let ran = run(folder.path(), &args);
    let records = ran.records();
    let bad: Vec<&Value> =
        records.iter().filter(|r| r["status"] == "failed" || r["status"] == "needs-review").collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(records.iter().filter(|r| r["status"] == "done").count() > 100);
    ran.expect(0);
}
