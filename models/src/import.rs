//! From somebody's weights to a pack: a checkpoint plus a preset become a folder with `pack.toml`, `model.onnx` and
//! `MODEL_CARD.md`.
//!
//! A preset is a `pack.toml` without `schema`, `id`, `file` and `origin`; those about the published configurations are
//! in the program ([`PRESETS`]), others may be files. Nothing in a checkpoint is executed.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use formats::Task;

use crate::catalog::{place_folder, write_file};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Error, Result};
use crate::manifest::{self, CropKind, Manifest, Output, Restoration, SCHEMA, is_id};
pub use crate::onnx::Precision;
use crate::pack::{self, ModelPack, sha256_hex};
use crate::prompter::Asking;
use crate::{maxim, mayor, segformer3d, xdecoder};

/// Names and texts of the presets inside the program.
pub static PRESETS: &[(&str, &str)] = &[
    ("brats", include_str!("../presets/brats.toml")),
    ("synapse", include_str!("../presets/synapse.toml")),
    ("acdc", include_str!("../presets/acdc.toml")),
];

/// How the checkpoints of one family become networks.
struct Importer {
    /// [`crate::Family::id`].
    family: &'static str,
    /// Roles, parts and names of the files it makes, which the settings are checked with before there are any.
    files: &'static [(&'static str, &'static str, &'static str)],
    /// Makes the network. The table is the `[network]` section, which may be completed.
    network: for<'a> fn(&Ingredients<'a>, &mut toml::Table) -> Result<Made<'a>>,
}

/// What an importer makes of weights.
struct Made<'a> {
    files: Vec<MadeFile<'a>>,
    /// What ONNX Runtime takes for a tile, in bytes.
    runtime_bytes: usize,
}

/// A file of a pack, made when it is written, so that large ones are not held together.
struct MadeFile<'a> {
    role: &'static str,
    /// See [`manifest::FileEntry::part`].
    part: &'static str,
    name: &'static str,
    bytes: Box<dyn Fn() -> Vec<u8> + 'a>,
}

impl Made<'_> {
    /// A single ONNX file.
    fn network(bytes: Vec<u8>, runtime_bytes: usize) -> Self {
        let bytes = Box::new(move || bytes.clone());
        Self { files: vec![MadeFile { role: "network", part: "", name: "model.onnx", bytes }], runtime_bytes }
    }
}

/// The files of a network in one graph.
const ONE_NETWORK: &[(&str, &str, &str)] = &[("network", "", "model.onnx")];
/// Those of MAYOR.
const MAYOR_FILES: &[(&str, &str, &str)] = &[
    ("network", "backbone", "backbone.onnx"),
    ("network", "boxes", "boxes.onnx"),
    ("network", "masks", "masks.onnx"),
];
/// Those of X-Decoder; the graphs for captions are nobody's yet.
const XDECODER_FILES: &[(&str, &str, &str)] = &[
    ("network", "text", "text.onnx"),
    ("network", "image", "image.onnx"),
    ("network", "segment", "segment.onnx"),
    ("network", "ground", "ground.onnx"),
    ("vocabulary", "", "vocabulary.txt"),
];

/// What a network is made of.
struct Ingredients<'a> {
    manifest: &'a Manifest,
    preset: &'a Path,
    loaded: &'a Checkpoint,
    variant: Option<&'a str>,
    merges: Option<&'a Path>,
    precision: Precision,
    metadata: &'a [(String, String)],
}

/// Families with an importer.
static IMPORTERS: &[Importer] = &[
    Importer { family: "segformer3d", files: ONE_NETWORK, network: segformer3d_network },
    Importer { family: "maxim", files: ONE_NETWORK, network: maxim_network },
    Importer { family: "mayor", files: MAYOR_FILES, network: mayor_network },
    Importer { family: "xdecoder", files: XDECODER_FILES, network: xdecoder_network },
];

/// What ONNX Runtime takes per voxel of a tile for SegFormer3D: 128³ voxels and four channels were measured at 60 to 80
/// bytes; twice that is promised.
const SEGFORMER3D_BYTES_PER_VOXEL: usize = 128;
/// What ONNX Runtime takes per pixel and channel of the pixel decoder for X-Decoder.
const XDECODER_BYTES_PER_FEATURE: usize = 8;

/// Which settings go with the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preset {
    /// One of [`PRESETS`].
    Named(String),
    /// A file of the same form.
    Toml(PathBuf),
    /// An official MAXIM checkpoint for a task.
    Maxim(Restoration),
    /// An official X-Decoder checkpoint.
    XDecoder,
}

/// The preset of [`Preset::Maxim`].
static MAXIM: &str = include_str!("../presets/maxim.toml");
/// The preset of [`Preset::XDecoder`].
static XDECODER: &str = include_str!("../presets/xdecoder.toml");

impl Preset {
    /// A preset's name, or the path of a file when it ends in `.toml`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml")) {
            Self::Toml(PathBuf::from(text))
        } else {
            Self::Named(text.to_owned())
        }
    }

    /// What it is called in records.
    fn name(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Toml(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Maxim(task) => task.to_string(),
            Self::XDecoder => "official".to_owned(),
        }
    }

    fn read(&self) -> Result<(PathBuf, String)> {
        match self {
            Self::Maxim(task) => {
                let text = MAXIM
                    .replace("task = \"denoising\"", &format!("task = \"{task}\""))
                    .replace("name = \"MAXIM\"", &format!("name = \"MAXIM {task}\""));
                Ok((PathBuf::from("preset maxim"), text))
            }
            Self::XDecoder => Ok((PathBuf::from("preset xdecoder"), XDECODER.to_owned())),
            Self::Toml(path) => {
                let text = std::fs::read_to_string(path).map_err(formats::Error::io(path, "read"))?;
                Ok((path.clone(), text))
            }
            Self::Named(name) => {
                let found = PRESETS.iter().find(|(n, _)| n == name);
                let known = || PRESETS.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
                found.map(|(n, text)| (PathBuf::from(format!("preset {n}")), (*text).to_owned())).ok_or_else(
                    || {
                        Error::Argument(format!(
                            "There is no preset “{name}”; there are {}, or give a .toml file",
                            known()
                        ))
                    },
                )
            }
        }
    }
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Family: `"segformer3d"`, `"maxim"`, `"mayor"` or `"xdecoder"`.
    pub family: String,
    /// Settings that go with the weights.
    pub preset: Preset,
    /// The new pack's id; also the folder's name.
    pub id: String,
    /// The new pack's name; the preset's when absent.
    pub name: Option<String>,
    /// The folder in which `<id>/` is made.
    pub out_dir: PathBuf,
    /// How weights are stored in the ONNX file.
    pub precision: Precision,
    /// `"num_heads"` or `"head_dim"` instead of the preset's.
    pub attention_scale: Option<String>,
    /// The published variant that a MAXIM or X-Decoder checkpoint must be of, e.g. `"S-2"` or `"focal-t"`; read off the
    /// checkpoint when absent.
    pub variant: Option<String>,
    /// The file of byte pairs that an X-Decoder reads text with (`bpe_simple_vocab_16e6.txt.gz` of CLIP for official ones).
    pub merges: Option<PathBuf>,
    /// SPDX expression of the weights' licence; the preset's when absent.
    pub licence: Option<String>,
    /// Another crop than the preset's: `Fixed` selects the published box of the BraTS preset.
    pub crop: Option<CropKind>,
    /// Whether an existing folder may be replaced.
    pub replace: bool,
    /// Text of `MODEL_CARD.md`; a stub that states the origin when absent.
    pub card: Option<String>,
    /// Text of `LICENSE`; none when absent.
    pub licence_text: Option<String>,
    /// Whether the id may be that of a pack inside the program: for making those packs.
    pub may_be_bundled: bool,
}

impl ImportOptions {
    /// SegFormer3D with a preset, into `out_dir/<id>`, 32-bit weights, everything else as the preset says.
    #[must_use]
    pub fn new(preset: Preset, id: impl Into<String>, out_dir: impl Into<PathBuf>) -> Self {
        Self {
            family: "segformer3d".to_owned(),
            preset,
            id: id.into(),
            name: None,
            out_dir: out_dir.into(),
            precision: Precision::F32,
            attention_scale: None,
            variant: None,
            merges: None,
            licence: None,
            crop: None,
            replace: false,
            card: None,
            licence_text: None,
            may_be_bundled: false,
        }
    }
}

/// Imports the checkpoint at `path` (a weights file, or a folder with one). The pack folder appears whole or not
/// at all.
///
/// # Errors
/// [`Error::Checkpoint`] when the file cannot be read or does not fit the configuration; [`Error::Pack`] when the
/// preset is faulty or the folder exists; [`Error::Argument`] for unknown families, presets and bad ids.
pub fn import(path: &Path, options: &ImportOptions, task: &Task) -> Result<ModelPack> {
    let Some(importer) = IMPORTERS.iter().find(|i| i.family == options.family) else {
        return Err(Error::Argument(format!(
            "Weights of the family “{}” cannot be imported; the families with an importer are: {}",
            options.family,
            IMPORTERS.iter().map(|i| i.family).collect::<Vec<_>>().join(", ")
        )));
    };
    if !is_id(&options.id) {
        return Err(Error::Argument(format!(
            "“{}” cannot be a pack id: use 1 to 64 lower-case letters, digits and hyphens",
            options.id
        )));
    }
    if !options.may_be_bundled && crate::bundled::has(&options.id) {
        return Err(Error::Argument(format!(
            "“{}” is a pack inside the program; choose another id",
            options.id
        )));
    }
    task.at("Reading the weights", 0.0)?;
    let (preset_path, text) = options.preset.read()?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|e| {
        Error::pack(&preset_path, e.to_string().replace('\n', " "), "a preset in TOML", "Correct the file")
    })?;
    let loaded = checkpoint::read(path)?;
    let weights_hash = sha256_of_file(&loaded.path)?;
    task.at("Building the network", 0.4)?;

    let mut set = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
    set("schema", i64::from(SCHEMA).into());
    set("id", options.id.clone().into());
    for (key, value) in [("name", &options.name), ("licence", &options.licence)] {
        if let Some(value) = value {
            set(key, value.clone().into());
        }
    }
    if let Some(family) = table.get("family").and_then(toml::Value::as_str)
        && family != options.family
    {
        return Err(Error::Argument(format!(
            "{} is a preset of the family {family}, not of {}",
            preset_path.display(),
            options.family
        )));
    }
    for (key, fallback) in [
        ("family", options.family.as_str()),
        ("version", "1.0.0"),
        ("licence", "unknown"),
        ("name", &options.id),
        ("summary", "Imported weights."),
        ("intended_use", "Unknown; ask whoever trained the weights. Not a medical device."),
    ] {
        table.entry(key).or_insert_with(|| fallback.into());
    }
    if let (Some(scale), Some(network)) =
        (&options.attention_scale, table.get_mut("network").and_then(|n| n.as_table_mut()))
    {
        network.insert("attention_scale".to_owned(), scale.clone().into());
    }
    if let Some(kind) = options.crop {
        let crop = table.entry("crop").or_insert_with(|| toml::Table::new().into());
        if let (Some(crop), Ok(kind)) = (crop.as_table_mut(), toml::Value::try_from(kind)) {
            crop.insert("kind".to_owned(), kind);
        }
    }
    let file_name = loaded.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let origin: toml::Table = [
        ("checkpoint", file_name),
        ("sha256", weights_hash.clone()),
        ("importer", format!("insula {}", env!("CARGO_PKG_VERSION"))),
        ("preset", options.preset.name()),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.into()))
    .collect();
    table.insert("origin".to_owned(), origin.into());
    // The settings are checked before the network is built: stand-ins take the place of the files.
    let stand_ins = importer.files.iter().map(|(role, part, name)| file_row(role, part, name, &[]));
    table.insert("file".to_owned(), stand_ins.collect::<Vec<_>>().into());
    let draft = render(&table, &preset_path)?;
    let manifest = pack::parse(&preset_path, draft.as_bytes())?;
    let metadata = [
        ("insula-pack".to_owned(), manifest.id.clone()),
        ("insula-pack-version".to_owned(), manifest.version.clone()),
        ("insula-weights-sha256".to_owned(), weights_hash),
    ];
    let ingredients = Ingredients {
        manifest: &manifest,
        preset: &preset_path,
        loaded: &loaded,
        variant: options.variant.as_deref(),
        merges: options.merges.as_deref(),
        precision: options.precision,
        metadata: &metadata,
    };
    let mut settings = manifest.network.clone();
    let made = (importer.network)(&ingredients, &mut settings)?;
    table.insert("network".to_owned(), settings.into());
    if let Some(tiles) = table.get_mut("tiles").and_then(|t| t.as_table_mut()) {
        let mib = made.runtime_bytes.div_ceil(1 << 20).max(64);
        tiles.entry("memory_mib").or_insert_with(|| i64::try_from(mib).unwrap_or(i64::MAX).into());
    }

    task.at("Writing the pack", 0.8)?;
    let card = options.card.clone().unwrap_or_else(|| model_card(&manifest, &loaded));
    let mut files = made.files;
    let mut text_file = |role, name, text: &str| {
        let bytes = text.as_bytes().to_vec();
        files.push(MadeFile { role, part: "", name, bytes: Box::new(move || bytes.clone()) });
    };
    text_file("card", "MODEL_CARD.md", &card);
    if let Some(text) = &options.licence_text {
        text_file("licence", "LICENSE", text);
    }
    let target = options.out_dir.join(&options.id);
    place_folder(&target, options.replace, |staging| {
        let mut rows: Vec<toml::Value> = Vec::new();
        for file in &files {
            let bytes = (file.bytes)();
            rows.push(file_row(file.role, file.part, file.name, &bytes));
            write_file(&staging.join(file.name), &bytes)?;
        }
        table.insert("file".to_owned(), rows.into());
        write_file(&staging.join("pack.toml"), render(&table, &preset_path)?.as_bytes())
    })?;
    ModelPack::from_folder(&target)
}

/// The `[network]` section as the configuration of a family.
fn section<C: serde::de::DeserializeOwned>(i: &Ingredients<'_>, what: &str) -> Result<C> {
    i.manifest.network.clone().try_into().map_err(|e: toml::de::Error| {
        Error::pack(
            i.preset,
            e.to_string().replace('\n', " "),
            format!("a [network] section of {what}"),
            "Correct the preset",
        )
    })
}

fn segformer3d_network<'a>(i: &Ingredients<'a>, _: &mut toml::Table) -> Result<Made<'a>> {
    let m = i.manifest;
    let mut config: segformer3d::Config = section(i, "SegFormer3D")?;
    // Tiles are all of one size, and the network is faster when it knows.
    config.tile = config.tile.or(Some(m.tiles.patch));
    let (channels, classes) = (m.input.channels.len(), m.output.channel_count());
    if (config.in_channels, config.num_classes) != (channels, classes) {
        return Err(Error::pack(
            i.preset,
            format!("a network from {} to {} channels", config.in_channels, config.num_classes),
            format!("{channels} and {classes}, as the input and output sections state"),
            "Make the sections agree",
        ));
    }
    let voxels: usize = m.tiles.patch.iter().product();
    let network = segformer3d::build_onnx(&config, i.loaded, i.precision, i.metadata)?;
    Ok(Made::network(network, voxels * SEGFORMER3D_BYTES_PER_VOXEL))
}

fn maxim_network<'a>(i: &Ingredients<'a>, settings: &mut toml::Table) -> Result<Made<'a>> {
    let (m, path) = (i.manifest, &i.loaded.path);
    let mut config = match i.variant {
        None if settings.is_empty() => maxim::Config::of_checkpoint(i.loaded)?,
        None => section(i, "MAXIM")?,
        Some(name) => {
            let found = maxim::Config::of_checkpoint(i.loaded)?;
            let wanted = maxim::Config::variant(name).ok_or_else(|| {
                let known = maxim::Config::VARIANTS.join(", ");
                Error::Argument(format!("There is no MAXIM variant “{name}”; there are {known}"))
            })?;
            if let Some(other) = found.variant_name().filter(|other| *other != name && wanted != found) {
                return Err(Error::checkpoint(
                    path,
                    format!("the weights of a MAXIM {other}"),
                    format!("those of a MAXIM {name}"),
                    format!("Import them with the variant {other}"),
                ));
            }
            wanted
        }
    };
    let [_, h, w] = m.tiles.patch;
    if m.tiles.multiple.is_none() {
        config.size = config.size.or(Some([h, w]));
    } else if let Some(multiple) = m.tiles.multiple.filter(|n| !n.is_multiple_of(config.multiple())) {
        return Err(Error::pack(
            i.preset,
            format!("tiles of multiples of {multiple}"),
            format!("sides that are multiples of {}, which this network takes", config.multiple()),
            "Correct the tiles section of the preset",
        ));
    }
    if config.in_channels != m.output.channel_count() {
        return Err(Error::checkpoint(
            path,
            format!("a network for pictures of {} channels", config.in_channels),
            format!("one for {}, as the preset states", m.output.channel_count()),
            "Choose another preset or other weights",
        ));
    }
    let network = maxim::build_onnx(&config, i.loaded, i.precision, maxim::Outputs::Restored, i.metadata)?;
    let table = toml::Table::try_from(&config);
    *settings =
        table.map_err(|e| Error::pack(i.preset, e.to_string(), "a configuration", "Correct the preset"))?;
    // The weights once as they are, and once as the runtime packs them.
    let bytes = config.runtime_bytes([h, w]) + 2 * network.len();
    Ok(Made::network(network, bytes))
}

fn xdecoder_network<'a>(i: &Ingredients<'a>, settings: &mut toml::Table) -> Result<Made<'a>> {
    let (m, loaded, precision, metadata) = (i.manifest, i.loaded, i.precision, i.metadata);
    let config: xdecoder::Config =
        if settings.is_empty() { xdecoder::Config::of_checkpoint(loaded)? } else { section(i, "X-Decoder")? };
    if let Some(name) = i.variant {
        let wanted = xdecoder::Config::variant(name).ok_or_else(|| {
            let known = xdecoder::Config::VARIANTS.join(", ");
            Error::Argument(format!("There is no X-Decoder variant “{name}”; there are {known}"))
        })?;
        if wanted != config {
            let found = config.variant_name();
            return Err(Error::checkpoint(
                &loaded.path,
                format!("the weights of an X-Decoder {}", found.unwrap_or("of no released size")),
                format!("those of {name}"),
                match found {
                    Some(found) => format!("Import them with the variant {found}"),
                    None => "Import them without a variant: sizes are read off the weights".to_owned(),
                },
            ));
        }
    }
    if config.in_channels != 3 {
        return Err(Error::checkpoint(
            &loaded.path,
            format!("a network for pictures of {} channels", config.in_channels),
            "one for red, green and blue",
            "Choose other weights",
        ));
    }
    let merges = i.merges.ok_or_else(|| {
        Error::Argument(
            "X-Decoder reads text with a vocabulary of byte pairs that its weights do not hold: give it as well, for \
             official checkpoints bpe_simple_vocab_16e6.txt.gz, with which CLIP is published"
                .to_owned(),
        )
    })?;
    let tokenizer = xdecoder::Tokenizer::read(merges)?;
    if tokenizer.size() != config.vocabulary {
        return Err(Error::checkpoint(
            merges,
            format!("a vocabulary of {} tokens", tokenizer.size()),
            format!("{}, as the weights have", config.vocabulary),
            "Choose the vocabulary that the weights were trained with",
        ));
    }
    xdecoder::check(&config, loaded)?;
    let manifest::Output::Prompts(output) = &m.output else {
        return Err(Error::pack(i.preset, "another output", "activation = “prompts”", "Correct the preset"));
    };
    let is_needed = |part: &xdecoder::Part| match part {
        xdecoder::Part::Ground => output.tasks.contains(&Asking::Phrases),
        xdecoder::Part::Segment => output.tasks.iter().any(|t| *t != Asking::Phrases),
        xdecoder::Part::Text | xdecoder::Part::Image => true,
        xdecoder::Part::Objects | xdecoder::Part::Caption => false,
    };
    let mut files: Vec<MadeFile<'a>> = Vec::new();
    for part in xdecoder::Part::ALL.into_iter().filter(is_needed) {
        let Some(&(role, of, name)) = XDECODER_FILES.iter().find(|(_, of, _)| *of == part.name()) else {
            continue;
        };
        let config = config.clone();
        let bytes = Box::new(move || xdecoder::build_onnx(&config, loaded, part, precision, metadata));
        files.push(MadeFile { role, part: of, name, bytes });
    }
    let text = tokenizer.merges_text().into_bytes();
    files.push(MadeFile {
        role: "vocabulary",
        part: "",
        name: "vocabulary.txt",
        bytes: Box::new(move || text.clone()),
    });
    let table = toml::Table::try_from(&config);
    *settings =
        table.map_err(|e| Error::pack(i.preset, e.to_string(), "a configuration", "Correct the preset"))?;
    // The weights once as they are, and once as the runtime packs them; the pictures' longer side may be twice the other.
    let weights: usize = loaded.tensors.iter().map(|t| t.data.len()).sum();
    let [_, h, w] = m.tiles.patch;
    let pixels = h * w * if m.input.axes == manifest::STORED { 2 } else { 1 };
    let runtime_bytes = 8 * weights + pixels * config.convs_dim * XDECODER_BYTES_PER_FEATURE;
    Ok(Made { files, runtime_bytes })
}

fn mayor_network<'a>(i: &Ingredients<'a>, _: &mut toml::Table) -> Result<Made<'a>> {
    let config: mayor::Config = section(i, "MAYOR")?;
    let graphs = mayor::build_onnx(&config, i.loaded, i.precision, i.metadata)?;
    let [_, h, w] = i.manifest.tiles.patch;
    let file = |(part, bytes): (&'static str, Vec<u8>)| {
        let (role, _, name) = MAYOR_FILES.iter().find(|(_, p, _)| *p == part)?;
        Some(MadeFile { role, part, name, bytes: Box::new(move || bytes.clone()) })
    };
    let files = graphs.into_iter().filter_map(file).collect();
    Ok(Made { files, runtime_bytes: config.runtime_bytes([h, w]) })
}

fn file_row(role: &str, part: &str, name: &str, bytes: &[u8]) -> toml::Value {
    let mut row = toml::Table::new();
    row.insert("role".to_owned(), role.into());
    if !part.is_empty() {
        row.insert("part".to_owned(), part.into());
    }
    row.insert("path".to_owned(), name.into());
    row.insert("sha256".to_owned(), sha256_hex(bytes).into());
    row.insert("bytes".to_owned(), i64::try_from(bytes.len()).unwrap_or(i64::MAX).into());
    row.into()
}

/// Manifest text in the order of [`Manifest`]'s fields.
fn render(table: &toml::Table, path: &Path) -> Result<String> {
    let fail = |e: String| Error::pack(path, e.replace('\n', " "), "a complete preset", "Correct the preset");
    let manifest: Manifest = table.clone().try_into().map_err(|e: toml::de::Error| fail(e.to_string()))?;
    toml::to_string(&manifest).map_err(|e| fail(e.to_string()))
}

fn model_card(m: &Manifest, loaded: &Checkpoint) -> String {
    let mut card = format!("# {}\n\n{}\n\n", m.name, m.summary);
    let _ = writeln!(card, "**Intended use.** {}\n", m.intended_use);
    let licence = if m.licence == "unknown" {
        "Unknown. The weights were imported from a file that states none; ask whoever made them before passing them on."
    } else {
        &m.licence
    };
    let _ = writeln!(card, "**Licence of the weights.** {licence}\n");
    if let Some(o) = &m.origin {
        let _ = writeln!(
            card,
            "**Origin.** Imported from `{}` (SHA-256 `{}`) with preset `{}` by {}.\n",
            o.checkpoint, o.sha256, o.preset, o.importer
        );
    }
    if !m.citation.is_empty() {
        let _ = writeln!(card, "**Cite.** {}\n", m.citation);
    }
    let inputs: Vec<&str> = m.input.channels.iter().map(|c| c.name.as_str()).collect();
    let _ = writeln!(card, "**Inputs.** {}.\n", inputs.join(", "));
    if let Output::Picture { task, channels, .. } = m.output {
        let [_, h, w] = m.tiles.patch;
        let colours = if channels == 3 { "red, green and blue" } else { "grey" };
        let _ = writeln!(
            card,
            "**Output.** Pictures ({task}, {colours}), in tiles of up to {h}×{w} pixels. Restored pictures are not for \
             measurement: detail may have been removed or invented.\n"
        );
    } else if m.output.is_text() {
        let _ = writeln!(
            card,
            "**Output.** Lines of text as outlines with scores. No tool finds all text: a person has to look.\n"
        );
    } else if let Output::Prompts(output) = &m.output {
        let tasks: Vec<&str> = output.tasks.iter().map(|t| t.word()).collect();
        let sure = match output.present {
            Some(_) => "It says how probable it is that a thing is there.",
            None => "It does not know whether a thing is there, and marks something for every prompt.",
        };
        let _ = writeln!(card, "**Output.** Masks of what is told in words ({}). {sure}\n", tasks.join(", "));
    } else {
        let labels: Vec<String> = m.labels.iter().map(|l| format!("{} {}", l.id, l.name)).collect();
        let _ = writeln!(card, "**Labels.** {}.\n", labels.join("; "));
    }
    for note in &loaded.notes {
        let _ = writeln!(card, "- {note}");
    }
    card.push_str("\nTraining data, accuracy and known failures are not known to this program.\n");
    card
}

fn sha256_of_file(path: &Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut file = std::fs::File::open(path).map_err(formats::Error::io(path, "open"))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).map_err(formats::Error::io(path, "read"))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(pack::hex(&hash.finalize()))
}
