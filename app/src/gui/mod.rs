//! The window: panels and panes over a [`Document`]. One file per panel.
//!
//! `App::logic` takes in what other threads finished and carries out commands, also while the window is
//! hidden; `App::ui` draws what there is and notes what the user asks for. Nothing in a frame reads files,
//! computes on volumes or waits.

pub mod deid;
pub mod dialogs;
mod edit;
pub mod findings;
pub mod graphics;
mod help;
mod labels;
pub mod launch;
mod layers;
mod menu;
mod models;
mod open;
mod pace;
mod palette;
mod panes;
mod pictures;
pub mod plain;
pub mod prompt;
pub mod recovery;
pub mod restore;
mod run;
mod save;
mod series;
mod side;
mod status;
pub mod theme;
mod volume;
mod volume_thread;
mod welcome;
pub mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use eframe::egui::{self, Context};
use viewer::LayerId;
use viewer::window::Histogram;

use crate::commands::{self, Command};
use crate::document::{Document, Pane};
use crate::failure::describe;
use crate::jobs::{JobId, Jobs, News};
use crate::settings::Settings;
use dialogs::{Answer, Ask, Chooser};
use work::{Loaded, Product};

/// Something that went wrong, until the user has read it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What was being done.
    pub title: String,
    /// What was found, what was expected, what to do.
    pub text: String,
}

/// What the user has open in the window besides the document.
#[derive(Debug, Default)]
struct Shown {
    palette: Option<palette::Palette>,
    about: bool,
    settings: bool,
    card: Option<usize>,
    facts: Option<LayerId>,
    import: Option<crate::packs::Import>,
    network: Option<plain::Form>,
    tab: Tab,
    leaving: bool,
    /// A layer with unsaved changes that is to be closed.
    closing: Option<LayerId>,
}

/// The right panel's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Models,
    Labels,
    Restore,
    Find,
    Edit,
    Volume,
}

/// The window's state.
pub struct App {
    /// What is open.
    pub document: Document,
    /// The user's choices.
    pub settings: Settings,
    jobs: Jobs<Product>,
    /// Slices that stand for files which are still being read, by the job that reads.
    previews: HashMap<JobId, LayerId>,
    browser: series::Browser,
    deid: deid::Panel,
    problems: Vec<Problem>,
    message: Option<(String, f64)>,
    shown: Shown,
    chooser: Box<dyn Chooser>,
    home: PathBuf,
    answers: (Sender<Answer>, Receiver<Answer>),
    pictures: pictures::Pictures,
    histograms: HashMap<LayerId, Histogram>,
    packs: Vec<work::PackRow>,
    models: models::Panel,
    labels: labels::Panel,
    edit: edit::Editor,
    findings: Option<findings::Findings>,
    restore: restore::Panel,
    prompt: prompt::Panel,
    keeper: recovery::Keeper,
    loaded: Arc<Loaded>,
    show_crosshair: bool,
    hover: Option<[f64; 3]>,
    pane_under_pointer: Option<Pane>,
    /// The pane that the pointer was over last, and its place.
    last_pane: Option<(Pane, egui::Rect)>,
    playing: Option<f64>,
    is_settings_saved: bool,
    pending: Vec<Command>,
    /// Whether to leave once this many layers are shown.
    leaves_with: Option<usize>,
    frames_drawn: u64,
    graphics: graphics::Graphics,
    /// Where the window is.
    place: graphics::Place,
    waker: Waker,
    /// Set while frames are timed.
    pace: Option<pace::Pace>,
}

/// Asks the window for another frame, from any thread; jobs hold it, and it outlives the window.
#[derive(Clone, Debug)]
struct Waker(Arc<Mutex<Context>>);

impl Waker {
    fn wake(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).request_repaint();
    }

    /// From now on another window is woken.
    fn set(&self, ctx: &Context) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ctx.clone();
    }
}

/// How the window is started.
#[derive(Default)]
pub struct Start {
    /// Files to open.
    pub files: Vec<PathBuf>,
    /// The user's choices.
    pub settings: Settings,
    /// Who is asked for files; the desktop's dialogs when none.
    pub chooser: Option<Box<dyn Chooser>>,
    /// Whether choices are written back.
    pub keeps_settings: bool,
    /// Leave as soon as the first frame (with the files, when there are any) was shown: to time the start.
    pub leaves_at_once: bool,
    /// Scroll through slices, write the processor time of each frame to this file, and leave.
    pub paces_to: Option<PathBuf>,
    /// The program's folder, for the sample and the journal of edits; the user's when none.
    pub home: Option<PathBuf>,
}

impl App {
    /// Sets the window up and starts opening files.
    #[must_use]
    pub fn new(cc: &eframe::CreationContext<'_>, start: Start) -> Self {
        let ctx = &cc.egui_ctx;
        let mut document = Document::default();
        document.scene.convention = start.settings.convention;
        document.scene.interpolate = start.settings.interpolate;
        let mut app = Self {
            document,
            jobs: Jobs::default(),
            previews: HashMap::new(),
            browser: series::Browser::default(),
            deid: deid::Panel::default(),
            problems: Vec::new(),
            message: None,
            shown: Shown::default(),
            chooser: start.chooser.unwrap_or_else(|| Box::new(dialogs::Native)),
            home: start.home.unwrap_or_else(inference::runtime::user_folder),
            answers: dialogs::answers(),
            pictures: pictures::Pictures::new(cc.wgpu_render_state.as_ref()),
            histograms: HashMap::new(),
            packs: Vec::new(),
            models: models::Panel::default(),
            labels: labels::Panel::default(),
            edit: edit::Editor::default(),
            findings: None,
            restore: restore::Panel::default(),
            prompt: prompt::Panel::default(),
            keeper: recovery::Keeper::default(),
            loaded: Arc::new(Loaded::default()),
            show_crosshair: true,
            hover: None,
            pane_under_pointer: None,
            last_pane: None,
            playing: None,
            is_settings_saved: start.keeps_settings,
            pending: Vec::new(),
            leaves_with: start.leaves_at_once.then_some(start.files.len()),
            frames_drawn: 0,
            graphics: graphics::Graphics::new(ctx, cc.wgpu_render_state.as_ref()),
            place: graphics::Place::default(),
            waker: Waker(Arc::new(Mutex::new(ctx.clone()))),
            pace: start.paces_to.map(pace::Pace::new),
            settings: start.settings,
        };
        app.dress(ctx);
        app.look_for_packs(ctx);
        app.look_for_pending(ctx);
        app.open_paths(ctx, start.files);
        app
    }

    /// Gives a window its looks and manners.
    fn dress(&self, ctx: &Context) {
        theme::install(ctx);
        theme::choose(ctx, self.settings.theme);
        ctx.set_zoom_factor(self.settings.zoom);
        // Ctrl+Q goes through our own command, which asks about unsaved work.
        ctx.options_mut(|o| o.quit_shortcuts.clear());
    }

    /// Jobs under way that a user would call work.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.jobs.running().is_empty()
    }

    /// What went wrong and was not dismissed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether the 3-D picture shows what there is, in full quality.
    #[must_use]
    pub fn has_full_volume_picture(&self) -> bool {
        self.pictures.has_full_volume(&self.document.scene)
    }

    /// How the 3-D pane looks at the scene.
    #[must_use]
    pub fn volume_view(&self) -> &viewer::VolumeView {
        &self.pictures.volume_view
    }

    /// Frames drawn so far.
    #[must_use]
    pub fn frames_drawn(&self) -> u64 {
        self.frames_drawn
    }

    fn start_job(
        &mut self,
        _: &Context,
        title: impl Into<String>,
        work: impl FnOnce(&formats::Task) -> anyhow::Result<Product> + Send + 'static,
    ) -> JobId {
        let waker = self.waker.clone();
        self.jobs.start(title, move || waker.wake(), work)
    }

    /// Whether a job is under way.
    fn is_running(&self, job: JobId) -> bool {
        self.jobs.running().iter().any(|j| j.id == job)
    }

    /// Where the user's packs are.
    fn packs_folder(&self) -> PathBuf {
        self.home.join("packs")
    }

    fn look_for_packs(&mut self, ctx: &Context) {
        let folder = self.packs_folder();
        self.start_job(ctx, "Looking for packs", move |_| work::packs(&folder));
    }

    /// Asks the user for files.
    fn ask(&mut self, _: &Context, ask: Ask) {
        let waker = self.waker.clone();
        self.chooser.ask(ask, self.answers.0.clone(), Box::new(move || waker.wake()));
    }

    fn complain(&mut self, title: impl Into<String>, error: &anyhow::Error) {
        self.problems.push(Problem { title: title.into(), text: describe(error) });
    }

    /// A line in the status bar for a few seconds.
    fn say(&mut self, ctx: &Context, text: impl Into<String>) {
        self.say_for(ctx, text, 6.0);
    }

    fn say_for(&mut self, ctx: &Context, text: impl Into<String>, seconds: f64) {
        self.message = Some((text.into(), ctx.input(|i| i.time) + seconds));
    }

    /// Asks for a command to be carried out before the next frame.
    fn command(&mut self, command: Command) {
        self.pending.push(command);
    }

    fn take_in(&mut self, ctx: &Context) {
        for (job, title, news) in self.jobs.drain() {
            match news {
                News::Early(product) => self.accept_early(job, product),
                News::Done(product) => {
                    let preview = self.previews.remove(&job);
                    self.accept(ctx, product, preview);
                }
                News::Failed(error) => {
                    self.drop_preview(job);
                    self.complain(title, &error);
                }
                News::Cancelled => {
                    self.drop_preview(job);
                    self.say(ctx, format!("{title}: cancelled"));
                }
            }
        }
        while let Ok((purpose, paths)) = self.answers.1.try_recv() {
            self.answered(ctx, purpose, paths);
        }
        let dropped: Vec<PathBuf> =
            ctx.input(|i| i.raw.dropped_files.iter().map(|f| f.path().to_owned()).collect());
        if !dropped.is_empty() {
            self.dropped(ctx, dropped);
        }
    }

    fn accept(&mut self, ctx: &Context, product: Product, preview: Option<LayerId>) {
        match product {
            Product::Opened(file) => self.opened(ctx, *file, preview),
            Product::LookedInto(found) => self.looked_into(ctx, *found),
            Product::Thumbnail(id, picture) => self.thumbnail_drawn(ctx, id, picture),
            Product::Deid(made) => self.deid_made(ctx, *made),
            Product::Segmented(result) => self.segmented(ctx, *result),
            Product::FoundHere(found) => self.found_here(ctx, *found),
            Product::Restored(result) => self.restored(ctx, *result),
            Product::Found(found) => self.found(ctx, *found),
            Product::Looked(looked) => self.looked_at_network(*looked),
            Product::Previewed(preview) => self.restore.previewed(*preview),
            Product::Saved(layer, path) => {
                self.document.saved(layer, &path);
                self.journal_forget(layer);
                self.settings.remember(&path);
                self.keep_settings();
                self.say(ctx, format!("Saved {}", path.display()));
            }
            Product::Written(path) => self.say(ctx, format!("Saved {}", path.display())),
            Product::Pending(pending) => self.pending_found(pending),
            Product::Recovered(rebuilt) => self.recovered(ctx, *rebuilt),
            Product::Session(read) => self.session_opened(*read),
            Product::Packs(packs) => {
                self.packs = packs;
                self.models.forget();
                let mut labelling = self.packs.iter().filter(|p| p.info.segments());
                let is_there = |id: &String| labelling.clone().any(|p| p.info.id == *id);
                if !self.settings.pack.as_ref().is_some_and(is_there) {
                    self.settings.pack = labelling.next().map(|p| p.info.id.clone());
                }
            }
            Product::PackInstalled(info) => {
                self.say(ctx, format!("Installed the pack {}", info.name));
                if info.restores.is_some() {
                    self.restore.pack = Some(info.id);
                    self.shown.tab = Tab::Restore;
                } else if !info.asks.is_empty() {
                    self.prompt.pack = Some(info.id);
                    self.shown.tab = Tab::Find;
                } else {
                    self.settings.pack = Some(info.id);
                }
                self.look_for_packs(ctx);
            }
            Product::Estimated(layer, pack, estimate) => self.models.estimated(layer, pack, estimate),
            Product::Edited { layer, revision, title, edit } => {
                self.edited(ctx, layer, revision, title, edit);
            }
            Product::Centred(Some(ras)) => self.document.move_cursor(ras),
            Product::Centred(None) => self.say(ctx, "The segmentation has no voxel of this label"),
            Product::Counted(layer, revision, counts) => self.labels.counted(layer, revision, counts),
        }
    }

    /// Writes the user's choices, when they are the user's.
    fn keep_settings(&mut self) {
        if self.is_settings_saved
            && let Err(error) = self.settings.save()
        {
            self.complain("Keeping the settings", &error);
        }
    }

    fn keys(&mut self, ctx: &Context) {
        if ctx.egui_wants_keyboard_input() || self.shown.palette.is_some() {
            return;
        }
        // The most specific keys first: Ctrl+Shift+O is not Ctrl+O.
        let mut bound: Vec<_> = commands::ACTIONS
            .iter()
            .filter_map(|a| Some((a, commands::key_of(a, &self.settings)?)))
            .collect();
        bound.sort_by_key(|(_, k)| {
            let m = k.modifiers;
            std::cmp::Reverse(u8::from(m.command) + u8::from(m.shift) + u8::from(m.alt))
        });
        for (action, key) in bound {
            if (action.available)(&self.document) && ctx.input_mut(|i| i.consume_shortcut(&key)) {
                self.command(action.command);
            }
        }
        self.arrow_keys(ctx);
    }

    /// Arrows step through the slices of the pane under the pointer (axial when none).
    fn arrow_keys(&mut self, ctx: &Context) {
        let plane = self.pane_under_pointer.and_then(commands::plane_of).unwrap_or(viewer::Plane::Axial);
        let steps = ctx.input(|i| {
            let pressed = |k| i64::try_from(i.num_presses(k)).unwrap_or(0);
            pressed(egui::Key::ArrowUp) + pressed(egui::Key::ArrowRight)
                - pressed(egui::Key::ArrowDown)
                - pressed(egui::Key::ArrowLeft)
        });
        if steps != 0 && !self.document.is_empty() {
            self.document.scroll(plane, steps);
        }
    }

    /// Answers the window's close button: unsaved work is asked about.
    fn closing(&mut self, ctx: &Context) {
        if ctx.input(|i| i.viewport().close_requested())
            && !self.shown.leaving
            && !self.document.unsaved().is_empty()
        {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.shown.leaving = true;
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.take_in(ctx);
        self.tell_faults();
        self.place = graphics::Place::of(ctx);
        self.closing(ctx);
        self.keys(ctx);
        self.play(ctx);
        self.journal_tend();
        self.tend_pace(ctx);
        for command in std::mem::take(&mut self.pending) {
            self.perform(ctx, command);
        }
        self.tend_deid(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        self.menu_ui(ui);
        self.status_ui(ui);
        if self.document.is_empty() {
            self.welcome_ui(ui);
        } else {
            self.layers_ui(ui);
            self.side_ui(ui);
            self.panes_ui(ui, frame);
        }
        let ctx = ui.ctx().clone();
        self.problems_ui(&ctx);
        self.palette_ui(&ctx);
        self.help_ui(&ctx);
        self.leaving_ui(&ctx);
        self.recovery_ui(&ctx);
        self.series_ui(&ctx);
        self.deid_ui(&ctx);
        self.drop_target_ui(&ctx);
        self.frames_drawn += 1;
        if self.leaves_with.is_some_and(|n| self.document.scene.layers.len() >= n) {
            // One more frame is asked for, so that this one has been shown when the window closes.
            self.leaves_with = None;
            self.document.details.values_mut().for_each(|d| d.is_modified = false);
            self.command(Command::Quit);
            ctx.request_repaint();
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn on_exit(&mut self) {
        self.jobs.cancel_all();
        self.journal_finish();
        self.keep_settings();
    }
}
