//! Folders of sessions and who owns them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// A session's folder and the lock that says that it has an owner. The lock file lies beside the folder, so that it can
/// be held before the folder exists and until after it is gone.
#[derive(Debug)]
pub(super) struct Session {
    pub folder: PathBuf,
    /// Unlocked by the system when closed.
    _lock: File,
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

impl Session {
    /// A new session of this process.
    pub fn start(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("{}: cannot create", root.display()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for n in 0..1000 {
            let folder = root.join(format!("{now}-{}-{n}", std::process::id()));
            // Another process may look in between: it finds the lock held or no folder.
            if folder.exists() {
                continue;
            }
            if let Some(session) = Self::open(&folder)? {
                std::fs::create_dir(&folder)
                    .with_context(|| format!("{}: cannot create", folder.display()))?;
                return Ok(session);
            }
        }
        anyhow::bail!("{}: no free name for a session", root.display())
    }

    /// Takes over a session, unless it has an owner.
    pub fn open(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = lock_path(folder);
        let mut lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("{}: cannot create", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {
                // For people who look; nothing depends on it.
                let _ = writeln!(lock, "{}", std::process::id());
                Ok(Some(Self { folder: folder.to_owned(), _lock: lock }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("{}: cannot lock", path.display())),
        }
    }

    /// Removes the session.
    pub fn remove(&self) {
        // What cannot be removed now is offered at the next start, where removing is tried again.
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_file(lock_path(&self.folder));
    }
}
