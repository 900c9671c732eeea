//! A window in a test, and what a user does to it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use app::gui::dialogs::Answers;
use app::gui::graphics::{Kept, Shell};
use app::gui::{App, Start, launch};
use app::settings::Settings;
use eframe::egui::{self, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use formats::{Content, FrameAxis, Grid, Image, Scaling, Shared, Task, Volume, Voxels};
use insula_tests::{root, skip};

/// The window in a test, with a data folder of its own.
pub struct Window {
    pub harness: Harness<'static, Shell>,
    /// Where the app goes when its graphics must be restarted.
    pub kept: Kept,
    pub folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }
    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|e| e.to_string())
    }
}

impl Window {
    pub fn new(settings: Settings, answers: Vec<PathBuf>) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), settings, answers, vec2(1280.0, 800.0), 1.0)
    }

    pub fn in_folder(
        folder: tempfile::TempDir,
        settings: Settings,
        answers: Vec<PathBuf>,
        size: egui::Vec2,
        scale: f32,
    ) -> Self {
        let home = folder.path().join("home");
        Self::with(folder, home, settings, answers, size, scale)
    }

    /// With a data folder that others know.
    pub fn at_home(home: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with(folder, home, Settings::default(), Vec::new(), vec2(1280.0, 800.0), 1.0)
    }

    pub fn with(
        folder: tempfile::TempDir,
        home: PathBuf,
        settings: Settings,
        answers: Vec<PathBuf>,
        size: egui::Vec2,
        scale: f32,
    ) -> Self {
        let answers: VecDeque<Vec<PathBuf>> = answers.into_iter().map(|p| vec![p]).collect();
        let kept = Kept::default();
        let harness = Self::harness(size, scale, |cc| {
            let start = Start {
                settings,
                chooser: Some(Box::new(Answers(answers))),
                home: Some(home),
                ..Start::default()
            };
            Shell::new(App::new(cc, start), &kept)
        });
        Self { harness, kept, folder }
    }

    pub fn harness(
        size: egui::Vec2,
        scale: f32,
        shell: impl FnOnce(&mut eframe::CreationContext<'_>) -> Shell,
    ) -> Harness<'static, Shell> {
        Harness::builder()
            .with_size(size)
            .with_pixels_per_point(scale)
            .with_step_dt(1.0 / 60.0)
            .wgpu_setup(launch::gpu_setup())
            .build_eframe(shell)
    }

    /// What [`launch::run`] does when a window closes because its device is gone: another one, with what was in it.
    #[track_caller]
    pub fn reopen(self) -> Self {
        let Self { harness, kept, folder } = self;
        drop(harness);
        let (mut app, _) = kept.borrow_mut().take().expect("the window gave its content away");
        let harness = Self::harness(vec2(1280.0, 800.0), 1.0, |cc| {
            app.resume(cc, false);
            Shell::new(app, &kept)
        });
        Self { harness, kept, folder }
    }

    pub fn app(&self) -> &App {
        self.harness.state().app()
    }

    pub fn app_mut(&mut self) -> &mut App {
        self.harness.state_mut().app_mut()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Draws frames until something holds.
    #[track_caller]
    pub fn until(&mut self, what: &str, holds: impl Fn(&App) -> bool) {
        let begun = Instant::now();
        loop {
            self.harness.step();
            if holds(self.app()) {
                return;
            }
            let problems = self.app().problems();
            assert!(problems.is_empty(), "waiting until {what}: {problems:?}");
            assert!(begun.elapsed() < Duration::from_secs(120), "waited too long until {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Draws frames until nothing is under way.
    #[track_caller]
    pub fn rest(&mut self) {
        self.until("nothing is under way", |app| !app.is_busy());
        self.harness.run_steps(4);
    }

    pub fn drop_file(&mut self, path: &Path) {
        self.harness.input_mut().dropped_files.push(Arc::new(Dropped(path.to_owned())));
        self.harness.step();
    }

    #[track_caller]
    pub fn open(&mut self, path: &Path) {
        let before = self.app().document.scene.layers.len();
        self.drop_file(path);
        self.until("the file is open", |app| app.document.scene.layers.len() > before);
        self.rest();
    }

    #[track_caller]
    pub fn click(&mut self, name: &str) {
        self.harness.get_by_label(name).click();
        self.harness.run_steps(3);
    }

    pub fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.harness.run_steps(3);
    }

    /// Runs the command that the palette finds.
    #[track_caller]
    pub fn palette(&mut self, words: &str) {
        self.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
        self.harness.get_by_label("Command").type_text(words);
        self.harness.run_steps(3);
        self.key(Modifiers::NONE, Key::Enter);
    }

    #[track_caller]
    pub fn pane(&self, name: &str) -> egui::Rect {
        self.harness.get_by_label(name).rect()
    }

    pub fn drag(&mut self, from: Pos2, to: Pos2, button: PointerButton) {
        let event = |pos: Pos2, pressed: bool| egui::Event::PointerButton {
            pos,
            button,
            pressed,
            modifiers: Modifiers::NONE,
        };
        self.harness.event(egui::Event::PointerMoved(from));
        self.harness.step();
        self.harness.event(event(from, true));
        self.harness.step();
        for n in 1..=6 {
            self.harness.event(egui::Event::PointerMoved(from + (to - from) * (n as f32 / 6.0)));
            self.harness.step();
        }
        self.harness.event(event(to, false));
        self.harness.run_steps(3);
    }

    /// A picture of the window, over the colour that the window is cleared to.
    pub fn picture(&mut self) -> image::RgbaImage {
        let over = self.harness.render().unwrap();
        let [r, g, b, _] = self.harness.ctx.global_style().visuals.panel_fill.to_array();
        let mut picture =
            image::RgbaImage::from_pixel(over.width(), over.height(), image::Rgba([r, g, b, 255]));
        image::imageops::overlay(&mut picture, &over, 0, 0);
        picture
    }
}

/// Whether there is an adapter to draw with; says so when there is none.
pub fn can_draw(test: &str) -> bool {
    match viewer::gpu::Gpu::headless() {
        Ok(_) => true,
        Err(error) => {
            skip(test, &error.to_string());
            false
        }
    }
}

/// Writes a volume made by a function of the world position (RAS+ mm).
pub fn write(path: &Path, grid: Grid, value: impl Fn([f64; 3]) -> i16) {
    let [nk, nj, ni] = grid.shape_kji();
    let voxels = Shared::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        value(grid.world_from_voxel.apply([i as f64, j as f64, k as f64]))
    });
    let volume =
        Volume { voxels: Voxels::I16(voxels), grid, scaling: Scaling::NONE, meta: formats::Meta::default() };
    save(path, vec![volume], Vec::new());
}

pub fn save(path: &Path, frames: Vec<Volume>, frame_axes: Vec<FrameAxis>) {
    let image = Image {
        frames,
        frame_axes,
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    };
    formats::save(Content::Image(&image), path, &Task::silent()).unwrap();
}

pub fn sample() -> PathBuf {
    root().join("assets/sample/head.nii.gz")
}
