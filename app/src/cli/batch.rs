//! `insula --batch`: segment many images without a window.

use std::path::PathBuf;

use formats::Task;
use models::prompter::Asking;
use models::{Prompting, Restoring, Slices};
use serde::Serialize;

use super::{Context, Exit, output};
use crate::batch::channels::ChannelRule;
use crate::batch::queue::{Listener, Tally};
use crate::batch::record::{ClassMean, Record, Status};
use crate::batch::{Batch, DEFAULT_OUT, OutputFormat, Planned, Shard};
use crate::console::Console;
use crate::request::{Outcome, Request, perform};

/// Flags of `insula --batch`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batch")]
pub struct Args {
    /// Segment or restore images without a window: files, folders (searched for volumes), globs, @LIST.
    ///
    /// Each case gives <case>_seg (labels), _labels.txt (ITK-SNAP), _lut.txt (FreeSurfer), _dseg.tsv (BIDS),
    /// _volumes.csv and .json, _quicklook.png and _record.json in the output folder, and its record as one line of
    /// JSON on stdout. Packs that restore give <case>_restored instead of labels, tables and volumes, and take pictures too;
    /// packs that are told in words what to mark (see --prompt) give labels named by the prompts, and take pictures too. Finished cases are skipped; the run may be killed and started again at any time.
    #[arg(long, value_name = "INPUT", num_args = 0..)]
    pub batch: Option<Vec<String>>,

    /// Also take the inputs listed in this file, one per line (- for standard input).
    #[arg(long, value_name = "FILE", requires = "batch")]
    list: Vec<PathBuf>,

    /// The model: an installed pack or a pack folder.
    #[arg(long, value_name = "ID", default_value = "segformer3d-brain", requires = "batch")]
    pack: String,

    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_OUT, requires = "batch")]
    out: PathBuf,

    /// Compute threads [default: what the system, its control group or SLURM grants].
    #[arg(long, value_name = "N", requires = "batch", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Where the network runs: auto, cpu, cuda, directml, coreml. A named one is used or the run fails.
    #[arg(long, value_name = "P", default_value = "auto", requires = "batch")]
    provider: String,

    /// Which DICOM series of a study is the channel NAME of a pack with several: the one with TEXT in its description
    /// (the longest text wins), of this number, or of this name (see `insula info`). Once or more for each channel.
    #[arg(long, value_name = "NAME=TEXT", requires = "batch")]
    channel: Vec<ChannelRule>,

    /// Only part I of N of the cases (sorted by name), I from 1.
    #[arg(long, value_name = "I/N", requires = "batch")]
    shard: Option<Shard>,

    /// Say what would be done (cases, windows, memory) and write nothing.
    #[arg(long, requires = "batch")]
    dry_run: bool,

    /// Stop at the first case that fails.
    #[arg(long, requires = "batch")]
    fail_fast: bool,

    /// Go on after a case that fails (the default).
    #[arg(long, requires = "batch", conflicts_with = "fail_fast")]
    keep_going: bool,

    /// Do finished cases again.
    #[arg(long, requires = "batch")]
    overwrite: bool,

    /// File ending of the results [default: nii.gz; for restored pictures png, or tiff where PNG cannot hold them].
    #[arg(long, value_name = "F", requires = "batch")]
    format: Option<OutputFormat>,

    /// Restoring: part of the correction that is applied, from 0 (the image as it is) to 1.
    #[arg(long, value_name = "S", default_value_t = 1.0, requires = "batch", value_parser = strength)]
    strength: f64,

    /// Restoring and prompts: slices of volumes across the axis i, j or k as stored, across all three and averaged, or auto:
    /// across the axis with the largest spacing (prompts: with thin slices axial ones).
    #[arg(long, value_name = "A", default_value = "auto", requires = "batch")]
    axis: Slices,

    /// What to mark, in words, for packs that are told so: phrases between commas, once or more. The n-th becomes label n,
    /// and the record says with which probability each is there; below the pack's threshold it is not found.
    #[arg(long, value_name = "TEXT", requires = "batch")]
    prompt: Vec<String>,

    /// Also the prompts listed in this file, one per line.
    #[arg(long, value_name = "FILE", requires = "batch")]
    prompts: Vec<PathBuf>,

    /// What prompts are: phrases, each for one thing or group that may be there or not; for packs of photographs also
    /// semantic (classes, of which every pixel has one), panoptic (classes, where sure) or instances (kinds of things).
    #[arg(long, value_name = "WHAT", default_value = "phrases", requires = "batch")]
    ask: Asking,

    /// Prompts: smooth masks of volumes in three dimensions.
    #[arg(long, requires = "batch")]
    smooth: bool,

    /// Prompts: keep only the largest connected part of each label.
    #[arg(long, requires = "batch")]
    keep_largest: bool,

    /// Make no quick-look picture.
    #[arg(long, requires = "batch")]
    no_quicklook: bool,

    /// Do not install ONNX Runtime when none is found: fail instead.
    #[arg(long, requires = "batch")]
    no_install: bool,

    /// Records on stdout are JSON in any case; accepted so that scripts can say it.
    #[arg(long, requires = "batch")]
    json: bool,
}

fn strength(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if (0.0..=1.0).contains(&s) => Ok(s),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

impl Args {
    /// The batch these flags ask for, with `files` named behind other flags as further inputs.
    fn batch(&self, files: &[PathBuf]) -> Batch {
        let mut inputs = self.batch.clone().unwrap_or_default();
        inputs.extend(files.iter().map(|f| f.to_string_lossy().into_owned()));
        Batch {
            inputs,
            lists: self.list.clone(),
            pack: self.pack.clone(),
            out: self.out.clone(),
            threads: self.threads.map(usize::from),
            provider: self.provider.clone(),
            channels: self.channel.clone(),
            shard: self.shard,
            dry_run: self.dry_run,
            fail_fast: self.fail_fast,
            overwrite: self.overwrite,
            format: self.format,
            restoring: Restoring { strength: self.strength, slices: self.axis },
            prompting: Prompting {
                prompts: self.prompt.iter().flat_map(|text| Prompting::phrases(text)).collect(),
                asking: self.ask,
                slices: self.axis,
                smooths: self.smooth,
                keeps_largest: self.keep_largest,
            },
            prompt_lists: self.prompts.clone(),
            quicklook: !self.no_quicklook,
            install: !self.no_install,
        }
    }
}

/// Runs the batch and tells how it went.
pub fn run(args: &Args, files: &[PathBuf], context: &Context) -> anyhow::Result<Exit> {
    let request = args.batch(files);
    let (out, is_dry) = (request.out.clone(), request.dry_run);
    let task = context.console.task("batch", context.interrupt.cancel());
    let Outcome::Batch(tally) = perform(&Request::Batch(request), context, &task)? else {
        unreachable!("a batch request has a batch outcome")
    };
    context.console.clear();
    if is_dry {
        return Ok(Exit::of_counts(tally.done + tally.skipped + tally.failed, tally.failed));
    }
    context.console.say(&format!("{} (results in {})", summary(tally), out.display()));
    if context.interrupt.cancel().is_cancelled() && tally.left > 0 {
        return Ok(Exit::Interrupted(context.interrupt.exit_code()));
    }
    // Cases that fail-fast left out are not done either.
    let items = tally.done + tally.skipped + tally.failed + tally.left;
    Ok(Exit::of_counts(items, tally.failed + tally.left))
}

fn summary(tally: Tally) -> String {
    let parts = [
        (tally.done, "done"),
        (tally.skipped, "finished before"),
        (tally.failed, "failed"),
        (tally.left, "not reached"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    told.join(", ")
}

/// What a pack that classifies or detects answered, in brief.
fn answer(record: &Record) -> String {
    let class = |c: &ClassMean| format!("{} {:.1} %", c.class, c.probability * 100.0);
    match (record.boxes, record.classes.is_empty()) {
        (Some(n), _) => format!(": {n} box{}", if n == 1 { "" } else { "es" }),
        (None, false) => {
            let first: Vec<String> = record.classes.iter().take(3).map(class).collect();
            format!(": {}", first.join(", "))
        }
        (None, true) => String::new(),
    }
}

/// Cases are told of on stdout (records) and stderr (people).
impl Listener for Context {
    fn task(&self, case: &str, number: usize, of: usize) -> Task {
        self.console.task(&format!("[{number}/{of}] {case}"), self.interrupt.cancel())
    }

    fn finished(&self, record: &Record, number: usize, of: usize) {
        let head = format!("[{number}/{of}] {}", record.case);
        for notice in record.notices.iter().filter(|n| n.level == formats::Level::Warning) {
            self.console.say(&format!("{head}: warning: {}", notice.message));
        }
        match (record.status, &record.error) {
            (Status::Failed, Some(error)) => {
                self.console.complain(&format!("{head}: failed: {}", error.message));
            }
            (Status::Skipped, _) => self.console.say(&format!("{head}: finished before")),
            _ => {
                let seconds = record.seconds.get("compute").copied().unwrap_or_default();
                let on = record.provider.as_ref().map_or_else(String::new, |p| format!(" on {}", p.used));
                self.console.say(&format!("{head}: done, {seconds:.1} s{on}{}", answer(record)));
            }
        }
        tell(record, &self.console);
    }

    fn planned(&self, plan: &Planned, number: usize, of: usize) {
        let head = format!("[{number}/{of}] {}", plan.case);
        self.console.say(&format!("{head}: {}", plan.words()));
        tell(plan, &self.console);
    }

    fn deidentified(&self, record: &crate::deid::Record, number: usize, of: usize) {
        super::deid::tell(record, number, of, self);
        tell(record, &self.console);
    }

    fn redacted(&self, record: &crate::redact::Record, number: usize, of: usize) {
        super::redact::tell(record, number, of, self);
        tell(record, &self.console);
    }

    fn say(&self, text: &str) {
        self.console.say(text);
    }
}

/// A record on stdout. Nobody listening there is no reason to stop: the records are in the output folder too.
fn tell(record: &impl Serialize, console: &Console) {
    if let Err(error) = output::record(record)
        && !output::is_closed_pipe(&error)
    {
        console.complain(&format!("warning: stdout: {error}"));
    }
}
