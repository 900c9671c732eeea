//! From any readable file to any writable one, geometry kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use formats::voxels::Scalar;
use formats::{Content, Image, LabelMap, Notice, Scaling, Shared, Task, Volume, Voxels, for_scalar};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::dicom::{self, Derived, LabelObject};
use crate::failure::Usage;

/// What to convert and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convert {
    /// The file to read.
    pub input: PathBuf,
    /// The file to write; its ending chooses the format. For a DICOM series a new or empty folder.
    pub output: PathBuf,
    /// Only this frame of a series, counted from 0.
    pub frame: Option<usize>,
    /// Store the (scaled) values in this type; the stored type is kept when none.
    pub dtype: Option<Dtype>,
    /// Whether the file is a label map; decided by content when none.
    pub labels: Option<bool>,
    /// Which series of a folder, archive or DICOMDIR.
    #[serde(default)]
    pub series: Option<String>,
    /// The DICOM images that a DICOM object is of: read from, or to be written for.
    #[serde(default)]
    pub source: Option<PathBuf>,
    /// What is written as DICOM. Segmentations are when the output ends in `.dcm`, a series in any case.
    #[serde(default)]
    pub object: Object,
    /// Whether an existing output may be replaced.
    pub overwrite: bool,
}

/// A DICOM object to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A segmentation.
    Labels(LabelObject),
    /// Images, derived from those they were made from.
    Series,
}

impl Default for Object {
    fn default() -> Self {
        Self::Labels(LabelObject::default())
    }
}

impl ValueEnum for Object {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Labels(LabelObject::Seg),
            Self::Labels(LabelObject::SegLabelmap),
            Self::Labels(LabelObject::Rtstruct),
            Self::Series,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Labels(object) => object.to_possible_value(),
            Self::Series => Some(
                PossibleValue::new("dicom")
                    .help("Images in the folder OUT, derived from those of IN or --source"),
            ),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// The file.
    pub output: PathBuf,
    /// Size and type, for people.
    pub summary: String,
    /// Odd but survivable things about the input.
    pub notices: Vec<formats::Notice>,
}

/// A scalar type to store values in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Dtype {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Float32,
    Float64,
}

/// Reads, converts and writes. The output appears whole by rename, also when it replaces the input.
///
/// # Errors
/// [`Usage`] when the output exists and may not be replaced; otherwise those of reading and writing.
pub fn convert(request: &Convert, task: &Task) -> anyhow::Result<Converted> {
    let Convert { input, output, .. } = request;
    let is_series = request.object == Object::Series;
    // Whether a folder may take a series is asked when it is written.
    if output.exists() && !request.overwrite && !is_series {
        return Err(Usage(format!(
            "{}: exists already; give --overwrite to replace it, or another name",
            output.display()
        ))
        .into());
    }
    if let Some(folder) = output.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
        return Err(Usage(format!("{}: there is no such folder; create it first", folder.display())).into());
    }
    task.at("reading", 0.0)?;
    let source = match &request.source {
        Some(path) => Some(dicom::open_image(path, request.series.as_deref(), task)?),
        None => None,
    };
    let source = source.as_ref().map(formats::Image::first);
    let is_dicom = output.extension().is_some_and(|e| e.eq_ignore_ascii_case("dcm"));
    if let Some(kind) = Derived::of_file(input) {
        if is_series {
            return Err(Usage(format!(
                "{}: this holds segmentations, and --as dicom writes images; leave it out, or choose another object",
                input.display()
            ))
            .into());
        }
        let (labels, notices) = dicom::open_labels(input, kind, source, task)?;
        return write_labels(request, &labels, source, is_dicom, notices, task);
    }
    let series = request.series.as_deref().filter(|_| request.source.is_none());
    let mut image = dicom::open_image(input, series, task)?;
    if is_dicom && !is_series {
        let labels = image.first().to_labels()?;
        return write_labels(request, &labels, source, is_dicom, image.notices, task);
    }
    if let Some(frame) = request.frame {
        let count = image.frames.len();
        if frame >= count {
            return Err(Usage(format!(
                "{}: there is no frame {frame}; the file has {count}, counted from 0",
                input.display()
            ))
            .into());
        }
        image.frames = vec![image.frames.swap_remove(frame)];
        image.frame_axes.clear();
    }
    if let Some(dtype) = request.dtype {
        for frame in &mut image.frames {
            frame.voxels = cast(&frame.voxels, frame.scaling, dtype, input)?;
            frame.scaling = Scaling::NONE;
        }
    }
    task.at("writing", 0.5)?;
    if is_series {
        let [volume] = image.frames.as_slice() else {
            let (input, count) = (input.display(), image.frames.len());
            bail!("{input}: {count} frames cannot be one series; choose one with --frame N");
        };
        let (files, told) = dicom::write_series(std::slice::from_ref(volume), &[], source, "", output, task)?;
        let summary = format!("{}, DICOM series of {} files", image.shape_text(), files.len());
        let mut notices = image.notices;
        notices.extend(told);
        return Ok(Converted { output: output.clone(), summary, notices });
    }
    let as_labels = request.labels.unwrap_or_else(|| looks_like_labels(&image));
    let kind = if as_labels {
        let [volume] = image.frames.as_slice() else {
            bail!(
                "{}: {} frames cannot be one label map; choose one with --frame N",
                input.display(),
                image.frames.len()
            );
        };
        let labels = volume.to_labels()?;
        formats::save(Content::Labels(&labels), output, task)?;
        "label map"
    } else {
        formats::save(Content::Image(&image), output, task)?;
        image.first().voxels.type_name()
    };
    Ok(Converted {
        output: output.clone(),
        summary: format!("{}, {kind}", image.shape_text()),
        notices: image.notices,
    })
}

/// Writes a segmentation in the format of the output's name, or as a DICOM object.
fn write_labels(
    request: &Convert,
    labels: &LabelMap,
    source: Option<&Volume>,
    is_dicom: bool,
    mut notices: Vec<Notice>,
    task: &Task,
) -> anyhow::Result<Converted> {
    task.at("writing", 0.5)?;
    let output = &request.output;
    if is_dicom {
        let source = source.ok_or_else(|| {
            Usage(format!(
                "{}: a DICOM object refers to the images it is of; give their folder with --source",
                output.display()
            ))
        })?;
        let Object::Labels(object) = request.object else { bail!("{}: no segmentation", output.display()) };
        notices.extend(dicom::write_labels(labels, source, object, "", output, task)?);
    } else {
        formats::save(Content::Labels(labels), output, task)?;
    }
    let [i, j, k] = labels.grid.size_ijk;
    let kind = if is_dicom { "DICOM object" } else { "label map" };
    Ok(Converted { output: output.clone(), summary: format!("{i}×{j}×{k}, {kind}"), notices })
}

/// Integers with a table of label names, and one frame: what segmentation programs write.
fn looks_like_labels(image: &Image) -> bool {
    let first = image.first();
    image.frames.len() == 1
        && first.voxels.is_integer()
        && first.scaling.is_none()
        && first.meta.labels.is_some()
}

fn cast(voxels: &Voxels, scaling: Scaling, dtype: Dtype, path: &Path) -> anyhow::Result<Voxels> {
    let context = || format!("{}: conversion of {} to {dtype:?}", path.display(), voxels.type_name());
    macro_rules! to {
        ($target:ty, $variant:ident) => {
            for_scalar!(voxels, a => Voxels::$variant(
                cast_to(a, scaling, <$target>::of_f64).with_context(context)?.into_shared()),
                _ => bail!("{}: --dtype applies to scalar images, this one is {}", path.display(), voxels.type_name()))
        };
    }
    Ok(match dtype {
        Dtype::Uint8 => to!(u8, U8),
        Dtype::Int8 => to!(i8, I8),
        Dtype::Uint16 => to!(u16, U16),
        Dtype::Int16 => to!(i16, I16),
        Dtype::Uint32 => to!(u32, U32),
        Dtype::Int32 => to!(i32, I32),
        Dtype::Float32 => to!(f32, F32),
        Dtype::Float64 => to!(f64, F64),
    })
}

fn cast_to<S: Scalar, T: Copy>(
    a: &Shared<S>,
    scaling: Scaling,
    of_f64: fn(f64) -> Option<T>,
) -> anyhow::Result<Array3<T>> {
    let mut out = Vec::with_capacity(a.len());
    for v in a.iter() {
        let value = v.to_f64() * scaling.slope + scaling.inter;
        match of_f64(value) {
            Some(v) => out.push(v),
            None => bail!("the value {value} does not fit; choose a wider type, or float32"),
        }
    }
    Ok(Array3::from_shape_vec(a.raw_dim(), out)?)
}

/// A scalar type values can be stored in: integers take the nearest whole number within their range and
/// refuse everything else (NaN too); floats take everything.
trait OfF64: Sized {
    fn of_f64(value: f64) -> Option<Self>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl OfF64 for $t {
            fn of_f64(value: f64) -> Option<Self> {
                let whole = value.round();
                (f64::from(<$t>::MIN)..=f64::from(<$t>::MAX)).contains(&whole).then_some(whole as Self)
            }
        }
    )*};
}
integers!(u8, i8, u16, i16, u32, i32);

impl OfF64 for f32 {
    fn of_f64(value: f64) -> Option<Self> {
        Some(value as Self)
    }
}

impl OfF64 for f64 {
    fn of_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr3;

    #[test]
    fn casting_scales_rounds_and_refuses_what_does_not_fit() {
        let v = Voxels::I16(arr3(&[[[1, 2, 3]]]).into_shared());
        let scaling = Scaling { slope: 50.4, inter: 0.0 };
        let Voxels::U8(a) = cast(&v, scaling, Dtype::Uint8, Path::new("a")).unwrap() else { panic!("type") };
        assert_eq!(a.as_slice().unwrap(), [50, 101, 151]);
        let error = cast(&v, Scaling { slope: 100.0, inter: 0.0 }, Dtype::Uint8, Path::new("a")).unwrap_err();
        assert!(crate::failure::describe(&error).contains("the value 300 does not fit"), "{error:#}");
        let nan = Voxels::F32(arr3(&[[[f32::NAN]]]).into_shared());
        assert!(cast(&nan, Scaling::NONE, Dtype::Int16, Path::new("a")).is_err());
        assert!(cast(&nan, Scaling::NONE, Dtype::Float64, Path::new("a")).is_ok());
    }
}
