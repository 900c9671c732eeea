//! A pack made ready to run: manifest, family and loaded network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use formats::{Notice, Task};
use inference::engine::Engine;
use inference::net::{Net, Nets};
use inference::provider::ProviderReport;

use crate::error::{Error, Result};
use crate::family::{Case, Estimate, Family, Finished, Limits, Output, Prepared, Scored, Timings, find};
use crate::pack::ModelPack;
use crate::prompter::Found;

/// The parts of a run that do not need the network. Cheap to clone and to send to other threads.
#[derive(Clone)]
pub struct Steps {
    pack: Arc<ModelPack>,
    family: &'static dyn Family,
    limits: Limits,
    provenance: Provenance,
}

/// A pack with its graphs loaded.
pub struct Pipeline {
    steps: Steps,
    nets: Nets,
}

/// Who computed a result.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Provenance {
    /// The pack's identifier.
    pub pack: String,
    /// The pack's version.
    pub pack_version: String,
    /// The pack's hash.
    pub pack_hash: String,
    /// Version of this program.
    pub program_version: String,
    /// The provider really used, and why.
    pub provider: String,
    /// Version of ONNX Runtime.
    pub runtime_version: String,
}

/// The result of one case.
#[derive(Debug)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// The result, on the grid of the first input.
    pub output: Output,
    /// What became of each prompt, by packs that are prompted.
    pub found: Vec<Found>,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// Seconds per stage, in order.
    pub timings: Timings,
    /// Tiles that went through the network.
    pub tiles: usize,
    /// Bytes estimated before the run, beyond the volumes of the case.
    pub estimated_bytes: u64,
    /// Largest resident memory of the process so far, in bytes; 0 when the system does not say.
    pub peak_bytes: u64,
    /// Who computed it.
    pub provenance: Provenance,
}

fn family_of(pack: &ModelPack) -> Result<&'static dyn Family> {
    find(&pack.manifest.family)
        .ok_or_else(|| Error::Argument(format!("unknown family {}", pack.manifest.family)))
}

impl Pipeline {
    /// Checks the pack's files and loads its graphs.
    ///
    /// # Errors
    /// [`Error::Pack`] when files do not match the manifest or the network does not fit it; the engine's errors.
    pub fn open(pack: Arc<ModelPack>, engine: &Engine, limits: Limits, task: &Task) -> Result<Self> {
        task.at("Loading the model", 0.0)?;
        let nets = family_of(&pack)?.load(&pack, engine, task)?;
        Self::with_nets(pack, nets, engine.runtime_version(), limits)
    }

    /// A pipeline over a given network: for tests, and for networks made elsewhere.
    ///
    /// # Errors
    /// [`Error::Pack`] when the network does not fit the manifest.
    pub fn with_net(
        pack: Arc<ModelPack>,
        net: Box<dyn Net>,
        runtime_version: impl Into<String>,
        limits: Limits,
    ) -> Result<Self> {
        Self::with_nets(pack, net.into(), runtime_version, limits)
    }

    /// As [`Pipeline::with_net`], for models of several graphs.
    ///
    /// # Errors
    /// As there.
    pub fn with_nets(
        pack: Arc<ModelPack>,
        nets: Nets,
        runtime_version: impl Into<String>,
        limits: Limits,
    ) -> Result<Self> {
        let family = family_of(&pack)?;
        family.fits(&pack, &nets)?;
        let provenance = Provenance {
            pack: pack.id().to_owned(),
            pack_version: pack.manifest.version.clone(),
            pack_hash: pack.hash.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            provider: nets.first().provider().used.to_string(),
            runtime_version: runtime_version.into(),
        };
        Ok(Self { steps: Steps { pack, family, limits, provenance }, nets })
    }

    /// The parts that do not need the network, for other threads.
    #[must_use]
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// The network, for those who ask more of it than a case.
    pub fn net(&mut self) -> &mut dyn Net {
        self.nets.first_mut()
    }

    /// The provider really used, and why.
    #[must_use]
    pub fn provider(&self) -> &ProviderReport {
        self.nets.first().provider()
    }

    /// See [`Family::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, case: &Case) -> Result<Estimate> {
        self.steps.check(case)
    }

    /// Runs the network on a prepared case.
    ///
    /// # Errors
    /// See [`Family::infer`].
    pub fn infer(&mut self, prepared: Prepared, task: &Task) -> Result<Scored> {
        self.steps.family.infer(&self.steps.pack, prepared, &mut self.nets, task)
    }

    /// Lines of text of pictures `[H, W, 3]` that all show the same, by a pack that finds text; see
    /// [`find_lines`](crate::mayor::find_lines).
    ///
    /// # Errors
    /// As there; [`Error::Pack`] for a pack of another kind.
    pub fn find_text(
        &mut self,
        pictures: &[ndarray::Array3<u8>],
        how: &crate::mayor::Passes,
        task: &Task,
    ) -> Result<Vec<crate::mayor::Line>> {
        let (_, config) = crate::mayor::settings(&self.steps.pack)?;
        let mut detector = crate::mayor::Detector::new(&mut self.nets, &config);
        crate::mayor::find_lines(&mut detector, pictures, how, task)
    }

    /// Prepares, runs and finishes one case.
    ///
    /// # Errors
    /// See [`Family`].
    pub fn run(&mut self, case: Case, task: &Task) -> Result<Outcome> {
        let start = Instant::now();
        let prepared = self.steps.prepare(case, task)?;
        let scored = self.infer(prepared, task)?;
        let mut outcome = self.steps.finish(scored, task)?;
        outcome.timings.add("total", start);
        Ok(outcome)
    }
}

impl Steps {
    /// The pack.
    #[must_use]
    pub fn pack(&self) -> &Arc<ModelPack> {
        &self.pack
    }

    /// Who computes.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// See [`Family::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, case: &Case) -> Result<Estimate> {
        self.family.check(&self.pack, case, self.limits)
    }

    /// See [`Family::prepare`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare(&self, case: Case, task: &Task) -> Result<Prepared> {
        self.family.prepare(&self.pack, case, self.limits, task)
    }

    /// See [`Family::finish`]; adds provenance to the result.
    ///
    /// # Errors
    /// As there.
    pub fn finish(&self, scored: Scored, task: &Task) -> Result<Outcome> {
        let Finished { name, mut output, found, notices, timings, tiles, estimated_bytes } =
            self.family.finish(&self.pack, scored, task)?;
        output.facts_mut().into_iter().for_each(|facts| self.provenance.write_to(facts));
        Ok(Outcome {
            name,
            output,
            found,
            notices,
            timings,
            tiles,
            estimated_bytes,
            peak_bytes: inference::memory::peak_bytes().unwrap_or(0),
            provenance: self.provenance.clone(),
        })
    }
}

impl Provenance {
    /// Adds the facts under stable kebab-case keys.
    pub fn write_to(&self, facts: &mut BTreeMap<String, String>) {
        for (key, value) in [
            ("pack", &self.pack),
            ("pack-version", &self.pack_version),
            ("pack-sha256", &self.pack_hash),
            ("program-version", &self.program_version),
            ("provider", &self.provider),
            ("runtime-version", &self.runtime_version),
        ] {
            facts.insert(key.to_owned(), value.clone());
        }
    }
}
