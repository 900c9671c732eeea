//! Distance to the nearest of many points: a k-d tree.
//!
//! Why not a distance transform: the separable exact transforms need axes at right angles. Distances between two
//! surfaces need few of the voxels and no such condition, so one search serves every affine.

use rayon::prelude::*;

/// Points below which a branch is searched one by one.
const LEAF: usize = 12;

/// Points in median order: the middle of a range splits it along `axis[middle]`.
pub(super) struct Tree {
    points: Vec<[f64; 3]>,
    axis: Vec<u8>,
}

fn squared(a: [f64; 3], b: [f64; 3]) -> f64 {
    let d = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
}

fn arrange(points: &mut [[f64; 3]], axis: &mut [u8]) {
    if points.len() <= LEAF {
        return;
    }
    let (mut low, mut high) = (points[0], points[0]);
    for p in points.iter() {
        for a in 0..3 {
            low[a] = low[a].min(p[a]);
            high[a] = high[a].max(p[a]);
        }
    }
    let extent = |a: usize| high[a] - low[a];
    let widest = (0..3).max_by(|&a, &b| extent(a).total_cmp(&extent(b))).unwrap_or(0);
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |p, q| p[widest].total_cmp(&q[widest]));
    axis[middle] = widest as u8;
    let (left, right) = points.split_at_mut(middle);
    let (left_axis, right_axis) = axis.split_at_mut(middle);
    let large = left.len() > 4096;
    let mut go_left = || arrange(left, left_axis);
    let mut go_right = || arrange(&mut right[1..], &mut right_axis[1..]);
    if large {
        rayon::join(go_left, go_right);
    } else {
        go_left();
        go_right();
    }
}

impl Tree {
    /// Builds the tree in O(n log n). Coordinates must be finite.
    pub fn new(mut points: Vec<[f64; 3]>) -> Self {
        let mut axis = vec![0; points.len()];
        arrange(&mut points, &mut axis);
        Self { points, axis }
    }

    /// Distance from each query to its nearest point, in the order of the queries.
    ///
    /// # Panics
    /// On an empty tree.
    pub fn distances(&self, queries: &[[f64; 3]]) -> Vec<f64> {
        let pieces = queries.par_chunks(2048).flat_map_iter(|piece| {
            // Queries come in raster order: what was near the last one bounds the search for the next.
            let mut near = self.points[0];
            piece.iter().map(move |&q| {
                let mut best = (squared(q, near), near);
                self.search(0, self.points.len(), q, [0.0; 3], &mut best);
                near = best.1;
                best.0.sqrt()
            })
        });
        pieces.collect()
    }

    /// Improves `best` from the points `low..high`, which lie at least `gap` (per axis) from the query.
    fn search(&self, low: usize, high: usize, q: [f64; 3], gap: [f64; 3], best: &mut (f64, [f64; 3])) {
        let take = |p: [f64; 3], best: &mut (f64, [f64; 3])| {
            let d = squared(q, p);
            if d < best.0 {
                *best = (d, p);
            }
        };
        if high - low <= LEAF {
            for &p in &self.points[low..high] {
                take(p, best);
            }
            return;
        }
        let middle = low + (high - low) / 2;
        let p = self.points[middle];
        let axis = usize::from(self.axis[middle]);
        let off = q[axis] - p[axis];
        take(p, best);
        let (near, far) =
            if off < 0.0 { ((low, middle), (middle + 1, high)) } else { ((middle + 1, high), (low, middle)) };
        self.search(near.0, near.1, q, gap, best);
        let mut wider = gap;
        wider[axis] = off;
        if squared(wider, [0.0; 3]) < best.0 {
            self.search(far.0, far.1, q, wider, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_trying_all(
            points in prop::collection::vec(prop::array::uniform3(-20i32..20), 1..300),
            queries in prop::collection::vec(prop::array::uniform3(-40i32..40), 1..50),
            step in prop::array::uniform3(0.1f64..3.0),
        ) {
            let place = |p: &[i32; 3]| [0, 1, 2].map(|a| f64::from(p[a]) * step[a] + f64::from(p[0]) * 0.1);
            let points: Vec<_> = points.iter().map(place).collect();
            let queries: Vec<_> = queries.iter().map(place).collect();
            let found = Tree::new(points.clone()).distances(&queries);
            for (q, d) in queries.iter().zip(found) {
                let all = points.iter().map(|p| squared(*q, *p)).fold(f64::INFINITY, f64::min).sqrt();
                prop_assert!((d - all).abs() < 1e-12);
            }
        }
    }
}
