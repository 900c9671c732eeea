"""A training checkpoint as the sources of the pack mayor-text: weights.safetensors (float16), preset.toml, the log.

    python -m insula_authoring.mayor.handover runs/mayor/checkpoint.pt recipes/mayor-text
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from .config import Config
from .detect import MARGIN, REDACTION
from .glue import Settings
from .network import Mayor
from .train import load

HEAD = """\
# Lines of text in pictures and scans, for redaction above all; trained by models/authoring on generated pictures.
family = "mayor"
name = "Text"
summary = "Finds lines of text, also bent and turned ones, burned into pictures and scans."
intended_use = "Research. No tool finds all text: a person has to look. Not a medical device."
licence = "MIT OR Apache-2.0"
citation = "After the idea of Qin et al., Mask is All You Need, ACM Multimedia 2021; not a reproduction."
"""


LONG_SIDE, TILE_OVERLAP = 1024, 160
TILES = f"""
[input]
axes = "stored"
[[input.channel]]
name = "picture"

# The network's picture is at most this large; larger ones are seen smaller, and in tiles where small print matters.
[tiles]
patch = [1, {LONG_SIDE}, {LONG_SIDE}]
"""


def table(name: str, values: dict) -> str:
    def text(v) -> str:
        if isinstance(v, bool):
            return str(v).lower()
        if isinstance(v, (tuple, list)):
            return "[" + ", ".join(text(x) for x in v) + "]"
        return f'"{v}"' if isinstance(v, str) else str(v)

    return f"\n[{name}]\n" + "".join(f"{k} = {text(v)}\n" for k, v in values.items())


def preset(config: Config) -> str:
    """The pack's settings: the network, the thresholds of detection, what redaction changes of them."""
    s = Settings()
    output = {"activation": "text", "score": s.score, "proposals": s.proposals, "detections": s.detections,
              "redact_score": REDACTION.score, "margin_px": MARGIN[0], "margin_of_height": MARGIN[1],
              "long_side": LONG_SIDE, "tile_overlap": TILE_OVERLAP}
    return HEAD + TILES + table("output", output) + table("network", config.to_dict())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    a = p.parse_args()
    model = load(a.checkpoint)
    a.out.mkdir(parents=True, exist_ok=True)
    save_file(half(model), a.out / "weights.safetensors")
    (a.out / "preset.toml").write_text(preset(model.config))
    log = a.checkpoint.with_name("log.jsonl")
    if log.exists():
        shutil.copyfile(log, a.out / "training-log.jsonl")


def half(model: Mayor) -> dict[str, torch.Tensor]:
    """Kernels in float16; biases, norms and their statistics, which are few, in float32."""
    return {k: (v.half() if v.ndim > 1 else v).contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


if __name__ == "__main__":
    main()
