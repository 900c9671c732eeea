"""How good detections are, in pixels: precision, recall and F at IoU 0.5 with "do not care", and what redaction covers.

Truth is a map of instances, as in Canvas; polygons become one through `instances`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

ASPECTS = (5, 15, 1e9)  # upper ends of the bins of recall by length over height


def fill(polygon, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels whose centres lie in a polygon (even-odd rule), within its window of the picture, and the window's first
    pixel (x, y)."""
    p = np.asarray(polygon, float)
    x0, y0 = np.maximum(np.floor(p.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(p.max(0)).astype(int) + 1, [width, height])
    if x1 <= x0 or y1 <= y0:
        return np.zeros((0, 0), bool), (0, 0)
    w, h = int(x1 - x0), int(y1 - y0)
    toggles = np.zeros((h, w + 1), np.uint8)
    for (ax, ay), (bx, by) in zip(p - (x0, y0), np.roll(p, -1, 0) - (x0, y0)):
        rows = np.arange(max(0, np.ceil(min(ay, by) - 0.5)), min(h, np.ceil(max(ay, by) - 0.5)), dtype=np.int64)
        cross = ax + (rows + 0.5 - ay) * ((bx - ax) / (by - ay)) if len(rows) else rows
        np.add.at(toggles, (rows, np.ceil(cross - 0.5).clip(0, w).astype(np.int64)), 1)
    return (np.cumsum(toggles, 1, dtype=np.int32)[:, :w] % 2).astype(bool), (int(x0), int(y0))


def instances(polygons, height: int, width: int) -> np.ndarray:
    """A map of instances from polygons; where two overlap the later one has the pixel."""
    out = np.zeros((height, width), np.uint16)
    for i, p in enumerate(polygons):
        region, (x, y) = fill(p, height, width)
        out[y:y + region.shape[0], x:x + region.shape[1]][region] = i + 1
    return out


@dataclass
class Counts:
    """Sums over pictures; `rows` gives the figures."""

    matched: int = 0
    truths: int = 0
    detections: int = 0
    by_aspect: dict[int, list[int]] = field(default_factory=lambda: {i: [0, 0] for i in range(len(ASPECTS))})
    ink: int = 0
    covered: int = 0
    false_pixels: int = 0
    other_pixels: int = 0

    def add(self, other: "Counts") -> None:
        for k in ("matched", "truths", "detections", "ink", "covered", "false_pixels", "other_pixels"):
            setattr(self, k, getattr(self, k) + getattr(other, k))
        for k, v in other.by_aspect.items():
            self.by_aspect[k] = [a + b for a, b in zip(self.by_aspect[k], v)]

    def rows(self) -> dict[str, float]:
        """Percentages, of what was counted."""
        part = lambda a, b: round(100 * a / b, 2) if b else None
        p, r = part(self.matched, self.detections), part(self.matched, self.truths)
        out = {"precision": p, "recall": r, "f": round(2 * p * r / (p + r), 2) if p and r else 0.0 if self.truths else None}
        out |= {f"recall_aspect_{name}": part(*v) for name, v in zip(("to_5", "to_15", "over_15"), self.by_aspect.values()) if v[1]}
        if self.other_pixels:
            out |= {"coverage": part(self.covered, self.ink), "false_area": part(self.false_pixels, self.other_pixels)}
        return out


def match(truth: np.ndarray, ignored: np.ndarray, regions: list[tuple[np.ndarray, tuple[int, int]]],
          aspects: np.ndarray | None = None, threshold: float = 0.5) -> Counts:
    """ICDAR 2015, task 4.1: a detection more than half of which lies on "do not care" is not counted; then each truth takes the
    first unmatched detection (given best first) with an IoU over the threshold.

    `truth` is a map of G instances, `ignored` bool [G], `regions` pixels and their origin; `aspects` [G] length over height."""
    counts = Counts()
    total = np.bincount(truth.ravel(), minlength=len(ignored) + 1)[1:]
    used = np.zeros(len(ignored), bool)
    for region, (x, y) in regions:
        inside = truth[y:y + region.shape[0], x:x + region.shape[1]][region]
        common = np.bincount(inside, minlength=len(ignored) + 1)[1:]
        if common[ignored].sum() > 0.5 * max(1, region.sum()):
            continue
        counts.detections += 1
        iou = common / np.maximum(total + region.sum() - common, 1)
        iou[ignored | used] = 0
        if len(iou) and iou.max() > threshold:
            used[iou.argmax()] = True
    care = ~ignored & (total > 0)
    counts.matched, counts.truths = int(used.sum()), int(care.sum())
    if aspects is not None:
        which = np.searchsorted(ASPECTS, aspects)
        for i in range(len(ASPECTS)):
            counts.by_aspect[i] = [int((used & (which == i)).sum()), int((care & (which == i)).sum())]
    return counts


def cover(blank: np.ndarray, truth: np.ndarray, ink: np.ndarray) -> Counts:
    """Which letters' pixels redaction covers, and how much it takes that is no text and not within 6 pixels of any."""
    near = ndimage.distance_transform_edt(truth == 0) <= 6 if truth.any() else np.zeros(truth.shape, bool)
    return Counts(ink=int(ink.sum()), covered=int((ink & blank).sum()), false_pixels=int((blank & ~near).sum()), other_pixels=int((~near).sum()))
