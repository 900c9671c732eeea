//! Burned-in text found, blanked, and looked for again.
//!
//! ```text
//! look      every frame and overlay, as it is and with dark for bright → regions     (search, dicom, picture)
//! decide    all, or those a person approved                                          (region)
//! blank     marked pixels overwritten in a copy that nobody sees yet                  (dicom, picture)
//! prove     the copy is decoded and searched again; only then it gets its name        (here)
//! ```
//!
//! Nothing here reads text, and no report holds any. No tool finds all text: the last word is a person's.

pub mod dicom;
pub mod picture;
pub mod region;
mod report;
pub mod rules;
pub mod search;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use formats::dicom::is_dicom;
use formats::dicom::redact::Fill;
use formats::source::Source;
use formats::{Notice, Task};
use serde::{Deserialize, Serialize};

use crate::batch::queue::Listener;
use crate::failure::{Failure, Usage, is_cancelled};

pub use region::{Reason, Region, Target, Verdict};
use rules::Rules;
use search::Finder;

/// Rounds of blanking and looking again: what is found in the second look is blanked as well, once more at most.
const ROUNDS: usize = 3;

/// What to redact and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Redact {
    /// Files, and folders that are searched with all folders in them: DICOM, PNG, JPEG, TIFF.
    pub inputs: Vec<PathBuf>,
    /// A folder, or for one file a file name.
    pub output: PathBuf,
    /// What is done.
    pub mode: Mode,
    /// How it is searched.
    pub search: search::Settings,
    /// The colour of blanked pixels.
    pub fill: Fill,
    /// Places that are always blanked, by device; the user's own when none.
    pub rules: Option<PathBuf>,
    /// DICOM instances keep their UIDs, which somebody else replaces.
    #[serde(default)]
    pub keeps_uids: bool,
    /// Pictures are written without EXIF, XMP and other texts.
    pub strip_metadata: bool,
    /// Whether the output may exist; files of the same name are replaced.
    pub overwrite: bool,
    /// Whether a missing ONNX Runtime may be installed.
    pub install: bool,
}

/// What is done with the regions found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All are blanked.
    All,
    /// Those approved in this file, a report that a person went over.
    Approved(PathBuf),
    /// None: files are only sorted into safe, to be reviewed and unsafe.
    Screen,
}

/// How a file fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Written, looked at again, and nothing found.
    Done,
    /// Not written: a person has to look.
    NeedsReview,
    /// Not written.
    Failed,
    /// Neither DICOM nor a picture.
    Skipped,
}

/// One file: a row of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The original.
    pub input: PathBuf,
    /// How it fared.
    pub status: Status,
    /// What was thought of it before anything was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The file written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// Frames, columns and rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 3]>,
    /// What was found; blanked where approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// How its pixels are stored now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// Pixels that were overwritten, over all frames.
    #[serde(default)]
    pub blanked_pixels: u64,
    /// Times the written file was looked at.
    #[serde(default)]
    pub looks: usize,
    /// Seconds in all.
    #[serde(default)]
    pub seconds: f64,
    /// Odd things.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Why it failed, was skipped or needs a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Record {
    fn new(input: &Path, status: Status) -> Self {
        Self {
            input: input.to_owned(),
            status,
            verdict: None,
            output: None,
            size: None,
            regions: Vec::new(),
            stored: None,
            blanked_pixels: 0,
            looks: 0,
            seconds: 0.0,
            notices: Vec::new(),
            error: None,
        }
    }
}

/// How many files fared how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redacted {
    /// Written and proven.
    pub done: usize,
    /// Left for a person.
    pub needs_review: usize,
    /// Failed.
    pub failed: usize,
    /// Not for us.
    pub skipped: usize,
    /// The report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<PathBuf>,
}

/// A file that was looked at.
#[derive(Debug)]
pub struct Looked {
    /// What was found, best first.
    pub regions: Vec<Region>,
    /// Frames, columns and rows.
    pub size: [usize; 3],
    /// Odd things.
    pub notices: Vec<Notice>,
}

/// Fails unless all marked pixels of a picture, in each of its windows, have one colour.
///
/// # Errors
/// When something is left in them.
pub(crate) fn check_constant(
    file: &Path,
    pictures: &[ndarray::Array3<u8>],
    mask: &ndarray::Array2<bool>,
) -> anyhow::Result<()> {
    for picture in pictures {
        let mut first = None;
        for ((y, x), _) in mask.indexed_iter().filter(|(_, m)| **m) {
            let pixel = [picture[[y, x, 0]], picture[[y, x, 1]], picture[[y, x, 2]]];
            if *first.get_or_insert(pixel) != pixel {
                let found = format!("pixels of several colours in a blanked place (row {y}, column {x})");
                return Err(formats::Error::malformed(file, found, "one colour").into());
            }
        }
    }
    Ok(())
}

/// A file written under a name of its own, not yet proven.
#[derive(Debug)]
pub(crate) struct Blanked {
    stored: String,
    pixels: u64,
    remark: Option<String>,
}

/// Redacts every file of a request.
///
/// # Errors
/// [`Usage`] for requests that cannot be meant; no runtime, no pack, no report. What a file fails of is in its record.
pub fn run(request: &Redact, listener: &dyn Listener, task: &Task) -> anyhow::Result<Redacted> {
    let place = Place::of(request)?;
    let files = crate::deid::find(&request.inputs, listener)?;
    let decided = match &request.mode {
        Mode::Approved(path) => Some(report::read(path)?),
        _ => None,
    };
    let rules = Rules::of(request.rules.as_deref())?;
    let mut finder = Finder::open(&request.search, request.install, task)?;
    let mut tally = Redacted::default();
    let mut records = Vec::with_capacity(files.len());
    let mut taken = BTreeSet::new();
    for (n, file) in files.iter().enumerate() {
        let part = task.part(n as f32 / files.len() as f32, 1.0 / files.len() as f32);
        part.check()?;
        let began = std::time::Instant::now();
        let mut work =
            || one(request, &place, decided.as_deref(), &rules, &mut finder, file, &mut taken, &part);
        // A fault of the program in one file must not end the others.
        let result = catch_unwind(AssertUnwindSafe(&mut work)).unwrap_or_else(|_| {
            Err(anyhow::Error::new(crate::batch::queue::Panic("while redacting".to_owned())))
        });
        let mut record = match result {
            Ok(record) => record,
            Err(error) if is_cancelled(&error) => return Err(error),
            Err(error) => Record { error: Some(Failure::of(&error)), ..Record::new(file, Status::Failed) },
        };
        record.seconds = began.elapsed().as_secs_f64();
        match record.status {
            Status::Done => tally.done += 1,
            Status::NeedsReview => tally.needs_review += 1,
            Status::Failed => tally.failed += 1,
            Status::Skipped => tally.skipped += 1,
        }
        listener.redacted(&record, n + 1, files.len());
        records.push(record);
    }
    if tally.done + tally.needs_review + tally.failed > 0 {
        tally.report = Some(report::write(&place.report(), &records, finder.provenance(), request)?);
    }
    Ok(tally)
}

#[expect(clippy::too_many_arguments, reason = "what one file needs of the whole run")]
fn one(
    request: &Redact,
    place: &Place,
    decided: Option<&[Record]>,
    rules: &Rules,
    finder: &mut Finder,
    file: &Path,
    taken: &mut BTreeSet<PathBuf>,
    task: &Task,
) -> anyhow::Result<Record> {
    let Some(kind) = Kind::of(file)? else {
        let error = Failure {
            kind: "not-an-image".to_owned(),
            message: "neither DICOM nor a picture; not copied".to_owned(),
        };
        return Ok(Record { error: Some(error), ..Record::new(file, Status::Skipped) });
    };
    let looked = kind.look(file, finder, Some(rules), &[], task)?;
    let mut record = Record::new(file, Status::Done);
    record.size = Some(looked.size);
    record.notices = looked.notices;
    record.regions = looked.regions;
    if let Some(decided) = decided {
        let Some(earlier) = decided.iter().find(|r| r.input == file) else {
            let message = "the approved report says nothing of this file; look at it first".to_owned();
            record.error = Some(Failure { kind: "not-reviewed".to_owned(), message });
            record.status = Status::NeedsReview;
            return Ok(record);
        };
        record.regions = region::decided(&earlier.regions, record.regions);
    }
    let verdict = Verdict::of(&record.regions, finder.sure_score());
    record.verdict = Some(verdict);
    if request.mode == Mode::Screen {
        if verdict != Verdict::Safe {
            record.status = Status::NeedsReview;
        }
        return Ok(record);
    }
    if let Some(open) = record.regions.iter().find(|r| r.is_undecided()) {
        let message = format!("text that nobody decided about: {}", open.place());
        record.error = Some(Failure { kind: "undecided".to_owned(), message });
        record.status = Status::NeedsReview;
        return Ok(record);
    }
    let output = place.choose(file, &kind.ending(file, &record.regions, request.strip_metadata), taken);
    write_proven(request, kind, finder, file, &output, &mut record, task)?;
    Ok(record)
}

/// Blanks all text of a DICOM file into `output`, proves that it is gone, and keeps the instance's UID: for those who go on with the
/// header.
///
/// # Errors
/// Those of reading, of the network and of writing; text that is left.
pub fn clean(
    file: &Path,
    finder: &mut Finder,
    rules: &Rules,
    output: &Path,
    task: &Task,
) -> anyhow::Result<Record> {
    let looked = Kind::Dicom.look(file, finder, Some(rules), &[], task)?;
    let mut record = Record::new(file, Status::Done);
    (record.size, record.regions, record.notices) = (Some(looked.size), looked.regions, looked.notices);
    let request = Redact {
        inputs: vec![file.to_owned()],
        output: output.to_owned(),
        mode: Mode::All,
        search: finder.settings().clone(),
        fill: Fill::default(),
        rules: None,
        keeps_uids: true,
        strip_metadata: false,
        overwrite: true,
        install: false,
    };
    write_proven(&request, Kind::Dicom, finder, file, output, &mut record, task)?;
    if record.status == Status::Done {
        return Ok(record);
    }
    let what = "text that is left in the pixels after three rounds of blanking";
    Err(formats::Error::unsupported(file, what, "none", "Redact it with a person in charge (insula redact)")
        .into())
}

/// Blanks into a file beside the output that nobody sees, looks at it again, and gives it its name when nothing is left.
fn write_proven(
    request: &Redact,
    kind: Kind,
    finder: &mut Finder,
    file: &Path,
    output: &Path,
    record: &mut Record,
    task: &Task,
) -> anyhow::Result<()> {
    if let Some(folder) = output.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(formats::Error::io(folder, "create"))?;
    }
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let ending = output.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    for round in 1..=ROUNDS {
        task.at("Blanking", 0.6)?;
        let hidden = tempfile::Builder::new()
            .prefix(".insula-")
            .suffix(&ending)
            .tempfile_in(folder)
            .map_err(formats::Error::io(folder, "write into"))?;
        let blanked = kind.blank(file, &record.regions, request, hidden.path())?;
        record.stored = Some(blanked.stored);
        record.blanked_pixels = blanked.pixels;
        if round == 1 {
            let remark = blanked.remark.map(|r| Notice::info("redact-stored", r));
            record.notices.extend(remark);
        }
        if record.blanked_pixels == 0 {
            // The same pixels: there is nothing new to look at.
            keep(hidden, output)?;
            record.output = Some(output.to_owned());
            return Ok(());
        }
        task.at("Looking again", 0.7)?;
        let again = kind.look(hidden.path(), finder, None, &record.regions, &task.part(0.7, 0.3))?;
        record.looks += 1;
        let left = region::left(&again.regions, &record.regions, again.size, finder.sure_score());
        if left.is_empty() {
            keep(hidden, output)?;
            record.output = Some(output.to_owned());
            return Ok(());
        }
        let new = left.into_iter().map(|r| Region { reason: Reason::SecondLook, ..r });
        if request.mode != Mode::All || round == ROUNDS {
            record.regions.extend(new.map(|r| Region { approved: None, ..r }));
            let message =
                "text is left in the redacted copy, which was not kept; look at it and mark what is to go"
                    .to_owned();
            record.error = Some(Failure { kind: "residual-text".to_owned(), message });
            record.status = Status::NeedsReview;
            return Ok(());
        }
        record.regions.extend(new);
    }
    Ok(())
}

fn keep(hidden: tempfile::NamedTempFile, output: &Path) -> anyhow::Result<()> {
    // Temporary files are for their owner alone; results are as other files of the user.
    formats::atomic::publish(hidden, output)?;
    Ok(())
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A DICOM image.
    Dicom,
    /// PNG, JPEG, TIFF, BMP, GIF.
    Picture,
}

impl Kind {
    /// What a file is; none for what is not for us.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of(file: &Path) -> anyhow::Result<Option<Self>> {
        let source = match Source::open(file) {
            Ok(source) => source,
            // An empty file is none.
            Err(formats::Error::Malformed { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let is_directory = file.file_name().is_some_and(|n| n.eq_ignore_ascii_case("DICOMDIR"));
        if is_dicom(&source.raw_head) && !is_directory {
            return Ok(Some(Self::Dicom));
        }
        let is_picture = picture::FORMATS.iter().any(|f| f.sniff(&source));
        Ok(is_picture.then_some(Self::Picture))
    }

    /// Looks for text. `blanked` regions of a file that was redacted are smoothed over, once it is certain that they hold nothing.
    ///
    /// # Errors
    /// Those of reading and of the network.
    pub fn look(
        self,
        file: &Path,
        finder: &mut Finder,
        rules: Option<&Rules>,
        blanked: &[Region],
        task: &Task,
    ) -> anyhow::Result<Looked> {
        match self {
            Self::Dicom => dicom::look(file, finder, rules, blanked, task),
            Self::Picture => picture::look(file, finder, blanked, task),
        }
    }

    fn blank(
        self,
        file: &Path,
        regions: &[Region],
        request: &Redact,
        output: &Path,
    ) -> anyhow::Result<Blanked> {
        match self {
            Self::Dicom => dicom::blank(file, regions, request.fill, request.keeps_uids, output),
            Self::Picture => picture::blank(file, regions, request, output),
        }
    }

    /// The ending of the output: pictures that cannot keep their other pixels in their own format change it.
    fn ending(self, file: &Path, regions: &[Region], strips: bool) -> Option<&'static str> {
        match self {
            Self::Dicom => None,
            Self::Picture => picture::other_ending(file, regions, strips),
        }
    }
}

/// Where outputs go.
#[derive(Debug)]
enum Place {
    Folder(PathBuf, Vec<PathBuf>),
    File(PathBuf),
}

impl Place {
    fn of(request: &Redact) -> anyhow::Result<Self> {
        let usage = |text: String| anyhow::Error::from(Usage(text));
        let real = crate::deid::real_path;
        let output = &request.output;
        let to = real(output);
        for input in &request.inputs {
            if !input.exists() {
                return Err(usage(format!("{}: there is no such file or folder", input.display())));
            }
            let from = real(input);
            if to == from || input.is_dir() && to.starts_with(&from) || from.starts_with(&to) {
                return Err(usage(format!(
                    "{}: the output may not be, hold or lie inside the input, so that originals and results are never mixed; \
                     choose a folder elsewhere",
                    output.display()
                )));
            }
        }
        let is_file_name = output.extension().is_some() && !output.is_dir();
        let is_one = matches!(request.inputs.as_slice(), [input] if !input.is_dir());
        let exists = if is_file_name && is_one {
            output.exists()
        } else if output.is_file() {
            return Err(usage(format!("{}: is a file; choose a folder", output.display())));
        } else {
            std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some())
        };
        if exists && !request.overwrite {
            return Err(usage(format!(
                "{}: exists and is not empty; allow replacing files of the same name (--overwrite), or choose another",
                output.display()
            )));
        }
        Ok(if is_file_name && is_one {
            Self::File(output.clone())
        } else {
            let roots = request.inputs.iter().filter(|i| i.is_dir()).cloned().collect();
            Self::Folder(output.clone(), roots)
        })
    }

    /// The output of a file, in the same folders as it was; two of one name get numbers.
    fn choose(&self, file: &Path, ending: &Option<&str>, taken: &mut BTreeSet<PathBuf>) -> PathBuf {
        let output = match self {
            Self::File(path) => path.clone(),
            Self::Folder(folder, roots) => {
                let inside = roots.iter().find_map(|root| file.strip_prefix(root).ok());
                folder.join(inside.unwrap_or(Path::new(file.file_name().unwrap_or(file.as_os_str()))))
            }
        };
        let output = ending.map_or_else(|| output.clone(), |ending| output.with_extension(ending));
        let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let end = output.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
        let names = std::iter::once(output.clone())
            .chain((2_u32..).map(|n| output.with_file_name(format!("{stem}_{n}{end}"))));
        let free = names.take(1 << 20).find(|p| !taken.contains(p)).unwrap_or(output.clone());
        taken.insert(free.clone());
        free
    }

    fn report(&self) -> PathBuf {
        match self {
            Self::Folder(folder, _) => folder.join("redaction-report.json"),
            Self::File(file) => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                file.with_file_name(format!("{stem}.redaction-report.json"))
            }
        }
    }
}
