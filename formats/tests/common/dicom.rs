//! DICOM files written byte by byte, apart from the reader under test.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::Path;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Implicit,
    Explicit,
    Big,
    Deflated,
}

/// A value of an element.
#[derive(Clone, Debug)]
pub enum V {
    Text(&'static str),
    U16(Vec<u16>),
    /// As they are, in any byte order.
    Bytes(Vec<u8>),
    /// Words of some bytes, given little endian.
    Words(usize, Vec<u8>),
    Items(Vec<Vec<(u16, u16, &'static str, V)>>),
    /// Encapsulated: offset table and fragments.
    Fragments(Vec<Vec<u8>>),
}

pub type Element = (u16, u16, &'static str, V);

fn number(way: Way, v: u64, size: usize) -> Vec<u8> {
    let mut bytes = v.to_le_bytes()[..size].to_vec();
    if way == Way::Big {
        bytes.reverse();
    }
    bytes
}

/// The bytes of elements.
pub fn data_set(way: Way, elements: &[Element]) -> Vec<u8> {
    let mut out = Vec::new();
    for (group, element, vr, value) in elements {
        let tag = [number(way, (*group).into(), 2), number(way, (*element).into(), 2)].concat();
        let item =
            |len: u32| [number(way, 0xfffe, 2), number(way, 0xe000, 2), number(way, len.into(), 4)].concat();
        let end = [number(way, 0xfffe, 2), number(way, 0xe0dd, 2), vec![0; 4]].concat();
        let (bytes, len) = match value {
            V::Text(text) => {
                let mut bytes = text.as_bytes().to_vec();
                if bytes.len() % 2 == 1 {
                    bytes.push(if *vr == "UI" { 0 } else { b' ' });
                }
                let len = bytes.len() as u32;
                (bytes, len)
            }
            V::U16(v) => (v.iter().flat_map(|&v| number(way, v.into(), 2)).collect(), 2 * v.len() as u32),
            V::Bytes(b) => (b.clone(), b.len() as u32),
            V::Words(size, b) => {
                let mut b = b.clone();
                if way == Way::Big {
                    b.chunks_exact_mut(*size).for_each(<[u8]>::reverse);
                }
                let len = b.len() as u32;
                (b, len)
            }
            V::Items(items) => {
                let mut bytes = Vec::new();
                for content in items {
                    let content = data_set(way, content);
                    bytes.extend(item(content.len() as u32));
                    bytes.extend(content);
                }
                bytes.extend(end);
                (bytes, u32::MAX)
            }
            V::Fragments(fragments) => {
                let mut bytes = Vec::new();
                for fragment in fragments {
                    bytes.extend(item(fragment.len() as u32));
                    bytes.extend(fragment);
                }
                bytes.extend(end);
                (bytes, u32::MAX)
            }
        };
        out.extend(tag);
        if way == Way::Implicit {
            out.extend(number(way, len.into(), 4));
        } else {
            out.extend(vr.as_bytes());
            if LONG.contains(vr) {
                out.extend([0, 0]);
                out.extend(number(way, len.into(), 4));
            } else {
                out.extend(number(way, len.into(), 2));
            }
        }
        out.extend(bytes);
    }
    out
}

/// Representations whose length has four bytes (PS3.5 7.1.2).
const LONG: [&str; 9] = ["OB", "OW", "OF", "OD", "SQ", "UN", "UC", "UR", "UT"];

/// One element in explicit little endian, with whatever bytes for a value.
pub fn element(group: u16, element: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = [group.to_le_bytes(), element.to_le_bytes()].concat();
    out.extend(vr.as_bytes());
    if LONG.contains(&vr) {
        out.extend([0, 0]);
        out.extend((value.len() as u32).to_le_bytes());
    } else {
        out.extend((value.len() as u16).to_le_bytes());
    }
    out.extend(value);
    out
}

/// One element in explicit little endian with a text, padded to an even length.
pub fn text(group: u16, number: u16, vr: &str, value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(if vr == "UI" { 0 } else { b' ' });
    }
    element(group, number, vr, &bytes)
}

/// One item of a sequence, little endian.
pub fn item(content: &[u8]) -> Vec<u8> {
    [&[0xfe, 0xff, 0, 0xe0], &(content.len() as u32).to_le_bytes()[..], content].concat()
}

/// A whole file with preamble and meta group.
pub fn file(way: Way, syntax: &'static str, elements: &[Element]) -> Vec<u8> {
    let meta = data_set(
        Way::Explicit,
        &[(2, 2, "UI", V::Text("1.2.840.10008.5.1.4.1.1.7")), (2, 0x10, "UI", V::Text(syntax))],
    );
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    out.extend(data_set(
        Way::Explicit,
        &[(2, 0, "UL", V::Bytes((meta.len() as u32).to_le_bytes().to_vec()))],
    ));
    out.extend(meta);
    let data = data_set(way, elements);
    if way == Way::Deflated {
        use std::io::Write;
        let mut e = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        e.write_all(&data).unwrap();
        out.extend(e.finish().unwrap());
    } else {
        out.extend(data);
    }
    out
}

/// The syntaxes of plain pixels.
pub const PLAIN: [(Way, &str); 4] = [
    (Way::Implicit, "1.2.840.10008.1.2"),
    (Way::Explicit, "1.2.840.10008.1.2.1"),
    (Way::Big, "1.2.840.10008.1.2.2"),
    (Way::Deflated, "1.2.840.10008.1.2.1.99"),
];

/// Image attributes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: u16,
    pub columns: u16,
    pub frames: &'static str,
    pub samples: u16,
    pub photometric: &'static str,
    pub planar: u16,
    pub allocated: u16,
    pub stored: u16,
    pub signed: bool,
}

impl Shape {
    pub const GREY16: Self = Self {
        rows: 13,
        columns: 18,
        frames: "1",
        samples: 1,
        photometric: "MONOCHROME2",
        planar: 0,
        allocated: 16,
        stored: 12,
        signed: false,
    };
    pub const GREY8: Self = Self { allocated: 8, stored: 8, ..Self::GREY16 };
    pub const RGB8: Self = Self { samples: 3, photometric: "RGB", ..Self::GREY8 };

    /// The elements of an image with its pixels, in order of tags.
    pub fn elements(self, extra: &[Element], pixels: Element) -> Vec<Element> {
        let mut all = vec![
            (8, 0x16, "UI", V::Text("1.2.840.10008.5.1.4.1.1.7")),
            (8, 0x18, "UI", V::Text("1.2.3.4")),
            (8, 0x60, "CS", V::Text("OT")),
            (0x28, 2, "US", V::U16(vec![self.samples])),
            (0x28, 4, "CS", V::Text(self.photometric)),
            (0x28, 6, "US", V::U16(vec![self.planar])),
            (0x28, 8, "IS", V::Text(self.frames)),
            (0x28, 0x10, "US", V::U16(vec![self.rows])),
            (0x28, 0x11, "US", V::U16(vec![self.columns])),
            (0x28, 0x100, "US", V::U16(vec![self.allocated])),
            (0x28, 0x101, "US", V::U16(vec![self.stored])),
            (0x28, 0x102, "US", V::U16(vec![self.stored.wrapping_sub(1)])),
            (0x28, 0x103, "US", V::U16(vec![u16::from(self.signed)])),
        ];
        all.extend_from_slice(extra);
        all.push(pixels);
        all.sort_by_key(|e| (e.0, e.1));
        all
    }
}

/// A picture of 18 × 13 pixels, as the script of the compressed streams has it.
pub fn picture<T>(f: impl Fn(i32, i32) -> T) -> Vec<T> {
    (0..13).flat_map(|y| (0..18).map(move |x| (x, y))).map(|(x, y)| f(x, y)).collect()
}

pub fn g16(x: i32, y: i32) -> u16 {
    ((x * 211 + y * y * 37) % 4096) as u16
}

pub fn g8(x: i32, y: i32) -> u8 {
    ((x * 13 + y * 7) % 256) as u8
}

pub fn rgb(x: i32, y: i32) -> [u8; 3] {
    [(x * 14 % 256) as u8, (y * 19 % 256) as u8, (x * y % 256) as u8]
}

/// Bytes of words, little endian.
pub fn le16(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A stream of `dicom_streams.txt`.
pub fn stream(name: &str) -> Vec<u8> {
    let text = include_str!("../fixtures/dicom_streams.txt");
    let hex = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let digits = hex.as_bytes().chunks(2).map(|d| std::str::from_utf8(d).unwrap());
    digits.map(|d| u8::from_str_radix(d, 16).unwrap()).collect()
}

/// One frame of RLE: literal and repeated runs, one segment for each byte of each sample, high bytes first.
pub fn rle(samples: &[u8], pixel_bytes: usize, sample_bytes: usize) -> Vec<u8> {
    let mut segments = Vec::new();
    for sample in 0..pixel_bytes / sample_bytes {
        for byte in (0..sample_bytes).rev() {
            let plane: Vec<u8> =
                samples.iter().skip(sample * sample_bytes + byte).step_by(pixel_bytes).copied().collect();
            let mut out = Vec::new();
            let mut at = 0;
            while at < plane.len() {
                let same = plane[at..].iter().take(128).take_while(|&&v| v == plane[at]).count();
                if same > 2 {
                    out.extend([(257 - same) as u8, plane[at]]);
                    at += same;
                } else {
                    let n = (plane.len() - at).min(2);
                    out.push(n as u8 - 1);
                    out.extend(&plane[at..at + n]);
                    at += n;
                }
            }
            if out.len() % 2 == 1 {
                out.push(0x80);
            }
            segments.push(out);
        }
    }
    let mut head = vec![segments.len() as u32];
    let mut at = 64;
    for segment in &segments {
        head.push(at);
        at += segment.len() as u32;
    }
    head.resize(16, 0);
    let mut out: Vec<u8> = head.iter().flat_map(|w| w.to_le_bytes()).collect();
    out.extend(segments.concat());
    out
}

pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
