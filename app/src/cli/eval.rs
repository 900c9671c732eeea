//! `insula eval`: agreement of a segmentation with the truth.

use std::path::PathBuf;

use super::{Context, Exit, output};
use crate::evaluate::Evaluate;
use crate::request::{Outcome, Request, perform};

/// Flags of `insula eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The segmentation to judge.
    #[arg(value_name = "PRED")]
    pred: PathBuf,

    /// The reference; distances and volumes are measured on its grid.
    #[arg(value_name = "TRUTH")]
    truth: PathBuf,

    /// Labels to compare: numbers and ranges (1,2,10-13), a label table, or a TOML file of named groups
    /// [default: every label that occurs].
    #[arg(long, value_name = "LIST|FILE")]
    labels: Option<String>,

    /// A label table with the names [default: what the files carry].
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,

    /// One JSON object instead of a table.
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Comma-separated values instead of a table.
    #[arg(long)]
    csv: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = Evaluate {
        pred: args.pred.clone(),
        truth: args.truth.clone(),
        labels: args.labels.clone(),
        table: args.table.clone(),
    };
    let task = context.console.task("eval", context.interrupt.cancel());
    let Outcome::Evaluated(evaluation) = perform(&Request::Evaluate(request), context, &task)? else {
        unreachable!("an eval request has an eval outcome")
    };
    context.console.clear();
    if args.json {
        output::record(&evaluation)?;
    } else if args.csv {
        output::line(evaluation.to_csv().trim_end())?;
        for notice in &evaluation.notices {
            context.console.say(&format!("note: {}", notice.message));
        }
    } else {
        output::line(evaluation.to_text().trim_end())?;
    }
    Ok(Exit::Done)
}
