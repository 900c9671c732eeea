//! Graphs side by side, and how arrays are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formats::Task;
use inference::engine::{Engine, EngineOptions, Model};
use inference::net::{Net, OnnxNet};
use inference::provider::{Provider, ProviderChoice};
use models::checkpoint::{self, Checkpoint};
use models::onnx::Precision;
use models::xdecoder::{Config, Part, build_onnx, check};
use ndarray::{ArrayD, Axis, IxDyn, s};

/// Of a tensor's largest value.
pub const TOLERANCE: f32 = 1e-4;

/// Arrays by name.
pub type Values = BTreeMap<String, ArrayD<f32>>;

/// A golden file, or a visible skip.
pub fn shared(test: &str, file: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join("golden/xdecoder").join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: no {}", path.display());
    None
}

pub fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xdecoder").join(file)
}

/// The engine, or a visible skip.
pub fn engine(test: &str) -> Option<&'static Engine> {
    let found = match inference::runtime::find() {
        Ok(found) => found,
        Err(why) => {
            eprintln!("SKIPPED {test}: {why}");
            return None;
        }
    };
    let options =
        EngineOptions { runtime: found.path, provider: ProviderChoice::Exactly(Provider::Cpu), threads: 2 };
    Some(Engine::start(&options).expect("the runtime that was found starts"))
}

pub fn read(path: &Path) -> Checkpoint {
    checkpoint::read(path).expect("the file reads")
}

/// A tensor of a file.
pub fn tensor(file: &Checkpoint, name: &str) -> ArrayD<f32> {
    let t = file.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    ArrayD::from_shape_vec(IxDyn(&t.shape), t.data.clone()).expect("shape and data agree")
}

/// All graphs of a network; values by name go from one to the next.
pub struct Graphs(BTreeMap<Part, OnnxNet>);

impl Graphs {
    pub fn new(engine: &Engine, config: &Config, weights: &Checkpoint) -> Self {
        check(config, weights).expect("the weights fit");
        Self(Part::ALL.map(|part| (part, load(engine, config, weights, part, Precision::F32))).into())
    }

    pub fn run(&mut self, part: Part, values: &[&Values]) -> Values {
        let net = self.0.get_mut(&part).expect("all parts are there");
        let given: Vec<(&str, ndarray::ArrayViewD<'_, f32>)> = net
            .inputs()
            .iter()
            .map(|p| {
                let found = values.iter().find_map(|v| v.get_key_value(&p.name));
                let (name, array) = found.unwrap_or_else(|| panic!("{} is not given", p.name));
                (name.as_str(), array.view())
            })
            .collect();
        let names: Vec<String> = net.outputs().iter().map(|p| p.name.clone()).collect();
        let found = net.run(&given, &Task::silent()).expect("the network runs");
        names.into_iter().zip(found).collect()
    }

    /// Greedy captions: ids from `start` on, and the scores of each step's word.
    pub fn caption(
        &mut self,
        config: &Config,
        image: &Values,
        start: usize,
        steps: usize,
        away: &Values,
    ) -> (Vec<usize>, Vec<ArrayD<f32>>) {
        let seen = self.run(Part::Objects, &[image]);
        let (l, h, d) = (config.decoder_layers, config.heads, config.hidden_dim / config.heads);
        let mut past = one("past_keys", ArrayD::zeros(IxDyn(&[l, h, d, 0])));
        past.insert("past_values".to_owned(), ArrayD::zeros(IxDyn(&[l, h, 0, d])));
        let (mut ids, mut rows) = (vec![start], Vec::new());
        for t in 0..steps {
            let row: Vec<f32> = ids.iter().map(|&i| i as f32).collect();
            let row = ArrayD::from_shape_vec(IxDyn(&[1, row.len()]), row).expect("a row");
            let text = self.run(Part::Text, &[&one("ids", row)]);
            let word = text["tokens"].slice(s![0, t..=t, ..]).to_owned().into_dyn();
            let mut given = one("word", word);
            given.insert("place".to_owned(), ArrayD::from_elem(IxDyn(&[1]), t as f32));
            let out = self.run(Part::Caption, &[&given, &seen, &past, away, image]);
            for (name, axis) in [("keys", 3), ("values", 2)] {
                let whole = past.get_mut(&format!("past_{name}")).expect("there");
                let now = out[&format!("now_{name}")].view();
                *whole = ndarray::concatenate(Axis(axis), &[whole.view(), now]).expect("they fit");
            }
            let scores = out["logits"].index_axis(Axis(0), 0).to_owned();
            let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("words").0;
            ids.push(best);
            rows.push(scores);
        }
        (ids, rows)
    }
}

pub fn load(
    engine: &Engine,
    config: &Config,
    weights: &Checkpoint,
    part: Part,
    precision: Precision,
) -> OnnxNet {
    let bytes = build_onnx(config, weights, part, precision, &[]);
    engine.load(Model::Bytes(&bytes), &Task::silent()).unwrap_or_else(|e| panic!("{}: {e}", part.name()))
}

pub fn one(name: &str, value: ArrayD<f32>) -> Values {
    [(name.to_owned(), value)].into()
}

pub fn assert_close(what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(
        worst <= TOLERANCE * largest && found.iter().all(|v| v.is_finite()),
        "{what}: off by {worst} of {largest}"
    );
}
