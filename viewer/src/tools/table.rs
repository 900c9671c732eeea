//! Edits of the label table, with the voxels that go with them.

use std::collections::{BTreeMap, BTreeSet};

use formats::measure::label_extents;
use formats::{LabelEntry, LabelTable, Shared};

use super::edit::{EditBuilder, LabelEdit, size_ijk};
use super::error::{Error, Result};

/// The lowest number from 1 that neither the table nor any voxel uses; `None` when all are taken.
#[must_use]
pub fn free_id(labels: &Shared<u16>, table: &LabelTable) -> Option<u16> {
    let used: BTreeSet<u16> = table.entries.iter().map(|e| e.id).chain(present(labels)).collect();
    (1..=u16::MAX).find(|id| !used.contains(id))
}

fn present(labels: &Shared<u16>) -> impl Iterator<Item = u16> {
    label_extents(labels).into_iter().map(|e| e.label)
}

/// Adds a row at the end of the table.
///
/// # Errors
/// [`Error::Argument`] when the number is 0 (the background) or has a row already.
pub fn add_label(labels: &Shared<u16>, table: &LabelTable, entry: LabelEntry) -> Result<LabelEdit> {
    if entry.id == 0 || table.get(entry.id).is_some() {
        return Err(Error::Argument(format!("label {} exists already", entry.id)));
    }
    let mut new = table.clone();
    new.entries.push(entry);
    Ok(LabelEdit::of_table(size_ijk(labels), table.clone(), new))
}

/// Replaces the row with the entry's number (rename, recolour, opacity), or adds it when a label of the volume has none.
#[must_use]
pub fn set_entry(labels: &Shared<u16>, table: &LabelTable, entry: LabelEntry) -> LabelEdit {
    let mut new = table.clone();
    match new.entries.iter_mut().find(|e| e.id == entry.id) {
        Some(row) => *row = entry,
        None => new.entries.push(entry),
    }
    LabelEdit::of_table(size_ijk(labels), table.clone(), new)
}

/// Gives the voxels of `from` to `into` and removes the rows of `from`. `into` may be among `from`, and may be 0.
#[must_use]
pub fn merge(labels: &Shared<u16>, table: &LabelTable, from: &[u16], into: u16) -> LabelEdit {
    let gone = |id: u16| id != into && id != 0 && from.contains(&id);
    let mut new = table.clone();
    new.entries.retain(|e| !gone(e.id));
    recoded(labels, |id| if gone(id) { into } else { id }).with_table(table.clone(), new)
}

/// Removes labels: their voxels become background, their rows go.
#[must_use]
pub fn delete(labels: &Shared<u16>, table: &LabelTable, ids: &[u16]) -> LabelEdit {
    merge(labels, table, ids, 0)
}

/// Gives labels other numbers, in voxels and table; numbers may be exchanged. Rows stay in their order.
///
/// # Errors
/// [`Error::Argument`] when 0 takes part or when two labels would have one number (that would be [`merge`]).
pub fn renumber(labels: &Shared<u16>, table: &LabelTable, map: &BTreeMap<u16, u16>) -> Result<LabelEdit> {
    if map.iter().any(|(from, to)| *from == 0 || *to == 0) {
        return Err(Error::Argument("the background keeps the number 0".to_owned()));
    }
    let to = |id: u16| map.get(&id).copied().unwrap_or(id);
    let used: BTreeSet<u16> = table.entries.iter().map(|e| e.id).chain(present(labels)).collect();
    let mut taken = BTreeMap::new();
    for id in used {
        if let Some(other) = taken.insert(to(id), id) {
            return Err(Error::Argument(format!(
                "labels {other} and {id} would both be {}; merge them instead",
                to(id)
            )));
        }
    }
    let mut new = table.clone();
    new.entries.iter_mut().for_each(|e| e.id = to(e.id));
    Ok(recoded(labels, to).with_table(table.clone(), new))
}

fn recoded(labels: &Shared<u16>, to: impl Fn(u16) -> u16) -> LabelEdit {
    let codes: Vec<u16> = (0..=u16::MAX).map(to).collect();
    let mut builder = EditBuilder::new(labels);
    builder.paint(0, labels.len(), |_, old| codes[usize::from(old)]);
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    fn start() -> (Shared<u16>, LabelTable) {
        let row = |id, name: &str| LabelEntry::new(id, name, [id as u8; 3]);
        let table = LabelTable { entries: vec![row(1, "a"), row(2, "b"), row(5, "e")] };
        (arr3(&[[[0u16, 1, 2, 2, 5, 3]]]).into_shared(), table)
    }

    fn result(edit: &LabelEdit) -> (Vec<u16>, Vec<(u16, String)>) {
        let (mut labels, mut table) = start();
        edit.apply(&mut labels, &mut table).unwrap();
        let out = (
            labels.iter().copied().collect(),
            table.entries.iter().map(|e| (e.id, e.name.clone())).collect::<Vec<_>>(),
        );
        edit.revert(&mut labels, &mut table).unwrap();
        assert_eq!((labels, table), start());
        assert_eq!(&LabelEdit::decode(&edit.encode()).unwrap(), edit);
        out
    }

    #[test]
    fn rows_are_added_and_changed() {
        let (labels, table) = start();
        assert_eq!(free_id(&labels, &table), Some(4), "3 occurs in the volume");
        let added = result(&add_label(&labels, &table, LabelEntry::new(4, "d", [1, 2, 3])).unwrap());
        assert_eq!(added.1.last().unwrap(), &(4, "d".to_owned()));
        assert!(add_label(&labels, &table, LabelEntry::new(2, "again", [0; 3])).is_err());
        let renamed = set_entry(&labels, &table, LabelEntry::new(2, "B", [9; 3]));
        assert_eq!(result(&renamed).1[1].1, "B");
        assert_eq!(renamed.bounds(), None);
        assert!(set_entry(&labels, &table, table.entries[0].clone()).is_empty());
    }

    #[test]
    fn labels_are_merged_deleted_and_exchanged() {
        let (labels, table) = start();
        let merged = result(&merge(&labels, &table, &[1, 2, 3], 5));
        assert_eq!((merged.0.as_slice(), merged.1.len()), ([0, 5, 5, 5, 5, 5].as_slice(), 1));
        let deleted = result(&delete(&labels, &table, &[2, 3]));
        assert_eq!((deleted.0.as_slice(), deleted.1.len()), ([0, 1, 0, 0, 5, 0].as_slice(), 2));
        let exchanged = result(&renumber(&labels, &table, &[(1, 2), (2, 1)].into()).unwrap());
        assert_eq!(exchanged.0, [0, 2, 1, 1, 5, 3]);
        assert_eq!(exchanged.1[0], (2, "a".to_owned()));
        assert!(renumber(&labels, &table, &[(1, 3)].into()).is_err(), "3 occurs in the volume");
        assert!(renumber(&labels, &table, &[(1, 0)].into()).is_err());
    }
}
