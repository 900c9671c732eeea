//! Prompters: networks that are told in words what to mark. X-Decoder is the architecture their importer knows.
//!
//! The steps, for each slice of a volume or for a picture:
//!
//! 1. it becomes a picture of the size the network was trained on ([`picture`]);
//! 2. the picture is looked at once, and every prompt answered from that look ([`Prompter`]): a mask, and the probability
//!    that the thing is there at all. Below the pack's threshold the answer is "not found";
//! 3. masks go back onto the very pixels of the slice, and slices into a volume (`work`).
//!
//! # Two kinds of packs
//! * With `axes = "stored"`, for photographs: pictures go in whole, their shorter side resized to the tile's, by the rule of
//!   the official demonstrations. Slices of scans are shown to them as people see them, and a notice says that the
//!   network knows photographs.
//! * With axes and a spacing, for slices of scans: each slice is resampled in its plane to the tile, a grid of that spacing
//!   centred on the image's content, rows and columns growing in the directions of the axes: with `"SAR"` axial slices
//!   have rows to the front and columns to the right, coronal rows up and columns to the right, sagittal rows up and columns
//!   to the front. Intensities: the 1st and 99.5th percentiles of the slice's pixels other than 0 become 0 and 255.
//!
//! # Volumes
//! They are put together of slices, each answered by itself, and so approximate. Where slices are thin, a prompt counts as
//! found on a slice when two of the slice and its neighbours say so; masks can be smoothed in three dimensions and kept to
//! their largest part. Every result lies on the grid of the image.

mod classes;
mod opened;
pub mod picture;
mod settings;
pub mod slice;
mod work;

use std::time::Instant;

use formats::{LabelEntry, LabelMap, LabelTable, Meta, Notice, Task, Volume, Voxels};
use inference::engine::Engine;
use inference::net::{Net, Nets};

use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Slices, Strategy, Timings, channel_count,
    of_another_family,
};
use crate::manifest::{self, Manifest, Role, STORED, Spacing};
use crate::pack::ModelPack;
use crate::xdecoder::{MULTIPLE, Part};

pub use opened::{Answer, Classified, Prompter, Seen};
pub use picture::{Frame, Picture};
pub use settings::{Asking, Found, Present, Prompting, Vocabulary};
pub use slice::{Candidate, SliceFind};

/// Most prompts of a case.
const MOST_PROMPTS: usize = 1000;
/// What the runtime takes per pixel of a picture and channel of the pixel decoder when the manifest does not say.
const RUNTIME_BYTES: u64 = 8;

/// The family of prompters.
pub struct PromptFamily;

/// A case whose slices are settled.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    volume: Volume,
    prompting: Prompting,
    frames: Vec<Frame>,
    notices: Vec<Notice>,
    timings: Timings,
    estimated_bytes: u64,
}

/// A case after the network.
#[derive(Debug)]
pub struct Scored {
    case: Prepared,
    work: work::Work,
}

impl Prepared {
    /// The grid of the image.
    #[must_use]
    pub fn grid(&self) -> formats::Grid {
        self.volume.grid
    }
}

/// Whether a pack knows photographs rather than scans.
#[must_use]
pub fn knows_photographs(m: &Manifest) -> bool {
    m.input.axes == STORED
}

/// Whether a pack for photographs is about to be shown a scan.
#[must_use]
pub fn is_scan(volume: &Volume) -> bool {
    let is_picture = matches!(
        volume.voxels,
        Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_) | Voxels::Rgb16(_) | Voxels::Rgba16(_)
    );
    !is_picture || !volume.grid.size_ijk.contains(&1)
}

/// The axes (0 = i) that slices are taken across. Without a choice: of an image that is one voxel thick, that one; of
/// thick slices, the axis with the largest spacing; else the axis nearest to the body's, since sagittal slices do not
/// tell left from right.
fn axes(volume: &Volume, m: &Manifest, slices: Slices) -> Vec<usize> {
    let grid = &volume.grid;
    if let Some(thin) = [2, 1, 0].into_iter().find(|&a| grid.size_ijk[a] == 1) {
        return vec![thin];
    }
    let source = grid.order_to_ras().source;
    match slices {
        Slices::I => vec![0],
        Slices::J => vec![1],
        Slices::K => vec![2],
        Slices::All if knows_photographs(m) => vec![2, 1, 0],
        Slices::All => vec![source[2], source[1]],
        Slices::Auto => {
            let mm = grid.spacing_mm();
            let thick = (0..3).fold(source[2], |best, a| if mm[a] > mm[best] * 1.5 { a } else { best });
            vec![thick]
        }
    }
}

/// The frames of an image, for previews and for whole runs.
#[must_use]
pub fn frames(m: &Manifest, volume: &Volume, slices: Slices) -> Vec<Frame> {
    let looked = crate::segmenter::values::look(volume, &m.crop);
    let whole = [[0; 3], volume.grid.size_ijk.map(|n| n.max(1) - 1)];
    let content = looked.foreground.unwrap_or(whole);
    axes(volume, m, slices).into_iter().map(|a| Frame::new(m, &volume.grid, a, content)).collect()
}

impl Family for PromptFamily {
    fn id(&self) -> &'static str {
        "xdecoder"
    }

    fn name(&self) -> &'static str {
        "masks of what is told in words (X-Decoder)"
    }

    fn fault(&self, m: &Manifest) -> Option<(String, String)> {
        let wrong = |found: String, expected: &str| Some((found, expected.to_owned()));
        let manifest::Output::Prompts(output) = &m.output else {
            return wrong(
                "another output".to_owned(),
                "activation = “prompts”: this family is told what to mark",
            );
        };
        if output.tasks.is_empty() {
            return wrong("no tasks".to_owned(), "one of phrases, semantic, panoptic, instances");
        }
        if output.suggestions.len() > 10_000 {
            return wrong(format!("{} suggestions", output.suggestions.len()), "at most 10000");
        }
        if let Some(p) = output.present
            && !(p.slope.is_finite() && p.offset.is_finite() && (0.0..=1.0).contains(&p.threshold))
        {
            return wrong(format!("present = {p:?}"), "finite numbers and a threshold from 0 to 1");
        }
        let [d, h, w] = m.tiles.patch;
        let is_padded = knows_photographs(m);
        let fits = is_padded || [h, w].iter().all(|n| n.is_multiple_of(MULTIPLE));
        if d != 1 || !fits {
            let expected = "[1, height, width], for scans with multiples of 32";
            return wrong(format!("patch = {:?}", m.tiles.patch), expected);
        }
        let spacing_fits = match m.input.spacing_mm {
            Spacing::Native => m.input.axes == STORED,
            Spacing::Mm([a, b, c]) => m.input.axes != STORED && a == b && b == c,
        };
        if !spacing_fits {
            return wrong(
                format!("axes = “{}” with spacing_mm = {:?}", m.input.axes, m.input.spacing_mm),
                "axes = “stored” without a spacing (photographs), or directions with one spacing for all axes (scans)",
            );
        }
        if m.input.channels.len() != 1 || !m.intensity.is_empty() || !m.labels.is_empty() {
            return wrong(
                "several channels, intensity steps or labels".to_owned(),
                "one channel and none of the others: labels are what is asked for",
            );
        }
        let mut wanted = vec![Part::Text, Part::Image];
        if output.tasks.contains(&Asking::Phrases) {
            wanted.push(Part::Ground);
        }
        if output.tasks.iter().any(|t| *t != Asking::Phrases) {
            wanted.push(Part::Segment);
        }
        if let Some(part) = wanted.into_iter().find(|part| !m.networks().any(|f| f.part == part.name())) {
            return wrong(
                format!("no network of the part “{}”", part.name()),
                "one, since the tasks need it",
            );
        }
        let vocabularies = m.files.iter().filter(|f| f.role == Role::Vocabulary).count();
        (vocabularies != 1)
            .then(|| (format!("{vocabularies} files with role = “vocabulary”"), "exactly one".to_owned()))
    }

    fn fits(&self, _: &ModelPack, _: &Nets) -> Result<()> {
        // `Prompter::with_nets` has looked.
        Ok(())
    }

    fn load(&self, pack: &ModelPack, engine: &Engine, task: &Task) -> Result<Nets> {
        let prompter: Box<dyn Net> = Box::new(Prompter::open(pack, engine, task)?);
        Ok(prompter.into())
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        let m = &pack.manifest;
        let volume = check_case(m, case)?;
        let axes = axes(volume, m, case.prompting.slices);
        let memory_bytes = memory(m, case, axes.len());
        let available_bytes = available(memory_bytes, limits)?;
        Ok(Estimate {
            memory_bytes,
            available_bytes,
            strategy: Strategy::Whole { batch: 1 },
            tiles: axes.iter().map(|&a| volume.grid.size_ijk[a]).sum(),
            source: volume.grid,
            working: volume.grid,
            notices: remarks(m, volume, case),
        })
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<family::Prepared> {
        let start = Instant::now();
        let m = &pack.manifest;
        task.at("Preparing", 0.0)?;
        let volume = check_case(m, &case)?;
        let frames = frames(m, volume, case.prompting.slices);
        let estimated_bytes = memory(m, &case, frames.len());
        available(estimated_bytes, limits)?;
        let mut notices = remarks(m, volume, &case);
        if let Some([rows, columns]) = frames.iter().find_map(Frame::cut) {
            notices.push(Notice::warning(
                "outside-view",
                format!(
                    "The network sees the middle {:.0} × {:.0} % of what is not background on a slice; nothing is found \
                     outside.",
                    100.0 * rows,
                    100.0 * columns
                ),
            ));
        }
        let Case { name, channels, prompting, .. } = case;
        let volume = channels.into_iter().next().ok_or_else(|| channel_count(&name, 0, m))?;
        let mut timings = Timings::default();
        timings.add("prepare", start);
        let case = Prepared { name, volume, prompting, frames, notices, timings, estimated_bytes };
        Ok(family::Prepared::Prompter(Box::new(case)))
    }

    fn infer(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        nets: &mut Nets,
        task: &Task,
    ) -> Result<family::Scored> {
        let start = Instant::now();
        let family::Prepared::Prompter(case) = prepared else { return Err(of_another_family(pack.id())) };
        let mut case = *case;
        let prompter = nets.first_mut().as_any().and_then(|net| net.downcast_mut::<Prompter>());
        let prompter = prompter.ok_or_else(|| of_another_family(pack.id()))?;
        let mut work = work::Work::new(&case.volume, &case.prompting);
        for (n, frame) in case.frames.iter().enumerate() {
            let turn = [n, case.frames.len()];
            work.look(prompter, &case.volume, frame, &case.prompting, turn, task)?;
        }
        case.timings.add("infer", start);
        Ok(family::Scored::Prompter(Box::new(Scored { case, work })))
    }

    fn finish(&self, pack: &ModelPack, scored: family::Scored, task: &Task) -> Result<Finished> {
        let start = Instant::now();
        let family::Scored::Prompter(scored) = scored else { return Err(of_another_family(pack.id())) };
        let Scored { mut case, work } = *scored;
        let (tiles, names) = (work.looked, work.names.clone());
        let (labels, found, contested) = work.labels(&case.volume, &case.prompting, task)?;
        if contested > 0 {
            case.notices.push(Notice::info(
                "contested-voxels",
                format!("{contested} voxels belong to several prompts; the more certain one has them."),
            ));
        }
        if found.iter().all(|f| !f.is_found) {
            case.notices.push(Notice::info("nothing-found", "Nothing of what was asked for was found."));
        }
        let names = if names.is_empty() { case.prompting.prompts.clone() } else { names };
        let table = table(&names);
        let m = &pack.manifest;
        let source = &case.volume.meta;
        let mut meta = Meta {
            description: format!("{} {}", m.id, m.version),
            affine_source: source.affine_source,
            nifti_codes: source.nifti_codes,
            labels: Some(table.clone()),
            ..Meta::default()
        };
        if !case.volume.grid.size_ijk.contains(&1) {
            meta.facts.insert("approximate".to_owned(), "put together of slices".to_owned());
        }
        case.timings.add("finish", start);
        let map = LabelMap { labels: labels.into_shared(), grid: case.volume.grid, table, meta };
        Ok(Finished {
            name: case.name,
            output: Output::Labels(map),
            found,
            notices: case.notices,
            timings: case.timings,
            tiles,
            estimated_bytes: case.estimated_bytes,
        })
    }
}

/// A row per name, numbered from 1, each with a colour of its own.
#[must_use]
pub fn table(names: &[String]) -> LabelTable {
    let colours = LabelTable::default();
    let row = |(n, name): (usize, &String)| {
        let id = work::label(n);
        LabelEntry::new(id, name.clone(), colours.rgb(id))
    };
    LabelTable { entries: names.iter().enumerate().map(row).collect() }
}

/// One image, and prompts that the pack can be asked.
fn check_case<'a>(m: &Manifest, case: &'a Case) -> Result<&'a Volume> {
    let [volume] = &case.channels[..] else {
        return Err(channel_count(&case.name, case.channels.len(), m));
    };
    let fail = |why: String| Err(Error::Argument(format!("{}: {why}", case.name)));
    let Prompting { prompts, asking, .. } = &case.prompting;
    if prompts.is_empty() {
        return fail(format!("“{}” is told in words what to mark, and there are none. Give prompts", m.id));
    }
    if prompts.len() > MOST_PROMPTS {
        return fail(format!("{} prompts; at most {MOST_PROMPTS} are answered at once", prompts.len()));
    }
    if let manifest::Output::Prompts(output) = &m.output
        && !output.tasks.contains(asking)
    {
        let known: Vec<&str> = output.tasks.iter().map(|t| t.word()).collect();
        return fail(format!(
            "“{}” cannot be asked for {}, only for {}",
            m.id,
            asking.word(),
            known.join(", ")
        ));
    }
    if matches!(volume.voxels, Voxels::Complex32(_) | Voxels::Complex64(_)) {
        return fail("complex values are no picture. Save the magnitude first".to_owned());
    }
    let is_flat = volume.grid.size_ijk.contains(&1);
    if !is_flat && matches!(asking, Asking::Panoptic | Asking::Instances) {
        return fail(format!("{} are for pictures and single slices, and this is a volume", asking.word()));
    }
    Ok(volume)
}

fn remarks(m: &Manifest, volume: &Volume, case: &Case) -> Vec<Notice> {
    let mut notices = case.notices.clone();
    if knows_photographs(m) && is_scan(volume) {
        notices.push(Notice::warning(
            "photographs-only",
            format!("“{}” learnt from photographs; what it marks in scans is a guess at best.", m.name),
        ));
    }
    if !volume.grid.size_ijk.contains(&1) {
        let axes = axes(volume, m, case.prompting.slices);
        let names: Vec<&str> = axes.iter().map(|&a| ["i", "j", "k"][a]).collect();
        notices.push(Notice::info(
            "slices-approximate",
            format!("Looked at slice by slice across {}; the volume is approximate.", names.join(" and ")),
        ));
        if !knows_photographs(m) && axes.contains(&volume.grid.order_to_ras().source[0]) {
            notices.push(Notice::warning(
                "sagittal",
                "Sagittal slices do not tell left from right: do not ask for a side there.",
            ));
        }
    }
    notices
}

/// Bytes needed at the peak, beyond the image.
fn memory(m: &Manifest, case: &Case, frames: usize) -> u64 {
    let voxels: u64 = case.channels.iter().map(|v| v.grid.voxel_count() as u64).sum();
    let [_, h, w] = m.tiles.patch;
    let convs = m.network.get("convs_dim").and_then(toml::Value::as_integer).unwrap_or(512);
    let pixels = (h * w) as u64 * if knows_photographs(m) { 2 } else { 1 };
    let runtime = pixels * RUNTIME_BYTES * u64::try_from(convs).unwrap_or(512);
    let runtime = m.tiles.memory_mib.map_or(runtime, |mib| mib << 20);
    let per_voxel = match case.prompting.asking {
        // Certainties (once more for each axis apart), labels, the largest certainty, sums of smoothing.
        Asking::Phrases => case.prompting.prompts.len() as u64 * if frames > 1 { 2 } else { 1 } + 6,
        _ => 2,
    };
    let slice = case.channels.first().map_or(0, |v| {
        v.grid.size_ijk.iter().map(|&n| n as u64).product::<u64>()
            / v.grid.size_ijk.iter().min().map_or(1, |&n| n.max(1) as u64)
    });
    (voxels * 4).max(voxels * per_voxel + slice * 16) + runtime
}

fn available(needed: u64, limits: Limits) -> Result<u64> {
    let available = limits.usable_bytes();
    if needed <= available {
        return Ok(available);
    }
    Err(inference::Error::Memory {
        needed_bytes: needed,
        available_bytes: available,
        remedy: "Ask for fewer things at once, cut the image, or use a computer with more memory".to_owned(),
    }
    .into())
}
