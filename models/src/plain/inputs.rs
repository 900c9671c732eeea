//! The input section of a manifest: axes, sizes, channels, voxel size.

use super::description::{Description, Kind, Reading, Told};
use super::draft::{Drafter, Fault};
use super::graph::Fit;
use crate::manifest::{Channel, STORED, Spacing};
use crate::onnx::reader::Port;

/// The size of what the network sees, `[D, H, W]`; of inputs of free size that see the whole image `[1, 1, 1]`.
pub(super) fn sizes(
    d: &mut Drafter<'_>,
    told: &Description,
    layout: &str,
    fit: &mut Told<(Fit, f64)>,
) -> Result<Option<[usize; 3]>, Fault> {
    let is_planar = !layout.contains('D');
    let has_maps = matches!(d.kind, Kind::Segmentation | Kind::Restoration);
    let words = d.input.words();
    let fixed = |c: char| d.size(layout, c);
    let sides = [if is_planar { Some(1) } else { fixed('D') }, fixed('H'), fixed('W')];
    let is_free = sides.contains(&None);
    // Detectors that take one picture without an axis for more of them take any size.
    let is_alone = d.kind == Kind::Detection && !layout.contains('N');
    if fit.is_none() && is_alone && is_free && told.patch.is_none() {
        *fit = Some(((Fit::Whole, 1.0), "the input's free size"));
    }
    let is_whole = !has_maps && fit.is_some_and(|((f, _), _)| f == Fit::Whole);
    if is_whole && !is_free {
        return Err((words, "an input of free size for the fit “whole”".to_owned()));
    }
    let size_words = |p: &[usize; 3]| {
        if is_planar { format!("{}×{}", p[1], p[2]) } else { format!("{}×{}×{}", p[0], p[1], p[2]) }
    };
    let patch = if let [Some(depth), Some(height), Some(width)] = sides {
        d.note("patch", Some(([depth, height, width], "the input's shape")), size_words)
    } else if is_whole {
        Some([1, 1, 1])
    } else {
        d.need(
            "patch",
            told.patch,
            size_words,
            "the size of what the network sees at a time, which the graph leaves free: HEIGHT,WIDTH or \
             DEPTH,HEIGHT,WIDTH as it was trained with",
        )
    };
    if let Some(p) = patch {
        let is_same = (0..3).all(|a| sides[a].is_none_or(|n| n == p[a] || is_whole));
        if !is_same || is_planar && p[0] != 1 {
            return Err((format!("a size of {}", size_words(&p)), format!("one that fits {words}")));
        }
        if d.kind == Kind::Restoration && p[1..].iter().any(|n| n % 2 != 0) {
            return Err((format!("a size of {}", size_words(&p)), "even sides".to_owned()));
        }
    }
    Ok(patch)
}

/// Directions of D, H and W.
pub(super) fn axes(
    d: &mut Drafter<'_>,
    told: &Description,
    layout: &str,
    is_coloured: bool,
) -> Option<String> {
    if d.kind == Kind::Restoration {
        return Some(STORED.to_owned());
    }
    let of_pictures = is_coloured.then(|| (STORED.to_owned(), "colours, which bodies have not"));
    let question = if layout.contains('D') {
        "in which directions the axes of a volume grow, slowest first: one letter each of R/L, A/P, S/I (SAR for arrays z, y, x \
         in RAS, RAS for x, y, z as in MONAI, SPL for z, y, x in LPS), or stored to follow the file"
    } else {
        "in which directions slices, rows and columns grow: one letter each of R/L, A/P, S/I (SPL for axial DICOM slices), or \
         stored to follow the file"
    };
    let axes = d.need("axes", told.axes.clone().or(of_pictures), Clone::clone, question)?;
    Some(in_canonical_order(&axes, layout))
}

/// The voxel size; classifiers and detectors bring images to their own number of samples.
pub(super) fn spacing(d: &mut Drafter<'_>, told: &Description) -> Option<Spacing> {
    if d.kind != Kind::Segmentation {
        return Some(Spacing::Native);
    }
    let words = |s: &Spacing| match s {
        Spacing::Native => "native".to_owned(),
        Spacing::Mm(mm) => mm.map(|v| v.to_string()).join(","),
    };
    let question = "the voxel size the network was trained at: native (as the image is), or three lengths in mm along the axes \
                    D, H, W, e.g. 1,1,1";
    d.need("spacing", told.spacing, words, question)
}

/// The order of axes that a shape leaves no doubt about.
pub(super) fn infer_layout(input: &Port, kind: Kind) -> Told<String> {
    let from = "the input's shape";
    let few = |n: usize| input.dims.get(n).copied().flatten().is_some_and(|v| v <= 4);
    let last = input.dims.len().saturating_sub(1);
    let letters = match input.dims.len() {
        5 if few(4) && !few(1) => "NDHWC",
        5 => "NCDHW",
        4 if few(3) && !few(1) => "NHWC",
        4 if input.dims[1].is_some() && !few(last) => "NCHW",
        3 if few(0) && !few(last) && kind == Kind::Detection => "CHW",
        _ => return None,
    };
    Some((letters.to_owned(), from))
}

/// Directions of the graph's spatial axes, in its order, as those of D, H and W.
fn in_canonical_order(axes: &str, layout: &str) -> String {
    let spatial: Vec<char> = layout.chars().filter(|c| "DHW".contains(*c)).collect();
    // Of networks that see slices the first letter is about these; and words like “stored” have no order.
    if axes == STORED || spatial.len() < 3 {
        return axes.to_owned();
    }
    let letter = |c: char| spatial.iter().position(|s| *s == c).and_then(|n| axes.chars().nth(n));
    "DHW".chars().filter_map(letter).collect()
}

pub(super) fn channels(
    d: &mut Drafter<'_>,
    told: &Description,
    count: Option<usize>,
    is_planar: bool,
) -> (Vec<Channel>, usize) {
    let one = |name: &str| vec![Channel { name: name.to_owned(), patterns: Vec::new() }];
    if d.kind == Kind::Restoration {
        return (one("picture"), 1);
    }
    let Some(count) = count else {
        let question = "the names of the input's channels with commas, or colours for red, green and blue";
        let names = d.need("channels", told.channels.clone(), |n| n.join(","), question);
        return (names.map_or_else(|| one("image"), |n| rows(&n)), 1);
    };
    let is_colours = match (told.colours, &told.channels) {
        (Some((true, _)), _) => true,
        (_, None) => count == 3 && is_planar,
        _ => false,
    };
    if is_colours && count == 3 {
        let from = told.colours.map_or("the input's three channels", |(_, from)| from);
        d.draft.readings.push(Reading { what: "channels", value: "colours".to_owned(), from });
        return (one("image"), 3);
    }
    if count == 1 && told.channels.is_none() {
        return (one("image"), 1);
    }
    let question =
        format!("the names of the {count} input channels with commas, in the order of the network");
    let names = d.need("channels", told.channels.clone(), |n| n.join(","), &question).unwrap_or_default();
    if !names.is_empty() && names.len() != count {
        d.ask("channels", &format!("{} names were given, and the network has {count} channels", names.len()));
    }
    (if names.is_empty() { one("image") } else { rows(&names) }, 1)
}

/// Channels with the endings of file names that mean them: `_name`, and nnU-Net's `_0000`.
fn rows(names: &[String]) -> Vec<Channel> {
    let row = |(n, name): (usize, &String)| {
        let word: String =
            name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        Channel { name: name.clone(), patterns: vec![format!("_{word}"), format!("_{n:04}")] }
    };
    names.iter().enumerate().map(row).collect()
}
