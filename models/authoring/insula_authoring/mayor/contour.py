"""Outlines of regions: a polygon along pixel edges, its simplification, the smallest rectangle round it.

Vertices are corners of pixels, (x, y), y down; a polygon runs with the region on its right hand (clockwise on the screen),
from the left end of the top edge of the region's first pixel in reading order."""

from __future__ import annotations

import math

import numpy as np

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up
# For each direction at a corner: the pixel ahead on the right and ahead on the left, as offsets from the corner.
AHEAD = (((0, 0), (0, -1)), ((-1, 0), (0, 0)), ((-1, -1), (-1, 0)), ((0, -1), (-1, -1)))


def trace(region: np.ndarray, origin: tuple[int, int] = (0, 0)) -> list[tuple[int, int]]:
    """The outline of a 4-connected region without holes: its corners where the direction changes. Empty for none."""
    if not region.any():
        return []
    inside = np.pad(region, 1)
    first = int(np.argmax(inside))
    start = (first % inside.shape[1], first // inside.shape[1])
    at, direction, out = start, 0, []
    while True:
        (rx, ry), (lx, ly) = AHEAD[direction]
        if not out:
            turn = 0
            out.append(at)
        elif not inside[at[1] + ry, at[0] + rx]:
            turn = 1  # also where two pixels touch at the corner only: they are not connected
        elif inside[at[1] + ly, at[0] + lx]:
            turn = 3
        else:
            turn = 0
        if turn:
            out.append(at)
            direction = (direction + turn) % 4
        at = (at[0] + STEPS[direction][0], at[1] + STEPS[direction][1])
        if at == start:
            break
    return [(x - 1 + origin[0], y - 1 + origin[1]) for x, y in out]


def perimeter(polygon: list[tuple[float, float]]) -> float:
    return sum(math.dist(a, b) for a, b in zip(polygon, polygon[1:] + polygon[:1]))


def area(polygon: list[tuple[float, float]]) -> float:
    """Signed; positive for the outlines of `trace`."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, polygon[1:] + polygon[:1])) / 2


def _reduce(points: list, tolerance: float) -> list:
    """Douglas-Peucker of an open line; the last point is left out."""
    if len(points) < 3:
        return points[:1]
    (ax, ay), (bx, by) = points[0], points[-1]
    length = math.dist(points[0], points[-1])
    far, distance = 0, -1.0
    for i, (x, y) in enumerate(points[1:-1], 1):
        d = abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length if length > 0 else math.dist(points[0], (x, y))
        if d > distance:
            far, distance = i, d
    if distance <= tolerance:
        return points[:1]
    return _reduce(points[:far + 1], tolerance) + _reduce(points[far:], tolerance)


def simplify(polygon: list[tuple[int, int]], part: float = 0.005) -> list[tuple[int, int]]:
    """Douglas-Peucker with a tolerance of `part` of the perimeter, at least 1 pixel: split at the first vertex and at the
    one farthest from it (the earliest among equals). Never fewer than 3 vertices of those given."""
    if len(polygon) <= 4:
        return polygon
    tolerance = max(1.0, part * perimeter(polygon))
    away = max(range(len(polygon)), key=lambda i: (math.dist(polygon[0], polygon[i]), -i))
    out = _reduce(polygon[:away + 1], tolerance) + _reduce(polygon[away:] + polygon[:1], tolerance)
    return out if len(out) >= 3 else polygon


def hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convex hull, clockwise on the screen, without collinear points (Andrew's monotone chain)."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered

    def chain(sequence) -> list:
        out: list = []
        for p in sequence:
            while len(out) > 1 and ((out[-1][0] - out[-2][0]) * (p[1] - out[-2][1])
                                    - (out[-1][1] - out[-2][1]) * (p[0] - out[-2][0])) <= 0:
                out.pop()
            out.append(p)
        return out[:-1]

    return chain(ordered) + chain(ordered[::-1])


def rectangle(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The smallest rectangle round the points, one side along an edge of their hull (the first such among equals): four corners, clockwise
    on the screen, the first being the one with the least x + y, then the least y."""
    h = hull(points)
    best = None
    for a, b in zip(h, h[1:] + h[:1]):
        length = math.dist(a, b)
        if length == 0:
            continue
        ux, uy = (b[0] - a[0]) / length, (b[1] - a[1]) / length
        u = [x * ux + y * uy for x, y in h]
        v = [y * ux - x * uy for x, y in h]
        size = (max(u) - min(u)) * (max(v) - min(v))
        if best is None or size < best[0] - 1e-9:
            best = (size, ux, uy, min(u), max(u), min(v), max(v))
    if best is None:
        return []
    _, ux, uy, u0, u1, v0, v1 = best
    corners = [(u * ux - v * uy, u * uy + v * ux) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    first = min(range(4), key=lambda i: (round(corners[i][0] + corners[i][1], 6), round(corners[i][1], 6)))
    return corners[first:] + corners[:first]


def thickness(points: list[tuple[float, float]]) -> float:
    """The short side of the smallest rectangle: the text's height where it is a straight line. 0 for fewer than 3 points."""
    r = rectangle(points)
    return min(math.dist(r[0], r[1]), math.dist(r[1], r[2])) if r else 0.0
