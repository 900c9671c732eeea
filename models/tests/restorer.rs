//! Pictures and volumes through restorers: sizes, seams, types and geometry with networks whose answer is known, and
//! imported checkpoints against the pictures of the official program.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::PathBuf;
use std::sync::Arc;

use formats::{Affine, Grid, Meta, Scaling, Task, Volume, Voxels};
use inference::engine::{Engine, EngineOptions};
use inference::net::{Net, Port};
use inference::provider::{Provider, ProviderChoice, ProviderReport};
use models::family::Limits;
use models::import::{ImportOptions, Preset, import};
use models::manifest::Restoration;
use models::restorer::{Reach, Settings, SliceAxis, Tiling, is_restored};
use models::{Case, ModelPack, Output, Pipeline, checkpoint};
use ndarray::{Array3, ArrayD, ArrayViewD, IxDyn};

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

/// A network that answers with a function of its tile.
struct Known<F> {
    ports: [Vec<Port>; 2],
    report: ProviderReport,
    answer: F,
}

impl<F: FnMut(&mut ArrayD<f32>) + Send> Known<F> {
    fn boxed(channels: usize, tile: Option<usize>, answer: F) -> Box<Self> {
        let port =
            |name: &str| vec![Port { name: name.to_owned(), dims: vec![None, Some(channels), tile, tile] }];
        let report = ProviderReport { used: Provider::Cpu, why: "a test".to_owned() };
        Box::new(Self { ports: [port("image"), port("restored")], report, answer })
    }
}

impl<F: FnMut(&mut ArrayD<f32>) + Send> Net for Known<F> {
    fn inputs(&self) -> &[Port] {
        &self.ports[0]
    }
    fn outputs(&self) -> &[Port] {
        &self.ports[1]
    }
    fn run(
        &mut self,
        inputs: &[(&str, ArrayViewD<'_, f32>)],
        task: &Task,
    ) -> inference::Result<Vec<ArrayD<f32>>> {
        task.check()?;
        let mut tile = inputs[0].1.to_owned();
        (self.answer)(&mut tile);
        Ok(vec![tile])
    }
    fn provider(&self) -> &ProviderReport {
        &self.report
    }
}

/// A pack without a network of its own.
fn pack(colours: &str, tile: usize) -> Arc<ModelPack> {
    let zeros = "0".repeat(64);
    let text = format!(
        "schema = 1\nid = \"better\"\nname = \"Better\"\nversion = \"1\"\nfamily = \"maxim\"\nsummary = \"\"\n\
         intended_use = \"\"\nlicence = \"MIT\"\n[input]\naxes = \"stored\"\n[[input.channel]]\nname = \"image\"\npatterns = []\n\
         [tiles]\npatch = [1, {tile}, {tile}]\noverlap = 0.25\n\
         [output]\nactivation = \"image\"\ntask = \"denoising\"\ncolours = \"{colours}\"\nmultiple = 16\n\
         [[file]]\nrole = \"network\"\npath = \"model.onnx\"\nbytes = 0\nsha256 = \"{zeros}\"\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pack.toml"), text).unwrap();
    std::fs::write(folder.path().join("model.onnx"), "").unwrap();
    Arc::new(ModelPack::from_folder(folder.path()).unwrap())
}

fn volume(voxels: Voxels) -> Volume {
    let [k, j, i] = voxels.shape_kji();
    let affine = Affine([[-1.5, 0.1, 0.0, 4.0], [0.2, 1.2, 0.0, -3.0], [0.0, 0.0, 2.5, 7.0]]);
    let grid = Grid { size_ijk: [i, j, k], world_from_voxel: affine };
    Volume { voxels, grid, scaling: Scaling { slope: 2.0, inter: -5.0 }, meta: Meta::default() }
}

fn restored(net: Box<dyn Net>, pack: Arc<ModelPack>, volume: Volume, settings: Settings) -> (Volume, usize) {
    let mut pipeline = Pipeline::with_net(pack, net, "none", Limits { memory_bytes: Some(4 << 30) }).unwrap();
    let case = Case { restoration: settings, ..Case::new("case", vec![volume]) };
    let estimate = pipeline.check(&case).unwrap();
    let outcome = pipeline.run(case, &Task::silent()).unwrap();
    assert!(outcome.tiles <= estimate.tiles.max(outcome.tiles) && estimate.memory_bytes > 0);
    let Output::Image(volume) = outcome.output else { panic!("an image") };
    (volume, outcome.tiles)
}

/// Smooth, with detail, different along every axis.
fn value(k: usize, j: usize, i: usize) -> f32 {
    let (k, j, i) = (k as f32, j as f32, i as f32);
    500.0 + 300.0 * (0.05 * i).sin() + 200.0 * (0.031 * j + 0.4 * k).cos() + ((i * 7.0 + j * 3.0 + k) % 5.0)
}

#[test]
fn a_network_that_changes_nothing_changes_nothing_at_any_size() {
    for (k, j, i) in [(1, 1, 1), (1, 1, 300), (1, 50, 50), (1, 129, 64), (3, 65, 200), (40, 1, 30)] {
        let image = Array3::from_shape_fn((k, j, i), |(k, j, i)| value(k, j, i) as i16);
        for tile in [Some(64), None] {
            for axis in [SliceAxis::Auto, SliceAxis::I, SliceAxis::All] {
                let before = volume(Voxels::I16(image.clone().into_shared()));
                let settings = Settings { axis, ..Settings::default() };
                let net = Known::boxed(1, tile, |_| {});
                let (after, _) = restored(net, pack("grey", 64), before.clone(), settings);
                assert_eq!((after.grid, after.scaling), (before.grid, before.scaling));
                let Voxels::I16(found) = &after.voxels else { panic!("{}", after.voxels.type_name()) };
                assert_eq!(found, &image, "{k}×{j}×{i} {tile:?} {axis:?}");
                assert!(is_restored(&after).unwrap().contains("not for measurement"));
            }
        }
    }
}

/// Each tile answers with an offset of its own, as badly as a network could: the worst case for seams.
#[test]
fn tiles_leave_no_seams() {
    let (height, width) = (400, 520);
    for noisy in [false, true] {
        let mut state = 7u32;
        let image = Array3::from_shape_fn((1, height, width), |(_, j, i)| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = if noisy { (state >> 16) as f32 / 65536.0 * 0.2 - 0.1 } else { 0.0 };
            0.5 + 0.3 * (0.02 * i as f32).sin() * (0.017 * j as f32).cos() + noise
        });
        let tiling = Tiling::new(height, width, [Reach::Fixed(128); 2], 0.25);
        let mut n = 0;
        let mut net = Known::boxed(1, Some(128), move |tile: &mut ArrayD<f32>| {
            n += 1;
            // ±8 grey levels between neighbours, many times what MAXIM's tiles differ by.
            *tile += if n % 2 == 0 { 4.0 / 255.0 } else { -4.0 / 255.0 };
        });
        let out = tiling.run(net.as_mut(), image.view(), 1, &Task::silent(), &mut |_| Ok(())).unwrap();
        // What was added, whose steps from pixel to pixel would be seen as seams.
        let added = &out - &image;
        let step = |a: f32, b: f32| (a - b).abs();
        let mut worst = 0.0f32;
        for j in 1..height {
            for i in 1..width {
                worst = worst.max(step(added[[0, j, i]], added[[0, j, i - 1]]));
                worst = worst.max(step(added[[0, j, i]], added[[0, j - 1, i]]));
            }
        }
        assert!(worst <= 1.0 / 255.0, "noisy {noisy}: a step of {} grey levels", worst * 255.0);
        assert!(added.iter().any(|v| *v > 3.0 / 255.0) && added.iter().any(|v| *v < -3.0 / 255.0));
    }
}

#[test]
fn strength_blends_colours_keep_alpha_and_constant_slices_stay() {
    let bright = |tile: &mut ArrayD<f32>| *tile += 0.2;
    let image =
        Array3::from_shape_fn((1, 70, 90), |(_, j, i)| [j as u8, i as u8, (i + j) as u8 / 2, (i * j) as u8]);
    let before = volume(Voxels::Rgba8(image.clone().into_shared()));
    let half = Settings { strength: 0.5, ..Settings::default() };
    // A grey network sees the colours one by one, a colour network all at once.
    for (colours, channels) in [("grey", 1), ("rgb", 3)] {
        let (after, _) =
            restored(Known::boxed(channels, Some(32), bright), pack(colours, 32), before.clone(), half);
        let Voxels::Rgba8(found) = after.voxels else { panic!("alpha is kept") };
        for (f, b) in found.iter().zip(&image) {
            assert_eq!(f[3], b[3]);
            assert!((0..3).all(|c| (f64::from(f[c]) - f64::from(b[c]) - 25.5).abs() <= 0.6), "{b:?} {f:?}");
        }
    }
    let mut slices = Array3::from_shape_fn((3, 40, 40), |(k, j, i)| value(k, j, i));
    slices.index_axis_mut(ndarray::Axis(0), 1).fill(100.0);
    slices[[2, 5, 5]] = f32::NAN;
    let before = volume(Voxels::F32(slices.clone().into_shared()));
    let settings = Settings { axis: SliceAxis::K, ..Settings::default() };
    let (after, _) = restored(Known::boxed(1, Some(32), bright), pack("grey", 32), before, settings);
    let Voxels::F32(found) = after.voxels else { panic!("floats stay floats") };
    assert!(found.index_axis(ndarray::Axis(0), 1).iter().all(|v| *v == 100.0));
    assert!(found[[2, 5, 5]].is_nan());
    let change = found[[0, 20, 20]] - slices[[0, 20, 20]];
    assert!(change > 50.0 && (found[[0, 3, 30]] - slices[[0, 3, 30]] - change).abs() < 0.01);
    assert!(after.meta.facts.contains_key("noise-sigma-before"));
}

#[test]
fn slices_are_those_of_the_thickest_axis() {
    // The network sees what its planes are: their first pixel's neighbours differ along the plane's axes only.
    let image = Array3::from_shape_fn((4, 20, 30), |(k, _, _)| k as f32 + 1.0);
    let across = |spacing: [f64; 3]| {
        let mut before = volume(Voxels::F32(image.clone().into_shared()));
        before.grid.world_from_voxel =
            Affine([[spacing[0], 0.0, 0.0, 0.0], [0.0, spacing[1], 0.0, 0.0], [0.0, 0.0, spacing[2], 0.0]]);
        let net = Known::boxed(1, Some(32), |_| {});
        restored(net, pack("grey", 32), before, Settings::default()).0.meta.facts["restored-across"].clone()
    };
    assert_eq!(across([1.0, 1.0, 1.0]), "k");
    assert_eq!(across([1.0, 1.0, 5.0]), "k");
    assert_eq!(across([4.0, 1.0, 1.0]), "i");
    assert_eq!(across([1.0, 3.0, 1.0]), "j");
}

#[test]
fn what_does_not_fit_is_told() {
    let complex = Voxels::Complex32(Array3::from_elem((1, 4, 4), [1.0f32, 0.0]).into_shared());
    let pipeline = |net: Box<dyn Net>, limits| Pipeline::with_net(pack("grey", 32), net, "none", limits);
    let mut good = pipeline(Known::boxed(1, Some(32), |_| {}), Limits::default()).unwrap();
    let error = good.run(Case::new("c", vec![volume(complex)]), &Task::silent()).unwrap_err();
    assert!(error.to_string().contains("complex"), "{error}");
    assert!(pipeline(Known::boxed(3, Some(32), |_| {}), Limits::default()).is_err());
    assert!(pipeline(Known::boxed(1, Some(64), |_| {}), Limits::default()).is_err());
    let small = pipeline(Known::boxed(1, Some(32), |_| {}), Limits { memory_bytes: Some(1000) }).unwrap();
    let image = volume(Voxels::U8(Array3::zeros((1, 40, 40)).into_shared()));
    let error = small.check(&Case::new("c", vec![image])).unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
}

/// `checkpoint.npz` as a pack, run on the pictures of all odd sizes that the official program was run on.
#[test]
fn official_checkpoint_and_pictures() {
    let test = "official_checkpoint_and_pictures";
    let (Some(weights), Some(cases), Some(engine)) =
        (golden(test, "tiny/checkpoint.npz"), golden(test, "tiny/pad_cases.npz"), engine(test))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // The checkpoint is a small MAXIM and no published variant: the preset says so.
    let config = models::maxim::Config::of_checkpoint(&checkpoint::read(&weights).unwrap()).unwrap();
    let preset = folder.path().join("tiny.toml");
    let text = format!(
        "family = \"maxim\"\n[input]\naxes = \"stored\"\n[[input.channel]]\nname = \"picture\"\npatterns = []\n\
         [tiles]\npatch = [1, 256, 256]\noverlap = 0.25\n[output]\nactivation = \"image\"\ntask = \"denoising\"\n\
         colours = \"rgb\"\nmultiple = 64\n[network]\n{}",
        toml::to_string(&config).unwrap()
    );
    std::fs::write(&preset, text).unwrap();
    let mut options = ImportOptions::new(Preset::Toml(preset), "tiny", folder.path());
    options.family = "maxim".to_owned();
    let pack = Arc::new(import(&weights, &options, &Task::silent()).unwrap());
    let mut pipeline = Pipeline::open(Arc::clone(&pack), engine, Limits::default(), &Task::silent()).unwrap();
    let bytes = pack.read(models::manifest::Role::Network).unwrap();
    let mut net = engine.load(inference::engine::Model::Bytes(&bytes), &Task::silent()).unwrap();

    let file = checkpoint::read(&cases).unwrap();
    for (height, width) in [(50, 70), (51, 69), (64, 64), (20, 100), (1, 65)] {
        let get = |end: &str| {
            let t = file.get(&format!("{height}x{width}_{end}")).unwrap();
            let hwc: Vec<usize> = t.shape[t.shape.len() - 3..].to_vec();
            ArrayD::from_shape_vec(IxDyn(&hwc), t.data.clone()).unwrap()
        };
        let (image, expected, png) = (get("image"), get("pred"), get("png"));
        // In floats, before anything is rounded.
        let seen = Array3::from_shape_fn((3, height, width), |(c, y, x)| image[[y, x, c]] / 255.0);
        let tiling = Tiling::new(height, width, [Reach::Multiples(64, 256); 2], 0.25);
        let found = tiling.run(&mut net, seen.view(), 1, &Task::silent(), &mut |_| Ok(())).unwrap();
        let off = |(c, y, x): (usize, usize, usize)| (found[[c, y, x]] - expected[[y, x, c]]).abs();
        let worst = found.indexed_iter().map(|(at, _)| off(at)).fold(0.0f32, f32::max);
        assert!(worst <= 5e-5, "{height}×{width}: off by {worst}");
        // As a picture: the official program truncates, this one rounds.
        let rgb =
            Array3::from_shape_fn((1, height, width), |(_, y, x)| [0, 1, 2].map(|c| image[[y, x, c]] as u8));
        let case = Case::new("picture", vec![volume(Voxels::Rgb8(rgb.into_shared()))]);
        let outcome = pipeline.run(case, &Task::silent()).unwrap();
        let Output::Image(volume) = outcome.output else { panic!("an image") };
        let Voxels::Rgb8(found) = volume.voxels else { panic!("of the same type") };
        let off = found.indexed_iter().flat_map(|((_, y, x), v)| {
            let png = &png;
            (0..3).map(move |c| (f32::from(v[c]) - png[[y, x, c]]).abs())
        });
        assert!(off.fold(0.0f32, f32::max) <= 1.0, "{height}×{width}");
    }
}

#[test]
fn imports_say_what_does_not_fit() {
    let test = "imports_say_what_does_not_fit";
    let Some(weights) = golden(test, "tiny/checkpoint.npz") else { return };
    let folder = tempfile::tempdir().unwrap();
    let maxim = |variant: &str| Preset::Maxim { variant: variant.to_owned(), task: Restoration::Denoising };
    let attempt = |preset: Preset| {
        let mut options = ImportOptions::new(preset, "tiny", folder.path());
        options.family = "maxim".to_owned();
        import(&weights, &options, &Task::silent()).unwrap_err().to_string()
    };
    let text = attempt(maxim("S-2"));
    assert!(text.contains("of another shape") && text.contains("checkpoint.npz"), "{text}");
    assert!(attempt(maxim("S-9")).contains("S-3"));
    assert!(attempt(Preset::Named("brats".to_owned())).contains("segformer3d"));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left behind");
}
