//! Prompts with the real program: import, volumes and pictures in batches, resuming, refusals. The networks are tiny and
//! their weights are random: what is tested is everything around them.

use std::path::Path;
use std::sync::OnceLock;

use formats::{Affine, AffineSource, AxisOrder, Content, Grid, Image, Task, Volume, Voxels};
use insula_tests::{Ran, command, run, runtime, tiny_prompter};
use ndarray::Array3;
use tempfile::{TempDir, tempdir};

/// A folder with `scans` (a pack for scans that finds everything), `strict` (one that finds nothing) and `photos`.
fn packs() -> &'static Path {
    static PACKS: OnceLock<TempDir> = OnceLock::new();
    PACKS
        .get_or_init(|| {
            let folder = tempdir().unwrap();
            let _ = tiny_prompter(folder.path(), "scans", &[]);
            let _ = tiny_prompter(folder.path(), "strict", &[("threshold = 0.0", "threshold = 1.0")]);
            let photos = [
                ("axes = \"SAR\"\nspacing_mm = [2.0, 2.0, 2.0]", "axes = \"stored\""),
                ("tasks = [\"phrases\"]", "tasks = [\"phrases\", \"semantic\", \"panoptic\", \"instances\"]"),
                ("[output.present]\nslope = 1.0\noffset = 0.0\nthreshold = 0.0\n", ""),
            ];
            let _ = tiny_prompter(folder.path(), "photos", &photos);
            folder
        })
        .path()
}

fn go(folder: &Path, pack: &str, args: &[&str]) -> Ran {
    let mut command = command(folder);
    let pack = packs().join(pack);
    command.args(["--batch"]).args(args).arg("--pack").arg(&pack).args(["--out", "out", "--threads", "2"]);
    if let Some(runtime) = runtime("prompt") {
        command.env("ORT_DYLIB_PATH", runtime);
    }
    Ran::of(command.output().unwrap())
}

fn save(path: &Path, volume: Volume) {
    let is_picture = volume.meta.affine_source == AffineSource::None;
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

/// A head-like volume: an ellipsoid with darker and brighter parts off its middle, no two sides alike.
fn scan() -> Volume {
    let size_ijk = [40, 44, 6];
    let [i, j, k] = size_ijk;
    let a = Array3::from_shape_fn((k, j, i), |(k, j, i)| {
        let p = [(i as f64 - 19.0) / 16.0, (j as f64 - 21.0) / 18.0, (k as f64 - 2.0) / 3.5];
        let r = p.iter().map(|v| v * v).sum::<f64>().sqrt();
        let near = |c: [f64; 3]| (0..3).map(|a| (p[a] - c[a]).powi(2)).sum::<f64>().sqrt();
        let value = if r > 1.0 { 0.0 } else { 400.0 + 200.0 * r };
        let value = if near([0.4, 0.2, 0.1]) < 0.3 { 150.0 } else { value };
        let grain = ((i * 7919 + j * 104_729 + k * 31 + i * j) % 41) as f64;
        let value = if value > 0.0 { value + grain } else { 0.0 };
        (if near([-0.3, -0.4, 0.0]) < 0.25 { 900.0 } else { value }) as i16
    });
    let world_from_voxel = Affine::scale_shift([2.0, 2.0, 2.5], [-37.0, -40.0, -5.0]);
    let mut v = Volume::new(Voxels::I16(a.into_shared()), Grid { size_ijk, world_from_voxel }).unwrap();
    v.meta.affine_source = AffineSource::Sform;
    v
}

fn labels(path: &Path) -> Volume {
    open(path)
}

#[test]
fn prompts_become_labels_on_the_scans_own_grid_and_are_not_asked_twice() {
    if runtime("prompts_become_labels_on_the_scans_own_grid_and_are_not_asked_twice").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    save(&input.join("head.nii.gz"), scan());
    std::fs::write(input.join("broken.nii.gz"), "no image").unwrap();
    std::fs::write(folder.path().join("more.txt"), "white matter\n\nthe left, lower part\n").unwrap();
    let args = ["in", "--prompt", "left hippocampus, ventricles", "--prompts", "more.txt", "--no-quicklook"];
    let ran = go(folder.path(), "scans", &args).expect(8);
    let records = ran.records();
    let record = records.iter().find(|r| r["case"] == "head").unwrap();
    assert_eq!(record["status"], "done", "{record}");
    let prompts = record["prompts"].as_array().unwrap();
    let names: Vec<&str> = prompts.iter().map(|p| p["prompt"].as_str().unwrap()).collect();
    assert_eq!(names, ["left hippocampus", "ventricles", "white matter", "the left, lower part"]);
    let result = labels(&folder.path().join("out/head_seg.nii.gz"));
    let source = open(&input.join("head.nii.gz"));
    assert!(result.grid.is_same(&source.grid, 1e-6));
    let result = result.to_labels().unwrap();
    for (n, prompt) in prompts.iter().enumerate() {
        assert_eq!(prompt["label"], n as u64 + 1);
        let own = result.labels.iter().filter(|&&l| usize::from(l) == n + 1).count();
        assert_eq!(prompt["voxels"], own as u64, "{prompt}");
        assert_eq!(prompt["is_found"], own > 0, "{prompt}");
        let p = prompt["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&p));
        let score = prompt["score"].as_f64().unwrap();
        assert!((p - 1.0 / (1.0 + (-score).exp())).abs() < 1e-6, "{prompt}");
    }
    assert!(result.labels.iter().any(|&l| l > 0), "random masks are not all empty");
    let table = std::fs::read_to_string(folder.path().join("out/head_labels.txt")).unwrap();
    assert!(table.contains("\"the left, lower part\""), "{table}");

    // The same again is finished; another prompt is other work.
    let ran = go(folder.path(), "scans", &args).expect(8);
    assert_eq!(ran.records().iter().find(|r| r["case"] == "head").unwrap()["status"], "skipped");
    let ran =
        go(folder.path(), "scans", &["in/head.nii.gz", "--prompt", "ventricles", "--no-quicklook"]).expect(0);
    let record = &ran.records()[0];
    assert_eq!(record["status"], "done");
    // An answer does not depend on what else is asked.
    let before = prompts.iter().find(|p| p["prompt"] == "ventricles").unwrap();
    assert_eq!(record["prompts"][0]["score"], before["score"]);

    let ran = go(folder.path(), "strict", &["in/head.nii.gz", "--prompt", "ventricles", "--no-quicklook"])
        .expect(0);
    let prompt = &ran.records()[0]["prompts"][0];
    assert_eq!((&prompt["is_found"], &prompt["voxels"]), (&false.into(), &0.into()));
}

/// However an image is stored, the same places of the world get the same labels.
#[test]
fn every_axis_order_gives_the_same_labels_in_the_world() {
    if runtime("every_axis_order_gives_the_same_labels_in_the_world").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let scan = scan();
    let orders: Vec<AxisOrder> = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        .into_iter()
        .flat_map(|source| {
            (0..8).map(move |n| AxisOrder { source, reversed: [n & 1 > 0, n & 2 > 0, n & 4 > 0] })
        })
        .collect();
    for (n, &order) in orders.iter().enumerate() {
        save(&input.join(format!("order{n:02}.nii")), scan.reordered(order));
    }
    let args = ["in", "--prompt", "left hippocampus, ventricles", "--no-quicklook", "--smooth"];
    go(folder.path(), "scans", &args).expect(0);
    let found = |n: usize| {
        let path = folder.path().join(format!("out/order{n:02}_seg.nii.gz"));
        labels(&path).to_labels().unwrap()
    };
    let first = found(0);
    let count = |id: u16| first.labels.iter().filter(|&&l| l == id).count();
    assert!((1..=2).any(|id| (1..first.labels.len()).contains(&count(id))), "something is marked, not all");
    let into_first = scan.grid.voxel_from_world().unwrap();
    for (n, _) in orders.iter().enumerate().skip(1) {
        let other = found(n);
        for ((k, j, i), &label) in other.labels.indexed_iter() {
            let world = other.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
            let [x, y, z] = into_first.apply(world).map(|v| v.round() as usize);
            assert_eq!(first.labels[[z, y, x]], label, "order {n} at {i} {j} {k}");
        }
    }
}

#[test]
fn photographs_are_asked_for_phrases_classes_and_things() {
    if runtime("photographs_are_asked_for_phrases_classes_and_things").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let rgb = Array3::from_shape_fn((1, 50, 70), |(_, y, x)| {
        [(x * 3) as u8, (y * 5) as u8, if (x / 10 + y / 10) % 2 == 0 { 200 } else { 20 }]
    });
    let grid = formats::raster::picture_grid([70, 50, 1], [1.0; 3]);
    save(&folder.path().join("photo.png"), Volume::new(Voxels::Rgb8(rgb.into_shared()), grid).unwrap());
    save(&folder.path().join("head.nii.gz"), scan());
    for ask in ["phrases", "semantic", "panoptic", "instances"] {
        let args = ["photo.png", "--prompt", "a cat,the grass", "--ask", ask, "--no-quicklook"];
        let ran = go(folder.path(), "photos", &args).expect(0);
        let record = &ran.records()[0];
        assert_eq!(record["status"], "done", "{record}");
        assert_eq!(record["prompts"][0].get("probability"), None, "nothing was calibrated");
        let result = labels(&folder.path().join("out/photo_seg.nii.gz"));
        assert_eq!(result.grid.size_ijk, [70, 50, 1]);
        let result = result.to_labels().unwrap();
        if ask == "semantic" {
            assert!(result.labels.iter().all(|&l| l == 1 || l == 2), "every pixel has a class");
        }
    }
    // A scan shown to a network that knows photographs is told of.
    let args = ["head.nii.gz", "--prompt", "a cat", "--no-quicklook", "--axis", "k"];
    let ran = go(folder.path(), "photos", &args).expect(0);
    let notices = ran.records()[0]["notices"].as_array().unwrap().clone();
    assert!(notices.iter().any(|n| n["code"] == "photographs-only"), "{notices:?}");
    let args = ["head.nii.gz", "--prompt", "a cat", "--ask", "instances"];
    let ran = go(folder.path(), "photos", &args).expect(1);
    assert!(ran.stderr.contains("is a volume"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_asked_is_said_before_anything_is_read() {
    let folder = tempdir().unwrap();
    save(&folder.path().join("head.nii.gz"), scan());
    let none = go(folder.path(), "scans", &["head.nii.gz"]).expect(2);
    assert!(none.stderr.contains("--prompt \"left hippocampus, ventricles"), "{}", none.stderr);
    let asked = go(folder.path(), "scans", &["head.nii.gz", "--prompt", "x", "--ask", "semantic"]).expect(2);
    assert!(asked.stderr.contains("only for phrases"), "{}", asked.stderr);
    let mut other = command(folder.path());
    other.args(["--batch", "head.nii.gz", "--prompt", "x", "--no-install"]);
    let other = Ran::of(other.output().unwrap()).expect(2);
    assert!(other.stderr.contains("segformer3d-brain"), "{}", other.stderr);
}

#[test]
fn faulty_imports_are_explained() {
    let folder = tempdir().unwrap();
    let pack = packs().join("scans");
    let import = |args: &[&str]| {
        let weights = ["packs", "import", "weights.safetensors", "--family", "xdecoder", "--out", "."];
        let all: Vec<&str> = weights.into_iter().chain(args.iter().copied()).collect();
        run(folder.path(), &all)
    };
    std::fs::write(folder.path().join("weights.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    let ran = import(&[]).expect(1);
    assert!(ran.stderr.contains("no tensors"), "{}", ran.stderr);
    // Weights of another kind of network.
    let header = br#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&1.0f32.to_le_bytes());
    std::fs::write(folder.path().join("weights.safetensors"), bytes).unwrap();
    let ran = import(&[]).expect(1);
    assert!(ran.stderr.contains("the weights of an X-Decoder"), "{}", ran.stderr);
    // A pack whose vocabulary was exchanged is not opened.
    let text = std::fs::read_to_string(pack.join("pack.toml")).unwrap();
    assert!(text.contains("role = \"vocabulary\""), "{text}");
}
