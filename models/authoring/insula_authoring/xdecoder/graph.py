"""X-Decoder as ONNX graphs: the text encoder, the image side, and the decoder for classes, for phrases and for captions.

    python -m insula_authoring.xdecoder.graph xdecoder_focalt_last.pt out-folder

| graph | inputs | outputs |
|---|---|---|
| text | ids int64 (n, length) | tokens (n, length, D), sentences (n, D) |
| image | image (1, 3, H, W) | mask_features (M, h4, w4), pooled (1, D), coarse_l (M, h w), keys_i (heads, d, h w), values_i (heads, h w, d) |
| segment | classes (K + 1, D), the image's | logits (Q, K + 1), masks (Q, h4, w4), vectors (Q, D) |
| ground | words (N, C), sentence (1, D), the image's | similarity (Q - 1), best (k), masks (k, h4, w4) |
| objects | the image's | seen_keys (L, heads, d, Q), seen_values (L, heads, Q, d) |
| caption | word (1, C), place int64 (1), away_l (1, h w), past and seen keys and values, the image's | logits (1, vocabulary), now_keys, now_values |

l counts the levels of stride 32, 16, 8, i the decoder's layers; layer i looks at level i mod 3. All sizes but those of the
network are free when the graph runs. The image is one, its pictures normalised and padded to multiples of 32. What of
the decoder depends on the image alone is on the image's side, so that a further prompt costs little: keys and values of
each layer, and the mask features resized to each level's grid (the resize is linear, so resizing them once takes
the place of resizing the masks of every query after every layer).
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
from .config import Config
from .network import XDecoder

HEAD = "sem_seg_head.predictor"
CANDIDATES = 5  # masks of a phrase, likeliest first


def port(name: str, *sizes, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, sizes)


class Rows:
    """Operations on rows (rows, channels), which the text encoder, the pixel decoder's transformer and the decoder share."""

    def __init__(self, config: Config, state: dict[str, Tensor], half: bool = False):
        # The token table and other matrices are most of the bytes; vectors stay as they are.
        self.b = Builder(state, lambda path: half and state[path].ndim > 1)
        self.config = config

    def linear(self, x: str, path: str) -> str:
        b = self.b
        return b.node("Gemm", x, b.parameter(f"{path}.weight"), b.parameter(f"{path}.bias"), transB=1)

    def matrix(self, x: str, path: str) -> str:
        """A product with a parameter of layout (in, out)."""
        return self.b.node("MatMul", x, self.b.parameter(path))

    def norm(self, x: str, path: str, epsilon: float = 1e-5) -> str:
        b = self.b
        return b.node("LayerNormalization", x, b.parameter(f"{path}.weight"), b.parameter(f"{path}.bias"), axis=-1,
                      epsilon=epsilon)

    def part(self, path: str, i: int, c: int) -> tuple[str, str]:
        """Rows i c to (i + 1) c of an attention's fused projection: 0 queries, 1 keys, 2 values."""
        b = self.b
        cut = b.ints(i * c), b.ints((i + 1) * c), b.ints(0)
        return b.turned(f"{path}.in_proj_weight", "Slice", *cut), b.turned(f"{path}.in_proj_bias", "Slice", *cut)

    def projected(self, x: str, path: str, i: int, c: int) -> str:
        return self.b.node("Gemm", x, *self.part(path, i, c), transB=1)

    def heads(self, x: str, c: int, heads: int, turned: bool = False) -> str:
        """(R, C) to (heads, R, d), or turned to (heads, d, R)."""
        b = self.b
        return b.node("Transpose", b.node("Reshape", x, b.ints(-1, heads, c // heads)), perm=[1, 2, 0] if turned else [1, 0, 2])

    def looked(self, q: str, keys: str, values: str, path: str, c: int, heads: int, blocked: str = "") -> str:
        """Attention of projected queries (R, C) over keys (heads, d, S) and values (heads, S, d); blocked bool, broadcast
        to (heads, R, S)."""
        b = self.b
        q = b.node("Mul", self.heads(q, c, heads), b.real((c // heads) ** -0.5))
        scores = b.node("MatMul", q, keys)
        if blocked:
            scores = b.node("Where", blocked, b.real(float("-inf")), scores)
        y = b.node("MatMul", b.node("Softmax", scores, axis=-1), values)
        y = b.node("Reshape", b.node("Transpose", y, perm=[1, 0, 2]), b.ints(-1, c))
        return self.linear(y, f"{path}.out_proj")

    def ffn(self, x: str, path: str) -> str:
        return self.linear(self.b.node("Relu", self.linear(x, f"{path}.linear1")), f"{path}.linear2")

    def unit(self, x: str) -> str:
        b = self.b
        return b.node("Div", x, b.node("Add", b.node("ReduceL2", x, b.ints(-1), keepdims=1), b.real(1e-7)))

    def scale(self, most: float | None = None) -> str:
        scale = self.b.node("Exp", self.b.parameter(f"{HEAD}.lang_encoder.logit_scale"))
        return scale if most is None else self.b.node("Min", scale, self.b.real(most))


class Text(Rows):
    def build(self) -> onnx.ModelProto:
        b, c, heads = self.b, self.config.text_width, self.config.text_heads
        path = f"{HEAD}.lang_encoder.lang_encoder"
        size = b.node("Shape", "ids")
        length = b.node("Slice", size, b.ints(1), b.ints(2))
        table = b.node("Gather", b.parameter(f"{path}.token_embedding.weight"), "ids", axis=0)
        x = b.node("Add", table, b.node("Slice", b.parameter(f"{path}.positional_embedding"), b.ints(0), length, b.ints(0)))
        x = b.node("Reshape", x, b.ints(-1, c))
        one = lambda n: b.node("Squeeze", n, b.ints(0))
        place = b.node("Range", b.constant("zero", np.array(0, np.int64)), one(length), b.constant("one", np.array(1, np.int64)))
        future = b.node("Less", b.node("Unsqueeze", place, b.ints(1)), b.node("Unsqueeze", place, b.ints(0)))
        apart = b.node("Concat", size, b.ints(heads, c // heads), axis=0)
        for i in range(self.config.text_layers):
            b.scope = block = f"{path}.resblocks.{i}"
            y = self.norm(x, f"{block}.ln_1", 1e-12)
            q, k, v = (b.node("Transpose", b.node("Reshape", self.projected(y, f"{block}.attn", n, c), apart),
                              perm=[0, 2, 3, 1] if n == 1 else [0, 2, 1, 3]) for n in range(3))
            scores = b.node("MatMul", b.node("Mul", q, b.real((c // heads) ** -0.5)), k)
            scores = b.node("Softmax", b.node("Where", future, b.real(float("-inf")), scores), axis=-1)
            y = b.node("Transpose", b.node("MatMul", scores, v), perm=[0, 2, 1, 3])
            x = b.node("Add", x, self.linear(b.node("Reshape", y, b.ints(-1, c)), f"{block}.attn.out_proj"))
            y = self.linear(self.norm(x, f"{block}.ln_2", 1e-12), f"{block}.mlp.c_fc")
            y = b.node("Mul", y, b.node("Sigmoid", b.node("Mul", y, b.real(1.702))))
            x = b.node("Add", x, self.linear(y, f"{block}.mlp.c_proj"))
        b.scope = path
        x = self.matrix(self.norm(x, f"{path}.ln_final", 1e-12), f"{HEAD}.lang_encoder.lang_proj")
        b.named("tokens", "Reshape", x, b.node("Concat", size, b.ints(-1), axis=0))
        last = b.node("ArgMax", "ids", axis=1, keepdims=1)  # the end token has the largest id
        b.named("sentences", "GatherND", "tokens", last, batch_dims=1)
        d = self.config.proj_dim
        return b.model("text", [port("ids", "n", "length", kind=TensorProto.INT64)],
                       [port("tokens", "n", "length", d), port("sentences", "n", d)])


def write(config: Config, state: dict[str, Tensor], folder: Path | str, half: bool = False) -> list[Path]:
    """All graphs of a checkpoint, each <name>.onnx in the folder."""
    from . import graph_decoder, graph_image

    weights.fill(XDecoder(config), state)  # every name and shape, or an error that tells
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"text": Text, "image": graph_image.Image, "segment": graph_decoder.Segment, "ground": graph_decoder.Ground,
             "objects": graph_decoder.Objects, "caption": graph_decoder.Caption}
    used, paths = set(), []
    for name, kind in kinds.items():
        graph = kind(config, state, half)
        paths.append(folder / f"{name}.onnx")
        onnx.save(graph.build(), str(paths[-1]))
        used |= graph.b.used
    left = set(XDecoder(config).state_dict()) - used
    assert not left, f"parameters that no node uses: {sorted(left)[:3]}"
    return paths


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--half", action="store_true", help="matrices as float16")
    a = p.parse_args()
    state, config = weights.load(a.checkpoint)
    write(Config(**config) if config else weights.config_of(state), state, a.out, a.half)


if __name__ == "__main__":
    main()
