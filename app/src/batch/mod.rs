//! Many cases, one after the other, so that any of them may fail and the whole may be killed at any instant.
//!
//! [`inputs`] finds files, [`cases`] puts them together, [`queue`] reads, computes and writes side by side,
//! [`staging`] makes results appear whole, [`record`] says what was done and recognises it later.
//!
//! A case counts as finished when its record is in the output folder and says that the same input content, pack
//! and options gave exactly the files that are there. Everything else is done (again). Records are written
//! last, so killing the program loses at most the case in flight.

pub mod answers;
pub mod cases;
pub mod channels;
pub mod inputs;
pub mod outputs;
pub mod prompts;
pub mod queue;
pub mod record;
pub mod staging;

use std::path::PathBuf;

use formats::{Notice, Task};
use models::prompter::Found;
use models::{Case, Output, Prompting, Restoring};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Usage, is_cancelled};
use cases::CaseFiles;
use inputs::Files;
use queue::{Listener, Setup, Tally};
use record::{Options, PackId, ProviderUsed};

/// Where results go when nothing is said: a folder of this name in the working directory.
pub const DEFAULT_OUT: &str = "insula-results";

/// A batch as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Files, folders, globs, `@list`.
    pub inputs: Vec<String>,
    /// Files that list further inputs; `-` for standard input.
    pub lists: Vec<PathBuf>,
    /// Identifier of the model pack, or a pack folder.
    pub pack: String,
    /// Output folder.
    pub out: PathBuf,
    /// Compute threads; all that the system grants when none.
    pub threads: Option<usize>,
    /// `auto`, `cpu`, `cuda`, …
    pub provider: String,
    /// Which DICOM series of a study is which channel; for packs with several.
    #[serde(default)]
    pub channels: Vec<channels::ChannelRule>,
    /// Only the `n`-th of `of` parts of the sorted cases.
    pub shard: Option<Shard>,
    /// Say what would be done, write nothing.
    pub dry_run: bool,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// Do finished cases again.
    pub overwrite: bool,
    /// File ending of results; what suits each when none.
    pub format: Option<OutputFormat>,
    /// How images are restored, by packs that restore.
    #[serde(default)]
    pub restoring: Restoring,
    /// What is asked for in words, of packs that are told so.
    #[serde(default)]
    pub prompting: Prompting,
    /// Files of further prompts, one per line.
    #[serde(default)]
    pub prompt_lists: Vec<PathBuf>,
    /// Whether a picture is made for each case.
    pub quicklook: bool,
    /// Whether a missing ONNX Runtime may be installed.
    pub install: bool,
}

/// One of several parts of a batch, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// 1..=of
    pub number: usize,
    /// How many parts there are.
    pub of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("expected i/n with 1 ≤ i ≤ n, e.g. 2/8".to_owned()),
        }
    }
}

impl Shard {
    /// The cases of this part: every `of`-th of the sorted list.
    pub fn select(self, cases: Vec<CaseFiles>) -> Vec<CaseFiles> {
        cases.into_iter().skip(self.number - 1).step_by(self.of).collect()
    }
}

/// File endings of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum OutputFormat {
    /// NIfTI, gzip.
    #[value(name = "nii.gz")]
    #[serde(rename = "nii.gz")]
    NiiGz,
    /// NRRD, gzip.
    #[value(name = "nrrd")]
    #[serde(rename = "nrrd")]
    Nrrd,
    /// MetaImage, compressed.
    #[value(name = "mha")]
    #[serde(rename = "mha")]
    Mha,
    /// PNG, for restored pictures of 8 and 16 bits.
    #[value(name = "png")]
    #[serde(rename = "png")]
    Png,
    /// TIFF, for restored pictures of any type.
    #[value(name = "tiff")]
    #[serde(rename = "tiff")]
    Tiff,
    /// A series of derived DICOM images, in a folder; for restored DICOM series.
    #[value(name = "dicom")]
    #[serde(rename = "dicom")]
    Dicom,
    /// DICOM SEG that refers to the images; for DICOM inputs.
    #[value(name = "dicom-seg")]
    #[serde(rename = "dicom-seg")]
    DicomSeg,
}

impl OutputFormat {
    /// The ending without a dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::NiiGz => "nii.gz",
            Self::Nrrd => "nrrd",
            Self::Mha => "mha",
            Self::Png => "png",
            Self::Tiff => "tiff",
            Self::Dicom => "dicom",
            Self::DicomSeg => "dcm",
        }
    }

    /// Why results of a pack cannot be written so.
    fn fault(self, output: &models::manifest::Output) -> Option<&'static str> {
        match (self, output.is_picture()) {
            (Self::DicomSeg, true) => Some(
                "restored images are no segmentations; write them as nii.gz, nrrd, mha, png, tiff or dicom",
            ),
            (Self::Png | Self::Tiff | Self::Dicom, false) => {
                Some("segmentations are written as nii.gz, nrrd, mha or dicom-seg")
            }
            _ => None,
        }
    }
}

/// Runs a batch, or says what it would do.
///
/// # Errors
/// [`Usage`] when there is nothing to do; what makes the whole batch impossible (no such pack, no runtime, no output
/// folder). Failed cases are counted, not returned.
pub fn run(batch: &Batch, listener: &dyn Listener, task: &Task) -> anyhow::Result<Tally> {
    let mut segmenter = crate::segment::PackSegmenter::new(batch)?;
    let restores = segmenter.manifest().output.is_picture();
    if let Some(why) = batch.format.and_then(|f| f.fault(&segmenter.manifest().output)) {
        return Err(Usage(format!("--format: {why}")).into());
    }
    let prompting = prompts::settled(batch, segmenter.manifest())?;
    let other = Restoring { slices: batch.restoring.slices, ..Restoring::default() };
    let allowed = if prompting.is_some() { other } else { Restoring::default() };
    if !restores && batch.restoring != allowed {
        let id = &segmenter.manifest().id;
        return Err(Usage(format!(
            "--strength and --axis are for packs that restore, which “{id}” does not"
        ))
        .into());
    }
    let answer = answers::Answer::of(&segmenter.manifest().output);
    if batch.format.is_some() && answer.is_some() {
        let why = "this pack answers with a table, which has no format to choose";
        return Err(Usage(format!("--format: {why}")).into());
    }
    let takes_pictures = segmenter.manifest().takes_pictures();
    let files = Files::find(&batch.inputs, &batch.lists, &batch.out, takes_pictures)?;
    let mut all =
        cases::group(&files.paths, segmenter.manifest(), files.is_explicit && files.dicom.is_empty());
    if let Some(rule) = batch.channels.first().filter(|_| files.dicom.is_empty()) {
        let why = "is for DICOM series, and there are none; other files say with their names which channel they are";
        return Err(Usage(format!("--channel {rule} {why}")).into());
    }
    let mut scanned = Vec::new();
    if !files.dicom.is_empty() {
        let tree = formats::dicom::scan(&files.dicom, task)?;
        all.extend(cases::of_series(&tree, segmenter.manifest(), &batch.channels)?);
        all = cases::finish(all);
        scanned = tree.notices;
    }
    if all.is_empty() {
        let why = if files.remarks.is_empty() { "no inputs".to_owned() } else { files.remarks.join("; ") };
        return Err(Usage(format!("nothing to do: {why}")).into());
    }
    files.remarks.iter().for_each(|remark| listener.say(remark));
    scanned.iter().for_each(|notice| listener.say(&notice.message));
    let cases = match batch.shard {
        Some(shard) => shard.select(all),
        None => all,
    };
    // Too late when something computed before; then the numerics keep what they have.
    inference::threads::use_threads(segmenter.threads());
    let manifest = segmenter.manifest().clone();
    let options = Options {
        format: match batch.format {
            Some(format) => format.ending(),
            None if restores => record::SUITABLE,
            None => OutputFormat::NiiGz.ending(),
        }
        .to_owned(),
        quicklook: batch.quicklook,
        restoring: restores.then_some(batch.restoring),
        answer,
        prompting,
    };
    let setup = Setup {
        out: &batch.out,
        options: &options,
        manifest: &manifest,
        threads: segmenter.threads(),
        overwrite: batch.overwrite,
        fail_fast: batch.fail_fast,
    };
    if batch.dry_run {
        return plan(&cases, &setup, &segmenter, listener, task);
    }
    std::fs::create_dir_all(&batch.out).map_err(formats::Error::io(&batch.out, "create"))?;
    staging::clean(&batch.out);
    queue::run(&cases, &setup, &mut segmenter, listener, task.cancel())
}

/// What a dry run says about a case. The field names are its JSON keys and stay stable.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// Name of the case.
    pub case: String,
    /// `"planned"`, `"skipped"` (finished before) or `"failed"` (would fail, see `error`).
    pub status: &'static str,
    /// Why it would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Its files.
    pub inputs: Vec<PathBuf>,
    /// What it takes.
    #[serde(flatten)]
    pub estimate: Option<Estimated>,
    /// Files that would be written into the output folder.
    pub outputs: Vec<String>,
}

/// What a case takes.
#[derive(Clone, Debug, Serialize)]
pub struct Estimated {
    /// Windows the network runs on, at most.
    pub tiles: usize,
    /// Bytes needed at the peak, beyond the images themselves.
    pub memory_bytes: u64,
    /// Bytes that may be used.
    pub available_bytes: u64,
    /// What the user should know before starting.
    pub notices: Vec<Notice>,
}

impl Planned {
    /// For people.
    pub fn words(&self) -> String {
        match (&self.error, &self.estimate) {
            (Some(error), _) => format!("would fail: {}", error.message),
            (None, Some(e)) => format!(
                "{} file{}, up to {} windows, about {} of {} free memory",
                self.inputs.len(),
                if self.inputs.len() == 1 { "" } else { "s" },
                e.tiles,
                crate::info::bytes_text(e.memory_bytes),
                crate::info::bytes_text(e.available_bytes)
            ),
            (None, None) => "finished before".to_owned(),
        }
    }
}

fn plan(
    cases: &[CaseFiles],
    setup: &Setup<'_>,
    segmenter: &dyn Segmenter,
    listener: &dyn Listener,
    task: &Task,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for (n, case) in cases.iter().enumerate() {
        task.check()?;
        let estimate = queue::fenced(|| queue::estimate(case, setup, segmenter, task));
        let mut planned = Planned {
            case: case.name.clone(),
            status: "planned",
            error: None,
            inputs: case.files.clone(),
            estimate: None,
            outputs: Vec::new(),
        };
        match estimate {
            Ok(Some((estimate, outputs))) => (planned.estimate, planned.outputs) = (Some(estimate), outputs),
            Ok(None) => planned.status = "skipped",
            Err(error) if is_cancelled(&error) => return Err(error),
            Err(error) => {
                planned.status = "failed";
                planned.error = Some(Failure::of(&error));
            }
        }
        match planned.status {
            "skipped" => tally.skipped += 1,
            "failed" => tally.failed += 1,
            _ => tally.done += 1,
        }
        listener.planned(&planned, n + 1, cases.len());
    }
    Ok(tally)
}

/// What computes label maps, restored images or other answers: a model pipeline, or a stand-in in tests.
pub trait Segmenter {
    /// The model.
    fn pack(&self) -> &PackId;

    /// What a case takes, without computing it.
    ///
    /// # Errors
    /// What would make it impossible.
    fn estimate(&self, case: &Case) -> anyhow::Result<Estimated>;

    /// Gets ready to compute (runtime, weights); called before the first case that needs computing.
    ///
    /// # Errors
    /// What makes the whole batch impossible.
    fn start(&mut self, task: &Task) -> anyhow::Result<()>;

    /// Segments or restores one case.
    ///
    /// # Errors
    /// What makes this case impossible.
    fn segment(&mut self, case: Case, task: &Task) -> anyhow::Result<Segmented>;
}

/// What a [`Segmenter`] returns.
#[derive(Debug)]
pub struct Segmented {
    /// On the grid of the first channel.
    pub result: Output,
    /// What became of each prompt, by packs that are told in words what to mark.
    pub found: Vec<Found>,
    /// Seconds per stage.
    pub seconds: Vec<(String, f64)>,
    /// Odd but survivable things.
    pub notices: Vec<Notice>,
    /// What the network ran on.
    pub provider: ProviderUsed,
    /// Version of ONNX Runtime.
    pub runtime: String,
    /// Windows the network ran on.
    pub tiles: usize,
}
