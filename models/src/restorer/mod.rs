//! Restorers: networks that answer a picture with a better one. MAXIM is the architecture its importer knows.
//!
//! The steps:
//!
//! 1. the scale is settled: values are divided by one number (and, where there are negative ones, first moved), so that
//!    the network sees 0..=1 and about; the way back is exact, and is told in the result;
//! 2. slice by slice (and colour by colour, for a grey network), the picture is enlarged by its mirror image where it is
//!    smaller than a tile, cut into tiles that overlap, and the answers are faded into each other (**infer**);
//! 3. the answer is mixed with the original by the strength and goes back to the stored type.
//!
//! Frames of a series are restored one after the other at one scale, and kept as stored: beyond the result, memory is that
//! of one frame.
//!
//! # What does not change
//! The grid, the stored type and its scaling, the alpha channel, values that are not finite, and slices of one value.
//! Integers are rounded to the nearest and kept within their type.
//!
//! # Colours
//! A network of three channels sees red, green and blue together; a grey image is given to it three times, and the mean
//! of its three answers is taken. A grey network sees the three colours one after the other.

mod memory;
mod planes;
mod preview;
mod report;
pub(crate) mod values;

use std::time::Instant;

use formats::{FrameAxis, Notice, Task, Volume, Voxels};
use inference::net::{Net, Nets, Port};
use ndarray::Zip;

use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Restoring, Strategy, Timings, channel_count,
    describe_ports, of_another_family,
};
use crate::manifest::{CropKind, Manifest, STORED, Spacing};
use crate::pack::ModelPack;

pub use planes::Tiling;
pub use preview::{Region, mixed, scale_of};
use report::MARK;
pub use report::{RESTORED, Report, Restoration, Restored, is_restored};
pub use values::Scale;

/// What the runtime takes per pixel of a tile when the manifest does not say.
const RUNTIME_BYTES_PER_PIXEL: u64 = 16 << 10;

/// The family of restorers.
pub struct Restorer;

/// A case whose scale and slices are settled.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    volume: Volume,
    /// Frames after it.
    further: Vec<Volume>,
    frame_axes: Vec<FrameAxis>,
    restoring: Restoring,
    /// Axes (0 = i) that slices are taken across.
    axes: Vec<usize>,
    scale: Scale,
    notices: Vec<Notice>,
    timings: Timings,
    batch: usize,
    estimated_bytes: u64,
    noise_before: Option<f64>,
}

/// A case after the network.
#[derive(Debug)]
pub struct Scored {
    case: Prepared,
    /// The voxels of each frame, restored.
    restored: Vec<Voxels>,
    tiles: usize,
    unchanged_slices: usize,
}

impl Prepared {
    /// The grid of the image.
    #[must_use]
    pub fn grid(&self) -> formats::Grid {
        self.volume.grid
    }

    fn frames(&self) -> Vec<&Volume> {
        std::iter::once(&self.volume).chain(&self.further).collect()
    }
}

impl Restorer {
    /// [`Family::infer`] with the one network there is.
    pub(crate) fn infer_with(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        net: &mut dyn Net,
        task: &Task,
    ) -> Result<family::Scored> {
        let start = Instant::now();
        let family::Prepared::Restorer(case) = prepared else { return Err(of_another_family(pack.id())) };
        let mut case = *case;
        let (mut restored, mut tiles, mut unchanged_slices) = (Vec::new(), 0, 0);
        let frames = case.frames();
        for (n, frame) in frames.iter().enumerate() {
            let task = task.part(n as f32 / frames.len() as f32, 1.0 / frames.len() as f32);
            let mut work = planes::Work::new(pack, frame, case.scale, case.batch);
            for (n, &axis) in case.axes.iter().enumerate() {
                work.restore(net, axis, [n, case.axes.len()], &task)?;
            }
            tiles += work.tiles;
            unchanged_slices += work.unchanged;
            restored.push(values::mixed(frame, &work.restored, case.scale, case.restoring.strength));
        }
        case.timings.add("infer", start);
        Ok(family::Scored::Restorer(Box::new(Scored { case, restored, tiles, unchanged_slices })))
    }
}

impl Family for Restorer {
    fn id(&self) -> &'static str {
        "maxim"
    }

    fn name(&self) -> &'static str {
        "restoration of pictures and slices (MAXIM)"
    }

    fn fault(&self, m: &Manifest) -> Option<(String, String)> {
        let wrong = |found: String, expected: &str| Some((found, expected.to_owned()));
        if !m.output.is_picture() {
            return wrong(
                "no pictures as output".to_owned(),
                "activation = “none”: this family answers with pictures",
            );
        }
        if let Some(fault) = m.parts_fault(&[""]) {
            return Some(fault);
        }
        if m.input.channels.len() != 1 {
            return wrong(
                format!("{} input channels", m.input.channels.len()),
                "one: colours are counted in the output section",
            );
        }
        if m.tiles.patch[0] != 1 || m.tiles.patch[1..].iter().any(|n| n % 2 != 0) {
            return wrong(format!("patch = {:?}", m.tiles.patch), "[1, height, width] with even sides");
        }
        if m.input.axes != STORED
            || m.input.spacing_mm != Spacing::Native
            || m.crop.kind != CropKind::None
            || !m.intensity.is_empty()
            || !m.labels.is_empty()
        {
            return wrong(
                "axes, a spacing, a crop, intensity steps or labels".to_owned(),
                "axes = “stored” and none of the others: pictures are seen as they are",
            );
        }
        None
    }

    fn fits(&self, pack: &ModelPack, nets: &Nets) -> Result<()> {
        let m = &pack.manifest;
        let channels = m.output.channel_count();
        let [_, h, w] = m.tiles.patch;
        let agrees = |port: &Port, is_input: bool| {
            let sides = if m.tiles.multiple.is_some() { [None; 2] } else { [Some(h), Some(w)] };
            let good_sides = port.dims.iter().skip(2).zip(sides).all(|(found, wanted)| match wanted {
                // Networks for any size must leave their input's sides open.
                None => !is_input || found.is_none(),
                Some(n) => found.is_none_or(|f| f == n),
            });
            port.dims.len() == 4 && port.dims[1].is_none_or(|c| c == channels) && good_sides
        };
        let net = nets.first();
        let (inputs, outputs) = (net.inputs(), net.outputs());
        if inputs.len() == 1 && agrees(&inputs[0], true) && outputs.first().is_some_and(|o| agrees(o, false))
        {
            return Ok(());
        }
        let sides = if m.tiles.multiple.is_some() {
            "height×width, both free".to_owned()
        } else {
            format!("{h}×{w}")
        };
        Err(Error::pack(
            &pack.place(),
            format!(
                "a network with inputs {} and outputs {}",
                describe_ports(inputs),
                describe_ports(outputs)
            ),
            format!("one input and an output of N×{channels}×{sides}"),
            "Correct the patch, the multiple or the channels in pack.toml",
        ))
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        let m = &pack.manifest;
        let volume = check_case(m, case)?;
        let (axes, mut notices) = (planes::axes(&volume.grid, case.restoring.slices), case.notices.clone());
        notices.extend(planes::remark(volume, &axes, case.restoring.slices));
        let need = memory::Need::new(m, volume, 1 + case.further.len(), &axes)?;
        let (batch, memory_bytes, available_bytes) = need.choose(m, limits)?;
        Ok(Estimate {
            memory_bytes,
            available_bytes,
            strategy: Strategy::Whole { batch },
            tiles: need.tiles,
            source: volume.grid,
            working: volume.grid,
            notices,
        })
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<family::Prepared> {
        let start = Instant::now();
        let m = &pack.manifest;
        task.at("Preparing", 0.0)?;
        check_case(m, &case)?;
        let Case { name, channels, further, frame_axes, mut notices, restoring, scale: given, .. } = case;
        let volume = channels.into_iter().next().ok_or_else(|| channel_count(&name, 0, m))?;
        let axes = planes::axes(&volume.grid, restoring.slices);
        notices.extend(planes::remark(&volume, &axes, restoring.slices));
        let need = memory::Need::new(m, &volume, 1 + further.len(), &axes)?;
        let (batch, estimated_bytes, _) = need.choose(m, limits)?;
        let (scale, non_finite) = Scale::of_all(std::iter::once(&volume).chain(&further), &m.output);
        let scale = given.unwrap_or(scale);
        if non_finite > 0 {
            notices.push(Notice::warning(
                "non-finite-values",
                format!("{non_finite} values are not finite (NaN or infinite); they are kept, and the network saw 0."),
            ));
        }
        task.at("Preparing", 0.5)?;
        let mut prepared = Prepared {
            name,
            volume,
            further,
            frame_axes,
            restoring,
            axes,
            scale,
            notices,
            timings: Timings::default(),
            batch,
            estimated_bytes,
            noise_before: None,
        };
        prepared.noise_before = values::noise(&prepared.frames(), prepared.axes[0]);
        prepared.timings.add("prepare", start);
        Ok(family::Prepared::Restorer(Box::new(prepared)))
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
        let family::Scored::Restorer(scored) = scored else { return Err(of_another_family(pack.id())) };
        let Scored { case, restored, tiles, unchanged_slices } = *scored;
        let Prepared { name, volume, further, restoring, axes, scale, mut notices, mut timings, .. } = case;
        task.at("Finishing", 0.0)?;
        let m = &pack.manifest;
        let originals = std::iter::once(volume).chain(further);
        let mut frames: Vec<Volume> =
            originals.zip(restored).map(|(original, voxels)| Volume { voxels, ..original }).collect();
        let noise_after = values::noise(&frames.iter().collect::<Vec<_>>(), axes[0]);
        let report = Report {
            task: m.output.restoration().unwrap_or_default(),
            strength: restoring.strength,
            slices: axes.iter().map(|&a| ["i", "j", "k"][a]).collect::<Vec<_>>().join("+"),
            divided_by: scale.factor,
            subtracted: scale.offset,
            stored_as: frames.first().map_or("", |f| f.voxels.type_name()).to_owned(),
            frames: frames.len(),
            unchanged_slices,
            noise_before: case.noise_before,
            noise_after,
        };
        for frame in &mut frames {
            frame.meta.path = None;
            frame.meta.description = format!("{MARK}: {} {}", m.id, m.version);
            report.write_to(&mut frame.meta.facts);
        }
        let mut frames = frames.into_iter();
        let volume = frames.next().ok_or_else(|| channel_count(&name, 0, m))?;
        let (further, frame_axes) = (frames.collect(), case.frame_axes);
        notices.push(report.notice());
        timings.add("finish", start);
        Ok(Finished {
            name,
            output: Output::Image(Restored { volume, further, frame_axes, report }),
            found: Vec::new(),
            notices,
            timings,
            tiles,
            estimated_bytes: case.estimated_bytes,
        })
    }
}

/// One image that is not complex, and a strength that means something. Returns the image.
fn check_case<'a>(m: &Manifest, case: &'a Case) -> Result<&'a Volume> {
    let [volume] = case.channels.as_slice() else {
        return Err(channel_count(&case.name, case.channels.len(), m));
    };
    if volume.voxels.is_complex() {
        return Err(Error::Argument(format!(
            "{}: its voxels are complex numbers ({}), and “{}” restores real ones. Save the magnitude as an image first",
            case.name,
            volume.voxels.type_name(),
            m.id
        )));
    }
    let differs = |v: &&Volume| {
        v.grid.size_ijk != volume.grid.size_ijk || v.voxels.type_name() != volume.voxels.type_name()
    };
    if let Some(other) = case.further.iter().find(differs) {
        return Err(Error::Argument(format!(
            "{}: a frame of {:?} {} voxels after one of {:?} {}; frames of an image are alike",
            case.name,
            other.grid.size_ijk,
            other.voxels.type_name(),
            volume.grid.size_ijk,
            volume.voxels.type_name()
        )));
    }
    if !(0.0..=1.0).contains(&case.restoring.strength) {
        return Err(Error::Argument(format!(
            "{}: a strength of {}; it lies from 0 (the image as it is) to 1",
            case.name, case.restoring.strength
        )));
    }
    Ok(volume)
}

/// Adds `part` of `plane` (`[y, x]`) to where it was cut from.
fn add(to: ndarray::ArrayViewMut2<'_, f32>, plane: &ndarray::ArrayView2<'_, f32>, part: f32) {
    Zip::from(to).and(plane).for_each(|t, &v| *t += part * v);
}
