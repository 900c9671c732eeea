//! `dataset.json` and `plans.json` of nnU-Net (version 2).
//!
//! Arrays of nnU-Net follow the file's axes, k, j, i, permuted by `transpose_forward`; sizes and spacings of plans are in the
//! permuted order. Values are prepared before anything is resampled. Two things differ from nnU-Net: it cuts away zeros
//! around the image before it takes means, and it averages over mirrored copies.

use std::collections::BTreeMap;
use std::path::Path;

use inference::normalise::Of;
use serde_json::Value;

use super::{Found, json, numbers, sizes, text};
use crate::error::Result;
use crate::manifest::{IntensityStep, STORED, Scheme, Spacing, When};
use crate::onnx::reader::Summary;
use crate::plain::description::{Description, in_order};

const DATASET: &str = "nnU-Net dataset.json";
const PLANS: &str = "nnU-Net plans.json";

pub(super) fn find(folder: &Path, summary: &Summary) -> Result<Option<Found>> {
    let (dataset_file, plans_file) = (folder.join("dataset.json"), folder.join("plans.json"));
    let (dataset, plans) = (json(&dataset_file)?, json(&plans_file)?);
    // Other programs have a dataset.json, too.
    let Some(dataset) = dataset.filter(|d| d.get("labels").is_some()) else { return Ok(None) };
    let mut found = Found { files: vec![dataset_file], ..Found::default() };
    found.description = of_dataset(&dataset, &mut found.remarks);
    if let Some(plans) = plans {
        found.files.push(plans_file);
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match configuration(&plans, &name, summary) {
            Some(c) => found.description = of_plans(&plans, c, &mut found.remarks).or(found.description),
            None => found
                .remarks
                .push("plans.json: none of its configurations has the graph's patch size".to_owned()),
        }
    }
    Ok(Some(found))
}

fn of_dataset(dataset: &Value, remarks: &mut Vec<String>) -> Description {
    let mut told = Description::default();
    let mut names = BTreeMap::new();
    for (name, number) in dataset["labels"].as_object().into_iter().flatten() {
        // Version 1 wrote numbers as keys.
        let pair = match (number.as_u64(), name.parse::<u64>().ok().zip(number.as_str())) {
            (Some(n), _) => Some((n, name.clone())),
            (None, Some((n, name))) => Some((n, name.to_owned())),
            _ => None,
        };
        match pair {
            Some((n, name)) => drop(names.insert(n, name)),
            None => {
                remarks
                    .push("dataset.json: labels that are regions of several numbers are not read".to_owned());
                return told;
            }
        }
    }
    told.classes = in_order(&names).map(|c| (c, DATASET));
    let channels =
        dataset.get("channel_names").or_else(|| dataset.get("modality")).and_then(Value::as_object);
    let channels: Option<BTreeMap<u64, String>> = channels.map(|map| {
        map.iter().filter_map(|(n, name)| Some((n.parse().ok()?, name.as_str()?.to_owned()))).collect()
    });
    told.channels = channels.as_ref().and_then(in_order).map(|c| (c, DATASET));
    told.name = text(dataset, "name").map(|n| (n, DATASET));
    told.summary = text(dataset, "description").map(|n| (n, DATASET));
    told.licence = text(dataset, "licence").or_else(|| text(dataset, "license")).map(|n| (n, DATASET));
    told.citation = text(dataset, "reference").map(|n| (n, DATASET));
    told
}

/// The configuration that the folder is named after (`trainer__plans__configuration`), the only one, or the only one with
/// the graph's patch size.
fn configuration<'a>(plans: &'a Value, folder: &str, summary: &Summary) -> Option<&'a Value> {
    let all = plans["configurations"].as_object()?;
    if let Some((_, c)) = all.iter().find(|(name, _)| folder.ends_with(&format!("__{name}"))) {
        return Some(c);
    }
    let patch: Option<Vec<usize>> =
        summary.inputs.first().map(|p| p.dims.iter().skip(2).filter_map(|d| *d).collect());
    let fits = |c: &&Value| {
        let size: Option<Vec<usize>> = c["patch_size"]
            .as_array()
            .map(|a| a.iter().filter_map(|v| usize::try_from(v.as_u64()?).ok()).collect());
        size.is_some() && size == patch
    };
    let mut of_size = all.values().filter(fits);
    match (of_size.next(), of_size.next()) {
        (Some(one), None) => Some(one),
        _ if all.len() == 1 => all.values().next(),
        _ => None,
    }
}

fn of_plans(plans: &Value, c: &Value, remarks: &mut Vec<String>) -> Description {
    let mut told = Description::default();
    let forward = sizes_from_zero(&plans["transpose_forward"]).unwrap_or([0, 1, 2]);
    let is_volume = c["patch_size"].as_array().is_some_and(|a| a.len() == 3);
    told.axes = Some((STORED.to_owned(), PLANS));
    if is_volume {
        let letters: String = forward.iter().map(|&a| ['D', 'H', 'W'][a]).collect();
        told.layout = Some((format!("NC{letters}"), PLANS));
        // Place a of the plans is axis forward[a] of the file.
        let mut back = [0; 3];
        forward.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
        told.patch = sizes::<3>(&c["patch_size"]).map(|p| (back.map(|place| p[place]), PLANS));
        told.spacing = numbers::<3>(&c["spacing"]).map(|p| (Spacing::Mm(back.map(|place| p[place])), PLANS));
    } else {
        told.patch = sizes::<2>(&c["patch_size"]).map(|[h, w]| ([1, h, w], PLANS));
        if forward != [0, 1, 2] {
            told.axes = None;
            remarks.push("plans.json: slices across another axis than the third are not read".to_owned());
        }
    }
    match intensity(plans, c) {
        Some(steps) => told.intensity = Some((steps, PLANS)),
        None => {
            remarks.push("plans.json: its normalization_schemes are not among those known here".to_owned());
        }
    }
    told.overlap = Some((0.5, PLANS));
    told
}

/// A permutation of 0, 1, 2.
fn sizes_from_zero(value: &Value) -> Option<[usize; 3]> {
    let all = numbers::<3>(value)?.map(|v| v as usize);
    [0, 1, 2].iter().all(|a| all.contains(a)).then_some(all)
}

fn intensity(plans: &Value, c: &Value) -> Option<Vec<IntensityStep>> {
    let schemes = c["normalization_schemes"].as_array()?;
    let mut steps = Vec::new();
    for (n, scheme) in schemes.iter().enumerate() {
        let is_masked = c["use_mask_for_norm"].get(n).and_then(Value::as_bool).unwrap_or(false);
        let properties = &plans["foreground_intensity_properties_per_channel"][n.to_string()];
        let number = |key: &str| properties.get(key).and_then(Value::as_f64).filter(|v| v.is_finite());
        let apply = match scheme.as_str()? {
            "NoNormalization" => continue,
            "ZScoreNormalization" => Scheme::Zscore { of: if is_masked { Of::Nonzero } else { Of::All } },
            "RescaleTo01Normalization" => Scheme::Minmax,
            "RGBTo01Normalization" => Scheme::Linear { subtract: 0.0, divide: 255.0 },
            "CTNormalization" => Scheme::Fixed {
                low: number("percentile_00_5")?,
                high: number("percentile_99_5")?,
                mean: number("mean")?,
                deviation: number("std")?.max(1e-8),
            },
            _ => return None,
        };
        steps.push(IntensityStep { when: When::Stored, apply, channel: (schemes.len() > 1).then_some(n) });
    }
    Some(steps)
}
