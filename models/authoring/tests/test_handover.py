import pytest

from insula_authoring.handover import preset
from insula_authoring.labels import CLASSES, CODE_TO_CLASS
from insula_authoring.synth import Setup
from insula_authoring.train import NETWORK

tomllib = pytest.importorskip("tomllib")


def test_preset_says_what_was_trained():
    setup = Setup()
    p = tomllib.loads(preset(NETWORK.to_dict(), vars(setup)))
    assert p["input"]["spacing_mm"] == [setup.spacing] * 3 and p["tiles"]["patch"] == list(setup.size)
    assert p["network"] == NETWORK.to_dict()
    codes = p["output"]["classes"]
    assert len(codes) == NETWORK.num_classes and [CODE_TO_CLASS[c] for c in codes] == list(range(len(CLASSES)))
    assert sorted(label["id"] for label in p["label"]) == sorted(codes[1:])
    assert set(p["post"]["keep_largest"]) <= set(codes)
