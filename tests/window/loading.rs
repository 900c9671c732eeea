//! Large files show a slice while the rest is read.

use app::settings::Settings;
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use formats::{Affine, Grid};

use crate::driver::{Window, can_draw, write};

/// 70 MB of voxels.
fn large(window: &Window) -> std::path::PathBuf {
    let grid = Grid {
        size_ijk: [320, 330, 340],
        world_from_voxel: Affine::scale_shift([0.6, 0.6, 0.5], [-96.0, -108.0, -100.0]),
    };
    // Compressed, so that reading it takes a while.
    let path = window.path("large.nii.gz");
    write(&path, grid, |p| {
        let [x, y, z] = p.map(|v| v as i64);
        if x * x + y * y + z * z < 6400 {
            500 + ((x * 7919 + y * 104_729 + z * 1_299_709) % 211) as i16
        } else {
            0
        }
    });
    path
}

#[test]
fn a_slice_is_shown_before_the_rest_and_the_view_stays() {
    if !can_draw("a_slice_is_shown_before_the_rest_and_the_view_stays") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = large(&window);
    window.drop_file(&path);
    window.until("a slice is there", |app| app.document.scene.layers.len() == 1);
    let id = window.app().document.scene.layers[0].id;
    assert!(window.app().document.is_preview(id), "the whole came first");
    assert_eq!(window.app().document.scene.layers[0].grid().size_ijk, [320, 330, 1]);
    assert!(!window.app().document.is_flat(), "it is no picture");
    window.harness.get_by_label("loading…");
    let middle = window.app().document.scene.cursor_ras;
    assert!((middle[2] - (170.0 * 0.5 - 100.0)).abs() < 1e-3, "{middle:?}");

    // What is not there yet cannot be edited or saved.
    window.key(Modifiers::COMMAND, Key::S);
    window.click("New labels");
    assert_eq!(window.app().document.scene.layers.len(), 1);
    // The user looks elsewhere, in other colours, meanwhile.
    window.app_mut().document.move_cursor([20.0, -30.0, middle[2]]);
    let cursor = window.app().document.scene.cursor_ras;
    window.app_mut().document.active_layer_mut().unwrap().opacity = 0.75;
    window.until("the whole is there", |app| !app.document.is_preview(id));
    window.rest();
    let document = &window.app().document;
    assert_eq!(document.scene.layers.len(), 1);
    let layer = document.scene.layer(id).expect("the same layer");
    assert_eq!(layer.grid().size_ijk, [320, 330, 340]);
    assert_eq!(layer.opacity, 0.75);
    assert_eq!(document.scene.cursor_ras, cursor);
    window.click("New labels");
    assert_eq!(window.app().document.scene.layers.len(), 2);
}

#[test]
fn cancelling_takes_the_slice_away() {
    if !can_draw("cancelling_takes_the_slice_away") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = large(&window);
    window.drop_file(&path);
    window.until("a slice is there", |app| app.document.scene.layers.len() == 1);
    assert!(window.app().document.is_preview(window.app().document.scene.layers[0].id));
    window.key(Modifiers::NONE, Key::Escape);
    window.until("nothing is under way", |app| !app.is_busy());
    window.harness.run_steps(2);
    assert!(window.app().document.is_empty());
    assert!(window.app().problems().is_empty());
}
