"""Sliding-window inference by the rule of the official evaluation: constant weights, logits averaged."""

from __future__ import annotations

from itertools import product
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F


def starts(n: int, roi: int, overlap: float) -> list[int]:
    """Window starts along an axis of n >= roi voxels; the last window ends at the edge."""
    step = max(1, int(roi * (1 - overlap)))
    return [min(k * step, n - roi) for k in range(ceil((n - roi) / step) + 1)]


def sliding_window(model, x: Tensor, roi: tuple[int, int, int], overlap: float = 0.5) -> Tensor:
    """Logits (N, K, D, H, W) of x (N, C, D, H, W). Axes shorter than the roi are padded with zeros, the smaller half
    in front, and the result is cropped back."""
    size = x.shape[2:]
    deficit = [max(0, r - n) for r, n in zip(roi, size)]
    front = [d // 2 for d in deficit]
    x = F.pad(x, [v for d, f in zip(reversed(deficit), reversed(front)) for v in (f, d - f)])
    total = weight = None
    for corner in product(*(starts(n, r, overlap) for n, r in zip(x.shape[2:], roi))):
        window = (..., *(slice(c, c + r) for c, r in zip(corner, roi)))
        logits = model(x[window])
        if total is None:
            total = logits.new_zeros(x.shape[0], logits.shape[1], *x.shape[2:])
            weight = logits.new_zeros(x.shape[2:])
        total[window] += logits
        weight[window] += 1
    total = total / weight
    return total[(..., *(slice(f, f + n) for f, n in zip(front, size)))]
