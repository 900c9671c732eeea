//! What the tests share: where things lie, how the program is run, and how a test says that it was skipped.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub mod nets;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The workspace root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A path below the developers' shared data (`INSULA_SHARED`, else `../shared` beside the workspace), e.g.
/// `data/nifti/brain/t1_crop.nii.gz`. When it is not there, says that the test is skipped and returns `None`.
#[must_use]
pub fn shared(test: &str, path: &str) -> Option<PathBuf> {
    let base = std::env::var_os("INSULA_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = base.join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: {} is not here (set INSULA_SHARED)", path.display());
    None
}

/// Says that a test (or a part of it) did not run.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

/// The program, built once per test process with the profile of the tests.
#[must_use]
pub fn insula() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("INSULA_PROGRAM") {
            return program.into();
        }
        // Tests run from target/<profile>/deps.
        let tests = std::env::current_exe().expect("the test knows its own place");
        let folder = tests.parent().and_then(Path::parent).expect("target/<profile>/deps").to_owned();
        let is_release = folder.file_name().is_some_and(|n| n == "release");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // The whole workspace, so that dependencies get the features they have in the tests and are built once.
        cargo.args(["build", "--quiet", "--workspace", "--bin", "insula", "--target-dir"]);
        cargo.arg(folder.parent().expect("target/<profile>")).current_dir(root());
        if is_release {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "the program could not be built");
        folder.join(format!("insula{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A command that runs the program in `folder`, with a data folder of its own there, so that nothing of this
/// machine's user shows.
#[must_use]
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(insula());
    command.current_dir(folder).env("INSULA_HOME", folder.join("home")).stdin(Stdio::null());
    for name in ["SLURM_CPUS_PER_TASK", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
#[must_use]
pub fn run(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(command(folder).args(args).output().expect("the program starts"))
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

impl Ran {
    /// From a finished process.
    #[must_use]
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks the exit code and that stderr never tells of a panic.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Stdout as JSON values, one per line.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    #[track_caller]
    pub fn records(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("not JSON ({e}): {l}")))
            .collect()
    }
}

/// The ONNX Runtime of this machine, if there is one. Says so on stderr when there is none.
#[must_use]
pub fn runtime(test: &str) -> Option<&'static Path> {
    static RUNTIME: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = RUNTIME.get_or_init(|| {
        let output = Command::new(insula()).args(["runtime", "status", "--json"]).output().ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        status["path"].as_str().map(PathBuf::from)
    });
    if found.is_none() {
        skip(test, "no ONNX Runtime; install it with `insula runtime install`");
    }
    found.as_deref()
}

/// Waits until something is so, at most `limit`; whether it came.
pub fn wait_for(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + limit;
    while std::time::Instant::now() < end {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    is_so()
}

/// Writes weights of our own making, in the official layout of the network that a preset describes, as a safetensors
/// file: header length, JSON header, little-endian data.
///
/// # Panics
/// When the preset is none or the file cannot be written: the test cannot go on.
pub fn write_weights(path: &Path, preset: &str) {
    let preset: toml::Table = toml::from_str(preset).unwrap();
    let config: models::segformer3d::Config = preset["network"].clone().try_into().unwrap();
    write_safetensors(path, models::segformer3d::expected_tensors(&config), |name, shape, r| {
        let fan_in: usize = shape.iter().skip(1).product();
        match () {
            () if name.ends_with("running_var") => 1.0,
            () if shape.len() > 1 => r * (3.0 / fan_in as f32).sqrt(),
            () if name.ends_with("weight") => 1.0 + 0.2 * r,
            () => 0.2 * r,
        }
    });
}

/// A safetensors file of tensors whose values are made by `value` of name, shape and a random number in −1..1.
fn write_safetensors(
    path: &Path,
    tensors: Vec<(String, Vec<usize>)>,
    value: impl Fn(&str, &[usize], f32) -> f32,
) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    let mut state = 1_u64;
    for (name, shape) in tensors {
        let start = data.len();
        for _ in 0..shape.iter().product() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let r = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
            data.extend(value(&name, &shape, r).to_le_bytes());
        }
        let row = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, row);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

/// A small MAXIM for grey images with random weights that changes pictures by a few hundredths: tiles of 64 × 64.
pub const RESTORER_PRESET: &str = r#"
family = "maxim"
name = "Tiny restorer"
summary = "Random weights, for tests."
intended_use = "Tests."
licence = "MIT"

[input]
axes = "stored"
[[input.channel]]
name = "image"

[tiles]
patch = [1, 64, 64]
overlap = 0.25
blend = "ramp"

[output]
activation = "none"
task = "denoising"
channels = 1

[network]
in_channels = 1
features = 4
depth = 2
num_stages = 1
num_groups = 1
num_bottleneck_blocks = 1
num_supervision_scales = 1
high_res_stages = 2
tile_hr = 4
tile_lr = 4
unshuffle = 2
"#;

/// Writes weights for [`RESTORER_PRESET`] under the official names, as a safetensors file.
///
/// # Panics
/// When the file cannot be written: the test cannot go on.
pub fn write_restorer_weights(path: &Path) {
    let preset: toml::Table = toml::from_str(RESTORER_PRESET).unwrap();
    let config: models::maxim::Config = preset["network"].clone().try_into().unwrap();
    let tensors = models::maxim::expected_tensors(&config);
    write_safetensors(path, tensors, |name, shape, r| match () {
        // Little is changed.
        () if name.contains("output_conv") => 0.0003 * r,
        () if shape.len() > 1 => {
            let fan_in: usize = shape[..shape.len() - 1].iter().product();
            r * (3.0 / fan_in as f32).sqrt()
        }
        () if name.ends_with("scale") => 1.0 + 0.2 * r,
        () => 0.1 * r,
    });
}

/// The pack of [`RESTORER_PRESET`], imported by the program into `folder`.
///
/// # Panics
/// When the import fails.
#[must_use]
pub fn tiny_restorer(folder: &Path) -> PathBuf {
    write_restorer_weights(&folder.join("restorer.safetensors"));
    std::fs::write(folder.join("restorer.toml"), RESTORER_PRESET).unwrap();
    let args = ["packs", "import", "restorer.safetensors", "--family", "maxim", "--preset", "restorer.toml"];
    let args: Vec<&str> = args.into_iter().chain(["--id", "tiny-restorer", "--out", "."]).collect();
    let _ = run(folder, &args).expect(0);
    folder.join("tiny-restorer")
}

/// Settings of a small prompted pack for scans, as `insula packs import` takes them.
pub const PROMPTER_PRESET: &str = r#"
family = "xdecoder"
name = "Tiny prompter"
summary = "Random weights, for tests."
intended_use = "Tests."
licence = "MIT"

[input]
axes = "SAR"
spacing_mm = [2.0, 2.0, 2.0]
[[input.channel]]
name = "scan"

[crop]
kind = "foreground"
above = 0.1

[tiles]
patch = [1, 64, 64]

[output]
activation = "prompts"
tasks = ["phrases"]
suggestions = ["left hippocampus", "ventricles", "white matter"]

[output.present]
slope = 1.0
offset = 0.0
threshold = 0.0

[network]
backbone = "focal_dw"
embed_dim = 8
depths = [1, 1, 1, 1]
focal_levels = [2, 2, 2, 2]
focal_windows = [3, 3, 3, 3]
in_channels = 3
convs_dim = 32
mask_dim = 16
hidden_dim = 32
proj_dim = 32
encoder_layers = 1
decoder_layers = 3
queries = 9
heads = 4
ffn_dim = 32
text_width = 32
text_layers = 1
text_heads = 4
context = 24
vocabulary = VOCABULARY
"#;

/// The pack of [`PROMPTER_PRESET`] with random weights and the vocabulary of the medical pack, imported by the program
/// into `folder`; what is `replaced` in the preset first.
///
/// # Panics
/// When the import fails.
#[must_use]
pub fn tiny_prompter(folder: &Path, id: &str, replaced: &[(&str, &str)]) -> PathBuf {
    let merges = root().join("models/authoring/recipes/xdecoder-medical/vocabulary.txt");
    let size = models::xdecoder::Tokenizer::read(&merges).unwrap().size();
    let mut preset = PROMPTER_PRESET.replace("VOCABULARY", &size.to_string());
    for (before, after) in replaced {
        assert!(preset.contains(before), "{before}");
        preset = preset.replace(before, after);
    }
    let table: toml::Table = toml::from_str(&preset).unwrap();
    let config: models::xdecoder::Config = table["network"].clone().try_into().unwrap();
    let tensors = models::xdecoder::expected_tensors(&config);
    write_safetensors(&folder.join("prompter.safetensors"), tensors, |name, shape, r| match () {
        // Queries differ, and so do their masks.
        () if name.contains("query_feat") || name.contains("gamma") => r,
        () if shape.len() > 1 => {
            let fan_in: usize = shape[1..].iter().product();
            r * (3.0 / fan_in as f32).sqrt()
        }
        () if name.ends_with("norm.weight") || name.contains("ln_") => 1.0 + 0.2 * r,
        () => 0.2 * r,
    });
    std::fs::write(folder.join("prompter.toml"), preset).unwrap();
    let merges = merges.to_str().unwrap();
    let args =
        ["packs", "import", "prompter.safetensors", "--family", "xdecoder", "--preset", "prompter.toml"];
    let more = ["--merges", merges, "--id", id, "--out", "."];
    let args: Vec<&str> = args.into_iter().chain(more).collect();
    let _ = run(folder, &args).expect(0);
    for left_over in ["prompter.safetensors", "prompter.toml"] {
        std::fs::remove_file(folder.join(left_over)).unwrap();
    }
    folder.join(id)
}
