//! Where ONNX Runtime comes from.
//!
//! The library is looked for in this order: the file named by `ORT_DYLIB_PATH`; beside the program, where packages put
//! it; in the user's data folder, where [`install`] puts it; in the system's folders. A candidate counts when it loads
//! and says its version. A variable that names a file which does not load is an error, not a reason to look further.
//!
//! # Why the Python wheel
//! It is the one official build that every platform has at a stable, hashed address, that mirrors inside hospitals
//! already carry, and that `pip` fetches with the user's own proxy and index settings. Nothing of Python is used
//! when the program runs.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use formats::Task;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::provider::{Provider, ROWS};

/// Names the library to use.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";
/// Version that [`install`] installs.
pub const VERSION: &str = "1.32.0";
/// Oldest version that can be used.
const OLDEST_MINOR: u32 = 17;
/// Larger entries of a wheel are not unpacked.
const ENTRY_LIMIT: u64 = 512 << 20;

/// An official wheel: the processor's build, for Python 3.13 (which Python does not matter; only the library is used).
struct Wheel {
    os: &'static str,
    arch: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "02ea12a28c069ea8510093d95a7f6ff8126bfd9fc5c0d3381c03b80fb2b424ba",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "54d02baff2df38777b4c3cc7af326406fe8b8a48f54720f4c446d2d327920a79",
    },
    Wheel {
        os: "windows",
        arch: "x86_64",
        platform: "win_amd64",
        sha256: "c7f9aa98036ba2a47aa041a4a8c6d0a1f7bfe1bde44c131dcd15ce334f2f148d",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        platform: "macosx_14_0_arm64",
        sha256: "27bf5dad46355a8a435c9c4e1556464d99ca834ea44e0f452909712068b8821b",
    },
];

/// Where a library was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Named by [`VARIABLE`].
    Variable,
    /// In the program's folder, in `lib` in it, or in `lib/insula` beside that folder (as in `/usr/bin`, `/usr/lib/insula`).
    BesideProgram,
    /// In the user's data folder.
    UserFolder,
    /// In the system's library folders.
    System,
}

/// A library that loads.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// The file (a bare name when the system's loader finds it by itself).
    pub path: PathBuf,
    /// Its version, e.g. `"1.32.0"`.
    pub version: String,
    /// Where it was.
    pub place: Place,
    /// Providers it was built with that this program knows.
    pub providers: Vec<Provider>,
}

/// No library loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// What was tried, and why it does not do.
    pub tried: Vec<(PathBuf, String)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variable => "named by ORT_DYLIB_PATH",
            Self::BesideProgram => "beside the program",
            Self::UserFolder => "in the user's data folder",
            Self::System => "in the system's folders",
        })
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tried.is_empty() {
            return f.write_str("no library was found");
        }
        let tried: Vec<_> = self.tried.iter().map(|(p, why)| format!("{}: {why}", p.display())).collect();
        write!(f, "no library could be used ({})", tried.join("; "))
    }
}

impl std::error::Error for NotFound {}

impl From<NotFound> for Error {
    fn from(e: NotFound) -> Self {
        Self::runtime(
            e.to_string(),
            format!(
                "Install it with `insula runtime install`, or set {VARIABLE} to the full path of {}",
                library_name()
            ),
        )
    }
}

/// The program's folder in the user's data: `INSULA_HOME`, else `XDG_DATA_HOME/insula` or the system's custom.
#[must_use]
pub fn user_folder() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(home) = from("INSULA_HOME") {
        return home;
    }
    let home = || std::env::home_dir().unwrap_or_default();
    let data = if cfg!(windows) {
        from("LOCALAPPDATA").unwrap_or_else(|| home().join("AppData").join("Local"))
    } else if cfg!(target_os = "macos") {
        home().join("Library").join("Application Support")
    } else {
        from("XDG_DATA_HOME")
            .filter(|p| p.is_absolute())
            .unwrap_or_else(|| home().join(".local").join("share"))
    };
    data.join("insula")
}

/// The first library that loads, in the order given above.
///
/// # Errors
/// [`NotFound`] with everything that was tried.
pub fn find() -> Result<Found, NotFound> {
    let variable = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let program = std::env::current_exe().ok().and_then(|p| p.canonicalize().ok());
    find_in(variable, program.as_deref().and_then(Path::parent), &user_folder(), &system_folders())
}

fn find_in(
    variable: Option<PathBuf>,
    program: Option<&Path>,
    user: &Path,
    system: &[PathBuf],
) -> Result<Found, NotFound> {
    let mut candidates: Vec<(Place, PathBuf)> = Vec::new();
    let is_named = variable.is_some();
    if let Some(path) = variable {
        candidates.push((Place::Variable, path));
    } else {
        let beside = program.map(folders_beside).unwrap_or_default().into_iter();
        candidates.extend(beside.flat_map(|f| libraries_in(&f)).map(|p| (Place::BesideProgram, p)));
        candidates.extend(installed(user).into_iter().map(|p| (Place::UserFolder, p)));
        candidates.extend(system.iter().flat_map(|f| libraries_in(f)).map(|p| (Place::System, p)));
        // The loader's own search knows folders that we do not.
        candidates.push((Place::System, PathBuf::from(library_name())));
    }
    let mut tried = Vec::new();
    for (place, path) in candidates {
        let is_bare = path.components().count() == 1 && !is_named;
        match probe_all(&path) {
            Ok((version, providers)) => return Ok(Found { path, version, place, providers }),
            // That the loader knows nothing is no finding.
            Err(_) if is_bare => {}
            Err(reason) => tried.push((path, reason)),
        }
    }
    Err(NotFound { tried })
}

/// Where packages put the library, for a program in this folder.
fn folders_beside(program: &Path) -> Vec<PathBuf> {
    let mut folders = vec![program.to_owned(), program.join("lib")];
    folders.extend(program.parent().map(|prefix| prefix.join("lib").join("insula")));
    folders
}

fn library_name() -> &'static str {
    match std::env::consts::OS {
        "windows" => "onnxruntime.dll",
        "macos" => "libonnxruntime.dylib",
        _ => "libonnxruntime.so",
    }
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`.
fn is_library(name: &str) -> bool {
    match std::env::consts::OS {
        "windows" => name.eq_ignore_ascii_case("onnxruntime.dll"),
        "macos" => {
            name == "libonnxruntime.dylib"
                || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
        }
        _ => name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so."),
    }
}

/// Candidates in a folder, the plainest name first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| is_library(n))
        .collect();
    names.sort_by_key(|n| (n.len(), n.clone()));
    names.into_iter().map(|n| folder.join(n)).collect()
}

/// Installed libraries, the version that [`install`] installs first, then newer before older.
fn installed(user: &Path) -> Vec<PathBuf> {
    let folder = user.join("runtime");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut versions: Vec<(bool, Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|e| {
            let name = e.file_name().into_string().ok()?;
            let numbers = name.split('.').map(|n| n.parse().ok()).collect::<Option<Vec<u32>>>()?;
            Some((name == VERSION, numbers, e.path()))
        })
        .collect();
    versions.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
    versions.iter().flat_map(|(_, _, p)| libraries_in(p)).collect()
}

fn system_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for variable in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        folders.extend(
            std::env::var_os(variable).iter().flat_map(std::env::split_paths).filter(|p| p.is_absolute()),
        );
    }
    let arch = std::env::consts::ARCH;
    if cfg!(unix) {
        let multi = format!("{arch}-linux-gnu");
        for root in ["/usr/local", "/usr", "/opt/onnxruntime", "/opt/homebrew"] {
            let root = Path::new(root);
            folders.extend([root.join("lib"), root.join("lib64"), root.join("lib").join(&multi)]);
        }
    }
    folders
}

/// The version of a library, after loading it.
///
/// # Errors
/// The reason why it cannot be used.
pub fn probe(path: &Path) -> Result<String, String> {
    probe_all(path).map(|(version, _)| version)
}

/// Version and providers of a library, after loading it. A library that serves stays loaded: unloading one that has
/// started threads is not safe, and it is about to be used.
fn probe_all(path: &Path) -> Result<(String, Vec<Provider>), String> {
    let is_bare = path.components().count() == 1;
    if !is_bare && !path.is_file() {
        return Err("there is no such file".to_owned());
    }
    let (library, version, providers) = load(path)?;
    let minor = version.split('.').nth(1).and_then(|n| n.parse::<u32>().ok());
    if !version.starts_with("1.") || minor.is_none_or(|m| m < OLDEST_MINOR) {
        return Err(format!("version {version}; 1.{OLDEST_MINOR} or newer is needed"));
    }
    std::mem::forget(library);
    Ok((version, providers))
}

#[expect(unsafe_code)]
fn load(path: &Path) -> Result<(libloading::Library, String, Vec<Provider>), String> {
    use std::ffi::CStr;
    type GetBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: loading runs the library's initialisers; the user, the system or our own install put it there to be
    // run. The types are those of ONNX Runtime's C interface, which keeps them for ever; a library of that name
    // without the symbol is refused. Pointers are checked before use, and strings are the library's own constants.
    unsafe {
        let library = libloading::Library::new(path).map_err(|e| e.to_string())?;
        let base: libloading::Symbol<'_, GetBase> =
            library.get(b"OrtGetApiBase\0").map_err(|_| "it is not ONNX Runtime".to_owned())?;
        let base = base();
        if base.is_null() {
            return Err("it gives no interface".to_owned());
        }
        let version = ((*base).GetVersionString)();
        if version.is_null() {
            return Err("it gives no version".to_owned());
        }
        let version = CStr::from_ptr(version).to_string_lossy().into_owned();
        let api = ((*base).GetApi)(OLDEST_MINOR);
        let mut providers = Vec::new();
        if !api.is_null() {
            let (mut names, mut count) = (std::ptr::null_mut(), 0);
            let status = ((*api).GetAvailableProviders)(&raw mut names, &raw mut count);
            if status.0.is_null() && !names.is_null() {
                let count = usize::try_from(count).unwrap_or(0);
                let names_there: Vec<String> = std::slice::from_raw_parts(names, count)
                    .iter()
                    .map(|&n| CStr::from_ptr(n).to_string_lossy().into_owned())
                    .collect();
                providers.extend(
                    ROWS.iter()
                        .filter(|r| names_there.iter().any(|n| n == r.runtime_name))
                        .map(|r| r.provider),
                );
                let released = ((*api).ReleaseAvailableProviders)(names, i32::try_from(count).unwrap_or(0));
                let _ = released; // nothing can be done about a failure to free
            }
        }
        Ok((library, version, providers))
    }
}

/// Downloads and installs the official build for the processor into the user's data folder; returns the library.
/// When it is installed already and loads, nothing is downloaded. Safe to run in several processes at once.
///
/// # Errors
/// [`Error::Runtime`] with the remedy (also for work without a network), [`Error::Cancelled`].
pub fn install(task: &Task) -> Result<PathBuf> {
    let folder = user_folder().join("runtime");
    if let Some(path) = usable(&folder.join(VERSION)) {
        return Ok(path);
    }
    let wheel = wheel()?;
    let scratch = scratch(&folder)?;
    task.at("Downloading ONNX Runtime", 0.0)?;
    let file = download(wheel, scratch.path(), task)?;
    unpack(wheel, &file, &folder, task)
}

/// Installs from a wheel that was downloaded elsewhere: the file named in [`install`]'s error.
///
/// # Errors
/// As [`install`].
pub fn install_from(file: &Path, task: &Task) -> Result<PathBuf> {
    let folder = user_folder().join("runtime");
    unpack(wheel()?, file, &folder, task)
}

fn wheel() -> Result<&'static Wheel> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    WHEELS.iter().find(|w| w.os == os && w.arch == arch).ok_or_else(|| {
        Error::runtime(
            format!("there is no official build for {os} on {arch}"),
            format!("Build or obtain ONNX Runtime for this system and set {VARIABLE} to the full path of the library"),
        )
    })
}

impl Wheel {
    fn file_name(&self) -> String {
        format!("onnxruntime-{VERSION}-cp313-cp313-{}.whl", self.platform)
    }

    /// What to do without a network or without pip.
    fn remedy(&self) -> String {
        format!(
            "Without a network here: on another computer run `python3 -m pip download --no-deps --only-binary=:all: \
             --implementation cp --python-version 3.13 --abi cp313 --platform {} onnxruntime=={VERSION}`, bring {} here \
             and run `insula runtime install --from FILE`; or set {VARIABLE} to the full path of a {} that is there",
            self.platform,
            self.file_name(),
            library_name()
        )
    }
}

fn io(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let found = format!("cannot {action} {}", path.display());
    move |e| {
        Error::runtime(format!("{found}: {e}"), "Make the folder writable, or set INSULA_HOME to another one")
    }
}

/// A folder of our own within `folder`, so that renames stay on one disk; removed when dropped.
fn scratch(folder: &Path) -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    tempfile::Builder::new().prefix(".install-").tempdir_in(folder).map_err(io("write to", folder))
}

/// The library in an installed version's folder, if it loads.
fn usable(version_folder: &Path) -> Option<PathBuf> {
    libraries_in(version_folder).into_iter().find(|p| probe(p).is_ok())
}

/// Runs pip. It checks the hash, and so do we.
fn download(wheel: &Wheel, scratch: &Path, task: &Task) -> Result<PathBuf> {
    let list = scratch.join("requirements.txt");
    let line = format!("onnxruntime=={VERSION} --hash=sha256:{}\n", wheel.sha256);
    std::fs::write(&list, line).map_err(io("write", &list))?;
    let log = scratch.join("pip.log");
    let mut last = "no Python 3 with pip was found".to_owned();
    for python in ["python3", "python", "py"] {
        let output = std::fs::File::create(&log).map_err(io("write", &log))?;
        let mut command = Command::new(python);
        command.args([
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--no-input",
            "--no-cache-dir",
        ]);
        command.args(["--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation", "cp"]);
        command.args(["--python-version", "3.13", "--abi", "cp313", "--platform", wheel.platform]);
        command.arg("--dest").arg(scratch).arg("-r").arg(&list);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let Ok(mut child) = command.spawn() else { continue };
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status.success(),
                Ok(None) => {}
                Err(_) => break false,
            }
            if let Err(cancelled) = task.check() {
                // The child ends with us; what it wrote goes with the scratch folder.
                let _ = child.kill();
                let _ = child.wait();
                return Err(cancelled.into());
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let file = scratch.join(wheel.file_name());
        if status && file.is_file() {
            return Ok(file);
        }
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if let Some(line) = log.lines().rev().find(|l| l.contains("ERROR") || l.contains("No module")) {
            last = format!("pip says: {}", line.trim());
        }
    }
    Err(Error::runtime(format!("the download failed; {last}"), wheel.remedy()))
}

/// Checks the wheel, unpacks library and licences, and puts them in place with one rename.
fn unpack(wheel: &Wheel, file: &Path, folder: &Path, task: &Task) -> Result<PathBuf> {
    task.at("Installing ONNX Runtime", 0.6)?;
    let bytes = std::fs::read(file)
        .map_err(|e| Error::runtime(format!("cannot read {}: {e}", file.display()), wheel.remedy()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    if digest != wheel.sha256 {
        return Err(Error::runtime(
            format!("{} is not {} (its SHA-256 is {digest})", file.display(), wheel.file_name()),
            wheel.remedy(),
        ));
    }
    let scratch = scratch(folder)?;
    let new = scratch.path().join(VERSION);
    std::fs::create_dir(&new).map_err(io("make the folder", &new))?;
    extract(&bytes, &new)
        .map_err(|why| Error::runtime(format!("{}: {why}", file.display()), wheel.remedy()))?;
    task.at("Installing ONNX Runtime", 0.9)?;
    let name = libraries_in(&new).into_iter().find_map(|p| p.file_name().map(PathBuf::from));
    let Some(name) = name else {
        return Err(Error::runtime(format!("{} holds no library", file.display()), wheel.remedy()));
    };
    let place = folder.join(VERSION);
    let path = place.join(&name);
    for _ in 0..3 {
        if std::fs::rename(&new, &place).is_ok() {
            break;
        }
        // Another process was first, or an old, broken install is in the way.
        if usable(&place).is_some() {
            break;
        }
        let aside = scratch.path().join("old");
        if let Err(e) = std::fs::rename(&place, &aside) {
            return Err(io("replace", &place)(e));
        }
    }
    probe(&path).map_err(|reason| {
        Error::runtime(
            format!("{} was installed but cannot be used: {reason}", path.display()),
            format!("Set {VARIABLE} to a build of ONNX Runtime made for this system"),
        )
    })?;
    task.at("Installing ONNX Runtime", 1.0)?;
    Ok(path)
}

/// Library and licences out of a wheel, flat. Names inside decide nothing about where files go.
fn extract(wheel: &[u8], to: &Path) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(wheel)).map_err(|e| e.to_string())?;
    for n in 0..archive.len() {
        let mut entry = archive.by_index(n).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.into_owned();
        let base = match name.rsplit_once('/') {
            Some(("onnxruntime/capi", base)) if is_library(base) => base,
            Some(("onnxruntime", base)) if ["LICENSE", "ThirdPartyNotices.txt"].contains(&base) => base,
            _ => continue,
        };
        let size = entry.size();
        if size > ENTRY_LIMIT {
            return Err(format!("{name} claims {size} bytes"));
        }
        let mut content = Vec::new();
        entry.by_ref().take(size + 1).read_to_end(&mut content).map_err(|e| e.to_string())?;
        if content.len() as u64 != size {
            return Err(format!("{name} holds {} bytes instead of {size}", content.len()));
        }
        formats::atomic::write_bytes(&to.join(base), &content).map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_finds_its_own_library() {
        let prefix = tempfile::tempdir().unwrap();
        let lib = prefix.path().join("lib").join("insula");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join(library_name()), "").unwrap();
        let found: Vec<PathBuf> =
            folders_beside(&prefix.path().join("bin")).iter().flat_map(|f| libraries_in(f)).collect();
        assert_eq!(found, [lib.join(library_name())]);
    }
}
