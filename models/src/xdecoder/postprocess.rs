//! From the decoder's logits to what people asked for: semantic, panoptic and instance maps, ranks of pictures.
//!
//! Q queries; K classes beside the last, "background". Masks are logits `(Q, H, W)`; every threshold on them is 0.

use std::collections::{BTreeMap, BTreeSet};

use inference::bicubic::bicubic;
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3, Axis, Zip, s};

/// Sizes, `[height, width]`, on the way of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of the network's input, with its padding.
    pub padded: [usize; 2],
    /// Of the picture inside it.
    pub resized: [usize; 2],
    /// Of the picture given.
    pub original: [usize; 2],
}

/// Masks at a quarter of the padded size at the size of the picture given: enlarged, cut to the picture, resized. Two
/// steps, as trained.
#[must_use]
pub fn full_size(masks: ArrayView3<'_, f32>, sizes: Sizes) -> Array3<f32> {
    let [h, w] = sizes.resized;
    let padded = bicubic(masks, sizes.padded);
    let cut = padded.slice(s![.., ..h.min(sizes.padded[0]), ..w.min(sizes.padded[1])]);
    bicubic(cut, sizes.original)
}

pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Rows as probabilities.
#[must_use]
pub fn softmax(logits: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut p = logits.to_owned();
    for mut row in p.outer_iter_mut() {
        let largest = row.fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        row.mapv_inplace(|v| (v - largest).exp());
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
    }
    p
}

/// The place of the largest value, the first of equal ones.
fn largest(row: ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Scores `(K, H, W)` of every class; with the background `(K + 1, H, W)`. The largest tells a pixel's class.
#[must_use]
pub fn semantic(
    logits: ArrayView2<'_, f32>,
    masks: ArrayView3<'_, f32>,
    keeps_background: bool,
) -> Array3<f32> {
    let p = softmax(logits);
    let count = logits.ncols() - usize::from(!keeps_background && logits.ncols() > 0);
    let (_, h, w) = masks.dim();
    let mut scores = Array3::<f32>::zeros((count, h, w));
    for (row, mask) in p.outer_iter().zip(masks.outer_iter()) {
        let soft = mask.mapv(sigmoid);
        for (mut score, &weight) in scores.outer_iter_mut().zip(row.iter().take(count)) {
            score.scaled_add(weight, &soft);
        }
    }
    scores
}

/// A segment of a panoptic map.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number in the map, from 1.
    pub id: u16,
    /// Whether it is one countable thing.
    pub is_thing: bool,
    /// Its class.
    pub class: usize,
    /// Probability of the class.
    pub score: f32,
}

/// Thresholds of [`panoptic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certainty {
    /// A query counts above this probability of its class.
    pub score: f32,
    /// And where so much of its mask is its own.
    pub overlap: f32,
}

impl Default for Certainty {
    fn default() -> Self {
        Self { score: 0.8, overlap: 0.8 }
    }
}

/// The map of segments `[H, W]`, 0 where none is, and the segments. Segments of one class that is no thing are one.
#[must_use]
pub fn panoptic(
    logits: ArrayView2<'_, f32>,
    masks: ArrayView3<'_, f32>,
    things: &BTreeSet<usize>,
    certainty: Certainty,
) -> (Array2<u16>, Vec<Segment>) {
    let p = softmax(logits);
    let (_, h, w) = masks.dim();
    let kept: Vec<(usize, usize, f32)> = p
        .outer_iter()
        .enumerate()
        .map(|(q, row)| (q, largest(row), row[largest(row)]))
        .filter(|&(_, class, score)| class + 1 != logits.ncols() && score > certainty.score)
        .collect();
    let (mut ids, mut segments) = (Array2::<u16>::zeros((h, w)), Vec::<Segment>::new());
    // The owner of each pixel: of the kept queries the one whose score times mask is largest.
    let mut owner = Array2::<usize>::from_elem((h, w), usize::MAX);
    let mut most = Array2::<f32>::from_elem((h, w), f32::NEG_INFINITY);
    for (n, &(q, _, score)) in kept.iter().enumerate() {
        Zip::from(&mut owner).and(&mut most).and(masks.index_axis(Axis(0), q)).for_each(|o, m, &v| {
            let value = score * sigmoid(v);
            if value > *m {
                (*o, *m) = (n, value);
            }
        });
    }
    let mut stuff = BTreeMap::<usize, u16>::new();
    for (n, &(q, class, score)) in kept.iter().enumerate() {
        let mask = masks.index_axis(Axis(0), q);
        let is_big = |v: f32| sigmoid(v) >= 0.5;
        let own = owner.iter().filter(|&&o| o == n).count();
        let big = mask.iter().filter(|&&v| is_big(v)).count();
        let both = owner.iter().zip(mask).filter(|&(&o, &v)| o == n && is_big(v)).count();
        if both == 0 || (own as f32 / big as f32) < certainty.overlap {
            continue;
        }
        let is_thing = things.contains(&class);
        let id = if let Some(&id) = stuff.get(&class) {
            id
        } else {
            let id = u16::try_from(segments.len() + 1).unwrap_or(u16::MAX);
            segments.push(Segment { id, is_thing, class, score });
            if !is_thing {
                stuff.insert(class, id);
            }
            id
        };
        Zip::from(&mut ids).and(&owner).and(mask).for_each(|to, &o, &v| {
            if o == n && is_big(v) {
                *to = id;
            }
        });
    }
    (ids, segments)
}

/// A thing found by a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instance {
    /// The class's probability times the mask's mean certainty inside it.
    pub score: f32,
    /// Its class.
    pub class: usize,
    /// The query whose mask above 0 it is; one query may stand under several classes.
    pub query: usize,
}

/// The likeliest `count` pairs of query and class, of `things` only if given; best first.
#[must_use]
pub fn instances(
    logits: ArrayView2<'_, f32>,
    masks: ArrayView3<'_, f32>,
    things: Option<&BTreeSet<usize>>,
    count: usize,
) -> Vec<Instance> {
    let p = softmax(logits);
    let classes = logits.ncols().saturating_sub(1);
    let mut pairs: Vec<(f32, usize, usize)> = p
        .outer_iter()
        .enumerate()
        .flat_map(|(q, row)| {
            row.iter()
                .take(classes)
                .copied()
                .enumerate()
                .collect::<Vec<_>>()
                .into_iter()
                .map(move |(k, v)| (v, q, k))
        })
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs.truncate(count);
    let mut certain = BTreeMap::<usize, f32>::new();
    let mut found: Vec<Instance> = pairs
        .into_iter()
        .filter(|(_, _, class)| things.is_none_or(|t| t.contains(class)))
        .map(|(p, query, class)| {
            let certainty = *certain.entry(query).or_insert_with(|| {
                let inside = masks
                    .index_axis(Axis(0), query)
                    .iter()
                    .filter(|v| **v > 0.0)
                    .fold((0.0f64, 0usize), |(sum, n), &v| (sum + f64::from(sigmoid(v)), n + 1));
                (inside.0 / (inside.1 as f64 + 1e-6)) as f32
            });
            Instance { score: p * certainty, class, query }
        })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// Cosine of two vectors.
#[must_use]
pub fn likeness(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    let length = |v: ArrayView1<'_, f32>| v.dot(&v).sqrt();
    a.dot(&b) / (length(a) * length(b))
}

/// How well a picture fits a text: the class token's vector and the backbone's, half each.
#[must_use]
pub fn retrieval(token: ArrayView1<'_, f32>, pooled: ArrayView1<'_, f32>, text: ArrayView1<'_, f32>) -> f32 {
    0.5 * likeness(token, text) + 0.5 * likeness(pooled, text)
}

/// Sentence vectors `(templates, D)` of a class name put into several templates: one unit vector.
#[must_use]
pub fn class_vector(sentences: ArrayView2<'_, f32>) -> Array1<f32> {
    let mut sum = Array1::<f32>::zeros(sentences.ncols());
    for row in sentences.outer_iter() {
        sum.scaled_add(1.0 / (row.dot(&row).sqrt() + 1e-7), &row);
    }
    let length = sum.dot(&sum).sqrt().max(f32::MIN_POSITIVE);
    sum / length
}

/// A class name as it is put into templates.
#[must_use]
pub fn class_text(name: &str) -> String {
    name.replace("-other", "").replace("-merged", "").replace("-stuff", "")
}
