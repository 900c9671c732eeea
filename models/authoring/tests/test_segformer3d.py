"""The network against the golden vectors of the official modules."""

import json

import numpy as np
import pytest
import torch
from conftest import close, network
from safetensors.torch import load_file
from torch.nn import functional as F

from insula_authoring.segformer3d import Config, SegFormer3D, _DepthwiseConv3
from insula_authoring.sliding import sliding_window

SCALES = ["num_heads", "head_dim"]


def generated(name: str, seed: int, count: int) -> np.ndarray:
    """The value generator of the golden data's README: `count` float32 in [-1, 1)."""
    mask = (1 << 64) - 1
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & mask
    gold = 0x9E3779B97F4A7C15
    start = (h + seed * gold) & mask
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(gold)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["tiny", "full"])
def test_stage_by_stage(golden, name, scale):
    model, io = network(golden, name, scale), load_file(golden / name / "io.safetensors")
    with torch.no_grad():
        features = model.segformer_encoder(io["input"])
        for n, feature in enumerate(features, start=1):
            close(feature, io[f"stage{n}.{scale}"])
        if f"fused.{scale}" in io:
            close(model.segformer_decoder.fused(features), io[f"fused.{scale}"])
        close(model.lowres(io["input"]), io[f"lowres_logits.{scale}"])
        if f"logits.{scale}" in io:
            close(model(io["input"]), io[f"logits.{scale}"])


@pytest.mark.parametrize("scale", SCALES)
def test_side_that_is_no_multiple_of_32(golden, scale):
    io = load_file(golden / "tiny/edge40.safetensors")
    x = torch.from_numpy((generated("input", 11, 4 * 40**3) + np.float32(1)) * np.float32(0.5)).view(1, 4, 40, 40, 40)
    assert torch.equal(x.flatten()[:8], io["input_head"])
    assert abs(x.double().sum() - io["input_sum"][0]) < 1e-6
    model = network(golden, "tiny", scale)
    with torch.no_grad():
        features = model.segformer_encoder(x)
        for n, feature in enumerate(features, start=1):
            close(feature, io[f"stage{n}.{scale}"])
        close(model.segformer_decoder.fused(features), io[f"fused.{scale}"])
        close(model.lowres(x), io[f"lowres_logits.{scale}"])


@pytest.mark.parametrize("case", ["a", "b"])
def test_sliding_window(golden, case):
    io, model = load_file(golden / "sliding_window/cases.safetensors"), network(golden, "tiny", "head_dim")
    with torch.no_grad():
        logits = sliding_window(model, io[f"{case}.input"], (32, 32, 32))
    close(logits, io[f"{case}.logits"])
    assert torch.equal((logits.sigmoid() >= 0.5).to(torch.uint8), io[f"{case}.mask"])


def test_names_and_shapes_are_the_official_ones(golden):
    rows = json.loads((golden / "params_brats.json").read_text())["state_dict"]
    expected = {r["name"]: r["shape"] for r in rows}
    own = {k: list(v.shape) for k, v in SegFormer3D(Config()).state_dict().items()}
    assert own == expected
    assert sum(p.numel() for p in SegFormer3D(Config()).parameters()) == 4_525_251


def test_sizes_that_are_not_cubes():
    model = SegFormer3D(Config(embed_dims=[8, 16, 20, 32], decoder_head_embedding_dim=16)).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 4, 32, 44, 64)).shape == (2, 3, 32, 44, 64)
        assert model(torch.zeros(1, 4, 16, 32, 64)).shape == (1, 3, 16, 32, 64)


def test_quick_depthwise_gradient_is_the_gradient():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4, 6, 3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(5, 1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 5, 4, 6, 3, dtype=torch.float64)
    own = torch.autograd.grad((_DepthwiseConv3.apply(x, w, b) * weight).sum(), (x, w, b))
    ref = torch.autograd.grad((F.conv3d(x, w, b, padding=1, groups=5) * weight).sum(), (x, w, b))
    for p, q in zip(own, ref):
        close(p, q, 1e-12)
