//! The way back from de-identified files, for their owner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formats::atomic;
use formats::dicom::deid::Outcome;
use serde::{Deserialize, Serialize};

/// The way back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Map {
    /// Where the key is.
    key_file: Option<PathBuf>,
    /// By pseudonym.
    patients: BTreeMap<String, MappedPatient>,
    /// New UIDs by the old ones.
    uids: BTreeMap<String, String>,
    /// Originals by the outputs.
    files: BTreeMap<PathBuf, PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MappedPatient {
    id: String,
    name: String,
    shift_days: i32,
}

impl Map {
    /// An empty one, of a run with this key file.
    pub fn with_key(key_file: Option<PathBuf>) -> Self {
        Self { key_file, ..Self::default() }
    }

    /// Notes what became of a file.
    pub fn add(&mut self, input: &Path, output: &Path, outcome: Outcome) {
        let patient = MappedPatient {
            id: outcome.original.id,
            name: outcome.original.name,
            shift_days: outcome.patient.shift_days,
        };
        self.patients.insert(outcome.patient.pseudonym, patient);
        self.uids.extend(outcome.uids);
        self.files.insert(output.to_owned(), input.to_owned());
    }

    /// Adds to what an earlier run wrote. Only its owner can read the file (on Unix).
    ///
    /// # Errors
    /// Those of reading an earlier map and of writing.
    pub fn write(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.exists() {
            let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
            let earlier: Self = serde_json::from_slice(&bytes).map_err(|e| {
                formats::Error::malformed(path, format!("no map ({e})"), "a map of an earlier run")
            })?;
            let newer = std::mem::replace(self, earlier);
            self.key_file = newer.key_file.or(self.key_file.take());
            self.patients.extend(newer.patients);
            self.uids.extend(newer.uids);
            self.files.extend(newer.files);
        }
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        Ok(atomic::write_private_bytes(path, text.as_bytes())?)
    }
}
