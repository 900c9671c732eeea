"""Reads what Insula wrote with the programs people use, and compares voxels and placement.

Run by peers.rs: python peers.py FOLDER, where expected.json lists file, RAS affine and values (i fastest).
Needs numpy, SimpleITK, nibabel; Pillow and tifffile for pictures (said when absent).
"""

import json
import pathlib
import sys

import nibabel
import numpy as np
import SimpleITK as sitk

LPS = np.diag([-1.0, -1.0, 1.0])


def itk(path):
    image = sitk.ReadImage(str(path))
    n = image.GetDimension()
    direction = np.eye(3)
    direction[: min(n, 3), : min(n, 3)] = np.array(image.GetDirection()).reshape(n, n)[:3, :3]
    spacing, origin = np.ones(3), np.zeros(3)
    spacing[: min(n, 3)] = image.GetSpacing()[:3]
    origin[: min(n, 3)] = image.GetOrigin()[:3]
    affine = np.c_[LPS @ direction @ np.diag(spacing), LPS @ origin]
    return affine, sitk.GetArrayFromImage(image)


def freesurfer(path):
    image = nibabel.load(path)
    return image.affine[:3], np.asarray(image.dataobj).transpose()


def tiff(path):
    import tifffile

    return None, tifffile.imread(path)


def pillow(path):
    from PIL import Image

    return None, np.array(Image.open(path))


READERS = {"nrrd": itk, "mha": itk, "mgz": freesurfer, "mgh": freesurfer, "tif": tiff, "png": pillow}


def main(folder):
    wrong = 0
    for row in json.loads((folder / "expected.json").read_text()):
        path = folder / row["file"]
        try:
            affine, voxels = READERS[path.suffix[1:]](path)
        except ImportError as e:
            print(f"SKIPPED {path.name}: {e}")
            continue
        except Exception as e:  # noqa: BLE001  whatever a reader raises is a finding
            print(f"WRONG {path.name}: {e}")
            wrong += 1
            continue
        if path.name == "four.nrrd":  # ITK makes a vector image of a list axis.
            voxels = np.moveaxis(voxels, -1, 0)
        values = np.array(row["values"], dtype=np.float64)
        found = voxels.astype(np.float64).ravel()
        if found.shape != values.shape or not np.array_equal(found, values):
            print(f"WRONG {path.name}: voxels {voxels.shape} {voxels.dtype} {found[:6]} instead of {values[:6]}")
            wrong += 1
        if affine is not None and row["affine"] is not None:
            worst = np.abs(affine - np.array(row["affine"])).max()
            if worst > row["tolerance"]:
                print(f"WRONG {path.name}: placement differs by {worst}\n{affine}\n{row['affine']}")
                wrong += 1
        print(f"{path.name}: {voxels.shape} {voxels.dtype}")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main(pathlib.Path(sys.argv[1])) else 0)
