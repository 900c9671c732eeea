//! What can go wrong, in terms a user can act on.

use std::path::{Path, PathBuf};

/// Failure of a reader, a writer or a computation on images.
///
/// Each message names the file, what was found, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file contradicts its own format, or is cut short.
    #[error("{}: {found}; expected {expected}. {remedy}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the file holds.
        found: String,
        /// What the format asks for.
        expected: String,
        /// What the user can do.
        remedy: String,
    },
    /// A sound file (or a request) that this program does not handle.
    #[error("{}: {found} is not supported; supported: {supported}. {remedy}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What was met.
        found: String,
        /// What would have worked.
        supported: String,
        /// What the user can do.
        remedy: String,
    },
    /// More memory, disk or index range than there is or than was allowed.
    #[error("{}: needs {needed}, but {limit}. {remedy}", path.display())]
    OverLimit {
        /// The file or case.
        path: PathBuf,
        /// What it asks for.
        needed: String,
        /// What is there.
        limit: String,
        /// What the user can do.
        remedy: String,
    },
    /// The caller's arguments do not fit together.
    #[error("{0}")]
    Argument(String),
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb: "read", "write", "create".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The user asked to stop. Not a failure.
    #[error("cancelled")]
    Cancelled,
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Malformed`] with the usual remedy, to obtain the file again.
    pub fn malformed(path: &Path, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            found: found.into(),
            expected: expected.into(),
            remedy: "The file is damaged or was cut short; copy or export it again".to_owned(),
        }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(
        path: &Path,
        found: impl Into<String>,
        supported: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            found: found.into(),
            supported: supported.into(),
            remedy: remedy.into(),
        }
    }

    /// An [`Error::Io`] for use with `map_err`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    /// A stable word for the kind, for machine-readable records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Unsupported { .. } => "unsupported",
            Self::OverLimit { .. } => "over-limit",
            Self::Argument(_) => "argument",
            Self::Io { .. } => "io",
            Self::Cancelled => "cancelled",
        }
    }
}
