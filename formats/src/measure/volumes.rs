//! Size, place and brightness of each structure of a segmentation.

use std::collections::BTreeMap;

use ndarray::Axis;
use rayon::prelude::*;
use serde::Serialize;

use super::{csv_cell, csv_number};
use crate::error::{Error, Result};
use crate::for_scalar;
use crate::labels::LabelMap;
use crate::volume::Volume;
use crate::voxels::{ComplexPart, Scalar, Scaling, Shared};

/// One structure of a segmentation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StructureVolume {
    /// Its number.
    pub label: u16,
    /// Its name in the table, `"Label 7"` when it has none.
    pub name: String,
    /// Voxels with this number; 0 for rows of the table that do not occur.
    pub voxels: u64,
    /// `voxels` × voxel volume, cubic millimetres (1000 mm³ = 1 mL).
    pub volume_mm3: f64,
    /// Mean position of voxel centres, RAS+ millimetres.
    pub centroid_ras: Option<[f64; 3]>,
    /// Mean of the image's finite scaled values in the structure.
    pub mean_intensity: Option<f64>,
    /// Their standard deviation (over n, not n − 1).
    pub std_intensity: Option<f64>,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    voxels: u64,
    ijk: [f64; 3],
    finite: u64,
    value: f64,
    square: f64,
}

impl Sums {
    fn merge(&mut self, o: &Self) {
        self.voxels += o.voxels;
        self.ijk = [0, 1, 2].map(|a| self.ijk[a] + o.ijk[a]);
        self.finite += o.finite;
        self.value += o.value;
        self.square += o.square;
    }
}

/// Values of the same voxels as a row of labels, by position in the array.
type Values<'a> = dyn Fn(usize) -> f64 + Sync + 'a;

fn sums(labels: &Shared<u16>, values: Option<&Values<'_>>) -> BTreeMap<u16, Sums> {
    let (_, nj, ni) = labels.dim();
    let slices = labels.axis_iter(Axis(0)).into_par_iter().enumerate();
    let merge = |mut a: BTreeMap<u16, Sums>, b: BTreeMap<u16, Sums>| {
        for (id, s) in b {
            a.entry(id).or_default().merge(&s);
        }
        a
    };
    slices
        .fold(BTreeMap::<u16, Sums>::new, |mut all, (k, slice)| {
            for (j, row) in slice.outer_iter().enumerate() {
                let start = (k * nj + j) * ni;
                let mut i = 0;
                while i < ni {
                    let id = row[i];
                    let run = row.iter().skip(i).take_while(|&&l| l == id).count();
                    if id != 0 {
                        let n = run as f64;
                        let mut s = Sums { voxels: run as u64, ..Sums::default() };
                        s.ijk = [n * (i as f64 + (n - 1.0) / 2.0), n * j as f64, n * k as f64];
                        if let Some(values) = values {
                            for at in start + i..start + i + run {
                                let v = values(at);
                                if v.is_finite() {
                                    s.finite += 1;
                                    s.value += v;
                                    s.square += v * v;
                                }
                            }
                        }
                        all.entry(id).or_default().merge(&s);
                    }
                    i += run;
                }
            }
            all
        })
        .reduce(BTreeMap::new, merge)
}

/// Measures every structure in one pass: rows of the table in its order (0 voxels where a label does not occur), then
/// unlisted labels by number. Background (0) is left out. `image` gives the intensities (luma for colours, magnitude
/// for complex values).
///
/// # Errors
/// [`Error::Argument`] when the image has another shape or lies elsewhere (more than 1 % of a voxel).
pub fn volumes(labels: &LabelMap, image: Option<&Volume>) -> Result<Vec<StructureVolume>> {
    let grid = &labels.grid;
    let sums = match image {
        None => sums(&labels.labels, None),
        Some(image) => {
            let tolerance_mm = 0.01 * grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
            if !image.grid.is_same(grid, tolerance_mm) {
                return Err(Error::Argument(
                    "the image for the intensities lies on another grid than the labels".to_owned(),
                ));
            }
            let Scaling { slope, inter } = image.scaling;
            for_scalar!(&image.voxels, a => {
                let a = a.as_slice().unwrap_or_default();
                sums(&labels.labels, Some(&|at| a[at].to_f64() * slope + inter))
            }, other => {
                let a = other.to_f32(image.scaling, ComplexPart::Magnitude);
                let a = a.as_slice().unwrap_or_default();
                sums(&labels.labels, Some(&|at| f64::from(a[at])))
            })
        }
    };
    let listed = labels.table.entries.iter().map(|e| e.id).filter(|&id| id != 0);
    let unlisted = sums.keys().copied().filter(|&id| labels.table.get(id).is_none());
    let row = |label: u16| {
        let s = sums.get(&label).copied().unwrap_or_default();
        let (n, m) = (s.voxels as f64, s.finite as f64);
        let mean = (s.finite > 0).then(|| s.value / m);
        StructureVolume {
            label,
            name: labels.table.name(label),
            voxels: s.voxels,
            volume_mm3: n * grid.voxel_volume_mm3(),
            centroid_ras: (s.voxels > 0).then(|| grid.world_from_voxel.apply(s.ijk.map(|v| v / n))),
            mean_intensity: mean,
            std_intensity: mean.map(|mean| (s.square / m - mean * mean).max(0.0).sqrt()),
        }
    };
    Ok(listed.chain(unlisted).map(row).collect())
}

/// The rows as CSV (RFC 4180, `\n` line ends), with the header
/// `label,name,voxels,volume_mm3,centroid_r,centroid_a,centroid_s,mean_intensity,std_intensity`; undefined cells are
/// empty. (JSON: serialise the rows with `serde`.)
#[must_use]
pub fn volumes_csv(rows: &[StructureVolume]) -> String {
    let mut out = String::from(
        "label,name,voxels,volume_mm3,centroid_r,centroid_a,centroid_s,mean_intensity,std_intensity\n",
    );
    for r in rows {
        let centroid = [0, 1, 2].map(|a| csv_number(r.centroid_ras.map(|c| c[a]), 3)).join(",");
        let (mean, std) = (csv_number(r.mean_intensity, 4), csv_number(r.std_intensity, 4));
        let name = csv_cell(&r.name);
        out.push_str(&format!(
            "{},{name},{},{:.3},{centroid},{mean},{std}\n",
            r.label, r.voxels, r.volume_mm3
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Affine;
    use crate::grid::Grid;
    use crate::labels::{LabelEntry, LabelTable};
    use crate::volume::Meta;
    use crate::voxels::Voxels;
    use ndarray::arr3;

    #[test]
    fn one_pass_gives_size_place_and_brightness() {
        let grid = Grid {
            size_ijk: [3, 2, 1],
            world_from_voxel: Affine::scale_shift([-2.0, 1.0, 3.0], [10.0, 0.0, -5.0]),
        };
        let map = LabelMap {
            labels: arr3(&[[[0u16, 5, 5], [0, 5, 9]]]).into_shared(),
            grid,
            table: LabelTable {
                entries: vec![
                    LabelEntry::new(7, "absent", [0; 3]),
                    LabelEntry::new(5, "here, \"now\"", [1; 3]),
                ],
            },
            meta: Meta::default(),
        };
        let values = arr3(&[[[9.0f32, 1.0, f32::NAN], [9.0, 3.0, 4.0]]]).into_shared();
        let mut image = Volume::new(Voxels::F32(values), grid).unwrap();
        image.scaling = Scaling { slope: 2.0, inter: 1.0 };
        let rows = volumes(&map, Some(&image)).unwrap();
        assert_eq!(rows.iter().map(|r| (r.label, r.voxels)).collect::<Vec<_>>(), [(7, 0), (5, 3), (9, 1)]);
        let five = &rows[1];
        assert_eq!(five.volume_mm3, 18.0);
        let c = five.centroid_ras.unwrap();
        assert!(
            (c[0] - (10.0 - 2.0 * 4.0 / 3.0)).abs() < 1e-12
                && (c[1] - 1.0 / 3.0).abs() < 1e-12
                && c[2] == -5.0
        );
        assert_eq!((five.mean_intensity, five.std_intensity), (Some(5.0), Some(2.0)));
        let csv = volumes_csv(&rows);
        assert_eq!(csv.lines().nth(1).unwrap(), "7,absent,0,0.000,,,,,");
        assert_eq!(
            csv.lines().nth(2).unwrap(),
            "5,\"here, \"\"now\"\"\",3,18.000,7.333,0.333,-5.000,5.0000,2.0000"
        );
    }

    #[test]
    fn another_grid_is_refused() {
        let map = LabelMap {
            labels: arr3(&[[[1u16]]]).into_shared(),
            grid: Grid::unit([1, 1, 1]),
            table: LabelTable::default(),
            meta: Meta::default(),
        };
        let mut grid = map.grid;
        grid.world_from_voxel.0[0][3] = 0.5;
        let image = Volume::new(Voxels::U8(arr3(&[[[1u8]]]).into_shared()), grid).unwrap();
        assert!(matches!(volumes(&map, Some(&image)), Err(Error::Argument(_))));
    }
}
