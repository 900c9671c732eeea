//! `insula mesh`: surfaces of labels.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use formats::mesh::{MESH_FORMATS, Smoothing, Space};

use super::{Context, Exit, output};
use crate::mesh::{Export, ExportMeshes, SurfaceRow};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula mesh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The label map.
    #[arg(value_name = "LABELS")]
    labels: PathBuf,

    /// A file (.stl, .obj, .ply or .glb) for all labels together, or a folder for a file per label.
    #[arg(long, value_name = "FILE|FOLDER")]
    out: PathBuf,

    /// Labels to write: numbers and ranges, e.g. 17,53 or 10-13 [default: every label that occurs].
    #[arg(long = "label", visible_alias = "labels", value_name = "LIST", value_delimiter = ',')]
    ids: Vec<String>,

    /// Iterations of smoothing, which keeps the volume; 0 keeps the faces of the voxels.
    #[arg(long, value_name = "N", default_value_t = Smoothing::default().iterations,
          value_parser = clap::value_parser!(u32).range(0..=500))]
    smooth: u32,

    /// The format [default: by the ending of the file; stl in a folder].
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(MESH_FORMATS.iter().map(|f| f.id())))]
    format: Option<String>,

    /// Axes of coordinates (in mm): RAS, as in NIfTI; or LPS, as in DICOM. GLB has its own.
    #[arg(long, value_name = "SPACE", default_value = "ras")]
    space: Axes,

    /// A label table with names and colours [default: what the file carries].
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,

    /// One JSON record per label instead of a table.
    #[arg(long)]
    json: bool,

    /// Replace existing files.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Axes {
    Ras,
    Lps,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = ExportMeshes {
        labels: args.labels.clone(),
        table: args.table.clone(),
        export: Export {
            output: args.out.clone(),
            format: args.format.clone(),
            ids: (!args.ids.is_empty()).then(|| args.ids.join(",")),
            smoothing: Smoothing { iterations: args.smooth, ..Smoothing::default() },
            space: match args.space {
                Axes::Ras => Space::Ras,
                Axes::Lps => Space::Lps,
            },
            overwrite: args.overwrite,
        },
    };
    let task = context.console.task(&args.labels.display().to_string(), context.interrupt.cancel());
    let Outcome::Meshes(done) = perform(&Request::ExportMeshes(request), context, &task)? else {
        unreachable!("a mesh request has a mesh outcome")
    };
    context.console.clear();
    for row in done.surfaces.iter().filter(|r| r.unsmoothed_pieces > 0) {
        context.console.say(&format!(
            "{}: {} tiny pieces stay voxels, as smoothing would have changed their volume",
            row.name, row.unsmoothed_pieces
        ));
    }
    if args.json {
        done.surfaces.iter().try_for_each(output::record)?;
    } else {
        output::line(&text(&done.surfaces))?;
    }
    Ok(Exit::Done)
}

fn text(rows: &[SurfaceRow]) -> String {
    let width = rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(4);
    let mut lines = vec![format!(
        "{:>5}  {:<width$}  {:>12}  {:>12}  {:>9}  file",
        "label", "name", "volume mm³", "area mm²", "triangles"
    )];
    lines.extend(rows.iter().map(|r| {
        format!(
            "{:>5}  {:<width$}  {:>12.1}  {:>12.1}  {:>9}  {}",
            r.label,
            r.name,
            r.mesh_volume_mm3,
            r.area_mm2,
            r.triangles,
            r.file.display()
        )
    }));
    lines.join("\n")
}
