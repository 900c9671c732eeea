//! `insula redact`: burned-in text found, blanked and looked for again.

use std::path::PathBuf;

use formats::dicom::redact::Fill;

use super::{Context, Exit};
use crate::redact::search::{DEFAULT_PACK, Settings};
use crate::redact::{Mode, Record, Redact, Status};
use crate::request::{Outcome, Request, perform};

const AFTER_HELP: &str = "\
Every frame, overlay and picture is searched as it is, with dark for bright, in the stored window and over its full range.
What is found is blanked with a margin; the written file is decoded and searched again, and only when nothing is left it gets
its name. OUT gets redaction-report.json: places and scores, never what a text says. No tool finds all text: a person has to look.

To decide place by place: run with --screen, set \"approved\" to true or false for each region of the report (or use the
window), and run again with --approved REPORT. Exit code 8 when something needs a person.";

/// Flags of `insula redact`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A DICOM file or picture (PNG, JPEG, TIFF), or a folder that is searched with all folders in it.
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// A folder; for one file also a file name. Never inside IN.
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Only sort the files into safe, to be reviewed and unsafe; OUT gets the report alone.
    #[arg(long, conflicts_with = "approved")]
    screen: bool,

    /// Blank what is approved in this report of an earlier run, and nothing else.
    #[arg(long, value_name = "REPORT")]
    approved: Option<PathBuf>,

    /// The pack that finds text.
    #[arg(long, value_name = "ID|DIR", default_value = DEFAULT_PACK)]
    pack: String,

    /// Probability from which something counts as text [default: as the pack says, 0.25].
    #[arg(long, value_name = "P")]
    score: Option<f64>,

    /// Pixels around text that are blanked as well, at least [default: as the pack says, 2].
    #[arg(long, value_name = "PIXELS")]
    margin: Option<f64>,

    /// Colour of blanked pixels.
    #[arg(long, value_name = "COLOUR", default_value = "black")]
    fill: FillArg,

    /// Search every distinct frame of long films [default: from nine on, the first, and the brightest and darkest of all].
    #[arg(long)]
    every_frame: bool,

    /// Blank text in the frames it was found in only [default: in all].
    #[arg(long)]
    per_frame: bool,

    /// Places that are always blanked, by manufacturer, model and size [default: the user's own, if there are any].
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// Write pictures without EXIF, XMP and other texts.
    #[arg(long)]
    strip_metadata: bool,

    /// Compute threads [default: all].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// auto, cpu, cuda, directml or coreml.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    provider: String,

    /// Add to an existing output, replacing files of the same name.
    #[arg(long)]
    overwrite: bool,

    /// Fail rather than install a missing ONNX Runtime.
    #[arg(long)]
    no_install: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FillArg {
    Black,
    Background,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mode = match &args.approved {
        Some(report) => Mode::Approved(report.clone()),
        None if args.screen => Mode::Screen,
        None => Mode::All,
    };
    let request = Redact {
        inputs: vec![args.input.clone()],
        output: args.output.clone(),
        mode,
        search: Settings {
            pack: args.pack.clone(),
            score: args.score,
            margin: args.margin,
            every_frame: args.every_frame,
            per_frame: args.per_frame,
            threads: args.threads,
            provider: args.provider.clone(),
        },
        fill: match args.fill {
            FillArg::Black => Fill::Black,
            FillArg::Background => Fill::Background,
        },
        rules: args.rules.clone(),
        keeps_uids: false,
        strip_metadata: args.strip_metadata,
        overwrite: args.overwrite,
        install: !args.no_install,
    };
    let task = context.console.task(&args.input.display().to_string(), context.interrupt.cancel());
    let Outcome::Redacted(tally) = perform(&Request::Redact(request), context, &task)? else {
        unreachable!("a redaction has its outcome")
    };
    context.console.clear();
    let done = if args.screen { "safe" } else { "done" };
    context.console.say(&format!(
        "{} {done}, {} to be reviewed, {} failed, {} skipped (results in {})",
        tally.done,
        tally.needs_review,
        tally.failed,
        tally.skipped,
        args.output.display()
    ));
    let files = tally.done + tally.needs_review + tally.failed;
    Ok(match (files, tally.failed, tally.needs_review) {
        (0, ..) => {
            context.console.complain(&format!("{}: no DICOM files or pictures found", args.input.display()));
            Exit::AllFailed
        }
        (_, 0, 0) => Exit::Done,
        (_, failed, review) if failed < files || review > 0 => Exit::SomeFailed,
        _ => Exit::AllFailed,
    })
}

/// One file on stderr.
pub fn tell(record: &Record, number: usize, of: usize, context: &Context) {
    let head = format!("[{number}/{of}] {}", record.input.display());
    let why = record.error.as_ref().map(|e| e.message.as_str()).unwrap_or_default();
    let regions = match record.regions.len() {
        1 => "1 region".to_owned(),
        n => format!("{n} regions"),
    };
    match record.status {
        Status::Done => context.console.say(&format!("{head}: done, {regions}, {:.1} s", record.seconds)),
        Status::NeedsReview if why.is_empty() => {
            context.console.complain(&format!("{head}: needs review: {regions}"));
        }
        Status::NeedsReview => context.console.complain(&format!("{head}: needs review: {why}")),
        Status::Failed => context.console.complain(&format!("{head}: failed: {why}")),
        Status::Skipped => context.console.say(&format!("{head}: skipped: {why}")),
    }
}
