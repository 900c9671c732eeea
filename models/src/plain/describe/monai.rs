//! `configs/metadata.json` of MONAI bundles, and the preparation in `configs/inference.json` as far as it is written in
//! numbers (references to other parts of the file are not followed).
//!
//! Arrays of MONAI are x, y, z: directions and sizes are in this order, which is also that of the graph's axes.

use std::collections::BTreeMap;
use std::path::Path;

use inference::normalise::Of;
use serde_json::Value;

use super::{Found, json, numbers, sizes, text};
use crate::error::Result;
use crate::manifest::{IntensityStep, Scheme, Spacing, When, working_code};
use crate::plain::description::{Description, in_order};

const METADATA: &str = "MONAI metadata.json";
const INFERENCE: &str = "MONAI inference.json";

pub(super) fn find(configs: &Path) -> Result<Option<Found>> {
    let file = configs.join("metadata.json");
    let Some(metadata) = json(&file)?.filter(|m| m.get("network_data_format").is_some()) else {
        return Ok(None);
    };
    let mut found = Found { files: vec![file], ..Found::default() };
    found.description = of_metadata(&metadata);
    let file = configs.join("inference.json");
    if let Some(inference) = json(&file)? {
        found.files.push(file);
        found.description = of_inference(&inference, &mut found.remarks).or(found.description);
    }
    Ok(Some(found))
}

fn of_metadata(metadata: &Value) -> Description {
    let told = |t: Option<String>| t.map(|t| (t, METADATA));
    let format = &metadata["network_data_format"];
    // Of several inputs or outputs the first counts; the graph has one.
    let first =
        |key: &str| format[key].as_object().and_then(|m| m.values().next()).cloned().unwrap_or_default();
    let (input, output) = (first("inputs"), first("outputs"));
    let names = |port: &Value| -> Option<Vec<String>> {
        let map = port["channel_def"].as_object()?;
        let by_number: BTreeMap<u64, String> =
            map.iter().filter_map(|(n, name)| Some((n.parse().ok()?, name.as_str()?.to_owned()))).collect();
        in_order(&by_number)
    };
    let shape = &input["spatial_shape"];
    let patch = sizes::<3>(shape).or_else(|| sizes::<2>(shape).map(|[h, w]| [1, h, w]));
    Description {
        classes: names(&output).map(|n| (n, METADATA)),
        channels: names(&input).filter(|n| n.len() > 1).map(|n| (n, METADATA)),
        patch: patch.map(|p| (p, METADATA)),
        name: told(text(metadata, "name")),
        summary: told(text(metadata, "description")),
        licence: told(text(metadata, "license")),
        citation: told(metadata["references"].get(0).and_then(Value::as_str).map(str::to_owned)),
        ..Description::default()
    }
}

fn of_inference(inference: &Value, remarks: &mut Vec<String>) -> Description {
    let mut told = Description::default();
    let mut steps = Vec::new();
    let mut is_understood = true;
    let transforms = inference["preprocessing"]["transforms"].as_array();
    for transform in transforms.into_iter().flatten() {
        let target = transform["_target_"].as_str().unwrap_or_default();
        let number = |key: &str| transform.get(key).and_then(Value::as_f64);
        let flag = |key: &str| transform.get(key).and_then(Value::as_bool).unwrap_or(false);
        let name = target.rsplit('.').next().unwrap_or_default();
        let apply = match name.strip_suffix('d').unwrap_or(name) {
            "Orientation" => {
                let axes = text(transform, "axcodes").filter(|a| working_code(a).is_some());
                told.axes = axes.map(|a| (a, INFERENCE));
                continue;
            }
            "Spacing" => {
                told.spacing = numbers::<3>(&transform["pixdim"]).map(|p| (Spacing::Mm(p), INFERENCE));
                continue;
            }
            "ScaleIntensityRange" => {
                let ends = [number("a_min"), number("a_max"), number("b_min"), number("b_max")];
                match ends {
                    [Some(low), Some(high), Some(0.0), Some(1.0)] if flag("clip") => {
                        Some(Scheme::Range { low, high })
                    }
                    // (v − a) / (A − a) · (B − b) + b, with B > b.
                    [Some(low), Some(high), Some(b), Some(top)] if !flag("clip") && top > b && high > low => {
                        let divide = (high - low) / (top - b);
                        Some(Scheme::Linear { subtract: low - b * divide, divide })
                    }
                    [Some(low), Some(high), Some(b), Some(top)] if top > b && high > low => {
                        let divide = (high - low) / (top - b);
                        Some(Scheme::Fixed { low, high, mean: low - b * divide, deviation: divide })
                    }
                    _ => None,
                }
            }
            "NormalizeIntensity"
                if transform.get("subtrahend").is_none() && transform.get("divisor").is_none() =>
            {
                let of = if flag("nonzero") { Of::Nonzero } else { Of::All };
                Some(Scheme::Zscore { of })
            }
            "ScaleIntensity"
                if number("minv").is_none_or(|v| v == 0.0) && number("maxv").is_none_or(|v| v == 1.0) =>
            {
                Some(Scheme::Minmax)
            }
            // These change no values.
            "LoadImage" | "EnsureChannelFirst" | "EnsureType" | "AsChannelFirst" | "ToTensor"
            | "CastToType" | "DivisiblePad" => continue,
            _ => None,
        };
        match apply {
            Some(apply) => steps.push(IntensityStep { when: When::Working, apply, channel: None }),
            None => {
                is_understood = false;
                remarks.push(format!("inference.json: {target} is not read"));
            }
        }
    }
    if is_understood && !steps.is_empty() {
        told.intensity = Some((steps, INFERENCE));
    }
    told.overlap =
        inference["inferer"]["overlap"].as_f64().filter(|v| (0.0..=0.95).contains(v)).map(|v| (v, INFERENCE));
    told
}
