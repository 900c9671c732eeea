//! Class names asked of a picture: every pixel a class, segments, or single things.

use std::collections::BTreeSet;

use ndarray::{Array2, ArrayViewMut2, Axis};

use super::opened::Classified;
use super::picture::Frame;
use super::settings::{Asking, Prompting};
use super::work::label;
use crate::xdecoder::postprocess::{Certainty, instances, panoptic, semantic, softmax};

/// Bytes that the masks of all queries may take at the size of the picture; else they are decided at the network's size.
const MOST_BYTES: usize = 512 << 20;
/// Instances are looked for among so many pairs of query and class, as in the official program,
const PAIRS: usize = 100;
/// and shown from this score on.
const CERTAIN: f32 = 0.5;
/// Of two instances of which this part of the smaller one is shared, the less likely one is dropped.
const SAME: f64 = 0.5;

/// What was decided of a slice.
pub struct Told {
    /// Per class: its largest probability, and whether a pixel has it.
    pub scores: Vec<(f32, bool)>,
    /// Names of the labels, from 1, where they are not the classes.
    pub names: Vec<String>,
}

/// Labels of a slice, rows and columns as the network sees them.
pub fn decide(
    out: &Classified,
    frame: &Frame,
    prompting: &Prompting,
    mut to: ArrayViewMut2<'_, u16>,
) -> Told {
    let (logits, size) = (out.logits.view(), frame.size());
    let bytes = out.masks.dim().0 * size[0] * size[1] * 4;
    let masks =
        if bytes <= MOST_BYTES { frame.masks(out.masks.view()) } else { frame.coarse(out.masks.view()) };
    let (_, h, w) = masks.dim();
    let classes = prompting.prompts.len();
    let p = softmax(logits);
    let largest = |class: usize| p.column(class).fold(0.0f32, |m, &v| m.max(v));
    let (mut labels, mut names) = (Array2::<u16>::zeros((h, w)), Vec::new());
    match prompting.asking {
        Asking::Phrases => {}
        Asking::Semantic => {
            let scores = semantic(logits, masks.view(), false);
            for ((y, x), to) in labels.indexed_iter_mut() {
                let mut best = 0;
                for class in 1..scores.dim().0 {
                    if scores[[class, y, x]] > scores[[best, y, x]] {
                        best = class;
                    }
                }
                *to = label(best);
            }
        }
        Asking::Panoptic => {
            let (ids, segments) = panoptic(logits, masks.view(), &BTreeSet::new(), Certainty::default());
            labels = ids.mapv(|id| segments.iter().find(|s| s.id == id).map_or(0, |s| label(s.class)));
        }
        Asking::Instances => {
            let mut counts = vec![0; classes];
            for one in instances(logits, masks.view(), None, PAIRS) {
                let mask = masks.index_axis(Axis(0), one.query);
                let inside = mask.iter().filter(|v| **v > 0.0).count();
                let free = labels.iter().zip(mask).filter(|(l, v)| **l == 0 && **v > 0.0).count();
                if one.score < CERTAIN || (free as f64) < SAME * inside as f64 || free == 0 {
                    continue;
                }
                counts[one.class] += 1;
                names.push(format!("{} {}", prompting.prompts[one.class], counts[one.class]));
                let id = label(names.len() - 1);
                labels.iter_mut().zip(mask).filter(|(l, v)| **l == 0 && **v > 0.0).for_each(|(l, _)| *l = id);
            }
        }
    }
    for ((r, c), to) in to.indexed_iter_mut() {
        *to = labels[[r * h / size[0].max(1), c * w / size[1].max(1)]];
    }
    let is_there = |class: usize| match prompting.asking {
        Asking::Instances => names.iter().any(|n| n.starts_with(&format!("{} ", prompting.prompts[class]))),
        _ => labels.iter().any(|&l| l == label(class)),
    };
    let scores = (0..classes).map(|class| (largest(class), is_there(class))).collect();
    Told { scores, names }
}
