//! The part of a volume that holds something.

use ndarray::{ArrayView3, ArrayView4, Axis, Zip};
use rayon::prelude::*;

/// A box of voxels: first voxel and size, `ijk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Box3 {
    /// First voxel.
    pub start_ijk: [usize; 3],
    /// Voxels along each axis, at least 1.
    pub size_ijk: [usize; 3],
}

impl Box3 {
    /// Grown by `margin` voxels on every side, within a volume of `size_ijk`.
    #[must_use]
    pub fn grown(&self, margin: [usize; 3], size_ijk: [usize; 3]) -> Self {
        let start = std::array::from_fn(|a| self.start_ijk[a].saturating_sub(margin[a]));
        let end: [usize; 3] =
            std::array::from_fn(|a| (self.start_ijk[a] + self.size_ijk[a] + margin[a]).min(size_ijk[a]));
        Self { start_ijk: start, size_ijk: std::array::from_fn(|a| end[a] - start[a]) }
    }

    /// The smallest box around both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let start = std::array::from_fn(|a| self.start_ijk[a].min(other.start_ijk[a]));
        let end: [usize; 3] = std::array::from_fn(|a| {
            (self.start_ijk[a] + self.size_ijk[a]).max(other.start_ijk[a] + other.size_ijk[a])
        });
        Self { start_ijk: start, size_ijk: std::array::from_fn(|a| end[a] - start[a]) }
    }
}

/// The smallest box around all values above `threshold` (strictly; NaN is not above), or `None` when there is none.
#[must_use]
pub fn foreground(array: ArrayView3<'_, f32>, threshold: f32) -> Option<Box3> {
    let of_plane = |(k, plane): (usize, ndarray::ArrayView2<'_, f32>)| {
        let mut found: Option<Box3> = None;
        for (j, row) in plane.outer_iter().enumerate() {
            let Some(first) = row.iter().position(|&v| v > threshold) else { continue };
            let last = row.iter().rposition(|&v| v > threshold).unwrap_or(first);
            let here = Box3 { start_ijk: [first, j, k], size_ijk: [last - first + 1, 1, 1] };
            found = Some(found.map_or(here, |b| b.union(&here)));
        }
        found
    };
    array.axis_iter(Axis(0)).into_par_iter().enumerate().filter_map(of_plane).reduce_with(|a, b| a.union(&b))
}

/// As [`foreground`] over channels `[C, k, j, i]`: the box around what any channel holds.
#[must_use]
pub fn foreground_of_any(channels: ArrayView4<'_, f32>, threshold: f32) -> Option<Box3> {
    channels.outer_iter().filter_map(|c| foreground(c, threshold)).reduce(|a, b| a.union(&b))
}

/// Whether all values are the same (or there is at most one). NaN differs from everything.
#[must_use]
pub fn is_constant(array: ArrayView3<'_, f32>) -> bool {
    let Some(&first) = array.first() else { return true };
    Zip::from(array).all(|&v| v == first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn the_box_is_tight() {
        let mut a = Array3::<f32>::zeros((5, 6, 7));
        assert_eq!(foreground(a.view(), 0.0), None);
        a[[1, 2, 3]] = 1.0;
        a[[3, 4, 2]] = 1.0;
        a[[2, 0, 6]] = f32::NAN;
        let b = foreground(a.view(), 0.0).unwrap();
        assert_eq!(b, Box3 { start_ijk: [2, 2, 1], size_ijk: [2, 3, 3] });
        assert_eq!(b.grown([1, 9, 9], [7, 6, 5]), Box3 { start_ijk: [1, 0, 0], size_ijk: [4, 6, 5] });
    }
}
