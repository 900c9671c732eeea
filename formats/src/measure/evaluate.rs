//! Comparing a segmentation with the truth, structure by structure; definitions in [`super`].

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array3, Axis};
use rayon::prelude::*;
use serde::Serialize;

use super::groups::{Groups, IdSet, Side};
use super::pairs::{self, Bounds, Pair};
use super::surface::{self, SurfaceDistances};
use super::{csv_cell, csv_number};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::labels::LabelMap;
use crate::notice::Notice;
use crate::task::Task;
use crate::voxels::Shared;

/// What is compared.
#[derive(Clone, Debug, Default)]
pub enum Compare {
    /// Every label but 0 that occurs in either.
    #[default]
    All,
    /// These labels, whether they occur or not.
    Labels(Vec<u16>),
    /// Named groups of labels.
    Groups(Groups),
}

/// One structure compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its number; absent for groups.
    pub label: Option<u16>,
    /// Its name.
    pub name: String,
    /// The averages it takes part in.
    pub sets: Vec<String>,
    /// Voxels of the truth, `|T|`.
    pub truth_voxels: u64,
    /// Voxels of the prediction on the truth's grid, `|P|`.
    pub pred_voxels: u64,
    /// Voxels of both, `|T∩P|`.
    pub common_voxels: u64,
    /// Dice coefficient 0..=1; absent when the structure is in neither.
    pub dice: Option<f64>,
    /// Intersection over union 0..=1; absent when the structure is in neither.
    pub iou: Option<f64>,
    /// `|T|` in cubic millimetres.
    pub truth_mm3: f64,
    /// `|P| − |T|` in cubic millimetres.
    pub volume_difference_mm3: f64,
    /// `|P| − |T|` in percent of `|T|`; absent when `|T|` is 0.
    pub volume_difference_percent: Option<f64>,
    /// Surface distances; absent when the structure is missing on either side.
    pub surface: Option<SurfaceDistances>,
}

/// An average over the structures of a set that the truth holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The set's name; `"all"` when no sets were named.
    pub set: String,
    /// Structures averaged.
    pub structures: usize,
    /// Mean Dice (a structure missing from the prediction counts as 0).
    pub dice: f64,
    /// Mean IoU, likewise.
    pub iou: f64,
    /// Mean HD95 over the structures that have one.
    pub hd95_mm: Option<f64>,
    /// Mean of the mean surface distances, likewise.
    pub mean_surface_mm: Option<f64>,
    /// Structures of the truth that the prediction lacks, so that they have no surface distance.
    pub missing: usize,
}

/// How often left was taken for right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sides {
    /// Voxels that the truth gives to left structures.
    pub left_voxels: u64,
    /// Voxels that the truth gives to right structures.
    pub right_voxels: u64,
    /// Left voxels that the prediction gives to a right structure.
    pub left_called_right: u64,
    /// Right voxels that the prediction gives to a left structure.
    pub right_called_left: u64,
    /// Both kinds of mistake over all sided voxels, 0..=1.
    pub swapped_fraction: f64,
}

/// A comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Structures, in the order of the labels or groups.
    pub rows: Vec<Row>,
    /// Averages, one per set.
    pub means: Vec<Mean>,
    /// Left/right confusion, when any label has a side (from the groups, or from the names in the tables).
    pub sides: Option<Sides>,
    /// Odd things, such as a prediction that had to be resampled.
    pub notices: Vec<Notice>,
}

/// One structure to be compared.
struct Structure {
    label: Option<u16>,
    name: String,
    truth: IdSet,
    pred: IdSet,
    sets: Vec<String>,
}

/// Compares `pred` with `truth` on the truth's grid. A prediction on another grid is resampled to the nearest voxel
/// through world space (background outside), with a notice. Works in one pass over both arrays plus the surface
/// search, in parallel.
///
/// # Errors
/// [`Error::Argument`] for a singular placement or an empty list of labels; [`Error::Cancelled`].
pub fn evaluate(pred: &LabelMap, truth: &LabelMap, compare: &Compare, task: &Task) -> Result<Evaluation> {
    task.at("Comparing", 0.0)?;
    let mut notices = Vec::new();
    let on_grid = onto(pred, &truth.grid, &mut notices)?;
    let pairs = pairs::count(&truth.labels, &on_grid);
    task.at("Comparing", 0.2)?;

    let structures = structures(compare, &pairs, pred, truth)?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let row = |s: &Structure| {
        task.check()?;
        let row = measure(s, &pairs, truth, &on_grid);
        let n = 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        task.at("Comparing", 0.2 + 0.8 * n as f32 / structures.len() as f32)?;
        Ok(row)
    };
    let rows: Vec<Row> = structures.par_iter().map(row).collect::<Result<_>>()?;
    let means = means(&rows);
    let sides = sides(compare, &pairs, pred, truth);
    Ok(Evaluation { rows, means, sides, notices })
}

/// The prediction's labels on the truth's grid.
fn onto(pred: &LabelMap, grid: &Grid, notices: &mut Vec<Notice>) -> Result<Shared<u16>> {
    // A hundredth of a voxel lies within what headers lose by rounding.
    let tolerance_mm = 0.01 * grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    if pred.grid.is_same(grid, tolerance_mm) {
        return Ok(pred.labels.clone());
    }
    let voxel_from_world = pred.grid.voxel_from_world();
    let pred_from_truth = voxel_from_world
        .ok_or_else(|| {
            Error::Argument("the prediction's affine is singular; it has no place in space".into())
        })?
        .after(&grid.world_from_voxel);
    let [nk, nj, ni] = grid.shape_kji();
    let mut out = Array3::<u16>::zeros((nk, nj, ni));
    let source = pred.labels.view();
    let size = pred.grid.size_ijk.map(|n| n as f64);
    out.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(k, mut slice)| {
        for ((j, i), v) in slice.indexed_iter_mut() {
            // Halves round up; 1e-9 keeps rounding noise from deciding on grids that halve a voxel.
            let p = pred_from_truth.apply([i as f64, j as f64, k as f64]).map(|x| (x + 0.5 + 1e-9).floor());
            if (0..3).all(|a| p[a] >= 0.0 && p[a] < size[a]) {
                *v = source[[p[2] as usize, p[1] as usize, p[0] as usize]];
            }
        }
    });
    let text = |g: &Grid| format!("{:?} {}", g.size_ijk, g.orientation_code());
    notices.push(Notice::info(
        "prediction-resampled",
        format!(
            "the prediction ({}) was resampled to the nearest voxel of the truth's grid ({})",
            text(&pred.grid),
            text(grid)
        ),
    ));
    let foreground = |a: &Array3<u16>| a.iter().any(|&v| v != 0);
    if !foreground(&out) && pred.labels.iter().any(|&v| v != 0) {
        notices.push(Notice::warning(
            "no-overlap-in-space",
            "no labelled voxel of the prediction lies inside the truth's volume; check that both are placed alike",
        ));
    }
    Ok(out.into_shared())
}

fn structures(
    compare: &Compare,
    pairs: &[Pair],
    pred: &LabelMap,
    truth: &LabelMap,
) -> Result<Vec<Structure>> {
    let single = |id: u16| Structure {
        label: Some(id),
        name: if truth.table.get(id).is_some() { truth.table.name(id) } else { pred.table.name(id) },
        truth: id.into(),
        pred: id.into(),
        sets: vec!["all".to_owned()],
    };
    Ok(match compare {
        Compare::All => {
            let ids: BTreeSet<u16> =
                pairs.iter().flat_map(|p| [p.truth, p.pred]).filter(|&id| id != 0).collect();
            ids.into_iter().map(single).collect()
        }
        Compare::Labels(ids) if ids.is_empty() => {
            return Err(Error::Argument("no labels to compare".to_owned()));
        }
        Compare::Labels(ids) => ids.iter().copied().map(single).collect(),
        Compare::Groups(groups) => groups
            .0
            .iter()
            .map(|g| Structure {
                label: None,
                name: g.name.clone(),
                truth: g.truth.clone(),
                pred: g.pred.clone(),
                sets: g.sets.clone(),
            })
            .collect(),
    })
}

fn measure(s: &Structure, pairs: &[Pair], truth: &LabelMap, on_grid: &Shared<u16>) -> Row {
    let (mut truth_voxels, mut pred_voxels, mut common_voxels) = (0, 0, 0);
    let (mut truth_bounds, mut pred_bounds): (Option<Bounds>, Option<Bounds>) = (None, None);
    let grow = |all: &mut Option<Bounds>, b: Bounds| *all = Some(all.map_or(b, |a| a.union(b)));
    for p in pairs {
        let (in_truth, in_pred) = (s.truth.contains(p.truth), s.pred.contains(p.pred));
        if in_truth {
            truth_voxels += p.voxels;
            grow(&mut truth_bounds, p.bounds);
        }
        if in_pred {
            pred_voxels += p.voxels;
            grow(&mut pred_bounds, p.bounds);
        }
        if in_truth && in_pred {
            common_voxels += p.voxels;
        }
    }
    let points = |labels: &Shared<u16>, ids: &IdSet, bounds: Bounds| {
        let inside: Vec<bool> = (0..=u16::MAX).map(|id| ids.contains(id)).collect();
        surface::surface_points(labels, &inside, bounds, &truth.grid.world_from_voxel)
    };
    let surface = truth_bounds.zip(pred_bounds).and_then(|(t, p)| {
        surface::compare(&points(&truth.labels, &s.truth, t), &points(on_grid, &s.pred, p))
    });
    let ratio = |n: u64, d: u64| (d > 0).then(|| n as f64 / d as f64);
    let voxel_mm3 = truth.grid.voxel_volume_mm3();
    let difference = pred_voxels as f64 - truth_voxels as f64;
    Row {
        label: s.label,
        name: s.name.clone(),
        sets: s.sets.clone(),
        truth_voxels,
        pred_voxels,
        common_voxels,
        dice: ratio(2 * common_voxels, truth_voxels + pred_voxels),
        iou: ratio(common_voxels, truth_voxels + pred_voxels - common_voxels),
        truth_mm3: truth_voxels as f64 * voxel_mm3,
        volume_difference_mm3: difference * voxel_mm3,
        volume_difference_percent: (truth_voxels > 0).then(|| 100.0 * difference / truth_voxels as f64),
        surface,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0usize, 0.0), |(n, s), v| (n + 1, s + v));
    (n > 0).then(|| sum / n as f64)
}

fn means(rows: &[Row]) -> Vec<Mean> {
    let mut order: Vec<&String> = Vec::new();
    for set in rows.iter().flat_map(|r| &r.sets) {
        if !order.contains(&set) {
            order.push(set);
        }
    }
    let one = |set: &&String| {
        let members: Vec<&Row> = rows.iter().filter(|r| r.truth_voxels > 0 && r.sets.contains(set)).collect();
        let surfaces = || members.iter().filter_map(|r| r.surface);
        Some(Mean {
            set: (*set).clone(),
            structures: members.len(),
            dice: mean(members.iter().filter_map(|r| r.dice))?,
            iou: mean(members.iter().filter_map(|r| r.iou))?,
            hd95_mm: mean(surfaces().map(|s| s.hd95_mm)),
            mean_surface_mm: mean(surfaces().map(|s| s.mean_mm)),
            missing: members.iter().filter(|r| r.pred_voxels == 0).count(),
        })
    };
    order.iter().filter_map(one).collect()
}

fn sides(compare: &Compare, pairs: &[Pair], pred: &LabelMap, truth: &LabelMap) -> Option<Sides> {
    let mut known: [BTreeMap<u16, Option<Side>>; 2] = Default::default();
    let mut side = |is_pred: bool, id: u16| {
        *known[usize::from(is_pred)].entry(id).or_insert_with(|| match compare {
            Compare::Groups(groups) => groups.side(id, |g| if is_pred { &g.pred } else { &g.truth }),
            _ => {
                let tables = if is_pred { [pred, truth] } else { [truth, pred] };
                tables.iter().find_map(|m| m.table.get(id)).and_then(|e| Side::of_name(&e.name))
            }
        })
    };
    let mut s = Sides::default();
    for p in pairs {
        match (side(false, p.truth), side(true, p.pred)) {
            (Some(Side::Left), given) => {
                s.left_voxels += p.voxels;
                s.left_called_right += if given == Some(Side::Right) { p.voxels } else { 0 };
            }
            (Some(Side::Right), given) => {
                s.right_voxels += p.voxels;
                s.right_called_left += if given == Some(Side::Left) { p.voxels } else { 0 };
            }
            (None, _) => {}
        }
    }
    let all = s.left_voxels + s.right_voxels;
    s.swapped_fraction = (s.left_called_right + s.right_called_left) as f64 / all.max(1) as f64;
    (all > 0).then_some(s)
}

impl Evaluation {
    /// The rows as CSV (RFC 4180, `\n` line ends); undefined cells are empty, sets are joined by spaces.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut out = String::from(
            "label,name,sets,truth_voxels,pred_voxels,common_voxels,dice,iou,truth_mm3,volume_difference_mm3,\
             volume_difference_percent,hd95_mm,hausdorff_mm,mean_surface_mm\n",
        );
        for r in &self.rows {
            let cells = [
                r.label.map_or_else(String::new, |l| l.to_string()),
                csv_cell(&r.name),
                csv_cell(&r.sets.join(" ")),
                r.truth_voxels.to_string(),
                r.pred_voxels.to_string(),
                r.common_voxels.to_string(),
                csv_number(r.dice, 6),
                csv_number(r.iou, 6),
                csv_number(Some(r.truth_mm3), 3),
                csv_number(Some(r.volume_difference_mm3), 3),
                csv_number(r.volume_difference_percent, 3),
                csv_number(r.surface.map(|s| s.hd95_mm), 4),
                csv_number(r.surface.map(|s| s.hausdorff_mm), 4),
                csv_number(r.surface.map(|s| s.mean_mm), 4),
            ];
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }

    /// The rows, averages, sides and notices as aligned text for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let number =
            |v: Option<f64>, decimals: usize| v.map_or_else(|| "–".into(), |v| format!("{v:.decimals$}"));
        let width = self.rows.iter().map(|r| r.name.chars().count()).chain([9]).max().unwrap_or(9);
        let mut out = format!(
            "{:>6}  {:<width$}  {:>10}  {:>10}  {:>6}  {:>6}  {:>8}  {:>8}  {:>8}\n",
            "label", "structure", "truth mL", "pred mL", "Dice", "IoU", "vol %", "HD95 mm", "mean mm"
        );
        for r in &self.rows {
            let label = r.label.map_or_else(String::new, |l| l.to_string());
            out.push_str(&format!(
                "{label:>6}  {:<width$}  {:>10.3}  {:>10.3}  {:>6}  {:>6}  {:>8}  {:>8}  {:>8}\n",
                r.name,
                r.truth_mm3 / 1000.0,
                (r.truth_mm3 + r.volume_difference_mm3) / 1000.0,
                number(r.dice, 4),
                number(r.iou, 4),
                number(r.volume_difference_percent, 1),
                number(r.surface.map(|s| s.hd95_mm), 3),
                number(r.surface.map(|s| s.mean_mm), 3),
            ));
        }
        for m in &self.means {
            out.push_str(&format!(
                "mean of “{}” ({} structures, {} missing): Dice {:.4}, IoU {:.4}, HD95 {} mm, mean surface {} mm\n",
                m.set,
                m.structures,
                m.missing,
                m.dice,
                m.iou,
                number(m.hd95_mm, 3),
                number(m.mean_surface_mm, 3)
            ));
        }
        if let Some(s) = &self.sides {
            out.push_str(&format!(
                "left called right: {} of {} voxels; right called left: {} of {} ({:.4} % of both)\n",
                s.left_called_right,
                s.left_voxels,
                s.right_called_left,
                s.right_voxels,
                100.0 * s.swapped_fraction
            ));
        }
        for n in &self.notices {
            out.push_str(&format!("note: {}\n", n.message));
        }
        out
    }
}
