"""What the benchmarks share: an interpreter with the libraries, processes measured from outside, the machine in words."""

import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("INSULA_SHARED", ROOT.parent / "shared"))


def interpreter(libraries, install=None):
    """A Python that can import the libraries: this one, or `.venv` of the repository, made when needed.

    `install` lists the packages for pip (default: the libraries)."""
    if all(importlib.util.find_spec(name) for name in libraries):
        return sys.executable
    folder = ROOT / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    probe = subprocess.run([python, "-c", "import " + ", ".join(libraries)], stderr=subprocess.DEVNULL)
    if probe.returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *(install or libraries)], check=True)
    return str(python)


def needed(path):
    """The path, or the end of the benchmark when it is not there."""
    if not path.exists():
        sys.exit(f"SKIPPED: no {path} (set INSULA_SHARED)")
    return path


def program(environment=None):
    """The release build of insula, made now."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "app"], cwd=ROOT, check=True, env=environment)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / ("insula.exe" if os.name == "nt" else "insula"))


def measure(command, environment=None, stdout=subprocess.DEVNULL):
    """Wall seconds and peak resident MiB of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=stdout, env=environment)
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        # Kibibytes on Linux, bytes on macOS.
        peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    else:
        process.wait()
        seconds, peak = time.perf_counter() - start, float("nan")
    if process.returncode:
        sys.exit(f"failed ({process.returncode}): {' '.join(map(str, command))}")
    return seconds, peak


def machine():
    """Processor, system and load, in one line."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{name}, {os.cpu_count()} processors, {platform.platform()}, load {load:.1f}"
