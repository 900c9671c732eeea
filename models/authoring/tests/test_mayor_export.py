"""The three ONNX graphs beside PyTorch, and the stored cases of the glue."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from insula_authoring.mayor import fixtures, glue
from insula_authoring.mayor.config import TINY, Config
from insula_authoring.mayor.detect import MAPS, OnnxNet, TorchNet
from insula_authoring.mayor.network import Mayor

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from insula_authoring.mayor.export import export  # noqa: E402

STORED = Path(__file__).resolve().parents[2] / "tests/fixtures/mayor"
CASES = ("empty", "one_line", "dense", "extreme_aspect", "edge", "turned")


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    torch.manual_seed(4)
    model = Mayor(TINY).eval()
    for m in model.modules():  # norms that are not the identity
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.running_mean, std=0.3)
            torch.nn.init.uniform_(m.running_var, 0.5, 2)
    folder = tmp_path_factory.mktemp("graphs")
    export(model, folder)
    return TorchNet(model), OnnxNet(folder, TINY), folder


def test_graphs_agree_for_any_size_and_count(nets):
    ours, theirs, folder = nets
    rng = np.random.default_rng(0)
    for h, w in ((64, 96), (160, 32), (224, 352)):
        x = rng.uniform(0, 255, (1, 3, h, w)).astype(np.float32)
        a, b = ours.a(x), theirs.a(x)
        for p, q in zip([m.numpy() for m in a[0][:4]] + a[1] + a[2], [*b[0].values(), *b[1], *b[2]]):
            assert p.squeeze().shape == q.squeeze().shape
            np.testing.assert_allclose(p.squeeze(), q.squeeze(), atol=2e-4)
        maps = {m: t.numpy() for m, t in zip(MAPS, a[0])}
        start = rng.uniform(0, 1, (30, 2)) * (w, h)
        rois = np.concatenate([start, start + rng.uniform(0, 1, (30, 2)) ** 2 * 400], 1).astype(np.float32)
        for n in (30, 1, 0):
            for p, q in zip((*ours.b(a[0], rois[:n]), ours.c(a[0], rois[:n])), (*theirs.b(maps, rois[:n]), theirs.c(maps, rois[:n]))):
                assert p.shape == q.shape and len(p) == n
                np.testing.assert_allclose(p, q, atol=1e-5)


def test_half_precision_weights(nets, tmp_path):
    ours, theirs, folder = nets
    export(ours.model, tmp_path, half=True)
    assert (tmp_path / "boxes.onnx").stat().st_size < 0.6 * (folder / "boxes.onnx").stat().st_size
    x = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    a, b = theirs.a(x), OnnxNet(tmp_path, TINY).a(x)
    scale = max(abs(v).max() for v in a[1])
    assert 0 < max(abs(p - q).max() for p, q in zip(a[1], b[1])) < 0.02 * scale


def test_facts_name_their_files(nets):
    folder = nets[2]
    facts = json.loads((folder / "mayor.json").read_text())
    assert {k: hashlib.sha256((folder / k).read_bytes()).hexdigest() for k in ("backbone.onnx", "boxes.onnx", "masks.onnx")} == facts["sha256"]
    assert facts["strides"] == [4, 8, 16, 32, 64] and facts["delta_stds_box"] == [0.1, 0.1, 0.2, 0.2] and facts["mask_side"] == 28


@pytest.fixture(scope="module")
def stored_graphs(tmp_path_factory):
    """The graphs of the stored network."""
    model = Mayor(Config.from_dict(json.loads((STORED / "cases.json").read_text())["config"])).eval()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(STORED / "weights.safetensors").items()}, strict=False)
    folder = tmp_path_factory.mktemp("stored")
    export(model, folder)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_stored_cases(name, stored_graphs):
    """ONNX Runtime and the glue, from the stored picture to the stored polygons (which PyTorch made)."""
    facts = json.loads((STORED / "cases.json").read_text())
    stored, lines = load_file(STORED / f"{name}.safetensors"), facts["cases"][name]["lines"]
    s = glue.Settings(**facts["settings"])
    arrays, found = fixtures.run(OnnxNet(stored_graphs, Config.from_dict(facts["config"])), stored["picture"], s)
    assert set(arrays) == set(stored)
    for k, v in arrays.items():
        assert v.shape == stored[k].shape, k
        if v.size:
            limit = {"proposals": 0.05, "boxes": 0.05, "grown": 0.05}.get(k, 1e-4 if k in ("masks", "scores", "roi_scores") else 1e-3)
            # Proposals under all thresholds may change places where their logits are equal to the last digit.
            if k not in ("proposals", "roi_scores", "roi_deltas"):
                assert abs(v.astype(np.float64) - stored[k]).max() <= limit, k
    again = fixtures.described(found, *stored["picture"].shape[:2])
    assert len(again) == len(lines)
    assert (len(lines) == 0) == (name == "empty")
    for a, b in zip(again, lines):
        assert a["outline"] == [tuple(p) for p in b["outline"]] and a["polygon"] == [tuple(p) for p in b["polygon"]]
        np.testing.assert_allclose(a["rectangle"], b["rectangle"], atol=1e-6)
        assert abs(a["score"] - b["score"]) < 1e-4 and a["blanked"] == b["blanked"]


def test_handed_over_weights_make_the_network_again(nets):
    import tomllib

    from insula_authoring.mayor import handover

    model = nets[0].model
    values = tomllib.loads(handover.preset(model.config))
    again = Mayor(Config.from_dict(values["network"])).eval()
    left = again.load_state_dict({k: v.float() for k, v in handover.half(model).items()}, strict=False)
    assert not left.unexpected_keys and all(k.endswith("num_batches_tracked") for k in left.missing_keys)
    x = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        a, b = model.rpn(model.backbone(x))[0], again.rpn(again.backbone(x))[0]
    assert max((p - q).abs().max().item() for p, q in zip(a, b)) < 0.02 * max(p.abs().max().item() for p in a)
    s, output = glue.Settings(), values["output"]
    assert all(output[k] == getattr(s, k) for k in ("score", "proposals", "detections")) and output["redact_score"] == 0.25
