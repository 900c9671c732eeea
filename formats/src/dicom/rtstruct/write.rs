//! Labels into contours.

use std::collections::BTreeMap;
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::trace::Mask;
use super::{Holes, RtOptions};
use crate::dicom::attributes::{Put, text};
use crate::dicom::codes::Coding;
use crate::dicom::modules::{self, frame_of_reference, instances, new_uid, now, reference};
use crate::dicom::origin::Origin;
use crate::dicom::place::{flip, on_source};
use crate::dicom::seg::entry;
use crate::error::{Error, Result};
use crate::labels::LabelMap;
use crate::notice::Notice;
use crate::task::Task;

/// Writes labels as a structure set of the series they were made on (`labels.meta.dicom`), in that series' study: one ROI
/// per label that occurs, numbered as the label, contours along the borders of voxels in the slices of the series.
///
/// Labels on another grid than the series' are outlined in their own slices, with a notice. The file appears whole or not at
/// all.
///
/// # Errors
/// [`Error::Argument`] without a DICOM origin or without any label; [`Error::Io`]; [`Error::Cancelled`].
pub fn write(labels: &LabelMap, options: &RtOptions, path: &Path, task: &Task) -> Result<Vec<Notice>> {
    let origin = labels.meta.dicom.as_deref().ok_or_else(|| {
        Error::Argument(
            "these labels do not come from a DICOM series, so a structure set has no patient and no frame of \
             reference; save them as NIfTI, or run on the DICOM series itself"
                .to_owned(),
        )
    })?;
    let mut notices = Vec::new();
    let (voxels, grid, aligned) = on_source(labels, &origin.grid);
    if !aligned {
        notices.push(Notice::info(
            "own-grid",
            "the labels lie on another grid than the source series; contours are drawn in their own slices",
        ));
    }
    let [columns, rows, slices] = grid.size_ijk;
    let voxels = voxels.as_slice().unwrap_or_default();
    let mut seen = vec![false; 1 << 16];
    voxels.iter().for_each(|&v| seen[usize::from(v)] = true);
    let ids: Vec<u16> = (1..=u16::MAX).filter(|&id| seen[usize::from(id)]).collect();
    if ids.is_empty() {
        return Err(Error::Argument("there is no label to write: every voxel is background".to_owned()));
    }
    // Contours of each label, slice by slice.
    let mut contours: Vec<Vec<InMemDicomObject>> = ids.iter().map(|_| Vec::new()).collect();
    for k in 0..slices {
        task.at("Drawing contours", k as f32 / slices as f32 * 0.9)?;
        let plane = voxels.get(k * columns * rows..(k + 1) * columns * rows).unwrap_or_default();
        let boxes = boxes(plane, columns);
        let image = origin.slices.get(k).filter(|_| aligned).and_then(Option::as_ref);
        for (id, out) in ids.iter().zip(&mut contours) {
            let Some(&Extent { first, last }) = boxes.get(id) else { continue };
            let (width, height) = (last[0] - first[0] + 1, last[1] - first[1] + 1);
            let rows = (first[1]..=last[1])
                .filter_map(|r| plane.get(r * columns + first[0]..r * columns + last[0] + 1));
            let cut: Vec<u16> = rows.flatten().copied().collect();
            let mask = Mask { labels: &cut, columns: width, rows: height, id: *id };
            let loops = match options.holes {
                Holes::Keyhole => mask.keyholes(),
                Holes::Xor => mask.loops(),
            };
            for points in loops {
                let mut data = Vec::with_capacity(points.len() * 3);
                for [x, y] in &points {
                    let ijk = [
                        f64::from(*x) / 4.0 + first[0] as f64,
                        f64::from(*y) / 4.0 + first[1] as f64,
                        k as f64,
                    ];
                    data.extend(flip(grid.world_from_voxel.apply(ijk)));
                }
                let mut item = InMemDicomObject::new_empty();
                if let Some(image) = image {
                    item.sequence(tags::CONTOUR_IMAGE_SEQUENCE, vec![reference(image)]);
                }
                let kind = match options.holes {
                    Holes::Keyhole => "CLOSED_PLANAR",
                    Holes::Xor => "CLOSEDPLANAR_XOR",
                };
                item.text(tags::CONTOUR_GEOMETRIC_TYPE, kind);
                item.text(tags::NUMBER_OF_CONTOUR_POINTS, &points.len().to_string());
                item.decimals(tags::CONTOUR_DATA, &data);
                out.push(item);
            }
        }
    }

    let mut d = modules::start(Some(&origin.header), uids::RT_STRUCTURE_SET_STORAGE);
    modules::series(&mut d, "RTSTRUCT", options.series_number, &options.series_description);
    d.empty(tags::OPERATORS_NAME);
    modules::equipment(&mut d);
    if !frame_of_reference(&mut d, &origin.header) {
        notices.push(Notice::warning(
            "no-frame-of-reference",
            "the source series has no Frame of Reference UID; a new one was made up",
        ));
    }
    let frame = text(&d, tags::FRAME_OF_REFERENCE_UID).unwrap_or_else(new_uid);
    let (date, time) = now();
    d.text(tags::INSTANCE_NUMBER, "1");
    d.text(tags::STRUCTURE_SET_LABEL, &options.label);
    d.text(tags::STRUCTURE_SET_DATE, &date);
    d.text(tags::STRUCTURE_SET_TIME, &time);
    d.sequence(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE, vec![referenced_frame(&d, origin, &frame)]);
    let (mut named, mut drawn, mut observed) = (Vec::new(), Vec::new(), Vec::new());
    for (&id, contours) in ids.iter().zip(contours) {
        let row = entry(labels, id);
        let number = id.to_string();
        let mut roi = InMemDicomObject::new_empty();
        roi.text(tags::ROI_NUMBER, &number);
        roi.text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, &frame);
        roi.text(tags::ROI_NAME, &row.name);
        roi.text(tags::ROI_GENERATION_ALGORITHM, options.algorithm.term());
        named.push(roi);
        let mut lines = InMemDicomObject::new_empty();
        lines.texts(tags::ROI_DISPLAY_COLOR, &row.rgb.map(|v| v.to_string()).each_ref().map(String::as_str));
        lines.sequence(tags::CONTOUR_SEQUENCE, contours);
        lines.text(tags::REFERENCED_ROI_NUMBER, &number);
        drawn.push(lines);
        let mut observation = InMemDicomObject::new_empty();
        observation.text(tags::OBSERVATION_NUMBER, &number);
        observation.text(tags::REFERENCED_ROI_NUMBER, &number);
        let coding = row.coding.or_else(|| Coding::of_name(&row.name));
        if let Some(coding) = coding {
            observation.sequence(tags::RTROI_IDENTIFICATION_CODE_SEQUENCE, vec![coding.kind.to_item()]);
        }
        observation.empty(tags::RTROI_INTERPRETED_TYPE);
        observation.empty(tags::ROI_INTERPRETER);
        observed.push(observation);
    }
    d.sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, named);
    d.sequence(tags::ROI_CONTOUR_SEQUENCE, drawn);
    d.sequence(tags::RTROI_OBSERVATIONS_SEQUENCE, observed);
    d.text(tags::APPROVAL_STATUS, "UNAPPROVED");
    task.at("Writing contours", 0.95)?;
    modules::write(d, path)?;
    Ok(notices)
}

/// Columns and rows from the first to the last in which a label occurs.
struct Extent {
    first: [usize; 2],
    last: [usize; 2],
}

/// Where each label of a plane is, so that only that part is traced.
fn boxes(plane: &[u16], columns: usize) -> BTreeMap<u16, Extent> {
    let mut boxes: BTreeMap<u16, Extent> = BTreeMap::new();
    for (r, row) in plane.chunks(columns.max(1)).enumerate() {
        // Runs of one label are looked up once.
        let mut start = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let end = start + run.len() - 1;
            if let Some(&id) = run.first().filter(|id| **id != 0) {
                let b = boxes.entry(id).or_insert(Extent { first: [start, r], last: [end, r] });
                b.first[0] = b.first[0].min(start);
                b.last = [b.last[0].max(end), r];
            }
            start = end + 1;
        }
    }
    boxes
}

/// The study, series and all instances that the contours belong to (PS3.3 C.8.8.5).
fn referenced_frame(d: &InMemDicomObject, origin: &Origin, frame: &str) -> InMemDicomObject {
    let mut series = InMemDicomObject::new_empty();
    let uid = text(&origin.header, tags::SERIES_INSTANCE_UID).unwrap_or_default();
    series.text(tags::SERIES_INSTANCE_UID, &uid);
    series.sequence(tags::CONTOUR_IMAGE_SEQUENCE, instances(origin).iter().map(reference).collect());
    let mut study = InMemDicomObject::new_empty();
    study.text(tags::REFERENCED_SOP_CLASS_UID, "1.2.840.10008.3.1.2.3.1"); // Detached Study Management
    study.text(tags::REFERENCED_SOP_INSTANCE_UID, &text(d, tags::STUDY_INSTANCE_UID).unwrap_or_default());
    study.sequence(tags::RT_REFERENCED_SERIES_SEQUENCE, vec![series]);
    let mut item = InMemDicomObject::new_empty();
    item.text(tags::FRAME_OF_REFERENCE_UID, frame);
    item.sequence(tags::RT_REFERENCED_STUDY_SEQUENCE, vec![study]);
    item
}
