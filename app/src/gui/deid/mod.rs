//! De-identifying DICOM files in the window: which files, the options of the profile, what would be done with each
//! element of one of them, and what became of each. The work itself is that of `insula deid`.
//!
//! Old values are shown here and nowhere else: they are in no report, no log and no file.

mod form;
mod outcome;
mod preview;
pub mod work;

use std::path::PathBuf;

use eframe::egui::{self, Context, Panel as Side, RichText, ScrollArea, Ui, vec2};

use super::App;
use super::dialogs::{Ask, DeidPath, Purpose};
use super::work::Product;
use crate::jobs::JobId;

/// The whole of it: as much as the screen has, and no more than a table needs.
const LARGEST: egui::Vec2 = vec2(1160.0, 700.0);
/// The column of options.
const OPTIONS_WIDTH: f32 = 292.0;

/// What is on the screen, and what runs.
#[derive(Debug, Default)]
pub(super) struct Panel {
    is_open: bool,
    form: form::Form,
    page: Page,
    list: List,
    preview: preview::Page,
    run: Option<outcome::Run>,
}

/// What the large part shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    #[default]
    Preview,
    Outcome,
}

/// The files that the inputs stand for.
#[derive(Debug, Default)]
struct List {
    /// The inputs that were looked into last, by [`form::Form::serial`].
    asked: Option<u64>,
    job: Option<JobId>,
    /// Files, or why there are none; none while they are looked for.
    files: Option<Result<Vec<PathBuf>, String>>,
}

/// What the user asks for.
enum Action {
    TakeLayer,
    Choose(DeidPath),
    LookAgain,
    Run,
    Cancel,
}

impl App {
    /// Shows the window, with the files of the active layer where they are DICOM.
    pub(super) fn open_deid(&mut self) {
        self.deid.is_open = true;
        if !self.is_deid_running() {
            self.take_layer();
        }
    }

    /// What the preview shows: every element of one file, when it was read.
    #[must_use]
    pub fn deid_rows(&self) -> Option<&[formats::dicom::deid::Row]> {
        self.deid.preview.rows()
    }

    /// Whether files are being de-identified.
    #[must_use]
    pub fn is_deid_running(&self) -> bool {
        self.deid.run.as_ref().is_some_and(|run| self.is_running(run.job))
    }

    /// Takes the files that the active image was read from.
    fn take_layer(&mut self) {
        let image = self.document.active_image().and_then(|id| self.document.scene.layer(id));
        let Some((name, volume)) = image.and_then(|l| Some((l.name.clone(), l.image()?.volume()))) else {
            return;
        };
        let Some(origin) = &volume.meta.dicom else { return };
        let mut files: Vec<PathBuf> = origin.instances.iter().map(|i| i.path.clone()).collect();
        files.sort();
        files.dedup();
        if !files.is_empty() {
            let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
            self.deid.form.take(files, format!("The series shown: {name}, {count}"));
        }
    }

    /// What the user chose in a dialog.
    pub(super) fn deid_path(&mut self, what: DeidPath, paths: Vec<PathBuf>) {
        let form = &mut self.deid.form;
        let first = paths.first().map(|p| p.display().to_string()).unwrap_or_default();
        match what {
            DeidPath::Files | DeidPath::Folder => {
                let source = if paths.len() > 1 { format!("{} files", paths.len()) } else { first };
                form.take(paths, source);
            }
            DeidPath::Output => form.output = first,
            DeidPath::Map => form.map = first,
            DeidPath::Key => form.key_file = first,
        }
    }

    /// Starts what the form asks for and is not known yet.
    pub(super) fn tend_deid(&mut self, ctx: &Context) {
        if !self.deid.is_open || self.deid.form.inputs.is_empty() {
            return;
        }
        let serial = self.deid.form.serial;
        let is_listing = self.deid.list.job.is_some_and(|job| self.is_running(job));
        if self.deid.list.asked != Some(serial) && !is_listing {
            let inputs = self.deid.form.inputs.clone();
            let job = self.start_job(ctx, "Looking for DICOM files", move |task| {
                Ok(made(work::list(serial, &inputs, task)?))
            });
            self.deid.list = List { asked: Some(serial), job: Some(job), files: None };
            return;
        }
        let Some(Ok(files)) = &self.deid.list.files else { return };
        let Some(ask) = self.deid.preview.wanted(files, &self.deid.form) else { return };
        if self.deid.preview.job.is_some_and(|job| self.is_running(job)) {
            return;
        }
        self.deid.preview.asked = Some(ask.clone());
        let job = self.start_job(ctx, "Reading a header", move |task| {
            task.check()?;
            Ok(made(work::preview(ask)))
        });
        self.deid.preview.job = Some(job);
    }

    /// What a job found out.
    pub(super) fn deid_made(&mut self, ctx: &Context, made: work::Made) {
        let panel = &mut self.deid;
        match made {
            // What was looked for before the user chose other files is dropped.
            work::Made::List(serial, files) if panel.list.asked == Some(serial) => {
                panel.list.files = Some(files);
                panel.preview.at = 0;
            }
            work::Made::List(..) => {}
            work::Made::Preview(ask, found) => panel.preview.accept(ask, found),
            work::Made::Done(tally) => {
                if let Some(run) = &mut panel.run {
                    run.tally = Some(tally);
                }
                // A key may be there now that the preview did not have.
                panel.preview.asked = None;
                self.say(ctx, "De-identification is over");
            }
        }
    }

    /// The window.
    pub(super) fn deid_ui(&mut self, ctx: &Context) {
        if !self.deid.is_open {
            return;
        }
        let is_running = self.is_deid_running();
        let progress = self.deid.run.as_ref().and_then(|run| {
            let job = self.jobs.running().iter().find(|j| j.id == run.job)?;
            Some((job.progress(), job.is_cancelled()))
        });
        let has_layer = self.document.active_image().is_some_and(|id| {
            let layer = self.document.scene.layer(id).and_then(|l| l.image());
            layer.is_some_and(|i| i.volume().meta.dicom.is_some())
        });
        let is_listing = self.deid.list.job.is_some_and(|job| self.is_running(job));
        let is_reading = self.deid.preview.job.is_some_and(|job| self.is_running(job));
        let screen = ctx.content_rect();
        let size = LARGEST.min(screen.size() - vec2(40.0, 100.0)).max(vec2(480.0, 300.0));
        let panel = &mut self.deid;
        let mut is_open = true;
        let mut action = None;
        egui::Window::new("De-identify DICOM")
            .open(&mut is_open)
            .collapsible(false)
            .resizable(false)
            .default_pos(screen.center() - (size + vec2(16.0, 50.0)) / 2.0)
            .fixed_size(size)
            .show(ctx, |ui| {
                let bare = egui::Frame::NONE;
                Side::bottom("deid run").frame(bare).resizable(false).exact_size(form::PLACES_HEIGHT).show(
                    ui,
                    |ui| {
                        panel.form.places_ui(ui, is_running, progress.as_ref(), &mut action);
                    },
                );
                Side::left("deid options").frame(bare).resizable(false).exact_size(OPTIONS_WIDTH).show(
                    ui,
                    |ui| {
                        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                            panel.form.options_ui(ui, has_layer, &mut action);
                        });
                    },
                );
                let inside = egui::Frame::NONE.inner_margin(egui::Margin { left: 10, ..egui::Margin::ZERO });
                egui::CentralPanel::default().frame(inside).show(ui, |ui| {
                    panel.pages_ui(ui, is_listing, is_reading, &mut action);
                });
            });
        self.deid.is_open = is_open;
        if is_running {
            ctx.request_repaint_after(std::time::Duration::from_millis(200));
        }
        match action {
            None => {}
            Some(Action::TakeLayer) => self.take_layer(),
            Some(Action::LookAgain) => self.deid.list.asked = None,
            Some(Action::Choose(what)) => self.ask_for_deid_path(ctx, what),
            Some(Action::Run) => self.run_deid(ctx),
            Some(Action::Cancel) => {
                if let Some(run) = &self.deid.run {
                    self.jobs.cancel(run.job);
                }
            }
        }
    }

    fn run_deid(&mut self, ctx: &Context) {
        let request = self.deid.form.request();
        let told = outcome::Told::default();
        let ears = told.clone();
        let job = self.start_job(ctx, "De-identifying", move |task| {
            Ok(made(work::Made::Done(crate::deid::run(&request, &ears, task)?)))
        });
        self.deid.run = Some(outcome::Run::new(job, told));
        self.deid.page = Page::Outcome;
    }

    fn ask_for_deid_path(&mut self, ctx: &Context, what: DeidPath) {
        let (title, name) = match what {
            DeidPath::Files => ("DICOM files to de-identify", ""),
            DeidPath::Folder => ("Folder with DICOM files", ""),
            DeidPath::Output => ("Folder for the de-identified files", ""),
            DeidPath::Map => ("Where the way back is kept", "map.json"),
            DeidPath::Key => ("Key file, new or of an earlier run", "deid.key"),
        };
        let ask = Ask {
            purpose: Purpose::Deid(what),
            title: title.to_owned(),
            name: name.to_owned(),
            folder: self.recent_folder(),
            filters: Vec::new(),
        };
        self.ask(ctx, ask);
    }
}

fn made(made: work::Made) -> Product {
    Product::Deid(Box::new(made))
}

impl Panel {
    fn pages_ui(&mut self, ui: &mut Ui, is_listing: bool, is_reading: bool, action: &mut Option<Action>) {
        ui.horizontal(|ui| {
            for (page, name) in [(Page::Preview, "Preview"), (Page::Outcome, "Outcome")] {
                ui.selectable_value(&mut self.page, page, name);
            }
            if self.page == Page::Preview {
                let text = "What would be done with one file. Nothing is written.";
                ui.add(egui::Label::new(RichText::new(text).weak()).truncate());
            }
        });
        ui.separator();
        if self.page == Page::Outcome {
            match &mut self.run {
                Some(run) => run.outcome_ui(ui),
                None => {
                    ui.weak("Nothing was de-identified yet.");
                }
            }
            return;
        }
        match &self.list.files {
            _ if self.form.inputs.is_empty() => {
                ui.weak("Choose files or a folder, or open a DICOM series first.");
            }
            None if is_listing => {
                ui.weak("Looking for DICOM files…");
            }
            None => {
                ui.horizontal(|ui| {
                    ui.weak("Looking for DICOM files was stopped.");
                    if ui.button("Look again").clicked() {
                        *action = Some(Action::LookAgain);
                    }
                });
            }
            Some(Err(error)) => {
                ui.label(RichText::new(error).color(ui.visuals().error_fg_color));
            }
            Some(Ok(files)) => self.preview.preview_ui(ui, files, is_reading),
        }
    }
}
