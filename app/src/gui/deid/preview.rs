//! What would be done with each element of one file, with its value before and after.

use std::path::PathBuf;

use eframe::egui::{self, Color32, Label, RichText, TextEdit, Ui};
use egui_extras::{Column, TableBuilder};
use formats::dicom::deid::{Action, Pixels, Row};

use super::form::Form;
use super::work::{Ask, Shown};
use crate::jobs::JobId;

/// Every action, in the order of the buttons.
const ACTIONS: [Action; 9] = [
    Action::Remove,
    Action::Empty,
    Action::Dummy,
    Action::Pseudonym,
    Action::NewUid,
    Action::Shift,
    Action::Clean,
    Action::Add,
    Action::Keep,
];

/// The page.
#[derive(Debug, Default)]
pub struct Page {
    /// Which of the files.
    pub at: usize,
    /// What was asked for last.
    pub asked: Option<Ask>,
    /// The job that answers.
    pub job: Option<JobId>,
    made: Option<(Ask, Result<Shown, String>)>,
    query: Query,
    /// Rows that answer the query, and how many there are of each action.
    found: Option<(Query, Found)>,
}

/// Which rows are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Query {
    search: String,
    action: Option<Action>,
}

#[derive(Debug)]
struct Found {
    rows: Vec<usize>,
    counts: [usize; ACTIONS.len()],
}

impl Query {
    fn find(&self, rows: &[Row]) -> Found {
        let text = self.search.trim().to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let mut found = Found { rows: Vec::new(), counts: [0; ACTIONS.len()] };
        for (n, row) in rows.iter().enumerate() {
            let values =
                [&row.path, &row.keyword, &row.old, row.new.as_ref().unwrap_or(&row.old), &row.reason];
            if !text.is_empty() && !values.iter().any(|v| has(v)) {
                continue;
            }
            if let Some(count) =
                ACTIONS.iter().position(|a| *a == row.action).and_then(|n| found.counts.get_mut(n))
            {
                *count += 1;
            }
            if self.action.is_none_or(|a| a == row.action) {
                found.rows.push(n);
            }
        }
        found
    }
}

impl Page {
    /// The elements of the file, when it was read.
    pub fn rows(&self) -> Option<&[Row]> {
        self.made.as_ref().and_then(|(_, found)| Some(&found.as_ref().ok()?.preview.rows[..]))
    }

    /// What should be asked for, unless it was.
    pub fn wanted(&self, files: &[PathBuf], form: &Form) -> Option<Ask> {
        let file = files.get(self.at.min(files.len().checked_sub(1)?))?.clone();
        let ask = Ask { file, options: form.options(), key_file: form.key() };
        (self.asked.as_ref() != Some(&ask)).then_some(ask)
    }

    /// The answer.
    pub fn accept(&mut self, ask: Ask, found: Result<Shown, String>) {
        self.made = Some((ask, found));
        self.found = None;
    }

    /// The page.
    pub fn preview_ui(&mut self, ui: &mut Ui, files: &[PathBuf], is_reading: bool) {
        self.file_ui(ui, files, is_reading);
        let Some((ask, found)) = &self.made else { return };
        let Shown { preview, is_example } = match found {
            Ok(shown) => shown,
            Err(error) => {
                ui.label(RichText::new(error).color(ui.visuals().error_fg_color));
                return;
            }
        };
        if preview.pixels == Pixels::NotCheckedAtRisk {
            let text = "Pictures of this kind often show names. Pixels are copied as they are: look at them.";
            ui.label(RichText::new(text).color(ui.visuals().warn_fg_color));
        }
        if *is_example && !ask.options.retain_uids {
            let text = "Replacements are examples: a run without an existing key makes its own.";
            ui.add(Label::new(RichText::new(text).weak()).truncate());
        }
        let is_known = self.found.as_ref().is_some_and(|(query, _)| *query == self.query);
        if !is_known {
            self.found = Some((self.query.clone(), self.query.find(&preview.rows)));
        }
        let Some((_, found)) = &self.found else { return };
        self.query.query_ui(ui, found);
        table_ui(ui, &preview.rows, &found.rows);
    }

    /// Steps through the files, and says when the rows are not (yet) those of what was chosen.
    fn file_ui(&mut self, ui: &mut Ui, files: &[PathBuf], is_reading: bool) {
        self.at = self.at.min(files.len().saturating_sub(1));
        ui.horizontal(|ui| {
            if files.len() > 1 {
                if ui.add_enabled(self.at > 0, egui::Button::new("Previous file")).clicked() {
                    self.at -= 1;
                }
                if ui.add_enabled(self.at + 1 < files.len(), egui::Button::new("Next file")).clicked() {
                    self.at += 1;
                }
                let mut number = self.at + 1;
                let drag = ui.add(egui::DragValue::new(&mut number).range(1..=files.len()));
                drag.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::Role::SpinButton, true, "Number of the file")
                });
                self.at = number - 1;
                ui.weak(format!("of {}", files.len()));
            }
            let is_current =
                self.asked.is_some() && self.asked.as_ref() == self.made.as_ref().map(|(ask, _)| ask);
            if !is_current && is_reading {
                ui.weak("Reading…");
            } else if !is_current && ui.button("Read again").on_hover_text("Reading was stopped").clicked() {
                self.asked = None;
            }
            if let Some(file) = files.get(self.at) {
                let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
                ui.add(Label::new(name).truncate()).on_hover_text(file.display().to_string());
            }
        });
    }
}

impl Query {
    fn query_ui(&mut self, ui: &mut Ui, found: &Found) {
        let line = egui::ScrollArea::horizontal().id_salt("actions");
        line.show(ui, |ui| ui.horizontal(|ui| self.line_ui(ui, found)));
    }

    fn line_ui(&mut self, ui: &mut Ui, found: &Found) {
        ui.spacing_mut().item_spacing.x = 4.0;
        let edit = ui.add(TextEdit::singleline(&mut self.search).hint_text("Search").desired_width(130.0));
        edit.widget_info(|| egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Search elements"));
        let all = found.counts.iter().sum::<usize>();
        if ui.selectable_label(self.action.is_none(), format!("All {all}")).clicked() {
            self.action = None;
        }
        for (action, count) in ACTIONS.into_iter().zip(found.counts) {
            let is_on = self.action == Some(action);
            if count == 0 && !is_on {
                continue;
            }
            let button = ui.selectable_label(is_on, format!("{} {count}", words(action)));
            if button.on_hover_text(help(action)).clicked() {
                self.action = if is_on { None } else { Some(action) };
            }
        }
    }
}

/// The table; only rows on the screen are laid out.
fn table_ui(ui: &mut Ui, rows: &[Row], found: &[usize]) {
    let table = TableBuilder::new(ui)
        .striped(true)
        .cell_layout(egui::Layout::left_to_right(egui::Align::Center))
        .column(Column::initial(92.0).clip(true).resizable(true).at_least(60.0))
        .column(Column::initial(186.0).clip(true).resizable(true).at_least(60.0))
        .column(Column::exact(26.0))
        .column(Column::initial(180.0).clip(true).resizable(true).at_least(60.0))
        .column(Column::exact(76.0))
        .column(Column::remainder().clip(true).at_least(60.0))
        .min_scrolled_height(40.0)
        .auto_shrink(false);
    table
        .header(20.0, |mut row| {
            for name in ["Tag", "Name", "VR", "Before", "Action", "After"] {
                row.col(|ui| {
                    ui.label(RichText::new(name).small().strong());
                });
            }
        })
        .body(|body| {
            body.rows(20.0, found.len(), |mut line| {
                let Some(row) = found.get(line.index()).and_then(|n| rows.get(*n)) else { return };
                line.col(|ui| cell(ui, RichText::new(&row.path).monospace().size(11.5), &row.path));
                line.col(|ui| cell(ui, RichText::new(&row.keyword), &row.keyword));
                line.col(|ui| cell(ui, RichText::new(&row.vr).weak(), ""));
                line.col(|ui| cell(ui, RichText::new(&row.old), &row.old));
                line.col(|ui| {
                    let text = RichText::new(words(row.action)).color(colour(ui, row.action));
                    cell(ui, text, &row.reason);
                });
                let new = row.new.as_deref().unwrap_or_default();
                line.col(|ui| cell(ui, RichText::new(new), new));
            });
        });
}

/// A text on one line; what does not fit is shown under the pointer.
pub(super) fn cell(ui: &mut Ui, text: RichText, whole: &str) {
    let label = ui.add(Label::new(text).truncate());
    if !whole.is_empty() {
        label.on_hover_text(whole);
    }
}

fn words(action: Action) -> &'static str {
    match action {
        Action::Keep => "kept",
        Action::Remove => "removed",
        Action::Empty => "emptied",
        Action::Dummy => "replaced",
        Action::Pseudonym => "pseudonym",
        Action::NewUid => "new UID",
        Action::Shift => "shifted",
        Action::Clean => "cleaned",
        Action::Add => "added",
    }
}

fn help(action: Action) -> &'static str {
    match action {
        Action::Keep => "Stays as it is",
        Action::Remove => "Goes",
        Action::Empty => "Stays without a value",
        Action::Dummy => "Gets a value that says nothing",
        Action::Pseudonym => "Gets the patient’s pseudonym",
        Action::NewUid => "Gets another UID, everywhere the same",
        Action::Shift => "Is shifted by the patient’s number of days",
        Action::Clean => "Loses what identifies",
        Action::Add => "Was not there before",
    }
}

/// What stays is quiet, what goes stands out, what is replaced has the colour of what the program does.
fn colour(ui: &Ui, action: Action) -> Color32 {
    let visuals = ui.visuals();
    match action {
        Action::Keep => visuals.weak_text_color(),
        Action::Remove | Action::Empty => visuals.warn_fg_color,
        _ => visuals.hyperlink_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(keyword: &str, action: Action, old: &str) -> Row {
        Row {
            path: "(0010,0010)".to_owned(),
            tag: "(0010,0010)".to_owned(),
            keyword: keyword.to_owned(),
            vr: "PN".to_owned(),
            action,
            old: old.to_owned(),
            new: None,
            reason: String::new(),
        }
    }

    #[test]
    fn rows_are_found_by_text_and_action_and_counted_by_text_alone() {
        let rows = [
            row("PatientName", Action::Pseudonym, "Doe^Jane"),
            row("Modality", Action::Keep, "MR"),
            row("InstitutionName", Action::Remove, "Doe Clinic"),
        ];
        let query = Query { search: " doe".to_owned(), action: Some(Action::Remove) };
        let found = query.find(&rows);
        assert_eq!(found.rows, [2]);
        assert_eq!(found.counts.iter().sum::<usize>(), 2);
        assert_eq!(Query::default().find(&rows).rows, [0, 1, 2]);
    }
}
