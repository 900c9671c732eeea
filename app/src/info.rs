//! What a file is: everything `insula info` tells.

use std::path::{Path, PathBuf};

use formats::{
    AffineSource, FrameAxis, Image, LabelEntry, LabelMap, Meta, Notice, Scaling, Statistics, Task, Volume,
    Voxels,
};
use serde::{Deserialize, Serialize};

/// The description of an image file. The field names are the keys of `insula info --json` and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileInfo {
    /// The file as named by the user.
    pub file: PathBuf,
    /// Always `"ok"`; the record of a file that could not be read says `"failed"`.
    pub status: String,
    /// Identifier of the format, e.g. `"nifti"`.
    pub format: String,
    /// Encoding, e.g. `"NIfTI-1, little-endian, gzip"`.
    pub encoding: String,
    /// Bytes on disk.
    pub file_bytes: u64,
    /// Whether this is a picture without a place in space.
    pub is_picture: bool,
    /// Voxels along i, j, k.
    pub size: [usize; 3],
    /// Number of 3-D frames.
    pub frames: usize,
    /// Axes beyond space, fastest first.
    pub frame_axes: Vec<FrameAxis>,
    /// Voxel edge lengths along i, j, k.
    pub spacing_mm: [f64; 3],
    /// The directions in which i, j, k grow, e.g. `"RAS"`; none for pictures.
    pub orientation: Option<String>,
    /// Whether the axes are turned against the scanner's.
    pub is_oblique: bool,
    /// RAS+ millimetres from voxel indices, 4 × 4.
    pub affine: [[f64; 4]; 4],
    /// Where the affine came from.
    pub affine_source: AffineSource,
    /// World position of the middle of the volume.
    pub centre_ras_mm: [f64; 3],
    /// NIfTI `(sform_code, qform_code)`.
    pub nifti_codes: Option<(i16, i16)>,
    /// Stored type, e.g. `"int16"`.
    pub datatype: String,
    /// value = slope · stored + inter.
    pub scaling: Scaling,
    /// Over the scaled values of all frames.
    pub statistics: Statistics,
    /// Free text of the file.
    pub description: String,
    /// NIfTI intent code and name, when there is one.
    pub intent: Option<(i16, String)>,
    /// Suggested display window.
    pub display_range: Option<(f64, f64)>,
    /// Label names and colours, when the file carries them.
    pub labels: Option<Vec<LabelEntry>>,
    /// Further facts, e.g. provenance.
    pub facts: std::collections::BTreeMap<String, String>,
    /// Odd but survivable things.
    pub notices: Vec<Notice>,
}

/// Reads a file whole (or a series of a collection) and describes it.
///
/// # Errors
/// Those of [`crate::dicom::open_image`]; a DICOM segmentation is described as the image of its numbers.
pub fn info(file: &Path, series: Option<&str>, task: &Task) -> anyhow::Result<FileInfo> {
    let image = match crate::dicom::Derived::of_file(file) {
        Some(kind) => {
            let (labels, notices) = crate::dicom::open_labels(file, kind, None, task)?;
            image_of(labels, notices)?
        }
        None => crate::dicom::open_image(file, series, task)?,
    };
    let file_bytes = std::fs::metadata(file).map_err(formats::Error::io(file, "read"))?.len();
    let first = image.first();
    let (grid, meta) = (&first.grid, &first.meta);
    let [x, y, z] = grid.world_from_voxel.0;
    let intent = (meta.intent_code != 0 || !meta.intent_name.is_empty())
        .then(|| (meta.intent_code, meta.intent_name.clone()));
    Ok(FileInfo {
        file: file.to_owned(),
        status: "ok".to_owned(),
        format: image.format.to_owned(),
        encoding: image.encoding.clone(),
        file_bytes,
        is_picture: image.is_picture,
        size: grid.size_ijk,
        frames: image.frames.len(),
        frame_axes: image.frame_axes.clone(),
        spacing_mm: grid.spacing_mm(),
        orientation: (!image.is_picture).then(|| grid.orientation_code()),
        is_oblique: grid.is_oblique(),
        affine: [x, y, z, [0.0, 0.0, 0.0, 1.0]],
        affine_source: meta.affine_source,
        centre_ras_mm: grid.world_from_voxel.apply(grid.size_ijk.map(|n| (n as f64 - 1.0) / 2.0)),
        nifti_codes: meta.nifti_codes,
        datatype: first.voxels.type_name().to_owned(),
        scaling: first.scaling,
        statistics: image.statistics(),
        description: meta.description.clone(),
        intent,
        display_range: meta.display_range,
        labels: meta.labels.as_ref().map(|t| t.entries.clone()),
        facts: meta.facts.clone(),
        notices: image.notices,
    })
}

/// A segmentation as an image of its numbers, with its label table.
fn image_of(labels: LabelMap, notices: Vec<Notice>) -> formats::Result<Image> {
    let mut volume = Volume::new(Voxels::U16(labels.labels), labels.grid)?;
    volume.meta = Meta { labels: Some(labels.table), ..labels.meta };
    Ok(Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "dicom",
        encoding: "DICOM segmentation".to_owned(),
        is_picture: false,
        notices,
    })
}

impl FileInfo {
    /// Rows `(name, value)` for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("format", format!("{} ({})", self.encoding, self.format)),
            ("on disk", bytes_text(self.file_bytes)),
            ("size", self.size_text()),
        ];
        for axis in &self.frame_axes {
            let step = if axis.step > 0.0 {
                format!(", step {} {}", number(axis.step), axis.unit)
            } else {
                String::new()
            };
            rows.push(("frames", format!("{} along {}{step}", axis.len, axis.name)));
        }
        rows.push(("spacing", format!("{} mm", self.spacing_mm.map(number).join(" × "))));
        if let Some(code) = &self.orientation {
            let oblique = if self.is_oblique { ", oblique" } else { "" };
            rows.push(("orientation", format!("{code}{oblique}")));
            for (n, row) in self.affine.iter().take(3).enumerate() {
                let name = if n == 0 { "affine" } else { "" };
                rows.push((name, row.map(|v| format!("{:>12}", number(v))).join(" ")));
            }
            rows.push(("affine from", self.affine_source_text()));
            rows.push(("centre", format!("{} mm (RAS)", self.centre_ras_mm.map(number).join(", "))));
        }
        rows.push(("datatype", self.datatype.clone()));
        if !self.scaling.is_none() {
            let s = self.scaling;
            rows.push(("scaling", format!("value = {} × stored + {}", number(s.slope), number(s.inter))));
        }
        let s = self.statistics;
        rows.push((
            "values",
            format!("min {}, max {}, mean {}", number(s.min), number(s.max), number(s.mean)),
        ));
        if s.non_finite > 0 {
            rows.push(("", format!("{} of {} values are NaN or infinite", s.non_finite, s.count)));
        }
        if let Some((low, high)) = self.display_range {
            rows.push(("display", format!("{} to {}", number(low), number(high))));
        }
        if let Some((code, name)) = &self.intent {
            rows.push(("intent", format!("{code} {name}").trim().to_owned()));
        }
        if !self.description.is_empty() {
            rows.push(("description", self.description.clone()));
        }
        for (key, value) in &self.facts {
            rows.push(("fact", format!("{key}: {value}")));
        }
        if let Some(labels) = &self.labels {
            rows.push(("labels", format!("{} names", labels.len())));
            rows.extend(labels.iter().map(|l| ("", format!("{:>5}  {}", l.id, l.name))));
        }
        rows.extend(self.notices.iter().map(|n| {
            let level = if n.level == formats::Level::Warning { "warning" } else { "notice" };
            (level, n.message.clone())
        }));
        rows
    }

    fn size_text(&self) -> String {
        let [i, j, k] = self.size;
        if self.is_picture {
            format!("{i} × {j} pixels")
        } else {
            format!("{i} × {j} × {k} voxels (i, j, k)")
        }
    }

    fn affine_source_text(&self) -> String {
        let source = match self.affine_source {
            AffineSource::Sform => "sform",
            AffineSource::Qform => "qform",
            AffineSource::Spacing => "spacing only (axes assumed RAS)",
            AffineSource::Header => "direction matrix of the header",
            AffineSource::None => "nothing (pixels of unknown size)",
        };
        match self.nifti_codes {
            Some((s, q)) => format!("{source}; sform code {s}, qform code {q}"),
            None => source.to_owned(),
        }
    }
}

/// A number with at most six significant digits and no needless zeros.
pub fn number(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return if v == 0.0 { "0".to_owned() } else { v.to_string() };
    }
    let magnitude = v.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        return format!("{v:.5e}");
    }
    let decimals = (5.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{v:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A byte count in the unit that suits it.
pub fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        10_485_760..10_737_418_240 => format!("{:.0} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_but_not_wrong() {
        for (v, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.9375, "-0.9375"),
            (1.0 / 3.0, "0.333333"),
            (123_456.7, "123457"),
            (-90.0, "-90"),
            (1.5e-7, "1.50000e-7"),
            (100.0, "100"),
            (4_294_967_295.0, "4.29497e9"),
        ] {
            assert_eq!(number(v), text);
        }
    }
}
