//! Tools and panels against what is known of the data: regions, curves, the label table, surfaces, turntables, imports.

use std::path::Path;

use app::settings::Settings;
use eframe::egui::{self, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::kittest::{NodeT, Queryable};
use formats::{
    Affine, Content, FrameAxis, Grid, LabelEntry, LabelMap, LabelTable, Meta, Scaling, Shared, Task, Volume,
    Voxels,
};
use viewer::{Plane, SliceView};

use crate::driver::{Window, can_draw, sample, save, write};

/// A window that answers its file dialogs with files (or a folder) of these names in its own folder.
fn with_answers(names: &[&str]) -> Window {
    let folder = tempfile::tempdir().unwrap();
    let answers = names.iter().map(|n| folder.path().join(n)).collect();
    Window::in_folder(folder, Settings::default(), answers, vec2(1280.0, 800.0), 1.0)
}

/// Two balls of 8 and 5 voxels radius, named, on 1.5 mm voxels.
fn balls(path: &Path) -> [usize; 2] {
    let labels = Shared::from_shape_fn((40, 40, 40), |(k, j, i)| {
        let within = |c: [f64; 3], r: f64| {
            [i, j, k].iter().zip(c).map(|(v, c)| (*v as f64 - c).powi(2)).sum::<f64>() <= r * r
        };
        if within([12.0, 14.0, 20.0], 8.0) {
            3
        } else if within([29.0, 25.0, 20.0], 5.0) {
            7_u16
        } else {
            0
        }
    });
    let counts = [3, 7].map(|l| labels.iter().filter(|v| **v == l).count());
    let entries =
        vec![LabelEntry::new(3, "Big, round", [200, 60, 40]), LabelEntry::new(7, "Small", [40, 90, 220])];
    let grid =
        Grid { size_ijk: [40; 3], world_from_voxel: Affine::scale_shift([1.5; 3], [-30.0, -30.0, -30.0]) };
    let map = LabelMap { labels, grid, table: LabelTable { entries }, meta: Meta::default() };
    formats::save(Content::Labels(&map), path, &Task::silent()).unwrap();
    counts
}

fn double_click(window: &mut Window, at: Pos2) {
    window.harness.run_steps(60); // a second, so that clicks before do not make it a triple one
    window.harness.event(egui::Event::PointerMoved(at));
    window.harness.step();
    for pressed in [true, false, true, false] {
        window.harness.event(egui::Event::PointerButton {
            pos: at,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        });
        window.harness.step();
    }
    window.harness.run_steps(2);
}

#[test]
fn region_statistics_are_those_of_a_phantom() {
    if !can_draw("region_statistics_are_those_of_a_phantom") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = window.path("ramp.nii.gz");
    // Voxel centres at odd millimetres; values rise by 2 per millimetre towards the patient's right.
    let grid = Grid {
        size_ijk: [80, 80, 20],
        world_from_voxel: Affine::scale_shift([2.0; 3], [-79.0, -79.0, -19.0]),
    };
    write(&path, grid, |p| (100.0 + 2.0 * p[0]) as i16);
    window.open(&path);
    window.app_mut().document.views[0] =
        Some(SliceView { plane: Plane::Axial, centre_ras: [0.0; 3], mm_per_px: 0.5 });
    window.click("Tools");
    window.click("Rectangle");
    let centre = window.pane("Axial slice").center();
    // In radiological display right (+x) is on the left: x from 20 to -40 mm, y from 16 to -16 mm.
    window.drag(centre + vec2(-40.0, -32.0), centre + vec2(80.0, 32.0), PointerButton::Primary);
    // 30 × 16 voxels; the variance of n equal steps of 4 is 16 (n² − 1) / 12.
    let sd = 4.0 * ((30.0_f64.powi(2) - 1.0) / 12.0).sqrt();
    let expected = format!("Axial: mean 80.00, SD {sd:.2}, 22.00 to 138.00, 1920.0 mm², 480 voxels");
    window.harness.get_by_label(&expected);

    window.click("Ellipse");
    window.drag(centre + vec2(-80.0, -80.0), centre + vec2(80.0, 80.0), PointerButton::Primary);
    // A disc of 40 mm radius about the origin: mean 100, SD r / 2 along an axis, times 2.
    let row = window.harness.get_all_by_label_contains("Axial: mean ").last().unwrap();
    let text = row.accesskit_node().value().unwrap();
    let number = |key: &str| -> f64 {
        let rest = &text[text.find(key).unwrap() + key.len()..];
        rest.split([',', ' ']).find(|s| !s.is_empty()).unwrap().parse().unwrap()
    };
    assert!((number("mean ") - 100.0).abs() < 0.01, "{text}");
    assert!((number("SD ") - 40.0).abs() < 0.8, "{text}");
    assert!(text.contains(&format!("{:.1} mm²", std::f64::consts::PI * 1600.0)), "{text}");
    let voxels = std::f64::consts::PI * 1600.0 / 4.0;
    assert!((number("mm², ") / voxels - 1.0).abs() < 0.02, "{text}");

    window.click("Distance");
    window.drag(centre, centre + vec2(60.0, 80.0), PointerButton::Primary);
    window.harness.get_by_label("Axial: 50.0 mm");
}

#[test]
fn labels_are_searched_renamed_shown_alone_copied_and_saved() {
    if !can_draw("labels_are_searched_renamed_shown_alone_copied_and_saved") {
        return;
    }
    let mut window = with_answers(&["table.csv"]);
    let path = window.path("balls_seg.nii.gz");
    let [big, small] = balls(&path);
    window.open(&path);
    let table = |window: &Window| window.app().document.scene.layers[0].labels().unwrap().table.clone();
    window.harness.get_by_label("Big, round");

    window.harness.get_by_label("Search labels").click();
    window.harness.run_steps(2);
    window.harness.get_by_label("Search labels").type_text("sma");
    window.harness.run_steps(3);
    assert!(window.harness.query_by_label("Big, round").is_none(), "the search leaves it out");
    let name = window.harness.get_by_label("Small").rect().center();

    double_click(&mut window, name);
    window.harness.get_by_label("New name");
    window.key(Modifiers::COMMAND, Key::A);
    window.harness.get_by_label("New name").type_text("Small one");
    window.harness.run_steps(2);
    window.key(Modifiers::NONE, Key::Enter);
    assert_eq!(table(&window).name(7), "Small one");
    // Escape leaves a name as it was.
    let name = window.harness.get_by_label("Small one").rect().center();
    double_click(&mut window, name);
    window.harness.get_by_label("New name").type_text("nonsense");
    window.harness.run_steps(2);
    window.key(Modifiers::NONE, Key::Escape);
    assert_eq!(table(&window).name(7), "Small one");
    assert_eq!(window.app().document.unsaved().len(), 1);

    window.harness.get_by_label("Small one").click_secondary();
    window.harness.run_steps(3);
    window.click("Show only this");
    let visible = |window: &Window| table(window).entries.iter().map(|e| e.visible).collect::<Vec<_>>();
    assert_eq!(visible(&window), [false, true]);
    // A name is an edit, and what is shown is not: it survives both ways.
    window.key(Modifiers::COMMAND, Key::Z);
    assert_eq!((table(&window).name(7).as_str(), visible(&window)), ("Small", vec![false, true]));
    window.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!((table(&window).name(7).as_str(), visible(&window)), ("Small one", vec![false, true]));
    window.click("All");
    assert_eq!(visible(&window), [true, true]);

    let ml = |voxels: usize| voxels as f64 * 1.5_f64.powi(3) / 1000.0;
    let csv = format!(
        "index,name,voxels,volume_ml\n3,\"Big, round\",{big},{:.6}\n7,Small one,{small},{:.6}\n",
        ml(big),
        ml(small)
    );
    window.rest();
    window.harness.get_by_label("Copy").click();
    let mut copied = None;
    for _ in 0..4 {
        window.harness.step();
        copied = window.harness.output().platform_output.commands.iter().find_map(|c| match c {
            egui::OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        });
        if copied.is_some() {
            break;
        }
    }
    assert_eq!(copied.as_deref(), Some(csv.as_str()));
    window.click("CSV…");
    let saved = window.path("table.csv");
    window.until("the table is there", |_| saved.is_file());
    assert_eq!(std::fs::read_to_string(&saved).unwrap(), csv);
}

#[test]
fn surfaces_hold_the_volume_of_the_labels_shown() {
    if !can_draw("surfaces_hold_the_volume_of_the_labels_shown") {
        return;
    }
    let mut window = with_answers(&["surfaces.stl"]);
    let path = window.path("balls_seg.nii.gz");
    let [big, _] = balls(&path);
    window.open(&path);
    window.click("Show Small"); // hides it
    window.palette("save surfaces");
    let saved = window.path("surfaces.stl");
    window.until("the surfaces are there", |_| saved.is_file());
    window.rest();
    let bytes = std::fs::read(&saved).unwrap();
    let mut volume = 0.0;
    for record in bytes[84..].chunks_exact(50) {
        let v: Vec<f64> = record[12..48]
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect();
        let [a, b, c] = [&v[..3], &v[3..6], &v[6..]];
        volume += (a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0]))
            / 6.0;
    }
    let voxels = big as f64 * 1.5_f64.powi(3);
    assert!((volume / voxels - 1.0).abs() < 0.005, "{volume} mm³ of surface, {voxels} mm³ of voxels");
}

#[test]
fn a_turntable_turns_once_round() {
    if !can_draw("a_turntable_turns_once_round") {
        return;
    }
    let mut window = with_answers(&["."]);
    let path = window.path("marker.nii.gz");
    // A ball at the patient's right: at a quarter of the turn it lies before or behind the middle.
    let grid =
        Grid { size_ijk: [24; 3], world_from_voxel: Affine::scale_shift([4.0; 3], [-46.0, -46.0, -46.0]) };
    write(&path, grid, |p| if formats::affine::norm([p[0] - 28.0, p[1], p[2]]) < 12.0 { 1000 } else { 0 });
    window.open(&path);
    window.palette("save turntable");
    window.rest();
    let picture = |n: usize| image::open(window.path(&format!("turntable_{n:03}.png"))).unwrap().to_rgb8();
    assert!(!window.path("turntable_072.png").exists());
    // Mean column of what is lit, from the middle.
    let place = |n: usize| {
        let picture = picture(n);
        assert_eq!(picture.dimensions(), (800, 800));
        let ground = picture.get_pixel(2, 2).0;
        let lit =
            picture.enumerate_pixels().filter(|(_, _, p)| (0..3).any(|c| p.0[c].abs_diff(ground[c]) > 60));
        let columns: Vec<f64> = lit.map(|(x, _, _)| f64::from(x) - 400.0).collect();
        assert!(columns.len() > 200, "picture {n}: {} pixels", columns.len());
        columns.iter().sum::<f64>() / columns.len() as f64
    };
    assert!(place(0) < -60.0, "from the front, the right is on the left: {}", place(0));
    assert!(place(18).abs() < 15.0, "{}", place(18));
    assert!((place(36) + place(0)).abs() < 15.0, "from behind it is mirrored: {} {}", place(36), place(0));
    assert!(place(71) < -60.0, "{}", place(71));
}

#[test]
fn a_curve_follows_the_cursor() {
    if !can_draw("a_curve_follows_the_cursor") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = window.path("series.nii.gz");
    let frames = (0..4_i16).map(|t| Volume {
        // Every voxel rises with its own slope.
        voxels: Voxels::I16(Shared::from_shape_fn((6, 6, 6), |(_, _, i)| t * i as i16)),
        grid: Grid::unit([6; 3]),
        scaling: Scaling { slope: 0.5, inter: 10.0 },
        meta: Meta::default(),
    });
    let axis = FrameAxis { name: "time".to_owned(), len: 4, step: 1.5, unit: "s".to_owned() };
    save(&path, frames.collect(), vec![axis]);
    window.open(&path);
    for i in [1.0, 4.0] {
        window.app_mut().document.move_cursor([i, 3.0, 3.0]);
        window.harness.run_steps(2);
        let app = window.app();
        let (id, ..) = app.document.frames().unwrap();
        let image = app.document.scene.layer(id).unwrap().image().unwrap();
        let curve = viewer::probe::time_curve(image, app.document.scene.cursor_ras).unwrap();
        let expected: Vec<f64> = (0..4).map(|t| 10.0 + 0.5 * f64::from(t) * i).collect();
        assert_eq!(curve, expected);
        let shown = window.harness.get_by_label("Values over frames at the cursor");
        // Its least and greatest value stand beside it.
        assert!(shown.rect().height() > 30.0);
        window.harness.get_by_label_contains(&format!("10 to {}", 10.0 + 1.5 * i));
    }
    window.harness.get_by_label("Frame").set_value_accesskit(3.0);
    window.harness.run_steps(2);
    window.harness.get_by_label("4.500 s");
}

#[test]
fn colours_and_flat_pictures() {
    if !can_draw("colours_and_flat_pictures") {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    let path = window.path("colours.nii.gz");
    let volume = Volume {
        voxels: Voxels::Rgb8(Shared::from_elem((20, 30, 30), [220, 40, 90])),
        grid: Grid::unit([30, 30, 20]),
        scaling: Scaling::NONE,
        meta: Meta::default(),
    };
    save(&path, vec![volume], Vec::new());
    window.open(&path);
    window.harness.get_by_label("Colours are shown as they are.");
    assert!(!window.app().document.is_flat());
    window.key(Modifiers::NONE, Key::X);
    let at = |window: &mut Window, off: egui::Vec2| {
        let p = window.pane("Axial slice").center() + off;
        let picture = window.picture();
        picture.get_pixel(p.x as u32, p.y as u32).0
    };
    assert_eq!(at(&mut window, vec2(20.0, 20.0)), [220, 40, 90, 255]);

    let mut window = Window::new(Settings::default(), Vec::new());
    let path = window.path("flat.png");
    let picture =
        image::RgbImage::from_fn(64, 48, |x, _| image::Rgb(if x < 32 { [250, 0, 0] } else { [0, 0, 250] }));
    picture.save(&path).unwrap();
    window.open(&path);
    assert!(window.app().document.is_flat());
    let pane = window.pane("Axial slice");
    assert!(pane.width() > 600.0 && pane.height() > 600.0, "one large pane: {pane:?}");
    assert!(window.harness.query_by_label("3-D view").is_none());
    // Left is left and nothing is turned.
    assert_eq!(at(&mut window, vec2(-100.0, 0.0)), [250, 0, 0, 255]);
    assert_eq!(at(&mut window, vec2(100.0, 0.0)), [0, 0, 250, 255]);
}

#[test]
fn a_checkpoint_dropped_on_the_window_becomes_a_pack() {
    const TEST: &str = "a_checkpoint_dropped_on_the_window_becomes_a_pack";
    if !can_draw(TEST) {
        return;
    }
    let mut window = Window::new(Settings::default(), Vec::new());
    window.open(&sample());
    // Weights of our own making with the names and shapes of the published ACDC network.
    let preset = models::import::PRESETS.iter().find(|(name, _)| *name == "acdc").unwrap().1;
    let weights = window.path("weights.safetensors");
    insula_tests::write_weights(&weights, preset);
    window.drop_file(&weights);
    window.harness.run_steps(2);
    window.harness.get_by_label("Import a checkpoint");
    window.click("acdc");
    window.click("Import");
    window.until("the pack is chosen", |app| app.settings.pack.as_deref() == Some("segformer3d-acdc"));
    window.rest();
    let folder = window.path("home/packs/segformer3d-acdc");
    assert!(folder.join("pack.toml").is_file(), "in the program's folder");
    assert!(window.harness.query_all_by_label("Card").count() >= 2, "listed beside the bundled pack");

    // What does not fit says so and harms nothing.
    window.drop_file(&weights);
    window.harness.run_steps(2);
    window.click("synapse");
    window.harness.get_by_label("Import").click();
    for _ in 0..600 {
        window.harness.step();
        if !window.app().problems().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let problems = window.app().problems();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].title.contains("weights.safetensors"), "{problems:?}");
    assert!(!window.path("home/packs/segformer3d-synapse").exists());
}
