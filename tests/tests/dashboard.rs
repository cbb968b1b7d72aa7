//! What is committed of the dashboard is what its sources are built to.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn dashboard() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/dashboard")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        if ["node_modules", "dist", "screenshots"]
            .iter()
            .any(|left_out| name == *left_out)
        {
            continue;
        }
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(source, target).unwrap();
        }
    }
}

fn npm(folder: &Path, arguments: &[&str]) {
    let output = Command::new("npm")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "npm {arguments:?}: {words}\n{said}"
    );
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

#[test]
#[ignore = "needs npm and what it downloads: run tests/run"]
fn npm_builds_what_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("dashboard");
    copy(&dashboard(), &built);
    npm(
        &built,
        &["ci", "--no-audit", "--no-fund", "--ignore-scripts"],
    );
    npm(&built, &["run", "build"]);
    let (built, committed) = (files(&built.join("dist")), files(&dashboard().join("dist")));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&built), names(&committed));
    for (name, bytes) in &built {
        let is_same = committed[name] == *bytes;
        assert!(
            is_same,
            "{name} is not what is built: run `npm ci && npm run build` in server/dashboard"
        );
    }
}

#[test]
fn the_lockfile_names_no_place_to_download_from() {
    let lock = std::fs::read_to_string(dashboard().join("package-lock.json")).unwrap();
    for (number, line) in lock.lines().enumerate() {
        // Where to give money to authors is no place to download from.
        let is_funding = line.trim_start().starts_with("\"url\":");
        let names_one = line.contains("\"resolved\"") || line.contains("://");
        assert!(is_funding || !names_one, "line {}: {line}", number + 1);
    }
}
