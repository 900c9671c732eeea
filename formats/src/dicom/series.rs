//! From the instances of a series to what can be loaded: stacks of slices, single pictures, cines.
//!
//! Slices with the same directions, size and type make a [`Stack`]; several at one position make its frames (see
//! [`super::frames`]); what fits nowhere stands for itself. Nothing is dropped without a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::frames::{self, Candidate};
use super::geometry::{Lattice, Plane, Spacing, dot, runs};
use super::pixels::Instance;
use super::record::{Frame, Record, Shape, SpacingSource};
use crate::affine::Affine;
use crate::grid::Grid;
use crate::notice::Notice;
use crate::volume::FrameAxis;

/// What a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Slices with a place in the patient.
    Volume,
    /// One picture without a place: radiographs, ultrasound, secondary captures.
    Picture,
    /// Pictures one after the other: cine, tiles, projections.
    Cine,
}

/// Where the pixels of one slice are stored.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub record: Arc<Record>,
    /// Frame, from 0.
    pub frame: u32,
    /// Tile of a mosaic, from 0.
    pub tile: Option<u32>,
    pub plane: Option<Plane>,
}

impl Piece {
    pub fn info(&self) -> Option<&Frame> {
        self.record.frames.get(self.frame as usize)
    }

    fn order(&self) -> (i64, u32) {
        (self.record.instance_number.unwrap_or(0), self.frame)
    }
}

/// Something that can be loaded as one image.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Unique in the tree and the same at every scan: series UID and a number.
    pub id: String,
    /// For people: size, and what tells it from other stacks of its series. No patient data.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// Modality, e.g. `"CT"`.
    pub modality: String,
    /// Placement of the volume that [`super::load()`] gives.
    pub grid: Grid,
    /// Axes beyond space, fastest first.
    pub axes: Vec<FrameAxis>,
    /// Value of each frame on its axis in words; empty texts when only an order is known.
    pub frame_values: Vec<String>,
    /// What was odd about the geometry, with numbers.
    pub notices: Vec<Notice>,
    /// The lattice; `None` for pictures.
    pub lattice: Option<Lattice>,
    /// For each frame, for each given slice of the lattice in order, where it is stored.
    pub(super) frames: Vec<Vec<Option<Piece>>>,
}

impl Stack {
    /// Number of volumes (or pictures).
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// The instances it is made of, each once, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Record>> {
        let mut seen = BTreeSet::new();
        let all = self.frames.iter().flatten().flatten();
        all.filter(|p| seen.insert(Arc::as_ptr(&p.record))).map(|p| Arc::clone(&p.record)).collect()
    }

    /// The middle slice of the first frame, where it lies; none for pictures.
    #[must_use]
    pub fn middle(&self) -> Option<Self> {
        let pieces = self.frames.first()?;
        let piece = pieces.get(pieces.len() / 2)?.clone()?;
        let [columns, rows, _] = self.grid.size_ijk;
        let lattice = Lattice::single(piece.plane?, self.grid.spacing_mm()[2]);
        Some(Self {
            grid: lattice.grid(columns, rows),
            axes: Vec::new(),
            frame_values: Vec::new(),
            notices: Vec::new(),
            lattice: Some(lattice),
            frames: vec![vec![Some(piece)]],
            ..self.clone()
        })
    }

    /// Stored slices (frames of instances) it is made of.
    #[must_use]
    pub fn slice_count(&self) -> usize {
        self.frames.iter().flatten().flatten().count()
    }

    /// Bytes of the decoded pixels.
    #[must_use]
    pub fn pixel_bytes(&self) -> u64 {
        let shape =
            self.frames.iter().flatten().flatten().next().map_or_else(Shape::default, |p| p.record.shape);
        let voxel = u64::from(shape.samples) * u64::from(shape.bits_allocated.div_ceil(8).max(1));
        let voxels = self.grid.size_ijk.iter().fold(1u64, |n, &s| n.saturating_mul(s as u64));
        voxels.saturating_mul(voxel).saturating_mul(self.frames.len() as u64)
    }
}

/// The stacks of one series, largest first. Objects that are no images are left out.
#[must_use]
pub fn stacks(records: &[Arc<Record>]) -> Vec<Stack> {
    let mut notices = Vec::new();
    let records = without_copies(records, &mut notices);
    let mut groups: Vec<(GroupKey, Vec<Piece>)> = Vec::new();
    let mut flat: Vec<Arc<Record>> = Vec::new();
    for record in &records {
        if !record.is_image() {
            continue;
        }
        let pieces = pieces(record);
        if pieces.is_empty() {
            flat.push(Arc::clone(record));
        }
        for piece in pieces {
            let key = GroupKey::of(&piece);
            // Newest first: neighbours in a folder mostly belong together.
            let found = groups.iter_mut().rev().find(|(k, p)| {
                *k == key
                    && p.first()
                        .and_then(|p| p.plane)
                        .zip(piece.plane)
                        .is_some_and(|(a, b)| a.is_parallel(&b))
            });
            match found {
                Some((_, list)) => list.push(piece),
                None => groups.push((key, vec![piece])),
            }
        }
    }
    let mut out = Vec::new();
    for (_, group) in groups {
        stack_up(group, 0, &mut out);
    }
    out.extend(flat.iter().map(picture));
    out.sort_by_key(|s: &Stack| {
        let first = s.frames.iter().flatten().flatten().next().map(Piece::order);
        (std::cmp::Reverse(s.slice_count() as u64 * s.pixel_bytes() / s.frames.len().max(1) as u64), first)
    });
    name(&mut out);
    if let Some(first) = out.first_mut() {
        first.notices.splice(0..0, notices);
    }
    out
}

/// What slices of one stack share besides parallel planes. The frame of reference is one per series by the standard
/// (PS3.3 C.7.4.1), and where it differs from file to file a de-identifier made it so.
#[derive(Clone, Debug, PartialEq)]
struct GroupKey {
    shape: Shape,
    stack_id: String,
    is_localiser: bool,
}

impl GroupKey {
    fn of(piece: &Piece) -> Self {
        Self {
            shape: piece.record.shape,
            stack_id: piece.info().map(|f| f.stack_id.clone()).unwrap_or_default(),
            is_localiser: piece.record.is_localiser(),
        }
    }
}

/// The same instance given twice (by SOP Instance UID) is kept once.
fn without_copies(records: &[Arc<Record>], notices: &mut Vec<Notice>) -> Vec<Arc<Record>> {
    let mut seen = BTreeSet::new();
    let kept: Vec<_> = records
        .iter()
        .filter(|r| r.sop_instance_uid.is_empty() || seen.insert(r.sop_instance_uid.as_str()))
        .cloned()
        .collect();
    let copies = records.len() - kept.len();
    if copies > 0 {
        notices.push(Notice::info(
            "dicom-copies",
            format!(
                "{copies} of {} files repeat an instance that is there already (same SOP Instance UID)",
                records.len()
            ),
        ));
    }
    kept
}

fn pieces(record: &Arc<Record>) -> Vec<Piece> {
    let piece = |frame, tile, plane| Piece { record: Arc::clone(record), frame, tile, plane: Some(plane) };
    if let Some(mosaic) = record.mosaic {
        let tiles = (0..mosaic.count).filter_map(|t| Some(piece(0, Some(t), record.tile_plane(t)?)));
        return tiles.collect();
    }
    let planes: Option<Vec<_>> = record.frames.iter().map(|f| f.plane).collect();
    let planes = planes.unwrap_or_default();
    planes.into_iter().enumerate().map(|(n, p)| piece(n as u32, None, p)).collect()
}

/// Levels (positions along the normal) and the pieces at each.
struct Levels {
    planes: Vec<Plane>,
    pieces: Vec<Vec<Piece>>,
}

fn levels(mut group: Vec<Piece>) -> Levels {
    let normal = group.first().and_then(|p| p.plane).map_or([0.0, 0.0, 1.0], |p| p.normal());
    let offset = |p: &Piece| p.plane.map_or(0.0, |p| dot(p.position, normal));
    group.sort_by(|a, b| offset(a).total_cmp(&offset(b)).then_with(|| a.order().cmp(&b.order())));
    let mut out = Levels { planes: Vec::new(), pieces: Vec::new() };
    let mut last = f64::NEG_INFINITY;
    for piece in group {
        let Some(plane) = piece.plane else { continue };
        let at = offset(&piece);
        if at - last > plane.same_position_mm() {
            out.planes.push(plane);
            out.pieces.push(Vec::new());
            last = at;
        }
        if let Some(level) = out.pieces.last_mut() {
            level.push(piece);
        }
    }
    out
}

/// Distance of two planes' positions within the plane, mm.
fn in_plane_distance(a: &Plane, b: &Plane) -> f64 {
    let d = [0, 1, 2].map(|r| b.position[r] - a.position[r]);
    dot(d, a.along_row).hypot(dot(d, a.along_column))
}

/// Makes stacks of parallel slices. `depth` ends what would never end.
fn stack_up(group: Vec<Piece>, depth: usize, out: &mut Vec<Stack>) {
    if group.is_empty() {
        return;
    }
    if depth > 64 {
        // Pieces that no rule can order are shown one by one.
        for piece in group {
            finish(vec![vec![Some(piece)]], Vec::new(), vec![String::new()], Vec::new(), out);
        }
        return;
    }
    // Side by side at one level (two breasts, two slabs): apart.
    let levels = levels(group);
    let beside = levels.pieces.iter().any(|level| {
        let first = level.first().and_then(|p| p.plane);
        level.iter().any(|p| {
            first
                .zip(p.plane)
                .is_some_and(|(a, b)| in_plane_distance(&a, &b) > a.spacing[0].max(a.spacing[1]))
        })
    });
    if beside {
        let mut clusters: Vec<Vec<Piece>> = Vec::new();
        for piece in levels.pieces.into_iter().flatten() {
            let near = clusters.iter_mut().find(|c| {
                c.last()
                    .and_then(|p| p.plane)
                    .zip(piece.plane)
                    .is_some_and(|(a, b)| in_plane_distance(&a, &b) <= a.spacing[0].max(a.spacing[1]))
            });
            match near {
                Some(cluster) => cluster.push(piece),
                None => clusters.push(vec![piece]),
            }
        }
        clusters.into_iter().for_each(|c| stack_up(c, depth + 1, out));
        return;
    }
    // Different kinds of picture (magnitude and phase, water and fat) at the same positions: apart.
    if let Some(kinds) = kinds_apart(&levels) {
        kinds.into_iter().for_each(|c| stack_up(c, depth + 1, out));
        return;
    }
    let mut notices = Vec::new();
    let mut pieces = levels.pieces;
    let most = pieces.iter().map(Vec::len).max().unwrap_or(0);
    let mut grouped = group_frames(&pieces);
    // Nothing tells slices at one position apart: are they copies? Only if one volume is what remains of them; empty
    // slices of a time series may equal one another too.
    if most > 1 && (!grouped.left.is_empty() || !grouped.is_told) {
        let mut fewer = pieces.clone();
        let dropped = drop_identical(&mut fewer);
        let again = group_frames(&fewer);
        if dropped > 0 && again.left.is_empty() && again.is_told {
            notices.push(Notice::info(
                "dicom-duplicates",
                format!("{dropped} slices repeat the pixels of another one at the same position; each was kept once"),
            ));
            (pieces, grouped) = (fewer, again);
        }
    }
    let flat: Vec<Piece> = pieces.into_iter().flatten().collect();
    let take = |n: usize| flat.get(n).cloned();
    let frames: Vec<Vec<Option<Piece>>> =
        grouped.volumes.iter().map(|v| v.iter().map(|slot| slot.and_then(take)).collect()).collect();
    let left: Vec<Piece> = grouped.left.iter().filter_map(|&n| take(n)).collect();
    if !left.is_empty() {
        notices.push(Notice::warning(
            "dicom-slices-left",
            format!("{} slices at positions already taken belong to no whole volume; they are a stack of their own", left.len()),
        ));
    }
    // Positions that do not make one lattice are several stacks.
    let planes = &levels.planes;
    if planes.len() > 1 && Lattice::fit(planes).is_none() {
        let parts = runs(planes);
        if parts.len() > 1 {
            for part in parts {
                let cut: Vec<Vec<Option<Piece>>> =
                    frames.iter().map(|f| f.get(part.clone()).unwrap_or_default().to_vec()).collect();
                let mut notices = notices.clone();
                notices.push(Notice::warning(
                    "dicom-split-positions",
                    format!(
                        "the {} slice positions are not evenly spaced on a line; this stack holds {} of them",
                        planes.len(),
                        part.len()
                    ),
                ));
                finish(cut, grouped.axes.clone(), grouped.values.clone(), notices, out);
            }
            stack_up(left, depth + 1, out);
            return;
        }
    }
    finish(frames, grouped.axes, grouped.values, notices, out);
    stack_up(left, depth + 1, out);
}

fn group_frames(pieces: &[Vec<Piece>]) -> frames::Frames {
    let candidates: Vec<Candidate> = pieces
        .iter()
        .enumerate()
        .flat_map(|(level, list)| {
            list.iter().map(move |p| Candidate {
                level,
                keys: p.info().map(|f| f.keys).unwrap_or_default(),
                order: p.order(),
            })
        })
        .collect();
    frames::group(&candidates, pieces.len())
}

fn kinds_apart(levels: &Levels) -> Option<Vec<Vec<Piece>>> {
    let kind = |p: &Piece| p.info().map(|f| f.kind.clone()).unwrap_or_default();
    let meets = levels.pieces.iter().any(|level| {
        let first = level.first().map(kind);
        level.iter().any(|p| Some(kind(p)) != first)
    });
    if !meets {
        return None;
    }
    let mut apart: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
    for piece in levels.pieces.iter().flatten() {
        apart.entry(kind(piece)).or_default().push(piece.clone());
    }
    // Only kinds that each fill the stack are volumes of their own; others merely vary.
    let positions = levels.pieces.len();
    let full = |list: &Vec<Piece>| {
        let of: BTreeSet<_> = list.iter().map(kind).collect();
        let covered = levels.pieces.iter().filter(|l| l.iter().any(|p| of.contains(&kind(p)))).count();
        covered == positions
    };
    apart.values().all(full).then(|| apart.into_values().collect())
}

/// Drops slices whose pixels equal those of an earlier one at their position; returns how many. Looked at only
/// when the first position with several slices has such.
fn drop_identical(pieces: &mut [Vec<Piece>]) -> usize {
    let mut dropped = 0;
    let mut has_copies = false;
    for level in pieces.iter_mut().filter(|l| l.len() > 1) {
        let mut kept: Vec<(Piece, Option<Vec<u8>>)> = Vec::new();
        for piece in level.iter() {
            let pixels = pixels(piece);
            if pixels.is_some() && kept.iter().any(|(_, k)| *k == pixels) {
                dropped += 1;
                has_copies = true;
            } else {
                kept.push((piece.clone(), pixels));
            }
        }
        *level = kept.into_iter().map(|(p, _)| p).collect();
        if !has_copies {
            break;
        }
    }
    dropped
}

fn pixels(piece: &Piece) -> Option<Vec<u8>> {
    let instance = Instance::open(&piece.record.path).ok()?;
    let samples = instance.frame(piece.frame as usize).ok()?;
    let mut bytes = crate::for_samples!(&samples, v => bytemuck::cast_slice::<_, u8>(v).to_vec());
    // Equal samples with another scaling are other values.
    let rescale = piece.info().and_then(|f| f.rescale).unwrap_or([1.0, 0.0]);
    bytes.extend(rescale.iter().flat_map(|v| v.to_le_bytes()));
    bytes.extend(piece.tile.unwrap_or(0).to_le_bytes());
    Some(bytes)
}

/// Makes the stack of frames whose slots are sorted along the normal.
fn finish(
    frames: Vec<Vec<Option<Piece>>>,
    axes: Vec<FrameAxis>,
    frame_values: Vec<String>,
    mut notices: Vec<Notice>,
    out: &mut Vec<Stack>,
) {
    let slots = frames.first().map_or(0, Vec::len);
    let at = |slot: usize| frames.iter().find_map(|f| f.get(slot).and_then(Option::as_ref));
    let planes: Vec<Plane> = (0..slots).filter_map(|s| at(s).and_then(|p| p.plane)).collect();
    let Some(first) = at(0) else { return };
    let Some(plane) = planes.first() else { return };
    let record = Arc::clone(&first.record);
    let info = first.info().cloned().unwrap_or_default();
    let lattice = if planes.len() > 1 { Lattice::fit(&planes) } else { None };
    let lattice = lattice.unwrap_or_else(|| {
        let (thickness, from) = match (info.thickness_mm, info.spacing_mm) {
            (Some(t), _) => (t, "Slice Thickness (0018,0050)"),
            (None, Some(s)) => (s, "Spacing Between Slices (0018,0088)"),
            _ => (1.0, "nothing: it is assumed"),
        };
        notices.push(Notice::info(
            "dicom-one-slice",
            format!("one slice: its thickness of {thickness} mm comes from {from}"),
        ));
        Lattice::single(*plane, thickness)
    });
    describe_spacing(&lattice, &info, &planes, &mut notices);
    let holes: Vec<String> = frames
        .iter()
        .enumerate()
        .flat_map(|(f, v)| v.iter().enumerate().filter(|(_, s)| s.is_none()).map(move |(s, _)| (f, s)))
        .map(|(f, s)| format!("frame {} slice {}", f + 1, s + 1))
        .collect();
    if !holes.is_empty() {
        notices.push(Notice::warning(
            "dicom-missing-slices",
            format!(
                "{} slices are missing and were filled with the smallest value: {}",
                holes.len(),
                list(&holes)
            ),
        ));
    }
    describe_record(&record, &mut notices);
    let grid = lattice.grid(columns(&record), rows(&record));
    out.push(Stack {
        id: String::new(),
        label: String::new(),
        kind: Kind::Volume,
        modality: record.modality.clone(),
        grid,
        axes,
        frame_values,
        notices,
        lattice: Some(lattice),
        frames,
    });
}

fn columns(record: &Record) -> usize {
    (record.shape.columns / record.mosaic.map_or(1, |m| m.side)).max(1) as usize
}

fn rows(record: &Record) -> usize {
    (record.shape.rows / record.mosaic.map_or(1, |m| m.side)).max(1) as usize
}

fn describe_spacing(lattice: &Lattice, info: &Frame, planes: &[Plane], notices: &mut Vec<Notice>) {
    let step = lattice.step_mm();
    match &lattice.spacing {
        Spacing::Single => {}
        Spacing::Even => {
            if lattice.deviation_mm > (0.01 * step).max(0.005) {
                notices.push(Notice::info(
                    "dicom-spacing-rounded",
                    format!("slice positions differ from an even spacing of {step:.4} mm by up to {:.3} mm", lattice.deviation_mm),
                ));
            }
        }
        Spacing::Gaps(missing) => {
            let numbers: Vec<String> = missing.iter().map(|k| (k + 1).to_string()).collect();
            notices.push(Notice::warning(
                "dicom-missing-slices",
                format!(
                    "{} of {} slices are missing at a spacing of {step:.4} mm and were filled with the smallest value: {}",
                    missing.len(),
                    lattice.count,
                    list(&numbers)
                ),
            ));
        }
        Spacing::Uneven(least, most) => notices.push(Notice::warning(
            "dicom-uneven-spacing",
            format!(
                "the distance between neighbouring slices varies from {least:.4} to {most:.4} mm; the {} slices were \
                 interpolated to {} at an even {step:.4} mm",
                planes.len(),
                lattice.count
            ),
        )),
    }
    if lattice.tilt_degrees > 0.0 {
        notices.push(Notice::warning(
            "dicom-tilted-gantry",
            format!(
                "the stack leans {:.2}° off the normal of its slices (gantry tilt); the sheared placement is kept exactly",
                lattice.tilt_degrees
            ),
        ));
    }
    let first = lattice.first;
    let turn = planes.iter().flat_map(|p| {
        let a = [0, 1, 2].map(|r| (p.along_row[r] - first.along_row[r]).abs());
        let b = [0, 1, 2].map(|r| (p.along_column[r] - first.along_column[r]).abs());
        a.into_iter().chain(b)
    });
    let turn = turn.fold(0.0, f64::max);
    if turn > 1e-4 {
        notices.push(Notice::info(
            "dicom-orientation-varies",
            format!("direction cosines differ by up to {turn:.5} between slices; those of the first slice were taken"),
        ));
    }
    if let (Spacing::Even | Spacing::Gaps(_), Some(told)) = (&lattice.spacing, info.spacing_mm)
        && (told - step).abs() > 0.05 * step
        && lattice.tilt_degrees == 0.0
    {
        notices.push(Notice::info(
            "dicom-spacing-differs",
            format!("Spacing Between Slices says {told} mm, the positions say {step:.4} mm; the positions were taken"),
        ));
    }
}

fn describe_record(record: &Record, notices: &mut Vec<Notice>) {
    let grouped = record.frames.first().is_some_and(|f| f.plane.is_some_and(|p| p.spacing != [1.0, 1.0]));
    match record.spacing_source {
        SpacingSource::PixelSpacing => {}
        SpacingSource::Ultrasound => notices.push(Notice::info(
            "dicom-spacing-source",
            "the pixel spacing comes from the Sequence of Ultrasound Regions (0018,6011)",
        )),
        SpacingSource::Imager => notices.push(Notice::warning(
            "dicom-spacing-source",
            "the pixel spacing is Imager Pixel Spacing (0018,1164): distances at the detector, larger than in the body",
        )),
        SpacingSource::NominalScanned => notices.push(Notice::warning(
            "dicom-spacing-source",
            "the pixel spacing is Nominal Scanned Pixel Spacing (0018,2010): distances on the film",
        )),
        SpacingSource::Assumed if !grouped => notices.push(Notice::warning(
            "dicom-spacing-source",
            "no pixel spacing is given; pixels of 1 mm were assumed",
        )),
        SpacingSource::Assumed => {}
    }
    if record.mosaic.is_some_and(|m| !m.is_normal_known) {
        notices.push(Notice::warning(
            "dicom-mosaic-normal",
            "the direction of the slices of this mosaic is not told; along row × column was assumed",
        ));
    }
}

/// The first items in words, and how many more there are.
fn list(items: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = items.get(..SHOWN.min(items.len())).unwrap_or_default().join(", ");
    if items.len() > SHOWN { format!("{shown} and {} more", items.len() - SHOWN) } else { shown }
}

/// An image without planes.
fn picture(record: &Arc<Record>) -> Stack {
    let count = record.frames.len().max(1);
    let [x, y] = record.flat_spacing.unwrap_or([1.0, 1.0]);
    let mut notices = Vec::new();
    let is_slide = record.modality == "SM";
    if matches!(record.modality.as_str(), "CT" | "MR" | "PT") && !record.is_localiser() {
        notices.push(Notice::warning(
            "dicom-no-position",
            "the image has no usable position and orientation in the patient; it is shown as a picture",
        ));
    }
    if !is_slide {
        describe_record(record, &mut notices);
    }
    // Like other pictures: rows run down, that is towards the feet or the back, and the patient's left is at the right.
    let grid = Grid {
        size_ijk: [record.shape.columns as usize, record.shape.rows as usize, 1],
        world_from_voxel: Affine::from_columns([[-x, 0.0, 0.0], [0.0, -y, 0.0], [0.0, 0.0, 1.0]], [0.0; 3]),
    };
    let frames: Vec<Vec<Option<Piece>>> = (0..count)
        .map(|n| vec![Some(Piece { record: Arc::clone(record), frame: n as u32, tile: None, plane: None })])
        .collect();
    let axes = if count > 1 {
        // Frames without a clock are a film where the modality makes films; otherwise only their order is known.
        let step = record.frame_time_s.unwrap_or(0.0);
        let is_film = step > 0.0
            || matches!(record.modality.as_str(), "US" | "XA" | "RF" | "ES" | "IVUS" | "IVOCT" | "XC");
        let (name, unit, step) = match (is_slide, is_film) {
            (true, _) => ("tile", "", 0.0),
            (_, true) => ("time", if step > 0.0 { "s" } else { "" }, step),
            _ => ("frame", "", 0.0),
        };
        vec![FrameAxis { name: name.to_owned(), len: count, step, unit: unit.to_owned() }]
    } else {
        Vec::new()
    };
    Stack {
        id: String::new(),
        label: String::new(),
        kind: if count > 1 { Kind::Cine } else { Kind::Picture },
        modality: record.modality.clone(),
        grid,
        axes,
        frame_values: vec![String::new(); count],
        notices,
        lattice: None,
        frames,
    }
}

/// Gives the stacks of a series their names.
fn name(stacks: &mut [Stack]) {
    let several = stacks.len() > 1;
    for (n, stack) in stacks.iter_mut().enumerate() {
        let first = stack.frames.iter().flatten().flatten().next();
        let Some(record) = first.map(|p| Arc::clone(&p.record)) else { continue };
        let uid = &record.labels.series_uid;
        stack.id =
            if uid.is_empty() { format!("{}#{n}", record.name.display()) } else { format!("{uid}#{n}") };
        let mut size: Vec<String> = stack.grid.size_ijk.iter().map(ToString::to_string).collect();
        if stack.kind != Kind::Volume {
            size.truncate(2);
        }
        if stack.frames.len() > 1 {
            size.push(stack.frames.len().to_string());
        }
        let mut label = format!("{} {}", stack.modality, size.join("×")).trim().to_owned();
        if several {
            if record.is_localiser() {
                label += ", localiser";
            } else if let Some(plane) = stack.lattice.as_ref().map(|l| l.first) {
                label += match orientation(&plane) {
                    0 => ", sagittal",
                    1 => ", coronal",
                    _ => ", axial",
                };
            }
            let kind = first.and_then(Piece::info).map(|f| f.kind.clone()).unwrap_or_default();
            let kind: Vec<&str> = kind.split('\\').skip(2).filter(|k| !k.is_empty()).take(2).collect();
            if !kind.is_empty() {
                label = format!("{label}, {}", kind.join(" "));
            }
            if let Some(number) = record.instance_number.filter(|_| stack.kind != Kind::Volume) {
                label = format!("{label}, image {number}");
            }
        }
        stack.label = label;
    }
}

/// The world axis the normal runs closest to.
fn orientation(plane: &Plane) -> usize {
    let n = plane.normal().map(f64::abs);
    (0..3).max_by(|&a, &b| n[a].total_cmp(&n[b])).unwrap_or(2)
}
