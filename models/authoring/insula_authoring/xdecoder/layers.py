"""What the parts of X-Decoder share: attention, the sine embedding, the antialiased bicubic resize.

Rows are (batch, rows, channels), maps (batch, channels, height, width).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32  # of every GroupNorm


class Attention(nn.Module):
    """Multi-head attention with one matrix for queries, keys and values, in this order of rows."""

    def __init__(self, c: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * c, c))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * c))
        self.out_proj = nn.Linear(c, c)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None = None) -> Tensor:
        """`blocked`: bool, True where a query does not look, broadcast to (batch, heads, queries, keys)."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for x, w, b in zip((q, k, v), weights, biases))
        y = F.scaled_dot_product_attention(q, k, v, None if blocked is None else ~blocked)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class ConvNorm(nn.Conv2d):
    """Convolution that keeps the size, without bias, then GroupNorm."""

    def __init__(self, cin: int, cout: int, k: int):
        super().__init__(cin, cout, k, padding=k // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1; the small number is added to the norm, not under the root."""
    return x / (x.norm(dim=-1, keepdim=True) + 1e-7)


def rows(x: Tensor) -> Tensor:
    """A map as rows, top row first."""
    return x.flatten(2).transpose(1, 2)


@cache
def sine(h: int, w: int, c: int) -> Tensor:
    """Position embedding of a grid as rows (1, h w, c): the first half of the channels tells the row, the second the
    column; sines at even places, cosines at odd ones. Positions count from 1 and are scaled to 2 pi."""
    def along(n: int) -> Tensor:
        z = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1e-6) * 2 * math.pi
        k = torch.arange(c // 2)
        angle = z[:, None] / 10000 ** (2 * (k // 2) / (c // 2)).double()
        return torch.where(k % 2 == 0, angle.sin(), angle.cos()).float()

    y, x = along(h)[:, None].expand(h, w, -1), along(w)[None].expand(h, w, -1)
    return torch.cat([y, x], -1).reshape(1, h * w, c)


@cache
def resize_matrix(n: int, out: int) -> Tensor:
    """Row i: the weights by which n samples make sample i of `out`. float64 (out, n).

    Keys' cubic with a = -0.5, widened when shrinking; weights beyond the border are dropped and the rest sum to 1."""
    scale = n / out
    widen = max(1.0, scale)
    matrix = torch.zeros(out, n, dtype=torch.float64)
    for i in range(out):
        centre = scale * (i + 0.5)
        first, last = max(int(centre - 2 * widen + 0.5), 0), min(int(centre + 2 * widen + 0.5), n)
        t = ((torch.arange(first, last, dtype=torch.float64) - centre + 0.5) / widen).abs()
        near, far = (1.5 * t - 2.5) * t * t + 1, -0.5 * (((t - 5) * t + 8) * t - 4)
        weight = torch.where(t < 1, near, torch.where(t < 2, far, torch.zeros_like(t)))
        matrix[i, first:last] = weight / weight.sum()
    return matrix


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bicubic resize of the last two axes: a product per axis."""
    down, across = (resize_matrix(n, m).to(x) for n, m in zip(x.shape[-2:], size))
    return down @ x @ across.t()
