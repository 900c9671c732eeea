//! Where the frames of a segmentation lie, and which voxels of one grid their pixels are.

use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::affine::{Affine, norm};
use crate::dicom::attributes::{Attributes, array, first, integer, items, numbers, text};
use crate::dicom::place::{cross, dot, flip};
use crate::error::{Error, Result};
use crate::grid::Grid;

/// How far a pixel may lie from a voxel of the target, in voxels.
const COINCIDE: f64 = 0.05;
/// How far the gap between planes may differ from a multiple of the step, as a part of the step.
const EVEN: f64 = 0.05;

/// Labels of a lattice that is mostly empty may take this much, in bytes.
pub(super) const MAX_SPARSE_BYTES: usize = 1 << 30;

/// The frames of a segmentation on one grid.
#[derive(Debug)]
pub(super) struct Layout {
    /// The target.
    pub grid: Grid,
    /// One per stored frame, in order.
    pub frames: Vec<Frame>,
    /// Whether the target is the source's grid.
    pub on_source: bool,
    /// Whether coordinates are those of a slide (PS3.3 C.8.12.2), not of a patient.
    pub slide: bool,
}

/// One frame: its segment and the voxels its pixels are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Referenced Segment Number; `None` in label maps.
    pub segment: Option<u16>,
    /// Index into the voxel array of the pixel in row 0, column 0.
    start: isize,
    /// Index step from one column to the next, and from one row to the next.
    steps: [isize; 2],
    /// Columns and rows that lie on the grid (tiles at the edge of a slide reach beyond it).
    used: [usize; 2],
    /// Columns of the stored frame.
    columns: usize,
}

impl Frame {
    /// The voxel of a pixel, counted along rows; `None` for pixels beyond the edge of a slide.
    pub fn voxel(&self, pixel: usize) -> Option<usize> {
        let (row, column) = (pixel / self.columns, pixel % self.columns);
        if column >= self.used[0] || row >= self.used[1] {
            return None;
        }
        usize::try_from(self.start + column as isize * self.steps[0] + row as isize * self.steps[1]).ok()
    }
}

/// A frame in the patient: LPS position of the first pixel, and steps along a row and down a column, in millimetres.
#[derive(Clone, Copy, Debug)]
struct Plane {
    position: [f64; 3],
    along_row: [f64; 3],
    down_column: [f64; 3],
}

/// The functional group macro of frame `n`: its own, or the shared one (PS3.3 C.7.6.16).
pub(super) struct Groups<'a> {
    shared: Option<&'a InMemDicomObject>,
    frames: &'a [InMemDicomObject],
}

impl<'a> Groups<'a> {
    pub fn of(object: Attributes<'a>) -> Self {
        Self {
            shared: first(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
            frames: items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE),
        }
    }

    pub fn get(&self, n: usize, sequence: dicom_core::Tag) -> Option<&'a InMemDicomObject> {
        let own = self.frames.get(n).and_then(|f| first(f, sequence));
        own.or_else(|| self.shared.and_then(|s| first(s, sequence)))
    }

    fn segment(&self, n: usize) -> Option<u16> {
        let item = self.get(n, tags::SEGMENT_IDENTIFICATION_SEQUENCE)?;
        u16::try_from(integer(item, tags::REFERENCED_SEGMENT_NUMBER)?).ok()
    }

    /// Row and column spacing, and the nominal distance of planes.
    fn measures(&self, n: usize) -> Option<([f64; 2], Option<f64>)> {
        let item = self.get(n, tags::PIXEL_MEASURES_SEQUENCE)?;
        let spacing = array::<2>(item, tags::PIXEL_SPACING).filter(|s| s.iter().all(|v| *v > 0.0))?;
        let distance = [tags::SPACING_BETWEEN_SLICES, tags::SLICE_THICKNESS];
        let distance =
            distance.into_iter().find_map(|t| numbers(item, t).first().copied().filter(|v| *v > 0.0));
        Some((spacing, distance))
    }

    fn plane(&self, n: usize) -> Option<Plane> {
        let position = array::<3>(self.get(n, tags::PLANE_POSITION_SEQUENCE)?, tags::IMAGE_POSITION_PATIENT)?;
        let orientation =
            array::<6>(self.get(n, tags::PLANE_ORIENTATION_SEQUENCE)?, tags::IMAGE_ORIENTATION_PATIENT)?;
        let ([row_spacing, column_spacing], _) = self.measures(n)?;
        plane(position, orientation, row_spacing, column_spacing)
    }
}

fn plane(position: [f64; 3], o: [f64; 6], row_spacing: f64, column_spacing: f64) -> Option<Plane> {
    let (row, column) = ([o[0], o[1], o[2]], [o[3], o[4], o[5]]);
    let (nr, nc) = (norm(row), norm(column));
    let right = nr > 0.9 && nr < 1.1 && nc > 0.9 && nc < 1.1 && dot(row, column).abs() < 0.01;
    right.then(|| Plane {
        position,
        along_row: row.map(|v| v / nr * column_spacing),
        down_column: column.map(|v| v / nc * row_spacing),
    })
}

/// Lays out `count` frames of `size` (columns, rows) on the source's grid if their pixels are its voxels, otherwise on a
/// grid of their own: the planes' own lattice, from the first plane to the last, planes that are not stored being empty.
///
/// # Errors
/// [`Error::Malformed`] without positions; [`Error::Unsupported`] for planes that form no lattice; [`Error::OverLimit`]
/// when the lattice is out of proportion to what is stored.
pub(super) fn lay_out(
    path: &Path,
    object: Attributes<'_>,
    size: [usize; 2],
    count: usize,
    source: Option<&Grid>,
) -> Result<Layout> {
    let groups = Groups::of(object);
    let segments: Vec<_> = (0..count).map(|n| groups.segment(n)).collect();
    if integer(object, tags::TOTAL_PIXEL_MATRIX_COLUMNS).is_some() {
        return super::slide::lay_out(path, object, &groups, size, segments);
    }
    let mut planes = Vec::new();
    for n in 0..count {
        let plane = groups.plane(n).ok_or_else(|| {
            Error::malformed(
                path,
                format!("frame {} without position, orientation or pixel spacing", n + 1),
                "Plane Position, Plane Orientation and Pixel Measures of each frame (PS3.3 C.7.6.16.2)",
            )
        })?;
        planes.push(plane);
    }
    let on = |grid: &Grid| -> Option<Vec<Frame>> {
        let inverse = grid.voxel_from_world()?;
        let frames = planes.iter().zip(&segments).map(|(p, s)| map(grid, &inverse, p, size, *s));
        frames.collect()
    };
    if let Some(source) = source
        && let Some(frames) = on(source)
    {
        return Ok(Layout { grid: *source, frames, on_source: true, slide: false });
    }
    let nominal = groups.measures(0).and_then(|m| m.1);
    let grid = own_grid(path, &planes, size, nominal)?;
    let frames = on(&grid).ok_or_else(|| uneven(path, "their pixels do not lie above one another"))?;
    Ok(Layout { grid, frames, on_source: false, slide: false })
}

fn uneven(path: &Path, why: &str) -> Error {
    Error::unsupported(
        path,
        format!("a segmentation whose planes form no regular grid ({why})"),
        "planes at multiples of one distance",
        "Open it together with the images it was made on",
    )
}

/// The grid of the planes themselves.
fn own_grid(path: &Path, planes: &[Plane], size: [usize; 2], nominal: Option<f64>) -> Result<Grid> {
    let p = planes.first().ok_or_else(|| Error::malformed(path, "no frames", "at least one frame"))?;
    let normal = cross(p.along_row, p.down_column);
    let normal = normal.map(|v| v / norm(normal));
    let reach = size.map(|n| n as f64);
    for q in planes {
        let differs = |a: [f64; 3], b: [f64; 3], n: f64, unit: f64| {
            norm([a[0] - b[0], a[1] - b[1], a[2] - b[2]]) * n > unit * COINCIDE
        };
        let unit = norm(p.along_row).min(norm(p.down_column));
        if differs(q.along_row, p.along_row, reach[0], unit)
            || differs(q.down_column, p.down_column, reach[1], unit)
        {
            return Err(uneven(path, "they differ in orientation or pixel spacing"));
        }
    }
    let mut along: Vec<(f64, [f64; 3])> =
        planes.iter().map(|q| (dot(q.position, normal), q.position)).collect();
    along.sort_by(|a, b| a.0.total_cmp(&b.0));
    let same = nominal.map_or(1e-3, |n| n * 0.02);
    along.dedup_by(|b, a| b.0 - a.0 <= same);
    let (low, high) = (along[0], along[along.len() - 1]);
    let gaps: Vec<f64> = along.windows(2).map(|w| w[1].0 - w[0].0).collect();
    let fits = |step: f64| {
        step > 0.0
            && along.iter().all(|(d, _)| {
                let n = (d - low.0) / step;
                // Rounding of a nominal step grows along the stack: half a percent per plane is let pass.
                (n - n.round()).abs() <= EVEN.max(0.005 * n.min(40.0))
            })
    };
    let smallest = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let step = match gaps.len() {
        0 => nominal.unwrap_or(1.0),
        _ => [nominal.unwrap_or(0.0), smallest].into_iter().find(|&s| fits(s)).ok_or_else(|| {
            let largest = gaps.iter().copied().fold(0.0, f64::max);
            uneven(path, &format!("gaps from {smallest:.4} to {largest:.4} mm"))
        })?,
    };
    let count = ((high.0 - low.0) / step).round();
    // A few planes far apart are usual; memory without end for a few bytes is not.
    let per_plane = (size[0] * size[1]).max(1);
    let limit = (along.len() * 4).max(MAX_SPARSE_BYTES / 2 / per_plane).min(1 << 16);
    if count >= limit as f64 {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{count} planes for the {} that are stored", along.len()),
            limit: format!("{limit} are allowed"),
            remedy: "Open it together with the images it was made on".to_owned(),
        });
    }
    // Positions may drift within the plane (gantry tilt): the step is a vector.
    let step = if count > 0.0 {
        [0, 1, 2].map(|a| (high.1[a] - low.1[a]) / count)
    } else {
        normal.map(|v| v * step)
    };
    let columns = [flip(p.along_row), flip(p.down_column), flip(step)];
    let world_from_voxel = Affine::from_columns(columns, flip(low.1));
    Ok(Grid { size_ijk: [size[0], size[1], count as usize + 1], world_from_voxel })
}

/// The voxels that the pixels of a plane are, if they are voxels of the grid, all of them.
fn map(
    grid: &Grid,
    voxel_from_world: &Affine,
    p: &Plane,
    size: [usize; 2],
    segment: Option<u16>,
) -> Option<Frame> {
    let far = |column: f64, row: f64| {
        let lps = [0, 1, 2].map(|a| p.position[a] + column * p.along_row[a] + row * p.down_column[a]);
        voxel_from_world.apply(flip(lps))
    };
    let (last_column, last_row) = (size[0] as f64 - 1.0, size[1] as f64 - 1.0);
    let start = whole(grid, far(0.0, 0.0))?;
    let step = |end: Option<[isize; 3]>, n: f64| -> Option<[isize; 3]> {
        let end = end?;
        let n = n as isize;
        if n == 0 {
            return Some([0; 3]);
        }
        let step = [0, 1, 2].map(|a| (end[a] - start[a]) / n);
        let exact = (0..3).all(|a| step[a] * n == end[a] - start[a]);
        let one = step.iter().map(|s| s.abs()).sum::<isize>() == 1;
        (exact && one).then_some(step)
    };
    let along_row = step(whole(grid, far(last_column, 0.0)), last_column)?;
    let down_column = step(whole(grid, far(0.0, last_row)), last_row)?;
    whole(grid, far(last_column, last_row))?;
    let stride = [1, grid.size_ijk[0] as isize, (grid.size_ijk[0] * grid.size_ijk[1]) as isize];
    let index = |v: [isize; 3]| (0..3).map(|a| v[a] * stride[a]).sum::<isize>();
    Some(Frame::new(segment, index(start), [index(along_row), index(down_column)], size, size))
}

/// A voxel of the grid within [`COINCIDE`] of a fractional index.
fn whole(grid: &Grid, ijk: [f64; 3]) -> Option<[isize; 3]> {
    let ok = (0..3).all(|a| {
        let r = ijk[a].round();
        (ijk[a] - r).abs() <= COINCIDE && r >= 0.0 && r < grid.size_ijk[a] as f64
    });
    ok.then(|| ijk.map(|v| v.round() as isize))
}

impl Frame {
    pub(super) fn new(
        segment: Option<u16>,
        start: isize,
        steps: [isize; 2],
        used: [usize; 2],
        stored: [usize; 2],
    ) -> Self {
        Self { segment, start, steps, used, columns: stored[0].max(1) }
    }
}

/// Whether the series or the frames say that this is a slide.
pub(super) fn dimension_type(object: Attributes<'_>) -> String {
    text(object, tags::DIMENSION_ORGANIZATION_TYPE).unwrap_or_default()
}
