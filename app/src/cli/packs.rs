//! `insula packs`: the models there are.

use std::path::PathBuf;

use models::Catalog;
use models::plain::{Answers, Kind};
use models::restorer::Restoration;

use super::{Context, Exit, output};
use crate::packs::{Import, ONNX, PackInfo};
use crate::request::{Outcome, Request, perform};

/// Flags of `insula packs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the packs that can be used.
    List {
        /// One JSON object per pack and line.
        #[arg(long)]
        json: bool,
    },
    /// Show everything about a pack: inputs, preparation, labels, licence, model card.
    Show {
        /// An installed pack or a pack folder.
        #[arg(value_name = "ID")]
        id: String,
        /// The manifest as one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Make a pack from a checkpoint (PyTorch, safetensors or NumPy archive), of which nothing is executed, or of a network that
    /// was exported elsewhere as ONNX (--family onnx).
    Import(Box<ImportArgs>),
    /// Install a pack folder.
    Install {
        /// The folder with pack.toml.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Replace a pack of the same id.
        #[arg(long)]
        overwrite: bool,
    },
    /// Remove an installed pack.
    Remove {
        /// The pack.
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// The weights: .pt, .pth, .bin, .safetensors or .npz; or a network: .onnx.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Family of networks: segformer3d, maxim, mayor, xdecoder, or onnx for one exported elsewhere [default: onnx for .onnx files, else
    /// segformer3d].
    #[arg(long)]
    family: Option<String>,
    /// Settings that go with the weights: brats, synapse, acdc, or a .toml file.
    #[arg(long, value_name = "NAME|FILE")]
    preset: Option<String>,
    /// What a MAXIM checkpoint or a restorer was trained for: denoising, deblurring, deraining, dehazing or enhancement.
    #[arg(long, value_name = "TASK")]
    task: Option<Restoration>,
    /// The MAXIM or X-Decoder variant that the weights must be of, e.g. S-2 or focal-t [default: read off the checkpoint].
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The byte pairs that an X-Decoder reads text with: for official checkpoints bpe_simple_vocab_16e6.txt.gz of CLIP.
    #[arg(long, value_name = "FILE")]
    merges: Option<PathBuf>,
    /// Licence of the weights, as an SPDX expression [default: as the preset says, else unknown].
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// Identifier of the new pack [default: family and preset].
    #[arg(long)]
    id: Option<String>,
    /// Name of the new pack [default: that of the preset].
    #[arg(long)]
    name: Option<String>,
    /// Folder in which the pack is made [default: the user's packs].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Store the weights in 16 bits: half the size, about three digits.
    #[arg(long)]
    half: bool,
    /// What attention scores are divided by the root of: num_heads (weights released up to November 2025) or
    /// head_dim [default: as the preset says].
    #[arg(long, value_name = "WHICH", value_parser = ["num_heads", "head_dim"])]
    attention_scale: Option<String>,
    /// Replace a pack of the same id.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    plain: PlainArgs,
}

/// What is known about a network that was exported elsewhere. What is not said is read off the graph and off descriptions
/// beside the file (nnU-Net, MONAI bundles, bioimage.io); what none of them says is asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Networks exported elsewhere (--family onnx)")]
struct PlainArgs {
    /// What it does: segmentation, restoration, classification or detection.
    #[arg(long)]
    kind: Option<Kind>,
    /// Directions in which its axes grow, slowest first: SAR, RAS, SPL, …, or stored to follow the file.
    #[arg(long)]
    axes: Option<String>,
    /// How values are prepared: none, minmax, zscore, zscore:nonzero, percentile:LOW,HIGH, range:LOW,HIGH,
    /// fixed:LOW,HIGH,MEAN,DEVIATION, linear:SUBTRACT,DIVIDE, imagenet; of restorers range:BLACK,WHITE.
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    intensity: Option<String>,
    /// Voxel size it was trained at: native, or three lengths in mm along its axes.
    #[arg(long, value_name = "MM")]
    spacing: Option<String>,
    /// Names of the classes with commas, or @FILE with one per line.
    #[arg(long, value_name = "NAMES")]
    classes: Option<String>,
    /// Order of the input's axes: letters N, C, D, H, W, e.g. NCHW [default: by its shape].
    #[arg(long)]
    layout: Option<String>,
    /// Size of what it sees at a time, where the graph leaves that free: HEIGHT,WIDTH or DEPTH,HEIGHT,WIDTH.
    #[arg(long, value_name = "SIZE")]
    patch: Option<String>,
    /// Names of the input channels with commas, or colours [default: colours for three channels of pictures].
    #[arg(long = "channels", value_name = "NAMES")]
    channels: Option<String>,
    /// What its output holds: logits, probabilities, labels, picture or residual [default: by its last operator].
    #[arg(long)]
    values: Option<String>,
    /// Name of the output that counts [default: the first of its shape].
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// How images are brought to the size of the input by classifiers and detectors: stretch, pad, crop, crop:PART or whole.
    #[arg(long)]
    fit: Option<String>,
    /// How a detector writes boxes down: yolo, yolo-objectness, rows, torchvision or detr [default: by its outputs].
    #[arg(long, value_name = "LAYOUT")]
    boxes: Option<String>,
}

impl ImportArgs {
    fn is_plain(&self) -> bool {
        let is_onnx = || self.checkpoint.extension().is_some_and(|e| e.eq_ignore_ascii_case(ONNX));
        self.family.as_ref().map_or_else(is_onnx, |f| f == ONNX)
    }
}

impl PlainArgs {
    fn answers(&self) -> Answers {
        Answers {
            kind: self.kind,
            layout: self.layout.clone(),
            axes: self.axes.clone(),
            spacing: self.spacing.clone(),
            intensity: self.intensity.clone(),
            classes: self.classes.clone(),
            values: self.values.clone(),
            patch: self.patch.clone(),
            channels: self.channels.clone(),
            boxes: self.boxes.clone(),
            fit: self.fit.clone(),
            task: None,
            output: self.output.clone(),
        }
    }
}

/// Makes a pack of a network that was exported elsewhere, and tells what was taken from where.
fn import_plain(args: &ImportArgs, answers: Answers, context: &Context) -> anyhow::Result<Exit> {
    let task = context.console.task("packs", context.interrupt.cancel());
    let request = Import {
        preset: args.preset.clone(),
        task: args.task,
        variant: args.variant.clone(),
        licence: args.licence.clone(),
        id: args.id.clone(),
        name: args.name.clone(),
        out: args.out.clone(),
        half: args.half,
        attention_scale: args.attention_scale.clone(),
        overwrite: args.overwrite,
        plain: Some(answers),
        ..Import::of(args.checkpoint.clone(), ONNX)
    };
    let (pack, look) = crate::packs::import_plain(&request, &task)?;
    for file in &look.described_by {
        context.console.say(&format!("read {}", file.display()));
    }
    let rows: Vec<(&str, String)> =
        look.readings.iter().map(|r| (r.what, format!("{}  ({})", r.value, r.from))).collect();
    context.console.say(output::table(&rows).trim_end());
    for remark in &look.remarks {
        context.console.say(&format!("not used: {remark}"));
    }
    context.console.say(&format!("{}: {}", pack.id, pack.place.display()));
    Ok(Exit::Done)
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = match &args.verb {
        Verb::List { json } => return list(*json, context),
        Verb::Show { id, json } => return show(id, *json),
        Verb::Import(a) if a.is_plain() => return import_plain(a, a.plain.answers(), context),
        Verb::Import(a) => Request::ImportPack(Box::new(Import {
            preset: a.preset.clone(),
            task: a.task,
            variant: a.variant.clone(),
            merges: a.merges.clone(),
            licence: a.licence.clone(),
            id: a.id.clone(),
            name: a.name.clone(),
            out: a.out.clone(),
            half: a.half,
            attention_scale: a.attention_scale.clone(),
            overwrite: a.overwrite,
            ..Import::of(a.checkpoint.clone(), a.family.as_deref().unwrap_or("segformer3d"))
        })),
        Verb::Install { folder, overwrite } => {
            Request::InstallPack { folder: folder.clone(), overwrite: *overwrite }
        }
        Verb::Remove { id } => Request::RemovePack { id: id.clone() },
    };
    let task = context.console.task("packs", context.interrupt.cancel());
    match perform(&request, context, &task)? {
        Outcome::Pack(pack) => context.console.say(&format!("{}: {}", pack.id, pack.place.display())),
        _ => context.console.say("removed"),
    }
    Ok(Exit::Done)
}

fn list(json: bool, context: &Context) -> anyhow::Result<Exit> {
    let catalog = Catalog::standard();
    let packs: Vec<PackInfo> = catalog.packs().iter().map(|p| PackInfo::of(p)).collect();
    if json {
        packs.iter().try_for_each(output::record)?;
    } else {
        let rows: Vec<(&str, String)> = packs
            .iter()
            .map(|p| {
                let place = if p.is_bundled { "bundled" } else { "installed" };
                (p.id.as_str(), format!("{:<8} {place:<9}  {}", p.version, p.summary))
            })
            .collect();
        if !rows.is_empty() {
            output::line(&output::table(&rows))?;
        }
    }
    if packs.is_empty() {
        context.console.say(&format!("no packs; they are looked for in {}", catalog.folder().display()));
    }
    for problem in catalog.problems() {
        context.console.complain(&format!("warning: {}: {}", problem.folder.display(), problem.error));
    }
    Ok(Exit::Done)
}

fn show(id: &str, json: bool) -> anyhow::Result<Exit> {
    let pack = crate::segment::find_pack(id)?;
    let m = &pack.manifest;
    if json {
        let mut value = serde_json::to_value(m)?;
        if let Some(map) = value.as_object_mut() {
            map.insert("pack_sha256".to_owned(), pack.hash.clone().into());
            map.insert("is_bundled".to_owned(), pack.is_bundled().into());
            map.insert("place".to_owned(), pack.place().to_string_lossy().into());
        }
        output::record(&value)?;
        return Ok(Exit::Done);
    }
    let mut rows = vec![
        ("name", m.name.clone()),
        ("version", m.version.clone()),
        ("family", m.family.clone()),
        ("summary", m.summary.clone()),
        ("use", m.intended_use.clone()),
        ("licence", m.licence.clone()),
        ("place", pack.place().display().to_string()),
        ("sha256", pack.hash.clone()),
    ];
    if !m.citation.is_empty() {
        rows.push(("cite", m.citation.clone()));
    }
    for (n, channel) in m.input.channels.iter().enumerate() {
        let endings = if channel.patterns.is_empty() {
            String::new()
        } else {
            format!("  files …{}", channel.patterns.join(", …"))
        };
        rows.push((if n == 0 { "channels" } else { "" }, format!("{}{endings}", channel.name)));
    }
    let [d, h, w] = m.tiles.patch;
    if let Some(task) = m.output.restoration() {
        let colours = if m.output.channel_count() == 3 { "red, green, blue" } else { "grey" };
        rows.push(("restores", format!("{task}, {colours}")));
    }
    if let models::manifest::Output::Classes { names, .. } | models::manifest::Output::Boxes { names, .. } =
        &m.output
    {
        let what = if matches!(m.output, models::manifest::Output::Boxes { .. }) { "finds" } else { "tells" };
        rows.push((what, names.join(", ")));
    }
    if let models::manifest::Output::Prompts(output) = &m.output {
        let tasks: Vec<&str> = output.tasks.iter().map(|t| t.word()).collect();
        rows.push(("asked for", tasks.join(", ")));
        if let Some(p) = output.present {
            rows.push(("found from", format!("probability {:.2}", p.threshold)));
        }
        for (n, prompt) in output.suggestions.iter().enumerate() {
            rows.push((if n == 0 { "prompts" } else { "" }, prompt.clone()));
        }
    }
    rows.push(("window", format!("{d} × {h} × {w} voxels ({}), overlap {}", m.input.axes, m.tiles.overlap)));
    for (n, label) in m.labels.iter().enumerate() {
        rows.push((if n == 0 { "labels" } else { "" }, format!("{:>5}  {}", label.id, label.name)));
    }
    output::line(&format!("{}\n{}", m.id, output::table(&rows)))?;
    Ok(Exit::Done)
}
