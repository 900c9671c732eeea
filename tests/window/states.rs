//! The states that people see, at the sizes, scales and themes we promise: nothing may overlap its neighbour or leave the
//! window. The pictures are left in the folder that `INSULA_SCREENSHOTS` names, for people to look at.

use std::path::{Path, PathBuf};

use app::commands::Command;
use app::document::{Layout, MainPane, Pane};
use app::settings::{Settings, Theme};
use eframe::egui::{self, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::kittest::Queryable;
use insula_tests::{root, shared};

use crate::driver::{Window, can_draw, sample};

/// Where pictures go, when somebody wants them.
fn gallery() -> Option<PathBuf> {
    std::env::var_os("INSULA_SCREENSHOTS").map(PathBuf::from)
}

pub fn window(size: egui::Vec2, scale: f32, theme: Theme) -> Window {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { theme, ..Settings::default() };
    let mut window = Window::in_folder(folder, settings, Vec::new(), size, scale);
    window.until("packs are listed", |app| app.settings.pack.is_some());
    window.rest();
    // The harness has a theme of its own.
    let is_dark = window.harness.ctx.global_style().visuals.dark_mode;
    if is_dark != (theme == Theme::Dark) {
        window.palette("dark/light");
    }
    window
}

/// Keeps a picture, and checks that what must always be in reach is.
#[track_caller]
pub fn keep(window: &mut Window, size: egui::Vec2, name: &str) {
    window.harness.run_steps(2);
    if let Some(folder) = gallery() {
        window.picture().save(folder.join(format!("{name}.png"))).unwrap();
    }
    let screen = egui::Rect::from_min_size(Pos2::ZERO, size).expand(1.0);
    for label in ["File", "Edit", "View", "Models", "Help"] {
        let found = window.harness.get_all_by_label(label).next().unwrap().rect();
        assert!(screen.contains_rect(found), "{name}: {label} at {found:?}");
    }
    let names = ["Axial slice", "Coronal slice", "Sagittal slice", "3-D view"];
    let panes: Vec<egui::Rect> =
        names.iter().filter_map(|n| window.harness.query_by_label(n)).map(|n| n.rect()).collect();
    for (n, a) in panes.iter().enumerate() {
        assert!(screen.contains_rect(*a) && a.width() > 60.0 && a.height() > 60.0, "{name}: {a:?}");
        for b in &panes[n + 1..] {
            assert!(!a.shrink(1.0).intersects(b.shrink(1.0)), "{name}: {a:?} {b:?}");
        }
    }
}

#[track_caller]
fn whole_picture(window: &mut Window) {
    window.until("the 3-D picture is there", |app| app.has_full_volume_picture());
    window.rest();
}

fn labels() -> PathBuf {
    root().join("assets/sample/head_labels.nii.gz")
}

#[test]
fn main_states_fit_the_window() {
    if !can_draw("main_states_fit_the_window") {
        return;
    }
    let size = vec2(1280.0, 800.0);
    let mut window = window(size, 1.0, Theme::Dark);
    keep(&mut window, size, "welcome");
    window.open(&sample());
    whole_picture(&mut window);
    keep(&mut window, size, "image");
    window.open(&labels());
    whole_picture(&mut window);
    keep(&mut window, size, "labels");
    window.click("Tools");
    window.click("Brush");
    let pane = window.pane("Axial slice").center();
    window.drag(pane + vec2(40.0, 60.0), pane + vec2(70.0, 90.0), PointerButton::Primary);
    whole_picture(&mut window);
    keep(&mut window, size, "edit");
    window.click("3-D");
    keep(&mut window, size, "volume");
    window.harness.get_all_by_label("Models").last().unwrap().click();
    window.harness.run_steps(3);
    window.rest();
    keep(&mut window, size, "models");
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    keep(&mut window, size, "palette");
    window.key(Modifiers::NONE, Key::Escape);
    window.key(Modifiers::NONE, Key::F1);
    keep(&mut window, size, "about");
    window.click("Close");
    window.key(Modifiers::COMMAND, Key::Comma);
    keep(&mut window, size, "settings");
    window.click("Close");
    let bad = window.path("broken.nii.gz");
    std::fs::write(&bad, [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
    window.drop_file(&bad);
    for _ in 0..1000 {
        window.harness.step();
        if !window.app().problems().is_empty() && !window.app().is_busy() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    keep(&mut window, size, "error");
    window.click("Dismiss");
    window.click("File");
    keep(&mut window, size, "menu");
}

#[test]
fn states_fit_at_every_scale_size_and_theme() {
    if !can_draw("states_fit_at_every_scale_size_and_theme") {
        return;
    }
    for (size, scale, theme, name) in [
        (vec2(720.0, 480.0), 1.0, Theme::Dark, "small"),
        (vec2(960.0, 600.0), 2.0, Theme::Dark, "2x"),
        (vec2(1024.0, 640.0), 3.0, Theme::Dark, "3x"),
        (vec2(1280.0, 800.0), 1.0, Theme::Light, "light"),
    ] {
        let mut window = window(size, scale, theme);
        keep(&mut window, size, &format!("{name}-welcome"));
        window.open(&sample());
        window.open(&labels());
        // Pictures of 3-D take long at these scales, and are no different.
        if gallery().is_some() {
            whole_picture(&mut window);
        }
        keep(&mut window, size, &format!("{name}-labels"));
        window.click("Tools");
        window.click("Brush");
        keep(&mut window, size, &format!("{name}-edit"));
        window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
        keep(&mut window, size, &format!("{name}-palette"));
        window.key(Modifiers::NONE, Key::Escape);
        window.key(Modifiers::NONE, Key::F1);
        keep(&mut window, size, &format!("{name}-about"));
        window.click("Close");
        let ctx = window.harness.ctx.clone();
        window.app_mut().perform(&ctx, Command::SetLayout(Layout::OneLarge));
        window.app_mut().document.main = MainPane(Pane::Volume);
        keep(&mut window, size, &format!("{name}-one-large"));
    }
}

#[test]
fn real_scans_look_right() {
    const TEST: &str = "real_scans_look_right";
    if !can_draw(TEST) {
        return;
    }
    let size = vec2(1280.0, 800.0);
    let open = |files: &[&str], name: &str, then: &dyn Fn(&mut Window)| {
        let mut paths = files.iter().map(|f| shared(TEST, &format!("data/nifti/{f}")));
        let Some(paths) = paths.by_ref().collect::<Option<Vec<PathBuf>>>() else { return };
        let mut window = window(size, 1.0, Theme::Dark);
        for path in &paths {
            window.open(Path::new(path));
        }
        then(&mut window);
        whole_picture(&mut window);
        keep(&mut window, size, name);
    };
    open(&["ct/ct_abdomen_3mm.nii.gz", "ct/ct_abdomen_3mm_totalseg.nii.gz"], "ct", &|window| {
        assert!(window.app().document.scene.layers[1].labels().unwrap().table.entries.len() <= 117);
    });
    open(&["4d/pcasl_int16.nii.gz"], "series", &|window| {
        window.harness.get_by_label("Values over frames at the cursor");
    });
    open(&["brain/t1_crop.nii.gz"], "t1", &|_| {});
    open(&["oblique/ct_rotated_gantry.nii.gz"], "oblique", &|_| {});
    open(&["odd/ct_perfusion_rgb.nii.gz"], "rgb", &|window| {
        window.harness.get_by_label("Colours are shown as they are.");
    });
}

/// Not a check: makes the pictures of the README from our own sample, with the bundled pack.
#[test]
#[ignore = "run by hand with INSULA_SCREENSHOTS, to renew assets/sample/window*.png"]
fn pictures_of_the_readme() {
    let size = vec2(1280.0, 800.0);
    let mut window = window(size, 1.0, Theme::Dark);
    window.open(&sample());
    window.click("Run Brain structures");
    window.until("the result is there", |app| app.document.scene.layers.len() == 2);
    whole_picture(&mut window);
    keep(&mut window, size, "window");
    window.click("Tools");
    window.click("Brush");
    let pane = window.pane("Axial slice").center();
    window.drag(pane + vec2(-60.0, 130.0), pane + vec2(-30.0, 90.0), PointerButton::Primary);
    whole_picture(&mut window);
    keep(&mut window, size, "window_edit");
}
