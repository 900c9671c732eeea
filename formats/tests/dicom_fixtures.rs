//! Instances of our own making: every way of writing pixels gives the same values, damage never panics.

#[path = "common/dicom.rs"]
mod dicom;

use dicom::{Element, PLAIN, Shape, V, Way, data_set, file, g8, g16, le16, picture, rgb, rle, stream, write};
use formats::dicom::pixels::{Instance, Modality, Samples, VoiFunction, VoiWindow};
use formats::dicom::{is_dicom, read_header};
use formats::{Error, Scaling};

const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.57";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.81";
const J2K: &str = "1.2.840.10008.1.2.4.91";
const HTJ2K: &str = "1.2.840.10008.1.2.4.201";
const RLE: &str = "1.2.840.10008.1.2.5";

fn pixels(vr: &'static str, v: V) -> Element {
    (0x7fe0, 0x10, vr, v)
}

fn open(bytes: &[u8]) -> Result<Instance, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "image.dcm", bytes);
    // Deflated and small files are in memory after this; the others are read again from the open folder.
    let instance = Instance::open(&path);
    std::mem::forget(dir);
    instance
}

fn frame(bytes: &[u8]) -> Samples {
    let instance = open(bytes).unwrap();
    instance.frame(0).unwrap()
}

fn compressed(syntax: &'static str, shape: Shape, fragments: Vec<Vec<u8>>) -> Vec<u8> {
    let mut all = vec![Vec::new()];
    all.extend(fragments);
    file(Way::Explicit, syntax, &shape.elements(&[], pixels("OB", V::Fragments(all))))
}

#[test]
fn stored_bits_keep_their_sign_and_lose_what_is_above_them() {
    let values = picture(|x, y| g16(x, y) as i16 - 2048);
    let words: Vec<u16> = values.iter().map(|&v| (v as u16 & 0x0fff) | 0xa000).collect();
    let shape = Shape { signed: true, ..Shape::GREY16 };
    for (way, syntax) in PLAIN {
        let bytes = file(way, syntax, &shape.elements(&[], pixels("OW", V::Words(2, le16(&words)))));
        assert_eq!(frame(&bytes), Samples::I16(values.clone()), "{way:?}");
    }
    let stream = rle(&le16(&words), 2, 2);
    assert_eq!(frame(&compressed(RLE, shape, vec![stream])), Samples::I16(values));
}

#[test]
fn bytes_in_big_endian_words_are_swapped_back() {
    let values = picture(g8);
    for (way, syntax) in PLAIN {
        let element = pixels("OW", V::Words(2, values.clone()));
        let bytes = file(way, syntax, &Shape::GREY8.elements(&[], element));
        assert_eq!(frame(&bytes), Samples::U8(values.clone()), "{way:?}");
    }
    let shape = Shape { rows: 3, columns: 3, frames: "2", ..Shape::GREY8 };
    let bytes: Vec<u8> = (1..=18).collect();
    let bytes = file(Way::Big, PLAIN[2].1, &shape.elements(&[], pixels("OW", V::Words(2, bytes))));
    // The second frame starts in the middle of a word.
    assert_eq!(open(&bytes).unwrap().frame(1).unwrap(), Samples::U8((10..=18).collect()));
}

#[test]
fn bits_wide_integers_and_floating_point() {
    let bits: Vec<u8> = (0..30).map(|i| u8::from(i % 3 == 0 || i % 7 == 1)).collect();
    let mut packed = vec![0_u8; 4];
    for (i, b) in bits.iter().enumerate() {
        packed[i / 8] |= b << (i % 8);
    }
    let shape = Shape { rows: 3, columns: 5, frames: "2", allocated: 1, stored: 1, ..Shape::GREY16 };
    for (way, syntax) in PLAIN {
        let bytes = file(way, syntax, &shape.elements(&[], pixels("OW", V::Words(2, packed.clone()))));
        let instance = open(&bytes).unwrap();
        assert_eq!(instance.frame(0).unwrap(), Samples::U8(bits[..15].to_vec()), "{way:?}");
        assert_eq!(instance.frame(1).unwrap(), Samples::U8(bits[15..].to_vec()), "{way:?}");
    }
    let shape = Shape { rows: 1, columns: 3, allocated: 32, stored: 32, signed: true, ..Shape::GREY16 };
    let wide = [i32::MIN, -5, 1 << 30];
    let floats = [-1.5_f32, 1e30, 0.25];
    let doubles = [-1.5_f64, 1e300, 0.25];
    for (way, syntax) in PLAIN {
        let bytes: Vec<u8> = wide.iter().flat_map(|v| v.to_le_bytes()).collect();
        let bytes = file(way, syntax, &shape.elements(&[], pixels("OW", V::Words(4, bytes))));
        assert_eq!(frame(&bytes), Samples::I32(wide.to_vec()), "{way:?}");
        let bytes: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
        let element = (0x7fe0, 8, "OF", V::Words(4, bytes));
        assert_eq!(frame(&file(way, syntax, &shape.elements(&[], element))), Samples::F32(floats.to_vec()));
        let bytes: Vec<u8> = doubles.iter().flat_map(|v| v.to_le_bytes()).collect();
        let element = (0x7fe0, 9, "OD", V::Words(8, bytes));
        let shape = Shape { allocated: 64, stored: 64, ..shape };
        assert_eq!(frame(&file(way, syntax, &shape.elements(&[], element))), Samples::F64(doubles.to_vec()));
    }
}

#[test]
fn colours_become_interleaved_rgb() {
    let colours = picture(rgb).concat();
    let want = Samples::U8(colours.clone());
    let plain =
        file(Way::Explicit, PLAIN[1].1, &Shape::RGB8.elements(&[], pixels("OB", V::Bytes(colours.clone()))));
    assert_eq!(frame(&plain), want);
    let planes: Vec<u8> = (0..3).flat_map(|c| colours.iter().skip(c).step_by(3).copied()).collect();
    let planar = Shape { planar: 1, ..Shape::RGB8 };
    let bytes = file(Way::Explicit, PLAIN[1].1, &planar.elements(&[], pixels("OB", V::Bytes(planes))));
    assert_eq!(frame(&bytes), want);
    assert_eq!(frame(&compressed(RLE, Shape::RGB8, vec![rle(&colours, 3, 1)])), want);

    // Black, white, and pure red of the full range (PS3.3 C.7.6.3.1.2).
    let shape = Shape { rows: 1, columns: 4, photometric: "YBR_FULL", ..Shape::RGB8 };
    let ybr = vec![0, 128, 128, 255, 128, 128, 76, 85, 255, 76, 85, 255];
    let bytes = file(Way::Explicit, PLAIN[1].1, &shape.elements(&[], pixels("OB", V::Bytes(ybr))));
    let want = Samples::U8(vec![0, 0, 0, 255, 255, 255, 254, 0, 0, 254, 0, 0]);
    assert_eq!(frame(&bytes), want);
    let shape = Shape { photometric: "YBR_FULL_422", ..shape };
    let shared = vec![0, 255, 128, 128, 76, 76, 85, 255];
    let bytes = file(Way::Explicit, PLAIN[1].1, &shape.elements(&[], pixels("OB", V::Bytes(shared))));
    assert_eq!(frame(&bytes), want);
}

#[test]
fn palettes_plain_and_segmented() {
    let ramp: Vec<u16> = (0..8).map(|i| i * 8192).collect();
    // 4 discrete entries, then a line of 4 to 57344.
    let mut segmented = vec![0, 4];
    segmented.extend(&ramp[..4]);
    segmented.extend([1, 4, 57344]);
    let descriptor = |e| (0x28, e, "US", V::U16(vec![8, 2, 16]));
    let descriptors = [descriptor(0x1101), descriptor(0x1102), descriptor(0x1103)];
    let shape = Shape { photometric: "PALETTE COLOR", ..Shape::GREY8 };
    for (first, table) in [(0x1201, le16(&ramp)), (0x1221, le16(&segmented))] {
        let mut extra = descriptors.to_vec();
        extra.extend((0..3).map(|c| (0x28, first + c, "OW", V::Words(2, table.clone()))));
        let bytes =
            file(Way::Explicit, PLAIN[1].1, &shape.elements(&extra, pixels("OB", V::Bytes(picture(g8)))));
        let palette = open(&bytes).unwrap().palette().unwrap().unwrap();
        assert_eq!(palette.entries, ramp.iter().map(|&v| [v; 3]).collect::<Vec<_>>());
        assert_eq!([1, 2, 5, 99].map(|i| palette.rgb8(i)[0]), [0, 0, 96, 224]);
    }
    let bytes = file(Way::Explicit, PLAIN[1].1, &shape.elements(&[], pixels("OB", V::Bytes(picture(g8)))));
    assert!(matches!(open(&bytes).unwrap().palette(), Err(Error::Malformed { .. })));
}

#[test]
fn lossless_streams_of_other_encoders() {
    let grey = Samples::U16(picture(g16));
    for predictor in 1..=7 {
        let stream = stream(&format!("LJPEG_{predictor}"));
        assert_eq!(
            frame(&compressed(JPEG_LOSSLESS, Shape::GREY16, vec![stream])),
            grey,
            "predictor {predictor}"
        );
    }
    // 16 bits in the stream, 12 of them stored.
    for (name, syntax) in [("JPEGLS_16", JPEG_LS), ("J2K_16", J2K), ("HTJ2K_16", HTJ2K)] {
        assert_eq!(frame(&compressed(syntax, Shape::GREY16, vec![stream(name)])), grey, "{name}");
    }
    let shape = Shape { stored: 16, signed: true, ..Shape::GREY16 };
    let signed = Samples::I16(picture(|x, y| g16(x, y) as i16 - 2000));
    assert_eq!(frame(&compressed(J2K, shape, vec![stream("J2K_S16")])), signed);
    let colours = Samples::U8(picture(rgb).concat());
    for (name, syntax) in [("JPEGLS_RGB", JPEG_LS), ("J2K_RGB", J2K)] {
        assert_eq!(frame(&compressed(syntax, Shape::RGB8, vec![stream(name)])), colours, "{name}");
    }
}

#[test]
fn lossy_streams_come_near() {
    let near = |name: &str, shape: Shape, want: &[i32], slack: i32| {
        let syntax = if name.starts_with("JPEGLS") { JPEG_LS } else { "1.2.840.10008.1.2.4.51" };
        let found: Vec<i32> = match frame(&compressed(syntax, shape, vec![stream(name)])) {
            Samples::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Samples::U16(v) => v.iter().map(|&v| v.into()).collect(),
            other => panic!("{name}: {other:?}"),
        };
        let worst = found.iter().zip(want).map(|(a, b)| (a - b).abs()).max().unwrap();
        assert!(worst <= slack && found.len() == want.len(), "{name}: {worst}");
    };
    let bytes = |name: &str| stream(name).iter().map(|&v| i32::from(v)).collect::<Vec<_>>();
    let wide: Vec<i32> =
        stream("=JPEG_12").chunks(2).map(|b| i32::from(u16::from_le_bytes([b[0], b[1]]))).collect();
    near("JPEGLS_NEAR_8", Shape::GREY8, &picture(|x, y| i32::from(g8(x, y))), 2);
    near("JPEG_8", Shape::GREY8, &bytes("=JPEG_8"), 1);
    near("JPEG_12", Shape::GREY16, &wide, 1);
    let ybr = Shape { photometric: "YBR_FULL_422", ..Shape::RGB8 };
    near("JPEG_RGB420", ybr, &bytes("=JPEG_RGB420"), 3);
    near("JPEG_PROGRESSIVE", ybr, &bytes("=JPEG_PROGRESSIVE"), 3);
}

#[test]
fn frames_are_found_by_tables_and_by_markers() {
    let one = stream("JPEGLS_16");
    let two = stream("JPEGLS_16");
    let (a, b) = one.split_at(100);
    let shape = Shape { frames: "2", ..Shape::GREY16 };
    let offsets = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>();
    let second = (8 + a.len() + 8 + b.len()) as u32;
    // A right table, none, and a wrong one.
    for table in [offsets(&[0, second]), Vec::new(), offsets(&[0, 12])] {
        let fragments = V::Fragments(vec![table, a.to_vec(), b.to_vec(), two.clone()]);
        let bytes = file(Way::Explicit, JPEG_LS, &shape.elements(&[], pixels("OB", fragments)));
        let instance = open(&bytes).unwrap();
        assert_eq!(instance.frame(0).unwrap(), instance.frame(1).unwrap());
        assert_eq!(instance.fragments(0).unwrap().unwrap().concat(), one);
    }
    // Extended offset table, with the lengths of frames before padding.
    let extra = [
        (
            0x7fe0,
            1,
            "OB",
            V::Bytes([0_u64, u64::from(second)].iter().flat_map(|w| w.to_le_bytes()).collect()),
        ),
        (
            0x7fe0,
            2,
            "OB",
            V::Bytes([one.len() as u64, two.len() as u64].iter().flat_map(|w| w.to_le_bytes()).collect()),
        ),
    ];
    let fragments = V::Fragments(vec![Vec::new(), a.to_vec(), b.to_vec(), two.clone()]);
    let bytes = file(Way::Explicit, JPEG_LS, &shape.elements(&extra, pixels("OB", fragments)));
    assert_eq!(open(&bytes).unwrap().frame(1).unwrap(), Samples::U16(picture(g16)));
    // Fewer fragments than frames.
    let fragments = V::Fragments(vec![Vec::new(), one]);
    let bytes = file(Way::Explicit, JPEG_LS, &shape.elements(&[], pixels("OB", fragments)));
    assert!(matches!(open(&bytes), Err(Error::Malformed { .. })));
    // Uncompressed, in fragments all the same.
    let plain = V::Fragments(vec![Vec::new(), le16(&picture(g16)), le16(&picture(g16))]);
    let bytes = file(Way::Explicit, "1.2.840.10008.1.2.1.98", &shape.elements(&[], pixels("OB", plain)));
    assert_eq!(open(&bytes).unwrap().frame(1).unwrap(), Samples::U16(picture(g16)));
}

#[test]
fn overlays_lie_where_they_say() {
    let shape = Shape { rows: 4, columns: 4, ..Shape::GREY16 };
    let words: Vec<u16> = (0..16).map(|i| i | if i % 5 == 0 { 0x8000 } else { 0 }).collect();
    let extra = [
        // 2 × 3 bits at row 3, column 0 (counted from 1): its left column lies outside.
        (0x6000, 0x10, "US", V::U16(vec![2])),
        (0x6000, 0x11, "US", V::U16(vec![3])),
        (0x6000, 0x40, "CS", V::Text("R")),
        (0x6000, 0x50, "SS", V::U16(vec![3, 0])),
        (0x6000, 0x3000, "OW", V::Words(2, vec![0b0011_1011, 0])),
        (0x6002, 0x10, "US", V::U16(vec![4])),
        (0x6002, 0x11, "US", V::U16(vec![4])),
        (0x6002, 0x100, "US", V::U16(vec![16])),
        (0x6002, 0x102, "US", V::U16(vec![15])),
    ];
    let elements = shape.elements(&extra, pixels("OW", V::Words(2, le16(&words))));
    for (way, syntax) in PLAIN {
        let instance = open(&file(way, syntax, &elements)).unwrap();
        let overlays = instance.overlays().unwrap();
        let mask = |i: usize| instance.overlay_mask(&overlays[i], 0).unwrap().unwrap();
        assert!(overlays[0].is_region && !overlays[1].is_region);
        assert_eq!(mask(0), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0], "{way:?}");
        assert_eq!(mask(1), (0..16).map(|i| u8::from(i % 5 == 0)).collect::<Vec<_>>(), "{way:?}");
        assert_eq!(instance.frame(0).unwrap(), Samples::U16((0..16).collect()));
    }
    let cut = shape.elements(
        &[
            (0x6000, 0x10, "US", V::U16(vec![2000])),
            (0x6000, 0x11, "US", V::U16(vec![2000])),
            extra[4].clone(),
        ],
        pixels("OW", V::Words(2, le16(&words))),
    );
    assert!(matches!(
        open(&file(Way::Explicit, PLAIN[1].1, &cut)).unwrap().overlays(),
        Err(Error::Malformed { .. })
    ));
}

#[test]
fn values_get_their_meaning() {
    let window = |function, center, width| VoiWindow { center, width, function, explanation: String::new() };
    // PS3.3 C.11.2.1.2: 12-bit values, centre 2048, width 4096, is the whole range; width 1 is a threshold.
    let all = window(VoiFunction::Linear, 2048.0, 4096.0);
    assert_eq!([all.apply(0.0), all.apply(4095.0)], [0.0, 1.0]);
    assert!((all.apply(2047.5) - 0.5).abs() < 1e-12);
    let threshold = window(VoiFunction::Linear, 100.0, 1.0);
    assert_eq!([threshold.apply(99.5), threshold.apply(99.6)], [0.0, 1.0]);
    let exact = window(VoiFunction::LinearExact, 10.0, 20.0);
    assert_eq!([exact.apply(0.0), exact.apply(5.0), exact.apply(20.0)], [0.0, 0.25, 1.0]);
    let sigmoid = window(VoiFunction::Sigmoid, 10.0, 20.0);
    assert_eq!(sigmoid.apply(10.0), 0.5);
    assert!((sigmoid.apply(20.0) - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-12);

    let item = |slope, window| {
        vec![
            (
                0x28,
                0x9132,
                "SQ",
                V::Items(vec![vec![
                    (0x28, 0x1050, "DS", V::Text(window)),
                    (0x28, 0x1051, "DS", V::Text("80")),
                ]]),
            ),
            (
                0x28,
                0x9145,
                "SQ",
                V::Items(vec![vec![
                    (0x28, 0x1052, "DS", V::Text("-1")),
                    (0x28, 0x1053, "DS", V::Text(slope)),
                ]]),
            ),
        ]
    };
    let extra = [
        (0x28, 0x120, "SS", V::U16(vec![-2000_i16 as u16])),
        (0x28, 0x1053, "DS", V::Text("9")),
        (0x5200, 0x9230, "SQ", V::Items(vec![item("2", "40"), item("0.5", "50")])),
    ];
    let shape = Shape { rows: 1, columns: 2, frames: "2", stored: 16, signed: true, ..Shape::GREY16 };
    for (way, syntax) in PLAIN {
        let elements = shape.elements(&extra, pixels("OW", V::Words(2, vec![0; 8])));
        let instance = open(&file(way, syntax, &elements)).unwrap();
        let scaling = |n| match instance.modality(n).unwrap() {
            Modality::Linear(Scaling { slope, inter }) => [slope, inter],
            Modality::Lut(lut) => panic!("{lut:?}"),
        };
        assert_eq!([scaling(0), scaling(1)], [[2.0, -1.0], [0.5, -1.0]], "{way:?}");
        assert_eq!([0, 1].map(|n| instance.voi(n).windows[0].center), [40.0, 50.0]);
        let padding = instance.padding().unwrap();
        assert!(padding.contains(-2000) && !padding.contains(-1999), "{way:?}");
    }
}

#[test]
fn files_without_beginnings_are_recognised() {
    let elements = Shape::GREY16.elements(&[], pixels("OW", V::Words(2, le16(&picture(g16)))));
    for (way, syntax) in &PLAIN[..3] {
        let bare = data_set(*way, &elements);
        assert!(is_dicom(&bare), "{way:?}");
        let instance = open(&bare).unwrap();
        assert_eq!(instance.header().transfer_syntax_uid, *syntax);
        assert!(instance.notices().iter().any(|n| n.code == "dicom-no-transfer-syntax"));
        assert_eq!(instance.frame(0).unwrap(), Samples::U16(picture(g16)));
        // Said to be something else.
        let (said, uid) =
            if *way == Way::Explicit { (Way::Explicit, PLAIN[0].1) } else { (*way, PLAIN[1].1) };
        let instance = open(&file(said, uid, &elements)).unwrap();
        assert!(instance.notices().iter().any(|n| n.code == "dicom-encoding-differs"), "{way:?}");
        assert_eq!(instance.frame(0).unwrap(), Samples::U16(picture(g16)));
    }
    for no in [&b""[..], b"DIC", b"hello, world: this is text and no image", &[0; 200], b"\x89PNG\r\n\x1a\n"]
    {
        assert!(!is_dicom(no) && open(no).is_err());
    }
}

#[test]
fn bad_sequences_do_not_hide_the_image() {
    let image = pixels("OW", V::Words(2, le16(&picture(g16))));
    // A private sequence of unknown representation with a length: its content is rubbish.
    let rubbish = V::Bytes(vec![0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0x00, 0x00, 1, 2, 3, 4]);
    let extra = [(0x29, 0x1140, "SQ", rubbish)];
    let bytes = file(Way::Explicit, PLAIN[1].1, &Shape::GREY16.elements(&extra, image.clone()));
    let instance = open(&bytes).unwrap();
    assert!(instance.notices().iter().any(|n| n.code == "dicom-bad-sequence"), "{:?}", instance.notices());
    assert_eq!(instance.frame(0).unwrap(), Samples::U16(picture(g16)));
    // Nesting without end.
    let mut deep = data_set(Way::Explicit, &[(8, 0x16, "UI", V::Text("1.2"))]);
    for _ in 0..5000 {
        deep.extend([0x29, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff]);
        deep.extend([0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff]);
    }
    let dir = tempfile::tempdir().unwrap();
    let header = read_header(&write(dir.path(), "deep.dcm", &deep));
    assert!(header.is_err() || header.unwrap().notices.iter().any(|n| n.message.contains("deep")));
}

#[test]
fn damage_gives_errors_or_other_pixels_but_no_panic() {
    let grey = pixels("OW", V::Words(2, le16(&picture(g16))));
    let mut files = vec![
        ("explicit", file(Way::Explicit, PLAIN[1].1, &Shape::GREY16.elements(&[], grey.clone()))),
        ("implicit", file(Way::Implicit, PLAIN[0].1, &Shape::GREY16.elements(&[], grey.clone()))),
        ("big", file(Way::Big, PLAIN[2].1, &Shape::GREY16.elements(&[], grey.clone()))),
        ("deflated", file(Way::Deflated, PLAIN[3].1, &Shape::GREY16.elements(&[], grey))),
        ("rle", compressed(RLE, Shape::RGB8, vec![rle(&picture(rgb).concat(), 3, 1)])),
    ];
    let streams = [
        ("LJPEG_4", JPEG_LOSSLESS, Shape::GREY16),
        ("JPEGLS_16", JPEG_LS, Shape::GREY16),
        ("JPEGLS_RGB", JPEG_LS, Shape::RGB8),
        ("JPEGLS_NEAR_8", JPEG_LS, Shape::GREY8),
        ("J2K_16", J2K, Shape::GREY16),
        ("J2K_RGB", J2K, Shape::RGB8),
        ("HTJ2K_16", HTJ2K, Shape::GREY16),
        ("JPEG_12", "1.2.840.10008.1.2.4.51", Shape::GREY16),
        ("JPEG_RGB420", "1.2.840.10008.1.2.4.50", Shape { photometric: "YBR_FULL_422", ..Shape::RGB8 }),
        ("JPEG_PROGRESSIVE", "1.2.840.10008.1.2.4.55", Shape { photometric: "YBR_FULL", ..Shape::RGB8 }),
    ];
    files.extend(streams.map(|(name, syntax, shape)| (name, compressed(syntax, shape, vec![stream(name)]))));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.dcm");
    let look = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let instance = Instance::open(&path)?;
        for n in 0..instance.layout().frames.min(3) {
            instance.frame(n)?;
        }
        let _ = (instance.modality(0), instance.voi(0), instance.palette(), instance.overlays());
        Ok::<_, Error>(())
    };
    for (name, bytes) in files {
        look(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        for cut in (0..bytes.len()).step_by(11) {
            // The last 8 bytes of compressed files are the delimiter, and JPEG streams may miss their end marker.
            let slack = 16;
            assert!(
                look(&bytes[..cut]).is_err() || cut + slack >= bytes.len(),
                "{name} cut at {cut} of {}",
                bytes.len()
            );
        }
        let mut state = 1_u32;
        for at in (132..bytes.len()).step_by(5) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bad = bytes.clone();
            if state & 0x8000 == 0 {
                bad[at] ^= 1 << (state >> 29);
            } else {
                bad[at] = (state >> 16) as u8;
            }
            let _ = look(&bad);
        }
    }
}

/// A UID is 64 characters at most (PS3.5 9.1); what stands in its place may be thousands, and messages stay short.
#[test]
fn a_transfer_syntax_of_kilobytes_is_told_shortly() {
    let long = "9.87654321".repeat(600);
    let mut bytes = [vec![0; 128], b"DICM".to_vec()].concat();
    bytes.extend(data_set(Way::Explicit, &[(0x0002, 0x0010, "UI", V::Bytes(long.into_bytes()))]));
    bytes.extend(data_set(Way::Implicit, &[(0x0008, 0x0060, "CS", V::Text("CT"))]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.dcm");
    std::fs::write(&path, bytes).unwrap();
    let said = match formats::dicom::read_header(&path) {
        Ok(header) => header.notices.iter().map(|n| n.message.len()).max().unwrap_or(0),
        Err(e) => e.to_string().len(),
    };
    assert!((1..600).contains(&said), "{said} characters");
}
