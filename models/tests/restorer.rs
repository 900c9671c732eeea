//! Restorers over networks that are functions: values, types, geometry, tiles, limits. No ONNX Runtime needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::{Affine, AffineSource, Cancel, FrameAxis, Grid, Scaling, Task, Volume, Voxels};
use inference::{FakeNet, Port};
use models::family::{Case, Limits, Output};
use models::pack::{ModelPack, PackSource, parse};
use models::restorer::{Restored, is_restored};
use models::{Error, Outcome, Pipeline, Restoring, Slices};
use ndarray::{Array3, Array4, ArrayView4, Ix4};

/// A pack for tiles of `patch` that answers with pictures of so many colours.
fn pack(channels: usize, patch: [usize; 2], more: &str) -> Arc<ModelPack> {
    let text = format!(
        "schema = 1\nid = \"test\"\nname = \"Test\"\nversion = \"1\"\nfamily = \"maxim\"\nsummary = \"s\"\n\
         intended_use = \"u\"\nlicence = \"CC0-1.0\"\n[input]\naxes = \"stored\"\n[[input.channel]]\nname = \"image\"\n\
         [[file]]\nrole = \"network\"\npath = \"model.onnx\"\nsha256 = \"{}\"\nbytes = 1\n\
         [output]\nactivation = \"none\"\ntask = \"denoising\"\nchannels = {channels}\n\
         [tiles]\npatch = [1, {}, {}]\noverlap = 0.25\nblend = \"ramp\"\n{more}\n",
        "0".repeat(64),
        patch[0],
        patch[1]
    );
    let manifest = parse(Path::new("test"), text.as_bytes()).unwrap();
    Arc::new(ModelPack { manifest, hash: "h".repeat(64), source: PackSource::Folder(PathBuf::from("test")) })
}

/// A network from `[N, C, H, W]` to the same by a function of all tiles.
fn net(c: usize, f: impl Fn(ArrayView4<'_, f32>) -> Array4<f32> + Send + 'static) -> Box<FakeNet> {
    let port = |name: &str| Port { name: name.to_owned(), dims: vec![None, Some(c), None, None] };
    Box::new(FakeNet::new(vec![port("image")], vec![port("restored")], move |inputs| {
        Ok(vec![f(inputs[0].1.view().into_dimensionality::<Ix4>().unwrap()).into_dyn()])
    }))
}

fn run(pack: &Arc<ModelPack>, net: Box<FakeNet>, case: Case) -> Result<Outcome, Error> {
    Pipeline::with_net(Arc::clone(pack), net, "none", Limits::default()).unwrap().run(case, &Task::silent())
}

fn restored(outcome: &Outcome) -> &Restored {
    let Output::Image(r) = &outcome.output else { panic!("an image") };
    r
}

fn case(volume: Volume, restoring: Restoring) -> Case {
    Case { restoring, ..Case::new("case", vec![volume]) }
}

fn oblique(size_ijk: [usize; 3]) -> Grid {
    let world_from_voxel = Affine([[0.9, 0.1, 0.3, -7.0], [-0.2, 1.1, 0.2, 11.0], [0.1, -0.3, 2.5, 3.0]]);
    Grid { size_ijk, world_from_voxel }
}

/// A volume of integers with values all over, scaled, with no place where two slices are alike.
fn scaled(size: [usize; 3]) -> Volume {
    let [i, j, k] = size;
    let a = Array3::from_shape_fn((k, j, i), |(k, j, i)| ((i * 31 + j * 17 + k * 7) % 251) as i16 * 9 - 1000);
    let mut v = Volume::new(Voxels::I16(a.into_shared()), oblique(size)).unwrap();
    v.scaling = Scaling { slope: 0.5, inter: -20.0 };
    v.meta.affine_source = AffineSource::Header;
    v
}

fn picture(voxels: Voxels) -> Volume {
    let [k, j, i] = voxels.shape_kji();
    Volume::new(voxels, formats::raster::picture_grid([i, j, k], [1.0; 3])).unwrap()
}

#[test]
fn an_answer_like_the_question_changes_nothing_whatever_the_type_and_size() {
    let grey = pack(1, [32, 32], "");
    let colour = pack(3, [64, 64], "multiple = 16");
    for [i, j] in [[1, 1], [1, 70], [33, 2], [31, 32], [50, 50], [97, 64]] {
        let each = |(_, y, x): (usize, usize, usize)| (x * 13 + y * 29) % 256;
        let voxels = [
            Voxels::U8(Array3::from_shape_fn((1, j, i), |p| each(p) as u8).into_shared()),
            Voxels::U16(Array3::from_shape_fn((1, j, i), |p| each(p) as u16 * 257).into_shared()),
            Voxels::Rgb8(
                Array3::from_shape_fn((1, j, i), |p| [0, 1, 2].map(|c| (each(p) + 50 * c) as u8))
                    .into_shared(),
            ),
            Voxels::Rgba16(
                Array3::from_shape_fn((1, j, i), |p| [0, 1, 2, 3].map(|c| (each(p) * 200 + c) as u16))
                    .into_shared(),
            ),
        ];
        for v in voxels {
            for (pack, c) in [(&grey, 1), (&colour, 3)] {
                let before = picture(v.clone());
                let outcome =
                    run(pack, net(c, |x| x.to_owned()), case(before.clone(), Restoring::default())).unwrap();
                let after = &restored(&outcome).volume;
                assert_eq!(
                    format!("{:?}", after.voxels),
                    format!("{:?}", before.voxels),
                    "{i}×{j}, {c} channels"
                );
                assert_eq!(after.grid, before.grid);
                assert!(is_restored(&after.meta) && !is_restored(&before.meta));
            }
        }
    }
    let before = scaled([9, 40, 6]);
    for slices in [Slices::Auto, Slices::I, Slices::J, Slices::K, Slices::All] {
        let restoring = Restoring { slices, ..Restoring::default() };
        let outcome = run(&grey, net(1, |x| x.to_owned()), case(before.clone(), restoring)).unwrap();
        let after = &restored(&outcome).volume;
        assert_eq!(after.grid, before.grid);
        assert_eq!(after.scaling, before.scaling);
        let (Voxels::I16(a), Voxels::I16(b)) = (&after.voxels, &before.voxels) else {
            panic!("the type stays")
        };
        assert_eq!(a, b, "{slices:?}");
    }
}

#[test]
fn the_network_sees_the_stated_scale_and_odd_values_survive() {
    let pack = pack(1, [32, 32], "");
    // 1000 values: 0, 1, …, 999; the 99.5th percentile lies at index 994.005.
    let mut a = Array3::from_shape_fn((1, 25, 40), |(_, y, x)| (y * 40 + x) as f32);
    let outcome = run(
        &pack,
        net(1, |x| {
            assert!(x.iter().all(|v| (0.0..=999.0 / 994.0).contains(v)));
            x.to_owned()
        }),
        case(
            Volume::new(Voxels::F32(a.clone().into_shared()), oblique([40, 25, 1])).unwrap(),
            Restoring::default(),
        ),
    )
    .unwrap();
    let report = &restored(&outcome).report;
    assert!((report.divided_by - 994.005).abs() < 1e-3 && report.subtracted == 0.0, "{report:?}");

    // Hounsfield units and a hole.
    a.mapv_inplace(|v| v - 1000.0);
    a[[0, 3, 4]] = f32::NAN;
    a[[0, 20, 30]] = f32::INFINITY;
    let volume = Volume::new(Voxels::F32(a.clone().into_shared()), oblique([40, 25, 1])).unwrap();
    let outcome = run(&pack, net(1, |x| x.mapv(|v| v + 0.5)), case(volume, Restoring::default())).unwrap();
    assert!(outcome.notices.iter().any(|n| n.code == "non-finite-values" && n.message.starts_with("2 ")));
    let Restored { volume, report, .. } = restored(&outcome);
    assert!((report.subtracted + 995.0).abs() < 0.1 && (report.divided_by - 989.0).abs() < 0.2, "{report:?}");
    let Voxels::F32(after) = &volume.voxels else { panic!("the type stays") };
    assert!(after[[0, 3, 4]].is_nan() && after[[0, 20, 30]].is_infinite());
    for ((p, after), before) in after.indexed_iter().zip(&a) {
        let expected = f64::from(*before) + 0.5 * report.divided_by;
        assert!(!before.is_finite() || (f64::from(*after) - expected).abs() < 1e-3, "{p:?}");
    }
}

#[test]
fn strength_mixes_and_integers_are_rounded_within_their_type() {
    let pack = pack(1, [32, 32], "");
    let a = Array3::from_shape_fn((1, 20, 20), |(_, y, x)| (y * 12 + x) as u8);
    for (strength, add) in [(0.0, 0), (0.5, 25), (1.0, 51)] {
        let restoring = Restoring { strength, ..Restoring::default() };
        let answer = net(1, |x| x.mapv(|v| v + 0.2));
        let outcome =
            run(&pack, answer, case(picture(Voxels::U8(a.clone().into_shared())), restoring)).unwrap();
        let Voxels::U8(after) = &restored(&outcome).volume.voxels else { panic!("the type stays") };
        for (after, before) in after.iter().zip(&a) {
            let expected = f64::from(*before) + 51.0 * strength;
            assert!((f64::from(*after) - expected.min(255.0)).abs() <= 0.5, "{before} + {add}");
        }
    }
    let restoring = Restoring { strength: 1.5, ..Restoring::default() };
    let refused = run(&pack, net(1, |x| x.to_owned()), case(picture(Voxels::U8(a.into_shared())), restoring));
    assert!(refused.unwrap_err().to_string().contains("strength of 1.5"));
}

#[test]
fn slices_are_those_asked_for() {
    let pack = pack(1, [32, 32], "");
    // The answer is the value of the pixel's lower neighbour in its slice; what is seen of the last row does not matter.
    let down = || {
        net(1, |x| {
            let mut y = x.to_owned();
            for r in 0..x.dim().2 - 1 {
                y.index_axis_mut(ndarray::Axis(2), r).assign(&x.index_axis(ndarray::Axis(2), r + 1));
            }
            y
        })
    };
    let size = [32, 32, 32];
    let a = Array3::from_shape_fn((32, 32, 32), |(k, j, i)| ((k * 37 + j * 101 + i * 53) % 97) as f32 + 1.0);
    let grid = Grid { size_ijk: size, world_from_voxel: Affine::scale_shift([1.0, 1.0, 1.0], [0.0; 3]) };
    let at = |slices, grid: Grid| {
        let volume = Volume::new(Voxels::F32(a.clone().into_shared()), grid).unwrap();
        let outcome = run(&pack, down(), case(volume, Restoring { slices, ..Restoring::default() })).unwrap();
        let Voxels::F32(after) = restored(&outcome).volume.voxels.clone() else { panic!("the type stays") };
        (after, restored(&outcome).report.slices.clone())
    };
    let close = |found: f32, expected: f32| (found - expected).abs() < 1e-3;
    // Rows of a slice across k are j, across j and i they are k.
    let (k, name) = at(Slices::K, grid);
    assert!(name == "k" && close(k[[5, 6, 7]], a[[5, 7, 7]]));
    let (j, name) = at(Slices::J, grid);
    assert!(name == "j" && close(j[[5, 6, 7]], a[[6, 6, 7]]));
    let (i, name) = at(Slices::I, grid);
    assert!(name == "i" && close(i[[5, 6, 7]], a[[6, 6, 7]]));
    let (all, name) = at(Slices::All, grid);
    assert_eq!(name, "k+j+i");
    assert!(close(all[[5, 6, 7]], (a[[5, 7, 7]] + 2.0 * a[[6, 6, 7]]) / 3.0));
    assert_eq!(at(Slices::Auto, grid).1, "k");
    let thick_i = Grid { world_from_voxel: Affine::scale_shift([4.0, 1.0, 1.0], [0.0; 3]), ..grid };
    assert_eq!(at(Slices::Auto, thick_i).1, "i");
}

#[test]
fn slices_of_one_value_are_left_alone() {
    let pack = pack(1, [32, 32], "");
    let mut a = Array3::<u16>::from_elem((4, 30, 30), 7);
    a[[2, 3, 4]] = 90;
    let volume = Volume::new(Voxels::U16(a.clone().into_shared()), oblique([30, 30, 4])).unwrap();
    let outcome = run(
        &pack,
        net(1, |x| x.mapv(|v| v + 1.0)),
        case(volume, Restoring { slices: Slices::K, ..Restoring::default() }),
    )
    .unwrap();
    let Restored { volume, report, .. } = restored(&outcome);
    let Voxels::U16(after) = &volume.voxels else { panic!("the type stays") };
    assert_eq!((report.unchanged_slices, outcome.tiles), (3, 1));
    assert!(after[[0, 0, 0]] == 7 && after[[2, 0, 0]] > 7);
}

/// Largest step between neighbours across borders of tiles beyond the largest elsewhere, in the network's units.
fn step_at_borders(change: &Array3<f32>, borders: &[usize]) -> f32 {
    let (_, h, w) = change.dim();
    let (mut at_borders, mut elsewhere) = (0.0f32, 0.0f32);
    for y in 0..h {
        for x in 1..w {
            let step = (change[[0, y, x]] - change[[0, y, x - 1]]).abs();
            if borders.contains(&x) {
                at_borders = at_borders.max(step);
            } else {
                elsewhere = elsewhere.max(step);
            }
        }
    }
    at_borders - elsewhere
}

/// What a network changes, in its units, that adds to each tile a number of its own, as the global branch of MAXIM may.
fn disagreeing(pack: &Arc<ModelPack>, a: &Array3<f32>) -> Array3<f32> {
    let answer = net(1, |x| {
        let mut y = x.to_owned();
        for mut tile in y.outer_iter_mut() {
            let shift = 0.1 * (tile.mean().unwrap() * 50.0).sin();
            tile.mapv_inplace(|v| v + shift);
        }
        y
    });
    let volume = picture(Voxels::F32(a.clone().into_shared()));
    let outcome = run(pack, answer, case(volume, Restoring::default())).unwrap();
    let Restored { volume, report, .. } = restored(&outcome);
    let Voxels::F32(after) = &volume.voxels else { panic!("the type stays") };
    Array3::from_shape_fn(a.raw_dim(), |p| (after[p] - a[p]) / report.divided_by as f32)
}

#[test]
fn tiles_that_disagree_leave_no_step() {
    let faded = pack(1, [128, 128], "");
    let cut = {
        let mut m = faded.manifest.clone();
        (m.tiles.overlap, m.tiles.blend) = (0.0, models::manifest::Weights::Constant);
        Arc::new(ModelPack { manifest: m, ..(*faded).clone() })
    };
    for noisy in [false, true] {
        let a = Array3::from_shape_fn((1, 300, 500), |(_, y, x)| {
            let noise = if noisy { ((x * 7919 + y * 104_729) % 61) as f32 / 610.0 } else { 0.0 };
            0.5 + 0.4 * (x as f32 * 0.02).sin() * (y as f32 * 0.017).cos() + noise
        });
        let borders = |starts: &[usize]| -> Vec<usize> {
            starts.iter().flat_map(|s| [*s, s + 128]).filter(|b| (1..500).contains(b)).collect()
        };
        let change = disagreeing(&faded, &a);
        let span = change.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(span > 0.05, "the tiles do disagree: {span}");
        // Five tiles that share 32 pixels at least.
        let extra = step_at_borders(&change, &borders(&[0, 93, 186, 279, 372]));
        assert!(extra <= 1.0 / 255.0, "noisy {noisy}: {extra}");
        // A disagreement of 0.2 fades over 32 pixels and more: never more than 0.2 / 32 a step.
        let steepest = step_at_borders(&change, &(1..500).collect::<Vec<_>>());
        assert!(steepest < 0.2 / 32.0 + 1e-4, "{steepest}");
        // The same tiles without fading have seams, and this sees them.
        let extra = step_at_borders(&disagreeing(&cut, &a), &borders(&[0, 124, 248, 372]));
        assert!(extra > 0.05, "noisy {noisy}: {extra}");
    }
}

#[test]
fn what_cannot_be_restored_is_told_and_memory_is_settled_beforehand() {
    let pack = pack(1, [32, 32], "memory_mib = 10");
    let complex = Array3::from_elem((1, 4, 4), [1.0f32, 0.0]).into_shared();
    let refused =
        run(&pack, net(1, |x| x.to_owned()), case(picture(Voxels::Complex32(complex)), Restoring::default()));
    assert!(refused.unwrap_err().to_string().contains("complex"));
    let limits = Limits { memory_bytes: Some(1 << 20) };
    let pipeline = Pipeline::with_net(Arc::clone(&pack), net(1, |x| x.to_owned()), "none", limits).unwrap();
    let large = picture(Voxels::U8(Array3::zeros((1, 2000, 1000)).into_shared()));
    let error = pipeline.check(&case(large.clone(), Restoring::default())).unwrap_err();
    assert!(error.to_string().contains("of memory"), "{error}");
    let pipeline = Pipeline::with_net(pack, net(1, |x| x.to_owned()), "none", Limits::default()).unwrap();
    let estimate = pipeline.check(&case(large, Restoring::default())).unwrap();
    // 2 million values: sums of 8 MB, and no more than four times that with everything else but the tile's 10 MiB.
    let bytes = estimate.memory_bytes;
    assert!((16 << 20..=(10 << 20) + 6 * 8_000_000).contains(&bytes), "{bytes}");
    // ⌈(2000 − 32) / 24⌉ + 1 = 83 by ⌈(1000 − 32) / 24⌉ + 1 = 42.
    assert_eq!(estimate.tiles, 83 * 42);
}

#[test]
fn a_cancel_ends_it_and_tiles_go_in_batches() {
    let pack = pack(1, [32, 32], "batch = 4");
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let answer = net(1, move |x| {
        assert_eq!(x.dim().0, 4);
        stop.cancel();
        x.to_owned()
    });
    let mut pipeline = Pipeline::with_net(pack, answer, "none", Limits::default()).unwrap();
    let a = Array3::from_shape_fn((1, 100, 100), |(_, y, x)| (x + y) as u8).into_shared();
    let error = pipeline
        .run(case(picture(Voxels::U8(a)), Restoring::default()), &Task::new(cancel, |_, _| {}))
        .unwrap_err();
    assert!(error.is_cancelled());
}

#[test]
fn frames_share_a_scale_and_each_is_restored() {
    let pack = pack(1, [32, 32], "memory_mib = 1");
    let frame = |most: u16| {
        let a = Array3::from_shape_fn((2, 40, 50), |(k, y, x)| ((x * y + k) as u16) % (most + 1));
        Volume { grid: oblique([50, 40, 2]), ..picture(Voxels::U16(a.into_shared())) }
    };
    let frames = vec![frame(200), frame(1000), frame(400)];
    let axis = FrameAxis { name: "time".to_owned(), len: 3, step: 2.0, unit: "s".to_owned() };
    let case = Case::of_frames("case", frames.clone(), vec![axis.clone()]);
    let tenth = || net(1, |x| x.mapv(|v| v + 0.1));
    let pipeline = Pipeline::with_net(Arc::clone(&pack), tenth(), "none", Limits::default()).unwrap();
    let one = pipeline.check(&Case::new("case", frames[..1].to_vec())).unwrap();
    let all = pipeline.check(&case).unwrap();
    assert_eq!(all.tiles, 3 * one.tiles);
    // Further frames cost what they take as stored.
    assert!(all.memory_bytes - one.memory_bytes <= 2 * 50 * 40 * 2 * 2, "{all:?} {one:?}");

    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let task = Task::new(Cancel::default(), move |_, at| told.lock().unwrap().push(at));
    let mut pipeline = Pipeline::with_net(Arc::clone(&pack), tenth(), "none", Limits::default()).unwrap();
    let outcome = pipeline.run(case.clone(), &task).unwrap();
    let Restored { volume, further, frame_axes, report } = restored(&outcome);
    assert_eq!((report.frames, frame_axes.as_slice()), (3, [axis].as_slice()));
    // One scale: the same is added to each frame, a tenth of the range of all.
    let step = report.divided_by / 10.0;
    assert!((90.0..=100.0).contains(&step), "{report:?}");
    for (before, after) in frames.iter().zip(std::iter::once(volume).chain(further)) {
        assert_eq!(before.grid, after.grid);
        assert!(is_restored(&after.meta) && after.meta.facts.contains_key("pack"));
        let (b, a) = (before.to_f32(), after.to_f32());
        assert!(b.iter().zip(&a).all(|(b, a)| (f64::from(a - b) - step).abs() <= 0.51), "{step}");
    }
    // Preparing and finishing have a progress of their own; between them it goes forward over all frames.
    let seen = seen.lock().unwrap();
    let back = seen.windows(2).filter(|w| w[1] < w[0] - 1e-6).count();
    assert!(back <= 2 && seen.iter().all(|v| (0.0..=1.0 + 1e-6).contains(v)), "{seen:?}");

    // Frames that are not alike are refused, and a cancel in one of them ends all.
    let odd = Case::of_frames(
        "odd",
        vec![frame(9), picture(Voxels::U8(Array3::zeros((1, 4, 4)).into_shared()))],
        vec![],
    );
    assert!(run(&pack, tenth(), odd).unwrap_err().to_string().contains("frames of an image are alike"));
    let cancel = Cancel::default();
    let (stop, mut calls) = (cancel.clone(), 0);
    let stopping = {
        let port = |name: &str| Port { name: name.to_owned(), dims: vec![None, Some(1), None, None] };
        Box::new(FakeNet::new(vec![port("image")], vec![port("restored")], move |inputs| {
            calls += 1;
            if calls > one.tiles {
                stop.cancel();
            }
            Ok(vec![inputs[0].1.to_owned()])
        }))
    };
    let mut pipeline = Pipeline::with_net(pack, stopping, "none", Limits::default()).unwrap();
    let error = pipeline.run(case, &Task::new(cancel, |_, _| {})).unwrap_err();
    assert!(error.is_cancelled());
}

#[test]
fn manifests_of_restorers_hold_together() {
    let good = pack(1, [32, 32], "").manifest.clone();
    let text = |m: &models::Manifest| toml::to_string(m).unwrap();
    parse(Path::new("p"), text(&good).as_bytes()).unwrap();
    let mut bad = good.clone();
    bad.tiles.patch = [2, 32, 32];
    assert!(parse(Path::new("p"), text(&bad).as_bytes()).unwrap_err().to_string().contains("even sides"));
    let mut bad = good.clone();
    bad.family = "segformer3d".to_owned();
    assert!(parse(Path::new("p"), text(&bad).as_bytes()).unwrap_err().to_string().contains("labels voxels"));
    let mut bad = good.clone();
    bad.tiles.multiple = Some(24);
    assert!(parse(Path::new("p"), text(&bad).as_bytes()).unwrap_err().to_string().contains("a divisor"));
    let wrong = net(3, |x| x.to_owned());
    let error = Pipeline::with_net(pack(1, [32, 32], ""), wrong, "none", Limits::default()).err().unwrap();
    assert!(error.to_string().contains("N×1×32×32"), "{error}");
}
