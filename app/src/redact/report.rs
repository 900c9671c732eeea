//! What was done, file by file: for auditors, and for the person who decides. It holds places and scores, and no text.

use std::path::{Path, PathBuf};

use anyhow::Context;
use models::Provenance;
use serde::{Deserialize, Serialize};

use super::{Record, Redact};

#[derive(Serialize)]
struct File<'a> {
    insula: &'static str,
    /// Who searched: pack, its hash, runtime, provider.
    by: &'a Provenance,
    settings: &'a super::search::Settings,
    fill: super::Fill,
    finished_unix_secs: u64,
    statement: &'static str,
    files: &'a [Record],
}

#[derive(Deserialize)]
struct Read {
    files: Vec<Record>,
}

/// Writes the report; returns where.
pub(super) fn write(
    path: &Path,
    records: &[Record],
    by: &Provenance,
    request: &Redact,
) -> anyhow::Result<PathBuf> {
    let file = File {
        insula: env!("CARGO_PKG_VERSION"),
        by,
        settings: &request.search,
        fill: request.fill,
        finished_unix_secs: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
        statement: "No tool finds all text. A person has to look.",
        files: records,
    };
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(formats::Error::io(folder, "create"))?;
    }
    formats::atomic::write_bytes(path, format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes())?;
    Ok(path.to_owned())
}

/// The records of a report that a person went over.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
    let read: Read = serde_json::from_slice(&bytes).with_context(|| {
        format!("{}: no redaction report; give the redaction-report.json of an earlier run", path.display())
    })?;
    Ok(read.files)
}
