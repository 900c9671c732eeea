//! From somebody's `.onnx` file to a pack: looked at, asked about, copied.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use formats::Task;

use super::describe::{self, Found};
use super::description::{Answers, Description, Kind, Reading, in_order};
use super::draft::{self, Missing};
use crate::catalog::{place_folder, write_file};
use crate::error::{Error, Result};
use crate::manifest::{FileEntry, Manifest, Origin, Role, is_id};
use crate::onnx::embed::embedded;
use crate::onnx::reader::{self, Summary};
use crate::onnx_check::refuse_outside_data;
use crate::pack::{self, ModelPack, sha256_hex};

pub use super::rules::INTENSITY_WORDS;

/// Longest file, that of protobuf.
const SIZE_LIMIT: u64 = i32::MAX as u64;

/// Where a plain pack goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The new pack's id; also the folder's name.
    pub id: String,
    /// Its name; what a description says, else the id, when absent.
    pub name: Option<String>,
    /// SPDX expression of the weights' licence; what a description says when absent.
    pub licence: Option<String>,
    /// The folder in which `<id>/` is made.
    pub out_dir: PathBuf,
    /// Whether an existing folder may be replaced.
    pub replace: bool,
}

/// What a file, the descriptions beside it and the answers came to.
#[derive(Clone, Debug)]
pub struct Look {
    /// What the network does, as said or as it seems by its ports.
    pub kind: Kind,
    /// The settings without files, when nothing is missing.
    pub manifest: Option<Manifest>,
    /// What was taken, and from whom.
    pub readings: Vec<Reading>,
    /// What has to be asked.
    pub missing: Vec<Missing>,
    /// Description files that were read.
    pub described_by: Vec<PathBuf>,
    /// What of them was not used, and why.
    pub remarks: Vec<String>,
}

/// Looks at a file without making anything.
///
/// # Errors
/// [`Error::Pack`] for files that are no ONNX model, reach outside themselves, or are of a shape that is not run;
/// [`Error::Argument`] for answers that cannot be understood.
pub fn look(path: &Path, answers: &Answers) -> Result<Look> {
    look_into(path, &read(path)?, answers, "network")
}

fn look_into(path: &Path, bytes: &[u8], answers: &Answers, id: &str) -> Result<Look> {
    refuse_outside_data(path, bytes)?;
    let summary = reader::summary(path, bytes)?;
    let found = describe::beside(path, &summary)?.unwrap_or_default();
    let Found { files, description, remarks } = found;
    let kind = answers.kind.unwrap_or_else(|| draft::guess(&summary));
    let told = Answers { kind: Some(kind), ..answers.clone() }.read()?;
    let known = told.or(description).or(of_metadata(&summary));
    let draft = draft::draft(kind, &summary, &known, id).map_err(|(found, expected)| {
        Error::pack(path, found, expected, "Answer otherwise, or export the model again")
    })?;
    Ok(Look {
        kind,
        manifest: draft.manifest,
        readings: draft.readings,
        missing: draft.missing,
        described_by: files,
        remarks,
    })
}

/// What the program that wrote the file noted in it: Ultralytics keeps names of classes as `{0: 'person', …}`.
fn of_metadata(summary: &Summary) -> Description {
    const NOTES: &str = "the file's notes";
    let note = |key: &str| summary.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let classes = note("names").and_then(|text| {
        let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
        let mut names = BTreeMap::new();
        for entry in inner.split(", ") {
            let (number, name) = entry.split_once(':')?;
            let name = name.trim().trim_matches(['\'', '"']).to_owned();
            names.insert(number.trim().parse().ok()?, name);
        }
        in_order(&names)
    });
    Description {
        classes: classes.map(|c| (c, NOTES)),
        summary: note("description").map(|d| (d.to_owned(), NOTES)),
        licence: note("license").map(|d| (d.to_owned(), NOTES)),
        ..Description::default()
    }
}

/// A plain file of a length that an ONNX file may have, with the weights that lie beside it.
fn read(path: &Path) -> Result<Vec<u8>> {
    let data = std::fs::symlink_metadata(path).map_err(formats::Error::io(path, "open"))?;
    if !data.is_file() || data.len() > SIZE_LIMIT {
        return Err(Error::pack(
            path,
            if data.is_file() { format!("{} bytes", data.len()) } else { "a link or folder".to_owned() },
            "an ONNX file of at most 2 GiB",
            "Name the file itself",
        ));
    }
    let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
    Ok(embedded(path, &bytes)?.unwrap_or(bytes))
}

/// Makes a pack of the file at `path`. The pack folder appears whole or not at all.
///
/// # Errors
/// As [`look`]; [`Error::Argument`] that names every option that is missing, with its choices.
pub fn import(path: &Path, answers: &Answers, options: &Options, task: &Task) -> Result<(ModelPack, Look)> {
    if !is_id(&options.id) {
        return Err(Error::Argument(format!(
            "“{}” cannot be a pack id: use 1 to 64 lower-case letters, digits and hyphens",
            options.id
        )));
    }
    if crate::bundled::has(&options.id) {
        return Err(Error::Argument(format!(
            "“{}” is a pack inside the program; choose another id",
            options.id
        )));
    }
    if answers.kind.is_none() {
        let words = Kind::ALL.map(Kind::word).join(", ");
        return Err(Error::Argument(format!(
            "{}: say what the network does with --kind: {words}",
            path.display()
        )));
    }
    task.at("Looking at the model", 0.0)?;
    let bytes = read(path)?;
    let look = look_into(path, &bytes, answers, &options.id)?;
    let Some(mut manifest) = look.manifest.clone() else {
        return Err(Error::Argument(questions(path, &look)));
    };
    if let Some(name) = &options.name {
        manifest.name.clone_from(name);
    }
    if let Some(licence) = &options.licence {
        manifest.licence.clone_from(licence);
    }
    manifest.origin = Some(Origin {
        checkpoint: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: sha256_hex(&bytes),
        importer: format!("insula {}", env!("CARGO_PKG_VERSION")),
        preset: format!("onnx {}", look.kind.word()),
    });
    task.at("Writing the pack", 0.5)?;
    let card = card(&manifest, &look).into_bytes();
    let entry = |role, name: &str, bytes: &[u8]| FileEntry {
        role,
        part: String::new(),
        path: name.to_owned(),
        sha256: sha256_hex(bytes),
        bytes: bytes.len() as u64,
    };
    manifest.files =
        vec![entry(Role::Network, "model.onnx", &bytes), entry(Role::Card, "MODEL_CARD.md", &card)];
    let target = options.out_dir.join(&options.id);
    let text = toml::to_string(&manifest).map_err(|e| {
        Error::pack(
            path,
            e.to_string().replace('\n', " "),
            "settings that can be written",
            "Answer otherwise",
        )
    })?;
    // What is written is read back and checked before it is put anywhere.
    pack::parse(path, text.as_bytes())?;
    place_folder(&target, options.replace, |staging| {
        write_file(&staging.join("model.onnx"), &bytes)?;
        write_file(&staging.join("MODEL_CARD.md"), &card)?;
        write_file(&staging.join("pack.toml"), text.as_bytes())
    })?;
    Ok((ModelPack::from_folder(&target)?, look))
}

/// Everything that has to be asked, one option a line.
fn questions(path: &Path, look: &Look) -> String {
    let n = look.missing.len();
    let mut text = format!(
        "{}: {n} thing{} not said by the file or beside it:",
        path.display(),
        if n == 1 { " is" } else { "s are" }
    );
    for missing in &look.missing {
        let _ = write!(text, "\n  --{}: {}", missing.option, missing.question);
    }
    for reading in &look.readings {
        let _ = write!(text, "\n  known: {} = {} ({})", reading.what, reading.value, reading.from);
    }
    text
}

fn card(m: &Manifest, look: &Look) -> String {
    let mut card = format!("# {}\n\n{}\n\n**Intended use.** {}\n\n", m.name, m.summary, m.intended_use);
    let licence = if m.licence == "unknown" {
        "Unknown. The file states none; ask whoever made it before passing it on."
    } else {
        &m.licence
    };
    let _ = writeln!(card, "**Licence of the weights.** {licence}\n");
    if let Some(o) = &m.origin {
        let _ = writeln!(
            card,
            "**Origin.** Imported from `{}` (SHA-256 `{}`) by {}.\n",
            o.checkpoint, o.sha256, o.importer
        );
    }
    if !m.citation.is_empty() {
        let _ = writeln!(card, "**Cite.** {}\n", m.citation);
    }
    let _ = writeln!(card, "**Settings** ({}), and where they come from:\n", look.kind.word());
    for r in &look.readings {
        let _ = writeln!(card, "- {}: {} ({})", r.what, r.value, r.from);
    }
    for remark in &look.remarks {
        let _ = writeln!(card, "- not used: {remark}");
    }
    card.push_str("\nTraining data, accuracy and known failures are not known to this program.\n");
    card
}
