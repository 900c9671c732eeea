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
    /// Runs once: f32 arrays by input name (any order, each input once), outputs in the graph's order.
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

/// An output in single precision.
fn taken(value: &ort::value::DynValue) -> ort::Result<ArrayD<f32>> {
    match value.dtype() {
        ValueType::Tensor { ty: TensorElementType::Int64, .. } => {
            Ok(value.try_extract_array::<i64>()?.map(|&v| v as f32))
        }
        ValueType::Tensor { ty: TensorElementType::Bool, .. } => {
            Ok(value.try_extract_array::<bool>()?.map(|&v| f32::from(u8::from(v))))
        }
        _ => Ok(value.try_extract_array::<f32>()?.to_owned()),
    }
}

impl OnnxNet {
    pub(crate) fn new(session: Session, report: ProviderReport) -> Result<Self> {
        let port = |o: &ort::value::Outlet| {
            let (kind, shape) = match o.dtype() {
                ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => (Kind::F32, shape),
                ValueType::Tensor { ty: TensorElementType::Int64, shape, .. } => (Kind::I64, shape),
                ValueType::Tensor { ty: TensorElementType::Bool, shape, .. } => (Kind::Bool, shape),
                other => {
                    return Err(Error::net(
                        format!("{} of type {other}", o.name()),
                        "arrays of 32-bit floats, 64-bit whole numbers or truth values",
                        "Export the model with float32 inputs and outputs",
                    ));
                }
            };
            let dims = shape.iter().map(|&d| usize::try_from(d).ok()).collect();
            Ok((Port { name: o.name().to_owned(), dims }, kind))
        };
        let (inputs, kinds) =
            session.inputs().iter().map(port).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let outputs = session.outputs().iter().map(|o| Ok(port(o)?.0)).collect::<Result<_>>()?;
        Ok(Self { session, inputs, kinds, outputs, report })
    }

    /// What elements of an input are.
    fn kind(&self, name: &str) -> Kind {
        let at = self.inputs.iter().position(|p| p.name == name);
        at.and_then(|n| self.kinds.get(n).copied()).unwrap_or(Kind::F32)
    }
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
                outputs?.values().map(|v| taken(&v)).collect()
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
