//! What is written, read by SimpleITK, nibabel, tifffile and Pillow: `INSULA_PYTHON=…/python cargo test --test peers`.

mod common;

use common::{all_orders, all_types, image, numbered};
use formats::{Affine, Content, FrameAxis, Grid, Image, LabelMap, LabelTable, Meta, Task, Voxels};
use serde_json::{Value, json};

/// An oblique grid without shear, which ITK asks for, of one handedness or the other.
fn rigid(size_ijk: [usize; 3]) -> Grid {
    let (s, c) = (0.3_f64.sin(), 0.3_f64.cos());
    let (t, d) = ((-0.7_f64).sin(), 0.7_f64.cos());
    let columns = [[c, s * d, s * t], [-s, c * d, c * t], [0.0, -t, d]];
    let spacing = [0.9, 1.25, 2.0 / 3.0];
    let columns = [0, 1, 2].map(|a| columns[a].map(|v| v * spacing[a]));
    Grid { size_ijk, world_from_voxel: Affine::from_columns(columns, [12.5, -7.25, 1.0 / 3.0]) }
}

/// All values, colours channel by channel.
fn values(image: &Image) -> Vec<f64> {
    let one = |v: &Voxels| -> Vec<f64> {
        match v {
            Voxels::Rgb8(a) => a.iter().flatten().map(|&x| f64::from(x)).collect(),
            Voxels::Rgba8(a) => a.iter().flatten().map(|&x| f64::from(x)).collect(),
            Voxels::Rgb16(a) => a.iter().flatten().map(|&x| f64::from(x)).collect(),
            Voxels::Rgba16(a) => a.iter().flatten().map(|&x| f64::from(x)).collect(),
            v => {
                formats::for_scalar!(v, a => a.iter().map(|&x| formats::voxels::Scalar::to_f64(x)).collect(),
                                      _ => Vec::new())
            }
        }
    };
    image.frames.iter().flat_map(|f| one(&f.voxels)).collect()
}

#[test]
fn peers_read_what_is_written() {
    let Some(python) = std::env::var_os("INSULA_PYTHON") else {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("SKIPPED peers_read_what_is_written: set INSULA_PYTHON");
        }
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut expected: Vec<Value> = Vec::new();
    let mut add = |name: String, image: &Image, tolerance: f64| {
        formats::save(Content::Image(image), &folder.path().join(&name), &Task::silent()).unwrap();
        expected.push(json!({
            "file": name, "values": values(image), "affine": image.first().grid.world_from_voxel.0, "tolerance": tolerance,
        }));
    };
    let n = [5, 4, 3];
    for (x, order) in all_orders().enumerate() {
        let v = image(vec![Voxels::I16(numbered(n, |x| x as i16 - 20))], rigid(n));
        let v = v.first().reordered(order);
        let v = image(vec![v.voxels], v.grid);
        for (ending, tolerance) in [("nrrd", 1e-9), ("mha", 1e-9), ("mgz", 1e-5)] {
            add(format!("order{x}.{ending}"), &v, tolerance);
        }
    }
    for voxels in all_types(n).into_iter().filter(|v| !v.is_complex()) {
        let kind = voxels.type_name();
        let v = image(vec![voxels.clone()], rigid(n));
        add(format!("type_{kind}.nrrd"), &v, 1e-9);
        add(format!("type_{kind}.mha"), &v, 1e-9);
        if matches!(kind, "uint8" | "int8" | "int16" | "uint16" | "int32" | "float32") {
            add(format!("type_{kind}.mgh"), &v, 1e-5);
        }
        add(format!("type_{kind}.tif"), &v, 0.0);
    }
    let frames = (0..3).map(|f| Voxels::F32(numbered(n, |x| (100 * f + x) as f32))).collect();
    let mut four = image(frames, rigid(n));
    four.frame_axes = vec![FrameAxis { name: "time".into(), len: 3, step: 2.5, unit: "s".into() }];
    for (ending, tolerance) in [("nrrd", 1e-9), ("mha", 1e-9), ("mgz", 1e-5), ("tif", 0.0)] {
        add(format!("four.{ending}"), &four, tolerance);
    }
    for voxels in all_types([5, 4, 1]) {
        let kind = voxels.type_name();
        let mut flat = image(vec![voxels], formats::raster::picture_grid([5, 4, 1], [1.0; 3]));
        flat.frames[0].meta = Meta::default();
        // Pillow has no 16-bit colours.
        if matches!(kind, "uint8" | "uint16" | "rgb24" | "rgba32") {
            add(format!("flat_{kind}.png"), &flat, 0.0);
        }
        if !flat.first().voxels.is_complex() {
            add(format!("flat_{kind}.tif"), &flat, 0.0);
            add(format!("flat_{kind}.nrrd"), &flat, 1e-12);
            add(format!("flat_{kind}.mha"), &flat, 1e-12);
        }
    }
    let labels = LabelMap {
        labels: numbered(n, |x| if x % 3 == 0 { 2035 } else { 0 }),
        grid: rigid(n),
        table: LabelTable { entries: vec![formats::LabelEntry::new(2035, "ctx-lh-insula", [255, 192, 32])] },
        meta: Meta::default(),
    };
    for (name, tolerance) in [("labels.seg.nrrd", 1e-9), ("labels.mha", 1e-9), ("labels.mgz", 1e-5)] {
        formats::save(Content::Labels(&labels), &folder.path().join(name), &Task::silent()).unwrap();
        let values: Vec<u16> = labels.labels.iter().copied().collect();
        expected.push(json!({
            "file": name, "values": values, "affine": labels.grid.world_from_voxel.0, "tolerance": tolerance,
        }));
    }
    std::fs::write(folder.path().join("expected.json"), json!(expected).to_string()).unwrap();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers.py");
    let out = std::process::Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.lines().count() >= expected.len(), "{text}");
}
