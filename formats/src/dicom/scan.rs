//! Files, folders, archives and DICOMDIRs into a tree of patients, studies and series. Only headers are read.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use dicom_dictionary_std::tags;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::archive;
use super::attributes::items;
use super::lenient::texts;
use super::read::{is_dicom, read_header};
use super::record::Record;
use super::series::{Stack, stacks};
use crate::error::{Error, Result};
use crate::notice::Notice;
use crate::task::Task;

/// Media Storage Directory Storage: the SOP class of a DICOMDIR.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// What was found, sorted: patients by name, studies by date, series by number.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Patients.
    pub patients: Vec<Patient>,
    /// What was odd: unreadable files, entries of a DICOMDIR that are not there.
    pub notices: Vec<Notice>,
    /// Files looked at (members of archives count).
    pub files: usize,
    /// Files that are no DICOM.
    pub others: usize,
}

/// One patient, by Patient ID and name.
#[derive(Clone, Debug)]
pub struct Patient {
    /// Patient ID (0010,0020).
    pub id: String,
    /// Patient's Name (0010,0010) as stored, components separated by carets.
    pub name: String,
    /// Studies.
    pub studies: Vec<Study>,
}

/// One study.
#[derive(Clone, Debug)]
pub struct Study {
    /// Study Instance UID.
    pub uid: String,
    /// Study Date, `YYYYMMDD`; may be empty.
    pub date: String,
    /// Study Description.
    pub description: String,
    /// Series.
    pub series: Vec<Series>,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    /// Series Instance UID.
    pub uid: String,
    /// Series Number.
    pub number: Option<i64>,
    /// Modality, e.g. `"MR"`, `"RTSTRUCT"`, `"SEG"`.
    pub modality: String,
    /// Series Description.
    pub description: String,
    /// Series Date, `YYYYMMDD`; may be empty.
    pub date: String,
    /// Series Time, `HHMMSS`; may be empty.
    pub time: String,
    /// All instances, by instance number.
    pub records: Vec<Arc<Record>>,
    /// What can be loaded; empty for objects that are no images (RTSTRUCT, SEG, SR, PR, KO, …).
    pub stacks: Vec<Stack>,
}

impl Series {
    /// Bytes of its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.records.iter().map(|r| r.bytes).sum()
    }

    /// Frames of all its images.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.records.iter().map(|r| r.frames.len()).sum()
    }
}

impl Tree {
    /// All series.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.patients.iter().flat_map(|p| &p.studies).flat_map(|s| &s.series)
    }

    /// Everything that can be loaded.
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        self.series().flat_map(|s| &s.stacks)
    }

    /// The stack of that [`Stack::id`].
    #[must_use]
    pub fn stack(&self, id: &str) -> Option<&Stack> {
        self.stacks().find(|s| s.id == id)
    }
}

/// Looks at files, folders (with all below), ZIP archives and DICOMDIRs. Files that are no DICOM are counted, not
/// complained about; damaged ones give a notice.
///
/// Headers are kept for the life of the process and read again only when length or time of a file changed.
///
/// # Errors
/// [`Error::Io`] when a given path is not there, [`Error::OverLimit`] for archives that unpack to more than they
/// may, [`Error::Cancelled`].
pub fn scan(paths: &[PathBuf], task: &Task) -> Result<Tree> {
    let mut files = Vec::new();
    let mut notices = Vec::new();
    for path in paths {
        task.check()?;
        collect(path, &mut files, &mut notices, task)?;
    }
    // The same file may be named twice (a folder and a file in it).
    let mut seen = std::collections::HashSet::new();
    files.retain(|f| seen.insert(f.path.clone()));
    let done = AtomicUsize::new(0);
    let total = files.len().max(1);
    let looked: Vec<Look> = files
        .par_iter()
        .map(|file| {
            let look = look(file);
            let n = done.fetch_add(1, Ordering::Relaxed) + 1;
            if n.is_multiple_of(16) {
                task.at("Scanning", n as f32 / total as f32)?;
            } else {
                task.check()?;
            }
            Ok(look)
        })
        .collect::<Result<_>>()?;
    let mut tree = Tree { notices, files: files.len(), ..Tree::default() };
    let mut records = Vec::new();
    let mut broken = Vec::new();
    for look in looked {
        match look {
            Look::Dicom(record) => records.push(record),
            Look::Other => tree.others += 1,
            Look::Broken(why) => broken.push(why),
        }
    }
    if let Some(first) = broken.first() {
        tree.notices.push(Notice::warning(
            "dicom-unreadable",
            format!("{} DICOM files could not be read; the first: {first}", broken.len()),
        ));
    }
    task.check()?;
    tree.patients = grow(records);
    Ok(tree)
}

/// A file to look at.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub path: PathBuf,
    /// What the user knows it as.
    pub name: PathBuf,
    pub archive: Option<Arc<tempfile::TempDir>>,
}

impl Candidate {
    fn plain(path: PathBuf) -> Self {
        Self { name: path.clone(), path, archive: None }
    }
}

fn collect(path: &Path, files: &mut Vec<Candidate>, notices: &mut Vec<Notice>, task: &Task) -> Result<()> {
    let data = std::fs::metadata(path).map_err(Error::io(path, "read"))?;
    if data.is_dir() {
        let mut denied = 0;
        for (n, entry) in WalkDir::new(path).sort_by_file_name().into_iter().enumerate() {
            if n.is_multiple_of(256) {
                task.check()?;
            }
            let Ok(entry) = entry else {
                denied += 1;
                continue;
            };
            // Links to files are read, links to folders are not followed: they may lead in circles.
            let is_file = entry.file_type().is_file()
                || entry.path_is_symlink() && std::fs::metadata(entry.path()).is_ok_and(|m| m.is_file());
            if !is_file {
                continue;
            }
            if archive::is_named_zip(entry.path()) && archive::is_zip(entry.path()) {
                archive::unpack(entry.path(), files, notices, task)?;
            } else {
                files.push(Candidate::plain(entry.into_path()));
            }
        }
        if denied > 0 {
            notices.push(Notice::warning(
                "dicom-folder-unreadable",
                format!("{denied} entries below {} could not be read", path.display()),
            ));
        }
        return Ok(());
    }
    if archive::is_zip(path) {
        return archive::unpack(path, files, notices, task);
    }
    match directory_files(path, notices) {
        Some(listed) => files.extend(listed.into_iter().map(Candidate::plain)),
        None => files.push(Candidate::plain(path.to_owned())),
    }
    Ok(())
}

/// The files a DICOMDIR lists; `None` when the file is no DICOMDIR. Only files in its folder (and below) are taken,
/// whatever its entries or links say.
fn directory_files(path: &Path, notices: &mut Vec<Notice>) -> Option<Vec<PathBuf>> {
    let header = read_header(path).ok().filter(|h| h.sop_class_uid == DIRECTORY)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let root = folder.canonicalize().ok()?;
    let (mut found, mut absent, mut outside) = (Vec::new(), 0, 0);
    for entry in items(&header.object, tags::DIRECTORY_RECORD_SEQUENCE) {
        let parts = texts(entry, tags::REFERENCED_FILE_ID);
        if parts.iter().all(String::is_empty) {
            continue;
        }
        let plain = |p: &String| {
            let mut components = Path::new(p).components();
            matches!((components.next(), components.next()), (Some(Component::Normal(n)), None) if n == p.as_str())
        };
        if !parts.iter().all(plain) {
            outside += 1;
            continue;
        }
        // Media often lose the case of names on the way.
        let cases: [fn(&str) -> String; 2] = [|p| p.to_owned(), |p| p.to_lowercase()];
        let there =
            cases.into_iter().map(|case| parts.iter().fold(folder.to_owned(), |f, p| f.join(case(p))));
        match there.into_iter().find(|p| p.is_file()) {
            Some(file) if file.canonicalize().is_ok_and(|c| c.starts_with(&root)) => found.push(file),
            Some(_) => outside += 1,
            None => absent += 1,
        }
    }
    if absent > 0 {
        notices.push(Notice::warning(
            "dicomdir-files-missing",
            format!(
                "{absent} of {} files listed in {} are not there",
                absent + outside + found.len(),
                path.display()
            ),
        ));
    }
    if outside > 0 {
        notices.push(Notice::warning(
            "dicomdir-files-outside",
            format!("{outside} entries of {} point out of its folder and were not followed", path.display()),
        ));
    }
    Some(found)
}

enum Look {
    Dicom(Arc<Record>),
    Other,
    Broken(String),
}

type CacheKey = (PathBuf, u64, Option<SystemTime>);

/// Records by file; forgotten all at once when there are too many.
fn cache() -> &'static Mutex<HashMap<CacheKey, Arc<Record>>> {
    static CACHE: OnceLock<Mutex<HashMap<CacheKey, Arc<Record>>>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

const CACHED_RECORDS: usize = 100_000;

fn look(file: &Candidate) -> Look {
    let Ok(data) = std::fs::metadata(&file.path) else {
        return Look::Broken(format!("{} vanished", file.name.display()));
    };
    let key = (file.path.clone(), data.len(), data.modified().ok());
    if file.archive.is_none()
        && let Some(record) = cache().lock().unwrap_or_else(PoisonError::into_inner).get(&key)
    {
        return Look::Dicom(Arc::clone(record));
    }
    match read_header(&file.path) {
        Ok(header) if header.sop_class_uid == DIRECTORY => Look::Other,
        Ok(header) => {
            let record = Record::new(&header, file.name.clone(), file.archive.clone(), data.len());
            // A few plausible bytes are no instance.
            if record.sop_instance_uid.is_empty() && record.labels.series_uid.is_empty() && !record.has_pixels
            {
                return Look::Other;
            }
            let record = Arc::new(record);
            if file.archive.is_none() {
                let mut cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
                if cache.len() >= CACHED_RECORDS {
                    cache.clear();
                }
                cache.insert(key, Arc::clone(&record));
            }
            Look::Dicom(record)
        }
        Err(error) => {
            let mut head = [0u8; 1024];
            let read =
                std::fs::File::open(&file.path).and_then(|mut f| std::io::Read::read(&mut f, &mut head));
            match read {
                Ok(n) if !is_dicom(head.get(..n).unwrap_or_default()) => Look::Other,
                _ => Look::Broken(error.to_string()),
            }
        }
    }
}

fn grow(mut records: Vec<Arc<Record>>) -> Vec<Patient> {
    // Files come in the order of threads and names; numbers say more.
    records.sort_by(|a, b| {
        let key = |r: &Arc<Record>| (r.instance_number.unwrap_or(i64::MAX), r.sop_instance_uid.clone());
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    type SeriesByUid = BTreeMap<String, Vec<Arc<Record>>>;
    type StudiesByUid = BTreeMap<String, SeriesByUid>;
    let mut patients: BTreeMap<(String, String), StudiesByUid> = BTreeMap::new();
    for record in records {
        let l = &record.labels;
        let series = if l.series_uid.is_empty() {
            record.name.parent().unwrap_or(Path::new("")).display().to_string()
        } else {
            l.series_uid.clone()
        };
        let patient = patients.entry((l.patient_name.clone(), l.patient_id.clone())).or_default();
        patient.entry(l.study_uid.clone()).or_default().entry(series).or_default().push(record);
    }
    let mut patients: Vec<Patient> = patients
        .into_iter()
        .map(|((name, id), studies)| {
            let mut studies: Vec<Study> =
                studies.into_iter().map(|(uid, series)| study(uid, series)).collect();
            studies.sort_by(|a, b| (&a.date, &a.uid).cmp(&(&b.date, &b.uid)));
            Patient { id, name, studies }
        })
        .collect();
    // One series under two patients (a copy made anonymous) has one UID.
    let mut taken = std::collections::HashSet::new();
    let series = patients.iter_mut().flat_map(|p| &mut p.studies).flat_map(|s| &mut s.series);
    for stack in series.flat_map(|s| &mut s.stacks) {
        let plain = stack.id.clone();
        let mut n = 1;
        while !taken.insert(stack.id.clone()) {
            n += 1;
            stack.id = format!("{plain}/{n}");
        }
    }
    patients
}

fn study(uid: String, series: BTreeMap<String, Vec<Arc<Record>>>) -> Study {
    let mut series: Vec<Series> = series
        .into_par_iter()
        .map(|(_, records)| {
            let first = records.first().map(|r| (r.labels.clone(), r.modality.clone())).unwrap_or_default();
            let (labels, modality) = first;
            Series {
                uid: labels.series_uid,
                number: labels.series_number,
                modality,
                description: labels.series_description,
                date: labels.series_date,
                time: labels.series_time,
                stacks: stacks(&records),
                records,
            }
        })
        .collect();
    series.sort_by(|a, b| (a.number, &a.date, &a.time, &a.uid).cmp(&(b.number, &b.date, &b.time, &b.uid)));
    let labels = series.first().and_then(|s| s.records.first()).map(|r| r.labels.clone()).unwrap_or_default();
    Study { uid, date: labels.study_date, description: labels.study_description, series }
}
