"""Training of xdecoder-medical. Resumes from its own checkpoint.

    python -m insula_authoring.xdecoder.train --out runs/xdecoder-medical --side 128 --minutes 60    # start, coarse pixels
    python -m insula_authoring.xdecoder.train --out runs/xdecoder-medical --minutes 180 --resume     # go on, fine ones

Minutes are the processor's: on a busy machine the schedule waits for the work. The learning rate warms up, stays, and falls
to --lr-end over the last part (--decay). The running average of the weights is what evaluation and handover use.

Every slice is new. A prompt is a grounding call of its own (decoder.py); of its queries the one whose mask fits best is
taught the mask, and to be alike to the prompt; all others, and all queries of a prompt for something absent, to be unlike
it. So the best similarity tells whether a thing is there; answer.py turns it into a probability.

Two heads that are thrown away afterwards spare most of the way: `Helpers.classes` names the class of every pixel from the
mask features, so that the image's side learns from whole slices; `Helpers.direct` makes a mask straight from a sentence's
vector, so that the text encoder learns what names mean before the decoder does.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import MIRROR, NUM_CLASSES
from ..maxim.train import learning_rate
from ..synth import IGNORE, load_maps
from . import anatomy, shapes
from .config import Config
from .layers import resize
from .network import MEAN, STD, XDecoder
from .slices import SIDE, Example, Slices
from .tokenizer import Tokenizer, learn

# As small as the task allows: a couple of processor cores train it.
NETWORK = Config(embed_dim=32, depths=(1, 1, 3, 1), convs_dim=64, mask_dim=32, hidden_dim=128, proj_dim=128,
                 encoder_layers=1, decoder_layers=3, queries=5, heads=4, ffn_dim=256, text_width=128, text_layers=2,
                 text_heads=4, context=24)
MERGES = 700
IMAGES, PROMPTS = 4, 10  # of a step
HELD_OUT = 1  # label maps kept for calibration


def vocabulary() -> Tokenizer:
    return learn(anatomy.corpus() + shapes.words(), MERGES)


def network(tokenizer: Tokenizer) -> XDecoder:
    model = XDecoder(Config(**NETWORK.to_dict() | {"vocabulary": len(tokenizer.symbols)}))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "gamma_" in name:
                p.fill_(0.5)
        model.predictor.lang_encoder.logit_scale.fill_(float(np.log(10)))
    return model


class Helpers(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.classes = nn.Conv2d(config.mask_dim, NUM_CLASSES, 1)
        self.direct = nn.Linear(config.proj_dim, config.mask_dim + 1)

    def class_loss(self, features: Tensor, examples: list[Example]) -> Tensor:
        """features (B, M, h, w). Where sides cannot be told, either is right."""
        truth = torch.from_numpy(np.stack([e.classes[2::4, 2::4] for e in examples])).long()
        logits = self.classes(features)
        either = torch.stack([logits, logits[:, torch.from_numpy(MIRROR)]]).logsumexp(0)
        paired = torch.from_numpy(MIRROR != np.arange(NUM_CLASSES))[:, None, None]
        sided = torch.tensor([e.sided for e in examples])[:, None, None, None]
        logits = torch.where(sided | ~paired, logits, either) - logits.logsumexp(1, keepdim=True)
        picked = logits.gather(1, truth.clamp(max=NUM_CLASSES - 1)[:, None])[:, 0]
        known = truth != IGNORE
        return -(picked * known).sum() / known.sum().clamp(min=1)

    def direct_masks(self, sentences: Tensor, features: Tensor) -> Tensor:
        """(n, D) and (n, M, h, w) to (n, 1, h, w)."""
        e = self.direct(sentences)
        return (torch.einsum("nm,nmhw->nhw", e[:, :-1], features) + e[:, -1:, None])[:, None]


def pictures(images: list[np.ndarray]) -> Tensor:
    x = (torch.from_numpy(np.stack(images)).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return x.permute(0, 3, 1, 2).contiguous()


def tokens(tokenizer: Tokenizer, prompts: list[str], context: int) -> Tensor:
    """Padded with the end token to the longest of the prompts."""
    ids = [tokenizer.encode(p, context) for p in prompts]
    longest = max(map(len, ids))
    return torch.tensor([i + [tokenizer.end] * (longest - len(i)) for i in ids])


def answer(model: XDecoder, memory, ids: Tensor, tokenizer: Tokenizer):
    """Of a grounding call for each prompt: similarities (prompts, R), what it gives, its trace, the sentences' vectors."""
    words, sentences = model.text(ids)
    absent = F.pad(ids[:, :-1] == tokenizer.end, (1, 0))
    out, trace = model.predictor.ground(memory, words, absent)
    return model.predictor.similarity(out["vectors"], sentences[:, None])[..., 0], out, trace, sentences


def mask_loss(logits: Tensor, truth: Tensor, sure: Tensor) -> Tensor:
    """Cross entropy and Dice of each mask (..., h, w); truth 0..1, sure 0 where nothing is to be learnt."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none") * sure
    p = logits.sigmoid() * sure
    dice = 1 - (2 * (p * truth).sum((-1, -2)) + 1) / (p.sum((-1, -2)) + (truth * sure).sum((-1, -2)) + 1)
    return 10 * entropy.mean((-1, -2)) + dice


def loss_of(model: XDecoder, helpers: Helpers, tokenizer: Tokenizer, examples: list[Example]) -> dict[str, Tensor]:
    """In single precision: for maps this small bfloat16 is the slower one."""
    truth = torch.from_numpy(np.concatenate([e.masks for e in examples]))
    sure = torch.from_numpy(np.stack([~e.unsure for e in examples]).repeat(len(examples[0].prompts), 0))
    present = truth.flatten(1).any(1)
    ids = tokens(tokenizer, [p for e in examples for p in e.prompts], model.config.context)
    memory, _ = model.encode(pictures([e.image for e in examples]))
    similarity, _, trace, sentences = answer(model, memory, ids, tokenizer)
    # Only the masks of things that are there.
    images = torch.arange(len(examples)).repeat_interleave(len(examples[0].prompts))[present]
    masks = []
    for rows in trace.rows[1:]:
        embedded = model.predictor.mask_embed(model.predictor.decoder_norm(rows[present]))
        masks.append(torch.einsum("pqc,pchw->pqhw", embedded, memory.masks[images]))
    plain = helpers.direct_masks(sentences[present], memory.masks[images])
    half = lambda x: F.avg_pool2d(x[present].float()[:, None], 2)
    fine_truth, fine_sure = half(truth), half(sure)
    coarse_truth, coarse_sure = F.avg_pool2d(fine_truth, 2), F.avg_pool2d(fine_sure, 2)
    with torch.no_grad():
        cost = mask_loss(masks[-1], coarse_truth, coarse_sure) - 0.1 * similarity[present]
        best = cost.argmin(1)
    take = lambda m: m[torch.arange(len(best)), best][:, None]
    fine = mask_loss(resize(take(masks[-1]), tuple(fine_truth.shape[-2:])), fine_truth, fine_sure).mean()
    aux = sum(mask_loss(take(m), coarse_truth, coarse_sure).mean() for m in masks[:-1]) / max(1, len(masks) - 1)
    direct = mask_loss(plain, coarse_truth, coarse_sure).mean()
    classes = helpers.class_loss(memory.masks, examples)
    want = torch.zeros_like(similarity)
    want[present.nonzero()[:, 0], best] = 1
    weight = torch.where(want > 0, 1.0, 1.0 / similarity.shape[1])
    alike = (F.binary_cross_entropy_with_logits(similarity, want, reduction="none") * weight).sum(1).mean()
    with torch.no_grad():
        t = coarse_truth > 0.5
        iou, plain_iou = (((m > 0) & t).flatten(1).sum(1) / ((m > 0) | t).flatten(1).sum(1).clamp(min=1)
                          for m in (take(masks[-1]), plain))
        right = ((similarity.max(1).values > 0) == present).float().mean()
    return {"loss": fine + 0.5 * aux + alike + 0.5 * direct + classes, "mask": fine, "alike": alike, "classes": classes,
            "iou": iou.mean(), "direct_iou": plain_iou.mean(), "told": right}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("runs/xdecoder-medical"))
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--side", type=int, default=SIDE, help="pixels of a slice; at half of them a step costs a third")
    p.add_argument("--minutes", type=float, default=240, help="of the processor")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--decay", type=float, default=0.3, help="part of the minutes over which the learning rate falls")
    p.add_argument("--warmup", type=int, default=200, help="steps")
    p.add_argument("--seed", type=int, default=20261125)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    path = a.out / "checkpoint.pt"
    if not a.resume and path.exists():
        p.error(f"{path} exists: pass --resume to go on from it, or another --out")
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    data = Slices(load_maps(shared / "data/brain_labels", a.out / "maps")[HELD_OUT:], a.seed, PROMPTS, a.side)
    tokenizer = vocabulary()
    tokenizer.save(a.out / "vocabulary.txt")
    model = network(tokenizer)
    helpers = Helpers(model.config)
    parameters = [*model.parameters(), *helpers.parameters()]
    opt = torch.optim.AdamW(parameters, lr=a.lr, weight_decay=0.01, betas=(0.9, 0.99), foreach=True)
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"step": 0, "minutes": 0.0}
    if a.resume:
        c = torch.load(path, weights_only=True)
        model.load_state_dict(c["model"])
        helpers.load_state_dict(c["helpers"])
        opt.load_state_dict(c["optimizer"])
        ema, state = c["ema"], c["state"]

    def save() -> None:
        part = a.out / "checkpoint.part"
        torch.save({"model": model.state_dict(), "helpers": helpers.state_dict(), "ema": ema,
                    "optimizer": opt.state_dict(), "state": state, "config": model.config.to_dict(), "seed": a.seed}, part)
        part.rename(path)

    log = (a.out / "log.jsonl").open("a")
    first, saved, began, sums = dict(state), time.time(), time.process_time(), {}
    while (ran := (time.process_time() - began) / 60) < a.minutes:
        lr = learning_rate(a, state["step"] - first["step"], ran / a.minutes)
        for g in opt.param_groups:
            g["lr"] = lr
        found = loss_of(model, helpers, tokenizer, [data.example(state["step"] * IMAGES + i) for i in range(IMAGES)])
        opt.zero_grad(set_to_none=True)
        found["loss"].backward()
        # Parts that serve other tasks (captions, classes of a whole picture) get no gradient and stay as they are.
        torch.nn.utils.clip_grad_norm_([q for q in parameters if q.grad is not None], 1.0, foreach=True)
        opt.step()
        state |= {"step": state["step"] + 1, "minutes": first["minutes"] + ran}
        decay = min(0.999, state["step"] / (state["step"] + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), list(model.state_dict().values()), 1 - decay)
        for k, v in found.items():
            sums[k] = sums.get(k, 0.0) + float(v.detach())
        if state["step"] % 100 == 0:
            row = {"step": state["step"], "lr": round(lr, 6), "minutes": round(state["minutes"], 1)}
            row |= {k: round(v / 100, 4) for k, v in sums.items()}
            print(json.dumps(row), flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            sums = {}
        if time.time() - saved > 180:
            save()
            saved = time.time()
    save()


if __name__ == "__main__":
    main()
