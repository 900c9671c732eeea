//! Restorers: networks that answer a picture with a better picture of the same size (MAXIM).
//!
//! A volume is worked through plane by plane, along one axis or along all three with the answers averaged. Values are
//! brought to 0..=1 by one linear scaling for the whole image ([`values`]), which is undone afterwards, so that a result
//! is in the input's own units, type, scaling and grid. Planes are cut into tiles that overlap and are blended
//! ([`tiles`]). What a network made of values is no measurement, and the result says so in its facts.

mod noise;
mod tiles;
mod values;

use std::time::Instant;

use formats::{Meta, Notice, Task, Volume, Voxels};
use inference::net::Net;
use ndarray::{Array4, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::family::{
    self, Case, Estimate, Family, Finished, Limits, Output, Strategy, Timings, channel_count,
};
use crate::manifest::{Colours, Manifest, Output as Answer};
use crate::pack::ModelPack;
pub use noise::sigma;
pub use tiles::{Reach, Tiling};
use values::Values;

/// The fact of a result's [`Meta`] that says it is no measurement.
pub const RESTORED: &str = "restored";

/// What the runtime takes per pixel of a tile when the manifest does not say: S-2 at 256 × 256 was measured at 9 KB.
const RUNTIME_BYTES_PER_PIXEL: u64 = 12 << 10;

/// Part of the free memory that a run may take.
const USABLE: f64 = 0.9;

/// How a case is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Part of the change that is applied, 0..=1: 1 is the network's answer, 0 the input.
    pub strength: f64,
    /// Which planes of a volume the network sees.
    pub axis: SliceAxis,
}

impl Default for Settings {
    fn default() -> Self {
        Self { strength: 1.0, axis: SliceAxis::Auto }
    }
}

/// Across which axis of the file a volume is cut into planes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SliceAxis {
    /// That with the largest voxel spacing, k among equals: the slices as they were most likely acquired.
    #[default]
    Auto,
    /// The first axis of the file.
    I,
    /// The second.
    J,
    /// The third.
    K,
    /// Each of the three, and the mean of the answers.
    All,
}

impl SliceAxis {
    /// The array axes (0 = k) to cut across, for a volume of this size (`i, j, k`) and spacing.
    fn arrays(self, size_ijk: [usize; 3], spacing_mm: [f64; 3]) -> Vec<usize> {
        // One plane: a picture, whichever axis is asked for.
        if let Some(flat) = [2, 1, 0].into_iter().find(|&a| size_ijk[a] == 1) {
            return vec![2 - flat];
        }
        match self {
            Self::I => vec![2],
            Self::J => vec![1],
            Self::K => vec![0],
            Self::All => vec![0, 1, 2],
            Self::Auto => {
                let thick = |a: &usize| spacing_mm[*a];
                let most = (0..3).fold(2, |most, a| if thick(&a) > thick(&most) * 1.001 { a } else { most });
                vec![2 - most]
            }
        }
    }
}

/// The family of restorers; MAXIM is the architecture its importer knows.
pub struct Restorer;

/// A case as the network will see it.
#[derive(Debug)]
pub struct Prepared {
    name: String,
    original: Volume,
    settings: Settings,
    values: Values,
    /// Array axes (0 = k) to cut across.
    axes: Vec<usize>,
    estimated_bytes: u64,
    notices: Vec<Notice>,
    timings: Timings,
}

/// A case after the network.
#[derive(Debug)]
pub struct Restored {
    prepared: Prepared,
    /// Stored values `[C, K, J, I]`, settings applied.
    stored: Array4<f32>,
    tiles: usize,
    /// Standard deviation of the noise before and after, in the units of the image; of the middle plane.
    noise: Option<[f64; 2]>,
}

impl Family for Restorer {
    fn id(&self) -> &'static str {
        "maxim"
    }

    fn name(&self) -> &'static str {
        "restoration of pictures and slices (MAXIM)"
    }

    fn fits(&self, pack: &ModelPack, net: &dyn Net) -> Result<()> {
        let (channels, _) = answer(&pack.manifest)?;
        let [_, height, width] = pack.manifest.tiles.patch;
        let wanted = [None, Some(channels), Some(height), Some(width)];
        let agrees = |p: &inference::net::Port| {
            p.dims.len() == 4 && p.dims.iter().zip(wanted).all(|(d, w)| d.is_none() || w.is_none() || *d == w)
        };
        let is_good =
            net.inputs().len() == 1 && agrees(&net.inputs()[0]) && net.outputs().first().is_some_and(agrees);
        if is_good {
            return Ok(());
        }
        Err(Error::pack(
            &pack.place(),
            "a network with other inputs or outputs",
            format!("one input and one output N×{channels}×{height}×{width}"),
            "Correct the colours or the patch in pack.toml",
        ))
    }

    fn check(&self, pack: &ModelPack, case: &Case, limits: Limits) -> Result<Estimate> {
        let m = &pack.manifest;
        let volume = only(m, case)?;
        let axes = case.restoration.axis.arrays(volume.grid.size_ijk, volume.grid.spacing_mm());
        let (memory_bytes, available_bytes) = need(m, volume, &axes, limits)?;
        // The network is not loaded yet: a tile of its own size is assumed.
        let [_, height, width] = m.tiles.patch;
        let reach = [Reach::Fixed(height), Reach::Fixed(width)];
        let tiles =
            axes.iter().map(|&axis| planes(volume, axis) * tiling(m, volume, axis, reach).count()).sum();
        let mut notices = case.notices.clone();
        notices.push(not_for_measurement());
        Ok(Estimate {
            memory_bytes,
            available_bytes,
            strategy: Strategy::Whole { batch: m.tiles.batch },
            tiles,
            source: volume.grid,
            working: volume.grid,
            notices,
        })
    }

    fn prepare(&self, pack: &ModelPack, case: Case, limits: Limits, task: &Task) -> Result<family::Prepared> {
        let start = Instant::now();
        task.at("Preparing", 0.0)?;
        let original = only(&pack.manifest, &case)?.clone();
        let Case { name, mut notices, restoration: settings, .. } = case;
        if !(0.0..=1.0).contains(&settings.strength) {
            return Err(Error::Argument(format!(
                "{name}: the strength is {}; it lies from 0 to 1",
                settings.strength
            )));
        }
        let axes = settings.axis.arrays(original.grid.size_ijk, original.grid.spacing_mm());
        let (estimated_bytes, _) = need(&pack.manifest, &original, &axes, limits)?;
        let values = Values::of(&original.voxels)?;
        if values.odd > 0 {
            let message = format!("{} voxels are not finite; they stay as they are.", values.odd);
            notices.push(Notice::warning("not-finite", message));
        }
        let mut timings = Timings::default();
        timings.add("prepare", start);
        let prepared = Prepared { name, original, settings, values, axes, estimated_bytes, notices, timings };
        Ok(family::Prepared::Restoration(Box::new(prepared)))
    }

    fn infer(
        &self,
        pack: &ModelPack,
        prepared: family::Prepared,
        net: &mut dyn Net,
        task: &Task,
    ) -> Result<family::Scored> {
        let family::Prepared::Restoration(prepared) = prepared else { return Err(family::mixed_up()) };
        let start = Instant::now();
        let mut restored = run(&pack.manifest, *prepared, net, task)?;
        restored.prepared.timings.add("infer", start);
        Ok(family::Scored::Restoration(Box::new(restored)))
    }

    fn finish(&self, pack: &ModelPack, scored: family::Scored, task: &Task) -> Result<Finished> {
        let family::Scored::Restoration(restored) = scored else { return Err(family::mixed_up()) };
        let start = Instant::now();
        task.at("Finishing", 0.0)?;
        let Restored { prepared, stored, tiles, noise } = *restored;
        let Prepared { name, original, settings, values, axes, estimated_bytes, mut notices, mut timings } =
            prepared;
        let voxels = values::put_back(stored.view(), &original.voxels, &mut notices);
        notices.push(not_for_measurement());
        let m = &pack.manifest;
        let meta = described(original.meta, m, settings, &values, &axes, noise);
        let volume = Volume { voxels, grid: original.grid, scaling: original.scaling, meta };
        timings.add("finish", start);
        Ok(Finished { name, output: Output::Image(volume), notices, timings, tiles, estimated_bytes })
    }
}

fn not_for_measurement() -> Notice {
    Notice::warning(
        "restored",
        "Restored by a network: it may remove or invent detail. For looking at, not for measurement.",
    )
}

/// What the result says of itself.
fn described(
    source: Meta,
    m: &Manifest,
    settings: Settings,
    values: &Values,
    axes: &[usize],
    noise: Option<[f64; 2]>,
) -> Meta {
    let mut meta = Meta { labels: None, ..source };
    let task = match &m.output {
        Answer::Image { task, .. } => task.name(),
        _ => "restoration",
    };
    meta.facts.insert(RESTORED.to_owned(), format!("{task} by {} {}; not for measurement", m.id, m.version));
    meta.facts.insert("restored-strength".to_owned(), settings.strength.to_string());
    meta.facts.insert("restored-values".to_owned(), values.rule.clone());
    let names: Vec<&str> = axes.iter().map(|&a| ["k", "j", "i"][a]).collect();
    meta.facts.insert("restored-across".to_owned(), names.join(", "));
    if let Some([before, after]) = noise {
        meta.facts.insert("noise-sigma-before".to_owned(), format!("{before:.4}"));
        meta.facts.insert("noise-sigma-after".to_owned(), format!("{after:.4}"));
    }
    // 80 bytes in NIfTI.
    meta.description = format!("{task} by {} {}; not for measurement", m.id, m.version);
    meta
}

/// The network's channels, and the multiple its sides must have.
fn answer(m: &Manifest) -> Result<(usize, usize)> {
    match &m.output {
        Answer::Image { colours, multiple, .. } => Ok((colours.count(), *multiple)),
        _ => Err(Error::Argument(format!("“{}” answers with labels, not with an image", m.id))),
    }
}

/// The one volume of a case.
fn only<'a>(m: &Manifest, case: &'a Case) -> Result<&'a Volume> {
    answer(m)?;
    match &case.channels[..] {
        [volume] => Ok(volume),
        other => Err(channel_count(&case.name, other.len(), m)),
    }
}

fn planes(volume: &Volume, axis: usize) -> usize {
    volume.grid.shape_kji()[axis]
}

fn tiling(m: &Manifest, volume: &Volume, axis: usize, reach: [Reach; 2]) -> Tiling {
    let shape = volume.grid.shape_kji();
    let [height, width] = match axis {
        0 => [shape[1], shape[2]],
        1 => [shape[0], shape[2]],
        _ => [shape[0], shape[1]],
    };
    Tiling::new(height, width, reach, m.tiles.overlap)
}

/// Bytes for stored values, answer and result, one plane in work, and the runtime; those that may be used.
fn need(m: &Manifest, volume: &Volume, axes: &[usize], limits: Limits) -> Result<(u64, u64)> {
    let shape = volume.grid.shape_kji().map(|n| n as u64);
    let voxels: u64 = shape.iter().product();
    let colours = if volume.voxels.is_colour() { 3 } else { 1 };
    let plane = axes.iter().map(|&a| voxels / shape[a].max(1)).max().unwrap_or(voxels);
    let [_, height, width] = m.tiles.patch.map(|n| n as u64);
    let runtime = m.tiles.memory_mib.map_or(height * width * RUNTIME_BYTES_PER_PIXEL, |mib| mib << 20);
    let (channels, _) = answer(m)?;
    // Stored values, the answer and the values that the percentile is taken of; planes in and out.
    let floats = voxels * colours * 3 + plane * channels as u64 * 3;
    let needed =
        floats * 4 + voxels * values::bytes_per_voxel(&volume.voxels) + runtime * m.tiles.batch as u64;
    let available = limits.memory_bytes.unwrap_or_else(|| {
        inference::memory::available_bytes().map_or(u64::MAX, |free| (free as f64 * USABLE) as u64)
    });
    if needed > available {
        return Err(inference::Error::Memory {
            needed_bytes: needed,
            available_bytes: available,
            remedy: "Close other programs, crop the image, or use a computer with more memory".to_owned(),
        }
        .into());
    }
    Ok((needed, available))
}

fn run(m: &Manifest, prepared: Prepared, net: &mut dyn Net, task: &Task) -> Result<Restored> {
    let (channels, multiple) = answer(m)?;
    let [_, height, width] = m.tiles.patch;
    let dims = net.inputs().first().map(|p| p.dims.clone()).unwrap_or_default();
    let reach = |axis: usize, most: usize| match dims.get(axis) {
        Some(Some(n)) => Reach::Fixed(*n),
        _ => Reach::Multiples(multiple, most.max(multiple)),
    };
    let reach = [reach(2, height), reach(3, width)];
    let Prepared { values, axes, original, settings, .. } = &prepared;
    let mut sum = Array4::<f32>::zeros(values.stored.raw_dim());
    let calls = |axis: usize| planes(original, axis) * tiling(m, original, axis, reach).count();
    let all: usize = axes.iter().map(|&a| calls(a) * passes(values, channels)).sum();
    let mut through = 0;
    let share = 1.0 / axes.len() as f32;
    for &axis in axes {
        let tiling = tiling(m, original, axis, reach);
        for n in 0..planes(original, axis) {
            let stored = values.stored.index_axis(Axis(axis + 1), n);
            let mut out = sum.index_axis_mut(Axis(axis + 1), n);
            let before = through;
            through += tiling.count() * passes(values, channels);
            let first = stored.first().copied().unwrap_or(0.0);
            if stored.iter().all(|&v| v == first || !v.is_finite()) {
                // Nothing there to restore, and networks paint patterns on nothing.
                out.zip_mut_with(&stored, |to, from| {
                    *to += share * if from.is_finite() { *from } else { 0.0 }
                });
                continue;
            }
            let mut done = |tiles: usize| Ok(task.at("Restoring", (before + tiles) as f32 / all as f32)?);
            let seen = stored.mapv(|v| values.seen(v));
            let answer = plane(net, &tiling, seen.view(), channels, m.tiles.batch, task, &mut done)?;
            let strength = settings.strength as f32;
            ndarray::Zip::from(&mut out).and(&seen).and(&answer).for_each(|to, &from, &new| {
                *to += share * values.back(from + strength * (new - from));
            });
        }
    }
    let noise = noise_of(&prepared, &sum);
    Ok(Restored { prepared, stored: sum, tiles: all, noise })
}

/// How often a plane goes through the network: once per colour when the network sees grey.
fn passes(values: &Values, channels: usize) -> usize {
    if channels == 1 { values.stored.dim().0 } else { 1 }
}

/// A plane of 1 or 3 channels through a network of 1 or 3: colours one by one where it sees grey, grey three times (and
/// the mean of the answers) where it sees colours.
fn plane(
    net: &mut dyn Net,
    tiling: &Tiling,
    seen: ArrayView3<'_, f32>,
    channels: usize,
    batch: usize,
    task: &Task,
    done: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<ndarray::Array3<f32>> {
    let (found, height, width) = seen.dim();
    if found == channels {
        return tiling.run(net, seen, batch, task, done);
    }
    if found == 1 {
        let wide = seen.broadcast((channels, height, width)).ok_or_else(family::mixed_up)?;
        let answer = tiling.run(net, wide.as_standard_layout().view(), batch, task, done)?;
        return Ok(answer.mean_axis(Axis(0)).ok_or_else(family::mixed_up)?.insert_axis(Axis(0)));
    }
    let mut out = ndarray::Array3::<f32>::zeros((found, height, width));
    for c in 0..found {
        let one = seen.index_axis(Axis(0), c).insert_axis(Axis(0));
        let answer = tiling.run(net, one, batch, task, &mut |tiles| done(c * tiling.count() + tiles))?;
        out.index_axis_mut(Axis(0), c).assign(&answer.index_axis(Axis(0), 0));
    }
    Ok(out)
}

/// Noise of the middle plane before and after, in the image's units; of the first colour.
fn noise_of(prepared: &Prepared, restored: &Array4<f32>) -> Option<[f64; 2]> {
    let axis = *prepared.axes.first()?;
    let middle = planes(&prepared.original, axis) / 2;
    let unit = match &prepared.original.voxels {
        v if v.is_colour() => 1.0,
        _ => prepared.original.scaling.slope.abs(),
    };
    let of =
        |a: &Array4<f32>| sigma(a.index_axis(Axis(0), 0).index_axis(Axis(axis), middle)).map(|s| s * unit);
    Some([of(&prepared.values.stored)?, of(restored)?])
}

impl Colours {
    /// Channels of the network.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// Whether a volume is the answer of a restorer, and by what.
#[must_use]
pub fn is_restored(volume: &Volume) -> Option<&str> {
    volume.meta.facts.get(RESTORED).map(String::as_str)
}

/// Whether voxels can be restored.
#[must_use]
pub fn can_restore(voxels: &Voxels) -> bool {
    !voxels.is_complex()
}
