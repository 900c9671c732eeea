//! ZIP archives with DICOM files: unpacked to a temporary folder under numbers, never under the names they carry.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::read::is_dicom;
use super::scan::Candidate;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::task::Task;

/// Up to this an archive may unpack to anything.
const UNQUESTIONED_BYTES: u64 = 256 << 20;

/// Beyond, it may grow by this factor: empty images compress 1000 : 1, whole studies hardly 20 : 1.
const MOST_RATIO: u64 = 100;

/// Members looked at.
const MOST_MEMBERS: usize = 1_000_000;

pub(super) fn is_named_zip(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"))
}

/// Whether the file begins as ZIP archives do.
#[must_use]
pub fn is_zip(path: &Path) -> bool {
    let mut head = [0u8; 4];
    let read = File::open(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && (head == *b"PK\x03\x04" || head == *b"PK\x05\x06")
}

/// Unpacks the members that begin as DICOM files do.
pub(super) fn unpack(
    path: &Path,
    files: &mut Vec<Candidate>,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<()> {
    let broken = |e: zip::result::ZipError| Error::malformed(path, e.to_string(), "a ZIP archive");
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let length = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(broken)?;
    if archive.len() > MOST_MEMBERS {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{} members", archive.len()),
            limit: format!("archives of {MOST_MEMBERS} members are the largest read"),
            remedy: "Unpack it and open the folder".to_owned(),
        });
    }
    let folder = tempfile::tempdir().map_err(Error::io(&std::env::temp_dir(), "create a folder in"))?;
    let folder = Arc::new(folder);
    let mut budget = UNQUESTIONED_BYTES.max(length.saturating_mul(MOST_RATIO));
    let (mut damaged, mut found) = (0, 0);
    for n in 0..archive.len() {
        task.check()?;
        let Ok(mut member) = archive.by_index(n) else {
            damaged += 1; // encrypted, or of a method unknown here
            continue;
        };
        if !member.is_file() {
            continue;
        }
        let shown = path.join(member.enclosed_name().unwrap_or_else(|| PathBuf::from(n.to_string())));
        let declared = member.size();
        let mut head = Vec::new();
        if member.by_ref().take(1024).read_to_end(&mut head).is_err() {
            damaged += 1;
            continue;
        }
        if !is_dicom(&head) {
            continue;
        }
        let target = folder.path().join(format!("{n:07}.dcm"));
        let mut out = File::create(&target).map_err(Error::io(&target, "create"))?;
        out.write_all(&head).map_err(Error::io(&target, "write"))?;
        // What is declared bounds what is written, and both are bounded by the archive.
        let allowed = declared.min(budget).saturating_sub(head.len() as u64);
        let copied = std::io::copy(&mut member.by_ref().take(allowed), &mut out);
        let Ok(copied) = copied else {
            damaged += 1;
            continue;
        };
        let written = copied + head.len() as u64;
        if declared > budget || member.read(&mut [0u8; 1]).is_ok_and(|n| n > 0) {
            return Err(Error::OverLimit {
                path: path.to_owned(),
                needed: format!("{declared} bytes declared for {}, more than that in it", shown.display()),
                limit: format!("{budget} bytes are left of what an archive of {length} bytes may unpack to"),
                remedy: "Unpack it and open the folder if you trust it".to_owned(),
            });
        }
        budget = budget.saturating_sub(written);
        found += 1;
        files.push(Candidate { path: target, name: shown, archive: Some(Arc::clone(&folder)) });
    }
    if damaged > 0 {
        notices.push(Notice::warning(
            "dicom-archive-damaged",
            format!(
                "{damaged} members of {} could not be unpacked; {found} DICOM files were",
                path.display()
            ),
        ));
    }
    Ok(())
}
