"""Tesseract beside our text finder: what redaction by either covers of the letters, and what it takes besides.

    python -m insula_authoring.mayor.peers runs/mayor/checkpoint.pt [--pictures 40]

The held-out medical scenes, twice as large for Tesseract, which is made for print of 20 pixels and more. Both get the same margin. Tesseract's
rows are its words at any confidence, in the modes "sparse text" (--psm 11) and "automatic" (--psm 3)."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from . import score
from .detect import MARGIN, REDACTION, TorchNet, detect, redaction
from .scenes import Generator

ENLARGED = 2


def tesseract(picture: np.ndarray, mode: int) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1) of the words found."""
    h, w = picture.shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.png"
        Image.fromarray(picture).resize((w * ENLARGED, h * ENLARGED), Image.Resampling.BICUBIC).save(path)
        text = subprocess.run(["tesseract", str(path), "-", "--psm", str(mode), "tsv"], check=True, capture_output=True, text=True,
                              env=os.environ | {"OMP_THREAD_LIMIT": "1"}).stdout
    return words(text)


def words(tsv: str) -> list[tuple[int, int, int, int]]:
    """The words (level 5) of Tesseract's table, in the picture's own pixels."""
    out = []
    for row in csv.DictReader(io.StringIO(tsv), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == "5" and row["text"].strip():
            x, y, w, h = (int(row[k]) / ENLARGED for k in ("left", "top", "width", "height"))
            out.append((int(x), int(y), int(np.ceil(x + w)), int(np.ceil(y + h))))
    return out


def blanked(boxes: list[tuple[int, int, int, int]], height: int, width: int) -> np.ndarray:
    out = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        m = int(np.ceil(max(MARGIN[0], MARGIN[1] * min(x1 - x0, y1 - y0))))
        out[max(0, y0 - m):y1 + m, max(0, x0 - m):x1 + m] = True
    return out


def main() -> None:
    from .train import load

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--cache", type=Path)
    p.add_argument("--pictures", type=int, default=40)
    a = p.parse_args()
    torch.set_num_threads(1)
    generator = Generator(Path(os.environ.get("INSULA_SHARED", "../shared")), a.cache or a.checkpoint.parent, 20261125, held_out=True)
    net = TorchNet(load(a.checkpoint))
    totals: dict[str, score.Counts] = {}
    for i in range(a.pictures):
        s = generator.scene(1000 + i, 512, 512, "medical")
        h, w = s.instances.shape
        masks = {f"tesseract, mode {m}": blanked(tesseract(s.picture, m), h, w) for m in (11, 3)}
        for limit in (0.1, REDACTION.score, 0.5):
            masks[f"mayor, score {limit}"] = redaction(detect(net, s.picture, replace(REDACTION, score=limit)), h, w)
        for name, mask in masks.items():
            totals.setdefault(name, score.Counts()).add(score.cover(mask, s.instances, s.ink))
    print(json.dumps({k: {"coverage": v.rows()["coverage"], "false_area": v.rows()["false_area"]} for k, v in totals.items()}, indent=1))


if __name__ == "__main__":
    main()
