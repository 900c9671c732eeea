//! Redaction with the real program: text found, blanked and proven gone in pictures and DICOM files. The network is the tiny one of
//! the stored cases, which knows the lines of its own pictures by heart.

#[path = "../formats/tests/common/dicom.rs"]
mod files;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use files::{Shape, V, Way, file};
use insula_tests::{Ran, command, root, runtime};
use ndarray::Array3;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// A pack of the stored weights, and the picture of a case with its lines' boxes.
struct Tiny {
    _folder: TempDir,
    pack: String,
}

fn tiny() -> &'static Tiny {
    static TINY: OnceLock<Tiny> = OnceLock::new();
    TINY.get_or_init(|| {
        let folder = tempdir().unwrap();
        let facts: Value = serde_json::from_slice(&std::fs::read(stored("cases.json")).unwrap()).unwrap();
        let mut network = toml::Table::try_from(&facts["config"]).unwrap();
        network.retain(|_, v| !matches!(v, toml::Value::String(s) if s.is_empty()));
        let preset = format!(
            "family = \"mayor\"\nname = \"Tiny\"\nsummary = \"Knows six pictures.\"\nintended_use = \"Tests.\"\nlicence = \"MIT\"\n\n\
             [input]\naxes = \"stored\"\n[[input.channel]]\nname = \"picture\"\n\n[tiles]\npatch = [1, 448, 448]\n\n\
             [output]\nactivation = \"text\"\nscore = 0.5\nproposals = 300\ndetections = 300\nredact_score = 0.5\nmargin_px = 2.0\n\
             margin_of_height = 0.15\nlong_side = 256\ntile_overlap = 64\nboth_contrasts = false\n\n[network]\n{network}"
        );
        let path = folder.path().join("tiny.toml");
        std::fs::write(&path, preset).unwrap();
        let args = ["packs", "import", "--family", "mayor", "--id", "tiny-text", "--out", "packs", "--preset"];
        let ran = Ran::of(
            command(folder.path()).args(args).arg(&path).arg(stored("weights.safetensors")).output().unwrap(),
        );
        ran.expect(0);
        let pack = folder.path().join("packs/tiny-text").to_str().unwrap().to_owned();
        Tiny { _folder: folder, pack }
    })
}

fn stored(name: &str) -> PathBuf {
    root().join("models/tests/fixtures/mayor").join(name)
}

/// The picture of a stored case, `[H, W, 3]`.
fn picture(case: &str) -> Array3<u8> {
    let bytes = std::fs::read(stored(&format!("{case}.safetensors"))).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let head: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let at = |v: &Value, i: usize| v[i].as_u64().unwrap() as usize;
    let (shape, ends) = (&head["picture"]["shape"], &head["picture"]["data_offsets"]);
    let data = bytes[8 + len + at(ends, 0)..8 + len + at(ends, 1)].to_vec();
    Array3::from_shape_vec((at(shape, 0), at(shape, 1), 3), data).unwrap()
}

fn save(path: &Path, picture: &Array3<u8>) {
    let (h, w, _) = picture.dim();
    image::RgbImage::from_raw(w as u32, h as u32, picture.iter().copied().collect())
        .unwrap()
        .save(path)
        .unwrap();
}

fn go(test: &str, folder: &Path, verb: &str, args: &[&str]) -> Option<Ran> {
    let runtime = runtime(test)?;
    let mut command = command(folder);
    command.env("ORT_DYLIB_PATH", runtime).arg(verb).args(args).args([
        "--pack",
        &tiny().pack,
        "--threads",
        "2",
    ]);
    Some(Ran::of(command.output().unwrap()))
}

fn open(path: &Path) -> Array3<u8> {
    let image = image::open(path).unwrap().to_rgb8();
    let (w, h) = image.dimensions();
    Array3::from_shape_vec((h as usize, w as usize, 3), image.into_raw()).unwrap()
}

/// Whether letters are gone: nothing bright is left, as all letters of the stored pictures are bright on dark.
fn is_dark(picture: &Array3<u8>) -> bool {
    picture.iter().all(|&v| v < 90)
}

#[test]
fn text_leaves_pictures_and_the_rest_stays() {
    let test = "text_leaves_pictures_and_the_rest_stays";
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let (text, none) = (picture("one_line"), picture("empty"));
    save(&input.join("a.png"), &text);
    save(&input.join("b.png"), &none);
    std::fs::write(input.join("notes.txt"), "no picture").unwrap();
    assert!(!is_dark(&text) && is_dark(&none));
    let Some(ran) = go(test, folder.path(), "redact", &["in", "out"]) else { return };
    let ran = ran.expect(0);
    let records = ran.records();
    let status: Vec<&str> = records.iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["done", "done", "skipped"]);
    assert_eq!(
        std::fs::read(input.join("b.png")).unwrap(),
        std::fs::read(folder.path().join("out/b.png")).unwrap()
    );
    let after = open(&folder.path().join("out/a.png"));
    assert!(is_dark(&after), "letters are left");
    // Only pixels near the line changed: black, or as they were.
    let mut changed = [usize::MAX, 0];
    for ((y, x, c), &v) in after.indexed_iter() {
        if v != text[[y, x, c]] {
            assert_eq!(v, 0);
            changed = [changed[0].min(y), changed[1].max(y)];
        }
    }
    assert!(changed[0] > 35 && changed[1] < 75, "{changed:?}");
    assert!(records[0]["looks"].as_u64().unwrap() >= 1);
    let report = std::fs::read_to_string(folder.path().join("out/redaction-report.json")).unwrap();
    assert!(report.contains("\"found\"") && !report.contains("1976"), "places, never what a text says");
    // A second run does not mix with the first.
    let again = go(test, folder.path(), "redact", &["in", "out"]).unwrap().expect(2);
    assert!(again.stderr.contains("--overwrite"));
    go(test, folder.path(), "redact", &["in", "in/out"]).unwrap().expect(2);
}

fn dicom(pixels: &Array3<u8>, frames: usize) -> Vec<u8> {
    let (h, w, _) = pixels.dim();
    let grey: Vec<u8> = pixels.index_axis(ndarray::Axis(2), 0).iter().copied().collect();
    let shape = Shape {
        rows: h as u16,
        columns: w as u16,
        frames: Box::leak(frames.to_string().into_boxed_str()),
        ..Shape::GREY8
    };
    let elements = shape.elements(
        &[(0x28, 0x301, "CS", V::Text("YES"))],
        (0x7fe0, 0x10, "OB", V::Bytes(std::iter::repeat_n(grey, frames).flatten().collect())),
    );
    file(Way::Explicit, "1.2.840.10008.1.2.1", &elements)
}

#[test]
fn dicom_is_screened_decided_and_proven() {
    use formats::dicom::{Instance, Tag};
    let test = "dicom_is_screened_decided_and_proven";
    let folder = tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    let text = picture("one_line");
    std::fs::write(folder.path().join("in/a.dcm"), dicom(&text, 3)).unwrap();
    std::fs::write(folder.path().join("in/b.dcm"), dicom(&picture("empty"), 1)).unwrap();
    let Some(ran) = go(test, folder.path(), "redact", &["in", "screened", "--screen"]) else { return };
    let records = ran.expect(8).records();
    assert_eq!([&records[0]["verdict"], &records[1]["verdict"]], ["unsafe", "safe"]);
    assert!(!folder.path().join("screened/a.dcm").exists(), "screening writes no image");

    // A person keeps the line: the file is written as it is.
    let report = folder.path().join("screened/redaction-report.json");
    let edited =
        std::fs::read_to_string(&report).unwrap().replace("\"approved\": true", "\"approved\": false");
    let kept = folder.path().join("kept.json");
    std::fs::write(&kept, edited).unwrap();
    let args = ["in", "kept", "--approved", kept.to_str().unwrap()];
    go(test, folder.path(), "redact", &args).unwrap().expect(0);
    let pixels =
        |path: &str| Instance::open(&folder.path().join(path)).unwrap().plain_bytes().unwrap().unwrap();
    assert_eq!(pixels("kept/a.dcm"), pixels("in/a.dcm"));

    // A person decided nothing: nothing is written.
    let open = std::fs::read_to_string(&report).unwrap().replace("\"approved\": true", "\"approved\": null");
    std::fs::write(&kept, open).unwrap();
    let args = ["in", "undecided", "--approved", kept.to_str().unwrap()];
    let records = go(test, folder.path(), "redact", &args).unwrap().expect(8).records();
    assert_eq!(records[0]["status"], "needs-review");
    assert!(!folder.path().join("undecided/a.dcm").exists());

    let records = go(test, folder.path(), "redact", &["in", "out"]).unwrap().expect(0).records();
    assert_eq!(records[0]["status"], "done");
    let after = Instance::open(&folder.path().join("out/a.dcm")).unwrap();
    assert!(pixels("out/a.dcm").iter().all(|&v| v < 90), "letters are left in some frame");
    assert_eq!(after.layout().frames, 3);
    let header = after.header();
    assert_eq!(header.text(Tag(0x28, 0x301)).as_deref(), Some("NO"));
    assert!(header.text(Tag(0x12, 0x63)).is_some_and(|m| m.contains("blanked")));
    assert_ne!(header.sop_instance_uid, "1.2.3.4");
    assert_eq!(pixels("out/b.dcm"), pixels("in/b.dcm"));
}

#[test]
fn deid_takes_names_from_header_and_pixels() {
    use formats::dicom::{Instance, Tag};
    let test = "deid_takes_names_from_header_and_pixels";
    let Some(runtime) = runtime(test) else { return };
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("a.dcm"), dicom(&picture("one_line"), 2)).unwrap();
    let mut command = command(folder.path());
    command.env("ORT_DYLIB_PATH", runtime).args([
        "deid",
        "a.dcm",
        "b.dcm",
        "--pixels",
        "--pixels-pack",
        &tiny().pack,
    ]);
    Ran::of(command.output().unwrap()).expect(0);
    let after = Instance::open(&folder.path().join("b.dcm")).unwrap();
    assert!(after.plain_bytes().unwrap().unwrap().iter().all(|&v| v < 90), "letters are left");
    let header = after.header();
    assert_eq!(header.text(Tag(0x28, 0x301)).as_deref(), Some("NO"));
    assert_eq!(header.text(Tag(0x12, 0x62)).as_deref(), Some("YES"));
    let codes = header.object.get(Tag(0x12, 0x64)).unwrap().items().unwrap();
    let has = |code: &str| {
        codes.iter().any(|i| i.get(Tag(8, 0x100)).is_some_and(|e| e.to_str().unwrap().trim() == code))
    };
    assert!(has("113100") && has("113101"), "both methods are named");
}

#[test]
fn rules_about_devices_blank_what_the_network_does_not_see() {
    use formats::dicom::Instance;
    let test = "rules_about_devices_blank_what_the_network_does_not_see";
    let folder = tempdir().unwrap();
    let flat = Array3::from_elem((120, 160, 3), 50u8);
    let mut bytes = flat;
    bytes[[5, 5, 0]] = 20;
    std::fs::write(folder.path().join("a.dcm"), dicom(&bytes, 1)).unwrap();
    let rules = "{\"rules\": [{\"manufacturer\": \"\", \"model\": \"\", \"rows\": 120, \"columns\": 160, \
                 \"rectangles\": [[10, 20, 30, 8]]}]}";
    std::fs::write(folder.path().join("rules.json"), rules).unwrap();
    let Some(ran) = go(test, folder.path(), "redact", &["a.dcm", "b.dcm", "--rules", "rules.json"]) else {
        return;
    };
    let records = ran.expect(0).records();
    assert_eq!(records[0]["regions"][0]["reason"], "rule");
    let after = Instance::open(&folder.path().join("b.dcm")).unwrap().plain_bytes().unwrap().unwrap();
    for (p, &v) in after.iter().enumerate() {
        let (y, x) = (p / 160, p % 160);
        let is_in = (20..28).contains(&y) && (10..40).contains(&x);
        assert_eq!(v, if is_in || (y, x) == (5, 5) { 20 } else { 50 }, "{y} {x}");
    }
}

#[test]
fn batches_list_the_lines_of_pictures_and_dicom() {
    let test = "batches_list_the_lines_of_pictures_and_dicom";
    let folder = tempdir().unwrap();
    save(&folder.path().join("page.png"), &picture("dense"));
    std::fs::write(folder.path().join("scan.dcm"), dicom(&picture("one_line"), 1)).unwrap();
    let args = ["page.png", "scan.dcm", "--out", "out"];
    let Some(runtime) = runtime(test) else { return };
    let mut command = command(folder.path());
    command.env("ORT_DYLIB_PATH", runtime).arg("--batch").args(args).args(["--pack", &tiny().pack]);
    let records = Ran::of(command.output().unwrap()).expect(0).records();
    let mut lines: Vec<u64> = records.iter().map(|r| r["lines"].as_u64().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 7]);
    let out = folder.path().join("out");
    let found: Value = serde_json::from_slice(&std::fs::read(out.join("page_text.json")).unwrap()).unwrap();
    assert_eq!(found["pages"][0]["lines"].as_array().unwrap().len(), 7);
    for end in ["txt", "xml", "png", "tsv"] {
        assert!(out.join(format!("page_text.{end}")).is_file(), "{end}");
    }
    // Boxes of the stored case as the truth: all are found.
    let facts: Value = serde_json::from_slice(&std::fs::read(stored("cases.json")).unwrap()).unwrap();
    let truth: String = facts["cases"]["dense"]["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| {
            let r: Vec<String> =
                l["rectangle"].as_array().unwrap().iter().map(|p| format!("{},{}", p[0], p[1])).collect();
            format!("{},text\n", r.join(","))
        })
        .collect();
    std::fs::write(folder.path().join("truth.txt"), truth).unwrap();
    let ran =
        insula_tests::run(folder.path(), &["eval", "--text", "--json", "out/page_text.json", "truth.txt"])
            .expect(0);
    let score = &ran.records()[0]["total"];
    assert_eq!((score["matched"].as_u64(), score["precision"].as_f64()), (Some(7), Some(1.0)));
}
