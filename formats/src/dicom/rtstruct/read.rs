//! Contours into labels.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use ndarray::Array3;

use super::fill::Fill;
use crate::affine::Affine;
use crate::dicom::attributes::{Attributes, integer, items, numbers, text};
use crate::dicom::codes::{Code, Coding};
use crate::dicom::overlap::Overlaps;
use crate::dicom::place::flip;
use crate::dicom::read::read_header;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::labels::{LabelEntry, LabelMap, LabelTable, default_rgb};
use crate::notice::Notice;
use crate::task::Task;
use crate::volume::{AffineSource, Meta, Volume};

/// How far the points of a contour may lie from one plane, in voxels.
const FLAT: f64 = 0.1;
/// How far a contour may lie from the centre of the slice that it is taken for, in slices.
const NEAR: f64 = 0.25;

/// A plane of voxels: the axis across it, and the slice along that.
type Place = (usize, usize);
/// Points within a plane, in voxels.
type Polygon = Vec<[f64; 2]>;

/// One structure: its contours by plane, in voxels of the grid.
struct Roi {
    entry: LabelEntry,
    /// Contours by plane.
    planes: BTreeMap<Place, Vec<Polygon>>,
    voxels: u64,
}

/// What could not be used.
#[derive(Default)]
struct Left {
    other_kinds: BTreeMap<String, usize>,
    bent: usize,
    between: usize,
    outside: usize,
}

/// Most structures of a set; plans have some dozens, atlases some hundreds.
const MAX_STRUCTURES: usize = 10_000;

/// Reads a structure set onto the grid of the image that its contours were drawn on.
///
/// Contours may lie in slices of any of the three axes. Labels are the ROI numbers where they are 1 to 65535, otherwise counted
/// up. Where structures overlap the smaller one stays, and what was lost is counted in a warning: a structure set has
/// organs inside its outline of the body. Points, open lines, and contours that lie between slices or off the grid are left
/// out and told.
///
/// # Errors
/// [`Error::Unsupported`] for other objects; [`Error::Malformed`] without structures; [`Error::Argument`] when the
/// placement of `source` is singular; [`Error::Io`]; [`Error::Cancelled`].
pub fn read(path: &Path, source: &Volume, task: &Task) -> Result<(LabelMap, Vec<Notice>)> {
    task.at("Reading contours", 0.0)?;
    let header = read_header(path)?;
    let mut notices = header.notices.clone();
    let object = &*header.object;
    let class = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
    if class != uids::RT_STRUCTURE_SET_STORAGE {
        return Err(Error::unsupported(
            path,
            format!("an object of class {class}"),
            "RT structure sets (PS3.3 A.19)",
            "Open it as an image",
        ));
    }
    let grid = source.grid;
    let voxel_from_world = grid.voxel_from_world().ok_or_else(|| {
        Error::Argument("the image has a singular placement, so contours have no place in it".to_owned())
    })?;
    let mut left = Left::default();
    let mut rois = structures(path, object, &grid, &voxel_from_world, &mut left, task)?;
    for (n, roi) in rois.iter_mut().enumerate() {
        task.at("Filling contours", n as f32 * 0.01)?;
        let mut count = 0;
        fill(&grid, &roi.planes, task, |_| count += 1)?;
        roi.voxels = count;
    }
    let table = LabelTable { entries: rois.iter().map(|r| r.entry.clone()).collect() };
    let mut labels = Array3::<u16>::zeros(grid.shape_kji());
    let mut overlaps = Overlaps::default();
    let mut order: Vec<&Roi> = rois.iter().collect();
    order.sort_by_key(|r| std::cmp::Reverse(r.voxels));
    let voxels = labels.as_slice_mut().unwrap_or_default();
    for (n, roi) in order.iter().enumerate() {
        task.at("Filling contours", n as f32 / order.len() as f32)?;
        let id = roi.entry.id;
        fill(&grid, &roi.planes, task, |at| {
            let Some(label) = voxels.get_mut(at) else { return };
            if *label != 0 && *label != id {
                overlaps.add(id, *label);
            }
            *label = id;
        })?;
    }
    notices.extend(overlaps.notice(&table, "the smaller structure stays"));
    notices.extend(left.notices());
    notices.extend(sparse(&rois));
    notices.extend(frame_of_reference(object, source));
    let meta = Meta {
        path: Some(path.to_owned()),
        description: text(object, tags::STRUCTURE_SET_LABEL).unwrap_or_default(),
        affine_source: AffineSource::Header,
        labels: Some(table.clone()),
        dicom: source.meta.dicom.clone(),
        ..Meta::default()
    };
    Ok((LabelMap { labels: labels.into_shared(), grid, table, meta }, notices))
}

/// All structures with their contours in voxels.
fn structures(
    path: &Path,
    object: Attributes<'_>,
    grid: &Grid,
    voxel_from_world: &Affine,
    left: &mut Left,
    task: &Task,
) -> Result<Vec<Roi>> {
    let named = items(object, tags::STRUCTURE_SET_ROI_SEQUENCE);
    if named.is_empty() {
        return Err(Error::malformed(
            path,
            "no structures",
            "items in Structure Set ROI Sequence (3006,0020)",
        ));
    }
    let drawn = by_number(items(object, tags::ROI_CONTOUR_SEQUENCE));
    let observed = by_number(items(object, tags::RTROI_OBSERVATIONS_SEQUENCE));
    let numbers_fit: Option<std::collections::BTreeSet<u16>> = named
        .iter()
        .map(|r| integer(r, tags::ROI_NUMBER).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0))
        .collect();
    let keep_numbers = numbers_fit.is_some_and(|n| n.len() == named.len());
    if named.len() > MAX_STRUCTURES {
        return Err(Error::unsupported(
            path,
            format!("a set of {} structures", named.len()),
            format!("up to {MAX_STRUCTURES}"),
            "Export it with fewer structures",
        ));
    }
    let mut rois = Vec::new();
    for (roi, counted) in named.iter().zip(1_u16..) {
        task.check()?;
        let number = integer(roi, tags::ROI_NUMBER);
        let id = number.and_then(|n| u16::try_from(n).ok()).filter(|_| keep_numbers).unwrap_or(counted);
        let contours = number.and_then(|n| drawn.get(&n).copied());
        let rgb = contours.and_then(|c| <[f64; 3]>::try_from(numbers(c, tags::ROI_DISPLAY_COLOR)).ok());
        let rgb = rgb.map_or_else(|| default_rgb(id), |c| c.map(|v| v.clamp(0.0, 255.0) as u8));
        let mut entry =
            LabelEntry::new(id, text(roi, tags::ROI_NAME).unwrap_or_else(|| format!("ROI {id}")), rgb);
        let kind = number.and_then(|n| observed.get(&n).copied());
        entry.coding =
            kind.and_then(|k| Code::from_sequence(k, tags::RTROI_IDENTIFICATION_CODE_SEQUENCE)).map(|kind| {
                let category = Coding::of_name(&entry.name).unwrap_or_else(Coding::unknown).category;
                Coding { category, kind, modifier: None }
            });
        let mut planes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for contour in contours.map(|c| items(c, tags::CONTOUR_SEQUENCE)).unwrap_or_default() {
            task.check()?;
            if let Some((plane, points)) = polygon(contour, grid, voxel_from_world, left) {
                planes.entry(plane).or_default().push(points);
            }
        }
        rois.push(Roi { entry, planes, voxels: 0 });
    }
    Ok(rois)
}

/// The first item for each ROI number.
fn by_number(items: &[InMemDicomObject]) -> BTreeMap<i64, Attributes<'_>> {
    let numbered = |i| Some((integer(i, tags::REFERENCED_ROI_NUMBER)?, i));
    // Collecting keeps the last of a number.
    items.iter().rev().filter_map(numbered).collect()
}

/// The two axes within the plane across an axis: along a row of the array, then from row to row.
fn within(axis: usize) -> [usize; 2] {
    [[1, 2], [0, 2], [0, 1]][axis]
}

/// A contour in voxels and the plane it lies in.
fn polygon(
    contour: Attributes<'_>,
    grid: &Grid,
    voxel_from_world: &Affine,
    left: &mut Left,
) -> Option<(Place, Polygon)> {
    let kind = text(contour, tags::CONTOUR_GEOMETRIC_TYPE).unwrap_or_default();
    if !matches!(kind.as_str(), "CLOSED_PLANAR" | "CLOSEDPLANAR_XOR") {
        // The terms of PS3.3 C.8.8.6 are four; others are told as one.
        let kind = if matches!(kind.as_str(), "POINT" | "OPEN_PLANAR" | "OPEN_NONPLANAR") {
            kind
        } else {
            "unknown".to_owned()
        };
        *left.other_kinds.entry(kind).or_default() += 1;
        return None;
    }
    let data = numbers(contour, tags::CONTOUR_DATA);
    if data.len() < 9 || !data.len().is_multiple_of(3) {
        left.bent += 1;
        return None;
    }
    // Decimal strings carry rounding: a millionth of a voxel decides nothing.
    let snap = |v: f64| (v * 1e6).round() / 1e6;
    let points: Vec<[f64; 3]> =
        data.chunks_exact(3).map(|p| voxel_from_world.apply(flip([p[0], p[1], p[2]])).map(snap)).collect();
    let range = |axis: usize| {
        let values = points.iter().map(|p| p[axis]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let axis = [2, 1, 0].into_iter().find(|&a| {
        let (low, high) = range(a);
        high - low <= FLAT
    });
    let Some(axis) = axis else {
        left.bent += 1;
        return None;
    };
    let (low, high) = range(axis);
    let middle = (low + high) / 2.0;
    let slice = middle.round();
    if (middle - slice).abs() > NEAR {
        left.between += 1;
        return None;
    }
    if slice < 0.0 || slice >= grid.size_ijk[axis] as f64 {
        left.outside += 1;
        return None;
    }
    let [a, b] = within(axis);
    Some(((axis, slice as usize), points.iter().map(|p| [p[a], p[b]]).collect()))
}

/// Calls `f` with the array index of each voxel inside.
fn fill(
    grid: &Grid,
    planes: &BTreeMap<Place, Vec<Polygon>>,
    task: &Task,
    mut f: impl FnMut(usize),
) -> Result<()> {
    let n = grid.size_ijk;
    let stride = [1, n[0], n[0] * n[1]];
    let mut room: Option<(usize, Fill)> = None;
    for (&(axis, slice), polygons) in planes {
        task.check()?;
        let [a, b] = within(axis);
        if room.as_ref().is_none_or(|(of, _)| *of != axis) {
            room = Some((axis, Fill::new(n[a], n[b])));
        }
        let Some((_, fill)) = room.as_mut() else { continue };
        fill.clear();
        for polygon in polygons {
            task.check()?;
            fill.add(polygon);
        }
        fill.inside(|x, y| f(x * stride[a] + y * stride[b] + slice * stride[axis]));
    }
    Ok(())
}

impl Left {
    fn notices(&self) -> Vec<Notice> {
        let mut out = Vec::new();
        let mut tell = |n: usize, code: &str, what: &str| {
            if n > 0 {
                out.push(Notice::warning(code, format!("{n} contours {what}; they were left out")));
            }
        };
        tell(self.bent, "contours-not-flat", "do not lie in one plane of the image, or have too few points");
        tell(
            self.between,
            "contours-between-slices",
            "lie more than a quarter of a slice from any slice of the image",
        );
        tell(self.outside, "contours-outside", "lie beyond the first or last slice of the image");
        for (kind, n) in &self.other_kinds {
            out.push(Notice::info(
                "contours-not-closed",
                format!("{n} contours of kind {kind} enclose nothing; they were left out"),
            ));
        }
        out
    }
}

/// Structures drawn on every second slice or fewer: what lies between is not made up.
fn sparse(rois: &[Roi]) -> Option<Notice> {
    let names: Vec<&str> = rois
        .iter()
        .filter(|r| {
            let slices: Vec<_> = r.planes.keys().collect();
            slices.len() > 2 && slices.windows(2).all(|w| w[0].0 == w[1].0 && w[1].1 - w[0].1 > 1)
        })
        .map(|r| r.entry.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        Notice::warning(
            "contours-skip-slices",
            format!("drawn on every second slice or fewer, empty between: {}", names.join(", ")),
        )
    })
}

fn frame_of_reference(object: Attributes<'_>, source: &Volume) -> Option<Notice> {
    let image = text(&source.meta.dicom.as_deref()?.header, tags::FRAME_OF_REFERENCE_UID)?;
    let rois = items(object, tags::STRUCTURE_SET_ROI_SEQUENCE);
    let other =
        rois.iter().filter_map(|r| text(r, tags::REFERENCED_FRAME_OF_REFERENCE_UID)).find(|f| *f != image)?;
    Some(Notice::warning(
        "frames-of-reference-differ",
        format!("contours are in frame of reference {other}, the image in {image}: positions may not agree"),
    ))
}
