//! Places that show text, and what is decided about them.

use models::mayor::contour::{self, Point};
use models::mayor::{Line, TextSettings};
use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

/// Part of a line that must lie outside of what was blanked for it to count as left.
const LEFT: f64 = 0.2;
/// Two regions that share so much of the smaller one are the same place.
const SAME: f64 = 0.5;

/// What a region is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The pixels.
    Pixels,
    /// The overlay of this group (60xx).
    Overlay(u16),
}

/// Why a region is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The network found text.
    Found,
    /// The network found text in the redacted copy.
    SecondLook,
    /// A rule about the device.
    Rule,
    /// A person drew it.
    Drawn,
}

/// A place that shows text. It says where, never what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// What it is part of.
    pub target: Target,
    /// Frames it is blanked in, from 0; all when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<usize>>,
    /// Outline in pixels: x to the right, y down, (0, 0) the corner of the first pixel.
    pub outline: Vec<Point>,
    /// Pixels around it that are blanked as well.
    pub margin: usize,
    /// 0..=1; 1 for what a rule or a person says.
    pub score: f64,
    /// Why it is there.
    pub reason: Reason,
    /// Whether it is to be blanked; none while nobody has decided.
    #[serde(default = "yes")]
    pub approved: Option<bool>,
}

fn yes() -> Option<bool> {
    Some(true)
}

impl Region {
    /// A line that the network found.
    #[must_use]
    pub fn found(line: &Line, target: Target, frames: Option<Vec<usize>>, pack: &TextSettings) -> Self {
        let height = contour::thickness(&line.rectangle);
        let whole = models::mayor::glue::region(&line.shape.region.mapv(|v| f32::from(u8::from(v))), 0.5);
        Self {
            target,
            frames,
            outline: contour::trace(&whole, line.shape.origin),
            margin: pack.margin_px.max(pack.margin_of_height * height).ceil() as usize,
            score: (f64::from(line.score) * 1e4).round() / 1e4,
            reason: Reason::Found,
            approved: yes(),
        }
    }

    /// An upright rectangle.
    #[must_use]
    pub fn rectangle([x, y, w, h]: [f64; 4], reason: Reason) -> Self {
        Self {
            target: Target::Pixels,
            frames: None,
            outline: vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]],
            margin: 0,
            score: 1.0,
            reason,
            approved: yes(),
        }
    }

    /// Whether it is blanked in a frame.
    #[must_use]
    pub fn is_in(&self, frame: usize) -> bool {
        self.frames.as_ref().is_none_or(|f| f.contains(&frame))
    }

    /// Whether it is to be blanked.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.approved == Some(true)
    }

    /// Whether nobody has decided.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.approved.is_none()
    }

    /// Upright bounds of the outline: left, top, right, bottom.
    #[must_use]
    pub fn bounds(&self) -> [f64; 4] {
        self.outline
            .iter()
            .fold([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY], |b, p| {
                [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[0]), b[3].max(p[1])]
            })
    }

    /// Where it is, in words.
    #[must_use]
    pub fn place(&self) -> String {
        let [x0, y0, x1, y1] = self.bounds();
        let frame = match self.frames.as_deref() {
            Some([first, ..]) => format!(" of frame {}", first + 1),
            _ => String::new(),
        };
        format!("columns {x0:.0} to {x1:.0}, rows {y0:.0} to {y1:.0}{frame}")
    }

    /// Its pixels without the margin.
    #[must_use]
    pub fn pixels(&self, [rows, columns]: [usize; 2]) -> Array2<bool> {
        let mut out = Array2::from_elem((rows, columns), false);
        contour::fill_into(&mut out, &self.outline);
        out
    }

    /// Sets its pixels and those of the margin.
    pub fn mark(&self, out: &mut Array2<bool>) {
        let (rows, columns) = out.dim();
        // Reports are edited by people: no margin is wider than the image.
        let margin = self.margin.min(rows + columns);
        contour::widen_into(out, &self.pixels([rows, columns]), [0, 0], margin);
    }
}

/// What is thought of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing was found, with everything that makes the network see more rather than less.
    Safe,
    /// Something that may be text.
    Review,
    /// Text.
    Unsafe,
}

impl Verdict {
    /// By the surest region.
    #[must_use]
    pub fn of(regions: &[Region], sure: f64) -> Self {
        match regions.iter().map(|r| r.score).fold(None, |m: Option<f64>, s| Some(m.map_or(s, |m| m.max(s))))
        {
            None => Self::Safe,
            Some(score) if score >= sure => Self::Unsafe,
            Some(_) => Self::Review,
        }
    }
}

fn shared(a: &Region, b: &Region) -> f64 {
    let ([ax0, ay0, ax1, ay1], [bx0, by0, bx1, by1]) = (a.bounds(), b.bounds());
    let area = |x0: f64, y0: f64, x1: f64, y1: f64| (x1 - x0).max(0.0) * (y1 - y0).max(0.0);
    let common = area(ax0.max(bx0), ay0.max(by0), ax1.min(bx1), ay1.min(by1));
    common / area(ax0, ay0, ax1, ay1).min(area(bx0, by0, bx1, by1)).max(1e-9)
}

/// Regions as a person decided about them. What was not among those is undecided.
#[must_use]
pub fn decided(earlier: &[Region], found: Vec<Region>) -> Vec<Region> {
    let mut out = earlier.to_vec();
    for region in found {
        let is_known = earlier.iter().any(|e| e.target == region.target && shared(e, &region) >= SAME);
        if !is_known {
            out.push(Region { approved: None, ..region });
        }
    }
    out
}

/// Pixels that are blanked in a frame.
#[must_use]
pub fn blanked(
    regions: &[Region],
    frame: usize,
    target: Target,
    [rows, columns]: [usize; 2],
) -> Array2<bool> {
    let mut mask = Array2::from_elem((rows, columns), false);
    let those = regions.iter().filter(|r| r.is_approved() && r.target == target && r.is_in(frame));
    those.for_each(|r| r.mark(&mut mask));
    mask
}

/// Fills blanked pixels with what is around them, between the nearest others to the left, right, above and below: for a second look, in
/// which the sharp edges of blanked places would be taken for letters. What lies in them is a constant, and known to be.
pub fn smooth_over(picture: &mut Array3<u8>, mask: &Array2<bool>) {
    let (h, w) = mask.dim();
    let mut sums = Array3::<f32>::zeros((h, w, 4));
    let mut add = |line: &[[usize; 2]]| {
        let mut from = 0;
        while from < line.len() {
            if !mask[line[from]] {
                from += 1;
                continue;
            }
            let to = (from..line.len()).find(|&i| !mask[line[i]]).unwrap_or(line.len());
            let before = from.checked_sub(1).map(|i| line[i]);
            let after = line.get(to).copied();
            for (i, &at) in line.iter().enumerate().take(to).skip(from) {
                let ends = [(before, i + 1 - from), (after, to - i)];
                for (end, away) in ends.into_iter().filter_map(|(e, d)| e.map(|e| (e, d))) {
                    let weight = 1.0 / away as f32;
                    for c in 0..3 {
                        sums[[at[0], at[1], c]] += weight * f32::from(picture[[end[0], end[1], c]]);
                    }
                    sums[[at[0], at[1], 3]] += weight;
                }
            }
            from = to;
        }
    };
    (0..h).for_each(|y| add(&(0..w).map(|x| [y, x]).collect::<Vec<_>>()));
    (0..w).for_each(|x| add(&(0..h).map(|y| [y, x]).collect::<Vec<_>>()));
    for ((y, x), _) in mask.indexed_iter().filter(|(_, m)| **m) {
        for c in 0..3 {
            let weight = sums[[y, x, 3]];
            picture[[y, x, c]] = if weight > 0.0 { (sums[[y, x, c]] / weight).round() as u8 } else { 0 };
        }
    }
}

/// Text that a second look found, `sure` or surer, and that is neither blanked nor was let stand by a person. `size` is frames,
/// columns, rows.
#[must_use]
pub fn left(again: &[Region], regions: &[Region], [_, columns, rows]: [usize; 3], sure: f64) -> Vec<Region> {
    let mut known: Vec<(Target, Array2<bool>)> = Vec::new();
    for region in regions {
        let slot = match known.iter().position(|(t, _)| *t == region.target) {
            Some(n) => n,
            None => {
                known.push((region.target, Array2::from_elem((rows, columns), false)));
                known.len() - 1
            }
        };
        region.mark(&mut known[slot].1);
    }
    let is_left = |r: &&Region| {
        if r.score < sure {
            return false;
        }
        let pixels = r.pixels([rows, columns]);
        let all = pixels.iter().filter(|&&v| v).count();
        let covered = known
            .iter()
            .find(|(t, _)| *t == r.target)
            .map_or(0, |(_, mask)| pixels.iter().zip(mask).filter(|(p, m)| **p && **m).count());
        (all - covered) as f64 > LEFT * all as f64
    };
    again.iter().filter(is_left).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle(x: f64, w: f64) -> Region {
        Region { margin: 2, ..Region::rectangle([x, 10.0, w, 8.0], Reason::Found) }
    }

    #[test]
    fn marks_hold_the_margin_and_stay_in_the_picture() {
        let mut mask = Array2::from_elem((20, 30), false);
        rectangle(25.0, 10.0).mark(&mut mask);
        let far = Region { margin: usize::MAX, ..rectangle(25.0, 10.0) };
        far.mark(&mut Array2::from_elem((20, 30), false));
        assert!(mask[[8, 25]] && mask[[10, 23]] && mask[[19, 29]] && !mask[[7, 25]] && !mask[[10, 22]]);
    }

    #[test]
    fn what_is_left_is_what_lies_outside() {
        let blanked = [rectangle(10.0, 20.0), Region { approved: Some(false), ..rectangle(60.0, 20.0) }];
        let size = [1, 100, 40];
        assert!(left(&[rectangle(9.0, 22.0), rectangle(62.0, 10.0)], &blanked, size, 0.5).is_empty());
        assert_eq!(left(&[rectangle(20.0, 30.0)], &blanked, size, 0.5).len(), 1);
        let overlay = Region { target: Target::Overlay(0x6000), ..rectangle(10.0, 20.0) };
        assert_eq!(left(&[overlay], &blanked, size, 0.5).len(), 1, "another target");
    }

    #[test]
    fn smoothing_leaves_no_edge_where_all_around_is_one() {
        let mut picture = Array3::from_elem((20, 30, 3), 77u8);
        let mut mask = Array2::from_elem((20, 30), false);
        rectangle(5.0, 20.0).mark(&mut mask);
        for ((y, x), _) in mask.indexed_iter().filter(|(_, m)| **m) {
            picture[[y, x, 1]] = 0;
        }
        smooth_over(&mut picture, &mask);
        assert!(picture.iter().all(|&v| v == 77));
        let mut whole = Array3::from_elem((4, 4, 3), 9u8);
        smooth_over(&mut whole, &Array2::from_elem((4, 4), true));
        assert!(whole.iter().all(|&v| v == 0));
    }

    #[test]
    fn what_nobody_saw_is_undecided() {
        let earlier = [Region { approved: Some(false), ..rectangle(10.0, 20.0) }];
        let regions = decided(&earlier, vec![rectangle(11.0, 20.0), rectangle(60.0, 20.0)]);
        assert_eq!(regions.iter().map(|r| r.approved).collect::<Vec<_>>(), [Some(false), None]);
        assert_eq!(Verdict::of(&[], 0.5), Verdict::Safe);
        let unsure = Region { score: 0.3, ..rectangle(0.0, 5.0) };
        assert_eq!(Verdict::of(std::slice::from_ref(&unsure), 0.5), Verdict::Review);
        assert_eq!(Verdict::of(&[unsure, rectangle(0.0, 5.0)], 0.5), Verdict::Unsafe);
    }
}
