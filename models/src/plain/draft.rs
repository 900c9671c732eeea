//! From what is known about a graph to a manifest, or to what has to be asked.

use formats::labels::default_rgb;

use super::description::{Description, Kind, Reading, Told};
use super::graph::{BoxLayout, Fit, Graph, Values};
use super::rules;
use crate::manifest::{
    Channel, Crop, Input, LabelRow, LabelRule, Manifest, Output, Post, Rule, SCHEMA, STORED, Spacing, Tiles,
    Weights,
};
use crate::onnx::reader::{Port, Summary};

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

struct Drafter<'a> {
    kind: Kind,
    input: &'a Port,
    summary: &'a Summary,
    draft: Draft,
}

impl Drafter<'_> {
    /// Notes where a fact comes from.
    fn note<T>(&mut self, what: &'static str, told: Told<T>, words: impl Fn(&T) -> String) -> Option<T> {
        let (value, from) = told?;
        self.draft.readings.push(Reading { what, value: words(&value), from });
        Some(value)
    }

    /// A fact, or the question.
    fn need<T>(
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

    fn ask(&mut self, option: &'static str, question: &str) {
        self.draft.missing.push(Missing { option, question: question.to_owned() });
    }

    /// Length of an axis of the input.
    fn size(&self, layout: &str, c: char) -> Option<usize> {
        self.input.dims.get(layout.find(c)?).copied().flatten()
    }
}

/// Puts a manifest together.
///
/// # Errors
/// What was found and what is expected, of graphs and answers that do not fit.
pub(super) fn draft(
    kind: Kind,
    summary: &Summary,
    told: Description,
    id: &str,
) -> Result<Draft, (String, String)> {
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
    let layout_told = told.layout.clone().or_else(|| infer_layout(input, kind));
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
    let mut output_layout = String::new();
    if has_maps {
        let of_rank = match output.dims.len() {
            n if n == layout.len() => Some((layout.clone(), "the output's shape")),
            n if n + 1 == layout.len() => Some((layout.replace('C', ""), "the output's shape")),
            _ => None,
        };
        let Some(letters) = d.note("output layout", told.output_layout.clone().or(of_rank), Clone::clone)
        else {
            return Err((
                format!("the output {}", output.words()),
                format!("one with the axes of the input, {}", input.words()),
            ));
        };
        for c in ['D', 'H', 'W'] {
            let there = letters.find(c).and_then(|n| output.dims.get(n).copied().flatten());
            if let (Some(a), Some(b)) = (d.size(&layout, c), there)
                && a != b
            {
                return Err((
                    format!("{} becoming {}", input.words(), output.words()),
                    "an output of the size of the input".to_owned(),
                ));
            }
        }
        output_layout = letters;
    }

    // Sizes.
    let fixed = |c: char| d.size(&layout, c);
    let sides = [if is_planar { Some(1) } else { fixed('D') }, fixed('H'), fixed('W')];
    let is_free = sides.contains(&None);
    let mut fit = told.fit;
    if fit.is_none() && kind == Kind::Detection && is_free && told.patch.is_none() {
        fit = Some(((Fit::Whole, 1.0), "the input's free size"));
    }
    let is_whole = !has_maps && fit.is_some_and(|((f, _), _)| f == Fit::Whole);
    if is_whole && !is_free {
        return Err((input.words(), "an input of free size for the fit “whole”".to_owned()));
    }
    let size_words = |p: &[usize; 3]| {
        if is_planar { format!("{}×{}", p[1], p[2]) } else { format!("{}×{}×{}", p[0], p[1], p[2]) }
    };
    let patch = if let [Some(depth), Some(height), Some(width)] = sides {
        d.note("patch", Some(([depth, height, width], "the input's shape")), size_words)
    } else if is_whole {
        Some([1, 1, 1])
    } else {
        d.need(
            "patch",
            told.patch,
            size_words,
            "the size of what the network sees at a time, which the graph leaves free: HEIGHT,WIDTH or \
             DEPTH,HEIGHT,WIDTH as it was trained with",
        )
    };
    if let Some(p) = patch {
        let is_same = (0..3).all(|a| sides[a].is_none_or(|n| n == p[a] || is_whole));
        if !is_same || is_planar && p[0] != 1 {
            return Err((
                format!("a size of {}", size_words(&p)),
                format!("one that fits {}", input.words()),
            ));
        }
        if has_maps && kind == Kind::Restoration && p[1..].iter().any(|n| n % 2 != 0) {
            return Err((format!("a size of {}", size_words(&p)), "even sides".to_owned()));
        }
    }

    // Channels.
    let channel_count = if layout.contains('C') { d.size(&layout, 'C') } else { Some(1) };
    let (channels, colours) = channels(&mut d, &told, channel_count, is_planar);

    // Where, how fine, which values.
    let needs_axes = kind != Kind::Restoration;
    let of_pictures = (colours == 3).then(|| (STORED.to_owned(), "colours, which bodies have not"));
    let axes = if needs_axes {
        d.need(
            "axes",
            told.axes.clone().or(of_pictures),
            Clone::clone,
            if is_planar {
                "in which directions slices, rows and columns grow: one letter each of R/L, A/P, S/I (SPL for axial DICOM \
                 slices), or stored to follow the file"
            } else {
                "in which directions the axes of a volume grow, slowest first: one letter each of R/L, A/P, S/I (SAR for arrays \
                 z, y, x in RAS, RAS for x, y, z as in MONAI, SPL for z, y, x in LPS), or stored to follow the file"
            },
        )
    } else {
        Some(STORED.to_owned())
    };
    let axes = axes.map(|axes| in_canonical_order(&axes, &layout));
    let spacing = if kind == Kind::Segmentation {
        d.need(
            "spacing",
            told.spacing,
            |s| match s {
                Spacing::Native => "native".to_owned(),
                Spacing::Mm(mm) => mm.map(|v| v.to_string()).join(","),
            },
            "the voxel size the network was trained at: native (as the image is), or three lengths in mm along the axes D, H, W, \
             e.g. 1,1,1",
        )
    } else {
        Some(Spacing::Native)
    };
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
        Kind::Segmentation => segmentation(&mut d, &told, output, number, &output_layout)?,
        Kind::Restoration => restoration(&mut d, &told, output, &output_layout, channel_count)?,
        Kind::Classification => classification(&mut d, &told, output, number)?,
        Kind::Detection => detection(&mut d, &told, &mut fit)?,
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

/// The order of axes that a shape leaves no doubt about.
fn infer_layout(input: &Port, kind: Kind) -> Told<String> {
    let from = "the input's shape";
    let few = |n: usize| input.dims.get(n).copied().flatten().is_some_and(|v| v <= 4);
    let last = input.dims.len().saturating_sub(1);
    let letters = match input.dims.len() {
        5 if few(4) && !few(1) => "NDHWC",
        5 => "NCDHW",
        4 if few(3) && !few(1) => "NHWC",
        4 if input.dims[1].is_some() && !few(last) => "NCHW",
        3 if few(0) && !few(last) && kind == Kind::Detection => "CHW",
        _ => return None,
    };
    Some((letters.to_owned(), from))
}

/// Directions of the graph's spatial axes, in its order, as those of D, H and W.
fn in_canonical_order(axes: &str, layout: &str) -> String {
    let spatial: Vec<char> = layout.chars().filter(|c| "DHW".contains(*c)).collect();
    // Of networks that see slices the first letter is about these; and words like “stored” have no order.
    if axes == STORED || spatial.len() < 3 {
        return axes.to_owned();
    }
    let letter = |c: char| spatial.iter().position(|s| *s == c).and_then(|n| axes.chars().nth(n));
    "DHW".chars().filter_map(letter).collect()
}

fn channels(
    d: &mut Drafter<'_>,
    told: &Description,
    count: Option<usize>,
    is_planar: bool,
) -> (Vec<Channel>, usize) {
    let one = |name: &str| vec![Channel { name: name.to_owned(), patterns: Vec::new() }];
    if d.kind == Kind::Restoration {
        return (one("picture"), 1);
    }
    let Some(count) = count else {
        let question = "the names of the input's channels with commas, or colours for red, green and blue";
        let names = d.need("channels", told.channels.clone(), |n| n.join(","), question);
        return (names.map_or_else(|| one("image"), |n| rows(&n)), 1);
    };
    let is_colours = match (told.colours, &told.channels) {
        (Some((true, _)), _) => true,
        (_, None) => count == 3 && is_planar,
        _ => false,
    };
    if is_colours && count == 3 {
        let from = told.colours.map_or("the input's three channels", |(_, from)| from);
        d.draft.readings.push(Reading { what: "channels", value: "colours".to_owned(), from });
        return (one("image"), 3);
    }
    if count == 1 && told.channels.is_none() {
        return (one("image"), 1);
    }
    let question =
        format!("the names of the {count} input channels with commas, in the order of the network");
    let names = d.need("channels", told.channels.clone(), |n| n.join(","), &question).unwrap_or_default();
    if !names.is_empty() && names.len() != count {
        d.ask("channels", &format!("{} names were given, and the network has {count} channels", names.len()));
    }
    (if names.is_empty() { one("image") } else { rows(&names) }, 1)
}

/// Channels with the endings of file names that mean them: `_name`, and nnU-Net's `_0000`.
fn rows(names: &[String]) -> Vec<Channel> {
    let row = |(n, name): (usize, &String)| {
        let word: String =
            name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        Channel { name: name.clone(), patterns: vec![format!("_{word}"), format!("_{n:04}")] }
    };
    names.iter().enumerate().map(row).collect()
}

type Section = (Option<Output>, Values, Vec<LabelRow>);
type Fault = (String, String);

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

fn segmentation(
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

fn restoration(
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

fn classification(
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

fn detection(d: &mut Drafter<'_>, told: &Description, fit: &mut Told<(Fit, f64)>) -> Result<Section, Fault> {
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
