"""A training checkpoint as the sources of the pack segformer3d-brain: weights.safetensors (float16, official names) and
preset.toml.

    python -m insula_authoring.handover runs/brain/checkpoint.pt recipes/segformer3d-brain
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import checkpoint
from .labels import CLASSES

HEAD = """\
# Whole-brain structures on MR, best on T1-weighted scans; trained by models/authoring on synthetic scans only.
family = "segformer3d"
name = "Brain structures"
summary = "Outlines 29 structures of the brain, left and right apart, on a single MR scan, with or without skull."
intended_use = "Research on MR of adult heads, above all T1-weighted. Not a medical device; not for diagnosis."
licence = "MIT OR Apache-2.0"
citation = "Perera et al., SegFormer3D, CVPR Workshops 2024; Billot et al., SynthSeg, Medical Image Analysis 86:102789, 2023."

[input]
axes = "SAR"
spacing_mm = [{spacing}, {spacing}, {spacing}]
[[input.channel]]
name = "MR"
patterns = ["_t1", "_t1w", "_t2", "_t2w", "_flair", "_mr", "_0000"]

# The 1st and 99.5th percentiles of the voxels other than 0 become 0 and 1; clipped.
[[intensity]]
when = "working"
apply = {{ scheme = "percentile", low = 1.0, high = 99.5, of = "nonzero" }}

# A tile holds a whole brain; only heads larger than that take several. No margin, which would make it more of them.
[crop]
kind = "foreground"
above = 0.05
trim = 0.001

[tiles]
patch = [{d}, {h}, {w}]
overlap = 0.5
blend = "gaussian"
plan = "even"

# Numbers are FreeSurfer's.
[output]
activation = "softmax"
classes = {classes}

# Specks away from a structure go. The ventricles' horns may lie apart.
[post]
keep_largest = {keep}
"""


def preset(config: dict, setup: dict) -> str:
    """preset.toml for a network configuration and the working grid it was trained on."""
    d, h, w = setup["size"]
    out = HEAD.format(spacing=setup["spacing"], d=d, h=h, w=w, classes=[c[1] for c in CLASSES],
                      keep=sorted(c[1] for c in CLASSES[1:] if "Ventricle" not in c[0]))
    for name, code, _, rgb in CLASSES[1:]:
        out += f'\n[[label]]\nid = {code}\nname = "{name}"\nrgb = {list(rgb)}\n'
    out += "\n[network]\n"
    for key, value in config.items():
        out += f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value)) + "\n"
    return out


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    a = p.parse_args()
    c = torch.load(a.checkpoint, weights_only=True)
    a.out.mkdir(parents=True, exist_ok=True)
    part = a.out / "preset.toml.part"
    part.write_text(preset(c["config"], c["setup"]))
    checkpoint.save_safetensors(c["ema"], a.out / "weights.safetensors")
    part.replace(a.out / "preset.toml")


if __name__ == "__main__":
    main()
