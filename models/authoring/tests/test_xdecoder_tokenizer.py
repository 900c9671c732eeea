"""The tokenizer against the official program's ids: golden cases, and 251 awkward strings over CLIP's vocabulary and ours."""

import json
import os
from pathlib import Path

import pytest

from insula_authoring.xdecoder.tokenizer import Tokenizer, learn
from insula_authoring.xdecoder.train import vocabulary

CASES = Path(__file__).resolve().parents[2] / "tests/fixtures/xdecoder"


@pytest.fixture(scope="module")
def clip():
    """CLIP's file of merges is no part of the project: INSULA_CLIP_MERGES tells where it is."""
    path = os.environ.get("INSULA_CLIP_MERGES")
    if not path:
        pytest.skip("set INSULA_CLIP_MERGES to bpe_simple_vocab_16e6.txt.gz")
    return Tokenizer.load(path)


def test_awkward_strings(clip):
    cases = json.loads((CASES / "clip_tokens.json").read_text())
    assert len(cases) >= 200 and len(clip.symbols) == 49408
    assert [c["text"] for c in cases if clip.encode(c["text"]) != c["ids"]] == []


def test_golden_cases(clip, shared):
    tiny = shared / "golden/xdecoder/tiny"
    cases = json.loads((tiny / "tokenizer_cases.json").read_text())
    assert [c["text"] for c in cases if clip.encode(c["text"]) != c["ids"]] == []
    caption = json.loads((tiny / "captioning.json").read_text())
    assert clip.decode(caption["tokens"][:13]) == caption["captioning_text"]


def test_small_vocabulary(tmp_path):
    texts = ["left hippocampus", "right hippocampus", "left thalamus", "the left one"]
    t = learn(texts, 200)
    t.save(tmp_path / "merges.txt")
    again = Tokenizer.load(tmp_path / "merges.txt")
    assert again.symbols == t.symbols
    assert again.encode("left Hippocampus") == [t.start, t.ids["left</w>"], t.ids["hippocampus</w>"], t.end]
    assert again.decode(again.encode("café, 12 🧠")) == "café , 1 2 🧠"
    assert len(again.encode("left " * 50, 16)) == 16 and again.encode("", 16) == [t.start, t.end]
    (tmp_path / "wrong.txt").write_text("# one\na b c\n")
    with pytest.raises(ValueError, match="two symbols a line"):
        Tokenizer.load(tmp_path / "wrong.txt")


def test_awkward_strings_over_our_vocabulary():
    cases = json.loads((CASES / "medical_tokens.json").read_text())
    t = Tokenizer.load(CASES.parents[2] / "authoring/recipes/xdecoder-medical/vocabulary.txt")
    assert len(cases) >= 200 and [c["text"] for c in cases if t.encode(c["text"]) != c["ids"]] == []
    assert t.symbols == vocabulary().symbols
