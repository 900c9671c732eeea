//! A piece of a slice, to see what restoring would do before all of it is done.

use formats::volume::Element;
use formats::{Volume, for_any};
use ndarray::s;

use super::values::{self, Scale};
use crate::error::{Error, Result};
use crate::family::Slices;
use crate::manifest::Manifest;

/// A box of voxels, one voxel thick across the slices that are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The axis (0 = i) across the slice.
    pub axis: usize,
    /// First voxel.
    pub start_ijk: [usize; 3],
    /// Voxels along i, j, k.
    pub size_ijk: [usize; 3],
}

impl Region {
    /// A piece of at most `side` × `side` voxels of the slice through a voxel, with that voxel in its middle as far as the
    /// image allows. Of slices across all axes, that across k.
    #[must_use]
    pub fn about(volume: &Volume, slices: Slices, ijk: [usize; 3], side: usize) -> Self {
        let axis = super::planes::axes(&volume.grid, slices).first().copied().unwrap_or(2);
        let (mut start_ijk, mut size_ijk) = ([0; 3], [1; 3]);
        for a in 0..3 {
            let n = volume.grid.size_ijk[a];
            let at = ijk[a].min(n.saturating_sub(1));
            if a == axis {
                start_ijk[a] = at;
            } else {
                size_ijk[a] = side.clamp(1, n.max(1));
                start_ijk[a] = at.saturating_sub(size_ijk[a] / 2).min(n - size_ijk[a].min(n));
            }
        }
        Self { axis, start_ijk, size_ijk }
    }

    /// That part of an image, in its place.
    ///
    /// # Errors
    /// [`Error::Argument`] when it reaches outside.
    pub fn cut(&self, volume: &Volume) -> Result<Volume> {
        let whole = volume.grid.size_ijk;
        let end = [0, 1, 2].map(|a| self.start_ijk[a].saturating_add(self.size_ijk[a]));
        if (0..3).any(|a| end[a] > whole[a]) {
            return Err(Error::Argument(format!("a piece up to voxel {end:?} of an image of {whole:?}")));
        }
        let [i, j, k] = [0, 1, 2].map(|a| self.start_ijk[a]..end[a]);
        fn wrap<T: Element>(a: &ndarray::ArrayView3<'_, T>) -> formats::Voxels {
            T::wrap(a.to_owned().into_shared())
        }
        let voxels = for_any!(&volume.voxels, a => wrap(&a.slice(s![k, j, i])));
        let grid = volume.grid.window(self.start_ijk.map(|n| n as i64), self.size_ijk);
        Ok(Volume { voxels, grid, scaling: volume.scaling, meta: volume.meta.clone() })
    }
}

/// The scale that an image of these frames is restored with, to be used for pieces of it.
#[must_use]
pub fn scale_of(manifest: &Manifest, frames: &[Volume]) -> Scale {
    Scale::of_all(frames.iter(), &manifest.output).0
}

/// `before` with `strength` of what was corrected between it and `after`, an image of the same type and grid that was
/// restored at full strength.
#[must_use]
pub fn mixed(before: &Volume, after: &Volume, strength: f64) -> Volume {
    if before.voxels.type_name() != after.voxels.type_name() || before.grid.size_ijk != after.grid.size_ijk {
        return after.clone();
    }
    let unit = Scale { offset: 0.0, factor: 1.0 };
    let restored: Vec<_> = (0..values::colours(&after.voxels))
        .map(|colour| {
            let mut all = ndarray::Array3::zeros(after.grid.shape_kji());
            for (n, mut slice) in all.outer_iter_mut().enumerate() {
                slice.assign(&values::plane(after, 2, n, colour, unit));
            }
            all
        })
        .collect();
    let voxels = values::mixed(before, &restored, unit, strength);
    Volume { voxels, ..before.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{Grid, Voxels};
    use ndarray::Array3;

    #[test]
    fn pieces_lie_where_they_were_cut_from() {
        let a = Array3::from_shape_fn((5, 40, 30), |(k, j, i)| (k * 10_000 + j * 100 + i) as u16);
        let volume = Volume::new(Voxels::U16(a.into_shared()), Grid::unit([30, 40, 5])).unwrap();
        for (slices, ijk) in [(Slices::K, [29, 0, 4]), (Slices::I, [3, 39, 2]), (Slices::All, [15, 20, 0])] {
            let region = Region::about(&volume, slices, ijk, 16);
            let piece = region.cut(&volume).unwrap();
            assert_eq!(piece.grid.size_ijk[region.axis], 1);
            assert!(piece.grid.size_ijk.iter().all(|&n| n <= 16));
            let inside = [0, 1, 2].map(|x| ijk[x] - region.start_ijk[x]);
            assert_eq!(piece.value(inside), volume.value(ijk));
            let world = |g: &Grid, v: [usize; 3]| g.world_from_voxel.apply(v.map(|n| n as f64));
            assert_eq!(world(&piece.grid, inside), world(&volume.grid, ijk));
        }
        let outside = Region { axis: 2, start_ijk: [20, 0, 0], size_ijk: [16, 1, 1] };
        assert!(outside.cut(&volume).is_err());
    }

    #[test]
    fn mixing_lies_between() {
        let of = |v: u8| {
            Volume::new(Voxels::U8(Array3::from_elem((1, 2, 2), v).into_shared()), Grid::unit([2, 2, 1]))
                .unwrap()
        };
        for (strength, expected) in [(0.0, 10.0), (0.25, 20.0), (1.0, 50.0)] {
            assert_eq!(mixed(&of(10), &of(50), strength).value([1, 1, 0]), Some(expected));
        }
    }
}
