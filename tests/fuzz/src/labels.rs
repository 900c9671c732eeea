//! Label maps that go to DICOM and come back.

use std::path::Path;
use std::sync::Arc;

use formats::dicom::Origin;
use formats::dicom::seg::{self, Encoding, SegOptions};
use formats::{Affine, Error, Grid, LabelMap, Task, Volume, Voxels};

use crate::{Place, images};

/// The image that the first inputs of segmentations and structure sets belong to: 6 × 4 × 3 voxels.
pub fn source() -> Volume {
    let world_from_voxel = Affine([[-0.75, 0.0, 0.0, 10.0], [0.0, -0.5, 0.0, 20.0], [0.0, 0.0, 2.5, 30.0]]);
    let grid = Grid { size_ijk: [6, 4, 3], world_from_voxel };
    let voxels = Voxels::U8(ndarray::Array3::zeros((3, 4, 6)).into_shared());
    let mut volume = Volume::new(voxels, grid).expect("the array fits the grid");
    volume.meta.dicom = Some(origin(&grid));
    volume
}

/// The least that results need to know of a series.
fn origin(grid: &Grid) -> Arc<Origin> {
    let header = Arc::new(dicom_object::InMemDicomObject::new_empty());
    Arc::new(Origin { header, grid: *grid, slices: vec![None; grid.size_ijk[2]], instances: Vec::new() })
}

/// What was read, or `None` when the error is one about the file.
pub fn given<T>(result: Result<T, Error>) -> Option<T> {
    result.map_err(|e| images::blames_the_file(&e)).ok()
}

/// Writes labels as segmentations of both kinds, reads them on their own planes and compares where each voxel lies.
pub fn through_seg(map: &LabelMap) {
    let mut map = map.clone();
    map.meta.dicom = Some(origin(&map.grid));
    for encoding in [Encoding::Binary, Encoding::LabelMap] {
        let out = Place::get().path("out.dcm");
        let options = SegOptions { encoding, ..SegOptions::default() };
        if !is_written(seg::write(&map, &options, &out, &Task::silent())) {
            return;
        }
        let (back, _) = seg::read(&out, None, &Task::silent()).expect("what was written can be read");
        compare(&map, &back);
    }
}

/// Whether the labels could be written; no label and a sheared grid are reasons why not.
pub fn is_written<T>(result: Result<T, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(Error::Argument(_) | Error::OverLimit { .. }) => false,
        Err(e) => panic!("writing failed: {e}"),
    }
}

fn compare(a: &LabelMap, b: &LabelMap) {
    let count = |m: &LabelMap| m.labels.iter().filter(|v| **v != 0).count();
    assert_eq!(count(a), count(b), "voxels with a label");
    let voxel_from_world = b.grid.voxel_from_world().expect("a placement that can be undone");
    for ((k, j, i), &label) in a.labels.indexed_iter().filter(|(_, v)| **v != 0) {
        let world = a.grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        let [x, y, z] = voxel_from_world.apply(world).map(|v| v.round() as usize);
        assert_eq!(b.labels.get([z, y, x]), Some(&label), "voxel {i} {j} {k}");
    }
}

/// Same labels on the same grid.
pub fn same(a: &LabelMap, path: &Path, back: Result<LabelMap, Error>) {
    let b = back.unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()));
    assert!(a.grid == b.grid && a.labels == b.labels, "labels differ");
}
