"""A trained network as people use it: a picture looked at once, then any number of prompts, each with the probability that
the thing is there; and the fit of that probability.

    python -m insula_authoring.xdecoder.answer runs/xdecoder-medical/checkpoint.pt     # writes calibration.json beside it

Probability = sigmoid(slope x similarity + offset), similarity being that of the prompt to its likeliest query. Slope and
offset are fitted on slices of label maps that training leaves out; the threshold is the lowest at which 95 in 100 prompts
for absent things are refused there.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..synth import load_maps
from . import weights
from .layers import resize
from .network import XDecoder
from .slices import Slices
from .tokenizer import Tokenizer
from .train import HELD_OUT, PROMPTS, answer, pictures, tokens

REFUSED = 0.95  # of absent things, on the calibration slices


@dataclass
class Calibration:
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5

    def probability(self, similarity: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(self.slope * similarity + self.offset)))


class Answerer:
    def __init__(self, model: XDecoder, tokenizer: Tokenizer, calibration: Calibration | None = None):
        self.model, self.tokenizer, self.calibration = model.eval(), tokenizer, calibration or Calibration()

    @classmethod
    def load(cls, checkpoint: Path) -> Answerer:
        path = checkpoint.with_name("calibration.json")
        found = Calibration(**json.loads(path.read_text())["calibration"]) if path.exists() else None
        return cls(weights.restore(checkpoint), Tokenizer.load(checkpoint.with_name("vocabulary.txt")), found)

    @torch.no_grad()
    def look(self, image: np.ndarray) -> None:
        """uint8 (H, W, 3), sides multiples of 32."""
        self.size = image.shape[:2]
        self.memory, _ = self.model.encode(pictures([image]))

    @torch.no_grad()
    def ask(self, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Similarities (n,) and the masks bool (n, H, W) of the likeliest queries, whether there or not."""
        ids = tokens(self.tokenizer, prompts, self.model.config.context)
        similarity, out, *_ = answer(self.model, self.memory, ids, self.tokenizer)
        best = similarity.argmax(1)
        masks = out["masks"][torch.arange(len(best)), best]
        return similarity.max(1).values.numpy(), (resize(masks, self.size) > 0).numpy()

    def found(self, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and masks that are empty below the threshold."""
        similarity, masks = self.ask(prompts)
        p = self.calibration.probability(similarity)
        return p, masks & (p >= self.calibration.threshold)[:, None, None]


def fitted(similarity: np.ndarray, present: np.ndarray) -> Calibration:
    """Logistic regression by Newton's method, and the threshold."""
    x = np.stack([similarity, np.ones_like(similarity)], 1).astype(np.float64)
    w = np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ w)))
        step = np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + 1e-3 * np.eye(2), x.T @ (present - p) - 1e-3 * w)
        w += step
        if abs(step).max() < 1e-9:
            break
    found = Calibration(float(w[0]), float(w[1]))
    found.threshold = float(max(0.05, np.quantile(found.probability(similarity[~present]), REFUSED)))
    return found


def reliability(p: np.ndarray, present: np.ndarray, bins: int = 10) -> list[list[float]]:
    """For each tenth of probability: how many prompts, their mean probability, the part that was there."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    return [[int((place == i).sum()), round(float(p[place == i].mean()), 3), round(float(present[place == i].mean()), 3)]
            for i in range(bins) if (place == i).any()]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--slices", type=int, default=200)
    a = p.parse_args()
    torch.set_num_threads(1)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    maps = load_maps(shared / "data/brain_labels", a.checkpoint.with_name("maps"))[:HELD_OUT]
    data, answerer = Slices(maps, 1, PROMPTS), Answerer.load(a.checkpoint)
    similarity, present = [], []
    for i in range(a.slices):
        example = data.example(i)
        answerer.look(example.image)
        similarity.append(answerer.ask(example.prompts)[0])
        present.append(example.masks.any((1, 2)))
    similarity, present = np.concatenate(similarity), np.concatenate(present)
    found = fitted(similarity, present)
    probability = found.probability(similarity)
    row = {"calibration": asdict(found), "prompts": len(present),
           "refused_absent": round(float((probability[~present] < found.threshold).mean()), 4),
           "found_present": round(float((probability[present] >= found.threshold).mean()), 4),
           "reliability": reliability(probability, present)}
    a.checkpoint.with_name("calibration.json").write_text(json.dumps(row, indent=1) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
