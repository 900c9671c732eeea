//! Which packs are there: those inside the program and those in the user's folder.
//!
//! A pack inside the program always wins its id: a folder pack of the same id is refused on installation and, if
//! put there by hand, listed under [`Catalog::problems`]. A result that names a bundled pack therefore means the
//! program's own weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::manifest::is_id;
use crate::pack::{ModelPack, PackSource};

/// The packs that can be run, and those that cannot with the reason.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    packs: Vec<Arc<ModelPack>>,
    problems: Vec<Problem>,
}

/// A folder in the pack folder that is not a usable pack.
#[derive(Debug)]
pub struct Problem {
    /// The folder.
    pub folder: PathBuf,
    /// Why it is not listed.
    pub error: Error,
}

impl Catalog {
    /// Bundled packs and those in the user's data folder (`packs/` in [`inference::runtime::user_folder`]).
    #[must_use]
    pub fn standard() -> Self {
        Self::in_folder(&inference::runtime::user_folder().join("packs"))
    }

    /// Bundled packs and those in `folder`, which need not exist. Reads manifests only; file contents are checked
    /// when a pack is opened. Ordered: bundled packs first, then by id.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let mut catalog = Self { folder: folder.to_owned(), packs: Vec::new(), problems: Vec::new() };
        for files in crate::bundled::PACKS {
            match ModelPack::bundled(files) {
                Ok(pack) => catalog.packs.push(Arc::new(pack)),
                Err(error) => catalog.problems.push(Problem { folder: PathBuf::from("bundled"), error }),
            }
        }
        let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|e| !e.file_name().to_string_lossy().starts_with('.'))
            .map(|e| e.path())
            .filter(|p| p.is_dir())
            .collect();
        folders.sort();
        for folder in folders {
            match ModelPack::from_folder(&folder).and_then(|p| catalog.admit(p, &folder)) {
                Ok(pack) => catalog.packs.push(Arc::new(pack)),
                Err(error) => catalog.problems.push(Problem { folder, error }),
            }
        }
        catalog
    }

    fn admit(&self, pack: ModelPack, folder: &Path) -> Result<ModelPack> {
        if folder.file_name().is_none_or(|n| n != pack.id()) {
            return Err(Error::pack(
                folder,
                format!("a pack with the id “{}”", pack.id()),
                "a folder named like the id",
                "Rename the folder, or install the pack from elsewhere",
            ));
        }
        if self.find(pack.id()).is_ok_and(|p| p.is_bundled()) {
            return Err(taken(folder, pack.id()));
        }
        Ok(pack)
    }

    /// All usable packs: bundled first, then by id.
    #[must_use]
    pub fn packs(&self) -> &[Arc<ModelPack>] {
        &self.packs
    }

    /// Folders that are not usable packs, with the reason.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Where user packs live.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The pack with an id.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the ids there are; the reason when the folder of that id is not usable.
    pub fn find(&self, id: &str) -> Result<&Arc<ModelPack>> {
        if let Some(pack) = self.packs.iter().find(|p| p.id() == id) {
            return Ok(pack);
        }
        let broken = self.problems.iter().find(|p| p.folder.file_name().is_some_and(|n| n == id));
        let known: Vec<&str> = self.packs.iter().map(|p| p.id()).collect();
        Err(Error::Argument(match broken {
            Some(p) => format!("The pack “{id}” cannot be used: {}", p.error),
            None if known.is_empty() => format!("There is no pack “{id}”; no packs are installed"),
            None => format!("There is no pack “{id}”; there are: {}", known.join(", ")),
        }))
    }

    /// Installs a pack folder: checks every file, copies only what the manifest lists, and renames into place, so
    /// that other processes see the whole pack or none. With `replace`, a user pack of the same id goes away in
    /// the same step.
    ///
    /// # Errors
    /// [`Error::Pack`] when the pack is faulty, its id belongs to a bundled pack, or it exists and `replace` is
    /// not set.
    pub fn install(&mut self, source: &Path, replace: bool) -> Result<Arc<ModelPack>> {
        let pack = ModelPack::from_folder(source)?;
        if crate::bundled::has(pack.id()) {
            return Err(taken(source, pack.id()));
        }
        let target = self.folder.join(pack.id());
        place_folder(&target, replace, |staging| {
            let manifest = source.join("pack.toml");
            let bytes = std::fs::read(&manifest).map_err(formats::Error::io(&manifest, "read"))?;
            write_file(&staging.join("pack.toml"), &bytes)?;
            for file in &pack.manifest.files {
                write_file(&staging.join(&file.path), &pack.read_file(file)?)?;
            }
            Ok(())
        })?;
        let installed = Arc::new(ModelPack::from_folder(&target)?);
        self.packs.retain(|p| p.id() != installed.id());
        self.problems.retain(|p| p.folder != target);
        let at = self.packs.partition_point(|p| p.is_bundled() || p.id() < installed.id());
        self.packs.insert(at, Arc::clone(&installed));
        Ok(installed)
    }

    /// Removes a user pack from disk.
    ///
    /// # Errors
    /// [`Error::Argument`] for bundled or unknown ids; [`Error::Image`] (I/O) when the system refuses.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        if crate::bundled::has(id) {
            return Err(Error::Argument(format!(
                "The pack “{id}” is part of the program and cannot be removed"
            )));
        }
        let target = self.folder.join(id);
        if !is_id(id) || !std::fs::symlink_metadata(&target).is_ok_and(|d| d.is_dir()) {
            return Err(Error::Argument(format!("There is no pack “{id}” in {}", self.folder.display())));
        }
        discard(&target)?;
        self.packs.retain(|p| p.id() != id || matches!(p.source, PackSource::Bundled(_)));
        self.problems.retain(|p| p.folder != target);
        Ok(())
    }
}

fn taken(path: &Path, id: &str) -> Error {
    Error::pack(
        path,
        format!("the id “{id}”, which a pack inside the program has"),
        "an id of its own",
        "Import it under another id",
    )
}

/// Builds a folder under a temporary name beside `target` and renames it into place.
pub(crate) fn place_folder(
    target: &Path,
    replace: bool,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let exists = std::fs::symlink_metadata(target).is_ok();
    if exists && !replace {
        return Err(Error::pack(
            target,
            "something of that name is already there",
            "a free name",
            "Remove it first, or say that it may be replaced",
        ));
    }
    let parent = match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(formats::Error::io(parent, "create"))?;
    let staging = tempfile::Builder::new()
        .prefix(".insula-")
        .suffix(".part")
        .tempdir_in(parent)
        .map_err(formats::Error::io(parent, "write"))?;
    fill(staging.path())?;
    widen(staging.path());
    if exists {
        discard(target)?;
    }
    std::fs::rename(staging.path(), target).map_err(formats::Error::io(target, "create"))?;
    // The folder has moved; there is nothing left to clean up under the temporary name.
    let _ = staging.keep();
    Ok(())
}

/// Takes a folder out of sight in one step, then deletes it.
fn discard(target: &Path) -> Result<()> {
    let parent = target.parent().unwrap_or_else(|| Path::new("."));
    let trash = tempfile::Builder::new()
        .prefix(".insula-")
        .suffix(".old")
        .tempdir_in(parent)
        .map_err(formats::Error::io(parent, "write"))?;
    std::fs::rename(target, trash.path().join("pack")).map_err(formats::Error::io(target, "remove"))?;
    Ok(())
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(formats::atomic::write_bytes(path, bytes)?)
}

/// Temporary folders are private (0700); packs are readable by all, as installed programs are.
fn widen(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = folder;
}
