"""Clean grey pictures and the noise put on them, for maxim-denoise.

Pictures are natural ones (INSULA_SHARED/data/images/train400) and slices of synthetic heads. A sample depends on nothing but
the pictures, the seed and its index, so that a resumed training goes on with the samples it would have had.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..synth import Generator, HeadMap, Setup, blur, contrast, load_maps, normalise, smooth, trilinear

HELD_OUT = 8  # natural pictures kept for validation, the last by name
SIGMA = 50 / 255  # the strongest Gaussian and Rician noise
VOLUMES, SLICES = 30, 14  # synthetic heads, and slices of each


def head_slices(maps: list[HeadMap], seed: int) -> list[np.ndarray]:
    """Noise-free slices of one synthetic head, float32 in 0..1: tissue of random contrast with smooth texture, partial
    volume and a bias field; none of the pixel-wise texture and noise that segmentation trains on."""
    rng = np.random.default_rng(seed)
    setup = Setup(size=(168, 208, 168), spacing=1.0)
    head = maps[rng.integers(len(maps))]
    mean, sd = contrast(rng)
    painted = mean[head.codes]
    for knot in (float(rng.uniform(2, 4)), float(rng.uniform(5, 12))):
        painted += 0.7 * sd[head.codes] * smooth(rng, 1, head.codes.shape, knot, 1.0)[0]
    soften = float(rng.uniform(0.35, 0.7))
    for axis in range(3):
        painted = blur(painted, soften, axis)
    coords = Generator(maps, setup, seed)._coordinates(rng, head, stripped=False)
    image = np.maximum(trilinear(painted, coords), 0)
    image *= np.exp(smooth(rng, 1, setup.size, float(rng.uniform(30, 90)), float(rng.uniform(0, 0.2)))[0])
    image = normalise(image)
    slices = []
    while len(slices) < SLICES:
        axis = int(rng.integers(3))
        s = np.take(image, int(rng.integers(20, image.shape[axis] - 20)), axis)
        if (s > 0.05).mean() > 0.15:
            slices.append(s[::-1].copy())
    return slices


def load_heads(shared: Path, cache: Path, volumes: int = VOLUMES, seed: int = 0) -> list[np.ndarray]:
    """Slices of `volumes` synthetic heads, through a cache; quantised to 8 bits only there."""
    store = cache / f"heads-{volumes}-{seed}.npz"
    if not store.exists():
        maps = load_maps(shared / "data/brain_labels", cache / "maps")
        found = [s for v in range(volumes) for s in head_slices(maps, seed * 1000 + v)]
        part = store.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(part, *[(s * 255).round().astype(np.uint8) for s in found])
        part.rename(store)
    with np.load(store) as z:
        return [z[k] for k in z.files]


def load_grey(folder: Path) -> list[np.ndarray]:
    """The 8-bit grey pictures of a folder, by name."""
    from PIL import Image

    found = [np.asarray(Image.open(p).convert("L")) for p in sorted(folder.glob("*.png"))]
    if not found:
        raise FileNotFoundError(f"no .png in {folder}; set INSULA_SHARED")
    return found


def gaussian(rng: np.random.Generator, x: np.ndarray, sigma: float) -> np.ndarray:
    """Additive, not clipped."""
    return x + sigma * rng.standard_normal(x.shape, np.float32)


def rician(rng: np.random.Generator, x: np.ndarray, sigma: float) -> np.ndarray:
    """Magnitude of a complex signal with Gaussian noise in both parts, as MR scanners report it."""
    return np.hypot(x + sigma * rng.standard_normal(x.shape, np.float32),
                    sigma * rng.standard_normal(x.shape, np.float32))


def poisson_gaussian(rng: np.random.Generator, x: np.ndarray, peak: float, sigma: float) -> np.ndarray:
    """Counting noise, `peak` counts where x is 1, and Gaussian noise of the electronics. White, which noise of a
    reconstructed CT slice is not quite."""
    return gaussian(rng, rng.poisson(x * peak).astype(np.float32) / np.float32(peak), sigma)


@dataclass
class Pairs:
    """Draws pairs of noisy and clean patches."""

    natural: list[np.ndarray]
    heads: list[np.ndarray]
    seed: int
    sigma: float | None = None  # Gaussian noise of this strength only, on natural pictures only

    def batch(self, index: int, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean, float32 (count, side, side, 1)."""
        rng = np.random.default_rng([self.seed, index])
        noisy, clean = (np.empty((count, side, side, 1), np.float32) for _ in range(2))
        for i in range(count):
            noisy[i, ..., 0], clean[i, ..., 0] = self.pair(rng, side)
        return noisy, clean

    def pair(self, rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
        head = self.sigma is None and rng.uniform() < 0.25
        x = self.patch(rng, self.heads if head else self.natural, side)
        if self.sigma is not None:
            return gaussian(rng, x, self.sigma), x
        if rng.uniform() < 0.5:  # scans seldom use the whole range that natural pictures do
            low, high = sorted(rng.uniform(0, 1, 2)) if rng.uniform() < 0.3 else (0, rng.uniform(0.6, 1))
            x = (low + (high - low) * x).astype(np.float32)
        sigma, kind = float(rng.uniform(0, SIGMA)), rng.uniform()
        if head and kind < 0.6:
            return rician(rng, x, sigma), x
        if kind > (0.8 if head else 0.9):
            return poisson_gaussian(rng, x, float(np.exp(rng.uniform(np.log(25), np.log(2500)))), sigma / 4), x
        return gaussian(rng, x, sigma), x

    @staticmethod
    def patch(rng: np.random.Generator, pictures: list[np.ndarray], side: int) -> np.ndarray:
        """A random patch, mirrored and turned at random, in 0..1."""
        picture = pictures[rng.integers(len(pictures))]
        top, left = (int(rng.integers(n - side + 1)) for n in picture.shape)
        x = np.rot90(picture[top:top + side, left:left + side], int(rng.integers(4)))
        if rng.uniform() < 0.5:
            x = x[:, ::-1]
        return x.astype(np.float32) / np.float32(255)
