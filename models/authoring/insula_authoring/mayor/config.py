"""What differs between text finders. The defaults are the bundled one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

STRIDES = (4, 8, 16, 32, 64)  # P2 to P6; proposals come from all, regions are pooled from the first four
SIZE_MULTIPLE = 32  # sides of the network's picture


@dataclass(frozen=True)
class Config:
    """One network, and the switches of the three ideas: `decoder`, `mask_loss`, `assigner`."""

    # Backbone: basic blocks (ResNet-18: 2, 2, 2, 2) or bottleneck blocks (ResNet-50: 3, 4, 6, 3); widths of the 3x3 convolutions.
    # The published ResNet-18 ends 512 wide; 256 there keeps the float16 weights under 25 MB, and only text of a
    # hundred pixels and more is seen at that stride.
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: tuple[int, int, int, int] = (64, 128, 256, 256)
    bottleneck: bool = False
    stem: int = 64
    fpn: int = 128

    # Anchors: one centred square per cell, `anchor_scale` strides wide, in each of the ratios height / width.
    anchor_scale: float = 8.0
    anchor_ratios: tuple[float, ...] = (1.0,)
    # "adaptive" (see assign.py) or "max-iou" with thresholds 0.7 and 0.3.
    assigner: str = "adaptive"
    topk: int = 9
    k_min: int = 3
    centre_rule: bool = True
    repair: bool = True

    box_pool: int = 7
    box_hidden: int = 512
    mask_pool: int = 14
    mask_convs: int = 4
    # "mlp": 1x1 convolution to `mask_reduce` channels, two dense layers. "deconv": transposed convolution and 1x1 convolution.
    decoder: str = "mlp"
    mask_reduce: int = 16
    mask_hidden: int = 512
    # "dice" (the instance's whole mask is the unit), "bce" (each pixel is), "dice+bce".
    mask_loss: str = "dice"

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "Config":
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown configuration keys {unknown}; expected some of {sorted(known)}")
        return Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


SMALL = Config()
FULL = Config(blocks=(3, 4, 6, 3), widths=(64, 128, 256, 512), bottleneck=True, fpn=256, box_hidden=1024, mask_reduce=32,
              mask_hidden=1024)
# For tests and fixtures: everything there, a few hundred kilobytes. Eight channels or 24 make oneDNN's backward convolution write
# beyond its memory (PyTorch 2.15, channels last).
TINY = Config(blocks=(1, 1, 1, 1), widths=(16, 16, 32, 32), stem=16, fpn=16, box_hidden=32, mask_convs=1, mask_reduce=2,
              mask_hidden=48)
# Each arm of the ablation is the bundled network with one idea taken out, and the plain one without any.
ARMS = {"full": {}, "deconv": {"decoder": "deconv"}, "bce": {"mask_loss": "bce"},
        "max-iou": {"assigner": "max-iou", "anchor_ratios": (0.17, 0.44, 1.13), "anchor_scale": 4.0},
        "plain": {"decoder": "deconv", "mask_loss": "bce", "assigner": "max-iou",
                  "anchor_ratios": (0.17, 0.44, 1.13), "anchor_scale": 4.0}}


def delta_stds(stage: str) -> tuple[float, float, float, float]:
    """Divisors' inverses of the box code (dx, dy, dw, dh) of the "rpn" and of the "box" head."""
    return (1.0, 1.0, 1.0, 1.0) if stage == "rpn" else (0.1, 0.1, 0.2, 0.2)
