//! MGH: files made here, what is written read back, damage.

mod common;

use std::io::Write;
use std::path::Path;

use common::{all_orders, all_types, grid, image, numbered, open};
use formats::{Affine, Content, FrameAxis, Image, LabelMap, LabelTable, Meta, Scaling, Task, Voxels};
use proptest::prelude::*;

/// A header after FreeSurfer's description of the format.
fn header(dims: [i32; 4], kind: i32, good: i16, spacing: [f32; 3], mdc: [f32; 9], c: [f32; 3]) -> Vec<u8> {
    let mut h: Vec<u8> =
        [1].iter().chain(&dims).chain(&[kind, 0]).flat_map(|v: &i32| v.to_be_bytes()).collect();
    h.extend(good.to_be_bytes());
    h.extend(spacing.iter().chain(&mdc).chain(&c).flat_map(|v| v.to_be_bytes()));
    h.resize(284, 0);
    h
}

const CORONAL: [f32; 9] = [-1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0];

fn read(folder: &Path, name: &str, bytes: &[u8]) -> formats::Result<Image> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn values(image: &Image) -> Vec<f32> {
    image.frames.iter().flat_map(|f| f.to_f32().iter().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn types_frames_footer_and_placement() {
    let folder = tempfile::tempdir().unwrap();
    let h = |kind, good| header([2, 3, 4, 2], kind, good, [1.0, 2.0, 3.0], CORONAL, [10.0, 20.0, 30.0]);
    let n = 48;
    let cases: [(i32, &str, Vec<u8>); 5] = [
        (0, "uint8", (0..n).map(|v| v as u8).collect()),
        (1, "int32", (0..n).flat_map(i32::to_be_bytes).collect()),
        (3, "float32", (0..n).flat_map(|v| (v as f32).to_be_bytes()).collect()),
        (4, "int16", (0..n).flat_map(|v| (v as i16).to_be_bytes()).collect()),
        (10, "uint16", (0..n).flat_map(|v| (v as u16).to_be_bytes()).collect()),
    ];
    for (kind, name, data) in cases {
        let mut file = [h(kind, 1), data].concat();
        file.extend([2500.0_f32, 0.5, 3.0, 0.0, 256.0].iter().flat_map(|v| v.to_be_bytes()));
        file.extend([0, 0, 0, 3, 7, 7, 7]); // A tag, ignored.
        for bytes in [file.clone(), gzip(&file)] {
            let image = read(folder.path(), "a.mgz", &bytes).unwrap();
            assert_eq!(image.first().voxels.type_name(), name);
            assert_eq!(values(&image), (0..n).map(|v| v as f32).collect::<Vec<_>>());
            assert_eq!((image.frame_axes[0].len, image.frame_axes[0].step), (2, 2.5));
            assert_eq!(image.first().meta.facts["mgh-te-ms"], "3");
            let a = image.first().grid.world_from_voxel;
            assert_eq!(image.first().grid.orientation_code(), "LIA");
            assert_eq!(a.apply([1.0, 1.5, 2.0]), [10.0, 20.0, 30.0]);
            assert!(image.notices.is_empty(), "{:?}", image.notices);
        }
    }
    let bad = read(folder.path(), "a.mgh", &[h(0, 0), vec![0; 48]].concat()).unwrap();
    assert_eq!((bad.notices[0].code.as_str(), bad.first().grid.spacing_mm()), ("no-orientation", [1.0; 3]));
    assert_eq!(bad.first().grid.orientation_code(), "LIA");
    // Found by fuzzing: placements that single precision holds and no image has.
    for (spacing, directions, centre) in [
        ([1e-30, 1.0, 1.0], CORONAL, [0.0; 3]),
        ([1.0; 3], CORONAL.map(|v| v * 1e30), [0.0; 3]),
        ([1.0; 3], CORONAL, [0.0, 1e30, 0.0]),
    ] {
        let h = header([2, 3, 4, 1], 0, 1, spacing, directions, centre);
        let odd = read(folder.path(), "a.mgh", &[h, vec![0; 24]].concat()).unwrap();
        assert_eq!(odd.notices[0].code, "implausible-placement");
        assert_eq!(odd.first().grid.spacing_mm(), [1.0; 3]);
    }
    for (dims, kind) in
        [([2, 3, 4, 2], 7), ([2, 3, 4, 0], 0), ([2, 3, 4, -2], 0), ([30000, 30000, 30000, 9], 3)]
    {
        let h = header(dims, kind, 1, [1.0; 3], CORONAL, [0.0; 3]);
        for bytes in [[h.clone(), vec![0; 48]].concat(), gzip(&[h, vec![0; 48]].concat())] {
            assert!(read(folder.path(), "a.mgz", &bytes).is_err(), "{dims:?} {kind}");
        }
    }
}

fn round_trip(image: &Image, name: &str) -> formats::Result<Image> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    formats::save(Content::Image(image), &path, &Task::silent())?;
    open(&path)
}

/// Single precision, relative to the extent of the volume.
fn is_near(a: &Affine, b: &Affine) -> bool {
    let size = b.0.iter().flatten().fold(1.0_f64, |n, v| n.max(v.abs()));
    a.is_close(b, size * 2e-6)
}

#[test]
fn every_type_that_fits_comes_back_over_all_orders() {
    for voxels in all_types([5, 4, 3]) {
        let before = image(vec![voxels.clone()], grid([5, 4, 3], true));
        match round_trip(&before, "a.mgz") {
            Ok(back) => {
                assert_eq!(values(&back), values(&before), "{}", voxels.type_name());
                assert!(is_near(&back.first().grid.world_from_voxel, &before.first().grid.world_from_voxel));
            }
            Err(e) => assert!(
                matches!(voxels, Voxels::U32(_) | Voxels::U64(_) | Voxels::I64(_))
                    || voxels.is_colour()
                    || voxels.is_complex(),
                "{e}"
            ),
        }
    }
    for (n, order) in all_orders().enumerate() {
        let v = image(vec![Voxels::I16(numbered([5, 4, 3], |x| x as i16 - 9))], grid([5, 4, 3], n % 2 == 0));
        let v = v.first().reordered(order);
        let back = round_trip(&image(vec![v.voxels.clone()], v.grid), "a.mgh").unwrap();
        assert!(common::same_voxels(&back.first().voxels, &v.voxels));
        assert!(is_near(&back.first().grid.world_from_voxel, &v.grid.world_from_voxel));
    }
}

#[test]
fn frames_scaling_facts_and_labels() {
    let frames = (0..4).map(|f| Voxels::U16(numbered([3, 2, 2], |x| (x + f) as u16))).collect();
    let mut before = image(frames, grid([3, 2, 2], true));
    before.frame_axes = vec![FrameAxis { name: "time".into(), len: 4, step: 2.5, unit: "s".into() }];
    for f in &mut before.frames {
        f.scaling = Scaling { slope: 0.5, inter: 1.0 };
    }
    before.frames[0].meta.facts.insert("mgh-te-ms".into(), "3".into());
    let back = round_trip(&before, "a.mgz").unwrap();
    assert_eq!((&back.frame_axes, values(&back)), (&before.frame_axes, values(&before)));
    assert_eq!(back.first().meta.facts["mgh-te-ms"], "3");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aseg.mgz");
    for top in [255_u16, 2035, 65535] {
        let map = LabelMap {
            labels: numbered([3, 2, 2], |x| if x == 4 { top } else { 0 }),
            grid: grid([3, 2, 2], true),
            table: LabelTable::default(),
            meta: Meta::default(),
        };
        formats::save(Content::Labels(&map), &path, &Task::silent()).unwrap();
        assert_eq!(open(&path).unwrap().first().to_labels().unwrap().labels, map.labels);
    }
}

#[test]
fn damage_never_panics_nor_passes_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let file = [header([4, 3, 2, 2], 4, 1, [1.0, 2.0, 3.0], CORONAL, [0.0; 3]), vec![5; 96]].concat();
    common::damage(folder.path(), "d.mgh", &file, file.len());
    let file = gzip(&file);
    common::damage(folder.path(), "d.mgz", &file, file.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_grid_comes_back(
        size in prop::array::uniform3(1_usize..6),
        m in prop::array::uniform12(-300.0_f64..300.0),
    ) {
        let affine = Affine([[m[0], m[1], m[2], m[3]], [m[4], m[5], m[6], m[7]], [m[8], m[9], m[10], m[11]]]);
        // Rounding to single precision must leave it regular.
        let scale: f64 = (0..3).map(|a| affine.column(a).iter().map(|v| v * v).sum::<f64>().sqrt()).product();
        prop_assume!(affine.determinant().abs() > 1e-3 * scale);
        let g = formats::Grid { size_ijk: size, world_from_voxel: affine };
        let back = round_trip(&image(vec![Voxels::F32(numbered(size, |x| x as f32))], g), "a.mgz").unwrap();
        prop_assert!(is_near(&back.first().grid.world_from_voxel, &affine));
    }
}
