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

    // An image goes out as a derived series, in a folder of the name; a pane as a secondary capture.
    let ctx = window.harness.ctx.clone();
    let image = window.app().document.active_image().expect("an image");
    let target = window.path("derived.dcm");
    window.app_mut().save_to(&ctx, image, target);
    window.rest();
    let tree = formats::dicom::scan(&[window.path("derived")], &formats::Task::silent()).unwrap();
    let back =
        formats::dicom::load(tree.stacks().next().expect("a series"), &formats::Task::silent()).unwrap();
    let shown = window.app().document.scene.layer(image).unwrap().image().unwrap().volume().clone();
    assert!(back.first().grid.is_same(&shown.grid, 1e-6));
    assert_eq!(back.first().to_f32(), shown.to_f32());

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

#[test]
fn a_pane_goes_out_as_a_secondary_capture() {
    if !can_draw("a_pane_goes_out_as_a_secondary_capture") {
        return;
    }
    let data = study();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pane.dcm");
    let size = eframe::egui::vec2(1280.0, 800.0);
    let mut window = Window::in_folder(home, Settings::default(), vec![file.clone()], size, 1.0);
    let slice = std::fs::read_dir(data.path()).unwrap().flatten().find(|e| e.path().is_file()).unwrap();
    window.open(&slice.path());
    let pane = window.pane("Axial slice");
    window.harness.event(eframe::egui::Event::PointerMoved(pane.center()));
    window.harness.run_steps(3);
    window.palette("save picture of a pane");
    // The harness gives pictures only when it is asked to.
    for _ in 0..1000 {
        let _ = window.picture();
        window.harness.step();
        if file.is_file() && !window.app().is_busy() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let header = formats::dicom::read_header(&file).unwrap();
    let text = |group, element| header.text(tag(group, element)).unwrap_or_default();
    assert_eq!(header.sop_class_uid, "1.2.840.10008.5.1.4.1.1.7");
    assert_eq!(text(0x0020, 0x000d), "1.2.3", "the patient's study");
    // The program wrote no name into it, but nobody has looked at the pixels of the source: no "NO" is claimed.
    assert!(header.text(tag(0x0028, 0x0301)).is_none(), "burned-in text: {}", text(0x0028, 0x0301));
    let number = |group, element| text(group, element).parse::<f32>().unwrap();
    assert!((number(0x0028, 0x0011) - pane.width()).abs() <= 1.0, "columns");
    assert!((number(0x0028, 0x0010) - pane.height()).abs() <= 1.0, "rows");
}
