//! Frames and overlays of DICOM images: looked at, and blanked.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use formats::dicom::Instance;
use formats::dicom::pixels::{Photometric, Samples, VoiFunction};
use formats::dicom::redact::{self, Fill, Mask, Redaction};
use formats::voxels::Scalar;
use formats::{Task, for_samples};
use models::mayor::{grey_picture, windows};
use ndarray::{Array2, Array3};
use sha2::{Digest, Sha256};

use super::region::{self, Region, Target};
use super::rules::{Device, Rules};
use super::search::Finder;
use super::{Blanked, Looked};

/// Distinct frames that are searched one by one; longer films are searched in what all frames show together.
const SINGLY: usize = 8;

/// Looks for text in all frames and overlays. Frames that are the same are searched once. Of films of more than eight distinct frames
/// the first is searched, and for every pixel the brightest and the darkest of all frames: text that stands still, or shows in some of
/// them only, is in one of these.
pub(super) fn look(
    file: &Path,
    finder: &mut Finder,
    rules: Option<&Rules>,
    blanked: &[Region],
    task: &Task,
) -> anyhow::Result<Looked> {
    let instance = Instance::open(file)?;
    let layout = *instance.layout();
    let size = [layout.rows, layout.columns];
    // Frames are blanked alike unless regions name some.
    let varies = blanked.iter().any(|r| r.frames.is_some());
    let mut known: Option<Array2<bool>> = None;
    let mut shown = |n: usize, samples: &Samples| -> anyhow::Result<Vec<Array3<u8>>> {
        let mut made = pictures(&instance, n, samples)?;
        if blanked.is_empty() {
            return Ok(made);
        }
        if varies || known.is_none() {
            known = Some(region::blanked(blanked, n, Target::Pixels, size));
        }
        if let Some(mask) = &known {
            super::check_constant(file, &made, mask)?;
            made.iter_mut().for_each(|p| region::smooth_over(p, mask));
        }
        Ok(made)
    };
    let mut regions = Vec::new();
    if let Some(rules) = rules {
        regions.extend(rules.regions(&device(&instance)));
    }
    let mut distinct: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    let mut order: Vec<[u8; 32]> = Vec::new();
    let mut film = Film::default();
    for n in 0..layout.frames {
        task.check()?;
        let samples = instance.frame(n)?;
        let hash = digest(&samples);
        let frames = distinct.entry(hash).or_default();
        if frames.is_empty() {
            order.push(hash);
            film.add(shown(n, &samples)?);
        }
        frames.push(n);
    }
    let is_film = order.len() > SINGLY && !finder.settings().every_frame;
    if is_film {
        for (i, pictures) in film.summaries().into_iter().enumerate() {
            task.at("Looking for text", 0.1 + 0.25 * i as f32)?;
            let lines = finder.lines(&pictures, task)?;
            add(&mut regions, lines.iter().map(|l| Region::found(l, Target::Pixels, None, finder.pack())));
        }
    } else {
        for (i, hash) in order.iter().enumerate() {
            task.at("Looking for text", i as f32 / order.len() as f32)?;
            let frames = &distinct[hash];
            let first = frames[0];
            let pictures = match film.kept.get(i) {
                Some(pictures) => pictures.clone(),
                None => shown(first, &instance.frame(first)?)?,
            };
            let lines = finder.lines(&pictures, task)?;
            let is_in_some = finder.settings().per_frame && order.len() > 1;
            let of = is_in_some.then(|| frames.clone());
            add(
                &mut regions,
                lines.iter().map(|l| Region::found(l, Target::Pixels, of.clone(), finder.pack())),
            );
        }
    }
    look_at_overlays(&instance, finder, &mut regions, task)?;
    regions.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(Looked {
        regions,
        size: [layout.frames, layout.columns, layout.rows],
        notices: instance.notices().to_vec(),
    })
}

/// Adds regions; one that lies inside another of the same frames is none of its own.
fn add(regions: &mut Vec<Region>, new: impl Iterator<Item = Region>) {
    for region in new {
        let [x0, y0, x1, y1] = region.bounds();
        let is_inside = |r: &Region| {
            let [a0, b0, a1, b1] = r.bounds();
            let is_upright = r.outline.len() == 4;
            is_upright
                && r.target == region.target
                && r.frames == region.frames
                && x0 >= a0
                && y0 >= b0
                && x1 <= a1
                && y1 <= b1
        };
        if !regions.iter().any(is_inside) {
            regions.push(region);
        }
    }
}

fn look_at_overlays(
    instance: &Instance,
    finder: &mut Finder,
    regions: &mut Vec<Region>,
    task: &Task,
) -> anyhow::Result<()> {
    let layout = *instance.layout();
    for overlay in instance.overlays()? {
        let mut seen: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for n in 0..layout.frames {
            if let Some(mask) = instance.overlay_mask(&overlay, n)?
                && mask.contains(&1)
            {
                seen.entry(mask).or_default().push(n);
            }
        }
        let mut masks: Vec<_> = seen.into_iter().collect();
        masks.sort_by_key(|(_, frames)| frames[0]);
        for (mask, frames) in masks {
            let values: Vec<f32> = mask.iter().map(|&v| f32::from(v)).collect();
            let picture = grey_picture(&values, [layout.rows, layout.columns], [0.0, 1.0]);
            let lines = finder.lines(&[picture], task)?;
            let frames = (frames.len() < layout.frames).then_some(frames);
            let target = Target::Overlay(overlay.group);
            add(regions, lines.iter().map(|l| Region::found(l, target, frames.clone(), finder.pack())));
        }
    }
    Ok(())
}

/// The device and the size of an image.
#[must_use]
pub fn device(instance: &Instance) -> Device {
    use dicom_tags::{MANUFACTURER, MODEL};
    let text = |tag| instance.header().text(tag).unwrap_or_default();
    let layout = instance.layout();
    Device {
        manufacturer: text(MANUFACTURER),
        model: text(MODEL),
        rows: layout.rows,
        columns: layout.columns,
    }
}

mod dicom_tags {
    use formats::dicom::Tag;

    pub const MANUFACTURER: Tag = Tag(0x0008, 0x0070);
    pub const MODEL: Tag = Tag(0x0008, 0x1090);
}

fn digest(samples: &Samples) -> [u8; 32] {
    let mut hash = Sha256::new();
    for_samples!(samples, v => hash.update(bytemuck::cast_slice::<_, u8>(v)));
    hash.finalize().into()
}

/// A frame as 8-bit colours, in the windows in which text may show.
///
/// # Errors
/// Those of its tables.
pub fn pictures(instance: &Instance, n: usize, samples: &Samples) -> anyhow::Result<Vec<Array3<u8>>> {
    let layout = instance.layout();
    let (h, w) = (layout.rows, layout.columns);
    if layout.samples == 3 {
        let most = 2f64.powi(layout.bits_stored.min(32) as i32) - 1.0;
        let picture = Array3::from_shape_fn((h, w, 3), |(y, x, c)| {
            let at = (y * w + x) * 3 + c;
            let v = for_samples!(samples, v => v.get(at).map_or(0.0, |s| s.to_f64()));
            (v / most * 255.0).round().clamp(0.0, 255.0) as u8
        });
        return Ok(vec![picture]);
    }
    if layout.photometric == Photometric::Palette
        && let Some(palette) = instance.palette()?
    {
        let picture = Array3::from_shape_fn((h, w, 3), |(y, x, c)| {
            let index = for_samples!(samples, v => v.get(y * w + x).map_or(0, |&s| s as i64));
            palette.rgb8(index)[c]
        });
        return Ok(vec![picture]);
    }
    let modality = instance.modality(n)?;
    let values: Vec<f32> =
        for_samples!(samples, v => v.iter().map(|s| modality.apply(s.to_f64()) as f32).collect());
    let window = instance.voi(n).windows.into_iter().next().map(|w| match w.function {
        VoiFunction::Linear => {
            (w.center - 0.5 - (w.width - 1.0) / 2.0, w.center - 0.5 + ((w.width - 1.0) / 2.0).max(0.5))
        }
        _ => (w.center - w.width / 2.0, w.center + w.width / 2.0),
    });
    let is_bytes = layout.bits_allocated == 8 && window.is_none();
    let pictures =
        windows(&values, window, is_bytes).into_iter().map(|w| grey_picture(&values, [h, layout.columns], w));
    Ok(pictures.collect())
}

/// What many frames show together: per window the first picture, the brightest and the darkest.
#[derive(Default)]
struct Film {
    /// The first few, to be searched one by one where there are no more.
    kept: Vec<Vec<Array3<u8>>>,
    first: Vec<Array3<u8>>,
    brightest: Vec<Array3<u8>>,
    darkest: Vec<Array3<u8>>,
}

impl Film {
    fn add(&mut self, pictures: Vec<Array3<u8>>) {
        if self.first.is_empty() {
            self.first.clone_from(&pictures);
            self.brightest.clone_from(&pictures);
            self.darkest.clone_from(&pictures);
        } else {
            for (i, picture) in pictures.iter().enumerate() {
                // Frames may have other numbers of windows; the first ones correspond.
                let i = i.min(self.brightest.len() - 1);
                self.brightest[i].zip_mut_with(picture, |a, &b| *a = (*a).max(b));
                self.darkest[i].zip_mut_with(picture, |a, &b| *a = (*a).min(b));
            }
        }
        if self.kept.len() < SINGLY {
            self.kept.push(pictures);
        }
    }

    fn summaries(self) -> [Vec<Array3<u8>>; 3] {
        // Where the whole film is so long, one window each is enough: the first.
        let one = |mut v: Vec<Array3<u8>>| {
            v.truncate(1);
            v
        };
        [one(self.first), one(self.brightest), one(self.darkest)]
    }
}

/// Writes a copy with the approved regions blanked.
pub(super) fn blank(
    file: &Path,
    regions: &[Region],
    fill: Fill,
    keeps_uid: bool,
    output: &Path,
) -> anyhow::Result<Blanked> {
    let instance = Instance::open(file)?;
    let layout = *instance.layout();
    let size = (layout.rows, layout.columns);
    let approved: Vec<&Region> = regions.iter().filter(|r| r.is_approved()).collect();
    let mut redaction =
        Redaction { frames: vec![None; layout.frames], overlays: Vec::new(), fill, keeps_uid };
    // Most often all frames are blanked alike: one mask serves them.
    let mut known: HashMap<Vec<usize>, Mask> = HashMap::new();
    let mut mask_of = |frame: usize, target: Target| -> Option<Mask> {
        let which: Vec<usize> = (0..approved.len())
            .filter(|&i| approved[i].target == target && approved[i].is_in(frame))
            .collect();
        if which.is_empty() {
            return None;
        }
        let made = || {
            let mut mask = Array2::from_elem(size, false);
            which.iter().for_each(|&i| approved[i].mark(&mut mask));
            Arc::new(mask)
        };
        Some(Arc::clone(known.entry(which.clone()).or_insert_with(made)))
    };
    let groups: std::collections::BTreeSet<u16> = approved
        .iter()
        .filter_map(|r| if let Target::Overlay(group) = r.target { Some(group) } else { None })
        .collect();
    let mut pixels = 0;
    for frame in 0..layout.frames {
        if let Some(mask) = mask_of(frame, Target::Pixels) {
            pixels += mask.iter().filter(|&&v| v).count() as u64;
            redaction.frames[frame] = Some(mask);
        }
        for &group in &groups {
            if let Some(mask) = mask_of(frame, Target::Overlay(group)) {
                pixels += mask.iter().filter(|&&v| v).count() as u64;
                redaction.overlays.push((group, frame, mask));
            }
        }
    }
    let stored = redact::write(&instance, &redaction, output)?;
    Ok(Blanked { stored: stored.transfer_syntax, pixels, remark: stored.remark })
}
