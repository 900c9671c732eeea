//! Results on stdout.

use std::io::Write;

use serde::Serialize;

/// Writes text and a line end to stdout.
///
/// # Errors
/// When stdout is closed or full; see [`is_closed_pipe`].
pub fn line(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes one JSON record on one line.
///
/// # Errors
/// As [`line()`].
pub fn record(record: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string(record)?)?)
}

/// Whether the reader of stdout went away (`insula … | head`), which is no failure.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Rows `(name, value)` with the values aligned.
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}").trim_end().to_owned()).collect();
    lines.join("\n")
}
