//! What is asked for: files, options of the profile, and where results go.

use std::path::PathBuf;

use eframe::egui::{self, ProgressBar, RichText, TextEdit, Ui};
use formats::dicom::deid::{Dates, Options};

use super::Action;
use crate::deid::{self, Deid};
use crate::gui::dialogs::DeidPath;
use crate::jobs::Progress;

/// The names of the places, and the buttons beside them.
const LABEL_WIDTH: f32 = 96.0;
const BUTTON_WIDTH: f32 = 96.0;
/// Three places, the buttons, and what is between them.
pub const PLACES_HEIGHT: f32 = 132.0;

/// The answers so far.
#[derive(Debug, Default)]
pub struct Form {
    /// Files and folders.
    pub inputs: Vec<PathBuf>,
    /// Grows with every change of the inputs.
    pub serial: u64,
    /// What the inputs are, for people.
    source: String,
    /// The folder for results.
    pub output: String,
    /// The map; empty for none.
    pub map: String,
    /// The key; empty for none.
    pub key_file: String,
    options: Options,
    patient_id: String,
    overwrite: bool,
}

/// A checkbox: the option, its name, and what it means.
type Choice = (fn(&mut Options) -> &mut bool, &'static str, &'static str);

const KEPT: &[Choice] = &[
    (
        |o| &mut o.retain_patient,
        "Sex, age, size and weight",
        "Patient characteristics (PS3.15 E.3.7); allergies and states are cleaned",
    ),
    (
        |o| &mut o.retain_device,
        "Device identity",
        "Serial numbers, station names and the like (E.3.8); descriptions are cleaned",
    ),
    (|o| &mut o.retain_institution, "Institution", "Names and addresses of institutions (E.3.11)"),
    (|o| &mut o.retain_uids, "UIDs", "Otherwise each is replaced, everywhere by the same one (E.3.9)"),
    (
        |o| &mut o.retain_safe_private,
        "Safe private attributes",
        "Those known to be safe: b-values, gradient directions, scale factors (E.3.10)",
    ),
];

const CLEANED: &[Choice] = &[
    (
        |o| &mut o.clean_descriptors,
        "Descriptions",
        "Known words of anatomy and technique stay, everything else goes (E.3.5)",
    ),
    (
        |o| &mut o.clean_structured,
        "Structured reports",
        "They stay, with known words only in their texts (E.3.4)",
    ),
    (
        |o| &mut o.clean_graphics,
        "Overlays and annotations",
        "Overlays of regions stay, and annotations without their texts (E.3.3)",
    ),
];

impl Form {
    /// Takes these files and folders.
    pub fn take(&mut self, inputs: Vec<PathBuf>, source: String) {
        if self.inputs != inputs {
            self.inputs = inputs;
            self.serial += 1;
        }
        self.source = source;
    }

    /// The options of the profile.
    pub fn options(&self) -> Options {
        let id = self.patient_id.trim();
        Options { patient_id: (!id.is_empty()).then(|| id.to_owned()), ..self.options.clone() }
    }

    /// The key of the preview: the file that a run would read.
    pub fn key(&self) -> Option<PathBuf> {
        deid::key_place(path(&self.key_file).as_deref(), path(&self.map).as_deref())
    }

    /// The work.
    pub fn request(&self) -> Deid {
        Deid {
            pixels: None,
            inputs: self.inputs.clone(),
            output: PathBuf::from(self.output.trim()),
            options: self.options(),
            key_file: path(&self.key_file),
            map: path(&self.map),
            overwrite: self.overwrite,
            dry_run: false,
        }
    }

    /// Files and options.
    pub fn options_ui(&mut self, ui: &mut Ui, has_layer: bool, action: &mut Option<Action>) {
        ui.label(RichText::new("Files").strong());
        let source = if self.source.is_empty() { "None chosen yet" } else { &self.source };
        ui.add(egui::Label::new(RichText::new(source).weak()).truncate()).on_hover_text(source);
        ui.horizontal(|ui| {
            let layer = ui.add_enabled(has_layer, egui::Button::new("Series shown"));
            let layer = layer.on_disabled_hover_text("The active image is not from DICOM");
            if layer.on_hover_text("The files of the active image").clicked() {
                *action = Some(Action::TakeLayer);
            }
            for (what, name) in [(DeidPath::Files, "Files…"), (DeidPath::Folder, "Folder…")] {
                if ui.button(name).clicked() {
                    *action = Some(Action::Choose(what));
                }
            }
        });
        ui.add_space(6.0);
        ui.label(RichText::new("Dates and times").strong());
        for (dates, name, help) in [
            (Dates::Remove, "Remove", "As the Basic Profile asks"),
            (
                Dates::Shift,
                "Shift by a secret number of days",
                "One number for each patient: intervals, times of day and ages stay",
            ),
            (Dates::Keep, "Keep dates", "They may identify together with other knowledge"),
        ] {
            ui.radio_value(&mut self.options.dates, dates, name).on_hover_text(help);
        }
        ui.add_space(6.0);
        ui.label(RichText::new("Keep").strong());
        choices_ui(ui, KEPT, &mut self.options);
        ui.add_space(6.0);
        ui.label(RichText::new("Clean instead of removing").strong());
        choices_ui(ui, CLEANED, &mut self.options);
        ui.add_space(6.0);
        ui.label(RichText::new("Patient’s identifier").strong());
        let edit = TextEdit::singleline(&mut self.patient_id).hint_text("A pseudonym for each patient");
        let edit = ui.add(edit.desired_width(f32::INFINITY));
        named(&edit, egui::Role::TextInput, "Identifier for the only patient");
        edit.on_hover_text("For the files of one patient only");
        ui.add_space(6.0);
        ui.weak(
            "Everything else goes or is replaced as the Basic Application Level Confidentiality Profile asks. Pixels are \
             copied as they are: names burned into pictures stay.",
        );
    }

    /// Where results go, and the buttons.
    pub fn places_ui(
        &mut self,
        ui: &mut Ui,
        is_running: bool,
        progress: Option<&(Progress, bool)>,
        action: &mut Option<Action>,
    ) {
        ui.separator();
        let key_hint = if self.map.trim().is_empty() {
            "None: the key is thrown away, and a later run gives other replacements"
        } else {
            "Beside the map"
        };
        let rows: [(&str, &str, &mut String, &str, DeidPath); 3] = [
            (
                "Output folder",
                "Path of the output folder",
                &mut self.output,
                "A new or empty folder",
                DeidPath::Output,
            ),
            (
                "Way back",
                "Path of the map",
                &mut self.map,
                "None: what stood for what is forgotten. A map names the patients; keep it secret",
                DeidPath::Map,
            ),
            ("Key", "Path of the key file", &mut self.key_file, key_hint, DeidPath::Key),
        ];
        for (label, name, text, hint, what) in rows {
            ui.horizontal(|ui| {
                let left = egui::Layout::left_to_right(egui::Align::Center);
                ui.allocate_ui_with_layout(egui::vec2(LABEL_WIDTH, 24.0), left, |ui| {
                    ui.set_min_width(LABEL_WIDTH);
                    ui.label(label);
                });
                let width = (ui.available_width() - BUTTON_WIDTH).max(60.0);
                let edit = ui.add(TextEdit::singleline(text).hint_text(hint).desired_width(width));
                named(&edit, egui::Role::TextInput, name);
                let button = ui.button("Choose…");
                named(&button, egui::Role::Button, &format!("Choose: {label}"));
                if button.clicked() {
                    *action = Some(Action::Choose(what));
                }
            });
        }
        ui.horizontal(|ui| {
            if is_running {
                let (fraction, is_stopping) = progress.map_or((0.0, false), |(p, c)| (p.fraction, *c));
                let stop = egui::Button::new(if is_stopping { "Stopping…" } else { "Stop" });
                if ui.add_enabled(!is_stopping, stop).clicked() {
                    *action = Some(Action::Cancel);
                }
                ui.add(ProgressBar::new(fraction).desired_width(220.0).desired_height(12.0));
                if let Some(left) = progress.and_then(|(p, _)| p.remaining()) {
                    ui.weak(format!("{:.0} s left", left.as_secs_f32().ceil()));
                }
            } else {
                let is_ready = !self.inputs.is_empty() && !self.output.trim().is_empty();
                let run = egui::Button::new(RichText::new("De-identify").strong());
                let run = ui.add_enabled(is_ready, run);
                if run.on_disabled_hover_text("Choose files and an output folder").clicked() {
                    *action = Some(Action::Run);
                }
                ui.checkbox(&mut self.overwrite, "Add to a folder that has content")
                    .on_hover_text("Files of the same name are replaced");
            }
        });
    }
}

fn choices_ui(ui: &mut Ui, choices: &[Choice], options: &mut Options) {
    for (option, name, help) in choices {
        ui.checkbox(option(options), *name).on_hover_text(*help);
    }
}

/// Gives a control the name by which assistive programs know it.
fn named(response: &egui::Response, role: egui::Role, name: &str) {
    response.widget_info(|| egui::WidgetInfo::labeled(role, response.enabled(), name));
}

/// A path that was typed or chosen; none when empty.
fn path(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    (!text.is_empty()).then(|| PathBuf::from(text))
}
