"""Answers of the PyTorch network with phase images (`unshuffle`), for the Rust test models/tests/maxim.rs.

    python -m insula_authoring.maxim.fixture ../tests/fixtures/maxim_unshuffle.npz

Parameters and pictures come from a formula that the test knows too, so that only the answers are stored.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from . import weights
from .network import Config, Maxim

SEED = 7
CASES = {
    "grey": (Config(features=4, depth=2, groups=1, bottleneck_blocks=1, scales=1, tile_high=4, tile_low=4,
                    in_channels=1, out_channels=1, unshuffle=2), (32, 64)),
    "colour": (Config(features=4, depth=2, stages=2, groups=1, bottleneck_blocks=1, scales=2, tile_high=4, tile_low=2,
                      unshuffle=2), (32, 32)),
}


def generated(name: str, count: int) -> np.ndarray:
    """Numbers in [-1, 1): splitmix64 begun at the FNV-1a hash of a name."""
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        h = np.uint64(0xCBF29CE484222325)
        for byte in name.encode():
            h = (h ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        z = h + np.uint64(SEED) * step + np.arange(1, count + 1, dtype=np.uint64) * step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def parameter(path: str, shape: tuple[int, ...]) -> torch.Tensor:
    r = generated(path, int(np.prod(shape))).reshape(shape)
    if path.endswith("kernel"):
        r = np.float32(0.7 * np.sqrt(3 / np.prod(shape[:-1]))) * r
    elif path.endswith("scale"):
        r = np.float32(1) + np.float32(0.5) * r
    else:
        r = np.float32(0.25) * r
    return torch.from_numpy(r)


def main() -> None:
    found = {}
    for name, (config, (h, w)) in CASES.items():
        model = Maxim(config).eval()
        own = weights.paths(model.state_dict())
        weights.fill(model, {k: parameter(k, tuple(v.shape)) for k, v in own.items()})
        picture = (generated("input", h * w * config.in_channels) + np.float32(1)) * np.float32(0.5)
        with torch.no_grad():
            found[name] = model(torch.from_numpy(picture).view(1, h, w, -1)).numpy()
    np.savez_compressed(Path(sys.argv[1]), **found)


if __name__ == "__main__":
    main()
