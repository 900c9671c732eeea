//! A segmentation object into labels.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use ndarray::Array3;

use super::binary::{Bits, Fractions, paint};
use super::labelmap;
use super::layout::{Layout, lay_out};
use super::samples::Stored;
use super::segments::{self, Segment};
use crate::dicom::attributes::{Attributes, integer, text};
use crate::dicom::modules::first_referenced_series;
use crate::dicom::overlap::Overlaps;
use crate::error::{Error, Result};
use crate::labels::{LabelEntry, LabelMap, LabelTable};
use crate::notice::Notice;
use crate::task::Task;
use crate::volume::{AffineSource, Meta, Volume};

/// The part of the largest fraction from which a voxel of a fractional segmentation is in.
const THRESHOLD: f64 = 0.5;

/// Reads a segmentation: one label volume and its table, with coded terms and colours.
///
/// With `source`, the image it belongs to, the labels are on that image's grid if every stored pixel is one of its voxels
/// (within a twentieth of a voxel): an exact copy, whatever the order of axes. Otherwise, and without a source, they are on
/// the lattice of the stored planes, from the first to the last.
///
/// Labels are the segment numbers, or the numbers they had before this program renumbered them. One label volume cannot hold
/// overlaps: the smaller structure stays, of two of one size the later one; in fractional segmentations the larger
/// fraction. What was lost is counted in a warning.
///
/// # Errors
/// [`Error::Unsupported`] for other objects, and for planes that form no regular grid and fit no source;
/// [`Error::Malformed`] for damaged files; [`Error::OverLimit`]; [`Error::Io`]; [`Error::Cancelled`].
pub fn read(path: &Path, source: Option<&Volume>, task: &Task) -> Result<(LabelMap, Vec<Notice>)> {
    task.at("Reading the segmentation", 0.0)?;
    let (stored, mut notices) = Stored::open(path)?;
    let object = stored.object();
    let class = text(object, tags::SOP_CLASS_UID).unwrap_or_default();
    if ![uids::SEGMENTATION_STORAGE, uids::LABEL_MAP_SEGMENTATION_STORAGE].contains(&class.as_str()) {
        return Err(Error::unsupported(
            path,
            format!("an object of class {class}"),
            "segmentations (PS3.3 A.51 and A.90)",
            "Open it as an image",
        ));
    }
    let segments = segments::read(object);
    if segments.is_empty() {
        return Err(Error::malformed(
            path,
            "no segments",
            "at least one item in Segment Sequence (0062,0002)",
        ));
    }
    let grid = source.map(|s| s.grid);
    let size = [stored.columns(), stored.rows()];
    let mut layout = lay_out(path, object, size, stored.frames(), grid.as_ref())?;
    let mut voxels = vec_of_labels(path, &layout)?;
    let kind = text(object, tags::SEGMENTATION_TYPE).unwrap_or_default();
    if kind != "LABELMAP" {
        name_segments(path, &mut layout, &segments, &mut notices)?;
    }
    let (ids, overlaps, rule) = match kind.as_str() {
        "LABELMAP" => {
            let ids = labelmap::labels(object, &segments);
            let unknown = label_map(&layout, &stored, &ids, &mut voxels, task)?;
            if unknown > 0 {
                notices.push(Notice::warning(
                    "labels-without-segment",
                    format!("{unknown} voxels have numbers that no segment explains; the numbers were kept"),
                ));
            }
            (ids, Overlaps::default(), "")
        }
        "FRACTIONAL" => {
            let ids = numbers(&segments, &mut notices);
            let overlaps = fractional(object, &layout, &stored, &ids, &mut voxels, &mut notices, task)?;
            (ids, overlaps, "the larger fraction stays")
        }
        "BINARY" => {
            let ids = numbers(&segments, &mut notices);
            let bits = one_bit(path, &stored, task)?;
            (ids.clone(), paint(&layout, &bits, &ids, &mut voxels, task)?, "the smaller structure stays")
        }
        other => {
            return Err(Error::unsupported(
                path,
                format!("Segmentation Type (0062,0001) “{other}”"),
                "BINARY, FRACTIONAL, LABELMAP",
                "Convert it to BINARY",
            ));
        }
    };
    let table = table(object, &segments, &ids);
    notices.extend(overlaps.notice(&table, rule));
    place_notices(&layout, source, object, &mut notices);
    let labels = Array3::from_shape_vec(layout.grid.shape_kji(), voxels)
        .map_err(|e| Error::Argument(e.to_string()))?
        .into_shared();
    let mut meta = Meta {
        path: Some(path.to_owned()),
        description: text(object, tags::SERIES_DESCRIPTION).unwrap_or_default(),
        affine_source: AffineSource::Header,
        labels: Some(table.clone()),
        // Labels on the grid of a series are results on it, and can be written back to it.
        dicom: source.filter(|_| layout.on_source).and_then(|s| s.meta.dicom.clone()),
        facts: facts(object, &segments, &kind),
        ..Meta::default()
    };
    if layout.slide {
        meta.facts.insert("coordinates".to_owned(), "slide".to_owned());
    }
    Ok((LabelMap { labels, grid: layout.grid, table, meta }, notices))
}

fn vec_of_labels(path: &Path, layout: &Layout) -> Result<Vec<u16>> {
    let n = layout.grid.size_ijk.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
    // Zeroed by the system: planes that stay empty take no memory.
    let zeroed = n.and_then(|n| bytemuck::allocation::try_zeroed_slice_box(n).ok());
    zeroed.map(<[u16]>::into_vec).ok_or_else(|| Error::OverLimit {
        path: path.to_owned(),
        needed: format!("{:?} voxels of labels", layout.grid.size_ijk),
        limit: "an allocation was refused".to_owned(),
        remedy: "Close other programs or use a machine with more memory".to_owned(),
    })
}

/// Makes sure that each frame of one structure says of which. A lone structure needs no saying.
fn name_segments(
    path: &Path,
    layout: &mut Layout,
    segments: &[Segment],
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let lone = <&[Segment; 1]>::try_from(segments).ok().map(|[s]| s.number);
    for (n, frame) in layout.frames.iter_mut().enumerate() {
        frame.segment = frame.segment.or(lone);
        if frame.segment.is_none() {
            return Err(Error::malformed(
                path,
                format!("frame {} names no segment", n + 1),
                "Segment Identification (PS3.3 C.8.20.3.1) of each frame",
            ));
        }
    }
    let known: std::collections::BTreeSet<u16> = segments.iter().map(|s| s.number).collect();
    let lost = layout.frames.iter().filter(|f| f.segment.is_none_or(|s| !known.contains(&s))).count();
    if lost > 0 {
        notices.push(Notice::warning(
            "frames-without-segment",
            format!("{lost} frames are of segments that are not in the Segment Sequence; they were left out"),
        ));
    }
    Ok(())
}

/// The label of each segment number: the one noted when this program renumbered, if all segments have one, otherwise the
/// number itself.
fn numbers(segments: &[Segment], notices: &mut Vec<Notice>) -> BTreeMap<u16, u16> {
    let noted: Vec<Option<u16>> = segments.iter().map(Segment::noted_label).collect();
    let distinct: std::collections::BTreeSet<_> = noted.iter().flatten().collect();
    let use_noted = distinct.len() == segments.len();
    let mut ids = BTreeMap::new();
    for (segment, noted) in segments.iter().zip(&noted) {
        let id = noted.filter(|_| use_noted).unwrap_or(segment.number);
        if ids.insert(segment.number, id).is_some() {
            notices.push(Notice::warning(
                "repeated-segment",
                format!(
                    "segment number {} occurs more than once; the structures are read as one",
                    segment.number
                ),
            ));
        }
    }
    // Number 0 is background in a label volume, and not allowed for these kinds (PS3.3 C.8.20.4).
    ids.retain(|_, id| *id != 0);
    ids
}

fn one_bit(path: &Path, stored: &Stored, task: &Task) -> Result<Bits> {
    let per_frame = stored.columns() * stored.rows();
    let mut bits = Bits::empty(path, stored.frames(), per_frame)?;
    for n in 0..stored.frames() {
        task.check()?;
        for (pixel, _) in stored.frame(n)?.iter().enumerate().filter(|(_, v)| **v != 0) {
            bits.set(n, pixel);
        }
    }
    Ok(bits)
}

fn fractional(
    object: Attributes<'_>,
    layout: &Layout,
    stored: &Stored,
    ids: &BTreeMap<u16, u16>,
    voxels: &mut [u16],
    notices: &mut Vec<Notice>,
    task: &Task,
) -> Result<Overlaps> {
    let largest = integer(object, tags::MAXIMUM_FRACTIONAL_VALUE).and_then(|v| u16::try_from(v).ok());
    let largest = largest.filter(|v| *v > 0).unwrap_or(255);
    let threshold = (f64::from(largest) * THRESHOLD).ceil() as u16;
    let meaning = match text(object, tags::SEGMENTATION_FRACTIONAL_TYPE).as_deref() {
        Some("OCCUPANCY") => "the part of it that is occupied",
        _ => "the probability",
    };
    notices.push(Notice::info(
        "fractions-cut",
        format!("a fractional segmentation: a voxel is in where {meaning} is {THRESHOLD} or more ({threshold} of {largest})"),
    ));
    let mut painted = Fractions::new(voxels.len(), threshold);
    for (n, frame) in layout.frames.iter().enumerate() {
        task.at("Reading structures", n as f32 / layout.frames.len() as f32)?;
        if let Some(&id) = frame.segment.and_then(|s| ids.get(&s)) {
            painted.paint(frame, &stored.frame(n)?, id, voxels);
        }
    }
    Ok(painted.overlaps)
}

/// Returns the number of voxels whose number no segment explains.
fn label_map(
    layout: &Layout,
    stored: &Stored,
    ids: &BTreeMap<u16, u16>,
    voxels: &mut [u16],
    task: &Task,
) -> Result<u64> {
    let mut unknown = 0;
    for (n, frame) in layout.frames.iter().enumerate() {
        task.at("Reading structures", n as f32 / layout.frames.len() as f32)?;
        for (pixel, value) in stored.frame(n)?.into_iter().enumerate() {
            let id = ids.get(&value).copied().unwrap_or_else(|| {
                unknown += 1;
                value
            });
            if id != 0
                && let Some(label) = frame.voxel(pixel).and_then(|v| voxels.get_mut(v))
            {
                *label = id;
            }
        }
    }
    Ok(unknown)
}

fn table(object: Attributes<'_>, segments: &[Segment], ids: &BTreeMap<u16, u16>) -> LabelTable {
    let palette = labelmap::palette(object);
    let mut entries: Vec<LabelEntry> = Vec::new();
    for segment in segments {
        let Some(&id) = ids.get(&segment.number).filter(|id| **id != 0) else { continue };
        if entries.iter().any(|e| e.id == id) {
            continue;
        }
        let mut entry = segment.entry(id);
        if segment.rgb.is_none()
            && let Some(rgb) = palette.get(&segment.number)
        {
            entry.rgb = *rgb;
        }
        entries.push(entry);
    }
    LabelTable { entries }
}

fn place_notices(
    layout: &Layout,
    source: Option<&Volume>,
    object: Attributes<'_>,
    notices: &mut Vec<Notice>,
) {
    if layout.slide {
        notices.push(Notice::info(
            "slide-coordinates",
            "positions are those of a microscope slide, not of a patient; left and right have no meaning",
        ));
    }
    let Some(source) = source else { return };
    if !layout.on_source {
        notices.push(Notice::warning(
            "own-grid",
            "the planes of the segmentation are not slices of the image; it stays on its own grid",
        ));
    }
    let of = |o: &InMemDicomObject| text(o, tags::FRAME_OF_REFERENCE_UID);
    let image = source.meta.dicom.as_deref().and_then(|o| of(&o.header));
    if let (Some(image), Some(own)) = (image, of(object))
        && image != own
    {
        notices.push(Notice::warning(
            "frames-of-reference-differ",
            format!("the segmentation is in frame of reference {own}, the image in {image}: positions may not agree"),
        ));
    }
}

fn facts(object: Attributes<'_>, segments: &[Segment], kind: &str) -> BTreeMap<String, String> {
    let algorithms: std::collections::BTreeSet<_> = segments.iter().map(|s| s.algorithm.as_str()).collect();
    let algorithms = algorithms.into_iter().filter(|a| !a.is_empty()).collect::<Vec<_>>().join("; ");
    let facts = [
        ("segmentation-type", Some(kind.to_owned())),
        ("algorithm", Some(algorithms).filter(|a| !a.is_empty())),
        ("content-label", text(object, tags::CONTENT_LABEL)),
        ("frame-of-reference-uid", text(object, tags::FRAME_OF_REFERENCE_UID)),
        ("referenced-series-uid", first_referenced_series(object)),
    ];
    facts.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect()
}
