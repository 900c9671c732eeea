//! The insula program: window, command line and jobs. The only crate that knows everyone.
//!
//! The command line ([`cli`]) and, later, the window are two ways of making a [`request::Request`];
//! [`request::perform`] does the work and knows neither. [`batch`] is the headless run over many cases.
//! Start reading at [`request`].

mod cli;
mod console;
mod convert;
mod failure;
mod info;
mod interrupt;
#[allow(dead_code, reason = "the batch run calls it")]
mod quicklook;
mod request;

fn main() -> std::process::ExitCode {
    cli::main()
}
