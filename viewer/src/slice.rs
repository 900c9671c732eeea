//! Slice pictures: the definition, on the CPU. The twin on the graphics card is `gpu/slice.rs`.
//!
//! Each pixel's centre is a world point; the visible layers show there what [`crate::sampling`] says, bottom first,
//! over black. An image's value goes through its window and colour map, whose opacity is multiplied by the layer's.
//! Labels have the colour and opacity of their row in the table; drawn as outlines, a pixel with another label in one
//! of its four neighbours is opaque, and the rest has the layer's opacity.

use formats::Affine;
use rayon::prelude::*;

use crate::palette::palette;
use crate::picture::Picture;
use crate::sampling::{Line, Placement};
use crate::scene::{Content, ImageLayer, LabelLayer, Layer, Scene};
use crate::view::SliceView;

pub use crate::sampling::{Sample, sample};

/// One layer made ready to be drawn row by row.
enum Drawn<'a> {
    Image { layer: &'a ImageLayer, placement: Placement, opacity: f32 },
    Labels { pixels: Vec<[u8; 4]>, opacities: Vec<f32> },
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
        .filter_map(|layer| prepare(layer, &world_from_pixel, size_px))
        .collect();
    picture.rgba.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
        let mut colours = vec![[0.0_f32; 3]; width];
        for layer in &drawn {
            match layer {
                Drawn::Image { layer, placement, opacity } => {
                    let line = line_of_row(placement, y);
                    draw_image(layer, placement, line, *opacity, scene.interpolate, &mut colours);
                }
                Drawn::Labels { pixels, opacities } => {
                    let at = y * width..(y + 1) * width;
                    for ((below, label), opacity) in
                        colours.iter_mut().zip(&pixels[at.clone()]).zip(&opacities[at])
                    {
                        over(below, *label, *opacity);
                    }
                }
            }
        }
        for (pixel, colour) in row.iter_mut().zip(&colours) {
            let [r, g, b] = colour.map(|v| (v + 0.5) as u8);
            *pixel = [r, g, b, 255];
        }
    });
    picture
}

fn prepare<'a>(layer: &'a Layer, world_from_pixel: &Affine, size_px: [usize; 2]) -> Option<Drawn<'a>> {
    let placement = Placement::of(layer.grid(), world_from_pixel)?;
    let opacity = layer.opacity.clamp(0.0, 1.0);
    match &layer.content {
        Content::Image(image) => Some(Drawn::Image { layer: image, placement, opacity }),
        Content::Labels(labels) => {
            let (pixels, opacities) = label_pixels(labels, &placement, opacity, size_px);
            Some(Drawn::Labels { pixels, opacities })
        }
    }
}

fn line_of_row(placement: &Placement, y: usize) -> Line {
    let map = &placement.voxel_from_point;
    Line { start: map.apply([0.5, y as f64 + 0.5, 0.0]), step: map.column(0) }
}

/// Puts a colour (not premultiplied, with its own opacity 0..=255) over what is below.
fn over(below: &mut [f32; 3], colour: [u8; 4], opacity: f32) {
    let a = opacity * f32::from(colour[3]) / 255.0;
    for c in 0..3 {
        below[c] += (f32::from(colour[c]) - below[c]) * a;
    }
}

fn draw_image(
    layer: &ImageLayer,
    placement: &Placement,
    line: Line,
    opacity: f32,
    interpolate: bool,
    below: &mut [[f32; 3]],
) {
    let volume = layer.volume();
    if volume.voxels.is_colour() {
        let mut colours = vec![[0.0; 4]; below.len()];
        placement.colours(volume, line, interpolate, &mut colours);
        for (below, colour) in below.iter_mut().zip(&colours) {
            let through = 1.0 - opacity * colour[3] / 255.0;
            for c in 0..3 {
                below[c] = below[c] * through + colour[c] * opacity;
            }
        }
        return;
    }
    let mut values = vec![f64::NAN; below.len()];
    placement.values(volume, line, interpolate, &mut values);
    for (below, value) in below.iter_mut().zip(&values).filter(|(_, v)| v.is_finite()) {
        over(below, layer.colour_map.at(layer.window.position(*value) as f32), opacity);
    }
}

/// Colours and layer opacities of all pixels of a segmentation.
fn label_pixels(
    layer: &LabelLayer,
    placement: &Placement,
    opacity: f32,
    size_px: [usize; 2],
) -> (Vec<[u8; 4]>, Vec<f32>) {
    let [width, height] = size_px;
    // One pixel more on each side, so that an edge of the picture is no border of a label.
    let wide = width + 2;
    let mut labels = vec![0_u16; wide * (height + 2)];
    labels.par_chunks_mut(wide).enumerate().for_each(|(row, labels)| {
        let map = &placement.voxel_from_point;
        let line = Line { start: map.apply([-0.5, row as f64 - 0.5, 0.0]), step: map.column(0) };
        placement.labels(&layer.labels, line, labels);
    });
    let colours = palette(&layer.table);
    let mut pixels = vec![[0; 4]; width * height];
    let mut opacities = vec![opacity; width * height];
    pixels.par_chunks_mut(width).zip(opacities.par_chunks_mut(width)).enumerate().for_each(
        |(y, (row, faint))| {
            let start = (y + 1) * wide + 1;
            for x in 0..width {
                let at = start + x;
                let label = labels[at];
                row[x] = colours[usize::from(label)];
                let is_border = layer.outline
                    && [at - 1, at + 1, at - wide, at + wide].iter().any(|&n| labels[n] != label);
                if is_border && row[x][3] > 0 {
                    row[x][3] = 255;
                    faint[x] = 1.0;
                }
            }
        },
    );
    (pixels, opacities)
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
