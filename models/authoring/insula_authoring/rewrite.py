"""Rewrites of a SegFormer3D that change its cost and not its result (exact in real arithmetic)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .segformer3d import Attention, Decoder, DepthwiseConv, SegFormer3D


def folded(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> nn.Conv3d:
    """conv followed by norm (running statistics) as one convolution with a bias. Computed in float64."""
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(gain)
    out = nn.Conv3d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
                    groups=conv.groups, bias=True)
    out.weight.data = (conv.weight.double() * gain.view(-1, 1, 1, 1, 1)).float()
    out.bias.data = ((bias - norm.running_mean.double()) * gain + norm.bias.double()).float()
    return out


def rewrite(model: SegFormer3D) -> SegFormer3D:
    """A copy in which BatchNorms are folded into the convolutions before them, the attention scale into `query`.
    (The decoder multiplies each branch by its block of `linear_fuse.0` before the resize already.)

    Tensors keep their official names; the folded BatchNorms are gone and `linear_fuse.0` has gained a bias."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, DepthwiseConv):
                module.dwconv, module.bn = folded(module.dwconv, module.bn), nn.Identity()
            elif isinstance(module, Attention):
                module.query.weight.mul_(module.scale)
                module.query.bias.mul_(module.scale)
                module.scale = 1.0
            elif isinstance(module, Decoder):
                module.linear_fuse[0] = folded(module.linear_fuse[0], module.linear_fuse[1])
                module.linear_fuse[1] = nn.Identity()
    return model
