//! Which axes are space, where the voxels lie, and what the other axes mean.

use std::path::Path;

use crate::affine::Affine;
use crate::block::{self, Kind, Layout};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::notice::Notice;
use crate::volume::{AffineSource, FrameAxis};

use super::header::{self, Header};

/// All that the header says about axes.
pub struct Axes {
    pub layout: Layout,
    pub grid: Grid,
    pub source: AffineSource,
    pub frame_axes: Vec<FrameAxis>,
}

/// What a kind of axis is to us.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Space,
    Unknown,
    Frame(&'static str),
    Colour,
    Complex,
}

/// Kinds of axes (format definition, section 5, "kinds").
fn role(kind: &str) -> Role {
    match kind.to_lowercase().as_str() {
        "domain" | "space" => Role::Space,
        "time" => Role::Frame("time"),
        "list" | "point" | "stub" | "scalar" => Role::Frame("channel"),
        "rgb-color" | "rgba-color" | "3-color" | "4-color" => Role::Colour,
        "complex" => Role::Complex,
        "" | "???" | "none" => Role::Unknown,
        // Vectors, normals, gradients, quaternions, matrices, HSV and XYZ colours.
        _ => Role::Frame("component"),
    }
}

/// Signs from the named space to RAS, its dimension, and whether it is about the patient.
fn space(name: &str) -> Option<([f64; 3], usize, bool)> {
    let lower = name.to_lowercase();
    let (base, dimension) = match lower.strip_suffix("-time") {
        Some(base) => (base, 4),
        None => match lower.as_str() {
            "rast" => ("ras", 4),
            "last" => ("las", 4),
            "lpst" => ("lps", 4),
            other => (other, 3),
        },
    };
    Some(match base {
        "right-anterior-superior" | "ras" => ([1.0, 1.0, 1.0], dimension, true),
        "left-anterior-superior" | "las" => ([-1.0, 1.0, 1.0], dimension, true),
        "left-posterior-superior" | "lps" => ([-1.0, -1.0, 1.0], dimension, true),
        "scanner-xyz" | "3d-right-handed" | "3d-left-handed" => ([-1.0, -1.0, 1.0], dimension, false),
        _ => return None,
    })
}

/// Numbers of a per-axis field, `NaN` where there is none.
fn numbers(h: &Header, field: &str) -> Vec<f64> {
    let text = h.fields.get(field).map(String::as_str).unwrap_or_default();
    let mut out: Vec<f64> = text.split_whitespace().map(|w| w.parse().unwrap_or(f64::NAN)).collect();
    out.resize(h.sizes.len(), f64::NAN);
    out
}

/// Millimetres per unit of length.
fn millimetres(unit: &str) -> Option<f64> {
    Some(match unit {
        "mm" | "millimeter" | "millimetre" | "millimeters" => 1.0,
        "cm" => 10.0,
        "m" | "meter" => 1000.0,
        "um" | "µm" | "micron" | "microns" | "micrometer" => 1e-3,
        "nm" => 1e-6,
        _ => return None,
    })
}

/// Understands the axes.
pub fn axes(path: &Path, h: &Header, notices: &mut Vec<Notice>) -> Result<Axes> {
    let n = h.sizes.len();
    let mut kinds = h.fields.get("kinds").map(|t| header::words(t)).unwrap_or_default();
    kinds.resize(n, String::new());
    let mut roles: Vec<Role> = kinds.iter().map(|k| role(k)).collect();

    let space_name = h.fields.get("space").map(|s| s.trim().trim_matches('"').to_owned());
    let named = space_name.as_deref().and_then(space);
    if let (Some(name), None) = (&space_name, named) {
        notices.push(Notice::warning(
            "unknown-space",
            format!("the space “{name}” is not known; positions are taken as LPS"),
        ));
    }
    let stated: Option<usize> = h.fields.get("space dimension").and_then(|v| v.trim().parse().ok());
    let directions = match h.fields.get("space directions") {
        Some(text) => Some(header::vectors(path, "space directions", text)?),
        None => None,
    };
    if let Some(d) = &directions {
        if d.len() != n {
            return Err(Error::malformed(
                path,
                format!("{} space directions for {n} axes", d.len()),
                "one per axis (“none” for those outside space)",
            ));
        }
        let dimension =
            named.map(|s| s.1).or(stated).or_else(|| d.iter().flatten().map(Vec::len).next()).unwrap_or(3);
        if !(1..=4).contains(&dimension) || d.iter().flatten().any(|v| v.len() != dimension) {
            return Err(Error::malformed(
                path,
                "space directions of different lengths".to_owned(),
                format!("vectors of {dimension} numbers, the dimension of the space"),
            ));
        }
        // Directions decide: what has one is space (or the time of a space with time).
        for (r, v) in roles.iter_mut().zip(d) {
            match v {
                Some(v) if v.len() == 4 && v[..3].iter().all(|x| *x == 0.0) => *r = Role::Frame("time"),
                Some(_) => *r = Role::Space,
                None if matches!(r, Role::Space | Role::Unknown) => *r = Role::Frame("channel"),
                None => {}
            }
        }
    }
    let layout = layout(path, h, &roles, directions.is_some())?;

    let (grid, source) = match &directions {
        Some(d) if !layout.space.is_empty() => {
            let signs = named.map_or([-1.0, -1.0, 1.0], |s| s.0);
            if !named.is_some_and(|s| s.2) {
                let name = space_name.as_deref().unwrap_or("no name");
                notices.push(Notice::warning(
                    "space-not-anatomical",
                    format!("the space ({name}) does not say where the patient's left and right are; LPS is assumed"),
                ));
            }
            placed(path, h, &layout, d, signs, notices)?
        }
        _ => unplaced(h, &layout, notices),
    };
    let frame_axes = layout.frames.iter().map(|&a| frame_axis(h, a, &roles, directions.as_deref())).collect();
    if h.fields.contains_key("measurement frame") {
        notices.push(Notice::info(
            "measurement-frame",
            "the measurement frame (for gradients and tensors) was not applied",
        ));
    }
    Ok(Axes { layout, grid, source, frame_axes })
}

/// Gives each axis its place.
fn layout(path: &Path, h: &Header, roles: &[Role], has_directions: bool) -> Result<Layout> {
    let mut layout = Layout { dims: h.sizes.clone(), ..Layout::default() };
    // Axes of unknown kind are space as long as there is room.
    let known = roles.iter().filter(|r| **r == Role::Space).count();
    let mut unknown_as_space = if has_directions { 0 } else { 3_usize.saturating_sub(known) };
    for (a, role) in roles.iter().enumerate() {
        let len = h.sizes[a];
        match role {
            Role::Space if layout.space.len() < 3 => layout.space.push(a),
            Role::Unknown if unknown_as_space > 0 && layout.space.len() < 3 => {
                unknown_as_space -= 1;
                layout.space.push(a);
            }
            Role::Colour
                if layout.packed.is_none()
                    && (len == 3 || len == 4)
                    && matches!(h.kind, Kind::U8 | Kind::U16) =>
            {
                layout.packed = Some(a);
            }
            Role::Complex
                if layout.packed.is_none() && len == 2 && matches!(h.kind, Kind::F32 | Kind::F64) =>
            {
                (layout.packed, layout.is_complex) = (Some(a), true);
            }
            _ => layout.frames.push(a),
        }
    }
    if layout.space.is_empty() {
        return Err(Error::unsupported(
            path,
            format!("an array without axes of space (sizes {:?})", h.sizes),
            "images",
            "This looks like a table or a list rather than an image",
        ));
    }
    Ok(layout)
}

/// Placement by directions and origin.
fn placed(
    path: &Path,
    h: &Header,
    layout: &Layout,
    directions: &[Option<Vec<f64>>],
    signs: [f64; 3],
    notices: &mut Vec<Notice>,
) -> Result<(Grid, AffineSource)> {
    let units = h.fields.get("space units").map(|t| header::words(t)).unwrap_or_default();
    let mut factor = [1.0; 3];
    for (f, unit) in factor.iter_mut().zip(&units) {
        match millimetres(unit) {
            Some(v) => *f = v,
            None if unit.is_empty() || unit == "???" => {}
            None => notices.push(Notice::warning(
                "unknown-unit",
                format!("the unit “{unit}” of space is not known; millimetres are assumed"),
            )),
        }
    }
    let to_ras = |v: &[f64]| {
        let at = |x: usize| v.get(x).copied().unwrap_or(0.0) * signs[x] * factor[x] + 0.0;
        [at(0), at(1), at(2)]
    };
    let known: Vec<[f64; 3]> =
        layout.space.iter().filter_map(|&a| directions[a].as_deref()).map(to_ras).collect();
    let origin = match h.fields.get("space origin") {
        Some(text) => header::vectors(path, "space origin", text)?.into_iter().next().flatten(),
        None => None,
    };
    if origin.is_none() {
        notices.push(Notice::warning("no-origin", "the header has no space origin; 0, 0, 0 is assumed"));
    }
    let origin = to_ras(origin.as_deref().unwrap_or(&[0.0; 3]));
    let affine = Affine::from_columns(block::complete(&known), origin);
    let size_ijk = layout.size_ijk();
    if affine.inverse().is_some() {
        return Ok((Grid { size_ijk, world_from_voxel: affine }, AffineSource::Header));
    }
    notices.push(Notice::warning(
        "singular-directions",
        "the space directions do not span space; 1 mm voxels along the axes of LPS are assumed",
    ));
    let world_from_voxel = Affine::scale_shift([-1.0, -1.0, 1.0], origin);
    Ok((Grid { size_ijk, world_from_voxel }, AffineSource::Spacing))
}

/// Placement by spacings and axis minima, taken as LPS.
fn unplaced(h: &Header, layout: &Layout, notices: &mut Vec<Notice>) -> (Grid, AffineSource) {
    let (spacings, mins, maxs) = (numbers(h, "spacings"), numbers(h, "axis mins"), numbers(h, "axis maxs"));
    let centerings = h.fields.get("centerings").map(|t| header::words(t)).unwrap_or_default();
    let (mut spacing, mut origin) = ([1.0; 3], [0.0; 3]);
    for (x, &a) in layout.space.iter().enumerate() {
        // Cell-centred axes run from border to border, others from first to last sample.
        let is_cell = centerings.get(a).is_some_and(|c| c == "cell");
        let steps = if is_cell { h.sizes[a] as f64 } else { h.sizes[a] as f64 - 1.0 };
        let from_range = (maxs[a] - mins[a]) / steps;
        let is_sound = |v: &f64| v.is_finite() && *v != 0.0;
        spacing[x] = Some(spacings[a]).filter(is_sound).or(Some(from_range).filter(is_sound)).unwrap_or(1.0);
        if mins[a].is_finite() {
            origin[x] = mins[a] + if is_cell { spacing[x] / 2.0 } else { 0.0 };
        }
    }
    notices.push(Notice::info(
        "no-orientation",
        format!(
            "the header does not say how the patient lies; axes along L, P, S with spacing {} × {} × {} mm are assumed",
            spacing[0], spacing[1], spacing[2]
        ),
    ));
    let lps = Affine::scale_shift(spacing, origin);
    let grid = Grid { size_ijk: layout.size_ijk(), world_from_voxel: block::flip_lps(&lps) };
    (grid, AffineSource::Spacing)
}

fn frame_axis(h: &Header, a: usize, roles: &[Role], directions: Option<&[Option<Vec<f64>>]>) -> FrameAxis {
    let labels = h.fields.get("labels").map(|t| header::words(t)).unwrap_or_default();
    let name = match roles[a] {
        // Written so by this program, because ITK refuses the kind "time".
        Role::Frame("channel") if labels.get(a).is_some_and(|l| l == "time") => "time".to_owned(),
        Role::Frame(name) => name.to_owned(),
        Role::Space | Role::Unknown => format!("dimension-{}", a + 1),
        Role::Colour | Role::Complex => "component".to_owned(),
    };
    let units = h.fields.get("units").map(|t| header::words(t)).unwrap_or_default();
    let (unit, factor) = match units.get(a).map(|u| u.to_lowercase()).as_deref() {
        Some("s" | "sec" | "second" | "seconds") => ("s", 1.0),
        Some("ms" | "msec" | "milliseconds") => ("s", 1e-3),
        Some("us" | "µs") => ("s", 1e-6),
        _ => ("", 1.0),
    };
    let along_time = directions.and_then(|d| d[a].as_ref()).and_then(|v| v.get(3).copied());
    let step = along_time.unwrap_or(numbers(h, "spacings")[a]);
    let step = if step.is_finite() && step > 0.0 { step * factor } else { 0.0 };
    FrameAxis { name, len: h.sizes[a], step, unit: unit.to_owned() }
}
