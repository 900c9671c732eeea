//! The stored small networks, one for each kind of backbone.

use models::xdecoder::{Config, Part};
use ndarray::{ArrayD, Axis};

use super::common::{Graphs, Values, assert_close, engine, fixture, one, read, tensor};

/// The configuration in the metadata of a fixture: the header of a safetensors file is JSON.
fn config(file: &str) -> Config {
    let bytes = std::fs::read(fixture(file)).expect("the fixture reads");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a length")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let text = header["__metadata__"]["config"].as_str().expect("a configuration");
    serde_json::from_str(text).expect("the configuration parses")
}

fn stored_network(test: &str, file: &str) {
    let Some(engine) = engine(test) else { return };
    let (config, stored) = (config(file), read(&fixture(file)));
    let mut weights = stored.clone();
    weights.tensors.retain(|t| !t.name.starts_with("in.") && !t.name.starts_with("out."));
    let given: Values = stored
        .tensors
        .iter()
        .filter_map(|t| Some((t.name.strip_prefix("in.")?.to_owned(), tensor(&stored, &t.name))))
        .collect();
    let truth = |name: &str| tensor(&stored, &format!("out.{name}"));
    let mut graphs = Graphs::new(engine, &config, &weights);

    let text = graphs.run(Part::Text, &[&given]);
    assert_close("tokens", &text["tokens"], &truth("tokens"));
    assert_close("sentences", &text["sentences"], &truth("sentences"));

    let picture = given["image"].clone().insert_axis(Axis(0));
    let image = graphs.run(Part::Image, &[&one("image", picture)]);
    assert_close("pooled", &image["pooled"].index_axis(Axis(0), 0).to_owned(), &truth("pooled"));
    for name in ["mask_features", "coarse_0", "coarse_1", "coarse_2"] {
        assert_close(name, &image[name], &truth(name));
    }

    let segment = graphs.run(Part::Segment, &[&given, &image]);
    for name in ["logits", "masks", "vectors"] {
        assert_close(name, &segment[name], &truth(&format!("segment.{name}")));
    }

    let ground = graphs.run(Part::Ground, &[&given, &image]);
    assert_close("similarity", &ground["similarity"], &truth("ground.similarity"));
    let best: Vec<usize> = ground["best"].iter().map(|&v| v as usize).collect();
    assert_eq!(best.len(), 5);
    assert!(best.windows(2).all(|w| ground["similarity"][w[0]] >= ground["similarity"][w[1]]));
    assert_close("masks", &ground["masks"], &truth("ground.masks").select(Axis(0), &best));

    let areas: [usize; 3] = std::array::from_fn(|l| image[&format!("coarse_{l}")].shape()[1]);
    let away: Values = (0..3).map(|l| (format!("away_{l}"), ArrayD::zeros(vec![1, areas[l]]))).collect();
    let steps = truth("caption.logits").shape()[0];
    let (ids, rows) = graphs.caption(&config, &image, given["start"][0] as usize, steps, &away);
    let expected: Vec<usize> = truth("caption.ids").iter().map(|&v| v as usize).collect();
    assert_eq!(ids, expected);
    for (t, row) in rows.iter().enumerate() {
        let wanted = truth("caption.logits").index_axis(Axis(0), t).to_owned();
        assert_close("caption", row, &wanted);
    }
}

#[test]
fn the_stored_network_with_the_blocks_of_focal_t() {
    stored_network("the_stored_network_with_the_blocks_of_focal_t", "small_focal_dw.safetensors");
}

#[test]
fn the_stored_network_with_the_blocks_of_focal_l() {
    stored_network("the_stored_network_with_the_blocks_of_focal_l", "small_focal.safetensors");
}
