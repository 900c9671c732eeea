//! What a network is to the rest of the program: named arrays in, named arrays out.

use std::any::Any;
use std::borrow::Cow;
use std::sync::mpsc;
use std::time::Duration;

use formats::Task;
use ndarray::{ArrayD, ArrayViewD, CowArray, IxDyn};
use ort::session::{RunOptions, Session, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::error::{Error, Result};
use crate::provider::{Provider, ProviderReport};

/// How often a running call looks whether its task was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// A named input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Length of each axis; `None` where the network takes any.
    pub dims: Vec<Option<usize>>,
}

/// A network ready to run.
///
/// Arrays are of single precision, whatever the graph wants: whole numbers and truth values are converted at its ports,
/// which is exact up to 2^24.
pub trait Net: Send {
    /// Inputs in the graph's order.
    fn inputs(&self) -> &[Port];
    /// Outputs in the graph's order.
    fn outputs(&self) -> &[Port];
    /// Runs once: f32 arrays by input name (any order, each input once), outputs in the graph's order, as f32 whatever
    /// number type the graph gives.
    ///
    /// A cancel of `task` before or during the call ends it within about 20 ms plus the layer under way.
    ///
    /// # Errors
    /// [`Error::Net`] for names or shapes that do not fit and for failures inside; [`Error::Cancelled`].
    fn run(&mut self, inputs: &[(&str, ArrayViewD<'_, f32>)], task: &Task) -> Result<Vec<ArrayD<f32>>>;
    /// The provider really used, and why.
    fn provider(&self) -> &ProviderReport;
    /// Itself, for the family that made it of several networks; `None` for a single one.
    fn as_any(&mut self) -> Option<&mut dyn Any> {
        None
    }
}

/// The graphs of one model by the part each plays. A model of one graph has the part `""`.
pub struct Nets(Vec<(String, Box<dyn Net>)>);

impl Nets {
    /// Parts with their graphs; at least one, each part once.
    ///
    /// # Errors
    /// [`Error::Net`] when there is none.
    pub fn new(parts: Vec<(String, Box<dyn Net>)>) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::net("no graph", "at least one", "Install a complete model"));
        }
        Ok(Self(parts))
    }

    /// The only graph, or the first of several.
    #[must_use]
    pub fn first(&self) -> &dyn Net {
        self.0[0].1.as_ref()
    }

    /// As [`Nets::first`], to run it.
    pub fn first_mut(&mut self) -> &mut dyn Net {
        self.0[0].1.as_mut()
    }

    /// The graph of a part.
    ///
    /// # Errors
    /// [`Error::Net`] naming the parts there are.
    pub fn part(&self, name: &str) -> Result<&dyn Net> {
        let found = self.0.iter().find(|(part, _)| part == name);
        found.map(|(_, net)| net.as_ref()).ok_or_else(|| self.missing(name))
    }

    /// As [`Nets::part`], to run it.
    ///
    /// # Errors
    /// As there.
    pub fn part_mut(&mut self, name: &str) -> Result<&mut dyn Net> {
        match self.0.iter().position(|(part, _)| part == name) {
            Some(n) => Ok(self.0[n].1.as_mut()),
            None => Err(self.missing(name)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let parts: Vec<_> = self.0.iter().map(|(part, _)| format!("“{part}”")).collect();
        Error::net(
            format!("graphs for the parts {}", parts.join(", ")),
            format!("one for “{name}”"),
            "Install a complete model",
        )
    }
}

impl From<Box<dyn Net>> for Nets {
    fn from(net: Box<dyn Net>) -> Self {
        Self(vec![(String::new(), net)])
    }
}

/// A network in ONNX Runtime. Made by [`Engine::load`](crate::engine::Engine::load).
pub struct OnnxNet {
    session: Session,
    inputs: Vec<Port>,
    /// What the elements of each input are.
    kinds: Vec<Kind>,
    outputs: Vec<Port>,
    report: ProviderReport,
}

/// What elements of a port are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F32,
    I64,
    Bool,
}

/// An array as the runtime is given it.
enum Given<'a> {
    F32(CowArray<'a, f32, IxDyn>),
    I64(ArrayD<i64>),
    Bool(ArrayD<bool>),
}

impl<'a> Given<'a> {
    fn new(array: &'a ArrayViewD<'_, f32>, kind: Kind) -> Self {
        match kind {
            // Views go in without a copy; only arrays that are not in standard layout are copied.
            Kind::F32 => Self::F32(array.as_standard_layout()),
            Kind::I64 => Self::I64(array.map(|&v| v as i64).as_standard_layout().into_owned()),
            Kind::Bool => Self::Bool(array.map(|&v| v != 0.0).as_standard_layout().into_owned()),
        }
    }

    fn value(&self) -> ort::Result<SessionInputValue<'_>> {
        Ok(match self {
            Self::F32(a) => TensorRef::from_array_view(a.view())?.into(),
            Self::I64(a) => TensorRef::from_array_view(a.view())?.into(),
            Self::Bool(a) => TensorRef::from_array_view(a.view())?.into(),
        })
    }
}

impl OnnxNet {
    pub(crate) fn new(session: Session, report: ProviderReport) -> Result<Self> {
        let refused = |o: &ort::value::Outlet, expected: &str| {
            Error::net(
                format!("{} of type {}", o.name(), o.dtype()),
                expected,
                "Export the model with float32 inputs and outputs",
            )
        };
        let named = |o: &ort::value::Outlet, shape: &[i64]| Port {
            name: o.name().to_owned(),
            dims: shape.iter().map(|&d| usize::try_from(d).ok()).collect(),
        };
        let input = |o: &ort::value::Outlet| {
            let (kind, shape) = match o.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => (Kind::F32, shape),
                ValueType::Tensor { ty: TensorElementType::Int64, shape, .. } => (Kind::I64, shape),
                ValueType::Tensor { ty: TensorElementType::Bool, shape, .. } => (Kind::Bool, shape),
                _ => return Err(refused(o, "arrays of 32-bit floats, 64-bit whole numbers or truth values")),
            };
            Ok((named(o, shape), kind))
        };
        let output = |o: &ort::value::Outlet| match o.dtype() {
            ValueType::Tensor { ty, shape, .. } if WIDENED.contains(ty) => Ok(named(o, shape)),
            _ => Err(refused(o, "arrays of numbers")),
        };
        let (inputs, kinds) =
            session.inputs().iter().map(input).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let outputs = session.outputs().iter().map(output).collect::<Result<_>>()?;
        Ok(Self { session, inputs, kinds, outputs, report })
    }

    /// What elements of an input are.
    fn kind(&self, name: &str) -> Kind {
        let at = self.inputs.iter().position(|p| p.name == name);
        at.and_then(|n| self.kinds.get(n).copied()).unwrap_or(Kind::F32)
    }
}

/// Types of outputs that are handed on as f32: class numbers of detectors and of networks that decide by themselves.
const WIDENED: [TensorElementType; 6] = [
    TensorElementType::Float32,
    TensorElementType::Float64,
    TensorElementType::Int64,
    TensorElementType::Int32,
    TensorElementType::Uint8,
    TensorElementType::Bool,
];

/// An output as f32. Whole numbers are exact up to 2²⁴.
fn widened(value: &ort::value::ValueRef<'_>) -> ort::Result<ArrayD<f32>> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(ort::Error::new("an output that is no array"));
    };
    Ok(match ty {
        TensorElementType::Float64 => value.try_extract_array::<f64>()?.mapv(|v| v as f32),
        TensorElementType::Int64 => value.try_extract_array::<i64>()?.mapv(|v| v as f32),
        TensorElementType::Int32 => value.try_extract_array::<i32>()?.mapv(|v| v as f32),
        TensorElementType::Uint8 => value.try_extract_array::<u8>()?.mapv(f32::from),
        TensorElementType::Bool => value.try_extract_array::<bool>()?.mapv(f32::from),
        _ => value.try_extract_array::<f32>()?.to_owned(),
    })
}

/// Names and shapes fit the ports.
fn check_inputs(ports: &[Port], inputs: &[(&str, ArrayViewD<'_, f32>)]) -> Result<()> {
    let describe = |name: &str, dims: &[Option<usize>]| {
        let dims: Vec<_> = dims.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
        format!("{name} {}", dims.join("×"))
    };
    let fits = |(name, array): &(&str, ArrayViewD<'_, f32>)| {
        ports.iter().any(|p| {
            p.name == *name
                && p.dims.len() == array.ndim()
                && p.dims.iter().zip(array.shape()).all(|(d, n)| d.is_none_or(|d| d == *n))
        })
    };
    let is_complete = ports.iter().all(|p| inputs.iter().filter(|(n, _)| *n == p.name).count() == 1);
    if is_complete && inputs.iter().all(fits) {
        return Ok(());
    }
    let found: Vec<_> = inputs
        .iter()
        .map(|(n, a)| describe(n, &a.shape().iter().map(|&v| Some(v)).collect::<Vec<_>>()))
        .collect();
    let wanted: Vec<_> = ports.iter().map(|p| describe(&p.name, &p.dims)).collect();
    Err(Error::net(
        format!("inputs {}", found.join(", ")),
        wanted.join(", "),
        "Check the channels and the patch size of the model's manifest",
    ))
}

impl Net for OnnxNet {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[(&str, ArrayViewD<'_, f32>)], task: &Task) -> Result<Vec<ArrayD<f32>>> {
        task.check()?;
        check_inputs(&self.inputs, inputs)?;
        let given: Vec<Given<'_>> = inputs.iter().map(|(name, a)| Given::new(a, self.kind(name))).collect();
        let session = &mut self.session;
        let ran = (|| -> ort::Result<Vec<ArrayD<f32>>> {
            let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(given.len());
            for ((name, _), array) in inputs.iter().zip(&given) {
                values.push((Cow::Borrowed(*name), array.value()?));
            }
            let options = RunOptions::new()?;
            // ONNX Runtime has no callback to ask, so a thread watches the flag for the length of the call.
            std::thread::scope(|scope| {
                let (done, is_done) = mpsc::channel::<()>();
                let watched = &options;
                let watcher = std::thread::Builder::new().name("insula-cancel".into());
                let watching = watcher.spawn_scoped(scope, move || {
                    while is_done.recv_timeout(CANCEL_POLL) == Err(mpsc::RecvTimeoutError::Timeout) {
                        if task.cancel().is_cancelled() {
                            // A failure to stop leaves a run that ends by itself.
                            let _ = watched.terminate();
                            break;
                        }
                    }
                });
                // Without a watcher the call still runs; a cancel then takes effect after it.
                drop(watching);
                let outputs = session.run_with_options(values, &options);
                drop(done);
                outputs?.values().map(|v| widened(&v)).collect()
            })
        })();
        // The runtime's own code for an ended run is a general failure: our flag decides.
        task.check()?;
        ran.map_err(|e| {
            Error::net(
                format!("the run failed: {}", e.message()),
                "a run to the end",
                "Check that the model was made for inputs of this size, and that there is memory enough",
            )
        })
    }

    fn provider(&self) -> &ProviderReport {
        &self.report
    }
}

type Answer = dyn FnMut(&[(&str, ArrayViewD<'_, f32>)]) -> Result<Vec<ArrayD<f32>>> + Send;

/// A network that is a function: for tests of everything around networks.
pub struct FakeNet {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    report: ProviderReport,
    answer: Box<Answer>,
}

impl FakeNet {
    /// A network that answers with `answer`.
    pub fn new(
        inputs: Vec<Port>,
        outputs: Vec<Port>,
        answer: impl FnMut(&[(&str, ArrayViewD<'_, f32>)]) -> Result<Vec<ArrayD<f32>>> + Send + 'static,
    ) -> Self {
        let report = ProviderReport { used: Provider::Cpu, why: "a function of the test".to_owned() };
        Self { inputs, outputs, report, answer: Box::new(answer) }
    }
}

impl Net for FakeNet {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[(&str, ArrayViewD<'_, f32>)], task: &Task) -> Result<Vec<ArrayD<f32>>> {
        task.check()?;
        check_inputs(&self.inputs, inputs)?;
        let out = (self.answer)(inputs)?;
        task.check()?;
        Ok(out)
    }

    fn provider(&self) -> &ProviderReport {
        &self.report
    }
}
