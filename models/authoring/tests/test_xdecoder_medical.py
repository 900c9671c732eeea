"""The bundled medical network's lessons: prompts, slices, losses, calibration, evaluation, pack sources."""

import json

import numpy as np
import pytest
import torch

from insula_authoring.labels import CODE_TO_CLASS, NUM_CLASSES
from insula_authoring.synth import IGNORE, HeadMap
from insula_authoring.xdecoder import anatomy, handover, shapes, train, weights
from insula_authoring.xdecoder.answer import Answerer, Calibration, fitted, reliability
from insula_authoring.xdecoder.evaluate import PROMPTED, RealScan, evaluate
from insula_authoring.xdecoder.slices import MIRRORED, SIDE, Slices, asked, pixels
from insula_authoring.xdecoder.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def ball() -> HeadMap:
    """A made-up head: cortex round white matter, left at small W, a thalamus in each half, a brain stem below."""
    d, h, w = np.mgrid[:140, :160, :130].astype(np.float32)
    r = np.sqrt(((d - 70) / 60) ** 2 + ((h - 80) / 70) ** 2 + ((w - 65) / 55) ** 2)
    left = w < 65
    codes = np.where(r < 1, np.where(left, 3, 42), np.where(r < 1.1, 24, 0))
    codes = np.where(r < 0.85, np.where(left, 2, 41), codes)
    for side, code in ((-1, 10), (1, 49)):
        codes[(d - 70) ** 2 + (h - 80) ** 2 + (w - 65 - 15 * side) ** 2 < 144] = code
    codes[(abs(d - 25) < 12) & (abs(h - 80) < 8) & (abs(w - 65) < 8)] = 16
    return HeadMap(codes.astype(np.int16), (r.clip(1, 2) * 100 - 100).astype(np.uint8), np.array([70.0, 80.0, 65.0]))


def test_meanings():
    assert len({t.key for t in anatomy.TARGETS}) == len(anatomy.TARGETS)
    every = anatomy.BY_KEY["thalamus"].codes
    assert anatomy.BY_KEY["left thalamus"].codes | anatomy.BY_KEY["right thalamus"].codes == every == {10, 49}
    assert anatomy.BY_KEY["basal ganglia"].codes == {11, 12, 13, 26, 50, 51, 52, 58}
    assert anatomy.BY_KEY["ventricles"].codes == {4, 5, 14, 15, 43, 44}
    for t in anatomy.TARGETS:
        assert t.codes and (CODE_TO_CLASS[sorted(t.codes)] > 0).all(), t.key
    assert not set(anatomy.HELD_OUT) & set(anatomy.FOREIGN)


def test_names_mean_one_thing():
    """No name stands for two meanings of the same side."""
    seen = {}
    for t in anatomy.TARGETS:
        for name in t.names:
            assert seen.setdefault((t.sided, name), t.key) == t.key


def test_phrases_tell_the_side():
    rng = np.random.default_rng(0)
    for _ in range(300):
        said = anatomy.phrase(rng, anatomy.BY_KEY["left hippocampus"]).replace(".", " ").replace("?", " ").replace(",", " ")
        words = set(said.replace("(", " ").replace(")", " ").replace("-", " ").split())
        assert words & {"left", "l", "lt"} and not words & {"right", "r", "rt"}
        assert not set(anatomy.phrase(rng, anatomy.BY_KEY["brain stem"]).split()) & {"left", "right", "both"}


def test_slices_depend_on_seed_and_index(ball):
    a, b = Slices([ball], 3, 6).example(5), Slices([ball], 3, 6).example(5)
    assert a.prompts == b.prompts and np.array_equal(a.image, b.image) and np.array_equal(a.masks, b.masks)
    other = Slices([ball], 4, 6).example(5)
    assert not np.array_equal(a.image, other.image)


def test_slices_of_all_sizes(ball):
    for side in (SIDE, 128):
        data = Slices([ball], 0, 8, side, shapes_part=0)
        for i in range(8):
            e = data.example(i)
            assert e.image.shape == (side, side, 3) and e.masks.shape == (8, side, side) and len(e.prompts) == 8
            assert set(np.unique(e.classes)) <= {*range(NUM_CLASSES), IGNORE}
            assert e.image.max() > 150  # something is to be seen


def test_masks_are_where_left_is(ball):
    """Indices grow to the right, also after a mirror: whatever left masks there are lie at smaller columns."""
    data, compared = Slices([ball], 7, 1, shapes_part=0), 0
    for i in range(60):
        rng = np.random.default_rng(i)
        _, codes = data.slice(rng, "axial" if i % 2 else "coronal")
        left, right = pixels(codes, anatomy.BY_KEY["left thalamus"]), pixels(codes, anatomy.BY_KEY["right thalamus"])
        if left.any() and right.any():
            assert np.argwhere(left)[:, 1].mean() < np.argwhere(right)[:, 1].mean()
            compared += 1
    assert compared > 5
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(65536)) and MIRRORED[10] == 49 and MIRRORED[16] == 16


def test_prompts_are_answered_by_the_codes():
    rng, codes = np.random.default_rng(1), np.zeros((SIDE, SIDE), np.int16)
    codes[10:40, 10:40], codes[10:40, 60:90], codes[100, 100:105] = 10, 49, 16  # five pixels are neither present nor absent
    prompts, masks = asked(rng, codes, "axial", 400)
    present = masks.any((1, 2))
    assert 150 < present.sum() < 300
    for prompt, mask in zip(prompts, masks):
        assert not any(n in prompt for n in ("brain stem", "brainstem", "brain-stem", "truncus"))
        if "thalam" in prompt:
            words = prompt.replace(",", " ").replace("-", " ").replace("(", " ").replace(")", " ").replace(".", " ").split()
            one = {"left", "l", "lt"} & set(words), {"right", "r", "rt"} & set(words)
            assert mask.sum() == (1800 if bool(one[0]) == bool(one[1]) else 900), prompt
            assert not mask[100].any()
    prompts, _ = asked(rng, codes, "sagittal", 300)
    for prompt in prompts:
        if "left" in prompt and "left and right" not in prompt:
            assert any(name in prompt for name in anatomy.FOREIGN), prompt


def test_shapes():
    rng = np.random.default_rng(2)
    for _ in range(20):
        image, prompts, masks = shapes.picture(rng, 64, 8)
        assert image.shape == (64, 64, 3) and masks.shape == (8, 64, 64)
        for prompt, mask in zip(prompts, masks):
            if "most" in prompt or "furthest" in prompt or "est shape" in prompt:
                assert mask.any(), prompt


def test_sides_that_cannot_be_told_are_no_fault():
    """Where left and right are the same, naming the other side costs nothing; elsewhere it does."""
    config = train.NETWORK
    helpers = train.Helpers(config)
    with torch.no_grad():
        helpers.classes.weight.zero_()
        helpers.classes.bias.fill_(-9)
        helpers.classes.bias[6] = 9  # certain of the left thalamus
    classes = np.full((8, 8), int(CODE_TO_CLASS[49]), np.uint8)  # it is the right one
    example = lambda sided: train.Example(None, [], None, None, classes, sided)
    losses = [helpers.class_loss(torch.zeros(1, config.mask_dim, 2, 2), [example(s)]).item() for s in (True, False)]
    assert CODE_TO_CLASS[10] == 6 and losses[0] > 10 and losses[1] < 0.01


def test_a_few_steps_teach_something(ball):
    torch.manual_seed(0)
    tokenizer = train.vocabulary()
    model = train.network(tokenizer)
    helpers = train.Helpers(model.config)
    parameters = [*model.parameters(), *helpers.parameters()]
    opt = torch.optim.AdamW(parameters, lr=2e-3)
    examples = [Slices([ball], 0, 6, 64, shapes_part=0).example(i) for i in range(2)]
    losses = []
    for _ in range(12):
        found = train.loss_of(model, helpers, tokenizer, examples)
        opt.zero_grad()
        found["loss"].backward()
        opt.step()
        losses.append(found["loss"].item())
    assert np.mean(losses[-3:]) < 0.6 * losses[0]


def test_calibration():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, 20000)
    present = rng.uniform(size=len(x)) < 1 / (1 + np.exp(-(1.5 * x - 2)))
    found = fitted(x, present)
    assert abs(found.slope - 1.5) < 0.1 and abs(found.offset + 2) < 0.15
    p = found.probability(x)
    assert abs((p[~present] < found.threshold).mean() - 0.95) < 0.005
    for count, said, true in reliability(p, present):
        assert count < 300 or abs(said - true) < 0.05


def test_pack_sources(tmp_path, monkeypatch):
    tomllib = pytest.importorskip("tomllib")
    tokenizer = train.vocabulary()
    model = train.network(tokenizer)
    run, out = tmp_path / "run", tmp_path / "recipe"
    run.mkdir()
    tokenizer.save(run / "vocabulary.txt")
    torch.save({"ema": model.state_dict(), "config": model.config.to_dict()}, run / "checkpoint.pt")
    arguments = ["handover", str(run / "checkpoint.pt"), str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        handover.main()
    (run / "calibration.json").write_text(json.dumps({"calibration": {"slope": 1.25, "offset": -0.5, "threshold": 0.4}}))
    handover.main()
    preset = tomllib.loads((out / "preset.toml").read_text())
    assert preset["output"]["present"]["slope"] == 1.25 and preset["network"]["queries"] == train.NETWORK.queries
    assert "left hippocampus" in preset["output"]["suggestions"]
    assert Tokenizer.load(out / "vocabulary.txt").symbols == tokenizer.symbols
    assert (out / "weights.safetensors").stat().st_size < 25e6
    again = Answerer(weights.restore(out / "weights.safetensors"), tokenizer, Calibration(threshold=1.1))
    again.look(np.zeros((64, 64, 3), np.uint8))
    p, masks = again.found(["left hippocampus", "liver"])
    assert p.shape == (2,) and masks.shape == (2, 64, 64) and not masks.any()


class Oracle:
    """Answers from the codes of the slice that was cut last; `flips` sides if told to."""

    calibration = Calibration()

    def __init__(self, scan, flips: bool = False):
        self.flips, self.cut = flips, scan.slice
        scan.slice = self.slice

    def slice(self, *where):
        image, self.codes = self.cut(*where)
        return image, self.codes

    def look(self, image):
        assert image.shape == (SIDE, SIDE, 3)

    def found(self, prompts):
        known = [anatomy.BY_KEY.get(p) for p in prompts]
        if self.flips:
            known = [anatomy.BY_KEY[t.key.replace("left", "right")] if t and t.sided == "left" else t for t in known]
        masks = np.stack([pixels(self.codes, t) if t else np.zeros(self.codes.shape, bool) for t in known])
        return masks.any((1, 2)).astype(float), masks


def test_evaluation_on_the_real_scan(shared):
    """One who knows gets full marks; one who takes left for right none for the sides."""
    found = evaluate(Oracle(scan := RealScan(shared)), scan, 30.0)
    assert found["mean_ciou"] == found["mean_ciou_left"] == found["refused_absent"] == found["found_present"] == 1
    assert set(found["ciou"]) == set(PROMPTED) and len(PROMPTED) == 10 and found["prompts"]["absent"] > 100
    found = evaluate(Oracle(scan := RealScan(shared), flips=True), scan, 30.0)
    assert found["mean_ciou"] == 1 and found["mean_ciou_left"] == 0
