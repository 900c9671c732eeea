"""The ONNX graph against the golden vectors and against the PyTorch network."""

import numpy as np
import pytest
import torch
from test_maxim import TINY16, golden, tensor  # noqa: F401 (golden is a fixture)
from conftest import close

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from insula_authoring.maxim import weights  # noqa: E402
from insula_authoring.maxim.graph import export, unused  # noqa: E402
from insula_authoring.maxim.network import Config, Maxim, variant  # noqa: E402


def run(path, x: torch.Tensor) -> torch.Tensor:
    """NHWC in and out, as the network has it."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    y = session.run(["restored"], {"image": np.ascontiguousarray(x.permute(0, 3, 1, 2).numpy())})[0]
    return torch.from_numpy(y).permute(0, 2, 3, 1)


def random_model(config: Config, seed: int) -> Maxim:
    """Every parameter random, outputs near 1 so that an absolute tolerance means something."""
    torch.manual_seed(seed)
    model = Maxim(config).eval()
    for name, p in model.named_parameters():
        p.data = 0.5 * p.data if name.endswith("kernel") else p.data + 0.1 * torch.randn_like(p)
    return model


@pytest.mark.parametrize("name, stages", [("tiny", 2), ("tiny16", 1)])
def test_golden_images(golden, tmp_path, name, stages):  # noqa: F811
    state, io = weights.load_npz(golden / name / "checkpoint.npz"), np.load(golden / name / "io.npz")
    config = weights.config_of(state)
    export(config, state, tmp_path / "m.onnx", (128, 128))
    close(run(tmp_path / "m.onnx", tensor(io["input"])), tensor(io[f"stage{stages - 1}_out2"]))
    names = {i.name for i in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert set(state) - names == unused(config)


GREY = Config(features=8, depth=2, groups=2, bottleneck_blocks=1, scales=1, tile_high=8, tile_low=4, in_channels=1,
              out_channels=1, unshuffle=2)


@pytest.mark.parametrize("config", [GREY, Config(features=4, depth=1, stages=3, groups=1, scales=1, tile_high=4, tile_low=4),
                                    Config(features=4, stages=2, scales=2, groups=1, tile_high=4, tile_low=4)])
def test_other_configurations_oblong_in_batches(tmp_path, config):
    model = random_model(config, 3)
    export(config, weights.paths(model.state_dict()), tmp_path / "m.onnx", (64, 128))
    x = torch.rand(3, 64, 128, config.in_channels)
    with torch.no_grad():
        close(run(tmp_path / "m.onnx", x), model(x), 1e-4)


def test_half_precision_kernels(tmp_path):
    model = random_model(TINY16, 4)
    state = weights.paths(model.state_dict())
    export(TINY16, state, tmp_path / "m.onnx", (64, 64), half=True)
    kinds = {i.name: i.data_type for i in onnx.load(tmp_path / "m.onnx").graph.initializer}
    half = [k for k in state if k.endswith("/kernel") and k not in unused(TINY16)]
    assert all(kinds[f"{k}.f16"] == onnx.TensorProto.FLOAT16 for k in half)
    weights.fill(model, {k: v.half().float() if k in half else v for k, v in state.items()})
    x = torch.rand(1, 64, 64, 3)
    with torch.no_grad():
        close(run(tmp_path / "m.onnx", x), model(x), 1e-4)


def test_refusals(tmp_path):
    state = weights.paths(Maxim(GREY).state_dict())
    with pytest.raises(ValueError, match="multiples of"):
        export(GREY, state, tmp_path / "m.onnx", (100, 64))
    with pytest.raises(ValueError, match="does not fit"):
        export(variant("S-1"), state, tmp_path / "m.onnx", (64, 64))
