//! What the window has done on other threads: opening, running packs, saving. Nothing here knows egui.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use formats::{Cancel, Content, Image, LabelMap, Notice, Task, Volume};
use inference::{Engine, EngineOptions, ProviderReport};
use models::family::{Limits, Output};
use models::{Case, Catalog, ModelPack, Pipeline, Prompting, Restoring};
use viewer::tools::LabelEdit;
use viewer::window::Histogram;
use viewer::{LayerId, Window};

use crate::jobs::Early;
use crate::open::Opened;
use crate::packs::PackInfo;
use crate::session::Session;

/// What a job hands back.
#[derive(Debug)]
pub enum Product {
    /// A file was opened.
    Opened(Box<OpenedFile>),
    /// Folders and archives were looked into.
    LookedInto(Box<Found>),
    /// The small picture of a DICOM stack; none when it cannot be drawn.
    Thumbnail(String, Option<formats::dicom::Thumbnail>),
    /// Something of de-identification.
    Deid(Box<super::deid::work::Made>),
    /// A pack ran on a layer.
    Segmented(Box<Segmented>),
    /// Answers to phrases asked of a slice.
    FoundHere(Box<super::prompt::FoundHere>),
    /// A pack restored a layer.
    Restored(Box<RestoredImage>),
    /// A pack classified a layer, or found things on it.
    Found(Box<super::findings::Findings>),
    /// A network that was exported elsewhere was looked at, for the answers given.
    Looked(Box<super::plain::Looked>),
    /// A pack restored a piece of a layer.
    Previewed(Box<super::restore::Previewed>),
    /// A layer was written to a file.
    Saved(LayerId, PathBuf),
    /// Something else was written to a file.
    Written(PathBuf),
    /// What earlier runs left behind.
    Pending(Vec<crate::journal::Pending>),
    /// Edits of an earlier run were rebuilt.
    Recovered(Box<super::recovery::Rebuilt>),
    /// A session was read.
    Session(Box<SessionRead>),
    /// The packs there are.
    Packs(Vec<PackRow>),
    /// A pack came in.
    PackInstalled(Box<PackInfo>),
    /// What a pack would take on a layer.
    Estimated(LayerId, String, Result<Estimated, String>),
    /// Voxels per label of a segmentation at a revision.
    Counted(LayerId, u64, Vec<(u16, u64)>),
    /// An edit of a segmentation, made from its voxels at a revision.
    Edited {
        /// The segmentation.
        layer: LayerId,
        /// What it was made from.
        revision: u64,
        /// What the user did.
        title: &'static str,
        /// To be applied.
        edit: LabelEdit,
    },
    /// Where a label is, RAS+ millimetres; none when it does not occur.
    Centred(Option<[f64; 3]>),
}

/// A session: what it says, its layers with notices, and the first looks at the images.
pub type SessionRead = (Session, Vec<crate::session::LayerRead>, Vec<Option<Look>>);

/// A file with the first look at it.
#[derive(Debug)]
pub struct OpenedFile {
    /// The file; of a DICOM series, its first.
    pub path: PathBuf,
    /// What it is called, when not by its file name.
    pub name: Option<String>,
    /// Its content.
    pub content: Opened,
    /// A window to start with, and the range of values (images).
    pub look: Option<Look>,
    /// Segmentations and structure sets of this image, to be opened next.
    pub then: Vec<PathBuf>,
}

/// What was found in folders, archives and among files.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub paths: Vec<PathBuf>,
    /// Files to be opened one by one.
    pub files: Vec<PathBuf>,
    /// DICOM.
    pub tree: formats::dicom::Tree,
}

/// A first look at the values of an image.
#[derive(Debug)]
pub struct Look {
    /// A window to start with.
    pub window: Window,
    /// Smallest and largest finite value.
    pub range: (f64, f64),
    /// How often values occur; none for colours.
    pub histogram: Option<Histogram>,
}

/// A result with where it came from.
#[derive(Debug)]
pub struct Segmented {
    /// The layer it was computed from.
    pub source: LayerId,
    /// The segmentation, on the grid of the source.
    pub labels: LabelMap,
    /// What became of each prompt, by packs that are told in words what to mark.
    pub found: Vec<models::prompter::Found>,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// The pack's name.
    pub pack: String,
    /// The provider really used, and why.
    pub provider: ProviderReport,
    /// Seconds in all.
    pub seconds: f64,
}

/// A restored image with where it came from.
#[derive(Debug)]
pub struct RestoredImage {
    /// The layer it was computed from.
    pub source: LayerId,
    /// On the grid of the source.
    pub image: Image,
    /// A first look at it.
    pub look: Look,
    /// The pack's name.
    pub pack: String,
    /// The provider really used, and why.
    pub provider: ProviderReport,
    /// Seconds in all.
    pub seconds: f64,
}

/// A pack in the panel.
#[derive(Clone, Debug)]
pub struct PackRow {
    /// What it is.
    pub info: PackInfo,
    /// The pack, or why it cannot be used.
    pub pack: Arc<ModelPack>,
    /// Its card.
    pub card: String,
    /// What it is meant for.
    pub intended_use: String,
}

/// What a run would take.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimated {
    /// Bytes beyond the volumes that are open.
    pub memory_bytes: u64,
    /// Bytes that may be used.
    pub available_bytes: u64,
    /// Tiles through the network.
    pub tiles: usize,
    /// What to know beforehand.
    pub notices: Vec<Notice>,
}

/// Opens a file and looks at its values.
///
/// # Errors
/// Those of the reader.
pub fn open(
    path: &Path,
    as_labels: Option<bool>,
    source: Option<&Volume>,
    task: &Task,
) -> anyhow::Result<Product> {
    let content = crate::open::open(path, as_labels, source, task)?;
    looked_at(path, None, content, Vec::new(), task)
}

/// Content with a first look at its values.
fn looked_at(
    path: &Path,
    name: Option<String>,
    content: Opened,
    then: Vec<PathBuf>,
    task: &Task,
) -> anyhow::Result<Product> {
    let look = match &content {
        Opened::Image(image) => {
            task.at("looking at the values", 0.0)?;
            let look = first_look(image);
            // Who cancelled meanwhile does not want the file any more.
            task.check()?;
            Some(look)
        }
        Opened::Labels(..) => None,
    };
    Ok(Product::Opened(Box::new(OpenedFile { path: path.to_owned(), name, content, look, then })))
}

/// Looks into folders, archives and DICOMDIRs, and through files of which some may be DICOM. Of a folder, images of
/// other formats are taken when they lie in it directly; DICOM is searched in all folders below.
///
/// # Errors
/// Those of scanning.
pub fn look_into(paths: &[PathBuf], task: &Task) -> anyhow::Result<Product> {
    let (mut files, mut dicom) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            let inside = crate::open::files_in(path)?;
            files.extend(inside.into_iter().filter(|f| !crate::dicom::is_dicom_file(f)));
            dicom.push(path.clone());
        } else if crate::dicom::is_collection(path) || crate::dicom::is_dicom_file(path) {
            dicom.push(path.clone());
        } else {
            files.push(path.clone());
        }
    }
    let tree =
        if dicom.is_empty() { formats::dicom::Tree::default() } else { formats::dicom::scan(&dicom, task)? };
    Ok(Product::LookedInto(Box::new(Found { paths: paths.to_vec(), files, tree })))
}

/// Stacks with more bytes of pixels than this show their middle slice while the rest is read.
const EARLY_BYTES: u64 = 32 << 20;

/// Reads a DICOM stack; its middle slice is handed over first. `then` goes with the result.
///
/// # Errors
/// Those of reading.
pub fn load_stack(
    stack: &formats::dicom::Stack,
    then: Vec<PathBuf>,
    task: &Task,
    early: &Early<Product>,
) -> anyhow::Result<Product> {
    let path = stack.records().first().map(|r| r.path.clone()).unwrap_or_default();
    let name = Some(stack.label.clone());
    if stack.pixel_bytes() > EARLY_BYTES
        && let Some(middle) = stack.middle()
        && let Ok(image) = formats::dicom::load(&middle, task)
    {
        let look = Some(first_look(&image));
        let content = Opened::Image(Box::new(image));
        let file = OpenedFile { path: path.clone(), name: name.clone(), content, look, then: Vec::new() };
        early.give(Product::Opened(Box::new(file)));
    }
    let image = formats::dicom::load(stack, task)?;
    looked_at(&path, name, Opened::Image(Box::new(image)), then, task)
}

/// As [`open`], showing a slice of a large file while the rest is read.
///
/// # Errors
/// Those of the reader.
pub fn open_early(
    path: &Path,
    source: Option<&Volume>,
    task: &Task,
    early: &Early<Product>,
) -> anyhow::Result<Product> {
    // A slice of a DICOM series stands for the series.
    if let Some(stack) = crate::dicom::siblings(path, task)? {
        return load_stack(&stack, Vec::new(), task, early);
    }
    if crate::open::is_named_like_labels(path) {
        // A slice would be shown in greys, and become a segmentation in colours.
        return open(path, None, source, task);
    }
    std::thread::scope(|scope| {
        // On a thread of its own, so that it costs the whole nothing where there is a second processor.
        let is_over = Cancel::default();
        let slice = {
            let is_over = is_over.clone();
            move || {
                let look = Task::new(is_over, |_, _| {});
                // What is wrong with the file is told by reading all of it.
                if let Ok(Some(image)) = formats::preview(path, &look)
                    && look.check().is_ok()
                {
                    let first = first_look(&image);
                    let content = Opened::Image(Box::new(image));
                    let file = OpenedFile {
                        path: path.to_owned(),
                        name: None,
                        content,
                        look: Some(first),
                        then: Vec::new(),
                    };
                    early.give(Product::Opened(Box::new(file)));
                }
            }
        };
        // Without a thread there is no slice; the whole comes as always.
        let _ = std::thread::Builder::new().name("first slice".to_owned()).spawn_scoped(scope, slice);
        let whole = open(path, None, source, task);
        is_over.cancel();
        whole
    })
}

/// A window to start with, the range of values and their histogram.
#[must_use]
pub fn first_look(image: &Image) -> Look {
    let histogram = Histogram::of(image.first());
    let statistics = image.statistics();
    Look { window: viewer::window::suggested(image), range: (statistics.min, statistics.max), histogram }
}

/// A network that stays loaded between runs of the same pack.
#[derive(Default)]
pub struct Loaded(Mutex<Option<Pipeline>>);

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loaded")
    }
}

/// How a pack is to be run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The layer.
    pub source: LayerId,
    /// Its volumes, one per channel: the frame shown.
    pub channels: Vec<Volume>,
    /// The whole image, for packs that restore: they do all frames.
    pub whole: Option<Arc<Image>>,
    /// Its name, for messages.
    pub name: String,
    /// The pack.
    pub pack: Arc<ModelPack>,
    /// `auto`, `cpu`, …
    pub provider: String,
    /// Compute threads.
    pub threads: Option<usize>,
    /// Whether a missing ONNX Runtime may be installed.
    pub may_install: bool,
    /// How images are restored, by packs that restore.
    pub restoring: Restoring,
    /// What is asked, of packs that are told in words what to mark.
    pub prompting: Prompting,
}

impl Run {
    pub(super) fn case(&self) -> Case {
        let case = match &self.whole {
            Some(image) => Case::of_frames(self.name.clone(), image.frames.clone(), image.frame_axes.clone()),
            None => Case::new(self.name.clone(), self.channels.clone()),
        };
        Case { restoring: self.restoring, prompting: self.prompting.clone(), ..case }
    }

    /// What it would take.
    ///
    /// # Errors
    /// Why the case does not fit the pack or the machine.
    pub fn estimate(&self) -> anyhow::Result<Estimated> {
        let family = models::family::find(&self.pack.manifest.family)
            .context("the family of a checked pack exists")?;
        let estimate = family.check(&self.pack, &self.case(), Limits::default())?;
        Ok(Estimated {
            memory_bytes: estimate.memory_bytes,
            available_bytes: estimate.available_bytes,
            tiles: estimate.tiles,
            notices: estimate.notices,
        })
    }

    /// Does something with the pack's network, which is loaded unless it is there already.
    ///
    /// # Errors
    /// Those of the runtime and the pack, and of what is done.
    pub(super) fn on<T>(
        &self,
        loaded: &Loaded,
        task: &Task,
        work: impl FnOnce(&Self, &mut Pipeline) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut slot = loop {
            // Two runs at once would only slow each other down; the second waits, and may be cancelled meanwhile.
            match loaded.0.try_lock() {
                Ok(slot) => break slot,
                Err(std::sync::TryLockError::Poisoned(poisoned)) => break PoisonError::into_inner(poisoned),
                Err(std::sync::TryLockError::WouldBlock) => {
                    task.at("waiting for the run before", 0.0)?;
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            }
        };
        let is_loaded = slot.as_ref().is_some_and(|p| p.steps().pack().hash == self.pack.hash);
        if !is_loaded {
            *slot = None;
            let runtime = crate::runtime::find_or_install(self.may_install, task)?;
            task.at("loading the network", 0.0)?;
            let provider =
                self.provider.parse().map_err(|e: inference::Error| crate::failure::Usage(e.to_string()))?;
            let threads = self.threads.unwrap_or_else(inference::threads::default_threads);
            let engine = Engine::start(&EngineOptions { runtime, provider, threads })?;
            *slot = Some(Pipeline::open(Arc::clone(&self.pack), engine, Limits::default(), task)?);
        }
        work(self, slot.as_mut().context("it was loaded above")?)
    }

    /// Runs it.
    ///
    /// # Errors
    /// Those of the runtime, the pack and the run.
    pub fn run(self, loaded: &Loaded, task: &Task) -> anyhow::Result<Product> {
        let began = std::time::Instant::now();
        let (outcome, provider) = self.on(loaded, task, |run, pipeline| {
            Ok((pipeline.run(run.case(), task)?, pipeline.provider().clone()))
        })?;
        let (source, pack) = (self.source, self.pack.manifest.name.clone());
        let seconds = || began.elapsed().as_secs_f64();
        let findings = |answer, notices| {
            let seconds = began.elapsed().as_secs_f64();
            super::findings::Findings {
                source,
                answer,
                notices,
                pack: pack.clone(),
                provider: provider.clone(),
                seconds,
            }
        };
        Ok(match outcome.output {
            Output::Labels(labels) => Product::Segmented(Box::new(Segmented {
                source,
                labels,
                found: outcome.found,
                notices: outcome.notices,
                pack,
                provider,
                seconds: seconds(),
            })),
            Output::Classes(classified) => {
                let answer = super::findings::Answer::Classes(classified);
                Product::Found(Box::new(findings(answer, outcome.notices)))
            }
            Output::Boxes(detected) => {
                let answer = super::findings::Answer::Boxes(detected);
                Product::Found(Box::new(findings(answer, outcome.notices)))
            }
            Output::Text(found) => {
                let answer = super::findings::Answer::Text(found);
                Product::Found(Box::new(findings(answer, outcome.notices)))
            }
            Output::Image(restored) => {
                let image = restored.into_image(outcome.notices);
                let look = first_look(&image);
                Product::Restored(Box::new(RestoredImage {
                    source,
                    image,
                    look,
                    pack,
                    provider,
                    seconds: seconds(),
                }))
            }
        })
    }
}

/// The packs there are (bundled ones, and those in a folder), with their cards.
///
/// # Errors
/// Never; packs that cannot be used are left out, as `insula packs list` tells.
pub fn packs(folder: &Path) -> anyhow::Result<Product> {
    let catalog = Catalog::in_folder(folder);
    let rows = catalog.packs().iter().map(|pack| {
        let card = pack.read(models::manifest::Role::Card).map(|b| String::from_utf8_lossy(&b).into_owned());
        PackRow {
            info: PackInfo::of(pack),
            pack: Arc::clone(pack),
            card: card.unwrap_or_default(),
            intended_use: pack.manifest.intended_use.clone(),
        }
    });
    Ok(Product::Packs(rows.collect()))
}

/// Writes a volume or a segmentation; the ending of the name chooses the format.
///
/// # Errors
/// Those of the writer.
pub fn save(layer: LayerId, content: &Saved, path: &Path, task: &Task) -> anyhow::Result<Product> {
    match content {
        Saved::Labels(labels) => formats::save(Content::Labels(labels), path, task)?,
        Saved::Dicom(labels, source) => {
            let object = crate::dicom::LabelObject::Seg;
            let algorithm = labels.meta.facts.get("pack").map_or("", String::as_str);
            crate::dicom::write_labels(labels, source, object, algorithm, path, task)?;
        }
        Saved::Image(image) => formats::save(Content::Image(image), path, task)?,
        Saved::Series(volume) => {
            // A folder of the name without `.dcm`. Its first file stands for the series.
            // A restored image says so in the series, too.
            let is_restored = models::restorer::is_restored(&volume.meta);
            let what = if is_restored { volume.meta.description.as_str() } else { "" };
            let (frame, folder) = (std::slice::from_ref(&**volume), path.with_extension(""));
            let (files, _) = crate::dicom::write_series(frame, &[], None, what, &folder, task)?;
            return Ok(Product::Saved(layer, files.into_iter().next().unwrap_or_default()));
        }
    }
    Ok(Product::Saved(layer, path.to_owned()))
}

/// What is saved: a snapshot, so that editing may go on meanwhile.
#[derive(Clone, Debug)]
pub enum Saved {
    /// A segmentation.
    Labels(Box<LabelMap>),
    /// A segmentation as DICOM SEG, and the image it is of.
    Dicom(Box<LabelMap>, Box<Volume>),
    /// An image.
    Image(Arc<Image>),
    /// A frame of an image as a DICOM series derived from the one it came from, in a folder.
    Series(Box<Volume>),
}

/// Counts voxels per label.
///
/// # Errors
/// [`formats::Error::Cancelled`].
pub fn count(layer: LayerId, revision: u64, labels: &formats::Shared<u16>) -> anyhow::Result<Product> {
    use rayon::prelude::*;
    let voxels = labels.as_slice().context("label volumes lie in one piece")?;
    let total = voxels
        .par_chunks(1 << 18)
        .map(|chunk| {
            // Most voxels equal the one before: count runs, not voxels.
            let mut counts = std::collections::HashMap::<u16, u64>::new();
            for run in chunk.chunk_by(|a, b| a == b) {
                *counts.entry(run[0]).or_default() += run.len() as u64;
            }
            counts
        })
        .reduce(Default::default, |mut a, b| {
            for (id, n) in b {
                *a.entry(id).or_default() += n;
            }
            a
        });
    let mut rows: Vec<(u16, u64)> = total.into_iter().filter(|(id, _)| *id != 0).collect();
    rows.sort_unstable();
    Ok(Product::Counted(layer, revision, rows))
}
