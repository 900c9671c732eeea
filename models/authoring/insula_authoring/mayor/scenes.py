"""The kinds of pictures: dense sheets, lines in all directions, medical overlays, and none with text.

`scene(index)` depends on nothing but the material, the seed and the index."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from . import backgrounds as bg
from . import marks, words
from .canvas import SMALLEST, Canvas, Strip, strip
from .fonts import Face, find

KINDS = ("dense", "scattered", "medical", "empty")
SHARE = (0.26, 0.27, 0.41, 0.06)


@dataclass
class Scene:
    """`picture` uint8 [H, W, 3]; `polygons` float [K, 2] of text; `ignored` marks those too small or too little seen; `instances` and
    `ink` as in Canvas."""

    kind: str
    picture: np.ndarray
    polygons: list[np.ndarray]
    ignored: np.ndarray  # bool [G]
    instances: np.ndarray
    ink: np.ndarray


class Generator:
    def __init__(self, shared: Path, cache: Path, seed: int, held_out: bool = False):
        self.pictures = bg.Pictures.load(shared, cache, held_out)
        self.families = find(held_out)
        self.seed, self.held_out = seed, held_out

    def scene(self, index: int, height: int, width: int, kind: str | None = None) -> Scene:
        rng = np.random.default_rng([self.seed, int(self.held_out), index])
        kind = kind or str(rng.choice(KINDS, p=SHARE))
        canvas = getattr(self, kind)(rng, height, width)
        return finish(rng, kind, canvas)

    # Faces and lines

    def face(self, rng, kinds: tuple[str, ...] = ("sans", "serif", "mono", "bitmap"), script: str = "latin") -> Face | None:
        fitting = [f for f in self.families if f[0].family.kind in kinds and script in f[0].family.scripts]
        if not fitting:
            return None
        family = fitting[int(rng.integers(len(fitting)))]
        return family[int(rng.integers(len(family)))]

    def line(self, rng, face: Face, size: int, text: str) -> Strip | None:
        sharp = face.family.kind == "bitmap" or rng.uniform() < 0.15
        zoom = 1
        if face.sizes:
            zoom = max(1, round(size / min(face.sizes, key=lambda s: abs(s - size))))
        elif sharp and size > 24 and rng.uniform() < 0.4:
            size, zoom = size // 2, 2
        return strip(face, size, text, sharp, zoom)

    def text(self, rng, length: int) -> tuple[str, str]:
        """Words and their script."""
        u = rng.uniform()
        if u < 0.88:
            return words.prose(rng, length), "latin"
        script = "cjk" if u < 0.94 else "cyrillic" if u < 0.97 else "greek"
        return words.foreign(rng, script, max(1, length // (2 if script == "cjk" else 1))), script

    # Kinds

    def dense(self, rng, h: int, w: int) -> Canvas:
        """Columns of parallel lines with gaps of 1 to 6 pixels, whole pages turned."""
        u = rng.uniform()
        make = bg.paper if u < 0.45 else bg.flat if u < 0.75 else bg.clutter if u < 0.85 else self.pictures.photo
        canvas = Canvas(make(rng, h, w))
        light = canvas.brightness(0, 0, w, h)
        ink = marks.colour(rng, light)
        u = rng.uniform()
        angle = (0.0 if u < 0.5 else rng.uniform(-0.18, 0.18) if u < 0.75 else rng.uniform(-math.pi, math.pi) if u < 0.92
                 else float(rng.choice([math.pi / 2, -math.pi / 2])))
        size = int(np.exp(rng.uniform(np.log(9), np.log(42))))
        script = "latin" if rng.uniform() < 0.9 else str(rng.choice(["cjk", "cyrillic"]))
        face = self.face(rng, ("cjk",) if script == "cjk" else ("sans", "serif", "mono"), script) or self.face(rng)
        if script not in face.family.scripts:
            script = "latin"
        pitch = size * rng.uniform(1.0, 1.25) + rng.uniform(0, 3)
        rows, columns = int(rng.integers(3, 40)), 1 if rng.uniform() < 0.7 else int(rng.integers(2, 4))
        block = rng.uniform(0.3, 1.1) * max(h, w) / columns
        c, s = math.cos(angle), math.sin(angle)
        middle = np.array([w, h]) * rng.uniform(0.35, 0.65, 2)
        justified, last = rng.uniform() < 0.6, rng.uniform(0.1, 1)
        for column in range(columns):
            for row in range(rows):
                part = 1.0 if justified and rng.uniform() < 0.85 else rng.uniform(0.05, 1)
                if row == rows - 1:
                    part = last
                length = max(1, int(block * part / size / 0.52))
                text = words.prose(rng, length)[:length].strip() if script == "latin" else words.foreign(rng, script, max(1, length // 2))
                st = self.line(rng, face, size, text or "x")
                if st is None:
                    continue
                x = (column - (columns - 1) / 2) * (block + size * 1.5) - block / 2 + st.alpha.shape[1] / 2
                y = (row - (rows - 1) / 2) * pitch
                at = (middle[0] + c * x - s * y, middle[1] + s * x + c * y)
                canvas.write(st, at, ink, angle, gap=1.0)
        if rng.uniform() < 0.3:
            marks.scatter(rng, canvas, int(rng.integers(1, 4)))
        return canvas

    def scattered(self, rng, h: int, w: int) -> Canvas:
        """Lines of all sizes, turned and bent, on anything."""
        u = rng.uniform()
        make = self.pictures.photo if u < 0.55 else bg.clutter if u < 0.75 else bg.flat if u < 0.85 else self.pictures.head if u < 0.93 else bg.film
        canvas = Canvas(make(rng, h, w))
        marks.scatter(rng, canvas, int(rng.integers(0, 4)))
        steep = rng.uniform() < 0.4
        for _ in range(int(rng.integers(1, 14))):
            u = rng.uniform()
            length = int(rng.integers(1, 5)) if u < 0.2 else int(rng.integers(3, 14)) if u < 0.75 else int(rng.integers(12, 60))
            text, script = self.text(rng, length)
            face = self.face(rng, ("cjk",) if script == "cjk" else ("sans", "serif", "mono", "sans"), script)
            size = int(np.exp(rng.uniform(np.log(9), np.log(0.28 * min(h, w)))))
            size = min(size, int(1.6 * max(h, w) / max(1, len(text)) / 0.55) + 6)
            if face is None or (st := self.line(rng, face, size, text)) is None:
                continue
            sh, sw = st.alpha.shape
            angle = rng.uniform(-math.pi, math.pi) if steep and rng.uniform() < 0.6 else rng.normal(0, 0.12) if rng.uniform() < 0.7 else 0.0
            bend = 0.0
            if rng.uniform() < 0.3 and sw > 3 * sh:
                limit = min(2.8, 0.8 * sw / sh)  # a circle of more than the text's height
                bend = float(rng.choice([-1, 1])) * rng.uniform(0.3, limit)
            at = (rng.uniform(-0.05, 1.05) * w, rng.uniform(-0.05, 1.05) * h)
            reach = max(sw, sh) / 2 * abs(math.cos(angle)), max(sw, sh) / 2 * abs(math.sin(angle)) + sh / 2
            light = canvas.brightness(at[0] - reach[0], at[1] - reach[1], at[0] + reach[0], at[1] + reach[1])
            ink = marks.colour(rng, light)
            u = rng.uniform()
            halo = 255 - ink if u < 0.12 else None
            plate = marks.colour(rng, float(ink.mean())) if 0.12 < u < 0.24 else None
            canvas.write(st, at, ink, angle, bend, gap=2.0, plate=plate, halo=halo, opacity=rng.uniform(0.75, 1))
        return canvas

    def medical(self, rng, h: int, w: int) -> Canvas:
        """Corner blocks, tables, marks and measurements on scans."""
        u = rng.uniform()
        make = (self.pictures.head if u < 0.3 else bg.speckle if u < 0.55 else bg.film if u < 0.72 else bg.trunk if u < 0.9 else bg.flat)
        plane = make(rng, h, w)
        if rng.uniform() < 0.15:
            plane = 255 - plane
        canvas = Canvas(plane)
        marks.scatter(rng, canvas, int(rng.integers(0, 5)))
        kinds = ("bitmap",) if rng.uniform() < 0.35 else ("sans", "mono") if rng.uniform() < 0.85 else ("serif", "sans", "mono")
        face = self.face(rng, kinds)
        size = int(np.exp(rng.uniform(np.log(9), np.log(26 if rng.uniform() < 0.8 else 64))))
        pale = float(rng.choice([255, 255, 230, 200, 160]))
        ink = (np.full(3, pale) if rng.uniform() < 0.6 else
               np.array([[255, 255, 0], [0, 255, 0], [0, 255, 255], [255, 160, 60], [255, 80, 80], [120, 170, 255]][int(rng.integers(6))]) * pale / 255)
        edge = rng.uniform(0, 0.04, 2) * (w, h) + rng.uniform(0, 6)
        pitch = size * rng.uniform(1.0, 1.5)
        for corner in rng.permutation(6)[:int(rng.integers(1, 6))]:
            if corner == 4:
                self._table(rng, canvas, face, size, ink)
            elif corner == 5:
                self._labels(rng, canvas, face, size, ink)
            else:
                self._block(rng, canvas, face, size, ink, bool(corner & 1), bool(corner & 2), edge, pitch)
        if rng.uniform() < 0.2:
            marks.scatter(rng, canvas, 1)
        return canvas

    def empty(self, rng, h: int, w: int) -> Canvas:
        """No text at all: what must stay untouched."""
        makers = (self.pictures.head, self.pictures.photo, bg.speckle, bg.film, bg.trunk, bg.flat, bg.clutter, bg.paper)
        canvas = Canvas(makers[int(rng.integers(len(makers)))](rng, h, w))
        marks.scatter(rng, canvas, int(rng.integers(0, 9)))
        return canvas

    def _ink(self, canvas: Canvas, ink: np.ndarray, x: float, y: float, w: int, h: int) -> np.ndarray:
        """The overlay's colour, or dark letters where that would not be read."""
        light = canvas.brightness(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if abs(float(ink @ (0.3, 0.59, 0.11)) - light) > 40:
            return ink
        return np.zeros(3) if light > 110 else np.full(3, 255.0)

    def _block(self, rng, canvas: Canvas, face: Face, size: int, ink, right: bool, low: bool, edge, pitch: float) -> None:
        h, w = canvas.size
        rows = int(rng.integers(1, 11))
        top = h - edge[1] - rows * pitch if low else edge[1]
        plate = np.zeros(3) if rng.uniform() < 0.1 else None
        for row in range(rows):
            if rng.uniform() < 0.08:
                continue
            x = edge[0]
            for _ in range(1 if rng.uniform() < 0.8 else int(rng.integers(2, 4))):  # parts apart are lines of their own
                st = self.line(rng, face, size, words.medical(rng))
                if st is None:
                    continue
                sh, sw = st.alpha.shape
                at = ((w - x - sw / 2 if right else x + sw / 2), top + row * pitch + size / 2)
                colour = np.full(3, 255.0) if plate is not None else self._ink(canvas, ink, *at, sw, sh)
                canvas.write(st, at, colour, plate=plate, gap=0.0)
                x += sw + size * rng.uniform(1.3, 5)

    def _table(self, rng, canvas: Canvas, face: Face, size: int, ink) -> None:
        """A dose report or a list of measurements: a name, then values in columns."""
        h, w = canvas.size
        x0, y0 = rng.uniform(0, 0.6) * w, rng.uniform(0, 0.7) * h
        widths = rng.uniform(4, 12, int(rng.integers(1, 5))) * size * 0.6
        pitch = size * rng.uniform(1.05, 1.6)
        for row in range(int(rng.integers(2, 14))):
            x = x0
            for j, width in enumerate(widths):
                text = (words.styled(rng, words.word(rng)) if j == 0 else f"{rng.uniform(0, 300):.{int(rng.integers(0, 3))}f}"
                        + (f" {words.UNITS[int(rng.integers(len(words.UNITS)))]}" if rng.uniform() < 0.5 else ""))
                st = self.line(rng, face, size, text)
                if st is not None:
                    sh, sw = st.alpha.shape
                    at = (x + sw / 2, y0 + row * pitch)
                    canvas.write(st, at, self._ink(canvas, ink, *at, sw, sh), gap=0.0 if j == 0 else size * 0.8)
                    x += max(width, sw + size * 1.3)

    def _labels(self, rng, canvas: Canvas, face: Face, size: int, ink) -> None:
        """Single letters at the borders, figures along a scale, results beside calipers."""
        h, w = canvas.size
        if rng.uniform() < 0.6:
            for x, y in ((size, h / 2), (w - size, h / 2), (w / 2, size), (w / 2, h - size)):
                if rng.uniform() < 0.7:
                    self._put(rng, canvas, face, int(size * rng.uniform(1, 2)), ink, words._pick(rng, words.MARKS), (x, y))
        if rng.uniform() < 0.5:
            x, y, step = rng.uniform(0.02, 0.98) * w, rng.uniform(0.1, 0.5) * h, size * rng.uniform(1.4, 4)
            upright = rng.uniform() < 0.7
            for i in range(int(rng.integers(3, 12))):
                at = (x, y + i * step) if upright else (x * 0.3 + i * step * 2, y)
                self._put(rng, canvas, face, size, ink, str(i * int(rng.choice([1, 5, 10, 20]))), at)
        for _ in range(int(rng.integers(0, 6))):
            self._put(rng, canvas, face, size, ink, words.value(rng) if rng.uniform() < 0.7 else words.word(rng).upper(), tuple(rng.uniform(0, 1, 2) * (w, h)))

    def _put(self, rng, canvas: Canvas, face: Face, size: int, ink, text: str, at) -> None:
        st = self.line(rng, face, size, text)
        if st is not None:
            canvas.write(st, at, self._ink(canvas, ink, *at, st.alpha.shape[1], st.alpha.shape[0]), gap=2.0)


def finish(rng: np.random.Generator, kind: str, canvas: Canvas) -> Scene:
    """What happens to a picture between the pen and the file, none of which moves a pixel."""
    p = canvas.picture
    h, w = canvas.size
    small = min((_height(q) for q in canvas.polygons), default=99)
    if rng.uniform() < 0.3:
        sigma = rng.uniform(0.3, max(0.3, min(1.4, 0.09 * small)))
        p = ndimage.gaussian_filter(p, (sigma, sigma, 0))
    if rng.uniform() < 0.15:
        p = 255 * (p.clip(0, 255) / 255) ** f(rng.uniform(0.6, 1.6))
    if rng.uniform() < 0.25:
        p = p + rng.standard_normal((h, w, 1 if rng.uniform() < 0.6 else 3), np.float32) * rng.uniform(1, 14)
    if rng.uniform() < 0.25:
        low, high = rng.uniform(0, 70), rng.uniform(170, 255)
        p = low + p.clip(0, 255) * f((high - low) / 255)
    if rng.uniform() < (0.08 if kind == "medical" else 0.2):
        p = 255 - p
    if kind != "medical" and rng.uniform() < 0.25:
        p = np.repeat(p.mean(2, keepdims=True), 3, 2)
    picture = p.clip(0, 255).astype(np.uint8)
    if rng.uniform() < 0.3:
        store = io.BytesIO()
        Image.fromarray(picture).save(store, "JPEG", quality=int(rng.integers(35, 96)))
        picture = np.asarray(Image.open(store))
    return Scene(kind, picture, canvas.polygons, _ignored(canvas), canvas.instances, canvas.ink)


f = np.float32


def _height(polygon: np.ndarray) -> float:
    """Of the line's strip: the distance between the long sides at their start."""
    return float(np.hypot(*(polygon[0] - polygon[-1])))


def _ignored(canvas: Canvas) -> np.ndarray:
    """Lines under the smallest height, or of which the picture's edge left less than half a letter."""
    seen = np.bincount(canvas.instances.ravel(), minlength=len(canvas.polygons) + 1)[1:]
    inked = np.bincount(canvas.instances[canvas.ink].ravel(), minlength=len(canvas.polygons) + 1)[1:]
    height = np.array([_height(q) for q in canvas.polygons])
    return (height < SMALLEST + 2) | (inked < 6) | (seen < 0.5 * height * height * 0.5) if len(height) else np.zeros(0, bool)
