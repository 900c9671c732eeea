"""X-Decoder in PyTorch, written from its published description. A state dict has the names of the official checkpoints.

    encode  image            -> the decoder's Memory, and the vector of the whole image
    text    token ids        -> vectors of tokens and of sentences (predictor.lang_encoder)
    segment Memory, classes  -> predictor.segment;  phrases: predictor.ground;  words: predictor.caption_features
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbone import Backbone
from .config import Config
from .decoder import Memory, Predictor
from .pixel_decoder import PixelDecoder

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of red, green, blue in 0..255
MULTIPLE = 32  # of height and width


class Head(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.pixel_decoder = PixelDecoder(config)
        self.predictor = Predictor(config)


class XDecoder(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.backbone_proj = nn.Parameter(torch.randn(config.channels(3), config.proj_dim) * config.channels(3)**-0.5)
        self.sem_seg_head = Head(config)

    @property
    def predictor(self) -> Predictor:
        return self.sem_seg_head.predictor

    def text(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictor.lang_encoder(ids)

    def encode(self, image: Tensor) -> tuple[Memory, Tensor]:
        """image (N, in_channels, H, W), normalised, then padded with zeros. The vector (N, D) serves retrieval."""
        if any(n % MULTIPLE for n in image.shape[2:]):
            raise ValueError(f"height and width {tuple(image.shape[2:])} must be multiples of {MULTIPLE}")
        maps = self.backbone(image)
        mask_features, levels = self.sem_seg_head.pixel_decoder(maps)
        return self.predictor.memory(mask_features, levels), maps[3].mean((2, 3)) @ self.backbone_proj


@torch.no_grad()
def caption(model: XDecoder, memory: Memory, steps: int, start: int, away: list[Tensor] | None = None) -> list[int]:
    """Token ids of the likeliest words, one after the other, for one image; the first is `start`. Always `steps` of them:
    what follows an end token is for the caller to drop."""
    ids, table = torch.full((1, model.config.context), start), model.predictor.lang_encoder.lang_encoder.token_embedding.weight
    for t in range(steps):
        words, _ = model.text(ids)
        found, _ = model.predictor.caption_features(memory, words, away)
        ids[0, t + 1] = int((found[0, t] @ table.t()).argmax())
    return ids[0, :steps + 1].tolist()
