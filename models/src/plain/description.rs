//! What is known about a graph, and from whom.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::graph::{BoxLayout, Fit, Values};
use super::rules;
use crate::error::{Error, Result};
use crate::manifest::{IntensityStep, Restoration, STORED, Spacing, working_code};

/// What a network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A label for each voxel.
    #[default]
    Segmentation,
    /// A better picture.
    Restoration,
    /// Probabilities of classes.
    Classification,
    /// Boxes.
    Detection,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Segmentation, Self::Restoration, Self::Classification, Self::Detection];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::Restoration => "restoration",
            Self::Classification => "classification",
            Self::Detection => "detection",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let words = || Self::ALL.map(Self::word).join(", ");
        Self::ALL
            .into_iter()
            .find(|k| k.word() == text)
            .ok_or_else(|| format!("“{text}” is not one of {}", words()))
    }
}

/// Answers of a person, as written; what is absent is read from elsewhere or asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// What the network does; read off its ports when absent, which only a form does.
    pub kind: Option<Kind>,
    /// Axes of the input, e.g. `NCDHW`.
    pub layout: Option<String>,
    /// Directions in which the axes of the input grow, slowest first: `SAR`, `RAS`, …, or `stored`.
    pub axes: Option<String>,
    /// `native`, or millimetres.
    pub spacing: Option<String>,
    /// See [`super::import::INTENSITY_WORDS`].
    pub intensity: Option<String>,
    /// Names of the classes with commas, or `@FILE` with one per line.
    pub classes: Option<String>,
    /// `logits`, `probabilities`, `labels`, `picture` or `residual`.
    pub values: Option<String>,
    /// Size of the input where the graph leaves it free.
    pub patch: Option<String>,
    /// Names of the input channels with commas, or `colours`.
    pub channels: Option<String>,
    /// How boxes are written down.
    pub boxes: Option<String>,
    /// `stretch`, `pad`, `crop`, `crop:PART` or `whole`.
    pub fit: Option<String>,
    /// What a restorer does.
    pub task: Option<Restoration>,
    /// Name of the output that counts.
    pub output: Option<String>,
}

/// A fact, and who said so.
pub type Told<T> = Option<(T, &'static str)>;

/// A fact as it is shown: what, which, from whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The question, e.g. `axes`.
    pub what: &'static str,
    /// The answer.
    pub value: String,
    /// Where it comes from.
    pub from: &'static str,
}

macro_rules! description {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// What is known about a graph.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Description {
            $($(#[$doc])* pub $field: Told<$type>,)*
        }

        impl Description {
            /// This, and where it is silent `other`.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }

            /// Names of the fields that something is known about.
            #[must_use]
            pub fn fields(&self) -> Vec<&'static str> {
                let mut known = Vec::new();
                $(if self.$field.is_some() { known.push(stringify!($field)); })*
                known
            }
        }
    };
}

description! {
    /// Axes of the input.
    layout: String,
    /// Axes of the output.
    output_layout: String,
    /// Directions of D, H, W.
    axes: String,
    /// Voxel size along D, H, W.
    spacing: Spacing,
    /// Steps of value preparation.
    intensity: Vec<IntensityStep>,
    /// Names of the classes, with background where the network has a channel for it.
    classes: Vec<String>,
    /// What output values are.
    values: Values,
    /// Whether classes are independent of each other.
    several: bool,
    /// Size of the input along D, H, W.
    patch: [usize; 3],
    /// Overlap of tiles.
    overlap: f64,
    /// Names of input channels.
    channels: Vec<String>,
    /// Whether the channels are colours.
    colours: bool,
    /// Layout of boxes.
    boxes: BoxLayout,
    /// How images are brought to the input's size, and the part that is seen.
    fit: (Fit, f64),
    /// Values of black and white.
    range: [f64; 2],
    /// What a restorer does.
    task: Restoration,
    /// Name of the output.
    output: String,
    /// Name for people.
    name: String,
    /// What it does.
    summary: String,
    /// Licence of the weights.
    licence: String,
    /// What to cite.
    citation: String,
}

/// Who said so, when it was a person.
const YOU: &str = "you";

impl Answers {
    /// The facts that the answers state.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the option, what was found and what there is.
    pub fn read(&self) -> Result<Description> {
        let wrong = |option: &str, why: String| Error::Argument(format!("--{option}: {why}"));
        fn told<T, E>(
            text: Option<&String>,
            read: impl Fn(&str) -> std::result::Result<T, E>,
        ) -> std::result::Result<Told<T>, E> {
            text.map(|t| read(t.trim()).map(|v| (v, YOU))).transpose()
        }
        let kind = self.kind.unwrap_or_default();
        let mut range = None;
        let mut intensity = None;
        if kind == Kind::Restoration {
            range = told(self.intensity.as_ref(), black_and_white).map_err(|e| wrong("intensity", e))?;
        } else {
            intensity = told(self.intensity.as_ref(), rules::intensity).map_err(|e| wrong("intensity", e))?;
        }
        let is_colours = self.channels.as_deref() == Some("colours");
        let list = |t: &str| if is_colours { Err(()) } else { Ok(rules::names(t)) };
        Ok(Description {
            layout: told(self.layout.as_ref(), layout).map_err(|e| wrong("layout", e))?,
            axes: told(self.axes.as_ref(), axes).map_err(|e| wrong("axes", e))?,
            spacing: told(self.spacing.as_ref(), rules::spacing).map_err(|e| wrong("spacing", e))?,
            intensity,
            range,
            classes: told(self.classes.as_ref(), classes)?,
            values: told(self.values.as_ref(), values).map_err(|e| wrong("values", e))?,
            patch: told(self.patch.as_ref(), rules::patch).map_err(|e| wrong("patch", e))?,
            channels: told(self.channels.as_ref(), list).unwrap_or(None),
            colours: is_colours.then_some((true, YOU)),
            boxes: told(self.boxes.as_ref(), boxes).map_err(|e| wrong("boxes", e))?,
            fit: told(self.fit.as_ref(), fit).map_err(|e| wrong("fit", e))?,
            task: self.task.map(|t| (t, YOU)),
            output: self.output.clone().map(|o| (o, YOU)),
            ..Description::default()
        })
    }
}

fn layout(text: &str) -> Result<String, String> {
    let text = text.to_uppercase();
    if super::graph::is_layout(&text) {
        return Ok(text);
    }
    Err(format!(
        "“{text}” is no layout; write N, C, D, H, W in the order of the input's axes, e.g. NCDHW or NHWC"
    ))
}

fn axes(text: &str) -> Result<String, String> {
    if text == STORED || working_code(&text.to_uppercase()).is_some() {
        return Ok(if text == STORED { text.to_owned() } else { text.to_uppercase() });
    }
    Err(format!(
        "“{text}” names no directions; there is stored, or one letter each of R/L, A/P, S/I, e.g. SAR"
    ))
}

fn values(text: &str) -> Result<Values, String> {
    Ok(match text {
        "logits" => Values::Logits,
        "probabilities" => Values::Probabilities,
        "labels" => Values::Labels,
        "picture" => Values::Picture,
        "residual" => Values::Residual,
        _ => return Err(format!("“{text}” is not one of logits, probabilities, labels, picture, residual")),
    })
}

fn boxes(text: &str) -> Result<BoxLayout, String> {
    let words = || BoxLayout::ALL.map(|(word, _)| word).join(", ");
    let found = BoxLayout::ALL.iter().find(|(word, _)| *word == text).map(|(_, layout)| *layout);
    found.ok_or_else(|| format!("“{text}” is not one of {}", words()))
}

fn fit(text: &str) -> Result<(Fit, f64), String> {
    let (word, part) = text.split_once(':').unwrap_or((text, "1"));
    match (word, part.parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 1.0)) {
        ("stretch", Some(1.0)) => Ok((Fit::Stretch, 1.0)),
        ("pad", Some(1.0)) => Ok((Fit::Pad, 1.0)),
        ("whole", Some(1.0)) => Ok((Fit::Whole, 1.0)),
        ("crop", Some(part)) => Ok((Fit::Crop, part)),
        _ => Err(format!("“{text}” is not one of stretch, pad, crop, crop:PART (e.g. crop:0.875), whole")),
    }
}

fn black_and_white(text: &str) -> Result<[f64; 2], String> {
    let rule = text.strip_prefix("range:").unwrap_or(text);
    let ends: Option<Vec<f64>> = rule.split(',').map(|n| n.trim().parse().ok()).collect();
    match ends.as_deref() {
        Some(&[black, white]) if black < white => Ok([black, white]),
        _ => Err(format!(
            "“{text}” is no range; write range:BLACK,WHITE as the network sees them, e.g. range:0,1"
        )),
    }
}

/// Longest file of names.
const NAMES_LIMIT: u64 = 1 << 20;

fn classes(text: &str) -> Result<Vec<String>> {
    let Some(file) = text.strip_prefix('@') else { return Ok(rules::names(text)) };
    let path = Path::new(file);
    let read = super::describe::read_text(path, NAMES_LIMIT)?;
    Ok(read.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect())
}

/// Names of classes by number, in the order of the numbers when these are 0, 1, 2, …; none otherwise.
pub(super) fn in_order(by_number: &BTreeMap<u64, String>) -> Option<Vec<String>> {
    let is_gapless = by_number.keys().enumerate().all(|(n, &k)| n as u64 == k);
    (is_gapless && !by_number.is_empty()).then(|| by_number.values().cloned().collect())
}
