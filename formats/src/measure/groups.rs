//! Named groups of labels, so that two labelling schemes can be compared structure by structure.

use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A side of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
}

impl Side {
    /// The side that a structure's name states (`"Left-Thalamus"`, `"ctx-rh-cuneus"`, `"kidney_right"`).
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let mut words = lower.split(|c: char| !c.is_alphanumeric());
        words.find_map(|w| match w {
            "left" | "lh" => Some(Self::Left),
            "right" | "rh" => Some(Self::Right),
            _ => None,
        })
    }
}

/// A set of label numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet(pub Vec<RangeInclusive<u16>>);

impl IdSet {
    /// Whether the number belongs to the set.
    #[must_use]
    pub fn contains(&self, id: u16) -> bool {
        self.0.iter().any(|r| r.contains(&id))
    }
}

impl From<u16> for IdSet {
    fn from(id: u16) -> Self {
        Self(vec![id..=id])
    }
}

/// One structure to compare. Groups may overlap (nested tumour regions do).
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Name in the report.
    pub name: String,
    /// Its numbers in the truth.
    pub truth: IdSet,
    /// Its numbers in the prediction.
    pub pred: IdSet,
    /// Its side, if it has one; the left/right confusion is counted over these.
    pub side: Option<Side>,
    /// The averages it takes part in.
    pub sets: Vec<String>,
}

/// A list of groups, read from TOML:
///
/// ```toml
/// [[group]]
/// name = "Left cortex"
/// ids = [3, "1000-1035"]   # in both; or `truth = […]` and `pred = […]`, each instead of `ids`
/// side = "left"            # optional
/// sets = ["sides"]         # optional; without it the group counts in the average "all"
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups(pub Vec<Group>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    group: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    ids: Option<Vec<Id>>,
    truth: Option<Vec<Id>>,
    pred: Option<Vec<Id>>,
    side: Option<Side>,
    sets: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    One(u16),
    Range(String),
}

impl Groups {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Malformed`] saying where.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        Self::parse(&text, path)
    }

    /// Reads text; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bad TOML, a group without ids, a range that is none, a number on both sides.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let malformed = |found: String, expected: &str| Error::Malformed {
            path: path.to_owned(),
            found,
            expected: expected.to_owned(),
            remedy: "Correct the file".to_owned(),
        };
        let file: File = toml::from_str(text)
            .map_err(|e| malformed(e.to_string().trim_end().to_owned(), "label groups"))?;
        if file.group.is_empty() {
            return Err(malformed("no [[group]]".into(), "at least one"));
        }
        let set = |ids: &[Id], name: &str| -> Result<IdSet> {
            ids.iter()
                .map(|id| match id {
                    Id::One(id) => Ok(*id..=*id),
                    Id::Range(text) => text
                        .split_once('-')
                        .and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)))
                        .filter(|(a, b)| a <= b)
                        .map(|(a, b)| a..=b)
                        .ok_or_else(|| {
                            malformed(
                                format!("the range “{text}” in group “{name}”"),
                                "\"first-last\" in 0–65535",
                            )
                        }),
                })
                .collect::<Result<_>>()
                .map(IdSet)
        };
        let mut groups = Vec::with_capacity(file.group.len());
        for e in &file.group {
            let pick = |own: &Option<Vec<Id>>| match own.as_ref().or(e.ids.as_ref()) {
                Some(ids) if !ids.is_empty() => set(ids, &e.name),
                _ => Err(malformed(format!("no numbers in group “{}”", e.name), "ids, or truth and pred")),
            };
            groups.push(Group {
                name: e.name.clone(),
                truth: pick(&e.truth)?,
                pred: pick(&e.pred)?,
                side: e.side,
                sets: e.sets.clone().unwrap_or_else(|| vec!["all".to_owned()]),
            });
        }
        let groups = Self(groups);
        for id in 1..=u16::MAX {
            if groups.sides(id, |g| &g.truth) == [true; 2] || groups.sides(id, |g| &g.pred) == [true; 2] {
                return Err(malformed(
                    format!("label {id} in a left and in a right group"),
                    "one side per label",
                ));
            }
        }
        Ok(groups)
    }

    /// Whether a number belongs to a left group, and to a right one.
    fn sides(&self, id: u16, set: impl Fn(&Group) -> &IdSet) -> [bool; 2] {
        [Side::Left, Side::Right].map(|s| self.0.iter().any(|g| g.side == Some(s) && set(g).contains(id)))
    }

    /// The side of a number, by the first group with a side that holds it.
    pub(super) fn side(&self, id: u16, set: impl Fn(&Group) -> &IdSet) -> Option<Side> {
        self.0.iter().find(|g| g.side.is_some() && set(g).contains(id)).and_then(|g| g.side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_sides_and_defaults() {
        let text = r#"
            [[group]]
            name = "Left cortex"
            truth = [3, "11100-11175"]
            pred = [3]
            side = "left"
            [[group]]
            name = "Brain-stem"
            ids = [16]
            sets = ["a", "b"]
        "#;
        let groups = Groups::parse(text, Path::new("g.toml")).unwrap();
        assert!(groups.0[0].truth.contains(11_175) && !groups.0[0].pred.contains(11_175));
        assert_eq!(groups.side(3, |g| &g.truth), Some(Side::Left));
        assert_eq!((groups.0[0].sets.as_slice(), groups.0[1].sets.len()), (["all".to_owned()].as_slice(), 2));
    }

    #[test]
    fn mistakes_are_named() {
        for (bad, said) in [
            ("[[group]]\nname='x'\nids=['5-3']", "5-3"),
            ("[[group]]\nname='x'", "no numbers"),
            ("", "no [[group]]"),
            ("[[group]]\nname='x'\nids=[70000]", "line 3"),
            (
                "[[group]]\nname='l'\nids=[7]\nside='left'\n[[group]]\nname='r'\nids=[7]\nside='right'",
                "label 7",
            ),
        ] {
            let error = Groups::parse(bad, Path::new("g.toml")).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_shipped_groups_are_the_structures_they_name() {
        let text = include_str!("../../../assets/eval/brain14.toml");
        let groups = Groups::parse(text, Path::new("brain14.toml")).unwrap();
        let members = |set: &str| groups.0.iter().filter(|g| g.sets.iter().any(|s| s == set)).count();
        assert_eq!([members("pooled"), members("sides"), members("pooled14")], [10, 19, 14]);
        assert_eq!(groups.side(11_130, |g| &g.truth), Some(Side::Left));
        assert_eq!(groups.side(12_130, |g| &g.truth), Some(Side::Right));
    }

    #[test]
    fn names_state_sides() {
        assert_eq!(Side::of_name("Left-Thalamus-Proper"), Some(Side::Left));
        assert_eq!(Side::of_name("ctx_rh_G_cuneus"), Some(Side::Right));
        assert_eq!(Side::of_name("kidney_right"), Some(Side::Right));
        assert_eq!(Side::of_name("Cleft palate, brightness"), None);
    }
}
