//! MAYOR in Rust beside its definition in Python: stored cases of a tiny network (`insula_authoring.mayor.fixtures`), whose arrays are
//! PyTorch's and NumPy's. Tolerances: boxes 0.05 pixels, masks and probabilities 1e-4.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::HashMap;
use std::path::PathBuf;

use formats::Task;
use inference::engine::{Engine, EngineOptions, Model};
use inference::net::{Net, Nets};
use inference::provider::{Provider, ProviderChoice};
use models::checkpoint;
use models::mayor::contour::{self, Point};
use models::mayor::{Box4, Config, Detector, Found, Settings, build_onnx, expected_tensors, glue};
use models::onnx::Precision;
use ndarray::{Array2, Array3, ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

const CASES: [&str; 6] = ["empty", "one_line", "dense", "extreme_aspect", "edge", "turned"];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mayor"))
}

#[derive(serde::Deserialize)]
struct Facts {
    settings: Settings,
    config: Config,
    cases: HashMap<String, Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    lines: Vec<Stored>,
}

#[derive(serde::Deserialize)]
struct Stored {
    score: f64,
    origin: [usize; 2],
    pixels: usize,
    #[serde(rename = "box")]
    bounds: Box4,
    outline: Vec<Point>,
    polygon: Vec<Point>,
    rectangle: Vec<Point>,
    blanked: usize,
}

fn facts() -> Facts {
    let text = std::fs::read_to_string(folder().join("cases.json")).expect("the fixture is there");
    serde_json::from_str(&text).expect("the fixture is as its writer made it")
}

/// The float arrays of a case, and its picture.
struct Arrays {
    floats: HashMap<String, ArrayD<f32>>,
    picture: Array3<u8>,
}

fn arrays(case: &str) -> Arrays {
    let bytes = std::fs::read(folder().join(format!("{case}.safetensors"))).expect("the fixture is there");
    let file = SafeTensors::deserialize(&bytes).expect("a sound file");
    let (mut floats, mut picture) = (HashMap::new(), None);
    for (name, view) in file.tensors() {
        if view.dtype() == Dtype::U8 {
            let shape = [view.shape()[0], view.shape()[1], view.shape()[2]];
            picture =
                Some(Array3::from_shape_vec(shape, view.data().to_vec()).expect("shape and data agree"));
            continue;
        }
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        floats
            .insert(name, ArrayD::from_shape_vec(IxDyn(view.shape()), values).expect("shape and data agree"));
    }
    Arrays { floats, picture: picture.expect("a picture") }
}

impl Arrays {
    fn boxes(&self, name: &str) -> Vec<Box4> {
        self.floats[name].rows().into_iter().map(|r| [r[0], r[1], r[2], r[3]]).collect()
    }

    /// Levels as the network gives them, with a batch axis.
    fn levels(&self, kind: &str) -> Vec<ArrayD<f32>> {
        let name = |i: usize| format!("{kind}_{i}");
        (2..=6).map(|i| self.floats[&name(i)].clone().insert_axis(ndarray::Axis(0))).collect()
    }

    fn size(&self) -> [usize; 2] {
        [self.picture.shape()[0], self.picture.shape()[1]]
    }
}

fn close(found: &[Box4], wanted: &[Box4], limit: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (n, (f, w)) in found.iter().zip(wanted).enumerate() {
        for (a, b) in f.iter().zip(w) {
            assert!((a - b).abs() <= limit, "{what} {n}: {f:?} instead of {w:?}");
        }
    }
}

fn near(found: &[Point], wanted: &[Point], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: {found:?} instead of {wanted:?}");
    for (f, w) in found.iter().zip(wanted) {
        assert!(
            (f[0] - w[0]).abs() < 1e-6 && (f[1] - w[1]).abs() < 1e-6,
            "{what}: {found:?} instead of {wanted:?}"
        );
    }
}

/// Lines are those stored: box, score, pixels, outline, simplified outline, rectangle, and what redaction blanks of each.
fn lines_agree(found: &[Found], stored: &[Stored], size: [usize; 2], case: &str) {
    assert_eq!(found.len(), stored.len(), "{case}");
    for (n, (f, s)) in found.iter().zip(stored).enumerate() {
        let what = format!("{case}, line {n}");
        close(&[f.bounds], &[s.bounds], 0.05, &what);
        assert!((f64::from(f.score) - s.score).abs() < 1e-4, "{what}: {} instead of {}", f.score, s.score);
        assert_eq!((f.origin, f.region.iter().filter(|&&v| v).count()), (s.origin, s.pixels), "{what}");
        let outline = contour::trace(&f.region, f.origin);
        near(&outline, &s.outline, &what);
        near(&contour::simplify(&outline, 0.005), &s.polygon, &what);
        near(&contour::rectangle(&outline).expect("a rectangle"), &s.rectangle, &what);
        let margin = (0.15 * contour::thickness(&contour::trace(&f.region, [0, 0]))).max(2.0).ceil() as usize;
        let mut blank = Array2::from_elem((size[0], size[1]), false);
        contour::widen_into(&mut blank, &f.region, f.origin, margin);
        assert_eq!(blank.iter().filter(|&&v| v).count(), s.blanked, "{what}");
    }
}

#[test]
fn the_glue_agrees_stage_by_stage() {
    let facts = facts();
    let mut lines = 0;
    for case in CASES {
        let a = arrays(case);
        let (size, s) = (a.size(), &facts.settings);
        let (proposals, logits) =
            glue::proposals(&facts.config, &a.levels("objectness"), &a.levels("deltas"), size, s);
        close(&proposals, &a.boxes("proposals"), 0.01, &format!("{case}: proposals"));
        for (f, w) in logits.iter().zip(&a.floats["logits"]) {
            assert_eq!(f, w, "{case}: logits");
        }
        let (boxes, scores) = glue::detections(
            &a.boxes("proposals"),
            &a.floats["roi_scores"],
            &a.floats["roi_deltas"],
            size,
            s,
        );
        close(&boxes, &a.boxes("boxes"), 0.01, &format!("{case}: boxes"));
        assert_eq!(scores, a.floats["scores"].iter().copied().collect::<Vec<_>>(), "{case}: scores");
        let grown: Vec<Box4> = boxes.iter().map(|&b| glue::expanded(b, size, s)).collect();
        close(&grown, &a.boxes("grown"), 0.01, &format!("{case}: grown boxes"));
        let found = glue::found(&a.boxes("boxes"), &scores, &a.boxes("grown"), &a.floats["masks"], size, s);
        lines_agree(&found, &facts.cases[case].lines, size, case);
        lines += found.len();
    }
    assert_eq!(lines, 1 + 7 + 1 + 3 + 2, "the cases hold what they are named after");
}

#[test]
fn graphs_and_glue_find_the_lines_that_pytorch_found() {
    let test = "graphs_and_glue_find_the_lines_that_pytorch_found";
    let runtime = match inference::runtime::find() {
        Ok(found) => found.path,
        Err(why) => return eprintln!("SKIPPED {test}: {why}"),
    };
    let provider = ProviderChoice::Exactly(Provider::Cpu);
    let engine = Engine::start(&EngineOptions { runtime, provider, threads: 2 }).expect("it starts");
    let facts = facts();
    let weights = checkpoint::read(&folder().join("weights.safetensors")).expect("weights");
    for (precision, exact) in [(Precision::F32, true), (Precision::F16, false)] {
        let graphs = build_onnx(&facts.config, &weights, precision, &[]).expect("the graphs build");
        let load = |(part, bytes): &(&str, Vec<u8>)| -> (String, Box<dyn Net>) {
            let net = engine.load(Model::Bytes(bytes), &Task::silent()).expect("the graph loads");
            ((*part).to_owned(), Box::new(net))
        };
        let mut nets = Nets::new(graphs.iter().map(load).collect()).expect("three parts");
        let mut detector = Detector::new(&mut nets, &facts.config);
        for case in CASES {
            let a = arrays(case);
            let answers = detector
                .answers(a.picture.view(), &facts.settings, &Task::silent())
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            if !exact {
                assert_eq!(answers.found.len(), facts.cases[case].lines.len(), "{case}, half precision");
                continue;
            }
            for (kind, levels) in [("objectness", &answers.objectness), ("deltas", &answers.deltas)] {
                for (found, wanted) in levels.iter().zip(a.levels(kind)) {
                    let largest = (found - &wanted).iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    assert!(largest < 1e-4, "{case}: {kind} differ by {largest}");
                }
            }
            close(&answers.boxes, &a.boxes("boxes"), 0.05, &format!("{case}: boxes"));
            assert_eq!(answers.masks.shape(), a.floats["masks"].shape());
            let largest = (&answers.masks - &a.floats["masks"]).iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(largest <= 1e-4, "{case}: masks differ by {largest}");
            lines_agree(&answers.found, &facts.cases[case].lines, a.size(), case);
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_told_by_name() {
    let facts = facts();
    let weights = checkpoint::read(&folder().join("weights.safetensors")).expect("weights");
    let names: Vec<String> = expected_tensors(&facts.config).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), weights.tensors.len());
    let mut lacking = weights.clone();
    lacking.tensors.retain(|t| t.name != "rpn.conv.weight");
    let wider = Config { fpn: 24, ..facts.config.clone() };
    for (config, checkpoint, words) in [
        (&facts.config, &lacking, &["1 missing: rpn.conv.weight", "MAYOR"][..]),
        (&wider, &weights, &["of another shape", "backbone.lateral.0.weight"]),
    ] {
        let message =
            build_onnx(config, checkpoint, Precision::F32, &[]).expect_err("they do not fit").to_string();
        for word in words {
            assert!(message.contains(word), "{message}");
        }
    }
    let absurd = Config { blocks: [0; 4], ..facts.config };
    assert!(build_onnx(&absurd, &weights, Precision::F32, &[]).is_err());
}

#[test]
fn full_configuration_has_the_layers_of_resnet_50() {
    let facts = facts();
    let full = Config {
        blocks: [3, 4, 6, 3],
        widths: [64, 128, 256, 512],
        bottleneck: true,
        stem: 64,
        fpn: 256,
        box_hidden: 1024,
        mask_convs: 4,
        mask_reduce: 32,
        mask_hidden: 1024,
        ..facts.config
    };
    let tensors = expected_tensors(&full);
    let backbone: usize = tensors
        .iter()
        .filter(|(n, _)| {
            (n.starts_with("backbone.stem") || n.starts_with("backbone.stages")) && !n.contains("running")
        })
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum();
    // He et al. 2016: 25,557,032 parameters with the classifier of 1000 × 2048 + 1000.
    assert_eq!(backbone, 25_557_032 - 2_049_000);
}
