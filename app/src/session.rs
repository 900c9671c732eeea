//! A session: what is open and how it is looked at, as one file.
//!
//! The file is a zip archive: `session.json`, and one NIfTI file per segmentation, so that edits travel inside it.
//! Images stay where they are; the session remembers their place (also relative to itself), size and SHA-256, and says
//! so when one is gone or another. Entries are read by their names in `session.json` only, into temporary files of our
//! own naming: nothing in the archive chooses a path.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use formats::{Content, Image, LabelMap, LabelTable, Notice, Task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use viewer::{Convention, SliceView, VolumeView, Window};

use crate::document::{Layout, MainPane, Pane};

/// Written into the file; higher ones are refused.
const VERSION: u32 = 1;
/// The file ending.
pub const ENDING: &str = "insula";
/// A description larger than this is not ours.
const LARGEST_DESCRIPTION: u64 = 64 << 20;
/// A segmentation inside a session may be this large when unpacked.
const LARGEST_LABELS: u64 = 8 << 30;

/// The content of `session.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Version of this form.
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// Bottom layer first.
    pub layers: Vec<LayerState>,
    /// Index of the active layer.
    pub active: Option<usize>,
    /// The crosshair, RAS+ millimetres.
    pub cursor_ras: [f64; 3],
    /// Which side the patient's right is on.
    pub convention: Convention,
    /// Linear interpolation.
    pub interpolate: bool,
    /// Zoom and pan per plane; fitted when none.
    pub views: [Option<SliceView>; 3],
    /// How panes share the window.
    pub layout: Layout,
    /// The pane shown large.
    pub main: MainPane,
    /// The pane that fills the window.
    pub maximised: Option<Pane>,
    /// The 3-D view.
    pub volume: VolumeView,
    /// The pack that was chosen.
    pub pack: Option<String>,
    /// Measurements, as the editor keeps them.
    pub measurements: serde_json::Value,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerState {
    /// Name for people.
    pub name: String,
    /// Whether it is drawn.
    pub visible: bool,
    /// 0 to 1.
    pub opacity: f32,
    /// What it is.
    pub kind: Kind,
}

/// What a layer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// An image in a file of its own.
    Image {
        /// Where it was.
        path: PathBuf,
        /// Where it was, from the session's folder.
        relative: Option<PathBuf>,
        /// Bytes of the file.
        bytes: u64,
        /// Of the file, in hexadecimal.
        sha256: String,
        /// The frame shown.
        frame: usize,
        /// Values at the ends of the colours.
        window: Window,
        /// Name of the colour map.
        colour_map: String,
    },
    /// A segmentation inside the session.
    Labels {
        /// Name of the entry.
        entry: String,
        /// The file it came from or was saved to.
        path: Option<PathBuf>,
        /// Index of the layer it was computed from.
        source: Option<usize>,
        /// Borders instead of areas.
        outline: bool,
        /// Names, colours, visibility.
        table: LabelTable,
        /// Whether it held changes that no other file holds.
        is_modified: bool,
    },
}

/// A layer that was read back.
#[derive(Debug)]
pub enum Opened {
    /// An image.
    Image(Box<Image>),
    /// A segmentation.
    Labels(Box<LabelMap>),
}

/// A layer that was read back, with notices.
pub type LayerRead = (Opened, Vec<Notice>);

/// Writes a session. `labels` holds the segmentations in the order in which they occur in the layers.
///
/// # Errors
/// When an image file cannot be read any more, or the session cannot be written.
pub fn save(mut session: Session, labels: &[LabelMap], path: &Path, task: &Task) -> anyhow::Result<()> {
    session.version = VERSION;
    session.program = format!("insula {}", env!("CARGO_PKG_VERSION"));
    let home = std::path::absolute(path)?.parent().map(Path::to_owned).unwrap_or_default();
    for layer in &mut session.layers {
        if let Kind::Image { path, relative, bytes, sha256, .. } = &mut layer.kind {
            task.at("reading images", 0.0)?;
            *path = std::path::absolute(&*path)?;
            *relative = path.strip_prefix(&home).ok().map(Path::to_owned);
            (*bytes, *sha256) = digest(path, task)?;
        }
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut parts = Vec::new();
    let entries = session.layers.iter().filter_map(|l| match &l.kind {
        Kind::Labels { entry, .. } => Some(entry.clone()),
        Kind::Image { .. } => None,
    });
    for (n, (entry, map)) in entries.zip(labels).enumerate() {
        task.at("writing segmentations", n as f32 / labels.len() as f32)?;
        let file = folder.path().join(format!("{n}.nii.gz"));
        formats::save(Content::Labels(map), &file, task)?;
        parts.push((entry, file));
    }
    let description = serde_json::to_vec_pretty(&session)?;
    formats::atomic::write(path, |temporary| {
        let io = |e: std::io::Error| formats::Error::io(path, "write")(e);
        let mut zip = zip::ZipWriter::new(std::fs::File::create(temporary).map_err(io)?);
        let options = zip::write::SimpleFileOptions::default();
        let packed = options.compression_method(zip::CompressionMethod::Deflated);
        // Segmentations are compressed already.
        let stored = options.compression_method(zip::CompressionMethod::Stored).large_file(true);
        zip.start_file("session.json", packed).map_err(|e| io(e.into()))?;
        zip.write_all(&description).map_err(io)?;
        for (entry, file) in &parts {
            zip.start_file(entry.as_str(), stored).map_err(|e| io(e.into()))?;
            std::io::copy(&mut std::fs::File::open(file).map_err(io)?, &mut zip).map_err(io)?;
        }
        zip.finish().map_err(|e| io(e.into()))?;
        Ok(())
    })?;
    Ok(())
}

/// Reads a session and everything in it. An image that changed since is opened, with a notice.
///
/// # Errors
/// What is wrong with the session; which image is not where it was.
pub fn load(path: &Path, task: &Task) -> anyhow::Result<(Session, Vec<LayerRead>)> {
    let file = std::fs::File::open(path).map_err(formats::Error::io(path, "read"))?;
    let mut zip = zip::ZipArchive::new(file)
        .with_context(|| format!("{}: this is not a session of Insula (no zip archive)", path.display()))?;
    let session = {
        let entry = zip.by_name("session.json").with_context(|| {
            format!("{}: this is not a session of Insula (no session.json)", path.display())
        })?;
        let mut text = String::new();
        entry
            .take(LARGEST_DESCRIPTION)
            .read_to_string(&mut text)
            .map_err(formats::Error::io(path, "read"))?;
        let session: Session = serde_json::from_str(&text)
            .with_context(|| format!("{}: session.json is damaged", path.display()))?;
        session
    };
    anyhow::ensure!(
        session.version <= VERSION,
        "{}: written by {}, in version {} of the form; this program reads up to {VERSION}. Use a newer Insula",
        path.display(),
        session.program,
        session.version
    );
    let home = path.parent().unwrap_or(Path::new("."));
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut layers = Vec::new();
    for (n, layer) in session.layers.iter().enumerate() {
        task.at("opening layers", n as f32 / session.layers.len() as f32)?;
        layers.push(match &layer.kind {
            Kind::Image { path: was, relative, bytes, sha256, .. } => {
                let candidates = relative.iter().map(|r| home.join(r)).chain([was.clone()]);
                let found = candidates.into_iter().find(|p| p.is_file()).with_context(|| {
                    format!(
                        "{}: the image {} is not there any more. Put it back, or beside the session",
                        path.display(),
                        was.display()
                    )
                })?;
                let image = formats::open(&found, task)?;
                let mut notices = Vec::new();
                if digest(&found, task)? != (*bytes, sha256.clone()) {
                    let text = format!(
                        "{} is not the file that was open when the session was saved",
                        found.display()
                    );
                    notices.push(Notice::warning("image-changed", text));
                }
                (Opened::Image(Box::new(image)), notices)
            }
            Kind::Labels { entry, table, .. } => {
                let inner = zip.by_name(entry).with_context(|| {
                    format!("{}: the segmentation “{}” is missing", path.display(), layer.name)
                })?;
                let unpacked = folder.path().join(format!("{n}.nii.gz"));
                let mut out =
                    std::fs::File::create(&unpacked).map_err(formats::Error::io(&unpacked, "create"))?;
                std::io::copy(&mut inner.take(LARGEST_LABELS), &mut out)
                    .map_err(formats::Error::io(path, "read"))?;
                let mut map = formats::open(&unpacked, task)?.first().to_labels()?;
                map.table = table.clone();
                map.meta.path = None;
                (Opened::Labels(Box::new(map)), Vec::new())
            }
        });
    }
    Ok((session, layers))
}

/// Bytes and SHA-256 of a file.
fn digest(path: &Path, task: &Task) -> anyhow::Result<(u64, String)> {
    let mut file = std::fs::File::open(path).map_err(formats::Error::io(path, "read"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        task.check()?;
        let n = file.read(&mut buffer).map_err(formats::Error::io(path, "read"))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok((bytes, models::pack::hex(&hash.finalize())))
}
