//! Somebody else's network as the engines want one: tiles `[N, C, D, H, W]` in, scores or pictures `[N, K, D, H, W]` out.

use formats::Task;
use inference::net::{Net, Port};
use inference::provider::ProviderReport;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Zip};

use super::graph::{CANONICAL, Graph, Values};
use crate::manifest::Output;

/// Probabilities are kept this far from 0 and 1, where logits have no end.
const LEAST: f32 = 1e-6;

/// A view of a network that permutes axes and brings values to what engines work with: logits, and pictures in 0..=1.
pub(super) struct Adapted<'a> {
    net: &'a mut dyn Net,
    graph: &'a Graph,
    classes: usize,
    has_regions: bool,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl<'a> Adapted<'a> {
    /// Over a network with such an output.
    pub(super) fn new(net: &'a mut dyn Net, graph: &'a Graph, output: &Output) -> Self {
        let (classes, has_regions) = (output.channel_count(), matches!(output, Output::Sigmoid { .. }));
        let port = |name: &str| vec![Port { name: name.to_owned(), dims: vec![None; 5] }];
        Self { net, graph, classes, has_regions, inputs: port("tiles"), outputs: port("scores") }
    }
}

/// An error of the network's answer.
pub(super) fn unexpected(found: String, expected: String) -> inference::Error {
    inference::Error::net(
        found,
        expected,
        "Correct the graph and output sections of pack.toml, or import it again",
    )
}

/// Number of an output.
pub(super) fn output_number(net: &dyn Net, name: Option<&str>) -> usize {
    name.and_then(|name| net.outputs().iter().position(|p| p.name == name)).unwrap_or(0)
}

/// A canonical array in a graph's layout. Axes that the graph lacks must have length 1.
///
/// # Errors
/// When one has more.
pub(super) fn to_layout(array: ArrayViewD<'_, f32>, letters: &str) -> inference::Result<ArrayD<f32>> {
    let place = |c: char| CANONICAL.find(c).unwrap_or(0);
    let missing: Vec<char> = CANONICAL.chars().filter(|&c| !letters.contains(c)).collect();
    let order: Vec<usize> = letters.chars().chain(missing.iter().copied()).map(place).collect();
    let shape = array.shape().to_vec();
    if missing.iter().any(|&c| shape[place(c)] != 1) {
        return Err(unexpected(
            format!("tiles of {shape:?} ({CANONICAL})"),
            format!("what fits “{letters}”"),
        ));
    }
    let mut view = array.permuted_axes(IxDyn(&order));
    for _ in &missing {
        view = view.index_axis_move(Axis(letters.len()), 0);
    }
    Ok(view.as_standard_layout().into_owned())
}

/// A graph's array as a canonical one.
///
/// # Errors
/// When it has another number of axes than letters.
pub(super) fn from_layout(array: ArrayD<f32>, letters: &str) -> inference::Result<ArrayD<f32>> {
    if array.ndim() != letters.len() {
        return Err(unexpected(
            format!("an output of shape {:?}", array.shape()),
            format!("{} axes, “{letters}”", letters.len()),
        ));
    }
    let mut array = array;
    let mut have = letters.to_owned();
    for c in CANONICAL.chars().filter(|&c| !letters.contains(c)) {
        array = array.insert_axis(Axis(have.len()));
        have.push(c);
    }
    let order: Vec<usize> = CANONICAL.chars().map(|c| have.find(c).unwrap_or(0)).collect();
    Ok(array.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
}

impl Net for Adapted<'_> {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(
        &mut self,
        inputs: &[(&str, ArrayViewD<'_, f32>)],
        task: &Task,
    ) -> inference::Result<Vec<ArrayD<f32>>> {
        let Some((_, tiles)) = inputs.first() else {
            return Err(unexpected("no input".to_owned(), "one".to_owned()));
        };
        let is_picture = matches!(self.graph.values, Values::Picture | Values::Residual);
        let [black, white] = self.graph.range.map(|v| v as f32);
        let mut given = to_layout(tiles.view(), &self.graph.input)?;
        if is_picture {
            given.mapv_inplace(|v| v * (white - black) + black);
        }
        let name = self.net.inputs().first().map(|p| p.name.clone()).unwrap_or_default();
        let number = output_number(self.net, self.graph.output_name.as_deref());
        let mut answers = self.net.run(&[(&name, given.view())], task)?;
        if number >= answers.len() {
            return Err(unexpected("a network without outputs".to_owned(), "one".to_owned()));
        }
        let mut answer = from_layout(answers.swap_remove(number), &self.graph.output)?;
        match self.graph.values {
            Values::Logits => {}
            // Of several classes the most probable is that of the largest score, whichever way it is written.
            Values::Probabilities if !self.has_regions => {}
            Values::Probabilities => answer.mapv_inplace(|p| {
                let p = p.clamp(LEAST, 1.0 - LEAST);
                (p / (1.0 - p)).ln()
            }),
            Values::Labels => answer = one_of(&answer, self.classes)?,
            Values::Picture => answer.mapv_inplace(|v| (v - black) / (white - black)),
            Values::Residual => {
                let given = from_layout(given, &self.graph.input)?;
                if given.shape() != answer.shape() {
                    return Err(unexpected(
                        format!("an output of shape {:?}", answer.shape()),
                        format!("{:?}, as the input", given.shape()),
                    ));
                }
                Zip::from(&mut answer).and(&given).for_each(|a, &g| *a = (g - *a - black) / (white - black));
            }
        }
        Ok(vec![answer])
    }

    fn provider(&self) -> &ProviderReport {
        self.net.provider()
    }
}

/// Numbers of classes `[N, 1, D, H, W]` as one channel per class, 1 where it is.
fn one_of(labels: &ArrayD<f32>, classes: usize) -> inference::Result<ArrayD<f32>> {
    let mut shape = labels.shape().to_vec();
    if shape[1] != 1 {
        return Err(unexpected(format!("numbers of classes of shape {shape:?}"), "one channel".to_owned()));
    }
    shape[1] = classes;
    let mut scores = ArrayD::zeros(IxDyn(&shape));
    for (at, &label) in labels.indexed_iter() {
        let class = label.round();
        if !(class >= 0.0 && class < classes as f32) {
            return Err(unexpected(
                format!("the class {label}"),
                format!("0 to {}", classes.saturating_sub(1)),
            ));
        }
        scores[[at[0], class as usize, at[2], at[3], at[4]].as_slice()] = 1.0;
    }
    Ok(scores)
}
