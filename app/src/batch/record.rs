//! The result record: what was made of a case, from what, by what. One JSON object, on stdout and beside the
//! results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use formats::Notice;
use models::prompter::Found;
use models::restorer::Report;
use models::{Prompting, Restoring};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::answers::Answer;
use crate::failure::Failure;

/// Version of the record's layout; raised when a key changes its meaning.
pub const LAYOUT: u32 = 1;

/// The result record of one case. The field names are its JSON keys and stay stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the case; outputs are named by it.
    pub case: String,
    /// What became of it.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// [`LAYOUT`].
    pub layout: u32,
    /// Version of the program.
    pub insula: String,
    /// The model.
    pub pack: PackId,
    /// Version of ONNX Runtime, when it ran.
    pub runtime: Option<String>,
    /// What the network ran on, when it ran.
    pub provider: Option<ProviderUsed>,
    /// Options that change the outputs.
    pub options: Options,
    /// The files of the case, one per channel (or one with all of them).
    pub inputs: Vec<InputFile>,
    /// Compute threads.
    pub threads: usize,
    /// Windows the network ran on.
    pub tiles: usize,
    /// Seconds per stage, wall clock; reading and writing overlap with the computing of other cases.
    pub seconds: BTreeMap<String, f64>,
    /// Largest resident memory of the process so far.
    pub peak_memory_bytes: u64,
    /// How the image was restored, by packs that restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Report>,
    /// The most probable classes (at most five), by packs that classify: means over the slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassMean>,
    /// How many boxes were found, by packs that detect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<usize>,
    /// How many lines of text were found, by packs that find text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<usize>,
    /// What became of each prompt, by packs that are told in words what to mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Found>,
    /// Odd but survivable things.
    pub notices: Vec<Notice>,
    /// What was written, relative to the output folder.
    pub outputs: Vec<OutputFile>,
    /// End of the work, seconds since 1970-01-01 UTC.
    pub finished_unix_secs: u64,
}

/// A class and how probable it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassMean {
    /// Its name.
    pub class: String,
    /// 0..=1.
    pub probability: f64,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Segmented or restored; the outputs are complete.
    Done,
    /// An earlier run did it: same inputs, pack and options, and outputs unchanged. Only on stdout.
    Skipped,
    /// Not done; see the error. The next run tries again.
    Failed,
}

/// A model pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackId {
    /// Its identifier.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 over the manifest and with it over the weights, hexadecimal.
    pub sha256: String,
}

/// What the network ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderUsed {
    /// What the user asked for.
    pub asked: String,
    /// What it really was.
    pub used: String,
    /// Why.
    pub why: String,
}

/// The format that suits each restored image: for volumes `nii.gz`; for pictures `png`, or `tiff` where PNG cannot hold their type.
pub const SUITABLE: &str = "auto";

/// Options that change the outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// File ending of the label volume or restored image, or [`SUITABLE`].
    pub format: String,
    /// Whether a picture is made.
    pub quicklook: bool,
    /// How images are restored, by packs that restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<Restoring>,
    /// What packs answer with that neither segment nor restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What is asked for in words, of packs that are told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompting: Option<Prompting>,
}

/// A file of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// As found.
    pub path: PathBuf,
    /// Hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

impl InputFile {
    /// The file without its content, for cases that fail before it is read.
    pub fn named(path: &Path) -> Self {
        Self { path: path.to_owned(), sha256: String::new(), bytes: 0 }
    }

    /// The file with its checksum; of formats in several files, all of them.
    ///
    /// # Errors
    /// [`formats::Error::Io`].
    pub fn read(path: &Path) -> formats::Result<Self> {
        let (mut bytes, mut sha256) = fingerprint(path)?;
        let companions = companions(path);
        if !companions.is_empty() {
            let mut hash = Sha256::new();
            hash.update(&sha256);
            for companion in companions {
                // A companion that is missing fails the case when the image is opened, with a better message.
                let (more, sha256) = fingerprint(&companion).unwrap_or_default();
                bytes += more;
                hash.update(&sha256);
            }
            sha256 = hex(&hash.finalize());
        }
        Ok(Self { path: path.to_owned(), sha256, bytes })
    }
}

/// Files that hold the voxels of a header file: the `.img` of an `.hdr`, and what `.mhd` and `.nhdr` headers name.
fn companions(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = formats::registry::stem(path);
    if name.ends_with(".hdr") || name.ends_with(".hdr.gz") {
        let beside = |e: &&str| folder.join(format!("{}.{e}", stem.display()));
        return ["img", "img.gz", "IMG"].iter().map(beside).filter(|p| p.is_file()).collect();
    }
    if !name.ends_with(".mhd") && !name.ends_with(".nhdr") {
        return Vec::new();
    }
    // These headers are a few lines of text.
    let mut text = Vec::new();
    if File::open(path).and_then(|f| f.take(1 << 20).read_to_end(&mut text)).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let is_key =
        |k: &str| ["elementdatafile", "data file", "datafile"].contains(&k.trim().to_lowercase().as_str());
    let value = lines
        .by_ref()
        .find_map(|l| l.split_once(['=', ':']).filter(|(k, _)| is_key(k)).map(|(_, v)| v.trim()));
    let listed = lines.map(str::trim).filter(|l| !l.is_empty());
    let names = value.into_iter().chain(if value == Some("LIST") { listed.collect() } else { Vec::new() });
    names.map(|n| folder.join(n)).filter(|p| p.is_file()).collect()
}

/// A file of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// File name in the output folder.
    pub file: String,
    /// Hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

/// Length and SHA-256 (hexadecimal) of a file.
///
/// # Errors
/// [`formats::Error::Io`].
pub fn fingerprint(path: &Path) -> formats::Result<(u64, String)> {
    let mut file = File::open(path).map_err(formats::Error::io(path, "open"))?;
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0_u64, vec![0; 1 << 18]);
    loop {
        let n = file.read(&mut piece).map_err(formats::Error::io(path, "read"))?;
        if n == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        bytes += n as u64;
        hash.update(&piece[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The name of a case's record in the output folder.
pub fn file_name(case: &str) -> String {
    format!("{case}_record.json")
}

/// The record of an earlier run, if it says that the same work was done and its outputs are still what was
/// written then.
pub fn finished(
    out: &Path,
    case: &str,
    inputs: &[InputFile],
    pack: &PackId,
    options: &Options,
) -> Option<Record> {
    let record = earlier(out, case)?;
    // Paths may differ (another mount of the same data); what counts is the content.
    let same_inputs = record.inputs.len() == inputs.len()
        && record.inputs.iter().zip(inputs).all(|(a, b)| a.sha256 == b.sha256);
    let is_same = record.status == Status::Done
        && record.layout == LAYOUT
        && record.case == case
        && same_inputs
        && record.pack == *pack
        && record.options == *options
        && !record.outputs.is_empty();
    (is_same && record.outputs.iter().all(|o| is_intact(out, o))).then_some(record)
}

/// The record of a case that is in the output folder, whatever it is of.
pub fn earlier(out: &Path, case: &str) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(out.join(file_name(case))).ok()?).ok()
}

/// Whether a file that a record names is as it was written.
pub fn is_intact(out: &Path, output: &OutputFile) -> bool {
    // A record is data from disk: it may only name files in its own folder or below.
    let is_below = Path::new(&output.file).components().all(|c| matches!(c, std::path::Component::Normal(_)));
    is_below
        && fingerprint(&out.join(&output.file))
            .is_ok_and(|(bytes, sha256)| bytes == output.bytes && sha256 == output.sha256)
}
