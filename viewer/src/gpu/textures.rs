//! Voxels on the graphics card.
//!
//! ```text
//! let progress = textures.update(&gpu, &scene, budget_bytes)?;   // once per frame: makes, uploads, forgets
//! textures.image(layer)   -> Option<&ImageTexture>               // the frame shown by an `ImageLayer`
//! textures.labels(layer)  -> Option<&LabelTexture>               // the labels of a `LabelLayer`, and their colours
//! ```
//!
//! [`Textures::update`] uploads slab by slab, at most about `budget_bytes` per call; until a volume is complete its
//! texture is there but only the first `ready_slices` slices (along k) hold voxels. Draw what is ready and call again.
//!
//! **Values.** `value = scale[0] · texel + scale[1]`, where `texel` is the red channel as a shader reads it (0..=1 in
//! normalised formats); `texel >= invalid_from` means that the voxel has no finite value. Compose the two factors with
//! those of the window in f64 before they go into a uniform. Colour images are `Rgba8Unorm`, premultiplied by alpha.
//! All image formats may be bound as `Float { filterable: true }` (`R32Float` is chosen only where it filters).
//!
//! **Labels** are `R8Uint` while no number exceeds 255, else `R16Uint`. `palette` is a 2-D `Rgba8Unorm` texture, 256
//! wide: the colour of label `n` (not premultiplied; alpha 0 when hidden) is at `(n & 255, n >> 8)`.
//! After an edit, [`Textures::labels_changed`] says which box differs, and only that is uploaded.
//!
//! **Place.** [`VolumeTexture::texcoord_from_voxel`] maps voxel indices (centres at whole numbers) to texture
//! coordinates in 0..=1, also where the texture is smaller than the volume: volumes beyond the limits or the memory
//! of the card are reduced by whole factors (box means; labels by majority) and carry a notice that says so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use formats::{LabelTable, Notice};
use rayon::prelude::*;
use wgpu::{Extent3d, TextureDimension, TextureFormat, TextureUsages};

use super::encoding::Encoding;
pub use super::volume_texture::VolumeTexture;
use super::volume_texture::serial;
use super::{Gpu, Result};
use crate::palette::palette;
use crate::scene::{Content, ImageId, ImageLayer, LabelLayer, Scene};

/// Bytes of frames of a series that are kept although another frame is shown.
const CACHE_BYTES: u64 = 512 << 20;
/// One frame of an image on the card.
#[derive(Debug)]
pub struct ImageTexture {
    /// The voxels.
    pub volume: VolumeTexture,
    /// Whether texels are premultiplied colours rather than values.
    pub is_colour: bool,
    /// `value = scale[0] · texel + scale[1]`.
    pub scale: [f64; 2],
    /// Texels at or above it have no finite value.
    pub invalid_from: f32,
    /// Says that and why the volume was reduced.
    pub notice: Option<Notice>,
    encoding: Encoding,
    last_used: u64,
}

/// A segmentation on the card.
#[derive(Debug)]
pub struct LabelTexture {
    /// The label numbers.
    pub volume: VolumeTexture,
    /// Colours by number, 256 wide.
    pub palette: wgpu::TextureView,
    /// The revision of the layer it holds (or, while not complete, is going to hold).
    pub revision: u64,
    /// Says that and why the volume was reduced.
    pub notice: Option<Notice>,
    table: Arc<LabelTable>,
    /// Different for every palette.
    pub(super) palette_serial: u64,
}

/// How far the volumes in sight are uploaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on the card.
    pub ready_bytes: u64,
    /// Bytes there will be.
    pub total_bytes: u64,
}

/// A box of voxels that an edit touched.
#[derive(Clone, Copy, Debug)]
struct Change {
    from: u64,
    to: u64,
    low_ijk: [usize; 3],
    high_ijk: [usize; 3],
}

/// The textures of a scene; see the module's documentation.
#[derive(Debug, Default)]
pub struct Textures {
    images: HashMap<(ImageId, usize), ImageTexture>,
    labels: HashMap<ImageId, LabelTexture>,
    changes: HashMap<ImageId, Vec<Change>>,
    size_limit: Option<u32>,
    clock: u64,
    uploaded: u64,
}

impl Progress {
    /// Whether everything in sight is on the card.
    #[must_use]
    pub fn is_complete(self) -> bool {
        self.ready_bytes >= self.total_bytes
    }
}

impl Textures {
    /// No textures yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Textures of at most `limit` texels along each axis, below the device's own limit: for tests of the reduction.
    #[must_use]
    pub fn with_size_limit(limit: u32) -> Self {
        Self { size_limit: Some(limit.max(1)), ..Self::default() }
    }

    /// Brings the visible layers of a scene onto the card, uploading about `budget_bytes` (at least one slice while
    /// something is missing), and forgets what the scene no longer holds.
    ///
    /// # Errors
    /// [`super::Error::OutOfMemory`] when a volume fits not even reduced. The other layers are still there.
    pub fn update(&mut self, gpu: &Gpu, scene: &Scene, budget_bytes: usize) -> Result<Progress> {
        self.clock += 1;
        let mut budget = budget_bytes.max(1);
        let mut progress = Progress::default();
        let mut failure = None;
        self.forget(scene);
        for layer in scene.layers.iter().filter(|l| l.visible) {
            let uploaded = match &layer.content {
                Content::Image(image) => self.update_image(gpu, image, &mut budget),
                Content::Labels(labels) => self.update_labels(gpu, labels, &mut budget),
            };
            match uploaded {
                Ok(volume) => {
                    progress.ready_bytes += volume.ready_bytes;
                    progress.total_bytes += volume.total_bytes;
                }
                Err(e) => failure = Some(e),
            }
        }
        self.changes.clear();
        failure.map_or(Ok(progress), Err)
    }

    /// The texture of the frame that a layer shows, once [`Textures::update`] made it.
    #[must_use]
    pub fn image(&self, layer: &ImageLayer) -> Option<&ImageTexture> {
        self.images.get(&(layer.id, layer.frame))
    }

    /// The texture of a segmentation, once [`Textures::update`] made it.
    #[must_use]
    pub fn labels(&self, layer: &LabelLayer) -> Option<&LabelTexture> {
        self.labels.get(&layer.id)
    }

    /// Says that the labels of revision `to` differ from those of revision `from` only in a box of voxels (`low_ijk`
    /// inclusive, `high_ijk` exclusive). Steps may be told one by one; those between two calls of
    /// [`Textures::update`] are joined. Without it, a new revision is uploaded whole.
    pub fn labels_changed(
        &mut self,
        id: ImageId,
        from: u64,
        to: u64,
        low_ijk: [usize; 3],
        high_ijk: [usize; 3],
    ) {
        self.changes.entry(id).or_default().push(Change { from, to, low_ijk, high_ijk });
    }

    /// Bytes of all textures.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let volumes = self.images.values().map(|t| &t.volume).chain(self.labels.values().map(|t| &t.volume));
        volumes.map(|v| v.bytes).sum()
    }

    /// Bytes sent to the card so far, edits included.
    #[must_use]
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded
    }

    /// Drops what no layer holds, and the frames not shown for longest beyond the size of the cache.
    fn forget(&mut self, scene: &Scene) {
        let mut held = HashSet::new();
        let mut shown = HashSet::new();
        for layer in &scene.layers {
            match &layer.content {
                Content::Image(image) => {
                    held.insert(image.id);
                    shown.insert((image.id, image.frame));
                }
                Content::Labels(labels) => {
                    held.insert(labels.id);
                }
            }
        }
        self.labels.retain(|id, _| held.contains(id));
        self.images.retain(|(id, _), _| held.contains(id));
        let mut others: Vec<_> = self
            .images
            .iter()
            .filter(|(key, _)| !shown.contains(*key))
            .map(|(key, t)| (t.last_used, *key, t.volume.bytes))
            .collect();
        others.sort_unstable_by_key(|&(last_used, ..)| std::cmp::Reverse(last_used));
        let mut kept = 0;
        for (_, key, bytes) in others {
            kept += bytes;
            if kept > CACHE_BYTES {
                self.images.remove(&key);
            }
        }
    }

    fn limit(&self, gpu: &Gpu) -> u32 {
        self.size_limit.unwrap_or(u32::MAX).min(gpu.tier.max_size_3d)
    }

    fn update_image(&mut self, gpu: &Gpu, layer: &ImageLayer, budget: &mut usize) -> Result<Progress> {
        let key = (layer.id, layer.frame);
        if !self.images.contains_key(&key) {
            let encoding = Encoding::of(layer, &gpu.tier);
            let volume = layer.volume();
            let kind = (encoding.format, encoding.texel_bytes());
            let (texture, notice) =
                VolumeTexture::fitting(gpu, "image", kind, volume.grid.size_ijk, self.limit(gpu))?;
            let image = ImageTexture {
                volume: texture,
                is_colour: volume.voxels.is_colour(),
                scale: encoding.scale,
                invalid_from: encoding.invalid_from,
                notice,
                encoding,
                last_used: 0,
            };
            self.images.insert(key, image);
        }
        let Some(image) = self.images.get_mut(&key) else { return Ok(Progress::default()) };
        image.last_used = self.clock;
        let (encoding, blocks) = (image.encoding, image.volume.blocks);
        self.uploaded +=
            image.volume.advance(gpu, budget, |slices, sink| encoding.slab(layer, &blocks, slices, sink));
        Ok(Progress { ready_bytes: image.volume.ready_bytes(), total_bytes: image.volume.bytes })
    }

    fn update_labels(&mut self, gpu: &Gpu, layer: &LabelLayer, budget: &mut usize) -> Result<Progress> {
        let all = layer.labels.as_slice().unwrap_or_default();
        let limit = self.limit(gpu);
        let region = self.labels.get(&layer.id).and_then(|t| self.region(layer, t.revision));
        let is_wide = |labels: &[u16]| labels.par_iter().with_min_len(1 << 18).any(|&l| l > 255);
        // Where the edit is known, only its slices can have brought larger numbers.
        let edited = region.map_or(all, |(low, high)| {
            let slice = layer.grid.size_ijk[0] * layer.grid.size_ijk[1];
            all.get(low[2] * slice..high[2] * slice).unwrap_or_default()
        });
        let (remake, restart) = match self.labels.get(&layer.id) {
            None => (true, false),
            Some(t) if t.volume.blocks.voxels != layer.grid.size_ijk => (true, false),
            Some(t) if t.revision == layer.revision => (false, false),
            Some(t) => {
                let is_narrow = t.volume.format == TextureFormat::R8Uint;
                (is_narrow && is_wide(edited), region.is_none())
            }
        };
        if remake {
            let kind = if is_wide(all) { (TextureFormat::R16Uint, 2) } else { (TextureFormat::R8Uint, 1) };
            let (volume, notice) = VolumeTexture::fitting(gpu, "labels", kind, layer.grid.size_ijk, limit)?;
            let table = Arc::clone(&layer.table);
            let palette = palette_texture(gpu, &table, kind.1);
            let made = LabelTexture {
                volume,
                palette,
                revision: layer.revision,
                notice,
                table,
                palette_serial: serial(),
            };
            self.labels.insert(layer.id, made);
        }
        let Some(texture) = self.labels.get_mut(&layer.id) else { return Ok(Progress::default()) };
        if !Arc::ptr_eq(&texture.table, &layer.table) {
            if *texture.table != *layer.table {
                texture.palette = palette_texture(gpu, &layer.table, texture.texel_bytes());
                texture.palette_serial = serial();
            }
            texture.table = Arc::clone(&layer.table);
        }
        if restart {
            // What is shown is replaced slab by slab; nothing disappears meanwhile.
            texture.volume.next = 0;
        } else if let Some((low, high)) = region.filter(|_| !remake && texture.revision != layer.revision) {
            self.uploaded += texture.write_box(gpu, all, low, high);
        }
        texture.revision = layer.revision;
        let (blocks, is_narrow) = (texture.volume.blocks, texture.texel_bytes() == 1);
        self.uploaded += texture.volume.advance(gpu, budget, |slices, sink| {
            if is_narrow {
                sink(&blocks.texels(all, slices, |l| l as u8, |b| most_frequent(b) as u8));
            } else {
                sink(bytemuck::cast_slice(&blocks.texels(all, slices, |l| l, most_frequent)));
            }
        });
        Ok(Progress { ready_bytes: texture.volume.ready_bytes(), total_bytes: texture.volume.bytes })
    }

    /// The box of voxels in which a layer differs from a revision, if the steps in between are all known.
    fn region(&self, layer: &LabelLayer, since: u64) -> Option<([usize; 3], [usize; 3])> {
        let mut at = since;
        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        for change in self.changes.get(&layer.id)? {
            if change.to <= at {
                continue;
            }
            if change.from != at {
                return None;
            }
            at = change.to;
            for a in 0..3 {
                low[a] = low[a].min(change.low_ijk[a]);
                high[a] = high[a].max(change.high_ijk[a].min(layer.grid.size_ijk[a]));
            }
        }
        let is_empty = (0..3).any(|a| low[a] >= high[a]);
        (at == layer.revision).then_some(if is_empty { ([0; 3], [0; 3]) } else { (low, high) })
    }
}

impl LabelTexture {
    fn texel_bytes(&self) -> usize {
        if self.volume.format == TextureFormat::R8Uint { 1 } else { 2 }
    }

    /// Uploads a box of voxels; the bytes it took.
    fn write_box(&mut self, gpu: &Gpu, all: &[u16], low_ijk: [usize; 3], high_ijk: [usize; 3]) -> u64 {
        let blocks = self.volume.blocks;
        if (0..3).any(|a| low_ijk[a] >= high_ijk[a]) {
            return 0;
        }
        let low = [0, 1, 2].map(|a| low_ijk[a] / blocks.factors[a]);
        let high = [0, 1, 2].map(|a| high_ijk[a].div_ceil(blocks.factors[a]));
        let labels = blocks.region(all, low, high, most_frequent);
        let (low, size) = (low.map(|n| n as u32), [0, 1, 2].map(|a| (high[a] - low[a]) as u32));
        if self.texel_bytes() == 1 {
            let narrow: Vec<u8> = labels.iter().map(|&l| l as u8).collect();
            self.volume.write(gpu, low, size, &narrow);
        } else {
            self.volume.write(gpu, low, size, bytemuck::cast_slice(&labels));
        }
        (labels.len() * self.texel_bytes()) as u64
    }
}

/// The label that most voxels of a block have; the smallest of several.
fn most_frequent(labels: &mut dyn Iterator<Item = u16>) -> u16 {
    let Some(first) = labels.next() else { return 0 };
    let Some(second) = labels.next() else { return first };
    let mut all: Vec<u16> = [first, second].into_iter().chain(labels).collect();
    all.sort_unstable();
    let mut best = (0, first);
    for run in all.chunk_by(|a, b| a == b) {
        if run.len() > best.0 {
            best = (run.len(), run[0]);
        }
    }
    best.1
}

/// Colours by label number; 256 rows for one-byte labels, all of them otherwise.
fn palette_texture(gpu: &Gpu, table: &LabelTable, texel_bytes: usize) -> wgpu::TextureView {
    let height = if texel_bytes == 1 { 1 } else { 256 };
    let size = Extent3d { width: 256, height, depth_or_array_layers: 1 };
    let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("label colours"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: TextureDimension::D2,
        format: TextureFormat::Rgba8Unorm,
        usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let colours = palette(table);
    let bytes: &[u8] = bytemuck::cast_slice(&colours);
    gpu.queue.write_texture(
        texture.as_image_copy(),
        &bytes[..height as usize * 1024],
        wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(1024), rows_per_image: None },
        size,
    );
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}
