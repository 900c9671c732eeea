#!/usr/bin/env python3
"""Writes dicom_truth.json: what dcm2niix and SimpleITK make of the series of the shared data.

    pip install dcm2niix SimpleITK nibabel numpy
    python dicom_truth.py DATA/dicom > dicom_truth.json

Volumes are brought to RAS+ storage by flips and permutations only; `crc32` is that of the values as little-endian
int32, first axis fastest. The affine is RAS+ millimetres.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zlib

import nibabel as nib
import numpy as np
import SimpleITK as sitk


def entry(image):
    image = nib.as_closest_canonical(image)
    data = np.asanyarray(image.dataobj)
    frames = data.reshape(data.shape[:3] + (-1,))
    return {
        "shape": list(data.shape[:3]),
        "affine": image.affine[:3].tolist(),
        "sums": [float(frames[..., t].sum(dtype=np.float64)) for t in range(frames.shape[3])],
        "crc32": [zlib.crc32(np.rint(frames[..., t]).astype("<i4").tobytes(order="F")) for t in range(frames.shape[3])],
    }


def by_dcm2niix(folder):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["dcm2niix", "-z", "n", "-b", "n", "-f", "out", "-o", out, str(folder)], check=True, stdout=sys.stderr)
        # A tilted stack also comes resampled (_Tilt); the sheared one is what was stored.
        files = [f for f in sorted(pathlib.Path(out).glob("*.nii")) if "Tilt" not in f.name and "Eq" not in f.name]
        return [entry(nib.load(f)) for f in files]


def by_simpleitk(folder):
    reader = sitk.ImageSeriesReader()
    found = []
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        names = reader.GetGDCMSeriesFileNames(str(folder), uid)
        reader.SetFileNames(names)
        image = reader.Execute()
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() > 1 or image.GetSize()[2] < 2:
            continue
        direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        affine = np.eye(4)
        affine[:3, :3] = direction
        affine[:3, 3] = image.GetOrigin()
        affine[:2] *= -1
        data = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        found.append(entry(nib.Nifti1Image(np.rint(data).astype(np.int32), affine, dtype=np.int32)))
    return found


def main():
    root = pathlib.Path(sys.argv[1])
    truth = {}
    for name in ["series_ct_j2k", "series_ct_with_seg", "series_oblique_sagittal", "series_rtstruct"]:
        truth[name] = {"SimpleITK": by_simpleitk(root / name), "dcm2niix": by_dcm2niix(root / name)}
    for name in ["series_siemens_mosaic", "series_fmri_4d", "series_dti_ge", "series_ct_gantry_tilt", "series_mixed_orientation"]:
        truth[name] = {"dcm2niix": by_dcm2niix(root / name)}
    json.dump(truth, sys.stdout, indent=1)
    print()


main()
