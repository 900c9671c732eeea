#!/usr/bin/env python3
"""Opening a gzipped head to float32, as whole processes side by side: Insula, nibabel, SimpleITK and the floor.

    python3 tests/bench/open.py [--runs N] [--file FILE] [--check]

Needs Python 3.9 or later and cargo; the two libraries are installed into `.venv` of the repository unless the
interpreter that runs this script has them already. The floor is the fastest inflate of the same file known to us
(libdeflate, whole buffer) and one pass that turns bytes into float32. Programs take turns, so that a busy moment of
the machine meets all of them; medians and minima of wall time, and the largest resident set, are printed.
With --check the exit code is 1 when a target is missed.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys

from common import ROOT, SHARED, interpreter, machine, measure, needed

LIBRARIES = ["nibabel", "SimpleITK", "numpy"]
# Insula's time over the other's (median of the turns), and its peak memory over the float32 array.
TARGETS = {"nibabel": 0.25, "SimpleITK": 0.35, "floor": 1.3}
MEMORY_TARGET = 1.5

NIBABEL = "import sys, nibabel; nibabel.load(sys.argv[1]).get_fdata()"
NIBABEL_F32 = "import sys, numpy, nibabel; nibabel.load(sys.argv[1]).get_fdata(dtype=numpy.float32)"
SIMPLEITK = (
    "import sys, SimpleITK as s; s.GetArrayFromImage(s.ReadImage(sys.argv[1], s.sitkFloat32))"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=pathlib.Path, default=SHARED / "data/nifti/brain/t1_crop.nii.gz")
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    python = interpreter(LIBRARIES)
    needed(options.file)
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "-p", "formats", "--example", "open_f32"], cwd=ROOT, check=True
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = str(target / "release/examples" / ("open_f32.exe" if os.name == "nt" else "open_f32"))
    file = str(options.file)
    count = int(subprocess.run([program, file], capture_output=True, text=True, check=True).stdout.split()[0])
    array_mib = count * 4 / 2**20

    commands = {
        "insula": [program, file],
        "floor": [program, "--floor", file],
        "nibabel": [python, "-c", NIBABEL, file],
        "nibabel f32": [python, "-c", NIBABEL_F32, file],
        "SimpleITK": [python, "-c", SIMPLEITK, file],
    }
    for command in commands.values():
        measure(command)  # once unmeasured: files and libraries come into the cache
    results = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, command in commands.items():
            results[name].append(measure(command))

    print(f"machine: {machine()}")
    print(f"file: {options.file.name}, {count} voxels, {array_mib:.1f} MiB as float32, {options.runs} turns")
    print(f"{'':12} {'median ms':>10} {'min ms':>8} {'peak MiB':>9} {'insula / it':>12} {'at most':>8}")
    median = {name: statistics.median(s for s, _ in runs) for name, runs in results.items()}
    missed = False
    for name, runs in results.items():
        fastest, peak = min(s for s, _ in runs), max(p for _, p in runs)
        ratio = median["insula"] / median[name]
        goal = TARGETS.get(name)
        missed |= goal is not None and ratio > goal
        print(
            f"{name:12} {median[name] * 1e3:10.1f} {fastest * 1e3:8.1f} {peak:9.1f} {ratio:12.2f} "
            f"{'' if goal is None else goal:>8}"
        )
    memory = max(p for _, p in results["insula"]) / array_mib
    missed |= memory > MEMORY_TARGET
    print(f"insula's peak memory is {memory:.2f} of the float32 array (at most {MEMORY_TARGET})")
    if options.check and missed:
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
