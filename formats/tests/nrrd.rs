//! NRRD: the truth table of the shared data, files made here, what is written read back, damage.

mod common;

use std::io::Write;
use std::path::Path;

use common::{
    after, all_orders, all_types, close, grid, image, number, numbered, open, rows, same_voxels, shared,
};
use formats::{Content, FrameAxis, Image, LabelEntry, LabelMap, LabelTable, Meta, Scaling, Task, Voxels};
use proptest::prelude::*;

/// Size, spacing, type, LPS origin and directions as SimpleITK prints them; also used for MetaImage.
fn check(file: &str, truth: &str, image: &Image) -> Vec<String> {
    let mut wrong = common::statistics(file, truth, image);
    let v = image.first();
    let want: Vec<usize> =
        after(truth, "size ", &[',']).unwrap().split('×').map(|n| n.parse().unwrap()).collect();
    if v.grid.size_ijk[..want.len()] != want {
        wrong.push(format!("{file}: size {:?}", v.grid.size_ijk));
    }
    for (found, want) in v.grid.spacing_mm().iter().zip(after(truth, "spacing ", &[',']).unwrap().split('×'))
    {
        if !close(*found, want) {
            wrong.push(format!("{file}: spacing {found} instead of {want}"));
        }
    }
    let kind = match v.voxels {
        Voxels::I16(_) => "16-bit signed integer",
        Voxels::U16(_) => "16-bit unsigned integer",
        _ => "other",
    };
    if !truth.contains(kind) {
        wrong.push(format!("{file}: type {}", v.voxels.type_name()));
    }
    let list = |key| -> Vec<f64> { after(truth, key, &[')']).unwrap().split(", ").map(number).collect() };
    let sign = [-1.0, -1.0, 1.0];
    for (r, want) in list("origin (LPS) (").iter().enumerate() {
        let found = v.grid.world_from_voxel.origin()[r] * sign[r];
        if (found - want).abs() > 6e-4 {
            wrong.push(format!("{file}: origin {found} instead of {want}"));
        }
    }
    // ITK prints the matrix row by row: its columns are the axes.
    let (n, direction) = (want.len(), list("direction (LPS) ("));
    for (x, want) in direction.iter().enumerate() {
        let (r, a) = (x / n, x % n);
        let found = v.grid.world_from_voxel.column(a)[r] * sign[r] / v.grid.spacing_mm()[a];
        if (found - want).abs() > 6e-5 {
            wrong.push(format!("{file}: direction {x}: {found} instead of {want}"));
        }
    }
    wrong
}

#[test]
fn the_truth_table_holds() {
    let Some(data) = shared("nrrd truth table") else { return };
    let rows = rows(&data, "images/nrrd");
    let truth = |start: &str| &rows.iter().find(|(f, _)| f.contains(start)).unwrap().1;
    let mut wrong = Vec::new();
    for name in [
        "BallBinary30x30x30.nrrd",
        "BallBinary30x30x30_gz.nrrd",
        "BallBinary30x30x30_bz2.nrrd",
        "BallBinary30x30x30.nhdr",
    ] {
        let image = open(&data.join("images/nrrd").join(name)).unwrap();
        assert!(image.notices.is_empty(), "{name}: {:?}", image.notices);
        wrong.extend(check(name, truth("BallBinary"), &image));
    }
    let flat = open(&data.join("images/nrrd/test2d_ascii.nrrd")).unwrap();
    wrong.extend(check("test2d_ascii.nrrd", truth("test2d"), &flat));
    assert!(flat.is_picture);
    let four = open(&data.join("images/nrrd/test_simple4d_raw.nrrd")).unwrap();
    assert_eq!(four.shape_text(), "1×1×1×1");
    assert_eq!(four.first().grid.spacing_mm(), [1.5, 1.5, 1.0]);
    assert_eq!(four.first().grid.orientation_code(), "RAS");
    assert!(four.notices.iter().any(|n| n.code == "measurement-frame"));
    let mha = open(&data.join("images/nrrd/mha_64x64x37.mha")).unwrap();
    wrong.extend(check("mha_64x64x37.mha", truth("mha_"), &mha));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read(folder: &Path, name: &str, header: &str, data: &[u8]) -> formats::Result<Image> {
    let path = folder.join(name);
    let mut f = std::fs::File::create(&path).unwrap();
    f.write_all(header.as_bytes()).unwrap();
    f.write_all(data).unwrap();
    open(&path)
}

fn codes(image: &Image) -> Vec<&str> {
    image.notices.iter().map(|n| n.code.as_str()).collect()
}

fn values(image: &Image) -> Vec<f32> {
    image.frames.iter().flat_map(|f| f.to_f32().iter().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn encodings_and_orders_agree() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<i16> = (0..24).map(|n| n * 1000 - 9000).collect();
    let want: Vec<f32> = numbers.iter().map(|&n| f32::from(n)).collect();
    let little: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let big: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    let gzip = |b: &[u8]| {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(b).unwrap();
        e.finish().unwrap()
    };
    let bzip = |b: &[u8]| {
        let mut e = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        e.write_all(b).unwrap();
        e.finish().unwrap()
    };
    let hex = |b: &[u8]| b.iter().map(|v| format!("{v:02x}")).collect::<Vec<_>>().join("\n").into_bytes();
    let text = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").into_bytes();
    let skipped = |b: &[u8]| [&[7, 7, 7], b].concat();
    let head = |encoding: &str, endian: &str, more: &str| {
        format!(
            "NRRD0004\r\ntype: short\ndimension: 3\nspace: LPS\nsizes: 2 3 4\nspace origin: (1,2,3)\n\
             space directions: (2,0,0) (0,3,0) (0,0,4)\nendian: {endian}\nencoding: {encoding}\n{more}\n"
        )
    };
    let cases: Vec<(String, Vec<u8>)> = vec![
        (head("raw", "little", ""), little.clone()),
        (head("raw", "big", ""), big.clone()),
        (head("RAW", "little", "byte skip: -1\n"), skipped(&little)),
        (head("raw", "little", "byte skip: 3\n"), skipped(&little)),
        (head("raw", "little", "line skip: 2\n"), [b"a\nbc\n", little.as_slice()].concat()),
        (head("gzip", "big", ""), gzip(&big)),
        (head("gz", "little", "byte skip: 3\n"), gzip(&skipped(&little))),
        (head("bzip2", "little", ""), bzip(&little)),
        (head("bz2", "big", "byteskip: 3\n"), bzip(&skipped(&big))),
        (head("hex", "big", ""), hex(&big)),
        (head("ascii", "little", ""), text.clone()),
        (head("txt", "little", "lineskip: 1\n"), [b"skip me\n", text.as_slice()].concat()),
    ];
    for (header, data) in cases {
        let image = read(folder.path(), "a.nrrd", &header, &data).unwrap_or_else(|e| panic!("{header}{e}"));
        assert_eq!(values(&image), want, "{header}");
        assert!(image.notices.is_empty(), "{:?}", image.notices);
        let g = image.first().grid;
        assert_eq!((g.size_ijk, g.world_from_voxel.origin()), ([2, 3, 4], [-1.0, -2.0, 3.0]));
        assert_eq!(g.orientation_code(), "LPS");
        // The same, detached.
        let raw = folder.path().join("a.dat");
        std::fs::write(&raw, &data).unwrap();
        let image =
            read(folder.path(), "a.nhdr", &header.replace("\n\n", "\ndata file: a.dat\n\n"), b"").unwrap();
        assert_eq!(values(&image), want, "{header}");
    }
    // One file per slice: a list and a pattern.
    for n in 0..4 {
        std::fs::write(folder.path().join(format!("s{:02}.raw", n + 5)), &little[n * 12..n * 12 + 12])
            .unwrap();
    }
    let h = head("raw", "little", "");
    for files in ["data file: s%02d.raw 5 8 1 2\n", "data file: LIST\ns05.raw\ns06.raw\n./s07.raw\ns08.raw\n"]
    {
        let image = read(folder.path(), "l.nhdr", &h.replace("\n\n", &format!("\n{files}")), b"").unwrap();
        assert_eq!(values(&image), want);
        assert!(image.encoding.contains("detached"));
    }
    for bad in ["/etc/hostname", "../a.dat", "missing.raw", "LIST"] {
        let e = read(folder.path(), "b.nhdr", &h.replace("\n\n", &format!("\ndata file: {bad}\n")), b"");
        assert!(e.is_err(), "{bad}");
    }
}

#[test]
fn axes_find_their_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let make = |fields: &str, data: &[u8]| {
        read(folder.path(), "a.nrrd", &format!("NRRD0005\nencoding: raw\nendian: little\n{fields}\n"), data)
    };
    let bytes: Vec<u8> = (0..48).collect();
    // Vectors first, as Slicer stores sequences: frames come out, not interleaved voxels.
    let list = make(
        "type: uchar\ndimension: 4\nsizes: 3 2 2 4\nspace: right-anterior-superior\nkinds: list domain domain domain\n\
         space directions: none (0,2,0) (1,0,0) (0,0,3)\nspace origin: (1,2,3)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!((list.shape_text().as_str(), list.frame_axes[0].name.as_str()), ("2×2×4×3", "channel"));
    assert_eq!(list.frames[1].value([1, 0, 0]), Some(4.0));
    assert_eq!(list.first().grid.orientation_code(), "ARS");
    // Colour.
    let rgb = make(
        "type: uchar\ndimension: 3\nsizes: 3 4 4\nkinds: RGB-color domain domain\nspacings: nan 0.5 0.25\n",
        &bytes,
    )
    .unwrap();
    assert!(rgb.is_picture && rgb.first().voxels.type_name() == "rgb24");
    assert_eq!(rgb.first().grid.spacing_mm(), [0.5, 0.25, 1.0]);
    assert_eq!(rgb.first().grid.orientation_code(), "LPS");
    assert_eq!(codes(&rgb), ["no-orientation"]);
    // Colour as the slowest axis (planes).
    let planes =
        make("type: uchar\ndimension: 3\nsizes: 4 4 3\nkinds: domain domain RGB-color\n", &bytes).unwrap();
    let Voxels::Rgb8(a) = &planes.first().voxels else { panic!() };
    assert_eq!(a[[0, 1, 2]], [6, 22, 38]);
    // Complex numbers.
    let floats: Vec<u8> = (0..12).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let complex =
        make("type: float\ndimension: 3\nsizes: 2 3 2\nkinds: complex domain domain\n", &floats).unwrap();
    assert_eq!(complex.first().voxels.type_name(), "complex64");
    // Time, with its step in the units.
    let time = make(
        "type: uchar\ndimension: 4\nsizes: 2 2 3 4\nspace: LPS\nkinds: domain domain domain time\n\
         space directions: (1,0,0) (0,1,0) (0,0,1) none\nspacings: nan nan nan 2500\nunits: \"\" \"\" \"\" \"ms\"\n\
         space origin: (0,0,0)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(
        time.frame_axes,
        [FrameAxis { name: "time".to_owned(), len: 4, step: 2.5, unit: "s".to_owned() }]
    );
    // A space with time.
    let lpst = make(
        "type: uchar\ndimension: 4\nsizes: 2 2 3 4\nspace: left-posterior-superior-time\n\
         space directions: (1,0,0,0) (0,1,0,0) (0,0,1,0) (0,0,0,1.5)\nspace origin: (1,2,3,0)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(
        (lpst.frame_axes[0].step, lpst.first().grid.world_from_voxel.origin()),
        (1.5, [-1.0, -2.0, 3.0])
    );
    // Spaces, units, minima.
    let las = make(
        "type: uchar\ndimension: 3\nsizes: 4 4 3\nspace: LAS\nspace units: \"cm\" \"cm\" \"cm\"\n\
         space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,2,3)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(las.first().grid.world_from_voxel.origin(), [-10.0, 20.0, 30.0]);
    assert_eq!(
        (las.first().grid.orientation_code().as_str(), las.first().grid.spacing_mm()),
        ("LAS", [10.0; 3])
    );
    let scanner = make(
        "type: uchar\ndimension: 3\nsizes: 4 4 3\nspace: scanner-xyz\n\
         space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,2,3)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(codes(&scanner), ["space-not-anatomical"]);
    let cell = make(
        "type: uchar\ndimension: 3\nsizes: 4 4 3\naxis mins: 0 0 1\naxis maxs: 8 8 7\ncenters: cell cell node\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(cell.first().grid.spacing_mm(), [2.0, 2.0, 3.0]);
    assert_eq!(cell.first().grid.world_from_voxel.origin(), [-1.0, -1.0, 1.0]);
    let singular = make(
        "type: uchar\ndimension: 3\nsizes: 4 4 3\nspace: LPS\n\
         space directions: (1,0,0) (1,0,0) (0,0,1)\nspace origin: (1,2,3)\n",
        &bytes,
    )
    .unwrap();
    assert_eq!(codes(&singular), ["singular-directions"]);
    for bad in [
        "type: block\ndimension: 1\nsizes: 48\n",
        "type: uchar\ndimension: 3\nsizes: 4 4\n",
        "type: uchar\ndimension: 3\nsizes: 4 4 0\n",
        "type: uchar\ndimension: 3\nsizes: 4 4 4\n",
        "type: uchar\ndimension: 3\nsizes: 4294967296 4294967296 4294967296\n",
        "type: uchar\ndimension: 1\nsizes: 48\nkinds: list\n",
        "type: uchar\ndimension: 2\nsizes: 1 48\nspace directions: (1,0,0)\n",
        "dimension: 2\nsizes: 1 48\n",
        "type: uchar\ndimension: 2\nsizes: 1 48\nbyte skip: -2\n",
    ] {
        assert!(make(bad, &bytes).is_err(), "{bad}");
    }
}

#[test]
fn slicer_segments_become_a_label_table() {
    let folder = tempfile::tempdir().unwrap();
    let header = "NRRD0004\ntype: unsigned char\ndimension: 3\nspace: LPS\nsizes: 2 2 2\nencoding: raw\n\
        space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nkinds: domain domain domain\n\
        Segment0_Name:=liver \\\\ lobe\nSegment0_Color:=0.5 0 1\nSegment0_LabelValue:=3\nSegment0_Layer:=0\n\
        Segment0_Tags:=Segmentation.Status:inprogress|\nSegment1_ID:=Segment_2\nSegment1_LabelValue:=7\nother key:=a\\nb\n\n";
    let image = read(folder.path(), "a.seg.nrrd", header, &[0, 3, 3, 0, 7, 0, 0, 0]).unwrap();
    let map = image.first().to_labels().unwrap();
    assert_eq!(map.table.entries.len(), 2);
    assert_eq!(map.table.get(3).unwrap(), &LabelEntry::new(3, "liver \\ lobe", [128, 0, 255]));
    assert_eq!(map.table.name(7), "Segment_2");
    assert_eq!(map.meta.facts["nrrd.other key"], "a\nb");
    // And back.
    let path = folder.path().join("b.seg.nrrd");
    formats::save(Content::Labels(&map), &path, &Task::silent()).unwrap();
    let again = open(&path).unwrap().first().to_labels().unwrap();
    assert_eq!((again.table, again.labels, again.grid), (map.table, map.labels, map.grid));
    assert_eq!(again.meta.facts, map.meta.facts);
}

fn round_trip(image: &Image) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    formats::save(Content::Image(image), &path, &Task::silent()).unwrap();
    open(&path).unwrap()
}

#[test]
fn every_type_and_axis_order_comes_back_exactly() {
    for voxels in all_types([5, 4, 3]) {
        for oblique in [false, true] {
            let before = image(vec![voxels.clone()], grid([5, 4, 3], oblique));
            let back = round_trip(&before);
            assert!(same_voxels(&back.first().voxels, &voxels), "{}", voxels.type_name());
            assert_eq!(back.first().grid, before.first().grid);
            assert!(back.notices.is_empty() && back.frame_axes.is_empty());
        }
    }
    for order in all_orders() {
        let v = image(vec![Voxels::I16(numbered([5, 4, 3], |x| x as i16))], grid([5, 4, 3], true));
        let before = image(vec![v.first().reordered(order).voxels], v.first().reordered(order).grid);
        let back = round_trip(&before);
        assert!(same_voxels(&back.first().voxels, &before.first().voxels));
        assert_eq!(back.first().grid, before.first().grid);
    }
}

#[test]
fn frames_scaling_and_facts_survive() {
    let mut before = image(
        (0..6).map(|f| Voxels::U16(numbered([3, 2, 2], |x| (x + f) as u16))).collect(),
        grid([3, 2, 2], false),
    );
    let axis = |name: &str, len, step: f64, unit: &str| FrameAxis {
        name: name.into(),
        len,
        step,
        unit: unit.into(),
    };
    before.frame_axes = vec![axis("time", 3, 2.5, "s"), axis("channel", 2, 0.0, "")];
    for f in &mut before.frames {
        f.scaling = Scaling { slope: 1.0, inter: -1024.0 };
    }
    before.frames[0].meta.facts.insert("pack".into(), "a: b := c\nd".into());
    before.frames[0].meta.description = "text".into();
    let back = round_trip(&before);
    assert_eq!(back.frame_axes, before.frame_axes);
    assert_eq!(back.first().voxels.type_name(), "int16");
    assert_eq!(values(&back), values(&before));
    assert_eq!(back.first().meta.facts, before.first().meta.facts);
    assert_eq!(back.first().meta.description, "text");
}

#[test]
fn labels_use_the_smallest_type() {
    let folder = tempfile::tempdir().unwrap();
    for (top, kind) in [(255_u16, "uint8"), (300, "uint16")] {
        let map = LabelMap {
            labels: numbered([3, 2, 2], |x| if x == 4 { top } else { 0 }),
            grid: grid([3, 2, 2], true),
            table: LabelTable { entries: vec![LabelEntry::new(top, "x := y", [1, 2, 3])] },
            meta: Meta::default(),
        };
        let path = folder.path().join("a.nrrd");
        formats::save(Content::Labels(&map), &path, &Task::silent()).unwrap();
        let back = open(&path).unwrap();
        assert_eq!(back.first().voxels.type_name(), kind);
        let back = back.first().to_labels().unwrap();
        assert_eq!((back.table, back.labels, back.grid), (map.table, map.labels, map.grid));
    }
    assert!(
        formats::save(
            Content::Image(&image(vec![Voxels::U8(numbered([1, 1, 1], |_| 0))], grid([1, 1, 1], false))),
            &folder.path().join("a.nhdr"),
            &Task::silent()
        )
        .is_err()
    );
}

#[test]
fn damage_never_panics_nor_passes_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    let map = LabelMap {
        labels: numbered([9, 8, 7], |x| (x % 5) as u16),
        grid: grid([9, 8, 7], true),
        table: LabelTable { entries: (1..5).map(|n| LabelEntry::new(n, "n", [1, 2, 3])).collect() },
        meta: Meta::default(),
    };
    formats::save(Content::Labels(&map), &path, &Task::silent()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    // The last 8 bytes of gzip are checksums: cut there, all voxels are present and a warning suffices.
    common::damage(folder.path(), "d.nrrd", &bytes, bytes.len());
    let header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: bzip2\nendian: little\n\n";
    let mut e = bzip2::write::BzEncoder::new(header.as_bytes().to_vec(), bzip2::Compression::fast());
    e.write_all(&[5; 128]).unwrap();
    let bytes = e.finish().unwrap();
    common::damage(folder.path(), "e.nrrd", &bytes, bytes.len());
}

#[test]
fn false_claims_fail_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for encoding in ["raw", "gzip", "bzip2", "text", "hex"] {
        let header = format!(
            "NRRD0004\ntype: double\ndimension: 3\nsizes: 30000 30000 30000\nencoding: {encoding}\nendian: little\n\n"
        );
        let start = std::time::Instant::now();
        let e = read(folder.path(), "a.nrrd", &header, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]).unwrap_err();
        assert!(start.elapsed().as_secs() < 2 && matches!(e.kind(), "malformed" | "over-limit"), "{e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_grid_comes_back_bit_for_bit(
        size in prop::array::uniform3(1_usize..6),
        m in prop::array::uniform12(-300.0_f64..300.0),
    ) {
        let affine = formats::Affine([[m[0], m[1], m[2], m[3]], [m[4], m[5], m[6], m[7]], [m[8], m[9], m[10], m[11]]]);
        prop_assume!(affine.inverse().is_some());
        let g = formats::Grid { size_ijk: size, world_from_voxel: affine };
        let before = image(vec![Voxels::F32(numbered(size, |x| x as f32))], g);
        let back = round_trip(&before);
        prop_assert_eq!(back.first().grid, g);
        prop_assert!(same_voxels(&back.first().voxels, &before.first().voxels));
    }
}
