//! Errors as people and scripts are told about them.

use serde::{Deserialize, Serialize};

/// The user asked for something that cannot be meant: exit code 2, as for an unknown flag.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An error in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word, e.g. `"malformed"`, `"unsupported"`, `"memory"`, `"panic"`.
    pub kind: String,
    /// What happened, with the causes.
    pub message: String,
}

impl Failure {
    /// The record of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        Self { kind: kind(error).to_owned(), message: describe(error) }
    }
}

/// The error and its causes on one line; causes already told by the message above them are left out.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        let message = message.trim().trim_end_matches('.').replace('\n', " ");
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

/// The stable word for the kind of an error, from the first cause that has one.
pub fn kind(error: &anyhow::Error) -> &'static str {
    error.chain().find_map(kind_of).unwrap_or("other")
}

fn kind_of(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if cause.is::<Usage>() {
        return Some("argument");
    }
    if cause.is::<crate::batch::queue::Panic>() {
        return Some("panic");
    }
    let models = |e: &models::Error| match e {
        models::Error::Inference(e) => e.kind(),
        models::Error::Image(e) => e.kind(),
        models::Error::Pack { .. } => "pack",
        models::Error::Checkpoint { .. } => "checkpoint",
        models::Error::Argument(_) => "argument",
        models::Error::Cancelled => "cancelled",
    };
    None.or_else(|| cause.downcast_ref().map(models))
        .or_else(|| cause.downcast_ref().map(inference::Error::kind))
        .or_else(|| cause.downcast_ref().map(formats::Error::kind))
}

/// Whether the error only says that the user asked to stop.
pub fn is_cancelled(error: &anyhow::Error) -> bool {
    kind(error) == "cancelled"
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_is_told_once() {
        let io = formats::Error::io("a.nii".as_ref(), "read")(std::io::Error::other("disk on fire"));
        let error = Err::<(), _>(io).context("case a").unwrap_err();
        assert_eq!(describe(&error), "case a: a.nii: cannot read: disk on fire");
        assert_eq!(kind(&error), "io");
    }
}
