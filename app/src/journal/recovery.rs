//! What earlier sessions left behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use formats::{LabelMap, Notice};

use super::About;
use super::file;
use super::session::Session;
use crate::failure::describe;

/// A session that ended without saying so.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its folder.
    pub folder: PathBuf,
    /// When something was last written.
    pub last_written: SystemTime,
    /// What can be recovered.
    pub layers: Vec<PendingLayer>,
    /// What cannot, with the reason.
    pub problems: Vec<String>,
}

/// A layer of a [`Pending`] session.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingLayer {
    /// What it was.
    pub about: About,
    /// Edits in the newest sound generation.
    pub edits: usize,
}

/// A layer rebuilt.
#[derive(Clone, Debug)]
pub struct RecoveredLayer {
    /// What it was.
    pub about: About,
    /// Labels, grid and table after the last sound edit.
    pub map: LabelMap,
    /// Edits applied to the labels of the newest sound generation.
    pub edits: usize,
    /// What was lost, if anything.
    pub notices: Vec<Notice>,
}

/// A recovered session. It stays on disk, and nobody else can take it, until [`Recovered::done`].
#[derive(Debug)]
pub struct Recovered {
    /// The layers.
    pub layers: Vec<RecoveredLayer>,
    /// What could not be recovered, with the reason.
    pub problems: Vec<String>,
    session: Session,
}

impl Recovered {
    /// Removes the session from disk: to be called once the layers are in a journal again (or saved).
    pub fn done(self) {
        self.session.remove();
    }
}

/// Sessions in `folder` ([`super::folder()`]) that have no owner and hold something, newest first. Empty ones are removed.
/// Reads all of their files: not for the thread of the window.
#[must_use]
pub fn pending(folder: &Path) -> Vec<Pending> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sessions = entries.map(|e| e.path()).filter(|p| p.is_dir());
    let mut out: Vec<Pending> = sessions.filter_map(|p| look(&p)).collect();
    out.sort_by_key(|p| std::cmp::Reverse(p.last_written));
    out
}

fn look(folder: &Path) -> Option<Pending> {
    // A session that cannot be locked for another reason than its owner cannot be recovered either.
    let session = Session::open(folder).ok()??;
    let generations = generations(folder);
    if generations.is_empty() {
        session.remove();
        return None;
    }
    let (mut layers, mut problems) = (Vec::new(), Vec::new());
    let mut last_written = UNIX_EPOCH;
    for paths in generations.values() {
        let written = paths.iter().filter_map(|p| std::fs::metadata(p).ok()?.modified().ok()).max();
        last_written = last_written.max(written.unwrap_or(UNIX_EPOCH));
        match first_sound(paths, file::outline) {
            Ok((found, _)) => layers.push(PendingLayer { about: found.about, edits: found.edits }),
            Err(error) => problems.push(describe(&error)),
        }
    }
    Some(Pending { folder: folder.to_owned(), last_written, layers, problems })
}

/// Files by layer, newest generation first.
fn generations(folder: &Path) -> BTreeMap<usize, Vec<PathBuf>> {
    let mut found: BTreeMap<usize, Vec<(usize, PathBuf)>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|n| n.strip_suffix(".edits")).and_then(|n| n.split_once('-'));
        if let Some((number, generation)) = parts
            && let (Ok(number), Ok(generation)) = (number.parse(), generation.parse())
        {
            found.entry(number).or_default().push((generation, entry.path()));
        }
    }
    found
        .into_iter()
        .map(|(number, mut paths)| {
            paths.sort_by_key(|(generation, _)| std::cmp::Reverse(*generation));
            (number, paths.into_iter().map(|(_, path)| path).collect())
        })
        .collect()
}

/// The newest generation that can be read, and why a newer one could not.
fn first_sound<T>(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Option<String>)> {
    let mut first_error: Option<anyhow::Error> = None;
    for path in paths {
        match read(path).with_context(|| format!("{}", path.display())) {
            Ok(found) => return Ok((found, first_error.map(|e| describe(&e)))),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| anyhow::anyhow!("no file")))
}

impl Pending {
    /// Rebuilds the labels.
    ///
    /// # Errors
    /// Another running program has taken the session, or it is gone.
    pub fn recover(&self) -> anyhow::Result<Recovered> {
        let session = self.take()?;
        let (mut layers, mut problems) = (Vec::new(), Vec::new());
        for paths in generations(&self.folder).values() {
            match first_sound(paths, file::read) {
                Ok((found, newer)) => {
                    let lost = newer.into_iter().chain(found.damage);
                    let notices = lost
                        .map(|why| {
                            let message = format!("The last edits of “{}” are lost: {why}", found.about.name);
                            Notice::warning("journal-damaged", message)
                        })
                        .collect();
                    layers.push(RecoveredLayer {
                        about: found.about,
                        map: found.map,
                        edits: found.edits,
                        notices,
                    });
                }
                Err(error) => problems.push(describe(&error)),
            }
        }
        Ok(Recovered { layers, problems, session })
    }

    /// Removes the session for good.
    ///
    /// # Errors
    /// As [`Pending::recover`].
    pub fn discard(&self) -> anyhow::Result<()> {
        self.take()?.remove();
        Ok(())
    }

    fn take(&self) -> anyhow::Result<Session> {
        if !self.folder.is_dir() {
            bail!(
                "{}: the session is gone; another program has recovered or discarded it",
                self.folder.display()
            );
        }
        let session = Session::open(&self.folder)?;
        session.with_context(|| format!("{}: another program is using the session", self.folder.display()))
    }
}
