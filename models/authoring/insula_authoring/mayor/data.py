"""Training samples of generated scenes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .scenes import Generator, Scene
from .targets import OUTSIDE, Sample

# Count and side of the crops of a step, taken in turn: equal work, from many small pictures to one wide enough for long lines.
CROPS = ((6, 256), (4, 320), (2, 448), (4, 320), (1, 640))


def sample(scene: Scene) -> Sample:
    """Boxes are those of the visible part of each line."""
    found = ndimage.find_objects(scene.instances, len(scene.polygons))
    boxes, ignored = [], []
    table = np.zeros(len(scene.polygons) + 1, np.uint16)
    for i, where in enumerate(found):
        if where is None:
            continue
        rows, columns = where
        box = (columns.start, rows.start, columns.stop, rows.stop)
        if scene.ignored[i]:
            ignored.append(box)
            table[i + 1] = OUTSIDE
        else:
            boxes.append(box)
            table[i + 1] = len(boxes)
    return Sample(scene.picture, np.array(boxes, np.float32).reshape(-1, 4), table[scene.instances],
                  np.array(ignored, np.float32).reshape(-1, 4))


def batch(generator: Generator, step: int) -> list[Sample]:
    """The samples of a step: the same for every run with the generator's seed."""
    count, side = CROPS[step % len(CROPS)]
    return [sample(generator.scene(step * 8 + i, side, side)) for i in range(count)]
