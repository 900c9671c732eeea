//! Planes of any size through a network that sees tiles: reflected at the border, overlapping, blended.
//!
//! The weight of a tile rises linearly over the overlap and is a product of one factor per axis; each factor is divided
//! by the sum over the tiles of its axis beforehand, so that the weights of a pixel add up to 1 and no plane of weights
//! exists. A difference between two tiles is thereby spread over the whole overlap, never a step.

use formats::Task;
use inference::net::Net;
use ndarray::{Array3, Array4, ArrayView3, Axis, s};

use crate::error::{Error, Result};

/// How one axis is cut.
#[derive(Clone, Debug, PartialEq)]
struct Side {
    /// Pixels of the plane.
    length: usize,
    /// Pixels of a tile.
    tile: usize,
    /// Pixels before the plane in the padded plane.
    before: usize,
    /// First pixels of tiles in the padded plane, ascending.
    starts: Vec<usize>,
    /// Weight per start and pixel of the tile.
    weights: Vec<Vec<f32>>,
}

/// How planes of one size are cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiling {
    rows: Side,
    columns: Side,
}

/// What a network accepts along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Tiles of exactly this many pixels.
    Fixed(usize),
    /// Multiples of the first number, up to the second: smaller planes take a smaller tile.
    Multiples(usize, usize),
}

impl Side {
    fn new(length: usize, reach: Reach, overlap: f64) -> Self {
        let (tile, multiple) = match reach {
            Reach::Fixed(tile) => (tile, tile),
            Reach::Multiples(multiple, most) => (even(length).next_multiple_of(multiple).min(most), multiple),
        };
        let padded =
            if even(length) <= tile { even(length).next_multiple_of(multiple).max(tile) } else { length };
        let before = if padded > length { (padded - even(length)) / 2 } else { 0 };
        let room = padded - tile;
        let shared = ((tile as f64 * overlap).round() as usize).clamp(1, tile - 1);
        let count = room.div_ceil(tile - shared) + 1;
        let start = |k: usize| {
            if count == 1 { 0 } else { (k as f64 * room as f64 / (count - 1) as f64).round() as usize }
        };
        let starts: Vec<usize> = (0..count).map(start).collect();
        // Distance from the tile's edge, in overlaps; at the plane's own border nobody else has a say.
        let ramp = |p: usize| ((p.min(tile - 1 - p) as f32 + 0.5) / shared as f32).min(1.0);
        let mut sum = vec![0.0f32; padded];
        for &start in &starts {
            (0..tile).for_each(|p| sum[start + p] += ramp(p));
        }
        let weights =
            starts.iter().map(|&start| (0..tile).map(|p| ramp(p) / sum[start + p]).collect()).collect();
        Self { length, tile, before, starts, weights }
    }

    /// The plane's pixel behind a pixel of the padded plane. As the official evaluation pads: odd lengths get one more,
    /// then half of what is missing on each side, both by reflection about the border pixel (`numpy.pad`, "reflect").
    fn source(&self, padded: usize) -> usize {
        let even = even(self.length);
        reflected(reflected(padded as i64 - self.before as i64, even) as i64, self.length)
    }
}

fn even(n: usize) -> usize {
    n + n % 2
}

/// `at` folded back into `0..n` about the first and the last pixel.
fn reflected(at: i64, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n as i64 - 1);
    let folded = at.rem_euclid(period);
    folded.min(period - folded) as usize
}

impl Tiling {
    /// For planes of `height` × `width` pixels (at least 1 × 1); `overlap` is the least shared part of neighbouring
    /// tiles, 0 < overlap < 1.
    pub fn new(height: usize, width: usize, reach: [Reach; 2], overlap: f64) -> Self {
        Self { rows: Side::new(height, reach[0], overlap), columns: Side::new(width, reach[1], overlap) }
    }

    /// Tiles of a plane.
    pub fn count(&self) -> usize {
        self.rows.starts.len() * self.columns.starts.len()
    }

    /// Height and width of a tile.
    pub fn tile(&self) -> [usize; 2] {
        [self.rows.tile, self.columns.tile]
    }

    /// A plane `[C, H, W]` through the network: one input `[N, C, h, w]`, one output of the same shape. `batch` tiles
    /// per call; `done` is told after each call how many tiles are through.
    ///
    /// # Errors
    /// Those of the network; [`Error::Cancelled`].
    pub fn run(
        &self,
        net: &mut dyn Net,
        plane: ArrayView3<'_, f32>,
        batch: usize,
        task: &Task,
        done: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Array3<f32>> {
        let (channels, height, width) = plane.dim();
        let [h, w] = self.tile();
        let name = net.inputs().first().map(|p| p.name.clone()).unwrap_or_default();
        let mut out = Array3::<f32>::zeros((channels, height, width));
        let corners: Vec<[usize; 2]> = (0..self.rows.starts.len())
            .flat_map(|y| (0..self.columns.starts.len()).map(move |x| [y, x]))
            .collect();
        let mut through = 0;
        for some in corners.chunks(batch.max(1)) {
            let mut tiles = Array4::<f32>::zeros((some.len(), channels, h, w));
            for (mut tile, &corner) in tiles.axis_iter_mut(Axis(0)).zip(some) {
                self.cut(plane, corner, &mut tile);
            }
            let found = net.run(&[(&name, tiles.view().into_dyn())], task)?;
            let answers = found
                .into_iter()
                .next()
                .and_then(|a| a.into_dimensionality::<ndarray::Ix4>().ok())
                .filter(|a| a.dim() == tiles.dim())
                .ok_or_else(|| {
                    Error::Argument("the network's answer has another size than its input".to_owned())
                })?;
            for (answer, &corner) in answers.axis_iter(Axis(0)).zip(some) {
                self.add(answer, corner, &mut out);
            }
            through += some.len();
            done(through)?;
        }
        Ok(out)
    }

    fn cut(
        &self,
        plane: ArrayView3<'_, f32>,
        [y, x]: [usize; 2],
        tile: &mut ndarray::ArrayViewMut3<'_, f32>,
    ) {
        let columns: Vec<usize> =
            (0..self.columns.tile).map(|p| self.columns.source(self.columns.starts[x] + p)).collect();
        for (c, mut channel) in tile.axis_iter_mut(Axis(0)).enumerate() {
            for (p, mut row) in channel.axis_iter_mut(Axis(0)).enumerate() {
                let from = plane.slice(s![c, self.rows.source(self.rows.starts[y] + p), ..]);
                row.iter_mut().zip(&columns).for_each(|(to, &at)| *to = from[at]);
            }
        }
    }

    fn add(&self, answer: ArrayView3<'_, f32>, [y, x]: [usize; 2], out: &mut Array3<f32>) {
        // The part of the tile that lies in the plane.
        let inside = |side: &Side, n: usize| {
            let first = side.before.saturating_sub(side.starts[n]);
            let last = (side.before + side.length).saturating_sub(side.starts[n]).min(side.tile);
            (first..last, side.starts[n] + first - side.before)
        };
        let ((rows, top), (columns, left)) = (inside(&self.rows, y), inside(&self.columns, x));
        let across = &self.columns.weights[x][columns.clone()];
        for c in 0..answer.dim().0 {
            for (n, p) in rows.clone().enumerate() {
                let down = self.rows.weights[y][p];
                let from = answer.slice(s![c, p, columns.clone()]);
                let mut to = out.slice_mut(s![c, top + n, left..left + columns.len()]);
                to.iter_mut().zip(&from).zip(across).for_each(|((to, v), w)| *to += down * w * v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_reflected_as_numpy_does() {
        // numpy.pad([0, 1, 2], (4, 5), "reflect")
        let found: Vec<usize> = (-4..8).map(|n| reflected(n, 3)).collect();
        assert_eq!(found, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]);
        assert!((-5..5).all(|n| reflected(n, 1) == 0));
    }

    #[test]
    fn official_padding_of_odd_lengths() {
        // 61 → 62 → 64: one pixel before; the added last pixel repeats the last but one.
        let side = Side::new(61, Reach::Multiples(64, 256), 0.25);
        assert_eq!((side.tile, side.before, side.starts.len()), (64, 1, 1));
        assert_eq!([0, 1, 61, 62, 63].map(|p| side.source(p)), [1, 0, 60, 59, 60]);
    }

    #[test]
    fn weights_add_up_to_one_everywhere() {
        for length in [1, 2, 50, 63, 64, 65, 127, 128, 129, 200, 1000, 4000] {
            for reach in [Reach::Fixed(128), Reach::Multiples(64, 256)] {
                let side = Side::new(length, reach, 0.25);
                let padded = side.starts.last().unwrap() + side.tile;
                assert!(side.before + length <= padded, "{length} {reach:?}");
                let mut sum = vec![0.0; padded];
                for (start, weights) in side.starts.iter().zip(&side.weights) {
                    weights.iter().enumerate().for_each(|(p, w)| sum[start + p] += w);
                }
                assert!(sum.iter().all(|s| (s - 1.0f32).abs() < 1e-5), "{length} {reach:?}");
                for pair in side.starts.windows(2) {
                    assert!(pair[1] > pair[0] && pair[0] + side.tile >= pair[1] + side.tile / 4, "{length}");
                }
            }
        }
    }
}
