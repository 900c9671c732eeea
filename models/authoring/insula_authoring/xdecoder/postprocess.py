"""From the decoder's logits to what people asked for: semantic, panoptic and instance maps, masks of phrases, ranks.

Q queries, K classes beside the last, "background". Masks are logits; every threshold on them is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .layers import resize, unit


def full_size(masks: Tensor, padded: tuple[int, int], resized: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Masks (..., H/4, W/4) at the size of the picture given: enlarged to the padded input, cut to the picture inside
    it, resized to the original. Two steps, as trained; sizes are (height, width)."""
    return resize(resize(masks, padded)[..., :resized[0], :resized[1]], original)


def semantic(logits: Tensor, masks: Tensor, keep_background: bool = False) -> Tensor:
    """logits (Q, K + 1), masks (Q, H, W): scores (K, H, W), or with the background (K + 1, H, W)."""
    p = logits.softmax(-1)
    return torch.einsum("qc,qhw->chw", p if keep_background else p[:, :-1], masks.sigmoid())


@dataclass
class Segment:
    id: int
    is_thing: bool
    category: int


def panoptic(logits: Tensor, masks: Tensor, things: set[int] = frozenset(), threshold: float = 0.8,
             overlap: float = 0.8) -> tuple[Tensor, list[Segment]]:
    """The map of segment ids int32 (H, W), 0 where none, and the segments. Segments of one class that is no thing are one."""
    scores, labels = logits.softmax(-1).max(-1)
    kept = ((labels != logits.shape[1] - 1) & (scores > threshold)).nonzero()[:, 0]
    out, segments = torch.zeros(masks.shape[1:], dtype=torch.int32), []
    if len(kept) == 0:
        return out, segments
    soft = masks[kept].sigmoid()
    owner = (scores[kept, None, None] * soft).argmax(0)
    stuff: dict[int, int] = {}
    for i, q in enumerate(kept.tolist()):
        category, own, big = int(labels[q]), owner == i, soft[i] >= 0.5
        both = own & big
        if not both.any() or int(own.sum()) / int(big.sum()) < overlap:
            continue
        if category in stuff:
            out[both] = stuff[category]
            continue
        segments.append(Segment(len(segments) + 1, category in things, category))
        out[both] = segments[-1].id
        if category not in things:
            stuff[category] = segments[-1].id
    return out, segments


@dataclass
class Instances:
    """Best first."""

    scores: Tensor  # (n,)
    classes: Tensor  # int64 (n,)
    queries: Tensor  # int64 (n,); one query may stand under several classes
    masks: Tensor  # bool (n, H, W)


def instances(logits: Tensor, masks: Tensor, things: set[int] | None = None, count: int = 100) -> Instances:
    """The likeliest `count` pairs of query and class, those of `things` only if given; the score is the class's
    probability times the mask's mean certainty inside it."""
    p = logits.softmax(-1)[:, :-1]
    best = p.flatten().topk(min(count, p.numel())).indices
    queries, classes = best // p.shape[1], best % p.shape[1]
    if things is not None:
        kept = torch.tensor([int(c) in things for c in classes], dtype=torch.bool)
        queries, classes = queries[kept], classes[kept]
    # The certainty of a mask does not depend on the class.
    inside = masks > 0
    certainty = (masks.sigmoid() * inside).flatten(1).sum(1) / (inside.flatten(1).sum(1) + 1e-6)
    scores = p[queries, classes] * certainty[queries]
    order = scores.argsort(descending=True, stable=True)
    return Instances(scores[order], classes[order], queries[order], inside[queries[order]])


def likeness(image: Tensor, texts: Tensor) -> Tensor:
    """Cosines of vectors (n, D) and (m, D), without small numbers: (n, m)."""
    return (image / image.norm(dim=-1, keepdim=True)) @ (texts / texts.norm(dim=-1, keepdim=True)).t()


def retrieval(token: Tensor, pooled: Tensor, texts: Tensor) -> Tensor:
    """Score (n, m) of images against texts: the class token's vector and the backbone's, half each."""
    return 0.5 * likeness(token, texts) + 0.5 * likeness(pooled, texts)


def class_vectors(sentences: Tensor) -> Tensor:
    """Sentence vectors (K, templates, D) of each class name put into several templates: one unit vector each (K, D)."""
    mean = unit(sentences).mean(1)
    return mean / mean.norm(dim=-1, keepdim=True)


def cleaned(name: str) -> str:
    """A class name as it is put into templates."""
    for part in ("-other", "-merged", "-stuff"):
        name = name.replace(part, "")
    return name
