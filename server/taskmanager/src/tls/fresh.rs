//! What is made of files, and made anew when they change.
//!
//! Files are compared by what is in them, because tools replace them in many ways: in place, by renaming, or behind a
//! symbolic link. They may be replaced one after the other: as long as they do not fit together, what was
//! made before stays. Where that would leave somebody in who is to be out, it does so only [for a while](Lapse).

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{error, info, warn};

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
    is_missing: bool,
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
        let problem = |problem: String, is_missing| FileProblem {
            path: path.to_owned(),
            problem,
            is_missing,
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        read.map_err(|error| {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            problem(error.to_string(), is_missing)
        })?;
        if bytes.len() as u64 > MAX_FILE {
            let words = format!("larger than {MAX_FILE} bytes");
            return Err(problem(words, false));
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
            is_missing: false,
        }
    }
}

/// What follows when files are of no use any more, and something that was made of them must not count for ever.
#[derive(Debug)]
pub struct Lapse<T> {
    /// For how long what was made before stays; not at all if a file is not there any more.
    pub after: Duration,
    /// What counts from then on.
    pub to: fn() -> T,
}

/// How the replacement of files goes, or of what comes from elsewhere, to be counted.
#[derive(Debug, Clone)]
pub struct Reloads(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    what: &'static str,
    failed: AtomicU64,
    is_stale: AtomicBool,
}

impl Reloads {
    /// Of something that has not been replaced yet.
    #[must_use]
    pub fn of(what: &'static str) -> Reloads {
        Reloads(Arc::new(Counts {
            what,
            failed: AtomicU64::new(0),
            is_stale: AtomicBool::new(false),
        }))
    }

    /// What is made of the files.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.0.what
    }

    /// One more could not be used.
    pub fn count_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what counts is not what is there, from now on.
    pub fn set_stale(&self, is_stale: bool) {
        self.0.is_stale.store(is_stale, Ordering::Relaxed);
    }

    /// How often files were replaced by some that are of no use.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Whether what counts is not what the files say.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.0.is_stale.load(Ordering::Relaxed)
    }
}

/// A value that is made of files. Clones share it; when the last one is dropped, nobody looks any more.
#[derive(Debug)]
pub struct Fresh<T> {
    current: watch::Receiver<Arc<T>>,
    reloads: Reloads,
    /// The thread that looks ends when it is dropped.
    _looks: Arc<Sender<()>>,
}

impl<T> Clone for Fresh<T> {
    fn clone(&self) -> Fresh<T> {
        Fresh {
            current: self.current.clone(),
            reloads: self.reloads.clone(),
            _looks: Arc::clone(&self._looks),
        }
    }
}

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Makes it of these files, now and whenever one of them has changed. `what` is its name in the log.
    ///
    /// # Errors
    /// A file cannot be read, or the value cannot be made of them.
    pub fn load(
        what: &'static str,
        paths: Vec<PathBuf>,
        lapse: Option<Lapse<T>>,
        make: impl Fn(&[FileText]) -> Result<T, FileProblem> + Send + 'static,
    ) -> Result<Fresh<T>, FileProblem> {
        let seen = read(&paths);
        let made = seen.clone().and_then(|files| make(&files))?;
        let (shown, current) = watch::channel(Arc::new(made));
        let (looks, ended) = channel();
        let reloads = Reloads::of(what);
        let mut look = Look {
            paths,
            make,
            lapse,
            seen,
            wrong: None,
            shown,
            reloads: reloads.clone(),
        };
        std::thread::spawn(move || {
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                look.look(Instant::now());
            }
        });
        Ok(Fresh {
            current,
            reloads,
            _looks: Arc::new(looks),
        })
    }

    /// As it is now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits until it is another one than when this was called last, or when this clone was made; or a little less long.
    pub(super) async fn replaced(&mut self) {
        if self.current.changed().await.is_err() {
            // Nobody looks any more.
            std::future::pending().await
        }
    }

    /// How the replacement of its files goes.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }
}

/// Looks at the files.
struct Look<T, F> {
    paths: Vec<PathBuf>,
    make: F,
    lapse: Option<Lapse<T>>,
    seen: Result<Vec<FileText>, FileProblem>,
    wrong: Option<Wrong>,
    shown: watch::Sender<Arc<T>>,
    reloads: Reloads,
}

/// Nothing can be made of the files.
#[derive(Clone, Copy)]
struct Wrong {
    since: Instant,
    has_lapsed: bool,
}

impl<T, F> Look<T, F>
where
    F: Fn(&[FileText]) -> Result<T, FileProblem>,
{
    fn look(&mut self, now: Instant) {
        let files = read(&self.paths);
        let is_new = files != self.seen;
        // What is wrong now may be right later: a certificate has a time.
        if !is_new && self.wrong.is_none() {
            return;
        }
        self.seen = files;
        let made = self.seen.clone().and_then(|files| (self.make)(&files));
        let what = self.reloads.what();
        self.reloads.set_stale(made.is_err());
        match made {
            Ok(made) => {
                self.wrong = None;
                self.shown.send_replace(Arc::new(made));
                info!("{what} was replaced");
            }
            Err(problem) => {
                if is_new {
                    self.reloads.count_failure();
                }
                let lapsed = self.wrong.is_some_and(|wrong| wrong.has_lapsed);
                if !lapsed && self.lapses(now, &problem) {
                    error!(%problem, "{what} cannot be used, and the earlier one does not count any more");
                } else if is_new {
                    let earlier = if lapsed {
                        "none counts"
                    } else {
                        "the earlier one stays"
                    };
                    warn!(%problem, "{what} was not replaced: {earlier}");
                }
            }
        }
    }

    /// Whether what was made before stops to count now.
    fn lapses(&mut self, now: Instant, problem: &FileProblem) -> bool {
        let wrong = self.wrong.get_or_insert(Wrong {
            since: now,
            has_lapsed: false,
        });
        let Some(lapse) = &self.lapse else {
            return false;
        };
        wrong.has_lapsed = problem.is_missing || now - wrong.since >= lapse.after;
        if wrong.has_lapsed {
            self.shown.send_replace(Arc::new((lapse.to)()));
        }
        wrong.has_lapsed
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<FileText>, FileProblem> {
    paths.iter().map(|path| FileText::read(path)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    /// A file with a number, of which nothing is left when it lapses.
    fn number(
        path: &Path,
        lapses: bool,
    ) -> Look<u32, impl Fn(&[FileText]) -> Result<u32, FileProblem>> {
        let make = |files: &[FileText]| {
            let file = &files[0];
            let number = std::str::from_utf8(file.bytes()).unwrap();
            number.parse().map_err(|problem| file.wrong(&problem))
        };
        let paths = vec![path.to_owned()];
        Look {
            seen: read(&paths),
            paths,
            make,
            lapse: lapses.then_some(Lapse {
                after: SOON,
                to: || 0,
            }),
            wrong: None,
            shown: watch::Sender::new(Arc::new(7)),
            reloads: Reloads::of("number"),
        }
    }

    #[test]
    fn what_cannot_be_used_counts_for_a_while_and_what_is_gone_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "7").unwrap();
        let mut look = number(&path, true);
        let current = look.shown.subscribe();
        let mut at = Instant::now();
        let mut seen = |after: Duration| {
            at += after;
            look.look(at);
            (
                **current.borrow(),
                look.reloads.failed(),
                look.reloads.is_stale(),
            )
        };
        assert_eq!(seen(SOON), (7, 0, false));
        std::fs::write(&path, "x").unwrap();
        assert_eq!(
            seen(SOON),
            (7, 1, true),
            "the time begins with the first look"
        );
        assert_eq!(seen(SOON / 2), (7, 1, true));
        std::fs::write(&path, "y").unwrap();
        assert_eq!(
            seen(SOON / 2),
            (0, 2, true),
            "another mistake is no other time"
        );
        std::fs::write(&path, "8").unwrap();
        assert_eq!(seen(SOON), (8, 2, false));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen(Duration::ZERO), (0, 3, true));
        std::fs::write(&path, "8").unwrap();
        assert_eq!(seen(Duration::ZERO), (8, 3, false));
    }

    #[test]
    fn what_harms_nobody_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "7").unwrap();
        let mut look = number(&path, false);
        let current = look.shown.subscribe();
        let start = Instant::now();
        std::fs::remove_file(&path).unwrap();
        for after in [0, 1, 1_000] {
            look.look(start + after * SOON);
            assert_eq!((**current.borrow(), look.reloads.failed()), (7, 1));
        }
    }

    #[test]
    fn what_was_wrong_may_become_right_without_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "7").unwrap();
        let (shown, current) = watch::channel(Arc::new(7));
        let opens = Arc::new(AtomicBool::new(false));
        let is_open = Arc::clone(&opens);
        let paths = vec![path.clone()];
        let mut look = Look {
            seen: read(&paths),
            paths,
            make: move |files: &[FileText]| match is_open.load(Ordering::Relaxed) {
                true => Ok(8),
                false => Err(files[0].wrong(&"not yet")),
            },
            lapse: None,
            wrong: None,
            shown,
            reloads: Reloads::of("number"),
        };
        std::fs::write(&path, "8").unwrap();
        look.look(Instant::now());
        assert_eq!(**current.borrow(), 7);
        opens.store(true, Ordering::Relaxed);
        look.look(Instant::now());
        assert_eq!(**current.borrow(), 8);
    }
}
