"""A picture through MAXIM by the rule of the official evaluation: reflected to a multiple of 64, answered whole, cut back."""

from __future__ import annotations

import numpy as np
import torch

from .network import Maxim


def padded(image: np.ndarray, multiple: int = 64) -> np.ndarray:
    """(h, w, c) with even sides, then with sides that are multiples, by reflection without repeating the edge; half of
    the second padding on each side."""
    odd = [n % 2 for n in image.shape[:2]]
    image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), "reflect")
    half = [(-n % multiple) // 2 for n in image.shape[:2]]
    return np.pad(image, ((half[0], half[0]), (half[1], half[1]), (0, 0)), "reflect")


def cropped(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a padded image that the original of that size (h, w) became."""
    start = [p // 2 - (n + n % 2) // 2 for p, n in zip(image.shape, size)]
    return image[start[0]:start[0] + size[0], start[1]:start[1] + size[1]]


def restored(model: Maxim, image: np.ndarray, multiple: int = 64) -> np.ndarray:
    """float32 (h, w, c) from float32 (h, w, c) in 0..1, unclipped."""
    with torch.no_grad():
        out = model(torch.from_numpy(padded(image, multiple))[None])[0].numpy()
    return cropped(out, image.shape[:2])


def eight_bit(image: np.ndarray) -> np.ndarray:
    """Clipped and truncated, not rounded, as the official program writes it."""
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)
