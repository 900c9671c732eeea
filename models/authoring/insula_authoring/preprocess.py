"""BraTS preprocessing as the official scripts do it, restated; axis order of the result is (S, A, R)."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, io_orientation

CROP = (slice(56, 184), slice(56, 184), slice(13, 141))  # of the RAS volume


def scale_slices(volume: np.ndarray) -> np.ndarray:
    """Min-max to 0..1 for each index of the last stored axis, in float64; a constant slice becomes 0."""
    v = volume.astype(np.float64)
    low = v.min((0, 1), keepdims=True)
    span = v.max((0, 1), keepdims=True) - low
    span[span == 0] = 1
    return (v - low) / span


def to_network(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Reorient to RAS+ by flips and permutation, crop 128 cubed, order axes as (S, A, R)."""
    ras = apply_orientation(volume, io_orientation(affine))
    return ras[CROP].swapaxes(0, 2)


def modalities(volumes: list[np.ndarray], affine: np.ndarray) -> np.ndarray:
    """float32 [C, 128, 128, 128] from raw volumes in the order FLAIR, T1w, T1gd, T2w (2017) or FLAIR, T1ce, T2 (2021)."""
    return np.stack([to_network(scale_slices(v), affine).astype(np.float32) for v in volumes])


def regions(label: np.ndarray, affine: np.ndarray, year: int = 2017) -> np.ndarray:
    """uint8 [3, 128, 128, 128]: tumour core, whole tumour, enhancing tumour."""
    tables = {2017: ((2, 3), (1, 2, 3), (3,)), 2021: ((1, 4), (1, 2, 4), (4,))}
    out = to_network(label, affine)
    return np.stack([np.isin(out, codes).astype(np.uint8) for codes in tables[year]])
