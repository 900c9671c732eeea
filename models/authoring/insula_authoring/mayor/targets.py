"""What the network is to answer on a training picture, and how far it is from it.

Losses: objectness and box code of sampled anchors; text or not and box code of sampled regions; masks of positive regions. Each
region answers for one instance, and every other instance in it is background: that is what makes the masks instance-aware."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import boxes as bx
from . import glue
from .assign import assign
from .config import Config
from .network import Mayor

OUTSIDE = 65535  # in the map of instances: neither text nor background


@dataclass
class Sample:
    """A training picture. `instances` uint16 [H, W] holds 0 for background, g + 1 for boxes[g], OUTSIDE for "do not care"."""

    picture: np.ndarray  # uint8 [H, W, 3]
    boxes: np.ndarray  # float32 [G, 4]
    instances: np.ndarray
    ignored: np.ndarray  # float32 [I, 4]


@dataclass(frozen=True)
class Sampling:
    """How many of what per picture."""

    anchors: int = 256
    regions: int = 64
    positive: float = 0.35  # of the regions at most
    masks: int = 16
    jitter: float = 0.1  # of a side, each edge, so that a mask does not learn that text fills its box
    proposals: glue.Settings = replace(glue.Settings(), rpn_pre=400, proposals=200)


def mask_target(instances: np.ndarray, box: np.ndarray, which: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a box cut in side x side cells: the share of each that is instance `which`, that is another instance, and whether any of it is
    OUTSIDE. Four samples a cell."""
    h, w = instances.shape
    at = (np.arange(2 * side) + 0.5) / (2 * side)
    x = np.floor(box[0] + at * (box[2] - box[0])).astype(np.int64).clip(0, w - 1)
    y = np.floor(box[1] + at * (box[3] - box[1])).astype(np.int64).clip(0, h - 1)
    v = instances[y[:, None], x[None]].reshape(side, 2, side, 2).transpose(0, 2, 1, 3).reshape(side, side, 4)
    own, other = v == which + 1, (v != 0) & (v != which + 1) & (v != OUTSIDE)
    return own.mean(-1, dtype=np.float32), other.mean(-1, dtype=np.float32), (v == OUTSIDE).any(-1)


def jittered(rng: np.random.Generator, boxes: np.ndarray, amount: float, height: int, width: int) -> np.ndarray:
    """Every edge moved by up to `amount` of the side."""
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return bx.clip(boxes + side * rng.uniform(-amount, amount, boxes.shape).astype(np.float32), height, width)


def sample_anchors(rng: np.random.Generator, owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of positive (at most half) and negative anchors."""
    positive = np.flatnonzero(owner >= 0)
    if len(positive) > count // 2:
        positive = rng.choice(positive, count // 2, replace=False)
    negative = np.flatnonzero(owner == -1)
    return positive, rng.choice(negative, min(len(negative), count - len(positive)), replace=False)


def sample_regions(rng: np.random.Generator, sample: Sample, found: np.ndarray, s: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Regions [N, 4] and the instance of each (-1 for background), from proposals, best first, and the instances' own boxes. Half of the
    background regions are those the proposal stage believed most, a cheap kind of hard example mining."""
    h, w = sample.instances.shape
    truth = sample.boxes
    pool = [found]
    if len(truth):
        pool += [truth, jittered(rng, truth, s.jitter, h, w), jittered(rng, truth, 1.5 * s.jitter, h, w)]
    pool = np.concatenate(pool).astype(np.float32)
    pool = pool[(pool[:, 2:] - pool[:, :2] >= 1).all(1)]
    owner = np.full(len(pool), -1)
    usable = np.ones(len(pool), bool)
    if len(truth):
        overlap = bx.iou(pool, truth)
        owner = np.where(overlap.max(1) >= 0.5, overlap.argmax(1), -1)
    if len(sample.ignored):
        inside = bx.intersection(pool, sample.ignored).sum(1) / np.maximum(bx.area(pool), 1e-6)
        usable = (owner >= 0) | (inside < 0.5)
    positive = np.flatnonzero((owner >= 0) & usable)
    most = int(s.regions * s.positive)
    if len(positive) > most:
        positive = rng.choice(positive, most, replace=False)
    negative = np.flatnonzero((owner < 0) & usable)
    wanted = min(len(negative), s.regions - len(positive))
    hard = negative[:wanted // 2]
    negative = np.concatenate([hard, rng.choice(negative[len(hard):], wanted - len(hard), replace=False)])
    chosen = np.concatenate([positive, negative]).astype(np.int64)
    return pool[chosen], owner[chosen]


def mask_loss(kind: str, logits: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """`logits`, `target` and `counts` (1 where a cell counts) [N, 28, 28]; mean over the N regions."""
    if logits.shape[0] == 0:
        return logits.sum()
    total = logits.new_zeros(())
    if "dice" in kind:
        p, t = logits.sigmoid() * counts, target * counts
        common, own, wanted = (2 * (p * t).sum((1, 2)) + 1), p.square().sum((1, 2)), t.square().sum((1, 2))
        total = total + (1 - common / (own + wanted + 1)).mean()
    if "bce" in kind:
        bce = F.binary_cross_entropy_with_logits(logits, target, weight=counts, reduction="none")
        bce = (bce.sum((1, 2)) / counts.sum((1, 2)).clamp(min=1)).mean()
        total = total + (0.5 * bce if "dice" in kind else bce)
    return total


def flat(level: Tensor, values: int) -> Tensor:
    """[B, A * values, H, W] as [B, H * W * A, values], anchors in the order of boxes.anchors."""
    b, c, h, w = level.shape
    return level.reshape(b, c // values, values, h, w).permute(0, 3, 4, 1, 2).reshape(b, -1, values)


def losses(model: Mayor, batch: list[Sample], rng: np.random.Generator, s: Sampling = Sampling(), bf16: bool = True,
           rpn_only: bool = False, mask_kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The five losses of a batch of equally large pictures, and figures for the log."""
    c = model.config
    h, w = batch[0].instances.shape
    image = torch.from_numpy(np.stack([x.picture for x in batch])).permute(0, 3, 1, 2)  # channels last in memory
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        maps = model.backbone(image.float())
        objectness, deltas = model.rpn(maps)
    logit = torch.cat([flat(o, 1) for o in objectness], 1).squeeze(-1).float()
    code = torch.cat([flat(d, 4) for d in deltas], 1).float()
    levels = bx.all_anchors(c, h, w)
    anchors = np.concatenate(levels)

    picked, wanted, where, goal, share = [], [], [], [], []
    for i, sample in enumerate(batch):
        owner = assign(c, levels, sample.boxes, sample.ignored)
        positive, negative = sample_anchors(rng, owner, s.anchors)
        offset = i * len(anchors)
        picked += [positive + offset, negative + offset]
        wanted += [np.ones(len(positive)), np.zeros(len(negative))]
        where.append(positive + offset)
        if len(positive):
            goal.append(bx.encode("rpn", anchors[positive], sample.boxes[owner[positive]]))
            share.append(len(np.unique(owner[owner >= 0])) / len(sample.boxes))
    picked, where = (torch.from_numpy(np.concatenate(x)) for x in (picked, where))
    wanted = torch.from_numpy(np.concatenate(wanted)).float()
    result = {"rpn_cls": F.binary_cross_entropy_with_logits(logit.reshape(-1)[picked], wanted)}
    goal = torch.from_numpy(np.concatenate(goal)) if goal else torch.zeros(0, 4)
    result["rpn_reg"] = F.smooth_l1_loss(code.reshape(-1, 4)[where], goal, beta=1 / 9, reduction="sum") / max(len(goal), 1)
    figures = {"assigned": float(np.mean(share)) if share else 1.0}
    if rpn_only:
        return result, figures

    rois, owners, images = [], [], []
    detached = [[x.detach().float().numpy() for x in level] for level in (objectness, deltas)]
    for i, sample in enumerate(batch):
        found, _ = glue.proposals(c, [o[i] for o in detached[0]], [d[i] for d in detached[1]], h, w, s.proposals)
        r, o = sample_regions(rng, sample, found, s)
        rois.append(r)
        owners.append(o)
        images.append(np.full(len(r), i))
    rois, owners, images = np.concatenate(rois), np.concatenate(owners), np.concatenate(images)
    features = [m.float() for m in maps[:4]]
    level, image_of = torch.from_numpy(bx.level(rois)), torch.from_numpy(images)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        scores, box_code = model.boxes(features, torch.from_numpy(rois), image_of, level)
    scores, box_code = scores.float(), box_code.float()
    positive = np.flatnonzero(owners >= 0)
    truth = np.stack([batch[images[i]].boxes[owners[i]] for i in positive]) if len(positive) else np.zeros((0, 4), np.float32)
    result["box_cls"] = F.cross_entropy(scores, torch.from_numpy((owners >= 0).astype(np.int64)))
    goal = torch.from_numpy(bx.encode("box", rois[positive], truth))
    result["box_reg"] = F.smooth_l1_loss(box_code[torch.from_numpy(positive)], goal, beta=1.0, reduction="sum") / max(len(owners), 1)
    figures["positive_regions"] = len(positive) / len(batch)

    most = s.masks * len(batch)
    chosen = positive if len(positive) <= most else rng.choice(positive, most, replace=False)
    boxes = jittered(rng, rois[chosen], s.jitter, h, w)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    side = 2 * c.mask_pool
    own, other, counted = (np.zeros((len(chosen), side, side), np.float32) for _ in range(3))
    for n, (i, b) in enumerate(zip(chosen, boxes)):
        own[n], other[n], outside = mask_target(batch[images[i]].instances, b, owners[i], side)
        counted[n] = ~outside
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        masks = model.masks(features, torch.from_numpy(boxes), image_of[torch.from_numpy(chosen)], torch.from_numpy(bx.level(boxes)))
    masks = masks.float()
    own = torch.from_numpy(own)
    result["mask"] = mask_loss(mask_kind or c.mask_loss, masks, own, torch.from_numpy(counted))
    with torch.no_grad():
        p = masks.sigmoid()
        crowded = [i for i in range(len(chosen)) if _crowded(batch[images[chosen[i]]], boxes[i], owners[chosen[i]])]
        figures["crowded"] = len(crowded) / max(len(chosen), 1)
        if crowded:
            neighbours = torch.from_numpy(other)[crowded]
            figures["leakage"] = float((p[crowded] * neighbours).sum() / neighbours.sum().clamp(min=1))
        hard, wanted = p >= 0.5, own >= 0.5
        union = (hard | wanted).float().sum((1, 2))
        value = (hard & wanted).float().sum((1, 2)) / union.clamp(min=1)
        figures["mask_iou"] = float(value.mean()) if len(value) else 0.0
    return result, figures


def _crowded(sample: Sample, box: np.ndarray, own: int) -> bool:
    """A fifth or more of another instance's box lies in this one."""
    others = np.delete(sample.boxes, own, 0)
    return bool((bx.intersection(box[None], others)[0] >= 0.2 * bx.area(others)).any())
