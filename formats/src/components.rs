//! Connected parts of labels.
//!
//! Works on runs along i joined by union-find, so that memory follows the surface of the labels, not the volume, and
//! one pass serves all labels.

use ndarray::ArrayRef3;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::task::Task;

/// Which voxels touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connectivity {
    /// Those that share a face.
    #[default]
    #[serde(rename = "6")]
    Six,
    /// Those that share a face or an edge.
    #[serde(rename = "18")]
    Eighteen,
    /// Those that share a face, an edge or a corner.
    #[serde(rename = "26")]
    TwentySix,
}

/// Voxels with one label that lie side by side along i.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The row, counted as in memory: `k · nj + j`.
    pub row: usize,
    /// First voxel of the run along i.
    pub from: u32,
    /// One past its last voxel.
    pub to: u32,
    /// The label.
    pub label: u16,
    /// The connected part it belongs to: the number of that part's first run.
    pub part: u32,
}

impl Run {
    /// Voxels in the run.
    #[must_use]
    pub fn voxels(&self) -> u64 {
        u64::from(self.to - self.from)
    }
}

/// The connected parts of the labels of an array. Voxels with different labels never belong to one part.
#[derive(Clone, Debug, Default)]
pub struct Components {
    /// All runs in the order of memory.
    pub runs: Vec<Run>,
    /// Voxels of each part, by the number of its first run; 0 for runs that are not the first of a part.
    pub sizes: Vec<u64>,
}

impl Components {
    /// Finds the parts of all labels (`[k, j, i]`) that `takes` accepts.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`].
    pub fn of(
        labels: &ArrayRef3<u16>,
        connectivity: Connectivity,
        task: &Task,
        takes: impl Fn(u16) -> bool,
    ) -> Result<Self> {
        let (_, h, w) = labels.dim();
        let mut runs: Vec<Run> = Vec::new();
        let mut rows: Vec<usize> = Vec::with_capacity(labels.dim().0 * h + 1);
        for (r, row) in labels.rows().into_iter().enumerate() {
            if r % h.max(1) == 0 {
                task.check()?;
            }
            rows.push(runs.len());
            let mut i = 0;
            while i < w {
                let label = row[i];
                let from = i;
                while i < w && row[i] == label {
                    i += 1;
                }
                if takes(label) {
                    runs.push(Run {
                        row: r,
                        from: from as u32,
                        to: i as u32,
                        label,
                        part: runs.len() as u32,
                    });
                }
            }
        }
        rows.push(runs.len());
        // Rows before this one that can touch it, and by how far runs may miss each other along i.
        let (face, edge) = match connectivity {
            Connectivity::Six => (0, None),
            Connectivity::Eighteen => (1, Some(0)),
            Connectivity::TwentySix => (1, Some(1)),
        };
        for r in 0..rows.len() - 1 {
            let (k, j) = (r / h, r % h);
            let mut join = |other: usize, reach: u32| join_rows(&mut runs, &rows, r, other, reach);
            if j > 0 {
                join(r - 1, face);
            }
            if k > 0 {
                join(r - h, face);
                if let Some(reach) = edge {
                    if j > 0 {
                        join(r - h - 1, reach);
                    }
                    if j + 1 < h {
                        join(r - h + 1, reach);
                    }
                }
            }
        }
        let mut sizes = vec![0; runs.len()];
        for n in 0..runs.len() {
            let part = find(&mut runs, n as u32);
            runs[n].part = part;
            sizes[part as usize] += runs[n].voxels();
        }
        Ok(Self { runs, sizes })
    }

    /// For each label found, its largest part (the number of that part's first run) and the size of the part in
    /// voxels, by label. Of equal parts the one whose first voxel comes first in memory.
    #[must_use]
    pub fn largest(&self) -> std::collections::BTreeMap<u16, (u32, u64)> {
        let mut out = std::collections::BTreeMap::new();
        for (n, run) in self.runs.iter().enumerate() {
            let size = self.sizes[n];
            if size > 0 {
                let best = out.entry(run.label).or_insert((n as u32, size));
                if size > best.1 {
                    *best = (n as u32, size);
                }
            }
        }
        out
    }
}

/// Joins touching runs of two rows; `reach` is 1 when diagonal neighbours along i touch.
fn join_rows(runs: &mut [Run], rows: &[usize], a: usize, b: usize, reach: u32) {
    let (mut x, mut y) = (rows[a], rows[b]);
    while x < rows[a + 1] && y < rows[b + 1] {
        join_runs(runs, x, y, reach);
        let (p, q) = (runs[x].to, runs[y].to);
        // A run of another label may follow without a gap and touch across the corner.
        if p == q && x + 1 < rows[a + 1] {
            join_runs(runs, x + 1, y, reach);
        }
        if p < q { x += 1 } else { y += 1 }
    }
}

fn join_runs(runs: &mut [Run], x: usize, y: usize, reach: u32) {
    let (p, q) = (runs[x], runs[y]);
    if p.label == q.label && p.from < q.to + reach && q.from < p.to + reach {
        let (s, t) = (find(runs, x as u32), find(runs, y as u32));
        // The smaller root wins, so that a root is the first run of its part.
        runs[s.max(t) as usize].part = s.min(t);
    }
}

fn find(runs: &mut [Run], mut n: u32) -> u32 {
    while runs[n as usize].part != n {
        let up = runs[runs[n as usize].part as usize].part;
        runs[n as usize].part = up;
        n = up;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, arr3};

    #[test]
    fn labels_that_touch_stay_apart_and_corners_count_when_asked() {
        let a = arr3(&[[[1u16, 2, 0], [0, 0, 1]], [[0, 0, 0], [1, 0, 1]]]);
        let count = |c| {
            let found = Components::of(&a, c, &Task::silent(), |l| l != 0).unwrap();
            found.sizes.iter().filter(|s| **s > 0).count()
        };
        // 1 at the origin; 2 beside it; the two 1s above each other at i = 2; 1 at (0, 1, 1).
        assert_eq!(count(Connectivity::Six), 4);
        // (0,0,0) and (0,1,1) share an edge.
        assert_eq!(count(Connectivity::Eighteen), 3);
        assert_eq!(count(Connectivity::TwentySix), 3);
    }

    /// Runs of different labels follow each other without a gap, so two runs that end together can each touch the
    /// other's successor across a corner.
    #[test]
    fn runs_that_end_together_do_not_hide_the_next_one() {
        let a: Array3<u16> = arr3(&[[[1, 1, 2, 2], [2, 2, 1, 1]]]);
        let found = Components::of(&a, Connectivity::Eighteen, &Task::silent(), |l| l != 0).unwrap();
        assert_eq!(found.sizes, [4, 4, 0, 0]);
        let c: Array3<u16> = arr3(&[[[1, 1, 0, 0], [1, 0, 1, 0]]]);
        let found = Components::of(&c, Connectivity::Eighteen, &Task::silent(), |l| l != 0).unwrap();
        assert_eq!(found.sizes, [4, 0, 0]);
    }

    #[test]
    fn the_largest_of_each_label() {
        let a = arr3(&[[[1u16, 0, 1, 1], [2, 0, 0, 0], [0, 0, 2, 0]]]);
        let found = Components::of(&a, Connectivity::Six, &Task::silent(), |l| l != 0).unwrap();
        let largest = found.largest();
        assert_eq!((largest[&1], largest[&2].1), ((1, 2), 1));
        assert_eq!(found.runs[largest[&2].0 as usize].row, 1);
    }
}
