//! `insula packs`: the models there are.

use std::path::PathBuf;

use models::Catalog;
use models::restorer::Restoration;

use super::{Context, Exit, output};
use crate::packs::{Import, PackInfo};
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
    /// Make a pack from a checkpoint (PyTorch, safetensors or NumPy archive). Nothing in it is executed.
    Import(ImportArgs),
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
    /// The weights: .pt, .pth, .bin, .safetensors or .npz.
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// Kind of network: segformer3d, maxim or xdecoder.
    #[arg(long, default_value = "segformer3d")]
    family: String,
    /// Settings that go with the weights: brats, synapse, acdc, or a .toml file.
    #[arg(long, value_name = "NAME|FILE")]
    preset: Option<String>,
    /// What a MAXIM checkpoint was trained for: denoising, deblurring, deraining, dehazing or enhancement.
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
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Exit> {
    let request = match &args.verb {
        Verb::List { json } => return list(*json, context),
        Verb::Show { id, json } => return show(id, *json),
        Verb::Import(a) => Request::ImportPack(Import {
            checkpoint: a.checkpoint.clone(),
            family: a.family.clone(),
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
        }),
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
