//! A model pack as a [`Segmenter`]: finding the pack, the runtime and the provider, and running them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use formats::Task;
use inference::{Engine, EngineOptions, ProviderChoice};
use models::family::{self, Limits};
use models::{Case, Catalog, Manifest, ModelPack, Pipeline};

use crate::batch::record::{PackId, ProviderUsed};
use crate::batch::{Batch, Estimated, Segmented, Segmenter};
use crate::failure::Usage;

/// A pack with what it takes to run it.
pub struct PackSegmenter {
    pack: Arc<ModelPack>,
    id: PackId,
    threads: usize,
    provider: ProviderChoice,
    may_install: bool,
    pipeline: Option<Pipeline>,
}

impl PackSegmenter {
    /// Finds the pack of a batch. Nothing is loaded yet.
    ///
    /// # Errors
    /// [`Usage`] for an unknown pack or provider; a pack that cannot be used.
    pub fn new(batch: &Batch) -> anyhow::Result<Self> {
        let provider = batch.provider.parse().map_err(|e: inference::Error| Usage(e.to_string()))?;
        let pack = find_pack(&batch.pack)?;
        let manifest = &pack.manifest;
        let id =
            PackId { id: manifest.id.clone(), version: manifest.version.clone(), sha256: pack.hash.clone() };
        let threads = batch.threads.unwrap_or_else(inference::threads::default_threads);
        Ok(Self { pack, id, threads, provider, may_install: batch.install, pipeline: None })
    }

    /// The settings of the pack.
    pub fn manifest(&self) -> &Manifest {
        &self.pack.manifest
    }

    /// Compute threads.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

/// An installed pack by its id, or a pack folder by its path.
///
/// # Errors
/// [`Usage`] for an unknown id; those of the pack.
pub fn find_pack(text: &str) -> anyhow::Result<Arc<ModelPack>> {
    let path = Path::new(text);
    if path.join("pack.toml").is_file() {
        return Ok(Arc::new(ModelPack::from_folder(path)?));
    }
    match Catalog::standard().find(text) {
        Ok(pack) => Ok(Arc::clone(pack)),
        Err(models::Error::Argument(message)) => Err(Usage(message).into()),
        Err(error) => Err(error.into()),
    }
}

impl Segmenter for PackSegmenter {
    fn pack(&self) -> &PackId {
        &self.id
    }

    fn estimate(&self, case: &Case) -> anyhow::Result<Estimated> {
        let family =
            family::find(&self.pack.manifest.family).context("the family of a checked pack exists")?;
        let estimate = family.check(&self.pack, case, Limits::default())?;
        Ok(Estimated {
            tiles: estimate.tiles,
            memory_bytes: estimate.memory_bytes,
            available_bytes: estimate.available_bytes,
            notices: estimate.notices,
        })
    }

    fn start(&mut self, task: &Task) -> anyhow::Result<()> {
        let runtime = crate::runtime::find_or_install(self.may_install, task)?;
        task.at("starting ONNX Runtime", 0.0)?;
        let options = EngineOptions { runtime, provider: self.provider, threads: self.threads };
        let engine = Engine::start(&options)?;
        self.pipeline = Some(Pipeline::open(Arc::clone(&self.pack), engine, Limits::default(), task)?);
        Ok(())
    }

    fn segment(&mut self, case: Case, task: &Task) -> anyhow::Result<Segmented> {
        let pipeline = self.pipeline.as_mut().context("start comes before segment")?;
        let outcome = pipeline.run(case, task)?;
        let report = pipeline.provider();
        Ok(Segmented {
            result: outcome.output,
            found: outcome.found,
            seconds: outcome.timings.0.into_iter().map(|(stage, secs)| (stage.to_owned(), secs)).collect(),
            notices: outcome.notices,
            provider: ProviderUsed {
                asked: self.provider.to_string(),
                used: report.used.to_string(),
                why: report.why.clone(),
            },
            runtime: outcome.provenance.runtime_version,
            tiles: outcome.tiles,
        })
    }
}
