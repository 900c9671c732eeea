//! Files for meshes.
//!
//! One file per format, listed in [`MESH_FORMATS`]. All appear whole or not at all.
//!
//! | format | several meshes | colour | coordinates |
//! |---|---|---|---|
//! | STL (binary) | run together | no | RAS or LPS mm, said in the header |
//! | OBJ | an object each | a material each, in a `.mtl` file beside it | RAS or LPS mm, said in a comment |
//! | PLY (binary) | run together | per vertex | RAS or LPS mm, said in a comment |
//! | GLB (glTF 2.0) | a node each | a material each | vertices RAS mm; the root node turns and scales them |
//!
//! # Why RAS unless asked
//! It is the world of this program and of what most neuro-imaging tools expect of a mesh. The words `SPACE=RAS` or
//! `SPACE=LPS` stand where 3D Slicer looks for them, so that it places either right; a tool that ignores them and
//! expects LPS (DICOM's axes, what 3D Slicer itself writes) can be given that.

mod glb;
mod obj;
mod ply;
mod stl;

use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Mesh;
use crate::error::{Error, Result};

/// The axes of coordinates in a file, in millimetres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Right, anterior, superior: the world of this program.
    #[default]
    Ras,
    /// Left, posterior, superior: the axes of DICOM.
    Lps,
}

impl Space {
    /// How files say it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Ras => "SPACE=RAS",
            Self::Lps => "SPACE=LPS",
        }
    }

    /// A RAS point or direction in these axes. A half turn, which keeps outside outside.
    fn orient(self, [r, a, s]: [f32; 3]) -> [f32; 3] {
        match self {
            Self::Ras => [r, a, s],
            Self::Lps => [-r, -a, s],
        }
    }
}

/// One file format for meshes.
pub trait MeshFormat: Sync {
    /// Stable identifier and file name ending without the dot, e.g. `"stl"`.
    fn id(&self) -> &'static str;

    /// Name for people.
    fn name(&self) -> &'static str;

    /// Writes checked meshes to a path that does not exist yet or may be replaced; `named` is what the file will be
    /// called.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Argument`] for axes that the format does not have, [`Error::OverLimit`].
    fn write(&self, meshes: &[Mesh], space: Space, path: &Path, named: &Path) -> Result<()>;
}

/// All formats, in the order of listing.
pub static MESH_FORMATS: &[&dyn MeshFormat] = &[&stl::Stl, &obj::Obj, &ply::Ply, &glb::Glb];

/// The format with this identifier.
///
/// # Errors
/// [`Error::Argument`] naming the known ones.
pub fn format(id: &str) -> Result<&'static dyn MeshFormat> {
    MESH_FORMATS.iter().find(|f| f.id() == id).copied().ok_or_else(|| {
        let known: Vec<_> = MESH_FORMATS.iter().map(|f| f.id()).collect();
        Error::Argument(format!("mesh format “{id}” is not known; known: {}", known.join(", ")))
    })
}

/// The format that a file name asks for by its ending, if any.
#[must_use]
pub fn format_of(path: &Path) -> Option<&'static dyn MeshFormat> {
    let extension = path.extension()?.to_str()?;
    MESH_FORMATS.iter().find(|f| f.id().eq_ignore_ascii_case(extension)).copied()
}

/// Writes meshes into one file, atomically; its ending chooses the format. OBJ also writes its materials beside it,
/// before the file that names them.
///
/// # Errors
/// [`Error::Unsupported`] for another ending, [`Error::Argument`] for a mesh whose parts do not fit together or for
/// LPS in a GLB file (glTF has axes of its own), [`Error::OverLimit`], [`Error::Io`].
pub fn write(meshes: &[Mesh], path: &Path, space: Space) -> Result<()> {
    let format = format_of(path).ok_or_else(|| {
        Error::unsupported(
            path,
            "this file name ending",
            MESH_FORMATS.iter().map(|f| format!(".{}", f.id())).collect::<Vec<_>>().join(", "),
            "Choose one of these",
        )
    })?;
    for mesh in meshes {
        let vertices = mesh.vertices.len();
        if mesh.normals.len() != vertices || mesh.triangles.iter().flatten().any(|&v| v as usize >= vertices)
        {
            return Err(Error::Argument(format!(
                "the mesh “{}” names vertices that it does not have, or has another number of normals",
                mesh.name
            )));
        }
    }
    crate::atomic::write(path, |temporary| format.write(meshes, space, temporary, path))
}

/// Fills a file through a buffer.
fn fill(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
        fill(&mut out)?;
        out.flush()
    };
    write().map_err(Error::io(path, "write"))
}

/// A name on one line of plain characters, for comments and objects.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

/// Vertices of the meshes before each of them.
fn offsets(meshes: &[Mesh]) -> impl Iterator<Item = (u64, &Mesh)> {
    meshes.iter().scan(0, |count, mesh| {
        let before = *count;
        *count += mesh.vertices.len() as u64;
        Some((before, mesh))
    })
}

/// The counts of all meshes together fit 32 bits, as the binary formats need it.
fn totals(meshes: &[Mesh], path: &Path) -> Result<(u32, u32)> {
    let count = |of: fn(&Mesh) -> usize| u32::try_from(meshes.iter().map(of).sum::<usize>());
    match (count(|m| m.vertices.len()), count(|m| m.triangles.len())) {
        (Ok(vertices), Ok(triangles)) => Ok((vertices, triangles)),
        _ => Err(too_large(path)),
    }
}

fn too_large(path: &Path) -> Error {
    Error::OverLimit {
        path: path.to_owned(),
        needed: "more vertices or triangles".to_owned(),
        limit: "the format counts them with 32 bits".to_owned(),
        remedy: "Write the labels into a file each".to_owned(),
    }
}

#[cfg(test)]
mod tests;
