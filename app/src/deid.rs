//! De-identification of DICOM files and folders.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use formats::dicom::deid::{Deidentifier, Finding, Key, Options, Outcome, Pixels, Preview, ReportRow};
use formats::dicom::is_dicom;
use formats::source::Source;
use formats::{Notice, Task};
use serde::{Deserialize, Serialize};

use crate::batch::queue::Listener;
use crate::failure::{Failure, Usage};

mod map;
mod place;
mod report;

use map::Map;
use place::Place;
pub(crate) use place::real as real_path;

/// What to de-identify and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deid {
    /// Files, and folders that are searched with all folders in them.
    pub inputs: Vec<PathBuf>,
    /// A folder, or for one file a file name that ends in `.dcm`, `.dicom` or `.ima`.
    pub output: PathBuf,
    /// The options of the profile.
    pub options: Options,
    /// The key that replacements are made with; made when it does not exist. None: one beside the map, or one for this
    /// run only.
    pub key_file: Option<PathBuf>,
    /// Where the way back is written: UIDs, pseudonyms, shifts of dates, names of files. None: nowhere.
    pub map: Option<PathBuf>,
    /// Blank burned-in text as well, found in this way. A file whose text cannot be proven gone is not written.
    #[serde(default)]
    pub pixels: Option<crate::redact::search::Settings>,
    /// Whether the output may exist; files of the same name are replaced.
    pub overwrite: bool,
    /// Say what would be done, and write nothing.
    pub dry_run: bool,
}

/// How a file fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Written, read again, and nothing found.
    Done,
    /// Written, and somebody has to look at what was found.
    NeedsReview,
    /// Not written.
    Failed,
    /// No DICOM file with a patient's data; not copied.
    Skipped,
    /// Of a dry run.
    Planned,
}

/// One file, on stdout. It names the original file, which reports do not.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The original.
    pub input: PathBuf,
    /// How it fared.
    pub status: Status,
    /// The file written, or that would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// How many elements were treated how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<&'static str, usize>,
    /// Every action, of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<ReportRow>,
    /// Whether pixels may show who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<Pixels>,
    /// What was found in the written file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Odd things about the original.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Record {
    fn new(input: &Path, status: Status) -> Self {
        Self {
            input: input.to_owned(),
            status,
            output: None,
            actions: BTreeMap::new(),
            plan: Vec::new(),
            pixels: None,
            findings: Vec::new(),
            notices: Vec::new(),
            error: None,
        }
    }

    fn without(input: &Path, status: Status, kind: &str, message: &str) -> Self {
        let error = Some(Failure { kind: kind.to_owned(), message: message.to_owned() });
        Self { error, ..Self::new(input, status) }
    }
}

/// How many files fared how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Deidentified {
    /// Written and found good; planned, in a dry run.
    pub done: usize,
    /// Written, to be looked at.
    pub needs_review: usize,
    /// Not written.
    pub failed: usize,
    /// No DICOM files, or directories of them.
    pub skipped: usize,
    /// Of those written: pixels may show names and were not checked.
    pub pixels_at_risk: usize,
    /// The reports written.
    pub reports: Vec<PathBuf>,
}

impl Deidentified {
    /// The counts for people, e.g. `"12 done, 1 failed"`.
    #[must_use]
    pub fn words(&self, is_dry: bool) -> String {
        let parts = [
            (self.done, if is_dry { "planned" } else { "done" }),
            (self.needs_review, "to be reviewed"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.pixels_at_risk, "with pixels that often show names and were not checked"),
        ];
        let told: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        told.join(", ")
    }
}

/// De-identifies. Each file is told to `listener`; one that fails does not stop the others.
///
/// # Errors
/// [`Usage`] for requests that cannot be meant; otherwise those of finding files, of the key, the map and the report.
pub fn run(request: &Deid, listener: &dyn Listener, task: &Task) -> anyhow::Result<Deidentified> {
    let place = place::check(request)?;
    let files = find(&request.inputs, listener)?;
    let (key, key_file) = key(request, listener)?;
    let cleaner = request.pixels.as_ref().map(|search| Cleaner::open(search, task)).transpose()?;
    let mut run = Run {
        request,
        deidentifier: Deidentifier::new(request.options.clone(), key),
        place,
        taken: BTreeSet::new(),
        only_patient: None,
        report: report::Report::new(&request.options),
        map: Map::with_key(key_file),
        tally: Deidentified::default(),
        cleaner,
    };
    let count = files.len();
    let mut stopped = None;
    for (number, file) in (1..).zip(&files) {
        // What was done until an interruption is reported.
        if let Err(error) = task.at("de-identifying", (number - 1) as f32 / count.max(1) as f32) {
            stopped = Some(error);
            break;
        }
        let record = run.one(file);
        listener.deidentified(&record, number, count);
    }
    run.finish()?;
    match stopped {
        Some(error) => Err(error.into()),
        None => Ok(run.tally),
    }
}

/// What would be done with one file, with old and new values: for the screen of who holds the original. Replacements are
/// those of a run with the same key; without one they are examples.
///
/// # Errors
/// Those of reading the file and the key.
pub fn preview(file: &Path, options: &Options, key_file: Option<&Path>) -> anyhow::Result<Preview> {
    let key = match key_file.filter(|k| k.exists()) {
        Some(path) => Key::read(path)?,
        None => Key::random()?,
    };
    Ok(Deidentifier::new(options.clone(), key).preview(file)?)
}

struct Run<'a> {
    request: &'a Deid,
    deidentifier: Deidentifier,
    place: Place,
    /// Outputs of this run.
    taken: BTreeSet<PathBuf>,
    /// With `--patient-id`: who that is.
    only_patient: Option<String>,
    report: report::Report,
    map: Map,
    tally: Deidentified,
    /// With `--pixels`.
    cleaner: Option<Cleaner>,
}

/// What blanks burned-in text before the header is gone over.
struct Cleaner {
    finder: crate::redact::search::Finder,
    rules: crate::redact::rules::Rules,
    folder: tempfile::TempDir,
}

impl Cleaner {
    fn open(search: &crate::redact::search::Settings, task: &Task) -> anyhow::Result<Self> {
        Ok(Self {
            finder: crate::redact::search::Finder::open(search, true, task)?,
            rules: crate::redact::rules::Rules::of(None)?,
            folder: tempfile::tempdir().map_err(formats::Error::io(&std::env::temp_dir(), "write into"))?,
        })
    }

    /// The file without text in its pixels; files without pixels as they are.
    fn clean(&mut self, file: &Path) -> anyhow::Result<PathBuf> {
        if formats::dicom::read_header(file)?.pixels.is_none() {
            return Ok(file.to_owned());
        }
        let output = self.folder.path().join("clean.dcm");
        crate::redact::clean(file, &mut self.finder, &self.rules, &output, &Task::silent())?;
        Ok(output)
    }
}

impl Run<'_> {
    fn one(&mut self, file: &Path) -> Record {
        if let Some(record) = skip(file, matches!(self.place, Place::File(_))) {
            self.tally.skipped += 1;
            return record;
        }
        // A fault of the program in one file must not end the others.
        let result = catch_unwind(AssertUnwindSafe(|| self.attempt(file))).unwrap_or_else(|_| {
            Err(anyhow::Error::new(crate::batch::queue::Panic("while de-identifying".to_owned())))
        });
        match result {
            Ok(record) => record,
            Err(error) => {
                self.tally.failed += 1;
                self.report.failed();
                Record { error: Some(Failure::of(&error)), ..Record::new(file, Status::Failed) }
            }
        }
    }

    fn attempt(&mut self, file: &Path) -> anyhow::Result<Record> {
        let is_dry = self.request.dry_run;
        let original = file;
        let cleaned = match &mut self.cleaner {
            Some(cleaner) if !is_dry => Some(cleaner.clean(file)?),
            _ => None,
        };
        let file = cleaned.as_deref().unwrap_or(file);
        let (output, outcome) = if is_dry {
            let outcome = self.deidentifier.dry_run(file)?;
            let output = self.choose(&outcome)?;
            (output, outcome)
        } else {
            let deidentifier = self.deidentifier.clone();
            deidentifier.write(file, |outcome| {
                let output = self.choose(outcome)?;
                if let Some(folder) = output.parent().filter(|p| !p.as_os_str().is_empty()) {
                    std::fs::create_dir_all(folder).map_err(formats::Error::io(folder, "create"))?;
                }
                Ok(output)
            })?
        };
        let mut record = Record::new(original, Status::Done);
        for row in &outcome.rows {
            *record.actions.entry(row.action.name()).or_default() += 1;
        }
        if outcome.pixels == Pixels::NotCheckedAtRisk {
            self.tally.pixels_at_risk += 1;
        }
        record.pixels = Some(outcome.pixels);
        record.findings.clone_from(&outcome.findings);
        record.notices.clone_from(&outcome.notices);
        record.output = Some(output.clone());
        if is_dry {
            record.status = Status::Planned;
            record.plan.clone_from(&outcome.rows);
            self.tally.done += 1;
            return Ok(record);
        }
        if outcome.findings.is_empty() {
            self.tally.done += 1;
        } else {
            record.status = Status::NeedsReview;
            self.tally.needs_review += 1;
        }
        let shown = match &self.place {
            Place::Folder(folder) => output.strip_prefix(folder).unwrap_or(&output),
            Place::File(_) => Path::new(output.file_name().unwrap_or(output.as_os_str())),
        };
        self.report.add(shown, record.status, &outcome);
        if self.request.map.is_some() {
            self.map.add(original, &output, outcome);
        }
        Ok(record)
    }

    /// The output of a file, by names made with the key; two files of one instance get numbers.
    fn choose(&mut self, outcome: &Outcome) -> formats::Result<PathBuf> {
        if self.request.options.patient_id.is_some() {
            let first = self.only_patient.get_or_insert_with(|| outcome.original.secret.clone());
            if *first != outcome.original.secret {
                return Err(formats::Error::Argument(
                    "--patient-id is for one patient, and this file is of another one than the first; \
                     leave it out to give each patient a pseudonym"
                        .to_owned(),
                ));
            }
        }
        let output = match &self.place {
            Place::File(file) => file.clone(),
            Place::Folder(folder) => {
                let [patient, study, series, instance] = &outcome.names;
                let folder = folder.join(file_name(patient)).join(study).join(series);
                let names = std::iter::once(format!("{instance}.dcm"))
                    .chain((2_u32..).map(|n| format!("{instance}_{n}.dcm")));
                let free = names.map(|n| folder.join(n)).find(|p| !self.taken.contains(p));
                free.unwrap_or_else(|| folder.join("instance.dcm"))
            }
        };
        self.taken.insert(output.clone());
        Ok(output)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.request.dry_run {
            return Ok(());
        }
        let (folder, prefix) = match &self.place {
            Place::Folder(folder) => (folder.clone(), String::new()),
            Place::File(file) => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                (file.parent().map(Path::to_owned).unwrap_or_default(), format!("{stem}."))
            }
        };
        if self.tally.done + self.tally.needs_review + self.tally.failed > 0 {
            let json = folder.join(format!("{prefix}deid-report.json"));
            let csv = folder.join(format!("{prefix}deid-report.csv"));
            if !folder.as_os_str().is_empty() {
                std::fs::create_dir_all(&folder).map_err(formats::Error::io(&folder, "create"))?;
            }
            self.report.write(&json, &csv)?;
            self.tally.reports = vec![json, csv];
        }
        if let Some(path) = &self.request.map {
            self.map.write(path)?;
        }
        Ok(())
    }
}

/// A patient's pseudonym as a plain folder name.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    text.chars().map(plain).collect()
}

/// Whether a file found in a folder would be taken.
#[must_use]
pub fn is_wanted(file: &Path) -> bool {
    skip(file, false).is_none()
}

/// Files that are not for us. A file named by itself is always tried.
fn skip(file: &Path, is_named: bool) -> Option<Record> {
    let is_directory = file.file_name().is_some_and(|n| n.eq_ignore_ascii_case("DICOMDIR"));
    if is_directory {
        let message = "a directory of files (DICOMDIR) names every patient and is not copied; make a new one";
        return Some(Record::without(file, Status::Skipped, "dicomdir", message));
    }
    if is_named {
        return None;
    }
    match Source::open(file) {
        Ok(source) if !is_dicom(&source.raw_head) => {
            Some(Record::without(file, Status::Skipped, "not-dicom", "not a DICOM file; not copied"))
        }
        // An empty file is no DICOM file either.
        Err(formats::Error::Malformed { .. }) => {
            Some(Record::without(file, Status::Skipped, "not-dicom", "an empty file; not copied"))
        }
        // What cannot be read may be one: that is a failure.
        _ => None,
    }
}

/// Every file of the inputs, each once, in the order of the inputs and inside folders by name. What cannot be looked
/// into is told to `listener`.
///
/// # Errors
/// [`Usage`] when there is no file.
pub fn find(inputs: &[PathBuf], listener: &dyn Listener) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for input in inputs {
        if !input.is_dir() {
            files.extend(seen.insert(input.clone()).then(|| input.clone()));
            continue;
        }
        for entry in walkdir::WalkDir::new(input).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(e) if e.file_type().is_file() => {
                    files.extend(seen.insert(e.path().to_owned()).then(|| e.into_path()));
                }
                Ok(_) => {}
                Err(error) => listener.say(&format!("skipped: {error}")),
            }
        }
    }
    if files.is_empty() {
        let places: Vec<String> = inputs.iter().map(|i| i.display().to_string()).collect();
        return Err(Usage(format!("{}: there are no files in it", places.join(", "))).into());
    }
    Ok(files)
}

/// Where the key is or will be: the file named, or one beside the map; none for a key that is thrown away.
#[must_use]
pub fn key_place(key_file: Option<&Path>, map: Option<&Path>) -> Option<PathBuf> {
    let beside_map = map.map(|map| {
        let mut name = map.to_owned().into_os_string();
        name.push(".key");
        PathBuf::from(name)
    });
    key_file.map(Path::to_owned).or(beside_map)
}

/// The key, and the file it is in.
fn key(request: &Deid, listener: &dyn Listener) -> anyhow::Result<(Key, Option<PathBuf>)> {
    let path = key_place(request.key_file.as_deref(), request.map.as_deref());
    let Some(path) = path else { return Ok((Key::random()?, None)) };
    if path.exists() {
        return Ok((Key::read(&path)?, Some(path)));
    }
    let key = Key::random()?;
    if request.dry_run {
        return Ok((key, None));
    }
    key.write(&path)?;
    listener.say(&format!("{}: a new key; keep it secret, and keep it for further runs", path.display()));
    Ok((key, Some(path)))
}

/// Rows that are the same for many files are kept once.
type Lists = HashMap<Vec<ReportRow>, usize>;
