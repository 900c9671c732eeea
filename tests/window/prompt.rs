//! The page where things are found by words, by the names of what is seen.

use app::gui::App;
use eframe::egui::{self, Key, Modifiers, Role, vec2};
use egui_kittest::kittest::Queryable;
use formats::{Affine, Grid};
use insula_tests::{runtime, tiny_prompter};

use crate::driver::{Window, can_draw, write};
use crate::states::keep;

/// Of the window.
const SIZE: egui::Vec2 = vec2(1280.0, 800.0);

/// How many voxels of each label the top layer has.
fn counts(window: &Window) -> Vec<usize> {
    let layers = &window.app().document.scene.layers;
    let labels = layers.iter().rev().find_map(|l| l.labels()).expect("a segmentation");
    let mut counts = vec![0; labels.table.entries.len() + 1];
    labels.labels.iter().for_each(|&l| counts[usize::from(l)] += 1);
    counts
}

fn names(window: &Window) -> Vec<String> {
    let layers = &window.app().document.scene.layers;
    let labels = layers.iter().rev().find_map(|l| l.labels()).expect("a segmentation");
    labels.table.entries.iter().map(|e| e.name.clone()).collect()
}

#[test]
fn words_become_labels_here_and_everywhere_and_what_is_not_there_is_said() {
    const TEST: &str = "words_become_labels_here_and_everywhere_and_what_is_not_there_is_said";
    if !can_draw(TEST) || runtime(TEST).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let packs = home.path().join("packs");
    std::fs::create_dir_all(&packs).unwrap();
    let _ = tiny_prompter(&packs, "finds", &[]);
    let strict = [("threshold = 0.0", "threshold = 1.0"), ("name = \"Tiny prompter\"", "name = \"Strict\"")];
    let _ = tiny_prompter(&packs, "strict", &strict);
    let mut window = Window::at_home(home.path().to_owned());
    let scan = window.path("head.nii.gz");
    let grid = Grid {
        size_ijk: [50, 56, 9],
        world_from_voxel: Affine::scale_shift([2.0, 2.0, 2.5], [-49.0, -55.0, -10.0]),
    };
    write(&scan, grid, |p| {
        let r = (p[0] / 38.0).hypot(p[1] / 44.0);
        let hole = ((p[0] - 12.0) / 9.0).hypot((p[1] + 6.0) / 16.0);
        let grain = ((p[0] * 13.0 + p[1] * 29.0 + p[2] * 7.0) as i64).rem_euclid(37) as i16;
        if r > 1.0 {
            0
        } else if hole < 1.0 {
            120
        } else {
            500 + 6 * grain
        }
    });
    window.open(&scan);
    window.key(Modifiers::COMMAND, Key::F);
    window.until("packs are listed", |app| app.settings.pack.is_some());
    window.rest();
    let words = window.harness.get_by_role_and_label(Role::MultilineTextInput, "What to find");
    words.focus();
    window.harness.run_steps(2);
    let words = window.harness.get_by_role_and_label(Role::MultilineTextInput, "What to find");
    words.type_text("left hippocampus, white matter");
    window.rest();
    keep(&mut window, SIZE, "prompt_asked");
    window.click("Find on this slice");
    window.until("answers are there", App::has_answers);
    window.rest();
    assert_eq!(names(&window), ["left hippocampus", "white matter"]);
    let first = counts(&window);
    assert!(first[1] + first[2] > 0, "{first:?}");
    keep(&mut window, SIZE, "prompt_found");

    // Another candidate of the likelier one is another mask; undo takes it back.
    window.click("Next candidate for white matter");
    window.rest();
    let second = counts(&window);
    assert_ne!(first, second);
    window.key(Modifiers::COMMAND, Key::Z);
    window.rest();
    assert_eq!(counts(&window), first);

    window.click("Find on all slices");
    let layers = window.app().document.scene.layers.len();
    window.until("a segmentation is added", |app| app.document.scene.layers.len() > layers);
    window.rest();
    assert_eq!(names(&window), ["left hippocampus", "white matter"]);
    assert!(counts(&window)[1..].iter().sum::<usize>() > first[1..].iter().sum::<usize>());
    assert!(window.harness.query_by_label("In the whole image; approximate").is_some());
    keep(&mut window, SIZE, "prompt_everywhere");

    // A pack that is never sure says so, and marks nothing.
    window.click("Prompted pack");
    window.rest();
    window.click("Strict");
    window.rest();
    window.click("Find on this slice");
    window.until("the other answers are there", |app| {
        app.document.scene.layers.len() > layers + 1 || app.has_answers()
    });
    window.rest();
    let said = |words: &str| window.harness.query_all_by_label_contains(words).count();
    assert_eq!(said("not found"), 2);
    // Words asked before are offered again.
    assert_eq!(window.app().settings.prompts, ["left hippocampus, white matter"]);
}
