//! Text in pictures and slices as results of a batch or of the window.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use formats::{Grid, Notice, Task, Volume};
use inference::net::{Nets, Port};
use sha2::{Digest, Sha256};

use super::config::{Config, SIZE_MULTIPLE};
use super::detector::Detector;
use super::passes::{Line, Passes, TextSettings, find_lines};
use super::picture::Slices;
use super::{PARTS, expected_ports};
use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Strategy, Timings, channel_count, describe_ports,
    of_another_family,
};
use crate::manifest::{self, CropKind, Manifest, STORED, Spacing};
use crate::pack::ModelPack;

/// The family of text finders.
pub struct TextFinder;

/// Text of an image, slice by slice.
#[derive(Clone, Debug)]
pub struct TextFound {
    /// The grid of the image; lines lie in its slices, x along i and y along j.
    pub grid: Grid,
    /// Every slice, in order.
    pub pages: Vec<Page>,
    /// How it was searched, and provenance.
    pub facts: BTreeMap<String, String>,
}

/// Text of one slice.
#[derive(Clone, Debug)]
pub struct Page {
    /// Slice index k, from 0.
    pub slice: usize,
    /// Lines, best first.
    pub lines: Vec<Line>,
}

/// A case that was looked at.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    volume: Volume,
    notices: Vec<Notice>,
    timings: Timings,
    estimated_bytes: u64,
}

/// A case after the network.
#[derive(Debug)]
pub struct Scored {
    case: Prepared,
    pages: Vec<Page>,
    tiles: usize,
}

impl Prepared {
    /// The grid of the image.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.volume.grid
    }
}

/// Settings and configuration of a pack of this family.
///
/// # Errors
/// [`Error::Pack`] for a pack of another kind.
pub fn settings(pack: &ModelPack) -> Result<(TextSettings, Config)> {
    let wrong = |found: String| {
        let expected = "a text finder with its [network] and [output] sections";
        Error::pack(&pack.place(), found, expected, "Choose a pack that finds text")
    };
    let manifest::Output::Text(settings) = pack.manifest.output else {
        return Err(wrong(format!("a pack of the family “{}”", pack.manifest.family)));
    };
    let config: Config = pack
        .manifest
        .network
        .clone()
        .try_into()
        .map_err(|e: toml::de::Error| wrong(e.to_string().replace('\n', " ")))?;
    Ok((settings, config))
}

impl Family for TextFinder {
    fn id(&self) -> &'static str {
        "mayor"
    }

    fn name(&self) -> &'static str {
        "lines of text in pictures and slices (MAYOR)"
    }

    fn fault(&self, m: &Manifest) -> Option<(String, String)> {
        let wrong = |found: String, expected: &str| Some((found, expected.to_owned()));
        let manifest::Output::Text(settings) = &m.output else {
            return wrong(
                "another output".to_owned(),
                "activation = “text”: this family answers with lines of text",
            );
        };
        if let Some(fault) = m.parts_fault(&PARTS).or_else(|| settings.fault()) {
            return Some(fault);
        }
        if m.input.channels.len() != 1
            || m.input.axes != STORED
            || m.input.spacing_mm != Spacing::Native
            || m.crop.kind != CropKind::None
            || !m.intensity.is_empty()
            || !m.labels.is_empty()
        {
            return wrong(
                "several channels, axes, a spacing, a crop, intensity steps or labels".to_owned(),
                "one channel, axes = “stored” and none of the others: pictures are seen as they are",
            );
        }
        let config: std::result::Result<Config, _> = m.network.clone().try_into();
        match config {
            Ok(config) => {
                config.validate().err().map(|e| (e.to_string(), "sizes of a text finder".to_owned()))
            }
            Err(e) => wrong(e.to_string().replace('\n', " "), "a [network] section of MAYOR"),
        }
    }

    fn fits(&self, pack: &ModelPack, nets: &Nets) -> Result<()> {
        let (_, config) = settings(pack)?;
        for part in PARTS {
            let net = nets.part(part)?;
            let [inputs, outputs] = expected_ports(part, &config);
            let agrees = |found: &[Port], wanted: &[(String, Vec<Option<usize>>)]| {
                found.len() == wanted.len()
                    && found.iter().zip(wanted).all(|(f, (name, dims))| {
                        f.name == *name
                            && f.dims.len() == dims.len()
                            && f.dims.iter().zip(dims).all(|(f, w)| f.is_none() || w.is_none() || f == w)
                    })
            };
            if !agrees(net.inputs(), &inputs) || !agrees(net.outputs(), &outputs) {
                let found = [describe_ports(net.inputs()), describe_ports(net.outputs())].join(" → ");
                let names =
                    |ports: &[(String, _)]| ports.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::pack(
                    &pack.place(),
                    format!("a graph “{part}” of {found}"),
                    format!(
                        "{} → {} with the sizes of the [network] section",
                        names(&inputs),
                        names(&outputs)
                    ),
                    "Import the weights again",
                ));
            }
        }
        Ok(())
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        let (settings, config) = settings(pack)?;
        let volume = only_volume(&pack.manifest, case)?;
        let [w, h, slices] = volume.grid.size_ijk;
        let passes = Passes::listing(&settings);
        let side = settings.long_side.next_multiple_of(SIZE_MULTIPLE);
        // The picture and its kin in the network's size, and what the runtime takes.
        let pictures = 6 * (h * w * 3) as u64 + 4 * volume.grid.voxel_count() as u64;
        let memory_bytes = pictures + config.runtime_bytes([side.min(h.max(w)), side.min(h.max(w))]) as u64;
        let available_bytes = limits.usable_bytes();
        if memory_bytes > available_bytes {
            return Err(inference::Error::Memory {
                needed_bytes: memory_bytes,
                available_bytes,
                remedy: "Close other programs, cut the image, or use a computer with more memory".to_owned(),
            }
            .into());
        }
        Ok(Estimate {
            memory_bytes,
            available_bytes,
            strategy: Strategy::Whole { batch: 1 },
            tiles: slices * passes.count([h, w]),
            source: volume.grid,
            working: volume.grid,
            notices: case.notices.clone(),
        })
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<family::Prepared> {
        let start = Instant::now();
        task.at("Preparing", 0.0)?;
        let estimated_bytes = self.check(pack, &case, limits)?.memory_bytes;
        let Case { name, channels, notices, .. } = case;
        let volume = channels.into_iter().next().ok_or_else(|| channel_count(&name, 0, &pack.manifest))?;
        let mut timings = Timings::default();
        timings.add("prepare", start);
        Ok(family::Prepared::Text(Box::new(Prepared { name, volume, notices, timings, estimated_bytes })))
    }

    fn infer(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        nets: &mut Nets,
        task: &Task,
    ) -> Result<family::Scored> {
        let start = Instant::now();
        let family::Prepared::Text(case) = prepared else { return Err(of_another_family(pack.id())) };
        let mut case = *case;
        let (settings, config) = settings(pack)?;
        let passes = Passes::listing(&settings);
        let mut detector = Detector::new(nets, &config);
        let (slices, count) = (Slices::new(&case.volume), case.volume.grid.size_ijk[2]);
        // Slices that are the same are searched once: the still parts of a film, empty ones.
        let mut known: HashMap<[u8; 32], Vec<Line>> = HashMap::new();
        let (mut pages, mut tiles) = (Vec::with_capacity(count), 0);
        for slice in 0..count {
            task.at("Running the network", slice as f32 / count as f32)?;
            let pictures = slices.at(slice);
            let mut hash = Sha256::new();
            for picture in &pictures {
                picture.as_slice().into_iter().for_each(|bytes| hash.update(bytes));
            }
            let hash: [u8; 32] = hash.finalize().into();
            let lines = match known.get(&hash) {
                Some(lines) => lines.clone(),
                None => {
                    let lines = find_lines(&mut detector, &pictures, &passes, task)?;
                    tiles += pictures.len();
                    known.insert(hash, lines.clone());
                    lines
                }
            };
            pages.push(Page { slice, lines });
        }
        drop(slices);
        case.timings.add("infer", start);
        Ok(family::Scored::Text(Box::new(Scored { case, pages, tiles })))
    }

    fn finish(&self, pack: &ModelPack, scored: family::Scored, _: &Task) -> Result<Finished> {
        let family::Scored::Text(scored) = scored else { return Err(of_another_family(pack.id())) };
        let Scored { case, pages, tiles } = *scored;
        let (settings, _) = settings(pack)?;
        let mut facts = BTreeMap::new();
        facts.insert("text-score".to_owned(), settings.score.to_string());
        facts.insert("text-long-side".to_owned(), settings.long_side.to_string());
        Ok(Finished {
            name: case.name,
            output: Output::Text(TextFound { grid: case.volume.grid, pages, facts }),
            found: Vec::new(),
            notices: case.notices,
            timings: case.timings,
            tiles,
            estimated_bytes: case.estimated_bytes,
        })
    }
}

fn only_volume<'a>(m: &Manifest, case: &'a Case) -> Result<&'a Volume> {
    match case.channels.as_slice() {
        [volume] if !volume.voxels.is_complex() => Ok(volume),
        [volume] => Err(Error::Argument(format!(
            "{}: its voxels are complex numbers ({}), in which no text is looked for. Save the magnitude as an image first",
            case.name,
            volume.voxels.type_name()
        ))),
        other => Err(channel_count(&case.name, other.len(), m)),
    }
}
