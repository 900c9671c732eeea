//! The numbers that make one X-Decoder out of many.

use serde::{Deserialize, Serialize};

use super::{HEAD, LANGUAGE, PIXEL_DECODER};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// The kind of block and of stem of a FocalNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backbone {
    /// Focal-T: depthwise convolutions between the branches, norms after them.
    #[serde(rename = "focal_dw")]
    FocalDw,
    /// Focal-L: norms inside the branches.
    #[serde(rename = "focal")]
    Focal,
}

/// Hyper-parameters, under the names of the authors' side. Numbers of heads leave no trace in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The kind of backbone.
    pub backbone: Backbone,
    /// Channels at stride 4; twice as many at each further stage.
    pub embed_dim: usize,
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Depthwise convolutions of the focal modulation of each stage.
    pub focal_levels: [usize; 4],
    /// Side of the first of them; each further one is 2 larger.
    pub focal_windows: [usize; 4],
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the pixel decoder, a multiple of 32.
    pub convs_dim: usize,
    /// Channels of the mask features.
    pub mask_dim: usize,
    /// Channels of the decoder.
    pub hidden_dim: usize,
    /// Length of the vectors in which text and image are compared.
    pub proj_dim: usize,
    /// Layers of the transformer over stride 32.
    pub encoder_layers: usize,
    /// Layers of the decoder; the official `DEC_LAYERS` counts one more.
    pub decoder_layers: usize,
    /// Queries; the last one is the class token.
    pub queries: usize,
    /// Heads of the attention of the image's side and of the decoder.
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub ffn_dim: usize,
    /// Channels of the text encoder.
    pub text_width: usize,
    /// Layers of the text encoder.
    pub text_layers: usize,
    /// Heads of the text encoder.
    pub text_heads: usize,
    /// Most tokens of a prompt, start and end among them.
    pub context: usize,
    /// Tokens there are.
    pub vocabulary: usize,
}

/// Heads of the released models, everywhere.
const HEADS: usize = 8;

impl Config {
    /// Names of the released variants.
    pub const VARIANTS: [&str; 2] = ["focal-t", "focal-l"];

    /// A released variant, `"focal-t"` or `"focal-l"`.
    #[must_use]
    pub fn variant(name: &str) -> Option<Self> {
        let tiny = Self {
            backbone: Backbone::FocalDw,
            embed_dim: 96,
            depths: [2, 2, 6, 2],
            focal_levels: [3; 4],
            focal_windows: [3; 4],
            in_channels: 3,
            convs_dim: 512,
            mask_dim: 512,
            hidden_dim: 512,
            proj_dim: 512,
            encoder_layers: 6,
            decoder_layers: 9,
            queries: 101,
            heads: HEADS,
            ffn_dim: 2048,
            text_width: 512,
            text_layers: 12,
            text_heads: HEADS,
            context: 77,
            vocabulary: 49408,
        };
        match name.to_ascii_lowercase().as_str() {
            "focal-t" => Some(tiny),
            "focal-l" => Some(Self {
                backbone: Backbone::Focal,
                embed_dim: 192,
                depths: [2, 2, 18, 2],
                focal_levels: [4; 4],
                queries: 201,
                ..tiny
            }),
            _ => None,
        }
    }

    /// The name of the released variant this is.
    #[must_use]
    pub fn variant_name(&self) -> Option<&'static str> {
        Self::VARIANTS.into_iter().find(|name| Self::variant(name).is_some_and(|v| v == *self))
    }

    /// Reads the hyper-parameters off the names and shapes of a checkpoint. The numbers of heads are taken to be those of
    /// the released models.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the tensors are not those of an X-Decoder.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let size = |name: &str, axis: usize| {
            checkpoint.get(name).and_then(|t| t.shape.get(axis).copied()).ok_or_else(|| {
                Error::checkpoint(
                    &checkpoint.path,
                    format!("no tensor called {name} with {} or more axes", axis + 1),
                    "the weights of an X-Decoder (backbone.…, sem_seg_head.…)",
                    "Choose an official checkpoint such as xdecoder_focalt_last.pt",
                )
            })
        };
        let count = |before: &str| {
            let begins = |n: usize| {
                let prefix = format!("{before}.{n}.");
                checkpoint.tensors.iter().any(|t| t.name.starts_with(&prefix))
            };
            (0..64).find(|&n| !begins(n)).unwrap_or(64)
        };
        let block = |stage: usize| format!("backbone.layers.{stage}.blocks.0.modulation.focal_layers");
        let mut focal_windows = [0; 4];
        for (stage, window) in focal_windows.iter_mut().enumerate() {
            *window = size(&format!("{}.0.0.weight", block(stage)), 2)?;
        }
        let stages = [0, 1, 2, 3];
        let has_dw = checkpoint.get("backbone.layers.0.blocks.0.dw1.weight").is_some();
        let config = Self {
            backbone: if has_dw { Backbone::FocalDw } else { Backbone::Focal },
            embed_dim: size("backbone.patch_embed.proj.weight", 0)?,
            depths: stages.map(|i| count(&format!("backbone.layers.{i}.blocks"))),
            focal_levels: stages.map(|i| count(&block(i))),
            focal_windows,
            in_channels: size("backbone.patch_embed.proj.weight", 1)?,
            convs_dim: size(&format!("{PIXEL_DECODER}.input_proj.weight"), 0)?,
            mask_dim: size(&format!("{PIXEL_DECODER}.mask_features.weight"), 0)?,
            hidden_dim: size(&format!("{HEAD}.query_feat.weight"), 1)?,
            proj_dim: size(&format!("{HEAD}.class_embed"), 1)?,
            encoder_layers: count(&format!("{PIXEL_DECODER}.transformer.encoder.layers")),
            decoder_layers: count(&format!("{HEAD}.transformer_ffn_layers")),
            queries: size(&format!("{HEAD}.query_feat.weight"), 0)?,
            heads: HEADS,
            ffn_dim: size(&format!("{HEAD}.transformer_ffn_layers.0.linear1.weight"), 0)?,
            text_width: size(&format!("{LANGUAGE}.positional_embedding"), 1)?,
            text_layers: count(&format!("{LANGUAGE}.resblocks")),
            text_heads: HEADS,
            context: size(&format!("{LANGUAGE}.positional_embedding"), 0)?,
            vocabulary: size(&format!("{LANGUAGE}.token_embedding.weight"), 0)?,
        };
        config.validate()?;
        Ok(config)
    }

    /// Channels of a stage of the backbone, 0 at stride 4.
    #[must_use]
    pub fn channels(&self, stage: usize) -> usize {
        self.embed_dim << stage
    }

    /// Side of the depthwise convolution of a focal level.
    pub(super) fn kernel(&self, stage: usize, level: usize) -> usize {
        self.focal_windows[stage] + 2 * level
    }

    /// Levels of stride 32, 16 and 8 that the decoder looks at.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.decoder_layers.min(3)
    }

    /// Masks that come with a phrase, likeliest first.
    #[must_use]
    pub fn candidates(&self) -> usize {
        super::CANDIDATES.min(self.queries.saturating_sub(1))
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
                "An X-Decoder with {name} = {value} cannot be built; it is {low} to {high}"
            )))
        };
        let divides = |name: &str, value: usize, parts: usize| {
            if value.is_multiple_of(parts) {
                return Ok(());
            }
            Err(Error::Argument(format!(
                "An X-Decoder with {name} = {value} cannot be built; it is a multiple of {parts}"
            )))
        };
        within("embed_dim", self.embed_dim, 1, 1024)?;
        within("in_channels", self.in_channels, 1, 16)?;
        for stage in 0..4 {
            within("depths", self.depths[stage], 1, 63)?;
            within("focal_levels", self.focal_levels[stage], 1, 8)?;
            within("focal_windows", self.focal_windows[stage], 1, 15)?;
        }
        for (name, value) in [
            ("convs_dim", self.convs_dim),
            ("mask_dim", self.mask_dim),
            ("hidden_dim", self.hidden_dim),
            ("proj_dim", self.proj_dim),
            ("text_width", self.text_width),
        ] {
            within(name, value, 1, 4096)?;
        }
        within("encoder_layers", self.encoder_layers, 1, 63)?;
        within("decoder_layers", self.decoder_layers, 1, 63)?;
        within("text_layers", self.text_layers, 1, 63)?;
        within("queries", self.queries, 2, 4096)?;
        within("ffn_dim", self.ffn_dim, 1, 16384)?;
        within("context", self.context, 2, 4096)?;
        within("vocabulary", self.vocabulary, 3, 1 << 20)?;
        within("heads", self.heads, 1, 64)?;
        within("text_heads", self.text_heads, 1, 64)?;
        divides("convs_dim", self.convs_dim, super::GROUPS)?;
        divides("convs_dim", self.convs_dim, 2 * self.heads)?;
        divides("hidden_dim", self.hidden_dim, 2 * self.heads)?;
        divides("text_width", self.text_width, self.text_heads)?;
        if self.proj_dim == self.hidden_dim {
            return Ok(());
        }
        Err(Error::Argument(format!(
            "An X-Decoder with proj_dim = {} and hidden_dim = {} cannot be built; they are equal, since tokens of text \
             become rows of the decoder",
            self.proj_dim, self.hidden_dim
        )))
    }
}
