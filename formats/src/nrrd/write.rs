//! From an image or a label map to an attached, gzip-compressed NRRD file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use crate::block::{self, Order};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::registry::Content;
use crate::task::Task;
use crate::volume::{FrameAxis, Meta};
use crate::voxels::Voxels;

use super::read::{FACT, PAIR};
use super::segments;

/// Writes `.nrrd`. Values are written scaled, since NRRD has no slope and intercept.
pub fn write(content: Content<'_>, path: &Path, name: &OsStr, task: &Task) -> Result<()> {
    if name.to_string_lossy().to_lowercase().ends_with(".nhdr") {
        return Err(Error::unsupported(
            Path::new(name),
            "writing a header apart from its data",
            ".nrrd",
            "Choose this ending",
        ));
    }
    match content {
        Content::Image(image) => {
            let voxels = block::unscaled(image)?;
            let axes = if image.frame_axes.is_empty() && voxels.len() == 1 {
                Vec::new()
            } else {
                block::frame_axes(image)
            };
            let first = image.first();
            store(path, &first.meta, &first.grid, &voxels, &axes, &[], task)
        }
        Content::Labels(map) => {
            let voxels = [block::smallest(&map.labels)];
            let pairs = segments::pairs(&map.table, map.grid.size_ijk, &map.meta.facts);
            store(path, &map.meta, &map.grid, &voxels, &[], &pairs, task)
        }
    }
}

fn type_name(voxels: &Voxels) -> &'static str {
    match voxels {
        Voxels::U8(_) | Voxels::Rgb8(_) | Voxels::Rgba8(_) => "unsigned char",
        Voxels::I8(_) => "signed char",
        Voxels::U16(_) | Voxels::Rgb16(_) | Voxels::Rgba16(_) => "unsigned short",
        Voxels::I16(_) => "short",
        Voxels::U32(_) => "unsigned int",
        Voxels::I32(_) => "int",
        Voxels::U64(_) => "unsigned long long",
        Voxels::I64(_) => "long long",
        Voxels::F32(_) | Voxels::Complex32(_) => "float",
        Voxels::F64(_) | Voxels::Complex64(_) => "double",
    }
}

/// Header and data.
fn store(
    path: &Path,
    meta: &Meta,
    grid: &Grid,
    voxels: &[Voxels],
    frame_axes: &[FrameAxis],
    segments: &[(String, String)],
    task: &Task,
) -> Result<()> {
    block::check_placement(&grid.world_from_voxel)?;
    let first = voxels.first().ok_or_else(|| Error::Argument("an image without frames".to_owned()))?;
    let (parts, part_kind) = match first {
        Voxels::Rgb8(_) | Voxels::Rgb16(_) => (Some(3), "RGB-color"),
        Voxels::Rgba8(_) | Voxels::Rgba16(_) => (Some(4), "RGBA-color"),
        Voxels::Complex32(_) | Voxels::Complex64(_) => (Some(2), "complex"),
        _ => (None, ""),
    };
    let (mut sizes, mut kinds, mut directions) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(n) = parts {
        sizes.push(n.to_string());
        kinds.push(part_kind);
        directions.push("none".to_owned());
    }
    // A picture without position stays one: two axes and spacings only, as ITK wants them.
    let is_flat = block::is_flat(meta, grid) && frame_axes.is_empty();
    let lps = block::flip_lps(&grid.world_from_voxel);
    let vector = |v: [f64; 3]| format!("({},{},{})", v[0], v[1], v[2]);
    for a in 0..if is_flat { 2 } else { 3 } {
        sizes.push(grid.size_ijk[a].to_string());
        kinds.push("domain");
        directions.push(vector(lps.column(a)));
    }
    for axis in frame_axes {
        sizes.push(axis.len.to_string());
        // Not "time": ITK counts that as an axis of space and refuses the file. The name goes to the labels.
        kinds.push(if axis.name == "component" { "vector" } else { "list" });
        directions.push("none".to_owned());
    }
    let mut h = String::from("NRRD0005\n# https://teem.sourceforge.net/nrrd/format.html\n");
    let mut put = |field: &str, value: &str| {
        let _ = writeln!(h, "{field}: {value}");
    };
    put("type", type_name(first));
    put("dimension", &sizes.len().to_string());
    if !is_flat {
        put("space", "left-posterior-superior");
    }
    put("sizes", &sizes.join(" "));
    if !is_flat {
        put("space directions", &directions.join(" "));
    }
    put("kinds", &kinds.join(" "));
    if is_flat {
        let before = if parts.is_some() { "nan " } else { "" };
        let spacing = grid.spacing_mm();
        put("spacings", &format!("{before}{} {}", spacing[0], spacing[1]));
    }
    if frame_axes.iter().any(|a| a.name == "time") {
        let mut labels = vec!["\"\""; sizes.len() - frame_axes.len()];
        labels.extend(frame_axes.iter().map(|a| if a.name == "time" { "\"time\"" } else { "\"\"" }));
        put("labels", &labels.join(" "));
    }
    if frame_axes.iter().any(|a| a.step > 0.0) {
        let before = sizes.len() - frame_axes.len();
        let mut steps = vec!["nan".to_owned(); before];
        steps.extend(
            frame_axes.iter().map(|a| if a.step > 0.0 { a.step.to_string() } else { "nan".to_owned() }),
        );
        put("spacings", &steps.join(" "));
        let mut units = vec!["\"\"".to_owned(); before];
        units.extend(frame_axes.iter().map(|a| format!("\"{}\"", a.unit.replace('"', ""))));
        put("units", &units.join(" "));
    }
    put("endian", Order::NATIVE.name());
    put("encoding", "gzip");
    if !is_flat {
        put("space origin", &vector(lps.origin()));
    }
    if !meta.description.is_empty() {
        put("content", &meta.description.replace(['\n', '\r'], " "));
    }
    for (key, value) in pairs(&meta.facts, segments) {
        let _ = writeln!(h, "{}:={}", escape_key(&key), escape(&value));
    }
    h.push('\n');
    let mut file = File::create(path).map_err(Error::io(path, "write"))?;
    std::io::Write::write_all(&mut file, h.as_bytes()).map_err(Error::io(path, "write"))?;
    let bytes: Vec<&[u8]> = voxels.iter().map(block::bytes_of).collect::<Result<_>>()?;
    crate::deflate::gzip(path, &mut file, &bytes, task)
}

/// Segment keys and facts; facts that never came from NRRD keep their name behind a prefix.
fn pairs(facts: &BTreeMap<String, String>, segments: &[(String, String)]) -> Vec<(String, String)> {
    let mut out = segments.to_vec();
    for (key, value) in facts {
        if key.starts_with(segments::TAGS_FACT) || key.starts_with("nrrd-") {
            continue;
        }
        match key.strip_prefix(FACT) {
            Some(key) => out.push((key.to_owned(), value.clone())),
            None => out.push((format!("{PAIR}{key}"), value.clone())),
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\r', "").replace('\n', "\\n")
}

/// Keys may not hold what ends them or begins a comment.
fn escape_key(key: &str) -> String {
    let key = escape(key).replace(":=", "_").replace(": ", "_");
    key.trim_start_matches('#').to_owned()
}
