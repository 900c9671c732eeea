//! Networks that answer with boxes around what they found, slice by slice.

use std::collections::BTreeMap;

use formats::{Grid, Task};
use inference::net::{Net, Port};
use ndarray::{Array4, ArrayD, ArrayView2, Axis, Ix2};
use serde::Serialize;

use super::adapt::{to_layout, unexpected};
use super::classify::{Slice, probabilities};
use super::fit::Fitted;
use super::graph::{BoxLayout, Graph, Values};
use crate::error::Result;
use crate::manifest::{Manifest, Output};

/// Candidates of a slice that are compared with each other, and boxes of a slice that are kept.
const MOST: [usize; 2] = [3000, 300];

/// Boxes around what was found. The field names are keys of files and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detected {
    /// Names of the classes, in network order.
    pub classes: Vec<String>,
    /// Boxes were kept from this score on.
    pub threshold: f64,
    /// The boxes, best first.
    pub boxes: Vec<FoundBox>,
    /// The grid that they lie on: that of the image.
    #[serde(skip)]
    pub grid: Grid,
    /// Facts about the making.
    #[serde(skip)]
    pub facts: BTreeMap<String, String>,
}

impl Detected {
    /// Corners of a box in the middle of its slice, in RAS+ millimetres, around.
    #[must_use]
    pub fn outline(&self, b: &FoundBox) -> [[f64; 3]; 4] {
        let named = b.slice.and_then(|s| ['i', 'j', 'k'].iter().position(|a| *a == s.axis));
        let thin = (0..3).rev().find(|&a| self.grid.size_ijk[a] == 1);
        let through = named.or(thin).unwrap_or(2);
        let [a, c] = [[1, 2], [0, 2], [0, 1]][through];
        [[0, 0], [1, 0], [1, 1], [0, 1]].map(|[across, down]| {
            let mut p = [0, 1, 2].map(|x| f64::midpoint(b.min_ijk[x], b.max_ijk[x]));
            p[a] = [b.min_ijk, b.max_ijk][across][a];
            p[c] = [b.min_ijk, b.max_ijk][down][c];
            self.grid.world_from_voxel.apply(p)
        })
    }
}

/// A box around something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundBox {
    /// Name of its class.
    pub class: String,
    /// Number of its class in network order, from 0.
    pub class_index: usize,
    /// 0..=1.
    pub score: f32,
    /// The slice it lies in, of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    /// Corner with the smallest indices along i, j, k as stored; voxel n reaches from n − ½ to n + ½.
    pub min_ijk: [f64; 3],
    /// The opposite corner.
    pub max_ijk: [f64; 3],
    /// Both corners in RAS+ millimetres.
    pub corners_ras: [[f64; 3]; 2],
}

/// A box on the input of the network: left, top, right, bottom in pixels from its corner.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Raw {
    sides: [f32; 4],
    class: usize,
    score: f32,
}

impl Raw {
    fn centred([x, y, w, h]: [f32; 4], class: usize, score: f32) -> Self {
        Self { sides: [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0], class, score }
    }

    fn area(&self) -> f32 {
        let [l, t, r, b] = self.sides;
        (r - l).max(0.0) * (b - t).max(0.0)
    }

    /// Intersection over union.
    fn iou(&self, other: &Self) -> f32 {
        let (a, b) = (self.sides, other.sides);
        let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
        let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
        let both = width * height;
        let union = self.area() + other.area() - both;
        if union > 0.0 { both / union } else { 0.0 }
    }
}

/// Runs the network on each slice of `[C, D, H, W]`, which lies on `working`, and finds boxes on `source`.
pub(super) fn run(
    m: &Manifest,
    graph: &Graph,
    image: &Array4<f32>,
    [working, source]: [&Grid; 2],
    net: &mut dyn Net,
    task: &Task,
) -> Result<Vec<FoundBox>> {
    let Output::Boxes { names, layout, threshold, overlap } = &m.output else { return Ok(Vec::new()) };
    let name = net.inputs().first().map(|p| p.name.clone()).unwrap_or_default();
    let (slices, mut boxes) = (image.dim().1, Vec::new());
    for d in 0..slices {
        task.at("Running the network", d as f32 / slices as f32)?;
        let plane = image.slice(ndarray::s![.., d..=d, .., ..]);
        let fitted = Fitted::new(&plane, graph, m.tiles.patch);
        let (_, _, h, w) = fitted.array.dim();
        let given = to_layout(fitted.array.view().insert_axis(Axis(0)).into_dyn(), &graph.input)?;
        let answers = net.run(&[(&name, given.view())], task)?;
        let found = decode(*layout, net.outputs(), &answers, names.len(), graph.values, [w, h])?;
        let kept = suppress(found, *threshold as f32, *overlap as f32);
        boxes.extend(kept.into_iter().filter_map(|raw| place(&raw, names, &fitted, d, working, source)));
    }
    boxes.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(boxes)
}

/// The box on the image; none when nothing of it lies there.
fn place(
    raw: &Raw,
    names: &[String],
    fitted: &Fitted,
    d: usize,
    working: &Grid,
    source: &Grid,
) -> Option<FoundBox> {
    let [w, h, _] = working.size_ijk.map(|n| n as f64);
    // From edges of pixels to positions of voxels: the first pixel begins at −½.
    let x = [raw.sides[0], raw.sides[2]].map(|v| fitted.back(2, f64::from(v)).clamp(0.0, w) - 0.5);
    let y = [raw.sides[1], raw.sides[3]].map(|v| fitted.back(1, f64::from(v)).clamp(0.0, h) - 0.5);
    if x[0] >= x[1] || y[0] >= y[1] {
        return None;
    }
    let corner = |n: usize, z: f64| working.world_from_voxel.apply([x[n], y[n], d as f64 + z]);
    let source_from_world = source.voxel_from_world()?;
    // Through the thickness of the slice, so that the box has a volume.
    let (p, q) = (source_from_world.apply(corner(0, -0.5)), source_from_world.apply(corner(1, 0.5)));
    Some(FoundBox {
        class: names.get(raw.class)?.clone(),
        class_index: raw.class,
        score: raw.score,
        slice: Slice::of(working, source, d),
        min_ijk: [0, 1, 2].map(|a| p[a].min(q[a])),
        max_ijk: [0, 1, 2].map(|a| p[a].max(q[a])),
        corners_ras: [corner(0, 0.0), corner(1, 0.0)],
    })
}

/// Boxes from a score on, and of boxes of a class that overlap more than a part of their union the better ones.
fn suppress(mut found: Vec<Raw>, threshold: f32, overlap: f32) -> Vec<Raw> {
    let is_sound = |r: &Raw| r.sides.iter().all(|v| v.is_finite()) && r.score.is_finite();
    found.retain(|r| is_sound(r) && r.score >= threshold && r.area() > 0.0);
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST[0]);
    let mut kept: Vec<Raw> = Vec::new();
    for raw in found {
        if kept.len() < MOST[1] && kept.iter().all(|k| k.class != raw.class || k.iou(&raw) <= overlap) {
            kept.push(raw);
        }
    }
    kept
}

/// All boxes of an answer, whatever their scores. `size` is width and height of the input.
fn decode(
    layout: BoxLayout,
    ports: &[Port],
    answers: &[ArrayD<f32>],
    classes: usize,
    values: Values,
    size: [usize; 2],
) -> Result<Vec<Raw>> {
    let shapes = || answers.iter().map(|a| format!("{:?}", a.shape())).collect::<Vec<_>>().join(", ");
    let wrong = |expected: String| unexpected(format!("outputs of shapes {}", shapes()), expected);
    // The one picture of a call.
    let first = |n: usize| {
        let answer = answers.get(n)?.view();
        let answer = if answer.ndim() == 3 && answer.len_of(Axis(0)) == 1 {
            answer.index_axis_move(Axis(0), 0)
        } else {
            answer
        };
        answer.into_dimensionality::<Ix2>().ok()
    };
    match layout {
        BoxLayout::Yolo | BoxLayout::YoloObjectness => {
            let has_objectness = layout == BoxLayout::YoloObjectness;
            let columns = 4 + usize::from(has_objectness) + classes;
            let expected = || wrong(format!("one of N×{columns} values, {classes} classes among them"));
            let table = first(0).ok_or_else(expected)?;
            let table = match table.dim() {
                (rows, _) if rows == columns => table.reversed_axes(),
                (_, n) if n == columns => table,
                _ => return Err(expected().into()),
            };
            Ok(table.outer_iter().filter_map(|row| yolo(&row.to_vec(), has_objectness, values)).collect())
        }
        BoxLayout::Rows => {
            let expected = || wrong("rows of 6 values, or of 7 with the number of the picture".to_owned());
            let table = first(0).ok_or_else(expected)?;
            let skip = match table.dim().1 {
                6 => 0,
                7 => 1,
                _ => return Err(expected().into()),
            };
            let row = |r: ndarray::ArrayView1<'_, f32>| {
                let r = r.iter().skip(skip).copied().collect::<Vec<f32>>();
                // Of the two last values in 7 columns the class comes first.
                let (score, class) = if skip == 1 { (r[5], r[4]) } else { (r[4], r[5]) };
                Some(Raw { sides: [r[0], r[1], r[2], r[3]], class: number(class, classes)?, score })
            };
            Ok(table.outer_iter().filter_map(row).collect())
        }
        BoxLayout::Torchvision => {
            let find = |word: &str| ports.iter().position(|p| p.name.to_lowercase().contains(word));
            let expected = || wrong("boxes, scores and labels, with these words in their names".to_owned());
            let (Some(b), Some(s), Some(l)) = (find("box"), find("score"), find("label")) else {
                return Err(expected().into());
            };
            let boxes = first(b).ok_or_else(expected)?;
            let list = |n: usize| answers.get(n).map(|a| a.iter().copied().collect::<Vec<f32>>());
            let (scores, labels) = (list(s).unwrap_or_default(), list(l).unwrap_or_default());
            if boxes.dim().1 != 4 || scores.len() != boxes.dim().0 || labels.len() != scores.len() {
                return Err(expected().into());
            }
            let row = |((r, &score), &label): ((ndarray::ArrayView1<'_, f32>, &f32), &f32)| {
                Some(Raw { sides: [r[0], r[1], r[2], r[3]], class: number(label - 1.0, classes)?, score })
            };
            Ok(boxes.outer_iter().zip(&scores).zip(&labels).filter_map(row).collect())
        }
        BoxLayout::Detr => {
            let expected = || wrong(format!("N×Q×{} scores and N×Q×4 boxes", classes + 1));
            let pair = |wanted: usize| -> Option<ArrayView2<'_, f32>> {
                (0..answers.len()).filter_map(&first).find(|t| t.dim().1 == wanted)
            };
            let is_boxes = |n: &usize| ports.get(*n).is_some_and(|p| p.name.to_lowercase().contains("box"));
            // With three classes both have four columns, and names decide.
            let boxes = (0..answers.len()).find(is_boxes).and_then(&first).or_else(|| pair(4));
            let scores = (0..answers.len())
                .filter(|n| !is_boxes(n))
                .filter_map(&first)
                .find(|t| t.dim().1 == classes + 1);
            let (Some(boxes), Some(scores)) = (boxes, scores) else { return Err(expected().into()) };
            if boxes.dim() != (scores.dim().0, 4) {
                return Err(expected().into());
            }
            let [w, h] = size.map(|n| n as f32);
            let row = |(b, s): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
                let p = probabilities(s.to_vec(), values, false);
                let (class, score) = best(&p[..classes])?;
                Some(Raw::centred([b[0] * w, b[1] * h, b[2] * w, b[3] * h], class, score))
            };
            Ok(boxes.outer_iter().zip(scores.outer_iter()).filter_map(row).collect())
        }
    }
}

fn yolo(row: &[f32], has_objectness: bool, values: Values) -> Option<Raw> {
    let (place, scores) = row.split_first_chunk::<4>()?;
    let scores = probabilities(scores.to_vec(), values, true);
    let (objectness, scores) = if has_objectness {
        let (first, rest) = scores.split_first()?;
        (*first, rest)
    } else {
        (1.0, &scores[..])
    };
    let (class, score) = best(scores)?;
    Some(Raw::centred(*place, class, score * objectness))
}

fn best(scores: &[f32]) -> Option<(usize, f32)> {
    scores.iter().copied().enumerate().rev().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The number of a class, if it is one.
fn number(class: f32, classes: usize) -> Option<usize> {
    let n = class.round();
    (n >= 0.0 && n < classes as f32).then_some(n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, Array2};

    fn ports(names: &[&str]) -> Vec<Port> {
        names.iter().map(|n| Port { name: (*n).to_owned(), dims: vec![] }).collect()
    }

    /// The same two boxes (10, 20)–(30, 60) of class 1 at 0.75 and (0, 0)–(8, 8) of class 0 at 0.5, in each layout.
    #[test]
    fn every_layout_says_the_same() {
        let two = |b: Vec<Raw>| {
            let b = suppress(b, 0.3, 1.0);
            assert_eq!(b.len(), 2, "{b:?}");
            let near = |a: [f32; 4], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(
                near(b[0].sides, [10.0, 20.0, 30.0, 60.0]) && (b[0].class, b[1].class) == (1, 0),
                "{b:?}"
            );
            assert!(near(b[1].sides, [0.0, 0.0, 8.0, 8.0]), "{b:?}");
            assert!((b[0].score - 0.75).abs() < 1e-5 && (b[1].score - 0.5).abs() < 1e-5, "{b:?}");
        };
        let go = |layout, names: &[&str], answers: &[ArrayD<f32>], values| {
            decode(layout, &ports(names), answers, 2, values, [100, 200]).unwrap()
        };
        let p = Values::Probabilities;
        let yolo: Array2<f32> =
            ndarray::array![[20.0, 40.0, 20.0, 40.0, 0.1, 0.75], [4.0, 4.0, 8.0, 8.0, 0.5, 0.0]];
        let rows = yolo.clone().insert_axis(Axis(0)).into_dyn();
        two(go(BoxLayout::Yolo, &["o"], std::slice::from_ref(&rows), p));
        let columns = yolo.reversed_axes().insert_axis(Axis(0)).into_dyn();
        two(go(BoxLayout::Yolo, &["o"], &[columns], p));
        let old =
            ndarray::array![[[20.0, 40.0, 20.0, 40.0, 0.75, 0.1, 1.0], [4.0, 4.0, 8.0, 8.0, 1.0, 0.5, 0.0]]];
        two(go(BoxLayout::YoloObjectness, &["o"], &[old.into_dyn()], p));
        let six = ndarray::array![[[10.0, 20.0, 30.0, 60.0, 0.75, 1.0], [0.0, 0.0, 8.0, 8.0, 0.5, 0.0]]];
        two(go(BoxLayout::Rows, &["o"], &[six.into_dyn()], p));
        let seven =
            ndarray::array![[0.0, 10.0, 20.0, 30.0, 60.0, 1.0, 0.75], [0.0, 0.0, 0.0, 8.0, 8.0, 0.0, 0.5]];
        two(go(BoxLayout::Rows, &["o"], &[seven.into_dyn()], p));
        let boxes = ndarray::array![[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 8.0, 8.0]].into_dyn();
        let (labels, scores) = (Array::from_vec(vec![2.0, 1.0]).into_dyn(), Array::from_vec(vec![0.75, 0.5]));
        two(go(
            BoxLayout::Torchvision,
            &["boxes", "labels", "scores"],
            &[boxes, labels, scores.into_dyn()],
            p,
        ));
        // DETR: softmax of logarithms gives the numbers back; sides are parts of 100 × 200.
        let logits = ndarray::array![[[0.05_f32, 0.75, 0.2], [0.5, 0.2, 0.3]]].mapv(f32::ln).into_dyn();
        let parts = ndarray::array![[[0.2, 0.2, 0.2, 0.2], [0.04, 0.02, 0.08, 0.04]]].into_dyn();
        two(go(BoxLayout::Detr, &["logits", "pred_boxes"], &[logits, parts], Values::Logits));
    }

    #[test]
    fn the_better_of_two_that_overlap_stays() {
        let raw = |l: f32, class, score| Raw { sides: [l, 0.0, l + 10.0, 10.0], class, score };
        // 2.5 of 10 apart: intersection 75, union 125.
        let all = vec![
            raw(0.0, 0, 0.6),
            raw(2.5, 0, 0.9),
            raw(0.0, 1, 0.5),
            raw(50.0, 0, 0.1),
            raw(f32::NAN, 0, 1.0),
        ];
        let kept = suppress(all.clone(), 0.25, 0.5);
        assert_eq!(kept, [raw(2.5, 0, 0.9), raw(0.0, 1, 0.5)]);
        assert_eq!(suppress(all, 0.25, 0.61).len(), 3);
    }

    #[test]
    fn answers_of_other_shapes_are_errors() {
        for layout in BoxLayout::ALL.map(|(_, l)| l) {
            let odd = Array::<f32, _>::zeros((1, 5, 9)).into_dyn();
            assert!(decode(layout, &ports(&["x"]), &[odd], 2, Values::Logits, [9, 9]).is_err());
            assert!(decode(layout, &ports(&[]), &[], 2, Values::Logits, [9, 9]).is_err());
        }
    }
}
