import numpy as np
import pytest
import torch
from torch.nn import functional as F

from insula_authoring.labels import CLASSES, MIRROR, P
from insula_authoring.synth import Generator, Setup, canonical, load_maps, mirror, normalise
from insula_authoring.train import loss_of, shifted

SMALL = Setup((32, 36, 32), 5.25)


@pytest.fixture(scope="module")
def maps(shared, tmp_path_factory):
    source = tmp_path_factory.mktemp("two")
    for n in ("01", "04"):
        (source / f"training_seg_{n}.nii.gz").symlink_to((shared / f"data/brain_labels/training_seg_{n}.nii.gz").resolve())
    return load_maps(source, source / "cache")


def test_left_is_at_small_w(shared):
    """Of the arrays against the affine: world x of left structures is negative (RAS+), and W grows with x."""
    codes, affine = canonical(shared / "data/nifti/brain/fs_aparc_a2009s_aseg.nii.gz")
    for left, right in ((2, 41), (17, 53), (8, 47), (10, 49)):
        l, r = np.argwhere(codes == left).mean(0), np.argwhere(codes == right).mean(0)
        assert l[2] < r[2]
        world = lambda p: affine @ np.array([p[2], p[1], p[0], 1])
        assert world(l)[0] < 0 < world(r)[0]
    # Inferior to superior along D, posterior to anterior along H.
    brainstem, cortex = np.argwhere(codes == 16).mean(0), np.argwhere(np.isin(codes, (2, 41))).mean(0)
    cerebellum = np.argwhere(np.isin(codes, (8, 47))).mean(0)
    assert brainstem[0] < cortex[0] and cerebellum[1] < cortex[1]


def test_samples_keep_the_sides_also_when_mirrored(maps):
    generator = Generator(maps, SMALL, 5)
    for i in range(6):
        target = generator.sample(i)["target"]
        left = np.argwhere((target >= 1) & (target <= P)).mean(0)
        right = np.argwhere((target > P) & (target <= 2 * P)).mean(0)
        assert left[2] < right[2]


def test_samples_depend_on_seed_and_index_only(maps):
    a, b = Generator(maps, SMALL, 5), Generator(maps, SMALL, 5)
    a.sample(1)
    x, y = a.sample(3), b.sample(3)
    assert np.array_equal(x["image"], y["image"]) and np.array_equal(x["target"], y["target"])
    assert not np.array_equal(x["image"], b.sample(4)["image"])
    assert not np.array_equal(x["image"], Generator(maps, SMALL, 6).sample(3)["image"])
    assert x["image"].min() >= 0 and x["image"].max() <= 1 and x["image"].dtype == np.float32


def test_mirror_swaps_sides():
    t = np.array([[[0, 1, P + 1, 255, 2 * P + 1]]], np.uint8)
    assert mirror(t).tolist() == [[[2 * P + 1, 255, 1, P + 1, 0]]]
    for k, m in enumerate(MIRROR):
        assert CLASSES[m][0] == CLASSES[k][0].replace("Left-", "@").replace("Right-", "Left-").replace("@", "Right-")


def test_normalise():
    image = np.zeros((4, 5, 10), np.float32)
    image[1:] = np.linspace(1, 200, 150).reshape(3, 5, 10)
    out = normalise(image)
    low, high = np.percentile(image[image > 0], [1, 99.5])
    assert (out[0] == 0).all() and out.max() == 1
    assert np.allclose(out[2], (image[2] - low) / (high - low))
    assert (normalise(np.zeros((2, 2, 2), np.float32)) == 0).all()


@pytest.mark.parametrize("stride", [2, 4])
def test_shifted_is_a_subgrid_of_the_upsampled_volume(stride):
    x = torch.randn(1, 3, 4, 5, 6)
    up = F.interpolate(x, scale_factor=stride, mode="trilinear", align_corners=False)
    for o in ((0, 1, 0), (1, 1, 1), (stride - 1, 0, stride // 2)):
        expected = up[:, :, o[0]::stride, o[1]::stride, o[2]::stride]
        assert (shifted(x, o, stride) - expected).abs().max() < 1e-5


def test_loss_leaves_ignored_voxels_out():
    torch.manual_seed(0)
    logits, target = torch.randn(1, 5, 4, 4, 4), torch.randint(0, 5, (1, 4, 4, 4))
    target[0, 0] = 255
    other = logits.clone()
    other[:, :, 0] += 100 * torch.randn(1, 5, 4, 4)
    assert torch.allclose(loss_of(logits, target)[0], loss_of(other, target)[0])
