//! Lines of text that were found in images: files of them, pictures of them, and how they agree with the truth.
//!
//! Coordinates in files are those of the slice: x to the right (along i), y down (along j), in pixels, the corner of the first pixel at
//! (0, 0). No file holds what a text says: it was found, not read.

pub mod evaluate;
pub mod export;
pub mod overlay;

use models::mayor::{Line, TextFound};
use serde::{Deserialize, Serialize};

/// A document of pages with lines: the JSON file of a case. The field names are its keys and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The case.
    pub case: String,
    /// Pixels of a page: columns and rows.
    pub size: [usize; 2],
    /// How it was searched: pack, thresholds, program.
    pub facts: std::collections::BTreeMap<String, String>,
    /// Pages in order; those without text too.
    pub pages: Vec<DocumentPage>,
}

/// A page of a [`Document`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentPage {
    /// Slice or frame, from 0.
    pub page: usize,
    /// Lines, best first.
    pub lines: Vec<DocumentLine>,
}

/// A line of a [`DocumentPage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentLine {
    /// Vertices of the outline, clockwise on the screen.
    pub polygon: Vec<[f64; 2]>,
    /// Corners of the smallest rectangle round it.
    pub quad: [[f64; 2]; 4],
    /// 0..=1.
    pub score: f64,
}

impl DocumentLine {
    /// As written: hundredths of a pixel and ten-thousandths of a probability.
    #[must_use]
    pub fn of(line: &Line) -> Self {
        let point = |p: [f64; 2]| p.map(|v| (v * 100.0).round() / 100.0);
        Self {
            polygon: line.polygon.iter().copied().map(point).collect(),
            quad: line.rectangle.map(point),
            score: (f64::from(line.score) * 1e4).round() / 1e4,
        }
    }
}

impl Document {
    /// The document of a case.
    #[must_use]
    pub fn of(case: &str, found: &TextFound) -> Self {
        let [columns, rows, _] = found.grid.size_ijk;
        let pages = found
            .pages
            .iter()
            .map(|p| DocumentPage { page: p.slice, lines: p.lines.iter().map(DocumentLine::of).collect() });
        Self {
            case: case.to_owned(),
            size: [columns, rows],
            facts: found.facts.clone(),
            pages: pages.collect(),
        }
    }

    /// Lines on all pages.
    #[must_use]
    pub fn line_count(&self) -> usize {
        self.pages.iter().map(|p| p.lines.len()).sum()
    }
}
