"""xdecoder-medical on the real labelled scan, which it is never trained on: overlap by structure, refusals, a picture.

    python -m insula_authoring.xdecoder.evaluate runs/xdecoder-medical/checkpoint.pt --png out.png

Axial and coronal slices every --step mm. A structure's cIoU is the area where mask and truth agree over the area of either,
both summed over all slices; where the prompt is refused the mask is empty. Absent are structures without a pixel in the
slice, and things no head holds, in words that training never had (anatomy.HELD_OUT).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from ..labels import LARGE
from ..synth import canonical, nearest, normalise, trilinear
from .anatomy import BY_KEY, CHOROID, HELD_OUT, PAIRED, TARGETS
from .answer import Answerer
from .slices import LEAST, PLANES, SIDE, SPACING, pixels, rgb

PROMPTED = [PAIRED[name][0] for name in LARGE]
UNSURE = [c for codes in CHOROID.values() for c in codes]


class RealScan:
    """A RAS+ volume [D, H, W] with FreeSurfer codes, cut into slices on the network's grid."""

    def __init__(self, shared: Path, name: str = "fs_norm", truth: str = "fs_aparc_a2009s_aseg"):
        self.image, affine = canonical(shared / f"data/nifti/brain/{name}.nii.gz")
        self.image = self.image.astype(np.float32)
        self.voxel = np.abs(np.diag(affine)[:3])[::-1]
        codes = canonical(shared / f"data/nifti/brain/{truth}.nii.gz")[0].astype(np.int64)
        codes[(codes >= 11100) & (codes < 12100)] = 3  # the parcels of the cortex, left and right
        codes[(codes >= 12100) & (codes < 13100)] = 42
        codes[(codes >= 251) & (codes <= 255)] = 2  # the corpus callosum is white matter
        self.codes = codes
        inside = np.argwhere(self.image > 0)
        self.low, self.high = inside.min(0), inside.max(0)

    def positions(self, plane: str, step: float) -> list[int]:
        axis = PLANES[plane]
        return list(range(int(self.low[axis]) + 5, int(self.high[axis]) - 4, max(1, round(step / self.voxel[axis]))))

    def slice(self, plane: str, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The normalised slice, float32, and its codes, both (SIDE, SIDE)."""
        axis, centre = PLANES[plane], (self.low + self.high) / 2
        place = (torch.arange(SIDE, dtype=torch.float32) - (SIDE - 1) / 2) * SPACING
        at = torch.empty(3, 1, SIDE, SIDE)
        for a in range(3):
            along = [b for b in range(3) if b != axis]
            if a == axis:
                at[a] = float(index)
            else:
                line = float(centre[a]) + place / float(self.voxel[a])
                at[a, 0] = line[:, None] if a == along[0] else line[None]
        return normalise(trilinear(self.image, at)[0]), nearest(self.codes, at)[0]


def evaluate(answerer: Answerer, scan: RealScan, step: float) -> dict:
    overlap, refused, told = {n: [0, 0] for n in PROMPTED}, {"structures": [], "foreign": []}, []
    rng = np.random.default_rng(0)
    sided = {n: [0, 0] for n in PROMPTED}
    for plane in ("axial", "coronal"):
        for index in scan.positions(plane, step):
            image, codes = scan.slice(plane, index)
            if (codes > 0).sum() < 400:
                continue
            sure = ~np.isin(codes, UNSURE)
            answerer.look(rgb(image))
            prompts = [*PROMPTED, *(f"left {n}" for n in PROMPTED)]
            p, masks = answerer.found(prompts)
            for name, probability, mask in zip(prompts, p, masks):
                truth = pixels(codes, BY_KEY[name]) & sure
                counts = (sided if name.startswith("left ") else overlap)[name.removeprefix("left ")]
                counts[0] += int((mask & truth).sum())
                counts[1] += int(((mask & sure) | truth).sum())
                if truth.sum() >= LEAST:
                    told.append(probability >= answerer.calibration.threshold)
            gone = [t.key for t in TARGETS if not pixels(codes, t).any()]
            for kind, names in (("structures", gone), ("foreign", rng.choice(HELD_OUT, 5, replace=False).tolist())):
                if names:
                    refused[kind] += (answerer.found(list(names))[0] < answerer.calibration.threshold).tolist()
    ciou = {n: round(a / max(1, b), 3) for n, (a, b) in overlap.items()}
    left = {n: round(a / max(1, b), 3) for n, (a, b) in sided.items()}
    everything = refused["structures"] + refused["foreign"]
    return {"mean_ciou": round(float(np.mean(list(ciou.values()))), 4), "ciou": ciou,
            "mean_ciou_left": round(float(np.mean(list(left.values()))), 4), "ciou_left": left,
            "refused_absent": round(float(np.mean(everything)), 4),
            "refused": {k: round(float(np.mean(v)), 4) for k, v in refused.items()}, "found_present": round(float(np.mean(told)), 4),
            "prompts": {"absent": len(everything), "present": len(told)}}


def montage(answerer: Answerer, scan: RealScan):
    """A row for each of six slices: plain, then one prompt a column, its probability told by the frame (green: found)."""
    from PIL import Image

    prompts = ["cerebral cortex", "white matter", "ventricles", "left hippocampus", "right thalamus", "basal ganglia",
               "the brain-stem", "pancreas"]
    rows = []
    for plane in ("axial", "coronal"):
        axis = PLANES[plane]
        for part in (0.35, 0.5, 0.62):
            image, _ = scan.slice(plane, int(scan.low[axis] + part * (scan.high[axis] - scan.low[axis])))
            answerer.look(rgb(image))
            p, masks = answerer.found(prompts)
            row = [rgb(image)]
            for probability, mask in zip(p, masks):
                tile = rgb(image).astype(np.float32)
                tile[mask] = 0.45 * tile[mask] + np.array([140, 60, 20])
                tile[:3] = tile[-3:] = (40, 200, 60) if probability >= answerer.calibration.threshold else (160, 40, 40)
                row.append(tile.astype(np.uint8))
            rows.append(np.hstack([t[::-1] for t in row]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--step", type=float, default=6.0, help="mm between slices")
    p.add_argument("--png", type=Path)
    a = p.parse_args()
    torch.set_num_threads(1)
    answerer, scan = Answerer.load(a.checkpoint), RealScan(Path(os.environ.get("INSULA_SHARED", "../shared")))
    found = evaluate(answerer, scan, a.step)
    a.checkpoint.with_name("evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if a.png:
        montage(answerer, scan).save(a.png)


if __name__ == "__main__":
    main()
