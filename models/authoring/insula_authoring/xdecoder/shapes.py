"""Simple coloured shapes on a plain ground, with words for shape, colour, place and size: what ties words to pixels."""

from __future__ import annotations

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (50, 180, 60), "blue": (50, 80, 220), "yellow": (230, 220, 60),
           "white": (240, 240, 240), "black": (15, 15, 15), "purple": (150, 60, 190), "orange": (240, 140, 30)}
SHAPES = ("circle", "square", "triangle", "ring", "bar")
SENTENCES = ("{}", "the {}", "a {}", "show the {}", "find the {}")


def inside(kind: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Coordinates relative to the centre in units of the shape's radius."""
    r = np.hypot(x, y)
    return {"circle": r < 1, "ring": (r < 1) & (r > 0.6), "square": (abs(x) < 0.85) & (abs(y) < 0.85),
            "triangle": (y < 0.75) & (y > -0.95) & (abs(x) < (y + 0.95) * 0.6), "bar": (abs(x) < 1.1) & (abs(y) < 0.3)}[kind]


def words() -> list[str]:
    """Everything that can be said, for the vocabulary."""
    places = ("left", "right", "top", "bottom", "largest", "smallest")
    return [f"the {c} {s} on the {p}" for c in COLOURS for s in SHAPES for p in places] + [
        f"{p}most shape furthest to the {p}" for p in places] + [f"{s}s" for s in SHAPES]


def picture(rng: np.random.Generator, side: int, prompts: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """uint8 (side, side, 3), prompts, and their masks bool (prompts, side, side); an empty mask is an absent thing."""
    ground = rng.uniform(30, 225, 3) if rng.uniform() < 0.7 else np.full(3, rng.uniform(0, 255))
    image = np.broadcast_to(ground, (side, side, 3)).astype(np.float64)
    ys, xs = np.mgrid[:side, :side]
    items = []
    for cell in rng.choice(9, int(rng.integers(2, 6)), replace=False):
        kind, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
        radius = rng.uniform(0.06, 0.15) * side
        cy, cx = ((np.array(divmod(int(cell), 3)) + 0.5) / 3 + rng.uniform(-0.03, 0.03, 2)) * side
        mask = inside(kind, (ys - cy) / radius, (xs - cx) / radius)
        image[mask] = np.array(COLOURS[colour]) + rng.normal(0, 8, 3)
        items.append((kind, colour, cy / side, cx / side, mask))
    image = image + rng.normal(0, rng.uniform(0, 12), image.shape)
    texts, masks = [], []
    union = lambda found: np.any(found, axis=0) if len(found) else np.zeros((side, side), bool)
    for _ in range(prompts):
        way = rng.integers(5)
        kind, colour = str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))
        if rng.uniform() < 0.6:
            kind, colour = items[rng.integers(len(items))][:2]
        if way == 0:
            text, mask = f"{colour} {kind}", union([m for k, c, _, _, m in items if k == kind and c == colour])
        elif way == 1:
            text, mask = kind, union([m for k, _, _, _, m in items if k == kind])
        elif way == 2:
            text, mask = f"{colour} shape", union([m for _, c, _, _, m in items if c == colour])
        elif way == 3:
            place, axis, sign = [("left", 3, 1), ("right", 3, -1), ("top", 2, 1), ("bottom", 2, -1)][rng.integers(4)]
            text = f"{place}most shape" if rng.uniform() < 0.5 else f"shape furthest to the {place}"
            mask = min(items, key=lambda i: sign * i[axis])[4]
        else:
            large = rng.uniform() < 0.5
            text = "largest shape" if large else "smallest shape"
            mask = (max if large else min)(items, key=lambda i: i[4].sum())[4]
        texts.append(str(rng.choice(SENTENCES)).format(text))
        masks.append(mask)
    return image.clip(0, 255).astype(np.uint8), texts, np.stack(masks)
