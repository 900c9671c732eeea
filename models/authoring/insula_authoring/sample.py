"""The bundled sample: a synthetic T1-weighted head and its labels, made from a deformed label map.

The map is one that training also draws on: the sample shows Insula, it does not measure the model.

    python -m insula_authoring.sample ../../assets/sample
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from .labels import CLASSES, CODE_TO_CLASS
from .synth import CODES, CSF, SAME, WM, HeadMap, blur, load_maps, nearest, smooth, trilinear

SPACING = 1.5  # mm
SIZE = (114, 152, 120)  # D, H, W
SEED = 7
MAP = 2  # which label map

# Intensities of a T1-weighted gradient echo, white matter at 1.
T1 = {0: 0.01, 24: 0.17, 3: 0.62, 8: 0.6, 10: 0.79, 11: 0.66, 12: 0.74, 13: 0.88, 17: 0.64, 18: 0.63, 26: 0.66,
      28: 0.88, 16: 0.86, 85: 0.75, 30: 0.3, 136: 0.42, 137: 0.42, 25: 0.8,
      502: 0.45, 506: 0.2, 507: 0.46, 508: 0.75, 509: 0.12, 511: 1.1, 512: 0.82, 514: 0.36, 515: 0.13, 516: 0.7, 530: 0.55}


def make(maps: list[HeadMap]) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 and FreeSurfer codes uint8, both [D, H, W]."""
    rng = np.random.default_rng(SEED)
    head = maps[MAP]
    mean, sd = np.zeros(CODES, np.float32), np.full(CODES, 0.03, np.float32)
    for code, value in T1.items():
        mean[code] = value
    for code in WM:
        mean[code] = 0.97 if code in (7, 46) else 1.0
    mean[512] = 0.8
    for code in CSF:
        mean[code] = 0.16
    for left, right in SAME:
        mean[right] = mean[left]
    sd[[507, 511, 516, 509]] = 0.1
    sd[0] = 0.004

    painted = mean[head.codes]
    for scale, knot in ((0.6, 3.0), (0.5, 7.0), (0.4, 18.0)):
        painted += scale * sd[head.codes] * smooth(rng, 1, head.codes.shape, knot, 1.0)[0]
    for axis in range(3):
        painted = blur(painted, 0.62, axis)

    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * SPACING for n in SIZE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    angle = np.deg2rad(3.0)  # a small tilt of the head in the frontal plane
    c, s = float(np.cos(angle)), float(np.sin(angle))
    tilted = torch.stack([c * grid[0] - s * grid[2], 1.02 * grid[1], s * grid[0] + c * grid[2]])
    tilted += torch.from_numpy(smooth(rng, 3, SIZE, 22 / SPACING, 1.4) + smooth(rng, 3, SIZE, 9 / SPACING, 0.5))
    tilted += torch.tensor(head.centre + np.array(OFFSET), dtype=torch.float32).view(3, 1, 1, 1)

    image = trilinear(painted, tilted)
    codes = nearest(head.codes, tilted)
    image = image * np.exp(smooth(rng, 1, SIZE, 55 / SPACING, 0.07)[0])
    for axis in range(3):
        image = blur(image, 0.35, axis)
    # Rician noise: the magnitude of a complex signal.
    level = 0.012
    image = np.hypot(image + rng.normal(0, level, SIZE), rng.normal(0, level, SIZE))
    image = np.clip(image / 1.25 * 255, 0, 255).round().astype(np.uint8)
    # Choroid plexus counts as the ventricle it lies in.
    for plexus, ventricle in ((136, 4), (137, 4), (163, 43), (164, 43)):
        codes[codes == plexus] = ventricle
    table = np.array([c[1] for c in CLASSES], np.uint8)
    return image, table[CODE_TO_CLASS[codes]]


OFFSET = (13.0, 2.0, 0.0)  # mm from the brain's middle to the volume's, along D, H, W


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--cache", type=Path, default=Path("runs/maps"))
    a = p.parse_args()
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    image, labels = make(load_maps(shared / "data/brain_labels", a.cache))
    a.out.mkdir(parents=True, exist_ok=True)
    # RAS+ array (W, H, D), voxel spacing on the diagonal, the brain's middle near the world's origin.
    affine = np.diag([SPACING] * 3 + [1.0])
    middle = (np.array(SIZE[::-1]) - 1) / 2 * SPACING + np.array(OFFSET[::-1]) * -1
    affine[:3, 3] = -middle.round(2)
    for name, data, intent in (("head", image, "none"), ("head_labels", labels, "label")):
        nifti = nib.Nifti1Image(np.ascontiguousarray(data.transpose(2, 1, 0)), affine)
        nifti.set_qform(affine, 2)
        nifti.set_sform(affine, 2)
        nifti.header.set_xyzt_units("mm")
        nifti.header.set_intent(intent)
        nifti.header["descrip"] = b"synthetic head, Insula"
        nib.save(nifti, a.out / f"{name}.nii.gz")


if __name__ == "__main__":
    main()
