//! GLB, the binary form of [glTF 2.0](https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html): a node, mesh and
//! material per label.
//!
//! glTF is in metres with +Y up, +Z towards the front of things and −X to their right. Vertices keep RAS millimetres;
//! the root node maps them by `(x, y, z) = 0.001 · (−R, S, A)`, a rotation and a scale, so that a patient stands upright
//! and faces the viewer, and that nothing is lost: its `extras` name the axes and the unit of the vertices.

use std::path::Path;

use serde_json::{Value, json};

use super::{MeshFormat, Space, fill, too_large};
use crate::error::{Error, Result};
use crate::mesh::Mesh;

/// See the module.
pub(super) struct Glb;

/// Column by column, as glTF writes matrices: the images of R, A, S and of the origin.
#[rustfmt::skip]
const METRES_FROM_RAS_MM: [f64; 16] = [
    -0.001, 0.0, 0.0, 0.0,
    0.0, 0.0, 0.001, 0.0,
    0.0, 0.001, 0.0, 0.0,
    0.0, 0.0, 0.0, 1.0,
];
const FLOAT: u32 = 5126;
const UNSIGNED_INT: u32 = 5125;
const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;

impl MeshFormat for Glb {
    fn id(&self) -> &'static str {
        "glb"
    }

    fn name(&self) -> &'static str {
        "glTF 2.0 (binary)"
    }

    fn write(&self, meshes: &[Mesh], space: Space, path: &Path, named: &Path) -> Result<()> {
        if space != Space::Ras {
            return Err(Error::Argument(format!(
                "{}: glTF has axes of its own, LPS does not apply; leave the axes out, or write STL, OBJ or PLY",
                named.display()
            )));
        }
        let (mut document, bytes) = describe(meshes);
        let bytes = u32::try_from(bytes).map_err(|_| too_large(named))?;
        if bytes > 0 {
            document["buffers"] = json!([{"byteLength": bytes}]);
        }
        let mut text = document.to_string();
        while !text.len().is_multiple_of(4) {
            text.push(' ');
        }
        let binary = if bytes > 0 { 8 + u64::from(bytes) } else { 0 };
        let total = u32::try_from(12 + 8 + text.len() as u64 + binary).map_err(|_| too_large(named))?;
        fill(path, |out| {
            out.write_all(b"glTF")?;
            out.write_all(&2u32.to_le_bytes())?;
            out.write_all(&total.to_le_bytes())?;
            out.write_all(&(text.len() as u32).to_le_bytes())?;
            out.write_all(b"JSON")?;
            out.write_all(text.as_bytes())?;
            if bytes > 0 {
                out.write_all(&bytes.to_le_bytes())?;
                out.write_all(b"BIN\0")?;
            }
            for mesh in meshes.iter().filter(|m| is_drawn(m)) {
                for v in mesh.vertices.iter().chain(&mesh.normals).flatten() {
                    out.write_all(&v.to_le_bytes())?;
                }
                for v in mesh.triangles.iter().flatten() {
                    out.write_all(&v.to_le_bytes())?;
                }
            }
            Ok(())
        })
    }
}

/// glTF knows no empty mesh.
fn is_drawn(mesh: &Mesh) -> bool {
    !mesh.triangles.is_empty()
}

/// sRGB 0..=255 as the linear light that glTF wants.
fn linear(v: u8) -> f64 {
    let v = f64::from(v) / 255.0;
    let linear = if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
    (linear * 1e6).round() / 1e6
}

/// The document without its buffer, and the size of that. Per mesh the buffer holds positions, normals, indices.
fn describe(meshes: &[Mesh]) -> (Value, u64) {
    let mut nodes = Vec::new();
    let (mut views, mut accessors, mut drawn, mut materials) = (vec![], vec![], vec![], vec![]);
    let mut bytes = 0u64;
    for mesh in meshes {
        if !is_drawn(mesh) {
            nodes.push(json!({"name": mesh.name}));
            continue;
        }
        nodes.push(json!({"name": mesh.name, "mesh": drawn.len()}));
        let first = accessors.len();
        let mut add =
            |count: usize, kind: &str, component: u32, target: u32, range: Option<[[f32; 3]; 2]>| {
                let width = if kind == "VEC3" { 12 } else { 4 };
                let length = (count * width) as u64;
                let mut accessor = json!({
                    "bufferView": views.len(), "componentType": component, "count": count, "type": kind,
                });
                if let Some([low, high]) = range {
                    accessor["min"] = json!(low);
                    accessor["max"] = json!(high);
                }
                accessors.push(accessor);
                views.push(json!({"buffer": 0, "byteOffset": bytes, "byteLength": length, "target": target}));
                bytes += length;
            };
        add(mesh.vertices.len(), "VEC3", FLOAT, ARRAY_BUFFER, Some(range(&mesh.vertices)));
        add(mesh.normals.len(), "VEC3", FLOAT, ARRAY_BUFFER, None);
        add(3 * mesh.triangles.len(), "SCALAR", UNSIGNED_INT, ELEMENT_ARRAY_BUFFER, None);
        drawn.push(json!({
            "name": mesh.name,
            "primitives": [{
                "attributes": {"POSITION": first, "NORMAL": first + 1},
                "indices": first + 2,
                "material": materials.len(),
            }],
        }));
        let [r, g, b] = mesh.rgb.map(linear);
        materials.push(json!({
            "name": mesh.name,
            "pbrMetallicRoughness": {
                "baseColorFactor": [r, g, b, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.6,
            },
        }));
    }
    let children: Vec<usize> = (1..=nodes.len()).collect();
    let mut root = json!({
        "name": "patient",
        "matrix": METRES_FROM_RAS_MM,
        "extras": {"vertices": "RAS+ millimetres", "matrix": "glTF metres from RAS+ millimetres"},
    });
    if !children.is_empty() {
        root["children"] = json!(children);
    }
    nodes.insert(0, root);
    let mut document = json!({
        "asset": {"version": "2.0", "generator": "Insula"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
    });
    // Empty lists are not allowed.
    let lists =
        [("meshes", drawn), ("materials", materials), ("accessors", accessors), ("bufferViews", views)];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        document[name] = Value::Array(list);
    }
    (document, bytes)
}

fn range(points: &[[f32; 3]]) -> [[f32; 3]; 2] {
    points.iter().fold([[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]], |[low, high], p| {
        [[0, 1, 2].map(|a| low[a].min(p[a])), [0, 1, 2].map(|a| high[a].max(p[a]))]
    })
}
