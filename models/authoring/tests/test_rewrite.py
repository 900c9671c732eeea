import numpy as np
import pytest
import torch
from conftest import close, network
from safetensors.torch import load_file

from insula_authoring.export import export, prepared
from insula_authoring.rewrite import rewrite


@pytest.mark.parametrize("scale", ["num_heads", "head_dim"])
@pytest.mark.parametrize("name", ["tiny", "full"])
def test_rewritten_network_says_the_same(golden, name, scale):
    model, io = network(golden, name, scale), load_file(golden / name / "io.safetensors")
    with torch.no_grad():
        for other in (rewrite(model), prepared(model)):
            close(other.lowres(io["input"]), io[f"lowres_logits.{scale}"])


def test_rewrites_are_exact_in_float64(golden):
    model = network(golden, "tiny", "num_heads").double()
    x = torch.rand(1, 4, 32, 40, 36, dtype=torch.float64)
    with torch.no_grad():
        # Folded weights are stored as float32, hence the tolerance.
        close(rewrite(model).double()(x), model(x), 5e-6)


def test_onnx_at_other_sizes_and_batch(golden, tmp_path):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, io = network(golden, "tiny", "head_dim"), load_file(golden / "tiny/io.safetensors")
    path = tmp_path / "tiny.onnx"
    export(model, path)
    graph = onnx.load(path)
    names = {i.name for i in graph.graph.initializer}
    assert "segformer_decoder.linear_pred.weight" in names and "segformer_encoder.embed_1.norm.weight" in names
    assert not any(n.op_type == "BatchNormalization" for n in graph.graph.node)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = io["input"].numpy()
    logits = session.run(None, {"image": np.concatenate([x, x])})[0]
    for half in logits:
        close(torch.from_numpy(half[None]), io["logits.head_dim"])
    other = torch.rand(2, 4, 48, 32, 64)
    with torch.no_grad():
        close(torch.from_numpy(session.run(None, {"image": other.numpy()})[0]), model(other))
