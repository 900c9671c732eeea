//! From what is known about a graph to a manifest, or to what has to be asked.

use super::description::{Description, Kind, Reading, Told};
use super::graph::{BoxLayout, Fit, Graph};
use super::{inputs, rules, sections};
use crate::manifest::{Crop, Input, Manifest, Output, Post, Rule, SCHEMA, Tiles, Weights};
use crate::onnx::reader::{Port, Summary};

/// What was found, and what is expected.
pub(super) type Fault = (String, String);

/// A question that nobody has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The option of the command line, and the field of the form.
    pub option: &'static str,
    /// What is wanted and which choices there are.
    pub question: String,
}

/// What came of a graph and what is known about it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The manifest without files, when nothing is missing.
    pub manifest: Option<Manifest>,
    /// What was taken, and from whom.
    pub readings: Vec<Reading>,
    /// What has to be asked.
    pub missing: Vec<Missing>,
}

/// Bytes that the runtime takes per pixel of a slice or voxel of a volume, where nobody has measured: 256 and 128 feature
/// maps of 32-bit floats at full size, twice over.
const BYTES_PER_SAMPLE: [usize; 2] = [2048, 1024];
/// `TensorProto.DataType` of 32-bit floats.
const FLOAT: i64 = 1;
/// What a network seems to do, by its ports: for forms, where a person looks it over.
pub(super) fn guess(summary: &Summary) -> Kind {
    let (Some(input), Some(output)) = (summary.inputs.first(), summary.outputs.first()) else {
        return Kind::Segmentation;
    };
    match (input.dims.len(), output.dims.len()) {
        (_, 1 | 2) if summary.outputs.len() == 1 => Kind::Classification,
        (4, 4)
            if summary.outputs.len() == 1 && input.dims[1] == output.dims[1] && input.dims[1].is_some() =>
        {
            Kind::Restoration
        }
        (i, o) if i == o || i == o + 1 && i == 5 => Kind::Segmentation,
        _ => Kind::Detection,
    }
}

/// What a graph has, and what has been settled about it.
pub(super) struct Drafter<'a> {
    pub(super) kind: Kind,
    pub(super) input: &'a Port,
    pub(super) summary: &'a Summary,
    pub(super) draft: Draft,
}

impl Drafter<'_> {
    /// Notes where a fact comes from.
    pub(super) fn note<T>(
        &mut self,
        what: &'static str,
        told: Told<T>,
        words: impl Fn(&T) -> String,
    ) -> Option<T> {
        let (value, from) = told?;
        self.draft.readings.push(Reading { what, value: words(&value), from });
        Some(value)
    }

    /// A fact, or the question.
    pub(super) fn need<T>(
        &mut self,
        what: &'static str,
        told: Told<T>,
        words: impl Fn(&T) -> String,
        question: &str,
    ) -> Option<T> {
        if told.is_none() {
            self.ask(what, question);
        }
        self.note(what, told, words)
    }

    pub(super) fn ask(&mut self, option: &'static str, question: &str) {
        self.draft.missing.push(Missing { option, question: question.to_owned() });
    }

    /// Length of an axis of the input.
    pub(super) fn size(&self, layout: &str, c: char) -> Option<usize> {
        self.input.dims.get(layout.find(c)?).copied().flatten()
    }
}

/// Puts a manifest together.
///
/// # Errors
/// What was found and what is expected, of graphs and answers that do not fit.
pub(super) fn draft(kind: Kind, summary: &Summary, told: &Description, id: &str) -> Result<Draft, Fault> {
    let ports = |ports: &[Port]| ports.iter().map(Port::words).collect::<Vec<_>>().join(", ");
    let [input] = &summary.inputs[..] else {
        return Err((format!("inputs {}", ports(&summary.inputs)), "a network with one input".to_owned()));
    };
    if input.kind != FLOAT {
        return Err((
            format!("an input of the number type {} (as ONNX counts them)", input.kind),
            "one of 32-bit floats: export the model so".to_owned(),
        ));
    }
    if summary.outputs.is_empty() {
        return Err(("a network without outputs".to_owned(), "at least one".to_owned()));
    }
    let mut d = Drafter { kind, input, summary, draft: Draft::default() };
    let layout_told = told.layout.clone().or_else(|| inputs::infer_layout(input, kind));
    let layout = d.need(
        "layout",
        layout_told,
        Clone::clone,
        &format!(
            "the order of the axes of {}: letters N, C, D, H, W, e.g. NCDHW, NCHW or NHWC",
            input.words()
        ),
    );
    let Some(layout) = layout else { return Ok(d.draft) };
    if layout.len() != input.dims.len() {
        return Err((input.words(), format!("{} axes for the layout “{layout}”", layout.len())));
    }
    if d.size(&layout, 'N').is_some_and(|n| n != 1) {
        return Err((input.words(), "a network that takes one image at a time, or any number".to_owned()));
    }
    let is_planar = !layout.contains('D');
    let has_maps = matches!(kind, Kind::Segmentation | Kind::Restoration);

    // The output.
    let number = match &told.output {
        Some((name, _)) => {
            summary.outputs.iter().position(|o| o.name == *name).ok_or_else(|| {
                (format!("outputs {}", ports(&summary.outputs)), format!("one called {name}"))
            })?
        }
        None if has_maps => summary.outputs.iter().position(|o| o.dims.len() == layout.len()).unwrap_or(0),
        None => 0,
    };
    let output = &summary.outputs[number];
    if summary.outputs.len() > 1 && kind != Kind::Detection {
        let from = told.output.as_ref().map_or("the first of its shape", |(_, from)| *from);
        d.draft.readings.push(Reading { what: "output", value: output.name.clone(), from });
    }
    let output_layout = if has_maps { sections::maps(&mut d, told, output, &layout)? } else { String::new() };

    let mut fit = told.fit;
    let patch = inputs::sizes(&mut d, told, &layout, &mut fit)?;
    let is_whole = !has_maps && fit.is_some_and(|((f, _), _)| f == Fit::Whole);

    // Channels.
    let channel_count = if layout.contains('C') { d.size(&layout, 'C') } else { Some(1) };
    let (channels, colours) = inputs::channels(&mut d, told, channel_count, is_planar);

    // Where, how fine, which values.
    let axes = inputs::axes(&mut d, told, &layout, colours == 3);
    let spacing = inputs::spacing(&mut d, told);
    let (mut range, mut intensity) = ([0.0, 1.0], Vec::new());
    if kind == Kind::Restoration {
        let words = |r: &[f64; 2]| format!("range:{},{}", r[0], r[1]);
        range = d
            .need(
                "intensity",
                told.range,
                words,
                "what black and white are to the network: range:0,1, range:0,255 or range:-1,1",
            )
            .unwrap_or(range);
    } else {
        let question = format!("how values are prepared: {}", rules::INTENSITY_WORDS);
        intensity = d
            .need("intensity", told.intensity.clone(), |s| rules::intensity_words(s), &question)
            .unwrap_or_default();
    }

    let (output_section, values, labels) = match kind {
        Kind::Segmentation => sections::segmentation(&mut d, told, output, number, &output_layout)?,
        Kind::Restoration => sections::restoration(&mut d, told, output, &output_layout, channel_count)?,
        Kind::Classification => sections::classification(&mut d, told, output, number)?,
        Kind::Detection => sections::detection(&mut d, told, &mut fit)?,
    };
    // How boxes are written says how images are fitted to the input for most detectors: one question after the other.
    let (fit, seen) = if has_maps || (kind == Kind::Detection && output_section.is_none()) {
        (Fit::Stretch, 1.0)
    } else {
        let words = |(f, part): &(Fit, f64)| match f {
            Fit::Stretch => "stretch".to_owned(),
            Fit::Pad => "pad".to_owned(),
            Fit::Whole => "whole".to_owned(),
            Fit::Crop => format!("crop:{part}"),
        };
        d.need(
            "fit",
            fit,
            words,
            "how images are brought to the size of the input: stretch, pad (in proportion, the rest filled), crop (in \
             proportion, the middle seen; crop:0.875 for 224 of 256), or whole (not at all)",
        )
        .unwrap_or_default()
    };

    let (Some(patch), Some(axes), Some(spacing), Some(output_section)) =
        (patch, axes, spacing, output_section)
    else {
        return Ok(d.draft);
    };
    if !d.draft.missing.is_empty() {
        return Ok(d.draft);
    }
    // The published frame of YOLO is grey 114 of 255; zero, the mean of standardised values, otherwise.
    let is_yolo = matches!(
        output_section,
        Output::Boxes { layout: BoxLayout::Yolo | BoxLayout::YoloObjectness | BoxLayout::Rows, .. }
    );
    let fill = if fit == Fit::Pad && is_yolo { 114.0 / 255.0 } else { 0.0 };
    let samples: usize = if is_whole { 1024 * 1024 } else { patch.iter().product() };
    let memory = (samples * BYTES_PER_SAMPLE[usize::from(!is_planar)]).div_ceil(1 << 20).max(64);
    let words =
        |told: &Told<String>, fallback: &str| told.as_ref().map_or(fallback, |(t, _)| t.trim()).to_owned();
    let manifest = Manifest {
        schema: SCHEMA,
        id: id.to_owned(),
        name: words(&told.name, id),
        version: "1.0.0".to_owned(),
        family: "onnx".to_owned(),
        summary: words(&told.summary, &format!("A network for {} that was exported elsewhere.", kind.word())),
        intended_use: "Unknown; ask whoever trained the network. Not a medical device.".to_owned(),
        licence: words(&told.licence, "unknown"),
        citation: words(&told.citation, ""),
        origin: None,
        input: Input { axes, spacing_mm: spacing, interpolation: Default::default(), channels },
        intensity,
        crop: Crop::default(),
        tiles: Tiles {
            patch,
            overlap: told.overlap.map_or(0.5, |(v, _)| v),
            blend: if kind == Kind::Restoration { Weights::Ramp } else { Weights::Gaussian },
            plan: Rule::Even,
            multiple: None,
            batch: 1,
            memory_mib: Some(memory as u64),
        },
        graph: Some(Graph {
            input: layout,
            output: output_layout,
            output_name: (d.summary.outputs.len() > 1 && kind != Kind::Detection)
                .then(|| output.name.clone()),
            values,
            range,
            colours: if kind == Kind::Restoration { 1 } else { colours },
            fit,
            seen,
            fill,
        }),
        output: output_section,
        post: Post::default(),
        network: toml::Table::new(),
        labels,
        files: Vec::new(),
    };
    let mut draft = d.draft;
    draft.manifest = Some(manifest);
    Ok(draft)
}
