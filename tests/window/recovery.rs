//! Edits survive a crash of the program.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eframe::egui::{PointerButton, vec2};
use egui_kittest::kittest::Queryable;

use crate::driver::{Window, can_draw, sample};

/// Where the child of `edits_survive_kill_9` lives.
const CHILD_HOME: &str = "INSULA_TEST_CHILD_HOME";

/// Not a test by itself: run by `edits_survive_kill_9` in a process of its own, which is then killed.
#[test]
#[ignore = "run by edits_survive_kill_9"]
fn child_that_is_killed() {
    let Some(home) = std::env::var_os(CHILD_HOME).map(PathBuf::from) else { return };
    let mut window = Window::at_home(home.clone());
    window.open(&sample());
    window.click("New labels");
    window.click("Brush");
    let centre = window.pane("Axial slice").center();
    window.drag(centre, centre + vec2(40.0, 20.0), PointerButton::Primary);
    let labels = window.app().document.scene.layers[1].labels().unwrap();
    let painted = labels.labels.iter().filter(|v| **v != 0).count();
    std::fs::write(home.join("painted.tmp"), painted.to_string()).unwrap();
    std::fs::rename(home.join("painted.tmp"), home.join("painted")).unwrap();
    std::thread::sleep(Duration::from_secs(120));
}

#[test]
fn edits_survive_kill_9() {
    if !can_draw("edits_survive_kill_9") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "recovery::child_that_is_killed", "--ignored"])
        .env(CHILD_HOME, &home)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = home.join("painted");
    let begun = Instant::now();
    while !told.is_file() {
        assert!(
            begun.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none(),
            "no child"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2)); // what two seconds may lose is not asked for
    child.kill().unwrap();
    child.wait().unwrap();

    let painted: usize = std::fs::read_to_string(&told).unwrap().parse().unwrap();
    assert!(painted > 100, "{painted}");
    let mut window = Window::at_home(home.clone());
    window.rest();
    window.harness.get_by_label("Unsaved edits were found");
    window.click("Recover");
    window.until("image and labels are there", |app| app.document.scene.layers.len() == 2);
    window.rest();
    let labels = window.app().document.scene.layers[1].labels().unwrap();
    assert_eq!(labels.labels.iter().filter(|v| **v != 0).count(), painted);
    assert!(labels.grid.is_same(window.app().document.scene.layers[0].grid(), 1e-3));
    assert_eq!(window.app().document.unsaved().len(), 1);
}
