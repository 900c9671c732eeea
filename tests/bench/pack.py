#!/usr/bin/env python3
"""The bundled brain pack on a real 256³ head: wall time and peak memory of the whole process.

    python3 tests/bench/pack.py [--runs N] [--threads N] [--file FILE] [--check]

Needs Python 3.9 or later and cargo. With --check the exit code is 1 when a target is missed.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from common import SHARED, machine, measure, needed, program

TARGETS = {"wall s": 20.0, "peak MiB": 2.5 * 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=pathlib.Path, default=SHARED / "data/nifti/brain/t1_crop.nii.gz")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    file = needed(options.file)
    insula = program()
    subprocess.run([insula, "runtime", "install"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        command = [insula, "--batch", file, "--out", folder, "--threads", options.threads, "--overwrite"]
        runs = [measure(list(map(str, command))) for _ in range(options.runs)]
        record = json.loads(next(pathlib.Path(folder).rglob("*_record.json")).read_text())
    figures = {"wall s": statistics.median(s for s, _ in runs), "peak MiB": max(p for _, p in runs)}
    print(f"machine: {machine()}; {options.threads} threads, {options.runs} turns, median")
    print(f"stages of the last run, seconds: {record['seconds']}; {record['tiles']} windows")
    missed = False
    for name, value in figures.items():
        missed |= value > TARGETS[name]
        print(f"{name:10} {value:10.1f}   at most {TARGETS[name]:g}   {'reached' if value <= TARGETS[name] else 'MISSED'}")
    if options.check and missed:
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
