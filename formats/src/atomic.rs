//! Files that appear whole or not at all.

use std::path::Path;

use crate::error::{Error, Result};

/// Calls `fill` with a temporary path in the same folder, flushes it to disk and renames it to `path`.
/// On any failure the temporary file is removed and `path` is as it was.
///
/// # Errors
/// Those of `fill`, and [`Error::Io`].
pub fn write(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    write_with(path, fill, set_usual_permissions)
}

fn write_with(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<()>,
    permit: impl FnOnce(&std::fs::File),
) -> Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // The temporary name starts with a dot and ends with `.part`, so that no glob for results finds it.
    let temporary = tempfile::Builder::new()
        .prefix(".insula-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(Error::io(path, "write"))?;
    fill(temporary.path())?;
    finish(temporary, path, permit)
}

fn finish(
    temporary: tempfile::NamedTempFile,
    path: &Path,
    permit: impl FnOnce(&std::fs::File),
) -> Result<()> {
    let file = std::fs::File::open(temporary.path()).map_err(Error::io(path, "write"))?;
    file.sync_all().map_err(Error::io(path, "write"))?;
    permit(&file);
    let failed =
        |e: tempfile::PersistError| Error::Io { path: path.to_owned(), action: "write", source: e.error };
    temporary.persist(path).map(|_| ()).map_err(failed)
}

/// Temporary files are private (0600); results are for the group too, as any program's output is.
fn set_usual_permissions(file: &std::fs::File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Failing to widen permissions is not worth failing a finished result.
        let _ = file.set_permissions(std::fs::Permissions::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Gives a finished temporary file, which lies in the same folder, its name.
///
/// # Errors
/// [`Error::Io`]; the temporary file is then removed.
pub fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    finish(temporary, path, set_usual_permissions)
}

/// Writes bytes atomically; see [`write()`].
///
/// # Errors
/// [`Error::Io`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, |p| std::fs::write(p, bytes).map_err(Error::io(path, "write")))
}

/// Writes bytes atomically into a file that only its owner can read (on Unix): secrets.
///
/// # Errors
/// [`Error::Io`].
pub fn write_private_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    // The temporary file is private from its creation on, and stays so.
    write_with(path, |p| std::fs::write(p, bytes).map_err(Error::io(path, "write")), |_| ())
}
