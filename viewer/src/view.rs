//! Where the pixels of a slice picture are in the world.
//!
//! Pictures are cut along the planes of the world (RAS+), not of the voxels: an oblique scan is shown as it lies in
//! the scanner, with neither skew nor turned axes. Axial pictures have anterior up, coronal and sagittal ones superior
//! up; in radiological display the patient's right is on the left, in neurological display on the right. Sagittal
//! pictures have anterior on the left in radiological and on the right in neurological display.

use formats::Affine;
use serde::{Deserialize, Serialize};

/// On which side of the picture the patient's right is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// The patient's right on the left, as if seen from the feet. The default of radiology.
    #[default]
    Radiological,
    /// The patient's right on the right, as if seen from above.
    Neurological,
}

/// A family of parallel slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Perpendicular to S.
    Axial,
    /// Perpendicular to A.
    Coronal,
    /// Perpendicular to R.
    Sagittal,
}

impl Plane {
    /// All planes, in the order of listing.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// Name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Axial => "Axial",
            Self::Coronal => "Coronal",
            Self::Sagittal => "Sagittal",
        }
    }

    /// World axes (0 = R, 1 = A, 2 = S): across the picture, down it, through it.
    #[must_use]
    pub fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }

    /// Whether pixels going right run towards the positive end (R, A) of the axis across. Down always runs towards the
    /// negative end (P, I).
    #[must_use]
    pub fn across_is_positive(self, convention: Convention) -> bool {
        convention == Convention::Neurological
    }

    /// Letters at the left, right, top and bottom edge.
    #[must_use]
    pub fn letters(self, convention: Convention) -> [char; 4] {
        const POSITIVE: [char; 3] = ['R', 'A', 'S'];
        const NEGATIVE: [char; 3] = ['L', 'P', 'I'];
        let [across, down, _] = self.axes();
        let (mut left, mut right) = (POSITIVE[across], NEGATIVE[across]);
        if self.across_is_positive(convention) {
            std::mem::swap(&mut left, &mut right);
        }
        [left, right, POSITIVE[down], NEGATIVE[down]]
    }
}

/// Which part of a plane is seen, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceView {
    /// The family of slices.
    pub plane: Plane,
    /// The world point in the middle of the picture; its position along the axis through the plane is ignored (the
    /// cursor's counts).
    pub centre_ras: [f64; 3],
    /// Millimetres per pixel of the picture (square pixels).
    pub mm_per_px: f64,
}

impl SliceView {
    /// RAS+ millimetres from picture coordinates `(x, y, depth)`: `x` pixels to the right and `y` pixels down from the
    /// top left corner of a picture of `size_px` (pixel centres at halves), `depth` millimetres from the cursor's slice
    /// towards the positive end of the axis through the plane.
    #[must_use]
    pub fn world_from_pixel(
        &self,
        size_px: [f64; 2],
        convention: Convention,
        cursor_ras: [f64; 3],
    ) -> Affine {
        let [across, down, through] = self.plane.axes();
        let step = if self.plane.across_is_positive(convention) { self.mm_per_px } else { -self.mm_per_px };
        let mut columns = [[0.0; 3]; 3];
        columns[0][across] = step;
        columns[1][down] = -self.mm_per_px;
        columns[2][through] = 1.0;
        let mut origin = [0.0; 3];
        origin[across] = self.centre_ras[across] - step * size_px[0] / 2.0;
        origin[down] = self.centre_ras[down] + self.mm_per_px * size_px[1] / 2.0;
        origin[through] = cursor_ras[through];
        Affine::from_columns(columns, origin)
    }

    /// The view that shows a whole box (RAS+ millimetres, least and greatest corner) in a picture of `size_px` with a
    /// margin of 4 %.
    #[must_use]
    pub fn fit(plane: Plane, bounds_ras: ([f64; 3], [f64; 3]), size_px: [f64; 2]) -> Self {
        let (low, high) = bounds_ras;
        let [across, down, _] = plane.axes();
        let extent = |a: usize, px: f64| (high[a] - low[a]) / px.max(1.0);
        let mm_per_px = extent(across, size_px[0]).max(extent(down, size_px[1])).max(1e-6) * 1.04;
        Self { plane, centre_ras: [0, 1, 2].map(|a| f64::midpoint(low[a], high[a])), mm_per_px }
    }
}
