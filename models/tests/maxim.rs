//! MAXIM from weights to pictures, against vectors of the official code (`golden/maxim/README.md` in the shared data;
//! tolerance 5e-5 as recommended there) and against numbers in this file where those are absent.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::PathBuf;
use std::sync::Arc;

use formats::raster::picture_grid;
use formats::{Task, Volume, Voxels};
use inference::engine::{Engine, EngineOptions, Model};
use inference::net::{Net, OnnxNet};
use inference::provider::{Provider, ProviderChoice};
use models::checkpoint::{self, Checkpoint, NamedTensor};
use models::family::{Limits, Output};
use models::import::{ImportOptions, Preset, import};
use models::manifest::Role;
use models::maxim::{Config, INPUT, Outputs, build_onnx, expected_tensors};
use models::onnx::Precision;
use models::restorer::{Restoration, Tiling};
use models::{Case, Pipeline};
use ndarray::{Array3, ArrayD, Axis, IxDyn};

const TOLERANCE: f32 = 5e-5;

/// A golden file, or a visible skip.
fn golden(test: &str, file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join("golden/maxim").join(file);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: no {}", path.display());
    None
}

/// The engine, or a visible skip.
fn engine(test: &str) -> Option<&'static Engine> {
    let found = match inference::runtime::find() {
        Ok(found) => found,
        Err(why) => {
            eprintln!("SKIPPED {test}: {why}");
            return None;
        }
    };
    let options =
        EngineOptions { runtime: found.path, provider: ProviderChoice::Exactly(Provider::Cpu), threads: 2 };
    Some(Engine::start(&options).expect("the runtime that was found starts"))
}

fn load(engine: &Engine, config: &Config, weights: &Checkpoint, outputs: Outputs) -> OnnxNet {
    let bytes = build_onnx(config, weights, Precision::F32, outputs, &[]).expect("the network builds");
    engine.load(Model::Bytes(&bytes), &Task::silent()).expect("the network loads")
}

/// A golden picture `[N, H, W, C]` as the network wants it.
fn picture(file: &Checkpoint, name: &str) -> ArrayD<f32> {
    let t = file.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    let nhwc = ArrayD::from_shape_vec(IxDyn(&t.shape), t.data.clone()).expect("shape and data agree");
    nhwc.permuted_axes(IxDyn(&[0, 3, 1, 2])).as_standard_layout().into_owned()
}

fn assert_close(what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= TOLERANCE && found.iter().all(|v| v.is_finite()), "{what}: off by {worst}");
}

/// Every picture of every stage and scale that the vectors hold.
fn assert_all(config: &Config, weights: &Checkpoint, vectors: &Checkpoint, engine: &Engine) {
    let mut net = load(engine, config, weights, Outputs::All);
    let input = picture(vectors, "input");
    let found = net.run(&[(INPUT, input.view())], &Task::silent()).expect("the network runs");
    let names: Vec<String> = net.outputs().iter().map(|p| p.name.clone()).collect();
    assert_eq!(names.len(), config.num_stages * config.num_supervision_scales);
    for (name, found) in names.iter().zip(&found) {
        assert_close(name, found, &picture(vectors, name));
    }
    // What users run has one output, and may know its size.
    let last = format!("stage{}_out{}", config.num_stages - 1, config.num_supervision_scales - 1);
    let size = [input.shape()[2], input.shape()[3]];
    for size in [None, Some(size)] {
        let config = Config { size, ..config.clone() };
        let mut net = load(engine, &config, weights, Outputs::Restored);
        let found = net.run(&[(INPUT, input.view())], &Task::silent()).expect("the network runs");
        assert_close(&last, &found[0], &picture(vectors, &last));
    }
}

/// The value generator of `golden/README.md`: numbers in [−1, 1).
fn generated(name: &str, seed: u64, count: usize) -> Vec<f32> {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let start = hash.wrapping_add(seed.wrapping_mul(STEP));
    (1..=count as u64)
        .map(|i| {
            let z = start.wrapping_add(i.wrapping_mul(STEP));
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Weights by the parameter rules of `golden/README.md`.
fn generated_weights(config: &Config, seed: u64) -> Checkpoint {
    let tensors = expected_tensors(config).into_iter().map(|(name, shape)| {
        let r = generated(&name, seed, shape.iter().product());
        let data: Vec<f32> = if name.ends_with("kernel") {
            let fan_in: usize = shape[..shape.len() - 1].iter().product();
            let amp = (0.7 * (3.0 / fan_in as f64).sqrt()) as f32;
            r.iter().map(|r| amp * r).collect()
        } else if name.ends_with("scale") {
            r.iter().map(|r| 1.0 + 0.5 * r).collect()
        } else {
            r.iter().map(|r| 0.25 * r).collect()
        };
        NamedTensor { name, shape, data }
    });
    Checkpoint { path: "generated".into(), tensors: tensors.collect(), notes: Vec::new() }
}

#[test]
fn published_variants_have_the_official_tensors() {
    for (variant, count, parameters) in
        [("S-2", 1760, 14_176_178), ("S-3", 2754, 22_212_795), ("M-1", 766, 19_464_265)]
    {
        let tensors = expected_tensors(&Config::variant(variant).expect("a variant"));
        let sum: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!((tensors.len(), sum), (count, parameters), "{variant}");
    }
    for variant in ["S2", "S3"] {
        let file = format!("params_{variant}.json");
        let Some(path) = golden("published_variants_have_the_official_tensors", &file) else { return };
        let list: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).expect("the list reads")).expect("the list is JSON");
        let mut official: Vec<(String, Vec<usize>)> = list["tensors"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|t| {
                let shape = t["shape"].as_array().expect("sizes").iter();
                let shape = shape.map(|n| n.as_u64().expect("a size") as usize).collect();
                (t["name"].as_str().expect("a name").to_owned(), shape)
            })
            .collect();
        let mut ours = expected_tensors(&Config::variant(variant).expect("a variant"));
        official.sort();
        ours.sort();
        assert_eq!(ours, official);
    }
}

#[test]
fn official_checkpoints_are_read_and_understood() {
    let test = "official_checkpoints_are_read_and_understood";
    let Some(engine) = engine(test) else { return };
    for folder in ["tiny", "tiny16"] {
        let (Some(weights), Some(io)) =
            (golden(test, &format!("{folder}/checkpoint.npz")), golden(test, &format!("{folder}/io.npz")))
        else {
            continue;
        };
        let weights = checkpoint::read(&weights).expect("weights read");
        let vectors = checkpoint::read(&io).expect("vectors read");
        let config = Config::of_checkpoint(&weights).expect("a MAXIM");
        assert_eq!(config.tile_hr, if folder == "tiny" { 8 } else { 16 });
        assert_all(&config, &weights, &vectors, engine);
    }
}

#[test]
fn the_real_s2_and_s3_equal_the_official_code() {
    let test = "the_real_s2_and_s3_equal_the_official_code";
    let Some(engine) = engine(test) else { return };
    for (variant, file, seed) in
        [("S-2", "procedural/S2_64x64.npz", 201), ("S-3", "procedural/S3_64x64.npz", 301)]
    {
        let Some(path) = golden(test, file) else { continue };
        let config = Config::variant(variant).expect("a variant");
        let weights = generated_weights(&config, seed);
        assert_eq!(Config::of_checkpoint(&weights).expect("a MAXIM"), config);
        assert_all(&config, &weights, &checkpoint::read(&path).expect("vectors read"), engine);
    }
}

/// Answers of the PyTorch network of `models/authoring`, kept in `fixtures/maxim_unshuffle.npz` by its `maxim/fixture.py`,
/// which has these configurations and the seed.
#[test]
fn phase_images_equal_pytorch() {
    let test = "phase_images_equal_pytorch";
    let Some(engine) = engine(test) else { return };
    let small = Config {
        features: 4,
        depth: 2,
        num_groups: 1,
        num_bottleneck_blocks: 1,
        tile_hr: 4,
        unshuffle: 2,
        ..Config::variant("S-1").expect("a variant")
    };
    let grey = Config { in_channels: 1, num_supervision_scales: 1, tile_lr: 4, ..small.clone() };
    let colour = Config { num_stages: 2, num_supervision_scales: 2, tile_lr: 2, ..small };
    assert_eq!((grey.multiple(), colour.multiple()), (32, 16));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/maxim_unshuffle.npz");
    let vectors = checkpoint::read(file.as_ref()).expect("the fixture reads");
    for (name, config) in [("grey", grey), ("colour", colour)] {
        let weights = generated_weights(&config, 7);
        let expected = picture(&vectors, name);
        let [_, c, h, w] = expected.shape()[..] else { panic!("{name} has four axes") };
        let nhwc = generated("input", 7, h * w * c).iter().map(|r| (r + 1.0) * 0.5).collect();
        let input = ArrayD::from_shape_vec(IxDyn(&[1, h, w, c]), nhwc).expect("shape and data agree");
        let input = input.permuted_axes(IxDyn(&[0, 3, 1, 2])).as_standard_layout().into_owned();
        for (size, outputs) in
            [(None, Outputs::Restored), (Some([h, w]), Outputs::Restored), (None, Outputs::All)]
        {
            let config = Config { size, ..config.clone() };
            let mut net = load(engine, &config, &weights, outputs);
            let found = net.run(&[(INPUT, input.view())], &Task::silent()).expect("the network runs");
            assert_close(name, found.last().expect("a picture"), &expected);
        }
    }
}

/// Rows are worked on in parts whose number follows from what is known of the size: for two pictures at once the answers
/// are those of each alone, and the same whether the size is known or not.
#[test]
fn parts_make_no_difference() {
    let test = "parts_make_no_difference";
    let Some(engine) = engine(test) else { return };
    let config = Config { features: 8, ..Config::variant("S-1").expect("a variant") };
    let weights = generated_weights(&config, 11);
    // Wide, so that one level is cut, and with fewer bands than a free size is cut into at the next.
    let size = [64, 1024];
    let values = generated("two", 3, 2 * 3 * size[0] * size[1]).iter().map(|r| (r + 1.0) * 0.5).collect();
    let both =
        ArrayD::from_shape_vec(IxDyn(&[2, 3, size[0], size[1]]), values).expect("shape and data agree");
    let mut answers = Vec::new();
    for size in [None, Some(size)] {
        let config = Config { size, ..config.clone() };
        let mut net = load(engine, &config, &weights, Outputs::Restored);
        let mut run = |input: ndarray::ArrayViewD<'_, f32>| {
            net.run(&[(INPUT, input)], &Task::silent()).expect("the network runs").remove(0)
        };
        let found = run(both.view());
        for n in 0..2 {
            let one = both.slice_axis(ndarray::Axis(0), (n..n + 1).into());
            let alone = run(one);
            let beside = found.slice_axis(ndarray::Axis(0), (n..n + 1).into()).to_owned();
            assert_close(&format!("picture {n}, {size:?}"), &beside, &alone);
        }
        answers.push(found);
    }
    assert_close("known and free sizes", &answers[1], &answers[0]);
}

#[test]
fn wrong_weights_are_told_by_name() {
    let config =
        Config { features: 4, num_stages: 1, tile_hr: 4, tile_lr: 2, ..Config::variant("S-1").expect("it") };
    let mut weights = generated_weights(&config, 1);
    let first = weights.tensors.remove(0).name;
    weights.tensors[5].data[0] = f32::NAN;
    let error =
        build_onnx(&config, &weights, Precision::F32, Outputs::Restored, &[]).expect_err("incomplete");
    let text = error.to_string();
    assert!(text.contains(&first) && text.contains("1 missing") && text.contains("not finite"), "{text}");
}

/// Official pictures through the whole of a restorer: padding, tiles, crop. Values strictly; 8-bit results, which the
/// official program truncates and we round, within one level.
#[test]
fn official_pictures_of_odd_sizes_come_out_alike() {
    let test = "official_pictures_of_odd_sizes_come_out_alike";
    let Some(engine) = engine(test) else { return };
    let (Some(weights), Some(cases)) =
        (golden(test, "tiny/checkpoint.npz"), golden(test, "tiny/pad_cases.npz"))
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let preset = Preset::Maxim(Restoration::Denoising);
    let options =
        ImportOptions { family: "maxim".to_owned(), ..ImportOptions::new(preset, "tiny", folder.path()) };
    let pack = Arc::new(import(&weights, &options, &Task::silent()).expect("the checkpoint becomes a pack"));
    let bytes = pack.read(Role::Network).expect("the network is in it");
    let mut net = engine.load(Model::Bytes(&bytes), &Task::silent()).expect("the network loads");
    let mut pipeline = Pipeline::open(Arc::clone(&pack), engine, Limits::default(), &Task::silent())
        .expect("the pack opens");
    let cases = checkpoint::read(&cases).expect("the cases read");
    for [h, w] in [[50, 70], [51, 69], [64, 64], [20, 100], [1, 65]] {
        let at = |what: &str| {
            let t = cases.get(&format!("{h}x{w}_{what}")).expect("a case");
            Array3::from_shape_vec((t.shape[0], t.shape[1], t.shape[2]), t.data.clone()).expect("three axes")
        };
        let image = at("image");
        let chw = image.mapv(|v| v / 255.0).permuted_axes([2, 0, 1]).insert_axis(Axis(1));
        let tiling = Tiling::new(&pack.manifest.tiles, [h, w]).expect("a plan");
        let found = tiling.run(&mut net, &chw.view(), 1, &Task::silent()).expect("it runs");
        let found = found.index_axis_move(Axis(1), 0).permuted_axes([1, 2, 0]);
        let expected = at("pred");
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(worst <= TOLERANCE, "{h}×{w}: off by {worst}");

        let rgb = Array3::from_shape_fn((1, h, w), |(_, y, x)| [0, 1, 2].map(|c| image[[y, x, c]] as u8));
        let volume = Volume::new(Voxels::Rgb8(rgb.into_shared()), picture_grid([w, h, 1], [1.0; 3]));
        let case = Case::new("picture", vec![volume.expect("shapes agree")]);
        let Output::Image(out) = pipeline.run(case, &Task::silent()).expect("it runs").output else {
            panic!("an image")
        };
        let Voxels::Rgb8(out) = &out.volume.voxels else { panic!("the type stays") };
        let png = at("png");
        for ((_, y, x), pixel) in out.indexed_iter() {
            for c in 0..3 {
                let (found, pred) = (f32::from(pixel[c]), expected[[y, x, c]].clamp(0.0, 1.0) * 255.0);
                assert!((found - pred).abs() <= 0.52, "{h}×{w} at {y}, {x}: {found} for {pred}");
                assert!((found - png[[y, x, c]]).abs() <= 1.0);
            }
        }
    }
}

#[test]
fn checkpoints_of_another_variant_or_kind_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(weights) = golden("checkpoints_of_another_variant_or_kind_are_refused", "tiny/checkpoint.npz")
    else {
        return;
    };
    let preset = Preset::Maxim(Restoration::Deraining);
    let mut options =
        ImportOptions { family: "maxim".to_owned(), ..ImportOptions::new(preset, "tiny", folder.path()) };
    options.variant = Some("S-2".to_owned());
    let text = import(&weights, &options, &Task::silent()).expect_err("it is no S-2").to_string();
    assert!(text.contains("of another shape") && text.contains("1760 tensors"), "{text}");
    options.variant = Some("XL".to_owned());
    let text = import(&weights, &options, &Task::silent()).expect_err("no such variant").to_string();
    assert!(text.contains("S-1, S-2"), "{text}");
    options.variant = None;
    options.family = "segformer3d".to_owned();
    let text = import(&weights, &options, &Task::silent()).expect_err("a preset of MAXIM").to_string();
    assert!(text.contains("preset of the family maxim"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it lists").count(), 0, "nothing was left behind");
}
