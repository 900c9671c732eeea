"""Training of maxim-denoise. Resumes from its own checkpoint.

    python -m insula_authoring.maxim.train --out runs/maxim-denoise --minutes 240            # start
    python -m insula_authoring.maxim.train --out runs/maxim-denoise --minutes 60 --resume    # go on, another hour

The learning rate warms up, stays, and falls to --lr-end over the last part (--decay) of the minutes. The running average
of the weights is what evaluation and handover use; it is fit for use at any time.

Every process computes on one thread, and gradients are averaged once a step: on a busy machine threads that wait for
each other inside every operator cost more than they bring.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from . import weights
from .data import HELD_OUT, Pairs, gaussian, load_grey, load_heads
from .network import Config, Maxim

# Half the resolution in phase images, then a U of two levels: the widest net that a couple of processor cores can train in
# hours. One scale: the coarser answers are not wanted.
NETWORK = Config(features=32, depth=2, groups=1, bottleneck_blocks=1, scales=1, tile_high=8, tile_low=8,
                 in_channels=1, out_channels=1, unshuffle=2)
# Patches (count per process, side). Cells of the global branch grow with the image; 128 is the tile of the pack, 64 brings
# more pictures into a step. Small batches: few steps are all that a day of idle cycles gives.
PATCHES = ((4, 64), (1, 128))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels, peak 1."""
    return float(-10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2)))


@torch.no_grad()
def gaussian_psnr(model: Maxim, pictures: list[np.ndarray], sigma: float) -> float:
    """Mean PSNR in dB over 8-bit grey pictures with noise of sigma / 255, seeded by picture; sides must fit the model."""
    found = []
    for i, picture in enumerate(pictures):
        clean = picture.astype(np.float32) / 255
        noisy = gaussian(np.random.default_rng(i), clean, sigma / 255)
        out = model(torch.from_numpy(noisy)[None, ..., None])[0, ..., 0].numpy()
        found.append(psnr(out.clip(0, 1), clean))
    return float(np.mean(found))


def learning_rate(a: argparse.Namespace, step: int, passed: float) -> float:
    """`step` since the start of this run, `passed` part of its minutes."""
    fall = max(0.0, (passed - 1 + a.decay) / a.decay) if a.decay > 0 else 0.0
    lr = a.lr_end + 0.5 * (a.lr - a.lr_end) * (1 + math.cos(math.pi * min(fall, 1.0)))
    return lr * min(1.0, (step + 1) / a.warmup)


def average_gradients(parameters: list[Tensor], workers: int) -> None:
    if workers > 1:
        flat = torch.cat([p.grad.reshape(-1) for p in parameters])
        dist.all_reduce(flat)
        flat /= workers
        for p, g in zip(parameters, flat.split([p.numel() for p in parameters])):
            p.grad.copy_(g.view_as(p))


def work(rank: int, a: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    if a.workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{a.out.resolve()}/rendezvous-{a.run}", rank=rank,
                                world_size=a.workers, timeout=timedelta(days=2))  # idle cycles may be long in coming
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    natural = load_grey(shared / "data/images/train400")
    held = [p[:128, :128] for p in natural[-HELD_OUT:]]
    small = [p for p in load_grey(shared / "data/images/set12") if p.shape == (256, 256)]
    pairs = Pairs(natural[:-HELD_OUT], load_heads(shared, a.out) if a.sigma is None else [], a.seed,
                  a.sigma and a.sigma / 255)

    torch.manual_seed(a.seed)
    model = Maxim(NETWORK)
    torch.nn.init.zeros_(model.stage_0_output_conv_0.kernel)  # begins as the identity
    if a.weights and not a.resume:
        weights.fill(model, weights.load(a.weights)[0])
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=1e-4, betas=(0.9, 0.99), foreach=True)
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"step": 0, "minutes": 0.0, "cpu_minutes": 0.0}
    path = a.out / "checkpoint.pt"
    if a.resume:
        c = torch.load(path, weights_only=True)
        model.load_state_dict(c["model"])
        opt.load_state_dict(c["optimizer"])
        ema, state = c["ema"], c["state"]
    parameters = list(model.parameters())
    averaged = Maxim(NETWORK).eval()
    log = (a.out / "log.jsonl").open("a") if rank == 0 else None

    def save() -> None:
        part = a.out / "checkpoint.part"
        torch.save({"model": model.state_dict(), "ema": ema, "optimizer": opt.state_dict(), "state": state,
                    "config": NETWORK.to_dict(), "seed": a.seed}, part)
        part.rename(path)

    def write(row: dict) -> None:
        print(json.dumps(row), flush=True)
        log.write(json.dumps(row) + "\n")
        log.flush()

    def report(**extra) -> None:
        averaged.load_state_dict(ema)
        row = {"step": state["step"], "minutes": round(state["minutes"], 1),
               "cpu_minutes": round(state["cpu_minutes"], 1)}
        row |= {f"held_out_{s}": round(gaussian_psnr(averaged, held, s), 3) for s in (15, 25, 50)}
        row["set12_small_25"] = round(gaussian_psnr(averaged, small, 25), 3)
        write(row | extra)

    last, saved, first, total, ran = time.time(), time.time(), dict(state), 0.0, 0.0
    while True:
        now = time.time()
        ran += min(now - last, 60) / 60  # a process put to sleep and woken has not run
        last = now
        # All processes stop at the same step: the first one's clock counts.
        passed = torch.tensor([ran / a.minutes])
        if a.workers > 1:
            dist.broadcast(passed, 0)
        if passed.item() >= 1:
            break
        lr = learning_rate(a, state["step"] - first["step"], passed.item())
        for g in opt.param_groups:
            g["lr"] = lr
        count, side = PATCHES[state["step"] % len(PATCHES)]
        noisy, clean = map(torch.from_numpy, pairs.batch(state["step"] * a.workers + rank, count, side))
        with torch.autocast("cpu", torch.bfloat16, enabled=not a.no_bf16):
            out = model(noisy)
        # Charbonnier: L1 but for the smallest differences.
        loss = ((out.float() - clean).square() + 1e-6).sqrt().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(parameters, a.workers)
        torch.nn.utils.clip_grad_norm_(parameters, 0.5, foreach=True)
        opt.step()
        state["step"] += 1
        state["minutes"] = first["minutes"] + ran
        state["cpu_minutes"] = first["cpu_minutes"] + a.workers * time.process_time() / 60
        total += loss.item()
        if rank:
            continue
        decay = min(0.999, state["step"] / (state["step"] + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.values()), list(model.state_dict().values()), 1 - decay)
        if state["step"] % 100 == 0:
            write({"step": state["step"], "loss": round(total / 100, 5), "lr": round(lr, 6),
                   "minutes": round(state["minutes"], 1), "cpu_minutes": round(state["cpu_minutes"], 1)})
            total = 0.0
        if state["step"] % a.evaluate_every == 0:
            report()
        if time.time() - saved > 180:
            save()
            saved = time.time()
    if rank == 0:
        save()
        report(finished=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("runs/maxim-denoise"))
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--weights", type=Path, help="start from these, e.g. the recipe's, instead of from nothing")
    p.add_argument("--minutes", type=float, default=240)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--decay", type=float, default=0.25, help="part of the minutes over which the learning rate falls")
    p.add_argument("--warmup", type=int, default=200, help="steps")
    p.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    p.add_argument("--seed", type=int, default=20261125)
    p.add_argument("--sigma", type=float, help="only Gaussian noise of this strength on natural pictures: is it sound?")
    p.add_argument("--no-bf16", action="store_true")
    p.add_argument("--evaluate-every", type=int, default=500, help="steps")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    if not a.resume and (a.out / "checkpoint.pt").exists():
        p.error(f"{a.out}/checkpoint.pt exists: pass --resume to go on from it, or another --out")
    if a.sigma is None:
        load_heads(Path(os.environ.get("INSULA_SHARED", "../shared")), a.out)  # fills the cache before the processes
    a.run = f"{os.getpid()}-{int(time.time())}"
    if a.workers == 1:
        work(0, a)
    else:
        mp.spawn(work, (a,), nprocs=a.workers)
    (a.out / f"rendezvous-{a.run}").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
