//! Where outputs go, and which places cannot be meant: originals and results are never mixed, and the way back lies with
//! neither.

use std::path::{Component, Path, PathBuf};

use super::Deid;
use crate::failure::Usage;

/// Ends of names that say: one file, not a folder.
const FILE_ENDINGS: &[&str] = &["dcm", "dicom", "ima"];
/// A value of LO (PS3.5 6.2).
const LONGEST_ID: usize = 64;

/// Where outputs go.
pub enum Place {
    /// Below this folder, by names made with the key.
    Folder(PathBuf),
    /// The only file.
    File(PathBuf),
}

/// An absolute path without links and `..`, also of what does not exist yet.
pub fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in absolute.ancestors() {
        let Ok(mut real) = ancestor.canonicalize() else { continue };
        for part in absolute.strip_prefix(ancestor).unwrap_or(Path::new("")).components() {
            match part {
                Component::ParentDir => _ = real.pop(),
                part => real.push(part),
            }
        }
        return real;
    }
    absolute
}

/// The place of a request.
///
/// # Errors
/// [`Usage`] for requests that cannot be meant.
pub fn check(request: &Deid) -> anyhow::Result<Place> {
    let Deid { inputs, output, .. } = request;
    let usage = |text: String| anyhow::Error::from(Usage(text));
    if inputs.is_empty() {
        return Err(usage("there is nothing to de-identify; name files or folders".to_owned()));
    }
    if output.as_os_str().is_empty() {
        return Err(usage("there is no output; name a folder".to_owned()));
    }
    let to = real(output);
    let mut originals = Vec::with_capacity(inputs.len());
    for input in inputs {
        if !input.exists() {
            return Err(usage(format!("{}: there is no such file or folder", input.display())));
        }
        let (from, is_folder) = (real(input), input.is_dir());
        if to == from || is_folder && to.starts_with(&from) || from.starts_with(&to) {
            return Err(usage(format!(
                "{}: the output may not be, hold or lie inside the input, so that originals and results are never mixed; \
                 choose a folder elsewhere",
                output.display()
            )));
        }
        originals.push((from, is_folder));
    }
    if let Some(id) = &request.options.patient_id {
        let is_sound = !id.trim().is_empty()
            && id.chars().count() <= LONGEST_ID
            && !id.chars().any(|c| c == '\\' || c == '^' || c == '=' || c.is_control());
        if !is_sound {
            return Err(usage(format!(
                "the patient's identifier (--patient-id) needs 1 to {LONGEST_ID} characters without \\, ^, = and control \
                 characters"
            )));
        }
    }
    for path in [&request.map, &request.key_file].into_iter().flatten() {
        let place = real(path);
        let is_original =
            |(from, is_folder): &(PathBuf, bool)| place == *from || *is_folder && place.starts_with(from);
        if place.starts_with(&to) || originals.iter().any(is_original) {
            return Err(usage(format!(
                "{}: the way back (map or key) may not lie with the originals or the results; choose another folder",
                path.display()
            )));
        }
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
            return Err(usage(format!("{}: there is no such folder; create it first", folder.display())));
        }
    }
    let ending = output.extension().map(|e| e.to_string_lossy().to_lowercase());
    let is_file_name = ending.is_some_and(|e| FILE_ENDINGS.contains(&e.as_str())) && !output.is_dir();
    let is_one_file = matches!(originals.as_slice(), [(_, false)]);
    if is_file_name && is_one_file {
        if output.exists() && !request.overwrite {
            return Err(usage(format!(
                "{}: exists already; allow replacing it (--overwrite), or choose another name",
                output.display()
            )));
        }
        return Ok(Place::File(output.clone()));
    }
    if output.is_file() {
        return Err(usage(format!("{}: is a file; choose a folder", output.display())));
    }
    let has_files = std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some());
    if has_files && !request.overwrite {
        return Err(usage(format!(
            "{}: is not empty; allow adding to it and replacing files of the same name (--overwrite), or choose another \
             folder",
            output.display()
        )));
    }
    Ok(Place::Folder(output.clone()))
}
