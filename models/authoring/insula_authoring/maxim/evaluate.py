"""maxim-denoise beside BM3D and non-local means: PSNR and SSIM on Set12 and on synthetic MR and counting noise.

    python -m insula_authoring.maxim.evaluate runs/maxim-denoise/checkpoint.pt --out runs/maxim-denoise/evaluation

All methods see the same noise, seeded by picture and strength. Results of BM3D and non-local means are kept under OUT and
used again. BM3D and non-local means are told the strength,
MAXIM is not. BM3D needs the package bm3d (licensed for research only, so no dependency of ours) and is left out without.
Results are clipped to 0..1 before they are measured; noisy inputs are not clipped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means

from . import weights
from .data import HELD_OUT, gaussian, head_slices, load_grey, load_maps, poisson_gaussian, rician
from .tiles import tiled
from .train import psnr

UNSEEN = 777_000  # seed of synthetic heads that training never draws


def measure(out: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    out = out.clip(0, 1).astype(np.float32)
    ssim = structural_similarity(clean, out, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                 use_sample_covariance=False)
    return {"psnr": psnr(out, clean), "ssim": float(ssim)}


def non_local_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    return denoise_nl_means(noisy, patch_size=5, patch_distance=9, h=0.8 * sigma, sigma=sigma, fast_mode=True)


def methods(checkpoint: Path) -> dict[str, Callable[[np.ndarray, float], np.ndarray]]:
    model = weights.restore(checkpoint)
    found = {"noisy": lambda x, sigma: x, "nlm": non_local_means}
    try:
        from bm3d import bm3d

        found["bm3d"] = lambda x, sigma: bm3d(x, sigma)
    except ImportError:
        print("package bm3d not found: BM3D left out")

    @torch.no_grad()
    def whole(x: np.ndarray, sigma: float) -> np.ndarray:
        multiple = model.config.multiple
        right = [(0, -n % multiple) for n in x.shape]
        padded = torch.from_numpy(np.pad(x, right, "reflect"))
        return model(padded[None, ..., None])[0, :x.shape[0], :x.shape[1], 0].numpy()

    found["maxim"] = lambda x, sigma: tiled(model, x)
    found["maxim, whole picture"] = whole
    return found


def cases(shared: Path, cache: Path):
    """(task, picture's name, noisy, clean, the strength that the informed methods are told)."""
    for i, picture in enumerate(load_grey(shared / "data/images/set12")):
        clean = picture.astype(np.float32) / 255
        for s in (15, 25, 50):
            noisy = gaussian(np.random.default_rng([i, s]), clean, s / 255)
            yield f"Set12, Gaussian {s}", f"{i + 1:02}", noisy, clean, s / 255
    heads = head_slices(load_maps(shared / "data/brain_labels", cache / "maps"), UNSEEN)[:6]
    for i, clean in enumerate(heads):
        for percent in (4, 8, 15):
            noisy = rician(np.random.default_rng([i, percent]), clean, percent / 100)
            yield f"synthetic MR, Rician {percent} %", f"slice {i}", noisy, clean, percent / 100
    for i, picture in enumerate(load_grey(shared / "data/images/train400")[-HELD_OUT:]):
        clean = picture.astype(np.float32) / 255
        noisy = poisson_gaussian(np.random.default_rng(i), clean, 60, 5 / 255)
        yield "held-out pictures, Poisson 60 + Gaussian 5", f"{i}", noisy, clean, float((noisy - clean).std())


def markdown(rows: dict) -> str:
    names = list(next(iter(rows.values()))["mean"])
    out = ["| task | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for task, row in rows.items():
        out.append(f"| {task} | " + " | ".join(f"{m['psnr']:.2f} dB, {m['ssim']:.3f}" for m in row["mean"].values())
                   + " |")
    return "\n".join(out) + "\n"


def montage(pictures: list[list[np.ndarray]], side: int = 176):
    """A grid of crops about the middle, one row per case."""
    from PIL import Image

    def crop(x: np.ndarray) -> np.ndarray:
        top, left = ((n - side) // 2 for n in x.shape)
        return (x[max(0, top):, max(0, left):][:side, :side].clip(0, 1) * 255).round().astype(np.uint8)

    rows = []
    for row in pictures:
        cells = [np.pad(c, [(0, side - n) for n in c.shape]) for c in map(crop, row)]
        rows.append(np.hstack([np.pad(c, 2, constant_values=255) for c in cells]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--out", type=Path, default=Path("runs/maxim-denoise/evaluation"))
    p.add_argument("--only", help="tasks whose name contains this")
    p.add_argument("--without", nargs="*", default=[], help="methods to leave out")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    every = {k: v for k, v in methods(a.checkpoint).items() if k not in a.without}
    rows: dict = {}
    pictures: dict[str, list[np.ndarray]] = {}
    for task, name, noisy, clean, sigma in cases(shared, a.out):
        if a.only and a.only not in task:
            continue
        found, shown = {}, [clean]
        for method, f in every.items():
            kept = a.out / "kept" / f"{method} {task} {name}.npz"
            if kept.exists() and method in ("nlm", "bm3d"):
                with np.load(kept) as z:
                    out, cpu = z["out"].astype(np.float32), float(z["cpu"])
            else:
                cpu = time.process_time()
                out = f(noisy, sigma)
                cpu = time.process_time() - cpu
                if method in ("nlm", "bm3d"):
                    kept.parent.mkdir(exist_ok=True)
                    np.savez(kept, out=out.astype(np.float32), cpu=cpu)
            found[method] = measure(out, clean) | {"cpu_seconds": cpu}
            shown.append(out)
        rows.setdefault(task, {"pictures": {}})["pictures"][name] = found
        pictures[task] = shown  # the last of each task
        print(f"{task}, {name}: " + ", ".join(f"{k} {v['psnr']:.2f}" for k, v in found.items()), flush=True)
    for row in rows.values():
        row["mean"] = {m: {k: float(np.mean([f[m][k] for f in row["pictures"].values()]))
                           for k in ("psnr", "ssim", "cpu_seconds")} for m in every}
    (a.out / "scores.json").write_text(json.dumps(rows, indent=1))
    (a.out / "scores.md").write_text(markdown(rows))
    print(markdown(rows))
    montage(list(pictures.values())).save(a.out / "pictures.png")


if __name__ == "__main__":
    main()
