"""The label table of segformer3d-brain: classes, FreeSurfer codes, left-right pairs, colours."""

from __future__ import annotations

import numpy as np

# (name, FreeSurfer codes merged on the left, on the right, RGB of the left, RGB of the right).
# The first code of each tuple is what the pack writes. Colours follow FreeSurfer's usual scheme.
PAIRS: list[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, int, int], tuple[int, int, int]]] = [
    ("Cerebral-White-Matter", (2, 25), (41, 57), (245, 245, 245), (225, 225, 225)),
    ("Cerebral-Cortex", (3,), (42,), (205, 62, 78), (180, 50, 66)),
    ("Lateral-Ventricle", (4, 5), (43, 44), (120, 18, 134), (150, 40, 164)),
    ("Cerebellum-White-Matter", (7,), (46,), (220, 248, 164), (200, 228, 144)),
    ("Cerebellum-Cortex", (8,), (47,), (230, 148, 34), (210, 128, 24)),
    ("Thalamus", (10,), (49,), (0, 118, 14), (0, 148, 24)),
    ("Caudate", (11,), (50,), (122, 186, 220), (92, 156, 200)),
    ("Putamen", (12,), (51,), (236, 13, 176), (206, 13, 146)),
    ("Pallidum", (13,), (52,), (12, 48, 255), (13, 88, 225)),
    ("Hippocampus", (17,), (53,), (220, 216, 20), (190, 186, 20)),
    ("Amygdala", (18,), (54,), (103, 255, 255), (73, 225, 225)),
    ("Accumbens-area", (26,), (58,), (255, 165, 0), (225, 145, 0)),
    ("VentralDC", (28,), (60,), (165, 42, 42), (135, 32, 32)),
]
SINGLES: list[tuple[str, tuple[int, ...], tuple[int, int, int]]] = [
    ("3rd-Ventricle", (14,), (204, 182, 142)),
    ("4th-Ventricle", (15,), (42, 204, 164)),
    ("Brain-Stem", (16,), (119, 159, 176)),
]
P = len(PAIRS)

# Class index -> (name, FreeSurfer code written, codes merged, RGB): background, left, right, unpaired.
CLASSES: list[tuple[str, int, tuple[int, ...], tuple[int, int, int]]] = [("Background", 0, (), (0, 0, 0))]
CLASSES += [(f"Left-{n}", l[0], l, cl) for n, l, _, cl, _ in PAIRS]
CLASSES += [(f"Right-{n}", r[0], r, cr) for n, _, r, _, cr in PAIRS]
CLASSES += [(n, c[0], c, colour) for n, c, colour in SINGLES]
NUM_CLASSES = len(CLASSES)

# Class index after a left-right flip of the volume.
MIRROR = np.array([0, *range(P + 1, 2 * P + 1), *range(1, P + 1), *range(2 * P + 1, NUM_CLASSES)])

# FreeSurfer code -> class index, for every code below 65536.
CODE_TO_CLASS = np.zeros(65536, np.uint8)
for _i, (_n, _id, _codes, _rgb) in enumerate(CLASSES):
    for _c in _codes:
        CODE_TO_CLASS[_c] = _i
CODE_TO_CLASS[11100:12100] = 1 + 1  # Destrieux parcellation of the left cortex
CODE_TO_CLASS[12100:12176] = P + 1 + 1  # and of the right

# The structures the pack's quality figure is taken over: the large ones, each side counted on its own.
LARGE = ["Cerebral-White-Matter", "Cerebral-Cortex", "Lateral-Ventricle", "Cerebellum-White-Matter",
         "Cerebellum-Cortex", "Thalamus", "Caudate", "Putamen", "Pallidum", "Hippocampus"]
