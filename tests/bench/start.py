#!/usr/bin/env python3
"""Start to first usable frame with a 256³-class head open: Insula against Debian's MRIcron and, where it can be
imported, napari; under Xvfb, drawn by the processor.

    python3 tests/bench/start.py [--runs N] [--check]

Insula closes itself after the first frame that shows the image, so its time is that of the whole process. MRIcron is
timed to its window being mapped (which is before it shows the image: in its favour), napari to the first pass of its
event loop after the image was added. All take turns after one start that is not counted. With --check the exit code is
1 when Insula takes more than 0.5 s, 0.5 of MRIcron's time or 0.25 of napari's.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

from common import ROOT, interpreter, machine, measure, program

SAMPLE = ROOT / "assets" / "sample" / "head.nii.gz"
LIMIT_SECS, MRICRON_RATIO, NAPARI_RATIO = 0.5, 0.5, 0.25
NAPARI = f"""
import nibabel, napari
from qtpy.QtCore import QTimer
viewer = napari.Viewer()
viewer.add_image(nibabel.load({str(SAMPLE)!r}).get_fdata())
QTimer.singleShot(0, viewer.close)
napari.run()
"""


def mricron(environment):
    """Seconds until a window of MRIcron is mapped."""
    start = time.perf_counter()
    process = subprocess.Popen(
        ["mricron", str(SAMPLE)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # By class: the window does not say whose process it is, and its title is a voxel.
        find = ["xdotool", "search", "--onlyvisible", "--class", "[Mm]ricron"]
        while not subprocess.run(find, env=environment, capture_output=True).stdout.strip():
            if process.poll() is not None or time.perf_counter() - start > 60:
                sys.exit("MRIcron showed no window")
            time.sleep(0.005)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for tool in ("Xvfb", "xdotool"):
        if not shutil.which(tool):
            sys.exit(f"SKIPPED: no {tool} (apt-get install xvfb xdotool)")
    insula = program()
    display = ":97"
    server = subprocess.Popen(["Xvfb", display, "-noreset", "-screen", "0", "1280x800x24"], stderr=subprocess.DEVNULL)
    environment = dict(os.environ, DISPLAY=display)
    environment.pop("WAYLAND_DISPLAY", None)
    rows = {"Insula": lambda: measure([insula, "--time-start", str(SAMPLE)], environment)[0]}
    if shutil.which("mricron"):
        rows["MRIcron"] = lambda: mricron(environment)
    else:
        print("SKIPPED MRIcron: not installed (apt-get install mricron)")
    try:
        python = interpreter(["napari", "nibabel", "PyQt5"], ["napari[pyqt5]", "nibabel"])
        rows["napari"] = lambda: measure([python, "-c", NAPARI], environment)[0]
    except subprocess.CalledProcessError:
        print("SKIPPED napari: it could not be installed")
    try:
        time.sleep(1)
        for run in rows.values():
            run()
        times = {name: [] for name in rows}
        for _ in range(arguments.runs):
            for name, run in rows.items():
                times[name].append(run())
    finally:
        server.kill()
        server.wait()
    print(machine())
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:8} median {middle[name]:.3f} s, least {min(values):.3f}, greatest {max(values):.3f}")
    missed = middle["Insula"] > LIMIT_SECS
    for name, target in (("MRIcron", MRICRON_RATIO), ("napari", NAPARI_RATIO)):
        if name in middle:
            ratio = middle["Insula"] / middle[name]
            print(f"Insula / {name}: {ratio:.2f} (target {target})")
            missed |= ratio > target
    sys.exit(1 if missed and arguments.check else 0)


if __name__ == "__main__":
    main()
