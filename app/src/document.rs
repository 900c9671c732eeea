//! What is open and how it is looked at, apart from any window.
//!
//! Looks (windows, zoom, cameras) may be changed in place by whoever shows them; layers and labels change through the
//! methods here, so that the cursor, the active layer and the views stay consistent with them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::{FrameAxis, Grid, Image, LabelMap, LabelTable, Meta, Notice};
use serde::{Deserialize, Serialize};
use viewer::scene::grid_bounds_ras;
use viewer::{
    ColourMap, Content, ImageId, ImageLayer, LabelLayer, Layer, LayerId, Plane, Scene, SliceView, Split,
    Window,
};

/// A part of the window that shows a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pane {
    /// A slice.
    Slice(Plane),
    /// The volume in 3-D.
    Volume,
}

impl Pane {
    /// All panes, in the order in which layouts place them.
    pub const ALL: [Self; 4] =
        [Self::Slice(Plane::Axial), Self::Slice(Plane::Coronal), Self::Slice(Plane::Sagittal), Self::Volume];

    /// Name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Slice(plane) => plane.name(),
            Self::Volume => "3-D",
        }
    }
}

/// How panes share the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Two by two.
    #[default]
    Quad,
    /// The main pane large, the others in a column.
    OneLarge,
    /// The main pane alone.
    Single,
    /// The three slices side by side.
    Row,
}

/// What is known about a layer besides its voxels.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The file it came from or was saved to.
    pub path: Option<PathBuf>,
    /// Format and encoding, e.g. `"NIfTI-1, little-endian, gzip"`.
    pub encoding: String,
    /// What was odd about it.
    pub notices: Vec<Notice>,
    /// Everything else worth keeping when it is saved.
    pub meta: Meta,
    /// The layer that a result was computed from.
    pub source: Option<LayerId>,
    /// Whether there are changes that no file holds.
    pub is_modified: bool,
    /// Of a slice that stands for a file which is still being read: the window it was first shown with.
    pub preview: Option<Window>,
}

/// What is open and how it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Layers, cursor, convention, interpolation.
    pub scene: Scene,
    /// Of every layer.
    pub details: HashMap<LayerId, Details>,
    /// The layer that panels, window drags and keys are about.
    pub active: Option<LayerId>,
    /// Zoom and pan per plane, in the order of [`Plane::ALL`]; the whole scene is fitted into the pane when none.
    pub views: [Option<SliceView>; 3],
    /// How panes share the window.
    pub layout: Layout,
    /// The pane that [`Layout::OneLarge`] and [`Layout::Single`] show large.
    pub main: MainPane,
    /// The pane that fills the window for now.
    pub maximised: Option<Pane>,
    /// A restored image that was taken away and may come back.
    pub aside: Option<Box<Aside>>,
    /// Grows whenever layers come or go, so that caches know.
    pub generation: u64,
}

/// A layer out of the stack, with what belongs to it.
#[derive(Clone, Debug)]
pub struct Aside {
    layer: Layer,
    details: Details,
}

/// The pane shown large; axial at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainPane(pub Pane);

impl Default for MainPane {
    fn default() -> Self {
        Self(Pane::Slice(Plane::Axial))
    }
}

impl Document {
    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scene.layers.is_empty()
    }

    /// Whether only pictures (no place in space) are open: one large pane shows them.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        let is_flat = |l: &Layer| l.grid().size_ijk[2] == 1 && !self.is_preview(l.id);
        !self.is_empty() && self.scene.layers.iter().all(is_flat)
    }

    /// Whether a layer is but a slice of a file that is still being read: it can be looked at, nothing else.
    #[must_use]
    pub fn is_preview(&self, id: LayerId) -> bool {
        self.details.get(&id).is_some_and(|d| d.preview.is_some())
    }

    /// The active layer.
    #[must_use]
    pub fn active_layer(&self) -> Option<&Layer> {
        self.active.and_then(|id| self.scene.layer(id))
    }

    /// The active layer, to be changed.
    pub fn active_layer_mut(&mut self) -> Option<&mut Layer> {
        self.active.and_then(|id| self.scene.layer_mut(id))
    }

    /// The image that a model would run on: the active one, or the one the active labels came from, or the lowest.
    #[must_use]
    pub fn active_image(&self) -> Option<LayerId> {
        let is_image = |id: LayerId| self.scene.layer(id).is_some_and(|l| l.image().is_some());
        let active = self.active?;
        if is_image(active) {
            return Some(active);
        }
        let source = self.details.get(&active).and_then(|d| d.source).filter(|id| is_image(*id));
        source.or_else(|| self.scene.layers.iter().find(|l| l.image().is_some()).map(|l| l.id))
    }

    /// The segmentation that editing and the label table are about: the active one, or the topmost.
    #[must_use]
    pub fn active_labels(&self) -> Option<LayerId> {
        let active = self.active_layer().filter(|l| l.labels().is_some()).map(|l| l.id);
        active.or_else(|| self.scene.layers.iter().rev().find(|l| l.labels().is_some()).map(|l| l.id))
    }

    /// Adds an image on top of the other images and below the segmentations, and makes it active. The first layer
    /// also centres the cursor.
    pub fn add_image(
        &mut self,
        image: Image,
        name: String,
        window: Window,
        value_range: (f64, f64),
    ) -> LayerId {
        let first = image.first();
        let details = Details {
            path: first.meta.path.clone(),
            encoding: image.encoding.clone(),
            notices: image.notices.clone(),
            meta: first.meta.clone(),
            ..Details::default()
        };
        // A second image is an overlay: coloured and translucent, so that both are seen.
        let is_overlay = self.scene.layers.iter().any(|l| l.image().is_some());
        let colour_map = if is_overlay { ColourMap::by_name("hot") } else { None };
        let layer = Layer {
            id: LayerId::fresh(),
            name,
            visible: true,
            opacity: if is_overlay { 0.5 } else { 1.0 },
            content: Content::Image(ImageLayer {
                id: ImageId::fresh(),
                image: Arc::new(image),
                frame: 0,
                window,
                colour_map: colour_map.unwrap_or_else(ColourMap::grey),
                value_range,
            }),
        };
        let at = self.scene.layers.iter().take_while(|l| l.image().is_some()).count();
        self.insert(at, layer, details)
    }

    /// Adds a restored image directly above its source, looked at like it, and makes it active. It counts as changed until
    /// it is saved.
    pub fn add_restored(
        &mut self,
        image: Image,
        name: String,
        source: LayerId,
        value_range: (f64, f64),
    ) -> Option<LayerId> {
        let at = self.scene.layers.iter().position(|l| l.id == source)?;
        let below = self.scene.layers[at].image()?;
        let (window, colour_map) = (below.window, below.colour_map.clone());
        // The same frame of a series.
        let frame = below.frame.min(image.frames.len().saturating_sub(1));
        let details = Details {
            notices: image.notices.clone(),
            meta: image.first().meta.clone(),
            source: Some(source),
            is_modified: true,
            ..Details::default()
        };
        let content = Content::Image(ImageLayer {
            id: ImageId::fresh(),
            image: Arc::new(image),
            frame,
            window,
            colour_map,
            value_range,
        });
        let layer = Layer { id: LayerId::fresh(), name, visible: true, opacity: 1.0, content };
        self.aside = None;
        Some(self.insert(at + 1, layer, details))
    }

    /// Whether a layer is a restored image that was computed from another one that is open.
    #[must_use]
    pub fn is_restored_here(&self, id: LayerId) -> bool {
        self.details.get(&id).is_some_and(|d| d.source.is_some() && models::restorer::is_restored(&d.meta))
    }

    /// An image and what was restored of it, to be compared: the active restored one, or the topmost.
    #[must_use]
    pub fn compared(&self) -> Option<[LayerId; 2]> {
        let pair = |id: LayerId| {
            let source = self.details.get(&id).filter(|_| self.is_restored_here(id))?.source?;
            self.scene.layer(source).map(|_| [source, id])
        };
        self.active.and_then(pair).or_else(|| self.scene.layers.iter().rev().find_map(|l| pair(l.id)))
    }

    /// Shows the two images of [`Document::compared`] in a copy of the scene, opaque and on either side of a line, and
    /// no other image that was restored of the same one. `at`: 0..=1 of the width of a pane.
    pub fn split(&self, scene: &mut Scene, at: f64) {
        let Some([left, right]) = self.compared() else { return };
        for layer in &mut scene.layers {
            if layer.id == left || layer.id == right {
                (layer.visible, layer.opacity) = (true, 1.0);
            } else if self.is_restored_here(layer.id)
                && self.details.get(&layer.id).and_then(|d| d.source) == Some(left)
            {
                layer.visible = false;
            }
        }
        scene.split = Some(Split { left, right, at });
    }

    /// Takes a restored image out of the stack, for [`Document::bring_back`]; its source becomes active.
    pub fn set_aside(&mut self, id: LayerId) {
        let (Some(layer), Some(details)) = (self.scene.layer(id).cloned(), self.details.get(&id).cloned())
        else {
            return;
        };
        let source = details.source;
        self.remove(id);
        self.active = source.filter(|id| self.scene.layer(*id).is_some()).or(self.active);
        self.aside = Some(Box::new(Aside { layer, details }));
    }

    /// Puts the image back that was set aside last, if its source is still there.
    pub fn bring_back(&mut self) -> bool {
        let Some(aside) = self.aside.take() else { return false };
        let at = self.scene.layers.iter().position(|l| Some(l.id) == aside.details.source);
        let Some(at) = at else { return false };
        self.insert(at + 1, aside.layer, aside.details);
        true
    }

    /// Marks an image that was just added as a slice of a file that is still being read.
    pub fn mark_preview(&mut self, id: LayerId) {
        let window = self.scene.layer(id).and_then(Layer::image).map(|i| i.window);
        if let Some(details) = self.details.get_mut(&id) {
            details.preview = window;
        }
    }

    /// Puts the whole image where a slice stood for it; what the user chose meanwhile (window, colours, opacity, views,
    /// cursor) stays. False when the layer is gone.
    pub fn complete(&mut self, id: LayerId, image: Image, window: Window, value_range: (f64, f64)) -> bool {
        let Some(Content::Image(layer)) = self.scene.layer_mut(id).map(|l| &mut l.content) else {
            return false;
        };
        let Some(details) = self.details.get_mut(&id) else { return false };
        let first = image.first();
        details.encoding.clone_from(&image.encoding);
        details.notices.clone_from(&image.notices);
        details.meta = first.meta.clone();
        if details.preview.take() == Some(layer.window) {
            layer.window = window;
        }
        layer.id = ImageId::fresh();
        layer.image = Arc::new(image);
        layer.frame = 0;
        layer.value_range = value_range;
        self.generation += 1;
        true
    }

    /// Adds a segmentation on top and makes it active.
    pub fn add_labels(
        &mut self,
        labels: LabelMap,
        name: String,
        source: Option<LayerId>,
        notices: Vec<Notice>,
    ) -> LayerId {
        let details = Details {
            path: labels.meta.path.clone(),
            encoding: String::new(),
            notices,
            meta: labels.meta,
            source,
            is_modified: source.is_some(),
            preview: None,
        };
        let layer = Layer {
            id: LayerId::fresh(),
            name,
            visible: true,
            opacity: 0.5,
            content: Content::Labels(LabelLayer {
                id: ImageId::fresh(),
                revision: 0,
                labels: labels.labels,
                grid: labels.grid,
                table: Arc::new(labels.table),
                outline: false,
            }),
        };
        self.insert(self.scene.layers.len(), layer, details)
    }

    /// An empty segmentation on the grid of an image, with one label to paint with.
    pub fn add_empty_labels(&mut self, image: LayerId) -> Option<LayerId> {
        let layer = self.scene.layer(image)?;
        let (grid, name) = (*layer.grid(), format!("{} labels", layer.name));
        let labels = formats::Shared::zeros(grid.shape_kji());
        let entry = formats::LabelEntry::new(1, "Label 1", formats::labels::default_rgb(1));
        let table = LabelTable { entries: vec![entry] };
        let map = LabelMap { labels, grid, table, meta: Meta::default() };
        let id = self.add_labels(map, name, Some(image), Vec::new());
        if let Some(details) = self.details.get_mut(&id) {
            details.is_modified = false;
        }
        Some(id)
    }

    fn insert(&mut self, at: usize, layer: Layer, details: Details) -> LayerId {
        let id = layer.id;
        if self.is_empty() {
            self.scene.cursor_ras = centre_ras(layer.grid());
            self.views = [None; 3];
        }
        self.details.insert(id, details);
        self.scene.layers.insert(at.min(self.scene.layers.len()), layer);
        self.active = Some(id);
        self.generation += 1;
        id
    }

    /// Takes a layer away; the one below (or above) becomes active.
    pub fn remove(&mut self, id: LayerId) {
        let Some(at) = self.scene.layers.iter().position(|l| l.id == id) else { return };
        self.scene.layers.remove(at);
        self.details.remove(&id);
        for details in self.details.values_mut() {
            if details.source == Some(id) {
                details.source = None;
            }
        }
        if self.active == Some(id) {
            let next = at.saturating_sub(1).min(self.scene.layers.len().saturating_sub(1));
            self.active = self.scene.layers.get(next).map(|l| l.id);
        }
        if self.is_empty() {
            self.maximised = None;
        }
        self.generation += 1;
    }

    /// Moves a layer up (towards the viewer, `by` positive) or down the stack.
    pub fn reorder(&mut self, id: LayerId, by: isize) {
        let Some(at) = self.scene.layers.iter().position(|l| l.id == id) else { return };
        let to = at.saturating_add_signed(by).min(self.scene.layers.len() - 1);
        let layer = self.scene.layers.remove(at);
        self.scene.layers.insert(to, layer);
    }

    /// Makes the next (`by` = 1) or previous (−1) layer active.
    pub fn cycle_active(&mut self, by: isize) {
        let count = self.scene.layers.len();
        if count == 0 {
            return;
        }
        let at = self.scene.layers.iter().position(|l| Some(l.id) == self.active).unwrap_or(0);
        let next = (at as isize + by).rem_euclid(count as isize) as usize;
        self.active = Some(self.scene.layers[next].id);
    }

    /// Shows or hides everything above the lowest image.
    pub fn toggle_overlays(&mut self) {
        let base = self.scene.layers.iter().position(|l| l.image().is_some()).unwrap_or(0);
        let is_shown = self.scene.layers.iter().enumerate().any(|(n, l)| n != base && l.visible);
        for (n, layer) in self.scene.layers.iter_mut().enumerate() {
            if n != base {
                layer.visible = !is_shown;
            }
        }
    }

    /// The size of one slice step through a plane, in millimetres: the spacing of the reference layer's axis closest
    /// to the axis through the plane.
    #[must_use]
    pub fn step_mm(&self, plane: Plane) -> f64 {
        let Some(layer) = self.reference() else { return 1.0 };
        let through = plane.axes()[2];
        let axes = layer.grid().axes_ras();
        let axis = axes.iter().position(|(world, _)| *world == through).unwrap_or(0);
        // What one voxel step moves along the world axis: for oblique scans less than the spacing.
        let step = layer.grid().world_from_voxel.column(axis)[through].abs();
        if step > 1e-6 { step } else { 1.0 }
    }

    /// The layer whose voxels slices step through: the active one, else the lowest.
    #[must_use]
    pub fn reference(&self) -> Option<&Layer> {
        self.active_layer().or_else(|| self.scene.layers.first())
    }

    /// Moves the cursor by whole slices through a plane, within the scene.
    pub fn scroll(&mut self, plane: Plane, steps: i64) {
        let through = plane.axes()[2];
        let mut to = self.scene.cursor_ras;
        to[through] += self.step_mm(plane) * steps as f64;
        self.move_cursor(to);
    }

    /// Puts the cursor at a world point, kept within the box around all layers; on slices that are parallel to the
    /// voxels of the reference layer it snaps to their centres, so that no picture lies between two slices.
    pub fn move_cursor(&mut self, ras: [f64; 3]) {
        let Some((low, high)) = self.scene.bounds_ras() else { return };
        let mut p = [0, 1, 2].map(|a| ras[a].clamp(low[a], high[a]));
        if let Some(grid) = self.reference().map(Layer::grid)
            && !grid.is_oblique()
            && let Some(voxel_from_world) = grid.voxel_from_world()
        {
            let v = voxel_from_world.apply(p);
            let inside = [0, 1, 2].map(|a| v[a].round().clamp(0.0, (grid.size_ijk[a] - 1) as f64));
            // A cursor outside this layer (in another one) is left where it is.
            if (0..3).all(|a| (v[a] - inside[a]).abs() <= 0.75) {
                p = grid.world_from_voxel.apply(inside);
            }
        }
        self.scene.cursor_ras = p;
    }

    /// Shows everything again: whole scene in all panes, cursor in the middle.
    pub fn reset_views(&mut self) {
        self.views = [None; 3];
        if let Some(layer) = self.reference() {
            let centre = centre_ras(layer.grid());
            self.move_cursor(centre);
        }
    }

    /// The frame axes of the active image, when it has more than one frame.
    #[must_use]
    pub fn frames(&self) -> Option<(LayerId, usize, usize, Vec<FrameAxis>)> {
        let id = self.active_image()?;
        let image = self.scene.layer(id)?.image()?;
        let count = image.image.frames.len();
        (count > 1).then(|| (id, image.frame, count, image.image.frame_axes.clone()))
    }

    /// Shows another frame of an image (wrapping round), and of all other images with as many frames.
    pub fn set_frame(&mut self, id: LayerId, frame: usize) {
        let Some(count) = self.scene.layer(id).and_then(Layer::image).map(|i| i.image.frames.len()) else {
            return;
        };
        for layer in &mut self.scene.layers {
            if let Content::Image(image) = &mut layer.content
                && image.image.frames.len() == count
            {
                image.frame = frame % count;
            }
        }
    }

    /// A segmentation as it would be saved.
    #[must_use]
    pub fn label_map(&self, id: LayerId) -> Option<LabelMap> {
        let layer = self.scene.layer(id)?.labels()?;
        let meta = self.details.get(&id).map(|d| d.meta.clone()).unwrap_or_default();
        Some(LabelMap { labels: layer.labels.clone(), grid: layer.grid, table: (*layer.table).clone(), meta })
    }

    /// Notes that a layer was written to a file.
    pub fn saved(&mut self, id: LayerId, path: &Path) {
        if let Some(details) = self.details.get_mut(&id) {
            details.path = Some(path.to_owned());
            details.is_modified = false;
        }
    }

    /// Layers with changes that no file holds.
    #[must_use]
    pub fn unsaved(&self) -> Vec<&Layer> {
        let is_modified = |l: &&Layer| self.details.get(&l.id).is_some_and(|d| d.is_modified);
        self.scene.layers.iter().filter(is_modified).collect()
    }

    /// Facts about a layer worth reading, in the order of keys.
    #[must_use]
    pub fn facts(&self, id: LayerId) -> BTreeMap<String, String> {
        self.details.get(&id).map(|d| d.meta.facts.clone()).unwrap_or_default()
    }
}

/// The middle of a grid, at a voxel centre, RAS+ millimetres.
#[must_use]
pub fn centre_ras(grid: &Grid) -> [f64; 3] {
    grid.world_from_voxel.apply([0, 1, 2].map(|a| (grid.size_ijk[a] / 2).min(grid.size_ijk[a] - 1) as f64))
}

/// The box in which a pane fits its picture: that of the reference layer, so that a small overlay far away does not
/// shrink everything.
#[must_use]
pub fn fit_bounds(document: &Document) -> Option<([f64; 3], [f64; 3])> {
    document.scene.layers.first().map(|l| grid_bounds_ras(l.grid()))
}
