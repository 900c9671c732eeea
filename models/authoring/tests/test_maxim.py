"""MAXIM against the golden vectors of the official module and program."""

import json

import numpy as np
import pytest
import torch
from conftest import close
from test_segformer3d import generated

from insula_authoring.maxim import weights
from insula_authoring.maxim.network import Config, Maxim, depth_to_space, resize, space_to_depth, variant
from insula_authoring.maxim.picture import eight_bit, padded, restored

TINY = Config(features=4, stages=2, tile_high=8, tile_low=4)
TINY16 = Config(features=4, groups=1, bottleneck_blocks=1)
COUNTS = {"S-1": (6_139_561, 766), "S-2": (14_176_178, 1760), "S-3": (22_212_795, 2754),
          "M-1": (19_464_265, 766), "M-2": (43_227_986, 1760), "M-3": (66_991_707, 2754)}


@pytest.fixture(scope="module")
def golden(shared):
    return shared / "golden/maxim"


def tensor(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(a))


def compare_stages(model: Maxim, io) -> None:
    with torch.no_grad():
        stages = model.stages(tensor(io["input"]))
    seen = 0
    for s, images in enumerate(stages):
        for k, image in enumerate(images):
            close(image, tensor(io[f"stage{s}_out{k}"]))
            seen += 1
    assert seen == sum(k.startswith("stage") and not k.endswith("_f64") for k in io.files)
    last = f"stage{len(stages) - 1}_out{len(stages[-1]) - 1}_f64"
    close(stages[-1][-1].double(), tensor(io[last]))


@pytest.mark.parametrize("name, config", [("tiny", TINY), ("tiny16", TINY16)])
def test_outputs_of_every_stage_and_scale(golden, name, config):
    state = weights.load_npz(golden / name / "checkpoint.npz")
    assert weights.config_of(state).to_dict() == config.to_dict()
    compare_stages(weights.fill(Maxim(config), state), np.load(golden / name / "io.npz"))


@pytest.mark.parametrize("name", ["S-2", "S-3"])
def test_real_configurations_with_generated_parameters(golden, name):
    short = name.replace("-", "")
    meta = json.loads((golden / f"procedural/{short}_config.json").read_text())["procedural"]
    rows = json.loads((golden / f"params_{short}.json").read_text())["tensors"]
    state = {}
    for row in rows:
        shape = row["shape"]
        r = generated(row["name"], meta["seed"], int(np.prod(shape))).reshape(shape)
        leaf = row["name"].split("/")[-1]
        if leaf == "kernel":
            r = np.float32(meta["kernel_gain"] * np.sqrt(3 / np.prod(shape[:-1]))) * r
        elif leaf == "scale":
            r = np.float32(1) + np.float32(0.5) * r
        else:
            r = np.float32(0.25) * r
        state[row["name"]] = tensor(r)
    assert weights.config_of(state).to_dict() == variant(name).to_dict()
    compare_stages(weights.fill(Maxim(variant(name)), state), np.load(golden / f"procedural/{short}_64x64.npz"))


def test_every_module(golden):
    """Each module's output in the official run, by windows and sums: says where, should the whole be wrong."""
    model, found = weights.restore(golden / "tiny/checkpoint.npz"), {}

    def keep(name):
        def hook(_, __, out):
            for n, o in enumerate(out if isinstance(out, tuple) else [out]):
                found[f"{name}#{n}" if isinstance(out, tuple) else name] = o

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name.replace(".", "/")))
    truth, io = np.load(golden / "tiny/intermediates.npz"), np.load(golden / "tiny/io.npz")
    with torch.no_grad():
        model(tensor(io["input"]))
    compared = 0
    for name in (k.removesuffix(":crop") for k in truth.files if k.endswith(":crop")):
        if "Dropout" in name:
            continue  # the identity; ours has no such module
        o, crop = found[name], tensor(truth[f"{name}:crop"])
        if tuple(truth[f"{name}:shape"]) != tuple(o.shape):
            assert "UpSampleRatio" in name and name.endswith("/Conv_0"), name  # ours convolves before enlarging
            continue
        top, left = (4 if n >= 12 else 0 for n in o.shape[1:3])
        close(o[0, top:top + crop.shape[0], left:left + crop.shape[1]], crop)
        sums = truth[f"{name}:sums"]
        assert abs(o.double().sum() - sums[0]) <= 5e-6 * o.numel(), name
        assert abs(o.double().abs().sum() - sums[1]) <= 5e-6 * o.numel(), name
        compared += 1
    assert compared == 294


@pytest.mark.parametrize("name", list(COUNTS))
def test_parameters_of_the_variants(name):
    with torch.device("meta"):
        state = Maxim(variant(name)).state_dict()
    assert (sum(v.numel() for v in state.values()), len(state)) == COUNTS[name]


@pytest.mark.parametrize("name", ["S-2", "S-3"])
def test_names_and_shapes_are_the_official_ones(golden, name):
    rows = json.loads((golden / f"params_{name.replace('-', '')}.json").read_text())["tensors"]
    with torch.device("meta"):
        state = weights.paths(Maxim(variant(name)).state_dict())
    assert {k: list(v.shape) for k, v in state.items()} == {r["name"]: r["shape"] for r in rows}


def test_pictures_of_odd_sizes(golden):
    model, cases = weights.restore(golden / "tiny/checkpoint.npz"), np.load(golden / "tiny/pad_cases.npz")
    sizes = [k.removesuffix("_image") for k in cases.files if k.endswith("_image")]
    assert len(sizes) == 5
    for size in sizes:
        image = cases[f"{size}_image"].astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(padded(image), cases[f"{size}_padded"].reshape(padded(image).shape))
        out = restored(model, image)
        close(tensor(out), tensor(cases[f"{size}_pred"].reshape(out.shape)))
        difference = np.abs(eight_bit(out).astype(int) - cases[f"{size}_png"])
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_picture_file_end_to_end(golden):
    image = pytest.importorskip("PIL.Image")
    model = weights.restore(golden / "tiny/checkpoint.npz")
    x = np.asarray(image.open(golden / "tiny/e2e_input.png").convert("RGB"), np.float32) / np.float32(255)
    truth = np.asarray(image.open(golden / "tiny/e2e_output.png")).astype(int)
    difference = np.abs(eight_bit(restored(model, x)) - truth)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_shrinking_weights():
    """(1, 3, 3, 1) / 8 inside, (3, 3, 1) / 7 at the border; by four, (1, 3, 5, 7, 7, 5, 3, 1) / 32."""
    unit = torch.eye(16, dtype=torch.float64).view(16, 16, 1, 1).expand(16, 16, 4, 1)
    half = resize(unit, 0.5)[:, :, 0, 0].t()
    close(half[0, :4], torch.tensor([3, 3, 1, 0], dtype=torch.float64) / 7, 1e-7)
    close(half[3, 5:9], torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8, 1e-7)
    quarter = resize(unit, 0.25)[:, :, 0, 0].t()
    close(quarter[1, 2:10], torch.tensor([1, 3, 5, 7, 7, 5, 3, 1], dtype=torch.float64) / 32, 1e-7)


def test_phases_go_back():
    x = torch.rand(2, 6, 8, 3)
    y = space_to_depth(x, 2)
    assert torch.equal(y[1, 2, 3, 2 * 3:3 * 3], x[1, 5, 6]) and torch.equal(depth_to_space(y, 2), x)


def test_small_grey_network():
    config = Config(features=8, depth=2, groups=1, bottleneck_blocks=1, scales=1, tile_high=8, tile_low=8,
                    in_channels=1, out_channels=1, unshuffle=2)
    model = Maxim(config).eval()
    assert config.multiple == 64
    assert weights.config_of(weights.paths(model.state_dict()), unshuffle=2).to_dict() == config.to_dict()
    x = torch.rand(2, 128, 64, 1)
    with torch.no_grad():
        assert model(x).shape == x.shape
        with pytest.raises(ValueError, match="multiples of 64"):
            model(x[:, :100])


def test_checkpoints_that_do_not_fit(golden, tmp_path):
    state = weights.load_npz(golden / "tiny16/checkpoint.npz")
    with pytest.raises(ValueError, match="missing .*SplitHeadMultiAxisGmlpLayer_1"):
        weights.fill(Maxim(Config(features=4, bottleneck_blocks=1)), state)
    with pytest.raises(ValueError, match=r"found \[3, 3, 3, 4\], expected \[3, 3, 3, 8\]"):
        weights.fill(Maxim(Config(features=8, groups=1, bottleneck_blocks=1)), state)
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    with pytest.raises(ValueError, match="opt/target"):
        weights.load_npz(tmp_path / "other.npz")


def test_written_checkpoint_reads_back(tmp_path):
    torch.manual_seed(1)
    model = Maxim(TINY16)
    state = weights.paths(model.state_dict())
    weights.save_npz(state, tmp_path / "c.npz")
    weights.save_safetensors(state, tmp_path / "c.safetensors")
    weights.save_safetensors({}, tmp_path / "phases.safetensors", unshuffle=2)
    assert weights.load(tmp_path / "phases.safetensors") == ({}, 2)
    for name, tolerance in (("c.npz", 0.0), ("c.safetensors", 1e-3)):
        back = weights.paths(weights.restore(tmp_path / name).state_dict())
        assert back.keys() == state.keys()
        assert all((back[k] - v).abs().max() <= tolerance * max(1.0, v.abs().max()) for k, v in state.items())


def test_the_fixture_of_the_rust_test_is_still_what_this_network_answers(tmp_path, monkeypatch):
    from pathlib import Path

    from insula_authoring.maxim import fixture

    monkeypatch.setattr("sys.argv", ["fixture", str(tmp_path / "again.npz")])
    fixture.main()
    stored = np.load(Path(__file__).resolve().parents[2] / "tests/fixtures/maxim_unshuffle.npz")
    again = np.load(tmp_path / "again.npz")
    assert sorted(stored.files) == sorted(again.files)
    for name in stored.files:
        np.testing.assert_allclose(again[name], stored[name], atol=2e-5)
