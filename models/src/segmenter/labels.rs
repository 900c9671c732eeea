//! From the manifest's output section to what decides labels.

use inference::postprocess::Connectivity;
use inference::resample::Decide;

use crate::manifest::{Output, Post};

/// [`Decide`] with its tables.
pub(super) enum Table {
    /// Label of each channel; the largest score wins.
    Largest(Vec<u16>),
    /// Threshold on the logit, and `(mask of channels, label)` in the order of trying.
    Regions { logit: f32, rules: Vec<(u32, u16)> },
}

impl Table {
    pub(super) fn new(output: &Output) -> Self {
        match output {
            Output::Softmax { classes } => Self::Largest(classes.clone()),
            // `PatchSegmenter::fault` lets no such pack through.
            Output::Picture { .. }
            | Output::Text(_)
            | Output::Classes { .. }
            | Output::Boxes { .. }
            | Output::Prompts(_) => Self::Largest(Vec::new()),
            Output::Sigmoid { channels, threshold, rules } => {
                let bit = |name: &String| channels.iter().position(|c| c == name).map_or(0, |n| 1u32 << n);
                Self::Regions {
                    // sigmoid(x) ≥ p exactly where x ≥ ln(p / (1 − p)); 0 for p = ½.
                    logit: (threshold / (1.0 - threshold)).ln() as f32,
                    rules: rules
                        .iter()
                        .map(|r| (r.inside.iter().fold(0, |m, n| m | bit(n)), r.label))
                        .collect(),
                }
            }
        }
    }

    pub(super) fn decide(&self) -> Decide<'_> {
        match self {
            Self::Largest(labels) => Decide::Largest(labels),
            Self::Regions { logit, rules } => Decide::Regions { logit: *logit, rules },
        }
    }
}

/// Which voxels touch, as [`Manifest::fault`](crate::Manifest::fault) allows: 6, 18 or 26 neighbours.
pub(super) fn connectivity(post: &Post) -> Connectivity {
    match post.connectivity {
        6 => Connectivity::Six,
        18 => Connectivity::Eighteen,
        _ => Connectivity::TwentySix,
    }
}
