//! Networks that somebody else exported, from the file to results, with the real program: what is asked, what is read from
//! descriptions, what is refused, and that answers lie where they belong.

use std::path::Path;

use formats::{Affine, AxisOrder, Content, Grid, Image, Task, Volume, Voxels};
use insula_tests::nets::{self, write};
use insula_tests::{Ran, command, run, runtime};
use ndarray::Array3;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Imports `model.onnx` of a folder as the pack `net` beside it.
fn import(folder: &Path, args: &[&str]) -> Ran {
    let base =
        ["packs", "import", "model.onnx", "--family", "onnx", "--id", "net", "--out", ".", "--overwrite"];
    run(folder, &base.iter().chain(args).copied().collect::<Vec<_>>())
}

fn go(folder: &Path, args: &[&str]) -> Ran {
    let mut command = command(folder);
    command.arg("--batch").args(args).args(["--pack", "net", "--out", "out", "--threads", "2"]);
    if let Some(runtime) = runtime("plain") {
        command.env("ORT_DYLIB_PATH", runtime);
    }
    Ran::of(command.output().unwrap())
}

fn save(path: &Path, volume: Volume) {
    let is_picture = volume.meta.affine_source == formats::AffineSource::None;
    let image = Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "",
        encoding: String::new(),
        is_picture,
        notices: Vec::new(),
    };
    formats::save(Content::Image(&image), path, &Task::silent()).unwrap();
}

fn open(path: &Path) -> Volume {
    formats::open(path, &Task::silent()).unwrap().frames.remove(0)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn placed(a: Array3<f32>, grid: Grid) -> Volume {
    let mut volume = Volume::new(Voxels::F32(a.into_shared()), grid).unwrap();
    volume.meta.affine_source = formats::AffineSource::Sform;
    volume
}

fn colour_picture(width: usize, height: usize, at: impl Fn(usize, usize) -> [u8; 3]) -> Volume {
    let a = Array3::from_shape_fn((1, height, width), |(_, y, x)| at(x, y));
    let grid = formats::raster::picture_grid([width, height, 1], [1.0; 3]);
    Volume::new(Voxels::Rgb8(a.into_shared()), grid).unwrap()
}

fn grey_picture(width: usize, height: usize, at: impl Fn(usize, usize) -> u8) -> Volume {
    let a = Array3::from_shape_fn((1, height, width), |(_, y, x)| at(x, y));
    let grid = formats::raster::picture_grid([width, height, 1], [1.0; 3]);
    Volume::new(Voxels::U8(a.into_shared()), grid).unwrap()
}

fn all_orders() -> Vec<AxisOrder> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        .into_iter()
        .flat_map(|source| {
            (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
        })
        .collect()
}

fn folder() -> TempDir {
    tempdir().unwrap()
}

#[test]
fn what_nobody_says_is_asked_and_what_is_wrong_is_told() {
    let folder = folder();
    let at = folder.path();
    write(&at.join("model.onnx"), nets::octant_segmenter("NCDHW", [12, 10, 8]), &[]);
    let ran = import(at, &[]).expect(2);
    assert!(ran.stderr.contains("--kind: segmentation, restoration"), "{}", ran.stderr);
    let ran = import(at, &["--kind", "segmentation"]).expect(2);
    for wanted in [
        "--axes: ",
        "--spacing: ",
        "--intensity: ",
        "--classes: the names of the 3 classes",
        "SAR",
        "native",
        "zscore",
    ] {
        assert!(ran.stderr.contains(wanted), "{wanted}: {}", ran.stderr);
    }
    // What was read is told even then; and nothing was made.
    assert!(ran.stderr.contains("known: layout = NCDHW (the input's shape)"), "{}", ran.stderr);
    assert!(!at.join("net").exists());
    let rest = ["--kind", "segmentation", "--axes", "SAR", "--spacing", "native", "--intensity", "none"];
    let with = |more: &[&'static str]| rest.iter().chain(more).copied().collect::<Vec<_>>();
    let ran = import(at, &with(&["--classes", "a,b"])).expect(1);
    assert!(ran.stderr.contains("2 names of classes; expected 3"), "{}", ran.stderr);
    for (bad, why) in [
        (["--axes", "SAX"], "one letter each of R/L"),
        (["--intensity", "guess"], "percentile:LOW,HIGH"),
        (["--spacing", "1"], "three lengths"),
        (["--layout", "NCDHW2"], "no layout"),
        (["--classes", "a"], "1 names of classes"),
    ] {
        let ran = import(at, &[&["--kind", "segmentation"][..], &bad].concat());
        assert!(ran.code != Some(0) && ran.stderr.contains(why), "{bad:?}: {}", ran.stderr);
    }
    let ran = import(at, &with(&["--classes", "background,ordinary,special"])).expect(0);
    let words = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in ["layout NCDHW (the input's shape)", "axes SAR (you)", "patch 12×10×8 (the input's shape)"]
    {
        assert!(words.contains(told), "{told}: {}", ran.stderr);
    }
    let shown = run(at, &["packs", "show", "net"]).expect(0).stdout;
    assert!(shown.contains("special") && shown.contains("12 × 10 × 8"), "{shown}");
    // What is not run is told.
    let ran =
        import(at, &["--kind", "restoration", "--task", "denoising", "--intensity", "range:0,1"]).expect(1);
    assert!(
        ran.stderr.contains("restorers of volumes") || ran.stderr.contains("even sides"),
        "{}",
        ran.stderr
    );
}

/// Every axis order, every layout: right, upper and back is where the world says.
#[test]
fn volumes_are_segmented_on_their_grid_in_all_48_axis_orders() {
    if runtime("volumes_are_segmented_on_their_grid_in_all_48_axis_orders").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    let grid = Grid {
        size_ijk: [8, 10, 12],
        world_from_voxel: Affine::scale_shift([1.0, 1.5, 2.0], [-3.5, -6.75, -11.0]),
    };
    let bright =
        |k: usize, j: usize, i: usize| (1..11).contains(&k) && (1..9).contains(&j) && (1..7).contains(&i);
    let a = Array3::from_shape_fn((12, 10, 8), |(k, j, i)| f32::from(bright(k, j, i)));
    std::fs::create_dir(at.join("in")).unwrap();
    for (n, order) in all_orders().into_iter().enumerate() {
        save(&at.join(format!("in/c{n:02}.nii.gz")), placed(a.clone(), grid).reordered(order));
    }
    let xyz: &[&str] = &["--layout", "NCWHD"];
    for (layout, said, axes) in
        [("NCDHW", &[][..], "SAR"), ("NDHWC", &[], "SAR"), ("NCWHD", xyz, "RAS"), ("NCWHD", &[], "RAS")]
    {
        write(&at.join("model.onnx"), nets::octant_segmenter(layout, [12, 10, 8]), &[]);
        let answers =
            ["--kind", "segmentation", "--axes", axes, "--spacing", "native", "--intensity", "none"];
        let names = ["--classes", "background,ordinary,special"];
        let _ = import(at, &answers.iter().chain(&names).chain(said).copied().collect::<Vec<_>>()).expect(0);
        let _ = go(at, &["in", "--no-quicklook", "--overwrite"]).expect(0);
        for n in 0..48 {
            let (image, labels) = (
                open(&at.join(format!("in/c{n:02}.nii.gz"))),
                open(&at.join(format!("out/c{n:02}_seg.nii.gz"))),
            );
            assert!(image.grid.is_same(&labels.grid, 1e-5), "{layout} {n}");
            let [ni, nj, nk] = labels.grid.size_ijk;
            for (k, j, i) in (0..nk).flat_map(|k| (0..nj).flat_map(move |j| (0..ni).map(move |i| (k, j, i))))
            {
                let p = labels.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                let is_special = p[0] > 0.0 && p[1] < 0.0 && p[2] > 0.0;
                // Scores: 0.5, v, and v ± 1.
                let is_bright = image.value([i, j, k]).unwrap() > 0.5;
                let expected = if is_special { 2.0 } else { f64::from(is_bright) };
                assert_eq!(labels.value([i, j, k]), Some(expected), "{layout} {n} at {p:?}");
            }
        }
    }
}

/// Slices of a free size, one sigmoid channel, tiles over a picture and over a volume of another voxel size.
#[test]
fn slices_and_pictures_are_segmented() {
    if runtime("slices_and_pictures_are_segmented").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    write(&at.join("model.onnx"), nets::threshold_segmenter(0.4), &[]);
    let args =
        ["--kind", "segmentation", "--axes", "stored", "--spacing", "native", "--intensity", "linear:0,255"];
    let ran = import(at, &args).expect(2);
    assert!(
        ran.stderr.contains("--patch: ") && ran.stderr.contains("--classes: the name of"),
        "{}",
        ran.stderr
    );
    let more = ["--patch", "16,16", "--classes", "bright"];
    let ran = import(at, &args.iter().chain(&more).copied().collect::<Vec<_>>()).expect(0);
    assert!(ran.stderr.contains("probabilities"), "the last operator is a sigmoid: {}", ran.stderr);
    std::fs::create_dir(at.join("in")).unwrap();
    let at_xy = |x: usize, y: usize| ((x * 7 + y * 13) % 256) as u8;
    save(&at.join("in/picture.png"), grey_picture(37, 21, at_xy));
    let a = Array3::from_shape_fn((3, 20, 18), |(k, j, i)| f32::from(at_xy(i + k, j)));
    let world_from_voxel = Affine([[0.0, 0.0, 3.0, 5.0], [-0.8, 0.1, 0.0, 7.0], [0.1, 0.8, 0.0, -3.0]]);
    save(&at.join("in/oblique.nii.gz"), placed(a, Grid { size_ijk: [18, 20, 3], world_from_voxel }));
    let records = go(at, &["in"]).expect(0).records();
    assert_eq!(records.len(), 2, "pictures of the folder are taken");
    for (name, ending) in [("picture", "png"), ("oblique", "nii.gz")] {
        let (image, labels) =
            (open(&at.join(format!("in/{name}.{ending}"))), open(&at.join(format!("out/{name}_seg.nii.gz"))));
        assert_eq!(image.grid.size_ijk, labels.grid.size_ijk);
        let expected = image.to_f32().mapv(|v| f32::from(f64::from(v) / 255.0 >= 0.4));
        assert_eq!(labels.to_f32(), expected, "{name}");
    }
    assert!(json(&at.join("out/picture_volumes.json"))["structures"][0]["name"] == "bright");
}

#[test]
fn restorers_answer_with_pictures_or_with_what_is_to_go() {
    if runtime("restorers_answer_with_pictures_or_with_what_is_to_go").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    write(&at.join("model.onnx"), nets::scaling_restorer(0.25), &[]);
    std::fs::create_dir(at.join("in")).unwrap();
    save(&at.join("in/p.png"), grey_picture(50, 21, |x, y| ((x * 5 + y * 3) % 251) as u8));
    // (range, values, what becomes of v in 0..=255); −1..1: v becomes 2v/255 − 1, a quarter of it comes back.
    type Case = (&'static str, &'static str, fn(f64) -> f64);
    let cases: [Case; 3] = [
        ("range:0,1", "picture", |v| v / 4.0),
        ("range:0,255", "residual", |v| v * 0.75),
        ("range:-1,1", "picture", |v| ((2.0 * v / 255.0 - 1.0) / 4.0 + 1.0) / 2.0 * 255.0),
    ];
    for (range, values, expected) in cases {
        let args = ["--kind", "restoration", "--task", "denoising", "--patch", "32,32", "--intensity", range];
        let _ = import(at, &args.iter().chain(&["--values", values]).copied().collect::<Vec<_>>()).expect(0);
        let record = go(at, &["in", "--overwrite"]).expect(0).records().remove(0);
        assert_eq!(record["restored"]["task"], "denoising");
        let (before, after) = (open(&at.join("in/p.png")), open(&at.join("out/p_restored.png")));
        assert_eq!(before.voxels.type_name(), after.voxels.type_name());
        for (b, a) in before.to_f32().iter().zip(&after.to_f32()) {
            assert!(
                (f64::from(*a) - expected(f64::from(*b))).abs() <= 0.5 + 1e-3,
                "{range} {values}: {b} became {a}"
            );
        }
    }
}

#[test]
fn pictures_and_slices_are_classified() {
    if runtime("pictures_and_slices_are_classified").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    write(
        &at.join("model.onnx"),
        nets::colour_classifier(8),
        &[("names", "{0: 'red', 1: 'green', 2: 'blue'}")],
    );
    // The names come from the file's notes, the layout N, H, W, C from its shape.
    let args = ["--kind", "classification", "--intensity", "linear:0,255", "--fit", "stretch"];
    let ran = import(at, &args).expect(0);
    assert!(ran.stderr.contains("NHWC") && ran.stderr.contains("red,green,blue"), "{}", ran.stderr);
    std::fs::create_dir(at.join("in")).unwrap();
    // Columns of 24 to the left of 8 are red, the others green; stretching keeps the means.
    save(
        &at.join("in/p.png"),
        colour_picture(24, 16, |x, _| if x < 8 { [255, 0, 51] } else { [0, 255, 51] }),
    );
    let ran = go(at, &["in"]).expect(0);
    assert!(ran.stderr.contains("green") && ran.stderr.contains('%'), "{}", ran.stderr);
    let scores = [1.0 / 3.0, 2.0 / 3.0, 0.2_f64];
    let sum: f64 = scores.iter().map(|s| s.exp()).sum();
    let expected = scores.map(|s| s.exp() / sum);
    let record = ran.records().remove(0);
    assert_eq!(record["classes"][0]["class"], "green");
    assert!((record["classes"][0]["probability"].as_f64().unwrap() - expected[1]).abs() < 1e-5, "{record}");
    let file = json(&at.join("out/p_classes.json"));
    for (n, e) in expected.iter().enumerate() {
        assert!((file["rows"][0]["probabilities"][n].as_f64().unwrap() - e).abs() < 1e-5, "{file}");
    }
    let table = std::fs::read_to_string(at.join("out/p_classes.tsv")).unwrap();
    assert!(table.starts_with("slice\tred\tgreen\tblue\nall\t"), "{table}");
    // A second run knows that it was done; an answer in a table has no format.
    assert_eq!(go(at, &["in"]).expect(0).records()[0]["status"], "skipped");
    let _ = go(at, &["in", "--format", "nrrd"]).expect(2);

    // Slices of a volume whose third axis runs from head to foot, k = 0 at the top: axial ones, bottom first.
    write(&at.join("model.onnx"), nets::brightness_classifier(6), &[]);
    let args = [
        "--kind",
        "classification",
        "--axes",
        "SAR",
        "--intensity",
        "none",
        "--fit",
        "crop",
        "--classes",
        "bright",
    ];
    let _ = import(at, &args).expect(0);
    let a =
        Array3::from_shape_fn((4, 6, 6), |(k, j, i)| k as f32 + if (i + j) % 2 == 0 { 0.5 } else { -0.5 });
    let world_from_voxel = Affine([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, -2.0, 30.0]]);
    save(&at.join("v.nii.gz"), placed(a, Grid { size_ijk: [6, 6, 4], world_from_voxel }));
    let _ = go(at, &["v.nii.gz"]).expect(0);
    let file = json(&at.join("out/v_classes.json"));
    let rows = file["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let k = row["slice"]["index"].as_f64().unwrap();
        assert_eq!(
            (row["slice"]["axis"].as_str(), row["slice"]["centre_ras"][2].as_f64()),
            (Some("k"), Some(30.0 - 2.0 * k))
        );
        let expected = 1.0 / (1.0 + (-k).exp());
        assert!((row["probabilities"][0].as_f64().unwrap() - expected).abs() < 1e-5, "{row}");
    }
    assert_eq!(rows[0]["slice"]["index"], 3, "the lowest slice comes first");
}

/// Boxes found on axial slices lie at the same place in the world, whatever the order of axes on disk.
#[test]
fn boxes_lie_where_the_world_says() {
    if runtime("boxes_lie_where_the_world_says").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    // On an input of 20 × 20: slices of 20 × 10 are filled up by 5 rows above and below.
    let rows = [[4.0, 7.0, 10.0, 9.0, 0.5, 1.0], [0.0, 0.0, 20.0, 20.0, 0.1, 0.0]];
    write(&at.join("model.onnx"), nets::constant_detector(20, &rows), &[]);
    let args =
        ["--kind", "detection", "--axes", "SPL", "--intensity", "range:0,100", "--classes", "cyst,stone"];
    let ran = import(at, &args).expect(2);
    assert!(
        ran.stderr.contains("--boxes: ") && ran.stderr.contains("torchvision"),
        "six columns: {}",
        ran.stderr
    );
    let _ = import(at, &args.iter().chain(&["--boxes", "rows"]).copied().collect::<Vec<_>>()).expect(0);
    // 20 × 10 × 3 voxels of 2 × 3 × 5 mm, RAS; only the middle slice is bright enough for a score of 0.5.
    let grid = Grid {
        size_ijk: [20, 10, 3],
        world_from_voxel: Affine::scale_shift([2.0, 3.0, 5.0], [10.0, 20.0, 30.0]),
    };
    let a = Array3::from_shape_fn(
        (3, 10, 20),
        |(k, j, i)| if (k, j, i) == (1, 4, 9) { 100.0 } else { (i + k) as f32 },
    );
    std::fs::create_dir(at.join("in")).unwrap();
    for (n, order) in all_orders().into_iter().enumerate() {
        save(&at.join(format!("in/c{n:02}.nii.gz")), placed(a.clone(), grid).reordered(order));
    }
    let records = go(at, &["in", "--no-quicklook"]).expect(0).records();
    assert!(records.iter().all(|r| r["boxes"] == 1), "{records:?}");
    // Columns run to the left, rows to the back: column 4 begins at the edge of voxel i = 15 | 16, row 7 − 5 = 2 at j = 7 | 8.
    let edge = |axis: usize, v: f64| [10.0, 20.0, 30.0][axis] + v * [2.0, 3.0, 5.0][axis];
    let (x, y) = ([edge(0, 15.5), edge(0, 9.5)], [edge(1, 7.5), edge(1, 5.5)]);
    for n in 0..48 {
        let file = json(&at.join(format!("out/c{n:02}_boxes.json")));
        let b = &file["boxes"][0];
        assert_eq!((b["class"].as_str(), b["score"].as_f64()), (Some("stone"), Some(0.5)));
        let corner = |c: usize, a: usize| b["corners_ras"][c][a].as_f64().unwrap();
        for (c, (x, y)) in x.iter().zip(&y).enumerate() {
            assert!((corner(c, 0) - x).abs() < 1e-4 && (corner(c, 1) - y).abs() < 1e-4, "{n}: {b}");
            assert!((corner(c, 2) - edge(2, 1.0)).abs() < 1e-4, "{n}: {b}");
        }
        // The voxel box is the same place by the file's own affine, one voxel thick along its slices.
        let image = open(&at.join(format!("in/c{n:02}.nii.gz")));
        let triple = |key: &str| [0, 1, 2].map(|a| b[key][a].as_f64().unwrap());
        let ends = [triple("min_ijk"), triple("max_ijk")].map(|p| image.grid.world_from_voxel.apply(p));
        for a in 0..3 {
            let world = [[x[1], x[0]], [y[1], y[0]], [edge(2, 0.5), edge(2, 1.5)]][a];
            let found = [ends[0][a].min(ends[1][a]), ends[0][a].max(ends[1][a])];
            assert!((0..2).all(|e| (found[e] - world[e]).abs() < 1e-4), "{n}: {found:?} {world:?}");
        }
    }
    // With a picture: the frame is seen in the colour of its class.
    let _ = go(at, &["in/c00.nii.gz", "--overwrite"]).expect(0);
    let picture = image::open(at.join("out/c00_quicklook.png")).unwrap().to_rgb8();
    let ink = formats::labels::default_rgb(2);
    assert!(picture.pixels().filter(|p| p.0 == ink).count() > 200);
    if let Some(keep) = std::env::var_os("INSULA_SCREENSHOTS") {
        std::fs::copy(at.join("out/c00_quicklook.png"), Path::new(&keep).join("boxes_quicklook.png"))
            .unwrap();
    }
}
