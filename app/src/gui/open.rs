//! Opening: dialogs, dropped files, the sample, and what is done with what was read.

use std::path::{Path, PathBuf};

use eframe::egui::Context;

use super::dialogs::{Ask, Purpose};
use super::work::{self, OpenedFile, Product};
use super::{App, Tab};
use crate::jobs::JobId;
use crate::open::Opened;
use viewer::LayerId;

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

    /// Opens files and folders, each on a thread of its own. Several files that may be slices of one series are looked
    /// through together.
    pub fn open_paths(&mut self, ctx: &Context, paths: Vec<PathBuf>) {
        let (together, single): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.into_iter().partition(|p| !crate::dicom::is_collection(p) && may_be_slice(p));
        if together.len() > 1 {
            self.look_into(ctx, together);
        } else {
            self.open_files(together);
        }
        for path in single {
            if crate::dicom::is_collection(&path) {
                self.look_into(ctx, vec![path]);
            } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case(crate::session::ENDING)) {
                self.open_session(ctx, path);
            } else {
                self.open_files(vec![path]);
            }
        }
    }

    pub(super) fn open_files(&mut self, files: Vec<PathBuf>) {
        // What structure sets are outlines on.
        let source = self.document.active_image().and_then(|id| self.document.scene.layer(id));
        let source = source.and_then(|l| l.image()).map(|i| i.volume().clone());
        for file in files {
            let source = source.clone();
            let title = format!("Opening {}", file.file_name().unwrap_or(file.as_os_str()).to_string_lossy());
            let waker = self.waker.clone();
            self.jobs.start_early(
                title,
                move || waker.wake(),
                move |task, early| work::open_early(&file, source.as_ref(), task, early),
            );
        }
    }

    /// A slice of a file that is still being read: it is shown in its place until the whole comes.
    pub(super) fn accept_early(&mut self, job: JobId, product: Product) {
        let Product::Opened(file) = product else { return };
        let OpenedFile { path, name, content: Opened::Image(image), look, .. } = *file else { return };
        let look = look.unwrap_or_else(|| work::first_look(&image));
        let is_first = self.document.is_empty();
        let name = name.unwrap_or_else(|| file_name(&path));
        let id = self.document.add_image(*image, name, look.window, look.range);
        self.document.mark_preview(id);
        self.previews.insert(job, id);
        if is_first {
            self.pictures.volume_view = viewer::VolumeView::of_scene(&self.document.scene, 1.2);
        }
    }

    /// The whole will not come: its slice goes too.
    pub(super) fn drop_preview(&mut self, job: JobId) {
        if let Some(id) = self.previews.remove(&job) {
            self.histograms.remove(&id);
            self.document.remove(id);
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
            work::open(&path, None, None, task)
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

    /// A file was read: it becomes a layer, in the place of the slice that was shown meanwhile if there was one.
    pub(super) fn opened(&mut self, ctx: &Context, file: OpenedFile, preview: Option<LayerId>) {
        let name = file.name.clone().unwrap_or_else(|| file_name(&file.path));
        let then = file.then.clone();
        if !file.path.starts_with(&self.home) {
            self.settings.remember(&file.path);
            self.keep_settings();
        }
        let is_labels = matches!(file.content, Opened::Labels(..));
        // A segmentation is no image; its slice was shown for one.
        if let Some(id) = preview.filter(|_| is_labels) {
            self.document.remove(id);
        }
        let is_first =
            self.document.is_empty() || (self.document.scene.layers.len() == 1 && preview.is_some());
        match (file.content, file.look) {
            (Opened::Image(image), look) => {
                let is_volume = image.first().grid.size_ijk[2] > 1 && !image.first().voxels.is_colour();
                // Looking at the values is part of opening; a sample of them is enough should it be missing.
                let look = look.unwrap_or_else(|| work::first_look(&image));
                let id = match preview {
                    Some(id) => {
                        if !self.document.complete(id, *image, look.window, look.range) {
                            return; // it was closed meanwhile
                        }
                        self.models.forget();
                        id
                    }
                    None => self.document.add_image(*image, name, look.window, look.range),
                };
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
        self.open_files(then);
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
            Purpose::Deid(what) => self.deid_path(what, paths),
        }
    }
}

/// Whether a file is or may be DICOM by its name alone: such an ending, or none that says anything.
fn may_be_slice(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        formats::registry::format_for_name(name).is_none_or(|f| f.id() == "dicom")
            && path.extension().is_none_or(|e| !e.eq_ignore_ascii_case(crate::session::ENDING))
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
