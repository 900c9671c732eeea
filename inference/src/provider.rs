//! Where a network runs: execution providers as rows of a table.

use std::fmt;
use std::str::FromStr;

use ort::ep::ExecutionProviderDispatch;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor. Always there.
    Cpu,
    /// NVIDIA cards.
    Cuda,
    /// Any DirectX 12 card, on Windows.
    DirectMl,
    /// Apple's neural engine and graphics, on macOS.
    CoreMl,
}

/// Which provider the user wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    /// The best one that works here; the choice and its reason are reported.
    #[default]
    Auto,
    /// This one or an error.
    Exactly(Provider),
}

/// The provider really used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReport {
    /// The provider.
    pub used: Provider,
    /// One sentence.
    pub why: String,
}

/// What is known about a provider.
pub(crate) struct Row {
    pub(crate) provider: Provider,
    /// As users write it.
    name: &'static str,
    /// As ONNX Runtime writes it.
    pub(crate) runtime_name: &'static str,
    /// Whether `auto` tries it. Core ML is slower than the processor for most 3-D networks, whose layers it
    /// hands back one by one.
    pub(crate) is_tried_by_auto: bool,
    pub(crate) remedy: &'static str,
    pub(crate) dispatch: fn() -> Option<ExecutionProviderDispatch>,
}

/// In the order in which `auto` tries.
pub(crate) const ROWS: [Row; 4] = [
    Row {
        provider: Provider::Cuda,
        name: "cuda",
        runtime_name: "CUDAExecutionProvider",
        is_tried_by_auto: true,
        remedy: "Point ORT_DYLIB_PATH to a GPU build of ONNX Runtime, with its providers library beside it and the \
                 CUDA and cuDNN versions it names installed; or use --provider cpu or auto",
        dispatch: cuda,
    },
    Row {
        provider: Provider::DirectMl,
        name: "directml",
        runtime_name: "DmlExecutionProvider",
        is_tried_by_auto: true,
        remedy: "Point ORT_DYLIB_PATH to a DirectML build of ONNX Runtime (Windows only); or use --provider cpu or auto",
        dispatch: direct_ml,
    },
    Row {
        provider: Provider::CoreMl,
        name: "coreml",
        runtime_name: "CoreMLExecutionProvider",
        is_tried_by_auto: false,
        remedy: "Point ORT_DYLIB_PATH to a macOS build of ONNX Runtime with Core ML; or use --provider cpu or auto",
        dispatch: core_ml,
    },
    Row {
        provider: Provider::Cpu,
        name: "cpu",
        runtime_name: "CPUExecutionProvider",
        is_tried_by_auto: true,
        remedy: "",
        dispatch: || Some(ort::ep::CPU::default().build()),
    },
];

fn cuda() -> Option<ExecutionProviderDispatch> {
    #[cfg(not(target_os = "macos"))]
    return Some(ort::ep::CUDA::default().build());
    #[cfg(target_os = "macos")]
    None
}

fn direct_ml() -> Option<ExecutionProviderDispatch> {
    #[cfg(windows)]
    return Some(ort::ep::DirectML::default().build());
    #[cfg(not(windows))]
    None
}

fn core_ml() -> Option<ExecutionProviderDispatch> {
    #[cfg(target_os = "macos")]
    return Some(ort::ep::CoreML::default().build());
    #[cfg(not(target_os = "macos"))]
    None
}

impl Provider {
    pub(crate) fn row(self) -> &'static Row {
        ROWS.iter().find(|r| r.provider == self).unwrap_or(&ROWS[ROWS.len() - 1])
    }

    /// All providers, in the order in which `auto` prefers them.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|r| r.provider)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().name)
    }
}

impl fmt::Display for ProviderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.used, self.why)
    }
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Exactly(p) => p.fmt(f),
        }
    }
}

impl FromStr for Provider {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        ROWS.iter().find(|r| r.name.eq_ignore_ascii_case(s)).map(|r| r.provider).ok_or_else(|| {
            let names: Vec<_> = ROWS.iter().map(|r| r.name).collect();
            Error::Argument(format!("no provider is called {s}; there are auto, {}", names.join(", ")))
        })
    }
}

impl FromStr for ProviderChoice {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        if s.eq_ignore_ascii_case("auto") { Ok(Self::Auto) } else { s.parse().map(Self::Exactly) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for p in Provider::all() {
            assert_eq!(p.to_string().parse::<Provider>().unwrap(), p);
            assert_eq!(p.to_string().parse::<ProviderChoice>().unwrap(), ProviderChoice::Exactly(p));
        }
        assert_eq!("auto".parse::<ProviderChoice>().unwrap(), ProviderChoice::Auto);
        let message = "gpu".parse::<ProviderChoice>().unwrap_err().to_string();
        assert!(message.contains("cuda") && message.contains("auto"), "{message}");
    }
}
