"""SegFormer3D (Perera et al., CVPR Workshops 2024), written from its published description.

Tensors are NCDHW; tokens run row-major over (D, H, W). State-dict names are those of the official
checkpoints. D, H, W are carried explicitly, so any size the strides allow works, not only cubes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int, int]


@dataclass
class Config:
    """Hyper-parameters; the defaults are the official BraTS 2017 configuration."""

    in_channels: int = 4
    num_classes: int = 3
    embed_dims: list[int] = field(default_factory=lambda: [32, 64, 160, 256])
    num_heads: list[int] = field(default_factory=lambda: [1, 2, 5, 8])
    depths: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    mlp_ratios: list[int] = field(default_factory=lambda: [4, 4, 4, 4])
    sr_ratios: list[int] = field(default_factory=lambda: [4, 2, 1, 1])
    patch_kernel_size: list[int] = field(default_factory=lambda: [7, 3, 3, 3])
    patch_stride: list[int] = field(default_factory=lambda: [4, 2, 2, 2])
    patch_padding: list[int] = field(default_factory=lambda: [3, 1, 1, 1])
    decoder_head_embedding_dim: int = 256
    # What scores are divided by the square root of: "num_heads" for the released weights, "head_dim" at HEAD.
    attention_scale: str = "num_heads"

    def to_dict(self) -> dict:
        return asdict(self)


class PatchEmbedding(nn.Module):
    """Strided convolution, then tokens: (N, C, D, H, W) to (N, d*h*w, C') and (d, h, w)."""

    def __init__(self, cin: int, cout: int, k: int, s: int, p: int):
        super().__init__()
        self.patch_embeddings = nn.Conv3d(cin, cout, k, s, p)
        self.norm = nn.LayerNorm(cout)

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        x = self.patch_embeddings(x)
        size = tuple(x.shape[2:])
        return self.norm(x.flatten(2).transpose(1, 2)), size


class Attention(nn.Module):
    """Self-attention whose keys and values come from a grid `sr` times coarser. Heads own contiguous channels."""

    def __init__(self, dim: int, heads: int, sr: int, scale_by: str):
        super().__init__()
        self.heads, self.sr_ratio = heads, sr
        self.scale = (heads if scale_by == "num_heads" else dim // heads) ** -0.5
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        if sr > 1:
            self.sr = nn.Conv3d(dim, dim, sr, sr)
            self.sr_norm = nn.LayerNorm(dim)

    def forward(self, t: Tensor, size: Size) -> Tensor:
        b, n, c = t.shape
        split = lambda x: x.view(b, -1, self.heads, c // self.heads).transpose(1, 2)
        q = split(self.query(t))
        if self.sr_ratio > 1:
            v = self.sr(t.transpose(1, 2).reshape(b, c, *size))
            t = self.sr_norm(v.flatten(2).transpose(1, 2))
        k, v = self.key_value(t).split(c, dim=-1)
        out = F.scaled_dot_product_attention(q, split(k), split(v), scale=self.scale)
        return self.proj(out.transpose(1, 2).reshape(b, n, c))


class _DepthwiseConv3(torch.autograd.Function):
    """3x3x3 depth-wise convolution, padding 1, whose backward pass is quick on a CPU.

    PyTorch's own backward of a grouped Conv3d takes seconds per call there. Here the input gradient is another
    depth-wise convolution and the weight gradient is 27 products of shifted volumes."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv3d(x, weight, bias, padding=1, groups=x.shape[1])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        b, c, d, h, w = x.shape
        grad_x = F.conv3d(grad, weight.flip(2, 3, 4).contiguous(), padding=1, groups=c)
        padded = F.pad(x, (1, 1, 1, 1, 1, 1))
        columns = [(padded[:, :, i:i + d, j:j + h, k:k + w] * grad).sum((0, 2, 3, 4))
                   for i in range(3) for j in range(3) for k in range(3)]
        return grad_x, torch.stack(columns, 1).view_as(weight), grad.sum((0, 2, 3, 4))


class DepthwiseConv(nn.Module):
    """Depth-wise convolution between the two layers of the MLP; tokens in, tokens out."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv3d(dim, dim, 3, 1, 1, groups=dim)
        self.bn = nn.BatchNorm3d(dim)

    def forward(self, t: Tensor, size: Size) -> Tensor:
        b, _, c = t.shape
        x = t.transpose(1, 2).reshape(b, c, *size)
        if torch.is_grad_enabled() and x.device.type == "cpu":
            # Outside autocast: its bfloat16 backward is slower still.
            with torch.autocast("cpu", enabled=False):
                x = _DepthwiseConv3.apply(x.float(), self.dwconv.weight, self.dwconv.bias)
        else:
            x = self.dwconv(x)
        return self.bn(x).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    """Linear, depth-wise convolution, GELU (erf), linear."""

    def __init__(self, dim: int, ratio: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, dim * ratio)
        self.dwconv = DepthwiseConv(dim * ratio)
        self.fc2 = nn.Linear(dim * ratio, dim)

    def forward(self, t: Tensor, size: Size) -> Tensor:
        return self.fc2(F.gelu(self.dwconv(self.fc1(t), size)))


class Block(nn.Module):
    """Pre-norm residual block."""

    def __init__(self, dim: int, heads: int, ratio: int, sr: int, scale_by: str):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, sr, scale_by)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, ratio)

    def forward(self, t: Tensor, size: Size) -> Tensor:
        t = t + self.attention(self.norm1(t), size)
        return t + self.mlp(self.norm2(t), size)


class Encoder(nn.Module):
    """Four stages of overlapping patch embedding and transformer blocks; each stage's features, normalised."""

    def __init__(self, c: Config):
        super().__init__()
        cin = c.in_channels
        for i, dim in enumerate(c.embed_dims):
            n = i + 1
            setattr(self, f"embed_{n}",
                    PatchEmbedding(cin, dim, c.patch_kernel_size[i], c.patch_stride[i], c.patch_padding[i]))
            blocks = [Block(dim, c.num_heads[i], c.mlp_ratios[i], c.sr_ratios[i], c.attention_scale)
                      for _ in range(c.depths[i])]
            setattr(self, f"tf_block{n}", nn.ModuleList(blocks))
            setattr(self, f"norm{n}", nn.LayerNorm(dim))
            cin = dim
        self.stages = len(c.embed_dims)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for n in range(1, self.stages + 1):
            t, size = getattr(self, f"embed_{n}")(x)
            for block in getattr(self, f"tf_block{n}"):
                t = block(t, size)
            t = getattr(self, f"norm{n}")(t)
            x = t.transpose(1, 2).reshape(t.shape[0], -1, *size)
            features.append(x)
        return features


class Projection(nn.Module):
    """One branch of the decoder: channels of a stage to the common width, at the stage's resolution."""

    def __init__(self, cin: int, cout: int):
        super().__init__()
        self.proj = nn.Linear(cin, cout)
        self.bn = nn.LayerNorm(cout)  # named bn in the official checkpoints

    def forward(self, x: Tensor) -> Tensor:
        t = self.bn(self.proj(x.flatten(2).transpose(1, 2)))
        return t.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])


class Decoder(nn.Module):
    """All-MLP head: every stage projected to one width, resized to stage 1, fused, classified."""

    def __init__(self, c: Config):
        super().__init__()
        e = c.decoder_head_embedding_dim
        for n, dim in enumerate(c.embed_dims, start=1):
            setattr(self, f"linear_c{n}", Projection(dim, e))
        self.linear_fuse = nn.Sequential(nn.Conv3d(len(c.embed_dims) * e, e, 1, bias=False), nn.BatchNorm3d(e), nn.ReLU())
        self.linear_pred = nn.Conv3d(e, c.num_classes, 1)

    def fused(self, features: list[Tensor]) -> Tensor:
        """(N, E, d, h, w) on the stage-1 grid. The fuse convolution commutes with the resize, so each branch is
        multiplied by its block of the weight at its own resolution: the same sum for fewer products."""
        size = features[0].shape[2:]
        fuse, norm, relu = self.linear_fuse
        blocks = fuse.weight.chunk(len(features), dim=1)  # columns of c4, c3, c2, c1 in this order
        total = None
        for n, weight in zip(range(len(features), 0, -1), blocks):
            y = F.conv3d(getattr(self, f"linear_c{n}")(features[n - 1]), weight)
            if n > 1:
                y = F.interpolate(y, size=size, mode="trilinear", align_corners=False)
            total = y if total is None else total + y
        if fuse.bias is not None:  # gained when the BatchNorm is folded in
            total = total + fuse.bias.view(1, -1, 1, 1, 1)
        return relu(norm(total))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits (N, K, d, h, w) on the stage-1 grid from the features of stages 1 to 4."""
        return self.linear_pred(self.fused(features))


class SegFormer3D(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.segformer_encoder = Encoder(config)
        self.segformer_decoder = Decoder(config)

    def lowres(self, x: Tensor) -> Tensor:
        """Logits (N, K, D/s, H/s, W/s), s the stride of the first stage."""
        return self.segformer_decoder(self.segformer_encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K, D', H', W') from images (N, C, D, H, W); D' = s * ceil(D / s)."""
        s = self.config.patch_stride[0]
        return F.interpolate(self.lowres(x), scale_factor=s, mode="trilinear", align_corners=False)
