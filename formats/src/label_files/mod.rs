//! Label tables as files: names and colours of the numbers in a segmentation.
//!
//! One file per format, listed in [`LABEL_FORMATS`]; [`read`] looks at the content (names lie), except where two
//! formats hold the same characters: a colour table without its header line is told from a FreeSurfer table by the
//! ending `.ctbl`, because one writes opacity and the other transparency in the same column.

mod bids;
mod ctbl;
mod freesurfer;
mod itksnap;
mod nnunet;

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::labels::{LabelEntry, LabelTable};
use crate::notice::Notice;

/// A table with what was odd about its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// The rows, in file order. Numbers are unique.
    pub table: LabelTable,
    /// Rows left out and why.
    pub notices: Vec<Notice>,
}

/// One file format for label tables.
pub trait LabelFormat: Sync {
    /// Stable identifier, e.g. `"itksnap"`.
    fn id(&self) -> &'static str;

    /// Name for people.
    fn name(&self) -> &'static str;

    /// The usual end of the file name, with its separator, e.g. `"_labels.txt"`.
    fn suffix(&self) -> &'static str;

    /// Whether the content looks like this format; `path` only decides where content cannot.
    fn sniff(&self, text: &str, path: &Path) -> bool;

    /// Reads a table. `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the line number.
    fn parse(&self, text: &str, path: &Path) -> Result<Labels>;

    /// Writes a table as text that [`LabelFormat::parse`] reads back (as far as the format can hold it).
    fn print(&self, table: &LabelTable) -> String;
}

/// All formats, in the order of trying and of listing.
pub static LABEL_FORMATS: &[&dyn LabelFormat] =
    &[&nnunet::NnUnet, &bids::Bids, &itksnap::ItkSnap, &ctbl::Ctbl, &freesurfer::FreeSurfer];

/// Largest file that is read. The longest tables in use (FreeSurfer's) have 100 KiB.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a label table of any known format.
///
/// # Errors
/// [`Error::Unsupported`] when no format recognises the content, [`Error::OverLimit`] above 16 MiB, [`Error::Io`],
/// or the reader's [`Error::Malformed`] with a line number.
pub fn read(path: &Path) -> Result<Labels> {
    let bytes = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
    if bytes > MAX_BYTES {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{bytes} bytes"),
            limit: format!("a label table may have {MAX_BYTES}"),
            remedy: "Check that this is a label table".to_owned(),
        });
    }
    let content = std::fs::read(path).map_err(Error::io(path, "read"))?;
    parse(&String::from_utf8_lossy(&content), path)
}

/// Reads a label table from text; see [`read`].
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Labels> {
    let text = text.trim_start_matches('\u{feff}');
    match LABEL_FORMATS.iter().find(|f| f.sniff(text, path)) {
        Some(format) => format.parse(text, path),
        None => {
            let start: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
            Err(Error::unsupported(
                path,
                format!("a label table beginning with “{start}”"),
                LABEL_FORMATS.iter().map(|f| f.name()).collect::<Vec<_>>().join(", "),
                "Check that this is a label table",
            ))
        }
    }
}

/// The format with this identifier.
///
/// # Errors
/// [`Error::Argument`] naming the known ones.
pub fn format(id: &str) -> Result<&'static dyn LabelFormat> {
    LABEL_FORMATS.iter().find(|f| f.id() == id).copied().ok_or_else(|| {
        let known: Vec<_> = LABEL_FORMATS.iter().map(|f| f.id()).collect();
        Error::Argument(format!("label format “{id}” is not known; known: {}", known.join(", ")))
    })
}

/// Writes a table in the format with this identifier, atomically.
///
/// # Errors
/// [`Error::Argument`] for an unknown format, [`Error::Io`].
pub fn write(table: &LabelTable, path: &Path, format_id: &str) -> Result<()> {
    crate::atomic::write_bytes(path, format(format_id)?.print(table).as_bytes())
}

/// Lines with content, with their numbers (from 1), without comments and surrounding white space.
fn data_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The first line with content.
fn first_data_line(text: &str) -> Option<&str> {
    data_lines(text).next().map(|(_, line)| line)
}

/// [`Error::Malformed`] at a line.
fn bad_line(path: &Path, line: usize, found: &str, expected: &str) -> Error {
    let found: String = found.chars().take(120).collect();
    Error::Malformed {
        path: path.to_owned(),
        found: format!("line {line} reads “{found}”"),
        expected: expected.to_owned(),
        remedy: "Correct or remove this line".to_owned(),
    }
}

/// Rows as they come in, with the line of each number.
#[derive(Default)]
struct Rows {
    entries: Vec<LabelEntry>,
    lines: HashMap<u16, usize>,
    too_large: Vec<u64>,
    repeated: Vec<String>,
}

impl Rows {
    /// Adds a row whose number may not fit a label volume, or may come twice (the first row counts).
    fn push(&mut self, line: usize, id: u64, make: impl FnOnce(u16) -> LabelEntry) {
        let Ok(id) = u16::try_from(id) else {
            self.too_large.push(id);
            return;
        };
        match self.lines.entry(id) {
            std::collections::hash_map::Entry::Occupied(first) => {
                self.repeated.push(format!("{id} (lines {} and {line})", first.get()));
            }
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(line);
                self.entries.push(make(id));
            }
        }
    }

    fn finish(self) -> Labels {
        let mut notices = Vec::new();
        if !self.too_large.is_empty() {
            notices.push(Notice::warning(
                "label-above-65535",
                format!(
                    "{} rows have numbers above 65535 (first: {}) and were left out",
                    self.too_large.len(),
                    self.too_large[0]
                ),
            ));
        }
        if !self.repeated.is_empty() {
            notices.push(Notice::warning(
                "label-repeated",
                format!("numbers given twice, of which the first counts: {}", self.repeated.join(", ")),
            ));
        }
        Labels { table: LabelTable { entries: self.entries }, notices }
    }
}

/// A channel 0..=255.
fn channel(text: &str) -> Option<u8> {
    text.parse().ok()
}

/// A name for formats whose fields end at white space.
fn without_spaces(name: &str) -> String {
    let joined = name.split_whitespace().collect::<Vec<_>>().join("_");
    if joined.is_empty() { "_".to_owned() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> LabelTable {
        let mut half = LabelEntry::new(17, "Left-Hippocampus", [220, 216, 20]);
        half.opacity = 0.5;
        let mut hidden = LabelEntry::new(258, "Unknown_thing", [1, 2, 3]);
        hidden.visible = false;
        LabelTable { entries: vec![LabelEntry::new(2, "Left-WM", [245, 245, 245]), half, hidden] }
    }

    #[test]
    fn every_format_recognises_and_reads_what_it_wrote() {
        for format in LABEL_FORMATS {
            let text = format.print(&table());
            let path = Path::new("labels.txt"); // the name gives no hint
            let taker = LABEL_FORMATS.iter().find(|f| f.sniff(&text, path)).unwrap();
            assert_eq!(taker.id(), format.id(), "{text}");
            let back = parse(&text, path).unwrap();
            assert!(back.notices.is_empty(), "{:?}", back.notices);
            let ids: Vec<_> = back.table.entries.iter().filter(|e| e.id != 0).map(|e| e.id).collect();
            assert_eq!(ids, [2, 17, 258], "{}", format.id());
            for (a, b) in table().entries.iter().zip(back.table.entries.iter().filter(|e| e.id != 0)) {
                assert_eq!(a.name.replace('_', " "), b.name.replace('_', " "), "{}", format.id());
                if format.id() != "nnunet" {
                    assert_eq!(a.rgb, b.rgb, "{}", format.id());
                }
            }
            // Twice through a format changes nothing more, with either line ending and a byte order mark.
            let windows = format!("\u{feff}{}", format.print(&back.table).replace('\n', "\r\n"));
            assert_eq!(parse(&windows, path).unwrap().table, back.table, "{}", format.id());
        }
    }

    #[test]
    fn cut_anywhere_nothing_panics() {
        for format in LABEL_FORMATS {
            let text = format.print(&table());
            for end in 0..text.len() {
                let _ = parse(&text[..end], Path::new("x"));
                let _ = format.parse(&text[..end], Path::new("x"));
            }
        }
    }

    #[test]
    fn large_and_repeated_numbers_are_noticed() {
        let text = "1 a 1 2 3 0\n70000 big 1 1 1 0\n1 b 4 5 6 0\n";
        let back = parse(text, Path::new("lut.txt")).unwrap();
        assert_eq!(back.table.entries, [LabelEntry::new(1, "a", [1, 2, 3])]);
        let codes: Vec<_> = back.notices.iter().map(|n| n.code.as_str()).collect();
        assert_eq!(codes, ["label-above-65535", "label-repeated"]);
        assert!(back.notices[1].message.contains("lines 1 and 3"));
    }

    #[test]
    fn what_is_not_a_table_is_refused() {
        let error = parse("Dear Sir,\n", Path::new("letter.txt")).unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { .. }) && error.to_string().contains("ITK-SNAP"),
            "{error}"
        );
    }
}
