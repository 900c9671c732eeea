//! The 3-D picture: its definition, on the CPU.
//!
//! One ray per pixel goes front to back through the bottom-most visible image and the topmost visible segmentation, on
//! whatever grids they lie, and ends early when nothing shines through any more. Samples are a fixed number of
//! millimetres apart ([`Quality::step_vox`] of the smallest voxel edge) and start at a fixed fraction of a step that
//! differs between neighbouring pixels. Between two samples the image's emission and absorption are integrated over
//! the values in between ([`crate::transfer::TransferTable`]), so a thin peak of the transfer function is not stepped
//! over. Labels are surfaces within the same ray: where it enters a visible label, the place is refined and the label's
//! colour put over what lies behind it. Blocks in which nothing can be seen are jumped over; this changes no pixel.
//!
//! [`RayCaster`] keeps what is computed once per volume. [`crate::gpu`] draws the same picture with the same
//! numbers.

pub(crate) mod blocks;
pub(crate) mod labels;
pub(crate) mod light;
pub(crate) mod march;
pub(crate) mod pace;
pub(crate) mod setup;
pub(crate) mod structures;
pub(crate) mod texel;
pub(crate) mod tiles;
pub(crate) mod walk;

use formats::Cancel;
use rayon::prelude::*;

pub use pace::Pace;
pub use structures::RayCaster;

use crate::picture::Picture;
use crate::scene::{LayerId, Scene};
use crate::volume_view::VolumeView;
use march::{Caster, EVERYWHERE, Seen};
use texel::Texel;
use tiles::TILE;

/// How much work goes into one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Distance of samples in edges of the smallest voxel, 0.05..=64.
    pub step_vox: f32,
    /// Size of the picture drawn over the size asked for, 0.05..=1.
    pub scale: f32,
    /// Start rays at different fractions of a step: fine grain instead of bands.
    pub jitter: bool,
    /// Jump over blocks in which nothing can be seen. Off only to test that it changes nothing.
    pub skip_empty: bool,
}

impl Quality {
    /// For a picture at rest: every pixel, one sample per voxel.
    pub const FULL: Self = Self { step_vox: 1.0, scale: 1.0, jitter: true, skip_empty: true };

    /// While the view moves: as sharp as the time per frame allows by what [`Pace`] has measured.
    #[must_use]
    pub fn moving(pace: &Pace, size_px: [usize; 2]) -> Self {
        pace.quality(size_px)
    }
}

impl Default for Quality {
    fn default() -> Self {
        Self::FULL
    }
}

/// What a click in the 3-D picture met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Where, RAS+ millimetres.
    pub ras: [f64; 3],
    /// The label met, `None` when it was the image or a slice.
    pub label: Option<u16>,
    /// The layer met.
    pub layer: LayerId,
}

impl RayCaster {
    /// Draws the scene. The picture is `quality.scale` times `size_px` large (at least one pixel); it shows the same
    /// section, to be enlarged. `None` when cancelled. Takes all threads of the current rayon pool.
    #[must_use]
    pub fn render(
        &self,
        scene: &Scene,
        view: &VolumeView,
        size_px: [usize; 2],
        quality: &Quality,
        cancel: &Cancel,
    ) -> Option<Picture> {
        struct Draw<'a> {
            view: &'a VolumeView,
            cancel: &'a Cancel,
        }
        impl WithCaster for Draw<'_> {
            type Out = Option<Picture>;
            fn run<T: Texel>(self, caster: &Caster<'_, T>) -> Option<Picture> {
                let size = caster.setup.size_px;
                let mut picture = Picture::black(size);
                let tiles = caster.tiles();
                let has_slices = !caster.setup.slices.is_empty();
                // Bands of whole tiles: neighbouring rays meet the same voxels while they are in the cache.
                let done = picture.rgba.par_chunks_mut(size[0] * TILE).enumerate().all(|(band, rows)| {
                    let height = rows.len() / size[0];
                    for left in (0..size[0]).step_by(TILE) {
                        if self.cancel.is_cancelled() {
                            return false;
                        }
                        let part = tiles.as_ref().map_or(EVERYWHERE, |t| t.at(left, band * TILE));
                        let is_empty = part[0] > part[1] && !has_slices;
                        for dy in 0..height {
                            let y = band * TILE + dy;
                            let behind = backdrop(self.view, y, size[1]);
                            for x in left..(left + TILE).min(size[0]) {
                                let seen = if is_empty { Seen::NOTHING } else { caster.pixel(x, y, part) };
                                rows[dy * size[0] + x] = finished(&seen, behind);
                            }
                        }
                    }
                    true
                });
                done.then_some(picture)
            }
        }
        self.prepared(scene, view, size_px, quality, Draw { view, cancel })
    }

    /// What lies under picture coordinates `(x, y)` of a picture of `size_px` (top left corner 0, 0): the first visible
    /// label surface, the place where the image has hidden half of what is behind, a slice, or in MIP and MinIP the
    /// extreme value. `None` where the background is seen.
    #[must_use]
    pub fn pick(
        &self,
        scene: &Scene,
        view: &VolumeView,
        size_px: [usize; 2],
        x: f64,
        y: f64,
    ) -> Option<Pick> {
        struct Click<'a> {
            view: &'a VolumeView,
            at: [f64; 2],
            size: [f64; 2],
        }
        impl WithCaster for Click<'_> {
            type Out = Option<([f64; 3], u16)>;
            fn run<T: Texel>(self, caster: &Caster<'_, T>) -> Self::Out {
                let ray = self.view.camera.ray(self.at[0], self.at[1], self.size);
                caster.ray(&ray, 0.5, EVERYWHERE).hit.map(|(t, id)| (ray.at(t), id))
            }
        }
        // Finer than the picture: a click is one ray.
        let quality = Quality { step_vox: 0.5, ..Quality::FULL };
        let click = Click { view, at: [x, y], size: size_px.map(|n| n.max(1) as f64) };
        let (ras, id) = self.prepared(scene, view, size_px, &quality, click)?;
        let label = (id != 0).then_some(id);
        let layer = if label.is_some() {
            crate::volume_view::cast_label_layer(scene)?
        } else {
            crate::volume_view::cast_layer(scene)?
        };
        Some(Pick { ras, label, layer: layer.id })
    }
}

/// [`RayCaster::render`] for one picture, with nothing kept for the next.
#[must_use]
pub fn render(
    scene: &Scene,
    view: &VolumeView,
    size_px: [usize; 2],
    quality: &Quality,
    cancel: &Cancel,
) -> Option<Picture> {
    RayCaster::default().render(scene, view, size_px, quality, cancel)
}

/// [`RayCaster::pick`] with nothing kept.
#[must_use]
pub fn pick(scene: &Scene, view: &VolumeView, size_px: [usize; 2], x: f64, y: f64) -> Option<Pick> {
    RayCaster::default().pick(scene, view, size_px, x, y)
}

/// Something done with a caster whose voxel type is known only when it runs.
pub(crate) trait WithCaster {
    type Out;
    fn run<T: Texel>(self, caster: &Caster<'_, T>) -> Self::Out;
}

/// The value of white in a colour image; 255 for others.
pub(crate) fn white_of(image: &crate::scene::ImageLayer) -> f64 {
    texel::white(&image.volume().voxels).unwrap_or(255.0)
}

/// The background in the middle of row `y` of `height`.
fn backdrop(view: &VolumeView, y: usize, height: usize) -> [f32; 3] {
    let t = (y as f32 + 0.5) / height as f32;
    let [top, bottom] = view.background.map(|c| c.map(|v| f32::from(v) / 255.0));
    [0, 1, 2].map(|a| top[a] + (bottom[a] - top[a]) * t)
}

/// A ray's colour over the background, as bytes.
fn finished(seen: &Seen, behind: [f32; 3]) -> [u8; 4] {
    let [r, g, b] = [0, 1, 2].map(|a| {
        let v = seen.rgb[a] + seen.left * behind[a];
        (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
    });
    [r, g, b, 255]
}
