"""The network: ResNet + FPN, region proposals, box head, mask head. All pure functions of arrays; what depends on values (which
boxes, which level) is in `glue` and `targets`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config, STRIDES
from .roi import roi_align

MEAN, SD = 127.5, 63.75  # grey and the picture's three colours alike: nothing here was trained on other pictures


def conv(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution before a BatchNorm."""
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)


class Block(nn.Module):
    """Residual block of ResNet: two 3x3 convolutions, or 1x1, 3x3, 1x1 with four times the width (stride on the 3x3)."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            layers = [conv(inputs, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1)]
        else:
            layers = [conv(inputs, width, 3, stride), conv(width, width, 3)]
        self.convs = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c.out_channels) for c in layers)
        nn.init.zeros_(self.norms[-1].weight)  # a new block begins as the identity
        self.short = None
        if stride > 1 or inputs != outputs:
            self.short = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, (c, n) in enumerate(zip(self.convs, self.norms)):
            y = n(c(y))
            if i + 1 < len(self.convs):
                y = F.relu(y)
        return F.relu(y + (x if self.short is None else self.short(x)))


class Backbone(nn.Module):
    """ResNet and feature pyramid: pictures [B, 3, H, W] in 0..255, sides multiples of 32, to P2..P6 [B, fpn, H/4, W/4] ... [H/64]."""

    def __init__(self, c: Config):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, c.stem, 7, 2, 3, bias=False), nn.BatchNorm2d(c.stem))
        self.stages, self.lateral, self.smooth = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = c.stem
        for i, (count, width) in enumerate(zip(c.blocks, c.widths)):
            blocks = []
            for j in range(count):
                blocks.append(Block(inputs, width, 2 if i > 0 and j == 0 else 1, c.bottleneck))
                inputs = width * 4 if c.bottleneck else width
            self.stages.append(nn.Sequential(*blocks))
            self.lateral.append(nn.Conv2d(inputs, c.fpn, 1))
            self.smooth.append(nn.Conv2d(c.fpn, c.fpn, 3, padding=1))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.stem((image - MEAN) / SD)), 3, 2, 1)
        maps = []
        for stage, lateral in zip(self.stages, self.lateral):
            x = stage(x)
            maps.append(lateral(x))
        for i in range(2, -1, -1):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], scale_factor=2.0, mode="nearest")
        maps = [s(m) for s, m in zip(self.smooth, maps)]
        return maps + [F.max_pool2d(maps[-1], 1, 2)]


class Proposals(nn.Module):
    """Region proposal head: per level objectness logits [B, A, H, W] and box code [B, 4 A, H, W], A anchors a cell."""

    def __init__(self, c: Config):
        super().__init__()
        a = len(c.anchor_ratios)
        self.conv = nn.Conv2d(c.fpn, c.fpn, 3, padding=1)
        self.objectness = nn.Conv2d(c.fpn, a, 1)
        self.deltas = nn.Conv2d(c.fpn, 4 * a, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.objectness.bias, -math.log(99))  # nearly nothing is text

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [F.relu(self.conv(m)) for m in maps]
        return [self.objectness(h) for h in hidden], [self.deltas(h) for h in hidden]


class BoxHead(nn.Module):
    """Pooled regions [N, fpn, 7, 7] to logits [N, 2] (background, text) and box code [N, 4]."""

    def __init__(self, c: Config):
        super().__init__()
        self.first = nn.Linear(c.fpn * c.box_pool**2, c.box_hidden)
        self.second = nn.Linear(c.box_hidden, c.box_hidden)
        self.logits = nn.Linear(c.box_hidden, 2)
        self.deltas = nn.Linear(c.box_hidden, 4)
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.first, self.second, self.logits, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.second(F.relu(self.first(pooled.flatten(1)))))
        return self.logits(x), self.deltas(x)


class MaskHead(nn.Module):
    """Pooled regions [N, fpn, 14, 14] to mask logits [N, 28, 28].

    The MLP decoder has weights of its own for every place of the region, so it can tell a line from the twin line beside it by
    where it lies; a convolution gives the same glyph the same answer everywhere."""

    def __init__(self, c: Config):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c.fpn, c.fpn, 3, padding=1) for _ in range(c.mask_convs))
        self.side = 2 * c.mask_pool
        self.decoder = c.decoder
        if c.decoder == "mlp":
            self.reduce = nn.Conv2d(c.fpn, c.mask_reduce, 1)
            self.hidden = nn.Linear(c.mask_reduce * c.mask_pool**2, c.mask_hidden)
            self.out = nn.Linear(c.mask_hidden, self.side**2)
        elif c.decoder == "deconv":
            self.up = nn.ConvTranspose2d(c.fpn, c.fpn, 2, 2)
            self.out = nn.Conv2d(c.fpn, 1, 1)
        else:
            raise ValueError(f"decoder {c.decoder!r}: expected mlp or deconv")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            x = F.relu(layer(x))
        if self.decoder == "mlp":
            x = self.out(F.relu(self.hidden(F.relu(self.reduce(x)).flatten(1))))
        else:
            x = self.out(F.relu(self.up(x)))
        return x.reshape(-1, self.side, self.side)


class Mayor(nn.Module):
    def __init__(self, config: Config = Config()):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.rpn = Proposals(config)
        self.box_head = BoxHead(config)
        self.mask_head = MaskHead(config)
        for m in [*self.backbone.modules(), *self.mask_head.modules()]:
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def boxes(self, maps: list[Tensor], rois: Tensor, image: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        return self.box_head(roi_align(maps[:4], rois, image, level, STRIDES, self.config.box_pool))

    def masks(self, maps: list[Tensor], rois: Tensor, image: Tensor, level: Tensor) -> Tensor:
        return self.mask_head(roi_align(maps[:4], rois, image, level, STRIDES, self.config.mask_pool))
