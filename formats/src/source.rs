//! The bytes of a file, looked at before they are believed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How much of the (decompressed) beginning is available for sniffing: enough for a NIfTI-2 header
/// and for the first lines of text headers.
pub const HEAD_BYTES: usize = 4096;

/// An existing file with its first bytes, plain and decompressed.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// First bytes as stored (up to [`HEAD_BYTES`]).
    pub raw_head: Vec<u8>,
    /// First bytes after gzip, if the file is gzip; otherwise the same as `raw_head`.
    pub head: Vec<u8>,
    /// Whether the content is gzip (by its magic bytes, whatever the name).
    pub is_gzip: bool,
}

impl Source {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Malformed`] when it is empty.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let data = file.metadata().map_err(Error::io(path, "read"))?;
        if data.is_dir() {
            return Err(Error::unsupported(path, "a folder", "files", "Name the files in it"));
        }
        let mut raw_head = Vec::with_capacity(HEAD_BYTES);
        file.take(HEAD_BYTES as u64).read_to_end(&mut raw_head).map_err(Error::io(path, "read"))?;
        if raw_head.is_empty() {
            return Err(Error::malformed(path, "an empty file (0 bytes)", "an image"));
        }
        let is_gzip = raw_head.starts_with(&[0x1f, 0x8b]);
        let head = if is_gzip {
            let mut out = Vec::with_capacity(HEAD_BYTES);
            // A cut or broken stream still yields its good beginning; the reader will say what is wrong.
            let _ = flate2::read::GzDecoder::new(raw_head.as_slice())
                .take(HEAD_BYTES as u64)
                .read_to_end(&mut out);
            out
        } else {
            raw_head.clone()
        };
        Ok(Self { path: path.to_owned(), len: data.len(), raw_head, head, is_gzip })
    }

    /// The first bytes as text or hexadecimal, for error messages.
    #[must_use]
    pub fn describe_head(&self) -> String {
        if self.head.is_empty() {
            return "gzip that holds nothing (or is damaged)".to_owned();
        }
        let start = &self.head[..self.head.len().min(16)];
        if start.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            format!("“{}”", String::from_utf8_lossy(start))
        } else {
            start.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
        }
    }
}
