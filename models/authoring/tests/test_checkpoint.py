import pytest
import torch
from conftest import network
from safetensors.torch import load_file

from insula_authoring import checkpoint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "module_prefix.bin", "wrapped.pth.tar"])
def test_formats_of_official_checkpoints(golden, name):
    state = checkpoint.load(golden / "checkpoint_formats" / name)
    expected = load_file(golden / "tiny/weights.safetensors")
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[k], expected[k]) for k in expected)


def test_foreign_files_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not a SegFormer3D checkpoint"):
        checkpoint.load(tmp_path / "other.pt")


def test_saved_weights_come_back(golden, tmp_path):
    state = network(golden, "tiny", "head_dim").state_dict()
    checkpoint.save_safetensors(state, tmp_path / "w.safetensors", half=False)
    again = checkpoint.load(tmp_path / "w.safetensors")
    assert set(again) == {k for k in state if not k.endswith("num_batches_tracked")}
    assert all(torch.equal(again[k], state[k]) for k in again)
    checkpoint.save_safetensors(state, tmp_path / "w.safetensors")
    assert all(v.dtype == torch.float16 for v in checkpoint.load(tmp_path / "w.safetensors").values())
