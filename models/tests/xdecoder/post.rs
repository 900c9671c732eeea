//! Maps made of logits and masks, against made-up ones that the authors' side computed and against the official code.

use std::collections::BTreeSet;

use models::checkpoint::Checkpoint;
use models::xdecoder::postprocess::{
    Certainty, Segment, Sizes, class_vector, full_size, instances, likeness, panoptic, retrieval, semantic,
};
use ndarray::{Array2, Array3, ArrayD, Axis, Ix1, Ix2, Ix3};

use super::common::{assert_close, fixture, read, shared, tensor};

fn two(a: ArrayD<f32>) -> Array2<f32> {
    a.into_dimensionality::<Ix2>().expect("two axes")
}

fn three(a: ArrayD<f32>) -> Array3<f32> {
    a.into_dimensionality::<Ix3>().expect("three axes")
}

fn json(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("it reads")).expect("it is JSON")
}

fn numbers(list: &serde_json::Value) -> BTreeSet<usize> {
    list.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a number") as usize).collect()
}

/// Segments as a description lists them.
fn assert_segments(found: &[Segment], list: &serde_json::Value, class: &str, thing: &str) {
    let told: Vec<(u64, bool, u64)> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| {
            let (id, class) = (s["id"].as_u64().expect("an id"), s[class].as_u64().expect("a class"));
            (id, s[thing].as_bool().expect("a truth"), class)
        })
        .collect();
    let found: Vec<_> = found.iter().map(|s| (u64::from(s.id), s.is_thing, s.class as u64)).collect();
    assert_eq!(found, told);
}

fn assert_map(found: &Array2<u16>, truth: &ArrayD<f32>) {
    assert!(found.iter().map(|&v| f32::from(v)).eq(truth.iter().copied()));
}

#[test]
fn made_up_masks_become_the_stored_maps() {
    let path = fixture("post.safetensors");
    let stored = read(&path);
    let sizes: Vec<usize> = tensor(&stored, "sizes").iter().map(|&v| v as usize).collect();
    let pair = |i: usize| [sizes[2 * i], sizes[2 * i + 1]];
    let sizes = Sizes { padded: pair(0), resized: pair(1), original: pair(2) };
    let logits = two(tensor(&stored, "logits"));
    let masks = three(tensor(&stored, "masks")) / 16.0;
    let full = full_size(masks.view(), sizes);
    assert_close("full size", &full.clone().into_dyn(), &tensor(&stored, "full"));
    let scores = semantic(logits.view(), full.view(), false);
    assert_close("semantic", &scores.into_dyn(), &tensor(&stored, "semantic"));
    let bytes = std::fs::read(&path).expect("it reads");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let told = |key: &str| -> serde_json::Value {
        serde_json::from_str(header["__metadata__"][key].as_str().expect("text")).expect("JSON")
    };
    let things = numbers(&told("things"));
    let (ids, segments) = panoptic(logits.view(), full.view(), &things, Certainty::default());
    assert_map(&ids, &tensor(&stored, "panoptic"));
    assert_segments(&segments, &told("segments"), "category", "is_thing");
    let found = instances(logits.view(), full.view(), Some(&things), 24);
    let scores = ndarray::Array1::from_iter(found.iter().map(|i| i.score)).into_dyn();
    assert_close("scores", &scores, &tensor(&stored, "instances.scores"));
    for (i, one) in found.iter().enumerate() {
        assert_eq!(one.class as f32, tensor(&stored, "instances.classes")[i]);
        assert_eq!(one.query as f32, tensor(&stored, "instances.queries")[i]);
        let area = full.index_axis(Axis(0), one.query).iter().filter(|v| **v > 0.0).count();
        assert_eq!(area as f32, tensor(&stored, "instances.areas")[i]);
    }
}

/// Instances in the official order, which may swap equal scores.
fn assert_instances(
    truth: &Checkpoint,
    name: &str,
    logits: &Array2<f32>,
    masks: &Array3<f32>,
    things: Option<&BTreeSet<usize>>,
    tolerance: f32,
) {
    let found = instances(logits.view(), masks.view(), things, 100);
    let scores = tensor(truth, &format!("instances_{name}_scores"));
    assert_eq!(found.len(), scores.len(), "{name}");
    for (one, &score) in found.iter().zip(&scores) {
        assert!((one.score - score).abs() <= tolerance * scores[0], "{name}: {} and {score}", one.score);
    }
    let mut classes: Vec<usize> = found.iter().map(|i| i.class).collect();
    let official = tensor(truth, &format!("instances_{name}_classes"));
    let mut official: Vec<usize> = official.iter().map(|&v| v as usize).collect();
    classes.sort_unstable();
    official.sort_unstable();
    assert_eq!(classes, official, "{name}");
}

#[test]
fn masks_become_the_maps_of_the_official_code() {
    const TEST: &str = "masks_become_the_maps_of_the_official_code";
    let Some(folder) = shared(TEST, "tiny") else { return };
    let file = |name: &str| read(&folder.join(format!("{name}.safetensors")));
    let (truth, seg, facts) = (file("post"), file("seg"), json(&folder.join("post.json")));
    let sizes = Sizes { padded: [128, 160], resized: [122, 156], original: [100, 128] };
    let logits = two(tensor(&seg, "pred_logits").remove_axis(Axis(0)));
    let masks = full_size(three(tensor(&seg, "pred_masks").remove_axis(Axis(0))).view(), sizes);
    let scores = semantic(logits.view(), masks.view(), false);
    assert_close("semantic", &scores.into_dyn(), &tensor(&truth, "sem_seg"));
    let things = numbers(&facts["things"]);
    for (name, case) in facts["panoptic"].as_object().expect("cases") {
        let certainty = Certainty {
            score: case["object_mask_threshold"].as_f64().expect("a number") as f32,
            overlap: case["overlap_threshold"].as_f64().expect("a number") as f32,
        };
        let (ids, segments) = panoptic(logits.view(), masks.view(), &things, certainty);
        assert_map(&ids, &tensor(&truth, &format!("panoptic_{name}")));
        assert_segments(&segments, &case["segments_info"], "category_id", "isthing");
    }
    assert_instances(&truth, "all", &logits, &masks, None, 2e-4);
    assert_instances(&truth, "thing_only", &logits, &masks, Some(&things), 2e-4);

    let (truth, facts) = (file("post_synthetic"), json(&folder.join("post_synthetic.json")));
    let logits = two(tensor(&truth, "mask_cls"));
    let masks = three(tensor(&truth, "mask_pred_i8")) / 16.0;
    for (name, keeps) in [("sem_seg", false), ("sem_seg_keep_bgd", true)] {
        let scores = semantic(logits.view(), masks.view(), keeps);
        assert_close(name, &scores.into_dyn(), &tensor(&truth, name));
    }
    let things = numbers(&facts["things"]);
    for (name, case) in facts["panoptic"].as_object().expect("cases") {
        let certainty = Certainty {
            score: case["object_mask_threshold"].as_f64().expect("a number") as f32,
            overlap: case["overlap_threshold"].as_f64().expect("a number") as f32,
        };
        let (ids, segments) = panoptic(logits.view(), masks.view(), &things, certainty);
        assert_map(&ids, &tensor(&truth, &format!("panoptic_{name}")));
        assert_segments(&segments, &case["segments_info"], "category_id", "isthing");
    }
    assert_instances(&truth, "all", &logits, &masks, None, 1e-4);
    assert_instances(&truth, "thing_only", &logits, &masks, Some(&things), 1e-4);
}

#[test]
fn pictures_rank_as_by_the_official_code() {
    let Some(folder) = shared("pictures_rank_as_by_the_official_code", "tiny") else { return };
    let truth = read(&folder.join("retrieval.safetensors"));
    let row = |name: &str, i: usize| {
        let all = two(tensor(&truth, name));
        all.row(i).to_owned().into_dimensionality::<Ix1>().expect("a row")
    };
    let (token, pooled) = (row("image_embed_decoder", 0), row("image_embed_backbone", 0));
    for i in 0..4 {
        let text = row("text_embeds", i);
        let official = |name: &str| tensor(&truth, name)[[0, i]];
        assert!((likeness(token.view(), text.view()) - official("scores_decoder")).abs() < 1e-4);
        let both = retrieval(token.view(), pooled.view(), text.view());
        assert!((both - official("scores_ensemble")).abs() < 1e-4);
    }
    // The 81 templates of a class name, as one vector.
    let text = read(&folder.join("text.safetensors"));
    let each = two(tensor(&text, "ensemble_each_normalized"));
    let name = json(&folder.join("ensemble_prompts.json"))["class_name"].clone();
    let names = json(&folder.join("config.json"))["RUN"]["class_names"].clone();
    let place = names.as_array().expect("names").iter().position(|n| *n == name).expect("it is there");
    let official = two(tensor(&text, "class_text_embeddings_eval")).row(place).to_owned().into_dyn();
    assert_close("class vector", &class_vector(each.view()).into_dyn(), &official);
}
