//! Evaluation equals SimpleITK, MONAI and a search over all pairs (`fixtures/make_eval.py`), on straight, anisotropic,
//! oblique and sheared grids, and for a prediction on another grid.

use formats::measure::{Compare, Evaluation, Groups, evaluate};
use formats::{LabelMap, Task};
use insula_tests::{fixture, root, shared};
use serde_json::Value;

fn labels(path: &std::path::Path) -> LabelMap {
    formats::open(path, &Task::silent()).unwrap().first().to_labels().unwrap()
}

fn compare(pred: &str, truth: &str) -> Evaluation {
    let open = |name: &str| labels(&fixture("eval").join(name));
    evaluate(&open(pred), &open(truth), &Compare::All, &Task::silent()).unwrap()
}

#[test]
fn equals_independent_programs() {
    let text = std::fs::read_to_string(fixture("eval/expected.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let found = compare(case["pred"].as_str().unwrap(), case["truth"].as_str().unwrap());
        let expected = case["rows"].as_array().unwrap();
        assert_eq!(found.rows.len(), expected.len(), "{name}");
        assert_eq!(found.notices.len(), usize::from(name == "elsewhere"), "{:?}", found.notices);
        for (row, e) in found.rows.iter().zip(expected) {
            let at = |what: &str| format!("{name}, label {}: {what}", e["label"]);
            let near = |what: &str, value: f64, expected: &Value| {
                let expected = expected.as_f64().unwrap_or(0.0); // SimpleITK's NaN of an absent label is written so
                assert!(
                    (value - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "{} {value} {expected}",
                    at(what)
                );
            };
            assert_eq!(u64::from(row.label.unwrap()), e["label"].as_u64().unwrap());
            assert_eq!(row.truth_voxels, e["truth_voxels"].as_u64().unwrap(), "{}", at("truth"));
            assert_eq!(row.pred_voxels, e["pred_voxels"].as_u64().unwrap(), "{}", at("pred"));
            near("Dice", row.dice.unwrap(), &e["dice"]);
            near("IoU", row.iou.unwrap(), &e["iou"]);
            if e.get("truth_mm3").is_some() {
                near("volume", row.truth_mm3, &e["truth_mm3"]);
                near("difference", row.volume_difference_mm3, &e["volume_difference_mm3"]);
            }
            let surface = &e["surface"];
            assert_eq!(row.surface.is_none(), surface.is_null(), "{}", at("surface"));
            if let Some(s) = row.surface {
                near("HD95", s.hd95_mm, &surface["hd95_mm"]);
                near("Hausdorff", s.hausdorff_mm, &surface["hausdorff_mm"]);
                near("mean surface", s.mean_mm, &surface["mean_mm"]);
            }
        }
    }
}

#[test]
fn a_map_compared_with_itself_in_another_axis_order_is_perfect() {
    let truth = labels(&fixture("eval/truth_oblique.nii.gz"));
    let order = formats::AxisOrder { source: [2, 0, 1], reversed: [true, false, true] };
    let turned = LabelMap {
        labels: formats::volume::reorder(&truth.labels, order),
        grid: truth.grid.reordered(order),
        ..truth.clone()
    };
    let found = evaluate(&turned, &truth, &Compare::All, &Task::silent()).unwrap();
    assert_eq!(found.notices[0].code, "prediction-resampled");
    for row in &found.rows {
        assert_eq!((row.dice, row.surface.unwrap().hausdorff_mm), (Some(1.0), 0.0));
    }
}

#[test]
fn absent_labels_are_undefined_and_missing_ones_are_zero() {
    let truth = labels(&fixture("eval/truth_isotropic.nii.gz"));
    let pred = labels(&fixture("eval/pred_isotropic.nii.gz"));
    let found = evaluate(&pred, &truth, &Compare::Labels(vec![4, 99]), &Task::silent()).unwrap();
    assert_eq!((found.rows[0].dice, found.rows[0].surface), (Some(0.0), None));
    assert_eq!((found.rows[1].dice, found.rows[1].volume_difference_percent), (None, None));
    assert_eq!((found.means[0].structures, found.means[0].missing), (1, 1));
    assert!(found.to_csv().lines().nth(2).unwrap().starts_with("99,Label 99,all,0,0,0,,,"));
}

#[test]
fn a_mirrored_brain_is_all_left_called_right() {
    let name = "a_mirrored_brain_is_all_left_called_right";
    let Some(path) = shared(name, "data/nifti/brain/fs_aparc_a2009s_aseg.nii.gz") else { return };
    let truth = labels(&path);
    let groups = Groups::read(&root().join("assets/eval/brain14.toml")).unwrap();
    let compare = Compare::Groups(groups);
    let same = evaluate(&truth, &truth, &compare, &Task::silent()).unwrap();
    assert_eq!(same.sides.unwrap().swapped_fraction, 0.0);
    assert!(same.means.iter().all(|m| m.dice == 1.0));
    assert_eq!(same.means.iter().map(|m| m.structures).collect::<Vec<_>>(), [10, 14, 19]);

    // Numbers exchanged left for right, voxels in place.
    let mut mirrored = truth.clone();
    mirrored.labels = truth
        .labels
        .mapv(|l| match l {
            2..=13 => l + 39,
            17..=18 => l + 36,
            41..=52 => l - 39,
            53..=54 => l - 36,
            11_100..=11_175 => l + 1000,
            12_100..=12_175 => l - 1000,
            l => l,
        })
        .into_shared();
    let swapped = evaluate(&mirrored, &truth, &compare, &Task::silent()).unwrap();
    assert!(swapped.sides.unwrap().swapped_fraction > 0.99, "{:?}", swapped.sides);
    let mean = |set: &str| swapped.means.iter().find(|m| m.set == set).unwrap().dice;
    assert!(mean("pooled") > 0.99 && mean("sides") < 0.06, "{}", swapped.to_text());
}

#[test]
fn volumes_of_a_real_brain_are_the_published_ones() {
    let name = "volumes_of_a_real_brain_are_the_published_ones";
    let Some(path) = shared(name, "data/nifti/brain/fs_aparc_a2009s_aseg.nii.gz") else { return };
    let Some(image) = shared(name, "data/nifti/brain/fs_norm.nii.gz") else { return };
    let (map, image) = (labels(&path), formats::open(&image, &Task::silent()).unwrap());
    let rows = formats::measure::volumes(&map, Some(image.first())).unwrap();
    // The data's own README: voxels per label, and mean intensity in white matter, cortex and lateral ventricles.
    assert_eq!(rows.len(), 188);
    let row = |id: u16| rows.iter().find(|r| r.label == id).unwrap();
    for (id, voxels) in [(2, 222_118), (16, 19_061), (53, 3904), (54, 1903)] {
        assert_eq!((row(id).voxels, row(id).volume_mm3.round()), (voxels, voxels as f64));
    }
    let mean = |ids: &dyn Fn(u16) -> bool| {
        let chosen = rows.iter().filter(|r| ids(r.label));
        let (n, sum) = chosen.fold((0.0, 0.0), |(n, s), r| {
            (n + r.voxels as f64, s + r.voxels as f64 * r.mean_intensity.unwrap())
        });
        sum / n
    };
    assert!((mean(&|id| id == 2 || id == 41) - 97.23).abs() < 0.01);
    assert!((mean(&|id| (11_100..=12_175).contains(&id)) - 65.28).abs() < 0.01);
    assert!((mean(&|id| id == 4 || id == 43) - 27.91).abs() < 0.01);
    // Left is left.
    assert!(row(17).centroid_ras.unwrap()[0] < row(53).centroid_ras.unwrap()[0] - 30.0);
}
