//! Surfaces of labels as triangle meshes, and the files that carry them.
//!
//! [`surface()`] walks around the voxels of one label and returns a closed surface; [`surfaces()`] does so for many.
//! [`write()`] puts meshes into STL, OBJ, PLY or GLB.
//!
//! # The surface
//! Before smoothing it is the boundary of the voxel boxes themselves: every face between a voxel of the label and one
//! outside (beyond the border of the volume is outside) becomes a quadrilateral, so that the enclosed volume is voxel
//! count × voxel volume exactly. It is a closed 2-manifold for every input, by construction:
//!
//! - Where two voxels of the label touch only along an edge, four faces meet there; faces of the same voxel are joined
//!   to each other, so that the voxels stay apart (6-connected inside). At each corner the faces then fall into closed
//!   fans, and each fan gets a vertex of its own (`lattice`).
//! - Two such edges can still run between the same two vertices; both then get a vertex in their middle (`extract`).
//!
//! Each edge therefore belongs to exactly two triangles, which run along it in opposite directions, and all triangles
//! turn counter-clockwise seen from outside, on left-handed grids too.
//!
//! # The smoothing
//! See [`Smoothing`]. Vertices move by Taubin's λ|μ filter, each within half a voxel of where it was (the constraint of
//! Gibson's elastic surface nets), and every connected piece is brought back to the volume of its voxels by a shift
//! along its normals, so that volumes agree with the voxel count whatever the smoothing.
//!
//! G. Taubin, *A signal processing approach to fair surface design*, SIGGRAPH 1995. S. F. F. Gibson, *Constrained elastic
//! surface nets*, MICCAI 1998.

mod extract;
mod files;
mod lattice;
mod smooth;
mod surface;

pub use files::{MESH_FORMATS, MeshFormat, Space, format, format_of, write};
pub use smooth::Smoothing;
pub use surface::{Surface, surface, surfaces};

/// A triangle mesh in the RAS+ world (millimetres).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// What it shows, e.g. `"Left-Hippocampus"`.
    pub name: String,
    /// Colour, red, green, blue, 0..=255 (sRGB).
    pub rgb: [u8; 3],
    /// Positions, RAS+ millimetres.
    pub vertices: Vec<[f32; 3]>,
    /// Unit normals of the vertices, pointing outwards; as many as vertices.
    pub normals: Vec<[f32; 3]>,
    /// Vertex numbers, counter-clockwise seen from outside.
    pub triangles: Vec<[u32; 3]>,
}

impl Mesh {
    /// Enclosed volume in cubic millimetres: positive when the triangles face outwards, meaningless for open meshes.
    #[must_use]
    pub fn volume_mm3(&self) -> f64 {
        // Around a vertex of its own, for accuracy far from the origin.
        let Some(&origin) = self.vertices.first() else { return 0.0 };
        let origin = origin.map(f64::from);
        let six: f64 = self
            .corners()
            .map(|t| {
                let [a, b, c] = t.map(|p| sub(p, origin));
                dot(a, cross(b, c))
            })
            .sum();
        six / 6.0
    }

    /// Area in square millimetres.
    #[must_use]
    pub fn area_mm2(&self) -> f64 {
        self.corners().map(|[a, b, c]| crate::affine::norm(cross(sub(b, a), sub(c, a))) / 2.0).sum()
    }

    /// Whether every edge belongs to exactly two triangles that run along it in opposite directions: closed, without
    /// branches, consistently turned. Empty meshes are not closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let mut edges: Vec<[u32; 2]> =
            self.triangles.iter().flat_map(|&[a, b, c]| [[a, b], [b, c], [c, a]]).collect();
        edges.sort_unstable();
        let once = edges.windows(2).all(|w| w[0] != w[1]);
        once && !edges.is_empty()
            && edges.iter().all(|&[a, b]| a != b && edges.binary_search(&[b, a]).is_ok())
    }

    /// Positions of the corners of each triangle. Triangles that name vertices which are not there are left out.
    fn corners(&self) -> impl Iterator<Item = [[f64; 3]; 3]> + '_ {
        let at = |v: u32| self.vertices.get(v as usize).map(|p| p.map(f64::from));
        self.triangles.iter().filter_map(move |&[a, b, c]| Some([at(a)?, at(b)?, at(c)?]))
    }
}

fn sub(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests;
