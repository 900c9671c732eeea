//! What any image must be, and what must survive writing and reading.

use std::path::Path;

use formats::source::Source;
use formats::{Content, Error, Format, Image, Task, Voxels, for_any};

use crate::fence::ANY;
use crate::{Place, fenced};

/// Reads `input` as the file `name`; what gives an image is checked, written under each of `endings`, read again and
/// compared.
pub fn round_trip(format: &dyn Format, input: &[u8], name: &str, endings: &[&str]) {
    let path = Place::get().put(name, input);
    let Some(image) = fenced(present(input), || read(format, &path)) else { return };
    fenced(ANY, || {
        check(&image);
        for ending in endings {
            let out = Place::get().path(&format!("out.{ending}"));
            if let Some(back) = again(format, Content::Image(&image), &out) {
                compare(&image, &back, ending);
            }
            labels(format, &image, &out);
        }
    });
}

/// Bytes present: what gzip data in the file unfold to counts, since a reader may hold what it was really given.
fn present(input: &[u8]) -> usize {
    use std::io::Read;
    let unfolded = |from: &[u8]| {
        let mut sum = 0;
        let mut buffer = vec![0; 64 << 10];
        let mut decoder = flate2::read::MultiGzDecoder::new(from);
        while let Ok(n @ 1..) = decoder.read(&mut buffer) {
            sum += n;
        }
        sum
    };
    let starts = input.windows(2).enumerate().filter(|(_, w)| *w == [0x1f, 0x8b]).map(|(at, _)| at);
    input.len() + starts.take(8).filter_map(|at| input.get(at..)).map(unfolded).max().unwrap_or(0)
}

/// Reads a file that is there and whose content is all that can be wrong.
fn read(format: &dyn Format, path: &Path) -> Option<Image> {
    let source = Source::open(path).map_err(|e| blames_the_file(&e)).ok()?;
    if !format.sniff(&source) {
        return None;
    }
    format.read(&source, &Task::silent()).map_err(|e| blames_the_file(&e)).ok()
}

/// The error must be about the content, in one line that says something.
pub fn blames_the_file(e: &Error) {
    let text = e.to_string();
    assert!(
        text.len() < 4000,
        "an error of {} bytes: {}",
        text.len(),
        &text.chars().take(500).collect::<String>()
    );
    let is_about_content =
        matches!(e, Error::Malformed { .. } | Error::Unsupported { .. } | Error::OverLimit { .. });
    assert!(is_about_content, "not about the content of the file: {e:?}");
}

/// What the rest of the program takes for granted.
pub fn check(image: &Image) {
    assert!(!image.frames.is_empty(), "an image without frames");
    let axes: usize = image.frame_axes.iter().map(|a| a.len).product();
    assert_eq!(axes, image.frames.len(), "axes {:?}", image.frame_axes);
    let first = image.first();
    for frame in &image.frames {
        assert_eq!(frame.voxels.shape_kji(), frame.grid.shape_kji());
        assert_eq!(frame.voxels.type_name(), first.voxels.type_name());
        assert!(frame.grid.size_ijk.iter().all(|&n| n > 0));
        for_any!(&frame.voxels, a => assert!(a.is_standard_layout()));
        assert_eq!(frame.scaling, first.scaling);
        assert_eq!(frame.grid, first.grid);
    }
    let placement = &first.grid.world_from_voxel;
    assert!(placement.inverse().is_some(), "a placement that cannot be undone: {placement:?}");
    assert!(first.scaling.slope.is_finite() && first.scaling.slope != 0.0 && first.scaling.inter.is_finite());
    let _ = (image.statistics(), first.to_f32(), first.value([0; 3]), first.grid.orientation_code());
}

/// Writes and reads again; `None` where the format cannot hold the content and says so.
fn again(format: &dyn Format, content: Content<'_>, path: &Path) -> Option<Image> {
    if !format.can_write(content) {
        return None;
    }
    let name = path.file_name().unwrap_or_default();
    match format.write(content, path, name, &Task::silent()) {
        Ok(()) => {}
        Err(Error::Unsupported { .. } | Error::Argument(_)) => return None,
        Err(e) => panic!("writing failed: {e}"),
    }
    let source = Source::open(path).expect("what was written can be opened");
    assert!(format.sniff(&source), "what was written is not recognised");
    match format.read(&source, &Task::silent()) {
        Ok(image) => Some(image),
        Err(e) => panic!("what was written cannot be read: {e}"),
    }
}

/// Same voxels, same place, same scaling.
fn compare(a: &Image, b: &Image, ending: &str) {
    assert_eq!(a.frames.len(), b.frames.len(), "{ending}: frames");
    let keeps_place = !matches!(ending, "tif" | "tiff");
    for (x, y) in a.frames.iter().zip(&b.frames) {
        assert_eq!(x.grid.size_ijk, y.grid.size_ijk, "{ending}: size");
        if keeps_place {
            let tolerance = 1e-5 * reach(&x.grid);
            assert!(x.grid.is_same(&y.grid, tolerance), "{ending}: {:?} became {:?}", x.grid, y.grid);
        }
        if x.voxels.type_name() == y.voxels.type_name() && x.scaling == y.scaling {
            assert!(
                bytes(&x.voxels) == bytes(&y.voxels),
                "{ending}: voxels of type {} differ",
                x.voxels.type_name()
            );
        } else {
            // Formats without a scaling, or without the type, hold the values.
            let (p, q) = (x.to_f32(), y.to_f32());
            for (p, q) in p.iter().zip(&q) {
                let is_close =
                    p == q || (p.is_nan() && q.is_nan()) || (p - q).abs() <= 1e-5 * p.abs().max(q.abs());
                assert!(is_close, "{ending}: value {p} became {q} ({:?} {:?})", x.scaling, y.scaling);
            }
        }
    }
}

/// The largest coordinate or edge of a grid, which single precision is relative to.
fn reach(grid: &formats::Grid) -> f64 {
    let a = &grid.world_from_voxel;
    let far = |axis: usize| a.column(axis).map(|v| v.abs() * grid.size_ijk[axis] as f64);
    (0..3).flat_map(far).chain(a.origin().map(f64::abs)).fold(0.0, f64::max)
}

fn bytes(voxels: &Voxels) -> &[u8] {
    for_any!(voxels, a => bytemuck::cast_slice(a.as_slice().expect("standard layout")))
}

/// Images that can be label maps are written and read as such.
fn labels(format: &dyn Format, image: &Image, out: &Path) {
    if image.frames.len() != 1 {
        return;
    }
    let Ok(map) = image.first().to_labels() else { return };
    let Some(back) = again(format, Content::Labels(&map), out) else { return };
    check(&back);
    let back = back.first().to_labels().expect("written labels are labels");
    assert!(map.labels == back.labels, "labels differ");
}
