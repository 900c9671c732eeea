//! What can go wrong between an array and its network.

use crate::provider::Provider;

/// Failure of the numerics, the runtime or a network. Each message says what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// From the images below.
    #[error(transparent)]
    Image(formats::Error),
    /// ONNX Runtime is missing, damaged, too old or could not be installed.
    #[error("ONNX Runtime: {found}. {remedy}")]
    Runtime {
        /// What was met.
        found: String,
        /// What the user can do.
        remedy: String,
    },
    /// An execution provider that was asked for cannot run.
    #[error("the provider {provider} cannot be used: {reason}. {remedy}")]
    Provider {
        /// The provider asked for.
        provider: Provider,
        /// Why it cannot.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// A model that cannot be loaded, or a network that got something it does not take or failed while running.
    #[error("network: {found}; expected {expected}. {remedy}")]
    Net {
        /// What was met.
        found: String,
        /// What would have worked.
        expected: String,
        /// What the user can do.
        remedy: String,
    },
    /// Less memory than the work needs.
    #[error("needs {} of memory, but {} can be used. {remedy}", crate::memory::in_words(*needed_bytes), crate::memory::in_words(*available_bytes))]
    Memory {
        /// Bytes the work needs.
        needed_bytes: u64,
        /// Bytes there are.
        available_bytes: u64,
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

impl Error {
    /// A stable word for the kind, for machine-readable records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Image(e) => e.kind(),
            Self::Runtime { .. } => "runtime",
            Self::Provider { .. } => "provider",
            Self::Net { .. } => "network",
            Self::Memory { .. } => "memory",
            Self::Argument(_) => "argument",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn runtime(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Runtime { found: found.into(), remedy: remedy.into() }
    }

    /// An [`Error::Net`].
    pub fn net(found: impl Into<String>, expected: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Net { found: found.into(), expected: expected.into(), remedy: remedy.into() }
    }
}
