//! Hostile DICOM files ask for much; what is allocated stays within 64 MiB + 4 × the bytes present, and time within seconds.
//!
//! One test alone in this program, because the count is of the whole process.

#[path = "common/dicom.rs"]
mod dicom;
#[path = "common/memory.rs"]
mod memory;

use std::path::{Path, PathBuf};

use dicom::{element, item, text};
use formats::dicom::{Instance, read_header, rtstruct, seg};
use formats::{Affine, Grid, Task, Volume, Voxels};

/// Runs something over a whole file under the rule.
fn within<T>(path: &Path, work: impl FnOnce(&Path) -> formats::Result<T>) -> formats::Result<T> {
    memory::within(path, std::fs::metadata(path).unwrap().len() as usize, work)
}

/// A file of a class with elements behind its UIDs.
fn file(class: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    let meta = text(2, 0x10, "UI", "1.2.840.10008.1.2.1");
    let head = [vec![0; 128], b"DICM".to_vec(), meta, text(8, 0x16, "UI", class)].concat();
    [head, elements.concat()].concat()
}

const STRUCTURES: &str = "1.2.840.10008.5.1.4.1.1.481.3";
const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";

#[test]
fn memory_and_time_stay_within_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };

    // Headers of nothing but small things: they are read up to where they become absurd, and that is told once.
    let small = element(0x0009, 0x0001, "UN", b"");
    let many_texts = text(0x0009, 0x0011, "LO", &"\\".repeat(60_000)).repeat(60);
    let headers = [
        ("items.dcm", element(0x0009, 0x1001, "SQ", &item(&small).repeat(400_000))),
        ("empty-items.dcm", element(0x0009, 0x1001, "SQ", &item(b"").repeat(1_000_000))),
        (
            "elements.dcm",
            (0..500_000_u32)
                .flat_map(|n| element(0x0009 + (n >> 16) as u16 * 2, n as u16, "UN", b""))
                .collect(),
        ),
        ("texts.dcm", element(0x0009, 0x1001, "UC", "\\".repeat(4_000_000).as_bytes())),
        (
            "short-texts.dcm",
            (0..500_u32).flat_map(|n| text(0x0009, n as u16, "LO", &"\\".repeat(4094))).collect(),
        ),
        ("same-texts.dcm", many_texts),
        ("bad-sequences.dcm", element(0x0009, 0x1001, "SQ", b"12345678").repeat(300_000)),
        (
            "nested.dcm",
            [&b"\x09\0\x01\0SQ\0\0\xff\xff\xff\xff"[..], &[0xfe, 0xff, 0, 0xe0, 0xff, 0xff, 0xff, 0xff]]
                .concat()
                .repeat(100_000),
        ),
    ];
    for (name, elements) in headers {
        let header =
            within(&make(name, &file("1.2.840.10008.5.1.4.1.1.2", &[elements])), read_header).unwrap();
        assert!(header.notices.len() < 100, "{name}: {} notices", header.notices.len());
    }

    // Pictures that claim much.
    let picture = |rows: u16, frames: &str, pixels: &[u8]| {
        let us = |tag, v: u16| element(0x28, tag, "US", &v.to_le_bytes());
        let shape = [
            us(2, 1),
            text(0x28, 4, "CS", "MONOCHROME2"),
            text(0x28, 8, "IS", frames),
            us(0x10, rows),
            us(0x11, rows),
        ];
        let bits = [us(0x100, 8), us(0x101, 8), us(0x102, 7), us(0x103, 0)];
        file(
            "1.2.840.10008.5.1.4.1.1.7",
            &[shape.concat(), bits.concat(), element(0x7fe0, 0x10, "OB", pixels)],
        )
    };
    let opened = |path: &Path| Instance::open(path).and_then(|i| i.frame(0));
    assert!(within(&make("claim.dcm", &picture(65535, "1", &[0; 100])), opened).is_err());
    assert!(within(&make("frames.dcm", &picture(10, "4294967295", &[0; 100])), opened).is_err());
    assert!(within(&make("honest.dcm", &picture(10, "1", &[0; 100])), opened).is_ok());

    // Structure sets of many structures with nothing, and of many contours that cover little.
    let grid = Grid { size_ijk: [256, 256, 64], world_from_voxel: Affine::IDENTITY };
    let voxels = ndarray::Array3::<u8>::zeros((64, 256, 256)).into_shared();
    let source = Volume::new(Voxels::U8(voxels), grid).unwrap();
    let read = |path: &Path| rtstruct::read(path, &source, &Task::silent());
    let named: Vec<u8> = (0..60_000).flat_map(|n| item(&text(0x3006, 0x22, "IS", &n.to_string()))).collect();
    let drawn: Vec<u8> =
        (60_000..120_000).flat_map(|n| item(&text(0x3006, 0x84, "IS", &n.to_string()))).collect();
    let bytes = file(STRUCTURES, &[element(0x3006, 0x20, "SQ", &named), element(0x3006, 0x39, "SQ", &drawn)]);
    let _ = within(&make("names.dcm", &bytes), read);
    let contours: Vec<u8> = (0..3000)
        .flat_map(|n| {
            let z = n % 64;
            let points = format!("-1\\-1\\{z}\\-2\\-1\\{z}\\-2\\-2.5\\{z}");
            let kind = text(
                0x3006,
                0x42,
                "CS",
                if n % 2 == 0 { "CLOSED_PLANAR".to_owned() } else { format!("K{n}") }.as_str(),
            );
            item(&[kind, text(0x3006, 0x50, "DS", &points)].concat())
        })
        .collect();
    let named: Vec<u8> = (1..=20).flat_map(|n| item(&text(0x3006, 0x22, "IS", &n.to_string()))).collect();
    let drawn: Vec<u8> = (1..=20)
        .flat_map(|n| {
            item(&[element(0x3006, 0x40, "SQ", &contours), text(0x3006, 0x84, "IS", &n.to_string())].concat())
        })
        .collect();
    let bytes = file(STRUCTURES, &[element(0x3006, 0x20, "SQ", &named), element(0x3006, 0x39, "SQ", &drawn)]);
    let (_, notices) = within(&make("contours.dcm", &bytes), read).unwrap();
    assert!(notices.len() < 20, "{notices:?}");

    // A segmentation that is none, of many segments.
    let segments: Vec<u8> =
        (0..60_000_u16).flat_map(|n| item(&element(0x62, 4, "US", &n.to_le_bytes()))).collect();
    let bytes = file(SEGMENTATION, &[element(0x62, 2, "SQ", &segments)]);
    assert!(within(&make("segments.dcm", &bytes), |p| seg::read(p, None, &Task::silent())).is_err());
}
