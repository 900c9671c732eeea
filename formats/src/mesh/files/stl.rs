//! Binary STL: triangles without connection, colour or names. Readers weld corners of equal position; corners of one
//! vertex are written equal to the bit.

use std::path::Path;

use super::{MeshFormat, Space, fill, totals};
use crate::affine::norm;
use crate::error::Result;
use crate::mesh::{Mesh, cross, sub};

/// See the module.
pub(super) struct Stl;

impl MeshFormat for Stl {
    fn id(&self) -> &'static str {
        "stl"
    }

    fn name(&self) -> &'static str {
        "STL (binary)"
    }

    fn write(&self, meshes: &[Mesh], space: Space, path: &Path, named: &Path) -> Result<()> {
        let (_, triangles) = totals(meshes, named)?;
        // 80 bytes that do not begin with `solid`, which would mean the text form.
        let mut header = [b' '; 80];
        let text = format!("Insula binary STL; {}; unit mm", space.tag());
        header.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        fill(path, |out| {
            out.write_all(&header)?;
            out.write_all(&triangles.to_le_bytes())?;
            for mesh in meshes {
                for t in &mesh.triangles {
                    let corners = t.map(|v| space.orient(mesh.vertices[v as usize]));
                    let [a, b, c] = corners.map(|p| p.map(f64::from));
                    let normal = cross(sub(b, a), sub(c, a));
                    let length = norm(normal);
                    let normal = normal.map(|v| if length > 0.0 { (v / length) as f32 } else { 0.0 });
                    let mut record = [0u8; 50];
                    let values = normal.into_iter().chain(corners.into_iter().flatten());
                    for (to, value) in record.chunks_exact_mut(4).zip(values) {
                        to.copy_from_slice(&value.to_le_bytes());
                    }
                    out.write_all(&record)?;
                }
            }
            Ok(())
        })
    }
}
