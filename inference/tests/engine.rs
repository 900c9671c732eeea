//! Real sessions: running, cancelling, refusing.

mod common;

use std::time::{Duration, Instant};

use formats::{Cancel, Task};
use inference::provider::{Provider, ProviderChoice};
use inference::tiles::{Plan, Rule, Weights, run_tiles};
use inference::{Engine, EngineOptions, Error, Model, Net};
use ndarray::{Array2, Array4, Array5};

#[test]
fn a_network_runs_and_says_where() {
    let Some(engine) = common::engine("a_network_runs_and_says_where") else { return };
    assert!(engine.runtime_version().starts_with("1."));
    let mut net = engine.load(Model::Bytes(&common::doubling()), &Task::silent()).unwrap();
    assert_eq!(net.inputs()[0].name, "image");
    assert_eq!(net.inputs()[0].dims, [None, Some(2), None, None, None]);
    assert_eq!(net.provider().used, Provider::Cpu);
    assert!(net.provider().why.starts_with("auto: "), "{}", net.provider());
    // Any size, and arrays that are not in standard layout.
    for shape in [(1, 2, 3, 4, 5), (2, 2, 1, 1, 7)] {
        let x = Array5::from_shape_fn(shape, |(a, b, c, d, e)| (a + 2 * b + 3 * c + 5 * d + 7 * e) as f32);
        let y = net.run(&[("image", x.view().into_dyn())], &Task::silent()).unwrap();
        assert_eq!(y[0], (&x * 2.0).into_dyn());
        let turned = x.view().permuted_axes([0, 1, 4, 3, 2]);
        let y = net.run(&[("image", turned.into_dyn())], &Task::silent()).unwrap();
        assert_eq!(y[0], (&turned * 2.0).into_dyn());
    }
    // Through tiles.
    let x = Array4::from_shape_fn((2, 9, 11, 13), |(c, d, h, w)| (c * 1000 + d * 100 + h * 10 + w) as f32);
    let plan = Plan::new([9, 11, 13], [4, 16, 5], 0.5, Rule::Even, Weights::Gaussian).unwrap().with_batch(3);
    let y = run_tiles(&mut net, x.view(), &plan, &Task::silent()).unwrap();
    assert!((&y - &(&x * 2.0)).iter().all(|d| d.abs() < 1e-3));
}

#[test]
fn wrong_inputs_are_refused_with_both_shapes() {
    let Some(engine) = common::engine("wrong_inputs_are_refused_with_both_shapes") else { return };
    let mut net = engine.load(Model::Bytes(&common::doubling()), &Task::silent()).unwrap();
    let x = Array5::<f32>::zeros((1, 3, 2, 2, 2));
    for name in ["image", "picture"] {
        let error = net.run(&[(name, x.view().into_dyn())], &Task::silent()).unwrap_err();
        assert!(matches!(error, Error::Net { .. }));
        let text = error.to_string();
        assert!(text.contains("1×3×2×2×2") && text.contains("image ?×2×?×?×?"), "{text}");
    }
    assert!(net.run(&[], &Task::silent()).is_err());
}

#[test]
fn damaged_models_are_refused() {
    let Some(engine) = common::engine("damaged_models_are_refused") else { return };
    let good = common::doubling();
    for bytes in [&b""[..], b"not a model", &good[..good.len() / 2]] {
        let error = engine.load(Model::Bytes(bytes), &Task::silent()).err().unwrap();
        assert!(matches!(error, Error::Net { .. }), "{error}");
    }
    let error = engine.load(Model::File("/nowhere/model.onnx".as_ref()), &Task::silent()).err().unwrap();
    assert!(error.to_string().contains("model.onnx"), "{error}");
}

#[test]
fn a_cancel_ends_the_run() {
    let Some(engine) = common::engine("a_cancel_ends_the_run") else { return };
    // Far longer than the test waits on any machine: 400 products of 2 GFLOP.
    let mut net = engine.load(Model::Bytes(&common::slow(400)), &Task::silent()).unwrap();
    let x = Array2::from_elem((1024, 1024), 1e-3f32);
    let run = |net: &mut inference::OnnxNet, wait: Option<Duration>| {
        let cancel = Cancel::default();
        let task = Task::new(cancel.clone(), |_, _| {});
        std::thread::scope(|scope| {
            let asker = scope.spawn(move || {
                if let Some(wait) = wait {
                    std::thread::sleep(wait);
                }
                cancel.cancel();
                Instant::now()
            });
            if wait.is_none() {
                while !task.cancel().is_cancelled() {
                    std::thread::yield_now();
                }
            }
            let result = net.run(&[("x", x.view().into_dyn())], &task);
            let ended = Instant::now();
            assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
            ended - asker.join().unwrap()
        })
    };
    let late = run(&mut net, Some(Duration::from_millis(300)));
    assert!(late < Duration::from_secs(1), "the run went on for {late:?}");
    let before = run(&mut net, None);
    assert!(before < Duration::from_millis(100), "{before:?}");
    // The network serves again afterwards.
    let mut short = engine.load(Model::Bytes(&common::slow(1)), &Task::silent()).unwrap();
    let y = short.run(&[("x", x.view().into_dyn())], &Task::silent()).unwrap();
    assert!((y[0][[0, 0]] - 1024.0 * 1e-6).abs() < 1e-6);
}

#[test]
fn one_engine_per_process() {
    let Some(engine) = common::engine("one_engine_per_process") else { return };
    let same = Engine::start(engine.options()).unwrap();
    assert!(std::ptr::eq(engine, same));
    let other = EngineOptions { threads: 3, ..engine.options().clone() };
    assert!(matches!(Engine::start(&other), Err(Error::Argument(_))));
}

/// Settings hold for a process, so that each gets its own: this test program started again.
fn in_another_process(case: &str) -> Option<String> {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("INSULA_TEST_CASE", case)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|l| l.split_once("RESULT ").map(|(_, r)| r.to_owned()))
}

#[test]
#[allow(clippy::print_stdout)]
fn child() {
    let Ok(case) = std::env::var("INSULA_TEST_CASE") else { return };
    let runtime = match case.as_str() {
        "no-such-library" => "/nowhere/libonnxruntime.so".into(),
        "not-a-library" => std::env::current_exe().unwrap().with_file_name("not-a-library.so"),
        "another-library" => "libm.so.6".into(),
        _ => inference::runtime::find().unwrap().path,
    };
    if case == "not-a-library" {
        std::fs::write(&runtime, b"text").unwrap();
    }
    let provider =
        if case == "cuda" { ProviderChoice::Exactly(Provider::Cuda) } else { ProviderChoice::Auto };
    match Engine::start(&EngineOptions { runtime, provider, threads: 1 }) {
        Ok(engine) => println!("RESULT ok {}", engine.provider()),
        Err(e) => println!("RESULT {} {e}", e.kind()),
    }
}

#[test]
fn a_provider_asked_for_by_name_is_had_or_refused() {
    let Some(engine) = common::engine("a_provider_asked_for_by_name_is_had_or_refused") else { return };
    let answer = in_another_process("cuda").unwrap();
    if engine.compiled_providers().contains(&Provider::Cuda) {
        assert!(answer.starts_with("ok cuda") || answer.starts_with("provider "), "{answer}");
    } else {
        assert!(answer.starts_with("provider ") && answer.contains("ORT_DYLIB_PATH"), "{answer}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn libraries_that_are_none_are_refused_without_a_panic() {
    for case in ["no-such-library", "not-a-library", "another-library"] {
        let answer = in_another_process(case).unwrap();
        assert!(
            answer.starts_with("runtime ") && answer.contains("insula runtime install"),
            "{case}: {answer}"
        );
    }
}
