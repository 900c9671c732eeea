//! Images in memory: voxels that never travel without their grid.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::ArcArray;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::grid::{AxisOrder, Grid};
use crate::labels::{LabelMap, LabelTable};
use crate::notice::Notice;
use crate::voxels::{ComplexPart, Scaling, Shared, Statistics, Voxels};
use crate::{for_any, for_scalar};

/// One 3-D image (2-D images have one slice).
#[derive(Clone, Debug)]
pub struct Volume {
    /// Stored values `[k, j, i]`.
    pub voxels: Voxels,
    /// Placement; `grid.shape_kji()` equals the array's shape.
    pub grid: Grid,
    /// Values from stored values.
    pub scaling: Scaling,
    /// Everything else worth keeping.
    pub meta: Meta,
}

/// Where a placement came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AffineSource {
    /// NIfTI sform.
    Sform,
    /// NIfTI qform.
    Qform,
    /// Only spacing was known: axes along the world's, centred on the volume. The reader says which way they run
    /// (NIfTI and Analyze: the first towards the left) and that this is assumed.
    Spacing,
    /// A direction matrix of the format (NRRD, MetaImage, MGH, DICOM).
    Header,
    /// Pictures: pixels of 1 mm (or the stated resolution), no position.
    #[default]
    None,
}

/// What a file says besides voxels and placement. Kept from reading to writing where the format can.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The file it came from.
    pub path: Option<PathBuf>,
    /// Free text (NIfTI `descrip`, NRRD `content`).
    pub description: String,
    /// Where the placement came from.
    pub affine_source: AffineSource,
    /// NIfTI transform codes `(sform_code, qform_code)`, 0..=4.
    pub nifti_codes: Option<(i16, i16)>,
    /// NIfTI intent code, 0 for none.
    pub intent_code: i16,
    /// NIfTI intent name.
    pub intent_name: String,
    /// NIfTI header extensions `(code, content)`, kept byte for byte.
    #[serde(skip)]
    pub extensions: Vec<(i32, Vec<u8>)>,
    /// Names and colours when the file is a label map that carries them.
    pub labels: Option<LabelTable>,
    /// Suggested display window `(low, high)` in scaled values (NIfTI `cal_min`, `cal_max`).
    pub display_range: Option<(f64, f64)>,
    /// The DICOM instances it was made of, for volumes read from DICOM.
    #[serde(skip)]
    pub dicom: Option<std::sync::Arc<crate::dicom::Origin>>,
    /// Further facts, e.g. provenance of a result; keys in kebab case.
    pub facts: BTreeMap<String, String>,
}

/// An axis beyond the three of space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameAxis {
    /// `"time"`, `"channel"`, `"component"`, …
    pub name: String,
    /// Length, at least 1.
    pub len: usize,
    /// Step in `unit`, e.g. the repetition time; 0 when unknown.
    pub step: f64,
    /// `"s"`, `"Hz"`, … or empty.
    pub unit: String,
}

/// Everything one file (or series) holds: one or more volumes on one grid, and what was odd about it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Frames in file order, all on one grid with one type and scaling; at least one.
    pub frames: Vec<Volume>,
    /// Axes beyond space, fastest first; the product of lengths is `frames.len()`. Empty for 3-D.
    pub frame_axes: Vec<FrameAxis>,
    /// `Format::id` of the reader.
    pub format: &'static str,
    /// Encoding details worth showing, e.g. `"NIfTI-1, little-endian, gzip"`.
    pub encoding: String,
    /// Whether this is a picture (no third axis, no position): PNG, JPEG, BMP, one-page TIFF.
    pub is_picture: bool,
    /// Odd but survivable things.
    pub notices: Vec<Notice>,
}

impl Image {
    /// The first frame.
    ///
    /// # Panics
    /// Never for images made by readers, which hold at least one frame.
    #[must_use]
    pub fn first(&self) -> &Volume {
        &self.frames[0]
    }

    /// Summary over all frames.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let all = self.frames.iter().map(|f| f.voxels.statistics(f.scaling));
        all.reduce(Statistics::merge).unwrap_or_else(|| unreachable!("an image has a frame"))
    }

    /// Shape as `i × j × k (× further axes)`.
    #[must_use]
    pub fn shape_text(&self) -> String {
        let mut parts: Vec<usize> = self.first().grid.size_ijk.to_vec();
        parts.extend(self.frame_axes.iter().map(|a| a.len));
        parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
    }
}

impl Volume {
    /// Pairs voxels with their grid.
    ///
    /// # Errors
    /// [`Error::Argument`] when the shapes differ.
    pub fn new(voxels: Voxels, grid: Grid) -> Result<Self> {
        if voxels.shape_kji() != grid.shape_kji() {
            return Err(Error::Argument(format!(
                "array shape {:?} does not fit the grid's {:?}",
                voxels.shape_kji(),
                grid.shape_kji()
            )));
        }
        Ok(Self { voxels, grid, scaling: Scaling::NONE, meta: Meta::default() })
    }

    /// Scaled values `[k, j, i]`; see [`Voxels::to_f32`].
    #[must_use]
    pub fn to_f32(&self) -> Shared<f32> {
        self.voxels.to_f32(self.scaling, ComplexPart::Magnitude)
    }

    /// The scaled value at voxel `ijk` (luma for colours, magnitude for complex), or `None` outside.
    #[must_use]
    pub fn value(&self, ijk: [usize; 3]) -> Option<f64> {
        let at = [ijk[2], ijk[1], ijk[0]];
        let one = for_any!(&self.voxels, a => a.get(at).map(|_| ()));
        one?;
        let stored =
            for_scalar!(&self.voxels, a => a.get(at).map(|v| crate::voxels::Scalar::to_f64(*v)), _ => None);
        match stored {
            Some(v) => Some(v * self.scaling.slope + self.scaling.inter),
            None => {
                let cell = for_any!(&self.voxels, a => {
                    use ndarray::s;
                    wrap_cell(a.slice(s![at[0]..=at[0], at[1]..=at[1], at[2]..=at[2]]).to_owned().into_shared())
                });
                cell.to_f32(self.scaling, ComplexPart::Magnitude).first().map(|v| f64::from(*v))
            }
        }
    }

    /// The same voxels stored in another axis order; the world picture does not change.
    #[must_use]
    pub fn reordered(&self, order: AxisOrder) -> Self {
        if order == AxisOrder::IDENTITY {
            return self.clone();
        }
        let voxels = for_any!(&self.voxels, a => wrap_cell(reorder(a, order)));
        Self { voxels, grid: self.grid.reordered(order), scaling: self.scaling, meta: self.meta.clone() }
    }

    /// Reads the volume as a segmentation.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a value is not a whole number in 0..=65535.
    pub fn to_labels(&self) -> Result<LabelMap> {
        let path = self.meta.path.clone().unwrap_or_default();
        let refuse = |v: f64| {
            Error::unsupported(
                &path,
                format!("the value {v} in a label map"),
                "whole numbers from 0 to 65535",
                "Recode the labels, or open the file as an image",
            )
        };
        let labels = match &self.voxels {
            Voxels::U16(a) if self.scaling.is_none() => a.clone(),
            Voxels::U8(a) if self.scaling.is_none() => a.mapv(u16::from).into_shared(),
            v if v.is_colour() || v.is_complex() => {
                return Err(Error::unsupported(
                    &path,
                    format!("a label map of type {}", v.type_name()),
                    "scalar types",
                    "",
                ));
            }
            v => for_scalar!(v, a => {
                let mut bad = None;
                let out = a.map(|&x| {
                    let x = crate::voxels::Scalar::to_f64(x) * self.scaling.slope + self.scaling.inter;
                    // Float files written by resamplers carry rounding of about 1e-6 relative.
                    let r = x.round();
                    if (0.0..=65535.0).contains(&r) && (x - r).abs() < 1e-3 { r as u16 } else { bad = Some(x); 0 }
                });
                if let Some(v) = bad { return Err(refuse(v)); }
                out.into_shared()
            }, _ => unreachable!("colour and complex were handled")),
        };
        Ok(LabelMap {
            labels,
            grid: self.grid,
            table: self.meta.labels.clone().unwrap_or_default(),
            meta: self.meta.clone(),
        })
    }
}

/// Puts an array back into the [`Voxels`] variant of its element type.
pub trait Element: Copy + Send + Sync + 'static {
    /// The variant for this type.
    fn wrap(a: Shared<Self>) -> Voxels;
}

macro_rules! element {
    ($($t:ty => $v:ident),*) => {$(impl Element for $t { fn wrap(a: Shared<Self>) -> Voxels { Voxels::$v(a) } })*};
}
element!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64, f32 => F32,
         f64 => F64, [u8; 3] => Rgb8, [u8; 4] => Rgba8, [u16; 3] => Rgb16, [u16; 4] => Rgba16,
         [f32; 2] => Complex32, [f64; 2] => Complex64);

fn wrap_cell<T: Element>(a: Shared<T>) -> Voxels {
    T::wrap(a)
}

/// Permutes and flips an array `[k, j, i]` by an axis order given in `ijk` terms; standard layout out.
#[must_use]
pub fn reorder<T: Copy + Send + Sync + 'static>(a: &Shared<T>, order: AxisOrder) -> Shared<T> {
    // ijk axis x is array axis 2 - x.
    let array_axis = |x: usize| 2 - x;
    let mut view = a.view().permuted_axes([
        array_axis(order.source[2]),
        array_axis(order.source[1]),
        array_axis(order.source[0]),
    ]);
    for x in 0..3 {
        if order.reversed[x] {
            view.invert_axis(ndarray::Axis(array_axis(x)));
        }
    }
    ArcArray::from(view.as_standard_layout().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affine::Affine;
    use ndarray::Array3;

    #[test]
    fn reordering_moves_array_and_grid_together() {
        let grid = Grid {
            size_ijk: [2, 3, 4],
            world_from_voxel: Affine::scale_shift([1.0, 2.0, 3.0], [0.5, -1.0, 4.0]),
        };
        let a = Array3::from_shape_fn((4, 3, 2), |(k, j, i)| (100 * k + 10 * j + i) as i16);
        let v = Volume::new(Voxels::I16(a.into_shared()), grid).unwrap();
        let inverse = |world| grid.voxel_from_world().unwrap().apply(world);
        for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for f in 0..8 {
                let r = v.reordered(AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] });
                let n = r.grid.size_ijk;
                for k in 0..n[2] {
                    for j in 0..n[1] {
                        for i in 0..n[0] {
                            let world = r.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
                            let back = inverse(world).map(|x| x.round() as usize);
                            assert_eq!(r.value([i, j, k]), v.value(back));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn labels_must_be_whole_numbers() {
        let v = |x: f32| {
            Volume::new(Voxels::F32(Array3::from_elem((1, 1, 2), x).into_shared()), Grid::unit([2, 1, 1]))
                .unwrap()
        };
        assert_eq!(v(3.000_001).to_labels().unwrap().labels[[0, 0, 1]], 3);
        assert!(matches!(v(2.5).to_labels(), Err(Error::Unsupported { .. })));
        assert!(matches!(v(-1.0).to_labels(), Err(Error::Unsupported { .. })));
        assert!(matches!(v(f32::NAN).to_labels(), Err(Error::Unsupported { .. })));
    }
}
