//! What was done to a restored image, for records and for whoever opens it later.

use std::collections::BTreeMap;

use formats::{AffineSource, FrameAxis, Image, Notice, Volume};
use serde::{Deserialize, Serialize};

/// The fact of a restored image that says so; its value is the task.
pub const RESTORED: &str = "restored";

/// What descriptions of restored images begin with: formats cut them short (NIfTI after 79 bytes), and keep no facts.
pub(super) const MARK: &str = "restored, not for measurement";

/// What a restorer does to pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the tasks as they are called")]
pub enum Restoration {
    #[default]
    Denoising,
    Deblurring,
    Deraining,
    Dehazing,
    Enhancement,
}

impl Restoration {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Denoising, Self::Deblurring, Self::Deraining, Self::Dehazing, Self::Enhancement];

    /// The word for it, as in manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Denoising => "denoising",
            Self::Deblurring => "deblurring",
            Self::Deraining => "deraining",
            Self::Dehazing => "dehazing",
            Self::Enhancement => "enhancement",
        }
    }
}

impl std::fmt::Display for Restoration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Restoration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::word).join(", ");
        Self::ALL
            .into_iter()
            .find(|t| t.word() == text)
            .ok_or_else(|| format!("“{text}” is not one of {}", words()))
    }
}

/// A restored image and how it came about.
#[derive(Clone, Debug)]
pub struct Restored {
    /// On the grid and in the stored type of the input; of several frames, the first.
    pub volume: Volume,
    /// The other frames.
    pub further: Vec<Volume>,
    /// Axes of the frames, those of the input.
    pub frame_axes: Vec<FrameAxis>,
    /// How.
    pub report: Report,
}

impl Restored {
    /// All frames as one image, with these notices.
    #[must_use]
    pub fn into_image(self, notices: Vec<Notice>) -> Image {
        let is_picture =
            self.volume.meta.affine_source == AffineSource::None && self.volume.grid.size_ijk[2] == 1;
        let frames = std::iter::once(self.volume).chain(self.further).collect();
        let (format, encoding) = ("", String::new());
        Image { frames, frame_axes: self.frame_axes, format, encoding, is_picture, notices }
    }
}

/// How an image was restored. The field names are keys of records and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was done.
    pub task: Restoration,
    /// Part of the correction that was applied.
    pub strength: f64,
    /// Axes that slices were taken across, e.g. `"k"`, `"i+j+k"`.
    pub slices: String,
    /// The network saw `(value − subtracted) / divided_by`.
    pub divided_by: f64,
    /// See [`Report::divided_by`].
    pub subtracted: f64,
    /// Type of the stored voxels, that of the input; integers are rounded.
    pub stored_as: String,
    /// Frames of a series, each restored by itself at one scale.
    #[serde(default = "one")]
    pub frames: usize,
    /// Slices of one value, which were left as they are.
    pub unchanged_slices: usize,
    /// Noise of the input by [`inference::noise::sigma`], in its own values: the median over slices (luma of colours).
    pub noise_before: Option<f64>,
    /// The same of the result.
    pub noise_after: Option<f64>,
}

/// Frames of images that have no more.
fn one() -> usize {
    1
}

impl Report {
    /// Adds the facts under stable kebab-case keys.
    pub(super) fn write_to(&self, facts: &mut BTreeMap<String, String>) {
        let mut put = |key: &str, value: String| facts.insert(key.to_owned(), value);
        put(RESTORED, self.task.to_string());
        put("restored-strength", self.strength.to_string());
        put("restored-slices", self.slices.clone());
        put("restored-scale", format!("(value - {}) / {}", self.subtracted, self.divided_by));
    }

    /// What the user is told.
    pub(super) fn notice(&self) -> Notice {
        let noise = match (self.noise_before, self.noise_after) {
            (Some(before), Some(after)) => format!(
                " Estimated noise: σ = {} before ({:.1} % of the scale), {} after.",
                short(before),
                100.0 * before / self.divided_by,
                short(after)
            ),
            _ => String::new(),
        };
        let frames = if self.frames > 1 {
            format!(" All {} frames were restored, each by itself.", self.frames)
        } else {
            String::new()
        };
        Notice::info(
            "restored",
            format!(
                "Restored ({}, strength {}), not for measurement: detail may have been removed or invented.{frames}{noise}",
                self.task, self.strength
            ),
        )
    }
}

/// Three significant digits.
fn short(v: f64) -> String {
    let digits = if v > 0.0 { (2.0 - v.log10().floor()).clamp(0.0, 8.0) as usize } else { 0 };
    format!("{v:.digits$}")
}

/// Whether an image says of itself that it was restored: by its facts, or, read back from a file, by its description.
#[must_use]
pub fn is_restored(meta: &formats::Meta) -> bool {
    meta.facts.contains_key(RESTORED) || meta.description.contains(MARK)
}
