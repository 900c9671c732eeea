//! A model pack as a [`Segmenter`].

use formats::{Task, Volume};

use crate::batch::cases::ChannelRule;
use crate::batch::record::PackId;
use crate::batch::{Batch, Estimated, Segmented, Segmenter};

/// A pack with what it takes to run it.
#[derive(Debug)]
pub struct PackSegmenter {
    pack: PackId,
    channels: Vec<ChannelRule>,
    threads: usize,
}

impl PackSegmenter {
    /// Finds the pack of a batch.
    ///
    /// # Errors
    /// When there is no such pack.
    pub fn new(batch: &Batch) -> anyhow::Result<Self> {
        anyhow::bail!("the pack {} cannot be run yet", batch.pack)
    }

    /// Names of the input channels.
    pub fn channels(&self) -> &[ChannelRule] {
        &self.channels
    }

    /// Compute threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl Segmenter for PackSegmenter {
    fn pack(&self) -> &PackId {
        &self.pack
    }

    fn estimate(&self, _case: &str, _channels: Vec<Volume>) -> anyhow::Result<Estimated> {
        anyhow::bail!("not yet")
    }

    fn start(&mut self, _task: &Task) -> anyhow::Result<()> {
        anyhow::bail!("not yet")
    }

    fn segment(&mut self, _case: &str, _channels: Vec<Volume>, _task: &Task) -> anyhow::Result<Segmented> {
        anyhow::bail!("not yet")
    }
}
