"""FocalNet (Yang et al., NeurIPS 2022) as X-Decoder has it: block "focal_dw" for Focal-T, "focal" for Focal-L.

Inside a stage maps have their channels last, (batch, height, width, channels).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config


class FocalModulation(nn.Module):
    """Each position's query is multiplied with what it gathers around it: depthwise convolutions of growing reach, one
    fed by the other, and the mean of the whole map, each under a gate of its own."""

    def __init__(self, c: int, kernels: list[int]):
        super().__init__()
        self.c, self.levels = c, len(kernels)
        self.f = nn.Linear(c, 2 * c + self.levels + 1)
        self.focal_layers = nn.ModuleList(nn.Sequential(nn.Conv2d(c, c, k, padding=k // 2, groups=c, bias=False))
                                          for k in kernels)
        self.h = nn.Conv2d(c, c, 1)
        self.proj = nn.Linear(c, c)

    def forward(self, x: Tensor) -> Tensor:
        q, context, gates = self.f(x).permute(0, 3, 1, 2).split([self.c, self.c, self.levels + 1], 1)
        gathered = 0
        for level, layer in enumerate(self.focal_layers):
            context = F.gelu(layer(context))
            gathered = gathered + context * gates[:, level:level + 1]
        whole = F.gelu(context.mean((2, 3), keepdim=True))
        gathered = (gathered + whole * gates[:, self.levels:]) / (self.levels + 1)
        return self.proj((q * self.h(gathered)).permute(0, 2, 3, 1))


class Mlp(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """`kind` "focal_dw": depthwise convolutions before modulation and MLP, norms after the sums. "focal": no such
    convolutions, norms inside the branches."""

    def __init__(self, c: int, kernels: list[int], kind: str):
        super().__init__()
        self.depthwise = kind == "focal_dw"
        if self.depthwise:
            self.dw1 = nn.Conv2d(c, c, 3, padding=1, groups=c)
            self.dw2 = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.modulation = FocalModulation(c, kernels)
        self.mlp = Mlp(c)
        self.gamma_1 = nn.Parameter(torch.full((c,), 1e-2))
        self.gamma_2 = nn.Parameter(torch.full((c,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        if not self.depthwise:
            x = x + self.gamma_1 * self.norm1(self.modulation(x))
            return x + self.gamma_2 * self.norm2(self.mlp(x))
        local = lambda conv, x: x + conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = local(self.dw1, x)
        x = self.norm1(x + self.gamma_1 * self.modulation(x))
        x = local(self.dw2, x)
        return self.norm2(x + self.gamma_2 * self.mlp(x))


class Embed(nn.Module):
    """A convolution with a stride, then a norm; channels last out."""

    def __init__(self, cin: int, cout: int, k: int, stride: int, padding: int):
        super().__init__()
        self.proj = nn.Conv2d(cin, cout, k, stride, padding)
        self.norm = nn.LayerNorm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Stage(nn.Module):
    def __init__(self, config: Config, i: int):
        super().__init__()
        c, kernels = config.channels(i), [config.kernel(i, n) for n in range(config.focal_levels[i])]
        self.blocks = nn.ModuleList(Block(c, kernels, config.backbone) for _ in range(config.depths[i]))
        if i + 1 < len(config.depths):
            self.downsample = Embed(c, 2 * c, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Backbone(nn.Module):
    """(N, in_channels, H, W), sides multiples of 32, to maps of stride 4, 8, 16 and 32."""

    def __init__(self, config: Config):
        super().__init__()
        padding = {"focal_dw": 3, "focal": 2}[config.backbone]
        self.patch_embed = Embed(config.in_channels, config.embed_dim, 7, 4, padding)
        self.layers = nn.ModuleList(Stage(config, i) for i in range(len(config.depths)))
        for i in range(len(config.depths)):
            self.add_module(f"norm{i}", nn.LayerNorm(config.channels(i)))

    def forward(self, image: Tensor) -> list[Tensor]:
        x, found = self.patch_embed(image), []
        for i, stage in enumerate(self.layers):
            x = stage(x)
            found.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2))
            if i + 1 < len(self.layers):
                x = stage.downsample(x.permute(0, 3, 1, 2))
        return found
