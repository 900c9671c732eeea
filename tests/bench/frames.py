#!/usr/bin/env python3
"""Processor time per frame while all three slices change, and of an idle window; under Xvfb, drawn by the processor.

    python3 tests/bench/frames.py [--runs N] [--check]

The program scrolls through a 256³ head by itself and notes the processor time between frames: that of the window's
thread (layout, the three slices, handing over to the driver) and that of all threads, in which the software rasteriser
of the driver stands. Then a window is left alone: its processor time over ten seconds, after it came to rest. With
--check the exit code is 1 when 1 of 100 frames takes the window's thread more than 8 ms or the idle window uses a
hundredth of a processor.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from common import SHARED, machine, needed, program

FRAME_MS, IDLE_SHARE, IDLE_SECS = 8.0, 0.01, 10.0


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def cpu_secs(pid):
    """Processor time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(insula, scan, environment):
    """Share of a processor that a window takes once it came to rest."""
    process = subprocess.Popen([insula, str(scan)], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        last = -1.0
        while True:
            time.sleep(2)
            now = cpu_secs(process.pid)
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the window did not come to rest")
            if now > 0.3 and now - last < 0.02:
                break
            last = now
        before, began = cpu_secs(process.pid), time.monotonic()
        time.sleep(IDLE_SECS)
        return (cpu_secs(process.pid) - before) / (time.monotonic() - began)
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--program", help="a program built before")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux") or not shutil.which("Xvfb"):
        sys.exit("SKIPPED: needs Linux and Xvfb (apt-get install xvfb)")
    scan = needed(SHARED / "data" / "nifti" / "brain" / "t1_crop.nii.gz")
    insula = arguments.program or program()
    display = ":96"
    server = subprocess.Popen(["Xvfb", display, "-noreset", "-screen", "0", "1280x800x24"], stderr=subprocess.DEVNULL)
    missed = False
    try:
        time.sleep(1)
        with tempfile.TemporaryDirectory() as folder:
            environment = dict(os.environ, DISPLAY=display, INSULA_HOME=folder)
            environment.pop("WAYLAND_DISPLAY", None)
            print(machine())
            out = pathlib.Path(folder) / "frames.json"
            for _ in range(arguments.runs):
                subprocess.run(
                    [insula, "--time-slices", str(out), str(scan)], env=environment, check=True, timeout=600,
                    stderr=subprocess.DEVNULL)
                frames = json.loads(out.read_text())["thread_and_process_ms"]
                for n, name in enumerate(["window's thread", "all threads"]):
                    times = [f[n] for f in frames]
                    middle, late = quantile(times, 0.5), quantile(times, 0.99)
                    print(f"{name:16} median {middle:.2f} ms, p99 {late:.2f} ms over {len(times)} frames")
                    if n == 0:
                        missed |= late > FRAME_MS
            share = idle(insula, scan, environment)
            print(f"idle window      {100 * share:.2f} % of a processor")
            missed |= share > IDLE_SHARE
    finally:
        server.kill()
        server.wait()
    sys.exit(1 if missed and arguments.check else 0)


if __name__ == "__main__":
    main()
