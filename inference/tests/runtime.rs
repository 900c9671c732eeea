//! Finding and installing ONNX Runtime. Settings are environment variables, so each case runs in its own process.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use formats::Task;
use inference::runtime;

fn start(case: &str, home: &Path, settings: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("INSULA_TEST_CASE", case)
        .env("INSULA_HOME", home)
        .env_remove("ORT_DYLIB_PATH")
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn answer(child: Child) -> String {
    let text = String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned();
    text.lines().find_map(|l| l.split_once("RESULT ")).map(|(_, r)| r.to_owned()).unwrap_or(text)
}

#[test]
fn child() {
    match std::env::var("INSULA_TEST_CASE").as_deref() {
        Ok("find") => match runtime::find() {
            Ok(found) => println!("RESULT {:?} {} {}", found.place, found.version, found.path.display()),
            Err(why) => println!("RESULT {}", inference::Error::from(why)),
        },
        Ok("install") => match runtime::install(&Task::silent()) {
            Ok(path) => println!("RESULT ok {}", path.display()),
            Err(e) => println!("RESULT {} {e}", e.kind()),
        },
        Ok(file) => match runtime::install_from(Path::new(file), &Task::silent()) {
            Ok(path) => println!("RESULT ok {}", path.display()),
            Err(e) => println!("RESULT {} {e}", e.kind()),
        },
        Err(_) => {}
    }
}

#[test]
fn without_a_network_the_error_says_what_to_bring() {
    let home = tempfile::tempdir().unwrap();
    let said = answer(start("install", home.path(), &[("PIP_NO_INDEX", "1")]));
    assert!(said.starts_with("runtime "), "{said}");
    if !said.contains("no official build") {
        assert!(said.contains("insula runtime install --from") && said.contains("ORT_DYLIB_PATH"), "{said}");
        assert!(said.contains(".whl"), "{said}");
    }
    // Nothing is left behind.
    let left: Vec<_> = std::fs::read_dir(home.path().join("runtime")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_that_is_not_the_wheel_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("other.whl");
    std::fs::write(&file, b"PK not the wheel").unwrap();
    let said = answer(start(file.to_str().unwrap(), home.path(), &[]));
    assert!(said.starts_with("runtime ") && said.contains("SHA-256"), "{said}");
}

#[test]
fn a_variable_that_leads_nowhere_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let said = answer(start("find", home.path(), &[("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")]));
    assert!(said.contains("/nowhere/libonnxruntime.so: there is no such file"), "{said}");
    assert!(said.contains("insula runtime install"), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_broken_install_is_passed_over_and_named() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("runtime").join(runtime::VERSION);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("libonnxruntime.so.1"), b"cut short").unwrap();
    let said = answer(start("find", home.path(), &[]));
    // Either the system has one, or the broken file is named.
    assert!(said.starts_with("System") || said.contains("libonnxruntime.so.1"), "{said}");
}

#[test]
#[ignore = "downloads about 28 MB"]
fn two_installs_at_once_leave_one_good_library() {
    let home = tempfile::tempdir().unwrap();
    let both = [start("install", home.path(), &[]), start("install", home.path(), &[])].map(answer);
    assert!(both.iter().all(|a| a.starts_with("ok ")), "{both:?}");
    assert_eq!(both[0], both[1]);
    let said = answer(start("find", home.path(), &[]));
    assert!(said.starts_with(&format!("UserFolder {}", runtime::VERSION)), "{said}");
    let left: Vec<_> =
        std::fs::read_dir(home.path().join("runtime")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [runtime::VERSION]);
    let mut files: Vec<_> = std::fs::read_dir(home.path().join("runtime").join(runtime::VERSION))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
}
