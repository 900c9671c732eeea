//! How much memory a restoration takes, settled before anything large is allocated.

use formats::Volume;

use super::planes::{self, Tiling};
use crate::error::Result;
use crate::family::Limits;
use crate::manifest::Manifest;

const F32: u64 = 4;

/// The sizes that a run's memory follows from.
pub(super) struct Need {
    /// Tiles through the network, at most.
    pub(super) tiles: usize,
    /// Values of a frame: voxels times colours.
    values: u64,
    /// Frames of the image.
    frames: u64,
    /// Bytes of a frame as stored.
    stored: u64,
    /// Bytes of the largest slice on its way: values, padded input, answer, its cut copy.
    slice: u64,
    /// Bytes of a tile in the runtime.
    runtime: u64,
}

impl Need {
    /// Of so many frames like `volume`.
    pub(super) fn new(m: &Manifest, volume: &Volume, frames: usize, axes: &[usize]) -> Result<Self> {
        let passes = planes::passes(m, volume);
        let colours = super::values::colours(&volume.voxels) as u64;
        let (mut tiles, mut slice, mut patch) = (0, 0, 0);
        for &axis in axes {
            let (count, size) = planes::slices(&volume.grid, axis);
            let tiling = Tiling::new(&m.tiles, size)?;
            tiles += tiling.plan.count() * count * passes.len();
            let pixels: u64 = tiling.plan.shape().iter().map(|&n| n as u64).product();
            slice = slice.max(pixels * F32 * (colours + 4 * m.output.channel_count() as u64));
            patch = patch.max(tiling.plan.patch().iter().map(|&n| n as u64).product());
        }
        let of_patch: u64 = m.tiles.patch.iter().map(|&n| n as u64).product();
        let measured = m.tiles.memory_mib.map_or(of_patch * super::RUNTIME_BYTES_PER_PIXEL, |mib| mib << 20);
        Ok(Self {
            tiles: tiles.saturating_mul(frames),
            frames: frames as u64,
            values: volume.grid.voxel_count() as u64 * colours,
            stored: volume.voxels.byte_len() as u64,
            slice,
            runtime: measured * patch / of_patch.max(1),
        })
    }

    fn bytes(&self, batch: usize) -> u64 {
        // Preparing: values as f32 and once more for the percentiles, or the details of the noise. Then frame by frame:
        // the sums, and the results so far as stored; with that of the last frame when the network rests.
        let done = |frames: u64| self.stored.saturating_mul(frames);
        let prepare = self.values * F32 * 2;
        let infer = self.values * F32 + self.slice + batch as u64 * self.runtime + done(self.frames - 1);
        let finish = self.values * F32 + self.runtime + done(self.frames);
        prepare.max(infer).max(finish)
    }

    /// The largest batch that fits, with the bytes it needs and those that may be used.
    ///
    /// # Errors
    /// A memory error with the numbers for one tile at a time.
    pub(super) fn choose(&self, m: &Manifest, limits: Limits) -> Result<(usize, u64, u64)> {
        let available = limits.usable_bytes();
        let mut batch = m.tiles.batch;
        loop {
            let bytes = self.bytes(batch);
            if bytes <= available {
                return Ok((batch, bytes, available));
            }
            if batch <= 1 {
                return Err(inference::Error::Memory {
                    needed_bytes: bytes,
                    available_bytes: available,
                    remedy: "Close other programs, cut the image, or use a computer with more memory"
                        .to_owned(),
                }
                .into());
            }
            batch /= 2;
        }
    }
}
