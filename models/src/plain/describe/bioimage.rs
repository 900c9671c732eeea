//! `rdf.yaml` of bioimage.io, formats 0.4 and 0.5. Its images have no anatomy: axes follow the file.

use std::path::Path;

use inference::normalise::Of;
use serde_json::Value;

use super::{Found, LIMIT, read_text, text, yaml};
use crate::error::{Error, Result};
use crate::manifest::{IntensityStep, STORED, Scheme, Spacing, When};
use crate::plain::description::Description;
use crate::plain::graph::Values;

const RDF: &str = "bioimage.io description";
const NAMES: [&str; 4] = ["rdf.yaml", "bioimageio.yaml", "bioimage.yaml", "model.yaml"];

pub(super) fn find(folder: &Path, model: &Path) -> Result<Option<Found>> {
    for file in NAMES.map(|name| folder.join(name)) {
        if std::fs::symlink_metadata(&file).is_err() {
            continue;
        }
        let fail = |why: String| {
            Error::pack(&file, why, "a description of the model", "Take the file away to answer by hand")
        };
        let rdf = yaml::parse(&read_text(&file, LIMIT)?).map_err(fail)?;
        if rdf.get("inputs").is_none() {
            continue;
        }
        let mut found = Found { files: vec![file.clone()], ..Found::default() };
        // A folder may hold several models, and the description is about one.
        let source = rdf["weights"]["onnx"]["source"].as_str().unwrap_or_default();
        let is_meant =
            source.is_empty() || model.file_name().is_some_and(|n| source.ends_with(&*n.to_string_lossy()));
        if !is_meant {
            found.remarks.push(format!("{}: describes {source}, not this file; not read", file.display()));
            return Ok(Some(found));
        }
        found.description = of_rdf(&rdf, &mut found.remarks);
        return Ok(Some(found));
    }
    Ok(None)
}

fn of_rdf(rdf: &Value, remarks: &mut Vec<String>) -> Description {
    let told = |t: Option<String>| t.map(|t| (t, RDF));
    let (input, output) = (&rdf["inputs"][0], &rdf["outputs"][0]);
    let post = steps_of(output, "postprocessing");
    let has = |steps: &[(String, Value)], word: &str| steps.iter().any(|(name, _)| name == word);
    Description {
        layout: told(letters(&input["axes"])),
        output_layout: told(letters(&output["axes"]).filter(|l| l.contains('H') && l.contains('W'))),
        axes: told(Some(STORED.to_owned())),
        spacing: Some((Spacing::Native, RDF)),
        intensity: intensity(&steps_of(input, "preprocessing"), input, remarks).map(|i| (i, RDF)),
        values: has(&post, "sigmoid").then_some((Values::Logits, RDF)),
        several: has(&post, "sigmoid").then_some((true, RDF)),
        patch: patch(input).map(|p| (p, RDF)),
        classes: channel_names(output).map(|n| (n, RDF)),
        channels: channel_names(input).filter(|n| n.len() > 1).map(|n| (n, RDF)),
        output: None,
        name: told(text(rdf, "name")),
        summary: told(text(rdf, "description")),
        licence: told(text(rdf, "license")),
        citation: told(rdf["cite"][0].get("text").and_then(Value::as_str).map(str::to_owned)),
        ..Description::default()
    }
}

/// `bczyx`, or a list of axes, as letters.
fn letters(axes: &Value) -> Option<String> {
    let letter = |name: &str| {
        Some(match name {
            "b" | "batch" => 'N',
            "c" | "channel" => 'C',
            "z" => 'D',
            "y" => 'H',
            "x" => 'W',
            _ => return None,
        })
    };
    if let Some(word) = axes.as_str() {
        return word.chars().map(|c| letter(c.encode_utf8(&mut [0; 4]))).collect();
    }
    axes.as_array()?.iter().map(|a| letter(axis_name(a))).collect()
}

/// Spatial axes have an id, the others only a type.
fn axis_name(axis: &Value) -> &str {
    let kind = axis["type"].as_str().unwrap_or_default();
    if kind == "space" { axis["id"].as_str().unwrap_or_default() } else { kind }
}

/// The size of the input along D, H, W: fixed, or the least there may be.
fn patch(input: &Value) -> Option<[usize; 3]> {
    let letters = letters(&input["axes"])?;
    let size = |c: char| -> Option<usize> {
        let Some(n) = letters.find(c) else { return Some(1) };
        let size = match &input["axes"][n] {
            Value::Object(axis) => axis.get("size").cloned().unwrap_or_default(),
            _ => {
                let shape = &input["shape"];
                shape.get(n).or_else(|| shape["min"].get(n)).cloned().unwrap_or_default()
            }
        };
        let least = size.as_u64().or_else(|| size["min"].as_u64())?;
        usize::try_from(least).ok().filter(|n| (1..=1024).contains(n))
    };
    Some([size('D')?, size('H')?, size('W')?])
}

fn channel_names(port: &Value) -> Option<Vec<String>> {
    let channel = port["axes"].as_array()?.iter().find(|a| axis_name(a) == "channel")?;
    channel["channel_names"].as_array()?.iter().map(|n| n.as_str().map(str::to_owned)).collect()
}

/// Names and settings of the steps of a port.
fn steps_of(port: &Value, key: &str) -> Vec<(String, Value)> {
    let name = |s: &Value| text(s, "id").or_else(|| text(s, "name"));
    let steps = port.get(key).and_then(Value::as_array);
    steps.into_iter().flatten().filter_map(|s| Some((name(s)?, s["kwargs"].clone()))).collect()
}

fn intensity(
    steps: &[(String, Value)],
    input: &Value,
    remarks: &mut Vec<String>,
) -> Option<Vec<IntensityStep>> {
    let mut found = Vec::new();
    let has_channels = letters(&input["axes"]).is_some_and(|l| l.contains('C'));
    for (name, settings) in steps {
        let number = |key: &str| settings.get(key).and_then(Value::as_f64);
        // Over which axes: a word, or a list of names. Statistics here are of one channel of one image.
        let spans_channels = has_channels
            && match settings.get("axes") {
                Some(Value::String(word)) => word.contains('c'),
                Some(Value::Array(list)) => list.iter().any(|a| a == "channel"),
                _ => false,
            }
            && channel_names(input).is_none_or(|n| n.len() > 1);
        let is_fixed = text(settings, "mode").is_some_and(|m| m == "fixed");
        let apply = match name.as_str() {
            "ensure_dtype" => continue,
            "zero_mean_unit_variance" if !is_fixed && !spans_channels => Some(Scheme::Zscore { of: Of::All }),
            "zero_mean_unit_variance" | "fixed_zero_mean_unit_variance" => {
                match (number("mean"), number("std")) {
                    (Some(mean), Some(std)) if std > 0.0 => {
                        Some(Scheme::Linear { subtract: mean, divide: std })
                    }
                    _ => None,
                }
            }
            "scale_linear" => match (number("gain").unwrap_or(1.0), number("offset").unwrap_or(0.0)) {
                (gain, offset) if gain != 0.0 => {
                    Some(Scheme::Linear { subtract: -offset / gain, divide: 1.0 / gain })
                }
                _ => None,
            },
            "scale_range" if !spans_channels => {
                remarks.push("scale_range: values beyond the percentiles are clamped here".to_owned());
                let (low, high) =
                    (number("min_percentile").unwrap_or(0.0), number("max_percentile").unwrap_or(100.0));
                Some(Scheme::Percentile { low, high, of: Of::All })
            }
            _ => None,
        };
        let Some(apply) = apply else {
            remarks.push(format!("{name} of the preprocessing is not among the rules known here"));
            return None;
        };
        found.push(IntensityStep { when: When::Working, apply, channel: None });
    }
    Some(found)
}
