"""Scores of a text finder: the held-out generator, photographs of ICDAR 2015, real medical pictures.

    python -m insula_authoring.mayor.evaluate runs/mayor/checkpoint.pt --out runs/mayor/evaluation [--pictures 200]
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from . import glue, score
from .detect import REDACTION, TorchNet, detect, lines, redaction, resized
from .data import sample
from .network import Mayor
from .scenes import Generator, Scene
from .targets import losses

HELD_OUT_SIDE = 512


def aspect(polygon: np.ndarray) -> float:
    """Length over height of a line's strip: its first points follow the upper side."""
    k = len(polygon) // 2
    length = float(np.hypot(*np.diff(polygon[:k], axis=0).T).sum())
    return length / max(1.0, float(np.hypot(*(polygon[0] - polygon[-1]))))


def scene_counts(found: list[glue.Found], blank: list[glue.Found], scene: Scene) -> score.Counts:
    """Matching of the detections, coverage by those of the redaction mode."""
    h, w = scene.instances.shape
    aspects = np.array([aspect(p) for p in scene.polygons])
    counts = score.match(scene.instances, scene.ignored, [(f.region, f.origin) for f in found], aspects)
    counts.add(score.cover(redaction(blank, h, w), scene.instances, scene.ink))
    return counts


def both(net, picture: np.ndarray, s: glue.Settings = glue.Settings()) -> tuple[list[glue.Found], list[glue.Found]]:
    """Detections as listed, and as redacted, of one run of the network."""
    blank = detect(net, picture, replace(s, score=REDACTION.score))
    return [f for f in blank if f.box_score >= s.score], blank


def held_out_scores(model: Mayor, generator: Generator, count: int, side: int = HELD_OUT_SIDE) -> dict:
    """A quick score for the training log: scenes of every kind in turn."""
    net, total, medical = TorchNet(model), score.Counts(), score.Counts()
    for i in range(count):
        scene = generator.scene(i, side, side, ("medical", "dense", "medical", "scattered")[i % 4])
        counts = scene_counts(*both(net, scene.picture), scene)
        total.add(counts)
        if scene.kind == "medical":
            medical.add(counts)
    rows, m = total.rows(), medical.rows()
    return {k: rows[k] for k in ("precision", "recall", "f")} | {"medical_f": m["f"], "medical_coverage": m["coverage"], "medical_false_area": m["false_area"]}


def held_out(net, generator: Generator, count: int, first: int = 1000) -> dict:
    """By kind, `count` pictures each."""
    out = {}
    for kind in ("medical", "dense", "scattered", "empty"):
        total = score.Counts()
        for i in range(count if kind != "empty" else max(1, count // 4)):
            side = (512, 640, 768)[i % 3]
            scene = generator.scene(first + i, side, side, kind)
            total.add(scene_counts(*both(net, scene.picture), scene))
        out[kind] = total.rows() | {"pictures": count, "lines": total.truths}
        print(kind, out[kind], flush=True)
    return out


@torch.no_grad()
def confusion(model: Mayor, generator: Generator, count: int, first: int = 5000) -> dict:
    """How well masks of crowded regions keep to their own line, on dense held-out pages: `leakage` is the mean probability on the
    pixels of other lines in the region."""
    figures: dict[str, list[float]] = {}
    for i in range(count):
        s = sample(generator.scene(first + i, 448, 448, "dense"))
        for k, v in losses(model.eval(), [s], np.random.default_rng(i), bf16=False)[1].items():
            figures.setdefault(k, []).append(v)
    return {k: round(float(np.mean(figures[k])), 4) for k in ("leakage", "mask_iou", "crowded") if k in figures}


def icdar_truth(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Quadrilaterals and which are "do not care" (###) of an ICDAR 2015 file: x1,y1,...,x4,y4,text."""
    polygons, ignored = [], []
    for row in path.read_text(encoding="utf-8-sig").splitlines():
        parts = row.split(",", 8)
        if len(parts) == 9:
            polygons.append(np.array(parts[:8], float).reshape(4, 2))
            ignored.append(parts[8].strip() == "###")
    return polygons, np.array(ignored, bool)


def drawn(picture: np.ndarray, found, truth=()) -> Image.Image:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for p in truth:
        draw.polygon([tuple(map(float, q)) for q in p], outline=(0, 200, 0))
    for line in found:
        draw.polygon(line.polygon, outline=(255, 40, 40))
    return image


def icdar(net, folder: Path, out: Path, long_side: int) -> dict:
    """Words are the truth, lines are what we find: a line of two words is one miss of each. Said in the card."""
    total = score.Counts()
    for path in sorted(folder.glob("img_*.jpg")):
        picture = np.asarray(Image.open(path).convert("RGB"))
        polygons, ignored = icdar_truth(folder / f"gt_{path.stem}.txt")
        small, factor = resized(picture, long_side)
        found = lines(detect(net, small), factor, straight=True)
        h, w = picture.shape[:2]
        total.add(score.match(score.instances(polygons, h, w), ignored, [score.fill(line.polygon, h, w) for line in found]))
        drawn(picture, found, polygons).save(out / f"icdar-{path.stem}.png")
    return total.rows() | {"truths": total.truths}


def medical(net, folder: Path, out: Path, long_side: int) -> dict:
    """Coverage of the boxes of invented names in the real pictures, and the area taken outside of them (which holds other
    text, so it is an upper bound); the pictures are drawn for the eye."""
    boxes = json.loads((folder / "boxes.json").read_text())
    rows = {}
    for name in sorted(boxes):
        picture = np.asarray(Image.open(folder / name).convert("RGB"))
        small, factor = resized(picture, long_side) if max(picture.shape) > long_side else (picture, 1.0)
        found, blank = both(net, small)
        h, w = small.shape[:2]
        mask = redaction(blank, h, w)
        truth = np.zeros((h, w), bool)
        shares = {}
        for b in boxes[name]:
            x0, y0, x1, y1 = (round(v * factor) for v in (b["x"], b["y"], b["x"] + b["w"], b["y"] + b["h"]))
            truth[y0:y1, x0:x1] = True
            shares[b["text"]] = round(100 * float(mask[y0:y1, x0:x1].mean()), 1)
        rows[name] = {"box_coverage": shares, "area_outside": round(100 * float((mask & ~truth).mean()), 2), "lines": len(found)}
        image = np.asarray(drawn(small, lines(found))).copy()
        image[mask] = image[mask] // 2 + np.array([100, 0, 0], np.uint8)
        Image.fromarray(image).save(out / f"medical-{Path(name).stem}.png")
    return rows


def main() -> None:
    from .train import load

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--cache", type=Path, help="of the slices of synthetic heads; default the checkpoint's folder")
    p.add_argument("--pictures", type=int, default=40, help="of each kind")
    p.add_argument("--long-side", type=int, default=1024)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    a.out.mkdir(parents=True, exist_ok=True)
    net = TorchNet(load(a.checkpoint))
    generator = Generator(shared, a.cache or a.checkpoint.parent, 20261125, held_out=True)
    scores = {"held_out": held_out(net, generator, a.pictures), "confusion": confusion(net.model, generator, a.pictures),
              "icdar2015": icdar(net, shared / "data/text/icdar2015_test", a.out, 1280),
              "medical": medical(net, shared / "data/text/medical_burned_in", a.out, a.long_side)}
    print(json.dumps(scores, indent=1))
    (a.out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
