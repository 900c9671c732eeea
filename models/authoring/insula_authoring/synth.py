"""Synthetic head scans from label maps, after the method of SynthSeg (Billot et al., Medical Image Analysis 2023):
an anatomy by deforming a label map, then a contrast, a field of view, a bias field, a resolution and noise, at random.

Arrays are [D, H, W] = (inferior to superior, posterior to anterior, left to right), that is RAS+ axes, slowest S:
the patient's left lies at small W. Lengths are millimetres.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch.nn import functional as F

from .labels import CODE_TO_CLASS, MIRROR, PAIRS

# Target value the loss leaves out: choroid plexus, which label maps and FreeSurfer divide differently.
IGNORE = 255
CHOROID = (136, 137, 163, 164)

WM = (2, 41, 7, 46, 512)
CSF = (4, 43, 5, 44, 14, 15, 24, 72)
LESION = (25, 57)
# Relative place between fluid (0), cortex (GREY) and white matter (1) on T1 images, as commonly reported.
GREY = 0.5
T1_PLACE = {3: 0.5, 8: 0.5, 10: 0.76, 11: 0.57, 12: 0.68, 13: 0.87, 17: 0.53, 18: 0.52, 26: 0.55, 28: 0.86,
            16: 0.82, 85: 0.7, 136: 0.25, 137: 0.25, 14: 0.08, 15: 0.06}
# Extra-cerebral tissue on T1 images, relative to white matter = 1: (low, high).
T1_OUTSIDE = {502: (0.3, 0.7), 506: (0.15, 0.35), 507: (0.3, 0.55), 508: (0.4, 0.9), 509: (0.05, 0.5),
              511: (0.5, 1.3), 514: (0.2, 0.5), 515: (0.04, 0.25), 516: (0.3, 1.0), 530: (0.4, 0.7)}
# Codes of the same tissue left and right, beyond the classes themselves.
SAME = [(l, r) for _, left, right, _, _ in PAIRS for l, r in zip(left, right)] + [(30, 62), (136, 163), (137, 164)]
CODES = 600  # all codes lie below


@dataclass
class HeadMap:
    """One label map cropped to the head, 1 mm isotropic."""

    codes: np.ndarray  # int16 [D, H, W]
    distance: np.ndarray  # uint8 [D, H, W]: millimetres x 10 to the nearest brain voxel, saturated
    centre: np.ndarray  # float [3]: middle of the brain's bounding box, voxels


def canonical(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A NIfTI file's voxels as [D, H, W] = (S, A, R) and the affine of the RAS+ array (i, j, k) = (W, H, D)."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.ascontiguousarray(np.asarray(image.dataobj).transpose(2, 1, 0)), image.affine


def load_maps(folder: Path, cache: Path) -> list[HeadMap]:
    """The training label maps of `folder`, through a cache of cropped arrays."""
    from scipy.ndimage import distance_transform_edt

    maps = []
    for path in sorted(folder.glob("training_seg_*.nii.gz")):
        store = cache / (path.name.split(".")[0] + ".npz")
        if not store.exists():
            codes = canonical(path)[0].round().astype(np.int16)
            head = np.argwhere(codes > 0)
            box = tuple(slice(a, b) for a, b in zip(head.min(0), head.max(0) + 1))
            codes = np.ascontiguousarray(codes[box])
            brain = (codes > 0) & (codes < 500) & (codes != 24)
            distance = (distance_transform_edt(~brain) * 10).clip(0, 255).astype(np.uint8)
            inside = np.argwhere(brain)
            centre = (inside.min(0) + inside.max(0)) / 2
            cache.mkdir(parents=True, exist_ok=True)
            part = store.with_suffix(f".{os.getpid()}.npz")
            np.savez(part, codes=codes, distance=distance, centre=centre)
            part.rename(store)
        with np.load(store) as a:
            maps.append(HeadMap(a["codes"], a["distance"], a["centre"]))
    if not maps:
        raise FileNotFoundError(f"no training_seg_*.nii.gz in {folder}; set INSULA_SHARED")
    return maps


@dataclass
class Setup:
    """What the generator draws onto."""

    size: tuple[int, int, int] = (96, 112, 96)  # voxels D, H, W of the working grid
    spacing: float = 1.75  # mm


class Generator:
    """Draws scans; sample(i) depends on nothing but the maps, the setup, the seed and i."""

    def __init__(self, maps: list[HeadMap], setup: Setup, seed: int):
        self.maps, self.setup, self.seed = maps, setup, seed

    def sample(self, index: int) -> dict[str, np.ndarray]:
        """{"image": float32 [D,H,W] in 0..1, "target": uint8 [D,H,W] class or IGNORE} on the working grid."""
        rng = np.random.default_rng([self.seed, index])
        head = self.maps[rng.integers(len(self.maps))]
        flip = rng.uniform() < 0.5
        stripped = rng.uniform() < 0.6
        mean, sd = contrast(rng)

        painted = self._paint(rng, head, mean, sd, stripped)
        coords = self._coordinates(rng, head, stripped)
        image = trilinear(painted, coords)
        codes = nearest(head.codes, coords)
        target = CODE_TO_CLASS[codes]
        target[np.isin(codes, CHOROID)] = IGNORE

        image = self._degrade(rng, image)
        image = normalise(image)
        if flip:
            image = np.ascontiguousarray(image[:, :, ::-1])
            target = mirror(target)
        return {"image": image, "target": target}

    def _paint(self, rng, head: HeadMap, mean, sd, stripped: bool) -> np.ndarray:
        """Intensities on the label map's own 1 mm grid, softened for partial volume: float32 [D, H, W]."""
        gen = torch.Generator().manual_seed(int(rng.integers(2**62)))
        image = mean[head.codes]
        # Tissue texture: noise of the label's own width, half of it smooth over some millimetres.
        noise = torch.randn(head.codes.shape, generator=gen).numpy()
        coarse = smooth(rng, 1, head.codes.shape, float(rng.uniform(4, 12)), 1.0)[0]
        image += sd[head.codes] * (0.7 * noise + 0.7 * coarse)
        if stripped:
            # A mask grown from the brain by a margin that varies over the surface, as tools leave it.
            margin = float(rng.choice([rng.uniform(0.5, 2.0), rng.uniform(1.0, 5.0)], p=[0.6, 0.4]))
            ragged = margin + smooth(rng, 1, head.codes.shape, float(rng.uniform(10, 40)), float(rng.uniform(0, 1.2)))[0]
            image[head.distance > 10 * np.maximum(ragged, 0.3)] = 0
        # Insula resamples without smoothing first: from nothing to a blur of half a working voxel.
        soften = self.setup.spacing * float(rng.uniform(0.1, 0.5))
        for axis in range(3):
            image = blur(image, soften, axis)
        return np.maximum(image, 0, out=image)

    def _coordinates(self, rng, head: HeadMap, stripped: bool) -> torch.Tensor:
        """Where each voxel of the working grid lies in the label map: float32 [3, D, H, W] voxels (= mm)."""
        s = self.setup
        axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * s.spacing for n in s.size]
        a, b, c = rng.normal(0, np.deg2rad(8), 3)
        rotation = (np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
                    @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
                    @ np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]))
        scale = np.exp(rng.normal(0, 0.07) + rng.normal(0, 0.05, 3))
        shear = np.eye(3) + rng.normal(0, 0.03, (3, 3)) * (1 - np.eye(3))
        m = rotation @ shear @ np.diag(scale)
        jitter = rng.normal(0, [5, 5, 4]) if stripped else rng.normal(0, [14, 11, 5])
        origin = head.centre + jitter
        warp = (smooth(rng, 3, s.size, float(rng.uniform(12, 40)) / s.spacing, float(rng.uniform(0.5, 2.5)))
                + smooth(rng, 3, s.size, float(rng.uniform(5, 12)) / s.spacing, float(rng.uniform(0, 1.0))))
        out = torch.from_numpy(warp)
        for i in range(3):
            out[i] += float(origin[i])
            out[i] += float(m[i, 0]) * axes[0][:, None, None]
            out[i] += float(m[i, 1]) * axes[1][None, :, None]
            out[i] += float(m[i, 2]) * axes[2][None, None, :]
        return out

    def _degrade(self, rng, image: np.ndarray) -> np.ndarray:
        """Bias field, resolution, noise, gamma, missing parts, background."""
        s = self.setup
        empty = image <= 0
        bias = smooth(rng, 1, s.size, float(rng.uniform(30, 90)) / s.spacing, float(rng.uniform(0, 0.3)))[0]
        image = image * np.exp(bias)
        if rng.uniform() < 0.3:
            for axis in range(3):
                image = blur(image, float(rng.uniform(0.3, 0.7)), axis)
        if rng.uniform() < 0.2:  # thick slices along one axis
            axis, factor = int(rng.integers(3)), float(rng.uniform(1.3, 3.5))
            image = blur(image, 0.4 * factor, axis)
            low = [max(2, int(n / factor)) if i == axis else n for i, n in enumerate(s.size)]
            t = torch.from_numpy(image)[None, None]
            t = F.interpolate(F.interpolate(t, size=low, mode="trilinear"), size=s.size, mode="trilinear")
            image = t[0, 0].numpy()
        level = float(abs(rng.normal(0, 0.02)))
        noise = rng.normal(0, level, image.shape).astype(np.float32)
        # Noise outside the object only where the file was not masked.
        image = np.where(empty, np.abs(noise) if rng.uniform() < 0.3 else 0, image + noise)
        image = np.maximum(image, 0) ** np.float32(np.exp(rng.normal(0, 0.18)))
        if rng.uniform() < 0.2:  # the lower part lies outside the field of view
            image[:int(rng.integers(0, s.size[0] // 6))] = 0
        return image.astype(np.float32)


def contrast(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each code's intensity, white matter near 1 on T1: two float32 [CODES]."""
    mean = rng.uniform(0, 1, CODES).astype(np.float32)
    sd = np.full(CODES, 0, np.float32) + rng.uniform(0.01, 0.07, CODES).astype(np.float32)
    kind = rng.uniform()
    csf_level = None
    if kind < 0.7:  # T1: white > grey > fluid
        wm = 0.85
        csf_level = rng.uniform(0.05, 0.4) * wm
        grey = csf_level + (wm - csf_level) * np.clip(rng.normal(GREY, 0.07), 0.3, 0.68)
        for code, place in T1_PLACE.items():
            place = place + rng.normal(0, 0.05)
            # The table's places assume grey matter at GREY: bend it to this image's grey matter.
            mean[code] = (csf_level + (grey - csf_level) * place / GREY if place < GREY
                          else grey + (wm - grey) * (place - GREY) / (1 - GREY))
        for code, (low, high) in T1_OUTSIDE.items():
            mean[code] = wm * rng.uniform(low, high)
        mean[25] = mean[2] - rng.uniform(0, 0.3)
        sd[:] = rng.uniform(0.02, 0.06) * rng.uniform(0.7, 1.3, CODES)
    elif kind < 0.9:  # T2, FLAIR and proton density: white < grey, fluid bright or dark
        wm = rng.uniform(0.25, 0.5)
        grey = wm + rng.uniform(0.08, 0.25)
        csf_level = rng.uniform(0.75, 1.0) if kind < 0.8 else rng.uniform(0.02, 0.25)
        for code, place in T1_PLACE.items():
            mean[code] = wm + (grey - wm) * (1 - place) / (1 - GREY) * rng.uniform(0.5, 1.2)
        mean[25] = grey + rng.uniform(0, 0.3)
        for code in (14, 15):
            mean[code] = csf_level
    if csf_level is not None:
        for code in WM:
            mean[code] = wm + rng.normal(0, 0.015)
        for code in CSF:
            if kind >= 0.7 or code not in (14, 15):
                mean[code] = csf_level * rng.uniform(0.9, 1.15)
    for left, right in SAME:
        mean[right], sd[right] = mean[left] + rng.normal(0, 0.006), sd[left]
    mean[0], sd[0] = 0, 0
    return mean.clip(0, 1.2).astype(np.float32), sd.astype(np.float32)


def smooth(rng, channels: int, size, knot: float, scale: float) -> np.ndarray:
    """A random smooth field: normal values of the given scale every `knot` voxels. float32 [C, D, H, W]."""
    shape = [max(2, int(round(n / knot)) + 1) for n in size]
    field = torch.from_numpy(rng.normal(0, scale, (1, channels, *shape)).astype(np.float32))
    return F.interpolate(field, size=tuple(size), mode="trilinear", align_corners=True)[0].numpy()


def trilinear(volume: np.ndarray, coords: torch.Tensor) -> np.ndarray:
    """Values at voxel coordinates [3, ...] in D, H, W order; zero outside."""
    d, h, w = volume.shape
    scale = torch.tensor([2 / (w - 1), 2 / (h - 1), 2 / (d - 1)])
    grid = coords.flip(0).permute(1, 2, 3, 0) * scale - 1
    return F.grid_sample(torch.from_numpy(volume)[None, None], grid[None], align_corners=True)[0, 0].numpy()


def nearest(volume: np.ndarray, coords: torch.Tensor) -> np.ndarray:
    """Values at the voxels nearest to the coordinates; zero outside."""
    index = coords.round().to(torch.int64).numpy()
    inside = np.ones(index.shape[1:], bool)
    for a in range(3):
        inside &= (index[a] >= 0) & (index[a] < volume.shape[a])
        index[a].clip(0, volume.shape[a] - 1, out=index[a])
    return np.where(inside, volume[index[0], index[1], index[2]], 0)


def mirror(target: np.ndarray) -> np.ndarray:
    """The target of the left-right mirrored volume."""
    table = np.full(256, IGNORE, np.uint8)
    table[:len(MIRROR)] = MIRROR
    return np.ascontiguousarray(table[target[:, :, ::-1]])


def blur(image: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Gaussian smoothing along one axis, sigma in voxels, zero outside."""
    r = max(1, int(2.5 * sigma + 0.5))
    k = np.exp(-0.5 * (np.arange(-r, r + 1) / sigma) ** 2)
    k = (k / k.sum()).astype(np.float32)
    out = image * k[r]
    n = image.shape[axis]
    part = lambda a, b: tuple(slice(a, b) if i == axis else slice(None) for i in range(3))
    for i in range(1, r + 1):
        out[part(i, n)] += image[part(0, n - i)] * k[r + i]
        out[part(0, n - i)] += image[part(i, n)] * k[r - i]
    return out


def normalise(image: np.ndarray) -> np.ndarray:
    """The 1st and 99.5th percentiles of the voxels other than 0 become 0 and 1; clipped. All 0 stays 0.

    Percentiles interpolate linearly between order statistics. This is the pack's intensity step."""
    values = image[image != 0]
    if values.size == 0:
        return np.zeros_like(image, dtype=np.float32)
    low, high = np.percentile(values, [1, 99.5])
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
