//! `insula convert`: another format or type.

use std::path::PathBuf;

use super::{Context, Exit};
use crate::convert::{Convert, Dtype, Object};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to read; for DICOM also a folder, ZIP archive or DICOMDIR.
    #[arg(value_name = "IN")]
    input: PathBuf,

    /// The file to write; its ending chooses the format (.nii.gz, .nii, .nrrd, .mha, .png, …). With .dcm a label map
    /// becomes a DICOM object; with --as dicom it is a new or empty folder.
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Only this frame of a series, counted from 0.
    #[arg(long, value_name = "N")]
    frame: Option<usize>,

    /// Store the values in this type (integers are rounded; a value that does not fit is an error).
    #[arg(long, value_name = "TYPE")]
    dtype: Option<Dtype>,

    /// The file is a label map: store it as such [default: when it is integer and carries label names].
    #[arg(long, overrides_with = "no_labels")]
    labels: bool,

    /// The file is no label map, whatever it looks like.
    #[arg(long)]
    no_labels: bool,

    /// Which series, when IN (or --source) holds several: a name or number that `insula info` lists.
    #[arg(long, value_name = "NAME")]
    series: Option<String>,

    /// The DICOM images of a DICOM object: those IN refers to, or those the output is to refer to.
    #[arg(long, value_name = "DICOM")]
    source: Option<PathBuf>,

    /// The DICOM object to write.
    #[arg(long = "as", value_name = "OBJECT", default_value = "seg")]
    object: Object,

    /// Replace an existing output.
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = Convert {
        input: args.input.clone(),
        output: args.output.clone(),
        frame: args.frame,
        dtype: args.dtype,
        labels: match (args.labels, args.no_labels) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        series: args.series.clone(),
        source: args.source.clone(),
        object: args.object,
        overwrite: args.overwrite,
    };
    let task = context.console.task(&args.input.display().to_string(), context.interrupt.cancel());
    let Outcome::Converted(done) = perform(&Request::Convert(request), context, &task)? else {
        unreachable!("a convert request has a convert outcome")
    };
    for notice in &done.notices {
        context.console.say(&format!("{}: {}", args.input.display(), notice.message));
    }
    context.console.say(&format!("{}: {}", done.output.display(), done.summary));
    Ok(Exit::Done)
}
