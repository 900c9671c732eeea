//! Opening a file for the window: what it is, how it should first be looked at, and what was odd about it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use formats::{Image, LabelMap, Task, Volume};

use crate::dicom;

/// NIfTI intent code of a label map (nifti1.h, `NIFTI_INTENT_LABEL`).
const INTENT_LABEL: i16 = 1002;

/// What a file turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// Values or colours.
    Image(Box<Image>),
    /// A segmentation; the image's notices come with it.
    Labels(Box<LabelMap>, Vec<formats::Notice>),
}

/// Reads a file and decides whether it is a segmentation: when it carries a label table, says so (NIfTI intent), or
/// holds whole numbers only and is named like one. `as_labels` decides instead where given.
///
/// A folder, archive or DICOMDIR gives its series when there is only one. DICOM segmentations and structure sets are put on
/// `source`, the image they are of, when it is theirs.
///
/// # Errors
/// Those of the reader; values that cannot be labels when labels were asked for.
pub fn open(
    path: &Path,
    as_labels: Option<bool>,
    source: Option<&Volume>,
    task: &Task,
) -> anyhow::Result<Opened> {
    if let Some(kind) = dicom::Derived::of_file(path) {
        let (labels, notices) = dicom::open_labels(path, kind, source, task)?;
        return Ok(Opened::Labels(Box::new(labels), notices));
    }
    // A slice is rarely what somebody wants who opens a slice.
    let image = match dicom::siblings(path, task)? {
        Some(stack) => formats::dicom::load(&stack, task)?,
        None => dicom::open_image(path, None, task)?,
    };
    let volume = image.first();
    let single = image.frames.len() == 1 && !volume.voxels.is_colour() && !volume.voxels.is_complex();
    let claims = volume.meta.labels.is_some() || volume.meta.intent_code == INTENT_LABEL;
    let named = volume.voxels.is_integer() && is_named_like_labels(path);
    if as_labels.unwrap_or(single && (claims || named)) {
        match volume.to_labels() {
            Ok(mut labels) => {
                if labels.table.entries.is_empty() {
                    labels.table = beside(path).unwrap_or_default();
                }
                return Ok(Opened::Labels(Box::new(labels), image.notices));
            }
            Err(error) if as_labels == Some(true) => return Err(error.into()),
            Err(_) => {} // it only looked like one
        }
    }
    Ok(Opened::Image(Box::new(image)))
}

/// Whether a file name has one of the words that segmentations are named with.
#[must_use]
pub fn is_named_like_labels(path: &Path) -> bool {
    let stem = formats::registry::stem(path);
    let name = stem.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    const WORDS: [&str; 12] = [
        "seg",
        "dseg",
        "label",
        "labels",
        "mask",
        "aseg",
        "aparc",
        "parc",
        "segmentation",
        "labelmap",
        "rois",
        "atlas",
    ];
    words.iter().any(|w| WORDS.contains(w) || w.trim_end_matches(char::is_numeric) == "seg")
}

/// A label table in a file beside the segmentation, of the same name.
fn beside(path: &Path) -> Option<formats::LabelTable> {
    let stem = formats::registry::stem(path);
    ["label", "txt", "ctbl", "tsv", "lut"].iter().find_map(|ending| {
        let candidate = stem.with_file_name(format!("{}.{ending}", stem.file_name()?.to_string_lossy()));
        candidate.is_file().then(|| formats::label_files::read(&candidate).ok().map(|l| l.table))?
    })
}

/// Files of a folder that can be opened, in the order of names; hidden ones are left out. Not recursive: a folder of
/// subjects is a matter for `--batch`.
///
/// # Errors
/// When the folder cannot be listed.
pub fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(formats::Error::io(folder, "list"))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_file() && p.file_name().is_some_and(is_openable))
        .collect();
    files.sort();
    Ok(files)
}

fn is_openable(name: &OsStr) -> bool {
    !name.to_string_lossy().starts_with('.') && formats::registry::format_for_name(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segmentations() {
        for name in
            ["a_seg.nii.gz", "sub-01_dseg.nii", "labels.mha", "aparc+aseg.mgz", "training_seg_01.nii.gz"]
        {
            assert!(is_named_like_labels(name.as_ref()), "{name}");
        }
        for name in ["t1.nii.gz", "segovia.nii", "masked.nii", "head.nii.gz"] {
            assert!(!is_named_like_labels(name.as_ref()), "{name}");
        }
    }
}
