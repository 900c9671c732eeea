//! A model pack: a manifest with the files it vouches for.
//!
//! A pack is a folder (or a set of files inside the program) with `pack.toml` and the files listed there by name,
//! length and SHA-256. Nothing else in the folder is ever opened. The hash of a pack is the SHA-256 over the
//! manifest's bytes followed by `name`, a zero byte and the 32-byte digest of each listed file, in manifest order; it identifies
//! settings and weights together and goes into every result record.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::manifest::{FileEntry, Manifest, Role, SCHEMA};

/// Manifests are a few KiB; anything beyond this is not one.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// A pack whose manifest has been checked. Its files are checked when read.
#[derive(Clone, Debug)]
pub struct ModelPack {
    /// The settings.
    pub manifest: Manifest,
    /// SHA-256 over manifest and files, 64 lower-case hexadecimal digits.
    pub hash: String,
    /// Where the files are.
    pub source: PackSource,
}

/// Where the files of a pack are.
#[derive(Clone, Debug)]
pub enum PackSource {
    /// A folder with `pack.toml`.
    Folder(PathBuf),
    /// Inside the program: names and contents, `pack.toml` among them.
    Bundled(&'static [(&'static str, &'static [u8])]),
}

impl ModelPack {
    /// Reads and checks the manifest of a pack folder; the listed files must exist with the stated lengths as
    /// plain files (no links). Their content is checked on reading, or by [`ModelPack::verify`].
    ///
    /// # Errors
    /// [`Error::Pack`] with the remedy: no manifest, unknown field, newer schema, unknown family, values that do
    /// not fit together, a missing file or one of another length.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("pack.toml");
        let data = std::fs::symlink_metadata(&path).map_err(|e| {
            Error::pack(
                folder,
                format!("no readable pack.toml ({e})"),
                "a pack folder",
                "Name the folder that holds pack.toml",
            )
        })?;
        if !data.is_file() || data.len() > MANIFEST_LIMIT {
            return Err(Error::pack(
                &path,
                if data.is_file() { format!("{} bytes", data.len()) } else { "not a plain file".to_owned() },
                "a text file of at most 1 MiB",
                "Copy the pack again, without links",
            ));
        }
        let bytes = read_limited(&path, MANIFEST_LIMIT)?;
        let pack = Self::from_manifest(&path, &bytes, PackSource::Folder(folder.to_owned()))?;
        for file in &pack.manifest.files {
            check_present(folder, file)?;
        }
        Ok(pack)
    }

    /// A pack inside the program.
    ///
    /// # Errors
    /// As [`ModelPack::from_folder`].
    pub fn bundled(files: &'static [(&'static str, &'static [u8])]) -> Result<Self> {
        let here = Path::new("bundled");
        let manifest = files.iter().find(|(name, _)| *name == "pack.toml").map(|(_, b)| *b);
        let manifest = manifest.ok_or_else(|| {
            Error::pack(here, "no pack.toml", "a manifest", "This is a fault of the program")
        })?;
        Self::from_manifest(&here.join("pack.toml"), manifest, PackSource::Bundled(files))
    }

    fn from_manifest(path: &Path, bytes: &[u8], source: PackSource) -> Result<Self> {
        let manifest = parse(path, bytes)?;
        let mut hash = Sha256::new();
        hash.update(bytes);
        for file in &manifest.files {
            hash.update(file.path.as_bytes());
            hash.update([0]);
            hash.update(unhex(&file.sha256));
        }
        Ok(Self { manifest, hash: hex(&hash.finalize()), source })
    }

    /// The pack's identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// Whether the pack is part of the program.
    #[must_use]
    pub fn is_bundled(&self) -> bool {
        matches!(self.source, PackSource::Bundled(_))
    }

    /// The folder for messages, `bundled/<id>` for packs inside the program.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        match &self.source {
            PackSource::Folder(folder) => folder.clone(),
            PackSource::Bundled(_) => Path::new("bundled").join(&self.manifest.id),
        }
    }

    /// Content of the first file with a role, checked against its SHA-256.
    ///
    /// # Errors
    /// [`Error::Pack`] when the pack has none, or its length or hash differs from the manifest.
    pub fn read(&self, role: Role) -> Result<Cow<'static, [u8]>> {
        let file = self.manifest.files.iter().find(|f| f.role == role).ok_or_else(|| {
            Error::pack(
                &self.place(),
                format!("no file with role {role:?}"),
                "one in pack.toml",
                "Install a complete pack",
            )
        })?;
        self.read_file(file)
    }

    /// Checks the content of every file against the manifest.
    ///
    /// # Errors
    /// [`Error::Pack`] for the first file that differs.
    pub fn verify(&self) -> Result<()> {
        self.manifest.files.iter().try_for_each(|f| self.read_file(f).map(|_| ()))
    }

    pub(crate) fn read_file(&self, file: &FileEntry) -> Result<Cow<'static, [u8]>> {
        let path = self.place().join(&file.path);
        let bytes: Cow<'static, [u8]> = match &self.source {
            PackSource::Folder(folder) => {
                check_present(folder, file)?;
                Cow::Owned(read_limited(&path, file.bytes)?)
            }
            PackSource::Bundled(files) => {
                let found = files.iter().find(|(name, _)| *name == file.path);
                Cow::Borrowed(
                    found.map(|(_, b)| *b).ok_or_else(|| missing(&path, "it is not in the program"))?,
                )
            }
        };
        let found = hex(&Sha256::digest(&bytes));
        if !found.eq_ignore_ascii_case(&file.sha256) {
            return Err(Error::pack(
                &path,
                format!("content with SHA-256 {found}"),
                format!("{} as pack.toml states", file.sha256.to_lowercase()),
                "The file was changed or damaged: copy the pack again from its source, or import the weights anew",
            ));
        }
        Ok(bytes)
    }
}

/// Parses and checks manifest text; `path` is for messages.
///
/// # Errors
/// [`Error::Pack`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Probe {
        schema: Option<u32>,
        family: Option<String>,
    }
    let fix = "Correct the file";
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::pack(path, format!("bytes that are not UTF-8 ({e})"), "TOML text", fix))?;
    let syntax = |e: &toml::de::Error| Error::pack(path, one_line(e), "a pack manifest", fix);
    let probe: Probe = toml::from_str(text).map_err(|e| syntax(&e))?;
    match probe.schema {
        None => return Err(Error::pack(path, "no schema number", format!("schema = {SCHEMA}"), fix)),
        Some(n) if n > SCHEMA || n == 0 => {
            return Err(Error::pack(
                path,
                format!("schema {n}"),
                format!("schema {SCHEMA}, the newest this version of Insula knows"),
                "Update Insula, or ask for a pack in the older layout",
            ));
        }
        Some(_) => {}
    }
    if let Some(family) = &probe.family
        && crate::family::find(family).is_none()
    {
        return Err(Error::pack(
            path,
            format!("the family “{family}”"),
            crate::family::FAMILIES.iter().map(|f| f.id()).collect::<Vec<_>>().join(", "),
            "Update Insula, or correct the name",
        ));
    }
    let manifest: Manifest = toml::from_str(text).map_err(|e| syntax(&e))?;
    let family = crate::family::find(&manifest.family);
    match manifest.fault().or_else(|| family.and_then(|f| f.fault(&manifest))) {
        Some((found, expected)) => Err(Error::pack(path, found, expected, fix)),
        None => Ok(manifest),
    }
}

/// A TOML error as one line with its position.
fn one_line(e: &toml::de::Error) -> String {
    e.to_string().lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The file is a plain file (no link) of the stated length.
fn check_present(folder: &Path, file: &FileEntry) -> Result<()> {
    let path = folder.join(&file.path);
    let data = std::fs::symlink_metadata(&path).map_err(|e| missing(&path, &e.to_string()))?;
    if !data.is_file() {
        return Err(Error::pack(
            &path,
            "a link or folder",
            "a plain file",
            "Copy the pack so that it holds the file itself",
        ));
    }
    if data.len() != file.bytes {
        return Err(Error::pack(
            &path,
            format!("{} bytes", data.len()),
            format!("{} bytes as pack.toml states", file.bytes),
            "The file was changed or cut short: copy the pack again from its source",
        ));
    }
    Ok(())
}

fn missing(path: &Path, why: &str) -> Error {
    Error::pack(
        path,
        format!("a file that pack.toml lists cannot be read ({why})"),
        "all files of the pack",
        "Copy the whole pack folder, or import the weights again",
    )
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(formats::Error::io(path, "open"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(formats::Error::io(path, "read"))?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// SHA-256 of some bytes as hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn unhex(digits: &str) -> Vec<u8> {
    let nibble = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    digits.as_bytes().chunks(2).map(|c| c.iter().fold(0, |a, &b| a << 4 | nibble(b))).collect()
}
