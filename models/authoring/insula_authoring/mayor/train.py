"""Training of mayor-text on generated pictures. Resumes from its own checkpoint.

    python -m insula_authoring.mayor.train --out runs/mayor --minutes 240            # start
    python -m insula_authoring.mayor.train --out runs/mayor --minutes 60 --resume    # go on, another hour
    python -m insula_authoring.mayor.train --out runs/mayor --minutes 20 --resume --decay 1 --warmup 1  # the last touch, at any time
    python -m insula_authoring.mayor.train --out runs/plain --minutes 60 --arm plain # without the three ideas

Minutes are of processor time: on a shared machine, where idle cycles may be an hour in coming, the schedule waits for them. SIGTERM
ends it with a checkpoint.

Made for an idle core or two: bfloat16 (on processors with AMX three times as fast as float32), pictures drawn as needed in the same
process, small crops. The proposal stage learns alone for the first `--rpn-steps`, a third of the cost per step.
The learning rate warms up, stays, and falls to --lr-end over the last part (--decay) of the minutes. The running average of the weights is
what evaluation and handover use; it is fit for use at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..maxim.train import learning_rate
from .config import ARMS, FULL, SMALL, TINY, Config
from .data import batch
from .evaluate import held_out_scores
from .network import Mayor
from .scenes import Generator
from .targets import losses

WEIGHTS = {"rpn_cls": 1.0, "rpn_reg": 1.0, "box_cls": 1.0, "box_reg": 2.0, "mask": 1.0}


def save(path: Path, **what) -> None:
    part = path.with_suffix(".part")
    torch.save(what, part)
    part.rename(path)


def load(path: Path, average: bool = True) -> Mayor:
    """The network of a checkpoint, for inference: the running average of its weights."""
    c = torch.load(path, weights_only=True)
    model = Mayor(Config.from_dict(c["config"]))
    model.load_state_dict(c["ema" if average else "model"])
    return model.eval()


def run(a: argparse.Namespace) -> None:
    torch.set_num_threads(a.threads)
    shared = Path(os.environ.get("INSULA_SHARED", "../shared"))
    generator = Generator(shared, a.cache, a.seed)
    unseen = Generator(shared, a.cache, a.seed, held_out=True)
    config = replace({"small": SMALL, "full": FULL, "tiny": TINY}[a.size], **ARMS[a.arm])
    torch.manual_seed(a.seed)
    model = Mayor(config).to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], lr=a.lr, foreach=True)
    ema = {k: v.clone() for k, v in model.state_dict().items()}
    state = {"step": 0, "minutes": 0.0}
    path = a.out / "checkpoint.pt"
    if a.resume:
        c = torch.load(path, weights_only=True)
        model.load_state_dict(c["model"])
        opt.load_state_dict(c["optimizer"])
        ema, state = c["ema"], c["state"]
    averaged = Mayor(config).eval()
    log = (a.out / "log.jsonl").open("a")

    def checkpoint() -> None:
        save(path, model=model.state_dict(), ema=ema, optimizer=opt.state_dict(), state=state, config=config.to_dict(), seed=a.seed)

    def write(row: dict) -> None:
        row = {"step": state["step"], "minutes": round(state["minutes"], 2)} | row
        print(json.dumps(row), flush=True)
        log.write(json.dumps(row) + "\n")
        log.flush()

    def report(**extra) -> None:
        averaged.load_state_dict(ema)
        write(held_out_scores(averaged, unseen, a.held_out) | extra)

    write({"arm": a.arm, "size": a.size, "seed": a.seed, "lr": a.lr, "planned_minutes": a.minutes})
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    saved, first, begun = time.time(), dict(state), time.process_time()
    sums: dict[str, list[float]] = {}
    while True:
        ran = (time.process_time() - begun) / 60 / a.threads
        state["minutes"] = first["minutes"] + ran
        passed = ran / a.minutes
        if a.steps:
            passed = max(passed, (state["step"] - first["step"]) / max(1, a.steps - first["step"]))
        if passed >= 1 or stopped:
            break
        lr = learning_rate(a, state["step"] - first["step"], passed)
        for g in opt.param_groups:
            g["lr"] = lr
        step = state["step"]
        rng = np.random.default_rng([a.seed, step, 1])
        model.train()
        parts, figures = losses(model, batch(generator, step), rng, bf16=not a.no_bf16, rpn_only=step < a.rpn_steps,
                                mask_kind="dice+bce" if "dice" in config.mask_loss and step < 2 * a.rpn_steps + 1000 else None)
        total = sum(WEIGHTS[k] * v for k, v in parts.items())
        opt.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 5.0, foreach=True)
        if torch.isfinite(norm):
            opt.step()
        for k, v in parts.items():
            sums.setdefault(k, []).append(v.item())
        for k, v in (figures | {"norm": float(norm)}).items():
            sums.setdefault(k, []).append(v)
        state["step"] += 1
        keep = min(0.999, state["step"] / (state["step"] + 20))
        with torch.no_grad():
            for k, v in model.state_dict().items():
                ema[k].lerp_(v, 1 - keep) if v.is_floating_point() else ema[k].copy_(v)
        if state["step"] % 100 == 0:
            write({k: round(float(np.mean(v)), 4) for k, v in sums.items()} | {"lr": round(lr, 6)})
            sums = {}
        if state["step"] % a.evaluate_every == 0 and state["step"] > a.rpn_steps:
            report()
        if time.time() - saved > 180:
            checkpoint()
            saved = time.time()
    checkpoint()
    if not stopped:
        report(finished=True)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("runs/mayor"))
    p.add_argument("--cache", type=Path, help="of the slices of synthetic heads; default OUT")
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--minutes", type=float, default=240, help="of processor time")
    p.add_argument("--steps", type=int, help="end at this step if the minutes reach so far: arms of an ablation see the same pictures")
    p.add_argument("--size", choices=("small", "full", "tiny"), default="small")
    p.add_argument("--arm", choices=tuple(ARMS), default="full", help="of the ablation")
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--lr-end", type=float, default=1e-5)
    p.add_argument("--decay", type=float, default=0.35, help="part of the minutes over which the learning rate falls")
    p.add_argument("--warmup", type=int, default=300, help="steps, at least 1")
    p.add_argument("--rpn-steps", type=int, default=400)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=20261125)
    p.add_argument("--no-bf16", action="store_true")
    p.add_argument("--held-out", type=int, default=32, help="pictures of the score in the log")
    p.add_argument("--evaluate-every", type=int, default=1000, help="steps")
    a = p.parse_args(given)
    a.cache = a.cache or a.out
    a.out.mkdir(parents=True, exist_ok=True)
    if not a.resume and (a.out / "checkpoint.pt").exists():
        p.error(f"{a.out}/checkpoint.pt exists: pass --resume to go on from it, or another --out")
    return a


if __name__ == "__main__":
    run(arguments())
