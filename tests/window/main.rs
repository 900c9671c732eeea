//! The window, driven as a user drives it: by the names of what is seen, with mouse, keys and dropped files, on a real
//! (software) graphics adapter.

mod deid;
#[path = "../../formats/tests/dicom_files/mod.rs"]
mod dicom_files;
mod driver;
mod graphics;
mod loading;
mod plain;
mod prompt;
mod recovery;
mod restore;
mod series;
mod states;
mod tools;

use std::time::Duration;

use app::document::Layout;
use app::settings::Settings;
use eframe::egui::{self, Key, Modifiers, PointerButton, pos2, vec2};
use egui_kittest::kittest::Queryable;
use formats::{Affine, FrameAxis, Grid, Scaling, Shared, Task, Volume, Voxels};
use insula_tests::{root, runtime, shared};

use driver::{Window, can_draw, sample, save, write};

#[test]
fn open_segment_edit_undo_save() {
    const TEST: &str = "open_segment_edit_undo_save";
    if !can_draw(TEST) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("result.nii.gz");
    let mut window =
        Window::in_folder(folder, Settings::default(), vec![saved.clone()], vec2(1280.0, 800.0), 1.0);
    window.open(&sample());
    for name in ["Axial slice", "Coronal slice", "Sagittal slice", "3-D view"] {
        assert!(window.pane(name).width() > 300.0, "{name}");
    }
    if runtime(TEST).is_none() {
        return;
    }
    window.until("packs are listed", |app| app.settings.pack.is_some());
    window.rest();
    window.click("Run Brain structures");
    window.until("the result is there", |app| app.document.scene.layers.len() == 2);
    window.rest();
    let labels = window.app().document.active_labels().unwrap();
    let count = |window: &Window| {
        let layer = window.app().document.scene.layer(labels).unwrap().labels().unwrap();
        layer.labels.iter().filter(|v| **v != 0).count()
    };
    let before = count(&window);
    assert!(before > 10_000, "{before} voxels are labelled");
    // The result agrees with the truth of the sample about what is brain.
    let truth = formats::open(&root().join("assets/sample/head_labels.nii.gz"), &Task::silent()).unwrap();
    let truth = truth.first().to_labels().unwrap();
    let layer = window.app().document.scene.layer(labels).unwrap().labels().unwrap();
    let both = layer.labels.iter().zip(truth.labels.iter()).filter(|(a, b)| **a != 0 && **b != 0).count();
    let dice = 2.0 * both as f64 / (before + truth.labels.iter().filter(|v| **v != 0).count()) as f64;
    assert!(dice > 0.8, "Dice of the whole brain {dice}");

    // Paint over the background beside the head.
    window.click("Tools");
    window.click("Brush");
    let pane = window.pane("Axial slice");
    let from = pane.left_top() + vec2(60.0, 60.0);
    window.drag(from, from + vec2(40.0, 30.0), PointerButton::Primary);
    let painted = count(&window);
    assert!(painted > before, "{painted} after painting, {before} before");
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(count(&window), before, "the whole stroke is undone at once");
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(count(&window), painted);

    window.key(Modifiers::COMMAND, Key::S);
    window.until("the file is there", |_| saved.is_file());
    window.rest();
    assert!(window.app().document.unsaved().is_empty());
    let read = formats::open(&saved, &Task::silent()).unwrap();
    let read = read.first().to_labels().unwrap();
    let layer = window.app().document.scene.layer(labels).unwrap().labels().unwrap();
    assert!(read.grid.is_same(&layer.grid, 1e-3));
    assert_eq!(read.labels, layer.labels);
}

#[test]
fn a_dropped_scan_goes_straight_to_its_segmentation() {
    const TEST: &str = "a_dropped_scan_goes_straight_to_its_segmentation";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let mut window = Window::new(Settings { segment_on_open: true, ..Settings::default() }, Vec::new());
    window.until("packs are listed", |app| app.settings.pack.is_some());
    window.drop_file(&sample());
    window.until("image and labels are there", |app| app.document.scene.layers.len() == 2);
    window.rest();
    let table = window.harness.query_all_by_label_contains("Show ").count();
    assert!(table > 10, "the label table lists structures ({table})");
}

/// A ball at the patient's right, anterior, superior corner of a dark cube, and where it must be seen.
#[test]
fn right_is_on_the_left_in_all_panes_for_all_axis_orders() {
    const TEST: &str = "right_is_on_the_left_in_all_panes_for_all_axis_orders";
    if !can_draw(TEST) {
        return;
    }
    let base = Grid {
        size_ijk: [48, 56, 40],
        world_from_voxel: Affine::scale_shift([2.0, 2.0, 2.0], [-47.0, -55.0, -39.0]),
    };
    let ball = [26.0, 32.0, 20.0];
    let orders = [
        ([0, 1, 2], [false; 3]),
        ([0, 1, 2], [true, true, false]), // LPS
        ([1, 2, 0], [true, false, true]),
        ([2, 0, 1], [false, true, true]),
    ];
    for (n, (source, reversed)) in orders.into_iter().enumerate() {
        let order = formats::AxisOrder { source, reversed };
        let mut window = Window::new(Settings::default(), Vec::new());
        let path = window.path("marker.nii.gz");
        write(&path, base.reordered(order), |p| {
            let away = formats::affine::norm([0, 1, 2].map(|a| p[a] - ball[a]));
            if away < 10.0 { 1000 } else { 0 }
        });
        window.open(&path);
        // The crosshair passes through the ball.
        window.app_mut().document.move_cursor(ball);
        window.key(Modifiers::NONE, Key::X); // without its lines
        window.until("the 3-D picture is there", |app| app.has_full_volume_picture());
        window.harness.run_steps(3);
        let picture = window.picture();
        // Bright pixels away from letters: their middle, from the middle of the pane.
        let middle = |window: &Window, name: &str| {
            let rect = window.pane(name).shrink(26.0);
            let (mut sum, mut count) = (vec2(0.0, 0.0), 0.0);
            for y in rect.top() as u32 + 20..rect.bottom() as u32 - 20 {
                for x in rect.left() as u32..rect.right() as u32 {
                    let p = picture.get_pixel(x, y).0;
                    // Grey or skin, not the blue ground of 3-D; the orientation cube is at the right edge.
                    if p[0] > 90 && f32::from(x as u16) < rect.right() - 60.0 {
                        sum += pos2(x as f32, y as f32) - rect.center();
                        count += 1.0;
                    }
                }
            }
            assert!(count > 50.0, "{name}, order {n}: {count} bright pixels");
            sum / count
        };
        for (name, left, up) in [
            ("Axial slice", true, true),    // right on the left, anterior up
            ("Coronal slice", true, true),  // right on the left, superior up
            ("Sagittal slice", true, true), // anterior on the left, superior up
            ("3-D view", true, true),       // from the front: right on the left
        ] {
            let at = middle(&window, name);
            assert_eq!(at.x < -5.0, left, "{name}, order {n}: {at:?}");
            assert_eq!(at.y < -5.0, up, "{name}, order {n}: {at:?}");
        }
    }
}

#[test]
fn series_have_frames_a_slider_and_keys() {
    if !can_draw("series_have_frames_a_slider_and_keys") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = window.path("series.nii.gz");
    let grid = Grid::unit([12, 12, 8]);
    let frames = (0..5).map(|t| Volume {
        voxels: Voxels::I16(Shared::from_elem((8, 12, 12), 100 * t)),
        grid,
        scaling: Scaling::NONE,
        meta: formats::Meta::default(),
    });
    let axis = FrameAxis { name: "time".to_owned(), len: 5, step: 2.0, unit: "s".to_owned() };
    save(&path, frames.collect(), vec![axis]);
    window.open(&path);
    let frame = |window: &Window| window.app().document.frames().unwrap().1;
    assert_eq!(frame(&window), 0);
    window.harness.get_by_label_contains("Time 1 of 5");
    window.harness.get_by_label("Values over frames at the cursor");
    window.key(Modifiers::NONE, Key::Period);
    assert_eq!(frame(&window), 1);
    window.key(Modifiers::NONE, Key::Comma);
    window.key(Modifiers::NONE, Key::Comma);
    assert_eq!(frame(&window), 4, "round the end");
    window.harness.get_by_label("Frame").set_value_accesskit(2.0);
    window.harness.run_steps(2);
    assert_eq!(frame(&window), 2);
    window.click("Play");
    window.until("frames run", |app| app.document.frames().unwrap().1 != 2);
}

#[test]
fn wheel_drags_and_keys_do_what_people_expect() {
    if !can_draw("wheel_drags_and_keys_do_what_people_expect") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    window.open(&sample());
    let cursor = |window: &Window| window.app().document.scene.cursor_ras;
    let pane = window.pane("Axial slice");
    let before = cursor(&window);

    // A click moves the crosshair in the plane, not through it.
    let at = pane.center() + vec2(-60.0, 30.0);
    window.drag(at, at, PointerButton::Primary);
    let after = cursor(&window);
    assert!(after[0] > before[0] + 5.0, "left in the picture is the patient's right: {before:?} {after:?}");
    assert!(after[1] < before[1] - 5.0, "down is posterior");
    assert!((after[2] - before[2]).abs() < 1e-6);

    // The wheel steps through slices, by the voxel.
    window.harness.event(egui::Event::PointerMoved(pane.center()));
    window.harness.step();
    window.harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: vec2(0.0, 2.0),
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers: Modifiers::NONE,
    });
    window.harness.run_steps(3);
    assert!((cursor(&window)[2] - after[2] - 3.0).abs() < 1e-6, "two slices of 1.5 mm");
    window.key(Modifiers::NONE, Key::PageDown);
    assert!((cursor(&window)[2] - after[2] - 1.5).abs() < 1e-6);

    // A right drag changes the window only.
    let look = |window: &Window| window.app().document.active_layer().unwrap().image().unwrap().window;
    let (old, at) = (look(&window), cursor(&window));
    window.drag(pane.center(), pane.center() + vec2(50.0, 0.0), PointerButton::Secondary);
    assert!(look(&window).width() > old.width() * 1.05);
    assert_eq!(cursor(&window), at);

    // A double click fills the window with the pane; keys and menus change layouts.
    window.key(Modifiers::NONE, Key::R);
    window.harness.event(egui::Event::PointerMoved(pane.center()));
    for pressed in [true, false, true, false] {
        window.harness.event(egui::Event::PointerButton {
            pos: pane.center(),
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        });
        window.harness.step();
    }
    window.harness.run_steps(3);
    assert!(window.pane("Axial slice").width() > pane.width() * 1.8);
    assert!(window.harness.query_by_label("3-D view").is_none());
    window.key(Modifiers::COMMAND, Key::Num4);
    assert_eq!(window.app().document.layout, Layout::Row);
    assert!(window.pane("Sagittal slice").left() > window.pane("Axial slice").right());

    // Switching sides swaps left and right.
    window.key(Modifiers::NONE, Key::F);
    let at = window.pane("Axial slice").center() + vec2(-60.0, 0.0);
    window.drag(at, at, PointerButton::Primary);
    assert!(cursor(&window)[0] < -5.0, "{:?}", cursor(&window));
}

#[test]
fn the_palette_finds_and_runs_commands() {
    if !can_draw("the_palette_finds_and_runs_commands") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    window.click("Try the sample");
    window.until("the sample is open", |app| !app.document.is_empty());
    window.rest();
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    window.harness.get_by_label("Command").type_text("outl");
    window.harness.run_steps(3);
    window.key(Modifiers::NONE, Key::Escape);
    assert!(window.harness.query_by_label("Command").is_none());
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    window.harness.get_by_label("Command").type_text("layout 3");
    window.harness.run_steps(3);
    window.key(Modifiers::NONE, Key::Enter);
    window.harness.run_steps(3);
    assert_eq!(window.app().document.layout, Layout::Row);
}

#[test]
fn a_bad_file_is_told_of_and_harms_nothing() {
    if !can_draw("a_bad_file_is_told_of_and_harms_nothing") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    window.open(&sample());
    let bad = window.path("bad.nii.gz");
    std::fs::write(&bad, b"not an image at all").unwrap();
    window.drop_file(&bad);
    for _ in 0..500 {
        window.harness.step();
        if !window.app().problems().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let problems = window.app().problems().to_vec();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].text.contains("bad.nii.gz"), "{problems:?}");
    assert_eq!(window.app().document.scene.layers.len(), 1);
    window.harness.run_steps(2);
    window.click("Dismiss");
    assert!(window.app().problems().is_empty());
}

#[test]
fn a_session_reopens_as_it_was() {
    if !can_draw("a_session_reopens_as_it_was") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("s.insula");
    let mut window =
        Window::in_folder(folder, Settings::default(), vec![session.clone()], vec2(1280.0, 800.0), 1.0);
    window.open(&sample());
    window.click("New labels");
    window.click("Brush");
    let pane = window.pane("Coronal slice");
    window.drag(pane.center(), pane.center() + vec2(30.0, 20.0), PointerButton::Primary);
    window.key(Modifiers::NONE, Key::Escape); // puts the brush down
    window.key(Modifiers::COMMAND, Key::Num2);
    window.app_mut().document.move_cursor([12.0, -20.0, 30.0]);
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    window.harness.get_by_label("Command").type_text("save session");
    window.harness.run_steps(3);
    window.key(Modifiers::NONE, Key::Enter);
    window.until("the session is written", |_| session.is_file());
    window.rest();
    let was = window.app().document.clone();
    let painted = was.scene.layers[1].labels().unwrap().labels.clone();
    assert!(painted.iter().any(|v| *v != 0));

    let mut again = Window::new(Settings::default(), Vec::new());
    again.drop_file(&session);
    again.until("the session is open", |app| app.document.scene.layers.len() == 2);
    again.rest();
    let now = &again.app().document;
    assert_eq!(now.scene.cursor_ras, was.scene.cursor_ras);
    assert_eq!(now.layout, was.layout);
    let names =
        |d: &app::document::Document| d.scene.layers.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(now), names(&was));
    assert_eq!(now.scene.layers[1].labels().unwrap().labels, painted);
    assert_eq!(now.scene.layers[0].image().unwrap().window, was.scene.layers[0].image().unwrap().window);
    assert_eq!(now.unsaved().len(), 1, "painted labels are in no file of their own yet");
}

#[test]
fn pictures_of_many_kinds_open() {
    const TEST: &str = "pictures_of_many_kinds_open";
    if !can_draw(TEST) {
        return;
    }
    let Some(data) = shared(TEST, "data/images") else { return };
    let mut window = Window::new(Settings::default(), Vec::new());
    let picture =
        std::fs::read_dir(data.join("set12")).unwrap().flatten().map(|e| e.path()).find(|p| p.is_file());
    window.open(&picture.unwrap());
    assert!(window.app().document.is_flat());
    assert!(window.pane("Axial slice").width() > 500.0, "one large pane");
}
