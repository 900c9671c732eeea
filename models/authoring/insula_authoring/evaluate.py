"""Dice on the real labelled scan, which is never trained on, and pictures to look at.

    python -m insula_authoring.evaluate runs/brain/checkpoint.pt --png out.png
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .labels import CLASSES, CODE_TO_CLASS, LARGE, PAIRS, P
from .segformer3d import Config, SegFormer3D
from .synth import Setup, canonical, nearest, normalise, trilinear


def working_coordinates(image: np.ndarray, voxel: np.ndarray, setup: Setup) -> torch.Tensor:
    """Voxel coordinates [3, D, H, W] of a working grid centred on the bounding box of what is not background.

    image [D,H,W]; voxel: its spacing in mm, same order."""
    box = np.argwhere(image > 0.05 * np.percentile(image[image > 0], 99.5))
    centre = (box.min(0) + box.max(0)) / 2
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * (setup.spacing / float(voxel[i])) + float(centre[i])
            for i, n in enumerate(setup.size)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


@dataclass
class RealScan:
    image: np.ndarray  # float32 [D,H,W] 0..1 on the working grid
    truth: np.ndarray | None  # uint8 classes on the working grid

    @classmethod
    def load(cls, shared: Path, setup: Setup, name: str = "fs_norm", truth: str | None = "fs_aparc_a2009s_aseg"):
        image, affine = canonical(shared / f"data/nifti/brain/{name}.nii.gz")
        image = image.astype(np.float32)
        voxel = np.abs(np.diag(affine)[:3])[::-1]
        at = working_coordinates(image, voxel, setup)
        labels = None
        if truth:
            codes = canonical(shared / f"data/nifti/brain/{truth}.nii.gz")[0].astype(np.int64)
            labels = nearest(CODE_TO_CLASS[codes], at)
        return cls(normalise(trilinear(image, at)), labels)


def predict(model: SegFormer3D, image: np.ndarray) -> np.ndarray:
    """Classes uint8 [D,H,W] of a normalised image."""
    with torch.inference_mode():
        return model(torch.from_numpy(image)[None, None])[0].argmax(0).numpy().astype(np.uint8)


def scores(found: np.ndarray, truth: np.ndarray) -> dict:
    """Dice by structure and side, their means, and how often left is called right."""
    def dice(k: int) -> float:
        a, b = found == k, truth == k
        return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))

    each = {CLASSES[k][0]: round(dice(k), 3) for k in range(1, len(CLASSES))}
    large = [each[f"{side}-{n}"] for n in LARGE for side in ("Left", "Right")] + [each["Brain-Stem"]]
    left, right = (truth >= 1) & (truth <= P), (truth > P) & (truth <= 2 * P)
    said_left, said_right = (found >= 1) & (found <= P), (found > P) & (found <= 2 * P)
    wrong = ((left & said_right).sum() + (right & said_left).sum()) / (left | right).sum()
    return {"large": round(float(np.mean(large)), 4), "all": round(float(np.mean(list(each.values()))), 4),
            "wrong_side": round(float(wrong), 5), "dice": each}


def report(config: Config, weights: dict, scans: list[RealScan]) -> dict:
    model = SegFormer3D(config)
    model.load_state_dict(weights)
    model.eval()
    out = scores(predict(model, scans[0].image), scans[0].truth)
    out["real"] = True
    return out


def montage(pairs: list[tuple[np.ndarray, np.ndarray]]):
    """One row per (image, classes): axial, coronal and sagittal slices, plain and overlaid."""
    from PIL import Image

    lut = np.array([c[3] for c in CLASSES] + [(255, 255, 255)] * (256 - len(CLASSES)))
    rows = []
    for image, classes in pairs:
        d, h, w = image.shape
        row = []
        for cut in (np.s_[d // 2], np.s_[d // 2 + d // 8], np.s_[:, h // 2], np.s_[:, :, w // 2 - w // 10]):
            grey = np.repeat((image[cut] * 255)[..., None], 3, -1)
            found = classes[cut]
            colour = np.where((found > 0)[..., None], 0.45 * grey + 0.55 * lut[found], grey)
            for tile in (grey, colour):
                square = np.zeros((max(d, h, w), max(d, h, w), 3))
                square[:tile.shape[0], :tile.shape[1]] = tile
                row.append(square[::-1])
        rows.append(np.hstack(row))
    return Image.fromarray(np.vstack(rows).clip(0, 255).astype(np.uint8))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--png", type=Path)
    p.add_argument("--raw", action="store_true", help="the weights themselves, not their running average")
    a = p.parse_args()
    torch.set_num_threads(2)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    c = torch.load(a.checkpoint, weights_only=True)
    setup = Setup(**c["setup"])
    model = SegFormer3D(Config(**c["config"]))
    model.load_state_dict(c["model" if a.raw else "ema"])
    model.eval()
    labelled = RealScan.load(shared, setup)
    found = predict(model, labelled.image)
    print(json.dumps({"step": c["state"]["step"], **scores(found, labelled.truth)}, indent=1))
    if a.png:
        rows = [(labelled.image, labelled.truth), (labelled.image, found)]
        for name in ("t1_crop", "icbm152_2009a_t1"):
            other = RealScan.load(shared, setup, name, None)
            rows.append((other.image, predict(model, other.image)))
        montage(rows).save(a.png)


if __name__ == "__main__":
    main()
