//! A stack becomes an image: slices decoded side by side, straight into the array of the volume.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dicom_dictionary_std::tags;
use ndarray::ArcArray;
use rayon::prelude::*;

use super::attributes::text;
use super::geometry::Spacing;
use super::origin::{Origin, SliceRef};
use super::pixels::syntax::name as syntax_name;
use super::pixels::{Instance, Modality, Photometric, Sample, SampleType, VoiFunction};
use super::record::Record;
use super::series::{Kind, Piece, Stack};
use super::suv;
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::task::Task;
use crate::volume::{AffineSource, Element, Image, Meta, Volume};
use crate::voxels::{Scalar, Scaling, Voxels};

/// Reads the pixels of a stack.
///
/// Values are kept as stored when one scaling holds for all slices. Otherwise (PET, look-up tables) they are computed in
/// f32, which the notices tell. `k` ascends along the normal (row × column); the grid is [`Stack::grid`].
///
/// # Errors
/// Those of [`Instance`]; [`Error::Malformed`] when slices differ from what the scan saw; [`Error::OverLimit`] when
/// memory is short; [`Error::Cancelled`].
pub fn load(stack: &Stack, task: &Task) -> Result<Image> {
    let mut pieces = stack.frames.iter().flatten().flatten();
    let first = pieces.next().ok_or_else(|| Error::Argument("a stack without slices".to_owned()))?;
    task.at("Reading DICOM", 0.0)?;
    let sources = Sources::new(stack, first)?;
    let leading = Arc::clone(&sources.first);
    let layout = leading.layout();
    let mut notices = stack.notices.clone();
    notices.extend(leading.notices().iter().cloned());

    let modality = leading.modality(first.frame as usize)?;
    let scaling = uniform(stack, &modality);
    let is_palette = layout.photometric == Photometric::Palette;
    let work = Work { stack, sources: &sources, task };
    let (voxels, scaling) = if is_palette {
        let palette = |instance: &Instance, n: usize, out: &mut [u8]| paint(instance, n, out);
        (colours(work.volumes(3, palette)?, stack), Scaling::NONE)
    } else if layout.samples == 3 {
        let voxels = match layout.sample_type {
            SampleType::U8 => colours(work.volumes(3, Instance::frame_into::<u8>)?, stack),
            SampleType::U16 => colours(work.volumes(3, Instance::frame_into::<u16>)?, stack),
            SampleType::U32 => {
                notices.push(Notice::info(
                    "dicom-colour-depth",
                    "colours of 32 bits are kept with their upper 16 bits",
                ));
                let narrow = |instance: &Instance, n: usize, out: &mut [u16]| {
                    let mut wide = vec![0u32; out.len()];
                    instance.frame_into(n, &mut wide)?;
                    out.iter_mut().zip(wide).for_each(|(o, w)| *o = (w >> 16) as u16);
                    Ok(())
                };
                colours(work.volumes(3, narrow)?, stack)
            }
            other => {
                return Err(Error::unsupported(
                    &first.record.name,
                    format!("colour samples of type {other:?}"),
                    "8, 16 and 32 bits unsigned",
                    "Export the picture again as 8-bit RGB",
                ));
            }
        };
        (voxels, Scaling::NONE)
    } else if let Some(scaling) = scaling {
        let flip = scaling.slope < 0.0;
        let voxels = match layout.sample_type {
            SampleType::U8 => grey(work.stored::<u8>(flip)?, stack),
            SampleType::I8 => grey(work.stored::<i8>(flip)?, stack),
            SampleType::U16 => grey(work.stored::<u16>(flip)?, stack),
            SampleType::I16 => grey(work.stored::<i16>(flip)?, stack),
            SampleType::U32 => grey(work.stored::<u32>(flip)?, stack),
            SampleType::I32 => grey(work.stored::<i32>(flip)?, stack),
            SampleType::F32 => grey(work.stored::<f32>(flip)?, stack),
            SampleType::F64 => grey(work.stored::<f64>(flip)?, stack),
        };
        (voxels, scaling)
    } else {
        let why = if matches!(modality, Modality::Lut(_)) {
            "values come from a Modality LUT (0028,3000)"
        } else {
            "Rescale Slope and Intercept differ between slices"
        };
        notices
            .push(Notice::info("dicom-values-computed", format!("{why}; values were computed in float32")));
        let volumes = work.volumes(1, |instance: &Instance, n, out: &mut [f32]| values(instance, n, out))?;
        (grey(finished(volumes, stack, false), stack), Scaling::NONE)
    };
    let voxels = voxels?;
    let meta = meta(stack, &leading, first, &mut notices);
    let header = Arc::clone(&leading.header().object);
    let instances: Vec<SliceRef> = stack.records().iter().map(|r| reference(r, None)).collect();
    let frames = voxels.into_iter().enumerate().map(|(n, voxels)| {
        let mut volume = Volume::new(voxels, stack.grid)?;
        volume.scaling = scaling;
        volume.meta = meta.clone();
        volume.meta.dicom = Some(Arc::new(Origin {
            header: Arc::clone(&header),
            grid: stack.grid,
            slices: slice_refs(stack, n),
            instances: instances.clone(),
        }));
        Ok(volume)
    });
    let frames: Vec<Volume> = frames.collect::<Result<_>>()?;
    task.at("Reading DICOM", 1.0)?;
    Ok(Image {
        frames,
        frame_axes: stack.axes.clone(),
        format: "dicom",
        encoding: encoding(stack, &leading),
        is_picture: stack.kind != Kind::Volume,
        notices,
    })
}

/// The one scaling of all slices, if there is one.
fn uniform(stack: &Stack, modality: &Modality) -> Option<Scaling> {
    if matches!(modality, Modality::Lut(_)) {
        return None;
    }
    let of = |p: &Piece| p.info().and_then(|f| f.rescale).unwrap_or([1.0, 0.0]);
    let mut all = stack.frames.iter().flatten().flatten().map(of);
    let first = all.next()?;
    let same = all.all(|r| r == first);
    (same && first[0] != 0.0).then_some(Scaling { slope: first[0], inter: first[1] })
}

/// Opened instances. Those with several slices are opened once and shared.
struct Sources {
    first: Arc<Instance>,
    /// By the address of the record, which only tells records apart.
    shared: HashMap<usize, Arc<Instance>>,
}

/// Tells records apart.
fn address(record: &Arc<Record>) -> usize {
    Arc::as_ptr(record).addr()
}

impl Sources {
    fn new(stack: &Stack, first: &Piece) -> Result<Self> {
        let mut counts: HashMap<usize, (usize, &Piece)> = HashMap::new();
        for piece in stack.frames.iter().flatten().flatten() {
            counts.entry(address(&piece.record)).or_insert((0, piece)).0 += 1;
        }
        let first = Arc::new(Instance::open(&first.record.path)?);
        let mut shared = HashMap::new();
        for (key, (count, piece)) in counts {
            if count > 1 && piece.tile.is_none() {
                let instance = if piece.record.path == first.header().path {
                    Arc::clone(&first)
                } else {
                    Arc::new(Instance::open(&piece.record.path)?)
                };
                shared.insert(key, instance);
            }
        }
        Ok(Self { first, shared })
    }

    /// The instance of a piece, of the same layout as the first.
    fn open(&self, piece: &Piece) -> Result<Arc<Instance>> {
        let instance = match self.shared.get(&address(&piece.record)) {
            Some(instance) => Arc::clone(instance),
            None if piece.record.path == self.first.header().path => Arc::clone(&self.first),
            None => Arc::new(Instance::open(&piece.record.path)?),
        };
        let (a, b) = (instance.layout(), self.first.layout());
        let same = (a.rows, a.columns, a.samples, a.sample_type)
            == (b.rows, b.columns, b.samples, b.sample_type)
            && (a.photometric == Photometric::Palette) == (b.photometric == Photometric::Palette);
        if !same {
            return Err(Error::malformed(
                &piece.record.name,
                format!(
                    "{} × {} pixels of type {:?}, {} per pixel",
                    a.columns, a.rows, a.sample_type, a.samples
                ),
                format!(
                    "{} × {} of type {:?}, {} per pixel, as in the first slice",
                    b.columns, b.rows, b.sample_type, b.samples
                ),
            ));
        }
        Ok(instance)
    }
}

struct Work<'a> {
    stack: &'a Stack,
    sources: &'a Sources,
    task: &'a Task,
}

/// A number slices are made of.
trait Value: Copy + Send + Sync + PartialOrd + bytemuck::Pod {
    /// Between `a` (at 0) and `b` (at 1).
    fn blend(a: Self, b: Self, at: f64) -> Self;
}

macro_rules! value {
    ($($t:ty, $round:expr);*) => {$(
        impl Value for $t {
            fn blend(a: Self, b: Self, at: f64) -> Self {
                let round: fn(f64) -> f64 = $round;
                round(f64::from(a) * (1.0 - at) + f64::from(b) * at) as $t
            }
        }
    )*};
}
value!(u8, f64::round; i8, f64::round; u16, f64::round; i16, f64::round; u32, f64::round; i32, f64::round; f32, |v| v; f64, |v| v);

impl Work<'_> {
    /// Stored values, gaps filled and uneven stacks made even.
    fn stored<T: Sample + Value>(&self, fill_high: bool) -> Result<Vec<Vec<T>>> {
        Ok(finished(self.volumes(1, Instance::frame_into::<T>)?, self.stack, fill_high))
    }

    /// Decodes every slice into its place, `samples` numbers a pixel. Uneven stacks come as their slices, others with
    /// empty slices where none is given.
    fn volumes<U: Value>(
        &self,
        samples: usize,
        decode: impl Fn(&Instance, usize, &mut [U]) -> Result<()> + Sync,
    ) -> Result<Vec<Vec<U>>> {
        let [columns, rows, _] = self.stack.grid.size_ijk;
        let slots = slots(self.stack);
        let slice = columns * rows * samples;
        let total = self.stack.slice_count().max(1);
        let done = AtomicUsize::new(0);
        let advance = |n: usize| {
            let now = done.fetch_add(n, Ordering::Relaxed) + n;
            self.task.at("Reading DICOM", now as f32 / total as f32)
        };
        // One slice shows whether the pixels are what the headers promise, before memory is asked for all of them.
        if let Some(piece) = self.stack.frames.iter().flatten().flatten().next() {
            let instance = self.sources.open(piece)?;
            let pixels = instance.layout().frame_pixels() * samples;
            if piece.tile.is_none() && pixels != slice {
                return Err(Error::malformed(
                    &piece.record.name,
                    format!("{pixels} samples in a slice"),
                    format!("{slice}, as its header said when it was scanned"),
                ));
            }
            if self.stack.slice_count() > 1 {
                decode(&instance, piece.frame as usize, &mut self.memory(pixels)?)?;
            }
        }
        let mut volumes = Vec::new();
        for _ in &self.stack.frames {
            volumes.push(self.memory::<U>(slice.saturating_mul(slots.len()))?);
        }
        volumes.par_iter_mut().zip(&self.stack.frames).try_for_each(|(volume, pieces)| {
            if pieces.iter().flatten().any(|p| p.tile.is_some()) {
                return self.mosaic(volume, pieces, [columns, rows], samples, &decode, &advance);
            }
            volume.par_chunks_mut(slice).zip(&slots).try_for_each(|(out, slot)| {
                let Some(piece) = slot.and_then(|s| pieces.get(s)).and_then(Option::as_ref) else {
                    return Ok(());
                };
                self.task.check()?;
                decode(&*self.sources.open(piece)?, piece.frame as usize, out)?;
                advance(1)
            })
        })?;
        Ok(volumes)
    }

    /// Cuts the tiles of mosaics, each decoded once.
    fn mosaic<U: Value>(
        &self,
        volume: &mut [U],
        pieces: &[Option<Piece>],
        [columns, rows]: [usize; 2],
        samples: usize,
        decode: &(impl Fn(&Instance, usize, &mut [U]) -> Result<()> + Sync),
        advance: &(impl Fn(usize) -> Result<()> + Sync),
    ) -> Result<()> {
        let mut whole: Option<(usize, Vec<U>)> = None;
        let line = columns * samples;
        for (out, piece) in volume.chunks_mut(line * rows).zip(pieces) {
            let Some(piece) = piece else { continue };
            let (Some(tile), Some(mosaic)) = (piece.tile, piece.record.mosaic) else { continue };
            let at = address(&piece.record);
            if whole.as_ref().is_none_or(|(a, _)| *a != at) {
                self.task.check()?;
                let instance = self.sources.open(piece)?;
                let mut picture = self.memory(instance.layout().frame_pixels() * samples)?;
                decode(&instance, piece.frame as usize, &mut picture)?;
                whole = Some((at, picture));
            }
            let Some((_, picture)) = &whole else { continue };
            let (x, y) = (tile % mosaic.side, tile / mosaic.side);
            let stride = line * mosaic.side as usize;
            let start = y as usize * rows * stride + x as usize * line;
            for (j, to) in out.chunks_mut(line).enumerate() {
                let from = start + j * stride;
                let from = picture.get(from..from + line).ok_or_else(|| {
                    Error::malformed(&piece.record.name, "a mosaic smaller than its tiles", "all tiles")
                })?;
                to.copy_from_slice(from);
            }
            advance(1)?;
        }
        Ok(())
    }

    fn memory<U: Value>(&self, len: usize) -> Result<Vec<U>> {
        let zeroed = bytemuck::allocation::try_zeroed_slice_box(len).map_err(|()| {
            let name = self.stack.records().first().map(|r| r.name.clone()).unwrap_or_default();
            Error::OverLimit {
                path: name,
                needed: format!("{} MiB for one volume", (len * size_of::<U>()) >> 20),
                limit: "an allocation was refused".to_owned(),
                remedy: "Close other programs or use a machine with more memory".to_owned(),
            }
        })?;
        Ok(zeroed.into_vec())
    }
}

/// For each slice of the array to be decoded, the slot of the stack that goes there.
fn slots(stack: &Stack) -> Vec<Option<usize>> {
    match &stack.lattice {
        Some(l) if matches!(l.spacing, Spacing::Uneven(..)) => (0..l.places.len()).map(Some).collect(),
        Some(l) => {
            let mut out = vec![None; l.count];
            for (slot, place) in l.places.iter().enumerate() {
                if let Some(o) = out.get_mut(place.round() as usize) {
                    *o = Some(slot);
                }
            }
            out
        }
        None => vec![Some(0)],
    }
}

/// Fills gaps with the smallest value met (the largest, if `fill_high`) and makes uneven stacks even.
fn finished<T: Value>(volumes: Vec<Vec<T>>, stack: &Stack, fill_high: bool) -> Vec<Vec<T>> {
    let slice = stack.grid.size_ijk[0] * stack.grid.size_ijk[1];
    let slots = slots(stack);
    let given = |frame: usize| -> Vec<bool> {
        let pieces = stack.frames.get(frame);
        slots.iter().map(|s| s.and_then(|s| pieces?.get(s)?.as_ref()).is_some()).collect()
    };
    let fill = |(frame, mut volume): (usize, Vec<T>)| {
        let given = given(frame);
        if given.iter().any(|g| !g) {
            let present = volume.chunks(slice).zip(&given).filter(|(_, g)| **g).flat_map(|(c, _)| c);
            let extreme = present.copied().reduce(|a, b| if (b < a) != fill_high { b } else { a });
            if let Some(extreme) = extreme {
                let empty = volume.chunks_mut(slice).zip(&given).filter(|(_, g)| !**g);
                empty.for_each(|(c, _)| c.fill(extreme));
            }
        }
        match &stack.lattice {
            Some(l) if matches!(l.spacing, Spacing::Uneven(..)) => even(&volume, slice, &l.places, l.count),
            _ => volume,
        }
    };
    volumes.into_par_iter().enumerate().map(fill).collect()
}

/// Slices at `places` (ascending, in units of the new spacing) interpolated linearly to `0..count`.
fn even<T: Value>(slices: &[T], slice: usize, places: &[f64], count: usize) -> Vec<T> {
    let mut out: Vec<T> = Vec::with_capacity(slice * count);
    for k in 0..count {
        let k = k as f64;
        let above = places.partition_point(|p| *p < k - 1e-9).clamp(1, places.len().max(2) - 1);
        let (low, high) = (places[above - 1], places[above]);
        let at = ((k - low) / (high - low)).clamp(0.0, 1.0);
        let a = &slices[(above - 1) * slice..above * slice];
        let b = &slices[above * slice..(above + 1) * slice];
        out.extend(a.iter().zip(b).map(|(&a, &b)| T::blend(a, b, at)));
    }
    out
}

/// Values of a slice with a scaling of its own.
fn values(instance: &Instance, n: usize, out: &mut [f32]) -> Result<()> {
    let modality = instance.modality(n)?;
    let dose = super::lenient::number(&instance.header().object, tags::DOSE_GRID_SCALING);
    let samples = instance.frame(n)?;
    crate::for_samples!(&samples, v => {
        match (&modality, dose) {
            (Modality::Linear(s), None) => {
                out.iter_mut().zip(v).for_each(|(o, &v)| *o = (v.to_f64() * s.slope + s.inter) as f32);
            }
            (_, Some(d)) => out.iter_mut().zip(v).for_each(|(o, &v)| *o = (v.to_f64() * d) as f32),
            (m, None) => out.iter_mut().zip(v).for_each(|(o, &v)| *o = m.apply(v.to_f64()) as f32),
        }
    });
    Ok(())
}

/// Colours of a palette image.
fn paint(instance: &Instance, n: usize, out: &mut [u8]) -> Result<()> {
    let Some(palette) = instance.palette()? else {
        return Err(Error::malformed(
            &instance.header().path,
            "no palette",
            "the colours of a PALETTE COLOR image",
        ));
    };
    let samples = instance.frame(n)?;
    let (pixels, _) = out.as_chunks_mut::<3>();
    crate::for_samples!(&samples, v => pixels.iter_mut().zip(v).for_each(|(o, &v)| *o = palette.rgb8(v as i64)));
    Ok(())
}

fn grey<T: Value + Element>(volumes: Vec<Vec<T>>, stack: &Stack) -> Result<Vec<Voxels>> {
    let [k, j, i] = stack.grid.shape_kji();
    let shaped = volumes.into_iter().map(|v| {
        let array = ArcArray::from_shape_vec((k, j, i), v);
        array.map(T::wrap).map_err(|e| Error::Argument(format!("a volume of the wrong length: {e}")))
    });
    shaped.collect()
}

fn colours<T: Value>(volumes: Vec<Vec<T>>, stack: &Stack) -> Result<Vec<Voxels>>
where
    [T; 3]: Element + bytemuck::Pod,
{
    let [k, j, i] = stack.grid.shape_kji();
    let uneven = stack.lattice.as_ref().filter(|l| matches!(l.spacing, Spacing::Uneven(..)));
    let shaped = volumes.into_iter().map(|mut v| {
        if let Some(l) = uneven {
            v = even(&v, i * j * 3, &l.places, l.count);
        }
        let v: Vec<[T; 3]> =
            bytemuck::allocation::try_cast_vec(v).unwrap_or_else(|(_, v)| v.as_chunks::<3>().0.to_vec());
        let array = ArcArray::from_shape_vec((k, j, i), v);
        array.map(<[T; 3]>::wrap).map_err(|e| Error::Argument(format!("a volume of the wrong length: {e}")))
    });
    shaped.collect()
}

fn reference(record: &Record, frame: Option<u32>) -> SliceRef {
    SliceRef {
        sop_class_uid: record.sop_class_uid.clone(),
        sop_instance_uid: record.sop_instance_uid.clone(),
        frame_number: frame,
        path: record.name.clone(),
    }
}

/// What each slice of frame `n` was stored as. Empty where no slice is a stored one: interpolated stacks, mosaics.
fn slice_refs(stack: &Stack, n: usize) -> Vec<Option<SliceRef>> {
    let uneven = stack.lattice.as_ref().is_some_and(|l| matches!(l.spacing, Spacing::Uneven(..)));
    let Some(pieces) = stack.frames.get(n).filter(|_| !uneven) else { return Vec::new() };
    if pieces.iter().flatten().any(|p| p.tile.is_some()) {
        return Vec::new();
    }
    let one = |p: &Piece| reference(&p.record, (p.record.frames.len() > 1).then_some(p.frame + 1));
    slots(stack).into_iter().map(|s| s.and_then(|s| pieces.get(s)?.as_ref()).map(one)).collect()
}

/// What is known about the values; no patient data.
fn meta(stack: &Stack, instance: &Instance, first: &Piece, notices: &mut Vec<Notice>) -> Meta {
    let object = &*instance.header().object;
    let n = first.frame as usize;
    let mut meta = Meta { path: path(stack), ..Meta::default() };
    meta.affine_source = if stack.kind == Kind::Volume { AffineSource::Header } else { AffineSource::None };
    let mut fact = |key: &str, value: String| {
        if !value.is_empty() {
            meta.facts.insert(key.to_owned(), value);
        }
    };
    fact("modality", stack.modality.clone());
    let group = instance.functional_group(n, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE).unwrap_or(object);
    let rescale_type = text(group, tags::RESCALE_TYPE);
    let units = match stack.modality.as_str() {
        "PT" | "NM" => text(object, tags::UNITS),
        "RTDOSE" => text(object, tags::DOSE_UNITS),
        "CT" if rescale_type.is_none() && stack.lattice.is_some() => Some("HU".to_owned()),
        _ => rescale_type.filter(|t| t != "US"),
    };
    fact("units", units.unwrap_or_default());
    fact("transfer-syntax", syntax_name(&instance.header().transfer_syntax_uid));
    if instance.is_inverted() {
        fact("display-inverted", "true".to_owned());
    }
    if let Some(padding) = instance.padding() {
        let (low, high) = (padding.low, padding.high);
        fact("pixel-padding", if low == high { low.to_string() } else { format!("{low}..{high}") });
    }
    if stack.frame_values.iter().any(|v| !v.is_empty()) {
        fact("frame-values", stack.frame_values.join("; "));
    }
    if stack.modality == "PT" {
        let started = stack.frames.iter().flatten().flatten().filter_map(|p| p.info()?.keys.acquisition_s);
        match suv::factor(object, started.reduce(f64::min)) {
            Ok(factor) => {
                fact("suv-bw-factor", factor.to_string());
                notices.push(Notice::info(
                    "dicom-suv",
                    format!("SUV by body weight (g/mL) = value × {factor:.6e}"),
                ));
            }
            Err(why) => notices.push(Notice::info("dicom-no-suv", format!("no SUV: {why}"))),
        }
    }
    meta.display_range = display_range(stack, instance, first);
    meta
}

/// The window of the middle slice, in scaled values.
fn display_range(stack: &Stack, leading: &Instance, first: &Piece) -> Option<(f64, f64)> {
    let pieces: Vec<&Piece> = stack.frames.first()?.iter().flatten().collect();
    let middle = pieces.get(pieces.len() / 2).copied().unwrap_or(first);
    let opened;
    let instance = if middle.record.path == leading.header().path {
        leading
    } else {
        opened = Instance::open(&middle.record.path).ok()?;
        &opened
    };
    let voi = instance.voi(middle.frame as usize);
    let window = voi.windows.first()?;
    Some(match window.function {
        // PS3.3 C.11.2.1.2.1: from c - 0.5 - (w-1)/2 to c - 0.5 + (w-1)/2.
        VoiFunction::Linear => {
            let half = (window.width - 1.0) / 2.0;
            (window.center - 0.5 - half, window.center - 0.5 + half.max(0.5))
        }
        _ => (window.center - window.width / 2.0, window.center + window.width / 2.0),
    })
}

/// The file, or the folder that holds all files.
fn path(stack: &Stack) -> Option<std::path::PathBuf> {
    let records = stack.records();
    let first = records.first()?;
    if records.len() == 1 {
        return Some(first.name.clone());
    }
    let folder = first.name.parent()?;
    records
        .iter()
        .all(|r| r.name.parent() == Some(folder))
        .then(|| folder.to_owned())
        .or(Some(first.name.clone()))
}

fn encoding(stack: &Stack, instance: &Instance) -> String {
    let files = stack.records().len();
    let syntax = syntax_name(&instance.header().transfer_syntax_uid);
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    format!("DICOM {}, {files}, {syntax}", stack.modality)
}
