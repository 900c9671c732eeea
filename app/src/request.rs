//! What the program can be asked to do, apart from who asks: the command line now, the window and a helper
//! process later.

use std::path::PathBuf;

use formats::Task;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::batch::queue::{Listener, Tally};
use crate::convert::Convert;
use crate::deid::{Deid, Deidentified};
use crate::evaluate::Evaluate;
use crate::info::FileInfo;
use crate::mesh::{ExportMeshes, ExportedMeshes};
use crate::packs::{Import, PackInfo};
use crate::render::{Render, Rendered};
use crate::similarity::{CompareImages, Comparison};

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Say what a file is.
    Info {
        /// The file, or a folder, archive or DICOMDIR with DICOM.
        file: PathBuf,
        /// This series of it; a list of all when none.
        #[serde(default)]
        series: Option<String>,
    },
    /// Write an image in another format or type.
    Convert(Convert),
    /// De-identify DICOM files.
    Deid(Deid),
    /// Blank burned-in text.
    Redact(crate::redact::Redact),
    /// Compare lines of text with the truth.
    EvaluateText(crate::text::evaluate::EvaluateText),
    /// Compare a segmentation with the truth.
    Evaluate(Evaluate),
    /// Compare images with the truth.
    CompareImages(CompareImages),
    /// Write the surfaces of labels.
    ExportMeshes(ExportMeshes),
    /// Draw a picture.
    Render(Render),
    /// Segment cases without a window.
    Batch(Batch),
    /// Make a pack from a checkpoint.
    ImportPack(Box<Import>),
    /// Install a pack folder.
    InstallPack {
        /// The folder.
        folder: PathBuf,
        /// Whether a pack of the same identifier may be replaced.
        overwrite: bool,
    },
    /// Remove an installed pack.
    RemovePack {
        /// The pack.
        id: String,
    },
    /// Install ONNX Runtime into the user's data folder.
    InstallRuntime {
        /// A wheel downloaded elsewhere.
        wheel: Option<PathBuf>,
    },
}

/// What came of a [`Request`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Of [`Request::Info`].
    Info(Box<FileInfo>),
    /// Of [`Request::Info`] for a folder, archive or DICOMDIR.
    Collection(Box<crate::dicom::CollectionInfo>),
    /// Of [`Request::Convert`].
    Converted(crate::convert::Converted),
    /// Of [`Request::Deid`]. The files themselves were told to the listener.
    Deidentified(Deidentified),
    /// Of [`Request::Redact`]. The files themselves were told to the listener.
    Redacted(crate::redact::Redacted),
    /// Of [`Request::EvaluateText`].
    TextEvaluated(Box<crate::text::evaluate::TextEvaluation>),
    /// Of [`Request::Evaluate`].
    Evaluated(Box<formats::measure::Evaluation>),
    /// Of [`Request::CompareImages`].
    Compared(Box<Comparison>),
    /// Of [`Request::ExportMeshes`].
    Meshes(ExportedMeshes),
    /// Of [`Request::Render`].
    Rendered(Rendered),
    /// Of [`Request::Batch`]: how many cases went how. The cases themselves were told to the listener.
    Batch(Tally),
    /// Of [`Request::ImportPack`] and [`Request::InstallPack`].
    Pack(Box<PackInfo>),
    /// Of [`Request::RemovePack`].
    Removed,
    /// Of [`Request::InstallRuntime`].
    Runtime {
        /// The file.
        library: PathBuf,
    },
}

/// Does the work. Progress and cancellation go through `task`; a batch tells `listener` of each case.
///
/// # Errors
/// Those of the libraries below, with the file or case as context.
pub fn perform(request: &Request, listener: &dyn Listener, task: &Task) -> anyhow::Result<Outcome> {
    Ok(match request {
        Request::Info { file, series: None } if crate::dicom::is_collection(file) => {
            Outcome::Collection(Box::new(crate::dicom::collection_info(file, task)?))
        }
        Request::Info { file, series } => {
            Outcome::Info(Box::new(crate::info::info(file, series.as_deref(), task)?))
        }
        Request::Deid(deid) => Outcome::Deidentified(crate::deid::run(deid, listener, task)?),
        Request::Redact(redact) => Outcome::Redacted(crate::redact::run(redact, listener, task)?),
        Request::EvaluateText(evaluate) => {
            Outcome::TextEvaluated(Box::new(crate::text::evaluate::run(evaluate)?))
        }
        Request::Evaluate(evaluate) => Outcome::Evaluated(Box::new(crate::evaluate::run(evaluate, task)?)),
        Request::CompareImages(compare) => {
            Outcome::Compared(Box::new(crate::similarity::run(compare, task)?))
        }
        Request::ExportMeshes(export) => Outcome::Meshes(crate::mesh::run(export, task)?),
        Request::Render(render) => Outcome::Rendered(crate::render::render(render, task)?),
        Request::Batch(batch) => Outcome::Batch(crate::batch::run(batch, listener, task)?),
        Request::ImportPack(import) => Outcome::Pack(Box::new(crate::packs::import_pack(import, task)?)),
        Request::InstallPack { folder, overwrite } => {
            Outcome::Pack(Box::new(crate::packs::install(folder, *overwrite)?))
        }
        Request::RemovePack { id } => {
            crate::packs::remove(id)?;
            Outcome::Removed
        }
        Request::InstallRuntime { wheel } => {
            Outcome::Runtime { library: crate::runtime::install(wheel.as_deref(), task)? }
        }
        Request::Convert(convert) => Outcome::Converted(crate::convert::convert(convert, task)?),
    })
}
