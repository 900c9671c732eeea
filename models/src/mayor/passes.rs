//! Which pictures of a picture are searched, and how what is found in them becomes one list.
//!
//! The network sees pictures of some size (the pack's `long_side`). A larger one is looked at as a whole, made smaller, and, where small
//! print matters, in tiles at its own size; a small one also enlarged. Redaction looks at everything twice, as it is and with dark for
//! bright, and keeps whatever was seen in any of them.

use formats::Task;
use ndarray::{Array2, Array3, ArrayView3, s};
use serde::{Deserialize, Serialize};

use super::boxes;
use super::contour::{self, Point};
use super::detector::Detector;
use super::glue::{Found, Settings, common_pixels, overlap, window};
use super::picture;
use crate::error::Result;

/// Part of the perimeter by which a simplified outline may be off.
const SIMPLIFY: f64 = 0.005;
/// A mask that fills less of its box than this is not trusted: the box is taken.
const LEAST_FILL: f64 = 0.3;
/// Values of a tile that differ less than this show no text.
const FLAT: u8 = 6;

/// Settings of a pack of text finders, the `[output]` section of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSettings {
    /// Probability from which a box counts in a list of lines.
    pub score: f32,
    /// See [`Settings::proposals`].
    pub proposals: usize,
    /// See [`Settings::detections`].
    pub detections: usize,
    /// Probability from which a box counts when text is to be blanked.
    pub redact_score: f32,
    /// Pixels around the text that are blanked as well, at least.
    pub margin_px: f64,
    /// The same as part of the text's height.
    pub margin_of_height: f64,
    /// Long side of the network's picture.
    pub long_side: usize,
    /// Shared part of neighbouring tiles in pixels.
    pub tile_overlap: usize,
    /// Whether blanking also looks at everything with dark for bright.
    #[serde(default = "yes")]
    pub both_contrasts: bool,
}

fn yes() -> bool {
    true
}

impl TextSettings {
    /// What does not hold, as `(found, expected)`.
    pub(crate) fn fault(&self) -> Option<(String, String)> {
        let parts = [self.score, self.redact_score];
        let good = parts.iter().all(|p| (0.0..1.0).contains(p))
            && (1..=2000).contains(&self.proposals)
            && (1..=2000).contains(&self.detections)
            && (0.0..=64.0).contains(&self.margin_px)
            && (0.0..=2.0).contains(&self.margin_of_height)
            && (64..=4096).contains(&self.long_side)
            && self.tile_overlap * 2 <= self.long_side;
        (!good).then(|| {
            (
                format!("{self:?}"),
                "probabilities from 0 to below 1, up to 2000 lines, margins up to 64 pixels and twice the height, a long side \
                 from 64 to 4096 and at most half of it shared by tiles"
                    .to_owned(),
            )
        })
    }

    fn thresholds(&self, score: f32) -> Settings {
        Settings { score, proposals: self.proposals, detections: self.detections, ..Settings::default() }
    }
}

/// How a picture is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passes {
    /// Thresholds.
    pub settings: Settings,
    /// Long side of the network's picture.
    pub side: usize,
    /// Shared part of neighbouring tiles in pixels.
    pub overlap: usize,
    /// Tiles and enlargement, for small print.
    pub fine: bool,
    /// Dark for bright as well.
    pub inverted: bool,
    /// Keep all that was seen in any picture, and only what lies inside something else is dropped: for blanking. Otherwise the
    /// best of those that overlap, for lists.
    pub union: bool,
}

impl Passes {
    /// For a list of lines.
    #[must_use]
    pub fn listing(pack: &TextSettings) -> Self {
        let settings = pack.thresholds(pack.score);
        Self {
            settings,
            side: pack.long_side,
            overlap: pack.tile_overlap,
            fine: false,
            inverted: false,
            union: false,
        }
    }

    /// For blanking: nothing is to be missed.
    #[must_use]
    pub fn redaction(pack: &TextSettings) -> Self {
        let settings = pack.thresholds(pack.redact_score);
        Self { settings, fine: true, inverted: pack.both_contrasts, union: true, ..Self::listing(pack) }
    }

    /// The most pictures of the network's size that one picture of `size` `[H, W]` makes.
    #[must_use]
    pub fn count(&self, size: [usize; 2]) -> usize {
        self.views(size).len() * if self.inverted { 2 } else { 1 }
    }

    /// Parts of the picture and the scales they are seen at: the whole first.
    fn views(&self, [h, w]: [usize; 2]) -> Vec<View> {
        let long = h.max(w);
        let whole = |factor: f64| View { factor, origin: [0, 0], size: [h, w] };
        let mut out = vec![whole((self.side as f64 / long as f64).min(1.0))];
        if self.fine && long > self.side {
            let starts = |n: usize| -> Vec<usize> {
                let room = n.saturating_sub(self.side);
                let count = room.div_ceil((self.side - self.overlap).max(1)) + 1;
                (0..count).map(|i| i * room / (count - 1).max(1)).collect()
            };
            for y in starts(h) {
                for x in starts(w) {
                    let size = [(h - y).min(self.side), (w - x).min(self.side)];
                    out.push(View { factor: 1.0, origin: [x, y], size });
                }
            }
        } else if self.fine && 2 * long <= self.side {
            out.push(whole(2.0));
        }
        out
    }
}

/// A part of a picture, seen `factor` times as large. `origin` is `[x, y]`, `size` `[H, W]`, both in the picture's pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    factor: f64,
    origin: [usize; 2],
    size: [usize; 2],
}

/// One line of text in the picture's own pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Outline with few vertices, clockwise on the screen.
    pub polygon: Vec<Point>,
    /// The smallest rectangle round it.
    pub rectangle: [Point; 4],
    /// Probability of the box times the mean probability of its pixels.
    pub score: f32,
    /// Its pixels.
    pub shape: Found,
}

impl Line {
    /// Sets the line's pixels and a margin of `max(margin_px, margin_of_height × height)` round them.
    pub fn blank_into(&self, out: &mut Array2<bool>, margin_px: f64, margin_of_height: f64) {
        let margin = margin_px.max(margin_of_height * contour::thickness(&self.rectangle)).ceil();
        contour::widen_into(out, &self.shape.region, self.shape.origin, margin as usize);
    }
}

/// Lines of text of pictures `[H, W, 3]` that all show the same (in several windows), best first.
///
/// # Errors
/// Those of the networks; [`crate::Error::Cancelled`].
pub fn find_lines(
    detector: &mut Detector<'_>,
    pictures: &[Array3<u8>],
    how: &Passes,
    task: &Task,
) -> Result<Vec<Line>> {
    let Some(first) = pictures.first() else { return Ok(Vec::new()) };
    let size = [first.shape()[0], first.shape()[1]];
    let mut found = Vec::new();
    for view in how.views(size) {
        let ([x, y], [h, w]) = (view.origin, view.size);
        for whole in pictures {
            task.check()?;
            let part = whole.slice(s![y..y + h, x..x + w, ..]);
            if is_flat(part) {
                continue;
            }
            let scaled = |n: usize| ((n as f64 * view.factor).round() as usize).max(1);
            let seen = if view.factor == 1.0 {
                part.to_owned()
            } else {
                picture::resized(part, [scaled(h), scaled(w)])
            };
            for turn in 0..if how.inverted { 2 } else { 1 } {
                let seen = if turn == 0 { seen.clone() } else { picture::inverted(seen.view()) };
                let lines = detector.detect(seen.view(), &how.settings, task)?;
                let places = [scaled(w) as f64 / w as f64, scaled(h) as f64 / h as f64];
                found.extend(lines.into_iter().map(|line| placed(line, view, places, size)));
            }
        }
    }
    Ok(merged(found, how).into_iter().filter_map(line).collect())
}

fn is_flat(part: ArrayView3<'_, u8>) -> bool {
    let (mut low, mut high) = (u8::MAX, 0);
    for &v in part {
        (low, high) = (low.min(v), high.max(v));
        if high - low >= FLAT {
            return false;
        }
    }
    true
}

/// A line of a view in the picture's own pixels; where its mask leaves most of its box empty, the box.
fn placed(mut line: Found, view: View, [fx, fy]: [f64; 2], [height, width]: [usize; 2]) -> Found {
    let inside = line.region.iter().filter(|&&v| v).count();
    if (inside as f64) < LEAST_FILL * f64::from(boxes::area(line.bounds)) {
        let most = [(view.size[0] as f64 * fy).round() as usize, (view.size[1] as f64 * fx).round() as usize];
        let [x0, y0, x1, y1] = window(line.bounds, most);
        line.origin = [x0, y0];
        line.region = Array2::from_elem((y1 - y0, x1 - x0), true);
    }
    let [ox, oy] = view.origin;
    let offset = [ox as f64, oy as f64];
    let place = |v: f32, axis: usize| (f64::from(v) / [fx, fy][axis] + offset[axis]) as f32;
    let b = line.bounds;
    line.bounds = [place(b[0], 0), place(b[1], 1), place(b[2], 0), place(b[3], 1)];
    if fx == 1.0 && fy == 1.0 {
        line.origin = [line.origin[0] + ox, line.origin[1] + oy];
        return line;
    }
    let outline: Vec<Point> = contour::trace(&line.region, line.origin)
        .into_iter()
        .map(|[x, y]| [x / fx + offset[0], y / fy + offset[1]])
        .collect();
    let bounds = |axis: usize, most: usize| {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for p in &outline {
            (low, high) = (low.min(p[axis]), high.max(p[axis]));
        }
        let first = (low.floor().max(0.0) as usize).min(most - 1);
        (first, (high.ceil().max(0.0) as usize).clamp(first + 1, most))
    };
    let ((x0, x1), (y0, y1)) = (bounds(0, width), bounds(1, height));
    let mut region = Array2::from_elem((y1 - y0, x1 - x0), false);
    let moved: Vec<Point> = outline.iter().map(|[x, y]| [x - x0 as f64, y - y0 as f64]).collect();
    contour::fill_into(&mut region, &moved);
    if !region.iter().any(|&v| v) {
        region.fill(true);
    }
    Found { origin: [x0, y0], region, ..line }
}

/// One list of what the pictures showed, best first.
fn merged(found: Vec<Found>, how: &Passes) -> Vec<Found> {
    let rank = boxes::order(&found.iter().map(|f| f.score).collect::<Vec<_>>());
    let mut slots: Vec<Option<Found>> = found.into_iter().map(Some).collect();
    let mut kept: Vec<Found> = Vec::new();
    for line in rank.into_iter().filter_map(|i| slots[i].take()) {
        let pixels = line.region.iter().filter(|&&v| v).count();
        let (inside, nms) = if how.union { (0.98, 1.0) } else { (0.7, f64::from(how.settings.mask_nms)) };
        let is_known = kept
            .iter()
            .any(|k| common_pixels(&line, k) as f64 >= inside * pixels as f64 || overlap(&line, k) > nms);
        if !is_known {
            kept.push(line);
        }
    }
    kept
}

fn line(shape: Found) -> Option<Line> {
    // The largest part without its holes: what an outline can follow.
    let whole = super::glue::region(&shape.region.mapv(|v| f32::from(u8::from(v))), 0.5);
    let outline = contour::trace(&whole, shape.origin);
    let rectangle = contour::rectangle(&outline)?;
    Some(Line { polygon: contour::simplify(&outline, SIMPLIFY), rectangle, score: shape.score, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(fine: bool) -> Passes {
        Passes { settings: Settings::default(), side: 100, overlap: 20, fine, inverted: false, union: false }
    }

    #[test]
    fn tiles_cover_large_pictures_and_share_their_edges() {
        for size in [[100, 100], [101, 90], [350, 120], [99, 1000], [1, 1], [181, 260]] {
            let views = passes(true).views(size);
            let mut seen = Array2::from_elem((size[0], size[1]), 0u32);
            for v in &views[1..] {
                assert!(v.size.iter().all(|&n| n <= 100) || v.factor == 2.0, "{size:?} {v:?}");
                let ([x, y], [h, w]) = (v.origin, v.size);
                seen.slice_mut(s![y..y + h, x..x + w]).mapv_inplace(|n| n + 1);
            }
            assert!(views.len() == 1 || seen.iter().all(|&n| n > 0), "{size:?}");
        }
        assert_eq!(passes(false).views([500, 500]).len(), 1);
        assert_eq!(passes(true).views([40, 50])[1].factor, 2.0);
    }

    #[test]
    fn what_tiles_and_scales_show_is_one_line_in_its_place() {
        let shape = |origin: [usize; 2], h: usize, w: usize, score: f32| Found {
            bounds: [origin[0] as f32, origin[1] as f32, (origin[0] + w) as f32, (origin[1] + h) as f32],
            score,
            box_score: score,
            origin,
            region: Array2::from_elem((h, w), true),
        };
        // Seen at half the size at (20, 10), and in a tile at (30, 0) at its own.
        let half = View { factor: 0.5, origin: [0, 0], size: [100, 200] };
        let tile = View { factor: 1.0, origin: [30, 0], size: [100, 100] };
        let a = placed(shape([20, 10], 5, 30, 0.9), half, [0.5, 0.5], [100, 200]);
        let b = placed(shape([10, 20], 10, 60, 0.8), tile, [1.0, 1.0], [100, 200]);
        assert_eq!((a.origin, a.region.dim()), ([40, 20], (10, 60)));
        assert_eq!((b.origin, b.region.dim()), ([40, 20], (10, 60)));
        let lines = merged(vec![b, a], &passes(true));
        assert_eq!(lines.len(), 1);
        assert!((lines[0].score - 0.9).abs() < 1e-6);
        let found = line(lines[0].clone()).expect("an outline");
        assert_eq!(found.polygon, [[40.0, 20.0], [100.0, 20.0], [100.0, 30.0], [40.0, 30.0]]);
        let mut blank = Array2::from_elem((100, 200), false);
        found.blank_into(&mut blank, 2.0, 0.5);
        assert!(blank[[15, 60]] && !blank[[14, 60]] && blank[[34, 60]] && !blank[[35, 60]]);
    }

    #[test]
    fn masks_that_leave_their_box_empty_give_the_box() {
        let mut region = Array2::from_elem((20, 40), false);
        region[[3, 3]] = true;
        let f = Found { bounds: [5.0, 5.0, 45.0, 25.0], score: 0.5, box_score: 0.5, origin: [5, 5], region };
        let view = View { factor: 1.0, origin: [0, 0], size: [50, 50] };
        assert!(placed(f, view, [1.0, 1.0], [50, 50]).region.iter().all(|&v| v));
    }
}
