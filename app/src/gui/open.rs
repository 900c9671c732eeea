//! Opening: dialogs, dropped files, the sample, and what is done with what was read.

use std::path::{Path, PathBuf};

use eframe::egui::Context;

use super::dialogs::{Ask, Purpose};
use super::work::{self, OpenedFile};
use super::{App, Tab};
use crate::open::Opened;

/// The bundled sample, so that it is there without any file.
const SAMPLE: &[u8] = include_bytes!("../../../assets/sample/head.nii.gz");

impl App {
    pub(super) fn recent_folder(&self) -> Option<PathBuf> {
        self.settings.recent.first().and_then(|p| p.parent()).map(Path::to_owned)
    }

    pub(super) fn ask_for_files(&mut self, ctx: &Context) {
        let endings = formats::FORMATS.iter().flat_map(|f| f.extensions()).map(|e| {
            // Dialogs know only the last part of an ending.
            e.rsplit('.').next().unwrap_or(e).to_owned()
        });
        let mut images: Vec<String> = endings.collect();
        images.sort();
        images.dedup();
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::Open,
                title: "Open".to_owned(),
                name: String::new(),
                folder,
                filters: vec![
                    ("Images and volumes".to_owned(), images),
                    ("All files".to_owned(), vec!["*".to_owned()]),
                ],
            },
        );
    }

    /// Opens files and folders, each on a thread of its own.
    pub fn open_paths(&mut self, ctx: &Context, paths: Vec<PathBuf>) {
        for path in paths {
            if path.is_dir() {
                match crate::open::files_in(&path) {
                    Ok(files) if files.is_empty() => self.complain(
                        format!("Opening {}", path.display()),
                        &anyhow::anyhow!(
                            "no file of a known format is in this folder (folders inside it are not searched)"
                        ),
                    ),
                    Ok(files) => self.open_files(ctx, files),
                    Err(error) => self.complain(format!("Opening {}", path.display()), &error),
                }
            } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case(crate::session::ENDING)) {
                self.open_session(ctx, path);
            } else {
                self.open_files(ctx, vec![path]);
            }
        }
    }

    fn open_files(&mut self, ctx: &Context, files: Vec<PathBuf>) {
        for file in files {
            let title = format!("Opening {}", file.file_name().unwrap_or(file.as_os_str()).to_string_lossy());
            self.start_job(ctx, title, move |task| work::open(&file, None, task));
        }
    }

    pub(super) fn open_sample(&mut self, ctx: &Context) {
        // Readers read files; the sample travels inside the program.
        let folder = self.home.join("sample");
        self.start_job(ctx, "Opening the sample", move |task| {
            let path = folder.join("head.nii.gz");
            if std::fs::read(&path).ok().as_deref() != Some(SAMPLE) {
                std::fs::create_dir_all(&folder).map_err(formats::Error::io(&folder, "create"))?;
                formats::atomic::write_bytes(&path, SAMPLE)?;
            }
            work::open(&path, None, task)
        });
    }

    /// Files dropped on the window: packs and checkpoints are imported, everything else is opened.
    pub(super) fn dropped(&mut self, ctx: &Context, paths: Vec<PathBuf>) {
        let (weights, others): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.into_iter().partition(|p| super::models::is_pack_or_checkpoint(p));
        for path in weights {
            self.import(ctx, &path);
        }
        let on_models = self.models.is_under_pointer(ctx);
        if on_models && !others.is_empty() {
            self.models.segment_next = others.len();
        }
        self.open_paths(ctx, others);
    }

    /// A file was read: it becomes a layer.
    pub(super) fn opened(&mut self, ctx: &Context, file: OpenedFile) {
        let name = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy().into_owned();
        if !file.path.starts_with(&self.home) {
            self.settings.remember(&file.path);
            self.keep_settings();
        }
        let is_first = self.document.is_empty();
        let is_labels = matches!(file.content, Opened::Labels(..));
        match (file.content, file.look) {
            (Opened::Image(image), look) => {
                let is_volume = image.first().grid.size_ijk[2] > 1 && !image.first().voxels.is_colour();
                // Looking at the values is part of opening; a sample of them is enough should it be missing.
                let look = look.unwrap_or_else(|| work::first_look(&image));
                let id = self.document.add_image(*image, name, look.window, look.range);
                self.histograms.extend(look.histogram.map(|h| (id, h)));
                let dropped_on_pack = std::mem::take(&mut self.models.segment_next);
                self.models.segment_next = dropped_on_pack.saturating_sub(1);
                if is_volume && (self.settings.segment_on_open || dropped_on_pack > 0) {
                    self.segment(ctx, id);
                }
            }
            (Opened::Labels(labels, notices), _) => {
                let source = self.document.active_image();
                let id = self.document.add_labels(*labels, name, None, notices);
                if let Some(details) = self.document.details.get_mut(&id) {
                    details.source = source;
                }
                self.shown.tab = Tab::Labels;
            }
        }
        if is_first {
            self.pictures.volume_view = viewer::VolumeView::of_scene(&self.document.scene, 1.2);
        }
        if is_labels {
            self.see_inside();
        }
    }

    /// What the user chose in a dialog.
    pub(super) fn answered(&mut self, ctx: &Context, purpose: Purpose, paths: Vec<PathBuf>) {
        let Some(first) = paths.first().cloned() else { return };
        match purpose {
            Purpose::Open | Purpose::OpenFolder => self.open_paths(ctx, paths),
            Purpose::ImportPack => self.import(ctx, &first),
            Purpose::SaveLayer(id) => self.save_to(ctx, id, first),
            Purpose::SaveTable(id) => self.save_table(ctx, id, first),
            Purpose::SaveScreenshot => self.save_screenshot(ctx, first),
            Purpose::SavePane => self.save_pane(ctx, first),
            Purpose::OpenSession => self.open_session(ctx, first),
            Purpose::SaveSession => self.save_session(ctx, first),
            Purpose::SaveMesh(id) => self.save_mesh(ctx, id, first),
            Purpose::SaveTurntable => self.save_turntable(ctx, first),
        }
    }
}
