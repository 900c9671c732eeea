"""A picture in the making, and where its text is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .fonts import Face

PAD = 1.0  # an instance reaches this far round its ink, pixels
SMALLEST = 5.0  # lower text is neither asked for nor punished, pixels


@dataclass
class Strip:
    """One line of text drawn straight: coverage 0..1 [h, w], cut to the ink."""

    alpha: np.ndarray


def strip(face: Face, size: int, text: str, sharp: bool = False, zoom: int = 1) -> Strip | None:
    """`sharp` draws without grey edges, `zoom` repeats pixels, as consoles do. None where the font draws nothing."""
    font = face.at(size)
    left, top, right, bottom = font.getbbox(text)
    if right - left < 1 or bottom - top < 1 or right - left > 6000:
        return None
    picture = Image.new("L", (right - left + 4, bottom - top + 4))
    draw = ImageDraw.Draw(picture)
    if sharp:
        draw.fontmode = "1"
    draw.text((2 - left, 2 - top), text, 255, font=font)
    box = picture.getbbox()
    if box is None:
        return None
    alpha = np.asarray(picture.crop(box), np.float32) / 255
    if zoom > 1:
        alpha = alpha.repeat(zoom, 0).repeat(zoom, 1)
    return Strip(alpha)


@dataclass
class Canvas:
    """`picture` float32 [H, W, 3], 0..255; `instances` uint16 [H, W], 0 for none, i + 1 for polygons[i]; `ink` bool [H, W]: pixels of letters."""

    picture: np.ndarray
    polygons: list[np.ndarray] = field(default_factory=list)  # float [K, 2] each, x and y, clockwise; may reach outside

    def __post_init__(self):
        self.instances = np.zeros(self.picture.shape[:2], np.uint16)
        self.ink = np.zeros(self.picture.shape[:2], bool)

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[:2]

    def write(self, s: Strip, centre: tuple[float, float], colour, angle: float = 0.0, bend: float = 0.0, gap: float = 1.0,
              plate=None, halo=None, opacity: float = 1.0) -> bool:
        """Draws a line with its middle at `centre` (x, y), turned clockwise by `angle` (radians), on a circle where `bend` (radians from
        end to end; positive: ends lower than the middle) is not 0. `plate` fills its box, `halo` edges its letters. False,
        and nothing drawn, where it would come nearer than `gap` to other text."""
        h, w = s.alpha.shape
        upright = angle == 0 and bend == 0
        if upright:
            x0, y0 = round(centre[0] - w / 2), round(centre[1] - h / 2)
            polygon = np.array([[x0 - PAD, y0 - PAD], [x0 + w + PAD, y0 - PAD], [x0 + w + PAD, y0 + h + PAD], [x0 - PAD, y0 + h + PAD]])
        else:
            polygon = _outline(w, h, centre, angle, bend)
        lo = np.maximum(np.floor(polygon.min(0) - gap - 1).astype(int), 0)
        hi = np.minimum(np.ceil(polygon.max(0) + gap + 1).astype(int), self.size[::-1])
        if (lo >= hi).any():
            return False
        area = slice(lo[1], hi[1]), slice(lo[0], hi[0])
        y, x = np.mgrid[area].astype(np.float32) + np.float32(0.5)
        if upright:
            u, v = x - x0, y - y0
        else:
            u, v = _into_strip(x, y, w, h, centre, angle, bend)

        def within(margin: float) -> np.ndarray:
            return (u >= -margin) & (u <= w + margin) & (v >= -margin) & (v <= h + margin)

        if (self.instances[area][within(PAD + gap)] != 0).any():
            return False
        inside = within(PAD)
        if not inside.any():
            return False
        if upright:
            alpha = np.zeros(inside.shape, np.float32)
            a, b = max(0, lo[1] - y0), max(0, lo[0] - x0)
            part = s.alpha[a:hi[1] - y0, b:hi[0] - x0]
            oy, ox = max(0, y0 - lo[1]), max(0, x0 - lo[0])
            alpha[oy:oy + part.shape[0], ox:ox + part.shape[1]] = part
        else:
            alpha = ndimage.map_coordinates(s.alpha, [v - 0.5, u - 0.5], order=1, mode="constant")
        view = self.picture[area]
        if plate is not None:
            view[within(PAD + 1)] = plate
        if halo is not None:
            edge = ndimage.maximum_filter(alpha, 3)[..., None]
            view += edge * (np.asarray(halo, np.float32) - view)
        view += (alpha * opacity)[..., None] * (np.asarray(colour, np.float32) - view)
        self.instances[area][inside] = len(self.polygons) + 1
        self.ink[area] |= alpha > 0.4
        self.polygons.append(polygon)
        return True

    def brightness(self, x0: float, y0: float, x1: float, y1: float) -> float:
        """Mean luminance of a part of the picture, 0..255."""
        h, w = self.size
        part = self.picture[max(0, int(y0)):max(1, min(h, int(y1) + 1)), max(0, int(x0)):max(1, min(w, int(x1) + 1))]
        return float(part.mean()) if part.size else 0.0


def _into_strip(x, y, w: int, h: int, centre, angle: float, bend: float):
    """Picture coordinates to strip coordinates."""
    c, s = math.cos(angle), math.sin(angle)
    dx, dy = x - centre[0], y - centre[1]
    a, b = c * dx + s * dy, c * dy - s * dx
    if bend == 0:
        return a + w / 2, b + h / 2
    radius = w / bend  # of the middle line; its centre lies below the text for a positive bend
    side = math.copysign(1.0, bend)
    t = np.arctan2(side * a, side * (radius - b))
    distance = np.hypot(a, radius - b)
    return t * radius + w / 2, h / 2 + side * (abs(radius) - distance)


def _outline(w: int, h: int, centre, angle: float, bend: float) -> np.ndarray:
    """The strip's border in the picture: its four corners, or 8 points along each long side of a bent one."""
    k = 2 if bend == 0 else 8
    u = np.linspace(-w / 2 - PAD, w / 2 + PAD, k)
    u, v = np.concatenate([u, u[::-1]]), np.concatenate([np.full(k, -h / 2 - PAD), np.full(k, h / 2 + PAD)])
    if bend == 0:
        a, b = u, v
    else:
        radius = w / bend
        a, b = (radius - v) * np.sin(u / radius), radius - (radius - v) * np.cos(u / radius)
    c, s = math.cos(angle), math.sin(angle)
    return np.stack([centre[0] + c * a - s * b, centre[1] + s * a + c * b], 1)
