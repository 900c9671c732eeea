//! The quick-look picture of a detector: the slices with the best boxes, and the boxes on them.
//!
//! Slices of volumes are shown as in the montage: the patient's right on the left, anterior and superior up. Pictures
//! without a place in space are shown as they are. Pixels are square in millimetres.

use std::path::Path;

use formats::{Grid, Volume};
use image::{Rgb, RgbImage};
use models::plain::{Detected, FoundBox};

use super::{GAP, INK, Ras, auto_window, encode, font};
use formats::labels::default_rgb;

/// Slices that are shown at most, and pixels along the longest side of one.
const MOST: usize = 6;
const SIDE_PX: f64 = 420.0;
/// Pixels of the line of text above the slices.
const HEAD: u32 = 18;

/// Axis and number of a slice.
type Place = (char, usize);

/// Draws the picture and writes it as PNG, atomically.
///
/// # Errors
/// [`formats::Error::Io`].
pub fn write_png(
    volume: &Volume,
    detected: &Detected,
    title: &str,
    is_picture: bool,
    path: &Path,
) -> formats::Result<()> {
    formats::atomic::write_bytes(path, &encode(&draw(volume, detected, title, is_picture))?)
}

/// The picture.
pub fn draw(volume: &Volume, detected: &Detected, title: &str, is_picture: bool) -> RgbImage {
    // Boxes by slice, in the order of their best: none of pictures, and of volumes of one slice.
    let mut slices: Vec<(Option<Place>, Vec<&FoundBox>)> = Vec::new();
    for b in &detected.boxes {
        let key = b.slice.map(|s| (s.axis, s.index));
        match slices.iter_mut().find(|(k, _)| *k == key) {
            Some((_, boxes)) => boxes.push(b),
            None => slices.push((key, vec![b])),
        }
    }
    slices.truncate(MOST);
    if slices.is_empty() {
        let size = volume.grid.size_ijk;
        slices.push(((size[2] > 1).then_some(('k', size[2] / 2)), Vec::new()));
    }
    let tiles: Vec<RgbImage> =
        slices.iter().map(|(slice, boxes)| tile(volume, *slice, boxes, is_picture)).collect();
    let columns = tiles.len().min(3);
    let (w, h) = tiles.iter().fold((1, 1), |(w, h), t| (w.max(t.width()), h.max(t.height())));
    let rows = tiles.len().div_ceil(columns) as u32;
    let mut all = RgbImage::new(columns as u32 * (w + GAP) + GAP, rows * (h + GAP) + GAP + HEAD);
    let count = detected.boxes.len();
    let head = format!("{title}: {count} box{}", if count == 1 { "" } else { "es" });
    font::draw(&mut all, i64::from(GAP) + 2, 6, &head, 1, INK);
    for (n, tile) in tiles.iter().enumerate() {
        let (column, row) = ((n % columns) as u32, (n / columns) as u32);
        image::imageops::replace(
            &mut all,
            tile,
            i64::from(GAP + column * (w + GAP)),
            i64::from(HEAD + GAP + row * (h + GAP)),
        );
    }
    all
}

/// One slice with its boxes.
fn tile(volume: &Volume, slice: Option<Place>, boxes: &[&FoundBox], is_picture: bool) -> RgbImage {
    let ras = Ras::new(volume);
    let (low, high) = auto_window(&ras);
    let grid = &volume.grid;
    let (through, index) = slice.map_or_else(
        || ((0..3).rev().find(|&a| grid.size_ijk[a] == 1).unwrap_or(2), 0),
        |(axis, index)| (['i', 'j', 'k'].iter().position(|a| *a == axis).unwrap_or(2), index),
    );
    let [across, down] = sides(grid, through, is_picture);
    let mm = grid.spacing_mm();
    let length = |s: Side| grid.size_ijk[s.axis] as f64 * mm[s.axis];
    let scale = SIDE_PX / length(across).max(length(down)).max(f64::MIN_POSITIVE);
    let px = |s: Side| ((length(s) * scale).round() as u32).max(1);
    let (width, height) = (px(across), px(down));
    // From a pixel's edge to an index of the axis, and back.
    let index_of = |s: Side, p: f64, all: u32| {
        let part = p / f64::from(all);
        (if s.reversed { 1.0 - part } else { part }) * grid.size_ijk[s.axis] as f64 - 0.5
    };
    let pixel_of = |s: Side, v: f64, all: u32| {
        let part = (v + 0.5) / grid.size_ijk[s.axis] as f64;
        (if s.reversed { 1.0 - part } else { part }) * f64::from(all)
    };
    let mut out = RgbImage::from_fn(width, height, |x, y| {
        let mut at = [0; 3];
        at[through] = index.min(grid.size_ijk[through] - 1);
        for (s, p, all) in [(across, x, width), (down, y, height)] {
            let v = index_of(s, f64::from(p) + 0.5, all).round().max(0.0) as usize;
            at[s.axis] = v.min(grid.size_ijk[s.axis] - 1);
        }
        if let Some(rgb) = colour(volume, at) {
            return Rgb(rgb);
        }
        let v = volume.value(at).unwrap_or(0.0);
        let grey = (v - f64::from(low)) / f64::from(high - low);
        Rgb([(grey.clamp(0.0, 1.0) * 255.0) as u8; 3])
    });
    for b in boxes.iter().rev() {
        let ends = |s: Side, all: u32| {
            let ends = [b.min_ijk, b.max_ijk].map(|c| pixel_of(s, c[s.axis], all).round() as i64);
            [ends[0].min(ends[1]), ends[0].max(ends[1]) - 1]
        };
        let ([l, r], [t, e]) = (ends(across, width), ends(down, height));
        let ink = Rgb(default_rgb(u16::try_from(b.class_index + 1).unwrap_or(u16::MAX)));
        frame(&mut out, [l, t, r, e], ink);
        let words = format!("{} {:.0} %", b.class, b.score * 100.0);
        let top = if t >= 10 { t - 10 } else { e.min(i64::from(height) - 10) + 3 };
        font::draw_outlined(&mut out, l.max(2), top, &words, 1, ink);
    }
    if let Some((axis, index)) = slice {
        font::draw_outlined(&mut out, 3, i64::from(height) - 10, &format!("{axis} {index}"), 1, INK);
    }
    out
}

/// An axis of the image across or down the picture.
#[derive(Clone, Copy)]
struct Side {
    axis: usize,
    reversed: bool,
}

/// Which axes run across and down.
fn sides(grid: &Grid, through: usize, is_picture: bool) -> [Side; 2] {
    let axes: Vec<usize> = (0..3).filter(|a| *a != through).collect();
    if is_picture {
        return [axes[0], axes[1]].map(|axis| Side { axis, reversed: false });
    }
    // Across: R to L, else A to P; down: A to P where that is not across, else S to I.
    let world = grid.axes_ras();
    let of = |w: usize| axes.iter().copied().find(|&a| world[a].0 == w);
    let order: Vec<usize> = [0, 1, 2].into_iter().filter_map(of).collect();
    let order = if order.len() == 2 { order } else { axes };
    // The picture runs towards the negative end of each world axis, so positive steps are reversed.
    [order[0], order[1]].map(|axis| Side { axis, reversed: world[axis].1 })
}

fn frame(out: &mut RgbImage, [l, t, r, b]: [i64; 4], ink: Rgb<u8>) {
    let mut put = |x: i64, y: i64| {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = out.get_pixel_mut_checked(x, y)
        {
            *pixel = ink;
        }
    };
    for inset in 0..2 {
        let (l, t, r, b) = (l + inset, t + inset, r - inset, b - inset);
        (l..=r).for_each(|x| [t, b].into_iter().for_each(|y| put(x, y)));
        (t..=b).for_each(|y| [l, r].into_iter().for_each(|x| put(x, y)));
    }
}

/// The colour of a voxel, of colour pictures.
fn colour(volume: &Volume, [i, j, k]: [usize; 3]) -> Option<[u8; 3]> {
    use formats::Voxels;
    let deep = |v: u16| (v >> 8) as u8;
    match &volume.voxels {
        Voxels::Rgb8(a) => a.get([k, j, i]).copied(),
        Voxels::Rgba8(a) => a.get([k, j, i]).map(|c| [c[0], c[1], c[2]]),
        Voxels::Rgb16(a) => a.get([k, j, i]).map(|c| [deep(c[0]), deep(c[1]), deep(c[2])]),
        Voxels::Rgba16(a) => a.get([k, j, i]).map(|c| [deep(c[0]), deep(c[1]), deep(c[2])]),
        _ => None,
    }
}
