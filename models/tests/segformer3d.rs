//! SegFormer3D from weights to logits, against vectors of the official code (`golden/segformer3d/README.md` in the
//! shared data; tolerance 5e-5 as recommended there) and against a fixture of this file where those are absent.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::PathBuf;

use formats::Task;
use inference::engine::{Engine, EngineOptions, Model};
use inference::net::{Net, OnnxNet};
use inference::provider::{Provider, ProviderChoice};
use inference::tiles::{Plan, Rule, Weights, run_tiles};
use models::checkpoint::{self, Checkpoint, NamedTensor};
use models::onnx::Precision;
use models::segformer3d::{AttentionScale, Config, INPUT, OUTPUT, OutputSize, build_onnx, expected_tensors};
use ndarray::{Array4, ArrayD, ArrayViewD, Axis, Ix4, IxDyn};

const TOLERANCE: f32 = 5e-5;

/// The golden folder, or a visible skip.
fn golden(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let folder = root.join("golden/segformer3d");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED {test}: no golden vectors in {}", root.display());
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

fn tensor(file: &Checkpoint, name: &str) -> ArrayD<f32> {
    let t = file.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    ArrayD::from_shape_vec(IxDyn(&t.shape), t.data.clone()).expect("shape and data agree")
}

fn load(engine: &Engine, config: &Config, weights: &Checkpoint, precision: Precision) -> OnnxNet {
    let bytes = build_onnx(config, weights, precision, &[]).expect("the network builds");
    engine.load(Model::Bytes(&bytes), &Task::silent()).expect("the network loads")
}

fn run(net: &mut OnnxNet, input: ArrayViewD<'_, f32>) -> ArrayD<f32> {
    net.run(&[(INPUT, input)], &Task::silent()).expect("the network runs").remove(0)
}

fn worst(found: &ArrayD<f32>, expected: &ArrayD<f32>) -> f32 {
    assert_eq!(found.shape(), expected.shape());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |m, d| if d <= m { m } else { d })
}

fn assert_close(what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>) {
    let off = worst(found, expected);
    assert!(off <= TOLERANCE, "{what}: off by {off}");
}

/// The small network of the golden vectors.
fn tiny() -> Config {
    Config {
        embed_dims: [8, 16, 24, 32],
        num_heads: [1, 2, 3, 4],
        depths: [2, 1, 2, 1],
        mlp_ratios: [4, 2, 3, 4],
        decoder_head_embedding_dim: 16,
        ..Config::brats()
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

fn generated_input(seed: u64, shape: &[usize]) -> ArrayD<f32> {
    let values = generated("input", seed, shape.iter().product());
    let values = values.into_iter().map(|r| (r + 1.0) * 0.5).collect();
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many values as places")
}

/// Weights by the parameter rules of `golden/README.md`.
fn generated_weights(config: &Config, seed: u64) -> Checkpoint {
    let tensors = expected_tensors(config).into_iter().map(|(name, shape)| {
        let count = shape.iter().product();
        let r = generated(&name, seed, count);
        let is_patch = name.contains("patch_embeddings");
        let data: Vec<f32> = if shape.len() > 1 {
            let fan_in: usize = shape[1..].iter().product();
            let gain = if is_patch { 0.05 } else { 1.0 };
            let amp = (gain * (3.0 / fan_in as f64).sqrt()) as f32;
            r.iter().map(|r| amp * r).collect()
        } else if name.ends_with("num_batches_tracked") {
            vec![1234.0]
        } else if name.ends_with(".running_mean") {
            r.iter().map(|r| 0.5 * r).collect()
        } else if name.ends_with(".running_var") {
            r.iter().map(|r| 0.02 + (r + 1.0) * (r + 1.0)).collect()
        } else if name.ends_with(".bias") {
            let amp = if is_patch { 0.01 } else { 0.25 };
            r.iter().map(|r| amp * r).collect()
        } else {
            r.iter().map(|r| 1.0 + 0.5 * r).collect()
        };
        NamedTensor { name, shape, data }
    });
    Checkpoint { path: "generated".into(), tensors: tensors.collect(), notes: Vec::new() }
}

#[test]
fn the_brats_network_has_the_official_tensors() {
    let Some(golden) = golden("the_brats_network_has_the_official_tensors") else { return };
    let text = std::fs::read_to_string(golden.join("params_brats.json")).expect("the list is there");
    let list: serde_json::Value = serde_json::from_str(&text).expect("the list is JSON");
    let official: Vec<(String, Vec<usize>)> = list["state_dict"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|t| {
            let shape =
                t["shape"].as_array().expect("sizes").iter().map(|n| n.as_u64().expect("a size") as usize);
            (t["name"].as_str().expect("a name").to_owned(), shape.collect())
        })
        .collect();
    assert_eq!(expected_tensors(&Config::brats()), official);
}

#[test]
fn a_configuration_is_read_off_the_shapes() {
    let odd =
        Config { in_channels: 2, num_classes: 5, sr_ratios: [2, 1, 1, 1], depths: [1, 3, 1, 2], ..tiny() };
    let read = Config::infer(&generated_weights(&odd, 1)).expect("shapes tell");
    assert_eq!(read, Config { num_heads: [1, 2, 5, 8], ..odd });
    let table = toml::to_string(&Config::brats()).expect("a configuration is a table");
    assert_eq!(toml::from_str::<Config>(&table).expect("and back"), Config::brats());
}

/// Numbers of the official code for generated weights and input, so that this test needs no files.
#[test]
fn logits_equal_the_official_code_without_files() {
    let Some(engine) = engine("logits_equal_the_official_code_without_files") else { return };
    let config = Config { attention_scale: AttentionScale::HeadDim, ..tiny() };
    let mut net = load(engine, &config, &generated_weights(&config, 11), Precision::F32);
    let logits = run(&mut net, generated_input(11, &[1, 4, 32, 32, 32]).view());
    for (at, expected) in OFFICIAL_LOGITS {
        let found = logits[IxDyn(&[0, at[0], at[1], at[2], at[3]])];
        assert!((found - expected).abs() <= TOLERANCE, "{at:?}: {found} instead of {expected}");
    }
}

/// `[class, d, h, w]` and logit of `tiny/io.safetensors`, `logits.head_dim`.
const OFFICIAL_LOGITS: [([usize; 4], f32); 6] = [
    ([0, 0, 0, 0], 0.307984),
    ([1, 0, 0, 31], -0.6299796),
    ([2, 16, 16, 16], 1.220933),
    ([0, 31, 31, 31], 0.2530632),
    ([1, 7, 20, 13], -1.051299),
    ([2, 30, 2, 19], 1.685471),
];

#[test]
fn the_full_network_equals_the_official_code() {
    let test = "the_full_network_equals_the_official_code";
    let (Some(golden), Some(engine)) = (golden(test), engine(test)) else { return };
    let weights = checkpoint::read(&golden.join("full/weights.safetensors")).expect("weights read");
    let io = checkpoint::read(&golden.join("full/io.safetensors")).expect("vectors read");
    let inferred = Config::infer(&weights).expect("a SegFormer3D");
    assert_eq!(inferred, Config::brats());
    for (scale, suffix) in [(AttentionScale::NumHeads, "num_heads"), (AttentionScale::HeadDim, "head_dim")] {
        for tile in [None, Some([64; 3]), Some([13, 64, 100]), Some([128; 3])] {
            let config = Config { attention_scale: scale, tile, ..inferred.clone() };
            let mut net = load(engine, &config, &weights, Precision::F32);
            let found = run(&mut net, tensor(&io, "input").view());
            assert_close(suffix, &found, &tensor(&io, &format!("logits.{suffix}")));
        }
        let config = Config { attention_scale: scale, output_size: OutputSize::Coarse, ..inferred.clone() };
        let mut net = load(engine, &config, &weights, Precision::F32);
        let found = run(&mut net, tensor(&io, "input").view());
        assert_close(suffix, &found, &tensor(&io, &format!("lowres_logits.{suffix}")));
    }
}

#[test]
fn half_precision_weights_change_little() {
    let test = "half_precision_weights_change_little";
    let (Some(golden), Some(engine)) = (golden(test), engine(test)) else { return };
    let weights = checkpoint::read(&golden.join("full/weights.safetensors")).expect("weights read");
    let io = checkpoint::read(&golden.join("full/io.safetensors")).expect("vectors read");
    let config = Config { tile: Some([64; 3]), ..Config::brats() };
    let size = |p| build_onnx(&config, &weights, p, &[]).expect("builds").len();
    assert!(size(Precision::F16) * 100 < size(Precision::F32) * 60);
    let mut net = load(engine, &config, &weights, Precision::F16);
    let off = worst(&run(&mut net, tensor(&io, "input").view()), &tensor(&io, "logits.num_heads"));
    assert!(off < 1e-2, "half precision is off by {off}");
}

#[test]
fn the_tiny_network_equals_the_official_code() {
    let test = "the_tiny_network_equals_the_official_code";
    let (Some(golden), Some(engine)) = (golden(test), engine(test)) else { return };
    let weights = checkpoint::read(&golden.join("tiny/weights.safetensors")).expect("weights read");
    let io = checkpoint::read(&golden.join("tiny/io.safetensors")).expect("vectors read");
    let edge = checkpoint::read(&golden.join("tiny/edge40.safetensors")).expect("vectors read");
    for tile in [None, Some([40; 3]), Some([16, 16, 47])] {
        let head_dim = Config { attention_scale: AttentionScale::HeadDim, tile, ..tiny() };
        let mut net = load(engine, &head_dim, &weights, Precision::F32);
        let found = run(&mut net, tensor(&io, "input").view());
        assert_close("logits", &found, &tensor(&io, "logits.head_dim"));
        for (scale, suffix) in
            [(AttentionScale::NumHeads, "num_heads"), (AttentionScale::HeadDim, "head_dim")]
        {
            let coarse =
                Config { attention_scale: scale, output_size: OutputSize::Coarse, ..head_dim.clone() };
            let mut net = load(engine, &coarse, &weights, Precision::F32);
            let found = run(&mut net, tensor(&io, "input").view());
            assert_close(suffix, &found, &tensor(&io, &format!("lowres_logits.{suffix}")));
        }
        let input = generated_input(11, &[1, 4, 40, 40, 40]);
        let head = tensor(&edge, "input_head");
        assert!(input.iter().zip(&head).all(|(a, b)| a == b), "the generator differs");
        for name in edge.tensors.iter().map(|t| t.name.as_str()).filter(|n| n.starts_with("logits")) {
            let scale =
                if name.ends_with("num_heads") { AttentionScale::NumHeads } else { AttentionScale::HeadDim };
            let config = Config { attention_scale: scale, ..head_dim.clone() };
            let mut net = load(engine, &config, &weights, Precision::F32);
            assert_close(name, &run(&mut net, input.view()), &tensor(&edge, name));
        }
    }
}

#[test]
fn sliding_windows_equal_monai() {
    let test = "sliding_windows_equal_monai";
    let (Some(golden), Some(engine)) = (golden(test), engine(test)) else { return };
    let weights = checkpoint::read(&golden.join("tiny/weights.safetensors")).expect("weights read");
    let cases = checkpoint::read(&golden.join("sliding_window/cases.safetensors")).expect("vectors read");
    let config = Config { attention_scale: AttentionScale::HeadDim, tile: Some([32; 3]), ..tiny() };
    let mut net = load(engine, &config, &weights, Precision::F32);
    for (case, count) in [("a", 8), ("b", 2)] {
        let input: Array4<f32> = tensor(&cases, &format!("{case}.input"))
            .index_axis_move(Axis(0), 0)
            .into_dimensionality::<Ix4>()
            .expect("one case");
        let shape = [input.shape()[1], input.shape()[2], input.shape()[3]];
        let plan = Plan::new(shape, [32; 3], 0.5, Rule::Monai, Weights::Constant).expect("a plan");
        assert_eq!(plan.count(), count);
        let logits = run_tiles(&mut net, input.view(), &plan, &Task::silent()).expect("tiles run");
        let logits = logits.insert_axis(Axis(0)).into_dyn();
        assert_close(case, &logits, &tensor(&cases, &format!("{case}.logits")));
        let mask = tensor(&cases, &format!("{case}.mask"));
        let equal = logits.iter().zip(&mask).filter(|(l, m)| (**l >= 0.0) == (**m == 1.0)).count();
        assert!(equal * 10_000 >= mask.len() * 9_999, "{case}: {equal} of {}", mask.len());
    }
}

#[test]
fn every_checkpoint_format_gives_the_same_weights() {
    let Some(golden) = golden("every_checkpoint_format_gives_the_same_weights") else { return };
    let plain = checkpoint::read(&golden.join("tiny/weights.safetensors")).expect("weights read");
    for file in ["pytorch_model.bin", "module_prefix.bin", "wrapped.pth.tar", ""] {
        let path = golden.join("checkpoint_formats").join(file);
        let read = checkpoint::read(&path).expect("the checkpoint reads");
        assert_eq!(read.tensors.len(), plain.tensors.len(), "{file}");
        for expected in &plain.tensors {
            assert_eq!(read.get(&expected.name), Some(expected), "{file}");
        }
    }
}

#[test]
fn a_batch_gives_what_its_members_give() {
    let Some(engine) = engine("a_batch_gives_what_its_members_give") else { return };
    for tile in [None, Some([32, 48, 40])] {
        let config = Config { tile, ..tiny() };
        let mut net = load(engine, &config, &generated_weights(&config, 5), Precision::F32);
        let batch = generated_input(7, &[2, 4, 32, 48, 40]);
        let found = run(&mut net, batch.view());
        assert_eq!(found.shape(), [2, 3, 32, 48, 40]);
        for i in 0..2 {
            let single = run(&mut net, batch.slice_axis(Axis(0), (i..=i).into()));
            let member = found.slice_axis(Axis(0), (i..=i).into()).to_owned();
            assert!(worst(&single, &member) < 1e-5);
        }
    }
}

/// Sizes need not be equal, nor multiples of anything; all forms of the graph agree on those they take.
#[test]
fn sizes_are_free() {
    let Some(engine) = engine("sizes_are_free") else { return };
    let weights = generated_weights(&tiny(), 5);
    let with = |tile| load(engine, &Config { tile, ..tiny() }, &weights, Precision::F32);
    let mut open = with(None);
    let mut bounded = with(Some([33, 17, 61]));
    let mut slabs = with(Some([32, 17, 61]));
    assert_eq!(open.outputs()[0].name, OUTPUT);
    for [d, h, w] in [[13, 13, 13], [64, 32, 32], [16, 52, 61], [33, 17, 24], [20, 90, 20]] {
        let input = generated_input(3, &[1, 4, d, h, w]);
        let a = run(&mut open, input.view());
        let up = |n: usize| n.div_ceil(4) * 4;
        assert_eq!(a.shape(), [1, 3, up(d), up(h), up(w)]);
        assert!(a.iter().all(|v| v.is_finite()));
        assert!(worst(&a, &run(&mut bounded, input.view())) < 1e-5);
        if d % 4 == 0 {
            assert!(worst(&a, &run(&mut slabs, input.view())) < 1e-5);
        }
    }
    // Beyond what the tile promised: an error, never a wrong answer.
    let mut fails = |shape: [usize; 5]| {
        let input = generated_input(3, &shape);
        slabs.run(&[(INPUT, input.view())], &Task::silent()).is_err()
    };
    for w in 65..=77 {
        assert!(fails([1, 4, 32, 32, w]), "width {w}");
    }
    assert!(fails([1, 4, 30, 32, 32]));
    assert!(fails([2, 4, 30, 32, 32]));
    assert!(fails([4, 4, 31, 32, 32]));
}

#[test]
fn a_single_upsampling_step_follows_the_stem() {
    let Some(engine) = engine("a_single_upsampling_step_follows_the_stem") else { return };
    let config = Config {
        patch_stride: [2, 2, 2, 2],
        patch_kernel_size: [3; 4],
        patch_padding: [1; 4],
        in_channels: 1,
        num_classes: 14,
        ..tiny()
    };
    let mut net = load(engine, &config, &generated_weights(&config, 2), Precision::F32);
    assert_eq!(run(&mut net, generated_input(3, &[1, 1, 32, 16, 24]).view()).shape(), [1, 14, 32, 16, 24]);
}

#[test]
fn unfit_checkpoints_are_described() {
    let config = tiny();
    let good = generated_weights(&config, 1);
    let complaint = |change: &dyn Fn(&mut Checkpoint)| {
        let mut weights = good.clone();
        change(&mut weights);
        build_onnx(&config, &weights, Precision::F32, &[]).expect_err("unfit").to_string()
    };
    let gone = complaint(&|w| w.tensors.retain(|t| !t.name.contains("tf_block3.1.norm1")));
    assert!(gone.contains("2 missing: segformer_encoder.tf_block3.1.norm1.weight"), "{gone}");
    let extra = complaint(&|w| {
        w.tensors.push(NamedTensor { name: "extra".into(), shape: vec![1], data: vec![0.0] });
    });
    assert!(extra.contains("1 superfluous: extra [1]"), "{extra}");
    let shape = complaint(&|w| {
        let t = w.tensors.iter_mut().find(|t| t.name.ends_with("query.weight")).expect("a query");
        t.shape = vec![4, 16];
    });
    assert!(shape.contains("query.weight [4, 16] instead of [8, 8]"), "{shape}");
    let nan = complaint(&|w| w.tensors[0].data[0] = f32::NAN);
    assert!(nan.contains("not finite"), "{nan}");
    let heads = Config { num_heads: [3, 2, 3, 4], ..config.clone() };
    assert!(build_onnx(&heads, &good, Precision::F32, &[]).is_err());
    // Counters of batches are not needed.
    let mut without = good.clone();
    without.tensors.retain(|t| !t.name.ends_with("num_batches_tracked"));
    assert!(build_onnx(&config, &without, Precision::F32, &[]).is_ok());
}
