//! Packs: what is refused and with which words, installing, removing, presets.

use std::fs;
use std::path::{Path, PathBuf};

use models::catalog::Catalog;
use models::import::PRESETS;
use models::manifest::{Manifest, Output, Role};
use models::pack::{ModelPack, parse, sha256_hex};

const NETWORK: &[u8] = b"not a real network";

fn manifest_text(id: &str) -> String {
    format!(
        r#"
schema = 1
id = "{id}"
name = "Test"
version = "1.0.0"
family = "segformer3d"
summary = "A test."
intended_use = "Tests."
licence = "CC0-1.0"

[input]
axes = "SAR"
spacing_mm = "native"
[[input.channel]]
name = "T1"

[tiles]
patch = [8, 8, 8]

[output]
activation = "softmax"
classes = [0, 7]

[[label]]
id = 7
name = "Thing"
rgb = [1, 2, 3]

[[file]]
role = "network"
path = "model.onnx"
sha256 = "{}"
bytes = {}
"#,
        sha256_hex(NETWORK),
        NETWORK.len()
    )
}

fn write_pack(folder: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("pack.toml"), text).unwrap();
    fs::write(folder.join("model.onnx"), NETWORK).unwrap();
    folder.to_owned()
}

#[test]
fn a_sound_pack_is_read_and_its_hash_covers_settings_and_weights() {
    let dir = tempfile::tempdir().unwrap();
    let pack = ModelPack::from_folder(&write_pack(&dir.path().join("p"), &manifest_text("p"))).unwrap();
    assert_eq!(pack.id(), "p");
    assert_eq!(&*pack.read(Role::Network).unwrap(), NETWORK);
    pack.verify().unwrap();
    assert_eq!(pack.manifest.label_table().name(7), "Thing");
    let other = manifest_text("p").replace("patch = [8, 8, 8]", "patch = [8, 8, 16]");
    let other = ModelPack::from_folder(&write_pack(&dir.path().join("q"), &other)).unwrap();
    assert_ne!(pack.hash, other.hash);
    assert_eq!(pack.hash.len(), 64);
}

#[test]
fn every_fault_has_one_clear_error() {
    let sound = manifest_text("p");
    let cases: &[(&str, &str, &[&str])] = &[
        ("name = \"Test\"", "name = \"Test\"\ncolour = 3", &["unknown field `colour`"]),
        ("patch = [8, 8, 8]", "patch = [8, 8, 8]\noverlapp = 0.25", &["unknown field `overlapp`"]),
        ("schema = 1", "schema = 2", &["schema 2", "Update Insula"]),
        ("schema = 1\n", "", &["no schema number"]),
        ("\"segformer3d\"", "\"transmogrifier\"", &["the family “transmogrifier”", "segformer3d"]),
        ("\"model.onnx\"", "\"../model.onnx\"", &["../model.onnx", "plain file names"]),
        ("\"model.onnx\"", "\"/etc/passwd\"", &["/etc/passwd", "plain file names"]),
        ("\"model.onnx\"", "'C:\\model.onnx'", &["plain file names"]),
        ("\"model.onnx\"", "\".hidden\"", &["plain file names"]),
        ("\"model.onnx\"", "\"other.onnx\"", &["other.onnx", "cannot be read", "Copy the whole pack folder"]),
        ("id = \"p\"", "id = \"P/../q\"", &["the id “P/../q”"]),
        ("\"SAR\"", "\"SSR\"", &["axes = “SSR”"]),
        ("\"native\"", "\"nativ\"", &["native"]),
        ("\"native\"", "[1.0, 0.0, 1.0]", &["spacing_mm"]),
        ("[8, 8, 8]", "[8, 0, 8]", &["patch"]),
        (
            "[tiles]",
            "[crop]\nkind = \"fixed\"\nfixed = { start = [-9223372036854775808, 0, 0], size = [8, 8, 8] }\n[tiles]",
            &["crop.fixed", "±4096"],
        ),
        ("[0, 7]", "[0, 9]", &["label 9 in the output", "[[label]]"]),
        ("role = \"network\"", "role = \"card\"", &["0 files with role", "at least one"]),
        ("bytes = 18", "bytes = 17", &["18 bytes", "17 bytes", "copy the pack again"]),
    ];
    for (from, to, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let text = sound.replacen(from, to, 1);
        assert_ne!(text, sound, "{from}");
        let message = ModelPack::from_folder(&write_pack(dir.path(), &text)).unwrap_err().to_string();
        for word in *words {
            assert!(message.contains(word), "{from} → {to}: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_changed_file_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write_pack(dir.path(), &manifest_text("p"));
    let mut changed = NETWORK.to_vec();
    changed[3] ^= 1;
    fs::write(folder.join("model.onnx"), changed).unwrap();
    let message = ModelPack::from_folder(&folder).unwrap().read(Role::Network).unwrap_err().to_string();
    assert!(message.contains("SHA-256") && message.contains("copy the pack again"), "{message}");
}

#[cfg(unix)]
#[test]
fn links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = write_pack(&dir.path().join("p"), &manifest_text("p"));
    fs::rename(folder.join("model.onnx"), dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), folder.join("model.onnx")).unwrap();
    let message = ModelPack::from_folder(&folder).unwrap_err().to_string();
    assert!(message.contains("link"), "{message}");
}

#[test]
fn rubbish_never_panics() {
    let sound = manifest_text("p");
    for n in (0..sound.len()).step_by(7) {
        let _ = parse(Path::new("pack.toml"), &sound.as_bytes()[..n]);
    }
    let mut state = 1u64;
    for _ in 0..400 {
        let mut bytes = sound.clone().into_bytes();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        let _ = parse(Path::new("pack.toml"), &bytes);
    }
}

#[test]
fn packs_are_installed_listed_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let source = write_pack(&dir.path().join("download"), &manifest_text("p"));
    fs::write(source.join("stray.exe"), "never copied").unwrap();
    let folder = dir.path().join("packs");
    let mut catalog = Catalog::in_folder(&folder);
    let before = catalog.packs().len();
    assert!(catalog.find("p").unwrap_err().to_string().contains("“p”"));
    catalog.install(&source, false).unwrap();
    assert!(catalog.install(&source, false).unwrap_err().to_string().contains("already there"));
    let newer = write_pack(&dir.path().join("newer"), &manifest_text("p").replace("1.0.0", "1.1.0"));
    catalog.install(&newer, true).unwrap();
    assert_eq!(catalog.find("p").unwrap().manifest.version, "1.1.0");

    let again = Catalog::in_folder(&folder);
    assert_eq!(again.packs().len(), before + 1);
    assert_eq!(again.find("p").unwrap().manifest.version, "1.1.0");
    let names: Vec<_> = fs::read_dir(folder.join("p")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary folder is left");

    catalog.remove("p").unwrap();
    assert!(catalog.find("p").is_err());
    assert!(catalog.remove("p").is_err());
    assert_eq!(Catalog::in_folder(&folder).packs().len(), before);
}

#[test]
fn a_broken_pack_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    write_pack(&dir.path().join("good"), &manifest_text("good"));
    write_pack(&dir.path().join("bad"), "schema = 1");
    write_pack(&dir.path().join("misnamed"), &manifest_text("other"));
    let catalog = Catalog::in_folder(dir.path());
    catalog.find("good").unwrap();
    assert_eq!(catalog.problems().len(), 2);
    assert!(catalog.find("bad").unwrap_err().to_string().contains("cannot be used"));
}

#[test]
fn bundled_packs_are_whole_and_cannot_be_shadowed_or_removed() {
    let dir = tempfile::tempdir().unwrap();
    let bundled = Catalog::in_folder(dir.path());
    assert!(bundled.problems().is_empty(), "{:?}", bundled.problems());
    for pack in bundled.packs() {
        pack.verify().unwrap();
        let id = pack.id();
        write_pack(&dir.path().join(id), &manifest_text(id));
        let mut catalog = Catalog::in_folder(dir.path());
        assert!(catalog.find(id).unwrap().is_bundled());
        assert!(catalog.problems()[0].error.to_string().contains("inside the program"));
        assert!(catalog.remove(id).unwrap_err().to_string().contains("part of the program"));
    }
}

/// A preset completed with the fields that an import adds.
fn preset(name: &str) -> Manifest {
    let text = PRESETS.iter().find(|(n, _)| *n == name).unwrap().1;
    let file = format!(
        "[[file]]\nrole = \"network\"\npath = \"model.onnx\"\nsha256 = \"{}\"\nbytes = 1\n",
        "0".repeat(64)
    );
    let whole = format!("schema = 1\nid = \"x\"\nversion = \"1\"\nlicence = \"unknown\"\n{text}\n{file}");
    parse(Path::new(name), whole.as_bytes()).unwrap()
}

#[test]
fn presets_are_sound() {
    for (name, channels, outputs) in [("brats", 4, 3), ("synapse", 1, 14), ("acdc", 1, 4)] {
        let m = preset(name);
        assert_eq!((m.input.channels.len(), m.output.channel_count()), (channels, outputs));
        let text = toml::to_string(&m).unwrap();
        assert_eq!(parse(Path::new(name), text.as_bytes()).unwrap(), m, "a manifest survives being written");
    }
    assert!(matches!(preset("brats").output, Output::Sigmoid { threshold: 0.5, .. }));
    assert_eq!(preset("brats").output.label_ids(), [1, 2, 4]);
}

#[test]
fn files_are_grouped_into_cases_by_name() {
    let m = preset("brats");
    let name = |stem: &str| m.channel_of(stem).map(|(n, case)| (m.input.channels[n].name.clone(), case));
    for (stem, channel, case) in [
        ("Brats18_TCIA13_623_1_flair", "FLAIR", "Brats18_TCIA13_623_1"),
        ("Brats18_TCIA13_623_1_t1", "T1", "Brats18_TCIA13_623_1"),
        ("Brats18_TCIA13_623_1_t1ce", "T1gd", "Brats18_TCIA13_623_1"),
        ("BraTS-GLI-00005-100-t1c", "T1gd", "BraTS-GLI-00005-100"),
        ("BraTS-GLI-00005-100-t2w", "T2", "BraTS-GLI-00005-100"),
        ("BraTS-GLI-00005-100-t2f", "FLAIR", "BraTS-GLI-00005-100"),
        ("BRATS_001_0003", "T2", "BRATS_001"),
        ("sub-01_FLAIR", "FLAIR", "sub-01"),
        ("sub-01_ce-gadolinium_T1w", "T1gd", "sub-01"),
        ("sub-01_T1w", "T1", "sub-01"),
    ] {
        assert_eq!(name(stem), Some((channel.to_owned(), case.to_owned())), "{stem}");
    }
    assert_eq!(name("Brats18_TCIA13_623_1_seg"), None);

    let files: Vec<PathBuf> =
        ["b_t2", "a_t1", "a_flair", "a_t2", "a_t1ce", "b_flair", "notes", "b_t1", "c_t1"]
            .iter()
            .map(|n| PathBuf::from(format!("in/{n}.nii.gz")))
            .collect();
    let g = m.group(&files);
    assert_eq!(g.cases.len(), 1);
    assert_eq!(g.cases[0].name, "a");
    let order: Vec<_> =
        g.cases[0].channels.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(order, ["a_flair.nii.gz", "a_t1.nii.gz", "a_t1ce.nii.gz", "a_t2.nii.gz"]);
    assert_eq!(g.incomplete.len(), 2);
    assert!(
        g.incomplete[0].why.contains("no file for T1gd") && g.incomplete[0].why.contains("_t1ce"),
        "{:?}",
        g.incomplete
    );
    assert_eq!(g.unmatched, [PathBuf::from("in/notes.nii.gz")]);
}

#[test]
fn one_channel_packs_take_any_name() {
    let m = parse(Path::new("p"), manifest_text("p").as_bytes()).unwrap();
    assert_eq!(m.channel_of("scan"), Some((0, "scan".to_owned())));
    assert_eq!(m.channel_of("la_003_0000"), Some((0, "la_003".to_owned())));
    let files = ["x/scan_T1w.nii", "y/scan_T1w.nii", "x/scan_T2w.nii"].map(PathBuf::from);
    let g = m.group(&files);
    assert_eq!(g.cases.len(), 3);
    assert!(g.incomplete.is_empty());
}
