//! Pictures and TIFF: the truth table of the shared data, files made here, what is written read back, damage.

mod common;

use std::io::{Cursor, Write};
use std::path::Path;

use common::{after, all_types, image, number, numbered, open, rows, same_voxels, shared, statistics};
use formats::raster::picture_grid;
use formats::{AffineSource, Content, Error, FrameAxis, Image, Meta, Task, Voxels};

#[test]
fn pictures_of_the_truth_table_are_as_pillow_reads_them() {
    let Some(data) = shared("pictures of the truth table") else { return };
    let mut wrong = Vec::new();
    let mut seen = 0;
    for folder in ["images/formats", "images/maxim", "images/xdecoder"] {
        for (file, truth) in rows(&data, folder) {
            seen += 1;
            let image = match open(&data.join(&file)) {
                Ok(image) => image,
                Err(e) => {
                    wrong.push(e.to_string());
                    continue;
                }
            };
            assert!(image.is_picture && image.first().meta.affine_source == AffineSource::None, "{file}");
            let (w, h) = after(&truth, "", &[' ']).unwrap().split_once('×').unwrap();
            if image.first().grid.size_ijk != [number(w) as usize, number(h) as usize, 1] {
                wrong.push(format!("{file}: size {:?}", image.first().grid.size_ijk));
            }
            if truth.contains(" P;") || truth.contains(" P,") {
                continue; // The table counts palette indices; colours are checked below.
            }
            if truth.contains("2 channel") {
                // Grey with alpha is held as colour with alpha.
                let Voxels::Rgba8(a) = &image.first().voxels else { panic!("{file}") };
                let sum: f64 = a.iter().map(|p| f64::from(p[0]) + f64::from(p[3])).sum();
                let mean = sum / (2 * a.len()) as f64;
                assert!(
                    (mean - number(after(&truth, "mean ", &[' ', ',', ';']).unwrap())).abs() < 1e-3,
                    "{file}: {mean}"
                );
                continue;
            }
            if file.ends_with(".jpg") || file.ends_with(".jpeg") {
                // Decoders round differently.
                let mean = number(after(&truth, "mean ", &[' ', ',', ';']).unwrap());
                if (image.statistics().mean - mean).abs() > 0.3 {
                    wrong.push(format!("{file}: mean {} instead of {mean}", image.statistics().mean));
                }
                continue;
            }
            wrong.extend(statistics(&file, &truth, &image));
        }
    }
    // Set12: several pictures in one row.
    let (_, truth) = rows(&data, "images/set12").pop().unwrap();
    for part in truth.split("; ").filter(|p| p.contains(": 256") || p.contains(": 512")) {
        let name = &part[..2];
        let image = open(&data.join(format!("images/set12/{name}.png"))).unwrap();
        let rest = &truth[truth.find(part).unwrap()..];
        wrong.extend(statistics(name, rest, &image));
        seen += 1;
    }
    assert!(seen >= 25, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn palettes_and_animations_show_their_colours() {
    let Some(data) = shared("palettes and animations") else { return };
    let bmp = open(&data.join("images/formats/bmp_images_pal8rle.bmp")).unwrap();
    assert_eq!((bmp.first().voxels.type_name(), bmp.first().grid.size_ijk), ("rgb24", [127, 64, 1]));
    let gif = open(&data.join("images/formats/gif_anim_large-gif-anim-full-frame-replace.gif")).unwrap();
    assert_eq!((gif.frames.len(), gif.first().voxels.type_name()), (2, "rgb24"));
    // Means over the colours as Pillow converts them; of the animation, of its first frame.
    let gif_mean = gif.first().voxels.statistics(formats::Scaling::NONE).mean;
    let tiff = |name: &str| open(&data.join("images/tiff").join(name)).unwrap().statistics().mean;
    for (found, want) in [
        (bmp.statistics().mean, 118.92368),
        (gif_mean, 85.0),
        (tiff("palette-1c-8b.tiff"), 110.74625),
        (tiff("cmyk-3c-8b.tiff"), 110.26431),
    ] {
        assert!((found - want).abs() < 1e-4, "{found} instead of {want}");
    }
    let jpeg = open(&data.join("images/formats/jpg_portrait_2.jpg")).unwrap();
    assert!(jpeg.encoding.contains("EXIF orientation 2"), "{}", jpeg.encoding);
}

#[test]
fn tiff_of_the_truth_table_is_as_tifffile_reads_it() {
    let Some(data) = shared("tiff truth table") else { return };
    let mut wrong = Vec::new();
    for (file, truth) in rows(&data, "images/tiff") {
        let image = match open(&data.join(&file)) {
            Ok(image) => image,
            Err(e) => {
                wrong.push(e.to_string());
                continue;
            }
        };
        let v = image.first();
        // Sizes: rows and columns are the last two, or come before the channels.
        let shape: Vec<usize> =
            after(&truth, "array (", &[')']).unwrap().split(", ").map(|n| n.parse().unwrap()).collect();
        let channels = usize::from(matches!(shape.last(), Some(3 | 4)) && shape.len() == 3);
        let at = shape.len() - channels;
        if v.grid.size_ijk[..2] != [shape[at - 1], shape[at - 2]] {
            wrong.push(format!("{file}: size {:?} for {shape:?}", v.grid.size_ijk));
        }
        let kind = after(&truth, ") ", &[',']).unwrap();
        let found = v.voxels.type_name();
        let want = match kind {
            "bool" => "uint8",
            "float16" => "float32",
            "uint8" if v.voxels.is_colour() => "rgb24",
            "uint16" if v.voxels.is_colour() => "rgb48",
            other => other,
        };
        if found != want {
            wrong.push(format!("{file}: {found} instead of {want}"));
        }
        match () {
            // Indices and inks in the table, colours here.
            () if truth.contains("PALETTE") || truth.contains("SEPARATED") => {
                if found != "rgb24" {
                    wrong.push(format!("{file}: no colours"));
                }
            }
            // The table has stored bits; here white is 1.
            () if truth.contains("MINISWHITE") => {
                let mean = 1.0 - number(after(&truth, "mean ", &[' ', ';']).unwrap());
                assert!((image.statistics().mean - mean).abs() < 1e-6, "{file}");
            }
            () if truth.contains("JPEG") => {
                let mean = number(after(&truth, "mean ", &[' ', ';']).unwrap());
                let found = image.statistics().mean;
                if (found - mean).abs() > 0.3 {
                    wrong.push(format!("{file}: mean {found} instead of {mean}"));
                }
            }
            () => wrong.extend(statistics(&file, &truth, &image)),
        }
    }
    let stack = open(&data.join("images/tiff/derived_multipage_16bit.tif")).unwrap();
    assert_eq!((stack.shape_text().as_str(), stack.is_picture), ("128×96×24", false));
    let ome = open(&data.join("images/tiff/derived_5d.ome.tif")).unwrap();
    assert_eq!(ome.shape_text(), "128×96×24×2");
    assert_eq!(ome.frame_axes[0].name, "time");
    for (found, want) in ome.first().grid.spacing_mm().iter().zip([2.0, 2.0, 2.2]) {
        assert!((found - want).abs() < 1e-5, "{found}");
    }
    // The volumes these were made from.
    let source = open(&data.join("nifti/4d/example4d.nii.gz")).unwrap();
    assert_eq!(source.frames.len(), ome.frames.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_files_fail_with_a_clear_message() {
    let Some(data) = shared("hostile pictures") else { return };
    for name in [
        "truncated.png",
        "png_100000x100000.png",
        "fuzz_tiff_1.tiff",
        "fuzz_tiff_2.tiff",
        "fuzz_tiff_3.tiff",
        "fuzz_tiff_4.tiff",
        "fuzz_tiff_5.tiff",
        "fuzz_tiff_6.tiff",
    ] {
        let start = std::time::Instant::now();
        let e = open(&data.join("corrupt").join(name)).expect_err(name);
        assert!(start.elapsed().as_secs() < 2, "{name}");
        assert!(e.to_string().contains(name) && e.to_string().len() > 40, "{e}");
    }
    match open(&data.join("corrupt/truncated.jpg")) {
        Ok(image) => assert!(image.notices.iter().any(|n| n.code == "truncated-jpeg")),
        Err(e) => assert_eq!(e.kind(), "malformed"),
    }
    let png = open(&data.join("corrupt/png_named_nii.nii")).unwrap();
    assert_eq!(png.format, "png");
}

fn save(image: &Image, name: &str) -> formats::Result<Image> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    formats::save(Content::Image(image), &path, &Task::silent())?;
    open(&path)
}

fn flat(voxels: Voxels) -> Image {
    let [_, h, w] = voxels.shape_kji();
    let mut image = image(vec![voxels], picture_grid([w, h, 1], [1.0; 3]));
    image.frames[0].meta = Meta::default();
    image
}

#[test]
fn png_keeps_8_and_16_bits() {
    for voxels in all_types([5, 4, 1]) {
        let name = voxels.type_name();
        match save(&flat(voxels.clone()), "a.png") {
            Ok(back) => {
                assert!(same_voxels(&back.first().voxels, &voxels), "{name}");
                assert_eq!(back.first().grid.orientation_code(), "LPS");
                assert!(back.is_picture);
            }
            Err(e) => {
                assert!(
                    !matches!(name, "uint8" | "uint16" | "rgb24" | "rgba32" | "rgb48" | "rgba64"),
                    "{name}: {e}"
                );
            }
        }
    }
    // No slices, no frames.
    assert!(
        save(
            &image(vec![Voxels::U8(numbered([2, 2, 2], |x| x as u8))], picture_grid([2, 2, 2], [1.0; 3])),
            "a.png"
        )
        .is_err()
    );
}

#[test]
fn png_of_few_bits_is_spread_to_eight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    for (depth, max) in [(png::BitDepth::One, 1), (png::BitDepth::Two, 3), (png::BitDepth::Four, 15)] {
        let file = std::fs::File::create(&path).unwrap();
        let mut encoder = png::Encoder::new(file, 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(depth);
        let bits = depth as u8;
        // Pixel 0 is 0, pixel 1 is full.
        encoder.write_header().unwrap().write_image_data(&[(max as u8) << (8 - 2 * bits)]).unwrap();
        let back = open(&path).unwrap();
        assert_eq!((back.first().value([0, 0, 0]), back.first().value([1, 0, 0])), (Some(0.0), Some(255.0)));
    }
    // Palette with transparency.
    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
    encoder.set_trns(vec![9]);
    encoder.write_header().unwrap().write_image_data(&[0, 1]).unwrap();
    let Voxels::Rgba8(a) = open(&path).unwrap().first().voxels.clone() else { panic!() };
    assert_eq!(a.as_slice().unwrap(), [[1, 2, 3, 9], [4, 5, 6, 255]]);
}

#[test]
fn tiff_keeps_every_type_pages_spacing_and_axes() {
    for voxels in all_types([5, 4, 3]).into_iter().filter(|v| !v.is_complex()) {
        let back = save(&flat(slice(&voxels)), "a.tif").unwrap();
        assert!(same_voxels(&back.first().voxels, &slice(&voxels)), "{}", voxels.type_name());
        assert!(back.is_picture && back.first().grid == picture_grid([5, 4, 1], [1.0; 3]));
        let before = image(vec![voxels.clone()], picture_grid([5, 4, 3], [0.5, 0.25, 2.0]));
        let back = save(&before, "a.ome.tif").unwrap();
        assert!(same_voxels(&back.first().voxels, &voxels), "{}", voxels.type_name());
        if !matches!(voxels, Voxels::U64(_) | Voxels::I64(_)) {
            assert_eq!(back.first().grid, before.first().grid);
        }
    }
    let frames = (0..6).map(|f| Voxels::I16(numbered([3, 2, 2], |x| (100 * f + x) as i16 - 99))).collect();
    let mut before = image(frames, picture_grid([3, 2, 2], [1.5; 3]));
    let axis = |name: &str, len, step: f64, unit: &str| FrameAxis {
        name: name.into(),
        len,
        step,
        unit: unit.into(),
    };
    before.frame_axes = vec![axis("channel", 2, 0.0, ""), axis("time", 3, 2.5, "s")];
    let back = save(&before, "a.tiff").unwrap();
    assert_eq!(back.frame_axes, before.frame_axes);
    for (a, b) in back.frames.iter().zip(&before.frames) {
        assert!(same_voxels(&a.voxels, &b.voxels));
    }
}

fn slice(v: &Voxels) -> Voxels {
    use formats::volume::Element;
    fn first<T: Element>(a: &formats::Shared<T>) -> Voxels {
        T::wrap(a.slice(ndarray::s![0..1, .., ..]).to_owned().into_shared())
    }
    formats::for_any!(v, a => first(a))
}

/// Tag, type and values.
type Tags = Vec<(u16, u16, Vec<u32>)>;

/// A classic little-endian TIFF of one strip per page, made tag by tag.
fn tiff(pages: &[(Tags, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"II*\0\0\0\0\0".to_vec();
    let mut link = 4;
    for (tags, data) in pages {
        let strip = out.len() as u32;
        out.extend(data);
        let mut tags = tags.clone();
        tags.push((273, 4, vec![strip]));
        tags.push((279, 4, vec![data.len() as u32]));
        tags.sort();
        let mut entries = Vec::new();
        for (tag, kind, values) in &tags {
            let size = if *kind == 3 { 2 } else { 4 };
            let mut bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
            entries.extend(tag.to_le_bytes());
            entries.extend(kind.to_le_bytes());
            entries.extend((values.len() as u32).to_le_bytes());
            if bytes.len() > 4 {
                let at = out.len() as u32;
                out.extend(bytes);
                bytes = at.to_le_bytes().to_vec();
            }
            bytes.resize(4, 0);
            entries.extend(bytes);
        }
        let ifd = out.len() as u32;
        out[link..link + 4].copy_from_slice(&ifd.to_le_bytes());
        out.extend((tags.len() as u16).to_le_bytes());
        out.extend(entries);
        link = out.len();
        out.extend([0; 4]);
    }
    out
}

fn tags(w: u32, h: u32, bits: u32, photometric: u32) -> Tags {
    vec![
        (256, 3, vec![w]),
        (257, 3, vec![h]),
        (258, 3, vec![bits]),
        (259, 3, vec![1]),
        (262, 3, vec![photometric]),
        (278, 3, vec![h]),
    ]
}

fn read_bytes(bytes: &[u8]) -> formats::Result<Image> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

fn values(image: &Image) -> Vec<f64> {
    image.frames.iter().flat_map(|f| f.to_f32().iter().map(|v| f64::from(*v)).collect::<Vec<_>>()).collect()
}

#[test]
fn tiff_of_odd_depths_palettes_and_pages() {
    let ten = read_bytes(&tiff(&[(tags(2, 2, 10, 1), vec![0xff, 0xc0, 0x10, 0x00, 0x40, 0x20])])).unwrap();
    assert_eq!(values(&ten), [1023.0, 1.0, 1.0, 2.0]);
    let white = read_bytes(&tiff(&[(tags(3, 1, 4, 0), vec![0x0f, 0x50])])).unwrap();
    assert_eq!(values(&white), [15.0, 0.0, 10.0]);
    let mut map = tags(2, 1, 4, 3);
    map.push((320, 3, (0..48).map(|v| v * 1000).collect()));
    let Voxels::Rgb8(a) = read_bytes(&tiff(&[(map, vec![0x1f])])).unwrap().first().voxels.clone() else {
        panic!()
    };
    assert_eq!(a.as_slice().unwrap(), [[3, 66, 128], [58, 121, 183]]);
    // Pages of another size are left out, with a notice; pages alike are a stack.
    let page = |w: u32| (tags(w, 1, 8, 1), (0..w as u8).collect::<Vec<_>>());
    let stack = read_bytes(&tiff(&[page(3), page(3), page(2)])).unwrap();
    assert_eq!(stack.shape_text(), "3×1×2");
    assert!(stack.notices.iter().any(|n| n.code == "pages-left-out"));
    assert_eq!(stack.first().grid.orientation_code(), "LPS");
    // A circle of pages ends.
    let mut circle = tiff(&[page(3), page(3)]);
    let first = circle[4..8].to_vec();
    let end = circle.len();
    circle[end - 4..].copy_from_slice(&first);
    assert_eq!(read_bytes(&circle).unwrap_err().kind(), "malformed");
    // Claims beyond the bytes.
    for (w, h, compression) in
        [(65535, 65535, 1), (65535, 65535, 8), (65535, 65535, 5), (65535, 65535, 32773)]
    {
        let mut t = tags(w, h, 16, 1);
        t[3].2 = vec![compression];
        let e = read_bytes(&tiff(&[(t, vec![1; 100])])).unwrap_err();
        assert!(matches!(e.kind(), "malformed" | "over-limit"), "{e}");
    }
}

/// Found by fuzzing: the decoder makes room for all values a tag claims, 32 bytes each.
#[test]
fn tiff_tables_beyond_the_file_are_refused() {
    let mut bytes = tiff(&[(tags(4000, 4000, 8, 1), vec![7; 64])]);
    // The strip offsets claim four million values; their entry is the one of tag 273.
    let at = bytes.windows(4).position(|w| w == [0x11, 0x01, 4, 0]).unwrap() + 4;
    bytes[at..at + 4].copy_from_slice(&4_000_000u32.to_le_bytes());
    let text = read_bytes(&bytes).unwrap_err().to_string();
    assert!(text.contains("a.tif") && text.contains("tag 273 with 4000000 values"), "{text}");
}

/// Found by fuzzing: a height given twice, of which the decoder takes the other one. Blamed on the file, not on nobody.
#[test]
fn tiff_with_two_heights_is_told_of_the_file() {
    let mut twice = tags(3, 4, 8, 1);
    twice.push((257, 4, vec![1]));
    let error = read_bytes(&tiff(&[(twice, vec![7; 12])])).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("a.tif: decoded pixels do not fit the page"), "{error}");
}

#[test]
fn tiff_planes_and_samples() {
    let mut t = tags(2, 1, 8, 2);
    t[2].2 = vec![8, 8, 8];
    t.push((277, 3, vec![3]));
    let chunky = read_bytes(&tiff(&[(t.clone(), vec![1, 2, 3, 4, 5, 6])])).unwrap();
    let Voxels::Rgb8(a) = &chunky.first().voxels else { panic!() };
    assert_eq!(a.as_slice().unwrap(), [[1, 2, 3], [4, 5, 6]]);
    // Two samples that are no colour: two channels.
    let mut t = tags(2, 1, 8, 1);
    t[2].2 = vec![8, 8];
    t.push((277, 3, vec![2]));
    t.push((338, 3, vec![0]));
    let two = read_bytes(&tiff(&[(t.clone(), vec![1, 2, 3, 4])])).unwrap();
    assert_eq!((two.shape_text().as_str(), values(&two)), ("2×1×1×2", vec![1.0, 3.0, 2.0, 4.0]));
    t.last_mut().unwrap().2 = vec![2];
    let alpha = read_bytes(&tiff(&[(t, vec![1, 2, 3, 4])])).unwrap();
    let Voxels::Rgba8(a) = &alpha.first().voxels else { panic!("{:?}", alpha.first().voxels) };
    assert_eq!(a.as_slice().unwrap(), [[1, 1, 1, 2], [3, 3, 3, 4]]);
}

#[test]
fn jpeg_and_bmp_and_gif_made_here() {
    let folder = tempfile::tempdir().unwrap();
    let picture = image::RgbImage::from_fn(33, 17, |x, y| image::Rgb([x as u8 * 7, y as u8 * 15, 100]));
    for (name, format) in [
        ("a.bmp", image::ImageFormat::Bmp),
        ("a.jpg", image::ImageFormat::Jpeg),
        ("a.gif", image::ImageFormat::Gif),
    ] {
        let path = folder.path().join(name);
        picture.save_with_format(&path, format).unwrap();
        let back = open(&path).unwrap();
        let Voxels::Rgb8(a) = &back.first().voxels else { panic!("{name}") };
        assert_eq!(back.first().grid.size_ijk, [33, 17, 1]);
        let worst = picture
            .pixels()
            .zip(a)
            .map(|(p, q)| (0..3).map(|c| p.0[c].abs_diff(q[c])).max().unwrap())
            .max()
            .unwrap();
        // GIF has 256 colours and JPEG loses some.
        assert!(worst <= if name == "a.bmp" { 0 } else { 64 }, "{name}: {worst}");
        assert_eq!(back.notices.iter().map(|n| n.code.as_str()).collect::<Vec<_>>(), ["no-physical-size"]);
    }
    // A JPEG header that claims much fails at once.
    let mut jpeg = std::fs::read(folder.path().join("a.jpg")).unwrap();
    let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[sof + 5..sof + 9].copy_from_slice(&[0xff; 4]);
    std::fs::write(folder.path().join("b.jpg"), &jpeg).unwrap();
    assert_eq!(open(&folder.path().join("b.jpg")).unwrap_err().kind(), "over-limit");
}

#[test]
fn exif_turns_pictures_upright() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let mut plain = Vec::new();
    let picture = image::GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 0 } else { 255 }]));
    picture.write_to(&mut Cursor::new(&mut plain), image::ImageFormat::Jpeg).unwrap();
    // Orientation 6: turn a quarter clockwise to show it.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut jpeg = plain[..2].to_vec();
    jpeg.extend([0xff, 0xe1]);
    jpeg.extend((exif.len() as u16 + 2).to_be_bytes());
    jpeg.extend(exif);
    jpeg.extend(&plain[2..]);
    std::fs::write(&path, jpeg).unwrap();
    let back = open(&path).unwrap();
    assert_eq!(back.first().grid.size_ijk, [8, 16, 1]);
    assert!(back.first().value([4, 1, 0]).unwrap() < 10.0 && back.first().value([4, 14, 0]).unwrap() > 245.0);
}

fn sweep(folder: &Path, name: &str, bytes: &[u8]) {
    // Only what is cut before the end marker must be noticed; decoders ignore what follows.
    common::damage(folder, name, bytes, 0);
}

#[test]
fn damage_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rgb = flat(Voxels::Rgb8(numbered([24, 16, 1], |x| [x as u8, (x / 3) as u8, 9])));
    for name in ["a.png", "a.tif"] {
        formats::save(Content::Image(&rgb), &at.join(name), &Task::silent()).unwrap();
        sweep(at, &format!("d{name}"), &std::fs::read(at.join(name)).unwrap());
    }
    let picture = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([x as u8 * 7, y as u8 * 15, 100]));
    for (name, format) in [
        ("a.bmp", image::ImageFormat::Bmp),
        ("a.jpg", image::ImageFormat::Jpeg),
        ("a.gif", image::ImageFormat::Gif),
    ] {
        picture.save_with_format(at.join(name), format).unwrap();
        sweep(at, &format!("d{name}"), &std::fs::read(at.join(name)).unwrap());
    }
    let mut map = tags(4, 4, 4, 3);
    map.push((320, 3, (0..48).map(|v| v * 1000).collect()));
    sweep(at, "dp.tif", &tiff(&[(map, vec![0x12; 8]), (tags(4, 4, 12, 1), vec![7; 24])]));
}

#[test]
fn a_high_ratio_that_is_true_is_believed() {
    // 20 000 × 6 000 zeros: 120 MB out of some 120 kB.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 20_000, 6_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    for _ in 0..6_000 {
        stream.write_all(&[0; 20_000]).unwrap();
    }
    stream.finish().unwrap();
    drop(writer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(open(&path).unwrap().first().grid.size_ijk, [20_000, 6_000, 1]);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(open(&path).is_err());
}
