//! `insula info`: what files are.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, Exit, output};
use crate::failure::{Failure, describe, is_cancelled};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; of a folder, ZIP archive or DICOMDIR the DICOM series in it are listed.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Describe this series of a folder, archive or DICOMDIR, with its values.
    #[arg(long, value_name = "NAME")]
    series: Option<String>,

    /// One JSON object per file and line instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Failed<'a> {
    file: &'a std::path::Path,
    status: &'static str,
    error: Failure,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let mut failed = 0;
    for (n, file) in args.files.iter().enumerate() {
        let task = context.console.task(&file.display().to_string(), context.interrupt.cancel());
        let outcome =
            perform(&Request::Info { file: file.clone(), series: args.series.clone() }, context, &task);
        context.console.clear();
        match outcome {
            Ok(Outcome::Info(info)) if args.json => output::record(&info)?,
            Ok(Outcome::Info(info)) => {
                let gap = if n == 0 { "" } else { "\n" };
                output::line(&format!("{gap}{}\n{}", file.display(), output::table(&info.rows())))?;
            }
            Ok(Outcome::Collection(info)) => {
                info.notices.iter().for_each(|n| context.console.say(&n.message));
                if args.json {
                    for row in &info.series {
                        output::record(row)?;
                    }
                } else {
                    let gap = if n == 0 { "" } else { "\n" };
                    output::line(&format!("{gap}{}", info.words()))?;
                }
            }
            Ok(_) => unreachable!("an info request has an info outcome"),
            Err(error) if is_cancelled(&error) => return Err(error),
            Err(error) => {
                failed += 1;
                context.console.complain(&format!("error: {}", describe(&error)));
                if args.json {
                    output::record(&Failed { file, status: "failed", error: Failure::of(&error) })?;
                }
            }
        }
    }
    Ok(Exit::of_counts(args.files.len(), failed))
}
