//! The program; see the library of this crate.

fn main() -> std::process::ExitCode {
    app::cli::main()
}
