import numpy as np
from safetensors.numpy import load_file

from insula_authoring.preprocess import modalities, regions


def test_brats_2017_formula_case_bit_for_bit(golden):
    expected = load_file(golden / "preprocess/brats2017.safetensors")
    x, y, z = np.meshgrid(*(np.arange(n, dtype=np.int64) for n in (240, 240, 155)), indexing="ij")
    raw = []
    for m in range(4):
        inside = 4 * (x - 118) ** 2 + 3 * (y - 126) ** 2 + 9 * (z - 70) ** 2 < 36000
        value = (31 * x + 17 * y + 7 * z + 101 * m + 19 * ((x * y * z) % 13)) % 900 + 50 + 3 * z
        raw.append(np.where(inside, value, z % 4).astype(np.int16))
    inside = 4 * (x - 100) ** 2 + 3 * (y - 140) ** 2 + 9 * (z - 66) ** 2 < 9000
    label = np.where(inside, (x // 5 + y // 7 + z // 3) % 4, 0).astype(np.uint8)
    assert [int(v.astype(np.int64).sum()) for v in (*raw, label)] == expected["raw_sum"].tolist()
    affine = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    out = modalities(raw, affine)
    assert np.array_equal(out[:, ::8, ::8, ::8], expected["modalities_stride8"])
    assert np.array_equal(out[:, 60:68, 60:68, 60:68], expected["modalities_block"])
    assert np.allclose(out.astype(np.float64).sum((1, 2, 3)), expected["modalities_sum"], rtol=1e-12)
    found = regions(label, affine)
    assert np.array_equal(found[:, ::8, ::8, ::8], expected["label_stride8"])
    assert np.array_equal(found[:, 60:68, 50:58, 68:76], expected["label_block"])
    assert found.sum((1, 2, 3), dtype=np.int64).tolist() == expected["label_count"].tolist()
