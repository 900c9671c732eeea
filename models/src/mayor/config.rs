//! The numbers that make one text finder out of many.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Strides of P2 to P6 in pixels: proposals come from all, regions are read from the first four.
pub const STRIDES: [usize; 5] = [4, 8, 16, 32, 64];
/// Sides of the network's picture are multiples of this.
pub const SIZE_MULTIPLE: usize = 32;
/// Divisors' inverses of the box code (dx, dy, dw, dh) of the proposals and of the box head.
pub const RPN_STDS: [f32; 4] = [1.0; 4];
/// See [`RPN_STDS`].
pub const BOX_STDS: [f32; 4] = [0.1, 0.1, 0.2, 0.2];

/// How masks are made of pooled features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// A 1×1 convolution to few channels and two dense layers: weights of their own for every place of the region.
    #[default]
    Mlp,
    /// A transposed convolution and a 1×1 one, as in Mask R-CNN.
    Deconv,
}

/// Hyper-parameters, under the names of `insula_authoring.mayor.config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Residual blocks of the four stages: 2, 2, 2, 2 for ResNet-18; 3, 4, 6, 3 for ResNet-50.
    pub blocks: [usize; 4],
    /// Widths of the 3×3 convolutions of the stages.
    pub widths: [usize; 4],
    /// Whether blocks are 1×1, 3×3, 1×1 convolutions with four times the width at the end.
    #[serde(default)]
    pub bottleneck: bool,
    /// Channels of the first convolution.
    pub stem: usize,
    /// Channels of the feature pyramid.
    pub fpn: usize,
    /// Side of an anchor in strides.
    #[serde(default = "eight")]
    pub anchor_scale: f32,
    /// Height over width of the anchors of a cell.
    #[serde(default = "square")]
    pub anchor_ratios: Vec<f32>,
    /// Cells per side of what the box head sees.
    #[serde(default = "seven")]
    pub box_pool: usize,
    /// Width of the box head's dense layers.
    pub box_hidden: usize,
    /// Cells per side of what the mask head sees; masks have twice as many.
    #[serde(default = "fourteen")]
    pub mask_pool: usize,
    /// 3×3 convolutions before the mask decoder.
    pub mask_convs: usize,
    /// How masks are made.
    #[serde(default)]
    pub decoder: Decoder,
    /// Channels before the dense layers of [`Decoder::Mlp`].
    pub mask_reduce: usize,
    /// Width of the dense layer of [`Decoder::Mlp`].
    pub mask_hidden: usize,
    /// How anchors were given to lines in training: `"adaptive"` or `"max-iou"`. Kept for provenance, as all that follow.
    #[serde(default)]
    pub assigner: String,
    /// Candidates per level of the adaptive assignment.
    #[serde(default)]
    pub topk: usize,
    /// Anchors that the adaptive assignment guarantees to a line.
    #[serde(default)]
    pub k_min: usize,
    /// Whether an anchor's centre had to lie in the line's box.
    #[serde(default)]
    pub centre_rule: bool,
    /// Whether lines with too few anchors were given more.
    #[serde(default)]
    pub repair: bool,
    /// `"dice"`, `"bce"` or `"dice+bce"`.
    #[serde(default)]
    pub mask_loss: String,
}

fn eight() -> f32 {
    8.0
}
fn square() -> Vec<f32> {
    vec![1.0]
}
fn seven() -> usize {
    7
}
fn fourteen() -> usize {
    14
}

impl Config {
    /// Channels that leave stage `i`.
    #[must_use]
    pub fn stage_channels(&self, i: usize) -> usize {
        self.widths[i] * if self.bottleneck { 4 } else { 1 }
    }

    /// Cells per side of a mask.
    #[must_use]
    pub fn mask_side(&self) -> usize {
        2 * self.mask_pool
    }

    /// Refuses numbers that make no network, or a gigantic one.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn validate(&self) -> Result<()> {
        let sizes = [self.stem, self.fpn, self.box_hidden, self.mask_reduce, self.mask_hidden];
        let good = self.blocks.iter().all(|n| (1..=64).contains(n))
            && self.widths.iter().chain(&sizes).all(|n| (1..=4096).contains(n))
            && (1..=32).contains(&self.box_pool)
            && (2..=32).contains(&self.mask_pool)
            && self.mask_convs <= 16
            && (1..=9).contains(&self.anchor_ratios.len())
            && self.anchor_ratios.iter().all(|r| (0.01..=100.0).contains(r))
            && (0.5..=64.0).contains(&self.anchor_scale);
        if good {
            return Ok(());
        }
        Err(Error::Argument(format!(
            "the MAYOR configuration {self:?} has sizes out of range (blocks 1 to 64, widths 1 to 4096, 1 to 9 anchors a \
             cell)"
        )))
    }

    /// What the runtime takes for a picture of `height` × `width`, in bytes: the maps of the first stages count, about
    /// ten times the pyramid's finest level were measured.
    #[must_use]
    pub fn runtime_bytes(&self, [height, width]: [usize; 2]) -> usize {
        let finest = height.div_ceil(4) * width.div_ceil(4);
        finest * 4 * 10 * self.fpn.max(self.stage_channels(0))
    }
}
