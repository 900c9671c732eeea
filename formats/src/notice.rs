//! Things odd but survivable, which travel with a result.

use serde::{Deserialize, Serialize};

/// A remark about a file or a result that a careful user wants to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable identifier in kebab case, e.g. `"sform-qform-differ"`; tests and scripts match on it.
    pub code: String,
    /// How much it matters.
    pub level: Level,
    /// One sentence with the numbers.
    pub message: String,
}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Check before trusting positions or values.
    Warning,
}

impl Notice {
    /// A note.
    pub fn info(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), level: Level::Info, message: message.into() }
    }

    /// A warning.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), level: Level::Warning, message: message.into() }
    }
}
