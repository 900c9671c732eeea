//! Edits that survive a crash.
//!
//! While labels are edited, every [`LabelEdit`] is appended to a file in the user's folder. After a crash, a `kill -9` or
//! a power cut the next start finds the files ([`pending`]) and rebuilds the labels ([`Pending::recover`]).
//!
//! # How it works
//! - Each running program has a session: a folder `journal/<time>-<process>/` and beside it a lock file, which the
//!   system releases when the process ends in whatever way. A session whose lock is held is somebody's live journal and
//!   is left alone.
//! - Each edited layer has a file of checked records: what it is, the labels as they were at the first edit, then the
//!   edits. A record is handed to the system at once, so that the death of the process loses nothing that was given
//!   to [`Journal::edit`] and reached the thread; it is forced to disk within two seconds for the case of a power cut.
//! - When the edits outgrow the labels a new generation begins with the labels as they are then. It appears by atomic
//!   rename, and the generation before is kept until the next, so that damage to one file costs little.
//! - A record cut short or damaged ends the reading; what came before it is recovered.
//!
//! # Why the labels are always in the journal
//! Naming the file they came from would be smaller, but that file may be changed, moved or unplugged before the
//! journal is needed. Labels are stored as runs: a few megabytes for a whole-brain segmentation, written beside the
//! window.

mod file;
mod recovery;
mod session;
#[cfg(test)]
mod tests;
mod writer;

pub use recovery::{Pending, PendingLayer, Recovered, RecoveredLayer, pending};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Context;
use formats::LabelMap;
use serde::{Deserialize, Serialize};
use viewer::LayerId;
use viewer::tools::LabelEdit;

use session::Session;
use writer::{Message, Writer};

/// Messages that wait for the thread at most; more mean that the disk stands still.
const WAITING: usize = 4096;

/// Time after a failure until [`Journal::record`] tries again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A file as it was, to recognise it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it lay.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was last changed, seconds since 1970; 0 when unknown.
    pub modified_secs: u64,
}

impl Source {
    /// The file as it is now; `None` when it cannot be seen.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Some(Self { path, bytes: meta.len(), modified_secs: modified.map_or(0, |d| d.as_secs()) })
    }

    /// Whether the file is still there with the same length and date.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        Self::of(&self.path).as_ref() == Some(self)
    }
}

/// What an edited layer is, for people and for opening it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The layer's name.
    pub name: String,
    /// The file the labels were read from or last saved to; `None` when they never were in a file.
    pub labels: Option<Source>,
    /// The image they were drawn on.
    pub image: Option<Source>,
}

/// What the thread has to say.
#[derive(Debug, Default)]
struct State {
    problem: Option<String>,
    /// Layers whose journal ought to begin anew.
    due: BTreeSet<LayerId>,
    /// Layers of which an edit could not be sent: those after it are of no use until the journal begins anew.
    behind: BTreeSet<LayerId>,
    /// Layers that [`Journal::record`] need not begin.
    begun: BTreeSet<LayerId>,
    /// When writing failed last.
    failed: BTreeMap<LayerId, Instant>,
}

/// The journal of this process.
pub struct Journal {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<Mutex<State>>,
    session: Session,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic elsewhere must not end the journal.
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Where the journals of this user are.
#[must_use]
pub fn folder() -> PathBuf {
    inference::runtime::user_folder().join("journal")
}

impl Journal {
    /// Starts a session in `folder` (see [`folder()`]) and its thread.
    ///
    /// # Errors
    /// The folder cannot be made or locked.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let session = Session::start(folder)?;
        let (sender, receiver) = sync_channel(WAITING);
        let state = Arc::new(Mutex::new(State::default()));
        let mut writer = Writer::new(session.folder.clone(), Arc::clone(&state));
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&receiver))
            .context("cannot start the journal's thread")?;
        Ok(Self { sender: Some(sender), thread: Some(thread), state, session })
    }

    /// Keeps an edit safe that was just applied: appends it, or begins the journal of the layer (for the first time, or
    /// anew when its edits outgrew its labels or the disk fell behind) with `now`, the layer as it is after the edit. This
    /// is all that an editor needs to call; [`Journal::begin`] and [`Journal::edit`] are its two halves.
    pub fn record(&self, layer: LayerId, edit: &LabelEdit, now: impl FnOnce() -> (About, LabelMap)) {
        if edit.is_empty() {
            return;
        }
        let must_begin = {
            let mut state = lock(&self.state);
            let is_due =
                state.due.remove(&layer) || state.behind.contains(&layer) || !state.begun.contains(&layer);
            is_due && state.failed.get(&layer).is_none_or(|at| at.elapsed() > RETRY_AFTER)
        };
        if must_begin {
            let (about, map) = now();
            self.begin(layer, about, map);
        } else {
            self.edit(layer, edit);
        }
    }

    /// Begins (or begins anew) the journal of a layer with the labels as they are now. To be called before the first edit
    /// after opening or saving, with what [`Journal::edit`] will then change; and whenever [`Journal::take_due`] names the
    /// layer. Cheap for the caller (voxels are shared; the next edit copies them once if it comes before they are written).
    pub fn begin(&self, layer: LayerId, about: About, base: LabelMap) {
        {
            let mut state = lock(&self.state);
            state.behind.remove(&layer);
            state.failed.remove(&layer);
            state.begun.insert(layer);
        }
        self.send(layer, Message::Begin(layer, Box::new((about, base))));
    }

    /// Appends an edit that was applied to the layer (of an undo or redo, the edit that was applied). Without a
    /// [`Journal::begin`] before it does nothing.
    pub fn edit(&self, layer: LayerId, edit: &LabelEdit) {
        if !edit.is_empty() && !lock(&self.state).behind.contains(&layer) {
            self.send(layer, Message::Edit(layer, edit.encode()));
        }
    }

    /// The layer was saved or closed: there is nothing left to recover.
    pub fn forget(&self, layer: LayerId) {
        {
            let mut state = lock(&self.state);
            state.due.remove(&layer);
            state.failed.remove(&layer);
            state.begun.remove(&layer);
        }
        self.send(layer, Message::Forget(layer));
    }

    /// Layers to [`Journal::begin`] anew, because their edits outgrew their labels or the disk fell behind.
    #[must_use]
    pub fn take_due(&self) -> Vec<LayerId> {
        std::mem::take(&mut lock(&self.state).due).into_iter().collect()
    }

    /// Why edits are not being kept safe at the moment, to be shown to the user; told once.
    #[must_use]
    pub fn take_problem(&self) -> Option<String> {
        lock(&self.state).problem.take()
    }

    /// Waits until everything said so far is on disk.
    pub fn flush(&self) {
        let (sender, receiver) = sync_channel(1);
        if let Some(to) = &self.sender
            && to.send(Message::Flush(sender)).is_ok()
        {
            // An error means that the thread is gone, and with it what could be waited for.
            let _ = receiver.recv();
        }
    }

    /// Ends the session and removes it: for a regular end of the program, after the user decided about unsaved edits.
    pub fn finish(mut self) {
        self.stop();
        self.session.remove();
    }

    fn send(&self, layer: LayerId, message: Message) {
        let sent = self.sender.as_ref().map(|s| s.try_send(message));
        if let Some(Err(error)) = sent {
            let mut state = lock(&self.state);
            state.behind.insert(layer);
            match error {
                TrySendError::Full(_) => {
                    state.due.insert(layer);
                    state.problem = Some("the disk is too slow to keep edits safe from a crash".to_owned());
                }
                TrySendError::Disconnected(_) => {
                    state.problem = Some("edits are no longer kept safe from a crash; save them".to_owned());
                }
            }
        }
    }

    fn stop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    /// Waits for the thread. What was journalled stays recoverable.
    fn drop(&mut self) {
        self.stop();
    }
}
