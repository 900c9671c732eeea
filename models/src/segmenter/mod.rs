//! Patch segmenters: networks that see a volume in overlapping tiles and answer with scores per voxel.
//!
//! The steps, each on an array that keeps its grid:
//!
//! 1. values as f32; what is not finite becomes background; steps of kind `stored`;
//! 2. axes permuted and reversed to the network's, spacing changed if the manifest asks for one (an image that
//!    already fits is copied by index, never interpolated), cut to the crop; steps of kind `working`;
//! 3. tiles through the network, blended into scores (**prepare** ends, **infer** begins here);
//! 4. scores brought to the grid of the first input, slab by slab, and turned into labels there (**finish**).
//!
//! Results lie on the grid of the first input, to the bit of its affine. Oblique and sheared images are brought to
//! the nearest axis order and stay oblique: the network sees them as tilted as they were acquired.

mod geometry;
mod labels;
mod memory;
pub(crate) mod values;

use std::time::Instant;

use formats::{Grid, LabelMap, Meta, Notice, Task, Volume};
use inference::gridded::Gridded;
use inference::net::{Net, Nets};
use inference::postprocess::{decide, keep_largest};
use inference::resample::{resample_nearest_labels, scores_to_labels};
use inference::tiles::{Plan, run_tiles, run_tiles_in_layers};
use ndarray::{Array3, Array4, Axis, s};

use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Strategy, Timings, channel_count, describe_ports,
    of_another_family,
};
use crate::manifest::{Interpolate, Manifest, When};
use crate::pack::ModelPack;

pub use geometry::{Placement, placement, working_grid};

/// The family of patch segmenters; SegFormer3D is the architecture its importer knows.
pub struct PatchSegmenter;

/// A case as the network will see it.
#[derive(Debug)]
pub struct Prepared {
    common: Common,
    /// `[C, D, H, W]` on the cropped working grid; `None` when there is nothing to look at.
    input: Option<Array4<f32>>,
}

/// A case after the network.
#[derive(Debug)]
pub struct Scored {
    common: Common,
    scores: Scores,
}

/// What is known about a case on its way through the steps.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) placement: Placement,
    meta: Meta,
    strategy: Strategy,
    pub(crate) estimated_bytes: u64,
    pub(crate) tiles: usize,
    pub(crate) notices: Vec<Notice>,
    pub(crate) timings: Timings,
}

#[derive(Debug)]
enum Scores {
    /// Nothing was looked at: all background.
    Nothing,
    /// Logits `[K, D, H, W]` on the cropped working grid.
    Logits(Array4<f32>),
    /// Labels `[D, H, W]` on the cropped working grid.
    Labels(Array3<u16>),
}

impl Prepared {
    /// The network's input `[C, D, H, W]`, or `None` when the image holds nothing.
    #[must_use]
    pub fn input(&self) -> Option<&Array4<f32>> {
        self.input.as_ref()
    }

    /// Where the input lies.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.common.placement.working
    }

    /// The case's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }

    /// For those who answer with something else than labels.
    pub(crate) fn into_parts(self) -> (Common, Option<Array4<f32>>) {
        (self.common, self.input)
    }
}

impl PatchSegmenter {
    /// [`Family::infer`] with the one network there is.
    pub(crate) fn infer_with(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        net: &mut dyn Net,
        task: &Task,
    ) -> Result<family::Scored> {
        let start = Instant::now();
        let family::Prepared::Segmenter(prepared) = prepared else {
            return Err(of_another_family(pack.id()));
        };
        let Prepared { mut common, input } = *prepared;
        let scored = |common, scores| Ok(family::Scored::Segmenter(Box::new(Scored { common, scores })));
        let Some(input) = input else {
            return scored(common, Scores::Nothing);
        };
        let m = &pack.manifest;
        let (_, d, h, w) = input.dim();
        let plan = plan(m, [d, h, w])?;
        common.tiles = plan.count();
        let scores = match common.strategy {
            Strategy::Whole { batch } => {
                let scores = run_tiles(net, input.view(), &plan.with_batch(batch), task)?;
                check_scores(pack, scores.dim().0)?;
                Scores::Logits(scores)
            }
            Strategy::Layers => {
                common.notices.push(Notice::info(
                    "worked-in-layers",
                    "Memory is short, so the volume was worked through in layers; labels are the same up to rounding \
                     where the image is not resampled, and slightly coarser at borders where it is.",
                ));
                let table = labels::Table::new(&m.output);
                let mut found = Array3::<u16>::zeros((d, h, w));
                let mut channels = m.output.channel_count();
                run_tiles_in_layers(net, input.view(), &plan, task, |from, scores| {
                    let planes = scores.dim().1;
                    channels = scores.dim().0;
                    if channels == m.output.channel_count() {
                        found
                            .slice_mut(s![from..from + planes, .., ..])
                            .assign(&decide(scores, &table.decide()));
                    }
                    Ok(())
                })?;
                check_scores(pack, channels)?;
                Scores::Labels(found)
            }
        };
        common.timings.add("infer", start);
        scored(common, scores)
    }
}

impl Family for PatchSegmenter {
    fn id(&self) -> &'static str {
        "segformer3d"
    }

    fn name(&self) -> &'static str {
        "3-D segmentation in tiles (SegFormer3D)"
    }

    fn fault(&self, m: &Manifest) -> Option<(String, String)> {
        if let Some(fault) = m.parts_fault(&[""]) {
            return Some(fault);
        }
        (!m.output.labels_voxels() || m.tiles.multiple.is_some()).then(|| {
            let found = "another output than labels, or tiles of several sizes".to_owned();
            (
                found,
                "activation = “softmax” or “sigmoid”, and no multiple: this family labels voxels".to_owned(),
            )
        })
    }

    fn fits(&self, pack: &ModelPack, nets: &Nets) -> Result<()> {
        let m = &pack.manifest;
        let agrees = |dims: &[Option<usize>], channels: usize| {
            let wanted = [
                None,
                Some(channels),
                Some(m.tiles.patch[0]),
                Some(m.tiles.patch[1]),
                Some(m.tiles.patch[2]),
            ];
            dims.len() == 5 && dims.iter().zip(wanted).all(|(d, w)| d.is_none() || w.is_none() || *d == w)
        };
        let net = nets.first();
        let (inputs, outputs) = (net.inputs(), net.outputs());
        let good = inputs.len() == 1
            && agrees(&inputs[0].dims, m.input.channels.len())
            && outputs.first().is_some_and(|o| agrees(&o.dims, m.output.channel_count()));
        if good {
            return Ok(());
        }
        let [d, h, w] = m.tiles.patch;
        Err(Error::pack(
            &pack.place(),
            format!(
                "a network with inputs {} and outputs {}",
                describe_ports(inputs),
                describe_ports(outputs)
            ),
            format!(
                "one input N×{}×{d}×{h}×{w} and an output N×{}×{d}×{h}×{w}",
                m.input.channels.len(),
                m.output.channel_count()
            ),
            "Correct the channels, the patch or the labels in pack.toml",
        ))
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        let m = &pack.manifest;
        let first = check_volumes(m, case)?;
        let mut notices = case.notices.clone();
        let full = working_grid(&first.grid, m)?;
        geometry::remark(&first.grid, &full, m, &mut notices);
        let size = geometry::largest_crop(&full, m);
        let need = memory::Need::new(m, &first.grid, size, geometry::is_resampled(&first.grid, m));
        let (strategy, memory_bytes, available_bytes) = memory::choose(&need, m, limits)?;
        let tiles = plan(m, size)?.count();
        Ok(Estimate {
            memory_bytes,
            available_bytes,
            strategy,
            tiles,
            source: first.grid,
            working: full,
            notices,
        })
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<family::Prepared> {
        let start = Instant::now();
        let m = &pack.manifest;
        task.at("Preparing", 0.0)?;
        let first = check_volumes(m, &case)?.grid;
        let Case { name, channels, mut notices, .. } = case;
        let meta = channels[0].meta.clone();
        let full = working_grid(&first, m)?;
        geometry::remark(&first, &full, m, &mut notices);

        let mut timings = Timings::default();
        let count = channels.len();
        let mut looked = Vec::with_capacity(count);
        for (n, volume) in channels.iter().enumerate() {
            task.at("Preparing", 0.3 * n as f32 / count as f32)?;
            looked.push(values::look(volume, &m.crop));
        }
        let empty = looked.iter().all(|l| l.is_constant());
        for (l, c) in looked.iter().zip(&m.input.channels) {
            l.remark(&c.name, &mut notices);
        }
        let placement = placement(
            &first,
            full,
            m,
            channels.iter().map(|v| &v.grid).zip(looked.iter().map(|l| l.foreground)),
        )?;
        let need = memory::Need::new(m, &first, placement.working.shape_kji(), placement.is_resampled);
        let (strategy, estimated_bytes, _) = memory::choose(&need, m, limits)?;

        let mut common = Common {
            name,
            placement,
            meta,
            strategy,
            estimated_bytes,
            tiles: 0,
            notices,
            timings: Timings::default(),
        };
        if empty {
            common.notices.push(Notice::warning(
                "empty-image",
                "Every channel has one and the same value everywhere; there is nothing to segment, and the result is empty.",
            ));
            timings.add("prepare", start);
            common.timings = timings;
            return Ok(family::Prepared::Segmenter(Box::new(Prepared { common, input: None })));
        }
        let working = common.placement.working;
        let [d, h, w] = working.shape_kji();
        let mut input = Array4::<f32>::zeros((count, d, h, w));
        for (n, (volume, looked)) in channels.into_iter().zip(looked).enumerate() {
            task.at("Preparing", 0.3 + 0.7 * n as f32 / count as f32)?;
            let is_first_grid = geometry::coincide(&volume.grid, &first);
            if !is_first_grid {
                common.notices.push(Notice::warning(
                    "channel-resampled",
                    format!(
                        "{} lies on another grid ({}) than {} ({}) and was resampled onto it; check that the images are \
                         registered.",
                        m.input.channels[n].name,
                        geometry::describe(&volume.grid),
                        m.input.channels[0].name,
                        geometry::describe(&first)
                    ),
                ));
            }
            let grid = if is_first_grid { first } else { volume.grid };
            let mut stored = values::clean(&volume, &looked, m);
            drop(volume);
            values::apply(m, When::Stored, n, &mut stored, &grid, task)?;
            let mut moved =
                geometry::bring(&Gridded { array: stored.view(), grid }, &working, interpolation(m), task)?;
            drop(stored);
            values::apply(m, When::Working, n, &mut moved, &working, task)?;
            input.index_axis_mut(Axis(0), n).assign(&moved);
        }
        timings.add("prepare", start);
        common.timings = timings;
        Ok(family::Prepared::Segmenter(Box::new(Prepared { common, input: Some(input) })))
    }

    fn infer(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        nets: &mut Nets,
        task: &Task,
    ) -> Result<family::Scored> {
        self.infer_with(pack, prepared, nets.first_mut(), task)
    }

    fn finish(&self, pack: &ModelPack, scored: family::Scored, task: &Task) -> Result<Finished> {
        let start = Instant::now();
        let family::Scored::Segmenter(scored) = scored else { return Err(of_another_family(pack.id())) };
        let Scored { mut common, scores } = *scored;
        let m = &pack.manifest;
        task.at("Finishing", 0.0)?;
        let place = &common.placement;
        let (working, source) = (&place.working, &place.source);
        let table = labels::Table::new(&m.output);
        let carry = |found: Array3<u16>| {
            // Copied by index where both grids have the same voxels.
            resample_nearest_labels(&Gridded { array: found.view(), grid: *working }, source, task)
        };
        let mut labels = match scores {
            Scores::Nothing => Array3::zeros(source.shape_kji()),
            Scores::Labels(found) => carry(found)?,
            Scores::Logits(scores) if place.is_resampled => {
                scores_to_labels(scores.view(), working, source, &table.decide(), task)?
            }
            Scores::Logits(scores) => {
                let found = decide(scores.view(), &table.decide());
                drop(scores);
                carry(found)?
            }
        };
        task.at("Finishing", 0.8)?;
        keep_largest(&mut labels, &m.post.keep_largest, labels::connectivity(&m.post), task)?;
        if labels.iter().all(|&l| l == 0) && !common.notices.iter().any(|n| n.code == "empty-image") {
            common.notices.push(Notice::info("nothing-found", "The network found none of its structures."));
        }
        common.timings.add("finish", start);
        let table = m.label_table();
        let source_meta = common.meta;
        let meta = Meta {
            description: format!("{} {}", m.id, m.version),
            affine_source: source_meta.affine_source,
            nifti_codes: source_meta.nifti_codes,
            labels: Some(table.clone()),
            ..Meta::default()
        };
        let map = LabelMap { labels: labels.into_shared(), grid: common.placement.source, table, meta };
        Ok(Finished {
            name: common.name,
            output: Output::Labels(map),
            found: Vec::new(),
            notices: common.notices,
            timings: common.timings,
            tiles: common.tiles,
            estimated_bytes: common.estimated_bytes,
        })
    }
}

fn interpolation(m: &Manifest) -> inference::resample::Interpolation {
    match m.input.interpolation {
        Interpolate::Linear => inference::resample::Interpolation::Linear,
        Interpolate::Cubic => inference::resample::Interpolation::Cubic,
    }
}

/// The right number of volumes, each a volume with a usable placement. Returns the first.
fn check_volumes<'a>(m: &Manifest, case: &'a Case) -> Result<&'a Volume> {
    if case.channels.len() != m.input.channels.len() {
        return Err(channel_count(&case.name, case.channels.len(), m));
    }
    for (v, c) in case.channels.iter().zip(&m.input.channels) {
        let size = v.grid.size_ijk;
        let what = v.meta.path.as_ref().map_or_else(|| c.name.clone(), |p| p.display().to_string());
        // Networks that see slices see pictures as well.
        if m.tiles.patch[0] > 1 && size.iter().any(|&n| n < 2) {
            return Err(Error::Argument(format!(
                "{}: {what} is two-dimensional ({}×{}×{} voxels), but “{}” segments volumes. Give the whole series or volume",
                case.name, size[0], size[1], size[2], m.id
            )));
        }
        if v.grid.voxel_from_world().is_none() {
            return Err(Error::Argument(format!(
                "{}: the placement of {what} cannot be inverted (an axis has no length). Correct its affine first",
                case.name
            )));
        }
    }
    Ok(&case.channels[0])
}

/// The tile plan for a working volume of shape `[D, H, W]`.
fn plan(m: &Manifest, shape: [usize; 3]) -> Result<Plan> {
    let t = &m.tiles;
    Ok(Plan::new(shape, t.patch, t.overlap, t.plan, t.blend)?)
}

/// The network returned the promised channels.
fn check_scores(pack: &ModelPack, found: usize) -> Result<()> {
    let wanted = pack.manifest.output.channel_count();
    if found == wanted {
        return Ok(());
    }
    Err(Error::pack(
        &pack.place(),
        format!("a network with {found} output channels"),
        format!("{wanted}"),
        "Correct the output section of pack.toml",
    ))
}
