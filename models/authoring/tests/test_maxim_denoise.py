"""Noise, patches and tiles of maxim-denoise."""

import sys

import numpy as np
import pytest
import torch

from insula_authoring.maxim import handover, train, weights
from insula_authoring.maxim.data import Pairs, gaussian, poisson_gaussian, rician
from insula_authoring.maxim.network import Config, Maxim
from insula_authoring.maxim.tiles import starts, tiled
from insula_authoring.maxim.train import NETWORK, learning_rate

FLAT = np.full((400, 400), 0.4, np.float32)


def test_noise_has_its_moments():
    rng = np.random.default_rng(0)
    g = gaussian(rng, FLAT, 0.1)
    assert abs(g.mean() - 0.4) < 1e-3 and abs(g.std() - 0.1) < 1e-3
    # Counts: variance = mean / peak; the electronics' variance adds.
    p = poisson_gaussian(rng, FLAT, 50, 0.05)
    assert abs(p.mean() - 0.4) < 1e-3 and abs(p.var() - (0.4 / 50 + 0.05**2)) < 2e-4
    # Rician: second moment x² + 2 sigma²; over nothing it is Rayleigh, mean sigma sqrt(pi / 2).
    r = rician(rng, FLAT, 0.2)
    assert abs((r.astype(np.float64) ** 2).mean() - (0.16 + 2 * 0.04)) < 1e-3
    assert abs(rician(rng, 0 * FLAT, 0.2).mean() - 0.2 * np.sqrt(np.pi / 2)) < 1e-3


def test_samples_depend_on_the_index_alone():
    rng = np.random.default_rng(1)
    natural = [rng.integers(0, 256, (80, 70), np.uint8) for _ in range(3)]
    pairs = Pairs(natural, natural[:1], seed=5)
    a, again, other = pairs.batch(7, 3, 64), pairs.batch(7, 3, 64), pairs.batch(8, 3, 64)
    assert all(np.array_equal(x, y) for x, y in zip(a, again)) and not np.array_equal(a[1], other[1])
    noisy, clean = Pairs(natural, [], seed=5, sigma=0.1).batch(0, 40, 64)
    assert clean.min() >= 0 and clean.max() <= 1 and abs((noisy - clean).std() - 0.1) < 2e-3


def test_tiles_cover_and_blend():
    for length in (128, 129, 200, 511, 1000):
        s = starts(length, 128, 32)
        assert s[0] == 0 and s[-1] + 128 == length
        assert all(b - a <= 96 for a, b in zip(s, s[1:]))
    torch.manual_seed(0)
    model = Maxim(Config(features=4, depth=1, groups=1, bottleneck_blocks=1, scales=1, tile_high=4, tile_low=4,
                         in_channels=1, out_channels=1, unshuffle=2)).eval()
    torch.nn.init.zeros_(model.stage_0_output_conv_0.kernel)  # the identity
    x = np.random.default_rng(2).random((300, 100), np.float32)
    np.testing.assert_allclose(tiled(model, x), x, atol=1e-6)


def test_learning_rate_rises_stays_and_falls():
    from argparse import Namespace

    a = Namespace(lr=1e-3, lr_end=1e-5, decay=0.25, warmup=100)
    assert learning_rate(a, 0, 0.0) == pytest.approx(1e-5)
    assert learning_rate(a, 500, 0.5) == learning_rate(a, 900, 0.75) == pytest.approx(1e-3)
    assert 1e-5 < learning_rate(a, 1000, 0.9) < 1e-3 and learning_rate(a, 1000, 1.0) == pytest.approx(1e-5)


def test_handover_keeps_the_network(tmp_path, monkeypatch):
    tomllib = pytest.importorskip("tomllib")
    torch.manual_seed(1)
    model = Maxim(NETWORK)
    model.stage_0_output_conv_0.kernel.data *= 0.1
    torch.save({"ema": model.state_dict(), "config": NETWORK.to_dict()}, tmp_path / "checkpoint.pt")
    (tmp_path / "log.jsonl").write_text("{}\n")
    monkeypatch.setattr(sys, "argv", ["handover", str(tmp_path / "checkpoint.pt"), str(tmp_path / "recipe")])
    handover.main()
    assert (tmp_path / "recipe/training-log.jsonl").read_text() == "{}\n"
    network = tomllib.loads((tmp_path / "recipe/preset.toml").read_text())["network"]
    assert network["unshuffle"] == NETWORK.unshuffle and network["features"] == NETWORK.features
    back = weights.restore(tmp_path / "recipe/weights.safetensors")
    x = torch.rand(1, 128, 128, 1)
    with torch.no_grad():
        difference = (back(x) - model.eval()(x)).abs().max()
    assert 0 < difference < 0.05  # 16-bit weights


def test_training_learns_and_resumes(shared, tmp_path, monkeypatch):
    import json

    monkeypatch.setenv("INSULA_SHARED", str(shared))
    small = Config(features=8, depth=1, groups=1, bottleneck_blocks=1, scales=1, tile_high=4, tile_low=4, in_channels=1,
                   out_channels=1, unshuffle=2)
    monkeypatch.setattr(train, "NETWORK", small)
    monkeypatch.setattr(train, "PATCHES", ((4, 32),))

    def run(*more: str) -> list[dict]:
        monkeypatch.setattr(sys, "argv", ["train", "--out", str(tmp_path), "--minutes", "0.1", "--sigma", "50", "--workers",
                                          "1", "--warmup", "1", "--lr", "5e-3", *more])
        train.main()
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    first = run()[-1]
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert first["finished"] and saved["state"]["step"] == first["step"] > 3
    assert first["held_out_50"] > 14.5  # noise alone: 14.2 before clipping
    last = run("--resume")[-1]
    assert last["step"] > first["step"] and last["minutes"] > first["minutes"]
    assert last["held_out_50"] > first["held_out_50"]
    with pytest.raises(SystemExit):
        run()  # would overwrite
