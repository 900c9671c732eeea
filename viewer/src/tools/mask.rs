//! Which voxels a tool may change.

use formats::{Grid, Volume};
use serde::{Deserialize, Serialize};

use crate::sampling::Placement;

/// The labels a tool may replace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Any label and the background.
    #[default]
    Everything,
    /// The background (0) only.
    Background,
    /// These labels only (0 is the background).
    Labels(Vec<u16>),
}

impl Over {
    /// Whether a voxel with this label may be changed.
    #[must_use]
    pub fn allows(&self, label: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Background => label == 0,
            Self::Labels(labels) => labels.contains(&label),
        }
    }
}

/// Limits a tool to voxels whose value in an image lies in a range. The value is the scaled value (luma for colours,
/// magnitude for complex numbers) of the image's voxel that owns the centre of the label's voxel; the image may lie on
/// another grid. Outside the image and for NaN the answer is no.
#[derive(Clone, Copy, Debug)]
pub struct ValueRange<'a> {
    /// The image.
    pub image: &'a Volume,
    /// Least value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
}

/// Reads an image's value at voxels of another grid.
pub(crate) struct Sampler<'a> {
    image: &'a Volume,
    /// `None` when both grids are the same.
    placement: Option<Placement>,
}

impl<'a> Sampler<'a> {
    /// `None` when the image's placement is singular.
    pub fn new(image: &'a Volume, labels: &Grid) -> Option<Self> {
        let tolerance_mm = 0.01 * labels.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let is_same = image.grid.is_same(labels, tolerance_mm);
        let placement =
            if is_same { None } else { Some(Placement::of(&image.grid, &labels.world_from_voxel)?) };
        Some(Self { image, placement })
    }

    /// The value of the image's voxel that owns the centre of voxel `ijk` of the labels; `None` outside.
    pub fn value(&self, ijk: [usize; 3]) -> Option<f64> {
        match &self.placement {
            None => self.image.value(ijk),
            Some(placement) => {
                let at = placement.voxel_from_point.apply(ijk.map(|n| n as f64));
                self.image.value(placement.owner(at)?)
            }
        }
    }
}

/// A [`ValueRange`] made ready for one grid of labels.
pub(super) struct Gate<'a> {
    over: &'a Over,
    values: Option<(Sampler<'a>, f64, f64)>,
}

impl<'a> Gate<'a> {
    pub fn new(over: &'a Over, values: Option<ValueRange<'a>>, labels: &Grid) -> super::Result<Self> {
        let values = match values {
            None => None,
            Some(v) => {
                let sampler = Sampler::new(v.image, labels).ok_or(super::Error::Singular("image"))?;
                Some((sampler, v.low, v.high))
            }
        };
        Ok(Self { over, values })
    }

    /// Whether the voxel at `ijk`, which holds `label`, may be changed.
    pub fn allows(&self, ijk: [usize; 3], label: u16) -> bool {
        self.over.allows(label)
            && self.values.as_ref().is_none_or(|(sampler, low, high)| {
                sampler.value(ijk).is_some_and(|v| (*low..=*high).contains(&v))
            })
    }
}
