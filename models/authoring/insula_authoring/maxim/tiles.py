"""A picture of any size through a small grey network: tiles that overlap, blended."""

from __future__ import annotations

import numpy as np
import torch

from .network import Maxim


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin: evenly spread, each pair sharing at least `overlap`, the last ending with the picture."""
    count = max(1, -(-(length - overlap) // (tile - overlap)))
    return [round(i * (length - tile) / max(count - 1, 1)) for i in range(count)]


def ramp(tile: int, overlap: int) -> np.ndarray:
    """Weights of a tile along an axis: rising over the overlap, flat, falling."""
    i = np.arange(tile) + 0.5
    return np.minimum(1, np.minimum(i, tile - i) / overlap).astype(np.float32)


@torch.no_grad()
def tiled(model: Maxim, image: np.ndarray, tile: int = 128, overlap: int = 32) -> np.ndarray:
    """float32 (h, w) from float32 (h, w). A picture smaller than a tile is reflected out to it."""
    h, w = image.shape
    image = np.pad(image, ((0, max(0, tile - h)), (0, max(0, tile - w))), "reflect")
    total, weight = np.zeros_like(image), np.zeros_like(image)
    window = np.outer(ramp(tile, overlap), ramp(tile, overlap))
    for y in starts(image.shape[0], tile, overlap):
        for x in starts(image.shape[1], tile, overlap):
            part = np.ascontiguousarray(image[y:y + tile, x:x + tile])
            out = model(torch.from_numpy(part)[None, ..., None])[0, ..., 0].numpy()
            total[y:y + tile, x:x + tile] += window * out
            weight[y:y + tile, x:x + tile] += window
    return (total / weight)[:h, :w]
