//! What became of each file.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eframe::egui::{self, Color32, RichText, Ui};
use egui_extras::{Column, TableBuilder};
use formats::Task;
use formats::dicom::deid::Pixels;

use super::preview::cell;
use crate::batch::queue::Listener;
use crate::deid::{Deidentified, Record, Status};
use crate::jobs::JobId;

/// What a run has told so far; shared with its thread.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    records: Vec<Record>,
    remarks: Vec<String>,
}

impl Told {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Told {
    fn task(&self, _: &str, _: usize, _: usize) -> Task {
        Task::silent()
    }
    fn finished(&self, _: &crate::batch::record::Record, _: usize, _: usize) {}
    fn planned(&self, _: &crate::batch::Planned, _: usize, _: usize) {}
    fn deidentified(&self, record: &Record, _: usize, _: usize) {
        self.heard().records.push(record.clone());
    }
    fn say(&self, text: &str) {
        self.heard().remarks.push(text.to_owned());
    }
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// Its job.
    pub job: JobId,
    /// How many files fared how, when all were gone through.
    pub tally: Option<Deidentified>,
    told: Told,
    only: Option<Status>,
}

const STATUSES: [Status; 4] = [Status::Done, Status::NeedsReview, Status::Failed, Status::Skipped];

impl Run {
    /// One that has just begun.
    pub fn new(job: JobId, told: Told) -> Self {
        Self { job, tally: None, told, only: None }
    }

    /// The page.
    pub fn outcome_ui(&mut self, ui: &mut Ui) {
        let told = self.told.clone();
        let heard = told.heard();
        for remark in &heard.remarks {
            ui.weak(remark);
        }
        if let Some(tally) = &self.tally {
            let reports: Vec<&str> =
                tally.reports.iter().filter_map(|r| r.file_name()).filter_map(|n| n.to_str()).collect();
            let reports =
                if reports.is_empty() { String::new() } else { format!("; see {}", reports.join(", ")) };
            ui.label(format!("{}{reports}", tally.words(false)));
            if tally.pixels_at_risk > 0 {
                let text = "Pixels were copied as they are. Look at the pictures marked below before you pass them on.";
                ui.label(RichText::new(text).color(ui.visuals().warn_fg_color));
            }
        }
        ui.horizontal(|ui| {
            let all = heard.records.len();
            if ui.selectable_label(self.only.is_none(), format!("All {all}")).clicked() {
                self.only = None;
            }
            for status in STATUSES {
                let count = heard.records.iter().filter(|r| r.status == status).count();
                if count > 0
                    && ui
                        .selectable_label(self.only == Some(status), format!("{} {count}", words(status)))
                        .clicked()
                {
                    self.only = if self.only == Some(status) { None } else { Some(status) };
                }
            }
        });
        let shown: Vec<&Record> =
            heard.records.iter().filter(|r| self.only.is_none_or(|only| only == r.status)).collect();
        table_ui(ui, &shown);
    }
}

fn table_ui(ui: &mut Ui, records: &[&Record]) {
    let table = TableBuilder::new(ui)
        .striped(true)
        .cell_layout(egui::Layout::left_to_right(egui::Align::Center))
        .column(Column::exact(92.0))
        .column(Column::initial(180.0).clip(true).resizable(true).at_least(60.0))
        .column(Column::initial(190.0).clip(true).resizable(true).at_least(60.0))
        .column(Column::remainder().clip(true).at_least(60.0))
        .min_scrolled_height(40.0)
        .auto_shrink(false);
    table
        .header(20.0, |mut row| {
            for name in ["Status", "Original", "Written as", "To know"] {
                row.col(|ui| {
                    ui.label(RichText::new(name).small().strong());
                });
            }
        })
        .body(|body| {
            body.rows(20.0, records.len(), |mut line| {
                let Some(record) = records.get(line.index()) else { return };
                line.col(|ui| {
                    let text = RichText::new(words(record.status)).color(colour(ui, record.status));
                    cell(ui, text, "");
                });
                let (name, whole) = file(&record.input);
                line.col(|ui| cell(ui, RichText::new(name), &whole));
                let (name, whole) = record.output.as_deref().map(file).unwrap_or_default();
                line.col(|ui| cell(ui, RichText::new(name), &whole));
                let (short, long) = to_know(record);
                line.col(|ui| cell(ui, RichText::new(short), &long));
            });
        });
}

/// A file's name and whole path.
fn file(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    (name, path.display().to_string())
}

/// What there is to know about a file, on one line and in full.
fn to_know(record: &Record) -> (String, String) {
    let mut all: Vec<String> = record.error.iter().map(|e| e.message.clone()).collect();
    all.extend(record.findings.iter().map(|f| format!("{} {}: {}", f.path, f.keyword, f.what)));
    if record.pixels == Some(Pixels::NotCheckedAtRisk) {
        all.push("pixels often show names and were not checked".to_owned());
    }
    let short = match all.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (+{} more)", rest.len()),
    };
    (short, all.join("\n"))
}

fn words(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::NeedsReview => "needs review",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
        Status::Planned => "planned",
    }
}

fn colour(ui: &Ui, status: Status) -> Color32 {
    let visuals = ui.visuals();
    match status {
        Status::Done | Status::Planned => visuals.hyperlink_color,
        Status::NeedsReview => visuals.warn_fg_color,
        Status::Failed => visuals.error_fg_color,
        Status::Skipped => visuals.weak_text_color(),
    }
}
