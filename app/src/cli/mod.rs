//! The command line: flags in, a [`Request`](crate::request::Request) out, and its outcome printed.
//!
//! Stdout carries records and results only, so that it can be piped; everything else goes to stderr.

mod batch;
mod convert;
mod deid;
mod eval;
mod info;
mod mesh;
mod output;
mod packs;
mod redact;
mod render;
mod runtime;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::console::Console;
use crate::failure::{Usage, describe, is_cancelled};
use crate::interrupt::Interrupt;

const AFTER_HELP: &str = "\
Exit codes:
  0    all done
  8    some cases or files failed, the others are done
  1    everything failed
  2    bad arguments
  130  interrupted by Ctrl-C      143  terminated

Insula works offline: the only network access is the one-time installation of ONNX Runtime.
Research use only; not a medical device.";

/// Insula: look at medical images, and segment them with neural networks.
#[derive(Debug, Parser)]
#[command(name = "insula", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// Files to open in the window (with --batch: further inputs).
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    batch: batch::Args,

    /// Close the window after the first frame that shows the files: to time the start.
    #[arg(long, hide = true)]
    time_start: bool,

    /// Scroll through slices, write the processor time of each frame to this file, and leave.
    #[arg(long, hide = true, value_name = "FILE")]
    time_slices: Option<PathBuf>,

    /// Print warnings and errors only.
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say what files are: format, size, spacing, orientation, values, notices.
    Info(info::Args),
    /// Write an image in another format or type, geometry kept.
    Convert(convert::Args),
    /// Remove what identifies from the headers of DICOM files (PS3.15 Annex E).
    Deid(deid::Args),
    /// Compare a segmentation with the truth (Dice, IoU, HD95, surface distance, volumes), or images (PSNR, SSIM, MAE), or lines
    /// of text (precision, recall, F).
    Eval(eval::Args),
    /// Write the surfaces of labels as STL, OBJ, PLY or GLB: closed, smooth, of the labels' volume.
    Mesh(mesh::Args),
    /// Find burned-in text in DICOM files and pictures, blank it, and prove that it is gone.
    Redact(redact::Args),
    /// Draw a slice or the volume into a PNG file, as the window shows it.
    Render(render::Args),
    /// Models: list, show, import, install, remove.
    Packs(packs::Args),
    /// ONNX Runtime: where it is, and its installation.
    Runtime(runtime::Args),
}

/// What each verb is given besides its flags.
#[derive(Debug)]
struct Context {
    console: Arc<Console>,
    interrupt: Interrupt,
}

/// How a run ended, as told by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    AllFailed,
    Usage,
    SomeFailed,
    Interrupted(u8),
}

impl Exit {
    /// From the number of items asked for and of those that failed.
    fn of_counts(items: usize, failed: usize) -> Self {
        match failed {
            0 => Self::Done,
            n if n < items => Self::SomeFailed,
            _ => Self::AllFailed,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::AllFailed => 1,
            Self::Usage => 2,
            Self::SomeFailed => 8,
            Self::Interrupted(code) => code,
        }
    }
}

/// Parses the arguments, does what they say, and tells how it ended.
pub fn main() -> ExitCode {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        // Panics are faults of the program, but of one case: a line, not a page.
        std::panic::set_hook(Box::new(|info| {
            let place =
                info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
            let text = info.payload_as_str().unwrap_or("unknown");
            // The console may be what panicked; nobody can be told when stderr is gone.
            let _ = writeln!(std::io::stderr(), "internal error{place}: {text}");
        }));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Also the way of --help and --version; a closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let console = Console::new(cli.quiet);
    // The window has nothing to finish: signals end it at once, its journal holds the edits, and no thread watches for them.
    let is_window = cli.verb.is_none() && cli.batch.batch.is_none();
    let interrupt = match if is_window { Ok(Interrupt::default()) } else { Interrupt::listen() } {
        Ok(interrupt) => interrupt,
        Err(error) => {
            console.complain(&format!("error: cannot listen for signals: {error}"));
            return ExitCode::from(Exit::AllFailed.code());
        }
    };
    let context = Context { console, interrupt };
    let exit = run(&cli, &context).unwrap_or_else(|error| {
        context.console.clear();
        if is_cancelled(&error) {
            context.console.complain("interrupted");
            return Exit::Interrupted(context.interrupt.exit_code());
        }
        if output::is_closed_pipe(&error) {
            return Exit::Done;
        }
        context.console.complain(&format!("error: {}", describe(&error)));
        if error.is::<Usage>() { Exit::Usage } else { Exit::AllFailed }
    });
    context.console.clear();
    ExitCode::from(exit.code())
}

fn run(cli: &Cli, context: &Context) -> anyhow::Result<Exit> {
    match &cli.verb {
        Some(Verb::Info(args)) => info::run(args, context),
        Some(Verb::Convert(args)) => convert::run(args, context),
        Some(Verb::Deid(args)) => deid::run(args, context),
        Some(Verb::Eval(args)) => eval::run(args, context),
        Some(Verb::Mesh(args)) => mesh::run(args, context),
        Some(Verb::Redact(args)) => redact::run(args, context),
        Some(Verb::Render(args)) => render::run(args, context),
        Some(Verb::Packs(args)) => packs::run(args, context),
        Some(Verb::Runtime(args)) => runtime::run(args, context),
        None if cli.batch.batch.is_some() => batch::run(&cli.batch, &cli.files, context),
        None => {
            if let Some(missing) = cli.files.iter().find(|f| !f.exists()) {
                return Err(Usage(format!(
                    "{}: there is no such file; give files or folders to open, or a verb (see `insula --help`)",
                    missing.display()
                ))
                .into());
            }
            let is_timed = cli.time_start || cli.time_slices.is_some();
            let start = crate::gui::Start {
                files: cli.files.clone(),
                settings: crate::settings::Settings::load(),
                keeps_settings: !is_timed,
                leaves_at_once: cli.time_start,
                paces_to: cli.time_slices.clone(),
                ..crate::gui::Start::default()
            };
            crate::gui::launch::run(start).map(|()| Exit::Done)
        }
    }
}
