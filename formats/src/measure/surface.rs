//! Distances between the surfaces of two structures; definitions in [`super`].

use rayon::prelude::*;
use serde::Serialize;

use super::nearest::Tree;
use super::pairs::Bounds;
use crate::affine::Affine;
use crate::voxels::Shared;

/// Distances between two surfaces, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SurfaceDistances {
    /// 95th percentile Hausdorff distance.
    pub hd95_mm: f64,
    /// Hausdorff distance (the largest).
    pub hausdorff_mm: f64,
    /// Mean over both directions pooled (ASSD).
    pub mean_mm: f64,
}

/// Centres (mm, relative to voxel 0) of the surface voxels of `{v : inside[label(v)]}`, in raster order.
/// `bounds` holds the whole set.
pub(super) fn surface_points(
    labels: &Shared<u16>,
    inside: &[bool],
    bounds: Bounds,
    world_from_voxel: &Affine,
) -> Vec<[f64; 3]> {
    let (nk, nj, ni) = labels.dim();
    let is_in = |k: usize, j: usize, i: usize| inside[usize::from(labels[[k, j, i]])];
    let columns = [0, 1, 2].map(|a| world_from_voxel.column(a));
    let slice = |k: usize| {
        let mut out = Vec::new();
        for j in bounds.first[1]..=bounds.last[1] {
            for i in bounds.first[2]..=bounds.last[2] {
                let buried = || {
                    k > 0
                        && j > 0
                        && i > 0
                        && k + 1 < nk
                        && j + 1 < nj
                        && i + 1 < ni
                        && is_in(k, j, i - 1)
                        && is_in(k, j, i + 1)
                        && is_in(k, j - 1, i)
                        && is_in(k, j + 1, i)
                        && is_in(k - 1, j, i)
                        && is_in(k + 1, j, i)
                };
                if is_in(k, j, i) && !buried() {
                    let ijk = [i as f64, j as f64, k as f64];
                    out.push([0, 1, 2].map(|r| (0..3).map(|a| columns[a][r] * ijk[a]).sum()));
                }
            }
        }
        out
    };
    (bounds.first[0]..=bounds.last[0]).into_par_iter().flat_map_iter(slice).collect()
}

/// Compares two surfaces, or `None` when either is empty.
pub(super) fn compare(truth: &[[f64; 3]], pred: &[[f64; 3]]) -> Option<SurfaceDistances> {
    if truth.is_empty() || pred.is_empty() {
        return None;
    }
    let (mut there, mut back) = rayon::join(
        || Tree::new(pred.to_vec()).distances(truth),
        || Tree::new(truth.to_vec()).distances(pred),
    );
    let sum = there.iter().sum::<f64>() + back.iter().sum::<f64>();
    Some(SurfaceDistances {
        mean_mm: sum / (there.len() + back.len()) as f64,
        hausdorff_mm: there.iter().chain(&back).copied().fold(0.0, f64::max),
        hd95_mm: percentile(&mut there, 0.95).max(percentile(&mut back, 0.95)),
    })
}

/// The quantile `q` (0..=1) of at least one finite value, interpolated linearly at position `q·(n−1)`.
fn percentile(values: &mut [f64], q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let below = position.floor() as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    if next.is_finite() { low + (next - low) * (position - below as f64) } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array3;

    #[test]
    fn percentiles_interpolate() {
        assert_eq!(percentile(&mut [4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
        assert_eq!(percentile(&mut [7.0], 0.95), 7.0);
        assert!((percentile(&mut [0.0, 10.0], 0.95) - 9.5).abs() < 1e-12);
    }

    #[test]
    fn the_edge_of_the_volume_is_surface_and_the_core_is_not() {
        let labels = Array3::from_elem((3, 3, 3), 1);
        let bounds = Bounds { first: [0; 3], last: [2; 3] };
        let points = surface_points(&labels.into_shared(), &[false, true], bounds, &Affine::IDENTITY);
        assert_eq!(points.len(), 26);
    }
}
