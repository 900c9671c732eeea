//! What the program can be asked to do, apart from who asks: the command line now, the window and a helper
//! process later.

use std::path::PathBuf;

use formats::Task;
use serde::{Deserialize, Serialize};

use crate::convert::Convert;
use crate::evaluate::Evaluate;
use crate::info::FileInfo;

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Say what a file is.
    Info {
        /// The file.
        file: PathBuf,
    },
    /// Write an image in another format or type.
    Convert(Convert),
    /// Compare a segmentation with the truth.
    Evaluate(Evaluate),
}

/// What came of a [`Request`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Of [`Request::Info`].
    Info(Box<FileInfo>),
    /// Of [`Request::Convert`].
    Converted(crate::convert::Converted),
    /// Of [`Request::Evaluate`].
    Evaluated(Box<formats::measure::Evaluation>),
}

/// Does the work. Progress and cancellation go through `task`.
///
/// # Errors
/// Those of the libraries below, with the file or case as context.
pub fn perform(request: &Request, task: &Task) -> anyhow::Result<Outcome> {
    Ok(match request {
        Request::Info { file } => Outcome::Info(Box::new(crate::info::info(file, task)?)),
        Request::Evaluate(evaluate) => Outcome::Evaluated(Box::new(crate::evaluate::run(evaluate, task)?)),
        Request::Convert(convert) => Outcome::Converted(crate::convert::convert(convert, task)?),
    })
}
