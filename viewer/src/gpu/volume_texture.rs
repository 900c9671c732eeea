//! One 3-D texture: made as large as the card allows, filled slab by slab.

use std::sync::atomic::{AtomicU64, Ordering};

use formats::{Affine, Notice};
use wgpu::{Extent3d, Origin3d, TextureDimension, TextureFormat, TextureUsages};

use super::encoding::Blocks;
use super::{Error, Gpu, Result};

/// Bytes handed to the driver at once; it keeps a copy until the work is done.
const PIECE_BYTES: usize = 32 << 20;
/// A volume is reduced at most this much because of lack of memory.
const MOST_REDUCTION: usize = 8;

/// A 3-D texture and how it lies on its volume.
#[derive(Debug)]
pub struct VolumeTexture {
    /// To be bound.
    pub view: wgpu::TextureView,
    /// Its format.
    pub format: TextureFormat,
    /// Texels along i, j, k.
    pub size: [u32; 3],
    /// Voxels per texel along i, j, k; 1 unless the volume had to be reduced.
    pub factors: [usize; 3],
    /// Slices along k, counted from 0, that hold voxels; the texture is complete when it equals `size[2]`.
    pub ready_slices: u32,
    texture: wgpu::Texture,
    pub(super) blocks: Blocks,
    /// The next slice to be uploaded.
    pub(super) next: u32,
    pub(super) bytes: u64,
    /// Different for every texture.
    serial: u64,
    /// Grows with every write.
    writes: u64,
}

/// A number not given before.
pub(super) fn serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl VolumeTexture {
    /// Texture coordinates (0..=1 from face to face) from voxel indices `(i, j, k)` with centres at whole numbers.
    #[must_use]
    pub fn texcoord_from_voxel(&self) -> Affine {
        let scale = [0, 1, 2].map(|a| 1.0 / (self.factors[a] as f64 * f64::from(self.size[a])));
        Affine::scale_shift(scale, scale.map(|s| 0.5 * s))
    }

    /// Texel indices (centres at whole numbers) from voxel indices. The identity unless the volume was reduced.
    #[must_use]
    pub fn texel_from_voxel(&self) -> Affine {
        let scale = self.factors.map(|f| 1.0 / f as f64);
        Affine::scale_shift(scale, scale.map(|s| 0.5 * s - 0.5))
    }

    /// Whether all voxels are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next >= self.size[2]
    }

    /// Changes whenever the texels may have changed: part of the requests by which pictures are cached.
    pub(super) fn stamp(&self) -> (u64, u64) {
        (self.serial, self.writes)
    }

    fn new(
        gpu: &Gpu,
        label: &str,
        format: TextureFormat,
        texel_bytes: usize,
        blocks: Blocks,
    ) -> Option<Self> {
        let size = blocks.size().map(|n| n as u32);
        let bytes = blocks.size().iter().map(|&n| n as u64).product::<u64>() * texel_bytes as u64;
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: Extent3d { width: size[0], height: size[1], depth_or_array_layers: size[2] },
            mip_level_count: 1,
            sample_count: 1,
            dimension: TextureDimension::D3,
            format,
            usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
            view_formats: &[],
        });
        if pollster::block_on(scope.pop()).is_some() {
            return None;
        }
        let view =
            texture.create_view(&wgpu::TextureViewDescriptor { label: Some(label), ..Default::default() });
        let factors = blocks.factors;
        Some(Self {
            view,
            format,
            size,
            factors,
            ready_slices: 0,
            texture,
            blocks,
            next: 0,
            bytes,
            serial: serial(),
            writes: 0,
        })
    }

    /// The largest texture that the card takes, and what to tell of it.
    pub(super) fn fitting(
        gpu: &Gpu,
        label: &str,
        (format, texel_bytes): (TextureFormat, usize),
        voxels: [usize; 3],
        limit: u32,
    ) -> Result<(Self, Option<Notice>)> {
        for extra in 1..=MOST_REDUCTION {
            let blocks = Blocks::within(voxels, limit, extra);
            if let Some(texture) = Self::new(gpu, label, format, texel_bytes, blocks) {
                let notice = (!blocks.is_whole()).then(|| reduced(gpu, blocks, limit, extra));
                return Ok((texture, notice));
            }
        }
        let [i, j, k] = voxels;
        let what = format!("a volume of {i}×{j}×{k} voxels");
        Err(Error::OutOfMemory { what, adapter: gpu.tier.adapter.clone() })
    }

    fn slice_bytes(&self) -> usize {
        (self.bytes / u64::from(self.size[2]).max(1)).max(1) as usize
    }

    pub(super) fn ready_bytes(&self) -> u64 {
        u64::from(self.next.min(self.size[2])) * self.slice_bytes() as u64
    }

    /// Uploads the next slabs within the budget; `texels` makes those of a range of slices. The bytes sent.
    pub(super) fn advance(
        &mut self,
        gpu: &Gpu,
        budget: &mut usize,
        mut texels: impl FnMut(std::ops::Range<usize>, &mut dyn FnMut(&[u8])),
    ) -> u64 {
        let before = self.ready_bytes();
        while *budget > 0 && self.next < self.size[2] {
            let bytes = self.slice_bytes();
            let slices = ((*budget).min(PIECE_BYTES) / bytes).clamp(1, (self.size[2] - self.next) as usize);
            let start = self.next as usize;
            let (low, size) = ([0, 0, self.next], [self.size[0], self.size[1], slices as u32]);
            texels(start..start + slices, &mut |texels| self.write(gpu, low, size, texels));
            // Lets go of the driver's copy.
            gpu.queue.submit([]);
            self.next += slices as u32;
            self.ready_slices = self.ready_slices.max(self.next);
            *budget = budget.saturating_sub(slices * bytes);
        }
        self.ready_bytes() - before
    }

    pub(super) fn write(&mut self, gpu: &Gpu, low: [u32; 3], size: [u32; 3], texels: &[u8]) {
        let [width, height, depth] = size;
        let rows = (height * depth).max(1);
        self.writes += 1;
        gpu.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &self.texture,
                mip_level: 0,
                origin: Origin3d { x: low[0], y: low[1], z: low[2] },
                aspect: wgpu::TextureAspect::All,
            },
            texels,
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(texels.len() as u32 / rows),
                rows_per_image: Some(height),
            },
            Extent3d { width, height, depth_or_array_layers: depth },
        );
    }
}

fn reduced(gpu: &Gpu, blocks: Blocks, limit: u32, extra: usize) -> Notice {
    let ([i, j, k], [a, b, c], [x, y, z]) = (blocks.voxels, blocks.size(), blocks.factors);
    let why = if extra > 1 {
        format!("the memory of {} is full", gpu.tier.adapter)
    } else {
        format!("{} shows at most {limit} voxels along an axis", gpu.tier.adapter)
    };
    Notice::info(
        "display-reduced",
        format!(
            "{i}×{j}×{k} voxels are shown as {a}×{b}×{c} (each {x}×{y}×{z} averaged): {why}. \
             Values, measurements and results use all voxels"
        ),
    )
}
