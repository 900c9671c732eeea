//! Pictures and slices as the network sees them, and its masks back on their pixels.

use formats::{Grid, Volume, Voxels};
use inference::bicubic::bicubic;
use inference::normalise::{Of, percentiles};
use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};

use crate::manifest::{Manifest, STORED, Spacing, working_code};
use crate::restorer::values;
use crate::xdecoder::postprocess::{Sizes, full_size};
use crate::xdecoder::{DEVIATION, MEAN, MULTIPLE};

/// These percentiles of a slice's pixels other than 0 become 0 and 255 (8-bit pictures for packs of photographs stay as
/// they are).
const PERCENTILES: [f64; 2] = [1.0, 99.5];
/// Logit of what lies outside of what the network saw.
const OUTSIDE: f32 = -30.0;

/// Red, green and blue, 0..=255, in the size the network sees.
#[derive(Clone, Debug)]
pub struct Picture {
    /// `[3, h, w]`.
    pub rgb: Array3<f32>,
}

impl Picture {
    /// Normalised, then padded with zeros on the right and below to multiples of 32: `(1, 3, H, W)`.
    #[must_use]
    pub fn normalised(&self) -> Array4<f32> {
        let (_, h, w) = self.rgb.dim();
        let [high, wide] = self.padded();
        let mut out = Array4::zeros((1, 3, high, wide));
        for c in 0..3 {
            let plane = self.rgb.index_axis(Axis(0), c).mapv(|v| (v - MEAN[c]) / DEVIATION[c]);
            out.slice_mut(s![0, c, ..h, ..w]).assign(&plane);
        }
        out
    }

    /// Height and width with the padding.
    #[must_use]
    pub fn padded(&self) -> [usize; 2] {
        let (_, h, w) = self.rgb.dim();
        [h, w].map(|n| n.max(1).next_multiple_of(MULTIPLE))
    }
}

/// A picture `[3, h, w]` of whole numbers with its shorter side resized to `side`, bicubic; the longer one is rounded down.
/// Columns first, rounded to whole numbers between, as Pillow does it.
#[must_use]
pub fn shorter_side(rgb: ArrayView3<'_, f32>, side: usize) -> Array3<f32> {
    let (_, h, w) = rgb.dim();
    let [high, wide] = resized([h, w], side);
    let whole = |v: f32| v.round().clamp(0.0, 255.0);
    let narrow = bicubic(rgb, [h, wide]).mapv(whole);
    bicubic(narrow.view(), [high, wide]).mapv(whole)
}

fn resized([h, w]: [usize; 2], side: usize) -> [usize; 2] {
    if w <= h { [side * h / w.max(1), side] } else { [side, side * w / h.max(1)] }
}

/// An axis of a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Side {
    /// Of the image, 0 = i.
    axis: usize,
    /// Whether the network sees it the other way round.
    is_reversed: bool,
    count: usize,
    /// Pixels from the first to the last that is not background, anywhere in the image.
    content: usize,
    mm: f64,
}

/// How slices across an axis become pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The axis, 0 = i.
    pub across: usize,
    /// The direction of the body nearest to it: 0 right, 1 front, 2 up.
    pub direction: usize,
    sides: [Side; 2],
    fit: Fit,
}

#[derive(Clone, Debug, PartialEq)]
enum Fit {
    /// The whole slice, its shorter side of so many pixels.
    Whole { shorter: usize },
    /// A grid of so many pixels of so many millimetres, centred here (rows and columns as the network sees them).
    Window { size: [usize; 2], mm: f64, centre: [f64; 2] },
}

impl Frame {
    /// Across an axis of an image; `content` is the first and the last voxel of what is not background.
    ///
    /// The axes of the slice are turned as the manifest's axes say; packs that follow the file see slices as they are
    /// displayed: patient's right on the left, front or top at the top.
    #[must_use]
    pub fn new(m: &Manifest, grid: &Grid, across: usize, content: [[usize; 3]; 2]) -> Self {
        let [low, high] = content;
        let middle = [0, 1, 2].map(|a| (low[a] + high[a]) as f64 / 2.0);
        let code = if m.input.axes == STORED { None } else { working_code(&m.input.axes) };
        let order = inference::reorient::order_to(grid, &code.unwrap_or_else(|| "LPI".to_owned()))
            .unwrap_or(formats::AxisOrder::IDENTITY);
        let direction = (0..3).find(|&a| order.source[a] == across).unwrap_or(2);
        let spacing = grid.spacing_mm();
        let mut rest = (0..3).rev().filter(|&a| a != direction).map(|a| {
            let axis = order.source[a];
            Side {
                axis,
                is_reversed: order.reversed[a],
                count: grid.size_ijk[axis],
                content: high[axis].saturating_sub(low[axis]) + 1,
                mm: spacing[axis],
            }
        });
        let fallback = Side { axis: 0, is_reversed: false, count: 1, content: 1, mm: 1.0 };
        let sides = [rest.next().unwrap_or(fallback), rest.next().unwrap_or(fallback)];
        let [_, h, w] = m.tiles.patch;
        let fit = match m.input.spacing_mm {
            Spacing::Native => Fit::Whole { shorter: h.min(w) },
            Spacing::Mm([mm, ..]) => {
                let centre = sides.map(|s| {
                    if s.is_reversed { (s.count - 1) as f64 - middle[s.axis] } else { middle[s.axis] }
                });
                Fit::Window { size: [h, w], mm, centre }
            }
        };
        Self { across, direction, sides, fit }
    }

    /// Pixels of a slice, rows and columns as the network sees them.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        self.sides.map(|s| s.count)
    }

    /// Height and width of the network's input.
    #[must_use]
    pub fn padded(&self) -> [usize; 2] {
        let size = match self.fit {
            Fit::Whole { shorter } => resized(self.size(), shorter),
            Fit::Window { size, .. } => size,
        };
        size.map(|n| n.max(1).next_multiple_of(MULTIPLE))
    }

    /// The part of the content, along rows and columns, that the network sees; none when it sees all.
    #[must_use]
    pub fn cut(&self) -> Option<[f64; 2]> {
        let Fit::Window { size, mm, .. } = self.fit else { return None };
        let part = [0, 1].map(|a| size[a] as f64 * mm / (self.sides[a].content as f64 * self.sides[a].mm));
        part.iter().any(|&p| p < 0.999).then_some(part.map(|p| p.min(1.0)))
    }

    /// A plane of the image's array without the axis across, rows and columns as the network sees them.
    fn turned<'a, T>(&self, plane: ArrayView2<'a, T>) -> ArrayView2<'a, T> {
        let mut view = if self.sides[0].axis > self.sides[1].axis { plane } else { plane.reversed_axes() };
        for (a, side) in self.sides.iter().enumerate() {
            if side.is_reversed {
                view.invert_axis(Axis(a));
            }
        }
        view
    }

    /// As [`Frame::turned`], to write to.
    pub(super) fn turned_mut<'a, T>(&self, plane: ArrayViewMut2<'a, T>) -> ArrayViewMut2<'a, T> {
        let mut view = if self.sides[0].axis > self.sides[1].axis { plane } else { plane.reversed_axes() };
        for (a, side) in self.sides.iter().enumerate() {
            if side.is_reversed {
                view.invert_axis(Axis(a));
            }
        }
        view
    }

    /// Slice `n` as a picture; `None` when all its values are one.
    #[must_use]
    pub fn picture(&self, volume: &Volume, n: usize) -> Option<Picture> {
        let unit = values::Scale::NONE;
        let colours = values::colours(&volume.voxels);
        let is_picture = matches!(volume.voxels, Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_))
            && volume.scaling.is_none()
            && matches!(self.fit, Fit::Whole { .. });
        let planes: Vec<Array2<f32>> = (0..colours)
            .map(|c| {
                let plane = values::plane(volume, self.across, n, c, unit);
                let plane = plane.mapv(|v| if v.is_finite() { v } else { 0.0 });
                self.sampled(self.turned(plane.view()))
            })
            .collect();
        let first = planes.first()?.first().copied()?;
        if planes.iter().all(|p| p.iter().all(|&v| v == first)) {
            return None;
        }
        let (h, w) = planes[0].dim();
        let mut rgb = Array3::<f32>::zeros((3, h, w));
        for (c, mut to) in rgb.outer_iter_mut().enumerate() {
            to.assign(&planes[c.min(planes.len() - 1)]);
        }
        if !is_picture {
            let (low, high) = percentiles(&rgb, PERCENTILES[0], PERCENTILES[1], Of::Nonzero)?;
            let width = (high - low).max(1e-6);
            rgb.mapv_inplace(|v| {
                (((f64::from(v) - low) / width).clamp(0.0, 1.0) * 255.0 + 0.5).floor() as f32
            });
        }
        if let Fit::Whole { shorter } = self.fit {
            rgb = shorter_side(rgb.view(), shorter);
        }
        Some(Picture { rgb })
    }

    /// A turned plane on the grid of a window; as it is where the whole slice is seen.
    fn sampled(&self, plane: ArrayView2<'_, f32>) -> Array2<f32> {
        let Fit::Window { size: [h, w], mm, centre } = self.fit else { return plane.to_owned() };
        let at = |n: usize, a: usize, count: usize| {
            centre[a] + (n as f64 - (count as f64 - 1.0) / 2.0) * mm / self.sides[a].mm
        };
        Array2::from_shape_fn((h, w), |(r, c)| bilinear(plane, at(r, 0, h), at(c, 1, w)))
    }

    /// As [`Frame::masks`], in the size in which the network saw the slice.
    #[must_use]
    pub fn coarse(&self, masks: ArrayView3<'_, f32>) -> Array3<f32> {
        let Fit::Whole { shorter } = self.fit else { return self.masks(masks) };
        let resized = resized(self.size(), shorter);
        full_size(masks, Sizes { padded: self.padded(), resized, original: resized })
    }

    /// Logits of masks `[n, H/4, W/4]` on the pixels of the slice, `[n, rows, columns]`.
    #[must_use]
    pub fn masks(&self, masks: ArrayView3<'_, f32>) -> Array3<f32> {
        let [rows, columns] = self.size();
        match self.fit {
            Fit::Whole { shorter } => {
                let resized = resized([rows, columns], shorter);
                full_size(masks, Sizes { padded: self.padded(), resized, original: [rows, columns] })
            }
            Fit::Window { size: [h, w], mm, centre } => {
                let fine = bicubic(masks, self.padded());
                let at = |n: usize, a: usize, count: usize| {
                    (n as f64 - centre[a]) * self.sides[a].mm / mm + (count as f64 - 1.0) / 2.0
                };
                let inside = |p: f64, n: usize| (-0.5..=n as f64 - 0.5).contains(&p);
                let mut out = Array3::zeros((masks.dim().0, rows, columns));
                for (mut to, mask) in out.outer_iter_mut().zip(fine.outer_iter()) {
                    for ((r, c), v) in to.indexed_iter_mut() {
                        let (y, x) = (at(r, 0, h), at(c, 1, w));
                        *v = if inside(y, h) && inside(x, w) {
                            bilinear(mask, y.clamp(0.0, h as f64 - 1.0), x.clamp(0.0, w as f64 - 1.0))
                        } else {
                            OUTSIDE
                        };
                    }
                }
                out
            }
        }
    }
}

/// Interpolated between four pixels; those outside are 0.
fn bilinear(plane: ArrayView2<'_, f32>, y: f64, x: f64) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (dy, dx) = ((y - top) as f32, (x - left) as f32);
    let pixel = |r: f64, c: f64| {
        if r < 0.0 || c < 0.0 { 0.0 } else { plane.get([r as usize, c as usize]).copied().unwrap_or(0.0) }
    };
    let above = pixel(top, left) * (1.0 - dx) + pixel(top, left + 1.0) * dx;
    let below = pixel(top + 1.0, left) * (1.0 - dx) + pixel(top + 1.0, left + 1.0) * dx;
    above * (1.0 - dy) + below * dy
}
