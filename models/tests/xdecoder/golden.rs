//! Vectors of the official code, and the tensors of its checkpoints.

use models::checkpoint::Checkpoint;
use models::onnx::Precision;
use models::xdecoder::{Config, Part, expected_tensors};
use ndarray::{ArrayD, Axis, IxDyn, s};

use super::common::{Graphs, Values, assert_close, engine, load, one, read, shared, tensor};

/// The configuration of the golden network: 4 heads of text leave no trace in the weights.
fn config(weights: &Checkpoint) -> Config {
    Config { text_heads: 4, ..Config::of_checkpoint(weights).expect("the names tell") }
}

struct Golden {
    folder: std::path::PathBuf,
    weights: Checkpoint,
    config: Config,
    graphs: Graphs,
}

impl Golden {
    fn new(test: &str) -> Option<Self> {
        let (folder, engine) = (shared(test, "tiny")?, engine(test)?);
        let weights = read(&folder.join("weights.safetensors"));
        let config = config(&weights);
        let graphs = Graphs::new(engine, &config, &weights);
        Some(Self { folder, weights, config, graphs })
    }

    fn file(&self, name: &str) -> Checkpoint {
        read(&self.folder.join(format!("{name}.safetensors")))
    }

    fn image(&mut self) -> Values {
        let picture = tensor(&self.file("image"), "input");
        self.graphs.run(Part::Image, &[&one("image", picture)])
    }
}

#[test]
fn released_variants_have_the_official_tensors() {
    for (variant, parameters) in [("focal-t", 164_493_809), ("focal-l", 341_551_353)] {
        let config = Config::variant(variant).expect("a variant");
        assert_eq!(config.variant_name(), Some(variant));
        let mut ours = expected_tensors(&config);
        let sum: usize = ours.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(sum, parameters, "{variant}");
        let file = format!("params_{}.json", variant.replace('-', ""));
        let Some(path) = shared("released_variants_have_the_official_tensors", &file) else { continue };
        let text = std::fs::read(path).expect("the list reads");
        let list: serde_json::Value = serde_json::from_slice(&text).expect("the list is JSON");
        let mut official: Vec<(String, Vec<usize>)> = list["state_dict"]
            .as_array()
            .expect("a list of tensors")
            .iter()
            .filter(|t| t["kind"] == "parameter")
            .map(|t| {
                let shape = t["shape"].as_array().expect("sizes").iter();
                let shape = shape.map(|n| n.as_u64().expect("a size") as usize).collect();
                (t["name"].as_str().expect("a name").to_owned(), shape)
            })
            .collect();
        official.sort();
        ours.sort();
        assert!(ours == official, "{variant}: {:?}", ours.iter().zip(&official).find(|(a, b)| a != b));
    }
}

#[test]
fn text_is_encoded_as_by_the_official_code() {
    let Some(mut golden) = Golden::new("text_is_encoded_as_by_the_official_code") else { return };
    let truth = golden.file("text");
    let ids = tensor(&truth, "input_ids");
    for length in [77, 24] {
        let some = ids.slice(s![..5, ..length]).to_owned().into_dyn();
        let out = golden.graphs.run(Part::Text, &[&one("ids", some)]);
        let tokens = tensor(&truth, "token_emb").slice(s![..5, ..length, ..]).to_owned().into_dyn();
        assert_close("tokens", &out["tokens"], &tokens);
        let sentences = tensor(&truth, "class_emb").slice(s![..5, ..]).to_owned().into_dyn();
        assert_close("sentences", &out["sentences"], &sentences);
    }
}

#[test]
fn the_image_is_seen_as_by_the_official_code() {
    let Some(mut golden) = Golden::new("the_image_is_seen_as_by_the_official_code") else { return };
    let image = golden.image();
    let truth = golden.file("pixel_decoder");
    let features = tensor(&truth, "mask_features").remove_axis(Axis(0));
    assert_close("mask features", &image["mask_features"], &features);
    let pooled = tensor(&golden.file("retrieval"), "image_embed_backbone");
    assert_close("pooled", &image["pooled"], &pooled);
    // The masks that steer attention are products with the resized features: the first step's logits tell.
    let step = golden.file("seg");
    for level in 0..3 {
        let logits = tensor(&step, &format!("step{level}_attn_logit"));
        let [_, h, w] = logits.shape()[..] else { panic!("{:?}", logits.shape()) };
        assert_eq!(image[&format!("coarse_{level}")].shape(), [golden.config.mask_dim, h * w]);
    }
}

#[test]
fn classes_are_found_as_by_the_official_code() {
    let Some(mut golden) = Golden::new("classes_are_found_as_by_the_official_code") else { return };
    let (image, truth) = (golden.image(), golden.file("seg"));
    let classes = one("classes", tensor(&truth, "text_embeddings"));
    let out = golden.graphs.run(Part::Segment, &[&classes, &image]);
    for (name, official) in [("logits", "pred_logits"), ("masks", "pred_masks"), ("vectors", "pred_captions")]
    {
        assert_close(name, &out[name], &tensor(&truth, official).remove_axis(Axis(0)));
    }
    let token = out["vectors"].slice(s![-1.., ..]).to_owned().into_dyn();
    assert_close("image vector", &token, &tensor(&golden.file("retrieval"), "image_embed_decoder"));
}

#[test]
fn phrases_are_grounded_as_by_the_official_code() {
    let Some(mut golden) = Golden::new("phrases_are_grounded_as_by_the_official_code") else { return };
    let image = golden.image();
    for name in ["grounding_joint", "grounding_single"] {
        let truth = golden.file(name);
        let words = tensor(&truth, "grounding_tokens").index_axis(Axis(1), 0).to_owned();
        let sentences = tensor(&truth, "class_emb");
        for i in 0..sentences.shape()[0] {
            let mut given = one("words", words.clone());
            given.insert("sentence".to_owned(), sentences.slice(s![i..=i, ..]).to_owned().into_dyn());
            let out = golden.graphs.run(Part::Ground, &[&given, &image]);
            let similarity = tensor(&truth, "similarity").index_axis(Axis(1), i).to_owned();
            assert_close(name, &out["similarity"], &similarity);
            let matched = tensor(&truth, "matched_query")[i];
            assert!((out["best"][0] - matched).abs() < 0.5, "{name}: {} and {matched}", out["best"][0]);
            let mask = tensor(&truth, "matched_mask_lowres").index_axis(Axis(0), i).to_owned();
            assert_close(name, &out["masks"].index_axis(Axis(0), 0).to_owned(), &mask);
        }
    }
}

#[test]
fn captions_are_those_of_the_official_code() {
    let Some(mut golden) = Golden::new("captions_are_those_of_the_official_code") else { return };
    let image = golden.image();
    let grids = [[4, 5], [8, 10], [16, 20]];
    for name in ["captioning", "captioning_masked"] {
        let truth = golden.file(name);
        let mask = if name == "captioning" {
            ArrayD::zeros(IxDyn(&[1, 128, 160]))
        } else {
            tensor(&truth, "captioning_mask")
        };
        let away: Values = grids
            .iter()
            .enumerate()
            .map(|(level, &[h, w])| {
                let step = 32 >> level;
                let cells = mask.slice(s![0, ..;step, ..;step]);
                assert_eq!(cells.shape(), [h, w]);
                let cells = cells.to_owned().into_shape_with_order(vec![1, h * w]).expect("it fits");
                (format!("away_{level}"), cells)
            })
            .collect();
        let best = tensor(&truth, "top5_ids");
        let config = golden.config.clone();
        let (ids, rows) = golden.graphs.caption(&config, &image, 49406, best.shape()[0], &away);
        let expected: Vec<usize> = tensor(&truth, "tokens").iter().map(|&v| v as usize).collect();
        assert_eq!(ids, expected[..ids.len()], "{name}");
        let logits = tensor(&truth, "top5_logits");
        for (t, row) in rows.iter().enumerate() {
            let found: Vec<f32> = best.index_axis(Axis(0), t).iter().map(|&i| row[i as usize]).collect();
            let found = ArrayD::from_shape_vec(IxDyn(&[found.len()]), found).expect("a row");
            assert_close(name, &found, &logits.index_axis(Axis(0), t).to_owned());
        }
    }
}

#[test]
fn half_precision_stays_near_the_official_code() {
    let Some(mut golden) = Golden::new("half_precision_stays_near_the_official_code") else { return };
    let Some(engine) = engine("half_precision_stays_near_the_official_code") else { return };
    let mut net = load(engine, &golden.config, &golden.weights, Part::Text, Precision::F16);
    let ids = tensor(&golden.file("text"), "input_ids").slice(s![..2, ..20]).to_owned().into_dyn();
    let half =
        inference::net::Net::run(&mut net, &[("ids", ids.view())], &formats::Task::silent()).expect("runs");
    let full = golden.graphs.run(Part::Text, &[&one("ids", ids)]);
    let (a, b) = (&half[0], &full["tokens"]);
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst > 0.0 && worst < 0.01 * largest, "off by {worst} of {largest}");
}
