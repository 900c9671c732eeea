import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from insula_authoring.segformer3d import Config, SegFormer3D

TOLERANCE = 5e-5  # absolute, on logits and stage outputs: above float32 noise, below any defect


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data of INSULA_SHARED, default ../shared beside the repository; tests that need it are skipped without."""
    root = Path(__file__).resolve().parents[3]
    path = Path(os.environ.get("INSULA_SHARED", root.parent / "shared")).resolve()
    if not path.exists():
        pytest.skip(f"no {path}: set INSULA_SHARED")
    return path


@pytest.fixture(scope="session")
def golden(shared) -> Path:
    return shared / "golden/segformer3d"


def network(golden: Path, name: str, scale: str) -> SegFormer3D:
    values = json.loads((golden / name / "config.json").read_text())["model_parameters"]
    values.pop("decoder_dropout")
    model = SegFormer3D(Config(**values, attention_scale=scale))
    model.load_state_dict(load_file(golden / name / "weights.safetensors"))
    return model.eval()


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max().item() <= tolerance
