//! Prompts on a thread of their own: what is asked of a slice, and how its masks become labels.

use std::collections::BTreeMap;

use anyhow::Context as _;
use formats::{Grid, LabelEntry, LabelTable, Shared, Task};
use models::Slices;
use models::prompter::slice::{INSIDE, find_in_slice};
use models::prompter::{Prompter, SliceFind, frames};
use ndarray::Axis;
use viewer::LayerId;
use viewer::tools::{EditBuilder, LabelEdit};

use super::super::work::{Loaded, Product, Run};

/// Answers to phrases asked of a slice.
#[derive(Debug)]
pub struct FoundHere {
    /// The layer that was looked at.
    pub source: LayerId,
    /// Its grid.
    pub grid: Grid,
    /// The axis across, 0 = i.
    pub across: usize,
    /// The slice.
    pub index: usize,
    /// The pack's name.
    pub pack: String,
    /// One per phrase.
    pub finds: Vec<SliceFind>,
    /// Seconds in all.
    pub seconds: f64,
}

impl Run {
    /// Asks the phrases of the slice through a place of the world, across the axis that `slices` says.
    ///
    /// # Errors
    /// Those of the runtime, the pack and the run.
    pub fn find_here(
        self,
        key: &str,
        cursor_ras: [f64; 3],
        slices: Slices,
        loaded: &Loaded,
        task: &Task,
    ) -> anyhow::Result<Product> {
        let began = std::time::Instant::now();
        let volume = self.channels.first().context("there is no image to look at")?.clone();
        let prompts = self.prompting.prompts.clone();
        task.at("looking at the values", 0.0)?;
        let frame = frames(&self.pack.manifest, &volume, slices).into_iter().next();
        let frame = frame.context("the image has no slices")?;
        let at = volume.grid.voxel_from_world().context("the image has no place in the world")?;
        let count = volume.grid.size_ijk[frame.across];
        let index = at.apply(cursor_ras)[frame.across].round().clamp(0.0, (count.max(1) - 1) as f64) as usize;
        let key = format!("{key} {} {index}", frame.across);
        let finds = self.on(loaded, task, |_, pipeline| {
            let prompter = pipeline.net().as_any().and_then(|net| net.downcast_mut::<Prompter>());
            let prompter = prompter.context("this pack is not told in words what to mark")?;
            Ok(find_in_slice(prompter, &key, &frame, &volume, index, &prompts, task)?)
        })?;
        Ok(Product::FoundHere(Box::new(FoundHere {
            source: self.source,
            grid: volume.grid,
            across: frame.across,
            index,
            pack: self.pack.manifest.name.clone(),
            finds,
            seconds: began.elapsed().as_secs_f64(),
        })))
    }
}

/// The numbers of phrases in a table: of rows of that name, else free ones; and the table with rows for all.
pub fn numbered(table: &LabelTable, finds: &[SliceFind]) -> (Vec<u16>, LabelTable) {
    let mut new = table.clone();
    let mut ids = Vec::with_capacity(finds.len());
    for find in finds {
        let known = new.entries.iter().find(|e| e.name == find.prompt).map(|e| e.id);
        let id = known.unwrap_or_else(|| {
            let free = (1..u16::MAX).find(|id| new.get(*id).is_none()).unwrap_or(u16::MAX);
            let rgb = new.rgb(free);
            new.entries.push(LabelEntry::new(free, find.prompt.clone(), rgb));
            free
        });
        ids.push(id);
    }
    (ids, new)
}

/// The edit that marks a slice with the chosen candidates: of phrases that claim a pixel, the more certain one gets it;
/// what these phrases marked there before goes. Phrases that were not found mark nothing, unless a candidate was chosen.
pub fn marked(
    labels: &Shared<u16>,
    found: &FoundHere,
    ids: &[u16],
    chosen: &BTreeMap<String, usize>,
) -> LabelEdit {
    let shape = labels.dim();
    let axis = Axis(2 - found.across);
    let masks: Vec<_> = found
        .finds
        .iter()
        .zip(ids)
        .filter_map(|(find, &id)| {
            let choice = chosen.get(&find.prompt).copied();
            let n = choice.or(find.is_found.then_some(0))?;
            Some((id, &find.candidates.get(n)?.certain))
        })
        .collect();
    let decide = |at: [usize; 2], old: u16| {
        let best = masks
            .iter()
            .map(|(id, certain)| (certain.get(at).copied().unwrap_or(0), *id))
            .filter(|(certain, _)| *certain >= INSIDE)
            .max_by_key(|(certain, _)| *certain);
        match best {
            Some((_, id)) => id,
            None if ids.contains(&old) => 0,
            None => old,
        }
    };
    let mut builder = EditBuilder::new(labels);
    let (_, nj, ni) = shape;
    match axis.index() {
        0 => {
            let k = found.index;
            for j in 0..nj {
                builder.paint((k * nj + j) * ni, ni, |i, old| decide([j, i], old));
            }
        }
        1 => {
            let j = found.index;
            for k in 0..shape.0 {
                builder.paint((k * nj + j) * ni, ni, |i, old| decide([k, i], old));
            }
        }
        _ => {
            let i = found.index;
            for k in 0..shape.0 {
                for j in 0..nj {
                    builder.paint((k * nj + j) * ni + i, 1, |_, old| decide([k, j], old));
                }
            }
        }
    }
    builder.finish()
}
