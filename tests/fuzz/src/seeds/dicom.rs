//! DICOM instances: plain and encapsulated pixels of every layout, enhanced multi-frame objects, segmentations and
//! structure sets.

use insula_fuzz::dicom::{
    BIG, DEFLATED, EXPLICIT, Element, IMPLICIT, Syntax, Value, encapsulated, items, text, us,
};

use crate::Corpus;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";
const STRUCTURES: &str = "1.2.840.10008.5.1.4.1.1.481.3";

pub fn make(corpus: &Corpus) {
    for (name, bytes) in instances() {
        corpus.put("dicom_pixels", &name, &bytes);
        corpus.put("dicom_header", &name, &bytes);
    }
    for (name, bytes) in segmentations() {
        corpus.put("dicom_header", &name, &bytes);
        corpus.put("seg", &name, &bytes);
    }
    let bytes = EXPLICIT.file(STRUCTURES, &structures());
    corpus.put("dicom_header", "structures", &bytes);
    corpus.put("rtstruct", "structures", &bytes);
    corpus.put("rtstruct", "structures-implicit", IMPLICIT.file(STRUCTURES, &structures()));
}

/// Elements with those of the same tag replaced, in order.
fn with(base: Vec<Element>, extra: &[Element]) -> Vec<Element> {
    let mut all = base;
    for e in extra {
        all.retain(|a| (a.0, a.1) != (e.0, e.1));
        all.push(e.clone());
    }
    all.sort_by_key(|e| (e.0, e.1));
    all
}

/// A slice of 4 rows and 6 columns without its pixels.
fn slice() -> Vec<Element> {
    vec![
        text(0x0008, 0x0016, "UI", CT),
        text(0x0008, 0x0018, "UI", "1.2.3.4"),
        text(0x0008, 0x0060, "CS", "CT"),
        text(0x0018, 0x0050, "DS", "2.5"),
        text(0x0020, 0x000d, "UI", "1.2.3.1"),
        text(0x0020, 0x000e, "UI", "1.2.3.2"),
        text(0x0020, 0x0013, "IS", "1"),
        text(0x0020, 0x0032, "DS", "-10\\-20\\30"),
        text(0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
        text(0x0020, 0x0052, "UI", "1.2.3.3"),
        us(0x0028, 0x0002, &[1]),
        text(0x0028, 0x0004, "CS", "MONOCHROME2"),
        us(0x0028, 0x0010, &[4]),
        us(0x0028, 0x0011, &[6]),
        text(0x0028, 0x0030, "DS", "0.5\\0.75"),
        us(0x0028, 0x0100, &[16]),
        us(0x0028, 0x0101, &[12]),
        us(0x0028, 0x0102, &[11]),
        us(0x0028, 0x0103, &[0]),
        text(0x0028, 0x1050, "DS", "40"),
        text(0x0028, 0x1051, "DS", "80"),
        text(0x0028, 0x1052, "DS", "-1024"),
        text(0x0028, 0x1053, "DS", "1"),
    ]
}

fn pixels(values: Value) -> Element {
    (0x7fe0, 0x0010, "OW", values)
}

/// Bits allocated, stored and high; signed; samples; photometric interpretation.
fn kind(bits: [u16; 3], signed: u16, samples: u16, photometric: &str) -> Vec<Element> {
    vec![
        us(0x0028, 0x0002, &[samples]),
        text(0x0028, 0x0004, "CS", photometric),
        us(0x0028, 0x0006, &[0]),
        us(0x0028, 0x0100, &bits[..1]),
        us(0x0028, 0x0101, &bits[1..2]),
        us(0x0028, 0x0102, &bits[2..]),
        us(0x0028, 0x0103, &[signed]),
    ]
}

fn instances() -> Vec<(String, Vec<u8>)> {
    let words = pixels(Value::U16((0..24).map(|n| n * 170).collect()));
    let bytes = |n: usize| pixels(Value::Bytes((0..n).map(|n| n as u8).collect()));
    let mut out = Vec::new();
    let mut put = |name: &str, syntax: Syntax, extra: &[Vec<Element>]| {
        out.push((name.to_owned(), syntax.file(CT, &with(slice(), &extra.concat()))));
    };
    put("implicit", IMPLICIT, &[vec![words.clone()]]);
    put("explicit", EXPLICIT, &[vec![words.clone()]]);
    put("deflated", DEFLATED, &[vec![words.clone()]]);
    put("big", BIG, &[vec![words.clone()]]);
    put(
        "signed",
        EXPLICIT,
        &[kind([16, 16, 15], 1, 1, "MONOCHROME1"), vec![words.clone(), us(0x0028, 0x0120, &[0x8000])]],
    );
    put("bytes", EXPLICIT, &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![bytes(24)]]);
    put("bits", EXPLICIT, &[kind([1, 1, 0], 0, 1, "MONOCHROME2"), vec![bytes(4)]]);
    put("wide", EXPLICIT, &[kind([32, 32, 31], 0, 1, "MONOCHROME2"), vec![bytes(96)]]);
    put("rgb", EXPLICIT, &[kind([8, 8, 7], 0, 3, "RGB"), vec![bytes(72)]]);
    put("planes", EXPLICIT, &[kind([8, 8, 7], 0, 3, "RGB"), vec![us(0x0028, 0x0006, &[1]), bytes(72)]]);
    put("ybr", EXPLICIT, &[kind([8, 8, 7], 0, 3, "YBR_FULL_422"), vec![bytes(48)]]);
    put(
        "float",
        EXPLICIT,
        &[kind([32, 32, 31], 0, 1, "MONOCHROME2"), vec![(0x7fe0, 0x0008, "OF", Value::Bytes(vec![63; 96]))]],
    );
    put(
        "double",
        EXPLICIT,
        &[kind([64, 64, 63], 0, 1, "MONOCHROME2"), vec![(0x7fe0, 0x0009, "OD", Value::Bytes(vec![63; 192]))]],
    );
    let table = |element| (0x0028, element, "OW", Value::U16((0..16).map(|n| n * 4096).collect()));
    let descriptor = |element| us(0x0028, element, &[16, 0, 16]);
    let palette: Vec<Element> =
        (0x1101..=0x1103).map(descriptor).chain((0x1201..=0x1203).map(table)).collect();
    put("palette", EXPLICIT, &[kind([8, 8, 7], 0, 1, "PALETTE COLOR"), palette, vec![bytes(24)]]);
    let lut = vec![us(0x0028, 0x3002, &[16, 0, 8]), us(0x0028, 0x3006, &(0..16).collect::<Vec<_>>())];
    let tables = vec![items(0x0028, 0x3000, vec![lut.clone()]), items(0x0028, 0x3010, vec![lut])];
    put("tables", EXPLICIT, &[tables, vec![words.clone()]]);
    let overlay = vec![
        us(0x6000, 0x0010, &[4]),
        us(0x6000, 0x0011, &[6]),
        us(0x6000, 0x0100, &[1]),
        (0x6000, 0x3000, "OW", Value::Bytes(vec![0xaa; 4])),
    ];
    put("overlay", EXPLICIT, &[overlay, vec![words.clone()]]);
    put(
        "frames",
        EXPLICIT,
        &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![text(0x0028, 0x0008, "IS", "2"), bytes(48)]],
    );

    // PS3.5 annex G: a header of sixteen words, then PackBits; one literal run per plane.
    let run = |n: u8| [&[n - 1], &vec![5; usize::from(n)][..], &[0; 1][..usize::from(n % 2 == 0)]].concat();
    let segment = run(24);
    let rle = |planes: u32| {
        let mut h = vec![planes];
        h.extend((0..planes).map(|n| 64 + n * segment.len() as u32));
        h.resize(16, 0);
        [h.iter().flat_map(|v| v.to_le_bytes()).collect(), segment.repeat(planes as usize)].concat()
    };
    let coded = |fragments: Vec<Vec<u8>>| (0x7fe0, 0x0010, "OB", Value::Fragments(fragments));
    let syntax = encapsulated("1.2.840.10008.1.2.5");
    put("rle8", syntax, &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![coded(vec![vec![], rle(1)])]]);
    put("rle16", syntax, &[vec![coded(vec![vec![], rle(2)])]]);
    put("rle-rgb", syntax, &[kind([8, 8, 7], 0, 3, "RGB"), vec![coded(vec![vec![], rle(3)])]]);
    let second = (rle(1).len() as u32 + 8).to_le_bytes();
    let offsets = [&[0; 4][..], &second].concat();
    put(
        "rle-frames",
        syntax,
        &[
            kind([8, 8, 7], 0, 1, "MONOCHROME2"),
            vec![text(0x0028, 0x0008, "IS", "2"), coded(vec![offsets, rle(1), rle(1)])],
        ],
    );
    let whole = (0x7fe0, 0x0010, "OB", Value::Fragments(vec![vec![], vec![7; 24]]));
    put(
        "encapsulated",
        encapsulated("1.2.840.10008.1.2.1.98"),
        &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![whole]],
    );

    // Pictures of this size in the JPEG family, made by the encoder of the crate `image`.
    let mut grey = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut grey, 80);
    image::ImageEncoder::write_image(encoder, &[90; 24], 6, 4, image::ExtendedColorType::L8)
        .expect("a picture");
    let mut colour = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut colour, 80);
    image::ImageEncoder::write_image(encoder, &[90; 72], 6, 4, image::ExtendedColorType::Rgb8)
        .expect("a picture");
    let syntax = encapsulated("1.2.840.10008.1.2.4.50");
    let (a, b) = grey.split_at(grey.len() / 4 * 2);
    put("jpeg", syntax, &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![coded(vec![vec![], grey.clone()])]]);
    put(
        "jpeg-split",
        syntax,
        &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![coded(vec![vec![], a.to_vec(), b.to_vec()])]],
    );
    put("jpeg-colour", syntax, &[kind([8, 8, 7], 0, 3, "YBR_FULL_422"), vec![coded(vec![vec![], colour])]]);
    // Lossless JPEG (ITU-T T.81 annex H): predictor 1, one table with the category 0 alone, all differences zero.
    let lossless = |bits: u8| {
        let frame = [0xff, 0xc3, 0, 11, bits, 0, 4, 0, 6, 1, 1, 0x11, 0];
        let table = [&[0xff, 0xc4, 0, 20, 0, 1][..], &[0; 15], &[0]].concat();
        let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0xff, 0xd9];
        [&[0xff, 0xd8][..], &frame, &table, &scan].concat()
    };
    put("lossless", encapsulated("1.2.840.10008.1.2.4.70"), &[vec![coded(vec![vec![], lossless(12)])]]);
    // JPEG-LS (ITU-T T.87): all samples alike are one run in every line.
    let ls =
        [
            &[
                0xff, 0xd8, 0xff, 0xf7, 0, 11, 8, 0, 4, 0, 6, 1, 1, 0x11, 0, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 0,
                0,
            ][..],
            &[0xff, 0x7f, 0xff, 0x40, 0xff, 0xd9],
        ]
        .concat();
    put(
        "ls",
        encapsulated("1.2.840.10008.1.2.4.80"),
        &[kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![coded(vec![vec![], ls])]],
    );

    let mut bare = EXPLICIT.data_set(&with(slice(), &[words.clone()]));
    out.push(("bare".to_owned(), bare.clone()));
    bare.splice(0..0, *b"DICM");
    out.push(("short-preamble".to_owned(), bare));
    out
}

/// Shared and per-frame groups of an enhanced object with `frames` frames (PS3.3 C.7.6.16).
fn groups(frames: u16, each: impl Fn(u16) -> Vec<Element>) -> Vec<Element> {
    let shared = vec![
        items(0x0020, 0x9116, vec![vec![text(0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0")]]),
        items(
            0x0028,
            0x9110,
            vec![vec![
                text(0x0018, 0x0050, "DS", "2.5"),
                text(0x0018, 0x0088, "DS", "2.5"),
                text(0x0028, 0x0030, "DS", "0.5\\0.75"),
            ]],
        ),
    ];
    let one = |n| {
        let place =
            items(0x0020, 0x9113, vec![vec![text(0x0020, 0x0032, "DS", &format!("-10\\-20\\{}", 30.0 + 2.5 * f64::from(n / 2)))]]);
        with(vec![place], &each(n))
    };
    vec![
        text(0x0028, 0x0008, "IS", &frames.to_string()),
        items(0x5200, 0x9229, vec![shared]),
        items(0x5200, 0x9230, (0..frames).map(one).collect()),
    ]
}

fn code(value: &str, meaning: &str) -> Vec<Vec<Element>> {
    vec![vec![
        text(0x0008, 0x0100, "SH", value),
        text(0x0008, 0x0102, "SH", "SCT"),
        text(0x0008, 0x0104, "LO", meaning),
    ]]
}

fn segmentations() -> Vec<(String, Vec<u8>)> {
    let segment = |n: u16| {
        vec![
            us(0x0062, 0x0004, &[n]),
            items(0x0062, 0x0003, code("123037004", "Anatomical Structure")),
            text(0x0062, 0x0005, "LO", "Thing"),
            text(0x0062, 0x0008, "CS", "AUTOMATIC"),
            text(0x0062, 0x0009, "LO", "insula"),
            us(0x0062, 0x000d, &[40000, 30000, 20000]),
            items(0x0062, 0x000f, code("10200004", "Liver")),
        ]
    };
    let each = |n: u16| {
        vec![
            items(
                0x0020,
                0x9111,
                vec![vec![(
                    0x0020,
                    0x9157,
                    "UL",
                    Value::U32(vec![u32::from(n % 2) + 1, u32::from(n / 2) + 1]),
                )]],
            ),
            items(0x0062, 0x000a, vec![vec![us(0x0062, 0x000b, &[n % 2 + 1])]]),
        ]
    };
    let base = with(
        slice(),
        &[
            text(0x0008, 0x0016, "UI", SEGMENTATION),
            text(0x0008, 0x0060, "CS", "SEG"),
            text(0x0062, 0x0001, "CS", "BINARY"),
            items(0x0062, 0x0002, vec![segment(1), segment(2)]),
        ],
    );
    let base = with(base, &groups(4, each));
    let binary = with(
        base.clone(),
        &[kind([1, 1, 0], 0, 1, "MONOCHROME2"), vec![pixels(Value::Bytes(vec![0x5a; 12]))]].concat(),
    );
    let fraction = vec![
        text(0x0062, 0x0001, "CS", "FRACTIONAL"),
        text(0x0062, 0x0010, "CS", "PROBABILITY"),
        us(0x0062, 0x000e, &[255]),
    ];
    let fractional = with(
        base.clone(),
        &[fraction, kind([8, 8, 7], 0, 1, "MONOCHROME2"), vec![pixels(Value::Bytes(vec![200; 96]))]].concat(),
    );
    let map = with(
        base,
        &[
            vec![text(0x0062, 0x0001, "CS", "LABELMAP")],
            kind([8, 8, 7], 0, 1, "MONOCHROME2"),
            vec![pixels(Value::Bytes(vec![1; 96]))],
        ]
        .concat(),
    );
    vec![
        ("seg-binary".to_owned(), EXPLICIT.file(SEGMENTATION, &binary)),
        ("seg-fractional".to_owned(), EXPLICIT.file(SEGMENTATION, &fractional)),
        ("seg-labelmap".to_owned(), EXPLICIT.file("1.2.840.10008.5.1.4.1.1.66.7", &map)),
        ("seg-implicit".to_owned(), IMPLICIT.file(SEGMENTATION, &binary)),
    ]
}

fn structures() -> Vec<Element> {
    let contour = |z: f64| {
        vec![
            text(0x3006, 0x0042, "CS", "CLOSED_PLANAR"),
            text(0x3006, 0x0046, "IS", "4"),
            text(0x3006, 0x0050, "DS", &format!("-9.6\\-19.7\\{z}\\-7.4\\-19.7\\{z}\\-7.4\\-18.7\\{z}\\-9.6\\-18.7\\{z}")),
        ]
    };
    let roi = |n: &str| {
        vec![
            text(0x3006, 0x0022, "IS", n),
            text(0x3006, 0x0024, "UI", "1.2.3.3"),
            text(0x3006, 0x0026, "LO", "Thing"),
            text(0x3006, 0x0036, "CS", "AUTOMATIC"),
        ]
    };
    let contours = |n: &str| {
        vec![
            text(0x3006, 0x002a, "IS", "255\\0\\9"),
            items(0x3006, 0x0040, vec![contour(30.0), contour(32.5)]),
            text(0x3006, 0x0084, "IS", n),
        ]
    };
    let observation = vec![
        text(0x3006, 0x0082, "IS", "1"),
        text(0x3006, 0x0084, "IS", "1"),
        text(0x3006, 0x00a4, "CS", "ORGAN"),
        text(0x3006, 0x00a6, "PN", ""),
    ];
    let image = vec![text(0x0008, 0x1150, "UI", CT), text(0x0008, 0x1155, "UI", "1.2.3.4")];
    let series = vec![text(0x0020, 0x000e, "UI", "1.2.3.2"), items(0x3006, 0x0016, vec![image])];
    let study = vec![
        text(0x0008, 0x1150, "UI", "1.2.840.10008.3.1.2.3.1"),
        text(0x0008, 0x1155, "UI", "1.2.3.1"),
        items(0x3006, 0x0014, vec![series]),
    ];
    vec![
        text(0x0008, 0x0016, "UI", STRUCTURES),
        text(0x0008, 0x0018, "UI", "1.2.3.5"),
        text(0x0008, 0x0060, "CS", "RTSTRUCT"),
        text(0x0020, 0x000d, "UI", "1.2.3.1"),
        text(0x0020, 0x000e, "UI", "1.2.3.6"),
        text(0x3006, 0x0002, "SH", "Set"),
        items(
            0x3006,
            0x0010,
            vec![vec![text(0x0020, 0x0052, "UI", "1.2.3.3"), items(0x3006, 0x0012, vec![study])]],
        ),
        items(0x3006, 0x0020, vec![roi("1"), roi("2")]),
        items(0x3006, 0x0039, vec![contours("1"), contours("2")]),
        items(0x3006, 0x0080, vec![observation]),
    ]
}
