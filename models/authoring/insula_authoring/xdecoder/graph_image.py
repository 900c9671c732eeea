"""The image's side as an ONNX graph: backbone, pixel decoder, and what of the decoder depends on the image alone.

Maps are (1, C, H, W) throughout, and a linear layer is its (out, in) matrix times the map as (C, H W): no transposes but
round layer norms, which want their channels last. Folded into weights: the residual of a depthwise convolution (1 at
its centre), the scales of the residual branches, the divisor of focal modulation.
"""

from __future__ import annotations

import numpy as np
import onnx

from .config import Config
from .graph import HEAD, Rows, port
from .layers import GROUPS

FLOAT = onnx.TensorProto.FLOAT
# A 3x3 convolution of at least so many channels goes by Winograd's F(4x4, 3x3): a quarter of the products.
WINOGRAD_CHANNELS = 256
# Of F(4, 3) at the points 0, 1, -1, 2, -2, infinity: input, kernel and output transforms.
BT = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
               [0, 4, 0, -5, 0, 1]], np.float64)
G = np.array([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
              [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], np.float64)
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)


class Image(Rows):
    def build(self) -> onnx.ModelProto:
        c, b = self.config, self.b
        self.sides: dict[int, tuple[str, str]] = {}  # height and width at a stride, one-entry shapes
        maps = self.backbone()
        self.pyramid(maps)
        self.memory()
        b.scope = "pooled"
        mean = b.node("ReduceMean", maps[3], b.ints(2, 3), keepdims=0)
        b.named("pooled", "MatMul", mean, b.parameter("backbone_proj"))
        return b.model("image", [port("image", 1, c.in_channels, "height", "width")], ports(c) + [port("pooled", 1, c.proj_dim)])

    # Sizes

    def side(self, stride: int) -> tuple[str, str]:
        if stride not in self.sides:
            b, scope = self.b, self.b.scope
            b.scope = "sizes"
            size = b.node("Div", b.node("Shape", "image", start=2), b.ints(stride))
            self.sides[stride] = tuple(b.node("Slice", size, b.ints(i), b.ints(i + 1)) for i in (0, 1))
            b.scope = scope
        return self.sides[stride]

    def as_map(self, x: str, stride: int) -> str:
        """(1, C, H W) to (1, C, H, W)."""
        b = self.b
        key = ("as_map", stride)
        if key not in b.prepared:
            b.prepared[key] = b.node("Concat", b.ints(1, -1), *self.side(stride), axis=0)
        return b.node("Reshape", x, b.prepared[key])

    def flat(self, x: str, c: int) -> str:
        return self.b.node("Reshape", x, self.b.ints(1, c, -1))

    def index(self, n: str) -> str:
        """0, 1, ... n - 1 as int64."""
        b = self.b
        return b.node("Range", b.constant("zero", np.array(0, np.int64)), b.node("Squeeze", n, b.ints(0)),
                      b.constant("one", np.array(1, np.int64)))

    # Backbone

    def product(self, weight: str, x: str, bias: str) -> str:
        """(out, in) times (1, in, H W) plus a column."""
        b = self.b
        return b.node("Add", b.node("MatMul", weight, x), b.turned(bias, "Unsqueeze", b.ints(1)))

    def norm_map(self, x: str, path: str) -> tuple[str, str]:
        """Layer norm over the channels: (channels last, channels first)."""
        b = self.b
        rows = self.norm(b.node("Transpose", x, perm=[0, 2, 3, 1]), path)
        return rows, b.node("Transpose", rows, perm=[0, 3, 1, 2])

    def depthwise(self, x: str, path: str, c: int, k: int, residual: bool) -> str:
        b, kernel = self.b, f"{path}.weight"
        if residual:
            centre = np.zeros((1, 1, k, k), np.float32)
            centre[..., k // 2, k // 2] = 1
            kernel = b.turned(kernel, "Add", b.constant(f"centre[{k}]", centre))
            return b.node("Conv", x, kernel, b.parameter(f"{path}.bias"), group=c, pads=[k // 2] * 4)
        return b.node("Conv", x, b.parameter(kernel), group=c, pads=[k // 2] * 4)

    def scaled(self, path: str, gamma: str) -> tuple[str, str]:
        """Weight and bias of a linear layer with a branch's scale per output channel."""
        b = self.b
        column = b.turned(gamma, "Unsqueeze", b.ints(1))
        return b.turned(f"{path}.weight", "Mul", column), b.turned(f"{path}.bias", "Mul", b.parameter(gamma))

    def modulation(self, x: str, path: str, c: int, stage: int, gamma: str = "") -> str:
        """Of a map (1, C, H, W), flat (1, C, H W) out; `gamma`: the branch's scale."""
        b, levels, stride = self.b, self.config.focal_levels[stage], 4 << stage
        y = self.product(b.parameter(f"{path}.f.weight"), self.flat(x, c), f"{path}.f.bias")
        cut = b.constant(f"int[{c},{c},{levels + 1}]", np.array([c, c, levels + 1], np.int64))
        q, context, gates = b.node("Split", y, cut, outputs=3, axis=1)
        gates = b.node("Split", self.as_map(gates, stride), outputs=levels + 1, axis=1, num_outputs=levels + 1)
        context, gathered = self.as_map(context, stride), ""
        for level in range(levels):
            k = self.config.kernel(stage, level)
            context = b.node("Gelu", self.depthwise(context, f"{path}.focal_layers.{level}.0", c, k, False))
            term = b.node("Mul", context, gates[level])
            gathered = b.node("Add", gathered, term) if gathered else term
        whole = b.node("Gelu", b.node("ReduceMean", context, b.ints(2, 3), keepdims=1))
        gathered = b.node("Add", gathered, b.node("Mul", whole, gates[levels]))
        h = b.turned(f"{path}.h.weight", "Reshape", b.ints(c, c))
        h = b.turned(h, "Mul", b.real(1 / (levels + 1)))
        y = b.node("Mul", q, self.product(h, self.flat(gathered, c), f"{path}.h.bias"))
        if gamma:
            weight, bias = self.scaled(f"{path}.proj", gamma)
            return self.product(weight, y, bias)
        return self.product(b.parameter(f"{path}.proj.weight"), y, f"{path}.proj.bias")

    def mlp(self, x: str, path: str, gamma: str = "") -> str:
        b = self.b
        y = b.node("Gelu", self.product(b.parameter(f"{path}.fc1.weight"), x, f"{path}.fc1.bias"))
        if gamma:
            weight, bias = self.scaled(f"{path}.fc2", gamma)
            return self.product(weight, y, bias)
        return self.product(b.parameter(f"{path}.fc2.weight"), y, f"{path}.fc2.bias")

    def block(self, x: str, path: str, c: int, stage: int) -> str:
        b, stride = self.b, 4 << stage
        if self.config.backbone == "focal_dw":
            for dw, norm, gamma, branch in (("dw1", "norm1", "gamma_1", "modulation"), ("dw2", "norm2", "gamma_2", "mlp")):
                x = self.depthwise(x, f"{path}.{dw}", c, 3, True)
                y = (self.modulation(x, f"{path}.modulation", c, stage, f"{path}.{gamma}") if branch == "modulation"
                     else self.mlp(self.flat(x, c), f"{path}.mlp", f"{path}.{gamma}"))
                x = b.node("Add", x, self.as_map(y, stride))
                _, x = self.norm_map(x, f"{path}.{norm}")
            return x
        for norm, gamma, branch in (("norm1", "gamma_1", "modulation"), ("norm2", "gamma_2", "mlp")):
            y = (self.modulation(x, f"{path}.modulation", c, stage) if branch == "modulation"
                 else self.mlp(self.flat(x, c), f"{path}.mlp"))
            # The branch's scale goes into the norm's own scale and shift.
            y = b.node("Transpose", y, perm=[0, 2, 1])
            g = b.parameter(f"{path}.{gamma}")
            y = b.node("LayerNormalization", y, b.turned(f"{path}.{norm}.weight", "Mul", g),
                       b.turned(f"{path}.{norm}.bias", "Mul", g), axis=-1, epsilon=1e-5)
            x = b.node("Add", x, self.as_map(b.node("Transpose", y, perm=[0, 2, 1]), stride))
        return x

    def embed(self, x: str, path: str, k: int, stride: int, pad: int) -> str:
        b = self.b
        x = b.node("Conv", x, b.parameter(f"{path}.proj.weight"), b.parameter(f"{path}.proj.bias"), strides=[stride] * 2,
                   pads=[pad] * 4, kernel_shape=[k, k])
        return self.norm_map(x, f"{path}.norm")[1]

    def backbone(self) -> list[str]:
        c, b, maps = self.config, self.b, []
        b.scope = "backbone.patch_embed"
        x = self.embed("image", "backbone.patch_embed", 7, 4, {"focal_dw": 3, "focal": 2}[c.backbone])
        for stage, depth in enumerate(c.depths):
            for n in range(depth):
                b.scope = path = f"backbone.layers.{stage}.blocks.{n}"
                x = self.block(x, path, c.channels(stage), stage)
            b.scope = f"backbone.norm{stage}"
            maps.append(self.norm_map(x, f"backbone.norm{stage}")[1])
            if stage + 1 < len(c.depths):
                b.scope = path = f"backbone.layers.{stage}.downsample"
                x = self.embed(x, path, 3, 2, 1)
        return maps

    # Pixel decoder

    def group_norm(self, x: str, path: str, c: int, stride: int) -> str:
        """Mean and variance of each group, repeated for its channels; then one pass as a batch norm."""
        b = self.b
        groups = b.node("Reshape", x, b.ints(GROUPS, -1))
        mean = b.node("ReduceMean", groups, b.ints(1), keepdims=1)
        away = b.node("Sub", groups, mean)
        variance = b.node("ReduceMean", b.node("Mul", away, away), b.ints(1), keepdims=1)
        each = lambda v: b.node("Reshape", b.node("Expand", v, b.ints(GROUPS, c // GROUPS)), b.ints(c))
        return b.node("BatchNormalization", x, b.parameter(f"{path}.weight"), b.parameter(f"{path}.bias"), each(mean),
                      each(variance), epsilon=1e-5)

    def conv3(self, x: str, path: str, cin: int, stride: int, bias: bool = False) -> str:
        """3x3, padding 1. `stride`: of the map; Winograd's tiles of four need one whose sides are multiples of four."""
        b = self.b
        if cin < WINOGRAD_CHANNELS or stride > 8:
            return b.node("Conv", x, b.parameter(f"{path}.weight"), *([b.parameter(f"{path}.bias")] if bias else []),
                          pads=[1] * 4)
        y = self.winograd(x, f"{path}.weight", cin, stride)
        return b.node("Add", y, b.turned(f"{path}.bias", "Reshape", b.ints(1, -1, 1, 1))) if bias else y

    def band(self, stride: int, output: bool) -> str:
        """The transform of whole rows of n pixels, n / 4 tiles u, as a matrix they are multiplied with. Input, (n, (s, u)):
        BT[s, j] at pixel 4 u + j - 1; what lies outside is the padding. Output, ((s, u), n): AT[j, s] at pixel 4 u + j."""
        b = self.b
        key = ("band", stride, output)
        if key in b.prepared:
            return b.prepared[key]
        scope, b.scope = b.scope, "winograd"
        n = self.side(stride)[1]
        pixel, tile = b.node("Unsqueeze", self.index(n), b.ints(0)), self.index(b.node("Div", n, b.ints(4)))
        place = b.node("Sub", pixel, b.node("Mul", b.node("Unsqueeze", tile, b.ints(1)), b.ints(4)))  # (u, n)
        matrix = AT.T if output else BT
        if not output:
            place = b.node("Add", place, b.ints(1))
        outside = b.node("Or", b.node("Less", place, b.ints(0)), b.node("Greater", place, b.ints(matrix.shape[1] - 1)))
        table = b.constant(f"winograd.{'A' if output else 'B'}", np.pad(matrix, ((0, 0), (0, 1))).astype(np.float32))
        found = b.node("Gather", table, b.node("Where", outside, b.ints(matrix.shape[1]), place), axis=1)  # (s, u, n)
        found = b.node("Reshape", found, b.node("Concat", b.ints(-1), n, axis=0))
        if not output:
            found = b.node("Transpose", found, perm=[1, 0])
        b.scope = scope
        b.prepared[key] = found
        return found

    def winograd(self, x: str, kernel: str, cin: int, stride: int) -> str:
        """Tiles of 4x4 pixels, t down and u across, each seen through a window of 6x6, transformed to places r, s. Columns
        first, all of a row at once (band); then rows, by windows put together of the tiles and of one row of each
        neighbour; for each of the 36 (r, s) a product over the channels; and back. Kernels (out, in, 3, 3) become
        (36, out, in)."""
        b = self.b
        cout = b.state[kernel].shape[0]
        both = np.einsum("ra,sb->abrs", G, G).reshape(9, 36).astype(np.float32)
        kernel = b.turned(kernel, "Reshape", b.ints(-1, 9))
        kernel = b.turned(kernel, "MatMul", b.constant("winograd.G", both))
        kernel = b.turned(b.turned(kernel, "Transpose", perm=[1, 0]), "Reshape", b.ints(36, cout, cin))
        down, across = (b.node("Div", n, b.ints(4)) for n in self.side(stride))
        wide = b.node("Mul", across, b.ints(6))

        x = b.node("MatMul", x, self.band(stride, False))  # (1, C, H, (s, u))
        x = b.node("Reshape", x, b.node("Concat", b.ints(cin), down, b.ints(4), wide, axis=0))
        row = lambda i: b.node("Slice", x, b.ints(i), b.ints(i + 1), b.ints(2))
        above = b.node("Pad", row(3), b.ints(0, 1, 0, 0, 0, -1, 0, 0))  # of the tile before: shifted, zeros first
        below = b.node("Pad", row(0), b.ints(0, -1, 0, 0, 0, 1, 0, 0))
        windows = b.node("Concat", above, x, below, axis=2)
        x = b.node("MatMul", b.constant("winograd.BT", BT.astype(np.float32)), windows)  # (C, t, r, (s, u))
        x = b.node("Reshape", x, b.node("Concat", b.ints(cin), down, b.ints(6, 6), across, axis=0))
        x = b.node("Reshape", b.node("Transpose", x, perm=[2, 3, 0, 1, 4]), b.ints(36, cin, -1))
        x = b.node("MatMul", kernel, x)  # (36, out, (t, u))
        x = b.node("Reshape", x, b.node("Concat", b.ints(6, 6, cout), down, across, axis=0))
        x = b.node("Transpose", x, perm=[2, 3, 0, 1, 4])
        x = b.node("Reshape", x, b.node("Concat", b.ints(cout), down, b.ints(6), wide, axis=0))
        x = b.node("MatMul", b.constant("winograd.AT", AT.astype(np.float32)), x)  # (out, t, 4, (s, u))
        x = b.node("Reshape", x, b.node("Concat", b.ints(1, cout, -1), wide, axis=0))
        return b.node("MatMul", x, self.band(stride, True))

    def transformer(self, x: str) -> str:
        """Over stride 32; rows (h w, c) inside."""
        b, c, heads = self.b, self.config.convs_dim, self.config.heads
        position = b.node("Transpose", self.sine(32, c), perm=[1, 0])
        z = b.node("Transpose", b.node("Squeeze", x, b.ints(0)), perm=[1, 0])
        for k in range(self.config.encoder_layers):
            b.scope = path = f"sem_seg_head.pixel_decoder.transformer.encoder.layers.{k}"
            where, attention = b.node("Add", z, position), f"{path}.self_attn"
            y = self.looked(self.projected(where, attention, 0, c),
                            self.heads(self.projected(where, attention, 1, c), c, heads, turned=True),
                            self.heads(self.projected(z, attention, 2, c), c, heads), attention, c, heads)
            z = self.norm(b.node("Add", z, y), f"{path}.norm1")
            z = self.norm(b.node("Add", z, self.ffn(z, path)), f"{path}.norm2")
        return self.as_map(b.node("Unsqueeze", b.node("Transpose", z, perm=[1, 0]), b.ints(0)), 32)

    def pyramid(self, maps: list[str]) -> None:
        c, b = self.config.convs_dim, self.b
        b.scope = path = "sem_seg_head.pixel_decoder"
        one = b.turned(f"{path}.input_proj.weight", "Reshape", b.ints(c, -1))
        x = self.product(one, self.flat(maps[3], self.config.channels(3)), f"{path}.input_proj.bias")
        y = self.conv3(self.transformer(x), f"{path}.layer_4", c, 32)
        b.scope = path
        y = b.node("Relu", self.group_norm(y, f"{path}.layer_4.norm", c, 32))
        self.levels = [y]
        for k in (3, 2, 1):
            b.scope = f"{path}.layer_{k}"
            cin, stride = self.config.channels(k - 1), 2 << k
            one = b.turned(f"{path}.adapter_{k}.weight", "Reshape", b.ints(c, cin))
            finer = self.as_map(b.node("MatMul", one, self.flat(maps[k - 1], cin)), stride)
            finer = self.group_norm(finer, f"{path}.adapter_{k}.norm", c, stride)
            wide = b.node("Resize", y, "", b.constant("twice", np.array([1, 1, 2, 2], np.float32)), mode="nearest",
                          coordinate_transformation_mode="asymmetric", nearest_mode="floor")
            y = self.conv3(b.node("Add", finer, wide), f"{path}.layer_{k}", c, stride)
            y = b.node("Relu", self.group_norm(y, f"{path}.layer_{k}.norm", c, stride))
            self.levels.append(y)
        b.scope = f"{path}.mask_features"
        y = self.conv3(self.levels.pop(), f"{path}.mask_features", c, 4, bias=True)
        b.named("mask_features", "Squeeze", y, b.ints(0))

    # What the decoder reads

    def sine(self, stride: int, c: int) -> str:
        """The position embedding of a grid, (c, h w)."""
        b, (h, w) = self.b, self.side(stride)
        key = ("sine", stride, c)
        if key in b.prepared:
            return b.prepared[key]
        scope, b.scope = b.scope, f"sine.{stride}"
        k = np.arange(c // 2)
        rate = 2 * np.pi / 10000 ** (2 * (k // 2) / (c // 2))
        rate = b.constant(f"sine.rate[{c}]", rate.astype(np.float32)[:, None])
        even = b.constant(f"sine.even[{c}]", (k % 2 == 0)[:, None])

        def along(n: str) -> str:
            place = b.node("Add", b.node("Cast", self.index(n), to=FLOAT), b.real(1.0))
            place = b.node("Div", place, b.node("Add", b.node("Cast", n, to=FLOAT), b.real(1e-6)))
            angle = b.node("Mul", rate, b.node("Unsqueeze", place, b.ints(0)))
            return b.node("Where", even, b.node("Sin", angle), b.node("Cos", angle))  # (c / 2, n)

        shape = b.node("Concat", b.ints(c // 2), h, w, axis=0)
        y = b.node("Expand", b.node("Unsqueeze", along(h), b.ints(2)), shape)
        x = b.node("Expand", b.node("Unsqueeze", along(w), b.ints(1)), shape)
        found = b.node("Reshape", b.node("Concat", y, x, axis=0), b.ints(c, -1))
        b.scope = scope
        b.prepared[key] = found
        return found

    def shrink(self, ratio: int, axis: int) -> str:
        """The antialiased bicubic resize from stride 4 to `ratio` times that, as a matrix (out, in); turned for axis 1."""
        b = self.b
        n, out = self.side(4)[axis], self.side(4 * ratio)[axis]
        middle = lambda count: b.node("Add", b.node("Cast", self.index(count), to=FLOAT), b.real(0.5))
        t = b.node("Sub", b.node("Div", b.node("Unsqueeze", middle(n), b.ints(0)), b.real(float(ratio))),
                   b.node("Unsqueeze", middle(out), b.ints(1)))
        t = b.node("Abs", t)
        times = lambda x, y: b.node("Mul", x, y)
        plus = lambda x, v: b.node("Add", x, b.real(v))
        near = plus(times(times(plus(times(t, b.real(1.5)), -2.5), t), t), 1.0)
        far = times(plus(times(plus(times(plus(t, -5.0), t), 8.0), t), -4.0), b.real(-0.5))
        weight = b.node("Where", b.node("Less", t, b.real(1.0)), near,
                        b.node("Where", b.node("Less", t, b.real(2.0)), far, b.real(0.0)))
        weight = b.node("Div", weight, b.node("ReduceSum", weight, b.ints(1), keepdims=1))
        return b.node("Transpose", weight, perm=[1, 0]) if axis else weight

    def memory(self) -> None:
        c, b = self.config, self.b
        hidden, heads, d = c.hidden_dim, c.heads, c.hidden_dim // c.heads
        for level in range(3):
            b.scope = f"memory.{level}"
            stride, y = 32 >> level, self.flat(self.levels[level], c.convs_dim)
            if c.convs_dim != hidden:
                path = f"{HEAD}.input_proj.{level}"
                y = self.product(b.turned(f"{path}.weight", "Reshape", b.ints(hidden, -1)), y, f"{path}.bias")
            cut = b.ints(level), b.ints(level + 1), b.ints(0)
            embed = b.turned(f"{HEAD}.level_embed.weight", "Slice", *cut)
            values = b.node("Add", b.node("Squeeze", y, b.ints(0)), b.turned(embed, "Transpose", perm=[1, 0]))
            keys, turned = b.node("Add", values, self.sine(stride, hidden)), b.node("Transpose", values, perm=[1, 0])
            for i in range(level, c.decoder_layers, 3):
                path = f"{HEAD}.transformer_cross_attention_layers.{i}.multihead_attn"
                weight, bias = self.part(path, 1, hidden)
                k = b.node("Add", b.node("MatMul", weight, keys), b.turned(bias, "Unsqueeze", b.ints(1)))
                b.named(f"keys_{i}", "Reshape", k, b.ints(heads, d, -1))
                v = b.node("Reshape", self.projected(turned, path, 2, hidden), b.ints(-1, heads, d))
                b.named(f"values_{i}", "Transpose", v, perm=[1, 0, 2])
            ratio = 8 >> level
            small = b.node("MatMul", b.node("MatMul", self.shrink(ratio, 0), "mask_features"), self.shrink(ratio, 1))
            b.named(f"coarse_{level}", "Reshape", small, b.ints(c.mask_dim, -1))




def ports(c: Config, masks: bool = True) -> list:
    """What the image's side hands to the decoder."""
    heads, d = c.heads, c.hidden_dim // c.heads
    found = [port("mask_features", c.mask_dim, "h4", "w4")] if masks else []
    found += [port(f"coarse_{level}", c.mask_dim, f"area_{level}") for level in range(min(3, c.decoder_layers))]
    for i in range(c.decoder_layers):
        found += [port(f"keys_{i}", heads, d, f"area_{i % 3}"), port(f"values_{i}", heads, f"area_{i % 3}", d)]
    return found
