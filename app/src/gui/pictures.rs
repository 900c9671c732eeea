//! Pictures of the scene as textures of the window: drawn by the graphics card where that is real, computed on threads
//! where it is not, and only when what they show changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eframe::egui::{ColorImage, Context, Rect, TextureHandle, TextureId, TextureOptions};
use eframe::{egui_wgpu::RenderState, wgpu};
use formats::LabelTable;
use viewer::gpu::{Gpu, RayCasts, Slices, Textures};
use viewer::raycast::{Pace, Pick, Quality, RayCaster};
use viewer::tools::VoxelBox;
use viewer::{Content, ImageId, LayerId, Picture, Plane, Scene, SliceView, VolumeView, Window};

use super::volume_thread::{Request, VolumeThread};

/// Bytes of voxels sent to the card per frame: what a slow bus takes in a few milliseconds.
const UPLOAD_BYTES: usize = 24 << 20;

/// Everything that makes pictures.
pub(super) struct Pictures {
    /// How the 3-D pane looks.
    pub(super) volume_view: VolumeView,
    card: Option<Card>,
    /// Slices computed on the processor, where there is no card (in tests of the layout).
    plain: [Option<(SliceKey, TextureHandle)>; 3],
    thread: VolumeThread,
    caster: Arc<RayCaster>,
    volume: Volume,
    resident: Option<(Instant, u64)>,
}

/// The 3-D picture.
#[derive(Default)]
struct Volume {
    asked: Option<VolumeKey>,
    number: u64,
    /// Whether `picture` answers `asked` in full quality.
    is_full: bool,
    picture: Option<TextureHandle>,
    note: String,
}

/// The graphics card's part.
struct Card {
    gpu: Gpu,
    textures: Textures,
    slices: Slices,
    /// The window's name of each picture, and the generation it was registered at.
    ids: [Option<(TextureId, u64)>; 3],
    /// Casts rays on the card; none where the processor is faster (software adapters).
    volume: Option<CardVolume>,
    problem: Option<String>,
}

/// Names voxels: an image and its frame, or a segmentation and its revision.
type VoxelsKey = (ImageId, u64);

/// The 3-D picture drawn by the card.
struct CardVolume {
    casts: RayCasts,
    id: Option<(TextureId, u64)>,
    pace: Pace,
    /// What was drawn last, when that changed last, and in which quality.
    drawn: Option<VolumeKey>,
    moved: Option<Instant>,
    quality: Quality,
    /// The voxels whose empty blocks are being found on another thread, and whether they are found.
    prepared: Option<(Vec<VoxelsKey>, Arc<AtomicBool>)>,
}

/// How long the view must rest before it is drawn in full quality.
const REST: Duration = Duration::from_millis(150);

/// What a picture depends on, for each layer.
#[derive(Clone, Debug, PartialEq)]
struct LayerKey {
    layer: LayerId,
    voxels: VoxelsKey,
    visible: bool,
    opacity: f32,
    window: Option<Window>,
    colours: Option<Arc<str>>,
    table: Option<Arc<LabelTable>>,
    outline: bool,
}

fn layer_keys(scene: &Scene) -> Vec<LayerKey> {
    let key = |layer: &viewer::Layer| {
        let (voxels, window, colours, table, outline) = match &layer.content {
            Content::Image(i) => {
                ((i.id, i.frame as u64), Some(i.window), Some(Arc::clone(&i.colour_map.name)), None, false)
            }
            Content::Labels(l) => ((l.id, l.revision), None, None, Some(Arc::clone(&l.table)), l.outline),
        };
        let (visible, opacity) = (layer.visible, layer.opacity);
        LayerKey { layer: layer.id, voxels, visible, opacity, window, colours, table, outline }
    };
    scene.layers.iter().map(key).collect()
}

/// What a slice computed on the processor depends on.
#[derive(Clone, Debug, PartialEq)]
struct SliceKey {
    layers: Vec<LayerKey>,
    view: SliceView,
    size_px: [usize; 2],
    cursor_ras: [f64; 3],
    convention: viewer::Convention,
    interpolate: bool,
    split: Option<viewer::Split>,
}

/// What the 3-D picture depends on.
#[derive(Clone, Debug, PartialEq)]
struct VolumeKey {
    layers: Vec<LayerKey>,
    view: VolumeView,
    size_px: [usize; 2],
    /// Only when slices are shown in it.
    cursor_ras: Option<[f64; 3]>,
}

impl Pictures {
    pub(super) fn new(state: Option<&RenderState>) -> Self {
        let card = state.map(|state| {
            let gpu = Gpu::new(&state.adapter.get_info(), state.device.clone(), state.queue.clone());
            let slices = Slices::new(&gpu);
            let volume = (!gpu.tier.is_software).then(|| CardVolume {
                casts: RayCasts::new(&gpu),
                id: None,
                pace: Pace::default(),
                drawn: None,
                moved: None,
                quality: Quality::FULL,
                prepared: None,
            });
            Card { gpu, textures: Textures::new(), slices, ids: [None; 3], volume, problem: None }
        });
        Self {
            volume_view: VolumeView::default(),
            card,
            plain: Default::default(),
            thread: VolumeThread::new(),
            caster: Arc::default(),
            volume: Volume::default(),
            resident: None,
        }
    }

    /// Begins anew on another device; views and what is known of voxels stay.
    pub(super) fn restart(&mut self, state: Option<&RenderState>) {
        let (volume_view, caster) = (std::mem::take(&mut self.volume_view), Arc::clone(&self.caster));
        *self = Self { volume_view, caster, ..Self::new(state) };
    }

    /// Name of the adapter, short and long.
    pub(super) fn adapter(&self) -> (String, String) {
        match &self.card {
            Some(card) if card.gpu.tier.is_software => (
                "no GPU: drawn by the processor".to_owned(),
                format!(
                    "{}. Everything works; 3-D is computed on threads of its own.",
                    card.gpu.tier.summary()
                ),
            ),
            Some(card) => (card.gpu.tier.adapter.clone(), card.gpu.tier.summary()),
            None => ("no graphics adapter".to_owned(), "Pictures are computed on the processor.".to_owned()),
        }
    }

    /// Resident memory of the program, looked up once a second.
    pub(super) fn resident_bytes(&mut self) -> Option<u64> {
        let is_old = self.resident.is_none_or(|(at, _)| at.elapsed() > Duration::from_secs(1));
        if is_old {
            self.resident = inference::memory::resident_bytes().map(|bytes| (Instant::now(), bytes));
        }
        self.resident.map(|(_, bytes)| bytes)
    }

    /// Sends voxels to the card; true while there is more to send.
    pub(super) fn upload(&mut self, scene: &Scene) -> bool {
        let Some(card) = &mut self.card else { return false };
        if !card.slices.needs_textures() {
            // A software adapter: slices and 3-D are drawn from memory, a second copy would serve nobody.
            return false;
        }
        match card.textures.update(&card.gpu, scene, UPLOAD_BYTES) {
            Ok(progress) => {
                card.problem = None;
                !progress.is_complete()
            }
            Err(error) => {
                card.problem = Some(error.to_string());
                false
            }
        }
    }

    /// Says that labels changed in a box only, so that only that is sent to the card.
    pub(super) fn labels_changed(&mut self, id: ImageId, from: u64, to: u64, bounds: &VoxelBox) {
        if let Some(card) = &mut self.card {
            card.textures.labels_changed(id, from, to, bounds.first_ijk, bounds.last_ijk.map(|n| n + 1));
        }
    }

    /// What keeps the card from showing everything.
    pub(super) fn problem(&self) -> Option<&str> {
        self.card.as_ref()?.problem.as_deref()
    }

    /// Remarks about layers that the card shows reduced.
    pub(super) fn notices(&self, scene: &Scene) -> Vec<(LayerId, formats::Notice)> {
        let Some(card) = &self.card else { return Vec::new() };
        let notice = |layer: &viewer::Layer| {
            let notice = match &layer.content {
                Content::Image(image) => card.textures.image(image)?.notice.clone(),
                Content::Labels(labels) => card.textures.labels(labels)?.notice.clone(),
            };
            notice.map(|n| (layer.id, n))
        };
        scene.layers.iter().filter_map(notice).collect()
    }

    /// The texture of a slice, drawn anew only when something in it changed. `view` is in millimetres per point of the
    /// screen.
    pub(super) fn slice(
        &mut self,
        ctx: &Context,
        state: Option<&RenderState>,
        scene: &Scene,
        view: SliceView,
        rect: Rect,
    ) -> Option<TextureId> {
        let (view, size_px) = in_pixels(ctx, view, rect)?;
        let index = Plane::ALL.iter().position(|p| *p == view.plane)?;
        let (Some(card), Some(state)) = (&mut self.card, state) else {
            return Some(self.plain_slice(ctx, scene, view, size_px, index));
        };
        let size = size_px.map(|n| n as u32);
        let drawn = card.slices.render(&card.gpu, &card.textures, scene, &view, size);
        let id = match card.ids[index] {
            Some((id, generation)) if generation == drawn.generation => return Some(id),
            Some((id, _)) => {
                state.renderer.write().update_egui_texture_from_wgpu_texture(
                    &card.gpu.device,
                    &drawn.view,
                    wgpu::FilterMode::Nearest,
                    id,
                );
                id
            }
            None => state.renderer.write().register_native_texture(
                &card.gpu.device,
                &drawn.view,
                wgpu::FilterMode::Nearest,
            ),
        };
        card.ids[index] = Some((id, drawn.generation));
        Some(id)
    }

    fn plain_slice(
        &mut self,
        ctx: &Context,
        scene: &Scene,
        view: SliceView,
        size_px: [usize; 2],
        index: usize,
    ) -> TextureId {
        let key = SliceKey {
            layers: layer_keys(scene),
            view,
            size_px,
            cursor_ras: scene.cursor_ras,
            convention: scene.convention,
            interpolate: scene.interpolate,
            split: scene.split,
        };
        if let Some((known, texture)) = &self.plain[index]
            && *known == key
        {
            return texture.id();
        }
        let picture = colour_image(&viewer::slice::render(scene, &view, size_px));
        let texture = ctx.load_texture(view.plane.name(), picture, TextureOptions::NEAREST);
        let id = texture.id();
        self.plain[index] = Some((key, texture));
        id
    }

    /// The texture of the 3-D picture: the newest there is; another is asked for when something in it changed.
    /// While `is_stroking` labels are being painted, only the card follows: a snapshot for a thread would make every
    /// step of the brush copy the labels.
    pub(super) fn volume(
        &mut self,
        ctx: &Context,
        state: Option<&RenderState>,
        scene: &Scene,
        rect: Rect,
        is_stroking: bool,
    ) -> Option<TextureId> {
        let scale = f64::from(ctx.pixels_per_point());
        let pixels = |points: f32| (f64::from(points) * scale).round().clamp(0.0, 8192.0) as usize;
        let size_px = [pixels(rect.width()), pixels(rect.height())];
        if size_px.contains(&0) {
            return None;
        }
        let shows_slices = self.volume_view.slices.contains(&true);
        let key = VolumeKey {
            layers: layer_keys(scene),
            view: self.volume_view.clone(),
            size_px,
            cursor_ras: shows_slices.then_some(scene.cursor_ras),
        };
        if let (Some(card), Some(state)) = (&mut self.card, state)
            && card.volume.is_some()
        {
            let is_full = card.volume(ctx, state, &self.caster, scene, &self.volume_view, &key);
            self.volume.asked = Some(key);
            self.volume.is_full = is_full;
            return card.volume.as_ref().and_then(|v| v.id).map(|(id, _)| id);
        }
        if self.volume.asked.as_ref() != Some(&key) && !is_stroking {
            self.volume.asked = Some(key);
            self.volume.is_full = false;
            self.volume.number += 1;
            let (number, view) = (self.volume.number, self.volume_view.clone());
            let request = Request { number, scene: scene.clone(), view, size_px };
            let waker = ctx.clone();
            self.thread.ask(request, &self.caster, move || waker.request_repaint());
        }
        if let Some(answer) = self.thread.take() {
            let image = colour_image(&answer.picture);
            match &mut self.volume.picture {
                Some(texture) => texture.set(image, TextureOptions::LINEAR),
                None => self.volume.picture = Some(ctx.load_texture("3-D", image, TextureOptions::LINEAR)),
            }
            self.volume.is_full = answer.is_full && answer.number == self.volume.number;
            let quality = if answer.is_full { "full quality" } else { "moving" };
            self.volume.note = format!("{:.0} ms, {quality}", answer.seconds * 1000.0);
        }
        self.volume.picture.as_ref().map(TextureHandle::id)
    }

    /// Whether the picture there is shows this scene in full quality.
    pub(super) fn has_full_volume(&self, scene: &Scene) -> bool {
        let is_of_now = self
            .volume
            .asked
            .as_ref()
            .is_some_and(|k| k.layers == layer_keys(scene) && k.view == self.volume_view);
        is_of_now && self.volume.is_full
    }

    /// What is seen at a place of the 3-D picture (points from its top left corner, of a picture of `size`).
    pub(super) fn pick(&self, scene: &Scene, size: [usize; 2], x: f64, y: f64) -> Option<Pick> {
        self.caster.pick(scene, &self.volume_view, size, x, y)
    }

    /// How the 3-D picture came about.
    pub(super) fn volume_note(&self) -> String {
        self.volume.note.clone()
    }
}

impl Card {
    /// Draws the 3-D picture when something in it changed; whether it is in full quality.
    fn volume(
        &mut self,
        ctx: &Context,
        state: &RenderState,
        caster: &Arc<RayCaster>,
        scene: &Scene,
        view: &VolumeView,
        key: &VolumeKey,
    ) -> bool {
        let Some(volume) = &mut self.volume else { return false };
        if !volume.is_prepared(ctx, caster, scene, view, key) {
            return false;
        }
        let now = Instant::now();
        if volume.drawn.as_ref() != Some(key) {
            if volume.moved.is_some_and(|at| now - at < REST) {
                // The time between two frames is what the card took, when it was the slower one.
                let seconds = f64::from(ctx.input(|i| i.unstable_dt));
                volume.pace.report(key.size_px, &volume.quality, seconds);
            }
            volume.moved = Some(now);
            volume.drawn = Some(key.clone());
        }
        let is_moving = volume.moved.is_some_and(|at| now - at < REST);
        volume.quality = if is_moving { Quality::moving(&volume.pace, key.size_px) } else { Quality::FULL };
        if is_moving {
            ctx.request_repaint_after(REST);
        }
        let size = key.size_px.map(|n| n as u32);
        let drawn =
            volume.casts.render(&self.gpu, &self.textures, caster, scene, view, size, &volume.quality);
        let filter = wgpu::FilterMode::Linear;
        match volume.id {
            Some((_, generation)) if generation == drawn.generation => {}
            Some((id, _)) => {
                let mut renderer = state.renderer.write();
                renderer.update_egui_texture_from_wgpu_texture(&self.gpu.device, &drawn.view, filter, id);
                volume.id = Some((id, drawn.generation));
            }
            None => {
                let id =
                    state.renderer.write().register_native_texture(&self.gpu.device, &drawn.view, filter);
                volume.id = Some((id, drawn.generation));
            }
        }
        volume.quality == Quality::FULL
    }
}

impl CardVolume {
    /// Whether the blocks that rays jump over are known; otherwise a thread finds them.
    fn is_prepared(
        &mut self,
        ctx: &Context,
        caster: &Arc<RayCaster>,
        scene: &Scene,
        view: &VolumeView,
        key: &VolumeKey,
    ) -> bool {
        let voxels: Vec<VoxelsKey> = key.layers.iter().map(|l| l.voxels).collect();
        if let Some((known, is_done)) = &self.prepared
            && (*known == voxels || !is_done.load(Ordering::Acquire))
        {
            return is_done.load(Ordering::Acquire);
        }
        let is_done = Arc::new(AtomicBool::new(false));
        self.prepared = Some((voxels, Arc::clone(&is_done)));
        let (caster, scene, view, waker) = (Arc::clone(caster), scene.clone(), view.clone(), ctx.clone());
        let prepare = move || {
            caster.prepare(&scene, &view);
            is_done.store(true, Ordering::Release);
            waker.request_repaint();
        };
        if std::thread::Builder::new().name("3-D structures".to_owned()).spawn(prepare).is_err() {
            self.prepared = None; // tried again with the next frame
        }
        false
    }
}

/// A view per point of the screen as one per pixel, and the picture's size; none when nothing would be seen.
fn in_pixels(ctx: &Context, mut view: SliceView, rect: Rect) -> Option<(SliceView, [usize; 2])> {
    let scale = ctx.pixels_per_point();
    let pixels = |points: f32| (points * scale).round().clamp(0.0, 8192.0) as usize;
    let size = [pixels(rect.width()), pixels(rect.height())];
    view.mm_per_px /= f64::from(scale);
    (!size.contains(&0)).then_some((view, size))
}

fn colour_image(picture: &Picture) -> ColorImage {
    ColorImage::from_rgba_unmultiplied(picture.size, bytemuck::cast_slice(&picture.rgba))
}
