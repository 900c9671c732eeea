//! Values on their way to the network's range.

use formats::{Grid, Notice, Task, Volume};
use inference::normalise::{Of, normalise, percentiles};
use ndarray::{Array3, ArrayRef3, Axis};
use rayon::prelude::*;

use crate::error::Result;
use crate::manifest::{Crop, Manifest, Scheme, SliceAxis, When};

/// What a first look at a channel found, in scaled values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    /// First and last voxel (ijk) of the box around the foreground; `None` when there is none.
    pub(crate) foreground: Option<[[usize; 3]; 2]>,
    /// Smallest and largest finite value; infinite when there is none.
    low: f32,
    high: f32,
    non_finite: usize,
}

impl Looked {
    const NOTHING: Self =
        Self { foreground: None, low: f32::INFINITY, high: f32::NEG_INFINITY, non_finite: 0 };

    fn merge(self, other: Self) -> Self {
        Self {
            foreground: self.foreground,
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            non_finite: self.non_finite + other.non_finite,
        }
    }

    /// Whether all finite values are equal (or there are none).
    pub(super) fn is_constant(&self) -> bool {
        self.low >= self.high
    }

    pub(super) fn remark(&self, channel: &str, notices: &mut Vec<Notice>) {
        if self.non_finite > 0 {
            notices.push(Notice::warning(
                "non-finite-values",
                format!(
                    "{channel}: {} voxels are not finite (NaN or infinite) and count as background.",
                    self.non_finite
                ),
            ));
        }
        if self.is_constant() {
            notices.push(Notice::warning(
                "constant-channel",
                format!("{channel}: every voxel has the same value; check that this is the right file."),
            ));
        }
    }
}

/// The first pass; the foreground is what [`Crop::above`] and [`Crop::trim`] say.
pub(crate) fn look(volume: &Volume, crop: &Crop) -> Looked {
    let values = volume.to_f32();
    let mut looked = values
        .axis_iter(Axis(0))
        .into_par_iter()
        .map(|plane| {
            let mut l = Looked::NOTHING;
            for &v in plane {
                if v.is_finite() {
                    l.low = l.low.min(v);
                    l.high = l.high.max(v);
                } else {
                    l.non_finite += 1;
                }
            }
            l
        })
        .reduce(|| Looked::NOTHING, Looked::merge);
    let threshold = if crop.above > 0.0 { crop.above as f32 * peak(&values) } else { 0.0 };
    let is_foreground = |v: f32| v.is_finite() && if crop.above > 0.0 { v > threshold } else { v != 0.0 };
    // Foreground voxels per index along i, j, k.
    let [k, j, i] = volume.grid.shape_kji();
    let empty = || [vec![0u64; i], vec![0u64; j], vec![0u64; k]];
    let counts = values
        .axis_iter(Axis(0))
        .into_par_iter()
        .enumerate()
        .fold(empty, |mut counts, (k, plane)| {
            for (j, row) in plane.outer_iter().enumerate() {
                let mut in_row = 0;
                for (n, &v) in counts[0].iter_mut().zip(row) {
                    let hit = u64::from(is_foreground(v));
                    *n += hit;
                    in_row += hit;
                }
                counts[1][j] += in_row;
                counts[2][k] += in_row;
            }
            counts
        })
        .reduce(empty, |mut a, b| {
            for (a, b) in a.iter_mut().zip(&b) {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            }
            a
        });
    let total: u64 = counts[0].iter().sum();
    if total > 0 {
        let spare = (crop.trim * total as f64) as u64;
        let low = [0, 1, 2].map(|a| first_beyond(counts[a].iter(), spare));
        let high = [0, 1, 2].map(|a| counts[a].len() - 1 - first_beyond(counts[a].iter().rev(), spare));
        looked.foreground = Some([low, high]);
    }
    looked
}

/// The 99.5th percentile of the positive values; 0 when there are none.
fn peak(values: &ArrayRef3<f32>) -> f32 {
    let positive = values.mapv(|v| if v > 0.0 { v } else { 0.0 });
    percentiles(&positive, 99.5, 99.5, Of::Nonzero).map_or(0.0, |(p, _)| p as f32)
}

/// Where the running sum first exceeds `spare`.
fn first_beyond<'a>(mut counts: impl Iterator<Item = &'a u64>, spare: u64) -> usize {
    let mut seen = 0;
    let found = counts.position(|n| {
        seen += n;
        seen > spare
    });
    found.unwrap_or(0)
}

/// Values `[k, j, i]` as f32; those that are not finite become background: 0, or the lower end where the
/// manifest states an absolute range (0 HU would be water, not air).
pub(super) fn clean(volume: &Volume, looked: &Looked, m: &Manifest) -> Array3<f32> {
    let mut values = volume.to_f32().into_owned();
    if looked.non_finite > 0 {
        let low = m.intensity.iter().find_map(|s| match s.apply {
            Scheme::Range { low, .. } | Scheme::Fixed { low, .. } => Some(low as f32),
            _ => None,
        });
        values.par_mapv_inplace(|v| if v.is_finite() { v } else { low.unwrap_or(0.0) });
    }
    values
}

/// Runs the manifest's steps of one kind on the array of a channel, which lies on `grid`.
pub(super) fn apply(
    m: &Manifest,
    when: When,
    channel: usize,
    values: &mut Array3<f32>,
    grid: &Grid,
    task: &Task,
) -> Result<()> {
    use inference::normalise::Scheme as Numeric;
    let is_meant =
        |s: &&crate::manifest::IntensityStep| s.when == when && s.channel.is_none_or(|c| c == channel);
    for step in m.intensity.iter().filter(is_meant) {
        task.check()?;
        let numeric = match step.apply {
            Scheme::SliceMinmax { axis } => Numeric::SliceMinmax { axis: voxel_axis(axis, grid) },
            Scheme::Minmax => Numeric::Minmax,
            Scheme::Percentile { low, high, of } => Numeric::Percentile { low, high, of },
            Scheme::Zscore { of } => Numeric::Zscore { of },
            Scheme::Range { low, high } => Numeric::Range { low, high },
            Scheme::Linear { subtract, divide } => {
                values.par_mapv_inplace(|v| ((f64::from(v) - subtract) / divide) as f32);
                continue;
            }
            Scheme::Fixed { low, high, mean, deviation } => {
                values.par_mapv_inplace(|v| ((f64::from(v).clamp(low, high) - mean) / deviation) as f32);
                continue;
            }
        };
        normalise(values.view_mut(), &numeric)?;
    }
    Ok(())
}

/// The voxel axis (0 = i) that slices are numbered along.
fn voxel_axis(axis: SliceAxis, grid: &Grid) -> usize {
    match axis {
        SliceAxis::StoredK => 2,
        SliceAxis::S => grid.axes_ras().iter().position(|&(world, _)| world == 2).unwrap_or(2),
    }
}

#[cfg(test)]
mod tests {
    use formats::Voxels;
    use ndarray::s;

    use super::*;

    #[test]
    fn the_foreground_ignores_what_the_crop_says() {
        let mut a = Array3::<f32>::zeros((20, 20, 20));
        a.slice_mut(s![5..15, 6..14, 4..10]).fill(100.0);
        a[[0, 0, 0]] = 3.0;
        a[[19, 19, 19]] = -50.0;
        let volume = Volume::new(Voxels::F32(a.into_shared()), Grid::unit([20, 20, 20])).unwrap();
        let at = |above, trim| look(&volume, &Crop { above, trim, ..Crop::default() }).foreground;
        assert_eq!(at(0.0, 0.0), Some([[0, 0, 0], [19, 19, 19]]));
        assert_eq!(at(0.05, 0.0), Some([[4, 6, 5], [9, 13, 14]]));
        assert_eq!(at(0.0, 0.01), Some([[4, 6, 5], [9, 13, 14]]));
        assert_eq!(
            (look(&volume, &Crop::default()).low, look(&volume, &Crop::default()).high),
            (-50.0, 100.0)
        );
    }

    #[test]
    fn the_peak_is_a_percentile_of_positive_values() {
        // −100 to 201: the positive ones are 1 to 201, of which index 0.995 · 200 is wanted.
        let a = Array3::from_shape_fn((1, 1, 302), |(_, _, i)| i as f32 - 100.0);
        assert!((peak(&a) - 200.0).abs() < 1e-4);
        assert!(peak(&Array3::from_elem((1, 1, 3), -1.0)).abs() < 1e-9);
    }
}
