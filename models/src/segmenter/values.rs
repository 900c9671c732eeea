//! Values on their way to the network's range.

use formats::{Grid, Notice, Task, Volume};
use inference::normalise::{Of, normalise, percentiles};
use ndarray::{Array3, ArrayRef3, Axis};
use rayon::prelude::*;

use crate::error::Result;
use crate::manifest::{Crop, Manifest, Scheme, SliceAxis, When};

/// What a first look at a channel found, in scaled values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked {
    /// First and last voxel (ijk) of the box around the foreground; `None` when there is none.
    pub(super) foreground: Option<[[usize; 3]; 2]>,
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
pub(super) fn look(volume: &Volume, crop: &Crop) -> Looked {
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
    let threshold = if crop.above > 0.0 { crop.above as f32 * peak(&values, 99.5) } else { 0.0 };
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

/// A percentile of the positive finite values; 0 when there are none.
fn peak(values: &ArrayRef3<f32>, percentile: f64) -> f32 {
    let positive = values.mapv(|v| if v > 0.0 { v } else { 0.0 });
    percentiles(&positive, percentile, percentile, Of::Nonzero).map_or(0.0, |(p, _)| p as f32)
}

/// Gaussian smoothing along the voxel axes (i, j, k) of `grid` towards voxels of `onto`: σ is `fraction` of the
/// voxel of `onto` along the nearest world axis. Border values are repeated outside.
pub(super) fn smooth(values: &mut Array3<f32>, grid: &Grid, onto: &Grid, fraction: f64) {
    let (from, to) = (grid.axes_ras(), onto.axes_ras());
    let (have, wanted) = (grid.spacing_mm(), onto.spacing_mm());
    for axis in 0..3 {
        let along = (0..3).find(|&a| to[a].0 == from[axis].0).unwrap_or(axis);
        let sigma = fraction * wanted[along] / have[axis];
        // Below a tenth of a voxel the neighbours' weight is under 10⁻²⁰.
        if sigma > 0.1 {
            smooth_axis(values, 2 - axis, sigma);
        }
    }
}

/// One array axis, σ in voxels; the kernel ends at 2.5 σ.
fn smooth_axis(values: &mut Array3<f32>, axis: usize, sigma: f64) {
    let radius = ((2.5 * sigma + 0.5) as usize).clamp(1, 64);
    let weights: Vec<f64> = (0..=radius).map(|o| (-0.5 * (o as f64 / sigma).powi(2)).exp()).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f64>();
    let weights: Vec<f32> = weights.iter().map(|w| (w / sum) as f32).collect();
    // Planes that contain the axis; in them it is the first or the second.
    let planes = values.axis_iter_mut(Axis(usize::from(axis == 0))).into_par_iter();
    planes.for_each(|mut plane| {
        let before = plane.to_owned();
        let along = Axis(usize::from(axis == 2));
        let last = plane.len_of(along) - 1;
        for n in 0..=last {
            let mut line = plane.index_axis_mut(along, n);
            line.assign(&before.index_axis(along, n));
            line *= weights[0];
            for (o, &w) in weights.iter().enumerate().skip(1) {
                line.scaled_add(w, &before.index_axis(along, n.saturating_sub(o)));
                line.scaled_add(w, &before.index_axis(along, (n + o).min(last)));
            }
        }
    });
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

/// Runs the manifest's steps of one kind on an array that lies on `grid`.
pub(super) fn apply(
    m: &Manifest,
    when: When,
    values: &mut Array3<f32>,
    grid: &Grid,
    task: &Task,
) -> Result<()> {
    use inference::normalise::Scheme as Numeric;
    for step in m.intensity.iter().filter(|s| s.when == when) {
        task.check()?;
        let numeric = match step.apply {
            Scheme::SliceMinmax { axis } => Numeric::SliceMinmax { axis: voxel_axis(axis, grid) },
            Scheme::Minmax => Numeric::Minmax,
            Scheme::Percentile { low, high, of } => Numeric::Percentile { low, high, of },
            Scheme::Peak { percentile } => {
                let high = f64::from(peak(values, percentile));
                Numeric::Range { low: 0.0, high: if high > 0.0 { high } else { 1.0 } }
            }
            Scheme::Zscore { of } => Numeric::Zscore { of },
            Scheme::Range { low, high } => Numeric::Range { low, high },
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
    use formats::{Affine, Voxels};
    use ndarray::s;

    use super::*;

    #[test]
    fn smoothing_spreads_by_the_networks_voxel_along_each_axis() {
        let grid =
            Grid { size_ijk: [41, 31, 21], world_from_voxel: Affine::scale_shift([0.5, 1.0, 2.0], [0.0; 3]) };
        // The working grid has its axes in another order: i runs along the world's S.
        let onto = Grid {
            size_ijk: [10, 10, 10],
            world_from_voxel: Affine([[0., 2., 0., 0.], [0., 0., 3., 0.], [8., 0., 0., 0.]]),
        };
        let mut a = Array3::zeros((21, 31, 41));
        a[[10, 15, 20]] = 1.0;
        smooth(&mut a, &grid, &onto, 0.5);
        assert!((a.sum() - 1.0).abs() < 1e-5);
        // σ = ½ · (2, 3, 8) mm on voxels of (0.5, 1, 2) mm: 2, 1.5 and 2 voxels (less what lies beyond 2.5 σ).
        for (axis, sigma) in [(2, 2.0), (1, 1.5), (0, 2.0)] {
            let centre = [10.0, 15.0, 20.0][axis];
            let variance: f64 = a
                .indexed_iter()
                .map(|(p, &v)| f64::from(v) * ([p.0, p.1, p.2][axis] as f64 - centre).powi(2))
                .sum();
            assert!((variance.sqrt() / sigma - 0.95).abs() < 0.05, "axis {axis}: {}", variance.sqrt());
        }
        let mut flat = Array3::from_elem((5, 6, 7), 3.0_f32);
        smooth(&mut flat, &Grid::unit([7, 6, 5]), &onto, 1.0);
        assert!(flat.iter().all(|v| (v - 3.0).abs() < 1e-5), "borders are held");
    }

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
        let a = Array3::from_shape_fn((1, 1, 202), |(_, _, i)| i as f32 - 101.0);
        assert!((peak(&a, 99.0) - 99.01).abs() < 1e-4);
        assert!(peak(&Array3::from_elem((1, 1, 3), -1.0), 99.0).abs() < 1e-9);
    }
}
