//! `insula deid`: headers of DICOM files without what identifies.

use std::path::PathBuf;

use formats::Level;
use formats::dicom::deid::{Dates, Options};

use super::{Context, Exit};
use crate::deid::{Deid, Record, Status};
use crate::request::{Outcome, Request, perform};

const AFTER_HELP: &str = "\
By default the Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E is applied. Without
--pixels, pixels are copied as they are: names burned into pictures stay, and the report says where that is likely. OUT gets deid-report.json and
deid-report.csv, which hold no original value. The written files are read again; one in which something is found that
should not be there is reported as needing review (exit code 8).

Files that are no DICOM, and directories of files (DICOMDIR), are listed and not copied.";

/// Flags of `insula deid`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A DICOM file, or a folder that is searched with all folders in it.
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// A folder; for one file also a file name ending in .dcm. Never inside IN.
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Dates and times: remove them, shift those of a patient by one secret number of days, or keep them.
    #[arg(long, value_name = "WHAT", default_value = "remove")]
    dates: DatesArg,

    /// Keep UIDs [default: replaced, everywhere by the same].
    #[arg(long)]
    retain_uids: bool,

    /// Keep sex, age, size, weight and the like.
    #[arg(long)]
    retain_patient: bool,

    /// Keep serial numbers, station names and the like.
    #[arg(long)]
    retain_device: bool,

    /// Keep names and addresses of institutions.
    #[arg(long)]
    retain_institution: bool,

    /// Keep private attributes known to be safe: b-values, gradient directions, scale factors.
    #[arg(long)]
    retain_safe_private: bool,

    /// Keep known words of descriptions (anatomy, technique) [default: descriptions are removed].
    #[arg(long)]
    clean_descriptors: bool,

    /// Keep structured reports, with known words only in their texts [default: content is removed].
    #[arg(long)]
    clean_structured: bool,

    /// Keep overlays of regions, and annotations without their texts [default: removed].
    #[arg(long)]
    clean_graphics: bool,

    /// The identifier for the (only) patient [default: a pseudonym made with the key for each].
    #[arg(long, value_name = "ID")]
    patient_id: Option<String>,

    /// The key that replacements are made with; made if it does not exist. The same key gives the same replacements.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Write the way back (UIDs, pseudonyms, shifts, file names), readable by you only, and the key beside it.
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,

    /// Blank burned-in text as well, and prove that it is gone; a file of which that cannot be proven is not written.
    #[arg(long)]
    pixels: bool,

    /// With --pixels: the pack that finds text.
    #[arg(long, value_name = "ID|DIR", default_value = crate::redact::search::DEFAULT_PACK, requires = "pixels")]
    pixels_pack: String,

    /// Print what would be done to each element, and write nothing.
    #[arg(long)]
    dry_run: bool,

    /// Add to an existing output, replacing files of the same name.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DatesArg {
    Remove,
    Shift,
    Keep,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = Deid {
        pixels: args.pixels.then(|| crate::redact::search::Settings {
            pack: args.pixels_pack.clone(),
            ..Default::default()
        }),
        inputs: vec![args.input.clone()],
        output: args.output.clone(),
        options: Options {
            retain_uids: args.retain_uids,
            dates: match args.dates {
                DatesArg::Remove => Dates::Remove,
                DatesArg::Shift => Dates::Shift,
                DatesArg::Keep => Dates::Keep,
            },
            retain_patient: args.retain_patient,
            retain_device: args.retain_device,
            retain_institution: args.retain_institution,
            retain_safe_private: args.retain_safe_private,
            clean_descriptors: args.clean_descriptors,
            clean_structured: args.clean_structured,
            clean_graphics: args.clean_graphics,
            patient_id: args.patient_id.clone(),
        },
        key_file: args.key_file.clone(),
        map: args.map.clone(),
        overwrite: args.overwrite,
        dry_run: args.dry_run,
    };
    let task = context.console.task(&args.input.display().to_string(), context.interrupt.cancel());
    let Outcome::Deidentified(tally) = perform(&Request::Deid(request), context, &task)? else {
        unreachable!("a deid request has a deid outcome")
    };
    context.console.clear();
    context.console.say(&format!("{} (results in {})", tally.words(args.dry_run), args.output.display()));
    let files = tally.done + tally.needs_review + tally.failed;
    Ok(match (files, tally.failed, tally.needs_review) {
        (0, ..) => {
            context.console.complain(&format!("{}: no DICOM files found", args.input.display()));
            Exit::AllFailed
        }
        (_, 0, 0) => Exit::Done,
        // Files to be reviewed were written: never "all failed".
        (_, failed, review) if failed < files || review > 0 => Exit::SomeFailed,
        _ => Exit::AllFailed,
    })
}

/// One file on stderr.
pub fn tell(record: &Record, number: usize, of: usize, context: &Context) {
    let head = format!("[{number}/{of}] {}", record.input.display());
    for notice in record.notices.iter().filter(|n| n.level == Level::Warning) {
        context.console.say(&format!("{head}: warning: {}", notice.message));
    }
    let why = record.error.as_ref().map(|e| e.message.as_str()).unwrap_or_default();
    match record.status {
        Status::Failed => context.console.complain(&format!("{head}: failed: {why}")),
        Status::Skipped => context.console.say(&format!("{head}: skipped: {why}")),
        Status::NeedsReview => {
            for finding in &record.findings {
                context.console.complain(&format!(
                    "{head}: needs review: {} {} {}",
                    finding.path, finding.keyword, finding.what
                ));
            }
        }
        Status::Done | Status::Planned => {}
    }
}
