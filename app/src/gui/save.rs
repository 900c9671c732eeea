//! Saving layers, tables and pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{self, ColorImage, Context};
use formats::dicom::capture::Picture;
use viewer::{Content, LayerId};

use super::App;
use super::dialogs::{Ask, Purpose};
use super::work::{self, Product, Saved};
use crate::session::{Kind, LayerState, Opened, Session};

/// Pictures of a turntable.
const TURNTABLE: usize = 72;

impl App {
    pub(super) fn save_active(&mut self, ctx: &Context, asks: bool) {
        let Some(id) = self.document.active else { return };
        if self.is_still_loading(ctx, id) {
            return;
        }
        let path = self.document.details.get(&id).and_then(|d| d.path.clone());
        let is_writable = path.as_ref().is_some_and(|p| is_writable(p));
        // Images are never written over: the user's data is not ours to change.
        let is_labels = self.document.scene.layer(id).is_some_and(|l| l.labels().is_some());
        match path {
            Some(path) if !asks && is_writable && is_labels => self.save_to(ctx, id, path),
            _ => self.ask_where(ctx, id),
        }
    }

    fn ask_where(&mut self, ctx: &Context, id: LayerId) {
        let Some(layer) = self.document.scene.layer(id) else { return };
        // A mark that a layer's name ends with would make a poor file name.
        let marked = format!(" – {}", super::restore::MARK);
        let (name, is_restored) = match layer.name.strip_suffix(&marked) {
            Some(name) => (name, true),
            None => (layer.name.as_str(), false),
        };
        let stem = formats::registry::stem(Path::new(name)).to_string_lossy().replace(['/', '\\'], "_");
        let suffix = match () {
            () if is_restored => "_restored",
            () if layer.labels().is_some() && !stem.ends_with("seg") => "_seg",
            () => "",
        };
        let ending = if is_restored && self.document.is_flat() { "png" } else { "nii.gz" };
        let dicom = match layer.content {
            Content::Labels(_) => "DICOM segmentation",
            Content::Image(_) => "DICOM series (derived), a folder of this name",
        };
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::SaveLayer(id),
                title: "Save as".to_owned(),
                name: format!("{}{suffix}.{ending}", stem.replace(' ', "_")),
                folder,
                filters: vec![
                    ("NIfTI".to_owned(), vec!["nii.gz".to_owned(), "nii".to_owned(), "gz".to_owned()]),
                    ("NRRD".to_owned(), vec!["nrrd".to_owned()]),
                    ("MetaImage".to_owned(), vec!["mha".to_owned()]),
                    ("Pictures".to_owned(), vec!["png".to_owned(), "tiff".to_owned()]),
                    ("FreeSurfer MGH".to_owned(), vec!["mgz".to_owned(), "mgh".to_owned()]),
                    (dicom.to_owned(), vec!["dcm".to_owned()]),
                    ("All files".to_owned(), vec!["*".to_owned()]),
                ],
            },
        );
    }

    /// Writes a layer; a snapshot is written, so that editing may go on.
    pub fn save_to(&mut self, ctx: &Context, id: LayerId, path: PathBuf) {
        let Some(layer) = self.document.scene.layer(id) else { return };
        let content = match &layer.content {
            Content::Image(image) if is_dicom_name(&path) => Saved::Series(Box::new(image.volume().clone())),
            Content::Image(image) => Saved::Image(Arc::clone(&image.image)),
            Content::Labels(_) => match self.document.label_map(id) {
                Some(map) if is_dicom_name(&path) => {
                    let source = self.document.details.get(&id).and_then(|d| d.source);
                    let source = source.or_else(|| self.document.active_image());
                    let source = source.and_then(|id| self.document.scene.layer(id)).and_then(|l| l.image());
                    match source {
                        Some(image) => Saved::Dicom(Box::new(map), Box::new(image.volume().clone())),
                        None => Saved::Labels(Box::new(map)),
                    }
                }
                Some(map) => Saved::Labels(Box::new(map)),
                None => return,
            },
        };
        let title = format!("Saving {}", path.display());
        self.start_job(ctx, title, move |task| work::save(id, &content, &path, task));
    }

    pub(super) fn ask_for_table(&mut self, ctx: &Context) {
        let Some(id) = self.document.active_labels() else { return };
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::SaveTable(id),
                title: "Save label table".to_owned(),
                name: "labels.csv".to_owned(),
                folder,
                filters: vec![("Comma-separated values".to_owned(), vec!["csv".to_owned()])],
            },
        );
    }

    pub(super) fn save_table(&mut self, ctx: &Context, id: LayerId, path: PathBuf) {
        let Some(text) = self.labels.csv(&self.document, id) else { return };
        self.write(ctx, path, text.into_bytes());
    }

    /// Writes bytes beside the window.
    fn write(&mut self, ctx: &Context, path: PathBuf, bytes: Vec<u8>) {
        self.start_job(ctx, format!("Saving {}", path.display()), move |_| {
            formats::atomic::write_bytes(&path, &bytes)?;
            Ok(Product::Written(path))
        });
    }

    pub(super) fn ask_for_picture(&mut self, ctx: &Context, purpose: Purpose) {
        let folder = self.recent_folder();
        let mut filters = vec![("PNG".to_owned(), vec!["png".to_owned()])];
        if purpose == Purpose::SavePane {
            filters.push(("DICOM secondary capture".to_owned(), vec!["dcm".to_owned()]));
        }
        self.ask(
            ctx,
            Ask { purpose, title: "Save picture".to_owned(), name: "insula.png".to_owned(), folder, filters },
        );
    }

    /// Takes a picture of the next frame and writes it.
    pub(super) fn save_screenshot(&mut self, ctx: &Context, path: PathBuf) {
        self.save_part(ctx, path, None);
    }

    /// Takes a picture of the pane that the pointer was over last.
    pub(super) fn save_pane(&mut self, ctx: &Context, path: PathBuf) {
        let place = self.last_pane.map(|(_, rect)| rect);
        self.save_part(ctx, path, place);
    }

    fn save_part(&mut self, ctx: &Context, path: PathBuf, part: Option<egui::Rect>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Arc<ColorImage>>(1);
        ctx.request_screenshot(move |image| {
            // Nobody waits any more when the window is closing.
            let _ = sender.send(image);
        });
        let scale = ctx.pixels_per_point();
        let image =
            self.document.active_image().and_then(|id| self.document.scene.layer(id)).and_then(|l| l.image());
        let origin = image.and_then(|i| i.volume().meta.dicom.clone());
        // A flat picture is titled with its name, which may be of the patient.
        let shows_name = self.document.is_flat();
        self.start_job(ctx, format!("Saving {}", path.display()), move |task| {
            task.check()?;
            let image = receiver.recv_timeout(std::time::Duration::from_secs(20)).map_err(|_| {
                anyhow::anyhow!("no picture came from the window within 20 s; is it minimised?")
            })?;
            let image = part.map_or_else(|| (*image).clone(), |rect| image.region(&rect, Some(scale)));
            let pixels = image.pixels.iter().map(|p| [p.r(), p.g(), p.b()]);
            if is_dicom_name(&path) {
                let pixels: Vec<u8> = pixels.flatten().collect();
                let picture = Picture { width: image.size[0], height: image.size[1], pixels: &pixels };
                crate::dicom::write_capture(&picture, origin.as_deref(), shows_name, &path)?;
            } else {
                formats::atomic::write_bytes(&path, &png(image.size, pixels)?)?;
            }
            Ok(Product::Written(path))
        });
        ctx.request_repaint();
    }

    pub(super) fn ask_for_mesh(&mut self, ctx: &Context) {
        let Some(id) = self.document.active_labels() else { return };
        let folder = self.recent_folder();
        let filters = [("GLB", "glb"), ("STL", "stl"), ("OBJ", "obj"), ("PLY", "ply")];
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::SaveMesh(id),
                title: "Save surfaces".to_owned(),
                name: "surfaces.glb".to_owned(),
                folder,
                filters: filters.map(|(name, ending)| (name.to_owned(), vec![ending.to_owned()])).to_vec(),
            },
        );
    }

    /// Writes the surfaces of all labels that are shown.
    pub(super) fn save_mesh(&mut self, ctx: &Context, id: LayerId, path: PathBuf) {
        let Some(map) = self.document.label_map(id) else { return };
        let hidden: Vec<u16> = map.table.entries.iter().filter(|e| !e.visible).map(|e| e.id).collect();
        self.start_job(ctx, format!("Saving {}", path.display()), move |task| {
            let there = formats::measure::label_extents(&map.labels);
            let shown: Vec<String> = there
                .iter()
                .map(|e| e.label)
                .filter(|l| !hidden.contains(l))
                .map(|l| l.to_string())
                .collect();
            anyhow::ensure!(!shown.is_empty(), "no label is shown; show those whose surfaces you want");
            let export = crate::mesh::Export {
                output: path.clone(),
                format: None,
                ids: Some(shown.join(",")),
                smoothing: formats::mesh::Smoothing::default(),
                space: formats::mesh::Space::default(),
                overwrite: true, // the dialog has asked
            };
            crate::mesh::export(&map, &export, task)?;
            Ok(Product::Written(path))
        });
    }

    pub(super) fn ask_for_turntable(&mut self, ctx: &Context) {
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: Purpose::SaveTurntable,
                title: "Folder for the pictures".to_owned(),
                name: String::new(),
                folder,
                filters: Vec::new(),
            },
        );
    }

    /// Turns the 3-D view once about the patient's long axis, in full quality.
    pub(super) fn save_turntable(&mut self, ctx: &Context, folder: PathBuf) {
        let scene = self.document.scene.clone();
        let view = self.pictures.volume_view.clone();
        self.start_job(ctx, "Saving the turntable", move |task| {
            let caster = viewer::raycast::RayCaster::default();
            for n in 0..TURNTABLE {
                task.at("rendering", n as f32 / TURNTABLE as f32)?;
                let mut view = view.clone();
                view.camera
                    .turn_about_ras([0.0, 0.0, 1.0], std::f64::consts::TAU * n as f64 / TURNTABLE as f64);
                let quality = viewer::raycast::Quality::FULL;
                let Some(picture) = caster.render(&scene, &view, [800, 800], &quality, task.cancel()) else {
                    return Err(formats::Error::Cancelled.into());
                };
                let bytes = png(picture.size, picture.rgba.iter().map(|p| [p[0], p[1], p[2]]))?;
                formats::atomic::write_bytes(&folder.join(format!("turntable_{n:03}.png")), &bytes)?;
            }
            Ok(Product::Written(folder))
        });
    }

    pub(super) fn ask_for_session(&mut self, ctx: &Context, opens: bool) {
        let folder = self.recent_folder();
        self.ask(
            ctx,
            Ask {
                purpose: if opens { Purpose::OpenSession } else { Purpose::SaveSession },
                title: if opens { "Open session".to_owned() } else { "Save session".to_owned() },
                name: if opens { String::new() } else { "session.insula".to_owned() },
                folder,
                filters: vec![("Insula session".to_owned(), vec![crate::session::ENDING.to_owned()])],
            },
        );
    }

    /// Writes what is open and how it is looked at.
    pub(super) fn save_session(&mut self, ctx: &Context, path: PathBuf) {
        let document = &self.document;
        let at = |id: LayerId| document.scene.layers.iter().position(|l| l.id == id);
        let mut maps = Vec::new();
        let mut layers = Vec::new();
        for layer in &document.scene.layers {
            let details = document.details.get(&layer.id);
            let path = details.and_then(|d| d.path.clone());
            let kind = match &layer.content {
                Content::Image(image) => {
                    let Some(path) = path else {
                        let name = layer.name.clone();
                        let error = anyhow::anyhow!(
                            "{name} is in no file yet; save it first, a session points to image files"
                        );
                        self.complain("Saving the session", &error);
                        return;
                    };
                    let colour_map = image.colour_map.name.to_string();
                    Kind::Image {
                        path,
                        relative: None,
                        bytes: 0,
                        sha256: String::new(),
                        frame: image.frame,
                        window: image.window,
                        colour_map,
                    }
                }
                Content::Labels(labels) => {
                    maps.extend(document.label_map(layer.id));
                    Kind::Labels {
                        entry: format!("labels/{}.nii.gz", maps.len()),
                        path,
                        source: details.and_then(|d| d.source).and_then(at),
                        outline: labels.outline,
                        table: (*labels.table).clone(),
                        is_modified: details.is_some_and(|d| d.is_modified),
                    }
                }
            };
            layers.push(LayerState {
                name: layer.name.clone(),
                visible: layer.visible,
                opacity: layer.opacity,
                kind,
            });
        }
        let session = Session {
            version: 0,
            program: String::new(),
            layers,
            active: document.active.and_then(at),
            cursor_ras: document.scene.cursor_ras,
            convention: document.scene.convention,
            interpolate: document.scene.interpolate,
            views: document.views,
            layout: document.layout,
            main: document.main,
            maximised: document.maximised,
            volume: self.pictures.volume_view.clone(),
            pack: self.settings.pack.clone(),
            measurements: self.edit.measurements_json(),
        };
        self.start_job(ctx, format!("Saving {}", path.display()), move |task| {
            crate::session::save(session, &maps, &path, task)?;
            Ok(Product::Written(path))
        });
    }

    /// Reads a session beside the window; it replaces what is open when it is there.
    pub(super) fn open_session(&mut self, ctx: &Context, path: PathBuf) {
        self.start_job(ctx, format!("Opening {}", path.display()), move |task| {
            let (session, layers) = crate::session::load(&path, task)?;
            let looks = layers.iter().map(|(opened, _)| match opened {
                Opened::Image(image) => Some(work::first_look(image)),
                Opened::Labels(_) => None,
            });
            let looks = looks.collect();
            Ok(Product::Session(Box::new((session, layers, looks))))
        });
    }

    /// A session was read: it replaces what is open.
    pub(super) fn session_opened(&mut self, read: work::SessionRead) {
        let (session, opened, looks) = read;
        let unsaved = self.document.unsaved().len();
        if unsaved > 0 {
            let text = "there are segmentations with unsaved changes; save or close them, then open the session again";
            self.complain("Opening the session", &anyhow::anyhow!(text));
            return;
        }
        let mut document = crate::document::Document::default();
        self.histograms.clear();
        let mut ids = Vec::new();
        for ((state, (content, notices)), look) in session.layers.iter().zip(opened).zip(looks) {
            let id = match (content, look) {
                (Opened::Image(image), look) => {
                    let look = look.unwrap_or_else(|| work::first_look(&image));
                    let id = document.add_image(*image, state.name.clone(), look.window, look.range);
                    self.histograms.extend(look.histogram.map(|h| (id, h)));
                    id
                }
                (Opened::Labels(map), _) => document.add_labels(*map, state.name.clone(), None, Vec::new()),
            };
            ids.push(id);
            if let Some(details) = document.details.get_mut(&id) {
                details.notices.extend(notices);
            }
        }
        // As they lay over one another, whatever order adding them gave.
        document.scene.layers.sort_by_key(|l| ids.iter().position(|id| *id == l.id));
        for (n, state) in session.layers.iter().enumerate() {
            let Some(layer) = document.scene.layer_mut(ids[n]) else { continue };
            layer.visible = state.visible;
            layer.opacity = state.opacity;
            match (&mut layer.content, &state.kind) {
                (Content::Image(image), Kind::Image { frame, window, colour_map, .. }) => {
                    image.frame = (*frame).min(image.image.frames.len() - 1);
                    image.window = *window;
                    image.colour_map =
                        viewer::ColourMap::by_name(colour_map).unwrap_or_else(viewer::ColourMap::grey);
                }
                (Content::Labels(labels), Kind::Labels { outline, path, source, is_modified, .. }) => {
                    labels.outline = *outline;
                    if let Some(details) = document.details.get_mut(&ids[n]) {
                        details.path.clone_from(path);
                        details.source = source.and_then(|s| ids.get(s).copied());
                        details.is_modified = *is_modified;
                    }
                }
                _ => {}
            }
        }
        document.active = session.active.and_then(|n| ids.get(n).copied()).or(document.active);
        document.scene.cursor_ras = session.cursor_ras;
        document.scene.convention = session.convention;
        document.scene.interpolate = session.interpolate;
        document.views = session.views;
        document.layout = session.layout;
        document.main = session.main;
        document.maximised = session.maximised;
        self.document = document;
        self.pictures.volume_view = session.volume;
        self.edit.restore(&session.measurements);
        if let Some(pack) = session.pack {
            self.settings.pack = Some(pack);
        }
    }
}

/// Encodes pixels as PNG.
///
/// # Errors
/// Those of the encoder.
fn png(size: [usize; 2], pixels: impl Iterator<Item = [u8; 3]>) -> anyhow::Result<Vec<u8>> {
    let (width, height) = (u32::try_from(size[0])?, u32::try_from(size[1])?);
    let rgb: Vec<u8> = pixels.flatten().collect();
    let image = image::RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| anyhow::anyhow!("the picture has not the size it claims"))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Whether a name is one of a DICOM file.
fn is_dicom_name(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("dcm"))
}

fn is_writable(path: &Path) -> bool {
    path.file_name().is_some_and(|n| formats::registry::format_for_name(n).is_some())
}
