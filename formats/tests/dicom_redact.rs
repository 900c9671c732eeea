//! Marked pixels are overwritten and nothing else changes: in every kind of plain pixels and RLE, in overlays, in what was compressed,
//! and in the shared files of other programs.

mod common;
#[path = "common/dicom.rs"]
mod dicom;

use std::path::Path;
use std::sync::Arc;

use common::shared;
use dicom::{Element, PLAIN, Shape, V, Way, file, g8, g16, le16, picture, rgb, rle, write};
use formats::dicom::pixels::{Instance, Photometric, Samples};
use formats::dicom::redact::{self, Fill, Mask, Redaction};
use formats::for_samples;
use formats::voxels::Scalar;
use ndarray::Array2;

fn mask(rows: usize, columns: usize) -> Mask {
    // A block off the edges and one at a corner.
    Arc::new(Array2::from_shape_fn((rows, columns), |(y, x)| {
        y > rows / 3 && y < rows / 2 + 1 && x > 1 && x < columns / 2 || y + 2 >= rows && x + 3 >= columns
    }))
}

fn values(samples: &Samples) -> Vec<f64> {
    for_samples!(samples, v => v.iter().map(|&s| s.to_f64()).collect())
}

/// Redacts every second frame (the first too), reads it again, and compares. Pairs of pixels that share their colour count as one.
fn check(path: &Path, fill: Fill) -> Result<redact::Stored, String> {
    let before = Instance::open(path).map_err(|e| e.to_string())?;
    let layout = *before.layout();
    let mark = mask(layout.rows, layout.columns);
    let frames = (0..layout.frames).map(|n| (n % 2 == 0).then(|| Arc::clone(&mark))).collect();
    let redaction = Redaction { frames, fill, ..Redaction::default() };
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let output = folder.path().join("out.dcm");
    let stored = redact::write(&before, &redaction, &output).map_err(|e| e.to_string())?;
    let after = Instance::open(&output).map_err(|e| format!("the written file: {e}"))?;
    let header = after.header();
    let text = |tag| header.text(tag).unwrap_or_default();
    if text(formats::dicom::Tag(0x28, 0x301)) != "NO"
        || header.sop_instance_uid == before.header().sop_instance_uid
    {
        return Err("the header does not say what was done".to_owned());
    }
    let shares =
        matches!(layout.photometric, Photometric::YbrFull422 | Photometric::YbrPartial422) && stored.is_kept;
    for n in 0..layout.frames {
        let (a, b) =
            (before.frame(n).map_err(|e| e.to_string())?, after.frame(n).map_err(|e| e.to_string())?);
        let (a, b) = (values(&a), values(&b));
        let marked = |p: usize| {
            let one = |p: usize| mark[[p / layout.columns, p % layout.columns]];
            n % 2 == 0 && (one(p) || shares && one(p ^ 1))
        };
        let mut blank: Option<&[f64]> = None;
        for (p, (x, y)) in a.chunks(layout.samples).zip(b.chunks(layout.samples)).enumerate() {
            if !marked(p) {
                // NaN is NaN.
                if x.iter().zip(y).any(|(x, y)| x.to_bits() != y.to_bits()) {
                    return Err(format!("frame {n}, pixel {p}: {x:?} became {y:?}"));
                }
            } else if blank.replace(y).is_some_and(|b| b != y) {
                return Err(format!("frame {n}: marked pixels differ ({y:?})"));
            }
        }
    }
    // Without marks the pixel data are the same bytes.
    let none = folder.path().join("none.dcm");
    redact::write(&before, &Redaction::default(), &none).map_err(|e| e.to_string())?;
    let same = Instance::open(&none).map_err(|e| e.to_string())?;
    let plain = |i: &Instance| i.plain_bytes().map(Option::unwrap_or_default).map_err(|e| e.to_string());
    let was = plain(&before)?;
    // A value of odd length, which some writers leave, gains its padding.
    let mut is = plain(&same)?;
    is.truncate(was.len());
    if same.header().transfer_syntax_uid != before.header().transfer_syntax_uid
        || is != was
        || (0..layout.frames).any(|n| same.fragments(n).ok() != before.fragments(n).ok())
    {
        return Err("pixel data without marks changed".to_owned());
    }
    Ok(stored)
}

fn two_frames<T: Clone>(a: Vec<T>) -> Vec<T> {
    [a.clone(), a].concat()
}

#[test]
fn plain_pixels_change_where_they_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let grey16 = le16(&two_frames(picture(g16)));
    let planar: Vec<u8> = two_frames((0..3).flat_map(|c| picture(move |x, y| rgb(x, y)[c])).collect());
    let signed = Shape { signed: true, stored: 16, ..Shape::GREY16 };
    let shapes = [
        ("grey 16", Shape::GREY16, "OW", V::Words(2, grey16.clone())),
        ("signed 16", signed, "OW", V::Words(2, grey16)),
        ("grey 8", Shape::GREY8, "OB", V::Bytes(two_frames(picture(g8)))),
        (
            "inverted",
            Shape { photometric: "MONOCHROME1", ..Shape::GREY8 },
            "OB",
            V::Bytes(two_frames(picture(g8))),
        ),
        ("colour", Shape::RGB8, "OB", V::Bytes(two_frames(picture(rgb).concat()))),
        ("planar", Shape { planar: 1, ..Shape::RGB8 }, "OB", V::Bytes(planar)),
        (
            "luma",
            Shape { photometric: "YBR_FULL", ..Shape::RGB8 },
            "OB",
            V::Bytes(two_frames(picture(rgb).concat())),
        ),
        (
            "pairs",
            Shape { photometric: "YBR_FULL_422", ..Shape::RGB8 },
            "OB",
            V::Bytes(two_frames(picture(g8).chunks(2).flat_map(|p| [p[0], p[1], 100, 150]).collect())),
        ),
        (
            "bits",
            Shape { allocated: 1, stored: 1, ..Shape::GREY8 },
            "OB",
            V::Bytes((0..60).map(|i| (i * 37 % 251) as u8).collect()),
        ),
    ];
    for (name, shape, vr, pixels) in shapes {
        for (way, syntax) in PLAIN {
            for fill in [Fill::Black, Fill::Background] {
                let shape = Shape { frames: "2", ..shape };
                let vr = if way == Way::Implicit { "OW" } else { vr };
                let elements = shape.elements(&[], (0x7fe0, 0x10, vr, pixels.clone()));
                let path = write(dir.path(), "in.dcm", &file(way, syntax, &elements));
                let stored = check(&path, fill).unwrap_or_else(|e| panic!("{name}, {way:?}, {fill:?}: {e}"));
                assert!(stored.is_kept, "{name}: {stored:?}");
            }
        }
    }
}

#[test]
fn marked_pixels_are_black_and_those_of_inverted_images_white() {
    let dir = tempfile::tempdir().unwrap();
    let pixels = V::Bytes(picture(g8));
    let (low, high) = (picture(g8).into_iter().min().unwrap(), picture(g8).into_iter().max().unwrap());
    for (photometric, wanted) in [("MONOCHROME2", low), ("MONOCHROME1", high)] {
        let shape = Shape { photometric, ..Shape::GREY8 };
        let elements = shape.elements(&[], (0x7fe0, 0x10, "OB", pixels.clone()));
        let path = write(dir.path(), "in.dcm", &file(Way::Explicit, PLAIN[1].1, &elements));
        let instance = Instance::open(&path).unwrap();
        let mark = mask(13, 18);
        let redaction = Redaction { frames: vec![Some(Arc::clone(&mark))], ..Redaction::default() };
        let output = dir.path().join("out.dcm");
        redact::write(&instance, &redaction, &output).unwrap();
        let Samples::U8(after) = Instance::open(&output).unwrap().frame(0).unwrap() else { panic!("bytes") };
        assert!(after.iter().zip(mark.iter()).all(|(v, &m)| !m || *v == wanted), "{photometric}");
    }
}

#[test]
fn packed_and_compressed_frames_keep_all_other_values() {
    let dir = tempfile::tempdir().unwrap();
    let fragments = |frames: Vec<Vec<u8>>| V::Fragments([vec![Vec::new()], frames].concat());
    let grey = rle(&le16(&picture(g16)), 2, 2);
    let colour = rle(&picture(rgb).concat(), 3, 1);
    let cases = [
        ("RLE 16", Shape::GREY16, "1.2.840.10008.1.2.5", vec![grey.clone(), grey], true),
        ("RLE colour", Shape::RGB8, "1.2.840.10008.1.2.5", vec![colour.clone(), colour], true),
    ];
    for (name, shape, syntax, frames, kept) in cases {
        let shape = Shape { frames: "2", ..shape };
        let elements = shape.elements(&[], (0x7fe0, 0x10, "OB", fragments(frames)));
        let path = write(dir.path(), "in.dcm", &file(Way::Explicit, syntax, &elements));
        let stored = check(&path, Fill::Black).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(stored.is_kept, kept, "{name}");
        let before = Instance::open(&path).unwrap();
        let redaction = Redaction { frames: vec![Some(mask(13, 18)), None], ..Redaction::default() };
        redact::write(&before, &redaction, &dir.path().join("out.dcm")).unwrap();
        let after = Instance::open(&dir.path().join("out.dcm")).unwrap();
        assert_eq!(after.fragments(1).unwrap(), before.fragments(1).unwrap(), "{name}: an unmarked frame");
    }
}

#[test]
fn overlays_lose_marked_bits_only() {
    let dir = tempfile::tempdir().unwrap();
    let bits: Vec<u8> = vec![0xff; 30];
    let overlay: Vec<Element> = vec![
        (0x6000, 0x10, "US", V::U16(vec![13])),
        (0x6000, 0x11, "US", V::U16(vec![18])),
        (0x6000, 0x40, "CS", V::Text("G")),
        (0x6000, 0x50, "SS", V::U16(vec![1, 1])),
        (0x6000, 0x100, "US", V::U16(vec![1])),
        (0x6000, 0x102, "US", V::U16(vec![0])),
        (0x6000, 0x3000, "OB", V::Bytes(bits)),
        // A second one lies in the pixels' bit 15.
        (0x6002, 0x10, "US", V::U16(vec![13])),
        (0x6002, 0x11, "US", V::U16(vec![18])),
        (0x6002, 0x40, "CS", V::Text("G")),
        (0x6002, 0x50, "SS", V::U16(vec![1, 1])),
        (0x6002, 0x100, "US", V::U16(vec![16])),
        (0x6002, 0x102, "US", V::U16(vec![15])),
    ];
    let words: Vec<u16> = picture(g16).into_iter().map(|v| v | 0x8000).collect();
    let icon = V::Items(vec![vec![(0x28, 0x10, "US", V::U16(vec![1]))]]);
    let extra = [overlay, vec![(0x88, 0x200, "SQ", icon)]].concat();
    let elements = Shape::GREY16.elements(&extra, (0x7fe0, 0x10, "OW", V::Words(2, le16(&words))));
    let path = write(dir.path(), "in.dcm", &file(Way::Explicit, PLAIN[1].1, &elements));
    let before = Instance::open(&path).unwrap();
    let mark = mask(13, 18);
    let overlays = vec![(0x6000, 0, Arc::clone(&mark)), (0x6002, 0, Arc::clone(&mark))];
    let redaction = Redaction { overlays, ..Redaction::default() };
    let output = dir.path().join("out.dcm");
    redact::write(&before, &redaction, &output).unwrap();
    let after = Instance::open(&output).unwrap();
    assert_eq!(after.frame(0).unwrap(), before.frame(0).unwrap(), "the pixels stay");
    let found = after.overlays().unwrap();
    assert_eq!(found.len(), 2);
    for overlay in &found {
        let bits = after.overlay_mask(overlay, 0).unwrap().unwrap();
        for (bit, &marked) in bits.iter().zip(mark.iter()) {
            assert_eq!(*bit == 1, !marked, "{:x}", overlay.group);
        }
    }
    assert!(after.header().object.get(formats::dicom::Tag(0x88, 0x200)).is_none(), "the icon is gone");
}

#[test]
fn marks_of_another_size_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let elements = Shape::GREY8.elements(&[], (0x7fe0, 0x10, "OB", V::Bytes(picture(g8))));
    let path = write(dir.path(), "in.dcm", &file(Way::Explicit, PLAIN[1].1, &elements));
    let instance = Instance::open(&path).unwrap();
    let output = dir.path().join("out.dcm");
    for frames in [vec![Some(mask(12, 18))], vec![None, Some(mask(13, 18))]] {
        let redaction = Redaction { frames, ..Redaction::default() };
        assert!(redact::write(&instance, &redaction, &output).is_err());
        assert!(!output.exists());
    }
}

#[test]
fn files_of_other_programs_keep_all_but_the_marked_pixels() {
    let Some(data) = shared("files_of_other_programs_keep_all_but_the_marked_pixels") else { return };
    let folder = data.join("dicom/single");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut done, mut kept, mut faults) = (0, 0, Vec::new());
    for path in files {
        // What cannot be decoded at all is tested elsewhere.
        if Instance::open(&path).and_then(|i| i.frame(0)).is_err() {
            continue;
        }
        match check(&path, Fill::Black) {
            Ok(stored) => {
                done += 1;
                kept += usize::from(stored.is_kept);
            }
            Err(why) => faults.push(format!("{}: {why}", path.display())),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(done > 50 && kept > 20 && kept < done, "{done} files, {kept} in their own syntax");
}
