//! The house rules that no compiler checks: the top level, the direction of dependencies, the purity of
//! the core, the length of files and functions, and what must not be left lying about. Every test
//! names every offender, and there is no list of exceptions.

#![allow(clippy::unwrap_used)]

mod dependencies;
mod scan;
mod tree;

use scan::{code_of, functions, line_of, test_modules, without_tests, words};
use serde_json::Value;
use tree::{SourceFile, root, source_files, tracked_paths};

/// What may stand at the top of the repository beside dotfiles.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "core",
    "fuzz",
    "proto",
    "rust-toolchain.toml",
    "server",
    "sim",
    "tests",
];
/// Which packages of ours a package may depend on, for whatever purpose. `jobmanager local` runs both
/// halves from one binary: hence its `taskmanager`.
const ARROWS: [(&str, &[&str]); 7] = [
    ("jobmanager-core", &[]),
    ("jobmanager-proto", &["jobmanager-core"]),
    ("jobmanager-sim", &["jobmanager-core", "jobmanager-proto"]),
    ("taskmanager", &["jobmanager-core", "jobmanager-proto"]),
    (
        "jobmanager",
        &["jobmanager-core", "jobmanager-proto", "taskmanager"],
    ),
    (
        "jobmanager-tests",
        &[
            "jobmanager-core",
            "jobmanager-proto",
            "jobmanager-sim",
            "jobmanager-fuzz",
            "jobmanager",
            "taskmanager",
        ],
    ),
    (
        "jobmanager-fuzz",
        &["jobmanager-core", "jobmanager-sim", "jobmanager-proto"],
    ),
];
/// What the core may depend on, each without `std`. A new one is a decision.
const CORE_DEPENDENCIES: [&str; 6] = [
    "rand_chacha",
    "serde",
    "slotmap",
    "thiserror",
    "tracing",
    "xxhash-rust",
];
const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 70;

fn assert_none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n{}", offenders.join("\n"));
}

#[test]
fn nothing_else_stands_at_the_top_level() {
    let offenders: Vec<_> = tracked_paths()
        .into_iter()
        .filter_map(|path| path.split('/').next().map(str::to_owned))
        .filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(&top.as_str()))
        .collect();
    assert_none(&offenders, "does not belong at the top level");
}

/// What cargo knows of our packages, without their dependencies' own.
fn packages() -> Vec<Value> {
    let mut packages = Vec::new();
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let manifest = root().join(manifest);
        if !manifest.exists() {
            continue;
        }
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = std::process::Command::new(cargo)
            .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
            .arg("--manifest-path")
            .arg(&manifest)
            .output()
            .expect("cargo runs this test, so it is there");
        assert!(output.status.success(), "{output:?}");
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        packages.extend(metadata["packages"].as_array().unwrap().iter().cloned());
    }
    packages
}

/// The package's dependencies on packages of ours that no arrow allows.
fn turned_arrows(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap();
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!("{name}: no arrow is drawn for this package")];
    };
    let dependencies = package["dependencies"].as_array().unwrap();
    dependencies
        .iter()
        .map(|dependency| dependency["name"].as_str().unwrap())
        .filter(|on| ARROWS.iter().any(|(ours, _)| ours == on) && !allowed.contains(on))
        .map(|on| format!("{name} -> {on}"))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    assert!(packages.len() >= 6, "cargo names too few packages");
    let offenders: Vec<_> = packages.iter().flat_map(turned_arrows).collect();
    assert_none(&offenders, "an arrow is turned");
}

#[test]
fn a_turned_arrow_is_seen() {
    let package = serde_json::json!({"name": "jobmanager-core", "dependencies": [
        {"name": "serde"}, {"name": "jobmanager-proto"}]});
    assert_eq!(
        turned_arrows(&package),
        ["jobmanager-core -> jobmanager-proto"]
    );
}

fn core_offenders(package: &Value) -> Vec<String> {
    let mut offenders = Vec::new();
    for dependency in package["dependencies"].as_array().unwrap() {
        let name = dependency["name"].as_str().unwrap();
        if dependency["kind"] == "dev" {
            continue;
        }
        if !CORE_DEPENDENCIES.contains(&name) {
            offenders.push(format!("{name} is not on the list"));
        }
        let features = dependency["features"].as_array().unwrap();
        if dependency["uses_default_features"] != false || features.iter().any(|f| f == "std") {
            offenders.push(format!("{name} is taken with std"));
        }
    }
    offenders
}

#[test]
fn the_core_depends_on_few_things_and_on_none_with_std() {
    let packages = packages();
    let core = packages.iter().find(|p| p["name"] == "jobmanager-core");
    assert_none(&core_offenders(core.unwrap()), "a dependency of the core");
    let with_std = serde_json::json!({"dependencies": [
        {"name": "tokio", "kind": null, "uses_default_features": false, "features": []},
        {"name": "serde", "kind": null, "uses_default_features": true, "features": []}]});
    assert_eq!(core_offenders(&with_std).len(), 2);
}

#[test]
fn the_core_is_no_std_without_unsafe_code() {
    let lib = std::fs::read_to_string(root().join("core/src/lib.rs")).unwrap();
    let code = code_of(&lib);
    assert!(code.contains("#![no_std]"));
    assert!(code.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn the_core_names_std_in_tests_alone() {
    let files = source_files("rs");
    let test_files: Vec<String> = files
        .iter()
        .flat_map(|file| test_modules(&code_of(&file.text)))
        .map(|module| format!("/{module}.rs"))
        .collect();
    let in_core = |file: &&SourceFile| file.path.starts_with("core/src/");
    let for_tests = |file: &SourceFile| test_files.iter().any(|end| file.path.ends_with(end));
    let mut offenders = Vec::new();
    for file in files.iter().filter(in_core).filter(|file| !for_tests(file)) {
        let code = without_tests(&code_of(&file.text));
        offenders.extend(words(&code, "std").map(|at| file.at(line_of(&code, at))));
    }
    assert_none(&offenders, "the core names std");
}

#[test]
fn the_simulator_does_not_know_tokio() {
    let mut offenders = Vec::new();
    for file in source_files("rs") {
        if file.path.starts_with("sim/") {
            let code = code_of(&file.text);
            offenders.extend(words(&code, "tokio").map(|at| file.at(line_of(&code, at))));
        }
    }
    assert_none(&offenders, "the simulator imports tokio");
    let packages = packages();
    let sim = packages.iter().find(|p| p["name"] == "jobmanager-sim");
    let dependencies = sim.unwrap()["dependencies"].as_array().unwrap();
    assert!(dependencies.iter().all(|d| d["name"] != "tokio"));
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut offenders = Vec::new();
    for extension in ["rs", "proto", "md", "toml"] {
        for file in source_files(extension) {
            let lines = file.text.lines().count();
            if lines > LONGEST_FILE {
                offenders.push(format!("{}: {lines} lines", file.path));
            }
        }
    }
    assert_none(&offenders, &format!("longer than {LONGEST_FILE} lines"));
}

#[test]
fn functions_fit_a_screen() {
    let mut offenders = Vec::new();
    for file in source_files("rs") {
        for function in functions(&code_of(&file.text)) {
            if function.lines > LONGEST_FUNCTION {
                let (at, name) = (file.at(function.line), function.name);
                offenders.push(format!("{at}: {name} has {} lines", function.lines));
            }
        }
    }
    assert_none(&offenders, &format!("longer than {LONGEST_FUNCTION} lines"));
}

fn opens_with_module_doc(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.is_some_and(|line| line.starts_with("//! ") && line.len() > 6)
}

#[test]
fn every_module_says_what_it_is() {
    let files = source_files("rs").into_iter();
    let offenders: Vec<_> = files
        .filter(|file| !opens_with_module_doc(&file.text))
        .map(|file| file.at(1))
        .collect();
    assert_none(&offenders, "does not open with `//!`");
    assert!(opens_with_module_doc("\n//! What it is.\nuse a;"));
    assert!(!opens_with_module_doc("use a;\n//! What it is."));
    assert!(!opens_with_module_doc("//!\nuse a;"));
}

/// Lines with a note that something is still to be done. The words are put together here so that
/// this file is not its own offender.
fn unfinished(text: &str) -> Vec<usize> {
    let notes = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    notes
        .iter()
        .flat_map(|note| words(text, note).map(|at| line_of(text, at)))
        .collect()
}

/// Lines of code with a macro that stands for work not done, or for a search for a mistake.
fn unfinished_code(code: &str) -> Vec<usize> {
    ["todo", "unimplemented", "dbg"]
        .iter()
        .flat_map(|name| words(code, name).map(move |at| (at, name.len())))
        .filter(|(at, length)| code[at + length..].starts_with('!'))
        .map(|(at, _)| line_of(code, at))
        .collect()
}

#[test]
fn nothing_is_left_unfinished() {
    let mut offenders = Vec::new();
    for extension in ["rs", "proto", "md", "toml"] {
        for file in source_files(extension) {
            offenders.extend(unfinished(&file.text).into_iter().map(|line| file.at(line)));
        }
    }
    for file in source_files("rs") {
        let lines = unfinished_code(&code_of(&file.text));
        offenders.extend(lines.into_iter().map(|line| file.at(line)));
    }
    assert_none(&offenders, "is not finished");
}

#[test]
fn an_unfinished_place_is_seen() {
    let note = concat!("a\n// FIX", "ME later");
    assert_eq!(unfinished(note), [2]);
    assert_eq!(unfinished_code("a\n  todo!()\n dbg!(x); todo"), [2, 3]);
}

fn ignored_without_reason(code: &str) -> Vec<usize> {
    code.match_indices("#[ignore]")
        .map(|(at, _)| line_of(code, at))
        .collect()
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    let mut offenders = Vec::new();
    for file in source_files("rs") {
        let lines = ignored_without_reason(&code_of(&file.text));
        offenders.extend(lines.into_iter().map(|line| file.at(line)));
    }
    assert_none(&offenders, "ignored without a reason");
    let code = code_of("#[ignore = \"slow\"]\nfn a() {}\n#[ignore]\nfn b() {}");
    assert_eq!(ignored_without_reason(&code), [3]);
}
