//! A reversible change of a segmentation.

use std::ops::Range;
use std::sync::Arc;

use formats::{LabelEntry, LabelTable, Shared};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use crate::scene::LabelLayer;

/// Neighbours in memory that change in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Position of the first voxel in memory: `(k · nj + j) · ni + i`.
    pub start: u64,
    /// Voxels, at least 1; a run may go on into the next row.
    pub len: u32,
    /// The label before.
    pub old: u16,
    /// The label after; differs from `old`.
    pub new: u16,
}

impl Run {
    fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }

    fn range(&self) -> Range<usize> {
        self.start as usize..self.end() as usize
    }
}

/// A box of voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoxelBox {
    /// First voxel.
    pub first_ijk: [usize; 3],
    /// Last voxel (inclusive).
    pub last_ijk: [usize; 3],
}

impl VoxelBox {
    /// The smallest box that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            first_ijk: [0, 1, 2].map(|a| self.first_ijk[a].min(other.first_ijk[a])),
            last_ijk: [0, 1, 2].map(|a| self.last_ijk[a].max(other.last_ijk[a])),
        }
    }

    /// Voxels along i, j, k.
    #[must_use]
    pub fn size_ijk(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| self.last_ijk[a] + 1 - self.first_ijk[a])
    }
}

/// The label table before and after an edit.
#[derive(Clone, Debug, PartialEq)]
pub struct TableChange {
    /// The table before.
    pub old: LabelTable,
    /// The table after.
    pub new: LabelTable,
}

impl TableChange {
    /// The table after the change of `table`, which is like the old one: what is shown and hidden is the user's view and
    /// no edit, so it stays.
    fn made_of(&self, table: &LabelTable) -> LabelTable {
        let mut new = self.new.clone();
        for entry in &mut new.entries {
            if let Some(now) = table.get(entry.id) {
                entry.visible = now.visible;
            }
        }
        new
    }
}

/// Whether two tables are equal but for what is shown and hidden.
fn is_alike(a: &LabelTable, b: &LabelTable) -> bool {
    let is_like =
        |(a, b): (&LabelEntry, &LabelEntry)| a == b || LabelEntry { visible: b.visible, ..a.clone() } == *b;
    a.entries.len() == b.entries.len() && a.entries.iter().zip(&b.entries).all(is_like)
}

/// A reversible change of a label volume, of its table, or of both. Cost in memory follows the changed rows, not the
/// volume.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelEdit {
    pub(super) size_ijk: [usize; 3],
    /// In the order of memory, without overlap.
    pub(super) runs: Vec<Run>,
    pub(super) bounds: Option<VoxelBox>,
    pub(super) table: Option<Box<TableChange>>,
}

impl LabelEdit {
    /// An edit of sorted, non-overlapping runs.
    pub(super) fn new(size_ijk: [usize; 3], runs: Vec<Run>, table: Option<Box<TableChange>>) -> Self {
        let bounds = bounds(size_ijk, &runs);
        Self { size_ijk, runs, bounds, table }
    }

    /// The edit that paints the slices `k` of these labels onto an empty volume of their size.
    ///
    /// # Panics
    /// Beyond the volume.
    #[must_use]
    pub fn painting(labels: &Shared<u16>, k: Range<usize>) -> Self {
        let size = size_ijk(labels);
        let first = k.start * size[0] * size[1];
        let mut runs = Vec::new();
        for (n, &new) in slice(labels)[first..k.end * size[0] * size[1]].iter().enumerate() {
            push(&mut runs, Run { start: (first + n) as u64, len: 1, old: 0, new });
        }
        Self::new(size, runs, None)
    }

    /// An edit that only changes the table of labels of this size; empty when the tables are equal.
    #[must_use]
    pub fn of_table(size_ijk: [usize; 3], old: LabelTable, new: LabelTable) -> Self {
        Self::new(size_ijk, Vec::new(), changed(old, new))
    }

    /// The same edit that also replaces the table.
    #[must_use]
    pub fn with_table(mut self, old: LabelTable, new: LabelTable) -> Self {
        self.table = changed(old, new);
        self
    }

    /// The changes, in the order of memory.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The change of the table.
    #[must_use]
    pub fn table(&self) -> Option<&TableChange> {
        self.table.as_deref()
    }

    /// The box around the voxels that change; `None` when only the table does.
    #[must_use]
    pub fn bounds(&self) -> Option<VoxelBox> {
        self.bounds
    }

    /// Voxels that change.
    #[must_use]
    pub fn voxels(&self) -> u64 {
        self.runs.iter().map(|r| u64::from(r.len)).sum()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.table.is_none()
    }

    /// Size (i, j, k) of the volume the edit is for.
    #[must_use]
    pub fn size_ijk(&self) -> [usize; 3] {
        self.size_ijk
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        let rows = |t: &LabelTable| {
            let text: usize = t.entries.iter().map(|e| e.name.len() + e.abbreviation.len()).sum();
            text + t.entries.len() * size_of::<formats::LabelEntry>()
        };
        let tables =
            self.table.as_ref().map_or(0, |t| size_of::<TableChange>() + rows(&t.old) + rows(&t.new));
        size_of::<Self>() + self.runs.capacity() * size_of::<Run>() + tables
    }

    /// The edit that undoes this one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let runs = self.runs.iter().map(|r| Run { old: r.new, new: r.old, ..*r }).collect();
        let table =
            self.table.as_ref().map(|t| Box::new(TableChange { old: t.new.clone(), new: t.old.clone() }));
        Self { size_ijk: self.size_ijk, runs, bounds: self.bounds, table }
    }

    /// This edit and then `next` as one. `next` must have been made for what this one leaves.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let runs = compose(&self.runs, &next.runs);
        let table = match (self.table, next.table) {
            (Some(a), Some(b)) => changed(a.old, b.new),
            (a, b) => a.or(b),
        };
        Self::new(self.size_ijk, runs, table)
    }

    /// Changes labels and table. Copies the volume only when it is shared.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Mismatch`] or [`Error::TableMismatch`] when this is not what the edit was made for;
    /// nothing has changed then.
    pub fn apply(&self, labels: &mut Shared<u16>, table: &mut LabelTable) -> Result<()> {
        self.check_table(table)?;
        self.apply_to_voxels(labels)?;
        if let Some(change) = &self.table {
            *table = change.made_of(table);
        }
        Ok(())
    }

    /// Undoes [`LabelEdit::apply`].
    ///
    /// # Errors
    /// As [`LabelEdit::apply`].
    pub fn revert(&self, labels: &mut Shared<u16>, table: &mut LabelTable) -> Result<()> {
        self.inverse().apply(labels, table)
    }

    /// Changes a layer and its revision (when voxels change).
    ///
    /// # Errors
    /// As [`LabelEdit::apply`].
    pub fn apply_to_layer(&self, layer: &mut LabelLayer) -> Result<()> {
        self.check_table(&layer.table)?;
        self.apply_to_voxels(&mut layer.labels)?;
        if let Some(change) = &self.table {
            layer.table = Arc::new(change.made_of(&layer.table));
        }
        if !self.runs.is_empty() {
            layer.revision += 1;
        }
        Ok(())
    }

    fn check_table(&self, table: &LabelTable) -> Result<()> {
        match &self.table {
            Some(change) if !is_alike(&change.old, table) => Err(Error::TableMismatch),
            _ => Ok(()),
        }
    }

    fn apply_to_voxels(&self, labels: &mut Shared<u16>) -> Result<()> {
        let size = size_ijk(labels);
        if size != self.size_ijk {
            return Err(Error::Size { edit: self.size_ijk, labels: size });
        }
        if self.runs.is_empty() {
            return Ok(());
        }
        let voxels = slice(labels);
        for run in &self.runs {
            let wrong = voxels[run.range()].iter().position(|v| *v != run.old);
            if let Some(n) = wrong {
                let index = run.start + n as u64;
                return Err(Error::Mismatch { index, found: voxels[index as usize], expected: run.old });
            }
        }
        let voxels = labels.as_slice_mut().expect("labels are in standard layout");
        for run in &self.runs {
            voxels[run.range()].fill(run.new);
        }
        Ok(())
    }
}

/// Size (i, j, k) of labels.
pub(super) fn size_ijk(labels: &Shared<u16>) -> [usize; 3] {
    let (k, j, i) = labels.dim();
    [i, j, k]
}

/// The labels as they lie in memory.
pub(super) fn slice(labels: &Shared<u16>) -> &[u16] {
    labels.as_slice().expect("labels are in standard layout")
}

fn changed(old: LabelTable, new: LabelTable) -> Option<Box<TableChange>> {
    (old != new).then(|| Box::new(TableChange { old, new }))
}

/// Adds a run, joined to the last one where that goes on in the same way.
fn push(runs: &mut Vec<Run>, run: Run) {
    if run.len == 0 || run.old == run.new {
        return;
    }
    if let Some(last) = runs.last_mut()
        && last.end() == run.start
        && (last.old, last.new) == (run.old, run.new)
        && let Some(len) = last.len.checked_add(run.len)
    {
        last.len = len;
        return;
    }
    runs.push(run);
}

fn compose(first: &[Run], second: &[Run]) -> Vec<Run> {
    let mut out = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.iter().copied(), second.iter().copied());
    let (mut a, mut b) = (first.next(), second.next());
    // The part of a run before a position is given out, the rest is kept.
    let split = |out: &mut Vec<Run>, run: Run, at: u64| {
        let len = (at - run.start) as u32;
        push(out, Run { len, ..run });
        Run { start: at, len: run.len - len, ..run }
    };
    loop {
        match (a, b) {
            (Some(p), Some(q)) if p.end() <= q.start => {
                push(&mut out, p);
                a = first.next();
            }
            (Some(p), Some(q)) if q.end() <= p.start => {
                push(&mut out, q);
                b = second.next();
            }
            (Some(p), Some(q)) if p.start < q.start => a = Some(split(&mut out, p, q.start)),
            (Some(p), Some(q)) if q.start < p.start => b = Some(split(&mut out, q, p.start)),
            (Some(p), Some(q)) => {
                let len = p.len.min(q.len);
                push(&mut out, Run { start: p.start, len, old: p.old, new: q.new });
                let rest = |r: Run| Run { start: r.start + u64::from(len), len: r.len - len, ..r };
                a = if p.len == len { first.next() } else { Some(rest(p)) };
                b = if q.len == len { second.next() } else { Some(rest(q)) };
            }
            (Some(p), None) => {
                push(&mut out, p);
                a = first.next();
            }
            (None, Some(q)) => {
                push(&mut out, q);
                b = second.next();
            }
            (None, None) => return out,
        }
    }
}

/// The box around runs.
fn bounds([ni, nj, _]: [usize; 3], runs: &[Run]) -> Option<VoxelBox> {
    let mut out: Option<VoxelBox> = None;
    for run in runs {
        let (first, last) = (run.start as usize, run.end() as usize - 1);
        let row = |n: usize| (n / ni % nj, n / ni / nj);
        let ((j, k), (last_j, last_k)) = (row(first), row(last));
        // A run that goes on into the next row or slice spans all of what it crosses.
        let (i, last_i) = if first / ni == last / ni { (first % ni, last % ni) } else { (0, ni - 1) };
        let (j, last_j) = if k == last_k { (j, last_j) } else { (0, nj - 1) };
        let here = VoxelBox { first_ijk: [i, j, k], last_ijk: [last_i, last_j, last_k] };
        out = Some(out.map_or(here, |b| b.union(here)));
    }
    out
}

/// Collects changes of labels row by row.
pub struct EditBuilder<'a> {
    labels: &'a [u16],
    size_ijk: [usize; 3],
    runs: Vec<Run>,
    is_sorted: bool,
}

impl<'a> EditBuilder<'a> {
    /// No change yet.
    ///
    /// # Panics
    /// When the labels are not in standard layout, which [`Shared`] arrays of this program always are.
    #[must_use]
    pub fn new(labels: &'a Shared<u16>) -> Self {
        Self { labels: slice(labels), size_ijk: size_ijk(labels), runs: Vec::new(), is_sorted: true }
    }

    /// The labels before.
    #[must_use]
    pub fn labels(&self) -> &'a [u16] {
        self.labels
    }

    /// Changes voxels `start..` in memory: `new(n, old)` says what becomes of the `n`-th of `len`. Each voxel at most
    /// once; any order, ascending is fastest.
    ///
    /// # Panics
    /// Beyond the volume.
    pub fn paint(&mut self, start: usize, len: usize, mut new: impl FnMut(usize, u16) -> u16) {
        if self.runs.last().is_some_and(|r| r.end() > start as u64) {
            self.is_sorted = false;
        }
        for (n, &old) in self.labels[start..start + len].iter().enumerate() {
            let run = Run { start: (start + n) as u64, len: 1, old, new: new(n, old) };
            push(&mut self.runs, run);
        }
    }

    /// The edit.
    #[must_use]
    pub fn finish(mut self) -> LabelEdit {
        if !self.is_sorted {
            self.runs.sort_unstable_by_key(|r| r.start);
        }
        debug_assert!(self.runs.windows(2).all(|w| w[0].end() <= w[1].start), "a voxel was changed twice");
        LabelEdit::new(self.size_ijk, self.runs, None)
    }
}

#[cfg(test)]
pub(in crate::tools) mod tests {
    use super::*;
    use ndarray::Array3;
    use proptest::prelude::*;

    fn labels(values: &[u16]) -> Shared<u16> {
        Array3::from_shape_vec((4, 5, 6), values.to_vec()).unwrap().into_shared()
    }

    pub(in crate::tools) fn difference(from: &Shared<u16>, to: &Shared<u16>) -> LabelEdit {
        let mut builder = EditBuilder::new(from);
        let target = slice(to);
        builder.paint(0, target.len(), |n, _| target[n]);
        builder.finish()
    }

    proptest! {
        #[test]
        fn edits_undo_compose_and_travel(
            a in prop::collection::vec(0u16..3, 120),
            b in prop::collection::vec(0u16..3, 120),
            c in prop::collection::vec(0u16..3, 120),
        ) {
            let (a, b, c) = (labels(&a), labels(&b), labels(&c));
            let (first, second) = (difference(&a, &b), difference(&b, &c));
            let mut now = a.clone();
            let mut table = LabelTable::default();
            first.apply(&mut now, &mut table).unwrap();
            prop_assert_eq!(&now, &b);
            first.revert(&mut now, &mut table).unwrap();
            prop_assert_eq!(&now, &a);
            let both = first.clone().then(second);
            prop_assert_eq!(&both, &difference(&a, &c));
            both.apply(&mut now, &mut table).unwrap();
            prop_assert_eq!(&now, &c);
            prop_assert_eq!(LabelEdit::decode(&both.encode()).unwrap(), both);
            let changed: Vec<_> = a.indexed_iter().filter(|(at, v)| b[*at] != **v).map(|(at, _)| at).collect();
            prop_assert_eq!(first.voxels(), changed.len() as u64);
            let mut painted = labels(&[0; 120]);
            LabelEdit::painting(&a, 0..3).apply(&mut painted, &mut table).unwrap();
            LabelEdit::painting(&a, 3..4).apply(&mut painted, &mut table).unwrap();
            prop_assert_eq!(&painted, &a);
            if let Some(bounds) = first.bounds() {
                for (k, j, i) in changed {
                    for (a, x) in [i, j, k].into_iter().enumerate() {
                        prop_assert!((bounds.first_ijk[a]..=bounds.last_ijk[a]).contains(&x));
                    }
                }
            }
        }
    }

    #[test]
    fn an_edit_refuses_other_labels_and_leaves_them() {
        let (a, b) = (labels(&[0; 120]), labels(&[1; 120]));
        let edit = difference(&a, &b);
        let mut other = labels(&[0; 120]);
        other[[3, 4, 5]] = 7;
        let before = other.clone();
        let error = edit.apply(&mut other, &mut LabelTable::default());
        assert!(matches!(error, Err(Error::Mismatch { index: 119, found: 7, expected: 0 })));
        assert_eq!(other, before);
        let mut small = Array3::zeros((1, 1, 1)).into_shared();
        assert!(matches!(edit.apply(&mut small, &mut LabelTable::default()), Err(Error::Size { .. })));
    }

    #[test]
    fn labels_of_one_owner_are_changed_in_place() {
        let mut a = labels(&[0; 120]);
        let b = labels(&[1; 120]);
        let edit = difference(&a, &b);
        let place = a.as_ptr();
        edit.apply(&mut a, &mut LabelTable::default()).unwrap();
        assert_eq!(a.as_ptr(), place);
    }

    #[test]
    fn the_box_is_tight() {
        let a = labels(&[0; 120]);
        let mut b = a.clone();
        b[[1, 2, 3]] = 1;
        b[[2, 2, 5]] = 1;
        let bounds = difference(&a, &b).bounds().unwrap();
        assert_eq!(bounds, VoxelBox { first_ijk: [3, 2, 1], last_ijk: [5, 2, 2] });
        assert_eq!(bounds.size_ijk(), [3, 1, 2]);
    }
}
