#!/usr/bin/env python3
"""SegFormer3D on one BraTS case, as whole processes side by side: `insula --batch`, and PyTorch with MONAI.

    python3 tests/bench/brats.py [--runs N] [--threads N] [--check]

Both read the four channels, prepare them as published, run the official BraTS configuration (golden weights) over the
same 18 windows of 128³ (the whole 240×240×155 volume, overlap 0.5) on the same number of threads, and write a label
volume. PyTorch runs with one window at a time and with four (the published batch); the better time is the one to beat.
Insula's default, which covers the brain only, is timed too. Needs cargo and Python 3.9 or later; PyTorch, MONAI and
nibabel are installed into `.venv` of the repository (about 5 GB on Linux, where pip brings the CUDA build; 1 GB
elsewhere) unless the interpreter that runs this script has them. With --check the exit code is 1 when a target is missed.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from common import ROOT, SHARED, interpreter, machine, measure, needed, program

LIBRARIES = ["torch", "monai", "nibabel", "safetensors", "numpy"]
TARGETS = {"wall": 0.4, "memory": 0.5, "overhead": 0.10, "agreement": 0.999}
CASE = "data/nifti/brats/Brats18_TCIA03_265_1"

AGREEMENT = """
import sys, nibabel, numpy
a, b = (numpy.asarray(nibabel.load(f).dataobj) for f in sys.argv[1:])
either = (a != 0) | (b != 0)
print((a == b).mean(), (a == b)[either].mean() if either.any() else 1.0, *numpy.unique(a))
"""


def whole_volume_preset(folder):
    """The shipped preset without its crop, so that both programs cover the same windows."""
    lines, out, section = (ROOT / "models/presets/brats.toml").read_text().splitlines(), [], ""
    for line in lines:
        if line.startswith("["):
            section = line.strip()
        if section != "[crop]":
            out.append(line)
    path = folder / "brats-whole.toml"
    path.write_text("\n".join(out) + "\n[crop]\nkind = \"none\"\n")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    case = needed(SHARED / CASE)
    weights = needed(SHARED / "golden/segformer3d/full/weights.safetensors")
    python = interpreter(LIBRARIES)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # Packs of the benchmark stay out of the user's folder; the runtime is the user's.
        insula = program()
        subprocess.run([insula, "runtime", "install"], check=True, stdout=subprocess.DEVNULL)
        packs = {}
        for name, preset in {"whole": whole_volume_preset(folder), "default": "brats"}.items():
            packs[name] = folder / f"brats-{name}"
            command = [insula, "packs", "import", weights, "--family", "segformer3d", "--preset", preset]
            command += ["--id", packs[name].name, "--out", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        channels = [case / f"{case.name}_{c}.nii.gz" for c in ("flair", "t1", "t1ce", "t2")]
        inputs = folder / "input" / case.name
        inputs.mkdir(parents=True)
        for channel in channels:
            shutil.copy(channel, inputs)

        threads = str(options.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads}
        ours = lambda name: [
            insula, "--batch", inputs.parent, "--pack", packs[name], "--out", folder / f"out-{name}",
            "--threads", threads, "--provider", "cpu", "--overwrite",
        ]  # fmt: skip
        theirs = lambda batch: [
            python, ROOT / "tests/bench/brats_reference.py", weights, folder / f"torch-{batch}.nii.gz",
            *channels, "--threads", threads, "--batch", str(batch),
        ]  # fmt: skip
        commands = {
            "insula, 18 windows": ours("whole"),
            "insula, default": ours("default"),
            "PyTorch + MONAI, batch 1": theirs(1),
            "PyTorch + MONAI, batch 4": theirs(4),
        }
        results = {name: [] for name in commands}
        overheads = []
        for _ in range(options.runs):
            for name, command in commands.items():
                results[name].append(measure(list(map(str, command)), environment))
            # "compute/infer" is cutting tiles, running the network on them and blending.
            record = json.loads(next((folder / "out-whole").rglob("*_record.json")).read_text())
            wall = results["insula, 18 windows"][-1][0]
            overheads.append(1 - record["seconds"]["compute/infer"] / wall)
        found = {n: (statistics.median(s for s, _ in r), max(p for _, p in r)) for n, r in results.items()}
        fastest = {n: min(s for s, _ in r) for n, r in results.items()}

        print(f"machine: {machine()}; {threads} threads, {options.runs} turns, medians")
        print(f"{'':26} {'wall s':>8} {'fastest':>8} {'peak MiB':>9}")
        for name, (wall, peak) in found.items():
            print(f"{name:26} {wall:8.2f} {fastest[name]:8.2f} {peak:9.0f}")
        wall, peak = found["insula, 18 windows"]
        best = min(found["PyTorch + MONAI, batch 1"], found["PyTorch + MONAI, batch 4"])
        least = min(found[f"PyTorch + MONAI, batch {n}"][1] for n in (1, 4))
        segmentation = next((folder / "out-whole").rglob("*_seg.nii.gz"))
        compared = subprocess.run(
            [python, "-c", AGREEMENT, segmentation, folder / "torch-1.nii.gz"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        figures = {
            "wall": wall / best[0],
            "memory": peak / least,
            "overhead": statistics.median(overheads),
            "agreement": float(compared[0]),
        }
        quiet = fastest["insula, 18 windows"] / min(fastest[f"PyTorch + MONAI, batch {n}"] for n in (1, 4))
        print(f"wall of the fastest turns, insula over PyTorch: {quiet:.3f}; overhead of the best turn: {min(overheads):.3f}")
        print(f"stages of the last run, seconds: {record['seconds']}; {record['tiles']} windows")
        print(f"labels: {' '.join(compared[2:])}; agreement inside either segmentation: {float(compared[1]):.5f}")
        missed = False
        for name, value in figures.items():
            good = value >= TARGETS[name] if name == "agreement" else value <= TARGETS[name]
            missed |= not good
            bound = "at least" if name == "agreement" else "at most"
            print(f"{name:10} {value:8.4f}   {bound} {TARGETS[name]}   {'reached' if good else 'MISSED'}")
    if options.check and missed:
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
