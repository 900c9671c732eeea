//! What the tests share: where the shared data lies, and how a test says that it was skipped.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};

/// The workspace root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A path below the developers' shared data (`INSULA_SHARED`, else `../shared` beside the workspace), e.g.
/// `data/nifti/brain/t1_crop.nii.gz`. When it is not there, says that the test is skipped and returns `None`.
#[must_use]
pub fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let base = std::env::var_os("INSULA_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = base.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: {} is not here (set INSULA_SHARED)", path.display());
    None
}
