//! How alike two images are, value by value; definitions in [`super`].

use ndarray::{Array3, ArrayView1, Axis, Zip, s};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::volume::{AffineSource, Volume};
use crate::voxels::{ComplexPart, Scaling, Voxels};

/// Standard deviation of the window of SSIM in voxels, and its half width: truncated at 3.5 of them.
const SIGMA: f64 = 1.5;
const RADIUS: usize = 5;

/// Two images compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Similarity {
    /// The span of values that PSNR and SSIM refer to.
    pub data_range: f64,
    /// Peak signal-to-noise ratio in decibels; absent for equal images, where it is infinite.
    pub psnr_db: Option<f64>,
    /// Structural similarity, at most 1; absent for images with fewer than 11 voxels along an axis or with values that are
    /// not finite.
    pub ssim: Option<f64>,
    /// Mean absolute difference in values.
    pub mae: f64,
    /// Voxels (times colours) compared.
    pub values: usize,
    /// Voxels left out because a value is not finite.
    pub non_finite: usize,
}

/// Compares `result` with `truth` over all voxels, colour by colour (alpha is left out).
///
/// The span of values is `data_range`; when none, 255 or 65535 for colours and for 8- and 16-bit pictures (without a place
/// in space), and that of the truth for everything else.
///
/// # Errors
/// [`Error::Argument`] when the two differ in size, place or number of colours, hold complex numbers, or hold no finite
/// values; or when the span is not positive.
pub fn similarity(result: &Volume, truth: &Volume, data_range: Option<f64>) -> Result<Similarity> {
    if result.grid.size_ijk != truth.grid.size_ijk {
        return Err(Error::Argument(format!(
            "images of {:?} and {:?} voxels; they are compared voxel by voxel and must have one grid",
            result.grid.size_ijk, truth.grid.size_ijk
        )));
    }
    let edge = truth.grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
    let are_placed = [result, truth].iter().all(|v| v.meta.affine_source != AffineSource::None);
    if are_placed && !result.grid.is_same(&truth.grid, 0.01 * edge) {
        return Err(Error::Argument(
            "images of one size in different places; they are compared voxel by voxel and must have one grid"
                .to_owned(),
        ));
    }
    let (results, truths) = (channels(result)?, channels(truth)?);
    if results.len() != truths.len() {
        return Err(Error::Argument(format!(
            "images of {} and {} colours; convert one of them",
            results.len(),
            truths.len()
        )));
    }
    let (mut squares, mut absolute, mut values, mut non_finite) = (0.0, 0.0, 0usize, 0usize);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (r, t) in results.iter().zip(&truths) {
        for (r, t) in r.iter().zip(t) {
            if r.is_finite() && t.is_finite() {
                squares += (r - t) * (r - t);
                absolute += (r - t).abs();
                values += 1;
                (low, high) = (low.min(*t), high.max(*t));
            } else {
                non_finite += 1;
            }
        }
    }
    if values == 0 {
        return Err(Error::Argument("no voxel is finite in both images".to_owned()));
    }
    let span = data_range.or_else(|| type_span(truth)).unwrap_or(high - low);
    if !(span.is_finite() && span > 0.0) {
        return Err(Error::Argument(format!("a span of values of {span}; give a positive one")));
    }
    let mse = squares / values as f64;
    let ssim = (non_finite == 0).then(|| {
        let each = results.iter().zip(&truths).map(|(r, t)| ssim(r, t, span));
        each.sum::<Option<f64>>().map(|sum| sum / results.len() as f64)
    });
    Ok(Similarity {
        data_range: span,
        psnr_db: (mse > 0.0).then(|| 10.0 * (span * span / mse).log10()),
        ssim: ssim.flatten(),
        mae: absolute / values as f64,
        values,
        non_finite,
    })
}

/// The span of values of a type that has one by itself.
fn type_span(v: &Volume) -> Option<f64> {
    let is_picture = v.meta.affine_source == AffineSource::None && v.scaling.is_none();
    match v.voxels {
        Voxels::Rgb8(_) | Voxels::Rgba8(_) => Some(255.0),
        Voxels::Rgb16(_) | Voxels::Rgba16(_) => Some(65535.0),
        Voxels::U8(_) if is_picture => Some(255.0),
        Voxels::U16(_) if is_picture => Some(65535.0),
        _ => None,
    }
}

/// Values of each colour, without alpha.
fn channels(v: &Volume) -> Result<Vec<Array3<f64>>> {
    fn colours<T: Copy + Into<f64>, const N: usize>(a: &crate::Shared<[T; N]>) -> Vec<Array3<f64>> {
        (0..3).map(|c| a.map(|v| v[c].into())).collect()
    }
    Ok(match &v.voxels {
        Voxels::Rgb8(a) => colours(a),
        Voxels::Rgba8(a) => colours(a),
        Voxels::Rgb16(a) => colours(a),
        Voxels::Rgba16(a) => colours(a),
        Voxels::Complex32(_) | Voxels::Complex64(_) => {
            return Err(Error::Argument(
                "complex numbers are not compared; convert them to magnitudes".to_owned(),
            ));
        }
        // Double precision and wide integers keep their digits.
        voxels => crate::for_scalar!(voxels, a => {
            let Scaling { slope, inter } = v.scaling;
            vec![a.map(|&x| crate::voxels::Scalar::to_f64(x) * slope + inter)]
        }, other => vec![other.to_f32(v.scaling, ComplexPart::Magnitude).mapv(f64::from)]),
    })
}

/// Mean structural similarity of one channel, or `None` when an axis has fewer voxels than the window. Axes of one voxel
/// do not count: a picture is compared in two dimensions, a volume in three.
fn ssim(x: &Array3<f64>, y: &Array3<f64>, span: f64) -> Option<f64> {
    let axes: Vec<usize> = (0..3).filter(|&a| x.shape()[a] > 1).collect();
    if axes.is_empty() || axes.iter().any(|&a| x.shape()[a] < 2 * RADIUS + 1) {
        return None;
    }
    let smooth = |a: Array3<f64>| axes.iter().fold(a, |a, &axis| blurred(&a, axis));
    let (mx, my) = (smooth(x.clone()), smooth(y.clone()));
    let (xx, yy, xy) = (smooth(x * x), smooth(y * y), smooth(x * y));
    let (c1, c2) = ((0.01 * span).powi(2), (0.03 * span).powi(2));
    let mut map = xy;
    Zip::from(&mut map).and(&mx).and(&my).and(&xx).and(&yy).for_each(|map, &mx, &my, &xx, &yy| {
        let (vx, vy, vxy) = (xx - mx * mx, yy - my * my, *map - mx * my);
        *map = (2.0 * mx * my + c1) * (2.0 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
    });
    // Windows that reach over the border do not count.
    let range = |a: usize| {
        let n = map.shape()[a];
        if axes.contains(&a) { RADIUS..n - RADIUS } else { 0..n }
    };
    map.slice(s![range(0), range(1), range(2)]).mean()
}

/// A Gaussian along one axis of the array; beyond the border the image is mirrored, the outermost voxel repeated.
fn blurred(a: &Array3<f64>, axis: usize) -> Array3<f64> {
    let weight = |n: usize| (-0.5 * ((n as f64 - RADIUS as f64) / SIGMA).powi(2)).exp();
    let sum: f64 = (0..=2 * RADIUS).map(weight).sum();
    let kernel: Vec<f64> = (0..=2 * RADIUS).map(|n| weight(n) / sum).collect();
    let mut out = Array3::zeros(a.raw_dim());
    Zip::from(out.lanes_mut(Axis(axis))).and(a.lanes(Axis(axis))).par_for_each(
        |mut to, from: ArrayView1<'_, f64>| {
            let n = from.len() as i64;
            for i in 0..n {
                let value = |k: usize| {
                    let at = (i + k as i64 - RADIUS as i64).rem_euclid(2 * n);
                    from[at.min(2 * n - 1 - at) as usize]
                };
                to[i as usize] = kernel.iter().enumerate().map(|(k, w)| w * value(k)).sum();
            }
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;

    fn volume(f: impl Fn(usize) -> f32) -> Volume {
        let a = Array3::from_shape_fn((1, 12, 13), |(_, y, x)| f(y * 13 + x));
        Volume::new(Voxels::F32(a.into_shared()), Grid::unit([13, 12, 1])).unwrap()
    }

    #[test]
    fn equal_images_are_alike_and_odd_ones_are_told() {
        let a = volume(|n| n as f32);
        let s = similarity(&a, &a, None).unwrap();
        assert_eq!((s.psnr_db, s.mae, s.data_range), (None, 0.0, 155.0));
        assert!((s.ssim.unwrap() - 1.0).abs() < 1e-12);
        let hole = volume(|n| if n == 7 { f32::NAN } else { n as f32 + 1.0 });
        let s = similarity(&hole, &a, Some(10.0)).unwrap();
        assert_eq!((s.non_finite, s.ssim, s.mae), (1, None, 1.0));
        assert!((s.psnr_db.unwrap() - 20.0).abs() < 1e-9);
        assert!(similarity(&volume(|_| 1.0), &volume(|_| 1.0), None).is_err(), "a truth without a span");
        let other = Volume::new(
            a.voxels.clone(),
            Grid { world_from_voxel: crate::Affine::scale_shift([1.0; 3], [9.0; 3]), ..a.grid },
        );
        let mut other = other.unwrap();
        let mut a = a;
        (a.meta.affine_source, other.meta.affine_source) = (AffineSource::Sform, AffineSource::Sform);
        assert!(similarity(&other, &a, None).unwrap_err().to_string().contains("different places"));
    }
}
