//! Patch segmenters over a network that is a function: geometry, rules, notices, limits. No ONNX Runtime needed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use formats::{Affine, AxisOrder, Cancel, Grid, Image, LabelMap, Notice, Task, Volume, Voxels};
use inference::{FakeNet, Port};
use models::family::{Case, Limits, Output, Strategy};
use models::pack::{ModelPack, PackSource, parse};
use models::{Error, Outcome, Pipeline};
use ndarray::{Array3, Array5, ArrayView5, Ix5};

/// A pack of one channel per name in `channels`, with further TOML.
fn pack(channels: &[&str], spacing: &str, patch: [usize; 3], rest: &str) -> Arc<ModelPack> {
    let rows: String = channels.iter().map(|c| format!("[[input.channel]]\nname = \"{c}\"\n")).collect();
    let text = format!(
        "schema = 1\nid = \"test\"\nname = \"Test\"\nversion = \"1\"\nfamily = \"segformer3d\"\nsummary = \"s\"\n\
         intended_use = \"u\"\nlicence = \"CC0-1.0\"\n[input]\nspacing_mm = {spacing}\n{rows}\n\
         [[file]]\nrole = \"network\"\npath = \"model.onnx\"\nsha256 = \"{}\"\nbytes = 1\n{}\n{rest}\n",
        "0".repeat(64),
        if rest.contains("[tiles]") {
            String::new()
        } else {
            format!("[tiles]\npatch = {patch:?}\noverlap = 0.5")
        },
    );
    let manifest = parse(Path::new("test"), text.as_bytes()).unwrap();
    Arc::new(ModelPack { manifest, hash: "h".repeat(64), source: PackSource::Folder(PathBuf::from("test")) })
}

/// `classes` rows of a softmax output, labels 0, 1, 2, …
fn softmax(classes: u16) -> String {
    let ids: Vec<String> = (0..classes).map(|c| c.to_string()).collect();
    let rows: String =
        (1..classes).map(|c| format!("[[label]]\nid = {c}\nname = \"L{c}\"\nrgb = [1, 2, 3]\n")).collect();
    format!("[output]\nactivation = \"softmax\"\nclasses = [{}]\n{rows}", ids.join(", "))
}

/// A network from `[N, C, D, H, W]` to `[N, K, D, H, W]` by a function of the whole tile.
fn net(
    channels: usize,
    classes: usize,
    f: impl Fn(ArrayView5<'_, f32>) -> Array5<f32> + Send + 'static,
) -> Box<FakeNet> {
    let port = |name: &str, c| Port { name: name.to_owned(), dims: vec![None, Some(c), None, None, None] };
    Box::new(FakeNet::new(vec![port("image", channels)], vec![port("logits", classes)], move |inputs| {
        Ok(vec![f(inputs[0].1.view().into_dimensionality::<Ix5>().unwrap()).into_dyn()])
    }))
}

/// Scores that make class `f(tile position, values)` win.
fn winner(classes: usize, f: impl Fn([usize; 3], [usize; 3], f32) -> usize + Send + 'static) -> Box<FakeNet> {
    net(1, classes, move |x| {
        let (n, _, d, h, w) = x.dim();
        let mut out = Array5::from_elem((n, classes, d, h, w), -1.0);
        for ((n, _, z, y, x_), &v) in x.indexed_iter() {
            out[[n, f([z, y, x_], [d, h, w], v), z, y, x_]] = 1.0;
        }
        out
    })
}

fn run(pack: &Arc<ModelPack>, net: Box<FakeNet>, case: Case) -> Result<Outcome, Error> {
    Pipeline::with_net(Arc::clone(pack), net, "none", Limits::default()).unwrap().run(case, &Task::silent())
}

fn labels(outcome: &Outcome) -> &LabelMap {
    let Output::Labels(l) = &outcome.output else { panic!("labels") };
    l
}

fn has(notices: &[Notice], code: &str) -> bool {
    notices.iter().any(|n| n.code == code)
}

fn volume(a: Array3<f32>, grid: Grid) -> Volume {
    Volume::new(Voxels::F32(a.into_shared()), grid).unwrap()
}

fn all_orders() -> impl Iterator<Item = AxisOrder> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().flat_map(|source| {
        (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
    })
}

/// Which octant of the tile a voxel lies in: 1 + (right half) + 2·(front half) + 4·(upper half), if it is bright.
fn octant([z, y, x]: [usize; 3], [d, h, w]: [usize; 3], v: f32) -> usize {
    if v > 0.5 {
        1 + usize::from(x >= w / 2) + 2 * usize::from(y >= h / 2) + 4 * usize::from(z >= d / 2)
    } else {
        0
    }
}

/// A RAS grid of 8×10×12 voxels around the world's origin, and a body in it with a bump on its right front top.
fn phantom() -> (Grid, Array3<f32>) {
    let grid = Grid {
        size_ijk: [8, 10, 12],
        world_from_voxel: Affine::scale_shift([1.0, 1.5, 2.0], [-3.5, -6.75, -11.0]),
    };
    let a = Array3::from_shape_fn((12, 10, 8), |(k, j, i)| {
        let body = (1..11).contains(&k) && (1..9).contains(&j) && (2..7).contains(&i);
        f32::from(body || (k > 8 && j > 7 && i > 6))
    });
    (grid, a)
}

#[test]
fn nothing_is_mirrored_in_any_of_the_48_axis_orders() {
    let pack = pack(&["T1"], "\"native\"", [12, 10, 8], &softmax(9));
    let (grid, a) = phantom();
    for order in all_orders() {
        let stored = volume(a.clone(), grid).reordered(order);
        let outcome = run(&pack, winner(9, octant), Case::new("c", vec![stored.clone()])).unwrap();
        let map = labels(&outcome);
        assert_eq!(map.grid, stored.grid, "geometry is the input's to the bit");
        assert_eq!(outcome.tiles, 1);
        let [ni, nj, nk] = map.grid.size_ijk;
        for k in 0..nk {
            for j in 0..nj {
                for i in 0..ni {
                    let p = map.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                    let bright = stored.value([i, j, k]).unwrap() > 0.5;
                    let expected = if bright {
                        1 + u16::from(p[0] > 0.0) + 2 * u16::from(p[1] > 0.0) + 4 * u16::from(p[2] > 0.0)
                    } else {
                        0
                    };
                    assert_eq!(map.labels[[k, j, i]], expected, "{order:?} at {p:?}");
                }
            }
        }
    }
}

#[test]
fn oblique_images_keep_their_sides_with_and_without_resampling() {
    let (grid, a) = phantom();
    let (c, s) = (0.35_f64.cos(), 0.35_f64.sin());
    let tilt = Affine([[c, -s, 0.0, 3.0], [s, c, 0.0, -8.0], [0.0, 0.0, 1.0, 5.0]]);
    for order in all_orders() {
        for (spacing, patch) in [("\"native\"", [12, 10, 8]), ("[1.0, 0.75, 0.5]", [24, 20, 16])] {
            let straight = volume(a.clone(), grid).reordered(order);
            let mut tilted = straight.clone();
            tilted.grid.world_from_voxel = tilt.after(&straight.grid.world_from_voxel);
            let pack = pack(&["T1"], spacing, patch, &softmax(9));
            let outcome = run(&pack, winner(9, octant), Case::new("c", vec![tilted.clone()])).unwrap();
            assert!(has(&outcome.notices, "oblique"));
            assert_eq!(has(&outcome.notices, "resampled"), patch[0] == 24);
            let map = labels(&outcome);
            assert_eq!(map.grid, tilted.grid);
            for ((k, j, i), &l) in map.labels.indexed_iter() {
                // Where the body's own axes point, away from the middle planes and the body's border.
                let p = straight.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                if l > 0 {
                    let expected =
                        1 + u16::from(p[0] > 0.0) + 2 * u16::from(p[1] > 0.0) + 4 * u16::from(p[2] > 0.0);
                    assert_eq!(l, expected, "{order:?} {spacing} at {p:?}");
                }
                if patch[0] == 12 {
                    assert_eq!(l > 0, tilted.value([i, j, k]).unwrap() > 0.5);
                }
            }
            let (found, there) = (map.labels.iter().filter(|&&l| l > 0).count() as f64, f64::from(a.sum()));
            assert!((found / there - 1.0).abs() < 0.25, "{found} of {there} voxels");
        }
    }
}

#[test]
fn a_fitting_image_reaches_the_network_bit_for_bit() {
    let grid = Grid {
        size_ijk: [5, 6, 7],
        world_from_voxel: Affine::scale_shift([1.0, 1.001, 0.999], [0.1, 0.2, 0.3]),
    };
    let a = Array3::from_shape_fn((7, 6, 5), |(k, j, i)| 1.0 / (1.0 + (100 * k + 10 * j + i) as f32));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let n = net(1, 2, move |x| {
        keep.lock().unwrap().push(x.to_owned());
        Array5::zeros((1, 2, 7, 6, 5))
    });
    let pack = pack(&["T1"], "[1.0, 1.0, 1.0]", [7, 6, 5], &softmax(2));
    let outcome = run(&pack, n, Case::new("c", vec![volume(a.clone(), grid)])).unwrap();
    assert!(!has(&outcome.notices, "resampled"));
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].iter().collect::<Vec<_>>(), a.iter().collect::<Vec<_>>());
    assert_eq!(labels(&outcome).grid, grid);
}

#[test]
fn region_rules_give_the_labels() {
    let output = r#"
[output]
activation = "sigmoid"
channels = ["TC", "WT", "ET"]
rules = [{ inside = ["ET"], label = 4 }, { inside = ["TC"], label = 1 }, { inside = ["WT"], label = 2 }]
[[label]]
id = 1
name = "Core"
rgb = [1, 0, 0]
[[label]]
id = 2
name = "Oedema"
rgb = [0, 1, 0]
[[label]]
id = 4
name = "Enhancing"
rgb = [0, 0, 1]
"#;
    let bits = |x: ArrayView5<'_, f32>| {
        let (n, _, d, h, w) = x.dim();
        Array5::from_shape_fn((n, 3, d, h, w), |(n, c, z, y, i)| {
            let v = x[[n, 0, z, y, i]] as u32;
            // Exactly at the threshold counts as inside.
            if v >> c & 1 == 1 { 0.0 } else { -1e-6 }
        })
    };
    let a = Array3::from_shape_fn((2, 2, 2), |(k, j, i)| (4 * k + 2 * j + i) as f32);
    let case = || Case::new("c", vec![volume(a.clone(), Grid::unit([2, 2, 2]))]);
    let outcome = run(&pack(&["T1"], "\"native\"", [2, 2, 2], output), net(1, 3, bits), case()).unwrap();
    // Value bits: TC 1, WT 2, ET 4.
    assert_eq!(labels(&outcome).labels.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 1, 4, 4, 4, 4]);
    assert_eq!(labels(&outcome).table.name(4), "Enhancing");

    let nested = output
        .replace(r#"["ET"]"#, r#"["ET", "TC", "WT"]"#)
        .replace(r#"inside = ["TC"]"#, r#"inside = ["TC", "WT"]"#);
    let outcome = run(&pack(&["T1"], "\"native\"", [2, 2, 2], &nested), net(1, 3, bits), case()).unwrap();
    assert_eq!(labels(&outcome).labels.iter().copied().collect::<Vec<_>>(), [0, 0, 2, 1, 0, 0, 2, 4]);
}

#[test]
fn crops_come_back_to_their_place() {
    let (grid, a) = phantom();
    let bright = |_: [usize; 3], _: [usize; 3], v: f32| usize::from(v > 0.5);
    for crop in [
        "kind = \"foreground\"",
        "kind = \"foreground\"\nmargin = [1, 0, 5]",
        "kind = \"centred\"\nsize = [14, 9, 11]",
        "kind = \"centred\"\nsize = [14, 9, 11]\nabove = 0.5\ntrim = 0.01",
        "kind = \"fixed\"\nfixed = { start = [0, 0, 0], size = [12, 10, 8] }",
        "kind = \"fixed\"\nfixed = { start = [-3, -1, -2], size = [20, 20, 20] }",
    ] {
        let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &format!("[crop]\n{crop}\n{}", softmax(2)));
        for order in all_orders() {
            let stored = volume(a.clone(), grid).reordered(order);
            let outcome = run(&pack, winner(2, bright), Case::new("c", vec![stored.clone()])).unwrap();
            let expected = stored.to_f32().mapv(|v| v as u16);
            assert_eq!(labels(&outcome).labels, expected, "{crop} {order:?}");
        }
    }
    // Outside a fixed box nothing is ever found.
    let pack = pack(
        &["T1"],
        "\"native\"",
        [4, 4, 4],
        &format!(
            "[crop]\nkind = \"fixed\"\nfixed = {{ start = [2, 3, 4], size = [4, 3, 2] }}\n{}",
            softmax(2)
        ),
    );
    let outcome = run(&pack, winner(2, |_, _, _| 1), Case::new("c", vec![volume(a, grid)])).unwrap();
    for ((k, j, i), &l) in labels(&outcome).labels.indexed_iter() {
        assert_eq!(l == 1, (2..6).contains(&k) && (3..6).contains(&j) && (4..6).contains(&i));
    }
}

#[test]
fn resampled_crops_leave_the_rest_alone() {
    let (grid, a) = phantom();
    let pack = pack(
        &["T1"],
        "[1.0, 1.0, 1.0]",
        [8, 8, 8],
        &format!("[crop]\nkind = \"foreground\"\n{}", softmax(2)),
    );
    let outcome = run(&pack, winner(2, |_, _, _| 1), Case::new("c", vec![volume(a, grid)])).unwrap();
    let l = &labels(&outcome).labels;
    assert_eq!((l[[0, 0, 0]], l[[5, 5, 4]], l[[5, 5, 0]], l[[5, 5, 1]]), (0, 1, 0, 0));
}

#[test]
fn what_is_not_finite_is_background() {
    let (grid, mut a) = phantom();
    a[[5, 5, 5]] = f32::NAN;
    a[[5, 5, 4]] = f32::INFINITY;
    a[[0, 0, 0]] = f32::NEG_INFINITY;
    for intensity in [
        "",
        "[[intensity]]\napply = { scheme = \"zscore\", of = \"nonzero\" }\n",
        "[[intensity]]\napply = { scheme = \"percentile\", low = 1.0, high = 99.0 }\n",
    ] {
        let pack = pack(&["T1"], "\"native\"", [12, 10, 8], &format!("{intensity}{}", softmax(2)));
        let net = net(1, 2, |x| {
            assert!(x.iter().all(|v| v.is_finite()));
            let (n, _, d, h, w) = x.dim();
            Array5::zeros((n, 2, d, h, w))
        });
        let outcome = run(&pack, net, Case::new("c", vec![volume(a.clone(), grid)])).unwrap();
        let notice = outcome.notices.iter().find(|n| n.code == "non-finite-values").unwrap();
        assert!(notice.message.contains('3'), "{}", notice.message);
    }
}

#[test]
fn a_constant_image_gives_an_empty_result_and_says_so() {
    for value in [0.0, 5.0, f32::NAN] {
        let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &softmax(2));
        let case = Case::new("c", vec![volume(Array3::from_elem((9, 9, 9), value), Grid::unit([9, 9, 9]))]);
        let outcome = run(&pack, winner(2, |_, _, _| 1), case).unwrap();
        assert!(has(&outcome.notices, "empty-image"));
        assert_eq!(outcome.tiles, 0);
        assert!(labels(&outcome).labels.iter().all(|&l| l == 0));
        assert_eq!(labels(&outcome).labels.dim(), (9, 9, 9));
    }
}

#[test]
fn pictures_and_wrong_channels_are_refused_with_words() {
    let two = pack(&["T1", "T2"], "\"native\"", [8, 8, 8], &softmax(2));
    let v = |n: [usize; 3]| {
        volume(Array3::from_shape_fn((n[2], n[1], n[0]), |(k, _, _)| k as f32), Grid::unit(n))
    };
    let pipeline =
        Pipeline::with_net(Arc::clone(&two), net(2, 2, |x| x.to_owned()), "none", Limits::default()).unwrap();
    let message = pipeline.check(&Case::new("c", vec![v([8, 8, 8])])).unwrap_err().to_string();
    assert!(message.contains("1 volume given") && message.contains("T1, T2"), "{message}");
    let message = pipeline.check(&Case::new("c", vec![v([8, 8, 1]), v([8, 8, 1])])).unwrap_err().to_string();
    assert!(message.contains("two-dimensional"), "{message}");
}

#[test]
fn channels_on_other_grids_are_resampled_with_a_notice() {
    let two = pack(&["T1", "T2"], "\"native\"", [8, 8, 8], &softmax(2));
    let ramp = |grid: Grid| {
        let [i, j, k] = grid.size_ijk;
        volume(
            Array3::from_shape_fn((k, j, i), |(k, j, i)| {
                grid.world_from_voxel.apply([i as f64, j as f64, k as f64])[0] as f32 + 1.0
            }),
            grid,
        )
    };
    let first = Grid::unit([8, 8, 8]);
    let other =
        Grid { size_ijk: [18, 18, 18], world_from_voxel: Affine::scale_shift([0.5, 0.5, 0.5], [-0.5; 3]) };
    let net = net(2, 2, |x| {
        let (n, _, d, h, w) = x.dim();
        for ((z, y, i), &v) in
            x.index_axis(ndarray::Axis(0), 0).index_axis(ndarray::Axis(0), 0).indexed_iter()
        {
            assert!((v - x[[0, 1, z, y, i]]).abs() < 1e-5);
        }
        Array5::zeros((n, 2, d, h, w))
    });
    let outcome = run(&two, net, Case::new("c", vec![ramp(first), ramp(other)])).unwrap();
    assert!(has(&outcome.notices, "channel-resampled"));
    assert_eq!(labels(&outcome).grid, first);
}

#[test]
fn frames_become_channels_only_when_the_pack_wants_them() {
    let frames = |n: usize| Image {
        frames: (0..n)
            .map(|f| volume(Array3::from_elem((4, 4, 4), f as f32), Grid::unit([4, 4, 4])))
            .collect(),
        frame_axes: vec![formats::FrameAxis {
            name: "time".to_owned(),
            len: n,
            step: 1.0,
            unit: "s".to_owned(),
        }],
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: vec![Notice::info("kept", "from the file")],
    };
    let one = pack(&["T1"], "\"native\"", [4, 4, 4], &softmax(2));
    let case = Case::from_images("c", vec![frames(3)], &one.manifest).unwrap();
    assert_eq!(case.channels.len(), 1);
    assert!(has(&case.notices, "first-frame-used") && has(&case.notices, "kept"));
    let two = pack(&["T1", "T2"], "\"native\"", [4, 4, 4], &softmax(2));
    let case = Case::from_images("c", vec![frames(2)], &two.manifest).unwrap();
    assert_eq!(case.channels.len(), 2);
    assert!(has(&case.notices, "frames-as-channels"));
    assert!(Case::from_images("c", vec![frames(3)], &two.manifest).is_err());
}

#[test]
fn tiny_volumes_run() {
    let pack = pack(&["T1"], "\"native\"", [16, 16, 16], &softmax(2));
    let a = Array3::from_shape_fn((2, 3, 2), |(k, _, _)| k as f32);
    let outcome = run(
        &pack,
        winner(2, |_, _, v| usize::from(v > 0.5)),
        Case::new("c", vec![volume(a.clone(), Grid::unit([2, 3, 2]))]),
    )
    .unwrap();
    assert_eq!(labels(&outcome).labels, a.mapv(|v| v as u16));
}

#[test]
fn only_the_largest_part_is_kept_where_asked() {
    let mut a = Array3::zeros((10, 10, 10));
    a.slice_mut(ndarray::s![1..5, 1..5, 1..5]).fill(1.0);
    a[[8, 8, 8]] = 1.0;
    a.slice_mut(ndarray::s![7..9, 1..3, 1..3]).fill(2.0);
    a[[1, 8, 8]] = 2.0;
    let rest = format!("[post]\nkeep_largest = [1]\n{}", softmax(3));
    let pack = pack(&["T1"], "\"native\"", [10, 10, 10], &rest);
    let outcome = run(
        &pack,
        winner(3, |_, _, v| v as usize),
        Case::new("c", vec![volume(a.clone(), Grid::unit([10, 10, 10]))]),
    )
    .unwrap();
    let mut expected = a.mapv(|v| v as u16);
    expected[[8, 8, 8]] = 0;
    assert_eq!(labels(&outcome).labels, expected);
}

#[test]
fn memory_is_estimated_then_spared_then_refused() {
    let rest = |memory: u64| {
        format!(
            "[tiles]\npatch = [8, 8, 8]\noverlap = 0.5\nblend = \"gaussian\"\nbatch = 4\nmemory_mib = {memory}\n{}",
            softmax(33)
        )
    };
    let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &rest(0));
    let a = Array3::from_shape_fn((60, 20, 20), |(k, j, i)| ((k * 7 + j * 3 + i) % 33) as f32);
    let case = || Case::new("c", vec![volume(a.clone(), Grid::unit([20, 20, 60]))]);
    let by_value = || {
        // The neighbourhood matters, so that overlapping tiles disagree and the blend decides.
        net(1, 33, |x| {
            let (n, _, d, h, w) = x.dim();
            Array5::from_shape_fn((n, 33, d, h, w), |(n, c, z, y, i)| {
                let v = x[[n, 0, z, y, i]] + 0.3 * x[[n, 0, (z + 1) % d, y, i]];
                -(v - c as f32).abs()
            })
        })
    };
    let with = |bytes: u64| {
        let limits = Limits { memory_bytes: Some(bytes) };
        Pipeline::with_net(Arc::clone(&pack), by_value(), "none", limits).unwrap()
    };
    let whole = with(1 << 30).check(&case()).unwrap();
    assert_eq!(whole.strategy, Strategy::Whole { batch: 4 });
    let tight = whole.memory_bytes * 2 / 3;
    let spared = with(tight).check(&case()).unwrap();
    assert_eq!(spared.strategy, Strategy::Layers);
    let message = with(100_000).check(&case()).unwrap_err().to_string();
    assert!(message.contains("needs") && message.contains("memory"), "{message}");

    let one = with(1 << 30).run(case(), &Task::silent()).unwrap();
    let two = with(tight).run(case(), &Task::silent()).unwrap();
    assert!(has(&two.notices, "worked-in-layers") && !has(&one.notices, "worked-in-layers"));
    assert_eq!(one.tiles, two.tiles);
    assert_eq!(labels(&one).labels, labels(&two).labels);
    assert!(with(100_000).run(case(), &Task::silent()).is_err());
}

#[test]
fn cancelling_ends_the_run_within_one_tile() {
    let cancel = Cancel::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let (stop, count) = (cancel.clone(), Arc::clone(&calls));
    let n = net(1, 2, move |x| {
        count.fetch_add(1, Ordering::SeqCst);
        stop.cancel();
        let (n, _, d, h, w) = x.dim();
        Array5::zeros((n, 2, d, h, w))
    });
    let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &softmax(2));
    let a = Array3::from_shape_fn((32, 32, 32), |(k, _, _)| k as f32);
    let mut pipeline = Pipeline::with_net(pack, n, "none", Limits::default()).unwrap();
    let task = Task::new(cancel, |_, _| {});
    let error = pipeline.run(Case::new("c", vec![volume(a, Grid::unit([32, 32, 32]))]), &task).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_network_that_does_not_fit_the_manifest_is_refused() {
    let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &softmax(2));
    let message = Pipeline::with_net(pack, net(2, 2, |x| x.to_owned()), "none", Limits::default())
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("image ?×2×?×?×?") && message.contains("N×1×8×8×8"), "{message}");
}

#[test]
fn results_carry_their_provenance() {
    let pack = pack(&["T1"], "\"native\"", [8, 8, 8], &softmax(2));
    let a = Array3::from_shape_fn((8, 8, 8), |(k, _, _)| k as f32);
    let outcome =
        run(&pack, winner(2, |_, _, _| 1), Case::new("c", vec![volume(a, Grid::unit([8, 8, 8]))])).unwrap();
    let facts = &labels(&outcome).meta.facts;
    for key in ["pack", "pack-sha256", "pack-version", "program-version", "provider", "runtime-version"] {
        assert!(facts.contains_key(key), "{key}");
    }
    assert_eq!(facts["pack-sha256"], pack.hash);
    let stages: Vec<&str> = outcome.timings.0.iter().map(|(s, _)| *s).collect();
    assert_eq!(stages, ["prepare", "infer", "finish", "total"]);
}
