//! What overwritten pixels become.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::dicom::pixels::{Instance, Photometric, Samples};
use crate::error::Result;
use crate::for_samples;

/// The colour of overwritten pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// The darkest there is: of grey images the least value that occurs in the frame (the largest, where small values are shown
    /// bright), so that windows found automatically stay as they are.
    #[default]
    Black,
    /// What occurs most often in the frame.
    Background,
}

impl Fill {
    /// The samples of an overwritten pixel of a frame that was decoded: one, or red, green and blue; of palette images the index.
    ///
    /// # Errors
    /// Those of decoding.
    pub(super) fn decoded(self, instance: &Instance, samples: &Samples) -> Result<Vec<f64>> {
        let layout = instance.layout();
        if self == Self::Background {
            return Ok(most_frequent(samples, layout.samples));
        }
        if layout.samples == 3 {
            return Ok(vec![0.0; 3]);
        }
        if layout.photometric == Photometric::Palette {
            return darkest_index(instance, samples);
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for_samples!(samples, v => for &s in v {
            let s = crate::voxels::Scalar::to_f64(s);
            if s.is_finite() {
                (low, high) = (low.min(s), high.max(s));
            }
        });
        let value = if instance.is_inverted() { high } else { low };
        Ok(vec![if value.is_finite() { value } else { 0.0 }])
    }
}

/// The darkest colour among those that the frame shows.
fn darkest_index(instance: &Instance, samples: &Samples) -> Result<Vec<f64>> {
    let Some(palette) = instance.palette()? else { return Ok(vec![0.0]) };
    let mut best: Option<(u32, i64)> = None;
    let mut seen = std::collections::BTreeSet::new();
    for_samples!(samples, v => for &s in v {
        seen.insert(crate::voxels::Scalar::to_f64(s) as i64);
    });
    for index in seen {
        let light: u32 = palette.rgb8(index).iter().map(|&c| u32::from(c)).sum();
        if best.is_none_or(|b| light < b.0) {
            best = Some((light, index));
        }
    }
    Ok(vec![best.map_or(0.0, |b| b.1 as f64)])
}

fn most_frequent(samples: &Samples, channels: usize) -> Vec<f64> {
    let mut counts: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut best: (usize, Vec<f64>) = (0, vec![0.0; channels]);
    for_samples!(samples, v => for pixel in v.chunks_exact(channels) {
        let values: Vec<f64> = pixel.iter().map(|&s| crate::voxels::Scalar::to_f64(s)).collect();
        let count = counts.entry(values.iter().map(|v| v.to_bits()).collect()).or_default();
        *count += 1;
        if *count > best.0 {
            best = (*count, values);
        }
    });
    best.1
}
