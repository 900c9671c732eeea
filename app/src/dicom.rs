//! DICOM as the program's users meet it: folders, archives and DICOMDIRs with several things in them, names that give
//! no patient away, segmentations and structure sets that belong to images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::dicom::capture::{self, CaptureOptions, Picture};
use formats::dicom::derived::{self, DerivedOptions};
use formats::dicom::{Origin, Series, Stack, Tree, read_header, rtstruct, scan, seg};
use formats::{FrameAxis, Image, LabelMap, Notice, Task, Volume};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use viewer::scene::grid_bounds_ras;

use crate::failure::Usage;

/// SOP classes of segmentations: Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5).
const SEGMENTATIONS: [&str; 2] = ["1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"];
/// RT Structure Set Storage.
const STRUCTURE_SET: &str = "1.2.840.10008.5.1.4.1.1.481.3";

/// What kind of results a DICOM object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// A DICOM SEG.
    Segmentation,
    /// An RTSTRUCT.
    StructureSet,
}

impl Derived {
    /// By SOP Class UID.
    #[must_use]
    pub fn of_class(uid: &str) -> Option<Self> {
        if SEGMENTATIONS.contains(&uid) {
            Some(Self::Segmentation)
        } else {
            (uid == STRUCTURE_SET).then_some(Self::StructureSet)
        }
    }

    /// What a file is; none for images, for files that are no DICOM, and for unreadable ones.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        if !is_dicom_file(path) {
            return None;
        }
        Self::of_class(&read_header(path).ok()?.sop_class_uid)
    }
}

/// Whether a file begins as DICOM files do.
#[must_use]
pub fn is_dicom_file(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut head));
    read.is_ok() && formats::dicom::is_dicom(&head)
}

/// Whether a path is looked into rather than opened: a folder, a ZIP archive, a DICOMDIR.
#[must_use]
pub fn is_collection(path: &Path) -> bool {
    let is_archive = || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("zip"));
    let is_directory = || path.file_name().is_some_and(|n| n.eq_ignore_ascii_case("DICOMDIR"));
    path.is_dir() || is_archive() || is_directory()
}

/// A name for files: modality, series number and eight digits of a hash of the series' identifier, such as
/// `ct-2-9f31c06a`. No patient data, and the same at every scan; the second and further stacks of a series end in
/// `-2`, `-3`, ….
#[must_use]
pub fn stack_name(series: &Series, stack: &Stack) -> String {
    let modality: String =
        stack.modality.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    // Some anonymisers empty the series' identifier; instances have one of their own.
    let instance = || series.records.first().map_or("", |r| r.sop_instance_uid.as_str());
    let identifier = if series.uid.is_empty() { instance() } else { &series.uid };
    let hash = short_hash(identifier);
    let mut name = if modality.is_empty() { "image".to_owned() } else { modality };
    if let Some(number) = series.number {
        name = format!("{name}-{number}");
    }
    name = format!("{name}-{hash}");
    match series.stacks.iter().position(|s| s.id == stack.id) {
        Some(n) if n > 0 => format!("{name}-{}", n + 1),
        _ => name,
    }
}

/// Eight digits of a hash of an identifier.
#[must_use]
pub fn short_hash(identifier: &str) -> String {
    Sha256::digest(identifier.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect()
}

/// Every stack of a tree with its series.
pub fn stacks(tree: &Tree) -> impl Iterator<Item = (&Series, &Stack)> {
    tree.series().flat_map(|series| series.stacks.iter().map(move |stack| (series, stack)))
}

/// The stack that `wanted` names: its [`stack_name`] or [`Stack::id`], or a series number or UID that only one stack
/// has. Without `wanted`, the only one there is.
///
/// # Errors
/// [`Usage`] that lists what there is.
pub fn choose<'a>(tree: &'a Tree, wanted: Option<&str>, path: &Path) -> anyhow::Result<&'a Stack> {
    let all: Vec<(&Series, &Stack)> = stacks(tree).collect();
    if all.is_empty() {
        let what = if tree.files == tree.others { "no DICOM file" } else { "no DICOM image" };
        return Err(formats::Error::unsupported(
            path,
            format!("{what} among {} files", tree.files),
            "folders, ZIP archives and DICOMDIRs with DICOM images",
            "Name the files themselves if they are of another format",
        )
        .into());
    }
    let matches: Vec<&Stack> = all
        .iter()
        .filter(|(series, stack)| {
            wanted.is_none_or(|w| {
                w == stack.id
                    || w == stack_name(series, stack)
                    || w == series.uid
                    || series.number.is_some_and(|n| n.to_string() == w)
            })
        })
        .map(|(_, stack)| *stack)
        .collect();
    if let [only] = matches[..] {
        return Ok(only);
    }
    let list: Vec<String> = all
        .iter()
        .map(|(series, stack)| format!("  {}  {}", stack_name(series, stack), stack.label))
        .collect();
    let found = match (wanted, matches.len()) {
        (Some(wanted), 0) => format!("there is no series {wanted}"),
        (Some(wanted), n) => format!("{n} series are meant by {wanted}"),
        (None, n) => format!("{n} series are in it"),
    };
    Err(Usage(format!("{}: {found}; choose one with --series:\n{}", path.display(), list.join("\n"))).into())
}

/// Opens a file, or one series of a collection.
///
/// # Errors
/// Those of scanning and reading; [`Usage`] when it is not clear which series is meant.
pub fn open_image(path: &Path, series: Option<&str>, task: &Task) -> anyhow::Result<Image> {
    if !is_collection(path) {
        if let Some(series) = series {
            return Err(Usage(format!(
                "{}: --series {series} chooses from a folder, a ZIP archive or a DICOMDIR, and this is one file",
                path.display()
            ))
            .into());
        }
        return Ok(formats::open(path, task)?);
    }
    let tree = scan(&[path.to_owned()], task)?;
    let mut image = formats::dicom::load(choose(&tree, series, path)?, task)?;
    image.notices.extend(tree.notices);
    Ok(image)
}

/// The stack that a single file belongs to, with its neighbours in the folder; none when the file stands alone or is no
/// DICOM image.
///
/// # Errors
/// [`formats::Error::Cancelled`]; a file that cannot be read is told when it is opened by itself.
pub fn siblings(file: &Path, task: &Task) -> anyhow::Result<Option<Stack>> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if is_collection(file) || !is_dicom_file(file) {
        return Ok(None);
    }
    let Ok(own) = read_header(file) else { return Ok(None) };
    if Derived::of_class(&own.sop_class_uid).is_some() {
        return Ok(None);
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(None) };
    // Not what lies in folders inside: only the file's own neighbours.
    let files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    let tree = scan(&files, task)?;
    let name = file.file_name();
    let found = tree.stacks().find(|stack| stack.records().iter().any(|r| r.path.file_name() == name));
    Ok(found.filter(|stack| stack.records().len() > 1).cloned())
}

/// Reads a SEG or RTSTRUCT. `source` is the image it is of; structure sets need one.
///
/// # Errors
/// Those of the readers; [`Usage`] when a structure set comes without its image.
pub fn open_labels(
    path: &Path,
    kind: Derived,
    source: Option<&Volume>,
    task: &Task,
) -> anyhow::Result<(LabelMap, Vec<Notice>)> {
    match (kind, source) {
        (Derived::Segmentation, source) => Ok(seg::read(path, source, task)?),
        (Derived::StructureSet, Some(source)) => Ok(rtstruct::read(path, source, task)?),
        (Derived::StructureSet, None) => Err(Usage(format!(
            "{}: a structure set holds outlines on the slices of an image; open that image first (on the command line \
             give it with --source)",
            path.display()
        ))
        .into()),
    }
}

/// What DICOM object a segmentation is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LabelObject {
    /// DICOM SEG, one bit per voxel and segment: understood everywhere.
    #[default]
    Seg,
    /// DICOM SEG as a label map: small, understood by few programs yet.
    SegLabelmap,
    /// RTSTRUCT: outlines.
    Rtstruct,
}

/// Writes a segmentation of `source` as a DICOM object.
///
/// # Errors
/// [`Usage`] when the image is not from DICOM; those of the writers.
pub fn write_labels(
    labels: &LabelMap,
    source: &Volume,
    object: LabelObject,
    algorithm: &str,
    path: &Path,
    task: &Task,
) -> anyhow::Result<Vec<Notice>> {
    let Some(origin) = &source.meta.dicom else {
        return Err(Usage(format!(
            "{}: a DICOM segmentation refers to the DICOM images it is of, and this one's image is not from DICOM; \
             give the images with --source, or choose another format",
            path.display()
        ))
        .into());
    };
    let mut labels = labels.clone();
    labels.meta.dicom = Some(Arc::clone(origin));
    Ok(match object {
        LabelObject::Seg | LabelObject::SegLabelmap => {
            let encoding =
                if object == LabelObject::Seg { seg::Encoding::Binary } else { seg::Encoding::LabelMap };
            let mut options = seg::SegOptions { encoding, ..seg::SegOptions::default() };
            if !algorithm.is_empty() {
                algorithm.clone_into(&mut options.algorithm_name);
            }
            seg::write(&labels, &options, path, task)?
        }
        LabelObject::Rtstruct => rtstruct::write(&labels, &rtstruct::RtOptions::default(), path, task)?,
    })
}

/// Writes the frames of an image that was made from a DICOM series as a series derived from it: new UIDs, `DERIVED`,
/// references to the source. `axes` are those of the frames, `source` is an image of that series where the frames do not
/// remember it, as those read from NIfTI do not.
/// `what` says what was done, in words (Derivation Description). The folder must be new or empty, and appears whole.
/// Returns its files in the order of slices.
///
/// # Errors
/// [`Usage`] when neither image is from DICOM, or when they lie apart; those of [`formats::dicom::derived::write_frames`].
pub fn write_series(
    frames: &[Volume],
    axes: &[FrameAxis],
    source: Option<&Volume>,
    what: &str,
    folder: &Path,
    task: &Task,
) -> anyhow::Result<(Vec<PathBuf>, Vec<Notice>)> {
    // Voxels are shared: this copies a header at most.
    let mut frames = frames.to_vec();
    if let Some(source) = source {
        frames.iter_mut().for_each(|f| f.meta.dicom.clone_from(&source.meta.dicom));
    }
    let Some((volume, origin)) = frames.first().and_then(|v| v.meta.dicom.as_ref().map(|o| (v, o))) else {
        return Err(Usage(format!(
            "{}: a derived DICOM series belongs to the patient and the study of its source, and this image is not from \
             DICOM; give the images it was made from with --source, or choose another format",
            folder.display()
        ))
        .into());
    };
    let (found, expected) = (grid_bounds_ras(&volume.grid), grid_bounds_ras(&origin.grid));
    let is_apart = (0..3).any(|a| found.0[a] > expected.1[a] || found.1[a] < expected.0[a]);
    if is_apart {
        return Err(Usage(format!(
            "{}: the image lies apart from the series it is said to be of (from {:.0?} to {:.0?} mm RAS+, and the series \
             from {:.0?} to {:.0?} mm); give the series it was made from",
            folder.display(),
            found.0,
            found.1,
            expected.0,
            expected.1
        ))
        .into());
    }
    let mut options = DerivedOptions::default();
    if !what.is_empty() {
        what.clone_into(&mut options.description);
    }
    Ok(derived::write_frames(&frames, axes, &options, folder, task)?)
}

/// Writes what the screen showed as a secondary capture in the study of `origin`. `shows_identity` says whether the
/// program wrote something into it that may name the patient.
///
/// # Errors
/// Those of [`capture::write`].
pub fn write_capture(
    picture: &Picture<'_>,
    origin: Option<&Origin>,
    shows_identity: bool,
    path: &Path,
) -> anyhow::Result<()> {
    let options = CaptureOptions { shows_identity, ..CaptureOptions::default() };
    Ok(capture::write(picture, origin, &options, path)?)
}

/// One row of what `insula info` says of a collection. The field names are JSON keys and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesInfo {
    /// The collection as named by the user.
    pub file: PathBuf,
    /// Always `"ok"`.
    pub status: String,
    /// What `--series` takes; none for objects that are no images.
    pub name: Option<String>,
    /// Modality.
    pub modality: String,
    /// Series Number.
    pub number: Option<i64>,
    /// Series Instance UID.
    pub series_uid: String,
    /// Series Description.
    pub description: String,
    /// Size and what tells it from other stacks of the series.
    pub label: String,
    /// Files.
    pub files: usize,
    /// Bytes on disk.
    pub file_bytes: u64,
    /// Voxels along i, j, k, and frames.
    pub size: Option<[usize; 4]>,
    /// Voxel edge lengths.
    pub spacing_mm: Option<[f64; 3]>,
    /// Directions of the axes.
    pub orientation: Option<String>,
    /// What is odd about the geometry.
    pub notices: Vec<Notice>,
}

/// What is in a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionInfo {
    /// The collection.
    pub file: PathBuf,
    /// Files looked at.
    pub files: usize,
    /// Files that are no DICOM.
    pub others: usize,
    /// One row per stack, and per series without one.
    pub series: Vec<SeriesInfo>,
    /// What was odd about files.
    pub notices: Vec<Notice>,
}

/// Lists what is in a collection; only headers are read.
///
/// # Errors
/// Those of scanning.
pub fn collection_info(path: &Path, task: &Task) -> anyhow::Result<CollectionInfo> {
    let tree = scan(&[path.to_owned()], task)?;
    let mut rows = Vec::new();
    for series in tree.series() {
        let row = SeriesInfo {
            file: path.to_owned(),
            status: "ok".to_owned(),
            name: None,
            modality: series.modality.clone(),
            number: series.number,
            series_uid: series.uid.clone(),
            description: series.description.clone(),
            label: "no image".to_owned(),
            files: series.records.len(),
            file_bytes: series.bytes(),
            size: None,
            spacing_mm: None,
            orientation: None,
            notices: Vec::new(),
        };
        if series.stacks.is_empty() {
            rows.push(row);
            continue;
        }
        for stack in &series.stacks {
            let [i, j, k] = stack.grid.size_ijk;
            let has_place = stack.lattice.is_some();
            rows.push(SeriesInfo {
                name: Some(stack_name(series, stack)),
                label: stack.label.clone(),
                files: stack.records().len(),
                file_bytes: stack.records().iter().map(|r| r.bytes).sum(),
                size: Some([i, j, k, stack.frame_count()]),
                spacing_mm: has_place.then(|| stack.grid.spacing_mm()),
                orientation: has_place.then(|| stack.grid.orientation_code()),
                notices: stack.notices.clone(),
                ..row.clone()
            });
        }
    }
    Ok(CollectionInfo {
        file: path.to_owned(),
        files: tree.files,
        others: tree.others,
        series: rows,
        notices: tree.notices,
    })
}

impl CollectionInfo {
    /// A list for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = format!(
            "{}\n{} series in {} files ({} others)",
            self.file.display(),
            self.series.len(),
            self.files - self.others,
            self.others
        );
        for row in &self.series {
            let name = row.name.as_deref().unwrap_or("-");
            let files = if row.files == 1 { "1 file".to_owned() } else { format!("{} files", row.files) };
            text += &format!(
                "\n{name:<24} {}, {files}, {}",
                if row.name.is_some() {
                    row.label.clone()
                } else {
                    format!("{}, {}", row.modality, row.label)
                },
                crate::info::bytes_text(row.file_bytes)
            );
            if !row.description.is_empty() {
                text += &format!("\n{:<24} {}", "", row.description);
            }
            for notice in &row.notices {
                text += &format!("\n{:<24} {}", "", notice.message);
            }
        }
        text
    }
}
