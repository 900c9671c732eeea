//! A small picture of a stack, for lists.

use super::pixels::{Instance, Photometric, VoiFunction};
use super::series::{Piece, Stack};
use crate::error::{Error, Result};
use crate::voxels::Scalar;

/// A small picture: 8-bit RGBA rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 4` bytes, red, green, blue, 255.
    pub rgba: Vec<u8>,
}

/// The middle slice of the first frame, at most `size` pixels wide and high, pixels square, windowed as its header says
/// (otherwise from the 1st to the 99th percentile). Reads and decodes that one slice.
///
/// # Errors
/// Those of [`Instance`]; [`Error::Argument`] for a size of 0.
pub fn thumbnail(stack: &Stack, size: usize) -> Result<Thumbnail> {
    let pieces: Vec<&Piece> = stack.frames.first().into_iter().flatten().flatten().collect();
    let piece = pieces.get(pieces.len() / 2).filter(|_| size > 0);
    let piece = piece.ok_or_else(|| Error::Argument("a thumbnail of nothing".to_owned()))?;
    let instance = Instance::open(&piece.record.path)?;
    let layout = instance.layout();
    let n = piece.frame as usize;
    let samples = instance.frame(n)?;
    let (mut columns, mut rows, mut start) = (layout.columns, layout.rows, 0);
    if let (Some(tile), Some(mosaic)) = (piece.tile, piece.record.mosaic) {
        let side = mosaic.side.max(1) as usize;
        (columns, rows) = (columns / side, rows / side);
        start = (tile as usize / side) * rows * layout.columns + (tile as usize % side) * columns;
    }
    let [x_mm, y_mm, _] = stack.grid.spacing_mm();
    let (x_mm, y_mm) = if x_mm > 0.0 && y_mm > 0.0 { (x_mm, y_mm) } else { (1.0, 1.0) };
    let (wide, high) = (columns as f64 * x_mm, rows as f64 * y_mm);
    let scale = size as f64 / wide.max(high);
    let side = |mm: f64| ((mm * scale).round() as usize).clamp(1, size);
    let (width, height) = (side(wide), side(high));

    let palette = instance.palette()?;
    let modality = instance.modality(n)?;
    let at = |pixel: usize, channel: usize| -> f64 {
        let index = pixel * layout.samples + channel;
        crate::for_samples!(&samples, v => v.get(index).map_or(0.0, |v| v.to_f64()))
    };
    // The nearest pixel: thumbnails are for recognition.
    let source = |x: usize, y: usize| {
        let i = ((x as f64 + 0.5) * columns as f64 / width as f64) as usize;
        let j = ((y as f64 + 0.5) * rows as f64 / height as f64) as usize;
        start + j.min(rows - 1) * layout.columns + i.min(columns - 1)
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| source(x, y));
    let mut rgba = Vec::with_capacity(width * height * 4);
    if let Some(palette) = palette {
        pixels.for_each(|p| rgba.extend(palette.rgb8(at(p, 0) as i64).into_iter().chain([255])));
    } else if layout.samples == 3 {
        let most = 2f64.powi(layout.bits_allocated.min(32) as i32) - 1.0;
        let byte = |v: f64| (v / most * 255.0).round() as u8;
        pixels.for_each(|p| rgba.extend([byte(at(p, 0)), byte(at(p, 1)), byte(at(p, 2)), 255]));
    } else {
        let values: Vec<f64> = pixels.map(|p| modality.apply(at(p, 0))).collect();
        let window = instance.voi(n).windows.into_iter().next();
        let (low, high) = match window {
            Some(w) if w.function == VoiFunction::Linear => {
                (w.center - 0.5 - (w.width - 1.0) / 2.0, w.center - 0.5 + ((w.width - 1.0) / 2.0).max(0.5))
            }
            Some(w) => (w.center - w.width / 2.0, w.center + w.width / 2.0),
            None => percentiles(&values),
        };
        let inverted = layout.photometric == Photometric::Monochrome1;
        for v in values {
            let grey = if v.is_finite() {
                ((v - low) / (high - low).max(1e-12) * 255.0).clamp(0.0, 255.0)
            } else {
                0.0
            };
            let grey = grey.round() as u8;
            let grey = if inverted { 255 - grey } else { grey };
            rgba.extend([grey, grey, grey, 255]);
        }
    }
    Ok(Thumbnail { width, height, rgba })
}

fn percentiles(values: &[f64]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        sorted.get(((sorted.len() as f64 - 1.0).max(0.0) * part) as usize).copied().unwrap_or(0.0)
    };
    (at(0.01), at(0.99))
}
