//! Colours for values: 256 steps from the low to the high end of the window.

use std::sync::Arc;

/// A named table of 256 colours. Clones share the table.
#[derive(Clone, Debug, PartialEq)]
pub struct ColourMap {
    /// Name as listed, e.g. `"grey"`.
    pub name: Arc<str>,
    /// Red, green, blue (sRGB bytes), and opacity of the value in an overlay (0..=255).
    pub rgba: Arc<[[u8; 4]; 256]>,
}

impl ColourMap {
    /// Black to white.
    #[must_use]
    pub fn grey() -> Self {
        let rgba = std::array::from_fn(|i| [i as u8, i as u8, i as u8, 255]);
        Self { name: "grey".into(), rgba: Arc::new(rgba) }
    }

    /// The colour at `t` (0..=1, clamped; NaN counts as 0), nearest table entry.
    #[must_use]
    pub fn at(&self, t: f32) -> [u8; 4] {
        self.rgba[(t.clamp(0.0, 1.0) * 255.0 + 0.5) as usize & 255]
    }
}
