//! The architecture, checked: which crate may depend on which, and who may know the window, the graphics card and the
//! network runtime. Reads the manifests, so that a forbidden arrow fails before it is used.

use std::collections::{BTreeMap, BTreeSet};

use insula_tests::root;
use toml::{Table, Value};

/// Crates and what they may use of each other, directly or through one another.
const MAY_USE: &[(&str, &[&str])] = &[
    ("formats", &[]),
    ("inference", &["formats"]),
    ("models", &["formats", "inference"]),
    ("viewer", &["formats"]),
    ("app", &["formats", "inference", "models", "viewer"]),
];

/// Dependencies that only some crates may have; a name also covers its families (`egui` covers `egui-wgpu`, `egui_dock`).
const RESERVED: &[(&str, &[&str])] = &[
    ("ort", &["inference"]),
    ("egui", &["viewer", "app"]),
    ("eframe", &["app"]),
    ("wgpu", &["viewer", "app"]),
    ("winit", &["viewer", "app"]),
    ("anyhow", &["app"]),
    ("clap", &["app"]),
];

fn manifest(path: &std::path::Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of all dependencies of any kind and target, by package name (renames undone). Development dependencies are
/// counted apart: tests may use what the program may not, except the runtime and the window.
fn dependencies(table: &Table, development: bool) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let kinds: &[&str] =
        if development { &["dev-dependencies"] } else { &["dependencies", "build-dependencies"] };
    let mut collect = |owner: &Table| {
        for kind in kinds {
            for (name, value) in owner.get(*kind).and_then(Value::as_table).into_iter().flatten() {
                let package = value.get("package").and_then(Value::as_str).unwrap_or(name);
                out.insert(package.to_owned());
            }
        }
    };
    collect(table);
    for target in table.get("target").and_then(Value::as_table).into_iter().flat_map(|t| t.values()) {
        collect(target.as_table().unwrap());
    }
    out
}

/// All members of the workspace but this one, with their manifests.
fn members() -> BTreeMap<String, Table> {
    let workspace = manifest(&root().join("Cargo.toml"));
    let listed = workspace["workspace"]["members"].as_array().unwrap();
    let folders = listed.iter().map(|v| v.as_str().unwrap()).filter(|m| *m != "tests");
    folders.map(|f| (f.to_owned(), manifest(&root().join(f).join("Cargo.toml")))).collect()
}

fn covers(reserved: &str, name: &str) -> bool {
    name == reserved || name.strip_prefix(reserved).is_some_and(|rest| rest.starts_with(['-', '_']))
}

#[test]
fn crates_are_named_like_their_folders_and_not_published() {
    for (folder, table) in members() {
        let package = &table["package"];
        assert_eq!(package["name"].as_str(), Some(folder.as_str()));
        let publish =
            package.get("publish").unwrap_or_else(|| panic!("{folder} says nothing about publishing"));
        assert!(publish.as_bool() == Some(false) || publish.get("workspace").is_some(), "{folder}");
        let lints = table.get("lints").and_then(|l| l.get("workspace")).and_then(Value::as_bool);
        assert_eq!(lints, Some(true), "{folder} does not inherit the workspace's lints");
    }
}

#[test]
fn dependencies_point_one_way() {
    let members = members();
    for (name, table) in &members {
        let allowed = MAY_USE.iter().find(|(n, _)| n == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("crate {name} has no place in the architecture"));
        for dependency in dependencies(table, false).union(&dependencies(table, true)) {
            let ours = members.contains_key(dependency);
            assert!(!ours || allowed.contains(&dependency.as_str()), "{name} must not use {dependency}");
        }
    }
}

#[test]
fn window_graphics_and_runtime_stay_in_their_crates() {
    for (name, table) in &members() {
        for dependency in dependencies(table, false) {
            for (reserved, owners) in RESERVED {
                let free = !covers(reserved, &dependency) || owners.contains(&name.as_str());
                assert!(free, "{name} must not use {dependency}: only {owners:?} may");
            }
        }
    }
}

#[test]
fn every_dependency_is_stated_once_in_the_workspace() {
    for (name, table) in &members() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let inherits = value.get("workspace").and_then(Value::as_bool) == Some(true);
                assert!(
                    inherits,
                    "{name}: {dependency} has its own version; state it in the workspace manifest"
                );
            }
        }
    }
}

#[test]
fn a_reserved_name_covers_its_family() {
    assert!(covers("egui", "egui-wgpu") && covers("egui", "egui") && !covers("ort", "ortho"));
}
