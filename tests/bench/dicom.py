#!/usr/bin/env python3
"""DICOM as whole processes side by side: opening series and scanning headers.

    python3 tests/bench/dicom.py [--runs N] [--slices N] [--files N] [--check]

Three measurements, against SimpleITK, dcm2niix and pydicom with numpy:
- the real CT of the shared data (20 slices, JPEG 2000 lossless),
- a generated CT of 512×512 pixels and `--slices` slices, uncompressed,
- the headers of `--files` generated files, against pydicom's `stop_before_pixels`.
Needs Python 3.9 or later and cargo; libraries are installed into `.venv` of the repository unless the interpreter
that runs this script has them already. With --check the exit code is 1 when a target is missed.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from common import ROOT, SHARED, interpreter, machine, measure, needed

LIBRARIES = ["pydicom", "SimpleITK", "numpy", "pylibjpeg", "pylibjpeg-openjpeg", "dcm2niix"]
# Insula's time over pydicom's for headers (five times as fast), and its peak memory over the stored pixels.
SCAN_TARGET = 0.2
MEMORY_TARGET = 1.5

SIMPLEITK = """
import sys, SimpleITK as s
r = s.ImageSeriesReader()
r.SetFileNames(r.GetGDCMSeriesFileNames(sys.argv[1]))
s.GetArrayViewFromImage(r.Execute())
"""
PYDICOM = """
import os, sys, numpy, pydicom
d = [pydicom.dcmread(os.path.join(sys.argv[1], f)) for f in os.listdir(sys.argv[1])]
d.sort(key=lambda d: d.ImagePositionPatient[2])
numpy.stack([x.pixel_array for x in d])
"""
HEADERS = """
import os, sys, pydicom
for f in os.listdir(sys.argv[1]):
    pydicom.dcmread(os.path.join(sys.argv[1], f), stop_before_pixels=True)
"""
GENERATE = """
import sys, numpy, pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, CTImageStorage, generate_uid
folder, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
study, series, frame = generate_uid(), generate_uid(), generate_uid()
rng = numpy.random.default_rng(1)
noise = rng.integers(-20, 20, (size, size), dtype=numpy.int16)
order = rng.permutation(count)
for n in range(count):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = CTImageStorage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{n + 1}"
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
    d.Modality, d.PatientID, d.PatientName = "CT", "bench", "bench"
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = "20200101"
    d.StudyTime = d.SeriesTime = d.AcquisitionTime = d.ContentTime = "120000.5"
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.Manufacturer, d.StationName, d.InstitutionName = "none", "none", "none"
    d.StudyDescription = d.SeriesDescription = d.ProtocolName = "generated for a benchmark"
    d.KVP, d.SliceThickness, d.XRayTubeCurrent, d.ExposureTime = "120", "1", "200", "500"
    d.ConvolutionKernel, d.PatientPosition, d.GantryDetectorTilt = "soft", "HFS", "0"
    d.SeriesNumber, d.InstanceNumber, d.AcquisitionNumber = 3, n + 1, 1
    d.ImagePositionPatient = [-200, -200, n * 0.7]
    d.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    d.PixelSpacing = [0.75, 0.75]
    d.Rows = d.Columns = size
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
    d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 1, -1024, "HU"
    d.WindowCenter, d.WindowWidth = 40, 400
    for k in range(40):
        d.private_block(0x0043, "BENCH", create=True).add_new(k, "LO", f"private value {k}")
    d.PixelData = (noise + numpy.int16(n)).tobytes()
    d.save_as(f"{folder}/{order[n]:05d}", enforce_file_format=True)
"""


def compare(title, commands, runs, others):
    """Prints a table and gives the medians and peaks by name."""
    for command in commands.values():
        measure(command)  # once unmeasured: files and libraries come into the cache
    results = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            results[name].append(measure(command))
    print(f"\n{title}, {runs} turns")
    print(f"{'':18} {'median s':>9} {'min s':>8} {'peak MiB':>9} {'insula / it':>12}")
    median = {name: statistics.median(s for s, _ in r) for name, r in results.items()}
    for name, r in results.items():
        print(
            f"{name:18} {median[name]:9.3f} {min(s for s, _ in r):8.3f} {max(p for _, p in r):9.0f} "
            f"{median['insula'] / median[name]:12.2f}"
        )
    return {other: median["insula"] / median[other] for other in others}, max(p for _, p in results["insula"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    python = interpreter(LIBRARIES)
    real = SHARED / "data/dicom/series_ct_j2k"
    needed(real)
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "-p", "formats", "--example", "dicom_scan"], cwd=ROOT, check=True
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = str(target / "release/examples" / ("dicom_scan.exe" if os.name == "nt" else "dicom_scan"))
    converter = shutil.which("dcm2niix", path=os.pathsep.join([str(pathlib.Path(python).parent), os.environ["PATH"]]))
    print(f"machine: {machine()}")
    missed = False
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)

        def opening(folder):
            out = work / "converted"
            out.mkdir(exist_ok=True)
            commands = {
                "insula": [program, str(folder), "--load"],
                "SimpleITK": [python, "-c", SIMPLEITK, str(folder)],
                "pydicom + numpy": [python, "-c", PYDICOM, str(folder)],
            }
            if converter:
                commands["dcm2niix"] = [converter, "-z", "n", "-b", "n", "-w", "1", "-f", "a", "-o", str(out), str(folder)]
            return commands

        compare(f"{real.name}: 20 slices, JPEG 2000", opening(real), options.runs, [])

        volume = work / "volume"
        volume.mkdir()
        subprocess.run([python, "-c", GENERATE, str(volume), str(options.slices), "512"], check=True)
        pixels = options.slices * 512 * 512 * 2 / 2**20
        _, peak = compare(f"512×512×{options.slices} uncompressed, {pixels:.0f} MiB", opening(volume), options.runs, [])
        print(f"insula's peak memory is {peak / pixels:.2f} of the pixels (at most {MEMORY_TARGET})")
        missed |= peak / pixels > MEMORY_TARGET
        shutil.rmtree(volume)

        headers = work / "headers"
        headers.mkdir()
        subprocess.run([python, "-c", GENERATE, str(headers), str(options.files), "64"], check=True)
        commands = {"insula": [program, str(headers)], "pydicom": [python, "-c", HEADERS, str(headers)]}
        ratios, _ = compare(f"headers of {options.files} files", commands, options.runs, ["pydicom"])
        print(f"insula / pydicom {ratios['pydicom']:.3f} (at most {SCAN_TARGET})")
        missed |= ratios["pydicom"] > SCAN_TARGET
    if options.check and missed:
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
