//! Arithmetic of boxes in single precision, operation by operation as `insula_authoring.mayor.boxes`: anchors, the box code,
//! overlap, suppression, the level a region is read from.

use super::config::{Config, STRIDES};

/// A box (x0, y0, x1, y1) in pixels, y down.
pub type Box4 = [f32; 4];

/// Upper end of dw and dh before the exponential: log(1000 / 16), the convention of Mask R-CNN.
const CLAMP: f32 = 4.135_166_6;

/// Anchors of one level, row by row, then the ratios. Centres lie in the middle of the cells.
pub fn anchors(config: &Config, stride: usize, height: usize, width: usize) -> Vec<Box4> {
    let side = config.anchor_scale * stride as f32;
    let half = |r: f32| {
        // In double precision until here, as the definition.
        let root = f64::from(r).sqrt();
        [(f64::from(side) / root / 2.0) as f32, (f64::from(side) * root / 2.0) as f32]
    };
    let halves: Vec<[f32; 2]> = config.anchor_ratios.iter().map(|&r| half(r)).collect();
    let mut out = Vec::with_capacity(height * width * halves.len());
    for row in 0..height {
        let y = (row as f32 + 0.5) * stride as f32;
        for column in 0..width {
            let x = (column as f32 + 0.5) * stride as f32;
            out.extend(halves.iter().map(|[w, h]| [x - w, y - h, x + w, y + h]));
        }
    }
    out
}

/// The box that a code (dx, dy, dw, dh), multiplied by `stds`, leads to from a reference.
pub fn decode(stds: [f32; 4], reference: Box4, code: [f32; 4]) -> Box4 {
    let d: [f32; 4] = std::array::from_fn(|i| code[i] * stds[i]);
    let side = [reference[2] - reference[0], reference[3] - reference[1]];
    let centre: [f32; 2] = std::array::from_fn(|a| reference[a] + side[a] * 0.5 + d[a] * side[a]);
    let half: [f32; 2] = std::array::from_fn(|a| d[2 + a].min(CLAMP).exp() * side[a] * 0.5);
    [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]
}

/// A box cut to the picture.
pub fn clip(b: Box4, [height, width]: [usize; 2]) -> Box4 {
    let (h, w) = (height as f32, width as f32);
    [b[0].clamp(0.0, w), b[1].clamp(0.0, h), b[2].clamp(0.0, w), b[3].clamp(0.0, h)]
}

/// Whether both sides have at least a pixel.
pub fn is_large(b: Box4) -> bool {
    b[2] - b[0] >= 1.0 && b[3] - b[1] >= 1.0
}

/// Area in pixels.
pub fn area(b: Box4) -> f32 {
    (b[2] - b[0]) * (b[3] - b[1])
}

/// Intersection over union; 0 for two boxes without area.
pub fn iou(a: Box4, b: Box4) -> f32 {
    let w = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let h = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let common = w * h;
    common / (area(a) + area(b) - common).max(1e-9)
}

/// Indices by falling score; equal scores keep their order. What is no number comes last.
pub fn order(scores: &[f32]) -> Vec<usize> {
    let mut rank: Vec<usize> = (0..scores.len()).collect();
    let key = |i: usize| if scores[i].is_nan() { f32::NEG_INFINITY } else { scores[i] };
    rank.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    rank
}

/// Indices of the boxes kept, by falling score: a box goes when its IoU with a kept better one exceeds the threshold.
pub fn nms(boxes: &[Box4], scores: &[f32], threshold: f32) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for i in order(scores) {
        if kept.iter().all(|&k| iou(boxes[k], boxes[i]) <= threshold) {
            kept.push(i);
        }
    }
    kept
}

/// Which of P2..P5 a region is read from, 0..=3: floor(4 + log₂(√area / 224)) − 2, clamped (Lin et al., *Feature Pyramid
/// Networks*, equation 1). The tiny number keeps a side of exactly 112 or 224 on the upper level in spite of rounding.
pub fn level(b: Box4) -> usize {
    let side = area(b).max(1e-6).sqrt();
    (2.0 + (side / 224.0).log2() + 1e-6).floor().clamp(0.0, 3.0) as usize
}

/// Anchors of P2..P6 of a picture whose sides are multiples of 32.
pub fn all_anchors(config: &Config, [height, width]: [usize; 2]) -> Vec<Vec<Box4>> {
    STRIDES.iter().map(|&s| anchors(config, s, height.div_ceil(s), width.div_ceil(s))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_code_is_the_reference_and_unit_codes_move_and_enlarge() {
        let r = [10.0, 20.0, 30.0, 28.0];
        assert_eq!(decode([1.0; 4], r, [0.0; 4]), r);
        let moved = decode([0.1, 0.1, 0.2, 0.2], r, [5.0, -10.0, 5.0 * 2f32.ln(), 0.0]);
        // Centre (20, 24) moves by (0.5 · 20, −1 · 8), and the width doubles.
        for (a, b) in moved.iter().zip([10.0, 12.0, 50.0, 20.0]) {
            assert!((a - b).abs() < 1e-4, "{moved:?}");
        }
        let huge = decode([1.0; 4], r, [0.0, 0.0, 1e9, f32::INFINITY]);
        assert!(
            (huge[2] - huge[0] - 20.0 * 62.5).abs() < 0.01 && (huge[3] - huge[1] - 8.0 * 62.5).abs() < 0.01
        );
    }

    #[test]
    fn suppression_keeps_the_best_of_each_heap() {
        let boxes =
            [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [50.0, 0.0, 60.0, 10.0], [0.0, 0.0, 10.0, 10.0]];
        assert_eq!(nms(&boxes, &[0.5, 0.9, 0.1, 0.9], 0.5), [1, 2]);
        assert_eq!(nms(&boxes, &[0.5, 0.9, f32::NAN, 0.9], 0.9), [1, 3, 2]);
        assert!(nms(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn regions_are_read_from_the_level_of_their_size() {
        let square = |side: f32| [0.0, 0.0, side, side];
        for (side, wanted) in
            [(8.0, 0), (111.9, 0), (112.0, 1), (223.0, 1), (224.0, 2), (448.0, 3), (4000.0, 3)]
        {
            assert_eq!(level(square(side)), wanted, "{side}");
        }
    }
}
