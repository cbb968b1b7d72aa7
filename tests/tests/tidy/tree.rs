//! The files of the repository: what git would commit, or in an unpacked archive what is there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// `file:line`.
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().expect("the package lies inside the root");
    root.to_path_buf()
}

/// Every file with this extension, read.
pub(crate) fn source_files(extension: &str) -> Vec<SourceFile> {
    let wanted = |path: &String| Path::new(path).extension().is_some_and(|e| e == extension);
    let files: Vec<_> = tracked_paths()
        .into_iter()
        .filter(wanted)
        .map(|path| SourceFile {
            text: std::fs::read_to_string(root().join(&path)).expect("sources are readable text"),
            path,
        })
        .collect();
    assert!(!files.is_empty(), "no .{extension} file was found");
    files
}

/// Every file's path, relative to the root.
pub(crate) fn tracked_paths() -> Vec<String> {
    let mut paths = by_git().unwrap_or_else(by_walking);
    paths.retain(|path| root().join(path).is_file());
    paths.sort();
    paths
}

fn by_git() -> Option<Vec<String>> {
    if !root().join(".git").exists() {
        return None;
    }
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()?;
    let listed = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| listed.lines().map(str::to_owned).collect())
}

fn by_walking() -> Vec<String> {
    let mut paths = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(root()) {
                paths.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    paths
}

#[test]
fn git_and_a_walk_find_the_same_sources() {
    let sources = |mut paths: Vec<String>| {
        paths.retain(|path| path.ends_with(".rs") && root().join(path).is_file());
        paths.sort();
        paths
    };
    let walked = sources(by_walking());
    assert!(walked.contains(&"core/src/lib.rs".to_owned()));
    if let Some(listed) = by_git() {
        assert_eq!(sources(listed), walked);
    }
}
