//! The numbers that make one SegFormer3D out of many.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// Number of encoder stages; the decoder joins all of them.
pub const STAGES: usize = 4;

/// Hyper-parameters, under the names of the official configuration files. Kernels, strides and paddings are equal
/// along D, H and W.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub num_classes: usize,
    /// Channels of each stage.
    pub embed_dims: [usize; STAGES],
    /// Attention heads of each stage. Cannot be told from weights.
    #[serde(default = "default_heads")]
    pub num_heads: [usize; STAGES],
    /// Transformer blocks of each stage.
    pub depths: [usize; STAGES],
    /// Width of each stage's MLP relative to its channels.
    pub mlp_ratios: [usize; STAGES],
    /// Spatial reduction of keys and values in each stage; 1 is none.
    pub sr_ratios: [usize; STAGES],
    /// Side of the patch-embedding kernels.
    pub patch_kernel_size: [usize; STAGES],
    /// Strides of the patch embeddings. Cannot be told from weights.
    #[serde(default = "default_strides")]
    pub patch_stride: [usize; STAGES],
    /// Zero padding of the patch embeddings. Cannot be told from weights.
    #[serde(default = "default_paddings")]
    pub patch_padding: [usize; STAGES],
    /// Channels of the decoder.
    pub decoder_head_embedding_dim: usize,
    /// What attention scores are divided by. Cannot be told from weights.
    #[serde(default)]
    pub attention_scale: AttentionScale,
    /// Factor of the last upsampling; the first stride unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_upsample: Option<usize>,
    /// At which size logits leave the network.
    #[serde(default)]
    pub output_size: OutputSize,
    /// Sizes `[D, H, W]` of the tiles the network will see, which make it much faster on a CPU. Inputs must then be
    /// no wider (W), and as deep as a multiple of the first stride if the tiles are; others fail at run time. Without
    /// it any size works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<[usize; 3]>,
}

/// What attention scores are divided by: the square root of this.
///
/// The official code changed from the first to the second in November 2025; the released BraTS weights were trained
/// with the first. Weights carry no mark of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionScale {
    /// The number of heads (official code up to November 2025, released weights).
    #[default]
    NumHeads,
    /// Channels per head (official code since, and most transformers).
    HeadDim,
}

/// At which size logits leave the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSize {
    /// That of the input: the last, trilinear upsampling is part of the network, as in the official code.
    #[default]
    Full,
    /// That of the first stage (a quarter per side): the caller resamples scores where it needs them.
    Coarse,
}

fn default_heads() -> [usize; STAGES] {
    [1, 2, 5, 8]
}

fn default_strides() -> [usize; STAGES] {
    [4, 2, 2, 2]
}

fn default_paddings() -> [usize; STAGES] {
    [3, 1, 1, 1]
}

impl Config {
    /// The published BraTS 2017 network: FLAIR, T1w, T1gd, T2w in; tumour core, whole tumour, enhancing tumour out.
    #[must_use]
    pub fn brats() -> Self {
        Self {
            in_channels: 4,
            num_classes: 3,
            embed_dims: [32, 64, 160, 256],
            num_heads: default_heads(),
            depths: [2; STAGES],
            mlp_ratios: [4; STAGES],
            sr_ratios: [4, 2, 1, 1],
            patch_kernel_size: [7, 3, 3, 3],
            patch_stride: default_strides(),
            patch_padding: default_paddings(),
            decoder_head_embedding_dim: 256,
            attention_scale: AttentionScale::default(),
            output_upsample: None,
            output_size: OutputSize::default(),
            tile: None,
        }
    }

    /// Reads off the shapes of a checkpoint what they tell; heads, strides, paddings and the attention scale get
    /// their usual values.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file does not look like a SegFormer3D.
    pub fn infer(checkpoint: &Checkpoint) -> Result<Self> {
        let unlike = |what: String| {
            Error::checkpoint(
                &checkpoint.path,
                what,
                "the tensors of a SegFormer3D",
                "Choose a SegFormer3D checkpoint, or the family the weights belong to",
            )
        };
        let shape = |name: &str, rank: usize| {
            let found = checkpoint.get(name).map(|t| t.shape.as_slice());
            match found {
                Some(shape) if shape.len() == rank && !shape.contains(&0) => Ok(shape),
                Some(shape) => Err(unlike(format!("{name} of shape {shape:?}"))),
                None => Err(unlike(format!("no tensor called {name}"))),
            }
        };
        let mut config = Self::brats();
        for i in 0..STAGES {
            let embed = shape(&format!("segformer_encoder.embed_{}.patch_embeddings.weight", i + 1), 5)?;
            if i == 0 {
                config.in_channels = embed[1];
            }
            config.embed_dims[i] = embed[0];
            config.patch_kernel_size[i] = embed[2];
            let block = |b: usize, leaf: &str| format!("segformer_encoder.tf_block{}.{b}.{leaf}", i + 1);
            config.depths[i] =
                (0..).take_while(|&b| checkpoint.get(&block(b, "attention.query.weight")).is_some()).count();
            config.mlp_ratios[i] = shape(&block(0, "mlp.fc1.weight"), 2)?[0] / embed[0];
            let reduction = block(0, "attention.sr.weight");
            config.sr_ratios[i] =
                if checkpoint.get(&reduction).is_some() { shape(&reduction, 5)?[2] } else { 1 };
        }
        let head = shape("segformer_decoder.linear_pred.weight", 5)?;
        config.num_classes = head[0];
        config.decoder_head_embedding_dim = head[1];
        Ok(config)
    }

    /// Whether the first patch embedding can work on slabs of `stride` slices: tiles are whole slabs, and the window of
    /// each output slice lies in its own slab and the one before.
    pub(super) fn has_sliced_stem(&self) -> bool {
        let (side, stride, padding) =
            (self.patch_kernel_size[0], self.patch_stride[0], self.patch_padding[0]);
        self.tile.is_some_and(|t| t[0].is_multiple_of(stride))
            && stride > 1
            && side == 2 * padding + 1
            && padding < stride
            && self.in_channels <= 8
    }

    /// Factor of the last upsampling.
    #[must_use]
    pub fn upsample(&self) -> usize {
        self.output_upsample.unwrap_or(self.patch_stride[0])
    }

    /// Smallest input side all four stages and their spatial reductions can work on.
    #[must_use]
    pub fn smallest_side(&self) -> usize {
        (1..).find(|&side| self.sides(side).is_some()).unwrap_or(usize::MAX)
    }

    /// Sides of the four feature maps for an input side; `None` when it is too small.
    #[must_use]
    pub fn sides(&self, input: usize) -> Option<[usize; STAGES]> {
        let mut side = input;
        let mut sides = [0; STAGES];
        for i in 0..STAGES {
            let room = (side + 2 * self.patch_padding[i]).checked_sub(self.patch_kernel_size[i])?;
            side = room / self.patch_stride[i] + 1;
            if side < self.sr_ratios[i] {
                return None;
            }
            sides[i] = side;
        }
        Some(sides)
    }

    /// Whether the numbers can make a network.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the first contradiction.
    pub fn validate(&self) -> Result<()> {
        let fail = |what: String| Err(Error::Argument(format!("SegFormer3D configuration: {what}")));
        let all = [
            ("embed_dims", self.embed_dims),
            ("num_heads", self.num_heads),
            ("depths", self.depths),
            ("mlp_ratios", self.mlp_ratios),
            ("sr_ratios", self.sr_ratios),
            ("patch_kernel_size", self.patch_kernel_size),
            ("patch_stride", self.patch_stride),
        ];
        for (name, values) in all {
            if let Some(bad) = values.iter().find(|v| !(1..=4096).contains(*v)) {
                return fail(format!("{name} holds {bad}; expected 1 to 4096"));
            }
        }
        let single = [
            ("in_channels", self.in_channels),
            ("num_classes", self.num_classes),
            ("decoder_head_embedding_dim", self.decoder_head_embedding_dim),
            ("output_upsample", self.upsample()),
        ];
        for (name, value) in single {
            if !(1..=4096).contains(&value) {
                return fail(format!("{name} is {value}; expected 1 to 4096"));
            }
        }
        if let Some(tile) = self.tile
            && tile.iter().any(|&n| n > 4096 || self.sides(n).is_none())
        {
            return fail(format!("tile is {tile:?}; expected sides of {} to 4096", self.smallest_side()));
        }
        for i in 0..STAGES {
            if !self.embed_dims[i].is_multiple_of(self.num_heads[i]) {
                return fail(format!(
                    "stage {} has {} channels, which {} heads cannot share evenly",
                    i + 1,
                    self.embed_dims[i],
                    self.num_heads[i]
                ));
            }
            if self.patch_padding[i] >= self.patch_kernel_size[i] {
                return fail(format!("stage {} pads by a whole kernel or more", i + 1));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_follow_the_official_code() {
        let config = Config::brats();
        assert_eq!(config.sides(128), Some([32, 16, 8, 4]));
        assert_eq!(config.sides(40), Some([10, 5, 3, 2]));
        assert_eq!(config.sides(12), None);
        assert_eq!(config.smallest_side(), 13);
        assert!(config.validate().is_ok());
        let odd = Config { num_heads: [3, 2, 5, 8], ..config };
        assert!(odd.validate().is_err());
    }
}
