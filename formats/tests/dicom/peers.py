"""Reads the DICOM objects that Insula wrote with the programs people use, and compares masks, values and places.

Run by dicom_peers.rs: python peers.py FOLDER, where expected.json says what is in each file; and the other way round,
python peers.py make FOLDER, which makes segmentations of the series in FOLDER/ct and says in made.json what is in them.
python peers.py codes TABLE looks for the codes of assets/codes/segments.tsv in pydicom's dictionary.
Needs numpy, pydicom, highdicom; matplotlib for contours.
"""

import json
import pathlib
import sys

try:
    import highdicom as hd
    import numpy as np
    import pydicom
    from matplotlib.path import Path
except ImportError as e:
    print(f"SKIPPED {e}")
    sys.exit(0)

LPS = np.diag([-1.0, -1.0, 1.0])


def index(row):
    """Voxel (i, j, k) from LPS."""
    affine = np.array(row["affine"])
    inverse = np.linalg.inv(affine[:, :3])
    return lambda lps: (inverse @ (LPS @ np.asarray(lps, float).T - affine[:, 3:])).T


def segmentation(row, path):
    d = hd.seg.segread(path)
    want = np.array(row["labels"]).reshape(row["shape"])
    names = row["names"]
    got = np.zeros_like(want)
    place = index(row)
    frames = d.pixel_array.reshape(-1, d.Rows, d.Columns)
    shared = d.SharedFunctionalGroupsSequence[0]
    o = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    for f, mask in zip(d.PerFrameFunctionalGroupsSequence, frames):
        p = np.array(f.PlanePositionSequence[0].ImagePositionPatient, float)
        ijk = place([p, p + o[:3] * spacing[1], p + o[3:] * spacing[0]])
        assert np.allclose(ijk[1] - ijk[0], [1, 0, 0], atol=1e-6) and np.allclose(ijk[2] - ijk[0], [0, 1, 0], atol=1e-6)
        k = round(ijk[0, 2])
        assert np.allclose(ijk[0], [0, 0, k], atol=1e-6), ijk[0]
        uid = f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert uid == f"1.2.826.0.1.9.1.{k + 1}", uid
        if row["kind"] == "labelmap":
            got[k] = mask
            continue
        number = f.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        s = d.get_segment_description(number)
        label = int(s.SegmentDescription.split()[1])
        assert s.segment_label == names[str(label)]
        assert s.segmented_property_type.meaning
        got[k][mask > 0] = label
    assert np.array_equal(got, want)
    # What highdicom itself makes of it, frame by source frame.
    sources = [u for _, _, u in d.get_source_image_uids()]
    whole = d.get_pixels_by_source_instance(sources, combine_segments=True)
    numbers = {s.SegmentNumber: int(s.SegmentDescription.split()[1]) for s in d.SegmentSequence if s.SegmentNumber}
    for uid, plane in zip(sources, whole):
        back = np.zeros_like(plane, dtype=int)
        for number, label in numbers.items():
            back[plane == number] = label
        assert np.array_equal(back, want[int(uid.split(".")[-1]) - 1])


def contours(row, path):
    ds = pydicom.dcmread(path)
    want = np.array(row["labels"]).reshape(row["shape"])
    place = index(row)
    nk, nj, ni = row["shape"]
    points = np.stack(np.meshgrid(np.arange(ni), np.arange(nj)), -1).reshape(-1, 2)
    names = {int(r.ROINumber): str(r.ROIName) for r in ds.StructureSetROISequence}
    got = np.zeros_like(want)
    for roi in ds.ROIContourSequence:
        number = int(roi.ReferencedROINumber)
        assert names[number] == row["names"][str(number)]
        mask = np.zeros(want.shape, bool)
        for c in roi.ContourSequence:
            ijk = place(np.array(c.ContourData, float).reshape(-1, 3))
            assert len(ijk) == int(c.NumberOfContourPoints)
            k = round(ijk[0, 2])
            assert np.allclose(ijk[:, 2], k, atol=1e-6)
            assert c.ContourImageSequence[0].ReferencedSOPInstanceUID == f"1.2.826.0.1.9.1.{k + 1}"
            one = even_odd(ijk[:, :2], points).reshape(nj, ni)
            # Keyholes stand each for itself; the others cancel out.
            mask[k] = mask[k] | one if row["kind"] == "keyhole" else mask[k] ^ one
        got[mask] = number
    assert np.array_equal(got, want)


def even_odd(polygon, points):
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
        if y0 == y1:
            continue
        x, y = points[:, 0], points[:, 1]
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def series(row, folder):
    images = [pydicom.dcmread(p) for p in sorted(folder.glob("*.dcm"))]
    values = [i.pixel_array * float(i.get("RescaleSlope", 1)) + float(i.get("RescaleIntercept", 0)) for i in images]
    assert np.array_equal(np.stack(values).ravel(), row["values"])
    place = index(row)
    for k, i in enumerate(images):
        assert np.allclose(place([i.ImagePositionPatient])[0], [0, 0, k], atol=1e-6)
        assert i.PatientName == "Müller^Jörg", i.PatientName


def picture(row, path):
    assert pydicom.dcmread(path).pixel_array.ravel().tolist() == row["values"]


CHECKS = {"binary": segmentation, "labelmap": segmentation, "keyhole": contours, "xor": contours}
CHECKS |= {"series": series, "picture": picture}


def main(folder):
    wrong = 0
    for row in json.loads((folder / "expected.json").read_text()):
        try:
            CHECKS[row["kind"]](row, folder / row["file"])
            print("ok", row["file"])
        except Exception as e:  # noqa: BLE001  whatever a reader raises is a finding
            print(f"WRONG {row['file']}: {type(e).__name__} {e}")
            wrong += 1
    return wrong


def make(folder):
    from highdicom.sr.coding import CodedConcept
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless

    images = [pydicom.dcmread(p) for p in sorted((folder / "ct").glob("*.dcm"))]
    shape = (len(images), images[0].Rows, images[0].Columns)
    random = np.random.default_rng(7)
    labels = random.integers(0, 4, shape).astype(np.uint8)
    labels[1] = 0
    fractions = random.random((*shape, 3))
    tissue = CodedConcept("85756007", "SCT", "Tissue")
    algorithm = hd.AlgorithmIdentificationSequence("x", CodedConcept("123110", "DCM", "AI"), "1")
    describe = [
        hd.seg.SegmentDescription(
            n, f"part {n}", tissue, tissue, "AUTOMATIC", algorithm, display_color=hd.color.CIELabColor.from_rgb(9, n, 200)
        )
        for n in (1, 2, 3)
    ]
    stored = np.round(fractions * 255)
    stored[stored < 128] = 0
    best = 3 - np.argmax(stored[..., ::-1], axis=-1)
    best[stored.max(axis=-1) == 0] = 0
    made = []
    for name, kind, pixels, syntax, want in [
        ("binary", "BINARY", labels, ExplicitVRLittleEndian, labels),
        ("fractional", "FRACTIONAL", fractions, ExplicitVRLittleEndian, best),
        ("fractional_rle", "FRACTIONAL", fractions, RLELossless, best),
        ("labelmap", "LABELMAP", labels, ExplicitVRLittleEndian, labels),
        ("labelmap_rle", "LABELMAP", labels, RLELossless, labels),
    ]:
        d = hd.seg.Segmentation(
            images, pixels, kind, describe, hd.UID(), 7, hd.UID(), 1, "M", "N", "1", "2",
            transfer_syntax_uid=syntax, max_fractional_value=255,
        )
        d.save_as(folder / f"{name}.dcm")
        made.append({"file": f"{name}.dcm", "labels": want.ravel().tolist()})
    (folder / "made.json").write_text(json.dumps(made))
    return 0


def codes(table):
    from pydicom.sr._concepts_dict import concepts

    known = {(s, c) for s in ("SCT", "DCM") for by_code in concepts[s].values() for c in by_code}
    rows = [line.split("\t") for line in table.read_text().splitlines() if not line.startswith("#")]
    unknown = [row for row in rows if tuple(row[2:4]) not in known]
    print(unknown)
    return len(unknown)


if __name__ == "__main__":
    work = {"make": make, "codes": codes}.get(sys.argv[1], main)
    sys.exit(1 if work(pathlib.Path(sys.argv[-1])) else 0)
