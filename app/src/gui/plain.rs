//! The form about a network that was exported elsewhere: a few questions, filled in as far as the file and descriptions
//! beside it say.

use std::path::{Path, PathBuf};

use eframe::egui::{self, Context, RichText, Ui};
use models::plain::import::Look;
use models::plain::{Answers, Kind};
use models::restorer::Restoration;

use super::App;
use super::theme::WARNING;
use super::work::Product;
use crate::packs::{Import, ONNX};

/// The form.
#[derive(Debug)]
pub(super) struct Form {
    import: Import,
    answers: Answers,
    /// What the file says, with the answers it was looked at with.
    look: Option<(Answers, Result<Look, String>)>,
    /// The answers of the look under way.
    asked: Option<Answers>,
}

/// A network that was looked at.
#[derive(Debug)]
pub struct Looked {
    path: PathBuf,
    answers: Answers,
    look: Result<Look, String>,
}

/// A question of the form: the option it stands for, its name, and answers to choose from.
struct Question {
    option: &'static str,
    name: &'static str,
    choices: &'static [&'static str],
}

const AXES: Question =
    Question { option: "axes", name: "Axes grow towards", choices: &["SAR", "RAS", "SPL", "stored"] };
const SPACING: Question =
    Question { option: "spacing", name: "Voxel size (mm)", choices: &["native", "1,1,1"] };
const VALUES: Question = Question {
    option: "intensity",
    name: "Values",
    choices: &[
        "zscore",
        "zscore:nonzero",
        "minmax",
        "percentile:0.5,99.5",
        "linear:0,255",
        "imagenet",
        "none",
    ],
};
const RANGE: Question = Question {
    option: "intensity",
    name: "Black and white",
    choices: &["range:0,1", "range:0,255", "range:-1,1"],
};
const CLASSES: Question = Question { option: "classes", name: "Classes", choices: &[] };
const FIT: Question = Question {
    option: "fit",
    name: "Fitted by",
    choices: &["stretch", "pad", "crop", "crop:0.875", "whole"],
};
const BOXES: Question = Question {
    option: "boxes",
    name: "Boxes written as",
    choices: &["yolo", "yolo-objectness", "rows", "torchvision", "detr"],
};
/// Asked only where the graph leaves them open.
const SELDOM: [Question; 4] = [
    Question { option: "layout", name: "Axes of the input", choices: &["NCDHW", "NCHW", "NHWC"] },
    Question {
        option: "patch",
        name: "Size seen at a time",
        choices: &["96,96,96", "128,128,128", "256,256", "512,512"],
    },
    Question { option: "channels", name: "Channels", choices: &["colours"] },
    Question { option: "values", name: "Output holds", choices: &["logits", "probabilities"] },
];

fn questions(kind: Kind) -> &'static [Question] {
    match kind {
        Kind::Segmentation => &[AXES, SPACING, VALUES, CLASSES],
        Kind::Restoration => &[RANGE],
        Kind::Classification => &[AXES, VALUES, FIT, CLASSES],
        Kind::Detection => &[AXES, VALUES, CLASSES, BOXES, FIT],
    }
}

/// The field of an option.
fn field<'a>(answers: &'a mut Answers, option: &str) -> Option<&'a mut Option<String>> {
    Some(match option {
        "axes" => &mut answers.axes,
        "spacing" => &mut answers.spacing,
        "intensity" => &mut answers.intensity,
        "classes" => &mut answers.classes,
        "fit" => &mut answers.fit,
        "boxes" => &mut answers.boxes,
        "layout" => &mut answers.layout,
        "patch" => &mut answers.patch,
        "channels" => &mut answers.channels,
        "values" => &mut answers.values,
        _ => return None,
    })
}

impl App {
    /// Opens the form for a file.
    pub(super) fn ask_about_network(&mut self, ctx: &Context, path: &Path) {
        let import = Import { out: Some(self.packs_folder()), ..Import::of(path.to_owned(), ONNX) };
        self.shown.network = Some(Form { import, answers: Answers::default(), look: None, asked: None });
        self.look_at_network(ctx);
    }

    /// Looks at the file again when the answers have changed; one look at a time.
    fn look_at_network(&mut self, ctx: &Context) {
        let Some(form) = &mut self.shown.network else { return };
        let is_known = form.look.as_ref().is_some_and(|(answers, _)| *answers == form.answers);
        if is_known || form.asked.is_some() {
            return;
        }
        let (path, answers) = (form.import.checkpoint.clone(), form.answers.clone());
        form.asked = Some(answers.clone());
        self.start_job(ctx, "Looking at the network", move |_| {
            let look =
                models::plain::import::look(&path, &answers).map_err(|e| crate::failure::describe(&e.into()));
            Ok(Product::Looked(Box::new(Looked { path, answers, look })))
        });
    }

    pub(super) fn looked_at_network(&mut self, looked: Looked) {
        let Some(form) = &mut self.shown.network else { return };
        if form.import.checkpoint != looked.path {
            return;
        }
        form.asked = None;
        if let (None, Ok(look)) = (form.answers.kind, &looked.look) {
            // What it seems to do becomes an answer, which the user sees and may change.
            form.answers.kind = Some(look.kind);
            let answers = Answers { kind: Some(look.kind), ..looked.answers };
            form.look = Some((answers, looked.look));
        } else {
            form.look = Some((looked.answers, looked.look));
        }
    }

    /// The questions about a network.
    pub(super) fn network_ui(&mut self, ctx: &Context) {
        let Some(form) = &mut self.shown.network else { return };
        let (mut goes, mut looks) = (false, false);
        let modal = egui::Modal::new(egui::Id::unique("network")).show(ctx, |ui| {
            ui.set_width(500.0);
            ui.heading("Bring your own network");
            ui.add(egui::Label::new(form.import.checkpoint.display().to_string()).truncate());
            ui.weak("An ONNX file says how it computes, but not what its numbers mean. What is filled in grey was read from it.");
            ui.add_space(6.0);
            looks = form.questions_ui(ui);
            ui.add_space(8.0);
            let is_ready = form.is_ready();
            ui.horizontal(|ui| {
                goes = ui.add_enabled(is_ready, egui::Button::new("Import")).clicked();
                if ui.button("Not now").clicked() {
                    ui.close();
                }
            });
        });
        if goes && let Some(form) = self.shown.network.take() {
            let import = Import { plain: Some(form.answers), ..form.import };
            let name = import.checkpoint.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.start_job(ctx, format!("Importing {name}"), move |task| {
                Ok(Product::PackInstalled(Box::new(crate::packs::import_plain(&import, task)?.0)))
            });
        } else if modal.should_close() {
            self.shown.network = None;
        } else if looks {
            self.look_at_network(ctx);
        }
    }
}

impl Form {
    /// Whether nothing is missing for the answers as they stand.
    fn is_ready(&self) -> bool {
        self.look.as_ref().is_some_and(|(answers, look)| {
            *answers == self.answers && look.as_ref().is_ok_and(|l| l.missing.is_empty())
        })
    }

    /// Draws the questions; whether the file is to be looked at again.
    fn questions_ui(&mut self, ui: &mut Ui) -> bool {
        let mut changed = false;
        ui.horizontal_wrapped(|ui| {
            ui.label("It does");
            for kind in Kind::ALL {
                changed |= ui.selectable_value(&mut self.answers.kind, Some(kind), kind.word()).changed();
            }
        });
        let kind = self.answers.kind.unwrap_or_default();
        if kind == Kind::Restoration {
            ui.horizontal_wrapped(|ui| {
                ui.label("Trained for");
                for task in Restoration::ALL {
                    changed |= ui.selectable_value(&mut self.answers.task, Some(task), task.word()).changed();
                }
            });
        }
        let look = self.look.as_ref().and_then(|(_, look)| look.as_ref().ok());
        let known = |option: &str| {
            let reading = look?.readings.iter().find(|r| r.what == option)?;
            Some(format!("{} ({})", reading.value, reading.from))
        };
        let wanted =
            |option: &str| look.and_then(|l| Some(&l.missing.iter().find(|m| m.option == option)?.question));
        egui::Grid::new("questions").num_columns(2).spacing([10.0, 6.0]).show(ui, |ui| {
            let is_open = |q: &&Question| {
                wanted(q.option).is_some()
                    || field(&mut self.answers.clone(), q.option).is_some_and(|f| f.is_some())
            };
            let seldom: Vec<&Question> = SELDOM.iter().filter(is_open).collect();
            for q in questions(kind).iter().chain(seldom) {
                let Some(answer) = field(&mut self.answers, q.option) else { continue };
                let label = ui.label(q.name);
                let mut text = answer.clone().unwrap_or_default();
                ui.horizontal(|ui| {
                    let hint = known(q.option).unwrap_or_else(|| "not said by the file".to_owned());
                    let edit = egui::TextEdit::singleline(&mut text).hint_text(hint).desired_width(300.0);
                    let response = ui.add(edit).labelled_by(label.id);
                    if response.changed() {
                        *answer = (!text.trim().is_empty()).then(|| text.clone());
                    }
                    changed |= response.lost_focus();
                    if !q.choices.is_empty() {
                        ui.menu_button("…", |ui| {
                            for choice in q.choices {
                                if ui.button(*choice).clicked() {
                                    *answer = Some((*choice).to_owned());
                                    changed = true;
                                }
                            }
                        })
                        .response
                        .on_hover_text(format!("Choices for {}", q.name));
                    }
                });
                ui.end_row();
                if let Some(question) = wanted(q.option).filter(|_| answer.is_none()) {
                    ui.label("");
                    ui.add(egui::Label::new(RichText::new(question.as_str()).small()).wrap());
                    ui.end_row();
                }
            }
            let label = ui.label("Identifier");
            let mut id = self.import.id.clone().unwrap_or_else(|| self.import.default_id());
            if ui.text_edit_singleline(&mut id).labelled_by(label.id).changed() {
                self.import.id = Some(id);
            }
            ui.end_row();
        });
        ui.checkbox(&mut self.import.overwrite, "Replace a pack of the same identifier");
        self.verdict_ui(ui);
        changed
    }

    /// What the file was described by, and what is wrong or still open.
    fn verdict_ui(&self, ui: &mut Ui) {
        match &self.look {
            None => drop(ui.weak("Looking at the file…")),
            Some((_, Err(error))) => drop(ui.label(RichText::new(error).color(WARNING))),
            Some((_, Ok(look))) => {
                for file in &look.described_by {
                    ui.weak(format!("Described by {}", file.display()));
                }
                for remark in &look.remarks {
                    ui.weak(format!("Not used: {remark}"));
                }
                let others = ["layout", "output layout", "output", "patch", "channels", "values"];
                let read = look.readings.iter().filter(|r| others.contains(&r.what));
                let read: Vec<String> = read.map(|r| format!("{} {}", r.what, r.value)).collect();
                if !read.is_empty() {
                    ui.weak(format!("Read: {}", read.join(" · ")));
                }
                let open = look.missing.len();
                if open > 0 {
                    let s = if open == 1 { "" } else { "s" };
                    ui.label(RichText::new(format!("{open} question{s} open")).color(WARNING));
                }
            }
        }
    }
}
