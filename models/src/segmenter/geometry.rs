//! From the image's grid to the network's and back.

use formats::{AxisOrder, Grid, Notice, Task};
use inference::gridded::Gridded;
use inference::reorient::order_to;
use inference::resample::{Interpolation, Outside, resample};
use ndarray::{Array3, ArrayView3};

use crate::error::{Error, Result};
use crate::manifest::{CropKind, Manifest, Spacing, working_code};

/// Spacings within this fraction count as equal: over 256 voxels a difference of 0.5 % stays within 1.3 voxels, which
/// is less than subjects differ, while interpolating would blur every voxel.
const SPACING_TOLERANCE: f64 = 0.005;

/// Where the network's volume lies in the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The grid of the first input and of the result.
    pub source: Grid,
    /// The whole image in the network's axis order and spacing.
    pub full: Grid,
    /// The part that is looked at: a window of `full`, padded where it reaches outside.
    pub working: Grid,
    /// Whether the working volume has other voxels than the image, so that results are interpolated. Otherwise
    /// everything is copied by index.
    pub is_resampled: bool,
}

/// The axis order towards the network's, and the spacing to change to, if any.
fn orders(source: &Grid, m: &Manifest) -> (AxisOrder, Option<[f64; 3]>) {
    let code = working_code(&m.input.axes);
    let order = code.and_then(|code| order_to(source, &code)).unwrap_or(AxisOrder::IDENTITY);
    let Spacing::Mm([d, h, w]) = m.input.spacing_mm else { return (order, None) };
    let (have, wanted) = (source.reordered(order).spacing_mm(), [w, h, d]);
    let same = (0..3).all(|a| (have[a] - wanted[a]).abs() <= SPACING_TOLERANCE * wanted[a]);
    (order, (!same).then_some(wanted))
}

/// Whether the network's spacing differs from the image's.
pub(super) fn is_resampled(source: &Grid, m: &Manifest) -> bool {
    orders(source, m).1.is_some()
}

/// The grid the network works on: the image's axes in the nearest order, at the manifest's spacing.
///
/// # Errors
/// [`Error::Argument`] when it would have more than 2³¹ voxels.
pub fn working_grid(source: &Grid, m: &Manifest) -> Result<Grid> {
    let (order, spacing) = orders(source, m);
    let reordered = source.reordered(order);
    let grid = spacing.map_or(reordered, |mm| reordered.with_spacing(mm));
    let voxels = grid.size_ijk.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
    match voxels {
        Some(n) if n <= 1 << 31 => Ok(grid),
        _ => Err(Error::Argument(format!(
            "At the network's voxel size the image would have {:?} voxels. Check its voxel size ({}), which is \
             probably not in millimetres",
            grid.size_ijk,
            describe(source)
        ))),
    }
}

/// Size and spacing for messages.
pub(super) fn describe(g: &Grid) -> String {
    let [i, j, k] = g.size_ijk;
    let mm = g.spacing_mm().map(|v| format!("{}", (v * 1000.0).round() / 1000.0));
    format!("{i}×{j}×{k} voxels of {}×{}×{} mm, {}", mm[0], mm[1], mm[2], g.orientation_code())
}

/// Notices about tilt and spacing.
pub(super) fn remark(source: &Grid, full: &Grid, m: &Manifest, notices: &mut Vec<Notice>) {
    if source.is_oblique() {
        notices.push(Notice::info(
            "oblique",
            "The image's axes are tilted against the body's; the network sees it as stored, in the nearest axis order.",
        ));
    }
    if is_resampled(source, m) {
        notices.push(Notice::info(
            "resampled",
            format!("The network sees the image ({}) as {}.", describe(source), describe(full)),
        ));
        let (coarsest, finest) = (max3(source.spacing_mm()), max3(full.spacing_mm()));
        if coarsest > 2.5 * finest {
            notices.push(Notice::warning(
                "coarse-image",
                format!(
                    "The image's voxels are up to {coarsest:.2} mm long, the network works at {finest:.2} mm: expect a \
                     poorer result than on fine images."
                ),
            ));
        }
    }
}

fn max3(v: [f64; 3]) -> f64 {
    v.into_iter().fold(0.0, f64::max)
}

/// Whether two grids place their voxels alike, to a hundredth of the smallest voxel edge.
pub(super) fn coincide(a: &Grid, b: &Grid) -> bool {
    let edge = b.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    a.is_same(b, 0.01 * edge)
}

/// Size of the crop, `[D, H, W]`, as far as it is known without the content.
pub(super) fn largest_crop(full: &Grid, m: &Manifest) -> [usize; 3] {
    match (m.crop.kind, m.crop.fixed, m.crop.size) {
        (CropKind::Fixed, Some(b), _) => b.size,
        (CropKind::Centred, _, Some(size)) => size,
        _ => full.shape_kji(),
    }
}

/// Lays out a run. `channels` gives, per channel, its grid and the box (first and last voxel, ijk) of its
/// foreground, if it has any.
///
/// # Errors
/// As [`working_grid`], and when a fixed crop misses the image.
pub fn placement<'a>(
    source: &Grid,
    full: Grid,
    m: &Manifest,
    channels: impl Iterator<Item = (&'a Grid, Option<[[usize; 3]; 2]>)>,
) -> Result<Placement> {
    let flip = |v: [usize; 3]| [v[2], v[1], v[0]];
    let (start_ijk, size) = match (m.crop.kind, m.crop.fixed, m.crop.size) {
        (CropKind::Fixed, Some(b), _) => {
            let (start, size) = ([b.start[2], b.start[1], b.start[0]], flip(b.size));
            if (0..3).any(|a| start[a] >= full.size_ijk[a] as i64 || start[a] + size[a] as i64 <= 0) {
                return Err(Error::Argument(format!(
                    "The model looks at voxels from {:?} on (size {:?}, axes D, H, W), which lie outside this image ({})",
                    b.start,
                    b.size,
                    describe(&full)
                )));
            }
            (start, size)
        }
        (CropKind::Centred, _, Some(size)) => {
            let (low, high) = foreground(&full, channels);
            let size = flip(size);
            let start =
                [0, 1, 2].map(|a| ((low[a] + high[a]) / 2.0 - (size[a] as f64 - 1.0) / 2.0).round() as i64);
            (start, size)
        }
        (CropKind::Foreground, ..) => {
            let (low, high) = foreground(&full, channels);
            let margin = flip(m.crop.margin);
            let (mut start, mut size) = ([0; 3], full.size_ijk);
            for a in 0..3 {
                // A millionth of a voxel absorbs the rounding of the affine.
                let (n, margin) = (full.size_ijk[a] as f64, margin[a] as f64);
                let from = ((low[a] + 1e-6).floor() - margin).clamp(0.0, n - 1.0);
                let to = ((high[a] - 1e-6).ceil() + margin).clamp(from, n - 1.0);
                start[a] = from as i64;
                size[a] = (to - from) as usize + 1;
            }
            (start, size)
        }
        _ => ([0; 3], full.size_ijk),
    };
    Ok(Placement {
        source: *source,
        full,
        working: full.window(start_ijk, size),
        is_resampled: is_resampled(source, m),
    })
}

/// The box in `full` (fractional voxel centres, ijk) around the foreground of all channels; everything when there
/// is none.
fn foreground<'a>(
    full: &Grid,
    channels: impl Iterator<Item = (&'a Grid, Option<[[usize; 3]; 2]>)>,
) -> ([f64; 3], [f64; 3]) {
    let whole = ([0.0; 3], full.size_ijk.map(|n| n as f64 - 1.0));
    let Some(full_from_world) = full.voxel_from_world() else { return whole };
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for (grid, bounds) in channels {
        let Some(bounds) = bounds else { continue };
        let full_from_channel = full_from_world.after(&grid.world_from_voxel);
        for corner in 0..8 {
            let p = full_from_channel.apply([0, 1, 2].map(|a| bounds[corner >> a & 1][a] as f64));
            for a in 0..3 {
                low[a] = low[a].min(p[a]);
                high[a] = high[a].max(p[a]);
            }
        }
    }
    if (0..3).all(|a| low[a].is_finite() && high[a] >= -0.5 && low[a] <= whole.1[a] + 0.5) {
        (low, high)
    } else {
        whole
    }
}

/// Brings a channel onto the working grid: copied by index where it is the same voxels, interpolated otherwise.
/// Beyond the outer faces of a channel there is background, 0.
pub(super) fn bring(
    channel: &Gridded<ArrayView3<'_, f32>>,
    working: &Grid,
    how: Interpolation,
    task: &Task,
) -> Result<Array3<f32>> {
    Ok(resample(channel, working, how, Outside::Value(0.0), task)?)
}
