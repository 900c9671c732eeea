//! How often each pair of labels meets in two label arrays, and where: all overlap measures come from this one pass.

use std::collections::HashMap;

use ndarray::Axis;
use rayon::prelude::*;

use crate::voxels::Shared;

/// The smallest box of voxels, `[k, j, i]`, first and last inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub first: [usize; 3],
    pub last: [usize; 3],
}

impl Bounds {
    /// The smallest box that holds both.
    pub fn union(self, other: Self) -> Self {
        Self {
            first: [0, 1, 2].map(|a| self.first[a].min(other.first[a])),
            last: [0, 1, 2].map(|a| self.last[a].max(other.last[a])),
        }
    }
}

/// One pair of labels that occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub truth: u16,
    pub pred: u16,
    pub voxels: u64,
    pub bounds: Bounds,
}

type Cells = HashMap<(u16, u16), (u64, Bounds)>;

fn add(cells: &mut Cells, key: (u16, u16), voxels: u64, bounds: Bounds) {
    cells
        .entry(key)
        .and_modify(|(n, b)| {
            *n += voxels;
            *b = b.union(bounds);
        })
        .or_insert((voxels, bounds));
}

/// All pairs but (0, 0), ordered by numbers. Arrays `[k, j, i]` of equal shape, split over slices.
pub(super) fn count(truth: &Shared<u16>, pred: &Shared<u16>) -> Vec<Pair> {
    let slices = truth.axis_iter(Axis(0)).into_par_iter().zip(pred.axis_iter(Axis(0)).into_par_iter());
    let cells = slices
        .enumerate()
        .fold(Cells::new, |mut cells, (k, (t, p))| {
            for (j, (t, p)) in t.outer_iter().zip(p.outer_iter()).enumerate() {
                // Runs of equal pairs are long, so the table is touched seldom.
                let (mut start, mut current) = (0, (0, 0));
                let mut close = |key, start: usize, end: usize| {
                    if key != (0, 0) {
                        let bounds = Bounds { first: [k, j, start], last: [k, j, end - 1] };
                        add(&mut cells, key, (end - start) as u64, bounds);
                    }
                };
                for (i, (&t, &p)) in t.iter().zip(p.iter()).enumerate() {
                    if (t, p) != current {
                        close(current, start, i);
                        (start, current) = (i, (t, p));
                    }
                }
                close(current, start, t.len());
            }
            cells
        })
        .reduce(Cells::new, |mut a, b| {
            for (key, (voxels, bounds)) in b {
                add(&mut a, key, voxels, bounds);
            }
            a
        });
    let mut out: Vec<Pair> = cells
        .into_iter()
        .map(|((truth, pred), (voxels, bounds))| Pair { truth, pred, voxels, bounds })
        .collect();
    out.sort_unstable_by_key(|p| (p.truth, p.pred));
    out
}

/// Where a label lies in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelExtent {
    /// The label; never 0.
    pub label: u16,
    /// Its voxels.
    pub voxels: u64,
    /// First voxel of its box.
    pub first_ijk: [usize; 3],
    /// Last voxel of its box (inclusive).
    pub last_ijk: [usize; 3],
}

/// Size and box of every label but 0 in an array `[k, j, i]`, by number, in one parallel pass.
#[must_use]
pub fn label_extents(labels: &Shared<u16>) -> Vec<LabelExtent> {
    let flip = |kji: [usize; 3]| [kji[2], kji[1], kji[0]];
    let extent = |p: Pair| LabelExtent {
        label: p.truth,
        voxels: p.voxels,
        first_ijk: flip(p.bounds.first),
        last_ijk: flip(p.bounds.last),
    };
    count(labels, labels).into_iter().map(extent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn counts_and_boxes() {
        let t = arr3(&[[[0, 1, 1], [0, 1, 0]], [[0, 0, 0], [2, 0, 1]]]);
        let p = arr3(&[[[0, 1, 3], [0, 1, 0]], [[3, 0, 0], [2, 0, 1]]]);
        let pairs = count(&t.into_shared(), &p.into_shared());
        let brief: Vec<_> = pairs.iter().map(|p| (p.truth, p.pred, p.voxels)).collect();
        assert_eq!(brief, [(0, 3, 1), (1, 1, 3), (1, 3, 1), (2, 2, 1)]);
        assert_eq!(pairs[1].bounds, Bounds { first: [0, 0, 1], last: [1, 1, 2] });
    }
}
