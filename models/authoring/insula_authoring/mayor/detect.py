"""From a picture to its lines of text: the three graphs, by PyTorch or ONNX Runtime, and the glue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from . import boxes as bx
from . import contour, glue
from .config import Config
from .glue import Found, Settings
from .network import Mayor

MAPS = ("p2", "p3", "p4", "p5")
MARGIN = (2.0, 0.15)  # of redaction: pixels, part of the text's height
REDACTION = Settings(score=0.25)


class TorchNet:
    """The three graphs as one PyTorch module."""

    def __init__(self, model: Mayor):
        self.model, self.config = model.eval(), model.config

    @torch.no_grad()
    def a(self, picture: np.ndarray):
        maps = self.model.backbone(torch.from_numpy(picture))
        objectness, deltas = self.model.rpn(maps)
        return maps, [o[0].numpy() for o in objectness], [d[0].numpy() for d in deltas]

    def _regions(self, rois: np.ndarray):
        return torch.from_numpy(rois), torch.zeros(len(rois), dtype=torch.int64), torch.from_numpy(bx.level(rois))

    @torch.no_grad()
    def b(self, maps, rois: np.ndarray):
        logits, deltas = self.model.boxes(maps, *self._regions(rois))
        return logits.softmax(1)[:, 1].numpy(), deltas.numpy()

    @torch.no_grad()
    def c(self, maps, rois: np.ndarray) -> np.ndarray:
        return self.model.masks(maps, *self._regions(rois)).sigmoid().numpy()


class OnnxNet:
    """The three graphs as ONNX files: backbone.onnx, boxes.onnx, masks.onnx of one folder."""

    def __init__(self, folder: Path, config: Config, threads: int = 1):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.config = config
        self.sessions = [ort.InferenceSession(str(folder / f"{n}.onnx"), options, providers=["CPUExecutionProvider"])
                         for n in ("backbone", "boxes", "masks")]

    def a(self, picture: np.ndarray):
        out = self.sessions[0].run(None, {"image": picture})
        return dict(zip(MAPS, out[:4])), [o[0] for o in out[4:9]], [d[0] for d in out[9:]]

    def _by_level(self, session, maps, rois: np.ndarray) -> list[np.ndarray]:
        """Regions go in by level, and the answers come out in that order: put back."""
        level = bx.level(rois)
        rank = np.argsort(level, kind="stable")
        feed = maps | {f"rois_{m}": rois[level == i] for i, m in enumerate(MAPS)}
        back = np.empty(len(rank), np.int64)
        back[rank] = np.arange(len(rank))
        return [o[back] for o in session.run(None, feed)]

    def b(self, maps, rois: np.ndarray):
        scores, deltas = self._by_level(self.sessions[1], maps, rois)
        return scores, deltas

    def c(self, maps, rois: np.ndarray) -> np.ndarray:
        return self._by_level(self.sessions[2], maps, rois)[0]


def detect(net, picture: np.ndarray, s: Settings = Settings()) -> list[Found]:
    """Lines of text of an RGB picture uint8 [H, W, 3], at its own size, best first."""
    h, w = picture.shape[:2]
    maps, objectness, deltas = net.a(glue.padded(picture))
    rois, _ = glue.proposals(net.config, objectness, deltas, h, w, s)
    scores, code = net.b(maps, rois)
    boxes, scores = glue.detections(rois, scores, code, h, w, s)
    grown = glue.expanded(boxes, h, w, s)
    return glue.found(boxes, scores, grown, net.c(maps, grown), h, w, s)


@dataclass
class Line:
    """One line of text in the picture's own pixels."""

    polygon: list[tuple[float, float]]
    score: float


def resized(picture: np.ndarray, long_side: int) -> tuple[np.ndarray, float]:
    """The picture with its long side as wanted, and the factor. Triangle filter, widened where it shrinks (bilinear in Pillow,
    Triangle in the Rust crate image)."""
    h, w = picture.shape[:2]
    factor = long_side / max(h, w)
    size = max(1, round(w * factor)), max(1, round(h * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)), factor


def lines(found: list[Found], factor: float = 1.0, straight: bool = False) -> list[Line]:
    """Outlines, simplified, or smallest rectangles where `straight`."""
    out = []
    for f in found:
        polygon = contour.trace(f.region, f.origin)
        polygon = contour.rectangle(polygon) if straight else contour.simplify(polygon)
        if len(polygon) >= 3:
            out.append(Line([(x / factor, y / factor) for x, y in polygon], f.score))
    return out


def redaction(found: list[Found], height: int, width: int) -> np.ndarray:
    """Pixels to blank: the regions widened by the margin, and the whole box where the mask fills under 30 % of it."""
    out = np.zeros((height, width), bool)
    for f in found:
        region, (x, y) = f.region, f.origin
        if region.sum() < 0.3 * bx.area(f.box[None])[0]:
            x, y, x1, y1 = glue.window(f.box, height, width)
            region = np.ones((y1 - y, x1 - x), bool)
        r = int(np.ceil(max(MARGIN[0], MARGIN[1] * contour.thickness(contour.trace(region)))))
        wide = ndimage.distance_transform_edt(~np.pad(region, r)) <= r
        y0, x0 = max(0, y - r), max(0, x - r)
        part = wide[y0 - (y - r):height - (y - r), x0 - (x - r):width - (x - r)]
        out[y0:y0 + part.shape[0], x0:x0 + part.shape[1]] |= part
    return out
