//! Weights under their official paths, handed to the graph while it notes which it asked for: the list of what a
//! configuration needs is what building it asks for, so the two cannot differ.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::checkpoint::{Checkpoint, NamedTensor};
use crate::error::{Error, Result};

/// Names listed in one message before it ends with a count.
const LISTED: usize = 20;

/// Where the graph gets its numbers from.
pub struct Weights<'a> {
    /// Tensors by path; none while only the list of names is wanted.
    found: Option<HashMap<&'a str, &'a NamedTensor>>,
    asked: RefCell<Vec<(String, Vec<usize>)>>,
}

impl<'a> Weights<'a> {
    /// Gives zeros, to learn what is asked for.
    pub fn listing() -> Self {
        Self { found: None, asked: RefCell::default() }
    }

    /// Gives what a checked checkpoint holds.
    pub fn of(checkpoint: &'a Checkpoint) -> Self {
        let found = checkpoint.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        Self { found: Some(found), asked: RefCell::default() }
    }

    /// Values of `path` in double precision, row-major in `shape`.
    pub fn get(&self, path: &str, shape: &[usize]) -> Vec<f64> {
        let Some(found) = &self.found else {
            self.asked.borrow_mut().push((path.to_owned(), shape.to_vec()));
            return vec![0.0; shape.iter().product()];
        };
        // `check` made sure of names and shapes.
        found.get(path).map(|t| t.data.iter().map(|&v| f64::from(v)).collect()).unwrap_or_default()
    }

    /// Values of `path` as they are stored; none while only the list is wanted, so that it costs nothing.
    pub fn stored(&self, path: &str, shape: &[usize]) -> &'a [f32] {
        let Some(found) = &self.found else {
            self.asked.borrow_mut().push((path.to_owned(), shape.to_vec()));
            return &[];
        };
        found.get(path).map_or(&[], |t| t.data.as_slice())
    }

    /// What was asked for: each path once, in the order of asking.
    pub fn asked(&self) -> Vec<(String, Vec<usize>)> {
        let mut seen = HashSet::new();
        self.asked.borrow().iter().filter(|(name, _)| seen.insert(name.clone())).cloned().collect()
    }
}

/// Compares a checkpoint with the tensors that a configuration of `network` needs; `is_idle` tells which others may be
/// there, being of no use when the network runs.
///
/// # Errors
/// [`Error::Checkpoint`] listing every tensor that is missing, superfluous, of another shape or not finite.
pub fn check(
    network: &str,
    expected: &[(String, Vec<usize>)],
    checkpoint: &Checkpoint,
    is_idle: impl Fn(&str) -> bool,
) -> Result<()> {
    let found: HashMap<&str, &NamedTensor> =
        checkpoint.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
    let (mut missing, mut misshapen, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
    for (name, shape) in expected {
        match found.get(name.as_str()) {
            None => missing.push(name.clone()),
            Some(t) if t.shape != *shape => {
                misshapen.push(format!("{name} {:?} instead of {shape:?}", t.shape));
            }
            Some(t) if t.data.iter().any(|v| !v.is_finite()) => unusable.push(name.clone()),
            Some(_) => {}
        }
    }
    let known: HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let superfluous: Vec<String> = checkpoint
        .tensors
        .iter()
        .filter(|t| !known.contains(t.name.as_str()) && !is_idle(&t.name))
        .map(|t| format!("{} {:?}", t.name, t.shape))
        .collect();
    let complaints: Vec<String> = [
        ("missing", missing),
        ("of another shape", misshapen),
        ("superfluous", superfluous),
        ("with values that are not finite", unusable),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| {
        let rest = names.len().saturating_sub(LISTED);
        let shown = names[..names.len() - rest].join(", ");
        let tail = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        format!("{} {what}: {shown}{tail}", names.len())
    })
    .collect();
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Error::checkpoint(
        &checkpoint.path,
        format!("tensors {}", complaints.join("; ")),
        format!("the {} tensors of the chosen {network} configuration", expected.len()),
        "Choose the variant the weights were trained with, or other weights",
    ))
}
