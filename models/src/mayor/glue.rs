//! Everything between the three graphs, as `insula_authoring.mayor.glue`.
//!
//! Ties are broken by order everywhere, so that two implementations agree on which of two equal boxes is kept.

use ndarray::{Array2, ArrayD, ArrayView2};

use super::boxes::{self, Box4};
use super::config::{BOX_STDS, Config, RPN_STDS};
use super::contour::components;

/// Thresholds of detection.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Proposals per level before suppression.
    pub rpn_pre: usize,
    /// IoU beyond which the worse of two proposals goes.
    pub rpn_nms: f32,
    /// Proposals that the box head sees, at most.
    pub proposals: usize,
    /// Probability from which a box counts.
    pub score: f32,
    /// IoU beyond which the worse of two boxes goes.
    pub box_nms: f32,
    /// Lines, at most.
    pub detections: usize,
    /// Part of each side by which boxes grow at both ends before their masks are read: else letters at the edge are cut.
    pub expand: f32,
    /// Probability from which a pixel is in.
    pub mask: f32,
    /// IoU in pixels beyond which the worse of two lines goes.
    pub mask_nms: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rpn_pre: 1000,
            rpn_nms: 0.7,
            proposals: 300,
            score: 0.5,
            box_nms: 0.5,
            detections: 300,
            expand: 0.05,
            mask: 0.5,
            mask_nms: 0.2,
        }
    }
}

/// One line in the network's picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Of the box head.
    pub bounds: Box4,
    /// Probability of the box times the mean probability inside the region.
    pub score: f32,
    /// Probability of the box alone.
    pub box_score: f32,
    /// Column and row of the region's first pixel.
    pub origin: [usize; 2],
    /// The text's pixels, `[rows, columns]`; at least one.
    pub region: Array2<bool>,
}

/// Regions worth a look and their logits, best first, `settings.proposals` at most.
///
/// `objectness` `[1, A, H, W]` logits and `deltas` `[1, 4 A, H, W]` (anchor slowest) of P2..P6; `size` is the picture's own, without
/// padding. Per level: the best by logit, decoded, cut to the picture, those under a pixel dropped, suppressed. Then the best of all.
pub fn proposals(
    config: &Config,
    objectness: &[ArrayD<f32>],
    deltas: &[ArrayD<f32>],
    size: [usize; 2],
    s: &Settings,
) -> (Vec<Box4>, Vec<f32>) {
    let dims = |a: &ArrayD<f32>| [a.shape()[1], a.shape()[2], a.shape()[3]];
    let [_, h2, w2] = dims(&objectness[0]);
    let anchors = boxes::all_anchors(config, [4 * h2, 4 * w2]);
    let (mut found, mut scores) = (Vec::new(), Vec::new());
    for ((o, d), anchors) in objectness.iter().zip(deltas).zip(&anchors) {
        let [kinds, h, w] = dims(o);
        let place = |i: usize| [i % kinds, i / kinds / w, i / kinds % w];
        let logits: Vec<f32> = (0..kinds * h * w)
            .map(|i| {
                let [a, y, x] = place(i);
                o[[0, a, y, x]]
            })
            .collect();
        let (mut level, mut level_scores) = (Vec::new(), Vec::new());
        for i in boxes::order(&logits).into_iter().take(s.rpn_pre) {
            let [a, y, x] = place(i);
            let code = std::array::from_fn(|k| d[[0, 4 * a + k, y, x]]);
            let b = boxes::clip(boxes::decode(RPN_STDS, anchors[i], code), size);
            if boxes::is_large(b) {
                level.push(b);
                level_scores.push(logits[i]);
            }
        }
        for i in boxes::nms(&level, &level_scores, s.rpn_nms) {
            found.push(level[i]);
            scores.push(level_scores[i]);
        }
    }
    let best = boxes::order(&scores).into_iter().take(s.proposals);
    best.map(|i| (found[i], scores[i])).unzip()
}

/// Boxes of text and their probabilities, best first: from regions, probabilities `[N]` and box code `[N, 4]`.
pub fn detections(
    regions: &[Box4],
    scores: &ArrayD<f32>,
    deltas: &ArrayD<f32>,
    size: [usize; 2],
    s: &Settings,
) -> (Vec<Box4>, Vec<f32>) {
    let (mut found, mut good) = (Vec::new(), Vec::new());
    for (n, (&region, &score)) in regions.iter().zip(scores).enumerate() {
        let code = std::array::from_fn(|k| deltas[[n, k]]);
        let b = boxes::clip(boxes::decode(BOX_STDS, region, code), size);
        if score >= s.score && boxes::is_large(b) {
            found.push(b);
            good.push(score);
        }
    }
    let kept = boxes::nms(&found, &good, s.box_nms).into_iter().take(s.detections);
    kept.map(|i| (found[i], good[i])).unzip()
}

/// A box grown on both ends of each side, cut to the picture: what the mask is read from.
pub fn expanded(b: Box4, size: [usize; 2], s: &Settings) -> Box4 {
    let grow = [(b[2] - b[0]) * s.expand, (b[3] - b[1]) * s.expand];
    boxes::clip([b[0] - grow[0], b[1] - grow[1], b[2] + grow[0], b[3] + grow[1]], size)
}

/// The whole pixels a box inside the picture touches: x0, y0, x1, y1, ends exclusive.
pub fn window(b: Box4, [height, width]: [usize; 2]) -> [usize; 4] {
    let up = |v: f32, most: usize| (v.ceil() as usize).min(most);
    let (x1, y1) = (up(b[2], width), up(b[3], height));
    [(b[0].floor() as usize).min(x1), (b[1].floor() as usize).min(y1), x1, y1]
}

/// Lower cell and weight of the upper one for pixels `first..last` of an axis from `start` to `end`.
fn taps(start: f32, end: f32, first: usize, last: usize, cells: usize) -> Vec<(usize, f32)> {
    let at = |p: usize| {
        let at = (p as f32 + 0.5 - start) / (end - start) * cells as f32 - 0.5;
        let at = at.clamp(0.0, (cells - 1) as f32);
        let low = (at.floor() as usize).min(cells - 2);
        (low, at - low as f32)
    };
    (first..last).map(at).collect()
}

/// A mask laid over [`window`] of a box: the probability at each pixel's centre, bilinear between the cells' centres.
pub fn paste(mask: ArrayView2<'_, f32>, b: Box4, size: [usize; 2]) -> Array2<f32> {
    let [x0, y0, x1, y1] = window(b, size);
    let xs = taps(b[0], b[2], x0, x1, mask.ncols());
    let ys = taps(b[1], b[3], y0, y1, mask.nrows());
    Array2::from_shape_fn((ys.len(), xs.len()), |(row, column)| {
        let ((y, wy), (x, wx)) = (ys[row], xs[column]);
        let cell = |x: usize| mask[[y, x]] * (1.0 - wy) + mask[[y + 1, x]] * wy;
        cell(x) * (1.0 - wx) + cell(x + 1) * wx
    })
}

/// The text's pixels: the largest 4-connected part of those at or over `threshold` (the first in reading order among equals),
/// holes filled (holes are 8-connected). All false where nothing is that probable.
pub fn region(probability: &Array2<f32>, threshold: f32) -> Array2<bool> {
    let inside = probability.mapv(|p| p >= threshold);
    let (labels, sizes) = components(&inside, false);
    let Some(largest) = (0..sizes.len()).max_by_key(|&i| (sizes[i], std::cmp::Reverse(i))) else {
        return inside;
    };
    let part = labels.mapv(|l| l == largest + 1);
    // What the frame around the picture does not reach is a hole.
    let (h, w) = part.dim();
    let around = Array2::from_shape_fn((h + 2, w + 2), |(y, x)| {
        !(1..=h).contains(&y) || !(1..=w).contains(&x) || !part[[y - 1, x - 1]]
    });
    let (outside, _) = components(&around, true);
    Array2::from_shape_fn((h, w), |(y, x)| outside[[y + 1, x + 1]] != outside[[0, 0]])
}

/// Lines with their regions, best first, doubles removed. One whose mask is empty keeps its whole box: text is not lost
/// for want of a shape. `masks` is `[N, side, side]`, read from `grown`.
pub fn found(
    boxes_found: &[Box4],
    scores: &[f32],
    grown: &[Box4],
    masks: &ArrayD<f32>,
    size: [usize; 2],
    s: &Settings,
) -> Vec<Found> {
    let mut out = Vec::with_capacity(boxes_found.len());
    for (n, ((&bounds, &score), &g)) in boxes_found.iter().zip(scores).zip(grown).enumerate() {
        let Ok(mask) = masks.index_axis(ndarray::Axis(0), n).into_dimensionality() else { continue };
        let probability = paste(mask, g, size);
        let mut shape = region(&probability, s.mask);
        let inside = shape.iter().filter(|&&v| v).count();
        let [mut x0, mut y0, ..] = window(g, size);
        let mean = if inside > 0 {
            let sum: f64 =
                probability.iter().zip(&shape).filter(|(_, is_in)| **is_in).map(|(&p, _)| f64::from(p)).sum();
            (sum / inside as f64) as f32
        } else {
            let [bx0, by0, bx1, by1] = window(bounds, size);
            (x0, y0) = (bx0, by0);
            shape = Array2::from_elem((by1 - by0, bx1 - bx0), true);
            s.mask
        };
        out.push(Found { bounds, score: score * mean, box_score: score, origin: [x0, y0], region: shape });
    }
    let rank = boxes::order(&out.iter().map(|f| f.score).collect::<Vec<_>>());
    let mut slots: Vec<Option<Found>> = out.into_iter().map(Some).collect();
    suppress(rank.into_iter().filter_map(|i| slots[i].take()).collect(), s.mask_nms)
}

/// Drops lines whose IoU in pixels with a kept better one exceeds the threshold; `ranked` is best first.
pub fn suppress(ranked: Vec<Found>, threshold: f32) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::with_capacity(ranked.len());
    for line in ranked {
        if kept.iter().all(|k| overlap(&line, k) <= f64::from(threshold)) {
            kept.push(line);
        }
    }
    kept
}

/// IoU of two regions in pixels.
pub fn overlap(a: &Found, b: &Found) -> f64 {
    let common = common_pixels(a, b);
    let count = |f: &Found| f.region.iter().filter(|&&v| v).count();
    if common == 0 { 0.0 } else { common as f64 / (count(a) + count(b) - common) as f64 }
}

/// Pixels in both regions.
pub fn common_pixels(a: &Found, b: &Found) -> usize {
    let end = |f: &Found| [f.origin[0] + f.region.ncols(), f.origin[1] + f.region.nrows()];
    let (ea, eb) = (end(a), end(b));
    let start: [usize; 2] = std::array::from_fn(|i| a.origin[i].max(b.origin[i]));
    let stop: [usize; 2] = std::array::from_fn(|i| ea[i].min(eb[i]));
    let mut common = 0;
    for y in start[1]..stop[1] {
        for x in start[0]..stop[0] {
            common += usize::from(
                a.region[[y - a.origin[1], x - a.origin[0]]] && b.region[[y - b.origin[1], x - b.origin[0]]],
            );
        }
    }
    common
}
