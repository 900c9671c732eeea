//! The files made for a case, besides its record.

use formats::measure::{volumes, volumes_csv};
use formats::{Content, LabelMap, Notice, Task, Volume, atomic, label_files};
use serde::Serialize;

use super::OutputFormat;
use super::record::Options;
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

/// Names of the files that [`write()`] makes, in its order.
pub fn names(case: &str, options: &Options) -> Vec<String> {
    let mut names = vec![format!("{case}_seg.{}", options.format)];
    names.extend(TABLES.iter().map(|(_, end)| format!("{case}{end}")));
    names.extend([format!("{case}_volumes.csv"), format!("{case}_volumes.json")]);
    if options.quicklook {
        names.push(format!("{case}{PICTURE}"));
    }
    names
}

/// Writes label volume, label tables, volume report and picture into `staging`; returns the names of the files
/// made. `algorithm` names the model in DICOM objects. A picture that cannot be made is a notice, not a failure: the labels are what counts.
///
/// # Errors
/// Those of the writers; a full disk above all.
pub fn write(
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
        let draw = || picture(case, image, labels, &path(PICTURE));
        let drawing = options.quicklook.then(|| scope.spawn(draw));
        let file = path(&format!("_seg.{}", options.format));
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
    let mut made = names(case, options);
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

fn picture(case: &str, image: &Volume, labels: &LabelMap, path: &std::path::Path) -> formats::Result<()> {
    let options = quicklook::Options { title: case.to_owned(), ..quicklook::Options::default() };
    quicklook::write_png(image, Some(labels), &options, path)
}
