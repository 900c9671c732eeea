//! From file names to cases: which files are the channels of one subject.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::manifest::Manifest;

/// The files of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// Name of the case: the common part of the file names.
    pub name: String,
    /// One file per channel, in the pack's channel order.
    pub channels: Vec<PathBuf>,
}

/// Files that cannot be run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Name of the case.
    pub name: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// What is missing or double, with what to do.
    pub why: String,
}

/// Files sorted into cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Complete cases, by folder and name.
    pub cases: Vec<CaseFiles>,
    /// Cases that lack a channel or have one twice.
    pub incomplete: Vec<Incomplete>,
    /// Files whose names match no channel.
    pub unmatched: Vec<PathBuf>,
}

impl Manifest {
    /// The channel a file name (without its format's ending) means, and the rest of the name, which names the
    /// case. The longest matching pattern wins. For a pack with one channel any name will do, and the whole name
    /// names the case (two contrasts of one subject are two cases), but for nnU-Net's `_0000`.
    #[must_use]
    pub fn channel_of(&self, stem: &str) -> Option<(usize, String)> {
        let channels = &self.input.channels;
        if channels.len() == 1 {
            let name = stem.strip_suffix("_0000").filter(|s| !s.is_empty()).unwrap_or(stem);
            return Some((0, name.to_owned()));
        }
        let lower = stem.to_lowercase();
        let patterns = channels.iter().enumerate().flat_map(|(n, c)| c.patterns.iter().map(move |p| (n, p)));
        let hits = patterns.filter(|(_, p)| lower.ends_with(&p.to_lowercase()));
        let (n, pattern) = hits.max_by_key(|(_, p)| p.len())?;
        // Lower-casing can change byte lengths outside ASCII; then the name is kept whole.
        let cut = stem.len().checked_sub(pattern.len()).filter(|&c| stem.is_char_boundary(c));
        Some((n, cut.map_or(stem, |c| &stem[..c]).to_owned()))
    }

    /// Sorts files into cases: files of one folder whose names differ only in the channel's pattern belong
    /// together. Order of the input does not matter.
    #[must_use]
    pub fn group(&self, files: &[PathBuf]) -> Grouping {
        let channels = &self.input.channels;
        let mut grouping = Grouping::default();
        let mut cases: BTreeMap<(PathBuf, String), Vec<(usize, PathBuf)>> = BTreeMap::new();
        for file in files {
            let stem = formats::registry::stem(file).to_string_lossy().into_owned();
            match self.channel_of(&stem) {
                Some((channel, name)) => {
                    let folder = file.parent().unwrap_or_else(|| Path::new("")).to_owned();
                    cases.entry((folder, name)).or_default().push((channel, file.clone()));
                }
                None => grouping.unmatched.push(file.clone()),
            }
        }
        for ((folder, name), mut found) in cases {
            found.sort();
            found.dedup();
            let name = if name.is_empty() {
                folder.file_name().map_or_else(|| "case".to_owned(), |n| n.to_string_lossy().into_owned())
            } else {
                name
            };
            let count = |n: usize| found.iter().filter(|(c, _)| *c == n).count();
            let named = |keep: &dyn Fn(usize) -> bool| {
                let names =
                    channels.iter().enumerate().filter(|(n, _)| keep(*n)).map(|(_, c)| c.name.as_str());
                names.collect::<Vec<_>>().join(", ")
            };
            let (missing, double) = (named(&|n| count(n) == 0), named(&|n| count(n) > 1));
            let files: Vec<PathBuf> = found.iter().map(|(_, f)| f.clone()).collect();
            if missing.is_empty() && double.is_empty() {
                grouping.cases.push(CaseFiles { name, channels: files });
            } else {
                let mut why = String::new();
                if !missing.is_empty() {
                    why += &format!(
                        "no file for {missing}; names must end in {}",
                        self.endings(&|n| count(n) == 0)
                    );
                }
                if !double.is_empty() {
                    why +=
                        &format!("{}more than one file for {double}", if why.is_empty() { "" } else { "; " });
                }
                grouping.incomplete.push(Incomplete { name, files, why });
            }
        }
        grouping
    }

    fn endings(&self, keep: &dyn Fn(usize) -> bool) -> String {
        let channels = self.input.channels.iter().enumerate().filter(|(n, _)| keep(*n));
        channels.map(|(_, c)| c.patterns.join(" or ")).collect::<Vec<_>>().join(", ")
    }
}
