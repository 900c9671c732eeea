//! From what the user named (files, folders, globs, lists) to image files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use formats::registry::{format_for_name, stem};

use crate::failure::Usage;

/// Pictures and tables are not searched for in folders: they are results and screenshots far more often
/// than scans. Named one by one, they are taken.
const PICTURES: &[&str] = &["png", "jpeg", "bmp", "tiff"];

/// The files to work on, each once, in the order of naming (folders and globs sorted by name).
#[derive(Debug, Default)]
pub struct Files {
    /// The files. Those named one by one may be missing or unreadable; that fails their case, not the batch.
    pub paths: Vec<PathBuf>,
    /// Remarks for the user, e.g. on a glob that matches nothing.
    pub remarks: Vec<String>,
    /// Files that are DICOM, or may be by their names, and collections of such: to be scanned for series.
    pub dicom: Vec<PathBuf>,
    /// Whether every file was named one by one, so that their order means something.
    pub is_explicit: bool,
    /// Whether pictures in folders are inputs too.
    takes_pictures: bool,
    seen: BTreeSet<PathBuf>,
}

impl Files {
    /// Expands `inputs` and the lines of the `lists`. `out` is never searched. `takes_pictures`: those found in folders
    /// are inputs like volumes.
    ///
    /// # Errors
    /// [`Usage`] for a list that cannot be read or a glob that cannot be parsed.
    pub fn find(
        inputs: &[String],
        lists: &[PathBuf],
        out: &Path,
        takes_pictures: bool,
    ) -> anyhow::Result<Self> {
        let mut files = Self { is_explicit: true, takes_pictures, ..Self::default() };
        for input in inputs {
            match input.strip_prefix('@') {
                Some(list) if !Path::new(input).exists() => files.add_list(Path::new(list), out)?,
                _ => files.add_input(input, out)?,
            }
        }
        for list in lists {
            files.add_list(list, out)?;
        }
        Ok(files)
    }

    fn add_list(&mut self, list: &Path, out: &Path) -> anyhow::Result<()> {
        let text = if list == Path::new("-") {
            std::io::read_to_string(std::io::stdin()).context("the list on standard input")
        } else {
            std::fs::read_to_string(list).with_context(|| format!("{}: cannot read the list", list.display()))
        }
        .map_err(|e| Usage(crate::failure::describe(&e)))?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            self.add_input(line, out)?;
        }
        Ok(())
    }

    fn add_input(&mut self, input: &str, out: &Path) -> anyhow::Result<()> {
        let path = Path::new(input);
        let before = self.count();
        if path.is_dir() {
            self.add_folder(path, out);
        } else if !path.exists() && input.contains(['*', '?', '[']) {
            // As in a shell: `*` does not match hidden files.
            let as_shell = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
            let matches = glob::glob_with(input, as_shell)
                .map_err(|e| Usage(format!("{input}: not a valid pattern: {e}")))?;
            self.is_explicit = false;
            for found in matches.filter_map(Result::ok) {
                if found.is_dir() {
                    self.add_folder(&found, out);
                } else if is_wanted(&found, self.takes_pictures) {
                    self.add(found);
                } else if may_be_dicom(&found) {
                    self.add_dicom(found);
                }
            }
        } else if crate::dicom::is_collection(path) || crate::dicom::is_dicom_file(path) {
            self.is_explicit = false;
            self.add_dicom(path.to_owned());
            return Ok(());
        } else {
            self.add(path.to_owned());
            return Ok(());
        }
        if self.count() == before {
            self.remarks.push(format!("{input}: no image files found"));
        }
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path, out: &Path) {
        self.is_explicit = false;
        let out = out.canonicalize().ok();
        let walk = walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        let entries = walk.filter_entry(|e| {
            let is_hidden = e.depth() > 0 && e.file_name().to_string_lossy().starts_with('.');
            let is_out = e.file_type().is_dir() && out.is_some() && e.path().canonicalize().ok() == out;
            !is_hidden && !is_out
        });
        for entry in entries {
            match entry {
                Ok(e) if e.file_type().is_file() && is_wanted(e.path(), self.takes_pictures) => {
                    self.add(e.into_path());
                }
                Ok(e) if e.file_type().is_file() && may_be_dicom(e.path()) => self.add_dicom(e.into_path()),
                Ok(_) => {}
                Err(error) => self.remarks.push(format!("skipped: {error}")),
            }
        }
    }

    fn count(&self) -> usize {
        self.paths.len() + self.dicom.len()
    }

    fn add(&mut self, path: PathBuf) {
        if self.is_new(&path) {
            self.paths.push(path);
        }
    }

    fn add_dicom(&mut self, path: PathBuf) {
        if self.is_new(&path) {
            self.dicom.push(path);
        }
    }

    fn is_new(&mut self, path: &Path) -> bool {
        self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }
}

/// Whether a file found in a folder or by a glob is a scan to work on: a volume by its ending, not a
/// segmentation (`…_seg`, ours or a reference) nor another result of ours, and of an `.hdr`/`.img` pair the header.
fn is_wanted(path: &Path, takes_pictures: bool) -> bool {
    let Some(name) = path.file_name() else { return false };
    let Some(format) = format_for_name(name) else { return false };
    let stem = stem(path).to_string_lossy().to_lowercase();
    let lower = name.to_string_lossy().to_lowercase();
    let is_pair_data = [".img", ".img.gz"].iter().any(|e| lower.ends_with(e))
        && ["hdr", "hdr.gz", "HDR"]
            .iter()
            .any(|e| path.with_file_name(format!("{}.{e}", stem_of_pair(path))).exists());
    format.id() != "dicom"
        && (takes_pictures || !PICTURES.contains(&format.id()))
        && !stem.ends_with("_seg")
        && !stem.ends_with("-seg")
        && !stem.ends_with("_restored")
        && !stem.ends_with("_quicklook")
        && !is_pair_data
}

/// Whether a file found in a folder is worth a look for DICOM: such a name, or none that says anything. Archives and
/// DICOMDIRs are taken only when named: their content usually lies beside them.
fn may_be_dicom(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_index = name.eq_ignore_ascii_case("DICOMDIR");
    let is_text = path.extension().is_some_and(|e| {
        ["json", "txt", "csv", "tsv", "md", "html", "xml", "bval", "bvec", "zip", "gz", "py", "log", "pdf"]
            .iter()
            .any(|t| e.eq_ignore_ascii_case(t))
    });
    !is_index && !is_text && format_for_name(name).is_none_or(|f| f.id() == "dicom")
}

fn stem_of_pair(path: &Path) -> String {
    stem(path).to_string_lossy().into_owned()
}
