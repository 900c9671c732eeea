//! The insula program: window, command line and jobs. The only crate that knows everyone.
//!
//! The command line ([`cli`]) and, later, the window are two ways of making a [`request::Request`];
//! [`request::perform`] does the work and knows neither. [`batch`] is the headless run over many cases.
//! Start reading at [`request`].

mod batch;
mod cli;
mod console;
mod convert;
mod evaluate;
mod failure;
mod info;
mod interrupt;
mod mesh;
mod packs;
mod quicklook;
mod request;
mod runtime;
mod segment;

fn main() -> std::process::ExitCode {
    cli::main()
}
