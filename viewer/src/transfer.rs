//! Transfer functions: which values are seen in 3-D, in which colour and how densely.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::window::Window;

/// A value with its looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlPoint {
    /// Scaled value (HU in CT).
    pub value: f64,
    /// Red, green, blue (sRGB bytes).
    pub rgb: [u8; 3],
    /// What [`TransferFunction::unit_mm`] of such material hides of what lies behind: 0 (nothing) to 1 (all).
    pub opacity: f32,
}

/// Colour and opacity over values: straight lines between control points, the ends continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferFunction {
    /// Name as listed.
    pub name: String,
    /// Path length that [`ControlPoint::opacity`] refers to, millimetres, above 0. Makes pictures independent of the
    /// sampling.
    #[serde(default = "one_mm")]
    pub unit_mm: f64,
    /// At least one, values ascending ([`TransferFunction::sort`]).
    pub points: Vec<ControlPoint>,
}

fn one_mm() -> f64 {
    1.0
}

/// Entries of a sampled transfer function.
pub const TABLE_LEN: usize = 1024;

/// A transfer function sampled at [`TABLE_LEN`] equidistant values, ready for integration along a ray between two
/// samples (Engel's pre-integration without self-attenuation, from running integrals instead of a square table).
#[derive(Clone, Debug, PartialEq)]
pub struct TransferTable {
    /// Value of the first and of the last entry.
    pub domain: (f64, f64),
    /// Red, green, blue in 0..=1 and extinction per millimetre at each entry.
    pub density: Vec<[f32; 4]>,
    /// Integrals of `density` from the first entry, in entries: extinction-weighted red, green, blue, and extinction.
    pub integral: Vec<[f32; 4]>,
    /// Number of entries before the index with extinction above 0 (one longer than the table): tells in one
    /// subtraction whether a range of values is invisible.
    pub occupied: Vec<u32>,
    /// Table position up to which nothing is visible: the quick answer for most of the air. −1 when the first entry is.
    pub clear_until: f32,
}

impl TransferFunction {
    /// The same colours with opacities multiplied by `factor` (0..=1), so that what lies inside is seen.
    #[must_use]
    pub fn faded(&self, factor: f32) -> Self {
        let points = self.points.iter().map(|p| ControlPoint { opacity: p.opacity * factor, ..*p }).collect();
        Self { name: format!("{}, see-through", self.name), points, ..self.clone() }
    }

    /// Brings the control points into ascending order (stable, so a step of two points at one value keeps its sides).
    pub fn sort(&mut self) {
        self.points.sort_by(|a, b| a.value.total_cmp(&b.value));
    }

    /// Colour (0..=1) and opacity at a value. Without points: black and invisible. NaN: invisible.
    #[must_use]
    pub fn at(&self, value: f64) -> [f32; 4] {
        let look = |p: &ControlPoint| {
            let [r, g, b] = p.rgb.map(|c| f32::from(c) / 255.0);
            [r, g, b, p.opacity.clamp(0.0, 1.0)]
        };
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return [0.0; 4] };
        if value.is_nan() {
            return [0.0; 4];
        }
        if value <= first.value {
            return look(first);
        }
        if value >= last.value {
            return look(last);
        }
        let upper = self.points.partition_point(|p| p.value <= value).min(self.points.len() - 1);
        let (a, b) = (&self.points[upper.max(1) - 1], &self.points[upper]);
        let t = ((value - a.value) / (b.value - a.value).max(f64::MIN_POSITIVE)) as f32;
        let (x, y) = (look(a), look(b));
        [0, 1, 2, 3].map(|c| x[c] + (y[c] - x[c]) * t)
    }

    /// The values of the first and last control point, widened to at least 1e-6 of their size.
    #[must_use]
    pub fn domain(&self) -> (f64, f64) {
        let low = self.points.first().map_or(0.0, |p| p.value);
        let high = self.points.last().map_or(1.0, |p| p.value);
        (low, high.max(low + (low.abs() * 1e-6).max(1e-9)))
    }

    /// Samples the function for rendering.
    #[must_use]
    pub fn table(&self) -> TransferTable {
        let domain = self.domain();
        let step = (domain.1 - domain.0) / (TABLE_LEN - 1) as f64;
        let density: Vec<[f32; 4]> = (0..TABLE_LEN)
            .map(|n| {
                let [r, g, b, opacity] = self.at(domain.0 + n as f64 * step);
                // An opacity of 1 would be infinitely dense; 0.9999 of a unit hides all that eight bits can show.
                let extinction = -f64::from(1.0 - opacity.min(0.9999)).ln() / self.unit_mm.max(1e-9);
                [r, g, b, extinction as f32]
            })
            .collect();
        let mut integral = vec![[0.0f32; 4]; TABLE_LEN];
        let mut occupied = vec![0u32; TABLE_LEN + 1];
        let mut sum = [0.0f64; 4];
        for n in 0..TABLE_LEN {
            occupied[n + 1] = occupied[n] + u32::from(density[n][3] > 0.0);
            if n > 0 {
                let (a, b) = (density[n - 1].map(f64::from), density[n].map(f64::from));
                for c in 0..3 {
                    sum[c] += f64::midpoint(a[c] * a[3], b[c] * b[3]);
                }
                sum[3] += f64::midpoint(a[3], b[3]);
                integral[n] = sum.map(|v| v as f32);
            }
        }
        let clear = density.iter().take_while(|d| d[3] == 0.0).count();
        TransferTable { domain, density, integral, occupied, clear_until: clear as f32 - 1.0 }
    }

    /// The default for images without a known scale (MR above all), relative to the display window: what is dark in
    /// the window is air, skin is warm, bright tissue ivory.
    #[must_use]
    pub fn relative_to(window: Window) -> Self {
        let at = |t: f64, rgb, opacity| ControlPoint { value: window.low + t * window.width(), rgb, opacity };
        Self {
            name: "Tissue".into(),
            unit_mm: 1.0,
            points: vec![
                at(0.08, [84, 42, 32], 0.0),
                at(0.20, [172, 108, 84], 0.20),
                at(0.36, [220, 166, 136], 0.50),
                at(0.70, [242, 218, 196], 0.75),
                at(1.10, [255, 250, 242], 0.90),
            ],
        }
    }
}

impl TransferTable {
    /// Table position of a value: `position = value · factor + offset`, to be clamped to `0..=TABLE_LEN - 1`.
    #[must_use]
    pub fn position(&self) -> (f64, f64) {
        let factor = (TABLE_LEN - 1) as f64 / (self.domain.1 - self.domain.0);
        (factor, -self.domain.0 * factor)
    }

    /// Whether a value between the two (in scaled units, ends included) is visible. Conservative by one entry.
    #[must_use]
    pub fn is_visible(&self, low: f64, high: f64) -> bool {
        let (factor, offset) = self.position();
        let last = (TABLE_LEN - 1) as f64;
        let a = (low * factor + offset).clamp(0.0, last).floor() as usize;
        let b = (high * factor + offset).clamp(0.0, last).ceil() as usize;
        self.occupied[b + 1] > self.occupied[a]
    }
}

const FILES: [&str; 5] = [
    include_str!("../../assets/transfer/ct-bone.toml"),
    include_str!("../../assets/transfer/ct-soft-tissue.toml"),
    include_str!("../../assets/transfer/ct-skin.toml"),
    include_str!("../../assets/transfer/ct-lung.toml"),
    include_str!("../../assets/transfer/ct-vessels.toml"),
];

/// The presets for CT, values in HU, in the order of listing. One file each in `assets/transfer`.
#[must_use]
pub fn ct_presets() -> &'static [TransferFunction] {
    static PRESETS: LazyLock<Vec<TransferFunction>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|text| toml::from_str(text).expect("the preset files of this repository parse"))
            .collect()
    });
    &PRESETS
}

/// All presets for an image: the one relative to its window first, then those for CT.
#[must_use]
pub fn all_presets(window: Window) -> Vec<TransferFunction> {
    std::iter::once(TransferFunction::relative_to(window)).chain(ct_presets().iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_sorted_and_named() {
        for preset in all_presets(Window { low: 0.0, high: 100.0 }) {
            let mut sorted = preset.clone();
            sorted.sort();
            assert_eq!(sorted, preset);
            assert!(!preset.name.is_empty() && preset.points.len() >= 2 && preset.unit_mm > 0.0);
            assert!(preset.points.iter().all(|p| (0.0..=1.0).contains(&p.opacity)), "{}", preset.name);
            assert_eq!(preset.points[0].opacity, 0.0, "{}: air must be invisible", preset.name);
        }
    }

    #[test]
    fn straight_lines_between_points_and_flat_ends() {
        let p = |value, grey, opacity| ControlPoint { value, rgb: [grey; 3], opacity };
        let t = TransferFunction {
            name: "t".into(),
            unit_mm: 1.0,
            points: vec![p(10., 0, 0.), p(20., 255, 0.8)],
        };
        assert_eq!(t.at(0.0), [0.0; 4]);
        let middle = t.at(15.0);
        assert!((middle[3] - 0.4).abs() < 1e-6 && (middle[0] - 0.5).abs() < 1e-6);
        assert!((t.at(1e9)[3] - 0.8).abs() < 1e-6);
        assert_eq!(t.at(f64::NAN), [0.0; 4]);
    }

    #[test]
    fn the_table_tells_invisible_ranges() {
        let p = |value, opacity| ControlPoint { value, rgb: [255; 3], opacity };
        let points = vec![p(0., 0.), p(40., 0.), p(50., 0.5), p(60., 0.), p(100., 0.)];
        let table = TransferFunction { name: "t".into(), unit_mm: 1.0, points }.table();
        assert!(!table.is_visible(-5.0, 39.0) && !table.is_visible(61.0, 1e9));
        assert!(table.is_visible(0.0, 45.0) && table.is_visible(49.9, 50.1) && table.is_visible(0.0, 100.0));
    }

    #[test]
    fn integrals_match_the_closed_form_of_a_flat_function() {
        let p = |value| ControlPoint { value, rgb: [255, 0, 51], opacity: 0.25 };
        let table = TransferFunction { name: "t".into(), unit_mm: 2.0, points: vec![p(0.), p(1.)] }.table();
        let extinction = -(0.75f32.ln()) / 2.0;
        let last = table.integral[TABLE_LEN - 1];
        assert!((last[3] / (TABLE_LEN - 1) as f32 - extinction).abs() < 1e-6);
        assert!((last[2] / last[3] - 0.2).abs() < 1e-5 && last[1] == 0.0);
    }
}
