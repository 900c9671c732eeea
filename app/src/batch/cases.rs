//! From image files to cases: which files belong together, in which order, under which name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use formats::registry::stem;
use serde::{Deserialize, Serialize};

/// How the files of one input channel are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRule {
    /// The channel, e.g. `"FLAIR"`.
    pub name: String,
    /// Endings of the file name before its extension, e.g. `"_flair"`, `"-t2f"`, `"_0000"`; any case.
    pub patterns: Vec<String>,
}

/// One item of a batch: files that are segmented together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFiles {
    /// Unique within the batch; outputs are named by it.
    pub name: String,
    /// One file per channel in the order of the pack; or a single file that must hold all of them.
    pub files: Vec<PathBuf>,
    /// Why the case cannot be run, e.g. a missing channel.
    pub problem: Option<String>,
}

/// Groups files into cases, sorted by name.
///
/// With one channel, each file is a case. With several, files whose names end as a channel's do are put
/// together when folder and the rest of the name agree; any other file stands alone and must hold all channels
/// as frames. If files were named one by one (`is_explicit`), none has a channel's ending and there are as many
/// as channels, then their order decides.
///
/// Cases of the same name from different folders are told apart by as many parent folders as it takes
/// (`sub01_t1`, `sub02_t1`), and finally by the file ending.
pub fn group(files: &[PathBuf], rules: &[ChannelRule], is_explicit: bool) -> Vec<CaseFiles> {
    let mut cases: Vec<Draft> = Vec::new();
    if rules.len() <= 1 {
        for file in files {
            let full = stem_text(file);
            let name = rules
                .first()
                .and_then(|r| ending_of(&full, r))
                .map_or(full.as_str(), |n| &full[..full.len() - n]);
            cases.push(Draft::single(name, file));
        }
    } else {
        let none_named = files.iter().all(|f| channel_of(&stem_text(f), rules).is_none());
        if is_explicit && none_named && files.len() == rules.len() {
            cases.push(Draft { name: stem_text(&files[0]), files: files.to_vec(), problem: None });
        } else {
            cases = grouped(files, rules);
        }
    }
    name_apart(&mut cases);
    let mut cases: Vec<CaseFiles> =
        cases.into_iter().map(|d| CaseFiles { name: d.name, files: d.files, problem: d.problem }).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.files.cmp(&b.files)));
    cases
}

struct Draft {
    name: String,
    files: Vec<PathBuf>,
    problem: Option<String>,
}

impl Draft {
    fn single(name: &str, file: &Path) -> Self {
        Self { name: name.to_owned(), files: vec![file.to_owned()], problem: None }
    }
}

fn grouped(files: &[PathBuf], rules: &[ChannelRule]) -> Vec<Draft> {
    let mut sets: BTreeMap<(PathBuf, String), Vec<Vec<PathBuf>>> = BTreeMap::new();
    let mut cases = Vec::new();
    for file in files {
        let stem = stem_text(file);
        match channel_of(&stem, rules) {
            Some((channel, ending)) => {
                let folder = file.parent().unwrap_or(Path::new("")).to_owned();
                let key = (folder, stem[..stem.len() - ending].to_owned());
                sets.entry(key).or_insert_with(|| vec![Vec::new(); rules.len()])[channel].push(file.clone());
            }
            None => cases.push(Draft::single(&stem, file)),
        }
    }
    for ((folder, name), channels) in sets {
        // `sub-01/_flair.nii` and `sub-01/flair.nii`-like names leave nothing: the folder names the case.
        let name = match name.trim_matches(['_', '-', '.']) {
            "" => folder.file_name().map_or_else(|| "case".to_owned(), |n| n.to_string_lossy().into_owned()),
            rest => rest.to_owned(),
        };
        let missing: Vec<String> = (channels.iter().zip(rules))
            .filter(|(found, _)| found.is_empty())
            .map(|(_, rule)| format!("{} (…{})", rule.name, rule.patterns.join(", …")))
            .collect();
        let double: Vec<&str> = (channels.iter().zip(rules))
            .filter(|(found, _)| found.len() > 1)
            .map(|(_, rule)| rule.name.as_str())
            .collect();
        let problem = if !missing.is_empty() {
            Some(format!("no file for channel {}", missing.join(", ")))
        } else if !double.is_empty() {
            Some(format!("more than one file for channel {}", double.join(", ")))
        } else {
            None
        };
        cases.push(Draft { name, files: channels.concat(), problem });
    }
    cases
}

/// The channel whose ending the name has (the longest ending wins), and the ending's length in bytes.
fn channel_of(stem: &str, rules: &[ChannelRule]) -> Option<(usize, usize)> {
    let endings = rules.iter().enumerate().filter_map(|(n, rule)| ending_of(stem, rule).map(|len| (n, len)));
    endings.max_by_key(|&(_, len)| len)
}

fn ending_of(stem: &str, rule: &ChannelRule) -> Option<usize> {
    let has_ending = |p: &&String| {
        stem.len() >= p.len()
            && stem.is_char_boundary(stem.len() - p.len())
            && stem[stem.len() - p.len()..].eq_ignore_ascii_case(p)
    };
    rule.patterns.iter().filter(has_ending).map(String::len).max()
}

fn stem_text(file: &Path) -> String {
    stem(file).to_string_lossy().into_owned()
}

/// Makes the names unique: parents are put in front level by level, then the file ending behind, then a number.
fn name_apart(cases: &mut [Draft]) {
    for depth in 1..=32 {
        let clashing = clashing(cases);
        if clashing.is_empty() {
            return;
        }
        let mut changed = false;
        for n in clashing {
            let mut parents = cases[n].files[0].parent().map(Path::iter).into_iter().flatten().rev();
            if let Some(folder) = parents
                .nth(depth - 1)
                .map(|p| p.to_string_lossy())
                .filter(|p| p.chars().any(char::is_alphanumeric))
            {
                cases[n].name = format!("{folder}_{}", cases[n].name);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    for n in clashing(cases) {
        let name = cases[n].files[0].file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ending = name[stem_text(&cases[n].files[0]).len().min(name.len())..].replace('.', "_");
        cases[n].name.push_str(&ending);
    }
    let mut used: HashMap<String, usize> = HashMap::new();
    for case in cases {
        let times = used.entry(case.name.to_lowercase()).or_default();
        *times += 1;
        if *times > 1 {
            case.name = format!("{}_{times}", case.name);
        }
    }
}

/// Cases whose name another one has too (file systems that ignore case would mix them up, so it is ignored here).
fn clashing(cases: &[Draft]) -> Vec<usize> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for case in cases {
        *count.entry(case.name.to_lowercase()).or_default() += 1;
    }
    (0..cases.len()).filter(|&n| count[&cases[n].name.to_lowercase()] > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<ChannelRule> {
        let rule = |name: &str, patterns: &[&str]| ChannelRule {
            name: name.to_owned(),
            patterns: patterns.iter().map(ToString::to_string).collect(),
        };
        vec![
            rule("FLAIR", &["_flair", "-t2f", "_0000"]),
            rule("T1", &["_t1", "-t1n", "_0001"]),
            rule("T1ce", &["_t1ce", "-t1c", "_0002"]),
            rule("T2", &["_t2", "-t2w", "_0003"]),
        ]
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    // Endings are known once a format is registered, so these tests use `.nii`-free stems where it matters.
    #[test]
    fn brats_and_nnunet_names_are_grouped_in_channel_order() {
        let files = paths(&[
            "b/A_t2",
            "b/A_T1ce",
            "b/A_flair",
            "b/A_t1",
            "c/X-1-t1n",
            "c/X-1-t2w",
            "c/X-1-t1c",
            "c/X-1-t2f",
        ]);
        let cases = group(&files, &rules(), false);
        assert_eq!(cases.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["A", "X-1"]);
        assert_eq!(cases[0].files, paths(&["b/A_flair", "b/A_t1", "b/A_T1ce", "b/A_t2"]));
        assert!(cases.iter().all(|c| c.problem.is_none()));
        let files = paths(&["n/p_0003", "n/p_0002", "n/p_0001", "n/p_0000", "n/q_0000"]);
        let cases = group(&files, &rules(), false);
        assert_eq!(cases[0].files, paths(&["n/p_0000", "n/p_0001", "n/p_0002", "n/p_0003"]));
        let problem = cases[1].problem.as_deref().unwrap();
        assert!(
            problem.contains("T1 (") && problem.contains("T2 (") && !problem.contains("FLAIR"),
            "{problem}"
        );
    }

    #[test]
    fn names_found_twice_are_told_apart_by_folders() {
        let one = [ChannelRule { name: "image".to_owned(), patterns: vec![] }];
        let cases = group(&paths(&["s/1/x/t1", "s/2/x/t1", "other"]), &one, true);
        assert_eq!(cases.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["1_x_t1", "2_x_t1", "other"]);
        let same = group(&paths(&["a/t1", "a/T1"]), &one, true);
        assert_ne!(same[0].name.to_lowercase(), same[1].name.to_lowercase());
    }

    #[test]
    fn explicit_files_without_channel_names_go_by_order() {
        let files = paths(&["d", "c", "b", "a"]);
        let cases = group(&files, &rules(), true);
        assert_eq!((cases.len(), &cases[0].files), (1, &files));
        assert_eq!(group(&files, &rules(), false).len(), 4);
    }
}
