#!/usr/bin/env python3
"""Linear resampling of 256³ at 1 mm to 1.5 mm and back: Insula against SimpleITK, same threads, in one run.

    python3 tests/bench/resample.py [--threads N] [--runs N] [--check]

Both sides are timed inside their processes, on float32 arrays in memory, and take turns; medians of the turns (each
the best of three) and their ratio are printed with the largest difference of values. With --check the exit code is 1
when Insula is not three times as fast or a value differs by more than 1e-3 of the range.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from common import ROOT, interpreter, machine

LIBRARIES = ["SimpleITK", "numpy"]
# SimpleITK's time over Insula's, and the difference over the range.
RATIO_TARGET = 3.0
VALUE_TARGET = 1e-3


def grid_text(size, spacing, origin):
    return ",".join(str(v) for v in (*size, *spacing, *origin))


def resampled_grid(size, spacing, new):
    """The same box of outer faces with another spacing."""
    count = [max(1, round(n * s / new)) for n, s in zip(size, spacing)]
    origin = [(n * s - c * new) / 2 - s / 2 + new / 2 for n, s, c in zip(size, spacing, count)]
    return count, [new] * 3, origin


def itk(array, source, target):
    import numpy as np
    import SimpleITK as sitk

    moving = sitk.GetImageFromArray(array)
    moving.SetSpacing(source[1])
    moving.SetOrigin(source[2])
    start = time.perf_counter()
    out = sitk.Resample(moving, target[0], sitk.Transform(), sitk.sitkLinear, target[2], target[1],
                        np.eye(3).ravel().tolist(), 0.0, sitk.sitkFloat32)
    return time.perf_counter() - start, sitk.GetArrayFromImage(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    python = interpreter(LIBRARIES)
    if python != sys.executable:
        sys.exit(subprocess.run([python, *sys.argv]).returncode)
    import numpy as np
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "-p", "inference", "--example", "resample"], cwd=ROOT, check=True
    )
    target_folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = str(target_folder / "release/examples" / ("resample.exe" if os.name == "nt" else "resample"))
    print(machine())
    rng = np.random.default_rng(3)
    fine = ([256] * 3, [1.0] * 3, [0.0] * 3)
    coarse = resampled_grid(*fine[:2], 1.5)
    missed = False
    for name, source, target in (("256³ 1 mm → 1.5 mm", fine, coarse), ("1.5 mm → 256³ 1 mm", coarse, fine)):
        array = rng.normal(size=source[0][::-1]).astype(np.float32) * 100
        with tempfile.TemporaryDirectory() as folder:
            raw, out = pathlib.Path(folder, "in.raw"), pathlib.Path(folder, "out.raw")
            raw.write_bytes(array.astype("<f4").tobytes())
            command = [program, str(raw), str(out), str(options.threads), "3", grid_text(*source), grid_text(*target)]
            ours, theirs = [], []
            for _ in range(options.runs):
                lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                ours.append(min(float(v) for v in lines))
                theirs.append(min(itk(array, source, target)[0] for _ in range(3)))
            moved = np.frombuffer(out.read_bytes(), "<f4").reshape(target[0][::-1])
            wanted = itk(array, source, target)[1]
        difference = float(np.abs(moved - wanted).max() / np.ptp(array))
        a, b = statistics.median(ours), statistics.median(theirs)
        missed |= b < RATIO_TARGET * a or difference > VALUE_TARGET
        print(
            f"{name}: Insula {a * 1e3:.1f} ms, SimpleITK {b * 1e3:.1f} ms, {b / a:.1f} times as fast; "
            f"largest difference {difference:.1e} of the range; {options.threads} threads"
        )
    if options.check and missed:
        sys.exit("a target is missed")


if __name__ == "__main__":
    main()
