//! How alike images are to the truth, one by one or folder by folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use formats::measure::{Similarity, similarity};
use formats::{Task, Volume};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Usage, is_cancelled};

/// What to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareImages {
    /// The image to judge, or a folder of images.
    pub result: PathBuf,
    /// The reference, or a folder of them.
    pub truth: PathBuf,
    /// The span of values; see [`similarity`].
    pub data_range: Option<f64>,
}

/// One pair compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What the files are called.
    pub name: String,
    /// How alike they are.
    #[serde(flatten)]
    pub similarity: Similarity,
}

/// One pair that could not be compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// What the files are called.
    pub name: String,
    /// Why.
    pub error: Failure,
}

/// Means over pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Means {
    /// Over the pairs that have one, i.e. that differ.
    pub psnr_db: Option<f64>,
    /// Over the pairs that have one.
    pub ssim: Option<f64>,
    /// Over all.
    pub mae: f64,
}

/// Pairs compared. The field names are JSON keys and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// By name.
    pub rows: Vec<Row>,
    /// Absent without rows.
    pub mean: Option<Means>,
    /// What could not be compared.
    pub failed: Vec<Problem>,
    /// Files of either folder without a counterpart.
    pub unmatched: Vec<String>,
}

/// Compares two files, or the files of two folders.
///
/// # Errors
/// [`Usage`] for a file and a folder, or folders that share no name; of two files, what keeps them from being compared.
pub fn run(request: &CompareImages, task: &Task) -> anyhow::Result<Comparison> {
    let (result, truth) = (&request.result, &request.truth);
    if result.is_dir() != truth.is_dir() {
        return Err(Usage(format!(
            "{} and {}: give two files or two folders",
            result.display(),
            truth.display()
        ))
        .into());
    }
    if !result.is_dir() {
        let row =
            Row { name: name_of(result), similarity: compare(result, truth, request.data_range, task)? };
        return Ok(summed(vec![row], Vec::new(), Vec::new()));
    }
    let (mut results, truths) = (by_name(result)?, by_name(truth)?);
    let (mut rows, mut failed, mut unmatched) = (Vec::new(), Vec::new(), Vec::new());
    let count = truths.len();
    for (n, (name, truth)) in truths.into_iter().enumerate() {
        task.at("comparing", n as f32 / count as f32)?;
        let Some(result) = results.remove(&name) else {
            unmatched.push(truth.display().to_string());
            continue;
        };
        match compare(&result, &truth, request.data_range, task) {
            Ok(similarity) => rows.push(Row { name, similarity }),
            Err(error) if is_cancelled(&error) => return Err(error),
            Err(error) => failed.push(Problem { name, error: Failure::of(&error) }),
        }
    }
    unmatched.extend(results.into_values().map(|p| p.display().to_string()));
    if rows.is_empty() && failed.is_empty() {
        return Err(Usage(format!(
            "{} and {}: no two images of one name (an ending _restored does not count)",
            result.display(),
            truth.display()
        ))
        .into());
    }
    Ok(summed(rows, failed, unmatched))
}

fn summed(rows: Vec<Row>, failed: Vec<Problem>, unmatched: Vec<String>) -> Comparison {
    let mean = |values: Vec<f64>| {
        let count = values.len();
        (count > 0).then(|| values.into_iter().sum::<f64>() / count as f64)
    };
    let means = mean(rows.iter().map(|r| r.similarity.mae).collect()).map(|mae| Means {
        psnr_db: mean(rows.iter().filter_map(|r| r.similarity.psnr_db).collect()),
        ssim: mean(rows.iter().filter_map(|r| r.similarity.ssim).collect()),
        mae,
    });
    Comparison { rows, mean: means, failed, unmatched }
}

/// The name by which files of two folders belong together.
fn name_of(path: &Path) -> String {
    let stem = formats::registry::stem(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    stem.strip_suffix("_restored").filter(|s| !s.is_empty()).map(str::to_owned).unwrap_or(stem)
}

/// Images of a folder by name.
fn by_name(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for file in crate::open::files_in(folder)? {
        if name_of(&file).ends_with("_quicklook") {
            continue;
        }
        if let Some(other) = found.insert(name_of(&file), file.clone()) {
            return Err(Usage(format!(
                "{} and {} have one name; keep one of them in the folder",
                other.display(),
                file.display()
            ))
            .into());
        }
    }
    Ok(found)
}

fn compare(result: &Path, truth: &Path, range: Option<f64>, task: &Task) -> anyhow::Result<Similarity> {
    let read = |path: &Path| -> anyhow::Result<Volume> {
        let mut image = crate::dicom::open_image(path, None, task)?;
        match image.frames.len() {
            1 => Ok(image.frames.remove(0)),
            n => bail!("{}: {n} frames; images with one are compared", path.display()),
        }
    };
    Ok(similarity(&read(result)?, &read(truth)?, range)?)
}

impl Comparison {
    /// For people.
    pub fn to_text(&self) -> String {
        let number =
            |v: Option<f64>, decimals: usize| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.decimals$}"));
        let width = self.rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(4);
        let mut out =
            format!("{:<width$}  {:>8}  {:>7}  {:>12}  {:>10}\n", "", "PSNR dB", "SSIM", "MAE", "range");
        let mut line = |name: &str, psnr, ssim, mae, range| {
            out.push_str(&format!(
                "{name:<width$}  {:>8}  {:>7}  {mae:>12.5}  {:>10}\n",
                number(psnr, 3),
                number(ssim, 4),
                number(range, 2)
            ));
        };
        for Row { name, similarity: s } in &self.rows {
            // Equal images have no finite ratio.
            line(name, s.psnr_db, s.ssim, s.mae, Some(s.data_range));
        }
        if let Some(m) = self.mean.filter(|_| self.rows.len() > 1) {
            line("mean", m.psnr_db, m.ssim, m.mae, None);
        }
        out
    }

    /// Comma-separated values with a header.
    pub fn to_csv(&self) -> String {
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let mut out = "name,psnr_db,ssim,mae,data_range,values,non_finite\n".to_owned();
        for Row { name, similarity: s } in &self.rows {
            let quoted = name.replace('"', "\"\"");
            out.push_str(&format!(
                "\"{quoted}\",{},{},{},{},{},{}\n",
                number(s.psnr_db),
                number(s.ssim),
                s.mae,
                s.data_range,
                s.values,
                s.non_finite
            ));
        }
        out
    }
}
