//! Labels into a segmentation object.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::binary::Bits;
use super::{Encoding, SegOptions, segments};
use crate::dicom::attributes::Put;
use crate::dicom::codes::Code;
use crate::dicom::modules::{self, frame_of_reference, new_uid, now, source_image};
use crate::dicom::origin::Origin;
use crate::dicom::place::{Planes, on_source};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::labels::{LabelEntry, LabelMap, default_rgb};
use crate::notice::Notice;
use crate::task::Task;

/// Writes labels as a segmentation of the series they were made on (`labels.meta.dicom`), in that series' study.
///
/// Labels on the grid of the series, or on a flip or permutation of it, are stored in its planes and refer to its
/// instances one by one; others keep their own planes in the same frame of reference, with a notice. Structures without
/// voxels are left out. The file appears whole or not at all.
///
/// # Errors
/// [`Error::Argument`] without a DICOM origin, without any label, or when rows and columns are not at right angles;
/// [`Error::OverLimit`] when the frames do not fit one DICOM element; [`Error::Io`]; [`Error::Cancelled`].
pub fn write(labels: &LabelMap, options: &SegOptions, path: &Path, task: &Task) -> Result<Vec<Notice>> {
    let origin = labels.meta.dicom.as_deref().ok_or_else(|| {
        Error::Argument(
            "these labels do not come from a DICOM series, so a DICOM segmentation has no patient and no frame of \
             reference; save them as NIfTI, or run on the DICOM series itself"
                .to_owned(),
        )
    })?;
    let mut notices = Vec::new();
    let (voxels, grid, aligned) = on_source(labels, &origin.grid);
    if !aligned {
        notices.push(Notice::info(
            "own-grid",
            "the labels lie on another grid than the source series; they are written on their own planes",
        ));
    }
    let planes = Planes::of(&grid)?;
    let voxels = voxels.as_slice().unwrap_or_default();
    let used = Used::of(voxels, &grid, task)?;
    if used.slices.is_empty() {
        return Err(Error::Argument("there is no label to write: every voxel is background".to_owned()));
    }
    let entries: Vec<LabelEntry> = used.ids().map(|id| entry(labels, id)).collect();

    let class = match options.encoding {
        Encoding::Binary => uids::SEGMENTATION_STORAGE,
        Encoding::LabelMap => uids::LABEL_MAP_SEGMENTATION_STORAGE,
    };
    let mut d = modules::start(Some(&origin.header), class);
    modules::series(&mut d, "SEG", options.series_number, &options.series_description);
    if !frame_of_reference(&mut d, &origin.header) {
        notices.push(Notice::warning(
            "no-frame-of-reference",
            "the source series has no Frame of Reference UID; a new one was made up, which ties the segmentation to \
             nothing but the instances it names",
        ));
    }
    modules::equipment(&mut d);
    modules::referenced_series(&mut d, origin);
    head(&mut d, &grid, options);
    let frames = match options.encoding {
        Encoding::Binary => binary(&mut d, voxels, &grid, &used, &entries, options, path, task)?,
        Encoding::LabelMap => label_map(&mut d, voxels, &grid, &used, &entries, options, path)?,
    };
    dimensions(&mut d, options.encoding);
    shared_groups(&mut d, &planes);
    let source = |k: usize| origin.slices.get(k).filter(|_| aligned);
    let items =
        frames.iter().map(|f| frame_groups(f, &planes, source(f.slice).and_then(Option::as_ref), origin));
    d.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, items.collect());
    d.text(tags::NUMBER_OF_FRAMES, &frames.len().to_string());
    task.at("Writing the segmentation", 0.9)?;
    modules::write(d, path)?;
    Ok(notices)
}

/// The row of a label, with a name and a colour in any case.
pub(in crate::dicom) fn entry(labels: &LabelMap, id: u16) -> LabelEntry {
    let known = labels.table.get(id).cloned();
    known.unwrap_or_else(|| LabelEntry::new(id, labels.table.name(id), default_rgb(id)))
}

/// Which labels occur in which slices.
struct Used {
    /// Slices in ascending order by label.
    by_label: BTreeMap<u16, Vec<usize>>,
    /// Slices with any label, ascending.
    slices: Vec<usize>,
}

impl Used {
    fn of(voxels: &[u16], grid: &Grid, task: &Task) -> Result<Self> {
        let per_slice = (grid.size_ijk[0] * grid.size_ijk[1]).max(1);
        let mut by_label: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        let mut slices = Vec::new();
        let mut seen = vec![false; 1 << 16];
        for (k, slice) in voxels.chunks(per_slice).enumerate() {
            task.check()?;
            seen.fill(false);
            slice.iter().for_each(|&v| seen[usize::from(v)] = true);
            let here = (1..=u16::MAX).filter(|&id| seen[usize::from(id)]);
            let before = by_label.values().map(Vec::len).sum::<usize>();
            here.for_each(|id| by_label.entry(id).or_default().push(k));
            if by_label.values().map(Vec::len).sum::<usize>() > before {
                slices.push(k);
            }
        }
        Ok(Self { by_label, slices })
    }

    fn ids(&self) -> impl Iterator<Item = u16> + '_ {
        self.by_label.keys().copied()
    }
}

/// One frame to be described: its slice and its place in the dimensions.
struct FrameHead {
    slice: usize,
    /// Segment number, for one-bit frames.
    segment: Option<u16>,
    /// Dimension Index Values.
    index: Vec<u32>,
}

/// What both kinds have in common of the image modules.
fn head(d: &mut InMemDicomObject, grid: &Grid, options: &SegOptions) {
    let (date, time) = now();
    d.text(tags::CONTENT_DATE, &date);
    d.text(tags::CONTENT_TIME, &time);
    d.text(tags::INSTANCE_NUMBER, "1");
    d.texts(tags::IMAGE_TYPE, &["DERIVED", "PRIMARY"]);
    d.text(tags::CONTENT_LABEL, "SEGMENTATION");
    d.text(tags::CONTENT_DESCRIPTION, &options.series_description);
    d.text(tags::CONTENT_CREATOR_NAME, &options.creator);
    d.shorts(tags::SAMPLES_PER_PIXEL, &[1]);
    d.text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2");
    d.shorts(tags::PIXEL_REPRESENTATION, &[0]);
    d.text(tags::LOSSY_IMAGE_COMPRESSION, "00");
    d.text(tags::SEGMENTS_OVERLAP, "NO");
    let side = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    d.shorts(tags::COLUMNS, &[side(grid.size_ijk[0])]);
    d.shorts(tags::ROWS, &[side(grid.size_ijk[1])]);
}

fn bits(d: &mut InMemDicomObject, n: u16) {
    d.shorts(tags::BITS_ALLOCATED, &[n]);
    d.shorts(tags::BITS_STORED, &[n]);
    d.shorts(tags::HIGH_BIT, &[n - 1]);
}

fn binary(
    d: &mut InMemDicomObject,
    voxels: &[u16],
    grid: &Grid,
    used: &Used,
    entries: &[LabelEntry],
    options: &SegOptions,
    path: &Path,
    task: &Task,
) -> Result<Vec<FrameHead>> {
    bits(d, 1);
    d.text(tags::SEGMENTATION_TYPE, "BINARY");
    let numbered = || entries.iter().zip(1_u16..);
    d.sequence(tags::SEGMENT_SEQUENCE, numbered().map(|(e, n)| segments::write(n, e, options)).collect());
    let plane = |k: usize| used.slices.binary_search(&k).map_or(0, |n| n as u32 + 1);
    let mut frames = Vec::new();
    let mut first_frame: BTreeMap<u16, usize> = BTreeMap::new();
    for (e, number) in numbered() {
        first_frame.insert(e.id, frames.len());
        let slices = used.by_label.get(&e.id).into_iter().flatten();
        frames.extend(slices.map(|&k| FrameHead {
            slice: k,
            segment: Some(number),
            index: vec![u32::from(number), plane(k)],
        }));
    }
    let per_slice = grid.size_ijk[0] * grid.size_ijk[1];
    let mut packed = Bits::empty(path, frames.len(), per_slice)?;
    for &k in &used.slices {
        task.at("Packing structures", k as f32 / grid.size_ijk[2] as f32 * 0.8)?;
        let slice = voxels.get(k * per_slice..(k + 1) * per_slice).unwrap_or_default();
        // The frame of the label met last: runs of one label are the rule.
        let mut last = (0_u16, 0_usize);
        for (pixel, &id) in slice.iter().enumerate().filter(|(_, v)| **v != 0) {
            if id != last.0 {
                let nth = used.by_label.get(&id).and_then(|s| s.binary_search(&k).ok()).unwrap_or(0);
                last = (id, first_frame.get(&id).copied().unwrap_or(0) + nth);
            }
            packed.set(last.1, pixel);
        }
    }
    let value = PrimitiveValue::U8(packed.into_bytes().into());
    d.put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
    Ok(frames)
}

fn label_map(
    d: &mut InMemDicomObject,
    voxels: &[u16],
    grid: &Grid,
    used: &Used,
    entries: &[LabelEntry],
    options: &SegOptions,
    path: &Path,
) -> Result<Vec<FrameHead>> {
    d.text(tags::SEGMENTATION_TYPE, "LABELMAP");
    let mut items = vec![segments::background(options)];
    items.extend(entries.iter().map(|e| segments::write(e.id, e, options)));
    d.sequence(tags::SEGMENT_SEQUENCE, items);
    d.shorts(tags::PIXEL_PADDING_VALUE, &[0]);
    let per_slice = grid.size_ijk[0] * grid.size_ijk[1];
    let wide = entries.iter().any(|e| e.id > 255);
    let bytes = used.slices.len() * per_slice * if wide { 2 } else { 1 };
    if bytes >= u32::MAX as usize {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("{bytes} bytes of labels"),
            limit: "a DICOM element holds 4 GiB".to_owned(),
            remedy: "Write one bit per voxel instead".to_owned(),
        });
    }
    let planes = used.slices.iter().filter_map(|&k| voxels.get(k * per_slice..(k + 1) * per_slice));
    let stored = planes.flatten().copied();
    let value = if wide {
        bits(d, 16);
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(stored.collect()))
    } else {
        bits(d, 8);
        let mut bytes: Vec<u8> = stored.map(|v| v as u8).collect();
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into()))
    };
    d.put(value);
    let frame = |(&k, n): (&usize, u32)| FrameHead { slice: k, segment: None, index: vec![n] };
    Ok(used.slices.iter().zip(1..).map(frame).collect())
}

/// Multi-frame Dimension (PS3.3 C.7.6.17): by structure, then by position; label maps by position only.
fn dimensions(d: &mut InMemDicomObject, encoding: Encoding) {
    let uid = new_uid();
    let mut organization = InMemDicomObject::new_empty();
    organization.text(tags::DIMENSION_ORGANIZATION_UID, &uid);
    d.sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    let by = |pointer: Tag, group: Tag, label: &str| {
        let mut item = InMemDicomObject::new_empty();
        item.text(tags::DIMENSION_ORGANIZATION_UID, &uid);
        let tag = |t: Tag| PrimitiveValue::Tags([t].into_iter().collect());
        item.put(DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, tag(pointer)));
        item.put(DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, tag(group)));
        item.text(tags::DIMENSION_DESCRIPTION_LABEL, label);
        item
    };
    let structure =
        by(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "Segment Number");
    let position = by(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position Patient");
    let items = match encoding {
        Encoding::Binary => vec![structure, position],
        Encoding::LabelMap => vec![position],
    };
    d.sequence(tags::DIMENSION_INDEX_SEQUENCE, items);
}

/// Functional groups that all frames share (PS3.3 C.7.6.16): orientation and spacing.
fn shared_groups(d: &mut InMemDicomObject, planes: &Planes) {
    let mut orientation = InMemDicomObject::new_empty();
    orientation.decimals(tags::IMAGE_ORIENTATION_PATIENT, &planes.orientation);
    let mut measures = InMemDicomObject::new_empty();
    measures.decimals(tags::PIXEL_SPACING, &planes.pixel_spacing);
    measures.decimals(tags::SLICE_THICKNESS, &[planes.spacing]);
    measures.decimals(tags::SPACING_BETWEEN_SLICES, &[planes.spacing]);
    let mut shared = InMemDicomObject::new_empty();
    shared.sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![orientation]);
    shared.sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    d.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
}

fn frame_groups(
    frame: &FrameHead,
    planes: &Planes,
    source: Option<&crate::dicom::SliceRef>,
    origin: &Origin,
) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    let mut content = InMemDicomObject::new_empty();
    let index = PrimitiveValue::U32(frame.index.iter().copied().collect());
    content.put(DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index));
    item.sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
    let mut position = InMemDicomObject::new_empty();
    position.decimals(tags::IMAGE_POSITION_PATIENT, &planes.position(frame.slice));
    item.sequence(tags::PLANE_POSITION_SEQUENCE, vec![position]);
    if let Some(number) = frame.segment {
        let mut segment = InMemDicomObject::new_empty();
        segment.shorts(tags::REFERENCED_SEGMENT_NUMBER, &[number]);
        item.sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![segment]);
    }
    // Without a slice of its own (another grid, or a slice that was missing) a frame names nothing: the series is
    // named once for all.
    if let Some(source) = source.filter(|_| !origin.slices.is_empty()) {
        let mut image = source_image(source);
        image.text(tags::SPATIAL_LOCATIONS_PRESERVED, "YES");
        let mut derivation = InMemDicomObject::new_empty();
        derivation.sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![image]);
        let code = Code::new("113076", "DCM", "Segmentation").to_item();
        derivation.sequence(tags::DERIVATION_CODE_SEQUENCE, vec![code]);
        item.put(DataElement::new(
            tags::DERIVATION_IMAGE_SEQUENCE,
            VR::SQ,
            DataSetSequence::new(vec![derivation], Length::UNDEFINED),
        ));
    }
    item
}
