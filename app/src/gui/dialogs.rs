//! Asking the user for files. Native dialogs block, so they are waited for on a thread; tests put an [`Answers`] in
//! their place.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a chosen path is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// Files to be opened.
    Open,
    /// A folder to be opened.
    OpenFolder,
    /// A session to be opened.
    OpenSession,
    /// A checkpoint or pack to be imported.
    ImportPack,
    /// Where a layer goes.
    SaveLayer(viewer::LayerId),
    /// Where surfaces go.
    SaveMesh(viewer::LayerId),
    /// Where a label table goes.
    SaveTable(viewer::LayerId),
    /// Where the picture of the window goes.
    SaveScreenshot,
    /// Where the picture of a pane goes.
    SavePane,
    /// The folder for pictures of the turning volume.
    SaveTurntable,
    /// Where the session goes.
    SaveSession,
    /// Something of de-identification.
    Deid(DeidPath),
}

/// What a path is in de-identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeidPath {
    /// Files to be de-identified.
    Files,
    /// A folder of them.
    Folder,
    /// The folder for results.
    Output,
    /// Where the way back is kept.
    Map,
    /// The key.
    Key,
}

/// A question about files.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What for.
    pub purpose: Purpose,
    /// Title of the dialog.
    pub title: String,
    /// Suggested name, for saving.
    pub name: String,
    /// Folder to start in.
    pub folder: Option<PathBuf>,
    /// Name and endings without the dot.
    pub filters: Vec<(String, Vec<String>)>,
}

/// An answer: what was asked for, and the paths.
pub type Answer = (Purpose, Vec<PathBuf>);

/// Somebody who can be asked for files.
pub trait Chooser {
    /// Asks; the answer, if any, is sent later.
    fn ask(&mut self, ask: Ask, answer: Sender<Answer>, wake: Box<dyn Fn() + Send>);
}

/// The desktop's own dialogs.
#[derive(Debug, Default)]
pub struct Native;

impl Chooser for Native {
    fn ask(&mut self, ask: Ask, answer: Sender<Answer>, wake: Box<dyn Fn() + Send>) {
        let mut dialog = rfd::AsyncFileDialog::new().set_title(&ask.title);
        for (name, endings) in &ask.filters {
            dialog = dialog.add_filter(name, endings);
        }
        if let Some(folder) = &ask.folder {
            dialog = dialog.set_directory(folder);
        }
        if !ask.name.is_empty() {
            dialog = dialog.set_file_name(&ask.name);
        }
        // The dialog is made on this thread (macOS asks for that) and waited for on another.
        let many = |handles: Option<Vec<rfd::FileHandle>>| {
            handles.unwrap_or_default().iter().map(|h| h.path().to_owned()).collect::<Vec<_>>()
        };
        let one = move |handle: Option<rfd::FileHandle>| many(handle.map(|h| vec![h]));
        type Picked = std::pin::Pin<Box<dyn Future<Output = Vec<PathBuf>> + Send>>;
        let future: Picked = match ask.purpose {
            Purpose::Open | Purpose::Deid(DeidPath::Files) => {
                let picked = dialog.pick_files();
                Box::pin(async move { many(picked.await) })
            }
            Purpose::OpenFolder
            | Purpose::SaveTurntable
            | Purpose::Deid(DeidPath::Folder | DeidPath::Output) => {
                let picked = dialog.pick_folder();
                Box::pin(async move { one(picked.await) })
            }
            Purpose::OpenSession | Purpose::ImportPack => {
                let picked = dialog.pick_file();
                Box::pin(async move { one(picked.await) })
            }
            _ => {
                let picked = dialog.save_file();
                Box::pin(async move { one(picked.await) })
            }
        };
        let wait = move || {
            let paths = pollster::block_on(future);
            if !paths.is_empty() {
                // The window may be gone by now.
                let _ = answer.send((ask.purpose, paths));
                wake();
            }
        };
        // Without a thread there is no dialog; the user sees that nothing opens and tries again.
        let _ = std::thread::Builder::new().name("file dialog".to_owned()).spawn(wait);
    }
}

/// Answers prepared beforehand, in order; questions beyond them get none.
#[derive(Debug, Default)]
pub struct Answers(pub VecDeque<Vec<PathBuf>>);

impl Chooser for Answers {
    fn ask(&mut self, ask: Ask, answer: Sender<Answer>, wake: Box<dyn Fn() + Send>) {
        if let Some(paths) = self.0.pop_front() {
            let _ = answer.send((ask.purpose, paths));
            wake();
        }
    }
}

/// The two ends of the channel for answers.
#[must_use]
pub fn answers() -> (Sender<Answer>, Receiver<Answer>) {
    channel()
}
