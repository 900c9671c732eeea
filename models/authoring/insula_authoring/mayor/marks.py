"""What looks like text and is none: rulers, traces, calipers, grids, hatching. Drawn before or between the lines."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from .canvas import Canvas


def colour(rng: np.random.Generator, background: float) -> np.ndarray:
    """A colour that stands out of a grey of this level, 0..255."""
    for _ in range(20):
        c = np.full(3, rng.uniform(0, 255)) if rng.uniform() < 0.6 else rng.choice([0, 80, 160, 255], 3) * rng.uniform(0.6, 1)
        if abs(float(c @ (0.3, 0.59, 0.11)) - background) > 45:
            return c
    return np.full(3, 255.0 if background < 128 else 0.0)


def ruler(rng, draw: ImageDraw.ImageDraw, w: int, h: int, fill) -> None:
    length, step, tick = rng.uniform(0.2, 0.9) * min(h, w), rng.uniform(3, 18), int(rng.integers(2, 9))
    x, y, upright, every, side = rng.uniform(0, w), rng.uniform(0, h), rng.uniform() < 0.5, int(rng.integers(4, 11)), rng.choice([-1, 1])
    if rng.uniform() < 0.6:
        draw.line([(x, y), (x, y + length) if upright else (x + length, y)], fill)
    for i in range(int(length / step)):
        t = tick * (2 if i % every == 0 else 1) * side
        draw.line([(x, y + i * step), (x + t, y + i * step)] if upright else [(x + i * step, y), (x + i * step, y + t)], fill)


def trace(rng, draw, w: int, h: int, fill) -> None:
    """An ECG, a Doppler envelope or a curve of a graph."""
    x = np.arange(0, w * rng.uniform(0.3, 1), 2)
    beat, height, y = rng.uniform(25, 110), rng.uniform(8, 60), rng.uniform(0.1, 0.95) * h
    t = (x % beat) / beat
    v = np.exp(-((t - 0.5) / 0.02) ** 2) - 0.25 * np.exp(-((t - 0.55) / 0.02) ** 2) + 0.15 * np.exp(-((t - 0.75) / 0.05) ** 2)
    if rng.uniform() < 0.4:
        v = np.abs(np.sin(x / beat * math.pi)) * rng.uniform(0.5, 1, len(x))
    draw.line([(float(a), float(y - height * b)) for a, b in zip(x, v)], fill, width=int(rng.integers(1, 3)))


def calipers(rng, draw, w: int, h: int, fill) -> None:
    a, b = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0, 1, 2) * (w, h)
    r, kind = int(rng.integers(3, 9)), rng.uniform()
    for x, y in (a, b):
        if kind < 0.6:
            draw.line([(x - r, y), (x + r, y)], fill)
            draw.line([(x, y - r), (x, y + r)], fill)
        else:
            draw.line([(x - r, y - r), (x + r, y + r)], fill)
            draw.line([(x - r, y + r), (x + r, y - r)], fill)
    n = max(1, int(np.hypot(*(b - a)) / rng.uniform(5, 12)))
    for i in range(n):
        p = a + (b - a) * i / n
        draw.point([tuple(p), tuple(p + (1, 0))], fill)


def grid(rng, draw, w: int, h: int, fill) -> None:
    step, x0, y0 = rng.uniform(6, 60), rng.uniform(0, w / 2), rng.uniform(0, h / 2)
    x1, y1 = rng.uniform(x0, w), rng.uniform(y0, h)
    for i in range(int((x1 - x0) / step) + 1):
        draw.line([(x0 + i * step, y0), (x0 + i * step, y1)], fill)
    for i in range(int((y1 - y0) / step) + 1):
        draw.line([(x0, y0 + i * step), (x1, y0 + i * step)], fill)


def outline(rng, draw, w: int, h: int, fill) -> None:
    """A region of interest, an arrow, a frame."""
    x, y, rx, ry = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(4, w / 3), rng.uniform(4, h / 3)
    kind, width = rng.uniform(), int(rng.integers(1, 4))
    if kind < 0.35:
        draw.ellipse([x - rx, y - ry, x + rx, y + ry], outline=fill, width=width)
    elif kind < 0.65:
        draw.rectangle([x - rx, y - ry, x + rx, y + ry], outline=fill, width=width)
    else:
        a, r = rng.uniform(0, 2 * math.pi), rng.uniform(8, 60)
        tip = (x + r * math.cos(a), y + r * math.sin(a))
        draw.line([(x, y), tip], fill, width=width)
        draw.polygon([tip] + [(tip[0] - 8 * math.cos(a + d), tip[1] - 8 * math.sin(a + d)) for d in (-0.5, 0.5)], fill=fill)


def hatching(rng, draw, w: int, h: int, fill) -> None:
    """Short strokes in a row or a block, of one length or of many: no letters, and the rhythm of letters."""
    x, y, step, rows = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(2, 9), int(rng.integers(1, 4))
    for i in range(int(rng.integers(8, 60))):
        for j in range(rows):
            r = rng.uniform(1, 8) if rng.uniform() < 0.3 else 5
            draw.line([(x + i * step, y + j * 14), (x + i * step + rng.choice([0, r]), y + j * 14 + r)], fill)


def bar(rng, draw, w: int, h: int, fill) -> None:
    """A grey or colour scale in a frame."""
    x, y, length, width = rng.uniform(0, w), rng.uniform(0, h * 0.6), rng.uniform(0.15, 0.6) * h, rng.uniform(5, 20)
    tint = rng.uniform(0, 1, 3) if rng.uniform() < 0.5 else np.ones(3)
    for i in range(int(length)):
        draw.line([(x, y + i), (x + width, y + i)], tuple(int(v * 255 * (1 - i / length)) for v in tint))
    draw.rectangle([x - 1, y - 1, x + width + 1, y + length], outline=fill)


KINDS = (ruler, trace, calipers, grid, outline, hatching, bar)


def scatter(rng: np.random.Generator, canvas: Canvas, count: int) -> None:
    """`count` marks on the picture, letters written already excepted."""
    if count == 0:
        return
    h, w = canvas.size
    before = canvas.picture
    picture = Image.fromarray(before.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(count):
        fill = tuple(int(v) for v in colour(rng, float(before.mean())))
        KINDS[int(rng.integers(len(KINDS)))](rng, draw, w, h, fill)
    changed = np.asarray(picture)
    free = (canvas.instances == 0) & (changed != before.clip(0, 255).astype(np.uint8)).any(2)
    canvas.picture[free] = changed[free]
