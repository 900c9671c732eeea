//! A piece of a slice before and after: what is computed on another thread, and its pictures.

use std::sync::Arc;

use eframe::egui::{self, ColorImage, Context, TextureHandle, TextureOptions};
use formats::{Affine, Grid, Image, Shared, Task, Volume, Voxels};
use models::family::Output;
use models::restorer::{Region, mixed, scale_of};
use viewer::{
    ColourMap, Content, ImageId, ImageLayer, Layer, LayerId, Picture, Plane, Scene, SliceView, Window,
};

use super::super::work::{Loaded, Product, Run};

/// Side of the piece in voxels, at most.
pub const SIDE: usize = 192;

/// A piece of a slice, restored at full strength: how much of it is shown is chosen afterwards.
#[derive(Debug)]
pub struct Previewed {
    /// The layer it is of.
    pub source: LayerId,
    /// The pack that was used.
    pub pack: String,
    /// Where it was cut from.
    pub region: Region,
    /// As it is.
    pub before: Volume,
    /// Restored.
    pub after: Volume,
    /// Largest change in values.
    pub largest: f64,
}

impl Run {
    /// Restores a piece of the slice through a voxel.
    ///
    /// # Errors
    /// Those of the run.
    pub fn preview(mut self, ijk: [usize; 3], loaded: &Loaded, task: &Task) -> anyhow::Result<Product> {
        let whole = self.channels.first().ok_or_else(|| anyhow::anyhow!("there is no image to preview"))?;
        let region = Region::about(whole, self.restoring.slices, ijk, SIDE);
        let before = region.cut(whole)?;
        task.at("looking at the values", 0.0)?;
        let frames = match &self.whole {
            Some(image) => &image.frames,
            None => &self.channels,
        };
        let scale = scale_of(&self.pack.manifest, frames);
        self.whole = None;
        self.channels = vec![before.clone()];
        self.restoring.strength = 1.0;
        let outcome = self.on(loaded, task, |run, pipeline| {
            let mut case = run.case();
            case.scale = Some(scale);
            Ok(pipeline.run(case, task)?)
        })?;
        let Output::Image(restored) = outcome.output else {
            anyhow::bail!("the pack {} does not answer with a picture", self.pack.id())
        };
        let after = restored.volume;
        let largest =
            difference(&before, &after).iter().filter(|v| v.is_finite()).fold(0.0f32, |m, v| m.max(v.abs()));
        Ok(Product::Previewed(Box::new(Previewed {
            source: self.source,
            pack: self.pack.id().to_owned(),
            region,
            before,
            after,
            largest: f64::from(largest),
        })))
    }
}

/// What changed, in values (luma of colours).
fn difference(before: &Volume, after: &Volume) -> Shared<f32> {
    let (before, mut after) = (before.to_f32(), after.to_f32().into_owned());
    after.zip_mut_with(&before, |a, b| *a -= b);
    after.into_shared()
}

/// What the pictures of a preview depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Part of the correction.
    pub strength: f64,
    /// Window of the layer.
    pub window: Window,
    /// Its colours.
    pub colour_map: ColourMap,
    /// On which side the patient's right is.
    pub convention: viewer::Convention,
    /// Whether pixels are smoothed.
    pub interpolate: bool,
    /// Pixels per side.
    pub side_px: usize,
}

/// Pictures of a preview on the card.
pub struct Pictures {
    look: Look,
    /// Before, after, difference.
    pub textures: [TextureHandle; 3],
    /// The change that is shown at the ends of the difference's colours.
    pub span: f64,
}

impl std::fmt::Debug for Pictures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pictures")
    }
}

impl Pictures {
    /// Whether these show that.
    pub fn are(&self, look: &Look) -> bool {
        self.look == *look
    }

    /// Draws a preview. The piece is small: this takes milliseconds.
    pub fn draw(ctx: &Context, preview: &Previewed, look: Look) -> Self {
        let after = mixed(&preview.before, &preview.after, look.strength);
        let change = difference(&preview.before, &after);
        // The same colours at every strength, so that a weaker one looks weaker.
        let span = preview.largest.max(f64::MIN_POSITIVE);
        let change =
            Volume { voxels: Voxels::F32(change), scaling: formats::Scaling::NONE, ..preview.before.clone() };
        let diverging = ColourMap::by_name("difference").unwrap_or_else(ColourMap::grey);
        let texture = |name: &str, volume: Volume, window: Window, map: ColourMap| {
            let picture = picture(volume, preview.region.axis, window, map, &look);
            let pixels: Vec<u8> = picture.rgba.into_iter().flatten().collect();
            ctx.load_texture(
                name,
                ColorImage::from_rgba_unmultiplied(picture.size, &pixels),
                TextureOptions::LINEAR,
            )
        };
        let textures = [
            texture("preview before", preview.before.clone(), look.window, look.colour_map.clone()),
            texture("preview after", after, look.window, look.colour_map.clone()),
            texture("preview difference", change, Window { low: -span, high: span }, diverging),
        ];
        Self { look, textures, span }
    }

    /// Paints before and after on either side of `divider` (0..=1 of the width).
    pub fn paint_split(&self, painter: &egui::Painter, rect: egui::Rect, divider: f32, line: egui::Color32) {
        let x = rect.left() + rect.width() * divider;
        for (texture, from, to) in [(&self.textures[0], 0.0, divider), (&self.textures[1], divider, 1.0)] {
            let part = egui::Rect::from_x_y_ranges(
                rect.left() + rect.width() * from..=rect.left() + rect.width() * to,
                rect.y_range(),
            );
            let uv = egui::Rect::from_min_max(egui::pos2(from, 0.0), egui::pos2(to, 1.0));
            painter.image(texture.id(), part, uv, egui::Color32::WHITE);
        }
        painter.vline(x, rect.y_range(), egui::Stroke::new(1.5, line));
        painter.circle_filled(egui::pos2(x, rect.center().y), 5.0, line);
    }
}

/// A slice, one voxel thick across `axis` (0 = i), as the panes would show it.
fn picture(volume: Volume, axis: usize, window: Window, colour_map: ColourMap, look: &Look) -> Picture {
    let axes = volume.grid.axes_ras();
    let plane = [Plane::Sagittal, Plane::Coronal, Plane::Axial][axes[axis].0];
    // An oblique piece is shown straight: cut along the world's planes it would be a strip.
    let mm = volume.grid.spacing_mm();
    let mut columns = [[0.0; 3]; 3];
    for (a, (world, is_positive)) in axes.into_iter().enumerate() {
        columns[a][world] = if is_positive { mm[a] } else { -mm[a] };
    }
    let grid =
        Grid { size_ijk: volume.grid.size_ijk, world_from_voxel: Affine::from_columns(columns, [0.0; 3]) };
    let image = Image {
        frames: vec![Volume { grid, ..volume }],
        frame_axes: Vec::new(),
        format: "",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    let layer = Layer {
        id: LayerId::fresh(),
        name: String::new(),
        visible: true,
        opacity: 1.0,
        content: Content::Image(ImageLayer {
            id: ImageId::fresh(),
            image: Arc::new(image),
            frame: 0,
            window,
            colour_map,
            value_range: (window.low, window.high),
        }),
    };
    let bounds = viewer::scene::grid_bounds_ras(&grid);
    let scene = Scene {
        layers: vec![layer],
        cursor_ras: crate::document::centre_ras(&grid),
        convention: look.convention,
        interpolate: look.interpolate,
        ..Scene::default()
    };
    let mut view = SliceView::fit(plane, bounds, [look.side_px as f64; 2]);
    view.mm_per_px /= 1.04; // without the margin
    viewer::slice::render(&scene, &view, [look.side_px; 2])
}
