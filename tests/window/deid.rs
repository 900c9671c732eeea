//! De-identification in the window: the preview tells what the run then does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use app::gui::App;
use app::settings::{Settings, Theme};
use eframe::egui::vec2;
use egui_kittest::kittest::Queryable;
use formats::dicom::deid::{Action, Key, Row};
use formats::dicom::read_header;
use insula_tests::shared;
use serde_json::Value;

use crate::dicom_files::{Slice, folder, tag};
use crate::driver::{Window, can_draw};
use crate::states;

const SOP_INSTANCE_UID: dicom_core::Tag = tag(0x0008, 0x0018);
const PATIENT_NAME: dicom_core::Tag = tag(0x0010, 0x0010);

fn series() -> tempfile::TempDir {
    let slice = |n: u8| {
        let slice = Slice {
            position: [0.0, 0.0, f64::from(n)],
            number: i64::from(n) + 11,
            pixels: (0..12).map(|p| 100 * i16::from(n) + p).collect(),
            ..Slice::default()
        };
        slice
            .text(PATIENT_NAME, "Krawczyk^Zenobia")
            .text(tag(0x0008, 0x0080), "St Elsewhere")
            .text(tag(0x0008, 0x0020), "20200229")
    };
    folder(&(0..5).map(slice).collect::<Vec<_>>())
}

fn written(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(written(&path)) } else { found.push(path) }
    }
    found.retain(|f| f.extension().is_some_and(|e| e == "dcm"));
    found
}

#[track_caller]
fn row<'a>(app: &'a App, keyword: &str) -> &'a Row {
    let rows = app.deid_rows().expect("a preview");
    rows.iter().find(|r| r.keyword == keyword).unwrap_or_else(|| panic!("no row {keyword}"))
}

fn keep(window: &mut Window, name: &str) {
    states::keep(window, vec2(1280.0, 800.0), name);
}

#[test]
fn the_preview_tells_what_is_done() {
    if !can_draw("the_preview_tells_what_is_done") {
        return;
    }
    let data = series();
    let home = tempfile::tempdir().unwrap();
    let (out, key) = (home.path().join("out"), home.path().join("deid.key"));
    Key::random().unwrap().write(&key).unwrap();
    let answers = vec![out.clone(), key];
    let size = vec2(1280.0, 800.0);
    let mut window = Window::in_folder(home, Settings::default(), answers, size, 1.0);
    window.open(data.path());
    window.palette("de-identify dicom");
    window.until("the preview is there", |app| app.deid_rows().is_some());
    window.rest();
    keep(&mut window, "deid-preview");
    window.harness.get_by_label_contains("The series shown");
    window.harness.get_by_label("of 5");
    window.harness.get_by_label_contains("Replacements are examples");
    assert_eq!(row(window.app(), "StudyDate").action, Action::Empty);

    // Every option is a control, and the preview follows.
    window.click("Shift by a secret number of days");
    window.until("dates are shifted", |app| row(app, "StudyDate").action == Action::Shift);
    window.click("Choose: Output folder");
    window.click("Choose: Key");
    window.click("Institution");
    window.until("the institution stays", |app| row(app, "InstitutionName").action == Action::Keep);
    window.rest();
    assert!(window.harness.query_by_label_contains("Replacements are examples").is_none());
    window.click("Next file");
    window.click("Next file");
    window.rest();

    // Rows are found by typing; before and after are on the screen.
    window.harness.get_by_label("Search elements").focus();
    window.harness.run_steps(2);
    window.harness.get_by_label("Search elements").type_text("patientname");
    window.harness.run_steps(3);
    window.harness.get_by_label("Krawczyk^Zenobia");
    window.harness.get_by_label("All 1");
    let rows: Vec<Row> = window.app().deid_rows().unwrap().to_vec();
    let new = |keyword: &str| row(window.app(), keyword).new.clone().unwrap();
    let (pseudonym, instance) = (new("PatientName"), new("SOPInstanceUID"));
    assert_eq!(row(window.app(), "PatientName").old, "Krawczyk^Zenobia");
    window.harness.get_by_label(&pseudonym);
    window.click("pseudonym 1");
    keep(&mut window, "deid-search");
    assert!(!out.exists(), "a preview writes nothing");

    window.click("De-identify");
    window.until("the run is over", |app| !app.is_deid_running());
    window.rest();
    keep(&mut window, "deid-outcome");
    window.harness.get_by_label_contains("5 done");
    assert_eq!(window.harness.query_all_by_label("done").count(), 5, "a row for each file");

    // What was written is what the preview said.
    let files = written(&out);
    assert_eq!(files.len(), 5);
    for file in &files {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).to_lowercase();
        assert!(!text.contains("krawczyk") && !text.contains("20200229"), "{}", file.display());
        assert!(text.contains("elsewhere"), "the institution was to be kept");
    }
    let header = files.iter().map(|f| read_header(f).unwrap());
    let header = header.into_iter().find(|h| h.text(SOP_INSTANCE_UID).as_deref() == Some(&instance));
    let header = header.expect("a file under the UID of the preview");
    assert_eq!(header.text(PATIENT_NAME).as_deref(), Some(&*pseudonym));

    // And so does the report, which holds no value.
    let text = std::fs::read_to_string(out.join("deid-report.json")).unwrap();
    assert!(!text.to_lowercase().contains("krawczyk"));
    let report: Value = serde_json::from_str(&text).unwrap();
    let entries = report["files"].as_array().unwrap();
    let name = header.path.strip_prefix(&out).unwrap().to_str().unwrap();
    let entry = entries.iter().find(|f| f["output"] == name).expect("the file is in the report");
    let list = report["actions"][entry["actions"].as_u64().unwrap() as usize].as_array().unwrap();
    let told: BTreeSet<(String, String)> = list
        .iter()
        .map(|r| (r["path"].as_str().unwrap().to_owned(), r["action"].as_str().unwrap().to_owned()))
        .collect();
    let shown: BTreeSet<(String, String)> = rows
        .iter()
        .filter(|r| r.action != Action::Keep)
        .map(|r| (r.path.clone(), r.action.name().to_owned()))
        .collect();
    assert_eq!(told, shown);
}

#[test]
fn bad_and_doubtful_files_are_told_apart() {
    if !can_draw("bad_and_doubtful_files_are_told_apart") {
        return;
    }
    let data = series();
    let slice = Slice { number: 9, ..Slice::default() };
    slice
        .text(PATIENT_NAME, "Krawczyk^Zenobia")
        .text(tag(0x0018, 0x0015), "KRAWCZYK")
        .write(&data.path().join("doubtful"));
    let whole = std::fs::read(data.path().join("doubtful")).unwrap();
    std::fs::write(data.path().join("cut"), &whole[..whole.len() - 6]).unwrap();
    std::fs::write(data.path().join("notes.txt"), "no image at all, and long enough to be looked at")
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    // The first output is refused: it lies inside the input.
    let answers = vec![data.path().to_owned(), data.path().join("inside"), out.clone()];
    let mut window = Window::in_folder(home, Settings::default(), answers, vec2(1280.0, 800.0), 1.0);
    window.palette("de-identify dicom");
    window.harness.get_by_label_contains("Choose files or a folder");
    window.click("Folder…");
    window.until("the preview is there", |app| app.deid_rows().is_some());
    window.rest();
    window.harness.get_by_label("of 7");
    window.click("Choose: Output folder");
    window.click("De-identify");
    let mut told = String::new();
    for _ in 0..2000 {
        window.harness.step();
        if let Some(problem) = window.app().problems().first() {
            told.clone_from(&problem.text);
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(told.contains("never mixed"), "{told}");
    // The card is laid out in one frame and shown in the next.
    window.harness.run_steps(3);
    window.click("Dismiss");
    window.click("Choose: Output folder");
    window.click("De-identify");
    window.until("the run is over", |app| !app.is_deid_running());
    window.rest();
    keep(&mut window, "deid-findings");
    window.harness.get_by_label_contains("5 done, 1 to be reviewed, 1 failed, 1 skipped");
    window.harness.get_by_label_contains("BodyPartExamined");
    window.click("failed 1");
    assert_eq!(window.harness.query_all_by_label("failed").count(), 1);
    assert_eq!(window.harness.query_all_by_label("done").count(), 0);
    assert_eq!(written(&out).len(), 6);
}

#[test]
fn a_run_is_stopped_and_what_was_done_is_told() {
    if !can_draw("a_run_is_stopped_and_what_was_done_is_told") {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    for n in 0..1500 {
        let slice = Slice { number: n + 11, ..Slice::default() };
        slice.write(&data.path().join(format!("{n:04}")));
    }
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let answers = vec![data.path().to_owned(), out.clone()];
    let mut window = Window::in_folder(home, Settings::default(), answers, vec2(1280.0, 800.0), 1.0);
    window.palette("de-identify dicom");
    window.click("Folder…");
    window.until("the preview is there", |app| app.deid_rows().is_some());
    window.click("Choose: Output folder");
    window.harness.get_by_label("De-identify").click();
    window.harness.step();
    for _ in 0..1000 {
        window.harness.step();
        if window.harness.query_all_by_label("done").count() > 3 {
            break;
        }
    }
    window.click("Stop");
    window.until("the run has stopped", |app| !app.is_deid_running());
    window.rest();
    let files = written(&out).len();
    assert!((1..1500).contains(&files), "{files} files were written");
    window.harness.get_by_label(&format!("All {files}"));
    let report: Value =
        serde_json::from_slice(&std::fs::read(out.join("deid-report.json")).unwrap()).unwrap();
    assert_eq!(report["files"].as_array().unwrap().len(), files, "the report tells what was done");
}

#[test]
fn it_fits_small_and_sharp_windows() {
    if !can_draw("it_fits_small_and_sharp_windows") {
        return;
    }
    let data = series();
    for (size, scale, theme, name) in [
        (vec2(1280.0, 800.0), 2.0, Theme::Dark, "deid-2x"),
        (vec2(1280.0, 800.0), 1.0, Theme::Light, "deid-light"),
        (vec2(720.0, 480.0), 1.0, Theme::Dark, "deid-small"),
    ] {
        let mut window = states::window(size, scale, theme);
        window.open(data.path());
        window.palette("de-identify dicom");
        window.until("the preview is there", |app| app.deid_rows().is_some());
        window.rest();
        states::keep(&mut window, size, name);
        let screen = eframe::egui::Rect::from_min_size(eframe::egui::Pos2::ZERO, size);
        for control in ["De-identify", "Series shown", "Search elements", "Choose: Key", "Preview"] {
            let place = window.harness.get_by_label(control).rect();
            assert!(screen.contains_rect(place), "{name}: {control} at {place:?}");
        }
    }
}

#[test]
fn a_folder_of_all_kinds_of_files() {
    const TEST: &str = "a_folder_of_all_kinds_of_files";
    if !can_draw(TEST) {
        return;
    }
    let Some(data) = shared(TEST, "data/dicom") else { return };
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let answers = vec![data, out.clone()];
    let mut window = Window::in_folder(home, Settings::default(), answers, vec2(1280.0, 800.0), 1.0);
    window.palette("de-identify dicom");
    window.click("Folder…");
    window.until("the preview is there", |app| app.deid_rows().is_some());
    window.rest();
    keep(&mut window, "deid-real-preview");
    window.click("Choose: Output folder");
    window.click("De-identify");
    window.until("the run is over", |app| !app.is_deid_running());
    window.rest();
    keep(&mut window, "deid-real-outcome");
    window.harness.get_by_label_contains("with pixels that often show names");
    assert!(window.harness.query_by_label_contains("failed").is_none());
    assert!(written(&out).len() > 100);
}
