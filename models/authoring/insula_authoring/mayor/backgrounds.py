"""What text is written on: synthetic scans, films, ultrasound, paper, natural pictures. float32 [H, W, 3], 0..255, no text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from ..maxim.data import load_grey, load_heads

f32 = np.float32


def grey(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[..., None], 3, 2).astype(f32)


def enlarge(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resampling of a float32 plane."""
    return np.asarray(Image.fromarray(plane.astype(f32)).resize((width, height), Image.Resampling.BILINEAR))


def smooth(rng: np.random.Generator, height: int, width: int, knot: float) -> np.ndarray:
    """A random field, normal values every `knot` pixels, softly joined."""
    shape = [max(2, int(n / knot) + 2) for n in (height, width)]
    field = np.asarray(Image.fromarray(rng.standard_normal(shape, f32)).resize((int(shape[1] * knot), int(shape[0] * knot)), Image.Resampling.BICUBIC))
    return field[:height, :width] if field.shape[0] >= height and field.shape[1] >= width else enlarge(field, height, width)


def flat(rng, h: int, w: int) -> np.ndarray:
    """One colour, or a gentle slope between two."""
    a = rng.uniform(0, 255, 3) if rng.uniform() < 0.4 else np.full(3, rng.choice([0, 0, rng.uniform(0, 255), 255]))
    out = np.empty((h, w, 3), f32)
    out[:] = a
    if rng.uniform() < 0.3:
        b = rng.uniform(0, 255, 3)
        angle = rng.uniform(0, 2 * math.pi)
        y, x = np.mgrid[:h, :w].astype(f32)
        t = (x / w - 0.5) * math.cos(angle) + (y / h - 0.5) * math.sin(angle)
        out += (t[..., None] + 0.5).astype(f32) * (b - a).astype(f32)
    return out


def paper(rng, h: int, w: int) -> np.ndarray:
    base = rng.uniform(170, 255) + rng.uniform(-8, 8, 3)
    shade = smooth(rng, h, w, rng.uniform(60, 300)) * rng.uniform(0, 14) + rng.standard_normal((h, w), f32) * rng.uniform(0, 5)
    return (base + shade[..., None]).astype(f32)


def speckle(rng, h: int, w: int) -> np.ndarray:
    """Ultrasound: a sector or a block of Rayleigh speckle over soft structure, black beside it."""
    coarse = np.exp(smooth(rng, h, w, rng.uniform(15, 60)) * 0.6) * rng.uniform(20, 90)
    grain = rng.rayleigh(1, (max(2, int(h / rng.uniform(1, 3))), max(2, int(w / rng.uniform(1, 2.5))))).astype(f32)
    out = coarse * enlarge(grain, h, w)
    for _ in range(int(rng.integers(0, 4))):  # vessels and cysts
        out *= 1 - ellipse(h, w, *rng.uniform(0, 1, 2), *rng.uniform(0.03, 0.2, 2), rng.uniform(0, 3)) * rng.uniform(0.5, 1)
    y, x = np.mgrid[:h, :w].astype(f32)
    if rng.uniform() < 0.6:
        cx, cy, reach, half = w * rng.uniform(0.3, 0.7), -h * rng.uniform(-0.1, 0.3), h * rng.uniform(0.7, 1.2), rng.uniform(0.4, 0.8)
        r = np.hypot(x - cx, y - cy)
        out = out * ((np.abs(np.arctan2(x - cx, y - cy)) < half) & (r < reach) & (r > reach * 0.15))
    else:
        m = rng.uniform(0.02, 0.25, 4)
        out = out * ((x > m[0] * w) & (x < w - m[1] * w) & (y > m[2] * h) & (y < h - m[3] * h))
    out = grey(out)
    if rng.uniform() < 0.25:  # colour Doppler
        box = ellipse(h, w, *rng.uniform(0.3, 0.7, 2), *rng.uniform(0.05, 0.25, 2), 0) > 0.5
        flow = smooth(rng, h, w, rng.uniform(8, 30))
        out[box & (flow > 0.4)] = rng.uniform(100, 255) * np.array([1, rng.uniform(0, 0.6), 0])
        out[box & (flow < -0.4)] = rng.uniform(100, 255) * np.array([0, rng.uniform(0, 0.6), 1])
    return out.astype(f32)


def ellipse(h: int, w: int, cx: float, cy: float, rx: float, ry: float, angle: float, soft: float = 0.05) -> np.ndarray:
    """1 inside, 0 outside; centre and radii as parts of the sides."""
    y, x = np.mgrid[:h, :w].astype(f32)
    dx, dy = x / w - f32(cx), y / h - f32(cy)
    c, s = f32(math.cos(angle)), f32(math.sin(angle))
    r = np.sqrt(((c * dx + s * dy) / f32(rx)) ** 2 + ((c * dy - s * dx) / f32(ry)) ** 2)
    return np.clip((1 - r) / f32(soft), 0, 1)


def trunk(rng, h: int, w: int) -> np.ndarray:
    """A CT-like section: a body of a few organs, bright bones, on black."""
    turn = rng.uniform(0, math.pi)
    body = ellipse(h, w, 0.5, 0.5, rng.uniform(0.3, 0.48), rng.uniform(0.25, 0.45), 0)
    out = body * rng.uniform(50, 130)
    for _ in range(int(rng.integers(4, 12))):
        e = ellipse(h, w, *rng.uniform(0.25, 0.75, 2), *rng.uniform(0.02, 0.16, 2), turn + rng.uniform(0, 3), 0.15) * body
        out += e * (rng.uniform(20, 255) - out) * rng.uniform(0.4, 1)
    return grey(out + rng.standard_normal((h, w), f32) * rng.uniform(0, 12) * (body + 0.1))


def film(rng, h: int, w: int) -> np.ndarray:
    """A radiograph: broad soft shadows, bands of ribs or vertebrae, sometimes a light border."""
    out = 110 + 55 * smooth(rng, h, w, rng.uniform(60, 200)) + 12 * smooth(rng, h, w, rng.uniform(8, 25))
    if rng.uniform() < 0.7:
        y, x = np.mgrid[:h, :w].astype(f32)
        bow = (x / w - 0.5) ** 2 * rng.uniform(-1, 1) * h
        period = rng.uniform(12, 70)
        out += rng.uniform(5, 40) * np.sin((y + bow + x * rng.uniform(-0.5, 0.5)) * f32(2 * math.pi / period)) * (smooth(rng, h, w, 90) > -0.5)
    for _ in range(int(rng.integers(0, 3))):  # wires and implants
        out = np.maximum(out, ellipse(h, w, *rng.uniform(0, 1, 2), rng.uniform(0.005, 0.05), rng.uniform(0.02, 0.3), rng.uniform(0, 3)) * rng.uniform(180, 255))
    if rng.uniform() < 0.4:
        m = (rng.uniform(0, 0.12, 4) * [w, w, h, h]).astype(int)
        level = rng.choice([0, 255, rng.uniform(0, 255)])
        out[:, :m[0]] = out[:, w - m[1]:] = out[:m[2]] = out[h - m[3]:] = level
    return grey(out + rng.standard_normal((h, w), f32) * rng.uniform(0, 8))


def clutter(rng, h: int, w: int) -> np.ndarray:
    """Flat shapes over one another: walls, signs, windows."""
    out = flat(rng, h, w)
    for _ in range(int(rng.integers(3, 15))):
        if rng.uniform() < 0.6:
            x0, x1 = np.sort(rng.integers(0, w + 1, 2))
            y0, y1 = np.sort(rng.integers(0, h + 1, 2))
            out[y0:y1, x0:x1] = rng.uniform(0, 255, 3)
        else:
            e = ellipse(h, w, *rng.uniform(0, 1, 2), *rng.uniform(0.03, 0.4, 2), rng.uniform(0, 3))[..., None]
            out += e * (rng.uniform(0, 255, 3).astype(f32) - out)
    return out + (smooth(rng, h, w, rng.uniform(3, 50)) * rng.uniform(0, 15))[..., None]


@dataclass
class Pictures:
    """Grey material: slices of synthetic heads and natural pictures; the last of each are kept for evaluation."""

    heads: list[np.ndarray]
    natural: list[np.ndarray]

    @staticmethod
    def load(shared: Path, cache: Path, held_out: bool) -> "Pictures":
        part = lambda items, n: items[-n:] if held_out else items[:-n]
        return Pictures(part(load_heads(shared, cache), 84), part(load_grey(shared / "data/images/train400"), 60))

    def head(self, rng, h: int, w: int) -> np.ndarray:
        """One slice on black, or a sheet of several."""
        across = 1 if rng.uniform() < 0.75 else int(rng.integers(2, 4))
        out = np.zeros((h, w), f32)
        for row in range(across):
            for column in range(across):
                if self.heads:
                    s = self.heads[int(rng.integers(len(self.heads)))]
                    scale = rng.uniform(0.6, 1.1) * min(h, w) / across / max(s.shape)
                    sh, sw = max(4, int(s.shape[0] * scale)), max(4, int(s.shape[1] * scale))
                    s = enlarge(s, sh, sw)
                    y0, x0 = int((row + 0.5) * h / across - sh / 2), int((column + 0.5) * w / across - sw / 2)
                    a, b = max(0, y0), max(0, x0)
                    cut = s[a - y0:h - y0, b - x0:w - x0]
                    out[a:a + cut.shape[0], b:b + cut.shape[1]] = cut
        return grey(out * rng.uniform(0.5, 1.2) + rng.uniform(0, 20) * (rng.uniform() < 0.3))

    def photo(self, rng, h: int, w: int) -> np.ndarray:
        """A patch of a natural picture in made-up colours."""
        if not self.natural:
            return clutter(rng, h, w)
        p = self.natural[int(rng.integers(len(self.natural)))]
        part = rng.uniform(0.4, 1)
        ph, pw = int(p.shape[0] * part), int(p.shape[1] * part)
        y0, x0 = int(rng.integers(p.shape[0] - ph + 1)), int(rng.integers(p.shape[1] - pw + 1))
        p = p[y0:y0 + ph, x0:x0 + pw]
        p = enlarge(p[:, ::-1] if rng.uniform() < 0.5 else p, h, w)
        low, high = rng.uniform(0, 60, 3).astype(f32), rng.uniform(150, 255, 3).astype(f32)
        out = low + (p / 255)[..., None] * (high - low)
        return out + smooth(rng, h, w, rng.uniform(20, 150))[..., None] * rng.uniform(-25, 25, 3).astype(f32)
