//! What the tests of several formats share: the truth table of the shared data, images to write, damage.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};

use formats::{Affine, AffineSource, AxisOrder, Grid, Image, Meta, Task, Volume, Voxels};
use ndarray::Array3;

/// The shared data folder, or `None` after saying that the test is skipped.
pub fn shared(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INSULA_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let data = root.join("data");
    if data.join("README.md").is_file() {
        return Some(data);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED {test}: no shared data at {} (set INSULA_SHARED)", data.display());
    }
    None
}

pub fn open(path: &Path) -> formats::Result<Image> {
    formats::open(path, &Task::silent())
}

/// The rows of a folder: first cell and truth, the last one.
pub fn rows(data: &Path, folder: &str) -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(data.join("README.md")).unwrap();
    let rows = readme.lines().filter(|l| l.starts_with(&format!("| `{folder}/"))).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let file = cells[0].trim().trim_matches('`').to_owned();
        (file, cells.last().unwrap().trim().to_owned())
    });
    rows.collect()
}

/// The text after `key`, up to one of `end`.
pub fn after<'a>(truth: &'a str, key: &str, end: &[char]) -> Option<&'a str> {
    let rest = &truth[truth.find(key)? + key.len()..];
    Some(rest[..rest.find(end).unwrap_or(rest.len())].trim())
}

pub fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Equal to a printed value (six significant digits, or as many decimals as were printed).
pub fn close(found: f64, text: &str) -> bool {
    if let Some((digits, exponent)) = text.split_once('e') {
        let decimals = digits.split_once('.').map_or(0, |(_, d)| d.len()) as i32;
        return (found - number(text)).abs() <= 0.51 * 10f64.powi(number(exponent) as i32 - decimals);
    }
    let decimals = text.split_once('.').map_or(0, |(_, d)| d.len()) as i32;
    (found - number(text)).abs() <= (0.51 * 10f64.powi(-decimals)).max(number(text).abs() * 5.1e-6)
}

/// Complaints about minimum, maximum and mean over all channels, which `truth` states.
pub fn statistics(file: &str, truth: &str, image: &Image) -> Vec<String> {
    let s = image.statistics();
    let mut wrong = Vec::new();
    for (key, found) in [("min ", s.min), ("max ", s.max), ("mean ", s.mean)] {
        let want =
            after(truth, key, &[',', ';', ' ']).unwrap_or_else(|| panic!("{file}: no {key}in {truth}"));
        if !close(found, want) {
            wrong.push(format!("{file}: {key}{found} instead of {want}"));
        }
    }
    wrong
}

/// All 48 axis orders.
pub fn all_orders() -> impl Iterator<Item = AxisOrder> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().flat_map(|source| {
        (0..8).map(move |f| AxisOrder { source, reversed: [f & 1 == 1, f & 2 == 2, f & 4 == 4] })
    })
}

/// A grid with odd numbers and, where asked for, oblique and sheared axes.
pub fn grid(size_ijk: [usize; 3], oblique: bool) -> Grid {
    let world_from_voxel = if oblique {
        Affine([
            [0.912_345_678_901, -0.2, 0.11, 12.123_456_789],
            [0.3, 1.1, -0.4, -7.7],
            [0.05, 0.25, 2.0 / 3.0, 1.0 / 3.0],
        ])
    } else {
        Affine::scale_shift([0.9, 1.0 / 3.0, 2.5], [-90.1, -126.0, 72.000_001])
    };
    Grid { size_ijk, world_from_voxel }
}

/// One image of frames without further axes.
pub fn image(frames: Vec<Voxels>, grid: Grid) -> Image {
    let volume = |voxels| {
        let mut v = Volume::new(voxels, grid).unwrap();
        v.meta = Meta { affine_source: AffineSource::Header, ..Meta::default() };
        v
    };
    Image {
        frames: frames.into_iter().map(volume).collect(),
        frame_axes: Vec::new(),
        format: "nifti",
        encoding: String::new(),
        is_picture: false,
        notices: Vec::new(),
    }
}

/// Voxels numbered in memory order, made by `f`.
pub fn numbered<T: Clone>(size_ijk: [usize; 3], f: impl Fn(usize) -> T) -> formats::Shared<T> {
    let [ni, nj, nk] = size_ijk;
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| f((k * nj + j) * ni + i)).into_shared()
}

/// Voxels of every type.
pub fn all_types(n: [usize; 3]) -> Vec<Voxels> {
    vec![
        Voxels::U8(numbered(n, |x| (x * 37) as u8)),
        Voxels::I8(numbered(n, |x| (x * 37) as i8)),
        Voxels::U16(numbered(n, |x| (x * 3001) as u16)),
        Voxels::I16(numbered(n, |x| (x * 3001) as i16)),
        Voxels::U32(numbered(n, |x| (x as u32).wrapping_mul(2_654_435_769))),
        Voxels::I32(numbered(n, |x| (x as i32).wrapping_mul(-1_640_531_527))),
        Voxels::U64(numbered(n, |x| (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))),
        Voxels::I64(numbered(n, |x| (x as i64).wrapping_mul(0x1E37_79B9_7F4A_7C15))),
        Voxels::F32(numbered(n, |x| (x as f32).sqrt() - 2.5)),
        Voxels::F64(numbered(n, |x| (x as f64).sqrt() - 2.5)),
        Voxels::Rgb8(numbered(n, |x| [x as u8, (x * 3) as u8, 255 - x as u8])),
        Voxels::Rgba8(numbered(n, |x| [x as u8, (x * 3) as u8, 7, 255 - x as u8])),
        Voxels::Rgb16(numbered(n, |x| [x as u16, (x * 3001) as u16, 65535 - x as u16])),
        Voxels::Rgba16(numbered(n, |x| [x as u16, (x * 3001) as u16, 7, 65535 - x as u16])),
        Voxels::Complex32(numbered(n, |x| [x as f32, -0.5 * x as f32])),
        Voxels::Complex64(numbered(n, |x| [x as f64, -0.5 * x as f64])),
    ]
}

/// Equal type, shape and bytes.
pub fn same_voxels(a: &Voxels, b: &Voxels) -> bool {
    let bytes = |v: &Voxels| formats::for_any!(v, a => bytemuck_bytes(a.as_slice().unwrap()));
    a.type_name() == b.type_name() && a.shape_kji() == b.shape_kji() && bytes(a) == bytes(b)
}

fn bytemuck_bytes<T: bytemuck::Pod>(slice: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(slice).to_vec()
}

/// Opens the file cut at many places and with bytes changed; nothing may panic, cut voxels may not pass in silence.
pub fn damage(folder: &Path, name: &str, bytes: &[u8], needed: usize) {
    let path = folder.join(name);
    let step = (bytes.len() / 100).max(1);
    for cut in (0..bytes.len()).step_by(step) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        if let Ok(image) = open(&path) {
            let warned = image.notices.iter().any(|n| n.level == formats::Level::Warning);
            assert!(cut >= needed || warned, "{name} cut at {cut} of {} opened in silence", bytes.len());
        }
    }
    // Headers densely, data sparsely.
    let places = (0..bytes.len().min(400)).chain((400..bytes.len()).step_by(step));
    for at in places {
        for change in [0x01_u8, 0xff] {
            let mut bad = bytes.to_vec();
            bad[at] ^= change;
            std::fs::write(&path, &bad).unwrap();
            let _ = open(&path);
        }
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(open(&path).is_ok(), "{name} itself");
}
