"""ONNX export of the rewritten network: dynamic batch and spatial sizes, initializers under their official names.

    python -m insula_authoring.export checkpoint.pt config.json model.onnx

Insula itself needs no such file: it builds the graph from a checkpoint and a preset. This is the second witness."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import checkpoint
from .rewrite import rewrite
from .segformer3d import Attention, Config, SegFormer3D


class _Explicit(nn.Module):
    """Attention with its products written out, so that the exporter makes MatMul and Softmax of it."""

    def __init__(self, a: Attention):
        super().__init__()
        self.heads, self.sr_ratio, self.scale = a.heads, a.sr_ratio, a.scale
        self.query, self.key_value, self.proj = a.query, a.key_value, a.proj
        if a.sr_ratio > 1:
            self.sr, self.sr_norm = a.sr, a.sr_norm

    def forward(self, t: Tensor, size) -> Tensor:
        c = t.shape[2]
        head = c // self.heads
        split = lambda x: x.reshape(x.shape[0], x.shape[1], self.heads, head).transpose(1, 2)
        q = split(self.query(t))
        if self.sr_ratio > 1:
            v = self.sr(t.transpose(1, 2).reshape(t.shape[0], c, *size))
            t = self.sr_norm(v.flatten(2).transpose(1, 2))
        k, v = self.key_value(t).split(c, dim=-1)
        p = (q @ split(k).transpose(2, 3)).softmax(-1)
        return self.proj((p @ split(v)).transpose(1, 2).flatten(2))


def prepared(model: SegFormer3D) -> SegFormer3D:
    """The rewritten model with export-friendly attention; same results."""
    model = rewrite(model)
    for module in list(model.modules()):
        if hasattr(module, "attention"):
            module.attention = _Explicit(module.attention)
    return model


def export(model: SegFormer3D, path: Path | str, opset: int = 17) -> None:
    """Write the network: input "image" [N, C, D, H, W], output "logits" [N, K, D', H', W'], float32."""
    c = model.config
    axes = {0: "batch", 2: "depth", 3: "height", 4: "width"}
    side = 16 * c.patch_stride[0]
    example = torch.zeros(2, c.in_channels, side, side + 2 * c.patch_stride[0] * 4, side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes that are dynamic all the same (tested)
        torch.onnx.export(prepared(model), (example,), str(path), input_names=["image"], output_names=["logits"],
                          dynamic_axes={"image": axes, "logits": axes}, opset_version=opset, dynamo=False,
                          do_constant_folding=False)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("config", type=Path, help="JSON with the fields of Config")
    p.add_argument("out", type=Path)
    a = p.parse_args()
    model = SegFormer3D(Config(**json.loads(a.config.read_text())))
    missing, unexpected = model.load_state_dict(
        {k: v.float() for k, v in checkpoint.load(a.checkpoint).items()}, strict=False)
    missing = [m for m in missing if not m.endswith("num_batches_tracked")]
    if missing or unexpected:
        p.error(f"the checkpoint does not fit the configuration: missing {missing[:3]}, unknown {unexpected[:3]}")
    export(model.eval(), a.out)


if __name__ == "__main__":
    main()
