"""Makes truth.json: what other programs find in the DICOM segmentations and contours of the shared data.

    python truth.py /path/to/shared/data > truth.json

Needs pydicom, highdicom, rt-utils, matplotlib. Voxels and centres (LPS mm, mean of voxel centres) of each structure.
"""

import json
import pathlib
import sys

import highdicom as hd
import numpy as np
import pydicom

SEG = [
    "dicom/series_ct_with_seg/seg_liver.dcm",
    "dicom/series_ct_with_seg/seg_partial_overlaps.dcm",
    "dicom/single/seg_image_ct_binary_single_frame.dcm",
    "dicom/single/liver_nonbyte_aligned.dcm",
]
SLIDE = "dicom/single/seg_image_sm_control_labelmap_palette_color.dcm"


def row(label, mask, origin, row_step, column_step, of_plane=None):
    """One structure from pixels (row, column) of planes that each have an LPS origin."""
    total, centre = 0, np.zeros(3)
    for plane, start in zip(mask, origin):
        r, c = np.nonzero(plane)
        total += len(r)
        centre += (np.array(start) + np.outer(c, row_step) + np.outer(r, column_step)).sum(axis=0)
    return {"label": label, "voxels": total, "centre_lps": (centre / total).tolist() if total else None}


def seg(path):
    d = hd.seg.segread(path)
    shared = d.SharedFunctionalGroupsSequence[0]
    o = [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    row_step, column_step = np.array(o[:3]) * spacing[1], np.array(o[3:]) * spacing[0]
    pixels = d.pixel_array.reshape(-1, d.Rows, d.Columns)
    frames = d.PerFrameFunctionalGroupsSequence
    out = []
    for s in d.SegmentSequence:
        own = [
            n
            for n, f in enumerate(frames)
            if f.SegmentIdentificationSequence[0].ReferencedSegmentNumber == s.SegmentNumber
        ]
        origin = [[float(v) for v in frames[n].PlanePositionSequence[0].ImagePositionPatient] for n in own]
        got = row(s.SegmentLabel, pixels[own], origin, row_step, column_step)
        kind = s.SegmentedPropertyTypeCodeSequence[0]
        out.append({**got, "number": s.SegmentNumber, "code": kind.CodeValue})
    return out


def slide(path):
    d = pydicom.dcmread(path)
    whole = hd.seg.segread(path).get_total_pixel_matrix(combine_segments=True)
    return [
        {"label": s.SegmentLabel, "number": s.SegmentNumber, "voxels": int((whole == s.SegmentNumber).sum())}
        for s in d.SegmentSequence
        if s.SegmentNumber
    ]


def overlaps(path):
    """Voxels that two segments share, by pair, and the same file painted with the smaller structure last."""
    d = pydicom.dcmread(path)
    planes = {}
    for f, mask in zip(d.PerFrameFunctionalGroupsSequence, d.pixel_array):
        z = float(f.PlanePositionSequence[0].ImagePositionPatient[2])
        planes.setdefault(f.SegmentIdentificationSequence[0].ReferencedSegmentNumber, {})[z] = mask
    zs = sorted({z for p in planes.values() for z in p})
    empty = np.zeros((d.Rows, d.Columns), np.uint8)
    volumes = {n: np.stack([p.get(z, empty) for z in zs]) for n, p in planes.items()}
    pairs = {
        f"{a} {b}": int((volumes[a] & volumes[b]).sum()) for a in volumes for b in volumes if a < b
    }
    painted = np.zeros((len(zs), d.Rows, d.Columns), np.uint16)
    for n in sorted(volumes, key=lambda n: -int(volumes[n].sum())):
        painted[volumes[n] > 0] = n
    left = {str(n): int((painted == n).sum()) for n in volumes}
    return {"pairs": {k: v for k, v in pairs.items() if v}, "left": left}


def contours(data):
    """Centres inside (matplotlib, even-odd over the contours of a slice), and what rt-utils fills (borders included)."""
    from matplotlib.path import Path
    from rt_utils import RTStructBuilder

    folder = data / "dicom/series_rtstruct"
    images = sorted((pydicom.dcmread(p) for p in folder.glob("ct_*.dcm")), key=lambda i: i.ImagePositionPatient[2])
    ds = pydicom.dcmread(folder / "rt.dcm", force=True)
    first = images[0]
    x0, y0 = (float(v) for v in first.ImagePositionPatient[:2])
    dy, dx = (float(v) for v in first.PixelSpacing)
    column, line = np.meshgrid(np.arange(first.Columns), np.arange(first.Rows))
    points = np.c_[x0 + dx * column.ravel(), y0 + dy * line.ravel()]
    mask = np.zeros((len(images), first.Rows, first.Columns), bool)
    for c in ds.ROIContourSequence[0].ContourSequence:
        xyz = np.array(c.ContourData, float).reshape(-1, 3)
        k = [abs(float(i.ImagePositionPatient[2]) - xyz[0, 2]) < 0.1 for i in images].index(True)
        mask[k] ^= Path(xyz[:, :2]).contains_points(points).reshape(mask.shape[1:])
    filled = RTStructBuilder.create_from(str(folder), str(folder / "rt.dcm")).get_roi_mask_by_name("ROI-1")
    filled = np.moveaxis(filled, -1, 0)
    if filled[0].sum() != 0 and mask[0].sum() == 0:
        filled = filled[::-1]
    return {
        "name": "ROI-1",
        "voxels": [int(m.sum()) for m in mask],
        "rt_utils_voxels": [int(m.sum()) for m in filled],
        "in_both": [int((m & f).sum()) for m, f in zip(mask, filled)],
    }


if __name__ == "__main__":
    data = pathlib.Path(sys.argv[1])
    truth = {path: seg(data / path) for path in SEG}
    truth[SLIDE] = slide(data / SLIDE)
    truth["overlaps"] = overlaps(data / SEG[1])
    truth["contours"] = contours(data)
    print(json.dumps(truth, indent=1))
