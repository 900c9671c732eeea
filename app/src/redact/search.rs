//! The network behind redaction.

use anyhow::Context;
use formats::Task;
use inference::{Engine, EngineOptions};
use models::family::Limits;
use models::mayor::{self, Line, Passes, TextSettings};
use models::{Pipeline, Provenance};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::failure::Usage;

/// How files are searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Identifier of the pack that finds text.
    pub pack: String,
    /// Probability from which something counts as text; the pack's own for redaction when none.
    pub score: Option<f64>,
    /// Pixels around the text that are blanked as well, at least; the pack's own when none.
    pub margin: Option<f64>,
    /// Every distinct frame of long films is searched, not what all frames together show.
    pub every_frame: bool,
    /// Text is blanked only in the frames it was found in, not in all.
    pub per_frame: bool,
    /// Compute threads; all that the system grants when none.
    pub threads: Option<usize>,
    /// `auto`, `cpu`, `cuda`, …
    pub provider: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pack: DEFAULT_PACK.to_owned(),
            score: None,
            margin: None,
            every_frame: false,
            per_frame: false,
            threads: None,
            provider: "auto".to_owned(),
        }
    }
}

/// The bundled pack.
pub const DEFAULT_PACK: &str = "mayor-text";

/// A loaded pack.
pub struct Finder {
    pipeline: Pipeline,
    passes: Passes,
    pack: TextSettings,
    settings: Settings,
}

impl Finder {
    /// Loads the pack.
    ///
    /// # Errors
    /// [`Usage`] for an unknown pack or provider and for settings out of range; those of the runtime and the pack.
    pub fn open(settings: &Settings, may_install: bool, task: &Task) -> anyhow::Result<Self> {
        let pack = crate::segment::find_pack(&settings.pack)?;
        let (mut text, _) = mayor::settings(&pack).map_err(|e| Usage(e.to_string()))?;
        if let Some(score) = settings.score {
            if !(0.01..1.0).contains(&score) {
                return Err(Usage(format!("--score {score}: a probability from 0.01 to below 1")).into());
            }
            text.redact_score = score as f32;
        }
        if let Some(margin) = settings.margin {
            if !(0.0..=200.0).contains(&margin) {
                return Err(Usage(format!("--margin {margin}: 0 to 200 pixels")).into());
            }
            text.margin_px = margin;
        }
        let provider = settings.provider.parse().map_err(|e: inference::Error| Usage(e.to_string()))?;
        let runtime = crate::runtime::find_or_install(may_install, task)?;
        let threads = settings.threads.unwrap_or_else(inference::threads::default_threads);
        let engine = Engine::start(&EngineOptions { runtime, provider, threads })?;
        let pipeline = Pipeline::open(pack, engine, Limits::default(), task).context("the text finder")?;
        Ok(Self::with(pipeline, text, settings.clone()))
    }

    /// A finder around a loaded pack.
    #[must_use]
    pub fn with(pipeline: Pipeline, pack: TextSettings, settings: Settings) -> Self {
        Self { pipeline, passes: Passes::redaction(&pack), pack, settings }
    }

    /// Lines in pictures that all show the same.
    ///
    /// # Errors
    /// Those of the network.
    pub fn lines(&mut self, pictures: &[Array3<u8>], task: &Task) -> anyhow::Result<Vec<Line>> {
        Ok(self.pipeline.find_text(pictures, &self.passes, task)?)
    }

    /// Settings of the pack, with those of the user.
    #[must_use]
    pub fn pack(&self) -> &TextSettings {
        &self.pack
    }

    /// How files are searched.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The score from which text is taken for sure.
    #[must_use]
    pub fn sure_score(&self) -> f64 {
        f64::from(self.pack.score)
    }

    /// Who computes.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        self.pipeline.steps().provenance()
    }
}
