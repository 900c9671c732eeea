//! Colours for values: 256 steps from the low to the high end of the window.
//!
//! A map is a file in `assets/colour_maps` and a line in `FILES`. A file has one control point per line, `position
//! red green blue [opacity]`: position from 0 to 1 in rising order, the rest from 0 to 255, opacity 255 unless given;
//! colours in between are interpolated. `#` starts a comment.

use std::sync::{Arc, OnceLock};

/// A named table of 256 colours. Clones share the table.
#[derive(Clone, Debug, PartialEq)]
pub struct ColourMap {
    /// Name as listed, e.g. `"grey"`.
    pub name: Arc<str>,
    /// Red, green, blue (sRGB bytes), and opacity of the value in an overlay (0..=255).
    pub rgba: Arc<[[u8; 4]; 256]>,
}

/// In the order of listing.
const FILES: [(&str, &str); 13] = [
    ("grey", include_str!("../../assets/colour_maps/grey.txt")),
    ("inverted", include_str!("../../assets/colour_maps/inverted.txt")),
    ("ct-bone", include_str!("../../assets/colour_maps/ct-bone.txt")),
    ("hot", include_str!("../../assets/colour_maps/hot.txt")),
    ("hot-metal", include_str!("../../assets/colour_maps/hot-metal.txt")),
    ("cool", include_str!("../../assets/colour_maps/cool.txt")),
    ("viridis", include_str!("../../assets/colour_maps/viridis.txt")),
    ("magma", include_str!("../../assets/colour_maps/magma.txt")),
    ("spectral", include_str!("../../assets/colour_maps/spectral.txt")),
    ("red", include_str!("../../assets/colour_maps/red.txt")),
    ("green", include_str!("../../assets/colour_maps/green.txt")),
    ("blue", include_str!("../../assets/colour_maps/blue.txt")),
    ("difference", include_str!("../../assets/colour_maps/difference.txt")),
];

impl ColourMap {
    /// All maps that come with the program, in the order of listing; grey first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<ColourMap>> = OnceLock::new();
        ALL.get_or_init(|| {
            let maps = FILES.iter().filter_map(|(name, text)| {
                Some(Self { name: (*name).into(), rgba: Arc::new(table(&control_points(text)?)) })
            });
            maps.collect()
        })
    }

    /// The map of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().iter().find(|m| *m.name == *name).cloned()
    }

    /// Black to white.
    #[must_use]
    pub fn grey() -> Self {
        let rgba = std::array::from_fn(|i| [i as u8, i as u8, i as u8, 255]);
        Self { name: "grey".into(), rgba: Arc::new(rgba) }
    }

    /// The colour at `t` (0..=1, clamped; NaN counts as 0), nearest table entry.
    #[must_use]
    pub fn at(&self, t: f32) -> [u8; 4] {
        self.rgba[Self::entry(t)]
    }

    /// The entry for `t`, as [`ColourMap::at`] takes it: 0..=255.
    #[must_use]
    pub fn entry(t: f32) -> usize {
        (t.clamp(0.0, 1.0) * 255.0 + 0.5) as usize & 255
    }
}

/// A position (0..=1) and its red, green, blue, opacity (0..=255).
type ControlPoint = (f64, [f64; 4]);

/// `None` unless every line is well formed, positions rise from 0 to 1 and numbers are in range.
fn control_points(text: &str) -> Option<Vec<ControlPoint>> {
    let mut points: Vec<ControlPoint> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
        match numbers[..] {
            [] => {}
            [at, r, g, b] => points.push((at, [r, g, b, 255.0])),
            [at, r, g, b, a] => points.push((at, [r, g, b, a])),
            _ => return None,
        }
    }
    let is_rising = points.windows(2).all(|w| w[0].0 < w[1].0);
    let in_range = points.iter().flat_map(|p| p.1).all(|v| (0.0..=255.0).contains(&v));
    let is_whole = points.first()?.0 == 0.0 && points.last()?.0 == 1.0;
    (is_rising && in_range && is_whole).then_some(points)
}

fn table(points: &[ControlPoint]) -> [[u8; 4]; 256] {
    std::array::from_fn(|n| {
        let t = n as f64 / 255.0;
        let above = points.iter().position(|p| p.0 >= t).unwrap_or(points.len() - 1);
        let (low, high) = (points[above.saturating_sub(1)], points[above]);
        let f = if high.0 > low.0 { (t - low.0) / (high.0 - low.0) } else { 0.0 };
        [0, 1, 2, 3].map(|c| (low.1[c] + (high.1[c] - low.1[c]) * f).round() as u8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_every_name_found() {
        let maps = ColourMap::all();
        assert_eq!(maps.len(), FILES.len(), "a file of assets/colour_maps is malformed");
        for (map, (name, _)) in maps.iter().zip(FILES) {
            assert_eq!(&*map.name, name);
            assert_eq!(ColourMap::by_name(name).as_ref(), Some(map));
        }
        assert_eq!(maps[0], ColourMap::grey());
        assert_eq!(ColourMap::by_name("no such map"), None);
    }

    #[test]
    fn maps_take_the_colours_their_definitions_say() {
        let at = |name: &str, t: f32| ColourMap::by_name(name).unwrap().at(t);
        assert_eq!(at("hot", 0.5), [255, 86, 0, 255]); // entry 128: (128/255 - 3/8) / (3/8) · 255 = 86.3
        assert_eq!(at("inverted", 1.0), [0, 0, 0, 255]);
        assert_eq!(at("cool", 0.0), [0, 255, 255, 255]);
        assert_eq!(at("viridis", 1.0), [0xfd, 0xe7, 0x25, 255]);
        assert_eq!(at("magma", 0.0), [0, 0, 4, 255]);
        assert_eq!(at("hot-metal", 0.0)[3], 0);
        assert_eq!(at("red", 0.0)[3], 0);
        assert_eq!(at("grey", f32::NAN), [0, 0, 0, 255]);
    }

    #[test]
    fn maps_even_to_the_eye_grow_brighter_all_the_way() {
        for name in ["grey", "viridis", "magma", "hot", "ct-bone"] {
            let map = ColourMap::by_name(name).unwrap();
            let luma =
                |c: [u8; 4]| 0.299 * f64::from(c[0]) + 0.587 * f64::from(c[1]) + 0.114 * f64::from(c[2]);
            assert!(map.rgba.windows(2).all(|w| luma(w[1]) >= luma(w[0]) - 0.6), "{name}");
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        for text in [
            "",
            "0 1 2",
            "0 1 2 3\n1 2 3 x",
            "0 1 2 3\n1 2 3 256",
            "0.5 1 2 3\n1 2 3 4",
            "0 1 2 3\n0 1 2 3\n1 1 1 1",
        ] {
            assert_eq!(control_points(text), None, "{text}");
        }
    }
}
