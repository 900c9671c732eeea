//! Pictures of what was found: outlines on the image.

use models::mayor::Line;
use ndarray::{Array3, s};

/// Colour of outlines.
const OUTLINE: [u8; 3] = [255, 64, 48];

/// The picture `[H, W, 3]` with the outlines of the lines.
#[must_use]
pub fn outlined(mut picture: Array3<u8>, lines: &[Line]) -> Array3<u8> {
    for line in lines {
        let next = line.polygon.iter().cycle().skip(1);
        line.polygon.iter().zip(next).for_each(|(&a, &b)| stroke(&mut picture, a, b, OUTLINE));
    }
    picture
}

/// Colours the pixels from `a` to `b`.
fn stroke(picture: &mut Array3<u8>, a: [f64; 2], b: [f64; 2], colour: [u8; 3]) {
    let (h, w, _) = picture.dim();
    let steps = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).ceil().max(1.0);
    for i in 0..=steps as usize {
        let at = |axis: usize| a[axis] + (b[axis] - a[axis]) * i as f64 / steps;
        // Outlines run along edges of pixels: the last ones belong to the pixels before.
        let (x, y) = ((at(0) - 0.01).max(0.0) as usize, (at(1) - 0.01).max(0.0) as usize);
        if x < w && y < h {
            picture.slice_mut(s![y, x, ..]).assign(&ndarray::arr1(&colour));
        }
    }
}

/// A picture as PNG bytes.
///
/// # Errors
/// For a picture without pixels.
pub fn png(picture: &Array3<u8>) -> image::ImageResult<Vec<u8>> {
    let (h, w, _) = picture.dim();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let pixels: Vec<u8> = picture.iter().copied().collect();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, &pixels, size(w), size(h), image::ExtendedColorType::Rgb8)?;
    Ok(bytes)
}
