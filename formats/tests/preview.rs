//! A slice of a large file, before the rest: the same values at the same place as in the whole.

use std::path::Path;

use formats::{Affine, Content, Grid, Image, Meta, Scaling, Shared, Task, Volume, Voxels};

/// 73 MB of values that differ everywhere, on an oblique grid.
fn large() -> Image {
    let (ni, nj, nk) = (301, 299, 410);
    let voxels =
        Shared::from_shape_fn((nk, nj, ni), |(k, j, i)| ((i * 7 + j * 131 + k * 1009) % 4093) as i16 - 900);
    let (s, c) = 0.3_f64.sin_cos();
    let world_from_voxel = Affine::from_columns(
        [[0.8 * c, 0.8 * s, 0.0], [-0.9 * s, 0.9 * c, 0.0], [0.0, 0.0, 1.25]],
        [-120.0, -80.5, -300.0],
    );
    let volume = Volume {
        voxels: Voxels::I16(voxels),
        grid: Grid { size_ijk: [ni, nj, nk], world_from_voxel },
        scaling: Scaling { slope: 0.5, inter: -3.0 },
        meta: Meta::default(),
    };
    Image {
        frames: vec![volume],
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    }
}

fn check(path: &Path, whole: &Image) {
    let slice = formats::preview(path, &Task::silent()).unwrap().expect("a large file has a preview");
    let (slice, whole) = (slice.first().clone(), whole.first());
    assert_eq!(slice.grid.size_ijk, [301, 299, 1]);
    for ij in [[0, 0], [300, 298], [17, 203]] {
        let [i, j] = ij;
        let at = |grid: &Grid, k: usize| grid.world_from_voxel.apply([i as f64, j as f64, k as f64]);
        let (a, b) = (at(&slice.grid, 0), at(&whole.grid, 205));
        assert!((0..3).all(|n| (a[n] - b[n]).abs() < 1e-3), "{a:?} {b:?}");
        let (found, expected) = (slice.value([i, j, 0]).unwrap(), whole.value([i, j, 205]).unwrap());
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn a_slice_of_a_large_file_is_that_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let whole = large();
    for name in ["large.nii", "large.nii.gz"] {
        let path = folder.path().join(name);
        formats::save(Content::Image(&whole), &path, &Task::silent()).unwrap();
        check(&path, &whole);
        // Read as a whole it is still the same place and value.
        check(&path, &formats::open(&path, &Task::silent()).unwrap());
        // Cancelled while it inflates; a plain file is sought at once.
        let task = Task::silent();
        task.cancel().cancel();
        assert!(matches!(formats::preview(&path, &task), Err(formats::Error::Cancelled)), "{name}");
    }
    // Cut short, it is left to the reader to say so.
    for (name, keep) in [("large.nii", 0.3), ("large.nii.gz", 0.3)] {
        let path = folder.path().join(name);
        let len = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len((len as f64 * keep) as u64)
            .unwrap();
        assert!(formats::preview(&path, &Task::silent()).unwrap().is_none(), "{name}");
        assert!(
            matches!(formats::open(&path, &Task::silent()), Err(formats::Error::Malformed { .. })),
            "{name}"
        );
    }
}

#[test]
fn small_files_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.nii.gz");
    let volume = Volume {
        voxels: Voxels::U8(Shared::zeros((9, 8, 7))),
        grid: Grid::unit([7, 8, 9]),
        scaling: Scaling::NONE,
        meta: Meta::default(),
    };
    let image = Image { frames: vec![volume], ..large() };
    formats::save(Content::Image(&image), &path, &Task::silent()).unwrap();
    assert!(formats::preview(&path, &Task::silent()).unwrap().is_none());
}
