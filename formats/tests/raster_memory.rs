//! Hostile files ask for much; what is allocated stays within 64 MiB + 4 × the bytes really present.
//!
//! The formats other than NIfTI. One test alone in this program, because the count is of the whole process.

#[path = "common/memory.rs"]
mod memory;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Opens a file; fails when it took too much memory or more than a few seconds.
fn open_within(path: &Path, bytes_present: usize) -> formats::Result<formats::Image> {
    memory::within(path, bytes_present, |path| formats::open(path, &formats::Task::silent()))
}

fn deflated(zeros: usize, zlib: bool) -> Vec<u8> {
    let block = vec![0; zeros];
    if zlib {
        let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        e.write_all(&block).unwrap();
        e.finish().unwrap()
    } else {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        e.write_all(&block).unwrap();
        e.finish().unwrap()
    }
}

#[test]
fn memory_stays_within_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, header: &[u8], data: &[u8], present: usize| {
        let path = dir.path().join(name);
        std::fs::write(&path, [header, data].concat()).unwrap();
        let e = open_within(&path, present).expect_err(name);
        assert!(matches!(e.kind(), "malformed" | "over-limit" | "unsupported"), "{name}: {e}");
    };
    // 1 MB and the beginning of a stream that might hold 300 MB, then noise.
    let mega = 1 << 20;
    let mut gz = deflated(mega, false);
    gz.resize(320_000, 0x55);
    let mut zlib = deflated(mega, true);
    zlib.resize(320_000, 0x55);
    let nrrd = |encoding: &str, skip: &str| {
        format!("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 670 670 670\nencoding: {encoding}\n{skip}\n")
            .into_bytes()
    };
    refused("a.nrrd", &nrrd("gzip", ""), &gz, mega);
    refused("b.nrrd", &nrrd("raw", ""), &gz, 320_000);
    refused("c.nrrd", &nrrd("gzip", "byte skip: 900000\n"), &gz, mega);
    let mut e = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    e.write_all(&vec![0; mega]).unwrap();
    let mut bz = e.finish().unwrap();
    bz.resize(320_000, 0x55);
    refused("d.nrrd", &nrrd("bzip2", ""), &bz, mega);
    refused("e.nrrd", &nrrd("text", ""), &vec![b' '; 400_000], 400_000);
    let long = format!("NRRD0004\n{}", "a:=b\n".repeat(400_000));
    refused("f.nrrd", long.as_bytes(), b"", long.len() * 12); // Pairs are kept one by one.
    let mha = "ObjectType = Image\nNDims = 3\nDimSize = 670 670 670\nElementType = MET_UCHAR\n\
               CompressedData = True\nElementDataFile = LOCAL\n";
    refused("a.mha", mha.as_bytes(), &zlib, mega);
    let mut mgh: Vec<u8> = [1, 670, 670, 670, 1, 0, 0].iter().flat_map(|v: &i32| v.to_be_bytes()).collect();
    mgh.resize(284, 0);
    refused("a.mgh", &mgh, &[0; 1000], 1284);

    // PNG: 300 MB claimed over 300 kB.
    let chunk = |kind: &[u8], data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
    };
    let ihdr = [&20_000_u32.to_be_bytes()[..], &15_000_u32.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &ihdr), &chunk(b"IDAT", &zlib)].concat();
    refused("a.png", &png, &[], mega);
    // TIFF: the same, in one strip, in rows, in tiles.
    for (name, rows, compression) in
        [("a.tif", 15_000, 8_u32), ("b.tif", 1, 8), ("c.tif", 15_000, 5), ("d.tif", 15_000, 1)]
    {
        let entries: Vec<[u32; 3]> = vec![
            [256, 4, 20_000],
            [257, 4, 15_000],
            [258, 3, 8],
            [259, 3, compression],
            [262, 3, 1],
            [273, 4, 200],
            [278, 4, rows],
            [279, 4, zlib.len() as u32],
        ];
        let mut tiff = b"II*\0\x08\0\0\0".to_vec();
        tiff.extend((entries.len() as u16).to_le_bytes());
        for [tag, kind, value] in entries {
            tiff.extend((tag as u16).to_le_bytes());
            tiff.extend((kind as u16).to_le_bytes());
            tiff.extend(1_u32.to_le_bytes());
            tiff.extend(value.to_le_bytes());
        }
        tiff.resize(200, 0);
        refused(name, &tiff, &zlib, mega);
    }
    // BMP: 65535 × 65535 over little.
    let mut bmp = b"BM".to_vec();
    bmp.extend([0; 8]);
    bmp.extend(54_u32.to_le_bytes());
    bmp.extend(40_u32.to_le_bytes());
    bmp.extend([65535_i32.to_le_bytes(), 65535_i32.to_le_bytes()].concat());
    bmp.extend([1, 0, 24, 0]);
    bmp.resize(54, 0);
    refused("a.bmp", &bmp, &[0; 1000], 1054);
    let gif = [
        b"GIF89a".as_slice(),
        &[255; 4],
        &[0x80, 0, 0, 0, 0, 0, 9, 9, 9, 0x2c, 0, 0, 0, 0, 255, 255, 255, 255, 0, 2, 1, 0, 0, 0x3b],
    ]
    .concat();
    refused("a.gif", &gif, &[], gif.len());

    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(root.join("data/corrupt")) else {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!(
                "SKIPPED memory_stays_within_the_rule (shared part): no {} (set INSULA_SHARED)",
                root.display()
            );
        }
        return;
    };
    let is_ours = |p: &PathBuf| p.extension().is_some_and(|e| e == "png" || e == "jpg" || e == "tiff");
    for path in entries.map(|e| e.unwrap().path()).filter(is_ours) {
        let len = std::fs::metadata(&path).unwrap().len() as usize;
        let _ = open_within(&path, len); // Whether it opens is told elsewhere.
    }
}
