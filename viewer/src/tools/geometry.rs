//! Which voxels of a row lie in a slice, a disc or a ball: one interval of i per row, found in closed form, so that a
//! brush costs its rows and not its volume.

use formats::{Affine, Grid};

use super::error::{Error, Result};
use crate::sampling::{NUDGE, Placement};
use crate::view::Plane;

/// A closed interval of positions along a row, in voxels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub low: f64,
    pub high: f64,
}

impl Span {
    pub const EMPTY: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
    pub const ALL: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };

    pub fn and(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// The smallest interval that holds both.
    pub fn hull(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// Whole numbers `0..len` in the interval. A billionth of a voxel is forgiven, so that what lies exactly on the
    /// border counts whichever way it was rounded.
    pub fn indices(self, len: usize) -> std::ops::Range<usize> {
        let first = (self.low - 1e-9).ceil().max(0.0);
        let end = ((self.high + 1e-9).floor() + 1.0).min(len as f64);
        if first < end { first as usize..end as usize } else { 0..0 }
    }
}

/// Where `slope · i + offset` lies in `low..=high`.
fn between(slope: f64, offset: f64, low: f64, high: f64) -> Span {
    if slope == 0.0 {
        return if (low..=high).contains(&offset) { Span::ALL } else { Span::EMPTY };
    }
    let (a, b) = ((low - offset) / slope, (high - offset) / slope);
    Span { low: a.min(b), high: a.max(b) }
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// Where `|p + i · step|² ≤ square`.
fn within(p: [f64; 3], step: [f64; 3], square: f64) -> Span {
    let (a, b, c) = (dot(step, step), dot(p, step), dot(p, p) - square);
    if a < 1e-18 {
        return if c <= 0.0 { Span::ALL } else { Span::EMPTY };
    }
    let root = b * b - a * c;
    if root < 0.0 {
        return Span::EMPTY;
    }
    let root = root.sqrt();
    Span { low: (-b - root) / a, high: (-b + root) / a }
}

/// The inverse placement of labels, or why there is none.
pub(super) fn voxel_from_world(grid: &Grid) -> Result<Affine> {
    grid.voxel_from_world().ok_or(Error::Singular("labels"))
}

/// The voxel that owns a world point, as pictures show it.
pub(super) fn voxel_at(grid: &Grid, point_ras: [f64; 3]) -> Result<Option<[usize; 3]>> {
    let placement = Placement::of(grid, &Affine::IDENTITY).ok_or(Error::Singular("labels"))?;
    Ok(placement.owner(placement.voxel_from_point.apply(point_ras)))
}

/// The voxels that a plane of the world passes through: every voxel that is seen in the picture of that slice. Where the
/// plane is parallel to a layer of voxels it is exactly that layer; where it is oblique, all voxels whose box it cuts.
/// The plane is moved as points are in [`crate::sampling`], so that the layer is the one that pictures show when it lies
/// on a face.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slab {
    /// Layer `index` of voxel axis `axis`.
    Layer { axis: usize, index: f64 },
    /// Centres no further than `half_mm` from the plane: `|row · ijk + offset| ≤ half_mm`.
    Oblique { row: [f64; 3], offset: f64, half_mm: f64 },
}

impl Slab {
    pub fn new(grid: &Grid, plane: Plane, at_mm: f64) -> Self {
        let through = plane.axes()[2];
        let m = grid.world_from_voxel.0[through];
        let row = [m[0], m[1], m[2]];
        let finest = grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let offset = m[3] - (at_mm + finest * NUDGE);
        let main = (0..3).max_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs())).unwrap_or(0);
        // Rise of the plane over the whole volume, in layers.
        let others = (0..3).filter(|&a| a != main);
        let rise: f64 = others.clone().map(|a| (row[a] * grid.size_ijk[a] as f64).abs()).sum();
        if rise < 1e-3 * row[main].abs() {
            let middle: f64 = others.map(|a| row[a] * (grid.size_ijk[a] as f64 - 1.0) / 2.0).sum();
            let index = (-(offset + middle) / row[main] + 0.5).floor();
            return Self::Layer { axis: main, index };
        }
        Self::Oblique { row, offset, half_mm: row.iter().map(|v| v.abs()).sum::<f64>() / 2.0 }
    }

    /// The part of row `(j, k)` in the slab.
    pub fn row(&self, j: usize, k: usize) -> Span {
        match *self {
            Self::Layer { axis: 0, index } => Span { low: index, high: index },
            Self::Layer { axis, index } => {
                if [0, j, k][axis] as f64 == index {
                    Span::ALL
                } else {
                    Span::EMPTY
                }
            }
            Self::Oblique { row, offset, half_mm } => {
                between(row[0], row[1] * j as f64 + row[2] * k as f64 + offset, -half_mm, half_mm)
            }
        }
    }

    /// Whether a voxel is in the slab.
    pub fn holds(&self, [i, j, k]: [usize; 3]) -> bool {
        let span = self.row(j, k);
        (span.low - 1e-9..=span.high + 1e-9).contains(&(i as f64))
    }

    /// Furthest that voxel centres lie from the plane.
    fn half_mm(&self, grid: &Grid, plane: Plane) -> f64 {
        match *self {
            Self::Layer { .. } => {
                let m = grid.world_from_voxel.0[plane.axes()[2]];
                (m[0].abs() + m[1].abs() + m[2].abs()) / 2.0
            }
            Self::Oblique { half_mm, .. } => half_mm,
        }
    }
}

/// All voxel centres within a radius of a segment: of its projection onto a plane, for centres in that plane's slab, or
/// in space.
pub(crate) struct Capsule {
    from: [f64; 3],
    along: [f64; 3],
    square: f64,
    /// 1 for world axes that count, 0 for the one through the plane.
    counts: [f64; 3],
    slab: Option<Slab>,
    first_jk: [usize; 2],
    end_jk: [usize; 2],
    origin: [f64; 3],
    steps: [[f64; 3]; 3],
    ni: usize,
}

impl Capsule {
    /// With a plane: a disc moved through the plane that holds `to`. Without: a ball.
    pub fn new(
        grid: &Grid,
        plane: Option<Plane>,
        radius_mm: f64,
        from: [f64; 3],
        to: [f64; 3],
    ) -> Result<Self> {
        let inverse = voxel_from_world(grid)?;
        let slab = plane.map(|p| Slab::new(grid, p, to[p.axes()[2]]));
        let mut counts = [1.0; 3];
        let mut half_mm = [radius_mm; 3];
        if let (Some(plane), Some(slab)) = (plane, &slab) {
            let through = plane.axes()[2];
            counts[through] = 0.0;
            half_mm[through] = slab.half_mm(grid, plane);
        }
        let (mut first_jk, mut end_jk) = ([0; 2], [0; 2]);
        let (a, b) = (inverse.apply(from), inverse.apply(to));
        for n in 0..2 {
            let axis = n + 1;
            let r = inverse.0[axis];
            // How far a ball (or a disc and its thickness) reaches along this voxel axis.
            let flat = (0..3).map(|w| (r[w] * counts[w]).powi(2)).sum::<f64>().sqrt() * radius_mm;
            let thick: f64 = (0..3).map(|w| (r[w] * (1.0 - counts[w])).abs() * half_mm[w]).sum();
            let reach = flat + thick + 1e-6;
            let span = Span { low: a[axis].min(b[axis]) - reach, high: a[axis].max(b[axis]) + reach };
            let range = span.indices(grid.size_ijk[axis]);
            (first_jk[n], end_jk[n]) = (range.start, range.end);
        }
        let keep = |v: [f64; 3]| [0, 1, 2].map(|w| v[w] * counts[w]);
        Ok(Self {
            from,
            along: keep(sub(to, from)),
            square: radius_mm * radius_mm,
            counts,
            slab,
            first_jk,
            end_jk,
            origin: grid.world_from_voxel.origin(),
            steps: [0, 1, 2].map(|a| grid.world_from_voxel.column(a)),
            ni: grid.size_ijk[0],
        })
    }

    /// Calls `take(j, k, range of i)` for every row with voxels in it, in the order of memory.
    pub fn rows(&self, mut take: impl FnMut(usize, usize, std::ops::Range<usize>)) {
        for k in self.first_jk[1]..self.end_jk[1] {
            for j in self.first_jk[0]..self.end_jk[0] {
                let range = self.row(j, k).indices(self.ni);
                if !range.is_empty() {
                    take(j, k, range);
                }
            }
        }
    }

    fn row(&self, j: usize, k: usize) -> Span {
        let slab = self.slab.map_or(Span::ALL, |s| s.row(j, k));
        if slab.is_empty() {
            return slab;
        }
        let p = [0, 1, 2].map(|w| {
            let world = self.origin[w] + self.steps[1][w] * j as f64 + self.steps[2][w] * k as f64;
            (world - self.from[w]) * self.counts[w]
        });
        let step = [0, 1, 2].map(|w| self.steps[0][w] * self.counts[w]);
        let mut span = within(p, step, self.square);
        let length = dot(self.along, self.along);
        if length > 0.0 {
            span = span.hull(within(sub(p, self.along), step, self.square));
            // Between the ends: no further than the radius from the line.
            let across = |v: [f64; 3]| {
                let t = dot(v, self.along) / length;
                [0, 1, 2].map(|w| v[w] - t * self.along[w])
            };
            let middle = between(dot(step, self.along), dot(p, self.along), 0.0, length);
            span = span.hull(middle.and(within(across(p), across(step), self.square)));
        }
        span.and(slab)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn oblique(size_ijk: [usize; 3], spacing: [f64; 3], turn: f64, tilt: f64) -> Grid {
        let (c, s) = (turn.cos(), turn.sin());
        let (d, t) = (tilt.cos(), tilt.sin());
        let axes = [[c, s, 0.0], [-s * d, c * d, t], [s * t, -c * t, d]];
        let columns = [0, 1, 2].map(|a| axes[a].map(|v| v * spacing[a]));
        Grid { size_ijk, world_from_voxel: Affine::from_columns(columns, [-4.0, 3.0, 10.0]) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]
        /// Rows found in closed form are those found by asking every voxel.
        #[test]
        fn rows_equal_asking_every_voxel(
            spacing in prop::array::uniform3(0.4f64..3.0),
            (turn, tilt) in (-3.0f64..3.0, -1.0f64..1.0),
            from in prop::array::uniform3(0.0f64..11.0),
            to in prop::array::uniform3(0.0f64..11.0),
            radius in 0.5f64..8.0,
            plane in prop::sample::select(vec![None, Some(Plane::Axial), Some(Plane::Coronal), Some(Plane::Sagittal)]),
        ) {
            let grid = oblique([11, 10, 12], spacing, turn, tilt);
            let (from, mut to) = (grid.world_from_voxel.apply(from), grid.world_from_voxel.apply(to));
            if let Some(plane) = plane { to[plane.axes()[2]] = from[plane.axes()[2]]; }
            let finest = spacing.into_iter().fold(f64::INFINITY, f64::min);
            let mut found = vec![false; grid.voxel_count()];
            let capsule = Capsule::new(&grid, plane, radius, from, to).unwrap();
            capsule.rows(|j, k, range| for i in range { found[(k * 10 + j) * 11 + i] = true; });
            for k in 0..12 { for j in 0..10 { for i in 0..11 {
                let centre = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                let mut counts = [1.0; 3];
                let mut in_slab = true;
                let mut margin = f64::INFINITY;
                if let Some(plane) = plane {
                    let through = plane.axes()[2];
                    counts[through] = 0.0;
                    // A box is cut when its corners lie on both sides.
                    let sides = (0..8).map(|n| {
                        let corner = [0, 1, 2].map(|a| [i, j, k][a] as f64 + if n >> a & 1 == 1 { 0.5 } else { -0.5 });
                        grid.world_from_voxel.apply(corner)[through] - to[through] - finest * NUDGE
                    });
                    let (low, high) = sides.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(s), h.max(s)));
                    in_slab = low <= 0.0 && high >= 0.0;
                    margin = low.abs().min(high.abs());
                }
                let keep = |v: [f64; 3]| [0, 1, 2].map(|w| v[w] * counts[w]);
                let (p, d) = (keep(sub(centre, from)), keep(sub(to, from)));
                let t = (dot(p, d) / dot(d, d).max(1e-30)).clamp(0.0, 1.0);
                let away = sub(p, d.map(|v| v * t));
                let distance = dot(away, away).sqrt();
                margin = margin.min((distance - radius).abs());
                if margin > 1e-6 {
                    prop_assert_eq!(found[(k * 10 + j) * 11 + i], in_slab && distance <= radius);
                }
            }}}
        }
    }

    #[test]
    fn a_plane_along_a_layer_is_that_layer() {
        let grid = Grid {
            size_ijk: [5, 6, 7],
            world_from_voxel: Affine::scale_shift([1.0, 1.0, -3.0], [0.0, 0.0, 9.0]),
        };
        let at = |z: f64| {
            let slab = Slab::new(&grid, Plane::Axial, z);
            (0..7).filter(|&k| slab.holds([2, 3, k])).collect::<Vec<_>>()
        };
        assert_eq!((at(9.0), at(3.0), at(4.4), at(40.0)), (vec![0], vec![2], vec![2], vec![]));
        assert_eq!(at(7.5), [0], "between two layers: the one that pictures show");
    }

    #[test]
    fn every_point_of_an_oblique_plane_lies_in_its_slab() {
        let grid = oblique([20, 20, 20], [1.0, 1.5, 0.8], 0.4, 0.6);
        let centre = grid.world_from_voxel.apply([10.0; 3]);
        let slab = Slab::new(&grid, Plane::Coronal, centre[1]);
        for n in 0..2500 {
            let p =
                [centre[0] + (n % 50) as f64 * 0.2 - 5.0, centre[1], centre[2] + (n / 50) as f64 * 0.2 - 5.0];
            if let Some(voxel) = voxel_at(&grid, p).unwrap() {
                assert!(slab.holds(voxel), "{voxel:?}");
            }
        }
    }
}
