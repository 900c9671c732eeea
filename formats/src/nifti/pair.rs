//! The two halves of a pair: `.hdr` and `.img`, each plain or gzipped, endings in any case.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::source::Source;

use super::header;

/// The header file of an image half, when `path` ends in `.img` or `.img.gz` and the file beside it is a header.
pub fn header_beside(path: &Path) -> Option<PathBuf> {
    let header = sibling(path, "img", "hdr")?;
    let source = Source::open(&header).ok()?;
    header::looks_like_header(&source.head).then_some(header)
}

/// The image half of a header file, if it exists.
pub fn image_beside(path: &Path) -> Option<PathBuf> {
    sibling(path, "hdr", "img")
}

/// The file with the same stem and the ending `to` in place of `from`, with or without `.gz`, in any case. The
/// spelling closest to that of `path` wins.
fn sibling(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let is_gz = lower.ends_with(".gz");
    let stem_len = lower.strip_suffix(".gz").unwrap_or(&lower).strip_suffix(from)?.strip_suffix('.')?.len();
    let (stem, ending) = name.split_at_checked(stem_len)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_upper = ending.contains(|c: char| c.is_ascii_uppercase());
    let mut endings = [format!(".{to}"), format!(".{to}.gz")];
    if is_gz {
        endings.reverse();
    }
    for ending in &endings {
        let spelled = if is_upper { ending.to_ascii_uppercase() } else { ending.clone() };
        let candidate = folder.join(format!("{stem}{spelled}"));
        if candidate.is_file() {
            return Some(candidate);
        }
    }
    // Another case than expected, on a file system that tells cases apart.
    let names: Vec<OsString> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.file_name()).collect();
    let matches = |n: &OsString, ending: &str| {
        let rest = n.to_str().and_then(|n| n.strip_prefix(stem));
        rest.is_some_and(|r| r.eq_ignore_ascii_case(ending))
    };
    let found = endings.iter().find_map(|ending| names.iter().find(|n| matches(n, ending)));
    found.map(|n| folder.join(n))
}
