//! Segmentations of whole slides: tiles of one large plane (PS3.3 C.7.6.17.3, C.8.12.14).

use std::path::Path;

use dicom_dictionary_std::tags;

use super::layout::{Frame, Groups, Layout, MAX_SPARSE_BYTES, dimension_type};
use crate::affine::Affine;
use crate::dicom::attributes::{Attributes, array, first, integer, items, numbers};
use crate::dicom::place::{cross, flip};
use crate::error::{Error, Result};
use crate::grid::Grid;

/// Lays tiles out on the total pixel matrix. The slide's coordinates take the place of the patient's.
pub(super) fn lay_out(
    path: &Path,
    object: Attributes<'_>,
    groups: &Groups<'_>,
    tile: [usize; 2],
    segments: Vec<Option<u16>>,
) -> Result<Layout> {
    let side = |tag| integer(object, tag).and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
    let total = side(tags::TOTAL_PIXEL_MATRIX_COLUMNS).zip(side(tags::TOTAL_PIXEL_MATRIX_ROWS));
    let (columns, rows) = total.ok_or_else(|| {
        Error::malformed(path, "no size of the total pixel matrix", "Total Pixel Matrix Columns and Rows")
    })?;
    let count = segments.len();
    let stored = count.saturating_mul(tile[0] * tile[1]);
    let needed = columns.saturating_mul(rows);
    // Tiles that hold nothing need not be stored, but a few must not ask for all memory.
    let allowed = stored.saturating_mul(256).max(1 << 24).min(stored.max(MAX_SPARSE_BYTES / 2));
    if needed > allowed {
        return Err(Error::OverLimit {
            path: path.to_owned(),
            needed: format!("a plane of {columns}×{rows} for {count} tiles"),
            limit: format!("{allowed} pixels are allowed for so many tiles"),
            remedy: "Use a lower resolution of the slide".to_owned(),
        });
    }
    let measures = groups.get(0, tags::PIXEL_MEASURES_SEQUENCE);
    let spacing = measures.and_then(|m| array::<2>(m, tags::PIXEL_SPACING)).unwrap_or([1.0; 2]);
    let thickness = measures.and_then(|m| numbers(m, tags::SLICE_THICKNESS).first().copied()).unwrap_or(1.0);
    let full = dimension_type(object) == "TILED_FULL";
    let across = columns.div_ceil(tile[0].max(1));
    let per_plane = across * rows.div_ceil(tile[1].max(1));
    let mut frames = Vec::with_capacity(count);
    let numbers: Vec<_> =
        items(object, tags::SEGMENT_SEQUENCE).iter().map(|s| integer(s, tags::SEGMENT_NUMBER)).collect();
    for (n, stated) in segments.into_iter().enumerate() {
        let mut segment = stated;
        let [column, row] = if full {
            // All tiles of the first structure, then those of the second (PS3.3 C.7.6.17.3).
            let implied = numbers.get(n / per_plane).copied().flatten();
            segment = stated.or(implied.and_then(|v| u16::try_from(v).ok()));
            let at = n % per_plane;
            [at % across * tile[0], at / across * tile[1]]
        } else {
            let position = groups.get(n, tags::PLANE_POSITION_SLIDE_SEQUENCE);
            let one = |tag| {
                position.and_then(|p| integer(p, tag)).and_then(|v| usize::try_from(v.checked_sub(1)?).ok())
            };
            let at = one(tags::COLUMN_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX)
                .zip(one(tags::ROW_POSITION_IN_TOTAL_IMAGE_PIXEL_MATRIX));
            let (column, row) = at.ok_or_else(|| {
                Error::malformed(
                    path,
                    format!("tile {} without a position", n + 1),
                    "its place in the total matrix",
                )
            })?;
            [column, row]
        };
        let used = [columns.saturating_sub(column).min(tile[0]), rows.saturating_sub(row).min(tile[1])];
        let start = row.saturating_mul(columns).saturating_add(column).min(needed) as isize;
        frames.push(Frame::new(segment, start, [1, columns as isize], used, tile));
    }
    let o = array::<6>(object, tags::IMAGE_ORIENTATION_SLIDE).unwrap_or([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let (row, column) = ([o[0], o[1], o[2]], [o[3], o[4], o[5]]);
    let origin = first(object, tags::TOTAL_PIXEL_MATRIX_ORIGIN_SEQUENCE);
    let origin = origin.and_then(|i| {
        let [x] = array::<1>(i, tags::X_OFFSET_IN_SLIDE_COORDINATE_SYSTEM)?;
        let [y] = array::<1>(i, tags::Y_OFFSET_IN_SLIDE_COORDINATE_SYSTEM)?;
        Some([x, y, 0.0])
    });
    let steps = [
        row.map(|v| v * spacing[1]),
        column.map(|v| v * spacing[0]),
        cross(row, column).map(|v| v * thickness),
    ];
    let world_from_voxel = Affine::from_columns(steps.map(flip), flip(origin.unwrap_or_default()));
    if world_from_voxel.inverse().is_none() {
        return Err(Error::malformed(
            path,
            format!("the orientation {o:?}"),
            "two directions at right angles",
        ));
    }
    Ok(Layout {
        grid: Grid { size_ijk: [columns, rows, 1], world_from_voxel },
        frames,
        on_source: false,
        slide: true,
    })
}
