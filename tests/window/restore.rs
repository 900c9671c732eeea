//! The restore page, by the names of what is seen.

use app::settings::Settings;
use eframe::egui::{self, Key, Modifiers, PointerButton, vec2};
use egui_kittest::kittest::Queryable;
use formats::{Affine, FrameAxis, Grid, Shared, Volume, Voxels};
use insula_tests::{runtime, tiny_restorer};
use viewer::{Plane, SliceView};

use crate::driver::{Window, can_draw, save};
use crate::states::keep;

/// Of the window.
const SIZE: egui::Vec2 = vec2(1280.0, 800.0);

/// Values of the image of a layer.
fn values(window: &Window, layer: usize) -> formats::Shared<f32> {
    window.app().document.scene.layers[layer].image().expect("an image").volume().to_f32()
}

/// A window with the tiny restorer and a scan of a noisy ball, which shrinks from frame to frame, at its restore page.
fn with_scan(size: egui::Vec2, scale: f32, frames: usize) -> (Window, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("packs")).unwrap();
    let _ = tiny_restorer(&home.path().join("packs"));
    for left_over in ["restorer.safetensors", "restorer.toml"] {
        std::fs::remove_file(home.path().join("packs").join(left_over)).unwrap();
    }
    let (folder, settings) = (tempfile::tempdir().unwrap(), Settings::default());
    let mut window = Window::with(folder, home.path().to_owned(), settings, Vec::new(), size, scale);
    let scan = window.path("ball.nii.gz");
    let grid = Grid {
        size_ijk: [60, 70, 20],
        world_from_voxel: Affine::scale_shift([1.5, 1.5, 3.0], [-44.0, -52.0, -28.0]),
    };
    let value = |p: [f64; 3], frame: usize| {
        let r = p.iter().map(|v| v * v).sum::<f64>().sqrt() + 3.0 * frame as f64;
        let grain = ((p[0] * 13.0 + p[1] * 29.0 + p[2] * 7.0) as i64).rem_euclid(37) as i16;
        if r < 30.0 { 700 + 4 * grain } else { 20 + grain }
    };
    let [nk, nj, ni] = grid.shape_kji();
    let volume = |frame: usize| {
        let at = |(k, j, i)| value(grid.world_from_voxel.apply([i as f64, j as f64, k as f64]), frame);
        Volume::new(Voxels::I16(Shared::from_shape_fn((nk, nj, ni), at)), grid).unwrap()
    };
    let axes = if frames > 1 { vec![time(frames)] } else { Vec::new() };
    save(&scan, (0..frames).map(volume).collect(), axes);
    window.open(&scan);
    window.click("Restore");
    window.until("the pack is listed", |app| app.settings.pack.is_some());
    window.rest();
    (window, home)
}

fn time(len: usize) -> FrameAxis {
    FrameAxis { name: "time".to_owned(), len, step: 2.0, unit: "s".to_owned() }
}

/// A pane as it is drawn, with a margin of points left out, and the pixels per point.
fn pane_picture(window: &mut Window, name: &str, margin: f32) -> image::RgbaImage {
    window.harness.run_steps(3);
    let rect = window.pane(name).shrink(margin);
    let scale = window.harness.ctx.pixels_per_point();
    let picture = window.picture();
    let [x, y, w, h] = [rect.left(), rect.top(), rect.width(), rect.height()].map(|v| (v * scale) as u32);
    image::imageops::crop_imm(&picture, x, y, w, h).to_image()
}

const DIVIDER: &str = "Axial divider: original on the left, restored on the right";

#[test]
fn before_and_after_on_either_side_of_a_line_in_the_panes() {
    const TEST: &str = "before_and_after_on_either_side_of_a_line_in_the_panes";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    for (size, scale) in [(SIZE, 1.0), (vec2(900.0, 560.0), 2.0)] {
        let (mut window, _home) = with_scan(size, scale, 1);
        window.click("Restore image");
        window.until("the result is there", |app| app.document.scene.layers.len() == 2);
        window.rest();
        assert!(window.harness.query_by_label(DIVIDER).is_none(), "off until asked for");
        // Pictures in 3-D take long, and are no different.
        if scale > 1.0 {
            window.key(Modifiers::COMMAND, Key::Num3);
        }
        // Nothing may be drawn over what is compared; at the larger scale the view is zoomed in.
        window.key(Modifiers::NONE, Key::X);
        if scale > 1.0 {
            let view = SliceView { plane: Plane::Axial, centre_ras: [5.0, 9.0, 0.5], mm_per_px: 0.11 };
            window.app_mut().document.views[0] = Some(view);
        }
        let margin = 60.0;
        let after = pane_picture(&mut window, "Axial slice", margin);
        window.key(Modifiers::NONE, Key::G);
        let before = pane_picture(&mut window, "Axial slice", margin);
        window.key(Modifiers::NONE, Key::G);
        window.palette("before and after");
        let pane = window.pane("Axial slice");
        let at = |window: &Window| window.pane(DIVIDER).center().x;
        assert!((at(&window) - pane.center().x).abs() < 1.0, "in the middle at first");

        let to = pane.center() + vec2(-40.0, 0.0);
        window.drag(pane.center(), to, PointerButton::Primary);
        assert!((at(&window) - to.x).abs() < 1.5, "the handle follows: {} and {}", at(&window), to.x);
        let split = pane_picture(&mut window, "Axial slice", margin);
        let line = ((at(&window) - pane.left() - margin) * scale) as i64;
        let (mut seen, mut differ) = ([0, 0], 0);
        for (x, y, found) in split.enumerate_pixels() {
            // The line, its handle and the pointer; the words beside it lie in the margin.
            if (i64::from(x) - line).abs() < (32.0 * scale) as i64 {
                continue;
            }
            let is_right = i64::from(x) > line;
            let expected = if is_right { &after } else { &before };
            let off = |p: &image::Rgba<u8>| (0..3).map(|c| p[c].abs_diff(found[c])).max();
            assert!(off(expected.get_pixel(x, y)) <= Some(1), "{scale}: {x}, {y}, line at {line}");
            seen[usize::from(is_right)] += 1;
            differ += usize::from(before.get_pixel(x, y) != after.get_pixel(x, y));
        }
        assert!(seen.iter().all(|n| *n > 1000) && differ > 1000, "{seen:?} {differ}");
        keep(&mut window, size, &format!("restore_split_{scale}x"));

        // By the keys, and by the slider of the page; arrows then move no slices.
        let cursor = window.app().document.scene.cursor_ras;
        window.harness.get_by_label(DIVIDER).focus();
        window.harness.run_steps(2);
        window.key(Modifiers::NONE, Key::ArrowRight);
        window.key(Modifiers::SHIFT, Key::ArrowRight);
        let moved = (at(&window) - to.x) / pane.width();
        assert!((moved - 0.12).abs() < 0.01, "{moved}");
        assert_eq!(window.app().document.scene.cursor_ras, cursor);
        window.key(Modifiers::NONE, Key::Home);
        assert!((at(&window) - pane.left()).abs() < 12.0);
        assert!(window.harness.query_by_label("Divider in the panes").is_some());

        window.click("Before and after in the panes");
        assert!(window.harness.query_by_label(DIVIDER).is_none());
        assert!(pane_picture(&mut window, "Axial slice", margin) == after, "as it was");
    }
}

#[test]
fn all_frames_of_a_series_are_restored_and_shown_together() {
    const TEST: &str = "all_frames_of_a_series_are_restored_and_shown_together";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let (mut window, _home) = with_scan(vec2(900.0, 560.0), 1.0, 3);
    window.key(Modifiers::NONE, Key::Period);
    window.click("Restore image");
    window.until("the result is there", |app| app.document.scene.layers.len() == 2);
    window.rest();
    let frame =
        |window: &Window, layer: usize| window.app().document.scene.layers[layer].image().unwrap().frame;
    assert_eq!((frame(&window, 0), frame(&window, 1)), (1, 1), "the frame that is looked at");
    for n in 0..3 {
        window.key(Modifiers::NONE, Key::Period);
        assert_eq!(frame(&window, 0), frame(&window, 1));
        let (before, after) = (values(&window, 0), values(&window, 1));
        assert!(before.iter().zip(&after).filter(|(b, a)| b != a).count() > before.len() / 4, "{n}");
        let mean = |a: &Shared<f32>| a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean(&before) - mean(&after)).abs() < 0.05 * mean(&before), "each is restored from its own");
    }
    let restored = window.app().document.scene.layers[1].image().unwrap();
    assert_eq!(restored.image.frame_axes, [time(3)]);
    assert_eq!(window.app().document.facts(window.app().document.active.unwrap())["restored"], "denoising");
}

#[test]
fn preview_restore_undo_and_the_warning_on_measurements() {
    const TEST: &str = "preview_restore_undo_and_the_warning_on_measurements";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let (mut window, _home) = with_scan(SIZE, 1.0, 1);
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
