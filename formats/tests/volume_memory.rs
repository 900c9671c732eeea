//! Hostile files ask for much; what is allocated stays within 64 MiB + 4 × the bytes really present.
//!
//! One test alone in this program, because the count is of the whole process.

#[path = "common/memory.rs"]
mod memory;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Opens a file; fails when it took too much memory or more than a few seconds.
fn open_within(path: &Path, bytes_present: usize) -> formats::Result<formats::Image> {
    memory::within(path, bytes_present, |path| formats::open(path, &formats::Task::silent()))
}

fn header(dims: [i16; 8], offset: f32) -> Vec<u8> {
    let mut h = vec![0; 352];
    h[..4].copy_from_slice(&348_i32.to_le_bytes());
    (0..8).for_each(|n| h[40 + 2 * n..42 + 2 * n].copy_from_slice(&dims[n].to_le_bytes()));
    h[70..72].copy_from_slice(&2_i16.to_le_bytes());
    h[72..74].copy_from_slice(&8_i16.to_le_bytes());
    h[108..112].copy_from_slice(&offset.to_le_bytes());
    h[344..348].copy_from_slice(b"n+1\0");
    h
}

/// A gzip stream of a header and `zeros` zero bytes.
fn packed(header: &[u8], zeros: usize) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    e.write_all(header).unwrap();
    let block = vec![0; 1 << 20];
    let mut left = zeros;
    while left > 0 {
        let n = left.min(block.len());
        e.write_all(&block[..n]).unwrap();
        left -= n;
    }
    e.finish().unwrap()
}

/// What little text can ask for.
fn text_headers(make: &dyn Fn(&str, &[u8]) -> PathBuf) {
    let refused = |name: &str, text: &str| {
        let error = open_within(&make(name, text.as_bytes()), text.len()).expect_err(name);
        assert!(error.to_string().len() < 2000, "{name}: an error of {} bytes", error.to_string().len());
    };
    // Headers of nothing but short entries.
    let nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 100 100 100\nencoding: raw\n";
    let mha = "ObjectType = Image\nNDims = 3\nDimSize = 100 100 100\nElementType = MET_UCHAR\n";
    for count in [150_000, 1_000_000] {
        let pairs: String = (0..count).map(|n| format!("{n:x}:=\n")).collect();
        refused("pairs.nrrd", &format!("{nrrd}{pairs}\n"));
        let fields: String = (0..count).map(|n| format!("{n:x}=\n")).collect();
        refused("fields.mha", &format!("{mha}{fields}ElementDataFile = LOCAL\n"));
        refused("list.nrrd", &format!("{nrrd}data file: LIST\n{}", "a\n".repeat(count)));
        refused("list.mha", &format!("{mha}ElementDataFile = LIST\n{}", "a\n".repeat(count)));
        refused("kinds.nrrd", &format!("{nrrd}kinds: {}\n\n", "a ".repeat(count)));
        refused("directions.nrrd", &format!("{nrrd}space directions: {}\n\n", "(1)".repeat(count)));
        refused("sizes.mha", &format!("{mha}DimSize = {}\nElementDataFile = LOCAL\n", "1 ".repeat(count)));
        refused("dims.mha", &format!("{mha}NDims = {}\nElementDataFile = LOCAL\n", "1 ".repeat(count)));
    }
    // Many names of one length, long.
    let long = "x".repeat(50_000);
    refused("pattern.nrrd", &format!("{nrrd}data file: {long}%d 1 90000 1\n"));
    refused("pattern.mha", &format!("{mha}ElementDataFile = {long}%d 1 90000 1\n"));
    // The same million bytes, a hundred times.
    make("slab.raw", &vec![7; 1_000_000]);
    let names = "slab.raw\n".repeat(50) + &"./slab.raw\n".repeat(50);
    let nrrd = nrrd.replace("100 100 100", "1000 1000 100");
    refused("again.nrrd", &format!("{nrrd}data file: LIST\n{names}"));
    let mha = mha.replace("100 100 100", "1000 1000 100");
    refused("again.mha", &format!("{mha}ElementDataFile = LIST\n{names}"));

    // Header extensions of eight bytes each, two million of them.
    let mut bytes = header([3, 4, 4, 4, 1, 1, 1, 1], (352 + (16 << 20)) as f32);
    bytes[348] = 1;
    bytes.extend([8, 0, 0, 0, 4, 0, 0, 0].repeat(2 << 20));
    bytes.resize(bytes.len() + 64, 0);
    let image = open_within(&make("extensions.nii", &bytes), bytes.len()).unwrap();
    assert!(image.first().meta.extensions.len() <= 1000);
    assert!(image.notices.iter().any(|n| n.code == "broken-extension"));
    // A label table of nothing but empty elements.
    let xml = ["<CaretExtension>", &"<a/>".repeat(1_000_000), "</CaretExtension>"].concat();
    let size = (xml.len() + 8).next_multiple_of(16);
    let mut bytes = header([3, 4, 4, 4, 1, 1, 1, 1], (352 + size) as f32);
    bytes[348] = 1;
    bytes.extend((size as i32).to_le_bytes());
    bytes.extend(30_i32.to_le_bytes());
    bytes.extend(xml.as_bytes());
    bytes.resize(352 + size + 64, 0);
    assert!(open_within(&make("xml.nii", &bytes), bytes.len()).unwrap().first().meta.labels.is_none());
}

#[test]
fn memory_stays_within_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };

    // Claims far beyond what any stream of this length can hold.
    let path = make("claim.nii.gz", &packed(&header([3, 32767, 32767, 32767, 1, 1, 1, 1], 352.0), 300_000));
    assert!(open_within(&path, 300_352).is_err());
    let path = make("claim.nii", &header([7, 32767, 32767, 32767, 32767, 32767, 32767, 32767], 352.0));
    assert!(open_within(&path, 352).is_err());

    // A claim of 300 MB that the compressed length makes just plausible, with a size in the trailer to match; the
    // stream ends after 1 MB and the rest is noise.
    let claim = header([3, 670, 670, 670, 1, 1, 1, 1], 352.0);
    let mut bytes = packed(&claim, 1 << 20);
    bytes.resize(320_000, 0x55);
    bytes.extend((670_u32 * 670 * 670 + 352).to_le_bytes());
    assert!(open_within(&make("plausible.nii.gz", &bytes), 1 << 20).is_err());

    // A bomb behind a small volume: 300 MB that no one asked for pass by unseen.
    let path = make("behind.nii.gz", &packed(&header([3, 4, 4, 4, 1, 1, 1, 1], 352.0), 300 << 20));
    let image = open_within(&path, 352 + 64).unwrap();
    assert_eq!(image.notices.iter().filter(|n| n.code == "bytes-after-voxels").count(), 1);

    // A bomb before the voxels.
    let path = make("before.nii.gz", &packed(&header([3, 4, 4, 4, 1, 1, 1, 1], 3e8), 1 << 20));
    assert!(open_within(&path, 1 << 20).is_err());

    // An honest volume that compresses a thousand times.
    let path = make("zeros.nii.gz", &packed(&header([3, 512, 512, 600, 1, 1, 1, 1], 352.0), 512 * 512 * 600));
    assert_eq!(open_within(&path, 512 * 512 * 600).unwrap().first().grid.size_ijk, [512, 512, 600]);

    // A million volumes of one voxel.
    let path =
        make("frames.nii", &[header([5, 1, 1, 1, 1000, 1000, 1, 1], 352.0), vec![0; 1_000_000]].concat());
    assert!(open_within(&path, 1_000_352).is_err());

    // One long extension and many volumes.
    let mut bytes = header([4, 10, 10, 10, 2000, 1, 1, 1], (352 + 5_000_000) as f32);
    bytes[348] = 1;
    bytes.extend(5_000_000_i32.to_le_bytes());
    bytes.extend(6_i32.to_le_bytes());
    bytes.resize(352 + 5_000_000 + 2_000_000, 1);
    let present = bytes.len();
    let image = open_within(&make("extension.nii", &bytes), present).unwrap();
    assert_eq!((image.frames.len(), image.first().meta.extensions[0].1.len()), (2000, 5_000_000 - 8));

    text_headers(&make);

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
    let files = entries.map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains(".nii"));
    for path in files {
        let len = std::fs::metadata(&path).unwrap().len() as usize;
        let _ = open_within(&path, len); // Whether it opens is told elsewhere.
    }
}
