"""The network, the assignment, the losses and the export of MAYOR."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from insula_authoring.mayor import boxes as bx
from insula_authoring.mayor import targets
from insula_authoring.mayor.assign import IGNORED, NEGATIVE, assign
from insula_authoring.mayor.config import ARMS, FULL, SMALL, TINY, Config
from insula_authoring.mayor.network import MaskHead, Mayor
from insula_authoring.mayor.roi import roi_align

STRIDES = (4, 8, 16, 32)


def maps(channels: int = 5) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, 48 // 2**i, 64 // 2**i, generator=g) for i in range(4)]


def regions(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Among them regions outside, thinner than a cell and of no size."""
    rng = np.random.default_rng(1)
    a = rng.uniform(-20, 250, (n, 2))
    r = np.concatenate([a, a + rng.uniform(0, 1, (n, 2)) ** 3 * 200], 1).astype(np.float32)
    r[0], r[1] = (0, 0, 256, 192), (17, 33, 17, 33)
    return torch.from_numpy(r), torch.from_numpy(rng.integers(0, 2, n)), torch.from_numpy(rng.integers(0, 4, n))


def test_roi_align_is_the_onnx_operator():
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    rois, image, level = regions(60)
    ours = roi_align(maps(), rois, image, level, STRIDES, 7)
    for i, stride in enumerate(STRIDES):
        node = helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], output_height=7, output_width=7, sampling_ratio=2, spatial_scale=1 / stride)
        info = [helper.make_tensor_value_info(n, t, None) for n, t in (("x", TensorProto.FLOAT), ("r", TensorProto.FLOAT), ("b", TensorProto.INT64))]
        graph = helper.make_graph([node], "g", info, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=8)
        mine = level == i
        out = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": maps()[i].numpy(), "r": rois[mine].numpy(), "b": image[mine].numpy()})[0]
        np.testing.assert_allclose(ours[mine].numpy(), out, atol=2e-5)


def test_roi_align_beside_torchvision():
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is a peer of the tests only")
    rois, image, level = regions(60)
    ours = roi_align(maps(), rois, image, level, STRIDES, 14)
    for i, stride in enumerate(STRIDES):
        theirs = ops.roi_align(maps()[i], torch.cat([image[:, None].float(), rois], 1), 14, 1 / stride, 2, aligned=False)
        assert (ours - theirs)[level == i].abs().max() < 2e-5


def test_roi_align_passes_gradients_to_the_features():
    m = [x.double().requires_grad_() for x in maps(2)]
    rois, image, level = (x[:5] for x in regions(5))
    assert torch.autograd.gradcheck(lambda *m: roi_align(list(m), rois.double(), image, level, STRIDES, 2), m, fast_mode=True)


def count(owner: np.ndarray, g: int) -> np.ndarray:
    return np.bincount(owner[owner >= 0], minlength=g)


def stacked(height: int, aspect: float, side: int = 512, gap: int = 2) -> np.ndarray:
    """A page full of parallel lines."""
    width = min(side, height * aspect)
    y = np.arange(4, side - height, height + gap, dtype=np.float32)
    return np.stack([0 * y + 3, y, 0 * y + 3 + width, y + height], 1)


@pytest.mark.parametrize("height, aspect", [(8, 1), (8, 40), (12, 25), (20, 25), (12, 12), (40, 8)])
def test_every_line_gets_its_anchors(height, aspect):
    levels = bx.all_anchors(SMALL, 512, 512)
    truth = stacked(height, aspect)
    owner = assign(SMALL, levels, truth, np.zeros((0, 4)))
    assert count(owner, len(truth)).min() >= SMALL.k_min
    rng = np.random.default_rng(0)
    for _ in range(20):  # alone, anywhere
        x, y = rng.uniform(0, 300, 2)
        alone = np.array([[x, y, x + height * aspect, y + height]], np.float32)
        assert count(assign(SMALL, levels, alone, np.zeros((0, 4))), 1)[0] >= SMALL.k_min


def test_without_repair_lines_starve():
    c = replace(SMALL, anchor_scale=4.0, repair=False)
    levels, truth = bx.all_anchors(c, 512, 512), stacked(20, 40)
    assert count(assign(c, levels, truth, np.zeros((0, 4))), len(truth)).min() == 0
    c = replace(c, repair=True)
    assert count(assign(c, levels, truth, np.zeros((0, 4))), len(truth)).min() >= c.k_min


def test_assignment_at_its_ends():
    levels = bx.all_anchors(SMALL, 64, 64)
    assert (assign(SMALL, levels, np.zeros((0, 4)), np.zeros((0, 4))) == NEGATIVE).all()
    flat = assign(SMALL, levels, np.array([[20, 20, 20, 20]]), np.zeros((0, 4)))  # no side: taken as one pixel
    assert count(flat, 1)[0] >= 3
    owner = assign(SMALL, levels, np.array([[0, 0, 30, 10]]), np.array([[32, 32, 64, 64]]))
    centre = np.concatenate(levels).reshape(-1, 2, 2).mean(1)
    assert (owner[(centre >= 32).all(1)] != NEGATIVE).all() and (owner == IGNORED).any() and (owner == 0).any()
    plain = Config(**{**SMALL.to_dict(), **ARMS["plain"]})
    a = np.concatenate(bx.all_anchors(plain, 64, 64))
    owner = assign(plain, bx.all_anchors(plain, 64, 64), a[[100]], np.zeros((0, 4)))
    assert owner[100] == 0 and (owner[bx.iou(a, a[[100]])[:, 0] < 0.3] == NEGATIVE).all()
    with pytest.raises(ValueError, match="assigner"):
        assign(replace(SMALL, assigner="other"), levels, np.array([[0, 0, 9, 9]]), np.zeros((0, 4)))


def test_sizes():
    """The bundled network in float16 is under 25 MB; parameter counts of the MLP decoder as computed by hand."""
    assert sum(p.numel() for p in Mayor(SMALL).parameters()) * 2 < 25e6
    m = MaskHead(replace(SMALL, mask_reduce=32, fpn=256, mask_convs=0))
    assert sum(p.numel() for p in m.parameters()) == 256 * 32 + 32 + (32 * 196 + 1) * 512 + (512 + 1) * 784
    full = Mayor(FULL).eval()
    out = full.backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape) for m in out] == [(1, 256, 16, 24), (1, 256, 8, 12), (1, 256, 4, 6), (1, 256, 2, 3), (1, 256, 1, 2)]
    # ResNet-50 without its classifier has 23,508,032 parameters.
    assert sum(p.numel() for n in ("stem", "stages") for p in getattr(full.backbone, n).parameters()) == 23508032
    with pytest.raises(ValueError, match="unknown"):
        Config.from_dict({"width": 3})
    assert Config.from_dict(FULL.to_dict()) == FULL


def page() -> targets.Sample:
    """Two lines above each other, one to be ignored."""
    instances = np.zeros((96, 128), np.uint16)
    boxes = np.array([[10, 10, 90, 22], [10, 24, 90, 36]], np.float32)
    for i, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
        instances[y0:y1, x0:x1] = i + 1
    instances[60:70, 20:60] = targets.OUTSIDE
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return targets.Sample(picture, boxes, instances, np.array([[20, 60, 60, 70]], np.float32))


def test_a_mask_answers_for_one_line():
    s = page()
    own, other, outside = targets.mask_target(s.instances, np.array([10, 10, 90, 36], np.float32), 0, 28)
    assert own.mean() == pytest.approx(12 / 26, abs=0.03) and other.mean() == pytest.approx(12 / 26, abs=0.03)
    assert own[:10].min() == 1 and own[16:].max() == 0 and other[16:].min() == 1 and not outside.any()
    assert targets.mask_target(s.instances, np.array([20, 60, 60, 70], np.float32), 0, 28)[2].all()


def test_mask_losses_by_hand():
    counts = torch.ones(1, 28, 28)
    target = torch.zeros(1, 28, 28)
    target[:, :14] = 1
    sure = (target * 2 - 1) * 50
    for kind in ("dice", "bce", "dice+bce"):
        assert targets.mask_loss(kind, sure, target, counts).item() < 1e-6
    half = torch.zeros(1, 28, 28)
    n = 28 * 14
    dice = 1 - (2 * 0.5 * n + 1) / (0.25 * 2 * n + n + 1)
    assert targets.mask_loss("dice", half, target, counts).item() == pytest.approx(dice, rel=1e-5)
    assert targets.mask_loss("bce", half, target, counts).item() == pytest.approx(np.log(2), rel=1e-5)
    assert targets.mask_loss("dice+bce", half, target, counts).item() == pytest.approx(dice + 0.5 * np.log(2), rel=1e-5)
    # Cells that do not count change nothing.
    wrong = sure.clone()
    wrong[:, :, :5] *= -1
    some = counts.clone()
    some[:, :, :5] = 0
    assert targets.mask_loss("dice+bce", wrong, target, some).item() < 1e-6
    assert targets.mask_loss("dice", torch.zeros(0, 28, 28), torch.zeros(0, 28, 28), torch.zeros(0, 28, 28)).item() == 0


def test_flattened_levels_follow_the_anchors():
    c = Config(anchor_ratios=(0.5, 2.0))
    h, w = 3, 4
    code = torch.arange(4 * 2 * h * w).reshape(1, 8, h, w)
    out = targets.flat(code, 4)[0]
    assert len(out) == len(bx.anchors(c, 4, h, w))
    assert out[2 * (1 * w + 2) + 1].tolist() == code[0, 4:, 1, 2].tolist()


@pytest.mark.parametrize("arm", ARMS)
def test_every_parameter_learns(arm):
    torch.manual_seed(0)
    model = Mayor(replace(TINY, **ARMS[arm]))
    empty = replace(page(), boxes=np.zeros((0, 4), np.float32), instances=np.zeros((96, 128), np.uint16))
    parts, figures = targets.losses(model, [page(), empty], np.random.default_rng(0), bf16=False)
    assert set(parts) == {"rpn_cls", "rpn_reg", "box_cls", "box_reg", "mask"} and all(torch.isfinite(v) for v in parts.values())
    sum(parts.values()).backward()
    # A new block is the identity, so only its last norm learns in the first step.
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("stages" in n for n in still), still
    assert 0 < figures["positive_regions"]
    if arm != "plain" and "max" not in arm:
        assert figures["assigned"] == 1
    alone, _ = targets.losses(model, [empty], np.random.default_rng(0), bf16=False)
    assert alone["rpn_reg"].item() == 0 and alone["mask"].item() == 0 and torch.isfinite(alone["box_cls"])


def test_it_learns_a_page():
    """A few steps on one page: the losses fall to a fraction. Fails when boxes, anchors and features do not lie on each other."""
    torch.manual_seed(0)
    model = Mayor(TINY)
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
    s = page()
    s.picture[:] = 20
    s.picture[(s.instances == 1) | (s.instances == 2)] = 230
    first = last = None
    for step in range(60):
        parts, _ = targets.losses(model, [s, s], np.random.default_rng(step), bf16=False)
        total = sum(parts.values())
        opt.zero_grad()
        total.backward()
        opt.step()
        first, last = first or total.item(), total.item()
    assert last < 0.35 * first
