//! Display windows: which values are shown as black and as white.

use serde::{Deserialize, Serialize};

/// Values between `low` and `high` spread over the colour map; what lies outside takes its ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The value (scaled, e.g. HU) at the low end of the colour map.
    pub low: f64,
    /// The value at the high end; above `low`.
    pub high: f64,
}

impl Window {
    /// From centre ("level") and width, as radiology states them; widths below 1e-12 are widened to that.
    #[must_use]
    pub fn level_width(level: f64, width: f64) -> Self {
        let half = width.abs().max(1e-12) / 2.0;
        Self { low: level - half, high: level + half }
    }

    /// The value in the middle.
    #[must_use]
    pub fn level(self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    /// The distance between the ends.
    #[must_use]
    pub fn width(self) -> f64 {
        self.high - self.low
    }

    /// Position of a value in the window: 0 at the low, 1 at the high end, not clamped.
    #[must_use]
    pub fn position(self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// A named window for CT, in Hounsfield units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    /// Name as listed.
    pub name: &'static str,
    /// Level in HU.
    pub level: f64,
    /// Width in HU.
    pub width: f64,
}

/// The windows every CT reader knows, level and width in HU.
pub const CT_PRESETS: [Preset; 8] = [
    Preset { name: "Brain", level: 40.0, width: 80.0 },
    Preset { name: "Subdural", level: 75.0, width: 215.0 },
    Preset { name: "Stroke", level: 40.0, width: 40.0 },
    Preset { name: "Bone", level: 480.0, width: 2500.0 },
    Preset { name: "Lung", level: -600.0, width: 1500.0 },
    Preset { name: "Mediastinum", level: 50.0, width: 350.0 },
    Preset { name: "Abdomen", level: 60.0, width: 400.0 },
    Preset { name: "Liver", level: 80.0, width: 150.0 },
];
