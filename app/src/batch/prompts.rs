//! What a batch asks for in words.

use std::io::Read;
use std::path::Path;

use models::{Manifest, Prompting};

use super::Batch;
use crate::failure::Usage;

/// Longest file of prompts.
const LIMIT: u64 = 1 << 20;

/// The prompts of a batch with those of its files, each once, in the order of naming; none for packs that are not told in
/// words what to mark.
///
/// # Errors
/// [`Usage`] for prompts without such a pack, and for such a pack without prompts or asked for what it cannot; I/O.
pub fn settled(batch: &Batch, manifest: &Manifest) -> anyhow::Result<Option<Prompting>> {
    let mut prompting = batch.prompting.clone();
    for list in &batch.prompt_lists {
        for line in read(list)?.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if !prompting.prompts.iter().any(|p| p == line) {
                prompting.prompts.push(line.to_owned());
            }
        }
    }
    let id = &manifest.id;
    let models::manifest::Output::Prompts(output) = &manifest.output else {
        let bare = Prompting { slices: prompting.slices, ..Prompting::default() };
        if prompting == bare {
            return Ok(None);
        }
        let why = format!(
            "--prompt, --prompts, --ask, --smooth and --keep-largest are for packs that are told in words what to mark, which “{id}” is not"
        );
        return Err(Usage(why).into());
    };
    if prompting.prompts.is_empty() {
        let some = output.suggestions.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let example = if some.is_empty() { "a dog, the grass".to_owned() } else { some };
        return Err(
            Usage(format!("“{id}” is told in words what to mark: give --prompt \"{example}\"")).into()
        );
    }
    if !output.tasks.contains(&prompting.asking) {
        let known: Vec<&str> = output.tasks.iter().map(|t| t.word()).collect();
        let asked = prompting.asking.word();
        return Err(
            Usage(format!("“{id}” cannot be asked for {asked}, only for {}", known.join(", "))).into()
        );
    }
    Ok(Some(prompting))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let file = std::fs::File::open(path).map_err(formats::Error::io(path, "open"))?;
    let mut text = String::new();
    let read = file.take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(formats::Error::io(path, "read"))?;
    if text.len() as u64 > LIMIT {
        let found = format!("more than {} MiB", LIMIT >> 20);
        return Err(formats::Error::malformed(path, found, "a list of prompts, one per line").into());
    }
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}
