//! `insula runtime`: ONNX Runtime, which computes the networks.

use std::path::PathBuf;

use inference::runtime::{VERSION, find};

use super::{Context, Exit, output};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula runtime`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say which ONNX Runtime is used and where it was found. Exits 1 when there is none.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Install the official build for the processor into the user's data folder (needs python3 with pip).
    Install {
        /// A wheel that was downloaded elsewhere, for computers without a network.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Status { json } => status(*json),
        Verb::Install { from } => {
            let task = context.console.task("runtime", context.interrupt.cancel());
            let request = Request::InstallRuntime { wheel: from.clone() };
            let Outcome::Runtime { library } = perform(&request, context, &task)? else {
                unreachable!("an install request has a runtime outcome")
            };
            context.console.say(&format!("ONNX Runtime {VERSION}: {}", library.display()));
            Ok(Exit::Done)
        }
    }
}

fn status(json: bool) -> anyhow::Result<Exit> {
    match find() {
        Ok(found) if json => {
            let mut value = serde_json::to_value(&found)?;
            if let Some(map) = value.as_object_mut() {
                map.insert("status".to_owned(), "found".into());
            }
            output::record(&value)?;
        }
        Ok(found) => {
            let providers: Vec<String> = found.providers.iter().map(ToString::to_string).collect();
            let rows = [
                ("library", found.path.display().to_string()),
                ("found", found.place.to_string()),
                ("version", found.version),
                ("providers", providers.join(", ")),
            ];
            output::line(&format!("ONNX Runtime\n{}", output::table(&rows)))?;
        }
        Err(missing) => {
            if json {
                let tried: Vec<_> =
                    missing.tried.iter().map(|(p, why)| (p.display().to_string(), why)).collect();
                output::record(&serde_json::json!({"status": "missing", "path": null, "tried": tried}))?;
                return Ok(Exit::AllFailed);
            }
            return Err(inference::Error::from(missing).into());
        }
    }
    Ok(Exit::Done)
}
