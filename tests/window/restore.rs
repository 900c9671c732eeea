//! The restore page, by the names of what is seen.

use eframe::egui::{self, Key, Modifiers, PointerButton, vec2};
use egui_kittest::kittest::Queryable;
use formats::{Affine, Grid};
use insula_tests::{runtime, tiny_restorer};

use crate::driver::{Window, can_draw, write};
use crate::states::keep;

/// Of the window.
const SIZE: egui::Vec2 = vec2(1280.0, 800.0);

/// Values of the image of a layer.
fn values(window: &Window, layer: usize) -> formats::Shared<f32> {
    window.app().document.scene.layers[layer].image().expect("an image").volume().to_f32()
}

#[test]
fn preview_restore_undo_and_the_warning_on_measurements() {
    const TEST: &str = "preview_restore_undo_and_the_warning_on_measurements";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("packs")).unwrap();
    let _ = tiny_restorer(&home.path().join("packs"));
    for left_over in ["restorer.safetensors", "restorer.toml"] {
        std::fs::remove_file(home.path().join("packs").join(left_over)).unwrap();
    }
    let mut window = Window::at_home(home.path().to_owned());
    let scan = window.path("ball.nii.gz");
    let grid = Grid {
        size_ijk: [60, 70, 20],
        world_from_voxel: Affine::scale_shift([1.5, 1.5, 3.0], [-44.0, -52.0, -28.0]),
    };
    write(&scan, grid, |p| {
        let r = p.iter().map(|v| v * v).sum::<f64>().sqrt();
        let grain = ((p[0] * 13.0 + p[1] * 29.0 + p[2] * 7.0) as i64).rem_euclid(37) as i16;
        if r < 30.0 { 700 + 4 * grain } else { 20 + grain }
    });
    window.open(&scan);
    window.click("Restore");
    window.until("the pack is listed", |app| app.settings.pack.is_some());
    window.rest();
    assert!(window.harness.query_by_label("Restoring pack").is_some());

    window.click("Preview");
    window.until("the preview is there", |app| app.has_restore_preview());
    window.rest();
    let before_after = "Preview: before on the left, after on the right";
    let picture = window.pane(before_after);
    assert!(picture.width() > 200.0);
    window.drag(picture.center(), picture.center() + vec2(-60.0, 0.0), PointerButton::Primary);
    keep(&mut window, SIZE, "restore_preview");
    window.click("Difference");
    assert!(window.harness.query_by_label("Preview of the difference").is_some());
    keep(&mut window, SIZE, "restore_difference");

    window.click("Restore image");
    window.until("the result is there", |app| app.document.scene.layers.len() == 2);
    window.rest();
    let restored = &window.app().document.scene.layers[1];
    assert!(restored.name.ends_with("restored: not for measurement"), "{}", restored.name);
    let id = restored.id;
    assert_eq!(window.app().document.active, Some(id));
    assert_eq!(restored.grid(), window.app().document.scene.layers[0].grid());
    let facts = window.app().document.facts(id);
    for key in ["restored", "restored-strength", "restored-slices", "pack", "pack-sha256", "provider"] {
        assert!(facts.contains_key(key), "{key} in {facts:?}");
    }
    let (before, after) = (values(&window, 0), values(&window, 1));
    assert!(before.iter().zip(&after).filter(|(b, a)| b != a).count() > before.len() / 4);
    keep(&mut window, SIZE, "restore_result");

    // What is measured on it says so.
    window.click("Tools");
    assert!(
        window.harness.query_by_label_contains("The active image is restored, not for measurement").is_some()
    );
    window.click("Rectangle");
    let pane = window.pane("Axial slice");
    window.drag(pane.center(), pane.center() + vec2(50.0, 40.0), PointerButton::Primary);
    let told = window.harness.query_all_by_label_contains("voxels, restored: not for measurement").count();
    assert_eq!(told, 1, "the measurement carries the warning");

    // Undone, done again.
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(window.app().document.scene.layers.len(), 1);
    assert!(
        window.harness.query_by_label_contains("The active image is restored, not for measurement").is_none()
    );
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(window.app().document.scene.layers.len(), 2);
    assert_eq!(window.app().document.active, Some(id));
    assert_eq!(values(&window, 1), after);
}
