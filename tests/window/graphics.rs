//! A graphics device that is lost takes nothing with it.

use app::gui::graphics::Restart;
use app::settings::Settings;
use eframe::egui::{Key, Modifiers, PointerButton, vec2};
use egui_kittest::kittest::Queryable;

use crate::driver::{Window, can_draw, sample};

fn labelled(window: &Window) -> usize {
    let labels = window.app().document.scene.layers[1].labels().unwrap();
    labels.labels.iter().filter(|v| **v != 0).count()
}

#[test]
fn layers_edits_and_undo_survive_a_lost_device() {
    if !can_draw("layers_edits_and_undo_survive_a_lost_device") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    window.open(&sample());
    window.click("New labels");
    window.click("Brush");
    let centre = window.pane("Axial slice").center();
    window.drag(centre, centre + vec2(50.0, 10.0), PointerButton::Primary);
    let once = labelled(&window);
    window.drag(centre + vec2(0.0, 50.0), centre + vec2(50.0, 60.0), PointerButton::Primary);
    let twice = labelled(&window);
    assert!(once > 50 && twice > once, "{once} {twice}");
    window.key(Modifiers::COMMAND, Key::Num2);
    window.app_mut().document.move_cursor([10.0, -12.0, 20.0]);
    window.harness.run_steps(3);
    let was = window.app().document.clone();
    let view = window.app().volume_view().clone();

    window.app().lose_graphics();
    window.harness.run_steps(3);
    assert!(matches!(window.app().restart(), Some(Restart::Lost(_))), "{:?}", window.app().restart());
    assert!(window.app().document.unsaved().len() == 1, "there is something to lose");

    let mut window = window.reopen();
    assert_eq!(window.app().restart(), None, "the new device is sound");
    window.harness.run_steps(3);
    let told = window.app().problems().to_vec();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].title, "The graphics were restarted");
    window.click("Dismiss");
    window.rest();
    let now = &window.app().document;
    assert_eq!(now.scene.cursor_ras, was.scene.cursor_ras);
    assert_eq!(now.layout, was.layout);
    assert_eq!(*window.app().volume_view(), view);
    assert_eq!(now.unsaved().len(), 1);
    assert_eq!(labelled(&window), twice);

    // Pictures come again, and with them the labels in their colour.
    window.until("the 3-D picture is there", |app| app.has_full_volume_picture());
    let picture = window.picture();
    let pane = window.pane("Axial slice");
    let coloured = picture
        .enumerate_pixels()
        .filter(|(x, y, p)| {
            let [r, g, b, _] = p.0;
            let is_inside = pane.shrink(30.0).contains(eframe::egui::pos2(*x as f32, *y as f32));
            is_inside && r.abs_diff(g).max(g.abs_diff(b)) > 40
        })
        .count();
    assert!(coloured > 100, "{coloured} coloured pixels in the slice");

    // Undo goes on where it was, and so does the brush.
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(labelled(&window), once);
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(labelled(&window), 0);
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(labelled(&window), once);
    let pane = window.pane("Axial slice").center();
    window.drag(pane + vec2(-60.0, -50.0), pane + vec2(-20.0, -50.0), PointerButton::Primary);
    assert!(labelled(&window) > once);
}

#[test]
fn graphics_are_restarted_by_command_while_work_is_under_way() {
    if !can_draw("graphics_are_restarted_by_command_while_work_is_under_way") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    // Still being read when the window goes.
    window.drop_file(&sample());
    window.palette("restart graphics");
    assert_eq!(window.app().restart(), Some(Restart::Wanted));
    let mut window = window.reopen();
    window.until("the file is open", |app| app.document.scene.layers.len() == 1);
    window.rest();
    window.harness.get_by_label("The graphics were restarted; everything is as it was");
    assert!(window.app().problems().is_empty());
}
