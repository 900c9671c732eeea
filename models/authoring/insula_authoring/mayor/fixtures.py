"""Small stored cases of the whole way from picture to polygons, for the Rust twin of the glue.

    python -m insula_authoring.mayor.fixtures ../tests/fixtures/mayor

A tiny network learns these very pictures by heart, in a minute: it is no text finder, but its answers are those of one. Written
are its weights under their names in the state dict, cases.json (settings, polygons) and one <case>.safetensors each:

| name | what |
|---|---|
| `picture` | uint8 [H, W, 3], RGB |
| `objectness_2`..`_6`, `deltas_2`..`_6` | answers of graph A, [A, H', W'] and [4 A, H', W'] |
| `proposals`, `logits` | of glue.proposals |
| `roi_scores`, `roi_deltas` | answers of graph B for the proposals, in their order |
| `boxes`, `scores` | of glue.detections |
| `grown`, `masks` | of glue.expanded; answers of graph C |

All values are PyTorch's and NumPy's, none ONNX Runtime's. `lines` of cases.json are those left by glue.found, best first: score, origin and number
of pixels of the region, its polygon after contour.trace, contour.simplify, contour.rectangle, and the number of pixels that redaction blanks. A case is refused where
tiny differences of the networks' answers would change the outcome."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from . import contour, glue
from .canvas import Canvas, strip
from .config import SIZE_MULTIPLE, TINY
from .data import sample
from .detect import TorchNet, redaction
from .fonts import find
from .glue import Settings
from .network import Mayor
from .scenes import Scene
from .targets import losses

RATE = 3e-3


def _written(height: int, width: int, lines, background: float = 20.0) -> Canvas:
    """White lines (text, font size, centre, angle, bend) on dark grey with a soft slope."""
    face = next(f for family in find(False) for f in family if f.path.endswith("DejaVuSans.ttf"))
    canvas = Canvas(np.full((height, width, 3), background, np.float32) + np.linspace(0, 30, width, dtype=np.float32)[None, :, None])
    for text, size, centre, angle, bend in lines:
        canvas.write(strip(face, size, text), centre, (235.0, 235.0, 235.0), angle, bend, gap=0.0)
    return canvas


def canvases() -> dict[str, Canvas]:
    rows = ("Dense lines of text", "one below the other", "with hardly a gap", "between each of them", "seven rows in all", "not one to be lost",
            "nor two to be joined")
    return {
        "empty": _written(120, 160, []),
        "one_line": _written(120, 180, [("Name 1976-06-16", 16, (92, 51), 0.0, 0.0)]),
        "dense": _written(128, 190, [(t, 13, (95, 14 + 16 * i), 0.0, 0.0) for i, t in enumerate(rows)]),
        "extreme_aspect": _written(60, 420, [("a line so long that it is forty times as wide as it is high and still goes on", 10, (210, 31), 0.0, 0.0)]),
        "edge": _written(110, 150, [("cut at left", 18, (12, 22), 0.0, 0.0), ("below", 20, (75, 104), 0.0, 0.0), ("right end", 17, (140, 60), 0.0, 0.0)]),
        "turned": _written(160, 170, [("turned by a bit", 15, (84, 40), 0.35, 0.0), ("and a line bent", 17, (84, 125), 0.0, 1.6)]),
    }


def scene(canvas: Canvas) -> Scene:
    return Scene("", canvas.picture.clip(0, 255).astype(np.uint8), canvas.polygons, np.zeros(len(canvas.polygons), bool), canvas.instances, canvas.ink)


def learnt(steps: int = 1100, seed: int = 1) -> TorchNet:
    """A tiny network that knows the pictures, each as it stands or shifted a little. Norms keep their first statistics: those of six
    pictures would be other ones in every step."""
    torch.manual_seed(seed)
    model = Mayor(TINY).eval().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(model.parameters(), lr=RATE)
    scenes = [scene(c) for c in canvases().values()]
    sums: dict[str, float] = {}
    for step in range(steps):
        rng = np.random.default_rng([seed, step])
        for g in opt.param_groups:
            g["lr"] = RATE * min(1, step / 100) * (1 - step / steps)
        parts, _ = losses(model, [sample(moved(rng, scenes[step % len(scenes)]))], rng, bf16=False, mask_kind="dice+bce")
        opt.zero_grad()
        sum(parts.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        for k, v in parts.items():
            sums[k] = sums.get(k, 0) + v.item() / 300
        if step % 300 == 299:
            print(step + 1, {k: round(v, 3) for k, v in sums.items()}, flush=True)
            sums = {}
    return TorchNet(model)


def moved(rng: np.random.Generator, s: Scene) -> Scene:
    """The scene in the network's picture, up to 7 pixels right and down; what then lies outside is cut."""
    h, w = s.instances.shape
    height, width = (-(-n // SIZE_MULTIPLE) * SIZE_MULTIPLE for n in (h, w))
    y, x = rng.integers(0, 8, 2) * (rng.uniform() < 0.5)

    def put(a: np.ndarray) -> np.ndarray:
        out = np.zeros((height, width, *a.shape[2:]), a.dtype)
        part = a[:height - y, :width - x]
        out[y:y + part.shape[0], x:x + part.shape[1]] = part
        return out

    return replace(s, picture=put(s.picture), instances=put(s.instances), ink=put(s.ink))


def run(net, picture: np.ndarray, s: Settings, noise: float = 0.0) -> tuple[dict[str, np.ndarray], list[glue.Found]]:
    """Every array on the way; `noise` shakes the networks' answers."""
    rng = np.random.default_rng(0)
    shake = lambda x: (x + noise * rng.standard_normal(x.shape)).astype(np.float32)
    h, w = picture.shape[:2]
    maps, objectness, deltas = net.a(glue.padded(picture))
    objectness, deltas = [shake(o) for o in objectness], [shake(d) for d in deltas]
    out = {"picture": picture} | {f"objectness_{i + 2}": o for i, o in enumerate(objectness)} | {f"deltas_{i + 2}": d for i, d in enumerate(deltas)}
    out["proposals"], out["logits"] = glue.proposals(net.config, objectness, deltas, h, w, s)
    scores, code = net.b(maps, out["proposals"])
    out["roi_scores"], out["roi_deltas"] = shake(scores), shake(code)
    out["boxes"], out["scores"] = glue.detections(out["proposals"], out["roi_scores"], out["roi_deltas"], h, w, s)
    out["grown"] = glue.expanded(out["boxes"], h, w, s)
    out["masks"] = shake(net.c(maps, out["grown"]))
    found = glue.found(out["boxes"], out["scores"], out["grown"], out["masks"], h, w, s)
    return {k: np.ascontiguousarray(v) for k, v in out.items()}, found


def described(found: list[glue.Found], height: int, width: int) -> list[dict]:
    out = []
    for f in found:
        outline = contour.trace(f.region, f.origin)
        out.append({"score": f.score, "origin": list(f.origin), "pixels": int(f.region.sum()), "box": [float(v) for v in f.box],
                    "outline": outline, "polygon": contour.simplify(outline), "rectangle": contour.rectangle(outline),
                    "blanked": int(redaction([f], height, width).sum())})
    return out


def write(net: TorchNet, out: Path, s: Settings) -> dict[str, int]:
    """Writes the cases, and says how many lines each has."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.contiguous().numpy() for k, v in net.model.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(weights, out / "weights.safetensors")
    cases = {}
    for name, canvas in canvases().items():
        picture = scene(canvas).picture
        arrays, found = run(net, picture, s)
        for trial in (3e-6, 1e-5):
            shaken, again = run(net, picture, s, trial)
            same = len(found) == len(again) and all(abs(a.box - b.box).max() < 0.02 for a, b in zip(found, again))
            if not same or shaken["boxes"].shape != arrays["boxes"].shape:
                raise ValueError(f"case {name}: differences of {trial} change the outcome; move the text a little")
        save_file(arrays, out / f"{name}.safetensors")
        cases[name] = {"lines": described(found, *picture.shape[:2])}
    facts = {"settings": asdict(s), "config": net.config.to_dict(), "cases": cases}
    (out / "cases.json").write_text(json.dumps(facts, indent=None, separators=(",", ":")) + "\n")
    return {k: len(v["lines"]) for k, v in cases.items()}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--steps", type=int, default=1100)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    print(write(learnt(a.steps, a.seed), a.out, Settings()))


if __name__ == "__main__":
    main()
