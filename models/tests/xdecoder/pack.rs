//! From an official checkpoint and a picture to masks, through import, pack and pipeline.

use std::sync::Arc;

use formats::raster::picture_grid;
use formats::{Task, Volume, Voxels};
use models::family::{Limits, Output};
use models::import::{ImportOptions, Preset, import};
use models::prompter::picture::{Picture, shorter_side};
use models::prompter::{Asking, Prompter};
use models::xdecoder::postprocess::{Sizes, full_size};
use models::{Case, Pipeline, Prompting};
use ndarray::{Array3, Axis, Ix3, s};

use super::common::{assert_close, engine, read, shared, tensor};
use super::tokens::clip;

/// The golden picture, `[3, h, w]` of whole numbers.
fn rgb(folder: &std::path::Path, name: &str) -> Array3<f32> {
    let hwc = tensor(&read(&folder.join("image.safetensors")), name);
    let hwc = hwc.into_dimensionality::<Ix3>().expect("rows, columns, colours");
    hwc.permuted_axes([2, 0, 1]).as_standard_layout().into_owned()
}

#[test]
fn pictures_are_resized_and_normalised_by_the_official_rule() {
    let Some(folder) = shared("pictures_are_resized_and_normalised_by_the_official_rule", "tiny") else {
        return;
    };
    let found = shorter_side(rgb(&folder, "orig_rgb_u8").view(), 122);
    let official = rgb(&folder, "resized_rgb_u8");
    assert_eq!(found.dim(), official.dim());
    // The official program rounds between rows and columns, and so is one off here and there.
    let off = found.iter().zip(&official).map(|(a, b)| (a - b).abs());
    assert!(off.clone().all(|d| d <= 1.0));
    assert!(off.filter(|d| *d > 0.0).count() * 10 < found.len());
    let input = Picture { rgb: official }.normalised().into_dyn();
    let truth = tensor(&read(&folder.join("image.safetensors")), "input");
    assert_close("input", &input, &truth);
}

const PRESET: &str = r#"
family = "xdecoder"
name = "Golden"
[input]
axes = "stored"
[[input.channel]]
name = "picture"
[tiles]
patch = [1, 122, 122]
[output]
activation = "prompts"
tasks = ["phrases", "semantic", "panoptic", "instances"]
[network]
"#;

#[test]
fn a_phrase_is_marked_in_a_picture_as_by_the_official_program() {
    const TEST: &str = "a_phrase_is_marked_in_a_picture_as_by_the_official_program";
    let (Some(folder), Some(merges), Some(engine)) = (shared(TEST, "tiny"), clip(TEST), engine(TEST)) else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let weights = folder.join("weights.safetensors");
    let config = models::xdecoder::Config {
        text_heads: 4,
        ..models::xdecoder::Config::of_checkpoint(&read(&weights)).expect("the names tell")
    };
    let preset = out.path().join("golden.toml");
    std::fs::write(&preset, format!("{PRESET}{}", toml::to_string(&config).expect("TOML"))).expect("written");
    let mut options = ImportOptions::new(Preset::Toml(preset), "golden", out.path());
    options.family = "xdecoder".to_owned();
    assert!(
        import(&weights, &options, &Task::silent()).expect_err("no vocabulary").to_string().contains("CLIP")
    );
    options.merges = Some(merges);
    options.variant = Some("focal-t".to_owned());
    let wrong = import(&weights, &options, &Task::silent()).expect_err("another variant").to_string();
    assert!(wrong.contains("focal-t") && wrong.contains("without a variant"), "{wrong}");
    options.variant = None;
    let pack = Arc::new(import(&weights, &options, &Task::silent()).expect("the pack is made"));

    // The network's own size: equal to the tolerance of the vectors.
    let mut prompter = Prompter::open(&pack, engine, &Task::silent()).expect("the pack opens");
    let picture = Picture { rgb: rgb(&folder, "resized_rgb_u8") };
    let seen = prompter.look(&picture, &Task::silent()).expect("it looks");
    let truth = read(&folder.join("grounding_single.safetensors"));
    let answer = prompter.ask(&seen, "white tea pot.", &Task::silent()).expect("it answers");
    let mask = tensor(&truth, "matched_mask_lowres");
    assert_close("mask", &answer.masks.slice(s![..1, .., ..]).to_owned().into_dyn(), &mask);
    let similarity = tensor(&truth, "similarity");
    let largest = similarity.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
    assert!((answer.likeness[0] - largest).abs() < 1e-4 * largest.abs());
    assert_eq!((answer.probability, answer.is_found), (None, true));
    let sizes = Sizes { padded: [128, 160], resized: [122, 156], original: [100, 128] };
    let full = full_size(answer.masks.slice(s![..1, .., ..]), sizes);
    let official = tensor(&truth, "grounding_mask");
    assert_close("full size", &full.into_dyn(), &official);

    // The whole way, with our own resizing of the picture.
    let pixels = rgb(&folder, "orig_rgb_u8");
    let (_, h, w) = pixels.dim();
    let a = Array3::from_shape_fn((1, h, w), |(_, y, x)| [0, 1, 2].map(|c| pixels[[c, y, x]] as u8));
    let volume =
        Volume::new(Voxels::Rgb8(a.into_shared()), picture_grid([w, h, 1], [1.0; 3])).expect("a picture");
    let mut pipeline = Pipeline::open(pack, engine, Limits::default(), &Task::silent()).expect("it opens");
    let mut case = Case::new("photo", vec![volume]);
    case.prompting = Prompting { prompts: vec!["white tea pot.".to_owned()], ..Prompting::default() };
    let outcome = pipeline.run(case.clone(), &Task::silent()).expect("it runs");
    let Output::Labels(labels) = &outcome.output else { panic!("labels come out") };
    let found = labels.labels.index_axis(Axis(0), 0);
    let official = official.index_axis(Axis(0), 0).to_owned();
    let differing = found.iter().zip(&official).filter(|(l, v)| (**l == 1) != (**v > 0.0)).count();
    assert!(differing * 100 < found.len(), "{differing} of {} pixels", found.len());
    assert_eq!(outcome.found[0].voxels, found.iter().filter(|l| **l == 1).count() as u64);

    // Classes: every pixel has one of them.
    case.prompting.prompts = ["cat", "remote control", "grass"].map(str::to_owned).to_vec();
    case.prompting.asking = Asking::Semantic;
    let outcome = pipeline.run(case, &Task::silent()).expect("it runs");
    let Output::Labels(labels) = &outcome.output else { panic!("labels come out") };
    assert!(labels.labels.iter().all(|l| (1..=3).contains(l)));
    assert_eq!(labels.table.entries[1].name, "remote control");
}
