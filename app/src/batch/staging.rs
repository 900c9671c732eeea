//! Results appear together and whole: they are made in a hidden folder inside the output folder and renamed out
//! of it, the record last.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use formats::Error;

use super::record::{OutputFile, fingerprint};

const PREFIX: &str = ".insula-";
const SUFFIX: &str = ".part";
/// Left-overs of other machines are only removed when nothing can be working on them any more.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// A hidden folder for the outputs of one case. Dropping it removes what was not published.
#[derive(Debug)]
pub struct Staging {
    out: PathBuf,
    folder: PathBuf,
}

impl Staging {
    /// Makes the folder. Its name says which process of which machine works on it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(out: &Path, case_number: usize) -> Result<Self, Error> {
        let name = format!("{PREFIX}{}-{}-{case_number}{SUFFIX}", machine(), std::process::id());
        let folder = out.join(name);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        Ok(Self { out: out.to_owned(), folder })
    }

    /// Where to write the file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Flushes the files to disk and takes their checksums.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn seal(&self, names: &[String]) -> Result<Vec<OutputFile>, Error> {
        let mut outputs = Vec::with_capacity(names.len());
        for name in names {
            let path = self.path(name);
            let file = std::fs::File::open(&path).map_err(Error::io(&path, "read"))?;
            file.sync_all().map_err(Error::io(&path, "write"))?;
            let (bytes, sha256) = fingerprint(&path)?;
            outputs.push(OutputFile { file: name.clone(), sha256, bytes });
        }
        Ok(outputs)
    }

    /// Renames the files into the output folder, in the order given: the record comes last. A name may begin with a
    /// folder, as those of the slices of a series do.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        for name in names {
            let target = self.out.join(name);
            if let Some(folder) = Path::new(name).parent().filter(|p| !p.as_os_str().is_empty()) {
                let folder = self.out.join(folder);
                std::fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
            }
            std::fs::rename(self.path(name), &target).map_err(Error::io(&target, "write"))?;
        }
        #[cfg(unix)]
        if let Ok(folder) = std::fs::File::open(&self.out) {
            // The renames survive a power cut; where the file system cannot do this, nothing is lost but that.
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes what runs that were killed left in the output folder. Running ones, also on other machines, are
/// left alone. Returns how many were removed.
pub fn clean(out: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(out) else { return 0 };
    let mut removed = 0;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(middle) = name.strip_prefix(PREFIX).and_then(|n| n.strip_suffix(SUFFIX)) else { continue };
        let is_old = || {
            let changed = entry.metadata().and_then(|m| m.modified());
            changed.is_ok_and(|t| SystemTime::now().duration_since(t).is_ok_and(|age| age > STALE))
        };
        if is_of_dead_process(middle) || is_old() {
            let path = entry.path();
            let gone =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed += usize::from(gone.is_ok());
        }
    }
    removed
}

/// Whether `machine-pid-number` names a process of this machine that no longer runs. Unknown counts as running.
fn is_of_dead_process(middle: &str) -> bool {
    let mut parts = middle.rsplitn(3, '-');
    let (Some(_number), Some(pid), Some(of)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let has_proc = Path::new("/proc/self").exists();
    of == machine() && (pid == std::process::id() || has_proc && !Path::new(&format!("/proc/{pid}")).exists())
}

/// The name of this machine, reduced to what is safe in a file name.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    let safe: String = name.trim().chars().filter(|c| c.is_ascii_alphanumeric()).take(32).collect();
    if safe.is_empty() { "local".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_of_the_dead_go_and_those_of_the_living_stay() {
        let out = tempfile::tempdir().unwrap();
        let dead = format!("{PREFIX}{}-4294967-0{SUFFIX}", machine());
        let living = format!("{PREFIX}{}-1-0{SUFFIX}", machine());
        let elsewhere = format!("{PREFIX}other-4294967-0{SUFFIX}");
        for name in [&dead, &living, &elsewhere] {
            std::fs::create_dir(out.path().join(name)).unwrap();
            std::fs::write(out.path().join(name).join("x"), "half").unwrap();
        }
        clean(out.path());
        assert!(!out.path().join(dead).exists() || !Path::new("/proc/self").exists());
        assert!(out.path().join(living).exists() && out.path().join(elsewhere).exists());
    }

    #[test]
    fn what_is_not_published_disappears() {
        let out = tempfile::tempdir().unwrap();
        let staging = Staging::open(out.path(), 0).unwrap();
        std::fs::write(staging.path("a"), "1").unwrap();
        std::fs::write(staging.path("b"), "2").unwrap();
        std::fs::create_dir(staging.path("series")).unwrap();
        std::fs::write(staging.path("series/1.dcm"), "slice").unwrap();
        let sealed = staging.seal(&["a".to_owned(), "series/1.dcm".to_owned()]).unwrap();
        assert_eq!((sealed[0].bytes, sealed[1].bytes), (1, 5));
        staging.publish(["a", "series/1.dcm"]).unwrap();
        drop(staging);
        let names: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(std::fs::read(out.path().join("series/1.dcm")).unwrap(), b"slice");
        assert!(out.path().join("a").is_file());
    }
}
