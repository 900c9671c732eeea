"""Training of segformer3d-brain on synthetic scans. Resumes from its own checkpoint.

    python -m insula_authoring.train --out runs/brain --minutes 90          # start
    python -m insula_authoring.train --out runs/brain --minutes 90 --resume # go on, another 90 minutes

A first run on a coarse grid (--spacing 2.625 --size 64 72 64) costs a quarter per step and learns the anatomy;
resume from it on the default grid.

Time, not steps, plans the learning rate: warm-up, then a cosine down to --lr-end at the end of the minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import os
import queue as queues
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .checkpoint import load
from .evaluate import RealScan, report
from .labels import NUM_CLASSES
from .segformer3d import Config, SegFormer3D
from .synth import IGNORE, Generator, Setup, load_maps, mirror

# A narrow net: what a couple of processor cores can train. The stem's stride of 2 puts logits on a grid of 3.5 mm.
NETWORK = Config(in_channels=1, num_classes=NUM_CLASSES, embed_dims=[16, 48, 96, 160], num_heads=[1, 2, 4, 5],
                 depths=[1, 2, 2, 2], mlp_ratios=[1, 2, 4, 4], sr_ratios=[12, 4, 2, 1],
                 patch_kernel_size=[5, 3, 3, 3], patch_stride=[2, 2, 2, 2], patch_padding=[2, 1, 1, 1],
                 decoder_head_embedding_dim=32, attention_scale="head_dim")


def hold_batch_norms(model: torch.nn.Module) -> None:
    """BatchNorm stays at mean 0 and variance 1, in training as in use. At batch 1 its statistics describe one scan,
    and what a net learns with them does not hold for the running average; LayerNorm carries the training."""
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm3d):
            m.eval()


def shifted(x: Tensor, offset: tuple[int, int, int], stride: int) -> Tensor:
    """Every stride-th voxel, from `offset` on, of x upsampled trilinearly by `stride` (half-pixel centres, edges held).

    Taking the loss on a random such sub-grid estimates the loss on the whole upsampled volume without building it."""
    for axis, o in zip((2, 3, 4), offset):
        f = (o + 0.5) / stride - 0.5
        n = x.shape[axis]
        # The neighbour on the side the sample leans to, the edge repeated.
        if f < 0:
            other = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, n - 1)], axis)
        else:
            other = torch.cat([x.narrow(axis, 1, n - 1), x.narrow(axis, n - 1, 1)], axis)
        x = torch.lerp(x, other, abs(f))
    return x


def loss_of(logits: Tensor, target: Tensor, background: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy + soft Dice of logits (1, K, d, h, w) against classes (1, d, h, w), IGNORE left out.

    Background counts less in the cross-entropy; it is most of the volume."""
    k = logits.shape[1]
    keep = target.reshape(-1) != IGNORE
    flat = logits[0].reshape(k, -1).t()[keep]
    t = target.reshape(-1)[keep]
    weight = torch.ones(k)
    weight[0] = background
    logp = F.log_softmax(flat, 1)
    ce = F.nll_loss(logp, t, weight)
    p = logp.exp()
    count = torch.bincount(t, minlength=k).float()
    inter = torch.zeros(k).index_add(0, t, p.gather(1, t[:, None])[:, 0])
    score = (2 * inter + 1) / (p.sum(0) + count + 1)
    present = (count > 0)[1:]
    dice = 1 - score[1:][present].mean() if present.any() else ce.new_zeros(())
    return ce + dice, ce.detach(), dice.detach()


def feed(queue, seed: int, first: int, step: int, setup: Setup, maps: Path, cache: Path) -> None:
    """A generator process: samples first, first + step, ... for ever."""
    os.nice(19 - os.nice(0))
    torch.set_num_threads(1)
    generator = Generator(load_maps(maps, cache), setup, seed)
    i = first
    while True:
        s = generator.sample(i)
        queue.put((i, s["image"].astype(np.float16), s["target"]))
        i += step


class Pool:
    """Fresh samples when there are any; else an earlier one again, mirrored and with another gamma, so that a slow
    generator never stops the training."""

    def __init__(self, queue, keep: int = 96, start: int = 4, seed: int = 0):
        self.queue, self.keep, self.start = queue, keep, start
        self.items: list = []
        self.random = random.Random(seed)
        self.fresh = self.again = 0

    def take(self) -> tuple[int, np.ndarray, np.ndarray]:
        try:
            item = self.queue.get(block=len(self.items) < self.start)
        except queues.Empty:
            item = None
        if item is not None:
            self.fresh += 1
            self.items.append(item)
            self.items = self.items[-self.keep:]
            i, image, target = item
            return i, image.astype(np.float32), target
        self.again += 1
        i, image, target = self.random.choice(self.items)
        image = image.astype(np.float32) ** math.exp(self.random.gauss(0, 0.15))
        if self.random.random() < 0.5:
            image, target = np.ascontiguousarray(image[:, :, ::-1]), mirror(target)
        return -1, image, target


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("runs/brain"))
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--weights", type=Path, help="start from these weights (e.g. the recipe's) where there is no checkpoint")
    p.add_argument("--minutes", type=float, default=90)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--lr-end", type=float, default=2e-5)
    p.add_argument("--warmup", type=int, default=60, help="steps")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--feeders", type=int, default=1)
    p.add_argument("--seed", type=int, default=20261123)
    p.add_argument("--spacing", type=float, default=Setup.spacing, help="mm; a coarser grid first costs much less")
    p.add_argument("--size", type=int, nargs=3, default=Setup.size, metavar=("D", "H", "W"))
    p.add_argument("--overfit", action="store_true", help="one sample over and over: is the pipeline sound?")
    p.add_argument("--no-bf16", action="store_true")
    p.add_argument("--evaluate-every", type=int, default=200, help="steps")
    p.add_argument("--cache", type=Path, default=Path("runs/maps"))
    a = p.parse_args()
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    a.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)

    config, setup = NETWORK, Setup(tuple(a.size), a.spacing)
    model = SegFormer3D(config)
    if a.weights:
        model.load_state_dict(load(a.weights))
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.01, betas=(0.9, 0.98))
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"step": 0, "index": 0, "minutes": 0.0}
    path = a.out / "checkpoint.pt"
    if a.resume:
        c = torch.load(path, weights_only=True)
        model.load_state_dict(c["model"])
        opt.load_state_dict(c["optimizer"])
        ema, state = c["ema"], c["state"]
    elif path.exists():
        p.error(f"{path} exists: pass --resume to go on from it, or another --out")
    model.train()
    hold_batch_norms(model)

    load_maps(shared / "data/brain_labels", a.cache)  # fills the cache once, before the processes
    context = mp.get_context("spawn")
    queue = context.Queue(maxsize=6)
    for f in range(a.feeders):
        context.Process(target=feed, daemon=True, args=(queue, a.seed, state["index"] + f, a.feeders, setup,
                                                        shared / "data/brain_labels", a.cache)).start()
    scans = [RealScan.load(shared, setup)]
    pool = Pool(queue, seed=a.seed)
    offsets = random.Random(a.seed + state["step"])
    log = (a.out / "log.jsonl").open("a")
    stride = config.patch_stride[0]
    begin, earlier, saved, average, first = time.time(), state["minutes"], time.time(), None, state["step"]
    fixed = None

    def save() -> None:
        part = a.out / "checkpoint.part"
        torch.save({"model": model.state_dict(), "ema": ema, "optimizer": opt.state_dict(), "state": state,
                    "config": config.to_dict(), "setup": vars(setup), "seed": a.seed}, part)
        part.rename(path)

    def write(row: dict) -> None:
        print(json.dumps(row), flush=True)
        log.write(json.dumps(row) + "\n")
        log.flush()

    while True:
        passed = (time.time() - begin) / 60 / a.minutes
        if passed >= 1:
            break
        lr = a.lr_end + 0.5 * (a.lr - a.lr_end) * (1 + math.cos(math.pi * passed))
        lr *= min(1.0, (state["step"] - first + 1) / a.warmup)
        for g in opt.param_groups:
            g["lr"] = lr
        i, image, target = fixed or pool.take()
        if a.overfit:
            fixed = (i, image, target)
        x = torch.from_numpy(image)[None, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=not a.no_bf16):
            logits = model.lowres(x)
        offset = tuple(offsets.randrange(stride) for _ in range(3))
        y = torch.from_numpy(target)[None, offset[0]::stride, offset[1]::stride, offset[2]::stride].long()
        loss, ce, dice = loss_of(shifted(logits.float(), offset, stride), y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        state["step"] += 1
        state["index"] = max(state["index"], i + 1)
        state["minutes"] = earlier + (time.time() - begin) / 60
        decay = min(0.995, state["step"] / (state["step"] + 10))
        with torch.no_grad():
            for k, v in model.state_dict().items():
                if v.dtype.is_floating_point:
                    ema[k].lerp_(v, 1 - decay)
        row = torch.stack([loss.detach(), ce, dice])
        average = row if average is None else 0.97 * average + 0.03 * row
        if state["step"] % 25 == 0:
            write({"step": state["step"], "loss": round(average[0].item(), 4), "ce": round(average[1].item(), 4),
                   "dice_loss": round(average[2].item(), 4), "lr": round(lr, 6),
                   "minutes": round(state["minutes"], 2), "fresh": pool.fresh, "again": pool.again})
        if state["step"] % a.evaluate_every == 0:
            write({"step": state["step"], **report(config, ema, scans)})
        if time.time() - saved > 120:
            save()
            saved = time.time()
    save()
    write({"step": state["step"], **report(config, ema, scans), "finished": True})


if __name__ == "__main__":
    main()
