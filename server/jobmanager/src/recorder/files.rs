//! Recordings as files: a folder in which the newest few are kept.

use super::{Flight, NoRecording};
use crate::driver::{Driver, Unavailable};
use jobmanager_core::time::Timestamp;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::info;

/// How many recordings a folder keeps: the newest. Whoever wants more copies them.
const KEPT: usize = 8;
/// How a file's name begins and ends; between them are its time and what it was written for.
const PREFIX: &str = "flight-";
const SUFFIX: &str = ".recording";
/// How long the driver may take to hand out a recording that a signal asked for.
const HANDED_OUT: Duration = Duration::from_secs(60);

/// Why a recording was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// There is none.
    #[error(transparent)]
    None(#[from] NoRecording),
    /// The driver does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The folder cannot be written to.
    #[error(
        "cannot write {path}: {problem}; choose another folder with jobmanager.flight-recorder.dir"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        problem: io::Error,
    },
}

/// The name of a recording's file.
#[must_use]
pub fn file_name(at: Timestamp, reason: &str) -> String {
    // 13 digits sort by time for the next two centuries.
    format!("{PREFIX}{:013}-{reason}{SUFFIX}", at.0)
}

/// The folder of the recordings.
#[derive(Debug, Clone)]
pub struct RecordingFiles {
    folder: PathBuf,
}

impl RecordingFiles {
    /// Recordings in this folder, which is made when there is one.
    #[must_use]
    pub fn new(folder: PathBuf) -> RecordingFiles {
        RecordingFiles { folder }
    }

    /// Writes a recording, and forgets the oldest if there are too many. Blocks.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(
        &self,
        at: Timestamp,
        reason: &str,
        flight: Flight,
    ) -> Result<PathBuf, WriteProblem> {
        let path = self.folder.join(file_name(at, reason));
        let size = flight.size();
        let written = self.write_to(&path, flight);
        written.map_err(|problem| WriteProblem::Write {
            path: path.clone(),
            problem,
        })?;
        info!(path = %path.display(), size, "flight recording written; `sim replay` runs it again");
        Ok(path)
    }

    /// Under another name until it is whole.
    fn write_to(&self, path: &Path, flight: Flight) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let unfinished = path.with_extension("unfinished");
        let mut file = File::create(&unfinished)?;
        for piece in flight.pieces() {
            file.write_all(&piece)?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        self.forget_the_oldest()
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            if text.starts_with(PREFIX) && text.ends_with(SUFFIX) {
                names.push(name);
            }
        }
        names.sort();
        let surplus = names.len().saturating_sub(KEPT);
        for name in names.drain(..surplus) {
            fs::remove_file(self.folder.join(name))?;
        }
        Ok(())
    }
}

/// Recordings of a running JobManager.
#[derive(Debug, Clone)]
pub struct Recordings {
    driver: Driver,
    files: RecordingFiles,
}

impl Recordings {
    pub(crate) fn new(driver: Driver, files: RecordingFiles) -> Recordings {
        Recordings { driver, files }
    }

    /// Writes one now.
    ///
    /// # Errors
    /// There is none, or it cannot be written.
    pub async fn write(&self, reason: &'static str) -> Result<PathBuf, WriteProblem> {
        let (at, flight) = self.driver.recording(HANDED_OUT).await?;
        let (files, flight) = (self.files.clone(), flight?);
        let written = tokio::task::spawn_blocking(move || files.write(at, reason, flight));
        written
            .await
            .unwrap_or_else(|_| Err(Unavailable::Ended.into()))
    }
}
