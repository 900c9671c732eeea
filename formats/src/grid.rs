//! Where voxels lie: size, placement, orientation.

use serde::{Deserialize, Serialize};

use crate::affine::{Affine, norm};

/// The lattice of a volume: its size and its placement in the RAS+ world (millimetres).
///
/// Arrays on a grid have shape `[k, j, i]`, so that `i` runs fastest in memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Voxels along `i`, `j`, `k`; each at least 1.
    pub size_ijk: [usize; 3],
    /// RAS+ millimetres from voxel indices (centres at integers).
    pub world_from_voxel: Affine,
}

/// One voxel axis permuted and possibly reversed: how a grid is stored relative to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisOrder {
    /// `source[a]` is the axis of the source grid that becomes axis `a` of the result.
    pub source: [usize; 3],
    /// Whether result axis `a` runs against its source axis.
    pub reversed: [bool; 3],
}

impl AxisOrder {
    /// No change.
    pub const IDENTITY: Self = Self { source: [0, 1, 2], reversed: [false; 3] };
}

impl Grid {
    /// A grid with 1 mm voxels, axes along R, A, S and voxel (0,0,0) at the origin.
    #[must_use]
    pub fn unit(size_ijk: [usize; 3]) -> Self {
        Self { size_ijk, world_from_voxel: Affine::IDENTITY }
    }

    /// Array shape `[k, j, i]` of voxels on this grid.
    #[must_use]
    pub fn shape_kji(&self) -> [usize; 3] {
        [self.size_ijk[2], self.size_ijk[1], self.size_ijk[0]]
    }

    /// Number of voxels. Grids made by readers never overflow (checked against the bytes present).
    #[must_use]
    pub fn voxel_count(&self) -> usize {
        self.size_ijk.iter().product()
    }

    /// Edge lengths of a voxel in millimetres, along i, j, k.
    #[must_use]
    pub fn spacing_mm(&self) -> [f64; 3] {
        [0, 1, 2].map(|a| norm(self.world_from_voxel.column(a)))
    }

    /// Volume of a voxel in cubic millimetres (right for sheared grids too).
    #[must_use]
    pub fn voxel_volume_mm3(&self) -> f64 {
        self.world_from_voxel.determinant().abs()
    }

    /// Voxel indices (fractional) from RAS+ millimetres, or `None` for a singular placement.
    #[must_use]
    pub fn voxel_from_world(&self) -> Option<Affine> {
        self.world_from_voxel.inverse()
    }

    /// For each voxel axis, the world axis (0 = R, 1 = A, 2 = S) it runs closest to and whether it runs
    /// towards the positive end. Each world axis is used once: the assignment with the largest sum of
    /// absolute direction cosines is taken, ties in favour of the unpermuted order (as for RAS storage).
    #[must_use]
    pub fn axes_ras(&self) -> [(usize, bool); 3] {
        const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let unit = [0, 1, 2].map(|a| {
            let c = self.world_from_voxel.column(a);
            let n = norm(c);
            if n > 0.0 { c.map(|v| v / n) } else { c }
        });
        let score = |o: &[usize; 3]| (0..3).map(|a| unit[a][o[a]].abs()).sum::<f64>();
        let mut best = ORDERS[0];
        for o in &ORDERS[1..] {
            if score(o) > score(&best) + 1e-9 {
                best = *o;
            }
        }
        [0, 1, 2].map(|a| (best[a], unit[a][best[a]] >= 0.0))
    }

    /// Orientation code: the direction in which each voxel axis grows, e.g. `"RAS"` or `"LIA"`.
    #[must_use]
    pub fn orientation_code(&self) -> String {
        const LETTERS: [[char; 2]; 3] = [['L', 'R'], ['P', 'A'], ['I', 'S']];
        self.axes_ras().iter().map(|&(w, positive)| LETTERS[w][usize::from(positive)]).collect()
    }

    /// Whether the axes are not parallel to the world's (largest angle above 0.1°).
    #[must_use]
    pub fn is_oblique(&self) -> bool {
        self.axes_ras().iter().enumerate().any(|(a, &(w, _))| {
            let c = self.world_from_voxel.column(a);
            (c[w].abs() / norm(c)) < (0.1_f64).to_radians().cos()
        })
    }

    /// The axis order that brings this grid closest to RAS+ storage, to be given to [`Grid::reordered`].
    #[must_use]
    pub fn order_to_ras(&self) -> AxisOrder {
        let mut order = AxisOrder::IDENTITY;
        for (axis, &(world, positive)) in self.axes_ras().iter().enumerate() {
            order.source[world] = axis;
            order.reversed[world] = !positive;
        }
        order
    }

    /// The grid after storing the same voxels in another axis order (placement follows; nothing moves).
    #[must_use]
    pub fn reordered(&self, order: AxisOrder) -> Self {
        let m = &self.world_from_voxel;
        let mut origin = m.origin();
        let mut columns = [[0.0; 3]; 3];
        for a in 0..3 {
            let s = order.source[a];
            let c = m.column(s);
            if order.reversed[a] {
                let last = self.size_ijk[s].saturating_sub(1) as f64;
                for r in 0..3 {
                    origin[r] += last * c[r];
                }
                columns[a] = c.map(|v| -v);
            } else {
                columns[a] = c;
            }
        }
        Self {
            size_ijk: order.source.map(|s| self.size_ijk[s]),
            world_from_voxel: Affine::from_columns(columns, origin),
        }
    }

    /// The sub-grid starting at voxel `start_ijk` (may be negative: padding) with size `size_ijk`.
    #[must_use]
    pub fn window(&self, start_ijk: [i64; 3], size_ijk: [usize; 3]) -> Self {
        let origin = self.world_from_voxel.apply(start_ijk.map(|v| v as f64));
        let columns = [0, 1, 2].map(|a| self.world_from_voxel.column(a));
        Self { size_ijk, world_from_voxel: Affine::from_columns(columns, origin) }
    }

    /// A grid over the same box (outer voxel faces) with another spacing: sizes are rounded to whole
    /// voxels, at least 1, and the new voxels are centred in the box, so both share one centre.
    #[must_use]
    pub fn with_spacing(&self, spacing_mm: [f64; 3]) -> Self {
        let old = self.spacing_mm();
        let mut size = [1; 3];
        let mut columns = [[0.0; 3]; 3];
        let mut origin =
            self.world_from_voxel.apply([0, 1, 2].map(|a| (self.size_ijk[a] as f64 - 1.0) / 2.0));
        for a in 0..3 {
            let extent = self.size_ijk[a] as f64 * old[a];
            size[a] = ((extent / spacing_mm[a]).round() as usize).max(1);
            columns[a] = self.world_from_voxel.column(a).map(|v| v / old[a] * spacing_mm[a]);
            for r in 0..3 {
                origin[r] -= (size[a] as f64 - 1.0) / 2.0 * columns[a][r];
            }
        }
        Self { size_ijk: size, world_from_voxel: Affine::from_columns(columns, origin) }
    }

    /// Whether both grids have the same size and place every corner voxel within `tolerance_mm` of each other.
    #[must_use]
    pub fn is_same(&self, other: &Self, tolerance_mm: f64) -> bool {
        self.size_ijk == other.size_ijk
            && (0..8).all(|corner| {
                let p =
                    [0, 1, 2].map(|a| if corner >> a & 1 == 1 { self.size_ijk[a] as f64 - 1.0 } else { 0.0 });
                let (x, y) = (self.world_from_voxel.apply(p), other.world_from_voxel.apply(p));
                norm([x[0] - y[0], x[1] - y[1], x[2] - y[2]]) <= tolerance_mm
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 48 axis orders: 6 permutations × 8 flips.
    fn all_orders() -> impl Iterator<Item = AxisOrder> {
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().flat_map(|source| {
            (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
        })
    }

    #[test]
    fn every_axis_order_comes_back_to_ras() {
        let ras = Grid {
            size_ijk: [4, 5, 6],
            world_from_voxel: Affine::scale_shift([1.0, 2.0, 3.0], [-7.0, 8.0, 9.0]),
        };
        let mut codes = std::collections::BTreeSet::new();
        for order in all_orders() {
            let stored = ras.reordered(order);
            codes.insert(stored.orientation_code());
            let back = stored.reordered(stored.order_to_ras());
            assert!(back.is_same(&ras, 1e-12), "{order:?} {back:?}");
        }
        assert_eq!(codes.len(), 48);
    }

    #[test]
    fn resampled_grid_keeps_centre_and_box() {
        let g = Grid {
            size_ijk: [10, 20, 30],
            world_from_voxel: Affine::scale_shift([-2.0, 1.0, 0.5], [5.0, 6.0, 7.0]),
        };
        let r = g.with_spacing([1.0, 1.0, 1.0]);
        assert_eq!(r.size_ijk, [20, 20, 15]);
        let centre = |g: &Grid| g.world_from_voxel.apply(g.size_ijk.map(|n| (n as f64 - 1.0) / 2.0));
        let (a, b) = (centre(&g), centre(&r));
        assert!((0..3).all(|i| (a[i] - b[i]).abs() < 1e-12));
        assert_eq!(r.orientation_code(), "LAS");
    }
}
