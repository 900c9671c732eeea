//! Slice pictures: the definition, on the CPU. The twin on the graphics card is `gpu/slice.rs`.
//!
//! Each pixel's centre is a world point; the visible layers show there what [`crate::sampling`] says, bottom first,
//! over black. An image's value goes through its window and colour map, whose opacity is multiplied by the layer's.
//! Labels have the colour and opacity of their row in the table; drawn as outlines, a pixel with another label in one
//! of its four neighbours is opaque, and the rest has the layer's opacity. Where two layers share the picture
//! ([`crate::scene::Split`]), each is drawn in its columns only.

use std::ops::Range;

use formats::Affine;
use rayon::prelude::*;

use crate::colour_map::ColourMap;
use crate::palette::palette;
use crate::picture::Picture;
use crate::sampling::{Line, Placement};
use crate::scene::{Content, ImageLayer, LabelLayer, Layer, Scene};
use crate::view::SliceView;

pub use crate::sampling::{Sample, sample};

/// One layer made ready to be drawn row by row.
enum Drawn<'a> {
    Image {
        layer: &'a ImageLayer,
        placement: Placement,
        opacity: f32,
        colours: Vec<[f32; 4]>,
        columns: Range<usize>,
    },
    Labels {
        labels: Vec<u16>,
        colours: Vec<[u8; 4]>,
        opacity: f32,
        outline: bool,
        columns: Range<usize>,
    },
}

/// What a thread needs for a row.
struct Row {
    below: Vec<[f32; 3]>,
    values: Vec<f64>,
    colours: Vec<[f32; 4]>,
}

/// The part of a row that a layer is drawn in.
struct Part<'a> {
    below: &'a mut [[f32; 3]],
    values: &'a mut [f64],
    colours: &'a mut [[f32; 4]],
}

impl Row {
    fn part(&mut self, columns: &Range<usize>) -> Part<'_> {
        let Self { below, values, colours } = self;
        let columns = || columns.clone();
        Part {
            below: &mut below[columns()],
            values: &mut values[columns()],
            colours: &mut colours[columns()],
        }
    }
}

/// The picture of `size_px` (width, height) that a view shows of a scene.
#[must_use]
pub fn render(scene: &Scene, view: &SliceView, size_px: [usize; 2]) -> Picture {
    let mut picture = Picture::black(size_px);
    let [width, _] = size_px;
    if picture.rgba.is_empty() {
        return picture;
    }
    let world_from_pixel =
        view.world_from_pixel(size_px.map(|n| n as f64), scene.convention, scene.cursor_ras);
    let drawn: Vec<Drawn> = scene
        .layers
        .iter()
        .filter(|l| l.visible)
        .filter_map(|layer| prepare(layer, scene, &world_from_pixel, size_px))
        .collect();
    let scratch = || Row {
        below: vec![[0.0; 3]; width],
        values: vec![f64::NAN; width],
        colours: vec![[0.0; 4]; width],
    };
    picture.rgba.par_chunks_mut(width).enumerate().for_each_init(scratch, |row, (y, pixels)| {
        row.below.fill([0.0; 3]);
        for layer in &drawn {
            match layer {
                Drawn::Image { layer, placement, opacity, colours, columns } => {
                    let line = line_of_row(placement, columns.start, y);
                    let row = row.part(columns);
                    draw_image(layer, placement, line, *opacity, colours, scene.interpolate, row);
                }
                Drawn::Labels { labels, colours, opacity, outline, columns } => {
                    draw_labels(labels, colours, *opacity, *outline, y, columns, &mut row.below);
                }
            }
        }
        for (pixel, colour) in pixels.iter_mut().zip(&row.below) {
            let [r, g, b] = colour.map(|v| (v + 0.5) as u8);
            *pixel = [r, g, b, 255];
        }
    });
    picture
}

fn prepare<'a>(
    layer: &'a Layer,
    scene: &Scene,
    world_from_pixel: &Affine,
    size_px: [usize; 2],
) -> Option<Drawn<'a>> {
    let placement = Placement::of(layer.grid(), world_from_pixel)?;
    let columns = scene.columns(layer.id, size_px[0]);
    let opacity = layer.opacity.clamp(0.0, 1.0);
    Some(match &layer.content {
        Content::Image(image) => {
            let colours = image.colour_map.rgba.iter().map(|c| premultiplied(*c, opacity)).collect();
            Drawn::Image { layer: image, placement, opacity, colours, columns }
        }
        Content::Labels(layer) => {
            let labels = label_pixels(layer, &placement, size_px);
            Drawn::Labels { labels, colours: palette(&layer.table), opacity, outline: layer.outline, columns }
        }
    })
}

/// A colour times its opacity, and what remains of the colour below it.
fn premultiplied(colour: [u8; 4], opacity: f32) -> [f32; 4] {
    let a = opacity * f32::from(colour[3]) / 255.0;
    let [r, g, b] = [0, 1, 2].map(|c| f32::from(colour[c]) * a);
    [r, g, b, 1.0 - a]
}

/// Puts such a colour over what is below.
fn over(below: &mut [f32; 3], [r, g, b, through]: [f32; 4]) {
    *below = [r + below[0] * through, g + below[1] * through, b + below[2] * through];
}

/// The centres of the pixels of row `y`, from column `x` on.
fn line_of_row(placement: &Placement, x: usize, y: usize) -> Line {
    let map = &placement.voxel_from_point;
    Line { start: map.apply([x as f64 + 0.5, y as f64 + 0.5, 0.0]), step: map.column(0) }
}

fn draw_image(
    layer: &ImageLayer,
    placement: &Placement,
    line: Line,
    opacity: f32,
    colours: &[[f32; 4]],
    interpolate: bool,
    row: Part<'_>,
) {
    let volume = layer.volume();
    if volume.voxels.is_colour() {
        placement.colours(volume, line, interpolate, row.colours);
        for (below, [r, g, b, a]) in row.below.iter_mut().zip(row.colours) {
            over(below, [*r * opacity, *g * opacity, *b * opacity, 1.0 - opacity * *a / 255.0]);
        }
        return;
    }
    placement.values(volume, line, interpolate, row.values);
    for (below, value) in row.below.iter_mut().zip(row.values).filter(|(_, v)| v.is_finite()) {
        let entry = ColourMap::entry(layer.window.position(*value) as f32);
        if let Some(colour) = colours.get(entry) {
            over(below, *colour);
        }
    }
}

/// Label numbers of all pixels and of one more on each side, so that an edge of the picture is no border of a label.
fn label_pixels(layer: &LabelLayer, placement: &Placement, [width, height]: [usize; 2]) -> Vec<u16> {
    let wide = width + 2;
    let mut labels = vec![0; wide * (height + 2)];
    labels.par_chunks_mut(wide).enumerate().for_each(|(row, labels)| {
        let map = &placement.voxel_from_point;
        let line = Line { start: map.apply([-0.5, row as f64 - 0.5, 0.0]), step: map.column(0) };
        placement.labels(&layer.labels, line, labels);
    });
    labels
}

/// Draws row `y` of what [`label_pixels`] made.
fn draw_labels(
    labels: &[u16],
    colours: &[[u8; 4]],
    opacity: f32,
    outline: bool,
    y: usize,
    columns: &Range<usize>,
    below: &mut [[f32; 3]],
) {
    let wide = below.len() + 2;
    let start = (y + 1) * wide + 1;
    for (x, below) in below.iter_mut().enumerate().take(columns.end).skip(columns.start) {
        let at = start + x;
        let label = labels[at];
        let colour = colours[usize::from(label)];
        if colour[3] == 0 {
            continue;
        }
        let is_border = outline && [at - 1, at + 1, at - wide, at + wide].iter().any(|&n| labels[n] != label);
        if is_border {
            let [r, g, b, _] = colour;
            over(below, premultiplied([r, g, b, 255], 1.0));
        } else {
            over(below, premultiplied(colour, opacity));
        }
    }
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
