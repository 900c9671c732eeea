//! What was done, for those who get the results: no original value, no original file name.

use std::io::Write;
use std::path::{Path, PathBuf};

use formats::atomic;
use formats::dicom::deid::{EDITION, Finding, Options, Outcome, Pixels};
use serde::Serialize;

use super::{Lists, Status};

/// `deid-report.json` and `deid-report.csv`.
#[derive(Debug)]
pub struct Report {
    options: Options,
    files: Vec<FileRow>,
    failed: usize,
    lists: Lists,
}

#[derive(Debug, Serialize)]
struct FileRow {
    output: PathBuf,
    status: Status,
    pixels: Pixels,
    /// Codes of notices; their texts may quote the original.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    /// Which of the lists of actions was carried out.
    actions: usize,
}

impl Report {
    pub fn new(options: &Options) -> Self {
        // A chosen identifier may be one by which others know the patient.
        let options = Options { patient_id: None, ..options.clone() };
        Self { options, files: Vec::new(), failed: 0, lists: Lists::new() }
    }

    pub fn add(&mut self, output: &Path, status: Status, outcome: &Outcome) {
        let next = self.lists.len();
        let actions = *self.lists.entry(outcome.rows.clone()).or_insert(next);
        self.files.push(FileRow {
            output: output.to_owned(),
            status,
            pixels: outcome.pixels,
            notices: outcome.notices.iter().map(|n| n.code.clone()).collect(),
            findings: outcome.findings.clone(),
            actions,
        });
    }

    pub fn failed(&mut self) {
        self.failed += 1;
    }

    pub fn write(&self, json: &Path, csv: &Path) -> anyhow::Result<()> {
        let mut lists: Vec<_> = self.lists.iter().collect();
        lists.sort_by_key(|(_, index)| **index);
        let lists: Vec<_> = lists.into_iter().map(|(list, _)| list).collect();
        let methods: Vec<_> = self
            .options
            .methods()
            .iter()
            .map(|m| serde_json::json!({ "code": m.code, "scheme": "DCM", "meaning": m.meaning }))
            .collect();
        let whole = serde_json::json!({
            "program": "Insula",
            "version": env!("CARGO_PKG_VERSION"),
            "profile": format!("DICOM PS3.15 {EDITION}, Annex E"),
            "methods": methods,
            "failed": self.failed,
            "files": self.files,
            "actions": lists,
        });
        let text = format!("{}\n", serde_json::to_string_pretty(&whole)?);
        atomic::write_bytes(json, text.as_bytes())?;
        atomic::write(csv, |temporary| {
            let io = || formats::Error::io(csv, "write");
            let file = std::fs::File::create(temporary).map_err(io())?;
            let mut out = std::io::BufWriter::new(file);
            writeln!(out, "output,status,pixels,path,tag,keyword,vr,action,reason").map_err(io())?;
            for file in &self.files {
                let pixels = match file.pixels {
                    Pixels::None => "none",
                    Pixels::NotChecked => "not-checked",
                    Pixels::NotCheckedAtRisk => "not-checked-at-risk",
                };
                let status = if file.status == Status::Done { "done" } else { "needs-review" };
                let output = quoted(&file.output.to_string_lossy());
                for row in lists.get(file.actions).into_iter().flat_map(|l| l.iter()) {
                    let fields = [&row.path, &row.tag, &row.keyword, &row.vr].map(|f| quoted(f)).join(",");
                    let (action, reason) = (row.action.name(), quoted(&row.reason));
                    writeln!(out, "{output},{status},{pixels},{fields},{action},{reason}").map_err(io())?;
                }
                for finding in &file.findings {
                    let (path, keyword, what) =
                        (quoted(&finding.path), quoted(&finding.keyword), quoted(&finding.what));
                    writeln!(out, "{output},{status},{pixels},{path},,{keyword},,finding,{what}")
                        .map_err(io())?;
                }
            }
            out.flush().map_err(io())
        })?;
        Ok(())
    }
}

/// A field of RFC 4180.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
