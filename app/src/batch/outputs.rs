//! The files made for a case, besides its record.

use formats::measure::{volumes, volumes_csv};
use formats::{Content, LabelMap, Notice, Task, Volume, atomic, label_files};
use serde::Serialize;

use super::record::Options;
use super::staging::Staging;
use crate::quicklook;

/// Label tables written beside each label volume: identifier of the format and end of the file name.
const TABLES: &[(&str, &str)] =
    &[("itksnap", "_labels.txt"), ("freesurfer", "_lut.txt"), ("bids", "_dseg.tsv")];

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
        names.push(format!("{case}_quicklook.png"));
    }
    names
}

/// Writes label volume, label tables, volume report and picture into `staging`; returns the names of the files
/// made. A picture that cannot be made is a notice, not a failure: the labels are what counts.
///
/// # Errors
/// Those of the writers; a full disk above all.
pub fn write(
    staging: &Staging,
    case: &str,
    image: &Volume,
    labels: &LabelMap,
    options: &Options,
    notices: &mut Vec<Notice>,
) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    let mut next = |end: &str| {
        let name = format!("{case}{end}");
        made.push(name.clone());
        staging.path(&name)
    };
    // A case that was computed is written even when the user asked to stop meanwhile.
    let task = Task::silent();
    formats::save(Content::Labels(labels), &next(&format!("_seg.{}", options.format)), &task)?;
    for (format, end) in TABLES {
        label_files::write(&labels.table, &next(end), format)?;
    }
    let rows = volumes(labels, Some(image))?;
    atomic::write_bytes(&next("_volumes.csv"), volumes_csv(&rows).as_bytes())?;
    let file = VolumesFile { case, voxel_mm3: labels.grid.voxel_volume_mm3(), structures: &rows };
    atomic::write_bytes(
        &next("_volumes.json"),
        format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes(),
    )?;
    if options.quicklook {
        let end = "_quicklook.png";
        let picture =
            std::panic::catch_unwind(|| picture(case, image, labels, &staging.path(&format!("{case}{end}"))));
        match picture {
            Ok(Ok(())) => {
                next(end);
            }
            Ok(Err(error)) => {
                notices
                    .push(Notice::warning("quicklook-failed", format!("no quick-look picture: {error:#}")));
            }
            Err(_) => {
                notices.push(Notice::warning("quicklook-failed", "no quick-look picture: internal error"));
            }
        }
    }
    Ok(made)
}

fn picture(case: &str, image: &Volume, labels: &LabelMap, path: &std::path::Path) -> formats::Result<()> {
    let options = quicklook::Options { title: case.to_owned(), ..quicklook::Options::default() };
    quicklook::write_png(image, Some(labels), &options, path)
}
