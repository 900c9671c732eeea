"""The three ONNX graphs of a text finder and the facts the glue needs, with nothing in them that depends on values.

    python -m insula_authoring.mayor.export runs/mayor/checkpoint.pt runs/mayor-onnx [--half]

| file | inputs | outputs |
|---|---|---|
| backbone.onnx | `image` [1, 3, H, W], RGB 0..255, sides multiples of 32 | `p2`..`p5`, `objectness_2`..`_6` [1, A, H', W'] logits, `deltas_2`..`_6` [1, 4 A, H', W'] |
| boxes.onnx | `p2`..`p5`, `rois_p2`..`rois_p5` [n, 4] | `scores` [N] probability of text, `deltas` [N, 4] |
| masks.onnx | the same | `masks` [N, 28, 28] probabilities |

Regions go in by the level they are read from (boxes.level), any of the four lists may be empty, and answers come in the order
p2, p3, p4, p5: so a region is pooled once, where one list with a level beside each would pool it four times. BatchNorm is folded into
the convolutions. `--half` stores large weights as float16 with a Cast that ONNX Runtime folds at load; arithmetic stays float32.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .boxes import CLAMP
from .config import SIZE_MULTIPLE, STRIDES, delta_stds
from .detect import MAPS
from .network import Mayor
from .roi import OnnxRoiAlign

OPSET = 15  # the last with RoiAlign of opset 10, which every provider places; from 16 on the default shifts by half a cell


class GraphA(nn.Module):
    def __init__(self, model: Mayor):
        super().__init__()
        self.backbone, self.rpn = model.backbone, model.rpn

    def forward(self, image: Tensor):
        maps = self.backbone(image)
        objectness, deltas = self.rpn(maps)
        return (*maps[:4], *objectness, *deltas)


class _Pooled(nn.Module):
    def __init__(self, bins: int):
        super().__init__()
        self.bins = bins

    def pool(self, arguments) -> Tensor:
        return torch.cat([OnnxRoiAlign.apply(m, r, s, self.bins) for m, r, s in zip(arguments[:4], arguments[4:], STRIDES)])


class GraphB(_Pooled):
    def __init__(self, model: Mayor):
        super().__init__(model.config.box_pool)
        self.head = model.box_head

    def forward(self, *arguments: Tensor):
        logits, deltas = self.head(self.pool(arguments))
        return logits.softmax(1)[:, 1], deltas


class GraphC(_Pooled):
    def __init__(self, model: Mayor):
        super().__init__(model.config.mask_pool)
        self.head = model.mask_head

    def forward(self, *arguments: Tensor):
        return self.head(self.pool(arguments)).sigmoid()


def halve(path: Path) -> None:
    """Rewrites the large float32 initializers of a graph as float16, each with a Cast."""
    import onnx
    from onnx import helper, numpy_helper

    graph = onnx.load(path)
    casts = []
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size >= 64:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), name + ".f16"))
            casts.append(helper.make_node("Cast", [name + ".f16"], [name], to=onnx.TensorProto.FLOAT))
    for i, node in enumerate(casts):
        graph.graph.node.insert(i, node)
    onnx.save(graph, path)


def facts(model: Mayor, folder: Path) -> dict:
    """What the glue must agree on; a program refuses to run with others."""
    c = model.config
    return {"format": 1, "anchor_scale": c.anchor_scale, "anchor_ratios": list(c.anchor_ratios), "strides": list(STRIDES),
            "size_multiple": SIZE_MULTIPLE, "delta_stds_rpn": list(delta_stds("rpn")), "delta_stds_box": list(delta_stds("box")),
            "delta_clamp": CLAMP, "mask_side": 2 * c.mask_pool, "opset": OPSET,
            "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.onnx"))}}


def export(model: Mayor, folder: Path, half: bool = False) -> None:
    """Writes the three graphs and mayor.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    c = model.config
    regions = [f"rois_{m}" for m in MAPS]
    size = lambda m: {2: f"height_{m}", 3: f"width_{m}"}
    heads = [f"{n}_{i}" for n in ("objectness", "deltas") for i in range(2, 7)]
    maps = [torch.zeros(1, c.fpn, 64 // 2**i, 96 // 2**i) for i in range(4)]
    rois = [torch.tensor([[0.0, 0, 32, 16]] * n) for n in (2, 1, 3, 1)]
    pooled_axes = {m: size(m) for m in MAPS} | {r: {0: f"n_{r}"} for r in regions}

    def write(name: str, graph: nn.Module, arguments, inputs, outputs, axes) -> None:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about shapes that are dynamic all the same (tested)
            path = folder / f"{name}.onnx"
            graph.eval()  # the exporter puts the mode of the whole tree back to that of its root
            torch.onnx.export(graph, tuple(arguments), str(path), input_names=inputs, output_names=outputs,
                              dynamic_axes=axes, opset_version=OPSET, dynamo=False)
        if half:
            halve(path)

    write("backbone", GraphA(model), [torch.zeros(1, 3, 64, 96)], ["image"], [*MAPS, *heads],
          {"image": {2: "height", 3: "width"}} | {m: size(m) for m in [*MAPS, *heads]})
    write("boxes", GraphB(model), [*maps, *rois], [*MAPS, *regions], ["scores", "deltas"],
          pooled_axes | {"scores": {0: "regions"}, "deltas": {0: "regions"}})
    write("masks", GraphC(model), [*maps, *rois], [*MAPS, *regions], ["masks"], pooled_axes | {"masks": {0: "regions"}})
    (folder / "mayor.json").write_text(json.dumps(facts(model, folder), indent=1) + "\n")


def main() -> None:
    from .train import load

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--half", action="store_true")
    a = p.parse_args()
    export(load(a.checkpoint), a.out, a.half)


if __name__ == "__main__":
    main()
