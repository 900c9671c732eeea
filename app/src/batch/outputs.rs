//! The files made for a case, besides its record.

use formats::measure::{volumes, volumes_csv};
use formats::{AffineSource, Content, LabelMap, Notice, Task, Volume, Voxels, atomic, label_files};
use models::Output;
use models::restorer::Restored;
use serde::Serialize;

use super::OutputFormat;
use super::answers;
use super::record::{Options, SUITABLE};
use super::staging::Staging;
use crate::dicom::LabelObject;
use crate::quicklook;

/// Label tables written beside each label volume: identifier of the format and end of the file name.
const TABLES: &[(&str, &str)] =
    &[("itksnap", "_labels.txt"), ("freesurfer", "_lut.txt"), ("bids", "_dseg.tsv")];

/// End of the picture's file name.
const PICTURE: &str = "_quicklook.png";

#[derive(Serialize)]
struct VolumesFile<'a> {
    case: &'a str,
    voxel_mm3: f64,
    structures: &'a [formats::measure::StructureVolume],
}

/// Names of the files that [`write()`] makes of `image` (so many frames like it), in its order.
pub fn names(case: &str, image: &Volume, frames: usize, options: &Options) -> Vec<String> {
    if let Some(answer) = options.answer {
        return answer.names(case, options);
    }
    let ending = ending(image, frames, options);
    let mut names = Vec::new();
    if options.restoring.is_some() && ending == OutputFormat::Dicom.ending() {
        // As `formats::dicom::derived::write_frames` calls its files.
        let slices = image.meta.dicom.as_ref().map_or(image.grid.size_ijk[2], |o| o.grid.size_ijk[2]);
        names.extend((1..=slices * frames).map(|n| format!("{case}_restored/IM_{n:04}.dcm")));
    } else if options.restoring.is_some() {
        names.push(format!("{case}_restored.{ending}"));
    } else {
        names.push(format!("{case}_seg.{ending}"));
        names.extend(TABLES.iter().map(|(_, end)| format!("{case}{end}")));
        names.extend([format!("{case}_volumes.csv"), format!("{case}_volumes.json")]);
    }
    // A restored picture needs no picture of itself.
    if options.quicklook && !(options.restoring.is_some() && is_picture(image)) {
        names.push(format!("{case}{PICTURE}"));
    }
    names
}

/// The file ending of the result for an image of so many frames.
fn ending<'a>(image: &Volume, frames: usize, options: &'a Options) -> &'a str {
    if options.format != SUITABLE {
        return &options.format;
    }
    if options.restoring.is_none() || !is_picture(image) {
        return "nii.gz";
    }
    let fits_png = frames == 1
        && image.scaling.is_none()
        && matches!(
            image.voxels,
            Voxels::U8(_)
                | Voxels::U16(_)
                | Voxels::Rgb8(_)
                | Voxels::Rgba8(_)
                | Voxels::Rgb16(_)
                | Voxels::Rgba16(_)
        );
    if fits_png { "png" } else { "tiff" }
}

/// Whether an image is a picture without a place in space.
pub(super) fn is_picture(image: &Volume) -> bool {
    image.meta.affine_source == AffineSource::None && image.grid.size_ijk[2] == 1
}

/// Writes the files of a result into `staging`; returns the names of those made. See [`names`].
///
/// # Errors
/// Those of the writers; a full disk above all.
pub fn write(
    staging: &Staging,
    case: &str,
    image: &Volume,
    result: &Output,
    options: &Options,
    algorithm: &str,
    notices: &mut Vec<Notice>,
) -> anyhow::Result<Vec<String>> {
    match result {
        Output::Labels(labels) => write_labels(staging, case, image, labels, options, algorithm, notices),
        Output::Image(restored) => write_image(staging, case, restored, options, algorithm, notices),
        Output::Classes(classified) => answers::write_classes(staging, case, classified, options),
        Output::Boxes(detected) => answers::write_boxes(staging, case, image, detected, options, notices),
        Output::Text(found) => answers::write_text(staging, case, image, found, options),
    }
}

fn write_image(
    staging: &Staging,
    case: &str,
    restored: &Restored,
    options: &Options,
    algorithm: &str,
    notices: &mut Vec<Notice>,
) -> anyhow::Result<Vec<String>> {
    let report = &restored.report;
    let image = restored.clone().into_image(Vec::new());
    let mut made = names(case, &restored.volume, image.frames.len(), options);
    let picture = made.pop_if(|name| name.ends_with(PICTURE));
    if options.format == OutputFormat::Dicom.ending() {
        let folder = format!("{case}_restored");
        let to = staging.path(&folder);
        let what = format!(
            "{} by {algorithm}, strength {}, slices across {}; not for measurement",
            report.task, report.strength, report.slices
        );
        let (files, remarks) =
            crate::dicom::write_series(&image.frames, &image.frame_axes, None, &what, &to, &Task::silent())?;
        notices.extend(remarks);
        let name = |f: &std::path::PathBuf| f.file_name().unwrap_or_default().to_string_lossy().into_owned();
        made = files.iter().map(|f| format!("{folder}/{}", name(f))).collect();
    } else {
        formats::save(Content::Image(&image), &staging.path(&made[0]), &Task::silent())?;
        if image.first().meta.facts.contains_key("display-inverted") {
            let told = "the source shows small values bright (MONOCHROME1); the file keeps the values, and other programs \
                        show it as a negative";
            notices.push(Notice::warning("display-inverted", told));
        }
    }
    if let Some(picture) = picture {
        match draw(case, &restored.volume, None, &staging.path(&picture)) {
            Ok(()) => made.push(picture),
            Err(error) => {
                notices.push(Notice::warning("quicklook-failed", format!("no quick-look picture: {error}")));
            }
        }
    }
    Ok(made)
}

/// Writes label volume, label tables, volume report and picture into `staging`; returns the names of the files
/// made. `algorithm` names the model in DICOM objects. A picture that cannot be made is a notice, not a failure: the labels are what counts.
///
/// # Errors
/// Those of the writers; a full disk above all.
fn write_labels(
    staging: &Staging,
    case: &str,
    image: &Volume,
    labels: &LabelMap,
    options: &Options,
    algorithm: &str,
    notices: &mut Vec<Notice>,
) -> anyhow::Result<Vec<String>> {
    let path = |end: &str| staging.path(&format!("{case}{end}"));
    // A case that was computed is written even when the user asked to stop meanwhile.
    let task = Task::silent();
    // The picture and the compression of the labels take about the same time.
    let picture = std::thread::scope(|scope| {
        let drawn = || draw(case, image, Some(labels), &path(PICTURE));
        let drawing = options.quicklook.then(|| scope.spawn(drawn));
        let file = path(&format!("_seg.{}", ending(image, 1, options)));
        if options.format == OutputFormat::DicomSeg.ending() {
            notices.extend(crate::dicom::write_labels(
                labels,
                image,
                LabelObject::Seg,
                algorithm,
                &file,
                &task,
            )?);
        } else {
            formats::save(Content::Labels(labels), &file, &task)?;
        }
        for (format, end) in TABLES {
            label_files::write(&labels.table, &path(end), format)?;
        }
        let rows = volumes(labels, Some(image))?;
        atomic::write_bytes(&path("_volumes.csv"), volumes_csv(&rows).as_bytes())?;
        let file = VolumesFile { case, voxel_mm3: labels.grid.voxel_volume_mm3(), structures: &rows };
        let text = format!("{}\n", serde_json::to_string_pretty(&file)?);
        atomic::write_bytes(&path("_volumes.json"), text.as_bytes())?;
        anyhow::Ok(drawing.map(std::thread::ScopedJoinHandle::join))
    })?;
    let mut made = names(case, image, 1, options);
    let trouble = match picture {
        None | Some(Ok(Ok(()))) => None,
        Some(Ok(Err(error))) => Some(error.to_string()),
        Some(Err(_)) => Some("internal error".to_owned()),
    };
    if let Some(why) = trouble {
        notices.push(Notice::warning("quicklook-failed", format!("no quick-look picture: {why}")));
        made.retain(|name| !name.ends_with(PICTURE));
    }
    Ok(made)
}

fn draw(
    case: &str,
    image: &Volume,
    labels: Option<&LabelMap>,
    path: &std::path::Path,
) -> formats::Result<()> {
    let options = quicklook::Options { title: case.to_owned(), ..quicklook::Options::default() };
    quicklook::write_png(image, labels, &options, path)
}
