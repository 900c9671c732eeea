//! What the renderers on the CPU draw into.

/// An opaque picture: sRGB bytes as screens take them, row by row from the top left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Red, green, blue, alpha (255), `size[0] * size[1]` of them.
    pub rgba: Vec<[u8; 4]>,
}

impl Picture {
    /// A black picture.
    #[must_use]
    pub fn black(size: [usize; 2]) -> Self {
        Self { size, rgba: vec![[0, 0, 0, 255]; size[0] * size[1]] }
    }

    /// The pixel at column `x`, row `y`.
    ///
    /// # Panics
    /// Outside the picture.
    #[must_use]
    pub fn at(&self, x: usize, y: usize) -> [u8; 4] {
        self.rgba[y * self.size[0] + x]
    }
}
