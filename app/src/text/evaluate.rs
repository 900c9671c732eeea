//! Detected lines beside the truth, by the rules of the ICDAR 2015 challenge 4, task 1 (Karatzas et al., *ICDAR 2015 Competition on
//! Robust Reading*): a detection more than half of which lies on "do not care" regions is left out; each of the others matches the first
//! truth it overlaps by more than half (intersection over union), each truth once. Overlap is counted in pixels.

use std::path::{Path, PathBuf};

use anyhow::Context;
use models::mayor::contour::fill_into;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::Document;
use crate::failure::Usage;

/// Overlap beyond which a detection is a truth.
const IOU: f64 = 0.5;
/// Pictures larger than this are refused.
const LARGEST: f64 = 20_000.0;

/// What to compare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluateText {
    /// Detections: a file of a batch (`*_text.json`), or lines `x1,y1,…[,text]`, or a folder of such files.
    pub pred: PathBuf,
    /// The truth: lines `x1,y1,x2,y2,…,text`, `###` for "do not care"; or a folder of such files.
    pub truth: PathBuf,
}

/// How detections agree with the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextEvaluation {
    /// Sum over the pages.
    pub total: Score,
    /// Each pair of files.
    pub pages: Vec<PageScore>,
}

/// The score of a pair of files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PageScore {
    /// What the files are called.
    pub page: String,
    /// Its score.
    #[serde(flatten)]
    pub score: Score,
}

/// Counts, and what they make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Lines to be found.
    pub truths: usize,
    /// Detections that count.
    pub detections: usize,
    /// Truths that were found.
    pub matched: usize,
    /// matched / detections; none without detections.
    pub precision: Option<f64>,
    /// matched / truths; none without truths.
    pub recall: Option<f64>,
    /// Harmonic mean of both; 1 where there is nothing to find and nothing was found.
    pub f: f64,
}

impl Score {
    fn new(truths: usize, detections: usize, matched: usize) -> Self {
        let part = |of: usize| (of > 0).then(|| matched as f64 / of as f64);
        let f =
            if truths + detections == 0 { 1.0 } else { 2.0 * matched as f64 / (truths + detections) as f64 };
        Self { truths, detections, matched, precision: part(detections), recall: part(truths), f }
    }
}

/// A polygon of a file, and whether it is "do not care".
#[derive(Clone, Debug, PartialEq)]
struct Region {
    polygon: Vec<[f64; 2]>,
    ignored: bool,
}

/// Reads both and compares them.
///
/// # Errors
/// Those of reading; [`Usage`] where the two are not both files or both folders, or a truth has no detections.
pub fn run(request: &EvaluateText) -> anyhow::Result<TextEvaluation> {
    let mut pages = Vec::new();
    for (page, pred, truth) in pairs(&request.pred, &request.truth)? {
        let (found, wanted) = (read(&pred)?, read(&truth)?);
        pages.push(PageScore { page, score: compare(&found, &wanted) });
    }
    let sum = |of: fn(&Score) -> usize| pages.iter().map(|p| of(&p.score)).sum();
    let total = Score::new(sum(|s| s.truths), sum(|s| s.detections), sum(|s| s.matched));
    Ok(TextEvaluation { total, pages })
}

/// Files that belong together: named alike but for `gt_`, `res_` and `_text`.
fn pairs(pred: &Path, truth: &Path) -> anyhow::Result<Vec<(String, PathBuf, PathBuf)>> {
    if pred.is_dir() != truth.is_dir() {
        return Err(Usage("the detections and the truth are both files, or both folders".to_owned()).into());
    }
    if !pred.is_dir() {
        return Ok(vec![(stem(truth), pred.to_owned(), truth.to_owned())]);
    }
    let (found, wanted) = (files(pred, true)?, files(truth, false)?);
    if wanted.is_empty() {
        return Err(Usage(format!("{}: no .txt file with the truth", truth.display())).into());
    }
    let pair = |truth: PathBuf| {
        let name = stem(&truth);
        let mut of_name = found.iter().filter(|f| stem(f) == name);
        let file =
            of_name.next().ok_or_else(|| Usage(format!("{}: no detections for “{name}”", pred.display())))?;
        Ok((name, file.clone(), truth))
    };
    wanted.into_iter().map(pair).collect()
}

fn files(folder: &Path, detections: bool) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(formats::Error::io(folder, "read"))?;
    let mut out: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
    let ends = |p: &PathBuf, end: &str| {
        p.file_name().is_some_and(|n| n.to_string_lossy().to_lowercase().ends_with(end))
    };
    out.retain(|p| p.is_file() && (ends(p, ".txt") || detections && ends(p, "_text.json")));
    out.sort();
    Ok(out)
}

fn stem(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_prefix("gt_").or(name.strip_prefix("res_")).unwrap_or(&name);
    name.strip_suffix("_text").unwrap_or(name).to_owned()
}

fn read(path: &Path) -> anyhow::Result<Vec<Region>> {
    let bytes = std::fs::read(path).map_err(formats::Error::io(path, "read"))?;
    if bytes.first() == Some(&b'{') {
        let document: Document = serde_json::from_slice(&bytes)
            .with_context(|| format!("{}: no list of text lines", path.display()))?;
        let lines = document.pages.into_iter().flat_map(|p| p.lines);
        return Ok(lines.map(|l| Region { polygon: l.polygon, ignored: false }).collect());
    }
    let text = String::from_utf8_lossy(&bytes);
    let rows =
        text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, row)| !row.trim().is_empty());
    rows.map(|(n, row)| {
        parse_row(row).ok_or_else(|| {
            let found = format!("line {}: “{row}”", n + 1);
            let expected = "x1,y1,x2,y2,x3,y3 and further corners within 20000 pixels, then the text or ###";
            formats::Error::malformed(path, found, expected).into()
        })
    })
    .collect()
}

/// Corners and the text. Numbers of a text that begins with some are corners only as far as they come in pairs and four
/// corners are not yet complete, as all files of the challenge have four.
fn parse_row(row: &str) -> Option<Region> {
    let parts: Vec<&str> = row.trim_end().split(',').collect();
    let numbers: Vec<f64> = parts.iter().map_while(|p| p.trim().parse().ok()).collect();
    let has_text = numbers.len() < parts.len();
    let used = match (numbers.len(), has_text) {
        (8.., true) => 8,
        (n, false) if n >= 8 && n % 2 == 1 => n - 1,
        (n, _) => n / 2 * 2,
    };
    let good = used >= 6 && numbers[..used].iter().all(|v| v.is_finite() && v.abs() <= LARGEST);
    let polygon = numbers[..used].chunks_exact(2).map(|p| [p[0], p[1]]).collect();
    good.then(|| Region { polygon, ignored: parts[used..].join(",").trim() == "###" })
}

/// Pixels of regions in a window that holds them all.
fn compare(found: &[Region], wanted: &[Region]) -> Score {
    let fills: Vec<Fill> = found.iter().map(Fill::of).collect();
    let truths: Vec<Fill> = wanted.iter().map(Fill::of).collect();
    let mut used = vec![false; truths.len()];
    let mut detections = 0;
    for fill in &fills {
        let ignored: usize =
            truths.iter().zip(wanted).filter(|(_, w)| w.ignored).map(|(t, _)| fill.common(t)).sum();
        if ignored * 2 > fill.pixels {
            continue;
        }
        detections += 1;
        let free = truths.iter().enumerate().filter(|(n, _)| !wanted[*n].ignored && !used[*n]);
        let best = free.map(|(n, t)| (n, fill.iou(t))).fold(None, |best: Option<(usize, f64)>, next| {
            if best.is_some_and(|b| b.1 >= next.1) { best } else { Some(next) }
        });
        if let Some((n, iou)) = best
            && iou > IOU
        {
            used[n] = true;
        }
    }
    let to_find = wanted.iter().filter(|w| !w.ignored).count();
    Score::new(to_find, detections, used.iter().filter(|&&u| u).count())
}

/// The pixels of a polygon.
struct Fill {
    origin: [i64; 2],
    inside: Array2<bool>,
    pixels: usize,
}

impl Fill {
    fn of(region: &Region) -> Self {
        let ends = |axis: usize| {
            let values = region.polygon.iter().map(|p| p[axis]);
            let low = values.clone().fold(f64::INFINITY, f64::min).floor();
            (low, values.fold(f64::NEG_INFINITY, f64::max).ceil())
        };
        let ((x0, x1), (y0, y1)) = (ends(0), ends(1));
        let mut inside = Array2::from_elem(((y1 - y0).max(0.0) as usize, (x1 - x0).max(0.0) as usize), false);
        let moved: Vec<[f64; 2]> = region.polygon.iter().map(|p| [p[0] - x0, p[1] - y0]).collect();
        fill_into(&mut inside, &moved);
        let pixels = inside.iter().filter(|&&v| v).count();
        Self { origin: [x0 as i64, y0 as i64], inside, pixels }
    }

    fn common(&self, other: &Self) -> usize {
        let offset = [other.origin[0] - self.origin[0], other.origin[1] - self.origin[1]];
        let (h, w) = self.inside.dim();
        other
            .inside
            .indexed_iter()
            .filter(|((y, x), is_in)| {
                let (y, x) = (*y as i64 + offset[1], *x as i64 + offset[0]);
                **is_in
                    && (0..h as i64).contains(&y)
                    && (0..w as i64).contains(&x)
                    && self.inside[[y as usize, x as usize]]
            })
            .count()
    }

    fn iou(&self, other: &Self) -> f64 {
        let common = self.common(other);
        if common == 0 { 0.0 } else { common as f64 / (self.pixels + other.pixels - common) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: f64, y: f64, w: f64, h: f64, ignored: bool) -> Region {
        Region { polygon: vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]], ignored }
    }

    #[test]
    fn do_not_care_regions_neither_help_nor_hurt() {
        let truth = [region(0.0, 0.0, 100.0, 10.0, false), region(0.0, 50.0, 100.0, 10.0, true)];
        // A hit, a detection on "do not care", one that is nothing, one too small, one twice.
        let found = [
            region(0.0, 0.0, 100.0, 9.0, false),
            region(0.0, 50.0, 60.0, 10.0, false),
            region(200.0, 0.0, 10.0, 10.0, false),
            region(0.0, 0.0, 100.0, 10.0, false),
        ];
        let s = compare(&found, &truth);
        assert_eq!((s.truths, s.detections, s.matched), (1, 3, 1));
        assert!((s.f - 2.0 / 4.0).abs() < 1e-12);
        assert_eq!(
            compare(&[region(0.0, 0.0, 50.0, 10.0, false)], &truth[..1]).matched,
            0,
            "exactly half is no match"
        );
        assert!((compare(&[], &[]).f - 1.0).abs() < 1e-12);
    }

    #[test]
    fn rows_of_the_challenge_are_read() {
        let quad = parse_row("377,117,463,117,465,130,378,130,Genaxis, 24\r").expect("a row");
        assert_eq!((quad.polygon.len(), quad.ignored), (4, false));
        assert!(parse_row("0,0,5,0,5,5,0,5,###").expect("a row").ignored);
        assert_eq!(
            parse_row("0,0,5,0,5,5,0,5,12345,7").expect("a row").polygon.len(),
            5,
            "all numbers are corners"
        );
        assert_eq!(parse_row("0,0,5,0,5,5,0,5,0.87").expect("a score").polygon.len(), 4);
        assert!(parse_row("1,2,3,text").is_none() && parse_row("1e9,0,1,0,1,1").is_none());
    }
}
