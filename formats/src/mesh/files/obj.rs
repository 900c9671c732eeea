//! Wavefront OBJ: text, an object and a material per mesh. The materials go into a `.mtl` file of the same name, which
//! is written first, so that the object file never names one that is not there.

use std::io::Write;
use std::path::Path;

use super::{MeshFormat, Space, fill, offsets, plain};
use crate::error::Result;
use crate::mesh::Mesh;

/// See the module.
pub(super) struct Obj;

impl MeshFormat for Obj {
    fn id(&self) -> &'static str {
        "obj"
    }

    fn name(&self) -> &'static str {
        "Wavefront OBJ"
    }

    fn write(&self, meshes: &[Mesh], space: Space, path: &Path, named: &Path) -> Result<()> {
        let materials = named.with_extension("mtl");
        crate::atomic::write(&materials, |temporary| fill(temporary, |out| print_materials(meshes, out)))?;
        let library = materials.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fill(path, |out| print(meshes, space, &library, out))
    }
}

/// Names of materials are unique, those of meshes need not be.
fn material(n: usize, mesh: &Mesh) -> String {
    format!("{}_{}", n + 1, plain(&mesh.name))
}

fn print_materials(meshes: &[Mesh], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "# Colours of the labels, sRGB 0 to 1")?;
    for (n, mesh) in meshes.iter().enumerate() {
        let [r, g, b] = mesh.rgb.map(|v| f64::from(v) / 255.0);
        writeln!(
            out,
            "newmtl {}\nKd {r:.6} {g:.6} {b:.6}\nKs 0.1 0.1 0.1\nNs 30\nillum 2",
            material(n, mesh)
        )?;
    }
    Ok(())
}

fn print(meshes: &[Mesh], space: Space, library: &str, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "# Insula; {}; unit mm", space.tag())?;
    writeln!(out, "mtllib {library}")?;
    for (n, (before, mesh)) in offsets(meshes).enumerate() {
        writeln!(out, "o {}\nusemtl {}", plain(&mesh.name), material(n, mesh))?;
        // The shortest text that reads back as the same number.
        for p in &mesh.vertices {
            let [x, y, z] = space.orient(*p);
            writeln!(out, "v {x} {y} {z}")?;
        }
        for p in &mesh.normals {
            let [x, y, z] = space.orient(*p);
            writeln!(out, "vn {x:.5} {y:.5} {z:.5}")?;
        }
        for t in &mesh.triangles {
            let [a, b, c] = t.map(|v| before + u64::from(v) + 1);
            writeln!(out, "f {a}//{a} {b}//{b} {c}//{c}")?;
        }
    }
    Ok(())
}
