//! What is done with one element, as told to people.

use serde::{Deserialize, Serialize};

/// What is done with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Stays as it is.
    Keep,
    /// Goes.
    Remove,
    /// Stays without a value.
    Empty,
    /// Gets a value that says nothing.
    Dummy,
    /// Gets the patient's pseudonym.
    Pseudonym,
    /// Gets other UIDs.
    NewUid,
    /// A date is shifted.
    Shift,
    /// Loses what identifies.
    Clean,
    /// Was not there before.
    Add,
}

impl Action {
    /// The action in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Empty => "empty",
            Self::Dummy => "dummy",
            Self::Pseudonym => "pseudonym",
            Self::NewUid => "new-uid",
            Self::Shift => "shift",
            Self::Clean => "clean",
            Self::Add => "add",
        }
    }
}

/// One element of a plan. The old and the new value are for the screen of who holds the original; reports leave them
/// out ([`Row::report`]), which is why this is not `Serialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it is, e.g. `(0040,A730)[2].(0040,A160)`; items count from 1.
    pub path: String,
    /// Its tag, e.g. `(0010,0010)`.
    pub tag: String,
    /// Its keyword (PS3.6), `private` or `unknown`.
    pub keyword: String,
    /// Its value representation.
    pub vr: String,
    /// What is done.
    pub action: Action,
    /// Its value before, cut to 80 characters.
    pub old: String,
    /// Its value after; none when it goes.
    pub new: Option<String>,
    /// The profile, the option or the rule that says so.
    pub reason: String,
}

/// One element in a report: never a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ReportRow {
    /// See [`Row::path`].
    pub path: String,
    /// See [`Row::tag`].
    pub tag: String,
    /// See [`Row::keyword`].
    pub keyword: String,
    /// See [`Row::vr`].
    pub vr: String,
    /// See [`Row::action`].
    pub action: Action,
    /// See [`Row::reason`].
    pub reason: String,
}

impl Row {
    /// The row without values.
    #[must_use]
    pub fn report(&self) -> ReportRow {
        let Self { path, tag, keyword, vr, action, reason, .. } = self.clone();
        ReportRow { path, tag, keyword, vr, action, reason }
    }
}
