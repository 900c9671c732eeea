//! Distance from every voxel to a set of voxels, in millimetres.

use ndarray::{Array3, ArrayRef3, Axis};
use rayon::prelude::*;

use super::nearest::Tree;
use crate::affine::{Affine, norm};
use crate::error::Result;
use crate::task::Task;

/// Largest cosine between two axes that counts as a right angle: distances are then right to 1 in 10 000.
const RIGHT_ANGLE: f64 = 1e-4;

/// For each voxel of `set` (`[k, j, i]`), the distance in millimetres between its centre and the nearest centre of a
/// voxel that is in the set: 0 inside, infinite when the set is empty. Only the linear part of `world_from_voxel`
/// matters. Exact for every affine: a separable transform (lower envelopes of parabolas, Felzenszwalb and Huttenlocher
/// 2012) where the axes are at right angles, however turned and spaced; a search tree where they are not.
///
/// # Errors
/// [`crate::Error::Cancelled`].
pub fn distances_mm(set: &ArrayRef3<bool>, world_from_voxel: &Affine, task: &Task) -> Result<Array3<f32>> {
    task.check()?;
    let columns = [0, 1, 2].map(|a| world_from_voxel.column(a));
    let cosine = |a: usize, b: usize| {
        let (p, q) = (columns[a], columns[b]);
        (p[0] * q[0] + p[1] * q[1] + p[2] * q[2]).abs() / (norm(p) * norm(q))
    };
    if cosine(0, 1) > RIGHT_ANGLE || cosine(0, 2) > RIGHT_ANGLE || cosine(1, 2) > RIGHT_ANGLE {
        return Ok(searched(set, world_from_voxel));
    }
    let squares = columns.map(|c| norm(c).powi(2));
    let mut field = set.mapv(|inside| if inside { 0.0 } else { f32::INFINITY });
    // Along k first: its lines stride through all slices, and later passes then stay within one.
    field.axis_iter_mut(Axis(1)).into_par_iter().for_each_init(Envelope::default, |envelope, mut slab| {
        for mut line in slab.axis_iter_mut(Axis(1)) {
            envelope.pass(line.iter_mut(), squares[2]);
        }
    });
    task.check()?;
    field.axis_iter_mut(Axis(0)).into_par_iter().for_each_init(Envelope::default, |envelope, mut slice| {
        for mut line in slice.axis_iter_mut(Axis(1)) {
            envelope.pass(line.iter_mut(), squares[1]);
        }
        for mut line in slice.axis_iter_mut(Axis(0)) {
            envelope.pass(line.iter_mut(), squares[0]);
        }
    });
    task.check()?;
    field.par_mapv_inplace(f32::sqrt);
    Ok(field)
}

fn searched(set: &ArrayRef3<bool>, world_from_voxel: &Affine) -> Array3<f32> {
    let place = |(k, j, i): (usize, usize, usize)| world_from_voxel.apply([i as f64, j as f64, k as f64]);
    let points: Vec<_> = set.indexed_iter().filter(|(_, inside)| **inside).map(|(at, _)| place(at)).collect();
    if points.is_empty() {
        return Array3::from_elem(set.dim(), f32::INFINITY);
    }
    let tree = Tree::new(points);
    let mut out = Array3::zeros(set.dim());
    for (k, mut slice) in out.axis_iter_mut(Axis(0)).enumerate() {
        let queries: Vec<_> = slice.indexed_iter().map(|((j, i), _)| place((k, j, i))).collect();
        slice.iter_mut().zip(tree.distances(&queries)).for_each(|(o, d)| *o = d as f32);
    }
    out
}

/// The lower envelope of parabolas over one line, with its memory kept from line to line.
#[derive(Default)]
struct Envelope {
    heights: Vec<f64>,
    /// Where the parabolas of the envelope stand, and from where on each is the lowest.
    stands: Vec<(usize, f64)>,
}

impl Envelope {
    /// Replaces each height `f(q)` of a line by the least `f(p) + square · (q − p)²` over all `p`.
    fn pass<'a>(&mut self, line: impl ExactSizeIterator<Item = &'a mut f32>, square: f64) {
        let mut line: Vec<&mut f32> = line.collect();
        self.heights.clear();
        self.heights.extend(line.iter().map(|v| f64::from(**v)));
        self.stands.clear();
        for (q, &height) in self.heights.iter().enumerate() {
            if height == f64::INFINITY {
                continue;
            }
            let from = loop {
                let Some(&(p, from)) = self.stands.last() else { break f64::NEG_INFINITY };
                // Where the parabola at q comes to lie below the one at p.
                let (x, y) = (q as f64, p as f64);
                let cross = ((height - self.heights[p]) / square + x * x - y * y) / (2.0 * (x - y));
                if cross > from {
                    break cross;
                }
                self.stands.pop();
            };
            self.stands.push((q, from));
        }
        let mut n = 0;
        if self.stands.is_empty() {
            return;
        }
        for (q, out) in line.iter_mut().enumerate() {
            while self.stands.get(n + 1).is_some_and(|(_, from)| *from < q as f64) {
                n += 1;
            }
            let p = self.stands[n].0;
            **out = (self.heights[p] + square * (q as f64 - p as f64).powi(2)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn equals_trying_all(
            size in prop::array::uniform3(1usize..9),
            spacing in prop::array::uniform3(0.3f64..4.0),
            turn in 0.0f64..1.5,
            shear in prop::sample::select(vec![0.0, 0.4]),
            bits in prop::collection::vec(prop::bool::weighted(0.15), 9 * 9 * 9),
        ) {
            let (c, s) = (turn.cos(), turn.sin());
            let affine = Affine::from_columns(
                [[c * spacing[0], s * spacing[0], 0.0], [-s * spacing[1], c * spacing[1], 0.0], [shear, 0.0, spacing[2]]],
                [3.0, -8.0, 20.0],
            );
            let set = Array3::from_shape_fn(size, |(k, j, i)| bits[(k * 9 + j) * 9 + i]);
            let found = distances_mm(&set, &affine, &Task::silent()).unwrap();
            let place = |(k, j, i): (usize, usize, usize)| affine.apply([i as f64, j as f64, k as f64]);
            for (at, d) in found.indexed_iter() {
                let near = |p: [f64; 3], q: [f64; 3]| norm([p[0] - q[0], p[1] - q[1], p[2] - q[2]]);
                let all = set.indexed_iter().filter(|(_, b)| **b).map(|(b, _)| near(place(at), place(b)));
                let least = all.fold(f64::INFINITY, f64::min);
                prop_assert!(f64::from(*d) == least || (f64::from(*d) - least).abs() < 1e-4, "{d} {least}");
            }
        }
    }
}
