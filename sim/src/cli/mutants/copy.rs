//! A copy of the packages that the simulator is made of, outside the repository, to be broken.
//!
//! Only files that differ are written, so that the compiler starts from what it did before: a mutant
//! builds in seconds.

use super::patch::Mutant;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is copied.
const PARTS: [&str; 5] = ["Cargo.toml", "Cargo.lock", "core", "proto", "sim"];
/// The members of the copied workspace.
const MEMBERS: &str = r#"members = ["core", "proto", "sim"]"#;
/// From one look at a process to the next.
const PACE: Duration = Duration::from_millis(50);
/// Kilobytes of memory of a hunt: a hundred times what it needs, and a mutant that collects orders for
/// ever is stopped before the machine is.
const MEMORY_KB: u64 = 4 << 20;

/// A copy, with what was built from it.
pub(super) struct Copy {
    original: PathBuf,
    root: PathBuf,
}

/// How a hunt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Itself,
    /// A run of it went on for ever, or took all the memory.
    Killed,
}

impl Copy {
    /// Copies what is needed of `original` to `root`, which may have been a copy before.
    pub(super) fn new(original: &Path, root: &Path) -> Result<Copy, String> {
        let copy = Copy {
            original: original.to_owned(),
            root: root.to_owned(),
        };
        copy.restore()?;
        Ok(copy)
    }

    /// Makes it equal to the original again.
    pub(super) fn restore(&self) -> Result<(), String> {
        for part in PARTS {
            self.restore_part(Path::new(part))?;
        }
        let manifest = read(&self.original.join("Cargo.toml"))?;
        let line = |line| match line {
            members if str::starts_with(members, "members = ") => MEMBERS,
            other => other,
        };
        let lines: Vec<_> = manifest.lines().map(line).collect();
        write(&self.root.join("Cargo.toml"), &(lines.join("\n") + "\n"))
    }

    fn restore_part(&self, part: &Path) -> Result<(), String> {
        let (from, to) = (self.original.join(part), self.root.join(part));
        if from.is_dir() {
            let problem = |problem: std::io::Error| format!("{}: {problem}", from.display());
            for entry in std::fs::read_dir(&from).map_err(problem)? {
                let name = entry.map_err(problem)?.file_name();
                self.restore_part(&part.join(name))?;
            }
            return remove_strangers(&from, &to);
        }
        // The manifest and the lock file of the copy differ from the original's.
        if part.parent() == Some(Path::new("")) && to.exists() {
            return Ok(());
        }
        match std::fs::read_to_string(&from) {
            Ok(text) => write(&to, &text),
            // Not text: nothing that a package is built from.
            Err(_) => Ok(()),
        }
    }

    /// Makes the mistake.
    pub(super) fn mutate(&self, mutant: &Mutant) -> Result<(), String> {
        self.restore()?;
        for (path, text) in mutant.apply(&self.original)? {
            write(&self.root.join(path), &text)?;
        }
        Ok(())
    }

    /// Builds the simulator.
    pub(super) fn build(&self) -> Result<(), String> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["build", "--offline", "--quiet", "--bin", "sim"])
            .arg("--target-dir")
            .arg(self.root.join("target"))
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.root)
            .output()
            .map_err(|problem| format!("cargo: {problem}"))?;
        if output.status.success() {
            Ok(())
        } else {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!("it does not build:\n{words}"))
        }
    }

    /// Runs the built simulator with these arguments: its lines, and how it ended.
    pub(super) fn run(
        &self,
        arguments: &[String],
        limit: Duration,
    ) -> Result<(Vec<String>, End), String> {
        let mut child = Command::new(self.root.join("target/debug/sim"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|problem| format!("sim: {problem}"))?;
        let output = child.stdout.take().expect("it is piped");
        let lines = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.map_while(Result::ok).collect()
        });
        let end = wait(&mut child, Instant::now() + limit).map_err(|problem| problem.to_string());
        let lines = lines
            .join()
            .map_err(|_| "sim: its output was lost".to_owned());
        Ok((lines?, end?))
    }
}

/// Waits for the end of a process, or ends it.
fn wait(child: &mut Child, until: Instant) -> std::io::Result<End> {
    while child.try_wait()?.is_none() {
        if Instant::now() >= until || memory_kb(child.id()) > MEMORY_KB {
            child.kill()?;
            child.wait()?;
            return Ok(End::Killed);
        }
        std::thread::sleep(PACE);
    }
    Ok(End::Itself)
}

/// The memory of a process in kilobytes; 0 where there is no way to know.
fn memory_kb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Removes files of an earlier copy that the original no longer has.
fn remove_strangers(from: &Path, to: &Path) -> Result<(), String> {
    let problem = |problem: std::io::Error| format!("{}: {problem}", to.display());
    let Ok(entries) = std::fs::read_dir(to) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(problem)?.path();
        let known = path
            .file_name()
            .is_some_and(|name| from.join(name).exists());
        if !known && path.is_file() {
            std::fs::remove_file(&path).map_err(problem)?;
        }
    }
    Ok(())
}

/// Reads a file.
pub(super) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|problem| format!("{}: {problem}", file.display()))
}

/// Writes a file unless it is so already.
pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    if std::fs::read_to_string(file).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let problem = |problem| format!("{}: {problem}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(problem)?;
    }
    std::fs::write(file, text).map_err(problem)
}
