//! What is computed once per volume and kept, and how a scene becomes a caster of rays.

use std::sync::{Arc, Mutex, PoisonError};

use super::blocks::{Blocks, LabelSet, distances, label_bit, label_sets, value_ranges};
use super::labels::{LabelField, Look, looks};
use super::light::Lamp;
use super::march::{Caster, ImageCast, LabelCast};
use super::setup::{Placed, Setup};
use super::texel::{Field, Layout, scaling, with_texels};
use super::{Quality, WithCaster};
use crate::scene::{ImageId, ImageLayer, LabelLayer, Scene};
use crate::transfer::{TransferFunction, TransferTable};
use crate::volume_view::{Mode, VolumeView, cast_label_layer, cast_layer};

/// Casts rays on the CPU and keeps, for the volumes of the last scene, what lets them skip empty space (about 1 % of
/// the voxels' memory). Share one between threads; a lock is held only while something is looked up or computed.
#[derive(Debug, Default)]
pub struct RayCaster {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    ranges: Vec<(ImageKey, Arc<Blocks<[f32; 2]>>)>,
    sets: Vec<(LabelKey, Arc<Blocks<LabelSet>>)>,
    image_distances: Option<(ImageKey, Visible, Arc<Blocks<u8>>)>,
    label_distances: Option<(LabelKey, Vec<Look>, Arc<Blocks<u8>>)>,
    table: Option<(TransferFunction, Arc<TransferTable>)>,
}

/// Image and frame.
type ImageKey = (ImageId, usize);
/// Labels and revision.
type LabelKey = (ImageId, u64);

/// What decides which blocks of an image can be seen.
#[derive(Clone, Debug, PartialEq)]
enum Visible {
    Transfer(TransferFunction, (f64, f64)),
    Surface(f32, bool),
}

/// The kept structures of one image.
#[derive(Clone, Debug)]
pub(crate) struct ImageStructure {
    pub ranges: Arc<Blocks<[f32; 2]>>,
    /// In the modes that jump over blocks.
    pub distances: Option<Arc<Blocks<u8>>>,
    pub table: Arc<TransferTable>,
}

/// The kept structures of one segmentation.
#[derive(Clone, Debug)]
pub(crate) struct LabelStructure {
    pub looks: Vec<Look>,
    pub distances: Arc<Blocks<u8>>,
}

/// Stored value of an isosurface and whether greater stored values are inside.
pub(crate) fn stored_surface(mode: Mode, (slope, inter): (f64, f64)) -> (f32, bool) {
    let Mode::Isosurface { value } = mode else { return (0.0, true) };
    (((value - inter) / slope) as f32, slope > 0.0)
}

impl RayCaster {
    /// The structures of an image, computed where they are not there yet.
    pub(crate) fn image_structure(&self, image: &ImageLayer, view: &VolumeView) -> ImageStructure {
        let key = (image.id, image.frame);
        let volume = image.volume();
        // A thread that panicked while it held the lock left whole entries or none.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = match kept.ranges.iter().find(|(k, _)| *k == key) {
            Some((_, ranges)) => ranges.clone(),
            None => {
                let ranges =
                    Arc::new(with_texels!(&volume.voxels, data => value_ranges(data, volume.grid.size_ijk)));
                kept.ranges.push((key, ranges.clone()));
                ranges
            }
        };
        let table = match &kept.table {
            Some((transfer, table)) if *transfer == view.transfer => table.clone(),
            _ => {
                let table = Arc::new(view.transfer.table());
                kept.table = Some((view.transfer.clone(), table.clone()));
                table
            }
        };
        let scaling = scaling(image);
        let visible = match view.mode {
            Mode::Composite => Visible::Transfer(view.transfer.clone(), scaling),
            Mode::Isosurface { .. } => {
                let (level, greater) = stored_surface(view.mode, scaling);
                Visible::Surface(level, greater)
            }
            _ => return ImageStructure { ranges, distances: None, table },
        };
        let distances = match &kept.image_distances {
            Some((k, v, distances)) if *k == key && *v == visible => distances.clone(),
            _ => {
                let new = Arc::new(match visible {
                    Visible::Transfer(..) => distances(&ranges, |&[low, high]| {
                        let scaled = |v: f32| f64::from(v) * scaling.0 + scaling.1;
                        let (a, b) = (scaled(low), scaled(high));
                        table.is_visible(a.min(b), a.max(b))
                    }),
                    Visible::Surface(level, greater) => {
                        distances(&ranges, |&[low, high]| if greater { high >= level } else { low <= level })
                    }
                });
                kept.image_distances = Some((key, visible, new.clone()));
                new
            }
        };
        ImageStructure { ranges, distances: Some(distances), table }
    }

    /// The structures of a segmentation, computed where they are not there yet.
    pub(crate) fn label_structure(&self, labels: &LabelLayer, opacity: f32) -> LabelStructure {
        let key = (labels.id, labels.revision);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = match kept.sets.iter().find(|(k, _)| *k == key) {
            Some((_, sets)) => sets.clone(),
            None => {
                let data = labels.labels.as_slice().unwrap_or_default();
                let sets = Arc::new(label_sets(data, labels.grid.size_ijk));
                kept.sets.push((key, sets.clone()));
                sets
            }
        };
        let largest = sets.data.iter().map(|s| s.largest).max().unwrap_or(0);
        let looks = looks(&labels.table, largest, opacity);
        let distances = match &kept.label_distances {
            Some((k, old, distances)) if *k == key && *old == looks => distances.clone(),
            _ => {
                let seen = looks.iter().enumerate().filter(|(_, l)| l.opacity > 0.0);
                let bits = seen.fold(0, |bits, (id, _)| bits | label_bit(id as u16));
                let new = Arc::new(distances(&sets, |set| set.bits & bits != 0));
                kept.label_distances = Some((key, looks.clone(), new.clone()));
                new
            }
        };
        LabelStructure { looks, distances }
    }

    /// Computes what a picture of this scene needs, to be called from a thread that may take its time (a few
    /// hundredths of a second for 256³, a tenth for 512³); pictures drawn later find it.
    pub fn prepare(&self, scene: &Scene, view: &VolumeView) {
        if let Some(image) = cast_layer(scene).and_then(|l| l.image()) {
            self.image_structure(image, view);
        }
        if let Some(labels) = cast_label_layer(scene).and_then(|l| l.labels()) {
            self.label_structure(labels, view.labels.opacity);
        }
    }

    /// Forgets volumes that a scene does not hold.
    fn forget_all_but(&self, scene: &Scene) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ranges.retain(|(k, _)| scene.layers.iter().any(|l| l.image().is_some_and(|i| i.id == k.0)));
        kept.sets.retain(|(k, _)| {
            scene.layers.iter().any(|l| l.labels().is_some_and(|l| (l.id, l.revision) == *k))
        });
    }

    /// Makes a caster for a scene and runs something with it.
    pub(crate) fn prepared<W: WithCaster>(
        &self,
        scene: &Scene,
        view: &VolumeView,
        size_px: [usize; 2],
        quality: &Quality,
        work: W,
    ) -> W::Out {
        self.forget_all_but(scene);
        let setup = Setup::new(scene, view, size_px, quality);
        let lamp = Lamp::new(&view.lighting, setup.lamp);
        let label_layer = cast_label_layer(scene);
        let label_parts = setup.labels.and_then(|placed| {
            let layer = label_layer?;
            let labels = layer.labels()?;
            Some((layer.opacity, labels, placed, self.label_structure(labels, view.labels.opacity)))
        });
        let labels = label_parts.as_ref().map(|(layer_opacity, labels, placed, structure)| LabelCast {
            field: LabelField {
                data: labels.labels.as_slice().unwrap_or_default(),
                layout: Layout::new(placed.size),
                looks: &structure.looks,
                smooth: view.labels.smooth,
            },
            placed: *placed,
            gradient: placed.gradient_matrix(),
            distances: quality.skip_empty.then_some(&*structure.distances),
            slice_opacity: layer_opacity.clamp(0.0, 1.0),
        });
        let image_layer = cast_layer(scene).and_then(|l| l.image());
        let (Some(placed), Some(layer)) = (setup.image, image_layer) else {
            let caster: Caster<'_, u8> = Caster {
                setup: &setup,
                mode: view.mode,
                lit: view.lighting.enabled,
                lamp: &lamp,
                image: None,
                labels,
            };
            return work.run(&caster);
        };
        let structure = self.image_structure(layer, view);
        let frame = ImageFrame { scene, view, layer, placed, structure: &structure, quality };
        with_texels!(&layer.volume().voxels, data => {
            work.run(&Caster {
                setup: &setup,
                mode: view.mode,
                lit: view.lighting.enabled,
                lamp: &lamp,
                image: Some(frame.cast(data)),
                labels,
            })
        })
    }
}

/// What an [`ImageCast`] is made from, apart from the typed voxels.
struct ImageFrame<'a> {
    scene: &'a Scene,
    view: &'a VolumeView,
    layer: &'a ImageLayer,
    placed: Placed,
    structure: &'a ImageStructure,
    quality: &'a Quality,
}

impl<'a> ImageFrame<'a> {
    fn cast<T>(&self, data: &'a [T]) -> ImageCast<'a, T> {
        let scaling = scaling(self.layer);
        let compose = |(factor, offset): (f64, f64)| {
            ((scaling.0 * factor) as f32, (scaling.1 * factor + offset) as f32)
        };
        ImageCast {
            field: Field { data, layout: Layout::new(self.placed.size) },
            placed: self.placed,
            gradient: self.placed.gradient_matrix(),
            distances: self.structure.distances.as_deref().filter(|_| self.quality.skip_empty),
            ranges: self.quality.skip_empty.then_some(&*self.structure.ranges),
            visible: self.view.image_visible,
            position: compose(self.structure.table.position()),
            table: &self.structure.table,
            window: compose(window_position(self.layer)),
            colours: &self.layer.colour_map,
            interpolate: self.scene.interpolate,
            surface: stored_surface(self.view.mode, scaling),
            surface_rgb: self.view.surface_rgb.map(|c| f32::from(c) / 255.0),
        }
    }
}

/// Factor and offset from (scaled) value to window position; colours use their whole range.
pub(crate) fn window_position(layer: &ImageLayer) -> (f64, f64) {
    let window = layer.window;
    let (low, high) = match super::texel::white(&layer.volume().voxels) {
        Some(white) => (0.0, white),
        None => (window.low, window.high),
    };
    let factor = 1.0 / (high - low).max(f64::MIN_POSITIVE);
    let factor = if factor.is_finite() { factor } else { 1e12 };
    (factor, -low * factor)
}
