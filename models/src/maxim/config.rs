//! The numbers that make one MAXIM out of many.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// What ONNX Runtime takes per position and feature of level 0: 125 to 140 bytes were measured (S-2 at 256 × 256; a small
/// grey network with phase images at 128 × 128).
const BYTES_PER_FEATURE: usize = 160;

/// Hyper-parameters, under the names of the official code where it has one. Square tiles serve both the grid branch
/// (so many cells per side) and the block branch (so many pixels per side), as in every published variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the picture: 3 in the published variants, 1 for grey.
    #[serde(default = "three")]
    pub in_channels: usize,
    /// Channels of level 0; level i has `features · 2^i`.
    pub features: usize,
    /// Levels of the U.
    #[serde(default = "three")]
    pub depth: usize,
    /// U-shaped networks one after another.
    pub num_stages: usize,
    /// Multi-axis blocks in a row at each place.
    pub num_groups: usize,
    /// Global blocks at the bottom of the U.
    pub num_bottleneck_blocks: usize,
    /// Levels at which the picture goes in and comes out, at most `depth`.
    #[serde(default = "three")]
    pub num_supervision_scales: usize,
    /// Levels, from 0, that use `tile_hr`; the others use `tile_lr`.
    #[serde(default = "two")]
    pub high_res_stages: usize,
    /// Cells and pixels per side at the fine levels.
    #[serde(default = "sixteen")]
    pub tile_hr: usize,
    /// Cells and pixels per side at the coarse levels and at the bottom.
    #[serde(default = "eight")]
    pub tile_lr: usize,
    /// Phase images per axis, an extension of ours: the picture enters as `unshuffle²` pictures of a fraction of its
    /// sides (space to depth) and leaves likewise, so that the network works at that fraction of the resolution. 1 is
    /// the published network.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub unshuffle: usize,
    /// Height and width of the pictures the network will see, multiples of [`Config::multiple`], which spares ONNX
    /// Runtime the computing of shapes. Without it any multiple works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
}

fn one() -> usize {
    1
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(n: &usize) -> bool {
    *n == 1
}
fn two() -> usize {
    2
}
fn three() -> usize {
    3
}
fn eight() -> usize {
    8
}
fn sixteen() -> usize {
    16
}

impl Config {
    /// Names of the published variants.
    pub const VARIANTS: [&'static str; 6] = ["S-1", "S-2", "S-3", "M-1", "M-2", "M-3"];

    /// The published variant that this is, if any; `size` does not matter.
    #[must_use]
    pub fn variant_name(&self) -> Option<&'static str> {
        let any = Self { size: None, ..self.clone() };
        Self::VARIANTS.into_iter().find(|name| Self::variant(name).is_some_and(|v| v == any))
    }

    /// About what ONNX Runtime takes for one picture of `[height, width]`, in bytes, weights apart.
    #[must_use]
    pub fn runtime_bytes(&self, [height, width]: [usize; 2]) -> usize {
        let positions = height * width / (self.unshuffle * self.unshuffle);
        (16 << 20) + positions * self.features * BYTES_PER_FEATURE
    }

    /// A published variant: `"S-1"`, `"S-2"`, `"S-3"`, `"M-1"`, `"M-2"` or `"M-3"` (any case, the hyphen may be left
    /// out), with the three supervision scales of the released weights.
    #[must_use]
    pub fn variant(name: &str) -> Option<Self> {
        let name: String = name.chars().filter(|c| *c != '-').flat_map(char::to_uppercase).collect();
        let (features, stages) = match name.as_str() {
            "S1" => (32, 1),
            "S2" => (32, 2),
            "S3" => (32, 3),
            "M1" => (64, 1),
            "M2" => (64, 2),
            "M3" => (64, 3),
            _ => return None,
        };
        Some(Self {
            in_channels: 3,
            features,
            depth: 3,
            num_stages: stages,
            num_groups: 2,
            num_bottleneck_blocks: 2,
            num_supervision_scales: 3,
            high_res_stages: 2,
            tile_hr: 16,
            tile_lr: 8,
            unshuffle: 1,
            size: None,
        })
    }

    /// Reads the hyper-parameters off the names and shapes of a checkpoint. `unshuffle` leaves no trace in them: it is
    /// taken to be 1, as in every published checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the tensors are not those of a MAXIM.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let shape = |name: &str| {
            checkpoint.get(name).map(|t| t.shape.clone()).ok_or_else(|| {
                Error::checkpoint(
                    &checkpoint.path,
                    format!("no tensor called {name}"),
                    "the weights of a MAXIM network (opt/target/stage_0_…)",
                    "Choose the checkpoint.npz of an official MAXIM release",
                )
            })
        };
        // The first number n for which no tensor begins with the text made of it.
        let count = |prefix: &dyn Fn(usize) -> String| {
            (0..64)
                .find(|&n| {
                    let p = prefix(n);
                    !checkpoint.tensors.iter().any(|t| t.name.starts_with(&p))
                })
                .unwrap_or(64)
        };
        let first = shape("stage_0_input_conv_0/kernel")?;
        let [_, _, in_channels, features] = first[..] else {
            return Err(Error::checkpoint(
                &checkpoint.path,
                format!("a first convolution of shape {first:?}"),
                "height × width × input × output",
                "Choose the checkpoint.npz of an official MAXIM release",
            ));
        };
        let depth = count(&|n| format!("stage_0_encoder_block_{n}/"));
        // Square tiles: the mixing matrices have side² rows.
        let side = |level: usize| -> Result<usize> {
            let name = format!(
                "stage_0_encoder_block_{level}/SplitHeadMultiAxisGmlpLayer_0/GridGmlpLayer/GridGatingUnit/Dense_0/kernel"
            );
            Ok(shape(&name)?.first().copied().unwrap_or(0).isqrt())
        };
        let sides = (0..depth).map(side).collect::<Result<Vec<_>>>()?;
        let bottom = shape(
            "stage_0_global_block_0/SplitHeadMultiAxisGmlpLayer_0/GridGmlpLayer/GridGatingUnit/Dense_0/kernel",
        )?;
        let tile_hr = sides.first().copied().unwrap_or(0);
        let config = Self {
            in_channels,
            features,
            depth,
            num_stages: count(&|n| format!("stage_{n}_input_conv_0/")),
            num_groups: count(&|n| format!("stage_0_encoder_block_0/SplitHeadMultiAxisGmlpLayer_{n}/")),
            num_bottleneck_blocks: count(&|n| format!("stage_0_global_block_{n}/")),
            num_supervision_scales: count(&|n| format!("stage_0_input_conv_{n}/")),
            high_res_stages: sides.iter().take_while(|&&s| s == tile_hr).count(),
            tile_hr,
            tile_lr: bottom.first().copied().unwrap_or(0).isqrt(),
            unshuffle: 1,
            size: None,
        };
        config.validate()?;
        Ok(config)
    }

    /// Channels of a level.
    #[must_use]
    pub fn channels(&self, level: usize) -> usize {
        self.features << level
    }

    /// Cells and pixels per side at a level (`depth` is the bottom).
    #[must_use]
    pub fn tile(&self, level: usize) -> usize {
        if level < self.high_res_stages.min(self.depth) { self.tile_hr } else { self.tile_lr }
    }

    /// Channels of the pictures that the layers see: those of the picture, for each phase.
    #[must_use]
    pub fn packed_channels(&self) -> usize {
        self.in_channels * self.unshuffle * self.unshuffle
    }

    /// Heights and widths must be multiples of this: 64 in the published variants.
    #[must_use]
    pub fn multiple(&self) -> usize {
        let levels = (0..=self.depth).map(|level| self.tile(level) << level);
        levels.fold(1, |least, n| least / gcd(least, n.max(1)) * n.max(1)) * self.unshuffle
    }

    /// Whether the numbers can belong together.
    ///
    /// # Errors
    /// [`Error::Argument`] saying which cannot.
    pub fn validate(&self) -> Result<()> {
        let within = |name: &str, value: usize, low: usize, high: usize| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Error::Argument(format!(
                "A MAXIM with {name} = {value} cannot be built; it is {low} to {high}"
            )))
        };
        within("in_channels", self.in_channels, 1, 4)?;
        within("features", self.features, 4, 512)?;
        within("depth", self.depth, 1, 5)?;
        within("num_stages", self.num_stages, 1, 8)?;
        within("num_groups", self.num_groups, 1, 8)?;
        within("num_bottleneck_blocks", self.num_bottleneck_blocks, 1, 8)?;
        within("num_supervision_scales", self.num_supervision_scales, 1, self.depth)?;
        within("tile_hr", self.tile_hr, 1, 64)?;
        within("tile_lr", self.tile_lr, 1, 64)?;
        within("unshuffle", self.unshuffle, 1, 4)?;
        if let Some(size) = self.size
            && size.iter().any(|&n| n == 0 || !n.is_multiple_of(self.multiple()))
        {
            return Err(Error::Argument(format!(
                "A MAXIM of this configuration sees pictures whose sides are multiples of {}, not {} × {}",
                self.multiple(),
                size[0],
                size[1]
            )));
        }
        Ok(())
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_variants_want_multiples_of_64() {
        for name in ["S-1", "s2", "S-3", "M-1", "m-2", "M3"] {
            let config = Config::variant(name).unwrap();
            config.validate().unwrap();
            assert_eq!(config.multiple(), 64);
        }
        assert!(Config::variant("L-1").is_none());
        let odd = Config { size: Some([64, 96]), ..Config::variant("S-2").unwrap() };
        assert!(odd.validate().is_err());
    }
}
