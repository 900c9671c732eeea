//! The one ONNX Runtime environment of the process.
//!
//! # Why these settings
//! * Threads: a network uses `threads` within a layer and runs one layer at a time. Layers of 3-D networks are large
//!   enough to fill the processor, and parallel layers would each hold their own buffers.
//! * Spinning: waiting threads sleep. Layers of 3-D networks are long, so that waking costs little, while threads
//!   that spin take the processor from whatever else runs: on a busy four-processor machine a 4×128³ SegFormer3D
//!   window took 1.4 to 3 times as long with spinning, in runs that took turns.
//! * Memory: the arena stays for the life of a network, since tiles have one size; it goes with the network.
//! * Telemetry is off.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::Task;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use crate::error::{Error, Result};
use crate::net::OnnxNet;
use crate::provider::{Provider, ProviderChoice, ProviderReport, ROWS};
use crate::runtime;

/// How the engine is to be set up. One set per process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// The library, as [`runtime::find`] gives it.
    pub runtime: PathBuf,
    /// Where networks run.
    pub provider: ProviderChoice,
    /// Threads of a network, at least 1; see [`crate::threads::default_threads`].
    pub threads: usize,
}

/// The loaded runtime. It lives as long as the process: ONNX Runtime allows one environment, once.
pub struct Engine {
    environment: Environment,
    options: EngineOptions,
    version: String,
    report: ProviderReport,
    providers: Vec<Provider>,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug)]
pub enum Model<'a> {
    /// An ONNX file. Whether its weights lie in other files is not looked at here; packs are checked for that
    /// before they get this far (`models`, `onnx_check`).
    File(&'a Path),
    /// The content of one, all weights included.
    Bytes(&'a [u8]),
}

static ENGINE: Mutex<Option<&'static Engine>> = Mutex::new(None);

impl Engine {
    /// Loads the runtime, or returns the engine that runs already when the options are the same.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the library cannot be used, [`Error::Provider`] when the provider asked for by name
    /// cannot, [`Error::Argument`] when an engine with other options runs already.
    pub fn start(options: &EngineOptions) -> Result<&'static Self> {
        let mut slot = ENGINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(engine) = *slot {
            if engine.options == *options {
                return Ok(engine);
            }
            return Err(Error::Argument(
                "an engine with other settings runs already; start the program again to change the runtime, the \
                 provider or the number of threads"
                    .to_owned(),
            ));
        }
        if options.threads == 0 {
            return Err(Error::Argument("a network needs at least one thread".to_owned()));
        }
        // ort panics on libraries it cannot use; look first, then fence what is left.
        let version = runtime::probe(&options.runtime).map_err(|reason| {
            Error::runtime(
                format!("{}: {reason}", options.runtime.display()),
                "Install it with `insula runtime install`, or point ORT_DYLIB_PATH to a library that loads",
            )
        })?;
        let environment = environment(&options.runtime)?;
        let (report, providers) = choose(&environment, options)?;
        let engine = Self { environment, options: options.clone(), version, report, providers };
        let engine: &'static Self = Box::leak(Box::new(engine));
        *slot = Some(engine);
        Ok(engine)
    }

    /// Loads a network. A cancel takes effect before and after; loading itself runs to its end.
    ///
    /// # Errors
    /// [`Error::Net`] for models that cannot be used, [`Error::Provider`], [`Error::Cancelled`].
    pub fn load(&self, model: Model<'_>, task: &Task) -> Result<OnnxNet> {
        task.check()?;
        let session = self.session(self.report.used, model);
        let net = match session {
            Ok(session) => OnnxNet::new(session, self.report.clone()),
            Err(reason) if self.report.used != Provider::Cpu => match self.options.provider {
                ProviderChoice::Exactly(provider) => {
                    Err(Error::Provider { provider, reason, remedy: provider.row().remedy.to_owned() })
                }
                ProviderChoice::Auto => {
                    let why = format!("{} could not load this model: {reason}", self.report.used);
                    let session = self.session(Provider::Cpu, model).map_err(unusable)?;
                    OnnxNet::new(session, ProviderReport { used: Provider::Cpu, why })
                }
            },
            Err(reason) => Err(unusable(reason)),
        };
        task.check()?;
        net
    }

    /// The provider that networks get, and why.
    #[must_use]
    pub fn provider(&self) -> &ProviderReport {
        &self.report
    }

    /// Providers that the library was built with, in order of preference.
    #[must_use]
    pub fn compiled_providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Version of ONNX Runtime, e.g. `"1.32.0"`.
    #[must_use]
    pub fn runtime_version(&self) -> &str {
        &self.version
    }

    /// The options it was started with.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A session, or the reason why not.
    fn session(&self, provider: Provider, model: Model<'_>) -> Result<Session, String> {
        let build = || -> ort::Result<Session> {
            let mut builder = builder(&self.environment, provider)?
                .with_intra_threads(self.options.threads)?
                .with_inter_threads(1)?
                .with_parallel_execution(false)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_op_spinning(false)?
                .with_config_entry("session.force_spinning_stop", "1")?;
            match model {
                Model::File(path) => builder.commit_from_file(path),
                Model::Bytes(bytes) => builder.commit_from_memory(bytes),
            }
        };
        fenced(build).and_then(|r| r.map_err(|e| e.message().to_owned()))
    }
}

fn unusable(reason: String) -> Error {
    Error::net(
        format!("the model cannot be loaded: {reason}"),
        "a self-contained ONNX model with standard operators",
        "Install the model again; it may be damaged, or newer than the installed ONNX Runtime",
    )
}

/// A builder with the provider registered, or the runtime's reason why not.
fn builder(environment: &Environment, provider: Provider) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?;
    match (provider, (provider.row().dispatch)()) {
        (Provider::Cpu, _) => Ok(builder),
        (_, Some(dispatch)) => Ok(builder.with_execution_providers([dispatch.error_on_failure()])?),
        (_, None) => Err(ort::Error::new("this program was built for another system than this provider's")),
    }
}

/// Runs calls into ort, which panics where the library misbehaves, and turns a panic into a reason.
fn fenced<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "the library misbehaved".to_owned())
    })
}

fn environment(library: &Path) -> Result<Environment> {
    let remedy = "Install it with `insula runtime install`, or point ORT_DYLIB_PATH to another build";
    let build = || -> Result<Environment, String> {
        let builder = ort::init_from(library).map_err(|e| e.to_string())?;
        builder.with_name("insula").with_telemetry(false).build().map_err(|e| e.message().to_owned())
    };
    fenced(build)
        .and_then(|r| r)
        .map_err(|reason| Error::runtime(format!("{}: {reason}", library.display()), remedy))
}

/// Settles the provider before any model is there: registering one loads its libraries, so failures show here.
fn choose(environment: &Environment, options: &EngineOptions) -> Result<(ProviderReport, Vec<Provider>)> {
    let works = |p: Provider| {
        fenced(|| builder(environment, p).map(drop).map_err(|e| e.message().to_owned())).and_then(|r| r)
    };
    let compiled: Vec<Provider> =
        ROWS.iter().filter(|r| is_compiled(r.runtime_name)).map(|r| r.provider).collect();
    if let ProviderChoice::Exactly(provider) = options.provider {
        if !compiled.contains(&provider) {
            return Err(Error::Provider {
                provider,
                reason: format!("{} was built without it", options.runtime.display()),
                remedy: provider.row().remedy.to_owned(),
            });
        }
        works(provider).map_err(|reason| Error::Provider {
            provider,
            reason,
            remedy: provider.row().remedy.to_owned(),
        })?;
        return Ok((ProviderReport { used: provider, why: "asked for".to_owned() }, compiled));
    }
    let mut misses = Vec::new();
    for row in ROWS.iter().filter(|r| r.is_tried_by_auto && r.provider != Provider::Cpu) {
        if !compiled.contains(&row.provider) {
            continue;
        }
        match works(row.provider) {
            Ok(()) => {
                let why = "auto: the fastest provider that starts here".to_owned();
                return Ok((ProviderReport { used: row.provider, why }, compiled));
            }
            Err(reason) => misses.push(format!("{} does not start: {reason}", row.provider)),
        }
    }
    let why = if misses.is_empty() {
        "auto: this build of ONNX Runtime has no faster provider for this system".to_owned()
    } else {
        format!("auto: {}", misses.join("; "))
    };
    Ok((ProviderReport { used: Provider::Cpu, why }, compiled))
}

/// Whether the loaded library was built with a provider.
fn is_compiled(runtime_name: &str) -> bool {
    use ort::ep::ExecutionProvider;
    let known = match runtime_name {
        "CPUExecutionProvider" => return true,
        #[cfg(not(target_os = "macos"))]
        "CUDAExecutionProvider" => fenced(ort::ep::CUDA::is_available),
        #[cfg(windows)]
        "DmlExecutionProvider" => fenced(ort::ep::DirectML::is_available),
        #[cfg(target_os = "macos")]
        "CoreMLExecutionProvider" => fenced(ort::ep::CoreML::is_available),
        _ => return false,
    };
    matches!(known, Ok(Ok(true)))
}
