//! The image, as far as it can be looked at without something that builds images: the Dockerfile copies what the
//! build reads, its commands can be run, and what it makes of the binaries runs.

use crate::objects::{container, deploy, manifests, objects, of_kind, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap()
}

/// What follows this instruction, line by line, in the stage that builds.
fn instructions(name: &str) -> Vec<String> {
    let dockerfile = text("Dockerfile");
    let (building, _) = dockerfile.split_once("FROM scratch").unwrap();
    let lines = building.lines();
    let found: Vec<_> = lines.filter_map(|line| line.strip_prefix(name)).collect();
    assert!(!found.is_empty(), "there is no {name}");
    found.iter().map(|line| line.trim().to_owned()).collect()
}

/// What the image is built of, relative to the root of the repository.
fn copied() -> BTreeSet<String> {
    let copies = instructions("COPY ");
    let sources = copies.iter().flat_map(|copy| {
        let words: Vec<_> = copy.split(' ').collect();
        let (_, sources) = words.split_last().unwrap();
        sources
            .iter()
            .map(|&source| source.to_owned())
            .collect::<Vec<_>>()
    });
    sources.collect()
}

fn sources_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The files outside of its own folder that a source includes.
fn included(source: &Path) -> Vec<PathBuf> {
    let code = fs::read_to_string(source).unwrap();
    let calls = code.split("include_str!(").skip(1);
    let paths = calls.filter_map(|rest| rest.trim_start().strip_prefix("\"../")?.split('"').next());
    let folder = source.parent().unwrap();
    let full = paths.map(|path| folder.join("..").join(path));
    full.map(|path| path.canonicalize().unwrap()).collect()
}

/// The folders of the packages that cargo wants to see: those of the workspace, and whatever they take from elsewhere
/// in the repository.
fn package_folders() -> Vec<PathBuf> {
    let metadata = cargo(&["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let folders = packages.flat_map(|package| {
        let own = Path::new(package["manifest_path"].as_str().unwrap()).parent();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let others = dependencies.filter_map(|dependency| dependency["path"].as_str());
        let others = others.map(PathBuf::from);
        others.chain(own.map(Path::to_owned)).collect::<Vec<_>>()
    });
    folders.collect()
}

/// Cargo at the root, which succeeds.
fn cargo(arguments: &[&str]) -> Output {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    let output = command.args(arguments).current_dir(root()).output();
    let output = output.unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {problem}");
    output
}

#[test]
fn the_build_has_everything_that_it_reads() {
    let copied = copied();
    for path in &copied {
        assert!(root().join(path).exists(), "{path} is not there");
    }
    let mut sources = Vec::new();
    for package in ["core", "proto", "server/jobmanager", "server/taskmanager"] {
        sources_below(&root().join(package).join("src"), &mut sources);
    }
    let files: BTreeSet<_> = sources.iter().flat_map(|source| included(source)).collect();
    assert!(files.len() > 5, "few includes were found: {files:?}");
    for needed in files.into_iter().chain(package_folders()) {
        let relative = needed.strip_prefix(root().canonicalize().unwrap());
        let top = relative.unwrap().components().next().unwrap();
        let top = top.as_os_str().to_str().unwrap();
        assert!(copied.contains(top), "{} is not copied", needed.display());
    }
    let ignored = text("Dockerfile.dockerignore");
    let mut both = ignored.lines().filter(|line| copied.contains(*line));
    assert_eq!(both.next(), None, "it is copied, and kept from the build");
}

/// The build itself takes many minutes: this resolves the same packages and features from the same lockfile.
#[test]
#[ignore = "needs the packages of every feature: run tests/run"]
fn the_command_that_builds_names_packages_and_features_that_there_are() {
    let runs = instructions("RUN ");
    let builds: Vec<_> = runs
        .iter()
        .filter_map(|run| run.strip_prefix("cargo build "))
        .collect();
    assert_eq!(builds.len(), 1);
    let (release, what): (Vec<_>, Vec<_>) =
        builds[0].split(' ').partition(|word| *word == "--release");
    assert_eq!(release.len(), 1);
    let tree = ["tree", "--offline", "--edges=normal,build", "--depth=1"];
    let resolved = cargo(&[&tree[..], &what].concat());
    let resolved = String::from_utf8(resolved.stdout).unwrap();
    for package in ["jobmanager v", "taskmanager v"] {
        assert!(
            resolved.lines().any(|line| line.starts_with(package)),
            "{resolved}"
        );
    }
    // As many as there are, so that no user of the image misses one.
    let manifest = fs::read_to_string(root().join("server/jobmanager/Cargo.toml")).unwrap();
    let (_, features) = manifest.split_once("[features]\n").unwrap();
    let (features, _) = features.split_once("\n\n").unwrap();
    let lines = features.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<_> = lines.map(|line| line.split(' ').next().unwrap()).collect();
    let named = what
        .iter()
        .find(|word| word.contains("jobmanager/"))
        .unwrap();
    let named = named
        .split(',')
        .map(|name| name.strip_prefix("jobmanager/").unwrap());
    assert_eq!(named.collect::<BTreeSet<_>>(), there);
}

#[test]
fn everything_speaks_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("jobmanager:{version}");
    for deployment in of_kind(&manifests(), "Deployment") {
        assert_eq!(container(deployment)["image"], *image);
    }
    assert!(text("Dockerfile").contains(&format!("-t {image} ")));
    let chart = &objects(&text("chart/Chart.yaml"))[0];
    assert_eq!(chart["appVersion"], *version);
    let number = |text: &str| -> (u32, u32) {
        let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    };
    let from = &instructions("FROM ")[0];
    let image = from
        .strip_prefix("rust:")
        .unwrap()
        .split('-')
        .next()
        .unwrap();
    assert!(
        number(image) >= number(env!("CARGO_PKG_RUST_VERSION")),
        "{from}"
    );
}

fn image_root(arguments: &[&Path]) -> Output {
    let script = Command::new(deploy("image-root")).args(arguments).output();
    script.unwrap()
}

/// What the loader in the image says or does, that finds nothing but what the image has.
fn loader(image: &Path, arguments: &[&str]) -> String {
    let mut files = Vec::new();
    for folder in ["lib64", "lib"] {
        let entries = fs::read_dir(image.join(folder)).into_iter().flatten();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let is_loader = |path: &&PathBuf| path.is_file() && path.display().to_string().contains("/ld-");
    let loader = files
        .iter()
        .find(is_loader)
        .expect("the image has a loader");
    let libraries = files
        .iter()
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string());
    let output = Command::new(loader)
        .args(["--inhibit-cache", "--library-path"])
        .arg(libraries.collect::<Vec<_>>().join(":"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    said
}

#[test]
#[ignore = "needs a system like Debian: run tests/run"]
fn the_binaries_run_with_what_the_image_has() {
    let folder = tempfile::tempdir().unwrap();
    let (binaries, image) = (folder.path().join("binaries"), folder.path().join("image"));
    fs::create_dir(&binaries).unwrap();
    for (built, name) in [
        (env!("CARGO_BIN_EXE_test-jobmanager"), "jobmanager"),
        (env!("CARGO_BIN_EXE_test-taskmanager"), "taskmanager"),
    ] {
        std::os::unix::fs::symlink(built, binaries.join(name)).unwrap();
    }
    let made = image_root(&[&binaries, &image]);
    assert!(made.status.success(), "{made:?}");
    for name in ["jobmanager", "taskmanager"] {
        let binary = image.join("usr/local/bin").join(name).display().to_string();
        let needed = loader(&image, &["--list", &binary]);
        let paths = needed.lines().filter_map(|line| line.split_once(" => "));
        let paths: Vec<_> = paths.map(|(_, path)| path).collect();
        assert!(!paths.is_empty(), "{needed}");
        for path in paths {
            assert!(Path::new(path).starts_with(&image), "{name} needs {path}");
        }
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(loader(&image, &[&binary, "--version"]), version);
    }
    let trusted = fs::read_to_string(image.join("etc/ssl/certs/ca-certificates.crt"));
    assert!(trusted.unwrap().contains("BEGIN CERTIFICATE"));
    let users = fs::read_to_string(image.join("etc/passwd")).unwrap();
    assert!(users.contains(":65532:") && text("Dockerfile").contains("\nUSER 65532:65532\n"));
}

#[test]
fn an_image_of_nothing_is_refused() {
    let nothing = image_root(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nothing.stderr);
    assert!(said.contains("BINARIES ROOT"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let empty = image_root(&[folder.path(), &folder.path().join("image")]);
    assert!(!empty.status.success());
}
