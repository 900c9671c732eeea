#!/usr/bin/env python3
"""Ray-casting a 256³ head, shaded, one sample per voxel, 1024×768: Insula on the CPU against VTK's fixed-point mapper.

    python3 tests/bench/raycast.py [--runs N] [--pictures FOLDER] [--check]

Same volume, control points, light, camera and threads on both sides; each turn draws eight pictures, 10° apart, in each
program, and the medians over all are compared. VTK's own default for one picture is the same mapper. The last line is
the adaptive quality while moving. With --check the exit code is 1 when Insula takes more than 0.7 of VTK's time or
draws fewer than 15 pictures a second while moving.
"""

import argparse
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

from common import ROOT, SHARED, interpreter, machine, needed

LIBRARIES = ["vtk"]
RATIO_TARGET = 0.7
MOVING_TARGET = 15.0
SIZE = (1024, 768)
STEPS, DEGREES = 8, 10
# Value, red, green, blue, opacity per millimetre: the default of Insula for this head, in whole numbers.
POINTS = [(12, 84, 42, 32, 0.0), (26, 172, 108, 84, 0.2), (45, 220, 166, 136, 0.5), (85, 242, 218, 196, 0.75),
          (132, 255, 250, 242, 0.9)]


def vtk_scene(path):
    """A window with the volume and its camera, seen from the front."""
    import vtk

    reader = vtk.vtkNIFTIImageReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    image.SetOrigin(0, 0, 0)
    size = image.GetDimensions()
    mapper = vtk.vtkFixedPointVolumeRayCastMapper()
    mapper.SetInputData(image)
    mapper.SetAutoAdjustSampleDistances(0)
    mapper.SetSampleDistance(1.0)
    mapper.SetImageSampleDistance(1.0)
    mapper.SetNumberOfThreads(os.cpu_count())
    colour, opacity = vtk.vtkColorTransferFunction(), vtk.vtkPiecewiseFunction()
    for value, r, g, b, a in POINTS:
        colour.AddRGBPoint(value, r / 255, g / 255, b / 255)
        opacity.AddPoint(value, a)
    look = vtk.vtkVolumeProperty()
    look.SetColor(colour)
    look.SetScalarOpacity(opacity)
    look.SetScalarOpacityUnitDistance(1.0)
    look.SetInterpolationTypeToLinear()
    look.ShadeOn()
    look.SetAmbient(0.32)
    look.SetDiffuse(0.72)
    look.SetSpecular(0.22)
    look.SetSpecularPower(24)
    volume = vtk.vtkVolume()
    volume.SetMapper(mapper)
    volume.SetProperty(look)
    renderer = vtk.vtkRenderer()
    renderer.AddVolume(volume)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*SIZE)
    window.AddRenderer(renderer)
    # The file's axes run to L, I and A: the front is the far end of k, up is -j. Fitted as Camera::fit does.
    centre = [(n - 1) / 2 for n in size]
    distance = 0.68 * math.sqrt(sum((n / 2) ** 2 for n in size)) / math.sin(math.radians(15))
    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(*centre)
    camera.SetPosition(centre[0], centre[1], centre[2] + distance)
    camera.SetViewUp(0, -1, 0)
    camera.SetViewAngle(30)
    renderer.ResetCameraClippingRange()
    return window, renderer


def vtk_seconds(window, renderer):
    times = []
    for _ in range(STEPS):
        renderer.GetActiveCamera().Azimuth(DEGREES)
        start = time.perf_counter()
        window.Render()
        times.append(time.perf_counter() - start)
    return times


def vtk_picture(window, path):
    import vtk

    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(grab.GetOutputPort())
    writer.Write()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pictures", type=pathlib.Path, help="leave what both drew last in this folder")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    python = interpreter(LIBRARIES)
    if python != sys.executable:
        sys.exit(subprocess.run([python, *sys.argv]).returncode)
    head = needed(SHARED / "data/nifti/brain/t1_crop.nii.gz")
    program = os.environ.get("INSULA_RAYCAST_BENCH")
    if not program:
        build = ["cargo", "build", "--release", "--quiet", "-p", "viewer", "--example", "raycast_bench"]
        subprocess.run(build, cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        program = str(target / "release/examples" / ("raycast_bench.exe" if os.name == "nt" else "raycast_bench"))
    points = ",".join(":".join(str(v) for v in p) for p in POINTS)
    command = [program, str(head), "--points", points, "--size", f"{SIZE[0]}x{SIZE[1]}", "--turn", str(DEGREES)]

    def insula(*more):
        lines = subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout.split()
        return [float(v) for v in lines]

    print(machine())
    window, renderer = vtk_scene(head)
    # The first picture of each pays for what is computed once per volume.
    start = time.perf_counter()
    window.Render()
    first_theirs, first_ours = time.perf_counter() - start, []
    ours, theirs, moving = [], [], []
    for _ in range(options.runs):
        times = insula("--runs", str(STEPS))
        first_ours.append(times[0])
        ours += times[1:]
        theirs += vtk_seconds(window, renderer)
        # The first pictures tell the adaptive quality how fast the machine is.
        moving += insula("--runs", "24", "--moving")[5:]
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        insula("--png", str(options.pictures / "insula.png"))
        vtk_picture(window, options.pictures / "vtk.png")
    a, b = statistics.median(ours), statistics.median(theirs)
    fps = 1 / statistics.median(moving)
    print(
        f"full quality: Insula {a * 1e3:.0f} ms, VTK fixed point {b * 1e3:.0f} ms, ratio {a / b:.2f} "
        f"(fastest {min(ours) * 1e3:.0f} and {min(theirs) * 1e3:.0f} ms, ratio {min(ours) / min(theirs):.2f})"
    )
    print(f"first picture: Insula {statistics.median(first_ours) * 1e3:.0f} ms, VTK {first_theirs * 1e3:.0f} ms")
    print(f"moving: {fps:.0f} pictures a second (slowest {max(moving) * 1e3:.0f} ms)")
    if options.check and (a > RATIO_TARGET * b or fps < MOVING_TARGET):
        sys.exit("a target is missed")


if __name__ == "__main__":
    main()
