//! `insula render` on the bundled sample: sides, sizes, and requests that make no sense.

use std::path::Path;

use image::RgbImage;
use insula_tests::{root, run};

fn sample(name: &str) -> String {
    root().join("assets/sample").join(name).to_str().unwrap().to_owned()
}

fn picture(folder: &Path, name: &str) -> RgbImage {
    image::open(folder.join(name)).unwrap().into_rgb8()
}

/// Mean column of the pixels that a segmentation changed.
fn mean_column(with: &RgbImage, without: &RgbImage) -> f64 {
    let changed = with.enumerate_pixels().filter(|(x, y, p)| *p != without.get_pixel(*x, *y));
    let columns: Vec<f64> = changed.map(|(x, _, _)| f64::from(x)).collect();
    assert!(columns.len() > 30, "the segmentation is in the picture");
    columns.iter().sum::<f64>() / columns.len() as f64
}

/// The sample's labels with only one left.
fn one_label(folder: &Path, id: u16) -> String {
    let task = formats::Task::silent();
    let image = formats::open(Path::new(&sample("head_labels.nii.gz")), &task).unwrap();
    let mut labels = image.first().to_labels().unwrap();
    labels.labels.mapv_inplace(|l| if l == id { id } else { 0 });
    let path = folder.join(format!("only_{id}_seg.nii.gz"));
    formats::save(formats::Content::Labels(&labels), &path, &task).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn left_and_right_are_on_their_sides() {
    let folder = tempfile::tempdir().unwrap();
    let head = sample("head.nii.gz");
    let draw = |out: &str, more: &[&str]| {
        let mut args = vec!["render", &head, "--out", out, "--size", "200x160", "--at", AT];
        args.extend(more);
        run(folder.path(), &args).expect(0);
        picture(folder.path(), out)
    };
    /// A slice through both putamina, 12 and 51 in FreeSurfer's numbers; found from the sample's labels.
    const AT: &str = "0,19,-2";
    for (view, mirrored) in [("axial", false), ("coronal", false), ("axial", true), ("coronal", true)] {
        let mut flags = vec!["--view", view];
        if mirrored {
            flags.push("--neurological");
        }
        let plain = draw(&format!("{view}{mirrored}.png"), &flags);
        assert_eq!(plain.dimensions(), (200, 160));
        let columns = [12, 51].map(|id| {
            let labels = one_label(folder.path(), id);
            let mut flags = flags.clone();
            flags.extend(["--labels", &labels]);
            let out = format!("{view}{mirrored}{id}.png");
            mean_column(&draw(&out, &flags), &plain)
        });
        // Radiological: the patient's left is on the right of the picture.
        assert_eq!(columns[0] > columns[1], !mirrored, "{view} {mirrored}: {columns:?}");
    }
}

#[test]
fn in_3d_from_the_front_right_is_on_the_left() {
    let folder = tempfile::tempdir().unwrap();
    let columns = [12, 51].map(|id| {
        let labels = one_label(folder.path(), id);
        let out = format!("{id}.png");
        let args = ["render", &labels, "--view", "3d", "--size", "120x120", "--out", &out];
        run(folder.path(), &args).expect(0);
        // The putamen is coloured, the background nearly grey.
        let coloured = picture(folder.path(), &out);
        let columns: Vec<f64> = coloured
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0.iter().max().unwrap() - p.0.iter().min().unwrap() > 40)
            .map(|(x, _, _)| f64::from(x))
            .collect();
        assert!(columns.len() > 10, "{id}: {} pixels", columns.len());
        columns.iter().sum::<f64>() / columns.len() as f64
    });
    assert!(columns[0] > columns[1], "{columns:?}");
}

#[test]
fn windows_and_records() {
    let folder = tempfile::tempdir().unwrap();
    let head = sample("head.nii.gz");
    let base = ["render", &head, "--view", "sagittal", "--json", "--size", "90x100", "--out"];
    let with = |out: &'static str, more: &[&'static str]| {
        let args: Vec<&str> = base.iter().copied().chain([out]).chain(more.iter().copied()).collect();
        run(folder.path(), &args).expect(0).records()[0].clone()
    };
    let record = with("a.png", &["--window", "-10,20.5", "--at", "1,-2,3.5"]);
    assert_eq!(record["window"], serde_json::json!([-10.0, 20.5]));
    assert_eq!(record["at_ras"], serde_json::json!([1.0, -2.0, 3.5]));
    let mean = |name: &str| {
        let picture = picture(folder.path(), name);
        picture.as_raw().iter().map(|&v| f64::from(v)).sum::<f64>() / picture.as_raw().len() as f64
    };
    with("b.png", &["--window", "0,1000"]);
    assert!(mean("a.png") > mean("b.png") + 20.0);
    with("c.png", &["--colours", "inverted", "--window", "0,1000"]);
    assert!(mean("c.png") > mean("b.png") + 20.0);
}

#[test]
fn senseless_requests_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let head = sample("head.nii.gz");
    let refused = |args: &[&str], reason: &str| {
        let mut all = vec!["render"];
        all.extend(args);
        let ran = run(folder.path(), &all).expect(2);
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    };
    refused(&[&head, "--out", "a.jpg"], "PNG");
    refused(&[&head, "--out", "a.png", "--size", "0x10"], "1 to 16384");
    refused(&[&head, "--out", "a.png", "--size", "10"], "800x600");
    refused(&[&head, "--out", "a.png", "--window", "5,5"], "below");
    refused(&[&head, "--out", "a.png", "--at", "1,2"], "3 numbers");
    refused(&[&head, "--out", "a.png", "--colours", "mauve"], "viridis");
    refused(&["--out", "a.png"], "FILE");
    let missing = run(folder.path(), &["render", "missing.nii", "--out", "a.png"]).expect(1);
    assert!(missing.stderr.contains("missing.nii"), "{}", missing.stderr);
    assert!(!folder.path().join("a.png").exists());
    run(folder.path(), &["render", &head, "--out", "a.png", "--size", "20x20"]).expect(0);
    refused(&[&head, "--out", "a.png"], "--overwrite");
    run(folder.path(), &["render", &head, "--out", "a.png", "--size", "30x20", "--overwrite"]).expect(0);
    assert_eq!(picture(folder.path(), "a.png").dimensions(), (30, 20));
}
