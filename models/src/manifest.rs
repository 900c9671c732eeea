//! `pack.toml`: everything that differs between two models of one family, as data.
//!
//! Axis words: a network sees arrays `[D, H, W]`; [`Input::axes`] says in which anatomical direction each of them
//! grows (`"SAR"`: D towards the head, H towards the front, W towards the right). All triples of a manifest
//! (`spacing_mm`, `patch`, `crop.fixed`, `crop.margin`) are in `[D, H, W]` order.

use serde::{Deserialize, Serialize};

use formats::{LabelEntry, LabelTable};
pub use inference::normalise::Of;
pub use inference::tiles::{Rule, Weights};

pub use crate::mayor::TextSettings;
pub use crate::plain::{BoxLayout, Fit, Graph, Values};
pub use crate::prompter::Vocabulary;
pub use crate::restorer::Restoration;

/// The newest manifest layout this program understands.
pub const SCHEMA: u32 = 1;

/// [`Input::axes`] that follow the file.
pub const STORED: &str = "stored";

/// The content of `pack.toml`. Unknown fields are refused: a misspelt setting must not be ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// Stable identifier: lower-case letters, digits and hyphens; also the folder name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Version of the weights and settings together, e.g. `"1.0.0"`.
    pub version: String,
    /// [`crate::family::Family::id`] of the code that runs it.
    pub family: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// What it may be used for, and what not.
    pub intended_use: String,
    /// SPDX expression, or `"unknown"` for imported weights.
    pub licence: String,
    /// What to cite.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub citation: String,
    /// Where the weights came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What goes in.
    pub input: Input,
    /// How values are brought to the network's range; in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intensity: Vec<IntensityStep>,
    /// Which part is looked at.
    #[serde(default)]
    pub crop: Crop,
    /// How the volume is cut for the network.
    pub tiles: Tiles,
    /// How the graph of somebody else's network is laid out: for the family `onnx`, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Graph>,
    /// What comes out.
    pub output: Output,
    /// Clean-up of the labels.
    #[serde(default)]
    pub post: Post,
    /// Hyper-parameters of the architecture, read by the family's importer and kept for provenance.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub network: toml::Table,
    /// Names and colours of the labels.
    #[serde(default, rename = "label")]
    pub labels: Vec<LabelRow>,
    /// The files of the pack besides `pack.toml`.
    #[serde(default, rename = "file")]
    pub files: Vec<FileEntry>,
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// What it is for.
    pub role: Role,
    /// Which part of the model the network is, for families of several graphs, e.g. `"backbone"`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// Plain file name inside the pack folder: no folders, no links.
    pub path: String,
    /// SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// What a file of a pack is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The ONNX graph with its weights inside.
    Network,
    /// Byte pairs of the text.
    Vocabulary,
    /// The model card.
    Card,
    /// The licence text.
    Licence,
}

/// Where imported weights came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// File name of the checkpoint.
    pub checkpoint: String,
    /// SHA-256 of the checkpoint file.
    pub sha256: String,
    /// Program and version that imported it.
    pub importer: String,
    /// Preset the settings came from.
    pub preset: String,
}

/// What goes into the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Directions in which D, H and W grow: one letter each of R/L, A/P, S/I; or `"stored"` to follow the file's axes
    /// (D, H, W are k, j, i), for protocols whose planes are oblique to the body.
    #[serde(default = "sar")]
    pub axes: String,
    /// Voxel size the network works at.
    #[serde(default)]
    pub spacing_mm: Spacing,
    /// How values are interpolated when the spacing changes.
    #[serde(default)]
    pub interpolation: Interpolate,
    /// The channels, in network order.
    #[serde(rename = "channel")]
    pub channels: Vec<Channel>,
}

fn sar() -> String {
    "SAR".to_owned()
}

/// A network's voxel size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SpacingText", into = "SpacingText")]
pub enum Spacing {
    /// That of the image: `"native"`.
    #[default]
    Native,
    /// Millimetres along D, H, W.
    Mm([f64; 3]),
}

/// [`Spacing`] as written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum SpacingText {
    Word(String),
    Mm([f64; 3]),
}

impl TryFrom<SpacingText> for Spacing {
    type Error = String;
    fn try_from(text: SpacingText) -> Result<Self, String> {
        match text {
            SpacingText::Word(w) if w == "native" => Ok(Self::Native),
            SpacingText::Word(w) => Err(format!("spacing_mm is \"native\" or three lengths, not \"{w}\"")),
            SpacingText::Mm(mm) => Ok(Self::Mm(mm)),
        }
    }
}

impl From<Spacing> for SpacingText {
    fn from(s: Spacing) -> Self {
        match s {
            Spacing::Native => Self::Word("native".to_owned()),
            Spacing::Mm(mm) => Self::Mm(mm),
        }
    }
}

/// Interpolation of input values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolate {
    /// Trilinear.
    #[default]
    Linear,
    /// Tricubic.
    Cubic,
}

/// One input channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Name, e.g. `"FLAIR"`.
    pub name: String,
    /// Endings of file names (without the format's ending) that mean this channel, e.g. `"_flair"`; any case.
    #[serde(default)]
    pub patterns: Vec<String>,
}

/// One step of value preparation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntensityStep {
    /// On which array.
    #[serde(default)]
    pub when: When,
    /// What is done.
    pub apply: Scheme,
    /// Only on this channel, counted from 0; on all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<usize>,
}

/// On which array an intensity step works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// On the image as stored, before anything moves.
    Stored,
    /// After reorientation and resampling, before cropping.
    #[default]
    Working,
}

/// Slices along which axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SliceAxis {
    /// The third axis as stored.
    #[serde(rename = "k")]
    StoredK,
    /// The axis nearest to inferior–superior, however the file is stored.
    S,
}

/// A rule that maps values, one channel at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scheme {
    /// Each slice to 0..=1 by its own minimum and maximum; constant slices become 0.
    SliceMinmax {
        /// The axis that slices are numbered along.
        axis: SliceAxis,
    },
    /// The volume to 0..=1 by its minimum and maximum; a constant volume becomes 0.
    Minmax,
    /// Percentiles `low` and `high` (0..=100) to 0 and 1, clamped.
    Percentile {
        /// Lower percentile.
        low: f64,
        /// Upper percentile.
        high: f64,
        /// Which voxels count.
        #[serde(default)]
        of: Of,
    },
    /// Mean 0 and standard deviation 1.
    Zscore {
        /// Which voxels count (others are left at 0).
        #[serde(default)]
        of: Of,
    },
    /// Clamped to `low..=high`, then `mean` to 0 and `deviation` to 1: fixed statistics of a training set.
    Fixed {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// Becomes 0.
        mean: f64,
        /// Becomes 1 above `mean`; positive.
        deviation: f64,
    },
    /// Values `low` and `high` to 0 and 1, clamped.
    Range {
        /// Becomes 0.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
    /// `(value − subtract) / divide`, nothing clamped.
    Linear {
        /// Becomes 0.
        subtract: f64,
        /// Becomes 1 above `subtract`; not 0.
        divide: f64,
    },
}

/// Which part of the working volume is looked at; outside it, everything is background.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// The rule.
    #[serde(default)]
    pub kind: CropKind,
    /// Voxels added on each side of the foreground box along D, H, W.
    #[serde(default)]
    pub margin: [usize; 3],
    /// Voxels count as foreground above this fraction of the channel's peak, the 99.5th percentile of its positive
    /// values; 0: all voxels that are not 0.
    #[serde(default)]
    pub above: f64,
    /// Fraction of the foreground voxels left out at either end of each axis (against specks), below 0.5.
    #[serde(default)]
    pub trim: f64,
    /// Voxels along D, H, W of the box for `kind = "centred"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 3]>,
    /// The box for `kind = "fixed"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<FixedBox>,
}

/// How the crop is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CropKind {
    /// The whole volume.
    #[default]
    None,
    /// The box around the foreground of all channels.
    Foreground,
    /// A box of [`Crop::size`] centred on the foreground box; padded where it reaches outside the volume.
    Centred,
    /// [`Crop::fixed`].
    Fixed,
}

/// A box of working voxels; padded where it reaches outside the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedBox {
    /// First voxel along D, H, W.
    pub start: [i64; 3],
    /// Voxels along D, H, W.
    pub size: [usize; 3],
}

/// How the volume is cut for the network; beyond the volume tiles hold zeros (after the intensity steps).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Voxels of a tile along D, H, W.
    pub patch: [usize; 3],
    /// Shared part of neighbouring tiles, 0 ≤ overlap < 1.
    #[serde(default = "half")]
    pub overlap: f64,
    /// Weights of overlapping tiles.
    #[serde(default)]
    pub blend: Weights,
    /// Where tiles start.
    #[serde(default)]
    pub plan: Rule,
    /// Sides of tiles may be any multiple of this up to [`Tiles::patch`], so that small pictures make small tiles (networks
    /// that answer with pictures only). Tiles are of `patch` exactly without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<usize>,
    /// Most tiles in one call of the network.
    #[serde(default = "one")]
    pub batch: usize,
    /// Memory the runtime takes for a call with one tile, in MiB (measured); estimated from the patch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

fn peak() -> f64 {
    99.5
}
fn quarter() -> f64 {
    0.25
}
fn one_whole() -> f64 {
    1.0
}
fn half() -> f64 {
    0.5
}
fn one() -> usize {
    1
}

/// What comes out of the network, and which label each voxel gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "activation", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Output {
    /// One class per voxel: the channel with the largest score.
    Softmax {
        /// Label of each channel, in network order.
        classes: Vec<u16>,
    },
    /// Independent channels, each in or out.
    Sigmoid {
        /// Names of the channels, in network order.
        channels: Vec<String>,
        /// Probability from which a voxel is in, inclusive.
        #[serde(default = "half")]
        threshold: f64,
        /// The first rule that holds gives the label; none means background.
        rules: Vec<LabelRule>,
    },
    /// A picture like the one that went in: values where the network saw values, 0..=1 and about.
    #[serde(rename = "none")]
    Picture {
        /// What is done to pictures.
        task: Restoration,
        /// Colours that the network sees and answers with: 1 (grey) or 3 (red, green, blue).
        channels: usize,
        /// This percentile (0..=100) of the magnitudes of a volume's values becomes 1. Pictures of 8 bits, and colours,
        /// are divided by the largest value of their type.
        #[serde(default = "peak")]
        peak: f64,
    },
    /// Lines of text with their outlines.
    Text(TextSettings),
    /// Probabilities of classes for the whole image, or for each slice.
    Classes {
        /// Names of the classes, in network order.
        names: Vec<String>,
        /// Whether several may hold at once, each with a probability of its own.
        #[serde(default)]
        several: bool,
    },
    /// Boxes around what was found, with classes and scores.
    Boxes {
        /// Names of the classes, in network order, without background.
        names: Vec<String>,
        /// How the network writes boxes down.
        layout: BoxLayout,
        /// Least score of a box.
        #[serde(default = "quarter")]
        threshold: f64,
        /// Of two boxes of a class whose intersection is more than this part of their union, the better one stays; 1 where
        /// the network has seen to that.
        #[serde(default = "one_whole")]
        overlap: f64,
    },
    /// Masks of what is asked for in words.
    Prompts(Vocabulary),
}

/// One rule of a sigmoid output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    /// Channels the voxel must be in (all of them). One name leaves regions independent, as the BraTS evaluation
    /// does; several force them to nest.
    pub inside: Vec<String>,
    /// The label it gets.
    pub label: u16,
}

/// Clean-up of the labels, on the working grid's connectivity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Post {
    /// Labels of which only the largest connected part is kept.
    #[serde(default)]
    pub keep_largest: Vec<u16>,
    /// Neighbours that count as connected: 6, 18 or 26.
    #[serde(default = "twenty_six")]
    pub connectivity: u8,
}

impl Default for Post {
    fn default() -> Self {
        Self { keep_largest: Vec::new(), connectivity: 26 }
    }
}

fn twenty_six() -> u8 {
    26
}

/// One row of the label table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRow {
    /// The number in the label map.
    pub id: u16,
    /// What it stands for.
    pub name: String,
    /// Red, green, blue.
    pub rgb: [u8; 3],
    /// Short form, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub abbreviation: String,
}

impl Output {
    /// Channels the network must return.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        match self {
            Self::Softmax { classes } => classes.len(),
            Self::Sigmoid { channels, .. } => channels.len(),
            Self::Picture { channels, .. } => *channels,
            Self::Text(_) => 1,
            Self::Classes { names, .. } | Self::Boxes { names, .. } => names.len(),
            Self::Prompts(_) => 0,
        }
    }

    /// Whether every voxel gets a label.
    #[must_use]
    pub fn labels_voxels(&self) -> bool {
        matches!(self, Self::Softmax { .. } | Self::Sigmoid { .. })
    }

    /// What is done to pictures, where pictures come out rather than labels.
    #[must_use]
    pub fn restoration(&self) -> Option<Restoration> {
        if let Self::Picture { task, .. } = self { Some(*task) } else { None }
    }

    /// Whether pictures come out rather than labels.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.restoration().is_some()
    }

    /// Whether lines of text come out.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether masks come out of what is asked for in words.
    #[must_use]
    pub fn is_prompted(&self) -> bool {
        matches!(self, Self::Prompts(_))
    }

    /// Every label a voxel can get, without background, ascending.
    #[must_use]
    pub fn label_ids(&self) -> Vec<u16> {
        let mut ids: Vec<u16> = match self {
            Self::Softmax { classes } => classes.clone(),
            Self::Sigmoid { rules, .. } => rules.iter().map(|r| r.label).collect(),
            Self::Picture { .. }
            | Self::Text(_)
            | Self::Classes { .. }
            | Self::Boxes { .. }
            | Self::Prompts(_) => Vec::new(),
        };
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|&id| id != 0);
        ids
    }
}

impl Manifest {
    /// Whether pictures without a place in space are as welcome as volumes.
    #[must_use]
    pub fn takes_pictures(&self) -> bool {
        self.output.is_picture() || (self.tiles.patch[0] == 1 && self.input.axes == STORED)
    }

    /// Names and colours of the labels.
    #[must_use]
    pub fn label_table(&self) -> LabelTable {
        let row = |r: &LabelRow| LabelEntry {
            abbreviation: r.abbreviation.clone(),
            ..LabelEntry::new(r.id, r.name.clone(), r.rgb)
        };
        LabelTable { entries: self.labels.iter().map(row).collect() }
    }

    /// What does not hold together, as `(found, expected)`; `None` when all is well. Files are not looked at.
    #[must_use]
    pub fn fault(&self) -> Option<(String, String)> {
        let wrong = |found: String, expected: &str| Some((found, expected.to_owned()));
        if !is_id(&self.id) {
            return wrong(
                format!("the id “{}”", self.id),
                "1 to 64 lower-case letters, digits and hyphens, beginning with a letter or digit",
            );
        }
        for (field, value) in [("name", &self.name), ("version", &self.version), ("licence", &self.licence)] {
            if value.trim().is_empty() {
                return wrong(format!("an empty {field}"), "some text");
            }
        }
        if self.graph.is_some() && self.family != "onnx" {
            return wrong(
                format!("a [graph] section in a pack of the family {}", self.family),
                "none, or the family onnx",
            );
        }
        self.input_fault()
            .or_else(|| self.intensity_fault())
            .or_else(|| self.tiles_fault())
            .or_else(|| self.output_fault())
            .or_else(|| self.files_fault())
    }

    fn input_fault(&self) -> Option<(String, String)> {
        if self.input.axes != STORED && working_code(&self.input.axes).is_none() {
            return Some((
                format!("axes = “{}”", self.input.axes),
                "three letters, one each of R/L, A/P and S/I, e.g. “SAR”, or “stored”".to_owned(),
            ));
        }
        if let Spacing::Mm(mm) = self.input.spacing_mm
            && !mm.iter().all(|v| v.is_finite() && (0.01..=100.0).contains(v))
        {
            return Some((
                format!("spacing_mm = {mm:?}"),
                "three lengths from 0.01 to 100 mm, or “native”".to_owned(),
            ));
        }
        let channels = &self.input.channels;
        if channels.is_empty() || channels.len() > 64 {
            return Some((format!("{} input channels", channels.len()), "1 to 64".to_owned()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for pattern in channels.iter().flat_map(|c| &c.patterns) {
            if pattern.is_empty() || !seen.insert(pattern.to_lowercase()) {
                return Some((
                    format!("the file name pattern “{pattern}” (empty or given twice)"),
                    "each pattern once".to_owned(),
                ));
            }
        }
        None
    }

    fn intensity_fault(&self) -> Option<(String, String)> {
        for step in &self.intensity {
            let channels = self.graph.as_ref().map_or(1, |g| g.colours) * self.input.channels.len();
            if step.channel.is_some_and(|c| c >= channels) {
                return Some((
                    format!("an intensity step for channel {}", step.channel.unwrap_or(0)),
                    format!("channels from 0 to {}", channels - 1),
                ));
            }
            let good = match &step.apply {
                Scheme::SliceMinmax { .. } => step.when == When::Stored,
                Scheme::Percentile { low, high, .. } => (0.0..*high).contains(low) && *high <= 100.0,
                Scheme::Range { low, high } => low.is_finite() && high.is_finite() && low < high,
                Scheme::Fixed { low, high, mean, deviation } => {
                    [low, high, mean].iter().all(|v| v.is_finite())
                        && low < high
                        && deviation.is_finite()
                        && *deviation > 0.0
                }
                Scheme::Linear { subtract, divide } => {
                    subtract.is_finite() && divide.is_finite() && *divide != 0.0
                }
                Scheme::Minmax | Scheme::Zscore { .. } => true,
            };
            if !good {
                return Some((
                    format!("the intensity step {:?} {:?}", step.when, step.apply),
                    "low < high, percentiles within 0..=100, divisors other than 0, and slice-minmax with when = “stored”"
                        .to_owned(),
                ));
            }
        }
        None
    }

    fn tiles_fault(&self) -> Option<(String, String)> {
        let t = &self.tiles;
        if !t.patch.iter().all(|n| (1..=1024).contains(n)) {
            return Some((format!("patch = {:?}", t.patch), "three sizes from 1 to 1024 voxels".to_owned()));
        }
        if !(0.0..=0.95).contains(&t.overlap) {
            return Some((format!("overlap = {}", t.overlap), "0 to 0.95".to_owned()));
        }
        if !(1..=256).contains(&t.batch) {
            return Some((format!("batch = {}", t.batch), "1 to 256 tiles".to_owned()));
        }
        if let Some(n) = t.multiple
            && (n == 0 || t.patch[1..].iter().any(|side| !side.is_multiple_of(n)))
        {
            return Some((format!("multiple = {n}"), format!("a divisor of the sides {:?}", &t.patch[1..])));
        }
        let c = &self.crop;
        let good_size = |size: &[usize; 3]| size.iter().all(|n| (1..=4096).contains(n));
        if !(0.0..1.0).contains(&c.above)
            || !(0.0..0.5).contains(&c.trim)
            || c.margin.iter().any(|&m| m > 4096)
        {
            return Some((
                format!("crop: above = {}, trim = {}, margin = {:?}", c.above, c.trim, c.margin),
                "above from 0 to below 1, trim from 0 to below 0.5, margins of at most 4096 voxels"
                    .to_owned(),
            ));
        }
        let bad_fixed =
            |b: &FixedBox| !good_size(&b.size) || !b.start.iter().all(|s| (-4096..=4096).contains(s));
        if c.fixed.as_ref().is_some_and(bad_fixed) || (c.kind == CropKind::Fixed && c.fixed.is_none()) {
            return Some((
                format!("crop.fixed = {:?}", c.fixed),
                "start within ±4096 and size from 1 to 4096 voxels".to_owned(),
            ));
        }
        if c.size.as_ref().is_some_and(|n| !good_size(n)) || (c.kind == CropKind::Centred && c.size.is_none())
        {
            return Some((
                format!("crop.size = {:?}", c.size),
                "three sizes from 1 to 4096 voxels".to_owned(),
            ));
        }
        None
    }

    fn output_fault(&self) -> Option<(String, String)> {
        match &self.output {
            Output::Softmax { classes } if classes.len() < 2 || classes.len() > 65536 => {
                return Some((
                    format!("{} classes", classes.len()),
                    "at least background and one structure".to_owned(),
                ));
            }
            Output::Softmax { .. } | Output::Text(_) | Output::Prompts(_) => {}
            Output::Picture { channels, peak, .. } => {
                if !(matches!(channels, 1 | 3) && *peak > 0.0 && *peak <= 100.0) {
                    return Some((
                        format!("a picture of {channels} channels with peak = {peak}"),
                        "1 or 3 channels, and a percentile above 0 and up to 100".to_owned(),
                    ));
                }
            }
            Output::Classes { names, .. } | Output::Boxes { names, .. } => {
                if names.is_empty() || names.len() > 65536 || names.iter().any(|n| n.trim().is_empty()) {
                    return Some((
                        format!("{} names of classes, or one without letters", names.len()),
                        "1 to 65536 names".to_owned(),
                    ));
                }
                if let Output::Boxes { threshold, overlap, .. } = &self.output
                    && !((0.0..=1.0).contains(threshold) && (0.0..=1.0).contains(overlap))
                {
                    return Some((
                        format!("threshold = {threshold}, overlap = {overlap}"),
                        "both from 0 to 1".to_owned(),
                    ));
                }
            }
            Output::Sigmoid { channels, threshold, rules } => {
                if channels.is_empty() || channels.len() > 32 || rules.is_empty() {
                    return Some((
                        format!("{} output channels and {} rules", channels.len(), rules.len()),
                        "1 to 32 channels and at least one rule".to_owned(),
                    ));
                }
                if !(*threshold > 0.0 && *threshold < 1.0) {
                    return Some((
                        format!("threshold = {threshold}"),
                        "a probability between 0 and 1".to_owned(),
                    ));
                }
                let mut named = rules.iter().flat_map(|r| &r.inside);
                if let Some(name) = named.find(|n| !channels.contains(n)) {
                    return Some((
                        format!("a rule inside “{name}”"),
                        format!("one of {}", channels.join(", ")),
                    ));
                }
                if rules.iter().any(|r| r.inside.is_empty()) {
                    return Some((
                        "a rule without channels".to_owned(),
                        "at least one name in inside".to_owned(),
                    ));
                }
            }
        }
        let ids = self.output.label_ids();
        let mut listed: Vec<u16> = self.labels.iter().map(|l| l.id).collect();
        listed.sort_unstable();
        if let Some(pair) = listed.windows(2).find(|w| w[0] == w[1]) {
            return Some((
                format!("label {} twice in the label table", pair[0]),
                "each number once".to_owned(),
            ));
        }
        if let Some(id) = ids.iter().find(|id| listed.binary_search(id).is_err()) {
            return Some((
                format!("label {id} in the output but not in the label table"),
                "a [[label]] row for it".to_owned(),
            ));
        }
        if let Some(id) = self.post.keep_largest.iter().find(|id| !ids.contains(id)) {
            return Some((
                format!("keep_largest names label {id}"),
                format!("labels of the output: {ids:?}"),
            ));
        }
        if ![6, 18, 26].contains(&self.post.connectivity) {
            return Some((format!("connectivity = {}", self.post.connectivity), "6, 18 or 26".to_owned()));
        }
        None
    }

    fn files_fault(&self) -> Option<(String, String)> {
        let mut names = std::collections::BTreeSet::new();
        for f in &self.files {
            if !is_plain_name(&f.path) || !names.insert(f.path.to_lowercase()) {
                return Some((
                    format!("the file “{}”", f.path),
                    "plain file names inside the pack folder, each once: letters, digits, dot, hyphen and \
                     underscore, no folders"
                        .to_owned(),
                ));
            }
            if f.sha256.len() != 64 || !f.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Some((
                    format!("sha256 = “{}” for {}", f.sha256, f.path),
                    "64 hexadecimal digits".to_owned(),
                ));
            }
        }
        let parts: Vec<&str> = self.networks().map(|f| f.part.as_str()).collect();
        let mut names = std::collections::BTreeSet::new();
        if parts.is_empty() || !parts.iter().all(|p| names.insert(*p)) {
            return Some((
                format!("{} files with role = “network” and the parts {parts:?}", parts.len()),
                "at least one ONNX file, and each part once".to_owned(),
            ));
        }
        None
    }

    /// The files that hold the model's graphs, in the manifest's order.
    pub fn networks(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(|f| f.role == Role::Network)
    }

    /// What is wrong with the parts for a family whose model consists of exactly these, as `(found, expected)`; a model of
    /// one graph has the part `""`.
    #[must_use]
    pub fn parts_fault(&self, wanted: &[&str]) -> Option<(String, String)> {
        let found: std::collections::BTreeSet<&str> = self.networks().map(|f| f.part.as_str()).collect();
        (found != wanted.iter().copied().collect()).then(|| {
            (format!("networks of the parts {found:?}"), format!("those of a “{}”: {wanted:?}", self.family))
        })
    }
}

/// The orientation code of the working grid (directions of i, j, k) for network axes `[D, H, W]`, e.g. `"RAS"` for
/// `"SAR"`; `None` when the letters do not name each world axis once.
#[must_use]
pub fn working_code(axes: &str) -> Option<String> {
    let code: String = axes.chars().rev().collect();
    let names_all =
        ["RL", "AP", "SI"].iter().all(|pair| code.chars().filter(|&c| pair.contains(c)).count() == 1);
    (names_all && code.chars().count() == 3).then_some(code)
}

/// Whether a pack id is well formed.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && !id.starts_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a name is a plain file name on every system: no separators, no drive, not hidden, not `pack.toml`.
fn is_plain_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.eq_ignore_ascii_case("pack.toml")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}
