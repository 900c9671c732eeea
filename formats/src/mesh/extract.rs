//! The boundary of one label's voxels, as a closed shell of quadrilaterals.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::lattice::{Corner, around, others, table};
use crate::error::{Error, Result};
use crate::measure::LabelExtent;
use crate::task::Task;
use crate::voxels::Shared;

/// A closed 2-manifold, turned counter-clockwise seen from outside in voxel coordinates.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// Positions in voxels, counted from `origin_ijk`.
    pub positions: Vec<[f64; 3]>,
    /// Faces between voxels.
    pub quads: Vec<[u32; 4]>,
    /// Faces at which an edge needed a vertex in its middle, as fans.
    pub triangles: Vec<[u32; 3]>,
    /// Voxel indices of position (0, 0, 0), the first corner of the label's box.
    pub origin_ijk: [f64; 3],
}

/// A lattice corner at which inside and outside meet.
#[derive(Clone, Copy, Debug)]
struct Active {
    x: u32,
    y: u32,
    /// Its first vertex.
    first: u32,
    configuration: u8,
}

impl Active {
    fn corner(self) -> &'static Corner {
        &table()[usize::from(self.configuration)]
    }

    fn vertex(self, face: usize) -> u32 {
        self.first + u32::from(self.corner().fan_of_face[face])
    }
}

/// The box of a label within its array.
struct Boxed<'a> {
    labels: &'a [u16],
    /// Elements per row and rows per slice of the array.
    stride: [usize; 2],
    extent: &'a LabelExtent,
    size: [usize; 3],
    /// A row without the label, for what lies beyond the box.
    beyond: Vec<u16>,
}

impl Boxed<'_> {
    /// The voxels of row `(y - 1, z - 1)` of the box; the first and last corner of each axis lie on its border.
    fn row(&self, y: usize, z: usize) -> &[u16] {
        if y == 0 || z == 0 || y > self.size[1] || z > self.size[2] {
            return &self.beyond;
        }
        let [i, j, k] = self.extent.first_ijk;
        let start = ((k + z - 1) * self.stride[1] + j + y - 1) * self.stride[0] + i;
        self.labels.get(start..start + self.size[0]).unwrap_or(&self.beyond)
    }

    /// Corners of layer `z` that need vertices, in raster order; vertices are not numbered yet.
    fn layer(&self, z: usize) -> Vec<Active> {
        let label = self.extent.label;
        let mut out = Vec::new();
        for y in 0..=self.size[1] {
            let [a, b, c, d] = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dj, dk)| self.row(y + dj, z + dk));
            let mut before = 0;
            let mut visit = |x: usize, now: u8| {
                let configuration = before | now << 1;
                before = now;
                if configuration != 0 && configuration != 255 {
                    out.push(Active { x: x as u32, y: y as u32, first: 0, configuration });
                }
            };
            for (x, (((a, b), c), d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
                let bit = |v: &u16, n: u8| u8::from(*v == label) << n;
                visit(x, bit(a, 0) | bit(b, 2) | bit(c, 4) | bit(d, 6));
            }
            visit(self.size[0], 0);
        }
        out
    }
}

/// A vertex of a face that has edges with a vertex in their middle.
enum Node {
    Vertex(u32),
    /// Of the lattice edge from this corner along this axis, the first or second of the two edges that lie there.
    Middle([u32; 3], usize, usize),
}

/// The faces whose lowest corner lies in one layer.
#[derive(Default)]
struct Faces {
    quads: Vec<[u32; 4]>,
    odd: Vec<(Vec<Node>, [f64; 3])>,
}

/// Where the active corners of two neighbouring layers are, by place. Places of other corners hold what was there
/// before and are never asked for.
struct Layers<'a> {
    z: usize,
    row: usize,
    active: [&'a [Active]; 2],
    place: &'a [Vec<u32>; 2],
}

impl Layers<'_> {
    fn at(&self, x: u32, y: u32, upper: usize) -> Active {
        self.active[upper][self.place[upper][y as usize * self.row + x as usize] as usize]
    }

    fn faces(&self) -> Faces {
        let mut out = Faces::default();
        for &active in self.active[0] {
            for axis in 0..3 {
                let inside = |octant: usize| active.configuration >> octant & 1 == 1;
                let (low, high) = (inside(7 ^ 1 << axis), inside(7));
                if low != high {
                    self.face(active, axis, low, &mut out);
                }
            }
        }
        out
    }

    /// The face across `axis` with its lowest corner at `active`; `low`: whether the voxel below is the inside one.
    fn face(&self, active: Active, axis: usize, low: bool, out: &mut Faces) {
        let (b, c) = others(axis);
        const OFFSETS: [(usize, usize); 4] = [(0, 0), (1, 0), (1, 1), (0, 1)];
        let step = |ob: usize, oc: usize| {
            let mut step = [0; 3];
            (step[b], step[c]) = (ob, oc);
            step
        };
        let corners = OFFSETS.map(|(ob, oc)| {
            let [dx, dy, dz] = step(ob, oc);
            self.at(active.x + dx as u32, active.y + dy as u32, dz)
        });
        let faces = OFFSETS.map(|(ob, oc)| 4 * axis + (1 - ob) + 2 * (1 - oc));
        let vertices: [u32; 4] = std::array::from_fn(|n| corners[n].vertex(faces[n]));
        // Edge n runs between corners n and n + 1; `from` is its lower one.
        let middles: [Option<Node>; 4] = std::array::from_fn(|n| {
            let (along, from, to) = [(b, 0, 1), (c, 1, 2), (b, 3, 2), (c, 0, 3)][n];
            let second = second_edge(corners[from], corners[to], along, faces[from])?;
            let [dx, dy, dz] = step(OFFSETS[from].0, OFFSETS[from].1);
            let corner = [active.x + dx as u32, active.y + dy as u32, (self.z + dz) as u32];
            Some(Node::Middle(corner, along, second))
        });
        // The other axes in ascending order turn around `axis` positively for 0 and 2.
        let forward = low != (axis == 1);
        if middles.iter().all(Option::is_none) {
            let [p, q, r, s] = vertices;
            out.quads.push(if forward { [p, q, r, s] } else { [p, s, r, q] });
            return;
        }
        let mut around: Vec<Node> = Vec::with_capacity(8);
        for (vertex, middle) in vertices.into_iter().zip(middles) {
            around.push(Node::Vertex(vertex));
            around.extend(middle);
        }
        if !forward {
            around.reverse();
        }
        let mut centre = [f64::from(active.x), f64::from(active.y), self.z as f64];
        centre[b] += 0.5;
        centre[c] += 0.5;
        out.odd.push((around, centre));
    }
}

/// Whether two edges between the same two vertices lie on the lattice edge from `p` along `axis` to `q`, and which of
/// them the face (numbered as at `p`) uses: 0 or 1.
fn second_edge(p: Active, q: Active, axis: usize, face: usize) -> Option<usize> {
    if p.corner().pinched >> (2 * axis + 1) & 1 == 0 {
        return None;
    }
    let (octants, at_p) = around(axis, 1);
    let (_, at_q) = around(axis, 0);
    let inside = |n: usize| p.configuration >> octants[n % 4] & 1 == 1;
    let first = usize::from(!inside(0));
    let both = |at: Active, faces: [usize; 4]| at.vertex(faces[first]) == at.vertex(faces[first + 2]);
    if !both(p, at_p) || !both(q, at_q) {
        return None;
    }
    let n = at_p.iter().position(|&f| f == face)?;
    let voxel = if inside(n) { n } else { (n + 1) % 4 };
    Some(usize::from(voxel != first))
}

/// Walks around the voxels of one label. The array must be in standard layout, as arrays of volumes are.
///
/// # Errors
/// [`Error::OverLimit`] beyond 2³² vertices, [`Error::Cancelled`].
pub(super) fn shell(labels: &Shared<u16>, extent: &LabelExtent, task: &Task) -> Result<Shell> {
    let (_, nj, ni) = labels.dim();
    let slice =
        labels.as_slice().ok_or_else(|| Error::Argument("labels are not in standard layout".into()))?;
    let size = [0, 1, 2].map(|a| extent.last_ijk[a] + 1 - extent.first_ijk[a]);
    let beyond = vec![!extent.label; size[0]];
    let boxed = Boxed { labels: slice, stride: [ni, nj], extent, size, beyond };
    let scan = |z| task.check().map(|()| boxed.layer(z));
    let mut layers: Vec<Vec<Active>> = (0..=size[2]).into_par_iter().map(scan).collect::<Result<_>>()?;

    let too_many = || Error::OverLimit {
        path: Path::new("mesh").to_owned(),
        needed: format!("more than {} vertices for label {}", u32::MAX, extent.label),
        limit: "meshes number their vertices with 32 bits".to_owned(),
        remedy: "Resample the labels to larger voxels first".to_owned(),
    };
    let mut count = 0u32;
    for active in layers.iter_mut().flatten() {
        active.first = count;
        count = count.checked_add(u32::from(active.corner().fans)).ok_or_else(too_many)?;
    }
    let mut positions = Vec::with_capacity(count as usize);
    for (z, layer) in layers.iter().enumerate() {
        for active in layer {
            let at = [f64::from(active.x), f64::from(active.y), z as f64];
            positions.extend(std::iter::repeat_n(at, usize::from(active.corner().fans)));
        }
    }

    let row = size[0] + 1;
    let fresh = || [vec![0u32; row * (size[1] + 1)], vec![0u32; row * (size[1] + 1)]];
    let emit = |place: &mut [Vec<u32>; 2], z: usize| {
        task.check()?;
        let upper = layers.get(z + 1).map_or(&[][..], Vec::as_slice);
        let active = [layers[z].as_slice(), upper];
        for (place, active) in place.iter_mut().zip(active) {
            for (n, a) in active.iter().enumerate() {
                place[a.y as usize * row + a.x as usize] = n as u32;
            }
        }
        Ok(Layers { z, row, active, place }.faces())
    };
    let faces: Vec<Faces> = (0..layers.len()).into_par_iter().map_init(fresh, emit).collect::<Result<_>>()?;

    let mut shell = Shell {
        positions,
        quads: Vec::with_capacity(faces.iter().map(|f| f.quads.len()).sum()),
        triangles: Vec::new(),
        origin_ijk: extent.first_ijk.map(|v| v as f64 - 0.5),
    };
    let mut middles: HashMap<([u32; 3], usize, usize), u32> = HashMap::new();
    for faces in faces {
        shell.quads.extend(faces.quads);
        for (around, centre) in faces.odd {
            let mut add = |position: [f64; 3]| {
                let vertex = u32::try_from(shell.positions.len()).map_err(|_| too_many())?;
                shell.positions.push(position);
                Ok(vertex)
            };
            let centre = add(centre)?;
            let mut ring = Vec::with_capacity(around.len());
            for node in around {
                ring.push(match node {
                    Node::Vertex(vertex) => vertex,
                    Node::Middle(corner, axis, second) => match middles.get(&(corner, axis, second)) {
                        Some(&vertex) => vertex,
                        None => {
                            let mut at = corner.map(f64::from);
                            at[axis] += 0.5;
                            let vertex = add(at)?;
                            middles.insert((corner, axis, second), vertex);
                            vertex
                        }
                    },
                });
            }
            let next = ring.iter().cycle().skip(1);
            shell.triangles.extend(ring.iter().zip(next).map(|(&a, &b)| [centre, a, b]));
        }
    }
    Ok(shell)
}
