//! Networks that somebody else exported as ONNX, of four kinds: segmentation, restoration, classification, detection.
//!
//! A pack of the family `onnx` says in its [`Graph`] how the axes and values of the graph are laid out; everything else is
//! as in any pack. What runs is what runs our own: [`PatchSegmenter`] labels voxels and [`Restorer`] restores pictures, over
//! an `adapt::Adapted` network; the classifier and the detector begin with the preparation of the segmenter and differ in
//! what they do with the answers. Results lie on the grid of the image, however its axes run.
//!
//! [`import`] makes such packs: what the graph, the user and descriptions beside the file ([`describe`]) say is put together
//! by [`Description`]; what none of them says is asked for, never guessed.
//!
//! # What there is not
//! Networks with several inputs, restorers of volumes (they see slices), boxes in volumes, networks that enlarge.

mod adapt;
mod classify;
pub mod describe;
mod description;
mod detect;
mod draft;
mod fit;
mod graph;
pub mod import;
mod inputs;
mod rules;
mod sections;

use std::time::Instant;

use formats::{Notice, Task, Volume, Voxels};
use inference::net::{Nets, Port};

use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Prepared, channel_count, describe_ports,
    of_another_family,
};
use crate::manifest::{Channel, Manifest, Output as Wanted};
use crate::pack::ModelPack;
use crate::restorer::Restorer;
use crate::segmenter::{Common, PatchSegmenter};

pub use classify::{ClassRow, Classified, Slice};
pub use description::{Answers, Description, Kind, Reading};
pub use detect::{Detected, FoundBox};
pub use graph::{BoxLayout, Fit, Graph, Values};

/// The family of plain packs.
pub struct Plain;

/// A case after a network that classifies or detects.
#[derive(Debug)]
pub struct Scored {
    common: Common,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Classes(Vec<ClassRow>),
    Boxes(Vec<FoundBox>),
}

/// The graph section, which [`Plain::fault`] has seen.
fn graph(m: &Manifest) -> Result<&Graph> {
    m.graph.as_ref().ok_or_else(|| Error::Argument(format!("“{}” has no [graph] section", m.id)))
}

/// The pack as the segmenter wants it: colours are channels there.
fn with_colours(pack: &ModelPack) -> ModelPack {
    let mut pack = pack.clone();
    if pack.manifest.graph.as_ref().is_some_and(|g| g.colours == 3) && !pack.manifest.output.is_picture() {
        let channel = |name: &str| Channel { name: name.to_owned(), patterns: Vec::new() };
        pack.manifest.input.channels = ["red", "green", "blue"].map(channel).to_vec();
    }
    pack
}

/// The case as the segmenter wants it.
fn split(m: &Manifest, case: Case) -> Result<Case> {
    if m.graph.as_ref().is_none_or(|g| g.colours != 3) {
        return Ok(case);
    }
    let Case { name, channels, notices, restoring, scale, further, frame_axes, prompting } = case;
    let [image] = <[Volume; 1]>::try_from(channels).map_err(|c| channel_count(&name, c.len(), m))?;
    Ok(Case { channels: colours(&image), name, notices, restoring, scale, further, frame_axes, prompting })
}

/// Red, green and blue of an image, 0..=255; a grey one three times with the values it has.
fn colours(image: &Volume) -> Vec<Volume> {
    (0..3)
        .map(|c| {
            // 65535 is 255 of a picture of 16 bits.
            let deep = |v: u16| f32::from(v) / 257.0;
            let voxels = match &image.voxels {
                Voxels::Rgb8(a) => Voxels::U8(a.mapv(|p| p[c]).into_shared()),
                Voxels::Rgba8(a) => Voxels::U8(a.mapv(|p| p[c]).into_shared()),
                Voxels::Rgb16(a) => Voxels::F32(a.mapv(|p| deep(p[c])).into_shared()),
                Voxels::Rgba16(a) => Voxels::F32(a.mapv(|p| deep(p[c])).into_shared()),
                grey => grey.clone(),
            };
            Volume { voxels, ..image.clone() }
        })
        .collect()
}

impl Family for Plain {
    fn id(&self) -> &'static str {
        "onnx"
    }

    fn name(&self) -> &'static str {
        "networks exported elsewhere (ONNX)"
    }

    fn fault(&self, m: &Manifest) -> Option<(String, String)> {
        let Some(graph) = &m.graph else {
            return Some((
                "no [graph] section".to_owned(),
                "one that says how the graph is laid out".to_owned(),
            ));
        };
        if graph.colours == 3 && m.input.channels.len() != 1 {
            return Some((
                format!("{} input channels of a network for colours", m.input.channels.len()),
                "one: the image".to_owned(),
            ));
        }
        let has_maps = m.output.labels_voxels() || m.output.is_picture();
        let values = match &m.output {
            Wanted::Picture { .. } => matches!(graph.values, Values::Picture | Values::Residual),
            Wanted::Softmax { .. } => !matches!(graph.values, Values::Picture | Values::Residual),
            _ => matches!(graph.values, Values::Logits | Values::Probabilities),
        };
        if !values {
            return Some((
                format!("values = {:?}", graph.values),
                "picture or residual for restoration, logits or probabilities otherwise (or labels of one class per voxel)"
                    .to_owned(),
            ));
        }
        if matches!(m.output, Wanted::Boxes { .. }) && !graph.is_planar() {
            return Some(("a detector of volumes".to_owned(), "one that sees slices".to_owned()));
        }
        let of_kind = match &m.output {
            Wanted::Picture { .. } => Restorer.fault(m),
            Wanted::Softmax { .. } | Wanted::Sigmoid { .. } => PatchSegmenter.fault(m),
            Wanted::Classes { .. } | Wanted::Boxes { .. } => m.parts_fault(&[""]),
            Wanted::Text(_) | Wanted::Prompts(_) => Some((
                "lines of text or prompts as output".to_owned(),
                "labels, a picture, classes or boxes".to_owned(),
            )),
        };
        graph.fault(has_maps, m.tiles.patch, m.tiles.batch).or(of_kind)
    }

    fn fits(&self, pack: &ModelPack, nets: &Nets) -> Result<()> {
        let net = nets.first();
        let m = &pack.manifest;
        let graph = graph(m)?;
        let is_whole = graph.fit == Fit::Whole || m.tiles.multiple.is_some();
        let channels = match &m.output {
            Wanted::Picture { channels, .. } => *channels,
            _ => graph.colours * m.input.channels.len(),
        };
        let size = |c: char, channels: usize| match c {
            'C' => Some(channels),
            'D' | 'H' | 'W' if is_whole => None,
            'D' => Some(m.tiles.patch[0]),
            'H' => Some(m.tiles.patch[1]),
            'W' => Some(m.tiles.patch[2]),
            _ => None,
        };
        let agrees = |port: &Port, letters: &str, channels: usize| {
            port.dims.len() == letters.len()
                && port.dims.iter().zip(letters.chars()).all(|(have, c)| {
                    let wanted = size(c, channels);
                    have.is_none() || wanted.is_none() || *have == wanted
                })
        };
        let (inputs, outputs) = (net.inputs(), net.outputs());
        let output = outputs.get(adapt::output_number(net, graph.output_name.as_deref()));
        let classes = m.output.channel_count();
        let has_maps = !graph.output.is_empty();
        let is_good = inputs.len() == 1
            && agrees(&inputs[0], &graph.input, channels)
            && (!has_maps || output.is_some_and(|o| o.dims.is_empty() || agrees(o, &graph.output, classes)));
        if is_good {
            return Ok(());
        }
        let [d, h, w] = m.tiles.patch;
        let maps = if has_maps {
            format!(" and one of {} with {classes} channels", graph.output)
        } else {
            String::new()
        };
        Err(Error::pack(
            &pack.place(),
            format!(
                "a network with inputs {} and outputs {}",
                describe_ports(inputs),
                describe_ports(outputs)
            ),
            format!("one input of {} with {channels} channels and tiles of {d}×{h}×{w}{maps}", graph.input),
            "Import the file again with another layout, or correct pack.toml",
        ))
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        if pack.manifest.output.is_picture() {
            return Restorer.check(pack, case, limits);
        }
        let case = split(&pack.manifest, case.clone())?;
        let mut estimate = PatchSegmenter.check(&with_colours(pack), &case, limits)?;
        if !pack.manifest.output.labels_voxels() {
            let is_planar = graph(&pack.manifest)?.is_planar();
            estimate.tiles = if is_planar { estimate.working.size_ijk[2] } else { 1 };
        }
        Ok(estimate)
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<Prepared> {
        if pack.manifest.output.is_picture() {
            return Restorer.prepare(pack, case, limits, task);
        }
        PatchSegmenter.prepare(&with_colours(pack), split(&pack.manifest, case)?, limits, task)
    }

    fn infer(
        &self,
        pack: &ModelPack,
        prepared: Prepared,
        nets: &mut Nets,
        task: &Task,
    ) -> Result<family::Scored> {
        let net = nets.first_mut();
        let m = &pack.manifest;
        let graph = graph(m)?;
        match (&m.output, prepared) {
            (Wanted::Picture { .. }, prepared) => {
                Restorer.infer_with(pack, prepared, &mut adapt::Adapted::new(net, graph, &m.output), task)
            }
            (Wanted::Softmax { .. } | Wanted::Sigmoid { .. }, prepared) => PatchSegmenter.infer_with(
                pack,
                prepared,
                &mut adapt::Adapted::new(net, graph, &m.output),
                task,
            ),
            (output, Prepared::Segmenter(prepared)) => {
                let start = Instant::now();
                let (mut common, image) = prepared.into_parts();
                let (working, source) = (common.placement.working, common.placement.source);
                let found = if matches!(output, Wanted::Classes { .. }) {
                    let mut rows = Vec::new();
                    if let Some(image) = &image {
                        let row = |n, probabilities| {
                            let slice = graph.is_planar().then(|| Slice::of(&working, &source, n)).flatten();
                            rows.push(ClassRow { slice, probabilities });
                        };
                        classify::run(m, graph, image, net, row, task)?;
                    }
                    common.tiles = rows.len();
                    Found::Classes(rows)
                } else {
                    common.tiles = image.as_ref().map_or(0, |i| i.dim().1);
                    Found::Boxes(match &image {
                        Some(image) => detect::run(m, graph, image, [&working, &source], net, task)?,
                        None => Vec::new(),
                    })
                };
                common.timings.add("infer", start);
                Ok(family::Scored::Plain(Box::new(Scored { common, found })))
            }
            _ => Err(of_another_family(pack.id())),
        }
    }

    fn finish(&self, pack: &ModelPack, scored: family::Scored, task: &Task) -> Result<Finished> {
        let scored = match scored {
            family::Scored::Plain(scored) => *scored,
            scored @ family::Scored::Restorer(_) => return Restorer.finish(pack, scored, task),
            scored @ family::Scored::Segmenter(_) => return PatchSegmenter.finish(pack, scored, task),
            #[allow(unreachable_patterns, reason = "other families have answers of their own")]
            _ => return Err(of_another_family(pack.id())),
        };
        let Scored { mut common, found } = scored;
        let output = match (&pack.manifest.output, found) {
            (Wanted::Classes { names, several }, Found::Classes(rows)) => Output::Classes(Classified {
                classes: names.clone(),
                several: *several,
                rows,
                facts: Default::default(),
            }),
            (Wanted::Boxes { names, threshold, .. }, Found::Boxes(boxes)) => {
                if boxes.is_empty() {
                    let why = format!("The network found nothing with a score of at least {threshold}.");
                    common.notices.push(Notice::info("nothing-found", why));
                }
                Output::Boxes(Detected {
                    classes: names.clone(),
                    threshold: *threshold,
                    boxes,
                    grid: common.placement.source,
                    facts: Default::default(),
                })
            }
            _ => return Err(of_another_family(pack.id())),
        };
        Ok(Finished {
            name: common.name,
            output,
            found: Vec::new(),
            notices: common.notices,
            timings: common.timings,
            tiles: common.tiles,
            estimated_bytes: common.estimated_bytes,
        })
    }
}
