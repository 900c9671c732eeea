//! NIfTI files made byte by byte here: every version, order, type and number of dimensions; files cut and damaged at
//! every place; and what is written read back, over all axis orders.

use std::io::Write;
use std::path::Path;

use formats::{
    Affine, AffineSource, AxisOrder, Content, FrameAxis, Grid, Image, LabelEntry, LabelMap, LabelTable,
    Level, Meta, Scaling, Task, Volume, Voxels,
};
use ndarray::Array3;
use proptest::prelude::*;

/// A header to be, with the fields the tests vary. Written from the C headers, apart from the code under test.
#[derive(Clone)]
struct Fixture {
    two: bool,
    big: bool,
    dims: Vec<i64>,
    datatype: i16,
    bitpix: i16,
    magic: &'static [u8],
    offset: f64,
    slope: f64,
    inter: f64,
    pixdim: [f64; 8],
    codes_qs: (i16, i16),
    quatern: [f64; 6],
    srow: [f64; 12],
    units: i32,
    intent: i16,
    /// After the header, from the extender to the voxels.
    extension: Vec<u8>,
    voxels: Vec<u8>,
}

impl Fixture {
    fn new(two: bool, big: bool, dims: &[i64], datatype: i16, bitpix: i16) -> Self {
        let count: i64 = dims.iter().product();
        let size = usize::try_from(count).unwrap() * bitpix as usize / 8;
        Self {
            two,
            big,
            dims: dims.to_vec(),
            datatype,
            bitpix,
            magic: if two { b"n+2\0\r\n\x1a\n" } else { b"n+1\0" },
            offset: if two { 544.0 } else { 352.0 },
            slope: 0.0,
            inter: 0.0,
            pixdim: [1.0, 2.0, 3.0, 4.0, 1.5, 1.0, 1.0, 1.0],
            codes_qs: (0, 1),
            quatern: [0.0; 6],
            srow: [2.0, 0.0, 0.0, -10.0, 0.0, 3.0, 0.0, -20.0, 0.0, 0.0, 4.0, -30.0],
            units: 10,
            intent: 0,
            extension: vec![0; 4],
            voxels: (0..size).map(|n| (n * 7 + 3) as u8).collect(),
        }
    }

    fn header(&self) -> Vec<u8> {
        let mut h = vec![0; if self.two { 540 } else { 348 }];
        let mut put = |at: usize, le: &[u8]| {
            let mut b = le.to_vec();
            if self.big {
                b.reverse();
            }
            h[at..at + b.len()].copy_from_slice(&b);
        };
        let dim =
            |n: usize| if n == 0 { self.dims.len() as i64 } else { *self.dims.get(n - 1).unwrap_or(&1) };
        let (q, s) = self.codes_qs;
        if self.two {
            put(0, &540_i32.to_le_bytes());
            put(12, &self.datatype.to_le_bytes());
            put(14, &self.bitpix.to_le_bytes());
            (0..8).for_each(|n| put(16 + 8 * n, &dim(n).to_le_bytes()));
            (0..8).for_each(|n| put(104 + 8 * n, &self.pixdim[n].to_le_bytes()));
            put(168, &(self.offset as i64).to_le_bytes());
            put(176, &self.slope.to_le_bytes());
            put(184, &self.inter.to_le_bytes());
            put(344, &i32::from(q).to_le_bytes());
            put(348, &i32::from(s).to_le_bytes());
            (0..6).for_each(|n| put(352 + 8 * n, &self.quatern[n].to_le_bytes()));
            (0..12).for_each(|n| put(400 + 8 * n, &self.srow[n].to_le_bytes()));
            put(500, &self.units.to_le_bytes());
            put(504, &i32::from(self.intent).to_le_bytes());
            h[4..4 + self.magic.len()].copy_from_slice(self.magic);
        } else {
            put(0, &348_i32.to_le_bytes());
            (0..8).for_each(|n| put(40 + 2 * n, &(dim(n) as i16).to_le_bytes()));
            put(68, &self.intent.to_le_bytes());
            put(70, &self.datatype.to_le_bytes());
            put(72, &self.bitpix.to_le_bytes());
            (0..8).for_each(|n| put(76 + 4 * n, &(self.pixdim[n] as f32).to_le_bytes()));
            put(108, &(self.offset as f32).to_le_bytes());
            put(112, &(self.slope as f32).to_le_bytes());
            put(116, &(self.inter as f32).to_le_bytes());
            put(252, &q.to_le_bytes());
            put(254, &s.to_le_bytes());
            (0..6).for_each(|n| put(256 + 4 * n, &(self.quatern[n] as f32).to_le_bytes()));
            (0..12).for_each(|n| put(280 + 4 * n, &(self.srow[n] as f32).to_le_bytes()));
            h[123] = self.units as u8;
            h[344..344 + self.magic.len()].copy_from_slice(self.magic);
        }
        h
    }

    fn bytes(&self) -> Vec<u8> {
        [self.header(), self.extension.clone(), self.voxels.clone()].concat()
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> formats::Result<Image> {
    formats::open(path, &Task::silent())
}

fn read_bytes(bytes: &[u8]) -> formats::Result<Image> {
    let dir = folder();
    let path = dir.path().join("x.nii");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

fn codes(image: &Image) -> Vec<&str> {
    image.notices.iter().map(|n| n.code.as_str()).collect()
}

/// Voxels as bytes in native order.
fn raw(v: &Voxels) -> Vec<u8> {
    formats::for_any!(v, a => bytemuck::cast_slice(a.as_slice().unwrap()).to_vec())
}

/// All types: code, bits, name, bytes that swap together.
const TYPES: [(i16, i16, &str, usize); 14] = [
    (2, 8, "uint8", 1),
    (4, 16, "int16", 2),
    (8, 32, "int32", 4),
    (16, 32, "float32", 4),
    (32, 64, "complex64", 4),
    (64, 64, "float64", 8),
    (128, 24, "rgb24", 1),
    (256, 8, "int8", 1),
    (512, 16, "uint16", 2),
    (768, 32, "uint32", 4),
    (1024, 64, "int64", 8),
    (1280, 64, "uint64", 8),
    (1792, 128, "complex128", 8),
    (2304, 32, "rgba32", 1),
];

#[test]
fn every_type_in_both_versions_and_orders_plain_and_gzipped() {
    for (code, bits, name, unit) in TYPES {
        for (two, big, packed) in (0..8).map(|n| (n & 1 == 1, n & 2 == 2, n & 4 == 4)) {
            let mut f = Fixture::new(two, big, &[3, 5, 2], code, bits);
            // An offset that is no multiple of the voxel size.
            f.extension = vec![0; 4 + 13];
            f.offset += 13.0;
            let bytes = if packed { gzip(&f.bytes()) } else { f.bytes() };
            let image = read_bytes(&bytes).unwrap_or_else(|e| panic!("{name} {two} {big}: {e}"));
            let v = image.first();
            assert_eq!((v.voxels.type_name(), v.grid.size_ijk), (name, [3, 5, 2]));
            let mut want = f.voxels.clone();
            if big {
                want.chunks_mut(unit).for_each(<[u8]>::reverse);
            }
            assert_eq!(raw(&v.voxels), want, "{name} {two} {big} {packed}");
            assert_eq!(v.grid.world_from_voxel.origin(), [-10.0, -20.0, -30.0]);
            assert_eq!(codes(&image), [""; 0]);
        }
    }
}

#[test]
fn types_that_no_one_holds_are_named() {
    for (code, bits, word) in [(1, 1, "one bit"), (1536, 128, "128-bit"), (2048, 256, "256-bit")] {
        let mut f = Fixture::new(false, false, &[8, 8, 8], 2, 8);
        (f.datatype, f.bitpix) = (code, bits);
        let e = read_bytes(&f.bytes()).unwrap_err();
        assert!(e.kind() == "unsupported" && e.to_string().contains(word), "{e}");
    }
    let mut f = Fixture::new(true, false, &[1, 1, 1, 1, 3, 5], 16, 32);
    f.intent = 3006;
    assert!(read_bytes(&f.bytes()).unwrap_err().to_string().contains("CIFTI"));
}

#[test]
fn one_to_seven_dimensions() {
    for n in 1..=7 {
        let dims: Vec<i64> = [4, 3, 2, 2, 3, 1, 2][..n].to_vec();
        for two in [false, true] {
            let image = read_bytes(&Fixture::new(two, false, &dims, 4, 16).bytes()).unwrap();
            let size: Vec<i64> = image.first().grid.size_ijk.iter().map(|&d| d as i64).collect();
            let mut want = dims.clone();
            want.resize(want.len().max(3), 1);
            assert_eq!(size, want[..3]);
            assert_eq!(image.frame_axes.iter().map(|a| a.len as i64).collect::<Vec<_>>(), want[3..]);
            assert_eq!(image.frames.len() as i64, want[3..].iter().product::<i64>());
            let all: Vec<u8> = image.frames.iter().flat_map(|f| raw(&f.voxels)).collect();
            assert_eq!(all, Fixture::new(two, false, &dims, 4, 16).voxels);
        }
    }
}

#[test]
fn slope_and_intercept() {
    let scaled = |slope: f64, inter: f64| {
        let mut f = Fixture::new(true, false, &[2, 2, 2], 4, 16);
        (f.slope, f.inter) = (slope, inter);
        let image = read_bytes(&f.bytes()).unwrap();
        (image.first().scaling, image.notices.first().map(|n| n.code.clone()))
    };
    let bad = || Some("bad-scaling".to_owned());
    assert_eq!(scaled(0.0, 55.0), (Scaling::NONE, None));
    assert_eq!(scaled(f64::NAN, f64::NAN), (Scaling::NONE, None));
    assert_eq!(scaled(f64::INFINITY, 1.0), (Scaling::NONE, bad()));
    assert_eq!(scaled(-2.0, 1000.0), (Scaling { slope: -2.0, inter: 1000.0 }, None));
    assert_eq!(scaled(3.0, f64::NAN), (Scaling { slope: 3.0, inter: 0.0 }, bad()));
    let mut colour = Fixture::new(false, false, &[2, 2, 2], 128, 24);
    colour.slope = 4.0;
    assert_eq!(read_bytes(&colour.bytes()).unwrap().first().scaling, Scaling::NONE);
}

#[test]
fn transforms_are_chosen_and_checked() {
    let base = Fixture::new(false, false, &[5, 6, 7], 2, 8);
    let source = |f: &Fixture| {
        let image = read_bytes(&f.bytes()).unwrap();
        (
            image.first().meta.affine_source,
            image.notices.iter().map(|n| n.code.clone()).collect::<Vec<_>>(),
            image,
        )
    };

    // A half turn about z, on the voxel at (1, 2, 3).
    let mut q = Fixture { codes_qs: (1, 0), quatern: [0.0, 0.0, 1.0, 1.0, 2.0, 3.0], ..base.clone() };
    let (found, notices, image) = source(&q);
    assert_eq!((found, notices.len()), (AffineSource::Qform, 0));
    assert_eq!(image.first().grid.orientation_code(), "LPS");
    assert_eq!(image.first().grid.world_from_voxel.apply([1.0, 1.0, 1.0]), [-1.0, -1.0, 7.0]);
    q.pixdim[0] = -1.0;
    assert_eq!(source(&q).2.first().grid.orientation_code(), "LPI");
    q.quatern[2] = 2.0;
    assert_eq!(source(&q).1, ["quaternion-too-long"]);

    let both = Fixture { codes_qs: (1, 2), quatern: [0.0, 0.0, 0.0, -10.0, -20.0, -30.0], ..base.clone() };
    assert_eq!(source(&both).1, [""; 0]);
    let apart = Fixture { quatern: [0.0, 0.0, 0.0, -10.0, -20.0, -27.5], ..both.clone() };
    let (found, notices, image) = source(&apart);
    assert_eq!((found, notices), (AffineSource::Sform, vec!["sform-qform-differ".to_owned()]));
    let message = &image.notices[0].message;
    assert!(
        message.contains("2.500 mm") && message.contains("code 2") && message.contains("code 1"),
        "{message}"
    );
    assert_eq!(image.notices[0].level, Level::Warning);

    for bad in [f64::NAN, f64::INFINITY, 0.0] {
        let mut broken = both.clone();
        broken.srow[..4].fill(bad);
        assert_eq!(
            (source(&broken).0, source(&broken).1),
            (AffineSource::Qform, vec!["sform-unusable".to_owned()])
        );
        broken.codes_qs.0 = 0;
        assert_eq!(source(&broken).0, AffineSource::Spacing);
    }

    let neither = Fixture { codes_qs: (0, 0), ..base.clone() };
    let (found, notices, image) = source(&neither);
    assert_eq!((found, notices), (AffineSource::Spacing, vec!["no-orientation".to_owned()]));
    assert_eq!(
        image.first().grid.world_from_voxel,
        Affine::scale_shift([-2.0, 3.0, 4.0], [4.0, -7.5, -12.0])
    );
    let mut zero = neither.clone();
    zero.pixdim[2] = 0.0;
    assert_eq!(source(&zero).1, ["zero-spacing", "no-orientation"]);
    assert_eq!(source(&zero).2.first().grid.spacing_mm(), [2.0, 1.0, 4.0]);

    // One slice whose third column was left empty.
    let mut flat = Fixture::new(false, false, &[5, 6], 2, 8);
    flat.srow[10] = 0.0;
    let (found, notices, image) = source(&flat);
    assert_eq!((found, notices.len()), (AffineSource::Sform, 0));
    assert_eq!(image.first().grid.spacing_mm(), [2.0, 3.0, 4.0]);
}

#[test]
fn units_of_space_and_time() {
    let open = |units| {
        let mut f = Fixture::new(false, false, &[2, 2, 2, 3], 2, 8);
        f.units = units;
        read_bytes(&f.bytes()).unwrap()
    };
    for (units, mm) in [(0, 2.0), (2, 2.0), (1, 2000.0), (3, 0.002), (7, 2.0)] {
        let image = open(units);
        assert!((image.first().grid.spacing_mm()[0] / mm - 1.0).abs() < 1e-9);
        assert_eq!(codes(&image).contains(&"units-converted"), mm != 2.0);
    }
    for (units, unit, step) in
        [(2, "", 1.5), (10, "s", 1.5), (18, "s", 1.5e-3), (26, "s", 1.5e-6), (34, "Hz", 1.5)]
    {
        let axis = &open(units).frame_axes[0];
        assert_eq!(axis.unit, unit);
        assert!((axis.step - step).abs() < 1e-12);
    }
}

#[test]
fn pairs_of_any_spelling_open_from_either_half() {
    let mut f = Fixture::new(false, true, &[3, 4, 5], 4, 16);
    (f.magic, f.offset) = (b"ni1\0", 0.0);
    let header = [f.header(), f.extension.clone()].concat();
    let spellings = [
        ("a.hdr", "a.img"),
        ("a.HDR", "a.IMG"),
        ("a.hdr", "a.IMG.GZ"),
        ("a.b.Hdr", "a.b.iMg"),
        ("a.hdr.gz", "a.img"),
        ("a.hdr", "a.img.gz"),
        ("a.HDR.gz", "a.img.Gz"),
    ];
    for (h, i) in spellings {
        let dir = folder();
        let pack = |name: &str, data: &[u8]| {
            if name.to_lowercase().ends_with("gz") { gzip(data) } else { data.to_vec() }
        };
        std::fs::write(dir.path().join(h), pack(h, &header)).unwrap();
        std::fs::write(dir.path().join(i), pack(i, &f.voxels)).unwrap();
        for half in [h, i] {
            let image = open(&dir.path().join(half)).unwrap_or_else(|e| panic!("{h} {i}: {e}"));
            let mut want = f.voxels.clone();
            want.chunks_mut(2).for_each(<[u8]>::reverse);
            assert_eq!(raw(&image.first().voxels), want);
            assert!(image.encoding.contains("pair"));
        }
        std::fs::remove_file(dir.path().join(i)).unwrap();
        let e = open(&dir.path().join(h)).unwrap_err();
        assert!(e.kind() == "malformed" && e.to_string().contains("without its image file"), "{e}");
    }
}

#[test]
fn voxels_that_begin_like_a_header_are_voxels() {
    let mut f = Fixture::new(false, false, &[20, 20, 2], 4, 16);
    (f.magic, f.offset) = (b"ni1\0", 0.0);
    f.voxels[..4].copy_from_slice(&348_i32.to_le_bytes());
    let dir = folder();
    std::fs::write(dir.path().join("a.hdr"), f.header()).unwrap();
    std::fs::write(dir.path().join("a.img"), &f.voxels).unwrap();
    assert_eq!(raw(&open(&dir.path().join("a.img")).unwrap().first().voxels), f.voxels);
}

#[test]
fn analyze_opens_with_a_warning() {
    let mut f = Fixture::new(false, true, &[3, 4, 5], 4, 16);
    (f.magic, f.offset) = (b"", 0.0);
    // In Analyze these bytes are history text, not transforms.
    f.codes_qs = (0x2020, 0x2020);
    let dir = folder();
    std::fs::write(dir.path().join("a.hdr"), f.header()).unwrap();
    assert_eq!(open(&dir.path().join("a.hdr")).unwrap_err().kind(), "malformed");
    std::fs::write(dir.path().join("a.img"), &f.voxels).unwrap();
    for half in ["a.hdr", "a.img"] {
        let image = open(&dir.path().join(half)).unwrap();
        assert_eq!(codes(&image), ["no-orientation", "analyze"]);
        assert_eq!(image.first().grid.spacing_mm(), [2.0, 3.0, 4.0]);
        assert!(image.encoding.starts_with("Analyze 7.5"));
    }
}

/// A chain of extensions, padded as the standard asks.
fn chain(items: &[(i32, &[u8])], big: bool) -> Vec<u8> {
    let number = |n: i32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
    let mut out = vec![1, 0, 0, 0];
    for (code, content) in items {
        assert_eq!((content.len() + 8) % 16, 0);
        out.extend(number(content.len() as i32 + 8));
        out.extend(number(*code));
        out.extend(*content);
    }
    out
}

#[test]
fn extensions_are_kept_byte_for_byte() {
    let (a, b) = ([7_u8; 24], *b"some XML\0\0\0\0\0\0\0\0________");
    for (two, big) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut f = Fixture::new(two, big, &[2, 3, 4], 2, 8);
        f.extension = chain(&[(6, &a), (44, &b)], big);
        f.offset += f.extension.len() as f64 - 4.0;
        let image = read_bytes(&f.bytes()).unwrap();
        let want = vec![(6, a.to_vec()), (44, b.to_vec())];
        assert_eq!(image.first().meta.extensions, want);
        let dir = folder();
        let path = dir.path().join("b.nii.gz");
        formats::save(Content::Image(&image), &path, &Task::silent()).unwrap();
        assert_eq!(open(&path).unwrap().first().meta.extensions, want);
    }
    for size in [-1, 0, 7, 1 << 30, i32::MAX] {
        let mut f = Fixture::new(false, false, &[2, 3, 4], 2, 8);
        f.extension = chain(&[(6, &a)], false);
        f.extension[4..8].copy_from_slice(&size.to_le_bytes());
        f.offset += f.extension.len() as f64 - 4.0;
        let image = read_bytes(&f.bytes()).unwrap();
        assert_eq!((codes(&image), image.first().meta.extensions.len()), (vec!["broken-extension"], 0));
    }
}

#[test]
fn files_cut_anywhere_give_one_error() {
    for (two, packed) in [(false, false), (false, true), (true, false), (true, true)] {
        let f = Fixture::new(two, false, &[7, 5, 3], 4, 16);
        let whole = if packed { gzip(&f.bytes()) } else { f.bytes() };
        let last_voxel = if packed { whole.len() - 8 } else { whole.len() };
        for cut in 0..last_voxel {
            match read_bytes(&whole[..cut]) {
                Err(e) => {
                    assert!(matches!(e.kind(), "malformed" | "unsupported"), "{cut}: {e}");
                    assert!(e.to_string().len() < 600);
                }
                // The mark that ends the stream may be missing when all voxels are there.
                Ok(image) => {
                    assert!(
                        packed && cut + 12 > whole.len() && codes(&image) == ["gzip-damaged-end"],
                        "{cut}"
                    );
                    assert_eq!(raw(&image.first().voxels), f.voxels);
                }
            }
        }
    }
}

#[test]
fn damaged_headers_never_panic() {
    // A small generator with fixed seeds (xorshift64*, Vigna 2016) keeps failures repeatable.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    for (two, big, packed) in (0..8).map(|n| (n & 1 == 1, n & 2 == 2, n & 4 == 4)) {
        let mut f = Fixture::new(two, big, &[7, 5, 3, 2], 4, 16);
        f.extension = chain(&[(6, &[1; 24])], big);
        f.offset += 32.0;
        f.codes_qs = (1, 2);
        let sound = f.bytes();
        for round in 0..800 {
            let mut bytes = sound.clone();
            for _ in 0..1 + round % 6 {
                let header = if two { 580 } else { 390 };
                let at = next() as usize % header;
                bytes[at] = match next() % 4 {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ (1 << (next() % 8)),
                    _ => next() as u8,
                };
            }
            let mut file = if packed { gzip(&bytes) } else { bytes };
            if packed && round % 3 == 0 {
                let at = next() as usize % file.len();
                file[at] ^= 1 << (next() % 8);
            }
            if let Ok(image) = read_bytes(&file) {
                let placed = image.first().grid.world_from_voxel;
                assert!(placed.inverse().is_some(), "a singular placement got through: {placed:?}");
                let s = image.first().scaling;
                assert!(s.slope.is_finite() && s.slope != 0.0 && s.inter.is_finite());
            }
        }
    }
}

fn save_and_open(content: Content<'_>, name: &str) -> Image {
    let dir = folder();
    let path = dir.path().join(name);
    formats::save(content, &path, &Task::silent()).unwrap();
    open(&path).unwrap()
}

fn image_of(volume: Volume) -> Image {
    Image {
        frames: vec![volume],
        frame_axes: vec![],
        format: "test",
        encoding: String::new(),
        is_picture: false,
        notices: vec![],
    }
}

/// Rotation by Euler angles, voxel edges, shear, axis order: any placement a file may have.
fn any_affine() -> impl Strategy<Value = Affine> {
    let angle = || -3.2..3.2_f64;
    (
        (angle(), angle(), angle()),
        prop::array::uniform3(0.05..12.0_f64),
        prop::bool::ANY,
        -0.4..0.4_f64,
        0..48_usize,
    )
        .prop_map(|((a, b, c), edge, is_sheared, shear, order)| {
            let (sa, ca, sb, cb, sc, cc) = (a.sin(), a.cos(), b.sin(), b.cos(), c.sin(), c.cos());
            let columns = [
                [ca * cb, sa * cb, -sb],
                [ca * sb * sc - sa * cc, sa * sb * sc + ca * cc, cb * sc],
                [ca * sb * cc + sa * sc, sa * sb * cc - ca * sc, cb * cc],
            ];
            let mut columns = [0, 1, 2].map(|n| columns[n].map(|v| v * edge[n]));
            if is_sheared {
                columns[2] = [0, 1, 2].map(|r| columns[2][r] + shear * columns[0][r]);
            }
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            let columns = orders[order / 8].map(|n| columns[n]);
            let columns = [0, 1, 2].map(|n| columns[n].map(|v| if order >> n & 1 == 1 { -v } else { v }));
            Affine::from_columns(columns, [a * 50.0, b * 60.0, c * 70.0])
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_back(
        affine in any_affine(),
        size in prop::array::uniform3(1..6_usize),
        slope in prop_oneof![Just(1.0), -3.0..3.0_f64],
        inter in -100.0..100.0_f64,
        packed in prop::bool::ANY,
        codes in prop_oneof![Just(None), (0..5_i16, 0..5_i16).prop_map(Some)],
    ) {
        let grid = Grid { size_ijk: size, world_from_voxel: affine };
        let array = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| (1000 * k + 100 * j + i) as i16 - 500);
        let mut v = Volume::new(Voxels::I16(array.into_shared()), grid).unwrap();
        v.scaling = Scaling { slope: f64::from(slope as f32), inter: f64::from(inter as f32) };
        prop_assume!(v.scaling.slope != 0.0);
        v.meta.nifti_codes = codes;
        let image = image_of(v);
        let back = save_and_open(Content::Image(&image), if packed { "a.nii.gz" } else { "a.nii" });
        let (a, b) = (image.first(), back.first());
        prop_assert_eq!(raw(&a.voxels), raw(&b.voxels));
        prop_assert_eq!(a.scaling, b.scaling);
        // Single precision: 24 bits of each number.
        for (x, y) in affine.0.iter().flatten().zip(b.grid.world_from_voxel.0.iter().flatten()) {
            prop_assert!((x - y).abs() <= x.abs() * 6e-8, "{x} {y}");
        }
        // Above all, the qform says the same as the sform.
        prop_assert!(back.notices.is_empty(), "{:?}", back.notices);
        prop_assert_eq!(b.meta.affine_source, AffineSource::Sform);
    }
}

#[test]
fn all_axis_orders_come_back_through_sform_and_qform() {
    let ras = Grid {
        size_ijk: [3, 4, 5],
        world_from_voxel: Affine([[1.5, 0.0, 0.0, -7.0], [0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 2.5, 11.0]]),
    };
    for source in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in 0..8 {
            let order = AxisOrder { source, reversed: [flips & 1 == 1, flips & 2 == 2, flips & 4 == 4] };
            let grid = ras.reordered(order);
            let array = Array3::from_shape_fn(grid.shape_kji(), |(k, j, i)| (100 * k + 10 * j + i) as u16);
            let image = image_of(Volume::new(Voxels::U16(array.into_shared()), grid).unwrap());
            let dir = folder();
            let path = dir.path().join("a.nii");
            formats::save(Content::Image(&image), &path, &Task::silent()).unwrap();
            let back = open(&path).unwrap();
            assert_eq!(back.first().grid, grid);
            assert_eq!(raw(&back.first().voxels), raw(&image.first().voxels));
            // The same file for a reader that looks at the qform only.
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[254..256].fill(0);
            std::fs::write(&path, bytes).unwrap();
            let by_qform = open(&path).unwrap();
            assert_eq!(by_qform.first().meta.affine_source, AffineSource::Qform);
            assert!(by_qform.first().grid.is_same(&grid, 1e-5), "{order:?}");
        }
    }
}

#[test]
fn every_type_is_written_and_metadata_kept() {
    for (code, bits, name, _) in TYPES {
        let mut f = Fixture::new(false, false, &[3, 2, 2, 2, 3], code, bits);
        f.intent = 1007;
        let image = read_bytes(&f.bytes()).unwrap();
        let mut image = Image { frames: image.frames.clone(), ..image };
        image.frames[0].meta.description = "what it is".to_owned();
        image.frames[0].meta.intent_name = "moved by".to_owned();
        image.frames[0].meta.display_range = Some((1.0, 2.5));
        image.frames[0].meta.facts.insert("nifti-dim-info".to_owned(), "57".to_owned());
        image.frames[0].meta.facts.insert("nifti-toffset".to_owned(), "0.25".to_owned());
        let back = save_and_open(Content::Image(&image), "a.nii.gz");
        assert_eq!(back.first().voxels.type_name(), name);
        assert_eq!(back.frame_axes, image.frame_axes);
        let all = |i: &Image| i.frames.iter().flat_map(|f| raw(&f.voxels)).collect::<Vec<u8>>();
        assert_eq!(all(&back), all(&image));
        let same = Meta { path: None, ..back.first().meta.clone() };
        assert_eq!(same, Meta { path: None, ..image.first().meta.clone() });
    }
}

#[test]
fn components_go_to_the_fifth_dimension() {
    let frame =
        || Volume::new(Voxels::U8(Array3::zeros((2, 2, 2)).into_shared()), Grid::unit([2; 3])).unwrap();
    let mut image = image_of(frame());
    image.frames = vec![frame(), frame(), frame()];
    image.frame_axes =
        vec![FrameAxis { name: "component".to_owned(), len: 3, step: 0.0, unit: String::new() }];
    let back = save_and_open(Content::Image(&image), "a.nii");
    assert_eq!(back.frame_axes.iter().map(|a| a.len).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn labels_are_written_small_and_with_their_names() {
    for (largest, name) in [(255, "uint8"), (256, "uint16"), (65535, "uint16")] {
        let grid = Grid::unit([4, 3, 2]);
        let labels =
            Array3::from_shape_fn((2, 3, 4), |(k, _, i)| if k == 1 && i == 2 { largest } else { i as u16 });
        let table =
            LabelTable { entries: vec![LabelEntry::new(largest, "Left <lobe> & more", [10, 200, 30])] };
        let meta = Meta { extensions: vec![(6, vec![b'x'; 24])], ..Meta::default() };
        let map = LabelMap { labels: labels.into_shared(), grid, table: table.clone(), meta };
        let back = save_and_open(Content::Labels(&map), "a.nii.gz");
        assert_eq!(back.first().voxels.type_name(), name);
        assert_eq!(back.first().meta.extensions.len(), 2);
        let read = back.first().to_labels().unwrap();
        assert!(read.labels == map.labels);
        assert_eq!(read.table, table);
        // Written again, the table is replaced, not repeated.
        let again = save_and_open(Content::Labels(&read), "b.nii");
        assert_eq!(again.first().meta.extensions.len(), 2);
    }
}

#[test]
fn a_size_beyond_16_bits_makes_nifti_2() {
    let grid = Grid::unit([40_000, 1, 1]);
    let voxels = Voxels::U8(Array3::from_shape_fn((1, 1, 40_000), |(_, _, i)| i as u8).into_shared());
    let image = image_of(Volume::new(voxels, grid).unwrap());
    let back = save_and_open(Content::Image(&image), "a.nii.gz");
    assert!(back.encoding.starts_with("NIfTI-2"), "{}", back.encoding);
    assert_eq!(raw(&back.first().voxels), raw(&image.first().voxels));
}

#[test]
fn an_assumed_placement_stays_assumed() {
    let mut f = Fixture::new(false, false, &[5, 6, 7], 2, 8);
    f.codes_qs = (0, 0);
    let image = read_bytes(&f.bytes()).unwrap();
    let back = save_and_open(Content::Image(&image), "a.nii");
    assert_eq!(codes(&back), ["no-orientation"]);
    assert_eq!(back.first().grid, image.first().grid);
    // Cropped, it lies elsewhere, which only a transform can say.
    let mut cropped = image.clone();
    cropped.frames[0].grid = image.first().grid.window([1, 0, 0], [5, 6, 7]);
    let back = save_and_open(Content::Image(&cropped), "a.nii");
    assert_eq!(back.first().meta.nifti_codes, Some((2, 2)));
    assert_eq!(back.first().grid, cropped.first().grid);
}

#[test]
fn what_cannot_be_written_says_so_and_leaves_nothing() {
    let dir = folder();
    let image = image_of(
        Volume::new(Voxels::U8(Array3::zeros((1, 1, 2)).into_shared()), Grid::unit([2, 1, 1])).unwrap(),
    );
    let save = |image: &Image, name: &str| {
        formats::save(Content::Image(image), &dir.path().join(name), &Task::silent()).unwrap_err()
    };
    assert_eq!(save(&image, "a.hdr").kind(), "unsupported");
    let mut flat = image.clone();
    flat.frames[0].grid.world_from_voxel = Affine([[0.0; 4]; 3]);
    assert_eq!(save(&flat, "a.nii").kind(), "argument");
    let task = Task::silent();
    task.cancel().cancel();
    let path = dir.path().join("a.nii.gz");
    std::fs::write(&path, b"precious").unwrap();
    assert_eq!(formats::save(Content::Image(&image), &path, &task).unwrap_err().kind(), "cancelled");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "temporary files were left");
}

/// Found by fuzzing: NIfTI-1 has the slope in single precision, where these would vanish and mean "no scaling".
#[test]
fn scalings_beyond_single_precision_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for scaling in [
        Scaling { slope: 7.7e-304, inter: 0.0 },
        Scaling { slope: -2.0, inter: 1e200 },
        Scaling { slope: 3e-40, inter: 1.0 },
    ] {
        let voxels = Voxels::I16(
            ndarray::Array3::from_shape_fn((2, 3, 4), |(k, j, i)| (k * 12 + j * 4 + i) as i16).into_shared(),
        );
        let grid = Grid { size_ijk: [4, 3, 2], world_from_voxel: formats::Affine::IDENTITY };
        let volume = formats::Volume { voxels, grid, scaling, meta: formats::Meta::default() };
        let image = formats::Image {
            frames: vec![volume],
            frame_axes: Vec::new(),
            format: "nifti",
            encoding: String::new(),
            is_picture: false,
            notices: Vec::new(),
        };
        let path = folder.path().join("a.nii");
        formats::save(formats::Content::Image(&image), &path, &formats::Task::silent()).unwrap();
        let back = formats::open(&path, &formats::Task::silent()).unwrap();
        assert_eq!(back.first().scaling, scaling);
        std::fs::remove_file(&path).unwrap();
    }
}
