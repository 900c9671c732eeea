"""Synthetic slices of heads with prompts and masks: a plane through a label map, bent a little, painted in a random
contrast (synth.py, but in two dimensions, a hundredth of the cost).

A slice is [row, column]: axial (anterior, right), coronal (superior, right), sagittal (superior, anterior), indices
growing along those directions, as in an array of a RAS+ volume. Nothing is flipped for display.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..labels import CODE_TO_CLASS
from ..synth import CHOROID, IGNORE, HeadMap, blur, contrast, nearest, normalise, smooth
from . import shapes
from .anatomy import BY_KEY, TARGETS, Target, foreign, phrase

SIDE, SPACING = 256, 0.8  # pixels, mm
LEAST = 16  # pixels: a structure with fewer is neither present nor absent
PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # the axis of [D, H, W] a plane is cut across


@dataclass
class Example:
    image: np.ndarray  # uint8 (side, side, 3)
    prompts: list[str]
    masks: np.ndarray  # bool (prompts, side, side); an empty one is of something absent
    unsure: np.ndarray  # bool (side, side): pixels the losses leave out
    classes: np.ndarray  # uint8 (side, side): class of labels.py, or IGNORE
    sided: bool = True  # False where the picture does not tell left from right


def rgb(image: np.ndarray) -> np.ndarray:
    """A normalised slice, 0..1, as the picture the network is given."""
    return np.repeat((image * 255 + 0.5).astype(np.uint8)[..., None], 3, -1)


def pixels(codes: np.ndarray, target: Target) -> np.ndarray:
    return np.isin(codes, list(target.codes or ()))


class Slices:
    """example(i) depends on nothing but the maps, the seed and i. `side`: pixels, fewer ones being larger."""

    def __init__(self, maps: list[HeadMap], seed: int, prompts: int, side: int = SIDE, shapes_part: float = 0.1):
        self.maps, self.seed, self.prompts, self.side, self.shapes_part = maps, seed, prompts, side, shapes_part

    def example(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        if rng.uniform() < self.shapes_part:
            image, prompts, masks = shapes.picture(rng, self.side, self.prompts)
            return Example(image, prompts, masks, np.zeros(masks.shape[1:], bool),
                           np.full(masks.shape[1:], IGNORE, np.uint8))
        plane = str(rng.choice(list(PLANES), p=[0.4, 0.4, 0.2]))
        image, codes = self.slice(rng, plane)
        prompts, masks = asked(rng, codes, plane, self.prompts)
        unsure = np.isin(codes, CHOROID)
        classes = np.where(unsure, IGNORE, CODE_TO_CLASS[codes])
        return Example(rgb(image), prompts, masks, unsure, classes, plane != "sagittal")

    def slice(self, rng: np.random.Generator, plane: str) -> tuple[np.ndarray, np.ndarray]:
        """A normalised slice, float32, and its FreeSurfer codes."""
        head = self.maps[rng.integers(len(self.maps))]
        stripped, flip = rng.uniform() < 0.6, plane != "sagittal" and rng.uniform() < 0.5
        at = coordinates(rng, head, PLANES[plane], self.side)
        codes = nearest(head.codes, at)[0]
        mean, sd = contrast(rng)
        grain = rng.normal(0, 1, codes.shape).astype(np.float32)
        coarse = smooth(rng, 1, codes.shape + (1,), float(rng.uniform(4, 12)), 1.0)[0, ..., 0]
        image = mean[codes] + sd[codes] * (0.7 * grain + 0.7 * coarse)
        if stripped:
            margin = float(rng.choice([rng.uniform(0.5, 2.0), rng.uniform(1.0, 5.0)]))
            image[nearest(head.distance, at)[0] > 10 * margin] = 0
        empty = image <= 0
        soft = float(rng.uniform(0.5, 1.3)) * max(0.6, self.side / SIDE)
        image = image[None]
        for axis in (1, 2):
            image = blur(image, soft, axis)
        bias = smooth(rng, 1, codes.shape + (1,), float(rng.uniform(40, 120)), float(rng.uniform(0, 0.25)))[0, ..., 0]
        image = image[0] * np.exp(bias)
        noise = rng.normal(0, abs(rng.normal(0, 0.02)), image.shape).astype(np.float32)
        image = np.where(empty, np.abs(noise) if rng.uniform() < 0.3 else image, image + noise)
        image = normalise((np.maximum(image, 0) ** np.float32(np.exp(rng.normal(0, 0.18)))).astype(np.float32))
        image = (image * np.float32(rng.uniform(0.75, 1.0) if rng.uniform() < 0.3 else 1)).clip(0, 1)
        if flip:  # a head mirrored left to right is a head: its codes change sides
            image, codes = image[:, ::-1].copy(), MIRRORED[codes[:, ::-1]]
        return image, codes


def _mirrored() -> np.ndarray:
    table = np.arange(65536)
    for t in TARGETS:
        if t.sided == "left":
            left, right = sorted(t.codes), sorted(BY_KEY["right " + t.key.removeprefix("left ")].codes)
            for a, b in zip(left, right):
                table[a], table[b] = b, a
    return table


MIRRORED = _mirrored()


def coordinates(rng: np.random.Generator, head: HeadMap, across: int, side: int) -> torch.Tensor:
    """Voxel coordinates float32 [3, 1, side, side] in the label map (1 mm) of a plane somewhere in the brain."""
    along = [a for a in range(3) if a != across]
    angles = rng.normal(0, np.deg2rad(6), 3)
    basis = np.eye(3)
    for a, angle in enumerate(angles):  # small rotations about each axis
        i, j = (b for b in range(3) if b != a)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        basis = turn @ basis
    scale = SPACING * SIDE / side * np.exp(rng.normal(0, 0.07) + rng.normal(0, 0.05, 2))
    centre = head.centre.copy()
    reach = (52, 68, 55)[across]  # mm from the middle to where brain ends
    centre[across] += rng.uniform(-reach, reach)
    for a in along:
        centre[a] += rng.normal(0, 8)
    place = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    knot = float(rng.uniform(20, 60)) * side / SIDE
    bend = torch.from_numpy(smooth(rng, 3, (side, side, 1), knot, float(rng.uniform(0.3, 2.5)))[..., 0])
    out = torch.empty(3, 1, side, side)
    for a in range(3):
        out[a, 0] = (float(centre[a]) + float(basis[a, along[0]] * scale[0]) * place[:, None]
                     + float(basis[a, along[1]] * scale[1]) * place[None, :] + bend[a])
    return out


def asked(rng: np.random.Generator, codes: np.ndarray, plane: str, count: int) -> tuple[list[str], np.ndarray]:
    """Prompts about a slice, six in ten of things it shows. Across the midline nobody can tell a sagittal slice's side."""
    areas = np.bincount(codes.reshape(-1), minlength=600)
    size = lambda t: int(sum(areas[c] for c in t.codes if c < len(areas)))
    known = [t for t in TARGETS if not (t.sided and plane == "sagittal")]
    least = LEAST * codes.size / SIDE**2
    here = [t for t in known if size(t) >= least]
    gone = [t for t in known if size(t) == 0]
    prompts, masks = [], []
    for _ in range(count):
        draw = rng.uniform()
        if draw < 0.6 and here:
            target = here[rng.integers(len(here))]
        elif draw < 0.85 and gone:
            target = gone[rng.integers(len(gone))]
        else:
            prompts.append(foreign(rng))
            masks.append(np.zeros(codes.shape, bool))
            continue
        prompts.append(phrase(rng, target))
        masks.append(pixels(codes, target))
    return prompts, np.stack(masks)
