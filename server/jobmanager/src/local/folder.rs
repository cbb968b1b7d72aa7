//! The folder in which a local cluster keeps what it needs while it runs.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Names that are taken are leftovers of processes that had the same id.
const TRIES: u32 = 1_000;

/// A new folder of this process, readable by its user alone.
pub(super) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// Makes the folder where the system keeps temporary files.
    ///
    /// # Errors
    /// The system's own, with the path.
    pub(super) fn new() -> io::Result<Self> {
        let name = format!("jobmanager-local-{}", std::process::id());
        let mut taken = None;
        for number in 0..TRIES {
            let suffix = match number {
                0 => String::new(),
                _ => format!("-{number}"),
            };
            let path = std::env::temp_dir().join(format!("{name}{suffix}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(WorkFolder { path }),
                Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {
                    taken = Some(problem);
                }
                Err(problem) => {
                    let words = format!("{}: {problem}", path.display());
                    return Err(io::Error::new(problem.kind(), words));
                }
            }
        }
        Err(taken.expect("every try found the name taken"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything in it but these; itself too if that leaves nothing. What cannot be removed
    /// stays: the system cleans the place up in its own time.
    pub(super) fn remove_all_but(&self, kept: &[&Path]) {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            if kept.contains(&path.as_path()) {
                continue;
            }
            let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_wanted_is_left_behind() {
        let folder = WorkFolder::new().unwrap();
        let second = WorkFolder::new().unwrap();
        assert_ne!(folder.path(), second.path());
        second.remove_all_but(&[]);
        assert!(!second.path().exists());

        let output = folder.path().join("output");
        std::fs::create_dir(&output).unwrap();
        std::fs::write(folder.path().join("log"), "").unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        folder.remove_all_but(&[&output]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(output.exists());
        folder.remove_all_but(&[]);
        assert!(!folder.path().exists());
    }
}
