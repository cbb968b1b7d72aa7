//! What is made of files, and made anew when they change.
//!
//! Files are compared by what is in them, because tools replace them in many ways: in place, by renaming, or behind a
//! symbolic link. They may be replaced one after the other: as long as they do not fit together, what was
//! made before stays.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tracing::{info, warn};

/// How often files are looked at: a replaced certificate counts after this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The largest file that is read; bundles of all public authorities have a quarter of it. Bytes.
const MAX_FILE: u64 = 1 << 20;

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileProblem {
    path: PathBuf,
    problem: String,
}

/// A file as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct FileText {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl FileText {
    /// Reads all of it.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn read(path: &Path) -> Result<FileText, FileProblem> {
        let problem = |problem: String| FileProblem {
            path: path.to_owned(),
            problem,
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        read.map_err(|error| problem(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(problem(format!("larger than {MAX_FILE} bytes")));
        }
        let path = path.to_owned();
        Ok(FileText { path, bytes })
    }

    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is wrong with it.
    pub fn wrong(&self, problem: &impl Display) -> FileProblem {
        FileProblem {
            path: self.path.clone(),
            problem: problem.to_string(),
        }
    }
}

/// A value that is made of files. Clones share it; when the last one is dropped, nobody looks any more.
#[derive(Debug)]
pub struct Fresh<T> {
    current: Arc<RwLock<Arc<T>>>,
    /// The thread that looks ends when it is dropped.
    _looks: Arc<Sender<()>>,
}

impl<T> Clone for Fresh<T> {
    fn clone(&self) -> Fresh<T> {
        Fresh {
            current: Arc::clone(&self.current),
            _looks: Arc::clone(&self._looks),
        }
    }
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Makes it of these files, now and whenever one of them has changed. `what` is its name in the log.
    ///
    /// # Errors
    /// A file cannot be read, or the value cannot be made of them.
    pub fn load<const N: usize>(
        what: &'static str,
        paths: [PathBuf; N],
        make: impl Fn(&[FileText; N]) -> Result<T, FileProblem> + Send + 'static,
    ) -> Result<Fresh<T>, FileProblem> {
        let mut seen = read(&paths);
        let made = seen.clone().and_then(|files| make(&files))?;
        let current = Arc::new(RwLock::new(Arc::new(made)));
        let (looks, ended) = channel();
        let shown = Arc::clone(&current);
        std::thread::spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = read(&paths);
                if now == seen {
                    continue;
                }
                seen = now;
                match seen.clone().and_then(|files| make(&files)) {
                    Ok(made) => {
                        *shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                        info!("{what} was replaced");
                    }
                    Err(problem) => {
                        warn!(%problem, "{what} was not replaced: the earlier one stays");
                    }
                }
            }
        });
        let _looks = Arc::new(looks);
        Ok(Fresh { current, _looks })
    }

    /// As it is now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }
}

fn read<const N: usize>(paths: &[PathBuf; N]) -> Result<[FileText; N], FileProblem> {
    let files: Result<Vec<_>, _> = paths.iter().map(|path| FileText::read(path)).collect();
    files.map(|files| match files.try_into() {
        Ok(files) => files,
        Err(_) => unreachable!("each path was read once"),
    })
}
