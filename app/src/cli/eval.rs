//! `insula eval`: agreement of a segmentation, or of images, with the truth.

use std::path::PathBuf;

use super::{Context, Exit, output};
use crate::evaluate::Evaluate;
use crate::request::{Outcome, Request, perform};
use crate::similarity::CompareImages;
use crate::text::evaluate::EvaluateText;

/// Flags of `insula eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The segmentation to judge; with --images, the image or a folder of images.
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

    /// Compare images value by value (PSNR, SSIM, MAE) instead of labels. Of two folders, files of one name are compared;
    /// an ending _restored of the name does not count.
    #[arg(long, conflicts_with_all = ["labels", "table"])]
    images: bool,

    /// Compare lines of text by the rules of ICDAR 2015 (overlap above one half, "do not care" regions) instead of labels. PRED is a
    /// *_text.json of a batch or a file of corners, TRUTH a file of corners and texts; or both are folders.
    #[arg(long, conflicts_with_all = ["labels", "table", "images", "csv"])]
    text: bool,

    /// With --images: the span of values that PSNR and SSIM refer to [default: 255 or 65535 for pictures of 8 or 16 bits,
    /// else that of the truth].
    #[arg(long, value_name = "R", requires = "images")]
    range: Option<f64>,

    /// One JSON object instead of a table.
    #[arg(long, conflicts_with = "csv")]
    json: bool,

    /// Comma-separated values instead of a table.
    #[arg(long)]
    csv: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if args.text {
        return text(args, context);
    }
    if args.images {
        return images(args, context);
    }
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

fn text(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = EvaluateText { pred: args.pred.clone(), truth: args.truth.clone() };
    let task = context.console.task("eval", context.interrupt.cancel());
    let Outcome::TextEvaluated(found) = perform(&Request::EvaluateText(request), context, &task)? else {
        unreachable!("a comparison of text has its outcome")
    };
    context.console.clear();
    if args.json {
        output::record(&found)?;
        return Ok(Exit::Done);
    }
    let part = |v: Option<f64>| v.map_or("n/a".to_owned(), |v| format!("{v:.4}"));
    output::line(&format!(
        "{:<28} {:>9} {:>9} {:>9} {:>7} {:>9}",
        "page", "precision", "recall", "F", "truths", "detected"
    ))?;
    let pages = found.pages.iter().map(|p| (p.page.as_str(), &p.score));
    for (name, s) in pages.chain([("all", &found.total)]) {
        output::line(&format!(
            "{name:<28} {:>9} {:>9} {:>9.4} {:>7} {:>9}",
            part(s.precision),
            part(s.recall),
            s.f,
            s.truths,
            s.detections
        ))?;
    }
    Ok(Exit::Done)
}

fn images(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request =
        CompareImages { result: args.pred.clone(), truth: args.truth.clone(), data_range: args.range };
    let task = context.console.task("eval", context.interrupt.cancel());
    let Outcome::Compared(found) = perform(&Request::CompareImages(request), context, &task)? else {
        unreachable!("a comparison has its outcome")
    };
    context.console.clear();
    if args.json {
        output::record(&found)?;
    } else if args.csv {
        output::line(found.to_csv().trim_end())?;
    } else {
        output::line(found.to_text().trim_end())?;
    }
    for problem in &found.failed {
        context.console.complain(&format!("{}: failed: {}", problem.name, problem.error.message));
    }
    for name in &found.unmatched {
        context.console.say(&format!("note: {name} has no counterpart"));
    }
    Ok(Exit::of_counts(found.rows.len() + found.failed.len(), found.failed.len()))
}
