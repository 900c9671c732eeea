"""RoIAlign: exactly the ONNX operator RoiAlign of opset 10 (`output_half_pixel`), average, two samples a bin and axis.

A sample at (x, y) reads the picture of cell centres at integer coordinates; a region's corners are divided by the stride without the
half-cell shift. Outside by more than one cell reads 0; else coordinates are clamped. A region is at least one cell wide and high.
https://onnx.ai/onnx/operators/onnx__RoiAlign.html
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SAMPLES = 2  # per bin and axis


def _axis(start: Tensor, end: Tensor, bins: int, length: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sample positions along one axis of N regions: lower cell, upper cell (int64 [N, bins * 2]), and their weights."""
    side = (end - start).clamp(min=1.0)
    at = (torch.arange(bins * SAMPLES, dtype=start.dtype) + 0.5) / (bins * SAMPLES)
    x = start[:, None] + side[:, None] * at
    n = length[:, None]
    inside = ((x >= -1) & (x <= n)).to(x.dtype)
    x = torch.minimum(x.clamp(min=0), (n - 1).to(x.dtype))
    low = x.floor().long()
    high = torch.minimum(low + 1, n - 1)
    upper = (x - low) * inside
    return low, high, inside - upper, upper


def roi_align(maps: list[Tensor], rois: Tensor, image: Tensor, level: Tensor, strides: tuple[int, ...], bins: int) -> Tensor:
    """Features of regions, each from its own picture and level: [N, C, bins, bins].

    `maps` are [B, C, H, W], finest first; `rois` [N, 4] boxes in picture pixels; `image` and `level` int64 [N] say from where. All
    levels form one table of cells, so that a bin is one weighted sum of 16 rows of it."""
    channels = maps[0].shape[1]
    table = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, channels) for m in maps])
    cells = [m.shape[0] * m.shape[2] * m.shape[3] for m in maps]
    first = torch.tensor([sum(cells[:i]) for i in range(len(maps))])[level]
    height, width = (torch.tensor([m.shape[d] for m in maps])[level] for d in (2, 3))
    scaled = rois / torch.tensor(strides[:len(maps)], dtype=rois.dtype)[level][:, None]
    x_low, x_high, x_lw, x_hw = _axis(scaled[:, 0], scaled[:, 2], bins, width)
    y_low, y_high, y_lw, y_hw = _axis(scaled[:, 1], scaled[:, 3], bins, height)
    x = torch.stack([x_low, x_high], -1).reshape(-1, 1, bins, 1, 2 * SAMPLES)
    y = torch.stack([y_low, y_high], -1).reshape(-1, bins, 1, 2 * SAMPLES, 1)
    wx = torch.stack([x_lw, x_hw], -1).reshape(-1, 1, bins, 1, 2 * SAMPLES)
    wy = torch.stack([y_lw, y_hw], -1).reshape(-1, bins, 1, 2 * SAMPLES, 1)
    row = (first + image * height * width)[:, None, None, None, None] + y * width[:, None, None, None, None] + x
    weight = wx * wy / (SAMPLES * SAMPLES)
    taps = (2 * SAMPLES) ** 2
    # No gradient reaches the boxes: proposals are constants, as in every Mask R-CNN.
    out = F.embedding_bag(row.reshape(-1, taps), table, mode="sum", per_sample_weights=weight.detach().to(table.dtype).reshape(-1, taps))
    return out.reshape(rois.shape[0], bins, bins, channels).permute(0, 3, 1, 2)


class OnnxRoiAlign(torch.autograd.Function):
    """`roi_align` of one level of one picture; exports as the ONNX operator."""

    @staticmethod
    def forward(ctx, features: Tensor, rois: Tensor, stride: int, bins: int) -> Tensor:
        zero = torch.zeros(rois.shape[0], dtype=torch.int64)
        return roi_align([features], rois, zero, zero, (stride,), bins).contiguous()

    @staticmethod
    def symbolic(g, features, rois, stride: int, bins: int):
        count = g.op("Slice", g.op("Shape", rois), *(g.op("Constant", value_t=torch.tensor([v])) for v in (0, 1)))
        picture = g.op("ConstantOfShape", count, value_t=torch.tensor([0]))
        return g.op("RoiAlign", features, rois, picture, output_height_i=bins, output_width_i=bins,
                    sampling_ratio_i=SAMPLES, spatial_scale_f=1.0 / stride, mode_s="avg")
