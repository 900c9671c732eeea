//! Surfaces of labels into files.

use std::path::{Path, PathBuf};

use formats::mesh::{MeshFormat, Smoothing, Space, Surface, format, format_of, surfaces};
use formats::{LabelMap, Task};
use serde::{Deserialize, Serialize};

use crate::evaluate::{parse_ids, read};
use crate::failure::Usage;

/// What to write. From a file; what is in memory goes through [`export`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportMeshes {
    /// The label map.
    pub labels: PathBuf,
    /// A label table with names and colours; what the file carries when none.
    pub table: Option<PathBuf>,
    /// Where to and how.
    #[serde(flatten)]
    pub export: Export,
}

/// Where surfaces go, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// A file whose ending is a mesh format (all labels in it), or a folder (a file per label).
    pub output: PathBuf,
    /// The format's identifier; the ending of the file, or `"stl"` in a folder, when none.
    pub format: Option<String>,
    /// Numbers and ranges (`"1,2,10-13"`); all labels that occur when none.
    pub ids: Option<String>,
    /// How they are smoothed.
    pub smoothing: Smoothing,
    /// Axes of the coordinates.
    pub space: Space,
    /// Whether existing files may be replaced.
    pub overwrite: bool,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedMeshes {
    /// One row per label.
    pub surfaces: Vec<SurfaceRow>,
}

/// One label's surface.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurfaceRow {
    /// The number.
    pub label: u16,
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub file: PathBuf,
    /// Voxels of the label.
    pub voxels: u64,
    /// Their volume.
    pub voxel_volume_mm3: f64,
    /// What the surface encloses.
    pub mesh_volume_mm3: f64,
    /// Its area.
    pub area_mm2: f64,
    /// Its vertices.
    pub vertices: usize,
    /// Its triangles.
    pub triangles: usize,
    /// How it was smoothed.
    pub smoothing: Smoothing,
    /// How far a vertex was moved at most.
    pub largest_shift_mm: f64,
    /// Connected pieces that were left as voxels.
    pub unsmoothed_pieces: usize,
    /// Axes of the coordinates in the file.
    pub space: Space,
}

/// Reads the labels and writes their surfaces; see [`export`].
///
/// # Errors
/// Those of reading and of [`export`].
pub fn run(request: &ExportMeshes, task: &Task) -> anyhow::Result<ExportedMeshes> {
    // Before the long part.
    plan(&request.export)?;
    task.at("reading", 0.0)?;
    let mut labels = read(&request.labels, task)?;
    if let Some(table) = &request.table {
        labels.table = formats::label_files::read(table)?.table;
    }
    export(&labels, &request.export, task)
}

/// Writes the surfaces of labels. Every file appears whole or not at all.
///
/// # Errors
/// [`Usage`] when the output exists and may not be replaced, names no format, or asks for labels that do not occur;
/// otherwise those of writing.
pub fn export(labels: &LabelMap, export: &Export, task: &Task) -> anyhow::Result<ExportedMeshes> {
    let (format, is_folder) = plan(export)?;
    let there = formats::measure::label_extents(&labels.labels);
    let ids: Vec<u16> = match &export.ids {
        None => there.iter().map(|e| e.label).collect(),
        Some(text) => parse_ids(text).map_err(|part| {
            Usage(format!(
                "--label {text}: “{part}” is neither a label number (1 to 65535) nor a range (10-13)"
            ))
        })?,
    };
    let absent: Vec<String> = match &export.ids {
        None => Vec::new(),
        // A range asks for what occurs in it.
        Some(text) => {
            let single = |id: &&u16| text.split([',', ' ']).any(|p| p.trim().parse() == Ok(**id));
            let missing = |id: &&u16| !there.iter().any(|e| e.label == **id);
            ids.iter().filter(missing).filter(single).map(ToString::to_string).collect()
        }
    };
    let ids: Vec<u16> = ids.into_iter().filter(|&id| there.iter().any(|e| e.label == id)).collect();
    if !absent.is_empty() || ids.is_empty() {
        let known: Vec<String> = there.iter().map(|e| e.label.to_string()).collect();
        let which = if absent.is_empty() { String::new() } else { format!(" {}", absent.join(", ")) };
        return Err(Usage(format!(
            "no voxel has the label{which}; labels that occur: {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ))
        .into());
    }
    let file_of = |id: u16| match is_folder {
        true => export.output.join(file_name(id, &labels.table.name(id), format)),
        false => export.output.clone(),
    };
    let mut files: Vec<PathBuf> = ids.iter().map(|&id| file_of(id)).collect();
    files.dedup();
    if let Some(file) = files.iter().find(|f| f.exists() && !export.overwrite) {
        return Err(exists(file).into());
    }
    let found = surfaces(labels, Some(&ids), &export.smoothing, task)?;
    task.at("Writing surfaces", 1.0)?;
    let rows: Vec<SurfaceRow> = found.iter().map(|s| row(s, file_of(s.label), export.space)).collect();
    let meshes: Vec<_> = found.into_iter().map(|s| s.mesh).collect();
    if is_folder {
        std::fs::create_dir_all(&export.output).map_err(formats::Error::io(&export.output, "create"))?;
        for (mesh, row) in meshes.iter().zip(&rows) {
            task.check()?;
            formats::mesh::write(std::slice::from_ref(mesh), &row.file, export.space)?;
        }
    } else {
        formats::mesh::write(&meshes, &export.output, export.space)?;
    }
    Ok(ExportedMeshes { surfaces: rows })
}

/// The format, and whether the output is a folder.
fn plan(export: &Export) -> Result<(&'static dyn MeshFormat, bool), anyhow::Error> {
    let output = &export.output;
    let asked = export.format.as_deref().map(format).transpose()?;
    let of_name = format_of(output).filter(|_| !output.is_dir());
    let (chosen, is_folder) = match (of_name, asked) {
        (Some(of_name), None) => (of_name, false),
        (Some(of_name), Some(asked)) if of_name.id() == asked.id() => (of_name, false),
        (Some(_), Some(asked)) => {
            return Err(Usage(format!(
                "{}: the ending contradicts the format {}; leave one of them out",
                output.display(),
                asked.id()
            ))
            .into());
        }
        (None, Some(asked)) => (asked, true),
        (None, None) if output.extension().is_some() && !output.is_dir() => {
            return Err(Usage(format!(
                "{}: the ending is no mesh format (.stl, .obj, .ply, .glb); for a folder of that name give --format",
                output.display()
            ))
            .into());
        }
        (None, None) => (format("stl")?, true),
    };
    if chosen.id() == "glb" && export.space != Space::Ras {
        return Err(Usage(
            "glTF has axes of its own, so LPS does not apply; leave it out, or write STL, OBJ or PLY"
                .to_owned(),
        )
        .into());
    }
    if !is_folder {
        if output.exists() && !export.overwrite {
            return Err(exists(output).into());
        }
        if let Some(folder) = output.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
            return Err(
                Usage(format!("{}: there is no such folder; create it first", folder.display())).into()
            );
        }
    }
    Ok((chosen, is_folder))
}

fn exists(path: &Path) -> Usage {
    Usage(format!("{}: exists already; give --overwrite to replace it, or another name", path.display()))
}

/// `017_Left-Hippocampus.stl`: sorts by number and is a plain file name everywhere.
fn file_name(label: u16, name: &str, format: &dyn MeshFormat) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).take(80).collect();
    format!("{label:03}_{name}.{}", format.id())
}

fn row(surface: &Surface, file: PathBuf, space: Space) -> SurfaceRow {
    SurfaceRow {
        label: surface.label,
        name: surface.mesh.name.clone(),
        file,
        voxels: surface.voxels,
        voxel_volume_mm3: surface.voxel_volume_mm3,
        mesh_volume_mm3: surface.mesh.volume_mm3(),
        area_mm2: surface.mesh.area_mm2(),
        vertices: surface.mesh.vertices.len(),
        triangles: surface.mesh.triangles.len(),
        smoothing: surface.smoothing,
        largest_shift_mm: surface.largest_shift_mm,
        unsmoothed_pieces: surface.unsmoothed_pieces,
        space,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let stl = format("stl").unwrap();
        assert_eq!(file_name(17, "Left-Hippocampus", stl), "017_Left-Hippocampus.stl");
        assert_eq!(file_name(2, "../a b/ü", stl), "002_.._a_b_ü.stl");
        assert!(file_name(2, &"x".repeat(300), stl).len() < 100);
    }

    #[test]
    fn the_output_says_file_or_folder() {
        let ask = |output: &str, format: Option<&str>, space| {
            plan(&Export {
                output: output.into(),
                format: format.map(str::to_owned),
                ids: None,
                smoothing: Smoothing::NONE,
                space,
                overwrite: false,
            })
            .map(|(format, is_folder)| (format.id(), is_folder))
        };
        assert_eq!(ask("a.glb", None, Space::Ras).unwrap(), ("glb", false));
        assert_eq!(ask("a", None, Space::Lps).unwrap(), ("stl", true));
        assert_eq!(ask("a.v1", Some("obj"), Space::Ras).unwrap(), ("obj", true));
        for (output, format, space) in [
            ("a.v1", None, Space::Ras),
            ("a.stl", Some("obj"), Space::Ras),
            ("a.glb", None, Space::Lps),
            ("no/such/a.stl", None, Space::Ras),
        ] {
            assert!(ask(output, format, space).unwrap_err().is::<Usage>(), "{output}");
        }
    }
}
