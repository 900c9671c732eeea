#!/usr/bin/env python3
"""Restoration with MAXIM: the official S-2 at 256×256 against JAX, tiles against the bare network, and 12 megapixels.

    python3 tests/bench/maxim.py [--runs N] [--threads N] [--pack ID|FOLDER] [--check]

Weights of S-2 are random (speed does not depend on them) and made by models/authoring; the reference is the official Flax module
under `jax.jit`, when its source is named by MAXIM_SOURCE (a checkout of google-research/maxim) and jax and flax can be
imported; without it that line is left out and says so. `--pack` is what the 12-megapixel picture goes through, by default
maxim-denoise.

Needs Python 3.9 or later and cargo. With --check the exit code is 1 when a target is missed.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from common import ROOT, interpreter, machine, measure, program

SIDE = 256
# (name, target, whether less is better)
TARGETS = {"speed over jitted JAX": (2.0, False), "tiles / bare network": (1.1, True), "12 Mpx, peak MiB": (1500.0, True)}

WEIGHTS = """
import sys, torch
sys.path.insert(0, {authoring!r})
from insula_authoring.maxim import weights
from insula_authoring.maxim.network import Maxim, variant
torch.manual_seed(0)
weights.save_npz(weights.paths(Maxim(variant("S-2")).state_dict()), sys.argv[1])
"""

# Seconds of one run of an ONNX file, and of the same picture cut into tiles: what is printed is JSON.
ONNX = """
import json, sys, time
import numpy as np, onnxruntime as ort
path, channels, side, runs, threads = sys.argv[1], *map(int, sys.argv[2:])
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
x = np.random.default_rng(0).random((1, channels, side, side), np.float32)
session.run(None, {"image": x})
seconds = []
for _ in range(runs):
    start = time.perf_counter()
    session.run(None, {"image": x})
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""

JAX = """
import json, os, sys, time
runs, side = map(int, sys.argv[1:])
sys.path.insert(0, os.environ["MAXIM_SOURCE"])
import jax, numpy as np
from maxim.models.maxim import Model
model = Model(variant="S-2", num_supervision_scales=3, num_outputs=3)
x = np.random.default_rng(0).random((1, side, side, 3), np.float32)
parameters = model.init(jax.random.PRNGKey(0), x)
run = jax.jit(lambda p, x: model.apply(p, x)[-1][-1])
run(parameters, x).block_until_ready()
seconds = []
for _ in range(runs):
    start = time.perf_counter()
    run(parameters, x).block_until_ready()
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""

PICTURE = """
import sys, zlib, struct
import numpy as np
path, width, height = sys.argv[1], *map(int, sys.argv[2:])
y, x = np.mgrid[0:height, 0:width].astype(np.float32)
a = 128 + 90 * np.sin(x * 0.013) * np.cos(y * 0.011) + np.random.default_rng(0).normal(0, 12, (height, width))
rows = np.zeros((height, width + 1), np.uint8)
rows[:, 1:] = a.clip(0, 255)
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)), chunk(b"IEND", b"")
open(path, "wb").write(b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(parts))
"""


def told(python, script, *arguments, environment=None):
    """What a script prints, as JSON; none when it fails."""
    done = subprocess.run([python, "-c", script, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def batch(insula, picture, pack, out, threads):
    """Wall seconds, peak MiB and record of one picture through a pack."""
    command = [insula, "--batch", picture, "--pack", pack, "--out", out, "--threads", threads, "--overwrite", "--quiet"]
    seconds, peak = measure(list(map(str, command)))
    return seconds, peak, json.loads(next(pathlib.Path(out).glob("*_record.json")).read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pack", default="maxim-denoise")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    python = interpreter(["numpy", "torch", "safetensors", "onnxruntime"])
    insula = program()
    subprocess.run([insula, "runtime", "install"], check=True, stdout=subprocess.DEVNULL)
    figures, cpus = {}, sorted(os.sched_getaffinity(0))[: options.threads] if hasattr(os, "sched_getaffinity") else None
    print(f"machine: {machine()}; {options.threads} threads, {options.runs} runs, medians")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        script = WEIGHTS.format(authoring=str(ROOT / "models/authoring"))
        subprocess.run([python, "-c", script, folder / "s2.npz"], check=True)
        args = ["--family", "maxim", "--variant", "S-2", "--task", "deraining", "--id", "s2", "--out", folder]
        subprocess.run(list(map(str, [insula, "packs", "import", folder / "s2.npz", *args])), check=True)
        ours = told(python, ONNX, folder / "s2/model.onnx", 3, SIDE, options.runs, options.threads)
        print(f"S-2 at {SIDE}×{SIDE}, our graph in ONNX Runtime: {statistics.median(ours):.3f} s")
        if os.environ.get("MAXIM_SOURCE"):
            # XLA takes every processor that it sees.
            pinned = ["taskset", "-c", ",".join(map(str, cpus))] if cpus and not os.environ.get("NO_TASKSET") else []
            command = [*pinned, python, "-c", JAX, str(options.runs), str(SIDE)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                theirs = json.loads(done.stdout.splitlines()[-1])
                print(f"the same, official Flax module under jax.jit: {statistics.median(theirs):.3f} s")
                figures["speed over jitted JAX"] = statistics.median(theirs) / statistics.median(ours)
            else:
                print(f"JAX left out: {done.stderr.strip().splitlines()[-1:]}")
        else:
            print("JAX left out: MAXIM_SOURCE names no checkout of google-research/maxim")

        # A picture in tiles: seconds of the stage that runs the network, over tiles times the bare network. Turns alternate.
        subprocess.run([python, "-c", PICTURE, folder / "small.png", "1000", "800"], check=True)
        show = subprocess.run([insula, "packs", "show", options.pack, "--json"], capture_output=True, text=True)
        if show.returncode:
            print(f"tiles and 12 megapixels left out: {show.stderr.strip()}")
        else:
            manifest = json.loads(show.stdout)
            place, side = pathlib.Path(manifest["place"]), manifest["tiles"]["patch"][1]
            model = place / "model.onnx" if place.is_dir() else ROOT / "models/packs" / options.pack / "model.onnx"
            ratios = []
            for _ in range(options.runs):
                bare = told(python, ONNX, model, manifest["output"]["channels"], side, 20, options.threads)
                _, _, record = batch(insula, folder / "small.png", options.pack, folder / "out", options.threads)
                ratios.append(record["seconds"]["compute/infer"] / (record["tiles"] * statistics.median(bare)))
            figures["tiles / bare network"] = statistics.median(ratios)
            subprocess.run([python, "-c", PICTURE, folder / "large.png", "4000", "3000"], check=True)
            seconds, peak, record = batch(insula, folder / "large.png", options.pack, folder / "out", options.threads)
            print(f"12 megapixels: {seconds:.1f} s in all, {record['tiles']} tiles")
            figures["12 Mpx, peak MiB"] = peak
    missed = False
    for name, value in figures.items():
        target, is_less_better = TARGETS[name]
        good = value <= target if is_less_better else value >= target
        missed |= not good
        print(f"{name:24} {value:10.2f}   {'≤' if is_less_better else '≥'} {target:g}   {'reached' if good else 'MISSED'}")
    if options.check and missed:
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
