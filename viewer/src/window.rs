//! Display windows: which values are shown as black and as white.

use formats::voxels::Scalar;
use formats::{Image, Volume, Voxels, for_scalar};
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

/// Values looked at to choose a window; more would not move a percentile by what an eye sees.
const WINDOW_SAMPLE: usize = 1 << 17;
/// Values looked at for a histogram of 256 bins.
const HISTOGRAM_SAMPLE: usize = 1 << 20;

/// The window that spans the 2nd to the 98th percentile of the finite non-zero values, from a sample of about 131,000
/// voxels spread evenly over the volume (all of them in smaller ones). Where those coincide, the range of the sample;
/// where that is one value too, the window of width 1 around it. Colour images get 0 to 255 and do not use it.
#[must_use]
pub fn auto_window(volume: &Volume) -> Window {
    let mut values = sample(volume, WINDOW_SAMPLE);
    values.retain(|&v| v != 0.0);
    if volume.voxels.is_colour() {
        return Window { low: 0.0, high: 255.0 };
    }
    let Some(last) = values.len().checked_sub(1) else { return Window { low: 0.0, high: 1.0 } };
    let mut percentile = |p: usize| *values.select_nth_unstable_by(last * p / 100, f64::total_cmp).1;
    for (low, high) in [(2, 98), (0, 100)] {
        let window = Window { low: percentile(low), high: percentile(high) };
        if window.low < window.high {
            return window;
        }
    }
    Window { low: values[0] - 0.5, high: values[0] + 0.5 }
}

/// The window to start with: the range the file suggests, the CT window "Abdomen" for Hounsfield units, else
/// [`auto_window`] of the first frame.
#[must_use]
pub fn suggested(image: &Image) -> Window {
    let Some(volume) = image.frames.first() else { return Window { low: 0.0, high: 1.0 } };
    if let Some((low, high)) =
        volume.meta.display_range.filter(|(l, h)| l.is_finite() && h.is_finite() && l < h)
    {
        return Window { low, high };
    }
    if looks_like_hu(volume) && !image.is_picture {
        return CT_PRESETS
            .iter()
            .find(|p| p.name == "Abdomen")
            .map_or_else(|| auto_window(volume), |p| p.window());
    }
    auto_window(volume)
}

/// Whether values are probably Hounsfield units: whole numbers that reach down to air (-900 or less, but not below the
/// -3024 of scanners' padding, as phase images do) and up to soft tissue. A guess from a sample: offer presets, do not
/// compute with it.
#[must_use]
pub fn looks_like_hu(volume: &Volume) -> bool {
    let values = sample(volume, WINDOW_SAMPLE);
    let (low, high) = range(&values);
    !volume.voxels.is_colour()
        && (-3100.0..=-900.0).contains(&low)
        && (50.0..=33_000.0).contains(&high)
        && values.iter().all(|v| v.fract() == 0.0)
}

impl Preset {
    /// The window it stands for.
    #[must_use]
    pub fn window(&self) -> Window {
        Window::level_width(self.level, self.width)
    }
}

/// How often values occur: 256 bins of equal width.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The lower edge of the first bin.
    pub low: f64,
    /// The upper edge of the last bin; above `low`.
    pub high: f64,
    /// Values per bin, of those looked at.
    pub counts: Vec<u32>,
    /// Finite values looked at.
    pub sampled: usize,
    /// Voxels of the volume.
    pub total: usize,
}

impl Histogram {
    /// Number of bins.
    pub const BINS: usize = 256;

    /// Of a volume, over a sample of about a million voxels spread evenly (all of them in smaller volumes), from the
    /// least to the greatest value met. `None` for colours and where no value is finite.
    #[must_use]
    pub fn of(volume: &Volume) -> Option<Self> {
        let values = sample(volume, HISTOGRAM_SAMPLE);
        if values.is_empty() {
            return None;
        }
        let (low, mut high) = range(&values);
        if high <= low {
            high = low + 1.0;
        }
        let mut counts = vec![0_u32; Self::BINS];
        let scale = Self::BINS as f64 / (high - low);
        for v in &values {
            counts[(((v - low) * scale) as usize).min(Self::BINS - 1)] += 1;
        }
        Some(Self { low, high, counts, sampled: values.len(), total: volume.grid.voxel_count() })
    }

    /// Heights of the bars for drawing, 0..=1: logarithmic, because background dwarfs everything else.
    #[must_use]
    pub fn heights(&self) -> Vec<f32> {
        let log = |n: u32| (f64::from(n) + 1.0).ln();
        let most = self.counts.iter().copied().max().map_or(1.0, log);
        self.counts.iter().map(|&n| (log(n) / most.max(1e-12)) as f32).collect()
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)))
}

/// About `count` finite scaled values (all when there are not more), one from each of as many equal stretches of
/// memory, at a place that varies from stretch to stretch so that no regular structure is met again and again. Empty
/// for colours; magnitudes of complex voxels.
fn sample(volume: &Volume, count: usize) -> Vec<f64> {
    fn pick<T: Copy>(all: &[T], count: usize, value: impl Fn(T) -> f64) -> Vec<f64> {
        if all.len() <= count {
            return all.iter().map(|&v| value(v)).filter(|v| v.is_finite()).collect();
        }
        let stretch = all.len() / count;
        let mut state = 0x2545_f491_u32;
        let places = (0..count).map(|n| {
            // xorshift32: the same voxels each time.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            n * stretch + state as usize % stretch
        });
        places.filter_map(|at| all.get(at).map(|&v| value(v))).filter(|v| v.is_finite()).collect()
    }
    let (slope, inter) = (volume.scaling.slope, volume.scaling.inter);
    let magnitude = |re: f64, im: f64| (re * slope + inter).hypot(im * slope);
    match &volume.voxels {
        Voxels::Complex32(a) => {
            pick(a.as_slice().unwrap_or_default(), count, |c| magnitude(c[0].into(), c[1].into()))
        }
        Voxels::Complex64(a) => pick(a.as_slice().unwrap_or_default(), count, |c| magnitude(c[0], c[1])),
        v => {
            for_scalar!(v, a => pick(a.as_slice().unwrap_or_default(), count, |v| v.to_f64() * slope + inter),
                         _ => Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{Grid, Meta, Scaling};
    use ndarray::Array3;

    fn volume(size: [usize; 3], value: impl Fn(usize) -> i16) -> Volume {
        let all = (0..size.iter().product()).map(value).collect();
        let array = Array3::from_shape_vec([size[2], size[1], size[0]], all).unwrap();
        Volume::new(Voxels::I16(array.into_shared()), Grid::unit(size)).unwrap()
    }

    fn image(volume: Volume) -> Image {
        let (frames, frame_axes, notices) = (vec![volume], Vec::new(), Vec::new());
        Image { frames, frame_axes, format: "nifti", encoding: String::new(), is_picture: false, notices }
    }

    #[test]
    fn the_automatic_window_ignores_background_and_tails() {
        // Half background; the rest even over 1..=1000, scaled by 2.
        let mut v = volume([100, 100, 20], |n| if n % 2 == 0 { 0 } else { (n / 2 % 1000 + 1) as i16 });
        v.scaling = Scaling { slope: 2.0, inter: 0.0 };
        let window = auto_window(&v);
        assert!((window.low - 42.0).abs() <= 14.0 && (window.high - 1962.0).abs() <= 14.0, "{window:?}");
    }

    #[test]
    fn the_sample_of_a_large_volume_finds_the_same_window() {
        let v = volume([128, 128, 128], |n| if n % 3 == 0 { 0 } else { (n % 997) as i16 });
        let window = auto_window(&v);
        assert!((window.low - 20.0).abs() < 8.0 && (window.high - 977.0).abs() < 8.0, "{window:?}");
        let histogram = Histogram::of(&v).unwrap();
        assert_eq!((histogram.low, histogram.high, histogram.total), (0.0, 996.0, 128 * 128 * 128));
        assert_eq!(histogram.counts.iter().sum::<u32>() as usize, histogram.sampled);
        let heights = histogram.heights();
        assert!(heights[0] == 1.0 && heights.iter().all(|h| (0.0..=1.0).contains(h)));
    }

    #[test]
    fn odd_volumes_still_have_a_window_of_some_width() {
        let constant = auto_window(&volume([3, 3, 3], |_| 7));
        assert_eq!(constant, Window { low: 6.5, high: 7.5 });
        assert!(auto_window(&volume([3, 3, 3], |_| 0)).width() > 0.0);
        // One bright voxel in a thousand equal ones: the percentiles coincide.
        let window = auto_window(&volume([10, 10, 10], |n| if n == 500 { 90 } else { 7 }));
        assert_eq!(window, Window { low: 7.0, high: 90.0 });
        let nothing = Array3::from_elem((2, 2, 2), f32::NAN).into_shared();
        let nothing = Volume::new(Voxels::F32(nothing), Grid::unit([2; 3])).unwrap();
        assert!(auto_window(&nothing).width() > 0.0);
        assert_eq!(Histogram::of(&nothing), None);
    }

    #[test]
    fn files_suggestions_come_first_and_hounsfield_units_are_recognised() {
        let ct = volume([20, 20, 20], |n| (n % 2000) as i16 - 1000);
        assert!(looks_like_hu(&ct));
        assert_eq!(suggested(&image(ct.clone())), Window { low: -140.0, high: 260.0 });
        let with_range = |range| {
            let meta = Meta { display_range: Some(range), ..Meta::default() };
            suggested(&image(Volume { meta, ..ct.clone() }))
        };
        assert_eq!(with_range((5.0, 50.0)), Window { low: 5.0, high: 50.0 });
        assert_eq!(with_range((0.0, 0.0)), Window { low: -140.0, high: 260.0 });
        assert!(!looks_like_hu(&volume([20, 20, 20], |n| (n % 900) as i16)));
        // The phase of an MR scan.
        assert!(!looks_like_hu(&volume([20, 20, 20], |n| (n % 8192) as i16 - 4096)));
    }
}
