//! Which DICOM series of a study is which channel of a pack: by what the user says of their descriptions or numbers. Files
//! of other formats say it with their names (see [`models::cases`]).

use std::sync::Arc;

use formats::dicom::{Series, Stack, Study, Tree};
use models::Manifest;
use serde::{Deserialize, Serialize};

use super::cases::{CaseFiles, is_volume};
use crate::failure::Usage;

/// `NAME=TEXT`: a series is channel NAME when its description holds TEXT (case does not matter), or when TEXT is its name in
/// `insula info`; a whole number is the series number. Where several rules fit a series the longest text wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRule {
    /// Name of the channel in the pack; case does not matter.
    pub channel: String,
    /// What is looked for.
    pub text: String,
}

impl std::str::FromStr for ChannelRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=').map(|(channel, text)| (channel.trim(), text.trim())) {
            Some((channel, text)) if !channel.is_empty() && !text.is_empty() => {
                Ok(Self { channel: channel.to_owned(), text: text.to_owned() })
            }
            _ => Err("expected NAME=TEXT, e.g. T1gd=\"T1 post\"".to_owned()),
        }
    }
}

impl std::fmt::Display for ChannelRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.channel, self.text)
    }
}

impl ChannelRule {
    fn fits(&self, series: &Series, stack: &Stack) -> bool {
        if let Ok(number) = self.text.parse::<i64>() {
            return series.number == Some(number);
        }
        series.description.to_lowercase().contains(&self.text.to_lowercase())
            || crate::dicom::stack_name(series, stack) == self.text
    }
}

/// One case per study in which at least one series is a channel; a study that lacks a channel, or has two series for
/// one, is a case that fails and says so.
///
/// # Errors
/// [`Usage`] when a rule names no channel of the pack, or a channel has no rule.
pub fn of_studies(tree: &Tree, manifest: &Manifest, rules: &[ChannelRule]) -> Result<Vec<CaseFiles>, Usage> {
    let names: Vec<&str> = manifest.input.channels.iter().map(|c| c.name.as_str()).collect();
    let number = |rule: &ChannelRule| names.iter().position(|n| n.eq_ignore_ascii_case(&rule.channel));
    if let Some(rule) = rules.iter().find(|r| number(r).is_none()) {
        let (id, names) = (&manifest.id, names.join(", "));
        return Err(Usage(format!("--channel {rule}: the pack {id} has no such channel; it has {names}")));
    }
    if let Some(missing) = (0..names.len()).find(|n| !rules.iter().any(|r| number(r) == Some(*n))) {
        let name = names[missing];
        return Err(Usage(format!("no --channel says which series is {name}; give --channel {name}=TEXT")));
    }
    let channel_of = |series: &Series, stack: &Stack| {
        let fitting = rules.iter().filter(|r| r.fits(series, stack));
        fitting.max_by_key(|r| r.text.len()).and_then(number)
    };
    let studies = tree.patients.iter().flat_map(|p| &p.studies);
    Ok(studies.filter_map(|study| of_study(study, &names, channel_of)).collect())
}

fn of_study(
    study: &Study,
    names: &[&str],
    channel_of: impl Fn(&Series, &Stack) -> Option<usize>,
) -> Option<CaseFiles> {
    let mut found: Vec<Vec<(&Series, &Stack)>> = vec![Vec::new(); names.len()];
    for series in &study.series {
        for stack in series.stacks.iter().filter(|s| is_volume(s)) {
            if let Some(channel) = channel_of(series, stack).and_then(|n| found.get_mut(n)) {
                channel.push((series, stack));
            }
        }
    }
    let (_, first) = found.iter().flatten().next()?;
    let modality = first.modality.to_lowercase();
    let mut problems = Vec::new();
    for (name, found) in names.iter().zip(&found) {
        match found.as_slice() {
            [_] => {}
            [] => problems.push(format!("no series is {name}")),
            several => {
                let several: Vec<String> =
                    several.iter().map(|(s, k)| crate::dicom::stack_name(s, k)).collect();
                problems.push(format!("{} series are {name}: {}", several.len(), several.join(", ")));
            }
        }
    }
    let problem = (!problems.is_empty()).then(|| {
        format!(
            "{}; --channel takes a longer text, a series number, or a name as `insula info` lists it",
            problems.join("; ")
        )
    });
    let stacks = found.into_iter().flatten().map(|(_, stack)| Arc::new(stack.clone())).collect();
    let name = format!("{modality}-{}", crate::dicom::short_hash(&study.uid));
    Some(CaseFiles { name, problem, ..CaseFiles::of_stacks(stacks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        let rule: ChannelRule = "t1ce = T1 post, fat=sat ".parse().unwrap();
        assert_eq!((rule.channel.as_str(), rule.text.as_str()), ("t1ce", "T1 post, fat=sat"));
        assert_eq!(rule.to_string().parse::<ChannelRule>().unwrap(), rule);
        for bad in ["t1ce", "=T1", "t1ce=", ""] {
            assert!(bad.parse::<ChannelRule>().is_err(), "{bad}");
        }
    }
}
