//! `insula render`: the pictures of the window, into PNG files.

use std::path::PathBuf;

use viewer::{Convention, Plane, StandardView};

use super::{Context, Exit, output};
use crate::render::{Render, View};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula render`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images and segmentations, the lowest layer first; a second image is an overlay.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// A segmentation to draw on top, whatever it looks like (may be repeated).
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,

    /// What is shown.
    #[arg(long, value_name = "VIEW", default_value = "axial")]
    view: ViewName,

    /// From where the volume is seen with --view 3d.
    #[arg(long, value_name = "SIDE", default_value = "anterior")]
    from: Side,

    /// The point the slice goes through, in RAS+ mm, e.g. 12,-30.5,8 [default: the middle of the first file].
    #[arg(long, value_name = "R,A,S", value_parser = numbers::<3>, allow_hyphen_values = true)]
    at: Option<[f64; 3]>,

    /// Width and height in pixels, e.g. 800x600.
    #[arg(long, value_name = "WxH", value_parser = size, default_value = "512x512")]
    size: [usize; 2],

    /// The picture to write.
    #[arg(long, value_name = "PNG")]
    out: PathBuf,

    /// The patient's right on the right (as if seen from above) rather than on the left.
    #[arg(long)]
    neurological: bool,

    /// Values at the ends of the colours of the first image, e.g. -160,240 [default: by the file or its values].
    #[arg(long, value_name = "LOW,HIGH", value_parser = numbers::<2>, allow_hyphen_values = true)]
    window: Option<[f64; 2]>,

    /// Colours of the first image: grey, inverted, ct-bone, hot, hot-metal, cool, viridis, magma, spectral, …
    #[arg(long, value_name = "NAME")]
    colours: Option<String>,

    /// Opacity of segmentations in slices, 0 to 1.
    #[arg(long, value_name = "X", value_parser = opacity, default_value = "0.5")]
    label_opacity: f32,

    /// Draw the borders of labels opaque.
    #[arg(long)]
    outline: bool,

    /// Show voxels as they are, not smooth in between.
    #[arg(long)]
    nearest: bool,

    /// One JSON record instead of a line of text.
    #[arg(long)]
    json: bool,

    /// Replace an existing picture.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ViewName {
    Axial,
    Coronal,
    Sagittal,
    #[value(name = "3d")]
    Volume,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Side {
    Anterior,
    Posterior,
    Left,
    Right,
    Superior,
    Inferior,
}

fn numbers<const N: usize>(text: &str) -> Result<[f64; N], String> {
    let parts: Result<Vec<f64>, _> = text.split(',').map(|p| p.trim().parse()).collect();
    parts
        .ok()
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| format!("{N} numbers with commas between are needed"))
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let parts = text.split_once(['x', 'X', '×']).and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    parts.ok_or_else(|| "two whole numbers with an x between are needed, e.g. 800x600".to_owned())
}

fn opacity(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|v| (0.0..=1.0).contains(v));
    value.ok_or_else(|| "a number from 0 to 1 is needed".to_owned())
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let side = match args.from {
        Side::Anterior => StandardView::Anterior,
        Side::Posterior => StandardView::Posterior,
        Side::Left => StandardView::Left,
        Side::Right => StandardView::Right,
        Side::Superior => StandardView::Superior,
        Side::Inferior => StandardView::Inferior,
    };
    let request = Render {
        files: args.files.clone(),
        labels: args.labels.clone(),
        view: match args.view {
            ViewName::Axial => View::Slice(Plane::Axial),
            ViewName::Coronal => View::Slice(Plane::Coronal),
            ViewName::Sagittal => View::Slice(Plane::Sagittal),
            ViewName::Volume => View::Volume(side),
        },
        at_ras: args.at,
        size_px: args.size,
        output: args.out.clone(),
        convention: if args.neurological { Convention::Neurological } else { Convention::Radiological },
        window: args.window.map(|[low, high]| (low, high)),
        colour_map: args.colours.clone(),
        label_opacity: args.label_opacity,
        outline: args.outline,
        nearest: args.nearest,
        overwrite: args.overwrite,
    };
    let task = context.console.task(&args.out.display().to_string(), context.interrupt.cancel());
    let Outcome::Rendered(done) = perform(&Request::Render(request), context, &task)? else {
        unreachable!("a render request has a render outcome")
    };
    context.console.clear();
    for (file, notice) in &done.notices {
        context.console.say(&format!("{file}: {}", notice.message));
    }
    if args.json {
        output::record(&done)?;
    } else {
        let [width, height] = done.size_px;
        context.console.say(&format!("{}: {width}×{height} pixels", done.output.display()));
    }
    Ok(Exit::Done)
}
