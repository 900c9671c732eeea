//! A folder of DICOM series dropped on the window: listed, chosen, opened; results saved as DICOM.

use app::settings::Settings;
use egui_kittest::kittest::Queryable;

use crate::dicom_files::{Slice, folder, tag};
use crate::driver::{Window, can_draw};

/// Two series of one study; the slices of each lie in shuffled files.
fn study() -> tempfile::TempDir {
    let slice = |n: usize| {
        let (uid, description, place) =
            if n < 5 { ("1.2.3.4.1", "Thick slices", n) } else { ("1.2.3.4.2", "Thin slices", n - 5) };
        let slice = Slice {
            position: [-7.0, 12.5, -40.0 + 2.5 * place as f64],
            number: n as i64 + 1,
            pixels: (0..12).map(|p| 100 * n as i16 + p).collect(),
            ..Slice::default()
        };
        slice
            .text(tag(0x0020, 0x000e), uid)
            .text(tag(0x0008, 0x103e), description)
            .text(tag(0x0010, 0x0010), "Doe^Jane")
    };
    folder(&(0..8).map(slice).collect::<Vec<_>>())
}

#[test]
fn series_are_listed_and_the_chosen_one_is_opened_and_segmentations_saved_as_dicom() {
    if !can_draw("series_are_listed_and_the_chosen_one_is_opened_and_segmentations_saved_as_dicom") {
        return;
    }
    let data = study();
    let mut window = Window::new(Settings::default(), Vec::new());
    window.drop_file(data.path());
    window.until("the list is there", |app| app.has_series_list());
    window.rest();
    window.harness.get_by_label("Doe, Jane");
    assert!(window.app().document.is_empty(), "nothing is opened unasked");
    window.click("Thin slices");
    window.click("Open");
    window.until("the series is open", |app| app.document.scene.layers.len() == 1 && !app.is_busy());
    window.rest();
    assert!(!window.app().has_series_list());
    let layer = &window.app().document.scene.layers[0];
    assert_eq!(layer.grid().size_ijk, [4, 3, 3]);
    let place = layer.grid().world_from_voxel.apply([0.0; 3]);
    assert!((0..3).all(|a| (place[a] - [7.0, -12.5, -40.0][a]).abs() < 1e-6), "{place:?}");
    assert!(window.app().problems().is_empty(), "{:?}", window.app().problems());

    // One slice stands for its series.
    let mut window = Window::new(Settings::default(), Vec::new());
    let file = std::fs::read_dir(data.path()).unwrap().flatten().find(|e| e.path().is_file()).unwrap();
    window.drop_file(&file.path());
    window.until("something is open", |app| app.document.scene.layers.len() == 1 && !app.is_busy());
    assert!(window.app().document.scene.layers[0].grid().size_ijk[2] > 1);

    // An empty segmentation has nothing to be saved as DICOM: told, and nothing is written.
    window.click("New labels");
    window.rest();
    let target = window.path("labels.dcm");
    let id = window.app().document.active_labels().expect("a segmentation");
    let ctx = window.harness.ctx.clone();
    window.app_mut().save_to(&ctx, id, target.clone());
    window.until("it is told", |app| !app.problems().is_empty());
    assert!(!target.exists());
}
