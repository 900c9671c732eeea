//! The BraTS preset: its preparation against the published one, and an import run end to end.

#![expect(clippy::print_stderr, reason = "skipped tests say so")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::{Affine, Grid, Task, Volume, Voxels};
use inference::{FakeNet, Port};
use models::Pipeline;
use models::family::{Case, Limits, Output};
use models::import::{ImportOptions, PRESETS, Preset, import};
use models::manifest::{CropKind, Manifest, Scheme, SliceAxis};
use models::pack::{ModelPack, PackSource, parse};
use ndarray::Array3;
use safetensors::SafeTensors;

/// The shared data, or a line that says what was skipped.
fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("INSULA_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: {} is not here (set INSULA_SHARED)", path.display());
    None
}

/// A tiny network with random weights, as PyTorch stores it.
const CHECKPOINT: &str = "golden/segformer3d/checkpoint_formats/pytorch_model.bin";

fn manifest(change: impl Fn(&mut Manifest)) -> Manifest {
    let text = PRESETS.iter().find(|(n, _)| *n == "brats").unwrap().1;
    let file = format!(
        "[[file]]\nrole = \"network\"\npath = \"model.onnx\"\nsha256 = \"{}\"\nbytes = 1\n",
        "0".repeat(64)
    );
    let whole = format!("schema = 1\nid = \"brats\"\nversion = \"1\"\nlicence = \"unknown\"\n{text}\n{file}");
    let mut m = parse(Path::new("brats"), whole.as_bytes()).unwrap();
    change(&mut m);
    assert_eq!(m.fault(), None);
    m
}

fn pipeline(m: Manifest) -> Pipeline {
    let port = |name: &str, c| Port { name: name.to_owned(), dims: vec![None, Some(c), None, None, None] };
    let net =
        FakeNet::new(vec![port("image", 4)], vec![port("logits", 3)], |_| unreachable!("only prepared"));
    let pack = ModelPack { manifest: m, hash: String::new(), source: PackSource::Folder(PathBuf::new()) };
    Pipeline::with_net(Arc::new(pack), Box::new(net), "none", Limits::default()).unwrap()
}

/// Channel `m` of the formula case: see the preprocessing section beside the golden vectors.
fn formula(m: usize) -> Volume {
    let a = Array3::from_shape_fn((155, 240, 240), |(z, y, x)| {
        let (x, y, z, m) = (x as i64, y as i64, z as i64, m as i64);
        let inside = 4 * (x - 118).pow(2) + 3 * (y - 126).pow(2) + 9 * (z - 70).pow(2) < 36_000;
        let v = if inside {
            (31 * x + 17 * y + 7 * z + 101 * m + 19 * ((x * y * z) % 13)) % 900 + 50 + 3 * z
        } else {
            z % 4
        };
        i16::try_from(v).unwrap()
    });
    let grid = Grid {
        size_ijk: [240, 240, 155],
        world_from_voxel: Affine([[-1., 0., 0., 0.], [0., -1., 0., 239.], [0., 0., 1., 0.]]),
    };
    Volume::new(Voxels::I16(a.into_shared()), grid).unwrap()
}

#[test]
fn preparation_equals_the_published_one_bit_for_bit() {
    const NAME: &str = "preparation_equals_the_published_one_bit_for_bit";
    let Some(file) = shared(NAME, "golden/segformer3d/preprocess/brats2017.safetensors") else { return };
    let bytes = std::fs::read(file).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        golden
            .tensor(name)
            .unwrap()
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let doubles = |name: &str| -> Vec<f64> {
        golden
            .tensor(name)
            .unwrap()
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let case = || Case::new("formula", (0..4).map(formula).collect());
    for axis in [SliceAxis::StoredK, SliceAxis::S] {
        let m = manifest(|m| {
            m.crop.kind = CropKind::Fixed;
            m.intensity[0].apply = Scheme::SliceMinmax { axis };
        });
        let prepared = pipeline(m).steps().prepare(case(), &Task::silent()).unwrap();
        let out = prepared.input().unwrap();
        assert_eq!(out.dim(), (4, 128, 128, 128));
        let stride: Vec<f32> = out.slice(ndarray::s![.., ..;8, ..;8, ..;8]).iter().copied().collect();
        assert_eq!(stride, floats("modalities_stride8"));
        let block: Vec<f32> = out.slice(ndarray::s![.., 60..68, 60..68, 60..68]).iter().copied().collect();
        assert_eq!(block, floats("modalities_block"));
        for (c, sum) in doubles("modalities_sum").into_iter().enumerate() {
            let found: f64 = out.index_axis(ndarray::Axis(0), c).iter().map(|&v| f64::from(v)).sum();
            assert!((found / sum - 1.0).abs() < 1e-9, "{found} {sum}");
        }
    }
}

#[test]
fn the_fixed_box_and_the_whole_brain_see_the_same_voxels() {
    let case = || Case::new("formula", (0..4).map(formula).collect());
    let fixed = pipeline(manifest(|m| m.crop.kind = CropKind::Fixed))
        .steps()
        .prepare(case(), &Task::silent())
        .unwrap();
    let whole = pipeline(manifest(|m| m.crop.kind = CropKind::None))
        .steps()
        .prepare(case(), &Task::silent())
        .unwrap();
    assert_eq!(whole.grid().orientation_code(), "RAS");
    let part = whole.input().unwrap().slice(ndarray::s![.., 13..141, 56..184, 56..184]);
    assert_eq!(part, fixed.input().unwrap().view());
}

/// The tiny golden network as a preset with small tiles.
fn tiny_preset(folder: &Path) -> PathBuf {
    let text = PRESETS.iter().find(|(n, _)| *n == "brats").unwrap().1;
    let head = &text[..text.find("[network]").unwrap()];
    let head = head
        .replace("patch = [128, 128, 128]", "patch = [64, 64, 64]")
        .replace("overlap = 0.5", "overlap = 0.25");
    let path = folder.join("tiny.toml");
    let network = "[network]\nin_channels = 4\nnum_classes = 3\nembed_dims = [8, 16, 24, 32]\nnum_heads = [1, 2, 3, 4]\n\
                   depths = [2, 1, 2, 1]\nmlp_ratios = [4, 2, 3, 4]\nsr_ratios = [4, 2, 1, 1]\npatch_kernel_size = [7, 3, 3, 3]\n\
                   patch_stride = [4, 2, 2, 2]\npatch_padding = [3, 1, 1, 1]\ndecoder_head_embedding_dim = 16\n\
                   attention_scale = \"head_dim\"\n";
    std::fs::write(&path, format!("{head}{network}")).unwrap();
    path
}

#[test]
fn a_checkpoint_becomes_a_pack() {
    let Some(weights) = shared("a_checkpoint_becomes_a_pack", CHECKPOINT) else { return };
    let dir = tempfile::tempdir().unwrap();
    let preset = Preset::Toml(tiny_preset(dir.path()));
    let options = ImportOptions::new(preset.clone(), "tiny-brats", dir.path());
    let pack = import(&weights, &options, &Task::silent()).unwrap();
    pack.verify().unwrap();
    assert_eq!(pack.manifest.licence, "unknown");
    let origin = pack.manifest.origin.as_ref().unwrap();
    assert_eq!(origin.checkpoint, "pytorch_model.bin");
    assert_eq!(origin.sha256, models::pack::sha256_hex(&std::fs::read(&weights).unwrap()));
    let card = std::fs::read_to_string(dir.path().join("tiny-brats/MODEL_CARD.md")).unwrap();
    assert!(card.contains("Unknown") && card.contains(&origin.sha256), "{card}");
    let onnx = std::fs::read(dir.path().join("tiny-brats/model.onnx")).unwrap();
    for text in ["insula-pack", "tiny-brats", &origin.sha256] {
        assert!(onnx.windows(text.len()).any(|w| w == text.as_bytes()), "{text} in the metadata");
    }

    let again = import(&weights, &options, &Task::silent()).unwrap_err().to_string();
    assert!(again.contains("already there"), "{again}");
    let replaced = import(
        &weights,
        &ImportOptions { replace: true, crop: Some(CropKind::Fixed), ..options.clone() },
        &Task::silent(),
    )
    .unwrap();
    assert_eq!(replaced.manifest.crop.kind, CropKind::Fixed);
    assert_ne!(replaced.hash, pack.hash);

    let wrong = ImportOptions {
        id: "wrong".to_owned(),
        preset: Preset::Named("synapse".to_owned()),
        ..options.clone()
    };
    assert!(import(&weights, &wrong, &Task::silent()).is_err());
    assert!(!dir.path().join("wrong").exists());
    let bad_id = ImportOptions { id: "../up".to_owned(), ..options };
    assert!(import(&weights, &bad_id, &Task::silent()).unwrap_err().to_string().contains("pack id"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "the preset and one pack");
}

#[test]
fn an_imported_pack_runs_on_a_case() {
    const NAME: &str = "an_imported_pack_runs_on_a_case";
    let (Some(weights), Some(folder)) =
        (shared(NAME, CHECKPOINT), shared(NAME, "data/nifti/brats/Brats18_TCIA13_623_1"))
    else {
        return;
    };
    let runtime = match inference::runtime::find() {
        Ok(found) => found,
        Err(why) => {
            eprintln!("SKIPPED {NAME}: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let options = ImportOptions::new(Preset::Toml(tiny_preset(dir.path())), "tiny-brats", dir.path());
    let task = Task::silent();
    let pack = Arc::new(import(&weights, &options, &task).unwrap());

    let files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    let grouping = pack.manifest.group(&files);
    assert_eq!(grouping.cases.len(), 1);
    let images = grouping.cases[0].channels.iter().map(|p| formats::open(p, &task).unwrap()).collect();
    let case = Case::from_images(&grouping.cases[0].name, images, &pack.manifest).unwrap();
    let source = case.channels[0].grid;

    let engine = inference::Engine::start(&inference::EngineOptions {
        runtime: runtime.path,
        provider: inference::ProviderChoice::Exactly(inference::Provider::Cpu),
        threads: 2,
    })
    .unwrap();
    let mut pipeline = Pipeline::open(pack, engine, Limits::default(), &task).unwrap();
    let estimate = pipeline.check(&case).unwrap();
    let outcome = pipeline.run(case, &task).unwrap();
    let Output::Labels(map) = &outcome.output else { panic!("labels") };
    assert_eq!(map.grid, source);
    assert_eq!(map.labels.dim(), (155, 240, 240));
    assert!(map.labels.iter().all(|l| [0, 1, 2, 4].contains(l)));
    assert!(outcome.tiles > 1 && outcome.tiles <= estimate.tiles);
    assert!(outcome.estimated_bytes > 0);
    eprintln!("{} tiles, {:?}", outcome.tiles, outcome.timings);
}
