//! From a label map to meshes in the world.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::extract::shell;
use super::smooth::{Smoothing, smooth};
use super::{Mesh, cross, sub};
use crate::affine::norm;
use crate::error::{Error, Result};
use crate::labels::LabelMap;
use crate::measure::{LabelExtent, label_extents};
use crate::task::Task;

/// The surface of one label, and how it was made.
#[derive(Clone, Debug)]
pub struct Surface {
    /// The label.
    pub label: u16,
    /// The surface, with the label's name and colour; closed, facing outwards.
    pub mesh: Mesh,
    /// Voxels of the label.
    pub voxels: u64,
    /// Their volume, cubic millimetres: what the mesh encloses up to rounding.
    pub voxel_volume_mm3: f64,
    /// The smoothing that was used.
    pub smoothing: Smoothing,
    /// The longest way of a vertex from its place on the voxel lattice, millimetres.
    pub largest_shift_mm: f64,
    /// Connected pieces that were left as voxels because smoothing would have changed their volume.
    pub unsmoothed_pieces: usize,
}

/// The surface of one label; an empty mesh when the label does not occur.
///
/// # Errors
/// [`Error::Argument`] for background (0) or a grid whose voxels have no volume, [`Error::OverLimit`] beyond 2³²
/// vertices, [`Error::Cancelled`].
pub fn surface(labels: &LabelMap, label: u16, smoothing: &Smoothing, task: &Task) -> Result<Surface> {
    let mut found = surfaces(labels, Some(&[label]), smoothing, task)?;
    found.pop().ok_or_else(|| Error::Argument("background (label 0) has no surface".to_owned()))
}

/// The surfaces of these labels in this order, or of all that occur by number. Background (0) is left out; a label
/// that does not occur gives an empty mesh.
///
/// # Errors
/// As [`surface()`].
pub fn surfaces(
    labels: &LabelMap,
    ids: Option<&[u16]>,
    smoothing: &Smoothing,
    task: &Task,
) -> Result<Vec<Surface>> {
    if labels.grid.voxel_from_world().is_none() {
        return Err(Error::Argument(
            "the voxels of this grid have no volume, so labels have no surface".to_owned(),
        ));
    }
    task.at("Finding labels", 0.0)?;
    let extents = label_extents(&labels.labels);
    let absent = |label: u16| LabelExtent { label, voxels: 0, first_ijk: [0; 3], last_ijk: [0; 3] };
    let chosen: Vec<LabelExtent> = match ids {
        None => extents,
        Some(ids) => {
            let of =
                |&id: &u16| extents.iter().find(|e| e.label == id).copied().unwrap_or_else(|| absent(id));
            ids.iter().filter(|&&id| id != 0).map(of).collect()
        }
    };
    let all: u64 = chosen.iter().map(|e| e.voxels).sum();
    // Labels side by side, and each in parallel too: one is often as large as all the others together.
    let done = AtomicU64::new(0);
    let silent = Task::new(task.cancel().clone(), |_, _| {});
    // The steps of a label are told when there is only one.
    let within = if chosen.len() == 1 { task } else { &silent };
    let make = |extent: &LabelExtent| {
        let surface = one(labels, extent, smoothing, within)?;
        let done = done.fetch_add(extent.voxels, Ordering::Relaxed) + extent.voxels;
        task.at("Surfaces of labels", done as f32 / all.max(1) as f32)?;
        Ok(surface)
    };
    chosen.par_iter().map(make).collect()
}

fn one(labels: &LabelMap, extent: &LabelExtent, smoothing: &Smoothing, task: &Task) -> Result<Surface> {
    let world_from_voxel = &labels.grid.world_from_voxel;
    let mut out = Surface {
        label: extent.label,
        mesh: Mesh {
            name: labels.table.name(extent.label),
            rgb: labels.table.rgb(extent.label),
            ..Mesh::default()
        },
        voxels: extent.voxels,
        voxel_volume_mm3: extent.voxels as f64 * labels.grid.voxel_volume_mm3(),
        smoothing: *smoothing,
        largest_shift_mm: 0.0,
        unsmoothed_pieces: 0,
    };
    if extent.voxels == 0 {
        return Ok(out);
    }
    let mut shell = shell(&labels.labels, extent, task)?;
    let home = shell.positions.clone();
    let smoothed = smooth(&mut shell, smoothing, world_from_voxel, task)?;
    out.unsmoothed_pieces = smoothed.unsmoothed_pieces;
    let columns = [0, 1, 2].map(|a| world_from_voxel.column(a));
    let length = |v: [f64; 3]| norm([0, 1, 2].map(|r| (0..3).map(|a| columns[a][r] * v[a]).sum()));
    out.largest_shift_mm = home
        .par_iter()
        .zip(&shell.positions)
        .map(|(&from, &to)| length(sub(to, from)))
        .reduce(|| 0.0, f64::max);
    let place = |p: &[f64; 3]| world_from_voxel.apply([0, 1, 2].map(|a| p[a] + shell.origin_ijk[a]));
    out.mesh.vertices = shell.positions.par_iter().map(|p| place(p).map(|v| v as f32)).collect();
    out.mesh.triangles = smoothed.triangles;
    if world_from_voxel.determinant() < 0.0 {
        // A left-handed grid mirrors the surface, which turns it inside out.
        out.mesh.triangles.par_iter_mut().for_each(|t| t.swap(1, 2));
    }
    out.mesh.normals = normals(&out.mesh);
    Ok(out)
}

/// Area-weighted normals of the vertices. A vertex without area around it gets (0, 0, 1): file formats ask for unit
/// vectors.
fn normals(mesh: &Mesh) -> Vec<[f32; 3]> {
    let mut sums = vec![[0.0; 3]; mesh.vertices.len()];
    for t in &mesh.triangles {
        let [a, b, c] = t.map(|v| mesh.vertices[v as usize].map(f64::from));
        let area = cross(sub(b, a), sub(c, a));
        for &v in t {
            let s = &mut sums[v as usize];
            *s = [s[0] + area[0], s[1] + area[1], s[2] + area[2]];
        }
    }
    let unit = |s: [f64; 3]| {
        let n = norm(s);
        if n > 0.0 { s.map(|v| (v / n) as f32) } else { [0.0, 0.0, 1.0] }
    };
    sums.into_par_iter().map(unit).collect()
}
