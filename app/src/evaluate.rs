//! How a segmentation agrees with the truth.

use std::path::{Path, PathBuf};

use anyhow::bail;
use formats::measure::{Compare, Evaluation, Groups, evaluate};
use formats::{LabelMap, LabelTable, Task};
use serde::{Deserialize, Serialize};

use crate::failure::Usage;

/// What to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluate {
    /// The segmentation to judge.
    pub pred: PathBuf,
    /// The reference.
    pub truth: PathBuf,
    /// Which labels; all when none. See [`parse_labels`].
    pub labels: Option<String>,
    /// A label table with the names; what the files carry when none.
    pub table: Option<PathBuf>,
}

/// Reads both and compares them on the truth's grid.
///
/// # Errors
/// Those of reading; a file that is no label map; [`Usage`] for labels that cannot be read.
pub fn run(request: &Evaluate, task: &Task) -> anyhow::Result<Evaluation> {
    let (table, compare) = match &request.labels {
        None => (None, Compare::All),
        Some(labels) => parse_labels(labels)?,
    };
    let table = match &request.table {
        Some(path) => Some(formats::label_files::read(path)?.table),
        None => table,
    };
    task.at("reading", 0.0)?;
    let mut pred = read(&request.pred, task)?;
    let mut truth = read(&request.truth, task)?;
    if let Some(table) = table {
        pred.table = table.clone();
        truth.table = table;
    }
    Ok(evaluate(&pred, &truth, &compare, task)?)
}

/// Reads a label map.
///
/// # Errors
/// Those of reading; files of several frames, or with values that are no labels.
pub fn read(path: &Path, task: &Task) -> anyhow::Result<LabelMap> {
    if let Some(kind) = crate::dicom::Derived::of_file(path) {
        return Ok(crate::dicom::open_labels(path, kind, None, task)?.0);
    }
    let image = crate::dicom::open_image(path, None, task)?;
    match image.frames.as_slice() {
        [volume] => Ok(volume.to_labels()?),
        frames => bail!("{}: {} frames; a label map has one", path.display(), frames.len()),
    }
}

/// Labels as typed: numbers and ranges (`"1,2,10-13"`), a label table file (its labels, with their names), or a TOML
/// file of named groups.
fn parse_labels(text: &str) -> anyhow::Result<(Option<LabelTable>, Compare)> {
    let path = Path::new(text);
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) {
        return Ok((None, Compare::Groups(Groups::read(path)?)));
    }
    if path.is_file() {
        let table = formats::label_files::read(path)?.table;
        let ids = table.entries.iter().map(|e| e.id).filter(|&id| id != 0).collect();
        return Ok((Some(table), Compare::Labels(ids)));
    }
    let ids = parse_ids(text).map_err(|part| {
        Usage(format!(
            "--labels {text}: “{part}” is neither a label number (0 to 65535), a range (10-13) nor a file with a label \
             table or groups"
        ))
    })?;
    Ok((None, Compare::Labels(ids)))
}

/// Label numbers and ranges (`"1,2,10-13"`), ascending, each once; the part that is neither as the error.
pub fn parse_ids(text: &str) -> Result<Vec<u16>, &str> {
    let mut ids: Vec<u16> = Vec::new();
    for part in text.split([',', ' ']).filter(|p| !p.is_empty()) {
        let range = part.split_once('-').unwrap_or((part, part));
        match (range.0.trim().parse::<u16>(), range.1.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => ids.extend(first..=last),
            _ => return Err(part),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_lists() {
        let Compare::Labels(ids) = parse_labels("3, 1,10-12").unwrap().1 else { panic!("labels") };
        assert_eq!(ids, [1, 3, 10, 11, 12]);
        for bad in ["x", "3-1", "70000", "1,,a"] {
            assert!(parse_labels(bad).unwrap_err().is::<Usage>(), "{bad}");
        }
    }
}
