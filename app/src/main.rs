//! The insula program: window, command line and jobs.

fn main() {}
