//! Makes a bundled pack from its sources: `cargo run -p models --example bundle -- FOLDER ID`, where FOLDER holds
//! `weights.safetensors` and `preset.toml`, and for networks that read text `vocabulary.txt`. Writes `packs/ID` with 16-bit weights; a card and a licence that are
//! there already are kept.

use std::path::{Path, PathBuf};

use formats::Task;
use models::import::{ImportOptions, Precision, Preset, import};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(id), None) = (args.next().map(PathBuf::from), args.next(), args.next()) else {
        return Err("usage: bundle FOLDER ID".into());
    };
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs");
    let text = |name: &str| std::fs::read_to_string(packs.join(&id).join(name)).ok();
    let mut options = ImportOptions::new(Preset::Toml(folder.join("preset.toml")), id.clone(), &packs);
    let preset: toml::Table = toml::from_str(&std::fs::read_to_string(folder.join("preset.toml"))?)?;
    if let Some(family) = preset.get("family").and_then(toml::Value::as_str) {
        options.family = family.to_owned();
    }
    options.merges = Some(folder.join("vocabulary.txt")).filter(|p| p.is_file());
    options.precision = Precision::F16;
    options.replace = true;
    options.may_be_bundled = true;
    options.card = text("MODEL_CARD.md");
    options.licence_text = text("LICENSE");
    let pack = import(&folder.join("weights.safetensors"), &options, &Task::silent())?;
    pack.verify()?;
    Ok(())
}
