//! `sim replay FILE` of a flight recording: tells the same coordinator the same once more.

use super::one::print_log;
use jobmanager_proto::recording::{Reader, RecordingError};
use jobmanager_sim::{Replayed, replay};
use std::path::{Path, PathBuf};

/// The bytes of a recording, of whatever version and however damaged; nothing for any other file.
pub(super) fn read(file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    match Reader::new(&bytes).map(drop) {
        Err(RecordingError::NotARecording) => None,
        Ok(()) | Err(_) => Some(bytes),
    }
}

pub(super) fn run(file: &Path, bytes: &[u8], trace: bool, html: &Option<PathBuf>) -> bool {
    if html.is_some() {
        eprintln!("--html is for tapes; look at a recording with --trace");
        return false;
    }
    match replay(bytes, trace) {
        Ok(replayed) => show(&replayed),
        Err(problem) => {
            eprintln!("{}: {problem}", file.display());
            false
        }
    }
}

fn show(replayed: &Replayed) -> bool {
    let header = &replayed.header;
    println!("recorded by  {}, epoch {}", header.program, header.epoch.0);
    println!("cluster      {:?}", header.config);
    print_log(&replayed.log);
    println!("digest       {:016x}", replayed.digest);
    let millis = replayed.simulated / 1_000;
    println!("recorded     {}.{:03} s", millis / 1_000, millis % 1_000);
    println!("inputs       {}", replayed.inputs);
    let (segments, checks) = (replayed.segments, replayed.checks);
    println!("compared     every effect, {checks} states, {segments} segments");
    if let Some(offset) = replayed.cut_off {
        println!("notice       the file is cut off at byte {offset}; all before it was replayed");
    }
    println!("verdict      {}", replayed.verdict);
    replayed.verdict.is_well()
}
