//! What a pack says about prompts, what is asked of it, and what it answers.

use serde::{Deserialize, Serialize};

use crate::family::Slices;

/// The output section of a pack that is prompted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// What the pack can be asked.
    pub tasks: Vec<Asking>,
    /// Prompts it knows, to suggest.
    #[serde(default)]
    pub suggestions: Vec<String>,
    /// How the probability that a thing is there follows from the likeness of prompt and picture. Without it everything
    /// is found somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<Present>,
}

/// What words stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asking {
    /// Each prompt is a phrase that tells one thing or group; masks may overlap, and a thing may be absent.
    #[default]
    Phrases,
    /// Prompts are classes, and every pixel belongs to one of them.
    Semantic,
    /// As [`Asking::Semantic`], only where the network is sure.
    Panoptic,
    /// Prompts are kinds of countable things, each of which gets a label of its own.
    Instances,
}

impl Asking {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Phrases, Self::Semantic, Self::Panoptic, Self::Instances];

    /// The word of command lines and manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Phrases => "phrases",
            Self::Semantic => "semantic",
            Self::Panoptic => "panoptic",
            Self::Instances => "instances",
        }
    }
}

impl std::str::FromStr for Asking {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|a| a.word() == text);
        found.ok_or_else(|| format!("“{text}” is not one of phrases, semantic, panoptic, instances"))
    }
}

/// Probability that a prompt's thing is there: 1 / (1 + exp(−(slope · likeness + offset))), where likeness is that of the
/// likeliest query; fitted by logistic regression where the truth is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Present {
    /// Per unit of likeness.
    pub slope: f64,
    /// At likeness 0.
    pub offset: f64,
    /// Below this probability the answer is "not found".
    pub threshold: f64,
}

impl Present {
    /// The probability at a likeness.
    #[must_use]
    pub fn probability(self, likeness: f32) -> f64 {
        1.0 / (1.0 + (-(self.slope * f64::from(likeness) + self.offset)).exp())
    }
}

/// What is asked of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prompting {
    /// The prompts; the n-th becomes label n (from 1), but for instances, which are counted on.
    pub prompts: Vec<String>,
    /// What they are.
    #[serde(default)]
    pub asking: Asking,
    /// Which slices of a volume are looked at.
    #[serde(default)]
    pub slices: Slices,
    /// Whether masks of a volume are smoothed in three dimensions.
    #[serde(default)]
    pub smooths: bool,
    /// Whether only the largest connected part of each label is kept.
    #[serde(default)]
    pub keeps_largest: bool,
}

impl Prompting {
    /// Phrases, each once, as they are written one per line or between commas. Empty ones do not count.
    #[must_use]
    pub fn phrases(text: &str) -> Vec<String> {
        let mut found = Vec::<String>::new();
        for phrase in text.split(['\n', ',']).map(str::trim).filter(|p| !p.is_empty()) {
            if !found.iter().any(|f| f == phrase) {
                found.push(phrase.to_owned());
            }
        }
        found
    }
}

/// What became of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// As asked.
    pub prompt: String,
    /// Its number in the label map; also of prompts that were not found, so that numbers mean the same in every case.
    pub label: u16,
    /// Whether it was found.
    pub is_found: bool,
    /// Largest probability, of all slices, that it is there; none where the pack was not calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Largest score of all slices: likeness of prompt and picture (phrases), or probability of the class.
    pub score: f64,
    /// Slices it was found on.
    pub slices: usize,
    /// Its voxels or pixels.
    pub voxels: u64,
    /// Their volume.
    pub volume_mm3: f64,
}
