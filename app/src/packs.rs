//! Getting model packs in and out of the user's folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::Task;
use models::import::{ImportOptions, Preset, import};
use models::onnx::Precision;
use models::plain::Answers;
use models::plain::import::{Look, Options};
use models::prompter::Asking;
use models::restorer::Restoration;
use models::{Catalog, ModelPack};
use serde::{Deserialize, Serialize};

use crate::batch::answers::Answer;
use crate::failure::Usage;

/// A pack to be made from somebody's weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The weights: `.pt`, `.pth`, `.bin`, `.safetensors`, `.npz`.
    pub checkpoint: PathBuf,
    /// Kind of network.
    pub family: String,
    /// Name of a preset, or a `.toml` file; none for MAXIM checkpoints, of which the task says enough.
    pub preset: Option<String>,
    /// The byte pairs that an X-Decoder reads text with.
    #[serde(default)]
    pub merges: Option<PathBuf>,
    /// What a MAXIM checkpoint was trained for.
    #[serde(default)]
    pub task: Option<Restoration>,
    /// The published variant it must be of, e.g. `S-2`; read off the checkpoint when none.
    #[serde(default)]
    pub variant: Option<String>,
    /// SPDX expression of the weights' licence; what the preset says when none.
    #[serde(default)]
    pub licence: Option<String>,
    /// The pack's identifier; made from family and preset when none.
    pub id: Option<String>,
    /// The pack's name; the preset's when none.
    pub name: Option<String>,
    /// The folder in which the pack's folder is made; the user's packs when none.
    pub out: Option<PathBuf>,
    /// Whether weights are stored in 16 bits.
    pub half: bool,
    /// `num_heads` or `head_dim`; what the preset says when none.
    pub attention_scale: Option<String>,
    /// Whether a pack of the same identifier may be replaced.
    pub overwrite: bool,
    /// What is known about a network that was exported elsewhere, for the family `onnx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Answers>,
}

impl Import {
    /// Of a file, with nothing answered yet.
    pub fn of(checkpoint: PathBuf, family: &str) -> Self {
        Self {
            merges: None,
            checkpoint,
            family: family.to_owned(),
            preset: None,
            task: None,
            variant: None,
            licence: None,
            id: None,
            name: None,
            out: None,
            half: false,
            attention_scale: None,
            overwrite: false,
            plain: None,
        }
    }

    /// The identifier when none is given: family and preset or task; of plain models the file's name.
    pub fn default_id(&self) -> String {
        if self.family == ONNX {
            return id_of_file(&self.checkpoint);
        }
        let of_preset = self.preset.as_deref().map(|text| match Preset::parse(text) {
            Preset::Toml(path) => path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase(),
            _ => text.to_owned(),
        });
        let what = of_preset.or_else(|| self.task.map(|t| t.to_string()));
        // Of official X-Decoder checkpoints the variant is all there is to say.
        match what.or_else(|| self.variant.clone().filter(|_| self.family == "xdecoder")) {
            Some(what) => format!("{}-{what}", self.family),
            None => self.family.clone(),
        }
    }
}

/// The family of networks that were exported elsewhere.
pub const ONNX: &str = "onnx";

/// A file's name as an identifier: small letters and digits, everything else a hyphen.
fn id_of_file(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let id: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(64).collect();
    let id = id.trim_matches('-');
    if id.is_empty() { ONNX.to_owned() } else { id.to_owned() }
}

/// A pack, for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct PackInfo {
    /// Identifier.
    pub id: String,
    /// Version.
    pub version: String,
    /// Name for people.
    pub name: String,
    /// Kind of network.
    pub family: String,
    /// What it does.
    pub summary: String,
    /// Licence of the weights.
    pub licence: String,
    /// Input channels in order.
    pub channels: Vec<String>,
    /// How many structures it labels, or classes it knows.
    pub labels: usize,
    /// What it does to pictures, when it restores them.
    pub restores: Option<Restoration>,
    /// What it answers with, when that is neither labels nor images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What it can be asked in words; nothing when it needs no words.
    pub asks: Vec<Asking>,
    /// SHA-256 over manifest and files.
    pub sha256: String,
    /// Whether it is part of the program.
    pub is_bundled: bool,
    /// Its folder, `bundled/<id>` when it has none.
    pub place: PathBuf,
}

impl PackInfo {
    /// Of a pack.
    pub fn of(pack: &ModelPack) -> Self {
        let m = &pack.manifest;
        Self {
            id: m.id.clone(),
            version: m.version.clone(),
            name: m.name.clone(),
            family: m.family.clone(),
            summary: m.summary.clone(),
            licence: m.licence.clone(),
            channels: m.input.channels.iter().map(|c| c.name.clone()).collect(),
            labels: if m.output.labels_voxels() { m.labels.len() } else { m.output.channel_count() },
            restores: m.output.restoration(),
            answer: Answer::of(&m.output),
            asks: match &m.output {
                models::manifest::Output::Prompts(output) => output.tasks.clone(),
                _ => Vec::new(),
            },
            sha256: pack.hash.clone(),
            is_bundled: pack.is_bundled(),
            place: pack.place(),
        }
    }
}

impl PackInfo {
    /// Whether it labels voxels without being told what to.
    pub fn segments(&self) -> bool {
        self.restores.is_none() && self.asks.is_empty()
    }
}

/// Makes a pack from a checkpoint; nothing in the checkpoint is executed.
///
/// # Errors
/// [`Usage`] for an unknown preset, family or a bad identifier; those of the import.
pub fn import_pack(request: &Import, task: &Task) -> anyhow::Result<PackInfo> {
    if request.family == ONNX {
        return Ok(import_plain(request, task)?.0);
    }
    let preset = match (&request.preset, request.task) {
        (Some(_), Some(_)) => {
            return Err(
                Usage("give a preset or a task, not both: a preset states the task".to_owned()).into()
            );
        }
        (Some(preset), None) => Preset::parse(preset),
        (None, Some(task)) if request.family == "maxim" => Preset::Maxim(task),
        (None, None) if request.family == "xdecoder" => Preset::XDecoder,
        (None, _) => {
            let wanted = if request.family == "maxim" { "--task or a preset file" } else { "--preset" };
            return Err(Usage(format!("weights of {} need {wanted}", request.family)).into());
        }
    };
    let id = request.id.clone().unwrap_or_else(|| request.default_id());
    let out = request.out.clone().unwrap_or_else(|| Catalog::standard().folder().to_owned());
    let mut options = ImportOptions::new(preset, id, out);
    options.family.clone_from(&request.family);
    options.name.clone_from(&request.name);
    options.attention_scale.clone_from(&request.attention_scale);
    options.variant.clone_from(&request.variant);
    options.merges.clone_from(&request.merges);
    options.licence.clone_from(&request.licence);
    options.replace = request.overwrite;
    if request.half {
        options.precision = Precision::F16;
    }
    let pack = import(&request.checkpoint, &options, task).map_err(usage)?;
    Ok(PackInfo::of(&pack))
}

/// Makes a pack of a network that was exported elsewhere; tells what was taken from where.
///
/// # Errors
/// [`Usage`] naming what is missing, with the choices; those of the file.
pub fn import_plain(request: &Import, task: &Task) -> anyhow::Result<(PackInfo, Look)> {
    let for_weights = [
        (request.preset.is_some(), "--preset"),
        (request.variant.is_some(), "--variant"),
        (request.attention_scale.is_some(), "--attention-scale"),
        (request.half, "--half"),
    ];
    if let Some((_, option)) = for_weights.iter().find(|(is_given, _)| *is_given) {
        return Err(
            Usage(format!("{option} is for weights of our own families, not for --family {ONNX}")).into()
        );
    }
    let options = Options {
        id: request.id.clone().unwrap_or_else(|| request.default_id()),
        name: request.name.clone(),
        licence: request.licence.clone(),
        out_dir: request.out.clone().unwrap_or_else(|| Catalog::standard().folder().to_owned()),
        replace: request.overwrite,
    };
    let mut answers = request.plain.clone().unwrap_or_default();
    answers.task = answers.task.or(request.task);
    let (pack, look) =
        models::plain::import::import(&request.checkpoint, &answers, &options, task).map_err(usage)?;
    Ok((PackInfo::of(&pack), look))
}

/// Copies a pack folder to the user's packs, after checking every file.
///
/// # Errors
/// Those of the pack.
pub fn install(folder: &Path, overwrite: bool) -> anyhow::Result<PackInfo> {
    install_in(Catalog::standard().folder(), folder, overwrite)
}

/// As [`install`], to a folder of packs.
///
/// # Errors
/// Those of the pack.
pub fn install_in(packs: &Path, folder: &Path, overwrite: bool) -> anyhow::Result<PackInfo> {
    let pack: Arc<ModelPack> = Catalog::in_folder(packs).install(folder, overwrite)?;
    Ok(PackInfo::of(&pack))
}

/// Removes one of the user's packs.
///
/// # Errors
/// [`Usage`] for one that is not there or part of the program.
pub fn remove(id: &str) -> anyhow::Result<()> {
    Catalog::standard().remove(id).map_err(usage)
}

/// A wrong argument is the user's, with another exit code than a failure.
fn usage(error: models::Error) -> anyhow::Error {
    match error {
        models::Error::Argument(message) => Usage(message).into(),
        other => other.into(),
    }
}
