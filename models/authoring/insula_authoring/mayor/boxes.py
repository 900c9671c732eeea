"""Arithmetic of boxes in NumPy, float32: anchors, the box code, overlap, suppression, the level a region is read from.

Training and inference both use it, and the Rust twin follows it operation by operation."""

from __future__ import annotations

import math

import numpy as np

from .config import Config, STRIDES, delta_stds

CLAMP = math.log(1000 / 16)  # of dw and dh before the exponential
f32 = np.float32


def anchors(config: Config, stride: int, height: int, width: int) -> np.ndarray:
    """Boxes [height * width * A, 4] of one level: row by row, then the ratios. Centres lie in the middle of the cells."""
    side = config.anchor_scale * stride
    half = np.array([(side / math.sqrt(r) / 2, side * math.sqrt(r) / 2) for r in config.anchor_ratios], f32)
    y, x = np.meshgrid((np.arange(height, dtype=f32) + f32(0.5)) * stride, (np.arange(width, dtype=f32) + f32(0.5)) * stride,
                       indexing="ij")
    centre = np.stack([x, y], -1)[:, :, None]
    return np.concatenate([centre - half, centre + half], -1).reshape(-1, 4)


def encode(stage: str, reference: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The box code (dx, dy, dw, dh) that leads from each reference box to its target; sides of both above 0."""
    rs, ts = reference[:, 2:] - reference[:, :2], target[:, 2:] - target[:, :2]
    shift = (target[:, :2] + ts / 2 - reference[:, :2] - rs / 2) / rs
    return (np.concatenate([shift, np.log(ts / rs)], 1) / np.array(delta_stds(stage))).astype(f32)


def decode(stage: str, reference: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """The inverse of `encode`; dw and dh are clamped from above at log(1000 / 16)."""
    d = deltas.astype(f32) * np.array(delta_stds(stage), f32)
    rs = reference[:, 2:] - reference[:, :2]
    centre = reference[:, :2] + rs * f32(0.5) + d[:, :2] * rs
    half = np.exp(np.minimum(d[:, 2:], f32(CLAMP))) * rs * f32(0.5)
    return np.concatenate([centre - half, centre + half], 1)


def clip(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Boxes cut to the picture [0, width] x [0, height]."""
    return np.clip(boxes, f32(0), np.array([width, height, width, height], f32))


def area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area [A, B]."""
    w = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    h = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.maximum(w, 0) * np.maximum(h, 0)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union [A, B]; 0 for two boxes without area."""
    common = intersection(a, b)
    return common / np.maximum(area(a)[:, None] + area(b)[None] - common, f32(1e-9))


def order(scores: np.ndarray) -> np.ndarray:
    """Indices by falling score; equal scores keep their order."""
    return np.argsort(-scores, kind="stable")


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the boxes kept, by falling score: a box goes when its IoU with a kept better one exceeds the threshold."""
    rank = order(scores)
    overlap = iou(boxes[rank], boxes[rank]) > f32(threshold)
    alive = np.ones(len(rank), bool)
    for i in range(len(rank)):
        if alive[i]:
            alive[i + 1:] &= ~overlap[i, i + 1:]
    return rank[alive]


def level(boxes: np.ndarray) -> np.ndarray:
    """Which of P2..P5 a region is read from, 0..3: floor(4 + log2(sqrt(area) / 224)) - 2, clamped. The tiny number keeps a
    side of exactly 112 or 224 on the upper level in spite of rounding."""
    side = np.sqrt(np.maximum(area(boxes), f32(1e-6)))
    return np.clip(np.floor(2 + np.log2(side / f32(224)) + f32(1e-6)), 0, 3).astype(np.int64)


def all_anchors(config: Config, height: int, width: int) -> list[np.ndarray]:
    """Anchors of P2..P6 of a picture whose sides are multiples of 32."""
    return [anchors(config, s, -(-height // s), -(-width // s)) for s in STRIDES]
