//! Large volumes through a network that takes small ones: tiles, and their scores blended.
//!
//! Axes are `[D, H, W]`, the network's (arrays `[k, j, i]`). Scores are averaged as the network gives them (logits
//! before any activation), each tile weighted by how much its answer is trusted at that voxel.
//!
//! Weights are products of one factor per axis and tiles lie on a rectangular lattice, so that the sum of weights at
//! a voxel is a product too: each factor is divided by its axis's sum beforehand, and no volume of weights exists.

use formats::Task;
use ndarray::{Array4, Array5, ArrayD, ArrayView4, ArrayViewMut3, Axis, Ix5, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::net::Net;

/// What progress is reported under.
const STAGE: &str = "Running the network";

/// Where tiles start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// As few tiles as the overlap allows, spread evenly: `count = ⌈(n − r) / step⌉ + 1` with
    /// `step = max(1, ⌊r·(1 − overlap)⌋)`, starts rounded from `k·(n − r)/(count − 1)`.
    #[default]
    Even,
    /// The same count, starts `min(k·step, n − r)`: the rule of MONAI's sliding window, for parity.
    Monai,
}

/// How much a tile's answer counts at each of its voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// The same everywhere.
    #[default]
    Constant,
    /// A Gaussian about the tile's centre with σ = patch / 8 per axis, as MONAI and nnU-Net use.
    Gaussian,
    /// Rising linearly over the overlap, level, and falling: of two tiles one fades into the other, which is what
    /// pictures want, where a step would be seen.
    Ramp,
}

/// Which tiles a volume is cut into.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    shape: [usize; 3],
    patch: [usize; 3],
    /// Zeros before the volume where it is smaller than a tile: ⌊(r − n)/2⌋; the rest comes after.
    before: [usize; 3],
    /// Starts per axis, ascending, in the padded volume.
    starts: [Vec<usize>; 3],
    /// Normalised weight per axis, start and tile voxel.
    factors: [Vec<Vec<f32>>; 3],
    batch: usize,
}

impl Plan {
    /// Cuts a volume of `shape` `[D, H, W]` into tiles of `patch` that overlap by at least the fraction `overlap`
    /// (0 ≤ overlap < 1). A volume smaller than a tile is padded with zeros on both sides.
    ///
    /// # Errors
    /// [`Error::Argument`] for empty axes, an overlap out of range, or more than 2²⁰ tiles.
    pub fn new(
        shape: [usize; 3],
        patch: [usize; 3],
        overlap: f64,
        rule: Rule,
        weights: Weights,
    ) -> Result<Self> {
        const MOST: usize = 1 << 20;
        if shape.contains(&0) || patch.contains(&0) {
            return Err(Error::Argument(format!(
                "tiles of {patch:?} over a volume of {shape:?}: an axis is empty"
            )));
        }
        if !(0.0..1.0).contains(&overlap) {
            return Err(Error::Argument(format!(
                "the overlap of tiles is {overlap}; it lies from 0 to below 1"
            )));
        }
        let starts: [Vec<usize>; 3] = std::array::from_fn(|a| {
            let room = shape[a].saturating_sub(patch[a]);
            // The small term keeps products such as 160·0.7 from landing just below a whole number.
            let step = ((patch[a] as f64 * (1.0 - overlap) + 1e-9).floor() as usize).max(1);
            let count = room.div_ceil(step) + 1;
            (0..count.min(MOST + 1))
                .map(|k| match rule {
                    Rule::Monai => (k * step).min(room),
                    Rule::Even if count == 1 => 0,
                    Rule::Even => (k as f64 * room as f64 / (count - 1) as f64).round() as usize,
                })
                .collect()
        });
        if starts.iter().try_fold(1usize, |n, s| n.checked_mul(s.len())).is_none_or(|n| n > MOST) {
            return Err(Error::Argument(format!(
                "an overlap of {overlap} cuts {shape:?} into more than {MOST} tiles of {patch:?}"
            )));
        }
        let before = std::array::from_fn(|a| patch[a].saturating_sub(shape[a]) / 2);
        let factors = std::array::from_fn(|a| {
            let profile = profile(patch[a], overlap, weights);
            factors(&starts[a], &profile, shape[a].max(patch[a]))
        });
        Ok(Self { shape, patch, before, starts, factors, batch: 1 })
    }

    /// The same plan with `batch` tiles per run (at least 1).
    #[must_use]
    pub fn with_batch(&self, batch: usize) -> Self {
        Self { batch: batch.max(1), ..self.clone() }
    }

    /// Number of tiles.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.iter().map(Vec::len).product()
    }

    /// Tiles per run of the network.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Shape of a tile, `[D, H, W]`.
    #[must_use]
    pub fn patch(&self) -> [usize; 3] {
        self.patch
    }

    /// Shape of the volume, `[D, H, W]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Starts along an axis (0 = D), ascending, in the padded volume.
    #[must_use]
    pub fn axis_starts(&self, axis: usize) -> &[usize] {
        &self.starts[axis]
    }

    /// First voxel of each tile `[d, h, w]`, D slowest; negative where a tile begins in the padding.
    pub fn starts(&self) -> impl Iterator<Item = [i64; 3]> + '_ {
        self.indices().map(|t| std::array::from_fn(|a| self.starts[a][t[a]] as i64 - self.before[a] as i64))
    }

    /// Position of each tile in the lattice of starts, D slowest.
    fn indices(&self) -> impl Iterator<Item = [usize; 3]> + '_ {
        let n = self.starts.each_ref().map(Vec::len);
        (0..self.count()).map(move |t| [t / (n[1] * n[2]), t / n[2] % n[1], t % n[2]])
    }

    /// The part of a tile that lies on the volume, per axis: from where in the tile, from where in the volume, length.
    fn overlap(&self, tile: [usize; 3]) -> [(usize, usize, usize); 3] {
        std::array::from_fn(|a| {
            let start = self.starts[a][tile[a]];
            if self.before[a] > 0 || self.patch[a] > self.shape[a] {
                (self.before[a], 0, self.shape[a])
            } else {
                (0, start, self.patch[a])
            }
        })
    }
}

/// Weights along one axis of a tile, before they are divided by their sum.
fn profile(patch: usize, overlap: f64, weights: Weights) -> Vec<f64> {
    let n = patch as f64;
    let weight = |x: f64| match weights {
        Weights::Constant => 1.0,
        Weights::Gaussian => (-0.5 * ((x - (n - 1.0) / 2.0) / (n / 8.0)).powi(2)).exp(),
        Weights::Ramp => ((x + 0.5).min(n - x - 0.5) / (overlap * n).max(1.0)).min(1.0),
    };
    (0..patch).map(|x| weight(x as f64)).collect()
}

/// Weights of one axis: for each start and tile voxel, divided by the sum over tiles that cover the same voxel.
fn factors(starts: &[usize], profile: &[f64], length: usize) -> Vec<Vec<f32>> {
    let mut sum = vec![0.0; length];
    for &start in starts {
        sum[start..].iter_mut().zip(profile).for_each(|(s, w)| *s += w);
    }
    let normalised =
        |&start: &usize| profile.iter().zip(&sum[start..]).map(|(w, s)| (w / s) as f32).collect();
    starts.iter().map(normalised).collect()
}

/// Runs the network over all tiles of `input` `[C, D, H, W]` and blends its first output into scores
/// `[K, D, H, W]`. The network takes `[N, C, d, h, w]` and gives `[N, K, d, h, w]`; or, where tiles are one plane thick,
/// `[N, C, h, w]` and `[N, K, h, w]`.
///
/// Progress counts tiles; a cancel ends the tile under way.
///
/// # Errors
/// [`Error::Argument`] when the input does not fit the plan, [`Error::Net`] when the output does not fit the tiles,
/// the network's errors, [`Error::Cancelled`].
pub fn run_tiles(
    net: &mut dyn Net,
    input: ArrayView4<'_, f32>,
    plan: &Plan,
    task: &Task,
) -> Result<Array4<f32>> {
    check_input(&input, plan)?;
    if plan.count() == 1 && plan.patch == plan.shape {
        // One tile that is the volume: nothing to cut, nothing to blend.
        task.at(STAGE, 0.0)?;
        let output = run_once(net, input.insert_axis(Axis(0)).into_dyn(), 1, plan, task)?;
        task.at(STAGE, 1.0)?;
        return Ok(output.index_axis_move(Axis(0), 0));
    }
    let [d, h, w] = plan.shape;
    let mut scores: Option<Array4<f32>> = None;
    let tiles: Vec<[usize; 3]> = plan.indices().collect();
    each_batch(net, input, plan, &tiles, task, |tile, output| {
        let scores = scores.get_or_insert_with(|| Array4::zeros((output.dim().0, d, h, w)));
        blend(plan, tile, output, scores, 0);
        Ok(())
    })?;
    scores.ok_or_else(|| Error::Argument("a plan without tiles".to_owned()))
}

/// As [`run_tiles`], holding only one layer of scores (`patch[0]` planes) at a time: `finished` gets the planes
/// `[K, n, H, W]` from `D` index `from` on, in order, each plane once.
///
/// # Errors
/// As [`run_tiles`], and those of `finished`.
pub fn run_tiles_in_layers(
    net: &mut dyn Net,
    input: ArrayView4<'_, f32>,
    plan: &Plan,
    task: &Task,
    mut finished: impl FnMut(usize, ArrayView4<'_, f32>) -> Result<()>,
) -> Result<()> {
    check_input(&input, plan)?;
    let [d, h, w] = plan.shape;
    let depth = plan.patch[0].min(d);
    let tiles: Vec<[usize; 3]> = plan.indices().collect();
    let mut layer: Option<Array4<f32>> = None;
    let mut base = 0;
    each_batch(net, input, plan, &tiles, task, |tile, output| {
        let layer = layer.get_or_insert_with(|| Array4::zeros((output.dim().0, depth, h, w)));
        let start = plan.overlap(tile)[0].1;
        if start > base {
            let done = start - base;
            finished(base, layer.slice(s![.., ..done, .., ..]))?;
            for mut channel in layer.outer_iter_mut() {
                let plane = h * w;
                if let Some(values) = channel.as_slice_mut() {
                    values.copy_within(done * plane.., 0);
                    values[(depth - done) * plane..].fill(0.0);
                }
            }
            base = start;
        }
        blend(plan, tile, output, layer, base);
        Ok(())
    })?;
    let layer = layer.ok_or_else(|| Error::Argument("a plan without tiles".to_owned()))?;
    finished(base, layer.slice(s![.., ..d - base, .., ..]))
}

fn check_input(input: &ArrayView4<'_, f32>, plan: &Plan) -> Result<()> {
    let (_, d, h, w) = input.dim();
    if [d, h, w] == plan.shape {
        return Ok(());
    }
    Err(Error::Argument(format!("an input of {:?} for a plan over {:?}", [d, h, w], plan.shape)))
}

/// Cuts, runs and hands out tiles in order, `plan.batch` at a time.
fn each_batch(
    net: &mut dyn Net,
    input: ArrayView4<'_, f32>,
    plan: &Plan,
    tiles: &[[usize; 3]],
    task: &Task,
    mut take: impl FnMut([usize; 3], ArrayView4<'_, f32>) -> Result<()>,
) -> Result<()> {
    let channels = input.dim().0;
    let [d, h, w] = plan.patch;
    let mut stack = Array5::<f32>::zeros((plan.batch.min(tiles.len()), channels, d, h, w));
    for (n, group) in tiles.chunks(plan.batch).enumerate() {
        task.at(STAGE, (n * plan.batch) as f32 / tiles.len() as f32)?;
        for (&tile, mut slot) in group.iter().zip(stack.outer_iter_mut()) {
            let [td, th, tw] = plan.overlap(tile);
            // Where tiles are padded, every tile is padded alike, so that zeros of the first stay zeros.
            let mut part = slot.slice_mut(s![.., td.0..td.0 + td.2, th.0..th.0 + th.2, tw.0..tw.0 + tw.2]);
            part.assign(&input.slice(s![.., td.1..td.1 + td.2, th.1..th.1 + th.2, tw.1..tw.1 + tw.2]));
        }
        let view = stack.slice(s![..group.len(), .., .., .., ..]).into_dyn();
        let output = run_once(net, view, group.len(), plan, task)?;
        for (&tile, scores) in group.iter().zip(output.outer_iter()) {
            take(tile, scores)?;
        }
    }
    task.at(STAGE, 1.0)?;
    Ok(())
}

fn run_once(
    net: &mut dyn Net,
    batch: ndarray::ArrayViewD<'_, f32>,
    count: usize,
    plan: &Plan,
    task: &Task,
) -> Result<Array5<f32>> {
    let port = net.inputs().first();
    let name = port.map(|p| p.name.clone()).unwrap_or_default();
    let [d, h, w] = plan.patch;
    let is_planar = d == 1 && port.is_some_and(|p| p.dims.len() == 4);
    let batch = if is_planar { batch.index_axis_move(Axis(2), 0) } else { batch };
    let output = net.run(&[(&name, batch)], task)?.into_iter().next();
    let shape = output.as_ref().map(|o: &ArrayD<f32>| o.shape().to_vec()).unwrap_or_default();
    let output = output.map(|o| if is_planar && o.ndim() == 4 { o.insert_axis(Axis(2)) } else { o });
    match output.and_then(|o| o.into_dimensionality::<Ix5>().ok()) {
        Some(o) if o.dim().0 == count && [o.dim().2, o.dim().3, o.dim().4] == [d, h, w] => Ok(o),
        _ => Err(Error::net(
            format!("an output of shape {shape:?}"),
            format!("{count} × classes × {d} × {h} × {w}, the size of the tiles"),
            "Correct the patch in the model's manifest",
        )),
    }
}

/// Adds one tile's scores `[K, d, h, w]`, weighted, to planes of the volume from `base` on.
fn blend(plan: &Plan, tile: [usize; 3], output: ArrayView4<'_, f32>, scores: &mut Array4<f32>, base: usize) {
    let [td, th, tw] = plan.overlap(tile);
    let [fd, fh, fw]: [&[f32]; 3] = std::array::from_fn(|a| plan.factors[a][tile[a]].as_slice());
    let fw = &fw[tw.0..tw.0 + tw.2];
    let rows = |(z, mut plane): (usize, ArrayViewMut3<'_, f32>)| {
        for (k, mut channel) in plane.outer_iter_mut().enumerate() {
            for y in 0..th.2 {
                let weight = fd[td.0 + z] * fh[th.0 + y];
                let from = output.slice(s![k, td.0 + z, th.0 + y, tw.0..tw.0 + tw.2]);
                let mut to = channel.slice_mut(s![th.1 + y, tw.1..tw.1 + tw.2]);
                if let (Some(to), Some(from)) = (to.as_slice_mut(), from.as_slice()) {
                    for ((t, f), x) in to.iter_mut().zip(from).zip(fw) {
                        *t += weight * x * f;
                    }
                } else {
                    to.iter_mut().zip(from).zip(fw).for_each(|((t, f), x)| *t += weight * x * f);
                }
            }
        }
    };
    let first = td.1 - base;
    let mut part = scores.slice_mut(s![.., first..first + td.2, .., ..]);
    part.axis_iter_mut(Axis(1)).into_par_iter().enumerate().for_each(rows);
}
