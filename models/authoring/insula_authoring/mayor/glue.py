"""Everything between the three graphs, in NumPy: the definition that the Rust twin is tested against.

    graph A  picture -> P2..P5, objectness and box code of P2..P6
    here     proposals()
    graph B  P2..P5, regions -> text scores, box code
    here     detections(), regions()
    graph C  P2..P5, regions -> masks 28 x 28
    here     paste(), region(), suppress_masks(), then contour.py

Ties are broken by order everywhere, so that two implementations agree on which of two equal boxes is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import boxes as bx
from .config import Config, SIZE_MULTIPLE

f32 = np.float32


@dataclass(frozen=True)
class Settings:
    """Inference thresholds. The redaction mode lowers `score` to 0.25."""

    rpn_pre: int = 1000  # proposals per level before suppression
    rpn_nms: float = 0.7
    proposals: int = 300
    score: float = 0.5
    box_nms: float = 0.5
    detections: int = 300
    expand: float = 0.05  # of each side, before the mask is pooled: else letters at the box's edge are cut
    mask: float = 0.5
    mask_nms: float = 0.2


def padded(picture: np.ndarray) -> np.ndarray:
    """An RGB picture [H, W, 3] as graph A wants it: float32 [1, 3, H', W'], 0..255, black to the right and below up to
    multiples of 32."""
    h, w = picture.shape[:2]
    out = np.zeros((1, 3, -(-h // SIZE_MULTIPLE) * SIZE_MULTIPLE, -(-w // SIZE_MULTIPLE) * SIZE_MULTIPLE), f32)
    out[0, :, :h, :w] = picture.transpose(2, 0, 1)
    return out


def proposals(config: Config, objectness: list[np.ndarray], deltas: list[np.ndarray], height: int, width: int,
              s: Settings = Settings()) -> tuple[np.ndarray, np.ndarray]:
    """Regions worth a look and their logits, best first: [N, 4], [N], N <= s.proposals.

    `objectness` [A, H, W] logits and `deltas` [4 A, H, W] (anchor slowest) per level P2..P6; `height` and `width` are the
    picture's own, without padding. Per level: the best `rpn_pre` by logit, decoded, cut to the picture, those under a pixel dropped,
    suppressed at `rpn_nms`. Then the best of all levels."""
    found, scores = [], []
    for o, d, a in zip(objectness, deltas, bx.all_anchors(config, objectness[0].shape[1] * 4, objectness[0].shape[2] * 4)):
        n = o.shape[0]
        logit = o.transpose(1, 2, 0).reshape(-1)
        code = d.reshape(n, 4, *o.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4)
        top = bx.order(logit)[:s.rpn_pre]
        b = bx.clip(bx.decode("rpn", a[top], code[top]), height, width)
        logit = logit[top]
        large = (b[:, 2:] - b[:, :2] >= 1).all(1)
        b, logit = b[large], logit[large]
        keep = bx.nms(b, logit, s.rpn_nms)
        found.append(b[keep])
        scores.append(logit[keep])
    b, logit = np.concatenate(found), np.concatenate(scores)
    best = bx.order(logit)[:s.proposals]
    return b[best], logit[best]


def detections(rois: np.ndarray, scores: np.ndarray, deltas: np.ndarray, height: int, width: int,
               s: Settings = Settings()) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of text and their scores, best first: from regions [N, 4], text probabilities [N], box code [N, 4]."""
    b = bx.clip(bx.decode("box", rois, deltas), height, width)
    good = (scores >= f32(s.score)) & (b[:, 2:] - b[:, :2] >= 1).all(1)
    b, scores = b[good], scores[good]
    keep = bx.nms(b, scores, s.box_nms)[:s.detections]
    return b[keep], scores[keep]


def expanded(boxes: np.ndarray, height: int, width: int, s: Settings = Settings()) -> np.ndarray:
    """Boxes grown by `expand` of each side on both ends, cut to the picture: what the mask is pooled from."""
    grow = (boxes[:, 2:] - boxes[:, :2]) * f32(s.expand)
    return bx.clip(np.concatenate([boxes[:, :2] - grow, boxes[:, 2:] + grow], 1), height, width)


def window(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """The whole pixels a box touches: x0, y0, x1, y1, ends exclusive."""
    x0, y0 = int(np.floor(box[0])), int(np.floor(box[1]))
    return x0, y0, min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)


def _taps(start: f32, end: f32, first: int, last: int, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at = (np.arange(first, last, dtype=f32) + f32(0.5) - start) / (end - start) * cells - f32(0.5)
    at = np.clip(at, f32(0), f32(cells - 1))
    low = np.minimum(np.floor(at).astype(np.int64), cells - 2)
    return low, low + 1, at - low


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask [28, 28] laid over `window(box)`: probability at each pixel's centre, bilinear between the cells' centres."""
    x0, y0, x1, y1 = window(box, height, width)
    cells = mask.shape[0]
    xl, xh, xw = _taps(box[0], box[2], x0, x1, cells)
    yl, yh, yw = _taps(box[1], box[3], y0, y1, cells)
    rows = mask[yl] * (1 - yw)[:, None] + mask[yh] * yw[:, None]
    return rows[:, xl] * (1 - xw) + rows[:, xh] * xw


def region(probability: np.ndarray, s: Settings = Settings()) -> np.ndarray:
    """The text's pixels: the largest 4-connected part of those at or over `mask` (the first in reading order among equals), holes
    filled (holes are 8-connected). All False where nothing is that probable."""
    labels, count = ndimage.label(probability >= f32(s.mask))
    if count == 0:
        return np.zeros(probability.shape, bool)
    part = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    outside, _ = ndimage.label(np.pad(~part, 1, constant_values=True), np.ones((3, 3)))
    return outside[1:-1, 1:-1] != outside[0, 0]


@dataclass
class Found:
    """One detection in the network's picture."""

    box: np.ndarray  # [4], of the box head
    score: float  # box score times the mean probability inside the region
    origin: tuple[int, int]  # x, y of the region's first pixel
    region: np.ndarray  # bool [h, w]
    box_score: float = 1.0  # of the box head alone


def found(boxes: np.ndarray, scores: np.ndarray, grown: np.ndarray, masks: np.ndarray, height: int, width: int,
          s: Settings = Settings()) -> list[Found]:
    """Detections with their regions, best first, doubles removed. One whose mask is empty keeps its whole box: text is not
    lost for want of a shape."""
    out = []
    for b, score, g, m in zip(boxes, scores, grown, masks):
        p = paste(m, g, height, width)
        r = region(p, s)
        mean = float(p[r].mean()) if r.any() else 0.0
        x0, y0, _, _ = window(g, height, width)
        if not r.any():
            x0, y0, x1, y1 = window(b, height, width)
            r, mean = np.ones((y1 - y0, x1 - x0), bool), s.mask
        out.append(Found(b, float(score) * mean, (x0, y0), r, float(score)))
    rank = bx.order(np.array([f.score for f in out]))
    return suppress_masks([out[i] for i in rank], s.mask_nms)


def suppress_masks(ranked: list[Found], threshold: float) -> list[Found]:
    """Drops a region whose IoU in pixels with a kept better one exceeds the threshold."""
    kept: list[Found] = []
    for f in ranked:
        if not any(overlap(f, k) > threshold for k in kept):
            kept.append(f)
    return kept


def overlap(a: Found, b: Found) -> float:
    """IoU of two regions in pixels."""
    (ax, ay), (bx_, by), (ah, aw), (bh, bw) = a.origin, b.origin, a.region.shape, b.region.shape
    x0, y0, x1, y1 = max(ax, bx_), max(ay, by), min(ax + aw, bx_ + bw), min(ay + ah, by + bh)
    if x0 >= x1 or y0 >= y1:
        return 0.0
    common = int((a.region[y0 - ay:y1 - ay, x0 - ax:x1 - ax] & b.region[y0 - by:y1 - by, x0 - bx_:x1 - bx_]).sum())
    return common / (int(a.region.sum()) + int(b.region.sum()) - common)
