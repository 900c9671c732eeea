//! Saving layers, tables and pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eframe::egui::{ColorImage, Context};
use viewer::{Content, LayerId};

use super::App;
use super::dialogs::{Ask, Purpose};
use super::work::{self, Product, Saved};

impl App {
    pub(super) fn save_active(&mut self, ctx: &Context, asks: bool) {
        let Some(id) = self.document.active else { return };
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
        let stem = formats::registry::stem(Path::new(&layer.name)).to_string_lossy().replace(['/', '\\'], "_");
        let suffix = if layer.labels().is_some() && !stem.ends_with("seg") { "_seg" } else { "" };
        let folder = self.recent_folder();
        self.ask(ctx, Ask {
            purpose: Purpose::SaveLayer(id),
            title: "Save as".to_owned(),
            name: format!("{}{suffix}.nii.gz", stem.replace(' ', "_")),
            folder,
            filters: vec![
                ("NIfTI".to_owned(), vec!["nii.gz".to_owned(), "nii".to_owned(), "gz".to_owned()]),
                ("NRRD".to_owned(), vec!["nrrd".to_owned()]),
                ("MetaImage".to_owned(), vec!["mha".to_owned()]),
                ("FreeSurfer MGH".to_owned(), vec!["mgz".to_owned(), "mgh".to_owned()]),
                ("All files".to_owned(), vec!["*".to_owned()]),
            ],
        });
    }

    /// Writes a layer; a snapshot is written, so that editing may go on.
    pub fn save_to(&mut self, ctx: &Context, id: LayerId, path: PathBuf) {
        let Some(layer) = self.document.scene.layer(id) else { return };
        let content = match &layer.content {
            Content::Image(image) => Saved::Image(Arc::clone(&image.image)),
            Content::Labels(_) => match self.document.label_map(id) {
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
        self.ask(ctx, Ask {
            purpose: Purpose::SaveTable(id),
            title: "Save label table".to_owned(),
            name: "labels.csv".to_owned(),
            folder,
            filters: vec![("Comma-separated values".to_owned(), vec!["csv".to_owned()])],
        });
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

    pub(super) fn ask_for_screenshot(&mut self, ctx: &Context) {
        let folder = self.recent_folder();
        self.ask(ctx, Ask {
            purpose: Purpose::SaveScreenshot,
            title: "Save picture of the window".to_owned(),
            name: "insula.png".to_owned(),
            folder,
            filters: vec![("PNG".to_owned(), vec!["png".to_owned()])],
        });
    }

    /// Takes a picture of the next frame and writes it.
    pub(super) fn save_screenshot(&mut self, ctx: &Context, path: PathBuf) {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Arc<ColorImage>>(1);
        ctx.request_screenshot(move |image| {
            // Nobody waits any more when the window is closing.
            let _ = sender.send(image);
        });
        self.start_job(ctx, format!("Saving {}", path.display()), move |task| {
            task.check()?;
            let image = receiver
                .recv_timeout(std::time::Duration::from_secs(20))
                .map_err(|_| anyhow::anyhow!("no picture came from the window within 20 s; is it minimised?"))?;
            let bytes = png(image.size, image.pixels.iter().map(|p| [p.r(), p.g(), p.b()]))?;
            formats::atomic::write_bytes(&path, &bytes)?;
            Ok(Product::Written(path))
        });
        ctx.request_repaint();
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

fn is_writable(path: &Path) -> bool {
    path.file_name().is_some_and(|n| formats::registry::format_for_name(n).is_some())
}
