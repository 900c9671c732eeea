//! Segmentations: one label number per voxel and a table that says what the numbers mean.

use serde::{Deserialize, Serialize};

use crate::dicom::codes::Coding;
use crate::grid::Grid;
use crate::volume::Meta;
use crate::voxels::Shared;

/// A segmentation. One label volume and a table, never one volume per label.
#[derive(Clone, Debug)]
pub struct LabelMap {
    /// Label numbers `[k, j, i]`; 0 is background. Numbers above 65535 do not occur (readers refuse them).
    pub labels: Shared<u16>,
    /// Placement.
    pub grid: Grid,
    /// Names and colours.
    pub table: LabelTable,
    /// Everything else worth keeping (provenance above all).
    pub meta: Meta,
}

/// Names and colours of labels, ordered as in their file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelTable {
    /// One row per label; numbers are unique. Background (0) need not be listed.
    pub entries: Vec<LabelEntry>,
}

/// One row of a [`LabelTable`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelEntry {
    /// The number in the volume.
    pub id: u16,
    /// What it stands for, e.g. `"Left-Hippocampus"`.
    pub name: String,
    /// Red, green, blue, 0..=255.
    pub rgb: [u8; 3],
    /// Opacity, 0 (invisible) to 1.
    #[serde(default = "opaque")]
    pub opacity: f32,
    /// Whether it is shown.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Short form (BIDS `abbreviation`), or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub abbreviation: String,
    /// What it is in coded terms, where a file says so (DICOM segmentations). Takes the place of what the name means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding: Option<Coding>,
}

fn opaque() -> f32 {
    1.0
}
fn yes() -> bool {
    true
}

impl LabelEntry {
    /// A visible, opaque row.
    pub fn new(id: u16, name: impl Into<String>, rgb: [u8; 3]) -> Self {
        Self {
            id,
            name: name.into(),
            rgb,
            opacity: 1.0,
            visible: true,
            abbreviation: String::new(),
            coding: None,
        }
    }
}

impl LabelTable {
    /// The row of a label number.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&LabelEntry> {
        self.entries.iter().find(|e| e.id == id)
    }

    /// The name of a label number, `"Label 7"` when it has none.
    #[must_use]
    pub fn name(&self, id: u16) -> String {
        self.get(id).map_or_else(|| format!("Label {id}"), |e| e.name.clone())
    }

    /// The colour of a label number; numbers without a row get a distinct, fixed hue (golden-angle steps).
    #[must_use]
    pub fn rgb(&self, id: u16) -> [u8; 3] {
        self.get(id).map_or_else(|| default_rgb(id), |e| e.rgb)
    }
}

/// A fixed colour for a label number: hue in golden-angle steps at saturation 0.65 and value 0.95, so that
/// neighbouring numbers differ. Label 0 is black.
#[must_use]
pub fn default_rgb(id: u16) -> [u8; 3] {
    if id == 0 {
        return [0; 3];
    }
    let h = (f64::from(id) * 0.618_033_988_75).fract() * 6.0;
    let (s, v) = (0.65, 0.95);
    [5.0, 3.0, 1.0].map(|n| {
        let k = (n + h) % 6.0;
        let c = v - v * s * k.min(4.0 - k).clamp(0.0, 1.0);
        (c * 255.0).round() as u8
    })
}
