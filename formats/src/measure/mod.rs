//! Measuring segmentations: how two agree ([`evaluate()`]), how large the structures of one are ([`volumes()`]), and how
//! far voxels are from a set ([`distances_mm()`]). And images: how alike two are ([`similarity()`]).
//!
//! # Definitions
//! For a structure with voxel sets *T* (truth) and *P* (prediction), both on the truth's grid:
//!
//! - **Dice** `2·|T∩P| / (|T| + |P|)` and **IoU** `|T∩P| / |T∪P|`. Undefined (absent) when both sets are empty, 0
//!   when one is.
//! - **Volume difference** `|P| − |T|` in mm³ (voxel volume = |det| of the affine), and in percent of `|T|`.
//! - **Surface voxels** are voxels of a set with at least one of their six face neighbours outside the set; beyond the
//!   edge of the volume is outside. Distances are between voxel centres in world millimetres, so that anisotropic,
//!   oblique and sheared grids are all right. `d(T→P)` is, per surface voxel of *T*, the distance to the nearest
//!   surface voxel of *P*. Undefined when either set is empty.
//! - **HD95** is the larger of the 95th percentiles of `d(T→P)` and `d(P→T)`; percentiles interpolate linearly
//!   between order statistics (position `0.95·(n−1)`, as NumPy and MONAI do). **Hausdorff** is the largest of all.
//! - **Mean surface distance** is the mean over the pooled distances of both directions (the average symmetric
//!   surface distance, ASSD; MONAI's `AverageSurfaceDistance` with `symmetric=True`).
//!
//! For images with values *x* (result) and *y* (truth), and a span *R* of values:
//!
//! - **PSNR** `10·log10(R² / mean((x − y)²))` in dB, **MAE** `mean(|x − y|)`.
//! - **SSIM** of Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
//!   structural similarity", IEEE Trans. Image Process. 13:600, 2004: Gaussian window of σ = 1.5 cut off at 11 voxels,
//!   `K1 = 0.01`, `K2 = 0.03`, variances with n in the denominator, the mean over windows that lie inside; of colours, the mean
//!   over colours. scikit-image's `structural_similarity` with `gaussian_weights=True, sigma=1.5,
//!   use_sample_covariance=False`.

mod distance;
mod evaluate;
mod groups;
mod nearest;
mod pairs;
mod similarity;
mod surface;
mod volumes;

pub use distance::distances_mm;
pub use evaluate::{Compare, Evaluation, Mean, Row, Sides, evaluate};
pub use groups::{Group, Groups, IdSet, Side};
pub use pairs::{LabelExtent, label_extents};
pub use similarity::{Similarity, similarity};
pub use surface::SurfaceDistances;
pub use volumes::{StructureVolume, volumes, volumes_csv};

/// A CSV cell, quoted where RFC 4180 asks for it.
fn csv_cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A CSV number, empty when undefined.
fn csv_number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |v| format!("{v:.decimals$}"))
}
