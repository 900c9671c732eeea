//! RT structure sets against other programs' reading, and labels written and read back.

mod common;
mod dicom_common;

use common::{all_orders, shared};
use dicom_common::{counts, labels_on, oblique, origin, truth};
use formats::dicom::rtstruct::{self, Holes, RtOptions};
use formats::volume::reorder;
use formats::{Affine, Grid, LabelMap, Meta, Task, Volume, Voxels};
use ndarray::Array3;
use proptest::prelude::*;

fn image(grid: &Grid) -> Volume {
    Volume::new(Voxels::U8(Array3::zeros(grid.shape_kji()).into_shared()), *grid).unwrap()
}

#[test]
fn centres_inside_are_in_as_matplotlib_says() {
    let Some(data) = shared("centres_inside_are_in_as_matplotlib_says") else { return };
    // The two CT slices that the contours were drawn on, as the truth table of the shared data places them.
    let grid = Grid {
        size_ijk: [512, 512, 2],
        world_from_voxel: Affine([
            [-0.488_281, 0.0, 0.0, 125.0],
            [0.0, -0.488_281, 0.0, 125.0],
            [0.0, 0.0, 5.0, 60.0],
        ]),
    };
    let path = data.join("dicom/series_rtstruct/rt.dcm");
    let truth = &truth()["contours"];
    for order in all_orders() {
        let (labels, notices) =
            rtstruct::read(&path, &image(&grid.reordered(order)), &Task::silent()).unwrap();
        assert!(notices.is_empty(), "{notices:?}");
        assert_eq!(labels.table.entries.len(), 1);
        let row = &labels.table.entries[0];
        assert_eq!(
            (row.id, row.name.as_str(), row.rgb),
            (1, truth["name"].as_str().unwrap(), [162, 136, 95])
        );
        assert_eq!(counts(&labels)[&1], truth["voxels"][0].as_u64().unwrap(), "{order:?}");
    }
    // rt-utils paints the border pixels too: all of ours are among its.
    assert_eq!(truth["in_both"], truth["voxels"]);
}

#[test]
fn labels_come_back_from_contours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rt.dcm");
    let mut sheared = oblique([9, 7, 5]);
    sheared.world_from_voxel.0[0][2] += 0.3;
    for grid in [oblique([9, 7, 5]), oblique([8, 8, 1]), sheared] {
        let original = labels_on(&grid);
        for order in all_orders() {
            let stored = LabelMap {
                labels: reorder(&original.labels, order),
                grid: original.grid.reordered(order),
                ..original.clone()
            };
            for holes in [Holes::Keyhole, Holes::Xor] {
                let options = RtOptions { holes, ..RtOptions::default() };
                let notices = rtstruct::write(&stored, &options, &path, &Task::silent()).unwrap();
                assert!(notices.is_empty(), "{notices:?}");
                let (back, notices) = rtstruct::read(&path, &image(&grid), &Task::silent()).unwrap();
                assert!(notices.is_empty(), "{notices:?}");
                assert_eq!(back.labels, original.labels, "{order:?} {holes:?}");
                let ids = counts(&back);
                for e in original.table.entries.iter().filter(|e| ids.contains_key(&e.id)) {
                    let got = back.table.get(e.id).unwrap();
                    assert_eq!((&got.name, got.rgb), (&e.name, e.rgb));
                }
            }
        }
    }
}

#[test]
fn contours_across_other_axes_are_filled_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rt.dcm");
    let grid = oblique([9, 7, 5]);
    let original = labels_on(&grid);
    rtstruct::write(&original, &RtOptions::default(), &path, &Task::silent()).unwrap();
    // The same voxels stored with other axes first: the contours are then sagittal and coronal ones.
    for order in all_orders() {
        let (back, _) = rtstruct::read(&path, &image(&grid.reordered(order)), &Task::silent()).unwrap();
        assert_eq!(back.labels, reorder(&original.labels, order), "{order:?}");
    }
}

#[test]
fn contours_that_miss_the_slices_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rt.dcm");
    let grid = oblique([9, 7, 5]);
    let original = labels_on(&grid);
    rtstruct::write(&original, &RtOptions::default(), &path, &Task::silent()).unwrap();
    let mut between = grid;
    (0..3).for_each(|r| between.world_from_voxel.0[r][3] += 0.5 * grid.world_from_voxel.0[r][2]);
    let (none, notices) = rtstruct::read(&path, &image(&between), &Task::silent()).unwrap();
    assert!(counts(&none).is_empty());
    assert!(notices.iter().any(|n| n.code == "contours-between-slices"), "{notices:?}");
    let below = grid.window([0, 0, 2], [9, 7, 3]);
    let (some, notices) = rtstruct::read(&path, &image(&below), &Task::silent()).unwrap();
    assert!(notices.iter().any(|n| n.code == "contours-outside"), "{notices:?}");
    assert_eq!(some.labels.as_slice().unwrap(), &original.labels.as_slice().unwrap()[2 * 63..]);
}

#[test]
fn what_cannot_be_written_or_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rt.dcm");
    let labels = labels_on(&oblique([9, 7, 5]));
    for l in [
        LabelMap { meta: Meta::default(), ..labels.clone() },
        LabelMap { labels: Array3::zeros((5, 7, 9)).into_shared(), ..labels.clone() },
    ] {
        assert!(rtstruct::write(&l, &RtOptions::default(), &path, &Task::silent()).is_err());
        assert!(!path.exists());
    }
    rtstruct::write(&labels, &RtOptions::default(), &path, &Task::silent()).unwrap();
    let refused = formats::dicom::seg::read(&path, None, &Task::silent()).unwrap_err();
    assert_eq!(refused.kind(), "unsupported", "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_labels_come_back(voxels in prop::collection::vec(0_u16..4, 7 * 6 * 3), keyhole in any::<bool>()) {
        let grid = oblique([7, 6, 3]);
        let labels = Array3::from_shape_vec((3, 6, 7), voxels).unwrap().into_shared();
        prop_assume!(labels.iter().any(|v| *v != 0));
        let meta = Meta { dicom: Some(origin(&grid)), ..Meta::default() };
        let map = LabelMap { labels, grid, table: formats::LabelTable::default(), meta };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rt.dcm");
        let options = RtOptions { holes: if keyhole { Holes::Keyhole } else { Holes::Xor }, ..RtOptions::default() };
        rtstruct::write(&map, &options, &path, &Task::silent()).unwrap();
        let (back, _) = rtstruct::read(&path, &image(&grid), &Task::silent()).unwrap();
        prop_assert_eq!(back.labels, map.labels);
    }
}
