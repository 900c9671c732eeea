"""MAXIM as an ONNX graph of fixed height and width, any batch: input "image" and output "restored", float32 [N, C, H, W].

    python -m insula_authoring.maxim.graph checkpoint.npz model.onnx --size 256 256
    python -m insula_authoring.maxim.graph checkpoint.pt model.onnx --size 128 128 --half

Initializers carry the checkpoint's paths and its layouts; what an operator wants otherwise is made by a Transpose, Slice or
Reshape of the initializer, which ONNX Runtime folds when it loads the model. So any checkpoint of the same configuration fits
the graph by names alone. models/authoring/README.md tells how the graph is put together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor

from ..onnx_builder import Builder
from . import weights
from .network import Config, Maxim, resize_matrix


class Graph:
    """The network, module by module as in network.py. Sizes (h, w) travel beside the names of the values, NHWC."""

    def __init__(self, config: Config, state: dict[str, Tensor], half: bool = False):
        self.config = config
        self.b = Builder(state, lambda path: half and path.endswith("/kernel"))  # the rest is small

    def norm(self, x: str, path: str) -> str:
        b = self.b
        return b.node("LayerNormalization", x, b.parameter(f"{path}/scale"), b.parameter(f"{path}/bias"), axis=-1,
                      epsilon=1e-6)

    def dense(self, x: str, path: str) -> str:
        b = self.b
        return b.node("Add", b.node("MatMul", x, b.parameter(f"{path}/kernel")), b.parameter(f"{path}/bias"))

    def conv1(self, x: str, path: str) -> str:
        b = self.b
        kernel = b.turned(f"{path}/kernel", "Reshape", b.ints(*b.state[f"{path}/kernel"].shape[2:]))
        return b.node("Add", b.node("MatMul", x, kernel), b.parameter(f"{path}/bias"))

    def conv(self, x: str, path: str, stride: int = 1) -> str:
        b = self.b
        kernel = b.turned(f"{path}/kernel", "Transpose", perm=[3, 2, 0, 1])
        x = b.node("Transpose", x, perm=[0, 3, 1, 2])
        x = b.node("Conv", x, kernel, b.parameter(f"{path}/bias"), strides=[stride] * 2, pads=[1] * 4)
        return b.node("Transpose", x, perm=[0, 2, 3, 1])

    def conv_transpose(self, x: str, size, path: str) -> str:
        """2x2 at stride 2 as a product with the four flipped kernels side by side, then a shuffle."""
        b, (h, w) = self.b, size
        cin, cout = b.state[f"{path}/kernel"].shape[2:]
        flipped = b.turned(f"{path}/kernel", "Slice", b.ints(-1, -1), b.ints(-3, -3), b.ints(0, 1), b.ints(-1, -1))
        beside = b.turned(flipped, "Transpose", perm=[2, 0, 1, 3])
        kernel = b.turned(beside, "Reshape", b.ints(cin, 4 * cout))
        x = b.node("Reshape", b.node("MatMul", x, kernel), b.ints(-1, h, w, 2, 2, cout))
        x = b.node("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
        x = b.node("Reshape", x, b.ints(-1, 2 * h, 2 * w, cout))
        return b.node("Add", x, b.parameter(f"{path}/bias"))

    def gelu(self, x: str) -> str:
        return self.b.node("Gelu", x, approximate="tanh")

    def halves(self, x: str) -> list[str]:
        return self.b.node("Split", x, outputs=2, axis=-1, num_outputs=2)

    def mix(self, x: str, size, c: int, axis: str, tile: int, path: str) -> str:
        b, t = self.b, tile
        gh, gw = size[0] // t, size[1] // t
        split = (gh, t, gw, t) if axis == "block" else (t, gh, t, gw)
        rows = (t * t, c) if axis == "block" else (t * t, gh * gw * c)
        kernel = b.turned(f"{path}/kernel", "Transpose", perm=[1, 0])
        bias = b.turned(f"{path}/bias", "Unsqueeze", b.ints(1))
        x = b.node("Transpose", b.node("Reshape", x, b.ints(-1, *split, c)), perm=[0, 1, 3, 2, 4, 5])
        x = b.node("Add", b.node("MatMul", kernel, b.node("Reshape", x, b.ints(-1, *rows))), bias)
        x = b.node("Reshape", x, b.ints(-1, split[0], split[2], split[1], split[3], c))
        return b.node("Reshape", b.node("Transpose", x, perm=[0, 1, 3, 2, 4, 5]), b.ints(-1, *size, c))

    def gmlp(self, x: str, size, c: int, axis: str, tile: int, path: str) -> str:
        b, unit = self.b, f"{path}/{axis.title()}GatingUnit"
        u, v = self.halves(self.gelu(self.dense(self.norm(x, f"{path}/LayerNorm"), f"{path}/in_project")))
        v = self.mix(self.norm(v, f"{unit}/intermediate_layernorm"), size, c, axis, tile, f"{unit}/Dense_0")
        y = b.node("Mul", u, b.node("Add", v, b.constant("one", np.ones((), np.float32))))
        return b.node("Add", x, self.dense(y, f"{path}/out_project"))

    def multi_axis(self, x: str, size, c: int, tile: int, path: str) -> str:
        b = self.b
        u, v = self.halves(self.gelu(self.dense(self.norm(x, f"{path}/LayerNorm_in"), f"{path}/in_project")))
        u = self.gmlp(u, size, c, "grid", tile, f"{path}/GridGmlpLayer")
        v = self.gmlp(v, size, c, "block", tile, f"{path}/BlockGmlpLayer")
        return b.node("Add", x, self.dense(b.node("Concat", u, v, axis=-1), f"{path}/out_project"))

    def attention(self, x: str, path: str) -> str:
        b = self.b
        y = b.node("ReduceMean", x, b.ints(1, 2), keepdims=1)
        y = self.conv1(b.node("Relu", self.conv1(y, f"{path}/Conv_0")), f"{path}/Conv_1")
        return b.node("Mul", x, b.node("Sigmoid", y))

    def rcab(self, x: str, path: str) -> str:
        y = self.conv(self.norm(x, f"{path}/LayerNorm"), f"{path}/conv1")
        y = self.conv(self.b.node("LeakyRelu", y, alpha=0.2), f"{path}/conv2")
        return self.b.node("Add", x, self.attention(y, f"{path}/channel_attention"))

    def rdcab(self, x: str, path: str) -> str:
        y = self.gelu(self.dense(self.norm(x, f"{path}/LayerNorm"), f"{path}/channel_mixing/Dense_0"))
        y = self.dense(y, f"{path}/channel_mixing/Dense_1")
        return self.b.node("Add", x, self.attention(y, f"{path}/channel_attention"))

    def gating(self, x: str, size, c: int, tile: int, path: str) -> str:
        u, v = self.halves(self.gelu(self.dense(self.norm(x, f"{path}/LayerNorm_in"), f"{path}/in_project")))
        u = self.mix(u, size, c, "grid", tile, f"{path}/Dense_0")
        v = self.mix(v, size, c, "block", tile, f"{path}/Dense_1")
        return self.dense(self.b.node("Concat", u, v, axis=-1), f"{path}/out_project")

    def cross(self, x: str, y: str, size, c: int, tile: int, up: bool, path: str) -> tuple[str, str]:
        b = self.b
        if up:
            y = self.conv_transpose(y, [n // 2 for n in size], f"{path}/ConvTranspose_0")
        sx, sy = self.conv1(x, f"{path}/Conv_0"), self.conv1(y, f"{path}/Conv_1")
        x, y = (self.gelu(self.dense(self.norm(s, f"{path}/LayerNorm_{a}"), f"{path}/in_project_{a}"))
                for s, a in ((sx, "x"), (sy, "y")))
        gx, gy = (self.gating(s, size, c, tile, f"{path}/SplitHeadMultiAxisGating_{a}") for s, a in ((x, "x"), (y, "y")))
        y = b.node("Add", self.dense(b.node("Mul", y, gx), f"{path}/out_project_y"), sy)
        x = b.node("Add", self.dense(b.node("Mul", x, gy), f"{path}/out_project_x"), y)
        return b.node("Add", x, sx), y

    def encoder(self, x: str, size, level: int, path: str, earlier: str | None = None) -> str:
        c = self.config
        width, tile = c.width(level), c.tile(level)
        kept = x = self.conv1(x, f"{path}/Conv_0")
        for g in range(c.groups):
            x = self.multi_axis(x, size, width, tile, f"{path}/SplitHeadMultiAxisGmlpLayer_{g}")
            x = self.rcab(x, f"{path}/channel_attention_block_1{g}")
        x = self.b.node("Add", x, kept)
        if earlier:
            x, _ = self.cross(x, earlier, size, width, tile, False, f"{path}/cross_gating_block")
        return x

    def bottleneck(self, x: str, size, path: str) -> str:
        c = self.config
        kept = x = self.conv1(x, f"{path}/input_proj")
        for g in range(c.groups):
            x = self.multi_axis(x, size, c.width(c.depth - 1), c.tile_low, f"{path}/SplitHeadMultiAxisGmlpLayer_{g}")
            x = self.rdcab(x, f"{path}/channel_attention_block_1_{g}")
        return self.b.node("Add", x, kept)

    def resized(self, x: str, size, c: int, ratio: float) -> tuple[str, list[int]]:
        """A product with a constant matrix per axis."""
        b, (h, w) = self.b, size
        matrix = lambda n: b.constant(f"resize[{n},{int(n * ratio)}]", resize_matrix(n, ratio).numpy())
        new = [int(n * ratio) for n in size]
        x = b.node("MatMul", matrix(h), b.node("Reshape", x, b.ints(-1, h, w * c)))
        return b.node("MatMul", matrix(w), b.node("Reshape", x, b.ints(-1, new[0], w, c))), new

    def up_sample_ratio(self, x: str, size, cin: int, cout: int, ratio: float, path: str) -> str:
        if ratio == 1:
            return self.conv1(x, f"{path}/Conv_0")
        if ratio > 1:
            return self.resized(self.conv1(x, f"{path}/Conv_0"), size, cout, ratio)[0]
        return self.conv1(self.resized(x, size, cin, ratio)[0], f"{path}/Conv_0")

    def build(self, height: int, width: int) -> onnx.ModelProto:
        c, b = self.config, self.b
        if height % c.multiple or width % c.multiple:
            raise ValueError(f"height {height} and width {width} must be multiples of {c.multiple}")
        sizes = [[n // c.unshuffle >> i for n in (height, width)] for i in range(c.depth + 1)]
        levels = range(c.depth)
        image = b.node("SpaceToDepth", "image", blocksize=c.unshuffle) if c.unshuffle > 1 else "image"
        image = b.node("Transpose", image, perm=[0, 2, 3, 1])
        inputs = [image]
        for i in range(1, c.scales):  # the sample at the centre, rounded up
            far = 2**31 - 1
            inputs.append(b.node("Slice", image, b.ints(2**i // 2, 2**i // 2), b.ints(far, far), b.ints(1, 2),
                                 b.ints(2**i, 2**i)))
        e, d, sam, restored = {}, {}, {}, ""
        for s in range(c.stages):
            k, last = 2 * c.depth**2 * s, s == c.stages - 1

            def gathered(features: dict[int, str], order, i: int) -> str:
                nonlocal k
                found = []
                for j in order:
                    found.append(self.up_sample_ratio(features[j], sizes[j], c.width(j), c.width(i), 2.0 ** (j - i),
                                                      f"UpSampleRatio_{k}"))
                    k += 1
                return b.node("Concat", *found, axis=-1) if len(found) > 1 else found[0]

            f = []
            for i in range(c.scales):
                b.scope = f"stage_{s}_input_{i}"
                f.append(self.conv(inputs[i], f"stage_{s}_input_conv_{i}"))
                if s > 0:
                    f[i], _ = self.cross(f[i], sam[i], sizes[i], c.width(i), c.tile(i), False,
                                         f"stage_{s}_input_fuse_sam_{i}")
            x, encoded = f[0], {}
            for i in levels:
                b.scope = path = f"stage_{s}_encoder_block_{i}"
                if i < c.scales:
                    x = b.node("Concat", x, f[i], axis=-1)
                encoded[i] = self.encoder(x, sizes[i], i, path, b.node("Add", e[i], d[i]) if s > 0 else None)
                x = self.conv(encoded[i], f"{path}/Conv_1", stride=2)
            e = encoded
            for n in range(c.bottleneck_blocks):
                b.scope = path = f"stage_{s}_global_block_{n}"
                x = self.bottleneck(x, sizes[c.depth], path)
            deep, bridge = x, {}
            for i in reversed(levels):
                b.scope = path = f"stage_{s}_cross_gating_block_{i}"
                bridge[i], deep = self.cross(gathered(e, levels, i), deep, sizes[i], c.width(i), c.tile(i), True, path)
            d, sam = {}, {}
            for i in reversed(levels):
                b.scope = path = f"stage_{s}_decoder_block_{i}"
                y = self.conv_transpose(x, sizes[i + 1], f"{path}/ConvTranspose_0")
                y = b.node("Concat", y, gathered(bridge, reversed(levels), i), axis=-1)
                x = d[i] = self.encoder(y, sizes[i], i, f"{path}/UNetEncoderBlock_0")
                if i < c.scales and not last:
                    b.scope = path = f"stage_{s}_supervised_attention_module_{i}"
                    y = b.node("Add", self.conv(x, f"{path}/Conv_1"), inputs[i])
                    a = b.node("Sigmoid", self.conv(y, f"{path}/Conv_2"))
                    sam[i] = b.node("Add", b.node("Mul", self.conv(x, f"{path}/Conv_0"), a), x)
                elif i == 0:
                    b.scope = path = f"stage_{s}_output_conv_0"
                    restored = b.node("Add", self.conv(x, path), image)
        b.scope = "output"
        restored = b.node("Transpose", restored, perm=[0, 3, 1, 2])
        if c.unshuffle > 1:
            restored = b.node("DepthToSpace", restored, blocksize=c.unshuffle)
        b.nodes[-1].output[0] = "restored"
        port = lambda name: helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch", c.in_channels, height, width])
        return b.model("maxim", [port("image")], [port("restored")])


def unused(config: Config) -> set[str]:
    """Paths of a checkpoint that only serve the coarser answers of the last stage, which the graph does not give."""
    return {f"stage_{config.stages - 1}_output_conv_{i}/{leaf}" for i in range(1, config.scales)
            for leaf in ("kernel", "bias")}


def export(config: Config, state: dict[str, Tensor], path: Path | str, size: tuple[int, int], half: bool = False) -> None:
    """Write the graph with the parameters `state` (by path) for images of `size` (height, width)."""
    weights.fill(Maxim(config), state)  # every name and shape, or an error that tells
    graph = Graph(config, state, half)
    model = graph.build(*size)
    left = set(state) - graph.b.used - unused(config)
    assert not left, f"parameters that no node uses: {sorted(left)[:3]}"
    onnx.save(model, str(path))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    p.add_argument("--half", action="store_true", help="kernels as float16")
    a = p.parse_args()
    state, unshuffle = weights.load(a.checkpoint)
    export(weights.config_of(state, unshuffle), state, a.out, tuple(a.size), a.half)


if __name__ == "__main__":
    main()
