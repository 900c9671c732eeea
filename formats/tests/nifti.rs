//! NIfTI against the truth table of the shared data, whose values come from nibabel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formats::{Image, Task, Voxels};

/// The shared data folder, or `None` after saying that the test is skipped.
fn shared(test: &str) -> Option<PathBuf> {
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

fn open(path: &Path) -> formats::Result<Image> {
    formats::open(path, &Task::silent())
}

/// The rows of a folder: file (relative to the data folder) and truth, the last column.
fn rows(data: &Path, folder: &str) -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(data.join("README.md")).unwrap();
    let mut rows = Vec::new();
    for line in readme.lines().filter(|l| l.starts_with(&format!("| `{folder}/"))) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let file = cells[0].trim().trim_matches('`').split(" + ").next().unwrap();
        let truth = cells.last().unwrap().trim().to_owned();
        // `27/{int8,uint8}.nii` stands for several files.
        if let Some((before, rest)) = file.split_once('{') {
            let (names, after) = rest.split_once('}').unwrap();
            rows.extend(names.split(',').map(|n| (format!("{before}{n}{after}"), truth.clone())));
        } else {
            rows.push((file.to_owned(), truth));
        }
    }
    rows
}

/// The text after `key`, up to one of `end`.
fn after<'a>(truth: &'a str, key: &str, end: &[char]) -> Option<&'a str> {
    let rest = &truth[truth.find(key)? + key.len()..];
    Some(rest[..rest.find(end).unwrap_or(rest.len())].trim())
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Equal to a printed value (six significant digits, or as many decimals as were printed).
fn close(found: f64, text: &str) -> bool {
    let decimals = text.split_once('.').map_or(0, |(_, d)| d.len()) as i32;
    (found - number(text)).abs() <= (0.51 * 10f64.powi(-decimals)).max(number(text).abs() * 5.1e-6)
}

fn check(file: &str, truth: &str, image: &Image) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |ok: bool, what: String| {
        if !ok {
            wrong.push(format!("{file}: {what}"));
        }
    };
    let v = image.first();
    if let Some(shape) = after(truth, "shape ", &[',', ';']) {
        let want: Vec<usize> = shape.split('×').map(|n| n.trim().parse().unwrap()).collect();
        let mut found: Vec<usize> = v.grid.size_ijk.to_vec();
        found.extend(image.frame_axes.iter().map(|a| a.len));
        while found.len() > want.len() && found.last() == Some(&1) {
            found.pop();
        }
        expect(found == want, format!("shape {found:?} instead of {want:?}"));
    }
    if let Some(voxel) = after(truth, "voxel ", &['m']).filter(|v| v.contains('×')) {
        // nibabel leaves micrometres as they are.
        let unit = if truth.contains("does not apply the unit") { 1000.0 } else { 1.0 };
        for (found, want) in v.grid.spacing_mm().iter().zip(voxel.split('×')) {
            expect(close(found * unit, want.trim()), format!("spacing {found} instead of {want}"));
        }
        let facts: Vec<&str> = truth.split(" mm, ").nth(1).unwrap().split(", ").collect();
        let code = v.grid.orientation_code();
        expect(code == facts[0], format!("orientation {code} instead of {}", facts[0]));
        let kind = facts[1].split(' ').next().unwrap().to_lowercase();
        expect(v.voxels.type_name() == kind, format!("{} instead of {kind}", v.voxels.type_name()));
        for fact in ["big-endian", "NIfTI-2"] {
            expect(image.encoding.contains(fact) == truth.contains(fact), image.encoding.clone());
        }
    }
    if let Some(codes) = after(truth, "qform/sform code ", &[',']) {
        let (q, s) = codes.split_once('/').unwrap();
        let want = (s.parse().unwrap(), q.parse().unwrap());
        expect(v.meta.nifti_codes == Some(want), format!("codes {:?}", v.meta.nifti_codes));
    }
    if let Some(origin) = after(truth, "voxel 0,0,0 = (", &[')']) {
        for (found, want) in v.grid.world_from_voxel.origin().iter().zip(origin.split(", ")) {
            expect((found - number(want)).abs() < 6e-4, format!("origin {found} instead of {want}"));
        }
    }
    if let Some(matrix) = truth.split("direction columns [[").nth(1).and_then(|t| t.split("]]").next()) {
        // One bracket per voxel axis: its direction.
        let want: Vec<f64> = matrix.replace(['[', ']'], "").split(", ").map(number).collect();
        let spacing = v.grid.spacing_mm();
        for (n, want) in want.iter().enumerate() {
            let found = v.grid.world_from_voxel.column(n / 3)[n % 3] / spacing[n / 3];
            expect((found - want).abs() < 6e-5, format!("direction {n}: {found} instead of {want}"));
        }
    }
    if let (Some(slope), Some(inter)) = (after(truth, ", slope ", &[' ']), after(truth, " inter ", &[','])) {
        let found = v.scaling;
        expect((found.slope / number(slope) - 1.0).abs() < 5e-6, format!("slope {}", found.slope));
        expect(close(found.inter, inter), format!("intercept {}", found.inter));
    }
    if truth.contains("R: min") {
        let channels = if truth.contains("A: min") { "RGBA" } else { "RGB" };
        for (n, letter) in channels.chars().enumerate() {
            let stats = truth.split(&format!("{letter}: ")).nth(1).unwrap();
            let values = image.frames.iter().flat_map(|f| match &f.voxels {
                Voxels::Rgb8(a) => a.iter().map(|c| f64::from(c[n])).collect::<Vec<_>>(),
                Voxels::Rgba8(a) => a.iter().map(|c| f64::from(c[n])).collect(),
                other => panic!("{file}: not colour but {}", other.type_name()),
            });
            let values: Vec<f64> = values.collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let max = values.iter().copied().fold(0.0, f64::max);
            let (want_max, want_mean) =
                (after(stats, "max ", &[',']).unwrap(), after(stats, "mean ", &[',']).unwrap());
            expect(close(mean, want_mean), format!("{letter} mean {mean} instead of {want_mean}"));
            expect(close(max, want_max), format!("{letter} max {max} instead of {want_max}"));
        }
    } else if let Some(min) = after(truth, "min ", &[',']) {
        let s = image.statistics();
        let max = after(truth, "max ", &[',']).unwrap();
        let mean = after(truth, "mean ", &[',', ';', ' ']).unwrap();
        for (name, found, want) in [("min", s.min, min), ("max", s.max, max), ("mean", s.mean, mean)] {
            expect(close(found, want), format!("{name} {found} instead of {want}"));
        }
        let left_out = truth.split(" non-finite left out").next().filter(|t| *t != truth);
        let left_out = left_out.map_or(0, |t| t.rsplit('(').next().unwrap().parse().unwrap());
        expect(s.non_finite == left_out, format!("{} values not finite", s.non_finite));
    }
    if let Some(list) = truth.split("; labels ").nth(1) {
        let map = v.to_labels().unwrap();
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        map.labels.iter().for_each(|&l| *counts.entry(l).or_default() += 1);
        let mut understood = 0;
        for item in list.split("; ") {
            let id = item.split([' ', ':']).next().and_then(|t| t.parse::<u16>().ok());
            let n = after(item, ": ", &[' ']).and_then(|t| t.parse::<usize>().ok());
            if let (Some(id), Some(n)) = (id, n) {
                understood += 1;
                expect(
                    counts.get(&id) == Some(&n),
                    format!("label {id}: {:?} voxels, not {n}", counts.get(&id)),
                );
            }
        }
        expect(understood > 0, "no label counts understood".to_owned());
    }
    wrong
}

#[test]
fn every_file_of_the_truth_table_reads_as_nibabel_says() {
    let Some(data) = shared("every_file_of_the_truth_table_reads_as_nibabel_says") else { return };
    let rows = rows(&data, "nifti");
    assert!(rows.len() >= 60, "only {} rows understood", rows.len());
    let mut wrong = Vec::new();
    let mut with_values = 0;
    for (file, truth) in &rows {
        with_values += usize::from(truth.contains("min "));
        match open(&data.join(file)) {
            Ok(image) => wrong.extend(check(file, truth, &image)),
            Err(e) => wrong.push(format!("{file}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{} problems\n{}", wrong.len(), wrong.join("\n"));
    assert!(with_values >= 55, "only {with_values} rows with values");
}

#[test]
fn the_orientation_files_are_one_picture() {
    let Some(data) = shared("the_orientation_files_are_one_picture") else { return };
    let ras = open(&data.join("nifti/orientation/RAS.nii.gz")).unwrap();
    let want = ras.first().to_f32();
    for name in ["LAS", "LPS", "AIL", "PSR", "SPL"] {
        let image = open(&data.join(format!("nifti/orientation/{name}.nii.gz"))).unwrap();
        assert_eq!(image.first().grid.orientation_code(), name);
        let turned = image.first().reordered(image.first().grid.order_to_ras());
        assert!(turned.grid.is_same(&ras.first().grid, 1e-3), "{name}");
        assert!(turned.to_f32() == want, "{name}");
    }
}

#[test]
fn odd_containers_hold_the_same_voxels() {
    let Some(data) = shared("odd_containers_hold_the_same_voxels") else { return };
    let same = |a: &str, others: &[&str]| {
        let first = open(&data.join(a)).unwrap();
        for b in others {
            let other = open(&data.join(b)).unwrap_or_else(|e| panic!("{e}"));
            assert!(first.first().to_f32() == other.first().to_f32(), "{b}");
            assert_eq!(first.first().grid, other.first().grid, "{b}");
        }
    };
    let derived = "nifti/odd/derived/";
    let named = ["gzip_multi_member.nii.gz", "uncompressed_named_gz.nii.gz", "gzipped_named_nii.nii"];
    let named: Vec<String> = named.iter().map(|n| format!("{derived}{n}")).collect();
    same("nifti/orientation/RAS.nii.gz", &named.iter().map(String::as_str).collect::<Vec<_>>());
    let pairs = [
        "nifti/odd/minimal.img",
        "nifti/odd/gzpair/minimal.hdr.gz",
        "nifti/odd/gzpair/minimal.img.gz",
        "nifti/odd/mixedpair/minimal2.hdr",
        "nifti/odd/mixedpair/minimal2.img.gz",
    ];
    same("nifti/odd/minimal.hdr", &pairs);
    same(&format!("{derived}nifti2_bigendian_pair.hdr"), &[&format!("{derived}nifti2_bigendian_pair.img")]);
}

#[test]
fn special_headers_are_understood_and_told() {
    let Some(data) = shared("special_headers_are_understood_and_told") else { return };
    let get = |file: &str| open(&data.join("nifti").join(file)).unwrap();
    let codes = |image: &Image| image.notices.iter().map(|n| n.code.clone()).collect::<Vec<_>>();

    assert_eq!(codes(&get("odd/derived/qform_sform_conflict.nii.gz")), ["sform-qform-differ"]);
    assert_eq!(codes(&get("odd/minimal.hdr")), ["no-orientation"]);
    assert!(codes(&get("brain/t1_crop.nii.gz")).is_empty());

    let micron = get("odd/derived/units_micron.nii.gz");
    assert_eq!(codes(&micron), ["units-converted"]);
    assert!((micron.first().grid.spacing_mm()[0] - 2.3852).abs() < 1e-6);

    let segmented = get("ct/ct_abdomen_3mm_totalseg.nii.gz");
    let table = segmented.first().meta.labels.as_ref().unwrap();
    assert_eq!(table.entries.len(), 117);
    assert_eq!(table.name(5), "liver");
    assert_eq!(table.rgb(1), [0, 255, 0]);

    let series = get("4d/pcasl_int16.nii.gz");
    assert_eq!(series.frames.len(), 10);
    let time = &series.frame_axes[0];
    assert_eq!((time.name.as_str(), time.unit.as_str()), ("time", "s"));
    assert!((time.step - 2.54).abs() < 1e-6);
    assert_eq!(codes(&get("4d/example4d.nii.gz")), ["long-repetition-time"]);

    let vector = get("odd/derived/five_d_vector.nii.gz");
    assert_eq!(vector.frame_axes.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["time", "component"]);
    assert_eq!(get("odd/minimal_extended_hdr.nii").first().meta.extensions.len(), 1);
}

/// What each damaged file gives: an error of this kind, or an image with this notice.
const DAMAGED: [(&str, Result<&str, &str>); 24] = [
    ("truncated_stream.nii.gz", Err("malformed")),
    ("truncated_in_header.nii.gz", Err("malformed")),
    ("bad_crc.nii.gz", Ok("gzip-checksum")),
    ("trailing_garbage.nii.gz", Ok("gzip-trailing-bytes")),
    ("short_data.nii", Err("malformed")),
    ("dim_huge.nii.gz", Err("malformed")),
    ("dim_overflow_7d.nii.gz", Err("malformed")),
    ("dim_zero_ndim.nii.gz", Err("malformed")),
    ("dim_negative.nii.gz", Err("malformed")),
    ("dim_zero_extent.nii.gz", Err("malformed")),
    ("bad_magic.nii.gz", Err("malformed")),
    ("bad_datatype.nii.gz", Err("malformed")),
    ("bitpix_mismatch.nii.gz", Ok("bitpix-mismatch")),
    ("vox_offset_past_end.nii.gz", Err("malformed")),
    ("vox_offset_negative.nii.gz", Ok("voxel-offset")),
    ("nan_sform.nii.gz", Ok("sform-unusable")),
    ("singular_sform.nii.gz", Ok("sform-unusable")),
    ("pixdim_zero.nii.gz", Ok("zero-spacing")),
    ("slope_inf.nii.gz", Ok("bad-scaling")),
    ("empty.nii", Err("malformed")),
    ("one_byte.nii.gz", Err("unsupported")),
    ("fuzz_crash-08123ef33416bd6f0c5fa63d44b681b8581d62a0.nii", Err("malformed")),
    ("fuzz_crash-1.nii", Err("malformed")),
    ("no_such_file.nii", Err("io")),
];

#[test]
fn damaged_files_give_one_clear_error_or_a_notice() {
    let Some(data) = shared("damaged_files_give_one_clear_error_or_a_notice") else { return };
    let ras = open(&data.join("nifti/orientation/RAS.nii.gz")).unwrap();
    for (file, want) in DAMAGED {
        let found = open(&data.join("corrupt").join(file));
        match (&found, want) {
            (Ok(image), Ok(code)) => {
                assert!(image.notices.iter().any(|n| n.code == code), "{file}: {:?}", image.notices);
                let (a, b) = (&image.first().voxels, &ras.first().voxels);
                assert!(image.first().to_f32().iter().all(|v| v.is_finite()), "{file}");
                match (a, b) {
                    (Voxels::U8(a), Voxels::U8(b)) => assert!(a == b, "{file}: other voxels"),
                    _ => panic!("{file}: {}", a.type_name()),
                }
            }
            (Err(e), Err(kind)) => {
                assert_eq!(e.kind(), kind, "{file}: {e}");
                assert!(e.to_string().contains(file) && e.to_string().len() < 600, "{e}");
            }
            _ => panic!("{file}: {found:?} where {want:?} was expected"),
        }
    }
    let listed = rows(&data, "corrupt").into_iter().map(|(file, _)| file.replace("corrupt/", ""));
    let nifti: Vec<String> = listed.filter(|f| f.contains(".nii") && !f.starts_with("png")).collect();
    let missing: Vec<&String> = nifti.iter().filter(|f| !DAMAGED.iter().any(|(d, _)| d == f)).collect();
    assert!(missing.is_empty(), "not covered: {missing:?}");
}
