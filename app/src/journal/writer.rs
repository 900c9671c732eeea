//! The thread that writes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use formats::LabelMap;
use viewer::LayerId;

use super::file::Appender;
use super::{About, State, lock};
use crate::failure::describe;

/// Longest time that written records wait before they are forced to disk.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// Edits may take this much (and twice the labels they started from) before a new generation is asked for.
const EDITS_LIMIT: u64 = 32 << 20;

pub(super) enum Message {
    Begin(LayerId, Box<(About, LabelMap)>),
    /// Encoded.
    Edit(LayerId, Vec<u8>),
    Forget(LayerId),
    /// Answered once all is on disk.
    Flush(SyncSender<()>),
}

/// The files of a layer: `<number>-<generation>.edits`.
struct LayerFiles {
    number: usize,
    generation: usize,
    /// `None` after a failure, until the next generation.
    current: Option<Appender>,
    is_dirty: bool,
}

pub(super) struct Writer {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    layers: HashMap<LayerId, LayerFiles>,
    numbers: usize,
}

impl Writer {
    pub fn new(folder: PathBuf, state: Arc<Mutex<State>>) -> Self {
        Self { folder, state, layers: HashMap::new(), numbers: 0 }
    }

    /// Writes until all senders are gone. Sleeps without a time limit when all is on disk.
    pub fn run(&mut self, receiver: &Receiver<Message>) {
        let mut dirty_since: Option<Instant> = None;
        loop {
            let message = match dirty_since {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(since) => receiver.recv_timeout(SYNC_AFTER.saturating_sub(since.elapsed())),
            };
            match message {
                Ok(Message::Begin(layer, content)) => self.begin(layer, &content.0, &content.1),
                Ok(Message::Edit(layer, edit)) => self.edit(layer, &edit),
                Ok(Message::Forget(layer)) => self.forget(layer),
                Ok(Message::Flush(done)) => {
                    self.sync();
                    // Nobody waits any more: nothing to do.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync();
                    return;
                }
            }
            let is_dirty = self.layers.values().any(|l| l.is_dirty);
            dirty_since = if is_dirty { dirty_since.or_else(|| Some(Instant::now())) } else { None };
            if dirty_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER) {
                self.sync();
                dirty_since = None;
            }
        }
    }

    fn path(&self, number: usize, generation: usize) -> PathBuf {
        self.folder.join(format!("{number}-{generation}.edits"))
    }

    fn begin(&mut self, layer: LayerId, about: &About, base: &LabelMap) {
        let numbers = &mut self.numbers;
        let files = self.layers.entry(layer).or_insert_with(|| {
            *numbers += 1;
            LayerFiles { number: *numbers, generation: 0, current: None, is_dirty: false }
        });
        files.generation += 1;
        let (number, generation) = (files.number, files.generation);
        let made = Appender::create(&self.path(number, generation), about, base);
        if let Some(old) = generation.checked_sub(2) {
            // The one before stays; what cannot be removed does no harm.
            let _ = std::fs::remove_file(self.path(number, old));
        }
        match made {
            Ok(appender) => {
                if let Some(files) = self.layers.get_mut(&layer) {
                    files.current = Some(appender);
                    files.is_dirty = false;
                }
                let mut state = lock(&self.state);
                if !state.behind.contains(&layer) {
                    state.due.remove(&layer);
                }
            }
            Err(error) => self.fail(layer, &error),
        }
    }

    fn edit(&mut self, layer: LayerId, edit: &[u8]) {
        let Some(files) = self.layers.get_mut(&layer) else { return };
        let Some(current) = &mut files.current else { return };
        if let Err(error) = current.edit(edit) {
            self.fail(layer, &error);
            return;
        }
        files.is_dirty = true;
        if current.edit_bytes > EDITS_LIMIT + 2 * current.base_bytes {
            lock(&self.state).due.insert(layer);
        }
    }

    fn forget(&mut self, layer: LayerId) {
        if let Some(files) = self.layers.remove(&layer) {
            let (number, last) = (files.number, files.generation);
            // Closed first, which Windows asks for.
            drop(files);
            for generation in last.saturating_sub(2)..=last {
                let _ = std::fs::remove_file(self.path(number, generation));
            }
        }
    }

    fn sync(&mut self) {
        let mut failed = Vec::new();
        for (layer, files) in self.layers.iter_mut().filter(|(_, f)| f.is_dirty) {
            files.is_dirty = false;
            if let Some(Err(error)) = files.current.as_ref().map(Appender::sync) {
                failed.push((*layer, error));
            }
        }
        for (layer, error) in failed {
            self.fail(layer, &error);
        }
    }

    /// After a failure nothing more is written to the file, since what follows a torn record could not be read.
    fn fail(&mut self, layer: LayerId, error: &anyhow::Error) {
        if let Some(files) = self.layers.get_mut(&layer) {
            files.current = None;
            files.is_dirty = false;
        }
        lock(&self.state).problem =
            Some(format!("edits are not kept safe from a crash: {}; save them", describe(error)));
    }
}
