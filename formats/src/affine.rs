//! Affine maps between voxel indices and the world, in double precision.

use serde::{Deserialize, Serialize};

/// A 3×4 affine map: `y = m[..3] · x + m[3]` per row. As `world_from_voxel` it takes a voxel index
/// `(i, j, k)` (voxel centres at integers) to RAS+ millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// The identity map.
    pub const IDENTITY: Self = Self([[1., 0., 0., 0.], [0., 1., 0., 0.], [0., 0., 1., 0.]]);

    /// Diagonal scaling by `s` followed by a shift by `t`.
    #[must_use]
    pub fn scale_shift(s: [f64; 3], t: [f64; 3]) -> Self {
        Self([[s[0], 0., 0., t[0]], [0., s[1], 0., t[1]], [0., 0., s[2], t[2]]])
    }

    /// From three column vectors (images of the unit steps along i, j, k) and the image of the origin.
    #[must_use]
    pub fn from_columns(c: [[f64; 3]; 3], origin: [f64; 3]) -> Self {
        let row = |r: usize| [c[0][r], c[1][r], c[2][r], origin[r]];
        Self([row(0), row(1), row(2)])
    }

    /// Column `axis` of the linear part: the world step of one voxel along that axis.
    #[must_use]
    pub fn column(&self, axis: usize) -> [f64; 3] {
        [self.0[0][axis], self.0[1][axis], self.0[2][axis]]
    }

    /// Image of the origin.
    #[must_use]
    pub fn origin(&self) -> [f64; 3] {
        self.column(3)
    }

    /// Maps a point.
    #[must_use]
    pub fn apply(&self, p: [f64; 3]) -> [f64; 3] {
        let m = &self.0;
        [0, 1, 2].map(|r| m[r][0] * p[0] + m[r][1] * p[1] + m[r][2] * p[2] + m[r][3])
    }

    /// Composition: `a.then_after(b)` maps `x` to `a(b(x))`; names join as `c_from_a = c_from_b.after(b_from_a)`.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        let mut out = [[0.0; 4]; 3];
        for (r, row) in out.iter_mut().enumerate() {
            for (c, v) in row.iter_mut().enumerate() {
                *v = (0..3).map(|n| self.0[r][n] * first.0[n][c]).sum::<f64>();
            }
            row[3] += self.0[r][3];
        }
        Self(out)
    }

    /// Determinant of the linear part. Negative for a left-handed voxel frame.
    #[must_use]
    pub fn determinant(&self) -> f64 {
        let m = &self.0;
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    }

    /// The inverse map, or `None` when the linear part is singular or not finite.
    ///
    /// Singular means: the volume of a voxel is below 1e-9 of the product of its edge lengths.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        let m = &self.0;
        let det = self.determinant();
        let edges: f64 = (0..3).map(|a| norm(self.column(a))).product();
        if !det.is_finite() || !self.is_finite() || edges == 0.0 || det.abs() < 1e-9 * edges {
            return None;
        }
        let co = |r1: usize, c1: usize, r2: usize, c2: usize| {
            (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) / det
        };
        let inv = [
            [co(1, 1, 2, 2), -co(0, 1, 2, 2), co(0, 1, 1, 2)],
            [-co(1, 0, 2, 2), co(0, 0, 2, 2), -co(0, 0, 1, 2)],
            [co(1, 0, 2, 1), -co(0, 0, 2, 1), co(0, 0, 1, 1)],
        ];
        let t = self.origin();
        let row = |r: usize| {
            let v = inv[r];
            [v[0], v[1], v[2], -(v[0] * t[0] + v[1] * t[1] + v[2] * t[2])]
        };
        Some(Self([row(0), row(1), row(2)]))
    }

    /// Whether every entry is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.0.iter().flatten().all(|v| v.is_finite())
    }

    /// Whether no entry differs from `other`'s by more than `tolerance` (absolute).
    #[must_use]
    pub fn is_close(&self, other: &Self, tolerance: f64) -> bool {
        self.0.iter().flatten().zip(other.0.iter().flatten()).all(|(a, b)| (a - b).abs() <= tolerance)
    }
}

/// Euclidean length.
#[must_use]
pub fn norm(v: [f64; 3]) -> f64 {
    (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_a_sheared_oblique_map() {
        let a = Affine([[0.9, -0.2, 0.1, 12.0], [0.3, 1.1, -0.4, -7.0], [0.0, 0.25, 2.0, 3.5]]);
        let round = a.inverse().unwrap().after(&a);
        assert!(round.is_close(&Affine::IDENTITY, 1e-12), "{round:?}");
        let p = a.apply([1.0, 2.0, 3.0]);
        assert!((p[0] - (0.9 - 0.4 + 0.3 + 12.0)).abs() < 1e-12);
    }

    #[test]
    fn a_singular_map_has_no_inverse() {
        assert!(Affine([[1., 1., 0., 0.], [1., 1., 0., 0.], [0., 0., 1., 0.]]).inverse().is_none());
        assert!(Affine([[f64::NAN, 1., 0., 0.], [1., 1., 0., 0.], [0., 0., 1., 0.]]).inverse().is_none());
    }
}
