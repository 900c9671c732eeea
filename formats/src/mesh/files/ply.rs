//! PLY, binary little endian, with normals and a colour per vertex. Meshes run together; comments say which vertices
//! are whose.

use std::path::Path;

use super::{MeshFormat, Space, fill, offsets, plain, totals};
use crate::error::Result;
use crate::mesh::Mesh;

/// See the module.
pub(super) struct Ply;

impl MeshFormat for Ply {
    fn id(&self) -> &'static str {
        "ply"
    }

    fn name(&self) -> &'static str {
        "PLY (binary)"
    }

    fn write(&self, meshes: &[Mesh], space: Space, path: &Path, named: &Path) -> Result<()> {
        let (vertices, triangles) = totals(meshes, named)?;
        fill(path, |out| {
            writeln!(out, "ply\nformat binary_little_endian 1.0\ncomment Insula; {}; unit mm", space.tag())?;
            for (before, mesh) in offsets(meshes) {
                let (name, count) = (plain(&mesh.name), mesh.vertices.len());
                writeln!(out, "comment {name}: {count} vertices from {before}")?;
            }
            writeln!(out, "element vertex {vertices}")?;
            for name in ["x", "y", "z", "nx", "ny", "nz"] {
                writeln!(out, "property float {name}")?;
            }
            for name in ["red", "green", "blue"] {
                writeln!(out, "property uchar {name}")?;
            }
            writeln!(out, "element face {triangles}\nproperty list uchar uint vertex_indices\nend_header")?;
            for mesh in meshes {
                for (p, n) in mesh.vertices.iter().zip(&mesh.normals) {
                    let mut record = [0u8; 27];
                    let values = space.orient(*p).into_iter().chain(space.orient(*n));
                    for (to, value) in record.chunks_exact_mut(4).zip(values) {
                        to.copy_from_slice(&value.to_le_bytes());
                    }
                    record[24..].copy_from_slice(&mesh.rgb);
                    out.write_all(&record)?;
                }
            }
            for (before, mesh) in offsets(meshes) {
                for t in &mesh.triangles {
                    let mut record = [3u8; 13];
                    for (to, v) in record[1..].chunks_exact_mut(4).zip(t) {
                        // The sum is below the checked total.
                        to.copy_from_slice(&(before as u32 + v).to_le_bytes());
                    }
                    out.write_all(&record)?;
                }
            }
            Ok(())
        })
    }
}
