//! From image files to cases: which files belong together, in which order, under which name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::dicom::Stack;
use formats::registry::stem;
use models::Manifest;
use serde::{Deserialize, Serialize};

use super::channels::{self, ChannelRule};
use crate::failure::Usage;

/// One item of a batch: files that are segmented together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CaseFiles {
    /// Unique within the batch; outputs are named by it.
    pub name: String,
    /// One file per channel in the order of the pack; or a single file that must hold all of them.
    pub files: Vec<PathBuf>,
    /// Why the case cannot be run, e.g. a missing channel.
    pub problem: Option<String>,
    /// The DICOM slices that the files hold, one stack per channel; none for files of other formats.
    #[serde(skip)]
    pub stacks: Vec<Arc<Stack>>,
}

/// Groups files into cases, sorted by name.
///
/// The channel endings of the pack decide (see [`Manifest::group`]). A file with no channel's ending stands alone
/// and must hold all channels as frames. If files were named one by one (`is_explicit`), none has a channel's
/// ending and there are as many as channels, then their order decides.
///
/// Cases of the same name from different folders are told apart by as many parent folders as it takes
/// (`sub01_t1`, `sub02_t1`), and finally by a number.
pub fn group(files: &[PathBuf], manifest: &Manifest, is_explicit: bool) -> Vec<CaseFiles> {
    let grouping = manifest.group(files);
    let mut cases = Vec::new();
    for case in grouping.cases {
        cases.push(CaseFiles { name: tidy(&case.name), files: case.channels, ..CaseFiles::default() });
    }
    for case in grouping.incomplete {
        cases.push(CaseFiles {
            name: tidy(&case.name),
            files: case.files,
            problem: Some(case.why),
            stacks: Vec::new(),
        });
    }
    if cases.is_empty() && is_explicit && grouping.unmatched.len() == manifest.input.channels.len() {
        // In the order of naming, which the grouping need not keep.
        cases.push(CaseFiles { name: stem_text(&files[0]), files: files.to_vec(), ..CaseFiles::default() });
    } else {
        for file in grouping.unmatched {
            cases.push(CaseFiles { name: stem_text(&file), files: vec![file], ..CaseFiles::default() });
        }
    }
    finish(cases)
}

/// The cases of DICOM series, for packs with one channel: one per stack with a place in the patient. Single slices and
/// pictures (radiographs, cines, captures) are cases of packs that restore, and left out for others, as pictures of other
/// formats are. Packs with several channels take the
/// series of a study together, by `rules`.
///
/// # Errors
/// [`Usage`] when the rules do not fit the pack.
pub fn of_series(
    tree: &formats::dicom::Tree,
    manifest: &Manifest,
    rules: &[ChannelRule],
) -> Result<Vec<CaseFiles>, Usage> {
    if manifest.input.channels.len() > 1 && !rules.is_empty() {
        return channels::of_studies(tree, manifest, rules);
    }
    if let Some(rule) = rules.first() {
        return Err(Usage(format!(
            "--channel {rule}: the pack {} has one channel, and any series will do; leave --channel out",
            manifest.id
        )));
    }
    let channels = manifest.input.channels.len();
    let problem = (channels > 1).then(|| {
        format!(
            "the pack wants {channels} channels, and one DICOM series is one; say which series of a study is which with \
             --channel, e.g. --channel {}=TEXT for the series with TEXT in its description",
            manifest.input.channels.first().map_or("", |c| c.name.as_str())
        )
    });
    let takes_pictures = manifest.output.is_picture();
    let stacks = crate::dicom::stacks(tree).filter(|(_, stack)| takes_pictures || is_volume(stack));
    let cases = stacks.map(|(series, stack)| CaseFiles {
        name: crate::dicom::stack_name(series, stack),
        problem: problem.clone(),
        ..CaseFiles::of_stacks(vec![Arc::new(stack.clone())])
    });
    Ok(cases.collect())
}

/// Whether a stack has a place in the patient and more than one slice.
pub(super) fn is_volume(stack: &Stack) -> bool {
    stack.kind == formats::dicom::Kind::Volume && stack.grid.size_ijk[2] > 1
}

impl CaseFiles {
    /// Stacks that are segmented together, one per channel; without a name.
    pub(super) fn of_stacks(stacks: Vec<Arc<Stack>>) -> Self {
        let files = stacks.iter().flat_map(|s| s.records()).map(|r| r.path.clone()).collect();
        Self { files, stacks, ..Self::default() }
    }
}

/// Names made unique, in the order of names.
pub fn finish(mut cases: Vec<CaseFiles>) -> Vec<CaseFiles> {
    name_apart(&mut cases);
    cases.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.files.cmp(&b.files)));
    cases
}

/// A case's name without separators left over at its end.
fn tidy(name: &str) -> String {
    let trimmed = name.trim_end_matches(['_', '-', '.', ' ']);
    if trimmed.is_empty() { "case".to_owned() } else { trimmed.to_owned() }
}

fn stem_text(file: &Path) -> String {
    stem(file).to_string_lossy().into_owned()
}

/// Makes the names unique: parents are put in front level by level, then a number behind.
fn name_apart(cases: &mut [CaseFiles]) {
    for depth in 1..=32 {
        let clashing = clashing(cases);
        if clashing.is_empty() {
            return;
        }
        let mut changed = false;
        for n in clashing {
            // Names of DICOM series hold no patient data, and folders often do.
            if !cases[n].stacks.is_empty() {
                continue;
            }
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
fn clashing(cases: &[CaseFiles]) -> Vec<usize> {
    let mut count: HashMap<String, usize> = HashMap::new();
    for case in cases {
        *count.entry(case.name.to_lowercase()).or_default() += 1;
    }
    (0..cases.len()).filter(|&n| count[&cases[n].name.to_lowercase()] > 1).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings of a pack with these channels, each named `_<channel>` (a lone one needs no ending).
    pub fn manifest(channels: &[&str]) -> Manifest {
        let rows: String = channels
            .iter()
            .map(|c| {
                let patterns = if channels.len() > 1 { format!("[\"_{c}\"]") } else { "[]".to_owned() };
                format!("[[input.channel]]\nname = \"{c}\"\npatterns = {patterns}\n")
            })
            .collect();
        let zeros = "0".repeat(64);
        let text = format!(
            "schema = 1\nid = \"fake\"\nname = \"Fake\"\nversion = \"1\"\nfamily = \"segformer3d\"\nsummary = \"\"\n\
             intended_use = \"\"\nlicence = \"MIT\"\n[input]\n{rows}[tiles]\npatch = [32, 32, 32]\n\
             [output]\nactivation = \"softmax\"\nclasses = [0, 1]\n[[label]]\nid = 1\nname = \"one\"\nrgb = [255, 0, 0]\n\
             [[file]]\nrole = \"network\"\npath = \"model.onnx\"\nbytes = 0\nsha256 = \"{zeros}\"\n"
        );
        models::pack::parse(Path::new("fake"), text.as_bytes()).unwrap()
    }

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn names(cases: &[CaseFiles]) -> Vec<&str> {
        cases.iter().map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn channels_come_in_the_order_of_the_pack_and_gaps_are_told() {
        let four = manifest(&["flair", "t1", "t1ce", "t2"]);
        let files = paths(&[
            "b/A_t2.nii",
            "b/A_T1ce.nii.gz",
            "b/A_flair.nii",
            "b/A_t1.nii",
            "b/B_t1.nii",
            "b/4d.nii",
        ]);
        let cases = group(&files, &four, false);
        assert_eq!(names(&cases), ["4d", "A", "B"]);
        assert_eq!(cases[1].files, paths(&["b/A_flair.nii", "b/A_t1.nii", "b/A_T1ce.nii.gz", "b/A_t2.nii"]));
        assert!(cases[0].problem.is_none() && cases[1].problem.is_none());
        let problem = cases[2].problem.as_deref().unwrap();
        assert!(problem.contains("flair") && problem.contains("t1ce") && problem.contains("t2"), "{problem}");
    }

    #[test]
    fn names_found_twice_are_told_apart_by_folders() {
        let one = manifest(&["image"]);
        let cases = group(&paths(&["s/1/x/t1.nii", "s/2/x/t1.nii", "other.nii"]), &one, true);
        assert_eq!(names(&cases), ["1_x_t1", "2_x_t1", "other"]);
        let same = group(&paths(&["t1.nii", "T1.nii"]), &one, true);
        assert_ne!(same[0].name.to_lowercase(), same[1].name.to_lowercase());
    }

    #[test]
    fn explicit_files_without_channel_names_go_by_order() {
        let four = manifest(&["flair", "t1", "t1ce", "t2"]);
        let files = paths(&["d.nii", "c.nii", "b.nii", "a.nii"]);
        let cases = group(&files, &four, true);
        assert_eq!((cases.len(), &cases[0].files), (1, &files));
        assert_eq!(group(&files, &four, false).len(), 4);
    }
}
