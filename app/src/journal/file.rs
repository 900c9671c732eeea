//! Files of checked records.
//!
//! A file is a sequence of records: length of the content (u32, little endian), CRC-32 of kind and content (u32), kind
//! (one byte), content. The first is the [`Head`] as JSON, then come as many parts of the labels as it says, then edits;
//! parts and edits as [`LabelEdit::encode`] writes them, the parts as edits of an empty volume.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use formats::{Grid, LabelMap, LabelTable, Meta, Shared};
use ndarray::{Array3, Ix3};
use serde::{Deserialize, Serialize};
use viewer::tools::LabelEdit;

use super::About;

const VERSION: u32 = 1;
const HEAD: u8 = b'H';
const PART: u8 = b'P';
const EDIT: u8 = b'E';

/// Voxels in a part, about; bounds the memory that reading and writing need.
const PART_VOXELS: usize = 1 << 22;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    about: About,
    grid: Grid,
    table: LabelTable,
    meta: Meta,
    parts: usize,
}

fn put(to: &mut impl Write, kind: u8, content: &[u8]) -> std::io::Result<()> {
    let len =
        u32::try_from(content.len()).map_err(|_| std::io::Error::other("a record of more than 4 GiB"))?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[kind]);
    sum.update(content);
    // One write for all, so that small records are not torn by the death of the process.
    let mut record = Vec::with_capacity(content.len() + 9);
    record.extend(len.to_le_bytes());
    record.extend(sum.finalize().to_le_bytes());
    record.push(kind);
    record.extend(content);
    to.write_all(&record)
}

/// A file that grows.
pub(super) struct Appender {
    file: File,
    path: PathBuf,
    /// Bytes up to the first edit, and after.
    pub base_bytes: u64,
    pub edit_bytes: u64,
}

impl Appender {
    /// Writes what a layer is and its labels; the file appears whole or not at all.
    pub fn create(path: &Path, about: &About, base: &LabelMap) -> anyhow::Result<Self> {
        let failed = || format!("{}: cannot write", path.display());
        formats::atomic::write(path, |temporary| {
            write_base(temporary, about, base).map_err(formats::Error::io(path, "write"))
        })?;
        let file = File::options().append(true).open(path).with_context(failed)?;
        let base_bytes = file.metadata().with_context(failed)?.len();
        Ok(Self { file, path: path.to_owned(), base_bytes, edit_bytes: 0 })
    }

    /// Hands an encoded edit to the system.
    pub fn edit(&mut self, edit: &[u8]) -> anyhow::Result<()> {
        put(&mut self.file, EDIT, edit).with_context(|| format!("{}: cannot write", self.path.display()))?;
        self.edit_bytes += edit.len() as u64 + 9;
        Ok(())
    }

    /// Forces what was written to disk.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.file.sync_data().with_context(|| format!("{}: cannot write", self.path.display()))
    }
}

fn write_base(path: &Path, about: &About, base: &LabelMap) -> std::io::Result<()> {
    let mut to = BufWriter::new(File::create(path)?);
    let [ni, nj, nk] = base.grid.size_ijk;
    let step = (PART_VOXELS / (ni * nj).max(1)).max(1);
    let head = Head {
        version: VERSION,
        about: about.clone(),
        grid: base.grid,
        table: base.table.clone(),
        meta: base.meta.clone(),
        parts: nk.div_ceil(step),
    };
    put(&mut to, HEAD, &serde_json::to_vec(&head)?)?;
    for first in (0..nk).step_by(step) {
        let part = LabelEdit::painting(&base.labels, first..(first + step).min(nk));
        put(&mut to, PART, &part.encode())?;
    }
    to.flush()
}

/// Records of a file, up to its end or to the first damage.
struct Records {
    from: BufReader<File>,
    left: u64,
    damage: Option<&'static str>,
}

impl Records {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("{}: cannot read", path.display()))?;
        let left = file.metadata().with_context(|| format!("{}: cannot read", path.display()))?.len();
        Ok(Self { from: BufReader::new(file), left, damage: None })
    }

    fn next(&mut self) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
        if self.left == 0 || self.damage.is_some() {
            return Ok(None);
        }
        let mut front = [0; 9];
        if self.left < front.len() as u64 {
            self.damage = Some("its last record is cut short");
            return Ok(None);
        }
        self.from.read_exact(&mut front)?;
        let [a, b, c, d, e, f, g, h, kind] = front;
        let (len, sum) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        self.left -= front.len() as u64;
        if u64::from(len) > self.left {
            self.damage = Some("its last record is cut short");
            return Ok(None);
        }
        let mut content = vec![0; len as usize];
        self.from.read_exact(&mut content)?;
        self.left -= u64::from(len);
        let mut found = crc32fast::Hasher::new();
        found.update(&[kind]);
        found.update(&content);
        if found.finalize() != sum {
            self.damage = Some("a record is damaged");
            return Ok(None);
        }
        Ok(Some((kind, content)))
    }

    fn head(&mut self) -> anyhow::Result<Head> {
        let Some((HEAD, json)) = self.next()? else { bail!("it does not begin as a journal does") };
        let head: Head = serde_json::from_slice(&json).context("its head cannot be understood")?;
        ensure!(head.version == VERSION, "it was written by another version of this program");
        Ok(head)
    }
}

/// What a file holds, without its voxels.
pub(super) struct Outline {
    pub about: About,
    pub edits: usize,
}

/// Looks through a file. Fails where [`read`] would for want of the labels the edits start from.
pub(super) fn outline(path: &Path) -> anyhow::Result<Outline> {
    let mut records = Records::open(path)?;
    let head = records.head()?;
    let (mut parts, mut edits) = (0, 0);
    while let Some((kind, _)) = records.next()? {
        match kind {
            PART => parts += 1,
            _ => edits += 1,
        }
    }
    ensure!(parts == head.parts, "the labels in it are incomplete");
    Ok(Outline { about: head.about, edits })
}

/// What a file holds.
pub(super) struct Content {
    pub about: About,
    pub map: LabelMap,
    /// Edits applied.
    pub edits: usize,
    /// What could not be read or applied after them.
    pub damage: Option<String>,
}

/// Rebuilds the labels of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Content> {
    let mut records = Records::open(path)?;
    let head = records.head()?;
    let mut labels = empty(&head.grid)?;
    let mut table = head.table;
    for _ in 0..head.parts {
        let Some((PART, part)) = records.next()? else { bail!("the labels in it are incomplete") };
        // Parts leave the table alone, so an empty one in its place costs nothing.
        LabelEdit::decode(&part)?.apply(&mut labels, &mut LabelTable::default())?;
    }
    let (mut edits, mut damage) = (0, None);
    while let Some((kind, edit)) = records.next()? {
        let applied = if kind == EDIT {
            LabelEdit::decode(&edit).and_then(|e| e.apply(&mut labels, &mut table)).map_err(|e| e.to_string())
        } else {
            Err("a record of an unknown kind".to_owned())
        };
        if let Err(error) = applied {
            damage = Some(error);
            break;
        }
        edits += 1;
    }
    let damage = damage.or(records.damage.map(str::to_owned));
    let map = LabelMap { labels, grid: head.grid, table, meta: head.meta };
    Ok(Content { about: head.about, map, edits, damage })
}

fn empty(grid: &Grid) -> anyhow::Result<Shared<u16>> {
    let count = grid.size_ijk.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
    let count = count.filter(|n| *n > 0).context("it states an impossible size")?;
    let mut voxels = Vec::new();
    voxels.try_reserve_exact(count).context("too little memory for its labels")?;
    voxels.resize(count, 0u16);
    let [k, j, i] = grid.shape_kji();
    Ok(Array3::from_shape_vec(Ix3(k, j, i), voxels)?.into_shared())
}
