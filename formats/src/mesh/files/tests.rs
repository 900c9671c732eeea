//! What was written is read again by small readers of our own, strict about each format.

use std::collections::HashMap;

use serde_json::Value;

use super::*;

/// Two tetrahedra of different colour.
fn meshes() -> Vec<Mesh> {
    let tetrahedron = |name: &str, rgb, at: f32| {
        let n = 1.0 / 3f32.sqrt();
        Mesh {
            name: name.to_owned(),
            rgb,
            vertices: vec![[at, 0.1, -2.0], [at + 1.0, 0.1, -2.0], [at, 1.1, -2.0], [at, 0.1, -1.0]],
            normals: vec![[-n, -n, -n], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            triangles: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
        }
    };
    vec![tetrahedron("Left Thing", [255, 0, 51], -60.25), tetrahedron("right", [0, 128, 255], 40.5)]
}

fn written(name: &str, meshes: &[Mesh], space: Space) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(meshes, &path, space).unwrap();
    let bytes = std::fs::read(path).unwrap();
    (folder, bytes)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn ints(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// A mesh of triangles whose corners are welded by equal position.
fn welded(corners: &[[f32; 3]]) -> Mesh {
    let mut mesh = Mesh::default();
    let mut known: HashMap<[u32; 3], u32> = HashMap::new();
    let mut numbers = Vec::new();
    for p in corners {
        let next = known.len() as u32;
        let number = *known.entry(p.map(f32::to_bits)).or_insert(next);
        if number == next {
            mesh.vertices.push(*p);
        }
        numbers.push(number);
    }
    mesh.triangles = numbers.chunks_exact(3).map(|t| [t[0], t[1], t[2]]).collect();
    mesh
}

#[test]
fn stl() {
    let (_folder, bytes) = written("a.stl", &meshes(), Space::Ras);
    let header = std::str::from_utf8(&bytes[..80]).unwrap();
    assert!(!header.starts_with("solid") && header.contains("SPACE=RAS") && header.contains("mm"));
    assert_eq!(ints(&bytes[80..84]), [8]);
    assert_eq!(bytes.len(), 84 + 8 * 50);
    let mut corners = Vec::new();
    for record in bytes[84..].chunks_exact(50) {
        let v = floats(&record[..48]);
        corners.extend(v[3..].chunks_exact(3).map(|p| [p[0], p[1], p[2]]));
        assert!((v[0] * v[0] + v[1] * v[1] + v[2] * v[2] - 1.0).abs() < 1e-6);
        assert_eq!(&record[48..], [0, 0]);
    }
    let mesh = welded(&corners);
    assert!(mesh.is_closed());
    assert_eq!(mesh.vertices.len(), 8);
    assert!((mesh.volume_mm3() - 2.0 / 6.0).abs() < 1e-6);
}

#[test]
fn lps_is_a_half_turn_and_stays_outward() {
    let (_folder, bytes) = written("a.stl", &meshes()[..1], Space::Lps);
    assert!(String::from_utf8_lossy(&bytes[..80]).contains("SPACE=LPS"));
    let corners: Vec<[f32; 3]> = bytes[84..]
        .chunks_exact(50)
        .flat_map(|r| floats(&r[12..48]).chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect::<Vec<_>>())
        .collect();
    assert_eq!(corners[0], [60.25, -0.1, -2.0]);
    assert!(welded(&corners).volume_mm3() > 0.16);
}

#[test]
fn obj_with_materials() {
    let original = meshes();
    let (folder, bytes) = written("two heads.obj", &original, Space::Ras);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.lines().next().unwrap().contains("SPACE=RAS"));
    assert!(text.contains("\nmtllib two heads.mtl\n"));
    let numbers = |line: &str| -> Vec<f32> { line.split(' ').skip(1).map(|v| v.parse().unwrap()).collect() };
    let vertices: Vec<_> = text.lines().filter(|l| l.starts_with("v ")).map(numbers).collect();
    let expected: Vec<_> = original.iter().flat_map(|m| &m.vertices).map(|v| v.to_vec()).collect();
    assert_eq!(vertices, expected);
    assert_eq!(text.lines().filter(|l| l.starts_with("vn ")).count(), 8);
    let faces: Vec<&str> = text.lines().filter(|l| l.starts_with("f ")).collect();
    assert_eq!((faces[0], faces[4]), ("f 1//1 3//3 2//2", "f 5//5 7//7 6//6"));
    assert!(text.contains("\no Left_Thing\nusemtl 1_Left_Thing\n"));
    let materials = std::fs::read_to_string(folder.path().join("two heads.mtl")).unwrap();
    assert!(materials.contains("newmtl 1_Left_Thing\nKd 1.000000 0.000000 0.200000\n"), "{materials}");
    assert!(materials.contains("newmtl 2_right\n"));
}

#[test]
fn ply() {
    let original = meshes();
    let (_folder, bytes) = written("a.ply", &original, Space::Ras);
    let end = bytes.windows(11).position(|w| w == b"end_header\n").unwrap() + 11;
    let header = std::str::from_utf8(&bytes[..end]).unwrap();
    for line in [
        "ply",
        "format binary_little_endian 1.0",
        "element vertex 8",
        "element face 8",
        "comment right: 4 vertices from 4",
    ] {
        assert!(header.lines().any(|l| l == line), "{line} in {header}");
    }
    assert!(header.contains("SPACE=RAS"));
    let (vertices, faces) = bytes[end..].split_at(8 * 27);
    for (record, n) in vertices.chunks_exact(27).zip(0..) {
        let mesh = &original[n / 4];
        let v = floats(&record[..24]);
        assert_eq!((&v[..3], &v[3..]), (&mesh.vertices[n % 4][..], &mesh.normals[n % 4][..]));
        assert_eq!(record[24..], mesh.rgb);
    }
    assert_eq!(faces.len(), 8 * 13);
    let of = |n: usize| (faces[n * 13], ints(&faces[n * 13 + 1..(n + 1) * 13]));
    assert_eq!((of(0), of(4)), ((3, vec![0, 2, 1]), (3, vec![4, 6, 5])));
}

#[test]
fn glb() {
    let mut original = meshes();
    original.insert(1, Mesh { name: "absent".to_owned(), ..Mesh::default() });
    let (_folder, bytes) = written("a.glb", &original, Space::Ras);
    let head = ints(&bytes[..20]);
    assert_eq!((&bytes[..4], head[1], head[2] as usize), (&b"glTF"[..], 2, bytes.len()));
    let json_end = 20 + head[3] as usize;
    assert_eq!((&bytes[16..20], json_end % 4), (&b"JSON"[..], 0));
    let document: Value = serde_json::from_slice(&bytes[20..json_end]).unwrap();
    let binary = &bytes[json_end + 8..];
    assert_eq!(ints(&bytes[json_end..json_end + 4])[0] as usize, binary.len());
    assert_eq!(&bytes[json_end + 4..json_end + 8], b"BIN\0");
    assert_eq!(document["buffers"][0]["byteLength"], binary.len());

    let accessor = |n: &Value| {
        let a = &document["accessors"][n.as_u64().unwrap() as usize];
        let view = &document["bufferViews"][a["bufferView"].as_u64().unwrap() as usize];
        let (start, length) =
            (view["byteOffset"].as_u64().unwrap() as usize, view["byteLength"].as_u64().unwrap() as usize);
        (a.clone(), &binary[start..start + length])
    };
    let nodes = document["nodes"].as_array().unwrap();
    assert_eq!(nodes[0]["children"], serde_json::json!([1, 2, 3]));
    assert_eq!((&nodes[2]["name"], nodes[2].get("mesh")), (&Value::from("absent"), None));
    for (node, mesh) in [(1, &original[0]), (3, &original[2])] {
        assert_eq!(nodes[node]["name"], mesh.name);
        let drawn = &document["meshes"][nodes[node]["mesh"].as_u64().unwrap() as usize]["primitives"][0];
        let (a, positions) = accessor(&drawn["attributes"]["POSITION"]);
        assert_eq!(floats(positions), mesh.vertices.concat());
        assert_eq!(a["min"][0].as_f64().unwrap(), f64::from(mesh.vertices[0][0]));
        assert_eq!(a["max"][2].as_f64().unwrap(), -1.0);
        assert_eq!(floats(accessor(&drawn["attributes"]["NORMAL"]).1), mesh.normals.concat());
        let (a, indices) = accessor(&drawn["indices"]);
        assert_eq!((a["count"].as_u64(), ints(indices)), (Some(12), mesh.triangles.concat()));
        let material = &document["materials"][drawn["material"].as_u64().unwrap() as usize];
        let colour = material["pbrMetallicRoughness"]["baseColorFactor"].as_array().unwrap();
        assert_eq!(colour[0].as_f64().unwrap(), if node == 1 { 1.0 } else { 0.0 });
    }
    // sRGB 128 is 0.2159 of full light.
    let green = &document["materials"][1]["pbrMetallicRoughness"]["baseColorFactor"][1];
    assert!((green.as_f64().unwrap() - 0.215_861).abs() < 1e-6);

    // The root node: metres, feet down, facing +Z, patient's right at −X, without mirroring.
    let m: Vec<f64> = nodes[0]["matrix"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let image = |p: [f64; 3]| [0, 1, 2].map(|r| (0..3).map(|c| m[4 * c + r] * p[c]).sum::<f64>());
    assert_eq!(image([1000.0, 0.0, 0.0]), [-1.0, 0.0, 0.0]);
    assert_eq!(image([0.0, 1000.0, 0.0]), [0.0, 0.0, 1.0]);
    assert_eq!(image([0.0, 0.0, 1000.0]), [0.0, 1.0, 0.0]);
    let columns = [0, 1, 2].map(|c| [m[4 * c], m[4 * c + 1], m[4 * c + 2]]);
    assert!(crate::Affine::from_columns(columns, [0.0; 3]).determinant() > 0.0);
}

#[test]
fn nothing_to_draw_is_a_valid_file() {
    for format in MESH_FORMATS {
        let (_folder, bytes) = written(&format!("none.{}", format.id()), &[], Space::Ras);
        assert!(!bytes.is_empty());
        if format.id() == "glb" {
            let document: Value = serde_json::from_slice(&bytes[20..]).unwrap();
            assert!(document.get("buffers").is_none() && document.get("meshes").is_none());
        }
    }
}

#[test]
fn wrong_requests_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(matches!(write(&meshes(), &at("a.fbx"), Space::Ras), Err(Error::Unsupported { .. })));
    assert!(matches!(write(&meshes(), &at("a.glb"), Space::Lps), Err(Error::Argument(_))));
    let mut broken = meshes();
    broken[0].triangles[0][1] = 4;
    assert!(matches!(write(&broken, &at("a.stl"), Space::Ras), Err(Error::Argument(_))));
    assert!(matches!(write(&meshes(), &at("no/a.obj"), Space::Ras), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(format("stl").is_ok() && format("fbx").is_err());
    assert_eq!(format_of(Path::new("A.GLB")).unwrap().id(), "glb");
}
