"""A training checkpoint as the sources of the pack xdecoder-medical: weights.safetensors (float16, official names, the
configuration in its metadata), vocabulary.txt (the tokenizer's merges), preset.toml, calibration.json, evaluation.json
and the log. Calibrate (answer.py) and evaluate (evaluate.py) first.

    python -m insula_authoring.xdecoder.handover runs/xdecoder-medical/checkpoint.pt recipes/xdecoder-medical
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from . import weights
from .anatomy import TARGETS
from .answer import Calibration
from .config import Config
from .slices import SIDE, SPACING

HEAD = """\
# Masks of brain structures from words, slice by slice; trained by models/authoring.
family = "xdecoder"
name = "Find by words: brain"
summary = "Type the name of a brain structure and get its mask on a slice of an MR scan, or hear that it is not there."
intended_use = "Research. It knows the structures of its vocabulary and nothing else; masks are approximate. Not a medical device; not for diagnosis."
licence = "MIT OR Apache-2.0"
citation = "Zou et al., Generalized Decoding for Pixel, Image, and Language, CVPR 2023."

# A slice of a RAS+ volume, resampled to this grid and centred on the object: axial (rows to the front, columns to the right),
# coronal (rows up, columns to the right), sagittal (rows up, columns to the front), indices growing that way, nothing flipped.
# Sagittal slices do not tell left from right.
[input]
axes = "SAR"
spacing_mm = [{spacing}, {spacing}, {spacing}]
[[input.channel]]
name = "scan"

# The object is what is brighter than this part of the bright values.
[crop]
kind = "foreground"
above = 0.1

[tiles]
patch = [1, {side}, {side}]

[output]
activation = "prompts"
tasks = ["phrases"]
suggestions = [
{suggestions}
]

# Probability that a prompt's thing is there: sigmoid(slope * best similarity + offset). Below the threshold: not found.
[output.present]
slope = {slope:.5f}
offset = {offset:.5f}
threshold = {threshold:.5f}

[network]
{network}
"""


def preset(config: Config, calibration: Calibration) -> str:
    values = "\n".join(f"{k} = {json.dumps(list(v) if isinstance(v, tuple) else v)}" for k, v in config.to_dict().items())
    names = [f"    {json.dumps(t.key)}," for t in TARGETS]
    return HEAD.format(side=SIDE, spacing=SPACING, slope=calibration.slope, offset=calibration.offset,
                       threshold=calibration.threshold, network=values, suggestions="\n".join(names))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    a = p.parse_args()
    state, config = weights.load(a.checkpoint)
    beside = lambda name: a.checkpoint.with_name(name)
    if not beside("calibration.json").exists():
        p.error(f"no {beside('calibration.json')}: run python -m insula_authoring.xdecoder.answer {a.checkpoint} first")
    calibration = Calibration(**json.loads(beside("calibration.json").read_text())["calibration"])
    a.out.mkdir(parents=True, exist_ok=True)
    weights.save(state, Config(**config), a.out / "weights.safetensors")
    (a.out / "preset.toml").write_text(preset(Config(**config), calibration))
    for name, to in (("vocabulary.txt",) * 2, ("calibration.json",) * 2, ("evaluation.json",) * 2,
                     ("log.jsonl", "training-log.jsonl")):
        if beside(name).exists():
            shutil.copyfile(beside(name), a.out / to)


if __name__ == "__main__":
    main()
