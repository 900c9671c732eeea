"""MAXIM in PyTorch, written from its published description. One class serves the official variants and small own ones.

Tensors are NHWC, as in the official module. Parameters keep the names and layouts of the official checkpoints: a state-dict
name with its dots written as slashes is the checkpoint's path, kernels are (height, width, in, out) or (in, out).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Config:
    """Hyper-parameters. The defaults are the official S-1; `stages` 2 and 3 and `features` 64 make the others."""

    features: int = 32
    depth: int = 3
    stages: int = 1
    groups: int = 2
    bottleneck_blocks: int = 2
    scales: int = 3  # resolutions the image enters at, and is answered at
    tile_high: int = 16  # side of blocks and grids at the levels below `high_levels`
    tile_low: int = 8  # the same at deeper levels and in the bottleneck
    high_levels: int = 2
    in_channels: int = 3
    out_channels: int = 3
    # Own extension: the image enters as unshuffle x unshuffle phase images (space to depth) and leaves likewise, so
    # that the network works at a fraction of the resolution. 1 is the official network.
    unshuffle: int = 1

    def to_dict(self) -> dict:
        return asdict(self)

    def width(self, level: int) -> int:
        return self.features << level

    def tile(self, level: int) -> int:
        return self.tile_high if level < self.high_levels else self.tile_low

    @property
    def multiple(self) -> int:
        """Height and width of an image must be multiples of this."""
        sides = [self.tile(i) << i for i in range(self.depth)] + [self.tile_low << self.depth]
        return self.unshuffle * math.lcm(*sides)


def variant(name: str) -> Config:
    """The official configuration "S-1" ... "M-3"."""
    letter, stages = name.split("-")
    return Config(features={"S": 32, "M": 64}[letter], stages=int(stages))


class Dense(nn.Module):
    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(cin, cout) / math.sqrt(cin))
        self.bias = nn.Parameter(torch.zeros(cout))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.kernel.t(), self.bias)


class Conv(nn.Module):
    """Convolution with zero padding that keeps the size, or halves it at stride 2 (even sizes)."""

    def __init__(self, cin: int, cout: int, k: int, stride: int = 1):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(k, k, cin, cout) / math.sqrt(k * k * cin))
        self.bias = nn.Parameter(torch.zeros(cout))
        self.stride, self.padding = stride, (k - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel.shape[0] == 1:
            return F.linear(x, self.kernel[0, 0].t(), self.bias)
        x = F.conv2d(x.permute(0, 3, 1, 2), self.kernel.permute(3, 2, 0, 1), self.bias, self.stride, self.padding)
        return x.permute(0, 2, 3, 1)


class ConvTranspose(nn.Module):
    """2x2, stride 2: output (2i+a, 2j+b) is input (i, j) times kernel (1-a, 1-b)."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 2, cin, cout) / math.sqrt(cin))
        self.bias = nn.Parameter(torch.zeros(cout))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, _ = x.shape
        # Outputs do not overlap: a product with all four kernels, then a shuffle.
        k = self.kernel.flip(0, 1).permute(0, 1, 3, 2).flatten(0, 2)
        x = F.linear(x, k).view(n, h, w, 2, 2, -1) + self.bias
        return x.transpose(2, 3).reshape(n, 2 * h, 2 * w, -1)


class LayerNorm(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(c))
        self.bias = nn.Parameter(torch.zeros(c))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.bias, 1e-6)


def gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


class Mix(Dense):
    """Dense along the positions inside square tiles ("block": local) or along the cells of a square grid ("grid":
    global, dilated), alike for every channel and for every position of the other axis."""

    def __init__(self, axis: str, tile: int):
        super().__init__(tile * tile, tile * tile)
        self.axis, self.tile = axis, tile

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        t = self.tile
        # The mixed axis first: one product for all tiles and channels.
        if self.axis == "block":
            y = x.view(n, h // t, t, w // t, t, c).permute(2, 4, 0, 1, 3, 5)
        else:
            y = x.view(n, t, h // t, t, w // t, c).permute(1, 3, 0, 2, 4, 5)
        mixed = torch.matmul(self.kernel.t(), y.reshape(t * t, -1)) + self.bias[:, None].to(x.dtype)
        y = mixed.view(y.shape)
        y = y.permute(2, 3, 0, 4, 1, 5) if self.axis == "block" else y.permute(2, 0, 3, 1, 4, 5)
        return y.reshape(n, h, w, c)


class GatingUnit(nn.Module):
    def __init__(self, c: int, axis: str, tile: int):
        super().__init__()
        self.intermediate_layernorm = LayerNorm(c)
        self.Dense_0 = Mix(axis, tile)

    def forward(self, x: Tensor) -> Tensor:
        u, v = x.chunk(2, -1)
        return u * (self.Dense_0(self.intermediate_layernorm(v)) + 1)


class GmlpLayer(nn.Module):
    """Gated MLP along one axis. Only the mixing needs tiles; everything else acts on each pixel alone."""

    def __init__(self, c: int, axis: str, tile: int):
        super().__init__()
        self.LayerNorm = LayerNorm(c)
        self.in_project = Dense(c, 2 * c)
        self.add_module(f"{axis.title()}GatingUnit", GatingUnit(c, axis, tile))
        self.axis = axis
        self.out_project = Dense(c, c)

    def forward(self, x: Tensor) -> Tensor:
        y = gelu(self.in_project(self.LayerNorm(x)))
        return x + self.out_project(getattr(self, f"{self.axis.title()}GatingUnit")(y))


class MultiAxis(nn.Module):
    """MAB: half of the channels through the grid's gated MLP, half through the block's."""

    def __init__(self, c: int, tile: int):
        super().__init__()
        self.LayerNorm_in = LayerNorm(c)
        self.in_project = Dense(c, 2 * c)
        self.GridGmlpLayer = GmlpLayer(c, "grid", tile)
        self.BlockGmlpLayer = GmlpLayer(c, "block", tile)
        self.out_project = Dense(2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        u, v = gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, -1)
        return x + self.out_project(torch.cat([self.GridGmlpLayer(u), self.BlockGmlpLayer(v)], -1))


class ChannelAttention(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.Conv_0 = Conv(c, c // 4, 1)
        self.Conv_1 = Conv(c // 4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.Conv_1(F.relu(self.Conv_0(x.mean((1, 2), keepdim=True)))).sigmoid()


class RCAB(nn.Module):
    """Residual channel attention with 3x3 convolutions."""

    def __init__(self, c: int):
        super().__init__()
        self.LayerNorm = LayerNorm(c)
        self.conv1 = Conv(c, c, 3)
        self.conv2 = Conv(c, c, 3)
        self.channel_attention = ChannelAttention(c)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(self.LayerNorm(x)), 0.2)
        return x + self.channel_attention(self.conv2(y))


class ChannelMixing(nn.Module):
    def __init__(self, c: int):
        super().__init__()
        self.Dense_0 = Dense(c, c)
        self.Dense_1 = Dense(c, c)

    def forward(self, x: Tensor) -> Tensor:
        return self.Dense_1(gelu(self.Dense_0(x)))


class RDCAB(nn.Module):
    """Residual channel attention with a channel MLP, of the bottleneck."""

    def __init__(self, c: int):
        super().__init__()
        self.LayerNorm = LayerNorm(c)
        self.channel_mixing = ChannelMixing(c)
        self.channel_attention = ChannelAttention(c)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.channel_attention(self.channel_mixing(self.LayerNorm(x)))


class GatingWeights(nn.Module):
    def __init__(self, c: int, tile: int):
        super().__init__()
        self.LayerNorm_in = LayerNorm(c)
        self.in_project = Dense(c, 2 * c)
        self.Dense_0 = Mix("grid", tile)
        self.Dense_1 = Mix("block", tile)
        self.out_project = Dense(2 * c, c)

    def forward(self, x: Tensor) -> Tensor:
        u, v = gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, -1)
        return self.out_project(torch.cat([self.Dense_0(u), self.Dense_1(v)], -1))


class CrossGating(nn.Module):
    """Two signals gate each other; returns both. With `up`, y comes at half the resolution."""

    def __init__(self, cx: int, cy: int, c: int, tile: int, up: bool):
        super().__init__()
        self.up = up
        if up:
            self.ConvTranspose_0 = ConvTranspose(cy, c)
        self.Conv_0 = Conv(cx, c, 1)
        self.Conv_1 = Conv(c if up else cy, c, 1)
        for a in "xy":
            self.add_module(f"LayerNorm_{a}", LayerNorm(c))
            self.add_module(f"in_project_{a}", Dense(c, c))
            self.add_module(f"SplitHeadMultiAxisGating_{a}", GatingWeights(c, tile))
            self.add_module(f"out_project_{a}", Dense(c, c))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.up:
            y = self.ConvTranspose_0(y)
        sx, sy = self.Conv_0(x), self.Conv_1(y)
        x = gelu(self.in_project_x(self.LayerNorm_x(sx)))
        y = gelu(self.in_project_y(self.LayerNorm_y(sy)))
        gx, gy = self.SplitHeadMultiAxisGating_x(x), self.SplitHeadMultiAxisGating_y(y)
        y = self.out_project_y(y * gx) + sy
        return self.out_project_x(x * gy) + y + sx, y


class Encoder(nn.Module):
    """One level: returns (down, x), or x alone without `down`."""

    def __init__(self, cin: int, c: int, groups: int, tile: int, down: bool, cross: bool):
        super().__init__()
        self.groups, self.down = groups, down
        self.Conv_0 = Conv(cin, c, 1)
        for g in range(groups):
            self.add_module(f"SplitHeadMultiAxisGmlpLayer_{g}", MultiAxis(c, tile))
            self.add_module(f"channel_attention_block_1{g}", RCAB(c))
        if cross:
            self.cross_gating_block = CrossGating(c, c, c, tile, up=False)
        if down:
            self.Conv_1 = Conv(c, c, 4, stride=2)

    def forward(self, x: Tensor, earlier: Tensor | None = None):
        """`earlier`: the previous stage's encoder plus decoder features of this level."""
        kept = x = self.Conv_0(x)
        for g in range(self.groups):
            x = getattr(self, f"SplitHeadMultiAxisGmlpLayer_{g}")(x)
            x = getattr(self, f"channel_attention_block_1{g}")(x)
        x = x + kept
        if earlier is not None:
            x, _ = self.cross_gating_block(x, earlier)
        return (self.Conv_1(x), x) if self.down else x


class Bottleneck(nn.Module):
    def __init__(self, cin: int, c: int, groups: int, tile: int):
        super().__init__()
        self.groups = groups
        self.input_proj = Conv(cin, c, 1)
        for g in range(groups):
            self.add_module(f"SplitHeadMultiAxisGmlpLayer_{g}", MultiAxis(c, tile))
            self.add_module(f"channel_attention_block_1_{g}", RDCAB(c))

    def forward(self, x: Tensor) -> Tensor:
        kept = x = self.input_proj(x)
        for g in range(self.groups):
            x = getattr(self, f"SplitHeadMultiAxisGmlpLayer_{g}")(x)
            x = getattr(self, f"channel_attention_block_1_{g}")(x)
        return x + kept


class Decoder(nn.Module):
    def __init__(self, cin: int, c: int, bridge: int, groups: int, tile: int):
        super().__init__()
        self.ConvTranspose_0 = ConvTranspose(cin, c)
        self.UNetEncoderBlock_0 = Encoder(c + bridge, c, groups, tile, down=False, cross=False)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:
        return self.UNetEncoderBlock_0(torch.cat([self.ConvTranspose_0(x), bridge], -1))


class SupervisedAttention(nn.Module):
    """Between stages: features for the next stage, and the restored image so far."""

    def __init__(self, c: int, channels: int):
        super().__init__()
        self.Conv_0 = Conv(c, c, 3)
        self.Conv_1 = Conv(c, channels, 3)
        self.Conv_2 = Conv(channels, c, 3)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        restored = self.Conv_1(x) + image
        return self.Conv_0(x) * self.Conv_2(restored).sigmoid() + x, restored


class UpSampleRatio(nn.Module):
    """Bilinear resize by a power of two (widened triangle when shrinking), then a 1x1 convolution. The two commute, so
    the convolution goes first where that is fewer pixels."""

    def __init__(self, cin: int, cout: int, ratio: float):
        super().__init__()
        self.ratio = ratio
        self.Conv_0 = Conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.ratio == 1:
            return self.Conv_0(x)
        if self.ratio > 1:
            return resize(self.Conv_0(x), self.ratio)
        return self.Conv_0(resize(x, self.ratio))


@cache
def resize_matrix(n: int, ratio: float) -> Tensor:
    """Row i: the weights by which n samples make sample i of the resized axis. float32 (n ratio, n)."""
    centre = (torch.arange(int(n * ratio), dtype=torch.float64) + 0.5) / ratio - 0.5
    away = (torch.arange(n, dtype=torch.float64) - centre[:, None]).abs()
    weight = (1 - away * min(1.0, ratio)).clamp(min=0)
    return (weight / weight.sum(1, keepdim=True)).float()


def resize(x: Tensor, ratio: float) -> Tensor:
    """Bilinear by a power of two, the triangle widened when shrinking, weights beyond the border dropped. A product
    per axis: exact at the border, where PyTorch's own antialiasing lacks bfloat16 and fails for outputs one wide."""
    n, h, w, c = x.shape
    down, across = (resize_matrix(k, ratio).to(x) for k in (h, w))
    x = torch.matmul(down, x.reshape(n, h, w * c)).view(-1, w, c)
    return torch.matmul(across, x).view(n, len(down), len(across), c)


def nearest(x: Tensor, factor: int) -> Tensor:
    """Nearest-neighbour shrinking as JAX does it: the sample at the centre, rounded up."""
    return x[:, factor // 2::factor, factor // 2::factor] if factor > 1 else x


def space_to_depth(x: Tensor, f: int) -> Tensor:
    """(n, f h, f w, c) to (n, h, w, f f c); channel (a f + b) c + k holds the pixels (f i + a, f j + b) of channel k."""
    if f == 1:
        return x
    n, h, w, c = x.shape
    return x.view(n, h // f, f, w // f, f, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h // f, w // f, f * f * c)


def depth_to_space(x: Tensor, f: int) -> Tensor:
    """The inverse of space_to_depth."""
    if f == 1:
        return x
    n, h, w, c = x.shape
    return x.view(n, h, w, f, f, c // f**2).permute(0, 1, 3, 2, 4, 5).reshape(n, h * f, w * f, c // f**2)


class Maxim(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        c = self.config = config
        if not 1 <= c.scales <= c.depth:
            raise ValueError(f"scales {c.scales} must lie in 1..depth {c.depth}")
        if c.in_channels != c.out_channels:
            raise ValueError("the output is a correction of the input: as many channels out as in")
        packed = c.unshuffle**2 * c.in_channels
        levels = range(c.depth)
        for s in range(c.stages):
            add = lambda name, module: self.add_module(f"stage_{s}_{name}", module)
            up = 2 * c.depth**2 * s
            for i in range(c.scales):
                add(f"input_conv_{i}", Conv(packed, c.width(i), 3))
                if s > 0:
                    add(f"input_fuse_sam_{i}", CrossGating(c.width(i), c.width(i), c.width(i), c.tile(i), up=False))
            for i in levels:
                cin = c.width(max(i - 1, 0)) + (c.width(i) if i < c.scales else 0)
                add(f"encoder_block_{i}", Encoder(cin, c.width(i), c.groups, c.tile(i), down=True, cross=s > 0))
            deepest = c.width(c.depth - 1)
            for b in range(c.bottleneck_blocks):
                add(f"global_block_{b}", Bottleneck(deepest, deepest, c.groups, c.tile_low))
            for i in reversed(levels):
                below = c.width(min(i + 1, c.depth - 1))
                for j in levels:
                    self.add_module(f"UpSampleRatio_{up}", UpSampleRatio(c.width(j), c.width(i), 2.0 ** (j - i)))
                    up += 1
                add(f"cross_gating_block_{i}", CrossGating(c.depth * c.width(i), below, c.width(i), c.tile(i), up=True))
            for i in reversed(levels):
                below = c.width(min(i + 1, c.depth - 1))
                for q in reversed(levels):
                    self.add_module(f"UpSampleRatio_{up}", UpSampleRatio(c.width(q), c.width(i), 2.0 ** (q - i)))
                    up += 1
                add(f"decoder_block_{i}", Decoder(below, c.width(i), c.depth * c.width(i), c.groups, c.tile(i)))
                if i < c.scales and s < c.stages - 1:
                    add(f"supervised_attention_module_{i}", SupervisedAttention(c.width(i), packed))
                elif i < c.scales:
                    add(f"output_conv_{i}", Conv(c.width(i), packed, 3))

    def stages(self, image: Tensor) -> list[list[Tensor]]:
        """Restored images of every stage, coarsest first: sides 1/4, 1/2 and 1 of the image's with three scales."""
        c = self.config
        if any(n % c.multiple for n in image.shape[1:3]):
            raise ValueError(f"sides {tuple(image.shape[1:3])} must be multiples of {c.multiple}")
        image = space_to_depth(image, c.unshuffle)
        inputs = [nearest(image, 1 << i) for i in range(c.scales)]
        levels = range(c.depth)
        outputs, sam, e, d = [], {}, {}, {}
        for s in range(c.stages):
            part = lambda name: getattr(self, f"stage_{s}_{name}")
            k = 2 * c.depth**2 * s

            def gathered(features: dict[int, Tensor], order, i: int) -> Tensor:
                nonlocal k
                found = []
                for j in order:
                    found.append(getattr(self, f"UpSampleRatio_{k}")(features[j]))
                    k += 1
                return torch.cat(found, -1)

            f = [part(f"input_conv_{i}")(inputs[i]) for i in range(c.scales)]
            if s > 0:
                f = [part(f"input_fuse_sam_{i}")(f[i], sam[i])[0] for i in range(c.scales)]
            x, encoded = f[0], {}
            for i in levels:
                if i < c.scales:
                    x = torch.cat([x, f[i]], -1)  # at level 0 the features beside themselves
                x, encoded[i] = part(f"encoder_block_{i}")(x, e[i] + d[i] if s > 0 else None)
            e = encoded
            for b in range(c.bottleneck_blocks):
                x = part(f"global_block_{b}")(x)
            deep, bridge = x, {}
            for i in reversed(levels):
                bridge[i], deep = part(f"cross_gating_block_{i}")(gathered(e, levels, i), deep)
            images, d, sam = [], {}, {}
            for i in reversed(levels):
                x = d[i] = part(f"decoder_block_{i}")(x, gathered(bridge, reversed(levels), i))
                if i < c.scales and s < c.stages - 1:
                    sam[i], restored = part(f"supervised_attention_module_{i}")(x, inputs[i])
                    images.append(restored)
                elif i < c.scales:
                    images.append(part(f"output_conv_{i}")(x) + inputs[i])
            outputs.append([depth_to_space(y, c.unshuffle) for y in images])
        return outputs

    def forward(self, image: Tensor) -> Tensor:
        """The restored image (n, h, w, c) from an image (n, h, w, c) in 0..1; neither is clipped."""
        return self.stages(image)[-1][-1]
