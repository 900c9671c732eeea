"""A training checkpoint as the sources of the pack maxim-denoise: weights.safetensors (float16, official paths),
preset.toml and the log.

    python -m insula_authoring.maxim.handover runs/maxim-denoise/checkpoint.pt recipes/maxim-denoise
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from . import weights
from .network import Config

HEAD = """\
# Blind denoising of grey pictures and slices; trained by models/authoring.
family = "maxim"
name = "Denoise"
summary = "Removes noise of unknown strength from grey pictures and from single slices of scans."
intended_use = "Research. It may remove or invent fine detail. Not a medical device; not for diagnosis."
licence = "MIT OR Apache-2.0"
citation = "Tu et al., MAXIM: Multi-Axis MLP for Image Processing, CVPR 2022."

[input]
axes = "stored"
[[input.channel]]
name = "image"

# The network was trained on tiles of this size; its global branch mixes cells of an eighth of a tile.
[tiles]
patch = [1, {tile}, {tile}]
overlap = {overlap}
blend = "ramp"

[output]
activation = "none"
task = "denoising"
channels = {in_channels}

[network]
in_channels = {in_channels}
features = {features}
depth = {depth}
num_stages = {stages}
num_groups = {groups}
num_bottleneck_blocks = {bottleneck_blocks}
num_supervision_scales = {scales}
high_res_stages = {high_levels}
tile_hr = {tile_high}
tile_lr = {tile_low}
# Phase images per axis: space to depth before the network, depth to space after it (README of models/authoring).
unshuffle = {unshuffle}
"""

TILE, OVERLAP = 128, 0.25


def preset(config: Config) -> str:
    return HEAD.format(tile=TILE, overlap=OVERLAP, **config.to_dict())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    a = p.parse_args()
    state, unshuffle = weights.load(a.checkpoint)
    a.out.mkdir(parents=True, exist_ok=True)
    weights.save_safetensors(state, a.out / "weights.safetensors", unshuffle)
    (a.out / "preset.toml").write_text(preset(weights.config_of(state, unshuffle)))
    log = a.checkpoint.with_name("log.jsonl")
    if log.exists():
        shutil.copyfile(log, a.out / "training-log.jsonl")


if __name__ == "__main__":
    main()
