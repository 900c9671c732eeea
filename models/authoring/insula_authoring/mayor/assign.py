"""Which anchors answer for which text.

The adaptive rule gives every instance, above all one of extreme aspect ratio, at least `k_min` anchors. It is ours, in the spirit of the
paper's abstract: ATSS (Zhang et al., CVPR 2020) plus a repair pass, since ATSS alone leaves long thin lines and dense pages
without any (tables in the fact sheet of the family)."""

from __future__ import annotations

import numpy as np

from .boxes import iou
from .config import Config

NEGATIVE, IGNORED = -1, -2


def assign(config: Config, levels: list[np.ndarray], targets: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """For every anchor of all levels, finest first, the index of its instance, NEGATIVE or IGNORED: int64 [anchors].

    `levels` are anchor boxes, `targets` [G, 4] boxes of text, `ignored` [I, 4] boxes of what is neither text nor not."""
    anchors = np.concatenate(levels)
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    targets = targets.astype(np.float32).reshape(-1, 4).copy()
    targets[:, 2:] = np.maximum(targets[:, 2:], targets[:, :2] + 1)
    if len(targets) == 0:
        owner = np.full(len(anchors), NEGATIVE, np.int64)
    elif config.assigner == "adaptive":
        owner = _adaptive(config, levels, centre, targets)
    elif config.assigner == "max-iou":
        owner = _max_iou(anchors, targets)
    else:
        raise ValueError(f"assigner {config.assigner!r}: expected adaptive or max-iou")
    for x0, y0, x1, y1 in ignored.reshape(-1, 4):
        within = (centre[:, 0] >= x0) & (centre[:, 0] < x1) & (centre[:, 1] >= y0) & (centre[:, 1] < y1)
        owner[within & (owner == NEGATIVE)] = IGNORED
    return owner


def _adaptive(config: Config, levels: list[np.ndarray], centre: np.ndarray, targets: np.ndarray) -> np.ndarray:
    ratios = len(config.anchor_ratios)
    middle = (targets[:, :2] + targets[:, 2:]) / 2
    candidates, first = [], 0
    for boxes in levels:
        cells = centre[first:first + len(boxes):ratios]
        k = min(config.topk, len(cells))
        distance = ((cells[None] - middle[:, None]) ** 2).sum(-1)
        nearest = np.argpartition(distance, k - 1, 1)[:, :k]
        candidates.append((first + nearest[:, :, None] * ratios + np.arange(ratios)).reshape(len(targets), -1))
        first += len(boxes)
    candidates = np.concatenate(candidates, 1)
    anchors = np.concatenate(levels)
    overlap = np.stack([iou(t[None], anchors[c])[0] for t, c in zip(targets, candidates)])
    good = overlap >= overlap.mean(1, keepdims=True) + overlap.std(1, keepdims=True)
    if config.centre_rule:
        c = centre[candidates]
        good &= ((c >= targets[:, None, :2]) & (c <= targets[:, None, 2:])).all(-1)

    owner = np.full(len(anchors), NEGATIVE, np.int64)
    best = np.zeros(len(anchors), np.float32)
    for g in range(len(targets)):
        mine, value = candidates[g][good[g]], overlap[g][good[g]]
        wins = (value > best[mine]) | (owner[mine] == NEGATIVE)
        owner[mine[wins]], best[mine[wins]] = g, value[wins]
    if config.repair:
        count = np.bincount(owner[owner >= 0], minlength=len(targets))
        for g in np.argsort(count, kind="stable"):
            for a in candidates[g][np.argsort(-overlap[g], kind="stable")]:
                if count[g] >= config.k_min:
                    break
                if owner[a] == NEGATIVE:
                    owner[a] = g
                    count[g] += 1
    return owner


def _max_iou(anchors: np.ndarray, targets: np.ndarray, high: float = 0.7, low: float = 0.3) -> np.ndarray:
    """The convention of Mask R-CNN: positive from `high`, negative below `low`, between them ignored; the best anchors of an
    instance are positive when they reach `low`."""
    overlap = iou(anchors, targets)
    which, value = overlap.argmax(1), overlap.max(1)
    owner = np.where(value >= high, which, np.where(value < low, NEGATIVE, IGNORED)).astype(np.int64)
    best = overlap.max(0)
    for g in np.flatnonzero(best >= low):
        owner[overlap[:, g] == best[g]] = g
    return owner
