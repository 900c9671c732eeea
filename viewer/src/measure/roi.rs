use formats::measure::label_extents;
use formats::{Grid, Shared, Volume};
use serde::{Deserialize, Serialize};

use super::Shape;
use crate::sampling::NUDGE;
use crate::tools::{Capsule, Error, Result, Sampler};
use crate::view::Plane;

/// Summary of the finite values of a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Finite values.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over n.
    pub sd: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// How large a region is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// In a plane, mm².
    Area {
        /// Of the shape as drawn.
        drawn_mm2: f64,
        /// Of the voxels counted.
        counted_mm2: f64,
    },
    /// In space, mm³.
    Volume {
        /// Of the voxels counted.
        counted_mm3: f64,
    },
}

/// What was measured in a region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Voxels counted, with finite values or not.
    pub voxels: u64,
    /// Area or volume.
    pub size: Size,
    /// Values; `None` when there is no finite one.
    pub values: Option<Summary>,
}

/// Running mean and squares (Welford 1962), which do not suffer from large offsets as plain sums do.
#[derive(Default)]
struct Gathered {
    voxels: u64,
    n: u64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl Gathered {
    fn add(&mut self, value: Option<f64>) {
        self.voxels += 1;
        let Some(v) = value.filter(|v| v.is_finite()) else { return };
        (self.min, self.max) = if self.n == 0 { (v, v) } else { (self.min.min(v), self.max.max(v)) };
        self.n += 1;
        let off = v - self.mean;
        self.mean += off / self.n as f64;
        self.squares += off * (v - self.mean);
    }

    fn region(&self, size: Size) -> Region {
        let values = (self.n > 0).then(|| Summary {
            n: self.n,
            mean: self.mean,
            sd: (self.squares / self.n as f64).sqrt(),
            min: self.min,
            max: self.max,
        });
        Region { voxels: self.voxels, size, values }
    }
}

/// Measures a shape on the slice of an image at `at_mm` (RAS+ mm along the axis through the plane). Definitions: see
/// [`crate::measure`]. What lies outside the image is drawn but not counted.
///
/// # Errors
/// [`Error::Singular`], and [`Error::Argument`] for coordinates that are not finite.
pub fn plane_region(image: &Volume, plane: Plane, at_mm: f64, shape: &Shape) -> Result<Region> {
    let grid = &image.grid;
    let inverse = grid.voxel_from_world().ok_or(Error::Singular("image"))?;
    let (low, high) = shape.bounds();
    if !at_mm.is_finite() || low.iter().chain(&high).any(|v| !v.is_finite()) {
        return Err(Error::Argument("a region needs finite coordinates".to_owned()));
    }
    let [across, down, through] = plane.axes();
    let spacing = grid.spacing_mm();
    let m = grid.world_from_voxel.0[through];
    // Columns run along the voxel axis closest to the normal.
    let cosine = |a: usize| m[a].abs() / spacing[a];
    let column = (0..3).max_by(|&a, &b| cosine(a).total_cmp(&cosine(b))).unwrap_or(2);
    let others = [(column + 1) % 3, (column + 2) % 3];
    let ranges = others.map(|a| {
        let corner = |n: usize| {
            let mut p = [at_mm; 3];
            p[across] = if n & 1 == 0 { low[0] } else { high[0] };
            p[down] = if n & 2 == 0 { low[1] } else { high[1] };
            inverse.apply(p)[a]
        };
        let ends = [0, 1, 2, 3].map(corner);
        let first = ends.into_iter().fold(f64::INFINITY, f64::min);
        let last = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let end = ((last + 1e-6).floor() + 1.0).clamp(0.0, grid.size_ijk[a] as f64) as usize;
        (first - 1e-6).ceil().max(0.0) as usize..end
    });
    let finest = spacing.into_iter().fold(f64::INFINITY, f64::min);
    let mut gathered = Gathered::default();
    for p in ranges[1].clone() {
        for q in ranges[0].clone() {
            let mut at = [0.0; 3];
            (at[others[0]], at[others[1]]) = (q as f64, p as f64);
            let rest = m[others[0]] * at[others[0]] + m[others[1]] * at[others[1]] + m[3];
            at[column] = (at_mm - rest) / m[column];
            let point = grid.world_from_voxel.apply(at);
            if !shape.holds([point[across], point[down]]) {
                continue;
            }
            // As in pictures: a plane on a face shows the voxel towards R, A, S.
            let layer = ((at_mm + finest * NUDGE - rest) / m[column] + 0.5).floor();
            if layer < 0.0 || layer >= grid.size_ijk[column] as f64 {
                continue;
            }
            let mut ijk = at.map(|x| x as usize);
            ijk[column] = layer as usize;
            gathered.add(image.value(ijk));
        }
    }
    // The plane cuts a column in a parallelogram; that times the column's step along the normal is a voxel.
    let counted_mm2 = gathered.voxels as f64 * grid.voxel_volume_mm3() / m[column].abs();
    Ok(gathered.region(Size::Area { drawn_mm2: shape.area_mm2(), counted_mm2 }))
}

/// Measures the voxels of an image whose centres lie in a ball.
///
/// # Errors
/// As [`plane_region`].
pub fn ball(image: &Volume, centre_ras: [f64; 3], radius_mm: f64) -> Result<Region> {
    let mut gathered = Gathered::default();
    if !radius_mm.is_finite() || centre_ras.iter().any(|v| !v.is_finite()) {
        return Err(Error::Argument("a region needs finite coordinates".to_owned()));
    }
    Capsule::new(&image.grid, None, radius_mm, centre_ras, centre_ras)?.rows(|j, k, range| {
        for i in range {
            gathered.add(image.value([i, j, k]));
        }
    });
    let counted_mm3 = gathered.voxels as f64 * image.grid.voxel_volume_mm3();
    Ok(gathered.region(Size::Volume { counted_mm3 }))
}

/// Measures a label. Values are those of the image's voxels that own the centres of the label's voxels; the image may lie
/// on another grid.
///
/// # Errors
/// [`Error::Singular`].
pub fn label(image: &Volume, labels: &Shared<u16>, grid: &Grid, label: u16) -> Result<Region> {
    let sampler = Sampler::new(image, grid).ok_or(Error::Singular("image"))?;
    let mut gathered = Gathered::default();
    if let Some(extent) = label_extents(labels).into_iter().find(|e| e.label == label) {
        let ([fi, fj, fk], [li, lj, lk]) = (extent.first_ijk, extent.last_ijk);
        for ((k, j, i), _) in
            labels.slice(ndarray::s![fk..=lk, fj..=lj, fi..=li]).indexed_iter().filter(|(_, l)| **l == label)
        {
            gathered.add(sampler.value([fi + i, fj + j, fk + k]));
        }
    }
    let counted_mm3 = gathered.voxels as f64 * grid.voxel_volume_mm3();
    Ok(gathered.region(Size::Volume { counted_mm3 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{Brush, Over, Tip, oblique_grid, stroke};
    use formats::{LabelTable, Voxels};
    use ndarray::Array3;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    /// An image whose values are a linear function of world coordinates.
    fn ramp(grid: Grid, slope: [f64; 3], offset: f64) -> Volume {
        let values = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| {
            let p = grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
            slope[0] * p[0] + slope[1] * p[1] + slope[2] * p[2] + offset
        });
        Volume::new(Voxels::F64(values.into_shared()), grid).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Over a disc of radius r a ramp of slope g has the mean of the middle and the deviation g·r/2; over a ball
        /// g·r/√5.
        #[test]
        fn a_ramp_has_its_mean_and_deviation(
            spacing in prop::array::uniform3(0.4f64..0.9),
            (turn, tilt) in (-3.0f64..3.0, -1.0f64..1.0),
            plane in prop::sample::select(Plane::ALL.to_vec()),
            off in prop::array::uniform3(-0.5f64..0.5),
        ) {
            let grid = oblique_grid([56, 56, 56], spacing, turn, tilt);
            let centre = grid.world_from_voxel.apply(off.map(|o| 28.0 + o));
            let [across, down, through] = plane.axes();
            let radius = 9.0;
            let mut slope = [0.0; 3];
            (slope[across], slope[down]) = (3.0, -4.0);
            let image = ramp(grid, slope, 1e6);
            let middle = slope[0] * centre[0] + slope[1] * centre[1] + slope[2] * centre[2] + 1e6;
            let circle = Shape::Circle { centre: [centre[across], centre[down]], radius_mm: radius };
            let found = plane_region(&image, plane, centre[through], &circle).unwrap();
            let values = found.values.unwrap();
            prop_assert_eq!(values.n, found.voxels);
            // Voxels of an oblique layer lie up to half their length from the plane.
            prop_assert!((values.mean - middle).abs() < 5.0 * 0.3, "{} {middle}", values.mean);
            prop_assert!((values.sd / (5.0 * radius / 2.0) - 1.0).abs() < 0.03, "{}", values.sd);
            let Size::Area { drawn_mm2, counted_mm2 } = found.size else { panic!() };
            prop_assert!((drawn_mm2 - PI * 81.0).abs() < 1e-9);
            prop_assert!((counted_mm2 / drawn_mm2 - 1.0).abs() < 0.03, "{counted_mm2} {drawn_mm2}");
            let found = ball(&image, centre, radius).unwrap();
            let values = found.values.unwrap();
            prop_assert!((values.mean - middle).abs() < 0.2, "{} {middle}", values.mean);
            prop_assert!((values.sd / (5.0 * radius / 5f64.sqrt()) - 1.0).abs() < 0.02, "{}", values.sd);
            let Size::Volume { counted_mm3 } = found.size else { panic!() };
            prop_assert!((counted_mm3 / (4.0 / 3.0 * PI * 729.0) - 1.0).abs() < 0.03);
        }
    }

    #[test]
    fn exactly_the_voxels_of_a_layer_count() {
        let grid = Grid::unit([10, 10, 10]);
        let values = Array3::from_shape_fn((10, 10, 10), |(k, j, i)| {
            if (k, j, i) == (4, 3, 3) { f32::NAN } else { (100 * k + 10 * j + i) as f32 }
        });
        let image = Volume::new(Voxels::F32(values.into_shared()), grid).unwrap();
        let rectangle = Shape::Rectangle { corners: [[2.0, 3.0], [4.0, 4.0]] };
        let found = plane_region(&image, Plane::Axial, 4.2, &rectangle).unwrap();
        assert_eq!(found.voxels, 6, "borders count");
        assert_eq!(found.size, Size::Area { drawn_mm2: 2.0, counted_mm2: 6.0 });
        // 432, 434, 442, 443, 444.
        let mean = 439.0;
        let sd = ((49.0 + 25.0 + 9.0 + 16.0 + 25.0) / 5.0f64).sqrt();
        let values = found.values.unwrap();
        assert_eq!((values.n, values.min, values.max), (5, 432.0, 444.0));
        assert!((values.mean - mean).abs() < 1e-9 && (values.sd - sd).abs() < 1e-9);
        let on_a_face = plane_region(&image, Plane::Axial, 4.5, &rectangle).unwrap();
        assert_eq!(on_a_face.values.unwrap().min, 532.0, "the layer that pictures show");
        let outside = plane_region(&image, Plane::Sagittal, 40.0, &rectangle).unwrap();
        assert_eq!((outside.voxels, outside.values), (0, None));
        let nowhere = Shape::Polygon { points: vec![] };
        assert!(plane_region(&image, Plane::Axial, 4.0, &nowhere).is_err());
    }

    #[test]
    fn a_label_on_another_grid_is_measured() {
        let grid = oblique_grid([40, 40, 40], [0.5, 0.6, 0.7], 0.3, 0.2);
        let centre = grid.world_from_voxel.apply([20.0; 3]);
        let mut labels = Array3::zeros(grid.shape_kji()).into_shared();
        let brush = Brush { tip: Tip::Ball, radius_mm: 6.0, label: 7, over: Over::Everything };
        let edit = stroke(&labels, &grid, &brush, &[centre], None).unwrap();
        edit.apply(&mut labels, &mut LabelTable::default()).unwrap();
        let image = ramp(oblique_grid([60, 60, 60], [0.5; 3], 1.2, -0.4), [2.0, 0.0, 0.0], 0.0);
        let shift = {
            let p = image.grid.world_from_voxel.apply([30.0; 3]);
            [0, 1, 2].map(|a| centre[a] - p[a])
        };
        let mut image = image;
        for r in 0..3 {
            image.grid.world_from_voxel.0[r][3] += shift[r];
        }
        let found = label(&image, &labels, &grid, 7).unwrap();
        let values = found.values.unwrap();
        assert_eq!(values.n, edit.voxels());
        assert!((values.mean - 2.0 * (centre[0] - shift[0])).abs() < 0.1, "{values:?} {centre:?} {shift:?}");
        assert!((values.sd / (2.0 * 6.0 / 5f64.sqrt()) - 1.0).abs() < 0.03, "{values:?}");
        assert_eq!(label(&image, &labels, &grid, 8).unwrap().voxels, 0);
    }
}
