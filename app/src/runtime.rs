//! ONNX Runtime for the program: found, or installed once when it is missing.

use std::path::{Path, PathBuf};

use formats::Task;
use inference::runtime;

/// The library to use; installed first when none is found and `may_install` says so. A library that
/// `ORT_DYLIB_PATH` names and that does not load is an error: installing another would not be what was asked for.
///
/// # Errors
/// What was tried, and the remedy.
pub fn find_or_install(may_install: bool, task: &Task) -> anyhow::Result<PathBuf> {
    match runtime::find() {
        Ok(found) => Ok(found.path),
        Err(_) if may_install && std::env::var_os(runtime::VARIABLE).is_none_or(|v| v.is_empty()) => {
            install(None, task)
        }
        Err(missing) => Err(inference::Error::from(missing).into()),
    }
}

/// Installs the official build into the user's data folder, from `wheel` when it was downloaded elsewhere.
///
/// # Errors
/// Those of [`runtime::install`].
pub fn install(wheel: Option<&Path>, task: &Task) -> anyhow::Result<PathBuf> {
    Ok(match wheel {
        Some(file) => runtime::install_from(file, task)?,
        None => runtime::install(task)?,
    })
}
