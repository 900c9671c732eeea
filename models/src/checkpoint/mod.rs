//! Readers of trained weights: PyTorch zip files, safetensors and NumPy archives, as named float tensors.
//!
//! A PyTorch checkpoint is a program for Python's unpickler, and running one is how malicious models take over a
//! machine. Here nothing is executed: the few instructions that describe tensors are interpreted (`pickle`), any
//! other request is refused by name. A file gives tensors or one clear error, and memory stays within 64 MiB plus
//! four times the bytes present.

mod npz;
mod pickle;
mod pytorch;
mod safetensors;
mod zip;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// One array of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name, its parts joined by dots (PyTorch) or slashes (Flax), without wrappers such as `module.`.
    pub name: String,
    /// Sizes, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in row-major order, converted to single precision.
    pub data: Vec<f32>,
}

/// The tensors of a weights file, in file order.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The file they came from (inside the folder, when a folder was given).
    pub path: PathBuf,
    /// The tensors; names are unique.
    pub tensors: Vec<NamedTensor>,
    /// What was odd but survivable, in sentences.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

/// File names looked for in a checkpoint folder, in this order.
const IN_FOLDER: [&str; 2] = ["pytorch_model.bin", "model.safetensors"];

/// Reads `.pt`, `.pth`, `.bin`, `.pth.tar` (PyTorch 1.6 or later), `.safetensors` and `.npz`, told apart by content; or a
/// folder holding `pytorch_model.bin` or `model.safetensors`.
///
/// Wrappers are removed: `{"state_dict": …}`, `{"model": …}`, `{"model_state_dict": …}` and the name prefixes
/// `module.` (parallel training), `_orig_mod.` (compiled models) and `model.` (a network inside a trainer).
///
/// # Errors
/// [`Error::Checkpoint`] when the file is missing, damaged, of another kind, or asks for anything but tensors.
pub fn read(path: &Path) -> Result<Checkpoint> {
    if path.is_dir() {
        let inside = IN_FOLDER.iter().map(|name| path.join(name)).find(|p| p.is_file());
        let Some(file) = inside else {
            return Err(Error::checkpoint(
                path,
                "a folder without weights",
                "pytorch_model.bin or model.safetensors in it",
                "Choose the weights file itself",
            ));
        };
        return read_file(&file);
    }
    read_file(path)
}

fn read_file(path: &Path) -> Result<Checkpoint> {
    let cannot_read = |e: std::io::Error| {
        Error::checkpoint(path, format!("the file cannot be read ({e})"), "a readable file", "Check the path")
    };
    let mut file = std::fs::File::open(path).map_err(cannot_read)?;
    let len = file.metadata().map_err(cannot_read)?.len();
    let mut head = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut file, 16), &mut head).map_err(cannot_read)?;
    let mut checkpoint = match Kind::of(&head) {
        Kind::Zip => {
            let archive = zip::Archive::open(file, len).map_err(|fault| pytorch::explain(path, fault))?;
            if npz::is_npz(&archive) {
                npz::read(path, archive, len)?
            } else {
                pytorch::read(path, archive, len)?
            }
        }
        Kind::Safetensors => safetensors::read(path)?,
        Kind::LegacyPickle => {
            return Err(Error::checkpoint(
                path,
                "a PyTorch file in the format used before version 1.6",
                "the zip-based PyTorch format or .safetensors",
                "Load and save it again with a current PyTorch, keeping only model.state_dict()",
            ));
        }
        Kind::WebPage => {
            return Err(Error::checkpoint(
                path,
                "a web page",
                "a weights file",
                "The download went wrong; fetch the file again in a browser",
            ));
        }
        Kind::Unknown => {
            return Err(Error::checkpoint(
                path,
                if head.is_empty() { "an empty file" } else { "no known kind of weights file" },
                "a PyTorch checkpoint (.pt, .pth, .bin), .safetensors or .npz",
                "Choose another file",
            ));
        }
    };
    strip_prefixes(&mut checkpoint);
    let mut names: Vec<&str> = checkpoint.tensors.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::checkpoint(
            path,
            format!("two tensors called {}", twice[0]),
            "unique names",
            "Save the weights again",
        ));
    }
    if names.is_empty() {
        return Err(Error::checkpoint(
            path,
            "no tensors",
            "the weights of a network",
            "Choose the file that holds model.state_dict()",
        ));
    }
    Ok(checkpoint)
}

enum Kind {
    Zip,
    Safetensors,
    LegacyPickle,
    WebPage,
    Unknown,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        match head {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            // A protocol mark, then the "magic number" pickle of torch.save before 1.6.
            [0x80, 2..=5, ..] => Self::LegacyPickle,
            [_, _, _, _, _, _, _, _, b'{', ..] => Self::Safetensors,
            [b'<', ..] => Self::WebPage,
            _ => Self::Unknown,
        }
    }
}

/// Removes name prefixes that all tensors share because of how the model was wrapped for training.
fn strip_prefixes(checkpoint: &mut Checkpoint) {
    while let Some(prefix) = ["module.", "_orig_mod.", "model."]
        .into_iter()
        .find(|p| !checkpoint.tensors.is_empty() && checkpoint.tensors.iter().all(|t| t.name.starts_with(p)))
    {
        for tensor in &mut checkpoint.tensors {
            tensor.name.drain(..prefix.len());
        }
        checkpoint.notes.push(format!("The prefix “{prefix}” of all names was removed"));
    }
}
