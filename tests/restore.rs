//! Restoring with the real program: import, pictures, volumes and series in batches, and the comparison of images.
//! The network is tiny and its weights are random: what is tested is everything around it.

#[path = "../formats/tests/dicom_files/mod.rs"]
mod dicom_files;
#[path = "restore_dicom.rs"]
mod restore_dicom;

use std::path::Path;
use std::sync::OnceLock;

use formats::{Affine, AffineSource, Content, FrameAxis, Grid, Image, Scaling, Task, Volume, Voxels};
use insula_tests::{Ran, command, fixture, run, runtime, skip, tiny_restorer};
use ndarray::Array3;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

fn pack() -> &'static str {
    static PACK: OnceLock<(TempDir, String)> = OnceLock::new();
    &PACK
        .get_or_init(|| {
            let folder = tempdir().unwrap();
            let path = tiny_restorer(folder.path()).to_str().unwrap().to_owned();
            (folder, path)
        })
        .1
}

fn go(folder: &Path, args: &[&str]) -> Ran {
    let args: Vec<&str> = args.iter().copied().chain(["--pack", pack()]).collect();
    go_with(folder, &args)
}

/// With a pack among the arguments.
fn go_with(folder: &Path, args: &[&str]) -> Ran {
    let mut command = command(folder);
    command.arg("--batch").args(args).args(["--out", "out", "--threads", "2"]);
    if let Some(runtime) = runtime("restore") {
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

/// A smooth picture, or one with grain.
fn picture(width: usize, height: usize, grain: bool) -> Array3<u8> {
    Array3::from_shape_fn((1, height, width), |(_, y, x)| {
        let noise = if grain { ((x * 7919 + y * 104_729 + x * y * 31) % 41) as f64 - 20.0 } else { 0.0 };
        (128.0 + 90.0 * (x as f64 * 0.021).sin() * (y as f64 * 0.033).cos() + noise) as u8
    })
}

fn grey(a: Array3<u8>) -> Volume {
    let (_, h, w) = a.dim();
    Volume::new(Voxels::U8(a.into_shared()), formats::raster::picture_grid([w, h, 1], [1.0; 3])).unwrap()
}

/// A scaled volume of a ball, in an oblique place.
fn scan() -> Volume {
    let a = Array3::from_shape_fn((7, 40, 50), |(k, j, i)| {
        let r =
            ((i as f64 - 25.0).powi(2) + (j as f64 - 20.0).powi(2) + (k as f64 * 4.0 - 12.0).powi(2)).sqrt();
        (if r < 15.0 { 900 } else { -1000 }) + ((i * i * 31 + j * j * 17 + i * j * 7 + k * 3) % 31) as i16
    });
    let world_from_voxel = Affine([[0.9, 0.1, 0.0, -7.0], [-0.1, 0.9, 0.0, 11.0], [0.0, 0.0, 4.0, 3.0]]);
    let mut v =
        Volume::new(Voxels::I16(a.into_shared()), Grid { size_ijk: [50, 40, 7], world_from_voxel }).unwrap();
    v.scaling = Scaling { slope: 2.0, inter: 10.0 };
    v.meta.affine_source = AffineSource::Sform;
    v
}

#[test]
fn pictures_and_volumes_in_one_batch() {
    if runtime("pictures_and_volumes_in_one_batch").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    save(&input.join("large.png"), grey(picture(200, 150, true)));
    save(&input.join("small.png"), grey(picture(9, 5, true)));
    let rgba =
        Array3::from_shape_fn((1, 30, 40), |(_, y, x)| [(x * 6) as u8, (y * 8) as u8, 90, (x + y) as u8]);
    let grid = formats::raster::picture_grid([40, 30, 1], [1.0; 3]);
    save(&input.join("clear.png"), Volume::new(Voxels::Rgba8(rgba.into_shared()), grid).unwrap());
    save(&input.join("scan.nii.gz"), scan());
    std::fs::write(input.join("broken.nii.gz"), "no image").unwrap();

    let ran = go(folder.path(), &["in", "--no-quicklook"]).expect(8);
    let records = ran.records();
    let status = |name: &str| records.iter().find(|r| r["case"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(records.len(), 5);
    assert_eq!(status("broken")["status"], "failed");
    let out = folder.path().join("out");
    for (name, ending) in [("large", "png"), ("small", "png"), ("clear", "png"), ("scan", "nii.gz")] {
        let record = status(name);
        assert_eq!(record["status"], "done", "{record}");
        assert_eq!(record["outputs"][0]["file"], format!("{name}_restored.{ending}"));
        assert_eq!(record["restored"]["task"], "denoising");
        let (before, after) = (
            open(&input.join(format!("{name}.{ending}"))),
            open(&out.join(format!("{name}_restored.{ending}"))),
        );
        assert_eq!(before.voxels.type_name(), after.voxels.type_name());
        assert!(before.grid.is_same(&after.grid, 1e-4), "{name}");
        let (b, a) = (before.to_f32(), after.to_f32());
        let changed = b.iter().zip(&a).filter(|(b, a)| b != a).count();
        assert!(changed > b.len() / 4, "{name}: {changed} of {}", b.len());
        if let (Voxels::Rgba8(b), Voxels::Rgba8(a)) = (&before.voxels, &after.voxels) {
            assert!(b.iter().zip(a).all(|(b, a)| b[3] == a[3]), "alpha stays");
        }
    }
    let scan_record = status("scan");
    assert_eq!(scan_record["restored"]["slices"], "k", "4 mm slices");
    assert_eq!(scan_record["restored"]["stored_as"], "int16");
    assert!(scan_record["restored"]["subtracted"].as_f64().unwrap() < -1900.0, "{scan_record}");
    assert!(scan_record["restored"]["noise_before"].as_f64().unwrap() > 0.0);
    let after = formats::open(&out.join("scan_restored.nii.gz"), &Task::silent()).unwrap();
    assert!(models::restorer::is_restored(&after.first().meta), "{:?}", after.first().meta.description);

    // Finished ones are recognised; another strength is other work.
    let again = go(folder.path(), &["in", "--no-quicklook"]).expect(8).records();
    assert_eq!(again.iter().filter(|r| r["status"] == "skipped").count(), 4);
    let other = go(folder.path(), &["in/large.png", "--no-quicklook", "--strength", "0"]).expect(0).records();
    assert_eq!(other[0]["status"], "done");
    let Voxels::U8(same) = open(&out.join("large_restored.png")).voxels else { panic!("8 bits") };
    assert_eq!(same, picture(200, 150, true).into_shared(), "nothing is changed at strength 0");
    let _ = go(folder.path(), &["in/large.png", "--strength", "2"]).expect(2);
    let _ = go(folder.path(), &["in/large.png", "--format", "dicom-seg"]).expect(2);
    let planned = go(folder.path(), &["in/scan.nii.gz", "--axis", "all", "--dry-run"]).expect(0).records();
    assert_eq!(planned[0]["outputs"][0], "scan_restored.nii.gz");
    // Slices of 64 × 64 at most in one tile each: 7 + 40 + 50.
    assert_eq!(planned[0]["tiles"], 97);
}

/// Across the borders of tiles of the bundled denoiser no step of what it changed is larger than elsewhere, on smooth and on
/// grainy pictures. (Random weights are of no use here: their answers are as rough within tiles as between them.)
#[test]
fn tiles_of_the_denoiser_leave_no_seams() {
    const TEST: &str = "tiles_of_the_denoiser_leave_no_seams";
    if !models::bundled::has("maxim-denoise") {
        return skip(TEST, "maxim-denoise is not bundled yet");
    }
    if runtime(TEST).is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    for (name, grain) in [("smooth", false), ("grainy", true)] {
        let a = picture(300, 170, grain).mapv(|v| f32::from(v) / 255.0);
        let mut volume =
            Volume::new(Voxels::F32(a.clone().into_shared()), Grid::unit([300, 170, 1])).unwrap();
        volume.meta.affine_source = AffineSource::Sform;
        let file = format!("{name}.nii.gz");
        save(&folder.path().join(&file), volume);
        let args = [&file, "--no-quicklook", "--pack", "maxim-denoise"];
        let record = go_with(folder.path(), &args).expect(0).records().remove(0);
        let factor = record["restored"]["divided_by"].as_f64().unwrap() as f32;
        let after = open(&folder.path().join(format!("out/{name}_restored.nii.gz"))).to_f32();
        // Tiles of 128 that share 32 at least, evenly spread.
        let borders = |n: usize| -> Vec<usize> {
            let count = (n - 128).div_ceil(96) + 1;
            let start = |k: usize| ((k * (n - 128)) as f64 / (count - 1) as f64).round() as usize;
            (0..count).flat_map(|k| [start(k), start(k) + 128]).filter(|b| (1..n).contains(b)).collect()
        };
        for (axis, n) in [(2, 300), (1, 170)] {
            let borders = borders(n);
            let [mut at, mut elsewhere] = [0.0f32; 2];
            for x in 1..n {
                let plane = |x: usize| after.index_axis(ndarray::Axis(axis), x);
                let was = |x: usize| a.index_axis(ndarray::Axis(axis), x);
                let steps = (&plane(x) - &was(x)) - (&plane(x - 1) - &was(x - 1));
                let largest = steps.iter().fold(0.0f32, |m, v| m.max(v.abs())) / factor;
                let place = if borders.contains(&x) { &mut at } else { &mut elsewhere };
                *place = place.max(largest);
            }
            assert!(
                at - elsewhere <= 1.0 / 255.0,
                "{name}, axis {axis}: {at} at borders, {elsewhere} elsewhere"
            );
        }
    }
}

/// Three frames over time: the first and last alike, and the one between its mirror image, so that each has the same range.
fn frames() -> Vec<Volume> {
    let first = scan();
    let mut mirrored = first.clone();
    let Voxels::I16(a) = &first.voxels else { panic!("16 bits") };
    let (_, rows, _) = a.dim();
    let other = Array3::from_shape_fn(a.dim(), |(k, j, i)| a[[k, rows - 1 - j, i]]);
    mirrored.voxels = Voxels::I16(other.into_shared());
    vec![first.clone(), mirrored, first]
}

#[test]
fn all_frames_of_a_series_are_restored() {
    if runtime("all_frames_of_a_series_are_restored").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    let axis = FrameAxis { name: "time".to_owned(), len: 3, step: 2.5, unit: "s".to_owned() };
    let image = Image {
        frames: frames(),
        frame_axes: vec![axis.clone()],
        format: "",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    formats::save(Content::Image(&image), &folder.path().join("series.nii.gz"), &Task::silent()).unwrap();
    save(&folder.path().join("alone.nii.gz"), scan());
    let records = go(folder.path(), &["series.nii.gz", "alone.nii.gz", "--no-quicklook"]).expect(0).records();
    let of = |name: &str| records.iter().find(|r| r["case"] == name).unwrap();
    assert_eq!(of("series")["restored"]["frames"], 3);
    assert_eq!(of("series")["tiles"].as_u64(), of("alone")["tiles"].as_u64().map(|n| 3 * n));
    let after = formats::open(&folder.path().join("out/series_restored.nii.gz"), &Task::silent()).unwrap();
    assert_eq!(after.frame_axes, [axis]);
    assert_eq!(after.frames.len(), 3);
    let alone = open(&folder.path().join("out/alone_restored.nii.gz"));
    assert!(alone.grid.is_same(&after.first().grid, 1e-4));
    let values = |v: &Volume| v.to_f32();
    assert_eq!(values(&after.frames[0]), values(&alone), "a frame is what it is by itself");
    assert_eq!(values(&after.frames[2]), values(&alone));
    assert_ne!(values(&after.frames[1]), values(&alone));
    let planned = go(folder.path(), &["series.nii.gz", "--dry-run", "--overwrite"]).expect(0).records();
    assert_eq!(planned[0]["tiles"], of("series")["tiles"]);
}

#[test]
fn similarity_equals_scikit_image() {
    let text = std::fs::read_to_string(fixture("similarity/expected.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    for case in cases.as_array().unwrap() {
        let at = |key: &str| open(&fixture("similarity").join(case[key].as_str().unwrap()));
        let found = formats::measure::similarity(&at("result"), &at("truth"), None).unwrap();
        let name = &case["truth"];
        let near = |found: f64, key: &str| {
            let expected = case[key].as_f64().unwrap();
            assert!(
                (found - expected).abs() < 1e-6 * expected.abs().max(1.0),
                "{name} {key}: {found} {expected}"
            );
        };
        near(found.data_range, "data_range");
        near(found.psnr_db.unwrap(), "psnr_db");
        near(found.ssim.unwrap(), "ssim");
        near(found.mae, "mae");
    }
}

#[test]
fn folders_of_images_are_compared_by_name() {
    let folder = tempdir().unwrap();
    for (name, of) in [("truth", "truth"), ("result", "result")] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        for case in ["grey8", "colour"] {
            let ending = if name == "result" { "_restored" } else { "" };
            let to = folder.path().join(name).join(format!("{case}{ending}.png"));
            std::fs::copy(fixture("similarity").join(format!("{case}_{of}.png")), to).unwrap();
        }
    }
    let args = ["eval", "--images", "result", "truth", "--json"];
    let found = run(folder.path(), &args).expect(0).records().remove(0);
    assert_eq!(found["rows"].as_array().unwrap().len(), 2);
    assert!((found["mean"]["psnr_db"].as_f64().unwrap() - (22.003_648_7 + 22.129_846_1) / 2.0).abs() < 1e-5);
    // A picture of another size fails alone; one without a counterpart is told.
    save(&folder.path().join("result/grey8_restored.png"), grey(picture(20, 20, false)));
    save(&folder.path().join("truth/alone.png"), grey(picture(20, 20, false)));
    let ran = run(folder.path(), &["eval", "--images", "result", "truth"]).expect(8);
    assert!(ran.stderr.contains("grey8: failed") && ran.stderr.contains("alone.png"), "{}", ran.stderr);
    let _ = run(folder.path(), &["eval", "--images", "result", "truth/alone.png"]).expect(2);
}
