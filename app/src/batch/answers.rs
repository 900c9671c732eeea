//! The files made of answers that are neither labels nor images: tables of probabilities, and boxes.

use std::fmt::Write;

use formats::{Notice, Volume, atomic};
use models::plain::{Classified, Detected};
use serde::{Deserialize, Serialize};

use super::outputs::is_picture;
use super::record::{ClassMean, Options};
use super::staging::Staging;
use crate::{quicklook, text};

/// Answers that are neither labels nor images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Probabilities of classes.
    Classes,
    /// Boxes.
    Boxes,
    /// Lines of text.
    Text,
}

impl Answer {
    /// What a pack answers with, if it is one of these.
    pub fn of(output: &models::manifest::Output) -> Option<Self> {
        match output {
            models::manifest::Output::Classes { .. } => Some(Self::Classes),
            models::manifest::Output::Boxes { .. } => Some(Self::Boxes),
            models::manifest::Output::Text(_) => Some(Self::Text),
            _ => None,
        }
    }

    /// Names of the files made for a case.
    pub(super) fn names(self, case: &str, options: &Options) -> Vec<String> {
        match self {
            // Further files are named after pages that have text, which is not known before.
            Self::Text => vec![format!("{case}_text.json"), format!("{case}_text.tsv")],
            Self::Classes => vec![format!("{case}_classes.tsv"), format!("{case}_classes.json")],
            Self::Boxes => {
                let picture = options.quicklook.then(|| format!("{case}_quicklook.png"));
                [format!("{case}_boxes.json"), format!("{case}_boxes.tsv")]
                    .into_iter()
                    .chain(picture)
                    .collect()
            }
        }
    }
}

#[derive(Serialize)]
struct ClassesFile<'a> {
    case: &'a str,
    /// The mean of the rows, most probable first.
    mean: Vec<ClassMean>,
    #[serde(flatten)]
    classified: &'a Classified,
}

#[derive(Serialize)]
struct BoxesFile<'a> {
    case: &'a str,
    size_ijk: [usize; 3],
    #[serde(flatten)]
    detected: &'a Detected,
}

/// Mean probabilities of the classes, most probable first.
pub fn means(classified: &Classified) -> Vec<ClassMean> {
    let mean = classified.mean();
    let mut rows: Vec<ClassMean> = classified
        .classes
        .iter()
        .zip(mean)
        .map(|(class, probability)| ClassMean { class: class.clone(), probability })
        .collect();
    rows.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    rows
}

/// A table with one row per slice, or one in all, and one column per class.
pub fn classes_tsv(classified: &Classified) -> String {
    let mut text = String::from("slice");
    classified.classes.iter().for_each(|c| {
        let _ = write!(text, "\t{}", clean(c));
    });
    text.push('\n');
    for row in &classified.rows {
        let slice = row.slice.map_or_else(|| "all".to_owned(), |s| format!("{}{}", s.axis, s.index));
        text += &slice;
        row.probabilities.iter().for_each(|p| {
            let _ = write!(text, "\t{p}");
        });
        text.push('\n');
    }
    if classified.rows.len() > 1 {
        text += "mean";
        classified.mean().iter().for_each(|p| {
            let _ = write!(text, "\t{p}");
        });
        text.push('\n');
    }
    text
}

/// A table with one row per box, best first. Corners are indices of voxels, of which number n reaches from n − ½ to n + ½.
fn boxes_tsv(detected: &Detected) -> String {
    let mut text = String::from("class\tscore\tslice\ti_min\tj_min\tk_min\ti_max\tj_max\tk_max\n");
    for b in &detected.boxes {
        let slice = b.slice.map_or_else(|| "n/a".to_owned(), |s| format!("{}{}", s.axis, s.index));
        let _ = write!(text, "{}\t{}\t{slice}", clean(&b.class), b.score);
        b.min_ijk.iter().chain(&b.max_ijk).for_each(|v| {
            let _ = write!(text, "\t{v}");
        });
        text.push('\n');
    }
    text
}

/// Names without what separates cells and rows.
fn clean(name: &str) -> String {
    name.replace(['\t', '\n', '\r'], " ")
}

/// Writes probabilities of classes.
///
/// # Errors
/// Those of the writers.
pub(super) fn write_classes(
    staging: &Staging,
    case: &str,
    classified: &Classified,
    options: &Options,
) -> anyhow::Result<Vec<String>> {
    let names = Answer::Classes.names(case, options);
    atomic::write_bytes(&staging.path(&names[0]), classes_tsv(classified).as_bytes())?;
    let file = ClassesFile { case, mean: means(classified), classified };
    atomic::write_bytes(
        &staging.path(&names[1]),
        format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes(),
    )?;
    Ok(names)
}

/// Writes boxes, and a picture with them; a picture that cannot be made is a notice.
///
/// # Errors
/// Those of the writers.
pub(super) fn write_boxes(
    staging: &Staging,
    case: &str,
    image: &Volume,
    detected: &Detected,
    options: &Options,
    notices: &mut Vec<Notice>,
) -> anyhow::Result<Vec<String>> {
    let mut names = Answer::Boxes.names(case, options);
    let file = BoxesFile { case, size_ijk: detected.grid.size_ijk, detected };
    atomic::write_bytes(
        &staging.path(&names[0]),
        format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes(),
    )?;
    atomic::write_bytes(&staging.path(&names[1]), boxes_tsv(detected).as_bytes())?;
    if let Some(picture) = names.get(2)
        && let Err(error) =
            quicklook::boxes::write_png(image, detected, case, is_picture(image), &staging.path(picture))
    {
        notices.push(Notice::warning("quicklook-failed", format!("no quick-look picture: {error}")));
        names.truncate(2);
    }
    Ok(names)
}

/// Lists of the lines in several formats, and pictures of the pages that have some.
///
/// # Errors
/// Those of the writers.
pub(super) fn write_text(
    staging: &Staging,
    case: &str,
    image: &Volume,
    found: &models::mayor::TextFound,
    options: &Options,
) -> anyhow::Result<Vec<String>> {
    let document = text::Document::of(case, found);
    let mut made = Vec::new();
    let mut write = |name: String, bytes: &[u8]| -> formats::Result<()> {
        atomic::write_bytes(&staging.path(&name), bytes)?;
        made.push(name);
        Ok(())
    };
    write(format!("{case}_text.json"), text::export::json(&document)?.as_bytes())?;
    write(format!("{case}_text.tsv"), text::export::tsv(&document).as_bytes())?;
    let created = text::export::date_time(unix_secs());
    let slices = models::mayor::Slices::new(image);
    let of_file = image.meta.path.as_ref().and_then(|p| p.file_name());
    let file = of_file.map_or_else(|| case.to_owned(), |n| n.to_string_lossy().into_owned());
    for (page, lines) in document.pages.iter().zip(&found.pages).filter(|(p, _)| !p.lines.is_empty()) {
        // One page needs no number.
        let end = if document.pages.len() == 1 { String::new() } else { format!("_{:04}", page.page + 1) };
        write(
            format!("{case}_text{end}.xml"),
            text::export::page_xml(&document, page, &file, &created).as_bytes(),
        )?;
        write(format!("{case}_text{end}.txt"), text::export::icdar(page).as_bytes())?;
        if options.quicklook
            && let Some(picture) = slices.at(page.page).into_iter().next()
        {
            let drawn = text::overlay::outlined(picture, &lines.lines);
            write(format!("{case}_text{end}.png"), &text::overlay::png(&drawn)?)?;
        }
    }
    Ok(made)
}

fn unix_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
