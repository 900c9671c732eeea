//! What a family of networks can do with a pack, and the values that travel between its steps.

use std::collections::BTreeMap;
use std::time::Instant;

use formats::{FrameAxis, Grid, Image, LabelMap, Notice, Task, Volume};
use inference::engine::{Engine, Model};
use inference::net::{Net, Nets, Port};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::mayor::{self, TextFinder, TextFound};
use crate::pack::ModelPack;
use crate::plain::{self, Classified, Detected, Plain};
use crate::prompter::{self, Found, PromptFamily, Prompting};
use crate::restorer::{self, Restored, Restorer};
use crate::segmenter::{self, PatchSegmenter};

/// Code that runs all packs of one kind. The steps are separate functions so that a batch can read and prepare
/// the next case and finish the last one while the network is busy: only [`Family::infer`] needs the network.
pub trait Family: Sync {
    /// Stable identifier, `family` in manifests.
    fn id(&self) -> &'static str;

    /// Name for people.
    fn name(&self) -> &'static str;

    /// What a manifest of this family must not say, as `(found, expected)`; `None` when all is well.
    fn fault(&self, manifest: &Manifest) -> Option<(String, String)>;

    /// Loads what answers: every graph of the pack, by its part.
    ///
    /// # Errors
    /// [`Error::Pack`] when files do not match the manifest; the engine's errors.
    fn load(&self, pack: &ModelPack, engine: &Engine, task: &Task) -> Result<Nets> {
        let mut parts: Vec<(String, Box<dyn Net>)> = Vec::new();
        for file in pack.manifest.networks() {
            let bytes = pack.read_file(file)?;
            crate::onnx_check::refuse_outside_data(&pack.place(), &bytes)?;
            parts.push((file.part.clone(), Box::new(engine.load(Model::Bytes(&bytes), task)?)));
        }
        Ok(Nets::new(parts)?)
    }

    /// Whether the loaded graphs have the ports and sizes the manifest states.
    ///
    /// # Errors
    /// [`Error::Pack`] with what was found and expected.
    fn fits(&self, pack: &ModelPack, nets: &Nets) -> Result<()>;

    /// Answers before any work: whether the case can be run, on which grid, in how many tiles, with how much
    /// memory.
    ///
    /// # Errors
    /// [`Error::Argument`] for a case that does not fit the pack; a memory error with numbers and remedy.
    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate>;

    /// Brings a case to what the network sees.
    ///
    /// # Errors
    /// As [`Family::check`]; [`Error::Cancelled`].
    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<Prepared>;

    /// Runs the network.
    ///
    /// # Errors
    /// Those of the network; [`Error::Cancelled`] within one tile.
    fn infer(&self, pack: &ModelPack, prepared: Prepared, nets: &mut Nets, task: &Task) -> Result<Scored>;

    /// Brings the network's answer back to the grid of the first input.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; memory.
    fn finish(&self, pack: &ModelPack, scored: Scored, task: &Task) -> Result<Finished>;
}

/// All families.
pub static FAMILIES: &[&dyn Family] = &[&PatchSegmenter, &Restorer, &TextFinder, &PromptFamily, &Plain];

/// The family with an identifier.
#[must_use]
pub fn find(id: &str) -> Option<&'static dyn Family> {
    FAMILIES.iter().copied().find(|f| f.id() == id)
}

/// A case as the network of its family will see it.
#[derive(Debug)]
pub enum Prepared {
    /// Of [`PatchSegmenter`].
    Segmenter(Box<segmenter::Prepared>),
    /// Of [`Restorer`].
    Restorer(Box<restorer::Prepared>),
    /// Of [`TextFinder`].
    Text(Box<mayor::Prepared>),
    /// Of [`PromptFamily`].
    Prompter(Box<prompter::Prepared>),
}

impl Prepared {
    /// What the network sees, `[C, D, H, W]`, where it is made beforehand (segmenters) and there is something to see.
    #[must_use]
    pub fn input(&self) -> Option<&ndarray::Array4<f32>> {
        match self {
            Self::Segmenter(p) => p.input(),
            Self::Restorer(_) | Self::Text(_) | Self::Prompter(_) => None,
        }
    }

    /// Where what the network sees lies.
    #[must_use]
    pub fn grid(&self) -> Grid {
        match self {
            Self::Segmenter(p) => p.grid(),
            Self::Restorer(p) => p.grid(),
            Self::Text(p) => p.grid(),
            Self::Prompter(p) => p.grid(),
        }
    }
}

/// A case after the network.
#[derive(Debug)]
pub enum Scored {
    /// Of [`PatchSegmenter`].
    Segmenter(Box<segmenter::Scored>),
    /// Of [`Restorer`].
    Restorer(Box<restorer::Scored>),
    /// Of [`TextFinder`].
    Text(Box<mayor::Scored>),
    /// Of [`Plain`], where it classifies or detects.
    Plain(Box<plain::Scored>),
    /// Of [`PromptFamily`].
    Prompter(Box<prompter::Scored>),
}

/// The error for a case that went through the steps of different families.
pub(crate) fn of_another_family(case: &str) -> Error {
    Error::Argument(format!("{case}: prepared by another family than the one that goes on with it"))
}

/// How images are restored; without meaning to segmenters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restoring {
    /// Part of the correction that is applied, 0 (the image as it was) to 1.
    pub strength: f64,
    /// Which slices the network sees.
    pub slices: Slices,
}

impl Default for Restoring {
    fn default() -> Self {
        Self { strength: 1.0, slices: Slices::Auto }
    }
}

/// Which slices of a volume a network for pictures sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slices {
    /// Those in whose plane voxels are smallest: across the axis with the largest spacing, k when in doubt.
    #[default]
    Auto,
    /// Across the first axis as stored.
    I,
    /// Across the second.
    J,
    /// Across the third: slices as stored.
    K,
    /// Across each axis, and the mean of the three.
    All,
}

impl std::str::FromStr for Slices {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "i" => Self::I,
            "j" => Self::J,
            "k" => Self::K,
            "all" => Self::All,
            _ => return Err(format!("“{text}” is not one of auto, i, j, k, all")),
        })
    }
}

/// One subject to be run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, for messages and records.
    pub name: String,
    /// One volume per channel, in the pack's order. Results lie on the grid of the first.
    pub channels: Vec<Volume>,
    /// The frames of the only channel after the first, on its grid and of its type; for packs that restore, which do
    /// all of them.
    pub further: Vec<Volume>,
    /// Axes of the frames, as of [`Image::frame_axes`].
    pub frame_axes: Vec<FrameAxis>,
    /// What was odd about the files.
    pub notices: Vec<Notice>,
    /// How it is restored, by packs that restore.
    pub restoring: Restoring,
    /// What is asked of it, by packs that are prompted.
    pub prompting: Prompting,
    /// The scale of values of the image that this one is a piece of, for packs that restore; its own when none.
    pub scale: Option<restorer::Scale>,
}

impl Case {
    /// A case from volumes in the pack's channel order.
    #[must_use]
    pub fn new(name: impl Into<String>, channels: Vec<Volume>) -> Self {
        Self {
            name: name.into(),
            channels,
            further: Vec::new(),
            frame_axes: Vec::new(),
            notices: Vec::new(),
            restoring: Restoring::default(),
            prompting: Prompting::default(),
            scale: None,
        }
    }

    /// A case of one channel with all frames of an image, for packs that restore.
    #[must_use]
    pub fn of_frames(name: impl Into<String>, mut frames: Vec<Volume>, frame_axes: Vec<FrameAxis>) -> Self {
        let further = frames.split_off(frames.len().min(1));
        Self { further, frame_axes, ..Self::new(name, frames) }
    }

    /// A case from opened files in the pack's channel order. One file with as many frames as the pack has channels
    /// (more than one) is taken as all channels, in frame order. Packs that restore get all frames of a file; for others
    /// any other file with several frames gives its first, with a notice. The files' own notices are kept.
    ///
    /// # Errors
    /// [`Error::Argument`] when the number of files does not fit.
    pub fn from_images(name: impl Into<String>, images: Vec<Image>, manifest: &Manifest) -> Result<Self> {
        let wanted = manifest.input.channels.len();
        let mut case = Self::new(name, Vec::with_capacity(wanted));
        let stacked = images.len() == 1 && wanted > 1 && images[0].frames.len() == wanted;
        if images.len() != wanted && !stacked {
            return Err(channel_count(&case.name, images.len(), manifest));
        }
        for (n, mut image) in images.into_iter().enumerate() {
            case.notices.append(&mut image.notices);
            if stacked {
                case.notices.push(Notice::info(
                    "frames-as-channels",
                    format!(
                        "The {wanted} frames of one file are taken as {}, in this order.",
                        channel_names(manifest)
                    ),
                ));
                case.channels = image.frames;
                break;
            }
            if wanted == 1 && manifest.output.is_picture() {
                let frames = Self::of_frames("", image.frames, image.frame_axes);
                return Ok(Self { name: case.name, notices: case.notices, ..frames });
            }
            if image.frames.len() > 1 {
                case.notices.push(Notice::warning(
                    "first-frame-used",
                    format!(
                        "The file for {} has {} frames ({}); the first is used.",
                        manifest.input.channels[n].name,
                        image.frames.len(),
                        image.shape_text()
                    ),
                ));
            }
            image.frames.truncate(1);
            case.channels.append(&mut image.frames);
        }
        Ok(case)
    }
}

/// Ports of a network for messages.
pub(crate) fn describe_ports(ports: &[Port]) -> String {
    let dims = |p: &Port| {
        let sizes: Vec<String> = p.dims.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
        sizes.join("×")
    };
    ports.iter().map(|p| format!("{} {}", p.name, dims(p))).collect::<Vec<_>>().join(", ")
}

/// The error for a wrong number of volumes.
pub(crate) fn channel_count(case: &str, found: usize, manifest: &Manifest) -> Error {
    let wanted = manifest.input.channels.len();
    Error::Argument(format!(
        "{case}: {found} volume{} given, but “{}” needs {wanted}: {}, in this order",
        if found == 1 { "" } else { "s" },
        manifest.id,
        channel_names(manifest)
    ))
}

fn channel_names(manifest: &Manifest) -> String {
    manifest.input.channels.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes beyond what the program holds already; `None` asks the system what is free.
    pub memory_bytes: Option<u64>,
}

impl Limits {
    /// Bytes that a run may take: what was said, or nine tenths of what is free, since others use memory too and
    /// estimates may be off.
    pub(crate) fn usable_bytes(self) -> u64 {
        self.memory_bytes.unwrap_or_else(|| {
            inference::memory::available_bytes().map_or(u64::MAX, |free| (free as f64 * 0.9) as u64)
        })
    }
}

/// What a run will take. Made before any work.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Bytes needed at the peak, beyond the volumes of the case.
    pub memory_bytes: u64,
    /// Bytes that may be used.
    pub available_bytes: u64,
    /// How the memory is kept within bounds.
    pub strategy: Strategy,
    /// Calls of the network times tiles per call. An upper bound before the content is known.
    pub tiles: usize,
    /// The grid of the result.
    pub source: Grid,
    /// The grid the network sees (before a content-dependent crop).
    pub working: Grid,
    /// What the user should know before starting.
    pub notices: Vec<Notice>,
}

/// How the scores are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All scores at once; this many tiles per call.
    Whole {
        /// Tiles per call of the network.
        batch: usize,
    },
    /// Layer by layer along D, one tile per call: scores of one layer of tiles at a time. When the working grid is
    /// not the image's, labels rather than scores are resampled.
    Layers,
}

/// What a family hands back.
#[derive(Clone, Debug)]
pub enum Output {
    /// A segmentation on the grid of the first input.
    Labels(LabelMap),
    /// A restored image on the grid and in the stored type of the input.
    Image(Restored),
    /// Lines of text of every slice of the input.
    Text(TextFound),
    /// Probabilities of classes.
    Classes(Classified),
    /// Boxes around what was found, on the grid of the first input.
    Boxes(Detected),
}

impl Output {
    /// Facts about the result (about each frame of it), to which those about its making are added.
    pub(crate) fn facts_mut(&mut self) -> Vec<&mut BTreeMap<String, String>> {
        match self {
            Self::Labels(labels) => vec![&mut labels.meta.facts],
            Self::Image(Restored { volume, further, .. }) => {
                std::iter::once(volume).chain(further).map(|v| &mut v.meta.facts).collect()
            }
            Self::Text(text) => vec![&mut text.facts],
            Self::Classes(classified) => vec![&mut classified.facts],
            Self::Boxes(detected) => vec![&mut detected.facts],
        }
    }
}

/// What [`Family::finish`] returns.
#[derive(Debug)]
pub struct Finished {
    /// The case's name.
    pub name: String,
    /// The result.
    pub output: Output,
    /// What became of each prompt, by packs that are prompted.
    pub found: Vec<Found>,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// Seconds per stage, in order.
    pub timings: Timings,
    /// Tiles that went through the network.
    pub tiles: usize,
    /// What was estimated.
    pub estimated_bytes: u64,
}

/// Seconds per stage, in order.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Timings(pub Vec<(&'static str, f64)>);

impl Timings {
    /// Adds a stage that began at `start`.
    pub fn add(&mut self, stage: &'static str, start: Instant) {
        self.0.push((stage, start.elapsed().as_secs_f64()));
    }
}
