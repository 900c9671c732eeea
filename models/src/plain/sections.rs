//! The output section of a manifest, by what a network does.

use formats::labels::default_rgb;

use super::description::{Description, Told};
use super::draft::{Drafter, Fault};
use super::graph::{BoxLayout, Fit, Values};
use crate::manifest::{LabelRow, LabelRule, Output};
use crate::onnx::reader::{Port, Summary};

/// Operators whose values have no bounds, and those that make probabilities.
const UNBOUNDED: [&str; 14] = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "Add",
    "Resize",
    "Upsample",
    "BatchNormalization",
    "InstanceNormalization",
    "GlobalAveragePool",
    "AveragePool",
    "ReduceMean",
    "LogSoftmax",
    "FusedConv",
];
const BOUNDED: [&str; 3] = ["Softmax", "Sigmoid", "HardSigmoid"];

/// The layout of an output that has a value for each voxel of the input.
pub(super) fn maps(
    d: &mut Drafter<'_>,
    told: &Description,
    output: &Port,
    layout: &str,
) -> Result<String, Fault> {
    let of_rank = match output.dims.len() {
        n if n == layout.len() => Some((layout.to_owned(), "the output's shape")),
        n if n + 1 == layout.len() => Some((layout.replace('C', ""), "the output's shape")),
        _ => None,
    };
    let Some(letters) = d.note("output layout", told.output_layout.clone().or(of_rank), Clone::clone) else {
        return Err((
            format!("the output {}", output.words()),
            format!("one with the axes of the input, {}", d.input.words()),
        ));
    };
    for c in ['D', 'H', 'W'] {
        let there = letters.find(c).and_then(|n| output.dims.get(n).copied().flatten());
        if let (Some(a), Some(b)) = (d.size(layout, c), there)
            && a != b
        {
            return Err((
                format!("{} becoming {}", d.input.words(), output.words()),
                "an output of the size of the input".to_owned(),
            ));
        }
    }
    Ok(letters)
}

type Section = (Option<Output>, Values, Vec<LabelRow>);

/// What output values are, by who says so or by the operator that makes them.
fn values(d: &mut Drafter<'_>, told: &Description, number: usize, matters: bool) -> Option<Values> {
    let maker = d.summary.makers.get(number).map_or("", String::as_str);
    let by_maker = match maker {
        "ArgMax" => Some(Values::Labels),
        op if BOUNDED.contains(&op) => Some(Values::Probabilities),
        op if UNBOUNDED.contains(&op) => Some(Values::Logits),
        _ => None,
    };
    let known = told.values.or(by_maker.map(|v| (v, "the last operator of the graph")));
    if known.is_none() && !matters {
        return Some(Values::Logits);
    }
    let words = |v: &Values| format!("{v:?}").to_lowercase();
    let question = format!(
        "what the values of the output are, which {} leaves open: logits or probabilities",
        if maker.is_empty() { "the graph".to_owned() } else { format!("its last operator {maker}") }
    );
    d.need("values", known, words, &question)
}

fn is_several(d: &Drafter<'_>, told: &Description, number: usize) -> bool {
    told.several.is_some_and(|(v, _)| v) || d.summary.makers.get(number).is_some_and(|op| op == "Sigmoid")
}

pub(super) fn segmentation(
    d: &mut Drafter<'_>,
    told: &Description,
    output: &Port,
    number: usize,
    output_layout: &str,
) -> Result<Section, Fault> {
    let count = match output_layout.find('C') {
        Some(n) => output.dims.get(n).copied().flatten(),
        None => None,
    };
    let is_labels = !output_layout.contains('C');
    let question = match count {
        Some(1) => "the name of what the network outlines".to_owned(),
        Some(n) => format!(
            "the names of the {n} classes with commas, in the order of the output's channels, background included"
        ),
        None => "the names of the classes with commas, from number 0, background included".to_owned(),
    };
    let names = d.need("classes", told.classes.clone(), |n| n.join(","), &question);
    let several = is_several(d, told, number);
    let found = values(d, told, number, count == Some(1) || several);
    let Some(names) = names else { return Ok((None, Values::Logits, Vec::new())) };
    let values = if is_labels { Values::Labels } else { found.unwrap_or_default() };
    if count.is_some_and(|n| n != names.len()) {
        return Err((
            format!("{} names of classes", names.len()),
            format!("{}, one per channel of {}", count.unwrap_or(0), output.words()),
        ));
    }
    let rows = |names: &[String], from: u16| -> Vec<LabelRow> {
        let row = |(n, name): (usize, &String)| {
            let id = u16::try_from(n).unwrap_or(u16::MAX).saturating_add(from);
            LabelRow { id, name: name.clone(), rgb: default_rgb(id), abbreviation: String::new() }
        };
        names.iter().enumerate().map(row).collect()
    };
    if !is_labels && (names.len() == 1 || several) {
        // Channels of equal names would be one.
        let channels: Vec<String> = (0..names.len()).map(|n| format!("{n}")).collect();
        let rule = |(n, c): (usize, &String)| LabelRule { inside: vec![c.clone()], label: n as u16 + 1 };
        let rules = channels.iter().enumerate().map(rule).collect();
        return Ok((Some(Output::Sigmoid { channels, threshold: 0.5, rules }), values, rows(&names, 1)));
    }
    if names.len() < 2 {
        return Err((
            format!("{} names of classes", names.len()),
            "background and at least one other".to_owned(),
        ));
    }
    let classes = (0..names.len()).filter_map(|n| u16::try_from(n).ok()).collect();
    Ok((Some(Output::Softmax { classes }), values, rows(&names[1..], 1)))
}

pub(super) fn restoration(
    d: &mut Drafter<'_>,
    told: &Description,
    output: &Port,
    output_layout: &str,
    channels: Option<usize>,
) -> Result<Section, Fault> {
    if output_layout.contains('D') {
        return Err((
            d.input.words(),
            "a network that sees slices: restorers of volumes are not run".to_owned(),
        ));
    }
    let given = output_layout.find('C').map_or(Some(1), |n| output.dims.get(n).copied().flatten());
    let Some(channels @ (1 | 3)) = channels.or(given) else {
        return Err((d.input.words(), "1 channel (grey) or 3 (red, green, blue)".to_owned()));
    };
    if given.is_some_and(|n| n != channels) {
        return Err((
            format!("{} becoming {}", d.input.words(), output.words()),
            "as many colours out as in".to_owned(),
        ));
    }
    let words = |t: &crate::manifest::Restoration| t.word().to_owned();
    let question = "what the network does: denoising, deblurring, deraining, dehazing or enhancement";
    let task = d.need("task", told.task, words, question);
    let values = told.values.or(Some((
        Values::Picture,
        "assumed; say --values residual for networks that answer with the noise",
    )));
    let values = d.note("values", values, |v| format!("{v:?}").to_lowercase()).unwrap_or(Values::Picture);
    Ok((task.map(|task| Output::Picture { task, channels, peak: 99.5 }), values, Vec::new()))
}

pub(super) fn classification(
    d: &mut Drafter<'_>,
    told: &Description,
    output: &Port,
    number: usize,
) -> Result<Section, Fault> {
    let last =
        output.dims.iter().copied().rev().find(|n| *n != Some(1)).unwrap_or(Some(1)).filter(|n| *n > 0);
    let question = match last {
        Some(n) => format!(
            "the names of the {n} classes with commas, in the order of the output, or @FILE with one per line"
        ),
        None => {
            "the names of the classes with commas, in the order of the output, or @FILE with one per line"
                .to_owned()
        }
    };
    let names = d.need("classes", told.classes.clone(), |n| short(n), &question);
    let values = values(d, told, number, true).unwrap_or_default();
    let Some(names) = names else { return Ok((None, values, Vec::new())) };
    if let Some(n) = last.filter(|n| *n != names.len()) {
        return Err((
            format!("{} names of classes", names.len()),
            format!("{n}, one per value of {}", output.words()),
        ));
    }
    let several = is_several(d, told, number);
    Ok((Some(Output::Classes { names, several }), values, Vec::new()))
}

fn short(names: &[String]) -> String {
    if names.len() <= 12 {
        names.join(",")
    } else {
        format!("{},… ({} in all)", names[..10].join(","), names.len())
    }
}

pub(super) fn detection(
    d: &mut Drafter<'_>,
    told: &Description,
    fit: &mut Told<(Fit, f64)>,
) -> Result<Section, Fault> {
    let question = "the names of the classes with commas, without background, or @FILE with one per line";
    let names = d.need("classes", told.classes.clone(), |n| short(n), question);
    let layout = told.boxes.or_else(|| infer_boxes(d.summary, names.as_ref().map(Vec::len)));
    let words = |l: &BoxLayout| {
        BoxLayout::ALL.iter().find(|(_, have)| have == l).map_or("", |(word, _)| word).to_owned()
    };
    let question = "how boxes are written down: yolo (N×(4+K)×A or N×A×(4+K): centre, size, a score per class), yolo-objectness \
                    (the same with a score for anything), rows (N×M×6 or M×7: corners, score, class), torchvision (boxes, scores, \
                    labels), detr (logits with a class for nothing, boxes as parts of the input)";
    let layout = d.need("boxes", layout, words, question);
    let (Some(names), Some(layout)) = (names, layout) else { return Ok((None, Values::Logits, Vec::new())) };
    if fit.is_none() && matches!(layout, BoxLayout::Yolo | BoxLayout::YoloObjectness | BoxLayout::Rows) {
        *fit = Some(((Fit::Pad, 1.0), "the published frame of YOLO"));
    }
    // Only exports of YOLO without their last sigmoid give logits; nothing in a graph of many outputs tells.
    let fallback = if layout == BoxLayout::Detr { Values::Logits } else { Values::Probabilities };
    let values = told.values.map_or(fallback, |(v, _)| v);
    let overlap = if matches!(layout, BoxLayout::Yolo | BoxLayout::YoloObjectness) { 0.45 } else { 1.0 };
    Ok((Some(Output::Boxes { names, layout, threshold: 0.25, overlap }), values, Vec::new()))
}

/// The layout that names and shapes leave no doubt about.
fn infer_boxes(summary: &Summary, classes: Option<usize>) -> Told<BoxLayout> {
    let from = "the outputs' names and shapes";
    let has = |word: &str| summary.outputs.iter().any(|o| o.name.to_lowercase().contains(word));
    if summary.outputs.len() >= 3 && has("box") && has("score") && has("label") {
        return Some((BoxLayout::Torchvision, from));
    }
    if summary.outputs.len() >= 2 && has("box") && has("logits") {
        return Some((BoxLayout::Detr, from));
    }
    let [only] = &summary.outputs[..] else { return None };
    let sides: Vec<usize> = only.dims.iter().rev().take(2).filter_map(|n| *n).collect();
    let classes = classes?;
    let is = |columns: usize| sides.contains(&columns);
    let found = match (is(4 + classes), is(5 + classes)) {
        (true, false) if classes != 2 => BoxLayout::Yolo,
        (false, true) if classes != 1 => BoxLayout::YoloObjectness,
        (false, false) if only.dims.last().is_some_and(|n| matches!(n, Some(6 | 7))) => BoxLayout::Rows,
        // Six columns are two classes, or one with a score for anything, or finished rows.
        _ => return None,
    };
    Some((found, from))
}
