"""Boxes, contours, pasting, matching: the NumPy definition against brute force, analytic shapes and other programs."""

import math

import numpy as np
import pytest

from insula_authoring.mayor import boxes as bx
from insula_authoring.mayor import contour, glue, score
from insula_authoring.mayor.config import TINY, Config

RNG = np.random.default_rng(3)


def some_boxes(n: int, side: float = 200) -> np.ndarray:
    a = RNG.uniform(0, side, (n, 2))
    return np.concatenate([a, a + RNG.uniform(4, side / 2, (n, 2))], 1).astype(np.float32)


def blob(seed: int, h: int = 23, w: int = 31) -> np.ndarray:
    """A 4-connected region without holes."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((h, w)), rng.uniform(0.4, 3))
    return glue.region((noise > np.quantile(noise, 0.6)).astype(np.float32))


def test_box_code_goes_and_comes_back():
    a, b = some_boxes(200), some_boxes(200)
    for stage in ("rpn", "box"):
        np.testing.assert_allclose(bx.decode(stage, a, bx.encode(stage, a, b)), b, atol=2e-3)
    # By hand: the centre a quarter of the width to the right, and twice as wide.
    np.testing.assert_allclose(bx.decode("rpn", np.array([[0, 0, 8, 4]], np.float32), np.array([[0.25, 0, math.log(2), 0]])),
                               [[-2, 0, 14, 4]], atol=1e-5)
    huge = bx.decode("rpn", np.array([[0, 0, 16, 16]], np.float32), np.array([[0, 0, 99, 0]]))
    assert abs(huge[0, 2] - huge[0, 0] - 1000) < 0.1  # clamped


def test_anchors_sit_on_the_middles_of_cells():
    a = bx.anchors(Config(), 8, 2, 3)
    assert a.shape == (6, 4)
    np.testing.assert_array_equal((a[:, :2] + a[:, 2:]) / 2, [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]])
    np.testing.assert_array_equal(a[:, 2:] - a[:, :2], 64)
    tall = bx.anchors(Config(anchor_ratios=(0.25, 4.0)), 4, 1, 1)
    np.testing.assert_allclose(tall[:, 2:] - tall[:, :2], [[64, 16], [16, 64]])
    assert [len(x) for x in bx.all_anchors(Config(), 96, 160)] == [24 * 40, 12 * 20, 6 * 10, 3 * 5, 2 * 3]


def test_suppression_against_brute_force():
    for seed in range(20):
        b = some_boxes(60)
        s = np.round(np.random.default_rng(seed).uniform(0, 1, 60), 1).astype(np.float32)  # many equal scores
        kept: list[int] = []
        for i in sorted(range(60), key=lambda i: (-s[i], i)):
            if all(bx.iou(b[i:i + 1], b[j:j + 1])[0, 0] <= 0.4 for j in kept):
                kept.append(i)
        assert bx.nms(b, s, 0.4).tolist() == kept
    assert len(bx.nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5)) == 0


def test_level_of_a_region():
    sides = np.array([1, 55, 111.9, 112, 223.9, 224, 447, 448, 5000], np.float32)
    b = np.stack([0 * sides, 0 * sides, sides, sides], 1)
    assert bx.level(b).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_proposals_keep_the_order_of_anchors_and_stay_in_the_picture():
    h, w = 50, 90
    shapes = [(24 // 2**i, 24 // 2**i) for i in range(4)] + [(2, 2)]
    objectness = [np.full((1, *s), -9, np.float32) for s in shapes]
    deltas = [np.zeros((4, *s), np.float32) for s in shapes]
    objectness[0][0, 5, 7] = 3.0
    deltas[0][2, 5, 7] = math.log(0.5)  # half as wide
    b, logit = glue.proposals(TINY, objectness, deltas, h, w)
    assert logit[0] == 3.0
    np.testing.assert_allclose(b[0], [30 - 8, 22 - 16, 30 + 8, 22 + 16], atol=1e-4)
    assert (b >= 0).all() and (b[:, [0, 2]] <= w).all() and (b[:, [1, 3]] <= h).all()
    assert len(b) <= 300 and (np.diff(logit) <= 0).all()


def test_pasting_reads_between_the_cells():
    # A mask that is a linear function of place stays one, but for the half cells at the rim.
    ramp = np.tile((np.arange(28, dtype=np.float32) + 0.5) / 28, (28, 1))
    box = np.array([10.3, 4.0, 66.3, 32.0], np.float32)
    p = glue.paste(ramp, box, 100, 200)
    x0, y0, x1, y1 = glue.window(box, 100, 200)
    assert p.shape == (y1 - y0, x1 - x0) == (28, 57)
    expected = (np.arange(x0, x1) + 0.5 - box[0]) / 56
    np.testing.assert_allclose(p[5, 2:-2], expected[2:-2], atol=1e-5)
    assert p.min() >= 0.5 / 28 - 1e-6 and p.max() <= 27.5 / 28 + 1e-6


def test_region_is_the_largest_part_without_holes():
    m = np.zeros((9, 12), np.float32)
    m[1:6, 1:6] = 1
    m[3, 3] = 0  # a hole
    m[6, 6] = 1  # touches by a corner only: another part
    m[8, 8:12] = 1
    r = glue.region(m)
    assert r.sum() == 25 and not r[6, 6] and not r[8].any()
    assert not glue.region(np.zeros((4, 4), np.float32)).any()


def test_outline_encloses_its_pixels():
    for seed in range(60):
        r = blob(seed)
        t = contour.trace(r, (5, 7))
        assert contour.area(t) == r.sum()
        assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in zip(t, t[1:] + t[:1]))  # along pixel edges, each a turn
        back = np.zeros(r.shape, bool)
        region, (x, y) = score.fill(t, 7 + r.shape[0], 5 + r.shape[1])
        back[y - 7:y - 7 + region.shape[0], x - 5:x - 5 + region.shape[1]] = region
        np.testing.assert_array_equal(back, r)
    assert contour.trace(np.zeros((3, 3), bool)) == []
    assert contour.trace(np.ones((2, 3), bool)) == [(0, 0), (3, 0), (3, 2), (0, 2)]


def distance(p, a, b) -> float:
    ab, ap = np.subtract(b, a), np.subtract(p, a)
    t = np.clip(ap @ ab / max(ab @ ab, 1e-12), 0, 1)
    return float(np.hypot(*(ap - t * ab)))


def test_simplified_outline_stays_within_its_tolerance():
    for seed in range(40):
        t = contour.trace(blob(seed, 40, 60))
        s = contour.simplify(t)
        limit = max(1.0, 0.005 * contour.perimeter(t)) + 1e-9
        assert 3 <= len(s) <= len(t) and set(s) <= set(t)
        assert max(min(distance(p, a, b) for a, b in zip(s, s[1:] + s[:1])) for p in t) <= limit


def test_smallest_rectangle():
    c, s = math.cos(0.4), math.sin(0.4)
    turned = [(50 + c * x - s * y, 40 + s * x + c * y) for x, y in ((-20, -5), (20, -5), (20, 5), (-20, 5), (3, 1), (0, 5))]
    r = contour.rectangle(turned)
    np.testing.assert_allclose(sorted(r), sorted(turned[:4]), atol=1e-9)
    assert contour.area(r) == pytest.approx(400) and contour.thickness(turned) == pytest.approx(10)
    assert contour.rectangle([(1.0, 1.0)]) == [] and contour.thickness([]) == 0
    for seed in range(30):
        p = contour.trace(blob(seed))
        r = np.array(contour.rectangle(p))
        for a, b in zip(r, np.roll(r, -1, 0)):  # all points on the right hand of every side
            assert (((b - a)[0] * (np.array(p) - a)[:, 1] - (b - a)[1] * (np.array(p) - a)[:, 0]) >= -1e-6).all()


def test_smallest_rectangle_beside_shapely():
    shapely = pytest.importorskip("shapely", reason="shapely is a peer of the tests only")
    for seed in range(30):
        p = contour.trace(blob(seed))
        ours, theirs = contour.area(contour.rectangle(p)), shapely.Polygon(p).minimum_rotated_rectangle.area
        assert ours <= theirs + 1e-6 and ours == pytest.approx(theirs, rel=1e-6)


def test_masks_of_one_line_twice_are_one():
    f = lambda x, s, n=10: glue.Found(np.array([x, 0, x + n, 4.0]), s, (x, 0), np.ones((4, n), bool))
    kept = glue.suppress_masks([f(0, 0.9), f(1, 0.8), f(9, 0.7), f(40, 0.6)], 0.2)
    assert [k.score for k in kept] == [0.9, 0.7, 0.6]
    assert glue.overlap(f(0, 1), f(5, 1)) == pytest.approx(5 / 15) and glue.overlap(f(0, 1), f(10, 1)) == 0


def test_matching_by_the_rules():
    truth = score.instances([[(0, 0), (20, 0), (20, 10), (0, 10)], [(30, 0), (50, 0), (50, 10), (30, 10)], [(0, 20), (40, 20), (40, 30), (0, 30)]], 40, 60)
    assert np.bincount(truth.ravel()).tolist()[1:] == [200, 200, 400]
    box = lambda x0, y0, x1, y1: (np.ones((y1 - y0, x1 - x0), bool), (x0, y0))
    ignored = np.array([False, False, True])
    c = score.match(truth, ignored, [box(0, 0, 20, 10), box(0, 0, 19, 10), box(30, 0, 38, 10), box(0, 20, 40, 28), box(0, 32, 9, 40)])
    # One right, its double wrong, one too small, one on "do not care" not counted, one on nothing.
    assert (c.matched, c.truths, c.detections) == (1, 2, 4)
    assert c.rows()["precision"] == 25 and c.rows()["recall"] == 50
    empty = score.match(np.zeros((5, 5), np.uint16), np.zeros(0, bool), [])
    assert empty.rows()["precision"] is None and empty.rows()["f"] is None


def test_polygons_in_pixels_beside_shapely():
    shapely = pytest.importorskip("shapely", reason="shapely is a peer of the tests only")
    for _ in range(20):
        p = np.array(contour.rectangle([tuple(q) for q in RNG.uniform(10, 190, (3, 2))]))
        assert score.fill(p, 200, 200)[0].sum() == pytest.approx(shapely.Polygon(p).intersection(shapely.box(0, 0, 200, 200)).area, abs=1.1 * contour.perimeter([tuple(q) for q in p]) / 2)


def test_cover_counts_letters_and_strays():
    truth, ink, blank = np.zeros((40, 40), np.uint16), np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth[10:20, 10:20] = 1
    ink[12:18, 12:18] = True
    blank[12:15] = True
    c = score.cover(blank, truth, ink)
    assert (c.ink, c.covered) == (36, 18)
    assert c.false_pixels == 3 * (40 - 22) and c.rows()["coverage"] == 50
