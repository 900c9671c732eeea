//! A pack with its networks loaded: a picture is looked at once, then any number of prompts is answered from it.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use formats::Task;
use inference::engine::{Engine, Model};
use inference::net::{Net, Port};
use inference::provider::ProviderReport;
use ndarray::{Array2, Array3, ArrayD, ArrayViewD, Ix2, Ix3, IxDyn};

use super::picture::Picture;
use super::settings::Present;
use crate::error::{Error, Result};
use crate::manifest::{Output, Role};
use crate::pack::ModelPack;
use crate::xdecoder::{Config, Part, Tokenizer, postprocess};

/// Prompts whose vectors are remembered.
const REMEMBERED: usize = 4096;

/// Texts that a class name is put into; their mean stands for the class.
const TEMPLATES: [&str; 4] = ["{}.", "a photo of a {}.", "a photo of the {}.", "a picture with {} in it."];

/// A text as the decoder is given it.
#[derive(Debug)]
struct Text {
    /// `(N, C)`, start and end among them.
    words: ArrayD<f32>,
    /// `(1, D)`.
    sentence: ArrayD<f32>,
}

/// What a picture looks like to the decoder.
#[derive(Debug)]
pub struct Seen {
    values: Vec<(String, ArrayD<f32>)>,
}

/// What was found for a phrase in a picture.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Likeness of the candidates to the phrase, largest first.
    pub likeness: Vec<f32>,
    /// That the thing is there; none where the pack was not calibrated.
    pub probability: Option<f64>,
    /// Whether that reaches the threshold.
    pub is_found: bool,
    /// Logits of the candidates' masks, likeliest first, `[k, H/4, W/4]` of the padded picture.
    pub masks: Array3<f32>,
}

/// Logits of classes and masks of all queries.
#[derive(Clone, Debug)]
pub struct Classified {
    /// `(Q, K + 1)`; the last class is the background.
    pub logits: Array2<f32>,
    /// `[Q, H/4, W/4]` of the padded picture.
    pub masks: Array3<f32>,
}

/// A pack ready to be prompted. One at a time: it keeps the vectors of the texts it has read.
pub struct Prompter {
    place: PathBuf,
    present: Option<Present>,
    config: Config,
    tokenizer: Tokenizer,
    nets: BTreeMap<Part, Box<dyn Net>>,
    texts: HashMap<String, Arc<Text>>,
    /// The picture looked at last, by a name that its caller gave it.
    recent: Option<(String, Arc<Seen>)>,
}

impl Prompter {
    /// Checks the pack's files and loads what answering needs.
    ///
    /// # Errors
    /// [`Error::Pack`] when files do not match the manifest, or networks do not fit it; the engine's errors.
    pub fn open(pack: &ModelPack, engine: &Engine, task: &Task) -> Result<Self> {
        let mut nets: BTreeMap<Part, Box<dyn Net>> = BTreeMap::new();
        let wanted = [Part::Text, Part::Image, Part::Segment, Part::Ground];
        for part in wanted {
            let Some(file) = pack.manifest.networks().find(|f| f.part == part.name()) else { continue };
            task.at("Loading the model", nets.len() as f32 / wanted.len() as f32)?;
            let bytes = pack.read_file(file)?;
            crate::onnx_check::refuse_outside_data(&pack.place(), &bytes)?;
            nets.insert(part, Box::new(engine.load(Model::Bytes(&bytes), task)?));
        }
        Self::with_nets(pack, nets)
    }

    /// Over given networks: for tests.
    ///
    /// # Errors
    /// [`Error::Pack`] for a vocabulary or networks that do not fit the manifest.
    pub fn with_nets(pack: &ModelPack, nets: BTreeMap<Part, Box<dyn Net>>) -> Result<Self> {
        let place = pack.place();
        let config: Config = pack.manifest.network.clone().try_into().map_err(|e: toml::de::Error| {
            let found = e.to_string().replace('\n', " ");
            Error::pack(&place, found, "a [network] section of X-Decoder", "Import the weights again")
        })?;
        let tokenizer = Tokenizer::new(&place.join("vocabulary"), &pack.read(Role::Vocabulary)?)?;
        if tokenizer.size() != config.vocabulary {
            return Err(Error::pack(
                &place,
                format!("a vocabulary of {} tokens", tokenizer.size()),
                format!("{}, as the network reads", config.vocabulary),
                "Import the weights again with the vocabulary they were trained with",
            ));
        }
        let Output::Prompts(output) = &pack.manifest.output else {
            return Err(Error::pack(
                &place,
                "a pack that is not prompted",
                "activation = “prompts”",
                "Use another pack",
            ));
        };
        let missing = [Part::Text, Part::Image].into_iter().find(|p| !nets.contains_key(p));
        if let Some(part) = missing {
            let found = format!("no network with role = “{}”", part.name());
            return Err(Error::pack(
                &place,
                found,
                "one for texts and one for pictures",
                "Import the weights again",
            ));
        }
        for (part, net) in &nets {
            let (inputs, outputs) = config.port_names(*part);
            let has = |ports: &[Port], names: &[String]| {
                ports.len() == names.len() && names.iter().all(|n| ports.iter().any(|p| p.name == *n))
            };
            if !has(net.inputs(), &inputs) || !has(net.outputs(), &outputs) {
                return Err(Error::pack(
                    &place,
                    format!("a {} network with other inputs or outputs", part.name()),
                    format!("inputs {} and outputs {}", inputs.join(", "), outputs.join(", ")),
                    "Import the weights again",
                ));
            }
        }
        Ok(Self {
            place,
            present: output.present,
            config,
            tokenizer,
            nets,
            texts: HashMap::new(),
            recent: None,
        })
    }

    fn run(
        &mut self,
        part: Part,
        given: &[(&str, ArrayViewD<'_, f32>)],
        task: &Task,
    ) -> Result<Vec<(String, ArrayD<f32>)>> {
        let Some(net) = self.nets.get_mut(&part) else {
            return Err(Error::pack(
                &self.place,
                format!("no network with role = “{}”", part.name()),
                "one, since that was asked of it",
                "Ask something else of this pack, or import its weights again",
            ));
        };
        let found = net.run(given, task)?;
        let names = net.outputs().iter().map(|p| p.name.clone());
        Ok(names.zip(found).collect())
    }

    /// The one look at a picture.
    ///
    /// # Errors
    /// Those of the network; [`Error::Cancelled`].
    pub fn look(&mut self, picture: &Picture, task: &Task) -> Result<Seen> {
        let input = picture.normalised().into_dyn();
        Ok(Seen { values: self.run(Part::Image, &[("image", input.view())], task)? })
    }

    /// The look that was remembered under this name, if it was the last one.
    #[must_use]
    pub fn remembered(&self, key: &str) -> Option<Arc<Seen>> {
        self.recent.as_ref().filter(|(name, _)| name == key).map(|(_, seen)| Arc::clone(seen))
    }

    /// Keeps a look until another one is kept.
    pub fn remember(&mut self, key: &str, seen: &Arc<Seen>) {
        self.recent = Some((key.to_owned(), Arc::clone(seen)));
    }

    /// What of a picture looks like a phrase. Phrases are asked one by one, so that no answer depends on another.
    ///
    /// # Errors
    /// Those of the network; [`Error::Cancelled`].
    pub fn ask(&mut self, seen: &Seen, phrase: &str, task: &Task) -> Result<Answer> {
        let text = self.text(phrase, task)?;
        let mut given = vec![("words", text.words.view()), ("sentence", text.sentence.view())];
        given.extend(self.of_image(seen, Part::Ground));
        let out = self.run(Part::Ground, &given, task)?;
        let [similarity, best, masks] = take(&self.place, out, ["similarity", "best", "masks"])?;
        let likeness: Vec<f32> =
            best.iter().filter_map(|&q| similarity.iter().nth(q as usize).copied()).collect();
        let most = likeness.first().copied().unwrap_or(f32::NEG_INFINITY);
        let probability = self.present.map(|p| p.probability(most));
        let is_found =
            self.present.zip(probability).is_none_or(|(p, probability)| probability >= p.threshold);
        Ok(Answer { likeness, probability, is_found, masks: axes::<Ix3>(&self.place, masks)? })
    }

    /// All queries of a picture for classes, to which the background is added.
    ///
    /// # Errors
    /// Those of the network; [`Error::Cancelled`].
    pub fn classify(&mut self, seen: &Seen, classes: &[String], task: &Task) -> Result<Classified> {
        let mut rows = Array2::<f32>::zeros((classes.len() + 1, self.config.proj_dim));
        for (mut row, class) in
            rows.outer_iter_mut().zip(classes.iter().map(String::as_str).chain(["background"]))
        {
            let name = postprocess::class_text(class);
            let mut sentences = Array2::<f32>::zeros((TEMPLATES.len(), self.config.proj_dim));
            for (mut to, template) in sentences.outer_iter_mut().zip(TEMPLATES) {
                let text = self.text(&template.replace("{}", &name), task)?;
                to.iter_mut().zip(&text.sentence).for_each(|(to, v)| *to = *v);
            }
            row.assign(&postprocess::class_vector(sentences.view()));
        }
        let rows = rows.into_dyn();
        let mut given = vec![("classes", rows.view())];
        given.extend(self.of_image(seen, Part::Segment));
        let out = self.run(Part::Segment, &given, task)?;
        let [logits, masks] = take(&self.place, out, ["logits", "masks"])?;
        Ok(Classified { logits: axes::<Ix2>(&self.place, logits)?, masks: axes::<Ix3>(&self.place, masks)? })
    }

    /// What a part reads of an image.
    fn of_image<'a>(&self, seen: &'a Seen, part: Part) -> Vec<(&'a str, ArrayViewD<'a, f32>)> {
        let is_read =
            |name: &str| self.nets.get(&part).is_some_and(|net| net.inputs().iter().any(|p| p.name == name));
        seen.values.iter().filter(|(n, _)| is_read(n)).map(|(n, a)| (n.as_str(), a.view())).collect()
    }

    /// The vectors of a text; texts are read once.
    fn text(&mut self, text: &str, task: &Task) -> Result<Arc<Text>> {
        if let Some(found) = self.texts.get(text) {
            return Ok(Arc::clone(found));
        }
        let ids = self.tokenizer.encode(text, self.config.context)?;
        let ids: Vec<f32> = ids.into_iter().map(|id| id as f32).collect();
        let ids = ArrayD::from_shape_vec(IxDyn(&[1, ids.len()]), ids)
            .map_err(|e| Error::Argument(format!("The prompt “{text}” cannot be read: {e}")))?;
        let out = self.run(Part::Text, &[("ids", ids.view())], task)?;
        let [tokens, sentence] = take(&self.place, out, ["tokens", "sentences"])?;
        let words = tokens.index_axis_move(ndarray::Axis(0), 0);
        let found = Arc::new(Text { words, sentence });
        if self.texts.len() >= REMEMBERED {
            self.texts.clear();
        }
        self.texts.insert(text.to_owned(), Arc::clone(&found));
        Ok(found)
    }
}

/// Outputs by name.
fn take<const N: usize>(
    place: &std::path::Path,
    out: Vec<(String, ArrayD<f32>)>,
    names: [&str; N],
) -> Result<[ArrayD<f32>; N]> {
    let mut out: HashMap<String, ArrayD<f32>> = out.into_iter().collect();
    let mut found = Vec::with_capacity(N);
    for name in names {
        let missing = || Error::pack(place, format!("no output {name}"), "one", "Import the weights again");
        found.push(out.remove(name).ok_or_else(missing)?);
    }
    found.try_into().map_err(|_| Error::pack(place, "too few outputs", "all", "Import the weights again"))
}

fn axes<D: ndarray::Dimension>(
    place: &std::path::Path,
    array: ArrayD<f32>,
) -> Result<ndarray::Array<f32, D>> {
    let shape = format!("an output of shape {:?}", array.shape());
    array
        .into_dimensionality()
        .map_err(|_| Error::pack(place, shape, "another number of axes", "Import the weights again"))
}

/// A prompter goes through a pipeline as the network of its pictures; its family takes it back by [`Net::as_any`].
impl Net for Prompter {
    fn inputs(&self) -> &[Port] {
        self.nets.get(&Part::Image).map_or(&[], |n| n.inputs())
    }

    fn outputs(&self) -> &[Port] {
        self.nets.get(&Part::Image).map_or(&[], |n| n.outputs())
    }

    fn run(
        &mut self,
        inputs: &[(&str, ArrayViewD<'_, f32>)],
        task: &Task,
    ) -> inference::Result<Vec<ArrayD<f32>>> {
        let net = self.nets.get_mut(&Part::Image);
        net.map_or_else(|| Ok(Vec::new()), |net| net.run(inputs, task))
    }

    fn provider(&self) -> &ProviderReport {
        static NONE: ProviderReport = ProviderReport { used: inference::Provider::Cpu, why: String::new() };
        self.nets.get(&Part::Image).map_or(&NONE, |n| n.provider())
    }

    fn as_any(&mut self) -> Option<&mut dyn Any> {
        Some(self)
    }
}
