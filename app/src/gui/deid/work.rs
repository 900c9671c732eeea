//! What is done beside the window for the preview. Nothing here knows egui.

use std::path::PathBuf;

use formats::Task;
use formats::dicom::deid::{Options, Preview};

use super::outcome::Told;
use crate::deid::{self, Deidentified};
use crate::failure::describe;

/// What a job found out or did.
#[derive(Debug)]
pub enum Made {
    /// The files that the inputs of this serial number stand for, or why there are none.
    List(u64, Result<Vec<PathBuf>, String>),
    /// What would be done with a file, or why it cannot be.
    Preview(Ask, Result<Shown, String>),
    /// Files were de-identified; each was told when it was.
    Done(Deidentified),
}

/// A preview, and what is true of it.
#[derive(Debug)]
pub struct Shown {
    /// The elements.
    pub preview: Preview,
    /// Whether a run will give other replacements, since there is no key yet.
    pub is_example: bool,
}

/// What a preview is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The file.
    pub file: PathBuf,
    /// The options.
    pub options: Options,
    /// Where the key is, if it is there.
    pub key_file: Option<PathBuf>,
}

/// The files that would be de-identified.
///
/// # Errors
/// [`formats::Error::Cancelled`]. Where there is no file, the reason is in the result.
pub fn list(serial: u64, inputs: &[PathBuf], task: &Task) -> anyhow::Result<Made> {
    let found = match deid::find(inputs, &Told::default()) {
        Ok(found) => found,
        Err(error) => return Ok(Made::List(serial, Err(describe(&error)))),
    };
    let (count, is_named) = (found.len(), inputs.iter().all(|i| i.is_file()));
    let mut files = Vec::with_capacity(count);
    for (n, file) in found.into_iter().enumerate() {
        task.at("looking at files", n as f32 / count as f32)?;
        if is_named || deid::is_wanted(&file) {
            files.push(file);
        }
    }
    let nothing = || format!("there is no DICOM file among {count} files");
    Ok(Made::List(serial, if files.is_empty() { Err(nothing()) } else { Ok(files) }))
}

/// What would be done with one file.
#[must_use]
pub fn preview(ask: Ask) -> Made {
    let is_example = ask.key_file.as_ref().is_none_or(|key| !key.exists());
    let found = deid::preview(&ask.file, &ask.options, ask.key_file.as_deref());
    let found = found.map(|preview| Shown { preview, is_example });
    Made::Preview(ask, found.map_err(|error| describe(&error)))
}
