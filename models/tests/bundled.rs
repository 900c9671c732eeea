//! The bundled brain pack on a real, labelled scan. `INSULA_PACK` names a pack folder to try instead.

#![expect(clippy::print_stderr, reason = "skipped tests say so")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::{AxisOrder, LabelMap, Task, Volume};
use models::family::{Case, Limits, Output};
use models::{Catalog, ModelPack, Pipeline};

const ID: &str = "segformer3d-brain";

/// Pack, runtime and the folder of the scan; or a line that says what was skipped.
fn setup(test: &str, files: &[&str]) -> Option<(Pipeline, PathBuf)> {
    let skip = |why: &str| {
        eprintln!("SKIPPED {test}: {why}");
        None::<(Pipeline, PathBuf)>
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let shared = std::env::var_os("INSULA_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
    let folder = shared.join("data/nifti/brain");
    if let Some(missing) = files.iter().map(|f| folder.join(f)).find(|f| !f.is_file()) {
        return skip(&format!("{} is not here (set INSULA_SHARED)", missing.display()));
    }
    let pack = match std::env::var_os("INSULA_PACK") {
        Some(folder) => Arc::new(ModelPack::from_folder(Path::new(&folder)).unwrap()),
        None => match Catalog::in_folder(Path::new("none")).find(ID) {
            Ok(pack) => Arc::clone(pack),
            Err(why) => return skip(&why.to_string()),
        },
    };
    let runtime = match inference::runtime::find() {
        Ok(found) => found.path,
        Err(why) => return skip(&why.to_string()),
    };
    let engine = inference::Engine::start(&inference::EngineOptions {
        runtime,
        provider: inference::ProviderChoice::Exactly(inference::Provider::Cpu),
        threads: 2,
    })
    .unwrap();
    let pipeline = Pipeline::open(pack, engine, Limits::default(), &Task::silent()).unwrap();
    Some((pipeline, folder))
}

fn volume(path: &Path) -> Volume {
    formats::open(path, &Task::silent()).unwrap().frames.swap_remove(0)
}

fn segment(pipeline: &mut Pipeline, scan: Volume) -> LabelMap {
    let outcome = pipeline.run(Case::new("scan", vec![scan]), &Task::silent()).unwrap();
    let mib = |bytes: u64| bytes >> 20;
    eprintln!(
        "{} tiles, {:?}; estimated {} MiB, peak of the process {} MiB",
        outcome.tiles,
        outcome.timings.0,
        mib(outcome.estimated_bytes),
        mib(outcome.peak_bytes)
    );
    let Output::Labels(map) = outcome.output else { panic!("labels") };
    map
}

/// FreeSurfer's codes merged as the pack's classes are.
fn merged(code: u16) -> u16 {
    match code {
        25 => 2,
        57 => 41,
        5 => 4,
        44 => 43,
        11_100..12_100 => 3,
        12_100..12_176 => 42,
        other => other,
    }
}

/// The large structures, left and right.
const LARGE: [[u16; 2]; 10] =
    [[2, 41], [3, 42], [4, 43], [7, 46], [8, 47], [10, 49], [11, 50], [12, 51], [13, 52], [17, 53]];

#[test]
fn a_real_brain_is_labelled_with_left_and_right_apart() {
    const NAME: &str = "a_real_brain_is_labelled_with_left_and_right_apart";
    let files = ["fs_norm.nii.gz", "fs_aparc_a2009s_aseg.nii.gz"];
    let Some((mut pipeline, folder)) = setup(NAME, &files) else { return };
    let scan = volume(&folder.join("fs_norm.nii.gz"));
    let truth = volume(&folder.join("fs_aparc_a2009s_aseg.nii.gz")).to_labels().unwrap().labels.mapv(merged);
    let grid = scan.grid;
    let map = segment(&mut pipeline, scan);
    assert_eq!(map.grid, grid);
    let dice = |id: u16| {
        let (mut both, mut sum) = (0u64, 0u64);
        for (&a, &b) in map.labels.iter().zip(&truth) {
            both += u64::from(a == id && b == id);
            sum += u64::from(a == id) + u64::from(b == id);
        }
        2.0 * both as f64 / sum as f64
    };
    let ids: Vec<u16> = LARGE.iter().flatten().copied().chain([16]).collect();
    let scores: Vec<f64> = ids.iter().map(|&id| dice(id)).collect();
    for (id, score) in ids.iter().zip(&scores) {
        eprintln!("{:28} {score:.3}", map.table.name(*id));
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    let (mut crossed, mut sided) = (0u64, 0u64);
    for (&a, &b) in map.labels.iter().zip(&truth) {
        let side = |l: u16| LARGE.iter().find_map(|pair| pair.iter().position(|&p| p == l));
        if let (Some(x), Some(y)) = (side(a), side(b)) {
            sided += 1;
            crossed += u64::from(x != y);
        }
    }
    let crossed = crossed as f64 / sided as f64;
    eprintln!("mean Dice {mean:.4}, on the wrong side {:.3} %", 100.0 * crossed);
    assert!(mean > 0.72, "mean Dice {mean}");
    assert!(crossed < 0.02, "{crossed} of the voxels are on the wrong side");
}

#[test]
fn storage_order_does_not_matter() {
    let Some((mut pipeline, folder)) = setup("storage_order_does_not_matter", &["fs_norm.nii.gz"]) else {
        return;
    };
    let scan = volume(&folder.join("fs_norm.nii.gz"));
    let straight = segment(&mut pipeline, scan.clone());
    let order = AxisOrder { source: [2, 0, 1], reversed: [true, false, true] };
    let other = segment(&mut pipeline, scan.reordered(order));
    let expected = formats::volume::reorder(&straight.labels, order);
    let differ = expected.iter().zip(&other.labels).filter(|(a, b)| a != b).count();
    // Interpolation weights differ in the last bit, which turns a few ties.
    assert!(differ < expected.len() / 100_000, "{differ} voxels differ");
}
