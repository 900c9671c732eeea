//! Hostile DICOM files ask for much; what is allocated stays within 64 MiB + 4 × the bytes really present.
//!
//! One test alone in this program, because the count is of the whole process.

mod common;
#[path = "common/dicom.rs"]
mod dicom;
#[path = "common/memory.rs"]
mod memory;

use std::io::Write;
use std::path::Path;

use dicom::{PLAIN, Shape, V, Way, data_set, file, stream, write};
use formats::Error;
use formats::dicom::pixels::Instance;

/// Opens and decodes; fails when that took too much memory or more than a few seconds.
fn within(path: &Path) -> Result<(), Error> {
    let present = std::fs::metadata(path).unwrap().len() as usize;
    memory::within(path, present, |path| {
        let instance = Instance::open(path)?;
        let _ = (instance.overlays(), instance.palette(), instance.voi(0));
        instance.frame(0).map(drop)
    })
}

#[test]
fn memory_stays_within_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let error = within(&write(dir.path(), name, bytes)).expect_err(name);
        assert!(!matches!(error, Error::Argument(_) | Error::Cancelled), "{name}: {error}");
    };
    let pixels = |v| (0x7fe0, 0x10, "OW", v);
    let explicit = |elements: &[dicom::Element]| file(Way::Explicit, PLAIN[1].1, elements);

    // An element, and pixels, of 4 GiB.
    let mut long = explicit(&[(8, 0x60, "CS", V::Text("CT"))]);
    long.extend([0x10, 0, 0x40, 0, b'U', b'T', 0, 0, 0xf0, 0xff, 0xff, 0xff, 1, 2, 3]);
    refused("long.dcm", &long);
    let mut long = explicit(&Shape::GREY16.elements(&[], pixels(V::Bytes(vec![0; 100]))));
    let at = long.len() - 104;
    long[at..at + 4].copy_from_slice(&[0xf0, 0xff, 0xff, 0xff]);
    refused("long_pixels.dcm", &long);
    // Empty elements, empty items and empty values without number.
    let mut many =
        data_set(Way::Implicit, &[(8, 0x16, "UI", V::Text("1.2")), (8, 0x60, "CS", V::Text("CT"))]);
    let header = many.clone();
    for i in 0..2_000_000_u32 {
        many.extend(((i / 60000) as u16 * 2 + 0x1001).to_le_bytes());
        many.extend((0x1000 + (i % 60000) as u16).to_le_bytes());
        many.extend([0; 4]);
    }
    refused("elements.dcm", &many);
    let mut items = header.clone();
    items.extend([8, 0, 0x40, 0x11, 0xff, 0xff, 0xff, 0xff]);
    items.extend([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0].repeat(2_000_000));
    refused("items.dcm", &items);
    let mut values = header.clone();
    values.extend([0x10, 0, 0x00, 0x10]);
    values.extend(16_000_000_u32.to_le_bytes());
    values.extend(vec![b'\\'; 16_000_000]);
    refused("values.dcm", &values);
    // Deflate at 1000 to one: of nothing, and of an element that announces it.
    let bomb = |head: &[u8]| {
        let mut e = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        e.write_all(head).unwrap();
        e.write_all(&vec![0; 300 << 20]).unwrap();
        [file(Way::Explicit, PLAIN[3].1, &[]), e.finish().unwrap()].concat()
    };
    let bombs = [bomb(&data_set(Way::Explicit, &[(8, 0x60, "CS", V::Text("CT"))])), bomb(&[])];
    for (i, bytes) in bombs.iter().enumerate() {
        refused(&format!("bomb{i}.dcm"), bytes);
    }
    // Sizes that the bytes do not hold.
    let huge = Shape { rows: 65535, columns: 65535, ..Shape::GREY16 };
    refused("plain.dcm", &explicit(&huge.elements(&[], pixels(V::Bytes(vec![0; 1000])))));
    let frames = Shape { frames: "2147483647", ..Shape::GREY16 };
    refused("frames.dcm", &explicit(&frames.elements(&[], pixels(V::Bytes(vec![0; 1000])))));
    let syntaxes = [
        ("J2K_16", "1.2.840.10008.1.2.4.90"),
        ("HTJ2K_16", "1.2.840.10008.1.2.4.201"),
        ("JPEGLS_16", "1.2.840.10008.1.2.4.80"),
        ("LJPEG_1", "1.2.840.10008.1.2.4.70"),
        ("JPEG_12", "1.2.840.10008.1.2.4.51"),
    ];
    for (name, syntax) in syntaxes {
        // The data set's claim alone, and with the stream's: 5 MiB are believed, 8 GiB are not.
        for (rows, columns) in [(65535_u16, 65535_u16), (1600, 1600)] {
            let mut stream = stream(name);
            let shape = Shape { rows, columns, ..Shape::GREY16 };
            let fragments = |s: &[u8]| V::Fragments(vec![Vec::new(), s.to_vec()]);
            refused(name, &file(Way::Explicit, syntax, &shape.elements(&[], pixels(fragments(&stream)))));
            let (rows, columns) = (rows.to_be_bytes(), columns.to_be_bytes());
            if name.contains("J2K") {
                stream[10..12].copy_from_slice(&columns);
                stream[14..16].copy_from_slice(&rows);
                stream[26..28].copy_from_slice(&columns);
                stream[30..32].copy_from_slice(&rows);
            } else {
                let frame = [0xc1, 0xc3, 0xf7].iter();
                let at = frame.filter_map(|m| stream.windows(2).position(|w| w == [0xff, *m])).min().unwrap();
                stream[at + 5..at + 7].copy_from_slice(&rows);
                stream[at + 7..at + 9].copy_from_slice(&columns);
            }
            let bytes = file(Way::Explicit, syntax, &shape.elements(&[], pixels(fragments(&stream))));
            // Some decoders show what is there of a stream cut short.
            let _ = within(&write(dir.path(), name, &bytes));
        }
    }
    let Some(data) = common::shared("memory_stays_within_the_rule") else { return };
    for (name, _) in common::rows(&data, "corrupt") {
        if name.ends_with(".dcm") {
            let _ = within(&data.join(name));
        }
    }
}
