//! An array that knows where it lies.

use formats::Grid;
use ndarray::{ArrayBase, ArrayRef3, ArrayView3, Data, Ix3};

use crate::error::{Error, Result};

/// An array `[k, j, i]` with the grid its voxels lie on. Steps take and return these, so that undoing them needs
/// no book-keeping: resample onto the grid wanted.
#[derive(Clone, Debug)]
pub struct Gridded<A> {
    /// The values.
    pub array: A,
    /// Their place.
    pub grid: Grid,
}

impl<S: Data> Gridded<ArrayBase<S, Ix3>> {
    /// Pairs an array with its grid.
    ///
    /// # Errors
    /// [`Error::Argument`] when the shapes differ.
    pub fn new(array: ArrayBase<S, Ix3>, grid: Grid) -> Result<Self> {
        check_shape(&array, &grid)?;
        Ok(Self { array, grid })
    }

    /// The same without owning.
    #[must_use]
    pub fn view(&self) -> Gridded<ArrayView3<'_, S::Elem>> {
        Gridded { array: self.array.view(), grid: self.grid }
    }
}

pub(crate) fn check_shape<T>(array: &ArrayRef3<T>, grid: &Grid) -> Result<()> {
    if array.shape() == grid.shape_kji() {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "array shape {:?} does not fit the grid's {:?}",
        array.shape(),
        grid.shape_kji()
    )))
}
