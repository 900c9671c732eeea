//! Intensities brought to the range a network was trained on.
//!
//! Values are f32, sums f64, in a fixed order, so that results do not depend on the number of threads. Values that
//! are not finite take no part in the statistics and become the scheme's lowest result (0 for z-scores).

use ndarray::{ArrayViewMut2, ArrayViewMut3, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which voxels the statistics come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Every finite voxel.
    #[default]
    All,
    /// Finite voxels other than 0. The result of voxels that are 0 is 0 again for z-scores.
    Nonzero,
}

/// A rule for intensities. In a manifest: `scheme = "zscore"`, `of = "nonzero"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Scheme {
    /// Unchanged.
    None,
    /// Clipped to the percentiles `low` and `high` (0..=100) and scaled to 0..1. A percentile p of n sorted values
    /// lies at index p/100·(n − 1), linearly between neighbours (NumPy's default).
    Percentile {
        /// Lower percentile.
        low: f64,
        /// Upper percentile.
        high: f64,
        /// Which voxels.
        #[serde(default)]
        of: Of,
    },
    /// (x − mean) / deviation, the deviation with n in the denominator.
    Zscore {
        /// Which voxels.
        #[serde(default)]
        of: Of,
    },
    /// (x − min) / (max − min).
    Minmax,
    /// The same for each slice across one axis by itself, every voxel taking part; a constant slice becomes 0.
    SliceMinmax {
        /// The axis, 0 = i, 1 = j, 2 = k.
        axis: usize,
    },
    /// Clipped to `low..=high` and scaled to 0..1 (CT windows).
    Range {
        /// Becomes 0.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
}

/// Applies a scheme in place to one channel `[k, j, i]`. Constant input (or input without a voxel that takes part)
/// becomes 0.
///
/// # Errors
/// [`Error::Argument`] for percentiles or a range out of order, and an axis above 2.
pub fn normalise(mut array: ArrayViewMut3<'_, f32>, scheme: &Scheme) -> Result<()> {
    let out_of_order = |low: f64, high: f64| {
        Error::Argument(format!("a scheme from {low} to {high}: the lower end must lie below the upper"))
    };
    match *scheme {
        Scheme::None => {}
        Scheme::Percentile { low, high, of } => {
            if !(0.0 <= low && low < high && high <= 100.0) {
                return Err(out_of_order(low, high));
            }
            let (a, b) = percentiles(&array, low, high, of).unwrap_or((0.0, 0.0));
            stretch(&mut array, a, b);
        }
        Scheme::Zscore { of } => zscore(&mut array, of),
        Scheme::Minmax => {
            let (a, b) = range_of(array.iter());
            stretch(&mut array, f64::from(a), f64::from(b));
        }
        Scheme::SliceMinmax { axis } => {
            if axis > 2 {
                return Err(Error::Argument(format!(
                    "slices across axis {axis}; axes are 0 (i), 1 (j) and 2 (k)"
                )));
            }
            array.axis_iter_mut(Axis(2 - axis)).into_par_iter().for_each(slice_minmax);
        }
        Scheme::Range { low, high } => {
            if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
                return Err(out_of_order(low, high));
            }
            stretch(&mut array, low, high);
        }
    }
    Ok(())
}

/// Percentiles of the finite voxels that take part, or `None` when there are none. See [`Scheme::Percentile`].
#[must_use]
pub fn percentiles(array: &ndarray::ArrayRef3<f32>, low: f64, high: f64, of: Of) -> Option<(f64, f64)> {
    let mut values: Vec<f32> =
        array.iter().copied().filter(|v| v.is_finite() && (of == Of::All || *v != 0.0)).collect();
    if values.is_empty() {
        return None;
    }
    let mut at = |p: f64| {
        let place = p.clamp(0.0, 100.0) / 100.0 * (values.len() - 1) as f64;
        let below = place.floor() as usize;
        let (_, &mut a, above) = values.select_nth_unstable_by(below, f32::total_cmp);
        let b = above.iter().copied().min_by(f32::total_cmp).unwrap_or(a);
        let fraction = place - below as f64;
        f64::from(a) + fraction * (f64::from(b) - f64::from(a))
    };
    Some((at(low), at(high)))
}

fn range_of<'a>(values: impl Iterator<Item = &'a f32>) -> (f32, f32) {
    let start = (f32::INFINITY, f32::NEG_INFINITY);
    values.filter(|v| v.is_finite()).fold(start, |(a, b), &v| (a.min(v), b.max(v)))
}

/// `low..high` to 0..1, clipped; all 0 when the range is empty.
fn stretch(array: &mut ArrayViewMut3<'_, f32>, low: f64, high: f64) {
    let width = high - low;
    let is_empty = !(width > 0.0 && width.is_finite());
    array.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut plane| {
        for v in &mut plane {
            let x = if is_empty || !v.is_finite() { 0.0 } else { (f64::from(*v) - low) / width };
            *v = x.clamp(0.0, 1.0) as f32;
        }
    });
}

fn zscore(array: &mut ArrayViewMut3<'_, f32>, of: Of) {
    let counts = |v: f32| v.is_finite() && (of == Of::All || v != 0.0);
    // Two passes, planes summed in order: the mean first, so that large offsets cost no digits.
    let sums = |array: &ArrayViewMut3<'_, f32>, f: &(dyn Fn(f64) -> f64 + Sync)| -> (f64, u64) {
        let planes: Vec<(f64, u64)> = array
            .axis_iter(Axis(0))
            .into_par_iter()
            .map(|p| {
                p.iter().filter(|v| counts(**v)).fold((0.0, 0), |(s, n), &v| (s + f(f64::from(v)), n + 1))
            })
            .collect();
        planes.into_iter().fold((0.0, 0), |(s, n), (a, b)| (s + a, n + b))
    };
    let (sum, n) = sums(array, &|v| v);
    let mean = if n > 0 { sum / n as f64 } else { 0.0 };
    let (squares, _) = sums(array, &|v| (v - mean) * (v - mean));
    let deviation = if n > 0 { (squares / n as f64).sqrt() } else { 0.0 };
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    array.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut plane| {
        for v in &mut plane {
            *v = if counts(*v) { ((f64::from(*v) - mean) * scale) as f32 } else { 0.0 };
        }
    });
}

fn slice_minmax(mut slice: ArrayViewMut2<'_, f32>) {
    let (low, high) = range_of(slice.iter());
    let (low, width) = (f64::from(low), f64::from(high) - f64::from(low));
    let width = if width > 0.0 { width } else { 1.0 };
    for v in &mut slice {
        *v = if v.is_finite() { ((f64::from(*v) - low) / width) as f32 } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, s};

    fn sample() -> Array3<f32> {
        Array3::from_shape_fn((3, 4, 5), |(k, j, i)| if i == 0 { 0.0 } else { (k * 20 + j * 5 + i) as f32 })
    }

    #[test]
    fn percentiles_are_numpys() {
        let a = Array3::from_shape_fn((1, 1, 5), |(_, _, i)| [3.0, 1.0, 4.0, 1.5, f32::NAN][i]);
        // numpy.percentile([3, 1, 4, 1.5], [10, 50, 100])
        assert_eq!(percentiles(&a, 10.0, 50.0, Of::All), Some((1.15, 2.25)));
        assert_eq!(percentiles(&a, 0.0, 100.0, Of::All), Some((1.0, 4.0)));
        let zeros = Array3::<f32>::zeros((1, 1, 3));
        assert_eq!(percentiles(&zeros, 1.0, 99.0, Of::Nonzero), None);
        assert_eq!(percentiles(&zeros, 1.0, 99.0, Of::All), Some((0.0, 0.0)));
    }

    #[test]
    fn zscores_have_mean_0_and_deviation_1_where_they_count() {
        for of in [Of::All, Of::Nonzero] {
            let before = sample();
            let mut a = before.clone();
            normalise(a.view_mut(), &Scheme::Zscore { of }).unwrap();
            let pick: Vec<f64> = before
                .iter()
                .zip(&a)
                .filter(|(b, _)| of == Of::All || **b != 0.0)
                .map(|(_, v)| f64::from(*v))
                .collect();
            let mean = pick.iter().sum::<f64>() / pick.len() as f64;
            let square = pick.iter().map(|v| v * v).sum::<f64>() / pick.len() as f64;
            assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-5);
            if of == Of::Nonzero {
                assert!(a.slice(s![.., .., 0]).iter().all(|v| *v == 0.0));
            }
        }
    }

    #[test]
    fn slices_stretch_by_themselves() {
        let mut a = sample();
        a.slice_mut(s![.., .., 2]).fill(7.0);
        normalise(a.view_mut(), &Scheme::SliceMinmax { axis: 0 }).unwrap();
        assert!(a.slice(s![.., .., ..3]).iter().filter(|v| **v == 0.0).count() >= 24);
        assert_eq!(a[[2, 3, 4]], 1.0);
        assert_eq!(a[[0, 0, 4]], 0.0);
        assert!(normalise(a.view_mut(), &Scheme::SliceMinmax { axis: 3 }).is_err());
    }

    #[test]
    fn ranges_clip_and_odd_input_becomes_0() {
        let mut a =
            Array3::from_shape_fn((1, 1, 5), |(_, _, i)| [-2000.0, 0.0, 500.0, f32::NAN, f32::INFINITY][i]);
        normalise(a.view_mut(), &Scheme::Range { low: -1000.0, high: 1000.0 }).unwrap();
        assert_eq!(a.as_slice().unwrap(), [0.0, 0.5, 0.75, 0.0, 0.0]);
        for scheme in [
            Scheme::Minmax,
            Scheme::Zscore { of: Of::All },
            Scheme::Percentile { low: 1.0, high: 99.0, of: Of::Nonzero },
        ] {
            let mut a = Array3::from_elem((2, 2, 2), 5.0f32);
            normalise(a.view_mut(), &scheme).unwrap();
            assert!(a.iter().all(|v| *v == 0.0), "{scheme:?}");
        }
        let mut a = sample();
        assert!(normalise(a.view_mut(), &Scheme::Range { low: 1.0, high: 1.0 }).is_err());
        assert!(
            normalise(a.view_mut(), &Scheme::Percentile { low: 50.0, high: 101.0, of: Of::All }).is_err()
        );
    }
}
