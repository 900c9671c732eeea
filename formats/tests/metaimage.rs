//! MetaImage: files made here, what is written read back, damage. The truth table's `.mha` is in `nrrd.rs`.

mod common;

use std::io::Write;
use std::path::Path;

use common::{all_orders, all_types, grid, image, numbered, open, same_voxels};
use formats::{Content, FrameAxis, Image, LabelMap, LabelTable, Meta, Scaling, Task, Voxels};
use proptest::prelude::*;

fn read(folder: &Path, name: &str, header: &str, data: &[u8]) -> formats::Result<Image> {
    let path = folder.join(name);
    let mut f = std::fs::File::create(&path).unwrap();
    f.write_all(header.as_bytes()).unwrap();
    f.write_all(data).unwrap();
    open(&path)
}

fn values(image: &Image) -> Vec<f32> {
    image.frames.iter().flat_map(|f| f.to_f32().iter().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn headers_in_all_spellings() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<i16> = (0..24).map(|n| n * 1000 - 9000).collect();
    let want: Vec<f32> = numbers.iter().map(|&n| f32::from(n)).collect();
    let little: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let big: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(&little).unwrap();
    let zlib = e.finish().unwrap();
    let text = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into_bytes();
    let head = |more: &str, file: &str| {
        format!(
            "ObjectType = Image\nNDims = 3\n{more}Offset = 1 2 3\nElementSpacing = 2 3 4\nDimSize = 2 3 4\n\
             TransformMatrix = 0 1 0 0 0 1 1 0 0\nModality = MET_MOD_CT\nElementType = MET_SHORT\nElementDataFile = {file}\n"
        )
    };
    let skipped = [&[9_u8; 5], little.as_slice()].concat();
    for (more, data) in [
        ("BinaryData = True\nBinaryDataByteOrderMSB = False\n", &little),
        ("BinaryData = True\nElementByteOrderMSB = True\n", &big),
        ("BinaryData = True\nCompressedData = True\nCompressedDataSize = 99\n", &zlib),
        ("BinaryData = False\n", &text),
        ("HeaderSize = 5\n", &skipped),
        ("HeaderSize = -1\n", &skipped),
    ] {
        let check = |image: Image| {
            assert_eq!(values(&image), want, "{more}");
            // Axis 1 runs along P, axis 2 along S, axis 3 along L.
            assert_eq!(image.first().grid.orientation_code(), "PSL", "{more}");
            assert_eq!(image.first().grid.spacing_mm(), [2.0, 3.0, 4.0]);
            assert_eq!(image.first().grid.world_from_voxel.origin(), [-1.0, -2.0, 3.0]);
            assert_eq!(image.first().meta.facts["metaimage.Modality"], "MET_MOD_CT");
        };
        if !more.contains("HeaderSize = 5") {
            check(read(folder.path(), "a.mha", &head(more, "LOCAL"), data).unwrap());
        }
        std::fs::write(folder.path().join("a.raw"), data).unwrap();
        check(read(folder.path(), "a.mhd", &head(more, "a.raw"), &[]).unwrap());
    }
    for n in 0..4 {
        std::fs::write(folder.path().join(format!("s{n}.raw")), &little[n * 12..n * 12 + 12]).unwrap();
    }
    for files in ["LIST\ns0.raw\ns1.raw\ns2.raw\ns3.raw", "s%d.raw 0 3 1"] {
        assert_eq!(values(&read(folder.path(), "l.mhd", &head("", files), &[]).unwrap()), want);
    }
    for bad in ["/etc/hostname", "../a.raw", "missing.raw", "LIST", "s%d.raw 0 99999999 1"] {
        assert!(read(folder.path(), "b.mhd", &head("", bad), &[]).is_err(), "{bad}");
    }
}

#[test]
fn long_channels_slope_and_odd_headers() {
    let folder = tempfile::tempdir().unwrap();
    let make = |fields: &str, data: &[u8]| {
        read(folder.path(), "a.mha", &format!("ObjectType = Image\n{fields}ElementDataFile = LOCAL\n"), data)
    };
    let wide: Vec<u8> = (0..4_i64).flat_map(|v| (v - 2).to_le_bytes()).collect();
    let long = make("NDims = 2\nDimSize = 2 2\nElementType = MET_LONG\n", &wide).unwrap();
    assert_eq!((long.first().voxels.type_name(), values(&long)), ("int64", vec![-2.0, -1.0, 0.0, 1.0]));
    assert!(long.is_picture);
    let rgb = make(
        "NDims = 2\nDimSize = 2 1\nElementNumberOfChannels = 3\nElementType = MET_UCHAR_ARRAY\n",
        &[1, 2, 3, 4, 5, 6],
    );
    assert_eq!(rgb.unwrap().first().voxels.type_name(), "rgb24");
    let vector = make(
        "NDims = 3\nDimSize = 2 1 1\nElementNumberOfChannels = 2\nElementType = MET_UCHAR\n",
        &[1, 2, 3, 4],
    )
    .unwrap();
    assert_eq!((vector.shape_text().as_str(), values(&vector)), ("2×1×1×2", vec![1.0, 3.0, 2.0, 4.0]));
    let slope = make("NDims = 3\nDimSize = 2 1 1\nElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = -1\nElementType = MET_UCHAR\n", &[1, 2]).unwrap();
    assert_eq!(values(&slope), [1.0, 3.0]);
    for bad in [
        "NDims = 3\nDimSize = 2 2\nElementType = MET_UCHAR\n",
        "NDims = 2\nDimSize = 2 0\nElementType = MET_UCHAR\n",
        "NDims = 2\nDimSize = 2 2\nElementType = MET_OTHER\n",
        "NDims = 2\nDimSize = 2 2\nOffset = 1\nElementType = MET_UCHAR\n",
        "NDims = 3\nDimSize = 99999 99999 99999\nElementType = MET_UCHAR\n",
        "NDims = 3\nDimSize = 99999 99999 99999\nCompressedData = True\nElementType = MET_UCHAR\n",
        "NDims = 3\nDimSize = 9999999999 9999999999 9999999999\nElementType = MET_UCHAR\n",
        "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nHeaderSize = -3\n",
        "NDims = 2\nDimSize = 2 2\nElementNumberOfChannels = 0\nElementType = MET_UCHAR\n",
    ] {
        assert!(make(bad, &[0; 4]).is_err(), "{bad}");
    }
}

fn round_trip(image: &Image) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mha");
    formats::save(Content::Image(image), &path, &Task::silent()).unwrap();
    open(&path).unwrap()
}

#[test]
fn every_type_order_and_frame_comes_back() {
    for voxels in all_types([5, 4, 3]).into_iter().filter(|v| !v.is_complex()) {
        let before = image(vec![voxels.clone()], grid([5, 4, 3], true));
        let back = round_trip(&before);
        assert!(same_voxels(&back.first().voxels, &voxels), "{}", voxels.type_name());
        assert!(back.first().grid.world_from_voxel.is_close(&before.first().grid.world_from_voxel, 1e-12));
        assert!(back.notices.is_empty(), "{:?}", back.notices);
    }
    for order in all_orders() {
        let v = image(vec![Voxels::I16(numbered([5, 4, 3], |x| x as i16))], grid([5, 4, 3], false));
        let v = v.first().reordered(order);
        let back = round_trip(&image(vec![v.voxels.clone()], v.grid));
        assert!(same_voxels(&back.first().voxels, &v.voxels));
        assert_eq!(back.first().grid.size_ijk, v.grid.size_ijk);
        assert!(back.first().grid.world_from_voxel.is_close(&v.grid.world_from_voxel, 1e-12));
    }
    let frames = (0..4).map(|f| Voxels::U16(numbered([3, 2, 2], |x| (x + f) as u16))).collect();
    let mut before = image(frames, grid([3, 2, 2], true));
    before.frame_axes = vec![FrameAxis { name: "time".into(), len: 4, step: 2.5, unit: String::new() }];
    for f in &mut before.frames {
        f.scaling = Scaling { slope: 0.5, inter: 1.0 };
    }
    before.frames[0].meta.facts.insert("pack".into(), "a = b".into());
    let back = round_trip(&before);
    assert_eq!((&back.frame_axes, values(&back)), (&before.frame_axes, values(&before)));
    assert_eq!(back.first().meta.facts, before.first().meta.facts);
}

#[test]
fn labels_and_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mha");
    let map = LabelMap {
        labels: numbered([9, 8, 7], |x| (x % 300) as u16),
        grid: grid([9, 8, 7], false),
        table: LabelTable::default(),
        meta: Meta::default(),
    };
    formats::save(Content::Labels(&map), &path, &Task::silent()).unwrap();
    assert_eq!(open(&path).unwrap().first().to_labels().unwrap().labels, map.labels);
    let bytes = std::fs::read(&path).unwrap();
    common::damage(folder.path(), "d.mha", &bytes, bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_grid_comes_back(
        size in prop::array::uniform3(1_usize..6),
        m in prop::array::uniform12(-300.0_f64..300.0),
    ) {
        let affine = formats::Affine([[m[0], m[1], m[2], m[3]], [m[4], m[5], m[6], m[7]], [m[8], m[9], m[10], m[11]]]);
        prop_assume!(affine.inverse().is_some());
        let g = formats::Grid { size_ijk: size, world_from_voxel: affine };
        let back = round_trip(&image(vec![Voxels::F32(numbered(size, |x| x as f32))], g));
        prop_assert!(back.first().grid.world_from_voxel.is_close(&affine, 1e-10));
    }
}
