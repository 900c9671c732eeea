//! What can go wrong with packs, checkpoints and runs, in terms a user can act on.

use std::path::{Path, PathBuf};

/// Failure of a pack, a checkpoint or a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Numerics, the runtime or memory.
    #[error(transparent)]
    Inference(inference::Error),
    /// An input image that cannot be used.
    #[error(transparent)]
    Image(formats::Error),
    /// A model pack that cannot be trusted or understood.
    #[error("{}: {found}; expected {expected}. {remedy}", path.display())]
    Pack {
        /// The pack folder or the file in it.
        path: PathBuf,
        /// What was met.
        found: String,
        /// What a pack must hold.
        expected: String,
        /// What the user can do.
        remedy: String,
    },
    /// A weights file that cannot be read or does not fit the network.
    #[error("{}: {found}; expected {expected}. {remedy}", path.display())]
    Checkpoint {
        /// The weights file.
        path: PathBuf,
        /// What was met.
        found: String,
        /// What was needed.
        expected: String,
        /// What the user can do.
        remedy: String,
    },
    /// The caller's arguments do not fit together.
    #[error("{0}")]
    Argument(String),
    /// The user asked to stop. Not a failure.
    #[error("cancelled")]
    Cancelled,
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<formats::Error> for Error {
    fn from(e: formats::Error) -> Self {
        match e {
            formats::Error::Cancelled => Self::Cancelled,
            other => Self::Image(other),
        }
    }
}

impl From<inference::Error> for Error {
    fn from(e: inference::Error) -> Self {
        match e {
            inference::Error::Cancelled => Self::Cancelled,
            inference::Error::Image(inner) => inner.into(),
            other => Self::Inference(other),
        }
    }
}

impl Error {
    /// An [`Error::Pack`].
    pub fn pack(
        path: &Path,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Pack {
            path: path.to_owned(),
            found: found.into(),
            expected: expected.into(),
            remedy: remedy.into(),
        }
    }

    /// An [`Error::Checkpoint`].
    pub fn checkpoint(
        path: &Path,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Checkpoint {
            path: path.to_owned(),
            found: found.into(),
            expected: expected.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether this is a cancellation, which is not a failure.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}
