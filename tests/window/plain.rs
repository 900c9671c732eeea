//! Networks that somebody else exported: the form, the table of classes, boxes on the slices.

use eframe::egui::accesskit::Role;
use eframe::egui::{Key, Modifiers, Vec2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use formats::{Affine, Grid};
use insula_tests::{nets, runtime};

use crate::driver::{Window, can_draw, write};
use crate::states::keep;

const SIZE: Vec2 = vec2(1280.0, 800.0);

/// Answers a question of the form.
#[track_caller]
fn answer(window: &mut Window, question: &str, text: &str) {
    let field = window.harness.get_by_role_and_label(Role::TextInput, question);
    field.focus();
    field.type_text(text);
    window.harness.run_steps(2);
    window.key(Modifiers::NONE, Key::Tab);
    window.rest();
}

#[test]
fn a_dropped_network_asks_runs_and_shows_what_it_found() {
    const TEST: &str = "a_dropped_network_asks_runs_and_shows_what_it_found";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut window = Window::at_home(home.path().to_owned());
    let scan = window.path("ball.nii.gz");
    let grid = Grid {
        size_ijk: [60, 60, 12],
        world_from_voxel: Affine::scale_shift([2.0, 2.0, 4.0], [-59.0, -59.0, -22.0]),
    };
    write(&scan, grid, |p| {
        let r = ((p[0] - 14.0).powi(2) + (p[1] - 10.0).powi(2) + p[2].powi(2)).sqrt();
        if r < 16.0 { 1000 } else { (100.0 + p[0]) as i16 }
    });
    window.open(&scan);
    window.until("packs are listed", |app| app.settings.pack.is_some());

    // A detector that says of six columns only: the form asks for four things.
    let detector = window.path("finder.onnx");
    nets::write(&detector, nets::constant_detector(60, &[[10.0, 18.0, 30.0, 38.0, 0.9, 1.0]]), &[]);
    window.drop_file(&detector);
    window.rest();
    window.harness.run_steps(3);
    assert!(window.harness.query_by_label("Bring your own network").is_some());
    assert!(window.harness.query_by_label("4 questions open").is_some());
    assert!(window.harness.get_by_label("Import").accesskit_node().is_disabled());
    keep(&mut window, SIZE, "network_form");
    answer(&mut window, "Axes grow towards", "SXL");
    assert!(window.harness.query_by_label_contains("“SXL” names no directions").is_some());
    keep(&mut window, SIZE, "network_form_wrong");
    let field = window.harness.get_by_role_and_label(Role::TextInput, "Axes grow towards");
    field.focus();
    window.key(Modifiers::COMMAND, Key::A);
    answer(&mut window, "Axes grow towards", "SPL");
    answer(&mut window, "Values", "range:0,1000");
    answer(&mut window, "Classes", "cyst, lesion");
    answer(&mut window, "Boxes written as", "rows");
    window.harness.run_steps(2);
    assert!(window.harness.query_by_label_contains("question").is_none());
    keep(&mut window, SIZE, "network_form_ready");
    window.click("Import");
    window.until("the pack is there", |app| app.settings.pack.as_deref() == Some("finder"));
    window.rest();
    window.palette("Segment");
    window.until("the answer is there", |app| app.findings().is_some());
    window.rest();
    // Only slices through the ball are bright enough for its score.
    assert!(window.harness.query_all_by_label_contains("lesion  90 %").count() >= 3);
    let cursor = window.app().document.scene.cursor_ras;
    // Columns 10 to 30 of 60 of 2 mm, counted from the right; rows 18 to 38 from the front: the middle of the box.
    assert!((cursor[0] - 20.0).abs() < 1.1 && (cursor[1] - 4.0).abs() < 1.1, "{cursor:?}");
    keep(&mut window, SIZE, "network_boxes");

    // A classifier, of which the file says all but how values are prepared and slices fitted.
    let classifier = window.path("kinds.onnx");
    nets::write(&classifier, nets::brightness_classifier(30), &[("names", "{0: 'bright'}")]);
    window.drop_file(&classifier);
    window.rest();
    answer(&mut window, "Axes grow towards", "SPL");
    answer(&mut window, "Values", "linear:300,100");
    answer(&mut window, "Fitted by", "stretch");
    window.click("Import");
    window.until("the pack is there", |app| app.settings.pack.as_deref() == Some("kinds"));
    window.rest();
    window.palette("Segment");
    window.until("the answer is there", |app| app.findings().is_some_and(|f| f.pack == "kinds"));
    window.rest();
    assert!(window.harness.query_by_label("bright").is_some());
    assert!(window.harness.query_by_label("mean of slices").is_some());
    keep(&mut window, SIZE, "network_classes");
    window.click("Clear");
    assert!(window.app().findings().is_none());
}
