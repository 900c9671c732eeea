//! How much memory a run takes, settled before anything large is allocated.

use formats::Grid;

use crate::error::Result;
use crate::family::{Limits, Strategy};
use crate::manifest::Manifest;

/// What the runtime takes per voxel of a tile when the manifest does not say: a plain export of SegFormer3D
/// (4 channels, 128³) was measured at 713 MB for the whole process, 340 bytes per voxel.
const RUNTIME_BYTES_PER_VOXEL: u64 = 340;

/// Voxels of the image that are turned into labels at a time.
pub(super) const SLAB_VOXELS: usize = 4 << 20;

const F32: u64 = 4;
const U16: u64 = 2;

/// The sizes that a run's memory follows from.
pub(super) struct Need {
    channels: u64,
    scores: u64,
    source: u64,
    working: u64,
    padded: u64,
    layer: u64,
    patch: u64,
    runtime: u64,
    is_resampled: bool,
}

impl Need {
    /// For an image on `source` and a cropped working volume `[D, H, W]`.
    pub(super) fn new(m: &Manifest, source: &Grid, working: [usize; 3], is_resampled: bool) -> Self {
        let product = |n: [usize; 3]| n.iter().fold(1u64, |p, &v| p.saturating_mul(v as u64));
        let padded = [0, 1, 2].map(|a| working[a].max(m.tiles.patch[a]));
        let patch = product(m.tiles.patch);
        Self {
            channels: m.input.channels.len() as u64,
            scores: if m.output.labels_voxels() { m.output.channel_count() as u64 } else { 0 },
            source: product(source.size_ijk),
            working: product(working),
            padded: product(padded),
            layer: product([m.tiles.patch[0], padded[1], padded[2]]),
            patch,
            runtime: m.tiles.memory_mib.map_or(patch * RUNTIME_BYTES_PER_VOXEL, |mib| mib << 20),
            is_resampled,
        }
    }

    /// Bytes while channels are prepared: the stack, and one channel as read, twice in work, and as moved.
    pub(super) fn prepare_bytes(&self) -> u64 {
        self.working * self.channels * F32 + self.source * 3 * F32 + self.working * 2 * F32
    }

    fn infer_bytes(&self, strategy: Strategy) -> u64 {
        let input =
            (self.working + if self.padded > self.working { self.padded } else { 0 }) * self.channels * F32;
        let tile = self.patch * (self.channels + self.scores) * F32;
        match strategy {
            Strategy::Whole { batch } => {
                let batch = batch as u64;
                // Scores, their cropped copy when the volume was padded, and the sum of weights.
                let scores =
                    (self.padded + if self.padded > self.working { self.working } else { 0 }) * self.scores;
                input + (scores + self.padded) * F32 + batch * (self.runtime + 2 * tile)
            }
            Strategy::Layers => {
                input
                    + 3 * self.layer * (self.scores + 1) * F32
                    + self.working * U16
                    + self.runtime
                    + 2 * tile
            }
        }
    }

    fn finish_bytes(&self, strategy: Strategy) -> u64 {
        let held = match strategy {
            Strategy::Whole { .. } => self.working * self.scores * F32,
            Strategy::Layers => self.working * U16,
        };
        let slab = if self.is_resampled { 8 * SLAB_VOXELS as u64 * F32 } else { 0 };
        // Labels in both orders, and the component search.
        held + slab + self.source * (2 * U16 + F32)
    }

    fn bytes(&self, strategy: Strategy) -> u64 {
        self.prepare_bytes().max(self.infer_bytes(strategy)).max(self.finish_bytes(strategy))
    }
}

/// The first strategy that fits: whole with the manifest's batch, with smaller batches, then in layers.
/// Returns it with the bytes it needs and those that may be used.
///
/// # Errors
/// A memory error with the numbers of the thriftiest strategy.
pub(super) fn choose(need: &Need, m: &Manifest, limits: Limits) -> Result<(Strategy, u64, u64)> {
    let available = limits.usable_bytes();
    let mut batch = m.tiles.batch;
    loop {
        let strategy = if batch > 0 { Strategy::Whole { batch } } else { Strategy::Layers };
        let bytes = need.bytes(strategy);
        if bytes <= available {
            return Ok((strategy, bytes, available));
        }
        if batch == 0 {
            return Err(inference::Error::Memory {
                needed_bytes: bytes,
                available_bytes: available,
                remedy: "Close other programs, crop the image, or use a computer with more memory".to_owned(),
            }
            .into());
        }
        batch /= 2;
    }
}
