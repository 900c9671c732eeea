//! A graphics device may go away under the window: drivers are reset, cards are unplugged, machines wake up without
//! them. Neither eframe nor egui-wgpu recovers. Here the loss is noticed, the window is closed with its state kept
//! ([`Shell`]), and [`super::launch`] opens it again on a new device with that state. Pictures are rebuilt from the
//! document; nothing that the user made lives on a card only.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eframe::egui::{self, Context, Pos2, Vec2, ViewportCommand};
use eframe::{egui_wgpu::RenderState, wgpu};

use super::{App, Problem};

/// Why the window must be opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The user asked for it.
    Wanted,
    /// The device is gone; what the driver said.
    Lost(String),
}

/// What the device reported, from whichever thread met it.
#[derive(Debug, Default)]
struct Reports {
    lost: Option<String>,
    /// Errors that nobody waited for.
    faults: Vec<String>,
}

/// The device of the window and what it reported.
#[derive(Default)]
pub(super) struct Graphics {
    device: Option<wgpu::Device>,
    reports: Arc<Mutex<Reports>>,
    is_wanted: bool,
}

/// Where the window was, to be put there again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    /// Of its frame, in points; none where the system does not tell.
    pub position: Option<Pos2>,
    /// Of its content, in points.
    pub size: Option<Vec2>,
    /// Whether it fills the screen.
    pub is_maximised: bool,
}

impl Place {
    /// Of the window now.
    pub(super) fn of(ctx: &Context) -> Self {
        ctx.input(|i| {
            let viewport = i.viewport();
            Self {
                position: viewport.outer_rect.map(|r| r.min),
                size: viewport.inner_rect.map(|r| r.size()),
                is_maximised: viewport.maximized == Some(true),
            }
        })
    }
}

impl Graphics {
    /// Listens to the window's device.
    pub fn new(ctx: &Context, state: Option<&RenderState>) -> Self {
        let graphics = Self { device: state.map(|s| s.device.clone()), ..Self::default() };
        if let Some(device) = &graphics.device {
            let (reports, waker) = (Arc::clone(&graphics.reports), ctx.clone());
            device.set_device_lost_callback(move |reason, message| {
                lock(&reports).lost.get_or_insert(format!("{reason:?}: {message}"));
                waker.request_repaint();
            });
            let (reports, waker) = (Arc::clone(&graphics.reports), ctx.clone());
            device.on_uncaptured_error(Arc::new(move |error| {
                let mut reports = lock(&reports);
                match error {
                    // wgpu gives the device up when memory runs out in the middle of drawing.
                    wgpu::Error::OutOfMemory { .. } => {
                        reports.lost.get_or_insert("its memory is full".to_owned());
                    }
                    error => reports.faults.push(error.to_string()),
                }
                drop(reports);
                waker.request_repaint();
            }));
        }
        graphics
    }

    /// Whether the window must be opened again, and why.
    pub fn restart(&self) -> Option<Restart> {
        if self.is_wanted {
            return Some(Restart::Wanted);
        }
        lock(&self.reports).lost.clone().map(Restart::Lost)
    }

    /// Asks for a new device. The old one is given up on the way, so that this is what a loss is.
    pub fn ask(&mut self) {
        self.is_wanted = true;
        self.lose();
    }

    /// Gives the device up, as a reset of the driver would.
    pub fn lose(&self) {
        if let Some(device) = &self.device {
            device.destroy();
            // Callbacks run when the device is looked at.
            let _ = device.poll(wgpu::PollType::Poll);
        }
    }

    /// Errors that nobody waited for, once.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.reports).faults)
    }
}

fn lock(reports: &Mutex<Reports>) -> MutexGuard<'_, Reports> {
    reports.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// Whether the window must be opened again, and why.
    #[must_use]
    pub fn restart(&self) -> Option<Restart> {
        self.graphics.restart()
    }

    /// Gives the graphics device up without a word, as a reset of the driver does: for tests.
    pub fn lose_graphics(&self) {
        self.graphics.lose();
    }

    /// Tells of errors of the driver that did no harm yet.
    pub(super) fn tell_faults(&mut self) {
        for fault in self.graphics.take_faults() {
            self.complain("The graphics driver refused something", &anyhow::anyhow!(fault));
        }
    }

    /// Goes on in another window, on another device.
    pub fn resume(&mut self, cc: &eframe::CreationContext<'_>, is_software_chosen: bool) {
        let ctx = &cc.egui_ctx;
        let why = self.graphics.restart();
        self.dress(ctx);
        self.waker.set(ctx);
        self.graphics = Graphics::new(ctx, cc.wgpu_render_state.as_ref());
        self.pictures.restart(cc.wgpu_render_state.as_ref());
        self.restore.drop_pictures();
        // Places and times of the old window mean nothing in this one.
        (self.hover, self.pane_under_pointer, self.last_pane, self.message) = (None, None, None, None);
        self.playing = self.playing.map(|_| 0.0);
        self.edit.end_stroke();
        if is_software_chosen {
            self.problems.push(Problem {
                title: "The graphics were restarted without the card".to_owned(),
                text: "The graphics device was lost again and again, so the processor draws until Insula is started \
                       anew. Layers, edits and their undo steps are as they were. A newer driver may help."
                    .to_owned(),
            });
        } else if let Some(Restart::Lost(reason)) = why {
            self.problems.push(Problem {
                title: "The graphics were restarted".to_owned(),
                text: format!(
                    "The graphics device was lost ({reason}). Layers, edits and their undo steps are as they were."
                ),
            });
        } else {
            // Jobs that go on stand in the same place first.
            self.say_for(ctx, "The graphics were restarted; everything is as it was", 15.0);
        }
    }
}

/// The window as eframe sees it: an [`App`] that outlives it when the device is lost.
pub struct Shell {
    app: Option<App>,
    kept: Kept,
}

/// Where an [`App`] is kept while there is no window.
pub type Kept = Rc<RefCell<Option<(App, Place)>>>;

impl Shell {
    /// Around an app; it goes to `kept` when the window closes because its graphics must be restarted.
    #[must_use]
    pub fn new(app: App, kept: &Kept) -> Self {
        Self { app: Some(app), kept: Rc::clone(kept) }
    }

    /// The app in the window.
    ///
    /// # Panics
    /// When it was taken out: nobody holds a shell after that.
    #[must_use]
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("an app is in its shell until it is taken out")
    }

    /// The app in the window.
    ///
    /// # Panics
    /// As [`Shell::app`].
    pub fn app_mut(&mut self) -> &mut App {
        self.app.as_mut().expect("an app is in its shell until it is taken out")
    }

    fn must_restart(&self) -> bool {
        self.app.as_ref().is_some_and(|app| app.restart().is_some())
    }
}

impl eframe::App for Shell {
    fn logic(&mut self, ctx: &Context, frame: &mut eframe::Frame) {
        if let Some(app) = &mut self.app
            && app.restart().is_none()
        {
            app.logic(ctx, frame);
        }
        if self.must_restart() {
            // Asked for in every frame until the window is gone: unsaved work is not in danger, so nobody is asked.
            ctx.send_viewport_cmd(ViewportCommand::Close);
            ctx.request_repaint();
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        let is_whole = !self.must_restart();
        if let Some(app) = &mut self.app
            && is_whole
        {
            app.ui(ui, frame);
        }
        if self.must_restart() {
            // A device that is gone has no room for vertices, and egui-wgpu panics over that: nothing is drawn.
            ui.ctx().graphics_mut(|layers| *layers = egui::layers::GraphicLayers::default());
            ui.ctx().request_repaint();
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn on_exit(&mut self) {
        if !self.must_restart()
            && let Some(app) = &mut self.app
        {
            app.on_exit();
        }
    }
}

impl Drop for Shell {
    /// Also when eframe gives up with an error or a panic: what the user made is kept.
    fn drop(&mut self) {
        if self.must_restart()
            && let Some(app) = self.app.take()
        {
            let place = app.place;
            *self.kept.borrow_mut() = Some((app, place));
        }
    }
}
