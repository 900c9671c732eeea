//! Reading the next case, computing this one and writing the last, side by side.
//!
//! Three threads hand cases on by rendezvous, so at most one case is ahead and one behind the one that computes:
//! memory stays bounded by three cases. A failure, or a panic, ends the case it happened in and no other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::{Context, anyhow};
use formats::{Cancel, Notice, Task, Volume};
use models::{Case, Manifest, Output};
use serde::Serialize;

use super::cases::CaseFiles;
use super::record::{self, InputFile, Options, Record, Status};
use super::staging::Staging;
use super::{Estimated, OutputFormat, Segmented, Segmenter, outputs};
use crate::failure::{Failure, is_cancelled};

/// What is the same for all cases.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Existing output folder.
    pub out: &'a Path,
    /// Options that change the outputs.
    pub options: &'a Options,
    /// Settings of the pack: which channels a case has.
    pub manifest: &'a Manifest,
    /// Compute threads, for the record.
    pub threads: usize,
    /// Do finished cases again.
    pub overwrite: bool,
    /// Stop at the first failure.
    pub fail_fast: bool,
}

/// Who is told about cases.
pub trait Listener: Sync {
    /// The task under which case `number` of `of` (from 1) is computed: its progress and its cancellation.
    fn task(&self, case: &str, number: usize, of: usize) -> Task;
    /// A case is over.
    fn finished(&self, record: &Record, number: usize, of: usize);
    /// What a dry run found out about a case.
    fn planned(&self, plan: &super::Planned, number: usize, of: usize);
    /// A file was de-identified, or not.
    fn deidentified(&self, record: &crate::deid::Record, number: usize, of: usize) {
        let _ = (record, number, of);
    }
    /// A file was looked at for burned-in text, and redacted, or not.
    fn redacted(&self, record: &crate::redact::Record, number: usize, of: usize) {
        let _ = (record, number, of);
    }
    /// A remark about the whole batch.
    fn say(&self, text: &str);
}

/// How many cases went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Computed now.
    pub done: usize,
    /// Computed by an earlier run.
    pub skipped: usize,
    /// Failed.
    pub failed: usize,
    /// Not reached: interrupted, or stopped by `fail_fast`.
    pub left: usize,
}

/// A case on its way through the queue.
struct Item {
    number: usize,
    record: Record,
    state: State,
}

enum State {
    /// Nothing more to do than to report.
    Over,
    /// Read, to be computed.
    Read(Box<Case>),
    /// Computed, to be written.
    Computed { image: Box<Volume>, result: Box<Output> },
}

impl Item {
    fn fail(&mut self, error: &anyhow::Error) {
        self.record.status = Status::Failed;
        self.record.error = Some(Failure::of(error));
        self.state = State::Over;
    }
}

/// Runs the cases in order. Returns early when `cancel` is raised: the case being computed is dropped, the one
/// being written is finished.
///
/// # Errors
/// What made the whole batch impossible ([`Segmenter::start`], a thread). Failed cases are no errors here.
pub fn run(
    cases: &[CaseFiles],
    setup: &Setup<'_>,
    segmenter: &mut dyn Segmenter,
    listener: &dyn Listener,
    cancel: &Cancel,
) -> anyhow::Result<Tally> {
    let of = cases.len();
    let tally = Mutex::new(Tally::default());
    // Ends reading ahead, for whatever reason computing ended.
    let stop = Cancel::default();
    let blank = blank_record(segmenter, setup);
    let result = std::thread::scope(|scope| {
        let (to_compute, from_reader) = sync_channel::<Item>(0);
        let (to_writer, from_compute) = sync_channel::<Item>(0);
        let (stop, tally, blank) = (&stop, &tally, &blank);
        let reader = move || read_all(cases, setup, blank, &to_compute, stop, cancel);
        std::thread::Builder::new().name("batch-read".to_owned()).spawn_scoped(scope, reader)?;
        let writer = move || write_all(&from_compute, setup, listener, of, tally, stop);
        std::thread::Builder::new().name("batch-write".to_owned()).spawn_scoped(scope, writer)?;
        let result = compute_all(&from_reader, &to_writer, segmenter, listener, of, setup, stop, cancel);
        stop.cancel();
        // Dropping both ends here lets the other threads finish what they hold, and end.
        drop((from_reader, to_writer));
        result
    });
    result?;
    let mut tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    tally.left = of - tally.done - tally.skipped - tally.failed;
    Ok(tally)
}

fn blank_record(segmenter: &dyn Segmenter, setup: &Setup<'_>) -> Record {
    Record {
        case: String::new(),
        status: Status::Done,
        error: None,
        layout: record::LAYOUT,
        insula: env!("CARGO_PKG_VERSION").to_owned(),
        pack: segmenter.pack().clone(),
        runtime: None,
        provider: None,
        options: setup.options.clone(),
        inputs: Vec::new(),
        threads: setup.threads,
        tiles: 0,
        seconds: std::collections::BTreeMap::new(),
        peak_memory_bytes: 0,
        restored: None,
        classes: Vec::new(),
        boxes: None,
        lines: None,
        prompts: Vec::new(),
        notices: Vec::new(),
        outputs: Vec::new(),
        finished_unix_secs: 0,
    }
}

fn read_all(
    cases: &[CaseFiles],
    setup: &Setup<'_>,
    blank: &Record,
    to_compute: &SyncSender<Item>,
    stop: &Cancel,
    cancel: &Cancel,
) {
    let task = Task::new(cancel.clone(), |_, _| {});
    for (n, case) in cases.iter().enumerate() {
        if stop.is_cancelled() || cancel.is_cancelled() {
            return;
        }
        let record = Record { case: case.name.clone(), ..blank.clone() };
        let mut item = Item { number: n + 1, record, state: State::Over };
        let started = Instant::now();
        let read = fenced(|| read_case(case, setup, &mut item.record, &task));
        item.record.seconds.insert("read".to_owned(), started.elapsed().as_secs_f64());
        match read {
            Ok(Some(case)) => item.state = State::Read(Box::new(case)),
            Ok(None) => {}
            Err(error) if is_cancelled(&error) => return,
            Err(error) => item.fail(&error),
        }
        if to_compute.send(item).is_err() {
            return;
        }
    }
}

/// Checksums, and the channels of a case; none when an earlier run did it (the record is then that run's).
fn read_case(
    case: &CaseFiles,
    setup: &Setup<'_>,
    record: &mut Record,
    task: &Task,
) -> anyhow::Result<Option<Case>> {
    record.inputs = case.files.iter().map(|f| InputFile::named(f)).collect();
    if let Some(problem) = &case.problem {
        return Err(formats::Error::Argument(format!("{}: {problem}", case.name)).into());
    }
    if case.stacks.is_empty() && setup.options.format == OutputFormat::DicomSeg.ending() {
        let why = "a DICOM SEG refers to DICOM images, and this input is none; choose another --format";
        return Err(formats::Error::Argument(format!("{}: {why}", case.name)).into());
    }
    if case.stacks.is_empty() && setup.options.format == OutputFormat::Dicom.ending() {
        let why = "a derived DICOM series belongs to its source, and this input is no DICOM; choose another --format";
        return Err(formats::Error::Argument(format!("{}: {why}", case.name)).into());
    }
    record.inputs = case.files.iter().map(|f| InputFile::read(f)).collect::<Result<_, _>>()?;
    if !setup.overwrite
        && let Some(earlier) =
            record::finished(setup.out, &case.name, &record.inputs, &record.pack, setup.options)
    {
        *record = Record { status: Status::Skipped, ..earlier };
        return Ok(None);
    }
    let mut opened = open_case(case, setup.manifest, &mut record.notices, task)?;
    opened.restoring = setup.options.restoring.unwrap_or_default();
    opened.prompting = setup.options.prompting.clone().unwrap_or_default();
    Ok(Some(opened))
}

/// What a case would take and which files it would make, for a dry run; none when an earlier run did it.
///
/// # Errors
/// What would make it fail.
pub fn estimate(
    case: &CaseFiles,
    setup: &Setup<'_>,
    segmenter: &dyn Segmenter,
    task: &Task,
) -> anyhow::Result<Option<(Estimated, Vec<String>)>> {
    let mut record = blank_record(segmenter, setup);
    record.case.clone_from(&case.name);
    match read_case(case, setup, &mut record, task)? {
        None => Ok(None),
        Some(opened) => {
            let image = opened.channels.first().context("a case has a channel")?;
            let frames = 1 + opened.further.len();
            let names = outputs::names(&case.name, image, frames, setup.options);
            Ok(Some((segmenter.estimate(&opened)?, names)))
        }
    }
}

/// Opens the files of a case; their notices go into the record.
fn open_case(
    case: &CaseFiles,
    manifest: &Manifest,
    notices: &mut Vec<Notice>,
    task: &Task,
) -> anyhow::Result<Case> {
    let mut images = Vec::with_capacity(case.files.len());
    for stack in &case.stacks {
        let mut image = formats::dicom::load(stack, task)?;
        if case.stacks.len() > 1 {
            image.notices.iter_mut().for_each(|n| n.message = format!("{}: {}", stack.label, n.message));
        }
        images.push(image);
    }
    let files = if case.stacks.is_empty() { &case.files[..] } else { &[] };
    for file in files {
        let mut image = formats::open(file, task)?;
        if image.is_picture && !manifest.takes_pictures() {
            let found = "a two-dimensional picture";
            return Err(formats::Error::unsupported(file, found, "volumes", "Give a 3-D image").into());
        }
        if case.files.len() > 1 {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            image.notices.iter_mut().for_each(|n| n.message = format!("{name}: {}", n.message));
        }
        images.push(image);
    }
    let mut opened = Case::from_images(&case.name, images, manifest)?;
    notices.append(&mut opened.notices);
    Ok(opened)
}

fn compute_all(
    from_reader: &Receiver<Item>,
    to_writer: &SyncSender<Item>,
    segmenter: &mut dyn Segmenter,
    listener: &dyn Listener,
    of: usize,
    setup: &Setup<'_>,
    stop: &Cancel,
    cancel: &Cancel,
) -> anyhow::Result<()> {
    let mut is_ready = false;
    for mut item in from_reader {
        if cancel.is_cancelled() || stop.is_cancelled() {
            return Ok(());
        }
        if let State::Read(case) = std::mem::replace(&mut item.state, State::Over) {
            let task = listener.task(&item.record.case, item.number, of);
            let made_ready = if is_ready { Ok(()) } else { fenced(|| segmenter.start(&task)) };
            match made_ready {
                Err(error) if is_cancelled(&error) => return Ok(()),
                Err(error) => return Err(error),
                Ok(()) => is_ready = true,
            }
            let started = Instant::now();
            let image = case.channels.first().context("a case has a channel")?.clone();
            let segmented = fenced(|| segmenter.segment(*case, &task));
            item.record.seconds.insert("compute".to_owned(), started.elapsed().as_secs_f64());
            match segmented {
                Ok(s) => item.accept(s, image),
                Err(error) if is_cancelled(&error) => return Ok(()),
                Err(error) => item.fail(&error),
            }
        }
        let is_failed = item.record.status == Status::Failed;
        if to_writer.send(item).is_err() || is_failed && setup.fail_fast {
            return Ok(());
        }
    }
    Ok(())
}

impl Item {
    fn accept(&mut self, s: Segmented, image: Volume) {
        let record = &mut self.record;
        record.seconds.extend(s.seconds.into_iter().map(|(stage, secs)| (format!("compute/{stage}"), secs)));
        record.notices.extend(s.notices);
        record.provider = Some(s.provider);
        record.runtime = Some(s.runtime);
        record.tiles = s.tiles;
        record.prompts = s.found;
        match &s.result {
            Output::Image(restored) => record.restored = Some(restored.report.clone()),
            Output::Classes(classified) => {
                record.classes = super::answers::means(classified);
                record.classes.truncate(5);
            }
            Output::Boxes(detected) => record.boxes = Some(detected.boxes.len()),
            Output::Text(found) => record.lines = Some(found.pages.iter().map(|p| p.lines.len()).sum()),
            Output::Labels(_) => {}
        }
        self.state = State::Computed { image: Box::new(image), result: Box::new(s.result) };
    }
}

fn write_all(
    from_compute: &Receiver<Item>,
    setup: &Setup<'_>,
    listener: &dyn Listener,
    of: usize,
    tally: &Mutex<Tally>,
    stop: &Cancel,
) {
    for mut item in from_compute {
        item.record.peak_memory_bytes = peak_memory_bytes();
        if item.record.status != Status::Skipped {
            item.record.finished_unix_secs = record::unix_now();
        }
        if let State::Computed { image, result } = std::mem::replace(&mut item.state, State::Over) {
            let (number, record) = (item.number, &mut item.record);
            if let Err(error) = fenced(|| write_case(setup, number, record, &image, &result)) {
                item.record.outputs.clear();
                item.fail(&error);
            }
        }
        if item.record.status == Status::Failed
            && let Err(error) = write_failure(setup, item.number, &item.record)
        {
            // The record on stdout tells of the failure all the same.
            let message = format!("the record could not be written: {error}");
            item.record.notices.push(Notice::warning("record-not-written", message));
        }
        {
            let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match item.record.status {
                Status::Done => tally.done += 1,
                Status::Skipped => tally.skipped += 1,
                Status::Failed => tally.failed += 1,
            }
        }
        if item.record.status == Status::Failed && setup.fail_fast {
            stop.cancel();
        }
        listener.finished(&item.record, item.number, of);
    }
}

fn write_case(
    setup: &Setup<'_>,
    number: usize,
    record: &mut Record,
    image: &Volume,
    result: &Output,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let staging = Staging::open(setup.out, number)?;
    let case = record.case.clone();
    let algorithm = format!("{} {}", record.pack.id, record.pack.version);
    let names =
        outputs::write(&staging, &case, image, result, setup.options, &algorithm, &mut record.notices)?;
    record.outputs = staging.seal(&names)?;
    record.seconds.insert("write".to_owned(), started.elapsed().as_secs_f64());
    put_record(setup, &staging, record, &names)
}

fn write_failure(setup: &Setup<'_>, number: usize, record: &Record) -> anyhow::Result<()> {
    put_record(setup, &Staging::open(setup.out, number)?, record, &[])
}

/// Takes away the old record, publishes the files, then the new record: a record never stands beside files that it
/// does not describe.
fn put_record(setup: &Setup<'_>, staging: &Staging, record: &Record, names: &[String]) -> anyhow::Result<()> {
    let file = record::file_name(&record.case);
    let text = format!("{}\n", serde_json::to_string_pretty(record)?);
    formats::atomic::write_bytes(&staging.path(&file), text.as_bytes())?;
    let old = setup.out.join(&file);
    let stale = stale_slices(setup.out, record::earlier(setup.out, &record.case).as_ref(), names);
    if old.exists() && !names.is_empty() {
        std::fs::remove_file(&old).map_err(formats::Error::io(&old, "replace"))?;
    }
    for slice in &stale {
        let slice = setup.out.join(slice);
        std::fs::remove_file(&slice).map_err(formats::Error::io(&slice, "replace"))?;
    }
    staging.publish(names.iter().map(String::as_str).chain([file.as_str()]))?;
    Ok(())
}

/// Slices of a series that an earlier run of the case wrote, that are as they were written, and that no new slice
/// replaces: two series in one folder would be read as one. Nothing else in the output folder is ours to remove.
fn stale_slices(out: &Path, earlier: Option<&Record>, new: &[String]) -> Vec<String> {
    let is_slice = |name: &str| name.contains('/');
    if !new.iter().any(|name| is_slice(name)) {
        return Vec::new();
    }
    let outputs = earlier.map_or(&[][..], |record| &record.outputs);
    let stale =
        outputs.iter().filter(|o| is_slice(&o.file) && !new.contains(&o.file) && record::is_intact(out, o));
    stale.map(|o| o.file.clone()).collect()
}

/// Runs one step of one case so that a panic in it is an error of that case.
pub fn fenced<T>(step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    // What a panicking step leaves behind is either dropped with its case or (the network's session) not
    // changed by running.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|payload| Err(anyhow!(Panic(text_of(&*payload)))))
}

/// A fault of the program that ended a case.
#[derive(Debug, thiserror::Error)]
#[error("internal error: {0}. The other cases are not affected; please report this with the record")]
pub struct Panic(pub String);

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}

fn peak_memory_bytes() -> u64 {
    inference::memory::peak_bytes().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::record::{PackId, ProviderUsed};
    use formats::{Content, Grid, LabelMap, Voxels};
    use ndarray::Array3;

    /// Thresholds the image; cases named by trouble make it.
    struct Fake {
        pack: PackId,
        ran: Vec<String>,
        cancel: Cancel,
    }

    impl Fake {
        fn new() -> Self {
            let pack = PackId { id: "fake".to_owned(), version: "1".to_owned(), sha256: "00".to_owned() };
            Self { pack, ran: Vec::new(), cancel: Cancel::default() }
        }
    }

    impl Segmenter for Fake {
        fn pack(&self) -> &PackId {
            &self.pack
        }

        fn start(&mut self, _: &Task) -> anyhow::Result<()> {
            Ok(())
        }

        fn estimate(&self, _: &Case) -> anyhow::Result<Estimated> {
            Ok(Estimated { tiles: 1, memory_bytes: 0, available_bytes: 0, notices: vec![] })
        }

        fn segment(&mut self, case: Case, task: &Task) -> anyhow::Result<Segmented> {
            self.ran.push(case.name.clone());
            assert!(!case.name.contains("panic"), "asked to");
            if case.name.contains("stop") {
                self.cancel.cancel();
            }
            task.at("tiles", 0.5)?;
            let grid = case.channels[0].grid;
            let labels = case.channels[0].to_f32().mapv(|v| u16::from(v > 1.0)).into_shared();
            Ok(Segmented {
                found: Vec::new(),
                result: Output::Labels(LabelMap {
                    labels,
                    grid,
                    table: Default::default(),
                    meta: Default::default(),
                }),
                seconds: vec![("network".to_owned(), 0.1)],
                notices: vec![],
                provider: ProviderUsed { asked: "auto".into(), used: "cpu".into(), why: "test".into() },
                runtime: "0".to_owned(),
                tiles: 1,
            })
        }
    }

    #[derive(Default)]
    struct Ears {
        records: Mutex<Vec<Record>>,
        cancel: Cancel,
    }

    impl Listener for Ears {
        fn task(&self, _: &str, _: usize, _: usize) -> Task {
            Task::new(self.cancel.clone(), |_, _| {})
        }
        fn finished(&self, record: &Record, _: usize, _: usize) {
            self.records.lock().unwrap().push(record.clone());
        }
        fn planned(&self, _: &crate::batch::Planned, _: usize, _: usize) {}
        fn say(&self, _: &str) {}
    }

    fn case(folder: &Path, name: &str) -> CaseFiles {
        let file = folder.join(format!("{name}.nii.gz"));
        let voxels =
            Voxels::I16(Array3::from_shape_fn((3, 4, 5), |(k, j, i)| (i + j + k) as i16).into_shared());
        let volume = Volume::new(voxels, Grid::unit([5, 4, 3])).unwrap();
        let labels = volume.to_labels().unwrap();
        formats::save(Content::Labels(&labels), &file, &Task::silent()).unwrap();
        CaseFiles { name: name.to_owned(), files: vec![file], ..CaseFiles::default() }
    }

    fn go(out: &Path, cases: &[CaseFiles], fake: &mut Fake, fail_fast: bool) -> (Tally, Vec<Record>) {
        let options = Options {
            format: "nii.gz".to_owned(),
            quicklook: false,
            restoring: None,
            answer: None,
            prompting: None,
        };
        let manifest = super::super::cases::tests::manifest(&["image"]);
        let setup =
            Setup { out, options: &options, manifest: &manifest, threads: 1, overwrite: false, fail_fast };
        let ears = Ears { cancel: fake.cancel.clone(), ..Ears::default() };
        let cancel = fake.cancel.clone();
        let tally = run(cases, &setup, fake, &ears, &cancel).unwrap();
        (tally, ears.records.into_inner().unwrap())
    }

    #[test]
    fn only_slices_of_an_earlier_run_are_taken_away() {
        let (input, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, mut records) = go(out.path(), &[case(input.path(), "a")], &mut Fake::new(), false);
        let mut record = records.remove(0);
        std::fs::create_dir(out.path().join("a_restored")).unwrap();
        let slices: Vec<String> = (1..=4).map(|n| format!("a_restored/IM_000{n}.dcm")).collect();
        for name in &slices {
            std::fs::write(out.path().join(name), name).unwrap();
            let (bytes, sha256) = record::fingerprint(&out.path().join(name)).unwrap();
            record.outputs.push(record::OutputFile { file: name.clone(), sha256, bytes });
        }
        // Somebody's own file beside them, and a slice that somebody changed.
        std::fs::write(out.path().join("a_restored/IM_0009.dcm"), "mine").unwrap();
        std::fs::write(out.path().join(&slices[3]), "changed").unwrap();
        let new = slices[..2].to_vec();
        assert_eq!(stale_slices(out.path(), Some(&record), &new), [slices[2].clone()]);
        assert!(stale_slices(out.path(), Some(&record), &["a_restored.nii.gz".to_owned()]).is_empty());
        assert!(stale_slices(out.path(), None, &new).is_empty());
        // A record is data from disk, and names nothing outside.
        record.outputs[4].file = "../a_restored/IM_0003.dcm".to_owned();
        assert!(stale_slices(out.path(), Some(&record), &new).iter().all(|n| !n.contains("..")));
    }

    #[test]
    fn a_bad_case_fails_alone_and_finished_ones_are_skipped() {
        let (input, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut cases = vec![case(input.path(), "a"), case(input.path(), "b-panic"), case(input.path(), "c")];
        cases[2].problem = Some("no file for channel T1".to_owned());
        cases.push(case(input.path(), "d"));
        let mut fake = Fake::new();
        let (tally, records) = go(out.path(), &cases, &mut fake, false);
        assert_eq!(tally, Tally { done: 2, skipped: 0, failed: 2, left: 0 });
        assert_eq!(records.iter().map(|r| r.case.as_str()).collect::<Vec<_>>(), ["a", "b-panic", "c", "d"]);
        assert_eq!(records[1].error.as_ref().unwrap().kind, "panic");
        assert_eq!(records[2].error.as_ref().unwrap().kind, "argument");
        assert!(out.path().join("a_seg.nii.gz").exists() && !out.path().join("b-panic_seg.nii.gz").exists());

        cases[2].problem = None;
        let mut again = Fake::new();
        let (tally, _) = go(out.path(), &cases, &mut again, false);
        assert_eq!((tally.done, tally.skipped, tally.failed), (1, 2, 1));
        assert_eq!(again.ran, ["b-panic", "c"]);

        // A changed output is made again; so is a changed input.
        std::fs::write(out.path().join("a_volumes.csv"), "tampered").unwrap();
        case(input.path(), "d");
        let volume =
            Volume::new(Voxels::U8(Array3::ones((2, 2, 2)).into_shared()), Grid::unit([2; 3])).unwrap();
        formats::save(Content::Labels(&volume.to_labels().unwrap()), &cases[3].files[0], &Task::silent())
            .unwrap();
        let mut again = Fake::new();
        go(out.path(), &cases, &mut again, false);
        assert_eq!(again.ran, ["a", "b-panic", "d"]);
        let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().starts_with('.')), "{left:?}");
    }

    #[test]
    fn fail_fast_and_cancel_leave_the_rest() {
        let (input, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cases = ["a", "b-panic", "c", "d"].map(|n| case(input.path(), n));
        let (tally, _) = go(out.path(), &cases, &mut Fake::new(), true);
        assert_eq!((tally.done, tally.failed, tally.left), (1, 1, 2));
        let out = tempfile::tempdir().unwrap();
        let cases = ["a", "b-stop", "c"].map(|n| case(input.path(), n));
        let (tally, records) = go(out.path(), &cases, &mut Fake::new(), false);
        assert_eq!((tally.done, tally.left, records.len()), (1, 2, 1));
        assert!(!out.path().join("b-stop_seg.nii.gz").exists());
    }
}
