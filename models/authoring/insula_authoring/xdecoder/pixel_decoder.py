"""The pixel decoder: a transformer over stride 32, then a feature pyramid up to stride 4."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import Attention, ConvNorm, rows, sine


class EncoderLayer(nn.Module):
    """Norms after the sums; positions enter queries and keys only."""

    def __init__(self, c: int, heads: int, ffn: int):
        super().__init__()
        self.self_attn = Attention(c, heads)
        self.linear1, self.linear2 = nn.Linear(c, ffn), nn.Linear(ffn, c)
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)

    def forward(self, z: Tensor, position: Tensor) -> Tensor:
        where = z + position
        z = self.norm1(z + self.self_attn(where, where, z))
        return self.norm2(z + self.linear2(F.relu(self.linear1(z))))


class Transformer(nn.Module):
    """Holds the layers under the official name transformer.encoder.layers."""

    def __init__(self, config: Config):
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(config.convs_dim, config.heads, config.ffn_dim)
                                            for _ in range(config.encoder_layers))

    def forward(self, x: Tensor) -> Tensor:
        position = sine(*x.shape[2:], x.shape[1]).to(x)
        z = rows(x)
        for layer in self.encoder.layers:
            z = layer(z, position)
        return z.transpose(1, 2).reshape(x.shape)


class PixelDecoder(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        c = config.convs_dim
        self.input_proj = nn.Conv2d(config.channels(3), c, 1)
        self.transformer = Transformer(config)
        self.layer_4 = ConvNorm(c, c, 3)
        for k in (1, 2, 3):
            self.add_module(f"adapter_{k}", ConvNorm(config.channels(k - 1), c, 1))
            self.add_module(f"layer_{k}", ConvNorm(c, c, 3))
        self.mask_features = nn.Conv2d(c, config.mask_dim, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Maps of stride 4, 8, 16, 32 to mask features (N, mask_dim, H/4, W/4) and the memory [1/32, 1/16, 1/8]."""
        y = F.relu(self.layer_4(self.transformer(self.input_proj(maps[3]))))
        memory = [y]
        for k in (3, 2, 1):
            finer = getattr(self, f"adapter_{k}")(maps[k - 1])
            y = F.relu(getattr(self, f"layer_{k}")(finer + F.interpolate(y, scale_factor=2.0)))
            memory.append(y)
        return self.mask_features(y), memory[:3]
