//! What is shown: layers over one another, one cursor through all panes. Plain data, cheap to clone (voxels are
//! shared), so that renderers on other threads work on a snapshot.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use formats::{Grid, Image, LabelTable, Shared, Volume};

use crate::colour_map::ColourMap;
use crate::view::Convention;
use crate::window::Window;

/// Names voxels for caches: two layers with equal `(ImageId, revision)` hold equal voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(u64);

/// Names a layer for as long as the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(u64);

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl ImageId {
    /// A name not given before.
    #[must_use]
    pub fn fresh() -> Self {
        Self(next())
    }
}

impl LayerId {
    /// A name not given before.
    #[must_use]
    pub fn fresh() -> Self {
        Self(next())
    }
}

/// Everything the renderers need besides the view.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Bottom layer first.
    pub layers: Vec<Layer>,
    /// The crosshair, RAS+ millimetres.
    pub cursor_ras: [f64; 3],
    /// On which side of the picture the patient's right is.
    pub convention: Convention,
    /// Linear interpolation between voxels of images; labels are always shown by the nearest voxel.
    pub interpolate: bool,
    /// Two layers of which slices show one on either side of a line.
    pub split: Option<Split>,
}

/// Two layers that share the picture of a slice, to be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Shown left of the line only.
    pub left: LayerId,
    /// Shown right of it only.
    pub right: LayerId,
    /// Where the line is, 0..=1 of the picture's width: the same place of the pane at every zoom.
    pub at: f64,
}

/// One image or segmentation in the stack.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name for the program.
    pub id: LayerId,
    /// Its name for people, e.g. the file name.
    pub name: String,
    /// Whether it is drawn.
    pub visible: bool,
    /// 0 (invisible) to 1, over what lies below.
    pub opacity: f32,
    /// What is drawn.
    pub content: Content,
}

/// What a layer holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Values or colours.
    Image(ImageLayer),
    /// A segmentation.
    Labels(LabelLayer),
}

/// Values with the way they are looked at.
#[derive(Clone, Debug)]
pub struct ImageLayer {
    /// Names the voxels (all frames).
    pub id: ImageId,
    /// The voxels; frames of a series lie on one grid.
    pub image: Arc<Image>,
    /// The frame shown, below `image.frames.len()`.
    pub frame: usize,
    /// Values shown at the ends of the colour map. Colour images ignore it.
    pub window: Window,
    /// Colours. Colour images ignore it.
    pub colour_map: ColourMap,
    /// Smallest and largest finite scaled value over all frames.
    pub value_range: (f64, f64),
}

/// A segmentation with the way it is looked at.
#[derive(Clone, Debug)]
pub struct LabelLayer {
    /// Names the voxels together with `revision`.
    pub id: ImageId,
    /// Grows with each edit.
    pub revision: u64,
    /// Label numbers `[k, j, i]`.
    pub labels: Shared<u16>,
    /// Placement.
    pub grid: Grid,
    /// Names, colours, visibility.
    pub table: Arc<LabelTable>,
    /// Draw borders opaque and the inside at the layer's opacity.
    pub outline: bool,
}

impl ImageLayer {
    /// The frame shown.
    ///
    /// # Panics
    /// Never while `frame` is below the number of frames.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.image.frames[self.frame.min(self.image.frames.len() - 1)]
    }
}

impl Layer {
    /// Placement of the voxels.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        match &self.content {
            Content::Image(image) => &image.volume().grid,
            Content::Labels(labels) => &labels.grid,
        }
    }

    /// The image, when it is one.
    #[must_use]
    pub fn image(&self) -> Option<&ImageLayer> {
        match &self.content {
            Content::Image(image) => Some(image),
            Content::Labels(_) => None,
        }
    }

    /// The segmentation, when it is one.
    #[must_use]
    pub fn labels(&self) -> Option<&LabelLayer> {
        match &self.content {
            Content::Labels(labels) => Some(labels),
            Content::Image(_) => None,
        }
    }
}

impl Scene {
    /// The layer with an id.
    #[must_use]
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.iter().find(|l| l.id == id)
    }

    /// The layer with an id, to be changed.
    pub fn layer_mut(&mut self, id: LayerId) -> Option<&mut Layer> {
        self.layers.iter_mut().find(|l| l.id == id)
    }

    /// The columns of a slice's picture, of so many, that a layer may be drawn in.
    #[must_use]
    pub fn columns(&self, layer: LayerId, width: usize) -> Range<usize> {
        let Some(split) = self.split else { return 0..width };
        let at = (split.at.clamp(0.0, 1.0) * width as f64).round() as usize;
        if layer == split.left {
            0..at
        } else if layer == split.right {
            at..width
        } else {
            0..width
        }
    }

    /// The box around all layers (outer voxel faces), RAS+ millimetres: least and greatest corner. `None` without
    /// layers.
    #[must_use]
    pub fn bounds_ras(&self) -> Option<([f64; 3], [f64; 3])> {
        let mut bounds: Option<([f64; 3], [f64; 3])> = None;
        for layer in &self.layers {
            let (low, high) = grid_bounds_ras(layer.grid());
            let b = bounds.get_or_insert((low, high));
            for a in 0..3 {
                b.0[a] = b.0[a].min(low[a]);
                b.1[a] = b.1[a].max(high[a]);
            }
        }
        bounds
    }
}

/// The box around a grid (outer voxel faces), RAS+ millimetres: least and greatest corner.
#[must_use]
pub fn grid_bounds_ras(grid: &Grid) -> ([f64; 3], [f64; 3]) {
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for corner in 0..8 {
        let p = grid.world_from_voxel.apply(
            [0, 1, 2].map(|a| if corner >> a & 1 == 0 { -0.5 } else { grid.size_ijk[a] as f64 - 0.5 }),
        );
        for a in 0..3 {
            low[a] = low[a].min(p[a]);
            high[a] = high[a].max(p[a]);
        }
    }
    (low, high)
}
