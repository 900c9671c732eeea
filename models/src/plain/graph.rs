//! The `[graph]` section: how somebody else's ONNX graph is laid out.

use serde::{Deserialize, Serialize};

/// What a graph wants and gives, beyond what every pack says. Letters of axes: N tiles or pictures of a call, C channels,
/// D, H and W as everywhere in manifests. `"NCHW"` sees slices, `"NCDHW"` volumes; MONAI's x-y-z networks are `"NCWHD"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Axes of the input, slowest first.
    pub input: String,
    /// Axes of the output, slowest first, where it has a value for each voxel; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Name of the output that counts; the first when absent. Detectors have several, which all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_name: Option<String>,
    /// What the values of the output are.
    #[serde(default)]
    pub values: Values,
    /// Values of black and white for networks that answer with pictures.
    #[serde(default = "unit")]
    pub range: [f64; 2],
    /// 3: the channels are red, green and blue (0..=255) of one image, and grey images are given three times. 1: the channels
    /// are those of the input section; colours are made grey.
    #[serde(default = "one")]
    pub colours: usize,
    /// How slices and volumes are brought to the size of the input, by networks that classify or detect.
    #[serde(default)]
    pub fit: Fit,
    /// With [`Fit::Crop`], the part of the side that is seen: 224 / 256 = 0.875 for many classifiers.
    #[serde(default = "whole")]
    pub seen: f64,
    /// With [`Fit::Pad`], the value around the image, after the intensity steps.
    #[serde(default)]
    pub fill: f64,
}

fn unit() -> [f64; 2] {
    [0.0, 1.0]
}
fn one() -> usize {
    1
}
fn whole() -> f64 {
    1.0
}

/// What the values of an output are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// Scores before softmax or sigmoid.
    #[default]
    Logits,
    /// Scores after it.
    Probabilities,
    /// The number of the class, an output without channels.
    Labels,
    /// The picture itself.
    Picture,
    /// What has to be taken away from the input.
    Residual,
}

/// How an image is brought to the size of the input. Sizes change by linear interpolation; where they shrink, over as
/// many samples as fall on one (a triangle filter).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Each axis by itself.
    #[default]
    Stretch,
    /// In proportion, until the input is filled; the middle is seen.
    Crop,
    /// In proportion, until all is seen; the rest is filled.
    Pad,
    /// Not at all: the input has no fixed size.
    Whole,
}

/// How a detector writes boxes down. Lengths are in pixels of the input, from its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoxLayout {
    /// `N × (4 + K) × A` or `N × A × (4 + K)`: centre x, centre y, width, height, a score per class (YOLO from version 8).
    #[default]
    Yolo,
    /// `N × A × (5 + K)`: the same with a score for there being anything, by which the others are multiplied (YOLO 3 to 7).
    YoloObjectness,
    /// `N × M × 6`: left, top, right, bottom, score, class; or `M × 7` with the number of the picture in front.
    Rows,
    /// `M × 4` left, top, right, bottom; `M` scores; `M` classes from 1 (0 is background). Told apart by their names
    /// (boxes, scores, labels).
    Torchvision,
    /// `N × Q × (K + 1)` logits with a last class for nothing, `N × Q × 4` centre x, centre y, width, height as parts of
    /// the input.
    Detr,
}

impl BoxLayout {
    /// All of them, with their words.
    pub const ALL: [(&'static str, Self); 5] = [
        ("yolo", Self::Yolo),
        ("yolo-objectness", Self::YoloObjectness),
        ("rows", Self::Rows),
        ("torchvision", Self::Torchvision),
        ("detr", Self::Detr),
    ];
}

/// The axes in the order in which the program holds tiles.
pub(super) const CANONICAL: &str = "NCDHW";

/// Whether letters name axes, each at most once and H and W among them.
pub(super) fn is_layout(letters: &str) -> bool {
    let is_known = letters.chars().all(|c| CANONICAL.contains(c) && letters.matches(c).count() == 1);
    is_known && letters.contains('H') && letters.contains('W')
}

impl Graph {
    /// Whether the network sees slices rather than volumes.
    #[must_use]
    pub fn is_planar(&self) -> bool {
        !self.input.contains('D')
    }

    /// What does not hold together, as `(found, expected)`.
    pub(super) fn fault(&self, has_maps: bool, patch: [usize; 3], batch: usize) -> Option<(String, String)> {
        let wrong = |found: String, expected: &str| Some((found, expected.to_owned()));
        if !is_layout(&self.input) || (has_maps && !is_layout(&self.output)) {
            return wrong(
                format!("input = “{}” and output = “{}”", self.input, self.output),
                "letters of axes, each once: N, C, D, H, W, e.g. “NCDHW” or “NCHW”",
            );
        }
        if self.is_planar() && patch[0] != 1 || has_maps && self.is_planar() == self.output.contains('D') {
            return wrong(
                format!("input = “{}”, output = “{}”, patch = {patch:?}", self.input, self.output),
                "patch = [1, height, width] for networks that see slices, and D in both layouts or in none",
            );
        }
        if !self.input.contains('N') && batch != 1 {
            return wrong(format!("batch = {batch} without N in the layout"), "batch = 1");
        }
        if !matches!(self.colours, 1 | 3) || (self.colours == 3 && !self.input.contains('C')) {
            return wrong(
                format!("colours = {} of “{}”", self.colours, self.input),
                "1, or 3 and C in the layout",
            );
        }
        let [black, white] = self.range;
        let is_range = black.is_finite() && white.is_finite() && black < white;
        let is_part = self.seen > 0.0 && self.seen <= 1.0;
        if !(is_range && is_part && self.fill.is_finite()) {
            return wrong(
                format!("range = {:?}, seen = {}, fill = {}", self.range, self.seen, self.fill),
                "black below white, a part from above 0 to 1, and a number",
            );
        }
        None
    }
}
