"""A picture as the network's input, by the rule of the official demonstrations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .network import MEAN, MULTIPLE, STD


def shorter_side(picture, side: int):
    """A PIL picture with its shorter side resized to `side`, bicubic; the longer one is rounded down."""
    from PIL import Image

    w, h = picture.size
    size = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    return picture.resize(size, Image.BICUBIC)


def prepared(rgb: np.ndarray) -> Tensor:
    """uint8 (height, width, 3) to (1, 3, H, W): normalised, then padded with zeros on the right and below."""
    x = (torch.tensor(rgb).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    h, w = rgb.shape[:2]
    return torch.nn.functional.pad(x.permute(2, 0, 1), (0, -w % MULTIPLE, 0, -h % MULTIPLE))[None]
