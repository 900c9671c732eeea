"""The generator of text pictures. Needs fonts of Debian packages and the shared pictures; skips without."""

import numpy as np
import pytest

pytest.importorskip("PIL")
from insula_authoring.mayor import data, fonts, score, words  # noqa: E402
from insula_authoring.mayor.backgrounds import Pictures  # noqa: E402
from insula_authoring.mayor.canvas import Canvas, _into_strip, _outline, strip  # noqa: E402
from insula_authoring.mayor.evaluate import aspect, icdar_truth  # noqa: E402
from insula_authoring.mayor.scenes import KINDS, Generator  # noqa: E402
from insula_authoring.mayor.targets import OUTSIDE  # noqa: E402


@pytest.fixture(scope="module")
def faces():
    try:
        return fonts.find(False)
    except FileNotFoundError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def generator(faces):
    """Without the shared pictures: their place is taken by black and by clutter."""
    g = Generator.__new__(Generator)
    g.pictures, g.families, g.seed, g.held_out = Pictures([], []), faces, 7, False
    return g


def test_fonts_are_kept_apart(faces):
    names = lambda families: {f.path for family in families for f in family}
    try:
        unseen = names(fonts.find(True))
    except FileNotFoundError as e:
        pytest.skip(str(e))
    assert unseen and not unseen & names(faces)
    assert all(f.licence and f.package for f in fonts.FAMILIES)


def test_a_scene_depends_on_its_index_alone(generator):
    for kind in KINDS:
        a, b, c = (generator.scene(i, 160, 200, kind) for i in (5, 5, 6))
        assert np.array_equal(a.picture, b.picture) and np.array_equal(a.instances, b.instances)
        assert not np.array_equal(a.picture, c.picture)
        assert a.picture.shape == (160, 200, 3) and a.picture.dtype == np.uint8


def test_letters_lie_in_their_lines(generator):
    ink = lines = 0
    for i in range(24):
        s = generator.scene(i, 256, 256, ("dense", "medical", "scattered")[i % 3])
        assert not (s.ink & (s.instances == 0)).any()
        assert s.instances.max() <= len(s.polygons) == len(s.ignored)
        again = score.instances(s.polygons, 256, 256)
        for g in range(len(s.polygons)):  # the polygon is the line's outline, also of turned and bent ones
            a, b = s.instances == g + 1, again == g + 1
            if a.sum() > 150:
                assert (a & b).sum() / (a | b).sum() > 0.8
                lines += 1
        ink += s.ink.sum()
    assert lines > 100 and ink > 1000
    for i in range(6):
        s = generator.scene(i, 128, 128, "empty")
        assert not s.polygons and not s.ink.any()


def test_bent_lines_go_there_and_back():
    for bend in (0.0, 1.2, -2.0):
        w, h, centre, angle = 120, 20, (100.0, 80.0), 0.4
        p = _outline(w, h, centre, angle, bend)
        u, v = _into_strip(p[:, 0], p[:, 1], w, h, centre, angle, bend)
        k = len(p) // 2
        np.testing.assert_allclose(v[:k], -1, atol=1e-4)
        np.testing.assert_allclose(v[k:], h + 1, atol=1e-4)
        np.testing.assert_allclose([u[0], u[k - 1]], [-1, w + 1], atol=1e-4)


def test_text_keeps_its_distance(faces):
    canvas = Canvas(np.zeros((60, 200, 3), np.float32))
    s = strip(faces[0][0], 16, "word")
    assert canvas.write(s, (50, 30), (255, 255, 255))
    before = canvas.picture.copy()
    assert not canvas.write(s, (55, 32), (255, 0, 0)) and np.array_equal(before, canvas.picture)
    assert not canvas.write(s, (500, 32), (255, 0, 0))  # outside
    assert canvas.write(s, (150, 30), (255, 255, 255), angle=0.3, bend=0.5)
    assert strip(faces[0][0], 16, " ") is None


def test_samples_hold_what_is_seen(generator):
    seen = 0
    for i in range(12):
        s = generator.scene(i, 200, 200, "scattered")
        t = data.sample(s)
        assert len(t.boxes) + len(t.ignored) <= len(s.polygons)
        for g, (x0, y0, x1, y1) in enumerate(t.boxes.astype(int)):
            ys, xs = np.nonzero(t.instances == g + 1)
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)
            seen += 1
        assert (t.instances == OUTSIDE).any() == (len(t.ignored) > 0)
    assert seen > 20
    first, again = data.batch(generator, 3), data.batch(generator, 3)
    assert len(first) == data.CROPS[3][0] and first[0].picture.shape[0] == data.CROPS[3][1]
    assert np.array_equal(first[1].picture, again[1].picture)


def test_words():
    rng = np.random.default_rng(0)
    assert len({words.medical(rng) for _ in range(200)}) > 150
    assert len(words.prose(rng, 50)) >= 45 and len(words.foreign(rng, "greek", 9)) == 9


def test_aspect_follows_the_line():
    assert aspect(np.array([[0, 0], [100, 0], [100, 10], [0, 10]])) == pytest.approx(10)
    p = _outline(118, 18, (200.0, 200.0), 1.0, 1.5)
    assert aspect(p) == pytest.approx(120 / 20, rel=0.15)


def test_icdar_files(tmp_path):
    f = tmp_path / "gt.txt"
    f.write_text("\ufeff1,2,30,2,30,12,1,12,a, b\n5,50,9,50,9,60,5,60,###\n", encoding="utf-8")
    polygons, ignored = icdar_truth(f)
    assert ignored.tolist() == [False, True] and polygons[0].tolist() == [[1, 2], [30, 2], [30, 12], [1, 12]]


def test_a_table_of_tesseract_is_read():
    from insula_authoring.mayor import peers

    head = "level page_num block_num par_num line_num word_num left top width height conf text".split()
    rows = ["1 1 0 0 0 0 0 0 900 700 -1 ".split(" "), "5 1 1 1 1 1 20 41 60 24 91.2 Name".split(" "), "5 1 1 1 1 2 90 40 61 25 33 \"".split(" ")]
    tsv = "\n".join("\t".join(r) for r in [head, *rows])
    assert peers.words(tsv) == [(10, 20, 40, 33), (45, 20, 76, 33)]
    mask = peers.blanked([(10, 20, 40, 33)], 60, 60)
    assert mask.sum() == (30 + 4) * (13 + 4) and mask[18, 8] and not mask[17, 8]


def test_training_goes_on_as_if_never_stopped(generator, tmp_path, monkeypatch):
    from insula_authoring.mayor import train

    monkeypatch.setattr(train, "Generator", lambda *a, **k: generator)
    monkeypatch.setattr(data, "CROPS", ((2, 64), (1, 96)))
    options = lambda out, steps, *more: train.arguments(
        ["--out", str(tmp_path / out), "--size", "tiny", "--minutes", "99", "--steps", str(steps), "--held-out", "1", "--rpn-steps", "1",
         "--decay", "0", "--warmup", "1", *more])
    train.run(options("whole", 4))
    train.run(options("parts", 2))
    with pytest.raises(SystemExit):
        options("parts", 4)
    train.run(options("parts", 4, "--resume"))
    a, b = (train.load(tmp_path / n / "checkpoint.pt").state_dict() for n in ("whole", "parts"))
    assert all(np.array_equal(a[k].numpy(), b[k].numpy()) for k in a)
    rows = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert len(rows) == 4 and '"finished": true' in rows[-1] and '"step": 4' in rows[-1]
